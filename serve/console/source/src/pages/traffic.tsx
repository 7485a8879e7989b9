/** Which version gets how many of the calls that name none. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { traffic } from "../api";
import type { Editing } from "../change_dialog";
import { Section } from "../parts";
import { nameOf } from "../rows";
import { areSame, given, moved, type Shares } from "../shares";

export function TrafficEditor({ model, rows, onPlan }: Editing): JSX.Element {
  const versions = rows.filter((row) => row.version !== null && row.state !== "DRAINING");
  const present: Shares = Object.fromEntries(versions.map((row) => [nameOf(row), row.traffic]));
  const [edited, setEdited] = useState<Shares | null>(null);
  // A version that came or went meanwhile makes what was set meaningless.
  const isStale = edited !== null && Object.keys(edited).sort().join() !== Object.keys(present).sort().join();
  const shares = edited === null || isStale ? present : edited;
  const unchanged = areSame(shares, present);
  const only = versions.length === 1;
  return (
    <Section title="Traffic">
      <p class="hint">
        {only
          ? "The only version gets all calls. Name another one in the config, or go back to one, to share them out."
          : "How calls that name no version are shared out. Moving one moves the others; nothing happens before you confirm the plan."}
      </p>
      {versions.map((row) => {
        const name = nameOf(row);
        const percent = shares[name] ?? 0;
        const set = (text: string): void => setEdited(moved(shares, name, Number(text)));
        return (
          <div class="share" key={name}>
            <label for={`share-${name}`}>Version {name}</label>
            <input
              id={`share-${name}`}
              type="range"
              min="0"
              max="100"
              value={percent}
              disabled={only}
              aria-valuetext={`${percent}%`}
              onInput={(event) => set(event.currentTarget.value)}
            />
            <input
              type="number"
              min="0"
              max="100"
              value={percent}
              disabled={only}
              aria-label={`Percent for version ${name}`}
              onChange={(event) => set(event.currentTarget.value)}
            />
            <span class="share-now" aria-hidden="true">
              {percent === row.traffic ? "" : `now ${row.traffic}%`}
            </span>
          </div>
        );
      })}
      {!only && (
        <div class="actions">
          <button
            type="button"
            class="main"
            disabled={unchanged}
            onClick={() =>
              onPlan({
                title: `Traffic of ${model}`,
                call: traffic(model, given(shares)),
                done: `Traffic of ${model} is now ${told(given(shares))}.`,
              })
            }
          >
            Show what changes …
          </button>
          <button type="button" disabled={unchanged} onClick={() => setEdited(null)}>
            As it was
          </button>
        </div>
      )}
    </Section>
  );
}

const told = (shares: Shares): string =>
  Object.entries(shares)
    .map(([version, percent]) => `${percent}% to version ${version}`)
    .join(", ");
