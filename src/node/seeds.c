/* SPDX-License-Identifier: Apache-2.0 */
/* A trustee's memory, and how it forgets. */
#include "node/seeds_int.h"

#include <stdio.h>

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- the table of keys ------------------------------------------------------------------ */

/* Where the extent is, or where it belongs. */
static size_t place_of(const vch_seeds_t *s, const vch_hash_t *extent, bool *ret_there)
{
    size_t lo = 0, hi = s->places;
    *ret_there = false;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int order = memcmp(s->place[mid].extent.b, extent->b, 32);
        if (order == 0) {
            *ret_there = true;
            return mid;
        }
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void forget_cached(vch_seeds_t *s, const vch_hash_t *extent)
{
    for (unsigned i = 0; i < SD_CACHE; i++)
        if (s->cache[i].seed && vch_hash_eq(&s->cache[i].about.extent, extent)) sd_tree_free(&s->cache[i]);
}

static vch_rc load_tree(vch_seeds_t *s, const sd_place_t *place, sd_tree_t *ret, vch_err_t *err)
{
    char name[96];
    vch_buf_t plain;
    sd_tree_name(name, &place->extent, place->generation);
    vch_buf_init(&plain, SD_FILE_MAX);
    vch_rc rc = sd_read_file(s, name, "VCHTREE1", place->key, &plain, err);
    if (rc == VCH_OK && (rc = sd_get_tree(ret, vch_buf_slice(&plain))) != VCH_OK)
        rc = vch_fail(err, rc == VCH_ERR_MEMORY ? rc : VCH_ERR_CORRUPT, "%s/%s: %s", s->dir, name, vch_rc_text(rc));
    sd_forget(&plain);
    return rc;
}

static vch_rc tree_of(vch_seeds_t *s, const vch_hash_t *extent, sd_tree_t **ret, vch_err_t *err)
{
    bool there;
    size_t at = place_of(s, extent, &there);
    if (!there) return vch_fail(err, VCH_ERR_NOT_FOUND, "this trustee holds nothing of the extent");
    for (unsigned i = 0; i < SD_CACHE; i++)
        if (s->cache[i].seed && vch_hash_eq(&s->cache[i].about.extent, extent)) {
            *ret = &s->cache[i];
            return VCH_OK;
        }
    sd_tree_t *t = &s->cache[s->next_cache];
    s->next_cache = (s->next_cache + 1) % SD_CACHE;
    sd_tree_free(t);
    VCH_TRY(load_tree(s, &s->place[at], t, err));
    *ret = t;
    return VCH_OK;
}

/* ---- one step from generation to generation ------------------------------------------------ */

/* What will be: a table under a key, some of its extents' files new. */
typedef struct {
    vch_seeds_t *s;
    uint64_t generation;
    sd_place_t *place; /* secret */
    size_t places;
    vch_err_t *err;
} step_t;

/* A table with room for one extent more. */
static vch_rc step_begin(step_t *st, vch_seeds_t *s, vch_err_t *err)
{
    *st = (step_t){.s = s, .generation = s->generation + 1, .places = s->places, .err = err};
    if (s->broken) return vch_fail(err, VCH_ERR_IO, "%s: a write failed before; open the trustee again", s->dir);
    if (s->unsettled) VCH_TRY(sd_root_settle(s, err));
    st->place = vch_secret_alloc((s->places + 1) * sizeof *st->place);
    if (!st->place) return no_memory(err);
    if (s->places) memcpy(st->place, s->place, s->places * sizeof *st->place);
    return VCH_OK;
}

static vch_rc step_put(step_t *st, const sd_tree_t *tree, sd_place_t *place)
{
    char name[96];
    vch_buf_t plain;
    place->extent = tree->about.extent;
    place->generation = st->generation;
    VCH_TRY(vch_random(st->s->port, place->key, sizeof place->key, st->err));
    sd_tree_name(name, &place->extent, place->generation);
    vch_buf_init(&plain, SD_FILE_MAX);
    vch_rc rc = sd_put_tree(&plain, tree);
    rc = rc == VCH_OK ? sd_write_file(st->s, name, "VCHTREE1", place->key, &plain, st->err)
                      : vch_fail(st->err, rc, "a key tree can't be kept: %s", vch_rc_text(rc));
    sd_forget(&plain);
    return rc;
}

static void remove_wiped(vch_seeds_t *s, const char *name)
{
    static const uint8_t zeros[4096];
    char path[VCH_PATH_MAX];
    uint64_t size = 0;
    vch_file_t *file = NULL;
    if (vch_path(path, "%s/%s", s->dir, name) != VCH_OK) return;
    if (vch_file_open(s->port, &file, path, VCH_OPEN_WRITE, NULL) == VCH_OK) {
        vch_rc rc = s->port->disk->size(s->port, file, &size);
        for (uint64_t at = 0; rc == VCH_OK && at < size; at += sizeof zeros)
            rc = s->port->disk->write(s->port, file, zeros, vch_min(sizeof zeros, (size_t)(size - at)), at);
        if (rc == VCH_OK) (void)s->port->disk->sync(s->port, file);
        vch_file_close(s->port, file);
    }
    (void)s->port->disk->remove(s->port, path); /* best effort: what counts is that its key is gone */
}

static void remove_old(vch_seeds_t *s, const step_t *st, uint64_t old_generation)
{
    char name[96];
    for (size_t i = 0, k = 0; i < s->places; i++) {
        while (k < st->places && memcmp(st->place[k].extent.b, s->place[i].extent.b, 32) < 0) k++;
        bool stays = k < st->places && vch_hash_eq(&st->place[k].extent, &s->place[i].extent) &&
                     st->place[k].generation == s->place[i].generation;
        if (stays) continue;
        sd_tree_name(name, &s->place[i].extent, s->place[i].generation);
        remove_wiped(s, name);
    }
    sd_keys_name(name, old_generation);
    remove_wiped(s, name);
}

static vch_rc next_root(step_t *st, bool fresh)
{
    vch_seeds_t *s = st->s;
    s->root[SD_NEXT] = s->root[SD_NOW];
    if (!fresh) return VCH_OK;
    VCH_TRY(vch_random(s->port, s->root[SD_NEXT].key, 32, st->err));
    return sd_root_wrap(s, st->err);
}

/* fresh: nothing that lies on the disk now is to be opened by what will be there. */
static vch_rc step_end(step_t *st, bool fresh)
{
    vch_seeds_t *s = st->s;
    char name[96];
    vch_buf_t table;
    uint64_t old = s->generation;
    VCH_TRY(next_root(st, fresh));
    vch_buf_init(&table, SD_FILE_MAX);
    sd_keys_name(name, st->generation);
    vch_rc rc = sd_put_places(&table, st->place, st->places);
    rc = rc == VCH_OK ? sd_write_file(s, name, "VCHSKEY1", s->root[SD_NEXT].key, &table, st->err)
                      : vch_fail(st->err, rc, "a trustee's table of keys can't be made: %s", vch_rc_text(rc));
    sd_forget(&table);
    VCH_TRY(rc);
    s->broken = true; /* until it is known which key is in force */
    VCH_TRY(sd_root_put(s, st->generation, st->err));
    s->broken = false;
    remove_old(s, st, old);
    sd_place_t *gone = s->place;
    s->place = st->place;
    s->places = st->places;
    st->place = NULL;
    vch_secret_free(gone);
    return sd_root_settle(s, st->err);
}

static void step_free(step_t *st) { vch_secret_free(st->place); }

/* ---- open, close ------------------------------------------------------------------------------- */

static vch_rc load_table(vch_seeds_t *s, vch_err_t *err)
{
    char name[96];
    vch_buf_t plain;
    sd_keys_name(name, s->generation);
    vch_buf_init(&plain, SD_FILE_MAX);
    vch_rc rc = sd_read_file(s, name, "VCHSKEY1", s->root[SD_NOW].key, &plain, err);
    if (rc == VCH_OK && (rc = sd_get_places(&s->place, &s->places, vch_buf_slice(&plain))) != VCH_OK)
        rc = vch_fail(err, rc == VCH_ERR_MEMORY ? rc : VCH_ERR_CORRUPT, "%s/%s: %s", s->dir, name, vch_rc_text(rc));
    sd_forget(&plain);
    return rc;
}

typedef struct {
    vch_seeds_t *s;
    bool any; /* a file that a first try can't have left */
} look_t;

static vch_rc look_at(void *ctx, const char *name)
{
    look_t *k = ctx;
    if (strcmp(name, "root") != 0 && strcmp(name, "lock") != 0 && strcmp(name, "keys.1") != 0) k->any = true;
    return VCH_OK;
}

/* An empty root file beside other files is a loss, not a beginning.  What a
 * first try that was cut off left is its table of keys, of generation 1. */
static vch_rc create(vch_seeds_t *s, vch_err_t *err)
{
    look_t k = {.s = s};
    step_t st;
    vch_rc rc = s->port->disk->list(s->port, s->dir, look_at, &k);
    if (rc != VCH_OK) return vch_fail(err, rc, "%s can't be listed: %s", s->dir, vch_rc_text(rc));
    if (k.any) return vch_fail(err, VCH_ERR_CORRUPT, "%s/root is missing, cut or damaged", s->dir);
    VCH_TRY(step_begin(&st, s, err));
    rc = step_end(&st, true);
    step_free(&st);
    return rc;
}

typedef struct {
    vch_seeds_t *s;
    char (*name)[96];
    size_t n, cap;
} strays_t;

static bool belongs(const vch_seeds_t *s, const char *name)
{
    char want[96];
    vch_hash_t extent;
    bool there;
    if (strcmp(name, "root") == 0 || strcmp(name, "lock") == 0) return true;
    sd_keys_name(want, s->generation);
    if (strcmp(name, want) == 0) return true;
    if (strlen(name) < 66 || !vch_unhex(extent.b, 32, name, 64)) return false;
    size_t at = place_of(s, &extent, &there);
    if (!there) return false;
    sd_tree_name(want, &extent, s->place[at].generation);
    return strcmp(name, want) == 0;
}

static vch_rc note_stray(void *ctx, const char *name)
{
    strays_t *k = ctx;
    if (belongs(k->s, name) || strlen(name) >= 96) return VCH_OK;
    if (k->n == k->cap) {
        size_t cap = k->cap ? 2 * k->cap : 16;
        void *more = vch_resize(k->name, cap * sizeof *k->name);
        if (!more) return VCH_ERR_MEMORY;
        k->name = more;
        k->cap = cap;
    }
    snprintf(k->name[k->n++], sizeof *k->name, "%s", name);
    return VCH_OK;
}

static vch_rc clear_strays(vch_seeds_t *s, vch_err_t *err)
{
    strays_t k = {.s = s};
    vch_rc rc = s->port->disk->list(s->port, s->dir, note_stray, &k);
    for (size_t i = 0; rc == VCH_OK && i < k.n; i++) remove_wiped(s, k.name[i]);
    vch_free(k.name);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "%s can't be cleared: %s", s->dir, vch_rc_text(rc));
}

static vch_rc open_store(vch_seeds_t *s, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    bool there;
    s->root = vch_secret_alloc(SD_ROOTS * sizeof *s->root);
    if (!s->root) return no_memory(err);
    memset(s->root, 0, SD_ROOTS * sizeof *s->root);
    VCH_TRY(vch_mkdirs(s->port, s->dir, err));
    vch_rc rc = vch_path(path, "%s/lock", s->dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    VCH_TRY(vch_file_open(s->port, &s->lock, path, VCH_OPEN_CREATE, err));
    rc = s->port->disk->lock(s->port, s->lock, VCH_LOCK_EXCLUSIVE, 0);
    if (rc != VCH_OK) return vch_fail(err, rc, "another process uses the trustee's %s", s->dir);
    VCH_TRY(sd_root_open(s, &there, err));
    if (!there) return create(s, err);
    VCH_TRY(load_table(s, err));
    VCH_TRY(sd_root_settle(s, err));
    return clear_strays(s, err);
}

vch_rc vch_seeds_open(vch_seeds_t **ret, vch_port_t *port, const char *dir, const vch_seeds_guard_t *guard,
                      vch_err_t *err)
{
    vch_seeds_t *s = vch_alloc(sizeof *s);
    if (!s) return no_memory(err);
    s->port = port;
    s->guard = guard;
    vch_rc rc = vch_path(s->dir, "%s", dir);
    rc = rc == VCH_OK ? open_store(s, err) : vch_fail(err, rc, "the path is too long");
    if (rc == VCH_OK)
        *ret = s;
    else
        vch_seeds_close(s);
    return rc;
}

void vch_seeds_close(vch_seeds_t *s)
{
    if (!s) return;
    for (unsigned i = 0; i < SD_CACHE; i++) sd_tree_free(&s->cache[i]);
    vch_secret_free(s->place);
    vch_secret_free(s->root);
    vch_file_close(s->port, s->root_file);
    vch_file_close(s->port, s->lock);
    vch_free(s);
}

/* ---- remembering ----------------------------------------------------------------------------------- */

static void fill_tree(sd_tree_t *t, const vch_tree_about_t *about, uint8_t trustee, const uint8_t *seed,
                      const vch_hash_t *root)
{
    t->about = *about;
    t->trustee = trustee;
    for (unsigned set = 0; set < vch_kt_sets(about->n, about->t); set++) {
        if (!vch_kt_holds(vch_kt_set(about->n, about->t, set), trustee)) continue;
        unsigned i = t->held++;
        t->set[i] = (uint8_t)set;
        t->root[i] = root[i];
        t->n[i] = 1;
        t->seed[i].node = (vch_kt_node_t){0, 0};
        memcpy(t->seed[i].key, seed + (size_t)i * VCH_KT_KEY, VCH_KT_KEY);
    }
}

static vch_rc add_tree(vch_seeds_t *s, const sd_tree_t *t, size_t at, vch_err_t *err)
{
    step_t st;
    vch_rc rc = step_begin(&st, s, err);
    if (rc == VCH_OK) {
        memmove(&st.place[at + 1], &st.place[at], (st.places - at) * sizeof *st.place);
        st.places++;
        st.place[at].destroys = s->guard && s->guard->destroys;
        rc = step_put(&st, t, &st.place[at]);
    }
    if (rc == VCH_OK) rc = step_end(&st, false);
    step_free(&st);
    return rc;
}

vch_rc vch_seeds_add(vch_seeds_t *s, const vch_tree_about_t *about, uint8_t trustee, const uint8_t *seed,
                     const vch_hash_t *root, vch_err_t *err)
{
    bool there;
    sd_tree_t t = {0};
    size_t at = place_of(s, &about->extent, &there);
    if (there) return vch_fail(err, VCH_ERR_CONFLICT, "seeds of this extent are kept already");
    if (s->places >= SD_EXTENTS_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "a trustee holds at most %u extents", SD_EXTENTS_MAX);
    if (trustee >= about->n || !vch_vault_held(about->n, about->t))
        return vch_fail(err, VCH_ERR_LIMIT, "no such position among the trustees");
    t.seed = vch_secret_alloc(VCH_VAULT_HELD_MAX * sizeof *t.seed);
    if (!t.seed) return no_memory(err);
    fill_tree(&t, about, trustee, seed, root);
    vch_rc rc = add_tree(s, &t, at, err);
    sd_tree_free(&t);
    return rc;
}

vch_rc vch_seeds_about(vch_seeds_t *s, const vch_hash_t *extent, vch_tree_about_t *ret, uint8_t *ret_trustee,
                       vch_hash_t *ret_root, vch_err_t *err)
{
    sd_tree_t *t;
    VCH_TRY(tree_of(s, extent, &t, err));
    *ret = t->about;
    *ret_trustee = t->trustee;
    if (ret_root) memcpy(ret_root, t->root, t->held * sizeof *ret_root);
    return VCH_OK;
}

vch_rc vch_seeds_get(vch_seeds_t *s, const vch_hash_t *extent, uint8_t set, vch_kt_node_t node, vch_kt_seed_t *ret,
                     vch_err_t *err)
{
    sd_tree_t *t;
    VCH_TRY(tree_of(s, extent, &t, err));
    const vch_kt_seed_t *seed = t->seed;
    for (unsigned i = 0; i < t->held; seed += t->n[i++]) {
        if (t->set[i] != set) continue;
        const vch_kt_seed_t *from = vch_kt_find(seed, t->n[i], node);
        if (from && vch_kt_descend(ret, from, node)) return VCH_OK;
        return vch_fail(err, VCH_ERR_DENIED, "a row below was erased: its key is gone");
    }
    return vch_fail(err, VCH_ERR_NOT_FOUND, "this trustee does not hold key tree %u", set);
}

/* ---- many nodes ------------------------------------------------------------------------------------- */

#define TREE_WORTH 16u /* so many nodes of a block cost more one by one than the whole block */

typedef struct {
    const vch_kt_seed_t *seed; /* of the tree, from the left */
    size_t seeds;
    uint8_t *tree; /* secret: a block's */
    vch_err_t *err;
} many_t;

static vch_rc gone(const many_t *m)
{
    return vch_fail(m->err, VCH_ERR_DENIED, "a row below was erased: its key is gone");
}

static vch_rc get_one(const many_t *m, vch_kt_node_t node, uint8_t *ret)
{
    vch_kt_seed_t one;
    const vch_kt_seed_t *from = vch_kt_find(m->seed, m->seeds, node);
    if (!from || !vch_kt_descend(&one, from, node)) return gone(m);
    memcpy(ret, one.key, VCH_KT_KEY);
    vch_wipe(&one, sizeof one);
    return VCH_OK;
}

/* Nodes [0, n) of one block, out of all of its nodes. */
static bool get_from_tree(const many_t *m, const vch_kt_node_t *node, size_t n, uint32_t block, uint8_t *ret)
{
    const vch_kt_seed_t *from = vch_kt_find(m->seed, m->seeds, (vch_kt_node_t){VCH_KT_BLOCK_LEVEL, block});
    if (!from || !vch_kt_tree(m->tree, from, block)) return false;
    for (size_t i = 0; i < n; i++) {
        unsigned down = node[i].level - VCH_KT_BLOCK_LEVEL;
        size_t at = ((size_t)1 << down) - 1 + (node[i].number - (block << down));
        memcpy(ret + i * VCH_KT_KEY, m->tree + at * VCH_KT_KEY, VCH_KT_KEY);
    }
    return true;
}

static size_t run_of(const vch_kt_node_t *node, size_t n, uint32_t block)
{
    const vch_kt_node_t top = {VCH_KT_BLOCK_LEVEL, block};
    size_t i = 0;
    while (i < n && node[i].level >= VCH_KT_BLOCK_LEVEL && vch_kt_below(node[i], top)) i++;
    return i;
}

static vch_rc get_many(const many_t *m, const vch_kt_node_t *node, size_t n, uint8_t *ret)
{
    for (size_t i = 0; i < n;) {
        if (!vch_kt_valid(node[i])) return gone(m);
        uint32_t block = vch_kt_first(node[i]) / VCH_KT_BLOCK;
        size_t run = run_of(node + i, n - i, block);
        if (run >= TREE_WORTH && get_from_tree(m, node + i, run, block, ret + i * VCH_KT_KEY)) {
            i += run;
            continue;
        }
        for (run = run ? run : 1; run; run--, i++) VCH_TRY(get_one(m, node[i], ret + i * VCH_KT_KEY));
    }
    return VCH_OK;
}

static vch_rc find_set(const sd_tree_t *t, uint8_t set, many_t *ret, vch_err_t *err)
{
    const vch_kt_seed_t *seed = t->seed;
    for (unsigned i = 0; i < t->held; seed += t->n[i++])
        if (t->set[i] == set) {
            ret->seed = seed;
            ret->seeds = t->n[i];
            return VCH_OK;
        }
    return vch_fail(err, VCH_ERR_NOT_FOUND, "this trustee does not hold key tree %u", set);
}

vch_rc vch_seeds_get_all(vch_seeds_t *s, const vch_hash_t *extent, uint8_t set, const vch_kt_node_t *node, size_t n,
                         uint8_t *ret, vch_err_t *err)
{
    sd_tree_t *t;
    many_t m = {.err = err};
    VCH_TRY(tree_of(s, extent, &t, err));
    VCH_TRY(find_set(t, set, &m, err));
    m.tree = vch_secret_alloc((size_t)VCH_KT_BLOCK_NODES * VCH_KT_KEY);
    if (!m.tree) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_rc rc = get_many(&m, node, n, ret);
    vch_secret_free(m.tree);
    if (rc != VCH_OK) vch_wipe(ret, n * VCH_KT_KEY);
    return rc;
}

/* ---- forgetting --------------------------------------------------------------------------------------- */

typedef struct {
    vch_kt_seed_t *out; /* secret */
    size_t n;
    const vch_forget_t *leaf; /* not yet dealt with */
    size_t leaves;
    uint64_t done;
} prune_t;

/* What remains of this seed without the leaves below it: at most 24 levels deep. */
static void prune(prune_t *p, const vch_kt_seed_t *seed)
{
    uint32_t end = vch_kt_first(seed->node) + vch_kt_count(seed->node);
    if (p->leaves == 0 || p->leaf->leaf >= end) {
        p->out[p->n++] = *seed;
        return;
    }
    if (seed->node.level == VCH_KT_LEAF_LEVEL) {
        p->done++;
        while (p->leaves && p->leaf->leaf < end) p->leaf++, p->leaves--;
        return;
    }
    for (uint32_t b = 0; b < 2; b++) {
        vch_kt_node_t node = {(uint8_t)(seed->node.level + 1), 2 * seed->node.number + b};
        vch_kt_seed_t child;
        if (vch_kt_descend(&child, seed, node)) prune(p, &child);
        vch_wipe(&child, sizeof child);
    }
}

static void prune_tree(prune_t *p, const vch_kt_seed_t *seed, size_t n, const vch_forget_t *leaf, size_t leaves)
{
    p->leaf = leaf;
    p->leaves = leaves;
    for (size_t i = 0; i < n; i++) {
        /* leaves that no seed is above are forgotten already */
        while (p->leaves && p->leaf->leaf < vch_kt_first(seed[i].node)) p->leaf++, p->leaves--;
        prune(p, &seed[i]);
    }
}

/* ret: the tree without these leaves. */
static vch_rc pruned(const sd_tree_t *t, const vch_forget_t *leaf, size_t leaves, sd_tree_t *ret, uint64_t *ret_done)
{
    size_t total = 0;
    const vch_kt_seed_t *seed = t->seed;
    for (unsigned i = 0; i < t->held; i++) total += t->n[i];
    *ret = *t;
    ret->seed = vch_secret_alloc((total + leaves * t->held * VCH_KT_LEAF_LEVEL + 1) * sizeof *ret->seed);
    if (!ret->seed) return VCH_ERR_MEMORY;
    prune_t p = {.out = ret->seed};
    for (unsigned i = 0; i < t->held; seed += t->n[i++]) {
        size_t before = p.n;
        p.done = 0;
        prune_tree(&p, seed, t->n[i], leaf, leaves);
        ret->n[i] = p.n - before;
    }
    *ret_done += p.done;
    return VCH_OK;
}

static vch_rc forget_extent(step_t *st, sd_place_t *place, const vch_forget_t *leaf, size_t n, uint64_t *done)
{
    sd_tree_t *old, less = {0};
    uint64_t before = *done;
    VCH_TRY(tree_of(st->s, &leaf->extent, &old, st->err));
    vch_rc rc = pruned(old, leaf, n, &less, done);
    if (rc != VCH_OK) return no_memory(st->err);
    if (*done != before) rc = step_put(st, &less, place);
    sd_tree_free(&less);
    return rc;
}

static vch_rc forget_all(step_t *st, const vch_forget_t *f, size_t n, uint64_t *done)
{
    for (size_t i = 0, end; i < n; i = end) {
        bool there;
        if (i && memcmp(f[i - 1].extent.b, f[i].extent.b, 32) > 0)
            return vch_fail(st->err, VCH_ERR_USAGE, "extents to forget from come in order");
        for (end = i + 1; end < n && vch_hash_eq(&f[end].extent, &f[i].extent); end++) {
            if (f[end].leaf < f[end - 1].leaf)
                return vch_fail(st->err, VCH_ERR_USAGE, "leaves to forget come in order");
        }
        size_t at = place_of(st->s, &f[i].extent, &there);
        if (there) VCH_TRY(forget_extent(st, &st->place[at], f + i, end - i, done));
    }
    return VCH_OK;
}

vch_rc vch_seeds_forget(vch_seeds_t *s, const vch_forget_t *f, size_t n, uint64_t *ret_done, vch_err_t *err)
{
    step_t st;
    uint64_t done = 0;
    vch_rc rc = step_begin(&st, s, err);
    if (rc == VCH_OK) rc = forget_all(&st, f, n, &done);
    if (rc == VCH_OK && done) rc = step_end(&st, true);
    step_free(&st);
    for (size_t i = 0; i < n; i++) forget_cached(s, &f[i].extent);
    if (rc == VCH_OK && ret_done) *ret_done = done;
    return rc;
}

vch_rc vch_seeds_drop(vch_seeds_t *s, const vch_hash_t *extent, vch_err_t *err)
{
    step_t st;
    bool there;
    size_t at = place_of(s, extent, &there);
    if (!there) return vch_fail(err, VCH_ERR_NOT_FOUND, "this trustee holds nothing of the extent");
    vch_rc rc = step_begin(&st, s, err);
    if (rc == VCH_OK) {
        st.places--;
        memmove(&st.place[at], &st.place[at + 1], (st.places - at) * sizeof *st.place);
        rc = step_end(&st, true);
    }
    step_free(&st);
    forget_cached(s, extent);
    return rc;
}

bool vch_seeds_destroys(const vch_seeds_t *s, const vch_hash_t *extent)
{
    bool there;
    size_t at = place_of(s, extent, &there);
    return there && s->place[at].destroys;
}

vch_rc vch_seeds_rewrap(vch_seeds_t *s, vch_err_t *err)
{
    step_t st;
    vch_rc rc = step_begin(&st, s, err);
    for (size_t i = 0; rc == VCH_OK && i < st.places; i++)
        if (!s->guard || !s->guard->destroys) st.place[i].destroys = false;
    if (rc == VCH_OK) rc = step_end(&st, true);
    step_free(&st);
    return rc;
}

vch_rc vch_seeds_each(vch_seeds_t *s, vch_seeds_fn fn, void *ctx, vch_err_t *err)
{
    (void)err;
    for (size_t i = 0; i < s->places; i++) VCH_TRY(fn(ctx, &s->place[i].extent));
    return VCH_OK;
}
