/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and wallets, rows, consents of owners: one disk call fails, or one
 * allocation is refused, wherever that may be. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define FH_WITH_RUNS
#include "fault_help.h"

/* ---- keys ---------------------------------------------------------------------- */

#define NEW_KEY FH_DIR "/keys/other.pem"
#define NEW_WALLET FH_DIR "/keys/own.wallet"

static vch_rc new_key(fh_t *w) { return vch_identity_new(w->l, "other", NULL, NULL, &w->err); }
static bool has_key(fh_t *w) { return fh_there(w, NEW_KEY); }

static void it_loads(fh_t *w)
{
    vch_signer_t *s = NULL;
    FH_OK(w, vch_identity_load(w->l, "other", NULL, &s, &w->err));
    vch_signer_free(s);
}

static void key(void **state)
{
    (void)state;
    static const fh_step_t step = {"id new", FH_EMPTY, new_key, it_loads, has_key};
    fh_each(&step, FH_TRIES);
}

static vch_rc new_wallet(fh_t *w) { return vch__wallet_new_on(w->port, NEW_WALLET, 2, 1, NULL, &w->err); }
static bool has_wallet(fh_t *w) { return fh_there(w, NEW_WALLET); }

static void it_opens(fh_t *w)
{
    vch_wallet_t *wallet = NULL;
    FH_OK(w, vch__wallet_open_on(&wallet, w->port, NEW_WALLET, NULL, &w->err));
    assert_int_equal(vch_wallet_owners(wallet), 2);
    vch_wallet_free(wallet);
}

static void wallet(void **state)
{
    (void)state;
    static const fh_step_t step = {"wallet new", FH_EMPTY, new_wallet, it_opens, has_wallet};
    fh_each(&step, FH_TRIES);
}

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

/* Opens the wallet anew, so that this may fail too. */
static vch_rc give(fh_t *w)
{
    vch_wallet_t *was = w->wallet, *again = NULL;
    vch_rc rc = vch__wallet_open_on(&again, w->port, "/wallet", NULL, &w->err);
    if (rc != VCH_OK) return rc;
    w->wallet = again;
    rc = fh_give(w, 0, 8);
    w->wallet = was;
    vch_wallet_free(again);
    return rc;
}

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
        cmocka_unit_test(key),
        cmocka_unit_test(wallet),
        cmocka_unit_test(create),
        cmocka_unit_test(first_rows),
        cmocka_unit_test(next_rows),
        cmocka_unit_test(owners_give),
        cmocka_unit_test(owners_withdraw),
        cmocka_unit_test(paper_is_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
