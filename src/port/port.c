/* SPDX-License-Identifier: Apache-2.0 */
#include "port/port.h"

#include <stdarg.h>
#include <stdio.h>

#define MODE_FILE 0600u /* what is not said to be public is private */
#define MODE_FOLDER 0700u
#define TMP_SUFFIX ".tmp"

/* "cannot <verb> <path>: <why>" and, where a person can do something, what. */
static vch_rc fail_at_path(vch_err_t *err, vch_rc rc, const char *verb, const char *path)
{
    vch_fail(err, rc, "cannot %s %s: %s", verb, path, vch_rc_text(rc));
    if (rc == VCH_ERR_FULL) return vch_hint(err, rc, "free some space on that disk and try again");
    if (rc == VCH_ERR_READ_ONLY) return vch_hint(err, rc, "check the owner and the permissions of %s", path);
    return rc;
}

vch_rc vch_file_open(vch_port_t *port, vch_file_t **ret, const char *path, vch_open_t how, vch_err_t *err)
{
    vch_rc rc = port->disk->open(port, ret, path, how, MODE_FILE);
    return rc == VCH_OK ? VCH_OK : fail_at_path(err, rc, "open", path);
}

void vch_file_close(vch_port_t *port, vch_file_t *file)
{
    if (file) port->disk->close(port, file);
}

vch_rc vch_file_read(vch_port_t *port, vch_file_t *file, void *buf, size_t n, uint64_t at, vch_err_t *err)
{
    size_t got = 0;
    vch_rc rc = port->disk->read(port, file, &got, buf, n, at);
    if (rc != VCH_OK) return vch_fail(err, rc, "cannot read at byte %llu: %s", (unsigned long long)at, vch_rc_text(rc));
    if (got == n) return VCH_OK;
    return vch_fail(err, VCH_ERR_CORRUPT, "file ends early: %zu of %zu bytes at byte %llu", got, n,
                    (unsigned long long)at);
}

static vch_rc read_opened(vch_port_t *port, vch_file_t *file, vch_buf_t *ret, const char *path, size_t max,
                          vch_err_t *err)
{
    uint64_t size;
    vch_rc rc = port->disk->size(port, file, &size);
    if (rc != VCH_OK) return fail_at_path(err, rc, "read", path);
    if (size > max) {
        return vch_fail(err, VCH_ERR_LIMIT, "%s has %llu bytes, more than the %zu allowed", path,
                        (unsigned long long)size, max);
    }
    size_t before = ret->n;
    uint8_t *to;
    rc = vch_buf_extend(ret, (size_t)size, &to);
    if (rc != VCH_OK) return fail_at_path(err, rc, "read", path);
    rc = size ? vch_file_read(port, file, to, (size_t)size, 0, err) : VCH_OK;
    if (rc == VCH_OK) return VCH_OK;
    ret->n = before;
    return vch_context(err, rc, "%s", path);
}

vch_rc vch_read_all(vch_port_t *port, vch_buf_t *ret, const char *path, size_t max, vch_err_t *err)
{
    vch_file_t *file;
    VCH_TRY(vch_file_open(port, &file, path, VCH_OPEN_READ, err));
    vch_rc rc = read_opened(port, file, ret, path, max, err);
    vch_file_close(port, file);
    return rc;
}

vch_rc vch_path(char ret[VCH_PATH_MAX], const char *fmt, ...)
{
    char made[VCH_PATH_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(made, sizeof made, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof made) return VCH_ERR_LIMIT;
    memcpy(ret, made, (size_t)n + 1);
    return VCH_OK;
}

/* The folder a path lies in: "a/b" -> "a", "/a" -> "/", "a" -> ".". */
static vch_rc parent_of(char ret[VCH_PATH_MAX], const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    if (n == 0) return vch_path(ret, ".");
    while (n > 1 && path[n - 1] == '/') n--;
    return n >= VCH_PATH_MAX ? VCH_ERR_LIMIT : vch_path(ret, "%.*s", (int)n, path);
}

static vch_rc write_new(vch_port_t *port, const char *path, vch_slice_t data, unsigned mode, bool sync)
{
    const vch_disk_ops_t *disk = port->disk;
    vch_rc rc = disk->remove(port, path); /* what a cut writing left behind, with whatever mode it had */
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    vch_file_t *file;
    VCH_TRY(disk->open(port, &file, path, VCH_OPEN_NEW, mode));
    rc = data.n ? disk->write(port, file, data.p, data.n, 0) : VCH_OK;
    if (rc == VCH_OK && sync) rc = disk->sync(port, file);
    disk->close(port, file);
    return rc;
}

/* Removing the temporary file is best effort: the caller already has a
 * failure to report, and the next writing removes it anyway. */
static vch_rc replace(vch_port_t *port, const char *path, vch_slice_t data, unsigned mode, bool sync)
{
    char tmp[VCH_PATH_MAX], folder[VCH_PATH_MAX];
    VCH_TRY(vch_path(tmp, "%s" TMP_SUFFIX, path));
    VCH_TRY(parent_of(folder, path));
    vch_rc rc = write_new(port, tmp, data, mode, sync);
    if (rc == VCH_OK) rc = port->disk->rename(port, tmp, path);
    if (rc != VCH_OK) {
        (void)port->disk->remove(port, tmp);
        return rc;
    }
    return sync ? port->disk->sync_dir(port, folder) : VCH_OK;
}

vch_rc vch_write_atomic(vch_port_t *port, const char *path, vch_slice_t data, unsigned mode, vch_err_t *err)
{
    vch_rc rc = replace(port, path, data, mode, true);
    return rc == VCH_OK ? VCH_OK : fail_at_path(err, rc, "write", path);
}

vch_rc vch_write_derived(vch_port_t *port, const char *path, vch_slice_t data, vch_err_t *err)
{
    vch_rc rc = replace(port, path, data, MODE_FILE, false);
    return rc == VCH_OK ? VCH_OK : fail_at_path(err, rc, "write", path);
}

static vch_rc make_folder(vch_port_t *port, const char *path)
{
    char parent[VCH_PATH_MAX];
    vch_stat_t st;
    vch_rc rc = port->disk->stat(port, path, &st);
    if (rc == VCH_OK) return st.is_dir ? VCH_OK : VCH_ERR_CONFLICT;
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    rc = port->disk->mkdir(port, path, MODE_FOLDER);
    if (rc == VCH_ERR_CONFLICT) return VCH_OK; /* another process was faster */
    if (rc != VCH_OK) return rc;
    VCH_TRY(parent_of(parent, path));
    return port->disk->sync_dir(port, parent);
}

vch_rc vch_mkdirs(vch_port_t *port, const char *path, vch_err_t *err)
{
    size_t n = strlen(path);
    if (n == 0) return VCH_OK;
    if (n >= VCH_PATH_MAX) return vch_fail(err, VCH_ERR_LIMIT, "path of %zu bytes is too long", n);
    char part[VCH_PATH_MAX];
    for (size_t i = 1; i <= n; i++) {
        if (i < n && path[i] != '/') continue;
        if (path[i - 1] == '/') continue; /* "//" or the root */
        memcpy(part, path, i);
        part[i] = 0;
        vch_rc rc = make_folder(port, part);
        if (rc != VCH_OK) return fail_at_path(err, rc, "make the folder", part);
    }
    return VCH_OK;
}

vch_rc vch_random(vch_port_t *port, void *buf, size_t n, vch_err_t *err)
{
    vch_rc rc = port->random->fill(port, buf, n);
    return rc == VCH_OK ? VCH_OK : vch_fail(err, rc, "the system gave no randomness");
}
