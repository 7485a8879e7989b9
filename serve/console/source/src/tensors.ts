/** From what people type to an Open Inference request, and from its answer to what they read. */

import type { InferOutput, Manifest, Signature, TensorSpec } from "./documents";

/** The signature of raw bodies, which has no form. */
export const PAYLOAD = "payload";

/** A row of so many numbers or fewer gets a field for each. */
export const MOST_FIELDS = 16;

export class Unreadable extends Error {}

/** Elements in one row: what is left of a shape without its batch, where that is known. */
export function rowSize(spec: TensorSpec): number | null {
  const dims = isBatched(spec) ? spec.shape.slice(1) : spec.shape;
  return dims.some((each) => each < 0) ? null : dims.reduce((product, each) => product * each, 1);
}

export const isBatched = (spec: TensorSpec): boolean => spec.shape[0] === -1;

export const isText = (spec: TensorSpec): boolean => spec.datatype === "BYTES";

/** One row as JSON text, with `value` for every element; dimensions that may differ are 1 long. */
export function template(spec: TensorSpec, value: (index: number) => unknown): string {
  let index = 0;
  const build = (dims: number[]): unknown =>
    dims.length === 0 ? value(index++) : Array.from({ length: dims[0]! < 0 ? 1 : dims[0]! }, () => build(dims.slice(1)));
  return JSON.stringify(build(spec.shape));
}

export function zero(spec: TensorSpec): unknown {
  return isText(spec) ? "" : spec.datatype === "BOOL" ? false : 0;
}

/** A value that such a tensor may well have: within [-1, 1], or a small whole number. */
export function random(spec: TensorSpec, draw: () => number = Math.random): unknown {
  if (isText(spec)) return "text";
  if (spec.datatype === "BOOL") return draw() < 0.5;
  if (spec.datatype.startsWith("UINT") || spec.datatype.startsWith("INT")) return Math.floor(draw() * 10);
  return Number((draw() * 2 - 1).toFixed(3));
}

export interface InferInput {
  name: string;
  datatype: string;
  shape: number[];
  data: unknown[];
}

/** An input of the request from nested JSON. Throws `Unreadable`, which says what was expected. */
export function readInput(spec: TensorSpec, text: string): InferInput {
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch (error) {
    throw new Unreadable(`${spec.name}: expected JSON, got what is none (${(error as Error).message})`);
  }
  const dims = shapeOf(spec.name, values);
  if (dims.length === spec.shape.length - 1 && isBatched(spec)) dims.unshift(1);
  const fits = dims.length === spec.shape.length && dims.every((each, i) => spec.shape[i]! < 0 || spec.shape[i] === each);
  if (!fits) {
    const expected = spec.shape.map((each) => (each < 0 ? "any" : each)).join(", ");
    throw new Unreadable(`${spec.name}: expected the shape [${expected}], got [${dims.join(", ")}]`);
  }
  const data = flattened(values);
  const wrong = data.find((each) => !suits(spec, each));
  if (wrong !== undefined) {
    throw new Unreadable(`${spec.name}: ${JSON.stringify(wrong)} is no ${spec.datatype}`);
  }
  return { name: spec.name, datatype: spec.datatype, shape: dims, data };
}

function shapeOf(name: string, values: unknown): number[] {
  if (!Array.isArray(values)) return [];
  const inner = values.map((each) => shapeOf(name, each));
  const first = inner[0] ?? [];
  if (inner.some((each) => each.join() !== first.join())) {
    throw new Unreadable(`${name}: expected lists of the same length side by side`);
  }
  return [values.length, ...first];
}

function flattened(values: unknown): unknown[] {
  return Array.isArray(values) ? values.flatMap(flattened) : [values];
}

function suits(spec: TensorSpec, value: unknown): boolean {
  if (isText(spec)) return typeof value === "string";
  if (spec.datatype === "BOOL") return typeof value === "boolean";
  if (typeof value !== "number") return false;
  return spec.datatype.includes("INT") ? Number.isInteger(value) : true;
}

/** The request for a signature, from a text for each input. */
export function requestFor(signature: Signature, name: string, isDefault: boolean, texts: Record<string, string>): object {
  return {
    inputs: signature.inputs.map((spec) => readInput(spec, texts[spec.name] ?? "")),
    ...(isDefault ? {} : { parameters: { signature: name } }),
  };
}

/** Signatures that a form can be made of, the default one first. */
export function formSignatures(manifest: Manifest): string[] {
  const names = Object.keys(manifest.signatures).filter((each) => each !== PAYLOAD);
  return names.sort((one, other) => Number(other === manifest.default_signature) - Number(one === manifest.default_signature));
}

export const takesPictures = (manifest: Manifest): boolean => manifest.processor?.type === "image";

/** Whether a body of any kind may be sent: to a processor, or to a handler. */
export const takesBodies = (manifest: Manifest): boolean => PAYLOAD in manifest.signatures;

export interface Scored {
  name: string;
  score: number;
}

/** Classes with their scores, where an answer is a list of these in one of the ways that processors write. */
export function scoredClasses(text: string): Scored[] | null {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    return null;
  }
  if (Array.isArray(answer)) {
    const rows = answer as { class?: unknown; probability?: unknown }[];
    if (rows.length > 0 && rows.every((each) => typeof each?.class === "string" && typeof each.probability === "number")) {
      return rows.map((each) => ({ name: each.class as string, score: each.probability as number }));
    }
    return null;
  }
  if (typeof answer !== "object" || answer === null) return null;
  const entries = Object.entries(answer);
  if (entries.length === 0 || !entries.every(([, each]) => typeof each === "number")) return null;
  return entries.map(([name, score]) => ({ name, score: score as number })).sort((one, other) => other.score - one.score);
}

/** The highest scores of one row, named by the model's labels where it has as many; null for what are no scores. */
export function topScores(output: InferOutput, labels: string[] | null, most = 5): Scored[] | null {
  const columns = output.shape.at(-1) ?? 0;
  if (!output.datatype.startsWith("FP") || output.shape.length !== 2 || output.shape[0] !== 1 || columns < 2) return null;
  const named = labels !== null && labels.length === columns ? labels : null;
  return output.data
    .map((value, i) => ({ name: named?.[i] ?? `column ${i}`, score: Number(value) }))
    .sort((one, other) => other.score - one.score)
    .slice(0, most);
}
