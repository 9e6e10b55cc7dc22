/* SPDX-License-Identifier: Apache-2.0 */
/* Trustees that answer wrong seeds, well signed, and storage nodes that send
 * something else: while there are fewer than the threshold says, rows come out
 * as they went in; beyond it nothing does, and never a wrong row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "node/vault_int.h"
#include "vault_world.h"

/* ---- a trustee that lies -------------------------------------------------------------- */

typedef enum { HONEST, ALL_WRONG, ONE_WRONG, SOME_TREES, SILENT, UNSIGNED } manner_t;

typedef struct {
    vch_peer_t peer;
    vch_peer_t *honest;
    vch_signer_t *key;
    manner_t manner;
    uint64_t seed;
    unsigned asked;
} liar_t;

static uint64_t draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

/* Wrong seeds in a well-formed, well-signed answer: made without the honest one's. */
static vch_rc lie(liar_t *l, const vch_release_t *r, vch_buf_t *ret_answer, vch_buf_t *ret_box)
{
    uint8_t *seed = calloc(r->nodes, VCH_KT_KEY), random[32];
    vch_hash_t *leaf = calloc(r->nodes, sizeof *leaf);
    vch_seeds_answer_t a;
    vch_buf_t payload;
    vch_buf_init(&payload, 4096);
    for (size_t i = 0; i < (size_t)r->nodes * VCH_KT_KEY; i++) seed[i] = (uint8_t)draw(&l->seed);
    for (size_t i = 0; i < 32; i++) random[i] = (uint8_t)draw(&l->seed);
    assert_int_equal(vch_answer_make(&a, r, seed, leaf), VCH_OK);
    assert_int_equal(vch_answer_put(&payload, &a), VCH_OK);
    assert_int_equal(vch_cose_sign(ret_answer, l->key, vch_buf_slice(&payload), NULL), VCH_OK);
    assert_int_equal(vch_answer_seal(ret_box, r, seed, random), VCH_OK);
    vch_buf_free(&payload);
    free(seed);
    free(leaf);
    return VCH_OK;
}

static vch_rc liar_release(vch_peer_t *p, vch_slice_t request, vch_buf_t *ret_answer, vch_buf_t *ret_box,
                           vch_err_t *err)
{
    liar_t *l = (liar_t *)(void *)p;
    vch_cose_t m;
    vch_release_t *r = calloc(1, sizeof *r);
    vch_rc rc = VCH_OK;
    assert_int_equal(vch_cose_read(&m, request), VCH_OK);
    assert_int_equal(vch_release_get(r, m.payload), VCH_OK);
    bool honest = l->manner == HONEST || (l->manner == ONE_WRONG && l->asked++ > 0) ||
                  (l->manner == SOME_TREES && r->set % 2 == 0) || l->manner == UNSIGNED;
    if (l->manner == SILENT)
        rc = vch_fail(err, VCH_ERR_UNREACHABLE, "no answer");
    else
        rc = honest ? l->honest->ops->release(l->honest, request, ret_answer, ret_box, err)
                    : lie(l, r, ret_answer, ret_box);
    if (l->manner == UNSIGNED) ret_answer->p[ret_answer->n - 1] ^= 1;
    free(r);
    return rc;
}

/* Half of the time it helps against itself, else it shows something wrong. */
static vch_rc liar_path(vch_peer_t *p, const vch_hash_t *extent, uint8_t set, uint32_t leaf, vch_buf_t *ret,
                        vch_err_t *err)
{
    liar_t *l = (liar_t *)(void *)p;
    if (l->manner == SILENT) return vch_fail(err, VCH_ERR_UNREACHABLE, "no answer");
    vch_rc rc = l->honest->ops->path(l->honest, extent, set, leaf, ret, err);
    if (rc == VCH_OK && l->manner != HONEST && draw(&l->seed) % 2) ret->p[draw(&l->seed) % ret->n] ^= 1;
    return rc;
}

static void liar_close(vch_peer_t *p)
{
    liar_t *l = (liar_t *)(void *)p;
    l->honest->ops->close(l->honest);
    vch_signer_free(l->key);
    free(l);
}

static const vch_peer_ops_t liar_ops = {.release = liar_release, .path = liar_path, .close = liar_close};

static liar_t *make_liar(world_t *w, vch_vault_t *v, unsigned position, manner_t manner, uint64_t seed)
{
    char path[200];
    liar_t *l = calloc(1, sizeof *l);
    snprintf(path, sizeof path, "%s/vault/trustee-%u/key.pem", w->ledger, position + 1);
    OK(vch_signer_load(&l->key, path, NULL, &w->err));
    l->peer.ops = &liar_ops;
    l->honest = v->trustee[position];
    l->manner = manner;
    l->seed = seed;
    v->trustee[position] = &l->peer;
    return l;
}

/* ---- a storage node that lies --------------------------------------------------------------- */

typedef struct {
    vch_backend_t backend;
    vch_backend_t *honest;
    uint64_t seed;
} thief_t;

static vch_rc thief_size(vch_backend_t *b, const char *name, uint64_t *ret, vch_err_t *err)
{
    thief_t *t = (thief_t *)(void *)b;
    return t->honest->ops->size(t->honest, name, ret, err);
}

/* One byte of each read is another one. */
static vch_rc thief_read(vch_backend_t *b, const char *name, void *buf, size_t n, uint64_t at, vch_err_t *err)
{
    thief_t *t = (thief_t *)(void *)b;
    vch_rc rc = t->honest->ops->read(t->honest, name, buf, n, at, err);
    if (rc == VCH_OK && n) ((uint8_t *)buf)[draw(&t->seed) % n] ^= (uint8_t)(1 + draw(&t->seed) % 255);
    return rc;
}

static void thief_close(vch_backend_t *b)
{
    thief_t *t = (thief_t *)(void *)b;
    t->honest->ops->close(t->honest);
    free(t);
}

static const vch_backend_ops_t thief_ops = {.size = thief_size, .read = thief_read, .close = thief_close};

static void make_thief(vch_vault_t *v, unsigned position, uint64_t seed)
{
    thief_t *t = calloc(1, sizeof *t);
    t->backend.ops = &thief_ops;
    t->honest = v->storage[position];
    t->seed = seed;
    v->storage[position] = &t->backend;
}

/* ---- reading ------------------------------------------------------------------------------------ */

typedef struct {
    vch_use_t use;
    vch_vault_t *v;
    uint64_t convicted; /* positions, by proofs that verify; bits */
} reading_t;

/* Each proof convicts whoever it names, under that key and no other's. */
static void judge(world_t *w, reading_t *r, const vch_opening_t *o)
{
    vch_slice_t bytes;
    r->convicted = 0;
    for (size_t i = 0; vch_opening_blame(o, i, &bytes); i++) {
        vch_blame_t *b = calloc(1, sizeof *b);
        unsigned found = 0;
        for (unsigned p = 0; p < 3; p++) {
            vch_pubkey_t key;
            assert_int_equal(vch_vault_key(w->l, &r->v->trustee_id[p], &key, NULL), VCH_OK);
            assert_int_equal(vch_blame_get(b, bytes), VCH_OK);
            if (vch_blame_verify(b, &key, &w->l->network) != VCH_OK) continue;
            found++;
            r->convicted |= 1u << p;
        }
        assert_int_equal(found, 1);
        free(b);
    }
}

static void reading_open(world_t *w, reading_t *r)
{
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN);
    OK(vch_use_open(&r->use, w->l, w->key, &grant, 1, &w->err));
    OK(vch_ledger_checkpoint(w->l, NULL, &w->err));
    OK(vch_vault_open(&r->v, w->l, &w->err));
}

static void reading_close(reading_t *r)
{
    vch_vault_close(r->v);
    vch_use_close(&r->use);
}

static bool is_row(const vch_opened_t *opened, uint32_t row)
{
    char want[64];
    int n = snprintf(want, sizeof want, CANARY "-%u", row);
    return memmem(opened->canonical[0].p, opened->canonical[0].n, want, (size_t)n) != NULL;
}

/* Rows that came out, each of them right; the result of the last call. */
static vch_rc read_all(world_t *w, reading_t *r, uint32_t *ret_rows, uint64_t *ret_aside)
{
    vch_opening_t *o;
    vch_opened_t opened;
    uint32_t row;
    vch_wanted_t want = {.dataset = r->use.dataset, .number = 0, .groups = r->use.groups, .bits = r->use.bits.p};
    memcpy(want.grant.b, r->use.part[0].id.b, 32);
    *ret_rows = 0;
    *ret_aside = 0;
    w->err = (vch_err_t){0};
    vch_rc rc = vch_opening_begin(&o, r->v, w->key, &want, &w->err);
    if (rc != VCH_OK) return rc;
    while ((rc = vch_opening_next(o, &row, &opened, &w->err)) == VCH_OK) {
        assert_int_equal(row, *ret_rows);
        assert_true(is_row(&opened, row));
        ++*ret_rows;
    }
    *ret_aside = vch_opening_set_aside(o);
    judge(w, r, o);
    vch_opening_end(o);
    return rc;
}

static void one_liar_changes_nothing(void **state)
{
    world_t *w = *state;
    static const manner_t manner[] = {HONEST, ALL_WRONG, ONE_WRONG, SOME_TREES, SILENT, UNSIGNED};
    for (unsigned m = 0; m < sizeof manner / sizeof *manner; m++)
        for (unsigned p = 0; p < 3; p++) {
            reading_t r;
            uint32_t rows;
            uint64_t aside;
            reading_open(w, &r);
            make_liar(w, r.v, p, manner[m], m * 100 + p);
            vch_rc rc = read_all(w, &r, &rows, &aside);
            if (rc != VCH_ERR_NOT_FOUND) fail_msg("manner %u, trustee %u: %s", m, p + 1, w->err.text);
            assert_int_equal(rows, GIVEN);
            assert_true(aside == 0 || aside == 1u << p);
            assert_int_equal(r.convicted, aside);                   /* who was set aside is named, and nobody else */
            assert_true(manner[m] != ALL_WRONG || p == 2 || aside); /* the third one is asked when another failed */
            reading_close(&r);
        }
}

static void two_liars_get_nothing_through(void **state)
{
    world_t *w = *state;
    for (unsigned kept = 0; kept < 3; kept++) {
        reading_t r;
        uint32_t rows;
        uint64_t aside;
        reading_open(w, &r);
        for (unsigned p = 0; p < 3; p++)
            if (p != kept) make_liar(w, r.v, p, ALL_WRONG, p);
        assert_int_equal(read_all(w, &r, &rows, &aside), VCH_ERR_COMMITMENT);
        assert_int_equal(rows, 0);
        assert_non_null(strstr(w->err.text, "row 0"));
        assert_int_equal(r.convicted, 7u & ~(1u << kept)); /* the third one's word convicts them all the same */
        reading_close(&r);
    }
}

/* From a seed: up to one trustee and one storage node misbehave, in some way. */
static void many_ways_to_misbehave(void **state)
{
    world_t *w = *state;
    const char *scale = getenv("VOUCHSAFE_TEST_SCALE");
    unsigned long rounds = 1000ul * (scale ? strtoul(scale, NULL, 10) : 100) / 100, recovered = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        reading_t r;
        uint32_t rows;
        uint64_t aside, seed = 20261123 + i;
        reading_open(w, &r);
        unsigned p = draw(&seed) % 4, s = draw(&seed) % 4;
        if (p < 3) make_liar(w, r.v, p, (manner_t)(draw(&seed) % 6), seed);
        if (s < 3) make_thief(r.v, s, seed);
        vch_rc rc = read_all(w, &r, &rows, &aside);
        if (rc != VCH_ERR_NOT_FOUND || rows != GIVEN)
            fail_msg("round %llu: %u rows, %s", (unsigned long long)i, rows, w->err.text);
        assert_true(aside == 0 || (p < 3 && aside == 1u << p));
        assert_int_equal(r.convicted, aside);
        recovered += aside != 0;
        reading_close(&r);
    }
    print_message("%lu rounds, in %lu a trustee's answers were set aside\n", rounds, recovered);
    assert_true(recovered > rounds / 20);
}

/* ---- after an erasure ---------------------------------------------------------------------------------- */

static uint64_t convicted_of_lying(world_t *w, unsigned liar)
{
    reading_t r;
    uint32_t rows, row;
    uint64_t convicted;
    vch_opening_t *o;
    vch_opened_t opened;
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN - 1);
    OK(vch_use_open(&r.use, w->l, w->key, &grant, 1, &w->err));
    OK(vch_ledger_checkpoint(w->l, NULL, &w->err));
    OK(vch_vault_open(&r.v, w->l, &w->err));
    make_liar(w, r.v, liar, ALL_WRONG, 7);
    vch_wanted_t want = {.dataset = r.use.dataset, .number = 0, .groups = r.use.groups, .bits = r.use.bits.p};
    memcpy(want.grant.b, r.use.part[0].id.b, 32);
    OK(vch_opening_begin(&o, r.v, w->key, &want, &w->err));
    for (rows = 0; vch_opening_next(o, &row, &opened, &w->err) == VCH_OK; rows++) assert_true(is_row(&opened, row));
    assert_int_equal(rows, GIVEN - 1);
    judge(w, &r, o);
    convicted = r.convicted;
    vch_opening_end(o);
    reading_close(&r);
    return convicted;
}

static void for_each_kept(world_t *w, void (*act)(const char *path))
{
    for (unsigned p = 1; p <= 3; p++) {
        char path[200], hex[65];
        vch_use_t use;
        vch_id_t grant = ask_for(w, w->key, NULL, GIVEN - 1);
        OK(vch_use_open(&use, w->l, w->key, &grant, 1, &w->err));
        vch_hex(hex, use.id[0].b, 32);
        vch_use_close(&use);
        snprintf(path, sizeof path, "%s/vault/trustee-%u/forgotten/%s", w->ledger, p, hex);
        act(path);
    }
}

static void is_there(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    assert_true(ftell(f) >= 41 && ftell(f) % 41 == 0);
    fclose(f);
}

static void damage(const char *path)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    for (long at = 7; fseek(f, at, SEEK_SET) == 0; at += 41) {
        int c = fgetc(f);
        if (c == EOF) break;
        fseek(f, at, SEEK_SET);
        fputc(c ^ 4, f);
    }
    fclose(f);
}

/* The trustees have forgotten a leaf, not its hash: a root can still be led to. */
static void an_erasure_hides_no_liar(void **state)
{
    world_t *w = *state;
    vch_receipt_t receipt;
    uint32_t subject = 5;
    OK(vch_erasure_request(w->l, w->key, NULL, "cohort", &subject, NULL, 1, &receipt, &w->err));
    for_each_kept(w, is_there);
    for (unsigned p = 0; p < 2; p++) assert_int_equal(convicted_of_lying(w, p), 1u << p);
    for_each_kept(w, damage);
    for (unsigned p = 0; p < 2; p++) assert_int_equal(convicted_of_lying(w, p), 0);
}

/* ---- a custodian that deals one trustee something else ---------------------------------------------- */

typedef struct {
    vch_peer_t peer;
    vch_peer_t *honest;
} crooked_t;

static vch_rc crooked_prekey(vch_peer_t *p, vch_buf_t *ret, vch_err_t *err)
{
    crooked_t *c = (crooked_t *)(void *)p;
    return c->honest->ops->prekey(c->honest, ret, err);
}

static const vch_signer_t *crook;

/* On its way the deal's seeds become others, and it is signed again. */
static vch_rc crooked_deal(vch_peer_t *p, vch_slice_t message, vch_buf_t *ret, vch_err_t *err)
{
    crooked_t *c = (crooked_t *)(void *)p;
    vch_cose_t m;
    vch_deal_t d;
    vch_buf_t payload, cose;
    uint8_t seeds[VCH_VAULT_HELD_MAX * 32] = {3}, random[32] = {4};
    vch_buf_init(&payload, 8192);
    vch_buf_init(&cose, 16384);
    assert_int_equal(vch_cose_read(&m, message), VCH_OK);
    assert_int_equal(vch_deal_get(&d, m.payload), VCH_OK);
    assert_int_equal(vch_deal_put(&payload, &d, seeds, random), VCH_OK);
    assert_int_equal(vch_cose_sign(&cose, crook, vch_buf_slice(&payload), NULL), VCH_OK);
    vch_rc rc = c->honest->ops->deal(c->honest, vch_buf_slice(&cose), ret, err);
    vch_buf_free(&payload);
    vch_buf_free(&cose);
    return rc;
}

static void crooked_close(vch_peer_t *p)
{
    crooked_t *c = (crooked_t *)(void *)p;
    c->honest->ops->close(c->honest);
    free(c);
}

static const vch_peer_ops_t crooked_ops = {.prekey = crooked_prekey, .deal = crooked_deal, .close = crooked_close};

static void a_crooked_deal_never_becomes_active(void **state)
{
    world_t *w = *state;
    crook = w->key;
    for (unsigned p = 0; p < 3; p++) {
        vch_vault_t *v;
        vch_sealing_t *s;
        vch_buf_t map;
        vch_id_t dataset = {{1}};
        vch_hash_t extent = {{(uint8_t)(50 + p)}}, commitment = {{2}};
        uint8_t salt[32] = {5};
        vch_slice_t canonical = vch_str("x");
        crooked_t *c = calloc(1, sizeof *c);
        OK(vch_vault_open(&v, w->l, &w->err));
        c->peer.ops = &crooked_ops;
        c->honest = v->trustee[p];
        v->trustee[p] = &c->peer;
        OK(vch_sealing_begin(&s, v, &dataset, &extent, 1, &w->err));
        OK(vch_sealing_put(s, salt, &canonical, &commitment, &w->err));
        vch_buf_init(&map, 1u << 16);
        IS(VCH_ERR_COMMITMENT, vch_sealing_end(s, w->key, &map, &w->err));
        assert_int_equal(map.n, 0);
        vch_buf_free(&map);
        vch_vault_close(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        T(one_liar_changes_nothing), T(two_liars_get_nothing_through),       T(many_ways_to_misbehave),
        T(an_erasure_hides_no_liar), T(a_crooked_deal_never_becomes_active),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
