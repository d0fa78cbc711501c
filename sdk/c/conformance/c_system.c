/* The C library in the sandbox. */
#define _GNU_SOURCE
#include <handoff.h>

#include <errno.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

HANDOFF_TEST(reads_the_environment) { ASSERT_STR_EQ(getenv("GREETING"), "from the policy"); }

HANDOFF_TEST(has_clocks_and_random) {
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    clock_gettime(CLOCK_MONOTONIC, &after);
    ASSERT_GE(after.tv_sec * 1000000000LL + after.tv_nsec,
              before.tv_sec * 1000000000LL + before.tv_nsec);
    time_t now = time(NULL);
    ASSERT_GE(gmtime(&now)->tm_year + 1900, 2026);
    unsigned char first[16], second[16];
    ASSERT_EQ(getentropy(first, sizeof first), 0);
    ASSERT_EQ(getentropy(second, sizeof second), 0);
    ASSERT_NE(memcmp(first, second, sizeof first), 0);
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    ASSERT(file, "failed to make %s: %s", path, strerror(errno));
    ASSERT_GE(fputs(text, file), 0);
    ASSERT_EQ(fclose(file), 0);
}

HANDOFF_TEST(has_a_scratch_directory) {
    DIR *directory = opendir("/tmp");
    ASSERT(directory, "failed to open /tmp: %s", strerror(errno));
    for (struct dirent *entry; (entry = readdir(directory));)
        ASSERT(entry->d_name[0] == '.', "/tmp has %s", entry->d_name);
    closedir(directory);
    write_file("/tmp/a.txt", "written");
    char text[16] = {0};
    FILE *file = fopen("/tmp/a.txt", "r");
    ASSERT(file, "failed to open it again: %s", strerror(errno));
    ASSERT(fgets(text, sizeof text, file));
    fclose(file);
    ASSERT_STR_EQ(text, "written");
    ASSERT(!fopen("/elsewhere", "w"));
}

HANDOFF_TEST(sleeps) { ASSERT_EQ(usleep(50000), 0); }
