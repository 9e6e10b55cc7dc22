/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Lines, streaming: one JSON object a line, and a row's cells from it.
 * Memory is bounded by the longest line allowed and what its tree may take.
 * Lines end with LF or CRLF; the last one may lack its end.  Empty lines are
 * stepped over.  JSON is as strict as in json.h. */
#ifndef VCH_JSONL_H
#define VCH_JSONL_H

#include "codec/json.h"

#define VCH_JSONL_NAME_MAX 1024u /* bytes of a subject or key */

typedef struct {
    size_t bytes_max; /* of one line without its end */
    uint64_t line;    /* of the finished record, from 1 */
    uint64_t offset;  /* bytes eaten so far */
    uint64_t ends;    /* line ends eaten so far */
    vch_buf_t text;   /* the line being gathered */
    vch_arena_t arena;
    const vch_json_t *object; /* the finished record, good until the next feed; else NULL */
    bool failed;
} vch_jsonl_t;

/* Lines of at most bytes_max bytes (1 to 16 MiB).  Allocates nothing yet. */
void vch_jsonl_init(vch_jsonl_t *, size_t bytes_max);
void vch_jsonl_free(vch_jsonl_t *);
/* Eat bytes until one record is complete: *ret_done tells; *ret_eaten says how
 * many were used.  `last` marks the end of the input, which also ends a line.
 * ERR_FORMAT (no object, a name twice, not JSON) and ERR_LIMIT (line too long,
 * too deep, too many values) name the line in err.  Outputs stay untouched on
 * failure, and a refused reader stays refused. */
VCH_MUST_USE vch_rc vch_jsonl_feed(vch_jsonl_t *, vch_slice_t in, bool last, size_t *ret_eaten, bool *ret_done,
                                   vch_err_t *);

/* The finished record's members in the order of `column`; NULL where one is
 * missing.  ret has room for n.  ERR_FORMAT names the line and the member that
 * no column has; ret is then untouched.  O(n members). */
VCH_MUST_USE vch_rc vch_jsonl_cells(const vch_jsonl_t *, const vch_json_t **ret, const vch_slice_t *column, size_t n,
                                    vch_err_t *);
/* Append one cell's canonical bytes: the CBOR byte string of the value's JCS
 * form, CBOR null for NULL.  `scratch` is for its JCS form.  A JSON null is a
 * value: the byte string "null".  On failure b keeps what it had. */
VCH_MUST_USE vch_rc vch_jsonl_put_cell(vch_buf_t *b, vch_buf_t *scratch, const vch_json_t *value);
/* Append the text of a subject or key: a string as it is, an integer of at
 * most 2^53 - 1 either side of zero in decimal.  So "7" and 7 name the same.
 * ERR_FORMAT for others, for NULL and for text that is empty, begins with NUL
 * or has more than VCH_JSONL_NAME_MAX bytes; `what` is for the message. */
VCH_MUST_USE vch_rc vch_jsonl_put_name(const vch_jsonl_t *, vch_buf_t *b, const vch_json_t *value, const char *what,
                                       vch_err_t *);

#endif
