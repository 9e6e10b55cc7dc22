/* SPDX-License-Identifier: Apache-2.0 */
/* The sparse Merkle tree against its definition, over pages in memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "crypto/sha256.h"
#include "merkle/smt.h"

#define SEED 0x5eed0001u
#define KEYS_MAX 2000

/* ---- the definition (cosmos/ics23 SmtSpec), one leaf at a time ---- */

static void hash_65(vch_hash_t *ret, uint8_t prefix, const vch_hash_t *a, const vch_hash_t *b)
{
    uint8_t joined[65] = {prefix};
    memcpy(joined + 1, a, 32);
    memcpy(joined + 33, b, 32);
    vch_sha256(ret, joined, sizeof joined);
}

static unsigned bit_of(const vch_hash_t *path, size_t depth) { return path->b[depth / 8] >> (7 - depth % 8) & 1; }

static vch_hash_t naive_root(const vch_smt_leaf_t *leaves, size_t n, size_t depth)
{
    vch_hash_t ret = {{0}}, half[2];
    if (n == 0) return ret;
    if (n == 1) {
        hash_65(&ret, 0x00, &leaves[0].path, &leaves[0].value_hash);
        return ret;
    }
    vch_smt_leaf_t *side = calloc(n, sizeof *side);
    assert_non_null(side);
    for (unsigned want = 0; want < 2; want++) {
        size_t m = 0;
        for (size_t i = 0; i < n; i++)
            if (bit_of(&leaves[i].path, depth) == want) side[m++] = leaves[i];
        half[want] = naive_root(side, m, depth + 1);
    }
    free(side);
    hash_65(&ret, 0x01, &half[0], &half[1]);
    return ret;
}

/* ---- pages in memory ---- */

#define BUCKETS 4096

typedef struct cell {
    struct cell *next;
    vch_smt_page_id_t id;
    size_t n;
    unsigned saves;
    bool known;
    uint8_t bytes[4200];
} cell_t;

typedef struct {
    cell_t *bucket[BUCKETS];
    size_t pages, saves;
    uint8_t lent[4200]; /* what load hands out: overwritten by the next call */
    size_t fail_in;     /* the n-th call from now fails; 0 = none does */
} pages_t;

static cell_t **find_cell(pages_t *p, const vch_smt_page_id_t *id)
{
    uint8_t key[34];
    vch_put_u16(key, id->depth);
    memcpy(key + 2, id->prefix, 32);
    cell_t **at = &p->bucket[vch_crc32c(0, key, sizeof key) % BUCKETS];
    while (*at && ((*at)->id.depth != id->depth || memcmp((*at)->id.prefix, id->prefix, 32) != 0)) at = &(*at)->next;
    return at;
}

static vch_rc load_page(void *ctx, const vch_smt_page_id_t *id, vch_slice_t *ret)
{
    pages_t *p = ctx;
    memset(p->lent, 0xdd, sizeof p->lent);
    if (p->fail_in && --p->fail_in == 0) return VCH_ERR_IO;
    const cell_t *c = *find_cell(p, id);
    if (c) memcpy(p->lent, c->bytes, c->n);
    *ret = vch_slice(p->lent, c ? c->n : 0);
    return VCH_OK;
}

static vch_rc save_page(void *ctx, const vch_smt_page_id_t *id, vch_slice_t page)
{
    pages_t *p = ctx;
    memset(p->lent, 0xdd, sizeof p->lent);
    if (p->fail_in && --p->fail_in == 0) return VCH_ERR_IO;
    assert_true(page.n > 0 && page.n <= 4164);
    assert_int_equal(id->depth % VCH_SMT_LEVELS_PER_PAGE, 0);
    cell_t **at = find_cell(p, id);
    if (!*at) {
        *at = calloc(1, sizeof **at);
        assert_non_null(*at);
        (*at)->id = *id;
        p->pages++;
    }
    memcpy((*at)->bytes, page.p, page.n);
    (*at)->n = page.n;
    (*at)->saves++;
    p->saves++;
    return VCH_OK;
}

static void free_pages(pages_t *p)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (cell_t *c = p->bucket[i], *next; c; c = next) {
            next = c->next;
            free(c);
        }
    }
    memset(p, 0, sizeof *p);
}

/* ---- a tree under test ---- */

typedef struct {
    pages_t pages;
    vch_smt_io_t io;
    vch_hash_t root;
    vch_arena_t arena;
    vch_smt_leaf_t all[KEYS_MAX];
    size_t n;
} tree_t;

static int tree_open(void **state)
{
    tree_t *t = calloc(1, sizeof *t);
    if (!t) return -1;
    t->io = (vch_smt_io_t){&t->pages, load_page, save_page};
    vch_arena_init(&t->arena, VCH_SMT_SCRATCH_MAX);
    *state = t;
    return 0;
}

static int tree_close(void **state)
{
    tree_t *t = *state;
    free_pages(&t->pages);
    vch_arena_free(&t->arena);
    free(t);
    return 0;
}

static void tree_restart(tree_t *t)
{
    free_pages(&t->pages);
    t->n = 0;
    memset(&t->root, 0, sizeof t->root);
}

static vch_rc tree_update(tree_t *t, const vch_smt_leaf_t *leaves, size_t n)
{
    vch_smt_leaf_t *copy = calloc(n + 1, sizeof *copy);
    assert_non_null(copy);
    if (n) memcpy(copy, leaves, n * sizeof *copy);
    vch_rc rc = vch_smt_update(&t->io, &t->root, copy, n, &t->arena);
    vch_arena_reset(&t->arena);
    free(copy);
    return rc;
}

/* Update the tree and the plain list that the definition is computed from. */
static void tree_put(tree_t *t, const vch_smt_leaf_t *leaves, size_t n)
{
    assert_int_equal(tree_update(t, leaves, n), VCH_OK);
    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        while (at < t->n && !vch_hash_eq(&t->all[at].path, &leaves[i].path)) at++;
        assert_true(at < KEYS_MAX);
        t->all[at] = leaves[i];
        if (at == t->n) t->n++;
    }
    vch_hash_t want = naive_root(t->all, t->n, 0);
    assert_memory_equal(&t->root, &want, 32);
}

static uint64_t dice_state;
static uint32_t dice(uint32_t below)
{
    dice_state = dice_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(dice_state >> 33) % below;
}

static vch_smt_leaf_t leaf_number(uint32_t key, uint32_t value)
{
    vch_smt_leaf_t leaf;
    vch_sha256(&leaf.path, &key, sizeof key);
    vch_sha256(&leaf.value_hash, &value, sizeof value);
    return leaf;
}

/* A path that agrees with key 77's in exactly the first `bits` bits. */
static vch_smt_leaf_t leaf_leaving_at(size_t bits, uint32_t value)
{
    vch_smt_leaf_t leaf = leaf_number(77, value);
    if (bits < 256) leaf.path.b[bits / 8] ^= (uint8_t)(0x80 >> bits % 8);
    return leaf;
}

static bool proof_holds(const vch_smt_proof_t *p, const vch_hash_t *root, const vch_hash_t *path)
{
    if (p->end == VCH_SMT_MEMBER)
        return vch_hash_eq(&p->leaf.path, path) &&
               vch_smt_verify_member(root, path, &p->leaf.value_hash, p->sibling, p->depth);
    return vch_smt_verify_absent(root, path, p->end == VCH_SMT_OTHER ? &p->leaf : NULL, p->sibling, p->depth);
}

/* ---- updates ---- */

static void any_batches_give_the_definition(void **state)
{
    tree_t *t = *state;
    dice_state = SEED;
    print_message("seed %#x\n", SEED);
    while (t->n < KEYS_MAX - 100) {
        vch_smt_leaf_t batch[100];
        uint32_t keys[100];
        size_t n = 0, want = 1 + dice(100);
        while (n < want) {
            keys[n] = dice(3) ? (uint32_t)t->n + dice(200) : dice((uint32_t)t->n + 1); /* new ones and old ones */
            size_t same = 0;
            while (keys[same] != keys[n]) same++;
            if (same < n) continue;
            batch[n] = leaf_number(keys[n], dice(1000));
            n++;
        }
        tree_put(t, batch, n);
    }
}

static void one_by_one_gives_the_definition(void **state)
{
    tree_t *t = *state;
    for (uint32_t i = 0; i < 400; i++) {
        vch_smt_leaf_t leaf = leaf_number(i, i);
        tree_put(t, &leaf, 1);
    }
}

static void order_and_batches_do_not_matter(void **state)
{
    tree_t *t = *state;
    enum { N = 700 };
    vch_smt_leaf_t leaves[N];
    for (uint32_t i = 0; i < N; i++) leaves[i] = i < 650 ? leaf_number(i, i) : leaf_leaving_at(5 * (i - 650), i);
    vch_hash_t want = naive_root(leaves, N, 0);
    dice_state = SEED + 1;
    for (unsigned round = 0; round < 40; round++) {
        tree_restart(t);
        for (uint32_t i = N - 1; i > 0; i--) {
            uint32_t j = dice(i + 1);
            vch_smt_leaf_t swap = leaves[i];
            leaves[i] = leaves[j];
            leaves[j] = swap;
        }
        for (size_t i = 0, n; i < N; i += n) {
            n = vch_min(1 + dice(round % 2 ? 20 : N), N - i);
            assert_int_equal(tree_update(t, leaves + i, n), VCH_OK);
        }
        assert_memory_equal(&t->root, &want, 32);
    }
}

/* Not only the root: the pages too are the same whatever the order. */
static void pages_do_not_depend_on_the_order(void **state)
{
    tree_t *t = *state;
    enum { N = 500 };
    vch_smt_leaf_t leaves[N];
    for (uint32_t i = 0; i < N; i++) leaves[i] = leaf_number(i, i);
    assert_int_equal(tree_update(t, leaves, N), VCH_OK);
    tree_t *other = NULL;
    assert_int_equal(tree_open((void **)&other), 0);
    for (size_t i = N; i-- > 0;) assert_int_equal(tree_update(other, &leaves[i], 1), VCH_OK);
    assert_int_equal(other->pages.pages, t->pages.pages);
    for (size_t b = 0; b < BUCKETS; b++) {
        for (const cell_t *c = t->pages.bucket[b]; c; c = c->next) {
            const cell_t *d = *find_cell(&other->pages, &c->id);
            assert_non_null(d);
            assert_int_equal(c->n, d->n);
            assert_memory_equal(c->bytes, d->bytes, c->n);
        }
    }
    assert_int_equal(tree_close((void **)&other), 0);
}

/* Two leaves that part at each possible depth, in one batch and in two. */
static void leaves_part_at_every_depth(void **state)
{
    tree_t *t = *state;
    vch_smt_leaf_t pair[2] = {leaf_number(77, 0)};
    for (size_t bits = 0; bits < 256; bits++) {
        pair[1] = leaf_leaving_at(bits, 1);
        for (unsigned way = 0; way < 3; way++) {
            tree_restart(t);
            if (way == 0) tree_put(t, pair, 2);
            for (unsigned i = 0; way > 0 && i < 2; i++) tree_put(t, &pair[i ^ (way - 1)], 1);
            for (unsigned i = 0; i < 2; i++) {
                vch_smt_proof_t proof;
                assert_int_equal(vch_smt_prove(&t->io, &t->root, &pair[i].path, &proof), VCH_OK);
                assert_int_equal(proof.depth, bits + 1);
                assert_int_equal(proof.end, VCH_SMT_MEMBER);
                assert_true(proof_holds(&proof, &t->root, &pair[i].path));
            }
        }
    }
}

/* A leaf leaves the same branch at each of 256 depths: 43 pages, one for each
 * depth, and still the promised scratch. */
static void deepest_tree_fits_the_scratch(void **state)
{
    tree_t *t = *state;
    static uint8_t memory[VCH_SMT_SCRATCH_MAX];
    vch_smt_leaf_t leaves[257];
    for (uint32_t i = 0; i <= 256; i++) leaves[i] = leaf_leaving_at(256 - i, i);
    vch_hash_t want = naive_root(leaves, 257, 0);
    vch_arena_free(&t->arena);
    vch_arena_over(&t->arena, memory, sizeof memory);
    assert_int_equal(vch_smt_update(&t->io, &t->root, leaves, 257, &t->arena), VCH_OK);
    assert_memory_equal(&t->root, &want, 32);
    assert_int_equal(t->pages.pages, 43);
    for (size_t i = 0; i <= 256; i++) {
        vch_smt_proof_t proof;
        assert_int_equal(vch_smt_prove(&t->io, &t->root, &leaves[i].path, &proof), VCH_OK);
        assert_int_equal(proof.end, VCH_SMT_MEMBER);
        assert_true(proof_holds(&proof, &t->root, &leaves[i].path));
        if (i) assert_true(memcmp(leaves[i].path.b, leaves[i - 1].path.b, 32) > 0); /* handed back sorted */
    }
    vch_arena_over(&t->arena, memory, sizeof memory / 2);
    assert_int_equal(vch_smt_update(&t->io, &t->root, leaves, 257, &t->arena), VCH_ERR_MEMORY);
    assert_memory_equal(&t->root, &want, 32);
    vch_arena_init(&t->arena, VCH_SMT_SCRATCH_MAX);
}

static void dirty_pages_are_saved_once(void **state)
{
    tree_t *t = *state;
    enum { N = 1500 };
    vch_smt_leaf_t leaves[N];
    for (uint32_t i = 0; i < N; i++) leaves[i] = leaf_number(i, i);
    assert_int_equal(tree_update(t, leaves, N), VCH_OK);
    assert_int_equal(t->pages.saves, t->pages.pages);
    for (size_t b = 0; b < BUCKETS; b++)
        for (const cell_t *c = t->pages.bucket[b]; c; c = c->next) assert_int_equal(c->saves, 1);
    size_t before = t->pages.saves;
    vch_smt_leaf_t one = leaf_number(9, 10);
    assert_int_equal(tree_update(t, &one, 1), VCH_OK);
    assert_in_range(t->pages.saves - before, 2, 3); /* only the pages of one branch */
}

static void doubles_are_refused_before_anything_is_saved(void **state)
{
    tree_t *t = *state;
    vch_smt_leaf_t leaves[40];
    for (uint32_t i = 0; i < 40; i++) leaves[i] = leaf_number(i, i);
    leaves[39] = leaf_number(3, 99);
    vch_hash_t before = t->root;
    assert_int_equal(tree_update(t, leaves, 40), VCH_ERR_CONFLICT);
    assert_int_equal(t->pages.saves, 0);
    assert_memory_equal(&t->root, &before, 32);
    tree_put(t, leaves, 39);
}

static void nothing_to_do_does_nothing(void **state)
{
    tree_t *t = *state;
    vch_smt_leaf_t leaf = leaf_number(1, 1);
    assert_int_equal(tree_update(t, NULL, 0), VCH_OK);
    assert_int_equal(t->pages.saves, 0);
    tree_put(t, &leaf, 1);
    vch_hash_t before = t->root;
    assert_int_equal(tree_update(t, NULL, 0), VCH_OK);
    assert_int_equal(t->pages.saves, 1);
    assert_memory_equal(&t->root, &before, 32);
}

/* ---- proofs ---- */

static void refuse_damaged_proof(const tree_t *t, const vch_hash_t *path, const vch_smt_proof_t *good)
{
    vch_smt_proof_t bad = *good;
    for (size_t i = 0; i < good->depth; i++) {
        bad.sibling[i].b[i % 32] ^= 0x40;
        assert_false(proof_holds(&bad, &t->root, path));
        bad.sibling[i].b[i % 32] ^= 0x40;
    }
    bad.depth = (uint16_t)(good->depth - 1);
    if (good->depth > 0) assert_false(proof_holds(&bad, &t->root, path));
    bad.depth = (uint16_t)(good->depth + 1);
    assert_false(proof_holds(&bad, &t->root, path));
    bad.depth = 257;
    assert_false(proof_holds(&bad, &t->root, path));
    bad = *good;
    bad.leaf.value_hash.b[31] ^= 1;
    if (good->end != VCH_SMT_EMPTY) assert_false(proof_holds(&bad, &t->root, path));
    vch_hash_t root = t->root;
    root.b[0] ^= 0x80;
    assert_false(proof_holds(good, &root, path));
}

/* What is there can't be shown to be absent, by any reading of its proof. */
static void refuse_turned_member(const tree_t *t, const vch_hash_t *path, const vch_smt_proof_t *p)
{
    assert_false(vch_smt_verify_absent(&t->root, path, NULL, p->sibling, p->depth));
    assert_false(vch_smt_verify_absent(&t->root, path, &p->leaf, p->sibling, p->depth));
    for (size_t depth = 0; depth < p->depth; depth++)
        assert_false(vch_smt_verify_absent(&t->root, path, NULL, p->sibling, depth));
}

static void every_key_is_proved(void **state)
{
    tree_t *t = *state;
    vch_smt_leaf_t leaves[600];
    for (uint32_t i = 0; i < 600; i++) leaves[i] = leaf_number(i, i);
    for (size_t n = 1; n <= 600; n = n < 8 ? n + 1 : n + 148) {
        tree_restart(t);
        tree_put(t, leaves, n);
        for (size_t i = 0; i < n; i++) {
            vch_smt_proof_t proof;
            assert_int_equal(vch_smt_prove(&t->io, &t->root, &leaves[i].path, &proof), VCH_OK);
            assert_int_equal(proof.end, VCH_SMT_MEMBER);
            assert_memory_equal(&proof.leaf, &leaves[i], sizeof leaves[i]);
            assert_true(proof_holds(&proof, &t->root, &leaves[i].path));
            refuse_damaged_proof(t, &leaves[i].path, &proof);
            refuse_turned_member(t, &leaves[i].path, &proof);
        }
    }
}

static unsigned prove_absent(tree_t *t, const vch_hash_t *path)
{
    vch_smt_proof_t proof;
    assert_int_equal(vch_smt_prove(&t->io, &t->root, path, &proof), VCH_OK);
    assert_int_not_equal(proof.end, VCH_SMT_MEMBER);
    assert_true(proof_holds(&proof, &t->root, path));
    refuse_damaged_proof(t, path, &proof);
    assert_false(vch_smt_verify_member(&t->root, path, &proof.leaf.value_hash, proof.sibling, proof.depth));
    return 1u << proof.end;
}

/* Strangers, and for each key the 256 paths that differ from it in one bit. */
static void every_other_key_is_proved_absent(void **state)
{
    tree_t *t = *state;
    vch_smt_leaf_t leaves[64];
    for (uint32_t i = 0; i < 64; i++) leaves[i] = leaf_number(i, i);
    tree_put(t, leaves, 64);
    unsigned seen = 0;
    for (uint32_t i = 0; i < 400; i++) {
        vch_smt_leaf_t stranger = leaf_number(1000 + i, 0);
        seen |= prove_absent(t, &stranger.path);
    }
    for (size_t i = 0; i < 64; i++) {
        for (size_t bit = 0; bit < 256; bit++) {
            vch_hash_t path = leaves[i].path;
            path.b[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
            seen |= prove_absent(t, &path);
        }
    }
    assert_int_equal(seen, 1u << VCH_SMT_OTHER | 1u << VCH_SMT_EMPTY);
}

/* A proof of absence says nothing about a path on another branch. */
static void absence_does_not_travel(void **state)
{
    tree_t *t = *state;
    vch_smt_leaf_t leaves[64];
    for (uint32_t i = 0; i < 64; i++) leaves[i] = leaf_number(i, i);
    tree_put(t, leaves, 64);
    for (uint32_t i = 0; i < 200; i++) {
        vch_smt_leaf_t stranger = leaf_number(1000 + i, 0);
        vch_smt_proof_t proof;
        assert_int_equal(vch_smt_prove(&t->io, &t->root, &stranger.path, &proof), VCH_OK);
        for (size_t j = 0; j < 64; j++) {
            const vch_smt_leaf_t *other = proof.end == VCH_SMT_OTHER ? &proof.leaf : NULL;
            assert_false(vch_smt_verify_absent(&t->root, &leaves[j].path, other, proof.sibling, proof.depth));
        }
    }
}

static void empty_tree_holds_nothing(void **state)
{
    tree_t *t = *state;
    vch_smt_proof_t proof;
    vch_smt_leaf_t leaf = leaf_number(1, 1);
    assert_int_equal(vch_smt_prove(&t->io, &t->root, &leaf.path, &proof), VCH_OK);
    assert_int_equal(proof.end, VCH_SMT_EMPTY);
    assert_int_equal(proof.depth, 0);
    assert_true(proof_holds(&proof, &t->root, &leaf.path));
    tree_put(t, &leaf, 1);
    assert_false(proof_holds(&proof, &t->root, &leaf.path));
    assert_false(vch_smt_verify_absent(&t->root, &leaf.path, NULL, NULL, 0));
}

/* ---- many at once ---- */

static vch_rc tree_check(tree_t *t, const vch_smt_leaf_t *said, size_t n)
{
    vch_smt_leaf_t *copy = calloc(n + 1, sizeof *copy);
    assert_non_null(copy);
    if (n) memcpy(copy, said, n * sizeof *copy);
    size_t saves = t->pages.saves;
    vch_rc rc = vch_smt_check(&t->io, &t->root, copy, n, &t->arena);
    assert_int_equal(t->pages.saves, saves);
    vch_arena_reset(&t->arena);
    free(copy);
    return rc;
}

/* A leaf of the tree whose branch runs through this page. */
static const vch_smt_leaf_t *leaf_through(const tree_t *t, const vch_smt_page_id_t *id)
{
    for (size_t i = 0; i < t->n; i++) {
        unsigned bit = 0;
        while (bit < id->depth && bit_of(&t->all[i].path, bit) == ((unsigned)id->prefix[bit / 8] >> (7 - bit % 8) & 1u))
            bit++;
        if (bit == id->depth) return &t->all[i];
    }
    fail_msg("a page without a leaf");
    return NULL;
}

static bool page_known(void *ctx, const vch_smt_page_id_t *id)
{
    const cell_t *c = *find_cell(ctx, id);
    return c && c->known;
}

static void page_verified(void *ctx, const vch_smt_page_id_t *id)
{
    pages_t *p = ctx;
    cell_t *c = *find_cell(p, id);
    assert_non_null(c);
    assert_false(c->known); /* nothing is verified twice */
    c->known = true;
}

/* The first `absent` of them are: together and alone they are what they are. */
static void each_is_checked(tree_t *t, vch_smt_leaf_t *leaves, size_t n, size_t absent)
{
    assert_int_equal(tree_check(t, leaves, n), VCH_OK);
    for (size_t i = 0; i < n; i++) {
        vch_smt_leaf_t right = leaves[i];
        assert_int_equal(tree_check(t, &right, 1), VCH_OK);
        leaves[i].value_hash.b[i % 32] ^= 1;
        assert_int_equal(tree_check(t, leaves, n), VCH_ERR_COMMITMENT);
        assert_int_equal(tree_check(t, &leaves[i], 1), VCH_ERR_COMMITMENT);
        leaves[i].value_hash = (vch_hash_t){{0}}; /* "nothing is there" */
        vch_rc want = i < absent ? VCH_OK : VCH_ERR_COMMITMENT;
        assert_int_equal(tree_check(t, leaves, n), want);
        assert_int_equal(tree_check(t, &leaves[i], 1), want);
        leaves[i] = right;
    }
}

/* What each single proof says of 300 leaves, absent ones and doubles among
 * them, is what the common walk agrees with; and with nothing else. */
static void many_are_checked_at_once(void **state)
{
    tree_t *t = *state;
    vch_smt_leaf_t leaves[300];
    for (uint32_t i = 0; i < 300; i++) leaves[i] = i < 290 ? leaf_number(i, i) : leaf_leaving_at(25 * (i - 290), i);
    leaves[299] = leaf_leaving_at(255, 1); /* beside leaf 77: pages down to depth 252 */
    tree_put(t, leaves, 300);
    for (size_t i = 0; i < 100; i++) leaves[i].path.b[i % 32] ^= 0x40; /* strangers */
    for (size_t i = 0; i < 100; i++) leaves[i].value_hash = (vch_hash_t){{0}};
    leaves[120] = leaves[121];
    for (size_t i = 0; i < 300; i++) {
        vch_smt_proof_t proof;
        assert_int_equal(vch_smt_prove(&t->io, &t->root, &leaves[i].path, &proof), VCH_OK);
        assert_int_equal(proof.end == VCH_SMT_MEMBER, i >= 100);
    }
    assert_int_equal(tree_check(t, leaves, 0), VCH_OK);
    each_is_checked(t, leaves, 300, 100);
    t->io.known = page_known;
    t->io.verified = page_verified;
    assert_int_equal(tree_check(t, leaves, 300), VCH_OK); /* now all of them are known */
    each_is_checked(t, leaves, 300, 100);
}

static void an_empty_tree_agrees_with_nothing(void **state)
{
    tree_t *t = *state;
    vch_smt_leaf_t leaves[2] = {leaf_number(1, 1), leaf_number(2, 2)};
    assert_int_equal(tree_check(t, leaves, 2), VCH_ERR_COMMITMENT);
    leaves[0].value_hash = (vch_hash_t){{0}};
    assert_int_equal(tree_check(t, leaves, 2), VCH_ERR_COMMITMENT);
    leaves[1].value_hash = (vch_hash_t){{0}};
    assert_int_equal(tree_check(t, leaves, 2), VCH_OK);
}

/* What is known is not hashed again by a check, but always by a proof and an
 * update; what is not known is, and then says so if it is good. */
static void known_pages_are_not_hashed_again(void **state)
{
    tree_t *t = *state;
    vch_smt_leaf_t leaves[400];
    for (uint32_t i = 0; i < 400; i++) leaves[i] = leaf_number(i, i);
    tree_put(t, leaves, 400);
    t->io.known = page_known;
    t->io.verified = page_verified;
    assert_int_equal(tree_check(t, leaves, 400), VCH_OK);
    assert_int_equal(tree_check(t, leaves, 400), VCH_OK);
    t->io.verified = NULL;
    unsigned checked = 0;
    for (size_t b = 0; b < BUCKETS; b++)
        for (cell_t *c = t->pages.bucket[b]; c; c = c->next) {
            const vch_smt_leaf_t *leaf = leaf_through(t, &c->id);
            vch_smt_proof_t proof;
            assert_true(c->known);
            size_t at = c->n - 1; /* of another branch or value than the leaf's, or not */
            c->bytes[at] ^= 1;
            vch_rc rc = tree_check(t, leaf, 1);
            assert_true(rc == VCH_OK || rc == VCH_ERR_COMMITMENT || rc == VCH_ERR_CORRUPT);
            assert_int_equal(vch_smt_prove(&t->io, &t->root, &leaf->path, &proof), VCH_ERR_CORRUPT);
            assert_int_equal(tree_update(t, leaf, 1), VCH_ERR_CORRUPT);
            c->known = false;
            assert_int_equal(tree_check(t, leaf, 1), VCH_ERR_CORRUPT);
            assert_false(c->known);
            c->bytes[at] ^= 1;
            c->known = true;
            checked++;
        }
    assert_true(checked > 60);
}

/* ---- damage ---- */

/* With this page as it is now, proving a path that needs it fails, and so
 * does updating it; the root stays. */
static void damage_is_found(tree_t *t, const vch_smt_leaf_t *leaf)
{
    vch_smt_proof_t proof = {.depth = 4711};
    vch_hash_t before = t->root;
    assert_int_equal(vch_smt_prove(&t->io, &t->root, &leaf->path, &proof), VCH_ERR_CORRUPT);
    assert_int_equal(proof.depth, 4711);
    size_t saves = t->pages.saves;
    assert_int_equal(tree_update(t, leaf, 1), VCH_ERR_CORRUPT);
    assert_int_equal(tree_check(t, leaf, 1), VCH_ERR_CORRUPT);
    assert_memory_equal(&t->root, &before, 32);
    assert_int_equal(t->pages.saves, saves);
}

static void damage_page(tree_t *t, cell_t *c)
{
    const vch_smt_leaf_t *leaf = leaf_through(t, &c->id);
    for (size_t i = 0; i < c->n; i++) {
        uint8_t good = c->bytes[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            c->bytes[i] = (uint8_t)(good ^ 1u << bit);
            damage_is_found(t, leaf);
        }
        c->bytes[i] = good;
    }
    size_t n = c->n;
    const size_t wrong[] = {0, 1, 3, 4, n - 33, n - 1, n + 1, n + 33};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        c->n = wrong[i];
        damage_is_found(t, leaf);
    }
    c->n = n;
}

static void every_damaged_page_is_found(void **state)
{
    tree_t *t = *state;
    vch_smt_leaf_t leaves[90];
    for (uint32_t i = 0; i < 90; i++) leaves[i] = i < 80 ? leaf_number(i, i) : leaf_leaving_at(25 * (i - 80) + 20, i);
    leaves[89] = leaf_leaving_at(255, 0); /* beside leaf 77: pages down to depth 252 */
    tree_put(t, leaves, 90);
    unsigned damaged = 0;
    for (size_t b = 0; b < BUCKETS; b++) {
        for (cell_t *c = t->pages.bucket[b]; c; c = c->next) {
            if (c->id.depth > 12 && c->id.depth < 240 && c->id.depth % 60 != 0) continue;
            damage_page(t, c);
            damaged++;
        }
    }
    assert_true(damaged > 20);
    tree_put(t, leaves, 90); /* all was put back */
}

static void pages_of_another_place_or_time_are_found(void **state)
{
    tree_t *t = *state;
    vch_smt_leaf_t leaves[800];
    for (uint32_t i = 0; i < 800; i++) leaves[i] = leaf_number(i, i);
    tree_put(t, leaves, 800);
    cell_t *page[2] = {0};
    for (size_t b = 0; b < BUCKETS && !page[1]; b++)
        if (t->pages.bucket[b] && t->pages.bucket[b]->id.depth == 6) page[page[0] ? 1 : 0] = t->pages.bucket[b];
    assert_non_null(page[1]);
    cell_t saved = *page[0];
    page[0]->n = page[1]->n;
    memcpy(page[0]->bytes, page[1]->bytes, page[1]->n);
    const vch_smt_leaf_t *leaf = leaf_through(t, &saved.id);
    damage_is_found(t, leaf);
    /* an older state of the same page */
    *page[0] = saved;
    vch_smt_leaf_t changed = *leaf;
    changed.value_hash.b[0] ^= 1;
    vch_hash_t old_root = t->root;
    tree_put(t, &changed, 1);
    *page[0] = saved;
    damage_is_found(t, &changed);
    /* and a root of another time */
    tree_restart(t);
    tree_put(t, leaves, 700);
    t->root = old_root;
    damage_is_found(t, leaf);
}

/* ---- pages and roots that nobody honest makes, with every hash right ---- */

static void put_leaf(uint8_t *record, uint8_t node, const vch_smt_leaf_t *leaf)
{
    record[0] = node;
    memcpy(record + 1, leaf, sizeof *leaf);
}

static vch_hash_t hash_leaf(const vch_smt_leaf_t *leaf)
{
    vch_hash_t h;
    hash_65(&h, 0x00, &leaf->path, &leaf->value_hash);
    return h;
}

/* Leaves with first bits 0 and 1, and a page of them at nodes 2 and 3. */
static size_t page_of_two(tree_t *t, uint8_t page[4 + 2 * 65], bool swapped)
{
    vch_smt_leaf_t *leaves = t->all;
    for (uint32_t i = 0; i < 2; i++) {
        leaves[i] = leaf_number(i, i);
        leaves[i].path.b[0] = i ? 0x80 : 0;
    }
    t->n = 2;
    const vch_smt_leaf_t *left = &leaves[swapped], *right = &leaves[!swapped];
    vch_hash_t hash[2] = {hash_leaf(left), hash_leaf(right)};
    hash_65(&t->root, 0x01, &hash[0], &hash[1]);
    memcpy(page, (const uint8_t[]){1, 2, 0, 0}, 4);
    put_leaf(page + 4, 2, left);
    put_leaf(page + 4 + 65, 3, right);
    return 4 + 2 * 65;
}

static void only_well_formed_pages_are_read(void **state)
{
    tree_t *t = *state;
    uint8_t page[4 + 2 * 65], record[65];
    static const vch_smt_page_id_t top;
    vch_smt_proof_t proof;
    size_t n = page_of_two(t, page, false);
    assert_int_equal(save_page(&t->pages, &top, vch_slice(page, n)), VCH_OK);
    assert_int_equal(vch_smt_prove(&t->io, &t->root, &t->all[0].path, &proof), VCH_OK); /* this one is good */
    /* its records in falling order */
    memcpy(record, page + 4, 65);
    memcpy(page + 4, page + 4 + 65, 65);
    memcpy(page + 4 + 65, record, 65);
    assert_int_equal(save_page(&t->pages, &top, vch_slice(page, n)), VCH_OK);
    damage_is_found(t, &t->all[0]);
    /* leaves under each other's bit */
    n = page_of_two(t, page, true);
    assert_int_equal(save_page(&t->pages, &top, vch_slice(page, n)), VCH_OK);
    damage_is_found(t, &t->all[0]);
}

/* The same inner nodes in another order: all hashes fit, the page does not. */
static void inner_nodes_stand_in_order(void **state)
{
    tree_t *t = *state;
    static const vch_smt_page_id_t top;
    vch_smt_leaf_t leaves[800];
    uint8_t record[33];
    for (uint32_t i = 0; i < 800; i++) leaves[i] = leaf_number(i, i);
    tree_put(t, leaves, 800);
    cell_t *c = *find_cell(&t->pages, &top);
    assert_int_equal(c->n, 4 + 64 * 33);
    memcpy(record, c->bytes + 4, 33);
    memcpy(c->bytes + 4, c->bytes + 4 + 33, 33);
    memcpy(c->bytes + 4 + 33, record, 33);
    damage_is_found(t, &leaves[0]);
}

/* A leaf alone in a page of its own, instead of in the page above. */
static void a_lone_leaf_has_no_page(void **state)
{
    tree_t *t = *state;
    vch_smt_leaf_t leaf = leaf_number(1, 1);
    leaf.path.b[0] = 0;
    uint8_t upper[4 + 33] = {1, 0, 1, 0, 64}, lower[4 + 65] = {1, 1, 0, 0};
    vch_hash_t hash = hash_leaf(&leaf), nothing = {{0}};
    memcpy(upper + 5, hash.b, 32);
    put_leaf(lower + 4, 1, &leaf);
    for (unsigned i = 0; i < 6; i++) hash_65(&hash, 0x01, &hash, &nothing);
    t->root = hash;
    const vch_smt_page_id_t top = {0}, below = {.depth = 6};
    assert_int_equal(save_page(&t->pages, &top, vch_slice(upper, sizeof upper)), VCH_OK);
    assert_int_equal(save_page(&t->pages, &below, vch_slice(lower, sizeof lower)), VCH_OK);
    damage_is_found(t, &leaf);
}

/* A root that hides a leaf under the wrong bit shows nothing to be absent. */
static void a_misplaced_leaf_proves_no_absence(void **state)
{
    tree_t *t = *state;
    uint8_t page[4 + 2 * 65];
    for (unsigned swapped = 0; swapped < 2; swapped++) {
        (void)page_of_two(t, page, swapped);
        const vch_smt_leaf_t *left = &t->all[swapped];
        vch_hash_t sibling = hash_leaf(&t->all[!swapped]), asked = t->all[0].path;
        asked.b[31] ^= 1; /* beside leaf 0, in the left half */
        assert_int_equal(vch_smt_verify_absent(&t->root, &asked, left, &sibling, 1), !swapped);
    }
}

/* Whatever call fails, the failure arrives, and the root stays. */
static void failures_of_the_store_arrive(void **state)
{
    tree_t *t = *state;
    vch_smt_leaf_t leaves[200];
    for (uint32_t i = 0; i < 200; i++) leaves[i] = leaf_number(i, i);
    tree_put(t, leaves, 100);
    vch_smt_proof_t proof = {.depth = 4711};
    t->pages.fail_in = 1;
    assert_int_equal(vch_smt_prove(&t->io, &t->root, &leaves[0].path, &proof), VCH_ERR_IO);
    assert_int_equal(proof.depth, 4711);
    t->pages.fail_in = 2;
    assert_int_equal(tree_check(t, leaves, 100), VCH_ERR_IO);
    for (size_t call = 1;; call++) {
        tree_restart(t);
        tree_put(t, leaves, 100);
        vch_hash_t before = t->root;
        t->pages.fail_in = call;
        vch_rc rc = tree_update(t, leaves, 200);
        t->pages.fail_in = 0;
        if (rc == VCH_OK) {
            assert_true(call > 60);
            break;
        }
        assert_int_equal(rc, VCH_ERR_IO);
        assert_memory_equal(&t->root, &before, 32);
    }
}

#define SMT_TEST(f) cmocka_unit_test_setup_teardown(f, tree_open, tree_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMT_TEST(any_batches_give_the_definition),   SMT_TEST(one_by_one_gives_the_definition),
        SMT_TEST(order_and_batches_do_not_matter),   SMT_TEST(pages_do_not_depend_on_the_order),
        SMT_TEST(leaves_part_at_every_depth),        SMT_TEST(deepest_tree_fits_the_scratch),
        SMT_TEST(dirty_pages_are_saved_once),        SMT_TEST(doubles_are_refused_before_anything_is_saved),
        SMT_TEST(nothing_to_do_does_nothing),        SMT_TEST(every_key_is_proved),
        SMT_TEST(every_other_key_is_proved_absent),  SMT_TEST(absence_does_not_travel),
        SMT_TEST(empty_tree_holds_nothing),          SMT_TEST(many_are_checked_at_once),
        SMT_TEST(an_empty_tree_agrees_with_nothing), SMT_TEST(known_pages_are_not_hashed_again),
        SMT_TEST(every_damaged_page_is_found),       SMT_TEST(pages_of_another_place_or_time_are_found),
        SMT_TEST(only_well_formed_pages_are_read),   SMT_TEST(inner_nodes_stand_in_order),
        SMT_TEST(a_lone_leaf_has_no_page),           SMT_TEST(a_misplaced_leaf_proves_no_absence),
        SMT_TEST(failures_of_the_store_arrive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
