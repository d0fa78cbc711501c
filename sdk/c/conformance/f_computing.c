/* Work for the processor: what it costs to meter it is measured with these. */
#include <handoff.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBERS = 20000, BOOKS = 2000 };

static int rounds(void) {
    char *text = handoff_param("rounds");
    return text ? atoi(text) : 1;
}

static void shell_sort(int *numbers, size_t count) {
    for (size_t gap = count / 2; gap > 0; gap /= 2) {
        for (size_t at = gap; at < count; at++) {
            int number = numbers[at];
            size_t to = at;
            for (; to >= gap && numbers[to - gap] > number; to -= gap)
                numbers[to] = numbers[to - gap];
            numbers[to] = number;
        }
    }
}

HANDOFF_TEST(sorts) {
    static int numbers[NUMBERS];
    for (int round = rounds(); round > 0; round--) {
        long long x = 1;
        for (int i = 0; i < NUMBERS; i++, x = x * 16807 % 2147483647)
            numbers[i] = (int)x;
        shell_sort(numbers, NUMBERS);
        for (int i = 1; i < NUMBERS; i++)
            ASSERT_LE(numbers[i - 1], numbers[i]);
    }
}

static void write_books(char *out) {
    *out++ = '[';
    for (int i = 0; i < BOOKS; i++) {
        out += sprintf(out,
                       "%s{\"id\":%d,\"name\":\"book %d\",\"price\":%.2f,\"sold\":%s,"
                       "\"tags\":[\"a\",\"b\"]}",
                       i ? "," : "", i, i, i / 4.0, i % 2 ? "true" : "false");
    }
    *out++ = ']';
    *out = 0;
}

/* By hand: strspn and strtod of a C library may read a text to its end, each time. */
static const char *past(const char *in, const char *these) {
    while (*in && strchr(these, *in))
        in++;
    return in;
}

static const char *past_space(const char *in) { return past(in, " \t\r\n"); }

/* Behind the string that begins here, or NULL. */
static const char *past_string(const char *in) {
    for (in++; *in && *in != '"'; in++) {
        if (*in == '\\' && in[1])
            in++;
    }
    return *in ? in + 1 : NULL;
}

/* Behind the value that begins here, or NULL. Adds up the numbers in it whose key this is. */
static const char *read_value(const char *in, const char *key, bool counts, long *sum) {
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        if (strncmp(in, words[i], strlen(words[i])) == 0)
            return in + strlen(words[i]);
    }
    if (*in == '"')
        return past_string(in);
    if (*in != '[' && *in != '{') {
        char number[32] = "";
        size_t length = (size_t)(past(in, "+-.0123456789Ee") - in);
        if (length == 0 || length >= sizeof number)
            return NULL;
        memcpy(number, in, length);
        *sum += counts ? (long)strtod(number, NULL) : 0;
        return in + length;
    }
    char close = *in == '{' ? '}' : ']';
    for (in = past_space(in + 1); *in != close; in = past_space(*in == ',' ? in + 1 : in)) {
        bool is_key = false;
        if (close == '}') {
            const char *name = in + 1;
            if (*in != '"' || !(in = past_string(in)))
                return NULL;
            size_t length = (size_t)(in - 1 - name);
            is_key = length == strlen(key) && strncmp(name, key, length) == 0;
            in = past_space(in);
            if (*in++ != ':')
                return NULL;
        }
        in = read_value(past_space(in), key, is_key, sum);
        if (!in)
            return NULL;
        in = past_space(in);
    }
    return in + 1;
}

HANDOFF_TEST(writes_and_reads_json) {
    char *json = malloc(BOOKS * 128);
    for (int round = rounds(); round > 0; round--) {
        write_books(json);
        long sum = 0;
        const char *end = read_value(json, "id", false, &sum);
        ASSERT(end && *end == 0, "it is not read to its end");
        ASSERT_EQ(sum, 1999000);
    }
}
