/** Who changed what, and what was served. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { api, rollback } from "../api";
import { ChangeDialog, type PlannedChange } from "../change_dialog";
import { may, useConsole } from "../context";
import type { HistoryEntry, RolloutEntry, ServedEntry } from "../documents";
import { useLive } from "../live";
import { Answered, Empty, Section, Table } from "../parts";
import { toModel } from "../routes";
import { moment, told } from "../words";

const PAGE = 20;

export function HistoryPage(): JSX.Element {
  const { state } = useConsole();
  const [limit, setLimit] = useState(PAGE);
  const live = useLive(`history ${state.generation} ${limit}`, () => api.history(null, limit), null);
  return (
    <>
      <h1>History</h1>
      <Answered live={live}>
        {(history) => (
          <>
            <Generations entries={history.generations} level="h2" />
            {history.generations.length === limit && (
              <button type="button" onClick={() => setLimit(limit * 2)}>
                Show earlier ones
              </button>
            )}
          </>
        )}
      </Answered>
    </>
  );
}

export function ModelHistory({ model }: { model: string }): JSX.Element {
  const { state, caller } = useConsole();
  const [change, setChange] = useState<PlannedChange | null>(null);
  const live = useLive(`history ${model} ${state.generation}`, () => api.history(model), null);
  const goBack = (record: ServedEntry): void =>
    setChange({
      title: `Go back to record ${record.number} of ${model}`,
      call: rollback(model, record.number),
      done: `${model} is served as record ${record.number} says.`,
    });
  return (
    <Answered live={live}>
      {(history) => (
        <>
          <Section title="What was served">
            <Served records={history.served} {...(may(caller, "manage") ? { onGoBack: goBack } : {})} />
          </Section>
          {history.rollouts.length > 0 && (
            <Section title="Rollouts">
              <RolloutSteps steps={history.rollouts} />
            </Section>
          )}
          <Section title="Changes">
            <Generations entries={history.generations} level="h3" />
          </Section>
          {change !== null && <ChangeDialog change={change} onClose={() => setChange(null)} />}
        </>
      )}
    </Answered>
  );
}

function Served({ records, onGoBack }: { records: ServedEntry[]; onGoBack?: (record: ServedEntry) => void }): JSX.Element {
  if (records.length === 0) return <Empty>Nothing was served of this model yet.</Empty>;
  return (
    <Table label="What was served" columns={["Record", "Since", "Served", "By", ...(onGoBack === undefined ? [] : ["Go back"])]}>
      <tbody>
        {records.map((record) => (
          <tr key={record.number}>
            <th scope="row">{record.number}</th>
            <td class="short">{moment(record.since)}</td>
            <td class="text">{record.text}</td>
            <td>{record.by}</td>
            {onGoBack !== undefined && (
              <td class="short">
                <button type="button" class="plain" onClick={() => onGoBack(record)} aria-label={`To this … record ${record.number}`}>
                  To this …
                </button>
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </Table>
  );
}

function RolloutSteps({ steps }: { steps: RolloutEntry[] }): JSX.Element {
  return (
    <Table label="Steps of rollouts" columns={["When", "Rollout", "State", "Why"]}>
      <tbody>
        {steps.map((step) => (
          <tr key={step.number}>
            <td class="short">{moment(step.at)}</td>
            <td>
              {step.stable} → {step.canary}, {step.percent}%
            </td>
            <td>{step.state}</td>
            <td class="text">{step.reason}</td>
          </tr>
        ))}
      </tbody>
    </Table>
  );
}

function Generations({ entries, level: Heading }: { entries: HistoryEntry[]; level: "h2" | "h3" }): JSX.Element {
  if (entries.length === 0) return <Empty>Nothing was changed yet.</Empty>;
  return (
    <ol class="generations" reversed>
      {entries.map((entry) => (
        <li key={entry.number} class="card">
          <Heading>
            Generation {entry.number}
            {entry.why !== "" && `: ${entry.why}`}
          </Heading>
          <p class="hint">
            {moment(entry.created)}
            {entry.by !== "" && `, by ${entry.by}`}
          </p>
          <ul class="details">
            {entry.changes.map((change) => (
              <li key={change.model}>
                <a href={toModel(change.model)}>{change.model}</a>: {VERBS[change.action] ?? change.action}
                {change.differences.length > 0 && (
                  <ul>
                    {change.differences.map((each) => (
                      <li key={each.path}>
                        <code>{each.path}</code>: {told(each.old)} → {told(each.new)}
                      </li>
                    ))}
                  </ul>
                )}
              </li>
            ))}
            {entry.settings.map((each) => (
              <li key={each.path}>
                <code>{each.path}</code>: {told(each.old)} → {told(each.new)}
              </li>
            ))}
          </ul>
        </li>
      ))}
    </ol>
  );
}

const VERBS: Record<string, string> = { add: "added", change: "changed", retire: "retired" };
