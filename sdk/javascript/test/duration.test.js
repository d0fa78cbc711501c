import assert from "node:assert/strict";
import { test } from "node:test";
import { milliseconds } from "../dist/duration.js";

test("a length of time is milliseconds or a number with a unit", () => {
  const lengths = { "500ms": 500, "5s": 5000, "1.5s": 1500, "2m": 120_000, "1h": 3_600_000 };
  for (const [text, expected] of Object.entries(lengths)) {
    assert.equal(milliseconds(text), expected, text);
  }
  assert.equal(milliseconds(250), 250);
  assert.equal(milliseconds(0.2), 1, "a part of a millisecond is one");
});

test("anything else is refused and told how to be written", () => {
  for (const wrong of ["5", "s", "5 s", "-5s", "5d", "", -1, Number.NaN, Infinity]) {
    assert.throws(() => milliseconds(wrong), /is no length of time: write/, String(wrong));
  }
});
