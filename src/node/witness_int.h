/* SPDX-License-Identifier: Apache-2.0 */
/* Inside a witness: what it remembers, and the file that holds it.
 *
 *   cosigned   header 512   "VCHWIT1\n" ‖ u64 first number ‖ public key 32 ‖ zeros ‖ u32 crc32c
 *              groups       each on a 512-byte boundary, each written twice, one behind the other:
 *                           "WGRP" ‖ u64 number ‖ u32 length ‖ u32 crc32c of these 12 bytes and the body
 *                           ‖ body: u32 length ‖ note, any number of them ‖ zeros to the boundary
 *              zeros        kept ready ahead of the writes
 *
 * A group is one sync.  Its two copies lie in different sectors, and one whole
 * copy is enough; so a byte that rots in the newest group doesn't look like a
 * write that the power cut, and nothing that was answered is forgotten. */
#ifndef VCH_WITNESS_INT_H
#define VCH_WITNESS_INT_H

#include <pthread.h>

#include "entry/note.h"
#include "node/witness.h"

#define WT_SECTOR 512u
#define WT_LOGS_MAX 4096u
#define WT_BATCH_MAX 256u           /* requests of one sync */
#define WT_COMPACT_BYTES (4u << 20) /* a larger file is written anew with what is still needed */
#define WT_AHEAD_BYTES (256u << 10) /* zeros kept ready */

typedef struct {
    char origin[VCH_NOTE_NAME_MAX + 1];
    vch_hash_t id; /* SHA-256 of the origin */
    bool any;      /* something was cosigned: */
    uint64_t size;
    vch_hash_t root;
    vch_buf_t note; /* with the log's signatures that count and with ours */
} wt_log_t;

typedef struct {
    vch_vkey_t vkey; /* borrows from the policy's text */
    size_t log;
} wt_key_t;

typedef struct {
    vch_port_t *port;
    vch_file_t *file;
    char path[VCH_PATH_MAX];
    uint64_t end;    /* where the next group goes */
    uint64_t room;   /* bytes of the file */
    uint64_t number; /* of the next group */
    uint64_t compact_bytes;
    bool poisoned; /* what is on the disk is unknown */
} wt_file_t;

/* ---- the file (witness_file.c) ---- */

/* An empty one; durable on return. */
VCH_MUST_USE vch_rc wt_file_create(vch_port_t *, const char *path, const uint8_t key[32], vch_err_t *);
typedef vch_rc (*wt_note_fn)(void *ctx, vch_slice_t note, vch_err_t *);
/* Every note, oldest first.  ERR_CORRUPT when a group is lost that others follow.
 * ret_cut: bytes of an unfinished group at the end; ret_mended: groups of which
 * one copy is damaged. */
VCH_MUST_USE vch_rc wt_file_open(wt_file_t *, vch_port_t *, const char *path, bool write, const uint8_t key[32],
                                 wt_note_fn fn, void *ctx, uint64_t *ret_cut, uint64_t *ret_mended, vch_err_t *);
void wt_file_close(wt_file_t *);
/* One group, durable on return.  ERR_FULL leaves the file as it was. */
VCH_MUST_USE vch_rc wt_file_append(wt_file_t *, const vch_slice_t *notes, size_t n, vch_err_t *);
/* The file anew, with these notes only. */
VCH_MUST_USE vch_rc wt_file_rewrite(wt_file_t *, const uint8_t key[32], const vch_slice_t *notes, size_t n,
                                    vch_err_t *);

/* For tests: a file of more than `bytes` is written anew. */
void vch_witness__compact_at(vch_witness_t *, uint64_t bytes);

#endif
