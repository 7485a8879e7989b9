/** A change that is looked at before it is made: its plan, and a button that makes exactly that. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { api, refused, type PlannedCall, type Refused } from "./api";
import { useConsole } from "./context";
import type { Change, Plan, VersionRow } from "./documents";
import { Dialog, Head, Trouble } from "./parts";

export interface PlannedChange {
  /** As `Traffic of digits`. */
  title: string;
  call: PlannedCall;
  /** What is said when it is done. */
  done: string;
}

/** What a form that edits a model is given; `onPlan` takes the change that it comes to. */
export interface Editing {
  model: string;
  rows: VersionRow[];
  onPlan: (change: PlannedChange) => void;
}

export function ChangeDialog({ change, onClose }: { change: PlannedChange; onClose: (made: boolean) => void }): JSX.Element {
  const { say, refresh } = useConsole();
  const [plan, setPlan] = useState<Plan | null>(null);
  const [error, setError] = useState<Refused | null>(null);
  const [busy, setBusy] = useState(true);

  const run = async (work: () => Promise<void>): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      await work();
    } catch (raised) {
      setError(refused(raised));
    } finally {
      setBusy(false);
    }
  };
  const look = (): Promise<void> => run(async () => setPlan(await api.plan(change.call)));
  const make = (generation: number): Promise<void> =>
    run(async () => {
      await api.apply(change.call, generation);
      say(change.done);
      refresh();
      onClose(true);
    });
  useEffect(() => void look(), []);

  const changing = (plan?.changes ?? []).filter((each) => each.action !== "keep");
  const isOutdated = error?.kind === "Conflict";
  return (
    <Dialog title={change.title} onClose={() => onClose(false)}>
      <div aria-live="polite">
        {error !== null && <Trouble error={error} />}
        {plan === null && error === null && <p class="empty">Asking what would change …</p>}
        {plan !== null && changing.length === 0 && <p>Nothing would change.</p>}
        {plan !== null && changing.map((each) => <Planned key={each.model} change={each} />)}
        {busy && plan !== null && <p class="empty">Working on it: gateways follow before this is answered …</p>}
      </div>
      <div class="actions">
        {isOutdated ? (
          <button type="button" onClick={look} disabled={busy}>
            Plan again
          </button>
        ) : (
          plan !== null &&
          changing.length > 0 && (
            <button type="button" class="main" onClick={() => make(plan.generation)} disabled={busy}>
              Make the change
            </button>
          )
        )}
        <button type="button" onClick={() => onClose(false)}>
          {changing.length === 0 ? "Close" : "Leave it as it is"}
        </button>
      </div>
    </Dialog>
  );
}

function Planned({ change }: { change: Change }): JSX.Element {
  return (
    <div class="plan">
      {change.action === "fail" && <p class="reason">This would fail, and what is served would go on:</p>}
      {change.traffic !== null && (
        <table class="narrow">
          <caption>Calls that name no version</caption>
          <Head columns={["Version", ["Now", "number"], ["Then", "number"]]} />
          <tbody>
            {versionsOf(change.traffic).map((version) => (
              <tr key={version}>
                <th scope="row">{version}</th>
                <td class="number">{change.traffic?.before[version] ?? 0}%</td>
                <td class="number">{change.traffic?.after[version] ?? 0}%</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {change.traffic !== null && change.traffic.steps.length > 0 && (
        <p>By steps: {change.traffic.steps.map((each) => `${each}%`).join(", ")}.</p>
      )}
      <ul class="details">
        {change.details.map((detail) => (
          <li key={detail}>{detail}</li>
        ))}
      </ul>
    </div>
  );
}

const versionsOf = (traffic: NonNullable<Change["traffic"]>): string[] =>
  [...new Set([...Object.keys(traffic.before), ...Object.keys(traffic.after)])].sort((one, other) =>
    one.localeCompare(other, "en", { numeric: true }),
  );
