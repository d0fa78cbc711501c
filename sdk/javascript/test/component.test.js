import assert from "node:assert/strict";
import { test } from "node:test";
import { readable } from "../dist/build/component.js";

const map = {
  version: 3,
  sources: ["suite.ts", "@handoff/sdk/phase.js"],
  names: [],
  mappings: [[[0, 0, 9, 4]], [[0, 1, 19, 0]]],
  ignoreList: [1],
};

test("what is wrong at the top level of a suite is told with its place and nothing else", () => {
  const engine = `Failed to initialize component (wizer (/a/wizer)):
Exception while evaluating top-level script
/tmp/a/handoff-bundle.js:1:1 TypeError: x is not a function
Additionally, some promises were rejected, but the rejection never handled:
x is not a function`;
  assert.equal(readable(engine, map), "suite.ts:10:5 TypeError: x is not a function");
});

test("what this package finds is told with the place of its caller", () => {
  const engine = `Exception while evaluating top-level script
handoff-bundle.js:2:1 Error: fetch was used
handoff-bundle.js:2:1     at handoff-bundle.js:2:1
handoff-bundle.js:2:1     at handoff-bundle.js:1:1`;
  assert.equal(readable(engine, map), "fetch was used\n    at suite.ts:10:5");
});

test("a call of an imported function at the top level is told as such", () => {
  const engine = "… 1: Error: attempted to call an unknown imported function: 'wasi:a/b@0.2.0' 'get-c'\n …";
  assert.match(readable(engine, map), /calls get-c of wasi:a\/b@0\.2\.0, which is there in tests only/);
});
