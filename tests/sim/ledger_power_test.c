/* SPDX-License-Identifier: Apache-2.0 */
/* Power cuts at any disk call of a working ledger: after each, everything
 * acknowledged is there at its place, nothing signed is taken back, the state
 * is what the log gives, and proofs verify. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "entry/note.h"
#include "ledger_help.h"
#include "port/sim.h"

#define CUTS 10000u
#define CUTS_PER_LEDGER 25u
#define ACKED_MAX 4096u

typedef struct {
    vch_id_t entry;
    uint64_t index;
} acked_t;

typedef struct {
    vch_sim_t *sim;
    vch_port_t *port;
    acked_t acked[ACKED_MAX];
    size_t n;
    uint64_t signed_size;
    vch_hash_t signed_root;
    unsigned cuts, number;
    unsigned long long seed;
    vch_err_t err;
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
        if (!(cond)) fail_msg("seed %llu, cut %u: %s: %s", (w)->seed, (w)->cuts, what, (w)->err.text);                 \
    } while (0)

static void read_note(world_t *w, vch_slice_t text, uint64_t *ret_size, vch_hash_t *ret_root)
{
    vch_note_t *note = malloc(sizeof *note);
    vch_checkpoint_t c;
    must(w, vch_note_get(note, text) == VCH_OK && vch_checkpoint_get(&c, note->text) == VCH_OK, "a note is malformed");
    *ret_size = c.size;
    *ret_root = c.root;
    free(note);
}

static bool checkpoint(world_t *w, vch_ledger_t *l)
{
    vch_text_t note;
    if (vch_ledger_checkpoint(l, &note, &w->err) != VCH_OK) return false;
    read_note(w, vch_slice(note.p, note.n), &w->signed_size, &w->signed_root);
    vch_text_free(&note);
    return true;
}

/* Work until the power goes, or the process ends by itself. */
static void work(world_t *w, vch_ledger_t *l)
{
    vch_receipt_t r;
    vch_signer_t *s = NULL;
    if (vch_identity_load(l, NULL, NULL, &s, &w->err) != VCH_OK) return;
    for (;;) {
        if (lh_submit(l, s, w->number++, &r, &w->err) != VCH_OK) break;
        if (w->n < ACKED_MAX) w->acked[w->n++] = (acked_t){r.entry, r.index};
        vch_sim_clock_step(w->sim, below(w, 80));
        if (below(w, 5) == 0 && !checkpoint(w, l)) break;
        if (below(w, 7) == 0 && vch_ledger_settle(l, &w->err) == VCH_OK) vch_ledger_read_end(l);
        if (below(w, 25) == 0) break;
    }
    vch_signer_free(s);
}

static void verify_entries(world_t *w, vch_ledger_t *l)
{
    for (size_t i = 0; i < w->n; i++) {
        uint64_t index = 0;
        vch_rc rc = vch_state_find(l->state, &w->acked[i].entry, &index);
        must(w, rc == VCH_OK && index == w->acked[i].index, "an acknowledged entry is gone or moved");
    }
}

/* The handle's state is what a replay into empty memory gives. */
static vch_rc replay_one(void *ctx, const vch_log_entry_t *e) { return vch_state_replay(ctx, e, true, NULL); }

static void verify_state(world_t *w, vch_ledger_t *l)
{
    vch_kv_t *kv;
    vch_state_t *again = NULL;
    vch_state_info_t a, b;
    must(w, vch_kv_open_memory(&kv, &w->err) == VCH_OK && vch_state_open(&again, kv, &w->err) == VCH_OK, "memory");
    must(w, vch_log_replay(l->log, 0, vch_log_size(l->log), replay_one, again, &w->err) == VCH_OK, "replay");
    vch_state_info(l->state, &a);
    vch_state_info(again, &b);
    must(w, a.applied == b.applied && a.open_count == b.open_count && a.height == b.height, "the state is elsewhere");
    must(w, vch_hash_eq(&a.root, &b.root) && a.time.ms == b.time.ms, "the state is another one");
    vch_state_free(again);
    vch_kv_close(kv);
}

static void verify_head(world_t *w, vch_ledger_t *l)
{
    vch_buf_t note;
    uint64_t size = 0, said;
    vch_hash_t root, now;
    vch_buf_init(&note, VCH_NOTE_BYTES_MAX);
    must(w, vch_log_head(l->log, &note, &size, &w->err) == VCH_OK, "the head is lost");
    must(w, size >= w->signed_size && size <= vch_log_size(l->log), "the head went back, or ahead of the log");
    read_note(w, vch_buf_slice(&note), &said, &root);
    must(w, vch_log_root(l->log, size, &now, &w->err) == VCH_OK && vch_hash_eq(&now, &root) && said == size,
         "the head is not of this log");
    if (w->signed_size) {
        must(w, vch_log_root(l->log, w->signed_size, &now, &w->err) == VCH_OK && vch_hash_eq(&now, &w->signed_root),
             "what was signed is no prefix");
    }
    vch_buf_free(&note);
}

static void verify_proof(world_t *w, vch_ledger_t *l)
{
    vch_text_t text;
    vch_tlog_proof_t *p = malloc(sizeof *p);
    vch_arena_t arena;
    vch_log_entry_t e;
    vch_hash_t leaf, root;
    uint64_t size, index = below(w, vch_log_size(l->log));
    must(w, vch_prove_inclusion(l, index, &text, &w->err) == VCH_OK, "no proof");
    must(w, vch_tlog_proof_get(p, vch_slice(text.p, text.n)) == VCH_OK, "the proof is malformed");
    read_note(w, p->note, &size, &root);
    vch_arena_init(&arena, 1u << 20);
    must(w, vch_log_read(l->log, index, &arena, &e, &w->err) == VCH_OK, "an entry can't be read");
    vch_tree_leaf(&leaf, e.record.entry);
    must(w, vch_inclusion_verify(index, size, &leaf, p->path, p->n, &root), "the proof is wrong");
    if (size > w->signed_size) {
        w->signed_size = size;
        w->signed_root = root;
    }
    vch_arena_free(&arena);
    vch_text_free(&text);
    free(p);
}

/* Opening may be cut too. */
static vch_ledger_t *open_through_cuts(world_t *w)
{
    for (;;) {
        vch_ledger_t *l = NULL;
        bool cut = below(w, 4) == 0;
        if (cut) vch_sim_cut_power_at(w->sim, 1 + below(w, 60));
        vch_rc rc = vch_ledger_open_on(&l, w->port, "d", 0, &w->err);
        if (!cut) must(w, rc == VCH_OK, "the ledger does not open after a power cut");
        if (!cut) return l;
        if (rc == VCH_OK && vch_ledger_close(l, &w->err) == VCH_OK) (void)0;
        vch_sim_crash(w->sim);
        w->cuts++;
    }
}

/* An init that is cut off can be repeated. */
static void init_through_cuts(world_t *w)
{
    vch_init_t init = lh_init();
    for (unsigned tries = 0;; tries++) {
        bool cut = tries < 3;
        if (cut) vch_sim_cut_power_at(w->sim, 1 + below(w, 90));
        vch_rc rc = vch_ledger_init_on(w->port, "d", &init, &w->err);
        if (rc == VCH_OK && !cut) return;
        if (rc == VCH_ERR_CONFLICT) return; /* the last one had finished but for the answer */
        if (!cut) must(w, rc == VCH_OK, "a second init");
        vch_sim_crash(w->sim);
        w->cuts++;
    }
}

static unsigned one_ledger(unsigned long long seed, unsigned cuts, size_t *acked)
{
    world_t *w = calloc(1, sizeof *w);
    w->seed = seed;
    assert_int_equal(vch_sim_new(&w->sim, seed), VCH_OK);
    w->port = vch_sim_port(w->sim);
    init_through_cuts(w);
    vch_ledger_t *l = NULL;
    do {
        l = open_through_cuts(w);
        verify_entries(w, l);
        verify_head(w, l);
        verify_state(w, l);
        if (w->cuts >= cuts) break;
        if (below(w, 3) == 0) verify_proof(w, l);
        vch_sim_cut_power_at(w->sim, 1 + below(w, below(w, 4) ? 60 : 400));
        work(w, l);
        vch_rc rc = vch_ledger_close(l, &w->err);
        must(w, rc != VCH_ERR_CORRUPT, "closing");
        vch_sim_crash(w->sim);
        w->cuts++;
    } while (true);
    verify_proof(w, l);
    assert_int_equal(vch_ledger_close(l, &w->err), VCH_OK);
    unsigned made = w->cuts;
    *acked += w->n;
    vch_sim_free(w->sim);
    free(w);
    return made;
}

static void nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    const char *named = getenv("VOUCHSAFE_TEST_SEED");
    unsigned long long seed = named ? strtoull(named, NULL, 10) : 20261122;
    unsigned want = cuts_wanted(), made = 0;
    size_t acked = 0;
    print_message("seed %llu, %u cuts\n", seed, want);
    for (; made < want; seed++) {
        unsigned left = want - made;
        made += one_ledger(seed, left < CUTS_PER_LEDGER ? left : CUTS_PER_LEDGER, &acked);
    }
    print_message("%u cuts, %zu entries acknowledged\n", made, acked);
    assert_true(want < CUTS_PER_LEDGER || acked > made); /* it did work in between */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_acknowledged_is_lost)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
