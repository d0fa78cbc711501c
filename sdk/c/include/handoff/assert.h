/* How a test ends: assertions, failures, skips, clean-ups, and the parts of a test.
 *
 * A suite has neither longjmp nor unwinding: WebAssembly's exceptions are off in the sandbox. A
 * failed ASSERT therefore ends the attempt where it stands, in a helper as well as in the test: it
 * reports the failure with its place, runs the clean-ups, writes out what was printed, and traps.
 * Nothing of the suite runs after it, destructors of C++ included; what must be undone belongs into
 * handoff_cleanup or HANDOFF_TEARDOWN.
 *
 * EXPECT reports the failure and goes on. The assert of <assert.h> ends the attempt like ASSERT, if
 * it is compiled in (`-UNDEBUG`: some compilers define NDEBUG when they optimise).
 *
 * Each macro is also there with the prefix HANDOFF_. Define HANDOFF_PREFIXED_ONLY before the first
 * #include if the short names are in use for something else.
 */
#ifndef HANDOFF_ASSERT_H
#define HANDOFF_ASSERT_H

#include <handoff.h>

#ifndef HANDOFF_PREFIXED_ONLY
#define ASSERT HANDOFF_ASSERT
#define ASSERT_EQ HANDOFF_ASSERT_EQ
#define ASSERT_NE HANDOFF_ASSERT_NE
#define ASSERT_LT HANDOFF_ASSERT_LT
#define ASSERT_LE HANDOFF_ASSERT_LE
#define ASSERT_GT HANDOFF_ASSERT_GT
#define ASSERT_GE HANDOFF_ASSERT_GE
#define ASSERT_STR_EQ HANDOFF_ASSERT_STR_EQ
#define ASSERT_STR_CONTAINS HANDOFF_ASSERT_STR_CONTAINS
#define ASSERT_GRANTED HANDOFF_ASSERT_GRANTED
#define ASSERT_STATUS HANDOFF_ASSERT_STATUS
#define EXPECT HANDOFF_EXPECT
#define EXPECT_EQ HANDOFF_EXPECT_EQ
#define EXPECT_NE HANDOFF_EXPECT_NE
#define EXPECT_LT HANDOFF_EXPECT_LT
#define EXPECT_LE HANDOFF_EXPECT_LE
#define EXPECT_GT HANDOFF_EXPECT_GT
#define EXPECT_GE HANDOFF_EXPECT_GE
#define EXPECT_STR_EQ HANDOFF_EXPECT_STR_EQ
#define EXPECT_STR_CONTAINS HANDOFF_EXPECT_STR_CONTAINS
#define FAIL HANDOFF_FAIL
#define REPORT_FAILURE HANDOFF_REPORT_FAILURE
#define SKIP HANDOFF_SKIP
#define RETURN_IF_SKIPPED HANDOFF_RETURN_IF_SKIPPED
#endif

/* Fails the test, with a message as by printf. */
#define HANDOFF_FAIL(...) handoff_fail(__FILE__, __LINE__, __VA_ARGS__)

/* Reports a failure and goes on. The attempt then counts as failed whatever comes after; inside a
 * part it is the part that failed, and the test goes on unharmed. */
#define HANDOFF_REPORT_FAILURE(...) handoff_report_failure(__FILE__, __LINE__, __VA_ARGS__)

/* ASSERT(condition) or ASSERT(condition, "format", …): the condition holds. */
#define HANDOFF_ASSERT(condition, ...)                                                             \
    HANDOFF_CHECK_(HANDOFF_END_, condition, #condition, __VA_ARGS__)
#define HANDOFF_EXPECT(condition, ...)                                                             \
    HANDOFF_CHECK_(HANDOFF_GO_ON_, condition, #condition, __VA_ARGS__)

/* ASSERT_EQ(left, right) or ASSERT_EQ(left, right, "format", …), and so on: compares numbers by
 * value whatever their types, texts (char *) by what they say, and other pointers by address; shows
 * both. In C++ also enumerations and everything with c_str(). Each operand is evaluated once. */
#define HANDOFF_ASSERT_EQ(left, right, ...)                                                        \
    HANDOFF_COMPARE_(HANDOFF_END_, left, #left, HANDOFF_EQ, right, #right, __VA_ARGS__)
#define HANDOFF_ASSERT_NE(left, right, ...)                                                        \
    HANDOFF_COMPARE_(HANDOFF_END_, left, #left, HANDOFF_NE, right, #right, __VA_ARGS__)
#define HANDOFF_ASSERT_LT(left, right, ...)                                                        \
    HANDOFF_COMPARE_(HANDOFF_END_, left, #left, HANDOFF_LT, right, #right, __VA_ARGS__)
#define HANDOFF_ASSERT_LE(left, right, ...)                                                        \
    HANDOFF_COMPARE_(HANDOFF_END_, left, #left, HANDOFF_LE, right, #right, __VA_ARGS__)
#define HANDOFF_ASSERT_GT(left, right, ...)                                                        \
    HANDOFF_COMPARE_(HANDOFF_END_, left, #left, HANDOFF_GT, right, #right, __VA_ARGS__)
#define HANDOFF_ASSERT_GE(left, right, ...)                                                        \
    HANDOFF_COMPARE_(HANDOFF_END_, left, #left, HANDOFF_GE, right, #right, __VA_ARGS__)
#define HANDOFF_EXPECT_EQ(left, right, ...)                                                        \
    HANDOFF_COMPARE_(HANDOFF_GO_ON_, left, #left, HANDOFF_EQ, right, #right, __VA_ARGS__)
#define HANDOFF_EXPECT_NE(left, right, ...)                                                        \
    HANDOFF_COMPARE_(HANDOFF_GO_ON_, left, #left, HANDOFF_NE, right, #right, __VA_ARGS__)
#define HANDOFF_EXPECT_LT(left, right, ...)                                                        \
    HANDOFF_COMPARE_(HANDOFF_GO_ON_, left, #left, HANDOFF_LT, right, #right, __VA_ARGS__)
#define HANDOFF_EXPECT_LE(left, right, ...)                                                        \
    HANDOFF_COMPARE_(HANDOFF_GO_ON_, left, #left, HANDOFF_LE, right, #right, __VA_ARGS__)
#define HANDOFF_EXPECT_GT(left, right, ...)                                                        \
    HANDOFF_COMPARE_(HANDOFF_GO_ON_, left, #left, HANDOFF_GT, right, #right, __VA_ARGS__)
#define HANDOFF_EXPECT_GE(left, right, ...)                                                        \
    HANDOFF_COMPARE_(HANDOFF_GO_ON_, left, #left, HANDOFF_GE, right, #right, __VA_ARGS__)

/* The same for texts alone: what is no text does not compile. */
#define HANDOFF_ASSERT_STR_EQ(left, right, ...)                                                    \
    HANDOFF_COMPARE_TEXTS_(HANDOFF_END_, left, #left, HANDOFF_EQ, right, #right, __VA_ARGS__)
#define HANDOFF_EXPECT_STR_EQ(left, right, ...)                                                    \
    HANDOFF_COMPARE_TEXTS_(HANDOFF_GO_ON_, left, #left, HANDOFF_EQ, right, #right, __VA_ARGS__)

/* The text on the right occurs in that on the left. */
#define HANDOFF_ASSERT_STR_CONTAINS(left, right, ...)                                              \
    HANDOFF_COMPARE_TEXTS_(HANDOFF_END_, left, #left, HANDOFF_CONTAINS, right, #right, __VA_ARGS__)
#define HANDOFF_EXPECT_STR_CONTAINS(left, right, ...)                                              \
    HANDOFF_COMPARE_TEXTS_(HANDOFF_GO_ON_, left, #left, HANDOFF_CONTAINS, right, #right,           \
                           __VA_ARGS__)

/* ASSERT_GRANTED(handoff_set("name", "value")): the server did not refuse it. The message shows the
 * rule and what to do. */
#define HANDOFF_ASSERT_GRANTED(call)                                                               \
    ((call) ? (void)0 : handoff_fail_refused(__FILE__, __LINE__, #call))

/* ASSERT_STATUS(response, 200): there is an answer, and it has this status. The message shows what
 * was asked, and how the body begins. */
#define HANDOFF_ASSERT_STATUS(response, expected)                                                  \
    handoff_http_expect((response), (expected), __FILE__, __LINE__)

/* SKIP("format", …): the test is not applicable here. Returns from the function that it is in,
 * which must return nothing; elsewhere call handoff_skip and return. */
#define HANDOFF_SKIP(...)                                                                          \
    do {                                                                                           \
        handoff_skip(__VA_ARGS__);                                                                 \
        return;                                                                                    \
    } while (0)

/* Passes on the skip of a helper: RETURN_IF_SKIPPED(log_in(&session)); */
#define HANDOFF_RETURN_IF_SKIPPED(call)                                                            \
    do {                                                                                           \
        (void)(call);                                                                              \
        if (handoff_skipped())                                                                     \
            return;                                                                                \
    } while (0)

#ifdef __cplusplus
extern "C" {
#endif

/* What the macros above call, with the place of the call. */
__attribute__((noreturn)) void handoff_fail(const char *file, uint32_t line, const char *format,
                                            ...) HANDOFF_PRINTF_(3, 4);
__attribute__((noreturn)) void handoff_fail_refused(const char *file, uint32_t line,
                                                    const char *call);
void handoff_report_failure(const char *file, uint32_t line, const char *format, ...)
    HANDOFF_PRINTF_(3, 4);

/* What the C library's assert calls when it fails, in files that include this one: its own function
 * would leave the message on stderr and skip the clean-ups. Not a definition of the library's name,
 * which some linkers find twice. */
#ifdef __wasm__
#define __assert_fail handoff_assert_fail
#endif
__attribute__((noreturn)) void handoff_assert_fail(const char *expression, const char *file,
                                                   int line, const char *function);

/* Says that the test, or the part that is running, is not applicable, for a reason as by printf.
 * Does not return from anything: do that at once. */
void handoff_skip(const char *reason, ...) HANDOFF_PRINTF_(1, 2);

/* Whether the test, or the part that is running, was skipped. */
bool handoff_skipped(void);

/* Calls `function` with `argument` when the test ends: when it returns, after a failed assertion,
 * and when it skips. The last one registered runs first. Traps, exit, abort, time-outs and limits
 * end the attempt without; for what must be undone even then there is HANDOFF_TEARDOWN. */
void handoff_cleanup(void (*function)(void *argument), void *argument);

/* Runs a named part of the test, such as a row of a table, and reports how it ended and how long it
 * took. Gives whether it did not fail.
 *
 * Inside, SKIP skips the part, EXPECT and REPORT_FAILURE fail the part and not the test: assert
 * over all parts if the test shall fail with them. ASSERT fails the part and ends the test. */
#define handoff_part(name, function, argument)                                                     \
    handoff_part_at((name), (function), (argument), __FILE__, __LINE__)
bool handoff_part_at(const char *name, void (*function)(void *argument), void *argument,
                     const char *file, uint32_t line);

/* What an operand of a comparison is. */
typedef enum handoff_kind {
    HANDOFF_SIGNED,
    HANDOFF_UNSIGNED,
    HANDOFF_FLOATING,
    HANDOFF_BOOLEAN,
    HANDOFF_CHARACTER,
    HANDOFF_TEXT,
    HANDOFF_POINTER
} handoff_kind;

/* An operand of a comparison. */
typedef struct handoff_operand {
    handoff_kind kind;
    union {
        long long number;
        unsigned long long natural;
        double floating;
        const char *text;
        const volatile void *pointer;
    } as;
} handoff_operand;

/* How two operands are compared. */
typedef enum handoff_relation {
    HANDOFF_EQ,
    HANDOFF_NE,
    HANDOFF_LT,
    HANDOFF_LE,
    HANDOFF_GT,
    HANDOFF_GE,
    HANDOFF_CONTAINS
} handoff_relation;

handoff_operand handoff_signed(long long value);
handoff_operand handoff_unsigned(unsigned long long value);
handoff_operand handoff_floating(double value);
handoff_operand handoff_boolean(bool value);
handoff_operand handoff_character(char value);
handoff_operand handoff_text(const char *value);
handoff_operand handoff_pointer(const volatile void *value);

/* Whether the relation holds. NULL equals NULL alone. */
bool handoff_holds(handoff_operand left, handoff_relation relation, handoff_operand right);

/* The message of a comparison that does not hold; `left` and `right` are how they stand in the
 * source, `note` is the author's own message from malloc, or NULL. The caller's, from malloc. */
char *handoff_explain(const char *left, handoff_relation relation, const char *right,
                      handoff_operand left_value, handoff_operand right_value, char *note);

#ifdef __cplusplus
}

#include <type_traits>

namespace handoff {

template <class T> handoff_operand operand(const T &value) {
    using V = std::decay_t<T>;
    if constexpr (std::is_enum_v<V>) {
        return operand(static_cast<std::underlying_type_t<V>>(value));
    } else if constexpr (std::is_same_v<V, bool>) {
        return handoff_boolean(value);
    } else if constexpr (std::is_same_v<V, char>) {
        return handoff_character(value);
    } else if constexpr (std::is_floating_point_v<V>) {
        return handoff_floating(static_cast<double>(value));
    } else if constexpr (std::is_integral_v<V> && std::is_signed_v<V>) {
        return handoff_signed(value);
    } else if constexpr (std::is_integral_v<V>) {
        return handoff_unsigned(value);
    } else if constexpr (std::is_convertible_v<const T &, const char *>) {
        return handoff_text(value);
    } else if constexpr (std::is_convertible_v<const T &, const volatile void *>) {
        return handoff_pointer(value);
    } else {
        return handoff_text(value.c_str());
    }
}

template <class T> handoff_operand text(const T &value) {
    if constexpr (std::is_convertible_v<const T &, const char *>) {
        return handoff_text(value);
    } else {
        return handoff_text(value.c_str());
    }
}

} // namespace handoff

#define HANDOFF_OPERAND_(name, expression)                                                         \
    auto &&name##value_ = (expression);                                                            \
    const handoff_operand name = handoff::operand(name##value_)
#define HANDOFF_OPERAND_TEXT_(name, expression)                                                    \
    auto &&name##value_ = (expression);                                                            \
    const handoff_operand name = handoff::text(name##value_)
#else
#define HANDOFF_OPERAND_(name, expression)                                                         \
    const handoff_operand name = _Generic((expression),                                            \
        bool: handoff_boolean,                                                                     \
        char: handoff_character,                                                                   \
        signed char: handoff_signed,                                                               \
        short: handoff_signed,                                                                     \
        int: handoff_signed,                                                                       \
        long: handoff_signed,                                                                      \
        long long: handoff_signed,                                                                 \
        unsigned char: handoff_unsigned,                                                           \
        unsigned short: handoff_unsigned,                                                          \
        unsigned int: handoff_unsigned,                                                            \
        unsigned long: handoff_unsigned,                                                           \
        unsigned long long: handoff_unsigned,                                                      \
        float: handoff_floating,                                                                   \
        double: handoff_floating,                                                                  \
        long double: handoff_floating,                                                             \
        char *: handoff_text,                                                                      \
        const char *: handoff_text,                                                                \
        default: handoff_pointer)(expression)
#define HANDOFF_OPERAND_TEXT_(name, expression)                                                    \
    const handoff_operand name = handoff_text(expression)
#endif

#define HANDOFF_END_(...) handoff_fail(__FILE__, __LINE__, __VA_ARGS__)
#define HANDOFF_GO_ON_(...) handoff_report_failure(__FILE__, __LINE__, __VA_ARGS__)

/* The author's message, or NULL. */
#define HANDOFF_NOTE_(...) HANDOFF_FIRST_(__VA_OPT__(handoff_format(__VA_ARGS__), )(char *) NULL, 0)
#define HANDOFF_FIRST_(first, ...) first

#define HANDOFF_CHECK_(ending, condition, condition_text, ...)                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ending(HANDOFF_FIRST_(__VA_OPT__("%s", ) "assertion failed: %s", 0),                   \
                   HANDOFF_FIRST_(__VA_OPT__(handoff_format(__VA_ARGS__), ) condition_text, 0));   \
    } while (0)

#define HANDOFF_COMPARE_(...) HANDOFF_COMPARE_AS_(HANDOFF_OPERAND_, __VA_ARGS__)
#define HANDOFF_COMPARE_TEXTS_(...) HANDOFF_COMPARE_AS_(HANDOFF_OPERAND_TEXT_, __VA_ARGS__)
#define HANDOFF_COMPARE_AS_(operand, ending, left, left_text, relation, right, right_text, ...)    \
    do {                                                                                           \
        operand(handoff_left_, left);                                                              \
        operand(handoff_right_, right);                                                            \
        if (!handoff_holds(handoff_left_, relation, handoff_right_))                               \
            ending("%s", handoff_explain(left_text, relation, right_text, handoff_left_,           \
                                         handoff_right_, HANDOFF_NOTE_(__VA_ARGS__)));             \
    } while (0)

#endif
