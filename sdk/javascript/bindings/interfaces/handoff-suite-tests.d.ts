/// <reference path="./handoff-suite-vocabulary.d.ts" />
declare module 'handoff:suite/tests@0.1.0' {
  /**
   * Says what the suite is. Called when the component is uploaded, under a short deadline and
   * without network, parameters or configuration: the answer must depend on the component alone.
   */
  export function describe(): SuiteDescription;
  /**
   * Runs before the first test, under the server's deadline for tests that name none. If it fails,
   * no test runs and the run failed; if it is skipped, all tests are skipped for the same reason.
   */
  export function setup(): Outcome;
  /**
   * Runs the test of that name. Called once for each attempt.
   */
  export function run(test: string): Outcome;
  /**
   * Runs after the last test whenever `setup` was started: after failures, a timeout and a
   * cancellation too, under a deadline of its own. Its failure is shown and does not fail the run.
   */
  export function teardown(): void;
  export type Attribute = import('handoff:suite/vocabulary@0.1.0').Attribute;
  export type Failure = import('handoff:suite/vocabulary@0.1.0').Failure;
  export type Link = import('handoff:suite/vocabulary@0.1.0').Link;
  export type Outcome = import('handoff:suite/vocabulary@0.1.0').Outcome;
  /**
   * One test.
   */
  export interface TestCase {
    /**
     * Its name: unique in the suite, and its identity over time. Not empty, at most 512 bytes, no
     * control characters, and neither `.` nor `..`.
     */
    name: string,
    /**
     * What it checks, in Markdown.
     */
    description?: string,
    /**
     * Tags, by which tests are chosen. At most 128 bytes each.
     */
    tags: Array<string>,
    /**
     * Its deadline. Default: that of the suite. The server's cap holds in any case.
     */
    timeoutMs?: bigint,
    /**
     * How often it is tried at most, at least 1. Default: that of the suite. The server's cap holds
     * in any case.
     */
    attempts?: number,
    /**
     * Whether its failure is shown without failing the run.
     */
    soft: boolean,
    /**
     * If it is not to be run: why.
     */
    disabled?: string,
  }
  /**
   * A suite.
   */
  export interface SuiteDescription {
    /**
     * Its name: lower-case letters, digits, `-`, `_` and `.`, at most 64 bytes, starting with a
     * letter or digit.
     */
    name: string,
    /**
     * Its namespace, in the same form. An upload may name another. Default: `default`.
     */
    namespace?: string,
    /**
     * What it tests, in Markdown.
     */
    description?: string,
    /**
     * Links for whoever looks at a failure: the runbook, the dashboard, the source.
     */
    links: Array<Link>,
    /**
     * Labels, by which suites are chosen.
     */
    labels: Array<Attribute>,
    /**
     * Who owns it, for example a team's name or address.
     */
    owner?: string,
    /**
     * The deadline of a test that has none of its own. Default: the server's.
     */
    timeoutMs?: bigint,
    /**
     * How often a test is tried at most if it does not say so itself. Default: the server's.
     */
    attempts?: number,
    /**
     * How many tests may run at the same time. Default: 1, one after another in the declared order.
     */
    parallelism?: number,
    /**
     * The hosts it would like to reach, as `https://host:port`. A wish that people see beside what the
     * operator granted; it grants nothing.
     */
    wantsHttp: Array<string>,
    /**
     * The tests, in the order in which they run. At least one.
     */
    tests: Array<TestCase>,
  }
}
