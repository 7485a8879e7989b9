import { expect, test } from "vitest";
import type { TensorSpec } from "../src/documents";
import { Unreadable, random, readInput, requestFor, rowSize, scoredClasses, template, topScores, zero } from "../src/tensors";

const x: TensorSpec = { name: "x", datatype: "FP32", shape: [-1, 2] };

test("a template has the shape, with one row", () => {
  expect(template({ ...x, shape: [-1, 2, 3] }, () => 0)).toBe("[[[0,0,0],[0,0,0]]]");
  expect(template({ ...x, datatype: "BYTES", shape: [-1] }, () => zero({ ...x, datatype: "BYTES" }))).toBe('[""]');
});

test("a row's size is known unless more than the batch may differ", () => {
  expect(rowSize({ ...x, shape: [-1, 3, 4] })).toBe(12);
  expect(rowSize({ ...x, shape: [-1, -1] })).toBeNull();
  expect(rowSize({ ...x, shape: [-1] })).toBe(1);
});

test("nested values become an input, and a row alone is a batch of one", () => {
  expect(readInput(x, "[[1, 2], [3, 4]]")).toEqual({ name: "x", datatype: "FP32", shape: [2, 2], data: [1, 2, 3, 4] });
  expect(readInput(x, "[1, 2]").shape).toEqual([1, 2]);
});

test.each([
  ["[[1, 2, 3]]", "x: expected the shape [any, 2], got [1, 3]"],
  ["[[1, 2], [3]]", "x: expected lists of the same length side by side"],
  ['[["a", 2]]', 'x: "a" is no FP32'],
])("%s is refused: %s", (text, message) => {
  expect(() => readInput(x, text)).toThrow(new Unreadable(message));
});

test("what is no JSON is refused", () => {
  expect(() => readInput(x, "[[1, 2]")).toThrow(/^x: expected JSON/);
});

test("whole numbers are wanted where the datatype has no others", () => {
  expect(() => readInput({ ...x, datatype: "INT64" }, "[[1.5, 2]]")).toThrow("x: 1.5 is no INT64");
});

test("a request names its signature where it is not the default one", () => {
  const signature = { inputs: [x], outputs: [] };
  expect(requestFor(signature, "score", false, { x: "[[1, 2]]" })).toEqual({
    inputs: [{ name: "x", datatype: "FP32", shape: [1, 2], data: [1, 2] }],
    parameters: { signature: "score" },
  });
  expect(requestFor(signature, "serving_default", true, { x: "[[1, 2]]" })).not.toHaveProperty("parameters");
});

test("random values are of the datatype", () => {
  expect(random({ ...x, datatype: "INT32" }, () => 0.55)).toBe(5);
  expect(random(x, () => 0.75)).toBe(0.5);
  expect(random({ ...x, datatype: "BOOL" }, () => 0.1)).toBe(true);
});

test("classes are read in both ways in which processors write them", () => {
  const cat = [{ name: "cat", score: 0.9 }, { name: "dog", score: 0.1 }];
  expect(scoredClasses('[{"probability": 0.9, "class": "cat"}, {"probability": 0.1, "class": "dog"}]')).toEqual(cat);
  expect(scoredClasses('{"dog": 0.1, "cat": 0.9}')).toEqual(cat);
  expect([scoredClasses("[1, 2]"), scoredClasses("no JSON"), scoredClasses("{}")]).toEqual([null, null, null]);
});

test("the highest scores of one row have the model's labels", () => {
  const output = { name: "y", datatype: "FP32", shape: [1, 3], data: [0.1, 0.7, 0.2] };
  expect(topScores(output, ["a", "b", "c"], 2)).toEqual([{ name: "b", score: 0.7 }, { name: "c", score: 0.2 }]);
  expect(topScores(output, ["a"], 1)).toEqual([{ name: "column 1", score: 0.7 }]);
  expect(topScores({ ...output, shape: [3, 1] }, null)).toBeNull();
});
