/* SPDX-License-Identifier: Apache-2.0 */
/* What a witness remembers, from an arbitrary file.  The first byte of the input
 * says whether checksums are put right first, so that mutations reach what lies
 * behind them, and whether it is written to, which takes longer.
 *
 * Whatever opens gives the same notes to a reader and a writer, each inside the
 * file; a group written behind it is read back behind them, also after the file
 * was written anew. */
#include <assert.h>
#include <stdlib.h>

#include "crypto/sha256.h"
#include "node/witness_int.h"
#include "port/sim.h"

#define INPUT_MAX (1u << 16)
#define HEAD 20u
#define FIX_HEADER 1u
#define FIX_GROUPS 2u
#define WRITE_ON 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static uint8_t key[32];

static void fix(uint8_t *p, size_t n, uint8_t how)
{
    if (n < WT_SECTOR) return;
    if (how & FIX_HEADER) vch_put_u32(p + WT_SECTOR - 4, vch_crc32c(0, p, WT_SECTOR - 4));
    for (size_t at = WT_SECTOR; (how & FIX_GROUPS) && at < n && n - at >= HEAD; at += WT_SECTOR) {
        size_t length = vch_get_u32(p + at + 12);
        if (memcmp(p + at, "WGRP", 4) != 0 || length > n - at - HEAD) continue;
        vch_put_u32(p + at + 16, vch_crc32c(vch_crc32c(0, p + at + 4, 12), p + at + HEAD, length));
    }
}

/* ---- the notes, as a running hash ------------------------------------------------- */

typedef struct {
    vch_sha256_t hash;
    size_t notes, bytes;
} seen_t;

static vch_rc see(void *ctx, vch_slice_t note, vch_err_t *err)
{
    seen_t *s = ctx;
    uint8_t length[8];
    (void)err;
    vch_put_u64(length, note.n);
    vch_sha256_add(&s->hash, length, sizeof length);
    vch_sha256_add(&s->hash, note.p, note.n);
    s->notes++;
    s->bytes += note.n;
    return VCH_OK;
}

static seen_t begin(void)
{
    seen_t s = {.notes = 0};
    vch_sha256_init(&s.hash);
    return s;
}

static bool same(seen_t a, seen_t b)
{
    vch_hash_t x, y;
    vch_sha256_end(&a.hash, &x);
    vch_sha256_end(&b.hash, &y);
    return vch_hash_eq(&x, &y) && a.notes == b.notes;
}

typedef struct {
    wt_file_t f;
    seen_t seen;
    uint64_t cut, mended;
} opened_t;

static vch_rc open_file(opened_t *ret, vch_port_t *port, bool write)
{
    vch_err_t err = {.rc = VCH_OK};
    *ret = (opened_t){.seen = begin()};
    vch_rc rc = wt_file_open(&ret->f, port, "cosigned", write, key, see, &ret->seen, &ret->cut, &ret->mended, &err);
    assert(rc == VCH_OK || ((rc == VCH_ERR_CORRUPT || rc == VCH_ERR_CONFLICT) && err.text[0]));
    if (rc == VCH_OK) assert(ret->f.end % WT_SECTOR == 0 && ret->f.end >= WT_SECTOR);
    return rc;
}

/* The file holds exactly what `want` has seen. */
static void look_again(vch_port_t *port, const seen_t *want, uint64_t mended)
{
    opened_t o;
    vch_rc rc = open_file(&o, port, false);
    assert(rc == VCH_OK && same(o.seen, *want) && o.cut == 0 && o.mended == mended);
    wt_file_close(&o.f);
}

static void write_on(vch_port_t *port, opened_t *o)
{
    const vch_slice_t notes[2] = {vch_str("a note"), vch_slice(key, 0)};
    seen_t few = begin();
    vch_rc rc = wt_file_append(&o->f, notes, 2, NULL);
    if (rc == VCH_OK) rc = see(&o->seen, notes[0], NULL);
    if (rc == VCH_OK) rc = see(&o->seen, notes[1], NULL);
    assert(rc == VCH_OK);
    look_again(port, &o->seen, o->mended);
    rc = wt_file_rewrite(&o->f, key, notes, 1, NULL);
    if (rc == VCH_OK) rc = see(&few, notes[0], NULL);
    assert(rc == VCH_OK);
    look_again(port, &few, 0);
}

static void use(vch_port_t *port, size_t n, bool on)
{
    opened_t reading, writing;
    vch_rc rc = open_file(&reading, port, false);
    if (rc == VCH_OK) wt_file_close(&reading.f);
    vch_rc again = open_file(&writing, port, true);
    assert(again == rc); /* both open it, or neither */
    if (rc != VCH_OK) return;
    assert(same(reading.seen, writing.seen) && reading.seen.bytes + 4 * reading.seen.notes <= n);
    assert(reading.cut == writing.cut && reading.cut <= n && reading.mended == writing.mended);
    if (on) write_on(port, &writing);
    wt_file_close(&writing.f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_sim_t *sim = NULL;
    if (n < 1 || n > INPUT_MAX || vch_sim_new(&sim, 1) != VCH_OK) return 0;
    vch_port_t *port = vch_sim_port(sim);
    uint8_t *copy = malloc(n);
    memset(key, 5, sizeof key);
    if (copy) {
        memcpy(copy, data + 1, n - 1);
        fix(copy, n - 1, data[0]);
        vch_rc rc = vch_write_atomic(port, "cosigned", vch_slice(copy, n - 1), 0600, NULL);
        assert(rc == VCH_OK);
        use(port, n - 1, data[0] & WRITE_ON);
    }
    free(copy);
    vch_sim_free(sim);
    return 0;
}
