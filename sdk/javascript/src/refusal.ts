// What the server says no to.

import type { Refusal as WitRefusal } from "handoff:suite/vocabulary@0.1.0";

/** The server said no. Nothing was changed, and the test may go on. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  /**
   * The name of the limit or rule that was hit, as the server's settings call it, for example
   * `artifact_bytes`.
   */
  readonly rule: string;

  /** @internal */
  constructor({ rule, message }: WitRefusal) {
    super(message);
    this.rule = rule;
  }
}

/** Calls the server; what it throws when it refuses becomes a {@link Refusal}. */
export function granted<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw isRefused(error) ? new Refusal(error.payload) : error;
  }
}

/** The toolchain throws an interface's error values as the `payload` of an error. */
function isRefused(error: unknown): error is { payload: WitRefusal } {
  const payload = (error as { payload?: Partial<WitRefusal> } | undefined)?.payload;
  return typeof payload?.rule === "string" && typeof payload.message === "string";
}
