/* SPDX-License-Identifier: Apache-2.0 */
/* A storage node: named objects for whoever asks, put there by its writers.
 *
 *   storage.conf   listen, writers (key ids, with commas)
 *   shards/        one file an object (store/backend.h)
 *   lock           held while it serves
 *
 * It knows no ledger and no key but its own.  A piece that comes twice, because
 * its answer was lost, is taken once. */
#include "vouchsafe/vault.h"

#include <stdio.h>

#include "api/role.h"
#include "codec/cbor.h"
#include "node/ini.h"
#include "node/node_int.h"
#include "node/served.h"

#define WRITERS_MAX 16u
#define UPLOADS_MAX 64u
#define UPLOAD_MS (10u * 60 * 1000) /* one that nothing was added to for so long is given up */

typedef struct {
    char name[81]; /* "": free */
    vch_keyid_t writer;
    vch_upload_t *u;
    uint64_t at, touched_boot;
} upload_t;

typedef struct {
    role_t role;
    char writers[WRITERS_MAX * 66];
    vch_keyid_t writer[WRITERS_MAX];
    size_t writers_n;
    vch_file_t *lock;
    pthread_mutex_t mutex; /* of what follows */
    vch_backend_t *store;
    upload_t upload[UPLOADS_MAX];
    uint64_t done_size; /* of the upload that was finished last, for who asks twice */
    char done_name[81];
} storage_t;

static vch_port_t *port(void) { return vch_port_real(); }
static uint64_t boot_ms(void) { return port()->clock->boot_ms(port()); }
static storage_t *of(const role_call_t *c) { return c->role->ctx; }

/* ---- settings ----------------------------------------------------------------------------- */

static vch_rc take_writers(storage_t *s, vch_err_t *err)
{
    const char *p = s->writers;
    for (s->writers_n = 0; *p; s->writers_n++) {
        p += strspn(p, " ,");
        if (!*p) break;
        if (s->writers_n == WRITERS_MAX || strcspn(p, " ,") != 64 || !vch_unhex(s->writer[s->writers_n].b, 32, p, 64))
            return vch_fail(err, VCH_ERR_FORMAT, "storage.conf: writers are key ids of 64 hex digits, at most %u",
                            WRITERS_MAX);
        p += 64;
    }
    if (s->writers_n) return VCH_OK;
    return vch_fail(err, VCH_ERR_FORMAT, "storage.conf: without writers nothing can be put here");
}

static vch_rc load_conf(storage_t *s, const char *dir, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    const vch_ini_t at[] = {{"listen", s->role.listen, sizeof s->role.listen, NULL, 0, 0, 0},
                            {"writers", s->writers, sizeof s->writers, NULL, 0, 0, 0},
                            {0}};
    s->role.dir = dir;
    (void)snprintf(s->role.listen, sizeof s->role.listen, "127.0.0.1:7122");
    if (vch_path(path, "%s/storage.conf", dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    vch_rc rc = vch_ini_load(port(), path, at, err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_hint(err, rc, "make one: vouch storage init");
    return rc == VCH_OK ? take_writers(s, err) : rc;
}

static bool may_write(const storage_t *s, const vch_keyid_t *key)
{
    for (size_t i = 0; i < s->writers_n; i++)
        if (vch_keyid_eq(&s->writer[i], key)) return true;
    return false;
}

/* ---- uploads ------------------------------------------------------------------------------- */

static void end_upload(upload_t *u)
{
    if (u->u) u->u = NULL;
    *u = (upload_t){.at = 0};
}

static void drop_upload(storage_t *s, upload_t *u)
{
    if (u->u) s->store->ops->abort(u->u);
    u->u = NULL;
    end_upload(u);
}

static upload_t *find_upload(storage_t *s, const char *name)
{
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        if (s->upload[i].u && strcmp(s->upload[i].name, name) == 0) return &s->upload[i];
    return NULL;
}

static upload_t *free_place(storage_t *s)
{
    uint64_t now = boot_ms();
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        if (s->upload[i].u && now - s->upload[i].touched_boot > UPLOAD_MS) drop_upload(s, &s->upload[i]);
    for (size_t i = 0; i < UPLOADS_MAX; i++)
        if (!s->upload[i].u) return &s->upload[i];
    return NULL;
}

/* Its own writer's, or ERR_NOT_FOUND. */
static vch_rc my_upload(role_call_t *c, const vch_object_ask_t *a, upload_t **ret)
{
    *ret = find_upload(of(c), a->name);
    if (!*ret || !vch_keyid_eq(&(*ret)->writer, &c->asker))
        return vch_fail(&c->err, VCH_ERR_NOT_FOUND, "no object %s is being written", a->name);
    (*ret)->touched_boot = boot_ms();
    return VCH_OK;
}

/* Begun anew by the same writer: what there was of it is dropped. */
static vch_rc create(role_call_t *c, const vch_object_ask_t *a)
{
    storage_t *s = of(c);
    upload_t *u = find_upload(s, a->name);
    if (u && !vch_keyid_eq(&u->writer, &c->asker))
        return vch_fail(&c->err, VCH_ERR_CONFLICT, "%s is being written by another", a->name);
    if (u) drop_upload(s, u);
    u = free_place(s);
    if (!u) return vch_fail(&c->err, VCH_ERR_LOCKED, "too many objects are being written");
    VCH_TRY(s->store->ops->create(s->store, &u->u, a->name, &c->err));
    memcpy(u->name, a->name, sizeof u->name);
    u->writer = c->asker;
    u->touched_boot = boot_ms();
    return VCH_OK;
}

static vch_rc append(role_call_t *c, const vch_object_ask_t *a)
{
    upload_t *u;
    VCH_TRY(my_upload(c, a, &u));
    if (a->at + a->bytes.n == u->at && a->bytes.n) return VCH_OK; /* came before */
    if (a->at != u->at)
        return vch_fail(&c->err, VCH_ERR_CONFLICT, "%s has %llu bytes, not %llu", a->name, (unsigned long long)u->at,
                        (unsigned long long)a->at);
    vch_rc rc = of(c)->store->ops->append(u->u, a->bytes, &c->err);
    if (rc == VCH_OK)
        u->at += a->bytes.n;
    else
        drop_upload(of(c), u); /* who knows how much of it is there */
    return rc;
}

static vch_rc finish(role_call_t *c, const vch_object_ask_t *a)
{
    storage_t *s = of(c);
    upload_t *u;
    if (strcmp(s->done_name, a->name) == 0 && s->done_size == a->at && !find_upload(s, a->name)) return VCH_OK;
    VCH_TRY(my_upload(c, a, &u));
    if (a->at != u->at) {
        drop_upload(s, u);
        return vch_fail(&c->err, VCH_ERR_CONFLICT, "%s has another length than was sent", a->name);
    }
    vch_upload_t *upload = u->u;
    end_upload(u);
    VCH_TRY(s->store->ops->finish(upload, &c->err));
    memcpy(s->done_name, a->name, sizeof s->done_name);
    s->done_size = a->at;
    return VCH_OK;
}

static vch_rc abort_it(role_call_t *c, const vch_object_ask_t *a)
{
    upload_t *u;
    if (my_upload(c, a, &u) == VCH_OK) drop_upload(of(c), u);
    c->err = (vch_err_t){.rc = VCH_OK};
    return VCH_OK;
}

static vch_rc remove_it(role_call_t *c, const vch_object_ask_t *a)
{
    storage_t *s = of(c);
    vch_rc rc = s->store->ops->remove(s->store, a->name, &c->err);
    if (rc == VCH_OK && strcmp(s->done_name, a->name) == 0) s->done_name[0] = 0;
    return rc;
}

/* ---- reading ----------------------------------------------------------------------------------- */

static vch_rc size(role_call_t *c, const vch_object_ask_t *a)
{
    uint64_t n;
    VCH_TRY(of(c)->store->ops->size(of(c)->store, a->name, &n, &c->err));
    return vch_cbor_uint(&c->res->body, n);
}

static vch_rc read_it(role_call_t *c, const vch_object_ask_t *a)
{
    uint8_t *to;
    VCH_TRY(vch_buf_extend(&c->res->body, (size_t)a->n, &to));
    return of(c)->store->ops->read(of(c)->store, a->name, to, (size_t)a->n, a->at, &c->err);
}

typedef struct {
    const char *after;
    vch_buf_t names;
    uint64_t n;
} page_t;

static vch_rc put_name(void *ctx, const char *name)
{
    page_t *p = ctx;
    if (p->n == VCH_NAMES_MAX || strcmp(name, p->after) <= 0) return VCH_OK;
    p->n++;
    return vch_cbor_text(&p->names, name, strlen(name));
}

static vch_rc list(role_call_t *c, const vch_object_ask_t *a)
{
    page_t p = {.after = a->name};
    vch_buf_init(&p.names, 1u << 17);
    vch_rc rc = of(c)->store->ops->list(of(c)->store, put_name, &p, &c->err);
    if (rc == VCH_OK) rc = vch_cbor_array(&c->res->body, p.n);
    if (rc == VCH_OK) rc = vch_buf_put(&c->res->body, p.names.p, p.names.n);
    vch_buf_free(&p.names);
    return rc;
}

static vch_rc do_prove(role_call_t *c)
{
    vch_object_ask_t a;
    vch_audit_t *proof = vch_alloc(sizeof *proof);
    uint32_t chunk;
    if (!proof) return vch_fail(&c->err, VCH_ERR_MEMORY, "out of memory");
    vch_rc rc = vch_prove_ask_get(&a, &chunk, c->req->body);
    if (rc != VCH_OK) vch_fail(&c->err, rc, "the question is not well-formed");
    pthread_mutex_lock(&of(c)->mutex);
    if (rc == VCH_OK) rc = vch_block_prove(of(c)->store, a.name, a.at, (size_t)a.n, chunk, proof, &c->err);
    pthread_mutex_unlock(&of(c)->mutex);
    if (rc == VCH_OK) rc = vch_proof_put(&c->res->body, proof);
    vch_free(proof);
    return rc;
}

/* ---- verbs ----------------------------------------------------------------------------------------- */

static vch_rc with(role_call_t *c, vch_ask_shape_t shape, bool writes,
                   vch_rc (*run)(role_call_t *, const vch_object_ask_t *))
{
    vch_object_ask_t a;
    vch_rc rc = vch_object_ask_get(&a, shape, c->req->body);
    if (rc != VCH_OK) return vch_fail(&c->err, rc, "the question is not well-formed");
    if (writes && !may_write(of(c), &c->asker))
        return vch_hint(&c->err, vch_fail(&c->err, VCH_ERR_ROLE, "this key may not write here"),
                        "writers in storage.conf names who may");
    pthread_mutex_lock(&of(c)->mutex);
    rc = run(c, &a);
    pthread_mutex_unlock(&of(c)->mutex);
    return rc;
}

static vch_rc do_create(role_call_t *c) { return with(c, VCH_ASK_NAME, true, create); }
static vch_rc do_append(role_call_t *c) { return with(c, VCH_ASK_BYTES, true, append); }
static vch_rc do_finish(role_call_t *c) { return with(c, VCH_ASK_SIZE, true, finish); }
static vch_rc do_abort(role_call_t *c) { return with(c, VCH_ASK_NAME, true, abort_it); }
static vch_rc do_remove(role_call_t *c) { return with(c, VCH_ASK_NAME, true, remove_it); }
static vch_rc do_size(role_call_t *c) { return with(c, VCH_ASK_NAME, false, size); }
static vch_rc do_read(role_call_t *c) { return with(c, VCH_ASK_RANGE, false, read_it); }
static vch_rc do_list(role_call_t *c) { return with(c, VCH_ASK_NAME, false, list); }
static vch_rc do_key(role_call_t *c) { return vch_buf_put(&c->res->body, c->role->key.b, c->role->key.n); }

static const role_verb_t verbs[] = {
    {"key", false, do_key},    {"create", true, do_create}, {"append", true, do_append}, {"finish", true, do_finish},
    {"abort", true, do_abort}, {"remove", true, do_remove}, {"size", false, do_size},    {"read", false, do_read},
    {"list", false, do_list},  {"prove", false, do_prove},  {NULL, false, NULL}};

/* ---- life -------------------------------------------------------------------------------------------- */

static vch_rc take_lock(storage_t *s, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_rc rc = vch_path(path, "%s/lock", s->role.dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    VCH_TRY(vch_file_open(port(), &s->lock, path, VCH_OPEN_CREATE, err));
    rc = port()->disk->lock(port(), s->lock, VCH_LOCK_EXCLUSIVE, 0);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "another process serves this directory");
}

static vch_rc start(role_t *role, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    storage_t *s = role->ctx;
    VCH_TRY(take_lock(s, err));
    vch_rc rc = vch_path(path, "%s/shards", role->dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    return vch_backend_dir(&s->store, port(), path, err);
}

static void stop(role_t *role)
{
    storage_t *s = role->ctx;
    for (size_t i = 0; s->store && i < UPLOADS_MAX; i++) drop_upload(s, &s->upload[i]);
    vch_backend_close(s->store);
    vch_file_close(port(), s->lock);
}

vch_rc vch_storage_serve(const char *dir, const vch_serve_t *o, vch_err_t *err)
{
    storage_t *s = vch_alloc(sizeof *s);
    if (!s) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    pthread_mutex_init(&s->mutex, NULL);
    s->role.ctx = s;
    s->role.verb = verbs;
    s->role.max_body = VCH_ASKED_MAX;
    s->role.start = start;
    s->role.stop = stop;
    vch_rc rc = load_conf(s, dir, err);
    if (rc == VCH_OK) rc = role_serve(&s->role, o, err);
    pthread_mutex_destroy(&s->mutex);
    vch_free(s);
    return rc;
}

static vch_rc check_writers(const char *const *writer, size_t n, vch_err_t *err)
{
    vch_keyid_t id;
    if (n < 1 || n > WRITERS_MAX)
        return vch_fail(err, VCH_ERR_USAGE, "a storage node has 1 to %u writers", WRITERS_MAX);
    for (size_t i = 0; i < n; i++)
        if (strlen(writer[i]) != 64 || !vch_unhex(id.b, 32, writer[i], 64))
            return vch_hint(err, vch_fail(err, VCH_ERR_USAGE, "\"%.80s\" is no key id", writer[i]),
                            "vouch id show NAME prints it");
    return VCH_OK;
}

vch_rc vch_storage_init(const char *dir, const char *listen, const char *const *writer, size_t n, vch_err_t *err)
{
    vch_buf_t b;
    VCH_TRY(check_writers(writer, n, err));
    vch_buf_init(&b, 4096);
    vch_rc rc = vch_buf_printf(&b, "# A storage node; an unknown key is an error.\nlisten = %s\nwriters =",
                               listen ? listen : "127.0.0.1:7122");
    for (size_t i = 0; rc == VCH_OK && i < n; i++) rc = vch_buf_printf(&b, "%s %s", i ? "," : "", writer[i]);
    if (rc == VCH_OK) rc = vch_buf_u8(&b, '\n');
    rc = rc == VCH_OK ? role_init(dir, "storage", vch_buf_slice(&b), err)
                      : vch_fail(err, rc, "the settings are too long");
    vch_buf_free(&b);
    return rc;
}

/* ---- status ------------------------------------------------------------------------------------------------ */

typedef struct {
    const char *dir;
    uint64_t objects, bytes;
} sum_t;

static vch_rc add_object(void *ctx, const char *name)
{
    sum_t *sum = ctx;
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    if (name[0] == '.' || strncmp(name, "up-", 3) == 0) return VCH_OK;
    VCH_TRY(vch_path(path, "%s/shards/%s", sum->dir, name));
    if (port()->disk->stat(port(), path, &st) != VCH_OK) return VCH_OK; /* removed meanwhile */
    sum->objects++;
    sum->bytes += st.size;
    return VCH_OK;
}

vch_rc vch_storage_status(const char *dir, vch_text_t *ret_json, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_buf_t b;
    sum_t sum = {.dir = dir};
    storage_t *s = vch_alloc(sizeof *s);
    if (!s) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_buf_init(&b, 1u << 16);
    vch_rc rc = load_conf(s, dir, err);
    if (rc == VCH_OK) rc = role_show(dir, s->role.listen, &b, err);
    if (rc == VCH_OK) rc = vch_path(path, "%s/shards", dir);
    if (rc == VCH_OK) (void)port()->disk->list(port(), path, add_object, &sum); /* not there before the first start */
    if (rc == VCH_OK)
        rc = vch_buf_printf(&b, ",\"objects\":%llu,\"bytes\":%llu}", (unsigned long long)sum.objects,
                            (unsigned long long)sum.bytes);
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &b);
    vch_buf_free(&b);
    vch_free(s);
    return nd_told(rc, err);
}
