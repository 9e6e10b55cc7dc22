/* SPDX-License-Identifier: Apache-2.0 */
#include "node/ini.h"

#include "codec/text.h"
#include "node/node_int.h"

#define SHOW(s) (int)vch_min((s).n, 100), (const char *)(s).p

static vch_slice_t trim(vch_slice_t s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t')) s = vch_slice(s.p + 1, s.n - 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r')) s.n--;
    return s;
}

typedef struct {
    const char *name;
    size_t line;
    const vch_ini_t *at;
    vch_err_t *err;
} reader_t;

static vch_rc take_text(const reader_t *r, const vch_ini_t *to, vch_slice_t value)
{
    if (value.n >= to->room || memchr(value.p, 0, value.n))
        return vch_fail(r->err, VCH_ERR_FORMAT, "%s, line %zu: %s: shorter text is wanted", r->name, r->line, to->key);
    memcpy(to->text, value.p, value.n);
    to->text[value.n] = 0;
    return VCH_OK;
}

static vch_rc take_number(const reader_t *r, const vch_ini_t *to, vch_slice_t value)
{
    uint64_t v;
    if (vch_decimal_get(&v, value) != VCH_OK || v < to->min || v > to->max)
        return vch_fail(r->err, VCH_ERR_FORMAT, "%s, line %zu: %s = \"%.*s\": must be a number from %llu to %llu",
                        r->name, r->line, to->key, SHOW(value), (unsigned long long)to->min,
                        (unsigned long long)to->max);
    *to->number = v * to->unit;
    return VCH_OK;
}

static vch_rc take_line(const reader_t *r, vch_slice_t line)
{
    line = trim(line);
    if (line.n == 0 || *line.p == '#' || *line.p == ';') return VCH_OK;
    const uint8_t *eq = memchr(line.p, '=', line.n);
    if (!eq) return vch_fail(r->err, VCH_ERR_FORMAT, "%s, line %zu: not key = value", r->name, r->line);
    size_t n = (size_t)(eq - line.p);
    vch_slice_t key = trim(vch_slice(line.p, n)), value = trim(vch_slice(eq + 1, line.n - n - 1));
    for (const vch_ini_t *to = r->at; to->key; to++)
        if (vch_slice_eq(key, vch_str(to->key))) return to->text ? take_text(r, to, value) : take_number(r, to, value);
    return vch_fail(r->err, VCH_ERR_FORMAT, "%s, line %zu: unknown key \"%.*s\"", r->name, r->line, SHOW(key));
}

vch_rc vch_ini_read(vch_slice_t text, const char *name, const vch_ini_t *at, vch_err_t *err)
{
    reader_t r = {name, 1, at, err};
    for (; text.n; r.line++) {
        const uint8_t *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        VCH_TRY(take_line(&r, vch_slice(text.p, n)));
        size_t used = end ? n + 1 : n;
        text = vch_slice(text.p + used, text.n - used);
    }
    return VCH_OK;
}

vch_rc vch_ini_load(vch_port_t *port, const char *path, const vch_ini_t *at, vch_err_t *err)
{
    const char *slash = strrchr(path, '/');
    vch_buf_t text;
    vch_buf_init(&text, ND_SMALL_FILE_MAX);
    vch_rc rc = vch_read_all(port, &text, path, ND_SMALL_FILE_MAX, err);
    if (rc == VCH_OK) rc = vch_ini_read(vch_buf_slice(&text), slash ? slash + 1 : path, at, err);
    vch_buf_free(&text);
    return rc;
}
