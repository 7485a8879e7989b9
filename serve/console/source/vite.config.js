import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { defineConfig } from "vite";

const source = import.meta.dirname;
const built = join(source, "..", "dist");

/** What the build is made of: `tests/console/test_built_files.py` computes the same. */
function sourcesDigest() {
  const digest = createHash("sha256");
  const names = readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(source, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .filter((name) => !name.startsWith("node_modules/") && !name.startsWith("tests/"))
    .sort();
  for (const name of names) {
    digest.update(`${name}\0`).update(createHash("sha256").update(readFileSync(join(source, name))).digest());
  }
  return digest.digest("hex");
}

export default defineConfig({
  base: "/console/",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: built,
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  plugins: [
    {
      name: "sources-digest",
      apply: "build",
      closeBundle: () => writeFileSync(join(built, "sources.sha256"), `${sourcesDigest()}\n`),
    },
  ],
});
