/* SPDX-License-Identifier: Apache-2.0 */
/* Strict JSON (RFC 8259, RFC 7493) for small documents and JSON Lines, and
 * its canonical form (JCS, RFC 8785).  Refused: names used twice, invalid
 * UTF-8, lone surrogates, a byte order mark, anything after the value, more
 * than VCH_JSON_DEPTH_MAX containers inside each other.
 *
 * The reader builds a tree in the caller's arena, whose maximum is the bound.
 * Strings without escapes and all numbers are borrowed from the input, so the
 * input and the arena must both outlive the tree.  A tree is read-only and
 * may be shared between threads. */
#ifndef VCH_JSON_H
#define VCH_JSON_H

#include "base/base.h"

#define VCH_JSON_DEPTH_MAX 32
#define VCH_JSON_NUMBER_MAX 400 /* bytes of one number as written */

typedef enum {
    VCH_JSON_NULL,
    VCH_JSON_BOOL,
    VCH_JSON_NUMBER,
    VCH_JSON_STRING,
    VCH_JSON_ARRAY,
    VCH_JSON_OBJECT
} vch_json_type_t;

typedef struct vch_json vch_json_t;
struct vch_json {
    vch_json_type_t type;
    bool boolean;             /* of a BOOL */
    bool integral;            /* a NUMBER without fraction or exponent that fits int64_t */
    int64_t integer;          /* its value when integral */
    vch_slice_t text;         /* STRING: unescaped, may hold NUL; NUMBER: as written */
    vch_slice_t name;         /* of a member of an OBJECT, unescaped */
    size_t count;             /* elements or members */
    const vch_json_t *first;  /* of ARRAY and OBJECT, in the input's order; NULL when empty */
    const vch_json_t *next;   /* in the same container; NULL at the end */
    const vch_json_t **order; /* an OBJECT's members by name, in JCS order */
};

/* Exactly one value, with white space around it allowed.  ERR_FORMAT names the
 * byte; ERR_LIMIT for depth, a number's length and a full arena.  What the
 * arena holds after a failure is waste. */
VCH_MUST_USE vch_rc vch_json_parse(vch_arena_t *, const vch_json_t **ret, vch_slice_t text, vch_err_t *);
/* A member, or NULL when absent or `object` is NULL or no OBJECT.  O(log count). */
const vch_json_t *vch_json_get(const vch_json_t *object, const char *name);

/* Append the value's canonical form.  ERR_FORMAT for a number beyond the range
 * of a double (RFC 8785 section 3.2.2.3); b then keeps what it had. */
VCH_MUST_USE vch_rc vch_jcs_put(vch_buf_t *b, const vch_json_t *value);
/* Append a string in quotes, escaped as JCS does (section 3.2.2.2), which any
 * JSON reader accepts.  ERR_FORMAT if it is not UTF-8. */
VCH_MUST_USE vch_rc vch_json_put_string(vch_buf_t *b, vch_slice_t s);

#endif
