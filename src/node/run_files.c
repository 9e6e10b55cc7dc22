/* SPDX-License-Identifier: Apache-2.0 */
/* Files around a run: the command's, the system's, the outputs. */
#include <stdio.h>
#include <stdlib.h>

#include "codec/cbor.h"
#include "codec/json.h"
#include "node/node_int.h"
#include "node/run.h"

#define BLOCK (1u << 18)
#define METRICS_MAX 65536

/* ---- one file: hashed, and copied or synced ------------------------------------------ */

typedef struct {
    vch_port_t *port;
    vch_file_t *from, *to; /* to: NULL unless copied */
    uint64_t size;         /* as it was when we began */
    vch_hash_t digest;
} pass_t;

static vch_rc pass_blocks(pass_t *p, uint8_t *block)
{
    vch_sha256_t h;
    size_t got = 0;
    vch_sha256_init(&h);
    for (uint64_t at = 0; at < p->size; at += got) {
        VCH_TRY(p->port->disk->read(p->port, p->from, &got, block, vch_min(BLOCK, p->size - at), at));
        if (got == 0) return VCH_ERR_CORRUPT;
        vch_sha256_add(&h, block, got);
        if (p->to) VCH_TRY(p->port->disk->write(p->port, p->to, block, got, at));
    }
    vch_sha256_end(&h, &p->digest);
    return VCH_OK;
}

/* Never more than its size: a device or pipe has none, and is not even opened. */
static vch_rc hash_file(vch_port_t *port, const char *path, bool sync, vch_hash_t *ret, uint64_t *ret_size,
                        vch_err_t *err)
{
    vch_stat_t st;
    pass_t p = {.port = port};
    vch_rc rc = port->disk->stat(port, path, &st);
    if (rc == VCH_OK && st.size == 0) {
        vch_sha256(ret, "", 0);
        *ret_size = 0;
        return VCH_OK;
    }
    p.size = st.size;
    uint8_t *block = rc == VCH_OK ? vch_alloc(BLOCK) : NULL;
    if (rc == VCH_OK && !block) rc = VCH_ERR_MEMORY;
    if (rc == VCH_OK) rc = vch_file_open(port, &p.from, path, VCH_OPEN_READ, err);
    if (rc == VCH_OK) rc = pass_blocks(&p, block);
    if (rc == VCH_OK && sync) rc = port->disk->sync(port, p.from);
    vch_file_close(port, p.from);
    vch_free(block);
    if (rc != VCH_OK) return vch_fail(err, rc, "%s can't be read: %s", path, vch_rc_text(rc));
    *ret = p.digest;
    *ret_size = p.size;
    return VCH_OK;
}

static vch_rc copy_file(vch_port_t *port, const char *from, const char *to, vch_err_t *err)
{
    vch_stat_t st = {.size = 0};
    pass_t p = {.port = port};
    vch_rc rc = port->disk->stat(port, from, &st);
    p.size = st.size;
    uint8_t *block = rc == VCH_OK ? vch_alloc(BLOCK) : NULL;
    if (rc == VCH_OK && !block) rc = VCH_ERR_MEMORY;
    if (rc == VCH_OK) rc = vch_file_open(port, &p.to, to, VCH_OPEN_NEW, err);
    if (rc == VCH_OK && p.size) rc = vch_file_open(port, &p.from, from, VCH_OPEN_READ, err);
    if (rc == VCH_OK && p.size) rc = pass_blocks(&p, block);
    if (rc == VCH_OK) rc = port->disk->sync(port, p.to);
    vch_file_close(port, p.from);
    vch_file_close(port, p.to);
    vch_free(block);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "%s can't be copied to %s: %s", from, to, vch_rc_text(rc));
}

/* ---- the command ----------------------------------------------------------------- */

static vch_rc put_argv(vch_buf_t *b, const char *const *argv)
{
    VCH_TRY(vch_buf_u8(b, '['));
    for (size_t i = 0; argv[i]; i++) {
        if (i) VCH_TRY(vch_buf_u8(b, ','));
        VCH_TRY(vch_json_put_string(b, vch_str(argv[i])));
    }
    return vch_buf_u8(b, ']');
}

vch_rc run_parameters(run_t *r)
{
    vch_rc rc = put_argv(&r->parameters, r->spec->argv);
    if (rc == VCH_ERR_FORMAT) return vch_fail(r->err, rc, "the command's arguments must be UTF-8");
    if (rc == VCH_OK && r->parameters.n > RUN_PARAMETERS_MAX) rc = VCH_ERR_LIMIT;
    if (rc != VCH_ERR_LIMIT) return rc;
    vch_fail(r->err, rc, "the command and its arguments have more than %u bytes", RUN_PARAMETERS_MAX);
    return vch_hint(r->err, rc, "put it into a script and run that");
}

/* Whether a file is there; what can't be said is no answer. */
static vch_rc look_for(run_t *r, const char *path, bool *ret)
{
    vch_stat_t st = {.size = 0};
    vch_rc rc = r->l->port->disk->stat(r->l->port, path, &st);
    if (rc == VCH_ERR_IO || rc == VCH_ERR_FULL || rc == VCH_ERR_MEMORY)
        return vch_fail(r->err, rc, "looking for %.200s: %s", path, vch_rc_text(rc));
    *ret = rc == VCH_OK && !st.is_dir;
    return VCH_OK;
}

/* Is this argument a file, and so part of the code? A bare argv[0] is looked
 * for in PATH, not here. */
static vch_rc is_code(run_t *r, size_t i, bool *ret)
{
    const char *name = r->spec->argv[i];
    *ret = false;
    return i == 0 && !strchr(name, '/') ? VCH_OK : look_for(r, name, ret);
}

vch_rc run_code_hash(run_t *r)
{
    vch_sha256_t h;
    vch_sha256_init(&h);
    for (size_t i = 0; r->spec->argv[i]; i++) vch_sha256_add(&h, r->spec->argv[i], strlen(r->spec->argv[i]) + 1);
    for (size_t i = 0; r->spec->argv[i]; i++) {
        vch_hash_t digest;
        uint64_t size;
        uint8_t number[4];
        bool code = false;
        VCH_TRY(is_code(r, i, &code));
        if (!code) continue;
        VCH_TRY(hash_file(r->l->port, r->spec->argv[i], false, &digest, &size, r->err));
        vch_put_u32(number, (uint32_t)i);
        vch_sha256_add(&h, number, 4);
        vch_sha256_add(&h, digest.b, 32);
    }
    vch_sha256_end(&h, &r->code);
    return VCH_OK;
}

vch_rc run_environment_hash(run_t *r)
{
    char program[VCH_PATH_MAX];
    vch_hash_t digest;
    uint64_t size;
    vch_buf_t text;
    if (!vch_child_find(r->spec->argv[0], program))
        return vch_fail(r->err, VCH_ERR_NOT_FOUND, "the command \"%s\" is not there", r->spec->argv[0]);
    VCH_TRY(hash_file(r->l->port, program, false, &digest, &size, r->err));
    vch_buf_init(&text, 1u << 20);
    vch_rc rc = vch_child_system(&text);
    if (rc == VCH_OK) rc = vch_buf_put(&text, digest.b, 32);
    if (rc == VCH_OK) vch_sha256(&r->environment, text.p, text.n);
    vch_buf_free(&text);
    return rc == VCH_OK ? rc : vch_fail(r->err, rc, "this system can't be described: %s", vch_rc_text(rc));
}

/* ---- its folder --------------------------------------------------------------------- */

static vch_rc refuse_name(void *ctx, const char *name)
{
    run_t *r = ctx;
    vch_fail(r->err, VCH_ERR_CONFLICT, "%s holds \"%.100s\" already", r->out, name);
    return vch_hint(r->err, VCH_ERR_CONFLICT, "empty it first, or each file there would count as this run's");
}

vch_rc run_make_work(run_t *r)
{
    uint8_t name[8];
    char hex[17], sub[VCH_PATH_MAX];
    vch_port_t *port = r->l->port;
    VCH_TRY(vch_random(port, name, sizeof name, r->err));
    vch_hex(hex, name, sizeof name);
    vch_rc rc =
        r->spec->work_dir ? vch_path(sub, "%s", r->spec->work_dir) : vch_ledger_path(r->l, sub, "runs/new-%s", hex);
    if (rc == VCH_OK) rc = vch_child_absolute(r->work, sub);
    if (rc == VCH_OK) rc = vch_path(r->out, "%s/out", r->work);
    if (rc == VCH_OK) rc = vch_path(sub, "%s/in", r->work);
    if (rc != VCH_OK) return vch_fail(r->err, rc, "the run's folder can't be named: %s", vch_rc_text(rc));
    VCH_TRY(vch_mkdirs(port, sub, r->err));
    VCH_TRY(vch_mkdirs(port, r->out, r->err));
    return port->disk->list(port, r->out, refuse_name, r);
}

/* ---- what it left ------------------------------------------------------------------- */

typedef struct {
    run_t *run;
    const char *folder; /* below out/, with its slash; "" at the top */
    unsigned depth;
} walk_t;

/* A line of a list must hold it. */
static bool fits_a_line(const char *name)
{
    for (; *name; name++)
        if ((unsigned char)*name < 0x20 || *name == 0x7f) return false;
    return true;
}

static vch_rc take_file(run_t *r, const char *name, const char *path)
{
    if (r->outputs == RUN_OUTPUTS_MAX)
        return vch_fail(r->err, VCH_ERR_LIMIT, "a run may leave at most %d files", RUN_OUTPUTS_MAX);
    run_output_t *o = &r->output[r->outputs];
    if (strlen(name) >= sizeof o->name || !vch_utf8_valid(vch_str(name)))
        return vch_fail(r->err, VCH_ERR_LIMIT, "an output's name is too long or not UTF-8: %.100s", name);
    memcpy(o->name, name, strlen(name) + 1);
    if (!fits_a_line(name))
        return vch_fail(r->err, VCH_ERR_FORMAT, "an output's name holds control characters: %.100s", name);
    VCH_TRY(hash_file(r->l->port, path, true, &o->digest, &o->size, r->err));
    r->outputs++;
    return VCH_OK;
}

static vch_rc take_output(void *ctx, const char *name);

/* What lies in a folder of out/, and that it lies there, is on the disk. */
static vch_rc take_folder(run_t *r, const char *path, const char *below, unsigned depth)
{
    walk_t w = {r, below, depth};
    VCH_TRY(r->l->port->disk->list(r->l->port, path, take_output, &w));
    return r->l->port->disk->sync_dir(r->l->port, path);
}

/* Its numbers go onto the ledger; the file itself is kept beside the model. */
static vch_rc take_metrics_file(run_t *r, const char *path)
{
    VCH_TRY(hash_file(r->l->port, path, true, &r->metrics_digest, &r->metrics_size, r->err));
    r->has_metrics = true;
    return VCH_OK;
}

static vch_rc take_output(void *ctx, const char *name)
{
    const walk_t *w = ctx;
    run_t *r = w->run;
    char path[VCH_PATH_MAX], below[VCH_PATH_MAX];
    vch_stat_t st;
    VCH_TRY(vch_path(below, "%s%s", w->folder, name));
    VCH_TRY(vch_path(path, "%s/%s", r->out, below));
    vch_rc rc = r->l->port->disk->stat(r->l->port, path, &st);
    if (rc == VCH_ERR_NOT_FOUND) return VCH_OK; /* a link to nothing */
    VCH_TRY(rc);
    if (!st.is_dir)
        return strcmp(below, RUN_METRICS_FILE) == 0 ? take_metrics_file(r, path) : take_file(r, below, path);
    if (w->depth == RUN_OUTPUT_DEPTH_MAX)
        return vch_fail(r->err, VCH_ERR_LIMIT, "a run may leave at most %d folders inside each other",
                        RUN_OUTPUT_DEPTH_MAX);
    VCH_TRY(vch_path(below, "%s%s/", w->folder, name));
    return take_folder(r, path, below, w->depth + 1);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const run_output_t *)a)->name, ((const run_output_t *)b)->name);
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
    if (!r->has_metrics) return VCH_OK;
    VCH_TRY(vch_path(path, "%s/" RUN_METRICS_FILE, r->out));
    vch_buf_init(&text, METRICS_MAX);
    vch_arena_init(&arena, 1u << 20);
    vch_rc rc = vch_read_all(r->l->port, &text, path, METRICS_MAX, r->err);
    if (rc == VCH_OK) rc = take_metrics(r, vch_buf_slice(&text), &arena);
    vch_buf_free(&text);
    vch_arena_free(&arena);
    return rc == VCH_OK ? rc : vch_context(r->err, rc, RUN_METRICS_FILE);
}

vch_rc run_collect(run_t *r)
{
    vch_rc rc = take_folder(r, r->out, "", 0);
    if (rc != VCH_OK) return vch_context(r->err, rc, "the run's outputs");
    if (r->outputs > 1) qsort(r->output, r->outputs, sizeof *r->output, by_name);
    return read_metrics(r);
}

/* ---- keeping it ---------------------------------------------------------------------- */

static vch_rc copy_one(run_t *r, const char *to_folder, const char *name)
{
    char from[VCH_PATH_MAX], to[VCH_PATH_MAX], folder[VCH_PATH_MAX];
    VCH_TRY(vch_path(from, "%s/%s", r->out, name));
    VCH_TRY(vch_path(to, "%s/%s", to_folder, name));
    VCH_TRY(vch_path(folder, "%s", to));
    *strrchr(folder, '/') = 0;
    VCH_TRY(vch_mkdirs(r->l->port, folder, r->err));
    VCH_TRY(copy_file(r->l->port, from, to, r->err));
    return r->l->port->disk->sync_dir(r->l->port, folder);
}

static vch_rc copy_all(run_t *r, const char *to)
{
    for (size_t i = 0; i < r->outputs; i++) VCH_TRY(copy_one(r, to, r->output[i].name));
    return r->has_metrics ? copy_one(r, to, RUN_METRICS_FILE) : VCH_OK;
}

/* Under a name of this run first, so that models/<digest>/ is whole or not there. */
static vch_rc keep_at(run_t *r, const char *folder, const char *target)
{
    char from[VCH_PATH_MAX], hex[65];
    vch_port_t *port = r->l->port;
    VCH_TRY(vch_mkdirs(port, folder, r->err));
    vch_hex(hex, r->run.b, 32);
    if (r->spec->work_dir) {
        VCH_TRY(vch_path(from, "%s/new-%s", folder, hex));
        VCH_TRY(vch_mkdirs(port, from, r->err));
        VCH_TRY(copy_all(r, from));
    } else {
        VCH_TRY(vch_path(from, "%s", r->out));
    }
    VCH_TRY(port->disk->rename(port, from, target));
    VCH_TRY(vch_path(r->out, "%s", target));
    return port->disk->sync_dir(port, folder);
}

vch_rc run_keep(run_t *r, const vch_hash_t *digest)
{
    char at[VCH_PATH_MAX], folder[VCH_PATH_MAX], target[VCH_PATH_MAX], hex[65];
    vch_stat_t st;
    vch_hex(hex, digest->b, 32);
    VCH_TRY(vch_ledger_path(r->l, at, "models"));
    VCH_TRY(vch_child_absolute(folder, at));
    VCH_TRY(vch_path(target, "%s/%s", folder, hex));
    if (r->l->port->disk->stat(r->l->port, target, &st) == VCH_OK) return VCH_OK; /* an earlier run left the same */
    vch_rc rc = keep_at(r, folder, target);
    return rc == VCH_OK ? rc : vch_context(r->err, rc, "the run and its model are logged; %s can't be made", target);
}

/* ---- checksums of it, for vouch check ------------------------------------------------ */

/* A path below the ledger's directory; what lies elsewhere is not the ledger's. */
static bool below(run_t *r, const char *path, const char **ret)
{
    char dir[VCH_PATH_MAX];
    if (vch_child_absolute(dir, r->l->dir) != VCH_OK) return false;
    size_t n = strlen(dir);
    *ret = path + n + 1;
    return strncmp(path, dir, n) == 0 && path[n] == '/';
}

static vch_rc add_holdout(run_t *r, nd_sums_t *s)
{
    char path[VCH_PATH_MAX], folder[VCH_PATH_MAX];
    const char *name;
    vch_hash_t digest;
    uint64_t size;
    VCH_TRY(vch_path(folder, "%s/in", r->work));
    VCH_TRY(vch_path(path, "%s/holdout.csv", folder));
    if (!r->made_holdout || !below(r, path, &name)) return VCH_OK;
    VCH_TRY(hash_file(r->l->port, path, true, &digest, &size, r->err));
    VCH_TRY(r->l->port->disk->sync_dir(r->l->port, folder));
    return nd_sums_add(s, name, size, &digest);
}

static vch_rc add_output(run_t *r, nd_sums_t *s, const char *output, uint64_t size, const vch_hash_t *digest)
{
    char path[VCH_PATH_MAX];
    const char *name;
    VCH_TRY(vch_path(path, "%s/%s", r->out, output));
    return below(r, path, &name) ? nd_sums_add(s, name, size, digest) : VCH_OK;
}

static vch_rc add_all(run_t *r, nd_sums_t *s)
{
    VCH_TRY(add_holdout(r, s));
    for (size_t i = 0; i < r->outputs; i++)
        VCH_TRY(add_output(r, s, r->output[i].name, r->output[i].size, &r->output[i].digest));
    return r->has_metrics ? add_output(r, s, RUN_METRICS_FILE, r->metrics_size, &r->metrics_digest) : VCH_OK;
}

vch_rc run_keep_sums(run_t *r)
{
    char hex[65], name[80], folder[VCH_PATH_MAX];
    nd_sums_t s;
    vch_hex(hex, r->run.b, 32);
    (void)snprintf(name, sizeof name, "runs/%s.sums", hex);
    VCH_TRY(vch_ledger_path(r->l, folder, "runs"));
    VCH_TRY(vch_mkdirs(r->l->port, folder, r->err));
    vch_rc rc = nd_sums_begin(&s, r->l->port, r->l->dir, r->err);
    if (rc == VCH_OK) rc = add_all(r, &s);
    if (rc == VCH_OK) rc = nd_sums_end(&s, name);
    nd_sums_free(&s);
    return rc == VCH_OK ? rc : vch_context(r->err, rc, "the run is logged; %s can't be written", name);
}

/* ---- cleaning up ---------------------------------------------------------------------- */

static void remove_input(run_t *r, const char *name, bool *made)
{
    char path[VCH_PATH_MAX];
    if (!*made || vch_path(path, "%s/in/%s", r->work, name) != VCH_OK) return;
    vch_rc rc = r->l->port->disk->remove(r->l->port, path);
    *made = rc != VCH_OK && rc != VCH_ERR_NOT_FOUND;
}

bool run_remove_rows(run_t *r, bool holdout)
{
    remove_input(r, "train.csv", &r->made_train);
    if (holdout) remove_input(r, "holdout.csv", &r->made_holdout);
    return !r->made_train && !(holdout && r->made_holdout);
}

vch_rc run_rows_stay(run_t *r, vch_rc cause)
{
    if (cause == VCH_OK)
        cause = vch_fail(r->err, VCH_ERR_IO, "the run is logged, but its rows can't be removed from %s/in", r->work);
    return vch_hint(r->err, cause, "rows in the clear are left: remove %s/in/train.csv", r->work);
}

void run_remove_work(run_t *r, vch_rc cause)
{
    if (!run_remove_rows(r, true) && !run_remove_rows(r, true)) (void)run_rows_stay(r, cause);
    if (r->spec->work_dir || !r->work[0]) return;
    char in[VCH_PATH_MAX];
    if (vch_path(in, "%s/in", r->work) == VCH_OK) (void)r->l->port->disk->remove(r->l->port, in);
    (void)r->l->port->disk->remove(r->l->port, r->out);
    (void)r->l->port->disk->remove(r->l->port, r->work);
}
