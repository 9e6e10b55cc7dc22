/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/seal.h"

#include <sodium.h>

#include "crypto/keys.h"

_Static_assert(VCH_SEAL_OVERHEAD == crypto_box_SEALBYTES, "one-time key and tag");

vch_rc vch_seal_pair(uint8_t ret_public[VCH_SEAL_KEY], uint8_t secret[VCH_SEAL_KEY], const uint8_t seed[32])
{
    VCH_TRY(vch_crypto_start());
    return crypto_box_seed_keypair(ret_public, secret, seed) == 0 ? VCH_OK : VCH_ERR_INTERNAL;
}

/* The nonce of crypto_box_seal: BLAKE2b-192 of both public keys. */
static void make_nonce(uint8_t ret[crypto_box_NONCEBYTES], const uint8_t from[32], const uint8_t to[32])
{
    uint8_t both[64];
    memcpy(both, from, 32);
    memcpy(both + 32, to, 32);
    (void)crypto_generichash(ret, crypto_box_NONCEBYTES, both, sizeof both, NULL, 0);
}

vch_rc vch_seal(vch_buf_t *ret, vch_slice_t plain, const uint8_t to[VCH_SEAL_KEY], const uint8_t random[32])
{
    uint8_t own[32], secret[32], nonce[crypto_box_NONCEBYTES], *out;
    size_t before = ret->n;
    VCH_TRY(vch_seal_pair(own, secret, random));
    make_nonce(nonce, own, to);
    vch_rc rc = vch_buf_extend(ret, plain.n + VCH_SEAL_OVERHEAD, &out);
    if (rc == VCH_OK) {
        memcpy(out, own, 32);
        if (crypto_box_easy(out + 32, plain.p, plain.n, nonce, to, secret) != 0) {
            ret->n = before;
            rc = VCH_ERR_KEY;
        }
    }
    vch_wipe(secret, sizeof secret);
    return rc;
}

vch_rc vch_seal_open(uint8_t *ret, size_t plain_max, size_t *ret_n, vch_slice_t box,
                     const uint8_t public_key[VCH_SEAL_KEY], const uint8_t secret[VCH_SEAL_KEY])
{
    VCH_TRY(vch_crypto_start());
    if (box.n < VCH_SEAL_OVERHEAD) return VCH_ERR_FORMAT;
    size_t n = box.n - VCH_SEAL_OVERHEAD;
    if (n > plain_max) return VCH_ERR_LIMIT;
    if (crypto_box_seal_open(ret, box.p, box.n, public_key, secret) != 0) return VCH_ERR_KEY;
    *ret_n = n;
    return VCH_OK;
}

_Static_assert(VCH_LOCKED_OVERHEAD ==
                   crypto_aead_xchacha20poly1305_ietf_NPUBBYTES + crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "nonce and tag");

vch_rc vch_lock_box(vch_buf_t *ret, vch_slice_t plain, const uint8_t key[32], vch_slice_t about,
                    const uint8_t nonce[24])
{
    uint8_t *out;
    VCH_TRY(vch_crypto_start());
    VCH_TRY(vch_buf_extend(ret, plain.n + VCH_LOCKED_OVERHEAD, &out));
    memcpy(out, nonce, 24);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(out + 24, NULL, plain.p, plain.n, about.p, about.n, NULL, nonce,
                                                     key);
    return VCH_OK;
}

vch_rc vch_unlock_box(uint8_t *ret, vch_slice_t box, const uint8_t key[32], vch_slice_t about)
{
    VCH_TRY(vch_crypto_start());
    if (box.n < VCH_LOCKED_OVERHEAD) return VCH_ERR_FORMAT;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(ret, NULL, NULL, box.p + 24, box.n - 24, about.p, about.n, box.p,
                                                   key) == 0)
        return VCH_OK;
    vch_wipe(ret, box.n - VCH_LOCKED_OVERHEAD);
    return VCH_ERR_KEY;
}
