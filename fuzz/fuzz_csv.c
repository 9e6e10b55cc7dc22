/* SPDX-License-Identifier: Apache-2.0 */
/* The same records in one piece as byte by byte; written again, the same cells. */
#include <assert.h>

#include "codec/text.h"

#define CELLS_MAX 32
#define BYTES_MAX 512
#define OUT_MAX (1u << 22)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void put_record(vch_buf_t *out, const vch_csv_t *c)
{
    for (size_t i = 0; i < c->count; i++) {
        vch_rc rc = i ? vch_buf_u8(out, ',') : VCH_OK;
        if (rc == VCH_OK) rc = vch_csv_put_cell(out, vch_csv_cell(c, i));
        assert(rc == VCH_OK);
    }
    vch_rc rc = vch_buf_u8(out, '\n');
    assert(rc == VCH_OK);
}

/* All records of `in`, written again; fed in pieces of at most `step` bytes. */
static vch_rc rewrite(vch_buf_t *out, vch_slice_t in, size_t step)
{
    vch_csv_t c;
    vch_err_t err;
    vch_rc rc = vch_csv_init(&c, CELLS_MAX, BYTES_MAX);
    assert(rc == VCH_OK);
    for (size_t at = 0;;) {
        size_t piece = vch_min(step, in.n - at), eaten = 0;
        bool done = false, last = at + piece == in.n;
        rc = vch_csv_feed(&c, vch_slice(in.p + at, piece), last, &eaten, &done, &err);
        if (rc != VCH_OK) break;
        assert(eaten <= piece && (done || eaten == piece));
        at += eaten;
        if (done) put_record(out, &c);
        if (!done && last) break;
    }
    assert(c.text.cap <= BYTES_MAX);
    vch_csv_free(&c);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const uint8_t nothing;
    vch_slice_t in = vch_slice(n ? data : &nothing, n);
    vch_buf_t whole, bytewise, again;
    vch_buf_init(&whole, OUT_MAX);
    vch_buf_init(&bytewise, OUT_MAX);
    vch_buf_init(&again, OUT_MAX);
    vch_rc rc = rewrite(&whole, in, n + 1), rc_bytewise = rewrite(&bytewise, in, 1);
    assert(rc == rc_bytewise);
    assert(vch_slice_eq(vch_buf_slice(&whole), vch_buf_slice(&bytewise)));
    if (rc == VCH_OK && whole.n > 0) {
        rc = rewrite(&again, vch_buf_slice(&whole), whole.n);
        assert(rc == VCH_OK);
        assert(vch_slice_eq(vch_buf_slice(&whole), vch_buf_slice(&again)));
    }
    vch_buf_free(&whole);
    vch_buf_free(&bytewise);
    vch_buf_free(&again);
    return 0;
}
