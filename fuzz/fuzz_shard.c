/* SPDX-License-Identifier: Apache-2.0 */
/* A storage node's object as a stranger's bytes: with its checksums made right
 * and its manifest's root believed, what opens is a shard whose segments add up
 * to its length, and a block is handed out only under its hash. */
#include <assert.h>
#include <stdlib.h>

#include "store/shards_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define OBJECT_MAX (1u << 16)

typedef struct {
    vch_backend_t backend;
    uint8_t b[OBJECT_MAX];
    size_t n;
} memory_t;

static vch_rc size_of(vch_backend_t *b, const char *name, uint64_t *ret, vch_err_t *err)
{
    (void)name;
    (void)err;
    *ret = ((memory_t *)(void *)b)->n;
    return VCH_OK;
}

static vch_rc read_of(vch_backend_t *b, const char *name, void *buf, size_t n, uint64_t at, vch_err_t *err)
{
    const memory_t *m = (memory_t *)(void *)b;
    (void)name;
    if (at > m->n || n > m->n - at) return vch_fail(err, VCH_ERR_CORRUPT, "ends early");
    memcpy(buf, m->b + at, n);
    return VCH_OK;
}

static const vch_backend_ops_t ops = {.size = size_of, .read = read_of};

/* Trailer and checksums made right, and the root of what stands there as manifest. */
static void mend(memory_t *m, unsigned k, unsigned n, vch_hash_t *root)
{
    static const vch_hash_t extent;
    uint8_t *trailer = m->b + m->n - SH_TRAILER;
    uint32_t segments = vch_get_u32(trailer + 44);
    size_t row = sh_row_size(n), most = (m->n - SH_TRAILER) / row;
    vch_edge_t edge;
    vch_hash_t leaf;
    if (segments > most) segments = (uint32_t)(segments % (most + 1));
    const uint8_t *manifest = trailer - segments * row;
    vch_edge_init(&edge);
    for (uint32_t i = 0; i < segments; i++) {
        vch_tree_leaf(&leaf, vch_slice(manifest + i * row, row));
        vch_edge_add(&edge, &leaf, 1);
    }
    vch_edge_root(&edge, root);
    sh_put_trailer(trailer, &extent, 0, k, n, segments, vch_crc32c(0, manifest, segments * row));
}

static void read_segments(vch_shards_t *s, const memory_t *m)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < vch_shards_count(s); i++) {
        const vch_segment_t *g = vch_shards_at(s, i);
        assert(g->length >= 1 && g->length <= VCH_SEGMENT_MAX && g->count >= 1);
        blocks += sh_block_size(g->length, s->k);
        uint32_t found;
        assert(vch_shards_find(s, g->stream, g->first, &found) && found == i);
        uint8_t *to = malloc(g->length);
        vch_rc rc = vch_shards_read(s, i, to, NULL, NULL);
        assert(rc == VCH_OK || rc == VCH_ERR_UNREACHABLE);
        if (rc == VCH_OK && s->k == 1) { /* a copy: these bytes have that hash */
            vch_hash_t hash;
            sh_block_hash(&hash, to, g->length, s->work.leaf);
            assert(vch_hash_eq(&hash, &s->hash[(size_t)i * s->n]));
        }
        free(to);
    }
    assert(blocks + vch_shards_count(s) * sh_row_size(s->n) + SH_TRAILER == m->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static memory_t m;
    static const vch_hash_t extent;
    vch_backend_t *node[VCH_NODES_MAX] = {&m.backend};
    vch_shards_t *s;
    vch_hash_t root = {{0}};
    if (n < 2 + SH_TRAILER || n - 2 > OBJECT_MAX) return 0;
    unsigned nodes = 1 + data[1] % VCH_NODES_MAX, k = 1 + data[0] % 4;
    m.backend.ops = &ops;
    m.n = n - 2;
    memcpy(m.b, data + 2, m.n);
    if (data[0] & 0x80) mend(&m, k, nodes, &root);
    if (vch_shards_open(&s, node, k, nodes, &extent, &root, NULL) != VCH_OK) return 0;
    assert(data[0] & 0x80); /* nobody finds the zero root */
    read_segments(s, &m);
    vch_shards_close(s);
    return 0;
}
