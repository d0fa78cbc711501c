// Log lines with a level.

import { log as write } from "handoff:suite/context@0.1.0";
import type { Level } from "handoff:suite/vocabulary@0.1.0";
import { needsServer } from "./phase.js";
import { show } from "./show.js";

type Log = (...parts: unknown[]) => void;

function at(level: Level): Log {
  return (...parts) => {
    needsServer(`log.${level}`);
    write(level, parts.map(show).join(" "));
  };
}

/**
 * Writes to the attempt's log at a level, in order with what goes to stdout and stderr. Texts are
 * written as they are, other values as JSON, with a space between them.
 */
export const log = {
  /** Finer than `debug`. */
  trace: at("trace"),
  /** Of use to whoever writes the suite. */
  debug: at("debug"),
  /** The ordinary course of a test. */
  info: at("info"),
  /** Something to look at that does not fail the test. */
  warn: at("warn"),
  /** Something that will probably fail the test. */
  error: at("error"),
};
