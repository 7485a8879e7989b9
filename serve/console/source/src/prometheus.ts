/** The text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/), read. */

export interface Sample {
  labels: Record<string, string>;
  value: number;
}

/** Name of a series -> its samples, histograms as `_bucket`, `_sum` and `_count`. */
export type Samples = Map<string, Sample[]>;

/** All samples of a text. Lines that are none are passed over: a figure that can't be read must not hide the others. */
export function parseMetrics(text: string): Samples {
  const found: Samples = new Map();
  for (const line of text.split("\n")) {
    const read = parseLine(line);
    if (read === null) continue;
    const samples = found.get(read.name);
    if (samples === undefined) found.set(read.name, [read]);
    else samples.push(read);
  }
  return found;
}

const NAME = /^([a-zA-Z_:][a-zA-Z0-9_:]*)\s*/;
const LABEL = /\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?/y;

function parseLine(line: string): (Sample & { name: string }) | null {
  const head = NAME.exec(line);
  if (head === null || head[1] === undefined) return null;
  let rest = line.slice(head[0].length);
  const labels: Record<string, string> = {};
  if (rest.startsWith("{")) {
    LABEL.lastIndex = 1;
    let end = 1;
    for (let label = LABEL.exec(rest); label !== null; label = LABEL.exec(rest)) {
      if (label[1] !== undefined && label[2] !== undefined) labels[label[1]] = unescaped(label[2]);
      end = LABEL.lastIndex;
    }
    const close = rest.indexOf("}", end);
    if (close < 0) return null;
    rest = rest.slice(close + 1);
  }
  const value = numberOf(rest.trim().split(/\s+/)[0] ?? "");
  return value === null ? null : { name: head[1], labels, value };
}

function unescaped(text: string): string {
  return text.replace(/\\(.)/g, (_, character: string) => (character === "n" ? "\n" : character));
}

function numberOf(text: string): number | null {
  if (text === "+Inf") return Infinity;
  if (text === "-Inf") return -Infinity;
  if (text === "NaN") return NaN;
  const value = text === "" ? NaN : Number(text);
  return Number.isNaN(value) ? null : value;
}
