/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/cbor.h"

/* A head is one byte, 3 bits of type and 5 bits of either the argument itself
 * (below 24) or the count of argument bytes that follow (24..27 = 1, 2, 4, 8);
 * RFC 8949 section 3. */
#define HEAD_MAX 9

/* ---- writing --------------------------------------------------------------- */

static size_t head_encode(uint8_t out[HEAD_MAX], vch_cbor_type_t type, uint64_t v)
{
    uint8_t major = (uint8_t)((unsigned)type << 5);
    if (v < 24) {
        out[0] = (uint8_t)(major | v);
        return 1;
    }
    if (v <= UINT8_MAX) {
        out[0] = major | 24;
        out[1] = (uint8_t)v;
        return 2;
    }
    if (v <= UINT16_MAX) {
        out[0] = major | 25;
        vch_put_u16(out + 1, (uint16_t)v);
        return 3;
    }
    if (v <= UINT32_MAX) {
        out[0] = major | 26;
        vch_put_u32(out + 1, (uint32_t)v);
        return 5;
    }
    out[0] = major | 27;
    vch_put_u64(out + 1, v);
    return 9;
}

static vch_rc put_head(vch_buf_t *b, vch_cbor_type_t type, uint64_t v)
{
    uint8_t head[HEAD_MAX];
    return vch_buf_put(b, head, head_encode(head, type, v));
}

/* Head and body go in together, so that a full buffer keeps neither. */
static vch_rc put_string(vch_buf_t *b, vch_cbor_type_t type, const void *p, size_t n)
{
    uint8_t head[HEAD_MAX], *to;
    size_t head_len = head_encode(head, type, n), size;
    if (vch_add_overflows(head_len, n, &size)) return VCH_ERR_LIMIT;
    VCH_TRY(vch_buf_extend(b, size, &to));
    memcpy(to, head, head_len);
    if (n) memcpy(to + head_len, p, n);
    return VCH_OK;
}

vch_rc vch_cbor_uint(vch_buf_t *b, uint64_t v) { return put_head(b, VCH_CBOR_UINT, v); }

vch_rc vch_cbor_int(vch_buf_t *b, int64_t v)
{
    if (v >= 0) return put_head(b, VCH_CBOR_UINT, (uint64_t)v);
    return put_head(b, VCH_CBOR_NINT, ~(uint64_t)v); /* -1 - v without overflow */
}

vch_rc vch_cbor_bytes(vch_buf_t *b, const void *p, size_t n) { return put_string(b, VCH_CBOR_BYTES, p, n); }

vch_rc vch_cbor_text(vch_buf_t *b, const char *p, size_t n)
{
    if (!vch_utf8_valid(vch_slice(p, n))) return VCH_ERR_FORMAT;
    return put_string(b, VCH_CBOR_TEXT, p, n);
}

vch_rc vch_cbor_array(vch_buf_t *b, uint64_t count) { return put_head(b, VCH_CBOR_ARRAY, count); }
vch_rc vch_cbor_map(vch_buf_t *b, uint64_t pairs) { return put_head(b, VCH_CBOR_MAP, pairs); }

vch_rc vch_cbor_tag(vch_buf_t *b, uint64_t tag)
{
    if (tag != VCH_CBOR_TAG_SIGN1) return VCH_ERR_FORMAT;
    return put_head(b, VCH_CBOR_TAG, tag);
}

vch_rc vch_cbor_bool(vch_buf_t *b, bool v) { return put_head(b, VCH_CBOR_SIMPLE, v ? 21 : 20); }
vch_rc vch_cbor_null(vch_buf_t *b) { return put_head(b, VCH_CBOR_SIMPLE, 22); }
vch_rc vch_cbor_raw(vch_buf_t *b, vch_slice_t item) { return vch_buf_put(b, item.p, item.n); }

/* ---- reading one head -------------------------------------------------------- */

/* The argument after the first byte; only the shortest form (section 4.2.1). */
static vch_rc read_argument(vch_cbor_t *c, unsigned info, uint64_t *ret)
{
    if (info < 24) {
        *ret = info;
        return VCH_OK;
    }
    if (info > 27) return VCH_ERR_FORMAT; /* reserved, or indefinite length */
    size_t n = (size_t)1 << (info - 24);
    if ((size_t)(c->end - c->p) < n) return VCH_ERR_FORMAT;
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) v = v << 8 | c->p[i];
    uint64_t least = info == 24 ? 24 : (uint64_t)1 << (4 * n); /* 2^8, 2^16, 2^32 */
    if (v < least) return VCH_ERR_FORMAT;
    c->p += n;
    *ret = v;
    return VCH_OK;
}

/* What the type says about its argument.  Every item takes a byte or more, so
 * a count beyond the bytes left is refused here: callers may trust it. */
static bool argument_fits(vch_cbor_type_t type, uint64_t v, size_t left)
{
    switch (type) {
    case VCH_CBOR_UINT:
    case VCH_CBOR_NINT:
        return true;
    case VCH_CBOR_BYTES:
    case VCH_CBOR_TEXT:
    case VCH_CBOR_ARRAY:
        return v <= left;
    case VCH_CBOR_MAP:
        return v <= left / 2;
    case VCH_CBOR_TAG:
        return v == VCH_CBOR_TAG_SIGN1 && left > 0;
    case VCH_CBOR_SIMPLE:
        return v >= 20 && v <= 22; /* one byte each: floats have info 25..27 */
    }
    return false;
}

/* Everything of vch_cbor_next but the walk over a text's bytes. */
static vch_rc read_item(vch_cbor_t *c, vch_cbor_item_t *ret)
{
    vch_cbor_t at = *c;
    if (at.p == at.end) return VCH_ERR_FORMAT;
    uint8_t first = *at.p++;
    vch_cbor_item_t item = {.type = (vch_cbor_type_t)(first >> 5)};
    VCH_TRY(read_argument(&at, first & 31, &item.value));
    if (!argument_fits(item.type, item.value, (size_t)(at.end - at.p))) return VCH_ERR_FORMAT;
    if (item.type == VCH_CBOR_BYTES || item.type == VCH_CBOR_TEXT) {
        item.bytes = vch_slice(at.p, (size_t)item.value);
        at.p += item.bytes.n;
    }
    *c = at;
    *ret = item;
    return VCH_OK;
}

vch_rc vch_cbor_next(vch_cbor_t *c, vch_cbor_item_t *ret)
{
    vch_cbor_t at = *c;
    vch_cbor_item_t item;
    VCH_TRY(read_item(&at, &item));
    if (item.type == VCH_CBOR_TEXT && !vch_utf8_valid(item.bytes)) return VCH_ERR_FORMAT;
    *c = at;
    *ret = item;
    return VCH_OK;
}

vch_rc vch_cbor_peek(const vch_cbor_t *c, vch_cbor_type_t *ret)
{
    vch_cbor_t at = *c;
    vch_cbor_item_t item;
    VCH_TRY(read_item(&at, &item));
    *ret = item.type;
    return VCH_OK;
}

/* ---- reading one item of a known type ------------------------------------------ */

static vch_rc get_typed(vch_cbor_t *c, vch_cbor_type_t type, vch_cbor_item_t *ret)
{
    vch_cbor_t at = *c;
    vch_cbor_item_t item;
    VCH_TRY(vch_cbor_next(&at, &item));
    if (item.type != type) return VCH_ERR_FORMAT;
    *c = at;
    *ret = item;
    return VCH_OK;
}

static vch_rc get_value(vch_cbor_t *c, vch_cbor_type_t type, uint64_t *ret)
{
    vch_cbor_item_t item;
    VCH_TRY(get_typed(c, type, &item));
    *ret = item.value;
    return VCH_OK;
}

static vch_rc get_string(vch_cbor_t *c, vch_cbor_type_t type, vch_slice_t *ret)
{
    vch_cbor_item_t item;
    VCH_TRY(get_typed(c, type, &item));
    *ret = item.bytes;
    return VCH_OK;
}

vch_rc vch_cbor_get_uint(vch_cbor_t *c, uint64_t *ret) { return get_value(c, VCH_CBOR_UINT, ret); }

vch_rc vch_cbor_get_int(vch_cbor_t *c, int64_t *ret)
{
    vch_cbor_t at = *c;
    vch_cbor_item_t item;
    VCH_TRY(vch_cbor_next(&at, &item));
    if (item.type != VCH_CBOR_UINT && item.type != VCH_CBOR_NINT) return VCH_ERR_FORMAT;
    if (item.value > INT64_MAX) return VCH_ERR_FORMAT;
    *ret = item.type == VCH_CBOR_UINT ? (int64_t)item.value : -1 - (int64_t)item.value;
    *c = at;
    return VCH_OK;
}

vch_rc vch_cbor_get_bytes(vch_cbor_t *c, vch_slice_t *ret) { return get_string(c, VCH_CBOR_BYTES, ret); }

vch_rc vch_cbor_get_fixed(vch_cbor_t *c, void *ret, size_t n)
{
    vch_cbor_t at = *c;
    vch_slice_t bytes;
    VCH_TRY(vch_cbor_get_bytes(&at, &bytes));
    if (bytes.n != n) return VCH_ERR_FORMAT;
    if (n) memcpy(ret, bytes.p, n);
    *c = at;
    return VCH_OK;
}

vch_rc vch_cbor_get_text(vch_cbor_t *c, vch_slice_t *ret) { return get_string(c, VCH_CBOR_TEXT, ret); }
vch_rc vch_cbor_get_array(vch_cbor_t *c, uint64_t *ret) { return get_value(c, VCH_CBOR_ARRAY, ret); }
vch_rc vch_cbor_get_map(vch_cbor_t *c, uint64_t *ret) { return get_value(c, VCH_CBOR_MAP, ret); }

vch_rc vch_cbor_get_tag(vch_cbor_t *c, uint64_t tag)
{
    vch_cbor_t at = *c;
    uint64_t value;
    VCH_TRY(get_value(&at, VCH_CBOR_TAG, &value));
    if (value != tag) return VCH_ERR_FORMAT;
    *c = at;
    return VCH_OK;
}

vch_rc vch_cbor_get_bool(vch_cbor_t *c, bool *ret)
{
    vch_cbor_t at = *c;
    uint64_t value;
    VCH_TRY(get_value(&at, VCH_CBOR_SIMPLE, &value));
    if (value != 20 && value != 21) return VCH_ERR_FORMAT;
    *ret = value == 21;
    *c = at;
    return VCH_OK;
}

/* ---- whole items ----------------------------------------------------------------- */

/* One open array, map or tag of the item being walked. */
typedef struct {
    uint64_t left;            /* items still to come; two for each pair */
    bool map;                 /* an even `left` then means: a key comes next */
    const uint8_t *key_start; /* of the key being read */
    vch_slice_t key;          /* the last whole key; p is NULL before the first */
} frame_t;

/* Items of children a container announces; 0 for all else. */
static uint64_t children(const vch_cbor_item_t *item)
{
    if (item->type == VCH_CBOR_ARRAY) return item->value;
    if (item->type == VCH_CBOR_MAP) return 2 * item->value; /* fits: value <= bytes left / 2 */
    return item->type == VCH_CBOR_TAG ? 1 : 0;
}

/* Bytewise order of the encodings (section 4.2.1); equal keys are refused. */
static bool key_after(vch_slice_t last, vch_slice_t key)
{
    if (!last.p) return true;
    int order = memcmp(last.p, key.p, vch_min(last.n, key.n));
    return order < 0 || (order == 0 && last.n < key.n);
}

/* The innermost container got one item, which may have been its last. */
static vch_rc item_ended(frame_t *stack, size_t *depth, const uint8_t *end)
{
    while (*depth > 0) {
        frame_t *top = &stack[*depth - 1];
        top->left--;
        if (top->map && top->left % 2 == 1) {
            vch_slice_t key = vch_slice(top->key_start, (size_t)(end - top->key_start));
            if (!key_after(top->key, key)) return VCH_ERR_FORMAT;
            top->key = key;
        }
        if (top->left > 0) return VCH_OK;
        --*depth;
    }
    return VCH_OK;
}

vch_rc vch_cbor_skip(vch_cbor_t *c, vch_slice_t *ret)
{
    vch_cbor_t at = *c;
    frame_t stack[VCH_CBOR_DEPTH_MAX];
    size_t depth = 0;
    do {
        frame_t *top = depth ? &stack[depth - 1] : NULL;
        if (top && top->map && top->left % 2 == 0) top->key_start = at.p;
        vch_cbor_item_t item;
        VCH_TRY(vch_cbor_next(&at, &item));
        bool container = item.type >= VCH_CBOR_ARRAY && item.type <= VCH_CBOR_TAG;
        if (container && depth == VCH_CBOR_DEPTH_MAX) return VCH_ERR_FORMAT;
        uint64_t left = children(&item);
        if (left > 0)
            stack[depth++] = (frame_t){.left = left, .map = item.type == VCH_CBOR_MAP};
        else
            VCH_TRY(item_ended(stack, &depth, at.p));
    } while (depth > 0);
    if (ret) *ret = vch_slice(c->p, (size_t)(at.p - c->p));
    *c = at;
    return VCH_OK;
}

vch_rc vch_cbor_check(vch_slice_t item)
{
    vch_cbor_t c = vch_cbor_over(item);
    VCH_TRY(vch_cbor_skip(&c, NULL));
    return vch_cbor_done(&c) ? VCH_OK : VCH_ERR_FORMAT;
}

vch_rc vch_cbor_find(vch_slice_t map, uint64_t key, vch_slice_t *ret)
{
    vch_cbor_t c = vch_cbor_over(map);
    uint64_t pairs;
    VCH_TRY(vch_cbor_get_map(&c, &pairs));
    for (uint64_t i = 0; i < pairs; i++) {
        vch_cbor_item_t at;
        VCH_TRY(vch_cbor_next(&c, &at));
        if (at.type != VCH_CBOR_UINT || at.value > key) return VCH_ERR_NOT_FOUND; /* sorted: it can't follow */
        if (at.value == key) return vch_cbor_skip(&c, ret);
        VCH_TRY(vch_cbor_skip(&c, NULL));
    }
    return VCH_ERR_NOT_FOUND;
}
