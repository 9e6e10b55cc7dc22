/* SPDX-License-Identifier: Apache-2.0 */
/* A seed store's files.
 *
 *   root          two slots of 512 bytes, one in force:
 *                 "VCHSEED1" ‖ u64 generation ‖ u32 n ‖ wrapped root key n ‖ u32 crc32c of all before
 *   keys.<gen>    "VCHSKEY1" ‖ box: u32 n ‖ n × (extent 32 ‖ u64 generation ‖ key 32), in order of extents;
 *                 the top bit of a generation: only guards that destroy ever kept the root key above
 *   <extent>.<gen> "VCHTREE1" ‖ box: network 32 ‖ extent 32 ‖ u8 n ‖ u8 t ‖ u8 groups ‖ u32 rows ‖ u8 trustee ‖ u8
 * trees ‖ trees × (u8 set ‖ R_T 32 ‖ u32 seeds ‖ seeds × (u8 level ‖ u32 number ‖ seed 32))
 *
 * A box is bound to its file's name, which has the generation. */
#include <stdio.h>

#include "node/seeds_int.h"

#define SLOT 512u
#define DESTROYS (UINT64_C(1) << 63)

_Static_assert(VCH_WRAPPED_MAX == SLOT - 24u, "what is wrapped fits its slot");

#define SEED_SIZE 37u
#define PLACE_SIZE 72u
#define TREE_HEAD 73u

void sd_forget(vch_buf_t *b)
{
    if (b->p) vch_wipe(b->p, b->cap);
    vch_buf_free(b);
}

void sd_tree_free(sd_tree_t *t)
{
    vch_secret_free(t->seed);
    *t = (sd_tree_t){0};
}

void sd_tree_name(char ret[96], const vch_hash_t *extent, uint64_t generation)
{
    vch_hex(ret, extent->b, 32);
    snprintf(ret + 64, 32, ".%llu", (unsigned long long)generation);
}

void sd_keys_name(char ret[96], uint64_t generation) { snprintf(ret, 96, "keys.%llu", (unsigned long long)generation); }

/* ---- trees ----------------------------------------------------------------------------- */

static void put_seed(uint8_t *to, const vch_kt_seed_t *s)
{
    to[0] = s->node.level;
    vch_put_u32(to + 1, s->node.number);
    memcpy(to + 5, s->key, VCH_KT_KEY);
}

vch_rc sd_put_tree(vch_buf_t *b, const sd_tree_t *t)
{
    uint8_t *to;
    const vch_kt_seed_t *seed = t->seed;
    size_t size = TREE_HEAD;
    for (unsigned i = 0; i < t->held; i++) size += 37 + t->n[i] * SEED_SIZE;
    VCH_TRY(vch_buf_extend(b, size, &to)); /* at once: a buffer that grows leaves copies */
    memcpy(to, t->about.network.b, 32);
    memcpy(to + 32, t->about.extent.b, 32);
    to[64] = t->about.n;
    to[65] = t->about.t;
    to[66] = t->about.groups;
    vch_put_u32(to + 67, t->about.rows);
    to[71] = t->trustee;
    to[72] = t->held;
    to += TREE_HEAD;
    for (unsigned i = 0; i < t->held; i++) {
        to[0] = t->set[i];
        memcpy(to + 1, t->root[i].b, 32);
        vch_put_u32(to + 33, (uint32_t)t->n[i]);
        to += 37;
        for (size_t k = 0; k < t->n[i]; k++, to += SEED_SIZE) put_seed(to, seed++);
    }
    return VCH_OK;
}

static bool head_fits(const sd_tree_t *t)
{
    const vch_tree_about_t *a = &t->about;
    return vch_kt_sets(a->n, a->t) && a->groups >= 1 && a->groups <= VCH_KT_GROUPS_MAX && a->rows >= 1 &&
           a->rows <= VCH_KT_ROWS_MAX && t->trustee < a->n && t->held == vch_vault_held(a->n, a->t);
}

/* Seeds of one tree: possible nodes, from the left, none below another. */
static bool get_seeds(vch_kt_seed_t *to, const uint8_t *from, size_t n)
{
    uint32_t end = 0;
    for (size_t i = 0; i < n; i++, from += SEED_SIZE) {
        to[i].node = (vch_kt_node_t){from[0], vch_get_u32(from + 1)};
        memcpy(to[i].key, from + 5, VCH_KT_KEY);
        if (!vch_kt_valid(to[i].node) || vch_kt_first(to[i].node) < end) return false;
        end = vch_kt_first(to[i].node) + vch_kt_count(to[i].node);
    }
    return true;
}

static vch_rc get_trees(sd_tree_t *t, vch_slice_t rest, size_t seeds)
{
    size_t done = 0;
    for (unsigned i = 0; i < t->held; i++) {
        if (rest.n < 37) return VCH_ERR_FORMAT;
        t->set[i] = rest.p[0];
        memcpy(t->root[i].b, rest.p + 1, 32);
        t->n[i] = vch_get_u32(rest.p + 33);
        rest = vch_slice(rest.p + 37, rest.n - 37);
        if (t->n[i] > seeds - done || rest.n / SEED_SIZE < t->n[i]) return VCH_ERR_FORMAT;
        if (!get_seeds(t->seed + done, rest.p, t->n[i])) return VCH_ERR_FORMAT;
        done += t->n[i];
        rest = vch_slice(rest.p + t->n[i] * SEED_SIZE, rest.n - t->n[i] * SEED_SIZE);
    }
    return rest.n == 0 ? VCH_OK : VCH_ERR_FORMAT;
}

vch_rc sd_get_tree(sd_tree_t *ret, vch_slice_t b)
{
    sd_tree_t t = {0};
    if (b.n < TREE_HEAD) return VCH_ERR_FORMAT;
    memcpy(t.about.network.b, b.p, 32);
    memcpy(t.about.extent.b, b.p + 32, 32);
    t.about.n = b.p[64];
    t.about.t = b.p[65];
    t.about.groups = b.p[66];
    t.about.rows = vch_get_u32(b.p + 67);
    t.trustee = b.p[71];
    t.held = b.p[72];
    if (!head_fits(&t)) return VCH_ERR_FORMAT;
    size_t rest = b.n - TREE_HEAD;
    if (rest < 37u * t.held || (rest - 37u * t.held) % SEED_SIZE) return VCH_ERR_FORMAT;
    size_t seeds = (rest - 37u * t.held) / SEED_SIZE;
    t.seed = vch_secret_alloc((seeds + 1) * sizeof *t.seed);
    if (!t.seed) return VCH_ERR_MEMORY;
    vch_rc rc = get_trees(&t, vch_slice(b.p + TREE_HEAD, rest), seeds);
    if (rc == VCH_OK)
        *ret = t;
    else
        sd_tree_free(&t);
    return rc;
}

/* ---- the table of keys -------------------------------------------------------------------- */

vch_rc sd_put_places(vch_buf_t *b, const sd_place_t *p, size_t n)
{
    uint8_t *to;
    VCH_TRY(vch_buf_extend(b, 4 + n * PLACE_SIZE, &to));
    vch_put_u32(to, (uint32_t)n);
    to += 4;
    for (size_t i = 0; i < n; i++, to += PLACE_SIZE) {
        memcpy(to, p[i].extent.b, 32);
        vch_put_u64(to + 32, p[i].generation | (p[i].destroys ? DESTROYS : 0));
        memcpy(to + 40, p[i].key, 32);
    }
    return VCH_OK;
}

vch_rc sd_get_places(sd_place_t **ret, size_t *ret_n, vch_slice_t b)
{
    if (b.n < 4 || (b.n - 4) % PLACE_SIZE || vch_get_u32(b.p) != (b.n - 4) / PLACE_SIZE) return VCH_ERR_FORMAT;
    size_t n = (b.n - 4) / PLACE_SIZE;
    sd_place_t *p = vch_secret_alloc((n + 1) * sizeof *p);
    if (!p) return VCH_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *from = b.p + 4 + i * PLACE_SIZE;
        memcpy(p[i].extent.b, from, 32);
        p[i].generation = vch_get_u64(from + 32) & ~DESTROYS;
        p[i].destroys = vch_get_u64(from + 32) & DESTROYS;
        memcpy(p[i].key, from + 40, 32);
        if (i && memcmp(p[i - 1].extent.b, p[i].extent.b, 32) >= 0) {
            vch_secret_free(p);
            return VCH_ERR_FORMAT;
        }
    }
    *ret = p;
    *ret_n = n;
    return VCH_OK;
}

/* ---- files under a key ----------------------------------------------------------------------- */

static vch_rc write_synced(vch_seeds_t *s, const char *path, const vch_buf_t *b, vch_err_t *err)
{
    vch_file_t *file = NULL;
    vch_rc rc = s->port->disk->remove(s->port, path); /* of a try that was cut off */
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "%s: %s", path, vch_rc_text(rc));
    VCH_TRY(vch_file_open(s->port, &file, path, VCH_OPEN_NEW, err));
    rc = s->port->disk->write(s->port, file, b->p, b->n, 0);
    if (rc == VCH_OK) rc = s->port->disk->sync(s->port, file);
    vch_file_close(s->port, file);
    if (rc == VCH_OK) rc = s->port->disk->sync_dir(s->port, s->dir);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "%s can't be written: %s", path, vch_rc_text(rc));
}

vch_rc sd_write_file(vch_seeds_t *s, const char *name, const char magic[8], const uint8_t key[32],
                     const vch_buf_t *plain, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    uint8_t nonce[24];
    vch_buf_t b;
    vch_rc rc = vch_path(path, "%s/%s", s->dir, name);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    VCH_TRY(vch_random(s->port, nonce, sizeof nonce, err));
    vch_buf_init(&b, SD_FILE_MAX);
    rc = vch_buf_put(&b, magic, 8);
    if (rc == VCH_OK) rc = vch_lock_box(&b, vch_buf_slice(plain), key, vch_str(name), nonce);
    rc = rc == VCH_OK ? write_synced(s, path, &b, err) : vch_fail(err, rc, "a trustee's file can't be made");
    vch_buf_free(&b);
    return rc;
}

static vch_rc open_box(const vch_buf_t *b, const char *name, const char magic[8], const uint8_t key[32], vch_buf_t *ret)
{
    uint8_t *to;
    if (b->n < 8 + VCH_LOCKED_OVERHEAD || memcmp(b->p, magic, 8) != 0) return VCH_ERR_CORRUPT;
    VCH_TRY(vch_buf_extend(ret, b->n - 8 - VCH_LOCKED_OVERHEAD, &to));
    vch_rc rc = vch_unlock_box(to, vch_slice(b->p + 8, b->n - 8), key, vch_str(name));
    return rc == VCH_OK ? rc : VCH_ERR_CORRUPT;
}

vch_rc sd_read_file(vch_seeds_t *s, const char *name, const char magic[8], const uint8_t key[32], vch_buf_t *ret_plain,
                    vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_buf_t b;
    vch_rc rc = vch_path(path, "%s/%s", s->dir, name);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    vch_buf_init(&b, SD_FILE_MAX);
    rc = vch_read_all(s->port, &b, path, SD_FILE_MAX, err);
    if (rc == VCH_ERR_NOT_FOUND) rc = vch_fail(err, VCH_ERR_CORRUPT, "%s is missing", path);
    if (rc == VCH_OK && (rc = open_box(&b, name, magic, key, ret_plain)) != VCH_OK)
        vch_fail(err, rc, "%s: %s", path, rc == VCH_ERR_CORRUPT ? "damaged, or an older copy" : vch_rc_text(rc));
    vch_buf_free(&b);
    return rc;
}

/* ---- the root file ------------------------------------------------------------------------------ */

static bool slot_good(const uint8_t *p, uint64_t *ret_generation, vch_slice_t *ret_wrapped)
{
    uint32_t n = vch_get_u32(p + 16);
    if (memcmp(p, "VCHSEED1", 8) != 0 || n < 1 || n > VCH_WRAPPED_MAX) return false;
    if (vch_get_u32(p + 20 + n) != vch_crc32c(0, p, 20 + n)) return false;
    *ret_generation = vch_get_u64(p + 8);
    *ret_wrapped = vch_slice(p + 20, n);
    return true;
}

static vch_rc zero_slot(vch_seeds_t *s, unsigned slot, vch_err_t *err)
{
    static const uint8_t zeros[SLOT];
    vch_rc rc = s->port->disk->write(s->port, s->root_file, zeros, SLOT, (uint64_t)slot * SLOT);
    if (rc == VCH_OK) rc = s->port->disk->sync(s->port, s->root_file);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the old root key can't be destroyed: %s", vch_rc_text(rc));
}

static bool all_zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++) any |= p[i];
    return any == 0;
}

static vch_rc unwrap(vch_seeds_t *s, vch_err_t *err)
{
    sd_root_t *now = &s->root[SD_NOW];
    vch_slice_t wrapped = vch_slice(now->wrapped, now->n);
    if (s->guard) return s->guard->unwrap(s->guard->ctx, now->key, wrapped, err);
    if (now->n != 32) return vch_fail(err, VCH_ERR_KEY, "the trustee's root key is wrapped, and no guard was given");
    memcpy(now->key, now->wrapped, 32);
    return VCH_OK;
}

static void keep_wrapped(sd_root_t *to, vch_slice_t wrapped)
{
    memcpy(to->wrapped, wrapped.p, wrapped.n);
    to->n = wrapped.n;
}

/* A slot that isn't in force may hold an old root key even when its checksum is
 * wrong: zeros written over it may have been torn. */
static vch_rc take_slots(vch_seeds_t *s, const uint8_t *p, bool *ret_there, vch_err_t *err)
{
    uint64_t generation[2] = {0};
    vch_slice_t wrapped[2] = {{NULL, 0}};
    bool good[2];
    for (unsigned i = 0; i < 2; i++) good[i] = slot_good(p + i * SLOT, &generation[i], &wrapped[i]);
    *ret_there = good[0] || good[1];
    if (!*ret_there) return VCH_OK;
    s->slot = !good[0] || (good[1] && generation[1] > generation[0]);
    s->litter = !all_zero(p + !s->slot * SLOT, SLOT);
    s->generation = generation[s->slot];
    keep_wrapped(&s->root[SD_NOW], wrapped[s->slot]);
    if (good[!s->slot]) keep_wrapped(&s->root[SD_WAS], wrapped[!s->slot]);
    return unwrap(s, err);
}

vch_rc sd_root_open(vch_seeds_t *s, bool *ret_there, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    uint64_t size;
    *ret_there = false;
    vch_rc rc = vch_path(path, "%s/root", s->dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    VCH_TRY(vch_file_open(s->port, &s->root_file, path, VCH_OPEN_CREATE, err));
    rc = s->port->disk->size(s->port, s->root_file, &size);
    if (rc != VCH_OK) return vch_fail(err, rc, "%s: %s", path, vch_rc_text(rc));
    if (size < 2 * SLOT) return VCH_OK;
    uint8_t *p = vch_secret_alloc(2 * SLOT);
    if (!p) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    rc = vch_file_read(s->port, s->root_file, p, 2 * SLOT, 0, err);
    if (rc == VCH_OK) rc = take_slots(s, p, ret_there, err);
    vch_secret_free(p);
    return rc;
}

vch_rc sd_root_wrap(vch_seeds_t *s, vch_err_t *err)
{
    sd_root_t *next = &s->root[SD_NEXT];
    vch_buf_t wrapped;
    if (!s->guard) {
        keep_wrapped(next, vch_slice(next->key, 32));
        return VCH_OK;
    }
    vch_buf_init(&wrapped, VCH_WRAPPED_MAX);
    vch_rc rc = s->guard->wrap(s->guard->ctx, &wrapped, next->key, err);
    if (rc == VCH_OK) keep_wrapped(next, vch_buf_slice(&wrapped));
    sd_forget(&wrapped);
    return rc;
}

static void fill_slot(uint8_t slot[SLOT], const sd_root_t *root, uint64_t generation)
{
    memset(slot, 0, SLOT);
    memcpy(slot, "VCHSEED1", 8);
    vch_put_u64(slot + 8, generation);
    vch_put_u32(slot + 16, (uint32_t)root->n);
    memcpy(slot + 20, root->wrapped, root->n);
    vch_put_u32(slot + 20 + root->n, vch_crc32c(0, slot, 20 + root->n));
}

vch_rc sd_root_put(vch_seeds_t *s, uint64_t generation, vch_err_t *err)
{
    uint8_t *p = vch_secret_alloc(SLOT);
    if (!p) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    fill_slot(p, &s->root[SD_NEXT], generation);
    vch_rc rc = s->port->disk->write(s->port, s->root_file, p, SLOT, (uint64_t)!s->slot * SLOT);
    if (rc == VCH_OK) rc = s->port->disk->sync(s->port, s->root_file);
    vch_secret_free(p);
    if (rc != VCH_OK) return vch_fail(err, rc, "the trustee's root key can't be written: %s", vch_rc_text(rc));
    s->root[SD_WAS] = s->root[SD_NOW];
    s->root[SD_NOW] = s->root[SD_NEXT];
    vch_wipe(&s->root[SD_NEXT], sizeof s->root[SD_NEXT]);
    vch_wipe(s->root[SD_WAS].key, 32);
    s->slot = !s->slot;
    s->generation = generation;
    s->litter = s->unsettled = true;
    return VCH_OK;
}

/* The slot comes last: as long as it can be read, the guard can be told again. */
vch_rc sd_root_settle(vch_seeds_t *s, vch_err_t *err)
{
    const sd_root_t *now = &s->root[SD_NOW];
    sd_root_t *was = &s->root[SD_WAS];
    if (s->guard && s->guard->settle)
        VCH_TRY(s->guard->settle(s->guard->ctx, vch_slice(now->wrapped, now->n), vch_slice(was->wrapped, was->n), err));
    s->broken = true;
    if (s->litter) VCH_TRY(zero_slot(s, !s->slot, err));
    s->broken = s->litter = s->unsettled = false;
    vch_wipe(was, sizeof *was);
    return VCH_OK;
}
