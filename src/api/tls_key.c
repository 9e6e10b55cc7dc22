/* SPDX-License-Identifier: Apache-2.0 */
#include "api/tls_key.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "crypto/keys.h"

#define YEARS_20 (20L * 365 * 24 * 3600)
#define PEM_MAX 8192

/* ---- whose key ------------------------------------------------------------------------- */

/* multicodec bytes (crypto/keys.h); 0: neither Ed25519 nor P-256 */
static size_t multicodec(EVP_PKEY *key, uint8_t ret[VCH_PUBKEY_MAX])
{
    uint8_t point[65];
    char group[32];
    size_t n = 32, group_n = 0;
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519) {
        ret[0] = 0xed;
        ret[1] = 0x01;
        return EVP_PKEY_get_raw_public_key(key, ret + 2, &n) == 1 && n == 32 ? 34 : 0;
    }
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC ||
        EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, &group_n) != 1 ||
        strcmp(group, "prime256v1") != 0 ||
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &n) != 1)
        return 0;
    bool whole = n == 65 && point[0] == 4;
    if (!whole && n != 33) return 0;
    ret[0] = 0x80;
    ret[1] = 0x24;
    ret[2] = whole ? (uint8_t)(2 + (point[64] & 1)) : point[0];
    memcpy(ret + 3, point + 1, 32);
    return 35;
}

bool tls_key_of(X509 *cert, vch_keyid_t *ret)
{
    uint8_t bytes[VCH_PUBKEY_MAX];
    vch_pubkey_t key;
    EVP_PKEY *pkey = cert ? X509_get0_pubkey(cert) : NULL;
    size_t n = pkey ? multicodec(pkey, bytes) : 0;
    ERR_clear_error();
    if (n == 0 || vch_pubkey_get(&key, vch_slice(bytes, n)) != VCH_OK) return false;
    *ret = vch_pubkey_id(&key);
    return true;
}

/* ---- an envelope for one's own ------------------------------------------------------------ */

static int no_passphrase(char *buf, int size, int writing, void *ctx)
{
    (void)buf, (void)size, (void)writing, (void)ctx;
    return 0;
}

static EVP_PKEY *read_key(const char *path)
{
    BIO *file = BIO_new_file(path, "rb");
    EVP_PKEY *key = file ? PEM_read_bio_PrivateKey(file, NULL, no_passphrase, NULL) : NULL;
    BIO_free(file);
    return key;
}

static bool fill(X509 *cert, EVP_PKEY *key, const char *name)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    bool ed25519 = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
    return X509_set_version(cert, X509_VERSION_3) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -24L * 3600) &&
           X509_gmtime_adj(X509_getm_notAfter(cert), YEARS_20) &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, subject) == 1 && X509_set_pubkey(cert, key) == 1 &&
           X509_sign(cert, key, ed25519 ? NULL : EVP_sha256()) > 0;
}

static vch_rc put_pem(vch_buf_t *ret, X509 *cert)
{
    char *text = NULL;
    BIO *memory = BIO_new(BIO_s_mem());
    long n = memory && PEM_write_bio_X509(memory, cert) == 1 ? BIO_get_mem_data(memory, &text) : 0;
    vch_rc rc = n > 0 && n < PEM_MAX ? vch_buf_put(ret, text, (size_t)n) : VCH_ERR_MEMORY;
    BIO_free(memory);
    return rc;
}

vch_rc tls_self_signed(vch_buf_t *ret, const char *key_path, const char *name, vch_err_t *err)
{
    if (strlen(name) == 0 || strlen(name) > 64)
        return vch_fail(err, VCH_ERR_LIMIT, "a certificate's name has 1 to 64 bytes");
    EVP_PKEY *key = read_key(key_path);
    X509 *cert = key ? X509_new() : NULL;
    vch_rc rc = key ? VCH_OK : vch_fail(err, VCH_ERR_KEY, "%s holds no unencrypted private key", key_path);
    if (rc == VCH_OK && (!cert || !fill(cert, key, name) || put_pem(ret, cert) != VCH_OK))
        rc = vch_fail(err, VCH_ERR_MEMORY, "a certificate for %s can't be made", key_path);
    X509_free(cert);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return rc;
}
