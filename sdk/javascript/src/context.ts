// What the server offers to the attempt that is running.

import * as host from "handoff:suite/context@0.1.0";
import type { Outcome } from "handoff:suite/vocabulary@0.1.0";
import { get as getConfig, getAll as getAllConfig } from "wasi:config/store@0.2.0-rc.1";
import { type Duration, milliseconds } from "./duration.js";
import { failureOf, outcomeOf } from "./failure.js";
import { callerPlace } from "./places.js";
import { granted } from "./refusal.js";
import { json, show } from "./show.js";

/** The attempt that is running, handed to every test, to setup and to teardown. */
export class Context {
  readonly #cleanups: (() => unknown)[];

  /** @internal */
  constructor(cleanups: (() => unknown)[]) {
    this.#cleanups = cleanups;
  }

  /** Which attempt at this test this is, counted from 1. */
  get attempt(): number {
    return host.attemptNumber();
  }

  /** How long the attempt may still run, in milliseconds. */
  get remaining(): number {
    return Number(host.remainingMs());
  }

  /**
   * Asks for so much time beyond the present deadline. Gives how long the attempt may now still run,
   * in milliseconds: the server grants up to its cap.
   *
   * @throws {@link Refusal} when it can grant nothing
   */
  extendDeadline(by: Duration): number {
    return Number(granted(() => host.extendDeadline(BigInt(milliseconds(by)))));
  }

  /** From now on a failure of this attempt is shown without failing the run. */
  markSoft(): void {
    host.markSoft();
  }

  /**
   * Reports a failure now and goes on. The attempt then counts as failed whatever comes after. An
   * error is reported with its own place, a text with the place of this call.
   */
  reportFailure(failure: unknown): void {
    host.reportFailure(failureOf(failure, callerPlace()));
  }

  /**
   * Runs a named part of this test, such as a row of a table, and reports how it ended and how long it
   * took. Gives whether it did not fail.
   *
   * What is thrown fails or skips the part and nothing else: end the test with an assertion over all
   * parts if it shall fail with them.
   *
   * @throws {@link Refusal} if the server keeps no more parts (limit `sub_results`)
   */
  async part(name: string, run: () => unknown): Promise<boolean> {
    const place = callerPlace();
    const started = performance.now();
    let outcome: Outcome = { tag: "passed" };
    try {
      await run();
    } catch (thrown) {
      outcome = outcomeOf(thrown, place);
    }
    const took = BigInt(Math.round(performance.now() - started));
    granted(() => host.reportSubResult(name, outcome, took));
    return outcome.tag !== "failed";
  }

  /**
   * Has something done when this test ends, however it does, unless it is stopped from outside or ends
   * the program itself: what must be cleaned up in any case belongs into teardown. The last is done
   * first. What it throws fails a test that did not fail otherwise.
   */
  cleanup(run: () => unknown): void {
    this.#cleanups.push(run);
  }

  /**
   * Keeps a value for the rest of the run: for later tests, for teardown, for people. It becomes
   * visible to other attempts when this one ended without a failure. A text is kept as it is,
   * everything else as JSON.
   *
   * @throws {@link Refusal} if a limit is hit
   */
  set(name: string, value: unknown): void {
    keep(name, value, false);
  }

  /**
   * The same for what must not be seen: it is handed to this suite alone and is masked wherever else
   * it would appear, logs and failure messages included. What is masked is the value as it is kept, so
   * keep a token as a text by itself, not in an object.
   *
   * @throws {@link Refusal} if a limit is hit
   */
  setSecret(name: string, value: unknown): void {
    keep(name, value, true);
  }

  /** The value of that name as a text, if one was set in this run. */
  get(name: string): string | undefined {
    return host.getValue(name) ?? undefined;
  }

  /** The value of that name as {@link set} got it, if that was no text. */
  getJson<T = unknown>(name: string): T | undefined {
    const text = this.get(name);
    return text === undefined ? undefined : parse<T>(name, text);
  }

  /** The value of that name as a text. Throws if none was set. */
  require(name: string): string {
    const text = this.get(name);
    if (text === undefined) {
      throw new Error(`no test has set the value \`${name}\``);
    }
    return text;
  }

  /** The value of that name as {@link set} got it, if that was no text. Throws if none was set. */
  requireJson<T = unknown>(name: string): T {
    return parse<T>(name, this.require(name));
  }

  /** The run's parameter of that name, or else the suite's configuration value of that name. */
  param(name: string): string | undefined {
    return readable(() => getConfig(name)) ?? undefined;
  }

  /** The same, but one that is not there is an error that says how to set it. */
  requireParam(name: string): string {
    const value = this.param(name);
    if (value === undefined) {
      throw new Error(
        `\`${name}\` is not set: give it as a parameter of the run, or in the configuration of the ` +
          "suite's policy",
      );
    }
    return value;
  }

  /** All parameters and configuration values. */
  get params(): Record<string, string> {
    return Object.fromEntries(readable(getAllConfig));
  }

  /**
   * Keeps a file with the attempt.
   *
   * @param name - shown to people; it is no path
   * @param mediaType - for example `image/png`
   * @param content - a text is kept in UTF-8
   * @throws {@link Refusal} if a limit is hit
   */
  attach(name: string, mediaType: string, content: string | ArrayBuffer | Uint8Array): void {
    const bytes =
      typeof content === "string" ? new TextEncoder().encode(content) : new Uint8Array(content);
    granted(() => host.attach(name, mediaType, bytes));
  }

  /** Keeps a value as a JSON file with the attempt. */
  attachJson(name: string, value: unknown): void {
    this.attach(name, "application/json", json(value, 2) ?? show(value));
  }

  /**
   * Starts a timed span of the attempt's timeline, which ends by `end()`, or with its block if it was
   * declared by `using`.
   */
  span(name: string, attributes: Record<string, unknown> = {}): Span {
    return new Span(name, attributes);
  }
}

/** A timed part of the attempt, for its timeline. Spans that overlap nest by time. */
export class Span implements Disposable {
  readonly #span: host.Span;

  /** @internal */
  constructor(name: string, attributes: Record<string, unknown>) {
    const given = Object.entries(attributes).map(([key, value]) => ({ key, value: show(value) }));
    this.#span = new host.Span(name, given);
  }

  /** Adds an attribute, or replaces the one with that key. */
  set(key: string, value: unknown): this {
    this.#span.setAttribute({ key, value: show(value) });
    return this;
  }

  /** Ends it now. */
  end(): void {
    this.#span.end();
  }

  /** The same, at the end of the block that declared it by `using`. */
  [Symbol.dispose](): void {
    this.end();
  }
}

function keep(name: string, value: unknown, secret: boolean): void {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  if (text === undefined) {
    throw new TypeError(`the value \`${name}\` is nothing that can be kept: ${String(value)}`);
  }
  granted(() => host.setValue(name, text, secret));
}

function parse<T>(name: string, text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new Error(`the value \`${name}\` is no JSON`, { cause });
  }
}

function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new Error(`failed to read the parameters: ${show((cause as { payload?: unknown }).payload)}`);
  }
}
