/* SPDX-License-Identifier: Apache-2.0 */
/* Every disk call fails once, every allocation is refused once: the answer is
 * a clean error, nothing leaks, and what was acknowledged is still there. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "log_help.h"
#include "port/sim.h"

typedef struct {
    vch_sim_t *sim;
    vch_port_t *port;
    uint64_t acked, tried, published;
    bool created;
    unsigned failures;
    vch_err_t err;
} world_t;

/* fill_bytes 0: zeros in line, and a spare segment ahead. */
static const vch_log_options_t options = {.segment_bytes = 30000};

/* Note a failure: it must say what and why. */
static bool went(world_t *w, vch_rc rc)
{
    if (rc == VCH_OK) return true;
    w->failures++;
    assert_int_equal(w->err.rc, rc);
    assert_true(w->err.text[0] != 0);
    return false;
}

static void appends(world_t *w, vch_log_t *log)
{
    for (int i = 0; i < 6; i++) {
        w->tried = vch_log_size(log) + 60;
        if (went(w, help_append(log, 60, &w->err))) w->acked = vch_log_size(log);
        assert_true(vch_log_size(log) >= w->acked);
        if (i % 2 == 0) continue;
        if (went(w, help_publish(log, w->acked, &w->err))) w->published = w->acked;
    }
    if (w->acked) (void)went(w, help_keep(log, w->acked, 1, "YSBub3Rl", &w->err));
}

static void proofs(world_t *w, vch_log_t *log)
{
    vch_arena_t arena;
    vch_log_entry_t e;
    vch_hash_t path[VCH_PATH_HASHES_MAX], root, leaf;
    vch_buf_t note;
    size_t n = 0;
    uint64_t size = vch_log_size(log), found;
    vch_buf_init(&note, 20000);
    vch_arena_init(&arena, 1 << 20);
    if (size > 3 && went(w, vch_log_read(log, size / 2, &arena, &e, &w->err))) assert_true(help_same(&e, size / 2));
    if (size > 3 && went(w, vch_log_root(log, size - 1, &root, &w->err)) &&
        went(w, vch_log_inclusion(log, 1, size - 1, path, &n, &w->err))) {
        leaf = help_leaf(1);
        assert_true(vch_inclusion_verify(1, size - 1, &leaf, path, n, &root));
    }
    if (size > 3) (void)went(w, vch_log_consistency(log, 2, size, path, &n, &w->err));
    if (w->published) (void)went(w, vch_log_head(log, &note, &found, &w->err));
    uint64_t next = 0;
    if (went(w, vch_log_replay(log, 0, size, help_is_same, &next, &w->err))) assert_int_equal(next, size);
    vch_arena_free(&arena);
    vch_buf_free(&note);
}

static void story(world_t *w)
{
    vch_hash_t network = help_network();
    vch_log_t *log = NULL;
    w->created = went(w, vch_log_create(w->port, "d", &network, &w->err));
    for (int round = 0; round < 2; round++) {
        log = NULL;
        if (!went(w, vch_log_open(&log, w->port, "d", &options, NULL, &w->err))) {
            assert_null(log);
            continue;
        }
        appends(w, log);
        proofs(w, log);
        vch_log_close(log);
    }
}

/* Afterwards, without faults: everything acknowledged, in order. */
static void aftermath(world_t *w)
{
    vch_hash_t network = help_network();
    vch_log_t *log = NULL;
    uint64_t next = 0, head = 0;
    if (!w->created) {
        vch_rc rc = vch_log_create(w->port, "d", &network, &w->err); /* can be repeated */
        assert_true(rc == VCH_OK || rc == VCH_ERR_CONFLICT);
    }
    if (vch_log_open(&log, w->port, "d", &options, NULL, &w->err) != VCH_OK) fail_msg("%s", w->err.text);
    uint64_t size = vch_log_size(log);
    assert_true(size >= w->acked && size <= w->tried);
    assert_int_equal(vch_log_replay(log, 0, size, help_is_same, &next, &w->err), VCH_OK);
    assert_int_equal(next, size);
    vch_hash_t root, want = help_root(size);
    assert_int_equal(vch_log_root(log, size, &root, &w->err), VCH_OK);
    assert_memory_equal(root.b, want.b, 32);
    vch_buf_t note;
    vch_buf_init(&note, 20000);
    vch_rc rc = vch_log_head(log, &note, &head, &w->err);
    assert_true(rc == VCH_OK || rc == VCH_ERR_NOT_FOUND);
    assert_true(head >= w->published && head <= size);
    vch_buf_free(&note);
    assert_int_equal(help_append(log, 5, &w->err), VCH_OK);
    vch_log_close(log);
}

static world_t begin(void)
{
    world_t w = {0};
    assert_int_equal(vch_sim_new(&w.sim, 11), VCH_OK);
    w.port = vch_sim_port(w.sim);
    vch_mem_use(vch_sim_mem(w.sim));
    return w;
}

static void end(world_t *w)
{
    assert_int_equal(vch_sim_mem_live(w->sim), 0);
    vch_mem_use(NULL);
    vch_sim_free(w->sim);
}

static uint64_t calls_of_story(bool io)
{
    world_t w = begin();
    story(&w);
    assert_int_equal(w.failures, 0);
    assert_int_equal(w.acked, 720);
    uint64_t calls = io ? vch_sim_io_calls(w.sim) : vch_sim_alloc_calls(w.sim);
    end(&w);
    return calls;
}

static void fail_each_call(vch_fault_t how, bool must_not_be_noticed)
{
    uint64_t calls = calls_of_story(true);
    unsigned noticed = 0;
    for (uint64_t nth = 1; nth <= calls; nth++) {
        world_t w = begin();
        vch_sim_fail_io(w.sim, nth, how);
        story(&w);
        vch_sim_fail_io(w.sim, 0, VCH_FAULT_NONE);
        noticed += w.failures > 0;
        if (must_not_be_noticed) assert_int_equal(w.failures, 0);
        aftermath(&w);
        end(&w);
    }
    print_message("%llu calls failed one by one, %u were noticed\n", (unsigned long long)calls, noticed);
    if (!must_not_be_noticed) assert_true(noticed > 0);
}

static void every_call_fails_with_eio(void **state)
{
    (void)state;
    fail_each_call(VCH_FAULT_EIO, false);
}

static void every_call_finds_the_disk_full(void **state)
{
    (void)state;
    fail_each_call(VCH_FAULT_ENOSPC, false);
}

static void interruptions_are_not_noticed(void **state)
{
    (void)state;
    fail_each_call(VCH_FAULT_EINTR, true);
}

static void short_transfers_are_not_noticed(void **state)
{
    (void)state;
    fail_each_call(VCH_FAULT_SHORT, true);
}

static void every_allocation_is_refused(void **state)
{
    (void)state;
    uint64_t calls = calls_of_story(false);
    unsigned noticed = 0;
    for (uint64_t nth = 1; nth <= calls; nth++) {
        world_t w = begin();
        vch_sim_fail_alloc(w.sim, nth);
        story(&w);
        vch_sim_fail_alloc(w.sim, 0);
        noticed += w.failures > 0;
        aftermath(&w);
        end(&w);
    }
    print_message("%llu allocations refused one by one, %u were noticed\n", (unsigned long long)calls, noticed);
    assert_true(noticed > 0);
}

/* After a failed sync nothing works until the directory is opened again. */
static void a_failed_sync_stops_the_log(void **state)
{
    (void)state;
    world_t w = begin();
    vch_hash_t network = help_network(), root;
    vch_log_t *log = NULL;
    assert_int_equal(vch_log_create(w.port, "d", &network, &w.err), VCH_OK);
    assert_int_equal(vch_log_open(&log, w.port, "d", NULL, NULL, &w.err), VCH_OK);
    assert_int_equal(help_append(log, 3, &w.err), VCH_OK);
    vch_sim_fail_io(w.sim, 2, VCH_FAULT_EIO); /* write, then sync */
    assert_int_equal(help_append(log, 3, &w.err), VCH_ERR_IO);
    assert_int_equal(vch_log_size(log), 3);
    assert_int_equal(help_append(log, 3, &w.err), VCH_ERR_IO);
    assert_int_equal(vch_log_root(log, 3, &root, &w.err), VCH_ERR_IO);
    assert_int_equal(vch_log_refresh(log, &w.err), VCH_ERR_IO);
    vch_log_close(log);
    assert_int_equal(vch_log_open(&log, w.port, "d", NULL, NULL, &w.err), VCH_OK);
    uint64_t size = vch_log_size(log), next = 0;
    assert_true(size == 3 || size == 6);
    assert_int_equal(vch_log_replay(log, 0, size, help_is_same, &next, &w.err), VCH_OK);
    assert_int_equal(help_append(log, 3, &w.err), VCH_OK);
    vch_log_close(log);
    end(&w);
}

/* A full disk refuses an append and nothing else: the next one may work. */
static void a_full_disk_does_not_stop_the_log(void **state)
{
    (void)state;
    world_t w = begin();
    vch_hash_t network = help_network();
    vch_log_t *log = NULL;
    assert_int_equal(vch_log_create(w.port, "d", &network, &w.err), VCH_OK);
    assert_int_equal(vch_log_open(&log, w.port, "d", NULL, NULL, &w.err), VCH_OK);
    assert_int_equal(help_append(log, 3, &w.err), VCH_OK);
    vch_sim_fail_io(w.sim, 1, VCH_FAULT_ENOSPC);
    assert_int_equal(help_append(log, 3, &w.err), VCH_ERR_FULL);
    assert_int_equal(help_append(log, 3, &w.err), VCH_OK);
    assert_int_equal(vch_log_size(log), 6);
    vch_log_close(log);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_fails_with_eio),         cmocka_unit_test(every_call_finds_the_disk_full),
        cmocka_unit_test(interruptions_are_not_noticed),     cmocka_unit_test(short_transfers_are_not_noticed),
        cmocka_unit_test(every_allocation_is_refused),       cmocka_unit_test(a_failed_sync_stops_the_log),
        cmocka_unit_test(a_full_disk_does_not_stop_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
