/* SPDX-License-Identifier: Apache-2.0 */
/* The key tree of an extent: from one secret seed, a secret for every record;
 * from a few seeds inside it, secrets for the permitted records and no other.
 * docs/formats/vault-keys.md has the bytes.
 *
 *   level 0            ●              the root seed
 *                   ╱     ╲           child_b = SHA-256(0x02 ‖ b ‖ seed)
 *   level 4       ●    …    ●         one node for each group of columns, 16 at most
 *                ╱ ╲       ╱ ╲
 *   level 24    ●   ●  …  ●   ●       leaf number = group · 2^20 + row
 *
 * For n trustees and threshold t there is one such tree for every set T of
 * t - 1 trustees, known to all trustees outside T: any t of them know every
 * tree, any t - 1 lack one.  A record's key comes from its leaves in all trees.
 *
 * Seeds and keys are secret: no branch and no address depends on them, what is
 * left of them on the stack is wiped, and whoever holds them keeps them in
 * memory of their own kind (keys.h) or wipes them.  Which rows are asked for is
 * not secret.  No allocation, no I/O; any thread. */
#ifndef VCH_KEYTREE_H
#define VCH_KEYTREE_H

#include "base/base.h"

#define VCH_KT_ROW_BITS 20u
#define VCH_KT_GROUP_LEVEL 4u
#define VCH_KT_LEAF_LEVEL 24u
#define VCH_KT_ROWS_MAX (1u << VCH_KT_ROW_BITS)
#define VCH_KT_GROUPS_MAX (1u << VCH_KT_GROUP_LEVEL)
#define VCH_KT_BLOCK 4096u /* leaves derived at once, at most */
#define VCH_KT_KEY 32u

/* ---- places ---- */

/* Number counts the nodes of its level from the left. */
typedef struct {
    uint8_t level;
    uint32_t number;
} vch_kt_node_t;

static inline uint32_t vch_kt_leaf(unsigned group, uint32_t row) { return group << VCH_KT_ROW_BITS | row; }
/* The first leaf below a node, and how many there are. */
static inline uint32_t vch_kt_first(vch_kt_node_t n) { return n.number << (VCH_KT_LEAF_LEVEL - n.level); }
static inline uint32_t vch_kt_count(vch_kt_node_t n) { return 1u << (VCH_KT_LEAF_LEVEL - n.level); }
bool vch_kt_valid(vch_kt_node_t);
/* Is it `above` itself, or below it? */
bool vch_kt_below(vch_kt_node_t, vch_kt_node_t above);

/* ---- seeds ---- */

typedef struct {
    vch_kt_node_t node;
    uint8_t key[VCH_KT_KEY]; /* secret */
} vch_kt_seed_t;

/* The seed of a node below `from`, one hash a level; false when it isn't there. */
bool vch_kt_descend(vch_kt_seed_t *ret, const vch_kt_seed_t *from, vch_kt_node_t to);
/* Leaves [first, first + n), many hashes at a time; all below `from` and in one
 * block (first / 4096 is the same for all), else false.  ret: n * 32 bytes. */
bool vch_kt_leaves(uint8_t *ret, const vch_kt_seed_t *from, uint32_t first, size_t n);
/* Many nodes of one block (first leaf / 4096 is the same for all), both ways, and
 * for both many hashes at a time, whatever the nodes' sizes.
 *   tree     every node of the block: level 12 + l begins at 2^l - 1; 8,191 * 32 bytes
 *   spread   leaves below the given seeds, which lie at level 12 or below, from
 *            the left, none below another; other leaves become zeros; 4,096 * 32 bytes
 * False when `from` isn't above the block, or a seed isn't as said. */
#define VCH_KT_BLOCK_LEVEL 12u
#define VCH_KT_BLOCK_NODES (2 * VCH_KT_BLOCK - 1)
bool vch_kt_tree(uint8_t *ret, const vch_kt_seed_t *from, uint32_t block);
bool vch_kt_spread(uint8_t *ret, const vch_kt_seed_t *seed, size_t n, uint32_t block);
/* Forget one leaf below `from`: what remains are the siblings on the way to it,
 * from the left.  ret has room for 24; the number of them, 0 when the leaf isn't
 * below or is `from` itself.  The caller wipes `from`. */
size_t vch_kt_puncture(vch_kt_seed_t *ret, const vch_kt_seed_t *from, uint32_t leaf);
/* Of n seeds in order of their first leaf, none below another, the one that is
 * above this node; NULL: none, so nothing or not all below it can be derived. */
const vch_kt_seed_t *vch_kt_find(const vch_kt_seed_t *seed, size_t n, vch_kt_node_t);

/* ---- which seeds lead to exactly these rows ---- */

/* The fewest nodes whose leaves are the set rows of a group, from the left.
 * bits: row r is bit 7 - r % 8 of byte r / 8; rows at most 2^20.  Stops at the
 * first result other than VCH_OK and returns it. */
typedef vch_rc (*vch_kt_fn)(void *ctx, vch_kt_node_t);
VCH_MUST_USE vch_rc vch_kt_cover(const uint8_t *bits, uint32_t rows, unsigned group, vch_kt_fn, void *ctx);

/* ---- record keys ---- */

/* acc[i] ^= leaf[i], for the trees of all sets T in any order; n * 32 bytes. */
void vch_kt_add(uint8_t *acc, const uint8_t *leaf, size_t n);
/* Keys of the records [first, first + n) of an extent from the sums over all
 * trees: HMAC-SHA-256(sum, "vouchsafe record key 1" ‖ extent ‖ u32 leaf number).
 * ret may be the sums. */
void vch_kt_record_keys(uint8_t *ret, const uint8_t *sum, const vch_hash_t *extent, uint32_t first, size_t n);

/* ---- the sets T ---- */

#define VCH_KT_SETS_MAX 35u
/* How many sets of t - 1 out of n trustees there are; 0 unless t >= 2,
 * n >= 2t - 1 and there are at most 35. */
unsigned vch_kt_sets(unsigned n, unsigned t);
/* Members of set number k as bits (bit i: trustee i), in lexicographic order of
 * the lists of members; 0 when there is no such set. */
uint64_t vch_kt_set(unsigned n, unsigned t, unsigned k);
/* A trustee holds the trees of the sets that it is not in. */
static inline bool vch_kt_holds(uint64_t set, unsigned trustee) { return !(set >> trustee & 1); }

#endif
