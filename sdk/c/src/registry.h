/* What a program registered: putting it in order, finding it, and saying what is wrong with it. */
#ifndef HF_REGISTRY_H
#define HF_REGISTRY_H

#include <handoff.h>

/* Where something stands in the source. */
typedef struct hf_place {
    const char *file;
    uint32_t line;
} hf_place;

/* A test: a function, or one with a row. */
typedef struct hf_test {
    const char *name;
    handoff_test_options options;
    void (*function)(void);
    void (*row_function)(const void *row);
    const void *row;
    hf_place place;
    /* Counts the tests of one source. */
    uint32_t rank;
} hf_test;

/* A stage of which there may be one, or what makes tests. */
typedef struct hf_stage {
    void (*function)(void);
    hf_place place;
} hf_stage;

/* A list that grows. */
#define HF_LIST(type)                                                                              \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t count;                                                                              \
        size_t room;                                                                               \
    }

typedef struct hf_suite {
    const handoff_suite_options *options;
    hf_place place;
} hf_suite;

typedef struct hf_registry {
    HF_LIST(hf_suite) suites;
    HF_LIST(hf_stage) setups;
    HF_LIST(hf_stage) teardowns;
    HF_LIST(hf_stage) sources;
    HF_LIST(hf_test) tests;
    /* The source that is making tests, and how many it has made. */
    const hf_stage *source;
    uint32_t made;
} hf_registry;

/* The program's. */
extern hf_registry hf_program;

/* Lets the sources make their tests. Once. */
void hf_make_tests(hf_registry *registry);

/* Puts the tests in the order in which they stand, and gives what is wrong with the suite, for its
 * author to read, or NULL. The caller's, from malloc. */
char *hf_check(hf_registry *registry);

/* The test of that name, or NULL. */
const hf_test *hf_find(const hf_registry *registry, const char *name);

#endif
