/* SPDX-License-Identifier: Apache-2.0 */
/* vch_ledger_connect: a remote handle over real sockets. */
#include <stdio.h>

#include "api/api.h"
#include "api/http_client_int.h"
#include "node/remote.h"
#include "node/served.h"
#include "port/port.h"

#define URL_MAX 1024u

/* "https://node.example:7117/" -> without the slash, taken apart. */
static vch_rc base_url(char ret[URL_MAX], http_url_t *ret_parts, const char *url, vch_err_t *err)
{
    char whole[URL_MAX + 2];
    size_t n = strlen(url);
    bool is_unix = strncmp(url, "unix:", 5) == 0;
    while (!is_unix && n && url[n - 1] == '/') n--;
    if (n >= URL_MAX) return vch_fail(err, VCH_ERR_USAGE, "the node's URL is too long");
    memcpy(ret, url, n);
    ret[n] = 0;
    (void)snprintf(whole, sizeof whole, is_unix ? "%s:/" : "%s/", ret);
    VCH_TRY(http_url_get(ret_parts, whole, err));
    if (!memchr(ret, '?', n)) return VCH_OK;
    return vch_fail(err, VCH_ERR_USAGE, "\"%.200s\" is no node's URL: it holds a question", url);
}

/* Whoever writes http:// means it; but a token is for those who know it. */
static vch_rc check_plain(const http_url_t *u, const vch_connect_t *o, char note[160], vch_err_t *err)
{
    if (u->tls || u->loopback) return VCH_OK;
    if (o->token_path)
        return vch_hint(err,
                        vch_fail(err, VCH_ERR_USAGE,
                                 "a token does not go to %.100s over plain HTTP, where all can read it", u->authority),
                        "use https://, or sign the questions with a key");
    (void)snprintf(note, 160, "plain HTTP to %.90s: whoever is in between reads along", u->authority);
    return VCH_OK;
}

vch_rc vch_ledger_connect(vch_ledger_t **ret, const char *url, const vch_connect_t *options, vch_err_t *err)
{
    static const vch_connect_t none;
    const vch_connect_t *o = options ? options : &none;
    const http_client_options_t client = {.ca_file = o->ca_path, .tls_cert = o->cert_path, .tls_key = o->cert_key_path};
    char base[URL_MAX], note[160] = "";
    http_url_t parts;
    vch_remote_way_t way = {.authorize = api_authorization_put};
    VCH_TRY(base_url(base, &parts, url, err));
    VCH_TRY(check_plain(&parts, o, note, err));
    VCH_TRY(http_client_new(&way.transport, &client, err));
    if (note[0]) way.note = note;
    return vch_remote_open(ret, vch_port_real(), base, o, &way, err);
}

/* ---- roles of the vault ---------------------------------------------------------------- */

static vch_rc connect_role(vch_transport_t **ret, const vch_keyid_t *pin, vch_err_t *err)
{
    const http_client_options_t o = {.pin = pin, .max_answer = VCH_ASKED_MAX};
    return http_client_new(ret, &o, err);
}

/* Before main, for whoever links this file: the vault below doesn't know sockets. */
__attribute__((constructor)) static void lend_sockets(void)
{
    static const vch_sockets_t sockets = {connect_role, api_authorization_put};
    vch_sockets_set(&sockets);
}
