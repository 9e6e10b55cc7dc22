/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a batch of decisions.  The first byte of the input says whether the
 * checksum, and each leaf's commitment to its input, are put right first, so that
 * mutations reach what lies behind them.
 *
 * Accepted leaves are the file's, one behind the other up to its checksum, are
 * written again as the same bytes, count on from the first, and commit to their
 * inputs.  Asked for another batch, the same file is refused. */
#include <assert.h>
#include <stdlib.h>

#include "node/decide.h"
#include "port/sim.h"

#define INPUT_MAX (1u << 16)
#define COUNT_MAX 4096u
#define FIX_SUM 1u
#define FIX_INPUTS 2u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static vch_ledger_t ledger = {.dir = "l"};

typedef struct {
    vch_id_t deployment;
    uint64_t first;
    uint32_t count;
} head_t;

/* ---- putting right ------------------------------------------------------------------- */

/* What lies in front of *at's end: u32 length and bytes; false: it doesn't fit. */
static bool sized(vch_slice_t file, size_t *at, vch_slice_t *ret)
{
    size_t end = file.n - 4;
    if (end - *at < 4) return false;
    size_t n = vch_get_u32(file.p + *at);
    if (n > end - *at - 4) return false;
    *ret = vch_slice(file.p + *at + 4, n);
    *at += 4 + n;
    return true;
}

static void fix_input(uint8_t *leaf, size_t n, vch_slice_t input)
{
    vch_decision_t d;
    vch_hash_t commitment;
    if (vch_decision_get(&d, vch_slice(leaf, n)) != VCH_OK) return;
    uint8_t *at = memmem(leaf, n, d.input.b, 32);
    dcb_commit_input(&commitment, d.salt, input);
    if (at) memcpy(at, commitment.b, 32);
}

static void fix(uint8_t *p, size_t n, uint8_t how)
{
    vch_slice_t leaf, input;
    if (n < DCB_HEAD + 4) return;
    for (size_t at = DCB_HEAD; how & FIX_INPUTS;) {
        if (!sized(vch_slice(p, n), &at, &leaf) || !sized(vch_slice(p, n), &at, &input)) break;
        fix_input(p + (leaf.p - p), leaf.n, input);
    }
    if (how & FIX_SUM) vch_put_u32(p + n - 4, vch_crc32c(0, p, n - 4));
}

/* ---- what is loaded -------------------------------------------------------------------- */

static void check_leaf(vch_slice_t leaf, vch_slice_t input, uint64_t sequence)
{
    vch_decision_t d;
    vch_hash_t commitment;
    vch_buf_t again;
    vch_buf_init(&again, INPUT_MAX);
    vch_rc rc = vch_decision_get(&d, leaf);
    if (rc == VCH_OK) rc = vch_decision_put(&again, &d);
    assert(rc == VCH_OK && vch_slice_eq(vch_buf_slice(&again), leaf) && d.sequence == sequence);
    dcb_commit_input(&commitment, d.salt, input);
    assert(vch_hash_eq(&commitment, &d.input));
    vch_buf_free(&again);
}

static void check_leaves(vch_slice_t file, const head_t *h, const vch_slice_t *leaf)
{
    size_t at = DCB_HEAD;
    vch_slice_t bytes, input;
    for (uint32_t i = 0; i < h->count; i++) {
        bool there = sized(file, &at, &bytes) && sized(file, &at, &input);
        assert(there && vch_slice_eq(bytes, leaf[i]));
        check_leaf(leaf[i], input, h->first + i);
    }
    assert(at == file.n - 4 && vch_get_u32(file.p + at) == vch_crc32c(0, file.p, at));
    assert(memcmp(file.p, DCB_MAGIC, 8) == 0 && vch_get_u32(file.p + 48) == h->count);
}

static vch_rc load(const head_t *h, uint64_t count, vch_slice_t file)
{
    static vch_slice_t leaf[COUNT_MAX + 1];
    vch_err_t err = {.rc = VCH_OK};
    vch_arena_t arena;
    vch_arena_init(&arena, 4 * INPUT_MAX);
    vch_rc rc = vch_decisions_load(&ledger, &h->deployment, h->first, count, &arena, leaf, &err);
    assert(rc == VCH_OK || (rc == VCH_ERR_CORRUPT && err.text[0]));
    if (rc == VCH_OK && count == h->count) check_leaves(file, h, leaf);
    vch_arena_free(&arena);
    return rc;
}

static void put_file(const head_t *h, vch_slice_t file)
{
    char path[VCH_PATH_MAX], dir[VCH_PATH_MAX], hex[65];
    vch_hex(hex, h->deployment.b, 32);
    vch_rc rc = dcb_path(&ledger, path, &h->deployment, h->first);
    if (rc == VCH_OK) rc = vch_path(dir, "l/decisions/%s", hex);
    if (rc == VCH_OK) rc = vch_mkdirs(ledger.port, dir, NULL);
    if (rc == VCH_OK) rc = vch_write_atomic(ledger.port, path, file, 0600, NULL);
    assert(rc == VCH_OK);
}

/* It is asked for as its head says, and as another. */
static void use(vch_slice_t file)
{
    head_t h = {.count = 1};
    if (file.n >= DCB_HEAD) {
        memcpy(h.deployment.b, file.p + 8, 32);
        h.first = vch_get_u64(file.p + 40);
        h.count = vch_get_u32(file.p + 48);
    }
    if (h.count > COUNT_MAX) return;
    put_file(&h, file);
    (void)load(&h, h.count, file);
    assert(load(&h, h.count + 1, file) == VCH_ERR_CORRUPT);
    h.deployment.b[0] ^= 1;
    put_file(&h, file);
    assert(load(&h, h.count, file) == VCH_ERR_CORRUPT);
    h.deployment.b[0] ^= 1;
    h.first ^= 1;
    put_file(&h, file);
    assert(load(&h, h.count, file) == VCH_ERR_CORRUPT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_sim_t *sim = NULL;
    if (n < 1 || n > INPUT_MAX || vch_sim_new(&sim, 1) != VCH_OK) return 0;
    uint8_t *copy = malloc(n);
    if (copy) {
        memcpy(copy, data + 1, n - 1);
        fix(copy, n - 1, data[0]);
        ledger.port = vch_sim_port(sim);
        use(vch_slice(copy, n - 1));
    }
    free(copy);
    vch_sim_free(sim);
    return 0;
}
