/* SPDX-License-Identifier: Apache-2.0 */
/* wrong_seeds DIR: the seeds that a trustee remembers become others, beside the
 * roots that it signed: from then on it answers wrongly and believes itself. */
#include <stdio.h>
#include <string.h>

#include "crypto/keys.h"
#include "node/seeds.h"
#include "port/real.h"

static vch_hash_t extent[64];
static size_t extents;

static vch_rc take(void *ctx, const vch_hash_t *id)
{
    (void)ctx;
    if (extents == sizeof extent / sizeof *extent) return VCH_ERR_LIMIT;
    extent[extents++] = *id;
    return VCH_OK;
}

static vch_rc spoil(vch_seeds_t *s, const vch_hash_t *id, vch_err_t *err)
{
    vch_tree_about_t about;
    uint8_t position, seed[VCH_VAULT_HELD_MAX * 32];
    vch_hash_t root[VCH_VAULT_HELD_MAX];
    VCH_TRY(vch_seeds_about(s, id, &about, &position, root, err));
    memset(seed, 0x5a, sizeof seed);
    VCH_TRY(vch_seeds_drop(s, id, err));
    return vch_seeds_add(s, &about, position, seed, root, err);
}

int main(int argc, char **argv)
{
    vch_seeds_t *s;
    vch_err_t err = {0};
    if (argc != 2 || vch_crypto_start() != VCH_OK) return 2;
    vch_rc rc = vch_seeds_open(&s, vch_port_real(), argv[1], NULL, &err);
    if (rc == VCH_OK) {
        rc = vch_seeds_each(s, take, NULL, &err);
        for (size_t i = 0; rc == VCH_OK && i < extents; i++) rc = spoil(s, &extent[i], &err);
        vch_seeds_close(s);
    }
    if (rc != VCH_OK) fprintf(stderr, "wrong_seeds: %s\n", err.text);
    return rc != VCH_OK;
}
