/* SPDX-License-Identifier: Apache-2.0 */
/* One question to a server, and what is common to trustees and storage nodes. */
#include <stdio.h>

#include "codec/cbor.h"
#include "codec/text.h"
#include "node/node_int.h"
#include "node/remote_int.h"
#include "node/served_int.h"

#define TRIES 3u
#define AGAIN_MS 100u
#define LOOK_MS 3000u /* to see whether somebody is there */

static vch_sockets_t sockets;

void vch_sockets_set(const vch_sockets_t *s) { sockets = *s; }

/* ---- addresses --------------------------------------------------------------------------- */

vch_rc vch_served_url(char ret_url[256], vch_keyid_t *ret_id, const char *text, vch_err_t *err)
{
    const char *mark = strchr(text, '#');
    size_t n = mark ? (size_t)(mark - text) : 0;
    while (n && text[n - 1] == '/') n--;
    if (n == 0 || n >= 256 || strlen(mark + 1) != 64 || !vch_unhex(ret_id->b, 32, mark + 1, 64))
        return vch_hint(err, vch_fail(err, VCH_ERR_FORMAT, "\"%.100s\" is not URL#KEYID", text),
                        "the role's own status command prints it");
    memcpy(ret_url, text, n);
    ret_url[n] = 0;
    return VCH_OK;
}

/* ---- what travels --------------------------------------------------------------------------- */

vch_rc vch_object_ask_put(vch_buf_t *b, vch_ask_shape_t shape, const vch_object_ask_t *a)
{
    static const unsigned members[] = {
        [VCH_ASK_NAME] = 1, [VCH_ASK_RANGE] = 3, [VCH_ASK_BYTES] = 3, [VCH_ASK_SIZE] = 2};
    VCH_TRY(vch_cbor_array(b, members[shape]));
    VCH_TRY(vch_cbor_text(b, a->name, strlen(a->name)));
    if (shape == VCH_ASK_NAME) return VCH_OK;
    VCH_TRY(vch_cbor_uint(b, a->at));
    if (shape == VCH_ASK_RANGE) return vch_cbor_uint(b, a->n);
    return shape == VCH_ASK_BYTES ? vch_cbor_bytes(b, a->bytes.p, a->bytes.n) : VCH_OK;
}

static vch_rc get_name(vch_object_ask_t *ret, vch_cbor_t *c)
{
    vch_slice_t name;
    VCH_TRY(vch_cbor_get_text(c, &name));
    if (name.n >= sizeof ret->name || memchr(name.p, 0, name.n)) return VCH_ERR_FORMAT;
    memcpy(ret->name, name.p, name.n);
    ret->name[name.n] = 0;
    return VCH_OK;
}

static vch_rc get_members(vch_object_ask_t *ret, vch_ask_shape_t shape, vch_cbor_t *c)
{
    uint64_t n;
    VCH_TRY(vch_cbor_get_array(c, &n));
    if (n != (shape == VCH_ASK_NAME ? 1u : shape == VCH_ASK_SIZE ? 2u : 3u)) return VCH_ERR_FORMAT;
    VCH_TRY(get_name(ret, c));
    if (shape == VCH_ASK_NAME) return VCH_OK;
    VCH_TRY(vch_cbor_get_uint(c, &ret->at));
    if (shape == VCH_ASK_RANGE) VCH_TRY(vch_cbor_get_uint(c, &ret->n));
    if (shape == VCH_ASK_BYTES) VCH_TRY(vch_cbor_get_bytes(c, &ret->bytes));
    return VCH_OK;
}

vch_rc vch_object_ask_get(vch_object_ask_t *ret, vch_ask_shape_t shape, vch_slice_t body)
{
    vch_cbor_t c = vch_cbor_over(body);
    *ret = (vch_object_ask_t){.at = 0};
    VCH_TRY(get_members(ret, shape, &c));
    if (!vch_cbor_done(&c) || ret->n > VCH_PIECE_MAX || ret->bytes.n > VCH_PIECE_MAX) return VCH_ERR_FORMAT;
    return ret->at > UINT64_MAX / 2 ? VCH_ERR_FORMAT : VCH_OK;
}

vch_rc vch_prove_ask_put(vch_buf_t *b, const vch_object_ask_t *a, uint32_t chunk)
{
    VCH_TRY(vch_cbor_array(b, 4));
    VCH_TRY(vch_cbor_text(b, a->name, strlen(a->name)));
    VCH_TRY(vch_cbor_uint(b, a->at));
    VCH_TRY(vch_cbor_uint(b, a->n));
    return vch_cbor_uint(b, chunk);
}

vch_rc vch_prove_ask_get(vch_object_ask_t *ret, uint32_t *ret_chunk, vch_slice_t body)
{
    vch_cbor_t c = vch_cbor_over(body);
    uint64_t n, chunk;
    *ret = (vch_object_ask_t){.at = 0};
    VCH_TRY(vch_cbor_get_array(&c, &n));
    if (n != 4) return VCH_ERR_FORMAT;
    VCH_TRY(get_name(ret, &c));
    VCH_TRY(vch_cbor_get_uint(&c, &ret->at));
    VCH_TRY(vch_cbor_get_uint(&c, &ret->n));
    VCH_TRY(vch_cbor_get_uint(&c, &chunk));
    if (!vch_cbor_done(&c) || ret->at > UINT64_MAX / 2 || ret->n > VCH_PIECE_MAX || chunk > UINT32_MAX)
        return VCH_ERR_FORMAT;
    *ret_chunk = (uint32_t)chunk;
    return VCH_OK;
}

vch_rc vch_proof_put(vch_buf_t *b, const vch_audit_t *a)
{
    VCH_TRY(vch_cbor_array(b, 2));
    VCH_TRY(vch_cbor_bytes(b, a->data, a->n));
    return vch_cbor_bytes(b, a->path, a->hashes * sizeof *a->path);
}

vch_rc vch_proof_get(vch_audit_t *ret, vch_slice_t body)
{
    vch_cbor_t c = vch_cbor_over(body);
    vch_slice_t data, path;
    uint64_t n;
    VCH_TRY(vch_cbor_get_array(&c, &n));
    if (n != 2) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_bytes(&c, &data));
    VCH_TRY(vch_cbor_get_bytes(&c, &path));
    if (!vch_cbor_done(&c) || data.n > sizeof ret->data || path.n > sizeof ret->path || path.n % 32)
        return VCH_ERR_FORMAT;
    memset(ret->data, 0, sizeof ret->data);
    memcpy(ret->data, data.p, data.n);
    memcpy(ret->path, path.p, path.n);
    ret->n = (uint32_t)data.n;
    ret->hashes = (uint32_t)(path.n / 32);
    return VCH_OK;
}

vch_rc vch_path_ask_put(vch_buf_t *b, const vch_hash_t *extent, uint8_t set, uint32_t leaf)
{
    VCH_TRY(vch_cbor_array(b, 3));
    VCH_TRY(vch_cbor_bytes(b, extent->b, 32));
    VCH_TRY(vch_cbor_uint(b, set));
    return vch_cbor_uint(b, leaf);
}

vch_rc vch_path_ask_get(vch_hash_t *ret_extent, uint8_t *ret_set, uint32_t *ret_leaf, vch_slice_t body)
{
    vch_cbor_t c = vch_cbor_over(body);
    uint64_t n, set, leaf;
    VCH_TRY(vch_cbor_get_array(&c, &n));
    if (n != 3) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_fixed(&c, ret_extent->b, 32));
    VCH_TRY(vch_cbor_get_uint(&c, &set));
    VCH_TRY(vch_cbor_get_uint(&c, &leaf));
    if (!vch_cbor_done(&c) || set >= VCH_KT_SETS_MAX || leaf > UINT32_MAX) return VCH_ERR_FORMAT;
    *ret_set = (uint8_t)set;
    *ret_leaf = (uint32_t)leaf;
    return VCH_OK;
}

/* ---- a question --------------------------------------------------------------------------------- */

vch_rc sv_open(served_t *s, vch_port_t *port, const char *url, const vch_keyid_t *id, vch_asking_t as, vch_err_t *err)
{
    char hex[65];
    if (!sockets.connect) return vch_fail(err, VCH_ERR_UNSUPPORTED, "this program reaches no other machine");
    *s = (served_t){.port = port, .id = *id, .as = as};
    vch_hex(hex, id->b, 32);
    int n = snprintf(s->path, sizeof s->path, "/%s/", hex);
    s->path_n = (size_t)n;
    n = snprintf(s->url, sizeof s->url, "%s%s", url, strncmp(url, "unix:", 5) == 0 ? ":" : "");
    if (n < 0 || (size_t)n >= sizeof s->url) return vch_fail(err, VCH_ERR_LIMIT, "the URL is too long");
    return sockets.connect(&s->transport, id, err);
}

void sv_close(served_t *s)
{
    if (s->transport) s->transport->free(s->transport);
    s->transport = NULL;
}

static vch_rc sign(served_t *s, const char *path, vch_slice_t body, vch_buf_t *ret, vch_err_t *err)
{
    uint8_t nonce[16];
    const vch_signer_t *who = s->as ? *s->as : NULL;
    if (!who) return VCH_OK;
    VCH_TRY(vch_random(s->port, nonce, sizeof nonce, err));
    VCH_TRY(sockets.authorize(ret, who, "POST", path, body, s->port->clock->wall_ms(s->port), nonce, err));
    return vch_buf_u8(ret, 0);
}

/* Once; *ret_pass: asking again may help. */
static vch_rc ask_once(served_t *s, const char *path, vch_slice_t body, uint64_t timeout_ms, vch_buf_t *ret,
                       bool *ret_pass, vch_err_t *err)
{
    char url[512];
    vch_buf_t authorization;
    vch_answer_t got = {.rc = VCH_OK};
    (void)snprintf(url, sizeof url, "%s%s", s->url, path);
    vch_buf_init(&authorization, 4096);
    vch_rc rc = sign(s, path, body, &authorization, err);
    vch_ask_t ask = {.url = url,
                     .post = true,
                     .type = "application/cbor",
                     .authorization = authorization.n ? (const char *)authorization.p : NULL,
                     .body = body};
    vch_buf_init(&got.body, VCH_ASKED_MAX);
    if (rc == VCH_OK) s->transport->ask(s->transport, &ask, &got, 1, timeout_ms);
    vch_buf_free(&authorization);
    *ret_pass = false;
    if (rc == VCH_OK && got.rc != VCH_OK) {
        *ret_pass = true;
        rc = vch_fail(err, got.rc, "%.300s", got.err.text);
    } else if (rc == VCH_OK && got.status != 200) {
        rc = rm_error_get(err, got.status, vch_buf_slice(&got.body));
        *ret_pass = rm_error_passes(got.status, got.retry_after_s, rc);
    } else if (rc == VCH_OK && vch_buf_put(ret, got.body.p, got.body.n) != VCH_OK) {
        rc = vch_fail(err, VCH_ERR_LIMIT, "the answer is too long");
    }
    if (got.body.p) vch_wipe(got.body.p, got.body.n);
    vch_buf_free(&got.body);
    return rc;
}

static vch_rc ask_again(served_t *s, const char *verb, vch_slice_t body, uint64_t timeout_ms, unsigned tries,
                        vch_buf_t *ret, vch_err_t *err)
{
    char path[sizeof s->path + 32];
    bool pass = true;
    vch_rc rc = VCH_ERR_UNREACHABLE;
    if (strlen(verb) > 30) return vch_fail(err, VCH_ERR_INTERNAL, "no such question");
    (void)snprintf(path, sizeof path, "%s%s", s->path, verb);
    for (unsigned i = 0; pass && i < tries; i++) {
        if (i) s->port->clock->sleep_ms(s->port, (uint64_t)AGAIN_MS << i);
        rc = ask_once(s, path, body, timeout_ms, ret, &pass, err);
        if (rc == VCH_OK) return rc;
    }
    return rc;
}

vch_rc sv_ask(served_t *s, const char *verb, vch_slice_t body, uint64_t timeout_ms, vch_buf_t *ret, vch_err_t *err)
{
    return ask_again(s, verb, body, timeout_ms, TRIES, ret, err);
}

/* Once: whoever is gone is gone, and others do. */
vch_rc vch_served_key(vch_port_t *port, const char *url, const vch_keyid_t *id, vch_pubkey_t *ret, vch_err_t *err)
{
    served_t s;
    vch_buf_t b;
    VCH_TRY(sv_open(&s, port, url, id, NULL, err));
    vch_buf_init(&b, 256);
    vch_rc rc = ask_again(&s, "key", vch_str(""), LOOK_MS, 1, &b, err);
    if (rc == VCH_OK) rc = vch_pubkey_get(ret, vch_buf_slice(&b));
    vch_keyid_t said = rc == VCH_OK ? vch_pubkey_id(ret) : *id;
    if (rc == VCH_OK && !vch_keyid_eq(&said, id)) rc = VCH_ERR_KEY;
    if (rc != VCH_OK && (!err || !err->text[0])) vch_fail(err, rc, "%s does not show its key", url);
    vch_buf_free(&b);
    sv_close(&s);
    return rc;
}
