import { expect, test } from "vitest";
import { areSame, given, moved } from "../src/shares";

test.each([
  [{ "1": 90, "2": 10 }, "2", 50, { "1": 50, "2": 50 }],
  [{ "1": 60, "2": 20, "3": 20 }, "1", 20, { "1": 20, "2": 40, "3": 40 }],
  [{ "1": 100, "2": 0, "3": 0 }, "1", 0, { "1": 0, "2": 50, "3": 50 }],
  [{ "1": 34, "2": 33, "3": 33 }, "1", 1, { "1": 1, "2": 50, "3": 49 }],
  [{ "1": 100 }, "1", 30, { "1": 100 }],
  [{ "1": 50, "2": 50 }, "1", 130, { "1": 100, "2": 0 }],
])("of %o, %s at %i percent makes %o", (before, version, percent, after) => {
  const shares = moved(before, version, percent);
  expect(shares).toEqual(after);
  expect(Object.values(shares).reduce((sum, each) => sum + each, 0)).toBe(100);
});

test("a version that is not listed has nothing", () => {
  expect(areSame({ "1": 100, "2": 0 }, { "1": 100 })).toBe(true);
  expect(areSame({ "1": 100 }, { "2": 100 })).toBe(false);
  expect(given({ "1": 100, "2": 0 })).toEqual({ "1": 100 });
});
