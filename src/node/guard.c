/* SPDX-License-Identifier: Apache-2.0 */
/* Guards of a root key: which one, and the one that is a file. */
#include "node/guard_int.h"

#include "crypto/keys.h"

const char *vch_guard_name(vch_guard_kind_t kind)
{
    switch (kind) {
    case VCH_GUARD_FILE:
        return "file";
    case VCH_GUARD_PASSPHRASE:
        return "passphrase";
    case VCH_GUARD_TOKEN:
        return "token";
    }
    return "unknown";
}

bool gd_is(vch_guard_kind_t kind, vch_slice_t wrapped)
{
    switch (kind) {
    case VCH_GUARD_FILE:
        return wrapped.n == GD_BARE;
    case VCH_GUARD_PASSPHRASE:
        return wrapped.n == GD_PASS_SIZE && memcmp(wrapped.p, "VCHPASS1", GD_MAGIC) == 0;
    case VCH_GUARD_TOKEN:
        return wrapped.n == GD_TOKEN_SIZE && memcmp(wrapped.p, "VCHTOKN1", GD_MAGIC) == 0;
    }
    return false;
}

/* ---- the file itself ----------------------------------------------------------------- */

static vch_rc bare_wrap(void *ctx, vch_buf_t *ret, const uint8_t key[32], vch_err_t *err)
{
    (void)ctx;
    vch_rc rc = vch_buf_put(ret, key, GD_BARE);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "out of memory");
}

static vch_rc bare_unwrap(void *ctx, uint8_t ret[32], vch_slice_t wrapped, vch_err_t *err)
{
    (void)ctx;
    if (!gd_is(VCH_GUARD_FILE, wrapped))
        return vch_fail(err, VCH_ERR_KEY, "the root key is under a passphrase or token, and guard.conf names neither");
    memcpy(ret, wrapped.p, GD_BARE);
    return VCH_OK;
}

static void bare_close(vch_guard_t *g) { vch_free(g); }

static vch_rc open_bare(vch_guard_t **ret, vch_err_t *err)
{
    vch_guard_t *g = vch_alloc(sizeof *g);
    if (!g) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    g->seeds = (vch_seeds_guard_t){.wrap = bare_wrap, .unwrap = bare_unwrap};
    g->kind = VCH_GUARD_FILE;
    g->close = bare_close;
    *ret = g;
    return VCH_OK;
}

/* ---- whichever --------------------------------------------------------------------------- */

vch_rc gd_open(vch_guard_t **ret, vch_port_t *port, const char *dir, const gd_conf_t *conf, vch_err_t *err)
{
    gd_secret_t secret;
    if (conf->kind == VCH_GUARD_FILE) return open_bare(ret, err);
    vch_rc rc = vch_crypto_start();
    if (rc != VCH_OK) return vch_fail(err, rc, "cryptography can't be started");
    VCH_TRY(gd_secret_read(&secret, port, dir, conf->secret_file, err));
    if (conf->kind == VCH_GUARD_PASSPHRASE) return gd_passphrase(ret, port, &secret, gd_moderate, err);
    rc = gd_token(ret, port, conf, &secret, err);
    vch_secret_free(secret.p);
    return rc;
}

vch_rc vch_guard_open(vch_guard_t **ret, vch_port_t *port, const char *dir, vch_err_t *err)
{
    gd_conf_t conf = {.kind = VCH_GUARD_FILE};
    vch_rc rc = gd_conf_read(&conf, port, dir, "guard.conf", err);
    if (rc == VCH_ERR_NOT_FOUND) rc = VCH_OK;
    return rc == VCH_OK ? gd_open(ret, port, dir, &conf, err) : rc;
}

void vch_guard_close(vch_guard_t *g)
{
    if (g) g->close(g);
}

const vch_seeds_guard_t *vch_guard_seeds(const vch_guard_t *g) { return &g->seeds; }
vch_guard_kind_t vch_guard_kind(const vch_guard_t *g) { return g->kind; }
