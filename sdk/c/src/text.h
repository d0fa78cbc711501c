/* Memory and texts, for the library's own use. What cannot get memory ends the attempt. */
#ifndef HF_TEXT_H
#define HF_TEXT_H

#include <stdarg.h>
#include <stddef.h>

void *hf_allocate(size_t size);
void *hf_reallocate(void *block, size_t size);
char *hf_copy(const char *text);
char *hf_copy_bytes(const void *bytes, size_t size);
char *hf_vformat(const char *format, va_list arguments);

/* The same text if it is UTF-8, else a copy with U+FFFD for each byte that is not: the server takes
 * no other texts. */
const char *hf_utf8(const char *text);

/* Ends the attempt with words on stderr: for what is not the failure of a test. */
__attribute__((noreturn)) void hf_give_up(const char *words);

/* A text that grows; `bytes` ends with NUL once something was added. */
typedef struct hf_buffer {
    char *bytes;
    size_t size;
    size_t room;
} hf_buffer;

/* Makes room for so many bytes more, and gives where they go. Raise `size` by what was written. */
char *hf_reserve(hf_buffer *buffer, size_t size);
void hf_append(hf_buffer *buffer, const char *text);
void hf_append_bytes(hf_buffer *buffer, const void *bytes, size_t size);

#endif
