// Builds the islands and the style sheet into the Python package, under names that carry a hash of their content.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "../src/lichtmast/api/static");
const maplibre = join(here, "node_modules/maplibre-gl/dist");

const shared = { bundle: true, minify: true, format: "esm", target: "es2022", write: false, legalComments: "none" };
const outputs = new Map();

async function bundle(name, entry, options = {}) {
  const { outputFiles } = await build({ ...shared, ...options, entryPoints: [join(here, entry)], outdir: target });
  outputs.set(name, outputFiles[0].contents);
}

await bundle("live.js", "src/live.ts");
await bundle("access.js", "src/access.ts");
await bundle("map.js", "src/map.ts");
await bundle("site.css", "src/site.css");
outputs.set("map.css", await readFile(join(maplibre, "maplibre-gl.css")));
outputs.set("worker.js", await readFile(join(maplibre, "maplibre-gl-worker.mjs")));
outputs.set("lamp.svg", await readFile(join(here, "src/lamp.svg")));
// BSD-3-Clause wants its text beside the binary form.
outputs.set("licences.txt", Buffer.concat(await Promise.all(
  ["lit/LICENSE", "maplibre-gl/LICENSE.txt"].map((file) => readFile(join(here, "node_modules", file))),
)));

await mkdir(target, { recursive: true });
const manifest = {};
for (const [name, contents] of outputs) {
  const text = Buffer.from(contents).toString("utf8").replace(/^\/\/# sourceMappingURL=.*$/m, "");
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 10);
  const extension = extname(name);
  manifest[name] = `${basename(name, extension)}-${hash}${extension}`;
  await writeFile(join(target, manifest[name]), text);
}
await writeFile(join(target, "manifest.json"), JSON.stringify(manifest, null, 2) + "\n");
// The manifest is written last and names all that counts; what it does not name is of an earlier build.
const current = new Set([...Object.values(manifest), "manifest.json"]);
for (const file of await readdir(target)) {
  if (!current.has(file)) {
    await rm(join(target, file));
  }
}
for (const [name, file] of Object.entries(manifest)) {
  console.log(`${name} -> ${file} (${Math.ceil(Buffer.byteLength(outputs.get(name)) / 1024)} KiB)`);
}
