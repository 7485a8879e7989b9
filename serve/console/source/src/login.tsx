/** Asks for a key. */

import type { JSX } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";

export function Login({ why, onKey }: { why: string; onKey: (key: string) => void }): JSX.Element {
  const [key, setKey] = useState("");
  const field = useRef<HTMLInputElement>(null);
  const id = useId();
  useLayoutEffect(() => field.current?.focus(), []);
  return (
    <section class="login" aria-labelledby={id}>
      <h1 id={id}>A key is needed</h1>
      <p>{why}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          onKey(key.trim());
        }}
      >
        <label>
          Key or token
          <input
            ref={field}
            type="password"
            required
            autocomplete="off"
            spellcheck={false}
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
        <button type="submit" class="main">
          Use this key
        </button>
      </form>
      <p class="hint">
        It stays in this tab until that is closed, and is sent to this address only. <code>onegate keys create NAME --scope view</code>{" "}
        makes one.
      </p>
    </section>
  );
}
