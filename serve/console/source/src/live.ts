/** What is asked again and again, while somebody looks at it. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { refused, type Refused } from "./api";

export interface Live<T> {
  /** The newest answer; it stays while later ones fail. */
  value: T | null;
  /** Why the last call gave none. */
  error: Refused | null;
  /** When `value` came, in milliseconds. */
  at: number | null;
  /** Asks now. */
  refresh: () => void;
}

const LONGEST_WAIT_MS = 15_000;
const RETRY_MS = 2000;

/** How long to wait after so many failures on end. */
export const waitAfter = (failures: number, everyMs: number): number =>
  Math.min(LONGEST_WAIT_MS, everyMs * 2 ** Math.min(failures, 10));

/**
 * Asks `read` every `everyMs`, until there is an answer where that is null, less often while it fails, and not while the page is hidden.
 * Another `name` is another thing: what was known is dropped.
 */
export function useLive<T>(name: string, read: () => Promise<T>, everyMs: number | null): Live<T> {
  const [known, setKnown] = useState<Omit<Live<T>, "refresh"> & { name: string }>({ name, value: null, error: null, at: null });
  const reader = useRef(read);
  reader.current = read;
  const again = useRef<() => void>(() => undefined);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let ended = false;
    let failures = 0;
    let round = 0;

    const look = async (): Promise<void> => {
      clearTimeout(timer);
      const mine = ++round;
      let error: Refused | null = null;
      try {
        const value = await reader.current();
        if (ended || mine !== round) return;
        failures = 0;
        setKnown({ name, value, error: null, at: Date.now() });
      } catch (raised) {
        if (ended || mine !== round) return;
        failures += 1;
        error = refused(raised, "the answer can't be read");
        const told = error;
        setKnown((before) => ({ ...(before.name === name ? before : { value: null, at: null }), name, error: told }));
      }
      const period = everyMs ?? (error?.passes ? RETRY_MS : null);
      if (period !== null && !document.hidden && !error?.needsKey) timer = setTimeout(look, waitAfter(failures, period));
    };
    const onVisible = (): void => {
      if (!document.hidden && everyMs !== null) void look();
    };
    again.current = () => void look();
    void look();
    document.addEventListener("visibilitychange", onVisible);
    return () => {
      ended = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisible);
    };
  }, [name, everyMs]);

  const refresh = useCallback(() => again.current(), []);
  const current = known.name === name ? known : { value: null, error: null, at: null };
  return { value: current.value, error: current.error, at: current.at, refresh };
}
