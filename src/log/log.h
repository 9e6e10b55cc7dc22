/* SPDX-License-Identifier: Apache-2.0 */
/* The append-only log: segments, group commit, tiles, checkpoints, recovery.
 * It does not know what an entry means.
 *
 *   log/seg/<first index, 20 digits>.seg     the truth (docs/formats/segment.md)
 *   log/head                                 last signed checkpoint, two slots
 *   log/cosigned                             every cosigned checkpoint, append-only
 *   tlog/checkpoint, tlog/tile/…             derived, plain C2SP tlog-tiles
 *   quarantine/                              what recovery cut off
 *
 * Segment = 512-byte header, then sync groups, each on a 512-byte boundary:
 *
 *   header  "VCHSEG1\n" ‖ u64 first index ‖ network 32 ‖ zeros ‖ u32 crc32c of the 508 before
 *   group   "VGRP" ‖ u32 format 1 ‖ u64 height ‖ u64 time ms ‖ u64 first ‖ u32 count ‖ u32 length
 *           ‖ zeros to 60 ‖ u32 crc32c of the 60 before           (64 bytes)
 *   frame   u32 body length ‖ u64 index ‖ u8 flags (1 = holds an erased statement) ‖ 3 zeros
 *           ‖ u32 crc32c over these 16 bytes and the body ‖ body   (count times; length bytes in all)
 *   body    u32 entry length ‖ entry ‖ u32 statements ‖ per statement: u32 length (top bit: erased,
 *           then 32 bytes of leaf hash) ‖ bytes
 *   trailer "VEND" ‖ u32 count ‖ u32 length ‖ u32 crc32c over group header, frames and these 12 bytes
 *   zeros to the next 512-byte boundary
 *
 * Behind the last group a segment is zeros (filled ahead of the writes); a
 * clean close cuts them off.  One append = one pwrite + one fdatasync.  A
 * failed sync poisons the log: every later call fails until it is reopened.
 *
 * Threads: one writer at a time (the ledger's lock); readers from any thread.
 * Processes: the caller holds the directory's writer lock around
 * vch_log_refresh + vch_log_append. */
#ifndef VCH_LOG_H
#define VCH_LOG_H

#include "base/base.h"
#include "merkle/tree.h"
#include "port/port.h"

typedef struct vch_log vch_log_t;

typedef struct {
    vch_slice_t entry;             /* the leaf */
    const vch_slice_t *statements; /* `count` of them; an erased one is its 32-byte leaf hash */
    const bool *erased;            /* NULL: none is */
    uint32_t count;
} vch_record_t;

typedef struct {
    uint64_t index, height;
    vch_time_t time;
    vch_record_t record;
} vch_log_entry_t;

typedef struct {
    size_t segment_bytes; /* 0: 64 MiB; a segment is closed when a group would pass it */
    size_t fill_bytes;    /* 0: adaptive; zeros kept ready ahead of the end */
    bool read_only;       /* never writes, not even recovery */
} vch_log_options_t;

/* What opening found and did, for a person to read. */
typedef struct {
    bool cut; /* the last, unacknowledged sync group was cut */
    uint64_t cut_segment, cut_at, cut_bytes;
    char quarantine[160]; /* file under quarantine/ that holds it */
} vch_recovery_t;

/* Make the folders and the first segment of an empty log; durable on return. */
VCH_MUST_USE vch_rc vch_log_create(vch_port_t *, const char *dir, const vch_hash_t *network, vch_err_t *);
/* Reads the last segment, recovers (never below log/head's size; only the
 * last group; ERR_CORRUPT naming segment, entry and byte otherwise). */
VCH_MUST_USE vch_rc vch_log_open(vch_log_t **ret, vch_port_t *, const char *dir, const vch_log_options_t *,
                                 vch_recovery_t *ret_recovery, vch_err_t *);
void vch_log_close(vch_log_t *); /* cuts the zeros off when it was the writer; NULL is fine */

uint64_t vch_log_size(const vch_log_t *);
vch_hash_t vch_log_network(const vch_log_t *);
/* Take in what other processes appended. */
VCH_MUST_USE vch_rc vch_log_refresh(vch_log_t *, vch_err_t *);
/* One sync group, durable on return; *ret_first is the index of the first. */
VCH_MUST_USE vch_rc vch_log_append(vch_log_t *, uint64_t height, vch_time_t, const vch_record_t *, size_t n,
                                   uint64_t *ret_first, vch_err_t *);
/* One entry with its statements, copied into the arena, checksums checked. */
VCH_MUST_USE vch_rc vch_log_read(vch_log_t *, uint64_t index, vch_arena_t *, vch_log_entry_t *ret, vch_err_t *);
/* Every entry of [from, to) in order; what fn gets is borrowed for the call. */
typedef vch_rc (*vch_log_fn)(void *ctx, const vch_log_entry_t *);
VCH_MUST_USE vch_rc vch_log_replay(vch_log_t *, uint64_t from, uint64_t to, vch_log_fn, void *ctx, vch_err_t *);

/* Where the log's first `size` entries end on the disk: *ret_segment is the name
 * of the last segment that holds some of them, *ret_bytes its length up to
 * there.  Earlier segments count whole.  ERR_NOT_FOUND unless a sync group ends
 * at `size`, as one does at every checkpoint. */
VCH_MUST_USE vch_rc vch_log_cut(vch_log_t *, uint64_t size, uint64_t *ret_segment, uint64_t *ret_bytes, vch_err_t *);

/* Tree over the first `size` entries (size at most vch_log_size). */
VCH_MUST_USE vch_rc vch_log_root(vch_log_t *, uint64_t size, vch_hash_t *ret, vch_err_t *);
VCH_MUST_USE vch_rc vch_log_inclusion(vch_log_t *, uint64_t index, uint64_t size, vch_hash_t ret[VCH_PATH_HASHES_MAX],
                                      size_t *ret_n, vch_err_t *);
VCH_MUST_USE vch_rc vch_log_consistency(vch_log_t *, uint64_t size1, uint64_t size2,
                                        vch_hash_t ret[VCH_PATH_HASHES_MAX], size_t *ret_n, vch_err_t *);

/* A signed checkpoint of `size` into log/head, synced: from now on it binds.
 * ERR_CONFLICT when it is smaller than the last one. */
VCH_MUST_USE vch_rc vch_log_sign(vch_log_t *, uint64_t size, vch_slice_t note, vch_err_t *);
uint64_t vch_log_signed(const vch_log_t *); /* the size of the last one that this handle signed or found */
/* What outside readers see follows a signature: first the tiles of `size`
 * entries, while others go on appending and signing; then tlog/checkpoint, if
 * the tiles of what was signed last are there.  Only who may append may do the
 * second, so that an older checkpoint never replaces a newer one. */
VCH_MUST_USE vch_rc vch_log_publish_tiles(vch_log_t *, uint64_t size, vch_err_t *);
VCH_MUST_USE vch_rc vch_log_publish_head(vch_log_t *, vch_err_t *);
/* All three. */
VCH_MUST_USE vch_rc vch_log_publish(vch_log_t *, uint64_t size, vch_slice_t note, vch_err_t *);
/* The last published note and its size; ERR_NOT_FOUND before the first. */
VCH_MUST_USE vch_rc vch_log_head(vch_log_t *, vch_buf_t *ret_note, uint64_t *ret_size, vch_err_t *);
/* Keep a checkpoint of the first `size` entries that others cosigned, in
 * log/cosigned, synced.  ERR_FORMAT when only the log signed it or its size
 * differs, ERR_CONFLICT when its root does.  A later one of the same size may be
 * kept as well. */
VCH_MUST_USE vch_rc vch_log_keep_cosigned(vch_log_t *, uint64_t size, vch_slice_t note, vch_err_t *);
/* The kept note of the smallest size that is at least `size`; of several of that
 * size the one with the most cosignatures, of equals the earliest.  Nobody has
 * verified the signatures.  ERR_NOT_FOUND. */
VCH_MUST_USE vch_rc vch_log_cosigned(vch_log_t *, uint64_t size, vch_buf_t *ret_note, uint64_t *ret_size, vch_err_t *);
/* All of them from `size` on, by size, those of one size as they were kept,
 * until fn returns false.  fn must not call the log. */
typedef bool (*vch_kept_fn)(void *ctx, uint64_t size, vch_slice_t note);
VCH_MUST_USE vch_rc vch_log_cosigned_each(vch_log_t *, uint64_t size, vch_kept_fn fn, void *ctx, vch_err_t *);
/* The other way round, from the largest size down. */
VCH_MUST_USE vch_rc vch_log_cosigned_back(vch_log_t *, vch_kept_fn fn, void *ctx, vch_err_t *);
/* Changes whenever something is kept. */
VCH_MUST_USE vch_rc vch_log_cosigned_mark(vch_log_t *, uint64_t *ret, vch_err_t *);

/* Read everything again: every segment byte (also the zeros), head slots,
 * cosigned, and each tile against the entries.  Damage in the truth is
 * reported through fn (file, entry, byte, text); damaged or missing derived
 * files are reported with derived = true and, if repair, rebuilt. */
typedef struct {
    const char *file;
    uint64_t index, byte;
    bool derived, repaired;
    const char *text;
} vch_damage_t;
typedef void (*vch_damage_fn)(void *ctx, const vch_damage_t *);
VCH_MUST_USE vch_rc vch_log_check(vch_port_t *, const char *dir, bool repair, vch_damage_fn, void *ctx,
                                  uint64_t *ret_damaged, vch_err_t *);

#endif
