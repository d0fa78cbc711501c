/* What the files that talk to the server share. */
#ifndef HF_GUEST_H
#define HF_GUEST_H

#include "../gen/c_sdk.h"

#include <handoff.h>

/* A text as the bindings take it, without a copy if it is UTF-8. NULL is the empty text. */
c_sdk_string_t hf_string(const char *text);

/* What the bindings gave as a text, from malloc; frees the original. */
char *hf_take(c_sdk_string_t *string);

/* A failure as the bindings take it. Without a file it has no location. */
handoff_suite_vocabulary_failure_t hf_failure(const char *message, const char *file, uint32_t line);

/* Remembers a refusal, for handoff_last_refusal. */
void hf_refused(handoff_suite_context_refusal_t *refusal);

/* How a call of the suite ended, when its function returned. */
typedef struct hf_ending {
    bool skipped;
    char *reason;
} hf_ending;

/* Calls a test with its row, or a stage; runs the clean-ups and writes out what was printed. */
hf_ending hf_call(void (*function)(const void *), const void *row);

/* Whether the suite is being described: nobody would hear of a failure. */
extern bool hf_describing;

#endif
