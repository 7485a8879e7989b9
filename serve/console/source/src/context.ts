/** What every page knows: the state, who asks, and how to tell people something. */

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Caller, State, VersionRow } from "./documents";

export interface Console {
  state: State;
  caller: Caller;
  refresh: () => void;
  /** Tells screen readers, and shows it for a while. */
  say: (text: string) => void;
}

export const ConsoleContext = createContext<Console | null>(null);

export function useConsole(): Console {
  const found = useContext(ConsoleContext);
  if (found === null) throw new Error("outside of the console");
  return found;
}

/** Whether the caller has a scope; `infer` may be for one model, or for those that begin alike. */
export function may(caller: Caller, scope: "view" | "manage" | "metrics" | "infer", model = ""): boolean {
  return caller.scopes.some(
    (each) =>
      each === scope ||
      (scope === "view" && each === "manage") ||
      (scope === "infer" &&
        (each === `infer:${model}` || (each.startsWith("infer:") && each.endsWith("*") && model.startsWith(each.slice(6, -1))))),
  );
}

export interface ModelRows {
  name: string;
  rows: VersionRow[];
}

/** The rows of each model, in the order of the state. */
export function byModel(state: State): ModelRows[] {
  const found = new Map<string, VersionRow[]>();
  for (const row of state.models) {
    const rows = found.get(row.name);
    if (rows === undefined) found.set(row.name, [row]);
    else rows.push(row);
  }
  return [...found].map(([name, rows]) => ({ name, rows }));
}
