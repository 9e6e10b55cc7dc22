/* SPDX-License-Identifier: Apache-2.0 */
/* Text encodings: strict base64 (RFC 4648 section 4, canonical padding bits),
 * base58btc multibase, decimal numbers, did:key, CSV (RFC 4180), JCS. */
#ifndef VCH_TEXT_H
#define VCH_TEXT_H

#include "base/base.h"

/* Appends; encode never fails but for the buffer. */
VCH_MUST_USE vch_rc vch_base64_put(vch_buf_t *, const void *p, size_t n);
/* Canonical only: right padding, no white space, unused bits zero. */
VCH_MUST_USE vch_rc vch_base64_get(vch_buf_t *ret, vch_slice_t text);
/* Into a caller's array of exactly n bytes. */
VCH_MUST_USE vch_rc vch_base64_fixed(void *ret, size_t n, vch_slice_t text);
/* "z" + base58btc; at most 128 bytes in. */
VCH_MUST_USE vch_rc vch_multibase_put(vch_buf_t *, const void *p, size_t n);
VCH_MUST_USE vch_rc vch_multibase_get(vch_buf_t *ret, vch_slice_t text);
/* Unsigned decimal without sign, blanks or leading zeros. */
VCH_MUST_USE vch_rc vch_decimal_get(uint64_t *ret, vch_slice_t text);

/* ---- CSV, streaming, RFC 4180 with CRLF or LF ----
 * Cells come out exactly as unquoted, never normalised.  Bounded: a record of
 * more than cells_max cells or bytes_max bytes is ERR_LIMIT. */
typedef struct {
    size_t cells_max, bytes_max;
    uint64_t line;   /* of the record's first byte, from 1 */
    uint64_t offset; /* bytes eaten so far */
    vch_buf_t text;  /* the record's unquoted bytes, back to back */
    size_t *ends;    /* end of each cell in text */
    size_t count;    /* cells of the finished record */
    int state;
    bool record_open;
} vch_csv_t;

VCH_MUST_USE vch_rc vch_csv_init(vch_csv_t *, size_t cells_max, size_t bytes_max);
void vch_csv_free(vch_csv_t *);
/* Eat bytes until one record is complete: *ret_done tells; *ret_eaten says how
 * many were used.  `last` marks the end of the input, which also ends a
 * record.  ERR_FORMAT (quote inside a bare cell, text after a closing quote,
 * input ending inside quotes, NUL, not UTF-8) names line and cell in err. */
VCH_MUST_USE vch_rc vch_csv_feed(vch_csv_t *, vch_slice_t in, bool last, size_t *ret_eaten, bool *ret_done,
                                 vch_err_t *);
/* Cell i of the finished record, borrowed until the next feed. */
vch_slice_t vch_csv_cell(const vch_csv_t *, size_t i);
/* Append a cell, quoted when it must be. */
VCH_MUST_USE vch_rc vch_csv_put_cell(vch_buf_t *, vch_slice_t cell);

#endif
