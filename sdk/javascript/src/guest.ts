// The four functions that a suite exports, on top of the registry.

import { reportFailure } from "handoff:suite/context@0.1.0";
import type { SuiteDescription } from "handoff:suite/tests@0.1.0";
import type { Failure, Outcome } from "handoff:suite/vocabulary@0.1.0";
import "./console.js";
import { Context } from "./context.js";
import { outcomeOf, stackText } from "./failure.js";
import { drive } from "./loop.js";
import { enter } from "./phase.js";
import type { Place } from "./places.js";
import * as registry from "./registry.js";

/** The exported interface `handoff:suite/tests`. */
export const tests = {
  describe(): SuiteDescription {
    return registry.description();
  },

  setup(): Promise<Outcome> {
    return call(registry.findSetup(), undefined);
  },

  async run(name: string): Promise<Outcome> {
    const run = registry.find(name);
    if (!run) {
      return { tag: "failed", val: { message: `there is no test \`${name}\` in this suite` } };
    }
    return call(run, registry.placeOfTest(name));
  },

  async teardown(): Promise<void> {
    const outcome = await call(registry.findTeardown(), undefined);
    if (outcome.tag === "failed") {
      throw new Failed(outcome.val);
    }
  },
};

/** The toolchain makes an interface's error value of the `payload` of what is thrown. */
class Failed extends Error {
  constructor(readonly payload: Failure) {
    super(payload.message);
  }
}

/** Calls a function of the suite with its clean-ups; one that is not there passes. */
async function call(run: registry.Run | undefined, place: Place | undefined): Promise<Outcome> {
  if (!run) {
    return { tag: "passed" };
  }
  enter();
  const cleanups: (() => unknown)[] = [];
  let outcome = await attempt(() => run(new Context(cleanups)), place);
  for (let cleanup = cleanups.pop(); cleanup; cleanup = cleanups.pop()) {
    const ended = await attempt(cleanup, place);
    outcome = outcome.tag === "failed" || ended.tag !== "failed" ? outcome : ended;
  }
  return outcome;
}

async function attempt(run: () => unknown, place: Place | undefined): Promise<Outcome> {
  try {
    await drive(async () => run());
    return { tag: "passed" };
  } catch (thrown) {
    const outcome = outcomeOf(thrown, place);
    if (outcome.tag === "failed") {
      tell(thrown, outcome.val);
    }
    return outcome;
  }
}

/** Reports a failure at once, so that it is known even if cleaning up never ends. */
function tell(thrown: unknown, failure: Failure): void {
  const stack = stackText(thrown);
  if (stack !== undefined) {
    console.error(`${failure.message.split("\n", 1)[0]}\n${stack}`);
  }
  reportFailure(failure);
}
