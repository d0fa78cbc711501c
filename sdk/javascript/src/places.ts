// From the engine's stacks to places in the author's files.
//
// What runs is one bundled file. The build command leaves its source map where `sourceMap` finds it;
// it is read when something failed, and not before.

import {
  isIgnored,
  originalPositionFor,
  presortedDecodedMap,
  type TraceMap,
} from "@jridgewell/trace-mapping";

/** What the build command calls the bundle; nothing else is called so. */
export const BUNDLE = "handoff-bundle.js";

/** A place in the bundle, both counted from 1. */
export interface Place {
  line: number;
  column: number;
}

/** A place in a source file, both counted from 1. */
export interface SourcePlace extends Place {
  file: string;
  /** Whether it is in a library, which its author will not look at first. */
  library: boolean;
}

/** One line of a stack. */
export interface Frame {
  /** The function, as the engine calls it. */
  name: string;
  place: Place;
}

/** The frames of a stack that are in the bundle, innermost first. */
export function frames(stack: string | undefined): Frame[] {
  const found: Frame[] = [];
  for (const line of (stack ?? "").split("\n")) {
    const [, name = "", file, row, column] = /^\s*(.*?)@(.*):(\d+):(\d+)$/.exec(line) ?? [];
    if (file !== undefined && (file === BUNDLE || file.endsWith(`/${BUNDLE}`))) {
      found.push({ name, place: { line: Number(row), column: Number(column) } });
    }
  }
  return found;
}

/** Where the caller of the function that calls this stands. */
export function callerPlace(): Place | undefined {
  return frames(new Error().stack)[2]?.place;
}

/** The place in the source; if that is not known, the place in the bundle. */
export function original(place: Place, map: TraceMap | undefined = sourceMap()): SourcePlace {
  const { line, column } = place;
  const found = map && originalPositionFor(map, { line, column: column - 1 });
  if (!map || !found || found.source === null) {
    return { file: BUNDLE, line, column, library: true };
  }
  const library = isIgnored(map, found.source);
  return { file: found.source, line: found.line, column: found.column + 1, library };
}

/** A place for people. The build command finds places of this form in messages and maps them. */
export function told(place: Place | undefined): string {
  if (!place) {
    return "an unknown place";
  }
  const { file, line, column } = original(place);
  return `${file}:${line}:${column}`;
}

let read: TraceMap | undefined;

function sourceMap(): TraceMap | undefined {
  const text = (globalThis as { __handoffSourceMap?: string }).__handoffSourceMap;
  if (read === undefined && text !== undefined) {
    read = presortedDecodedMap(JSON.parse(text));
  }
  return read;
}
