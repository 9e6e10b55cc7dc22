/* SPDX-License-Identifier: Apache-2.0 */
/* The seed store's files and what of them is in memory. */
#ifndef VCH_SEEDS_INT_H
#define VCH_SEEDS_INT_H

#include "node/seeds.h"

#define SD_CACHE 3u             /* trees in memory at once */
#define SD_SEEDS_MAX (1u << 24) /* of one tree: every leaf by itself */
#define SD_FILE_MAX (1u << 30)
#define SD_EXTENTS_MAX (1u << 20)

/* One extent's file: its place in the table of keys. */
typedef struct {
    vch_hash_t extent;
    uint64_t generation;
    bool destroys; /* only guards that destroy ever kept the root key above it */
    uint8_t key[32];
} sd_place_t;

/* A root key and what lies of it on the disk. */
typedef struct {
    uint8_t key[32];
    uint8_t wrapped[VCH_WRAPPED_MAX];
    size_t n;
} sd_root_t;

/* One extent, opened. */
typedef struct {
    vch_tree_about_t about;
    uint8_t trustee, held;
    uint8_t set[VCH_VAULT_HELD_MAX];
    vch_hash_t root[VCH_VAULT_HELD_MAX];
    size_t n[VCH_VAULT_HELD_MAX]; /* seeds of each tree, in order of their first leaf */
    vch_kt_seed_t *seed;          /* secret: all trees', one after another */
} sd_tree_t;

enum { SD_NOW, SD_NEXT, SD_WAS, SD_ROOTS }; /* in force; will be; was, if its slot can still be read (no key) */

struct vch_seeds {
    vch_port_t *port;
    char dir[VCH_PATH_MAX];
    const vch_seeds_guard_t *guard;
    vch_file_t *lock, *root_file;
    bool broken;    /* a write failed: which root key is in force is known on opening */
    unsigned slot;  /* of root_file that is in force */
    bool litter;    /* the other slot isn't all zeros */
    bool unsettled; /* what was in force before may not be destroyed yet */
    uint64_t generation;
    sd_root_t *root;   /* secret: SD_NOW, SD_NEXT, SD_WAS */
    sd_place_t *place; /* secret: in order of extents */
    size_t places;
    sd_tree_t cache[SD_CACHE];
    unsigned next_cache;
};

/* ---- encoding (seeds_file.c); buffers hold secrets: free them with sd_forget ---- */
void sd_forget(vch_buf_t *);
vch_rc sd_put_tree(vch_buf_t *, const sd_tree_t *);
/* ret->seed is allocated.  ERR_FORMAT, ERR_MEMORY. */
vch_rc sd_get_tree(sd_tree_t *ret, vch_slice_t);
vch_rc sd_put_places(vch_buf_t *, const sd_place_t *, size_t n);
vch_rc sd_get_places(sd_place_t **ret, size_t *ret_n, vch_slice_t);
void sd_tree_free(sd_tree_t *);

/* A file "magic 8 ‖ box" under a key; name and generation are bound to it. */
vch_rc sd_write_file(vch_seeds_t *, const char *name, const char magic[8], const uint8_t key[32],
                     const vch_buf_t *plain, vch_err_t *);
vch_rc sd_read_file(vch_seeds_t *, const char *name, const char magic[8], const uint8_t key[32], vch_buf_t *ret_plain,
                    vch_err_t *);
void sd_tree_name(char ret[96], const vch_hash_t *extent, uint64_t generation);
void sd_keys_name(char ret[96], uint64_t generation);

/* ---- the root file: two slots of 512 bytes ---- */
/* *ret_there: false when there is none yet, or none that is good. */
vch_rc sd_root_open(vch_seeds_t *, bool *ret_there, vch_err_t *);
/* Wrap the next key. */
vch_rc sd_root_wrap(vch_seeds_t *, vch_err_t *);
/* The next one into the other slot, synced: from then on it is in force. */
vch_rc sd_root_put(vch_seeds_t *, uint64_t generation, vch_err_t *);
/* What was in force is destroyed: by the guard, and then in its slot.  A guard
 * that fails is asked again before the next step. */
vch_rc sd_root_settle(vch_seeds_t *, vch_err_t *);

#endif
