/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of statements as JSON and back, led by the table of kinds, whose
 * nesting bounds the recursion here. */
#include "node/node_int.h"

#include "codec/cbor.h"
#include "codec/text.h"

#define SHOW(s) (int)vch_min((s).n, 80), (const char *)(s).p

static bool named(const vch_field_t *f, const char *name) { return strcmp(f->name, name) == 0; }
static bool is_document(const vch_field_t *f) { return f->type == VCH_T_BYTES && named(f, "document"); }
static bool is_roles(const vch_field_t *f) { return f->type == VCH_T_UINT && named(f, "roles"); }

/* ---- from JSON ----------------------------------------------------------------------- */

static vch_rc put_value(vch_buf_t *b, const vch_field_t *f, const vch_json_t *v, vch_err_t *err);

static vch_rc wrong(const vch_field_t *f, const char *want, vch_err_t *err)
{
    return vch_fail(err, VCH_ERR_FORMAT, "member \"%s\" must be %s", f->name, want);
}

static vch_rc full(vch_rc rc, vch_err_t *err)
{
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the fields can't be encoded: %s", vch_rc_text(rc));
}

static vch_rc put_label(vch_buf_t *b, const vch_field_t *f, vch_slice_t text, vch_err_t *err)
{
    for (uint64_t i = f->min; i <= f->max; i++)
        if (vch_slice_eq(text, vch_str(f->labels[i - f->min]))) return full(vch_cbor_uint(b, i), err);
    return vch_fail(err, VCH_ERR_FORMAT, "member \"%s\": \"%.*s\" is none of its choices", f->name, SHOW(text));
}

static vch_rc put_roles(vch_buf_t *b, const vch_field_t *f, const vch_json_t *v, vch_err_t *err)
{
    unsigned set = 0, one;
    for (const vch_json_t *r = v->first; r; r = r->next) {
        if (r->type != VCH_JSON_STRING || !nd_role_get(r->text, &one))
            return wrong(f, "a list of custodian, user, node, trustee, storage, witness, auditor, owner", err);
        set |= one;
    }
    return full(vch_cbor_uint(b, set), err);
}

static vch_rc put_uint(vch_buf_t *b, const vch_field_t *f, const vch_json_t *v, vch_err_t *err)
{
    uint64_t n;
    if (is_roles(f) && v->type == VCH_JSON_ARRAY) return put_roles(b, f, v, err);
    if (f->labels && v->type == VCH_JSON_STRING) return put_label(b, f, v->text, err);
    if (v->type != VCH_JSON_NUMBER || vch_decimal_get(&n, v->text) != VCH_OK)
        return wrong(f, f->labels ? "one of its choices" : "a number without sign or fraction", err);
    return full(vch_cbor_uint(b, n), err);
}

static vch_rc put_hex(vch_buf_t *b, const vch_field_t *f, const vch_json_t *v, vch_err_t *err)
{
    if (v->type != VCH_JSON_STRING || v->text.n % 2) return wrong(f, "bytes in hex", err);
    size_t n = v->text.n / 2;
    uint8_t *bytes = vch_alloc(n + 1);
    if (!bytes) return full(VCH_ERR_MEMORY, err);
    vch_rc rc = vch_unhex(bytes, n, (const char *)v->text.p, v->text.n) ? full(vch_cbor_bytes(b, bytes, n), err)
                                                                        : wrong(f, "bytes in hex", err);
    vch_free(bytes);
    return rc;
}

static vch_rc put_document(vch_buf_t *b, const vch_json_t *v, vch_err_t *err)
{
    vch_buf_t document;
    vch_buf_init(&document, VCH_TX_BYTES_MAX);
    vch_rc rc = vch_fields_from_json(&document, vch_terms_fields, vch_terms_fields_n, v, err);
    if (rc == VCH_OK) rc = full(vch_cbor_bytes(b, document.p, document.n), err);
    vch_buf_free(&document);
    return rc;
}

static vch_rc put_list(vch_buf_t *b, const vch_field_t *f, const vch_json_t *v, vch_err_t *err)
{
    if (v->type != VCH_JSON_ARRAY) return wrong(f, "a list", err);
    VCH_TRY(full(vch_cbor_array(b, v->count), err));
    size_t i = 0;
    for (const vch_json_t *item = v->first; item; item = item->next, i++) {
        vch_rc rc = put_value(b, f->sub, item, err);
        if (rc != VCH_OK) return vch_context(err, rc, "item %zu of \"%s\"", i, f->name);
    }
    return VCH_OK;
}

static bool known(const vch_field_t *field, size_t n, vch_slice_t name)
{
    for (size_t i = 0; i < n; i++)
        if (vch_slice_eq(name, vch_str(field[i].name))) return true;
    return false;
}

static vch_rc put_object(vch_buf_t *b, const vch_field_t *field, size_t n, const vch_json_t *v, vch_err_t *err)
{
    if (v->type != VCH_JSON_OBJECT) return vch_fail(err, VCH_ERR_FORMAT, "fields must be an object");
    for (const vch_json_t *m = v->first; m; m = m->next)
        if (!known(field, n, m->name)) return vch_fail(err, VCH_ERR_FORMAT, "unknown member \"%.*s\"", SHOW(m->name));
    VCH_TRY(full(vch_cbor_map(b, v->count), err));
    for (size_t i = 0; i < n; i++) {
        const vch_json_t *m = vch_json_get(v, field[i].name);
        if (!m && !field[i].optional) return vch_fail(err, VCH_ERR_FORMAT, "member \"%s\" is missing", field[i].name);
        if (!m) continue;
        VCH_TRY(full(vch_cbor_uint(b, field[i].key), err));
        VCH_TRY(put_value(b, &field[i], m, err));
    }
    return VCH_OK;
}

static vch_rc put_value(vch_buf_t *b, const vch_field_t *f, const vch_json_t *v, vch_err_t *err)
{
    switch (f->type) {
    case VCH_T_UINT:
        return put_uint(b, f, v, err);
    case VCH_T_BYTES:
        return is_document(f) && v->type == VCH_JSON_OBJECT ? put_document(b, v, err) : put_hex(b, f, v, err);
    case VCH_T_STRUCT:
        return put_object(b, f->sub, f->subs, v, err);
    case VCH_T_LIST:
        return put_list(b, f, v, err);
    case VCH_T_TEXT:
        if (v->type != VCH_JSON_STRING) return wrong(f, "text", err);
        return full(vch_cbor_text(b, (const char *)v->text.p, v->text.n), err);
    case VCH_T_BOOL:
        break;
    }
    return v->type == VCH_JSON_BOOL ? full(vch_cbor_bool(b, v->boolean), err) : wrong(f, "true or false", err);
}

vch_rc vch_fields_from_json(vch_buf_t *ret, const vch_field_t *field, size_t n, const vch_json_t *object,
                            vch_err_t *err)
{
    size_t at = ret->n;
    vch_rc rc = put_object(ret, field, n, object, err);
    if (rc == VCH_OK) rc = vch_fields_check(vch_slice(ret->p + at, ret->n - at), field, n, err);
    if (rc != VCH_OK) ret->n = at;
    return rc;
}

/* ---- to JSON ----------------------------------------------------------------------------- */

static vch_rc show_object(vch_buf_t *b, const vch_field_t *field, size_t n, vch_slice_t map);

static vch_rc show_uint(vch_buf_t *b, const vch_field_t *f, uint64_t v)
{
    if (is_roles(f)) return nd_put_roles(b, (unsigned)v);
    if (f->labels && v >= f->min && v <= f->max) return vch_buf_printf(b, "\"%s\"", f->labels[v - f->min]);
    return vch_buf_printf(b, "%llu", (unsigned long long)v);
}

static vch_rc show_value(vch_buf_t *b, const vch_field_t *f, vch_slice_t item);

static vch_rc show_list(vch_buf_t *b, const vch_field_t *f, vch_slice_t item)
{
    vch_cbor_t c = vch_cbor_over(item);
    uint64_t n;
    VCH_TRY(vch_cbor_get_array(&c, &n));
    VCH_TRY(vch_buf_u8(b, '['));
    for (uint64_t i = 0; i < n; i++) {
        vch_slice_t one;
        VCH_TRY(vch_cbor_skip(&c, &one));
        if (i) VCH_TRY(vch_buf_u8(b, ','));
        VCH_TRY(show_value(b, f->sub, one));
    }
    return vch_buf_u8(b, ']');
}

static vch_rc show_value(vch_buf_t *b, const vch_field_t *f, vch_slice_t item)
{
    vch_cbor_t c = vch_cbor_over(item);
    vch_slice_t s;
    uint64_t n;
    bool flag;
    switch (f->type) {
    case VCH_T_UINT:
        VCH_TRY(vch_cbor_get_uint(&c, &n));
        return show_uint(b, f, n);
    case VCH_T_TEXT:
        VCH_TRY(vch_cbor_get_text(&c, &s));
        return vch_json_put_string(b, s);
    case VCH_T_STRUCT:
        return show_object(b, f->sub, f->subs, item);
    case VCH_T_LIST:
        return show_list(b, f, item);
    case VCH_T_BYTES:
        VCH_TRY(vch_cbor_get_bytes(&c, &s));
        if (is_document(f) && vch_fields_check(s, vch_terms_fields, vch_terms_fields_n, NULL) == VCH_OK)
            return show_object(b, vch_terms_fields, vch_terms_fields_n, s);
        return nd_put_hex(b, s.p, s.n);
    case VCH_T_BOOL:
        break;
    }
    VCH_TRY(vch_cbor_get_bool(&c, &flag));
    return vch_buf_printf(b, flag ? "true" : "false");
}

static vch_rc show_object(vch_buf_t *b, const vch_field_t *field, size_t n, vch_slice_t map)
{
    bool first = true;
    VCH_TRY(vch_buf_u8(b, '{'));
    for (size_t i = 0; i < n; i++) {
        vch_slice_t item;
        vch_rc rc = vch_cbor_find(map, field[i].key, &item);
        if (rc == VCH_ERR_NOT_FOUND) continue;
        VCH_TRY(rc);
        VCH_TRY(vch_buf_printf(b, "%s\"%s\":", first ? "" : ",", field[i].name));
        VCH_TRY(show_value(b, &field[i], item));
        first = false;
    }
    return vch_buf_u8(b, '}');
}

vch_rc vch_fields_to_json(vch_buf_t *ret, const vch_field_t *field, size_t n, vch_slice_t fields, vch_err_t *err)
{
    size_t at = ret->n;
    VCH_TRY(vch_fields_check(fields, field, n, err));
    vch_rc rc = show_object(ret, field, n, fields);
    if (rc == VCH_OK) return rc;
    ret->n = at;
    return vch_fail(err, rc, "showing fields: %s", vch_rc_text(rc));
}

/* ---- submitting JSON ----------------------------------------------------------------------- */

typedef struct {
    vch_buf_t *fields;
    vch_slice_t *slice;
    size_t n;
} made_t;

static vch_rc make_fields(made_t *m, vch_arena_t *arena, const vch_schema_t *schema, const vch_json_t *json,
                          vch_err_t *err)
{
    bool list = json->type == VCH_JSON_ARRAY;
    const vch_json_t *one = list ? json->first : json;
    size_t n = list ? json->count : 1;
    if (n == 0 || n > VCH_TX_STATEMENTS_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "an entry has 1 to %u statements", VCH_TX_STATEMENTS_MAX);
    m->fields = vch_arena_array(arena, n, sizeof *m->fields);
    m->slice = vch_arena_array(arena, n, sizeof *m->slice);
    if (!m->fields || !m->slice) return full(VCH_ERR_MEMORY, err);
    for (; m->n < n; one = one->next) {
        vch_buf_t *b = &m->fields[m->n];
        vch_buf_init(b, VCH_TX_BYTES_MAX);
        vch_rc rc = vch_fields_from_json(b, schema->field, schema->fields, one, err);
        m->slice[m->n++] = vch_buf_slice(b);
        if (rc != VCH_OK) return list ? vch_context(err, rc, "%s %zu", schema->name, m->n - 1) : rc;
    }
    return VCH_OK;
}

vch_rc vch_submit_json(vch_ledger_t *l, const vch_signer_t *signer, const char *kind, const char *json, size_t json_n,
                       vch_receipt_t *ret, vch_err_t *err)
{
    const vch_schema_t *schema = vch_schema_by_name(kind);
    const vch_json_t *tree;
    vch_arena_t arena;
    made_t made = {.n = 0};
    if (!schema || schema->kind == VCH_KIND_GENESIS)
        return vch_fail(err, VCH_ERR_UNSUPPORTED, "entries of kind \"%.40s\" can't be submitted", kind);
    vch_arena_init(&arena, 64u << 20);
    vch_rc rc = vch_json_parse(&arena, &tree, vch_slice(json, json_n), err);
    if (rc == VCH_OK) rc = make_fields(&made, &arena, schema, tree, err);
    if (rc == VCH_OK) rc = vch_ledger_write(l, signer, schema->kind, made.slice, made.n, ret, err);
    for (size_t i = 0; i < made.n; i++) vch_buf_free(&made.fields[i]);
    vch_arena_free(&arena);
    return nd_told(rc, err);
}
