// The suite of behaviours that every SDK has: see sdk/CONFORMANCE.md.

import { FetchError, log, Refusal, setup, skip, suite, teardown, test } from "@handoff/sdk";
import { readdir, readFile, writeFile } from "@handoff/sdk/fs";
import process from "@handoff/sdk/process";
import { assert, expect } from "chai";

suite("conformance", {
  namespace: "javascript",
  description: "What every SDK can do",
  owner: "handoff",
  links: { Source: "https://example.test/source" },
  labels: { language: "javascript" },
  timeout: "5s",
  attempts: 1,
  wantsHttp: ["http://127.0.0.1:1"],
});

setup((t) => {
  log.info("SETUP LINE");
  t.set("from_setup", "set in setup ✓");
  t.setSecret("secret_token", "open-sesame-größe");
});

teardown((t) => {
  log.info("TEARDOWN LINE", t.get("from_test"));
});

test("passes", { tags: ["smoke", "pass"], description: "Passes, **always**." }, () => {});

test("größe ✓ 日本", () => {});

test("fails_by_assertion", () => {
  assert(false, "ASSERTION ON PURPOSE");
});

test("fails_with_operands", () => {
  expect(1 + 1).to.equal(3);
});

test("fails_by_error", () => {
  throw new Error("ERROR ON PURPOSE");
});

test("fails_deep", () => {
  const first = () => second();
  const second = () => third();
  const third = () => {
    throw new Error("DEEP ON PURPOSE");
  };
  first();
});

test("reports_a_failure_and_goes_on", (t) => {
  t.reportFailure("REPORTED ON PURPOSE");
  log.info("AFTER THE REPORT");
});

test("skips", () => {
  skip("SKIPPED ON PURPOSE");
});

test("skips_in_a_helper", () => {
  const helper = (): string => skip("HELPER SKIPPED");
  assert.fail(helper());
});

test("fails_softly", { soft: true }, () => {
  assert.fail("SOFT ON PURPOSE");
});

test("marks_itself_soft", (t) => {
  t.markSoft();
  assert.fail("MARKED SOFT");
});

test("disabled", { disabled: "DISABLED ON PURPOSE" }, () => {
  assert.fail("it was run");
});

test("exits_with_3", () => {
  console.log("EXITING");
  process.exit(3);
});

test("exits_with_0", () => {
  process.exit(0);
});

test("traps", () => {
  console.log("ABOUT TO TRAP");
  process.abort();
});

test("overflows_the_stack", () => {
  const deeper = (depth: number): number => deeper(depth + 1) + 1;
  deeper(0);
});

test("flaky", { attempts: 3 }, (t) => {
  assert(t.attempt > 1, "FLAKY ON PURPOSE");
});

test("fails_every_time", { attempts: 3 }, (t) => {
  assert.fail(`FAILED ATTEMPT ${t.attempt}`);
});

test("log_levels", () => {
  log.trace("LEVEL TRACE");
  log.debug("LEVEL DEBUG");
  log.info("LEVEL INFO");
  log.warn("LEVEL WARN");
  log.error("LEVEL ERROR");
});

test("keeps_the_order_of_output", () => {
  console.log("ONE");
  console.error("TWO");
  log.info("THREE");
  console.log("FOUR");
});

test("ends_output_without_newline", () => {
  process.stdout.write("NO NEWLINE");
});

test("fails_after_output_without_newline", () => {
  process.stdout.write("LAST WORDS");
  assert.fail("AFTER LAST WORDS");
});

test("writes_unicode", () => {
  console.log("größe 日本 🦀");
});

test("writes_much", () => {
  for (let line = 0; line < 10_000; line += 1) {
    console.log(`line ${line}`);
  }
});

test("knows_its_attempt", (t) => {
  expect(t.attempt).to.equal(1);
});

test("extends_its_deadline", { timeout: "2s" }, (t) => {
  expect(t.remaining).to.be.within(1, 2000);
  t.extendDeadline("3s");
  expect(t.remaining).to.be.above(2000);
});

test("has_parts", async (t) => {
  await t.part("passing part", () => {});
  await t.part("failing part", () => assert.fail("PART ON PURPOSE"));
  await t.part("skipped part", () => skip("PART SKIPPED"));
});

test("sets_values", (t) => {
  t.set("from_test", "größe ✓");
  t.set("big", "x".repeat(60_000));
});

test("gets_values", (t) => {
  expect(t.require("from_setup")).to.equal("set in setup ✓");
  expect(t.require("from_test")).to.equal("größe ✓");
  expect(t.require("big")).to.have.lengthOf(60_000);
  expect(t.get("missing")).to.equal(undefined);
});

test("masks_secrets", (t) => {
  const secret = t.require("secret_token");
  expect(secret).to.equal("open-sesame-größe");
  console.log(`the secret is ${secret}`);
});

test("attaches", (t) => {
  t.attach("note.txt", "text/plain", "ATTACHED ✓");
  t.attach("bytes.bin", "application/octet-stream", Uint8Array.from({ length: 256 }, (_, i) => i));
});

test("hears_a_refusal", (t) => {
  const attach = () => t.attach("big.bin", "application/octet-stream", new Uint8Array(2_097_152));
  expect(attach).to.throw(Refusal).with.property("rule", "artifact_bytes");
});

test("has_spans", (t) => {
  using outer = t.span("outer", { key: "value" });
  using inner = t.span("inner");
  inner.end();
  outer.end();
});

test("reads_parameters", (t) => {
  expect(t.param("greeting")).to.equal("hello ✓");
  expect(t.param("region")).to.equal("test");
  expect(t.param("missing")).to.equal(undefined);
});

test("reads_the_environment", () => {
  expect(process.env.GREETING).to.equal("from the policy");
});

test("has_clocks_and_random", () => {
  const before = performance.now();
  expect(performance.now()).to.be.at.least(before);
  expect(new Date().getFullYear()).to.be.at.least(2026);
  const draw = () => crypto.getRandomValues(new Uint8Array(16)).join();
  expect(draw()).not.to.equal(draw());
});

test("has_a_scratch_directory", async () => {
  expect(await readdir("/tmp")).to.deep.equal([]);
  await writeFile("/tmp/a.txt", "größe");
  expect(await readFile("/tmp/a.txt", "utf8")).to.equal("größe");
  const elsewhere = await writeFile("/elsewhere", "").catch((error: Error) => error);
  expect(elsewhere).to.be.an("error").with.property("code", "EPERM");
});

test("sleeps", async () => {
  const before = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(performance.now() - before).to.be.at.least(50);
});

test("gets_over_http", async (t) => {
  const url = new URL("/echo", t.requireParam("server"));
  url.searchParams.set("q", "größe");
  const answer = await fetch(url);
  expect(answer.status).to.equal(200);
  const echo = await answer.json();
  expect(echo.method).to.equal("GET");
  expect(echo.path).to.equal("/echo?q=gr%C3%B6%C3%9Fe");
});

test("posts_json", async (t) => {
  const body = JSON.stringify({ name: "größe" });
  const headers = { "content-type": "application/json", "x-conformance": "yes" };
  const answer = await fetch(`${t.requireParam("server")}/echo`, { method: "POST", headers, body });
  const echo = await answer.json();
  expect(echo.body).to.equal(body);
  expect(echo.headers).to.include(headers);
});

test("sees_a_status", async (t) => {
  const answer = await fetch(`${t.requireParam("server")}/status/404`);
  expect(answer.status).to.equal(404);
});

test("hears_a_denial", async () => {
  const denial = await fetch("http://127.0.0.1:1/").catch((error: unknown) => error);
  expect(denial).to.be.instanceOf(FetchError).with.property("kind", "denied");
  expect(String(denial)).to.contain("denied");
});

test("gives_up_waiting", async (t) => {
  const answer = fetch(`${t.requireParam("server")}/never`, { signal: AbortSignal.timeout(200) });
  const error = await answer.catch((error: Error) => error);
  expect(error).to.have.property("name", "TimeoutError");
});

test("gets_a_big_body", async (t) => {
  const answer = await fetch(`${t.requireParam("server")}/bytes/1048576`);
  expect((await answer.arrayBuffer()).byteLength).to.equal(1_048_576);
});

test("loops", { timeout: "300ms" }, () => {
  for (;;);
});

test("sleeps_too_long", { timeout: "300ms" }, async () => {
  await new Promise((resolve) => setTimeout(resolve, 3_600_000));
});

test("allocates", () => {
  const kept: Uint8Array[] = [];
  for (;;) {
    kept.push(new Uint8Array(1_048_576).fill(1));
  }
});

test("cleans_up_in_order", (t) => {
  t.cleanup(() => console.log("CLEANUP 1"));
  t.cleanup(() => console.log("CLEANUP 2"));
  console.log("BODY");
});

test("cleans_up_after_a_failure", (t) => {
  t.cleanup(() => console.log("CLEANED UP"));
  assert.fail("BEFORE CLEANUP");
});

let counter = 0;
for (const name of ["is_alone_1", "is_alone_2"]) {
  test(name, async () => {
    expect(counter).to.equal(0);
    expect(await readdir("/tmp")).to.deep.equal([]);
    counter += 1;
    await writeFile("/tmp/alone", "not any more");
  });
}

for (let number = 0; number < 200; number += 1) {
  test(`many_${String(number).padStart(3, "0")}`, () => {});
}

// What it costs to meter a suite is measured with these.

function shellSort(numbers: number[]): void {
  for (let gap = numbers.length >> 1; gap > 0; gap >>= 1) {
    for (let at = gap; at < numbers.length; at += 1) {
      const number = numbers[at]!;
      let to = at;
      for (; to >= gap && numbers[to - gap]! > number; to -= gap) {
        numbers[to] = numbers[to - gap]!;
      }
      numbers[to] = number;
    }
  }
}

test("sorts", (t) => {
  for (let round = Number(t.param("rounds") ?? 1); round > 0; round -= 1) {
    const numbers: number[] = [];
    for (let x = 1; numbers.length < 20_000; x = (x * 16_807) % 2_147_483_647) {
      numbers.push(x);
    }
    shellSort(numbers);
    expect(numbers.every((number, at) => at === 0 || numbers[at - 1]! <= number)).to.equal(true);
  }
});

test("writes_and_reads_json", (t) => {
  for (let round = Number(t.param("rounds") ?? 1); round > 0; round -= 1) {
    const books = Array.from({ length: 2_000 }, (_, i) => {
      return { id: i, name: `book ${i}`, price: i / 4, sold: i % 2 === 1, tags: ["a", "b"] };
    });
    const read = JSON.parse(JSON.stringify(books)) as typeof books;
    expect(read.reduce((sum, book) => sum + book.id, 0)).to.equal(1_999_000);
  }
});

// What is there to hit when the policy sets limits low.

const limits = { tags: ["limits"] };

test("limit_fuel", { ...limits, timeout: "60s" }, () => {
  for (;;);
});

test("limit_log", limits, () => {
  console.log("FIRST LINE");
  for (let line = 0; line < 1_000; line += 1) {
    console.log(`line ${line}`);
  }
  console.log("LAST LINE");
});

test("limit_log_line", limits, () => {
  console.log("x".repeat(2_000));
});

test("limit_message", limits, () => {
  assert.fail(`LONG MESSAGE ${"x".repeat(2_000)}`);
});

test("limit_failures", limits, (t) => {
  for (let number = 0; number < 10; number += 1) {
    t.reportFailure(`FAILURE ${number}`);
  }
});

test("limit_value", limits, (t) => {
  const set = () => t.set("long", "x".repeat(2_000));
  expect(set).to.throw(Refusal).with.property("rule", "value_bytes");
});

test("limit_values", limits, (t) => {
  const set = () => {
    for (let number = 0; number < 10; number += 1) {
      t.set(`value ${number}`, "x");
    }
  };
  expect(set).to.throw(Refusal).with.property("rule", "values");
});

test("limit_artifacts", limits, (t) => {
  const attach = () => {
    for (let number = 0; number < 10; number += 1) {
      t.attach("x.txt", "text/plain", "x");
    }
  };
  expect(attach).to.throw(Refusal).with.property("rule", "artifacts");
});

test("limit_spans", limits, (t) => {
  for (let number = 0; number < 10; number += 1) {
    t.span(`span ${number}`).end();
  }
});

test("limit_parts", limits, async (t) => {
  for (let number = 0; number < 10; number += 1) {
    await t.part(`part ${number}`, () => {});
  }
});

test("limit_requests", limits, async (t) => {
  const get = async () => {
    for (let number = 0; number < 10; number += 1) {
      await fetch(`${t.requireParam("server")}/status/204`);
    }
  };
  const error = await get().catch((error: unknown) => error);
  expect(error).to.be.instanceOf(FetchError).with.property("kind", "denied");
});

test("limit_received", limits, async (t) => {
  const answer = await fetch(`${t.requireParam("server")}/bytes/1048576`);
  const error = await answer.arrayBuffer().catch((error: unknown) => error);
  expect(error).to.be.instanceOf(FetchError).with.property("kind", "denied");
});

test("limit_random", limits, () => {
  for (let drawn = 0; drawn < 1_000_000; drawn += 50_000) {
    crypto.getRandomValues(new Uint8Array(50_000));
  }
});

test("limit_scratch", limits, async () => {
  const full = await writeFile("/tmp/full", new Uint8Array(200_000)).catch((error: Error) => error);
  expect(full).to.be.an("error").with.property("code", "ENOSPC");
});

test("limit_extension", limits, (t) => {
  expect(t.extendDeadline("10m")).to.be.within(5_000, 60_000);
});
