/* SPDX-License-Identifier: Apache-2.0 */
/* Between backup.c and restore.c: copying files, and the list of them.
 *
 *   BACKUP   vouchsafe-backup 1
 *            network <hex>
 *            size <entries> <time ms of the newest block>
 *            file <bytes> <sha256 hex> <path>      (any number)
 *            end <sha256 hex of all lines above> */
#ifndef VCH_BACKUP_INT_H
#define VCH_BACKUP_INT_H

#include "crypto/sha256.h"
#include "node/mirror.h"
#include "node/node_int.h"
#include "vouchsafe/ops.h"

#define BK_BLOCK (1u << 20)
#define BK_LIST_MAX (256u << 20)
#define BK_LIST "BACKUP"
#define ND_ORIGIN "ORIGIN" /* the name under which it goes on instead */

typedef struct {
    uint64_t size;
    vch_hash_t hash;
    vch_slice_t path; /* borrowed */
} bk_file_t;

typedef struct {
    vch_hash_t network;
    uint64_t entries;
    vch_time_t time;
    vch_slice_t files; /* the file lines */
} bk_list_t;

/* ERR_FORMAT or ERR_CORRUPT with what is wrong. */
VCH_MUST_USE vch_rc bk_list_get(bk_list_t *ret, vch_slice_t text, vch_err_t *);
/* The next file line of *left; false at the end.  The list was checked. */
bool bk_list_next(vch_slice_t *left, bk_file_t *ret);
VCH_MUST_USE vch_rc bk_list_put_file(vch_buf_t *, uint64_t size, const vch_hash_t *, const char *path);

typedef struct {
    vch_port_t *port;
    const char *from, *to;
    uint8_t *block; /* BK_BLOCK */
    vch_progress_fn progress;
    void *ctx;
    vch_backup_t *sum;
    vch_err_t *err;
} bk_copy_t;

/* SHA-256 of the first `size` bytes of a file; ERR_CORRUPT when it is shorter. */
VCH_MUST_USE vch_rc bk_hash(bk_copy_t *, const char *dir, const char *path, uint64_t size, vch_hash_t *ret);
/* The first `size` bytes of from/path as to/path, by way of a temporary name,
 * synced.  Nothing happens when the same bytes are there already. */
VCH_MUST_USE vch_rc bk_copy(bk_copy_t *, const char *path, uint64_t size, vch_hash_t *ret);

#endif
