/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the log share: records made from their index, so that
 * any entry can be recomputed, and checkpoints with the right root. */
#ifndef VCH_TEST_LOG_HELP_H
#define VCH_TEST_LOG_HELP_H

#include <stdio.h>

#include "log/log.h"
#include "merkle/tree.h"

#define HELP_ENTRY_MAX 700

static inline vch_hash_t help_network(void)
{
    vch_hash_t h;
    memset(h.b, 0x5a, sizeof h.b);
    return h;
}

/* Entry i: its number, then bytes and a length that follow from it. */
static inline size_t help_entry(uint8_t out[HELP_ENTRY_MAX], uint64_t i)
{
    size_t n = 9 + (size_t)(i * 37 % 311) + (i % 17 == 3 ? 300 : 0);
    uint64_t x = i * 0x9e3779b97f4a7c15u + 1;
    for (size_t k = 0; k < n; k++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out[k] = (uint8_t)x;
    }
    vch_put_u64(out, i);
    return n;
}

static inline vch_hash_t help_leaf(uint64_t i)
{
    uint8_t bytes[HELP_ENTRY_MAX];
    vch_hash_t h;
    size_t n = help_entry(bytes, i);
    vch_tree_leaf(&h, vch_slice(bytes, n));
    return h;
}

/* The tree hash by its definition, apart from the code under test. */
static inline vch_hash_t help_root(uint64_t size)
{
    vch_hash_t *leaves = malloc((size + 1) * sizeof *leaves), root;
    for (uint64_t i = 0; i < size; i++) leaves[i] = help_leaf(i);
    if (size)
        vch_tree_root_in_place(&root, leaves, size);
    else
        vch_tree_empty(&root);
    free(leaves);
    return root;
}

/* Without the counted memory, which tests refuse. */
static inline void help_base64(char out[45], const vch_hash_t *h)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t b[33] = {0};
    memcpy(b, h->b, 32);
    for (size_t i = 0; i < 11; i++) {
        uint32_t three = (uint32_t)b[3 * i] << 16 | (uint32_t)b[3 * i + 1] << 8 | b[3 * i + 2];
        for (size_t k = 0; k < 4; k++) out[4 * i + k] = digits[three >> (18 - 6 * k) & 63];
    }
    out[43] = '=';
    out[44] = 0;
}

static inline size_t help_note(char *out, size_t out_n, uint64_t size, const vch_hash_t *root, const char *tail)
{
    char text[45];
    help_base64(text, root);
    return (size_t)snprintf(out, out_n, "example.org/test\n%llu\n%s\n\n\xe2\x80\x94 example.org/test %s\n",
                            (unsigned long long)size, text, tail);
}

/* The same, cosigned by `others` witnesses, each with the tail as its signature. */
static inline size_t help_cosigned(char *out, size_t out_n, uint64_t size, const vch_hash_t *root, unsigned others,
                                   const char *tail)
{
    size_t n = help_note(out, out_n, size, root, "c2lnbmF0dXJl");
    for (unsigned i = 0; i < others; i++)
        n += (size_t)snprintf(out + n, out_n - n, "\xe2\x80\x94 w%u.example %s\n", i, tail);
    return n;
}

/* Entry i has i % 3 statements; with an erased one when i % 7 = 5. */
typedef struct {
    uint8_t entry[HELP_ENTRY_MAX], statement[2][64];
    vch_slice_t slices[2];
    bool erased[2];
} help_record_t;

static inline vch_record_t help_record(help_record_t *m, uint64_t i)
{
    vch_record_t r = {.entry = vch_slice(m->entry, help_entry(m->entry, i)), .count = (uint32_t)(i % 3)};
    for (uint32_t k = 0; k < r.count; k++) {
        memset(m->statement[k], (int)(i + k), sizeof m->statement[k]);
        m->erased[k] = i % 7 == 5 && k == 0;
        m->slices[k] = vch_slice(m->statement[k], m->erased[k] ? 32 : i % 64);
    }
    r.statements = m->slices;
    r.erased = i % 7 == 5 && r.count ? m->erased : NULL;
    return r;
}

static inline bool help_same(const vch_log_entry_t *e, uint64_t i)
{
    help_record_t m;
    vch_record_t want = help_record(&m, i);
    if (e->index != i || !vch_slice_eq(e->record.entry, want.entry) || e->record.count != want.count) return false;
    for (uint32_t k = 0; k < want.count; k++) {
        bool erased = e->record.erased && e->record.erased[k];
        if (!vch_slice_eq(e->record.statements[k], want.statements[k])) return false;
        if (erased != (want.erased && want.erased[k])) return false;
    }
    return true;
}

/* Append entries [size, size + n) as one sync group. */
static inline vch_rc help_append(vch_log_t *log, size_t n, vch_err_t *err)
{
    uint64_t size = vch_log_size(log), first = 0;
    help_record_t *memory = malloc(n * sizeof *memory);
    vch_record_t *records = malloc(n * sizeof *records);
    for (size_t i = 0; i < n; i++) records[i] = help_record(&memory[i], size + i);
    vch_rc rc = vch_log_append(log, size + 1, (vch_time_t){1000 + size}, records, n, &first, err);
    if (rc == VCH_OK && first != size) rc = VCH_ERR_INTERNAL;
    free(records);
    free(memory);
    return rc;
}

static inline vch_rc help_publish(vch_log_t *log, uint64_t size, vch_err_t *err)
{
    vch_hash_t root;
    char note[400];
    VCH_TRY(vch_log_root(log, size, &root, err));
    size_t n = help_note(note, sizeof note, size, &root, "c2lnbmF0dXJl");
    return vch_log_publish(log, size, vch_slice(note, n), err);
}

/* A cosigned checkpoint of the first `size` entries is kept. */
static inline vch_rc help_keep(vch_log_t *log, uint64_t size, unsigned others, const char *tail, vch_err_t *err)
{
    vch_hash_t root;
    char note[1000];
    VCH_TRY(vch_log_root(log, size, &root, err));
    size_t n = help_cosigned(note, sizeof note, size, &root, others, tail);
    return vch_log_keep_cosigned(log, size, vch_slice(note, n), err);
}

static inline vch_rc help_is_same(void *ctx, const vch_log_entry_t *e)
{
    uint64_t *next = ctx;
    return help_same(e, (*next)++) ? VCH_OK : VCH_ERR_CORRUPT;
}

#endif
