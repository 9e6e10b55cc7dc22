/* SPDX-License-Identifier: Apache-2.0 */
/* Public keys, signatures and signers. */
#include "crypto/keys.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/params.h>
#include <sodium.h>

#include "crypto/keys_impl.h"

vch_rc vch_crypto_start(void) { return sodium_init() < 0 ? VCH_ERR_INTERNAL : VCH_OK; }

/* ---- P-256: order n and n/2 (SEC 2, section 2.4.2), big-endian ------------------- */

static const uint8_t p256_order[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
                                       0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
                                       0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
static const uint8_t p256_half[32] = {0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b,
                                      0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8};
static const uint8_t zero32[32];

static bool in_range(const uint8_t v[32], const uint8_t max[32])
{
    return memcmp(v, zero32, 32) != 0 && memcmp(v, max, 32) <= 0;
}

/* s > n/2 becomes n - s: the one form that is accepted. */
static void make_low_s(uint8_t s[32])
{
    if (memcmp(s, p256_half, 32) <= 0) return;
    int borrow = 0;
    for (int i = 31; i >= 0; i--) {
        int d = p256_order[i] - s[i] - borrow;
        borrow = d < 0;
        s[i] = (uint8_t)(d & 0xff);
    }
}

static EVP_PKEY *p256_from(const char *part, const uint8_t *p, size_t n, const uint8_t *point, size_t point_n)
{
    EVP_PKEY *key = NULL;
    BIGNUM *scalar = NULL;
    OSSL_PARAM params[4], *at = params;
    uint8_t native[32];
    *at++ = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t) "prime256v1", 0);
    if (point) *at++ = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)point, point_n);
    if (part) {
        scalar = BN_bin2bn(p, (int)n, NULL);
        if (!scalar || BN_bn2nativepad(scalar, native, 32) != 32) goto out;
        *at++ = OSSL_PARAM_construct_BN(part, native, 32);
    }
    *at = OSSL_PARAM_construct_end();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &key, part ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
out:
    BN_clear_free(scalar);
    vch_wipe(native, sizeof native);
    return key;
}

/* ---- public keys ------------------------------------------------------------------- */

static bool ed25519_point_good(const uint8_t key[32])
{
    /* Canonical, on the curve, in the prime-order group, not of small order. */
    return crypto_core_ed25519_is_valid_point(key) == 1;
}

static bool p256_point_good(const uint8_t key[33])
{
    EVP_PKEY *pkey = p256_from(NULL, NULL, 0, key, 33);
    EVP_PKEY_free(pkey);
    return pkey != NULL;
}

vch_rc vch_pubkey_get(vch_pubkey_t *ret, vch_slice_t m)
{
    if (vch_crypto_start() != VCH_OK) return VCH_ERR_INTERNAL;
    bool ed = m.n == 34 && m.p[0] == 0xed && m.p[1] == 0x01;
    bool p256 = m.n == 35 && m.p[0] == 0x80 && m.p[1] == 0x24 && (m.p[2] == 2 || m.p[2] == 3);
    if (!ed && !p256) return VCH_ERR_KEY;
    if (ed ? !ed25519_point_good(m.p + 2) : !p256_point_good(m.p + 2)) return VCH_ERR_KEY;
    vch_pubkey_t key = {.alg = ed ? VCH_ALG_ED25519 : VCH_ALG_P256, .n = (uint8_t)m.n};
    memcpy(key.b, m.p, m.n);
    *ret = key;
    return VCH_OK;
}

vch_keyid_t vch_pubkey_id(const vch_pubkey_t *key)
{
    vch_hash_t h;
    vch_keyid_t id;
    vch_sha256(&h, key->b, key->n);
    memcpy(id.b, h.b, 32);
    return id;
}

/* ---- verifying ------------------------------------------------------------------------ */

/* r ‖ s as the DER that OpenSSL wants: at most 72 bytes. */
static size_t der_from_raw(uint8_t der[80], const uint8_t sig[64])
{
    size_t n = 2;
    for (int half = 0; half < 2; half++) {
        const uint8_t *v = sig + 32 * half;
        size_t skip = 0;
        while (skip < 31 && v[skip] == 0) skip++;
        size_t pad = v[skip] >> 7, len = 32 - skip + pad;
        der[n++] = 0x02;
        der[n++] = (uint8_t)len;
        if (pad) der[n++] = 0;
        memcpy(der + n, v + skip, 32 - skip);
        n += 32 - skip;
    }
    der[0] = 0x30;
    der[1] = (uint8_t)(n - 2);
    return n;
}

static vch_rc p256_verify(const vch_pubkey_t *key, const uint8_t sig[64], vch_slice_t message)
{
    uint8_t der[80];
    if (memcmp(sig, p256_order, 32) >= 0 || memcmp(sig, zero32, 32) == 0 || !in_range(sig + 32, p256_half))
        return VCH_ERR_SIGNATURE;
    size_t n = der_from_raw(der, sig);
    EVP_PKEY *pkey = p256_from(NULL, NULL, 0, key->b + 2, 33);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    vch_rc rc = pkey && ctx ? VCH_ERR_SIGNATURE : VCH_ERR_MEMORY;
    if (pkey && ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey) == 1 &&
        EVP_DigestVerify(ctx, der, n, message.p, message.n) == 1)
        rc = VCH_OK;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return rc;
}

vch_rc vch_sig_verify(const vch_pubkey_t *key, const uint8_t sig[VCH_SIG_LEN], vch_slice_t message)
{
    switch (key->alg) {
    case VCH_ALG_ED25519:
        return crypto_sign_verify_detached(sig, message.p, message.n, key->b + 2) == 0 ? VCH_OK : VCH_ERR_SIGNATURE;
    case VCH_ALG_P256: return p256_verify(key, sig, message);
    }
    return VCH_ERR_KEY;
}

/* ---- signers ---------------------------------------------------------------------------- */

void *vch_secret_alloc(size_t n)
{
    if (n == 0 || vch_crypto_start() != VCH_OK) return NULL;
    return sodium_malloc(n);
}

void vch_secret_free(void *p) { sodium_free(p); }

static vch_rc ed25519_open(vch_signer_t *s, const uint8_t seed[32])
{
    s->secret = vch_secret_alloc(crypto_sign_SECRETKEYBYTES);
    if (!s->secret) return VCH_ERR_MEMORY;
    s->pub = (vch_pubkey_t){.alg = VCH_ALG_ED25519, .n = 34, .b = {0xed, 0x01}};
    return crypto_sign_seed_keypair(s->pub.b + 2, s->secret, seed) == 0 ? VCH_OK : VCH_ERR_INTERNAL;
}

static vch_rc p256_point_of(const uint8_t scalar[32], uint8_t ret[33])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = group ? EC_POINT_new(group) : NULL;
    BIGNUM *k = BN_bin2bn(scalar, 32, NULL);
    vch_rc rc = VCH_ERR_MEMORY;
    if (point && k) {
        BN_set_flags(k, BN_FLG_CONSTTIME);
        bool made = EC_POINT_mul(group, point, k, NULL, NULL, NULL) == 1 &&
                    EC_POINT_point2oct(group, point, POINT_CONVERSION_COMPRESSED, ret, 33, NULL) == 33;
        rc = made ? VCH_OK : VCH_ERR_INTERNAL;
    }
    BN_clear_free(k);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return rc;
}

static vch_rc p256_open(vch_signer_t *s, const uint8_t scalar[32])
{
    uint8_t point[65];
    if (!in_range(scalar, p256_order) || memcmp(scalar, p256_order, 32) == 0) return VCH_ERR_KEY;
    s->pub = (vch_pubkey_t){.alg = VCH_ALG_P256, .n = 35, .b = {0x80, 0x24}};
    VCH_TRY(p256_point_of(scalar, point));
    memcpy(s->pub.b + 2, point, 33);
    s->secret = vch_secret_alloc(32);
    if (!s->secret) return VCH_ERR_MEMORY;
    memcpy(s->secret, scalar, 32);
    s->pkey = p256_from(OSSL_PKEY_PARAM_PRIV_KEY, scalar, 32, point, 33);
    return s->pkey ? VCH_OK : VCH_ERR_MEMORY;
}

vch_rc vch_signer_new(vch_signer_t **ret, vch_alg_t alg, const uint8_t seed[32], vch_err_t *err)
{
    if (vch_crypto_start() != VCH_OK) return vch_fail(err, VCH_ERR_INTERNAL, "libsodium does not start");
    vch_signer_t *s = vch_alloc(sizeof *s);
    if (!s) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_rc rc = alg == VCH_ALG_ED25519 ? ed25519_open(s, seed) : p256_open(s, seed);
    if (rc != VCH_OK) {
        vch_signer_free(s);
        return vch_fail(err, rc, "the secret key can't be used: %s", vch_rc_text(rc));
    }
    *ret = s;
    return VCH_OK;
}

vch_rc vch_signer_from_fn(vch_signer_t **ret, const vch_pubkey_t *pub, vch_sign_fn fn, void *ctx)
{
    vch_signer_t *s = vch_alloc(sizeof *s);
    if (!s) return VCH_ERR_MEMORY;
    s->pub = *pub;
    s->fn = fn;
    s->ctx = ctx;
    *ret = s;
    return VCH_OK;
}

const vch_pubkey_t *vch_signer_public(const vch_signer_t *s) { return &s->pub; }

void vch_signer_free(vch_signer_t *s)
{
    if (!s) return;
    EVP_PKEY_free(s->pkey);
    if (s->secret) vch_secret_free(s->secret);
    vch_wipe(s, sizeof *s);
    vch_free(s);
}

static bool raw_from_der(uint8_t ret[64], const uint8_t *der, size_t n)
{
    const uint8_t *p = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    bool good = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret, 32) == 32 &&
                BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret + 32, 32) == 32;
    ECDSA_SIG_free(sig);
    return good;
}

static vch_rc p256_sign(const vch_signer_t *s, uint8_t ret[64], vch_slice_t message)
{
    uint8_t der[80];
    size_t n = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx) return VCH_ERR_MEMORY;
    bool good = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, s->pkey) == 1 &&
                EVP_DigestSign(ctx, der, &n, message.p, message.n) == 1 && raw_from_der(ret, der, n);
    EVP_MD_CTX_free(ctx);
    return good ? VCH_OK : VCH_ERR_INTERNAL;
}

vch_rc vch_signer_sign(const vch_signer_t *s, uint8_t ret[VCH_SIG_LEN], vch_slice_t message)
{
    uint8_t sig[VCH_SIG_LEN];
    if (s->fn) {
        VCH_TRY(s->fn(s->ctx, sig, message.p, message.n));
    } else if (s->pub.alg == VCH_ALG_ED25519) {
        if (crypto_sign_detached(sig, NULL, message.p, message.n, s->secret) != 0) return VCH_ERR_INTERNAL;
    } else {
        VCH_TRY(p256_sign(s, sig, message));
    }
    if (s->pub.alg == VCH_ALG_P256) make_low_s(sig + 32);
    memcpy(ret, sig, sizeof sig);
    return VCH_OK;
}
