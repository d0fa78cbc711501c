// What the suite's modules registered, and what is wrong with it.

import type { SuiteDescription, TestCase } from "handoff:suite/tests@0.1.0";
import type { Context } from "./context.js";
import { type Duration, milliseconds } from "./duration.js";
import { callerPlace, type Place, told } from "./places.js";

/** What a test, setup or teardown is: a function, which may be asynchronous. */
export type Run = (t: Context) => unknown;

/** What {@link suite} takes beside the name. Everything is optional. */
export interface SuiteOptions {
  /** Its namespace: lower-case letters, digits, `-`, `_` and `.`. Default: `default`. */
  namespace?: string;
  /** What it tests, in Markdown. */
  description?: string;
  /** Who owns it, for example a team's name or address. */
  owner?: string;
  /** Links for whoever looks at a failure, by title: the runbook, the dashboard, the source. */
  links?: Record<string, string>;
  /** Labels, by which suites are chosen. */
  labels?: Record<string, string>;
  /** The deadline of a test that has none of its own. Default: the server's. */
  timeout?: Duration;
  /** How often a test is tried at most if it does not say so itself. Default: the server's. */
  attempts?: number;
  /** How many tests may run at the same time. Default: 1, one after another in their order. */
  parallelism?: number;
  /**
   * The hosts it would like to reach, as `https://host:port`. A wish that people see beside what the
   * operator granted; it grants nothing.
   */
  wantsHttp?: string[];
}

/** What {@link test} takes between the name and the function. Everything is optional. */
export interface TestOptions {
  /** What it checks, in Markdown. */
  description?: string;
  /** Tags, by which tests are chosen. */
  tags?: string[];
  /** Its deadline. Default: that of the suite. The server's cap holds in any case. */
  timeout?: Duration;
  /** How often it is tried at most. Default: that of the suite. The server's cap holds in any case. */
  attempts?: number;
  /** Whether its failure is shown without failing the run. */
  soft?: boolean;
  /** If it is not to be run: why. */
  disabled?: string;
}

interface Test {
  case: TestCase;
  run: Run | undefined;
  place: Place | undefined;
}

let header: { description: SuiteDescription; place: Place | undefined } | undefined;
let setupRun: { run: Run; place: Place | undefined } | undefined;
let teardownRun: { run: Run; place: Place | undefined } | undefined;
const tests = new Map<string, Test>();

/**
 * Names the suite. Called once, at the top level.
 *
 * @param name - lower-case letters, digits, `-`, `_` and `.`, at most 64 bytes, starting with a letter
 * or digit
 */
export function suite(name: string, options: SuiteOptions = {}): void {
  const place = callerPlace();
  if (header) {
    throw new Error(`suite() is called twice, ${both(header.place, place)}: a component is one suite`);
  }
  const { timeout, links = {}, labels = {}, wantsHttp = [], ...others } = options;
  const description: SuiteDescription = {
    name,
    ...others,
    links: Object.entries(links).map(([title, url]) => ({ title, url })),
    labels: Object.entries(labels).map(([key, value]) => ({ key, value })),
    wantsHttp,
    tests: [],
  };
  if (timeout !== undefined) {
    description.timeoutMs = BigInt(milliseconds(timeout));
  }
  counted("attempts", options.attempts);
  counted("parallelism", options.parallelism);
  header = { description, place };
}

/**
 * Registers a test. Tests run in the order of their registration, each attempt in a fresh instance.
 *
 * It passes when the function returns, or the promise that it returns is fulfilled; it fails by
 * whatever is thrown, and is skipped by {@link skip}.
 *
 * @param name - what identifies the test over time: unique in the suite, at most 512 bytes
 */
export function test(name: string, run: Run): void;
export function test(name: string, options: TestOptions & { disabled: string }, run?: Run): void;
export function test(name: string, options: TestOptions, run: Run): void;
export function test(name: string, optionsOrRun: TestOptions | Run, runOrNothing?: Run): void {
  const place = callerPlace();
  const run = typeof optionsOrRun === "function" ? optionsOrRun : runOrNothing;
  const options = typeof optionsOrRun === "function" ? {} : optionsOrRun;
  const other = tests.get(name);
  if (other) {
    throw new Error(
      `two tests are called \`${name}\`, ${both(other.place, place)}: name one of them otherwise`,
    );
  }
  if (run === undefined && options.disabled === undefined) {
    throw new TypeError(`the test \`${name}\` has no function`);
  }
  const { timeout, tags = [], soft = false, ...others } = options;
  const testCase: TestCase = { name, tags, soft, ...others };
  if (timeout !== undefined) {
    testCase.timeoutMs = BigInt(milliseconds(timeout));
  }
  counted("attempts", options.attempts);
  tests.set(name, { case: testCase, run, place });
}

/**
 * Runs before the first test, in an instance of its own: what tests need of it must be kept by
 * `t.set`. If it fails, no test runs and the run failed; if it skips, all tests are skipped.
 */
export function setup(run: Run): void {
  const place = callerPlace();
  setupRun = { run: single("setup", setupRun, place, run), place };
}

/**
 * Runs after the last test whenever setup was started: after failures, a timeout and a cancellation
 * too, in an instance of its own and under a deadline of its own. Its failure is shown and does not
 * fail the run.
 */
export function teardown(run: Run): void {
  const place = callerPlace();
  teardownRun = { run: single("teardown", teardownRun, place, run), place };
}

function single(
  what: string,
  other: { place: Place | undefined } | undefined,
  place: Place | undefined,
  run: Run,
): Run {
  if (other) {
    throw new Error(
      `there are two functions for ${what}, ${both(other.place, place)}: keep one and call the other ` +
        "from it",
    );
  }
  return run;
}

/** The whole suite. Throws what is wrong with it, for its author to read. */
export function description(): SuiteDescription {
  if (!header) {
    throw new Error('the suite has no name: call suite("name") in its file');
  }
  if (tests.size === 0) {
    throw new Error('the suite has no tests: call test("name", () => { … })');
  }
  return { ...header.description, tests: [...tests.values()].map((test) => test.case) };
}

/** The test of that name. */
export function find(name: string): Run | undefined {
  return tests.get(name)?.run;
}

/** The suite's setup, if it has one. */
export function findSetup(): Run | undefined {
  return setupRun?.run;
}

/** The suite's teardown, if it has one. */
export function findTeardown(): Run | undefined {
  return teardownRun?.run;
}

/** The place where the test of that name was registered. */
export function placeOfTest(name: string): Place | undefined {
  return tests.get(name)?.place;
}

function counted(what: string, count: number | undefined): void {
  if (count !== undefined && !(Number.isInteger(count) && count >= 1 && count < 2 ** 32)) {
    throw new RangeError(`${what} is ${count}: it must be a whole number from 1`);
  }
}

function both(first: Place | undefined, second: Place | undefined): string {
  return `at ${told(first)} and at ${told(second)}`;
}
