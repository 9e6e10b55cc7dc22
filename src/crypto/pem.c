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
#define SCRYPT_N 32768
#define SCRYPT_R 8
#define SCRYPT_P 1

static vch_rc fail_key(vch_err_t *err, const char *why)
{
    ERR_clear_error();
    return vch_fail(err, VCH_ERR_KEY, "key file: %s", why);
}

/* ---- writing ---------------------------------------------------------------------- */

static EVP_PKEY *pkey_of(const vch_signer_t *s)
{
    if (s->pub.alg == VCH_ALG_ED25519) return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, s->secret, 32);
    return s->pkey && EVP_PKEY_up_ref(s->pkey) == 1 ? s->pkey : NULL;
}

static bool write_encrypted(BIO *out, const PKCS8_PRIV_KEY_INFO *info, const char *passphrase)
{
    X509_ALGOR *algorithm =
        PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), NULL, 0, NULL, SCRYPT_N, SCRYPT_R, SCRYPT_P);
    if (!algorithm) return false;
    X509_SIG *sealed = PKCS8_set0_pbe(passphrase, (int)strlen(passphrase), (PKCS8_PRIV_KEY_INFO *)(uintptr_t)info,
                                      algorithm);
    if (!sealed) {
        X509_ALGOR_free(algorithm);
        return false;
    }
    bool good = PEM_write_bio_PKCS8(out, sealed) == 1;
    X509_SIG_free(sealed);
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

vch_rc vch_signer_to_pem(const vch_signer_t *s, vch_buf_t *ret, const char *passphrase, vch_err_t *err)
{
    if (s->fn) return vch_fail(err, VCH_ERR_UNSUPPORTED, "this key is held elsewhere and can't be written to a file");
    EVP_PKEY *pkey = pkey_of(s);
    BIO *out = BIO_new(BIO_s_secmem());
    vch_rc rc = VCH_ERR_MEMORY;
    if (pkey && out && write_pem(out, pkey, passphrase)) {
        char *text = NULL;
        long n = BIO_get_mem_data(out, &text);
        rc = n > 0 ? vch_buf_put(ret, text, (size_t)n) : VCH_ERR_INTERNAL;
    }
    BIO_free(out);
    EVP_PKEY_free(pkey);
    if (rc == VCH_OK) return rc;
    ERR_clear_error();
    return vch_fail(err, rc, "the key can't be written: %s", vch_rc_text(rc));
}

/* ---- reading ----------------------------------------------------------------------- */

typedef struct {
    const char *passphrase;
    bool asked;
} secret_t;

static int give_passphrase(char *buf, int size, int writing, void *ctx)
{
    (void)writing;
    secret_t *s = ctx;
    s->asked = true;
    size_t n = s->passphrase ? strlen(s->passphrase) : 0;
    if (!s->passphrase || n > (size_t)size) return -1;
    memcpy(buf, s->passphrase, n);
    return (int)n;
}

static vch_rc signer_of(vch_signer_t **ret, EVP_PKEY *pkey, vch_err_t *err)
{
    uint8_t secret[32];
    size_t n = sizeof secret;
    vch_rc rc = VCH_ERR_KEY;
    if (EVP_PKEY_is_a(pkey, "ED25519") && EVP_PKEY_get_raw_private_key(pkey, secret, &n) == 1 && n == 32)
        rc = vch_signer_new(ret, VCH_ALG_ED25519, secret, err);
    BIGNUM *scalar = NULL;
    char group[32] = "";
    if (EVP_PKEY_is_a(pkey, "EC") && EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1 &&
        strcmp(group, "prime256v1") == 0 && EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &scalar) == 1 &&
        BN_bn2binpad(scalar, secret, 32) == 32)
        rc = vch_signer_new(ret, VCH_ALG_P256, secret, err);
    BN_clear_free(scalar);
    vch_wipe(secret, sizeof secret);
    return rc == VCH_ERR_KEY ? fail_key(err, "holds neither an Ed25519 nor a P-256 private key") : rc;
}

vch_rc vch_signer_from_pem(vch_signer_t **ret, vch_slice_t pem, const char *passphrase, vch_err_t *err)
{
    if (pem.n == 0 || pem.n > PEM_BYTES_MAX) return fail_key(err, "is empty or too long");
    BIO *in = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!in) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    secret_t secret = {.passphrase = passphrase};
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(in, NULL, give_passphrase, &secret);
    BIO_free(in);
    vch_rc rc;
    if (pkey) rc = signer_of(ret, pkey, err);
    else if (secret.asked && !passphrase) {
        rc = fail_key(err, "is encrypted");
        (void)vch_hint(err, rc, "give its passphrase by file or descriptor");
    } else rc = fail_key(err, secret.asked ? "the passphrase is wrong or the file damaged" : "is no private key in PEM");
    EVP_PKEY_free(pkey);
    return rc;
}
