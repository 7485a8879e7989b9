/** Pieces that pages share. */

import type { ComponentChildren, JSX } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Refused } from "./api";
import type { Lifecycle, VersionRow } from "./documents";
import type { Live } from "./live";
import { toVersion } from "./routes";
import { nameOf } from "./rows";
import type { Scored } from "./tensors";
import { figure, percent } from "./words";

/** What colour a state has; the word is always there too. */
const TONES: Record<Lifecycle, string> = {
  READY: "good",
  IDLE: "calm",
  STORED: "calm",
  CONVERTING: "busy",
  LOADING: "busy",
  DRAINING: "calm",
  RETIRED: "calm",
  FAILED: "bad",
};

export function StateBadge({ state }: { state: Lifecycle }): JSX.Element {
  return <span class={`badge ${TONES[state] ?? "calm"}`}>{state.toLowerCase()}</span>;
}

export function Tag({ children }: { children: ComponentChildren }): JSX.Element {
  return <span class="tag">{children}</span>;
}

export function Labels({ row }: { row: VersionRow }): JSX.Element {
  return (
    <>
      {row.labels.map((label) => (
        <Tag key={label}>{label}</Tag>
      ))}
    </>
  );
}

/** The version of a row, as a link to its page where there is one. */
export function VersionLink({ row }: { row: VersionRow }): JSX.Element {
  return row.version === null ? <>{nameOf(row)}</> : <a href={toVersion(row.name, row.version)}>{nameOf(row)}</a>;
}

export function Section({
  title,
  children,
  actions,
}: {
  title: string;
  children: ComponentChildren;
  actions?: ComponentChildren;
}): JSX.Element {
  const id = useId();
  return (
    <section class="section" aria-labelledby={id}>
      <div class="section-head">
        <h2 id={id}>{title}</h2>
        {actions !== undefined && <div class="actions">{actions}</div>}
      </div>
      {children}
    </section>
  );
}

/** What may be wider than the page: it moves by itself, with the keyboard too. */
export function Wide({ label, children }: { label: string; children: ComponentChildren }): JSX.Element {
  return (
    <div class="wide" role="group" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}

/** What stands above a column: its text, and the class of one that is set otherwise than texts. */
export type Column = string | [text: string, className: string];

export function Head({ columns }: { columns: Column[] }): JSX.Element {
  return (
    <thead>
      <tr>
        {columns.map((column) => {
          const [text, className] = typeof column === "string" ? [column, undefined] : column;
          return (
            <th scope="col" class={className} key={text}>
              {text}
            </th>
          );
        })}
      </tr>
    </thead>
  );
}

/** A table of the page's width, or a wider one; its children are its bodies. */
export function Table({
  label,
  columns,
  caption,
  children,
}: {
  label: string;
  columns: Column[];
  caption?: ComponentChildren;
  children: ComponentChildren;
}): JSX.Element {
  return (
    <Wide label={label}>
      <table>
        {caption !== undefined && <caption>{caption}</caption>}
        <Head columns={columns} />
        {children}
      </table>
    </Wide>
  );
}

export function Empty({ children }: { children: ComponentChildren }): JSX.Element {
  return <p class="empty">{children}</p>;
}

/** Why something is not shown, in the server's own words. */
export function Trouble({ error }: { error: Refused }): JSX.Element {
  const needs = error.status === 401 || error.status === 403;
  return (
    <p class="trouble" role="alert">
      <strong>{needs ? "Not allowed: " : error.isAway ? "No answer: " : "Failed: "}</strong>
      {error.message}
    </p>
  );
}

/** What a live answer holds; before the first one, that it is on its way, or why there is none. */
export function Answered<T>({ live, children }: { live: Live<T>; children: (value: T) => ComponentChildren }): JSX.Element {
  return (
    <>
      {live.error !== null && <Trouble error={live.error} />}
      {live.value !== null ? children(live.value) : live.error === null && <p class="empty">Asking …</p>}
    </>
  );
}

export function Facts({ facts }: { facts: [string, ComponentChildren][] }): JSX.Element {
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

/** Scores as bars, with their figures. */
export function Scores({ label, scores }: { label: string; scores: Scored[] }): JSX.Element {
  const largest = Math.max(...scores.map((each) => Math.abs(each.score)), Number.MIN_VALUE);
  const areShares = scores.every((each) => each.score >= 0 && each.score <= 1);
  return (
    <ol class="scores" aria-label={label}>
      {scores.map((each, i) => (
        <li key={`${i} ${each.name}`}>
          <span class="score-name">{each.name}</span>
          <span class="score-bar" aria-hidden="true">
            <span style={{ width: `${Math.max(0, (each.score / (areShares ? 1 : largest)) * 100)}%` }} />
          </span>
          <span class="score-figure">{areShares ? percent(each.score) : figure(each.score)}</span>
        </li>
      ))}
    </ol>
  );
}

/** A dialog over the page; the browser keeps the focus in it and gives it back. */
export function Dialog({
  title,
  onClose,
  children,
}: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    const shown = dialog.current;
    const before = document.activeElement;
    shown?.showModal();
    return () => {
      shown?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}

/** A button that copies a text. */
export function Copy({ text, what }: { text: string; what: string }): JSX.Element {
  const [done, setDone] = useState(false);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      setTimeout(() => setDone(false), 2000);
    } catch {
      // Without leave the text stands there to be marked.
    }
  };
  return (
    <button type="button" class="plain" onClick={copy} aria-label={`Copy ${what}`}>
      {done ? "Copied" : "Copy"}
    </button>
  );
}
