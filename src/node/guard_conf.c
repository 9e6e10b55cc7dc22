/* SPDX-License-Identifier: Apache-2.0 */
/* guard.conf, and the secret that it names. */
#include "node/guard_int.h"

#define CONF_MAX 16384u

static bool is(vch_slice_t s, const char *word) { return vch_slice_eq(s, vch_str(word)); }
#define SHOW(s) (int)vch_min((s).n, 60), (const char *)(s).p

static vch_slice_t trim(vch_slice_t s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t')) s = vch_slice(s.p + 1, s.n - 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r')) s.n--;
    return s;
}

/* ---- lines --------------------------------------------------------------------------- */

enum { GUARD, SECRET_FILE, MODULE, TOKEN, KEYS };
static const char *const key_name[KEYS] = {"guard", "secret_file", "module", "token"};

typedef struct {
    gd_conf_t conf;
    size_t line, given[KEYS]; /* on which line; 0: not */
    const char *name;
    vch_err_t *err;
} parser_t;

static vch_rc take_kind(parser_t *p, vch_slice_t value)
{
    for (unsigned i = VCH_GUARD_FILE; i <= VCH_GUARD_TOKEN; i++)
        if (is(value, vch_guard_name((vch_guard_kind_t)i))) {
            p->conf.kind = (vch_guard_kind_t)i;
            return VCH_OK;
        }
    return vch_fail(p->err, VCH_ERR_FORMAT, "%s, line %zu: guard = \"%.*s\": must be file, passphrase or token",
                    p->name, p->line, SHOW(value));
}

static vch_rc take_value(parser_t *p, unsigned key, vch_slice_t value)
{
    char *const to[KEYS] = {NULL, p->conf.secret_file, p->conf.module, p->conf.token};
    const size_t room[KEYS] = {0, sizeof p->conf.secret_file, sizeof p->conf.module, sizeof p->conf.token};
    if (key == GUARD) return take_kind(p, value);
    if (value.n == 0 || value.n >= room[key] || memchr(value.p, 0, value.n))
        return vch_fail(p->err, VCH_ERR_FORMAT, "%s, line %zu: %s has 1 to %zu bytes", p->name, p->line, key_name[key],
                        room[key] - 1);
    memcpy(to[key], value.p, value.n);
    to[key][value.n] = 0;
    return VCH_OK;
}

static vch_rc take_line(parser_t *p, vch_slice_t line)
{
    unsigned key = 0;
    line = trim(line);
    if (line.n == 0 || *line.p == '#' || *line.p == ';') return VCH_OK;
    const uint8_t *eq = memchr(line.p, '=', line.n);
    if (!eq) return vch_fail(p->err, VCH_ERR_FORMAT, "%s, line %zu: a line is \"key = value\"", p->name, p->line);
    vch_slice_t word = trim(vch_slice(line.p, (size_t)(eq - line.p)));
    while (key < KEYS && !is(word, key_name[key])) key++;
    if (key == KEYS)
        return vch_fail(p->err, VCH_ERR_FORMAT, "%s, line %zu: unknown key \"%.*s\"", p->name, p->line, SHOW(word));
    if (p->given[key])
        return vch_fail(p->err, VCH_ERR_FORMAT, "%s, line %zu: %s stands on line %zu already", p->name, p->line,
                        key_name[key], p->given[key]);
    p->given[key] = p->line;
    return take_value(p, key, trim(vch_slice(eq + 1, line.n - (size_t)(eq + 1 - line.p))));
}

/* What a guard needs, and nothing without effect. */
static vch_rc complete(const parser_t *p)
{
    static const bool wanted[][KEYS] = {[VCH_GUARD_FILE] = {true, false, false, false},
                                        [VCH_GUARD_PASSPHRASE] = {true, true, false, false},
                                        [VCH_GUARD_TOKEN] = {true, true, true, true}};
    const char *guard = vch_guard_name(p->conf.kind);
    if (!p->given[GUARD]) return vch_fail(p->err, VCH_ERR_FORMAT, "%s has no line \"guard = …\"", p->name);
    for (unsigned i = 0; i < KEYS; i++) {
        if (wanted[p->conf.kind][i] && !p->given[i])
            return vch_fail(p->err, VCH_ERR_FORMAT, "%s, line %zu: guard = %s needs a line \"%s = …\"", p->name,
                            p->given[GUARD], guard, key_name[i]);
        if (!wanted[p->conf.kind][i] && p->given[i])
            return vch_fail(p->err, VCH_ERR_FORMAT, "%s, line %zu: %s has no effect with guard = %s", p->name,
                            p->given[i], key_name[i], guard);
    }
    return VCH_OK;
}

vch_rc gd_conf_get(gd_conf_t *ret, vch_slice_t text, const char *name, vch_err_t *err)
{
    parser_t p = {.line = 1, .name = name, .err = err};
    for (; text.n; p.line++) {
        const uint8_t *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        VCH_TRY(take_line(&p, vch_slice(text.p, n)));
        size_t used = end ? n + 1 : n;
        text = vch_slice(text.p + used, text.n - used);
    }
    VCH_TRY(complete(&p));
    *ret = p.conf;
    return VCH_OK;
}

/* Its module is loaded as a program: only its owner may write there. */
vch_rc gd_conf_read(gd_conf_t *ret, vch_port_t *port, const char *dir, const char *name, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    vch_buf_t text;
    vch_rc rc = vch_path(path, "%s/%s", dir, name);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    rc = port->disk->stat(port, path, &st);
    if (rc != VCH_OK) return vch_fail(err, rc, "%s: %s", name, vch_rc_text(rc));
    if (st.mode & 022u)
        return vch_fail(err, VCH_ERR_KEY, "%s: others can write it (mode %04o); chmod go-w", name, st.mode);
    vch_buf_init(&text, CONF_MAX);
    rc = vch_read_all(port, &text, path, CONF_MAX, err);
    if (rc == VCH_OK) rc = gd_conf_get(ret, vch_buf_slice(&text), name, err);
    vch_buf_free(&text);
    return rc;
}

/* ---- the secret ------------------------------------------------------------------------ */

static vch_rc cut_line(gd_secret_t *s, size_t got, const char *path, vch_err_t *err)
{
    while (s->n < got && s->p[s->n] && s->p[s->n] != '\n' && s->p[s->n] != '\r') s->n++;
    if (s->n == 0) return vch_fail(err, VCH_ERR_FORMAT, "secret_file: its first line is empty: %s", path);
    if (s->n > GD_SECRET_MAX)
        return vch_fail(err, VCH_ERR_FORMAT, "secret_file: its first line is over %u bytes: %s", GD_SECRET_MAX, path);
    vch_wipe(s->p + s->n, got - s->n);
    s->p[s->n] = 0;
    return VCH_OK;
}

static vch_rc read_line(gd_secret_t *ret, vch_port_t *port, const char *path, vch_err_t *err)
{
    vch_file_t *file;
    size_t got = 0;
    gd_secret_t s = {vch_secret_alloc(GD_SECRET_MAX + 2), 0};
    if (!s.p) return vch_fail(err, VCH_ERR_MEMORY, "no secret memory");
    vch_rc rc = port->disk->open(port, &file, path, VCH_OPEN_READ, 0);
    if (rc == VCH_OK) {
        rc = port->disk->read(port, file, &got, s.p, GD_SECRET_MAX + 1, 0);
        vch_file_close(port, file);
    }
    rc = rc == VCH_OK ? cut_line(&s, got, path, err) : vch_fail(err, rc, "secret_file: %s: %s", vch_rc_text(rc), path);
    if (rc == VCH_OK)
        *ret = s;
    else
        vch_secret_free(s.p);
    return rc;
}

vch_rc gd_secret_read(gd_secret_t *ret, vch_port_t *port, const char *dir, const char *path, vch_err_t *err)
{
    char at[VCH_PATH_MAX];
    vch_stat_t st;
    vch_rc rc = *path == '/' ? vch_path(at, "%s", path) : vch_path(at, "%s/%s", dir, path);
    if (rc != VCH_OK) return vch_fail(err, rc, "secret_file: the path is too long");
    rc = port->disk->stat(port, at, &st);
    if (rc != VCH_OK) return vch_fail(err, rc, "secret_file: %s: %s", vch_rc_text(rc), at);
    if (st.mode & 07u)
        return vch_fail(err, VCH_ERR_KEY, "secret_file: others can read it (mode %04o); chmod o=: %s", st.mode, at);
    return read_line(ret, port, at, err);
}
