#!/usr/bin/env bash
# Finds the program `handoff` for action.yml. Outputs of the step: `program`, its path; and, if it has to
# be built, `root`, where to, and `key`, under which GitHub's cache keeps it.
set -euo pipefail

output() { printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"; }

wanted=${INPUT_HANDOFF:-handoff}
if program=$(command -v -- "$wanted"); then
    output program "$program"
    exit
fi
if [[ -n ${INPUT_HANDOFF:-} ]]; then
    printf '::error title=handoff::the input handoff names no program: %s\n' "${wanted//$'\n'/ }"
    exit 2
fi

# What it is built of, so that an action that was moved to another version builds it again.
cd "$GITHUB_ACTION_PATH"
digest=$(find Cargo.toml Cargo.lock rust-toolchain.toml host wit -type f -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c-16)
root=${RUNNER_TOOL_CACHE:-$HOME}/handoff/$digest
output program "$root/bin/handoff"
output root "$root"
output key "handoff-${RUNNER_OS:-unknown}-${RUNNER_ARCH:-unknown}-$digest"
