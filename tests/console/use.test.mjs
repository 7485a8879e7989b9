// The console as people use it, in a real browser.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { ADDRESSES, browser, opened, pictured, violations } from "./browser.mjs";

const CAT = fileURLToPath(new URL("../../examples/quickstart/cat.jpg", import.meta.url));

let running;
before(async () => (running = await browser()));
after(() => running.close());

/** Where the focus was, and what the page was called, at the very moment at which its heading came to be `heading` after `deed`. */
async function asHeaded(page, heading, deed) {
  const watched = await page.evaluateHandle(
    (expected) => ({
      headed: new Promise((resolve) => {
        const observer = new MutationObserver(() => {
          if (document.querySelector("h1").textContent !== expected) return;
          observer.disconnect();
          resolve({ focused: document.activeElement.id, title: document.title });
        });
        observer.observe(document.body, { childList: true, subtree: true, characterData: true });
      }),
    }),
    heading,
  );
  await deed();
  return watched.evaluate(({ headed }) => headed);
}

test("a picture is sent and its classes are shown", async () => {
  const { page, close } = await opened(running, { path: "#/models/cifar/try" });
  await page.getByLabel(/^Picture/).setInputFiles(CAT);
  await page.getByRole("img", { name: "The picture cat.jpg" }).waitFor();
  await page.getByRole("button", { name: "Send" }).first().click();
  const classes = page.getByRole("list", { name: "Classes" });
  await classes.waitFor();
  assert.match(await classes.getByRole("listitem").first().innerText(), /^cat\s+99\.8%/);
  assert.deepEqual(await violations(page), []);
  await pictured(page, "answer-picture-light");
  await close();
});

test("a picture is dragged here", async () => {
  const { page, close } = await opened(running, { path: "#/models/cifar/try" });
  await page.locator(".drop").evaluate((place) => {
    const dragged = new DataTransfer();
    dragged.items.add(new File([new Uint8Array([1, 2, 3])], "no-picture.png", { type: "image/png" }));
    place.dispatchEvent(new DragEvent("drop", { dataTransfer: dragged, bubbles: true, cancelable: true }));
  });
  await page.getByText("no-picture.png, 3 B").waitFor();
  await page.getByText("This browser can't show the file").waitFor();
  await close();
});

test("what is no picture is refused in the model's words", async () => {
  const { page, close } = await opened(running, { path: "#/models/cifar/try", expected: [/400/] });
  const file = { name: "words.png", mimeType: "image/png", buffer: Buffer.from("no picture") };
  await page.getByLabel(/^Picture/).setInputFiles(file);
  await page.getByRole("button", { name: "Send" }).first().click();
  assert.match(await page.getByRole("alert").filter({ hasText: "Failed" }).innerText(), /picture/);
  await close();
});

test("a form made from the signature calls the version that is chosen", async () => {
  const { page, close } = await opened(running, { path: "#/models/shared/try" });
  await page.getByLabel("Version").selectOption("2");
  await page.getByLabel("x 0").fill("1.5");
  await page.getByLabel("x 1").fill("-2");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText("by version 2").waitFor();
  assert.equal(await page.getByLabel("Values of y").innerText(), "3, -4");
  await close();
});

test("values that do not fit the signature are told before anything is sent", async () => {
  const { page, close } = await opened(running, { path: "#/models/digits/try" });
  const field = page.getByLabel(/as JSON/);
  await field.fill("[[1, 2]]");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText("expected the shape").waitFor();
  await page.getByRole("button", { name: "Random values" }).click();
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText(/^Answered in/).waitFor();
  await close();
});

test("traffic moves after its plan is confirmed, and not before", async () => {
  const { page, close } = await opened(running, { path: "#/models/shared" });
  await page.getByRole("spinbutton", { name: "Percent for version 2" }).fill("40");
  await page.keyboard.press("Tab");
  assert.equal(await page.getByRole("spinbutton", { name: "Percent for version 1" }).inputValue(), "60");
  const plan = page.getByRole("button", { name: "Show what changes …" }).first();
  await plan.click();
  const dialog = page.getByRole("dialog", { name: "Traffic of shared" });
  await dialog.getByRole("row", { name: "2 10% 40%" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await pictured(page, "plan-light");

  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.equal(await plan.evaluate((button) => button === document.activeElement), true);
  assert.equal(await page.getByRole("row", { name: /^1 ready 90%/ }).count(), 1);

  await plan.click();
  await dialog.getByRole("button", { name: "Make the change" }).click();
  await page.getByRole("status").getByText("60% to version 1, 40% to version 2").waitFor();
  await page.getByRole("row", { name: /^2 ready 40%/ }).waitFor();
  await close();
});

test("a version that the guard sent back is told with its reason, with the model and among rollouts", async () => {
  const { page, at, close } = await opened(running, { path: "#/models/returned" });
  const last = page.getByRole("region", { name: "Last rollout" });
  await last.getByText("Version 2 was sent back, version 1 answers.").waitFor();
  assert.match(await last.innerText(), /disagreement: 100%/);
  await at("#/rollouts");
  await page.getByRole("article").filter({ hasText: "Version 2 was sent back" }).getByRole("link", { name: "returned" }).waitFor();
  await close();
});

test("a plan that somebody overtook is not made", async () => {
  const { page, close } = await opened(running, { path: "#/models/shared", expected: [/409/] });
  await page.getByRole("combobox", { name: "Label" }).fill("beta");
  await page.getByRole("button", { name: "Show what changes …" }).last().click();
  const dialog = page.getByRole("dialog", { name: "Label beta for version 2" });
  await dialog.getByRole("button", { name: "Make the change" }).waitFor();
  const overtaken = await fetch(`${ADDRESSES.management}/api/models/shared/labels`, { method: "PUT", body: '{"other": 1}' });
  assert.equal(overtaken.status, 200);

  await dialog.getByRole("button", { name: "Make the change" }).click();
  await dialog.getByText("the change was planned from generation").waitFor();
  await dialog.getByRole("button", { name: "Plan again" }).click();
  await dialog.getByRole("button", { name: "Make the change" }).click();
  await page.getByRole("status").getByText("The label beta is at version 2.").waitFor();
  await close();
});

test("a model goes back to what was served before", async () => {
  const { page, close } = await opened(running, { path: "#/models/shared/history" });
  await page.getByRole("button", { name: "To this … record 1", exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("row", { name: "2 40% 10%" }).waitFor();
  await dialog.getByRole("button", { name: "Make the change" }).click();
  await page.getByRole("status").getByText("shared is served as record 1 says.").waitFor();
  await page.getByText("rollback of shared to 1").waitFor();
  await close();
});

test("a model that fails says why, everywhere", async () => {
  const { page, at, close } = await opened(running, { expected: [/4\d\d/] });
  const reason = /damaged\.onnx' is cut off or damaged/;
  assert.match(await page.getByRole("row", { name: /^broken/ }).innerText(), reason);
  await page.getByRole("link", { name: /^Failures/ }).click();
  await page.getByText(reason).waitFor();
  await at("#/models/broken");
  await page.getByText(reason).waitFor();
  await page.getByRole("button", { name: "Try again: broken" }).click();
  await page.getByRole("status").getByText(/^broken still fails: .*damaged/).waitFor();
  await close();
});

test("the keyboard alone finds a model", async () => {
  const { page, close } = await opened(running);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), "Skip to the content");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.type("digi");
  await page.getByText("1 of 8 models").waitFor();
  await page.getByRole("link", { name: "digits" }).focus();
  const first = await asHeaded(page, "digits", () => page.keyboard.press("Enter"));
  assert.deepEqual(first, { focused: "content", title: "digits, overview · onegate" });
  await close();
});

test("a theme that is chosen stays", async () => {
  const { page, close } = await opened(running);
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.getByLabel("Theme").selectOption("dark");
  const dark = await ground();
  assert.notEqual(dark, light);
  await page.reload();
  await page.getByRole("heading", { level: 1 }).waitFor();
  assert.equal(await ground(), dark);
  await close();
});

test("figures come from the metrics", async () => {
  const { page, close } = await opened(running, { path: "#/models/shared/load" });
  const requests = page.getByRole("figure", { name: "Requests a second" });
  await requests.getByText("version 1").waitFor();
  const shown = Number(await requests.getByRole("listitem").first().locator(".legend-figure").innerText());
  assert.ok(shown > 30 && shown < 80, String(shown));
  assert.match(await page.getByRole("figure", { name: "Latency" }).innerText(), /p50\s+2\.\d+ ms/);
  await close();
});
