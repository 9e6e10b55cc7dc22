/* SPDX-License-Identifier: Apache-2.0 */
/* The same records and cells in one piece as byte by byte, whatever comes. */
#include <assert.h>
#include <stdlib.h>

#include "codec/cbor.h"
#include "codec/jsonl.h"

#define COLUMNS 3
#define BYTES_MAX 512
#define OUT_MAX (1u << 22)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Each record as its canonical JSON, a line each; `cells` gets the canonical
 * bytes and names of those that fit the columns. */
static void put_record(vch_buf_t *out, vch_buf_t *cells, const vch_jsonl_t *j)
{
    const vch_slice_t column[COLUMNS] = {vch_str("a"), vch_str("b"), vch_str("c")};
    const vch_json_t *cell[COLUMNS];
    vch_buf_t scratch;
    vch_buf_init(&scratch, OUT_MAX);
    size_t before = out->n;
    vch_rc rc = vch_jcs_put(out, j->object);
    assert(rc == VCH_OK || (rc == VCH_ERR_FORMAT && out->n == before)); /* a number beyond a double */
    if (rc == VCH_OK && vch_buf_u8(out, '\n') != VCH_OK) abort();
    if (vch_jsonl_cells(j, cell, column, COLUMNS, NULL) == VCH_OK) {
        for (size_t i = 0; i < COLUMNS; i++) {
            before = cells->n;
            if (vch_jsonl_put_cell(cells, &scratch, cell[i]) != VCH_OK) {
                assert(cells->n == before);
                continue;
            }
            assert(vch_cbor_check(vch_slice(cells->p + before, cells->n - before)) == VCH_OK);
        }
        before = cells->n;
        if (vch_jsonl_put_name(j, cells, cell[0], "key", NULL) != VCH_OK) assert(cells->n == before);
    }
    vch_buf_free(&scratch);
}

/* All records of `in`, fed in pieces of at most `step` bytes. */
static vch_rc rewrite(vch_buf_t *out, vch_buf_t *cells, vch_slice_t in, size_t step)
{
    vch_jsonl_t j;
    vch_rc rc;
    vch_jsonl_init(&j, BYTES_MAX);
    for (size_t at = 0;;) {
        size_t piece = vch_min(step, in.n - at), eaten = 0;
        bool done = false, last = at + piece == in.n;
        rc = vch_jsonl_feed(&j, vch_slice(in.p + at, piece), last, &eaten, &done, NULL);
        if (rc != VCH_OK) break;
        assert(eaten <= piece && (done || eaten == piece));
        at += eaten;
        assert(j.offset == at);
        if (done) put_record(out, cells, &j);
        if (!done && last) break;
    }
    assert(j.text.cap <= BYTES_MAX + 1);
    vch_jsonl_free(&j);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const uint8_t nothing;
    vch_slice_t in = vch_slice(n ? data : &nothing, n);
    vch_buf_t out[2], cells[2];
    for (int i = 0; i < 2; i++) {
        vch_buf_init(&out[i], OUT_MAX);
        vch_buf_init(&cells[i], OUT_MAX);
    }
    vch_rc rc = rewrite(&out[0], &cells[0], in, n + 1), rc_bytewise = rewrite(&out[1], &cells[1], in, 1);
    assert(rc == rc_bytewise);
    assert(vch_slice_eq(vch_buf_slice(&out[0]), vch_buf_slice(&out[1])));
    assert(vch_slice_eq(vch_buf_slice(&cells[0]), vch_buf_slice(&cells[1])));
    for (int i = 0; i < 2; i++) {
        vch_buf_free(&out[i]);
        vch_buf_free(&cells[i]);
    }
    return 0;
}
