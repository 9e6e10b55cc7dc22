/* SPDX-License-Identifier: Apache-2.0 */
#include "node/pkcs11.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#define MODULES_MAX 8u
#define PATH_ROOM 1024u
#define SLOTS_MAX 256u
#define LABEL 32u

/* ---- modules of this process ----------------------------------------------------------- */

struct p11_module {
    char path[PATH_ROOM];
    CK_FUNCTION_LIST *f;
    unsigned users;
    bool ours; /* initialized by us */
};

static p11_module_t modules[MODULES_MAX];
static unsigned modules_n;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static vch_rc load(p11_module_t *m, const char *path, vch_err_t *err)
{
    CK_C_GetFunctionList get;
    if (strlen(path) >= PATH_ROOM) return vch_fail(err, VCH_ERR_LIMIT, "module: the path is too long");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return vch_fail(err, VCH_ERR_UNREACHABLE, "module can't be loaded: %.300s", dlerror());
    void *symbol = dlsym(library, "C_GetFunctionList");
    memcpy(&get, &symbol, sizeof get); /* C has no cast from an object to a function */
    if (!symbol || get(&m->f) != CKR_OK || !m->f || m->f->version.major < 2) {
        (void)dlclose(library);
        return vch_fail(err, VCH_ERR_UNREACHABLE, "module is no PKCS#11 library: %.300s", path);
    }
    memcpy(m->path, path, strlen(path) + 1);
    return VCH_OK;
}

static vch_rc start(p11_module_t *m, vch_err_t *err)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    if (m->users == 0) {
        CK_RV rv = m->f->C_Initialize(&args);
        if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED)
            return vch_fail(err, VCH_ERR_UNREACHABLE, "module doesn't start (0x%lx): %.300s", rv, m->path);
        m->ours = rv == CKR_OK;
    }
    m->users++;
    return VCH_OK;
}

static vch_rc take_locked(p11_module_t **ret, const char *path, vch_err_t *err)
{
    unsigned i = 0;
    while (i < modules_n && strcmp(modules[i].path, path) != 0) i++;
    if (i == MODULES_MAX) return vch_fail(err, VCH_ERR_LIMIT, "at most %u modules in one process", MODULES_MAX);
    if (i == modules_n) {
        VCH_TRY(load(&modules[i], path, err));
        modules_n++;
    }
    VCH_TRY(start(&modules[i], err));
    *ret = &modules[i];
    return VCH_OK;
}

static vch_rc take(p11_module_t **ret, const char *path, vch_err_t *err)
{
    pthread_mutex_lock(&lock);
    vch_rc rc = take_locked(ret, path, err);
    pthread_mutex_unlock(&lock);
    return rc;
}

static void give_back(p11_module_t *m)
{
    pthread_mutex_lock(&lock);
    if (--m->users == 0 && m->ours) (void)m->f->C_Finalize(NULL);
    pthread_mutex_unlock(&lock);
}

/* ---- what went wrong ------------------------------------------------------------------------ */

static const struct {
    CK_RV rv;
    vch_rc rc;
    const char *text;
} results[] = {
    {CKR_PIN_INCORRECT, VCH_ERR_KEY, "the PIN is wrong"},
    {CKR_PIN_INVALID, VCH_ERR_KEY, "the PIN is wrong"},
    {CKR_PIN_LEN_RANGE, VCH_ERR_KEY, "the PIN is wrong"},
    {CKR_PIN_EXPIRED, VCH_ERR_KEY, "the PIN has expired"},
    {CKR_PIN_LOCKED, VCH_ERR_KEY, "the PIN is locked after too many wrong tries"},
    {CKR_USER_PIN_NOT_INITIALIZED, VCH_ERR_KEY, "no PIN has been set on it"},
    {CKR_USER_NOT_LOGGED_IN, VCH_ERR_KEY, "not logged in"},
    {CKR_TOKEN_NOT_PRESENT, VCH_ERR_UNREACHABLE, "it was taken out"},
    {CKR_DEVICE_REMOVED, VCH_ERR_UNREACHABLE, "it was taken out"},
    {CKR_SESSION_HANDLE_INVALID, VCH_ERR_UNREACHABLE, "it was taken out"},
    {CKR_DEVICE_ERROR, VCH_ERR_UNREACHABLE, "the device failed"},
    {CKR_DEVICE_MEMORY, VCH_ERR_FULL, "the device has no room"},
    {CKR_TOKEN_WRITE_PROTECTED, VCH_ERR_READ_ONLY, "it is write-protected"},
    {CKR_HOST_MEMORY, VCH_ERR_MEMORY, "out of memory"},
    {CKR_MECHANISM_INVALID, VCH_ERR_UNSUPPORTED, "it can't do that"},
    {CKR_MECHANISM_PARAM_INVALID, VCH_ERR_UNSUPPORTED, "it can't do that"},
    {CKR_TEMPLATE_INCONSISTENT, VCH_ERR_UNSUPPORTED, "it can't do that"},
    {CKR_ATTRIBUTE_VALUE_INVALID, VCH_ERR_UNSUPPORTED, "it can't do that"},
};

vch_rc p11_fail(const p11_t *t, CK_RV rv, const char *doing, vch_err_t *err)
{
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (results[i].rv == rv)
            return vch_fail(err, results[i].rc, "token %s: %s: %s", t->token, doing, results[i].text);
    return vch_fail(err, VCH_ERR_UNREACHABLE, "token %s: %s: failed (0x%lx)", t->token, doing, rv);
}

/* ---- tokens ----------------------------------------------------------------------------------- */

/* A token's label is filled up with blanks. */
static bool has_label(const CK_TOKEN_INFO *info, const char *token)
{
    size_t n = strlen(token);
    if (n > LABEL || memcmp(info->label, token, n) != 0) return false;
    for (; n < LABEL; n++)
        if (info->label[n] != ' ') return false;
    return true;
}

static vch_rc find_token(const p11_t *t, CK_SLOT_ID *ret, CK_FLAGS *ret_flags, vch_err_t *err)
{
    CK_SLOT_ID slot[SLOTS_MAX];
    CK_ULONG n = SLOTS_MAX;
    bool found = false;
    CK_RV rv = t->f->C_GetSlotList(CK_TRUE, slot, &n);
    if (rv != CKR_OK) return p11_fail(t, rv, "listing slots", err);
    for (CK_ULONG i = 0; i < n; i++) {
        CK_TOKEN_INFO info;
        if (t->f->C_GetTokenInfo(slot[i], &info) != CKR_OK || !(info.flags & CKF_TOKEN_INITIALIZED)) continue;
        if (!has_label(&info, t->token)) continue;
        if (found)
            return vch_fail(err, VCH_ERR_UNREACHABLE,
                            "token %s: two have that label, and it is not to be guessed which", t->token);
        found = true;
        *ret = slot[i];
        *ret_flags = info.flags;
    }
    return found ? VCH_OK : vch_fail(err, VCH_ERR_UNREACHABLE, "token %s: it is not there", t->token);
}

/* Opened at each command, a wrong PIN in a file would lock the token for good
 * within seconds; the last try is somebody's who looks at it. */
static vch_rc log_in(p11_t *t, const uint8_t *pin, size_t pin_n, vch_err_t *err)
{
    CK_SLOT_ID slot = 0;
    CK_FLAGS flags = 0;
    VCH_TRY(find_token(t, &slot, &flags, err));
    if (flags & CKF_USER_PIN_LOCKED) return p11_fail(t, CKR_PIN_LOCKED, "logging in", err);
    if (flags & CKF_USER_PIN_FINAL_TRY)
        return vch_fail(err, VCH_ERR_KEY, "token %s: one try is left before the PIN is locked; log in by hand once",
                        t->token);
    CK_RV rv = t->f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &t->session);
    if (rv != CKR_OK) return p11_fail(t, rv, "opening a session", err);
    rv = t->f->C_Login(t->session, CKU_USER, (CK_UTF8CHAR_PTR)pin, (CK_ULONG)pin_n);
    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN) return VCH_OK;
    (void)t->f->C_CloseSession(t->session);
    return p11_fail(t, rv, "logging in", err);
}

vch_rc p11_open(p11_t *ret, const char *module, const char *token, const uint8_t *pin, size_t pin_n, vch_err_t *err)
{
    p11_t t = {.module = NULL};
    if (strlen(token) >= sizeof t.token) return vch_fail(err, VCH_ERR_LIMIT, "a token's label has at most 32 bytes");
    memcpy(t.token, token, strlen(token) + 1);
    VCH_TRY(take(&t.module, module, err));
    t.f = t.module->f;
    vch_rc rc = log_in(&t, pin, pin_n, err);
    if (rc == VCH_OK)
        *ret = t;
    else
        give_back(t.module);
    return rc;
}

/* No logout: that would end other sessions of this process, too.  The last one
 * that is closed logs out. */
void p11_close(p11_t *t)
{
    if (!t->module) return;
    (void)t->f->C_CloseSession(t->session);
    give_back(t->module);
    *t = (p11_t){.module = NULL};
}
