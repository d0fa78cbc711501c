// From whatever was thrown to how a test, or a part of one, ended.

import type { Failure, Location, Outcome } from "handoff:suite/vocabulary@0.1.0";
import { type Frame, frames, original, type Place, type SourcePlace } from "./places.js";
import { json, show } from "./show.js";
import { Skip } from "./skip.js";

/** How many frames of a stack are shown. */
const SHOWN_FRAMES = 20;

/** How something ended that threw this. `otherwise` is where it stands, if the error does not know. */
export function outcomeOf(thrown: unknown, otherwise: Place | undefined): Outcome {
  return thrown instanceof Skip
    ? { tag: "skipped", val: thrown.reason }
    : { tag: "failed", val: failureOf(thrown, otherwise) };
}

/** What is told of something that was thrown. */
export function failureOf(thrown: unknown, otherwise: Place | undefined): Failure {
  const stack = mapped(stackOf(thrown));
  const known = otherwise && original(otherwise);
  // An assertion library is not what is wrong, so the author's own frames come first.
  const place = stack.find(({ at }) => !at.library)?.at ?? known ?? stack[0]?.at;
  const message = messageOf(thrown);
  return place ? { message, location: location(place) } : { message };
}

/** The stack of an error in terms of its sources, as node writes it; none if nothing of it is known. */
export function stackText(thrown: unknown): string | undefined {
  const lines = mapped(stackOf(thrown))
    .filter(({ at }) => !at.file.startsWith("@handoff/sdk/"))
    .slice(0, SHOWN_FRAMES)
    .map(({ name, at }) => {
      const place = `${at.file}:${at.line}:${at.column}`;
      return `    at ${name ? `${name} (${place})` : place}`;
    });
  return lines.length > 0 ? lines.join("\n") : undefined;
}

/** An error with its stack. */
export function errorText(error: Error): string {
  const stack = stackText(error);
  return stack === undefined ? show(error) : `${show(error)}\n${stack}`;
}

/** A place as the server takes it. */
export function location({ file, line, column }: SourcePlace): Location {
  return { file, line, column };
}

interface MappedFrame {
  name: string;
  at: SourcePlace;
}

function mapped(stack: Frame[]): MappedFrame[] {
  // The engine writes `async*name` after an await, and `name/inner<` for what has no name itself.
  const plain = (name: string) => name.replace(/^async\*/, "async ").replace(/[/<]+.*$/, "").trim();
  return stack.map(({ name, place }) => ({ name: plain(name), at: original(place) }));
}

function stackOf(thrown: unknown): Frame[] {
  return frames((thrown as { stack?: string } | null | undefined)?.stack);
}

/** The message with its causes, a line each. */
function messageOf(thrown: unknown): string {
  const messages: string[] = [];
  const seen = new Set<unknown>();
  for (let next = thrown; next !== undefined && !seen.has(next); next = causeOf(next)) {
    seen.add(next);
    messages.push(headline(next));
  }
  return messages.length > 0 ? messages.join("\ncaused by: ") : "undefined was thrown";
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}

function headline(error: unknown): string {
  if (!(error instanceof Error)) {
    return show(error);
  }
  const { name, message } = error;
  const named = /^(Error|AssertionError|Refusal|FetchError)$/.test(name) ? message : `${name}: ${message}`;
  const many = error instanceof AggregateError ? error.errors.map((one) => `\n- ${headline(one)}`) : [];
  return (named || name) + many.join("") + difference(error);
}

/** Assertion libraries shorten objects in their messages, but hand them over as they were. */
function difference(error: Error & { showDiff?: unknown; actual?: unknown; expected?: unknown }): string {
  const { actual, expected, showDiff } = error;
  const worthwhile = [actual, expected].some((value) => typeof value === "object" && value !== null);
  if (showDiff !== true || !worthwhile) {
    return "";
  }
  return `\n  actual: ${json(actual) ?? show(actual)}\nexpected: ${json(expected) ?? show(expected)}`;
}
