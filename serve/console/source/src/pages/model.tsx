/** One model: its tabs. */

import type { JSX } from "preact";
import { may, useConsole } from "../context";
import type { VersionRow } from "../documents";
import { Empty, Section } from "../parts";
import { Plots } from "../plots";
import { MODEL_TABS, toModel, type ModelTab } from "../routes";
import { ComparisonTab } from "./comparison";
import { ModelHistory } from "./history";
import { Overview } from "./overview";
import { TryIt } from "./try_it";

const TITLES: Record<ModelTab, string> = {
  overview: "Overview",
  try: "Try it",
  load: "Load",
  comparison: "Comparison",
  history: "History",
};

export function ModelPage({ model, tab }: { model: string; tab: ModelTab }): JSX.Element {
  const { state, caller } = useConsole();
  const rows = state.models.filter((row) => row.name === model);
  return (
    <>
      <nav class="trail" aria-label="Where this is">
        <a href="#/">Models</a>
      </nav>
      <h1>{model}</h1>
      <nav class="tabs" aria-label={`Pages of ${model}`}>
        {MODEL_TABS.map((each) => (
          <a key={each} href={toModel(model, each)} aria-current={each === tab ? "page" : undefined}>
            {TITLES[each]}
          </a>
        ))}
      </nav>
      {rows.length === 0 && tab !== "history" ? (
        <Empty>This model is not served. Its history may say since when.</Empty>
      ) : (
        <Tab key={`${model} ${tab}`} model={model} tab={tab} rows={rows} mayInfer={may(caller, "infer", model)} />
      )}
    </>
  );
}

function Tab({ model, tab, rows, mayInfer }: { model: string; tab: ModelTab; rows: VersionRow[]; mayInfer: boolean }): JSX.Element {
  switch (tab) {
    case "overview":
      return <Overview model={model} rows={rows} />;
    case "try":
      return mayInfer ? (
        <TryIt model={model} rows={rows} />
      ) : (
        <Empty>To call this model a key with the scope “infer:{model}” is needed.</Empty>
      );
    case "load":
      return (
        <Section title="Load">
          <Plots model={model} />
        </Section>
      );
    case "comparison":
      return <ComparisonTab model={model} />;
    case "history":
      return <ModelHistory model={model} />;
  }
}
