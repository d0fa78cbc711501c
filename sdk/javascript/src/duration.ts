// How long something may take.

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A length of time: a number of milliseconds, or a text such as `"500ms"`, `"5s"`, `"2m"`, `"1h"`. */
export type Duration = number | `${number}${keyof typeof UNITS}`;

/** The same in whole milliseconds, at least 1 unless it is 0. */
export function milliseconds(duration: Duration): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(String(duration)) ?? [];
  const length =
    typeof duration === "number" ? duration : Number(count) * UNITS[unit as keyof typeof UNITS];
  if (!(length >= 0 && length <= Number.MAX_SAFE_INTEGER)) {
    throw new TypeError(
      `${JSON.stringify(duration)} is no length of time: write milliseconds, or a text such as "5s"`,
    );
  }
  return Math.ceil(length);
}
