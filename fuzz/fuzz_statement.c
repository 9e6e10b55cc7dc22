/* SPDX-License-Identifier: Apache-2.0 */
/* What the table of kinds accepts can be read field by field: every required
 * one is there, every value is in its range, lists end where they say. */
#include <assert.h>

#include "entry/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_struct(vch_slice_t fields, const vch_field_t *f, size_t n);

static void check_number(const vch_field_t *f, uint64_t v) { assert(v >= f->min && v <= f->max); }

static void check_item(vch_slice_t item, const vch_field_t *f)
{
    uint64_t v = 0;
    vch_slice_t s = {NULL, 0};
    vch_rc rc = VCH_OK;
    if (f->type == VCH_T_STRUCT) {
        check_struct(item, f->sub, f->subs);
    } else if (f->type == VCH_T_UINT) {
        rc = vch_item_uint(item, &v);
        check_number(f, v);
    } else {
        rc = vch_item_bytes(item, &s);
        check_number(f, s.n);
        assert(f->type != VCH_T_TEXT || vch_utf8_valid(s));
    }
    assert(rc == VCH_OK);
}

static void check_list(vch_slice_t fields, const vch_field_t *f)
{
    vch_list_t list;
    vch_slice_t item;
    vch_rc rc = vch_field_list(fields, f->key, &list);
    assert(rc == VCH_OK);
    check_number(f, list.left);
    for (uint64_t left = list.left; left > 0; left--) {
        rc = vch_list_next(&list, &item);
        assert(rc == VCH_OK);
        check_item(item, f->sub);
    }
    rc = vch_list_next(&list, &item);
    assert(rc == VCH_ERR_NOT_FOUND);
}

static void check_fixed(vch_slice_t fields, const vch_field_t *f)
{
    uint8_t bytes[256], more[257];
    if (f->type != VCH_T_BYTES || f->min != f->max || f->min > sizeof bytes) return;
    vch_rc rc = vch_field_fixed(fields, f->key, bytes, (size_t)f->min);
    assert(rc == VCH_OK);
    rc = vch_field_fixed(fields, f->key, more, (size_t)f->min + 1);
    assert(rc == VCH_ERR_FORMAT);
}

/* As deep as the table is: three. */
static void check_struct(vch_slice_t fields, const vch_field_t *f, size_t n)
{
    for (; n > 0; n--, f++) {
        vch_slice_t item;
        vch_rc rc = vch_field_map(fields, f->key, &item);
        if (rc == VCH_ERR_NOT_FOUND) {
            assert(f->optional);
            continue;
        }
        assert(rc == VCH_OK);
        if (f->type == VCH_T_LIST) {
            check_list(fields, f);
            continue;
        }
        check_item(item, f);
        check_fixed(fields, f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_statement_t s;
    vch_err_t err = {0};
    vch_buf_t out;
    vch_rc rc = vch_statement_read(&s, vch_slice(data, n), &err);
    assert(rc == err.rc && (rc == VCH_OK) == (err.text[0] == 0) && !strchr(err.text, '\n'));
    if (rc != VCH_OK) return 0;
    const vch_schema_t *schema = vch_schema(s.kind);
    assert(schema && s.salt.n == VCH_SALT_LEN);
    check_struct(s.fields, schema->field, schema->fields);
    vch_buf_init(&out, n + 64);
    rc = vch_statement_put(&out, s.kind, s.salt.p, s.fields);
    assert(rc == VCH_OK && vch_slice_eq(vch_buf_slice(&out), s.bytes));
    vch_buf_free(&out);
    return 0;
}
