// The part of node's `fs/promises` that a scratch directory needs. The build puts it in the place of
// `node:fs/promises`.

import { getDirectories } from "wasi:filesystem/preopens@0.2.12";
import type { Descriptor, DescriptorFlags, ErrorCode, OpenFlags } from "wasi:filesystem/types@0.2.12";
import { needsServer } from "./phase.js";

/** How many bytes are read or written at once. */
const CHUNK = 65_536;

/** Why something could not be done with a file, as node says it. */
export interface FileError extends Error {
  /** For example `ENOENT`. */
  code: string;
  path: string;
  syscall: string;
}

/** What is known of a file. */
export interface Stats {
  size: number;
  isFile(): boolean;
  isDirectory(): boolean;
}

type Encoding = "utf8" | "utf-8";

/** Reads a whole file, as bytes or as a text. */
export function readFile(path: string): Promise<Uint8Array>;
export function readFile(path: string, encoding: Encoding | { encoding: Encoding }): Promise<string>;
export async function readFile(
  path: string,
  encoding?: Encoding | { encoding: Encoding },
): Promise<Uint8Array | string> {
  const bytes = opened("open", path, {}, { read: true }, (file) => {
    const chunks: Uint8Array[] = [];
    let length = 0;
    for (let ended = false; !ended; ) {
      const [chunk, last] = file.read(BigInt(CHUNK), BigInt(length));
      chunks.push(chunk);
      length += chunk.length;
      ended = last || chunk.length === 0;
    }
    const whole = new Uint8Array(length);
    chunks.reduce((at, chunk) => (whole.set(chunk, at), at + chunk.length), 0);
    return whole;
  });
  return encoding === undefined ? bytes : new TextDecoder().decode(bytes);
}

/** Writes a whole file; one that is there is replaced. */
export async function writeFile(path: string, content: string | Uint8Array): Promise<void> {
  opened("open", path, { create: true, truncate: true }, { write: true }, (file) => {
    put(file, content, 0);
  });
}

/** Writes at the end of a file, which is made if it is not there. */
export async function appendFile(path: string, content: string | Uint8Array): Promise<void> {
  opened("open", path, { create: true }, { write: true }, (file) => {
    put(file, content, Number(file.stat().size));
  });
}

/** The names in a directory. */
export async function readdir(path: string): Promise<string[]> {
  return opened("scandir", path, { directory: true }, { read: true }, (directory) => {
    const entries = directory.readDirectory();
    const names: string[] = [];
    for (let entry = entries.readDirectoryEntry(); entry; entry = entries.readDirectoryEntry()) {
      names.push(entry.name);
    }
    entries[Symbol.dispose]();
    return names.sort();
  });
}

/** Makes a directory; with `recursive` those above it as well, and none that is there already. */
export async function mkdir(path: string, options: { recursive?: boolean } = {}): Promise<void> {
  const steps = options.recursive ? ancestors(path) : [path];
  for (const step of steps) {
    try {
      at("mkdir", step, (root, rest) => root.createDirectoryAt(rest));
    } catch (error) {
      if (!(options.recursive && (error as FileError).code === "EEXIST")) {
        throw error;
      }
    }
  }
}

/** Removes a file, or with `recursive` a directory; with `force` it need not be there. */
export async function rm(
  path: string,
  options: { recursive?: boolean; force?: boolean } = {},
): Promise<void> {
  try {
    if (options.recursive && (await stat(path)).isDirectory()) {
      for (const name of await readdir(path)) {
        await rm(`${path}/${name}`, options);
      }
      at("rmdir", path, (root, rest) => root.removeDirectoryAt(rest));
      return;
    }
    at("unlink", path, (root, rest) => root.unlinkFileAt(rest));
  } catch (error) {
    if (!(options.force && (error as FileError).code === "ENOENT")) {
      throw error;
    }
  }
}

/** What is known of a file. */
export async function stat(path: string): Promise<Stats> {
  const { type, size } = at("stat", path, (root, rest) => root.statAt({ symlinkFollow: true }, rest));
  return {
    size: Number(size),
    isFile: () => type === "regular-file",
    isDirectory: () => type === "directory",
  };
}

function put(file: Descriptor, content: string | Uint8Array, from: number): void {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  for (let done = 0; done < bytes.length; ) {
    const chunk = bytes.subarray(done, done + CHUNK);
    done += Number(file.write(chunk, BigInt(from + done)));
  }
}

function opened<T>(
  call: string,
  path: string,
  how: OpenFlags,
  flags: DescriptorFlags,
  use: (file: Descriptor) => T,
): T {
  return at(call, path, (root, rest) => {
    const file = root.openAt({ symlinkFollow: true }, rest, how, flags);
    try {
      return use(file);
    } finally {
      file[Symbol.dispose]();
    }
  });
}

/** Does something below the directory that the server granted. */
function at<T>(call: string, path: string, use: (root: Descriptor, rest: string) => T): T {
  needsServer(`${call} "${path}"`);
  const parts = normal(path);
  for (const [root, mounted] of getDirectories()) {
    const above = normal(mounted);
    if (above.every((part, index) => parts[index] === part)) {
      try {
        return use(root, parts.slice(above.length).join("/") || ".");
      } catch (error) {
        const { payload } = error as { payload?: ErrorCode };
        throw typeof payload === "string" ? problem(payload, call, path) : error;
      }
    }
  }
  throw problem("not-permitted", call, path);
}

/** The parts of a path. The current directory is the root, as nothing can change it. */
function normal(path: string): string[] {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") {
      parts.pop();
    } else if (part !== "" && part !== ".") {
      parts.push(part);
    }
  }
  return parts;
}

/** The directories on the way to this one, below the one that is always there, and itself. */
function ancestors(path: string): string[] {
  const parts = normal(path);
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join("/")}`).slice(1);
}

const CODES: Partial<Record<ErrorCode, [string, string]>> = {
  access: ["EACCES", "permission denied"],
  exist: ["EEXIST", "file already exists"],
  "insufficient-space": ["ENOSPC", "no space left on device"],
  "is-directory": ["EISDIR", "illegal operation on a directory"],
  "name-too-long": ["ENAMETOOLONG", "name too long"],
  "no-entry": ["ENOENT", "no such file or directory"],
  "not-directory": ["ENOTDIR", "not a directory"],
  "not-empty": ["ENOTEMPTY", "directory not empty"],
  "not-permitted": ["EPERM", "operation not permitted: there is no directory but /tmp"],
  quota: ["EDQUOT", "quota exceeded"],
};

function problem(error: ErrorCode, call: string, path: string): FileError {
  const [code, words] = CODES[error] ?? ["EIO", error];
  return Object.assign(new Error(`${code}: ${words}, ${call} '${path}'`), {
    code,
    path,
    syscall: call,
  });
}
