/* Just enough JSON for the answers of the echo server. */
#include "json.h"

#include <stdlib.h>
#include <string.h>

static char *put_utf8(char *out, unsigned code) {
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

/* Reads the string that starts at a quotation mark, and moves behind it. Characters beyond U+FFFF
 * stand for themselves or not at all. */
static char *read_string(const char **json) {
    const char *in = *json + 1;
    char *text = malloc(strlen(in) + 1), *out = text;
    while (*in && *in != '"') {
        if (*in != '\\') {
            *out++ = *in++;
            continue;
        }
        in++;
        if (*in == 'u') {
            char digits[5] = {0};
            strncpy(digits, in + 1, 4);
            out = put_utf8(out, (unsigned)strtoul(digits, NULL, 16));
            in += 1 + strlen(digits);
        } else if (*in) {
            static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
            const char *letter = strchr(letters, *in);
            *out++ = letter ? meant[letter - letters] : *in;
            in++;
        }
    }
    *out = '\0';
    *json = *in ? in + 1 : in;
    return text;
}

char *json_text(const char *json, const char *key) {
    while (*json) {
        if (*json != '"') {
            json++;
            continue;
        }
        char *name = read_string(&json);
        int found = strcmp(name, key) == 0;
        free(name);
        json += strspn(json, " \t\r\n");
        if (!found || *json != ':')
            continue;
        json++;
        json += strspn(json, " \t\r\n");
        if (*json == '"')
            return read_string(&json);
    }
    return NULL;
}
