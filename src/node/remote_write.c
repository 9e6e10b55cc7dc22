/* SPDX-License-Identifier: Apache-2.0 */
/* Writing through a node: made and signed here, taken by the node as signed.
 *
 * A question without an answer is asked again with the same bytes: an entry
 * that is there already comes back with its old place.  Only when the node
 * says that the sequence number was used for another entry (this key signs
 * somewhere else too) is the entry signed anew. */
#include <stdio.h>

#include "entry/receipt.h"
#include "node/remote_int.h"

#define SIGN_TRIES 4u

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- the log's promise of a place -------------------------------------------------------- */

/* Kept, for it is what convicts a log that leaves the entry out after all. */
static vch_rc take_promise(vch_ledger_t *l, const vch_receipt_t *r, vch_slice_t file, vch_err_t *err)
{
    char hex[65], name[80];
    vch_promise_finding_t f;
    vch_promise_t *p = vch_alloc(sizeof *p);
    if (!p) return no_memory(err);
    vch_rc rc = vch_promise_get(p, file);
    if (rc == VCH_OK) rc = vch_promise_judge(p, l->remote->trust, vch_slice(NULL, 0), &f);
    bool good = rc == VCH_OK && f.verdict != VCH_PROMISE_FORGED && f.code != VCH_V_I_LOG &&
                vch_id_eq(&p->entry, &r->entry) && p->index == r->index && vch_hash_eq(&p->network, &l->network);
    vch_free(p);
    if (!good)
        return vch_hint(err,
                        vch_fail(err, VCH_ERR_SIGNATURE, "the node's receipt is not the log's promise for the entry"),
                        "the entry may be on the ledger; vouch log cat shows it");
    vch_hex(hex, r->entry.b, 32);
    (void)snprintf(name, sizeof name, "%s.receipt", hex);
    return rm_keep(l, "receipts", name, file, NULL, err);
}

/* ---- what the node says it did ----------------------------------------------------------- */

static bool is_ours(const vch_receipt_t *r, const vch_prepared_t *p)
{
    vch_id_t object = vch_object_id(&p->entry.id, 0);
    return vch_id_eq(&r->entry, &p->entry.id) && vch_id_eq(&r->object, &object) && r->count == p->tx.count;
}

static vch_rc take_receipt(vch_ledger_t *l, const vch_prepared_t *p, vch_slice_t answer, vch_receipt_t *ret,
                           vch_err_t *err)
{
    rm_receipt_t r;
    VCH_TRY(rm_receipt_get(&r, answer, err));
    vch_rc rc =
        is_ours(&r.receipt, p) ? VCH_OK : vch_fail(err, VCH_ERR_COMMITMENT, "the node's receipt is for another entry");
    if (rc == VCH_OK && r.promise.n) rc = take_promise(l, &r.receipt, vch_buf_slice(&r.promise), err);
    vch_buf_free(&r.promise);
    if (rc == VCH_OK) *ret = r.receipt;
    return rc;
}

/* Nobody knows whether it arrived: its bytes are kept, so that sending them
 * again can't put the same twice. */
static void keep_unsent(vch_ledger_t *l, const vch_id_t *entry, vch_slice_t tx, vch_err_t *err)
{
    char hex[65], name[80], path[VCH_PATH_MAX];
    vch_hex(hex, entry->b, 32);
    (void)snprintf(name, sizeof name, "%s.tx", hex);
    if (rm_keep(l, "unsent", name, tx, path, NULL) == VCH_OK)
        (void)vch_hint(err, err ? err->rc : VCH_OK,
                       "it may be on the ledger or not; send the same again: vouch log submit signed %.300s", path);
}

static vch_rc settle_answer(vch_ledger_t *l, rm_ask_t *a, const vch_prepared_t *p, vch_receipt_t *ret, vch_err_t *err)
{
    if (a->rc == VCH_OK) return take_receipt(l, p, vch_buf_slice(&a->answer), ret, err);
    if (a->unsure) keep_unsent(l, &p->entry.id, a->body, &a->err);
    if (err) *err = a->err;
    return a->rc;
}

/* ---- an entry of this process's own --------------------------------------------------------- */

static vch_rc next_sequence(vch_ledger_t *l, const vch_signer_t *signer, uint64_t *ret, vch_err_t *err)
{
    rm_ask_t a;
    vch_keyid_t id = vch_pubkey_id(vch_signer_public(signer));
    rm_path_t path = rm_path("/v1/sequence?key=");
    rm_path_hex(&path, id.b, 32);
    vch_rc rc = rm_get(l, &a, path.text, RM_SMALL_MAX, err);
    if (rc == VCH_OK) rc = rm_number_get(ret, "sequence", vch_buf_slice(&a.answer), err);
    rm_free(&a, 1);
    return rc;
}

static vch_rc sign(vch_ledger_t *l, nd_request_t *r, uint64_t sequence, vch_buf_t *ret_tx)
{
    vch_entry_head_t head = {.network = l->network, .kind = r->kind, .sequence = sequence};
    vch_buf_clear(&r->entry);
    vch_buf_clear(ret_tx);
    VCH_TRY(vch_entry_sign(&r->entry, &head, r->tx.statements, r->tx.count, r->signer, &r->err));
    r->tx.entry = vch_buf_slice(&r->entry);
    VCH_TRY(vch_tx_prepare(&r->prepared, &r->tx, &r->arena, &r->err));
    vch_rc rc = vch_tx_put(ret_tx, &r->tx);
    return rc == VCH_OK ? rc : vch_fail(&r->err, rc, "the transaction is larger than %u KiB", VCH_TX_BYTES_MAX >> 10);
}

static vch_rc send_once(vch_ledger_t *l, nd_request_t *r, uint64_t sequence, vch_buf_t *tx)
{
    rm_ask_t a = {.path = "/v1/submit", .type = "application/cbor", .max = RM_SMALL_MAX};
    VCH_TRY(sign(l, r, sequence, tx));
    a.body = vch_buf_slice(tx);
    rm_ask(l, &a, 1);
    vch_rc rc = settle_answer(l, &a, &r->prepared, &r->receipt, &r->err);
    rm_free(&a, 1);
    return rc;
}

static vch_rc send_until(vch_ledger_t *l, nd_request_t *r, vch_buf_t *tx)
{
    uint64_t sequence = 0;
    VCH_TRY(next_sequence(l, r->signer, &sequence, &r->err));
    for (unsigned tries = 1;; tries++) {
        uint64_t used = sequence;
        vch_rc rc = send_once(l, r, sequence, tx);
        if (rc != VCH_ERR_REPLAY || tries == SIGN_TRIES) return rc;
        vch_err_t why = {.rc = VCH_OK};
        if (next_sequence(l, r->signer, &sequence, &why) != VCH_OK || sequence == used) return rc;
    }
}

void nd_remote_write(vch_ledger_t *l, nd_request_t *r)
{
    vch_buf_t tx;
    r->rc = rm_begin(l, &r->err);
    if (r->rc != VCH_OK) return;
    vch_buf_init(&tx, VCH_TX_BYTES_MAX + 65536);
    r->rc = send_until(l, r, &tx);
    vch_buf_free(&tx);
    rm_end(l);
}

/* ---- transactions signed elsewhere -------------------------------------------------------------- */

typedef struct {
    vch_prepared_t prepared;
    vch_arena_t arena;
    vch_rc rc;
    vch_err_t err;
} sent_t;

static vch_rc read_tx(sent_t *s, vch_slice_t bytes)
{
    vch_tx_t tx;
    vch_arena_init(&s->arena, 64u << 20);
    VCH_TRY(vch_tx_get(&tx, bytes, &s->arena, &s->err));
    return vch_tx_prepare(&s->prepared, &tx, &s->arena, &s->err);
}

/* Those that can be read at all, RM_AT_ONCE at a time. */
static void send_some(vch_ledger_t *l, sent_t *s, const uint8_t *const *tx, const size_t *tx_n, size_t n,
                      vch_receipt_t *ret)
{
    rm_ask_t ask[RM_AT_ONCE];
    size_t which[RM_AT_ONCE], asks = 0;
    for (size_t i = 0; i < n; i++) {
        s[i].rc = read_tx(&s[i], vch_slice(tx[i], tx_n[i]));
        if (s[i].rc != VCH_OK) continue;
        ask[asks] = (rm_ask_t){.path = "/v1/submit", .type = "application/cbor", .max = RM_SMALL_MAX};
        ask[asks].body = vch_slice(tx[i], tx_n[i]);
        which[asks++] = i;
    }
    rm_ask(l, ask, asks);
    for (size_t k = 0; k < asks; k++) {
        size_t i = which[k];
        s[i].rc = settle_answer(l, &ask[k], &s[i].prepared, &ret[i], &s[i].err);
    }
    rm_free(ask, asks);
    for (size_t i = 0; i < n; i++) vch_arena_free(&s[i].arena);
}

static void tell(const sent_t *s, size_t at, size_t n, bool several, vch_receipt_t *ret, vch_rc *ret_rc,
                 vch_rc *refused, vch_err_t *err)
{
    for (size_t i = 0; i < n; i++) {
        if (ret_rc) ret_rc[i] = s[i].rc;
        if (s[i].rc == VCH_OK) continue;
        ret[i] = (vch_receipt_t){.index = 0};
        if (*refused != VCH_OK) continue;
        *refused = s[i].rc;
        if (err) *err = s[i].err;
        if (several) (void)vch_context(err, *refused, "transaction %zu", at + i);
    }
}

vch_rc nd_remote_submit(vch_ledger_t *l, const uint8_t *const *tx, const size_t *tx_n, size_t n, vch_receipt_t *ret,
                        vch_rc *ret_rc, vch_err_t *err)
{
    vch_rc refused = VCH_OK;
    VCH_TRY(rm_begin(l, err));
    sent_t *s = vch_alloc_array(RM_AT_ONCE, sizeof *s);
    if (!s) {
        rm_end(l);
        return no_memory(err);
    }
    for (size_t at = 0; at < n; at += RM_AT_ONCE) {
        size_t some = vch_min(n - at, RM_AT_ONCE);
        send_some(l, s, tx + at, tx_n + at, some, ret + at);
        tell(s, at, some, n > 1, ret + at, ret_rc ? ret_rc + at : NULL, &refused, err);
    }
    vch_free(s);
    rm_end(l);
    return nd_told(refused, err);
}
