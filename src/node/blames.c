/* SPDX-License-Identifier: Apache-2.0 */
/* Proofs against trustees: kept when a fetch made them, listed, judged.
 *
 *   blame/<first 32 hex digits of its SHA-256>.blame    one proof (docs/formats/vault-keys.md)
 *
 * In the ledger's directory, or the memory of a remote handle. */
#include <stdio.h>

#include "crypto/sha256.h"
#include "node/node_int.h"
#include "node/vault_int.h"

#define BLAME_MAX 16384u

/* ---- keeping ---------------------------------------------------------------------------- */

vch_rc nd_blame_keep(vch_ledger_t *l, vch_slice_t proof, vch_err_t *err)
{
    char dir[VCH_PATH_MAX], path[VCH_PATH_MAX], hex[65];
    vch_hash_t hash;
    vch_sha256(&hash, proof.p, proof.n);
    vch_hex(hex, hash.b, 32);
    hex[32] = 0;
    vch_rc rc = vch_path(dir, "%s/blame", l->dir);
    if (rc == VCH_OK) rc = vch_path(path, "%s/%s.blame", dir, hex);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    VCH_TRY(vch_mkdirs(l->port, dir, err));
    VCH_TRY(vch_write_atomic(l->port, path, proof, 0600, err));
    nd_note(l, "a trustee answered wrong seeds; the proof is in %.160s", path);
    return VCH_OK;
}

/* ---- judging ------------------------------------------------------------------------------ */

typedef struct {
    vch_keyid_t accused;
    vch_root_t root;
    vch_seeds_answer_t answer;
} named_t;

/* Whom it names and what about, nothing checked. */
static vch_rc read_names(const vch_blame_t *b, named_t *ret)
{
    vch_cose_t root, answer;
    VCH_TRY(vch_cose_read(&root, b->root));
    VCH_TRY(vch_cose_read(&answer, b->answer));
    ret->accused = root.kid;
    VCH_TRY(vch_root_get(&ret->root, root.payload));
    return vch_answer_get(&ret->answer, answer.payload);
}

static vch_rc put_hex(vch_buf_t *b, const char *name, const uint8_t bytes[32])
{
    char hex[65];
    vch_hex(hex, bytes, 32);
    return vch_buf_printf(b, "\"%s\":\"%s\",", name, hex);
}

static vch_rc put_judged(vch_buf_t *b, const vch_blame_t *blame, const named_t *n, vch_rc verdict)
{
    VCH_TRY(vch_buf_u8(b, '{'));
    VCH_TRY(put_hex(b, "accused", n->accused.b));
    VCH_TRY(put_hex(b, "extent", n->root.about.extent.b));
    VCH_TRY(put_hex(b, "grant", n->answer.grant.b));
    return vch_buf_printf(b, "\"key tree\":%u,\"group\":%u,\"row\":%u,\"convicts\":%s,\"why\":\"%s\"}", n->root.set,
                          blame->leaf >> VCH_KT_ROW_BITS, blame->leaf % VCH_KT_ROWS_MAX,
                          verdict == VCH_OK ? "true" : "false",
                          verdict == VCH_OK              ? "its key signed a root and a seed that contradict each other"
                          : verdict == VCH_ERR_NOT_FOUND ? "the seed is the root's: nobody is to blame"
                                                         : vch_rc_text(verdict));
}

static vch_rc judge(vch_ledger_t *l, vch_slice_t proof, vch_buf_t *ret, bool *ret_convicts, vch_err_t *err)
{
    named_t *n = vch_alloc(sizeof *n);
    vch_blame_t *b = vch_alloc(sizeof *b);
    vch_pubkey_t key;
    vch_rc rc = n && b ? vch_blame_get(b, proof) : VCH_ERR_MEMORY;
    if (rc == VCH_OK) rc = read_names(b, n);
    if (rc != VCH_OK) {
        rc = vch_fail(err, rc, rc == VCH_ERR_MEMORY ? "out of memory" : "not a proof against a trustee");
    } else {
        vch_rc verdict = vch_vault_key(l, &n->accused, &key, NULL);
        if (verdict == VCH_ERR_NOT_FOUND) verdict = VCH_ERR_KEY;
        if (verdict == VCH_OK) verdict = vch_blame_verify(b, &key, &l->network);
        *ret_convicts = verdict == VCH_OK;
        rc = put_judged(ret, b, n, verdict);
        if (rc != VCH_OK) rc = vch_fail(err, rc, "out of memory");
    }
    vch_free(n);
    vch_free(b);
    return rc;
}

/* On a remote handle the network is known once it was asked. */
static vch_rc know_network(vch_ledger_t *l, vch_err_t *err)
{
    VCH_TRY(vch_look_begin(l, err));
    vch_look_end(l);
    return VCH_OK;
}

vch_rc vch_blame_judge(vch_ledger_t *l, const uint8_t *proof, size_t n, int *ret_convicts, vch_text_t *ret_json,
                       vch_err_t *err)
{
    vch_buf_t b;
    bool convicts = false;
    VCH_TRY(know_network(l, err));
    vch_buf_init(&b, 1u << 16);
    vch_rc rc = judge(l, vch_slice(proof, n), &b, &convicts, err);
    if (rc == VCH_OK && vch_text_take(ret_json, &b) != VCH_OK) rc = vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    if (rc == VCH_OK) *ret_convicts = convicts;
    vch_buf_free(&b);
    return nd_told(rc, err);
}

/* ---- the list --------------------------------------------------------------------------------- */

typedef struct {
    vch_ledger_t *l;
    vch_buf_t *b;
    unsigned n;
    vch_err_t *err;
} list_t;

static vch_rc put_file(list_t *list, const char *name)
{
    char path[VCH_PATH_MAX];
    vch_buf_t proof;
    bool ignored;
    vch_rc rc = vch_path(path, "%s/blame/%s", list->l->dir, name);
    if (rc != VCH_OK) return vch_fail(list->err, rc, "the path is too long");
    vch_buf_init(&proof, BLAME_MAX);
    rc = vch_read_all(list->l->port, &proof, path, BLAME_MAX, list->err);
    if (rc == VCH_OK &&
        (vch_buf_printf(list->b, "%s{\"file\":", list->n++ ? "," : "") != VCH_OK ||
         vch_json_put_string(list->b, vch_str(path)) != VCH_OK || vch_buf_printf(list->b, ",\"proof\":") != VCH_OK))
        rc = vch_fail(list->err, VCH_ERR_LIMIT, "there are too many proofs to list");
    if (rc == VCH_OK) rc = judge(list->l, vch_buf_slice(&proof), list->b, &ignored, list->err);
    if (rc == VCH_OK && vch_buf_u8(list->b, '}') != VCH_OK) rc = VCH_ERR_LIMIT;
    vch_buf_free(&proof);
    return rc;
}

static vch_rc one_file(void *ctx, const char *name)
{
    size_t n = strlen(name);
    return n == 38 && strcmp(name + 32, ".blame") == 0 ? put_file(ctx, name) : VCH_OK;
}

vch_rc vch_blame_list(vch_ledger_t *l, vch_text_t *ret_json, vch_err_t *err)
{
    char dir[VCH_PATH_MAX];
    vch_buf_t b;
    list_t list = {.l = l, .b = &b, .err = err};
    VCH_TRY(know_network(l, err));
    if (vch_path(dir, "%s/blame", l->dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    vch_buf_init(&b, 16u << 20);
    vch_rc rc = vch_buf_u8(&b, '[');
    if (rc == VCH_OK) rc = l->port->disk->list(l->port, dir, one_file, &list);
    if (rc == VCH_ERR_NOT_FOUND) rc = VCH_OK; /* no fetch ever made one */
    if (rc == VCH_OK) rc = vch_buf_u8(&b, ']');
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &b);
    vch_buf_free(&b);
    return nd_told(rc, err);
}
