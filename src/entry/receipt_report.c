/* SPDX-License-Identifier: Apache-2.0 */
/* A submission receipt judged for people: the same codes as for bundles. */
#include <stdio.h>

#include "entry/receipt.h"

int vch_receipt_is(const uint8_t *file, size_t n) { return vch_promise_is(vch_slice(file, n)); }

static void conclude(vch_report_t *r, vch_promise_verdict_t verdict, vch_verify_code_t code, const char *why)
{
    static const vch_verify_status_t status[] = {[VCH_PROMISE_KEPT] = VCH_VERIFY_OK,
                                                 [VCH_PROMISE_BROKEN] = VCH_VERIFY_FAIL,
                                                 [VCH_PROMISE_FORGED] = VCH_VERIFY_FAIL,
                                                 [VCH_PROMISE_INCONCLUSIVE] = VCH_VERIFY_INCONCLUSIVE};
    r->code = code;
    r->status = status[verdict];
    (void)snprintf(r->detail, sizeof r->detail, "%s", verdict == VCH_PROMISE_KEPT ? "" : why);
}

/* Names come from strangers and end up on terminals: only printable ASCII. */
static void claim(vch_report_t *r, const vch_promise_t *p)
{
    char entry[9], origin[49] = {0};
    vch_hex(entry, p->entry.b, 4);
    for (size_t i = 0; i < vch_min(p->origin.n, sizeof origin - 1); i++) {
        uint8_t c = p->origin.p[i];
        origin[i] = c >= 0x20 && c < 0x7f && c != '"' ? (char)c : '?';
    }
    (void)snprintf(r->claim, sizeof r->claim, "entry %s stands at %llu of \"%s\"", entry, (unsigned long long)p->index,
                   origin);
}

static vch_rc judge(vch_report_t *r, const vch_promise_t *p, const vch_trust_t *trust, vch_slice_t evidence)
{
    vch_promise_finding_t f;
    VCH_TRY(vch_promise_judge(p, trust, evidence, &f));
    claim(r, p);
    r->time_ms = p->by_ms;
    r->newest_size = f.size;
    r->witness_s = f.witness_s;
    r->witnessed = f.witness_s > 0;
    conclude(r, f.verdict, f.code, f.why);
    return VCH_OK;
}

vch_rc vch_receipt_verify(vch_report_t *ret, const uint8_t *receipt, size_t receipt_n, const char *trust,
                          size_t trust_n, const uint8_t *evidence, size_t evidence_n, vch_err_t *err)
{
    vch_report_t r = {.claim = "a place in a log"};
    vch_promise_t p;
    vch_trust_t t;
    vch_err_t why = {0};
    conclude(&r, VCH_PROMISE_INCONCLUSIVE, VCH_V_I_LOG, "the trust policy can't be read");
    *ret = r;
    VCH_TRY(vch_crypto_start());
    if (vch_trust_get(&t, vch_slice(trust, trust_n), &why) != VCH_OK)
        return vch_fail(err, VCH_ERR_FORMAT, "trust policy: %.400s", why.text);
    conclude(&r, VCH_PROMISE_FORGED, VCH_V_F_FORMAT, "the receipt is not well-formed");
    *ret = r;
    if (vch_promise_get(&p, vch_slice(receipt, receipt_n)) != VCH_OK) return VCH_OK;
    vch_rc rc = judge(&r, &p, &t, vch_slice(evidence, evidence_n));
    if (rc == VCH_OK) *ret = r;
    return rc;
}
