/* SPDX-License-Identifier: Apache-2.0 */
/* Files around a run: the command's, the system's, the outputs. */
#include <stdio.h>
#include <stdlib.h>

#include "codec/cbor.h"
#include "codec/json.h"
#include "node/run.h"

#define BLOCK (1u << 18)
#define METRICS_FILE "metrics.json"
#define METRICS_MAX 65536

vch_rc run_hash_file(vch_port_t *port, const char *path, vch_hash_t *ret, uint64_t *ret_size, vch_err_t *err)
{
    vch_file_t *file;
    vch_sha256_t h;
    uint64_t at = 0;
    size_t got = 0;
    uint8_t *block = vch_alloc(BLOCK);
    if (!block) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_rc rc = vch_file_open(port, &file, path, VCH_OPEN_READ, err);
    if (rc != VCH_OK) {
        vch_free(block);
        return rc;
    }
    vch_sha256_init(&h);
    do {
        rc = port->disk->read(port, file, &got, block, BLOCK, at);
        if (rc != VCH_OK) break;
        vch_sha256_add(&h, block, got);
        at += got;
    } while (got);
    vch_file_close(port, file);
    vch_free(block);
    if (rc != VCH_OK) return vch_fail(err, rc, "%s can't be read: %s", path, vch_rc_text(rc));
    vch_sha256_end(&h, ret);
    *ret_size = at;
    return VCH_OK;
}

/* ---- the command ----------------------------------------------------------------- */

/* argv joined by NUL, then for each element that names a file: its number and
 * the file's hash.  So a script that changed is another code. */
vch_rc run_code_hash(run_t *r)
{
    vch_sha256_t h;
    vch_sha256_init(&h);
    for (size_t i = 0; r->spec->argv[i]; i++) vch_sha256_add(&h, r->spec->argv[i], strlen(r->spec->argv[i]) + 1);
    for (size_t i = 1; r->spec->argv[i]; i++) {
        vch_stat_t st;
        vch_hash_t digest;
        uint64_t size;
        uint8_t number[4];
        if (r->l->port->disk->stat(r->l->port, r->spec->argv[i], &st) != VCH_OK || st.is_dir) continue;
        VCH_TRY(run_hash_file(r->l->port, r->spec->argv[i], &digest, &size, r->err));
        vch_put_u32(number, (uint32_t)i);
        vch_sha256_add(&h, number, 4);
        vch_sha256_add(&h, digest.b, 32);
    }
    vch_sha256_end(&h, &r->code);
    return VCH_OK;
}

vch_rc run_environment_hash(run_t *r)
{
    char text[400], program[VCH_PATH_MAX];
    vch_hash_t digest = {{0}};
    uint64_t size;
    vch_sha256_t h;
    if (!vch_child_find(r->spec->argv[0], program))
        return vch_fail(r->err, VCH_ERR_NOT_FOUND, "the command \"%s\" is not there", r->spec->argv[0]);
    VCH_TRY(run_hash_file(r->l->port, program, &digest, &size, r->err));
    vch_child_system(text, sizeof text);
    vch_sha256_init(&h);
    vch_sha256_add(&h, text, strlen(text) + 1);
    vch_sha256_add(&h, digest.b, 32);
    vch_sha256_end(&h, &r->environment);
    return VCH_OK;
}

/* ---- what it left ------------------------------------------------------------------- */

static vch_rc take_output(void *ctx, const char *name)
{
    run_t *r = ctx;
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    VCH_TRY(vch_path(path, "%s/out/%s", r->work, name));
    VCH_TRY(r->l->port->disk->stat(r->l->port, path, &st));
    if (st.is_dir || strcmp(name, METRICS_FILE) == 0) return VCH_OK;
    if (r->outputs == RUN_OUTPUTS_MAX)
        return vch_fail(r->err, VCH_ERR_LIMIT, "a run may leave at most %d files", RUN_OUTPUTS_MAX);
    run_output_t *o = &r->output[r->outputs];
    if (strlen(name) >= sizeof o->name || !vch_utf8_valid(vch_str(name)))
        return vch_fail(r->err, VCH_ERR_LIMIT, "an output's name is too long or not UTF-8: %.100s", name);
    snprintf(o->name, sizeof o->name, "%s", name);
    VCH_TRY(run_hash_file(r->l->port, path, &o->digest, &o->size, r->err));
    r->outputs++;
    return VCH_OK;
}

static vch_rc put_metric(vch_buf_t *b, const vch_json_t *m)
{
    VCH_TRY(vch_cbor_map(b, 2));
    VCH_TRY(vch_cbor_uint(b, VCH_F_METRIC_NAME));
    VCH_TRY(vch_cbor_text(b, (const char *)m->name.p, m->name.n));
    VCH_TRY(vch_cbor_uint(b, VCH_F_METRIC_VALUE));
    return vch_cbor_text(b, (const char *)m->text.p, m->text.n);
}

static bool good_metric(const vch_json_t *m)
{
    return (m->type == VCH_JSON_NUMBER || m->type == VCH_JSON_STRING) && m->name.n >= 1 && m->name.n <= 64 &&
           m->text.n >= 1 && m->text.n <= 64;
}

static vch_rc take_metrics(run_t *r, vch_slice_t text, vch_arena_t *arena)
{
    const vch_json_t *json;
    VCH_TRY(vch_json_parse(arena, &json, text, r->err));
    if (json->type != VCH_JSON_OBJECT || json->count > 64)
        return vch_fail(r->err, VCH_ERR_FORMAT, "it must be one object of at most 64 members");
    VCH_TRY(vch_cbor_array(&r->metrics, json->count));
    for (const vch_json_t *m = json->first; m; m = m->next) {
        if (!good_metric(m))
            return vch_fail(r->err, VCH_ERR_FORMAT, "\"%.*s\" is no number or text of 1 to 64 bytes", (int)m->name.n,
                            (const char *)m->name.p);
        VCH_TRY(put_metric(&r->metrics, m));
    }
    return VCH_OK;
}

static vch_rc read_metrics(run_t *r)
{
    char path[VCH_PATH_MAX];
    vch_buf_t text;
    vch_arena_t arena;
    vch_stat_t st;
    VCH_TRY(vch_path(path, "%s/out/" METRICS_FILE, r->work));
    if (r->l->port->disk->stat(r->l->port, path, &st) != VCH_OK) return vch_cbor_array(&r->metrics, 0);
    vch_buf_init(&text, METRICS_MAX);
    vch_arena_init(&arena, 1u << 20);
    vch_rc rc = vch_read_all(r->l->port, &text, path, METRICS_MAX, r->err);
    if (rc == VCH_OK) rc = take_metrics(r, vch_buf_slice(&text), &arena);
    vch_buf_free(&text);
    vch_arena_free(&arena);
    return rc == VCH_OK ? rc : vch_context(r->err, rc, METRICS_FILE);
}

vch_rc run_collect(run_t *r)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(vch_path(path, "%s/out", r->work));
    VCH_TRY(r->l->port->disk->list(r->l->port, path, take_output, r));
    return read_metrics(r);
}

/* ---- cleaning up ---------------------------------------------------------------------- */

typedef struct {
    vch_port_t *port;
    const char *path;
} remove_t;

static vch_rc remove_one(void *ctx, const char *name)
{
    remove_t *d = ctx;
    char path[VCH_PATH_MAX];
    if (vch_path(path, "%s/%s", d->path, name) == VCH_OK) (void)d->port->disk->remove(d->port, path);
    return VCH_OK;
}

void run_remove(vch_ledger_t *l, const char *path)
{
    static const char *const inner[] = {"in", "out"};
    char sub[VCH_PATH_MAX];
    for (size_t i = 0; i < 2; i++) {
        if (vch_path(sub, "%s/%s", path, inner[i]) != VCH_OK) return;
        remove_t d = {l->port, sub};
        (void)l->port->disk->list(l->port, sub, remove_one, &d);
        (void)l->port->disk->remove(l->port, sub);
    }
    (void)l->port->disk->remove(l->port, path);
}
