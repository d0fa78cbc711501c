#include <handoff.h>
HANDOFF_SUITE(.name = "c-hello", .timeout_ms = 5000);
HANDOFF_TEST(passes, .tags = {"smoke"}) { ASSERT_EQ(1 + 1, 2); }
HANDOFF_TEST(fails) { ASSERT_EQ(1 + 1, 3, "arithmetic"); }
HANDOFF_TEST(skips) { SKIP("on %s", "purpose"); }
