/** Percent of a model's calls by version, which always add up to 100. */

export type Shares = Record<string, number>;

/** `shares` with `percent` for one version; the others keep their proportions of what is left. Whole numbers. */
export function moved(shares: Shares, version: string, percent: number): Shares {
  const wanted = Math.min(100, Math.max(0, Math.round(percent)));
  const others = Object.keys(shares).filter((each) => each !== version);
  const rest = others.length === 0 ? 0 : 100 - wanted;
  const before = others.reduce((sum, each) => sum + (shares[each] ?? 0), 0);
  const exact = others.map((each) => (before > 0 ? ((shares[each] ?? 0) * rest) / before : rest / others.length));
  const parts = rounded(exact, rest);
  const result: Shares = { ...shares, [version]: others.length === 0 ? 100 : wanted };
  others.forEach((each, i) => (result[each] = parts[i] ?? 0));
  return result;
}

/** Whole numbers near `exact` that add up to `total`: what is cut off goes to those that lost most. */
function rounded(exact: number[], total: number): number[] {
  const parts = exact.map(Math.floor);
  const order = exact.map((_, i) => i).sort((a, b) => fraction(exact[b]) - fraction(exact[a]) || a - b);
  let missing = total - parts.reduce((sum, each) => sum + each, 0);
  for (const index of order) {
    if (missing <= 0) break;
    parts[index] = (parts[index] ?? 0) + 1;
    missing -= 1;
  }
  return parts;
}

const fraction = (value: number | undefined): number => (value ?? 0) - Math.floor(value ?? 0);

export const areSame = (one: Shares, other: Shares): boolean =>
  [...new Set([...Object.keys(one), ...Object.keys(other)])].every((each) => (one[each] ?? 0) === (other[each] ?? 0));

/** Only the versions that get calls, as the port wants them. */
export const given = (shares: Shares): Shares => Object.fromEntries(Object.entries(shares).filter(([, each]) => each > 0));
