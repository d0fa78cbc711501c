/* What the running attempt can ask of the server. */
#include "suite.h"

#include <handoff.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

HANDOFF_TEST(log_levels) {
    handoff_trace("LEVEL TRACE");
    handoff_debug("LEVEL DEBUG");
    handoff_info("LEVEL INFO");
    handoff_warn("LEVEL WARN");
    handoff_error("LEVEL ERROR");
}

HANDOFF_TEST(keeps_the_order_of_output) {
    puts("ONE");
    fputs("TWO\n", stderr);
    handoff_info("THREE");
    puts("FOUR");
}

HANDOFF_TEST(ends_output_without_newline) { fputs("NO NEWLINE", stdout); }

HANDOFF_TEST(fails_after_output_without_newline) {
    fputs("LAST WORDS", stdout);
    FAIL("AFTER LAST WORDS");
}

HANDOFF_TEST(writes_unicode) { puts("größe 日本 🦀"); }

HANDOFF_TEST(writes_much) {
    for (int i = 0; i < 10000; i++)
        printf("line %d\n", i);
}

HANDOFF_TEST(knows_its_attempt) { ASSERT_EQ(handoff_attempt(), 1); }

HANDOFF_TEST(extends_its_deadline, .timeout_ms = 2000) {
    ASSERT_GT(handoff_remaining_ms(), 0);
    ASSERT_LE(handoff_remaining_ms(), 2000);
    ASSERT_GRANTED(handoff_extend_deadline(3000));
    ASSERT_GT(handoff_remaining_ms(), 2000);
}

static void passing_part(void *unused) { (void)unused; }

static void failing_part(void *unused) {
    (void)unused;
    REPORT_FAILURE("PART ON PURPOSE");
}

static void skipped_part(void *unused) {
    (void)unused;
    SKIP("PART SKIPPED");
}

HANDOFF_TEST(has_parts) {
    ASSERT(handoff_part("passing part", passing_part, NULL));
    ASSERT(!handoff_part("failing part", failing_part, NULL));
    ASSERT(handoff_part("skipped part", skipped_part, NULL));
}

HANDOFF_TEST(sets_values) {
    ASSERT_GRANTED(handoff_set("from_test", GROESSE));
    char *big = malloc(BIG + 1);
    memset(big, 'x', BIG);
    big[BIG] = '\0';
    ASSERT_GRANTED(handoff_set("big", big));
    free(big);
}

HANDOFF_TEST(gets_values) {
    ASSERT_STR_EQ(handoff_require("from_setup"), "set in setup ✓");
    ASSERT_STR_EQ(handoff_require("from_test"), GROESSE);
    ASSERT_EQ(strlen(handoff_require("big")), BIG);
    ASSERT_EQ(handoff_get("missing"), NULL);
}

HANDOFF_TEST(masks_secrets) {
    char *token = handoff_require("secret_token");
    ASSERT_STR_EQ(token, TOKEN);
    printf("the secret is %s\n", token);
}

HANDOFF_TEST(attaches) {
    const char note[] = "ATTACHED ✓";
    ASSERT_GRANTED(handoff_attach("note.txt", "text/plain", note, strlen(note)));
    unsigned char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (unsigned char)i;
    ASSERT_GRANTED(handoff_attach("bytes.bin", "application/octet-stream", bytes, sizeof bytes));
}

HANDOFF_TEST(hears_a_refusal) {
    size_t size = 2097152;
    char *bytes = calloc(size, 1);
    ASSERT(!handoff_attach("big.bin", "application/octet-stream", bytes, size));
    ASSERT_STR_EQ(handoff_last_refusal().rule, "artifact_bytes");
}

HANDOFF_TEST(has_spans) {
    handoff_span outer = handoff_span_begin("outer");
    handoff_span_set(outer, "key", "value");
    handoff_span inner = handoff_span_begin("inner");
    handoff_span_end(inner);
    handoff_span_end(outer);
}

HANDOFF_TEST(reads_parameters) {
    ASSERT_STR_EQ(handoff_require_param("greeting"), "hello ✓");
    ASSERT_STR_EQ(handoff_require_param("region"), "test");
    ASSERT_EQ(handoff_param("missing"), NULL);
    size_t count;
    handoff_pair *all = handoff_params(&count);
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found |= strcmp(all[i].name, "region") == 0 && strcmp(all[i].value, "test") == 0;
    ASSERT(found, "`region` is not among the %zu parameters", count);
}
