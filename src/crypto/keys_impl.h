/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a signer, shared with the key files. */
#ifndef VCH_KEYS_IMPL_H
#define VCH_KEYS_IMPL_H

#include <openssl/evp.h>

#include "crypto/keys.h"

struct vch_signer {
    vch_pubkey_t pub;
    uint8_t *secret; /* locked memory: Ed25519 64 bytes (seed ‖ public), P-256 32 bytes */
    EVP_PKEY *pkey;  /* P-256 */
    vch_sign_fn fn;  /* somebody else's hand; then no secret is here */
    void *ctx;
};

#endif
