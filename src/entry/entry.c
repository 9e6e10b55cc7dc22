/* SPDX-License-Identifier: Apache-2.0 */
#include "entry/entry.h"

#include "codec/cbor.h"
#include "merkle/tree.h"

/* ---- statements ------------------------------------------------------------- */

vch_rc vch_statement_read(vch_statement_t *ret, vch_slice_t bytes, vch_err_t *err)
{
    if (vch_cbor_check(bytes) != VCH_OK) return vch_fail(err, VCH_ERR_FORMAT, "a statement is not deterministic CBOR");
    vch_cbor_t c = vch_cbor_over(bytes);
    uint64_t count, kind;
    vch_slice_t salt, fields;
    if (vch_cbor_get_array(&c, &count) != VCH_OK || count != 3 || vch_cbor_get_bytes(&c, &salt) != VCH_OK ||
        salt.n != VCH_SALT_LEN || vch_cbor_get_uint(&c, &kind) != VCH_OK || vch_cbor_skip(&c, &fields) != VCH_OK)
        return vch_fail(err, VCH_ERR_FORMAT, "a statement is not [salt of 16 bytes, kind, fields]");
    const vch_schema_t *schema = vch_schema(kind);
    if (!schema) return vch_fail(err, VCH_ERR_UNSUPPORTED, "kind %llu is unknown", (unsigned long long)kind);
    vch_rc rc = vch_fields_check(fields, schema->field, schema->fields, err);
    if (rc != VCH_OK) return vch_context(err, rc, "%s", schema->name);
    *ret = (vch_statement_t){schema->kind, bytes, salt, fields};
    return VCH_OK;
}

vch_rc vch_statement_put(vch_buf_t *ret, vch_kind_t kind, const uint8_t salt[VCH_SALT_LEN], vch_slice_t fields)
{
    VCH_TRY(vch_cbor_array(ret, 3));
    VCH_TRY(vch_cbor_bytes(ret, salt, VCH_SALT_LEN));
    VCH_TRY(vch_cbor_uint(ret, kind));
    return vch_cbor_raw(ret, fields);
}

vch_rc vch_statements_root(vch_hash_t *ret, const vch_slice_t *statements, size_t n, vch_arena_t *scratch)
{
    vch_hash_t *leaves = vch_arena_array(scratch, n, sizeof *leaves);
    if (!leaves) return VCH_ERR_MEMORY;
    vch_sha256_leaves(leaves, statements, n);
    vch_tree_root_in_place(ret, leaves, n);
    return VCH_OK;
}

/* ---- what owners sign --------------------------------------------------------- */

/* Copy a map of fields, leaving out the signature and, when `signature` is
 * given, putting that one in its place (it has the highest key). */
static vch_rc put_fields(vch_buf_t *ret, vch_slice_t fields, const uint8_t *signature)
{
    vch_cbor_t c = vch_cbor_over(fields);
    uint64_t pairs, kept = 0, key;
    VCH_TRY(vch_cbor_get_map(&c, &pairs));
    vch_cbor_t again = c;
    for (uint64_t i = 0; i < pairs; i++) {
        VCH_TRY(vch_cbor_get_uint(&c, &key));
        VCH_TRY(vch_cbor_skip(&c, NULL));
        kept += key != VCH_F_CONSENT_SIGNATURE;
    }
    VCH_TRY(vch_cbor_map(ret, kept + (signature ? 1 : 0)));
    for (uint64_t i = 0; i < pairs; i++) {
        vch_slice_t value;
        VCH_TRY(vch_cbor_get_uint(&again, &key));
        VCH_TRY(vch_cbor_skip(&again, &value));
        if (key == VCH_F_CONSENT_SIGNATURE) continue;
        VCH_TRY(vch_cbor_uint(ret, key));
        VCH_TRY(vch_cbor_raw(ret, value));
    }
    if (!signature) return VCH_OK;
    VCH_TRY(vch_cbor_uint(ret, VCH_F_CONSENT_SIGNATURE));
    return vch_cbor_bytes(ret, signature, VCH_SIG_LEN);
}

bool vch_owner_speaks(vch_kind_t kind, vch_slice_t fields)
{
    uint64_t how;
    const vch_schema_t *schema = vch_schema(kind);
    if (!schema || !schema->owner_signed) return false;
    if (kind == VCH_KIND_OWN_ACCESS) return true;
    return vch_field_uint(fields, VCH_F_CONSENT_HOW, &how) == VCH_OK && how == VCH_HOW_OWNER;
}

vch_rc vch_owner_to_sign(vch_buf_t *ret, const vch_hash_t *network, vch_kind_t kind, vch_slice_t fields)
{
    VCH_TRY(vch_cbor_array(ret, 3));
    VCH_TRY(vch_cbor_bytes(ret, network->b, 32));
    VCH_TRY(vch_cbor_uint(ret, kind));
    return put_fields(ret, fields, NULL);
}

vch_rc vch_owner_sign(vch_buf_t *ret_fields, const vch_hash_t *network, vch_kind_t kind, vch_slice_t fields,
                      const vch_signer_t *owner, vch_err_t *err)
{
    vch_buf_t message;
    vch_buf_init(&message, VCH_ENTRY_BYTES_MAX);
    uint8_t sig[VCH_SIG_LEN];
    vch_rc rc = vch_owner_to_sign(&message, network, kind, fields);
    if (rc == VCH_OK) rc = vch_signer_sign(owner, sig, vch_buf_slice(&message));
    if (rc == VCH_OK) rc = put_fields(ret_fields, fields, sig);
    vch_buf_free(&message);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the owner's statement could not be signed: %s", vch_rc_text(rc));
}

vch_rc vch_owner_verify(const vch_hash_t *network, vch_kind_t kind, vch_slice_t fields, const vch_pubkey_t *key)
{
    uint8_t sig[VCH_SIG_LEN], message_bytes[4096];
    if (vch_field_fixed(fields, VCH_F_CONSENT_SIGNATURE, sig, sizeof sig) != VCH_OK) return VCH_ERR_SIGNATURE;
    /* An owner's statement is at most some 1,400 bytes (a key proof of 32
     * hashes), so a fixed buffer does and no allocation is needed. */
    vch_buf_t message = {message_bytes, 0, sizeof message_bytes, sizeof message_bytes};
    VCH_TRY(vch_owner_to_sign(&message, network, kind, fields));
    return vch_sig_verify(key, sig, vch_buf_slice(&message));
}

/* ---- entries --------------------------------------------------------------------- */

vch_id_t vch_object_id(const vch_id_t *entry, uint16_t statement)
{
    uint8_t joined[34];
    memcpy(joined, entry->b, 32);
    vch_put_u16(joined + 32, statement);
    vch_hash_t h;
    vch_sha256(&h, joined, sizeof joined);
    vch_id_t id;
    memcpy(id.b, h.b, 32);
    return id;
}

static const vch_field_t payload_fields[] = {
    {.key = 0, .name = "network", .type = VCH_T_BYTES, .min = 32, .max = 32},
    {.key = 1, .name = "kind", .type = VCH_T_UINT, .max = 255},
    {.key = 2, .name = "sequence", .type = VCH_T_UINT, .min = 1, .max = UINT64_MAX},
    {.key = 3, .name = "not-after", .type = VCH_T_UINT, .optional = true, .max = 253402300799999u},
    {.key = 4, .name = "statements-root", .type = VCH_T_BYTES, .min = 32, .max = 32},
    {.key = 5, .name = "count", .type = VCH_T_UINT, .min = 1, .max = VCH_TX_STATEMENTS_MAX},
};

static vch_rc read_payload(vch_entry_t *e, vch_slice_t payload)
{
    uint64_t kind, count;
    VCH_TRY(vch_field_fixed(payload, 0, e->network.b, 32));
    VCH_TRY(vch_field_uint(payload, 1, &kind));
    VCH_TRY(vch_field_uint(payload, 2, &e->sequence));
    vch_rc rc = vch_field_uint(payload, 3, &e->not_after.ms);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    e->has_not_after = rc == VCH_OK;
    VCH_TRY(vch_field_fixed(payload, 4, e->root.b, 32));
    VCH_TRY(vch_field_uint(payload, 5, &count));
    const vch_schema_t *schema = vch_schema(kind);
    if (!schema) return VCH_ERR_UNSUPPORTED;
    e->kind = schema->kind;
    e->count = (uint32_t)count;
    return VCH_OK;
}

vch_rc vch_entry_read(vch_entry_t *ret, vch_slice_t leaf, vch_err_t *err)
{
    vch_entry_t e = {0};
    if (leaf.n > VCH_ENTRY_BYTES_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "an entry has %zu bytes, at most %u are allowed", leaf.n,
                        VCH_ENTRY_BYTES_MAX);
    vch_rc rc = vch_cose_read(&e.cose, leaf);
    if (rc != VCH_OK) return vch_fail(err, rc, "an entry is not a COSE_Sign1 of the one allowed form");
    if (vch_cbor_check(e.cose.payload) != VCH_OK)
        return vch_fail(err, VCH_ERR_FORMAT, "an entry's payload is not deterministic CBOR");
    rc = vch_fields_check(e.cose.payload, payload_fields, sizeof payload_fields / sizeof *payload_fields, err);
    if (rc != VCH_OK) return vch_context(err, rc, "entry");
    rc = read_payload(&e, e.cose.payload);
    if (rc == VCH_ERR_UNSUPPORTED)
        return vch_fail(err, rc, "the entry's kind is unknown, reserved or made by the ledger alone");
    VCH_TRY(rc);
    VCH_TRY(vch_cose_id(&e.cose, &e.id));
    *ret = e;
    return VCH_OK;
}

vch_rc vch_leaf_kind(vch_kind_t *ret, vch_slice_t leaf)
{
    if (leaf.n == 0) return VCH_ERR_FORMAT;
    vch_slice_t payload = leaf;
    if (leaf.p[0] >> 5 == VCH_CBOR_TAG) {
        vch_cose_t cose;
        VCH_TRY(vch_cose_read(&cose, leaf));
        payload = cose.payload;
    }
    uint64_t kind;
    VCH_TRY(vch_field_uint(payload, 1, &kind));
    bool is_unsigned = kind == VCH_KIND_STATE_COMMIT || kind == VCH_KIND_OUTCOME;
    if (is_unsigned != (payload.p == leaf.p)) return VCH_ERR_FORMAT;
    if (!is_unsigned && !vch_schema(kind)) return VCH_ERR_UNSUPPORTED;
    *ret = (vch_kind_t)kind;
    return VCH_OK;
}

static vch_rc put_payload(vch_buf_t *ret, const vch_entry_head_t *head, const vch_hash_t *root, size_t n)
{
    VCH_TRY(vch_cbor_map(ret, head->not_after_ms ? 6 : 5));
    VCH_TRY(vch_cbor_uint(ret, 0));
    VCH_TRY(vch_cbor_bytes(ret, head->network.b, 32));
    VCH_TRY(vch_cbor_uint(ret, 1));
    VCH_TRY(vch_cbor_uint(ret, head->kind));
    VCH_TRY(vch_cbor_uint(ret, 2));
    VCH_TRY(vch_cbor_uint(ret, head->sequence));
    if (head->not_after_ms) {
        VCH_TRY(vch_cbor_uint(ret, 3));
        VCH_TRY(vch_cbor_uint(ret, head->not_after_ms));
    }
    VCH_TRY(vch_cbor_uint(ret, 4));
    VCH_TRY(vch_cbor_bytes(ret, root->b, 32));
    VCH_TRY(vch_cbor_uint(ret, 5));
    return vch_cbor_uint(ret, n);
}

static vch_rc make_payload(vch_buf_t *ret, const vch_entry_head_t *head, const vch_slice_t *statements, size_t n,
                           vch_err_t *err)
{
    vch_arena_t scratch;
    vch_hash_t root;
    if (n == 0 || n > VCH_TX_STATEMENTS_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "a transaction holds 1 to %u statements, not %zu", VCH_TX_STATEMENTS_MAX,
                        n);
    vch_arena_init(&scratch, n * sizeof(vch_hash_t) + 4096);
    vch_rc rc = vch_statements_root(&root, statements, n, &scratch);
    if (rc == VCH_OK) rc = put_payload(ret, head, &root, n);
    vch_arena_free(&scratch);
    return rc;
}

vch_rc vch_entry_sign(vch_buf_t *ret_entry, const vch_entry_head_t *head, const vch_slice_t *statements, size_t n,
                      const vch_signer_t *signer, vch_err_t *err)
{
    vch_buf_t payload;
    vch_buf_init(&payload, 256);
    vch_rc rc = make_payload(&payload, head, statements, n, err);
    if (rc == VCH_OK) rc = vch_cose_sign(ret_entry, signer, vch_buf_slice(&payload), err);
    vch_buf_free(&payload);
    return rc;
}

vch_rc vch_entry_draft(vch_buf_t *ret_entry, vch_buf_t *ret_to_sign, const vch_entry_head_t *head,
                       const vch_slice_t *statements, size_t n, const vch_pubkey_t *key, vch_err_t *err)
{
    vch_buf_t payload;
    vch_buf_init(&payload, 256);
    vch_rc rc = make_payload(&payload, head, statements, n, err);
    if (rc == VCH_OK) rc = vch_cose_draft(ret_entry, ret_to_sign, key, vch_buf_slice(&payload), err);
    vch_buf_free(&payload);
    return rc;
}

vch_rc vch_tx_put(vch_buf_t *ret, const vch_tx_t *tx)
{
    VCH_TRY(vch_cbor_array(ret, 2));
    VCH_TRY(vch_cbor_bytes(ret, tx->entry.p, tx->entry.n));
    VCH_TRY(vch_cbor_array(ret, tx->count));
    for (uint32_t i = 0; i < tx->count; i++) VCH_TRY(vch_cbor_bytes(ret, tx->statements[i].p, tx->statements[i].n));
    return VCH_OK;
}

static vch_rc tx_statements(vch_tx_t *tx, vch_cbor_t *c, vch_arena_t *arena)
{
    uint64_t count;
    VCH_TRY(vch_cbor_get_array(c, &count));
    if (count == 0 || count > VCH_TX_STATEMENTS_MAX) return VCH_ERR_LIMIT;
    vch_slice_t *s = vch_arena_array(arena, (size_t)count, sizeof *s);
    if (!s) return VCH_ERR_MEMORY;
    for (uint64_t i = 0; i < count; i++) VCH_TRY(vch_cbor_get_bytes(c, &s[i]));
    tx->statements = s;
    tx->count = (uint32_t)count;
    return VCH_OK;
}

vch_rc vch_tx_get(vch_tx_t *ret, vch_slice_t bytes, vch_arena_t *arena, vch_err_t *err)
{
    if (bytes.n > VCH_TX_BYTES_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "a transaction has %zu bytes, at most %u are allowed", bytes.n,
                        VCH_TX_BYTES_MAX);
    vch_tx_t tx = {0};
    vch_cbor_t c = vch_cbor_over(bytes);
    uint64_t parts = 0;
    vch_rc rc = vch_cbor_get_array(&c, &parts);
    if (rc == VCH_OK && parts != 2) rc = VCH_ERR_FORMAT;
    if (rc == VCH_OK) rc = vch_cbor_get_bytes(&c, &tx.entry);
    if (rc == VCH_OK) rc = tx_statements(&tx, &c, arena);
    if (rc == VCH_OK && !vch_cbor_done(&c)) rc = VCH_ERR_FORMAT;
    if (rc != VCH_OK) return vch_fail(err, rc, "a transaction is not [entry, [statement, …]]: %s", vch_rc_text(rc));
    *ret = tx;
    return VCH_OK;
}

/* ---- unsigned leaves ------------------------------------------------------------------ */

static vch_rc put_pair_uint(vch_buf_t *b, uint64_t key, uint64_t v)
{
    VCH_TRY(vch_cbor_uint(b, key));
    return vch_cbor_uint(b, v);
}

static vch_rc put_pair_bytes(vch_buf_t *b, uint64_t key, const uint8_t *p, size_t n)
{
    VCH_TRY(vch_cbor_uint(b, key));
    return vch_cbor_bytes(b, p, n);
}

vch_rc vch_state_commit_put(vch_buf_t *ret, const vch_state_commit_t *c)
{
    VCH_TRY(vch_cbor_map(ret, 8));
    VCH_TRY(put_pair_bytes(ret, 0, c->network.b, 32));
    VCH_TRY(put_pair_uint(ret, 1, VCH_KIND_STATE_COMMIT));
    VCH_TRY(put_pair_uint(ret, 6, c->height));
    VCH_TRY(put_pair_uint(ret, 7, c->time.ms));
    VCH_TRY(put_pair_uint(ret, 8, c->first));
    VCH_TRY(put_pair_uint(ret, 9, c->count));
    VCH_TRY(put_pair_bytes(ret, 10, c->state_root.b, 32));
    return put_pair_bytes(ret, 11, c->previous.b, 32);
}

static const vch_field_t commit_fields[] = {
    {.key = 0, .name = "network", .type = VCH_T_BYTES, .min = 32, .max = 32},
    {.key = 1, .name = "kind", .type = VCH_T_UINT, .min = VCH_KIND_STATE_COMMIT, .max = VCH_KIND_STATE_COMMIT},
    {.key = 6, .name = "height", .type = VCH_T_UINT, .max = UINT64_MAX},
    {.key = 7, .name = "time", .type = VCH_T_UINT, .max = UINT64_MAX},
    {.key = 8, .name = "first", .type = VCH_T_UINT, .max = UINT64_MAX},
    {.key = 9, .name = "count", .type = VCH_T_UINT, .min = 1, .max = UINT64_MAX},
    {.key = 10, .name = "state-root", .type = VCH_T_BYTES, .min = 32, .max = 32},
    {.key = 11, .name = "previous", .type = VCH_T_BYTES, .min = 32, .max = 32},
};

vch_rc vch_state_commit_get(vch_state_commit_t *ret, vch_slice_t leaf)
{
    vch_state_commit_t c;
    VCH_TRY(vch_cbor_check(leaf));
    VCH_TRY(vch_fields_check(leaf, commit_fields, sizeof commit_fields / sizeof *commit_fields, NULL));
    VCH_TRY(vch_field_fixed(leaf, 0, c.network.b, 32));
    VCH_TRY(vch_field_uint(leaf, 6, &c.height));
    VCH_TRY(vch_field_uint(leaf, 7, &c.time.ms));
    VCH_TRY(vch_field_uint(leaf, 8, &c.first));
    VCH_TRY(vch_field_uint(leaf, 9, &c.count));
    VCH_TRY(vch_field_fixed(leaf, 10, c.state_root.b, 32));
    VCH_TRY(vch_field_fixed(leaf, 11, c.previous.b, 32));
    *ret = c;
    return VCH_OK;
}

vch_rc vch_outcome_put(vch_buf_t *ret, const vch_outcome_t *o)
{
    VCH_TRY(vch_cbor_map(ret, 8));
    VCH_TRY(put_pair_bytes(ret, 0, o->network.b, 32));
    VCH_TRY(put_pair_uint(ret, 1, VCH_KIND_OUTCOME));
    VCH_TRY(put_pair_bytes(ret, 6, o->request.b, 32));
    VCH_TRY(put_pair_uint(ret, 7, o->permit ? 1 : 0));
    VCH_TRY(vch_cbor_uint(ret, 8));
    VCH_TRY(vch_cbor_text(ret, o->rule, strlen(o->rule)));
    VCH_TRY(put_pair_bytes(ret, 9, o->set_root.b, 32));
    VCH_TRY(put_pair_uint(ret, 10, o->count));
    return put_pair_uint(ret, 11, o->expires.ms);
}

static const vch_field_t outcome_fields[] = {
    {.key = 0, .name = "network", .type = VCH_T_BYTES, .min = 32, .max = 32},
    {.key = 1, .name = "kind", .type = VCH_T_UINT, .min = VCH_KIND_OUTCOME, .max = VCH_KIND_OUTCOME},
    {.key = 6, .name = "request", .type = VCH_T_BYTES, .min = 32, .max = 32},
    {.key = 7, .name = "verdict", .type = VCH_T_UINT, .max = 1},
    {.key = 8, .name = "rule", .type = VCH_T_TEXT, .min = 1, .max = VCH_RULE_MAX},
    {.key = 9, .name = "set-root", .type = VCH_T_BYTES, .min = 32, .max = 32},
    {.key = 10, .name = "count", .type = VCH_T_UINT, .max = UINT64_MAX},
    {.key = 11, .name = "expires", .type = VCH_T_UINT, .max = UINT64_MAX},
};

vch_rc vch_outcome_get(vch_outcome_t *ret, vch_slice_t leaf)
{
    vch_outcome_t o = {0};
    uint64_t verdict;
    vch_slice_t rule;
    VCH_TRY(vch_cbor_check(leaf));
    VCH_TRY(vch_fields_check(leaf, outcome_fields, sizeof outcome_fields / sizeof *outcome_fields, NULL));
    VCH_TRY(vch_field_fixed(leaf, 0, o.network.b, 32));
    VCH_TRY(vch_field_fixed(leaf, 6, o.request.b, 32));
    VCH_TRY(vch_field_uint(leaf, 7, &verdict));
    VCH_TRY(vch_field_bytes(leaf, 8, &rule));
    VCH_TRY(vch_field_fixed(leaf, 9, o.set_root.b, 32));
    VCH_TRY(vch_field_uint(leaf, 10, &o.count));
    VCH_TRY(vch_field_uint(leaf, 11, &o.expires.ms));
    if (memchr(rule.p, 0, rule.n)) return VCH_ERR_FORMAT;
    o.permit = verdict == 1;
    memcpy(o.rule, rule.p, rule.n);
    *ret = o;
    return VCH_OK;
}

/* ---- sets, orders, rows, decisions ------------------------------------------------------- */

vch_rc vch_set_root(vch_hash_t *ret, const uint8_t *bits, size_t n, vch_arena_t *scratch)
{
    if (n % VCH_BITMAP_LEAF) return VCH_ERR_FORMAT;
    size_t leaves = n / VCH_BITMAP_LEAF;
    if (leaves == 0) {
        vch_tree_empty(ret);
        return VCH_OK;
    }
    vch_hash_t *leaf = vch_arena_array(scratch, leaves, sizeof *leaf);
    if (!leaf) return VCH_ERR_MEMORY;
    vch_sha256_fixed(leaf, 0, bits, VCH_BITMAP_LEAF, VCH_BITMAP_LEAF, leaves);
    vch_tree_root_in_place(ret, leaf, leaves);
    return VCH_OK;
}

vch_rc vch_order_root(vch_hash_t *ret, const uint32_t (*order)[2], size_t n, vch_arena_t *scratch)
{
    uint8_t *data = vch_arena_array(scratch, n, 8);
    vch_hash_t *leaf = vch_arena_array(scratch, n, sizeof *leaf);
    if (!data || !leaf) return VCH_ERR_MEMORY;
    if (n == 0) {
        vch_tree_empty(ret);
        return VCH_OK;
    }
    for (size_t i = 0; i < n; i++) {
        vch_put_u32(data + 8 * i, order[i][0]);
        vch_put_u32(data + 8 * i + 4, order[i][1]);
    }
    vch_sha256_fixed(leaf, 0, data, 8, 8, n);
    vch_tree_root_in_place(ret, leaf, n);
    return VCH_OK;
}

void vch_row_commitment(vch_hash_t *ret, const uint8_t salt[VCH_ROW_SALT_LEN], vch_slice_t canonical)
{
    static const uint8_t zero = 0;
    vch_sha256_t h;
    vch_sha256_init(&h);
    vch_sha256_add(&h, &zero, 1);
    vch_sha256_add(&h, salt, VCH_ROW_SALT_LEN);
    vch_sha256_add(&h, canonical.p, canonical.n);
    vch_sha256_end(&h, ret);
}

#define DECISION_OUTPUT_MAX 4096
#define DECISION_REASON_MAX 64

vch_rc vch_decision_put(vch_buf_t *ret, const vch_decision_t *d)
{
    if (d->output.n > DECISION_OUTPUT_MAX || d->reasons > 16) return VCH_ERR_LIMIT;
    VCH_TRY(vch_cbor_array(ret, 7));
    VCH_TRY(vch_cbor_bytes(ret, d->salt, VCH_SALT_LEN));
    VCH_TRY(vch_cbor_uint(ret, d->sequence));
    VCH_TRY(vch_cbor_uint(ret, d->time.ms));
    VCH_TRY(vch_cbor_bytes(ret, d->model.b, 32));
    VCH_TRY(vch_cbor_bytes(ret, d->input.b, 32));
    VCH_TRY(vch_cbor_text(ret, (const char *)d->output.p, d->output.n));
    VCH_TRY(vch_cbor_array(ret, d->reasons));
    for (size_t i = 0; i < d->reasons; i++) {
        if (d->reason[i].n > DECISION_REASON_MAX) return VCH_ERR_LIMIT;
        VCH_TRY(vch_cbor_text(ret, (const char *)d->reason[i].p, d->reason[i].n));
    }
    return VCH_OK;
}

static vch_rc decision_reasons(vch_decision_t *d, vch_cbor_t *c)
{
    uint64_t count;
    VCH_TRY(vch_cbor_get_array(c, &count));
    if (count > 16) return VCH_ERR_LIMIT;
    for (d->reasons = 0; d->reasons < count; d->reasons++) {
        VCH_TRY(vch_cbor_get_text(c, &d->reason[d->reasons]));
        if (d->reason[d->reasons].n > DECISION_REASON_MAX) return VCH_ERR_LIMIT;
    }
    return vch_cbor_done(c) ? VCH_OK : VCH_ERR_FORMAT;
}

vch_rc vch_decision_get(vch_decision_t *ret, vch_slice_t leaf)
{
    vch_decision_t d = {0};
    vch_cbor_t c = vch_cbor_over(leaf);
    uint64_t count;
    VCH_TRY(vch_cbor_get_array(&c, &count));
    if (count != 7) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_fixed(&c, d.salt, VCH_SALT_LEN));
    VCH_TRY(vch_cbor_get_uint(&c, &d.sequence));
    VCH_TRY(vch_cbor_get_uint(&c, &d.time.ms));
    VCH_TRY(vch_cbor_get_fixed(&c, d.model.b, 32));
    VCH_TRY(vch_cbor_get_fixed(&c, d.input.b, 32));
    VCH_TRY(vch_cbor_get_text(&c, &d.output));
    if (d.output.n > DECISION_OUTPUT_MAX) return VCH_ERR_LIMIT;
    VCH_TRY(decision_reasons(&d, &c));
    *ret = d;
    return VCH_OK;
}
