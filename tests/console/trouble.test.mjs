// The console where a key is needed, where there are hundreds of models, and when the controller goes away.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ADDRESSES, browser, opened, overflow, pictured, violations } from "./browser.mjs";

const REFUSED = [/40[013] \(/];
const AWAY = [/ERR_/];

let running;
before(async () => (running = await browser()));
after(() => running.close());

async function signedIn(key, options = {}) {
  const shown = await opened(running, { ...options, expected: [...REFUSED, ...(options.expected ?? [])] });
  await shown.page.getByLabel("Key or token").fill(key);
  await shown.page.getByRole("button", { name: "Use this key" }).click();
  await shown.page.getByText("key:").waitFor();
  return shown;
}

for (const theme of ["light", "dark"]) {
  test(`without a key only a key is asked for, ${theme}`, async () => {
    const { page, close } = await opened(running, { theme, expected: REFUSED });
    assert.equal(await page.getByRole("heading", { level: 1 }).innerText(), "A key is needed");
    assert.equal(await page.evaluate(() => document.activeElement.type), "password");
    assert.equal(await page.getByText("digits").count(), 0);
    assert.deepEqual(await violations(page), []);
    await pictured(page, `key-${theme}`);
    await page.setViewportSize({ width: 390, height: 800 });
    assert.ok((await overflow(page)) <= 0);
    await pictured(page, `key-${theme}-phone`);
    await close();
  });
}

test("a wrong key is refused, a right one opens the page that was asked for, and is gone with the tab", async () => {
  const { page, close } = await opened(running, { path: "#/models/digits", expected: REFUSED });
  await page.getByLabel("Key or token").fill("og_wrong_key");
  await page.keyboard.press("Enter");
  await page.getByText("The key that was used is refused").waitFor();
  await page.getByLabel("Key or token").fill(ADDRESSES.key);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "digits" }).waitFor();
  await page.getByText("key:ada").waitFor();
  const other = await page.context().newPage();
  await other.goto(ADDRESSES.management);
  await other.getByRole("heading", { level: 1, name: "A key is needed" }).waitFor();
  await close();
});

test("a key that only views sees models, and neither figures nor buttons that change something", async () => {
  const { page, at, close } = await signedIn(ADDRESSES.viewer);
  await at("#/models/shared");
  await page.getByRole("region", { name: "Versions" }).waitFor();
  assert.equal(await page.getByRole("button", { name: /Roll back|Show what changes/ }).count(), 0);
  await at("#/models/shared/load");
  await page.getByText("No metrics: the key lacks the scope “metrics”.").waitFor();
  await at("#/models/shared/try");
  await page.getByText("a key with the scope “infer:shared” is needed").waitFor();
  await close();
});

test("a key is made, shown once, used, and revoked", async () => {
  const { page, at, close } = await signedIn(ADDRESSES.key);
  await at("#/keys");
  await page.getByRole("textbox", { name: "Name" }).fill("shop");
  await page.getByRole("textbox", { name: /^Scopes/ }).fill("view");
  await page.getByRole("button", { name: "Make the key" }).click();
  const text = await page.getByText(/shown this once/).locator("code").innerText();
  assert.match(text, /^og_/);
  assert.deepEqual(await violations(page), []);
  const state = () => fetch(`${ADDRESSES.management}/api/state`, { headers: { authorization: `Bearer ${text}` } });
  assert.equal((await state()).status, 200);

  await page.reload();
  await page.getByRole("button", { name: /^Revoke … shop/ }).waitFor();
  assert.equal(await page.getByText(text).count(), 0);
  await pictured(page, "keys-light");
  await page.getByRole("button", { name: /^Revoke … shop/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke it" }).click();
  await page.getByText("The key shop is revoked.").waitFor();
  assert.equal((await state()).status, 401);
  await page.getByRole("textbox", { name: "Name" }).fill("more");
  await page.getByRole("textbox", { name: /^Scopes/ }).fill("everything");
  await page.getByRole("button", { name: "Make the key" }).click();
  await page.getByText("scopes: expected infer").waitFor();
  await close();
});

test("hundreds of models are listed, filtered and named in full", async () => {
  const { page, close } = await signedIn(ADDRESSES.key);
  await page.getByText("308 models").waitFor();
  assert.equal(await page.getByRole("rowgroup").count(), 1 + 200);
  await page.getByRole("button", { name: "Show all 308" }).click();
  await page.getByRole("link", { name: "crowd-299" }).waitFor();
  await page.getByRole("searchbox", { name: "Name" }).fill("longest");
  await page.getByText("1 of 308 models").waitFor();
  assert.equal(await page.getByRole("rowheader").innerText(), ADDRESSES.longest);
  await page.getByRole("searchbox", { name: "Name" }).fill("");
  await page.getByRole("combobox", { name: "State" }).selectOption("FAILED");
  await page.getByText("301 of 308 models").waitFor();
  await close();
});

test("while the controller does not answer the page says so, shows what it knew, and goes on by itself", async () => {
  const { page, close } = await signedIn(ADDRESSES.key, { expected: AWAY });
  await page.getByText("308 models").waitFor();
  await page.context().setOffline(true);
  const banner = page.getByRole("alert").getByText(/^The controller does not answer/);
  await banner.waitFor();
  assert.equal(await page.getByRole("link", { name: "digits" }).count(), 1);
  assert.deepEqual(await violations(page), []);
  await pictured(page, "away-light");
  await page.context().setOffline(false);
  await banner.waitFor({ state: "detached" });
  await close();
});

test("a key that ends while the page is open asks for another one", async () => {
  const { page, close } = await signedIn(ADDRESSES.key);
  await page.getByText("308 models").waitFor();
  process.kill(Number(process.env.CONSOLE_PID), "SIGUSR1");
  await page.getByRole("heading", { level: 1, name: "A key is needed" }).waitFor();
  await page.getByText("The key that was used is refused").waitFor();
  await close();
});
