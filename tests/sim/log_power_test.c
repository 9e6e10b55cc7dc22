/* SPDX-License-Identifier: Apache-2.0 */
/* Power cuts at any disk call: whatever was acknowledged is there afterwards,
 * byte for byte and in order, and no signed checkpoint is ahead of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "log_help.h"
#include "port/sim.h"

#define CUTS 10000u
#define CUTS_PER_LOG 40u

typedef struct {
    vch_sim_t *sim;
    vch_port_t *port;
    uint64_t acked, published, attempted, kept; /* attempted: acked, and what a cut append may have left */
    unsigned cuts, recovered;
    unsigned long long seed;
} world_t;

static unsigned cuts_wanted(void)
{
    const char *scale = getenv("VOUCHSAFE_TEST_SCALE");
    unsigned long percent = scale ? strtoul(scale, NULL, 10) : 100;
    unsigned cuts = (unsigned)(CUTS * percent / 100);
    return cuts ? cuts : 1;
}

static uint64_t below(world_t *w, uint64_t n) { return vch_sim_next(w->sim) % n; }

#define must(w, cond, what)                                                                                            \
    do {                                                                                                               \
        if (!(cond)) fail_msg("seed %llu, cut %u: %s: %s", (w)->seed, (w)->cuts, what, err.text);                      \
    } while (0)

/* Work until the power goes. */
static void work(world_t *w, vch_log_t *log)
{
    vch_err_t err = {0};
    for (;;) {
        size_t n = 1 + (size_t)below(w, below(w, 8) ? 12 : 200);
        w->attempted = w->acked + n;
        if (help_append(log, n, &err) != VCH_OK) return;
        w->acked = w->attempted;
        if (below(w, 4) == 0) {
            uint64_t size = w->acked - below(w, w->acked - w->published + 1);
            vch_rc rc = help_publish(log, size, &err);
            if (rc != VCH_OK) return;
            w->published = size;
        }
        if (below(w, 6) == 0) {
            if (help_keep(log, w->kept + 1, 1, "Y29zaWduZWQ=", &err) != VCH_OK) return;
            w->kept++;
        }
        if (below(w, 30) == 0) return; /* the process ends without the power going */
    }
}

static void verify(world_t *w, vch_log_t *log)
{
    vch_err_t err = {0};
    uint64_t size = vch_log_size(log), next = 0, head = 0, kept = 0;
    vch_hash_t root, want = help_root(size);
    vch_buf_t note;
    must(w, size >= w->acked && size <= w->attempted, "acknowledged entries are missing");
    must(w, vch_log_replay(log, 0, size, help_is_same, &next, &err) == VCH_OK && next == size, "an entry changed");
    must(w, vch_log_root(log, size, &root, &err) == VCH_OK && vch_hash_eq(&root, &want), "the root changed");
    vch_buf_init(&note, 1 << 15);
    vch_rc rc = vch_log_head(log, &note, &head, &err);
    must(w, rc == VCH_OK || (rc == VCH_ERR_NOT_FOUND && w->published == 0), "the head is lost");
    must(w, head >= w->published && head <= size, "the head went back, or ahead of the log");
    vch_buf_clear(&note);
    if (w->kept) must(w, vch_log_cosigned(log, w->kept, &note, &kept, &err) == VCH_OK, "a cosigned note is lost");
    rc = vch_log_cosigned(log, w->kept + 1, &note, &kept, &err);
    if (rc == VCH_OK) w->kept++; /* the last one was durable, though the power went before it was said */
    vch_buf_free(&note);
    if (size > 0) {
        vch_hash_t path[VCH_PATH_HASHES_MAX], leaf;
        size_t n;
        uint64_t index = below(w, size);
        leaf = help_leaf(index);
        must(w, vch_log_inclusion(log, index, size, path, &n, &err) == VCH_OK, "no proof");
        must(w, vch_inclusion_verify(index, size, &leaf, path, n, &want), "the proof is wrong");
    }
    w->acked = size; /* what recovery kept counts as written from now on */
    w->published = head;
}

static void print_damage(void *ctx, const vch_damage_t *d)
{
    (void)ctx;
    if (!d->repaired) print_message("%s byte %llu: %s\n", d->file, (unsigned long long)d->byte, d->text);
}

/* Opening may be cut too; what was acknowledged must survive that as well. */
static vch_log_t *open_through_cuts(world_t *w)
{
    vch_log_options_t options = {.segment_bytes = 40000, .fill_bytes = below(w, 2) ? 4096 : 0};
    vch_err_t err = {0};
    for (;;) {
        vch_log_t *log = NULL;
        vch_recovery_t recovery = {0};
        bool cut = below(w, 3) == 0;
        if (cut) vch_sim_cut_power_at(w->sim, 1 + below(w, 60));
        vch_rc rc = vch_log_open(&log, w->port, "d", &options, &recovery, &err);
        w->recovered += recovery.cut;
        if (!cut) must(w, rc == VCH_OK, "the log does not open after a power cut");
        if (!cut) return log;
        vch_log_close(log);
        vch_sim_crash(w->sim);
        w->cuts++;
    }
}

static unsigned one_log(unsigned long long seed, unsigned cuts, unsigned *recovered)
{
    world_t w = {.seed = seed};
    vch_err_t err = {0};
    vch_hash_t network = help_network();
    assert_int_equal(vch_sim_new(&w.sim, seed), VCH_OK);
    w.port = vch_sim_port(w.sim);
    must(&w, vch_log_create(w.port, "d", &network, &err) == VCH_OK, "creating");
    while (w.cuts < cuts) {
        vch_log_t *log = open_through_cuts(&w);
        verify(&w, log);
        vch_sim_cut_power_at(w.sim, 1 + below(&w, below(&w, 4) ? 40 : 400));
        work(&w, log);
        vch_log_close(log);
        vch_sim_crash(w.sim);
        w.cuts++;
    }
    vch_log_t *log = open_through_cuts(&w);
    verify(&w, log);
    assert_int_equal(help_publish(log, vch_log_size(log), &err), VCH_OK);
    assert_int_equal(help_publish(log, vch_log_size(log), &err), VCH_OK); /* both slots are whole again */
    if (w.acked) assert_int_equal(help_keep(log, w.acked, 1, "bGFzdA==", &err), VCH_OK); /* and the last record */
    vch_log_close(log);
    uint64_t damaged = 0;
    must(&w, vch_log_check(w.port, "d", true, print_damage, NULL, &damaged, &err) == VCH_OK, "checking");
    must(&w, vch_log_check(w.port, "d", false, print_damage, NULL, &damaged, &err) == VCH_OK, "checking again");
    must(&w, damaged == 0, "damage stays after everything was opened and repaired");
    vch_sim_free(w.sim);
    *recovered += w.recovered;
    return w.cuts;
}

static void nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    const char *given = getenv("VOUCHSAFE_TEST_SEED");
    unsigned long long seed = given ? strtoull(given, NULL, 10) : 20260101;
    unsigned done = 0, recovered = 0;
    for (unsigned want = cuts_wanted(); done < want; seed++) done += one_log(seed, CUTS_PER_LOG, &recovered);
    print_message("%u power cuts, %u unfinished groups cut off, last seed %llu\n", done, recovered, seed - 1);
    assert_true(done < 200 || recovered > 0); /* else the test would not have tested recovery */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_acknowledged_is_lost)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
