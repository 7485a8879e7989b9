/** The plots of one model, or of all together, from the metrics. */

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { level, mean, quantile, rate, valuesOf, type Reading, type Wanted } from "./figures";
import { Empty, Trouble } from "./parts";
import { Plot, type Line } from "./plot";
import { useReadings } from "./readings";
import { figure, percent, seconds } from "./words";

type Measure = (before: Reading, after: Reading) => number | null;

interface PlotSpec {
  title: string;
  format: (value: number) => string;
  top?: number;
  lines: [string, Measure][];
}

export function Plots({ model }: { model: string | null }): JSX.Element {
  const { kept, error } = useReadings();
  const specs = useMemo(() => plotsOf(model, kept.at(-1)), [model, kept]);
  if (error !== null && [401, 403].includes(error.status)) {
    return <Empty>No metrics: the key lacks the scope “metrics”.</Empty>;
  }
  if (error?.status === 404) return <Empty>No metrics: this controller has none to give.</Empty>;
  const times = kept.slice(1).map((each) => each.at);
  return (
    <>
      {error !== null && <Trouble error={error} />}
      <div class="plots">
        {specs.map((spec) => (
          <Plot
            key={spec.title}
            title={spec.title}
            times={times}
            lines={spec.lines.map(([name, measure]): Line => ({ name, values: measured(kept, measure) }))}
            format={spec.format}
            {...(spec.top === undefined ? {} : { top: spec.top })}
          />
        ))}
      </div>
    </>
  );
}

function measured(kept: Reading[], measure: Measure): (number | null)[] {
  return kept.slice(1).map((after, i) => {
    const before = kept[i];
    return before === undefined ? null : measure(before, after);
  });
}

function plotsOf(model: string | null, newest: Reading | undefined): PlotSpec[] {
  const wanted: Wanted = model === null ? {} : { model };
  const versions = model === null || newest === undefined ? [] : valuesOf(newest, "onegate_requests_total", "version", wanted);
  const byVersion = (name: string): [string, Measure][] =>
    versions.length > 1
      ? versions.map((version) => [`version ${version}`, (b, a) => rate(b, a, name, { ...wanted, version })])
      : [["all", (b, a) => rate(b, a, name, wanted)]];
  const duration = "onegate_request_duration_seconds";
  return [
    { title: "Requests a second", format: figure, lines: byVersion("onegate_requests_total") },
    {
      title: "Latency",
      format: seconds,
      lines: [
        ["p50", (b, a) => quantile(b, a, duration, 0.5, wanted)],
        ["p99", (b, a) => quantile(b, a, duration, 0.99, wanted)],
      ],
    },
    {
      title: "Errors a second",
      format: figure,
      lines: [["all kinds", (b, a) => rate(b, a, "onegate_request_errors_total", wanted)]],
    },
    {
      title: "Batch fill",
      format: percent,
      top: 1,
      lines: [["mean", (b, a) => mean(b, a, "onegate_batch_fill_ratio", wanted)]],
    },
    {
      title: "Rows in the queue",
      format: figure,
      lines: [["waiting", (_, a) => level(a, "onegate_queue_rows", wanted)]],
    },
    {
      title: "Replicas",
      format: figure,
      lines: [
        ["ready", (_, a) => level(a, "onegate_replicas", { ...wanted, state: "ready" })],
        ["wanted", (_, a) => level(a, "onegate_replicas", { ...wanted, state: "wanted" })],
      ],
    },
  ];
}
