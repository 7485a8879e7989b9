/** Names for versions, which clients may call instead of numbers. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { labels } from "../api";
import type { Editing } from "../change_dialog";
import { Empty, Section, Tag } from "../parts";
import { nameOf } from "../rows";

export function LabelEditor({ model, rows, onPlan }: Editing): JSX.Element {
  const versions = rows.filter((row) => row.version !== null);
  const present = versions.flatMap((row) => row.labels.map((label) => ({ label, version: nameOf(row) })));
  const [label, setLabel] = useState("");
  const [version, setVersion] = useState("");
  const names = versions.map(nameOf);
  const chosen = names.includes(version) ? version : (names.at(-1) ?? "");
  const plan = (name: string, to: string | null): void =>
    onPlan({
      title: to === null ? `Take the label ${name} away` : `Label ${name} for version ${to}`,
      call: labels(model, { [name]: to }),
      done: to === null ? `The label ${name} is gone.` : `The label ${name} is at version ${to}.`,
    });
  return (
    <Section title="Labels">
      {present.length === 0 ? (
        <Empty>No version has a label.</Empty>
      ) : (
        <ul class="labels">
          {present.map((each) => (
            <li key={each.label}>
              <Tag>{each.label}</Tag> version {each.version}
              <button type="button" class="plain" onClick={() => plan(each.label, null)} aria-label={`Take away … ${each.label}`}>
                Take away …
              </button>
            </li>
          ))}
        </ul>
      )}
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          plan(label.trim(), chosen);
        }}
      >
        <label>
          Label
          <input
            required
            value={label}
            maxLength={100}
            autocomplete="off"
            list="labels-there"
            onInput={(event) => setLabel(event.currentTarget.value)}
          />
        </label>
        <datalist id="labels-there">
          {present.map((each) => (
            <option key={each.label} value={each.label} />
          ))}
        </datalist>
        <label>
          Version
          <select value={chosen} onChange={(event) => setVersion(event.currentTarget.value)}>
            {names.map((each) => (
              <option key={each} value={each}>
                {each}
              </option>
            ))}
          </select>
        </label>
        <button type="submit">Show what changes …</button>
      </form>
    </Section>
  );
}
