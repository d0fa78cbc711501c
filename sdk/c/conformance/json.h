/* Just enough JSON for the answers of the echo server. */
#ifndef CONFORMANCE_JSON_H
#define CONFORMANCE_JSON_H

/* The text that is the value of this key at any depth, or NULL. From malloc. */
char *json_text(const char *json, const char *key);

#endif
