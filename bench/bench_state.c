/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine: signed transactions per core against the bare signature
 * check, consents per second at 1,000 a signature, and an access decision
 * over ten million consents, warm and cold. */
#include <sodium.h>
#include <unistd.h>

#include "bench.h"
#include "world.h"

/* ---- signed transactions ------------------------------------------------------- */

#define TXS 4000

typedef struct {
    kit_tx_t tx[TXS];
    vch_signer_t *key;
    uint8_t sig[64];
    uint8_t message[200];
} signed_t;

static kit_tx_t remedy_free_terms(world_t *w, uint64_t sequence, const vch_signer_t *key)
{
    char title[32];
    snprintf(title, sizeof title, "terms %llu", (unsigned long long)sequence);
    vch_buf_t document = kit_terms_document(title, false, KIT_RESEARCH, KIT_TRAINING, 0);
    kit_fields_t f = kit_fields();
    kit_bytes(&f, VCH_F_TERMS_DOCUMENT, document.p, document.n);
    vch_buf_free(&document);
    vch_buf_t fields = kit_done(&f);
    return kit_tx(&w->network, VCH_KIND_TERMS, sequence, key, &fields, 1, 0);
}

static double apply_signed(void *ctx)
{
    signed_t *s = ctx;
    world_t *w = world_new(4);
    for (uint64_t i = 0; i < TXS; i++) s->tx[i] = remedy_free_terms(w, i + 1, w->party[2]);
    vch_buf_t outcome;
    vch_buf_init(&outcome, 4096);
    double start = bench_now();
    for (size_t i = 0; i < TXS; i++) {
        vch_prepared_t p;
        vch_arena_reset(&w->arena);
        KIT_OK(vch_tx_prepare(&p, &s->tx[i].tx, &w->arena, NULL));
        KIT_OK(vch_state_verify(w->state, &p, NULL));
        KIT_OK(vch_state_apply(w->state, &p, w->now, &outcome, NULL));
        if (i % 1000 == 999) world_close(w);
    }
    double took = bench_now() - start;
    for (size_t i = 0; i < TXS; i++) kit_free_tx(&s->tx[i]);
    vch_buf_free(&outcome);
    world_free(w);
    return TXS / took;
}

static double verify_only(void *ctx)
{
    signed_t *s = ctx;
    const vch_pubkey_t *pub = vch_signer_public(s->key);
    double start = bench_now();
    for (int i = 0; i < TXS; i++)
        if (crypto_sign_verify_detached(s->sig, s->message, sizeof s->message, pub->b + 2) != 0) exit(1);
    return TXS / (bench_now() - start);
}

void bench_signed(void)
{
    static signed_t s;
    s.key = kit_signer(3, VCH_ALG_ED25519);
    KIT_OK(vch_signer_sign(s.key, s.sig, vch_slice(s.message, sizeof s.message)));
    bench_in_turns("signed transactions, one core", "tx/s", "libsodium verify", apply_signed, verify_only, &s, 5, 0.7,
                   false);
    vch_signer_free(s.key);
}

/* ---- a big dataset, consents recorded by the custodian ------------------------------ */

static vch_id_t big_version(world_t *w, uint32_t subjects)
{
    vch_id_t version = w->version;
    bool first = true;
    KIT_OK(world_say(w, 0, VCH_KIND_DATASET, kit_dataset("big", &w->party_id[0])));
    w->dataset = w->last;
    for (uint32_t at = 0, n = 1; at < subjects; at += VCH_EXTENT_ROWS_MAX, n++) {
        uint32_t count = subjects - at < VCH_EXTENT_ROWS_MAX ? subjects - at : VCH_EXTENT_ROWS_MAX;
        kit_fields_t f = kit_fields();
        uint8_t id[32] = {0xb1, (uint8_t)n}, root[32] = {1};
        kit_id(&f, VCH_F_VERSION_DATASET, w->dataset.b);
        if (!first) kit_id(&f, VCH_F_VERSION_PREVIOUS, version.b);
        vch_buf_t *b = kit_list(&f, VCH_F_VERSION_EXTENTS, 1);
        KIT_OK(vch_cbor_map(b, 4));
        KIT_OK(vch_cbor_uint(b, 0));
        KIT_OK(vch_cbor_bytes(b, id, 32));
        KIT_OK(vch_cbor_uint(b, 1));
        KIT_OK(vch_cbor_uint(b, count));
        KIT_OK(vch_cbor_uint(b, 2));
        KIT_OK(vch_cbor_uint(b, at));
        KIT_OK(vch_cbor_uint(b, 4));
        KIT_OK(vch_cbor_bytes(b, root, 32));
        kit_list(&f, VCH_F_VERSION_BITMAP, 0);
        b = kit_key(&f, VCH_F_VERSION_SUBJECTS);
        KIT_OK(vch_cbor_map(b, 3));
        KIT_OK(vch_cbor_uint(b, 0));
        KIT_OK(vch_cbor_uint(b, at));
        KIT_OK(vch_cbor_uint(b, 1));
        KIT_OK(vch_cbor_uint(b, count));
        KIT_OK(vch_cbor_uint(b, 2));
        KIT_OK(vch_cbor_bytes(b, root, 32));
        KIT_OK(world_say(w, 0, VCH_KIND_VERSION, kit_done(&f)));
        version = w->last;
        first = false;
    }
    return version;
}

/* One transaction of n recorded consents; until varies over `palette` days. */
static kit_tx_t record_many(world_t *w, uint32_t from, uint32_t n, uint32_t palette, uint64_t sequence)
{
    vch_buf_t *fields = vch_alloc_array(n, sizeof *fields);
    for (uint32_t i = 0; i < n; i++) {
        say_t s = {.subject = from + i, .serial = 1, .terms = &w->terms[0], .how = VCH_HOW_RECORDED};
        s.until = 25000 + (from + i) * 2654435761u % palette;
        fields[i] = world_statement(w, VCH_KIND_CONSENT, &s);
    }
    kit_tx_t t = kit_tx(&w->network, VCH_KIND_CONSENT, sequence, w->party[0], fields, n, 0);
    vch_free(fields);
    return t;
}

static void apply_one(world_t *w, kit_tx_t *t)
{
    vch_prepared_t p;
    vch_buf_t none;
    vch_buf_init(&none, 64);
    vch_arena_reset(&w->arena);
    KIT_OK(vch_tx_prepare(&p, &t->tx, &w->arena, NULL));
    KIT_OK(vch_state_verify(w->state, &p, NULL));
    KIT_OK(vch_state_apply(w->state, &p, w->now, &none, NULL));
    vch_buf_free(&none);
}

static void close_unkept(world_t *w)
{
    vch_buf_t leaf;
    vch_state_info_t info;
    vch_state_info(w->state, &info);
    if (info.open_count == 0) return;
    vch_buf_init(&leaf, 1024);
    KIT_OK(vch_state_close_block(w->state, &leaf, NULL));
    vch_buf_free(&leaf);
}

#define CONSENT_TXS 200

void bench_consents(void)
{
    world_t *w = world_new(4);
    (void)big_version(w, CONSENT_TXS * 1000);
    world_close(w);
    static kit_tx_t tx[CONSENT_TXS];
    for (uint32_t i = 0; i < CONSENT_TXS; i++) tx[i] = record_many(w, i * 1000, 1000, 16, w->sequence[0] + 1 + i);
    double start = bench_now();
    for (uint32_t i = 0; i < CONSENT_TXS; i++) apply_one(w, &tx[i]);
    close_unkept(w);
    double rate = CONSENT_TXS * 1000 / (bench_now() - start);
    bench_row_t row = {.name = "consents, 1,000 a signature, one core",
                       .unit = "consents/s",
                       .peer_name = "none",
                       .ours = rate,
                       .peer = rate,
                       .ratio = 1,
                       .aim = 0,
                       .met = true};
    bench_report(&row);
    for (uint32_t i = 0; i < CONSENT_TXS; i++) kit_free_tx(&tx[i]);
    world_free(w);
}

/* ---- access over ten million ------------------------------------------------------------ */

#define MILLIONS 10000000u
#define PER_TX 4000u

static void fill_consents(world_t *w)
{
    uint64_t sequence = w->sequence[0];
    for (uint32_t at = 0; at < MILLIONS; at += PER_TX) {
        kit_tx_t t = record_many(w, at, PER_TX, 1000, ++sequence);
        apply_one(w, &t);
        kit_free_tx(&t);
        if (at / PER_TX % 100 != 99) continue;
        close_unkept(w);
        KIT_OK(vch_state_save(w->state, NULL));
    }
    close_unkept(w);
    KIT_OK(vch_state_save(w->state, NULL));
}

static double decide_ms(world_t *w, const vch_id_t *version)
{
    vch_buf_t bits;
    uint64_t count;
    vch_rule_t rule;
    vch_buf_init(&bits, 64u << 20);
    double start = bench_now();
    KIT_OK(vch_state_permitted(w->state, version, &w->party_id[1], vch_str(KIT_SCIENCE), vch_str(KIT_TRAINING), w->now,
                               &bits, &count, &rule, NULL));
    vch_hash_t root;
    vch_arena_t scratch;
    vch_arena_init(&scratch, 16u << 20);
    KIT_OK(vch_set_root(&root, bits.p, bits.n, &scratch));
    double took = bench_now() - start;
    if (count != MILLIONS) exit(1);
    vch_arena_free(&scratch);
    vch_buf_free(&bits);
    return 1000 * took;
}

void bench_access(const char *dir)
{
    char path[600], lock[620];
    snprintf(path, sizeof path, "%s/vch-bench-access-%d.mdb", dir, (int)getpid());
    snprintf(lock, sizeof lock, "%s-lock", path);
    vch_kv_t *kv;
    KIT_OK(vch_kv_open(&kv, path, false, NULL));
    world_t *w = world_new_on(4, kv);
    vch_id_t version = big_version(w, MILLIONS);
    world_close(w);
    fill_consents(w);
    double cold[5], warm[5];
    for (int i = 0; i < 5; i++) {
        vch_state_free(w->state);
        KIT_OK(vch_state_open(&w->state, kv, NULL));
        cold[i] = decide_ms(w, &version);
        warm[i] = decide_ms(w, &version);
    }
    bench_limit("access over 10^7 consents, 1,000 sets, warm", "ms", bench_median(warm, 5), 10);
    bench_limit("access over 10^7 consents, 1,000 sets, cold", "ms", bench_median(cold, 5), 60);
    world_free(w);
    unlink(path);
    unlink(lock);
}
