import { expect, test } from "vitest";
import { routeOf, toModel, toVersion } from "../src/routes";

test.each([
  ["", { page: "models" }],
  ["#/", { page: "models" }],
  ["#/failures", { page: "failures" }],
  ["#/models/digits", { page: "model", model: "digits", tab: "overview" }],
  ["#/models/digits/try", { page: "model", model: "digits", tab: "try" }],
  ["#/models/a%20b/versions/3", { page: "version", model: "a b", version: 3 }],
  ["#/models/digits/versions/none", { page: "missing" }],
  ["#/models/digits/elsewhere", { page: "missing" }],
  ["#/nothing", { page: "missing" }],
  ["#/models/%E0%A4%A", { page: "missing" }],
])("%s leads to %o", (hash, route) => {
  expect(routeOf(hash)).toEqual(route);
});

test("addresses lead where they say", () => {
  expect(routeOf(toModel("a/b", "load"))).toEqual({ page: "model", model: "a/b", tab: "load" });
  expect(routeOf(toVersion("m", 12))).toEqual({ page: "version", model: "m", version: 12 });
});
