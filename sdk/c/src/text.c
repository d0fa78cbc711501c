/* Memory and texts. */
#include "text.h"

#include <handoff.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *hf_allocate(size_t size) { return hf_reallocate(NULL, size); }

void *hf_reallocate(void *block, size_t size) {
    void *moved = realloc(block, size ? size : 1);
    if (!moved)
        hf_give_up("out of memory");
    return moved;
}

void hf_give_up(const char *words) {
    fflush(stdout);
    fprintf(stderr, "%s\n", words);
    abort();
}

char *hf_copy(const char *text) { return hf_copy_bytes(text, strlen(text)); }

char *hf_copy_bytes(const void *bytes, size_t size) {
    char *copy = hf_allocate(size + 1);
    if (size)
        memcpy(copy, bytes, size);
    copy[size] = '\0';
    return copy;
}

char *hf_vformat(const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (size < 0)
        return hf_copy(format);
    char *text = hf_allocate((size_t)size + 1);
    vsnprintf(text, (size_t)size + 1, format, arguments);
    return text;
}

char *handoff_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = hf_vformat(format, arguments);
    va_end(arguments);
    return text;
}

char *hf_reserve(hf_buffer *buffer, size_t size) {
    size_t needed = buffer->size + size + 1;
    if (needed > buffer->room) {
        buffer->room = needed > 2 * buffer->room ? needed : 2 * buffer->room;
        buffer->bytes = hf_reallocate(buffer->bytes, buffer->room);
    }
    return buffer->bytes + buffer->size;
}

void hf_append(hf_buffer *buffer, const char *text) { hf_append_bytes(buffer, text, strlen(text)); }

void hf_append_bytes(hf_buffer *buffer, const void *bytes, size_t size) {
    char *end = hf_reserve(buffer, size);
    if (size)
        memcpy(end, bytes, size);
    buffer->size += size;
    buffer->bytes[buffer->size] = '\0';
}

/* The size of the UTF-8 sequence at the start of the text, or 0 if there is none. */
static size_t sequence_size(const unsigned char *text) {
    unsigned char first = text[0];
    if (first < 0x80)
        return 1;
    size_t size = first >= 0xc2 && first < 0xe0   ? 2
                  : first >= 0xe0 && first < 0xf0 ? 3
                  : first >= 0xf0 && first < 0xf5 ? 4
                                                  : 0;
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    bool too_long = (first == 0xe0 && text[1] < 0xa0) || (first == 0xf0 && text[1] < 0x90);
    bool no_character = (first == 0xed && text[1] > 0x9f) || (first == 0xf4 && text[1] > 0x8f);
    return too_long || no_character ? 0 : size;
}

const char *hf_utf8(const char *text) {
    const char *end = text;
    size_t size = 1;
    while (*end && (size = sequence_size((const unsigned char *)end)))
        end += size;
    if (!*end)
        return text;
    hf_buffer mended = {0};
    while (*text) {
        size = sequence_size((const unsigned char *)text);
        hf_append_bytes(&mended, size ? text : "\xef\xbf\xbd", size ? size : 3);
        text += size ? size : 1;
    }
    return mended.bytes;
}
