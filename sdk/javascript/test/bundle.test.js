import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { bundle } from "../dist/build/bundle.js";
import { main } from "../dist/build/command.js";

let directory;

before(async () => {
  // Inside the package, so that the suites find it by its name.
  directory = await mkdtemp(join(import.meta.dirname, "suites-"));
});

after(() => rm(directory, { recursive: true }));

async function made(code) {
  const file = join(directory, "suite.ts");
  await writeFile(file, `import { suite, test } from "@handoff/sdk";\nsuite("a");\n${code}`);
  return bundle(file);
}

test("a suite imports what it uses and no more", async () => {
  const plain = await made('test("a", (t: unknown) => {});');
  assert.ok(plain.interfaces.includes("handoff:suite/context@0.1.0"));
  assert.ok(!plain.interfaces.some((name) => name.startsWith("wasi:http")), `${plain.interfaces}`);
  const asking = await made('test("a", async () => { await fetch("http://127.0.0.1"); });');
  assert.ok(asking.interfaces.some((name) => name.startsWith("wasi:http/outgoing-handler@")));
  const writing = await made('import process from "node:process"; test("a", () => process.exit(0));');
  assert.ok(writing.interfaces.some((name) => name.startsWith("wasi:cli/exit@")));
});

test("the map knows the sources by paths that do not depend on the machine", async () => {
  const { map, code } = await made('test("a", () => { throw new Error("here"); });');
  assert.ok(map.sources.some((source) => source.endsWith("/suite.ts")), `${map.sources}`);
  for (const source of map.sources) {
    assert.match(source, /^(test\/|@handoff\/sdk\/|node_modules\/)/);
  }
  const library = map.ignoreList.map((index) => map.sources[index]);
  assert.ok(library.includes("@handoff/sdk/registry.js"));
  assert.ok(!library.some((source) => source.endsWith("/suite.ts")));
  assert.match(code, /\nglobalThis\.__handoffSourceMap = "/);
});

test("a module that only node has is refused with its place", async () => {
  const failed = made('import net from "node:net"; test("a", () => net.connect(1));');
  await assert.rejects(failed, /suite\.ts:3:17: Could not resolve "node:net".*runs without node/);
});

test("the command line tells how it is used", async (t) => {
  const told = t.mock.method(console, "error", () => {});
  assert.equal(await main([]), 2);
  assert.equal(await main(["a.ts", "b.ts"]), 2);
  assert.equal(await main(["--wrong"]), 2);
  assert.match(told.mock.calls[0].arguments[0], /name one file[^]*Usage: handoff-build/);
  assert.equal(await main(["no-such-suite.ts"]), 1);
  assert.match(told.mock.calls.at(-1).arguments[0], /failed to build no-such-suite\.ts: /);
});
