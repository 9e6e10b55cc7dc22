/* SPDX-License-Identifier: Apache-2.0 */
/* A store whose root key is in a simulated token: the power goes, a disk call
 * fails, or the token stops answering, at every call of making, adding, forgetting and rewrapping.
 * Afterwards the store opens, the token holds the one key that its root names
 * (and one that names nothing, if the making was cut off), and what was
 * forgotten no copy of the disk brings back, token or no token. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "crypto/keys.h"
#include "node/guard_int.h"
#include "seeds_help.h"

/* ---- a token: its memory outlives every power cut ------------------------------------- */

#define KEYS_MAX 64u

typedef struct {
    struct {
        uint64_t store, id;
        uint8_t pad[32];
    } key[KEYS_MAX];
    unsigned keys;
    uint64_t last;  /* number given */
    uint64_t store; /* of the guard that is open; 0: not known yet */
    uint64_t calls, fail_at;
    bool before; /* it fails before it does anything, or having done it */
} token_t;

static vch_guard_t guard_of(token_t *t);

/* A guard is opened anew after a power cut. */
static void plug_in(token_t *t) { t->store = 0; }

static bool fails(token_t *t, bool before)
{
    if (before) t->calls++;
    return t->calls == t->fail_at && t->before == before;
}

static vch_rc away(vch_err_t *err) { return vch_fail(err, VCH_ERR_UNREACHABLE, "the token is away"); }

/* The form of a token's blob: magic, store, id, padding, key. */
static vch_rc wrap(void *ctx, vch_buf_t *ret, const uint8_t key[32], vch_err_t *err)
{
    token_t *t = ctx;
    uint8_t b[GD_TOKEN_SIZE] = "VCHTOKN1";
    if (fails(t, true)) return away(err);
    assert_true(t->keys < KEYS_MAX);
    if (!t->store) t->store = ++t->last;
    unsigned i = t->keys++;
    t->key[i].store = t->store;
    t->key[i].id = ++t->last;
    for (unsigned k = 0; k < 32; k++) t->key[i].pad[k] = (uint8_t)(t->last * 37 + k * 11);
    vch_put_u64(b + 8, t->store);
    vch_put_u64(b + 16, t->last);
    for (unsigned k = 0; k < 32; k++) b[24 + k] = key[k] ^ t->key[i].pad[k];
    return fails(t, false) ? away(err) : vch_buf_put(ret, b, sizeof b);
}

static vch_rc unwrap(void *ctx, uint8_t ret[32], vch_slice_t w, vch_err_t *err)
{
    token_t *t = ctx;
    if (fails(t, true) || fails(t, false)) return away(err);
    for (unsigned i = 0; gd_is(VCH_GUARD_TOKEN, w) && i < t->keys; i++) {
        if (t->key[i].store != vch_get_u64(w.p + 8) || t->key[i].id != vch_get_u64(w.p + 16)) continue;
        for (unsigned k = 0; k < 32; k++) ret[k] = w.p[24 + k] ^ t->key[i].pad[k];
        t->store = t->key[i].store;
        return VCH_OK;
    }
    return vch_fail(err, VCH_ERR_KEY, "the token has no key of this root");
}

static void destroy(token_t *t, uint64_t store, uint64_t but)
{
    unsigned n = 0;
    for (unsigned i = 0; i < t->keys; i++)
        if (t->key[i].store != store || t->key[i].id == but) t->key[n++] = t->key[i];
    t->keys = n;
}

static vch_rc settle(void *ctx, vch_slice_t now, vch_slice_t was, vch_err_t *err)
{
    token_t *t = ctx;
    uint64_t in_force = 0;
    if (fails(t, true)) return away(err);
    if (gd_is(VCH_GUARD_TOKEN, now)) destroy(t, in_force = vch_get_u64(now.p + 8), vch_get_u64(now.p + 16));
    if (gd_is(VCH_GUARD_TOKEN, was) && vch_get_u64(was.p + 8) != in_force) destroy(t, vch_get_u64(was.p + 8), 0);
    return fails(t, false) ? away(err) : VCH_OK;
}

static vch_guard_t guard_of(token_t *t)
{
    vch_guard_t g = {.kind = VCH_GUARD_TOKEN};
    g.seeds = (vch_seeds_guard_t){.wrap = wrap, .unwrap = unwrap, .ctx = t, .settle = settle, .destroys = true};
    return g;
}

/* ---- one try ------------------------------------------------------------------------------ */

/* What goes wrong: the power at a disk call, that call alone, or the token at one of its own. */
typedef enum { POWER, DISK, TOKEN_BEFORE, TOKEN_AFTER, TROUBLES } trouble_t;

typedef struct {
    vch_sim_t *sim;
    vch_port_t *port;
    token_t token, other; /* numbers of the other one's keys are its own */
    vch_guard_t guard;
    trouble_t trouble;
    uint64_t seed, at, disk_from;
    vch_err_t err;
} try_t;

static const char *const trouble_name[TROUBLES] = {"cut", "disk", "token before", "token after"};

static void no(const try_t *w, const char *what)
{
    fail_msg("seed %llu, %s %llu: %s: %s", (unsigned long long)w->seed, trouble_name[w->trouble],
             (unsigned long long)w->at, what, w->err.text);
}

static void begin(try_t *w, uint64_t seed, trouble_t trouble, uint64_t at)
{
    *w = (try_t){.trouble = trouble, .seed = seed, .at = at};
    assert_int_equal(vch_sim_new(&w->sim, seed), VCH_OK);
    w->port = vch_sim_port(w->sim);
    w->guard = guard_of(&w->token);
}

static void trouble(try_t *w, token_t *t)
{
    w->disk_from = vch_sim_io_calls(w->sim);
    t->calls = 0;
    t->before = w->trouble == TOKEN_BEFORE;
    if (w->trouble == POWER)
        vch_sim_cut_power_at(w->sim, w->at);
    else if (w->trouble == DISK)
        vch_sim_fail_io(w->sim, w->at, VCH_FAULT_EIO);
    else
        t->fail_at = w->at;
}

/* Returns whether the trouble lay beyond the last call. */
static bool over(try_t *w, token_t *t)
{
    bool of_disk = w->trouble == POWER || w->trouble == DISK;
    bool beyond = (of_disk ? vch_sim_io_calls(w->sim) - w->disk_from : t->calls) < w->at;
    vch_sim_fail_io(w->sim, 0, VCH_FAULT_NONE);
    if (w->trouble != DISK) vch_sim_crash(w->sim);
    w->token.fail_at = w->other.fail_at = 0;
    plug_in(&w->token);
    plug_in(&w->other);
    return beyond;
}

static vch_seeds_t *opened(try_t *w, const vch_guard_t *g)
{
    vch_seeds_t *s = NULL;
    if (vch_seeds_open(&s, w->port, SH_DIR, &g->seeds, &w->err) != VCH_OK) no(w, "doesn't open");
    return s;
}

static void one_key_left(const try_t *w, const vch_seeds_t *s, const token_t *t)
{
    vch_slice_t now = vch_slice(s->root[SD_NOW].wrapped, s->root[SD_NOW].n);
    if (!gd_is(VCH_GUARD_TOKEN, now)) no(w, "the root is not in the token");
    unsigned of_store = 0;
    for (unsigned i = 0; i < t->keys; i++) of_store += t->key[i].store == vch_get_u64(now.p + 8);
    if (of_store != 1) no(w, "not one key in the token");
}

/* No copy of a disk opens, with the token as it is now. */
static void opens_nothing(try_t *w, const di_image_t *copy, token_t *t)
{
    vch_sim_t *sim;
    vch_seeds_t *s = NULL;
    vch_guard_t g = guard_of(t);
    token_t before = *t;
    t->fail_at = 0;
    assert_int_equal(vch_sim_new(&sim, 1), VCH_OK);
    di_lay(vch_sim_port(sim), copy);
    vch_rc rc = vch_seeds_open(&s, vch_sim_port(sim), SH_DIR, &g.seeds, &w->err);
    if (rc != VCH_ERR_KEY) no(w, "an old copy opens");
    assert_int_equal(before.keys, t->keys); /* and harms nothing */
    vch_seeds_close(s);
    vch_sim_free(sim);
    *t = before;
}

/* ---- making, adding, forgetting ---------------------------------------------------------------- */

static bool making(uint64_t seed, trouble_t how, uint64_t at)
{
    try_t w;
    vch_seeds_t *s = NULL;
    begin(&w, seed, how, at);
    trouble(&w, &w.token);
    vch_rc rc = vch_seeds_open(&s, w.port, SH_DIR, &w.guard.seeds, &w.err);
    vch_seeds_close(s);
    bool beyond = over(&w, &w.token);
    s = opened(&w, &w.guard);
    one_key_left(&w, s, &w.token);
    assert_true(w.token.keys <= (rc == VCH_OK ? 1 : 2));
    assert_int_equal(sh_add(s, 1, &w.err), VCH_OK);
    vch_seeds_close(s);
    vch_sim_free(w.sim);
    return beyond;
}

static bool adding(uint64_t seed, trouble_t how, uint64_t at)
{
    try_t w;
    vch_kt_seed_t a, b;
    begin(&w, seed, how, at);
    vch_seeds_t *s = opened(&w, &w.guard);
    assert_int_equal(sh_add(s, 1, &w.err), VCH_OK);
    assert_int_equal(sh_leaf(s, 1, 7, &a), VCH_OK);
    trouble(&w, &w.token);
    vch_rc rc = sh_add(s, 2, &w.err);
    vch_seeds_close(s);
    bool beyond = over(&w, &w.token);
    s = opened(&w, &w.guard);
    one_key_left(&w, s, &w.token);
    assert_int_equal(sh_leaf(s, 1, 7, &b), VCH_OK);
    assert_memory_equal(a.key, b.key, 32);
    vch_rc again = sh_add(s, 2, &w.err);
    assert_true(again == VCH_ERR_CONFLICT || (again == VCH_OK && rc != VCH_OK));
    vch_hash_t extent = sh_about(2).extent;
    assert_true(vch_seeds_destroys(s, &extent));
    vch_seeds_close(s);
    vch_sim_free(w.sim);
    return beyond;
}

static bool forgetting(uint64_t seed, trouble_t how, uint64_t at)
{
    try_t w;
    vch_kt_seed_t a, b;
    begin(&w, seed, how, at);
    vch_seeds_t *s = opened(&w, &w.guard);
    assert_int_equal(sh_add(s, 1, &w.err), VCH_OK);
    assert_int_equal(sh_leaf(s, 1, SH_LEAF + 1, &a), VCH_OK);
    di_image_t *before = di_take(w.port);
    trouble(&w, &w.token);
    vch_rc rc = sh_forget(s, 1, SH_LEAF, NULL, &w.err);
    if (rc == VCH_OK) one_key_left(&w, s, &w.token); /* when it is said to be done, it is */
    if (rc == VCH_OK) opens_nothing(&w, before, &w.token);
    vch_seeds_close(s);
    bool beyond = over(&w, &w.token);
    s = opened(&w, &w.guard);
    one_key_left(&w, s, &w.token);
    vch_rc there = sh_leaf(s, 1, SH_LEAF, &b);
    assert_true(there == VCH_ERR_DENIED || (there == VCH_OK && rc != VCH_OK));
    if (there == VCH_OK) assert_int_equal(sh_forget(s, 1, SH_LEAF, NULL, &w.err), VCH_OK);
    assert_int_equal(sh_leaf(s, 1, SH_LEAF + 1, &b), VCH_OK);
    assert_memory_equal(a.key, b.key, 32);
    one_key_left(&w, s, &w.token);
    opens_nothing(&w, before, &w.token);
    vch_seeds_close(s);
    di_drop(before);
    vch_sim_free(w.sim);
    return beyond;
}

/* ---- from one token to another ------------------------------------------------------------------ */

static bool rewrapping(uint64_t seed, trouble_t how, uint64_t at)
{
    try_t w;
    gd_pair_t pair;
    vch_kt_seed_t got;
    begin(&w, seed, how, at);
    w.other.last = 1000;
    vch_guard_t next = guard_of(&w.other);
    gd_pair(&pair, &w.guard, &next);
    vch_seeds_t *s = opened(&w, &w.guard);
    assert_int_equal(sh_add(s, 1, &w.err), VCH_OK);
    vch_seeds_close(s);
    di_image_t *before = di_take(w.port);
    token_t *failing = seed & 1 ? &w.token : &w.other;
    trouble(&w, failing);
    plug_in(&w.token);
    vch_rc rc = vch_seeds_open(&s, w.port, SH_DIR, &pair.guard.seeds, &w.err);
    if (rc == VCH_OK) {
        rc = vch_seeds_rewrap(s, &w.err);
        vch_seeds_close(s);
    }
    bool beyond = over(&w, failing);
    s = opened(&w, &pair.guard); /* doing it again completes it */
    assert_int_equal(vch_seeds_rewrap(s, &w.err), VCH_OK);
    assert_int_equal(sh_leaf(s, 1, 3, &got), VCH_OK);
    vch_seeds_close(s);
    plug_in(&w.other);
    s = opened(&w, &next);
    one_key_left(&w, s, &w.other);
    assert_int_equal(w.token.keys, 0);
    opens_nothing(&w, before, &w.token);
    vch_seeds_close(s);
    di_drop(before);
    vch_sim_free(w.sim);
    return beyond;
}

/* ---- with the settings' files: rewrap as the program does it ---------------------------------------- */

#define DIR "/t"
static const char *const kind[] = {"guard = file\n", "guard = passphrase\nsecret_file = secret\n"};

static bool settings(uint64_t seed, trouble_t how, uint64_t at)
{
    try_t w;
    vch_rewrap_t r;
    vch_seeds_t *s;
    vch_guard_t *g;
    vch_guard_kind_t to = at % 16 ? VCH_GUARD_FILE : VCH_GUARD_PASSPHRASE; /* Argon2id of full size takes its time */
    begin(&w, seed, how, at);
    assert_int_equal(vch_mkdirs(w.port, DIR, &w.err), VCH_OK);
    assert_int_equal(vch_seeds_open(&s, w.port, DIR "/seeds", NULL, &w.err), VCH_OK);
    assert_int_equal(sh_add(s, 1, &w.err), VCH_OK);
    vch_seeds_close(s);
    assert_int_equal(vch_write_atomic(w.port, DIR "/secret", vch_str("simulated\n"), 0600, &w.err), VCH_OK);
    trouble(&w, &w.token);
    vch_rc rc = vch_guard_rewrap(w.port, DIR, kind[to], &r, &w.err);
    bool beyond = over(&w, &w.token);
    if (rc != VCH_OK) {
        rc = vch_guard_rewrap(w.port, DIR, kind[to], &r, &w.err);
        if (rc == VCH_ERR_CONFLICT) rc = vch_guard_rewrap(w.port, DIR, NULL, &r, &w.err);
        if (rc != VCH_OK) no(&w, "can't be done again");
    }
    assert_int_equal(r.now, to);
    if (vch_guard_open(&g, w.port, DIR, &w.err) != VCH_OK) no(&w, "no guard");
    assert_int_equal(vch_guard_kind(g), to);
    if (vch_seeds_open(&s, w.port, DIR "/seeds", vch_guard_seeds(g), &w.err) != VCH_OK) no(&w, "doesn't open");
    vch_kt_seed_t got;
    assert_int_equal(sh_leaf(s, 1, 3, &got), VCH_OK);
    vch_seeds_close(s);
    vch_guard_close(g);
    vch_sim_free(w.sim);
    return beyond;
}

/* ---- every one ------------------------------------------------------------------------------------------ */

static void each(bool (*one)(uint64_t, trouble_t, uint64_t), uint64_t seeds)
{
    for (uint64_t seed = 1; seed <= seeds; seed++)
        for (trouble_t how = POWER; how < TROUBLES; how++) {
            uint64_t at = 1;
            while (!one(seed, how, at)) assert_true(++at < 1000);
            assert_true(at > (how <= DISK ? 10 : 1));
        }
}

static void test_making(void **state) { (void)state, each(making, 25); }
static void test_adding(void **state) { (void)state, each(adding, 25); }
static void test_forgetting(void **state) { (void)state, each(forgetting, 25); }
static void test_rewrapping(void **state) { (void)state, each(rewrapping, 25); }

static void test_settings(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        uint64_t at = 1;
        while (!settings(seed, seed % 2 ? POWER : DISK, at)) at++;
        assert_true(at > 20);
    }
}

int main(void)
{
    if (vch_crypto_start() != VCH_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_making),     cmocka_unit_test(test_adding),   cmocka_unit_test(test_forgetting),
        cmocka_unit_test(test_rewrapping), cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
