/* SPDX-License-Identifier: Apache-2.0 */
/* ECDSA on P-256 with SHA-256 (FIPS 186-5), done by OpenSSL; signatures travel as r ‖ s. */
#include <pthread.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <openssl/params.h>

#include "crypto/keys_impl.h"

/* The order n and n/2 (SEC 2, section 2.4.2), big-endian. */
static const uint8_t order[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
                                  0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
                                  0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
static const uint8_t half_order[32] = {0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff,
                                       0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b,
                                       0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8};
static const uint8_t zero[32];

/* ---- OpenSSL's form of a key ------------------------------------------------- */

EVP_PKEY *vch__p256_pkey(const uint8_t point[33], const uint8_t *scalar)
{
    uint8_t native[32], public_point[33];
    char group[] = "prime256v1";
    EVP_PKEY *key = NULL;
    OSSL_PARAM params[4], *at = params;
    memcpy(public_point, point, sizeof public_point);
    *at++ = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
    *at++ = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, public_point, sizeof public_point);
    if (scalar) { /* in the byte order of this machine */
        bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
        for (size_t i = 0; i < sizeof native; i++) native[i] = scalar[little ? 31 - i : i];
        *at++ = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, native, sizeof native);
    }
    *at = OSSL_PARAM_construct_end();
    ERR_set_mark();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, scalar ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    ERR_pop_to_mark();
    vch_wipe(native, sizeof native);
    return key;
}

/* ---- keys seen before ----------------------------------------------------------
 * Unpacking a point costs about as much as the check of a signature, and the
 * same few organisations sign most entries.  Each thread keeps what it
 * unpacked last, ready to verify; only good points get in.  The slots are the
 * thread's own memory, so no allocation table is ever involved. */

#define SLOTS 16

typedef struct {
    uint8_t point[33];
    EVP_PKEY_CTX *ctx; /* NULL: free */
} slot_t;

static _Thread_local slot_t slots[SLOTS];
static pthread_key_t at_thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool cleaned_up; /* there is a way to free the slots of an ended thread */

static void free_slots(void *p)
{
    slot_t *of_thread = p;
    for (size_t i = 0; i < SLOTS; i++) {
        EVP_PKEY_CTX_free(of_thread[i].ctx);
        of_thread[i].ctx = NULL;
    }
}

static void prepare_cleanup(void) { cleaned_up = pthread_key_create(&at_thread_end, free_slots) == 0; }

static EVP_PKEY_CTX *verifier_of(const uint8_t point[33])
{
    EVP_PKEY *key = vch__p256_pkey(point, NULL);
    EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
    EVP_PKEY_free(key); /* ctx keeps it */
    if (ctx && EVP_PKEY_verify_init(ctx) == 1) return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

/* Ready to verify under `point`; NULL as of vch__p256_pkey.  *ret_own says
 * that the caller frees it. */
static EVP_PKEY_CTX *verifier(const uint8_t point[33], bool *ret_own)
{
    slot_t *slot = &slots[point[32] % SLOTS];
    *ret_own = false;
    if (slot->ctx && memcmp(slot->point, point, 33) == 0) return slot->ctx;
    EVP_PKEY_CTX *ctx = verifier_of(point);
    (void)pthread_once(&once, prepare_cleanup);
    *ret_own = ctx && (!cleaned_up || pthread_setspecific(at_thread_end, slots) != 0);
    if (!ctx || *ret_own) return ctx;
    EVP_PKEY_CTX_free(slot->ctx);
    slot->ctx = ctx;
    memcpy(slot->point, point, 33);
    return ctx;
}

bool vch__p256_point_good(const uint8_t point[33])
{
    bool own;
    if (point[0] != 2 && point[0] != 3) return false;
    EVP_PKEY_CTX *ctx = verifier(point, &own);
    if (own) EVP_PKEY_CTX_free(ctx);
    return ctx != NULL;
}

vch_rc vch__p256_public(uint8_t ret_point[33], const uint8_t scalar[32])
{
    uint8_t out[33];
    if (memcmp(scalar, zero, 32) == 0 || memcmp(scalar, order, 32) >= 0) return VCH_ERR_KEY;
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = group ? EC_POINT_new(group) : NULL;
    BIGNUM *k = BN_bin2bn(scalar, 32, BN_secure_new());
    if (k) BN_set_flags(k, BN_FLG_CONSTTIME);
    bool made = point && k && EC_POINT_mul(group, point, k, NULL, NULL, NULL) == 1 &&
                EC_POINT_point2oct(group, point, POINT_CONVERSION_COMPRESSED, out, sizeof out, NULL) == sizeof out;
    BN_clear_free(k);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    if (!made) return VCH_ERR_MEMORY;
    memcpy(ret_point, out, sizeof out);
    return VCH_OK;
}

/* ---- the two forms of a signature ------------------------------------------------ */

/* 0 < r < n and 0 < s <= n/2: a signature can't be given a second form. */
static bool in_range(const uint8_t sig[VCH_SIG_LEN])
{
    const uint8_t *r = sig, *s = sig + 32;
    return memcmp(r, zero, 32) > 0 && memcmp(r, order, 32) < 0 && memcmp(s, zero, 32) > 0 &&
           memcmp(s, half_order, 32) <= 0;
}

void vch__p256_make_low_s(uint8_t sig[VCH_SIG_LEN])
{
    uint8_t *s = sig + 32;
    /* What is no signature at all stays so: n - s would wrap. */
    if (memcmp(s, half_order, 32) <= 0 || memcmp(s, order, 32) >= 0) return;
    int borrow = 0;
    for (int i = 31; i >= 0; i--) {
        int d = order[i] - s[i] - borrow;
        borrow = d < 0;
        s[i] = (uint8_t)(d & 0xff);
    }
}

/* SEQUENCE { INTEGER r, INTEGER s } in DER: at most 72 bytes. */
#define DER_MAX 72

static size_t der_from_raw(uint8_t der[DER_MAX], const uint8_t sig[VCH_SIG_LEN])
{
    size_t n = 2;
    for (const uint8_t *v = sig; v < sig + VCH_SIG_LEN; v += 32) {
        size_t skip = 0;
        while (skip < 31 && v[skip] == 0) skip++;
        size_t pad = v[skip] >> 7; /* else it would read as negative */
        der[n++] = 0x02;
        der[n++] = (uint8_t)(32 - skip + pad);
        if (pad) der[n++] = 0;
        memcpy(der + n, v + skip, 32 - skip);
        n += 32 - skip;
    }
    der[0] = 0x30;
    der[1] = (uint8_t)(n - 2);
    return n;
}

static bool raw_from_der(uint8_t ret[VCH_SIG_LEN], const uint8_t *der, size_t n)
{
    const uint8_t *p = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    bool good = sig && p == der + n && BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret, 32) == 32 &&
                BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret + 32, 32) == 32;
    ECDSA_SIG_free(sig);
    return good;
}

/* ---- verifying and signing --------------------------------------------------------- */

vch_rc vch__p256_verify(const uint8_t point[33], const uint8_t sig[VCH_SIG_LEN], vch_slice_t message)
{
    uint8_t der[DER_MAX];
    vch_hash_t hash;
    bool own;
    if (!in_range(sig)) return VCH_ERR_SIGNATURE;
    EVP_PKEY_CTX *ctx = verifier(point, &own);
    if (!ctx) return VCH_ERR_KEY;
    vch_sha256(&hash, message.p, message.n);
    ERR_set_mark();
    bool good = EVP_PKEY_verify(ctx, der, der_from_raw(der, sig), hash.b, sizeof hash.b) == 1;
    ERR_pop_to_mark();
    if (own) EVP_PKEY_CTX_free(ctx);
    return good ? VCH_OK : VCH_ERR_SIGNATURE;
}

/* OpenSSL's copy of the scalar lives for this one call: the key stays in
 * secret memory otherwise.  Its nonce is made from the scalar, the hash and
 * fresh randomness, so a signature is not the same twice. */
vch_rc vch__p256_sign(uint8_t ret[VCH_SIG_LEN], const uint8_t scalar[32], const uint8_t point[33], vch_slice_t message)
{
    uint8_t der[DER_MAX], sig[VCH_SIG_LEN];
    size_t n = sizeof der;
    vch_hash_t hash;
    vch_sha256(&hash, message.p, message.n);
    EVP_PKEY *key = vch__p256_pkey(point, scalar);
    if (!key) return VCH_ERR_MEMORY;
    ERR_set_mark();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bool good = ctx && EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, der, &n, hash.b, sizeof hash.b) == 1 &&
                raw_from_der(sig, der, n);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    ERR_pop_to_mark();
    if (!good) return VCH_ERR_INTERNAL;
    memcpy(ret, sig, sizeof sig);
    return VCH_OK;
}
