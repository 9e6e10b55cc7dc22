/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_token.h"

#include <string.h>

/* Names as the standard has them, not those of the linker's other modules. */
#define EXPORT __attribute__((visibility("default")))
EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ret);
EXPORT fake_token_t fake_token;

typedef struct {
    bool there;
    CK_BYTE label[64], id[32];
    CK_ULONG label_n, id_n;
} fake_key_t;

static fake_key_t key[FAKE_KEYS_MAX];
static CK_OBJECT_HANDLE found[FAKE_KEYS_MAX], in_use;
static CK_ULONG found_n, found_at;

static bool fails(void) { return ++fake_token.calls == fake_token.fail_at; }
#define CALL()                                                                                                         \
    do {                                                                                                               \
        if (fails()) return fake_token.with;                                                                           \
    } while (0)

/* ---- the module, the slot, the session -------------------------------------------------- */

static CK_RV initialize(void *args)
{
    (void)args;
    CALL();
    fake_token.starts++;
    return fake_token.in_use ? CKR_CRYPTOKI_ALREADY_INITIALIZED : CKR_OK;
}

static CK_RV finalize(void *args)
{
    (void)args;
    fake_token.ends++;
    return CKR_OK;
}

static CK_RV get_slot_list(CK_BBOOL with_token, CK_SLOT_ID *ret, CK_ULONG *ret_n)
{
    (void)with_token;
    CALL();
    ret[0] = 5;
    *ret_n = 1;
    return CKR_OK;
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *ret)
{
    (void)slot;
    CALL();
    memset(ret, 0, sizeof *ret);
    memset(ret->label, ' ', sizeof ret->label);
    memcpy(ret->label, "fake", 4);
    ret->flags = CKF_TOKEN_INITIALIZED | fake_token.flags;
    return CKR_OK;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify, CK_SESSION_HANDLE *ret)
{
    (void)slot, (void)app, (void)notify;
    CALL();
    *ret = 9;
    fake_token.sessions++;
    return flags & CKF_RW_SESSION ? CKR_OK : CKR_SESSION_READ_ONLY;
}

static CK_RV close_session(CK_SESSION_HANDLE s)
{
    (void)s;
    fake_token.sessions--;
    return CKR_OK;
}

static CK_RV login(CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG n)
{
    (void)s, (void)user;
    CALL();
    fake_token.logins++;
    return n == 4 && memcmp(pin, "1234", 4) == 0 ? CKR_OK : CKR_PIN_INCORRECT;
}

/* ---- keys ----------------------------------------------------------------------------------- */

static const CK_ATTRIBUTE *want(const CK_ATTRIBUTE *a, CK_ULONG n, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < n; i++)
        if (a[i].type == type) return &a[i];
    return NULL;
}

static bool is(const CK_ATTRIBUTE *a, const CK_BYTE *p, CK_ULONG n)
{
    return !a || (a->ulValueLen == n && memcmp(a->pValue, p, n) == 0);
}

static CK_RV find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE *a, CK_ULONG n)
{
    (void)s;
    CALL();
    found_n = found_at = 0;
    for (CK_ULONG i = 0; i < FAKE_KEYS_MAX; i++)
        if (key[i].there && is(want(a, n, CKA_LABEL), key[i].label, key[i].label_n) &&
            is(want(a, n, CKA_ID), key[i].id, key[i].id_n))
            found[found_n++] = i + 1;
    return CKR_OK;
}

static CK_RV find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *ret, CK_ULONG max, CK_ULONG *ret_n)
{
    (void)s;
    CALL();
    for (*ret_n = 0; *ret_n < max && found_at < found_n;) ret[(*ret_n)++] = found[found_at++];
    return CKR_OK;
}

static CK_RV find_final(CK_SESSION_HANDLE s)
{
    (void)s;
    CALL();
    return CKR_OK;
}

static CK_RV get_attribute(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE at, CK_ATTRIBUTE *a, CK_ULONG n)
{
    (void)s;
    CALL();
    if (at == 0 || at > FAKE_KEYS_MAX || !key[at - 1].there) return CKR_OBJECT_HANDLE_INVALID;
    for (CK_ULONG i = 0; i < n; i++) {
        if (a[i].type == CKA_ID) {
            memcpy(a[i].pValue, key[at - 1].id, key[at - 1].id_n);
            a[i].ulValueLen = key[at - 1].id_n;
        } else {
            *(CK_BBOOL *)a[i].pValue = !(fake_token.leaky && a[i].type == CKA_NEVER_EXTRACTABLE);
        }
    }
    return CKR_OK;
}

static CK_RV generate(CK_SESSION_HANDLE s, CK_MECHANISM *how, CK_ATTRIBUTE *a, CK_ULONG n, CK_OBJECT_HANDLE *ret)
{
    (void)s;
    CK_ULONG i = 0;
    CALL();
    const CK_ATTRIBUTE *label = want(a, n, CKA_LABEL), *id = want(a, n, CKA_ID);
    if (how->mechanism != CKM_AES_KEY_GEN || !label || !id) return CKR_TEMPLATE_INCOMPLETE;
    while (i < FAKE_KEYS_MAX && key[i].there) i++;
    if (i == FAKE_KEYS_MAX) return CKR_DEVICE_MEMORY;
    key[i] = (fake_key_t){.there = true, .label_n = label->ulValueLen, .id_n = id->ulValueLen};
    memcpy(key[i].label, label->pValue, key[i].label_n);
    memcpy(key[i].id, id->pValue, key[i].id_n);
    fake_token.keys++;
    *ret = i + 1;
    return CKR_OK;
}

static CK_RV destroy(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE at)
{
    (void)s;
    CALL();
    if (at == 0 || at > FAKE_KEYS_MAX || !key[at - 1].there) return CKR_OBJECT_HANDLE_INVALID;
    if (fake_token.undying) return CKR_OK;
    key[at - 1].there = false;
    fake_token.keys--;
    return CKR_OK;
}

/* ---- a cipher that is none: the key's number over the text, and 16 bytes of it behind ----------- */

static CK_RV crypt_init(CK_SESSION_HANDLE s, CK_MECHANISM *how, CK_OBJECT_HANDLE with)
{
    (void)s;
    CALL();
    if (fake_token.no_gcm || how->mechanism != CKM_AES_GCM) return CKR_MECHANISM_INVALID;
    in_use = with;
    return CKR_OK;
}

static CK_BYTE pad(CK_ULONG i) { return (CK_BYTE)(key[in_use - 1].id[i % 16] + i); }

static CK_RV encrypt(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *out_n)
{
    (void)s;
    CALL();
    for (CK_ULONG i = 0; i < n; i++) out[i] = in[i] ^ pad(i);
    for (CK_ULONG i = 0; i < 16; i++) out[n + i] = pad(n + i);
    *out_n = fake_token.no_tag ? n : n + 16;
    return CKR_OK;
}

static CK_RV decrypt(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *out_n)
{
    (void)s;
    CALL();
    for (CK_ULONG i = 0; i < 16; i++)
        if (in[n - 16 + i] != pad(n - 16 + i)) return CKR_ENCRYPTED_DATA_INVALID;
    for (CK_ULONG i = 0; i < n - 16; i++) out[i] = in[i] ^ pad(i);
    *out_n = n - 16;
    return CKR_OK;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ret)
{
    static CK_FUNCTION_LIST list = {
        .version = {2, 40},
        .C_Initialize = initialize,
        .C_Finalize = finalize,
        .C_GetSlotList = get_slot_list,
        .C_GetTokenInfo = get_token_info,
        .C_OpenSession = open_session,
        .C_CloseSession = close_session,
        .C_Login = login,
        .C_FindObjectsInit = find_init,
        .C_FindObjects = find,
        .C_FindObjectsFinal = find_final,
        .C_GetAttributeValue = get_attribute,
        .C_GenerateKey = generate,
        .C_DestroyObject = destroy,
        .C_EncryptInit = crypt_init,
        .C_Encrypt = encrypt,
        .C_DecryptInit = crypt_init,
        .C_Decrypt = decrypt,
    };
    *ret = &list;
    return CKR_OK;
}
