/* SPDX-License-Identifier: Apache-2.0 */
/* A handle on another machine's ledger: its birth and end, and how it asks. */
#include "node/remote.h"

#include <stdio.h>
#include <stdlib.h>

#include "node/remote_int.h"

#define TOKEN_MAX 512u
#define BACKOFF_MS 100u

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- paths --------------------------------------------------------------------------- */

static void path_put(rm_path_t *p, const char *s, size_t n)
{
    p->full = p->full || n >= sizeof p->text - p->n;
    if (p->full) return;
    memcpy(p->text + p->n, s, n);
    p->n += n;
    p->text[p->n] = 0;
}

rm_path_t rm_path(const char *fixed)
{
    rm_path_t p = {.n = 0};
    rm_path_add(&p, fixed);
    return p;
}

void rm_path_add(rm_path_t *p, const char *fixed) { path_put(p, fixed, strlen(fixed)); }

void rm_path_value(rm_path_t *p, const char *value)
{
    static const char digit[] = "0123456789ABCDEF", plain[] = "-._~";
    for (; *value; value++) {
        uint8_t c = (uint8_t)*value;
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        char code[3] = {'%', digit[c >> 4], digit[c & 15]};
        if (letter || strchr(plain, c))
            path_put(p, value, 1);
        else
            path_put(p, code, 3);
    }
}

void rm_path_hex(rm_path_t *p, const void *bytes, size_t n)
{
    char two[3];
    for (size_t i = 0; i < n; i++) {
        vch_hex(two, (const uint8_t *)bytes + i, 1);
        path_put(p, two, 2);
    }
}

void rm_path_uint(rm_path_t *p, uint64_t v)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)v);
    path_put(p, text, (size_t)n);
}

vch_rc rm_path_check(const rm_path_t *p, vch_err_t *err)
{
    return p->full ? vch_fail(err, VCH_ERR_LIMIT, "the question is too long for a node") : VCH_OK;
}

/* ---- one round of questions --------------------------------------------------------------- */

typedef struct {
    vch_ask_t ask[RM_AT_ONCE];
    vch_answer_t answer[RM_AT_ONCE];
    vch_buf_t url[RM_AT_ONCE], proof[RM_AT_ONCE]; /* proof: the Authorization header */
    rm_ask_t *who[RM_AT_ONCE];
    size_t n;
} round_t;

static vch_rc put_url(const vch_remote_t *r, const rm_ask_t *a, vch_buf_t *ret)
{
    vch_rc rc = vch_buf_printf(ret, "%s%s%s", r->url, r->is_unix ? ":" : "", a->path);
    return rc == VCH_OK ? vch_buf_u8(ret, 0) : rc;
}

/* A token speaks for itself; else the party's key signs this one question. */
static vch_rc put_proof(vch_ledger_t *l, const rm_ask_t *a, vch_buf_t *ret, vch_err_t *err)
{
    uint8_t nonce[16];
    const vch_remote_t *r = l->remote;
    const vch_signer_t *who = a->who ? a->who : r->who;
    vch_rc rc = VCH_OK;
    if (r->token && !a->who) {
        rc = vch_buf_printf(ret, "Bearer %s", r->token);
    } else if (who && r->authorize) {
        VCH_TRY(vch_random(l->port, nonce, sizeof nonce, err));
        VCH_TRY(r->authorize(ret, who, a->type ? "POST" : "GET", a->path, a->body, nd_now(l), nonce, err));
    } else {
        return VCH_OK;
    }
    if (rc == VCH_OK) rc = vch_buf_u8(ret, 0);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the question can't be signed: %s", vch_rc_text(rc));
}

static vch_rc round_add(vch_ledger_t *l, round_t *t, rm_ask_t *a)
{
    size_t i = t->n;
    vch_buf_init(&t->url[i], RM_URL_MAX + RM_PATH_MAX + 1);
    vch_buf_init(&t->proof[i], 16384);
    vch_rc rc = put_url(l->remote, a, &t->url[i]);
    if (rc != VCH_OK) (void)vch_fail(&a->err, rc, "the question is too long for a node");
    if (rc == VCH_OK) rc = put_proof(l, a, &t->proof[i], &a->err);
    if (rc != VCH_OK) {
        vch_buf_free(&t->url[i]);
        vch_buf_free(&t->proof[i]);
        a->rc = rc;
        return rc;
    }
    t->ask[i] = (vch_ask_t){.url = (const char *)t->url[i].p,
                            .post = a->type != NULL,
                            .type = a->type,
                            .authorization = t->proof[i].n ? (const char *)t->proof[i].p : NULL,
                            .body = a->body};
    t->answer[i] = (vch_answer_t){.rc = VCH_ERR_UNREACHABLE};
    vch_buf_init(&t->answer[i].body, a->max ? a->max : RM_ANSWER_MAX);
    t->who[i] = a;
    t->n++;
    return VCH_OK;
}

static void round_free(round_t *t)
{
    for (size_t i = 0; i < t->n; i++) {
        vch_buf_free(&t->url[i]);
        if (t->proof[i].p) vch_wipe(t->proof[i].p, t->proof[i].cap);
        vch_buf_free(&t->proof[i]);
        vch_buf_free(&t->answer[i].body);
    }
}

/* True when asking again may help; *ret_wait_ms: after how long. */
static bool take_answer(rm_ask_t *a, vch_answer_t *got, uint64_t *ret_wait_ms)
{
    a->tries++;
    if (got->rc != VCH_OK) {
        a->rc = got->rc;
        a->err = got->err;
        a->unsure = true;
        return got->rc == VCH_ERR_UNREACHABLE && !a->heavy && (a->type || a->tries < RM_TRIES_GET);
    }
    if (got->status == 200) {
        a->rc = VCH_OK;
        a->answer = got->body;
        vch_buf_init(&got->body, 0); /* it changed hands */
        return false;
    }
    a->rc = rm_error_get(&a->err, got->status, vch_buf_slice(&got->body));
    bool passes = rm_error_passes(got->status, got->retry_after_s, a->rc);
    bool broke = a->rc == VCH_ERR_INTERNAL || a->rc == VCH_ERR_IO || a->rc == VCH_ERR_UNREACHABLE;
    a->unsure = got->status >= 500 && broke; /* a refusal is certain: what is there comes back as there */
    uint64_t wait = (uint64_t)got->retry_after_s * 1000;
    if (passes && wait > *ret_wait_ms) *ret_wait_ms = wait;
    return passes;
}

static void round_ask(vch_remote_t *r, round_t *t)
{
    uint64_t timeout_ms = t->who[0]->heavy ? r->timeout_ms * RM_HEAVY : r->timeout_ms;
    r->transport->ask(r->transport, t->ask, t->answer, t->n, timeout_ms);
}

/* Ask all those that are still open; the rest of them stays in `open`. */
static size_t one_round(vch_ledger_t *l, rm_ask_t **open, size_t n, uint64_t *ret_wait_ms)
{
    size_t left = 0;
    round_t *t = vch_alloc(sizeof *t);
    for (size_t i = 0; !t && i < n; i++) open[i]->rc = no_memory(&open[i]->err);
    if (!t) return 0;
    for (size_t at = 0; at < n; at += RM_AT_ONCE) {
        t->n = 0;
        for (size_t i = at; i < n && i < at + RM_AT_ONCE; i++) (void)round_add(l, t, open[i]); /* it was told */
        if (t->n) round_ask(l->remote, t);
        for (size_t i = 0; i < t->n; i++)
            if (take_answer(t->who[i], &t->answer[i], ret_wait_ms)) open[left++] = t->who[i];
        round_free(t);
    }
    vch_free(t);
    return left;
}

static void ask_until(vch_ledger_t *l, rm_ask_t **open, size_t n)
{
    const vch_clock_ops_t *clock = l->port->clock;
    uint64_t began = clock->boot_ms(l->port);
    for (unsigned tries = 0; n; tries++) {
        uint64_t wait = (uint64_t)BACKOFF_MS << tries;
        n = one_round(l, open, n, &wait);
        uint64_t spent = clock->boot_ms(l->port) - began;
        if (n == 0 || tries + 1 == RM_TRIES || spent + wait > l->remote->patience_ms) return;
        clock->sleep_ms(l->port, wait);
    }
}

void rm_ask(vch_ledger_t *l, rm_ask_t *ask, size_t n)
{
    rm_ask_t **open = vch_alloc_array(n, sizeof *open);
    for (size_t i = 0; i < n; i++) {
        ask[i].rc = open ? VCH_ERR_UNREACHABLE : no_memory(&ask[i].err);
        ask[i].unsure = false;
        ask[i].tries = 0;
        vch_buf_init(&ask[i].answer, 0);
        if (open) open[i] = &ask[i];
    }
    if (!open) return;
    pthread_mutex_lock(&l->remote->mutex);
    ask_until(l, open, n);
    pthread_mutex_unlock(&l->remote->mutex);
    vch_free(open);
}

void rm_free(rm_ask_t *ask, size_t n)
{
    for (size_t i = 0; i < n; i++) vch_buf_free(&ask[i].answer);
}

vch_rc rm_get(vch_ledger_t *l, rm_ask_t *ret, const char *path, size_t max, vch_err_t *err)
{
    *ret = (rm_ask_t){.path = path, .max = max};
    rm_ask(l, ret, 1);
    if (ret->rc != VCH_OK && err) *err = ret->err;
    return ret->rc;
}

vch_rc vch_remote_get(vch_ledger_t *l, const char *path, vch_buf_t *ret, vch_err_t *err)
{
    rm_ask_t a;
    VCH_TRY(rm_begin(l, err));
    vch_rc rc = rm_get(l, &a, path, 0, err);
    if (rc == VCH_OK) {
        rc = vch_buf_put(ret, a.answer.p, a.answer.n);
        if (rc != VCH_OK) (void)vch_fail(err, rc, "the node's answer is too long");
    }
    rm_free(&a, 1);
    rm_end(l);
    return rc;
}

/* ---- one at a time ---------------------------------------------------------------------------- */

vch_rc rm_begin(vch_ledger_t *l, vch_err_t *err)
{
    pthread_mutex_lock(&l->remote->mutex);
    vch_rc rc = l->remote->started ? VCH_OK : rm_start(l, err);
    l->remote->depth++;
    if (rc != VCH_OK) rm_end(l);
    return nd_told(rc, err);
}

void rm_end(vch_ledger_t *l)
{
    if (--l->remote->depth == 0) l->remote->fresh = false;
    pthread_mutex_unlock(&l->remote->mutex);
}

vch_rc vch_here(const vch_ledger_t *l, vch_err_t *err)
{
    if (!l->remote) return VCH_OK;
    return vch_hint(
        err, vch_fail(err, VCH_ERR_UNSUPPORTED, "this needs the files of the ledger's own directory, not a node"),
        "run it where the ledger is, with -C DIR");
}

vch_rc vch_look_begin(vch_ledger_t *l, vch_err_t *err)
{
    return l->remote ? rm_begin(l, err) : vch_ledger_read_begin(l, err);
}

void vch_look_end(vch_ledger_t *l)
{
    if (l->remote)
        rm_end(l);
    else
        vch_ledger_read_end(l);
}

vch_rc vch_value(vch_ledger_t *l, const vch_state_key_t *key, vch_buf_t *ret, vch_err_t *err)
{
    if (l->remote) return rm_value(l, vch_key_slice(key), ret, err);
    return vch_state_get(l->state, vch_key_slice(key), ret, err);
}

/* ---- birth ---------------------------------------------------------------------------------------- */

/* $XDG_<kind>_HOME/vouch…, or the same below the home folder. */
static vch_rc home_folder(char ret[VCH_PATH_MAX], const char *variable, const char *below, const char *name,
                          vch_err_t *err)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    vch_rc rc = VCH_ERR_NOT_FOUND;
    if (base && base[0] == '/')
        rc = vch_path(ret, "%s/vouch%s", base, name);
    else if (home && home[0] == '/')
        rc = vch_path(ret, "%s/%s/vouch%s", home, below, name);
    if (rc == VCH_OK) return rc;
    return vch_hint(err, vch_fail(err, VCH_ERR_USAGE, "there is no home folder to keep things in"), "set HOME, or %s",
                    variable);
}

static vch_rc take_folders(vch_ledger_t *l, const vch_connect_t *o, vch_err_t *err)
{
    char *keys = l->in->keys;
    vch_rc rc = o->memory_dir ? vch_path(l->remote->memory, "%s", o->memory_dir)
                              : home_folder(l->remote->memory, "XDG_STATE_HOME", ".local/state", "", err);
    if (rc == VCH_OK && o->keys_dir)
        rc = vch_path(keys, "%s", o->keys_dir);
    else if (rc == VCH_OK && home_folder(keys, "XDG_CONFIG_HOME", ".config", "/keys", NULL) != VCH_OK)
        rc = vch_path(keys, "%s/keys", l->remote->memory);
    return rc == VCH_ERR_LIMIT ? vch_fail(err, rc, "the path of a folder is too long") : rc;
}

static bool is_token(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] >= 127) return false;
    return n > 0;
}

static vch_rc take_token(vch_ledger_t *l, const char *path, vch_err_t *err)
{
    vch_buf_t file;
    if (!path) return VCH_OK;
    vch_buf_init(&file, TOKEN_MAX);
    vch_rc rc = vch_read_all(l->port, &file, path, TOKEN_MAX, err);
    const uint8_t *end = file.n ? memchr(file.p, '\n', file.n) : NULL;
    size_t n = end ? (size_t)(end - file.p) : file.n;
    if (n && file.p[n - 1] == '\r') n--;
    if (rc == VCH_OK && !is_token((const char *)file.p, n))
        rc = vch_hint(err, vch_fail(err, VCH_ERR_FORMAT, "%s holds no token", path),
                      "its first line is what vouch token new printed");
    if (rc == VCH_OK) {
        l->remote->token = vch_secret_alloc(n + 1);
        if (!l->remote->token) rc = no_memory(err);
    }
    if (l->remote->token) {
        memcpy(l->remote->token, file.p, n);
        l->remote->token[n] = 0;
    }
    if (file.p) vch_wipe(file.p, file.cap);
    vch_buf_free(&file);
    return rc;
}

static vch_rc take_trust(vch_ledger_t *l, const char *path, vch_err_t *err)
{
    vch_remote_t *r = l->remote;
    if (!path) return VCH_OK;
    VCH_TRY(vch_read_all(l->port, &r->trust_text, path, ND_SMALL_FILE_MAX, err));
    r->trust = vch_alloc(sizeof *r->trust);
    if (!r->trust) return no_memory(err);
    vch_rc rc = vch_trust_get(r->trust, vch_buf_slice(&r->trust_text), err);
    return rc == VCH_OK ? rc : vch_context(err, rc, "%s", path);
}

static void remote_free(vch_remote_t *r)
{
    if (!r) return;
    if (r->transport) r->transport->free(r->transport);
    vch_secret_free(r->token);
    vch_free(r->trust);
    vch_buf_free(&r->trust_text);
    vch_buf_free(&r->note);
    vch_buf_free(&r->entries);
    vch_buf_free(&r->leaf);
    pthread_mutex_destroy(&r->mutex);
    vch_free(r);
}

void nd_remote_free(vch_ledger_t *l)
{
    remote_free(l->remote);
    l->remote = NULL;
}

static void remote_init(vch_remote_t *r, const vch_connect_t *o, const vch_remote_way_t *way)
{
    pthread_mutexattr_t nests;
    pthread_mutexattr_init(&nests);
    pthread_mutexattr_settype(&nests, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&r->mutex, &nests);
    pthread_mutexattr_destroy(&nests);
    vch_buf_init(&r->trust_text, ND_SMALL_FILE_MAX);
    vch_buf_init(&r->note, VCH_NOTE_BYTES_MAX);
    vch_buf_init(&r->entries, RM_BUNDLE_MAX);
    vch_buf_init(&r->leaf, VCH_ENTRY_BYTES_MAX);
    r->transport = way->transport;
    r->authorize = way->authorize;
    r->who = o->who;
    r->timeout_ms = o->timeout_ms ? o->timeout_ms : 10000;
    r->patience_ms = o->patience_ms ? o->patience_ms : RM_PATIENCE_MS;
}

static vch_rc open_steps(vch_ledger_t *l, const char *url, const vch_connect_t *o, vch_err_t *err)
{
    l->remote->is_unix = strncmp(url, "unix:", 5) == 0;
    int n = snprintf(l->remote->url, sizeof l->remote->url, "%s", url);
    if (n < 0 || (size_t)n >= sizeof l->remote->url) return vch_fail(err, VCH_ERR_LIMIT, "the node's URL is too long");
    vch_rc rc = vch_crypto_start();
    if (rc != VCH_OK) return vch_fail(err, rc, "the cryptography library did not start");
    VCH_TRY(take_folders(l, o, err));
    rc = vch_path(l->dir, "%s", l->remote->memory);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path of a folder is too long");
    VCH_TRY(take_token(l, o->token_path, err));
    return take_trust(l, o->trust_path, err);
}

vch_rc vch_remote_open(vch_ledger_t **ret, vch_port_t *port, const char *url, const vch_connect_t *o,
                       const vch_remote_way_t *way, vch_err_t *err)
{
    vch_ledger_t *l = NULL;
    vch_remote_t *r = vch_alloc(sizeof *r);
    vch_rc rc = r ? nd_ledger_bare(&l, port, err) : no_memory(err);
    if (rc != VCH_OK) {
        way->transport->free(way->transport);
        vch_free(r);
        return rc;
    }
    l->remote = r;
    remote_init(r, o, way);
    if (way->note) nd_note(l, "%s", way->note);
    rc = open_steps(l, url, o, err);
    if (rc == VCH_OK)
        *ret = l;
    else
        nd_ledger_free(l);
    return nd_told(rc, err);
}

const char *vch_ledger_note(const vch_ledger_t *l) { return l->opened.note; }

void vch_ledger_ask_as(vch_ledger_t *l, const vch_signer_t *who)
{
    if (!l->remote) return;
    pthread_mutex_lock(&l->remote->mutex);
    l->remote->who = who;
    pthread_mutex_unlock(&l->remote->mutex);
}
