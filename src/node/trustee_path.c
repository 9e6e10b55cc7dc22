/* SPDX-License-Identifier: Apache-2.0 */
/* A leaf's way to a signed root: what convicts a holder that answers another
 * seed.  It takes every leaf's hash.  Those of leaves that were forgotten are
 * kept, for a hash of 32 random bytes tells nothing about them:
 *
 *   forgotten/<extent in hex>   u8 set ‖ u32 leaf ‖ hash 32 ‖ u32 crc32c, appended
 *                               and synced before the seed above is forgotten */
#include "codec/cbor.h"
#include "merkle/keyroot.h"
#include "node/node_int.h"
#include "node/trustee_int.h"

#define RECORD 41u

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

static vch_rc file_of(const vch_trustee_t *t, const vch_hash_t *extent, char ret[VCH_PATH_MAX], vch_err_t *err)
{
    char hex[65];
    vch_hex(hex, extent->b, 32);
    vch_rc rc = vch_path(ret, "%s/forgotten/%s", t->dir, hex);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the path is too long");
}

/* ---- keeping ---------------------------------------------------------------------------- */

static vch_rc put_record(vch_buf_t *b, unsigned set, uint32_t leaf, const vch_hash_t *hash)
{
    uint8_t *p;
    VCH_TRY(vch_buf_extend(b, RECORD, &p));
    p[0] = (uint8_t)set;
    vch_put_u32(p + 1, leaf);
    memcpy(p + 5, hash->b, 32);
    vch_put_u32(p + 37, vch_crc32c(0, p, 37));
    return VCH_OK;
}

/* In each tree held; leaves that are gone already were kept then. */
static vch_rc put_leaf(vch_trustee_t *t, const vch_tree_about_t *about, uint8_t position, const vch_forget_t *f,
                       vch_buf_t *b, vch_err_t *err)
{
    for (unsigned set = 0; set < vch_kt_sets(about->n, about->t); set++) {
        vch_kt_seed_t seed;
        vch_hash_t hash;
        if (!vch_kt_holds(vch_kt_set(about->n, about->t, set), position)) continue;
        vch_rc rc =
            vch_seeds_get(t->seeds, &f->extent, (uint8_t)set, (vch_kt_node_t){VCH_KT_LEAF_LEVEL, f->leaf}, &seed, err);
        if (rc == VCH_ERR_DENIED) continue;
        VCH_TRY(rc);
        vch_tree_leaf(&hash, vch_slice(seed.key, VCH_KT_KEY));
        vch_wipe(&seed, sizeof seed);
        if (put_record(b, set, f->leaf, &hash) != VCH_OK) return no_memory(err);
    }
    return VCH_OK;
}

static vch_rc append(vch_trustee_t *t, const char *path, vch_slice_t records, vch_err_t *err)
{
    vch_port_t *port = t->l->port;
    vch_file_t *file;
    uint64_t size = 0;
    VCH_TRY(vch_file_open(port, &file, path, VCH_OPEN_CREATE, err));
    vch_rc rc = port->disk->size(port, file, &size);
    if (rc == VCH_OK) rc = port->disk->write(port, file, records.p, records.n, size / RECORD * RECORD);
    if (rc == VCH_OK) rc = port->disk->sync(port, file);
    vch_file_close(port, file);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "hashes of leaves can't be kept: %s", vch_rc_text(rc));
}

static vch_rc keep_records(vch_trustee_t *t, const vch_hash_t *extent, vch_slice_t records, vch_err_t *err)
{
    char folder[VCH_PATH_MAX], path[VCH_PATH_MAX];
    VCH_TRY(file_of(t, extent, path, err));
    vch_rc rc = vch_path(folder, "%s/forgotten", t->dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    VCH_TRY(vch_mkdirs(t->l->port, folder, err));
    VCH_TRY(append(t, path, records, err));
    rc = t->l->port->disk->sync_dir(t->l->port, folder);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "hashes of leaves can't be kept: %s", vch_rc_text(rc));
}

/* All of one extent. */
vch_rc tr_keep_hashes(vch_trustee_t *t, const vch_forget_t *leaf, size_t n, vch_err_t *err)
{
    vch_tree_about_t about;
    uint8_t position;
    vch_buf_t b;
    if (n == 0) return VCH_OK;
    VCH_TRY(vch_seeds_about(t->seeds, &leaf->extent, &about, &position, NULL, err));
    vch_buf_init(&b, (size_t)n * VCH_VAULT_HELD_MAX * RECORD);
    vch_rc rc = VCH_OK;
    for (size_t i = 0; rc == VCH_OK && i < n; i++) rc = put_leaf(t, &about, position, &leaf[i], &b, err);
    if (rc == VCH_OK && b.n) rc = keep_records(t, &leaf->extent, vch_buf_slice(&b), err);
    vch_buf_free(&b);
    return rc;
}

/* ---- every leaf's hash ------------------------------------------------------------------------ */

typedef struct {
    vch_trustee_t *t;
    vch_tree_about_t about;
    uint8_t set;
    unsigned group;
    vch_hash_t *hash; /* rows of them */
    uint8_t *key;     /* secret: a block of leaves */
    vch_buf_t kept;
    vch_err_t *err;
} hashes_t;

static bool take_kept(const hashes_t *h, uint32_t leaf, vch_hash_t *ret)
{
    for (size_t at = 0; at + RECORD <= h->kept.n; at += RECORD) {
        const uint8_t *p = h->kept.p + at;
        if (p[0] != h->set || vch_get_u32(p + 1) != leaf || vch_crc32c(0, p, 37) != vch_get_u32(p + 37)) continue;
        memcpy(ret->b, p + 5, 32);
        return true;
    }
    return false;
}

static vch_rc derive(hashes_t *h, const vch_kt_seed_t *seed, uint32_t row, uint32_t n)
{
    for (uint32_t done = 0; done < n; done += VCH_KT_BLOCK) {
        uint32_t now = (uint32_t)vch_min(n - done, VCH_KT_BLOCK);
        if (!vch_kt_leaves(h->key, seed, vch_kt_leaf(h->group, row + done), now))
            return vch_fail(h->err, VCH_ERR_INTERNAL, "leaves can't be derived");
        vch_sha256_fixed(h->hash + row + done, 0x00, h->key, VCH_KT_KEY, VCH_KT_KEY, now);
    }
    return VCH_OK;
}

/* What is below a node, from its seed, or from those below where something was forgotten. */
static vch_rc fill(hashes_t *h, vch_kt_node_t node)
{
    uint32_t row = vch_kt_first(node) % VCH_KT_ROWS_MAX, n = vch_kt_count(node);
    vch_kt_seed_t seed;
    if (row >= h->about.rows) return VCH_OK;
    vch_rc rc = vch_seeds_get(h->t->seeds, &h->about.extent, h->set, node, &seed, h->err);
    if (rc == VCH_OK) {
        rc = derive(h, &seed, row, (uint32_t)vch_min(n, h->about.rows - row));
        vch_wipe(&seed, sizeof seed);
        return rc;
    }
    if (rc != VCH_ERR_DENIED) return rc;
    if (node.level == VCH_KT_LEAF_LEVEL)
        return take_kept(h, vch_kt_first(node), &h->hash[row])
                   ? VCH_OK
                   : vch_fail(h->err, VCH_ERR_NOT_FOUND, "the hash of a leaf that was forgotten is not kept");
    VCH_TRY(fill(h, (vch_kt_node_t){(uint8_t)(node.level + 1), 2 * node.number}));
    return fill(h, (vch_kt_node_t){(uint8_t)(node.level + 1), 2 * node.number + 1});
}

static vch_rc subtree(void *ctx, vch_hash_t *ret, unsigned level, uint64_t n)
{
    const vch_hash_t *hash = ctx;
    vch_edge_t edge;
    vch_edge_init(&edge);
    vch_edge_add(&edge, hash + (n << level), (size_t)1 << level);
    vch_edge_root(&edge, ret);
    return VCH_OK;
}

/* ---- the path ----------------------------------------------------------------------------------- */

/* The group roots, and inside the leaf's own group its hash and path. */
static vch_rc walk_groups(hashes_t *h, uint32_t leaf, vch_hash_t *root, vch_hash_t *ret_leaf, vch_keyroot_path_t *ret)
{
    for (unsigned g = 0; g < h->about.groups; g++) {
        vch_hash_t path[VCH_PATH_HASHES_MAX];
        uint32_t row = leaf % VCH_KT_ROWS_MAX;
        size_t n = 0;
        h->group = g;
        VCH_TRY(fill(h, (vch_kt_node_t){VCH_KT_GROUP_LEVEL, g}));
        VCH_TRY(vch_subtrees_root(&root[g], h->about.rows, subtree, h->hash));
        if (g != leaf >> VCH_KT_ROW_BITS) continue;
        VCH_TRY(vch_inclusion_prove(path, &n, row, h->about.rows, subtree, h->hash));
        *ret_leaf = h->hash[row];
        ret->inside = (uint8_t)n;
        memcpy(ret->hash, path, n * sizeof *path);
    }
    return VCH_OK;
}

static vch_rc put_path(vch_buf_t *b, const vch_hash_t *leaf, const vch_keyroot_path_t *p)
{
    VCH_TRY(vch_cbor_array(b, 4));
    VCH_TRY(vch_cbor_bytes(b, leaf->b, 32));
    VCH_TRY(vch_cbor_uint(b, p->inside));
    VCH_TRY(vch_cbor_uint(b, p->among));
    return vch_cbor_bytes(b, p->hash, ((size_t)p->inside + p->among) * sizeof *p->hash);
}

static vch_rc prove(hashes_t *h, uint32_t leaf, vch_buf_t *ret)
{
    vch_hash_t root[VCH_KT_GROUPS_MAX], among[VCH_PATH_HASHES_MAX], scratch[VCH_KT_GROUPS_MAX], hash;
    vch_hash_t roots[VCH_KT_GROUPS_MAX];
    vch_keyroot_path_t path = {.rows = h->about.rows};
    VCH_TRY(walk_groups(h, leaf, root, &hash, &path));
    vch_sha256_fixed(roots, 0x00, root->b, sizeof *root, sizeof *root, h->about.groups);
    path.among = (uint8_t)vch_tree_path(among, roots, h->about.groups, leaf >> VCH_KT_ROW_BITS, scratch);
    memcpy(path.hash + path.inside, among, path.among * sizeof *among);
    vch_rc rc = put_path(ret, &hash, &path);
    return rc == VCH_OK ? rc : no_memory(h->err);
}

static vch_rc load_kept(hashes_t *h)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(file_of(h->t, &h->about.extent, path, h->err));
    vch_rc rc = vch_read_all(h->t->l->port, &h->kept, path, h->kept.max, NULL);
    if (rc == VCH_OK || rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    return vch_fail(h->err, rc, "hashes of forgotten leaves can't be read: %s", vch_rc_text(rc));
}

vch_rc vch_trustee_path(vch_trustee_t *t, const vch_hash_t *extent, uint8_t set, uint32_t leaf, vch_buf_t *ret,
                        vch_err_t *err)
{
    hashes_t h = {.t = t, .set = set, .err = err};
    uint8_t position;
    VCH_TRY(vch_seeds_about(t->seeds, extent, &h.about, &position, NULL, err));
    if (leaf >> VCH_KT_ROW_BITS >= h.about.groups || leaf % VCH_KT_ROWS_MAX >= h.about.rows ||
        set >= vch_kt_sets(h.about.n, h.about.t) || !vch_kt_holds(vch_kt_set(h.about.n, h.about.t, set), position))
        return vch_fail(err, VCH_ERR_NOT_FOUND, "this trustee holds no such leaf");
    vch_buf_init(&h.kept, 1u << 30);
    h.hash = vch_alloc_array(h.about.rows, sizeof *h.hash);
    h.key = vch_secret_alloc((size_t)VCH_KT_BLOCK * VCH_KT_KEY);
    vch_rc rc = h.hash && h.key ? load_kept(&h) : no_memory(err);
    if (rc == VCH_OK) rc = prove(&h, leaf, ret);
    vch_buf_free(&h.kept);
    vch_free(h.hash);
    vch_secret_free(h.key);
    return nd_told(rc, err);
}
