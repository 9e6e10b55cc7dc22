/* SPDX-License-Identifier: Apache-2.0 */
/* Files that the user names: small ones, read and written whole. */
#include <errno.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

static vch_rc errno_rc(int e)
{
    if (e == ENOENT || e == ENOTDIR) return VCH_ERR_NOT_FOUND;
    if (e == ENOSPC) return VCH_ERR_FULL;
    return e == EACCES || e == EPERM || e == EROFS ? VCH_ERR_READ_ONLY : VCH_ERR_IO;
}

static vch_rc io_error(cli_t *cli, const char *doing, const char *path)
{
    int e = errno;
    return vch_fail(&cli->err, errno_rc(e), "%s %.300s: %s", doing, path, strerror(e));
}

static vch_rc read_chunks(cli_t *cli, FILE *f, const char *path, vch_buf_t *ret, uint8_t *chunk, size_t room)
{
    size_t n;
    while ((n = fread(chunk, 1, room, f)) > 0) {
        vch_rc rc = vch_buf_put(ret, chunk, n);
        if (rc != VCH_OK)
            return vch_fail(&cli->err, rc, "%.300s is larger than %zu bytes, or memory is short", path, ret->max);
    }
    return ferror(f) ? io_error(cli, "reading", path) : VCH_OK;
}

/* It may be a passphrase: no copy stays behind. */
static vch_rc read_stream(cli_t *cli, FILE *f, const char *path, vch_buf_t *ret)
{
    uint8_t chunk[65536];
    (void)setvbuf(f, NULL, _IONBF, 0);
    vch_rc rc = read_chunks(cli, f, path, ret, chunk, sizeof chunk);
    vch_wipe(chunk, sizeof chunk);
    return rc;
}

vch_rc cli_read_file(cli_t *cli, const char *path, size_t max, vch_buf_t *ret)
{
    bool is_stdin = strcmp(path, "-") == 0;
    if (is_stdin && cli->no_input)
        return vch_fail(&cli->err, VCH_ERR_USAGE, "\"-\" would read stdin, which --no-input forbids");
    FILE *f = is_stdin ? stdin : fopen(path, "rb");
    if (!f) return io_error(cli, "opening", path);
    vch_buf_init(ret, max);
    vch_rc rc = read_stream(cli, f, path, ret);
    if (!is_stdin) (void)fclose(f);
    if (rc != VCH_OK) vch_buf_free(ret);
    return rc;
}

vch_rc cli_write_file(cli_t *cli, const char *path, vch_slice_t data)
{
    if (strcmp(path, "-") == 0)
        return fwrite(data.p, 1, data.n, stdout) == data.n ? VCH_OK : io_error(cli, "writing", "stdout");
    FILE *f = fopen(path, "wb");
    if (!f) return io_error(cli, "opening", path);
    bool good = data.n == 0 || fwrite(data.p, 1, data.n, f) == data.n;
    if (fclose(f) != 0) good = false;
    return good ? VCH_OK : io_error(cli, "writing", path);
}

bool cli_is_file(const char *path) { return access(path, F_OK) == 0; }

vch_rc cli_passphrase(cli_t *cli, const char *option, char **ret)
{
    const char *path = cli_get(cli, option);
    vch_buf_t b;
    if (!path) {
        *ret = NULL;
        return VCH_OK;
    }
    VCH_TRY(cli_read_file(cli, path, 4096, &b));
    size_t n = 0;
    while (n < b.n && b.p[n] != '\n' && b.p[n] != '\r' && b.p[n]) n++;
    char *line = n ? vch_alloc(n + 1) : NULL;
    if (line) memcpy(line, b.p, n);
    if (b.p) vch_wipe(b.p, b.cap);
    vch_buf_free(&b);
    if (!n) return vch_fail(&cli->err, VCH_ERR_FORMAT, "%.300s holds no passphrase in its first line", path);
    if (!line) return vch_fail(&cli->err, VCH_ERR_MEMORY, "no memory for a passphrase");
    *ret = line;
    return VCH_OK;
}

void cli_passphrase_free(char *p)
{
    if (p) vch_wipe(p, strlen(p));
    vch_free(p);
}

vch_rc cli_path(cli_t *cli, char ret[CLI_PATH_MAX], const char *fmt, ...)
{
    char made[CLI_PATH_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(made, sizeof made, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof made)
        return vch_fail(&cli->err, VCH_ERR_LIMIT, "the path %.80s… is too long", made);
    memcpy(ret, made, (size_t)n + 1);
    return VCH_OK;
}

/* ---- what lies in keys/ ------------------------------------------------------------- */

/* The directory's name, its characters that mean something to glob escaped. */
static vch_rc put_escaped(vch_buf_t *b, const char *text)
{
    for (; *text; text++) {
        if (strchr("*?[\\", *text)) VCH_TRY(vch_buf_u8(b, '\\'));
        VCH_TRY(vch_buf_u8(b, (uint8_t)*text));
    }
    return VCH_OK;
}

static vch_rc each_match(cli_t *cli, const char *pattern, const char *ending, cli_name_fn fn, void *ctx)
{
    glob_t found;
    char name[256];
    vch_rc rc = VCH_OK;
    int g = glob(pattern, 0, NULL, &found);
    if (g == GLOB_NOMATCH) return VCH_OK;
    if (g != 0) return vch_fail(&cli->err, VCH_ERR_IO, "the folder keys can't be listed");
    for (size_t i = 0; i < found.gl_pathc && rc == VCH_OK; i++) {
        const char *slash = strrchr(found.gl_pathv[i], '/'), *base = slash ? slash + 1 : found.gl_pathv[i];
        size_t n = strlen(base) - strlen(ending);
        if (n == 0 || n >= sizeof name) continue;
        memcpy(name, base, n);
        name[n] = 0;
        rc = fn(cli, ctx, name);
    }
    globfree(&found);
    return rc;
}

vch_rc cli_keys_each(cli_t *cli, const char *ending, cli_name_fn fn, void *ctx)
{
    vch_buf_t pattern;
    vch_buf_init(&pattern, 4 * CLI_PATH_MAX);
    vch_rc rc = put_escaped(&pattern, cli->keys);
    if (rc == VCH_OK) rc = vch_buf_printf(&pattern, "/*%s", ending);
    if (rc == VCH_OK) rc = vch_buf_u8(&pattern, 0);
    rc = rc == VCH_OK ? each_match(cli, (const char *)pattern.p, ending, fn, ctx)
                      : vch_fail(&cli->err, rc, "the path of keys/: %s", vch_rc_text(rc));
    vch_buf_free(&pattern);
    return rc;
}
