/* SPDX-License-Identifier: Apache-2.0 */
#include "entry/note_int.h"

#include <inttypes.h>

#include "codec/text.h"

#define PROOF_HEADER "c2sp.org/tlog-proof@v1"

/* ---- checkpoint (tlog-checkpoint, "Note text") ------------------------------- */

/* Extension lines are allowed, empty ones are not. */
static bool extension_ok(vch_slice_t rest)
{
    vch_slice_t line;
    while (vch_note__line(&rest, &line))
        if (line.n == 0) return false;
    return rest.n == 0;
}

vch_rc vch_checkpoint_get(vch_checkpoint_t *ret, vch_slice_t text)
{
    vch_checkpoint_t c;
    vch_slice_t rest = text, size, root;
    if (text.n > VCH_NOTE_BYTES_MAX) return VCH_ERR_LIMIT;
    if (!vch_note__text_ok(text)) return VCH_ERR_FORMAT;
    if (!vch_note__line(&rest, &c.origin) || !vch_note__line(&rest, &size) || !vch_note__line(&rest, &root))
        return VCH_ERR_FORMAT;
    if (c.origin.n == 0 || !extension_ok(rest)) return VCH_ERR_FORMAT;
    VCH_TRY(vch_decimal_get(&c.size, size));
    VCH_TRY(vch_base64_fixed(c.root.b, sizeof c.root.b, root));
    c.extension = rest;
    *ret = c;
    return VCH_OK;
}

vch_rc vch_checkpoint_put(vch_buf_t *ret, const char *origin, uint64_t size, const vch_hash_t *root)
{
    vch_slice_t name = vch_str(origin);
    if (name.n == 0 || !vch_note__text_ok(name) || memchr(name.p, '\n', name.n)) return VCH_ERR_FORMAT;
    size_t start = ret->n;
    vch_rc rc = vch_buf_printf(ret, "%s\n%" PRIu64 "\n", origin, size);
    if (rc == VCH_OK) rc = vch_base64_put(ret, root->b, sizeof root->b);
    if (rc == VCH_OK) rc = vch_buf_u8(ret, '\n');
    if (rc != VCH_OK) ret->n = start;
    return rc;
}

/* ---- tlog-proof ("Format") ------------------------------------------------------ */

/* Hash lines up to and with the empty line before the checkpoint. */
static vch_rc get_path(vch_hash_t *path, size_t max, size_t *ret_n, vch_slice_t *rest)
{
    vch_slice_t line;
    for (size_t n = 0;; n++) {
        if (!vch_note__line(rest, &line)) return VCH_ERR_FORMAT;
        *ret_n = n;
        if (line.n == 0) return VCH_OK;
        if (n == max) return VCH_ERR_LIMIT;
        VCH_TRY(vch_base64_fixed(path[n].b, VCH_HASH_LEN, line));
    }
}

static vch_rc put_path(vch_buf_t *ret, const vch_hash_t *path, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        VCH_TRY(vch_base64_put(ret, path[i].b, VCH_HASH_LEN));
        VCH_TRY(vch_buf_u8(ret, '\n'));
    }
    return vch_buf_u8(ret, '\n');
}

vch_rc vch_tlog_proof_get(vch_tlog_proof_t *ret, vch_slice_t text)
{
    vch_tlog_proof_t p;
    vch_slice_t rest = text, line;
    size_t n;
    if (!vch_note__line(&rest, &line) || !vch_slice_eq(line, vch_str(PROOF_HEADER))) return VCH_ERR_FORMAT;
    if (!vch_note__line(&rest, &line)) return VCH_ERR_FORMAT;
    p.extra = vch_slice(NULL, 0);
    if (vch_note__cut(&line, "extra ")) {
        if (!vch_note__base64_ok(line, &n) || n == 0) return VCH_ERR_FORMAT; /* without data the line is left out */
        p.extra = line;
        if (!vch_note__line(&rest, &line)) return VCH_ERR_FORMAT;
    }
    if (!vch_note__cut(&line, "index ")) return VCH_ERR_FORMAT;
    VCH_TRY(vch_decimal_get(&p.index, line));
    VCH_TRY(get_path(p.path, sizeof p.path / sizeof p.path[0], &p.n, &rest));
    if (rest.n == 0) return VCH_ERR_FORMAT;
    if (rest.n > VCH_NOTE_BYTES_MAX) return VCH_ERR_LIMIT;
    p.note = rest;
    memcpy(&ret->path, p.path, p.n * sizeof p.path[0]);
    ret->index = p.index;
    ret->n = p.n;
    ret->extra = p.extra;
    ret->note = p.note;
    return VCH_OK;
}

static vch_rc put_proof(vch_buf_t *ret, uint64_t index, const vch_hash_t *path, size_t n, vch_slice_t extra,
                        vch_slice_t note)
{
    VCH_TRY(vch_buf_printf(ret, PROOF_HEADER "\n"));
    if (extra.n) {
        VCH_TRY(vch_buf_printf(ret, "extra "));
        VCH_TRY(vch_base64_put(ret, extra.p, extra.n));
        VCH_TRY(vch_buf_u8(ret, '\n'));
    }
    VCH_TRY(vch_buf_printf(ret, "index %" PRIu64 "\n", index));
    VCH_TRY(put_path(ret, path, n));
    return vch_buf_put(ret, note.p, note.n);
}

vch_rc vch_tlog_proof_put(vch_buf_t *ret, uint64_t index, const vch_hash_t *path, size_t n, vch_slice_t extra,
                          vch_slice_t note)
{
    if (note.n == 0) return VCH_ERR_FORMAT;
    if (n > 64 || note.n > VCH_NOTE_BYTES_MAX) return VCH_ERR_LIMIT;
    size_t start = ret->n;
    vch_rc rc = put_proof(ret, index, path, n, extra, note);
    if (rc != VCH_OK) ret->n = start;
    return rc;
}

/* ---- tlog-witness ("add-checkpoint") ---------------------------------------------- */

vch_rc vch_witness_ask_get(vch_witness_ask_t *ret, vch_slice_t body)
{
    vch_witness_ask_t a;
    vch_slice_t rest = body, line;
    if (body.n > VCH_ASK_BYTES_MAX) return VCH_ERR_LIMIT;
    if (!vch_note__line(&rest, &line) || !vch_note__cut(&line, "old ")) return VCH_ERR_FORMAT;
    VCH_TRY(vch_decimal_get(&a.old, line));
    VCH_TRY(get_path(a.path, VCH_ASK_HASHES_MAX, &a.n, &rest));
    if (rest.n == 0) return VCH_ERR_FORMAT;
    if (rest.n > VCH_NOTE_BYTES_MAX) return VCH_ERR_LIMIT;
    a.note = rest;
    *ret = a;
    return VCH_OK;
}

static vch_rc put_ask(vch_buf_t *ret, uint64_t old, const vch_hash_t *path, size_t n, vch_slice_t note)
{
    VCH_TRY(vch_buf_printf(ret, "old %" PRIu64 "\n", old));
    VCH_TRY(put_path(ret, path, n));
    return vch_buf_put(ret, note.p, note.n);
}

vch_rc vch_witness_ask_put(vch_buf_t *ret, uint64_t old, const vch_hash_t *path, size_t n, vch_slice_t note)
{
    if (note.n == 0) return VCH_ERR_FORMAT;
    if (n > VCH_ASK_HASHES_MAX || note.n > VCH_NOTE_BYTES_MAX) return VCH_ERR_LIMIT;
    size_t start = ret->n;
    vch_rc rc = put_ask(ret, old, path, n, note);
    if (rc != VCH_OK) ret->n = start;
    return rc;
}

bool vch_origin_goes_on(vch_slice_t origin, vch_slice_t first)
{
    static const char restored[] = "/restored-";
    const size_t n = sizeof restored - 1;
    if (origin.n < first.n || memcmp(origin.p, first.p, first.n) != 0) return false;
    if (origin.n == first.n) return true;
    return origin.n > first.n + n && memcmp(origin.p + first.n, restored, n) == 0;
}
