/* SPDX-License-Identifier: Apache-2.0 */
/* Checking and reading of fields against the table of kinds. */
#include "codec/cbor.h"
#include "entry/entry.h"

static vch_rc check_value(vch_cbor_t *c, const vch_field_t *f, vch_err_t *err);
static vch_rc check_struct(vch_cbor_t *c, const vch_field_t *field, size_t n, vch_err_t *err);

static vch_rc wrong_type(const vch_field_t *f, vch_err_t *err)
{
    return vch_fail(err, VCH_ERR_FORMAT, "field \"%s\" is of the wrong type", f->name);
}

static vch_rc check_range(const vch_field_t *f, uint64_t v, vch_err_t *err)
{
    if (v >= f->min && v <= f->max) return VCH_OK;
    return vch_fail(err, VCH_ERR_LIMIT, "field \"%s\": %llu is outside %llu to %llu", f->name, (unsigned long long)v,
                    (unsigned long long)f->min, (unsigned long long)f->max);
}

static vch_rc check_uint(vch_cbor_t *c, const vch_field_t *f, vch_err_t *err)
{
    uint64_t v;
    if (vch_cbor_get_uint(c, &v) != VCH_OK) return wrong_type(f, err);
    return check_range(f, v, err);
}

static vch_rc check_string(vch_cbor_t *c, const vch_field_t *f, vch_err_t *err)
{
    vch_slice_t s;
    vch_rc rc = f->type == VCH_T_TEXT ? vch_cbor_get_text(c, &s) : vch_cbor_get_bytes(c, &s);
    if (rc != VCH_OK) return wrong_type(f, err);
    return check_range(f, s.n, err);
}

static vch_rc check_list(vch_cbor_t *c, const vch_field_t *f, vch_err_t *err)
{
    uint64_t count;
    if (vch_cbor_get_array(c, &count) != VCH_OK) return wrong_type(f, err);
    VCH_TRY(check_range(f, count, err));
    for (uint64_t i = 0; i < count; i++) {
        vch_rc rc = check_value(c, f->sub, err);
        if (rc != VCH_OK) return vch_context(err, rc, "item %llu of \"%s\"", (unsigned long long)i, f->name);
    }
    return VCH_OK;
}

/* The table nests three deep, so this recursion is bounded by the table, not
 * by the input. */
static vch_rc check_value(vch_cbor_t *c, const vch_field_t *f, vch_err_t *err)
{
    switch (f->type) {
    case VCH_T_UINT:
        return check_uint(c, f, err);
    case VCH_T_BYTES:
    case VCH_T_TEXT:
        return check_string(c, f, err);
    case VCH_T_STRUCT:
        return check_struct(c, f->sub, f->subs, err);
    case VCH_T_LIST:
        return check_list(c, f, err);
    case VCH_T_BOOL:
        break;
    }
    bool ignored;
    return vch_cbor_get_bool(c, &ignored) == VCH_OK ? VCH_OK : wrong_type(f, err);
}

/* Keys ascend both in the map and in the table, so one pass over both shows
 * what is unknown, doubled or missing. */
static vch_rc check_struct(vch_cbor_t *c, const vch_field_t *field, size_t n, vch_err_t *err)
{
    uint64_t pairs;
    if (vch_cbor_get_map(c, &pairs) != VCH_OK) return vch_fail(err, VCH_ERR_FORMAT, "fields are not a map");
    size_t at = 0;
    for (uint64_t i = 0; i < pairs; i++) {
        uint64_t key;
        if (vch_cbor_get_uint(c, &key) != VCH_OK) return vch_fail(err, VCH_ERR_FORMAT, "a field key is not a number");
        for (; at < n && field[at].key != key; at++)
            if (!field[at].optional) return vch_fail(err, VCH_ERR_FORMAT, "field \"%s\" is missing", field[at].name);
        if (at == n)
            return vch_fail(err, VCH_ERR_FORMAT, "field %llu is unknown or out of order", (unsigned long long)key);
        VCH_TRY(check_value(c, &field[at++], err));
    }
    for (; at < n; at++)
        if (!field[at].optional) return vch_fail(err, VCH_ERR_FORMAT, "field \"%s\" is missing", field[at].name);
    return VCH_OK;
}

vch_rc vch_fields_check(vch_slice_t fields, const vch_field_t *field, size_t n, vch_err_t *err)
{
    vch_cbor_t c = vch_cbor_over(fields);
    VCH_TRY(check_struct(&c, field, n, err));
    return vch_cbor_done(&c) ? VCH_OK : vch_fail(err, VCH_ERR_FORMAT, "bytes follow the fields");
}

/* ---- reading ---------------------------------------------------------------- */

vch_rc vch_item_uint(vch_slice_t item, uint64_t *ret)
{
    vch_cbor_t c = vch_cbor_over(item);
    return vch_cbor_get_uint(&c, ret);
}

vch_rc vch_item_bytes(vch_slice_t item, vch_slice_t *ret)
{
    vch_cbor_t c = vch_cbor_over(item);
    vch_cbor_type_t type;
    VCH_TRY(vch_cbor_peek(&c, &type));
    return type == VCH_CBOR_TEXT ? vch_cbor_get_text(&c, ret) : vch_cbor_get_bytes(&c, ret);
}

vch_rc vch_field_uint(vch_slice_t fields, uint64_t key, uint64_t *ret)
{
    vch_slice_t item;
    VCH_TRY(vch_cbor_find(fields, key, &item));
    return vch_item_uint(item, ret);
}

vch_rc vch_field_bytes(vch_slice_t fields, uint64_t key, vch_slice_t *ret)
{
    vch_slice_t item;
    VCH_TRY(vch_cbor_find(fields, key, &item));
    return vch_item_bytes(item, ret);
}

vch_rc vch_field_fixed(vch_slice_t fields, uint64_t key, void *ret, size_t n)
{
    vch_slice_t s;
    VCH_TRY(vch_field_bytes(fields, key, &s));
    if (s.n != n) return VCH_ERR_FORMAT;
    memcpy(ret, s.p, n);
    return VCH_OK;
}

vch_rc vch_field_map(vch_slice_t fields, uint64_t key, vch_slice_t *ret) { return vch_cbor_find(fields, key, ret); }

vch_rc vch_field_list(vch_slice_t fields, uint64_t key, vch_list_t *ret)
{
    vch_slice_t item;
    vch_rc rc = vch_cbor_find(fields, key, &item);
    if (rc == VCH_ERR_NOT_FOUND) {
        *ret = (vch_list_t){{NULL, 0}, 0};
        return VCH_OK;
    }
    VCH_TRY(rc);
    vch_cbor_t c = vch_cbor_over(item);
    uint64_t count;
    VCH_TRY(vch_cbor_get_array(&c, &count));
    *ret = (vch_list_t){vch_slice(c.p, (size_t)(c.end - c.p)), count};
    return VCH_OK;
}

vch_rc vch_list_next(vch_list_t *l, vch_slice_t *ret_item)
{
    if (l->left == 0) return VCH_ERR_NOT_FOUND;
    vch_cbor_t c = vch_cbor_over(l->rest);
    VCH_TRY(vch_cbor_skip(&c, ret_item));
    l->rest = vch_slice(c.p, (size_t)(c.end - c.p));
    l->left--;
    return VCH_OK;
}
