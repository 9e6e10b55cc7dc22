/* SPDX-License-Identifier: Apache-2.0 */
/* An accepted tlog-proof is written again as the same bytes. */
#include <assert.h>

#include "codec/text.h"
#include "entry/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static vch_tlog_proof_t p;
    vch_slice_t in = vch_slice(data, n);
    vch_buf_t out, extra;
    if (vch_tlog_proof_get(&p, in) != VCH_OK) return 0;
    assert(p.n <= 64 && p.note.n > 0 && p.note.p + p.note.n == data + n);
    vch_buf_init(&out, 2 * VCH_NOTE_BYTES_MAX);
    vch_buf_init(&extra, n);
    vch_rc rc = p.extra.n ? vch_base64_get(&extra, p.extra) : VCH_OK;
    assert(rc == VCH_OK);
    rc = vch_tlog_proof_put(&out, p.index, p.path, p.n, vch_buf_slice(&extra), p.note);
    assert(rc == VCH_OK || n > out.max);
    if (rc == VCH_OK) assert(vch_slice_eq(vch_buf_slice(&out), in));
    vch_buf_free(&extra);
    vch_buf_free(&out);
    return 0;
}
