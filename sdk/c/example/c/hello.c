/* One test of each kind: what passes, fails, skips, fails softly, is flaky, is slow. */
#include <handoff.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

HANDOFF_SUITE(.name = "hello-c",
              .description = "One test of each kind. **Some of them fail, and should.**",
              .owner = "handoff", .timeout_ms = 5000, .labels = {{"kind", "example"}});

/* Gets what the tests share. Every test runs in a fresh instance: only values are carried over. */
HANDOFF_SETUP { ASSERT_GRANTED(handoff_set_secret("token", "open sesame")); }

HANDOFF_TEST(passes, .description = "What people read beside a test's name.", .tags = {"smoke"}) {
    char *token = handoff_require("token");
    handoff_info("the token %s is masked wherever people could see it", token);
    ASSERT_EQ(strlen(token), 11);
}

/* Shows both operands. */
HANDOFF_TEST(fails) { ASSERT_EQ(1 + 1, 3, "arithmetic still works"); }

/* The assert of <assert.h> works as well. */
HANDOFF_TEST(fails_by_assert) { assert(1 + 1 == 3); }

/* A failure in a helper needs nothing: it ends the test from there. */
static long port_of(const char *text) {
    char *end;
    long port = strtol(text, &end, 10);
    ASSERT(*text && !*end, "%s is no port", text);
    return port;
}

HANDOFF_TEST(fails_in_a_helper) { printf("listening on %ld\n", port_of("http")); }

/* A skip in a helper is passed on. */
static void find_staging(char **url) {
    *url = handoff_param("staging");
    if (!*url)
        SKIP("give the parameter `staging` to run this");
}

HANDOFF_TEST(skips) {
    char *url;
    RETURN_IF_SKIPPED(find_staging(&url));
    printf("staging is %s\n", url);
}

/* Shown, but the run does not fail by it. */
HANDOFF_TEST(fails_softly, .name = "fails softly", .soft = true) {
    FAIL("known to be broken since spring");
}

/* Passes when it is tried again. */
HANDOFF_TEST(flaky, .attempts = 3) {
    ASSERT(handoff_attempt() > 1, "the first attempt always fails");
}

/* Shows its parts in the timeline. */
HANDOFF_TEST(slow, .timeout_ms = 2000) {
    handoff_span waiting = handoff_span_begin("waiting");
    handoff_span_set(waiting, "reason", "to be slow");
    sleep(1);
    handoff_span_end(waiting);
    handoff_info("%llu ms left", (unsigned long long)handoff_remaining_ms());
}

/* A table: each row is a part with a result of its own. */
typedef struct sum {
    int a, b, sum;
} sum;

static void adds_up(void *row) {
    const sum *sum = row;
    EXPECT_EQ(sum->a + sum->b, sum->sum);
}

static sum sums[] = {{1, 1, 2}, {2, 3, 5}, {20, 22, 42}};

HANDOFF_TEST(table) {
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        char *name = handoff_format("%d + %d", sums[i].a, sums[i].b);
        ASSERT(handoff_part(name, adds_up, &sums[i]));
        free(name);
    }
}

/* The same table, with a test for each row. */
static void adds_up_too(const void *row) {
    const sum *sum = row;
    ASSERT_EQ(sum->a + sum->b, sum->sum);
}

HANDOFF_TESTS(sums) {
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        handoff_add_test(adds_up_too, &sums[i],
                         .name = handoff_format("%d + %d", sums[i].a, sums[i].b));
}

/* Asks a server, which the parameter `server` names. */
HANDOFF_TEST(asks_a_server, .tags = {"http"}) {
    char *server = handoff_param("server");
    if (!server)
        SKIP("give the parameter `server`, a base URL");
    handoff_http_response *answer =
        handoff_http_post(handoff_format("%s/echo", server), .headers = {{"x-tenant", "hello"}},
                          .json = "{\"title\": \"Dune\"}", .timeout_ms = 2000);
    ASSERT_STATUS(answer, 200);
    ASSERT_STR_CONTAINS(answer->body, "Dune");
    ASSERT_GRANTED(handoff_attach("answer.json", "application/json", answer->body, answer->size));
}

/* Runs when the test ends, however it does. */
static void delete_file(void *path) { ASSERT_EQ(remove(path), 0); }

HANDOFF_TEST(cleans_up) {
    FILE *file = fopen("/tmp/order.txt", "w");
    ASSERT(file);
    handoff_cleanup(delete_file, "/tmp/order.txt");
    ASSERT_GT(fprintf(file, "one book\n"), 0);
    ASSERT_EQ(fclose(file), 0);
}

/* Not run, and says why. */
HANDOFF_TEST(makes_coffee, .disabled = "waits for the new office") {}
