/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of checksums (docs/formats/sums.md), of files that nothing else vouches
 * for.  A list ends in its own hash, so damage to it is told from damage to
 * what it lists. */
#include "node/backup_int.h"

#include "entry/note.h"

#define SUMS_FIRST "vouchsafe-sums 1\n"
#define SUMS_END 69u /* "end ", 64 digits, line feed */
#define SUMS_MAX (1u << 20)

/* ---- writing ---------------------------------------------------------------------- */

vch_rc nd_sums_begin(nd_sums_t *s, vch_port_t *port, const char *dir, vch_err_t *err)
{
    *s = (nd_sums_t){.port = port, .dir = dir, .err = err};
    vch_buf_init(&s->text, SUMS_MAX);
    return vch_buf_put(&s->text, SUMS_FIRST, sizeof SUMS_FIRST - 1);
}

vch_rc nd_sums_add(nd_sums_t *s, const char *path, uint64_t size, const vch_hash_t *hash)
{
    return bk_list_put_file(&s->text, size, hash, path);
}

vch_rc nd_sums_end(nd_sums_t *s, const char *name)
{
    char hex[65], path[VCH_PATH_MAX];
    vch_hash_t hash;
    vch_sha256(&hash, s->text.p, s->text.n);
    vch_hex(hex, hash.b, 32);
    VCH_TRY(vch_buf_printf(&s->text, "end %s\n", hex));
    VCH_TRY(vch_path(path, "%s/%s", s->dir, name));
    return vch_write_atomic(s->port, path, vch_buf_slice(&s->text), 0600, s->err);
}

void nd_sums_free(nd_sums_t *s) { vch_buf_free(&s->text); }

/* ---- reading ----------------------------------------------------------------------- */

static bool has_end(vch_slice_t text, size_t n)
{
    char hex[65];
    vch_hash_t hash;
    vch_sha256(&hash, text.p, n);
    vch_hex(hex, hash.b, 32);
    return memcmp(text.p + n, "end ", 4) == 0 && memcmp(text.p + n + 4, hex, 64) == 0 && text.p[text.n - 1] == '\n';
}

/* The lines in between, each of which is one of a file. */
static vch_rc parse(vch_slice_t text, vch_slice_t *ret)
{
    const size_t first = sizeof SUMS_FIRST - 1;
    bk_file_t file;
    if (text.n < first + SUMS_END || memcmp(text.p, SUMS_FIRST, first) != 0) return VCH_ERR_CORRUPT;
    if (!has_end(text, text.n - SUMS_END)) return VCH_ERR_CORRUPT;
    *ret = vch_slice(text.p + first, text.n - first - SUMS_END);
    for (vch_slice_t left = *ret; left.n;)
        if (!bk_list_next(&left, &file)) return VCH_ERR_CORRUPT;
    return VCH_OK;
}

/* A file as it is now. */
static vch_rc look(vch_port_t *port, const char *path, vch_hash_t *ret, uint64_t *ret_size, vch_err_t *err)
{
    const size_t block_n = 1u << 16;
    vch_file_t *file;
    vch_sha256_t h;
    size_t got = 0;
    uint64_t at = 0;
    VCH_TRY(vch_file_open(port, &file, path, VCH_OPEN_READ, err));
    uint8_t *block = vch_alloc(block_n);
    vch_rc rc = block ? VCH_OK : VCH_ERR_MEMORY;
    vch_sha256_init(&h);
    while (rc == VCH_OK) {
        rc = port->disk->read(port, file, &got, block, block_n, at);
        if (rc != VCH_OK || got == 0) break;
        vch_sha256_add(&h, block, got);
        at += got;
    }
    vch_sha256_end(&h, ret);
    vch_free(block);
    vch_file_close(port, file);
    *ret_size = at;
    return rc == VCH_OK ? rc : vch_fail(err, rc, "reading %s: %s", path, vch_rc_text(rc));
}

typedef struct {
    vch_port_t *port;
    const char *dir;
    nd_sums_fn fn;
    void *ctx;
    vch_err_t *err;
} compare_t;

static vch_rc compare(const compare_t *c, const bk_file_t *file)
{
    char name[VCH_PATH_MAX], path[VCH_PATH_MAX];
    vch_hash_t hash;
    uint64_t size;
    VCH_TRY(vch_path(name, "%.*s", (int)file->path.n, (const char *)file->path.p));
    VCH_TRY(vch_path(path, "%s/%s", c->dir, name));
    vch_rc rc = look(c->port, path, &hash, &size, c->err);
    if (rc == VCH_OK && (size != file->size || !vch_hash_eq(&hash, &file->hash))) rc = VCH_ERR_CORRUPT;
    if (rc != VCH_OK && rc != VCH_ERR_CORRUPT && rc != VCH_ERR_NOT_FOUND && rc != VCH_ERR_READ_ONLY) return rc;
    if (rc != VCH_OK) c->fn(c->ctx, name, rc);
    return VCH_OK;
}

static vch_rc compare_all(const compare_t *c, vch_slice_t text)
{
    vch_slice_t files;
    bk_file_t file;
    if (parse(text, &files) != VCH_OK)
        return vch_fail(c->err, VCH_ERR_CORRUPT, "this list of checksums does not have the hash that it ends in");
    while (files.n && bk_list_next(&files, &file)) VCH_TRY(compare(c, &file));
    return VCH_OK;
}

vch_rc nd_sums_check(vch_port_t *port, const char *dir, const char *name, nd_sums_fn fn, void *ctx, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_buf_t text;
    compare_t c = {port, dir, fn, ctx, err};
    VCH_TRY(vch_path(path, "%s/%s", dir, name));
    vch_buf_init(&text, SUMS_MAX);
    vch_rc rc = vch_read_all(port, &text, path, SUMS_MAX, err);
    if (rc == VCH_OK) rc = compare_all(&c, vch_buf_slice(&text));
    if (rc == VCH_ERR_LIMIT) rc = vch_fail(err, VCH_ERR_CORRUPT, "this list of checksums is longer than any");
    vch_buf_free(&text);
    return nd_told(rc, err);
}

/* ---- the settings --------------------------------------------------------------------- */

static vch_rc add_if_there(nd_sums_t *s, const char *name)
{
    char path[VCH_PATH_MAX];
    vch_hash_t hash;
    uint64_t size;
    VCH_TRY(vch_path(path, "%s/%s", s->dir, name));
    vch_rc rc = look(s->port, path, &hash, &size, s->err);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK;
    return rc == VCH_OK ? nd_sums_add(s, name, size, &hash) : rc;
}

vch_rc nd_settings_keep(vch_port_t *port, const char *dir, vch_err_t *err)
{
    static const char *const name[] = {ND_ORIGIN, "trust.policy", "vouch.conf"};
    nd_sums_t s;
    vch_rc rc = nd_sums_begin(&s, port, dir, err);
    for (size_t i = 0; rc == VCH_OK && i < sizeof name / sizeof *name; i++) rc = add_if_there(&s, name[i]);
    if (rc == VCH_OK) rc = nd_sums_end(&s, ND_SUMS);
    nd_sums_free(&s);
    return nd_told(rc, err);
}

/* Nothing is accepted that could not be opened. */
vch_rc vch_settings_accept_on(vch_port_t *port, const char *dir, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_hash_t network;
    vch_ledger_t *l;
    vch_buf_t text;
    VCH_TRY(nd_format_read(port, dir, &network, err));
    VCH_TRY(nd_ledger_new(&l, port, dir, VCH_LEDGER_READ_ONLY, err));
    nd_ledger_free(l);
    vch_trust_t *trust = vch_alloc(sizeof *trust);
    if (!trust) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_buf_init(&text, ND_SMALL_FILE_MAX);
    vch_rc rc = vch_path(path, "%s/trust.policy", dir);
    if (rc == VCH_OK) rc = vch_read_all(port, &text, path, ND_SMALL_FILE_MAX, err);
    if (rc == VCH_OK) {
        rc = vch_trust_get(trust, vch_buf_slice(&text), err);
        if (rc != VCH_OK) (void)vch_context(err, rc, "trust.policy");
    }
    vch_buf_free(&text);
    vch_free(trust);
    return rc == VCH_OK ? nd_settings_keep(port, dir, err) : nd_told(rc, err);
}

vch_rc vch_settings_accept(const char *dir, vch_err_t *err)
{
    return vch_settings_accept_on(vch_port_real(), dir, err);
}
