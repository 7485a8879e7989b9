/** A call of the model: a picture for those that take pictures, a form made of the signature for the others. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { api, Refused, type Raw } from "../api";
import { useConsole } from "../context";
import type { InferAnswer, Manifest, VersionRow } from "../documents";
import { useLive } from "../live";
import { Answered, Copy, Empty, Scores, Section, Trouble, Wide } from "../parts";
import { byTraffic, nameOf } from "../rows";
import { formSignatures, scoredClasses, takesBodies, takesPictures, topScores, Unreadable } from "../tensors";
import { milliseconds, shape } from "../words";
import { BodyForm } from "./body_form";
import { TensorForm } from "./tensor_form";

interface Outcome {
  raw: Raw | null;
  error: Refused | null;
  tookMs: number;
}

export function TryIt({ model, rows }: { model: string; rows: VersionRow[] }): JSX.Element {
  const versions = rows.filter((row) => row.version !== null);
  const [chosen, setChosen] = useState("");
  const usual = byTraffic(rows)[0];
  const row = versions.find((each) => String(each.version) === chosen) ?? usual;
  if (row === undefined || row.version === null) return <Empty>There is no version to call yet.</Empty>;
  return (
    <>
      {versions.length > 1 && (
        <div class="filters">
          <label>
            Version
            <select value={chosen} onChange={(event) => setChosen(event.currentTarget.value)}>
              <option value="">as calls that name none</option>
              {versions.map((each) => (
                <option key={each.version} value={String(each.version)}>
                  {nameOf(each)}
                </option>
              ))}
            </select>
          </label>
        </div>
      )}
      <Forms
        key={row.version}
        model={model}
        number={row.version}
        version={chosen === "" ? null : nameOf(row)}
      />
    </>
  );
}

function Forms({ model, number, version }: { model: string; number: number; version: string | null }): JSX.Element {
  const live = useLive(`${model} ${number}`, () => api.version(model, number), null);
  return (
    <Answered live={live}>
      {(manifest) => <Caller model={model} version={version} manifest={manifest} />}
    </Answered>
  );
}

function Caller({ model, version, manifest }: { model: string; version: string | null; manifest: Manifest }): JSX.Element {
  const { state } = useConsole();
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [busy, setBusy] = useState(false);
  const call = async (ask: () => Promise<Raw>): Promise<void> => {
    setBusy(true);
    const began = performance.now();
    let [raw, error]: [Raw | null, Refused | null] = [null, null];
    try {
      raw = await ask();
    } catch (raised) {
      const said = raised instanceof Unreadable ? raised.message : String(raised);
      error = raised instanceof Refused ? raised : new Refused(400, "InvalidInput", said);
    }
    setOutcome({ raw, error, tookMs: performance.now() - began });
    setBusy(false);
  };
  const signatures = formSignatures(manifest);
  const target = version === null ? model : `${model}/${version}`;
  return (
    <>
      {takesBodies(manifest) && (
        <Section title={takesPictures(manifest) ? "A picture" : "A body"}>
          <BodyForm
            pictures={takesPictures(manifest)}
            busy={busy}
            onSend={(body, type) => call(() => api.predict(model, version, body, type))}
          />
          <Command text={`curl ${state.gateway.http}/predict/${target} -T FILE`} />
        </Section>
      )}
      {signatures.length > 0 && (
        <Section title="Tensors">
          <TensorForm
            manifest={manifest}
            signatures={signatures}
            busy={busy}
            onSend={(make) => call(async () => api.infer(model, version, make()))}
          />
          <Command
            text={`curl ${state.gateway.http}/v2/models/${model}${version === null ? "" : `/versions/${version}`}/infer -d @request.json`}
          />
        </Section>
      )}
      <Section title="Answer">
        <div aria-live="polite">
          {busy ? <p class="empty">Calling …</p> : outcome === null ? <Empty>Nothing was sent yet.</Empty> : <Told outcome={outcome} manifest={manifest} />}
        </div>
      </Section>
    </>
  );
}

function Command({ text }: { text: string }): JSX.Element {
  return (
    <p class="command">
      <code>{text}</code> <Copy text={text} what="the command" />
    </p>
  );
}

function Told({ outcome, manifest }: { outcome: Outcome; manifest: Manifest }): JSX.Element {
  if (outcome.error !== null) return <Trouble error={outcome.error} />;
  const text = outcome.raw?.text ?? "";
  const answer = inferAnswer(text);
  const classes = answer === null ? scoredClasses(text) : null;
  return (
    <>
      <p class="hint">
        Answered in {milliseconds(outcome.tookMs)}, the way through the controller included
        {answer !== null && `, by version ${answer.model_version}`}.
      </p>
      {classes !== null && <Scores label="Classes" scores={classes} />}
      {answer?.outputs.map((output) => {
        const top = topScores(output, manifest.labels);
        return (
          <div key={output.name}>
            <h3>
              {output.name} <span class="hint">{`${output.datatype}${shape(output.shape)}`}</span>
            </h3>
            {top !== null && <Scores label={`Largest of ${output.name}`} scores={top} />}
            <Wide label={`Values of ${output.name}`}>
              <pre>{shortened(output.data)}</pre>
            </Wide>
          </div>
        );
      })}
      {answer === null && classes === null && (
        <Wide label="The answer as it came">
          <pre>{text.slice(0, 20_000)}</pre>
        </Wide>
      )}
    </>
  );
}

function inferAnswer(text: string): InferAnswer | null {
  try {
    const answer = JSON.parse(text) as InferAnswer;
    return Array.isArray(answer?.outputs) && typeof answer.model_version === "string" ? answer : null;
  } catch {
    return null;
  }
}

const MOST_VALUES = 200;

function shortened(data: unknown[]): string {
  const rest = data.length - MOST_VALUES;
  return `${data.slice(0, MOST_VALUES).map((each) => JSON.stringify(each)).join(", ")}${rest > 0 ? `, … ${rest} more` : ""}`;
}
