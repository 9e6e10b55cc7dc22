/* SPDX-License-Identifier: Apache-2.0 */
/* A root key under a passphrase: Argon2id and XChaCha20-Poly1305 (libsodium). */
#include <sodium.h>

#include "crypto/keys.h"
#include "node/guard_int.h"

#define SALT 16u
#define NONCE 24u
#define HEAD (GD_MAGIC + 8u + SALT + NONCE)

_Static_assert(GD_PASS_SIZE == HEAD + 32u + crypto_aead_xchacha20poly1305_ietf_ABYTES, "key and tag");
_Static_assert(SALT == crypto_pwhash_SALTBYTES && NONCE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "sizes");

const gd_cost_t gd_moderate = {crypto_pwhash_OPSLIMIT_MODERATE, crypto_pwhash_MEMLIMIT_MODERATE / 1024};

typedef struct {
    vch_guard_t guard;
    vch_port_t *port;
    gd_secret_t secret;
    gd_cost_t cost;
    /* The key derived last: deriving takes the better part of a second. */
    bool derived;
    uint8_t head[8 + SALT]; /* what it was derived with */
    uint8_t *key;           /* secret: 32 */
} pass_t;

/* head: u32 passes ‖ u32 KiB ‖ salt, in range. */
static vch_rc derive(pass_t *p, const uint8_t head[8 + SALT], vch_err_t *err)
{
    if (p->derived && memcmp(p->head, head, sizeof p->head) == 0) return VCH_OK;
    p->derived = false;
    if (crypto_pwhash(p->key, 32, (const char *)p->secret.p, p->secret.n, head + 8, vch_get_u32(head),
                      (size_t)vch_get_u32(head + 4) * 1024, crypto_pwhash_ALG_ARGON2ID13) != 0)
        return vch_fail(err, VCH_ERR_MEMORY, "no %u KiB of memory to open a root key under a passphrase",
                        vch_get_u32(head + 4));
    memcpy(p->head, head, sizeof p->head);
    p->derived = true;
    return VCH_OK;
}

/* Salt and key stay as long as the guard is open; the nonce is new each time. */
static vch_rc fill_head(pass_t *p, uint8_t head[HEAD], vch_err_t *err)
{
    gd_cost_t last = {vch_get_u32(p->head), vch_get_u32(p->head + 4)};
    bool same = p->derived && last.passes == p->cost.passes && last.kib == p->cost.kib;
    memcpy(head, "VCHPASS1", GD_MAGIC);
    vch_put_u32(head + 8, p->cost.passes);
    vch_put_u32(head + 12, p->cost.kib);
    if (same)
        memcpy(head + 16, p->head + 8, SALT);
    else
        VCH_TRY(vch_random(p->port, head + 16, SALT, err));
    return vch_random(p->port, head + 16 + SALT, NONCE, err);
}

static vch_rc pass_wrap(void *ctx, vch_buf_t *ret, const uint8_t key[32], vch_err_t *err)
{
    pass_t *p = ctx;
    uint8_t head[HEAD], *to;
    VCH_TRY(fill_head(p, head, err));
    VCH_TRY(derive(p, head + GD_MAGIC, err));
    vch_rc rc = vch_buf_extend(ret, GD_PASS_SIZE, &to);
    if (rc != VCH_OK) return vch_fail(err, rc, "out of memory");
    memcpy(to, head, HEAD);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(to + HEAD, NULL, key, 32, to, HEAD, NULL, to + 16 + SALT, p->key);
    return VCH_OK;
}

vch_rc gd_pass_get(gd_cost_t *ret, vch_slice_t wrapped, vch_err_t *err)
{
    if (!gd_is(VCH_GUARD_PASSPHRASE, wrapped))
        return vch_fail(err, VCH_ERR_KEY, "the root key is not under a passphrase, as guard.conf says");
    gd_cost_t cost = {vch_get_u32(wrapped.p + 8), vch_get_u32(wrapped.p + 12)};
    if (cost.passes < crypto_pwhash_OPSLIMIT_MIN || cost.passes > GD_PASSES_MAX ||
        cost.kib < crypto_pwhash_MEMLIMIT_MIN / 1024 || cost.kib > GD_KIB_MAX)
        return vch_fail(err, VCH_ERR_CORRUPT, "root is damaged: it asks for %u passes over %u KiB; at most %u over %u",
                        cost.passes, cost.kib, GD_PASSES_MAX, GD_KIB_MAX);
    *ret = cost;
    return VCH_OK;
}

static vch_rc pass_unwrap(void *ctx, uint8_t ret[32], vch_slice_t wrapped, vch_err_t *err)
{
    pass_t *p = ctx;
    gd_cost_t cost;
    VCH_TRY(gd_pass_get(&cost, wrapped, err));
    VCH_TRY(derive(p, wrapped.p + GD_MAGIC, err));
    uint8_t *key = vch_secret_alloc(32);
    if (!key) return vch_fail(err, VCH_ERR_MEMORY, "no secret memory");
    bool good = crypto_aead_xchacha20poly1305_ietf_decrypt(key, NULL, NULL, wrapped.p + HEAD, wrapped.n - HEAD,
                                                           wrapped.p, HEAD, wrapped.p + 16 + SALT, p->key) == 0;
    if (good) memcpy(ret, key, 32);
    vch_secret_free(key);
    return good ? VCH_OK : vch_fail(err, VCH_ERR_KEY, "the passphrase is wrong, or root is damaged");
}

static void pass_close(vch_guard_t *g)
{
    pass_t *p = (pass_t *)(void *)g;
    vch_secret_free(p->secret.p);
    vch_secret_free(p->key);
    vch_free(p);
}

vch_rc gd_passphrase(vch_guard_t **ret, vch_port_t *port, gd_secret_t *secret, gd_cost_t cost, vch_err_t *err)
{
    pass_t *p = vch_alloc(sizeof *p);
    if (!p) {
        vch_secret_free(secret->p);
        return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    }
    p->guard = (vch_guard_t){.seeds = {.wrap = pass_wrap, .unwrap = pass_unwrap, .ctx = p},
                             .kind = VCH_GUARD_PASSPHRASE,
                             .close = pass_close};
    p->port = port;
    p->secret = *secret;
    p->cost = cost;
    p->key = vch_secret_alloc(32);
    if (!p->key) {
        pass_close(&p->guard);
        return vch_fail(err, VCH_ERR_MEMORY, "no secret memory");
    }
    *ret = &p->guard;
    return VCH_OK;
}
