// Every page in both themes, wide and narrow: nothing to find for axe-core, nothing wider than the window, no complaints.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ADDRESSES, browser, opened, overflow, pictured, violations } from "./browser.mjs";

const PAGES = {
  models: "#/",
  rollouts: "#/rollouts",
  failures: "#/failures",
  load: "#/load",
  history: "#/history",
  keys: "#/keys",
  shared: "#/models/shared",
  broken: "#/models/broken",
  longest: `#/models/${ADDRESSES.longest}`,
  "try-picture": "#/models/cifar/try",
  "try-numbers": "#/models/shared/try",
  "model-load": "#/models/shared/load",
  comparison: "#/models/compared/comparison",
  rollout: "#/models/stepped/comparison",
  "sent-back": "#/models/returned",
  "model-history": "#/models/shared/history",
  version: "#/models/cifar/versions/1",
  missing: "#/nowhere",
};

let running;
before(async () => (running = await browser()));
after(() => running.close());

for (const theme of ["light", "dark"]) {
  test(`axe-core finds nothing wrong, ${theme}`, async () => {
    const { page, at, close } = await opened(running, { theme });
    const found = {};
    for (const [name, hash] of Object.entries(PAGES)) {
      await at(hash);
      if (name.includes("load")) await page.locator(".legend").first().waitFor();
      const wrong = await violations(page);
      if (/\[object|undefined|NaN/.test(await page.locator("main").innerText())) wrong.push("a value is shown that is none");
      if (wrong.length > 0) found[name] = wrong;
      await pictured(page, `${name}-${theme}`);
    }
    assert.deepEqual(found, {});
    await close();
  });

  test(`no page is wider than a phone, ${theme}`, async () => {
    const { page, at, close } = await opened(running, { theme, width: 390, height: 800 });
    const wider = {};
    for (const [name, hash] of Object.entries(PAGES)) {
      await at(hash);
      if (name.includes("load")) await page.locator(".legend").first().waitFor();
      const pixels = await overflow(page);
      if (pixels > 0) wider[name] = pixels;
      await pictured(page, `${name}-${theme}-phone`);
    }
    assert.deepEqual(wider, {});
    await close();
  });
}
