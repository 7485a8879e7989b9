/** New versions on their way to all calls, and models whose versions share calls. */

import type { JSX } from "preact";
import { byModel, useConsole } from "../context";
import type { EndedRollout, Rollout } from "../documents";
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
      {state.ended_rollouts.length > 0 && (
        <Section title="The last one of each model">
          {state.ended_rollouts.map((ended) => (
            <article class="card" key={ended.model}>
              <h3>
                <a href={toModel(ended.model)}>{ended.model}</a>
              </h3>
              <EndedCard ended={ended} />
            </article>
          ))}
        </Section>
      )}
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
      <Evidence told={rollout.evidence} />
    </>
  );
}

/** Whether the guard has sent the version back, and that is still how the model is served. */
export function wasSentBack(ended: EndedRollout): boolean {
  return ended.state === "went back" && ended.holds;
}

export function EndedCard({ ended }: { ended: EndedRollout }): JSX.Element {
  return (
    <>
      {wasSentBack(ended) && (
        <p class="trouble">
          <strong>Version {ended.canary} was sent back</strong>, version {ended.stable} answers.
        </p>
      )}
      <Facts
        facts={[
          ["State", ended.state],
          ["Versions", `${ended.canary} for ${ended.stable}`],
          ["Why", ended.reason],
          ["Began", moment(ended.began)],
          ["Ended", ended.ended === null ? "" : moment(ended.ended)],
          ["Ended by", ended.ended_by],
        ]}
      />
      <Evidence told={ended.evidence} />
    </>
  );
}

function Evidence({ told }: { told: string[] }): JSX.Element | null {
  if (told.length === 0) return null;
  return (
    <ul class="details">
      {told.map((each) => (
        <li key={each}>{each}</li>
      ))}
    </ul>
  );
}
