/* SPDX-License-Identifier: Apache-2.0 */
/* A submission receipt judged for people: the same codes as for bundles. */
#include <stdio.h>

#include "entry/receipt.h"
#include "verify/verify_impl.h"

int vch_receipt_is(const uint8_t *file, size_t n) { return vch_promise_is(vch_slice(file, n)); }

static void conclude(vch_report_t *r, vch_verify_code_t code, const char *why)
{
    r->code = code;
    r->status = vch_verify_status(code);
    if (code != VCH_V_OK) (void)snprintf(r->detail, sizeof r->detail, "%s", why);
}

static vch_rc judge(vch_report_t *r, const vch_promise_t *p, const vch_trust_t *trust, vch_slice_t evidence)
{
    vch_promise_finding_t f;
    VCH_TRY(vch_promise_judge(p, trust, evidence, &f));
    (void)snprintf(r->claim, sizeof r->claim, "entry %s stands at %llu of \"%s\"", SHORT(&p->entry), AT(p->index),
                   vfy_name(p->origin).s);
    r->time_ms = p->by_ms;
    r->newest_size = f.size;
    r->witness_s = f.witness_s;
    r->witnessed = f.witness_s > 0;
    conclude(r, f.code, f.why);
    return VCH_OK;
}

vch_rc vch_receipt_verify(vch_report_t *ret, const uint8_t *receipt, size_t receipt_n, const char *trust,
                          size_t trust_n, const uint8_t *evidence, size_t evidence_n, vch_err_t *err)
{
    vch_report_t r = {.claim = "a place in a log"};
    vch_promise_t p;
    vch_trust_t t;
    vch_err_t why = {0};
    conclude(&r, VCH_V_I_LOG, "the trust policy can't be read");
    *ret = r;
    VCH_TRY(vch_crypto_start());
    if (vch_trust_get(&t, vch_slice(trust, trust_n), &why) != VCH_OK)
        return vch_fail(err, VCH_ERR_FORMAT, "trust policy: %.400s", why.text);
    conclude(&r, VCH_V_F_FORMAT, "the receipt is not well-formed");
    *ret = r;
    if (vch_promise_get(&p, vch_slice(receipt, receipt_n)) != VCH_OK) return VCH_OK;
    vch_rc rc = judge(&r, &p, &t, vch_slice(evidence, evidence_n));
    if (rc == VCH_OK) *ret = r;
    return rc;
}
