/* SPDX-License-Identifier: Apache-2.0 */
#include "api/role.h"

#include <stdio.h>

#include "api/api_int.h"
#include "api/tls_key.h"
#include "crypto/sha256.h"
#include "node/node_int.h"
#include "port/confine.h"

#define STOP_MS 5000
#define TEXT "text/plain; charset=utf-8"
#define PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"
#define CBOR_TYPE "application/cbor"
#define WORKERS 4

static vch_port_t *port(void) { return vch_port_real(); }

/* ---- who asks -------------------------------------------------------------------------- */

static bool covers(const api_authorization_t *a, const http_request_t *req)
{
    vch_hash_t body;
    vch_sha256(&body, req->body.p, req->body.n);
    return vch_slice_eq(a->method, vch_str("POST")) && vch_slice_eq(a->path, req->path) && req->query.n == 0 &&
           vch_hash_eq(&a->body, &body);
}

static vch_rc identify(role_call_t *c)
{
    api_authorization_t a;
    vch_buf_t scratch;
    uint64_t now = port()->clock->wall_ms(port());
    if (c->req->authorization.n == 0) return VCH_OK;
    vch_buf_init(&scratch, HTTP_HEADER_MAX);
    vch_rc rc = api_authorization_get(&a, c->req->authorization, &scratch);
    bool good = rc == VCH_OK && covers(&a, c->req);
    bool fresh = good && a.time_ms <= now + API_AHEAD_MS && a.time_ms + API_SIGNED_MS >= now;
    if (good) c->asker = vch_pubkey_id(&a.key);
    vch_buf_free(&scratch);
    if (rc == VCH_ERR_MEMORY) return vch_fail(&c->err, rc, "out of memory");
    if (!good) return vch_fail(&c->err, VCH_ERR_SIGNATURE, "the question's signature does not verify");
    if (!fresh)
        return vch_hint(&c->err,
                        vch_fail(&c->err, VCH_ERR_EXPIRED, "the question was not signed within the last minute"),
                        "set the clock right");
    c->is_signed = true;
    return VCH_OK;
}

/* ---- what is asked ------------------------------------------------------------------------ */

/* "/<64 hex digits>/<verb>" */
static const role_verb_t *verb_of(role_t *role, vch_slice_t path, vch_err_t *err)
{
    vch_keyid_t id;
    if (path.n < 67 || path.p[65] != '/' || !vch_unhex(id.b, 32, (const char *)path.p + 1, 64)) return NULL;
    if (!vch_keyid_eq(&id, &role->id)) {
        vch_fail(err, VCH_ERR_NOT_FOUND, "another key serves here than the one that is asked");
        return NULL;
    }
    for (const role_verb_t *v = role->verb; v->verb; v++)
        if (vch_slice_eq(vch_slice(path.p + 66, path.n - 66), vch_str(v->verb))) return v;
    return NULL;
}

/* Where things lie on this machine is nobody's business. */
static void refuse(role_call_t *c, vch_rc rc)
{
    bool tell = c->err.rc == rc && c->err.text[0] && !strstr(c->err.text, c->role->dir);
    if (rc == VCH_ERR_LOCKED || rc == VCH_ERR_UNREACHABLE) c->res->retry_after_s = 1;
    api_refuse(c->res, api_status(rc), rc, tell ? c->err.text : vch_rc_text(rc), tell ? c->err.hint : "");
}

static void answer(role_call_t *c)
{
    const role_verb_t *v = verb_of(c->role, c->req->path, &c->err);
    vch_rc rc = v ? identify(c) : c->err.rc != VCH_OK ? c->err.rc : VCH_ERR_NOT_FOUND;
    if (v && rc == VCH_OK && v->is_signed && !c->is_signed)
        rc = vch_hint(&c->err, vch_fail(&c->err, VCH_ERR_KEY, "this question must be signed"),
                      "say who asks: --as NAME");
    if (v && rc == VCH_OK) rc = v->run(c);
    if (v)
        atomic_fetch_add(rc == VCH_OK ? &c->role->answered[v - c->role->verb] : &c->role->refused[v - c->role->verb],
                         1);
    if (rc == VCH_OK) {
        c->res->status = 200;
        c->res->type = CBOR_TYPE;
    } else {
        refuse(c, rc);
    }
}

/* ---- for whoever watches ---------------------------------------------------------------------- */

static vch_rc put_metrics(role_t *role, vch_buf_t *b)
{
    VCH_TRY(vch_buf_printf(b, "# HELP vouchsafe_role_requests_total Questions, by verb and how they ended.\n"
                              "# TYPE vouchsafe_role_requests_total counter\n"));
    for (const role_verb_t *v = role->verb; v->verb; v++)
        VCH_TRY(vch_buf_printf(b,
                               "vouchsafe_role_requests_total{verb=\"%s\",result=\"answered\"} %llu\n"
                               "vouchsafe_role_requests_total{verb=\"%s\",result=\"refused\"} %llu\n",
                               v->verb, (unsigned long long)atomic_load(&role->answered[v - role->verb]), v->verb,
                               (unsigned long long)atomic_load(&role->refused[v - role->verb])));
    return VCH_OK;
}

static void get(role_t *role, const http_request_t *req, http_response_t *res)
{
    bool metrics = vch_slice_eq(req->path, vch_str("/metrics")), health = vch_slice_eq(req->path, vch_str("/health"));
    vch_rc rc = metrics  ? put_metrics(role, &res->body)
                : health ? vch_buf_printf(&res->body, "live\n")
                         : VCH_ERR_NOT_FOUND;
    if (rc != VCH_OK) {
        api_refuse(res, api_status(rc), rc, vch_rc_text(rc), "");
        return;
    }
    res->status = 200;
    res->type = metrics ? PROMETHEUS : TEXT;
}

static void handle(void *ctx, const http_request_t *req, http_response_t *res)
{
    role_call_t c = {.role = ctx, .req = req, .res = res};
    if (req->method == HTTP_POST) {
        answer(&c);
    } else if (req->method == HTTP_GET || req->method == HTTP_HEAD) {
        get(ctx, req, res);
    } else {
        res->allow = "GET, HEAD, POST";
        api_refuse(res, 405, VCH_ERR_UNSUPPORTED, "not this way", "");
    }
}

http_service_t role_service(role_t *role) { return (http_service_t){.ctx = role, .handle = handle}; }

/* ---- serving ------------------------------------------------------------------------------------ */

static void reload(void *ctx)
{
    role_t *role = ctx;
    DAEMON_SAY(&role->d, VCH_SAY_INFO, "serve.reloaded", {"text", "settings hold from the next start"});
}

static vch_rc load_key(role_t *role, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_signer_t *key;
    vch_rc rc = vch_path(path, "%s/key.pem", role->dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    VCH_TRY(nd_key_load(port(), path, NULL, &key, err));
    role->key = *vch_signer_public(key);
    role->id = vch_pubkey_id(&role->key);
    vch_signer_free(key);
    return VCH_OK;
}

static vch_rc listen_now(role_t *role, const vch_serve_t *o, vch_err_t *err)
{
    char cert[VCH_PATH_MAX], key[VCH_PATH_MAX];
    const char *at = o->listen ? o->listen : role->listen;
    bool tls = strncmp(at, "unix:", 5) != 0 && !o->public_plain;
    if (vch_path(cert, "%s/cert.pem", role->dir) != VCH_OK || vch_path(key, "%s/key.pem", role->dir) != VCH_OK)
        return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    const http_service_t service = role_service(role);
    const http_options_t h = {.listen = at,
                              .tls_cert = tls ? cert : NULL,
                              .tls_key = tls ? key : NULL,
                              .public_plain = o->public_plain,
                              .max_body = role->max_body,
                              .max_answer = role->max_body,
                              .timeout_ms = 60000,
                              .workers = WORKERS,
                              .fds = role->d.fds,
                              .fds_n = role->d.fds_n};
    return http_server_start(&role->http, &h, &service, err);
}

/* "unix:/run/x/sock": "/run/x", where the socket is made; "" otherwise. */
static void socket_folder(const char *listen, char ret[512])
{
    const char *slash = strncmp(listen, "unix:", 5) == 0 ? strrchr(listen, '/') : NULL;
    size_t n = slash ? (size_t)(slash - listen) - 5 : 0;
    if (n >= 512) n = 0;
    memcpy(ret, listen + (n ? 5 : 0), n);
    ret[n] = 0;
}

/* Its own folder is all that it needs from now on. */
static vch_rc confine(role_t *role, const char *listen, vch_err_t *err)
{
    char socket[512];
    unsigned done = 0;
    socket_folder(listen, socket);
    const char *const write[] = {role->dir, socket};
    const char *const all_files[] = {"/"};
    VCH_TRY(role->needs_files ? vch_confine(all_files, 1, &done, err)
                              : vch_confine(write, socket[0] ? 2 : 1, &done, err));
    if (role->needs_files) done &= ~VCH_CONFINED_FILES;
    bool all = done == (VCH_CONFINED_CALLS | VCH_CONFINED_FILES);
    DAEMON_SAY(&role->d, all ? VCH_SAY_INFO : VCH_SAY_WARN, "serve.confined",
               {"system calls", NULL, (done & VCH_CONFINED_CALLS) != 0},
               {"files", NULL, (done & VCH_CONFINED_FILES) != 0});
    return VCH_OK;
}

static vch_rc run(role_t *role, const vch_serve_t *o, vch_err_t *err)
{
    char hex[65];
    VCH_TRY(load_key(role, err));
    if (role->prepare) VCH_TRY(role->prepare(role, err));
    VCH_TRY(confine(role, o->listen ? o->listen : role->listen, err));
    VCH_TRY(role->start(role, err));
    VCH_TRY(listen_now(role, o, err));
    const char *address = http_server_address(role->http);
    vch_hex(hex, role->id.b, 32);
    DAEMON_SAY(&role->d, VCH_SAY_INFO, "serve.ready", {"address", address}, {"key", hex});
    daemon_ready(&role->d, role->http);
    if (o->ready) o->ready(o->ctx, address);
    daemon_run(&role->d, role->http, reload, role);
    daemon_stopping(&role->d);
    return VCH_OK;
}

vch_rc role_serve(role_t *role, const vch_serve_t *o, vch_err_t *err)
{
    if (vch_crypto_start() != VCH_OK) return vch_fail(err, VCH_ERR_INTERNAL, "the cryptography library did not start");
    VCH_TRY(daemon_begin(&role->d, o, err));
    vch_rc rc = run(role, o, err);
    if (role->http) http_server_stop(role->http, STOP_MS);
    role->stop(role);
    if (rc == VCH_OK) DAEMON_SAY(&role->d, VCH_SAY_INFO, "serve.stopped", {"text", "all that was asked was answered"});
    daemon_end(&role->d);
    return rc;
}

/* ---- its directory ---------------------------------------------------------------------------------- */

static vch_rc put_file(const char *dir, const char *name, vch_slice_t text, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(vch_path(path, "%s/%s", dir, name));
    return vch_write_atomic(port(), path, text, 0600, err);
}

static vch_rc make_cert(const char *dir, const char *key_path, const char *name, vch_err_t *err)
{
    vch_buf_t pem;
    vch_buf_init(&pem, 1u << 14);
    vch_rc rc = tls_self_signed(&pem, key_path, name, err);
    if (rc == VCH_OK) rc = put_file(dir, "cert.pem", vch_buf_slice(&pem), err);
    vch_buf_free(&pem);
    return rc;
}

vch_rc role_init(const char *dir, const char *name, vch_slice_t conf, vch_err_t *err)
{
    char path[VCH_PATH_MAX], conf_name[40];
    vch_signer_t *key = NULL;
    vch_stat_t st;
    if (vch_crypto_start() != VCH_OK) return vch_fail(err, VCH_ERR_INTERNAL, "the cryptography library did not start");
    (void)snprintf(conf_name, sizeof conf_name, "%.30s.conf", name);
    if (vch_path(path, "%s/%s", dir, conf_name) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    if (port()->disk->stat(port(), path, &st) == VCH_OK)
        return vch_hint(err, vch_fail(err, VCH_ERR_CONFLICT, "%s is there already", path),
                        "a directory holds one role, for good");
    VCH_TRY(vch_path(path, "%s/key.pem", dir));
    VCH_TRY(vch_mkdirs(port(), dir, err));
    vch_rc rc = nd_key_load(port(), path, NULL, &key, NULL); /* of an earlier try */
    if (rc == VCH_ERR_NOT_FOUND) rc = nd_key_make(port(), path, "ed25519", NULL, &key, err);
    vch_signer_free(key);
    if (rc != VCH_OK) return vch_fail(err, rc, "%s: %s", path, vch_rc_text(rc));
    VCH_TRY(make_cert(dir, path, name, err));
    return put_file(dir, conf_name, conf, err);
}

vch_rc role_show(const char *dir, const char *listen, vch_buf_t *b, vch_err_t *err)
{
    role_t role = {.dir = dir};
    char id[65], key[2 * VCH_PUBKEY_MAX + 1];
    VCH_TRY(load_key(&role, err));
    vch_hex(id, role.id.b, 32);
    vch_hex(key, role.key.b, role.key.n);
    bool is_unix = strncmp(listen, "unix:", 5) == 0;
    vch_rc rc = vch_buf_printf(b, "{\"key id\":\"%s\",\"key\":\"%s\",\"url\":", id, key);
    char url[640];
    (void)snprintf(url, sizeof url, "%s%s#%s", is_unix ? "" : "https://", listen, id);
    if (rc == VCH_OK) rc = vch_json_put_string(b, vch_str(url));
    return rc == VCH_OK ? rc : vch_fail(err, rc, "out of memory");
}
