/* SPDX-License-Identifier: Apache-2.0 */
/* A node's shard made anew from the others', and its proof that it holds it. */
#include "store/shards_int.h"

/* ---- repair ---------------------------------------------------------------------------- */

/* Block `node` of a segment in s->work, from any k good ones of the others. */
static vch_rc rebuild_block(vch_shards_t *s, uint32_t segment, unsigned node, vch_err_t *err)
{
    size_t block = sh_block_size(s->segment[segment].length, s->k);
    vch_hash_t hash;
    uint32_t have = 0;
    for (unsigned i = 0; i < s->n && (unsigned)__builtin_popcount(have) < s->k; i++) {
        vch_rc rc = i == node ? VCH_ERR_NOT_FOUND : sh_fetch_block(s, segment, i, s->work.block[i], NULL);
        if (rc == VCH_ERR_MEMORY) return vch_fail(err, rc, "out of memory");
        if (rc == VCH_OK) have |= 1u << i;
    }
    if (vch_coding_rebuild(s->coding, s->work.block, block, have, 1u << node) != VCH_OK)
        return vch_fail(err, VCH_ERR_UNREACHABLE, "segment %u: %d other storage nodes have their block, and %u must",
                        segment, __builtin_popcount(have), s->k);
    sh_block_hash(&hash, s->work.block[node], block, s->work.leaf);
    if (vch_hash_eq(&hash, &s->hash[(size_t)segment * s->n + node])) return VCH_OK;
    return vch_fail(err, VCH_ERR_COMMITMENT, "segment %u: the rebuilt block is not the ledger's: it was coded badly",
                    segment);
}

static vch_rc write_blocks(vch_shards_t *s, unsigned node, vch_backend_t *to, vch_upload_t *u, vch_err_t *err)
{
    uint8_t trailer[SH_TRAILER];
    for (uint32_t i = 0; i < s->segments; i++) {
        VCH_TRY(rebuild_block(s, i, node, err));
        size_t n = sh_block_size(s->segment[i].length, s->k);
        VCH_TRY(to->ops->append(u, vch_slice(s->work.block[node], n), err));
    }
    uint32_t crc = vch_crc32c(0, s->manifest.p, s->manifest.n);
    sh_put_trailer(trailer, &s->extent, node, s->k, s->n, s->segments, crc);
    VCH_TRY(to->ops->append(u, vch_buf_slice(&s->manifest), err));
    return to->ops->append(u, vch_slice(trailer, sizeof trailer), err);
}

/* All blocks are rebuilt once before the old shard goes, and once more to be written. */
static vch_rc replace(vch_shards_t *s, unsigned node, vch_backend_t *to, vch_err_t *err)
{
    vch_upload_t *u;
    uint64_t size;
    vch_rc rc = to->ops->size(to, s->name, &size, NULL);
    bool there = rc == VCH_OK;
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "the old shard can't be looked for");
    for (uint32_t i = 0; i < s->segments; i++) VCH_TRY(rebuild_block(s, i, node, err));
    if (there) VCH_TRY(to->ops->remove(to, s->name, err));
    VCH_TRY(to->ops->create(to, &u, s->name, err));
    rc = write_blocks(s, node, to, u, err);
    if (rc == VCH_OK) return to->ops->finish(u, err);
    to->ops->abort(u);
    return rc;
}

vch_rc vch_shards_repair(vch_shards_t *s, unsigned node, vch_backend_t *to, vch_err_t *err)
{
    if (node >= s->n) return vch_fail(err, VCH_ERR_NOT_FOUND, "there is no storage node %u", node);
    if (s->n == 1) return vch_fail(err, VCH_ERR_UNREACHABLE, "a single storage node's shard can't be made anew");
    return replace(s, node, to, err);
}

static vch_rc tail_is_right(vch_shards_t *s, unsigned node, uint64_t size, vch_err_t *err)
{
    uint8_t want[SH_TRAILER], *tail;
    size_t n = s->manifest.n + SH_TRAILER;
    if (size != s->at[s->segments] + n) return vch_fail(err, VCH_ERR_CORRUPT, "storage node %u: its length", node + 1);
    tail = vch_alloc(n);
    if (!tail) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_rc rc = s->node[node]->ops->read(s->node[node], s->name, tail, n, s->at[s->segments], err);
    sh_put_trailer(want, &s->extent, node, s->k, s->n, s->segments, vch_crc32c(0, s->manifest.p, s->manifest.n));
    if (rc == VCH_OK &&
        (memcmp(tail, s->manifest.p, s->manifest.n) != 0 || memcmp(tail + s->manifest.n, want, SH_TRAILER) != 0))
        rc = vch_fail(err, VCH_ERR_CORRUPT, "storage node %u: its manifest or trailer is damaged", node + 1);
    vch_free(tail);
    return rc;
}

vch_rc vch_shards_check(vch_shards_t *s, unsigned node, uint32_t *ret_good, vch_err_t *err)
{
    uint64_t size;
    *ret_good = 0;
    if (node >= s->n || !s->node[node]) return vch_fail(err, VCH_ERR_UNREACHABLE, "storage node %u is gone", node + 1);
    if (s->node[node]->ops->size(s->node[node], s->name, &size, NULL) != VCH_OK)
        return vch_fail(err, VCH_ERR_UNREACHABLE, "storage node %u does not have the shard", node + 1);
    VCH_TRY(tail_is_right(s, node, size, err));
    for (uint32_t i = 0; i < s->segments; i++)
        *ret_good += sh_fetch_block(s, i, node, s->work.block[node], NULL) == VCH_OK;
    return VCH_OK;
}

/* ---- audit -------------------------------------------------------------------------------- */

static uint32_t chunks_of(const vch_shards_t *s, uint32_t segment)
{
    return (uint32_t)((sh_block_size(s->segment[segment].length, s->k) + VCH_CHUNK_LEN - 1) / VCH_CHUNK_LEN);
}

static void asked_chunk(const vch_shards_t *s, unsigned node, const vch_hash_t *nonce, uint32_t *ret_segment,
                        uint32_t *ret_chunk)
{
    uint8_t text[17 + 32 + 32 + 1];
    vch_hash_t h;
    uint64_t total = 0;
    memcpy(text, "vouchsafe audit 1", 17);
    memcpy(text + 17, nonce->b, 32);
    memcpy(text + 49, s->extent.b, 32);
    text[81] = (uint8_t)node;
    vch_sha256(&h, text, sizeof text);
    for (uint32_t i = 0; i < s->segments; i++) total += chunks_of(s, i);
    uint64_t number = total ? vch_get_u64(h.b) % total : 0; /* a segment has a chunk, and there is one at least */
    for (*ret_segment = 0; number >= chunks_of(s, *ret_segment); ++*ret_segment) number -= chunks_of(s, *ret_segment);
    *ret_chunk = (uint32_t)number;
}

static size_t chunk_length(const vch_shards_t *s, uint32_t segment, uint32_t chunk)
{
    size_t block = sh_block_size(s->segment[segment].length, s->k);
    return vch_min(VCH_CHUNK_LEN, block - (size_t)chunk * VCH_CHUNK_LEN);
}

static vch_rc prove_chunk(const uint8_t *block, size_t n, uint32_t chunk, vch_audit_t *ret)
{
    size_t chunks = (n + VCH_CHUNK_LEN - 1) / VCH_CHUNK_LEN;
    vch_hash_t path[VCH_PATH_HASHES_MAX], *leaf = vch_alloc_array(2 * chunks + 1, sizeof *leaf);
    if (!leaf) return VCH_ERR_MEMORY;
    (void)sh_chunk_hashes(leaf, block, n);
    ret->chunk = chunk;
    ret->hashes = (uint32_t)vch_tree_path(path, leaf, chunks, chunk, leaf + chunks);
    vch_free(leaf);
    memcpy(ret->path, path, ret->hashes * sizeof *path);
    ret->n = (uint32_t)vch_min(VCH_CHUNK_LEN, n - (size_t)chunk * VCH_CHUNK_LEN);
    memset(ret->data, 0, sizeof ret->data);
    memcpy(ret->data, block + (size_t)chunk * VCH_CHUNK_LEN, ret->n);
    return VCH_OK;
}

vch_rc vch_block_prove(vch_backend_t *b, const char *name, uint64_t at, size_t n, uint32_t chunk, vch_audit_t *ret,
                       vch_err_t *err)
{
    if (n == 0 || n > SH_BLOCK_MAX || (size_t)chunk * VCH_CHUNK_LEN >= n)
        return vch_fail(err, VCH_ERR_FORMAT, "there is no such chunk");
    uint8_t *block = vch_alloc(n);
    if (!block) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_rc rc = b->ops->read(b, name, block, n, at, err);
    if (rc == VCH_OK && prove_chunk(block, n, chunk, ret) != VCH_OK)
        rc = vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_free(block);
    return rc;
}

vch_rc vch_shards_audit(vch_shards_t *s, unsigned node, const vch_hash_t *nonce, vch_audit_t *ret, vch_err_t *err)
{
    uint32_t chunk;
    if (node >= s->n || !s->node[node]) return vch_fail(err, VCH_ERR_UNREACHABLE, "storage node %u is gone", node + 1);
    asked_chunk(s, node, nonce, &ret->segment, &chunk);
    size_t n = sh_block_size(s->segment[ret->segment].length, s->k);
    uint64_t at = s->at[ret->segment];
    vch_backend_t *b = s->node[node];
    return b->ops->prove ? b->ops->prove(b, s->name, at, n, chunk, ret, err)
                         : vch_block_prove(b, s->name, at, n, chunk, ret, err);
}

vch_rc vch_shards_audit_verify(const vch_shards_t *s, unsigned node, const vch_hash_t *nonce, const vch_audit_t *a,
                               vch_err_t *err)
{
    uint32_t segment, chunk;
    vch_hash_t leaf;
    if (node >= s->n) return vch_fail(err, VCH_ERR_NOT_FOUND, "there is no storage node %u", node);
    asked_chunk(s, node, nonce, &segment, &chunk);
    if (a->segment != segment || a->chunk != chunk || a->n != chunk_length(s, segment, chunk) ||
        a->hashes > VCH_AUDIT_PATH_MAX)
        return vch_fail(err, VCH_ERR_FORMAT, "storage node %u shows another chunk than it was asked for", node + 1);
    vch_tree_leaf(&leaf, vch_slice(a->data, a->n));
    if (vch_inclusion_verify(chunk, chunks_of(s, segment), &leaf, a->path, a->hashes,
                             &s->hash[(size_t)segment * s->n + node]))
        return VCH_OK;
    return vch_fail(err, VCH_ERR_COMMITMENT, "storage node %u shows something else than it was given", node + 1);
}
