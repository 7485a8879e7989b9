/** A form made of a signature: a field for each number of a short row, JSON for what is longer. */

import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";
import type { Manifest, Signature, TensorSpec } from "../documents";
import { isBatched, isText, MOST_FIELDS, random, requestFor, rowSize, template, zero } from "../tensors";
import { shape } from "../words";

export function TensorForm({
  manifest,
  signatures,
  busy,
  onSend,
}: {
  manifest: Manifest;
  signatures: string[];
  busy: boolean;
  onSend: (make: () => object) => void;
}): JSX.Element {
  const [name, setName] = useState(signatures[0] ?? manifest.default_signature);
  const signature = manifest.signatures[name];
  const [texts, setTexts] = useState<Record<string, string>>(() => filled(signature, zero));
  const choose = (next: string): void => {
    setName(next);
    setTexts(filled(manifest.signatures[next], zero));
  };
  const set = (input: string, text: string): void => setTexts({ ...texts, [input]: text });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (signature !== undefined) onSend(() => requestFor(signature, name, name === manifest.default_signature, texts));
      }}
    >
      {signatures.length > 1 && (
        <label>
          Signature
          <select value={name} onChange={(event) => choose(event.currentTarget.value)}>
            {signatures.map((each) => (
              <option key={each} value={each}>
                {each}
              </option>
            ))}
          </select>
        </label>
      )}
      {signature?.inputs.map((spec) => (
        <TensorInput key={`${name} ${spec.name}`} spec={spec} text={texts[spec.name] ?? ""} onText={(text) => set(spec.name, text)} />
      ))}
      <div class="actions">
        <button type="submit" class="main" disabled={busy}>
          Send
        </button>
        <button type="button" onClick={() => setTexts(filled(signature, random))}>
          Random values
        </button>
        <button type="button" onClick={() => setTexts(filled(signature, zero))}>
          Zeros
        </button>
      </div>
    </form>
  );
}

const filled = (signature: Signature | undefined, value: (spec: TensorSpec) => unknown): Record<string, string> =>
  Object.fromEntries((signature?.inputs ?? []).map((spec) => [spec.name, template(spec, () => value(spec))]));

function TensorInput({ spec, text, onText }: { spec: TensorSpec; text: string; onText: (text: string) => void }): JSX.Element {
  const id = useId();
  const size = rowSize(spec);
  const row = size !== null && size <= MOST_FIELDS && spec.shape.length <= 2 && isBatched(spec) ? firstRow(text, size) : null;
  const legend = `${spec.name}, ${spec.datatype}${shape(spec.shape)}`;
  if (row === null) {
    return (
      <div class="field">
        <label for={id}>{legend}, as JSON</label>
        <textarea id={id} rows={5} spellcheck={false} value={text} onInput={(event) => onText(event.currentTarget.value)} />
      </div>
    );
  }
  const put = (index: number, typed: string): void => {
    const values = row.map((each, i) => (i === index ? valueOf(spec, typed) : each));
    onText(JSON.stringify(spec.shape.length === 1 ? values : [values]));
  };
  return (
    <fieldset class="row-fields">
      <legend>{legend}</legend>
      {row.map((value, i) => (
        <label key={i}>
          <span class="visually-hidden">{spec.name} </span>
          {i}
          {spec.datatype === "BOOL" ? (
            <input type="checkbox" checked={value === true} onChange={(event) => put(i, String(event.currentTarget.checked))} />
          ) : (
            <input
              {...(isText(spec)
                ? { type: "text" as const }
                : { type: "number" as const, step: spec.datatype.includes("INT") ? "1" : "any" })}
              value={String(value)}
              onInput={(event) => put(i, event.currentTarget.value)}
            />
          )}
        </label>
      ))}
    </fieldset>
  );
}

/** The values of one row in `text`, null where that is no such row. */
function firstRow(text: string, size: number): unknown[] | null {
  try {
    const values = JSON.parse(text) as unknown;
    const row: unknown = Array.isArray(values) && values.length === 1 && Array.isArray(values[0]) ? values[0] : values;
    return Array.isArray(row) && row.length === size ? row : null;
  } catch {
    return null;
  }
}

function valueOf(spec: TensorSpec, typed: string): unknown {
  if (isText(spec)) return typed;
  if (spec.datatype === "BOOL") return typed === "true";
  return typed.trim() === "" ? 0 : Number(typed);
}
