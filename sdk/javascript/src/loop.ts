// What a suite waits for: timers, and the server's input and output.
//
// The engine has an event loop of its own, whose timers cannot be waited for together with what the
// server hands out. So this one stands in its place: each turn waits in one call for whichever is
// ready first. The engine's loop is used for one thing only, to run what promises have waiting between
// two turns.

import { now, subscribeInstant } from "wasi:clocks/monotonic-clock@0.2.12";
import { poll, type Pollable } from "wasi:io/poll@0.2.12";
import { milliseconds } from "./duration.js";
import { needsServer } from "./phase.js";

const NANOSECONDS = 1_000_000;

/** How many turns with nothing to wait for are enough to say that nothing will happen any more. */
const IDLE_TURNS = 8;

interface Timer {
  due: bigint;
  call: () => void;
  /** For an interval: how long until the next time. */
  every: bigint | undefined;
}

interface Wait {
  pollable: Pollable;
  resolve: () => void;
}

const nextTurn = globalThis.setTimeout;
const timers = new Map<number, Timer>();
const waits = new Set<Wait>();
let lastTimer = 0;

/** Ends the loop that runs with an error that nothing of the suite has caught. */
let fail: ((error: unknown) => void) | undefined;

/** Runs something to its end, with all timers and waits that it starts. */
export async function drive<T>(work: () => Promise<T>): Promise<T> {
  let running = true;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  let idle = 0;
  const turn = () => {
    if (!running) {
      return;
    }
    idle = timers.size + waits.size > 0 ? 0 : idle + 1;
    if (idle > IDLE_TURNS) {
      fail?.(new Error("it waits for a promise that nothing is left to settle"));
      return;
    }
    step();
    nextTurn(turn, 0);
  };
  nextTurn(turn, 0);
  try {
    return await Promise.race([work(), failed]);
  } finally {
    running = false;
    timers.clear();
  }
}

/** Waits until something is ready, and gives it back to the server. */
export function until(pollable: Pollable, signal?: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      waits.delete(wait);
      signal?.removeEventListener("abort", abort);
      pollable[Symbol.dispose]();
    };
    const abort = () => {
      end();
      reject(signal?.reason);
    };
    const wait: Wait = {
      pollable,
      resolve() {
        end();
        resolve();
      },
    };
    if (signal?.aborted) {
      abort();
      return;
    }
    signal?.addEventListener("abort", abort);
    waits.add(wait);
  });
}

/** Waits for what is ready first, and deals with all that is ready then. */
function step(): void {
  const waiting = [...waits];
  const pollables = waiting.map(({ pollable }) => pollable);
  const due = [...timers.values()].reduce<bigint | undefined>(
    (first, timer) => (first === undefined || timer.due < first ? timer.due : first),
    undefined,
  );
  const alarm = due === undefined ? undefined : subscribeInstant(due);
  if (alarm) {
    pollables.push(alarm);
  }
  if (pollables.length === 0) {
    return;
  }
  const ready = poll(pollables);
  alarm?.[Symbol.dispose]();
  for (const index of ready) {
    const wait = waiting[index];
    if (wait && waits.has(wait)) {
      wait.resolve(); // unless one of those before it has aborted it
    }
  }
  fire();
}

/** Calls what is due, in the order in which it became so. */
function fire(): void {
  const time = now();
  const due = [...timers].filter(([, timer]) => timer.due <= time);
  due.sort(([a, one], [b, other]) => Number(one.due - other.due) || a - b);
  for (const [id, timer] of due) {
    if (!timers.has(id)) {
      continue; // one of those before it has cleared it
    }
    if (timer.every === undefined) {
      timers.delete(id);
    } else {
      timer.due = time + timer.every;
    }
    try {
      timer.call();
    } catch (error) {
      fail?.(error);
    }
  }
}

function start(what: string, call: unknown, delay: number, again: boolean, rest: unknown[]): number {
  needsServer(what);
  if (typeof call !== "function") {
    throw new TypeError(`${what} needs a function`);
  }
  // As browsers do: what is no number of milliseconds is none at all.
  const wait = BigInt(Math.round((delay > 0 ? Math.min(delay, 2 ** 31 - 1) : 0) * NANOSECONDS));
  lastTimer += 1;
  timers.set(lastTimer, {
    due: now() + wait,
    call: () => call(...rest),
    every: again ? wait || BigInt(NANOSECONDS) : undefined,
  });
  return lastTimer;
}

function clear(id: unknown): void {
  timers.delete(id as number);
}

/** A signal that aborts after so many milliseconds. */
function timeoutSignal(delay: number): AbortSignal {
  const controller = new AbortController();
  const reason = new DOMException(`no answer within ${milliseconds(delay)} ms`, "TimeoutError");
  setTimeout(() => controller.abort(reason), delay);
  return controller.signal;
}

Object.assign(globalThis, {
  setTimeout: (call: unknown, delay = 0, ...rest: unknown[]) =>
    start("setTimeout", call, delay, false, rest),
  setInterval: (call: unknown, delay = 0, ...rest: unknown[]) =>
    start("setInterval", call, delay, true, rest),
  clearTimeout: clear,
  clearInterval: clear,
});
AbortSignal.timeout = timeoutSignal;
