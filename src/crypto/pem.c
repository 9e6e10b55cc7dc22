/* SPDX-License-Identifier: Apache-2.0 */
/* Key files: PKCS#8 in PEM (RFC 5958, RFC 7468), Ed25519 as in RFC 8410;
 * encrypted ones with PBES2 (RFC 8018), scrypt and AES-256-CBC. */
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include "crypto/keys_impl.h"

#define PEM_BYTES_MAX 16384

/* scrypt's cost (RFC 7914): 16 MiB.  Twice as much is over the limit that
 * OpenSSL sets when it reads a key file. */
#define SCRYPT_N 16384
#define SCRYPT_R 8
#define SCRYPT_P 1

#define PASSPHRASE_MAX 1024

/* ---- writing ---------------------------------------------------------------------- */

static EVP_PKEY *pkey_of(const vch_signer_t *s)
{
    if (s->pub.alg == VCH_ALG_ED25519) return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, s->secret, 32);
    return vch__p256_pkey(s->pub.b + 2, s->secret);
}

static bool write_encrypted(BIO *out, PKCS8_PRIV_KEY_INFO *info, const char *passphrase)
{
    X509_ALGOR *scheme = PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), NULL, 0, NULL, SCRYPT_N, SCRYPT_R, SCRYPT_P);
    if (!scheme) return false;
    X509_SIG *sealed = PKCS8_set0_pbe(passphrase, (int)strlen(passphrase), info, scheme);
    if (!sealed) {
        X509_ALGOR_free(scheme);
        return false;
    }
    bool good = PEM_write_bio_PKCS8(out, sealed) == 1;
    X509_SIG_free(sealed); /* and the scheme with it */
    return good;
}

static bool write_pem(BIO *out, EVP_PKEY *pkey, const char *passphrase)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pkey);
    if (!info) return false;
    bool good = passphrase ? write_encrypted(out, info, passphrase) : PEM_write_bio_PKCS8_PRIV_KEY_INFO(out, info) == 1;
    PKCS8_PRIV_KEY_INFO_free(info);
    return good;
}

static vch_rc put_pem(vch_buf_t *ret, EVP_PKEY *pkey, const char *passphrase)
{
    BIO *out = BIO_new(BIO_s_secmem()); /* wiped on free */
    vch_rc rc = VCH_ERR_MEMORY;
    if (pkey && out && write_pem(out, pkey, passphrase)) {
        char *text = NULL;
        long n = BIO_get_mem_data(out, &text);
        rc = n > 0 ? vch_buf_put(ret, text, (size_t)n) : VCH_ERR_INTERNAL;
    }
    BIO_free(out);
    return rc;
}

vch_rc vch_signer_to_pem(const vch_signer_t *s, vch_buf_t *ret, const char *passphrase, vch_err_t *err)
{
    if (s->fn) return vch_fail(err, VCH_ERR_UNSUPPORTED, "this key is held elsewhere and can't be written to a file");
    if (passphrase && (passphrase[0] == 0 || strlen(passphrase) > PASSPHRASE_MAX))
        return vch_fail(err, VCH_ERR_USAGE, "a passphrase has 1 to %d bytes", PASSPHRASE_MAX);
    ERR_set_mark();
    EVP_PKEY *pkey = pkey_of(s);
    vch_rc rc = put_pem(ret, pkey, passphrase);
    EVP_PKEY_free(pkey);
    ERR_pop_to_mark();
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the key can't be written: %s", vch_rc_text(rc));
}

/* ---- reading ----------------------------------------------------------------------- */

static vch_rc fail_key(vch_err_t *err, const char *why) { return vch_fail(err, VCH_ERR_KEY, "key file: %s", why); }

static vch_rc ed25519_signer(vch_signer_t **ret, const EVP_PKEY *pkey, vch_err_t *err)
{
    uint8_t seed[32];
    size_t n = sizeof seed;
    vch_rc rc = EVP_PKEY_get_raw_private_key(pkey, seed, &n) == 1 && n == sizeof seed
                    ? vch_signer_new(ret, VCH_ALG_ED25519, seed, err)
                    : fail_key(err, "holds no Ed25519 seed");
    vch_wipe(seed, sizeof seed);
    return rc;
}

/* The file names the public key too; OpenSSL does not compare. */
static bool same_public(const EVP_PKEY *pkey, const vch_signer_t *s)
{
    uint8_t point[65];
    size_t n;
    if (EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &n) != 1) return false;
    bool odd = n == 65 ? point[64] & 1 : point[0] & 1; /* compressed: 2 is even y, 3 odd */
    return (n == 65 || n == 33) && s->pub.b[2] == (odd ? 3 : 2) && memcmp(point + 1, s->pub.b + 3, 32) == 0;
}

static vch_rc p256_signer(vch_signer_t **ret, const EVP_PKEY *pkey, vch_err_t *err)
{
    uint8_t scalar[32];
    char group[32] = "";
    BIGNUM *k = NULL;
    vch_signer_t *s = NULL;
    if (EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) != 1 || strcmp(group, "prime256v1") != 0)
        return fail_key(err, "is on another curve than P-256");
    vch_rc rc = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &k) == 1 && BN_bn2binpad(k, scalar, 32) == 32
                    ? vch_signer_new(&s, VCH_ALG_P256, scalar, err)
                    : fail_key(err, "holds no P-256 scalar");
    BN_clear_free(k);
    vch_wipe(scalar, sizeof scalar);
    if (rc == VCH_OK && !same_public(pkey, s)) {
        vch_signer_free(s);
        return fail_key(err, "its public key is not its private key's");
    }
    if (rc == VCH_OK) *ret = s;
    return rc;
}

static vch_rc signer_of(vch_signer_t **ret, const PKCS8_PRIV_KEY_INFO *info, vch_err_t *err)
{
    EVP_PKEY *pkey = EVP_PKCS82PKEY(info);
    vch_rc rc;
    if (pkey && EVP_PKEY_is_a(pkey, "ED25519"))
        rc = ed25519_signer(ret, pkey, err);
    else if (pkey && EVP_PKEY_is_a(pkey, "EC"))
        rc = p256_signer(ret, pkey, err);
    else
        rc = fail_key(err, "holds neither an Ed25519 nor a P-256 private key");
    EVP_PKEY_free(pkey);
    return rc;
}

static PKCS8_PRIV_KEY_INFO *decrypt(const uint8_t *der, long n, const char *passphrase)
{
    const uint8_t *p = der;
    X509_SIG *sealed = d2i_X509_SIG(NULL, &p, n);
    PKCS8_PRIV_KEY_INFO *info = NULL;
    if (sealed && p == der + n) info = PKCS8_decrypt(sealed, passphrase, (int)strlen(passphrase));
    X509_SIG_free(sealed);
    return info;
}

static vch_rc read_encrypted(vch_signer_t **ret, const uint8_t *der, long n, const char *passphrase, vch_err_t *err)
{
    if (!passphrase) {
        (void)fail_key(err, "is encrypted, and no passphrase was given");
        return vch_hint(err, VCH_ERR_KEY, "give its passphrase by a file or descriptor");
    }
    if (strlen(passphrase) > PASSPHRASE_MAX) return fail_key(err, "the passphrase is too long");
    PKCS8_PRIV_KEY_INFO *info = decrypt(der, n, passphrase);
    if (!info) return fail_key(err, "the passphrase is wrong or the file is damaged");
    vch_rc rc = signer_of(ret, info, err);
    PKCS8_PRIV_KEY_INFO_free(info);
    return rc;
}

static vch_rc read_plain(vch_signer_t **ret, const uint8_t *der, long n, vch_err_t *err)
{
    const uint8_t *p = der;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, n);
    vch_rc rc = info && p == der + n ? signer_of(ret, info, err) : fail_key(err, "is no PKCS#8 private key");
    PKCS8_PRIV_KEY_INFO_free(info);
    return rc;
}

static vch_rc read_block(vch_signer_t **ret, BIO *in, const char *passphrase, vch_err_t *err)
{
    char *name = NULL, *header = NULL;
    uint8_t *der = NULL;
    long n = 0;
    if (PEM_read_bio(in, &name, &header, &der, &n) != 1) return fail_key(err, "is no PEM file");
    vch_rc rc;
    if (strcmp(name, PEM_STRING_PKCS8INF) == 0 && header[0] == 0) {
        rc = read_plain(ret, der, n, err);
    } else if (strcmp(name, PEM_STRING_PKCS8) == 0 && header[0] == 0) {
        rc = read_encrypted(ret, der, n, passphrase, err);
    } else {
        (void)fail_key(err, "its first block is no PKCS#8 private key");
        rc = vch_hint(err, VCH_ERR_KEY, "convert the key with: openssl pkcs8 -topk8");
    }
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_clear_free(der, (size_t)n);
    return rc;
}

vch_rc vch_signer_from_pem(vch_signer_t **ret, vch_slice_t pem, const char *passphrase, vch_err_t *err)
{
    if (pem.n == 0 || pem.n > PEM_BYTES_MAX) return fail_key(err, "is empty or too long");
    BIO *in = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!in) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    ERR_set_mark();
    vch_rc rc = read_block(ret, in, passphrase, err);
    ERR_pop_to_mark();
    BIO_free(in);
    return rc;
}
