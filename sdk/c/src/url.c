/* URLs. */
#include "url.h"

#include <string.h>
#include <strings.h>

static void encode_byte(hf_buffer *buffer, unsigned char byte) {
    static const char digits[] = "0123456789ABCDEF";
    const char encoded[] = {'%', digits[byte >> 4], digits[byte & 15]};
    hf_append_bytes(buffer, encoded, sizeof encoded);
}

static bool is_unreserved(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || (byte && strchr("-._~", byte));
}

void hf_encode(hf_buffer *buffer, const char *text) {
    for (; *text; text++) {
        if (is_unreserved(*text))
            hf_append_bytes(buffer, text, 1);
        else
            encode_byte(buffer, (unsigned char)*text);
    }
}

/* The path and query as they are, but for bytes that are never allowed there. */
static void append_path(hf_buffer *buffer, const char *path, size_t size) {
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)path[i];
        if (byte <= 0x20 || byte >= 0x7f || strchr("\"<>\\^`{|}", byte))
            encode_byte(buffer, byte);
        else
            hf_append_bytes(buffer, path + i, 1);
    }
}

const char *hf_split_url(const char *url, const handoff_pair *query, size_t room, hf_url *parts) {
    if (!url)
        return "there is no URL";
    if (strncasecmp(url, "http://", 7) == 0)
        parts->secure = false;
    else if (strncasecmp(url, "https://", 8) == 0)
        parts->secure = true;
    else
        return "the URL is not absolute: it needs `http://host` or `https://host`";
    const char *authority = url + (parts->secure ? 8 : 7);
    size_t authority_size = strcspn(authority, "/?#");
    if (authority_size == 0)
        return "the URL has no host";
    if (memchr(authority, '@', authority_size))
        return "the URL has a user or password: give it as a header";
    parts->authority = hf_copy_bytes(authority, authority_size);
    const char *path = authority + authority_size;
    hf_buffer text = {0};
    if (*path != '/')
        hf_append(&text, "/");
    append_path(&text, path, strcspn(path, "#"));
    for (size_t i = 0; i < room && query[i].name; i++) {
        hf_append(&text, strchr(text.bytes, '?') ? "&" : "?");
        hf_encode(&text, query[i].name);
        hf_append(&text, "=");
        hf_encode(&text, query[i].value ? query[i].value : "");
    }
    parts->path_with_query = text.bytes;
    return NULL;
}
