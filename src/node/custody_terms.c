/* SPDX-License-Identifier: Apache-2.0 */
/* Terms from JSON: the members are those of the table of terms. */
#include "codec/cbor.h"
#include "codec/json.h"
#include "crypto/sha256.h"
#include "node/custody_int.h"
#include "node/node_int.h"

#define DAY_MS 86400000u
#define DOCUMENT_MAX 8192u

typedef struct {
    vch_ledger_t *l;
    vch_err_t *err;
    vch_buf_t document;
} writer_t;

static vch_rc wrong(writer_t *w, const vch_field_t *f, const char *want)
{
    return vch_fail(w->err, VCH_ERR_FORMAT, "\"%s\" must be %s", f->name, want);
}

/* ---- one value ------------------------------------------------------------------------ */

static vch_rc put_choice(writer_t *w, const vch_field_t *f, const vch_json_t *v)
{
    for (uint64_t i = 0; v->type == VCH_JSON_STRING && i <= f->max - f->min; i++)
        if (vch_slice_eq(v->text, vch_str(f->labels[i]))) return vch_cbor_uint(&w->document, f->min + i);
    return vch_fail(w->err, VCH_ERR_FORMAT, "\"%s\" is not one of its choices (\"%s\", …)", f->name, f->labels[0]);
}

/* "from" a day means its first millisecond, "until" a day its last. */
static vch_rc put_time(writer_t *w, const vch_field_t *f, const vch_json_t *v)
{
    uint32_t day;
    if (vch_day_get(&day, v->text) != VCH_OK) return wrong(w, f, "a day like 2027-12-31, or milliseconds since 1970");
    uint64_t ms = (uint64_t)day * DAY_MS;
    return vch_cbor_uint(&w->document, f->key == VCH_F_DOC_UNTIL ? ms + DAY_MS - 1 : ms);
}

static vch_rc put_number(writer_t *w, const vch_field_t *f, const vch_json_t *v)
{
    bool time = f->key == VCH_F_DOC_FROM || f->key == VCH_F_DOC_UNTIL;
    if (f->labels) return put_choice(w, f, v);
    if (time && v->type == VCH_JSON_STRING) return put_time(w, f, v);
    if (v->type != VCH_JSON_NUMBER || !v->integral || v->integer < 0) return wrong(w, f, "a whole number");
    return vch_cbor_uint(&w->document, (uint64_t)v->integer);
}

static vch_rc put_text(writer_t *w, const vch_field_t *f, const vch_json_t *v)
{
    if (v->type != VCH_JSON_STRING) return wrong(w, f, "text");
    return vch_cbor_text(&w->document, (const char *)v->text.p, v->text.n);
}

/* A party by name or id. */
static vch_rc put_party(writer_t *w, const vch_field_t *f, const vch_json_t *v)
{
    char name[256];
    vch_id_t id;
    if (v->type != VCH_JSON_STRING || v->text.n == 0 || v->text.n >= sizeof name)
        return wrong(w, f, "a list of parties' names or ids");
    memcpy(name, v->text.p, v->text.n);
    name[v->text.n] = 0;
    if (strlen(name) != v->text.n) return wrong(w, f, "a list of parties' names or ids");
    VCH_TRY(vch_resolve(w->l, 'p', name, &id, w->err));
    return vch_cbor_bytes(&w->document, id.b, 32);
}

static vch_rc put_list(writer_t *w, const vch_field_t *f, const vch_json_t *v)
{
    if (v->type != VCH_JSON_ARRAY) return wrong(w, f, "a list");
    VCH_TRY(vch_cbor_array(&w->document, v->count));
    for (const vch_json_t *item = v->first; item; item = item->next)
        VCH_TRY(f->sub->type == VCH_T_BYTES ? put_party(w, f, item) : put_text(w, f, item));
    return VCH_OK;
}

static vch_rc put_value(writer_t *w, const vch_field_t *f, const vch_json_t *v)
{
    VCH_TRY(vch_cbor_uint(&w->document, f->key));
    if (!v) { /* a required one that was left out */
        if (f->key == VCH_F_DOC_VERSION) return vch_cbor_uint(&w->document, 1);
        if (f->key == VCH_F_DOC_EFFECT) return vch_cbor_uint(&w->document, VCH_EFFECT_PERMIT);
        if (f->type == VCH_T_LIST && f->min == 0) return vch_cbor_array(&w->document, 0);
        return vch_fail(w->err, VCH_ERR_FORMAT, "\"%s\" is missing", f->name);
    }
    if (f->type == VCH_T_UINT) return put_number(w, f, v);
    return f->type == VCH_T_LIST ? put_list(w, f, v) : put_text(w, f, v);
}

/* ---- the document ------------------------------------------------------------------------- */

static vch_rc known_members(writer_t *w, const vch_json_t *root)
{
    for (const vch_json_t *m = root->first; m; m = m->next) {
        bool known = false;
        for (size_t i = 0; i < vch_terms_fields_n; i++)
            known = known || vch_slice_eq(m->name, vch_str(vch_terms_fields[i].name));
        if (!known)
            return vch_fail(w->err, VCH_ERR_FORMAT, "terms have no member \"%.*s\"", (int)vch_min(m->name.n, 100),
                            (const char *)m->name.p);
    }
    return VCH_OK;
}

static vch_rc put_members(writer_t *w, const vch_json_t *root)
{
    uint64_t pairs = 0;
    for (size_t i = 0; i < vch_terms_fields_n; i++)
        pairs += !vch_terms_fields[i].optional || vch_json_get(root, vch_terms_fields[i].name);
    VCH_TRY(vch_cbor_map(&w->document, pairs));
    for (size_t i = 0; i < vch_terms_fields_n; i++) {
        const vch_field_t *f = &vch_terms_fields[i];
        const vch_json_t *v = vch_json_get(root, f->name);
        if (!v && f->optional) continue;
        vch_rc rc = put_value(w, f, v);
        if (rc == VCH_ERR_LIMIT && w->err && w->err->rc != rc)
            return vch_fail(w->err, rc, "a terms document has at most %u bytes", DOCUMENT_MAX);
        VCH_TRY(rc);
    }
    return vch_fields_check(vch_buf_slice(&w->document), vch_terms_fields, vch_terms_fields_n, w->err);
}

static vch_rc build(writer_t *w, const char *json, size_t json_n)
{
    const vch_json_t *root;
    vch_arena_t arena;
    vch_arena_init(&arena, 1u << 20);
    vch_rc rc = vch_json_parse(&arena, &root, vch_slice(json, json_n), w->err);
    if (rc == VCH_OK && root->type != VCH_JSON_OBJECT) rc = vch_fail(w->err, VCH_ERR_FORMAT, "terms are a JSON object");
    if (rc == VCH_OK) rc = known_members(w, root);
    if (rc == VCH_OK) rc = vch_look_begin(w->l, w->err);
    if (rc == VCH_OK) {
        rc = put_members(w, root);
        vch_look_end(w->l);
    }
    vch_arena_free(&arena);
    return rc;
}

static vch_rc log_terms(writer_t *w, const vch_signer_t *signer, vch_receipt_t *ret)
{
    vch_buf_t fields;
    vch_buf_init(&fields, DOCUMENT_MAX + 16);
    vch_rc rc = vch_cbor_map(&fields, 1);
    if (rc == VCH_OK) rc = vch_cbor_uint(&fields, VCH_F_TERMS_DOCUMENT);
    if (rc == VCH_OK) rc = vch_cbor_bytes(&fields, w->document.p, w->document.n);
    vch_slice_t statement = vch_buf_slice(&fields);
    if (rc != VCH_OK)
        vch_fail(w->err, rc, "the terms can't be written: %s", vch_rc_text(rc));
    else
        rc = vch_ledger_write(w->l, signer, VCH_KIND_TERMS, &statement, 1, ret, w->err);
    vch_buf_free(&fields);
    return rc;
}

vch_rc vch_terms_add(vch_ledger_t *l, const vch_signer_t *signer, const char *json, size_t json_n, vch_hash_t *ret_hash,
                     vch_receipt_t *ret, vch_err_t *err)
{
    vch_err_t own = {0};
    writer_t w = {.l = l, .err = err ? err : &own};
    w.err->rc = VCH_OK;
    vch_buf_init(&w.document, DOCUMENT_MAX);
    vch_rc rc = build(&w, json, json_n);
    if (rc == VCH_OK) rc = log_terms(&w, signer, ret);
    if (rc == VCH_OK) vch_sha256(ret_hash, w.document.p, w.document.n);
    vch_buf_free(&w.document);
    return nd_told(rc, err);
}
