/* What the library computes without a server, tested natively. */
#undef NDEBUG
#include "../src/registry.h"
#include "../src/text.h"
#include "../src/url.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLDS(left, relation, right) handoff_holds((left), (relation), (right))

static void numbers_are_compared_by_value(void) {
    assert(HOLDS(handoff_signed(2), HANDOFF_EQ, handoff_unsigned(2)));
    assert(HOLDS(handoff_signed(-1), HANDOFF_LT, handoff_unsigned(0)));
    assert(HOLDS(handoff_unsigned(~0ULL), HANDOFF_GT, handoff_signed(-1)));
    assert(HOLDS(handoff_unsigned(~0ULL), HANDOFF_NE, handoff_signed(-1)));
    assert(HOLDS(handoff_floating(0.5), HANDOFF_LE, handoff_signed(1)));
    assert(HOLDS(handoff_floating(2), HANDOFF_GE, handoff_unsigned(2)));
    assert(HOLDS(handoff_boolean(true), HANDOFF_EQ, handoff_signed(1)));
    assert(HOLDS(handoff_character('a'), HANDOFF_EQ, handoff_signed('a')));
    assert(!HOLDS(handoff_signed(3), HANDOFF_LT, handoff_signed(3)));
}

static void what_is_no_number_equals_nothing(void) {
    handoff_operand none = handoff_floating((double)NAN);
    assert(!HOLDS(none, HANDOFF_EQ, none));
    assert(HOLDS(none, HANDOFF_NE, none));
    assert(!HOLDS(none, HANDOFF_LE, handoff_signed(1)));
    assert(!HOLDS(none, HANDOFF_GE, handoff_signed(1)));
}

static void texts_are_compared_by_what_they_say(void) {
    char abc[] = "abc";
    assert(HOLDS(handoff_text(abc), HANDOFF_EQ, handoff_text("abc")));
    assert(HOLDS(handoff_text("abc"), HANDOFF_LT, handoff_text("abd")));
    assert(HOLDS(handoff_text("abc"), HANDOFF_CONTAINS, handoff_text("bc")));
    assert(!HOLDS(handoff_text("abc"), HANDOFF_CONTAINS, handoff_text("x")));
    assert(!HOLDS(handoff_text(NULL), HANDOFF_CONTAINS, handoff_text("x")));
    assert(!HOLDS(handoff_text(NULL), HANDOFF_EQ, handoff_text("")));
    assert(HOLDS(handoff_text(NULL), HANDOFF_EQ, handoff_text(NULL)));
    assert(HOLDS(handoff_text(NULL), HANDOFF_EQ, handoff_pointer(NULL)));
}

static void pointers_are_compared_by_address(void) {
    int pair[2];
    assert(HOLDS(handoff_pointer(pair), HANDOFF_EQ, handoff_pointer(&pair[0])));
    assert(HOLDS(handoff_pointer(pair), HANDOFF_LT, handoff_pointer(&pair[1])));
    assert(!HOLDS(handoff_pointer(NULL), HANDOFF_EQ, handoff_signed(0)));
}

static void shows(const char *expected, handoff_operand operand) {
    char *message = handoff_explain("a", HANDOFF_EQ, "b", operand, handoff_signed(0), NULL);
    char *wanted = handoff_format("assertion failed: a == b\n  left: %s\n right: 0", expected);
    if (strcmp(message, wanted) != 0) {
        fprintf(stderr, "expected %s\n but got %s\n", wanted, message);
        abort();
    }
    free(message);
    free(wanted);
}

static void operands_are_shown_as_they_would_stand_in_the_source(void) {
    shows("-1", handoff_signed(-1));
    shows("18446744073709551615", handoff_unsigned(~0ULL));
    shows("0.1", handoff_floating(0.1));
    shows("0.30000000000000004", handoff_floating(0.1 + 0.2));
    shows("nan", handoff_floating((double)NAN));
    shows("true", handoff_boolean(true));
    shows("'a' (97)", handoff_character('a'));
    shows("10", handoff_character('\n'));
    shows("\"größe \\\"\\\\\\n\\t\\x01\"", handoff_text("größe \"\\\n\t\x01"));
    shows("NULL", handoff_text(NULL));
    shows("NULL", handoff_pointer(NULL));
}

static void a_note_stands_beside_the_comparison(void) {
    char *message = handoff_explain("x", HANDOFF_LT, "y", handoff_signed(2), handoff_signed(1),
                                    handoff_format("of %s", "stock"));
    assert(strcmp(message, "assertion failed: x < y: of stock\n  left: 2\n right: 1") == 0);
    free(message);
}

static void splits(const char *url, bool secure, const char *authority, const char *path) {
    hf_url parts = {0};
    const char *problem = hf_split_url(url, NULL, 0, &parts);
    assert(!problem);
    assert(parts.secure == secure);
    assert(strcmp(parts.authority, authority) == 0);
    assert(strcmp(parts.path_with_query, path) == 0);
    free(parts.authority);
    free(parts.path_with_query);
}

static void urls_are_taken_apart(void) {
    splits("http://localhost:8080", false, "localhost:8080", "/");
    splits("https://example.test/a/b?c=d#e", true, "example.test", "/a/b?c=d");
    splits("HTTP://[::1]:80?q", false, "[::1]:80", "/?q");
    splits("http://a/größe x%20y", false, "a", "/gr%C3%B6%C3%9Fe%20x%20y");
}

static void a_wrong_url_is_refused_with_words(void) {
    const char *const wrong[] = {NULL, "", "/path", "ftp://a/", "http://", "http://u:p@a/"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        hf_url parts = {0};
        assert(hf_split_url(wrong[i], NULL, 0, &parts));
    }
}

static void parameters_are_added_to_the_query(void) {
    const handoff_pair query[3] = {{"q", "größe &"}, {"empty", NULL}};
    hf_url parts = {0};
    assert(!hf_split_url("http://a/b", query, 3, &parts));
    assert(strcmp(parts.path_with_query, "/b?q=gr%C3%B6%C3%9Fe%20%26&empty=") == 0);
    free(parts.authority);
    free(parts.path_with_query);
    assert(!hf_split_url("http://a/b?c=d", query + 1, 2, &parts));
    assert(strcmp(parts.path_with_query, "/b?c=d&empty=") == 0);
    free(parts.authority);
    free(parts.path_with_query);
}

static void what_is_no_utf8_is_replaced(void) {
    const char *const good[] = {"", "größe 日本 🦀", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert(hf_utf8(good[i]) == good[i]);
    assert(strcmp(hf_utf8("a\xff"
                          "b"),
                  "a\xef\xbf\xbd"
                  "b") == 0);
    assert(strcmp(hf_utf8("cut \xe6\x97"), "cut \xef\xbf\xbd\xef\xbf\xbd") == 0);
    const char *const bad[] = {"\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert(strncmp(hf_utf8(bad[i]), "\xef\xbf\xbd", 3) == 0);
}

static const handoff_test_options no_options;
static const handoff_suite_options suite_options = {.name = "s"};

static void nothing(void) {}
static void nothing_with_row(const void *row) { (void)row; }

static void makes_two(void) {
    handoff_add_test(nothing_with_row, NULL, .name = "z");
    handoff_add_test(nothing_with_row, NULL, .name = "x");
}

static void empty_registry(void) {
    free(hf_program.suites.items);
    free(hf_program.setups.items);
    free(hf_program.teardowns.items);
    free(hf_program.sources.items);
    free(hf_program.tests.items);
    memset(&hf_program, 0, sizeof hf_program);
}

static void tests_are_ordered_by_where_they_stand(void) {
    handoff_add_suite(&suite_options, "a.c", 1);
    handoff_add_function(nothing, "c", &no_options, "b.c", 1);
    handoff_add_function(nothing, "a", &no_options, "a.c", 30);
    handoff_add_function(nothing, "b", &no_options, "a.c", 9);
    handoff_add_source(makes_two, "a.c", 10);
    hf_make_tests(&hf_program);
    assert(!hf_check(&hf_program));
    const char *const expected[] = {"b", "z", "x", "a", "c"};
    assert(hf_program.tests.count == 5);
    for (size_t i = 0; i < 5; i++)
        assert(strcmp(hf_program.tests.items[i].name, expected[i]) == 0);
    assert(hf_find(&hf_program, "x")->row_function == nothing_with_row);
    assert(!hf_find(&hf_program, "y"));
    empty_registry();
}

static void refused_for(const char *problem) {
    char *found = hf_check(&hf_program);
    if (!found || !strstr(found, problem)) {
        fprintf(stderr, "expected %s, got %s\n", problem, found ? found : "no problem");
        abort();
    }
    free(found);
}

static void what_is_wrong_with_a_suite_is_said_with_both_places(void) {
    static const handoff_suite_options nameless;
    refused_for("add HANDOFF_SUITE");
    handoff_add_suite(&nameless, "a.c", 1);
    refused_for("the option .name");
    empty_registry();
    handoff_add_suite(&suite_options, "b.c", 2);
    refused_for("no tests");
    handoff_add_function(nothing, "a", &no_options, "b.c", 3);
    handoff_add_function(nothing, "a", &no_options, "a.c", 4);
    refused_for("two tests are called `a`, in a.c:4 and b.c:3");
    handoff_add_teardown(nothing, "b.c", 9);
    handoff_add_teardown(nothing, "b.c", 8);
    refused_for("for teardown, in b.c:8 and b.c:9");
    handoff_add_setup(nothing, "b.c", 7);
    handoff_add_setup(nothing, "b.c", 6);
    refused_for("for setup, in b.c:6 and b.c:7");
    handoff_add_suite(&suite_options, "a.c", 5);
    refused_for("twice, in a.c:5 and b.c:2");
    empty_registry();
}

#define RUN(test) (test(), puts("ok " #test))

int main(void) {
    RUN(numbers_are_compared_by_value);
    RUN(what_is_no_number_equals_nothing);
    RUN(texts_are_compared_by_what_they_say);
    RUN(pointers_are_compared_by_address);
    RUN(operands_are_shown_as_they_would_stand_in_the_source);
    RUN(a_note_stands_beside_the_comparison);
    RUN(urls_are_taken_apart);
    RUN(a_wrong_url_is_refused_with_words);
    RUN(parameters_are_added_to_the_query);
    RUN(what_is_no_utf8_is_replaced);
    RUN(tests_are_ordered_by_where_they_stand);
    RUN(what_is_wrong_with_a_suite_is_said_with_both_places);
    return 0;
}
