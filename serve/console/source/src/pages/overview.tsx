/** A model's versions, its traffic, labels, signature and parity. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { api, refused, rollback } from "../api";
import { ChangeDialog, type PlannedChange } from "../change_dialog";
import { may, useConsole } from "../context";
import type { VersionRow } from "../documents";
import { useLive } from "../live";
import { Answered, Labels, Section, StateBadge, Table, VersionLink } from "../parts";
import { byTraffic, madeOf, nameOf, parityError } from "../rows";
import { LabelEditor } from "./labels";
import { EndedCard, RolloutCard, wasSentBack } from "./rollouts";
import { TrafficEditor } from "./traffic";
import { ParityTable, SignatureTables } from "./version";

export function Overview({ model, rows }: { model: string; rows: VersionRow[] }): JSX.Element {
  const { state, caller } = useConsole();
  const [change, setChange] = useState<PlannedChange | null>(null);
  const mayManage = may(caller, "manage");
  const rollout = state.rollouts.find((each) => each.model === model);
  const sentBack = state.ended_rollouts.find((each) => each.model === model && wasSentBack(each));
  const main = byTraffic(rows)[0];
  return (
    <>
      <Failures model={model} rows={rows} mayManage={mayManage} />
      {rollout !== undefined && (
        <Section title="Rollout">
          <RolloutCard rollout={rollout} />
        </Section>
      )}
      {sentBack !== undefined && (
        <Section title="Last rollout">
          <EndedCard ended={sentBack} />
        </Section>
      )}
      <Section
        title="Versions"
        actions={
          mayManage && (
            <button
              type="button"
              onClick={() =>
                setChange({ title: `Roll ${model} back`, call: rollback(model, null), done: `${model} was rolled back.` })
              }
            >
              Roll back …
            </button>
          )
        }
      >
        <Versions rows={rows} />
      </Section>
      {mayManage && rows.some((row) => row.version !== null) && (
        <>
          <TrafficEditor model={model} rows={rows} onPlan={setChange} />
          <LabelEditor model={model} rows={rows} onPlan={setChange} />
        </>
      )}
      {main?.version !== null && main?.version !== undefined && <Made key={main.version} model={model} version={main.version} />}
      {change !== null && <ChangeDialog change={change} onClose={() => setChange(null)} />}
    </>
  );
}

function Failures({ model, rows, mayManage }: { model: string; rows: VersionRow[]; mayManage: boolean }): JSX.Element | null {
  const failing = rows.filter((row) => row.state === "FAILED");
  if (failing.length === 0) return null;
  return (
    <Section title="What fails" actions={mayManage && <LoadAgain model={model} />}>
      {failing.map((row) => (
        <p class="trouble" key={`${row.version}`}>
          <strong>{row.version === null ? "No version was made: " : `Version ${nameOf(row)}: `}</strong>
          {row.reason ?? "no reason was told"}
        </p>
      ))}
    </Section>
  );
}

/** A button that has a model prepared again, sources read anew. */
export function LoadAgain({ model }: { model: string }): JSX.Element {
  const { say, refresh } = useConsole();
  const [busy, setBusy] = useState(false);
  const load = async (): Promise<void> => {
    setBusy(true);
    try {
      await api.load(model);
      say(`${model} was prepared again.`);
    } catch (raised) {
      // Said, and not shown here: while it was tried nothing failed, and this button was not there.
      say(`${model} still fails: ${refused(raised).message}`);
    } finally {
      setBusy(false);
      refresh();
    }
  };
  return (
    <button type="button" onClick={load} disabled={busy} aria-label={`${busy ? "Trying …" : "Try again"}: ${model}`}>
      {busy ? "Trying …" : "Try again"}
    </button>
  );
}

function Versions({ rows }: { rows: VersionRow[] }): JSX.Element {
  return (
    <Table
      label="Versions"
      columns={[
        "Version",
        "State",
        ["Traffic", "number"],
        "Labels",
        "Made of",
        ["Parity error", "number"],
        "Executor",
        ["Replicas", "number"],
      ]}
    >
      <tbody>
        {rows.map((row) => (
          <tr key={`${row.version ?? row.state}`}>
            <th scope="row">
              <VersionLink row={row} />
            </th>
            <td>
              <StateBadge state={row.state} />
              {row.reason !== null && row.state !== "FAILED" && <span class="reason">{row.reason}</span>}
            </td>
            <td class="number">{row.traffic}%</td>
            <td>
              <Labels row={row} />
            </td>
            <td class="short">{madeOf(row)}</td>
            <td class="number">{parityError(row)}</td>
            <td>
              {row.executor ?? ""}
              {row.device !== null && `, ${row.device}`}
              {row.device_reason !== null && <span class="reason">{row.device_reason}</span>}
            </td>
            <td class="number">
              {row.replicas.ready} of {row.replicas.wanted}
              {row.replicas.min !== row.replicas.max && (
                <span class="reason">
                  {row.replicas.min} to {row.replicas.max}
                </span>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </Table>
  );
}

function Made({ model, version }: { model: string; version: number }): JSX.Element {
  const live = useLive(`${model} ${version}`, () => api.version(model, version), null);
  return (
    <Answered live={live}>
      {(manifest) => (
        <>
          <Section title={`Parity of version ${version}`}>
            <ParityTable manifest={manifest} />
          </Section>
          <Section title={`Signatures of version ${version}`}>
            <SignatureTables manifest={manifest} />
          </Section>
        </>
      )}
    </Answered>
  );
}
