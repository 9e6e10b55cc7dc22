/* SPDX-License-Identifier: Apache-2.0 */
/* The sparse Merkle tree and its pages.
 *
 * A page is what stands below one node, six levels of it.  Its nodes are
 * numbered like a heap's, the page's own top being 1:
 *
 *   level 0              1                depth d      (the page's name)
 *                    /       \
 *   level 1         2         3           depth d + 1
 *                 /   \     /   \
 *   level 2      4     5   6     7        depth d + 2
 *               …                  …
 *   level 6    64  65   …   126  127      depth d + 6: tops of the next pages
 *
 * Each node is nothing, a leaf, or an inner node; only the lowest level's
 * inner nodes have a page of their own.  Pages lie at depths 0, 6, …, 252;
 * the page at 252 has four levels, 16 … 31 being its lowest.
 *
 * A stored page lists what stands at the ends of its branches and nothing
 * that can be computed from it, so every stored byte is bound by the hash
 * that the page above (or the root) names:
 *
 *   +0   u8       version, 1
 *   +1   u8       L, number of leaves
 *   +2   u8       I, number of inner nodes of the lowest level
 *   +3   u8       0
 *   +4   L times  u8 node number ‖ path (32) ‖ value hash (32), numbers rising
 *   …    I times  u8 node number ‖ node hash (32),              numbers rising
 *
 * Four leaves take 4 + 4 · 65 = 264 bytes, 64 inner nodes 2,116, and 64
 * leaves, the most there can be, 4,164.
 *
 * The leaf's whole record stands in the page, so that a second leaf arriving
 * under the same node can push the first one down without looking elsewhere. */
#include "merkle/smt.h"

#include "crypto/sha256.h"
#include "merkle/tree.h"

#define PATH_BITS VCH_SMT_PATH_MAX
#define LEVELS VCH_SMT_LEVELS_PER_PAGE
#define ENDS (1u << LEVELS) /* ends of branches in one page, and the number of the first lowest node */
#define NODES (2u * ENDS)   /* heap numbers; 0 is not used */
#define PAGES_DEEP ((PATH_BITS + LEVELS - 1) / LEVELS)

#define PAGE_VERSION 1
#define PAGE_HEAD 4
#define LEAF_RECORD (1 + sizeof(vch_smt_leaf_t))
#define INNER_RECORD (1 + sizeof(vch_hash_t))
#define PAGE_BYTES_MAX (PAGE_HEAD + ENDS * LEAF_RECORD)

typedef enum { NOTHING, LEAF, INNER } kind_t;

/* A page taken apart.  A leaf's record lies at the lowest-level position that
 * is first under it, which no other leaf of the page can claim. */
typedef struct {
    vch_smt_page_id_t id;
    unsigned lowest; /* level of the lowest nodes: 6, or 4 at depth 252 */
    uint8_t kind[NODES];
    bool stale[NODES]; /* hash must be computed again */
    vch_hash_t hash[NODES];
    vch_smt_leaf_t leaf[ENDS];
} page_t;

_Static_assert(PAGES_DEEP * sizeof(page_t) <= VCH_SMT_SCRATCH_MAX, "what the header promises of scratch");

static unsigned path_bit(const uint8_t *path, size_t depth) { return path[depth / 8] >> (7 - depth % 8) & 1; }

static unsigned level_of(unsigned node) { return 31 - (unsigned)__builtin_clz(node); }

static vch_smt_leaf_t *record_of(page_t *p, unsigned node)
{
    return &p->leaf[(node << (LEVELS - level_of(node))) - ENDS];
}

static bool is_zero(const vch_hash_t *h)
{
    static const vch_hash_t zero;
    return vch_hash_eq(h, &zero);
}

/* Do the first `bits` bits of both agree? */
static bool same_bits(const uint8_t *a, const uint8_t *b, size_t bits)
{
    if (memcmp(a, b, bits / 8) != 0) return false;
    return bits % 8 == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8) == 0;
}

static void page_clear(page_t *p, const vch_smt_page_id_t *id)
{
    p->id = *id;
    p->lowest = (unsigned)vch_min(LEVELS, PATH_BITS - id->depth);
    memset(p->kind, NOTHING, sizeof p->kind);
    memset(p->stale, 0, sizeof p->stale);
    memset(p->hash, 0, sizeof p->hash);
}

/* The page below `node`, a lowest-level node of p. */
static vch_smt_page_id_t page_below(const page_t *p, unsigned node)
{
    vch_smt_page_id_t id = {.depth = (uint16_t)(p->id.depth + LEVELS)};
    memcpy(id.prefix, p->id.prefix, sizeof id.prefix);
    for (unsigned i = 0; i < LEVELS; i++) {
        size_t at = p->id.depth + i;
        if (node >> (LEVELS - 1 - i) & 1) id.prefix[at / 8] |= (uint8_t)(0x80 >> at % 8);
    }
    return id;
}

/* ---- hashing a page ------------------------------------------------------------ */

static void hash_leaves(page_t *p)
{
    vch_smt_leaf_t data[ENDS];
    vch_hash_t hash[ENDS];
    unsigned node[ENDS], n = 0;
    for (unsigned i = 1; i < NODES; i++) {
        if (!p->stale[i] || p->kind[i] != LEAF) continue;
        data[n] = *record_of(p, i);
        node[n++] = i;
    }
    if (n == 0) return;
    vch_sha256_fixed(hash, 0x00, data[0].path.b, sizeof data[0], sizeof data[0], n);
    for (unsigned i = 0; i < n; i++) p->hash[node[i]] = hash[i];
}

static void hash_level(page_t *p, unsigned level)
{
    vch_hash_t pair[ENDS];
    unsigned node[ENDS / 2], n = 0;
    for (unsigned i = 1u << level; i < 2u << level; i++) {
        if (!p->stale[i] || p->kind[i] != INNER) continue;
        memcpy(&pair[2 * n], &p->hash[2 * i], 2 * sizeof pair[0]);
        node[n++] = i;
    }
    if (n == 0) return;
    vch_sha256_nodes(pair, pair, n);
    for (unsigned i = 0; i < n; i++) p->hash[node[i]] = pair[i];
}

/* Compute what is stale, a level at a time from below.  The hashes of the
 * lowest inner nodes belong to the pages under them and are given. */
static void page_hash(page_t *p)
{
    hash_leaves(p);
    for (unsigned level = p->lowest; level-- > 0;) hash_level(p, level);
    memset(p->stale, 0, sizeof p->stale);
}

/* ---- stored pages ---------------------------------------------------------------- */

/* Put the end of a branch in its place; false when something stands there, or
 * above or below it. */
static bool place_end(page_t *p, unsigned node, kind_t kind)
{
    if (p->kind[node] != NOTHING) return false;
    for (unsigned up = node / 2; up; up /= 2) {
        if (p->kind[up] == LEAF) return false;
        p->kind[up] = INNER;
        p->stale[up] = true;
    }
    p->kind[node] = (uint8_t)kind;
    p->stale[node] = true;
    return true;
}

/* May a leaf with this path stand at this node? */
static bool leaf_belongs(const page_t *p, unsigned node, const uint8_t *path)
{
    unsigned level = level_of(node), bits = 0;
    for (unsigned i = 0; i < level; i++) bits = bits << 1 | path_bit(path, p->id.depth + i);
    return bits == node - (1u << level) && same_bits(path, p->id.prefix, p->id.depth);
}

/* Only the tree's first page may hold a leaf alone, as its own top. */
static bool parse_leaf(page_t *p, const uint8_t *record)
{
    unsigned node = record[0];
    if (node == 0 || node >= NODES || level_of(node) > p->lowest) return false;
    if (node == 1 && p->id.depth != 0) return false;
    if (!leaf_belongs(p, node, record + 1) || !place_end(p, node, LEAF)) return false;
    memcpy(record_of(p, node), record + 1, sizeof(vch_smt_leaf_t));
    return true;
}

static bool parse_inner(page_t *p, const uint8_t *record)
{
    unsigned node = record[0];
    if (p->lowest != LEVELS || node < ENDS || node >= NODES || !place_end(p, node, INNER)) return false;
    memcpy(p->hash[node].b, record + 1, sizeof(vch_hash_t));
    return true;
}

static bool page_parse(page_t *p, vch_slice_t bytes)
{
    const uint8_t *at = bytes.p;
    if (bytes.n < PAGE_HEAD || at[0] != PAGE_VERSION || at[3] != 0) return false;
    size_t leaves = at[1], inner = at[2];
    if (bytes.n != PAGE_HEAD + leaves * LEAF_RECORD + inner * INNER_RECORD) return false;
    at += PAGE_HEAD;
    unsigned before = 0;
    for (size_t i = 0; i < leaves; before = at[0], i++, at += LEAF_RECORD)
        if (at[0] <= before || !parse_leaf(p, at)) return false;
    before = 0;
    for (size_t i = 0; i < inner; before = at[0], i++, at += INNER_RECORD)
        if (at[0] <= before || !parse_inner(p, at)) return false;
    return true;
}

/* Read the page `id` into p and check it against the hash that the page above
 * gives for it. */
static vch_rc page_load(const vch_smt_io_t *io, page_t *p, const vch_smt_page_id_t *id, const vch_hash_t *want)
{
    vch_slice_t bytes = {0};
    VCH_TRY(io->load(io->ctx, id, &bytes));
    page_clear(p, id);
    if (!page_parse(p, bytes)) return VCH_ERR_CORRUPT;
    page_hash(p);
    if (!vch_hash_eq(&p->hash[1], want)) return VCH_ERR_CORRUPT;
    if (io->verified) io->verified(io->ctx, id);
    return VCH_OK;
}

/* The same without the hashes that can be computed, if the page is known. */
static vch_rc page_load_ends(const vch_smt_io_t *io, page_t *p, const vch_smt_page_id_t *id, const vch_hash_t *want)
{
    vch_slice_t bytes = {0};
    VCH_TRY(io->load(io->ctx, id, &bytes));
    if (!io->known || !io->known(io->ctx, id)) return page_load(io, p, id, want);
    page_clear(p, id);
    return page_parse(p, bytes) ? VCH_OK : VCH_ERR_CORRUPT;
}

static vch_rc page_save(const vch_smt_io_t *io, page_t *p)
{
    uint8_t bytes[PAGE_BYTES_MAX] = {PAGE_VERSION};
    uint8_t *at = bytes + PAGE_HEAD;
    for (unsigned i = 1; i < NODES; i++) {
        if (p->kind[i] != LEAF) continue;
        *at = (uint8_t)i;
        memcpy(at + 1, record_of(p, i), sizeof(vch_smt_leaf_t));
        at += LEAF_RECORD;
        bytes[1]++;
    }
    for (unsigned i = ENDS; i < NODES; i++) {
        if (p->kind[i] != INNER) continue;
        *at = (uint8_t)i;
        memcpy(at + 1, p->hash[i].b, sizeof(vch_hash_t));
        at += INNER_RECORD;
        bytes[2]++;
    }
    return io->save(io->ctx, &p->id, vch_slice(bytes, (size_t)(at - bytes)));
}

/* ---- order ------------------------------------------------------------------------- */

#define SORT_SMALL 16

static void swap_leaves(vch_smt_leaf_t *a, vch_smt_leaf_t *b)
{
    vch_smt_leaf_t t = *a;
    *a = *b;
    *b = t;
}

static void sort_small(vch_smt_leaf_t *leaves, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t j = i; j > 0 && memcmp(leaves[j].path.b, leaves[j - 1].path.b, 32) < 0; j--)
            swap_leaves(&leaves[j], &leaves[j - 1]);
}

/* Leaves with this bit clear before those with it set; how many are clear. */
static size_t sort_split(vch_smt_leaf_t *leaves, size_t n, size_t bit)
{
    size_t low = 0, high = n;
    while (low < high) {
        if (path_bit(leaves[low].path.b, bit))
            swap_leaves(&leaves[low], &leaves[--high]);
        else
            low++;
    }
    return low;
}

/* Bit by bit from the top, in place: paths are hashes, so this splits evenly,
 * and no choice of paths makes it slower than 256 passes.  What waits on the
 * stack waits at rising bits, hence at most one range for each. */
static void sort_by_path(vch_smt_leaf_t *leaves, size_t n)
{
    struct {
        vch_smt_leaf_t *leaves;
        size_t n, bit;
    } wait[PATH_BITS + 1];
    size_t waiting = 0, bit = 0;
    for (;;) {
        if (n > SORT_SMALL && bit < PATH_BITS) {
            size_t low = sort_split(leaves, n, bit++);
            wait[waiting].leaves = leaves + low;
            wait[waiting].n = n - low;
            wait[waiting++].bit = bit;
            n = low;
            continue;
        }
        sort_small(leaves, n);
        if (waiting == 0) return;
        leaves = wait[--waiting].leaves;
        n = wait[waiting].n;
        bit = wait[waiting].bit;
    }
}

/* ---- update ------------------------------------------------------------------------ */

typedef struct {
    const vch_smt_io_t *io;
    vch_arena_t *scratch;
    page_t *page[PAGES_DEEP]; /* one for each depth, made when first needed */
} update_t;

/* A leaf that is no longer alone under its node moves one level down. */
static void push_down(page_t *p, unsigned node)
{
    vch_smt_leaf_t leaf = *record_of(p, node);
    unsigned child = 2 * node + path_bit(leaf.path.b, p->id.depth + level_of(node));
    p->kind[node] = INNER;
    p->kind[child] = LEAF;
    p->stale[child] = true;
    *record_of(p, child) = leaf;
}

/* Put one leaf into the page.  0 when it stands; else the lowest-level node
 * that it must go below: an inner node, or a leaf with another path. */
static unsigned page_put(page_t *p, const vch_smt_leaf_t *leaf)
{
    for (unsigned node = 1, level = 0;; level++) {
        p->stale[node] = true;
        bool here =
            p->kind[node] == NOTHING || (p->kind[node] == LEAF && vch_hash_eq(&record_of(p, node)->path, &leaf->path));
        if (here) {
            p->kind[node] = LEAF;
            *record_of(p, node) = *leaf;
            return 0;
        }
        if (level == p->lowest) return node;
        if (p->kind[node] == LEAF) push_down(p, node);
        node = 2 * node + path_bit(leaf->path.b, p->id.depth + level);
    }
}

/* How many of the sorted leaves share the first one's first `bits` bits. */
static size_t run_length(const vch_smt_leaf_t *leaves, size_t n, size_t bits)
{
    size_t run = 1;
    while (run < n && same_bits(leaves[0].path.b, leaves[run].path.b, bits)) run++;
    return run;
}

static vch_rc page_room(update_t *u, page_t **ret, const vch_smt_page_id_t *id)
{
    size_t deep = id->depth / LEVELS;
    if (deep >= PAGES_DEEP) return VCH_ERR_INTERNAL;
    if (!u->page[deep]) u->page[deep] = vch_arena_alloc(u->scratch, sizeof(page_t));
    if (!u->page[deep]) return VCH_ERR_MEMORY;
    *ret = u->page[deep];
    return VCH_OK;
}

/* Put sorted leaves into the page `id` and all below it; ret is its new hash.
 * `want` is the page's hash so far, NULL for a page that did not exist; then
 * `first` may be a leaf that is pushed down into it.  Pages are finished and
 * saved from below, so one page of each depth is in memory at a time; the
 * recursion is at most PAGES_DEEP deep. */
static vch_rc update_page(update_t *u, vch_hash_t *ret, const vch_smt_page_id_t *id, const vch_hash_t *want,
                          const vch_smt_leaf_t *first, const vch_smt_leaf_t *leaves, size_t n)
{
    page_t *p = NULL;
    VCH_TRY(page_room(u, &p, id));
    if (want)
        VCH_TRY(page_load(u->io, p, id, want));
    else
        page_clear(p, id);
    if (first) (void)page_put(p, first); /* an empty page takes any leaf */
    for (size_t i = 0; i < n;) {
        unsigned node = page_put(p, &leaves[i]);
        if (node == 0) {
            i++;
            continue;
        }
        size_t run = run_length(leaves + i, n - i, id->depth + LEVELS);
        bool inner = p->kind[node] == INNER;
        vch_smt_page_id_t below = page_below(p, node);
        VCH_TRY(update_page(u, &p->hash[node], &below, inner ? &p->hash[node] : NULL, inner ? NULL : record_of(p, node),
                            leaves + i, run));
        p->kind[node] = INNER;
        i += run;
    }
    page_hash(p);
    VCH_TRY(page_save(u->io, p));
    *ret = p->hash[1];
    return VCH_OK;
}

vch_rc vch_smt_update(const vch_smt_io_t *io, vch_hash_t *root, vch_smt_leaf_t *leaves, size_t n, vch_arena_t *scratch)
{
    if (n == 0) return VCH_OK;
    sort_by_path(leaves, n);
    for (size_t i = 1; i < n; i++)
        if (vch_hash_eq(&leaves[i].path, &leaves[i - 1].path)) return VCH_ERR_CONFLICT;
    update_t u = {.io = io, .scratch = scratch};
    static const vch_smt_page_id_t top;
    return update_page(&u, root, &top, is_zero(root) ? NULL : root, NULL, leaves, n);
}

/* ---- proofs -------------------------------------------------------------------------- */

/* Follow `path` through one page, noting siblings; the node where it ends. */
static unsigned page_follow(const page_t *p, const vch_hash_t *path, vch_smt_proof_t *proof)
{
    unsigned node = 1;
    for (unsigned level = 0; level < p->lowest && p->kind[node] == INNER; level++) {
        node = 2 * node + path_bit(path->b, p->id.depth + level);
        proof->sibling[proof->depth++] = p->hash[node ^ 1];
    }
    return node;
}

vch_rc vch_smt_prove(const vch_smt_io_t *io, const vch_hash_t *root, const vch_hash_t *path, vch_smt_proof_t *ret)
{
    page_t p;
    vch_smt_proof_t proof = {.end = VCH_SMT_EMPTY};
    vch_smt_page_id_t id = {0};
    vch_hash_t want = *root;
    unsigned node = 1;
    kind_t kind = is_zero(root) ? NOTHING : INNER;
    while (kind == INNER) {
        VCH_TRY(page_load(io, &p, &id, &want));
        node = page_follow(&p, path, &proof);
        kind = (kind_t)p.kind[node];
        want = p.hash[node];
        if (kind == INNER) id = page_below(&p, node);
    }
    if (kind == LEAF) {
        proof.leaf = *record_of(&p, node);
        proof.end = vch_hash_eq(&proof.leaf.path, path) ? VCH_SMT_MEMBER : VCH_SMT_OTHER;
    }
    *ret = proof;
    return VCH_OK;
}

/* ---- many at once ---------------------------------------------------------------- */

/* Where the path ends in this page. */
static unsigned page_end(const page_t *p, const vch_hash_t *path)
{
    unsigned node = 1;
    for (unsigned level = 0; level < p->lowest && p->kind[node] == INNER; level++)
        node = 2 * node + path_bit(path->b, p->id.depth + level);
    return node;
}

static bool end_agrees(page_t *p, unsigned node, const vch_smt_leaf_t *said)
{
    bool there = p->kind[node] == LEAF && vch_hash_eq(&record_of(p, node)->path, &said->path);
    return there ? vch_hash_eq(&record_of(p, node)->value_hash, &said->value_hash) : is_zero(&said->value_hash);
}

/* Sorted leaves that all run through the page `id`; it is loaded once, and so
 * is each below it.  As deep as update_page.  Only what stands at the ends of
 * branches is looked at. */
static vch_rc check_page(update_t *u, const vch_smt_page_id_t *id, const vch_hash_t *want, const vch_smt_leaf_t *said,
                         size_t n)
{
    page_t *p = NULL;
    VCH_TRY(page_room(u, &p, id));
    VCH_TRY(page_load_ends(u->io, p, id, want));
    for (size_t i = 0; i < n;) {
        unsigned node = page_end(p, &said[i].path);
        if (p->kind[node] != INNER) {
            if (!end_agrees(p, node, &said[i])) return VCH_ERR_COMMITMENT;
            i++;
            continue;
        }
        size_t run = run_length(said + i, n - i, id->depth + LEVELS);
        vch_smt_page_id_t below = page_below(p, node);
        VCH_TRY(check_page(u, &below, &p->hash[node], said + i, run));
        i += run;
    }
    return VCH_OK;
}

/* The record in which the path ends, straight from the bytes of a page that is
 * known to be one, and its kind. */
static const uint8_t *find_end(vch_slice_t page, size_t depth, const vch_hash_t *path, kind_t *ret)
{
    unsigned on_path[LEVELS + 1] = {1}; /* the node of each level */
    size_t lowest = vch_min(LEVELS, PATH_BITS - depth), leaves = page.p[1], inner = page.p[2];
    for (size_t i = 0; i < lowest; i++) on_path[i + 1] = 2 * on_path[i] + path_bit(path->b, depth + i);
    const uint8_t *at = page.p + PAGE_HEAD;
    *ret = LEAF;
    for (size_t i = 0; i < leaves; i++, at += LEAF_RECORD)
        if (at[0] == on_path[level_of(at[0])]) return at;
    *ret = INNER;
    for (size_t i = 0; i < inner; i++, at += INNER_RECORD)
        if (at[0] == on_path[LEVELS]) return at;
    *ret = NOTHING;
    return NULL;
}

/* One page down: the next page's id and hash, or what the tree says at the end. */
static vch_rc check_step(const vch_smt_io_t *io, vch_smt_page_id_t *id, vch_hash_t *want, const vch_smt_leaf_t *said,
                         bool *ret_end)
{
    page_t p;
    vch_slice_t bytes = {0};
    kind_t kind;
    VCH_TRY(io->load(io->ctx, id, &bytes));
    if (!io->known || !io->known(io->ctx, id)) {
        VCH_TRY(page_load(io, &p, id, want));
        VCH_TRY(io->load(io->ctx, id, &bytes));
    }
    const uint8_t *record = find_end(bytes, id->depth, &said->path, &kind);
    *ret_end = kind != INNER;
    if (kind == LEAF && memcmp(record + 1, said->path.b, 32) == 0)
        return memcmp(record + 33, said->value_hash.b, 32) == 0 ? VCH_OK : VCH_ERR_COMMITMENT;
    if (kind != INNER) return is_zero(&said->value_hash) ? VCH_OK : VCH_ERR_COMMITMENT;
    memcpy(want->b, record + 1, sizeof want->b);
    memset(id->prefix, 0, sizeof id->prefix);
    id->depth = (uint16_t)(id->depth + LEVELS);
    for (size_t i = 0; i < id->depth; i++) id->prefix[i / 8] |= (uint8_t)(said->path.b[i / 8] & 0x80 >> i % 8);
    return VCH_OK;
}

static vch_rc check_one(const vch_smt_io_t *io, const vch_hash_t *root, const vch_smt_leaf_t *said)
{
    vch_smt_page_id_t id = {0};
    vch_hash_t want = *root;
    for (bool end = false; !end;) VCH_TRY(check_step(io, &id, &want, said, &end));
    return VCH_OK;
}

vch_rc vch_smt_check(const vch_smt_io_t *io, const vch_hash_t *root, vch_smt_leaf_t *said, size_t n,
                     vch_arena_t *scratch)
{
    if (n == 0) return VCH_OK;
    if (is_zero(root)) {
        for (size_t i = 0; i < n; i++)
            if (!is_zero(&said[i].value_hash)) return VCH_ERR_COMMITMENT;
        return VCH_OK;
    }
    if (n == 1) return check_one(io, root, said);
    sort_by_path(said, n);
    update_t u = {.io = io, .scratch = scratch};
    static const vch_smt_page_id_t top;
    return check_page(&u, &top, root, said, n);
}

/* From the end of the branch up to the root. */
static bool leads_to(const vch_hash_t *root, const vch_hash_t *path, vch_hash_t h, const vch_hash_t *sibling,
                     size_t depth)
{
    if (depth > PATH_BITS) return false;
    while (depth-- > 0) {
        if (path_bit(path->b, depth))
            vch_tree_node(&h, &sibling[depth], &h);
        else
            vch_tree_node(&h, &h, &sibling[depth]);
    }
    return vch_hash_eq(&h, root);
}

static vch_hash_t leaf_hash(const vch_hash_t *path, const vch_hash_t *value_hash)
{
    vch_hash_t h;
    vch_smt_leaf_t leaf = {*path, *value_hash};
    vch_sha256_fixed(&h, 0x00, leaf.path.b, sizeof leaf, sizeof leaf, 1);
    return h;
}

bool vch_smt_verify_member(const vch_hash_t *root, const vch_hash_t *path, const vch_hash_t *value_hash,
                           const vch_hash_t *sibling, size_t depth)
{
    return leads_to(root, path, leaf_hash(path, value_hash), sibling, depth);
}

/* Another leaf proves absence only where `path` itself would have to stand:
 * it shares the bits walked, and differs later. */
bool vch_smt_verify_absent(const vch_hash_t *root, const vch_hash_t *path, const vch_smt_leaf_t *other,
                           const vch_hash_t *sibling, size_t depth)
{
    vch_hash_t end = {{0}};
    if (depth > PATH_BITS) return false;
    if (other) {
        if (vch_hash_eq(&other->path, path) || !same_bits(other->path.b, path->b, depth)) return false;
        end = leaf_hash(&other->path, &other->value_hash);
    }
    return leads_to(root, path, end, sibling, depth);
}
