// The part of node's `process` that a suite needs. The build puts it in the place of the global
// `process` and of the module `node:process`.

import { reportFailure } from "handoff:suite/context@0.1.0";
import { getEnvironment } from "wasi:cli/environment@0.2.12";
import { exitWithCode } from "wasi:cli/exit@0.2.12";
import { getStderr } from "wasi:cli/stderr@0.2.12";
import { getStdout } from "wasi:cli/stdout@0.2.12";
import type { OutputStream } from "wasi:io/streams@0.2.12";
import { failureOf } from "./failure.js";
import { isBuilt, needsServer } from "./phase.js";
import { callerPlace } from "./places.js";

/** How many bytes a stream takes at once. */
const AT_ONCE = 4096;

/** The code with which a program ends that was aborted, as shells have it. */
const ABORTED = 134;

/** Where a suite writes what is no line of its own. */
export interface Output {
  /** Writes a text in UTF-8, or bytes. Nothing is kept back. */
  write(content: string | Uint8Array): boolean;
}

/** What a suite knows of the program that it is. */
export interface Process {
  /** The environment variables that the policy grants. Empty while the suite is built. */
  readonly env: Record<string, string | undefined>;
  /** Empty: a suite has no arguments. */
  readonly argv: string[];
  readonly stdout: Output;
  readonly stderr: Output;
  /** Ends the attempt at once. It counts as failed, whatever the code. */
  exit(code?: number): never;
  /** Ends the attempt at once, as something that cannot be: reported with the place of this call. */
  abort(): never;
}

const process: Process = {
  get env() {
    // Libraries look here when they are loaded, and can do without.
    return isBuilt() ? Object.fromEntries(getEnvironment()) : {};
  },
  argv: [],
  stdout: output("process.stdout", getStdout),
  stderr: output("process.stderr", getStderr),
  exit(code = 0) {
    needsServer("process.exit");
    return end(code);
  },
  abort() {
    needsServer("process.abort");
    reportFailure(failureOf("aborted", callerPlace()));
    return end(ABORTED);
  },
};

export default process;

function end(code: number): never {
  exitWithCode(code & 0xff);
  throw new Error("the program went on after its end");
}

function output(what: string, open: () => OutputStream): Output {
  return {
    write(content) {
      needsServer(what);
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      const stream = open();
      for (let at = 0; at < bytes.length; at += AT_ONCE) {
        stream.blockingWriteAndFlush(bytes.subarray(at, at + AT_ONCE));
      }
      stream[Symbol.dispose]();
      return true;
    },
  };
}
