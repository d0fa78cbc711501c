// Values as people read them.

/** A text as it is; an error with its stack; anything else as JSON where that says something. */
export function show(value: unknown): string {
  if (typeof value === "string") {
    return value;
  }
  if (value instanceof Error) {
    return `${value.name}: ${value.message}`;
  }
  return json(value) ?? String(value);
}

/** A value as JSON; undefined for what is none. Big integers and collections are shown in some form. */
export function json(value: unknown, indent?: number): string | undefined {
  try {
    return JSON.stringify(value, readable, indent);
  } catch {
    return undefined; // it refers to itself, or its own toJSON throws
  }
}

function readable(_: string, value: unknown): unknown {
  if (typeof value === "bigint") {
    return `${value}n`;
  }
  if (value instanceof Map || value instanceof Set) {
    return [...value];
  }
  if (value instanceof Error) {
    return show(value);
  }
  return value;
}
