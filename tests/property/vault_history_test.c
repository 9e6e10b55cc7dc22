/* SPDX-License-Identifier: Apache-2.0 */
/* Random histories of a ledger with a vault, from a seed: owners give, withdraw
 * and are erased, users ask and fetch, the program ends and begins again, a
 * trustee's folder is put back to what it was.  After each fetch a model that
 * knows only who consents says which rows may come out: exactly these do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ledger_help.h"
#include "vault_world.h"

#define STEPS 50u
#define GRANTS 8u

typedef struct {
    world_t *w;
    uint64_t random;
    bool given[ROWS], erased[ROWS];
    struct {
        vch_id_t id;
        bool row[ROWS];
    } grant[GRANTS];
    unsigned grants, fetched, rows, restarts, rollbacks, erasures, own;
    bool kept; /* a copy of trustee 2's folder */
} history_t;

static uint32_t below(history_t *h, uint32_t n)
{
    h->random = h->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((h->random >> 33) % n);
}

static void give(history_t *h)
{
    world_t *w = h->w;
    vch_receipt_t r;
    uint32_t who = below(h, ROWS);
    vch_rc rc = vch_consent_give(w->l, w->key, w->w, "cohort", &who, &who, 1, "training", 40000, &r, &w->err);
    assert_int_equal(rc, h->erased[who] ? VCH_ERR_CONFLICT : VCH_OK);
    if (rc == VCH_OK) h->given[who] = true;
}

static void withdraw(history_t *h)
{
    world_t *w = h->w;
    vch_receipt_t r;
    uint32_t who = below(h, ROWS);
    vch_rc rc = vch_consent_withdraw(w->l, w->key, w->w, "cohort", &who, &who, 1, NULL, &r, &w->err);
    assert_int_equal(rc, h->erased[who] ? VCH_ERR_CONFLICT : VCH_OK);
    h->given[who] = false;
}

static void erase(history_t *h)
{
    world_t *w = h->w;
    vch_receipt_t r;
    uint32_t who = below(h, ROWS);
    vch_rc rc = vch_erasure_request(w->l, w->key, below(h, 2) ? w->w : NULL, "cohort", &who, &who, 1, &r, &w->err);
    if (rc != (h->erased[who] ? VCH_ERR_CONFLICT : VCH_OK)) fail_msg("%s: %s", vch_rc_name(rc), w->err.text);
    h->erased[who] = true;
    h->given[who] = false;
    h->erasures++;
}

static void ask(history_t *h)
{
    world_t *w = h->w;
    vch_receipt_t r;
    uint64_t want = 0;
    unsigned g = h->grants % GRANTS;
    for (unsigned i = 0; i < ROWS; i++) want += h->given[i];
    OK(vch_access_request(w->l, w->key, "cohort", RESEARCH, TRAINING, NULL, 0, &r, &w->err));
    assert_int_equal(r.rows, want);
    if (!r.permit) return;
    h->grant[g].id = r.object;
    memcpy(h->grant[g].row, h->given, sizeof h->given);
    h->grants++;
}

/* Granted then and given now, in order, and nothing else. */
static void exactly_these(history_t *h, unsigned g)
{
    char line[200], want[200];
    FILE *f = fopen(h->w->out, "rb");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    for (uint32_t i = 0; i < ROWS; i++) {
        if (!h->grant[g].row[i] || !h->given[i]) continue;
        snprintf(want, sizeof want, "%u," CANARY "-%u,%u\n", i * 1000 + 7, i, i & 1);
        assert_non_null(fgets(line, sizeof line, f));
        assert_string_equal(line, want);
        h->rows++;
    }
    assert_null(fgets(line, sizeof line, f));
    fclose(f);
}

static void fetch_some(history_t *h)
{
    world_t *w = h->w;
    uint64_t rows;
    if (h->grants == 0) return;
    unsigned g = below(h, h->grants < GRANTS ? h->grants : GRANTS);
    OK(fetch(w, w->key, &h->grant[g].id, &rows));
    exactly_these(h, g);
    h->fetched++;
}

/* Whatever was given and withdrawn: one's own row, until one is erased. */
static void read_own(history_t *h)
{
    char text[200], want[200];
    world_t *w = h->w;
    vch_receipt_t r;
    uint64_t rows;
    uint32_t who = below(h, ROWS);
    unlink(w->out);
    OK(vch_access_own(w->l, w->other, w->w, "cohort", who, who, NULL, 0, w->out, &rows, &r, &w->err));
    assert_int_equal(r.permit, !h->erased[who]);
    assert_string_equal(r.rule, h->erased[who] ? "deny/erased" : "permit/own");
    FILE *f = fopen(w->out, "rb");
    assert_int_equal(f == NULL, h->erased[who]);
    if (!f) return;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    snprintf(want, sizeof want, "x,y,label\n%u," CANARY "-%u,%u\n", who * 1000 + 7, who, who & 1);
    assert_string_equal(text, want);
    h->own++;
}

static void restart(history_t *h)
{
    world_t *w = h->w;
    OK(vch_ledger_close(w->l, &w->err));
    OK(vch_ledger_open(&w->l, w->ledger, 0, &w->err));
    h->restarts++;
}

static void keep_or_roll_back(history_t *h)
{
    char command[600];
    const char *dir = h->w->ledger, *copy = h->w->dir;
    if (h->kept)
        snprintf(command, sizeof command, "rm -rf '%s/vault/trustee-2' && mv '%s/kept' '%s/vault/trustee-2'", dir, copy,
                 dir);
    else
        snprintf(command, sizeof command, "cp -r '%s/vault/trustee-2' '%s/kept'", dir, copy);
    assert_int_equal(lh_shell(command), 0);
    h->rollbacks += h->kept;
    h->kept = !h->kept;
}

static void step(history_t *h)
{
    uint32_t what = below(h, 100);
    if (what < 25)
        give(h);
    else if (what < 45)
        withdraw(h);
    else if (what < 50)
        erase(h);
    else if (what < 65)
        ask(h);
    else if (what < 84)
        fetch_some(h);
    else if (what < 90)
        read_own(h);
    else if (what < 94)
        restart(h);
    else
        keep_or_roll_back(h);
}

/* Whatever was rolled back: no trustee has an erased row's key any more, once it was asked for anything. */
static void nothing_erased_is_left(history_t *h)
{
    world_t *w = h->w;
    vch_use_t use;
    vch_hash_t extent;
    ask(h);
    if (h->grants == 0) return;
    vch_id_t *grant = &h->grant[(h->grants - 1) % GRANTS].id;
    OK(vch_vault_up(w->l, w->key, &w->err));
    OK(vch_use_open(&use, w->l, w->key, grant, 1, &w->err));
    extent = use.id[0];
    vch_use_close(&use);
    for (unsigned t = 1; t <= 3; t++) {
        char dir[200];
        vch_seeds_t *s;
        snprintf(dir, sizeof dir, "%s/vault/trustee-%u/seeds", w->ledger, t);
        OK(vch_seeds_open(&s, w->l->port, dir, NULL, &w->err));
        for (uint32_t i = 0; i < ROWS; i++)
            for (uint8_t set = 0; set < 3; set++) {
                vch_kt_seed_t seed;
                vch_rc rc = vch_seeds_get(s, &extent, set, (vch_kt_node_t){VCH_KT_LEAF_LEVEL, i}, &seed, &w->err);
                if (set == t - 1)
                    assert_int_equal(rc, VCH_ERR_NOT_FOUND);
                else
                    assert_int_equal(rc, h->erased[i] ? VCH_ERR_DENIED : VCH_OK);
            }
        vch_seeds_close(s);
    }
}

static void histories(void **state)
{
    const char *scale = getenv("VOUCHSAFE_TEST_SCALE");
    unsigned long rounds = 25ul * (scale ? strtoul(scale, NULL, 10) : 100) / 100 + 1;
    history_t all = {0};
    for (uint64_t i = 0; i < rounds; i++) {
        assert_int_equal(set_up(state), 0);
        history_t h = {.w = *state, .random = 20261123 + i};
        for (unsigned k = 0; k < GIVEN; k++) h.given[k] = true;
        for (unsigned k = 0; k < STEPS; k++) step(&h);
        nothing_erased_is_left(&h);
        all.fetched += h.fetched;
        all.rows += h.rows;
        all.restarts += h.restarts;
        all.rollbacks += h.rollbacks;
        all.erasures += h.erasures;
        all.own += h.own;
        assert_int_equal(tear_down(state), 0);
    }
    print_message(
        "%lu histories: %u fetches of %u rows, %u erasures, %u restarts, %u trustees rolled back, %u own rows read\n",
        rounds, all.fetched, all.rows, all.erasures, all.restarts, all.rollbacks, all.own);
    assert_true(all.fetched > rounds && all.rollbacks > 0 && all.erasures > 0 && all.own > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(histories)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
