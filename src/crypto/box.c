/* SPDX-License-Identifier: Apache-2.0 */
/* A box under a passphrase: Argon2id13 and XChaCha20-Poly1305 (libsodium).
 * All that stands before the ciphertext is associated data.  A wrong
 * passphrase and a damaged box look the same; both are ERR_KEY. */
#include <sodium.h>

#include "crypto/keys.h"

static const uint8_t magic[8] = {'V', 'C', 'H', 'B', 'O', 'X', '1', '\n'};
#define HEAD (8 + 16 + 24)
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES

static uint8_t *derive(const char *passphrase, const uint8_t salt[16])
{
    uint8_t *key = vch_secret_alloc(32);
    if (!key) return NULL;
    if (crypto_pwhash(key, 32, passphrase, strlen(passphrase), salt, crypto_pwhash_OPSLIMIT_MODERATE,
                      crypto_pwhash_MEMLIMIT_MODERATE, crypto_pwhash_ALG_ARGON2ID13) == 0)
        return key;
    vch_secret_free(key);
    return NULL;
}

vch_rc vch_box_seal(vch_buf_t *ret, vch_slice_t plain, const char *passphrase, const uint8_t salt[16],
                    const uint8_t nonce[24])
{
    size_t at = ret->n;
    uint8_t *to, *key = derive(passphrase, salt);
    if (!key) return VCH_ERR_MEMORY;
    vch_rc rc = vch_buf_extend(ret, HEAD + plain.n + TAG, &to);
    if (rc == VCH_OK) {
        memcpy(to, magic, 8);
        memcpy(to + 8, salt, 16);
        memcpy(to + 24, nonce, 24);
        if (crypto_aead_xchacha20poly1305_ietf_encrypt(to + HEAD, NULL, plain.p, plain.n, to, HEAD, NULL, nonce, key) !=
            0)
            rc = VCH_ERR_INTERNAL;
    }
    if (rc != VCH_OK) ret->n = at;
    vch_secret_free(key);
    return rc;
}

vch_rc vch_box_open(void *ret_plain, size_t plain_n, vch_slice_t box, const char *passphrase)
{
    if (box.n < HEAD + TAG || box.n - HEAD - TAG != plain_n || memcmp(box.p, magic, 8) != 0) return VCH_ERR_FORMAT;
    uint8_t *key = derive(passphrase, box.p + 8), *plain = vch_secret_alloc(plain_n ? plain_n : 1);
    vch_rc rc = key && plain ? VCH_OK : VCH_ERR_MEMORY;
    if (rc == VCH_OK && crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, box.p + HEAD, box.n - HEAD, box.p,
                                                                   HEAD, box.p + 24, key) != 0)
        rc = VCH_ERR_KEY;
    if (rc == VCH_OK && plain_n) memcpy(ret_plain, plain, plain_n);
    if (key) vch_secret_free(key);
    if (plain) vch_secret_free(plain);
    return rc;
}
