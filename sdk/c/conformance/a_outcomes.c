/* How tests end. */
#include "suite.h"

#include <handoff.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

HANDOFF_SUITE(.name = "conformance", .name_space = "c", .description = "What every SDK can do",
              .owner = "handoff", .timeout_ms = 5000, .attempts = 1,
              .links = {{"Source", "https://example.test/source"}}, .labels = {{"language", "c"}},
              .wants_http = {"http://127.0.0.1:1"});

HANDOFF_SETUP {
    handoff_info("SETUP LINE");
    ASSERT_GRANTED(handoff_set("from_setup", "set in setup ✓"));
    ASSERT_GRANTED(handoff_set_secret("secret_token", TOKEN));
}

HANDOFF_TEARDOWN { handoff_info("TEARDOWN LINE %s", handoff_require("from_test")); }

HANDOFF_TEST(passes, .description = "Passes, **always**.", .tags = {"smoke", "pass"}) {}

HANDOFF_TEST(groesse, .name = "größe ✓ 日本") {}

HANDOFF_TEST(fails_by_assertion) { assert(!"ASSERTION ON PURPOSE"); }

HANDOFF_TEST(fails_with_operands) { ASSERT_EQ(1 + 1, 3); }

HANDOFF_TEST(fails_by_error) { FAIL("ERROR ON PURPOSE"); }

static void three_down(void) { FAIL("DEEP ON PURPOSE"); }
static void two_down(void) { three_down(); }
static void one_down(void) { two_down(); }

HANDOFF_TEST(fails_deep) { one_down(); }

HANDOFF_TEST(reports_a_failure_and_goes_on) {
    REPORT_FAILURE("REPORTED ON PURPOSE");
    handoff_info("AFTER THE REPORT");
}

HANDOFF_TEST(skips) { SKIP("SKIPPED ON PURPOSE"); }

static void skipping_helper(void) { SKIP("HELPER SKIPPED"); }

HANDOFF_TEST(skips_in_a_helper) {
    RETURN_IF_SKIPPED(skipping_helper());
    FAIL("the helper has skipped");
}

HANDOFF_TEST(fails_softly, .soft = true) { FAIL("SOFT ON PURPOSE"); }

HANDOFF_TEST(marks_itself_soft) {
    handoff_mark_soft();
    FAIL("MARKED SOFT");
}

HANDOFF_TEST(disabled, .disabled = "DISABLED ON PURPOSE") { FAIL("it is disabled"); }

HANDOFF_TEST(exits_with_3) {
    puts("EXITING");
    exit(3);
}

HANDOFF_TEST(exits_with_0) { exit(0); }

HANDOFF_TEST(traps) {
    puts("ABOUT TO TRAP");
    abort();
}

/* What is volatile keeps the compiler from making this a loop, and from seeing that it has no end.
 */
static volatile bool enough;

static int recurse(volatile int *outer) {
    volatile int here[16] = {outer[0] + 1};
    return enough ? 0 : recurse(here) + outer[0];
}

HANDOFF_TEST(overflows_the_stack) {
    volatile int start[16] = {0};
    printf("%d\n", recurse(start));
}

HANDOFF_TEST(flaky, .attempts = 3) { ASSERT(handoff_attempt() > 1, "FLAKY ON PURPOSE"); }

HANDOFF_TEST(fails_every_time, .attempts = 3) {
    FAIL("FAILED ATTEMPT %u", (unsigned)handoff_attempt());
}
