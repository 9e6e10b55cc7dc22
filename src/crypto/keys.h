/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and signatures: Ed25519 (libsodium) and P-256 (OpenSSL), COSE_Sign1,
 * secret memory, key files, and a password box.
 *
 * Public keys travel as multicodec bytes: ed 01 ‖ 32 bytes, or 80 24 ‖ 33
 * bytes (compressed point).  A key's id is SHA-256 of those bytes. */
#ifndef VCH_KEYS_H
#define VCH_KEYS_H

#include "base/base.h"
#include "crypto/sha256.h"

typedef enum { VCH_ALG_ED25519 = 1, VCH_ALG_P256 = 2 } vch_alg_t;

/* COSE algorithm numbers (RFC 9864): fully specified ones only. */
#define VCH_COSE_ED25519 (-19)
#define VCH_COSE_ESP256 (-9)

#define VCH_PUBKEY_MAX 35
#define VCH_SIG_LEN 64 /* Ed25519, or r ‖ s of P-256 with low s */

typedef struct {
    vch_alg_t alg;
    uint8_t n; /* 34 or 35 */
    uint8_t b[VCH_PUBKEY_MAX];
} vch_pubkey_t;

/* ERR_KEY unless exactly a multicodec Ed25519 or P-256 key whose point is on
 * the curve and (Ed25519) canonical and not of small order. */
VCH_MUST_USE vch_rc vch_pubkey_get(vch_pubkey_t *ret, vch_slice_t multicodec);
vch_keyid_t vch_pubkey_id(const vch_pubkey_t *);
static inline vch_slice_t vch_pubkey_bytes(const vch_pubkey_t *k) { return vch_slice(k->b, k->n); }

/* Process-wide start of libsodium; safe to call often and from any thread. */
VCH_MUST_USE vch_rc vch_crypto_start(void);

/* ERR_SIGNATURE unless the signature is the canonical one form: Ed25519 per
 * RFC 8032 with S < L (libsodium), P-256 with 0 < r < n and 0 < s <= n/2. */
VCH_MUST_USE vch_rc vch_sig_verify(const vch_pubkey_t *, const uint8_t sig[VCH_SIG_LEN], vch_slice_t message);

/* ---- signers: a secret key in memory, or somebody else's hand ---- */
typedef struct vch_signer vch_signer_t;
typedef vch_rc (*vch_sign_fn)(void *ctx, uint8_t ret[VCH_SIG_LEN], const uint8_t *msg, size_t n);

VCH_MUST_USE vch_rc vch_signer_new(vch_signer_t **ret, vch_alg_t, const uint8_t seed[32], vch_err_t *);
VCH_MUST_USE vch_rc vch_signer_from_fn(vch_signer_t **ret, const vch_pubkey_t *, vch_sign_fn, void *ctx);
const vch_pubkey_t *vch_signer_public(const vch_signer_t *);
/* Any thread.  Low s is made here, whoever signed. */
VCH_MUST_USE vch_rc vch_signer_sign(const vch_signer_t *, uint8_t ret[VCH_SIG_LEN], vch_slice_t message);
VCH_API void vch_signer_free(vch_signer_t *); /* wipes; NULL is fine */

/* PKCS#8 PEM (RFC 5958), unencrypted or (passphrase not NULL) PBES2 with
 * scrypt and AES-256-CBC.  Reading an encrypted one without passphrase is
 * ERR_KEY with a hint. */
VCH_MUST_USE vch_rc vch_signer_to_pem(const vch_signer_t *, vch_buf_t *ret, const char *passphrase, vch_err_t *);
VCH_MUST_USE vch_rc vch_signer_from_pem(vch_signer_t **ret, vch_slice_t pem, const char *passphrase, vch_err_t *);

/* ---- secret memory: locked, guarded, wiped on free; NULL when refused ---- */
void *vch_secret_alloc(size_t n);
void vch_secret_free(void *p);

/* ---- a box under a passphrase: Argon2id13 (moderate) and XChaCha20-Poly1305.
 * Layout: "VCHBOX1\n" ‖ salt 16 ‖ nonce 24 ‖ ciphertext ‖ tag 16. ---- */
VCH_MUST_USE vch_rc vch_box_seal(vch_buf_t *ret, vch_slice_t plain, const char *passphrase, const uint8_t salt[16],
                                 const uint8_t nonce[24]);
VCH_MUST_USE vch_rc vch_box_open(void *ret_plain, size_t plain_n, vch_slice_t box, const char *passphrase);

/* ---- COSE_Sign1 (RFC 9052 section 4.2), tag 18, empty unprotected header,
 * protected header {1: alg, 4: key id (32 bytes)}, no external AAD ---- */
typedef struct {
    vch_keyid_t kid;
    int alg;             /* VCH_COSE_… */
    vch_slice_t payload; /* borrowed */
    vch_slice_t protected_header;
    const uint8_t *sig; /* VCH_SIG_LEN bytes, borrowed */
} vch_cose_t;

/* Parses only the one form that vch_cose_sign makes; ERR_FORMAT otherwise. */
VCH_MUST_USE vch_rc vch_cose_read(vch_cose_t *ret, vch_slice_t cose);
/* The bytes that are signed (Sig_structure), appended to ret. */
VCH_MUST_USE vch_rc vch_cose_to_sign(vch_buf_t *ret, vch_slice_t protected_header, vch_slice_t payload);
/* ERR_KEY when kid or alg are not this key's; ERR_SIGNATURE. */
VCH_MUST_USE vch_rc vch_cose_verify(const vch_cose_t *, const vch_pubkey_t *, vch_err_t *);
VCH_MUST_USE vch_rc vch_cose_sign(vch_buf_t *ret, const vch_signer_t *, vch_slice_t payload, vch_err_t *);
/* The same with 64 zero bytes instead of the signature, and the bytes to sign. */
VCH_MUST_USE vch_rc vch_cose_draft(vch_buf_t *ret, vch_buf_t *ret_to_sign, const vch_pubkey_t *, vch_slice_t payload,
                                   vch_err_t *);
/* SHA-256 of the Sig_structure: an entry's id, blind to the signature. */
VCH_MUST_USE vch_rc vch_cose_id(const vch_cose_t *, vch_id_t *ret);

#endif
