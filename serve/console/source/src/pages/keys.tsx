/** Keys of callers: listed, made and revoked, by those who have one that manages. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { api, refused, type Refused } from "../api";
import { may, useConsole } from "../context";
import type { AccessKey, NewKey } from "../documents";
import { useLive } from "../live";
import { Answered, Copy, Dialog, Empty, Section, Table, Tag, Trouble } from "../parts";
import { moment } from "../words";

export function KeysPage(): JSX.Element {
  const { caller } = useConsole();
  return (
    <>
      <h1>Keys</h1>
      {!caller.access ? (
        <Empty>
          Nobody needs a key here: <code>access.anonymous</code> of the config lets everybody ask everything.
        </Empty>
      ) : caller.name === "" || !may(caller, "manage") ? (
        <Empty>Keys are for callers with a key that has the scope “manage”.</Empty>
      ) : (
        <Keys />
      )}
    </>
  );
}

function Keys(): JSX.Element {
  const { say } = useConsole();
  const live = useLive("keys", api.keys, null);
  const [leaving, setLeaving] = useState<AccessKey | null>(null);
  return (
    <>
      <Section title="Make a key">
        <NewKeyForm onMade={live.refresh} />
      </Section>
      <Section title="Keys that there are">
        <Answered live={live}>
          {({ keys }) => (keys.length === 0 ? <Empty>None.</Empty> : <KeyTable keys={keys} onRevoke={setLeaving} />)}
        </Answered>
      </Section>
      {leaving !== null && (
        <RevokeDialog
          asked={leaving}
          onClose={(revoked) => {
            if (revoked) say(`The key ${leaving.name} is revoked.`);
            setLeaving(null);
            live.refresh();
          }}
        />
      )}
    </>
  );
}

function KeyTable({ keys, onRevoke }: { keys: AccessKey[]; onRevoke: (key: AccessKey) => void }): JSX.Element {
  return (
    <Table label="Keys" columns={["Name", "Id", "Scopes", "Made", "Valid until", "Limits", "Revoke"]}>
      <tbody>
        {keys.map((key) => (
          <tr key={key.id}>
            <th scope="row">{key.name}</th>
            <td>
              <code>{key.id}</code>
            </td>
            <td>
              {key.scopes.map((scope) => (
                <Tag key={scope}>{scope}</Tag>
              ))}
            </td>
            <td class="short">{moment(key.created)}</td>
            <td class="short">{key.expires === null ? "no end" : moment(key.expires)}</td>
            <td>{limits(key)}</td>
            <td class="short">
              <button type="button" class="plain" onClick={() => onRevoke(key)} aria-label={`Revoke … ${key.name} ${key.id}`}>
                Revoke …
              </button>
            </td>
          </tr>
        ))}
      </tbody>
    </Table>
  );
}

const limits = (key: AccessKey): string =>
  [
    ...(key.rate_per_s === null ? [] : [`${key.rate_per_s} a second`]),
    ...(key.concurrency === null ? [] : [`${key.concurrency} at once`]),
  ].join(", ");

const LIFETIMES: [string, number | null][] = [
  ["a day", 86_400],
  ["30 days", 30 * 86_400],
  ["90 days", 90 * 86_400],
  ["a year", 365 * 86_400],
  ["without end", null],
];
const USUAL_LIFETIME = 2;

function NewKeyForm({ onMade }: { onMade: () => void }): JSX.Element {
  const { caller } = useConsole();
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState("");
  const [lifetime, setLifetime] = useState(USUAL_LIFETIME);
  const [made, setMade] = useState<{ name: string; key: string } | null>(null);
  const [error, setError] = useState<Refused | null>(null);
  const [busy, setBusy] = useState(false);
  const make = async (): Promise<void> => {
    const asked: NewKey = {
      name: name.trim(),
      scopes: scopes.split(/[\s,]+/).filter(Boolean),
      lifetime_s: LIFETIMES[lifetime]?.[1] ?? null,
    };
    setBusy(true);
    setError(null);
    try {
      setMade(await api.createKey(asked));
      setName("");
      onMade();
    } catch (raised) {
      setError(refused(raised));
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          void make();
        }}
      >
        <label>
          Name
          <input required maxLength={100} value={name} autocomplete="off" onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <label>
          Scopes, as “view infer:digits”
          <input required value={scopes} autocomplete="off" onInput={(event) => setScopes(event.currentTarget.value)} />
        </label>
        <label>
          Valid for
          <select value={String(lifetime)} onChange={(event) => setLifetime(Number(event.currentTarget.value))}>
            {LIFETIMES.map(([text], i) => (
              <option key={text} value={String(i)}>
                {text}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" class="main" disabled={busy}>
          Make the key
        </button>
      </form>
      <p class="hint">
        It may do no more than yours, which has {caller.scopes.join(", ")}, and is valid no longer than yours.
      </p>
      {error !== null && <Trouble error={error} />}
      <div role="status">
        {made !== null && (
          <p class="notice">
            The key {made.name}, shown this once: <code>{made.key}</code> <Copy text={made.key} what="the key" />
          </p>
        )}
      </div>
    </>
  );
}

function RevokeDialog({ asked, onClose }: { asked: AccessKey; onClose: (revoked: boolean) => void }): JSX.Element {
  const [error, setError] = useState<Refused | null>(null);
  const [busy, setBusy] = useState(false);
  const revoke = async (): Promise<void> => {
    setBusy(true);
    try {
      await api.revokeKey(asked.id);
      onClose(true);
    } catch (raised) {
      setError(refused(raised));
      setBusy(false);
    }
  };
  return (
    <Dialog title={`Revoke the key ${asked.name}`} onClose={() => onClose(false)}>
      <p>Calls with it are refused within seconds. It can't be brought back.</p>
      {error !== null && <Trouble error={error} />}
      <div class="actions">
        <button type="button" class="main" onClick={revoke} disabled={busy}>
          Revoke it
        </button>
        <button type="button" onClick={() => onClose(false)}>
          Leave it as it is
        </button>
      </div>
    </Dialog>
  );
}
