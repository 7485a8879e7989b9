/** All models and their versions. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { byModel, useConsole, type ModelRows } from "../context";
import type { VersionRow } from "../documents";
import { Empty, Labels, StateBadge, Table, VersionLink } from "../parts";
import { toModel } from "../routes";
import { madeOf, parityError } from "../rows";
import { count } from "../words";

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
        <Table
          label="Models and versions"
          columns={[
            "Model",
            "Version",
            "State",
            ["Traffic", "number"],
            "Labels",
            ["Made of", "minor"],
            ["Parity error", "number minor"],
            ["Executor", "minor"],
            ["Replicas", "number minor"],
          ]}
        >
          {shown.map((model) => (
            <ModelBody key={model.name} model={model} />
          ))}
        </Table>
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
    <tr>
      {first && (
        <th scope="rowgroup" rowSpan={rows} class="name">
          <a href={toModel(row.name)}>{row.name}</a>
        </th>
      )}
      <td class="short">
        <VersionLink row={row} />
      </td>
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
        <Labels row={row} />
      </td>
      <td class="minor short">{madeOf(row)}</td>
      <td class="number minor">{parityError(row)}</td>
      <td class="minor short">{row.executor === null ? "" : `${row.executor}${row.device === null ? "" : `, ${row.device}`}`}</td>
      <td class="number minor">{row.version === null ? "" : `${row.replicas.ready} of ${row.replicas.wanted}`}</td>
    </tr>
  );
}
