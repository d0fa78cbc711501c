#!/usr/bin/env bash
# Runs `handoff test` or `handoff run` for action.yml, which hands its inputs over as INPUT_…. The program
# itself writes annotations, the step's summary and the outputs `verdict` and `run-id`.
set -euo pipefail

fail() {
    printf '::error title=handoff::%s\n' "$1"
    exit 2
}

# The lines of a text that are not empty, as `lines`. What GitHub hands over may end its lines with CR.
split() {
    local line
    lines=()
    while IFS= read -r line || [[ -n $line ]]; do
        line=${line%$'\r'}
        if [[ -n ${line// /} ]]; then lines+=("$line"); fi
    done <<<"$1"
}

arguments=()
case $INPUT_MODE in
test)
    [[ -n ${INPUT_FILE:-} ]] || fail 'with the mode test, the input file is needed'
    # A name that begins with a dash is no option.
    if [[ $INPUT_FILE == -* ]]; then INPUT_FILE=./$INPUT_FILE; fi
    arguments=(test "$INPUT_FILE")
    split "${INPUT_ALLOW_HTTP:-}"
    for url in ${lines[@]+"${lines[@]}"}; do arguments+=("--allow-http=$url"); done
    ;;
run)
    split "${INPUT_SUITE:-}"
    [[ ${#lines[@]} -gt 0 ]] || fail 'with the mode run, the input suite is needed'
    arguments=(run "${lines[0]}")
    for suite in "${lines[@]:1}"; do arguments+=("--also=$suite"); done
    if [[ -n ${INPUT_SERVER:-} ]]; then arguments+=("--server=$INPUT_SERVER"); fi
    ;;
*)
    fail 'the input mode is neither test nor run'
    ;;
esac
if [[ -n ${INPUT_FILTER:-} ]]; then arguments+=("--filter=$INPUT_FILTER"); fi
if [[ -n ${INPUT_SHARD:-} ]]; then arguments+=("--shard=$INPUT_SHARD"); fi
if [[ -n ${INPUT_REFERENCE:-} ]]; then arguments+=("--reference=$INPUT_REFERENCE"); fi
if [[ -n ${INPUT_REPORT:-} ]]; then
    [[ $INPUT_REPORT != *$'\n'* ]] || fail 'the input report is more than one line'
    arguments+=("--report=junit=$INPUT_REPORT")
fi
split "${INPUT_ARGS:-}"
arguments+=(${lines[@]+"${lines[@]}"})

code=0
"$HANDOFF_PROGRAM" "${arguments[@]}" || code=$?
printf 'exit-code=%s\n' "$code" >>"$GITHUB_OUTPUT"
if [[ -n ${INPUT_REPORT:-} && -f $INPUT_REPORT ]]; then
    printf 'report=%s\n' "$INPUT_REPORT" >>"$GITHUB_OUTPUT"
fi
exit "$code"
