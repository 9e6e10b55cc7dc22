/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/jsonl.h"

#include "codec/cbor.h"

/* A tree takes more than its text: at worst some hundred bytes for "0,". */
#define TREE_MAX (64u << 20)
#define NAME_INTEGER_MAX (((int64_t)1 << 53) - 1) /* what every JSON reader keeps exactly (RFC 7493 section 2.2) */

void vch_jsonl_init(vch_jsonl_t *j, size_t bytes_max)
{
    *j = (vch_jsonl_t){.bytes_max = bytes_max};
    vch_buf_init(&j->text, bytes_max + 1); /* and the CR of its end */
    vch_arena_init(&j->arena, TREE_MAX);
}

void vch_jsonl_free(vch_jsonl_t *j)
{
    if (!j) return;
    vch_buf_free(&j->text);
    vch_arena_free(&j->arena);
    *j = (vch_jsonl_t){.failed = true};
}

/* ---- lines ------------------------------------------------------------------------ */

static unsigned long long line_now(const vch_jsonl_t *j) { return (unsigned long long)j->ends + 1; }

static vch_rc too_long(vch_jsonl_t *j, vch_rc rc, vch_err_t *err)
{
    j->failed = true;
    if (rc == VCH_ERR_MEMORY) return vch_fail(err, rc, "JSON Lines, line %llu: out of memory", line_now(j));
    vch_fail(err, VCH_ERR_LIMIT, "JSON Lines, line %llu has more than %zu bytes", line_now(j), j->bytes_max);
    return vch_hint(err, VCH_ERR_LIMIT, "one line is one record: split it, or check that its line ends are there");
}

/* The gathered line is whole.  *ret_done stays false for an empty one. */
static vch_rc end_line(vch_jsonl_t *j, bool *ret_done, vch_err_t *err)
{
    const vch_json_t *value = NULL;
    vch_err_t why = {0};
    vch_slice_t text = vch_buf_slice(&j->text);
    if (text.n && text.p[text.n - 1] == '\r') text.n--;
    if (text.n == 0) return VCH_OK;
    if (text.n > j->bytes_max) return too_long(j, VCH_ERR_LIMIT, err);
    vch_arena_reset(&j->arena);
    vch_rc rc = vch_json_parse(&j->arena, &value, text, &why);
    if (rc == VCH_OK && value->type == VCH_JSON_OBJECT) {
        j->object = value;
        j->line = j->ends + 1;
        *ret_done = true;
        return VCH_OK;
    }
    j->failed = true;
    if (rc != VCH_OK) return vch_fail(err, rc, "JSON Lines, line %llu: %.200s", line_now(j), why.text);
    vch_fail(err, VCH_ERR_FORMAT, "JSON Lines, line %llu: not an object", line_now(j));
    return vch_hint(err, VCH_ERR_FORMAT, "each line is one object: {\"column\":value,...}");
}

vch_rc vch_jsonl_feed(vch_jsonl_t *j, vch_slice_t in, bool last, size_t *ret_eaten, bool *ret_done, vch_err_t *err)
{
    if (j->failed) return vch_fail(err, VCH_ERR_FORMAT, "this JSON Lines input was refused before");
    if (j->object) vch_buf_clear(&j->text);
    j->object = NULL;
    size_t at = 0;
    bool done = false;
    while (at < in.n && !done) {
        const uint8_t *from = in.p + at, *end = memchr(from, '\n', in.n - at);
        size_t n = end ? (size_t)(end - from) : in.n - at;
        vch_rc rc = vch_buf_put(&j->text, from, n);
        if (rc != VCH_OK) return too_long(j, rc, err);
        at += n;
        if (!end) break;
        at++;
        VCH_TRY(end_line(j, &done, err));
        j->ends++;
        if (!done) vch_buf_clear(&j->text);
    }
    if (last && at == in.n && !done && j->text.n) {
        VCH_TRY(end_line(j, &done, err));
        if (!done) vch_buf_clear(&j->text);
    }
    j->offset += at;
    *ret_eaten = at;
    *ret_done = done;
    return VCH_OK;
}

/* ---- cells ------------------------------------------------------------------------ */

static bool has_column(const vch_slice_t *column, size_t n, vch_slice_t name)
{
    for (size_t i = 0; i < n; i++)
        if (vch_slice_eq(column[i], name)) return true;
    return false;
}

static const vch_json_t *member(const vch_json_t *object, vch_slice_t name)
{
    for (const vch_json_t *m = object->first; m; m = m->next)
        if (vch_slice_eq(m->name, name)) return m;
    return NULL;
}

vch_rc vch_jsonl_cells(const vch_jsonl_t *j, const vch_json_t **ret, const vch_slice_t *column, size_t n,
                       vch_err_t *err)
{
    if (!j->object) return vch_fail(err, VCH_ERR_USAGE, "no JSON Lines record is finished");
    for (const vch_json_t *m = j->object->first; m; m = m->next) {
        if (has_column(column, n, m->name)) continue;
        vch_fail(err, VCH_ERR_FORMAT, "JSON Lines, line %llu: there is no column \"%.*s\"", (unsigned long long)j->line,
                 (int)vch_min(m->name.n, 128), (const char *)m->name.p);
        return vch_hint(err, VCH_ERR_FORMAT, "another set of columns is another dataset: create one for it");
    }
    for (size_t i = 0; i < n; i++) ret[i] = member(j->object, column[i]);
    return VCH_OK;
}

vch_rc vch_jsonl_put_cell(vch_buf_t *b, vch_buf_t *scratch, const vch_json_t *value)
{
    if (!value) return vch_cbor_null(b);
    vch_buf_clear(scratch);
    VCH_TRY(vch_jcs_put(scratch, value));
    return vch_cbor_bytes(b, scratch->p, scratch->n); /* whole or not at all */
}

static vch_rc bad_name(const vch_jsonl_t *j, const char *what, const char *why, vch_err_t *err)
{
    return vch_fail(err, VCH_ERR_FORMAT, "JSON Lines, line %llu: the %s %s", (unsigned long long)j->line, what, why);
}

vch_rc vch_jsonl_put_name(const vch_jsonl_t *j, vch_buf_t *b, const vch_json_t *value, const char *what, vch_err_t *err)
{
    if (!value) return bad_name(j, what, "is missing", err);
    vch_rc rc;
    if (value->type == VCH_JSON_STRING) {
        if (value->text.n == 0) return bad_name(j, what, "is empty", err);
        if (value->text.n > VCH_JSONL_NAME_MAX) return bad_name(j, what, "is too long", err);
        if (value->text.p[0] == 0) return bad_name(j, what, "begins with a NUL", err); /* an erased name does */
        rc = vch_buf_put(b, value->text.p, value->text.n);
    } else {
        if (value->type != VCH_JSON_NUMBER || !value->integral || value->integer > NAME_INTEGER_MAX ||
            value->integer < -NAME_INTEGER_MAX)
            return bad_name(j, what, "is neither a string nor an integer below 2^53", err);
        rc = vch_buf_printf(b, "%lld", (long long)value->integer);
    }
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the %s can't be kept: %s", what, vch_rc_text(rc));
}
