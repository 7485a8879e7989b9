import { expect, test } from "vitest";
import { level, mean, quantile, rate, valuesOf, type Reading } from "../src/figures";
import { parseMetrics } from "../src/prometheus";

const reading = (at: number, text: string): Reading => ({ at, samples: parseMetrics(text) });

test("a rate is a counter's growth a second, over all that matches", () => {
  const before = reading(0, 'n{model="a",dialect="x"} 10\nn{model="a",dialect="y"} 5\nn{model="b",dialect="x"} 7\n');
  const after = reading(2000, 'n{model="a",dialect="x"} 14\nn{model="a",dialect="y"} 7\nn{model="b",dialect="x"} 9\n');
  expect(rate(before, after, "n", { model: "a" })).toBe(3);
  expect(rate(before, after, "n")).toBe(4);
});

test("a counter that began anew counts from nothing", () => {
  expect(rate(reading(0, "n 100\n"), reading(1000, "n 4\n"), "n")).toBe(4);
});

test("what is not there has no rate, no level and no quantile", () => {
  const empty = reading(0, "");
  expect([rate(empty, empty, "n"), level(empty, "n"), quantile(empty, empty, "n", 0.5), mean(empty, empty, "n")]).toEqual([
    null,
    null,
    null,
    null,
  ]);
});

const histogram = (low: number, middle: number, all: number): string =>
  `h_bucket{le="0.1"} ${low}\nh_bucket{le="0.2"} ${middle}\nh_bucket{le="+Inf"} ${all}\nh_sum ${all / 10}\nh_count ${all}\n`;

test("a quantile lies within its bucket in proportion, counting new values only", () => {
  const [before, after] = [reading(0, histogram(1000, 1000, 1000)), reading(1000, histogram(1010, 1020, 1020))];
  expect(quantile(before, after, "h", 0.5)).toBeCloseTo(0.1, 9);
  expect(quantile(before, after, "h", 0.75)).toBeCloseTo(0.15, 9);
});

test("beyond the last bound a quantile is that bound", () => {
  expect(quantile(reading(0, histogram(0, 0, 0)), reading(1000, histogram(1, 1, 10)), "h", 0.99)).toBe(0.2);
});

test("without new values there is neither a quantile nor a mean", () => {
  const [before, after] = [reading(0, histogram(1, 2, 3)), reading(1000, histogram(1, 2, 3))];
  expect([quantile(before, after, "h", 0.5), mean(before, after, "h")]).toEqual([null, null]);
});

test("a mean is of the new values", () => {
  expect(mean(reading(0, "h_sum 10\nh_count 10\n"), reading(1000, "h_sum 16\nh_count 13\n"), "h")).toBe(2);
});

test("the values of a label are listed once, sorted", () => {
  const found = reading(0, 'n{model="b",version="2"} 1\nn{model="a",version="1"} 1\nn{model="b",version="1"} 1\n');
  expect(valuesOf(found, "n", "model")).toEqual(["a", "b"]);
  expect(valuesOf(found, "n", "version", { model: "b" })).toEqual(["1", "2"]);
});
