/** New versions on their way to all calls, and models whose versions share calls. */

import type { JSX } from "preact";
import { byModel, useConsole } from "../context";
import type { Rollout } from "../documents";
import { Empty, Facts, Section, StateBadge, Table } from "../parts";
import { toModel } from "../routes";
import { nameOf } from "../rows";
import { moment } from "../words";

export function RolloutsPage(): JSX.Element {
  const { state } = useConsole();
  const shared = byModel(state).filter(({ rows }) => rows.filter((row) => row.version !== null && row.state !== "DRAINING").length > 1);
  return (
    <>
      <h1>Rollouts</h1>
      <Section title="On their way">
        {state.rollouts.length === 0 ? (
          <Empty>
            None. A model with <code>rollout: steps</code> gets one with its next version.
          </Empty>
        ) : (
          state.rollouts.map((rollout) => (
            <article class="card" key={rollout.model}>
              <h3>
                <a href={toModel(rollout.model, "comparison")}>{rollout.model}</a>
              </h3>
              <RolloutCard rollout={rollout} />
            </article>
          ))
        )}
      </Section>
      <Section title="Models with several versions">
        {shared.length === 0 ? (
          <Empty>Every model has one version.</Empty>
        ) : (
          <Table label="Models with several versions" columns={["Model", "Version", "State", ["Traffic", "number"]]}>
            {shared.map(({ name, rows }) => (
              <tbody key={name}>
                {rows.map((row, i) => (
                  <tr key={`${row.version ?? row.state}`}>
                    {i === 0 && (
                      <th scope="rowgroup" rowSpan={rows.length} class="name">
                        <a href={toModel(name, "comparison")}>{name}</a>
                      </th>
                    )}
                    <td>{nameOf(row)}</td>
                    <td>
                      <StateBadge state={row.state} />
                    </td>
                    <td class="number">{row.traffic}%</td>
                  </tr>
                ))}
              </tbody>
            ))}
          </Table>
        )}
      </Section>
    </>
  );
}

export function RolloutCard({ rollout }: { rollout: Rollout }): JSX.Element {
  return (
    <>
      <div class="steps">
        <progress max={100} value={rollout.percent} aria-label={`Calls that go to version ${rollout.canary} of ${rollout.model}`} />
        <span>
          {rollout.percent}% to version {rollout.canary}, the rest to {rollout.stable}
        </span>
      </div>
      <Facts
        facts={[
          ["State", rollout.state],
          ["Steps", rollout.steps.map((each) => `${each}%`).join(", ")],
          ["Why", rollout.reason],
          ["Began", moment(rollout.began)],
          ["At this step since", moment(rollout.since)],
        ]}
      />
      {rollout.evidence.length > 0 && (
        <ul class="details">
          {rollout.evidence.map((each) => (
            <li key={each}>{each}</li>
          ))}
        </ul>
      )}
    </>
  );
}
