/* SPDX-License-Identifier: Apache-2.0 */
/* Rows into the vault and out of it, against the sum of what can't be left out:
 * AES-256-GCM under a key for each record, SHA-256 of each record and of each
 * shard, Reed–Solomon.  One core, shards in memory when they go in (so that the
 * disk doesn't count), in the page cache when they come out. */
#include <ftw.h>
#include <unistd.h>

#include "bench.h"
#include "crypto/keytree.h"
#include "crypto/record.h"
#include "crypto/sha256.h"
#include "merkle/tree.h"
#include "node/node_int.h"
#include "node/use.h"
#include "node/vault.h"

#define ROUNDS 5
#define TOTAL (24u << 20) /* bytes of records in a round */
#define PURPOSE "https://w3id.org/dpv#ResearchAndDevelopment"
#define PROCESSING "https://w3id.org/dpv/ai#ModelTraining"

typedef struct {
    char dir[512];
    vch_ledger_t *l;
    vch_signer_t *key;
    size_t size;   /* of a record's canonical bytes */
    uint32_t rows; /* so many make TOTAL */
    uint8_t *data; /* one record, changed a little for each row */
    vch_use_t use; /* of what is taken out */
    vch_err_t err;
} rows_t;

static void die(const char *what, const vch_err_t *err)
{
    fprintf(stderr, "bench: %s failed: %s\n", what, err ? err->text : "");
    exit(1);
}

#define DO(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != VCH_OK) die(#call, &b->err);                                                                     \
    } while (0)

/* ---- a storage node in memory ------------------------------------------------------------ */

typedef struct {
    vch_backend_t backend;
    vch_buf_t object; /* the only one */
    uint64_t bytes;   /* ever finished */
} memory_t;

struct vch_upload {
    memory_t *to;
};

static vch_rc mem_create(vch_backend_t *s, vch_upload_t **ret, const char *name, vch_err_t *err)
{
    static vch_upload_t upload[VCH_STORAGE_MAX];
    static unsigned next;
    (void)name, (void)err;
    *ret = &upload[next++ % VCH_STORAGE_MAX];
    (*ret)->to = (memory_t *)(void *)s;
    vch_buf_clear(&(*ret)->to->object);
    return VCH_OK;
}

static vch_rc mem_append(vch_upload_t *u, vch_slice_t data, vch_err_t *err)
{
    (void)err;
    return vch_buf_put(&u->to->object, data.p, data.n);
}

static vch_rc mem_finish(vch_upload_t *u, vch_err_t *err)
{
    (void)err;
    u->to->bytes += u->to->object.n;
    return VCH_OK;
}

static void mem_abort(vch_upload_t *u) { (void)u; }
static vch_rc mem_remove(vch_backend_t *s, const char *name, vch_err_t *err)
{
    (void)s, (void)name, (void)err;
    return VCH_OK;
}

static void mem_close(vch_backend_t *s) { (void)s; }
static const vch_backend_ops_t memory_ops = {.create = mem_create,
                                             .append = mem_append,
                                             .finish = mem_finish,
                                             .abort = mem_abort,
                                             .remove = mem_remove,
                                             .close = mem_close};
static memory_t memory[VCH_STORAGE_MAX];

static void lay_memory_under(vch_vault_t *v)
{
    for (unsigned i = 0; i < v->nodes; i++) {
        vch_backend_close(v->storage[i]);
        memory[i].backend.ops = &memory_ops;
        if (!memory[i].object.max) vch_buf_init(&memory[i].object, 1u << 30);
        v->storage[i] = &memory[i].backend;
    }
}

/* ---- in ------------------------------------------------------------------------------------- */

static vch_slice_t record_of(rows_t *b, uint32_t row)
{
    vch_put_u32(b->data, row);
    return vch_slice(b->data, b->size);
}

/* GB of records a second. */
static double put_all(void *ctx)
{
    rows_t *b = ctx;
    vch_vault_t *v;
    vch_sealing_t *s;
    vch_buf_t map;
    vch_hash_t extent, commitment;
    vch_id_t dataset = {{7}};
    uint8_t salt[VCH_ROW_SALT_LEN] = {1};
    DO(vch_vault_open(&v, b->l, &b->err));
    DO(vch_random(b->l->port, extent.b, 32, &b->err));
    lay_memory_under(v);
    vch_buf_init(&map, 1u << 18);
    double start = bench_now();
    DO(vch_sealing_begin(&s, v, &dataset, &extent, 1, &b->err));
    for (uint32_t row = 0; row < b->rows; row++) {
        vch_slice_t canonical = record_of(b, row);
        vch_row_commitment(&commitment, salt, canonical);
        DO(vch_sealing_put(s, salt, &canonical, &commitment, &b->err));
    }
    DO(vch_sealing_end(s, b->key, &map, &b->err));
    double seconds = bench_now() - start;
    vch_buf_free(&map);
    vch_vault_close(v);
    return (double)b->rows * (double)b->size / seconds / 1e9;
}

/* ---- its parts -------------------------------------------------------------------------------- */

typedef struct {
    vch_cipher_t *cipher;
    vch_coding_t *coding;
    uint8_t *segment; /* 1 MiB and parity */
    vch_hash_t leaf[512];
} parts_t;

static void hash_chunks(parts_t *p, const uint8_t *block, size_t n)
{
    vch_slice_t chunk[512];
    size_t chunks = 0;
    for (size_t at = 0; at < n; at += VCH_CHUNK_LEN)
        chunk[chunks++] = vch_slice(block + at, vch_min(n - at, VCH_CHUNK_LEN));
    vch_sha256_leaves(p->leaf, chunk, chunks);
}

/* A full segment: both data blocks and the parity block. */
static void spread(parts_t *p, size_t n)
{
    size_t block = (n + 1) / 2;
    uint8_t *blocks[3] = {p->segment, p->segment + block, p->segment + 2 * block};
    vch_coding_encode(p->coding, blocks, block);
    for (unsigned i = 0; i < 3; i++) hash_chunks(p, blocks[i], block);
}

static void parts_open(parts_t *p)
{
    p->segment = malloc(4u << 20);
    if (!p->segment || vch_cipher_new(&p->cipher) != VCH_OK || vch_coding_new(&p->coding, 2, 3) != VCH_OK)
        die("parts", NULL);
    memset(p->segment, 5, 4u << 20);
}

static void parts_close(parts_t *p)
{
    vch_cipher_free(p->cipher);
    vch_coding_free(p->coding);
    free(p->segment);
}

static double parts_of_put(void *ctx)
{
    rows_t *b = ctx;
    parts_t p;
    vch_hash_t commitment;
    vch_record_about_t about = {.leaf = 0};
    uint8_t salt[VCH_ROW_SALT_LEN] = {1}, key[32] = {2}, class;
    DO(vch_record_class(&class, b->size));
    size_t sealed = vch_record_size(class) + VCH_RECORD_TAG, at = 0;
    parts_open(&p);
    double start = bench_now();
    for (uint32_t row = 0; row < b->rows; row++) {
        vch_slice_t canonical = record_of(b, row);
        vch_row_commitment(&commitment, salt, canonical);
        vch_put_u32(key, row);
        DO(vch_record_seal(p.cipher, p.segment + at, class, key, &about, salt, canonical));
        at += sealed;
        if (at + sealed <= 1u << 20 && row + 1 < b->rows) continue;
        spread(&p, at);
        at = 0;
    }
    double seconds = bench_now() - start;
    parts_close(&p);
    return (double)b->rows * (double)b->size / seconds / 1e9;
}

static double parts_of_get(void *ctx)
{
    rows_t *b = ctx;
    parts_t p;
    vch_hash_t commitment;
    vch_record_about_t about = {.leaf = 0};
    const uint8_t *got_salt;
    vch_slice_t canonical = record_of(b, 0);
    uint8_t salt[VCH_ROW_SALT_LEN] = {1}, key[32] = {2}, class, *one = malloc(2 * VCH_RECORD_MAX);
    if (!one) die("memory", NULL);
    DO(vch_record_class(&class, b->size));
    size_t sealed = vch_record_size(class) + VCH_RECORD_TAG, at = 0;
    parts_open(&p);
    DO(vch_record_seal(p.cipher, one + VCH_RECORD_MAX, class, key, &about, salt, canonical));
    double start = bench_now();
    for (uint32_t row = 0; row < b->rows; row++) {
        DO(vch_record_open(p.cipher, one, class, key, &about, one + VCH_RECORD_MAX, &got_salt, &canonical));
        vch_row_commitment(&commitment, got_salt, canonical);
        at += sealed;
        if (at + sealed <= 1u << 20 && row + 1 < b->rows) continue;
        hash_chunks(&p, p.segment, (at + 1) / 2);
        hash_chunks(&p, p.segment + (at + 1) / 2, at / 2);
        at = 0;
    }
    double seconds = bench_now() - start;
    parts_close(&p);
    free(one);
    return (double)b->rows * (double)b->size / seconds / 1e9;
}

/* ---- out ---------------------------------------------------------------------------------------- */

static double get_all(void *ctx)
{
    rows_t *b = ctx;
    vch_vault_t *v;
    vch_opening_t *o;
    vch_opened_t opened;
    uint32_t row, n = 0;
    vch_wanted_t want = {.dataset = b->use.dataset, .number = 0, .groups = b->use.groups, .bits = b->use.bits.p};
    memcpy(want.grant.b, b->use.part[0].id.b, 32);
    DO(vch_vault_open(&v, b->l, &b->err)); /* and so the count of fetches begins anew */
    double start = bench_now();
    DO(vch_opening_begin(&o, v, b->key, &want, &b->err));
    while (vch_opening_next(o, &row, &opened, &b->err) == VCH_OK) n++;
    double seconds = bench_now() - start;
    if (n != b->rows) die("taking rows out", &b->err);
    vch_opening_end(o);
    vch_vault_close(v);
    return (double)b->rows * (double)b->size / seconds / 1e9;
}

/* One column; a CBOR head and the cell make the canonical bytes. */
static void write_rows(rows_t *b, const char *csv, const char *paper)
{
    FILE *f = fopen(csv, "wb"), *p = fopen(paper, "wb");
    if (!f || !p) die("writing rows", NULL);
    size_t cell = b->size - (b->size < 260 ? 3 : b->size < 65540 ? 4 : 6);
    fprintf(f, "person,x\n");
    for (uint32_t i = 0; i < b->rows; i++) {
        fprintf(f, "p%u,%08u", i, i);
        for (size_t k = 8; k < cell; k++) fputc('a' + (int)(k % 23), f);
        fputc('\n', f);
        fprintf(p, "p%u,all,2090-01-01,give\n", i);
    }
    if (fclose(f) != 0 || fclose(p) != 0) die("writing rows", NULL);
}

static void make_dataset(rows_t *b)
{
    static const char terms[] = "{\"title\":\"all\",\"effect\":\"permit\",\"recipients\":[],\"purposes\":[\"" PURPOSE
                                "\"],\"processings\":[\"" PROCESSING "\"]}";
    static bool said;
    char csv[600], paper[600], name[40];
    vch_receipt_t r;
    vch_ingest_t in;
    vch_hash_t hash;
    uint64_t n;
    snprintf(csv, sizeof csv, "%s/rows.csv", b->dir);
    snprintf(paper, sizeof paper, "%s/paper.csv", b->dir);
    snprintf(name, sizeof name, "d%zu", b->size);
    write_rows(b, csv, paper);
    vch_dataset_spec_t spec = {.name = name, .header_csv = csv, .subject_col = "person"};
    DO(vch_dataset_create(b->l, b->key, &spec, &r, &b->err));
    DO(vch_dataset_add(b->l, b->key, name, csv, NULL, NULL, NULL, &in, &b->err));
    if (!said) DO(vch_terms_add(b->l, b->key, terms, sizeof terms - 1, &hash, &r, &b->err));
    said = true;
    DO(vch_consent_record(b->l, b->key, name, paper, &n, &b->err));
    DO(vch_access_request(b->l, b->key, name, PURPOSE, PROCESSING, NULL, 0, &r, &b->err));
    DO(vch_ledger_checkpoint(b->l, NULL, &b->err));
    DO(vch_use_open(&b->use, b->l, b->key, &r.object, 1, &b->err));
    if (b->use.count != b->rows) die("the grant", NULL);
    unlink(csv);
    unlink(paper);
}

/* ---- the table -------------------------------------------------------------------------------------- */

static void one_size(rows_t *b, size_t size, const char *name)
{
    char text[3][64];
    b->size = size;
    b->rows = (uint32_t)(TOTAL / size);
    b->data = malloc(size);
    if (!b->data) die("memory", NULL);
    memset(b->data, 'r', size);
    snprintf(text[0], sizeof text[0], "put, records of %s", name);
    snprintf(text[1], sizeof text[1], "get, records of %s", name);
    snprintf(text[2], sizeof text[2], "stored bytes a byte, records of %s", name);
    bench_in_turns(text[0], "GB/s", "sum of its parts", put_all, parts_of_put, b, ROUNDS, 0.8, false);
    uint64_t stored = memory[0].object.n + memory[1].object.n + memory[2].object.n;
    bench_limit(text[2], "", (double)stored / ((double)b->rows * (double)b->size), size >= 4096 ? 1.5 + 0.05 : 3);
    make_dataset(b);
    bench_in_turns(text[1], "GB/s", "sum of its parts", get_all, parts_of_get, b, ROUNDS, 0.8, false);
    vch_use_close(&b->use);
    free(b->data);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

void bench_rows(const char *dir)
{
    rows_t *b = calloc(1, sizeof *b);
    char ledger[600];
    vch_init_t init = {.origin = "bench.example/vault", .operator_name = "clinic-a", .grant_life_ms = 3600000};
    if (!b) die("memory", NULL);
    snprintf(b->dir, sizeof b->dir, "%s/vault-XXXXXX", dir);
    if (!mkdtemp(b->dir)) die("mkdtemp", NULL);
    snprintf(ledger, sizeof ledger, "%s/ledger", b->dir);
    DO(vch_ledger_init(ledger, &init, &b->err));
    DO(vch_ledger_open(&b->l, ledger, 0, &b->err));
    DO(vch_identity_load(b->l, "clinic-a", NULL, &b->key, &b->err));
    DO(vch_vault_up(b->l, b->key, &b->err));
    one_size(b, 256, "256 B");
    one_size(b, 4096, "4 KiB");
    one_size(b, 65536, "64 KiB");
    vch_signer_free(b->key);
    DO(vch_ledger_close(b->l, &b->err));
    nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(b);
}
