/* What is there to hit when the policy sets limits low. */
#define _GNU_SOURCE
#include <handoff.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The letter x, so many times. */
static char *long_text(size_t length) {
    char *text = malloc(length + 1);
    memset(text, 'x', length);
    text[length] = '\0';
    return text;
}

HANDOFF_TEST(limit_fuel, .tags = {"limits"}, .timeout_ms = 60000) {
    for (volatile unsigned sum = 0;;)
        sum += 1;
}

HANDOFF_TEST(limit_log, .tags = {"limits"}) {
    puts("FIRST LINE");
    for (int i = 0; i < 1000; i++)
        printf("line %d\n", i);
    puts("LAST LINE");
}

HANDOFF_TEST(limit_log_line, .tags = {"limits"}) { puts(long_text(2000)); }

HANDOFF_TEST(limit_message, .tags = {"limits"}) { FAIL("LONG MESSAGE %s", long_text(2000)); }

HANDOFF_TEST(limit_failures, .tags = {"limits"}) {
    for (int i = 0; i < 10; i++)
        REPORT_FAILURE("FAILURE %d", i);
}

HANDOFF_TEST(limit_value, .tags = {"limits"}) {
    ASSERT(!handoff_set("long", long_text(2000)));
    ASSERT_STR_EQ(handoff_last_refusal().rule, "value_bytes");
}

HANDOFF_TEST(limit_values, .tags = {"limits"}) {
    int kept = 0;
    while (kept < 10 && handoff_set(handoff_format("value %d", kept), "x"))
        kept++;
    ASSERT_STR_EQ(handoff_last_refusal().rule, "values");
}

HANDOFF_TEST(limit_artifacts, .tags = {"limits"}) {
    int kept = 0;
    while (kept < 10 && handoff_attach("x.txt", "text/plain", "x", 1))
        kept++;
    ASSERT_STR_EQ(handoff_last_refusal().rule, "artifacts");
}

HANDOFF_TEST(limit_spans, .tags = {"limits"}) {
    for (int i = 0; i < 10; i++)
        handoff_span_end(handoff_span_begin(handoff_format("span %d", i)));
}

static void nothing(void *unused) { (void)unused; }

HANDOFF_TEST(limit_parts, .tags = {"limits"}) {
    for (int i = 0; i < 10; i++)
        handoff_part(handoff_format("part %d", i), nothing, NULL);
}

HANDOFF_TEST(limit_requests, .tags = {"limits"}) {
    char *url = handoff_format("%s/status/204", handoff_require_param("server"));
    handoff_http_response *answer = handoff_http_get(url);
    for (int i = 1; i < 10 && !answer->error; i++)
        answer = handoff_http_get(url);
    ASSERT_EQ(answer->error, HANDOFF_HTTP_DENIED);
}

HANDOFF_TEST(limit_received, .tags = {"limits"}) {
    char *url = handoff_format("%s/bytes/1048576", handoff_require_param("server"));
    ASSERT_EQ(handoff_http_get(url)->error, HANDOFF_HTTP_DENIED);
}

HANDOFF_TEST(limit_random, .tags = {"limits"}) {
    unsigned char drawn[250];
    for (int i = 0; i < 4000; i++)
        ASSERT_EQ(getentropy(drawn, sizeof drawn), 0);
}

HANDOFF_TEST(limit_scratch, .tags = {"limits"}) {
    FILE *file = fopen("/tmp/full", "w");
    ASSERT(file);
    const size_t size = 200000;
    bool written = fwrite(long_text(size), 1, size, file) == size;
    ASSERT(fclose(file) != 0 || !written);
}

HANDOFF_TEST(limit_extension, .tags = {"limits"}) {
    ASSERT_GRANTED(handoff_extend_deadline(600000));
    ASSERT_GT(handoff_remaining_ms(), 5000);
    ASSERT_LE(handoff_remaining_ms(), 60000);
}
