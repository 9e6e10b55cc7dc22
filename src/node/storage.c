/* SPDX-License-Identifier: Apache-2.0 */
/* What the vault's storage nodes hold, against the ledger, and made good. */
#include "node/node_int.h"
#include "node/vault_int.h"

/* One extent in the vault, as the state has it. */
typedef struct {
    vch_id_t dataset;
    uint32_t number;
    vch_hash_t id;
    vch_holding_t holding; /* borrows nothing that is looked at here */
} held_t;

typedef struct {
    vch_ledger_t *l;
    held_t *one;
    size_t n, cap;
} all_t;

static vch_rc take_held(void *ctx, vch_slice_t key, vch_slice_t value)
{
    all_t *all = ctx;
    vch_buf_t extent;
    vch_extent_value_t e = {.count = 0};
    if (key.n != 37) return VCH_ERR_CORRUPT;
    if (all->n == all->cap) {
        size_t cap = all->cap ? 2 * all->cap : 16;
        held_t *more = vch_resize(all->one, cap * sizeof *more);
        if (!more) return VCH_ERR_MEMORY;
        all->one = more;
        all->cap = cap;
    }
    held_t *h = &all->one[all->n++];
    memcpy(h->dataset.b, key.p + 1, 32);
    h->number = vch_get_u32(key.p + 33);
    VCH_TRY(vch_holding_get(&h->holding, value));
    h->holding.signature = NULL;
    vch_state_key_t at = vch_key_id_u32('e', h->dataset.b, h->number);
    vch_buf_init(&extent, 4096);
    vch_rc rc = vch_state_get(all->l->state, vch_key_slice(&at), &extent, NULL);
    if (rc == VCH_OK) rc = vch_extent_get(&e, vch_buf_slice(&extent));
    vch_buf_free(&extent);
    h->id = e.id;
    return rc;
}

static vch_rc load_all(all_t *all, vch_ledger_t *l, vch_err_t *err)
{
    *all = (all_t){.l = l};
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = vch_state_each(l->state, 'w', take_held, all);
    vch_ledger_read_end(l);
    if (rc == VCH_OK) return rc;
    vch_free(all->one);
    return vch_fail(err, rc, "the extents in the vault can't be listed: %s", vch_rc_text(rc));
}

static vch_rc open_shards(vch_shards_t **ret, const vch_vault_t *v, const held_t *h, vch_err_t *err)
{
    vch_backend_t *node[VCH_STORAGE_MAX] = {NULL};
    for (unsigned p = 0; p < h->holding.nodes; p++)
        for (unsigned i = 0; i < v->nodes; i++)
            if (vch_keyid_eq(&v->storage_id[i], &h->holding.storage[p])) node[p] = v->storage[i];
    vch_rc rc = vch_shards_open(ret, node, h->holding.k, h->holding.nodes, &h->id, &h->holding.shards_root, err);
    return rc == VCH_OK ? rc : vch_context(err, rc, "extent %u", h->number);
}

/* ---- audit -------------------------------------------------------------------------------- */

typedef struct {
    uint64_t shards, missing, blocks, damaged;
} count_t;

static vch_rc count_extent(vch_vault_t *v, const held_t *h, count_t *count, vch_err_t *err)
{
    vch_shards_t *s;
    VCH_TRY(open_shards(&s, v, h, err));
    for (unsigned p = 0; p < h->holding.nodes; p++) {
        uint32_t good;
        for (unsigned i = 0; i < v->nodes; i++) {
            if (!vch_keyid_eq(&v->storage_id[i], &h->holding.storage[p])) continue;
            count[i].shards++;
            if (vch_shards_check(s, p, &good, NULL) != VCH_OK) {
                count[i].missing++;
                continue;
            }
            count[i].blocks += vch_shards_count(s);
            count[i].damaged += vch_shards_count(s) - good;
        }
    }
    vch_shards_close(s);
    return VCH_OK;
}

static vch_rc put_counts(vch_buf_t *b, const vch_vault_t *v, const count_t *count)
{
    VCH_TRY(vch_buf_u8(b, '['));
    for (unsigned i = 0; i < v->nodes; i++)
        VCH_TRY(vch_buf_printf(
            b,
            "%s{\"node\":\"storage-%u\",\"here\":%s,\"shards\":%llu,\"missing\":%llu,\"blocks\":%llu,\"damaged\":%llu}",
            i ? "," : "", i + 1, v->storage[i] ? "true" : "false", (unsigned long long)count[i].shards,
            (unsigned long long)count[i].missing, (unsigned long long)count[i].blocks,
            (unsigned long long)count[i].damaged));
    return vch_buf_u8(b, ']');
}

static vch_rc audit(vch_vault_t *v, const all_t *all, vch_buf_t *b, vch_err_t *err)
{
    count_t count[VCH_STORAGE_MAX] = {{0}};
    for (size_t i = 0; i < all->n; i++) VCH_TRY(count_extent(v, &all->one[i], count, err));
    vch_rc rc = put_counts(b, v, count);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "out of memory");
}

vch_rc vch_storage_audit(vch_ledger_t *l, vch_text_t *ret_json, vch_err_t *err)
{
    vch_vault_t *v;
    all_t all;
    vch_buf_t b;
    VCH_TRY(vch_vault_open(&v, l, err));
    vch_buf_init(&b, 1u << 16);
    vch_rc rc = load_all(&all, l, err);
    if (rc == VCH_OK) {
        rc = audit(v, &all, &b, err);
        vch_free(all.one);
    }
    if (rc == VCH_OK && vch_text_take(ret_json, &b) != VCH_OK) rc = vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_buf_free(&b);
    vch_vault_close(v);
    return rc;
}

/* ---- challenges ----------------------------------------------------------------------------- */

typedef struct {
    uint64_t asked, proved;
} proof_count_t;

static vch_rc challenge_node(vch_vault_t *v, vch_shards_t *s, unsigned position, unsigned times, proof_count_t *count,
                             vch_audit_t *answer, vch_err_t *err)
{
    for (unsigned i = 0; i < times; i++) {
        vch_hash_t nonce;
        VCH_TRY(vch_random(v->l->port, nonce.b, sizeof nonce.b, err));
        count->asked++;
        count->proved += vch_shards_audit(s, position, &nonce, answer, NULL) == VCH_OK &&
                         vch_shards_audit_verify(s, position, &nonce, answer, NULL) == VCH_OK;
    }
    return VCH_OK;
}

static vch_rc challenge_extent(vch_vault_t *v, const held_t *h, unsigned times, proof_count_t *count, vch_err_t *err)
{
    vch_shards_t *s;
    vch_audit_t *answer = vch_alloc(sizeof *answer);
    vch_rc rc = answer ? open_shards(&s, v, h, err) : vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    if (rc == VCH_OK) {
        for (unsigned p = 0; rc == VCH_OK && p < h->holding.nodes; p++)
            for (unsigned i = 0; rc == VCH_OK && i < v->nodes; i++)
                if (vch_keyid_eq(&v->storage_id[i], &h->holding.storage[p]))
                    rc = challenge_node(v, s, p, times, &count[i], answer, err);
        vch_shards_close(s);
    }
    vch_free(answer);
    return rc;
}

static vch_rc put_proofs(vch_buf_t *b, const vch_vault_t *v, const proof_count_t *count)
{
    VCH_TRY(vch_buf_u8(b, '['));
    for (unsigned i = 0; i < v->nodes; i++)
        VCH_TRY(vch_buf_printf(b, "%s{\"node\":\"storage-%u\",\"here\":%s,\"asked\":%llu,\"proved\":%llu}",
                               i ? "," : "", i + 1, v->storage[i] ? "true" : "false",
                               (unsigned long long)count[i].asked, (unsigned long long)count[i].proved));
    return vch_buf_u8(b, ']');
}

static vch_rc challenge(vch_vault_t *v, unsigned times, vch_buf_t *b, vch_err_t *err)
{
    proof_count_t count[VCH_STORAGE_MAX] = {{0}};
    all_t all;
    VCH_TRY(load_all(&all, v->l, err));
    vch_rc rc = VCH_OK;
    for (size_t i = 0; rc == VCH_OK && i < all.n; i++) rc = challenge_extent(v, &all.one[i], times, count, err);
    vch_free(all.one);
    if (rc != VCH_OK) return rc;
    rc = put_proofs(b, v, count);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "out of memory");
}

vch_rc vch_storage_challenge(vch_ledger_t *l, unsigned times, vch_text_t *ret_json, vch_err_t *err)
{
    vch_vault_t *v;
    vch_buf_t b;
    VCH_TRY(vch_vault_open(&v, l, err));
    vch_buf_init(&b, 1u << 16);
    vch_rc rc = challenge(v, times, &b, err);
    if (rc == VCH_OK && vch_text_take(ret_json, &b) != VCH_OK) rc = vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_buf_free(&b);
    vch_vault_close(v);
    return nd_told(rc, err);
}

/* ---- repair --------------------------------------------------------------------------------- */

static vch_rc repair_extent(vch_vault_t *v, const held_t *h, unsigned node, uint64_t *repaired, vch_err_t *err)
{
    vch_shards_t *s;
    VCH_TRY(open_shards(&s, v, h, err));
    vch_rc rc = VCH_OK;
    for (unsigned p = 0; rc == VCH_OK && p < h->holding.nodes; p++) {
        uint32_t good = 0;
        if (!vch_keyid_eq(&v->storage_id[node], &h->holding.storage[p])) continue;
        if (vch_shards_check(s, p, &good, NULL) == VCH_OK && good == vch_shards_count(s)) continue;
        rc = vch_shards_repair(s, p, v->storage[node], err);
        *repaired += rc == VCH_OK;
    }
    vch_shards_close(s);
    return rc;
}

static vch_rc repair(vch_vault_t *v, unsigned number, uint64_t *ret, vch_err_t *err)
{
    all_t all;
    uint64_t repaired = 0;
    if (number < 1 || number > v->nodes)
        return vch_fail(err, VCH_ERR_NOT_FOUND, "the vault has storage nodes 1 to %u, not %u", v->nodes, number);
    if (!v->storage[number - 1])
        return vch_fail(err, VCH_ERR_UNREACHABLE, "storage node %u is gone: %s", number, v->storage_why[number - 1]);
    VCH_TRY(load_all(&all, v->l, err));
    vch_rc rc = VCH_OK;
    for (size_t i = 0; rc == VCH_OK && i < all.n; i++) rc = repair_extent(v, &all.one[i], number - 1, &repaired, err);
    vch_free(all.one);
    if (rc == VCH_OK) *ret = repaired;
    return rc;
}

vch_rc vch_storage_repair(vch_ledger_t *l, const vch_signer_t *writer, unsigned number, uint64_t *ret_repaired,
                          vch_err_t *err)
{
    vch_vault_t *v;
    VCH_TRY(vch_vault_open(&v, l, err));
    v->as = writer;
    vch_rc rc = vch_vault_lock(v, err);
    if (rc == VCH_OK) rc = repair(v, number, ret_repaired, err);
    vch_vault_close(v);
    return nd_told(rc, err);
}
