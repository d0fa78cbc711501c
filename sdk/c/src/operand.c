/* Comparing two operands of an assertion, and showing them. */
#include "text.h"

#include <handoff.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

handoff_operand handoff_signed(long long value) {
    return (handoff_operand){.kind = HANDOFF_SIGNED, .as.number = value};
}

handoff_operand handoff_unsigned(unsigned long long value) {
    return (handoff_operand){.kind = HANDOFF_UNSIGNED, .as.natural = value};
}

handoff_operand handoff_floating(double value) {
    return (handoff_operand){.kind = HANDOFF_FLOATING, .as.floating = value};
}

handoff_operand handoff_boolean(bool value) {
    return (handoff_operand){.kind = HANDOFF_BOOLEAN, .as.number = value};
}

handoff_operand handoff_character(char value) {
    return (handoff_operand){.kind = HANDOFF_CHARACTER, .as.number = value};
}

handoff_operand handoff_text(const char *value) {
    return (handoff_operand){.kind = HANDOFF_TEXT, .as.text = value};
}

handoff_operand handoff_pointer(const volatile void *value) {
    return (handoff_operand){.kind = HANDOFF_POINTER, .as.pointer = value};
}

/* How left stands to right; numbers that are none are unordered. */
typedef enum order { LESS, SAME, MORE, UNORDERED } order;

#define ORDER(left, right) ((left) < (right) ? LESS : (left) == (right) ? SAME : MORE)

static double as_floating(handoff_operand operand) {
    switch (operand.kind) {
    case HANDOFF_FLOATING:
        return operand.as.floating;
    case HANDOFF_UNSIGNED:
        return (double)operand.as.natural;
    default:
        return (double)operand.as.number;
    }
}

static order order_of_numbers(handoff_operand left, handoff_operand right) {
    if (left.kind == HANDOFF_FLOATING || right.kind == HANDOFF_FLOATING) {
        double a = as_floating(left), b = as_floating(right);
        return a != a || b != b ? UNORDERED : ORDER(a, b);
    }
    if (left.kind == HANDOFF_UNSIGNED && right.kind == HANDOFF_UNSIGNED)
        return ORDER(left.as.natural, right.as.natural);
    if (left.kind == HANDOFF_UNSIGNED)
        return right.as.number < 0 ? MORE
                                   : ORDER(left.as.natural, (unsigned long long)right.as.number);
    if (right.kind == HANDOFF_UNSIGNED)
        return left.as.number < 0 ? LESS
                                  : ORDER((unsigned long long)left.as.number, right.as.natural);
    return ORDER(left.as.number, right.as.number);
}

static bool has_address(handoff_operand operand) {
    return operand.kind == HANDOFF_TEXT || operand.kind == HANDOFF_POINTER;
}

static const volatile void *address(handoff_operand operand) {
    return operand.kind == HANDOFF_TEXT ? operand.as.text : operand.as.pointer;
}

static order order_of(handoff_operand left, handoff_operand right) {
    if (has_address(left) != has_address(right))
        return UNORDERED;
    if (!has_address(left))
        return order_of_numbers(left, right);
    bool texts = left.kind == HANDOFF_TEXT && right.kind == HANDOFF_TEXT;
    if (texts && left.as.text && right.as.text) {
        int sign = strcmp(left.as.text, right.as.text);
        return ORDER(sign, 0);
    }
    uintptr_t a = (uintptr_t)address(left), b = (uintptr_t)address(right);
    return ORDER(a, b);
}

bool handoff_holds(handoff_operand left, handoff_relation relation, handoff_operand right) {
    if (relation == HANDOFF_CONTAINS)
        return left.as.text && right.as.text && strstr(left.as.text, right.as.text);
    order found = order_of(left, right);
    switch (relation) {
    case HANDOFF_EQ:
        return found == SAME;
    case HANDOFF_NE:
        return found != SAME;
    case HANDOFF_LT:
        return found == LESS;
    case HANDOFF_LE:
        return found == LESS || found == SAME;
    case HANDOFF_GT:
        return found == MORE;
    default:
        return found == MORE || found == SAME;
    }
}

static const char *symbol(handoff_relation relation) {
    static const char *const symbols[] = {"==", "!=", "<", "<=", ">", ">=", "contains"};
    return symbols[relation];
}

/* A text as it would stand in the source, so that blanks and line breaks are seen. */
static char *quoted(const char *text) {
    hf_buffer shown = {0};
    hf_append(&shown, "\"");
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        char escaped[8];
        if (byte == '"' || byte == '\\')
            snprintf(escaped, sizeof escaped, "\\%c", byte);
        else if (byte == '\n')
            snprintf(escaped, sizeof escaped, "\\n");
        else if (byte == '\r')
            snprintf(escaped, sizeof escaped, "\\r");
        else if (byte == '\t')
            snprintf(escaped, sizeof escaped, "\\t");
        else if (byte < 0x20 || byte == 0x7f)
            snprintf(escaped, sizeof escaped, "\\x%02x", byte);
        else
            snprintf(escaped, sizeof escaped, "%c", byte);
        hf_append(&shown, escaped);
    }
    hf_append(&shown, "\"");
    return shown.bytes;
}

/* The shortest form that reads back as the same number. */
static char *shown_floating(double value) {
    char text[32];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return hf_copy(text);
}

static char *shown(handoff_operand operand) {
    switch (operand.kind) {
    case HANDOFF_SIGNED:
        return handoff_format("%lld", operand.as.number);
    case HANDOFF_UNSIGNED:
        return handoff_format("%llu", operand.as.natural);
    case HANDOFF_FLOATING:
        return shown_floating(operand.as.floating);
    case HANDOFF_BOOLEAN:
        return hf_copy(operand.as.number ? "true" : "false");
    case HANDOFF_CHARACTER:
        if (operand.as.number < 0x20 || operand.as.number > 0x7e)
            return handoff_format("%lld", operand.as.number);
        return handoff_format("'%c' (%lld)", (char)operand.as.number, operand.as.number);
    case HANDOFF_TEXT:
        return operand.as.text ? quoted(operand.as.text) : hf_copy("NULL");
    default:
        return operand.as.pointer ? handoff_format("%p", (void *)(uintptr_t)operand.as.pointer)
                                  : hf_copy("NULL");
    }
}

char *handoff_explain(const char *left, handoff_relation relation, const char *right,
                      handoff_operand left_value, handoff_operand right_value, char *note) {
    char *left_shown = shown(left_value), *right_shown = shown(right_value);
    char *message = handoff_format("assertion failed: %s %s %s%s%s\n  left: %s\n right: %s", left,
                                   symbol(relation), right, note ? ": " : "", note ? note : "",
                                   left_shown, right_shown);
    free(left_shown);
    free(right_shown);
    free(note);
    return message;
}
