/// <reference path="./handoff-suite-vocabulary.d.ts" />
declare module 'handoff:suite/context@0.1.0' {
  /**
   * Writes to the attempt's log, in order with what goes to stdout and stderr. Line breaks make
   * lines; lines that are too long are cut.
   */
  export function log(level: Level, message: string): void;
  /**
   * Which attempt at this test this is, counted from 1. In setup and teardown: 1, or more if the
   * server was restarted meanwhile or the run was retried.
   */
  export function attemptNumber(): number;
  /**
   * How long the attempt may still run, in milliseconds.
   */
  export function remainingMs(): bigint;
  /**
   * Asks for so many milliseconds beyond the present deadline. Grants up to the operator's cap and
   * gives how long the attempt may now still run; refused if not even a part can be granted.
   */
  export function extendDeadline(byMs: bigint): bigint;
  /**
   * From now on a failure of this attempt is shown without failing the run.
   */
  export function markSoft(): void;
  /**
   * Reports the failure now. The attempt then counts as failed whatever comes after; call it from a
   * panic hook, so that a panic that ends in a trap is reported in full. The first report is the
   * one that names the cause, later ones are shown beside it.
   */
  export function reportFailure(failure: Failure): void;
  /**
   * Reports a named part of this test: a subtest, a row of a table. A failed part does not by
   * itself fail the test.
   */
  export function reportSubResult(name: string, outcome: Outcome, durationMs: bigint): void;
  /**
   * Keeps a value for the rest of the run: for later tests, for plugins, for people. Setting it
   * again replaces it. It becomes visible to other attempts when this one passed.
   * A secret value is handed to the suite alone and is masked wherever else it would appear, logs
   * and failure messages included.
   */
  export function setValue(name: string, value: string, secret: boolean): void;
  /**
   * The value of that name, if one was set in this run.
   */
  export function getValue(name: string): string | undefined;
  /**
   * Keeps a file with the attempt: a screenshot, a response body. The name is shown to people and is
   * no path; the media type is for example `image/png`.
   */
  export function attach(name: string, mediaType: string, content: Uint8Array): void;
  export type Attribute = import('handoff:suite/vocabulary@0.1.0').Attribute;
  export type Failure = import('handoff:suite/vocabulary@0.1.0').Failure;
  export type Level = import('handoff:suite/vocabulary@0.1.0').Level;
  export type Outcome = import('handoff:suite/vocabulary@0.1.0').Outcome;
  export type Refusal = import('handoff:suite/vocabulary@0.1.0').Refusal;
  
  export class Span implements Disposable {
    /**
    * Starts a span now.
    */
    constructor(name: string, attributes: Array<Attribute>)
    /**
    * Adds an attribute, or replaces the one with that key.
    */
    setAttribute(attribute: Attribute): void;
    /**
    * Ends it now. Dropping it does the same; so does the end of the attempt.
    */
    end(): void;
    [Symbol.dispose](): void;
  }
}
