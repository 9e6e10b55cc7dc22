/* SPDX-License-Identifier: Apache-2.0 */
/* The tree over the entries: open tiles in memory, full ones on disk.
 *
 * Every tile that is read back is checked against the hash that its parent
 * tile holds for it, up to the open tiles in memory, and these were checked
 * against the signed checkpoint when the log was opened.  A tile that does
 * not match is made again from the segments. */
#include "log/log_impl.h"

#include "crypto/sha256.h"

#include <inttypes.h>
#include <stdio.h>

/* Where level k (0..8) of a tile's nodes begins. */
static size_t node_at(unsigned k) { return 512u - (512u >> k); }

/* Make the inner nodes that appear when the tile grows from `old` to `now`. */
static void fold(vch_hash_t node[VCH_TILE_NODES], unsigned old, unsigned now)
{
    for (unsigned k = 1; k <= 8; k++) {
        unsigned from = old >> k, to = now >> k;
        if (to > from) vch_sha256_nodes(node + node_at(k) + from, node + node_at(k - 1) + 2 * (size_t)from, to - from);
    }
}

/* A full tile of level l is one hash of level l + 1. */
static void push_up(vch_grow_t *g, unsigned level, uint64_t n, vch_full_fn full, void *ctx)
{
    while (g->level[level].count == VCH_TILE_WIDTH) {
        if (full) full(ctx, level, n, g->level[level].node);
        vch_hash_t root = g->level[level].node[VCH_TILE_NODES - 1];
        g->level[level].count = 0;
        level++;
        unsigned count = g->level[level].count++;
        g->level[level].node[count] = root;
        fold(g->level[level].node, count, count + 1);
        n /= VCH_TILE_WIDTH;
    }
}

void vch_grow_add(vch_grow_t *g, const vch_hash_t *leaves, size_t n, vch_full_fn full, void *ctx)
{
    while (n > 0) {
        unsigned count = g->level[0].count;
        size_t take = vch_min(n, VCH_TILE_WIDTH - count);
        uint64_t tile = g->size / VCH_TILE_WIDTH;
        memcpy(g->level[0].node + count, leaves, take * sizeof *leaves);
        g->level[0].count = count + (unsigned)take;
        fold(g->level[0].node, count, count + (unsigned)take);
        push_up(g, 0, tile, full, ctx);
        g->size += take;
        leaves += take;
        n -= take;
    }
}

static vch_rc grow_get(void *ctx, vch_hash_t *ret, unsigned level, uint64_t n)
{
    const vch_grow_t *g = ctx;
    unsigned l = level / 8, k = level % 8;
    *ret = g->level[l].node[node_at(k) + ((n << k) % VCH_TILE_WIDTH >> k)];
    return VCH_OK;
}

/* The root needs only peaks, and those lie in open tiles. */
void vch_grow_root(const vch_grow_t *g, vch_hash_t *ret)
{
    if (vch_subtrees_root(ret, g->size, grow_get, (void *)g) != VCH_OK) vch_tree_empty(ret);
}

/* ---- files ------------------------------------------------------------------------ */

vch_rc vch_tile_file(char ret[VCH_PATH_MAX], const char *dir, int level, uint64_t n, unsigned width)
{
    char tile[80];
    VCH_TRY(vch_tile_path(tile, sizeof tile, level, n, width));
    return vch_path(ret, "%s/tlog/%s", dir, tile);
}

vch_rc vch_tile_write(vch_port_t *port, const char *dir, int level, uint64_t n, unsigned width, vch_slice_t data,
                      vch_err_t *err)
{
    char path[VCH_PATH_MAX], folder[VCH_PATH_MAX];
    vch_rc rc = vch_tile_file(path, dir, level, n, width);
    if (rc != VCH_OK) return vch_fail(err, rc, "a tile's path is too long in %s", dir);
    rc = vch_write_derived(port, path, data, err);
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    memcpy(folder, path, sizeof folder);
    *strrchr(folder, '/') = 0;
    VCH_TRY(vch_mkdirs(port, folder, err));
    return vch_write_derived(port, path, data, err);
}

static vch_rc read_hashes(vch_log_t *log, unsigned level, uint64_t n, unsigned width, vch_hash_t *ret, size_t want)
{
    char path[VCH_PATH_MAX];
    vch_file_t *file = NULL;
    VCH_TRY(vch_tile_file(path, log->dir, (int)level, n, width));
    VCH_TRY(vch_file_open(log->port, &file, path, VCH_OPEN_READ, NULL));
    vch_rc rc = vch_file_read(log->port, file, ret, want * sizeof *ret, 0, NULL);
    vch_file_close(log->port, file);
    return rc;
}

/* ---- full tiles waiting to be written ------------------------------------------------ */

/* Making a file costs more than hashing what is in it, so an append makes
 * none.  A tile for which there is no room here is made from the segments
 * when it is published. */
static void keep_pending(void *ctx, unsigned level, uint64_t n, const vch_hash_t *node)
{
    vch_log_t *log = ctx;
    if (log->options.read_only || log->pending_n == VCH_PENDING_MAX) return;
    if (log->pending_n == log->pending_cap) {
        size_t cap = log->pending_cap ? 4 * log->pending_cap : 4;
        vch_pending_t *more = vch_resize(log->pending, cap * sizeof *more);
        if (!more) return;
        log->pending = more;
        log->pending_cap = cap;
    }
    vch_pending_t *p = &log->pending[log->pending_n++];
    p->level = level;
    p->n = n;
    memcpy(p->hash, node, sizeof p->hash);
}

static bool take_pending(vch_log_t *log, vch_pending_t *ret)
{
    pthread_mutex_lock(&log->lock);
    bool any = log->pending_n > 0;
    if (any) *ret = log->pending[--log->pending_n];
    pthread_mutex_unlock(&log->lock);
    return any;
}

/* A tile that cannot be written now is made again when it is published. */
void vch_tiles_flush(vch_log_t *log)
{
    vch_pending_t p;
    while (take_pending(log, &p))
        (void)vch_tile_write(log->port, log->dir, (int)p.level, p.n, VCH_TILE_WIDTH, vch_slice(p.hash, sizeof p.hash),
                             NULL);
}

void vch_log_grow(vch_log_t *log, const vch_hash_t *leaves, size_t n)
{
    pthread_mutex_lock(&log->lock);
    vch_grow_add(log->tree, leaves, n, keep_pending, log);
    log->size = log->tree->size;
    pthread_mutex_unlock(&log->lock);
}

/* ---- the same while the group is being written ---------------------------------------- */

vch_rc vch_ahead_reserve(vch_log_t *log, size_t n, vch_err_t *err)
{
    vch_ahead_t *a = &log->ahead;
    size_t want = vch_min(n / VCH_TILE_WIDTH + VCH_TILE_LEVELS, VCH_PENDING_MAX);
    if (!a->tree) a->tree = vch_alloc(sizeof *a->tree);
    if (a->full_cap < want) {
        vch_pending_t *more = vch_resize(a->full, want * sizeof *more);
        if (more) {
            a->full = more;
            a->full_cap = want;
        }
    }
    return a->tree ? VCH_OK : vch_fail(err, VCH_ERR_MEMORY, "no memory to append %zu entries", n);
}

static void keep_full(void *ctx, unsigned level, uint64_t n, const vch_hash_t node[VCH_TILE_NODES])
{
    vch_ahead_t *a = ctx;
    if (a->full_n == a->full_cap) return;
    vch_pending_t *p = &a->full[a->full_n++];
    p->level = level;
    p->n = n;
    memcpy(p->hash, node, sizeof p->hash);
}

/* Only an appender changes log->tree, and there is one at a time. */
void vch_ahead_grow(vch_log_t *log, const vch_hash_t *leaves, size_t n)
{
    vch_ahead_t *a = &log->ahead;
    for (unsigned l = 0; l < VCH_TILE_LEVELS; l++) {
        a->tree->level[l].count = log->tree->level[l].count;
        if (log->tree->level[l].count > 0) a->tree->level[l] = log->tree->level[l];
    }
    a->tree->size = log->tree->size;
    a->full_n = 0;
    vch_grow_add(a->tree, leaves, n, keep_full, a);
}

void vch_ahead_take(vch_log_t *log)
{
    vch_ahead_t *a = &log->ahead;
    pthread_mutex_lock(&log->lock);
    vch_grow_t *old = log->tree;
    log->tree = a->tree;
    a->tree = old;
    log->size = log->tree->size;
    for (size_t i = 0; i < a->full_n; i++) keep_pending(log, a->full[i].level, a->full[i].n, a->full[i].hash);
    pthread_mutex_unlock(&log->lock);
}

void vch_tiles_free(vch_log_t *log)
{
    for (size_t i = 0; i < VCH_TILE_CACHE; i++) vch_free(log->cache[i]);
    vch_free(log->pending);
    vch_free(log->tree);
    vch_free(log->ahead.tree);
    vch_free(log->ahead.full);
}

/* ---- reading tiles back ------------------------------------------------------------------ */

typedef struct {
    vch_grow_t *grow;
    vch_hash_t *leaves;
    size_t cap;
    uint64_t from, to;
} hashing_t;

static vch_rc hash_group(void *ctx, const vch_group_head_t *head, const uint8_t *frames, vch_err_t *err)
{
    hashing_t *h = ctx;
    if (h->cap < head->count) {
        vch_hash_t *more = vch_resize(h->leaves, head->count * sizeof *more);
        if (!more) return vch_fail(err, VCH_ERR_MEMORY, "no memory for %u leaf hashes", head->count);
        h->leaves = more;
        h->cap = head->count;
    }
    uint64_t from = head->first > h->from ? head->first : h->from;
    uint64_t end = head->first + head->count, to = end < h->to ? end : h->to;
    vch_group_leaves(h->leaves, head, frames, from, to);
    vch_grow_add(h->grow, h->leaves, (size_t)(to - from), NULL, NULL);
    return VCH_OK;
}

/* Hashes of a full tile out of the segments: a tree of its own over its span.
 * They stay in place after the full tile was pushed up. */
static vch_rc tile_from_segments(vch_log_t *log, unsigned level, uint64_t n, vch_hash_t hash[VCH_TILE_WIDTH],
                                 vch_err_t *err)
{
    unsigned bits = 8 * (level + 1);
    hashing_t h = {.grow = vch_alloc(sizeof(vch_grow_t)), .from = n << bits, .to = (n + 1) << bits};
    if (!h.grow) return vch_fail(err, VCH_ERR_MEMORY, "no memory to make a tile");
    vch_rc rc = vch_log_groups(log, h.from, h.to, hash_group, &h, err);
    if (rc == VCH_OK) memcpy(hash, h.grow->level[level].node, VCH_TILE_WIDTH * sizeof *hash);
    vch_free(h.leaves);
    vch_free(h.grow);
    return rc;
}

static vch_rc cache_slot(vch_log_t *log, vch_tile_t **ret, vch_err_t *err)
{
    size_t oldest = 0;
    for (size_t i = 0; i < VCH_TILE_CACHE; i++) {
        if (!log->cache[i]) {
            log->cache[i] = vch_alloc(sizeof **log->cache);
            if (!log->cache[i]) return vch_fail(err, VCH_ERR_MEMORY, "no memory for a tile");
        }
        if (log->cache[i]->used == 0) {
            oldest = i;
            break;
        }
        if (log->cache[i]->used < log->cache[oldest]->used) oldest = i;
    }
    log->cache[oldest]->used = 0;
    *ret = log->cache[oldest];
    return VCH_OK;
}

static bool tile_matches(vch_tile_t *tile, const vch_hash_t *want)
{
    fold(tile->node, 0, VCH_TILE_WIDTH);
    return vch_hash_eq(&tile->node[VCH_TILE_NODES - 1], want);
}

static const vch_pending_t *find_pending(const vch_log_t *log, unsigned level, uint64_t n)
{
    for (size_t i = 0; i < log->pending_n; i++)
        if (log->pending[i].level == level && log->pending[i].n == n) return &log->pending[i];
    return NULL;
}

/* Fill `tile` with the full tile whose root is `want`. */
static vch_rc tile_fetch(vch_log_t *log, unsigned level, uint64_t n, const vch_hash_t *want, vch_tile_t *tile,
                         vch_err_t *err)
{
    const vch_pending_t *p = find_pending(log, level, n);
    if (p) {
        memcpy(tile->node, p->hash, sizeof p->hash);
        if (tile_matches(tile, want)) return VCH_OK;
    } else if (read_hashes(log, level, n, VCH_TILE_WIDTH, tile->node, VCH_TILE_WIDTH) == VCH_OK) {
        if (tile_matches(tile, want)) return VCH_OK;
    }
    VCH_TRY(tile_from_segments(log, level, n, tile->node, err));
    if (!tile_matches(tile, want))
        return vch_fail(err, VCH_ERR_CORRUPT, "entries %" PRIu64 " to %" PRIu64 " do not match the log's own root",
                        n << (8 * (level + 1)), ((n + 1) << (8 * (level + 1))) - 1);
    if (log->options.read_only) return VCH_OK;
    /* Mended in passing; if that fails, the next reader tries again. */
    (void)vch_tile_write(log->port, log->dir, (int)level, n, VCH_TILE_WIDTH,
                         vch_slice(tile->node, VCH_TILE_WIDTH * sizeof(vch_hash_t)), NULL);
    return VCH_OK;
}

static vch_tile_t *find_cached(vch_log_t *log, unsigned level, uint64_t n)
{
    for (size_t i = 0; i < VCH_TILE_CACHE && log->cache[i]; i++) {
        vch_tile_t *tile = log->cache[i];
        if (tile->used && tile->level == level && tile->n == n) return tile;
    }
    return NULL;
}

/* Nodes of tile n of a level: those of the open tile, or of a full one whose
 * ancestors are fetched, top down, first. */
static vch_rc tile_nodes(vch_log_t *log, unsigned level, uint64_t n, const vch_hash_t **ret, vch_err_t *err)
{
    unsigned top = level;
    while (top + 1 < VCH_TILE_LEVELS && n >> (8 * (top - level)) != log->tree->size >> (8 * (top + 1))) top++;
    const vch_hash_t *nodes = log->tree->level[top].node;
    while (top > level) {
        uint64_t child = n >> (8 * (top - 1 - level));
        vch_hash_t want = nodes[child % VCH_TILE_WIDTH];
        vch_tile_t *tile = find_cached(log, --top, child);
        if (!tile) {
            VCH_TRY(cache_slot(log, &tile, err));
            VCH_TRY(tile_fetch(log, top, child, &want, tile, err));
            tile->level = top;
            tile->n = child;
        }
        tile->used = ++log->tick;
        nodes = tile->node;
    }
    *ret = nodes;
    return VCH_OK;
}

typedef struct {
    vch_log_t *log;
    vch_err_t *err;
} getter_t;

static vch_rc subtree_get(void *ctx, vch_hash_t *ret, unsigned level, uint64_t n)
{
    getter_t *g = ctx;
    const vch_hash_t *nodes;
    unsigned l = level / 8, k = level % 8;
    uint64_t first = n << k;
    VCH_TRY(tile_nodes(g->log, l, first / VCH_TILE_WIDTH, &nodes, g->err));
    *ret = nodes[node_at(k) + (first % VCH_TILE_WIDTH >> k)];
    return VCH_OK;
}

/* ---- roots and proofs ------------------------------------------------------------------------ */

static vch_rc need_size(vch_log_t *log, uint64_t size, vch_err_t *err)
{
    if (size <= log->size) return VCH_OK;
    return vch_fail(err, VCH_ERR_NOT_FOUND, "the log has %" PRIu64 " entries, not %" PRIu64, log->size, size);
}

static vch_rc root_of(vch_log_t *log, uint64_t size, vch_hash_t *ret, vch_err_t *err)
{
    getter_t g = {log, err};
    vch_hash_t root;
    VCH_TRY(need_size(log, size, err));
    VCH_TRY(vch_subtrees_root(&root, size, subtree_get, &g));
    *ret = root;
    return VCH_OK;
}

vch_rc vch_log_root(vch_log_t *log, uint64_t size, vch_hash_t *ret, vch_err_t *err)
{
    VCH_TRY(vch_log_alive(log, err));
    pthread_mutex_lock(&log->lock);
    vch_rc rc = root_of(log, size, ret, err);
    pthread_mutex_unlock(&log->lock);
    return rc;
}

static vch_rc inclusion(vch_log_t *log, uint64_t index, uint64_t size, vch_hash_t path[VCH_PATH_HASHES_MAX], size_t *n,
                        vch_err_t *err)
{
    getter_t g = {log, err};
    vch_hash_t root, leaf;
    VCH_TRY(root_of(log, size, &root, err));
    VCH_TRY(subtree_get(&g, &leaf, 0, index));
    VCH_TRY(vch_inclusion_prove(path, n, index, size, subtree_get, &g));
    if (!vch_inclusion_verify(index, size, &leaf, path, *n, &root))
        return vch_fail(err, VCH_ERR_INTERNAL, "the proof made for entry %" PRIu64 " does not verify", index);
    return VCH_OK;
}

vch_rc vch_log_inclusion(vch_log_t *log, uint64_t index, uint64_t size, vch_hash_t ret[VCH_PATH_HASHES_MAX],
                         size_t *ret_n, vch_err_t *err)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t n = 0;
    VCH_TRY(vch_log_alive(log, err));
    if (index >= size)
        return vch_fail(err, VCH_ERR_USAGE, "entry %" PRIu64 " is not in a tree of %" PRIu64, index, size);
    pthread_mutex_lock(&log->lock);
    vch_rc rc = inclusion(log, index, size, path, &n, err);
    pthread_mutex_unlock(&log->lock);
    if (rc != VCH_OK) return rc;
    memcpy(ret, path, n * sizeof *path);
    *ret_n = n;
    return VCH_OK;
}

static vch_rc consistency(vch_log_t *log, uint64_t size1, uint64_t size2, vch_hash_t path[VCH_PATH_HASHES_MAX],
                          size_t *n, vch_err_t *err)
{
    getter_t g = {log, err};
    vch_hash_t root1, root2;
    VCH_TRY(root_of(log, size1, &root1, err));
    VCH_TRY(root_of(log, size2, &root2, err));
    VCH_TRY(vch_consistency_prove(path, n, size1, size2, subtree_get, &g));
    if (!vch_consistency_verify(size1, size2, &root1, &root2, path, *n))
        return vch_fail(err, VCH_ERR_INTERNAL, "the proof made for sizes %" PRIu64 " and %" PRIu64 " does not verify",
                        size1, size2);
    return VCH_OK;
}

vch_rc vch_log_consistency(vch_log_t *log, uint64_t size1, uint64_t size2, vch_hash_t ret[VCH_PATH_HASHES_MAX],
                           size_t *ret_n, vch_err_t *err)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t n = 0;
    VCH_TRY(vch_log_alive(log, err));
    if (size1 == 0 || size1 > size2)
        return vch_fail(err, VCH_ERR_USAGE, "a tree of %" PRIu64 " cannot be a beginning of one of %" PRIu64, size1,
                        size2);
    pthread_mutex_lock(&log->lock);
    vch_rc rc = consistency(log, size1, size2, path, &n, err);
    pthread_mutex_unlock(&log->lock);
    if (rc != VCH_OK) return rc;
    memcpy(ret, path, n * sizeof *path);
    *ret_n = n;
    return VCH_OK;
}

/* ---- at open ------------------------------------------------------------------------------------ */

typedef struct {
    vch_log_t *log;
    uint64_t from, to;
} growing_t;

static vch_rc grow_group(void *ctx, const vch_group_head_t *head, const uint8_t *frames, vch_err_t *err)
{
    const growing_t *g = ctx;
    uint64_t from = head->first > g->from ? head->first : g->from;
    uint64_t end = head->first + head->count, to = end < g->to ? end : g->to;
    vch_hash_t *leaves = vch_alloc_array((size_t)(to - from), sizeof *leaves);
    if (!leaves) return vch_fail(err, VCH_ERR_MEMORY, "no memory for %u leaf hashes", head->count);
    vch_group_leaves(leaves, head, frames, from, to);
    vch_log_grow(g->log, leaves, (size_t)(to - from));
    vch_free(leaves);
    return VCH_OK;
}

static vch_rc grow_to(vch_log_t *log, uint64_t to, vch_err_t *err)
{
    growing_t g = {log, log->tree->size, to};
    return vch_log_groups(log, g.from, to, grow_group, &g, err);
}

/* The open tile of one level at a published size: the partial tile, or the
 * full one that replaced it, or the roots of the tiles below. */
static vch_rc restore_level(vch_log_t *log, unsigned level, uint64_t size)
{
    vch_hash_t *node = log->tree->level[level].node;
    unsigned width = (unsigned)(size >> (8 * level)) % VCH_TILE_WIDTH;
    uint64_t n = size >> (8 * (level + 1) - 1) >> 1;
    if (width == 0) return VCH_OK;
    vch_rc rc = read_hashes(log, level, n, width, node, width);
    if (rc != VCH_OK) rc = read_hashes(log, level, n, VCH_TILE_WIDTH, node, width);
    vch_tile_t *below = rc != VCH_OK && level > 0 ? vch_alloc(sizeof *below) : NULL;
    if (below) {
        rc = VCH_OK;
        for (unsigned i = 0; rc == VCH_OK && i < width; i++) {
            rc = read_hashes(log, level - 1, n * VCH_TILE_WIDTH + i, VCH_TILE_WIDTH, below->node, VCH_TILE_WIDTH);
            if (rc != VCH_OK) break;
            fold(below->node, 0, VCH_TILE_WIDTH);
            node[i] = below->node[VCH_TILE_NODES - 1];
        }
        vch_free(below);
    }
    if (rc == VCH_OK) fold(node, 0, width);
    log->tree->level[level].count = width;
    return rc;
}

/* True when the tiles on disk give the signed root. */
static bool restore_from_tiles(vch_log_t *log, uint64_t size, const vch_hash_t *root, vch_err_t *err)
{
    uint64_t whole = size / VCH_TILE_WIDTH * VCH_TILE_WIDTH;
    memset(log->tree, 0, sizeof *log->tree);
    for (unsigned l = 1; l < VCH_TILE_LEVELS; l++)
        if (restore_level(log, l, size) != VCH_OK) return false;
    if (restore_level(log, 0, size) == VCH_OK) {
        log->tree->size = size;
    } else { /* the last few entries are cheaper hashed than looked for */
        log->tree->level[0].count = 0;
        log->tree->size = whole;
        if (grow_to(log, size, err) != VCH_OK) return false;
    }
    vch_hash_t got;
    vch_grow_root(log->tree, &got);
    return vch_hash_eq(&got, root);
}

static vch_rc restore_signed(vch_log_t *log, vch_slice_t note, vch_err_t *err)
{
    vch_hash_t root, got;
    uint64_t size;
    if (!vch_note_parse(note, &size, &root) || size != log->head_size)
        return vch_fail(err, VCH_ERR_CORRUPT, "log/head holds something else than a checkpoint of its size");
    log->tiles_size = size;
    if (restore_from_tiles(log, size, &root, NULL)) return VCH_OK;
    memset(log->tree, 0, sizeof *log->tree);
    log->pending_n = 0;
    log->tiles_size = 0; /* publishing looks for every tile again */
    VCH_TRY(grow_to(log, size, err));
    vch_grow_root(log->tree, &got);
    if (vch_hash_eq(&got, &root)) return VCH_OK;
    return vch_hint(
        err, vch_fail(err, VCH_ERR_CORRUPT, "the first %" PRIu64 " entries do not give the root in log/head", size),
        "the segments or the checkpoint were changed; restore them from a backup or a mirror");
}

/* After a power cut the derived checkpoint may be older than the signed one,
 * and tiles that were never synced may be torn: those of the last segment are
 * written anew. */
static void restore_derived(vch_log_t *log, vch_slice_t note)
{
    const vch_seg_t *tail = vch_log_tail(log);
    bool clean = log->filled <= tail->end;
    if (!clean) {
        log->tiles_size = tail->first < log->head_size ? tail->first : log->head_size;
        log->distrust = log->head_size;
    }
    char path[VCH_PATH_MAX];
    vch_buf_t old;
    vch_buf_init(&old, VCH_NOTE_MAX);
    if (vch_log_path(log, path, "tlog/checkpoint", NULL) == VCH_OK) {
        vch_rc rc = vch_read_all(log->port, &old, path, VCH_NOTE_MAX, NULL);
        bool same = clean && rc == VCH_OK && vch_slice_eq(vch_buf_slice(&old), note);
        if (!same && (vch_tiles_publish(log, log->head_size, NULL) != VCH_OK ||
                      vch_write_derived(log->port, path, note, NULL) != VCH_OK))
            log->tiles_size = 0; /* what can't be written now is looked for, and written, at the next publish */
    }
    vch_buf_free(&old);
}

vch_rc vch_tiles_restore(vch_log_t *log, vch_err_t *err)
{
    vch_head_t head;
    vch_buf_t note;
    const vch_seg_t *tail = vch_log_tail(log);
    uint64_t size = tail->first + tail->count;
    vch_buf_init(&note, VCH_NOTE_MAX);
    vch_rc rc = vch_head_read(log->port, log->head_file, &head, &note, err);
    if (rc == VCH_OK && head.any) log->head_size = head.size;
    if (rc == VCH_OK && head.any && head.size > size)
        rc = vch_fail(err, VCH_ERR_CORRUPT, "log/head is for %" PRIu64 " entries, the segments hold %" PRIu64,
                      head.size, size);
    if (rc == VCH_OK && head.any) rc = restore_signed(log, vch_buf_slice(&note), err);
    if (rc == VCH_OK) rc = grow_to(log, size, err);
    log->size = log->tree->size;
    if (rc == VCH_OK && head.any && !log->options.read_only) restore_derived(log, vch_buf_slice(&note));
    vch_buf_free(&note);
    return rc;
}

/* ---- publishing ------------------------------------------------------------------------------------ */

/* The partial tiles that a full one replaces; whatever stays does no harm. */
static vch_rc remove_one(void *ctx, const char *name)
{
    char path[VCH_PATH_MAX];
    void *const *c = ctx;
    vch_port_t *port = c[0];
    const char *dir = c[1];
    if (vch_path(path, "%s/%s", dir, name) != VCH_OK) return VCH_OK;
    (void)port->disk->remove(port, path);
    return VCH_OK;
}

static void drop_partials(vch_log_t *log, int level, uint64_t n)
{
    char path[VCH_PATH_MAX];
    if (vch_tile_file(path, log->dir, level, n, VCH_TILE_WIDTH) != VCH_OK) return;
    size_t len = strlen(path);
    if (len + 3 > sizeof path) return;
    memcpy(path + len, ".p", 3);
    void *ctx[2] = {log->port, path};
    if (log->port->disk->list(log->port, path, remove_one, ctx) == VCH_OK)
        (void)log->port->disk->remove(log->port, path);
}

static vch_rc copy_hashes(vch_log_t *log, unsigned level, uint64_t n, unsigned width, vch_hash_t *ret, vch_err_t *err)
{
    const vch_hash_t *nodes;
    pthread_mutex_lock(&log->lock);
    vch_rc rc = tile_nodes(log, level, n, &nodes, err);
    if (rc == VCH_OK) memcpy(ret, nodes, width * sizeof *ret);
    pthread_mutex_unlock(&log->lock);
    return rc;
}

static vch_rc publish_tile(vch_log_t *log, unsigned level, uint64_t n, unsigned width, vch_err_t *err)
{
    vch_hash_t hash[VCH_TILE_WIDTH];
    VCH_TRY(copy_hashes(log, level, n, width, hash, err));
    return vch_tile_write(log->port, log->dir, (int)level, n, width, vch_slice(hash, width * sizeof *hash), err);
}

static vch_rc publish_full(vch_log_t *log, unsigned level, uint64_t n, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    vch_rc rc = vch_tile_file(path, log->dir, (int)level, n, VCH_TILE_WIDTH);
    if (rc != VCH_OK) return vch_fail(err, rc, "a tile's path is too long in %s", log->dir);
    bool trusted = n >= log->distrust >> (8 * (level + 1));
    rc = log->port->disk->stat(log->port, path, &st);
    if (trusted && rc == VCH_OK && st.size == VCH_TILE_WIDTH * VCH_HASH_LEN) return VCH_OK;
    return publish_tile(log, level, n, VCH_TILE_WIDTH, err);
}

static vch_rc publish_level(vch_log_t *log, unsigned level, uint64_t old, uint64_t size, vch_err_t *err)
{
    unsigned up = 8 * (level + 1), width = (unsigned)(size >> (8 * level)) % VCH_TILE_WIDTH;
    uint64_t from = up < 64 ? old >> up : 0, to = up < 64 ? size >> up : 0;
    for (uint64_t n = from; n < to; n++) {
        VCH_TRY(publish_full(log, level, n, err));
        drop_partials(log, (int)level, n);
    }
    return width ? publish_tile(log, level, to, width, err) : VCH_OK;
}

typedef struct {
    vch_log_t *log;
    vch_buf_t buf;
    uint64_t n;
    unsigned width;
    uint64_t from, to;
} bundle_t;

static vch_rc bundle_flush(bundle_t *b, vch_err_t *err)
{
    VCH_TRY(vch_tile_write(b->log->port, b->log->dir, -1, b->n, b->width, vch_buf_slice(&b->buf), err));
    if (b->width == VCH_TILE_WIDTH) drop_partials(b->log, -1, b->n);
    b->n++;
    b->width = 0;
    vch_buf_clear(&b->buf);
    return VCH_OK;
}

/* tlog-tiles "Log Entries": each entry behind its length in two bytes. */
static vch_rc bundle_group(void *ctx, const vch_group_head_t *head, const uint8_t *frames, vch_err_t *err)
{
    bundle_t *b = ctx;
    for (uint32_t i = 0; i < head->count; i++) {
        const uint8_t *body = frames + VCH_FRAME_HEAD;
        uint32_t body_n = vch_get_u32(frames), entry_n = vch_get_u32(body);
        uint64_t index = head->first + i;
        uint8_t len[2];
        frames = body + body_n;
        if (index < b->from || index >= b->to) continue;
        vch_put_u16(len, (uint16_t)entry_n);
        vch_rc rc = vch_buf_put(&b->buf, len, 2);
        if (rc == VCH_OK) rc = vch_buf_put(&b->buf, body + 4, entry_n);
        if (rc != VCH_OK) return vch_fail(err, rc, "no memory for a bundle of entries");
        if (++b->width == VCH_TILE_WIDTH) VCH_TRY(bundle_flush(b, err));
    }
    return VCH_OK;
}

static vch_rc publish_bundles(vch_log_t *log, uint64_t old, uint64_t size, vch_err_t *err)
{
    uint64_t n = old / VCH_TILE_WIDTH;
    bundle_t b = {.log = log, .n = n, .from = n * VCH_TILE_WIDTH, .to = size};
    vch_buf_init(&b.buf, (size_t)VCH_TILE_WIDTH * (VCH_ENTRY_BYTES_MAX + 2));
    vch_rc rc = vch_log_groups(log, b.from, size, bundle_group, &b, err);
    if (rc == VCH_OK && b.width > 0) rc = bundle_flush(&b, err);
    vch_buf_free(&b.buf);
    return rc;
}

vch_rc vch_tiles_publish(vch_log_t *log, uint64_t size, vch_err_t *err)
{
    uint64_t old = log->tiles_size;
    vch_rc rc = VCH_OK;
    vch_tiles_flush(log);
    for (unsigned l = 0; rc == VCH_OK && l < VCH_TILE_LEVELS; l++) rc = publish_level(log, l, old, size, err);
    if (rc == VCH_OK) rc = publish_bundles(log, old, size, err);
    if (rc == VCH_OK) log->tiles_size = size;
    return rc;
}
