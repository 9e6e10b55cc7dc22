/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded vault: putting it up, rows in, rows out, erasure, while one disk
 * call fails or one allocation is refused, with and without a power cut. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fault_help.h"
#include "node/erasure.h"

fh_t *fh_now;

#define OUT "/out.csv"
#define TRIES 60u /* of each sort, a step: they are long ones */

/* ---- putting it up --------------------------------------------------------------------- */

static vch_rc up(fh_t *w) { return vch_vault_up(w->l, w->op, &w->err); }

static void all_are_there(fh_t *w)
{
    vch_text_t text;
    FH_OK(w, vch_vault_status(w->l, &text, &w->err));
    if (strstr(text.p, "\"here\":false")) fail_msg("%s", text.p);
    vch_text_free(&text);
    if (fh_count(w, "parties", NULL, "roles") != 7) {
        FH_OK(w, vch_query(w->l, "parties", NULL, &text, &w->err));
        fail_msg("%s%s", w->cut ? "power cut: " : "", text.p);
    }
}

static void vault_up(void **state)
{
    (void)state;
    static const fh_step_t step = {"vault up", FH_EMPTY, up, all_are_there};
    fh_in_vault = false;
    fh_each(&step, TRIES);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static bool has_version(fh_t *w, size_t n) { return fh_count(w, "versions", "cohort", "number") >= n; }
static bool has_one(fh_t *w) { return has_version(w, 1); }
static bool has_two(fh_t *w) { return has_version(w, 2); }

static size_t lines_of(fh_t *w, const char *path)
{
    vch_buf_t b;
    size_t n = 0;
    vch_buf_init(&b, 1u << 16);
    FH_OK(w, vch_read_all(w->port, &b, path, 1u << 16, &w->err));
    for (size_t i = 0; i < b.n; i++) n += b.p[i] == '\n';
    vch_buf_free(&b);
    return n;
}

static vch_rc fetch(fh_t *w)
{
    uint64_t rows;
    (void)w->port->disk->remove(w->port, OUT);
    return vch_access_fetch(w->l, w->op, w->grant, OUT, &rows, &w->err);
}

/* The rows of eight owners come out; nothing of them waits anywhere else. */
static void rows_come_out(fh_t *w, size_t want)
{
    FH_OK(w, fh_ask(w));
    fh_last(w, "grants", "id", w->grant);
    FH_OK(w, fetch(w));
    assert_int_equal(lines_of(w, OUT), 1 + want);
    assert_false(fh_there(w, OUT ".vouch-spool"));
}

static void first_came_in(fh_t *w)
{
    FH_OK(w, fh_give(w, 0, 8));
    rows_come_out(w, 8);
}

static void first_rows(void **state)
{
    (void)state;
    static const fh_step_t step = {"dataset add, first", FH_DATASET, fh_add_first, first_came_in, has_one};
    fh_in_vault = true;
    fh_each(&step, TRIES);
}

static vch_rc add_second(fh_t *w) { return fh_add(w, "/rows2.csv", "/owners2.csv"); }
static void second_came_in(fh_t *w) { rows_come_out(w, 7); } /* of the eight, one row went */

static void next_rows(void **state)
{
    (void)state;
    static const fh_step_t step = {"dataset add, next", FH_CONSENTS, add_second, second_came_in, has_two};
    fh_in_vault = true;
    fh_each(&step, TRIES);
}

/* An export isn't synced, so it may be gone with the power, and is made again. */
static void it_came_out(fh_t *w)
{
    if (w->cut) FH_OK(w, fetch(w)); /* which also clears the spool away */
    assert_int_equal(lines_of(w, OUT), 9);
    assert_false(fh_there(w, OUT ".vouch-spool"));
}

static vch_rc fetch_again(fh_t *w)
{
    vch_rc rc = fetch(w);
    if (rc != VCH_OK) assert_false(fh_there(w, OUT) && w->how == VCH_FAULT_NONE); /* nothing half-checked stays */
    return rc;
}

static void rows_out(void **state)
{
    (void)state;
    static const fh_step_t step = {"access fetch", FH_GRANT, fetch_again, it_came_out};
    fh_in_vault = true;
    fh_each(&step, TRIES);
}

/* ---- own access ---------------------------------------------------------------------------------- */

/* Asked again, it is another statement: what was said before stays on the ledger, and gives nobody anything. */
static vch_rc read_own(fh_t *w)
{
    uint64_t rows;
    (void)w->port->disk->remove(w->port, OUT);
    vch_rc rc = vch_access_own(w->l, w->op, w->wallet, "cohort", 3, 3, NULL, 0, OUT, &rows, &w->receipt, &w->err);
    if (rc != VCH_OK) assert_false(fh_there(w, OUT) && w->how == VCH_FAULT_NONE); /* nothing half-checked stays */
    return rc;
}

static void own_row_came_out(fh_t *w)
{
    if (w->cut) FH_OK(w, read_own(w));
    assert_int_equal(lines_of(w, OUT), 2);
    assert_false(fh_there(w, OUT ".vouch-spool"));
}

static void own_access(void **state)
{
    (void)state;
    static const fh_step_t step = {"access own", FH_CONSENTS, read_own, own_row_came_out};
    fh_in_vault = true;
    fh_each(&step, TRIES);
}

/* ---- erasure ------------------------------------------------------------------------------------ */

static vch_rc erase(fh_t *w)
{
    static const uint32_t who[] = {2, 5};
    return vch_erasure_request(w->l, w->op, w->wallet, "cohort", who, who, 2, &w->receipt, &w->err);
}

static bool says(fh_t *w, const char *wanted, size_t n)
{
    vch_text_t text;
    size_t found = 0;
    FH_OK(w, vch_erasure_status(w->l, "cohort", &text, &w->err));
    for (const char *p = text.p; (p = strstr(p, wanted)); p++) found++;
    vch_text_free(&text);
    return found == n;
}

static bool is_on_the_ledger(fh_t *w) { return says(w, "\"subject\":", 2); }

/* Whatever was cut off in between is carried out to the end. */
static void it_is_done(fh_t *w)
{
    vch_id_t dataset;
    uint32_t subject;
    FH_OK(w, vch_ledger_read_begin(w->l, &w->err));
    FH_OK(w, vch_resolve(w->l, 'd', "cohort", &dataset, &w->err));
    vch_ledger_read_end(w->l);
    FH_OK(w, vch_custody_forget(w->l, &dataset, &w->err));
    FH_OK(w, up(w));
    assert_true(says(w, "\"state\":\"complete\"", 2));
    assert_int_equal(vch_subject_find(w->l, "cohort", "p02", &subject, &w->err), VCH_ERR_NOT_FOUND);
    rows_come_out(w, 6);
}

static void erasure(void **state)
{
    (void)state;
    static const fh_step_t step = {"erasure request", FH_CONSENTS, erase, it_is_done, is_on_the_ledger};
    fh_in_vault = true;
    fh_each(&step, TRIES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vault_up), cmocka_unit_test(first_rows), cmocka_unit_test(next_rows),
        cmocka_unit_test(rows_out), cmocka_unit_test(own_access), cmocka_unit_test(erasure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
