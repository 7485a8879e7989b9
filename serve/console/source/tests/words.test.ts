import { expect, test } from "vitest";
import { refusal } from "../src/api";
import { bytes, count, counts, figure, seconds } from "../src/words";

test.each([
  [0, "0"], [0.00000034, "3.4e-7"], [0.0063, "0.0063"], [12.44, "12.4"], [1239.6, "1,240"], [2e9, "2.0e9"], [Infinity, "not finite"],
])("the figure %d is %s", (value, text) => {
  expect(figure(value)).toBe(text);
});

test("sizes and times have their units", () => {
  expect([bytes(512), bytes(1536), bytes(5 * 2 ** 30)]).toEqual(["512 B", "1.5 KiB", "5 GiB"]);
  expect([seconds(0.0042), seconds(3.44)]).toEqual(["4.2 ms", "3.44 s"]);
  expect([count(1, "model"), count(1200, "model")]).toEqual(["1 model", "1,200 models"]);
});

test("numbers by kind leave out what did not happen", () => {
  expect([counts({ Overloaded: 1200, InvalidInput: 0 }), counts({})]).toEqual(["Overloaded 1,200", "none"]);
});

test("an error is read in each protocol's way, and told by its status where there is none", () => {
  expect(refusal(409, '{"error": "planned from 3", "kind": "Conflict"}')).toMatchObject({ kind: "Conflict", message: "planned from 3" });
  expect(refusal(404, '{"code": 404, "type": "ModelNotFound", "message": "no such model"}').message).toBe("no such model");
  expect(refusal(502, "").message).toBe("HTTP status 502");
});
