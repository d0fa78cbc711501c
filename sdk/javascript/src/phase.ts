// Whether the server is there to be asked.
//
// The top level of a suite runs once, when the suite is built, and its memory is what every attempt
// starts from. Nothing of the server exists then: a call of it would end the build with a trap that
// names nothing.

let calls = 0;

/** Runs something while the server is there. */
export async function inCall<T>(work: () => Promise<T>): Promise<T> {
  calls += 1;
  try {
    return await work();
  } finally {
    calls -= 1;
  }
}

/** Throws unless the server is there. `what` is what was called, for people. */
export function needsServer(what: string): void {
  if (calls === 0) {
    throw new Error(
      `${what} was used while the suite was built: the top level of a suite runs only once, at build ` +
        "time; use it inside a test, setup or teardown",
    );
  }
}
