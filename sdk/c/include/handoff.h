/* Write a Handoff test suite in C or C++.
 *
 *     #include <handoff.h>
 *
 *     HANDOFF_SUITE(.name = "shop", .timeout_ms = 5000);
 *
 *     HANDOFF_TEST(sells_books, .tags = {"smoke"}, .attempts = 3) {
 *         char *shop = handoff_require_param("shop");
 *         handoff_http_response *answer =
 *             handoff_http_post(handoff_format("%s/orders", shop), .json = "{\"title\":
 * \"Dune\"}"); ASSERT_STATUS(answer, 201); ASSERT_STR_CONTAINS(answer->body, "Dune");
 *     }
 *
 * - HANDOFF_SUITE names the suite, HANDOFF_TEST makes a test, HANDOFF_TESTS makes tests from a
 * table, HANDOFF_SETUP and HANDOFF_TEARDOWN run before and after.
 * - How a test ends is in handoff/assert.h: assertions, failures, skips, clean-ups, parts.
 * - Requests are in handoff/http.h.
 * - This file has the rest of what the running attempt can ask of the server.
 *
 * Tests run in the order of their files' names and lines, each in a fresh instance: nothing that a
 * test leaves in memory or in /tmp is there in the next one. Use handoff_set for what must be.
 *
 * Memory. Texts that are given to the library are read during the call, or, in the options of
 * suites and tests, as long as the instance lives. Texts that it gives come from malloc and belong
 * to the caller, who may free them and need not: all memory goes with the attempt. Where it is
 * otherwise, the function says so. All texts are UTF-8 and end with NUL.
 *
 * C11 or later, C++17 or later, clang. In C++ options are given in the order in which they are
 * listed.
 */
#ifndef HANDOFF_H
#define HANDOFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
/* So that -Wextra does not ask for the options that were left out. */
#define HANDOFF_OPTIONAL = {}
#define HANDOFF_OPTIONS_(type, ...)                                                                \
    type { __VA_ARGS__ }
extern "C" {
#else
#define HANDOFF_OPTIONAL
#define HANDOFF_OPTIONS_(type, ...) ((type){__VA_ARGS__})
#endif

#define HANDOFF_PRINTF_(text, first) __attribute__((format(printf, text, first)))
#define HANDOFF_MUST_USE_ __attribute__((warn_unused_result))

/* A name with a value. */
typedef struct handoff_pair {
    const char *name HANDOFF_OPTIONAL;
    const char *value HANDOFF_OPTIONAL;
} handoff_pair;

/* How many tags, links, labels and hosts the options have room for. */
#define HANDOFF_LIST_ROOM 16

/* The options of HANDOFF_SUITE. What is left out, NULL or 0 is the server's default. */
typedef struct handoff_suite_options {
    /* Its name: lower-case letters, digits, `-`, `_` and `.`, at most 64 bytes. Needed. */
    const char *name HANDOFF_OPTIONAL;
    /* Its namespace, in the same form. An upload may name another. Default: `default`. */
    const char *name_space HANDOFF_OPTIONAL;
    /* What it tests, in Markdown. */
    const char *description HANDOFF_OPTIONAL;
    /* Who owns it, for example a team's name or address. */
    const char *owner HANDOFF_OPTIONAL;
    /* The deadline of a test that has none of its own, in milliseconds. */
    uint64_t timeout_ms HANDOFF_OPTIONAL;
    /* How often a test is tried at most if it does not say so itself. */
    uint32_t attempts HANDOFF_OPTIONAL;
    /* How many tests may run at the same time. Default: 1, one after another in the declared order.
     */
    uint32_t parallelism HANDOFF_OPTIONAL;
    /* Links for whoever looks at a failure, as {{"Runbook", "https://…"}}. */
    handoff_pair links[HANDOFF_LIST_ROOM] HANDOFF_OPTIONAL;
    /* Labels, by which suites are chosen, as {{"team", "shop"}}. */
    handoff_pair labels[HANDOFF_LIST_ROOM] HANDOFF_OPTIONAL;
    /* The hosts it would like to reach, as `https://host:port`. A wish that people see beside what
     * the operator granted; it grants nothing. */
    const char *wants_http[HANDOFF_LIST_ROOM] HANDOFF_OPTIONAL;
} handoff_suite_options;

/* The options of HANDOFF_TEST. What is left out, NULL or 0 is the suite's default. */
typedef struct handoff_test_options {
    /* Its name, if that is no identifier: unique in the suite, and its identity over time. */
    const char *name HANDOFF_OPTIONAL;
    /* What it checks, in Markdown. */
    const char *description HANDOFF_OPTIONAL;
    /* Tags, by which tests are chosen, as {"smoke", "slow"}. */
    const char *tags[HANDOFF_LIST_ROOM] HANDOFF_OPTIONAL;
    /* Its deadline, in milliseconds. The server's cap holds in any case. */
    uint64_t timeout_ms HANDOFF_OPTIONAL;
    /* How often it is tried at most. */
    uint32_t attempts HANDOFF_OPTIONAL;
    /* Whether its failure is shown without failing the run. */
    bool soft HANDOFF_OPTIONAL;
    /* If it is not to be run: why. */
    const char *disabled HANDOFF_OPTIONAL;
} handoff_test_options;

/* Makes the program a suite: HANDOFF_SUITE(.name = "shop", .timeout_ms = 5000); Once in a program.
 */
#define HANDOFF_SUITE(...)                                                                         \
    __attribute__((constructor)) static void handoff_register_suite_(void) {                       \
        static const handoff_suite_options options = {__VA_ARGS__};                                \
        handoff_add_suite(&options, __FILE__, __LINE__);                                           \
    }                                                                                              \
    struct handoff_suite_options

/* A test: HANDOFF_TEST(identifier, options…) { … } It passes when it returns. */
#define HANDOFF_TEST(identifier, ...)                                                              \
    static void handoff_test_##identifier(void);                                                   \
    __attribute__((constructor)) static void handoff_register_##identifier(void) {                 \
        static const handoff_test_options options = {__VA_ARGS__};                                 \
        handoff_add_function(handoff_test_##identifier, #identifier, &options, __FILE__,           \
                             __LINE__);                                                            \
    }                                                                                              \
    static void handoff_test_##identifier(void)

/* Runs before the first test: HANDOFF_SETUP { … } If it fails, no test runs and the run failed; if
 * it skips, all tests are skipped. At most one in a program. */
#define HANDOFF_SETUP HANDOFF_STAGE_(handoff_setup, handoff_add_setup)

/* Runs after the last test whenever setup was started: after failures, a timeout and a cancellation
 * too. Its failure is shown and does not fail the run. At most one in a program. */
#define HANDOFF_TEARDOWN HANDOFF_STAGE_(handoff_teardown, handoff_add_teardown)

#define HANDOFF_STAGE_(function, add)                                                              \
    static void function(void);                                                                    \
    __attribute__((constructor)) static void function##_register_(void) {                          \
        add(function, __FILE__, __LINE__);                                                         \
    }                                                                                              \
    static void function(void)

/* Makes tests while the program runs: HANDOFF_TESTS(identifier) { … } calls handoff_add_test for
 * each. Called when the suite is described and before each attempt, so it must make the same tests
 * each time, from the program alone. */
#define HANDOFF_TESTS(identifier)                                                                  \
    static void handoff_tests_##identifier(void);                                                  \
    __attribute__((constructor)) static void handoff_register_##identifier(void) {                 \
        handoff_add_source(handoff_tests_##identifier, __FILE__, __LINE__);                        \
    }                                                                                              \
    static void handoff_tests_##identifier(void)

/* Adds a test that calls `function` with `row`:
 *     handoff_add_test(check_sum, &rows[i], .name = handoff_format("row %zu", i));
 * The texts of the options must stay where they are. */
#define handoff_add_test(function, row, ...)                                                       \
    handoff_add_row((function), (row), HANDOFF_OPTIONS_(handoff_test_options, __VA_ARGS__))

/* What the macros call, for languages that have no macros: call these from an initialiser, or from
 * `handoff_register`. The options must stay where they are. */
void handoff_add_suite(const handoff_suite_options *options, const char *file, uint32_t line);
void handoff_add_setup(void (*run)(void), const char *file, uint32_t line);
void handoff_add_teardown(void (*run)(void), const char *file, uint32_t line);
void handoff_add_function(void (*run)(void), const char *identifier,
                          const handoff_test_options *options, const char *file, uint32_t line);
void handoff_add_source(void (*add_tests)(void), const char *file, uint32_t line);
void handoff_add_row(void (*run)(const void *row), const void *row, handoff_test_options options);

/* Called once before anything else of the suite, if the program defines it. For languages that have
 * no initialisers of their own. */
void handoff_register(void);

/* Says no. The rule is the name of the limit or rule that was hit, as the server's settings call
 * it, for example `artifact_bytes`. */
typedef struct handoff_refusal {
    const char *rule;
    const char *message;
} handoff_refusal;

/* The latest refusal; both texts are empty if there was none. They belong to the library and are
 * good until the next refusal. ASSERT_GRANTED shows them. */
handoff_refusal handoff_last_refusal(void);

/* How grave a log line is, in order. */
typedef enum handoff_level {
    HANDOFF_TRACE, /* finer than debug */
    HANDOFF_DEBUG, /* of use to whoever writes the suite */
    HANDOFF_INFO,  /* the ordinary course of a test */
    HANDOFF_WARN,  /* something to look at that does not fail the test */
    HANDOFF_ERROR, /* something that will probably fail the test */
} handoff_level;

/* Writes to the attempt's log, in order with what was printed. Line breaks make lines. */
void handoff_log(handoff_level level, const char *format, ...) HANDOFF_PRINTF_(2, 3);

#define handoff_trace(...) handoff_log(HANDOFF_TRACE, __VA_ARGS__)
#define handoff_debug(...) handoff_log(HANDOFF_DEBUG, __VA_ARGS__)
#define handoff_info(...) handoff_log(HANDOFF_INFO, __VA_ARGS__)
#define handoff_warn(...) handoff_log(HANDOFF_WARN, __VA_ARGS__)
#define handoff_error(...) handoff_log(HANDOFF_ERROR, __VA_ARGS__)

/* A text made as by printf. The caller's, from malloc; ends the attempt if there is no memory. */
char *handoff_format(const char *format, ...) HANDOFF_PRINTF_(1, 2) HANDOFF_MUST_USE_;

/* Which attempt at this test this is, counted from 1. */
uint32_t handoff_attempt(void);

/* How long the attempt may still run, in milliseconds. */
uint64_t handoff_remaining_ms(void);

/* Asks for so many milliseconds beyond the present deadline. The server grants up to its cap; false
 * if it can grant nothing. handoff_remaining_ms tells what was granted. */
bool handoff_extend_deadline(uint64_t by_ms) HANDOFF_MUST_USE_;

/* From now on a failure of this attempt is shown without failing the run. */
void handoff_mark_soft(void);

/* Keeps a value for the rest of the run: for later tests, for teardown, for people. It becomes
 * visible to other attempts when this one ended without a failure. False if it was refused. */
bool handoff_set(const char *name, const char *value) HANDOFF_MUST_USE_;

/* The same for what must not be seen: it is handed to this suite alone and is masked wherever else
 * it would appear, logs and failure messages included. */
bool handoff_set_secret(const char *name, const char *value) HANDOFF_MUST_USE_;

/* The value of that name, or NULL if none was set in this run. The caller's, from malloc. */
char *handoff_get(const char *name) HANDOFF_MUST_USE_;

/* The same, but ends the test as failed if none was set. */
#define handoff_require(name) handoff_require_at((name), __FILE__, __LINE__)
char *handoff_require_at(const char *name, const char *file, uint32_t line);

/* The run's parameter of that name, or else the suite's configuration value of that name, or NULL.
 * The caller's, from malloc. Not to be called while the suite is described. */
char *handoff_param(const char *name) HANDOFF_MUST_USE_;

/* The same, but ends the test as failed, with how to set it, if there is none. */
#define handoff_require_param(name) handoff_require_param_at((name), __FILE__, __LINE__)
char *handoff_require_param_at(const char *name, const char *file, uint32_t line);

/* All parameters and configuration values; `count` receives how many. One block from malloc with
 * the texts in it: free the block and no text. */
handoff_pair *handoff_params(size_t *count) HANDOFF_MUST_USE_;

/* Keeps a file with the attempt. The name is shown to people and is no path; the media type is for
 * example `image/png`. False if it was refused. */
bool handoff_attach(const char *name, const char *media_type, const void *content,
                    size_t size) HANDOFF_MUST_USE_;

/* A timed part of the attempt, for its timeline. Spans that overlap nest by time. */
typedef struct handoff_span {
    int32_t handle;
} handoff_span;

/* Starts a span now. */
handoff_span handoff_span_begin(const char *name) HANDOFF_MUST_USE_;

/* Adds an attribute, or replaces the one with that key. */
void handoff_span_set(handoff_span span, const char *key, const char *value);

/* Ends it now. Once for each span; those that are open at the end of the attempt end with it. */
void handoff_span_end(handoff_span span);

#ifdef __cplusplus
}
#endif

#include <handoff/assert.h>
#include <handoff/http.h>

#endif
