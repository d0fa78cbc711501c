/* The HTTP client, on wasi:http: one exchange at a time, each wait with the request's time limit.
 */
#include "guest.h"
#include "text.h"
#include "url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* How much of a body is asked for at once, and how much is shown of one. */
#define CHUNK 65536
#define SHOWN 500

#define NANOSECONDS_PER_MS 1000000

/* A request on its way. */
typedef struct exchange {
    const handoff_http_request *request;
    handoff_http_response *response;
    uint64_t timeout_ms;
    wasi_io_poll_own_pollable_t timer;
} exchange;

/* Notes why there is no answer; the first reason counts. Gives false. */
static bool fail(exchange *exchange, handoff_http_error error, char *problem) {
    handoff_http_response *response = exchange->response;
    if (response->error != HANDOFF_HTTP_ANSWERED) {
        free(problem);
        return false;
    }
    response->error = error;
    response->problem = handoff_format("%s: %s", response->request, problem);
    free(problem);
    return false;
}

static handoff_http_error kind_of(uint8_t code) {
    switch (code) {
    case WASI_HTTP_TYPES_ERROR_CODE_DNS_TIMEOUT:
    case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_TIMEOUT:
    case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_READ_TIMEOUT:
    case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_WRITE_TIMEOUT:
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_RESPONSE_TIMEOUT:
        return HANDOFF_HTTP_TIMED_OUT;
    case WASI_HTTP_TYPES_ERROR_CODE_DNS_ERROR:
    case WASI_HTTP_TYPES_ERROR_CODE_DESTINATION_NOT_FOUND:
    case WASI_HTTP_TYPES_ERROR_CODE_DESTINATION_UNAVAILABLE:
    case WASI_HTTP_TYPES_ERROR_CODE_DESTINATION_IP_PROHIBITED:
    case WASI_HTTP_TYPES_ERROR_CODE_DESTINATION_IP_UNROUTABLE:
    case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_REFUSED:
    case WASI_HTTP_TYPES_ERROR_CODE_TLS_PROTOCOL_ERROR:
    case WASI_HTTP_TYPES_ERROR_CODE_TLS_CERTIFICATE_ERROR:
    case WASI_HTTP_TYPES_ERROR_CODE_TLS_ALERT_RECEIVED:
        return HANDOFF_HTTP_UNREACHABLE;
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_DENIED:
    case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_LIMIT_REACHED:
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_BODY_SIZE:
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_RESPONSE_BODY_SIZE:
        return HANDOFF_HTTP_DENIED;
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_LENGTH_REQUIRED:
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_METHOD_INVALID:
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_URI_INVALID:
    case WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_URI_TOO_LONG:
        return HANDOFF_HTTP_REQUEST;
    default:
        return HANDOFF_HTTP_BROKEN;
    }
}

/* What wasi:http calls its error codes, in their order. */
static const char *const code_names[] = {
    "DNS-timeout",
    "DNS-error",
    "destination-not-found",
    "destination-unavailable",
    "destination-IP-prohibited",
    "destination-IP-unroutable",
    "connection-refused",
    "connection-terminated",
    "connection-timeout",
    "connection-read-timeout",
    "connection-write-timeout",
    "connection-limit-reached",
    "TLS-protocol-error",
    "TLS-certificate-error",
    "TLS-alert-received",
    "HTTP-request-denied",
    "HTTP-request-length-required",
    "HTTP-request-body-size",
    "HTTP-request-method-invalid",
    "HTTP-request-URI-invalid",
    "HTTP-request-URI-too-long",
    "HTTP-request-header-section-size",
    "HTTP-request-header-size",
    "HTTP-request-trailer-section-size",
    "HTTP-request-trailer-size",
    "HTTP-response-incomplete",
    "HTTP-response-header-section-size",
    "HTTP-response-header-size",
    "HTTP-response-body-size",
    "HTTP-response-trailer-section-size",
    "HTTP-response-trailer-size",
    "HTTP-response-transfer-coding",
    "HTTP-response-content-coding",
    "HTTP-response-timeout",
    "HTTP-upgrade-failed",
    "HTTP-protocol-error",
    "loop-detected",
    "configuration-error",
    "internal-error",
};

static bool fail_by_code(exchange *exchange, wasi_http_types_error_code_t *code) {
    if (code->tag == WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_DENIED)
        return fail(exchange, HANDOFF_HTTP_DENIED,
                    hf_copy("denied: the suite's policy must grant this host in `allow_http`"));
    static const char *const words[] = {
        [HANDOFF_HTTP_REQUEST] = "malformed request",
        [HANDOFF_HTTP_DENIED] = "hit a limit",
        [HANDOFF_HTTP_UNREACHABLE] = "cannot reach the server",
        [HANDOFF_HTTP_TIMED_OUT] = "took too long",
        [HANDOFF_HTTP_BROKEN] = "the exchange broke off",
    };
    c_sdk_option_string_t detail = {0};
    if (code->tag == WASI_HTTP_TYPES_ERROR_CODE_DNS_ERROR)
        detail = code->val.dns_error.rcode;
    if (code->tag == WASI_HTTP_TYPES_ERROR_CODE_INTERNAL_ERROR)
        detail = code->val.internal_error;
    handoff_http_error kind = kind_of(code->tag);
    size_t known = sizeof code_names / sizeof *code_names;
    char *problem = handoff_format(
        "%s: %s%s%.*s", words[kind], code->tag < known ? code_names[code->tag] : "unknown error",
        detail.is_some ? ": " : "", detail.is_some ? (int)detail.val.len : 0,
        detail.is_some ? (const char *)detail.val.ptr : "");
    wasi_http_types_error_code_free(code);
    return fail(exchange, kind, problem);
}

/* Waits for an event, which is used up, or for the end of the request's time. */
static bool wait_for(exchange *exchange, wasi_io_poll_own_pollable_t event) {
    wasi_io_poll_borrow_pollable_t events[] = {wasi_io_poll_borrow_pollable(event),
                                               wasi_io_poll_borrow_pollable(exchange->timer)};
    wasi_io_poll_list_borrow_pollable_t list = {events, 2};
    c_sdk_list_u32_t ready;
    wasi_io_poll_poll(&list, &ready);
    /* Indices come in order: 0 is the event. */
    bool happened = ready.len && ready.ptr[0] == 0;
    c_sdk_list_u32_free(&ready);
    wasi_io_poll_pollable_drop_own(event);
    return happened || fail(exchange, HANDOFF_HTTP_TIMED_OUT,
                            handoff_format("no answer within %llu ms",
                                           (unsigned long long)exchange->timeout_ms));
}

static bool add_header(exchange *exchange, wasi_http_types_own_fields_t fields, const char *name,
                       const char *value) {
    c_sdk_string_t key = hf_string(name);
    wasi_http_types_field_value_t bytes = {(uint8_t *)(uintptr_t)value, strlen(value)};
    wasi_http_types_header_error_t error;
    if (wasi_http_types_method_fields_append(wasi_http_types_borrow_fields(fields), &key, &bytes,
                                             &error))
        return true;
    bool forbidden = error.tag == WASI_HTTP_TYPES_HEADER_ERROR_FORBIDDEN;
    return fail(exchange, HANDOFF_HTTP_REQUEST,
                handoff_format("the header `%s` %s", name,
                               forbidden ? "is set by the server itself"
                                         : "has characters that a header cannot have"));
}

static bool add_headers(exchange *exchange, wasi_http_types_own_fields_t fields, size_t body_size) {
    const handoff_http_request *request = exchange->request;
    for (size_t i = 0; i < HANDOFF_HTTP_ROOM && request->headers[i].name; i++) {
        const handoff_pair *header = &request->headers[i];
        if (!add_header(exchange, fields, header->name, header->value ? header->value : ""))
            return false;
    }
    char text[512];
    if (request->json && !add_header(exchange, fields, "content-type", "application/json"))
        return false;
    if (body_size) {
        snprintf(text, sizeof text, "%zu", body_size);
        if (!add_header(exchange, fields, "content-length", text))
            return false;
    }
    if (!request->bearer)
        return true;
    char *bearer = handoff_format("Bearer %s", request->bearer);
    bool added = add_header(exchange, fields, "authorization", bearer);
    free(bearer);
    return added;
}

static wasi_http_types_method_t method_of(const char *name) {
    static const char *const names[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                        "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    for (uint8_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0)
            return (wasi_http_types_method_t){.tag = i};
    }
    return (wasi_http_types_method_t){.tag = WASI_HTTP_TYPES_METHOD_OTHER,
                                      .val.other = hf_string(name)};
}

static bool set_target(exchange *exchange, wasi_http_types_own_outgoing_request_t outgoing,
                       const hf_url *url) {
    wasi_http_types_borrow_outgoing_request_t request =
        wasi_http_types_borrow_outgoing_request(outgoing);
    wasi_http_types_method_t method =
        method_of(exchange->request->method ? exchange->request->method : "GET");
    if (!wasi_http_types_method_outgoing_request_set_method(request, &method))
        return fail(exchange, HANDOFF_HTTP_REQUEST, hf_copy("there is no such method"));
    wasi_http_types_scheme_t scheme = {.tag = url->secure ? WASI_HTTP_TYPES_SCHEME_HTTPS
                                                          : WASI_HTTP_TYPES_SCHEME_HTTP};
    c_sdk_string_t authority = hf_string(url->authority), path = hf_string(url->path_with_query);
    if (!wasi_http_types_method_outgoing_request_set_scheme(request, &scheme) ||
        !wasi_http_types_method_outgoing_request_set_authority(request, &authority) ||
        !wasi_http_types_method_outgoing_request_set_path_with_query(request, &path))
        return fail(exchange, HANDOFF_HTTP_REQUEST, hf_copy("the URL is malformed"));
    return true;
}

/* Makes the request as wasi:http wants it. */
static bool make(exchange *exchange, size_t body_size,
                 wasi_http_types_own_outgoing_request_t *outgoing) {
    const handoff_http_request *request = exchange->request;
    if (request->json && request->body)
        return fail(exchange, HANDOFF_HTTP_REQUEST, hf_copy("give `json` or `body`, not both"));
    hf_url url = {0};
    const char *problem = hf_split_url(request->url, request->query, HANDOFF_HTTP_ROOM, &url);
    if (problem)
        return fail(exchange, HANDOFF_HTTP_REQUEST, hf_copy(problem));
    wasi_http_types_own_fields_t fields = wasi_http_types_constructor_fields();
    bool made = add_headers(exchange, fields, body_size);
    if (made) {
        *outgoing = wasi_http_types_constructor_outgoing_request(fields);
        made = set_target(exchange, *outgoing, &url);
        if (!made)
            wasi_http_types_outgoing_request_drop_own(*outgoing);
    } else {
        wasi_http_types_fields_drop_own(fields);
    }
    free(url.authority);
    free(url.path_with_query);
    return made;
}

/* Writes to the stream until all is written, the time is over, or the stream is closed. A stream
 * that the server closed is no failure yet: there may be an answer. */
static bool write_all(exchange *exchange, wasi_io_streams_own_output_stream_t stream,
                      const uint8_t *bytes, size_t size) {
    wasi_io_streams_borrow_output_stream_t output = wasi_io_streams_borrow_output_stream(stream);
    wasi_io_streams_stream_error_t error;
    while (size) {
        uint64_t room;
        if (!wait_for(exchange, wasi_io_streams_method_output_stream_subscribe(output)))
            return false;
        if (!wasi_io_streams_method_output_stream_check_write(output, &room, &error)) {
            wasi_io_streams_stream_error_free(&error);
            return true;
        }
        c_sdk_list_u8_t chunk = {(uint8_t *)(uintptr_t)bytes, room < size ? (size_t)room : size};
        if (!wasi_io_streams_method_output_stream_write(output, &chunk, &error)) {
            wasi_io_streams_stream_error_free(&error);
            return true;
        }
        bytes += chunk.len;
        size -= chunk.len;
    }
    return true;
}

static bool write_body(exchange *exchange, wasi_http_types_own_outgoing_body_t body,
                       const void *bytes, size_t size) {
    wasi_io_streams_own_output_stream_t stream;
    bool in_time = true;
    if (wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(body),
                                                   &stream)) {
        in_time = write_all(exchange, stream, bytes, size);
        wasi_io_streams_output_stream_drop_own(stream);
    }
    if (!in_time) {
        wasi_http_types_outgoing_body_drop_own(body);
        return false;
    }
    wasi_http_types_error_code_t code;
    /* What is wrong shows again, and in time, where the answer is awaited. */
    if (!wasi_http_types_static_outgoing_body_finish(body, NULL, &code))
        wasi_http_types_error_code_free(&code);
    return true;
}

static bool await(exchange *exchange, wasi_http_types_own_future_incoming_response_t future,
                  wasi_http_types_own_incoming_response_t *incoming) {
    wasi_http_types_borrow_future_incoming_response_t waiting =
        wasi_http_types_borrow_future_incoming_response(future);
    if (!wait_for(exchange, wasi_http_types_method_future_incoming_response_subscribe(waiting)))
        return false;
    wasi_http_types_result_result_own_incoming_response_error_code_void_t result;
    if (!wasi_http_types_method_future_incoming_response_get(waiting, &result) || result.is_err)
        return fail(exchange, HANDOFF_HTTP_BROKEN, hf_copy("the answer went missing"));
    if (result.val.ok.is_err)
        return fail_by_code(exchange, &result.val.ok.val.err);
    *incoming = result.val.ok.val.ok;
    return true;
}

static void read_headers(handoff_http_response *response,
                         wasi_http_types_borrow_incoming_response_t incoming) {
    wasi_http_types_own_fields_t fields =
        wasi_http_types_method_incoming_response_headers(incoming);
    wasi_http_types_list_tuple2_field_name_field_value_t entries;
    wasi_http_types_method_fields_entries(wasi_http_types_borrow_fields(fields), &entries);
    response->headers = hf_allocate(entries.len * sizeof *response->headers);
    response->header_count = entries.len;
    for (size_t i = 0; i < entries.len; i++) {
        char *name = hf_copy_bytes(entries.ptr[i].f0.ptr, entries.ptr[i].f0.len);
        for (char *letter = name; *letter; letter++)
            *letter += *letter >= 'A' && *letter <= 'Z' ? 'a' - 'A' : 0;
        response->headers[i].name = name;
        response->headers[i].value = hf_copy_bytes(entries.ptr[i].f1.ptr, entries.ptr[i].f1.len);
    }
    wasi_http_types_list_tuple2_field_name_field_value_free(&entries);
    wasi_http_types_fields_drop_own(fields);
}

static bool fail_by_stream(exchange *exchange, wasi_io_streams_own_error_t error) {
    wasi_io_error_borrow_error_t borrowed = wasi_io_error_borrow_error(error);
    wasi_http_types_error_code_t code;
    if (wasi_http_types_http_error_code(borrowed, &code)) {
        fail_by_code(exchange, &code);
    } else {
        c_sdk_string_t words;
        wasi_io_error_method_error_to_debug_string(borrowed, &words);
        fail(exchange, HANDOFF_HTTP_BROKEN, hf_take(&words));
    }
    wasi_io_error_error_drop_own(error);
    return false;
}

/* Reads to the end of the stream. */
static bool read_all(exchange *exchange, wasi_io_streams_own_input_stream_t stream,
                     hf_buffer *body) {
    wasi_io_streams_borrow_input_stream_t input = wasi_io_streams_borrow_input_stream(stream);
    for (;;) {
        c_sdk_list_u8_t chunk;
        wasi_io_streams_stream_error_t error;
        if (!wait_for(exchange, wasi_io_streams_method_input_stream_subscribe(input)))
            return false;
        if (!wasi_io_streams_method_input_stream_read(input, CHUNK, &chunk, &error)) {
            if (error.tag == WASI_IO_STREAMS_STREAM_ERROR_CLOSED)
                return true;
            return fail_by_stream(exchange, error.val.last_operation_failed);
        }
        hf_append_bytes(body, chunk.ptr, chunk.len);
        c_sdk_list_u8_free(&chunk);
    }
}

static bool read_answer(exchange *exchange, wasi_http_types_own_incoming_response_t incoming) {
    handoff_http_response *response = exchange->response;
    wasi_http_types_borrow_incoming_response_t borrowed =
        wasi_http_types_borrow_incoming_response(incoming);
    int status = wasi_http_types_method_incoming_response_status(borrowed);
    read_headers(response, borrowed);
    wasi_http_types_own_incoming_body_t body;
    wasi_io_streams_own_input_stream_t stream;
    if (!wasi_http_types_method_incoming_response_consume(borrowed, &body))
        return fail(exchange, HANDOFF_HTTP_BROKEN, hf_copy("the answer has no body"));
    hf_buffer bytes = {0};
    hf_append(&bytes, "");
    bool whole = false;
    if (wasi_http_types_method_incoming_body_stream(wasi_http_types_borrow_incoming_body(body),
                                                    &stream)) {
        whole = read_all(exchange, stream, &bytes);
        wasi_io_streams_input_stream_drop_own(stream);
    }
    wasi_http_types_incoming_body_drop_own(body);
    if (!whole) {
        free(bytes.bytes);
        return false;
    }
    free(response->body);
    response->body = bytes.bytes;
    response->size = bytes.size;
    response->status = status;
    return true;
}

static void run(exchange *exchange) {
    const handoff_http_request *request = exchange->request;
    const void *bytes = request->json ? request->json : request->body;
    size_t size = !bytes                                ? 0
                  : request->body && request->body_size ? request->body_size
                                                        : strlen(bytes);
    wasi_http_types_own_outgoing_request_t outgoing;
    if (!make(exchange, size, &outgoing))
        return;
    wasi_http_types_own_outgoing_body_t body;
    bool has_body = size && wasi_http_types_method_outgoing_request_body(
                                wasi_http_types_borrow_outgoing_request(outgoing), &body);
    wasi_http_types_own_future_incoming_response_t future;
    wasi_http_types_error_code_t code;
    if (!wasi_http_outgoing_handler_handle(outgoing, NULL, &future, &code)) {
        fail_by_code(exchange, &code);
        if (has_body)
            wasi_http_types_outgoing_body_drop_own(body);
        return;
    }
    wasi_http_types_own_incoming_response_t incoming;
    bool sent = !has_body || write_body(exchange, body, bytes, size);
    if (sent && await(exchange, future, &incoming)) {
        read_answer(exchange, incoming);
        wasi_http_types_incoming_response_drop_own(incoming);
    }
    wasi_http_types_future_incoming_response_drop_own(future);
}

handoff_http_response *handoff_http_send(handoff_http_request request) {
    fflush(stdout); /* keeps what was printed before the exchange before it */
    handoff_http_response *response = hf_allocate(sizeof *response);
    *response = (handoff_http_response){
        .body = hf_copy(""),
        .request = handoff_format("%s %s", request.method ? request.method : "GET",
                                  request.url ? request.url : ""),
    };
    uint64_t timeout_ms = request.timeout_ms ? request.timeout_ms : HANDOFF_HTTP_DEFAULT_TIMEOUT_MS;
    uint64_t timeout_ns =
        timeout_ms < UINT64_MAX / NANOSECONDS_PER_MS ? timeout_ms * NANOSECONDS_PER_MS : UINT64_MAX;
    exchange exchange = {
        .request = &request,
        .response = response,
        .timeout_ms = timeout_ms,
        .timer = wasi_clocks_monotonic_clock_subscribe_duration(timeout_ns),
    };
    run(&exchange);
    wasi_io_poll_pollable_drop_own(exchange.timer);
    return response;
}

const char *handoff_http_header(const handoff_http_response *response, const char *name) {
    for (size_t i = 0; i < response->header_count; i++) {
        if (strcasecmp(response->headers[i].name, name) == 0)
            return response->headers[i].value;
    }
    return NULL;
}

void handoff_http_expect(const handoff_http_response *response, int status, const char *file,
                         uint32_t line) {
    if (response->error != HANDOFF_HTTP_ANSWERED)
        handoff_fail(file, line, "%s", response->problem);
    if (response->status == status)
        return;
    size_t shown = response->size < SHOWN ? response->size : SHOWN;
    while (shown < response->size && shown && (response->body[shown] & 0xc0) == 0x80)
        shown--;
    handoff_fail(file, line, "%s: expected status %d, got %d\nthe body of %zu bytes begins: %.*s",
                 response->request, status, response->status, response->size, (int)shown,
                 response->body);
}

void handoff_http_free(handoff_http_response *response) {
    if (!response)
        return;
    for (size_t i = 0; i < response->header_count; i++) {
        free((void *)(uintptr_t)response->headers[i].name);
        free((void *)(uintptr_t)response->headers[i].value);
    }
    free(response->headers);
    free(response->problem);
    free(response->body);
    free(response->request);
    free(response);
}
