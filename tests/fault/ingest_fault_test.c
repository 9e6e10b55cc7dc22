/* SPDX-License-Identifier: Apache-2.0 */
/* Rows and consents of owners: one disk call fails, or one allocation is
 * refused, wherever that may be. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define FH_WITH_RUNS
#include "fault_help.h"

/* ---- datasets ------------------------------------------------------------------ */

static bool is_created(fh_t *w) { return fh_count(w, "datasets", NULL, "name") > 0; }
static bool has_version(fh_t *w, size_t n) { return fh_count(w, "versions", "cohort", "number") >= n; }
static bool has_one(fh_t *w) { return has_version(w, 1); }
static bool has_two(fh_t *w) { return has_version(w, 2); }

static void there_is_a_dataset(fh_t *w)
{
    assert_int_equal(fh_count(w, "datasets", NULL, "name"), 1);
    fh_put_rows(w, "/rows1.csv", 0, FH_ROWS, 0);
    FH_OK(w, fh_add(w, "/rows1.csv", NULL));
}

static void create(void **state)
{
    (void)state;
    static const fh_step_t step = {"dataset create", FH_EMPTY, fh_create, there_is_a_dataset, is_created};
    fh_each(&step, FH_TRIES);
}

static void has_rows(fh_t *w, const char *version, uint64_t want)
{
    uint64_t rows = 0;
    FH_OK(w, vch_dataset_check(w->l, version, &rows, &w->err));
    assert_int_equal(rows, want);
}

static void there_are_rows(fh_t *w) { has_rows(w, "cohort@1", FH_ROWS); }

static void first_rows(void **state)
{
    (void)state;
    static const fh_step_t step = {"dataset add, first", FH_DATASET, fh_add_first, there_are_rows, has_one};
    fh_each(&step, FH_TRIES);
}

/* One row goes, three are changed, three come, two of them with a key. */
static vch_rc add_second(fh_t *w) { return fh_add(w, "/rows2.csv", "/owners2.csv"); }

static void there_are_new_rows(fh_t *w)
{
    has_rows(w, "cohort@1", FH_ROWS);
    has_rows(w, "cohort@2", FH_ROWS + 2);
}

static void next_rows(void **state)
{
    (void)state;
    static const fh_step_t step = {"dataset add, next", FH_FILLED, add_second, there_are_new_rows, has_two};
    fh_each(&step, FH_TRIES);
}

/* ---- consents -------------------------------------------------------------------- */

static vch_rc give(fh_t *w) { return fh_give(w, 0, 8); }

static void eight_agree(fh_t *w)
{
    assert_int_equal(fh_count(w, "consents", "cohort", "until"), 8);
    FH_OK(w, fh_ask(w));
    assert_int_equal(w->receipt.rows, 8);
}

static void owners_give(void **state)
{
    (void)state;
    static const fh_step_t step = {"consent give", FH_FILLED, give, eight_agree};
    fh_each(&step, FH_TRIES);
}

static vch_rc withdraw(fh_t *w)
{
    static const uint32_t who[] = {2, 5};
    return vch_consent_withdraw(w->l, w->op, w->wallet, "cohort", who, who, 2, NULL, &w->receipt, &w->err);
}

static void six_agree(fh_t *w)
{
    FH_OK(w, fh_ask(w));
    assert_int_equal(w->receipt.rows, 6);
}

static void owners_withdraw(void **state)
{
    (void)state;
    static const fh_step_t step = {"consent withdraw", FH_CONSENTS, withdraw, six_agree};
    fh_each(&step, FH_TRIES);
}

static vch_rc record(fh_t *w)
{
    uint64_t count;
    return vch_consent_record(w->l, w->op, "cohort", "/paper.csv", &count, &w->err);
}

static void ten_agree(fh_t *w)
{
    FH_OK(w, fh_ask(w));
    assert_int_equal(w->receipt.rows, 10);
}

static void paper_is_recorded(void **state)
{
    (void)state;
    static const fh_step_t step = {"consent record", FH_CONSENTS, record, ten_agree};
    fh_each(&step, FH_TRIES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create),      cmocka_unit_test(first_rows),      cmocka_unit_test(next_rows),
        cmocka_unit_test(owners_give), cmocka_unit_test(owners_withdraw), cmocka_unit_test(paper_is_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
