/** How a version came about: its conversion, what was compared, how long things took. */

import type { JSX } from "preact";
import { api } from "../api";
import { useConsole } from "../context";
import type { Manifest, TensorSpec } from "../documents";
import { useLive } from "../live";
import { Answered, Empty, Facts, Section, StateBadge, Table } from "../parts";
import { toModel } from "../routes";
import { formSignatures, takesBodies } from "../tensors";
import { bytes, figure, milliseconds, moment, percent, seconds, shape, told } from "../words";

export function VersionPage({ model, version }: { model: string; version: number }): JSX.Element {
  const { state } = useConsole();
  const live = useLive(`${model} ${version}`, () => api.version(model, version), null);
  const row = state.models.find((each) => each.name === model && each.version === version);
  return (
    <>
      <nav class="trail" aria-label="Where this is">
        <a href="#/">Models</a>
        <a href={toModel(model)}>{model}</a>
      </nav>
      <h1>
        {model}, version {version}
      </h1>
      <p>
        <StateBadge state={row?.state ?? "STORED"} /> {row === undefined ? "in the store, not loaded" : (row.reason ?? "")}
      </p>
      <Answered live={live}>{(manifest) => <Made manifest={manifest} />}</Answered>
    </>
  );
}

function Made({ manifest }: { manifest: Manifest }): JSX.Element {
  return (
    <>
      <Section title="Conversion">
        {manifest.reason !== null && (
          <p class="notice">
            <strong>Not served as ONNX: </strong>
            {manifest.reason}
          </p>
        )}
        <Facts
          facts={[
            ["From", `${manifest.framework}, ${manifest.source_name}`],
            ["Runtime", manifest.runtime],
            ["Converted", moment(manifest.created)],
            ["Took", manifest.seconds > 0 ? seconds(manifest.seconds) : null],
            ["Opset", manifest.opset],
            ["Precision", manifest.precision],
            ["Rows", manifest.row_independent ? "independent: requests may share a batch" : "not shown to be independent"],
            ["Processor", manifest.processor === null ? null : processorText(manifest.processor)],
            ["Handler", manifest.handler === null ? null : `${manifest.handler.entry}, as ${manifest.handler.server} runs it`],
            ["Trusted", manifest.trusted ? "yes: loading it runs code that it carries" : null],
            ["Libraries", pairs(manifest.libraries)],
            ["Licence", manifest.licence],
            ["Notes", manifest.notes],
            ["Digest of the source", <code key="digest">{manifest.source_digest}</code>],
          ]}
        />
      </Section>
      <Section title="Parity">
        <ParityTable manifest={manifest} />
      </Section>
      <Section title="Timings on one CPU thread">
        <Timings manifest={manifest} />
      </Section>
      <Section title="Signatures">
        <SignatureTables manifest={manifest} />
      </Section>
      <Section title="Files">
        <Table label="Files" columns={["File", ["Size", "number"], "SHA-256"]}>
          <tbody>
            {Object.entries(manifest.files).map(([name, entry]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td class="number">{bytes(entry.size)}</td>
                <td>
                  <code>{entry.sha256.slice(0, 16)}…</code>
                </td>
              </tr>
            ))}
          </tbody>
        </Table>
      </Section>
    </>
  );
}

/** What was compared with the source's own framework, and how far off it was. */
export function ParityTable({ manifest }: { manifest: Manifest }): JSX.Element {
  const parity = manifest.parity;
  if (parity === null) return <Empty>Nothing was compared: {manifest.reason ?? "there was nothing to compare with"}.</Empty>;
  return (
    <>
      <p>
        <span class={`badge ${parity.passed ? "good" : "bad"}`}>{parity.passed ? "equal" : "not equal"}</span> Compared with{" "}
        {parity.reference} at batches {parity.batches.join(", ")}, seeds {parity.seeds.join(", ")}; bound {figure(parity.rtol)} of an
        output's size. {parity.deterministic ? "" : "The same inputs gave other answers twice."}
      </p>
      {parity.reason !== null && <p class="trouble">{parity.reason}</p>}
      <Table
        label="Parity by output"
        columns={[
          "Output",
          ["Max. absolute error", "number"],
          ["Of its size", "number"],
          ["Size", "number"],
          ["Classes agree", "number"],
        ]}
      >
        <tbody>
          {parity.outputs.map((each) => (
            <tr key={`${each.signature} ${each.name}`}>
              <th scope="row">{each.name}</th>
              <td class="number">{figure(each.max_abs_error)}</td>
              <td class="number">{figure(each.max_rel_error)}</td>
              <td class="number">{figure(each.scale)}</td>
              <td class="number">{each.class_agreement === null ? "" : percent(each.class_agreement)}</td>
            </tr>
          ))}
        </tbody>
      </Table>
      {parity.edges.length > 0 && (
        <Facts facts={parity.edges.map((edge) => [`Inputs that are ${edge.kind}`, edge.outcome] as [string, string])} />
      )}
    </>
  );
}

function Timings({ manifest }: { manifest: Manifest }): JSX.Element {
  const profile = manifest.profile;
  if (profile === null) return <Empty>Nothing was measured.</Empty>;
  const plain = (value: number | null): string => (value === null ? "" : ` (${milliseconds(value)} without saved optimisation)`);
  return (
    <Facts
      facts={[
        ["A row", milliseconds(profile.batch_one_ms) + plain(profile.plain_batch_one_ms)],
        [`A batch of ${profile.largest_batch}`, milliseconds(profile.largest_batch_ms)],
        ["Rows a second", figure((profile.largest_batch / profile.largest_batch_ms) * 1000)],
        ["Loading", profile.load_ms === null ? null : milliseconds(profile.load_ms) + plain(profile.plain_load_ms)],
      ]}
    />
  );
}

export function SignatureTables({ manifest }: { manifest: Manifest }): JSX.Element {
  return (
    <>
      {takesBodies(manifest) && <p>Takes raw bodies too, as {manifest.handler === null ? "its processor" : "its handler"} reads them.</p>}
      {formSignatures(manifest).map((name) => [name, manifest.signatures[name]!] as const).map(([name, signature]) => (
        <Table
          key={name}
          label={`Signature ${name}`}
          caption={
            <>
              {name}
              {name === manifest.default_signature && " (default)"}
              {manifest.fixed_batch[name] !== undefined && `, computed in batches of ${manifest.fixed_batch[name]}`}
            </>
          }
          columns={["Tensor", "Way", "Datatype", "Shape"]}
        >
          <tbody>
            {signature.inputs.map((each) => (
              <TensorRow key={`in ${each.name}`} spec={each} way="input" />
            ))}
            {signature.outputs.map((each) => (
              <TensorRow key={`out ${each.name}`} spec={each} way="output" />
            ))}
          </tbody>
        </Table>
      ))}
    </>
  );
}

function TensorRow({ spec, way }: { spec: TensorSpec; way: string }): JSX.Element {
  return (
    <tr>
      <th scope="row">{spec.name}</th>
      <td>{way}</td>
      <td>{spec.datatype}</td>
      <td>{shape(spec.shape)}</td>
    </tr>
  );
}

const pairs = (values: Record<string, string>): string =>
  Object.entries(values)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");

function processorText(processor: NonNullable<Manifest["processor"]>): string {
  const set = Object.entries(processor).filter(([key, value]) => key !== "type" && value !== null && value !== "" && !isEmpty(value));
  return `${processor.type}${set.length === 0 ? "" : `: ${set.map(([key, value]) => `${key} ${told(value)}`).join(", ")}`}`;
}

const isEmpty = (value: unknown): boolean => value === false || (Array.isArray(value) && value.length === 0);
