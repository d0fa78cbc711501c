/**
 * Write a Handoff test suite in TypeScript or JavaScript: functions with names, as with other test
 * runners.
 *
 * @example
 * import { suite, test, setup, skip } from "@handoff/sdk";
 * import { expect } from "chai";
 *
 * suite("shop-checks", { owner: "team-shop", timeout: "5s" });
 *
 * test("sells books", { attempts: 3, tags: ["smoke"] }, async (t) => {
 *   const shop = t.param("shop") ?? skip("give the parameter `shop`");
 *   const answer = await fetch(`${shop}/books`);
 *   expect(answer.status).to.equal(200);
 * });
 *
 * @packageDocumentation
 */

export { Context, Span } from "./context.js";
export type { Duration } from "./duration.js";
export { FetchError, type FetchErrorKind } from "./fetch.js";
export { log } from "./log.js";
export { Refusal } from "./refusal.js";
export {
  type Run,
  setup,
  suite,
  type SuiteOptions,
  teardown,
  test,
  type TestOptions,
} from "./registry.js";
export { Skip, skip } from "./skip.js";
