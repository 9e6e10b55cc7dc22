/* SPDX-License-Identifier: Apache-2.0 */
/* What a trustee's files hold once they are opened: what is accepted is exactly
 * what would be written, seeds stand in order, and finding one stays inside. */
#include <assert.h>

#include "node/seeds_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void tree(vch_slice_t in)
{
    sd_tree_t t;
    vch_buf_t out;
    if (sd_get_tree(&t, in) != VCH_OK) return;
    vch_buf_init(&out, SD_FILE_MAX);
    assert(sd_put_tree(&out, &t) == VCH_OK);
    assert(vch_slice_eq(vch_buf_slice(&out), in));
    const vch_kt_seed_t *seed = t.seed;
    for (unsigned i = 0; i < t.held; seed += t.n[i++])
        for (size_t k = 0; k < t.n[i]; k++) {
            assert(vch_kt_find(seed, t.n[i], seed[k].node) == &seed[k]);
            if (k)
                assert(vch_kt_first(seed[k].node) >= vch_kt_first(seed[k - 1].node) + vch_kt_count(seed[k - 1].node));
        }
    sd_forget(&out);
    sd_tree_free(&t);
}

static void places(vch_slice_t in)
{
    sd_place_t *p;
    size_t n;
    vch_buf_t out;
    if (sd_get_places(&p, &n, in) != VCH_OK) return;
    vch_buf_init(&out, SD_FILE_MAX);
    assert(sd_put_places(&out, p, n) == VCH_OK);
    assert(vch_slice_eq(vch_buf_slice(&out), in));
    sd_forget(&out);
    vch_secret_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0 || vch_crypto_start() != VCH_OK) return 0;
    if (data[0] & 1)
        tree(vch_slice(data + 1, n - 1));
    else
        places(vch_slice(data + 1, n - 1));
    return 0;
}
