/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target without a fuzzer: every file of the folders given, and
 * MUTATIONS changes of each that are the same on every machine. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUTATIONS 2000
#define INPUT_MAX (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static uint64_t random_state;

/* xorshift64: a fixed sequence for each seed. */
static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static size_t below(size_t n) { return n ? (size_t)(random_next() % n) : 0; }

/* In a block of exactly n bytes, so that a sanitizer sees a read past the end. */
static void run(const uint8_t *data, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    memcpy(exact, data, n);
    (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

static size_t flip(uint8_t *d, size_t n)
{
    if (n) d[below(n)] ^= (uint8_t)(1u << below(8));
    return n;
}

static size_t cut(uint8_t *d, size_t n)
{
    if (n == 0) return n;
    size_t from = below(n), len = 1 + below(n - from);
    memmove(d + from, d + from + len, n - from - len);
    return n - len;
}

static size_t insert(uint8_t *d, size_t n)
{
    static const uint8_t telling[] = {0x00, 0x18, 0x1f, 0x5f, 0x7f, 0x80, 0xa1, 0xc3, 0xd2, 0xed, 0xf4,
                                      0xff, '"',  ',',  '\\', '\n', '\r', '{',  '[',  ':',  '0',  'e'};
    if (n == INPUT_MAX) return n;
    size_t at = below(n + 1);
    memmove(d + at + 1, d + at, n - at);
    d[at] = below(2) ? telling[below(sizeof telling)] : (uint8_t)random_next();
    return n + 1;
}

/* A piece of the input again, somewhere else. */
static size_t splice(uint8_t *d, size_t n)
{
    uint8_t piece[64];
    if (n == 0 || n + sizeof piece > INPUT_MAX) return n;
    size_t from = below(n), len = 1 + below(sizeof piece), at = below(n + 1);
    if (len > n - from) len = n - from;
    memcpy(piece, d + from, len);
    memmove(d + at + len, d + at, n - at);
    memcpy(d + at, piece, len);
    return n + len;
}

static void mutate_and_run(const uint8_t *seed, size_t seed_len)
{
    static size_t (*const change[])(uint8_t *, size_t) = {flip, cut, insert, splice};
    static uint8_t d[INPUT_MAX];
    for (unsigned i = 0; i < MUTATIONS; i++) {
        random_state = 0x9e3779b97f4a7c15u * (i + 1); /* odd: never zero */
        size_t n = seed_len;
        memcpy(d, seed, n);
        for (size_t changes = 1 + below(4); changes > 0; changes--) n = change[below(4)](d, n);
        run(d, n);
    }
}

static int replay_file(const char *path)
{
    static uint8_t seed[INPUT_MAX];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    size_t n = fread(seed, 1, sizeof seed, f);
    fclose(f);
    fprintf(stderr, "%s\n", path); /* the last one named is the one that failed */
    run(seed, n);
    mutate_and_run(seed, n);
    return 0;
}

static int not_hidden(const struct dirent *e) { return e->d_name[0] != '.'; }

/* Returns the number of files replayed, or -1. */
static int replay_folder(const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, not_hidden, alphasort), failed = 0;
    if (count < 0) {
        perror(folder);
        return -1;
    }
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        failed |= replay_file(path);
        free(entries[i]);
    }
    free(entries);
    return failed ? -1 : count;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int count = replay_folder(argv[i]);
        if (count < 0) return 1;
        total += count;
    }
    if (total == 0) {
        fputs("no seed files: nothing was tested\n", stderr);
        return 1;
    }
    printf("%d seeds and %d mutations of each\n", total, MUTATIONS);
    return 0;
}
