/** The metrics of the last minutes, read every two seconds while a page shows them. */

import { useEffect, useState } from "preact/hooks";
import { api, refused, type Refused } from "./api";
import type { Reading } from "./figures";
import { parseMetrics } from "./prometheus";

const EVERY_MS = 2000;
const KEPT = 120;

export interface Readings {
  kept: Reading[];
  error: Refused | null;
}

let kept: Reading[] = [];

/** Readings, oldest first; they outlive the page that asked for them, so that coming back shows no gap but the real one. */
export function useReadings(): Readings {
  const [known, setKnown] = useState<Readings>({ kept, error: null });
  useEffect(() => {
    let ended = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async (): Promise<void> => {
      let stops = false;
      try {
        if (!document.hidden) {
          const samples = parseMetrics(await api.metrics());
          kept = [...kept, { at: Date.now(), samples }].slice(-KEPT);
          if (!ended) setKnown({ kept, error: null });
        }
      } catch (raised) {
        const error = refused(raised, "the metrics can't be read");
        // What is not allowed, or not there, will not be in two seconds either.
        stops = [401, 403, 404].includes(error.status);
        if (!ended) setKnown({ kept, error });
      }
      if (!ended && !stops) timer = setTimeout(look, EVERY_MS);
    };
    void look();
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }, []);
  return known;
}

/** Forgets all: they are of who could read them. */
export function forgetReadings(): void {
  kept = [];
}
