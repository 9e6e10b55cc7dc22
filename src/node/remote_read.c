/* SPDX-License-Identifier: Apache-2.0 */
/* What a remote handle reads: proven where a proof is possible, else passed on. */
#include "codec/text.h"
#include "crypto/sha256.h"
#include "node/remote_int.h"
#include "vouchsafe/verify.h"

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- leaves ------------------------------------------------------------------------- */

/* The bundle of entries that holds `index` in a log of `size`. */
static vch_rc load_bundle(vch_ledger_t *l, uint64_t index, uint64_t size, vch_err_t *err)
{
    char path[128] = "/";
    rm_ask_t a;
    vch_remote_t *r = l->remote;
    uint64_t n = index / 256, left = size - n * 256;
    unsigned width = left < 256 ? (unsigned)left : 256;
    if (r->has_bundle && r->bundle == n && r->width == width) return VCH_OK;
    vch_rc rc = vch_tile_path(path + 1, sizeof path - 1, -1, n, width);
    if (rc != VCH_OK) return vch_fail(err, rc, "the log is too long for a tile's name");
    rc = rm_get(l, &a, path, RM_BUNDLE_MAX, err);
    if (rc == VCH_OK) {
        vch_buf_free(&r->entries);
        r->entries = a.answer;
        vch_buf_init(&a.answer, 0);
        r->has_bundle = true;
        r->bundle = n;
        r->width = width;
    }
    rm_free(&a, 1);
    return rc;
}

typedef struct {
    vch_tlog_proof_t proof;
    vch_checkpoint_t checkpoint;
} inclusion_t;

static bool stands_there(const inclusion_t *in, vch_slice_t entry)
{
    vch_hash_t leaf;
    vch_tree_leaf(&leaf, entry);
    return vch_inclusion_verify(in->proof.index, in->checkpoint.size, &leaf, in->proof.path, in->proof.n,
                                &in->checkpoint.root);
}

/* Our nodes put the leaf beside the proof; the tiles have it, too. */
static vch_rc find_leaf(vch_ledger_t *l, const inclusion_t *in, vch_slice_t *ret, vch_err_t *err)
{
    uint64_t index = in->proof.index;
    vch_buf_t *beside = &l->remote->leaf;
    if (!in->proof.extra.n) {
        VCH_TRY(load_bundle(l, index, in->checkpoint.size, err));
        return rm_bundle_get(ret, vch_buf_slice(&l->remote->entries), l->remote->width, (unsigned)(index % 256), err);
    }
    vch_buf_clear(beside);
    vch_rc rc = vch_base64_get(beside, in->proof.extra);
    if (rc != VCH_OK) return vch_fail(err, rc, "the leaf beside the node's proof can't be read: %s", vch_rc_text(rc));
    *ret = vch_buf_slice(beside);
    return VCH_OK;
}

/* The path must lead from these bytes to the checkpoint's root. */
static vch_rc check_leaf(vch_ledger_t *l, const inclusion_t *in, vch_slice_t *ret, vch_err_t *err)
{
    vch_slice_t entry = {NULL, 0};
    VCH_TRY(find_leaf(l, in, &entry, err));
    if (!stands_there(in, entry)) {
        l->remote->has_bundle = false;
        return vch_fail(err, VCH_ERR_COMMITMENT, "the node's proof that entry %llu is in the log does not hold",
                        (unsigned long long)in->proof.index);
    }
    *ret = entry;
    return VCH_OK;
}

static vch_rc check_inclusion(vch_ledger_t *l, uint64_t index, vch_slice_t text, vch_slice_t *ret_entry, vch_err_t *err)
{
    inclusion_t *in = vch_alloc(sizeof *in);
    if (!in) return no_memory(err);
    vch_rc rc = vch_tlog_proof_get(&in->proof, text);
    if (rc != VCH_OK || in->proof.index != index)
        rc = vch_fail(err, VCH_ERR_FORMAT, "what the node shows is no proof of entry %llu", (unsigned long long)index);
    if (rc == VCH_OK) rc = rm_believe(l, in->proof.note, &in->checkpoint, err);
    if (rc == VCH_OK && index >= in->checkpoint.size)
        rc = vch_fail(err, VCH_ERR_COMMITMENT, "the node's checkpoint does not reach entry %llu",
                      (unsigned long long)index);
    if (rc == VCH_OK) rc = check_leaf(l, in, ret_entry, err);
    vch_free(in);
    return rc;
}

/* Asks for the proof; `a` keeps it, *ret_entry is borrowed until the next call. */
static vch_rc prove_entry(vch_ledger_t *l, uint64_t index, rm_ask_t *a, vch_slice_t *ret_entry, vch_err_t *err)
{
    rm_path_t path = rm_path("/v1/proof/inclusion?index=");
    rm_path_uint(&path, index);
    VCH_TRY(rm_get(l, a, path.text, RM_SMALL_MAX, err));
    return check_inclusion(l, index, vch_buf_slice(&a->answer), ret_entry, err);
}

/* While a checkpoint grows, the open bundle of the one before may be gone from
 * the node: once more with the new one. */
static vch_rc prove_again(vch_ledger_t *l, uint64_t index, rm_ask_t *a, vch_slice_t *ret_entry, vch_err_t *err)
{
    vch_rc rc = prove_entry(l, index, a, ret_entry, err);
    if (rc != VCH_ERR_NOT_FOUND || a->rc != VCH_OK) return rc;
    rm_free(a, 1);
    return prove_entry(l, index, a, ret_entry, err);
}

vch_rc rm_leaf(vch_ledger_t *l, uint64_t index, vch_buf_t *ret, vch_err_t *err)
{
    rm_ask_t a;
    vch_slice_t entry;
    vch_rc rc = prove_again(l, index, &a, &entry, err);
    if (rc == VCH_OK && vch_buf_put(ret, entry.p, entry.n) != VCH_OK) rc = no_memory(err);
    rm_free(&a, 1);
    return rc;
}

vch_rc vch_remote_leaf(vch_ledger_t *l, uint64_t index, vch_buf_t *ret, vch_err_t *err)
{
    VCH_TRY(rm_begin(l, err));
    vch_rc rc = rm_leaf(l, index, ret, err);
    rm_end(l);
    return rc;
}

/* ---- proofs for others ------------------------------------------------------------------ */

/* An answer becomes a caller's text. */
static vch_rc take_answer(rm_ask_t *a, vch_text_t *ret, vch_err_t *err)
{
    vch_rc rc = vch_text_take(ret, &a->answer);
    return rc == VCH_OK ? rc : no_memory(err);
}

vch_rc nd_remote_inclusion(vch_ledger_t *l, uint64_t index, vch_text_t *ret, vch_err_t *err)
{
    rm_ask_t a;
    vch_slice_t entry;
    VCH_TRY(rm_begin(l, err));
    vch_rc rc = prove_again(l, index, &a, &entry, err);
    if (rc == VCH_OK) rc = take_answer(&a, ret, err);
    rm_free(&a, 1);
    rm_end(l);
    return rc;
}

/* The larger root must be one of the log's: under the newest checkpoint, which
 * an inclusion proof has the node sign when it has none. */
static vch_rc anchor(vch_ledger_t *l, const rm_consistency_t *c, vch_err_t *err)
{
    vch_buf_t leaf;
    vch_rc rc = VCH_OK;
    if (c->size2 > l->remote->size) {
        vch_buf_init(&leaf, VCH_ENTRY_BYTES_MAX);
        rc = rm_leaf(l, c->size2 - 1, &leaf, err);
        vch_buf_free(&leaf);
    }
    if (rc == VCH_OK) rc = rm_consistent(l, c->size2, &c->root2, l->remote->size, &l->remote->root, NULL, err);
    if (rc != VCH_ERR_COMMITMENT) return rc;
    return vch_fail(err, rc, "the root that the node names for size %llu is not of its signed log",
                    (unsigned long long)c->size2);
}

static vch_rc check_consistency(vch_ledger_t *l, uint64_t size1, uint64_t size2, vch_slice_t answer, vch_err_t *err)
{
    rm_consistency_t c;
    VCH_TRY(rm_consistency_get(&c, answer, err));
    if (c.size1 != size1 || c.size2 != size2 || !vch_consistency_verify(size1, size2, &c.root1, &c.root2, c.path, c.n))
        return vch_fail(err, VCH_ERR_COMMITMENT, "the node's consistency proof does not hold");
    return anchor(l, &c, err);
}

vch_rc nd_remote_consistency(vch_ledger_t *l, uint64_t size1, uint64_t size2, vch_text_t *ret, vch_err_t *err)
{
    rm_ask_t a;
    rm_path_t path = rm_path("/v1/proof/consistency?from=");
    rm_path_uint(&path, size1);
    rm_path_add(&path, "&to=");
    rm_path_uint(&path, size2);
    VCH_TRY(rm_begin(l, err));
    vch_rc rc = rm_get(l, &a, path.text, RM_SMALL_MAX, err);
    if (rc == VCH_OK) rc = check_consistency(l, size1, size2, vch_buf_slice(&a.answer), err);
    if (rc == VCH_OK) rc = take_answer(&a, ret, err);
    rm_free(&a, 1);
    rm_end(l);
    return rc;
}

/* ---- state --------------------------------------------------------------------------------- */

static vch_rc load_commit(vch_ledger_t *l, uint64_t index, vch_err_t *err)
{
    vch_remote_t *r = l->remote;
    vch_state_commit_t commit;
    vch_buf_t leaf;
    if (r->has_commit && r->commit_index == index) return VCH_OK;
    vch_buf_init(&leaf, VCH_ENTRY_BYTES_MAX);
    vch_rc rc = rm_leaf(l, index, &leaf, err);
    if (rc == VCH_OK && vch_state_commit_get(&commit, vch_buf_slice(&leaf)) != VCH_OK)
        rc = vch_fail(err, VCH_ERR_COMMITMENT, "entry %llu closes no block", (unsigned long long)index);
    vch_buf_free(&leaf);
    VCH_TRY(rc);
    r->has_commit = true;
    r->commit_index = index;
    r->commit = commit;
    return VCH_OK;
}

/* The root that a state proof leads to stands in a block of the signed log. */
static vch_rc check_root(vch_ledger_t *l, const rm_state_t *s, vch_err_t *err)
{
    const vch_state_commit_t *c = &l->remote->commit;
    VCH_TRY(load_commit(l, s->entry, err));
    if (vch_hash_eq(&c->state_root, &s->root) && c->height == s->height && vch_hash_eq(&c->network, &l->network))
        return VCH_OK;
    return vch_fail(err, VCH_ERR_COMMITMENT, "the node's state root is not the one of block %llu in its log",
                    (unsigned long long)s->height);
}

/* `a` keeps the answer, *ret_present says what it proves. */
static vch_rc ask_state(vch_ledger_t *l, vch_slice_t key, rm_ask_t *a, vch_buf_t *ret_value, bool *ret_present,
                        vch_err_t *err)
{
    rm_state_t s;
    rm_path_t path = rm_path("/v1/state?key=");
    rm_path_hex(&path, key.p, key.n);
    *a = (rm_ask_t){.path = NULL};
    VCH_TRY(rm_path_check(&path, err));
    VCH_TRY(rm_get(l, a, path.text, 0, err));
    VCH_TRY(rm_state_get(&s, ret_value, key, vch_buf_slice(&a->answer), err));
    *ret_present = s.present;
    return check_root(l, &s, err);
}

vch_rc rm_value(vch_ledger_t *l, vch_slice_t key, vch_buf_t *ret, vch_err_t *err)
{
    rm_ask_t a;
    bool present = false;
    vch_rc rc = ask_state(l, key, &a, ret, &present, err);
    rm_free(&a, 1);
    return rc == VCH_OK && !present ? VCH_ERR_NOT_FOUND : rc;
}

vch_rc nd_remote_state(vch_ledger_t *l, vch_slice_t key, vch_text_t *ret, vch_err_t *err)
{
    rm_ask_t a;
    vch_buf_t value;
    bool present;
    VCH_TRY(rm_begin(l, err));
    vch_buf_init(&value, RM_ANSWER_MAX);
    vch_rc rc = ask_state(l, key, &a, &value, &present, err);
    if (rc == VCH_OK) rc = take_answer(&a, ret, err);
    vch_buf_free(&value);
    rm_free(&a, 1);
    rm_end(l);
    return rc;
}

/* ---- the whole ---------------------------------------------------------------------------------- */

/* Size is the node's word beyond the checkpoint; the rest stands in the leaf
 * that ends it. */
static vch_rc fill_info(vch_ledger_t *l, vch_ledger_info_t *ret, vch_slice_t answer, vch_err_t *err)
{
    uint64_t size = 0;
    vch_remote_t *r = l->remote;
    VCH_TRY(rm_number_get(&size, "size", answer, err));
    VCH_TRY(rm_refresh(l, err)); /* after: it may be larger now */
    VCH_TRY(load_commit(l, r->size - 1, err));
    *ret = l->opened;
    memcpy(ret->origin, l->origin, sizeof ret->origin);
    ret->network = l->network;
    ret->state_root = r->commit.state_root;
    ret->height = r->commit.height;
    ret->time = r->commit.time;
    ret->checkpoint_size = r->size;
    ret->committed = r->committed;
    ret->size = size > r->size ? size : r->size;
    return VCH_OK;
}

vch_rc nd_remote_info(vch_ledger_t *l, vch_ledger_info_t *ret, vch_err_t *err)
{
    rm_ask_t a;
    VCH_TRY(rm_begin(l, err));
    vch_rc rc = rm_get(l, &a, "/v1/info", RM_SMALL_MAX, err);
    if (rc == VCH_OK) rc = fill_info(l, ret, vch_buf_slice(&a.answer), err);
    rm_free(&a, 1);
    rm_end(l);
    return rc;
}

vch_rc nd_remote_checkpoint(vch_ledger_t *l, vch_text_t *ret, vch_err_t *err)
{
    vch_buf_t note;
    vch_buf_init(&note, VCH_NOTE_BYTES_MAX);
    vch_rc rc = vch_remote_head(l, NULL, NULL, &note, err);
    if (rc == VCH_OK && ret && vch_text_take(ret, &note) != VCH_OK) rc = no_memory(err);
    vch_buf_free(&note);
    return rc;
}

/* ---- passed on ------------------------------------------------------------------------------------ */

static vch_rc pass_on(vch_ledger_t *l, rm_ask_t a, vch_json_type_t type, vch_text_t *ret, vch_err_t *err)
{
    VCH_TRY(rm_begin(l, err));
    rm_ask(l, &a, 1);
    vch_rc rc = a.rc;
    if (rc != VCH_OK && err) *err = a.err;
    if (rc == VCH_OK) rc = rm_json_check(vch_buf_slice(&a.answer), type, err);
    if (rc == VCH_OK) rc = take_answer(&a, ret, err);
    rm_free(&a, 1);
    rm_end(l);
    return rc;
}

vch_rc nd_remote_query(vch_ledger_t *l, const char *what, const char *of, vch_text_t *ret, vch_err_t *err)
{
    rm_path_t path = rm_path("/v1/list/");
    rm_path_value(&path, what);
    if (of && *of) {
        rm_path_add(&path, "?of=");
        rm_path_value(&path, of);
    }
    VCH_TRY(rm_path_check(&path, err));
    return pass_on(l, (rm_ask_t){.path = path.text}, VCH_JSON_ARRAY, ret, err);
}

static vch_rc ask_entry(vch_ledger_t *l, uint64_t index, rm_ask_t *told, vch_err_t *err)
{
    rm_ask_t proof;
    vch_slice_t leaf = {NULL, 0};
    rm_path_t path = rm_path("/v1/entry/");
    rm_path_uint(&path, index);
    rm_path_add(&path, "/statements");
    VCH_TRY(rm_get(l, told, path.text, 0, err));
    vch_rc rc = prove_again(l, index, &proof, &leaf, err);
    if (rc == VCH_OK) rc = rm_entry_check(index, leaf, vch_buf_slice(&told->answer), err);
    rm_free(&proof, 1);
    return rc;
}

vch_rc nd_remote_entry(vch_ledger_t *l, uint64_t index, vch_text_t *ret, vch_err_t *err)
{
    rm_ask_t told = {.path = NULL};
    VCH_TRY(rm_begin(l, err));
    vch_rc rc = ask_entry(l, index, &told, err);
    if (rc == VCH_OK) rc = take_answer(&told, ret, err);
    rm_free(&told, 1);
    rm_end(l);
    return rc;
}

vch_rc nd_remote_trace(vch_ledger_t *l, const char *id, vch_text_t *ret, vch_err_t *err)
{
    rm_path_t path = rm_path("/v1/trace?decision=");
    rm_path_value(&path, id);
    VCH_TRY(rm_path_check(&path, err));
    return pass_on(l, (rm_ask_t){.path = path.text, .heavy = true}, VCH_JSON_OBJECT, ret, err);
}

vch_rc nd_remote_affected(vch_ledger_t *l, vch_text_t *ret, vch_err_t *err)
{
    return pass_on(l, (rm_ask_t){.path = "/v1/affected", .heavy = true}, VCH_JSON_ARRAY, ret, err);
}

vch_rc nd_remote_find(vch_ledger_t *l, const char *id, uint64_t *ret_index, uint32_t *ret_statement, vch_err_t *err)
{
    rm_ask_t a;
    rm_place_t place;
    rm_path_t path = rm_path("/v1/find?id=");
    rm_path_value(&path, id);
    VCH_TRY(rm_path_check(&path, err));
    VCH_TRY(rm_begin(l, err));
    vch_rc rc = rm_get(l, &a, path.text, RM_SMALL_MAX, err);
    if (rc == VCH_OK) rc = rm_place_get(&place, vch_buf_slice(&a.answer), err);
    rm_free(&a, 1);
    rm_end(l);
    VCH_TRY(rc);
    *ret_index = place.index;
    if (ret_statement) *ret_statement = place.statement;
    return VCH_OK;
}

/* ---- subjects ---------------------------------------------------------------------------------------- */

vch_rc nd_remote_subject(vch_ledger_t *l, const vch_id_t *dataset, uint32_t subject, const vch_signer_t *owner,
                         rm_subject_t *ret, vch_err_t *err)
{
    rm_ask_t a;
    rm_path_t path = rm_path("/v1/subject?dataset=");
    rm_path_hex(&path, dataset->b, 32);
    rm_path_add(&path, "&subject=");
    rm_path_uint(&path, subject);
    VCH_TRY(rm_begin(l, err));
    a = (rm_ask_t){.path = path.text, .max = RM_SMALL_MAX, .who = owner};
    rm_ask(l, &a, 1);
    vch_rc rc = a.rc;
    if (rc != VCH_OK && err) *err = a.err;
    if (rc == VCH_OK) rc = rm_subject_get(ret, vch_buf_slice(&a.answer), err);
    if (rc == VCH_OK && ret->subject != subject)
        rc = vch_fail(err, VCH_ERR_FORMAT, "the node tells of subject %u instead of %u", ret->subject, subject);
    rm_free(&a, 1);
    rm_end(l);
    return rc;
}

vch_rc nd_remote_person(vch_ledger_t *l, const char *dataset, const char *person, uint32_t *ret, vch_err_t *err)
{
    rm_ask_t a;
    uint64_t subject = 0;
    rm_path_t path = rm_path("/v1/subject?dataset=");
    rm_path_value(&path, dataset);
    rm_path_add(&path, "&person=");
    rm_path_value(&path, person);
    VCH_TRY(rm_path_check(&path, err));
    VCH_TRY(rm_begin(l, err));
    vch_rc rc = rm_get(l, &a, path.text, RM_SMALL_MAX, err);
    if (rc == VCH_OK) rc = rm_number_get(&subject, "subject", vch_buf_slice(&a.answer), err);
    if (rc == VCH_OK && subject > UINT32_MAX) rc = vch_fail(err, VCH_ERR_FORMAT, "no subject has such a number");
    rm_free(&a, 1);
    rm_end(l);
    if (rc == VCH_OK) *ret = (uint32_t)subject;
    return rc;
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

vch_rc nd_remote_records(vch_ledger_t *l, uint64_t from, uint64_t to, vch_buf_t *ret, vch_err_t *err)
{
    rm_path_t path = rm_path("/v1/records?from=");
    rm_path_uint(&path, from);
    rm_path_add(&path, "&to=");
    rm_path_uint(&path, to);
    return vch_remote_get(l, path.text, ret, err);
}

static vch_rc put_bundle_question(vch_buf_t *b, const char *what, const char *id)
{
    VCH_TRY(vch_buf_printf(b, "{\"what\":"));
    VCH_TRY(vch_json_put_string(b, vch_str(what)));
    VCH_TRY(vch_buf_printf(b, ",\"id\":"));
    VCH_TRY(vch_json_put_string(b, vch_str(id)));
    return vch_buf_u8(b, '}');
}

/* Judged here, by whom this handle believes, before it becomes a file. */
static vch_rc judge_bundle(vch_ledger_t *l, vch_slice_t bundle, vch_err_t *err)
{
    vch_report_t report;
    const vch_buf_t *trust = &l->remote->trust_text;
    size_t n = bundle.n + (16u << 20);
    void *arena = vch_alloc(n);
    if (!arena) return no_memory(err);
    vch_rc rc = vch_bundle_verify(&report, bundle.p, bundle.n, (const char *)trust->p, trust->n, NULL, arena, n, err);
    vch_free(arena);
    if (rc != VCH_OK || report.status != VCH_VERIFY_FAIL) return rc;
    return vch_fail(err, VCH_ERR_COMMITMENT, "the node's evidence does not verify (%s): %.200s",
                    vch_verify_code(report.code), report.detail);
}

static vch_rc fetch_bundle(vch_ledger_t *l, vch_slice_t question, const char *path, vch_err_t *err)
{
    rm_ask_t a = {
        .path = "/v1/bundle", .type = "application/json", .body = question, .max = VCH_BUNDLE_BYTES_MAX, .heavy = true};
    VCH_TRY(rm_begin(l, err));
    rm_ask(l, &a, 1);
    vch_rc rc = a.rc;
    if (rc != VCH_OK && err) *err = a.err;
    if (rc == VCH_OK) rc = judge_bundle(l, vch_buf_slice(&a.answer), err);
    if (rc == VCH_OK) rc = vch_write_atomic(l->port, path, vch_buf_slice(&a.answer), 0600, err);
    rm_free(&a, 1);
    rm_end(l);
    return rc;
}

vch_rc nd_remote_bundle(vch_ledger_t *l, const char *what, const char *id, const char *path, vch_err_t *err)
{
    vch_buf_t question;
    vch_buf_init(&question, RM_PATH_MAX);
    vch_rc rc = put_bundle_question(&question, what, id);
    if (rc != VCH_OK)
        (void)vch_fail(err, rc, "the question can't be written: %s", vch_rc_text(rc));
    else
        rc = fetch_bundle(l, vch_buf_slice(&question), path, err);
    vch_buf_free(&question);
    return rc;
}
