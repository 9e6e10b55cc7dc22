/* SPDX-License-Identifier: Apache-2.0 */
/* The vault's messages: what is accepted is exactly what would be written, and
 * a proof from outside names nobody whose signatures it lacks. */
#include <assert.h>

#include "codec/cbor.h"
#include "entry/vault.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static vch_release_t release;
static vch_destroyed_t destroyed;

/* VCH_ERR_FORMAT from a get: nothing was written. */
static vch_rc again(vch_buf_t *out, vch_slice_t in, unsigned kind)
{
    vch_prekey_t prekey;
    vch_root_t root;
    vch_seeds_answer_t answer;
    vch_blame_t blame;
    switch (kind) {
    case 0:
        VCH_TRY(vch_prekey_get(&prekey, in));
        return vch_prekey_put(out, &prekey);
    case 1:
        VCH_TRY(vch_root_get(&root, in));
        return vch_root_put(out, &root);
    case 2:
        VCH_TRY(vch_release_get(&release, in));
        return vch_release_put(out, &release);
    case 3:
        VCH_TRY(vch_answer_get(&answer, in));
        return vch_answer_put(out, &answer);
    case 4:
        VCH_TRY(vch_destroyed_get(&destroyed, in));
        return vch_destroyed_put(out, &destroyed);
    default:
        VCH_TRY(vch_blame_get(&blame, in));
        return vch_blame_put(out, &blame);
    }
}

static void open_deal(vch_slice_t in)
{
    static const uint8_t secret[VCH_SEAL_KEY] = {1};
    uint8_t seed[VCH_VAULT_HELD_MAX * VCH_KT_KEY];
    vch_deal_t d;
    if (vch_deal_get(&d, in) != VCH_OK) return;
    assert(vch_cbor_check(in) == VCH_OK);
    assert(vch_deal_open(seed, &d, secret) != VCH_OK); /* sealed to keys of nobody */
}

static void judge(vch_slice_t in)
{
    static const vch_hash_t network;
    vch_blame_t b;
    vch_cose_t c;
    vch_pubkey_t key = {.alg = VCH_ALG_ED25519, .n = 34, .b = {0xed, 0x01, 2}};
    if (vch_blame_get(&b, in) != VCH_OK) return;
    vch_rc read = vch_cose_read(&c, b.root);
    vch_rc rc = vch_blame_verify(&b, &key, &network);
    assert(rc != VCH_OK);
    if (read != VCH_OK) assert(rc == read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_slice_t in = vch_slice(data, n);
    vch_buf_t out;
    vch_buf_init(&out, n + 64);
    for (unsigned kind = 0; kind < 6; kind++) {
        vch_buf_clear(&out);
        vch_rc rc = again(&out, in, kind);
        assert(rc == VCH_OK || rc == VCH_ERR_FORMAT);
        if (rc == VCH_OK) assert(vch_slice_eq(vch_buf_slice(&out), in) && vch_cbor_check(in) == VCH_OK);
    }
    open_deal(in);
    judge(in);
    vch_buf_free(&out);
    return 0;
}
