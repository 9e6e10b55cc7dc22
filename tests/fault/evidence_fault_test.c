/* SPDX-License-Identifier: Apache-2.0 */
/* Bundles: one disk call fails, or one allocation is refused, while each claim
 * is made; and each is judged in arenas that are too small. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define FH_WITH_RUNS
#include "fault_help.h"
#include "vouchsafe/verify.h"

#define OUT "/out.bundle"
#define ARENA (4u << 20)

/* ---- the five claims ------------------------------------------------------------- */

static vch_rc make(fh_t *w, const char *what, const char *id) { return vch_bundle_make(w->l, what, id, OUT, &w->err); }
static vch_rc make_decision(fh_t *w) { return make(w, "decision", "ward-3/1"); }
static vch_rc make_access(fh_t *w) { return make(w, "access", w->grant); }
static vch_rc make_consent(fh_t *w) { return make(w, "consent", "cohort/3"); }
static vch_rc make_lineage(fh_t *w) { return make(w, "lineage", "model-a"); }

static vch_rc make_row(fh_t *w)
{
    char id[100];
    snprintf(id, sizeof id, "%s/0/2", w->run);
    return make(w, "row", id);
}

static void judge(vch_report_t *ret, vch_slice_t bundle, vch_slice_t trust, void *arena, size_t n)
{
    vch_err_t err = {0};
    vch_rc rc = vch_bundle_verify(ret, bundle.p, bundle.n, (const char *)trust.p, trust.n, NULL, arena, n, &err);
    if (rc != VCH_OK) fail_msg("an arena of %zu bytes: %s: %s", n, vch_rc_name(rc), err.text);
}

static void read_whole(fh_t *w, const char *path, vch_buf_t *ret)
{
    vch_buf_init(ret, 1u << 20);
    FH_OK(w, vch_read_all(w->port, ret, path, 1u << 20, &w->err));
}

static void it_verifies(fh_t *w)
{
    static uint8_t arena[ARENA];
    vch_buf_t bundle, trust;
    vch_report_t report;
    read_whole(w, OUT, &bundle);
    read_whole(w, FH_DIR "/trust.policy", &trust);
    judge(&report, vch_buf_slice(&bundle), vch_buf_slice(&trust), arena, sizeof arena);
    if (report.code != VCH_V_OK) fail_msg("%s: %s", vch_verify_code(report.code), report.detail);
    vch_buf_free(&bundle);
    vch_buf_free(&trust);
}

/* Never a part of one. */
static bool is_made(fh_t *w) { return fh_there(w, OUT); }

static const fh_step_t steps[] = {
    {"bundle decision", FH_DECISIONS, make_decision, it_verifies, is_made},
    {"bundle access", FH_DECISIONS, make_access, it_verifies, is_made},
    {"bundle consent", FH_DECISIONS, make_consent, it_verifies, is_made},
    {"bundle row", FH_DECISIONS, make_row, it_verifies, is_made},
    {"bundle lineage", FH_DECISIONS, make_lineage, it_verifies, is_made},
};

static void decision(void **state)
{
    (void)state;
    fh_each(&steps[0], FH_TRIES);
}

static void access_request(void **state)
{
    (void)state;
    fh_each(&steps[1], FH_TRIES);
}

static void consent(void **state)
{
    (void)state;
    fh_each(&steps[2], FH_TRIES);
}

static void row(void **state)
{
    (void)state;
    fh_each(&steps[3], FH_TRIES);
}

static void lineage(void **state)
{
    (void)state;
    fh_each(&steps[4], FH_TRIES);
}

/* ---- too small an arena ------------------------------------------------------------ */

typedef struct {
    vch_buf_t bundle, trust;
} evidence_t;

static vch_verify_code_t code_in(const evidence_t *e, size_t n)
{
    vch_report_t report;
    void *arena = malloc(n); /* exactly as large as it says: whoever goes beyond is caught by the sanitizer */
    judge(&report, vch_buf_slice(&e->bundle), vch_buf_slice(&e->trust), n ? arena : NULL, n);
    free(arena);
    if (report.status != vch_verify_status(report.code)) fail_msg("an arena of %zu bytes: status and code differ", n);
    return report.code;
}

static void must_be_too_small(const evidence_t *e, size_t n)
{
    vch_verify_code_t code = code_in(e, n);
    if (code != VCH_V_I_MEMORY) fail_msg("an arena of %zu bytes: %s", n, vch_verify_code(code));
}

/* The smallest arena that will do. */
static size_t need_of(const evidence_t *e)
{
    size_t small = 0, enough = ARENA;
    assert_int_equal(code_in(e, enough), VCH_V_OK);
    while (enough - small > 1) {
        size_t n = small + (enough - small) / 2;
        vch_verify_code_t code = code_in(e, n);
        if (code != VCH_V_OK && code != VCH_V_I_MEMORY) fail_msg("an arena of %zu bytes: %s", n, vch_verify_code(code));
        if (code == VCH_V_OK)
            enough = n;
        else
            small = n;
    }
    return enough;
}

/* Sizes are rounded to 16 inside, so each multiple is one; its neighbours now
 * and then. */
static void all_sizes(fh_t *w, const fh_step_t *s)
{
    evidence_t e;
    FH_OK(w, s->act(w));
    read_whole(w, OUT, &e.bundle);
    read_whole(w, FH_DIR "/trust.policy", &e.trust);
    size_t need = need_of(&e), stride = 16 * (size_t)fh_stride(need / 16, 1000), tries = 0;
    for (size_t n = 0; n < need; n += stride, tries++) {
        must_be_too_small(&e, n);
        if (n + 1 < need && tries % 16 == 0) must_be_too_small(&e, n + 1);
        if (n > 0 && tries % 16 == 8) must_be_too_small(&e, n - 1);
    }
    assert_int_equal(code_in(&e, need + 15), VCH_V_OK);
    print_message("%s: %zu bytes, needs an arena of %zu; %zu smaller ones tried\n", s->name, e.bundle.n, need, tries);
    vch_buf_free(&e.bundle);
    vch_buf_free(&e.trust);
}

static void an_arena_too_small_is_no_verdict(void **state)
{
    (void)state;
    fh_t w;
    fh_birth(&w, 5);
    fh_make(&w, FH_DECISIONS);
    fh_open(&w);
    fh_last(&w, "runs", "id", w.run);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) all_sizes(&w, &steps[i]);
    fh_close(&w);
    assert_int_equal(fh_death(&w), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decision), cmocka_unit_test(access_request),
        cmocka_unit_test(consent),  cmocka_unit_test(row),
        cmocka_unit_test(lineage),  cmocka_unit_test(an_arena_too_small_is_no_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
