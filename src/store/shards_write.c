/* SPDX-License-Identifier: Apache-2.0 */
/* Segments into blocks, blocks onto nodes, manifest behind them. */
#include "store/shards_int.h"

#define MANIFEST_MAX ((size_t)VCH_SEGMENTS_MAX * (SH_ROW_HEAD + 32u * VCH_NODES_MAX))

struct vch_shards_writer {
    unsigned k, n;
    bool failed; /* a segment is only partly there: nothing more can come of it */
    vch_hash_t extent;
    uint32_t segments;
    uint32_t next[256]; /* row of each stream that must come next */
    vch_coding_t *coding;
    sh_work_t work;
    vch_buf_t manifest;
    vch_edge_t edge;
    vch_backend_t *node[VCH_NODES_MAX];
    vch_upload_t *upload[VCH_NODES_MAX];
};

/* ---- shared ------------------------------------------------------------------------- */

vch_rc sh_work_make(sh_work_t *w, unsigned k, unsigned n)
{
    size_t block = sh_block_size(VCH_SEGMENT_MAX, k);
    w->memory = vch_alloc(block * n);
    w->leaf = vch_alloc_array(SH_CHUNKS_MAX + 1, sizeof *w->leaf);
    if (!w->memory || !w->leaf) return VCH_ERR_MEMORY;
    for (unsigned i = 0; i < n; i++) w->block[i] = w->memory + i * block;
    return VCH_OK;
}

void sh_work_free(sh_work_t *w)
{
    vch_free(w->memory);
    vch_free(w->leaf);
}

size_t sh_chunk_hashes(vch_hash_t *ret, const uint8_t *block, size_t n)
{
    size_t chunks = n / VCH_CHUNK_LEN, rest = n % VCH_CHUNK_LEN;
    vch_sha256_fixed(ret, 0, block, VCH_CHUNK_LEN, VCH_CHUNK_LEN, chunks);
    if (rest) vch_tree_leaf(&ret[chunks++], vch_slice(block + n - rest, rest));
    return chunks;
}

void sh_block_hash(vch_hash_t *ret, const uint8_t *block, size_t n, vch_hash_t *leaf)
{
    vch_tree_root_in_place(ret, leaf, sh_chunk_hashes(leaf, block, n));
}

void sh_name(char ret[72], const vch_hash_t *extent)
{
    vch_hex(ret, extent->b, 32);
    memcpy(ret + 64, ".shard", 7);
}

void sh_put_trailer(uint8_t ret[SH_TRAILER], const vch_hash_t *extent, unsigned node, unsigned k, unsigned n,
                    uint32_t segments, uint32_t crc)
{
    memcpy(ret, "VCHSHRD1", 8);
    memcpy(ret + 8, extent->b, 32);
    ret[40] = (uint8_t)node;
    ret[41] = (uint8_t)k;
    ret[42] = (uint8_t)n;
    ret[43] = 0;
    vch_put_u32(ret + 44, segments);
    vch_put_u32(ret + 48, crc);
    vch_put_u32(ret + 52, vch_crc32c(0, ret, 52));
}

/* ---- the writer ------------------------------------------------------------------------ */

static vch_rc begin(vch_shards_writer_t *w, vch_err_t *err)
{
    char name[72];
    vch_rc rc = vch_coding_new(&w->coding, w->k, w->n);
    if (rc == VCH_OK) rc = sh_work_make(&w->work, w->k, w->n);
    if (rc != VCH_OK) return vch_fail(err, rc, "shards can't be made: %s", vch_rc_text(rc));
    sh_name(name, &w->extent);
    for (unsigned i = 0; i < w->n; i++) VCH_TRY(w->node[i]->ops->create(w->node[i], &w->upload[i], name, err));
    return VCH_OK;
}

vch_rc vch_shards_begin(vch_shards_writer_t **ret, vch_backend_t *const *node, unsigned k, unsigned n,
                        const vch_hash_t *extent, vch_err_t *err)
{
    if (n < 1 || n > VCH_NODES_MAX) return vch_fail(err, VCH_ERR_LIMIT, "1 to %u storage nodes", VCH_NODES_MAX);
    vch_shards_writer_t *w = vch_alloc(sizeof *w);
    if (!w) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    w->k = k;
    w->n = n;
    w->extent = *extent;
    memcpy(w->node, node, n * sizeof(vch_backend_t *));
    vch_buf_init(&w->manifest, MANIFEST_MAX);
    vch_edge_init(&w->edge);
    vch_rc rc = begin(w, err);
    if (rc == VCH_OK)
        *ret = w;
    else
        vch_shards_abort(w);
    return rc;
}

static void writer_free(vch_shards_writer_t *w)
{
    vch_coding_free(w->coding);
    sh_work_free(&w->work);
    vch_buf_free(&w->manifest);
    vch_free(w);
}

void vch_shards_abort(vch_shards_writer_t *w)
{
    if (!w) return;
    for (unsigned i = 0; i < w->n; i++)
        if (w->upload[i]) w->node[i]->ops->abort(w->upload[i]);
    writer_free(w);
}

/* ---- a segment ---------------------------------------------------------------------------- */

static bool fits(const vch_shards_writer_t *w, const vch_segment_t *s)
{
    return s->count >= 1 && s->length >= 1 && s->length <= VCH_SEGMENT_MAX && s->first == w->next[s->stream] &&
           s->count <= UINT32_MAX - s->first && w->segments < VCH_SEGMENTS_MAX;
}

static vch_rc put_row(vch_shards_writer_t *w, const vch_segment_t *s, size_t block)
{
    uint8_t *row;
    vch_hash_t hash, leaf;
    VCH_TRY(vch_buf_extend(&w->manifest, sh_row_size(w->n), &row));
    row[0] = s->stream;
    vch_put_u32(row + 1, s->first);
    vch_put_u32(row + 5, s->count);
    vch_put_u32(row + 9, s->length);
    for (unsigned i = 0; i < w->n; i++) {
        sh_block_hash(&hash, w->work.block[i], block, w->work.leaf);
        memcpy(row + SH_ROW_HEAD + 32 * i, hash.b, 32);
    }
    vch_tree_leaf(&leaf, vch_slice(row, sh_row_size(w->n)));
    vch_edge_add(&w->edge, &leaf, 1);
    return VCH_OK;
}

vch_rc vch_shards_put(vch_shards_writer_t *w, const vch_segment_t *s, const uint8_t *data, vch_err_t *err)
{
    if (w->failed) return vch_fail(err, VCH_ERR_IO, "an earlier segment was not written");
    if (!fits(w, s)) return vch_fail(err, VCH_ERR_LIMIT, "a segment that can't come here");
    size_t block = sh_block_size(s->length, w->k);
    for (unsigned i = 0; i < w->k; i++) {
        size_t at = vch_min(i * block, s->length), n = vch_min(block, s->length - at);
        memcpy(w->work.block[i], data + at, n);
        memset(w->work.block[i] + n, 0, block - n);
    }
    vch_coding_encode(w->coding, w->work.block, block);
    w->failed = true;
    if (put_row(w, s, block) != VCH_OK) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    for (unsigned i = 0; i < w->n; i++)
        VCH_TRY(w->node[i]->ops->append(w->upload[i], vch_slice(w->work.block[i], block), err));
    w->next[s->stream] = s->first + s->count;
    w->segments++;
    w->failed = false;
    return VCH_OK;
}

/* ---- the end --------------------------------------------------------------------------------- */

static vch_rc finish_node(vch_shards_writer_t *w, unsigned i, uint32_t crc, vch_err_t *err)
{
    uint8_t trailer[SH_TRAILER];
    vch_upload_t *u = w->upload[i];
    sh_put_trailer(trailer, &w->extent, i, w->k, w->n, w->segments, crc);
    VCH_TRY(w->node[i]->ops->append(u, vch_buf_slice(&w->manifest), err));
    VCH_TRY(w->node[i]->ops->append(u, vch_slice(trailer, sizeof trailer), err));
    w->upload[i] = NULL;
    return w->node[i]->ops->finish(u, err);
}

vch_rc vch_shards_finish(vch_shards_writer_t *w, vch_hash_t *ret_root, vch_err_t *err)
{
    uint32_t crc = vch_crc32c(0, w->manifest.p, w->manifest.n);
    vch_rc rc = w->segments ? VCH_OK : vch_fail(err, VCH_ERR_LIMIT, "an extent without a segment");
    if (w->failed) rc = vch_fail(err, VCH_ERR_IO, "a segment was not written");
    unsigned done = 0;
    for (; rc == VCH_OK && done < w->n; done++) rc = finish_node(w, done, crc, err);
    if (rc == VCH_OK) {
        vch_edge_root(&w->edge, ret_root);
        writer_free(w);
        return VCH_OK;
    }
    if (done) vch_shards_remove(w->node, done, &w->extent);
    vch_shards_abort(w);
    return rc;
}

void vch_shards_remove(vch_backend_t *const *node, unsigned n, const vch_hash_t *extent)
{
    char name[72];
    sh_name(name, extent);
    for (unsigned i = 0; i < n; i++) {
        vch_rc ignored = node[i] ? node[i]->ops->remove(node[i], name, NULL) : VCH_OK;
        (void)ignored; /* best effort: it is swept later */
    }
}
