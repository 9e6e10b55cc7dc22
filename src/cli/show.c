/* SPDX-License-Identifier: Apache-2.0 */
/* JSON laid out for people: an object as lines "name  value", a list of
 * objects as a table, ids cut to the digits that still name them.  The depth
 * of recursion is bounded by VCH_JSON_DEPTH_MAX. */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

#define COLUMNS_MAX 10
#define ID_SHOWN 16 /* hex digits of an id; the library takes any unique prefix of 8 */
#define CELL_MAX 200

/* ---- messages ------------------------------------------------------------------------- */

void cli_say(const cli_t *cli, const char *fmt, ...)
{
    va_list ap;
    if (cli->quiet || cli->json) return;
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
}

static void complain_json(const cli_t *cli, vch_rc rc, const char *text)
{
    cli_json_t j;
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_open(&j, "error", '{');
    cj_text(&j, "name", vch_rc_name(rc));
    cj_number(&j, "exit", (uint64_t)vch_rc_exit(rc));
    cj_text(&j, "text", text);
    cj_text(&j, "hint", cli->err.rc == rc ? cli->err.hint : "");
    cj_close(&j, '}');
    cj_close(&j, '}');
    if (j.rc == VCH_OK) (void)fprintf(stderr, "%.*s\n", (int)j.b.n, (const char *)j.b.p);
    cj_free(&j);
}

void cli_complain(const cli_t *cli, vch_rc rc)
{
    const char *text = cli->err.text[0] ? cli->err.text : vch_rc_text(rc);
    if (cli->json) {
        complain_json(cli, rc, text);
        return;
    }
    (void)fprintf(stderr, "vouch: %s\n", text);
    if (cli->err.hint[0]) (void)fprintf(stderr, "  hint: %s\n", cli->err.hint);
}

const char *cli_mark(const cli_t *cli, bool good)
{
    if (!cli->utf8) return good ? "ok" : "NO";
    if (!cli->color) return good ? "✔" : "✘";
    return good ? "\033[32m✔\033[0m" : "\033[31m✘\033[0m";
}

/* ---- one value in a cell ------------------------------------------------------------------ */

static bool is_scalar(const vch_json_t *v) { return v->type != VCH_JSON_ARRAY && v->type != VCH_JSON_OBJECT; }

/* The same time in milliseconds stands beside each time; programs want it. */
static bool is_hidden(const vch_json_t *v)
{
    return v->name.n > 3 && memcmp(v->name.p + v->name.n - 3, " ms", 3) == 0 && v->type == VCH_JSON_NUMBER;
}

static bool is_hex_id(vch_slice_t s)
{
    static const char hex[] = "0123456789abcdef";
    if (s.n != 64 && s.n != 68 && s.n != 70) return false;
    for (size_t i = 0; i < s.n; i++)
        if (!memchr(hex, s.p[i], 16)) return false;
    return true;
}

/* Control characters never reach a terminal. */
static vch_rc put_clean(vch_buf_t *b, vch_slice_t s)
{
    size_t n = s.n > CELL_MAX ? CELL_MAX : s.n;
    while (n < s.n && n > 0 && (s.p[n] & 0xc0) == 0x80) n--;
    for (size_t i = 0; i < n; i++) VCH_TRY(vch_buf_u8(b, s.p[i] < ' ' || s.p[i] == 127 ? ' ' : s.p[i]));
    return n < s.n ? vch_buf_printf(b, "...") : VCH_OK;
}

static vch_rc put_scalar(vch_buf_t *b, const vch_json_t *v, bool shorten)
{
    switch (v->type) {
    case VCH_JSON_NULL:
        return vch_buf_printf(b, "-");
    case VCH_JSON_BOOL:
        return vch_buf_printf(b, v->boolean ? "yes" : "no");
    case VCH_JSON_NUMBER:
        return vch_buf_put(b, v->text.p, v->text.n);
    case VCH_JSON_STRING:
        if (is_hex_id(v->text)) return vch_buf_put(b, v->text.p, shorten ? ID_SHOWN : v->text.n);
        return put_clean(b, v->text.n ? v->text : vch_str("-"));
    case VCH_JSON_ARRAY:
    case VCH_JSON_OBJECT:
        break;
    }
    return vch_buf_printf(b, "%zu", v->count);
}

static bool all_scalars(const vch_json_t *list)
{
    for (const vch_json_t *v = list->first; v; v = v->next)
        if (!is_scalar(v)) return false;
    return true;
}

static vch_rc put_joined(vch_buf_t *b, const vch_json_t *list)
{
    if (!list->first) return vch_buf_printf(b, "-");
    for (const vch_json_t *v = list->first; v; v = v->next) {
        VCH_TRY(put_scalar(b, v, list->count > 1));
        if (v->next) VCH_TRY(vch_buf_printf(b, ", "));
    }
    return VCH_OK;
}

/* What a list of objects is about: their titles, names or keys' names. */
static const vch_json_t *title_of(const vch_json_t *v)
{
    static const char *const names[] = {"title", "name"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const vch_json_t *m = vch_json_get(v, names[i]);
        if (m && m->type == VCH_JSON_STRING) return m;
    }
    return NULL;
}

static vch_rc put_titles(vch_buf_t *b, const vch_json_t *list)
{
    for (const vch_json_t *v = list->first; v; v = v->next) {
        VCH_TRY(put_scalar(b, title_of(v), true));
        if (v->next) VCH_TRY(vch_buf_printf(b, ", "));
    }
    return VCH_OK;
}

static vch_rc put_cell(vch_buf_t *b, const vch_json_t *v, bool shorten)
{
    if (!v) return vch_buf_printf(b, "-");
    if (v->type == VCH_JSON_ARRAY && v->count <= 4 && title_of(v->first)) return put_titles(b, v);
    if (v->type == VCH_JSON_ARRAY && all_scalars(v) && v->count <= 8) return put_joined(b, v);
    return put_scalar(b, v, shorten);
}

/* Characters, not bytes; combining ones are not looked for. */
static size_t width_of(const uint8_t *p, size_t n)
{
    size_t w = 0;
    for (size_t i = 0; i < n; i++) w += (p[i] & 0xc0) != 0x80;
    return w;
}

static vch_rc pad(vch_buf_t *b, size_t n)
{
    while (n-- > 0) VCH_TRY(vch_buf_u8(b, ' '));
    return VCH_OK;
}

/* ---- tables --------------------------------------------------------------------------------- */

typedef struct {
    vch_slice_t name[COLUMNS_MAX];
    size_t width[COLUMNS_MAX];
    size_t n;
} columns_t;

static const vch_json_t *member(const vch_json_t *object, vch_slice_t name)
{
    for (const vch_json_t *m = object->type == VCH_JSON_OBJECT ? object->first : NULL; m; m = m->next)
        if (vch_slice_eq(m->name, name)) return m;
    return NULL;
}

/* "party id" says nothing to people beside "party". */
static bool is_id_of_known(const columns_t *c, const vch_json_t *m)
{
    if (m->name.n < 4 || memcmp(m->name.p + m->name.n - 3, " id", 3) != 0) return false;
    for (size_t i = 0; i < c->n; i++)
        if (vch_slice_eq(c->name[i], vch_slice(m->name.p, m->name.n - 3))) return true;
    return false;
}

static void add_column(columns_t *c, const vch_json_t *m)
{
    if (c->n == COLUMNS_MAX || m->type == VCH_JSON_OBJECT || is_hidden(m) || is_id_of_known(c, m)) return;
    for (size_t i = 0; i < c->n; i++)
        if (vch_slice_eq(c->name[i], m->name)) return;
    c->width[c->n] = width_of(m->name.p, m->name.n);
    c->name[c->n++] = m->name;
}

static vch_rc measure(columns_t *c, const vch_json_t *list)
{
    vch_buf_t cell;
    vch_rc rc = VCH_OK;
    vch_buf_init(&cell, 1u << 16);
    for (const vch_json_t *row = list->first; row; row = row->next)
        for (const vch_json_t *m = row->first; m; m = m->next) add_column(c, m);
    for (const vch_json_t *row = list->first; row && rc == VCH_OK; row = row->next)
        for (size_t i = 0; i < c->n && rc == VCH_OK; i++) {
            vch_buf_clear(&cell);
            rc = put_cell(&cell, member(row, c->name[i]), true);
            size_t w = width_of(cell.p, cell.n);
            if (w > c->width[i]) c->width[i] = w;
        }
    vch_buf_free(&cell);
    return rc;
}

static vch_rc put_row(vch_buf_t *b, const columns_t *c, const vch_json_t *row, size_t indent)
{
    VCH_TRY(pad(b, indent));
    for (size_t i = 0; i < c->n; i++) {
        size_t at = b->n;
        if (row)
            VCH_TRY(put_cell(b, member(row, c->name[i]), true));
        else
            VCH_TRY(vch_buf_put(b, c->name[i].p, c->name[i].n));
        size_t w = width_of(b->p + at, b->n - at);
        if (i + 1 < c->n) VCH_TRY(pad(b, c->width[i] > w ? c->width[i] - w + 2 : 2));
    }
    return vch_buf_u8(b, '\n');
}

static vch_rc put_table(vch_buf_t *b, const vch_json_t *list, size_t indent)
{
    columns_t c = {.n = 0};
    VCH_TRY(measure(&c, list));
    VCH_TRY(put_row(b, &c, NULL, indent));
    for (const vch_json_t *row = list->first; row; row = row->next) VCH_TRY(put_row(b, &c, row, indent));
    return VCH_OK;
}

/* ---- objects ---------------------------------------------------------------------------------- */

static vch_rc put_value(vch_buf_t *b, const vch_json_t *v, size_t indent);

static size_t name_width(const vch_json_t *object)
{
    size_t widest = 0;
    for (const vch_json_t *m = object->first; m; m = m->next) {
        size_t w = width_of(m->name.p, m->name.n);
        if (!is_hidden(m) && w > widest) widest = w;
    }
    return widest;
}

static vch_rc put_member(vch_buf_t *b, const vch_json_t *m, size_t indent, size_t width)
{
    bool inside = !is_scalar(m) && m->first && !(m->type == VCH_JSON_ARRAY && all_scalars(m));
    VCH_TRY(pad(b, indent));
    VCH_TRY(put_clean(b, m->name));
    if (inside) {
        VCH_TRY(vch_buf_u8(b, '\n'));
        return put_value(b, m, indent + 2);
    }
    VCH_TRY(pad(b, width - vch_min(width, width_of(m->name.p, m->name.n)) + 2));
    VCH_TRY(m->type == VCH_JSON_ARRAY ? put_joined(b, m) : put_scalar(b, m, false));
    return vch_buf_u8(b, '\n');
}

/* Objects with objects inside don't fit a table; one of a whole answer is an
 * overview and leaves them out. */
static bool is_deep(const vch_json_t *list)
{
    for (const vch_json_t *v = list->first; v; v = v->next) {
        if (v->type != VCH_JSON_OBJECT) return true;
        for (const vch_json_t *m = v->first; m; m = m->next)
            if (m->type == VCH_JSON_OBJECT) return true;
    }
    return false;
}

static vch_rc put_blocks(vch_buf_t *b, const vch_json_t *list, size_t indent)
{
    for (const vch_json_t *v = list->first; v; v = v->next) {
        VCH_TRY(put_value(b, v, indent));
        if (v->next) VCH_TRY(vch_buf_u8(b, '\n'));
    }
    return VCH_OK;
}

static vch_rc put_value(vch_buf_t *b, const vch_json_t *v, size_t indent)
{
    if (v->type == VCH_JSON_OBJECT) {
        size_t width = name_width(v);
        for (const vch_json_t *m = v->first; m; m = m->next)
            if (!is_hidden(m)) VCH_TRY(put_member(b, m, indent, width));
        return VCH_OK;
    }
    if (v->type == VCH_JSON_ARRAY && v->first && v->first->type == VCH_JSON_OBJECT)
        return indent && is_deep(v) ? put_blocks(b, v, indent) : put_table(b, v, indent);
    for (const vch_json_t *one = v->type == VCH_JSON_ARRAY ? v->first : v; one; one = one->next) {
        VCH_TRY(pad(b, indent));
        VCH_TRY(is_scalar(one) ? put_scalar(b, one, false) : put_joined(b, one));
        VCH_TRY(vch_buf_u8(b, '\n'));
        if (one == v) break;
    }
    return VCH_OK;
}

/* ---- whole answers ---------------------------------------------------------------------------- */

static vch_rc write_out(cli_t *cli, vch_slice_t text)
{
    if (text.n == 0 || fwrite(text.p, 1, text.n, stdout) == text.n) return VCH_OK;
    return vch_fail(&cli->err, VCH_ERR_IO, "writing to stdout failed");
}

vch_rc cli_show_value(cli_t *cli, const vch_json_t *v)
{
    vch_buf_t out;
    vch_buf_init(&out, 256u << 20);
    vch_rc rc;
    if (cli->json) {
        rc = vch_jcs_put(&out, v);
        if (rc == VCH_OK) rc = vch_buf_u8(&out, '\n');
    } else {
        rc = put_value(&out, v, 0);
    }
    rc = rc == VCH_OK ? write_out(cli, vch_buf_slice(&out))
                      : vch_fail(&cli->err, rc, "the answer can't be laid out: %s", vch_rc_text(rc));
    vch_buf_free(&out);
    return rc;
}

typedef vch_rc (*shower_fn)(cli_t *, const vch_json_t *);

static vch_rc parsed(cli_t *cli, vch_slice_t json, shower_fn show)
{
    const vch_json_t *v;
    vch_arena_t arena;
    vch_arena_init(&arena, 1u << 30);
    vch_rc rc = vch_json_parse(&arena, &v, json, &cli->err);
    if (rc == VCH_OK)
        rc = show(cli, v);
    else
        rc = vch_context(&cli->err, VCH_ERR_INTERNAL, "an answer of the library is no JSON");
    vch_arena_free(&arena);
    return rc;
}

/* With --json the library's own bytes, so that nothing is lost on the way. */
static vch_rc pass_through(cli_t *cli, vch_slice_t json)
{
    VCH_TRY(write_out(cli, json));
    return json.n && json.p[json.n - 1] == '\n' ? VCH_OK : write_out(cli, vch_str("\n"));
}

vch_rc cli_show(cli_t *cli, vch_slice_t json)
{
    return cli->json ? pass_through(cli, json) : parsed(cli, json, cli_show_value);
}

vch_rc cli_show_text(cli_t *cli, vch_text_t *text)
{
    vch_rc rc = cli_show(cli, vch_slice(text->p, text->n));
    vch_text_free(text);
    return rc;
}

/* ---- the tree ------------------------------------------------------------------------------------- */

typedef struct {
    cli_t *cli;
    vch_buf_t out, prefix;
} tree_t;

static vch_rc put_node(tree_t *t, const vch_json_t *v, vch_slice_t name, bool top, bool last);

static bool is_child(const vch_json_t *m)
{
    return m->type == VCH_JSON_OBJECT || (m->type == VCH_JSON_ARRAY && m->first && m->first->type == VCH_JSON_OBJECT);
}

static vch_rc put_label(tree_t *t, const vch_json_t *v, vch_slice_t name)
{
    const vch_json_t *verified = vch_json_get(v, "verified");
    const char *gap = "  ";
    if (verified) VCH_TRY(vch_buf_printf(&t->out, "%s ", cli_mark(t->cli, verified->boolean)));
    VCH_TRY(put_clean(&t->out, name));
    for (const vch_json_t *m = v->first; m; m = m->next) {
        if (m == verified || is_child(m) || is_hidden(m)) continue;
        VCH_TRY(vch_buf_printf(&t->out, "%s%.*s ", gap, (int)m->name.n, (const char *)m->name.p));
        VCH_TRY(m->type == VCH_JSON_ARRAY ? put_joined(&t->out, m) : put_scalar(&t->out, m, true));
        gap = ", ";
    }
    return vch_buf_u8(&t->out, '\n');
}

/* The children of v: objects, and the objects of lists. */
static vch_rc put_children(tree_t *t, const vch_json_t *v)
{
    size_t left = 0;
    for (const vch_json_t *m = v->first; m; m = m->next)
        if (is_child(m)) left += m->type == VCH_JSON_OBJECT ? 1 : m->count;
    for (const vch_json_t *m = v->first; m; m = m->next) {
        if (!is_child(m)) continue;
        if (m->type == VCH_JSON_OBJECT) {
            VCH_TRY(put_node(t, m, m->name, false, --left == 0));
            continue;
        }
        vch_slice_t one = m->name; /* "grants" holds a grant */
        if (one.n > 1 && one.p[one.n - 1] == 's') one.n--;
        for (const vch_json_t *item = m->first; item; item = item->next)
            VCH_TRY(put_node(t, item, one, false, --left == 0));
    }
    return VCH_OK;
}

static vch_rc put_node(tree_t *t, const vch_json_t *v, vch_slice_t name, bool top, bool last)
{
    size_t at = t->prefix.n;
    bool fine = t->cli->utf8;
    if (!top) {
        VCH_TRY(vch_buf_put(&t->out, t->prefix.p, t->prefix.n));
        VCH_TRY(vch_buf_printf(&t->out, "%s", last ? (fine ? "└─ " : "`- ") : (fine ? "├─ " : "|- ")));
    }
    VCH_TRY(put_label(t, v, name));
    if (!top) VCH_TRY(vch_buf_printf(&t->prefix, "%s", last ? "   " : (fine ? "│  " : "|  ")));
    vch_rc rc = put_children(t, v);
    t->prefix.n = at;
    return rc;
}

static vch_rc put_tree(cli_t *cli, const vch_json_t *v)
{
    tree_t t = {.cli = cli};
    vch_rc rc = VCH_OK;
    vch_buf_init(&t.out, 64u << 20);
    vch_buf_init(&t.prefix, 4096);
    for (const vch_json_t *m = v->first; m && rc == VCH_OK; m = m->next)
        if (m->type == VCH_JSON_OBJECT) rc = put_node(&t, m, m->name, true, true);
    rc = rc == VCH_OK ? write_out(cli, vch_buf_slice(&t.out))
                      : vch_fail(&cli->err, rc, "the tree can't be laid out: %s", vch_rc_text(rc));
    vch_buf_free(&t.prefix);
    vch_buf_free(&t.out);
    return rc;
}

vch_rc cli_show_tree(cli_t *cli, vch_slice_t json)
{
    return cli->json ? pass_through(cli, json) : parsed(cli, json, put_tree);
}
