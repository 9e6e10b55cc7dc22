/* SPDX-License-Identifier: Apache-2.0 */
/* Deterministic CBOR (RFC 8949 section 4.2.1): shortest heads, definite
 * lengths, map keys sorted by their encoded bytes without doubles, no floats,
 * no tags but COSE_Sign1's, text in well-formed UTF-8.  What the reader
 * accepts is exactly what the writer can produce.
 *
 * The writer appends to a vch_buf_t and never looks back: callers announce
 * counts and keep keys in order; vch_cbor_check() on the result is the proof.
 * The reader walks a borrowed slice; nothing allocates. */
#ifndef VCH_CBOR_H
#define VCH_CBOR_H

#include "base/base.h"

#define VCH_CBOR_DEPTH_MAX 16
#define VCH_CBOR_TAG_SIGN1 18

typedef enum {
    VCH_CBOR_UINT = 0,
    VCH_CBOR_NINT = 1,
    VCH_CBOR_BYTES = 2,
    VCH_CBOR_TEXT = 3,
    VCH_CBOR_ARRAY = 4,
    VCH_CBOR_MAP = 5,
    VCH_CBOR_TAG = 6,
    VCH_CBOR_SIMPLE = 7 /* false 20, true 21, null 22 */
} vch_cbor_type_t;

/* ---- writing: ERR_LIMIT or ERR_MEMORY of the buffer ---- */
VCH_MUST_USE vch_rc vch_cbor_uint(vch_buf_t *, uint64_t v);
VCH_MUST_USE vch_rc vch_cbor_int(vch_buf_t *, int64_t v);
VCH_MUST_USE vch_rc vch_cbor_bytes(vch_buf_t *, const void *p, size_t n);
VCH_MUST_USE vch_rc vch_cbor_text(vch_buf_t *, const char *p, size_t n); /* ERR_FORMAT if not UTF-8 */
VCH_MUST_USE vch_rc vch_cbor_array(vch_buf_t *, uint64_t count);
VCH_MUST_USE vch_rc vch_cbor_map(vch_buf_t *, uint64_t pairs);
VCH_MUST_USE vch_rc vch_cbor_tag(vch_buf_t *, uint64_t tag);
VCH_MUST_USE vch_rc vch_cbor_bool(vch_buf_t *, bool v);
VCH_MUST_USE vch_rc vch_cbor_null(vch_buf_t *);
/* An item already encoded, taken as it is. */
VCH_MUST_USE vch_rc vch_cbor_raw(vch_buf_t *, vch_slice_t item);

/* ---- reading: a cursor over bytes that may be hostile ---- */
typedef struct {
    const uint8_t *p, *end;
} vch_cbor_t;

typedef struct {
    vch_cbor_type_t type;
    uint64_t value;    /* number; length; count of items or pairs; tag; simple value */
    vch_slice_t bytes; /* of BYTES and TEXT, borrowed */
} vch_cbor_item_t;

static inline vch_cbor_t vch_cbor_over(vch_slice_t s) { return (vch_cbor_t){s.p, s.n ? s.p + s.n : s.p}; }
static inline bool vch_cbor_done(const vch_cbor_t *c) { return c->p == c->end; }

/* Each reads one head (and string body) and moves on; ERR_FORMAT, cursor
 * unmoved, when the next item is of another type or not deterministic. */
VCH_MUST_USE vch_rc vch_cbor_next(vch_cbor_t *, vch_cbor_item_t *ret);
VCH_MUST_USE vch_rc vch_cbor_peek(const vch_cbor_t *, vch_cbor_type_t *ret);
VCH_MUST_USE vch_rc vch_cbor_get_uint(vch_cbor_t *, uint64_t *ret);
VCH_MUST_USE vch_rc vch_cbor_get_int(vch_cbor_t *, int64_t *ret);
VCH_MUST_USE vch_rc vch_cbor_get_bytes(vch_cbor_t *, vch_slice_t *ret);
/* Exactly n bytes, copied. */
VCH_MUST_USE vch_rc vch_cbor_get_fixed(vch_cbor_t *, void *ret, size_t n);
VCH_MUST_USE vch_rc vch_cbor_get_text(vch_cbor_t *, vch_slice_t *ret);
VCH_MUST_USE vch_rc vch_cbor_get_array(vch_cbor_t *, uint64_t *ret_count);
VCH_MUST_USE vch_rc vch_cbor_get_map(vch_cbor_t *, uint64_t *ret_pairs);
VCH_MUST_USE vch_rc vch_cbor_get_tag(vch_cbor_t *, uint64_t tag);
VCH_MUST_USE vch_rc vch_cbor_get_bool(vch_cbor_t *, bool *ret);
/* Step over one whole item of any type, checking it; ret (may be NULL) gets
 * its bytes.  Nesting at most VCH_CBOR_DEPTH_MAX, no recursion on input. */
VCH_MUST_USE vch_rc vch_cbor_skip(vch_cbor_t *, vch_slice_t *ret);
/* The slice is exactly one deterministic item (sorted, unique map keys too). */
VCH_MUST_USE vch_rc vch_cbor_check(vch_slice_t item);
/* In a checked map with unsigned keys below 24: the value's bytes under
 * `key`, or ERR_NOT_FOUND.  O(pairs). */
VCH_MUST_USE vch_rc vch_cbor_find(vch_slice_t map, uint64_t key, vch_slice_t *ret);

#endif
