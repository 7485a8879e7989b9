/** What pages say of a version by its row of the state. */

import type { VersionRow } from "./documents";
import { figure } from "./words";

/** The version as clients call it. */
export const nameOf = (row: VersionRow): string => row.called ?? (row.version === null ? "none yet" : String(row.version));

export const madeOf = (row: VersionRow): string => (row.framework === null ? "" : `${row.framework} → ${row.runtime ?? ""}`);

export const parityError = (row: VersionRow): string => (row.max_rel_error === null ? "" : figure(row.max_rel_error));

/** Those that have a version, the one that most calls go to first. */
export const byTraffic = (rows: VersionRow[]): VersionRow[] =>
  rows.filter((row) => row.version !== null).sort((one, other) => other.traffic - one.traffic);
