/* SPDX-License-Identifier: Apache-2.0 */
/* A trust policy, a zero byte, a bundle: always a verdict that hangs together,
 * never OK without a log that the policy names. */
#include <assert.h>

#include "base/base.h"
#include "vouchsafe/verify.h"

#define ARENA (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void see_link(void *ctx, const char *link, vch_verify_code_t code)
{
    size_t *seen = ctx;
    assert(strlen(link) < 300 && (unsigned)code < VCH_V_COUNT);
    ++*seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t arena[ARENA];
    static const uint8_t nothing;
    const uint8_t *zero = n ? memchr(data, 0, n) : NULL;
    size_t trust_n = zero ? (size_t)(zero - data) : n, bundle_n = zero ? n - trust_n - 1 : 0, links = 0;
    const uint8_t *bundle = bundle_n ? zero + 1 : &nothing;
    vch_verify_options_t options = {.link = see_link, .ctx = &links};
    vch_report_t r;
    vch_err_t err;
    memset(&r, 0xa5, sizeof r);
    vch_rc rc = vch_bundle_verify(&r, bundle, bundle_n, n ? (const char *)data : "", trust_n, &options, arena,
                                  sizeof arena, &err);
    assert((unsigned)r.code < VCH_V_COUNT && r.status == vch_verify_status(r.code));
    assert(memchr(r.claim, 0, sizeof r.claim) && memchr(r.detail, 0, sizeof r.detail));
    if (rc != VCH_OK) assert(r.status != VCH_VERIFY_OK);
    if (r.status == VCH_VERIFY_OK) assert(r.newest_size > 0 && links > 1 && r.detail[0] == 0);
    return 0;
}
