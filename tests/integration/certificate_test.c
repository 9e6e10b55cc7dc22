/* SPDX-License-Identifier: Apache-2.0 */
/* The certificate of an erasure, made from a real ledger with a real vault: what
 * it says at each stage, that no byte of it can be another one, and that the
 * proofs about all other rows hold before and after. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ledger_help.h"
#include "vault_world.h"
#include "vouchsafe/verify.h"

#define ERASED 7u
#define ARENA (24u << 20)

static uint8_t arena[ARENA];
static vch_report_t report;
static unsigned words_shown, graded;

static void see_link(void *ctx, const char *link, vch_verify_code_t code)
{
    (void)ctx;
    words_shown += code == VCH_V_OK && strstr(link, "signed that it destroyed") != NULL;
    graded += strstr(link, "said so, 2 are enough") != NULL;
}

/* ---- making and judging -------------------------------------------------------------- */

static vch_buf_t read_file(world_t *w, const char *path)
{
    vch_buf_t b;
    vch_buf_init(&b, VCH_BUNDLE_BYTES_MAX);
    OK(vch_read_all(vch_port_real(), &b, path, VCH_BUNDLE_BYTES_MAX, &w->err));
    return b;
}

static vch_buf_t policy_of(world_t *w, const char *ledger)
{
    char path[200];
    snprintf(path, sizeof path, "%s/trust.policy", ledger);
    return read_file(w, path);
}

static vch_verify_code_t judge(world_t *w, vch_slice_t bundle, vch_slice_t trust)
{
    vch_verify_options_t options = {.link = see_link};
    words_shown = graded = 0;
    OK(vch_bundle_verify(&report, bundle.p, bundle.n, (const char *)trust.p, trust.n, &options, arena, sizeof arena,
                         &w->err));
    return report.code;
}

static vch_buf_t make(world_t *w, const char *what, const char *id)
{
    char path[100];
    snprintf(path, sizeof path, "%s/bundle", w->dir);
    OK(vch_bundle_make(w->l, what, id, path, &w->err));
    return read_file(w, path);
}

static void must_be(world_t *w, const vch_buf_t *bundle, vch_verify_code_t code, const char *says)
{
    vch_buf_t trust = policy_of(w, w->ledger);
    if (judge(w, vch_buf_slice(bundle), vch_buf_slice(&trust)) != code)
        fail_msg("%s instead of %s: %s: %s", vch_verify_code(report.code), vch_verify_code(code), report.claim,
                 report.detail);
    if (!strstr(report.claim, says)) fail_msg("the claim \"%s\" lacks \"%s\"", report.claim, says);
    vch_buf_free(&trust);
}

static void certificate_is(world_t *w, const char *id, vch_verify_code_t code, const char *says)
{
    vch_buf_t b = make(w, "erasure", id);
    must_be(w, &b, code, says);
    vch_buf_free(&b);
}

static void move(world_t *w, unsigned number, bool away)
{
    char here[160], there[160];
    snprintf(here, sizeof here, "%s/vault/trustee-%u", w->ledger, number);
    snprintf(there, sizeof there, "%s/lost-%u", w->dir, number);
    assert_int_equal(away ? rename(here, there) : rename(there, here), 0);
}

static vch_receipt_t erase(world_t *w, const uint32_t *subject, size_t n, bool by_owner)
{
    vch_receipt_t r;
    OK(vch_erasure_request(w->l, w->key, by_owner ? w->w : NULL, "cohort", subject, subject, n, &r, &w->err));
    return r;
}

/* ---- stages ------------------------------------------------------------------------------ */

static void it_says_how_far_it_has_come(void **state)
{
    world_t *w = *state;
    const uint32_t subject = ERASED;
    move(w, 1, true);
    move(w, 2, true);
    erase(w, &subject, 1, true);
    certificate_is(w, "cohort/7", VCH_V_I_ERASURE, "subject 7 in dataset");
    assert_int_equal(words_shown, 1);
    move(w, 2, false);
    OK(vch_vault_up(w->l, w->key, &w->err));
    vch_buf_t provisional = make(w, "erasure", "cohort/7");
    must_be(w, &provisional, VCH_V_OK, "signed by the owner: provisional, grade B (files, live copy only)");
    assert_int_equal(words_shown, 2);
    assert_int_equal(graded, 1);
    move(w, 1, false);
    OK(vch_vault_up(w->l, w->key, &w->err));
    certificate_is(w, "cohort/7", VCH_V_OK, "signed by the owner: complete, grade B");
    assert_int_equal(words_shown, 3);
    /* what was said then was true then */
    must_be(w, &provisional, VCH_V_OK, "provisional");
    vch_buf_free(&provisional);
}

/* By each of its names; several subjects of one entry at once; several extents. */
static void it_is_found_by_each_name(void **state)
{
    world_t *w = *state;
    const uint32_t subject[] = {9, ERASED, 30};
    char id[65];
    vch_ingest_t in;
    /* one more row of subject 9 and all others anew: a second extent, whose rows aren't contiguous */
    FILE *f = fopen(w->csv, "wb");
    assert_non_null(f);
    fprintf(f, "person,x,y,label\n");
    for (uint32_t i = 0; i < ROWS; i++) {
        uint32_t who = i * 7 % ROWS;
        fprintf(f, "owner-%02u,%u,%s,0\n", who, i, who % 3 ? CANARY : "changed");
    }
    fclose(f);
    OK(vch_dataset_add(w->l, w->key, "cohort", w->csv, NULL, NULL, NULL, &in, &w->err));
    vch_receipt_t r = erase(w, subject, 3, false);
    vch_hex(id, r.entry.b, 32);
    certificate_is(w, id, VCH_V_OK, "subject 7 and others in dataset");
    assert_non_null(strstr(report.claim, "on the custodian's word: complete, grade B"));
    assert_int_equal(words_shown, 3 * 3 * 2);
    vch_hex(id, r.object.b, 32);
    certificate_is(w, id, VCH_V_OK, "subject 9 in dataset");
    assert_int_equal(words_shown, 3 * 2);
    id[20] = 0;
    certificate_is(w, id, VCH_V_OK, "subject 9 in dataset");
    certificate_is(w, "cohort/30", VCH_V_OK, "subject 30 in dataset");
}

static void what_is_no_erasure_is_told(void **state)
{
    world_t *w = *state;
    const uint32_t subject = ERASED;
    char path[100], id[65];
    snprintf(path, sizeof path, "%s/bundle", w->dir);
    IS(VCH_ERR_NOT_FOUND, vch_bundle_make(w->l, "erasure", "cohort/7", path, &w->err)); /* not yet */
    erase(w, &subject, 1, true);
    IS(VCH_ERR_NOT_FOUND, vch_bundle_make(w->l, "erasure", "cohort/8", path, &w->err));
    IS(VCH_ERR_NOT_FOUND, vch_bundle_make(w->l, "erasure", "nothing/7", path, &w->err));
    IS(VCH_ERR_NOT_FOUND, vch_bundle_make(w->l, "erasure", "0123456789abcdef", path, &w->err));
    IS(VCH_ERR_USAGE, vch_bundle_make(w->l, "erasure", "cohort", path, &w->err));
    IS(VCH_ERR_USAGE, vch_bundle_make(w->l, "erasure", "cohort/owner-07", path, &w->err));
    IS(VCH_ERR_USAGE, vch_bundle_make(w->l, "erasure", "cohort/99999999999", path, &w->err));
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN - 1);
    vch_hex(id, grant.b, 32);
    IS(VCH_ERR_USAGE, vch_bundle_make(w->l, "erasure", id, path, &w->err));
    assert_int_not_equal(access(path, F_OK), 0);
}

/* ---- damage -------------------------------------------------------------------------------- */

/* Another ledger's policy; it has a vault and erasures of its own. */
static vch_buf_t strangers_policy(world_t *w)
{
    char dir[100];
    vch_init_t init = {.origin = "elsewhere.example/log", .operator_name = "else"};
    snprintf(dir, sizeof dir, "%s/other", w->dir);
    OK(vch_ledger_init(dir, &init, &w->err));
    return policy_of(w, dir);
}

static void no_byte_of_it_can_be_another(void **state)
{
    world_t *w = *state;
    const uint32_t subject = ERASED;
    move(w, 3, true);
    erase(w, &subject, 1, true);
    vch_buf_t b = make(w, "erasure", "cohort/7"), trust = policy_of(w, w->ledger), other = strangers_policy(w);
    vch_slice_t policy = vch_buf_slice(&trust);
    for (size_t i = 0; i < b.n; i++) {
        uint8_t bit = (uint8_t)(1u << i % 8);
        b.p[i] ^= bit;
        judge(w, vch_buf_slice(&b), policy);
        if (report.status == VCH_VERIFY_OK) fail_msg("byte %zu of %zu changed and still OK: %s", i, b.n, report.claim);
        b.p[i] ^= bit;
    }
    for (size_t n = 0; n < b.n; n += 13) assert_int_equal(judge(w, vch_slice(b.p, n), policy), VCH_V_F_FORMAT);
    assert_int_equal(judge(w, vch_buf_slice(&b), vch_buf_slice(&other)), VCH_V_I_LOG);
    assert_int_equal(judge(w, vch_buf_slice(&b), policy), VCH_V_OK);
    vch_buf_free(&b);
    vch_buf_free(&trust);
    vch_buf_free(&other);
    move(w, 3, false);
}

/* ---- everybody else ---------------------------------------------------------------------------- */

enum { ACCESS, CONSENT, UNSAID, ROW, LINEAGE, KINDS };

typedef struct {
    char id[KINDS][200];
    vch_buf_t bundle[KINDS];
} others_t;

static const char *const what[KINDS] = {"access", "consent", "consent", "row", "lineage"};

static void train(world_t *w, others_t *o)
{
    static const char *const argv[] = {"/bin/sh", "-c", "cp \"$VOUCH_IN/train.csv\" \"$VOUCH_OUT/model.bin\"", NULL};
    char grant[65], run[65];
    const char *grants[] = {grant};
    vch_run_result_t result;
    vch_id_t id = ask_for(w, w->key, NULL, GIVEN);
    vch_hex(grant, id.b, 32);
    vch_run_spec_t spec = {.grant = grants, .grants = 1, .name = "first", .has_seed = 1, .seed = 7, .argv = argv};
    OK(vch_run_exec(w->l, w->key, &spec, &result, &w->err));
    assert_true(result.has_model);
    vch_hex(run, result.run.b, 32);
    snprintf(o->id[ACCESS], sizeof o->id[0], "%s", grant);
    snprintf(o->id[CONSENT], sizeof o->id[0], "cohort/8");
    snprintf(o->id[UNSAID], sizeof o->id[0], "cohort/50");
    snprintf(o->id[ROW], sizeof o->id[0], "%s/0/8", run);
    vch_hex(o->id[LINEAGE], result.model.b, 32);
}

static void others_proofs_hold(void **state)
{
    world_t *w = *state;
    static const char *const says[KINDS] = {"permitted", "in force", "nothing was ever given", "was in the training",
                                            "permitted rows"};
    static const bool recomputed[KINDS] = {[ACCESS] = true, [LINEAGE] = true};
    const uint32_t subject = ERASED;
    others_t o;
    train(w, &o);
    for (int i = 0; i < KINDS; i++) o.bundle[i] = make(w, what[i], o.id[i]);
    vch_buf_t own = make(w, "consent", "cohort/7");
    must_be(w, &own, VCH_V_OK, "in force");
    erase(w, &subject, 1, true);
    certificate_is(w, "cohort/7", VCH_V_OK, "complete");
    for (int i = 0; i < KINDS; i++) {
        vch_buf_t after = make(w, what[i], o.id[i]);
        must_be(w, &o.bundle[i], VCH_V_OK, says[i]);
        assert_int_equal(report.recomputed, recomputed[i]);
        must_be(w, &after, VCH_V_OK, says[i]);
        assert_int_equal(report.recomputed, recomputed[i]);
        vch_buf_free(&after);
        vch_buf_free(&o.bundle[i]);
    }
    /* of the erased subject: what was shown then was so then; today it is withdrawn */
    must_be(w, &own, VCH_V_OK, "in force");
    vch_buf_free(&own);
    own = make(w, "consent", "cohort/7");
    must_be(w, &own, VCH_V_OK, "withdrawn");
    vch_buf_free(&own);
    /* and what came before can't pass for what is: the twin of all that */
    vch_buf_t b = make(w, "erasure", "cohort/7"), trust = policy_of(w, w->ledger);
    vch_verify_options_t late = {.as_of_ms = report.time_ms + 3600000};
    OK(vch_bundle_verify(&report, b.p, b.n, (const char *)trust.p, trust.n, &late, arena, sizeof arena, &w->err));
    assert_int_equal(report.code, VCH_V_I_STALE);
    vch_buf_free(&b);
    vch_buf_free(&trust);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        T(it_says_how_far_it_has_come),  T(it_is_found_by_each_name), T(what_is_no_erasure_is_told),
        T(no_byte_of_it_can_be_another), T(others_proofs_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
