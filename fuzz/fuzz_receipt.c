/* SPDX-License-Identifier: Apache-2.0 */
/* receipt [00 evidence]: an accepted receipt is written again as the same
 * bytes, and without evidence none is kept. */
#include <assert.h>

#include "entry/receipt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Whose log the seeds are of. */
static const char policy[] =
    "log clinic-a.example/log+f21eb684+AexMMEBubIGJB95vYRW1AlAnGeFN57wxgwjdJguoHw8Q\nquorum none\n";

static vch_report_t judge(vch_slice_t receipt, vch_slice_t evidence)
{
    vch_report_t r;
    vch_rc rc = vch_receipt_verify(&r, receipt.p, receipt.n, policy, sizeof policy - 1, evidence.p, evidence.n, NULL);
    assert(rc == VCH_OK && r.status == vch_verify_status(r.code));
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static vch_promise_t p;
    const uint8_t *zero = n ? memchr(data, 0, n) : NULL;
    vch_slice_t in = vch_slice(data, zero ? (size_t)(zero - data) : n);
    vch_slice_t evidence = zero ? vch_slice(zero + 1, n - in.n - 1) : vch_slice(NULL, 0);
    vch_buf_t out;
    (void)judge(in, evidence);
    assert(judge(in, vch_slice(NULL, 0)).status != VCH_VERIFY_OK);
    if (vch_promise_get(&p, in) != VCH_OK) return 0;
    assert(vch_promise_is(in) && p.position < p.count && p.count <= VCH_RECEIPT_BATCH_MAX);
    assert(p.path_n <= VCH_PATH_HASHES_MAX && p.origin.n > 0 && p.note.p + p.note.n == in.p + in.n);
    vch_buf_init(&out, VCH_RECEIPT_BYTES_MAX);
    vch_rc rc = vch_promise_write(&out, &p);
    assert(rc == VCH_OK && vch_slice_eq(vch_buf_slice(&out), in));
    vch_buf_free(&out);
    return 0;
}
