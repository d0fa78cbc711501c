/* URLs, for the HTTP client. */
#ifndef HF_URL_H
#define HF_URL_H

#include "text.h"

#include <handoff.h>

/* An absolute URL in its parts, from malloc. */
typedef struct hf_url {
    bool secure;
    char *authority;
    char *path_with_query;
} hf_url;

/* Takes an `http` or `https` URL apart and adds the parameters, which end with one without a name.
 * Its fragment is left out, and bytes that no URL may have are percent-encoded. Gives what is wrong
 * with it, or NULL. */
const char *hf_split_url(const char *url, const handoff_pair *query, size_t room, hf_url *parts);

/* Adds the text with everything percent-encoded but what is unreserved in RFC 3986. */
void hf_encode(hf_buffer *buffer, const char *text);

#endif
