/* SPDX-License-Identifier: Apache-2.0 */
/* Segments from any k blocks that are the manifest's. */
#include "store/shards_int.h"

/* ---- the manifest -------------------------------------------------------------------------- */

static vch_rc bad(vch_err_t *err, const char *what) { return vch_fail(err, VCH_ERR_CORRUPT, "the shard's %s", what); }

static vch_rc read_trailer(const vch_shards_t *s, unsigned node, uint32_t *ret_segments, uint32_t *ret_crc,
                           uint64_t *ret_end, vch_err_t *err)
{
    uint8_t t[SH_TRAILER];
    uint64_t size;
    vch_backend_t *b = s->node[node];
    VCH_TRY(b->ops->size(b, s->name, &size, err));
    if (size < SH_TRAILER) return bad(err, "trailer is missing");
    VCH_TRY(b->ops->read(b, s->name, t, sizeof t, size - SH_TRAILER, err));
    if (memcmp(t, "VCHSHRD1", 8) != 0 || vch_get_u32(t + 52) != vch_crc32c(0, t, 52))
        return bad(err, "trailer is damaged");
    if (memcmp(t + 8, s->extent.b, 32) != 0 || t[40] != node || t[41] != s->k || t[42] != s->n || t[43] != 0)
        return bad(err, "trailer is another shard's");
    *ret_segments = vch_get_u32(t + 44);
    *ret_crc = vch_get_u32(t + 48);
    if (*ret_segments == 0 || *ret_segments > VCH_SEGMENTS_MAX) return bad(err, "number of segments is impossible");
    if (size - SH_TRAILER < *ret_segments * sh_row_size(s->n)) return bad(err, "manifest is cut");
    *ret_end = size - SH_TRAILER - *ret_segments * sh_row_size(s->n);
    return VCH_OK;
}

static vch_rc allocate(vch_shards_t *s, uint32_t segments)
{
    vch_free(s->segment);
    vch_free(s->hash);
    vch_free(s->at);
    s->segments = segments;
    s->segment = vch_alloc_array(segments, sizeof *s->segment);
    s->hash = vch_alloc_array((size_t)segments * s->n, sizeof *s->hash);
    s->at = vch_alloc_array((size_t)segments + 1, sizeof *s->at);
    return s->segment && s->hash && s->at ? VCH_OK : VCH_ERR_MEMORY;
}

static bool parse_row(vch_shards_t *s, uint32_t i, const uint8_t *row, uint32_t next[256])
{
    vch_segment_t g = {row[0], vch_get_u32(row + 1), vch_get_u32(row + 5), vch_get_u32(row + 9)};
    if (g.count < 1 || g.length < 1 || g.length > VCH_SEGMENT_MAX) return false;
    if (g.first != next[g.stream] || g.count > UINT32_MAX - g.first) return false;
    next[g.stream] = g.first + g.count;
    s->segment[i] = g;
    memcpy(&s->hash[(size_t)i * s->n], row + SH_ROW_HEAD, 32u * (size_t)s->n);
    s->at[i + 1] = s->at[i] + sh_block_size(g.length, s->k);
    return true;
}

/* The rows' root first: what they say is looked at only when it is right. */
static vch_rc take_manifest(vch_shards_t *s, uint64_t end, const vch_hash_t *root, vch_err_t *err)
{
    vch_edge_t edge;
    vch_hash_t leaf, got;
    uint32_t next[256] = {0};
    size_t size = sh_row_size(s->n);
    vch_edge_init(&edge);
    for (uint32_t i = 0; i < s->segments; i++) {
        vch_tree_leaf(&leaf, vch_slice(s->manifest.p + i * size, size));
        vch_edge_add(&edge, &leaf, 1);
    }
    vch_edge_root(&edge, &got);
    if (!vch_hash_eq(&got, root)) return bad(err, "manifest is not the ledger's");
    for (uint32_t i = 0; i < s->segments; i++)
        if (!parse_row(s, i, s->manifest.p + i * size, next)) return bad(err, "manifest is impossible");
    return s->at[s->segments] == end ? VCH_OK : bad(err, "length is not what its manifest says");
}

static vch_rc open_from(vch_shards_t *s, unsigned node, const vch_hash_t *root, vch_err_t *err)
{
    uint32_t segments = 0, crc = 0;
    uint64_t end = 0;
    uint8_t *to;
    VCH_TRY(read_trailer(s, node, &segments, &crc, &end, err));
    if (allocate(s, segments) != VCH_OK) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_buf_clear(&s->manifest);
    if (vch_buf_extend(&s->manifest, segments * sh_row_size(s->n), &to) != VCH_OK)
        return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    VCH_TRY(s->node[node]->ops->read(s->node[node], s->name, to, s->manifest.n, end, err));
    if (vch_crc32c(0, s->manifest.p, s->manifest.n) != crc) return bad(err, "manifest is damaged");
    return take_manifest(s, end, root, err);
}

static vch_rc open_any(vch_shards_t *s, const vch_hash_t *root, vch_err_t *err)
{
    char text[160] = "";
    for (unsigned i = 0; i < s->n; i++) {
        vch_err_t why = {0};
        vch_rc rc = s->node[i] ? open_from(s, i, root, &why) : vch_fail(&why, VCH_ERR_UNREACHABLE, "gone");
        if (rc == VCH_OK) return VCH_OK;
        if (rc == VCH_ERR_MEMORY) return vch_fail(err, rc, "out of memory");
        size_t n = strlen(text);
        vch_buf_t b;
        vch_buf_init(&b, 256);
        if (vch_buf_printf(&b, "%snode %u: %.60s", n ? "; " : "", i + 1, why.text) == VCH_OK) {
            size_t more = vch_min(strlen((const char *)b.p), sizeof text - 1 - n);
            memcpy(text + n, b.p, more);
            text[n + more] = 0;
        }
        vch_buf_free(&b);
    }
    return vch_fail(err, VCH_ERR_UNREACHABLE, "no storage node has the extent: %s", text);
}

vch_rc vch_shards_open(vch_shards_t **ret, vch_backend_t *const *node, unsigned k, unsigned n, const vch_hash_t *extent,
                       const vch_hash_t *root, vch_err_t *err)
{
    if (n < 1 || n > VCH_NODES_MAX) return vch_fail(err, VCH_ERR_LIMIT, "1 to %u storage nodes", VCH_NODES_MAX);
    vch_shards_t *s = vch_alloc(sizeof *s);
    if (!s) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    memcpy(s->node, node, n * sizeof(vch_backend_t *));
    s->k = k;
    s->n = n;
    s->extent = *extent;
    sh_name(s->name, extent);
    vch_buf_init(&s->manifest, (size_t)VCH_SEGMENTS_MAX * sh_row_size(n));
    vch_rc rc = vch_coding_new(&s->coding, k, n);
    if (rc == VCH_OK) rc = sh_work_make(&s->work, k, n);
    rc = rc == VCH_OK ? open_any(s, root, err) : vch_fail(err, rc, "shards can't be read: %s", vch_rc_text(rc));
    if (rc == VCH_OK)
        *ret = s;
    else
        vch_shards_close(s);
    return rc;
}

void vch_shards_close(vch_shards_t *s)
{
    if (!s) return;
    vch_coding_free(s->coding);
    sh_work_free(&s->work);
    vch_buf_free(&s->manifest);
    vch_free(s->segment);
    vch_free(s->hash);
    vch_free(s->at);
    vch_free(s);
}

uint32_t vch_shards_count(const vch_shards_t *s) { return s->segments; }
const vch_segment_t *vch_shards_at(const vch_shards_t *s, uint32_t i) { return &s->segment[i]; }

bool vch_shards_find(const vch_shards_t *s, uint8_t stream, uint32_t row, uint32_t *ret_segment)
{
    for (uint32_t i = 0; i < s->segments; i++)
        if (s->segment[i].stream == stream && row >= s->segment[i].first &&
            row - s->segment[i].first < s->segment[i].count) {
            *ret_segment = i;
            return true;
        }
    return false;
}

/* ---- a segment -------------------------------------------------------------------------------- */

vch_rc sh_fetch_block(vch_shards_t *s, uint32_t segment, unsigned node, uint8_t *to, vch_err_t *err)
{
    vch_backend_t *b = s->node[node];
    vch_hash_t hash;
    size_t n = sh_block_size(s->segment[segment].length, s->k);
    if (!b) return VCH_ERR_UNREACHABLE;
    VCH_TRY(b->ops->read(b, s->name, to, n, s->at[segment], err));
    sh_block_hash(&hash, to, n, s->work.leaf);
    return vch_hash_eq(&hash, &s->hash[(size_t)segment * s->n + node]) ? VCH_OK : VCH_ERR_COMMITMENT;
}

/* k good blocks, data blocks first, in s->work; their bits.  Only memory that
 * is refused ends it. */
static vch_rc gather(vch_shards_t *s, uint32_t segment, uint32_t *ret_have, uint32_t *ret_bad, vch_err_t *err)
{
    uint32_t bad_nodes = 0;
    *ret_have = 0;
    for (unsigned i = 0; i < s->n && (unsigned)__builtin_popcount(*ret_have) < s->k; i++) {
        vch_rc rc = sh_fetch_block(s, segment, i, s->work.block[i], NULL);
        if (rc == VCH_ERR_MEMORY) return vch_fail(err, rc, "out of memory");
        if (rc == VCH_OK) *ret_have |= 1u << i;
        if (rc == VCH_ERR_COMMITMENT || rc == VCH_ERR_CORRUPT) bad_nodes |= 1u << i;
    }
    if (ret_bad) *ret_bad = bad_nodes;
    return VCH_OK;
}

vch_rc vch_shards_read(vch_shards_t *s, uint32_t segment, uint8_t *ret, uint32_t *ret_bad, vch_err_t *err)
{
    uint32_t have, data = (1u << s->k) - 1;
    if (segment >= s->segments) return vch_fail(err, VCH_ERR_NOT_FOUND, "there is no segment %u", segment);
    size_t length = s->segment[segment].length, block = sh_block_size((uint32_t)length, s->k);
    VCH_TRY(gather(s, segment, &have, ret_bad, err));
    if (vch_coding_rebuild(s->coding, s->work.block, block, have, data) != VCH_OK)
        return vch_fail(err, VCH_ERR_UNREACHABLE, "segment %u: %d storage nodes of %u have their block, and %u must",
                        segment, __builtin_popcount(have), s->n, s->k);
    for (unsigned i = 0; i < s->k; i++) {
        size_t at = vch_min(i * block, length);
        memcpy(ret + at, s->work.block[i], vch_min(block, length - at));
    }
    return VCH_OK;
}
