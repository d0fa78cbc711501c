/* What a program registered. Initialisers of several files run in no particular order, so tests are
 * put in order by where they stand. */
#include "registry.h"

#include "text.h"

#include <stdlib.h>
#include <string.h>

hf_registry hf_program;

#define APPEND(list, ...)                                                                          \
    do {                                                                                           \
        if ((list).count == (list).room) {                                                         \
            (list).room = (list).room ? 2 * (list).room : 16;                                      \
            (list).items = hf_reallocate((list).items, (list).room * sizeof *(list).items);        \
        }                                                                                          \
        (list).items[(list).count++] = (__VA_ARGS__);                                              \
    } while (0)

void handoff_add_suite(const handoff_suite_options *options, const char *file, uint32_t line) {
    APPEND(hf_program.suites, (hf_suite){options, {file, line}});
}

void handoff_add_setup(void (*run)(void), const char *file, uint32_t line) {
    APPEND(hf_program.setups, (hf_stage){run, {file, line}});
}

void handoff_add_teardown(void (*run)(void), const char *file, uint32_t line) {
    APPEND(hf_program.teardowns, (hf_stage){run, {file, line}});
}

void handoff_add_source(void (*add_tests)(void), const char *file, uint32_t line) {
    APPEND(hf_program.sources, (hf_stage){add_tests, {file, line}});
}

void handoff_add_function(void (*run)(void), const char *identifier,
                          const handoff_test_options *options, const char *file, uint32_t line) {
    APPEND(hf_program.tests, (hf_test){.name = options->name ? options->name : identifier,
                                       .options = *options,
                                       .function = run,
                                       .place = {file, line}});
}

void handoff_add_row(void (*run)(const void *row), const void *row, handoff_test_options options) {
    const hf_stage *source = hf_program.source;
    APPEND(hf_program.tests, (hf_test){.name = options.name ? options.name : "",
                                       .options = options,
                                       .row_function = run,
                                       .row = row,
                                       .place = source ? source->place : (hf_place){"", 0},
                                       .rank = ++hf_program.made});
}

void hf_make_tests(hf_registry *registry) {
    for (size_t i = 0; i < registry->sources.count; i++) {
        registry->source = &registry->sources.items[i];
        registry->made = 0;
        registry->source->function();
    }
    registry->source = NULL;
}

static int by_place(hf_place a, hf_place b) {
    int files = strcmp(a.file, b.file);
    return files ? files : (a.line > b.line) - (a.line < b.line);
}

static int as_they_stand(const void *left, const void *right) {
    const hf_test *a = left, *b = right;
    int places = by_place(a->place, b->place);
    int ranks = (a->rank > b->rank) - (a->rank < b->rank);
    return places ? places : ranks ? ranks : strcmp(a->name, b->name);
}

static int by_name(const void *left, const void *right) {
    const hf_test *a = *(const hf_test *const *)left, *b = *(const hf_test *const *)right;
    int names = strcmp(a->name, b->name);
    return names ? names : (a > b) - (a < b);
}

/* "a.c:1 and b.c:2", the first first. */
static char *both(hf_place a, hf_place b) {
    if (by_place(a, b) > 0)
        return both(b, a);
    return handoff_format("%s:%u and %s:%u", a.file, (unsigned)a.line, b.file, (unsigned)b.line);
}

/* What is wrong if two tests have one name, or NULL. */
static char *check_names(const hf_registry *registry) {
    size_t count = registry->tests.count;
    const hf_test **sorted = hf_allocate(count * sizeof *sorted);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &registry->tests.items[i];
    qsort(sorted, count, sizeof *sorted, by_name);
    char *problem = NULL;
    for (size_t i = 1; i < count && !problem; i++) {
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            problem = handoff_format("two tests are called `%s`, in %s: name one of them otherwise",
                                     sorted[i]->name, both(sorted[i - 1]->place, sorted[i]->place));
    }
    free(sorted);
    return problem;
}

char *hf_check(hf_registry *registry) {
    if (registry->suites.count == 0)
        return hf_copy("the suite has no name: add HANDOFF_SUITE(.name = \"…\"); to its program");
    const hf_suite *suites = registry->suites.items;
    if (registry->suites.count > 1)
        return handoff_format("HANDOFF_SUITE is used twice, in %s: a component is one suite",
                              both(suites[0].place, suites[1].place));
    if (!suites[0].options->name)
        return hf_copy("the suite has no name: give HANDOFF_SUITE the option .name");
    const char *format =
        "there are two functions for %s, in %s: keep one and call the other from it";
    const hf_stage *setups = registry->setups.items, *teardowns = registry->teardowns.items;
    if (registry->setups.count > 1)
        return handoff_format(format, "setup", both(setups[0].place, setups[1].place));
    if (registry->teardowns.count > 1)
        return handoff_format(format, "teardown", both(teardowns[0].place, teardowns[1].place));
    if (registry->tests.count == 0)
        return hf_copy("the suite has no tests: write a function with HANDOFF_TEST");
    qsort(registry->tests.items, registry->tests.count, sizeof *registry->tests.items,
          as_they_stand);
    return check_names(registry);
}

const hf_test *hf_find(const hf_registry *registry, const char *name) {
    for (size_t i = 0; i < registry->tests.count; i++) {
        if (strcmp(registry->tests.items[i].name, name) == 0)
            return &registry->tests.items[i];
    }
    return NULL;
}
