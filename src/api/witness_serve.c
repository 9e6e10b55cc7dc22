/* SPDX-License-Identifier: Apache-2.0 */
/* `vouch witness`: a directory, its service, its server; and asking others. */
#include "vouchsafe/witness.h"

#include <stdio.h>

#include "api/daemon.h"
#include "api/witness_service.h"
#include "codec/json.h"
#include "entry/note.h"

#define WORKERS 16 /* so many requests may share one sync */
#define STOP_MS 5000

vch_rc vch_witness_init(const char *dir, const char *name, const char *const *log_vkey, size_t logs, vch_err_t *err)
{
    return vch_witness_init_on(vch_port_real(), dir, name, log_vkey, logs, err);
}

vch_rc vch_ledger_cosign(vch_ledger_t *l, uint64_t timeout_ms, vch_cosigned_t *ret, vch_err_t *err)
{
    static const http_client_options_t plain = {.max_answer = 1u << 20};
    vch_transport_t *transport;
    vch_gather_t g;
    VCH_TRY(http_client_new(&transport, &plain, err));
    vch_rc rc = vch_ledger_gather(l, transport, timeout_ms, &g, err);
    transport->free(transport);
    if (rc != VCH_OK) return rc;
    *ret = (vch_cosigned_t){
        .size = g.size, .asked = g.asked, .cosigned = g.cosigned, .quorum = g.quorum, .committed = g.committed};
    memcpy(ret->note, g.note, sizeof ret->note);
    return VCH_OK;
}

/* ---- show --------------------------------------------------------------------------------- */

typedef struct {
    vch_buf_t *b;
    size_t n;
    vch_rc rc;
} list_t;

static vch_rc put_log(vch_buf_t *b, const vch_witnessed_t *l)
{
    char id[65];
    vch_hex(id, l->id.b, 32);
    VCH_TRY(vch_buf_printf(b, "{\"log\":"));
    VCH_TRY(vch_json_put_string(b, vch_str(l->origin)));
    VCH_TRY(vch_buf_printf(b, ",\"id\":\"%s\",\"served\":%s,\"cosigned\":%s", id, l->served ? "true" : "false",
                           l->any ? "true" : "false"));
    if (l->any)
        VCH_TRY(vch_buf_printf(b, ",\"size\":%llu,\"time ms\":%llu", (unsigned long long)l->size,
                               (unsigned long long)l->seconds * 1000));
    return vch_buf_u8(b, '}');
}

static void list_one(void *ctx, const vch_witnessed_t *l)
{
    list_t *list = ctx;
    if (list->rc == VCH_OK && list->n++) list->rc = vch_buf_u8(list->b, ',');
    if (list->rc == VCH_OK) list->rc = put_log(list->b, l);
}

static vch_rc show(vch_witness_t *w, vch_buf_t *b)
{
    list_t list = {.b = b};
    const char *vkey = vch_witness_vkey(w);
    int n = (int)strcspn(vkey, "+");
    VCH_TRY(vch_buf_printf(b, "{\"name\":"));
    VCH_TRY(vch_json_put_string(b, vch_slice(vkey, (size_t)n)));
    VCH_TRY(vch_buf_printf(b, ",\"verifier key\":"));
    VCH_TRY(vch_json_put_string(b, vch_str(vkey)));
    VCH_TRY(vch_buf_printf(b, ",\"listen\":"));
    VCH_TRY(vch_json_put_string(b, vch_str(vch_witness_listen(w))));
    VCH_TRY(vch_buf_printf(b, ",\"policy line\":\"witness %.*s %s URL\",\"list\":[", n, vkey, vkey));
    vch_witness_list(w, list_one, &list);
    VCH_TRY(list.rc);
    return vch_buf_printf(b, "]}");
}

vch_rc vch_witness_show(const char *dir, vch_text_t *ret_json, vch_err_t *err)
{
    vch_witness_t *w;
    vch_buf_t b;
    VCH_TRY(vch_witness_open_on(&w, vch_port_real(), dir, true, err));
    vch_buf_init(&b, 16u << 20);
    vch_rc rc = show(w, &b);
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &b);
    vch_buf_free(&b);
    vch_witness_close(w);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "showing a witness: %s", vch_rc_text(rc));
}

/* ---- serve ----------------------------------------------------------------------------------- */

typedef struct {
    daemon_t d;
    const vch_serve_t *o;
    vch_witness_t *w;
    witness_service_t *service;
    http_server_t *http;
} serving_t;

static void reload(void *ctx)
{
    serving_t *s = ctx;
    vch_err_t err = {0};
    if (http_server_reload(s->http, &err) == VCH_OK)
        DAEMON_SAY(&s->d, VCH_SAY_INFO, "serve.reloaded",
                   {"text", "certificates were read again; logs.policy holds from the next start"});
    else
        daemon_say_err(&s->d, VCH_SAY_ERROR, "serve.reload_failed", &err);
}

static vch_rc start(serving_t *s, const char *dir, vch_err_t *err)
{
    VCH_TRY(vch_witness_open_on(&s->w, vch_port_real(), dir, false, err));
    if (vch_witness_note(s->w)[0])
        DAEMON_SAY(&s->d, VCH_SAY_WARN, "witness.recovered", {"note", vch_witness_note(s->w)});
    s->service = witness_service_new(s->w);
    if (!s->service) return vch_fail(err, VCH_ERR_MEMORY, "no memory to start");
    const char *listen = s->o->listen ? s->o->listen : vch_witness_listen(s->w);
    const http_service_t service = witness_service(s->service);
    http_options_t o = {.listen = listen[0] ? listen : "127.0.0.1:7118",
                        .tls_cert = s->o->tls_cert,
                        .tls_key = s->o->tls_key,
                        .public_plain = s->o->public_plain,
                        .max_body = VCH_ASK_BYTES_MAX,
                        .max_answer = 1u << 20,
                        .workers = WORKERS,
                        .fds = s->d.fds,
                        .fds_n = s->d.fds_n};
    VCH_TRY(http_server_start(&s->http, &o, &service, err));
    witness_service_set_http(s->service, s->http);
    return VCH_OK;
}

static vch_rc run(serving_t *s, const char *dir, vch_err_t *err)
{
    VCH_TRY(start(s, dir, err));
    const char *address = http_server_address(s->http);
    DAEMON_SAY(&s->d, VCH_SAY_INFO, "serve.ready", {"address", address}, {"witness", vch_witness_vkey(s->w)});
    daemon_ready(&s->d, s->http);
    if (s->o->ready) s->o->ready(s->o->ctx, address);
    daemon_run(&s->d, s->http, reload, s);
    daemon_stopping(&s->d);
    return VCH_OK;
}

vch_rc vch_witness_serve(const char *dir, const vch_serve_t *options, vch_err_t *err)
{
    serving_t s = {.o = options};
    VCH_TRY(daemon_begin(&s.d, options, err));
    vch_rc rc = run(&s, dir, err);
    if (s.http) {
        witness_service_set_http(s.service, NULL);
        http_server_stop(s.http, STOP_MS);
    }
    witness_service_free(s.service);
    vch_witness_close(s.w);
    if (rc == VCH_OK) DAEMON_SAY(&s.d, VCH_SAY_INFO, "serve.stopped", {"text", "all that was answered is on the disk"});
    daemon_end(&s.d);
    return rc;
}
