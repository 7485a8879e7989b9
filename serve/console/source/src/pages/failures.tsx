/** What fails, and why. */

import type { JSX } from "preact";
import { may, useConsole } from "../context";
import { Empty } from "../parts";
import { toModel, toVersion } from "../routes";
import { nameOf } from "../rows";
import { LoadAgain } from "./overview";

export function FailuresPage(): JSX.Element {
  const { state, caller } = useConsole();
  const failing = state.models.filter((row) => row.state === "FAILED");
  const mayManage = may(caller, "manage");
  return (
    <>
      <h1>Failures</h1>
      {failing.length === 0 && <Empty>Nothing fails.</Empty>}
      {failing.map((row) => (
        <article class="card" key={`${row.name} ${row.version ?? ""}`}>
          <h2>
            <a href={toModel(row.name)}>{row.name}</a>
            {row.version !== null && (
              <>
                , <a href={toVersion(row.name, row.version)}>version {nameOf(row)}</a>
              </>
            )}
          </h2>
          <p class="trouble">{row.reason ?? "No reason was told."}</p>
          <p class="hint">
            {row.traffic > 0
              ? `${row.traffic}% of the model's calls should go to it.`
              : state.models.some((each) => each.name === row.name && each.state === "READY")
                ? "Another version of the model goes on answering."
                : "Nothing answers for this model."}
          </p>
          {mayManage && <LoadAgain model={row.name} />}
        </article>
      ))}
    </>
  );
}
