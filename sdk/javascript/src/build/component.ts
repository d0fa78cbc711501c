// From a bundle to a component: the engine with the bundle's memory after its top level has run.

import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { componentize as snapshot } from "@bytecodealliance/componentize-js";
import { type DecodedSourceMap, originalPositionFor, presortedDecodedMap } from "@jridgewell/trace-mapping";
import { BUNDLE } from "../places.js";
import type { Bundle } from "./bundle.js";

/** The contract with everything that it refers to. */
const WIT = fileURLToPath(new URL("../../wit", import.meta.url));

/** What a suite exports. */
const EXPORTED = "handoff:suite/tests@0.1.0";

/** Makes a component of a bundle. */
export async function componentize(bundle: Bundle): Promise<Uint8Array> {
  const directory = await mkdtemp(join(tmpdir(), "handoff-build-"));
  try {
    const sourcePath = join(directory, BUNDLE);
    await writeFile(sourcePath, bundle.code);
    const { component } = await snapshot({
      sourcePath,
      witPath: await contract(directory, bundle.interfaces),
      worldName: "bundle",
      // The SDK brings its own `fetch`, so the engine's must not ask for wasi:http.
      disableFeatures: ["http", "fetch-event"],
    });
    return component;
  } catch (error) {
    throw new Error(readable((error as Error).message, bundle.map));
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** The world of just what is imported, so that people see what a suite could reach. */
async function contract(directory: string, interfaces: string[]): Promise<string> {
  const wit = join(directory, "wit");
  await cp(join(WIT, "deps"), join(wit, "deps"), { recursive: true });
  await mkdir(join(wit, "deps", "suite"));
  for (const file of ["context", "tests", "vocabulary", "world"]) {
    await cp(join(WIT, `${file}.wit`), join(wit, "deps", "suite", `${file}.wit`));
  }
  const imports = interfaces.map((name) => `  import ${name};\n`).join("");
  const world = `world bundle {\n${imports}  export ${EXPORTED};\n}\n`;
  await writeFile(join(wit, "world.wit"), `package handoff:bundle;\n\n${world}`);
  return wit;
}

/** The engine's complaint, once, and with places in the sources instead of the bundle. */
export function readable(message: string, map: DecodedSourceMap): string {
  const missing = /unknown imported function: '(.+?)' '(.+?)'/.exec(message);
  if (missing) {
    return `the top level of the suite calls ${missing[2]} of ${missing[1]}, which is there in tests only`;
  }
  const trace = presortedDecodedMap(map);
  const places = new RegExp(`\\S*${BUNDLE.replace(".", "\\.")}:(\\d+):(\\d+)`, "g");
  return message
    .replace(/^Failed to initialize component .*\n/, "")
    .replace(/^Exception while evaluating top-level script\n/, "")
    .replace(/\nAdditionally, [^]*$/, "") // the same again
    .replace(places, (text, line, column) => {
      const { source, ...at } = originalPositionFor(trace, {
        line: Number(line),
        column: Number(column) - 1,
      });
      return source === null ? text : `${source}:${at.line}:${(at.column ?? 0) + 1}`;
    })
    .replace(/^@handoff\/sdk\/\S+ (Error: )?/gm, "") // stands before each line
    .replace(/\n {4}at (@handoff\/sdk\/|handoff-entry).*/g, "");
}
