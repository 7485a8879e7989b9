/** Addresses within the page: what stands behind `#`. */

export const MODEL_TABS = ["overview", "try", "load", "comparison", "history"] as const;
export type ModelTab = (typeof MODEL_TABS)[number];

export type Route =
  | { page: "models" | "rollouts" | "failures" | "load" | "history" | "keys" | "missing" }
  | { page: "model"; model: string; tab: ModelTab }
  | { page: "version"; model: string; version: number };

const PAGES = ["rollouts", "failures", "load", "history", "keys"] as const;

/** The route of a hash as `#/models/digits/try`. */
export function routeOf(hash: string): Route {
  const parts = decoded(hash.replace(/^#?\/?/, "").split("/").filter(Boolean));
  if (parts === null) return { page: "missing" };
  const [page, model, tab, number] = parts;
  if (page === undefined || (page === "models" && model === undefined)) return { page: "models" };
  const plain = PAGES.find((each) => each === page);
  if (plain !== undefined && model === undefined) return { page: plain };
  if (page !== "models" || model === undefined || parts.length > 4) return { page: "missing" };
  if (tab === "versions" && number !== undefined && /^[1-9][0-9]{0,14}$/.test(number)) {
    return { page: "version", model, version: Number(number) };
  }
  const found = MODEL_TABS.find((each) => each === (tab ?? "overview"));
  return found === undefined || number !== undefined ? { page: "missing" } : { page: "model", model, tab: found };
}

function decoded(parts: string[]): string[] | null {
  try {
    return parts.map(decodeURIComponent);
  } catch {
    return null;
  }
}

export const toModel = (model: string, tab: ModelTab = "overview"): string =>
  `#/models/${encodeURIComponent(model)}${tab === "overview" ? "" : `/${tab}`}`;

export const toVersion = (model: string, version: number): string =>
  `#/models/${encodeURIComponent(model)}/versions/${version}`;
