/** Figures, times and sizes as people read them. */

/** Three significant digits, in plain notation where that is short: `0.0063`, `12.4`, `1,240`, `3.4e-7`. */
export function figure(value: number | null): string {
  // JSON has no infinities: where a figure is too large for it there is none.
  if (value === null || !Number.isFinite(value)) return "not finite";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e9) return value.toExponential(1).replace("e+", "e");
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

export function milliseconds(value: number): string {
  return value >= 1000 ? `${figure(value / 1000)} s` : `${figure(value)} ms`;
}

export function seconds(value: number): string {
  return value < 1 ? milliseconds(value * 1000) : `${figure(value)} s`;
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${figure(size)} ${units[unit] ?? ""}`;
}

export const percent = (share: number): string => `${figure(share * 100)}%`;

/** An ISO time in the reader's zone, to the second. */
export function moment(iso: string): string {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return iso;
  return time.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

export const shape = (dims: number[]): string => `[${dims.map((each) => (each < 0 ? "any" : each)).join(", ")}]`;

/** `1 model`, `2 models`. */
export const count = (number: number, what: string): string => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

/** Numbers by kind: `Overloaded 3, InvalidInput 1`. */
export function counts(kinds: Record<string, number>): string {
  const listed = Object.entries(kinds).filter(([, number]) => number > 0);
  return listed.length === 0 ? "none" : listed.map(([kind, number]) => `${kind} ${number.toLocaleString("en")}`).join(", ");
}

/** A value of a config, for people. */
export function told(value: unknown): string {
  if (value === null || value === undefined) return "unset";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
