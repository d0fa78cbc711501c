/* The four functions that a suite exports, on top of the registry. */
#include "guest.h"
#include "registry.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((weak)) void handoff_register(void) {}

/* Whoever calls is the first to call into this instance. */
static void enter(void) {
    /* A trap writes nothing out: lines that are complete are there already. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    handoff_register();
}

static c_sdk_string_t dup(const char *text) {
    c_sdk_string_t copy;
    c_sdk_string_dup(&copy, hf_utf8(text));
    return copy;
}

static c_sdk_option_string_t dup_optional(const char *text) {
    c_sdk_option_string_t copy = {.is_some = text};
    if (text)
        copy.val = dup(text);
    return copy;
}

static c_sdk_option_u64_t optional_u64(uint64_t value) {
    return (c_sdk_option_u64_t){.is_some = value, .val = value};
}

static c_sdk_option_u32_t optional_u32(uint32_t value) {
    return (c_sdk_option_u32_t){.is_some = value, .val = value};
}

static c_sdk_list_string_t dup_list(const char *const texts[HANDOFF_LIST_ROOM]) {
    c_sdk_list_string_t list = {hf_allocate(HANDOFF_LIST_ROOM * sizeof *list.ptr), 0};
    for (; list.len < HANDOFF_LIST_ROOM && texts[list.len]; list.len++)
        list.ptr[list.len] = dup(texts[list.len]);
    return list;
}

static exports_handoff_suite_tests_list_link_t
dup_links(const handoff_pair links[HANDOFF_LIST_ROOM]) {
    exports_handoff_suite_tests_list_link_t list = {
        hf_allocate(HANDOFF_LIST_ROOM * sizeof *list.ptr), 0};
    for (; list.len < HANDOFF_LIST_ROOM && links[list.len].name; list.len++)
        list.ptr[list.len] = (exports_handoff_suite_tests_link_t){
            .title = dup(links[list.len].name), .url = dup(links[list.len].value)};
    return list;
}

static exports_handoff_suite_tests_list_attribute_t
dup_labels(const handoff_pair labels[HANDOFF_LIST_ROOM]) {
    exports_handoff_suite_tests_list_attribute_t list = {
        hf_allocate(HANDOFF_LIST_ROOM * sizeof *list.ptr), 0};
    for (; list.len < HANDOFF_LIST_ROOM && labels[list.len].name; list.len++)
        list.ptr[list.len] = (exports_handoff_suite_tests_attribute_t){
            .key = dup(labels[list.len].name), .value = dup(labels[list.len].value)};
    return list;
}

static exports_handoff_suite_tests_test_case_t described(const hf_test *test) {
    const handoff_test_options *options = &test->options;
    return (exports_handoff_suite_tests_test_case_t){
        .name = dup(test->name),
        .description = dup_optional(options->description),
        .tags = dup_list(options->tags),
        .timeout_ms = optional_u64(options->timeout_ms),
        .attempts = optional_u32(options->attempts),
        .soft = options->soft,
        .disabled = dup_optional(options->disabled),
    };
}

void exports_handoff_suite_tests_describe(exports_handoff_suite_tests_suite_description_t *ret) {
    hf_describing = true;
    enter();
    hf_make_tests(&hf_program);
    const char *problem = hf_check(&hf_program);
    if (problem)
        hf_give_up(problem);
    const handoff_suite_options *options = hf_program.suites.items[0].options;
    size_t count = hf_program.tests.count;
    *ret = (exports_handoff_suite_tests_suite_description_t){
        .name = dup(options->name),
        .namespace_ = dup_optional(options->name_space),
        .description = dup_optional(options->description),
        .links = dup_links(options->links),
        .labels = dup_labels(options->labels),
        .owner = dup_optional(options->owner),
        .timeout_ms = optional_u64(options->timeout_ms),
        .attempts = optional_u32(options->attempts),
        .parallelism = optional_u32(options->parallelism),
        .wants_http = dup_list(options->wants_http),
        .tests = {hf_allocate(count * sizeof *ret->tests.ptr), count},
    };
    for (size_t i = 0; i < count; i++)
        ret->tests.ptr[i] = described(&hf_program.tests.items[i]);
    fflush(stdout);
}

/* A function without a row, called as one with a row. */
typedef struct plain {
    void (*function)(void);
} plain;

static void call_plain(const void *row) { ((const plain *)row)->function(); }

static void call(void (*function)(const void *), const void *row,
                 exports_handoff_suite_tests_outcome_t *ret) {
    hf_ending ending = hf_call(function, row);
    if (ending.skipped)
        *ret = (exports_handoff_suite_tests_outcome_t){
            .tag = HANDOFF_SUITE_VOCABULARY_OUTCOME_SKIPPED, .val.skipped = dup(ending.reason)};
    else
        *ret =
            (exports_handoff_suite_tests_outcome_t){.tag = HANDOFF_SUITE_VOCABULARY_OUTCOME_PASSED};
}

/* Calls the stage, if there is one. */
static void call_stage(const hf_stage *stages, size_t count,
                       exports_handoff_suite_tests_outcome_t *ret) {
    enter();
    *ret = (exports_handoff_suite_tests_outcome_t){.tag = HANDOFF_SUITE_VOCABULARY_OUTCOME_PASSED};
    if (count)
        call(call_plain, &(plain){stages[0].function}, ret);
}

void exports_handoff_suite_tests_setup(exports_handoff_suite_tests_outcome_t *ret) {
    call_stage(hf_program.setups.items, hf_program.setups.count, ret);
}

void exports_handoff_suite_tests_run(c_sdk_string_t *test,
                                     exports_handoff_suite_tests_outcome_t *ret) {
    enter();
    char *name = hf_take(test);
    const hf_test *found = hf_find(&hf_program, name);
    if (!found) {
        hf_make_tests(&hf_program);
        found = hf_find(&hf_program, name);
    }
    if (!found)
        handoff_fail(NULL, 0, "there is no test `%s` in this suite", name);
    free(name);
    if (found->row_function)
        call(found->row_function, found->row, ret);
    else
        call(call_plain, &(plain){found->function}, ret);
}

bool exports_handoff_suite_tests_teardown(exports_handoff_suite_tests_failure_t *err) {
    (void)err; /* what fails was reported before it ended the call */
    exports_handoff_suite_tests_outcome_t outcome;
    call_stage(hf_program.teardowns.items, hf_program.teardowns.count, &outcome);
    return true;
}
