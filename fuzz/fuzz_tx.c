/* SPDX-License-Identifier: Apache-2.0 */
/* A transaction as it comes from outside: what is read is written back the
 * same, and what is prepared holds exactly the statements that its entry
 * commits to. */
#include <assert.h>

#include "state/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_same(const vch_tx_t *tx, vch_slice_t bytes)
{
    vch_buf_t out;
    vch_buf_init(&out, bytes.n + 64);
    vch_rc rc = vch_tx_put(&out, tx);
    assert(rc == VCH_OK && vch_slice_eq(vch_buf_slice(&out), bytes));
    vch_buf_free(&out);
}

static void check_prepared(const vch_prepared_t *p, vch_arena_t *arena)
{
    vch_hash_t root;
    vch_rc rc = vch_statements_root(&root, p->tx.statements, p->tx.count, arena);
    assert(rc == VCH_OK && vch_hash_eq(&root, &p->entry.root));
    assert(!p->verified && p->entry.count == p->tx.count);
    for (uint32_t i = 0; i < p->tx.count; i++) {
        assert(p->statement[i].kind == p->entry.kind);
        assert(vch_slice_eq(p->statement[i].bytes, p->tx.statements[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_arena_t arena;
    vch_tx_t tx;
    vch_prepared_t p;
    vch_err_t err = {0};
    vch_arena_init(&arena, 16u << 20);
    vch_rc rc = vch_tx_get(&tx, vch_slice(data, n), &arena, &err);
    if (rc == VCH_OK) {
        check_same(&tx, vch_slice(data, n));
        rc = vch_tx_prepare(&p, &tx, &arena, &err);
        if (rc == VCH_OK) check_prepared(&p, &arena);
    }
    assert((rc == VCH_OK) == (err.text[0] == 0) && !strchr(err.text, '\n'));
    vch_arena_free(&arena);
    return 0;
}
