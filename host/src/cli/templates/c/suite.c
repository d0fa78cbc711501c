/* The suite `{{name}}`. */
#include <handoff.h>

#include <stdio.h>
#include <string.h>

HANDOFF_SUITE(.name = "{{name}}", .description = "What it tests, in Markdown.", .timeout_ms = 10000,
              /* What it would like to reach. People see it; the suite's policy grants it. */
              .wants_http = {"http://127.0.0.1:8080"});

HANDOFF_TEST(counts, .description = "Shows both operands when it fails.") {
    ASSERT_EQ(strlen("hello"), 5);
}

/* Asks the tested system, which the parameter `target` names. */
HANDOFF_TEST(is_healthy, .tags = {"smoke"}, .attempts = 2) {
    char *target = handoff_param("target");
    if (!target)
        SKIP("give the parameter `target`, a base URL");
    handoff_http_response *answer = handoff_http_get(handoff_format("%s/healthz", target));
    ASSERT_STATUS(answer, 200);
    puts(answer->body);
}

/* JSON in and out. Replace it by something of yours. */
HANDOFF_TEST(creates_a_book, .disabled = "an example") {
    char *target = handoff_require_param("target");
    handoff_http_response *answer =
        handoff_http_post(handoff_format("%s/books", target), .json = "{\"title\": \"Dune\"}");
    ASSERT_STATUS(answer, 201);
    ASSERT_STR_CONTAINS(answer->body, "Dune");
}
