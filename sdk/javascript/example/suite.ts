// One test of each kind: what passes, fails, skips, fails softly, is flaky, is slow.

import { log, setup, skip, suite, test } from "@handoff/sdk";
import { assert, expect } from "chai";

suite("hello", {
  namespace: "javascript",
  description: "One test of each kind. **Two of them fail, and should.**",
  owner: "handoff",
  timeout: "5s",
  links: { Source: "https://github.com/handoff-tests/handoff/tree/main/sdk/javascript/example" },
  labels: { kind: "example" },
});

// Gets what the tests share. Every test runs in a fresh instance: only values are carried over.
setup((t) => {
  t.setSecret("token", "open sesame");
});

test("passes", { tags: ["smoke"], description: "What people read beside the test's name." }, (t) => {
  const token = t.require("token");
  log.info(`the token ${token} is masked wherever people could see it`);
  assert.lengthOf(token, 11);
});

// What is thrown is a failure, so every assertion library works.
test("fails", () => {
  expect(1 + 1, "arithmetic still works").to.equal(3);
});

// An error is a failure too. Its place is that of the code which threw it.
test("fails by an error", () => {
  const settings = JSON.parse("port = 80");
  console.log(`listening on ${settings.port}`);
});

// Skipping works from helpers as well.
test("skips", async (t) => {
  const staging = t.param("staging") ?? skip("give the parameter `staging` to run this");
  console.log(`staging is ${staging}`);
});

// Shown, but the run does not fail by it.
test("fails softly", { soft: true }, () => {
  throw new Error("known to be broken since spring");
});

// Passes when it is tried again.
test("flaky", { attempts: 3 }, (t) => {
  expect(t.attempt, "the first attempt always fails").to.be.above(1);
});

// Shows its parts in the timeline.
test("slow", { timeout: "2s" }, async (t) => {
  using _ = t.span("waiting", { reason: "to be slow" });
  await new Promise((resolve) => setTimeout(resolve, 300));
  log.info(`${t.remaining} ms left`);
});

// A table: each row is a part with a result of its own.
test("table", async (t) => {
  const rows: [number, number, number][] = [[1, 1, 2], [2, 3, 5], [20, 22, 42]];
  for (const [a, b, sum] of rows) {
    const passed = await t.part(`${a} + ${b}`, () => expect(a + b).to.equal(sum));
    assert(passed);
  }
});

// Not run, and says why.
test("makes coffee", { disabled: "waits for the new office" });

// Asks the tested system, which the parameter `server` names. The policy must grant it.
test("answers over HTTP", { attempts: 2 }, async (t) => {
  const server = t.param("server") ?? skip("give the parameter `server`, a base URL");
  const answer = await fetch(new URL("/echo?q=hello", server), { signal: AbortSignal.timeout(2000) });
  expect(answer.status).to.equal(200);
  expect(await answer.json()).to.include({ method: "GET" });
});
