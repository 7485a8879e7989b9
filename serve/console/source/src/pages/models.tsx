/** All models and their versions. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { byModel, useConsole, type ModelRows } from "../context";
import type { VersionRow } from "../documents";
import { Empty, StateBadge, Tag, Wide } from "../parts";
import { toModel, toVersion } from "../routes";
import { count, figure } from "../words";

const SHOWN = 200;

export function ModelsPage(): JSX.Element {
  const { state } = useConsole();
  const [text, setText] = useState("");
  const [only, setOnly] = useState("");
  const [all, setAll] = useState(false);
  const models = byModel(state);
  const found = models.filter(
    ({ name, rows }) =>
      name.toLowerCase().includes(text.trim().toLowerCase()) && (only === "" || rows.some((row) => row.state === only)),
  );
  const shown = all ? found : found.slice(0, SHOWN);
  const states = [...new Set(state.models.map((row) => row.state))].sort();
  return (
    <>
      <h1>Models</h1>
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <label>
          Name
          <input type="search" value={text} onInput={(event) => setText(event.currentTarget.value)} autocomplete="off" />
        </label>
        <label>
          State
          <select value={only} onChange={(event) => setOnly(event.currentTarget.value)}>
            <option value="">any</option>
            {states.map((each) => (
              <option key={each} value={each}>
                {each.toLowerCase()}
              </option>
            ))}
          </select>
        </label>
        <p class="found" aria-live="polite">
          {found.length === models.length ? count(models.length, "model") : `${found.length} of ${count(models.length, "model")}`}
        </p>
      </form>
      {models.length === 0 ? (
        <Empty>
          No models yet. Name one in the config and run <code>onegate apply</code>.
        </Empty>
      ) : found.length === 0 ? (
        <Empty>No model is called so and in that state.</Empty>
      ) : (
        <Wide label="Models and versions">
          <table>
            <thead>
              <tr>
                <th scope="col">Model</th>
                <th scope="col">Version</th>
                <th scope="col">State</th>
                <th scope="col" class="number">
                  Traffic
                </th>
                <th scope="col">Labels</th>
                <th scope="col" class="minor">
                  Made of
                </th>
                <th scope="col" class="number minor">
                  Parity error
                </th>
                <th scope="col" class="minor">
                  Executor
                </th>
                <th scope="col" class="number minor">
                  Replicas
                </th>
              </tr>
            </thead>
            {shown.map((model) => (
              <ModelBody key={model.name} model={model} />
            ))}
          </table>
        </Wide>
      )}
      {shown.length < found.length && (
        <p>
          <button type="button" onClick={() => setAll(true)}>
            Show all {found.length}
          </button>
        </p>
      )}
    </>
  );
}

function ModelBody({ model }: { model: ModelRows }): JSX.Element {
  return (
    <tbody>
      {model.rows.map((row, i) => (
        <Row key={`${row.version ?? row.state}`} row={row} first={i === 0} rows={model.rows.length} />
      ))}
    </tbody>
  );
}

function Row({ row, first, rows }: { row: VersionRow; first: boolean; rows: number }): JSX.Element {
  return (
    <>
      <tr>
        {first && (
          <th scope="rowgroup" rowSpan={rows} class="name">
            <a href={toModel(row.name)}>{row.name}</a>
          </th>
        )}
        <td class="short">{row.version === null ? "none yet" : <a href={toVersion(row.name, row.version)}>{row.called ?? row.version}</a>}</td>
        <td>
          <StateBadge state={row.state} />
          {row.reason !== null && (
            <span class="reason" title={row.reason}>
              {row.reason}
            </span>
          )}
        </td>
        <td class="number">{row.version === null ? "" : `${row.traffic}%`}</td>
        <td>
          {row.labels.map((label) => (
            <Tag key={label}>{label}</Tag>
          ))}
        </td>
        <td class="minor short">{row.framework === null ? "" : `${row.framework} → ${row.runtime ?? ""}`}</td>
        <td class="number minor">{row.max_rel_error === null ? "" : figure(row.max_rel_error)}</td>
        <td class="minor short">{row.executor === null ? "" : `${row.executor}${row.device === null ? "" : `, ${row.device}`}`}</td>
        <td class="number minor">{row.version === null ? "" : `${row.replicas.ready} of ${row.replicas.wanted}`}</td>
      </tr>
    </>
  );
}
