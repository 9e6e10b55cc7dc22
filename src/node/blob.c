/* SPDX-License-Identifier: Apache-2.0 */
/* Documents off the log: blobs/ab/<sha256>, and row sets by their root. */
#include "node/node_int.h"

#include "crypto/sha256.h"

static vch_rc too_long(vch_err_t *err) { return vch_fail(err, VCH_ERR_LIMIT, "the ledger's path is too long"); }

static vch_rc blob_path(const vch_ledger_t *l, const vch_hash_t *h, char folder[VCH_PATH_MAX], char path[VCH_PATH_MAX],
                        vch_err_t *err)
{
    char hex[65];
    vch_hex(hex, h->b, 32);
    if (vch_ledger_path(l, folder, "blobs/%.2s", hex) != VCH_OK) return too_long(err);
    return vch_ledger_path(l, path, "blobs/%.2s/%s", hex, hex) == VCH_OK ? VCH_OK : too_long(err);
}

/* Same name means same bytes, unless they rotted: then write them again. */
static bool is_there(vch_ledger_t *l, const char *path, vch_slice_t bytes)
{
    vch_stat_t st;
    vch_buf_t old;
    if (l->port->disk->stat(l->port, path, &st) != VCH_OK || st.size != bytes.n) return false;
    vch_buf_init(&old, bytes.n);
    bool same = vch_read_all(l->port, &old, path, bytes.n, NULL) == VCH_OK && vch_slice_eq(vch_buf_slice(&old), bytes);
    vch_buf_free(&old);
    return same;
}

static vch_rc put(vch_ledger_t *l, const char *folder, const char *path, vch_slice_t bytes, vch_err_t *err)
{
    if (is_there(l, path, bytes)) return VCH_OK;
    if (l->flags & VCH_LEDGER_READ_ONLY)
        return vch_fail(err, VCH_ERR_READ_ONLY, "the ledger was opened for reading only");
    VCH_TRY(vch_mkdirs(l->port, folder, err));
    return vch_write_atomic(l->port, path, bytes, 0600, err);
}

vch_rc vch_blob_put(vch_ledger_t *l, vch_slice_t bytes, vch_hash_t *ret, vch_err_t *err)
{
    char folder[VCH_PATH_MAX], path[VCH_PATH_MAX];
    vch_hash_t hash;
    vch_sha256(&hash, bytes.p, bytes.n);
    VCH_TRY(blob_path(l, &hash, folder, path, err));
    VCH_TRY(put(l, folder, path, bytes, err));
    *ret = hash;
    return VCH_OK;
}

vch_rc vch_blob_get(vch_ledger_t *l, const vch_hash_t *hash, size_t max, vch_buf_t *ret, vch_err_t *err)
{
    char folder[VCH_PATH_MAX], path[VCH_PATH_MAX];
    vch_hash_t got;
    size_t at = ret->n;
    VCH_TRY(blob_path(l, hash, folder, path, err));
    VCH_TRY(vch_read_all(l->port, ret, path, max, err));
    vch_sha256(&got, ret->p + at, ret->n - at);
    if (vch_hash_eq(&got, hash)) return VCH_OK;
    ret->n = at;
    return vch_hint(err, vch_fail(err, VCH_ERR_CORRUPT, "%s does not have the hash that it is named by", path),
                    "restore this file from a backup");
}

/* ---- row sets ------------------------------------------------------------------------ */

static vch_rc set_root(vch_hash_t *ret, vch_slice_t bits, vch_err_t *err)
{
    vch_arena_t arena;
    if (bits.n % VCH_BITMAP_LEAF)
        return vch_fail(err, VCH_ERR_FORMAT, "a row set is made of whole leaves of 256 bytes");
    vch_arena_init(&arena, bits.n + (1u << 16));
    vch_rc rc = vch_set_root(ret, bits.p, bits.n, &arena);
    vch_arena_free(&arena);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "hashing a row set: %s", vch_rc_text(rc));
}

static vch_rc set_path(const vch_ledger_t *l, const vch_hash_t *root, char ret[VCH_PATH_MAX], vch_err_t *err)
{
    char hex[65];
    vch_hex(hex, root->b, 32);
    return vch_ledger_path(l, ret, "sets/%s", hex) == VCH_OK ? VCH_OK : too_long(err);
}

vch_rc vch_set_keep(vch_ledger_t *l, const vch_hash_t *root, vch_slice_t bits, vch_err_t *err)
{
    char folder[VCH_PATH_MAX], path[VCH_PATH_MAX];
    vch_hash_t made;
    VCH_TRY(set_root(&made, bits, err));
    if (!vch_hash_eq(&made, root)) return vch_fail(err, VCH_ERR_COMMITMENT, "the row set does not have this root");
    VCH_TRY(set_path(l, root, path, err));
    if (vch_ledger_path(l, folder, "sets") != VCH_OK) return too_long(err);
    return put(l, folder, path, bits, err);
}

vch_rc vch_set_load(vch_ledger_t *l, const vch_hash_t *root, vch_buf_t *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_hash_t made;
    size_t at = ret->n;
    VCH_TRY(set_path(l, root, path, err));
    VCH_TRY(vch_read_all(l->port, ret, path, ret->max - ret->n, err));
    vch_rc rc = set_root(&made, vch_slice(ret->p + at, ret->n - at), err);
    if (rc == VCH_OK && vch_hash_eq(&made, root)) return VCH_OK;
    ret->n = at;
    if (rc != VCH_OK && rc != VCH_ERR_FORMAT) return rc;
    return vch_fail(err, VCH_ERR_CORRUPT, "%s does not have the root that it is named by", path);
}
