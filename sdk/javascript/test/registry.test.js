import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

let fresh = 0;
let registry;

beforeEach(async () => {
  fresh += 1;
  registry = await import(`../dist/registry.js?${fresh}`);
});

test("a suite is described with what was given and nothing else", () => {
  registry.suite("shop", { timeout: "5s", links: { Runbook: "https://a.test" }, labels: { team: "x" } });
  registry.test("one", () => {});
  registry.test("two", { timeout: 50, tags: ["smoke"], soft: true, attempts: 2 }, () => {});
  registry.test("three", { disabled: "later" });
  assert.deepEqual(registry.description(), {
    name: "shop",
    timeoutMs: 5000n,
    links: [{ title: "Runbook", url: "https://a.test" }],
    labels: [{ key: "team", value: "x" }],
    wantsHttp: [],
    tests: [
      { name: "one", tags: [], soft: false },
      { name: "two", tags: ["smoke"], soft: true, attempts: 2, timeoutMs: 50n },
      { name: "three", tags: [], soft: false, disabled: "later" },
    ],
  });
});

test("tests are found by their names", () => {
  const run = () => {};
  registry.test("größe ✓", run);
  assert.equal(registry.find("größe ✓"), run);
  assert.equal(registry.find("other"), undefined);
});

test("a suite needs one name and a test", () => {
  assert.throws(() => registry.description(), /the suite has no name/);
  registry.suite("a");
  assert.throws(() => registry.description(), /the suite has no tests/);
  assert.throws(() => registry.suite("b"), /suite\(\) is called twice/);
});

test("what cannot be meant is refused", () => {
  registry.test("one", () => {});
  assert.throws(() => registry.test("one", () => {}), /two tests are called `one`/);
  assert.throws(() => registry.test("two", {}), /the test `two` has no function/);
  assert.throws(() => registry.test("three", { attempts: 0 }, () => {}), /attempts is 0/);
  assert.throws(() => registry.test("four", { timeout: "soon" }, () => {}), /is no length of time/);
  registry.setup(() => {});
  assert.throws(() => registry.setup(() => {}), /two functions for setup/);
  registry.teardown(() => {});
  assert.throws(() => registry.teardown(() => {}), /two functions for teardown/);
});
