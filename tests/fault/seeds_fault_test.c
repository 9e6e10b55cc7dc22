/* SPDX-License-Identifier: Apache-2.0 */
/* Open, add and forget while one disk call fails, or one allocation is refused,
 * another one each time: told in words, nothing leaks, and the store opens
 * afterwards and can do the same step. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "seeds_help.h"

static vch_rc steps(vch_port_t *port, vch_err_t *err, bool *ret_forgot)
{
    vch_seeds_t *s = NULL;
    VCH_TRY(vch_seeds_open(&s, port, SH_DIR, NULL, err));
    vch_rc rc = sh_add(s, 1, err);
    if (rc == VCH_ERR_CONFLICT) rc = VCH_OK; /* of the try before */
    if (rc == VCH_OK) rc = sh_forget(s, 1, SH_LEAF, NULL, err);
    *ret_forgot = rc == VCH_OK;
    vch_seeds_close(s);
    return rc;
}

/* Without a fault: what was forgotten stays so, the rest is there. */
static void verify(vch_port_t *port, bool forgot)
{
    vch_err_t err = {0};
    vch_seeds_t *s = NULL;
    vch_kt_seed_t got;
    bool again;
    if (vch_seeds_open(&s, port, SH_DIR, NULL, &err) != VCH_OK) fail_msg("%s", err.text);
    if (forgot) assert_int_equal(sh_leaf(s, 1, SH_LEAF, &got), VCH_ERR_DENIED);
    vch_seeds_close(s);
    if (steps(port, &err, &again) != VCH_OK) fail_msg("%s", err.text);
    assert_int_equal(vch_seeds_open(&s, port, SH_DIR, NULL, &err), VCH_OK);
    assert_int_equal(sh_leaf(s, 1, SH_LEAF, &got), VCH_ERR_DENIED);
    assert_int_equal(sh_leaf(s, 1, SH_LEAF + 1, &got), VCH_OK);
    vch_seeds_close(s);
}

/* Returns whether the fault lay beyond the last call. */
static bool one(uint64_t nth, vch_fault_t how, unsigned *failed)
{
    vch_sim_t *sim;
    vch_err_t err = {0};
    bool forgot = false;
    assert_int_equal(vch_sim_new(&sim, nth), VCH_OK);
    vch_mem_use(vch_sim_mem(sim));
    if (how == VCH_FAULT_NONE)
        vch_sim_fail_alloc(sim, nth);
    else
        vch_sim_fail_io(sim, nth, how);
    vch_rc rc = steps(vch_sim_port(sim), &err, &forgot);
    bool beyond = (how == VCH_FAULT_NONE ? vch_sim_alloc_calls(sim) : vch_sim_io_calls(sim)) < nth;
    if (rc != VCH_OK) {
        *failed += 1;
        if (err.text[0] == 0 || err.rc != rc)
            fail_msg("call %llu: %s, %s", (unsigned long long)nth, vch_rc_name(rc), err.text);
    }
    assert_true(how != VCH_FAULT_EINTR && how != VCH_FAULT_SHORT ? true : rc == VCH_OK);
    vch_sim_fail_io(sim, 0, VCH_FAULT_NONE);
    vch_sim_fail_alloc(sim, 0);
    assert_int_equal(vch_sim_mem_live(sim), 0);
    verify(vch_sim_port(sim), forgot);
    assert_int_equal(vch_sim_mem_live(sim), 0);
    vch_mem_use(NULL);
    vch_sim_free(sim);
    return beyond;
}

static void every(vch_fault_t how, bool may_fail)
{
    unsigned failed = 0;
    uint64_t nth = 1;
    while (!one(nth, how, &failed)) assert_true(++nth < 2000);
    assert_true(nth > 5);
    assert_int_equal(failed > 0, may_fail);
}

static void test_eio(void **state) { (void)state, every(VCH_FAULT_EIO, true); }
static void test_full(void **state) { (void)state, every(VCH_FAULT_ENOSPC, true); }
static void test_interrupted(void **state) { (void)state, every(VCH_FAULT_EINTR, false); }
static void test_short(void **state) { (void)state, every(VCH_FAULT_SHORT, false); }
static void test_memory(void **state) { (void)state, every(VCH_FAULT_NONE, true); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eio),   cmocka_unit_test(test_full),   cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_short), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
