/* SPDX-License-Identifier: Apache-2.0 */
/* A leaf has one reading: an entry's id is blind to its signature and to
 * nothing else, and whatever the ledger itself writes is written back the same,
 * an own access's state value too. */
#include <assert.h>

#include "entry/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_kind(vch_slice_t leaf, vch_kind_t expected)
{
    vch_kind_t kind = 0;
    vch_rc rc = vch_leaf_kind(&kind, leaf);
    assert(rc == VCH_OK && kind == expected);
}

/* The signature is a COSE_Sign1's last 64 bytes (RFC 9052 section 4.2); the
 * bytes given are the root's place in the payload. */
static void check_id(const vch_entry_t *e, vch_slice_t leaf)
{
    vch_entry_t again;
    uint8_t *copy = vch_alloc(leaf.n);
    assert(copy);
    memcpy(copy, leaf.p, leaf.n);
    copy[leaf.n - 1] ^= 1;
    vch_rc rc = vch_entry_read(&again, vch_slice(copy, leaf.n), NULL);
    assert(rc == VCH_OK && vch_id_eq(&again.id, &e->id));
    vch_slice_t root;
    rc = vch_field_bytes(e->cose.payload, 4, &root);
    assert(rc == VCH_OK);
    copy[root.p - leaf.p] ^= 1;
    rc = vch_entry_read(&again, vch_slice(copy, leaf.n), NULL);
    assert(rc == VCH_OK && !vch_id_eq(&again.id, &e->id));
    vch_free(copy);
}

static void as_entry(vch_slice_t leaf)
{
    vch_entry_t e;
    vch_err_t err = {0};
    vch_rc rc = vch_entry_read(&e, leaf, &err);
    assert(rc == err.rc && (rc == VCH_OK) == (err.text[0] == 0) && !strchr(err.text, '\n'));
    if (rc != VCH_OK) return;
    assert(vch_schema(e.kind) && e.sequence >= 1 && e.count >= 1 && e.count <= VCH_TX_STATEMENTS_MAX);
    check_kind(leaf, e.kind);
    check_id(&e, leaf);
}

static void as_unsigned(vch_slice_t leaf, vch_buf_t *out)
{
    static vch_state_commit_t commit;
    static vch_outcome_t outcome;
    static vch_decision_t decision;
    static vch_own_value_t own;
    vch_rc rc = VCH_ERR_FORMAT;
    if (vch_state_commit_get(&commit, leaf) == VCH_OK) {
        check_kind(leaf, VCH_KIND_STATE_COMMIT);
        rc = vch_state_commit_put(out, &commit);
    } else if (vch_outcome_get(&outcome, leaf) == VCH_OK) {
        check_kind(leaf, VCH_KIND_OUTCOME);
        rc = vch_outcome_put(out, &outcome);
    } else if (vch_decision_get(&decision, leaf) == VCH_OK) {
        rc = vch_decision_put(out, &decision);
    } else if (vch_own_get(&own, leaf) == VCH_OK) {
        assert(own.key.n >= 34 && own.key.n <= VCH_PUBKEY_MAX);
        rc = vch_own_put(out, &own);
    } else {
        return;
    }
    assert(rc == VCH_OK && vch_slice_eq(vch_buf_slice(out), leaf));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_buf_t out;
    vch_kind_t ignored;
    vch_slice_t leaf = vch_slice(data, n);
    as_entry(leaf);
    vch_buf_init(&out, n + 64);
    as_unsigned(leaf, &out);
    vch_buf_free(&out);
    if (vch_leaf_kind(&ignored, leaf) != VCH_OK) return 0;
    assert(ignored == VCH_KIND_STATE_COMMIT || ignored == VCH_KIND_OUTCOME || vch_schema(ignored));
    return 0;
}
