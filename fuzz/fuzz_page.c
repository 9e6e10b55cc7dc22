/* SPDX-License-Identifier: Apache-2.0 */
/* A page of the state tree: 32 bytes of a path, one byte that says how deep the
 * page stands, the page.  Reading it ends in a result; and a tree made of the
 * same bytes as leaves says what was put into it. */
#include <assert.h>

#include "merkle/smt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define PAGES 64

typedef struct {
    vch_smt_page_id_t id;
    uint8_t bytes[8192];
    size_t n;
} kept_t;

typedef struct {
    vch_slice_t page;
    unsigned depth;
    kept_t kept[PAGES];
    size_t keeps;
} store_t;

static vch_rc load(void *ctx, const vch_smt_page_id_t *id, vch_slice_t *ret)
{
    store_t *s = ctx;
    *ret = vch_slice(NULL, 0);
    for (size_t i = s->keeps; i-- > 0;)
        if (memcmp(&s->kept[i].id, id, sizeof *id) == 0) {
            *ret = vch_slice(s->kept[i].bytes, s->kept[i].n);
            return VCH_OK;
        }
    if (id->depth <= s->depth) *ret = s->page;
    return VCH_OK;
}

static vch_rc save(void *ctx, const vch_smt_page_id_t *id, vch_slice_t page)
{
    store_t *s = ctx;
    if (s->keeps == PAGES) return VCH_ERR_LIMIT;
    kept_t *k = &s->kept[s->keeps++];
    assert(page.n <= sizeof k->bytes);
    k->id = *id;
    memcpy(k->bytes, page.p, page.n);
    k->n = page.n;
    return VCH_OK;
}

static void look(store_t *s, const vch_hash_t *path)
{
    static vch_smt_proof_t proof;
    vch_hash_t root = {{1}};
    vch_smt_leaf_t leaf = {.path = *path, .value_hash = {{2}}};
    const vch_smt_io_t io = {s, load, save, NULL, NULL};
    vch_rc rc = vch_smt_check(&io, &root, &leaf, 1, NULL);
    assert(rc == VCH_OK || rc == VCH_ERR_COMMITMENT || rc == VCH_ERR_CORRUPT);
    rc = vch_smt_prove(&io, &root, path, &proof);
    assert(rc == VCH_ERR_CORRUPT || rc == VCH_ERR_NOT_FOUND || rc == VCH_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static store_t s;
    vch_hash_t path;
    if (n < 33) return 0;
    memcpy(path.b, data, 32);
    s = (store_t){.page = vch_slice(data + 33, n - 33), .depth = data[32]};
    look(&s, &path);
    vch_arena_t scratch;
    vch_hash_t root = {{0}};
    vch_smt_leaf_t leaf[8];
    size_t leaves = vch_min((n - 33) / sizeof *leaf, 8);
    if (leaves == 0) return 0;
    memcpy(leaf, data + 33, leaves * sizeof *leaf);
    s.page = vch_slice(NULL, 0);
    s.keeps = 0;
    vch_arena_init(&scratch, 2 * VCH_SMT_SCRATCH_MAX);
    const vch_smt_io_t io = {&s, load, save, NULL, NULL};
    if (vch_smt_update(&io, &root, leaf, leaves, &scratch) == VCH_OK)
        assert(vch_smt_check(&io, &root, leaf, leaves, &scratch) == VCH_OK);
    vch_arena_free(&scratch);
    return 0;
}
