/* SPDX-License-Identifier: Apache-2.0 */
/* Public keys, signatures and signers. */
#include "crypto/keys.h"

#include <sodium.h>

#include "crypto/keys_impl.h"

vch_rc vch_crypto_start(void) { return sodium_init() < 0 ? VCH_ERR_INTERNAL : VCH_OK; }

/* ---- public keys ------------------------------------------------------------------- */

/* Good means: canonical, on the curve, in the group of prime order, not the
 * neutral element.  That is a scalar multiplication, nearly the price of a
 * signature, so each thread remembers the last good keys. */
#define GOOD_KEYS 64

static bool ed25519_point_good(const uint8_t key[32])
{
    static _Thread_local struct {
        bool set;
        uint8_t key[32];
    } good[GOOD_KEYS];
    size_t slot = key[0] % GOOD_KEYS;
    if (good[slot].set && memcmp(good[slot].key, key, 32) == 0) return true;
    if (crypto_core_ed25519_is_valid_point(key) != 1) return false;
    good[slot].set = true;
    memcpy(good[slot].key, key, 32);
    return true;
}

vch_rc vch_pubkey_get(vch_pubkey_t *ret, vch_slice_t m)
{
    if (vch_crypto_start() != VCH_OK) return VCH_ERR_INTERNAL;
    bool ed = m.n == 34 && m.p[0] == 0xed && m.p[1] == 0x01;
    bool p256 = m.n == 35 && m.p[0] == 0x80 && m.p[1] == 0x24;
    if (!ed && !p256) return VCH_ERR_KEY;
    if (ed ? !ed25519_point_good(m.p + 2) : !vch__p256_point_good(m.p + 2)) return VCH_ERR_KEY;
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

vch_rc vch_sig_verify(const vch_pubkey_t *key, const uint8_t sig[VCH_SIG_LEN], vch_slice_t message)
{
    switch (key->alg) {
    case VCH_ALG_ED25519:
        /* Refuses S >= L, small-order R and keys, and what is not canonical. */
        return crypto_sign_verify_detached(sig, message.p, message.n, key->b + 2) == 0 ? VCH_OK : VCH_ERR_SIGNATURE;
    case VCH_ALG_P256:
        return vch__p256_verify(key->b + 2, sig, message);
    }
    return VCH_ERR_KEY;
}

/* ---- secret memory -------------------------------------------------------------------- */

void *vch_secret_alloc(size_t n)
{
    if (n == 0 || vch_crypto_start() != VCH_OK) return NULL;
    return sodium_malloc(n);
}

void vch_secret_free(void *p) { sodium_free(p); }

/* ---- signers ---------------------------------------------------------------------------- */

static vch_rc ed25519_open(vch_signer_t *s, const uint8_t seed[32])
{
    s->secret = vch_secret_alloc(crypto_sign_SECRETKEYBYTES);
    if (!s->secret) return VCH_ERR_MEMORY;
    s->pub = (vch_pubkey_t){.alg = VCH_ALG_ED25519, .n = 34, .b = {0xed, 0x01}};
    return crypto_sign_seed_keypair(s->pub.b + 2, s->secret, seed) == 0 ? VCH_OK : VCH_ERR_INTERNAL;
}

static vch_rc p256_open(vch_signer_t *s, const uint8_t scalar[32])
{
    s->pub = (vch_pubkey_t){.alg = VCH_ALG_P256, .n = 35, .b = {0x80, 0x24}};
    VCH_TRY(vch__p256_public(s->pub.b + 2, scalar));
    s->secret = vch_secret_alloc(32);
    if (!s->secret) return VCH_ERR_MEMORY;
    memcpy(s->secret, scalar, 32);
    return VCH_OK;
}

static vch_rc signer_open(vch_signer_t *s, vch_alg_t alg, const uint8_t seed[32])
{
    switch (alg) {
    case VCH_ALG_ED25519:
        return ed25519_open(s, seed);
    case VCH_ALG_P256:
        return p256_open(s, seed);
    }
    return VCH_ERR_UNSUPPORTED;
}

vch_rc vch_signer_new(vch_signer_t **ret, vch_alg_t alg, const uint8_t seed[32], vch_err_t *err)
{
    if (vch_crypto_start() != VCH_OK) return vch_fail(err, VCH_ERR_INTERNAL, "libsodium does not start");
    vch_signer_t *s = vch_alloc(sizeof *s);
    vch_rc rc = s ? signer_open(s, alg, seed) : VCH_ERR_MEMORY;
    if (rc == VCH_OK && sodium_mprotect_readonly(s->secret) != 0) rc = VCH_ERR_INTERNAL;
    if (rc == VCH_OK) {
        *ret = s;
        return VCH_OK;
    }
    vch_signer_free(s);
    if (rc == VCH_ERR_KEY) return vch_fail(err, rc, "the secret is no P-256 key: zero, or not below the curve's order");
    return vch_fail(err, rc, "the secret key can't be used: %s", vch_rc_text(rc));
}

vch_rc vch_signer_from_fn(vch_signer_t **ret, const vch_pubkey_t *pub, vch_sign_fn fn, void *ctx)
{
    VCH_TRY(vch_crypto_start());
    vch_signer_t *s = vch_alloc(sizeof *s);
    if (!s) return VCH_ERR_MEMORY;
    *s = (vch_signer_t){.pub = *pub, .fn = fn, .ctx = ctx};
    *ret = s;
    return VCH_OK;
}

const vch_pubkey_t *vch_signer_public(const vch_signer_t *s) { return &s->pub; }

/* Somebody else's hand may hold another key than it says, or give what is no
 * signature: nothing of it leaves unverified. */
static vch_rc sign_by_fn(const vch_signer_t *s, uint8_t ret[VCH_SIG_LEN], vch_slice_t message)
{
    VCH_TRY(s->fn(s->ctx, ret, message.p, message.n));
    if (s->pub.alg == VCH_ALG_P256) vch__p256_make_low_s(ret);
    return vch_sig_verify(&s->pub, ret, message);
}

vch_rc vch_signer_sign(const vch_signer_t *s, uint8_t ret[VCH_SIG_LEN], vch_slice_t message)
{
    uint8_t sig[VCH_SIG_LEN] = {0};
    if (s->fn) {
        VCH_TRY(sign_by_fn(s, sig, message));
    } else if (s->pub.alg == VCH_ALG_ED25519) {
        if (crypto_sign_detached(sig, NULL, message.p, message.n, s->secret) != 0) return VCH_ERR_INTERNAL;
    } else {
        VCH_TRY(vch__p256_sign(sig, s->secret, s->pub.b + 2, message));
        vch__p256_make_low_s(sig);
    }
    memcpy(ret, sig, sizeof sig);
    return VCH_OK;
}

void vch_signer_free(vch_signer_t *s)
{
    if (!s) return;
    vch_secret_free(s->secret);
    vch_wipe(s, sizeof *s);
    vch_free(s);
}
