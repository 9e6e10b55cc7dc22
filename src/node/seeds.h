/* SPDX-License-Identifier: Apache-2.0 */
/* What one trustee remembers: its seeds of every extent, less what it was told
 * to forget.  A directory; its bytes are its own (docs/formats/vault-keys.md
 * says what others see).
 *
 *   root                 the key that everything else hangs on, replaced whole
 *   keys.<generation>    a key for each extent's file, under the root key
 *   <extent>.<gen>       the extent's tree, signed roots and seeds, under its key
 *
 * To forget is: write the changed extents' files under fresh keys, write a
 * fresh table of keys under a fresh root key, replace `root`, wipe what was
 * there before.  From the moment that `root` is replaced nothing on the disk
 * opens the old seeds, whatever copies of the other files there are.  Cut off
 * anywhere it is the old store or the new one, and opening cleans up.
 *
 * Forgetting can't be undone, so it is idempotent: a leaf that is gone stays
 * gone.  In memory seeds lie in secret memory, at most a few extents at once.
 * One thread at a time; one process (a lock in the directory, ERR_LOCKED). */
#ifndef VCH_SEEDS_H
#define VCH_SEEDS_H

#include "entry/vault.h"
#include "port/port.h"

typedef struct vch_seeds vch_seeds_t;

#define VCH_WRAPPED_MAX 488u

/* How the root key is kept (guard.h).  NULL instead of one: the file itself,
 * mode 0600, which is grade B. */
typedef struct {
    /* 32 bytes in, at most VCH_WRAPPED_MAX out, and back.  `unwrap` of what was
     * never wrapped here is ERR_KEY. */
    vch_rc (*wrap)(void *ctx, vch_buf_t *ret, const uint8_t key[32], vch_err_t *);
    vch_rc (*unwrap)(void *ctx, uint8_t ret[32], vch_slice_t, vch_err_t *);
    void *ctx;
    /* NULL: there is nothing to do.  `now` is in force, and durable.  Whatever
     * else was wrapped for this store must not be unwrapped again, from no copy
     * of it: `was`, which was in force before (empty when that isn't known), and
     * what never got that far.  Either may be another guard's.  Done again, at
     * the next opening too, until it succeeds. */
    vch_rc (*settle)(void *ctx, vch_slice_t now, vch_slice_t was, vch_err_t *);
    bool destroys; /* what settle destroys lay in no other place: grade A */
} vch_seeds_guard_t;

/* Made when there is none.  The guard is borrowed until close. */
VCH_MUST_USE vch_rc vch_seeds_open(vch_seeds_t **ret, vch_port_t *, const char *dir, const vch_seeds_guard_t *,
                                   vch_err_t *);
void vch_seeds_close(vch_seeds_t *); /* wipes; NULL is fine */

/* A deal's seeds: vch_vault_held × 32 bytes in the order of vch_deal_open, and
 * the roots R_T that this trustee will sign, one for each of them.  Durable on
 * return.  ERR_CONFLICT: the extent is there already, with these or other seeds. */
VCH_MUST_USE vch_rc vch_seeds_add(vch_seeds_t *, const vch_tree_about_t *, uint8_t trustee, const uint8_t *seed,
                                  const vch_hash_t *root, vch_err_t *);
/* What is known of an extent; ERR_NOT_FOUND.  ret_root (may be NULL): room for
 * VCH_VAULT_HELD_MAX. */
VCH_MUST_USE vch_rc vch_seeds_about(vch_seeds_t *, const vch_hash_t *extent, vch_tree_about_t *ret,
                                    uint8_t *ret_trustee, vch_hash_t *ret_root, vch_err_t *);
/* The seed of one node of the tree of one set (its number).  ERR_NOT_FOUND: no
 * such extent, or a set that the trustee is in; ERR_DENIED: a leaf below the
 * node was forgotten.  The caller wipes ret. */
VCH_MUST_USE vch_rc vch_seeds_get(vch_seeds_t *, const vch_hash_t *extent, uint8_t set, vch_kt_node_t,
                                  vch_kt_seed_t *ret, vch_err_t *);

/* Of n nodes from the left, none below another: n × 32 bytes, wiped on failure.
 * Results as above.  Many hashes at a time where nodes lie close together. */
VCH_MUST_USE vch_rc vch_seeds_get_all(vch_seeds_t *, const vch_hash_t *extent, uint8_t set, const vch_kt_node_t *node,
                                      size_t n, uint8_t *ret, vch_err_t *);

typedef struct {
    vch_hash_t extent;
    uint32_t leaf;
} vch_forget_t;
/* All of them, in all trees held, in one step; in order of extent, then leaf.
 * Extents that aren't there are stepped over: they hold nothing.  *ret_done
 * (may be NULL): leaves that could be derived before and can't be now. */
VCH_MUST_USE vch_rc vch_seeds_forget(vch_seeds_t *, const vch_forget_t *, size_t n, uint64_t *ret_done, vch_err_t *);
/* Was no root key above this extent's seeds ever kept but by a guard that
 * destroys?  false for an extent that isn't held. */
bool vch_seeds_destroys(const vch_seeds_t *, const vch_hash_t *extent);
/* A fresh root key, wrapped by the guard that the store was opened with. */
VCH_MUST_USE vch_rc vch_seeds_rewrap(vch_seeds_t *, vch_err_t *);
/* Drop whole extents (an ingest that was never registered). */
VCH_MUST_USE vch_rc vch_seeds_drop(vch_seeds_t *, const vch_hash_t *extent, vch_err_t *);
typedef vch_rc (*vch_seeds_fn)(void *ctx, const vch_hash_t *extent);
VCH_MUST_USE vch_rc vch_seeds_each(vch_seeds_t *, vch_seeds_fn, void *ctx, vch_err_t *);

#endif
