/* HTTP requests from a test.
 *
 *     handoff_http_response *answer = handoff_http_post(
 *         "http://localhost:8080/books", .headers = {{"x-tenant", "test"}},
 *         .json = "{\"title\": \"Dune\"}", .timeout_ms = 2000);
 *     ASSERT_STATUS(answer, 201);
 *
 * A suite reaches only the hosts that its policy grants (`allow_http`). Redirects are answers like
 * any other. Requests are sent one after another, and a body is read whole.
 */
#ifndef HANDOFF_HTTP_H
#define HANDOFF_HTTP_H

#include <handoff.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How long a request may take, answer included, unless it says otherwise. */
#define HANDOFF_HTTP_DEFAULT_TIMEOUT_MS 30000

/* How many headers and query parameters a request has room for. */
#define HANDOFF_HTTP_ROOM 16

/* A request. What is left out is NULL or 0. */
typedef struct handoff_http_request {
    /* GET, POST and so on. Default: GET. */
    const char *method HANDOFF_OPTIONAL;
    /* Absolute, with `http` or `https`. Needed. */
    const char *url HANDOFF_OPTIONAL;
    /* Parameters that are added to the URL's query, percent-encoded. */
    handoff_pair query[HANDOFF_HTTP_ROOM] HANDOFF_OPTIONAL;
    /* Headers. `host` and `content-length` are set by the library. */
    handoff_pair headers[HANDOFF_HTTP_ROOM] HANDOFF_OPTIONAL;
    /* Adds `authorization: Bearer …`. */
    const char *bearer HANDOFF_OPTIONAL;
    /* A body that is JSON, with its content type. */
    const char *json HANDOFF_OPTIONAL;
    /* Any other body. */
    const void *body HANDOFF_OPTIONAL;
    /* The size of `body`. Default: it is a text. */
    size_t body_size HANDOFF_OPTIONAL;
    /* How long it may take, until the whole answer is there. The attempt's deadline holds in any
     * case. Default: HANDOFF_HTTP_DEFAULT_TIMEOUT_MS. */
    uint64_t timeout_ms HANDOFF_OPTIONAL;
} handoff_http_request;

/* Why there is no answer. */
typedef enum handoff_http_error {
    HANDOFF_HTTP_ANSWERED,    /* there is one */
    HANDOFF_HTTP_REQUEST,     /* the request is malformed; nothing was sent */
    HANDOFF_HTTP_DENIED,      /* the suite's policy does not allow it, or a limit was hit */
    HANDOFF_HTTP_UNREACHABLE, /* unknown name, refused connection, wrong certificate */
    HANDOFF_HTTP_TIMED_OUT,   /* it took too long */
    HANDOFF_HTTP_BROKEN,      /* the server was reached and the exchange broke off */
} handoff_http_error;

/* An answer with its whole body, or why there is none. */
typedef struct handoff_http_response {
    /* Why there is no answer, or HANDOFF_HTTP_ANSWERED. */
    handoff_http_error error;
    /* The same in words; NULL if there is an answer. */
    char *problem;
    /* Its status, for example 404; 0 if there is no answer. */
    int status;
    /* Its body, with a NUL after it; empty if there is no answer. */
    char *body;
    /* The size of the body without the NUL. */
    size_t size;
    /* Its headers, names in lower case. */
    handoff_pair *headers;
    /* How many headers there are. */
    size_t header_count;
    /* What was asked, such as `GET http://localhost:8080/`. */
    char *request;
} handoff_http_response;

/* Sends a request and waits for the whole answer, whatever its status. Never NULL: look at
 * `status`, or at `error`. The caller's: handoff_http_free frees it with everything in it. */
handoff_http_response *handoff_http_send(handoff_http_request request) HANDOFF_MUST_USE_;

/* The same with the fields as options: handoff_http(.method = "PATCH", .url = url, .json = text) */
#define handoff_http(...) handoff_http_send(HANDOFF_OPTIONS_(handoff_http_request, __VA_ARGS__))

/* The same with the URL first: handoff_http_get(url), handoff_http_post(url, .json = text) */
#define handoff_http_get(...) handoff_http(.method = "GET", .url = __VA_ARGS__)
#define handoff_http_post(...) handoff_http(.method = "POST", .url = __VA_ARGS__)
#define handoff_http_put(...) handoff_http(.method = "PUT", .url = __VA_ARGS__)
#define handoff_http_patch(...) handoff_http(.method = "PATCH", .url = __VA_ARGS__)
#define handoff_http_delete(...) handoff_http(.method = "DELETE", .url = __VA_ARGS__)

/* The first header of that name in any case, or NULL. The response's. */
const char *handoff_http_header(const handoff_http_response *response, const char *name);

/* Ends the test as failed unless there is an answer with this status. For ASSERT_STATUS. */
void handoff_http_expect(const handoff_http_response *response, int status, const char *file,
                         uint32_t line);

/* Frees a response. It need not be: all memory goes with the attempt. */
void handoff_http_free(handoff_http_response *response);

#ifdef __cplusplus
}
#endif

#endif
