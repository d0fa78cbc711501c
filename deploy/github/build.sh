#!/usr/bin/env bash
# Builds the program `handoff` to $ROOT/bin for action.yml, from the source that came with the action.
set -euo pipefail

# rustup takes the toolchain that this directory names.
cd "$GITHUB_ACTION_PATH"
cargo install --locked --path host --root "$ROOT"
