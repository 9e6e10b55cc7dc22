/* SPDX-License-Identifier: Apache-2.0 */
/* The decision: every rule and its twin, then every small case against a
 * naive reading; rows by look-up against one bit at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "policy/policy.h"
#include "txkit.h"

/* purposes: 0 research, 1 science < research, 2 marketing; 3 both < 1, 2
 * processings: 0 any, 1 training < any */
static vch_vocabulary_t purposes, processings;
static vch_terms_t known[8];
static size_t known_n;

static void word(vch_vocabulary_t *v, const char *iri, int a, int b)
{
    v->iri[v->n] = vch_str(iri);
    if (a >= 0) v->parent[v->n][v->parents[v->n]++] = (uint16_t)a;
    if (b >= 0) v->parent[v->n][v->parents[v->n]++] = (uint16_t)b;
    v->n++;
}

static int set_up(void **state)
{
    (void)state;
    word(&purposes, "research", -1, -1);
    word(&purposes, "science", 0, -1);
    word(&purposes, "marketing", -1, -1);
    word(&purposes, "both", 1, 2);
    word(&processings, "any", -1, -1);
    word(&processings, "training", 0, -1);
    return 0;
}

static const vch_terms_t *find(void *ctx, const vch_hash_t *hash)
{
    (void)ctx;
    for (size_t i = 0; i < known_n; i++)
        if (vch_hash_eq(&known[i].hash, hash)) return &known[i];
    return NULL;
}

static vch_terms_t *terms(uint8_t name, bool forbid, int purpose, int processing)
{
    vch_terms_t *t = &known[known_n++];
    *t = (vch_terms_t){.hash = {{name}}, .forbid = forbid};
    if (purpose >= 0) t->purpose[t->purposes++] = (uint16_t)purpose;
    if (processing >= 0) t->processing[t->processings++] = (uint16_t)processing;
    return t;
}

static vch_palette_value_t set_of(const vch_terms_t *a, const vch_terms_t *b)
{
    vch_palette_value_t p = {0};
    if (a) p.item[p.items++] = (vch_palette_item_t){a->hash, 20000, 0};
    if (b) p.item[p.items++] = (vch_palette_item_t){b->hash, 20000, 0};
    return p;
}

static vch_verdict_t decide(const vch_palette_value_t *p, const vch_request_t *r)
{
    vch_verdict_t v;
    vch_decide(&v, p, r, &purposes, &processings, find, NULL);
    assert_int_equal(v.permit, v.rule == VCH_RULE_PERMIT);
    return v;
}

#define RULE(p, r, expected) assert_string_equal(vch_rule_name(decide(p, r).rule), expected)

static void each_rule_has_its_say(void **state)
{
    (void)state;
    known_n = 0;
    vch_terms_t *permit = terms(1, false, 0, 1);
    vch_request_t r = {.purpose = 1, .processing = 1, .now = {20000ull * 86400000 + 5}};
    vch_palette_value_t none = {0}, one = set_of(permit, NULL);
    RULE(&none, &r, "deny/no-consent");
    none.owner_withdrew = true;
    RULE(&none, &r, "deny/withdrawn");
    RULE(&one, &r, "permit/terms");
    r.purpose = 2;
    RULE(&one, &r, "deny/purpose");
    r.purpose = 1;
    r.processing = 0; /* broader than training: not covered */
    RULE(&one, &r, "deny/processing");
    r.processing = 1;
    permit->recipient[permit->recipients++] = (vch_id_t){{42}};
    RULE(&one, &r, "deny/recipient");
    r.recipient.b[0] = 42;
    RULE(&one, &r, "permit/terms");
    permit->has_from = true;
    permit->from.ms = r.now.ms + 1;
    RULE(&one, &r, "deny/not-yet");
    permit->from.ms = r.now.ms;
    RULE(&one, &r, "permit/terms");
    permit->has_until = true;
    permit->until.ms = r.now.ms - 1;
    RULE(&one, &r, "deny/expired");
    permit->until.ms = r.now.ms;
    RULE(&one, &r, "permit/terms");
    r.now.ms = 20001ull * 86400000; /* the day after the consent's last day */
    permit->has_until = false;
    RULE(&one, &r, "deny/expired");
    r.now.ms -= 1;
    RULE(&one, &r, "permit/terms");
    permit->unknown = true;
    RULE(&one, &r, "deny/not-understood");
    one.item[0].terms.b[31] = 1; /* terms that nobody knows */
    RULE(&one, &r, "deny/not-understood");
}

static void forbid_wins_and_reaches_broader_requests(void **state)
{
    (void)state;
    known_n = 0;
    vch_terms_t *permit = terms(1, false, -1, -1), *forbid = terms(2, true, 1, 1);
    vch_palette_value_t both = set_of(permit, forbid);
    vch_request_t r = {.purpose = 1, .processing = 1, .now = {5}};
    RULE(&both, &r, "deny/forbidden");
    r.processing = 0; /* any processing would include training */
    RULE(&both, &r, "deny/forbidden");
    r.purpose = 0; /* research would include science */
    RULE(&both, &r, "deny/forbidden");
    r.purpose = 2;
    RULE(&both, &r, "permit/terms");
    r.purpose = 1;
    forbid->has_until = true;
    forbid->until.ms = 4; /* a prohibition that ended no longer binds */
    RULE(&both, &r, "permit/terms");
    forbid->has_until = false;
    forbid->unknown = true; /* one that can't be judged does */
    RULE(&both, &r, "deny/forbidden");
}

static bool below(const vch_vocabulary_t *v, unsigned narrow, unsigned broad)
{
    if (narrow == broad) return true;
    for (unsigned i = 0; i < v->parents[narrow]; i++)
        if (below(v, v->parent[narrow][i], broad)) return true;
    return false;
}

static void subsumption_is_what_parents_say(void **state)
{
    (void)state;
    for (vch_word_t a = 0; a < purposes.n; a++)
        for (vch_word_t b = 0; b < purposes.n; b++)
            assert_int_equal(vch_word_within(&purposes, a, b), below(&purposes, a, b));
    assert_false(vch_word_within(&purposes, 4, 0));
    assert_false(vch_word_within(&purposes, 0, 4));
}

/* Every pair of terms over every request: permitted exactly when some permit
 * covers it and no prohibition touches it. */
static void every_small_case(void **state)
{
    (void)state;
    for (int code = 0; code < 2 * 2 * 5 * 5 * 3 * 3; code++) {
        int c = code, f1 = c % 2, f2 = (c /= 2) % 2, p1 = (c /= 2) % 5 - 1, p2 = (c /= 5) % 5 - 1;
        int g1 = (c /= 5) % 3 - 1, g2 = (c / 3) % 3 - 1;
        known_n = 0;
        const vch_terms_t *a = terms(1, f1, p1, g1), *b = terms(2, f2, p2, g2);
        vch_palette_value_t set = set_of(a, b);
        for (vch_word_t p = 0; p < 4; p++)
            for (vch_word_t g = 0; g < 2; g++) {
                bool permit = false, forbid = false;
                const int fs[2] = {f1, f2}, ps[2] = {p1, p2}, gs[2] = {g1, g2};
                for (int i = 0; i < 2; i++) {
                    bool pc = ps[i] < 0 || below(&purposes, p, (unsigned)ps[i]);
                    bool gc = gs[i] < 0 || below(&processings, g, (unsigned)gs[i]);
                    bool pt = pc || below(&purposes, (unsigned)ps[i], p),
                         gt = gc || below(&processings, (unsigned)gs[i], g);
                    if (fs[i])
                        forbid |= pt && gt;
                    else
                        permit |= pc && gc;
                }
                vch_request_t r = {.purpose = p, .processing = g, .now = {9}};
                assert_int_equal(decide(&set, &r).permit, permit && !forbid);
            }
    }
}

/* ---- terms documents ---- */

static void documents_are_read_strictly(void **state)
{
    (void)state;
    vch_terms_t t;
    vch_buf_t d = kit_terms_document("t", true, "science", "training", 77);
    assert_int_equal(vch_terms_read(&t, vch_buf_slice(&d), &purposes, &processings, NULL), VCH_OK);
    assert_true(t.forbid && t.has_until && !t.has_from && !t.unknown);
    assert_int_equal(t.until.ms, 77);
    assert_int_equal(t.purpose[0], 1);
    for (size_t n = 0; n < d.n; n++)
        assert_int_not_equal(vch_terms_read(&t, vch_slice(d.p, n), &purposes, &processings, NULL), VCH_OK);
    vch_buf_free(&d);
    d = kit_terms_document("t", true, "elsewhere", NULL, 0);
    assert_int_equal(vch_terms_read(&t, vch_buf_slice(&d), &purposes, &processings, NULL), VCH_ERR_REFERENCE);
    vch_buf_free(&d);
}

/* ---- rows ---- */

static uint64_t seed = 0x1234567;
static uint32_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

static void rows_follow_the_table(void **state)
{
    (void)state;
    static uint8_t allow[8192], live[8192], out[8192];
    static uint16_t column[5000];
    static uint32_t subjects[4200];
    for (int round = 0; round < 200; round++) {
        uint32_t count = next() % 4200 + 1, first = next() % 1000, n = next() % 5000;
        for (size_t i = 0; i < sizeof allow; i++) allow[i] = (uint8_t)next();
        if (round % 4 < 2) memset(allow + 128 + round % 3, 0, sizeof allow - 128 - (size_t)round % 3); /* few sets */
        memset(live, 0, sizeof live);
        for (uint32_t i = 0; i < count; i++)
            if (next() & 1) vch_bit_set(live, i);
        for (size_t i = 0; i < 5000; i++)
            column[i] = (uint16_t)(next() % (round % 5 == 0 ? 1030 : round % 2 ? 65536 : 3));
        for (size_t i = 0; i < 4200; i++) subjects[i] = next() % 6000;
        const uint32_t *list = round % 3 == 0 ? subjects : NULL;
        memset(out, 0xaa, sizeof out);
        uint64_t got = vch_permitted_rows(out, allow, column, n, live, count, first, list), expected = 0;
        for (uint32_t r = 0; r < vch_set_bytes(count) * 8; r++) {
            uint32_t s = r < count ? (list ? list[r] : first + r) : 0;
            bool want = r < count && vch_bit(live, r) && s < n && column[s] != 0 && vch_bit(allow, column[s]);
            expected += want;
            assert_int_equal(vch_bit(out, r), want);
        }
        assert_int_equal(got, expected);
        assert_int_equal(out[vch_set_bytes(count)], 0xaa); /* not a byte further */
    }
}

/* The terms asked for; the vocabulary has no parents from then on. */
static const vch_terms_t *find_and_forget(void *ctx, const vch_hash_t *hash)
{
    vch_vocabulary_t *v = ctx;
    memset(v->parents, 0, sizeof v->parents);
    return find(NULL, hash);
}

/* A deep vocabulary and full terms: the answer is what subsumption says, and
 * the vocabulary is walked once a decision, before any terms are read.  If it
 * were walked for each word of each terms, a palette of 65,535 sets would hold
 * a ledger up for minutes. */
static void long_lists_walk_the_vocabulary_once(void **state)
{
    (void)state;
    static vch_vocabulary_t deep, forgets;
    static vch_terms_t permit;
    memset(&deep, 0, sizeof deep);
    for (int i = 0; i < VCH_WORDS_MAX; i++) word(&deep, "", i > 1 ? i - 2 : -1, i > 700 ? i / 3 : -1);
    permit = (vch_terms_t){.hash = {{1}}, .purposes = 32, .has_until = true};
    for (size_t k = 0; k < 32; k++) permit.purpose[k] = (vch_word_t)(2 * k + 1);
    known[0] = permit;
    known_n = 1;
    vch_palette_value_t set = {.items = VCH_PALETTE_SET_MAX};
    for (size_t i = 0; i < set.items; i++) set.item[i] = (vch_palette_item_t){permit.hash, 99999, 0};
    vch_request_t r = {.now = {1}};
    vch_verdict_t v;
    for (vch_word_t asked = 0; asked < VCH_WORDS_MAX; asked++) {
        r.purpose = asked;
        bool covered = false, kin = false;
        for (size_t k = 0; k < 32; k++) {
            covered |= vch_word_within(&deep, asked, permit.purpose[k]);
            kin |= vch_word_within(&deep, permit.purpose[k], asked);
        }
        forgets = deep;
        vch_decide(&v, &set, &r, &forgets, &forgets, find_and_forget, &forgets);
        assert_int_equal(v.rule, covered ? VCH_RULE_EXPIRED : VCH_RULE_PURPOSE);
        known[0].forbid = true;
        known[0].has_until = false;
        forgets = deep;
        vch_decide(&v, &set, &r, &forgets, &forgets, find_and_forget, &forgets);
        assert_int_equal(v.rule, covered || kin ? VCH_RULE_FORBIDDEN : VCH_RULE_NO_CONSENT);
        known[0] = permit;
    }
    known_n = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_has_its_say),
        cmocka_unit_test(forbid_wins_and_reaches_broader_requests),
        cmocka_unit_test(subsumption_is_what_parents_say),
        cmocka_unit_test(every_small_case),
        cmocka_unit_test(documents_are_read_strictly),
        cmocka_unit_test(rows_follow_the_table),
        cmocka_unit_test(long_lists_walk_the_vocabulary_once),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
