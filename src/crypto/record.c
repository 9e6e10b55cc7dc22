/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/record.h"

#include <openssl/evp.h>

struct vch_cipher {
    EVP_CIPHER_CTX *ctx;
};

/* Never a second message under a key, so the nonce may stand still. */
static const uint8_t nonce[12];

vch_rc vch_record_class(uint8_t *ret, size_t canonical)
{
    if (canonical > VCH_RECORD_MAX - VCH_RECORD_HEAD) return VCH_ERR_LIMIT;
    uint8_t c = 0;
    while (vch_record_size(c) < canonical + VCH_RECORD_HEAD) c++;
    *ret = c;
    return VCH_OK;
}

vch_rc vch_cipher_new(vch_cipher_t **ret)
{
    vch_cipher_t *c = vch_alloc(sizeof *c);
    if (!c) return VCH_ERR_MEMORY;
    c->ctx = EVP_CIPHER_CTX_new();
    if (!c->ctx || EVP_CipherInit_ex(c->ctx, EVP_aes_256_gcm(), NULL, NULL, NULL, 1) != 1) {
        vch_cipher_free(c);
        return VCH_ERR_MEMORY;
    }
    *ret = c;
    return VCH_OK;
}

void vch_cipher_free(vch_cipher_t *c)
{
    if (!c) return;
    EVP_CIPHER_CTX_free(c->ctx);
    vch_free(c);
}

static bool start(vch_cipher_t *c, const uint8_t key[32], const vch_record_about_t *about, int encrypt)
{
    uint8_t aad[68];
    int n;
    memcpy(aad, about->extent.b, 32);
    vch_put_u32(aad + 32, about->leaf);
    memcpy(aad + 36, about->dataset.b, 32);
    return EVP_CipherInit_ex(c->ctx, NULL, NULL, key, nonce, encrypt) == 1 &&
           EVP_CipherUpdate(c->ctx, NULL, &n, aad, sizeof aad) == 1;
}

static void lay_out(uint8_t *plain, size_t size, const uint8_t *salt, vch_slice_t canonical)
{
    vch_put_u32(plain, (uint32_t)canonical.n);
    memcpy(plain + 4, salt, VCH_ROW_SALT_LEN);
    if (canonical.n) memcpy(plain + VCH_RECORD_HEAD, canonical.p, canonical.n);
    memset(plain + VCH_RECORD_HEAD + canonical.n, 0, size - VCH_RECORD_HEAD - canonical.n);
}

vch_rc vch_record_seal(vch_cipher_t *c, uint8_t *ret, uint8_t size_class, const uint8_t key[32],
                       const vch_record_about_t *about, const uint8_t salt[VCH_ROW_SALT_LEN], vch_slice_t canonical)
{
    int n = 0, rest = 0;
    if (size_class >= VCH_RECORD_CLASSES) return VCH_ERR_LIMIT;
    size_t size = vch_record_size(size_class);
    if (canonical.n > size - VCH_RECORD_HEAD) return VCH_ERR_LIMIT;
    lay_out(ret, size, salt, canonical);
    if (start(c, key, about, 1) && EVP_CipherUpdate(c->ctx, ret, &n, ret, (int)size) == 1 && (size_t)n == size &&
        EVP_CipherFinal_ex(c->ctx, ret + size, &rest) == 1 && rest == 0 &&
        EVP_CIPHER_CTX_ctrl(c->ctx, EVP_CTRL_AEAD_GET_TAG, VCH_RECORD_TAG, ret + size) == 1)
        return VCH_OK;
    vch_wipe(ret, size);
    return VCH_ERR_INTERNAL;
}

static bool unseal(vch_cipher_t *c, uint8_t *ret, size_t size, const uint8_t key[32], const vch_record_about_t *about,
                   const uint8_t *sealed)
{
    int n = 0, rest = 0;
    uint8_t tag[VCH_RECORD_TAG], ignored[16];
    memcpy(tag, sealed + size, sizeof tag);
    return start(c, key, about, 0) && EVP_CipherUpdate(c->ctx, ret, &n, sealed, (int)size) == 1 && (size_t)n == size &&
           EVP_CIPHER_CTX_ctrl(c->ctx, EVP_CTRL_AEAD_SET_TAG, VCH_RECORD_TAG, tag) == 1 &&
           EVP_CipherFinal_ex(c->ctx, ignored, &rest) == 1;
}

/* One form only: a class larger than needed, or padding that isn't zero, would
 * be room for messages that nobody checks. */
static bool well_formed(const uint8_t *plain, uint8_t size_class, size_t n)
{
    uint8_t fits, rest = 0;
    if (vch_record_class(&fits, n) != VCH_OK || fits != size_class) return false;
    for (size_t i = VCH_RECORD_HEAD + n; i < vch_record_size(size_class); i++) rest |= plain[i];
    return rest == 0;
}

vch_rc vch_record_open(vch_cipher_t *c, uint8_t *ret, uint8_t size_class, const uint8_t key[32],
                       const vch_record_about_t *about, const uint8_t *sealed, const uint8_t **ret_salt,
                       vch_slice_t *ret_canonical)
{
    if (size_class >= VCH_RECORD_CLASSES) return VCH_ERR_LIMIT;
    size_t size = vch_record_size(size_class);
    vch_rc rc = unseal(c, ret, size, key, about, sealed) ? VCH_OK : VCH_ERR_KEY;
    size_t n = vch_get_u32(ret);
    if (rc == VCH_OK && !well_formed(ret, size_class, n)) rc = VCH_ERR_FORMAT;
    if (rc != VCH_OK) {
        vch_wipe(ret, size);
        return rc;
    }
    *ret_salt = ret + 4;
    *ret_canonical = vch_slice(ret + VCH_RECORD_HEAD, n);
    return VCH_OK;
}
