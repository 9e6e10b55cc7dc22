/* SPDX-License-Identifier: Apache-2.0 */
/* A directory as a back end.  An upload is a file "up-<number>", renamed when
 * it is whole and synced. */
#include "store/backend.h"

#define BLOCK (512u << 10)
#define NAME_MAX_ 80u

typedef struct {
    vch_backend_t backend;
    vch_port_t *port;
    char path[VCH_PATH_MAX];
    uint64_t uploads;
} dir_t;

struct vch_upload {
    dir_t *dir;
    vch_file_t *file;
    bool renamed;
    char temporary[VCH_PATH_MAX], final[VCH_PATH_MAX];
    uint64_t at;
    vch_buf_t out;
};

static dir_t *dir_of(vch_backend_t *b) { return (dir_t *)(void *)b; }

static bool is_upload(const char *name) { return strncmp(name, "up-", 3) == 0; }

static bool good_name(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > NAME_MAX_ || name[0] == '.' || is_upload(name)) return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-')) return false;
    }
    return true;
}

static vch_rc path_of(const dir_t *d, const char *name, char ret[VCH_PATH_MAX], vch_err_t *err)
{
    if (!good_name(name)) return vch_fail(err, VCH_ERR_USAGE, "no name for an object: \"%.80s\"", name);
    vch_rc rc = vch_path(ret, "%s/%s", d->path, name);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the path is too long");
}

/* ---- uploads ---------------------------------------------------------------------------- */

static void end_upload(vch_upload_t *u)
{
    vch_file_close(u->dir->port, u->file);
    vch_buf_free(&u->out);
    vch_free(u);
}

static void upload_abort(vch_upload_t *u)
{
    vch_port_t *port = u->dir->port;
    if (u->file) (void)port->disk->remove(port, u->renamed ? u->final : u->temporary);
    end_upload(u);
}

static vch_rc start(vch_upload_t *u, const char *name, vch_err_t *err)
{
    dir_t *d = u->dir;
    vch_stat_t st;
    VCH_TRY(path_of(d, name, u->final, err));
    vch_rc rc = vch_path(u->temporary, "%s/up-%llu", d->path, (unsigned long long)++d->uploads);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    rc = d->port->disk->stat(d->port, u->final, &st);
    if (rc == VCH_OK) return vch_fail(err, VCH_ERR_CONFLICT, "%s is there already", u->final);
    if (rc != VCH_ERR_NOT_FOUND) return vch_fail(err, rc, "cannot look for %s: %s", u->final, vch_rc_text(rc));
    return vch_file_open(d->port, &u->file, u->temporary, VCH_OPEN_NEW, err);
}

static vch_rc dir_create(vch_backend_t *b, vch_upload_t **ret, const char *name, vch_err_t *err)
{
    vch_upload_t *u = vch_alloc(sizeof *u);
    if (!u) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    u->dir = dir_of(b);
    vch_buf_init(&u->out, 2 * BLOCK);
    vch_rc rc = start(u, name, err);
    if (rc == VCH_OK)
        *ret = u;
    else
        upload_abort(u);
    return rc;
}

static vch_rc write_out(vch_upload_t *u, const uint8_t *p, size_t n, vch_err_t *err)
{
    vch_port_t *port = u->dir->port;
    vch_rc rc = port->disk->write(port, u->file, p, n, u->at);
    if (rc != VCH_OK) return vch_fail(err, rc, "%s can't be written: %s", u->final, vch_rc_text(rc));
    u->at += n;
    return VCH_OK;
}

static vch_rc drain(vch_upload_t *u, vch_err_t *err)
{
    VCH_TRY(write_out(u, u->out.p, u->out.n, err));
    vch_buf_clear(&u->out);
    return VCH_OK;
}

static vch_rc dir_append(vch_upload_t *u, vch_slice_t data, vch_err_t *err)
{
    if (u->out.n && u->out.n + data.n > BLOCK) VCH_TRY(drain(u, err));
    if (data.n > BLOCK) return write_out(u, data.p, data.n, err);
    return vch_buf_put(&u->out, data.p, data.n) == VCH_OK ? VCH_OK : vch_fail(err, VCH_ERR_MEMORY, "out of memory");
}

static vch_rc make_durable(vch_upload_t *u, vch_err_t *err)
{
    vch_port_t *port = u->dir->port;
    VCH_TRY(drain(u, err));
    vch_rc rc = port->disk->sync(port, u->file);
    if (rc == VCH_OK) rc = port->disk->rename(port, u->temporary, u->final);
    u->renamed = rc == VCH_OK;
    if (rc == VCH_OK) rc = port->disk->sync_dir(port, u->dir->path);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "%s can't be finished: %s", u->final, vch_rc_text(rc));
}

static vch_rc dir_finish(vch_upload_t *u, vch_err_t *err)
{
    vch_rc rc = make_durable(u, err);
    if (rc == VCH_OK)
        end_upload(u);
    else
        upload_abort(u);
    return rc;
}

/* ---- objects -------------------------------------------------------------------------------- */

static vch_rc dir_size(vch_backend_t *b, const char *name, uint64_t *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    dir_t *d = dir_of(b);
    VCH_TRY(path_of(d, name, path, err));
    vch_rc rc = d->port->disk->stat(d->port, path, &st);
    if (rc != VCH_OK) return vch_fail(err, rc, "%s: %s", path, vch_rc_text(rc));
    *ret = st.size;
    return VCH_OK;
}

static vch_rc dir_read(vch_backend_t *b, const char *name, void *buf, size_t n, uint64_t at, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_file_t *file = NULL;
    dir_t *d = dir_of(b);
    VCH_TRY(path_of(d, name, path, err));
    VCH_TRY(vch_file_open(d->port, &file, path, VCH_OPEN_READ, err));
    vch_rc rc = vch_file_read(d->port, file, buf, n, at, err);
    vch_file_close(d->port, file);
    return rc;
}

static vch_rc dir_remove(vch_backend_t *b, const char *name, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    dir_t *d = dir_of(b);
    VCH_TRY(path_of(d, name, path, err));
    vch_rc rc = d->port->disk->remove(d->port, path);
    if (rc == VCH_OK) rc = d->port->disk->sync_dir(d->port, d->path);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "%s can't be removed: %s", path, vch_rc_text(rc));
}

typedef struct {
    vch_list_fn fn;
    void *ctx;
} each_t;

static vch_rc one_object(void *ctx, const char *name)
{
    each_t *e = ctx;
    return good_name(name) ? e->fn(e->ctx, name) : VCH_OK;
}

static vch_rc dir_list(vch_backend_t *b, vch_list_fn fn, void *ctx, vch_err_t *err)
{
    each_t e = {fn, ctx};
    dir_t *d = dir_of(b);
    vch_rc rc = d->port->disk->list(d->port, d->path, one_object, &e);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "%s can't be listed: %s", d->path, vch_rc_text(rc));
}

static void dir_close(vch_backend_t *b) { vch_free(dir_of(b)); }

static const vch_backend_ops_t ops = {dir_create, dir_append, dir_finish, upload_abort, dir_size,
                                      dir_read,   dir_remove, dir_list,   NULL,         dir_close};

/* ---- opening ---------------------------------------------------------------------------------- */

static vch_rc clear_one(void *ctx, const char *name)
{
    dir_t *d = ctx;
    char path[VCH_PATH_MAX];
    if (!is_upload(name)) return VCH_OK;
    VCH_TRY(vch_path(path, "%s/%s", d->path, name));
    return d->port->disk->remove(d->port, path);
}

vch_rc vch_backend_dir(vch_backend_t **ret, vch_port_t *port, const char *path, vch_err_t *err)
{
    dir_t *d = vch_alloc(sizeof *d);
    if (!d) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    d->backend.ops = &ops;
    d->port = port;
    vch_rc rc = vch_path(d->path, "%s", path);
    if (rc != VCH_OK)
        vch_fail(err, rc, "the path is too long");
    else
        rc = vch_mkdirs(port, path, err);
    if (rc == VCH_OK && (rc = port->disk->list(port, path, clear_one, d)) != VCH_OK)
        vch_fail(err, rc, "%s can't be cleared: %s", path, vch_rc_text(rc));
    if (rc == VCH_OK)
        *ret = &d->backend;
    else
        vch_free(d);
    return rc;
}

void vch_backend_close(vch_backend_t *b)
{
    if (b) b->ops->close(b);
}
