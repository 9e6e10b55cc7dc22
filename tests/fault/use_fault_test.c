/* SPDX-License-Identifier: Apache-2.0 */
/* The user's side: asking, fetching, running, deciding; one disk call fails,
 * or one allocation is refused, wherever that may be. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define FH_WITH_RUNS
#include "fault_help.h"

/* ---- access ------------------------------------------------------------------------ */

static void there_is_a_grant(fh_t *w)
{
    assert_true(w->receipt.permit);
    assert_int_equal(w->receipt.rows, 8);
    assert_true(fh_count(w, "grants", NULL, "permit") >= 1);
}

static void request(void **state)
{
    (void)state;
    static const fh_step_t step = {"access request", FH_CONSENTS, fh_ask, there_is_a_grant, NULL};
    fh_each(&step, FH_TRIES);
}

static vch_rc fetch(fh_t *w)
{
    uint64_t rows = 0;
    return vch_access_fetch(w->l, w->op, w->grant, "/out.csv", &rows, &w->err);
}

/* It is a copy, which a power cut may take away; but never is half of it left
 * by a failure. */
static void rows_are_fetched(fh_t *w)
{
    static const char header[] = "x,y,label\n";
    vch_buf_t text;
    size_t lines = 0;
    if (w->cut) return;
    vch_buf_init(&text, 4096);
    FH_OK(w, vch_read_all(w->port, &text, "/out.csv", 4096, &w->err));
    for (size_t i = 0; i < text.n; i++) lines += text.p[i] == '\n';
    assert_int_equal(lines, 9);
    assert_memory_equal(text.p, header, sizeof header - 1);
    vch_buf_free(&text);
}

static bool is_left(fh_t *w) { return w->cut && fh_there(w, "/out.csv"); }

static void rows(void **state)
{
    (void)state;
    static const fh_step_t step = {"access fetch", FH_GRANT, fetch, rows_are_fetched, is_left};
    fh_each(&step, FH_TRIES);
}

/* ---- runs ------------------------------------------------------------------------------ */

/* No failure changes what a run says of itself. */
static void says_the_same(fh_t *w)
{
    static char code[65];
    vch_ledger_info_t info;
    vch_text_t text;
    FH_OK(w, vch_ledger_info(w->l, &info, &w->err));
    for (uint64_t i = 0; i < info.size; i++) {
        FH_OK(w, vch_entry_show(w->l, i, &text, &w->err));
        const char *at = strstr(text.p, "\"code\":\"");
        if (at && !*code) snprintf(code, sizeof code, "%.64s", at + 8);
        if (at) assert_memory_equal(at + 8, code, 64);
        if (strstr(text.p, "\"completed\"") && !strstr(text.p, "accuracy")) fail_msg("no metrics: %s", text.p);
        vch_text_free(&text);
    }
    assert_int_equal(strlen(code), 64);
}

static void there_is_a_model(fh_t *w)
{
    char digest[65], path[400];
    fh_last(w, "models", "digest", digest);
    snprintf(path, sizeof path, FH_DIR "/models/%s/model.txt", digest);
    if (!fh_there(w, path)) fail_msg("%s is missing", path);
    snprintf(path, sizeof path, FH_DIR "/models/%s/deep/notes.txt", digest);
    if (!fh_there(w, path)) fail_msg("%s is missing", path);
    says_the_same(w);
}

static void exec(void **state)
{
    (void)state;
    static const fh_step_t step = {"run exec", FH_GRANT, fh_run, there_is_a_model, NULL};
    fh_each(&step, FH_TRIES);
}

/* ---- decisions --------------------------------------------------------------------------- */

static void there_are_decisions(fh_t *w) { assert_true(fh_count(w, "batches", NULL, "first") >= 1); }

static void decide(void **state)
{
    (void)state;
    static const fh_step_t step = {"decision log", FH_MODEL, fh_decide, there_are_decisions, NULL};
    fh_each(&step, FH_TRIES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request),
        cmocka_unit_test(rows),
        cmocka_unit_test(exec),
        cmocka_unit_test(decide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
