/* SPDX-License-Identifier: Apache-2.0 */
/* A thousand dealt trees: whoever answers a wrong seed is named, and an honest
 * holder never is, whatever the others and the dealer do.  VOUCHSAFE_SEED
 * repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "vault_help.h"

#define SCHEDULES 1000
#define GROUPS_MAX 3u

static uint64_t seed_at;
static parties_t who;

static uint64_t draw(uint64_t below) /* splitmix64 */
{
    uint64_t z = seed_at += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

/* One set's tree as one holder has it. */
typedef struct {
    unsigned trustee;
    vch_kt_seed_t seed;
    vch_hash_t group[GROUPS_MAX];
    vch_root_t root;
    vch_buf_t signed_root;
} holder_t;

typedef struct {
    vch_tree_about_t about;
    uint8_t set;
    holder_t holder[PARTIES];
    unsigned holders;
} world_t;

static world_t w;
static vch_release_t ask;
static vch_hash_t leaf[VCH_VAULT_NODES_MAX], scratch[VCH_VAULT_NODES_MAX];

/* The dealer seals to the trustee; the trustee takes from it the tree of w.set. */
static void deal_to(holder_t *h, const uint8_t key[32])
{
    uint8_t all[VCH_VAULT_HELD_MAX * 32], got[sizeof all];
    vch_deal_t d = {.about = w.about, .trustee = (uint8_t)h->trustee}, read;
    vch_hash_t random = hash_of("random", draw(UINT64_MAX));
    unsigned place = 0;
    vch_buf_t b;
    vch_buf_init(&b, SMALL);
    for (unsigned k = 0; k < w.set; k++) place += vch_kt_holds(vch_kt_set(w.about.n, w.about.t, k), h->trustee);
    memset(all, 0x5a, sizeof all);
    memcpy(all + 32 * place, key, 32);
    memcpy(d.prekey, who.public_key[h->trustee], 32);
    assert_int_equal(vch_deal_put(&b, &d, all, random.b), VCH_OK);
    assert_int_equal(vch_deal_get(&read, vch_buf_slice(&b)), VCH_OK);
    assert_int_equal(vch_deal_open(got, &read, who.secret[h->trustee]), VCH_OK);
    h->seed = (vch_kt_seed_t){0};
    memcpy(h->seed.key, got + 32 * place, 32);
    vch_buf_free(&b);
}

static void sign_root(holder_t *h)
{
    vch_buf_t b;
    vch_buf_init(&b, SMALL);
    for (unsigned g = 0; g < w.about.groups; g++)
        assert_true(vch_keyroot_group(&h->group[g], &h->seed, g, w.about.rows));
    h->root = (vch_root_t){.about = w.about, .set = w.set};
    assert_true(vch_keyroot(&h->root.root, h->group, w.about.groups));
    assert_int_equal(vch_root_put(&b, &h->root), VCH_OK);
    sign(&h->signed_root, who.signer[h->trustee], &b);
    vch_buf_free(&b);
}

static void deal(uint64_t number, bool consistent)
{
    static const uint8_t sizes[][2] = {{3, 2}, {5, 3}, {5, 2}, {7, 4}};
    size_t s = draw(4);
    vch_hash_t good = hash_of("root seed", number), bad = hash_of("another seed", number);
    w = (world_t){.about = {.network = hash_of("network", 0),
                            .extent = hash_of("extent", number),
                            .n = sizes[s][0],
                            .t = sizes[s][1],
                            .groups = (uint8_t)(1 + draw(GROUPS_MAX)),
                            .rows = 1 + (uint32_t)draw(60)}};
    w.set = (uint8_t)draw(vch_kt_sets(w.about.n, w.about.t));
    uint64_t members = vch_kt_set(w.about.n, w.about.t, w.set);
    for (unsigned i = 0; i < w.about.n; i++)
        if (vch_kt_holds(members, i)) w.holder[w.holders++].trustee = i;
    size_t cheated = consistent ? w.holders : draw(w.holders);
    for (unsigned i = 0; i < w.holders; i++) {
        deal_to(&w.holder[i], i == cheated ? bad.b : good.b);
        sign_root(&w.holder[i]);
    }
}

static void end(void)
{
    for (unsigned i = 0; i < w.holders; i++) vch_buf_free(&w.holder[i].signed_root);
}

static vch_rc want(void *ctx, vch_kt_node_t n)
{
    (void)ctx;
    ask.node[ask.nodes++] = n;
    return VCH_OK;
}

/* Some rows of each group, at least one. */
static void make_request(void)
{
    uint8_t bits[8] = {0};
    ask = (vch_release_t){.network = w.about.network,
                          .grant = hash_of("grant", draw(UINT64_MAX)),
                          .extent = w.about.extent,
                          .set = w.set};
    memcpy(ask.key, who.public_key[PARTIES - 1], 32);
    for (uint32_t r = 0; r < w.about.rows; r++)
        if (draw(4)) bits[r / 8] |= (uint8_t)(0x80 >> r % 8);
    bits[0] |= 0x80;
    for (unsigned g = 0; g < w.about.groups; g++)
        assert_int_equal(vch_kt_cover(bits, w.about.rows, g, want, NULL), VCH_OK);
}

/* What the requester has after it opened the answer; lie_at >= nodes: no lie. */
static void answer(const holder_t *h, uint32_t lie_at, uint8_t *ret_seed, vch_buf_t *ret_signed)
{
    uint8_t seed[64 * GROUPS_MAX * 32];
    vch_kt_seed_t s;
    vch_seeds_answer_t a;
    vch_buf_t b, box;
    vch_buf_init(&b, SMALL);
    vch_buf_init(&box, SMALL);
    vch_hash_t random = hash_of("random", draw(UINT64_MAX));
    for (uint32_t i = 0; i < ask.nodes; i++) {
        assert_true(vch_kt_descend(&s, &h->seed, ask.node[i]));
        if (i == lie_at) s.key[draw(32)] ^= (uint8_t)(1 << draw(8));
        memcpy(seed + 32 * i, s.key, 32);
    }
    assert_int_equal(vch_answer_make(&a, &ask, seed, leaf), VCH_OK);
    assert_int_equal(vch_answer_seal(&box, &ask, seed, random.b), VCH_OK);
    assert_int_equal(vch_answer_put(&b, &a), VCH_OK);
    sign(ret_signed, who.signer[h->trustee], &b);
    assert_int_equal(vch_answer_open(ret_seed, leaf, &ask, &a, vch_buf_slice(&box), who.secret[PARTIES - 1]), VCH_OK);
    vch_buf_free(&b);
    vch_buf_free(&box);
}

/* Against `accused`'s answer, with the tree as `helper` has it. */
static void accuse(vch_blame_t *v, const holder_t *accused, const holder_t *helper, const vch_buf_t *signed_answer,
                   const uint8_t *seed, uint32_t index)
{
    vch_kt_seed_t true_leaf;
    *v = (vch_blame_t){.root = vch_buf_slice(&accused->signed_root), .answer = vch_buf_slice(signed_answer)};
    assert_int_equal(vch_blame_point(v, &ask, seed, index, leaf, scratch), VCH_OK);
    v->leaf = vch_kt_first(ask.node[index]) + (uint32_t)draw(vch_kt_count(ask.node[index]));
    assert_true(vch_kt_descend(&true_leaf, &helper->seed, (vch_kt_node_t){VCH_KT_LEAF_LEVEL, v->leaf}));
    vch_tree_leaf(&v->leaf_hash, vch_slice(true_leaf.key, 32));
    assert_true(vch_keyroot_prove(&v->path, &helper->seed, v->leaf, w.about.rows, helper->group, w.about.groups));
}

/* The verdict on the proof as it travels. */
static vch_rc judge(const vch_blame_t *v, unsigned trustee)
{
    vch_blame_t read;
    vch_buf_t b;
    vch_buf_init(&b, SMALL);
    assert_int_equal(vch_blame_put(&b, v), VCH_OK);
    assert_int_equal(vch_blame_get(&read, vch_buf_slice(&b)), VCH_OK);
    vch_rc rc = vch_blame_verify(&read, vch_signer_public(who.signer[trustee]), &w.about.network);
    vch_buf_free(&b);
    return rc;
}

/* No twist of a proof names somebody: `before` is what it came to untwisted. */
static void twists_name_nobody(const vch_blame_t *good, const holder_t *h, vch_rc before)
{
    vch_hash_t elsewhere = hash_of("network", 1);
    for (unsigned kind = 0; kind < 7; kind++) {
        vch_blame_t v = *good;
        if (kind == 0) v.seed.key[draw(32)] ^= 1; /* never answered */
        if (kind == 1) v.leaf_hash.b[draw(32)] ^= 1;
        if (kind == 2) v.index ^= 1;
        if (kind == 3) v.leaf ^= 1u << 23; /* of a group that isn't there, and not below the node */
        if (kind == 4) v.root = good->answer;
        if (kind == 5) v.answer = good->root;
        if (kind == 6) v.seed.node.number ^= 1;
        assert_int_not_equal(judge(&v, h->trustee), VCH_OK);
    }
    assert_int_equal(vch_blame_verify(good, vch_signer_public(who.signer[h->trustee]), &elsewhere), VCH_ERR_NETWORK);
    for (unsigned i = 0; i < PARTIES; i++) assert_int_equal(judge(good, i), i == h->trustee ? before : VCH_ERR_KEY);
}

static void honest_ones_are_never_named(void **state)
{
    (void)state;
    uint8_t seed[64 * GROUPS_MAX * 32];
    for (uint64_t n = 0; n < SCHEDULES / 4; n++) {
        vch_buf_t signed_answer;
        vch_blame_t v;
        deal(n, true);
        make_request();
        const holder_t *h = &w.holder[draw(w.holders)];
        answer(h, UINT32_MAX, seed, &signed_answer);
        accuse(&v, h, &w.holder[draw(w.holders)], &signed_answer, seed, (uint32_t)draw(ask.nodes));
        assert_int_equal(judge(&v, h->trustee), VCH_ERR_NOT_FOUND);
        twists_name_nobody(&v, h, VCH_ERR_NOT_FOUND);
        vch_buf_free(&signed_answer);
        end();
    }
}

static void liars_are_named_and_nobody_else(void **state)
{
    (void)state;
    uint8_t seed[64 * GROUPS_MAX * 32];
    for (uint64_t n = 0; n < SCHEDULES / 2; n++) {
        vch_buf_t signed_answer, honest;
        vch_blame_t v;
        deal(1000 + n, true);
        make_request();
        unsigned liar = (unsigned)draw(w.holders);
        const holder_t *h = &w.holder[liar], *other = &w.holder[(liar + 1) % w.holders];
        uint32_t lie_at = (uint32_t)draw(ask.nodes), at = (uint32_t)draw(ask.nodes);
        answer(h, lie_at, seed, &signed_answer);
        accuse(&v, h, other, &signed_answer, seed, lie_at);
        assert_int_equal(judge(&v, h->trustee), VCH_OK);
        twists_name_nobody(&v, h, VCH_OK);
        if (at != lie_at) { /* its other seeds are right */
            accuse(&v, h, other, &signed_answer, seed, at);
            assert_int_equal(judge(&v, h->trustee), VCH_ERR_NOT_FOUND);
        }
        v.root = vch_buf_slice(&other->signed_root); /* the liar's answer beside another's root */
        for (unsigned i = 0; i < PARTIES; i++) assert_int_equal(judge(&v, i), VCH_ERR_KEY);
        vch_buf_free(&signed_answer);
        answer(other, UINT32_MAX, seed, &honest); /* who answers instead */
        accuse(&v, other, h, &honest, seed, lie_at);
        assert_int_equal(judge(&v, other->trustee), VCH_ERR_NOT_FOUND);
        vch_buf_free(&honest);
        end();
    }
}

/* Holders that were dealt different seeds sign different roots: the extent never
 * becomes active, and no pair of holders can be played against each other. */
static void dealers_cant_frame_holders(void **state)
{
    (void)state;
    uint8_t seed[64 * GROUPS_MAX * 32];
    for (uint64_t n = 0; n < SCHEDULES / 4; n++) {
        bool agree = true;
        deal(3000 + n, false);
        make_request();
        for (unsigned i = 1; i < w.holders; i++) agree &= vch_hash_eq(&w.holder[i].root.root, &w.holder[0].root.root);
        assert_false(agree);
        for (unsigned i = 0; i < w.holders; i++) {
            vch_buf_t signed_answer;
            answer(&w.holder[i], UINT32_MAX, seed, &signed_answer);
            for (unsigned k = 0; k < w.holders; k++) {
                vch_blame_t v;
                accuse(&v, &w.holder[i], &w.holder[k], &signed_answer, seed, (uint32_t)draw(ask.nodes));
                assert_int_not_equal(judge(&v, w.holder[i].trustee), VCH_OK);
            }
            vch_buf_free(&signed_answer);
        }
        end();
    }
}

/* A seed answered under one extent says nothing against a root of another. */
static void extents_dont_mix(void **state)
{
    (void)state;
    uint8_t seed[64 * GROUPS_MAX * 32];
    vch_buf_t signed_answer, old_root;
    vch_blame_t v;
    deal(1, true);
    old_root = w.holder[0].signed_root;
    w.holder[0].signed_root = (vch_buf_t){0};
    end();
    deal(2, true);
    make_request();
    unsigned at = 0;
    answer(&w.holder[at], UINT32_MAX, seed, &signed_answer);
    accuse(&v, &w.holder[at], &w.holder[at], &signed_answer, seed, 0);
    v.root = vch_buf_slice(&old_root);
    for (unsigned i = 0; i < PARTIES; i++) {
        vch_rc rc = judge(&v, i);
        assert_true(rc == VCH_ERR_CONFLICT || rc == VCH_ERR_KEY);
    }
    vch_buf_free(&signed_answer);
    vch_buf_free(&old_root);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(honest_ones_are_never_named),
        cmocka_unit_test(liars_are_named_and_nobody_else),
        cmocka_unit_test(dealers_cant_frame_holders),
        cmocka_unit_test(extents_dont_mix),
    };
    const char *given = getenv("VOUCHSAFE_SEED");
    seed_at = given ? strtoull(given, NULL, 0) : 20261123;
    printf("VOUCHSAFE_SEED=%llu\n", (unsigned long long)seed_at);
    parties_make(&who);
    int failed = cmocka_run_group_tests_name("blame", tests, NULL, NULL);
    parties_free(&who);
    return failed;
}
