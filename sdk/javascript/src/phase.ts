// Whether the server is there to be asked.
//
// The top level of a suite runs once, when the suite is built, and its memory is what every attempt
// starts from. Nothing of the server exists then: a call of it would end the build with a trap that
// names nothing.

import { frames, told } from "./places.js";

let built = false;

/** Says that the suite is built, and that the server has called it. */
export function enter(): void {
  built = true;
}

/** Whether the server is there. */
export function isBuilt(): boolean {
  return built;
}

/** Throws while the suite is built. `what` is what was used, for people. */
export function needsServer(what: string): void {
  if (!built) {
    // The engine tells of an error at build time no more than its message and one frame.
    const stack = frames(new Error().stack).map(({ place }) => `\n    at ${told(place)}`);
    throw new Error(
      `${what} was used while the suite was built: the top level of a suite runs only once, at build ` +
        `time; use it inside a test, setup or teardown${stack.join("")}`,
    );
  }
}
