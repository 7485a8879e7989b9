/** All models together. */

import type { JSX } from "preact";
import { Plots } from "../plots";

export function LoadPage(): JSX.Element {
  return (
    <>
      <h1>Load</h1>
      <p class="hint">All models together, over the last minutes; each model has its own. Nothing is read while the page is hidden.</p>
      <Plots model={null} />
    </>
  );
}
