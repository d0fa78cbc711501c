/* HTTP requests. */
#include "json.h"

#include <handoff.h>

static char *at_server(const char *path) {
    return handoff_format("%s%s", handoff_require_param("server"), path);
}

HANDOFF_TEST(gets_over_http) {
    handoff_http_response *answer = handoff_http_get(at_server("/echo"), .query = {{"q", "größe"}});
    ASSERT_STATUS(answer, 200);
    ASSERT_STR_EQ(json_text(answer->body, "method"), "GET");
    ASSERT_STR_EQ(json_text(answer->body, "path"), "/echo?q=gr%C3%B6%C3%9Fe");
}

HANDOFF_TEST(posts_json) {
    const char sent[] = "{\"name\": \"größe\"}";
    handoff_http_response *answer =
        handoff_http_post(at_server("/echo"), .headers = {{"x-conformance", "yes"}}, .json = sent);
    ASSERT_STATUS(answer, 200);
    ASSERT_STR_EQ(json_text(answer->body, "body"), sent);
    ASSERT_STR_EQ(json_text(answer->body, "content-type"), "application/json");
    ASSERT_STR_EQ(json_text(answer->body, "x-conformance"), "yes");
}

HANDOFF_TEST(sees_a_status) { ASSERT_EQ(handoff_http_get(at_server("/status/404"))->status, 404); }

HANDOFF_TEST(hears_a_denial) {
    handoff_http_response *answer = handoff_http_get("http://127.0.0.1:1/");
    ASSERT_EQ(answer->error, HANDOFF_HTTP_DENIED);
    ASSERT_STR_CONTAINS(answer->problem, "denied");
}

HANDOFF_TEST(gives_up_waiting) {
    handoff_http_response *answer = handoff_http_get(at_server("/never"), .timeout_ms = 200);
    ASSERT_EQ(answer->error, HANDOFF_HTTP_TIMED_OUT);
    ASSERT_STR_CONTAINS(answer->problem, "200 ms");
    handoff_http_free(answer);
}

HANDOFF_TEST(gets_a_big_body) {
    handoff_http_response *answer = handoff_http_get(at_server("/bytes/1048576"));
    ASSERT_STATUS(answer, 200);
    ASSERT_EQ(answer->size, 1048576);
}
