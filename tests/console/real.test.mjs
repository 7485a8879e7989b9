// The console of a running gateway: what it shows is what Ray and the gateways do.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { ADDRESSES, browser, opened } from "./browser.mjs";

const CAT = fileURLToPath(new URL("../../examples/quickstart/cat.jpg", import.meta.url));

let running;
before(async () => (running = await browser()));
after(() => running.close());

test("a picture is classified, traffic moves, and a failure says why", async () => {
  const { page, at, close } = await opened(running, { expected: [/404/] });
  await page.getByRole("row", { name: /^cifar 1 ready 100%/ }).waitFor();

  await at("#/models/cifar/try");
  await page.getByLabel(/^Picture/).setInputFiles(CAT);
  await page.getByRole("button", { name: "Send" }).first().click();
  const best = page.getByRole("list", { name: "Classes" }).getByRole("listitem").first();
  await best.waitFor();
  assert.match(await best.innerText(), /^cat\s+99\.8%/);

  await at("#/models/shared/try");
  await page.getByLabel("x 0").fill("1.5");
  await page.getByLabel("Version").selectOption("2");
  await page.getByLabel("x 0").fill("1.5");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText("by version 2").waitFor();
  assert.equal(await page.getByLabel("Values of y").innerText(), "4.5, 0");

  await at("#/models/shared");
  await page.getByRole("spinbutton", { name: "Percent for version 2" }).fill("40");
  await page.keyboard.press("Tab");
  await page.getByRole("button", { name: "Show what changes …" }).first().click();
  await page.getByRole("dialog").getByRole("row", { name: "2 10% 40%" }).waitFor();
  await page.getByRole("button", { name: "Make the change" }).click();
  await page.getByRole("status").getByText("60% to version 1, 40% to version 2").waitFor();

  await at("#/failures");
  await page.getByText(/absent\.onnx/).waitFor();
  await at("#/load");
  await page.getByRole("figure", { name: "Requests a second" }).first().waitFor();
  await close();
  const state = await (await fetch(`${ADDRESSES.management}/api/state`)).json();
  const shares = state.models.filter((row) => row.name === "shared").map((row) => row.traffic);
  assert.deepEqual(shares, [60, 40]);
});
