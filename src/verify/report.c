/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>

#include "verify/verify_impl.h"

typedef struct {
    const char *code, *text;
    vch_verify_status_t status;
} row_t;

static const row_t rows[] = {
#define VERIFY_ROW(name, code, status, text) {code, text, VCH_VERIFY_##status},
    VCH_VERIFY_CODE_LIST(VERIFY_ROW)
#undef VERIFY_ROW
};

/* An unknown code never reads as good news. */
static const row_t *row_of(vch_verify_code_t code)
{
    static const row_t unknown = {"?", "an unknown code", VCH_VERIFY_INCONCLUSIVE};
    return (unsigned)code < VCH_V_COUNT ? &rows[code] : &unknown;
}

const char *vch_verify_code(vch_verify_code_t code) { return row_of(code)->code; }
const char *vch_verify_text(vch_verify_code_t code) { return row_of(code)->text; }
vch_verify_status_t vch_verify_status(vch_verify_code_t code) { return row_of(code)->status; }

int vch_verify_exit(vch_verify_status_t status)
{
    static const int code[] = {[VCH_VERIFY_OK] = 0, [VCH_VERIFY_INCONCLUSIVE] = 4, [VCH_VERIFY_FAIL] = 3};
    return (unsigned)status <= VCH_VERIFY_FAIL ? code[status] : code[VCH_VERIFY_FAIL];
}

/* ---- what the other files say --------------------------------------------------- */

static void tell(verify_t *v, const char *link, vch_verify_code_t code)
{
    if (v->options && v->options->link) v->options->link(v->options->ctx, link, code);
}

vch_rc vfy_stop(verify_t *v, vch_verify_code_t code, const char *fmt, ...)
{
    vch_report_t *r = v->report;
    char detail[sizeof r->detail];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    tell(v, detail, code);
    bool worse = r->code == VCH_V_OK || (r->status != VCH_VERIFY_FAIL && vch_verify_status(code) == VCH_VERIFY_FAIL);
    if (!worse) return VCH_ERR_DENIED;
    r->code = code;
    r->status = vch_verify_status(code);
    memcpy(r->detail, detail, sizeof detail);
    return VCH_ERR_DENIED;
}

void vfy_claim(verify_t *v, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(v->report->claim, sizeof v->report->claim, fmt, args);
    va_end(args);
}

vch_rc vfy_no_memory(verify_t *v)
{
    return vfy_stop(v, VCH_V_I_MEMORY, "more memory than the arena's %zu bytes is needed", v->arena->cap);
}

void vfy_link(verify_t *v, const char *fmt, ...)
{
    v->report->links++;
    if (!v->options || !v->options->link) return;
    char link[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(link, sizeof link, fmt, args);
    va_end(args);
    tell(v, link, VCH_V_OK);
}

vfy_text_t vfy_short(const void *id32)
{
    vfy_text_t ret = {{0}};
    vch_hex(ret.s, id32, 4);
    return ret;
}

/* Names come from strangers and end up on terminals: only printable ASCII. */
vfy_text_t vfy_name(vch_slice_t text)
{
    vfy_text_t ret = {{0}};
    size_t n = vch_min(text.n, 48), dots = text.n > n ? 3 : 0;
    for (size_t i = 0; i < n; i++)
        ret.s[i] = text.p[i] >= 0x20 && text.p[i] < 0x7f && text.p[i] != '"' ? (char)text.p[i] : '?';
    memcpy(ret.s + n, "...", dots);
    return ret;
}

/* ---- the way in -------------------------------------------------------------------- */

/* By vfy_type_t; before anything is checked, the claim is only what the bundle says. */
static const struct {
    const char *what;
    vch_rc (*check)(verify_t *);
} claims[] = {{NULL, NULL},
              {"decisions of batch", vfy_claim_decision},
              {"the outcome of access request", vfy_claim_access},
              {"a consent in dataset", vfy_claim_consent},
              {"the use of a row in run", vfy_claim_row},
              {"the lineage of model", vfy_claim_lineage},
              {"an erasure in dataset", vfy_claim_erasure}};

/* The newest time that the evidence itself proves. */
static void check_fresh(verify_t *v)
{
    uint64_t as_of = v->options ? v->options->as_of_ms : 0, newest_ms = 0;
    if (as_of == 0) return;
    for (size_t i = 0; i < v->leaves; i++)
        if (v->leaf[i].known && v->leaf[i].kind == VCH_KIND_STATE_COMMIT) newest_ms = v->leaf[i].commit.time.ms;
    if (v->report->witnessed && __builtin_mul_overflow(v->report->witness_s, (uint64_t)1000, &newest_ms))
        newest_ms = UINT64_MAX;
    if (newest_ms < as_of)
        vfy_doubt(v, VCH_V_I_STALE, "the newest checkpoint stands for %llu ms, asked for %llu", AT(newest_ms),
                  AT(as_of));
}

static vch_rc verify(verify_t *v, vch_slice_t bundle)
{
    VCH_TRY(vfy_read(v, bundle));
    vfy_claim(v, "%s %s", claims[v->claim.type].what, SHORT(&v->claim.id));
    VCH_TRY(vfy_check(v));
    check_fresh(v);
    return claims[v->claim.type].check(v);
}

static vch_rc read_trust(verify_t *v, vch_slice_t text, vch_err_t *err)
{
    vch_trust_t *trust = vch_arena_alloc(v->arena, sizeof *trust);
    vch_err_t why = {0};
    if (!trust) return vfy_no_memory(v);
    v->trust = trust;
    if (vch_trust_get(trust, text, &why) == VCH_OK) return VCH_OK;
    vfy_doubt(v, VCH_V_I_LOG, "the trust policy can't be read: %.200s", why.text);
    return vch_fail(err, VCH_ERR_FORMAT, "trust policy: %.400s", why.text);
}

vch_rc vch_bundle_verify(vch_report_t *ret, const uint8_t *bundle, size_t bundle_n, const char *trust, size_t trust_n,
                         const vch_verify_options_t *options, void *arena, size_t arena_n, vch_err_t *err)
{
    vch_arena_t memory;
    vch_arena_over(&memory, arena, arena_n);
    *ret = (vch_report_t){.status = VCH_VERIFY_OK, .code = VCH_V_OK};
    verify_t v = {.report = ret, .options = options, .arena = &memory, .section = "bundle"};
    vfy_claim(&v, "a bundle that could not be read");
    vch_rc rc = read_trust(&v, vch_slice(trust, trust_n), err);
    if (rc != VCH_OK) return rc == VCH_ERR_FORMAT ? rc : VCH_OK;
    rc = vch_crypto_start();
    if (rc != VCH_OK) {
        (void)vfy_stop(&v, VCH_V_I_MEMORY, "the cryptographic library did not start");
        return vch_fail(err, rc, "the cryptographic library did not start");
    }
    rc = verify(&v, vch_slice(bundle, bundle_n));
    if (rc != VCH_OK && ret->code == VCH_V_OK) /* a step ended without saying why: never read that as OK */
        (void)vfy_stop(&v, VCH_V_F_FORMAT, "could not be judged: %s", vch_rc_text(rc));
    if (ret->status != VCH_VERIFY_OK) ret->recomputed = 0;
    return VCH_OK;
}
