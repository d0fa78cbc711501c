import assert from "node:assert/strict";
import { test } from "node:test";
import { errorText, failureOf, outcomeOf } from "../dist/failure.js";
import { BUNDLE, callerPlace, frames } from "../dist/places.js";
import { skip } from "../dist/skip.js";

// Line 1 of the bundle is line 10 of suite.ts, line 2 is line 20 of a library, line 3 of this package.
globalThis.__handoffSourceMap = JSON.stringify({
  version: 3,
  sources: ["suite.ts", "node_modules/chai/index.js", "@handoff/sdk/guest.js"],
  names: [],
  mappings: [[[0, 0, 9, 0]], [[0, 1, 19, 0]], [[0, 2, 29, 0]]],
  ignoreList: [1, 2],
});

function thrown(stack, error = new Error("broken")) {
  error.stack = stack;
  return error;
}

test("frames are those of the bundle, innermost first", () => {
  const stack = `inner@${BUNDLE}:1:5\nasync*outer/<@/tmp/x/${BUNDLE}:2:7\nrun@/tmp/initializer.js:3:9\n`;
  assert.deepEqual(frames(stack), [
    { name: "inner", place: { line: 1, column: 5 } },
    { name: "async*outer/<", place: { line: 2, column: 7 } },
  ]);
  assert.deepEqual(frames(undefined), []);
});

test("a failure is placed at the author's innermost frame, not the library's", () => {
  const failure = failureOf(thrown(`fail@${BUNDLE}:2:1\ntest@${BUNDLE}:1:1\n`), undefined);
  assert.deepEqual(failure, {
    message: "broken",
    location: { file: "suite.ts", line: 10, column: 1 },
  });
});

test("a failure that knows no place of the author's is placed at the test", () => {
  const failure = failureOf(thrown(`turn@${BUNDLE}:3:1\n`), { line: 1, column: 1 });
  assert.equal(failure.location.file, "suite.ts");
  assert.equal(failureOf(thrown(undefined), undefined).location, undefined);
});

test("a stack is shown as node shows it, without this package", () => {
  const stack = `fail@${BUNDLE}:2:1\nasync*inner/<@${BUNDLE}:1:1\n@${BUNDLE}:1:1\ncall@${BUNDLE}:3:1\n`;
  assert.equal(
    errorText(thrown(stack)),
    `Error: broken
    at fail (node_modules/chai/index.js:20:1)
    at async inner (suite.ts:10:1)
    at suite.ts:10:1`,
  );
});

test("a message has the error's kind and its causes", () => {
  const message = (error) => failureOf(error, undefined).message;
  assert.equal(message(new TypeError("no function")), "TypeError: no function");
  const cause = new Error("connection reset");
  assert.equal(message(new Error("no answer", { cause })), "no answer\ncaused by: connection reset");
  const many = new AggregateError([new Error("one"), "two"], "both");
  assert.equal(message(many), "AggregateError: both\n- one\n- two");
  const circle = new Error("round");
  circle.cause = circle;
  assert.equal(message(circle), "round");
});

test("whatever is thrown is told", () => {
  const message = (value) => failureOf(value, undefined).message;
  assert.equal(message("text"), "text");
  assert.equal(message({ a: 1n }), '{"a":"1n"}');
  assert.equal(message(undefined), "undefined was thrown");
  assert.equal(message(null), "null");
});

test("an assertion's values are shown whole where its message shortens them", () => {
  const error = Object.assign(new Error("expected { …(1) } to equal { …(1) }"), {
    showDiff: true,
    actual: { a: [1] },
    expected: new Map([["a", [2]]]),
  });
  assert.match(failureOf(error, undefined).message, /\n {2}actual: \{"a":\[1\]\}\nexpected: \[\["a",\[2\]\]\]$/);
  const plain = Object.assign(new Error("expected 2 to equal 3"), { showDiff: true, actual: 2, expected: 3 });
  assert.equal(failureOf(plain, undefined).message, "expected 2 to equal 3");
});

test("a skip is no failure", () => {
  assert.deepEqual(outcome(() => skip("not today")), { tag: "skipped", val: "not today" });
  assert.equal(outcome(() => assert.fail("no")).tag, "failed");
});

test("outside the engine no place is known", () => {
  assert.equal(callerPlace(), undefined);
});

function outcome(run) {
  try {
    return run();
  } catch (error) {
    return outcomeOf(error, undefined);
  }
}
