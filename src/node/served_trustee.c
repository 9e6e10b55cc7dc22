/* SPDX-License-Identifier: Apache-2.0 */
/* A trustee on another machine. */
#include "codec/cbor.h"
#include "node/node_int.h"
#include "node/served_int.h"

#define COMMITTED_MS 2000u /* so long a grant may take until its checkpoint is cosigned and seen there */
#define LOOK_MS 250u

typedef struct {
    vch_peer_t peer;
    served_t s;
    uint64_t waited_ms; /* for checkpoints, so far */
} served_trustee_t;

static served_trustee_t *trustee_of(vch_peer_t *p) { return (served_trustee_t *)(void *)p; }
static served_t *of(vch_peer_t *p) { return &trustee_of(p)->s; }

/* Asked twice, the first one is never used. */
static vch_rc prekey(vch_peer_t *p, vch_buf_t *ret, vch_err_t *err)
{
    return sv_ask(of(p), "prekey", vch_str(""), SV_SHORT_MS, ret, err);
}

/* Asked twice, the second answer is a refusal (the prekey is used up), and the
 * ingest begins again under fresh seeds. */
static vch_rc deal(vch_peer_t *p, vch_slice_t message, vch_buf_t *ret, vch_err_t *err)
{
    return sv_ask(of(p), "deal", message, SV_LONG_MS, ret, err);
}

static vch_rc take_apart(vch_slice_t body, vch_buf_t *ret_answer, vch_buf_t *ret_box)
{
    vch_cbor_t c = vch_cbor_over(body);
    vch_slice_t answer, box;
    uint64_t n;
    VCH_TRY(vch_cbor_get_array(&c, &n));
    if (n != 2) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_bytes(&c, &answer));
    VCH_TRY(vch_cbor_get_bytes(&c, &box));
    if (!vch_cbor_done(&c)) return VCH_ERR_FORMAT;
    VCH_TRY(vch_buf_put(ret_answer, answer.p, answer.n));
    return vch_buf_put(ret_box, box.p, box.n);
}

static vch_rc ask_release(served_trustee_t *t, vch_slice_t request, vch_buf_t *ret, vch_err_t *err)
{
    for (;; t->waited_ms += LOOK_MS) {
        vch_rc rc = sv_ask(&t->s, "release", request, SV_LONG_MS, ret, err);
        if (rc != VCH_ERR_QUORUM || t->waited_ms >= COMMITTED_MS) return rc;
        t->s.port->clock->sleep_ms(t->s.port, LOOK_MS);
    }
}

static vch_rc release(vch_peer_t *p, vch_slice_t request, vch_buf_t *ret_answer, vch_buf_t *ret_box, vch_err_t *err)
{
    vch_buf_t body;
    vch_buf_init(&body, VCH_ASKED_MAX);
    vch_rc rc = ask_release(trustee_of(p), request, &body, err);
    if (rc == VCH_OK) {
        rc = take_apart(vch_buf_slice(&body), ret_answer, ret_box);
        if (rc != VCH_OK) vch_fail(err, rc, "the trustee's answer is not well-formed");
    }
    vch_buf_free(&body);
    return rc;
}

static vch_rc path(vch_peer_t *p, const vch_hash_t *extent, uint8_t set, uint32_t leaf, vch_buf_t *ret, vch_err_t *err)
{
    vch_buf_t body;
    vch_buf_init(&body, 128);
    vch_rc rc = vch_path_ask_put(&body, extent, set, leaf);
    rc = rc == VCH_OK ? sv_ask(of(p), "path", vch_buf_slice(&body), SV_LONG_MS, ret, err)
                      : vch_fail(err, rc, "out of memory");
    vch_buf_free(&body);
    return rc;
}

static vch_rc withdraw(vch_peer_t *p, vch_slice_t tx, vch_err_t *err)
{
    vch_buf_t nothing;
    vch_buf_init(&nothing, 64);
    vch_rc rc = sv_ask(of(p), "withdraw", tx, SV_SHORT_MS, &nothing, err);
    vch_buf_free(&nothing);
    return rc;
}

/* A served trustee drops by itself what was dealt and never registered. */
static vch_rc sweep(vch_peer_t *p, vch_err_t *err)
{
    (void)p, (void)err;
    return VCH_OK;
}

/* It follows the ledger by itself, too; this makes it look now.  One that
 * doesn't answer will look when it is back. */
static vch_rc erase(vch_peer_t *p, vch_err_t *err)
{
    vch_buf_t nothing;
    vch_buf_init(&nothing, 64);
    vch_rc rc = sv_ask(of(p), "follow", vch_str(""), SV_LONG_MS, &nothing, err);
    vch_buf_free(&nothing);
    return rc == VCH_ERR_UNREACHABLE ? VCH_OK : rc;
}

static void close_it(vch_peer_t *p)
{
    sv_close(of(p));
    vch_free(p);
}

static const vch_peer_ops_t ops = {prekey, deal, release, path, withdraw, sweep, erase, close_it};

vch_rc vch_peer_served(vch_peer_t **ret, vch_port_t *port, const char *url, const vch_keyid_t *id, vch_asking_t as,
                       vch_err_t *err)
{
    served_trustee_t *t = vch_alloc(sizeof *t);
    if (!t) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    t->peer.ops = &ops;
    vch_rc rc = sv_open(&t->s, port, url, id, as, err);
    if (rc == VCH_OK)
        *ret = &t->peer;
    else
        close_it(&t->peer);
    return rc;
}
