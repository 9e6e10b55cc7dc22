/* SPDX-License-Identifier: Apache-2.0 */
/* What can be checked of a transaction without any state, and its signatures. */
#include "merkle/tree.h"
#include "state/state_impl.h"

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

static vch_rc check_size(const vch_tx_t *tx, vch_err_t *err)
{
    size_t bytes = tx->entry.n;
    for (uint32_t i = 0; i < tx->count; i++)
        if (vch_add_overflows(bytes, tx->statements[i].n, &bytes)) return VCH_ERR_LIMIT;
    if (bytes <= VCH_TX_BYTES_MAX) return VCH_OK;
    return vch_fail(err, VCH_ERR_LIMIT, "a transaction has %zu bytes, at most %u are allowed", bytes, VCH_TX_BYTES_MAX);
}

static vch_rc read_statements(vch_prepared_t *p, vch_err_t *err)
{
    for (uint32_t i = 0; i < p->tx.count; i++) {
        vch_rc rc = vch_statement_read(&p->statement[i], p->tx.statements[i], err);
        if (rc == VCH_OK && p->statement[i].kind != p->entry.kind)
            rc = vch_fail(err, VCH_ERR_FORMAT, "its kind is not the entry's");
        if (rc != VCH_OK) return vch_context(err, rc, "statement %u", i);
    }
    return VCH_OK;
}

static vch_rc check_root(vch_prepared_t *p, vch_arena_t *arena, vch_err_t *err)
{
    vch_hash_t *scratch = vch_arena_array(arena, p->tx.count, sizeof *scratch), root;
    if (!scratch) return no_memory(err);
    vch_sha256_leaves(p->leaf, p->tx.statements, p->tx.count);
    memcpy(scratch, p->leaf, p->tx.count * sizeof *scratch);
    vch_tree_root_in_place(&root, scratch, p->tx.count);
    if (vch_hash_eq(&root, &p->entry.root)) return VCH_OK;
    return vch_fail(err, VCH_ERR_COMMITMENT, "the statements are not those that the entry was signed over");
}

vch_rc vch_tx_prepare(vch_prepared_t *ret, const vch_tx_t *tx, vch_arena_t *arena, vch_err_t *err)
{
    vch_prepared_t p = {.tx = *tx};
    VCH_TRY(check_size(tx, err));
    VCH_TRY(vch_entry_read(&p.entry, tx->entry, err));
    if (p.entry.count != tx->count)
        return vch_fail(err, VCH_ERR_FORMAT, "the entry announces %u statements, %u came", p.entry.count, tx->count);
    if (vch_schema(p.entry.kind)->single && tx->count != 1)
        return vch_fail(err, VCH_ERR_FORMAT, "an entry of this kind carries exactly one statement");
    p.statement = vch_arena_array(arena, tx->count, sizeof *p.statement);
    p.leaf = vch_arena_array(arena, tx->count, sizeof *p.leaf);
    if (!p.statement || !p.leaf) return no_memory(err);
    VCH_TRY(read_statements(&p, err));
    VCH_TRY(check_root(&p, arena, err));
    *ret = p;
    return VCH_OK;
}

/* ---- signatures ------------------------------------------------------------------ */

/* Genesis is signed by a key that it names itself, of its first party. */
static vch_rc genesis_key(const vch_prepared_t *p, vch_pubkey_t *ret, vch_err_t *err)
{
    vch_list_t parties, keys;
    vch_slice_t party, item, bytes;
    VCH_TRY(vch_field_list(p->statement[0].fields, VCH_F_GENESIS_PARTIES, &parties));
    VCH_TRY(vch_list_next(&parties, &party));
    VCH_TRY(vch_field_list(party, VCH_F_PARTY_KEYS, &keys));
    while (vch_list_next(&keys, &item) == VCH_OK) {
        VCH_TRY(vch_item_bytes(item, &bytes));
        if (vch_pubkey_get(ret, bytes) != VCH_OK) return vch_fail(err, VCH_ERR_KEY, "genesis names a key that is none");
        vch_keyid_t id = vch_pubkey_id(ret);
        if (vch_keyid_eq(&id, &p->entry.cose.kid)) return VCH_OK;
    }
    return vch_fail(err, VCH_ERR_KEY, "genesis is not signed by a key of its first party");
}

static vch_rc registered_key(vch_state_t *s, const vch_prepared_t *p, vch_pubkey_t *ret, vch_err_t *err)
{
    if (!vch_hash_eq(&p->entry.network, &s->info.network))
        return vch_fail(err, VCH_ERR_NETWORK, "the entry belongs to another network");
    vch_state_key_t key = vch_key_id('k', p->entry.cose.kid.b);
    vch_slice_t bytes;
    vch_key_value_t value;
    vch_rc rc = st_get(s, &key, &bytes, err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_fail(err, VCH_ERR_KEY, "the entry's key is not registered");
    VCH_TRY(rc);
    VCH_TRY(vch_key_get(&value, bytes));
    if (value.revoked) return vch_fail(err, VCH_ERR_KEY, "the entry's key is revoked");
    if (!vch_slice_eq(value.key, vch_pubkey_bytes(&p->key))) return vch_pubkey_get(ret, value.key);
    *ret = p->key; /* known to be a key: asking again costs nearly as much as a signature */
    return VCH_OK;
}

/* Whose network is meant the entry says; that it is this one, registered_key. */
static vch_rc check_owner(const vch_prepared_t *p, const vch_statement_t *st, vch_err_t *err)
{
    vch_slice_t bytes;
    vch_pubkey_t key;
    if (!vch_owner_speaks(st->kind, st->fields)) return VCH_OK;
    if (vch_field_bytes(st->fields, VCH_F_CONSENT_KEY, &bytes) != VCH_OK)
        return vch_fail(err, VCH_ERR_KEY, "an owner's statement must carry the owner's key");
    if (vch_pubkey_get(&key, bytes) != VCH_OK) return vch_fail(err, VCH_ERR_KEY, "the owner's key is none");
    vch_rc rc = vch_owner_verify(&p->entry.network, st->kind, st->fields, &key);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the owner's signature does not verify");
}

uint32_t vch_tx_signatures(const vch_prepared_t *p)
{
    return 1 + (vch_schema(p->entry.kind)->owner_signed ? p->tx.count : 0);
}

vch_rc vch_tx_check(const vch_prepared_t *p, uint32_t number, const vch_pubkey_t *key, vch_err_t *err)
{
    if (number == 0) return vch_cose_verify(&p->entry.cose, key, err);
    vch_rc rc = check_owner(p, &p->statement[number - 1], err);
    return rc == VCH_OK ? rc : vch_context(err, rc, "statement %u", number - 1);
}

vch_rc vch_state_signer(vch_state_t *s, const vch_prepared_t *p, vch_pubkey_t *ret, vch_err_t *err)
{
    return p->entry.kind == VCH_KIND_GENESIS ? genesis_key(p, ret, err) : registered_key(s, p, ret, err);
}

vch_rc vch_state_verify(vch_state_t *s, vch_prepared_t *p, vch_err_t *err)
{
    vch_pubkey_t key;
    VCH_TRY(vch_state_signer(s, p, &key, err));
    bool checked = p->checked && vch_slice_eq(vch_pubkey_bytes(&p->key), vch_pubkey_bytes(&key));
    for (uint32_t i = 0; !checked && i < vch_tx_signatures(p); i++) VCH_TRY(vch_tx_check(p, i, &key, err));
    p->key = key;
    p->checked = p->verified = true;
    return VCH_OK;
}
