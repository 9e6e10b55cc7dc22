/* SPDX-License-Identifier: Apache-2.0 */
/* The six claims, from names to a file. */
#include "codec/cbor.h"
#include "node/evidence.h"
#include "node/node_int.h"
#include "node/use.h"

#define AT(x) (unsigned long long)(x)
#define ARENA_ENOUGH ((size_t)VCH_BUNDLE_BYTES_MAX + (16u << 20)) /* for any bundle */
#define ARENA_USUAL(bundle_n) ((1u << 20) + 8 * (bundle_n))

/* ---- the ledger, ready for proofs ---------------------------------------------------- */

/* A directory that can't sign (read-only, no log key) still proves what its
 * last checkpoint covers. */
vch_rc ev_cover(vch_ledger_t *l, vch_err_t *err)
{
    if (l->flags & VCH_LEDGER_READ_ONLY || !l->log_key) return VCH_OK;
    return vch_ledger_checkpoint(l, NULL, err);
}

vch_rc ev_begin(ev_t *ev, vch_ledger_t *l, vch_err_t *err)
{
    VCH_TRY(vch_ledger_read_begin(l, err));
    vch_rc rc = ev_init(ev, l, err);
    if (rc == VCH_OK) return rc;
    ev_free(ev);
    vch_ledger_read_end(l);
    return rc;
}

/* ---- claims --------------------------------------------------------------------------- */

vch_rc ev_claim_id(ev_t *ev, unsigned type, const vch_id_t *id)
{
    vch_buf_clear(&ev->claim);
    VCH_TRY(vch_cbor_map(&ev->claim, 2));
    VCH_TRY(vch_cbor_uint(&ev->claim, 0));
    VCH_TRY(vch_cbor_uint(&ev->claim, type));
    VCH_TRY(vch_cbor_uint(&ev->claim, 1));
    return vch_cbor_bytes(&ev->claim, id->b, 32);
}

static vch_rc decision_path(ev_t *ev, const ev_decisions_t *d, vch_slice_t *ret)
{
    size_t n = (size_t)d->value.count;
    vch_hash_t *hash = vch_arena_array(&ev->arena, n, sizeof *hash);
    *ret = vch_slice(NULL, 0);
    if (!hash) return ev_no_memory(ev);
    if (d->first != d->last) return VCH_OK;
    for (size_t i = 0; i < n; i++) vch_tree_leaf(&hash[i], d->leaf[i]);
    return ev_tree_path(ev, hash, n, (size_t)(d->first - d->value.first), ret);
}

vch_rc ev_claim_decision(ev_t *ev, const ev_decisions_t *d)
{
    vch_buf_t *b = &ev->claim;
    vch_slice_t path;
    VCH_TRY(decision_path(ev, d, &path));
    vch_buf_clear(b);
    VCH_TRY(vch_cbor_map(b, 5));
    VCH_TRY(vch_cbor_uint(b, 0));
    VCH_TRY(vch_cbor_uint(b, 1));
    VCH_TRY(vch_cbor_uint(b, 1));
    VCH_TRY(vch_cbor_bytes(b, d->batch.b, 32));
    VCH_TRY(vch_cbor_uint(b, 2));
    VCH_TRY(vch_cbor_uint(b, d->first));
    VCH_TRY(vch_cbor_uint(b, 3));
    VCH_TRY(vch_cbor_array(b, d->last - d->first + 1));
    for (uint64_t i = d->first; i <= d->last; i++) {
        vch_slice_t leaf = d->leaf[i - d->value.first];
        VCH_TRY(vch_cbor_bytes(b, leaf.p, leaf.n));
    }
    VCH_TRY(vch_cbor_uint(b, 4));
    return vch_cbor_bytes(b, path.p, path.n);
}

static vch_rc make_decision(vch_ledger_t *l, const char *id, vch_buf_t *ret, vch_err_t *err)
{
    ev_decisions_t d;
    ev_batch_t batch;
    ev_t ev;
    vch_rc rc = ev_decisions_read(&d, l, id, err);
    if (rc == VCH_OK) rc = ev_begin(&ev, l, err);
    if (rc == VCH_OK) {
        rc = ev_batch(&ev, &d, &batch);
        if (rc == VCH_OK) rc = ev_claim_decision(&ev, &d);
        if (rc == VCH_OK) rc = ev_write(&ev, ret);
        ev_free(&ev);
        vch_ledger_read_end(l);
    }
    ev_decisions_free(&d);
    return rc;
}

/* There is no claim of this kind yet. */
static vch_rc not_own(ev_t *ev, const vch_id_t *request)
{
    vch_buf_t value;
    vch_own_value_t own;
    vch_buf_init(&value, 4096);
    vch_rc rc = vch_own_load(ev->l, request, &value, &own);
    vch_buf_free(&value);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    VCH_TRY(rc);
    return vch_fail(ev->err, VCH_ERR_UNSUPPORTED, "there are no bundles of a subject's own access yet");
}

static vch_rc fill_access(ev_t *ev, const char *id)
{
    vch_id_t request;
    ev_access_t a;
    VCH_TRY(vch_resolve(ev->l, 'a', id, &request, ev->err));
    VCH_TRY(not_own(ev, &request));
    VCH_TRY(ev_access(ev, &request, &a));
    VCH_TRY(ev_signers(ev, ev_find_leaf(ev, a.index)->commit));
    return ev_claim_id(ev, 2, &request);
}

static vch_rc fill_lineage(ev_t *ev, const char *id)
{
    vch_id_t model;
    ev_model_t m;
    VCH_TRY(vch_resolve(ev->l, 'm', id, &model, ev->err));
    VCH_TRY(ev_model(ev, &model, &m));
    VCH_TRY(ev_signers(ev, ev_find_leaf(ev, m.index)->commit));
    return ev_claim_id(ev, 5, &model);
}

static vch_rc make_simple(vch_ledger_t *l, vch_rc (*fill)(ev_t *, const char *), const char *id, vch_buf_t *ret,
                          vch_err_t *err)
{
    ev_t ev;
    VCH_TRY(ev_begin(&ev, l, err));
    vch_rc rc = fill(&ev, id);
    if (rc == VCH_OK) rc = ev_write(&ev, ret);
    ev_free(&ev);
    vch_ledger_read_end(l);
    return rc;
}

static vch_rc make_row(vch_ledger_t *l, const char *id, vch_buf_t *ret, vch_err_t *err)
{
    ev_row_t row;
    ev_t ev;
    vch_rc rc = ev_row_read(&row, l, id, err);
    if (rc == VCH_OK) rc = ev_begin(&ev, l, err);
    if (rc == VCH_OK) {
        rc = ev_claim_row(&ev, &row);
        if (rc == VCH_OK) rc = ev_write(&ev, ret);
        ev_free(&ev);
        vch_ledger_read_end(l);
    }
    ev_row_free(&row);
    return rc;
}

static vch_rc make_erasure(vch_ledger_t *l, const char *id, vch_buf_t *ret, vch_err_t *err)
{
    ev_erasure_t erasure;
    ev_t ev;
    vch_rc rc = ev_erasure_find(&erasure, l, id, err);
    if (rc == VCH_OK) rc = ev_begin(&ev, l, err);
    if (rc == VCH_OK) {
        rc = ev_claim_erasure(&ev, &erasure);
        if (rc == VCH_OK) {
            rc = ev_write(&ev, ret);
            if (rc == VCH_ERR_LIMIT)
                vch_hint(err, rc, "where rows don't follow the subjects it lists the subject of each, in four bytes");
        }
        ev_free(&ev);
        vch_ledger_read_end(l);
    }
    ev_erasure_free(&erasure);
    return rc;
}

static vch_rc hint_lists(vch_err_t *err, vch_rc rc, const char *what)
{
    if (rc != VCH_ERR_NOT_FOUND || !err || err->hint[0]) return rc;
    const char *list = strcmp(what, "access") == 0    ? "vouch access list"
                       : strcmp(what, "row") == 0     ? "vouch run list"
                       : strcmp(what, "consent") == 0 ? "vouch dataset list"
                       : strcmp(what, "lineage") == 0 ? "vouch model list"
                       : strcmp(what, "erasure") == 0 ? "vouch erasure status DATASET"
                                                      : "vouch deployment list";
    return vch_hint(err, rc, "what there is: %s", list);
}

vch_rc vch_bundle_build(vch_ledger_t *l, const char *what, const char *id, vch_buf_t *ret, vch_err_t *err)
{
    vch_rc rc = ev_cover(l, err);
    if (rc != VCH_OK) return rc;
    if (strcmp(what, "decision") == 0)
        rc = make_decision(l, id, ret, err);
    else if (strcmp(what, "row") == 0)
        rc = make_row(l, id, ret, err);
    else if (strcmp(what, "erasure") == 0)
        rc = make_erasure(l, id, ret, err);
    else if (strcmp(what, "access") == 0)
        rc = make_simple(l, fill_access, id, ret, err);
    else if (strcmp(what, "lineage") == 0)
        rc = make_simple(l, fill_lineage, id, ret, err);
    else if (strcmp(what, "consent") == 0)
        rc = make_simple(l, ev_claim_consent, id, ret, err);
    else
        return vch_fail(err, VCH_ERR_USAGE,
                        "evidence of a \"%.40s\"? There is: decision, access, consent, row, lineage, erasure", what);
    return hint_lists(err, rc, what);
}

/* ---- out ---------------------------------------------------------------------------------- */

static vch_rc judge_in(size_t arena_n, vch_slice_t bundle, vch_slice_t trust, vch_report_t *ret, vch_err_t *err)
{
    void *arena = vch_resize(NULL, arena_n); /* the verifier clears what it takes */
    if (!arena) return vch_fail(err, VCH_ERR_MEMORY, "out of memory for the verification");
    vch_rc rc = vch_bundle_verify(ret, bundle.p, bundle.n, (const char *)trust.p, trust.n, NULL, arena, arena_n, err);
    vch_free(arena);
    return rc;
}

vch_rc ev_judge(vch_ledger_t *l, vch_slice_t bundle, vch_report_t *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_buf_t trust;
    size_t usual = vch_min(ARENA_USUAL(bundle.n), ARENA_ENOUGH);
    VCH_TRY(vch_ledger_path(l, path, "trust.policy"));
    vch_buf_init(&trust, 1u << 20);
    vch_rc rc = vch_read_all(l->port, &trust, path, 1u << 20, err);
    if (rc == VCH_OK) rc = judge_in(usual, bundle, vch_buf_slice(&trust), ret, err);
    if (rc == VCH_OK && ret->code == VCH_V_I_MEMORY && usual < ARENA_ENOUGH)
        rc = judge_in(ARENA_ENOUGH, bundle, vch_buf_slice(&trust), ret, err);
    vch_buf_free(&trust);
    return rc;
}

/* Nobody is handed a bundle that this ledger itself can't believe. */
static vch_rc check_own(vch_ledger_t *l, vch_slice_t bundle, vch_err_t *err)
{
    vch_report_t report;
    VCH_TRY(ev_judge(l, bundle, &report, err));
    if (report.status != VCH_VERIFY_FAIL) return VCH_OK;
    vch_fail(err, VCH_ERR_CORRUPT, "the evidence does not verify (%s): %.200s", vch_verify_code(report.code),
             report.detail);
    return vch_hint(err, VCH_ERR_CORRUPT, "something stored was changed; find it with: vouch check --full");
}

VCH_API vch_rc vch_bundle_make(vch_ledger_t *l, const char *what, const char *id, const char *path, vch_err_t *err)
{
    vch_buf_t bundle;
    if (l->remote) return nd_remote_bundle(l, what, id, path, err);
    vch_buf_init(&bundle, VCH_BUNDLE_BYTES_MAX);
    vch_rc rc = vch_bundle_build(l, what, id, &bundle, err);
    if (rc == VCH_OK) rc = check_own(l, vch_buf_slice(&bundle), err);
    if (rc == VCH_OK) rc = vch_write_atomic(l->port, path, vch_buf_slice(&bundle), 0600, err);
    vch_buf_free(&bundle);
    return nd_told(rc, err);
}
