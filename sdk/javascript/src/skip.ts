// Skipping from anywhere in a test.

/** What {@link skip} throws. A test that lets it pass ends as skipped. */
export class Skip extends Error {
  override readonly name = "Skip";

  /** A skip for this reason. */
  constructor(readonly reason: string) {
    super(`skipped: ${reason}`);
  }
}

/**
 * Ends the test here, or the part of it, as not applicable. Works from helper functions too, since it
 * throws.
 *
 * @example
 * const shop = t.param("shop") ?? skip("give the parameter `shop`");
 */
export function skip(reason: string): never {
  throw new Skip(reason);
}
