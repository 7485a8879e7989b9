// A browser for the tests of the console: what it asked of whom, what it complained of, and axe-core's opinion.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(new URL("../../serve/console/source/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const ADDRESSES = JSON.parse(process.env.CONSOLE_ADDRESSES ?? "{}");
const SCREENSHOTS = process.env.CONSOLE_SCREENSHOTS;

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** A browser with a profile of its own, in a new folder. */
export const browser = () =>
  chromium.launch({ executablePath: process.env.CONSOLE_CHROMIUM ?? "/usr/bin/chromium", headless: true, args: FLAGS });

/** The console in a window of its own. `expected` are complaints of the console that a test provokes. */
export async function opened(running, { theme = "light", width = 1280, height = 900, path = "", expected = [] } = {}) {
  const context = await running.newContext({ colorScheme: theme, viewport: { width, height } });
  const page = await context.newPage();
  const complaints = [];
  const foreign = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !expected.some((each) => each.test(message.text()))) {
      complaints.push(message.text());
    }
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== ADDRESSES.management) foreign.push(request.url());
  });
  page.setDefaultTimeout(60_000);
  const at = async (hash) => {
    await page.goto(`${ADDRESSES.management}/${hash}`);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await page.getByText(/^Asking/).waitFor({ state: "detached" });
  };
  await at(path);
  return {
    page,
    at,
    /** Ends it; fails where the page complained or asked somebody else. */
    async close() {
      await context.close();
      assert.deepEqual(complaints, []);
      assert.deepEqual(foreign, []);
    },
  };
}

/** What axe-core finds wrong, in short. */
export async function violations(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations.map((each) => `${each.id}: ${each.nodes.map((node) => `${node.target} ${node.any[0]?.message ?? node.all[0]?.message ?? ""}`).join("; ")}`);
}

/** How many pixels the page is wider than the window. */
export const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

/** Keeps a picture of the whole page where the environment says so. */
export async function pictured(page, name) {
  if (!SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
}
