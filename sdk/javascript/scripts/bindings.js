// Makes `wit/` and `bindings/` from the contract. With `--check`, only says whether `bindings/`, which
// is committed, is what would be made.

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const contract = process.env.HANDOFF_WIT ?? join(root, "../../wit");
const jco = join(root, "node_modules/@bytecodealliance/jco/dist/jco.js");

rmSync(join(root, "wit"), { recursive: true, force: true });
cpSync(contract, join(root, "wit"), { recursive: true });

const made = mkdtempSync(join(tmpdir(), "handoff-bindings-"));
try {
  const what = ["guest-types", join(root, "wit"), "--world-name", "suite", "--out-dir", made];
  execFileSync(process.execPath, [jco, ...what, "--quiet"], { stdio: "inherit" });
  const committed = join(root, "bindings");
  if (!process.argv.includes("--check")) {
    rmSync(committed, { recursive: true, force: true });
    cpSync(made, committed, { recursive: true });
  } else if (text(made) !== text(committed)) {
    console.error("bindings/ is not what the contract says: run `npm run bindings`");
    process.exitCode = 1;
  }
} finally {
  rmSync(made, { recursive: true });
}

function text(directory) {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true });
  const read = ({ parentPath, name }) => `${name}\n${readFileSync(join(parentPath, name))}`;
  return files.filter((entry) => entry.isFile()).map(read).sort().join("\n");
}
