/** What plots show, from two readings of the metrics: rates, quantiles, levels. */

import type { Sample, Samples } from "./prometheus";

/** One reading; `at` in milliseconds. */
export interface Reading {
  at: number;
  samples: Samples;
}

export type Wanted = Record<string, string>;

function matching(reading: Reading, name: string, wanted: Wanted): Sample[] {
  const asked = Object.entries(wanted);
  return (reading.samples.get(name) ?? []).filter(({ labels }) => asked.every(([key, value]) => labels[key] === value));
}

/** The sum of a gauge over what matches; null where there is nothing. */
export function level(reading: Reading, name: string, wanted: Wanted = {}): number | null {
  const found = matching(reading, name, wanted);
  return found.length === 0 ? null : found.reduce((sum, each) => sum + each.value, 0);
}

/** By how much a counter grew; what was counted anew, as after a restart, counts from 0. Null without a first value. */
function grown(before: Reading, after: Reading, name: string, wanted: Wanted): number | null {
  const now = matching(after, name, wanted);
  if (now.length === 0) return null;
  const earlier = new Map(matching(before, name, wanted).map((each) => [identity(each), each.value]));
  return now.reduce((sum, each) => {
    const value = earlier.get(identity(each)) ?? 0;
    return sum + (each.value >= value ? each.value - value : each.value);
  }, 0);
}

const identity = (sample: Sample): string =>
  Object.entries(sample.labels)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join("\u0000");

/** A counter's growth a second. */
export function rate(before: Reading, after: Reading, name: string, wanted: Wanted = {}): number | null {
  const more = grown(before, after, name, wanted);
  const elapsed = (after.at - before.at) / 1000;
  return more === null || elapsed <= 0 ? null : more / elapsed;
}

/** The mean of a histogram's values between two readings; null where none came. */
export function mean(before: Reading, after: Reading, name: string, wanted: Wanted = {}): number | null {
  const number = grown(before, after, `${name}_count`, wanted);
  const sum = grown(before, after, `${name}_sum`, wanted);
  return number === null || sum === null || number === 0 ? null : sum / number;
}

/**
 * The value below which a `share` of a histogram's new values lies, between the bounds of its bucket in proportion, as
 * Prometheus' histogram_quantile has it; the last finite bound for what lies above it. Null where no value came.
 */
export function quantile(before: Reading, after: Reading, name: string, share: number, wanted: Wanted = {}): number | null {
  const bounds = new Map<number, number>();
  const texts = new Set(matching(after, `${name}_bucket`, wanted).map((each) => each.labels["le"] ?? ""));
  for (const le of texts) {
    const bound = le === "+Inf" ? Infinity : Number(le);
    const more = grown(before, after, `${name}_bucket`, { ...wanted, le });
    if (!Number.isNaN(bound) && more !== null) bounds.set(bound, more);
  }
  const buckets = [...bounds].sort(([one], [other]) => one - other);
  const total = buckets.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  let lower = 0;
  let below = 0;
  for (const [upper, cumulated] of buckets) {
    if (cumulated >= share * total) {
      if (upper === Infinity) return lower;
      const inside = cumulated - below;
      return inside <= 0 ? upper : lower + ((upper - lower) * (share * total - below)) / inside;
    }
    lower = upper;
    below = cumulated;
  }
  return lower;
}

/** The values that a label has in a series, sorted. */
export function valuesOf(reading: Reading, name: string, label: string, wanted: Wanted = {}): string[] {
  return [...new Set(matching(reading, name, wanted).map((each) => each.labels[label] ?? ""))].filter(Boolean).sort();
}
