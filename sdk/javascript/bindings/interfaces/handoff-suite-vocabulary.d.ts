declare module 'handoff:suite/vocabulary@0.1.0' {
  /**
   * How grave a log line is. The order is the order of gravity.
   * # Variants
   * 
   * ## `"trace"`
   * 
   * Finer than `debug`.
   * ## `"debug"`
   * 
   * Of use to whoever writes the suite.
   * ## `"info"`
   * 
   * The ordinary course of a test.
   * ## `"warn"`
   * 
   * Something to look at that does not fail the test.
   * ## `"error"`
   * 
   * Something that will probably fail the test.
   */
  export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error';
  /**
   * A place in source code.
   */
  export interface Location {
    /**
     * The file, as the language's own tools print it.
     */
    file: string,
    /**
     * The line, counted from 1.
     */
    line: number,
    /**
     * The column, counted from 1, where the language knows it.
     */
    column?: number,
  }
  /**
   * A titled link, shown to people.
   */
  export interface Link {
    /**
     * What the link is called, for example `Runbook`.
     */
    title: string,
    /**
     * An absolute `http` or `https` URL. Others are shown as text.
     */
    url: string,
  }
  /**
   * A name with a value: a label of a suite, an attribute of a span.
   */
  export interface Attribute {
    /**
     * The name.
     */
    key: string,
    /**
     * The value.
     */
    value: string,
  }
  /**
   * Why a test failed.
   */
  export interface Failure {
    /**
     * What went wrong, in words. May have many lines; the first is used as a summary.
     */
    message: string,
    /**
     * Where it went wrong, if that is known.
     */
    location?: Location,
  }
  /**
   * How setup, a test or a part of a test ended.
   */
  export type Outcome = OutcomePassed | OutcomeFailed | OutcomeSkipped;
  /**
   * It did what it should.
   */
  export interface OutcomePassed {
    tag: 'passed',
  }
  /**
   * It found something wrong.
   */
  export interface OutcomeFailed {
    tag: 'failed',
    val: Failure,
  }
  /**
   * It was not applicable, with the reason.
   */
  export interface OutcomeSkipped {
    tag: 'skipped',
    val: string,
  }
  /**
   * The host said no. Nothing was changed; the guest may go on.
   */
  export interface Refusal {
    /**
     * The name of the limit or rule that was hit, as the server's settings call it, for example
     * `artifact_bytes`.
     */
    rule: string,
    /**
     * What was refused, and what to do about it.
     */
    message: string,
  }
  /**
   * The state of a run.
   * # Variants
   * 
   * ## `"queued"`
   * 
   * Accepted, not yet started.
   * ## `"running"`
   * 
   * Under way.
   * ## `"passed"`
   * 
   * Every test that counts passed, or was skipped.
   * ## `"failed"`
   * 
   * Setup, or the last attempt of a test that is not soft, failed; or the run reached its own
   * deadline with tests left.
   * ## `"error"`
   * 
   * The platform could not finish it. Says nothing about the tested system.
   * ## `"cancelled"`
   * 
   * Somebody stopped it.
   */
  export type RunStatus = 'queued' | 'running' | 'passed' | 'failed' | 'error' | 'cancelled';
  /**
   * The state of a test, or of one attempt at it.
   * # Variants
   * 
   * ## `"pending"`
   * 
   * Not yet started.
   * ## `"running"`
   * 
   * Under way.
   * ## `"passed"`
   * 
   * It passed.
   * ## `"failed"`
   * 
   * The test, or the tested system, is at fault; the `cause` says how it showed.
   * ## `"skipped"`
   * 
   * Not run, with a reason.
   * ## `"error"`
   * 
   * The platform is at fault.
   * ## `"cancelled"`
   * 
   * Somebody stopped the run, or the run reached its own deadline before this was done.
   */
  export type TestStatus = 'pending' | 'running' | 'passed' | 'failed' | 'skipped' | 'error' | 'cancelled';
  /**
   * What ended an attempt that failed or ended in error.
   * # Variants
   * 
   * ## `"assertion"`
   * 
   * The test reported a failure.
   * ## `"panic"`
   * 
   * The language's panic or uncaught exception.
   * ## `"trap"`
   * 
   * WebAssembly trapped, for example on a division by zero.
   * ## `"exit"`
   * 
   * The guest ended itself with an exit code.
   * ## `"timeout"`
   * 
   * It was still running at its deadline.
   * ## `"fuel"`
   * 
   * It used up its instruction budget.
   * ## `"memory"`
   * 
   * It wanted more memory than its limit.
   * ## `"setup"`
   * 
   * Setup failed, so the test was not run.
   * ## `"host"`
   * 
   * The host made a mistake.
   * ## `"lost"`
   * 
   * The host went away while the attempt was under way.
   */
  export type Cause = 'assertion' | 'panic' | 'trap' | 'exit' | 'timeout' | 'fuel' | 'memory' | 'setup' | 'host' | 'lost';
}
