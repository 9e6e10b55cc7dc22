/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a signer, and the curve P-256 as the other files use it. */
#ifndef VCH_KEYS_IMPL_H
#define VCH_KEYS_IMPL_H

#include <openssl/evp.h>

#include "crypto/keys.h"

struct vch_signer {
    vch_pubkey_t pub;
    uint8_t *secret; /* secret memory: Ed25519 seed ‖ public, 64 bytes; P-256 scalar, 32 bytes, big-endian */
    vch_sign_fn fn;  /* somebody else's hand; then no secret is here */
    void *ctx;
};

/* Points are compressed, 33 bytes.  No OpenSSL error is left behind. */
bool vch__p256_point_good(const uint8_t point[33]);
/* ERR_KEY for a scalar that is 0 or not below the order. */
VCH_MUST_USE vch_rc vch__p256_public(uint8_t ret_point[33], const uint8_t scalar[32]);
VCH_MUST_USE vch_rc vch__p256_verify(const uint8_t point[33], const uint8_t sig[VCH_SIG_LEN], vch_slice_t message);
/* s as it comes, low or high; see vch__p256_make_low_s. */
VCH_MUST_USE vch_rc vch__p256_sign(uint8_t ret[VCH_SIG_LEN], const uint8_t scalar[32], const uint8_t point[33],
                                   vch_slice_t message);
/* s > n/2 becomes n - s. */
void vch__p256_make_low_s(uint8_t sig[VCH_SIG_LEN]);
/* A key object of OpenSSL's; scalar may be NULL.  The caller frees it; NULL
 * when the point is not on the curve or memory is refused. */
EVP_PKEY *vch__p256_pkey(const uint8_t point[33], const uint8_t *scalar);

#endif
