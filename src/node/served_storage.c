/* SPDX-License-Identifier: Apache-2.0 */
/* A storage node on another machine, as a back end. */
#include "codec/cbor.h"
#include "node/node_int.h"
#include "node/served_int.h"

typedef struct {
    vch_backend_t backend;
    served_t s;
} served_storage_t;

struct vch_upload {
    served_storage_t *to;
    vch_object_ask_t at; /* name, and how much is there */
    vch_buf_t piece;
};

static served_t *of(vch_backend_t *b) { return &((served_storage_t *)(void *)b)->s; }

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

static vch_rc set_name(vch_object_ask_t *a, const char *name, vch_err_t *err)
{
    size_t n = strlen(name);
    *a = (vch_object_ask_t){.at = 0};
    if (n == 0 || n >= sizeof a->name) return vch_fail(err, VCH_ERR_USAGE, "an object's name has 1 to 80 bytes");
    memcpy(a->name, name, n);
    return VCH_OK;
}

static vch_rc ask(served_t *s, const char *verb, vch_ask_shape_t shape, const vch_object_ask_t *a, vch_buf_t *ret,
                  vch_err_t *err)
{
    vch_buf_t body, nothing;
    vch_buf_init(&body, VCH_ASKED_MAX);
    vch_buf_init(&nothing, 256);
    vch_rc rc = vch_object_ask_put(&body, shape, a);
    rc = rc == VCH_OK ? sv_ask(s, verb, vch_buf_slice(&body), SV_LONG_MS, ret ? ret : &nothing, err) : no_memory(err);
    vch_buf_free(&body);
    vch_buf_free(&nothing);
    return rc;
}

/* ---- writing -------------------------------------------------------------------------------- */

static vch_rc create(vch_backend_t *b, vch_upload_t **ret, const char *name, vch_err_t *err)
{
    vch_object_ask_t a;
    VCH_TRY(set_name(&a, name, err));
    vch_upload_t *u = vch_alloc(sizeof *u);
    if (!u) return no_memory(err);
    u->to = (served_storage_t *)(void *)b;
    u->at = a;
    vch_buf_init(&u->piece, VCH_PIECE_MAX);
    vch_rc rc = ask(&u->to->s, "create", VCH_ASK_NAME, &a, NULL, err);
    if (rc == VCH_OK)
        *ret = u;
    else
        vch_free(u);
    return rc;
}

static vch_rc flush(vch_upload_t *u, vch_err_t *err)
{
    if (u->piece.n == 0) return VCH_OK;
    u->at.bytes = vch_buf_slice(&u->piece);
    VCH_TRY(ask(&u->to->s, "append", VCH_ASK_BYTES, &u->at, NULL, err));
    u->at.at += u->piece.n;
    vch_buf_clear(&u->piece);
    return VCH_OK;
}

static vch_rc append(vch_upload_t *u, vch_slice_t bytes, vch_err_t *err)
{
    while (bytes.n) {
        size_t n = vch_min(bytes.n, VCH_PIECE_MAX - u->piece.n);
        if (vch_buf_put(&u->piece, bytes.p, n) != VCH_OK) return no_memory(err);
        bytes = vch_slice(bytes.p + n, bytes.n - n);
        if (u->piece.n == VCH_PIECE_MAX) VCH_TRY(flush(u, err));
    }
    return VCH_OK;
}

static void upload_free(vch_upload_t *u)
{
    vch_buf_free(&u->piece);
    vch_free(u);
}

static void abort_it(vch_upload_t *u)
{
    (void)ask(&u->to->s, "abort", VCH_ASK_NAME, &u->at, NULL, NULL); /* else it ends there by itself */
    upload_free(u);
}

static vch_rc finish(vch_upload_t *u, vch_err_t *err)
{
    vch_rc rc = flush(u, err);
    if (rc == VCH_OK) rc = ask(&u->to->s, "finish", VCH_ASK_SIZE, &u->at, NULL, err);
    if (rc == VCH_OK)
        upload_free(u);
    else
        abort_it(u);
    return rc;
}

/* ---- reading ------------------------------------------------------------------------------------ */

static vch_rc read_number(vch_slice_t body, uint64_t *ret, vch_err_t *err)
{
    vch_cbor_t c = vch_cbor_over(body);
    vch_rc rc = vch_cbor_get_uint(&c, ret);
    if (rc == VCH_OK && !vch_cbor_done(&c)) rc = VCH_ERR_FORMAT;
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the storage node's answer is not well-formed");
}

static vch_rc size(vch_backend_t *b, const char *name, uint64_t *ret, vch_err_t *err)
{
    vch_object_ask_t a;
    vch_buf_t body;
    VCH_TRY(set_name(&a, name, err));
    vch_buf_init(&body, 64);
    vch_rc rc = ask(of(b), "size", VCH_ASK_NAME, &a, &body, err);
    if (rc == VCH_OK) rc = read_number(vch_buf_slice(&body), ret, err);
    vch_buf_free(&body);
    return rc;
}

static vch_rc read_piece(served_t *s, vch_object_ask_t *a, uint8_t *to, vch_buf_t *body, vch_err_t *err)
{
    vch_buf_clear(body);
    VCH_TRY(ask(s, "read", VCH_ASK_RANGE, a, body, err));
    if (body->n != a->n) return vch_fail(err, VCH_ERR_CORRUPT, "%s ends early", a->name);
    memcpy(to, body->p, body->n);
    return VCH_OK;
}

static vch_rc read_it(vch_backend_t *b, const char *name, void *buf, size_t n, uint64_t at, vch_err_t *err)
{
    vch_object_ask_t a;
    vch_buf_t body;
    vch_rc rc = set_name(&a, name, err);
    vch_buf_init(&body, VCH_PIECE_MAX);
    for (size_t done = 0; rc == VCH_OK && done < n; done += (size_t)a.n) {
        a.at = at + done;
        a.n = vch_min(n - done, VCH_PIECE_MAX);
        rc = read_piece(of(b), &a, (uint8_t *)buf + done, &body, err);
    }
    vch_buf_free(&body);
    return rc;
}

static vch_rc remove_it(vch_backend_t *b, const char *name, vch_err_t *err)
{
    vch_object_ask_t a;
    VCH_TRY(set_name(&a, name, err));
    return ask(of(b), "remove", VCH_ASK_NAME, &a, NULL, err);
}

/* Names ascend, or a page could come for ever. */
static vch_rc next_name(vch_object_ask_t *a, vch_slice_t name)
{
    char next[sizeof a->name] = {0};
    if (name.n == 0 || name.n >= sizeof next || memchr(name.p, 0, name.n)) return VCH_ERR_FORMAT;
    memcpy(next, name.p, name.n);
    if (strcmp(next, a->name) <= 0) return VCH_ERR_FORMAT;
    memcpy(a->name, next, sizeof next);
    return VCH_OK;
}

/* One page; *ret_n: of names in it, the last of which a->name becomes. */
static vch_rc list_page(vch_backend_t *b, vch_object_ask_t *a, vch_list_fn fn, void *ctx, uint64_t *ret_n,
                        vch_buf_t *body, vch_err_t *err)
{
    vch_slice_t name;
    vch_buf_clear(body);
    VCH_TRY(ask(of(b), "list", VCH_ASK_NAME, a, body, err));
    vch_cbor_t c = vch_cbor_over(vch_buf_slice(body));
    vch_rc rc = vch_cbor_get_array(&c, ret_n);
    for (uint64_t i = 0; rc == VCH_OK && i < *ret_n; i++) {
        rc = vch_cbor_get_text(&c, &name);
        if (rc == VCH_OK) rc = next_name(a, name);
        if (rc != VCH_OK) break;
        VCH_TRY(fn(ctx, a->name));
    }
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the storage node's list is not well-formed");
}

static vch_rc list(vch_backend_t *b, vch_list_fn fn, void *ctx, vch_err_t *err)
{
    vch_object_ask_t a = {.at = 0};
    vch_buf_t body;
    uint64_t n = VCH_NAMES_MAX;
    vch_rc rc = VCH_OK;
    vch_buf_init(&body, 1u << 17);
    while (rc == VCH_OK && n == VCH_NAMES_MAX) rc = list_page(b, &a, fn, ctx, &n, &body, err);
    vch_buf_free(&body);
    return rc;
}

static vch_rc prove(vch_backend_t *b, const char *name, uint64_t at, size_t n, uint32_t chunk, vch_audit_t *ret,
                    vch_err_t *err)
{
    vch_object_ask_t a;
    vch_buf_t question, body;
    VCH_TRY(set_name(&a, name, err));
    a.at = at;
    a.n = n;
    vch_buf_init(&question, 256);
    vch_buf_init(&body, 2 * sizeof *ret);
    vch_rc rc = vch_prove_ask_put(&question, &a, chunk);
    rc = rc == VCH_OK ? sv_ask(of(b), "prove", vch_buf_slice(&question), SV_SHORT_MS, &body, err) : no_memory(err);
    ret->chunk = chunk;
    if (rc == VCH_OK && (rc = vch_proof_get(ret, vch_buf_slice(&body))) != VCH_OK)
        vch_fail(err, rc, "the storage node's proof is not well-formed");
    vch_buf_free(&question);
    vch_buf_free(&body);
    return rc;
}

/* ---- life ------------------------------------------------------------------------------------------ */

static void close_it(vch_backend_t *b)
{
    sv_close(of(b));
    vch_free(b);
}

static const vch_backend_ops_t ops = {create,  append,    finish, abort_it, size,
                                      read_it, remove_it, list,   prove,    close_it};

vch_rc vch_backend_served(vch_backend_t **ret, vch_port_t *port, const char *url, const vch_keyid_t *id,
                          vch_asking_t as, vch_err_t *err)
{
    served_storage_t *t = vch_alloc(sizeof *t);
    if (!t) return no_memory(err);
    t->backend.ops = &ops;
    vch_rc rc = sv_open(&t->s, port, url, id, as, err);
    if (rc == VCH_OK)
        *ret = &t->backend;
    else
        close_it(&t->backend);
    return rc;
}
