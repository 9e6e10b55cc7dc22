/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/text.h"

/* Where the next byte stands.  Runs of plain bytes never change the state, so
 * they are found and copied whole; only the five special bytes are looked at
 * one by one. */
enum { AT_CELL, IN_BARE, IN_QUOTES, AFTER_QUOTE, AFTER_CR, FINISHED, FAILED };

/* What ends a run in a bare cell. */
static const bool special[256] = {[0] = true, ['"'] = true, [','] = true, ['\r'] = true, ['\n'] = true};

vch_rc vch_csv_init(vch_csv_t *c, size_t cells_max, size_t bytes_max)
{
    size_t *ends = vch_alloc_array(cells_max, sizeof *ends);
    if (!ends) return cells_max ? VCH_ERR_MEMORY : VCH_ERR_USAGE;
    *c = (vch_csv_t){.cells_max = cells_max, .bytes_max = bytes_max, .line = 1, .ends = ends};
    vch_buf_init(&c->text, bytes_max);
    return VCH_OK;
}

void vch_csv_free(vch_csv_t *c)
{
    if (!c) return;
    vch_free(c->ends);
    vch_buf_free(&c->text);
    *c = (vch_csv_t){0};
}

vch_slice_t vch_csv_cell(const vch_csv_t *c, size_t i)
{
    if (i >= c->count || c->state != FINISHED) return vch_slice(NULL, 0);
    size_t start = i ? c->ends[i - 1] : 0;
    return vch_slice(c->text.p ? c->text.p + start : NULL, c->ends[i] - start);
}

/* ---- the record being read ------------------------------------------------------ */

static vch_rc refuse(vch_csv_t *c, vch_err_t *err, size_t cell, const char *why)
{
    c->state = FAILED;
    return vch_fail(err, VCH_ERR_FORMAT, "CSV record at line %llu, cell %zu: %s", (unsigned long long)c->line, cell + 1,
                    why);
}

static vch_rc over_limit(vch_csv_t *c, vch_err_t *err, vch_rc rc, size_t limit, const char *unit)
{
    c->state = FAILED;
    if (rc == VCH_ERR_MEMORY)
        return vch_fail(err, rc, "CSV record at line %llu: out of memory", (unsigned long long)c->line);
    return vch_fail(err, rc, "CSV record at line %llu has more than %zu %s", (unsigned long long)c->line, limit, unit);
}

static vch_rc put_run(vch_csv_t *c, const uint8_t *p, size_t n, vch_err_t *err)
{
    vch_rc rc = vch_buf_put(&c->text, p, n);
    return rc == VCH_OK ? rc : over_limit(c, err, rc, c->bytes_max, "bytes");
}

static vch_rc end_cell(vch_csv_t *c, vch_err_t *err)
{
    if (c->count == c->cells_max) return over_limit(c, err, VCH_ERR_LIMIT, c->cells_max, "cells");
    c->ends[c->count++] = c->text.n;
    c->state = AT_CELL;
    return VCH_OK;
}

static bool is_ascii(vch_slice_t s)
{
    uint64_t high = 0, word;
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        memcpy(&word, s.p + i, 8);
        high |= word;
    }
    for (; i < s.n; i++) high |= s.p[i];
    return (high & 0x8080808080808080u) == 0;
}

/* Cells are checked one by one: two broken halves must not heal each other
 * by standing back to back in `text`. */
static vch_rc end_record(vch_csv_t *c, vch_err_t *err)
{
    VCH_TRY(end_cell(c, err));
    c->state = FINISHED;
    c->record_open = false;
    if (is_ascii(vch_buf_slice(&c->text))) return VCH_OK;
    for (size_t i = 0; i < c->count; i++)
        if (!vch_utf8_valid(vch_csv_cell(c, i))) return refuse(c, err, i, "not UTF-8");
    return VCH_OK;
}

/* Forget the finished record; its lines are its own end and those in its quotes. */
static void next_record(vch_csv_t *c)
{
    const uint8_t *p = c->text.p, *end = p ? p + c->text.n : p;
    c->line++;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
        c->line++;
        p++;
    }
    vch_buf_clear(&c->text);
    c->count = 0;
    c->state = AT_CELL;
}

/* ---- eating bytes ----------------------------------------------------------------- */

/* The longest run that leaves the state as it is; 0 when the next byte counts. */
static size_t plain_run(int state, const uint8_t *p, const uint8_t *end)
{
    const uint8_t *at = p;
    if (state == IN_QUOTES) {
        const uint8_t *quote = memchr(p, '"', (size_t)(end - p));
        if (!quote) quote = end;
        const uint8_t *nul = memchr(p, 0, (size_t)(quote - p));
        return (size_t)((nul ? nul : quote) - p);
    }
    if (state == AFTER_QUOTE || state == AFTER_CR) return 0;
    while (at < end && !special[*at]) at++;
    return (size_t)(at - p);
}

/* One byte that is not part of a run. */
static vch_rc special_byte(vch_csv_t *c, uint8_t byte, vch_err_t *err)
{
    if (byte == 0) return refuse(c, err, c->count, "a NUL byte");
    if (c->state == AFTER_CR) {
        if (byte != '\n') return refuse(c, err, c->count, "a carriage return that no line feed follows");
        return end_record(c, err);
    }
    if (c->state == IN_QUOTES) { /* the run ended here, so it's a quote */
        c->state = AFTER_QUOTE;
        return VCH_OK;
    }
    switch (byte) {
    case ',':
        return end_cell(c, err);
    case '\n':
        return end_record(c, err);
    case '\r':
        c->state = AFTER_CR;
        return VCH_OK;
    case '"':
        if (c->state == IN_BARE) return refuse(c, err, c->count, "a quote inside a cell that is not quoted");
        if (c->state == AFTER_QUOTE) VCH_TRY(put_run(c, &byte, 1, err)); /* a doubled quote is one */
        c->state = IN_QUOTES;
        return VCH_OK;
    default:
        return refuse(c, err, c->count, "text after the closing quote");
    }
}

static vch_rc end_of_input(vch_csv_t *c, vch_err_t *err)
{
    if (c->state == IN_QUOTES) return refuse(c, err, c->count, "the input ends inside quotes");
    if (c->state == AFTER_CR) return refuse(c, err, c->count, "a carriage return that no line feed follows");
    return c->record_open ? end_record(c, err) : VCH_OK;
}

vch_rc vch_csv_feed(vch_csv_t *c, vch_slice_t in, bool last, size_t *ret_eaten, bool *ret_done, vch_err_t *err)
{
    if (c->state == FAILED) return vch_fail(err, VCH_ERR_FORMAT, "this CSV input was refused before");
    if (c->state == FINISHED) next_record(c);
    const uint8_t *p = in.p, *end = in.n ? p + in.n : p;
    while (p < end && c->state != FINISHED) {
        c->record_open = true;
        size_t run = plain_run(c->state, p, end);
        if (run > 0) {
            VCH_TRY(put_run(c, p, run, err));
            if (c->state == AT_CELL) c->state = IN_BARE;
            p += run;
        } else {
            VCH_TRY(special_byte(c, *p, err));
            p++;
        }
    }
    if (last && p == end && c->state != FINISHED) VCH_TRY(end_of_input(c, err));
    size_t eaten = in.n ? (size_t)(p - in.p) : 0;
    c->offset += eaten;
    *ret_eaten = eaten;
    *ret_done = c->state == FINISHED;
    return VCH_OK;
}

/* ---- writing ------------------------------------------------------------------------ */

vch_rc vch_csv_put_cell(vch_buf_t *b, vch_slice_t cell)
{
    size_t quotes = 0, size;
    bool quoted = false;
    for (size_t i = 0; i < cell.n; i++) {
        if (cell.p[i] == 0) return VCH_ERR_FORMAT;
        quoted |= special[cell.p[i]];
        quotes += cell.p[i] == '"';
    }
    if (!vch_utf8_valid(cell)) return VCH_ERR_FORMAT;
    if (!quoted) return vch_buf_put(b, cell.p, cell.n);
    uint8_t *to;
    if (vch_add_overflows(cell.n, quotes + 2, &size)) return VCH_ERR_LIMIT;
    VCH_TRY(vch_buf_extend(b, size, &to));
    *to++ = '"';
    for (size_t i = 0; i < cell.n; i++) {
        if (cell.p[i] == '"') *to++ = '"';
        *to++ = cell.p[i];
    }
    *to = '"';
    return VCH_OK;
}
