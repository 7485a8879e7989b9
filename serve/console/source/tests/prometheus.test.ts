import { expect, test } from "vitest";
import { parseMetrics } from "../src/prometheus";

test("samples have their labels and values", () => {
  const samples = parseMetrics(
    '# HELP onegate_requests_total Requests.\n# TYPE onegate_requests_total counter\n' +
      'onegate_requests_total{model="digits",version="1",dialect="plain"} 12\nonegate_gateways 2\n',
  );
  expect(samples.get("onegate_requests_total")).toMatchObject([
    { labels: { model: "digits", version: "1", dialect: "plain" }, value: 12 },
  ]);
  expect(samples.get("onegate_gateways")).toMatchObject([{ labels: {}, value: 2 }]);
  expect(samples.size).toBe(2);
});

test("escapes, braces and commas inside a label are its text", () => {
  const [sample] = parseMetrics('x{a="say \\"}\\" , b",b="line\\nnext\\\\"} 1\n').get("x") ?? [];
  expect(sample?.labels).toEqual({ a: 'say "}" , b', b: "line\nnext\\" });
  expect(sample?.value).toBe(1);
});

test("infinities, exponents and a timestamp are read", () => {
  const values = parseMetrics("a +Inf\nb -Inf\nc 1.5e-3 1700000000000\nd NaN\n");
  expect([values.get("a"), values.get("b"), values.get("c"), values.get("d")].map((each) => each?.[0]?.value)).toEqual([
    Infinity,
    -Infinity,
    0.0015,
    NaN,
  ]);
});

test("lines that are no samples are passed over", () => {
  expect(parseMetrics('\n{"error": "no"}\nx{a="1" 3\nx{a="1"} three\n# y 1\n').size).toBe(0);
});
