/* SPDX-License-Identifier: Apache-2.0 */
/* Reed–Solomon over GF(2^8) by ISA-L, with a Cauchy matrix: any k of n blocks
 * have the whole.  With k = 1 all factors are 1. */
#include <isa-l.h>

#include "store/shards.h"

#define TABLE 32u /* bytes of ISA-L's tables for one coefficient */

struct vch_coding {
    unsigned k, n;
    uint8_t matrix[VCH_NODES_MAX * VCH_NODES_MAX]; /* n rows of k: the identity, then parity */
    uint8_t parity[TABLE * VCH_NODES_MAX * VCH_NODES_MAX];
};

vch_rc vch_coding_new(vch_coding_t **ret, unsigned k, unsigned n)
{
    if (k < 1 || n < k || n > VCH_NODES_MAX || (n > 1 && n == k)) return VCH_ERR_LIMIT;
    vch_coding_t *c = vch_alloc(sizeof *c);
    if (!c) return VCH_ERR_MEMORY;
    c->k = k;
    c->n = n;
    gf_gen_cauchy1_matrix(c->matrix, (int)n, (int)k);
    if (k == 1) memset(c->matrix, 1, n); /* plain copies */
    if (n > k) ec_init_tables((int)k, (int)(n - k), c->matrix + (size_t)k * k, c->parity);
    *ret = c;
    return VCH_OK;
}

void vch_coding_free(vch_coding_t *c) { vch_free(c); }

void vch_coding_encode(const vch_coding_t *c, uint8_t *const *block, size_t len)
{
    if (c->n == c->k) return;
    uint8_t *table = (uint8_t *)(uintptr_t)c->parity; /* read only, whatever ISA-L's declaration says */
    ec_encode_data((int)len, (int)c->k, (int)(c->n - c->k), table, (uint8_t **)(uintptr_t)block,
                   (uint8_t **)(uintptr_t)(block + c->k));
}

/* Rows of the matrix that give the wanted blocks from the ones at hand. */
static bool solve(const vch_coding_t *c, const unsigned *source, const unsigned *want, size_t wants, uint8_t *ret)
{
    uint8_t have[VCH_NODES_MAX * VCH_NODES_MAX], inverse[VCH_NODES_MAX * VCH_NODES_MAX];
    for (unsigned i = 0; i < c->k; i++) memcpy(have + i * c->k, c->matrix + source[i] * c->k, c->k);
    if (gf_invert_matrix(have, inverse, (int)c->k) != 0) return false;
    for (size_t w = 0; w < wants; w++)
        for (unsigned col = 0; col < c->k; col++) {
            uint8_t sum = 0;
            for (unsigned i = 0; i < c->k; i++) sum ^= gf_mul(c->matrix[want[w] * c->k + i], inverse[i * c->k + col]);
            ret[w * c->k + col] = sum;
        }
    return true;
}

vch_rc vch_coding_rebuild(const vch_coding_t *c, uint8_t *const *block, size_t len, uint32_t have, uint32_t want)
{
    unsigned source[VCH_NODES_MAX], missing[VCH_NODES_MAX], sources = 0, wants = 0;
    uint8_t *from[VCH_NODES_MAX], *to[VCH_NODES_MAX];
    uint8_t row[VCH_NODES_MAX * VCH_NODES_MAX], table[TABLE * VCH_NODES_MAX * VCH_NODES_MAX];
    for (unsigned i = 0; i < c->n; i++) {
        if (have >> i & 1 && sources < c->k) {
            from[sources] = block[i];
            source[sources++] = i;
        } else if (want >> i & 1 && !(have >> i & 1)) {
            to[wants] = block[i];
            missing[wants++] = i;
        }
    }
    if (sources < c->k) return VCH_ERR_NOT_FOUND;
    if (wants == 0) return VCH_OK;
    if (!solve(c, source, missing, wants, row)) return VCH_ERR_INTERNAL;
    ec_init_tables((int)c->k, (int)wants, row, table);
    ec_encode_data((int)len, (int)c->k, (int)wants, table, from, to);
    return VCH_OK;
}
