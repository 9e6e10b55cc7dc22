/* SPDX-License-Identifier: Apache-2.0 */
#include "entry/receipt.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "codec/text.h"
#include "entry/entry.h"
#include "entry/note_int.h"

#define HEADER "vouchsafe-receipt@v1"
#define SIGNED_HEADER "vouchsafe/receipt/v1"

/* ---- the tree of a batch ------------------------------------------------------- */

static void place_leaf(vch_hash_t *ret, const vch_id_t *entry, uint64_t index)
{
    uint8_t data[40];
    memcpy(data, entry->b, 32);
    vch_put_u64(data + 32, index);
    vch_tree_leaf(ret, vch_slice(data, sizeof data));
}

static size_t nodes_of(size_t n)
{
    size_t total = n;
    for (; n > 1; total += n) n = n / 2 + n % 2;
    return total;
}

/* Level above level; a last node without a partner moves up unchanged (RFC
 * 6962 section 2.1). */
static void grow(vch_hash_t *level, size_t n)
{
    while (n > 1) {
        vch_hash_t *above = level + n;
        vch_sha256_nodes(above, level, n / 2);
        if (n % 2) above[n / 2] = level[n - 1];
        n = n / 2 + n % 2;
        level = above;
    }
}

vch_rc vch_promises_make(vch_promises_t *ret, const vch_placed_t *place, size_t n)
{
    if (n == 0 || n > VCH_RECEIPT_BATCH_MAX) return VCH_ERR_LIMIT;
    vch_hash_t *node = vch_alloc_array(nodes_of(n), sizeof *node);
    if (!node) return VCH_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) place_leaf(&node[i], &place[i].entry, place[i].index);
    grow(node, n);
    *ret = (vch_promises_t){.place = place, .n = n, .node = node};
    return VCH_OK;
}

void vch_promises_free(vch_promises_t *p)
{
    vch_free(p->node);
    *p = (vch_promises_t){.n = 0};
}

static size_t path_of(vch_hash_t ret[VCH_PATH_HASHES_MAX], const vch_promises_t *p, size_t i)
{
    size_t count = 0;
    const vch_hash_t *level = p->node;
    for (size_t n = p->n; n > 1; i /= 2) {
        if ((i ^ 1) < n) ret[count++] = level[i ^ 1];
        level += n;
        n = n / 2 + n % 2;
    }
    return count;
}

/* ---- writing ---------------------------------------------------------------------- */

static vch_rc put_hex_line(vch_buf_t *b, const char *name, const uint8_t hash[32])
{
    char hex[65];
    vch_hex(hex, hash, 32);
    return vch_buf_printf(b, "%s%s\n", name, hex);
}

static vch_rc put_hash_line(vch_buf_t *b, const vch_hash_t *hash)
{
    VCH_TRY(vch_base64_put(b, hash->b, sizeof hash->b));
    return vch_buf_u8(b, '\n');
}

static vch_rc put_signed_text(vch_buf_t *b, const vch_promises_t *p, const char *origin, const vch_hash_t *network,
                              uint64_t by_ms)
{
    VCH_TRY(vch_buf_printf(b, SIGNED_HEADER "\n%s\n", origin));
    VCH_TRY(put_hex_line(b, "", network->b));
    VCH_TRY(vch_buf_printf(b, "%zu\n", p->n));
    VCH_TRY(put_hash_line(b, &p->node[nodes_of(p->n) - 1]));
    return vch_buf_printf(b, "by %" PRIu64 "\n", by_ms);
}

vch_rc vch_promise_sign(vch_buf_t *ret_note, const vch_promises_t *p, const char *origin, const vch_hash_t *network,
                        uint64_t by_ms, const vch_signer_t *log_key)
{
    vch_buf_t text;
    if (strchr(origin, '\n')) return VCH_ERR_FORMAT;
    size_t start = ret_note->n;
    vch_buf_init(&text, VCH_NOTE_BYTES_MAX);
    vch_rc rc = put_signed_text(&text, p, origin, network, by_ms);
    if (rc == VCH_OK) rc = vch_buf_put(ret_note, text.p, text.n);
    if (rc == VCH_OK) rc = vch_buf_u8(ret_note, '\n');
    if (rc == VCH_OK) rc = vch_note_sign(ret_note, vch_buf_slice(&text), origin, log_key);
    if (rc != VCH_OK) ret_note->n = start;
    vch_buf_free(&text);
    return rc;
}

static vch_rc write_lines(vch_buf_t *b, const vch_promise_t *p)
{
    VCH_TRY(vch_buf_printf(b, HEADER "\n"));
    VCH_TRY(put_hex_line(b, "entry ", p->entry.b));
    VCH_TRY(vch_buf_printf(b, "index %" PRIu64 "\nposition %" PRIu64 "\n", p->index, p->position));
    for (size_t i = 0; i < p->path_n; i++) VCH_TRY(put_hash_line(b, &p->path[i]));
    VCH_TRY(vch_buf_u8(b, '\n'));
    return vch_buf_put(b, p->note.p, p->note.n);
}

vch_rc vch_promise_write(vch_buf_t *ret, const vch_promise_t *p)
{
    size_t start = ret->n;
    vch_rc rc = write_lines(ret, p);
    if (rc != VCH_OK) ret->n = start;
    return rc;
}

vch_rc vch_promise_put(vch_buf_t *ret, const vch_promises_t *p, size_t i, vch_slice_t note)
{
    vch_promise_t one;
    if (i >= p->n) return VCH_ERR_USAGE;
    one.entry = p->place[i].entry;
    one.index = p->place[i].index;
    one.position = i;
    one.path_n = path_of(one.path, p, i);
    one.note = note;
    return vch_promise_write(ret, &one);
}

/* ---- reading ----------------------------------------------------------------------- */

bool vch_promise_is(vch_slice_t file) { return vch_note__cut(&file, HEADER "\n"); }

/* One spelling only: lower case. */
static vch_rc get_hex(uint8_t ret[32], vch_slice_t digits)
{
    char again[65];
    if (!vch_unhex(ret, 32, (const char *)digits.p, digits.n)) return VCH_ERR_FORMAT;
    vch_hex(again, ret, 32);
    return memcmp(again, digits.p, 64) == 0 ? VCH_OK : VCH_ERR_FORMAT;
}

/* "name value": the value. */
static vch_rc get_value(vch_slice_t *rest, const char *name, vch_slice_t *ret)
{
    if (!vch_note__line(rest, ret) || !vch_note__cut(ret, name)) return VCH_ERR_FORMAT;
    return VCH_OK;
}

static vch_rc get_path(vch_promise_t *p, vch_slice_t *rest)
{
    vch_slice_t line;
    for (p->path_n = 0;; p->path_n++) {
        if (!vch_note__line(rest, &line)) return VCH_ERR_FORMAT;
        if (line.n == 0) return VCH_OK;
        if (p->path_n == VCH_PATH_HASHES_MAX) return VCH_ERR_LIMIT;
        VCH_TRY(vch_base64_fixed(p->path[p->path_n].b, VCH_HASH_LEN, line));
    }
}

static vch_rc get_signed_text(vch_promise_t *p, vch_slice_t text)
{
    vch_slice_t line;
    if (!vch_note__line(&text, &line) || !vch_slice_eq(line, vch_str(SIGNED_HEADER))) return VCH_ERR_FORMAT;
    if (!vch_note__line(&text, &p->origin) || p->origin.n == 0) return VCH_ERR_FORMAT;
    VCH_TRY(get_value(&text, "", &line));
    VCH_TRY(get_hex(p->network.b, line));
    VCH_TRY(get_value(&text, "", &line));
    VCH_TRY(vch_decimal_get(&p->count, line));
    VCH_TRY(get_value(&text, "", &line));
    VCH_TRY(vch_base64_fixed(p->root.b, VCH_HASH_LEN, line));
    VCH_TRY(get_value(&text, "by ", &line));
    VCH_TRY(vch_decimal_get(&p->by_ms, line));
    if (p->count > VCH_RECEIPT_BATCH_MAX) return VCH_ERR_LIMIT;
    return text.n == 0 && p->position < p->count ? VCH_OK : VCH_ERR_FORMAT;
}

vch_rc vch_promise_get(vch_promise_t *ret, vch_slice_t file)
{
    vch_promise_t p;
    vch_note_t note;
    vch_slice_t rest = file, line;
    if (file.n > VCH_RECEIPT_BYTES_MAX) return VCH_ERR_LIMIT;
    if (!vch_note__cut(&rest, HEADER "\n")) return VCH_ERR_FORMAT;
    VCH_TRY(get_value(&rest, "entry ", &line));
    VCH_TRY(get_hex(p.entry.b, line));
    VCH_TRY(get_value(&rest, "index ", &line));
    VCH_TRY(vch_decimal_get(&p.index, line));
    VCH_TRY(get_value(&rest, "position ", &line));
    VCH_TRY(vch_decimal_get(&p.position, line));
    VCH_TRY(get_path(&p, &rest));
    p.note = rest;
    VCH_TRY(vch_note_get(&note, rest));
    VCH_TRY(get_signed_text(&p, note.text));
    *ret = p;
    return VCH_OK;
}

/* ---- judging ------------------------------------------------------------------------- */

VCH_PRINTF(4, 5)
static void find(vch_promise_finding_t *f, vch_promise_verdict_t verdict, vch_verify_code_t code, const char *fmt, ...)
{
    va_list args;
    f->verdict = verdict;
    f->code = code;
    va_start(args, fmt);
    (void)vsnprintf(f->why, sizeof f->why, fmt, args);
    va_end(args);
}

static void doubt(vch_promise_finding_t *f, vch_verify_code_t code, const char *why)
{
    find(f, VCH_PROMISE_INCONCLUSIVE, code, "%s", why);
}

/* Is the receipt itself the log's word?  A finding where it isn't. */
static bool is_signed(const vch_promise_t *p, const vch_trust_t *trust, vch_promise_finding_t *f)
{
    vch_note_t note;
    bool known = false, good = false, bad = vch_note_get(&note, p->note) != VCH_OK;
    for (size_t i = 0; !bad && i < trust->logs; i++) {
        vch_sig_state_t state = vch_note_verify(&note, &trust->log[i], NULL);
        bool its = vch_slice_eq(trust->log[i].name, p->origin);
        bad = state == VCH_SIG_BAD;
        known = known || its;
        good = good || (its && state == VCH_SIG_GOOD);
    }
    if (bad)
        find(f, VCH_PROMISE_FORGED, VCH_V_F_RECEIPT, "the log's signature under it does not verify");
    else if (!known)
        doubt(f, VCH_V_I_LOG, "the trust policy names no log of the receipt's origin");
    else if (!good)
        find(f, VCH_PROMISE_FORGED, VCH_V_F_RECEIPT, "the log that it names did not sign it");
    return !bad && good;
}

static bool is_in_batch(const vch_promise_t *p, vch_promise_finding_t *f)
{
    vch_hash_t leaf;
    place_leaf(&leaf, &p->entry, p->index);
    if (vch_inclusion_verify(p->position, p->count, &leaf, p->path, p->path_n, &p->root)) return true;
    find(f, VCH_PROMISE_FORGED, VCH_V_F_RECEIPT, "the log signed for other entries than this one");
    return false;
}

/* What is shown besides the receipt. */
typedef struct {
    bool is_proof;
    vch_tlog_proof_t proof;
    vch_checkpoint_t checkpoint;
    vch_trust_result_t trust;
} shown_t;

/* A checkpoint of the receipt's log by its own signature, or a finding. */
static vch_rc read_shown(const vch_promise_t *p, const vch_trust_t *trust, vch_slice_t evidence, shown_t *s,
                         vch_promise_finding_t *f)
{
    vch_note_t note;
    s->is_proof = vch_tlog_proof_get(&s->proof, evidence) == VCH_OK;
    if (vch_note_get(&note, s->is_proof ? s->proof.note : evidence) != VCH_OK ||
        vch_checkpoint_get(&s->checkpoint, note.text) != VCH_OK) {
        doubt(f, VCH_V_I_MISSING, "what is shown beside it is neither a tlog-proof nor a signed checkpoint");
        return VCH_ERR_DENIED;
    }
    VCH_TRY(vch_trust_judge(trust, &note, &s->checkpoint, &s->trust));
    if (s->trust.forged)
        doubt(f, VCH_V_I_LOG, "a signature under the checkpoint shown does not verify");
    else if (!vch_slice_eq(s->checkpoint.origin, p->origin))
        doubt(f, VCH_V_I_LOG, "the checkpoint shown is of another log");
    else if (!s->trust.log_known)
        doubt(f, VCH_V_I_LOG, "the log did not sign the checkpoint shown");
    else
        return VCH_OK;
    return VCH_ERR_DENIED;
}

/* The log doesn't reach the place: too late for that, and seen by a quorum? */
static void judge_short(const vch_promise_t *p, const shown_t *s, vch_promise_finding_t *f)
{
    if (!s->trust.wants_witness)
        doubt(f, VCH_V_I_TIME, "the log shown ends before the place, but no witness says when that was");
    else if (!s->trust.quorum)
        doubt(f, VCH_V_I_QUORUM, "the log shown ends before the place, but no quorum of witnesses says when that was");
    else if (s->trust.quorum_time <= p->by_ms / 1000 + VCH_RECEIPT_GRACE_S)
        doubt(f, VCH_V_I_TIME,
              "the log shown ends before the place, but five minutes after the promised time had not "
              "passed");
    else
        find(f, VCH_PROMISE_BROKEN, VCH_V_F_PROMISE,
             "a quorum saw the log end at %" PRIu64 " when entry %" PRIu64 " was promised to stand", s->checkpoint.size,
             p->index);
}

/* The leaf that stands at the place, out of the proof's extra data. */
static bool read_leaf(const vch_promise_t *p, const shown_t *s, uint8_t leaf[VCH_ENTRY_BYTES_MAX], size_t *ret_n)
{
    vch_hash_t hash;
    size_t n;
    if (!s->proof.extra.n || !vch_note__base64_ok(s->proof.extra, &n) || n > VCH_ENTRY_BYTES_MAX) return false;
    if (vch_base64_fixed(leaf, n, s->proof.extra) != VCH_OK) return false;
    vch_tree_leaf(&hash, vch_slice(leaf, n));
    *ret_n = n;
    return vch_inclusion_verify(p->index, s->checkpoint.size, &hash, s->proof.path, s->proof.n, &s->checkpoint.root);
}

static void judge_leaf(const vch_promise_t *p, const shown_t *s, vch_promise_finding_t *f)
{
    uint8_t leaf[VCH_ENTRY_BYTES_MAX];
    vch_entry_t e;
    size_t n = 0;
    if (!read_leaf(p, s, leaf, &n))
        doubt(f, VCH_V_I_MISSING, "the proof shown does not carry a leaf that stands in the log");
    else if (vch_entry_read(&e, vch_slice(leaf, n), NULL) != VCH_OK || !vch_id_eq(&e.id, &p->entry))
        find(f, VCH_PROMISE_BROKEN, VCH_V_F_PROMISE, "another entry stands at %" PRIu64, p->index);
    else if (!s->trust.quorum)
        doubt(f, VCH_V_I_QUORUM, "the entry stands at its place, but the policy's quorum of witnesses is not met");
    else
        find(f, VCH_PROMISE_KEPT, VCH_V_OK, "the entry stands at %" PRIu64 " of %" PRIu64, p->index,
             s->checkpoint.size);
}

vch_rc vch_promise_judge(const vch_promise_t *p, const vch_trust_t *trust, vch_slice_t evidence,
                         vch_promise_finding_t *ret)
{
    vch_promise_finding_t f = {.verdict = VCH_PROMISE_INCONCLUSIVE, .code = VCH_V_I_MISSING};
    shown_t s;
    if (!is_signed(p, trust, &f) || !is_in_batch(p, &f)) {
        *ret = f;
        return VCH_OK;
    }
    if (evidence.n == 0) {
        doubt(&f, VCH_V_I_MISSING, "the log signed it; nothing is shown of the log itself");
    } else if (read_shown(p, trust, evidence, &s, &f) == VCH_OK) {
        f.size = s.checkpoint.size;
        f.witness_s = s.trust.wants_witness && s.trust.quorum ? s.trust.quorum_time : 0;
        if (s.checkpoint.size <= p->index)
            judge_short(p, &s, &f);
        else if (!s.is_proof || s.proof.index != p->index)
            doubt(&f, VCH_V_I_MISSING, "the log reaches the place; a proof of that entry would show what stands there");
        else
            judge_leaf(p, &s, &f);
    }
    *ret = f;
    return VCH_OK;
}
