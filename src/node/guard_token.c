/* SPDX-License-Identifier: Apache-2.0 */
/* A root key under a key that a PKCS#11 token made and never gives away.
 *
 * Each root key has a token key of its own, made for it and used once; when
 * another root key is in force, all others of the store are destroyed in the
 * token, and with them every copy of what they wrapped.  The store's number
 * tells one trustee's keys from another's in the same token. */
#include "crypto/keys.h"
#include "node/guard_int.h"
#include "node/pkcs11.h"

#define NUMBER 16u
#define NONCE 12u
#define TAG 16u
#define HEAD (GD_MAGIC + 2u * NUMBER) /* what is bound to the ciphertext */
#define LABEL_PREFIX "vouchsafe root "
#define LABEL_SIZE (sizeof LABEL_PREFIX - 1 + 2u * NUMBER)
#define AT_ONCE 32u
#define ROUNDS_MAX 4096u
/* A module may want room for a block more than comes out. */
#define ROOM 96u

_Static_assert(GD_TOKEN_SIZE == HEAD + NONCE + 32u + TAG, "key and tag");

typedef struct {
    vch_guard_t guard;
    vch_port_t *port;
    p11_t p11;
    bool has_store; /* known once something was wrapped or unwrapped */
    uint8_t store[NUMBER];
} token_t;

/* ---- objects ------------------------------------------------------------------------- */

static void store_label(uint8_t ret[LABEL_SIZE + 1], const uint8_t store[NUMBER])
{
    memcpy(ret, LABEL_PREFIX, sizeof LABEL_PREFIX - 1);
    vch_hex((char *)ret + sizeof LABEL_PREFIX - 1, store, NUMBER);
}

/* Handles of a store's keys, at most max; id NULL: all of them. */
static vch_rc find(token_t *t, const uint8_t store[NUMBER], const uint8_t *id, CK_OBJECT_HANDLE *ret, CK_ULONG max,
                   CK_ULONG *ret_n, vch_err_t *err)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    uint8_t label[LABEL_SIZE + 1], wanted[NUMBER] = {0};
    if (id) memcpy(wanted, id, NUMBER);
    store_label(label, store);
    CK_ATTRIBUTE want[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, label, LABEL_SIZE}, {CKA_ID, wanted, NUMBER}};
    CK_FUNCTION_LIST *f = t->p11.f;
    CK_RV rv = f->C_FindObjectsInit(t->p11.session, want, id ? 3 : 2);
    if (rv != CKR_OK) return p11_fail(&t->p11, rv, "looking for a key", err);
    rv = f->C_FindObjects(t->p11.session, ret, max, ret_n);
    CK_RV end = f->C_FindObjectsFinal(t->p11.session);
    if (rv == CKR_OK) rv = end;
    return rv == CKR_OK ? VCH_OK : p11_fail(&t->p11, rv, "looking for a key", err);
}

/* The grade rests on this: made inside, and never outside. */
static vch_rc stays_inside(token_t *t, CK_OBJECT_HANDLE key, vch_err_t *err)
{
    CK_BBOOL on_token = CK_FALSE, local = CK_FALSE, sensitive = CK_FALSE, never = CK_FALSE;
    CK_ATTRIBUTE a[] = {{CKA_TOKEN, &on_token, sizeof on_token},
                        {CKA_LOCAL, &local, sizeof local},
                        {CKA_ALWAYS_SENSITIVE, &sensitive, sizeof sensitive},
                        {CKA_NEVER_EXTRACTABLE, &never, sizeof never}};
    CK_RV rv = t->p11.f->C_GetAttributeValue(t->p11.session, key, a, sizeof a / sizeof *a);
    if (rv != CKR_OK) return p11_fail(&t->p11, rv, "asking about a key", err);
    if (on_token && local && sensitive && never) return VCH_OK;
    return vch_fail(err, VCH_ERR_KEY, "token %s: the key was not made inside, or could leave it", t->p11.token);
}

static vch_rc make_key(token_t *t, const uint8_t id[NUMBER], CK_OBJECT_HANDLE *ret, vch_err_t *err)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ULONG size = 32;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_MECHANISM how = {CKM_AES_KEY_GEN, NULL, 0};
    uint8_t label[LABEL_SIZE + 1], number[NUMBER];
    store_label(label, t->store);
    memcpy(number, id, NUMBER);
    CK_ATTRIBUTE a[] = {
        {CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_VALUE_LEN, &size, sizeof size},
        {CKA_LABEL, label, LABEL_SIZE},    {CKA_ID, number, NUMBER},           {CKA_TOKEN, &yes, sizeof yes},
        {CKA_PRIVATE, &yes, sizeof yes},   {CKA_SENSITIVE, &yes, sizeof yes},  {CKA_EXTRACTABLE, &no, sizeof no},
        {CKA_ENCRYPT, &yes, sizeof yes},   {CKA_DECRYPT, &yes, sizeof yes},    {CKA_WRAP, &no, sizeof no},
        {CKA_UNWRAP, &no, sizeof no},
    };
    CK_RV rv = t->p11.f->C_GenerateKey(t->p11.session, &how, a, sizeof a / sizeof *a, ret);
    if (rv != CKR_OK) return p11_fail(&t->p11, rv, "making a key", err);
    vch_rc rc = stays_inside(t, *ret, err);
    if (rc != VCH_OK) (void)t->p11.f->C_DestroyObject(t->p11.session, *ret);
    return rc;
}

/* ---- wrap, unwrap ------------------------------------------------------------------------ */

static CK_GCM_PARAMS gcm(const uint8_t *blob)
{
    CK_GCM_PARAMS p = {.pIv = (CK_BYTE_PTR)blob + HEAD, .ulIvLen = NONCE, .ulIvBits = 8 * NONCE};
    p.pAAD = (CK_BYTE_PTR)blob;
    p.ulAADLen = HEAD;
    p.ulTagBits = 8 * TAG;
    return p;
}

/* blob: head and nonce are there; the rest is written. */
static vch_rc encrypt(token_t *t, CK_OBJECT_HANDLE with, uint8_t blob[GD_TOKEN_SIZE], const uint8_t key[32],
                      vch_err_t *err)
{
    CK_GCM_PARAMS params = gcm(blob);
    CK_MECHANISM how = {CKM_AES_GCM, &params, sizeof params};
    CK_ULONG n = ROOM;
    uint8_t out[ROOM], *plain = vch_secret_alloc(32);
    if (!plain) return vch_fail(err, VCH_ERR_MEMORY, "no secret memory");
    memcpy(plain, key, 32);
    CK_RV rv = t->p11.f->C_EncryptInit(t->p11.session, &how, with);
    if (rv == CKR_OK) rv = t->p11.f->C_Encrypt(t->p11.session, plain, 32, out, &n);
    vch_secret_free(plain);
    if (rv != CKR_OK) return p11_fail(&t->p11, rv, "AES-GCM", err);
    if (n != 32 + TAG) return vch_fail(err, VCH_ERR_UNSUPPORTED, "token %s: AES-GCM without a tag", t->p11.token);
    memcpy(blob + HEAD + NONCE, out, 32 + TAG);
    return VCH_OK;
}

static vch_rc decrypt(token_t *t, CK_OBJECT_HANDLE with, uint8_t ret[32], const uint8_t blob[GD_TOKEN_SIZE],
                      vch_err_t *err)
{
    uint8_t copy[GD_TOKEN_SIZE];
    memcpy(copy, blob, sizeof copy);
    CK_GCM_PARAMS params = gcm(copy);
    CK_MECHANISM how = {CKM_AES_GCM, &params, sizeof params};
    CK_ULONG n = ROOM;
    uint8_t *plain = vch_secret_alloc(ROOM);
    if (!plain) return vch_fail(err, VCH_ERR_MEMORY, "no secret memory");
    CK_RV rv = t->p11.f->C_DecryptInit(t->p11.session, &how, with);
    if (rv != CKR_OK) {
        vch_secret_free(plain);
        return p11_fail(&t->p11, rv, "AES-GCM", err);
    }
    rv = t->p11.f->C_Decrypt(t->p11.session, copy + HEAD + NONCE, 32 + TAG, plain, &n);
    bool good = rv == CKR_OK && n == 32;
    if (good) memcpy(ret, plain, 32);
    vch_secret_free(plain);
    if (good) return VCH_OK;
    if (rv == CKR_DEVICE_REMOVED || rv == CKR_TOKEN_NOT_PRESENT) return p11_fail(&t->p11, rv, "AES-GCM", err);
    return vch_fail(err, VCH_ERR_KEY, "token %s: its key doesn't open root: damaged", t->p11.token);
}

static vch_rc draw_head(token_t *t, uint8_t blob[GD_TOKEN_SIZE], vch_err_t *err)
{
    if (!t->has_store) VCH_TRY(vch_random(t->port, t->store, NUMBER, err));
    t->has_store = true;
    memcpy(blob, "VCHTOKN1", GD_MAGIC);
    memcpy(blob + GD_MAGIC, t->store, NUMBER);
    return vch_random(t->port, blob + GD_MAGIC + NUMBER, NUMBER + NONCE, err);
}

/* A key that was made in vain is destroyed here, or, when that fails, by the next settle. */
static vch_rc token_wrap(void *ctx, vch_buf_t *ret, const uint8_t key[32], vch_err_t *err)
{
    token_t *t = ctx;
    uint8_t blob[GD_TOKEN_SIZE];
    CK_OBJECT_HANDLE with;
    VCH_TRY(draw_head(t, blob, err));
    VCH_TRY(make_key(t, blob + GD_MAGIC + NUMBER, &with, err));
    vch_rc rc = encrypt(t, with, blob, key, err);
    if (rc == VCH_OK && (rc = vch_buf_put(ret, blob, sizeof blob)) != VCH_OK) vch_fail(err, rc, "out of memory");
    if (rc != VCH_OK) (void)t->p11.f->C_DestroyObject(t->p11.session, with);
    return rc;
}

static vch_rc token_unwrap(void *ctx, uint8_t ret[32], vch_slice_t wrapped, vch_err_t *err)
{
    token_t *t = ctx;
    CK_OBJECT_HANDLE with[2];
    CK_ULONG n = 0;
    if (!gd_is(VCH_GUARD_TOKEN, wrapped))
        return vch_fail(err, VCH_ERR_KEY, "the root key is not in a token, as guard.conf says");
    const uint8_t *store = wrapped.p + GD_MAGIC, *id = store + NUMBER;
    VCH_TRY(find(t, store, id, with, 2, &n, err));
    if (n == 0)
        return vch_fail(err, VCH_ERR_KEY, "token %s: the key of this root was destroyed, or is in another token",
                        t->p11.token);
    if (n > 1) return vch_fail(err, VCH_ERR_KEY, "token %s: two keys have the number of this root's", t->p11.token);
    VCH_TRY(stays_inside(t, with[0], err));
    VCH_TRY(decrypt(t, with[0], ret, wrapped.p, err));
    memcpy(t->store, store, NUMBER);
    t->has_store = true;
    return VCH_OK;
}

/* ---- destroying ---------------------------------------------------------------------------- */

static vch_rc destroy_one(token_t *t, CK_OBJECT_HANDLE key, const uint8_t *keep, bool *ret_kept, vch_err_t *err)
{
    uint8_t id[64];
    CK_ATTRIBUTE a = {CKA_ID, id, sizeof id};
    CK_RV rv = t->p11.f->C_GetAttributeValue(t->p11.session, key, &a, 1);
    *ret_kept = rv == CKR_OK && keep && a.ulValueLen == NUMBER && memcmp(id, keep, NUMBER) == 0;
    if (rv == CKR_OK && !*ret_kept) rv = t->p11.f->C_DestroyObject(t->p11.session, key);
    return rv == CKR_OK ? VCH_OK : p11_fail(&t->p11, rv, "destroying a key", err);
}

/* All keys of the store but `keep` (NULL: none), until a look finds no other. */
static vch_rc destroy_others(token_t *t, const uint8_t store[NUMBER], const uint8_t *keep, vch_err_t *err)
{
    CK_OBJECT_HANDLE found[AT_ONCE];
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        CK_ULONG n = 0, kept = 0;
        VCH_TRY(find(t, store, NULL, found, AT_ONCE, &n, err));
        for (CK_ULONG i = 0; i < n; i++) {
            bool one;
            VCH_TRY(destroy_one(t, found[i], keep, &one, err));
            kept += one;
        }
        if (n == kept) return VCH_OK;
    }
    return vch_fail(err, VCH_ERR_UNREACHABLE, "token %s: keys that it destroyed are still there", t->p11.token);
}

static vch_rc token_settle(void *ctx, vch_slice_t now, vch_slice_t was, vch_err_t *err)
{
    token_t *t = ctx;
    const uint8_t *store = NULL;
    if (gd_is(VCH_GUARD_TOKEN, now)) {
        store = now.p + GD_MAGIC;
        VCH_TRY(destroy_others(t, store, store + NUMBER, err));
    }
    if (!gd_is(VCH_GUARD_TOKEN, was)) return VCH_OK;
    if (store && memcmp(store, was.p + GD_MAGIC, NUMBER) == 0) return VCH_OK;
    return destroy_others(t, was.p + GD_MAGIC, NULL, err);
}

/* ---- open, close ------------------------------------------------------------------------------ */

static void token_close(vch_guard_t *g)
{
    token_t *t = (token_t *)(void *)g;
    p11_close(&t->p11);
    vch_free(t);
}

vch_rc gd_token(vch_guard_t **ret, vch_port_t *port, const gd_conf_t *conf, gd_secret_t *pin, vch_err_t *err)
{
    token_t *t = vch_alloc(sizeof *t);
    if (!t) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    t->guard.seeds = (vch_seeds_guard_t){
        .wrap = token_wrap, .unwrap = token_unwrap, .ctx = t, .settle = token_settle, .destroys = true};
    t->guard.kind = VCH_GUARD_TOKEN;
    t->guard.close = token_close;
    t->port = port;
    vch_rc rc = p11_open(&t->p11, conf->module, conf->token, pin->p, pin->n, err);
    if (rc == VCH_OK)
        *ret = &t->guard;
    else
        token_close(&t->guard);
    return rc;
}
