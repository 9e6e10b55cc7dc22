/* SPDX-License-Identifier: Apache-2.0 */
/* The vault's messages: what is put is what is got, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>

#include "codec/cbor.h"
#include "vault_help.h"

static parties_t who;

static vch_tree_about_t about(unsigned n, unsigned t)
{
    return (vch_tree_about_t){.network = hash_of("network", 0),
                              .extent = hash_of("extent", 0),
                              .n = (uint8_t)n,
                              .t = (uint8_t)t,
                              .groups = 2,
                              .rows = 100};
}

typedef vch_rc (*again_fn)(vch_buf_t *out, vch_slice_t in);

/* Read and written again it is the same; cut, with a byte behind it or with any
 * bit changed it is refused, or is the put of something else. */
static void only_one_form(const vch_buf_t *b, again_fn again)
{
    vch_buf_t out;
    vch_buf_init(&out, SMALL);
    assert_int_equal(vch_cbor_check(vch_buf_slice(b)), VCH_OK);
    assert_int_equal(again(&out, vch_buf_slice(b)), VCH_OK);
    assert_true(vch_slice_eq(vch_buf_slice(&out), vch_buf_slice(b)));
    uint8_t *copy = calloc(1, b->n + 1);
    memcpy(copy, b->p, b->n);
    assert_int_equal(again(&out, vch_slice(copy, b->n + 1)), VCH_ERR_FORMAT);
    for (size_t n = 0; n < b->n; n++) assert_int_equal(again(&out, vch_slice(copy, n)), VCH_ERR_FORMAT);
    for (size_t bit = 0; bit < 8 * b->n; bit++) {
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        vch_buf_clear(&out);
        if (again(&out, vch_slice(copy, b->n)) == VCH_OK)
            assert_true(vch_slice_eq(vch_buf_slice(&out), vch_slice(copy, b->n)));
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(copy);
    vch_buf_free(&out);
}

static vch_rc again_prekey(vch_buf_t *out, vch_slice_t in)
{
    vch_prekey_t v;
    VCH_TRY(vch_prekey_get(&v, in));
    return vch_prekey_put(out, &v);
}

static vch_rc again_root(vch_buf_t *out, vch_slice_t in)
{
    vch_root_t v;
    VCH_TRY(vch_root_get(&v, in));
    return vch_root_put(out, &v);
}

static vch_rc again_release(vch_buf_t *out, vch_slice_t in)
{
    static vch_release_t v;
    VCH_TRY(vch_release_get(&v, in));
    return vch_release_put(out, &v);
}

static vch_rc again_answer(vch_buf_t *out, vch_slice_t in)
{
    vch_seeds_answer_t v;
    VCH_TRY(vch_answer_get(&v, in));
    return vch_answer_put(out, &v);
}

static vch_rc again_destroyed(vch_buf_t *out, vch_slice_t in)
{
    static vch_destroyed_t v;
    VCH_TRY(vch_destroyed_get(&v, in));
    return vch_destroyed_put(out, &v);
}

static vch_rc again_blame(vch_buf_t *out, vch_slice_t in)
{
    vch_blame_t v;
    VCH_TRY(vch_blame_get(&v, in));
    return vch_blame_put(out, &v);
}

static void prekeys_and_roots(void **state)
{
    (void)state;
    vch_buf_t b;
    vch_buf_init(&b, SMALL);
    vch_prekey_t p = {.network = hash_of("network", 0), .number = UINT64_MAX, .key = {7}};
    assert_int_equal(vch_prekey_put(&b, &p), VCH_OK);
    only_one_form(&b, again_prekey);
    p.number = 0;
    assert_int_equal(vch_prekey_put(&b, &p), VCH_ERR_LIMIT);
    vch_root_t r = {.about = about(5, 3), .set = 9, .root = hash_of("root", 0)};
    vch_buf_clear(&b);
    assert_int_equal(vch_root_put(&b, &r), VCH_OK);
    only_one_form(&b, again_root);
    for (unsigned bad = 0; bad < 6; bad++) {
        vch_root_t v = r;
        if (bad == 0) v.set = 10;
        if (bad == 1) v.about.t = 1;
        if (bad == 2) v.about.groups = 0;
        if (bad == 3) v.about.groups = 17;
        if (bad == 4) v.about.rows = 0;
        if (bad == 5) v.about.rows = VCH_KT_ROWS_MAX + 1;
        assert_int_equal(vch_root_put(&b, &v), VCH_ERR_LIMIT);
    }
    vch_buf_free(&b);
}

/* ---- boxes and deals ----------------------------------------------------------- */

static void boxes_are_those_of_libsodium(void **state)
{
    (void)state;
    uint8_t plain[100] = {1, 2, 3}, got[200];
    size_t n;
    vch_buf_t b;
    vch_buf_init(&b, SMALL);
    vch_hash_t random = hash_of("random", 1);
    assert_int_equal(vch_seal(&b, vch_slice(plain, sizeof plain), who.public_key[0], random.b), VCH_OK);
    assert_int_equal(crypto_box_seal_open(got, b.p, b.n, who.public_key[0], who.secret[0]), 0);
    assert_memory_equal(got, plain, sizeof plain);
    assert_int_equal(crypto_box_seal(got, plain, sizeof plain, who.public_key[1]), 0);
    uint8_t back[100];
    vch_slice_t box = vch_slice(got, sizeof plain + VCH_SEAL_OVERHEAD);
    assert_int_equal(vch_seal_open(back, sizeof back, &n, box, who.public_key[1], who.secret[1]), VCH_OK);
    assert_int_equal(n, sizeof back);
    assert_memory_equal(back, plain, n);
    assert_int_equal(vch_seal_open(back, sizeof back, &n, box, who.public_key[0], who.secret[0]), VCH_ERR_KEY);
    assert_int_equal(vch_seal_open(back, sizeof back - 1, &n, box, who.public_key[1], who.secret[1]), VCH_ERR_LIMIT);
    box.n = VCH_SEAL_OVERHEAD - 1;
    assert_int_equal(vch_seal_open(back, sizeof back, &n, box, who.public_key[1], who.secret[1]), VCH_ERR_FORMAT);
    uint8_t small_order[32] = {0};
    assert_int_equal(vch_seal(&b, vch_slice(plain, 1), small_order, random.b), VCH_ERR_KEY);
    vch_buf_free(&b);
}

static void deals_open_for_one_trustee(void **state)
{
    (void)state;
    static const uint8_t sizes[][2] = {{3, 2}, {5, 3}, {7, 4}, {8, 3}, {35, 2}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        vch_deal_t d = {.about = about(sizes[i][0], sizes[i][1]), .trustee = 1}, got;
        uint8_t seed[VCH_VAULT_HELD_MAX * 32], back[sizeof seed] = {0};
        size_t n = vch_vault_held(d.about.n, d.about.t) * 32;
        assert_true(n > 0 && n <= sizeof seed);
        for (size_t k = 0; k < sizeof seed; k++) seed[k] = (uint8_t)(k * 7);
        memcpy(d.prekey, who.public_key[1], 32);
        vch_buf_t b;
        vch_buf_init(&b, SMALL);
        vch_hash_t random = hash_of("random", i);
        assert_int_equal(vch_deal_put(&b, &d, seed, random.b), VCH_OK);
        assert_int_equal(vch_cbor_check(vch_buf_slice(&b)), VCH_OK);
        assert_int_equal(vch_deal_get(&got, vch_buf_slice(&b)), VCH_OK);
        assert_int_equal(vch_deal_open(back, &got, who.secret[1]), VCH_OK);
        assert_memory_equal(back, seed, n);
        assert_int_equal(vch_deal_open(back, &got, who.secret[0]), VCH_ERR_KEY);
        got.about.extent.b[0] ^= 1; /* the same box in another deal */
        assert_int_equal(vch_deal_open(back, &got, who.secret[1]), VCH_ERR_COMMITMENT);
        for (size_t cut = 0; cut < b.n; cut++)
            assert_int_equal(vch_deal_get(&got, vch_slice(b.p, cut)), VCH_ERR_FORMAT);
        b.p[b.n - 1] ^= 1;
        assert_int_equal(vch_deal_get(&got, vch_buf_slice(&b)), VCH_OK);
        assert_int_equal(vch_deal_open(back, &got, who.secret[1]), VCH_ERR_KEY);
        d.trustee = d.about.n;
        assert_int_equal(vch_deal_put(&b, &d, seed, random.b), VCH_ERR_LIMIT);
        vch_buf_free(&b);
    }
    assert_int_equal(vch_vault_held(3, 2), 2);
    assert_int_equal(vch_vault_held(5, 3), 6);
    assert_int_equal(vch_vault_held(35, 2), VCH_VAULT_HELD_MAX);
    assert_int_equal(vch_vault_held(2, 2), 0);
}

/* ---- requests and answers --------------------------------------------------------- */

static vch_release_t ask;
static vch_hash_t leaf[VCH_VAULT_NODES_MAX];

static void ask_for(const vch_kt_node_t *node, uint32_t n)
{
    ask = (vch_release_t){.network = hash_of("network", 0),
                          .grant = hash_of("grant", 0),
                          .extent = hash_of("extent", 0),
                          .set = 1,
                          .nodes = n};
    memcpy(ask.key, who.public_key[2], 32);
    memcpy(ask.node, node, n * sizeof *node);
}

static void requests_are_in_order(void **state)
{
    (void)state;
    static const vch_kt_node_t good[] = {{4, 0}, {24, 1u << 20}, {23, (1u << 19) + 1}, {4, 15}};
    static const vch_kt_node_t bad[][2] = {{{4, 1}, {4, 0}},   {{4, 1}, {4, 1}},         {{4, 1}, {24, 1u << 20}},
                                           {{3, 0}, {4, 9}},   {{4, 0}, {25, 99}},       {{4, 0}, {4, 16}},
                                           {{24, 5}, {23, 2}}, {{24, 5}, {24, 1u << 24}}};
    vch_buf_t b;
    vch_buf_init(&b, SMALL);
    ask_for(good, 4);
    assert_int_equal(vch_release_put(&b, &ask), VCH_OK);
    only_one_form(&b, again_release);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ask_for(bad[i], 2);
        assert_int_equal(vch_release_put(&b, &ask), VCH_ERR_LIMIT);
    }
    ask_for(good, 0);
    assert_int_equal(vch_release_put(&b, &ask), VCH_ERR_LIMIT);
    vch_buf_clear(&b);
    ask_for(good, 1);
    ask.nodes = VCH_VAULT_NODES_MAX;
    for (uint32_t i = 0; i < ask.nodes; i++) ask.node[i] = (vch_kt_node_t){24, (1u << 24) - ask.nodes + i};
    assert_int_equal(vch_release_put(&b, &ask), VCH_OK);
    static vch_release_t got;
    assert_int_equal(vch_release_get(&got, vch_buf_slice(&b)), VCH_OK);
    ask.nodes++;
    vch_buf_clear(&b);
    assert_int_equal(vch_release_put(&b, &ask), VCH_ERR_LIMIT);
    vch_buf_free(&b);
}

static void answers_open_for_who_asked(void **state)
{
    (void)state;
    static const vch_kt_node_t node[] = {{4, 0}, {24, 1u << 20}, {23, (1u << 19) + 1}};
    uint8_t seed[96], got[96];
    vch_seeds_answer_t a, other;
    vch_buf_t b, box;
    vch_buf_init(&b, SMALL);
    vch_buf_init(&box, SMALL);
    for (size_t i = 0; i < sizeof seed; i++) seed[i] = (uint8_t)i;
    ask_for(node, 3);
    vch_hash_t random = hash_of("random", 5);
    assert_int_equal(vch_answer_make(&a, &ask, seed, leaf), VCH_OK);
    assert_int_equal(vch_answer_put(&b, &a), VCH_OK);
    only_one_form(&b, again_answer);
    assert_int_equal(vch_answer_seal(&box, &ask, seed, random.b), VCH_OK);
    assert_int_equal(vch_answer_open(got, leaf, &ask, &a, vch_buf_slice(&box), who.secret[2]), VCH_OK);
    assert_memory_equal(got, seed, sizeof seed);
    assert_int_equal(vch_answer_open(got, leaf, &ask, &a, vch_buf_slice(&box), who.secret[1]), VCH_ERR_KEY);
    assert_int_equal(vch_answer_open(got, leaf, &ask, &a, vch_slice(box.p, box.n - 32), who.secret[2]), VCH_ERR_FORMAT);
    for (unsigned bad = 0; bad < 7; bad++) {
        static const uint8_t zero[sizeof got];
        other = a;
        if (bad == 0) other.network.b[0] ^= 1;
        if (bad == 1) other.grant.b[0] ^= 1;
        if (bad == 2) other.extent.b[0] ^= 1;
        if (bad == 3) other.set ^= 1;
        if (bad == 4) other.nodes++;
        if (bad == 5) other.root.b[0] ^= 1;
        if (bad == 6) other.request.b[0] ^= 1;
        assert_int_equal(vch_answer_open(got, leaf, &ask, &other, vch_buf_slice(&box), who.secret[2]),
                         VCH_ERR_COMMITMENT);
        assert_memory_equal(got, zero, sizeof got); /* wiped */
    }
    vch_buf_free(&b);
    vch_buf_free(&box);
}

/* ---- key-destroyed, and a proof's bytes ------------------------------------------------ */

static void destroyed_ranges_lie_apart(void **state)
{
    (void)state;
    static vch_destroyed_t d;
    static const struct {
        vch_leaf_range_t r[2];
        bool good;
    } cases[] = {{{{0, 1}, {2, 5}}, true},
                 {{{0, 2}, {2, 5}}, false}, /* they are one */
                 {{{5, 1}, {3, 1}}, false},
                 {{{0, VCH_KT_ROWS_MAX}, {VCH_KT_ROWS_MAX, 1}}, true}, /* a group ends between */
                 {{{1, VCH_KT_ROWS_MAX}, {VCH_KT_ROWS_MAX * 2, 1}}, false},
                 {{{0, 0}, {2, 1}}, false},
                 {{{0, 1}, {VCH_KT_ROWS_MAX * 16, 1}}, false},
                 {{{0, 1}, {VCH_KT_ROWS_MAX * 16 - 1, 1}}, true}};
    vch_buf_t b;
    vch_buf_init(&b, SMALL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        d = (vch_destroyed_t){.n = 3, .t = 2, .trustee = 2, .grade = VCH_GRADE_FILES, .ranges = 2};
        memcpy(d.range, cases[i].r, sizeof cases[i].r);
        vch_buf_clear(&b);
        assert_int_equal(vch_destroyed_put(&b, &d), cases[i].good ? VCH_OK : VCH_ERR_LIMIT);
        if (cases[i].good) only_one_form(&b, again_destroyed);
    }
    d.trustee = 3;
    assert_int_equal(vch_destroyed_put(&b, &d), VCH_ERR_LIMIT);
    d.trustee = 0;
    d.ranges = 0;
    assert_int_equal(vch_destroyed_put(&b, &d), VCH_ERR_LIMIT);
    vch_buf_free(&b);
}

static void proofs_have_one_form(void **state)
{
    (void)state;
    vch_blame_t v = {.root = vch_str("root"), .answer = vch_str("answer"), .index = 5, .in_answer = 2, .leaf = 77};
    v.seed.node = (vch_kt_node_t){4, 0};
    v.path.inside = 2;
    v.path.among = 1;
    vch_buf_t b;
    vch_buf_init(&b, SMALL);
    assert_int_equal(vch_blame_put(&b, &v), VCH_OK);
    only_one_form(&b, again_blame);
    for (unsigned bad = 0; bad < 6; bad++) {
        vch_blame_t w = v;
        if (bad == 0) w.in_answer = 13;
        if (bad == 1) w.path.inside = 21;
        if (bad == 2) w.path.among = 5;
        if (bad == 3) w.seed.node.level = 3;
        if (bad == 4) w.index = VCH_VAULT_NODES_MAX;
        if (bad == 5) w.leaf = 1u << 24;
        assert_int_equal(vch_blame_put(&b, &w), VCH_ERR_LIMIT);
    }
    vch_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prekeys_and_roots),          cmocka_unit_test(boxes_are_those_of_libsodium),
        cmocka_unit_test(deals_open_for_one_trustee), cmocka_unit_test(requests_are_in_order),
        cmocka_unit_test(answers_open_for_who_asked), cmocka_unit_test(destroyed_ranges_lie_apart),
        cmocka_unit_test(proofs_have_one_form),
    };
    parties_make(&who);
    int failed = cmocka_run_group_tests_name("vault", tests, NULL, NULL);
    parties_free(&who);
    return failed;
}
