/* SPDX-License-Identifier: Apache-2.0 */
/* What writing, reading and auditing shards share. */
#ifndef VCH_SHARDS_INT_H
#define VCH_SHARDS_INT_H

#include "merkle/tree.h"
#include "store/shards.h"

#define SH_TRAILER 56u
#define SH_ROW_HEAD 13u /* u8 stream ‖ u32 first ‖ u32 rows ‖ u32 length */
#define SH_BLOCK_MAX VCH_SEGMENT_MAX
#define SH_CHUNKS_MAX (SH_BLOCK_MAX / VCH_CHUNK_LEN)

static inline size_t sh_row_size(unsigned n) { return SH_ROW_HEAD + 32u * (size_t)n; }
static inline size_t sh_block_size(uint32_t length, unsigned k) { return ((size_t)length + k - 1) / k; }

/* One block of working memory for n blocks and their chunks' hashes. */
typedef struct {
    uint8_t *memory;
    uint8_t *block[VCH_NODES_MAX];
    vch_hash_t *leaf; /* SH_CHUNKS_MAX + 1 */
} sh_work_t;
vch_rc sh_work_make(sh_work_t *, unsigned k, unsigned n);
void sh_work_free(sh_work_t *);
/* Leaf hashes of a block's chunks; their number. */
size_t sh_chunk_hashes(vch_hash_t *ret, const uint8_t *block, size_t n);
/* RFC 6962 root over the chunks of a block. */
void sh_block_hash(vch_hash_t *ret, const uint8_t *block, size_t n, vch_hash_t *leaf);
void sh_name(char ret[72], const vch_hash_t *extent);

struct vch_shards {
    vch_backend_t *node[VCH_NODES_MAX];
    unsigned k, n;
    vch_hash_t extent;
    char name[72];
    uint32_t segments;
    vch_segment_t *segment;
    vch_hash_t *hash; /* n of each segment */
    uint64_t *at;     /* where each segment's block lies in a shard; one more: their end */
    vch_buf_t manifest;
    vch_coding_t *coding;
    sh_work_t work;
};

/* One node's block of a segment into to; VCH_OK only when it is the manifest's. */
vch_rc sh_fetch_block(vch_shards_t *, uint32_t segment, unsigned node, uint8_t *to, vch_err_t *);
void sh_put_trailer(uint8_t ret[SH_TRAILER], const vch_hash_t *extent, unsigned node, unsigned k, unsigned n,
                    uint32_t segments, uint32_t crc);

#endif
