/* SPDX-License-Identifier: Apache-2.0 */
/* Key files: keys/<name>.pem, mode 0600:
 *
 *   Vouchsafe key file; SHA-256 of what follows: <64 hex digits>
 *   -----BEGIN (ENCRYPTED )PRIVATE KEY-----
 *   …
 *
 * so that damage is told from a wrong passphrase.  Without that first line it
 * is a key file made elsewhere, and good as well. */
#include "node/node_int.h"

#include "codec/text.h"
#include "crypto/sha256.h"

#define PEM_MAX 16384u
#define KEY_FIRST "Vouchsafe key file; SHA-256 of what follows: "
#define KEY_LINE (sizeof KEY_FIRST - 1 + 64 + 1)
#define LOG_KEY "log" /* the checkpoint key is nobody's identity */

vch_rc nd_name_check(const char *name, vch_err_t *err)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t n = name ? strlen(name) : 0;
    if (n == 0 || n > 64 || name[0] == '.' || name[0] == '-' || strspn(name, allowed) != n)
        return vch_fail(err, VCH_ERR_USAGE, "\"%.80s\" can't name a key: 1 to 64 letters, digits, '.', '_' or '-'",
                        name ? name : "");
    if (strcmp(name, LOG_KEY) == 0)
        return vch_fail(err, VCH_ERR_USAGE, "the name \"log\" is taken by the key that signs checkpoints");
    return VCH_OK;
}

static vch_rc algorithm_get(const char *algorithm, vch_alg_t *ret, vch_err_t *err)
{
    if (!algorithm || strcmp(algorithm, "ed25519") == 0) {
        *ret = VCH_ALG_ED25519;
        return VCH_OK;
    }
    if (strcmp(algorithm, "p256") == 0) {
        *ret = VCH_ALG_P256;
        return VCH_OK;
    }
    return vch_fail(err, VCH_ERR_UNSUPPORTED, "unknown algorithm \"%.40s\": ed25519 or p256", algorithm);
}

static vch_rc signer_new(vch_port_t *port, vch_alg_t alg, vch_signer_t **ret, vch_err_t *err)
{
    uint8_t *seed = vch_secret_alloc(32);
    if (!seed) return vch_fail(err, VCH_ERR_MEMORY, "no locked memory for a key");
    vch_rc rc = vch_random(port, seed, 32, err);
    if (rc == VCH_OK) rc = vch_signer_new(ret, alg, seed, err);
    vch_secret_free(seed);
    return rc;
}

/* Readers of PEM pass over what stands before its first line. */
static vch_rc put_key_file(vch_buf_t *ret, vch_slice_t pem)
{
    uint8_t *to;
    vch_hash_t hash;
    char hex[65];
    VCH_TRY(vch_buf_extend(ret, KEY_LINE + pem.n, &to)); /* at once: growing would leave copies of the key */
    vch_sha256(&hash, pem.p, pem.n);
    vch_hex(hex, hash.b, 32);
    memcpy(to, KEY_FIRST, sizeof KEY_FIRST - 1);
    memcpy(to + sizeof KEY_FIRST - 1, hex, 64);
    to[KEY_LINE - 1] = '\n';
    memcpy(to + KEY_LINE, pem.p, pem.n);
    return VCH_OK;
}

static void forget(vch_buf_t *b)
{
    if (b->p) vch_wipe(b->p, b->cap);
    vch_buf_free(b);
}

static vch_rc write_key_file(vch_port_t *port, const char *path, const vch_signer_t *s, const char *passphrase,
                             vch_err_t *err)
{
    vch_buf_t pem, file;
    vch_buf_init(&pem, PEM_MAX);
    vch_buf_init(&file, PEM_MAX + KEY_LINE);
    vch_rc rc = vch_signer_to_pem(s, &pem, passphrase, err);
    if (rc == VCH_OK) {
        rc = put_key_file(&file, vch_buf_slice(&pem));
        rc = rc == VCH_OK ? vch_write_atomic(port, path, vch_buf_slice(&file), 0600, err)
                          : vch_fail(err, rc, "the key can't be written: %s", vch_rc_text(rc));
    }
    forget(&pem);
    forget(&file);
    return rc;
}

vch_rc nd_key_make(vch_port_t *port, const char *path, const char *algorithm, const char *passphrase,
                   vch_signer_t **ret, vch_err_t *err)
{
    vch_alg_t alg = VCH_ALG_ED25519;
    vch_signer_t *s = NULL;
    VCH_TRY(algorithm_get(algorithm, &alg, err));
    vch_rc rc = vch_crypto_start();
    if (rc != VCH_OK) return vch_fail(err, rc, "the cryptography library did not start");
    VCH_TRY(signer_new(port, alg, &s, err));
    rc = write_key_file(port, path, s, passphrase, err);
    if (rc == VCH_OK)
        *ret = s;
    else
        vch_signer_free(s);
    return rc;
}

vch_rc nd_key_text(vch_slice_t file, vch_slice_t *ret_pem, bool *ret_foreign, vch_err_t *err)
{
    static const char begin[] = "-----BEGIN";
    const size_t first = sizeof KEY_FIRST - 1;
    vch_hash_t hash;
    char hex[65];
    *ret_pem = file;
    *ret_foreign = false;
    if (file.n >= sizeof begin - 1 && memcmp(file.p, begin, sizeof begin - 1) == 0) return VCH_OK; /* made elsewhere */
    *ret_foreign = file.n < KEY_LINE || memcmp(file.p, KEY_FIRST, first) != 0 || file.p[KEY_LINE - 1] != '\n';
    if (*ret_foreign) return VCH_OK;
    *ret_pem = vch_slice(file.p + KEY_LINE, file.n - KEY_LINE);
    vch_sha256(&hash, ret_pem->p, ret_pem->n);
    vch_hex(hex, hash.b, 32);
    if (memcmp(file.p + first, hex, 64) == 0) return VCH_OK;
    vch_fail(err, VCH_ERR_CORRUPT, "key file: damaged, for it does not have the hash in its first line");
    return vch_hint(err, VCH_ERR_CORRUPT, "restore it from a backup");
}

vch_rc nd_key_load(vch_port_t *port, const char *path, const char *passphrase, vch_signer_t **ret, vch_err_t *err)
{
    vch_buf_t file;
    vch_slice_t pem;
    bool foreign;
    vch_rc rc = vch_crypto_start();
    if (rc != VCH_OK) return vch_fail(err, rc, "the cryptography library did not start");
    vch_buf_init(&file, PEM_MAX + KEY_LINE);
    rc = vch_read_all(port, &file, path, PEM_MAX + KEY_LINE, err);
    if (rc == VCH_OK) {
        rc = nd_key_text(vch_buf_slice(&file), &pem, &foreign, err);
        if (rc == VCH_OK) rc = vch_signer_from_pem(ret, pem, passphrase, err);
        if (rc != VCH_OK) (void)vch_context(err, rc, "%s", path);
    }
    forget(&file);
    return rc;
}

vch_rc vch_signer_load(vch_signer_t **ret, const char *pem_path, const char *passphrase, vch_err_t *err)
{
    return nd_key_load(vch_port_real(), pem_path, passphrase, ret, err);
}

static vch_rc show(vch_buf_t *b, const vch_pubkey_t *key)
{
    vch_keyid_t id = vch_pubkey_id(key);
    VCH_TRY(vch_buf_printf(b, "{\"key id\":"));
    VCH_TRY(nd_put_hex(b, id.b, sizeof id.b));
    VCH_TRY(vch_buf_printf(b, ",\"did\":\"did:key:"));
    VCH_TRY(vch_multibase_put(b, key->b, key->n));
    VCH_TRY(
        vch_buf_printf(b, "\",\"algorithm\":\"%s\",\"multicodec\":", key->alg == VCH_ALG_P256 ? "p256" : "ed25519"));
    VCH_TRY(nd_put_hex(b, key->b, key->n));
    return vch_buf_printf(b, "}");
}

vch_rc vch_signer_show(const vch_signer_t *s, vch_text_t *ret_json, vch_err_t *err)
{
    vch_buf_t b;
    vch_buf_init(&b, 4096);
    vch_rc rc = show(&b, vch_signer_public(s));
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &b);
    vch_buf_free(&b);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "showing a key: %s", vch_rc_text(rc));
}

/* ---- identities of a directory ---------------------------------------------------- */

static vch_rc key_path(const vch_ledger_t *l, char ret[VCH_PATH_MAX], const char *name, vch_err_t *err)
{
    const char *keys = l->in->keys;
    vch_rc rc =
        keys[0] == '/' ? vch_path(ret, "%s/%s.pem", keys, name) : vch_path(ret, "%s/%s/%s.pem", l->dir, keys, name);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the path of key %.64s is too long", name);
}

static vch_rc keys_folder(const vch_ledger_t *l, char ret[VCH_PATH_MAX], vch_err_t *err)
{
    const char *keys = l->in->keys;
    vch_rc rc = keys[0] == '/' ? vch_path(ret, "%s", keys) : vch_path(ret, "%s/%s", l->dir, keys);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the path of the keys folder is too long");
}

vch_rc vch_identity_new(vch_ledger_t *l, const char *name, const char *algorithm, const char *passphrase,
                        vch_err_t *err)
{
    char path[VCH_PATH_MAX], folder[VCH_PATH_MAX];
    vch_stat_t st;
    vch_signer_t *s = NULL;
    VCH_TRY(nd_name_check(name, err));
    if (l->flags & VCH_LEDGER_READ_ONLY)
        return vch_fail(err, VCH_ERR_READ_ONLY, "the ledger was opened for reading only");
    VCH_TRY(keys_folder(l, folder, err));
    VCH_TRY(key_path(l, path, name, err));
    VCH_TRY(vch_mkdirs(l->port, folder, err));
    pthread_mutex_lock(&l->mutex);
    vch_rc rc = l->port->disk->stat(l->port, path, &st);
    if (rc == VCH_OK)
        rc = vch_hint(err, vch_fail(err, VCH_ERR_CONFLICT, "there is a key named \"%s\" already", name),
                      "choose another name; a key is never overwritten");
    else if (rc == VCH_ERR_NOT_FOUND)
        rc = nd_key_make(l->port, path, algorithm, passphrase, &s, err);
    else
        rc = vch_fail(err, rc, "looking for %s: %s", path, vch_rc_text(rc));
    pthread_mutex_unlock(&l->mutex);
    vch_signer_free(s);
    return rc;
}

typedef struct {
    char name[80];
    size_t count;
} only_t;

static vch_rc count_key(void *ctx, const char *name)
{
    only_t *o = ctx;
    size_t n = strlen(name);
    if (n < 5 || n > 68 || strcmp(name + n - 4, ".pem") != 0 || strcmp(name, LOG_KEY ".pem") == 0) return VCH_OK;
    o->count++;
    memcpy(o->name, name, n - 4);
    o->name[n - 4] = 0;
    return VCH_OK;
}

static vch_rc only_identity(const vch_ledger_t *l, only_t *ret, vch_err_t *err)
{
    char folder[VCH_PATH_MAX];
    VCH_TRY(keys_folder(l, folder, err));
    *ret = (only_t){.count = 0};
    vch_rc rc = l->port->disk->list(l->port, folder, count_key, ret);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "listing %s: %s", folder, vch_rc_text(rc));
    if (ret->count == 1) return VCH_OK;
    if (ret->count == 0)
        return vch_hint(err, vch_fail(err, VCH_ERR_NOT_FOUND, "there is no identity in %s", folder),
                        "make one: vouch id new NAME");
    return vch_hint(err, vch_fail(err, VCH_ERR_USAGE, "there are %zu identities; which one signs?", ret->count),
                    "name one with --as NAME, or set [identity] default in vouch.conf");
}

vch_rc vch_identity_load(vch_ledger_t *l, const char *name, const char *passphrase, vch_signer_t **ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    only_t only;
    if (!name && l->identity_default[0]) name = l->identity_default;
    if (!name) {
        VCH_TRY(only_identity(l, &only, err));
        name = only.name;
    }
    VCH_TRY(nd_name_check(name, err));
    VCH_TRY(key_path(l, path, name, err));
    vch_rc rc = nd_key_load(l->port, path, passphrase, ret, err);
    if (rc != VCH_ERR_NOT_FOUND) return nd_told(rc, err);
    return vch_hint(err, vch_fail(err, rc, "there is no identity named \"%s\"", name), "make one: vouch id new %s",
                    name);
}
