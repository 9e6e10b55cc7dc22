/* SPDX-License-Identifier: Apache-2.0 */
/* Entries to be signed elsewhere: the node finds sequence number and salts, the
 * key's holder signs. */
#include "node/service.h"

#include "codec/text.h"
#include "node/node_int.h"

static vch_rc sequence_of(vch_ledger_t *l, const vch_keyid_t *id, uint64_t *ret_next, vch_id_t *ret_party,
                          vch_err_t *err)
{
    vch_key_value_t key = {.revoked = false};
    vch_state_key_t at = vch_key_id('k', id->b);
    vch_buf_t value;
    vch_buf_init(&value, 4096);
    vch_rc rc = vch_state_get(l->state, vch_key_slice(&at), &value, err);
    if (rc == VCH_OK) rc = vch_key_get(&key, vch_buf_slice(&value));
    vch_buf_free(&value);
    if (rc == VCH_ERR_NOT_FOUND)
        return vch_hint(err, vch_fail(err, VCH_ERR_KEY, "this key belongs to no party of the ledger"),
                        "a registrar adds a party with vouch party add");
    VCH_TRY(rc);
    if (key.revoked) return vch_fail(err, VCH_ERR_KEY, "this key is revoked");
    VCH_TRY(vch_next_sequence(l, &key.party, ret_next, err));
    *ret_party = key.party;
    return VCH_OK;
}

vch_rc vch_sequence_of(vch_ledger_t *l, const vch_keyid_t *id, uint64_t *ret_next, vch_id_t *ret_party, vch_err_t *err)
{
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = sequence_of(l, id, ret_next, ret_party, err);
    vch_ledger_read_end(l);
    return nd_told(rc, err);
}

/* ---- drafts --------------------------------------------------------------------------- */

typedef struct {
    vch_ledger_t *l;
    const vch_schema_t *schema;
    vch_buf_t bytes; /* statements back to back */
    vch_slice_t *statement;
    size_t *end;
    size_t n;
    vch_buf_t fields, entry, to_sign;
    vch_err_t *err;
} draft_t;

static vch_rc add_statement(draft_t *d, const vch_json_t *object)
{
    uint8_t salt[VCH_SALT_LEN];
    vch_buf_clear(&d->fields);
    VCH_TRY(vch_fields_from_json(&d->fields, d->schema->field, d->schema->fields, object, d->err));
    VCH_TRY(vch_random(d->l->port, salt, sizeof salt, d->err));
    vch_rc rc = vch_statement_put(&d->bytes, d->schema->kind, salt, vch_buf_slice(&d->fields));
    if (rc != VCH_OK) return vch_fail(d->err, rc, "the statements can't be encoded: %s", vch_rc_text(rc));
    d->end[d->n++] = d->bytes.n;
    return VCH_OK;
}

static vch_rc add_all(draft_t *d, const vch_json_t *statements)
{
    bool list = statements->type == VCH_JSON_ARRAY;
    size_t n = list ? statements->count : 1;
    if (n == 0 || n > VCH_TX_STATEMENTS_MAX || (d->schema->single && n != 1))
        return vch_fail(d->err, VCH_ERR_LIMIT, "an entry of kind %s has %s", d->schema->name,
                        d->schema->single ? "exactly one statement" : "1 to 65535 statements");
    d->statement = vch_alloc_array(n, sizeof *d->statement);
    d->end = vch_alloc_array(n, sizeof *d->end);
    if (!d->statement || !d->end) return vch_fail(d->err, VCH_ERR_MEMORY, "out of memory");
    for (const vch_json_t *one = list ? statements->first : statements; d->n < n; one = one->next) {
        vch_rc rc = add_statement(d, one);
        if (rc != VCH_OK) return list ? vch_context(d->err, rc, "%s %zu", d->schema->name, d->n) : rc;
    }
    for (size_t i = 0, at = 0; i < n; at = d->end[i++]) d->statement[i] = vch_slice(d->bytes.p + at, d->end[i] - at);
    return VCH_OK;
}

static vch_rc put_base64(vch_buf_t *b, const char *name, vch_slice_t bytes)
{
    VCH_TRY(vch_buf_printf(b, "%s\"", name));
    VCH_TRY(vch_base64_put(b, bytes.p, bytes.n));
    return vch_buf_u8(b, '"');
}

static vch_rc put_draft(const draft_t *d, uint64_t sequence, vch_buf_t *b)
{
    VCH_TRY(put_base64(b, "{\"sign\":", vch_buf_slice(&d->to_sign)));
    VCH_TRY(put_base64(b, ",\"entry\":", vch_buf_slice(&d->entry)));
    VCH_TRY(vch_buf_printf(b, ",\"statements\":["));
    for (size_t i = 0; i < d->n; i++) VCH_TRY(put_base64(b, i ? "," : "", d->statement[i]));
    return vch_buf_printf(b, "],\"sequence\":%llu}", (unsigned long long)sequence);
}

static vch_rc draft(draft_t *d, const vch_pubkey_t *key, const vch_json_t *statements, vch_buf_t *ret)
{
    vch_entry_head_t head = {.network = d->l->network, .kind = d->schema->kind};
    vch_keyid_t id = vch_pubkey_id(key);
    vch_id_t party;
    VCH_TRY(vch_sequence_of(d->l, &id, &head.sequence, &party, d->err));
    VCH_TRY(add_all(d, statements));
    VCH_TRY(vch_entry_draft(&d->entry, &d->to_sign, &head, d->statement, d->n, key, d->err));
    return put_draft(d, head.sequence, ret);
}

vch_rc vch_draft_into(vch_ledger_t *l, const vch_pubkey_t *key, const char *kind, const vch_json_t *statements,
                      vch_buf_t *ret, vch_err_t *err)
{
    draft_t d = {.l = l, .schema = vch_schema_by_name(kind), .err = err};
    if (!d.schema || d.schema->kind == VCH_KIND_GENESIS)
        return vch_fail(err, VCH_ERR_UNSUPPORTED, "entries of kind \"%.40s\" can't be submitted", kind);
    vch_buf_init(&d.bytes, VCH_TX_BYTES_MAX);
    vch_buf_init(&d.fields, VCH_TX_BYTES_MAX);
    vch_buf_init(&d.entry, VCH_ENTRY_BYTES_MAX);
    vch_buf_init(&d.to_sign, VCH_ENTRY_BYTES_MAX);
    vch_rc rc = draft(&d, key, statements, ret);
    vch_buf_free(&d.bytes);
    vch_buf_free(&d.fields);
    vch_buf_free(&d.entry);
    vch_buf_free(&d.to_sign);
    vch_free(d.statement);
    vch_free(d.end);
    return nd_told(rc, err);
}

void vch_ledger_tended(vch_ledger_t *l) { l->in->tended = true; }

/* ---- receipts ---------------------------------------------------------------------------- */

static vch_rc put_outcome(const vch_receipt_t *r, vch_buf_t *b)
{
    VCH_TRY(vch_buf_printf(b, ",\"permit\":%s,\"rule\":", r->permit ? "true" : "false"));
    VCH_TRY(vch_json_put_string(b, vch_str(r->rule)));
    VCH_TRY(vch_buf_printf(b, ",\"rows\":%llu,", (unsigned long long)r->rows));
    return nd_put_time(b, "expires", r->expires);
}

vch_rc vch_receipt_into(const vch_receipt_t *r, vch_slice_t promise, vch_buf_t *b)
{
    VCH_TRY(vch_buf_printf(b, "{\"object\":"));
    VCH_TRY(nd_put_hex(b, r->object.b, 32));
    VCH_TRY(vch_buf_printf(b, ",\"entry\":"));
    VCH_TRY(nd_put_hex(b, r->entry.b, 32));
    VCH_TRY(vch_buf_printf(b, ",\"index\":%llu,\"statements\":%u,", (unsigned long long)r->index, r->count));
    VCH_TRY(nd_put_time(b, "time", r->time));
    if (r->again) VCH_TRY(vch_buf_printf(b, ",\"already there\":true"));
    if (r->has_outcome) VCH_TRY(put_outcome(r, b));
    if (promise.n) {
        VCH_TRY(vch_buf_printf(b, ",\"receipt\":"));
        VCH_TRY(vch_json_put_string(b, promise));
    }
    return vch_buf_u8(b, '}');
}
