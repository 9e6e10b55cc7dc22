/* SPDX-License-Identifier: Apache-2.0 */
/* Accepted CBOR, read token by token and written again, is the same bytes. */
#include <assert.h>

#include "codec/cbor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static vch_rc write_item(vch_buf_t *out, const vch_cbor_item_t *item, vch_slice_t as_read)
{
    switch (item->type) {
    case VCH_CBOR_UINT:
        return vch_cbor_uint(out, item->value);
    case VCH_CBOR_NINT:
        if (item->value > INT64_MAX) return vch_cbor_raw(out, as_read); /* below what int64_t holds */
        return vch_cbor_int(out, -1 - (int64_t)item->value);
    case VCH_CBOR_BYTES:
        return vch_cbor_bytes(out, item->bytes.p, item->bytes.n);
    case VCH_CBOR_TEXT:
        return vch_cbor_text(out, (const char *)item->bytes.p, item->bytes.n);
    case VCH_CBOR_ARRAY:
        return vch_cbor_array(out, item->value);
    case VCH_CBOR_MAP:
        return vch_cbor_map(out, item->value);
    case VCH_CBOR_TAG:
        return vch_cbor_tag(out, item->value);
    case VCH_CBOR_SIMPLE:
        return item->value == 22 ? vch_cbor_null(out) : vch_cbor_bool(out, item->value == 21);
    }
    return VCH_ERR_INTERNAL;
}

/* Each getter either leaves the cursor or takes exactly what next takes. */
static void check_getters(vch_cbor_t at, vch_cbor_t after, const vch_cbor_item_t *item)
{
    vch_cbor_t c = at;
    int64_t i;
    vch_slice_t s;
    bool number = item->type == VCH_CBOR_UINT || item->type == VCH_CBOR_NINT;
    bool got = vch_cbor_get_int(&c, &i) == VCH_OK;
    assert(got == (number && item->value <= INT64_MAX));
    assert(c.p == (got ? after.p : at.p));
    c = at;
    got = vch_cbor_get_text(&c, &s) == VCH_OK;
    assert(got == (item->type == VCH_CBOR_TEXT));
    assert(c.p == (got ? after.p : at.p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_slice_t in = vch_slice(data, n), whole;
    vch_cbor_t c = vch_cbor_over(in);
    bool accepted = vch_cbor_check(in) == VCH_OK;
    vch_rc rc = vch_cbor_skip(&c, &whole);
    if (accepted) assert(rc == VCH_OK && vch_cbor_done(&c));
    if (rc != VCH_OK) {
        assert(c.p == in.p); /* unmoved */
        return 0;
    }
    assert(vch_cbor_check(whole) == VCH_OK);
    vch_buf_t out;
    vch_buf_init(&out, whole.n + 64);
    c = vch_cbor_over(whole);
    while (!vch_cbor_done(&c)) {
        vch_cbor_t at = c;
        vch_cbor_item_t item;
        rc = vch_cbor_next(&c, &item);
        assert(rc == VCH_OK);
        check_getters(at, c, &item);
        rc = write_item(&out, &item, vch_slice(at.p, (size_t)(c.p - at.p)));
        assert(rc == VCH_OK);
    }
    assert(vch_slice_eq(vch_buf_slice(&out), whole));
    vch_buf_free(&out);
    return 0;
}
