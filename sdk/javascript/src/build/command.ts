// `handoff-build`: a suite in TypeScript or JavaScript as one component.

import { readFile, rename, writeFile } from "node:fs/promises";
import { basename, extname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { bundle } from "./bundle.js";
import { componentize } from "./component.js";

const USAGE = `Usage: handoff-build SUITE [-o FILE.wasm]

Builds a suite in TypeScript or JavaScript, with all that it imports, to one component.

  -o, --output FILE   where it goes; default: the suite's name with .wasm, here
  -h, --help          print this
  -V, --version       print the version
`;

/** Runs the command; gives its exit code. */
export async function main(args: string[]): Promise<number> {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  const { values, positionals } = parsed;
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  if (values.version) {
    const manifest = await readFile(new URL("../../package.json", import.meta.url), "utf8");
    console.log(JSON.parse(manifest).version);
    return 0;
  }
  const [suite, ...others] = positionals;
  if (suite === undefined || others.length > 0) {
    console.error(`name one file, the suite\n\n${USAGE}`);
    return 2;
  }
  const output = values.output ?? `${basename(suite, extname(suite))}.wasm`;
  try {
    await build(suite, output);
  } catch (error) {
    console.error(`failed to build ${suite}: ${(error as Error).message}`);
    return 1;
  }
  return 0;
}

/** Builds a suite to a file. */
export async function build(suite: string, output: string): Promise<void> {
  const component = await componentize(await bundle(resolve(suite)));
  // Whoever reads it meanwhile sees the old file or the new one.
  const unfinished = `${output}.${process.pid}.part`;
  await writeFile(unfinished, component);
  await rename(unfinished, output);
  const megabytes = (component.length / 1e6).toFixed(1);
  console.log(`built ${output} (${megabytes} MB)`);
}

function parse(args: string[]) {
  return parseArgs({
    args,
    allowPositionals: true,
    options: {
      output: { type: "string", short: "o" },
      help: { type: "boolean", short: "h" },
      version: { type: "boolean", short: "V" },
    },
  });
}
