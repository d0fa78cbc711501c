// The engine's console shows an error as its constructor call, in the bundle. Here it has its stack.

import { errorText } from "./failure.js";

for (const name of ["debug", "error", "info", "log", "trace", "warn"] as const) {
  const write = console[name].bind(console);
  console[name] = (...parts: unknown[]) => {
    write(...parts.map((part) => (part instanceof Error ? errorText(part) : part)));
  };
}
