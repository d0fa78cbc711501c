// One file of everything that a suite needs, and the map from it to the sources.

import { builtinModules } from "node:module";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { decode } from "@jridgewell/sourcemap-codec";
import type { DecodedSourceMap } from "@jridgewell/trace-mapping";
import * as esbuild from "esbuild";
import { BUNDLE } from "../places.js";

/** This package, built. */
const DIST = fileURLToPath(new URL("..", import.meta.url));

/** Node's modules that this package has a part of. */
const ALIASES = {
  "node:process": join(DIST, "process.js"),
  process: join(DIST, "process.js"),
  "node:fs/promises": join(DIST, "fs.js"),
  "fs/promises": join(DIST, "fs.js"),
};

const builtin = new Set(builtinModules);

/** A suite in one file. */
export interface Bundle {
  /** What runs, its map included. */
  code: string;
  map: DecodedSourceMap;
  /** The interfaces that it imports, as `wasi:io/poll@0.2.12`. */
  interfaces: string[];
}

/** Bundles the suite in a file. */
export async function bundle(suite: string): Promise<Bundle> {
  const here = process.cwd();
  const result = await esbuild
    .build({
      stdin: { contents: entry(suite), resolveDir: dirname(suite), sourcefile: "handoff-entry.js" },
      outfile: join(here, BUNDLE),
      write: false,
      bundle: true,
      format: "esm",
      platform: "neutral",
      mainFields: ["module", "main"],
      target: "es2022",
      keepNames: true,
      external: ["wasi:*", "handoff:*"],
      alias: ALIASES,
      inject: [join(DIST, "globals.js")],
      define: { "globalThis.fetch": "fetch", "globalThis.process": "process" },
      sourcemap: "external",
      sourcesContent: false,
      metafile: true,
      plugins: [{ name: "suite", setup: (build) => keep(build, suite) }],
      logLevel: "silent",
    })
    .catch((failure: esbuild.BuildFailure) => {
      throw new Error(told(failure));
    });
  for (const { text, location } of result.warnings) {
    console.error(`warning: ${location ? `${location.file}:${location.line}: ` : ""}${text}`);
  }
  const text = (end: string) =>
    result.outputFiles.find((file) => file.path.endsWith(end))?.text ?? "";
  const map = tidy(JSON.parse(text(".map")), here);
  const imports = Object.values(result.metafile.outputs).flatMap((output) => output.imports);
  const external = imports.filter((one) => one.external).map((one) => one.path);
  const embedded = JSON.stringify(JSON.stringify(map));
  return {
    code: `${text(".js")}\nglobalThis.__handoffSourceMap = ${embedded};\n`,
    map,
    interfaces: [...new Set(external)].sort(),
  };
}

/** Keeps the suite's file: it is there for what it does, even if its package says `sideEffects: false`. */
function keep(build: esbuild.PluginBuild, suite: string): void {
  build.onResolve({ filter: /.*/, namespace: "file" }, ({ path, kind }) =>
    kind === "import-statement" && path === suite ? { path, sideEffects: true } : undefined,
  );
}

/** The module that is bundled: the suite, then a look at whether it is one, then what is exported. */
function entry(suite: string): string {
  const guest = JSON.stringify(join(DIST, "guest.js"));
  return `import ${JSON.stringify(suite)};
import { tests } from ${guest};
tests.describe();
export { tests };
`;
}

/**
 * The same map with paths that do not depend on the machine, and libraries marked as such, of which it
 * knows the lines only. It is decoded, since every attempt that fails reads it: that takes a fifteenth
 * of the fuel that decoding takes in the engine.
 */
function tidy(map: { sources: string[]; mappings: string }, here: string): DecodedSourceMap {
  const sources = map.sources.map((source) => name(join(here, source), here));
  const ignoreList = sources.flatMap((source, index) => (source.library ? [index] : []));
  const library = new Set(ignoreList);
  const mappings = decode(map.mappings).map((segments) => {
    const own = segments.filter(([, source]) => source !== undefined && !library.has(source));
    return own.length > 0 ? own : segments.slice(0, 1);
  });
  return { version: 3, sources: sources.map((source) => source.name), names: [], mappings, ignoreList };
}

function name(path: string, here: string): { name: string; library: boolean } {
  const modules = `${sep}node_modules${sep}`;
  const slashes = (text: string) => text.split(sep).join("/");
  if (path.startsWith(DIST)) {
    return { name: `@handoff/sdk/${slashes(relative(DIST, path))}`, library: true };
  }
  if (path.includes(modules)) {
    return { name: slashes(path.slice(path.lastIndexOf(modules) + 1)), library: true };
  }
  return { name: slashes(relative(here, path)), library: path.endsWith("handoff-entry.js") };
}

/** What esbuild has to say, as compilers say it. */
function told({ errors }: esbuild.BuildFailure): string {
  const lines = (errors ?? []).map(({ text, location }) => {
    const place = location ? `${location.file}:${location.line}:${location.column + 1}: ` : "";
    const module = /^Could not resolve "(?:node:)?([^"]+)"/.exec(text)?.[1];
    const hint = module && builtin.has(module) ? "; a suite runs without node" : "";
    return `${place}${text}${hint}`;
  });
  return lines.join("\n");
}
