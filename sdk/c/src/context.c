/* What the running attempt can ask of the server. */
#include "guest.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *latest_rule, *latest_message;

c_sdk_string_t hf_string(const char *text) {
    const char *good = hf_utf8(text ? text : "");
    return (c_sdk_string_t){(uint8_t *)good, strlen(good)};
}

char *hf_take(c_sdk_string_t *string) {
    char *text = hf_copy_bytes(string->ptr, string->len);
    c_sdk_string_free(string);
    return text;
}

void hf_refused(handoff_suite_context_refusal_t *refusal) {
    free(latest_rule);
    free(latest_message);
    latest_rule = hf_take(&refusal->rule);
    latest_message = hf_take(&refusal->message);
}

handoff_refusal handoff_last_refusal(void) {
    return (handoff_refusal){
        .rule = latest_rule ? latest_rule : "",
        .message = latest_message ? latest_message : "",
    };
}

void handoff_log(handoff_level level, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = hf_vformat(format, arguments);
    va_end(arguments);
    fflush(stdout); /* keeps the order with what was printed without a line break */
    c_sdk_string_t message = hf_string(text);
    handoff_suite_context_log((handoff_suite_context_level_t)level, &message);
    free(text);
}

uint32_t handoff_attempt(void) { return handoff_suite_context_attempt_number(); }

uint64_t handoff_remaining_ms(void) { return handoff_suite_context_remaining_ms(); }

bool handoff_extend_deadline(uint64_t by_ms) {
    uint64_t remaining_ms;
    handoff_suite_context_refusal_t refusal;
    bool granted = handoff_suite_context_extend_deadline(by_ms, &remaining_ms, &refusal);
    if (!granted)
        hf_refused(&refusal);
    return granted;
}

void handoff_mark_soft(void) { handoff_suite_context_mark_soft(); }

static bool keep(const char *name, const char *value, bool secret) {
    c_sdk_string_t key = hf_string(name), text = hf_string(value);
    handoff_suite_context_refusal_t refusal;
    bool kept = handoff_suite_context_set_value(&key, &text, secret, &refusal);
    if (!kept)
        hf_refused(&refusal);
    return kept;
}

bool handoff_set(const char *name, const char *value) { return keep(name, value, false); }

bool handoff_set_secret(const char *name, const char *value) { return keep(name, value, true); }

char *handoff_get(const char *name) {
    c_sdk_string_t key = hf_string(name), value;
    return handoff_suite_context_get_value(&key, &value) ? hf_take(&value) : NULL;
}

char *handoff_require_at(const char *name, const char *file, uint32_t line) {
    char *value = handoff_get(name);
    if (!value)
        handoff_fail(file, line, "no test has set the value `%s`", name);
    return value;
}

__attribute__((noreturn)) static void fail_reading(wasi_config_store_error_t *error,
                                                   const char *file, uint32_t line) {
    /* Both cases have a text and nothing else. */
    handoff_fail(file, line, "failed to read the parameters: %s", hf_take(&error->val.upstream));
}

static char *param(const char *name, const char *file, uint32_t line) {
    c_sdk_string_t key = hf_string(name);
    c_sdk_option_string_t value;
    wasi_config_store_error_t error;
    if (!wasi_config_store_get(&key, &value, &error))
        fail_reading(&error, file, line);
    return value.is_some ? hf_take(&value.val) : NULL;
}

char *handoff_param(const char *name) { return param(name, NULL, 0); }

char *handoff_require_param_at(const char *name, const char *file, uint32_t line) {
    char *value = param(name, file, line);
    if (!value)
        handoff_fail(file, line,
                     "`%s` is not set: give it as a parameter of the run, or in the configuration "
                     "of the suite's policy",
                     name);
    return value;
}

/* Copies a text to `end` and gives where the next one goes. */
static char *place(char *end, c_sdk_string_t text, const char **where) {
    memcpy(end, text.ptr, text.len);
    end[text.len] = '\0';
    *where = end;
    return end + text.len + 1;
}

handoff_pair *handoff_params(size_t *count) {
    c_sdk_list_tuple2_string_string_t all;
    wasi_config_store_error_t error;
    if (!wasi_config_store_get_all(&all, &error))
        fail_reading(&error, NULL, 0);
    size_t size = all.len * sizeof(handoff_pair);
    for (size_t i = 0; i < all.len; i++)
        size += all.ptr[i].f0.len + 1 + all.ptr[i].f1.len + 1;
    handoff_pair *pairs = hf_allocate(size);
    char *end = (char *)(pairs + all.len);
    for (size_t i = 0; i < all.len; i++) {
        end = place(end, all.ptr[i].f0, &pairs[i].name);
        end = place(end, all.ptr[i].f1, &pairs[i].value);
    }
    *count = all.len;
    c_sdk_list_tuple2_string_string_free(&all);
    return pairs;
}

bool handoff_attach(const char *name, const char *media_type, const void *content, size_t size) {
    c_sdk_string_t called = hf_string(name), type = hf_string(media_type);
    c_sdk_list_u8_t bytes = {(uint8_t *)(uintptr_t)content, size};
    handoff_suite_context_refusal_t refusal;
    bool kept = handoff_suite_context_attach(&called, &type, &bytes, &refusal);
    if (!kept)
        hf_refused(&refusal);
    return kept;
}

static handoff_suite_context_own_span_t own(handoff_span span) {
    return (handoff_suite_context_own_span_t){span.handle};
}

handoff_span handoff_span_begin(const char *name) {
    c_sdk_string_t called = hf_string(name);
    handoff_suite_context_list_attribute_t none = {NULL, 0};
    return (handoff_span){handoff_suite_context_constructor_span(&called, &none).__handle};
}

void handoff_span_set(handoff_span span, const char *key, const char *value) {
    handoff_suite_context_attribute_t attribute = {hf_string(key), hf_string(value)};
    handoff_suite_context_method_span_set_attribute(handoff_suite_context_borrow_span(own(span)),
                                                    &attribute);
}

void handoff_span_end(handoff_span span) { handoff_suite_context_span_drop_own(own(span)); }
