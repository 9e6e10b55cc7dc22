/* SPDX-License-Identifier: Apache-2.0 */
/* Through the public API: one durable transaction, many from one caller, and
 * the verification of a bundle with 10,000 decisions. */
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <unistd.h>

#include "bench.h"
#include "port/port.h"
#include "tree.h"
#include "txkit.h"
#include "vouchsafe/verify.h"
#include "vouchsafe/vouchsafe.h"

#define TURNS 100
#define ROUNDS 15

static void die(const char *what, const vch_err_t *err)
{
    fprintf(stderr, "bench: %s: %s\n", what, err->text);
    exit(1);
}

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != VCH_OK) die(#call, &err);                                                                        \
    } while (0)

static vch_ledger_t *fresh_ledger(const char *dir, vch_signer_t **ret_key)
{
    vch_err_t err = {0};
    vch_ledger_t *l;
    vch_init_t init = {.origin = "bench.example/ledger", .operator_name = "bench"};
    MUST(vch_ledger_init(dir, &init, &err));
    MUST(vch_ledger_open(&l, dir, 0, &err));
    MUST(vch_identity_load(l, "bench", NULL, ret_key, &err));
    return l;
}

/* ---- one durable transaction, signed elsewhere: verify, apply, sync ------------- */

typedef struct {
    const char *dir;
    vch_ledger_t *ledger;
    vch_signer_t *key;
    vch_hash_t network;
    uint64_t sequence;
} one_t;

static vch_buf_t signed_terms(one_t *o)
{
    char title[32];
    snprintf(title, sizeof title, "terms %d", (int)++o->sequence);
    vch_buf_t document = kit_terms_document(title, false, KIT_RESEARCH, KIT_TRAINING, 0), bytes;
    kit_fields_t f = kit_fields();
    kit_bytes(&f, VCH_F_TERMS_DOCUMENT, document.p, document.n);
    vch_buf_free(&document);
    vch_buf_t fields = kit_done(&f);
    kit_tx_t t = kit_tx(&o->network, VCH_KIND_TERMS, o->sequence, o->key, &fields, 1, 0);
    vch_buf_init(&bytes, 4096);
    KIT_OK(vch_tx_put(&bytes, &t.tx));
    kit_free_tx(&t);
    return bytes;
}

static double submit_one(one_t *o)
{
    vch_err_t err = {0};
    double took[TURNS];
    for (int i = 0; i < TURNS; i++) {
        vch_buf_t tx = signed_terms(o);
        const uint8_t *p = tx.p;
        vch_receipt_t receipt;
        double start = bench_now();
        MUST(vch_submit(o->ledger, &p, &tx.n, 1, &receipt, NULL, &err));
        took[i] = bench_now() - start;
        vch_buf_free(&tx);
    }
    return 1e6 * bench_median(took, TURNS);
}

/* What can't be avoided: one signature checked, one synced write. */
static double sync_and_verify(const one_t *o)
{
    char path[1200];
    uint8_t page[512] = {1}, pub[32], secret[64], sig[64];
    static uint8_t zeros[1 << 20];
    double took[TURNS];
    snprintf(path, sizeof path, "%s/sync-probe", o->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, zeros, sizeof zeros) < 0 || fsync(fd) != 0) exit(1);
    crypto_sign_keypair(pub, secret);
    crypto_sign_detached(sig, NULL, page, 200, secret);
    for (int i = 0; i < TURNS; i++) {
        double start = bench_now();
        if (crypto_sign_verify_detached(sig, page, 200, pub) != 0) exit(1);
        if (pwrite(fd, page, sizeof page, 512 * i) < 0 || fdatasync(fd) != 0) exit(1);
        took[i] = bench_now() - start;
    }
    close(fd);
    unlink(path);
    return 1e6 * bench_median(took, TURNS);
}

void bench_one(const char *dir)
{
    char path[1100];
    vch_err_t err = {0};
    snprintf(path, sizeof path, "%s/vch-bench-one-%d", dir, (int)getpid());
    one_t o = {.dir = path};
    o.ledger = fresh_ledger(path, &o.key);
    vch_ledger_info_t info;
    MUST(vch_ledger_info(o.ledger, &info, &err));
    o.network = info.network;
    double ours[ROUNDS], limit[ROUNDS], ratio[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        limit[i] = sync_and_verify(&o) + 20;
        ours[i] = submit_one(&o);
        ratio[i] = ours[i] / limit[i];
    }
    bench_row_t row = {.name = "one durable transaction, p50",
                       .unit = "us",
                       .peer_name = "sync+verify+20",
                       .aim = 1,
                       .lower_is_better = true};
    row.ours = bench_median(ours, ROUNDS);
    row.peer = bench_median(limit, ROUNDS);
    row.ratio = bench_median(ratio, ROUNDS);
    row.met = row.ratio <= row.aim;
    bench_report(&row);
    vch_signer_free(o.key);
    MUST(vch_ledger_close(o.ledger, &err));
    if (tree_remove(path) != 0) exit(1);
}

/* ---- many transactions, signed elsewhere, from one caller ------------------------- */

#define BATCH 200u
#define BATCHES 10u
#define VERIFY_EACH 2000

static double submit_many(void *ctx)
{
    one_t *o = ctx;
    vch_err_t err = {0};
    static vch_buf_t tx[BATCH * BATCHES];
    static const uint8_t *p[BATCH * BATCHES];
    static size_t n[BATCH * BATCHES];
    static vch_receipt_t receipt[BATCH];
    for (size_t i = 0; i < BATCH * BATCHES; i++) {
        tx[i] = signed_terms(o);
        p[i] = tx[i].p;
        n[i] = tx[i].n;
    }
    double start = bench_now();
    for (size_t i = 0; i < BATCHES; i++)
        MUST(vch_submit(o->ledger, p + i * BATCH, n + i * BATCH, BATCH, receipt, NULL, &err));
    double took = bench_now() - start;
    for (size_t i = 0; i < BATCH * BATCHES; i++) vch_buf_free(&tx[i]);
    return BATCH * BATCHES / took;
}

static void *verify_some(void *ctx)
{
    (void)ctx;
    uint8_t message[200] = {1}, pub[32], secret[64], sig[64];
    crypto_sign_keypair(pub, secret);
    crypto_sign_detached(sig, NULL, message, sizeof message, secret);
    for (int i = 0; i < VERIFY_EACH; i++)
        if (crypto_sign_verify_detached(sig, message, sizeof message, pub) != 0) exit(1);
    return NULL;
}

static double verify_on_all(void *ctx)
{
    (void)ctx;
    pthread_t thread[64];
    unsigned cores = vch_port_cores(vch_port_real());
    double start = bench_now();
    for (unsigned i = 0; i < cores; i++)
        if (pthread_create(&thread[i], NULL, verify_some, NULL) != 0) exit(1);
    for (unsigned i = 0; i < cores; i++) pthread_join(thread[i], NULL);
    return cores * VERIFY_EACH / (bench_now() - start);
}

void bench_submit(const char *dir)
{
    char path[1100];
    vch_err_t err = {0};
    snprintf(path, sizeof path, "%s/vch-bench-submit-%d", dir, (int)getpid());
    one_t o = {.dir = path};
    o.ledger = fresh_ledger(path, &o.key);
    vch_ledger_info_t info;
    MUST(vch_ledger_info(o.ledger, &info, &err));
    o.network = info.network;
    bench_in_turns("submitting signed transactions, batch 200", "tx/s", "libsodium, all cores", submit_many,
                   verify_on_all, &o, 9, 0.5, false);
    vch_signer_free(o.key);
    MUST(vch_ledger_close(o.ledger, &err));
    if (tree_remove(path) != 0) exit(1);
}

/* ---- a bundle with 10,000 decisions ------------------------------------------------ */

static char *read_file(const char *path, size_t *ret_n)
{
    FILE *f = fopen(path, "rb");
    if (!f) exit(1);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *p = malloc((size_t)n + 1);
    if (!p || fread(p, 1, (size_t)n, f) != (size_t)n) exit(1);
    p[n] = 0;
    fclose(f);
    *ret_n = (size_t)n;
    return p;
}

static void hex_id(char out[65], const vch_id_t *id)
{
    for (int i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", id->b[i]);
}

static void make_bundle(const char *dir, const char *bundle)
{
    vch_err_t err = {0};
    vch_signer_t *key;
    vch_receipt_t r;
    char json[400], id[65], path[1200], span[128];
    uint64_t first, count;
    vch_ledger_t *l = fresh_ledger(dir, &key);
    int n = snprintf(json, sizeof json, "{\"digest\":\"%064d\",\"name\":\"imported\"}", 1);
    MUST(vch_submit_json(l, key, "model", json, (size_t)n, &r, &err));
    hex_id(id, &r.object);
    n = snprintf(json, sizeof json, "{\"model\":\"%s\",\"scope\":\"bench\"}", id);
    MUST(vch_submit_json(l, key, "deployment", json, (size_t)n, &r, &err));
    hex_id(id, &r.object);
    snprintf(path, sizeof path, "%s/decisions.jsonl", dir);
    FILE *f = fopen(path, "wb");
    if (!f) exit(1);
    for (int i = 0; i < 10000; i++)
        fprintf(f, "{\"input\":{\"age\":%d,\"score\":%d},\"output\":\"%s\",\"reasons\":[\"score\"]}\n", i % 90, i,
                i % 3 ? "yes" : "no");
    fclose(f);
    MUST(vch_decisions_log(l, key, id, path, &first, &count, &r, &err));
    snprintf(span, sizeof span, "%s/0-9999", id);
    MUST(vch_bundle_make(l, "decision", span, bundle, &err));
    vch_signer_free(key);
    MUST(vch_ledger_close(l, &err));
}

void bench_bundle(const char *dir)
{
    char path[1100], bundle[1200], trust[1200];
    vch_err_t err = {0};
    snprintf(path, sizeof path, "%s/vch-bench-bundle-%d", dir, (int)getpid());
    snprintf(bundle, sizeof bundle, "%s/all.bundle", path);
    snprintf(trust, sizeof trust, "%s/trust.policy", path);
    make_bundle(path, bundle);
    size_t bundle_n, trust_n, arena_n = 128u << 20;
    char *b = read_file(bundle, &bundle_n), *t = read_file(trust, &trust_n);
    void *arena = malloc(arena_n);
    double took[9];
    for (int i = 0; i < 9; i++) {
        vch_report_t report;
        double start = bench_now();
        MUST(vch_bundle_verify(&report, (const uint8_t *)b, bundle_n, t, trust_n, NULL, arena, arena_n, &err));
        took[i] = 1000 * (bench_now() - start);
        if (report.status != VCH_VERIFY_OK || report.links < 10000) {
            fprintf(stderr, "bench: bundle: %llu links; %s\n", (unsigned long long)report.links, report.detail);
            exit(1);
        }
    }
    bench_limit("verify a bundle with 10,000 decisions", "ms", bench_median(took, 9), 100);
    free(arena);
    free(b);
    free(t);
    if (tree_remove(path) != 0) exit(1);
}
