/** How a model's versions do beside each other, and how far a shadow's answers are from what was answered. */

import type { JSX } from "preact";
import { api } from "../api";
import type { Comparison, Quantiles } from "../documents";
import { useLive } from "../live";
import { Answered, Empty, Facts, Section, Table } from "../parts";
import { counts, figure, milliseconds, moment, percent } from "../words";
import { RolloutCard } from "./rollouts";

const EVERY_MS = 3000;

export function ComparisonTab({ model }: { model: string }): JSX.Element {
  const live = useLive(`comparison ${model}`, () => api.comparison(model), EVERY_MS);
  return (
    <Answered live={live}>
      {(report) => (
        <>
          {report.rollout !== null && (
            <Section title="Rollout">
              <RolloutCard rollout={report.rollout} />
            </Section>
          )}
          <Section title="Versions side by side">
            <SideBySide report={report} />
          </Section>
          {report.comparisons.map((each) => (
            <Differences key={`${each.reference} ${each.version}`} compared={each} />
          ))}
        </>
      )}
    </Answered>
  );
}

function SideBySide({ report }: { report: Comparison }): JSX.Element {
  if (report.versions.length === 0) {
    return <Empty>Nothing is compared: one version gets all calls, and none gets copies of them.</Empty>;
  }
  return (
    <Table
      label="Versions side by side"
      columns={[
        "Version",
        ["Traffic", "number"],
        ["Requests", "number"],
        ["Failed", "number"],
        "Its own faults",
        ["Refused", "number"],
        ["p50", "number"],
        ["p90", "number"],
        ["p99", "number"],
      ]}
    >
      <tbody>
        {report.versions.map((each) => (
          <tr key={each.version}>
            <th scope="row">{each.called}</th>
            <td class="number">{each.traffic}%</td>
            <td class="number">{each.requests.toLocaleString("en")}</td>
            <td class="number">{each.failed.toLocaleString("en")}</td>
            <td>{counts(each.faults)}</td>
            <td class="number">{each.refused.toLocaleString("en")}</td>
            <QuantileCells values={each.latency_ms} />
          </tr>
        ))}
      </tbody>
    </Table>
  );
}

function QuantileCells({ values }: { values: Quantiles | null }): JSX.Element {
  return (
    <>
      {(["p50", "p90", "p99"] as const).map((each) => (
        <td class="number" key={each}>
          {values === null ? "" : milliseconds(values[each])}
        </td>
      ))}
    </>
  );
}

function Differences({ compared }: { compared: Comparison["comparisons"][number] }): JSX.Element {
  return (
    <Section title={`Version ${compared.called} beside version ${compared.reference}`}>
      <Facts
        facts={[
          ["Compared", `${compared.compared.toLocaleString("en")} answers since ${moment(compared.since)}`],
          ["Agree", compared.compared === 0 ? "none yet" : percent(compared.agreeing / compared.compared)],
          ["Failed only there", counts(compared.failures)],
          ["Not compared", compared.dropped === 0 ? null : `${compared.dropped.toLocaleString("en")}, for want of time`],
          ["p50 of both", pair(compared.latency_ms, "p50")],
          ["p99 of both", pair(compared.latency_ms, "p99")],
        ]}
      />
      {compared.outputs.length > 0 && (
        <Table
          label="Differences by output"
          columns={[
            "Output",
            ["Rows", "number"],
            ["Agree", "number"],
            ["Error, p50", "number"],
            ["p99", "number"],
            ["Largest", "number"],
            "Not comparable",
          ]}
        >
          <tbody>
            {compared.outputs.map((each) => (
              <tr key={each.name}>
                <th scope="row">{each.name}</th>
                <td class="number">{each.rows.toLocaleString("en")}</td>
                <td class="number">{each.rows === 0 ? "" : percent(each.agreeing_rows / each.rows)}</td>
                <td class="number">{each.relative_error === null ? "" : figure(each.relative_error.p50)}</td>
                <td class="number">{each.relative_error === null ? "" : figure(each.relative_error.p99)}</td>
                <td class="number">{each.relative_error === null ? "" : figure(each.relative_error.max)}</td>
                <td>{counts(each.mismatches)}</td>
              </tr>
            ))}
          </tbody>
        </Table>
      )}
    </Section>
  );
}

function pair(both: { reference: Quantiles | null; version: Quantiles | null }, name: "p50" | "p99"): string | null {
  if (both.reference === null || both.version === null) return null;
  return `${milliseconds(both.reference[name])} and ${milliseconds(both.version[name])}`;
}
