/* Limits, clean-ups, and that every attempt is alone. */
#include <handoff.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

HANDOFF_TEST(loops, .timeout_ms = 300) {
    for (volatile unsigned sum = 0;;)
        sum += 1;
}

HANDOFF_TEST(sleeps_too_long, .timeout_ms = 300) { sleep(3600); }

/* What is volatile keeps the compiler from seeing that nobody reads it. */
static char *volatile latest;

HANDOFF_TEST(allocates) {
    const size_t size = 1 << 20;
    for (unsigned mebibytes = 0;; mebibytes++) {
        latest = malloc(size);
        ASSERT(latest, "malloc gave nothing after %u MiB", mebibytes);
        memset(latest, 1, size);
    }
}

static void say(void *line) { puts(line); }

HANDOFF_TEST(cleans_up_in_order) {
    handoff_cleanup(say, "CLEANUP 1");
    handoff_cleanup(say, "CLEANUP 2");
    puts("BODY");
}

HANDOFF_TEST(cleans_up_after_a_failure) {
    handoff_cleanup(say, "CLEANED UP");
    FAIL("BEFORE CLEANUP");
}

static int counter;

static void is_alone(void) {
    ASSERT_EQ(counter, 0);
    ASSERT_EQ(access("/tmp/alone", F_OK), -1);
    counter = 1;
    FILE *file = fopen("/tmp/alone", "w");
    ASSERT(file);
    fclose(file);
}

HANDOFF_TEST(is_alone_1) { is_alone(); }

HANDOFF_TEST(is_alone_2) { is_alone(); }

static void nothing(const void *unused) { (void)unused; }

HANDOFF_TESTS(many) {
    for (int i = 0; i < 200; i++)
        handoff_add_test(nothing, NULL, .name = handoff_format("many_%03d", i));
}
