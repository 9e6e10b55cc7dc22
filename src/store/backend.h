/* SPDX-License-Identifier: Apache-2.0 */
/* Where shards lie: a directory, or whatever else keeps named objects.
 *
 * An object is written once, piece by piece, and is there, whole and durable,
 * from finish on; before that nobody sees it.  Objects are never changed.
 * Names: 1 to 80 of a-z, 0-9, '.', '-', not beginning with '.' or "up-"; ERR_USAGE.
 *
 * Results: ERR_NOT_FOUND, ERR_CONFLICT (create: the name is there),
 * ERR_FULL, ERR_IO, ERR_UNREACHABLE, ERR_MEMORY.  One thread at a time on one
 * back end; different back ends side by side. */
#ifndef VCH_BACKEND_H
#define VCH_BACKEND_H

#include "port/port.h"

typedef struct vch_backend vch_backend_t;
typedef struct vch_upload vch_upload_t; /* an object that is being written */
struct vch_audit;

typedef struct {
    vch_rc (*create)(vch_backend_t *, vch_upload_t **ret, const char *name, vch_err_t *);
    vch_rc (*append)(vch_upload_t *, vch_slice_t, vch_err_t *);
    /* Both end the upload, whatever they return; abort leaves nothing behind. */
    vch_rc (*finish)(vch_upload_t *, vch_err_t *);
    void (*abort)(vch_upload_t *);
    vch_rc (*size)(vch_backend_t *, const char *name, uint64_t *ret, vch_err_t *);
    /* Exactly n bytes from `at`, else ERR_CORRUPT ("ends early"). */
    vch_rc (*read)(vch_backend_t *, const char *name, void *buf, size_t n, uint64_t at, vch_err_t *);
    vch_rc (*remove)(vch_backend_t *, const char *name, vch_err_t *);
    /* Finished objects, in byte order of the names; as vch_list_fn. */
    vch_rc (*list)(vch_backend_t *, vch_list_fn, void *ctx, vch_err_t *);
    /* One chunk of the n bytes (a block) at `at`, with its way to their hash, so that
     * no more than that need travel (store/shards.h, audit); NULL: whoever asks
     * reads the block. */
    vch_rc (*prove)(vch_backend_t *, const char *name, uint64_t at, size_t n, uint32_t chunk, struct vch_audit *ret,
                    vch_err_t *);
    void (*close)(vch_backend_t *);
} vch_backend_ops_t;

struct vch_backend {
    const vch_backend_ops_t *ops;
};

/* A directory, made when missing.  What a cut-off upload left is removed here. */
VCH_MUST_USE vch_rc vch_backend_dir(vch_backend_t **ret, vch_port_t *, const char *path, vch_err_t *);
void vch_backend_close(vch_backend_t *); /* NULL is fine */

#endif
