/* SPDX-License-Identifier: Apache-2.0 */
/* Every disk call of a ledger's life fails once, every allocation is refused
 * once: a clean error, no leak, and afterwards a ledger that opens and holds
 * whatever was acknowledged. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "ledger_help.h"
#include "port/sim.h"

#define ENTRIES 4u

typedef struct {
    vch_sim_t *sim;
    vch_port_t *port;
    vch_id_t acked[2 * ENTRIES];
    size_t n;
    bool made;
    unsigned failures;
    vch_rc last;
    vch_err_t err;
} world_t;

/* A failure says what and why. */
static bool went_(world_t *w, vch_rc rc, const char *what)
{
    if (rc == VCH_OK) return true;
    w->failures++;
    w->last = rc;
    if (w->err.text[0] == 0) fail_msg("%s: %s came without a text", what, vch_rc_name(rc));
    assert_int_equal(w->err.rc, rc);
    w->err = (vch_err_t){0};
    return false;
}

#define went(w, call) went_(w, call, #call)

static void use(world_t *w, vch_ledger_t *l, unsigned from)
{
    vch_signer_t *s = NULL;
    vch_receipt_t r;
    vch_text_t text;
    if (!went(w, vch_identity_load(l, NULL, NULL, &s, &w->err))) return;
    for (unsigned i = 0; i < ENTRIES; i++) {
        if (went(w, lh_submit(l, s, from + i, &r, &w->err))) w->acked[w->n++] = r.entry;
        if (i == 1 && went(w, vch_ledger_checkpoint(l, &text, &w->err))) vch_text_free(&text);
        if (i == 2 && went(w, vch_query(l, "models", NULL, &text, &w->err))) vch_text_free(&text);
        if (i == 2 && went(w, vch_prove_inclusion(l, 1, &text, &w->err))) vch_text_free(&text);
    }
    vch_signer_free(s);
}

static void story(world_t *w)
{
    vch_init_t init = lh_init();
    w->made = went(w, vch_ledger_init_on(w->port, "d", &init, &w->err));
    for (unsigned round = 0; round < 2; round++) {
        vch_ledger_t *l = NULL;
        if (!went(w, vch_ledger_open_on(&l, w->port, "d", 0, &w->err))) continue;
        use(w, l, round * 100);
        (void)went(w, vch_ledger_close(l, &w->err));
    }
}

static void aftermath(world_t *w)
{
    vch_init_t init = lh_init();
    vch_ledger_t *l = NULL;
    vch_signer_t *s = NULL;
    vch_receipt_t r;
    vch_rc rc = w->made ? VCH_OK : vch_ledger_init_on(w->port, "d", &init, &w->err);
    if (rc != VCH_OK && rc != VCH_ERR_CONFLICT) fail_msg("a second init: %s", w->err.text);
    if (vch_ledger_open_on(&l, w->port, "d", 0, &w->err) != VCH_OK) fail_msg("opening afterwards: %s", w->err.text);
    for (size_t i = 0; i < w->n; i++) {
        uint64_t index;
        assert_int_equal(vch_state_find(l->state, &w->acked[i], &index), VCH_OK);
    }
    if (vch_identity_load(l, NULL, NULL, &s, &w->err) != VCH_OK) fail_msg("%s", w->err.text);
    if (lh_submit(l, s, 999, &r, &w->err) != VCH_OK) fail_msg("writing afterwards: %s", w->err.text);
    vch_signer_free(s);
    if (vch_ledger_close(l, &w->err) != VCH_OK) fail_msg("closing afterwards: %s", w->err.text);
}

static world_t begin(void)
{
    world_t w = {0};
    assert_int_equal(vch_sim_new(&w.sim, 5), VCH_OK);
    w.port = vch_sim_port(w.sim);
    vch_mem_use(vch_sim_mem(w.sim));
    return w;
}

static void end(world_t *w, uint64_t nth)
{
    size_t live = vch_sim_mem_live(w->sim);
    vch_mem_use(NULL);
    vch_sim_free(w->sim);
    if (live) fail_msg("fault %llu leaks %zu bytes", (unsigned long long)nth, live);
}

static void disk_fails(vch_fault_t how, bool noticed)
{
    world_t w = begin();
    story(&w);
    uint64_t calls = vch_sim_io_calls(w.sim);
    assert_int_equal(w.failures, 0);
    assert_int_equal(w.n, 2 * ENTRIES);
    end(&w, 0);
    unsigned failed = 0;
    for (uint64_t nth = 1; nth <= calls; nth++) {
        w = begin();
        vch_sim_fail_io(w.sim, nth, how);
        story(&w);
        failed += w.failures != 0;
        aftermath(&w);
        end(&w, nth);
    }
    print_message("%llu disk calls, %u of them told\n", (unsigned long long)calls, failed);
    if (noticed)
        assert_true(failed > calls / 4);
    else
        assert_int_equal(failed, 0);
}

static void each_disk_call_fails(void **state)
{
    (void)state;
    disk_fails(VCH_FAULT_EIO, true);
}

static void the_disk_is_full_at_each_call(void **state)
{
    (void)state;
    disk_fails(VCH_FAULT_ENOSPC, true);
}

static void short_calls_are_not_noticed(void **state)
{
    (void)state;
    disk_fails(VCH_FAULT_SHORT, false);
}

static void each_allocation_is_refused(void **state)
{
    (void)state;
    world_t w = begin();
    story(&w);
    uint64_t calls = vch_sim_alloc_calls(w.sim);
    end(&w, 0);
    unsigned failed = 0;
    for (uint64_t nth = 1; nth <= calls; nth++) {
        w = begin();
        vch_sim_fail_alloc(w.sim, nth);
        story(&w);
        vch_sim_fail_alloc(w.sim, 0);
        failed += w.failures != 0;
        aftermath(&w);
        end(&w, nth);
    }
    print_message("%llu allocations, %u refusals told\n", (unsigned long long)calls, failed);
    assert_true(failed > calls / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_disk_call_fails),
        cmocka_unit_test(the_disk_is_full_at_each_call),
        cmocka_unit_test(short_calls_are_not_noticed),
        cmocka_unit_test(each_allocation_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
