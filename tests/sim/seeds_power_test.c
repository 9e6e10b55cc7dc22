/* SPDX-License-Identifier: Apache-2.0 */
/* The power goes at every disk call of a store's making, of add and of forget:
 * afterwards it is the old store or the new one, and what the new one has
 * forgotten no key on the disk opens, not even in copies of the old files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "seeds_help.h"

static vch_seeds_t *opened(vch_sim_t *sim, unsigned long long seed, uint64_t cut)
{
    vch_seeds_t *s = NULL;
    vch_err_t err = {0};
    if (vch_seeds_open(&s, vch_sim_port(sim), SH_DIR, NULL, &err) != VCH_OK)
        fail_msg("seed %llu, cut %llu: %s", seed, (unsigned long long)cut, err.text);
    return s;
}

/* Returns whether the power was still on at the end. */
static bool cut_making(uint64_t seed, uint64_t cut)
{
    vch_sim_t *sim;
    vch_seeds_t *s = NULL;
    vch_err_t err = {0};
    assert_int_equal(vch_sim_new(&sim, seed), VCH_OK);
    vch_sim_cut_power_at(sim, cut);
    vch_rc rc = vch_seeds_open(&s, vch_sim_port(sim), SH_DIR, NULL, &err);
    vch_seeds_close(s);
    vch_sim_crash(sim);
    s = opened(sim, seed, cut);
    assert_int_equal(sh_add(s, 1, &err), VCH_OK);
    vch_seeds_close(s);
    vch_sim_free(sim);
    return rc == VCH_OK;
}

static bool cut_adding(uint64_t seed, uint64_t cut)
{
    vch_sim_t *sim;
    vch_err_t err = {0};
    vch_kt_seed_t a, b;
    assert_int_equal(vch_sim_new(&sim, seed), VCH_OK);
    vch_seeds_t *s = opened(sim, seed, cut);
    assert_int_equal(sh_add(s, 1, &err), VCH_OK);
    assert_int_equal(sh_leaf(s, 1, 7, &a), VCH_OK);
    uint64_t from = vch_sim_io_calls(sim);
    vch_sim_cut_power_at(sim, cut);
    vch_rc rc = sh_add(s, 2, &err);
    bool on = vch_sim_io_calls(sim) - from < cut;
    vch_seeds_close(s);
    vch_sim_crash(sim);
    s = opened(sim, seed, cut);
    assert_int_equal(sh_leaf(s, 1, 7, &b), VCH_OK);
    assert_memory_equal(a.key, b.key, 32);
    vch_rc again = sh_add(s, 2, &err);
    assert_true(again == VCH_ERR_CONFLICT || (again == VCH_OK && rc != VCH_OK));
    assert_int_equal(sh_leaf(s, 2, 7, &b), VCH_OK);
    vch_seeds_close(s);
    vch_sim_free(sim);
    return on;
}

static bool cut_forgetting(uint64_t seed, uint64_t cut)
{
    vch_sim_t *sim;
    vch_err_t err = {0};
    vch_kt_seed_t a, b;
    assert_int_equal(vch_sim_new(&sim, seed), VCH_OK);
    vch_seeds_t *s = opened(sim, seed, cut);
    assert_int_equal(sh_add(s, 1, &err), VCH_OK);
    assert_int_equal(sh_leaf(s, 1, SH_LEAF + 1, &a), VCH_OK);
    di_image_t *before = di_take(vch_sim_port(sim));
    assert_true(sh_derivable(before, before, 1, SH_LEAF)); /* the twin: until then it could be */
    uint64_t from = vch_sim_io_calls(sim);
    vch_sim_cut_power_at(sim, cut);
    vch_rc rc = sh_forget(s, 1, SH_LEAF, NULL, &err);
    bool on = vch_sim_io_calls(sim) - from < cut;
    vch_seeds_close(s);
    vch_sim_crash(sim);
    s = opened(sim, seed, cut);
    vch_rc there = sh_leaf(s, 1, SH_LEAF, &b);
    assert_true(there == VCH_ERR_DENIED || (there == VCH_OK && rc != VCH_OK));
    if (there == VCH_OK) assert_int_equal(sh_forget(s, 1, SH_LEAF, NULL, &err), VCH_OK);
    assert_int_equal(sh_leaf(s, 1, SH_LEAF + 1, &b), VCH_OK);
    assert_memory_equal(a.key, b.key, 32);
    di_image_t *after = di_take(vch_sim_port(sim));
    if (sh_derivable(after, before, 1, SH_LEAF) || sh_derivable(after, after, 1, SH_LEAF))
        fail_msg("seed %llu, cut %llu: the forgotten leaf can be derived", (unsigned long long)seed,
                 (unsigned long long)cut);
    di_drop(before);
    di_drop(after);
    vch_seeds_close(s);
    vch_sim_free(sim);
    return on;
}

static void every_cut(bool (*one)(uint64_t, uint64_t))
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint64_t cut = 1;
        while (!one(seed, cut)) assert_true(++cut < 1000);
        assert_true(cut > 10);
    }
}

static void test_making(void **state) { (void)state, every_cut(cut_making); }
static void test_adding(void **state) { (void)state, every_cut(cut_adding); }
static void test_forgetting(void **state) { (void)state, every_cut(cut_forgetting); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_making),
        cmocka_unit_test(test_adding),
        cmocka_unit_test(test_forgetting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
