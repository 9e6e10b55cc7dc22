/* SPDX-License-Identifier: Apache-2.0 */
/* An extent's ciphertext over n storage nodes, any k of which have it whole.
 * docs/formats/vault-extent.md has the bytes.
 *
 *   segment   some records of one stream, at most 4 MiB, cut into k blocks of
 *             equal length (the last padded with zeros) and n - k parity blocks
 *             (Reed–Solomon over GF(2^8), Cauchy matrix, ISA-L)
 *   block     of node j: what this node has of the segment; its hash is the
 *             RFC 6962 root over its chunks of 4 KiB
 *   manifest  stream, rows, length and the n block hashes of every segment; the
 *             shards root is the RFC 6962 root over the segments' manifest rows
 *   shard     one object a node: blocks in order, manifest, trailer
 *
 * Whoever knows the root believes no node: each block is checked before use,
 * and a node that sent another one is named.  One thread at a time. */
#ifndef VCH_SHARDS_H
#define VCH_SHARDS_H

#include "crypto/sha256.h"
#include "store/backend.h"

#define VCH_NODES_MAX 16u          /* n; 1 <= k < n, or k = n = 1 */
#define VCH_SEGMENT_MAX (4u << 20) /* bytes */
#define VCH_SEGMENTS_MAX (1u << 20)
#define VCH_CHUNK_LEN 4096u

/* ---- the code alone ---- */

typedef struct vch_coding vch_coding_t;
VCH_MUST_USE vch_rc vch_coding_new(vch_coding_t **ret, unsigned k, unsigned n); /* ERR_LIMIT, ERR_MEMORY */
void vch_coding_free(vch_coding_t *);                                           /* NULL is fine */
/* block[0..k) are read, block[k..n) written; each has `len` bytes. */
void vch_coding_encode(const vch_coding_t *, uint8_t *const *block, size_t len);
/* Blocks whose bit is set in `have` (at least k of them, else ERR_NOT_FOUND) are
 * read, those in `want` and not in `have` are written. */
VCH_MUST_USE vch_rc vch_coding_rebuild(const vch_coding_t *, uint8_t *const *block, size_t len, uint32_t have,
                                       uint32_t want);

/* ---- writing ---- */

typedef struct {
    uint8_t stream;  /* a group of columns, or what else the caller numbers */
    uint32_t first;  /* row */
    uint32_t count;  /* rows, at least 1; inside a stream rows ascend without gaps, streams may alternate */
    uint32_t length; /* bytes, 1 to VCH_SEGMENT_MAX */
} vch_segment_t;

typedef struct vch_shards_writer vch_shards_writer_t;
/* node: n back ends, borrowed until finish or abort. */
VCH_MUST_USE vch_rc vch_shards_begin(vch_shards_writer_t **ret, vch_backend_t *const *node, unsigned k, unsigned n,
                                     const vch_hash_t *extent, vch_err_t *);
/* After a failure but ERR_LIMIT, put and finish are refused: abort. */
VCH_MUST_USE vch_rc vch_shards_put(vch_shards_writer_t *, const vch_segment_t *, const uint8_t *data, vch_err_t *);
/* All n shards are durable, or none is left.  Ends the writer either way. */
VCH_MUST_USE vch_rc vch_shards_finish(vch_shards_writer_t *, vch_hash_t *ret_root, vch_err_t *);
void vch_shards_abort(vch_shards_writer_t *); /* NULL is fine; nothing is left */
/* Best effort, for an ingest that was finished and then not registered. */
void vch_shards_remove(vch_backend_t *const *node, unsigned n, const vch_hash_t *extent);

/* ---- reading ---- */

typedef struct vch_shards vch_shards_t;
/* The manifest from the first node that has the one with this root.  node[j]
 * may be NULL (gone).  ERR_UNREACHABLE when no node has it; the error says what
 * each of them had instead. */
VCH_MUST_USE vch_rc vch_shards_open(vch_shards_t **ret, vch_backend_t *const *node, unsigned k, unsigned n,
                                    const vch_hash_t *extent, const vch_hash_t *root, vch_err_t *);
void vch_shards_close(vch_shards_t *); /* NULL is fine */
uint32_t vch_shards_count(const vch_shards_t *);
const vch_segment_t *vch_shards_at(const vch_shards_t *, uint32_t segment);
/* The segment that holds a row of a stream; false when there is none. */
bool vch_shards_find(const vch_shards_t *, uint8_t stream, uint32_t row, uint32_t *ret_segment);
/* ret: room for the segment's length.  Data blocks first, parity where one is
 * missing or wrong.  *ret_bad (may be NULL): bit j set when node j sent a block
 * that isn't the manifest's, or ended early; nodes that are gone aren't bad.
 * ERR_UNREACHABLE: fewer than k blocks are right. */
VCH_MUST_USE vch_rc vch_shards_read(vch_shards_t *, uint32_t segment, uint8_t *ret, uint32_t *ret_bad, vch_err_t *);
/* Node j's shard anew from the others, onto this back end (an old one there is
 * removed once the new one's blocks all verified). */
VCH_MUST_USE vch_rc vch_shards_repair(vch_shards_t *, unsigned node, vch_backend_t *to, vch_err_t *);

/* Blocks of node j's shard that are the manifest's; all of them are read.
 * ERR_UNREACHABLE when the node is gone or has no such object, ERR_CORRUPT when
 * its length, manifest or trailer is not the shard's. */
VCH_MUST_USE vch_rc vch_shards_check(vch_shards_t *, unsigned node, uint32_t *ret_good, vch_err_t *);

/* ---- audit: prove that you still hold it ---- */

/* What a node shows of its shard: one chunk and its way to the block's hash. */
#define VCH_AUDIT_PATH_MAX 11u
typedef struct vch_audit {
    uint32_t segment, chunk;
    uint32_t n; /* bytes of the chunk, VCH_CHUNK_LEN but for a block's last */
    uint8_t data[VCH_CHUNK_LEN];
    uint32_t hashes;
    vch_hash_t path[VCH_AUDIT_PATH_MAX];
} vch_audit_t;
/* Which chunk of node j's shard the nonce asks for: SHA-256("vouchsafe audit 1"
 * ‖ nonce ‖ extent ‖ u8 node), its first 8 bytes modulo the shard's chunks. */
VCH_MUST_USE vch_rc vch_shards_audit(vch_shards_t *, unsigned node, const vch_hash_t *nonce, vch_audit_t *ret,
                                     vch_err_t *);
/* The node's half of it: a chunk of the block of n bytes at `at`, and its path;
 * segment stays as it was.  ERR_FORMAT: no such chunk, or no such block. */
VCH_MUST_USE vch_rc vch_block_prove(vch_backend_t *, const char *name, uint64_t at, size_t n, uint32_t chunk,
                                    vch_audit_t *ret, vch_err_t *);
/* VCH_OK, or ERR_COMMITMENT (not what the manifest says), ERR_FORMAT (another
 * chunk than the nonce asks for). */
VCH_MUST_USE vch_rc vch_shards_audit_verify(const vch_shards_t *, unsigned node, const vch_hash_t *nonce,
                                            const vch_audit_t *, vch_err_t *);

#endif
