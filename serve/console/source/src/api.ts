/** Calls of the management port. The page asks its own origin and no other. */

import type { AccessKey, Caller, Comparison, History, Manifest, NewKey, Plan, State } from "./documents";
import { currentKey } from "./session";

/** What the port answers with an error; `status` is 0 where nobody answered at all. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly kind: string,
    message: string,
  ) {
    super(message);
  }

  /** Whether the call needs a key, or another one than it had. */
  get needsKey(): boolean {
    return this.status === 401;
  }

  /** Whether the same call may well be answered a little later. */
  get passes(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  /** Whether nobody was there to answer. */
  get isAway(): boolean {
    return this.status === 0;
  }
}

/** What a call failed with; of what is no refusal `told` says it, where its own text does not do. */
export const refused = (raised: unknown, told: string = String(raised)): Refused =>
  raised instanceof Refused ? raised : new Refused(0, "Unreadable", told);

export interface Raw {
  status: number;
  contentType: string;
  text: string;
}

const ANSWER_MS = 20_000;
/** Changes are answered when they have come about: a version may have to be loaded first. */
const CHANGE_MS = 600_000;

async function ask(method: string, path: string, body?: BodyInit, contentType?: string, limitMs = ANSWER_MS): Promise<Raw> {
  const headers: Record<string, string> = {};
  const key = currentKey();
  if (key !== null) headers["authorization"] = `Bearer ${key}`;
  if (contentType !== undefined) headers["content-type"] = contentType;
  let reply: Response;
  let text: string;
  try {
    reply = await fetch(path, {
      method,
      headers,
      ...(body === undefined ? {} : { body }),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(limitMs),
    });
    text = await reply.text();
  } catch (error) {
    const late = error instanceof DOMException && error.name === "TimeoutError";
    throw new Refused(0, "Away", late ? `no answer within ${limitMs / 1000} s` : "no connection to the controller");
  }
  if (!reply.ok) throw refusal(reply.status, text);
  return { status: reply.status, contentType: reply.headers.get("content-type") ?? "", text };
}

/** The error in a body, whichever protocol wrote it. */
export function refusal(status: number, text: string): Refused {
  try {
    const told = JSON.parse(text) as Record<string, unknown>;
    const message = told["error"] ?? told["message"] ?? told["type"];
    if (typeof message === "string" && message) return new Refused(status, String(told["kind"] ?? ""), message);
  } catch {
    // Not JSON: told by its status.
  }
  return new Refused(status, "", text.trim().slice(0, 300) || `HTTP status ${status}`);
}

async function json<T>(method: string, path: string, document?: unknown, limitMs?: number): Promise<T> {
  const body = document === undefined ? undefined : JSON.stringify(document);
  const raw = await ask(method, path, body, body === undefined ? undefined : "application/json", limitMs);
  return JSON.parse(raw.text) as T;
}

const ofModel = (model: string): string => `/api/models/${encodeURIComponent(model)}`;

/** A change that is planned before it is made. */
export interface PlannedCall {
  method: "PUT" | "POST";
  path: string;
  document: unknown;
}

export const traffic = (model: string, shares: Record<string, number>): PlannedCall => ({
  method: "PUT",
  path: `${ofModel(model)}/traffic`,
  document: shares,
});

export const labels = (model: string, moved: Record<string, string | null>): PlannedCall => ({
  method: "PUT",
  path: `${ofModel(model)}/labels`,
  document: moved,
});

export const rollback = (model: string, to: number | null): PlannedCall => ({
  method: "POST",
  path: `${ofModel(model)}/rollback`,
  document: to === null ? {} : { to },
});

export const api = {
  state: () => json<State>("GET", "/api/state"),
  caller: () => json<Caller>("GET", "/api/caller"),
  comparison: (model: string) => json<Comparison>("GET", `${ofModel(model)}/comparison`),
  history: (model: string | null, limit = 20) =>
    json<History>("GET", `/api/history?limit=${limit}${model === null ? "" : `&model=${encodeURIComponent(model)}`}`),
  versions: (model: string) => json<{ versions: Manifest[] }>("GET", `${ofModel(model)}/versions`),
  version: async (model: string, number: number): Promise<Manifest> => {
    const found = await json<{ versions: Manifest[] }>("GET", `${ofModel(model)}/versions?version=${number}`);
    const manifest = found.versions[0];
    if (manifest === undefined) throw new Refused(404, "ModelNotFound", `${model} has no version ${number}`);
    return manifest;
  },
  plan: (call: PlannedCall) => json<Plan>(call.method, `${call.path}?plan=true`, call.document),
  apply: (call: PlannedCall, generation: number) =>
    json<{ generation: number }>(call.method, `${call.path}?generation=${generation}`, call.document, CHANGE_MS),
  keys: () => json<{ keys: AccessKey[] }>("GET", "/api/keys"),
  createKey: (asked: NewKey) => json<AccessKey & { key: string }>("POST", "/api/keys", asked),
  revokeKey: (id: string) => json<{ revoked: string[] }>("POST", "/api/keys/revoke", { id }),
  /** Prepares a model again; answered when it can be called. */
  load: (model: string) =>
    ask("POST", `/v2/repository/models/${encodeURIComponent(model)}/load`, "{}", "application/json", CHANGE_MS),
  infer: (model: string, version: string | null, document: unknown) =>
    ask("POST", withVersion(`${ofModel(model)}/infer`, version), JSON.stringify(document), "application/json", 90_000),
  predict: (model: string, version: string | null, body: Blob, contentType: string) =>
    ask("POST", withVersion(`${ofModel(model)}/predict`, version), body, contentType, 90_000),
  metrics: async (): Promise<string> => (await ask("GET", "/metrics")).text,
};

function withVersion(path: string, version: string | null): string {
  return version === null ? path : `${path}?version=${encodeURIComponent(version)}`;
}
