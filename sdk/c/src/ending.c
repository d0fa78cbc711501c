/* How a test ends: failures, skips, clean-ups, and parts. */
#include "guest.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>

/* The test, or a part of it, that is running. */
typedef struct frame {
    struct frame *outer;
    const char *name;
    uint64_t started_ms;
    bool skipped;
    char *reason;
    /* The first failure of a part; that of a test goes to the server at once. */
    char *message;
    const char *file;
    uint32_t line;
} frame;

typedef struct cleanup {
    struct cleanup *next;
    void (*function)(void *);
    void *argument;
} cleanup;

static frame test;
static frame *innermost = &test;
static cleanup *cleanups;
bool hf_describing;

static uint64_t now_ms(void) { return wasi_clocks_monotonic_clock_now() / 1000000; }

void handoff_cleanup(void (*function)(void *), void *argument) {
    cleanup *added = hf_allocate(sizeof *added);
    *added = (cleanup){cleanups, function, argument};
    cleanups = added;
}

/* One that fails ends the attempt from in here; the others have then run first. */
static void run_cleanups(void) {
    while (cleanups) {
        cleanup *next = cleanups;
        cleanups = next->next;
        next->function(next->argument);
        free(next);
    }
}

handoff_suite_vocabulary_failure_t hf_failure(const char *message, const char *file,
                                              uint32_t line) {
    return (handoff_suite_vocabulary_failure_t){
        .message = hf_string(message),
        .location = {.is_some = file, .val = {.file = hf_string(file), .line = line}},
    };
}

/* Reports the innermost part with this outcome and leaves it. Gives whether it was taken. */
static bool leave_part(handoff_suite_vocabulary_outcome_t outcome) {
    frame *part = innermost;
    innermost = part->outer;
    c_sdk_string_t name = hf_string(part->name);
    uint64_t duration_ms = now_ms() - part->started_ms;
    handoff_suite_context_refusal_t refusal;
    bool taken = handoff_suite_context_report_sub_result(&name, &outcome, duration_ms, &refusal);
    if (!taken)
        hf_refused(&refusal);
    return taken;
}

static handoff_suite_vocabulary_outcome_t outcome_of(const frame *part) {
    if (part->message)
        return (handoff_suite_vocabulary_outcome_t){
            .tag = HANDOFF_SUITE_VOCABULARY_OUTCOME_FAILED,
            .val.failed = hf_failure(part->message, part->file, part->line)};
    if (part->skipped)
        return (handoff_suite_vocabulary_outcome_t){.tag = HANDOFF_SUITE_VOCABULARY_OUTCOME_SKIPPED,
                                                    .val.skipped = hf_string(part->reason)};
    return (handoff_suite_vocabulary_outcome_t){.tag = HANDOFF_SUITE_VOCABULARY_OUTCOME_PASSED};
}

/* Ends the attempt with a failure: nothing of the suite but its clean-ups runs after this. */
__attribute__((noreturn)) static void end(const char *message, const char *file, uint32_t line) {
    fflush(stdout);
    if (hf_describing)
        hf_give_up(message);
    handoff_suite_vocabulary_failure_t failure = hf_failure(message, file, line);
    while (innermost != &test) {
        /* What was found in the part before came first. The failure is what must be seen, not that
         * there were too many parts. */
        if (!innermost->message)
            innermost->message = hf_copy(message), innermost->file = file, innermost->line = line;
        leave_part(outcome_of(innermost));
    }
    handoff_suite_context_report_failure(&failure);
    run_cleanups();
    fflush(stdout);
    abort();
}

void handoff_fail(const char *file, uint32_t line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    end(hf_vformat(format, arguments), file, line);
}

void handoff_fail_refused(const char *file, uint32_t line, const char *call) {
    handoff_refusal refusal = handoff_last_refusal();
    handoff_fail(file, line, "%s was refused by `%s`: %s", call, refusal.rule, refusal.message);
}

void handoff_report_failure(const char *file, uint32_t line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *message = hf_vformat(format, arguments);
    va_end(arguments);
    fflush(stdout);
    if (hf_describing)
        hf_give_up(message);
    if (innermost == &test) {
        handoff_suite_vocabulary_failure_t failure = hf_failure(message, file, line);
        handoff_suite_context_report_failure(&failure);
        free(message);
    } else if (innermost->message) {
        handoff_error("%s:%u: %s", file, (unsigned)line, message);
        free(message);
    } else {
        innermost->message = message;
        innermost->file = file;
        innermost->line = line;
    }
}

void handoff_assert_fail(const char *expression, const char *file, int line, const char *function) {
    (void)function;
    handoff_fail(file, (uint32_t)line, "assertion failed: %s", expression);
}

void handoff_skip(const char *reason, ...) {
    va_list arguments;
    va_start(arguments, reason);
    free(innermost->reason);
    innermost->reason = hf_vformat(reason, arguments);
    innermost->skipped = true;
    va_end(arguments);
}

bool handoff_skipped(void) { return innermost->skipped; }

bool handoff_part_at(const char *name, void (*function)(void *), void *argument, const char *file,
                     uint32_t line) {
    frame part = {.outer = innermost, .name = name, .started_ms = now_ms()};
    innermost = &part;
    function(argument);
    bool passed = !part.message;
    if (!leave_part(outcome_of(&part))) {
        handoff_refusal refusal = handoff_last_refusal();
        handoff_fail(file, line, "the part `%s` was refused by `%s`: %s", name, refusal.rule,
                     refusal.message);
    }
    free(part.message);
    free(part.reason);
    return passed;
}

hf_ending hf_call(void (*function)(const void *), const void *row) {
    function(row);
    run_cleanups();
    fflush(stdout);
    return (hf_ending){test.skipped, test.reason};
}
