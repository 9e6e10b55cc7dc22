/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger on the real disk under a clock of the test's own, with the service
 * in front of it, and somebody in every role:
 *
 *   operator   runs the ledger
 *   clinic-a   custodian of cohort-a: persons a00 … a05, who hold keys
 *   clinic-b   custodian of cohort-b: persons b00 … b05, who hold keys
 *   lab        asked for cohort-a, trained on it, deployed, logged decisions
 *   late       asked for cohort-a, but its grant has ended
 *   auditor-1  auditor         depot      a party with nothing to do here, whose key is of P-256
 *   leaver     a party whose only key is revoked
 *
 * Persons 0 to 3 of each cohort gave consent with their own keys, 4 from paper,
 * 5 never said anything; a00's key stands in the state, a05's only in the
 * custodian's files. */
#ifndef VCH_TEST_API_WORLD_H
#define VCH_TEST_API_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "ledger_help.h"
#include "node/custody.h"
#include "node/wallet_int.h"

#define AW_ROWS 6u
#define AW_START_MS 1800000000000u
#define AW_PURPOSE "https://w3id.org/dpv#ScientificResearch"
#define AW_PROCESSING "https://w3id.org/dpv/ai#ModelTraining"

enum { AW_OPERATOR, AW_CLINIC_A, AW_CLINIC_B, AW_LAB, AW_LATE, AW_AUDITOR, AW_DEPOT, AW_LEAVER, AW_PARTIES };
static const char *const aw_names[AW_PARTIES] = {"operator", "clinic-a",  "clinic-b", "lab",
                                                 "late",     "auditor-1", "depot",    "leaver"};
static const char *const aw_roles[AW_PARTIES] = {NULL,   "custodian", "custodian", "user",
                                                 "user", "auditor",   "storage",   "user"};

typedef struct {
    char dir[64], ledger[96], path[256];
    vch_ledger_t *l;
    api_t *api;
    http_service_t service;
    vch_signer_t *party[AW_PARTIES];
    vch_id_t party_id[AW_PARTIES];
    vch_signer_t *stranger, *subject_a0, *subject_a1, *subject_a5, *subject_b0;
    vch_wallet_t *wallet;
    vch_id_t dataset_a, dataset_b;
    uint64_t at_party, at_consent_a0, at_consent_a123, at_consent_b, at_outcome; /* entries */
    char grant[65], late_grant[65], run[65], model[65];
    vch_token_t token[3], ended; /* read, statements, operator */
    uint64_t nonces;
    vch_err_t err;
} api_world_t;

/* ---- a clock that only the test moves -------------------------------------------------- */

static uint64_t aw_wall = AW_START_MS, aw_boot = 1000000;

static inline uint64_t aw_wall_ms(vch_port_t *p)
{
    (void)p;
    return __atomic_load_n(&aw_wall, __ATOMIC_RELAXED);
}
static inline uint64_t aw_boot_ms(vch_port_t *p)
{
    (void)p;
    return __atomic_load_n(&aw_boot, __ATOMIC_RELAXED);
}
static inline void aw_sleep_ms(vch_port_t *p, uint64_t ms) { vch_port_real()->clock->sleep_ms(p, ms); }

static inline void aw_pass(uint64_t ms)
{
    aw_wall += ms;
    aw_boot += ms;
}

/* ---- and a disk that is as full as the test wants ------------------------------------------ */

static uint64_t aw_free_bytes = UINT64_MAX;

static inline vch_rc aw_free_space(vch_port_t *p, const char *path, uint64_t *ret)
{
    (void)p;
    (void)path;
    *ret = __atomic_load_n(&aw_free_bytes, __ATOMIC_RELAXED);
    return VCH_OK;
}

static inline vch_port_t *aw_port(void)
{
    static const vch_clock_ops_t clock = {aw_wall_ms, aw_boot_ms, aw_sleep_ms};
    static vch_disk_ops_t disk;
    static vch_port_t port;
    if (!port.clock) {
        disk = *vch_port_real()->disk;
        disk.free_space = aw_free_space;
        port = *vch_port_real();
        port.clock = &clock;
        port.disk = &disk;
    }
    return &port;
}

/* ---- building ------------------------------------------------------------------------------ */

static inline const char *aw_file(api_world_t *w, const char *name, const char *text)
{
    snprintf(w->path, sizeof w->path, "%s/%s", w->dir, name);
    FILE *f = fopen(w->path, "wb");
    if (!f || fwrite(text, 1, strlen(text), f) != strlen(text) || fclose(f) != 0) abort();
    return w->path;
}

#define AW_OK(call)                                                                                                    \
    do {                                                                                                               \
        w->err = (vch_err_t){.rc = VCH_OK};                                                                            \
        vch_rc aw_rc_ = (call);                                                                                        \
        if (aw_rc_ != VCH_OK) fail_msg("%s: %s: %s (%s)", #call, vch_rc_name(aw_rc_), w->err.text, w->err.hint);       \
    } while (0)

static inline void aw_register(api_world_t *w, unsigned i)
{
    char json[400], hex[80];
    vch_receipt_t r;
    const vch_pubkey_t *key;
    const char *algorithm = i == AW_DEPOT ? "p256" : NULL;
    AW_OK(vch_identity_new(w->l, aw_names[i], algorithm, NULL, &w->err));
    AW_OK(vch_identity_load(w->l, aw_names[i], NULL, &w->party[i], &w->err));
    key = vch_signer_public(w->party[i]);
    vch_hex(hex, key->b, key->n);
    int n = snprintf(json, sizeof json, "{\"name\":\"%s\",\"roles\":[\"%s\"],\"keys\":[\"%s\"]}", aw_names[i],
                     aw_roles[i], hex);
    AW_OK(vch_submit_json(w->l, w->party[AW_OPERATOR], "party", json, (size_t)n, &r, &w->err));
    w->party_id[i] = r.object;
    w->at_party = r.index;
}

static inline void aw_revoke(api_world_t *w, unsigned i)
{
    char json[400], hex[80], party[65];
    vch_receipt_t r;
    const vch_pubkey_t *key = vch_signer_public(w->party[i]);
    vch_hex(hex, key->b, key->n);
    vch_hex(party, w->party_id[i].b, 32);
    int n = snprintf(json, sizeof json, "{\"party\":\"%s\",\"action\":\"revoke\",\"key\":\"%s\",\"reason\":\"left\"}",
                     party, hex);
    AW_OK(vch_submit_json(w->l, w->party[AW_OPERATOR], "party-key", json, (size_t)n, &r, &w->err));
}

static inline void aw_dataset(api_world_t *w, const char *name, char letter, unsigned custodian, vch_id_t *ret)
{
    char csv[1024], owners[2048], csv_path[256];
    vch_receipt_t r;
    vch_ingest_t in;
    size_t n = (size_t)snprintf(csv, sizeof csv, "patient,age,marker,label\n"), o = 0;
    for (unsigned i = 0; i < AW_ROWS; i++)
        n += (size_t)snprintf(csv + n, sizeof csv - n, "%c%02u,%u,%u.5,%s\n", letter, i, 30 + i, 7 * i,
                              i % 2 ? "yes" : "no");
    snprintf(csv_path, sizeof csv_path, "%s", aw_file(w, name, csv));
    vch_dataset_spec_t spec = {.name = name, .header_csv = csv_path, .subject_col = "patient", .label_col = "label"};
    AW_OK(vch_dataset_create(w->l, w->party[custodian], &spec, &r, &w->err));
    *ret = r.object;
    for (unsigned i = 0; i < AW_ROWS; i++) {
        uint8_t key[34];
        char hex[69];
        AW_OK(vch_wallet_key(w->wallet, i, w->l, name, key, &w->err));
        vch_hex(hex, key, sizeof key);
        o += (size_t)snprintf(owners + o, sizeof owners - o, "%c%02u,%s\n", letter, i, hex);
    }
    AW_OK(vch_dataset_add(w->l, w->party[custodian], name, csv_path, aw_file(w, "owners.csv", owners), NULL, NULL, &in,
                          &w->err));
    assert_int_equal(in.rows, AW_ROWS);
}

static inline uint64_t aw_give(api_world_t *w, const char *dataset, unsigned custodian, uint32_t from, uint32_t to,
                               const char *terms)
{
    uint32_t subject[AW_ROWS], n = 0;
    vch_receipt_t r;
    for (uint32_t i = from; i <= to; i++) subject[n++] = i;
    AW_OK(vch_consent_give(w->l, w->party[custodian], w->wallet, dataset, subject, subject, n, terms, 40000, &r,
                           &w->err));
    return r.index;
}

static inline void aw_consents(api_world_t *w)
{
    static const char terms[] = "{\"version\":1,\"title\":\"Research\",\"effect\":\"permit\",\"recipients\":[],"
                                "\"purposes\":[\"" AW_PURPOSE "\"],\"processings\":[\"" AW_PROCESSING "\"]}";
    char hex[65], line[160];
    vch_hash_t hash;
    vch_receipt_t r;
    uint64_t count;
    AW_OK(vch_terms_add(w->l, w->party[AW_OPERATOR], terms, sizeof terms - 1, &hash, &r, &w->err));
    vch_hex(hex, hash.b, 32);
    w->at_consent_a0 = aw_give(w, "cohort-a", AW_CLINIC_A, 0, 0, hex);
    w->at_consent_a123 = aw_give(w, "cohort-a", AW_CLINIC_A, 1, 3, hex);
    w->at_consent_b = aw_give(w, "cohort-b", AW_CLINIC_B, 0, 0, hex);
    (void)aw_give(w, "cohort-b", AW_CLINIC_B, 1, 3, hex);
    snprintf(line, sizeof line, "a04,%s,2079-01-01,give\n", hex);
    AW_OK(vch_consent_record(w->l, w->party[AW_CLINIC_A], "cohort-a", aw_file(w, "paper.csv", line), &count, &w->err));
}

static inline void aw_ask_for(api_world_t *w, unsigned who, const char *dataset, char ret_grant[65])
{
    vch_receipt_t r;
    AW_OK(vch_access_request(w->l, w->party[who], dataset, AW_PURPOSE, AW_PROCESSING, NULL, 0, &r, &w->err));
    assert_true(r.permit);
    w->at_outcome = r.index + 1;
    vch_hex(ret_grant, r.object.b, 32);
}

static inline void aw_use(api_world_t *w)
{
    static const char *const argv[] = {"/bin/sh", "-c", "cp \"$VOUCH_IN/train.csv\" \"$VOUCH_OUT/model.bin\"", NULL};
    char json[256];
    const char *grant[] = {w->grant};
    vch_run_result_t result;
    vch_receipt_t r;
    uint64_t first, count;
    vch_run_spec_t spec = {.grant = grant, .grants = 1, .name = "first", .has_seed = 1, .seed = 7, .argv = argv};
    AW_OK(vch_run_exec(w->l, w->party[AW_LAB], &spec, &result, &w->err));
    assert_true(result.has_model);
    vch_hex(w->run, result.run.b, 32);
    vch_hex(w->model, result.model.b, 32);
    int n = snprintf(json, sizeof json, "{\"model\":\"%s\",\"scope\":\"ward-3\"}", w->model);
    AW_OK(vch_submit_json(w->l, w->party[AW_LAB], "deployment", json, (size_t)n, &r, &w->err));
    AW_OK(vch_decisions_log(w->l, w->party[AW_LAB], "ward-3",
                            aw_file(w, "decisions.jsonl",
                                    "{\"input\":{\"age\":41},\"output\":\"yes\",\"reasons\":[\"r1\"]}\n"
                                    "{\"input\":{\"age\":42},\"output\":\"no\",\"reasons\":[\"r2\"]}\n"),
                            &first, &count, &r, &w->err));
}

static inline void aw_tokens(api_world_t *w)
{
    AW_OK(vch_token_new(w->l, "reader", "read", 2, &w->token[0], &w->err));
    AW_OK(vch_token_new(w->l, "evidence", "statements", 2, &w->token[1], &w->err));
    AW_OK(vch_token_new(w->l, "chief", "operator", 2, &w->token[2], &w->err));
}

static inline void aw_people(api_world_t *w)
{
    static const uint8_t seed[32] = {77};
    AW_OK(vch_signer_new(&w->stranger, VCH_ALG_ED25519, seed, &w->err));
    AW_OK(vch__wallet_signer(w->wallet, 0, &w->l->network, &w->dataset_a, &w->subject_a0, &w->err));
    AW_OK(vch__wallet_signer(w->wallet, 1, &w->l->network, &w->dataset_a, &w->subject_a1, &w->err));
    AW_OK(vch__wallet_signer(w->wallet, 5, &w->l->network, &w->dataset_a, &w->subject_a5, &w->err));
    AW_OK(vch__wallet_signer(w->wallet, 0, &w->l->network, &w->dataset_b, &w->subject_b0, &w->err));
}

static inline api_world_t *api_world_new(void)
{
    vch_init_t init = {.origin = "clinic.example/ledger", .operator_name = "operator"};
    api_options_t options = {.receipt_promise_ms = 5000, .version = "test"};
    char wallet[160];
    api_world_t *w = calloc(1, sizeof *w);
    lh_folder(w->dir);
    snprintf(w->ledger, sizeof w->ledger, "%s/l", w->dir);
    AW_OK(vch_ledger_init_on(aw_port(), w->ledger, &init, &w->err));
    AW_OK(vch_ledger_open_on(&w->l, aw_port(), w->ledger, 0, &w->err));
    AW_OK(vch_identity_load(w->l, "operator", NULL, &w->party[AW_OPERATOR], &w->err));
    for (unsigned i = 1; i < AW_PARTIES; i++) aw_register(w, i);
    aw_revoke(w, AW_LEAVER);
    snprintf(wallet, sizeof wallet, "%s/wallet", w->dir);
    AW_OK(vch_wallet_new(wallet, AW_ROWS, 1, NULL, &w->err));
    AW_OK(vch_wallet_open(&w->wallet, wallet, NULL, &w->err));
    aw_dataset(w, "cohort-a", 'a', AW_CLINIC_A, &w->dataset_a);
    aw_dataset(w, "cohort-b", 'b', AW_CLINIC_B, &w->dataset_b);
    aw_consents(w);
    AW_OK(vch_token_new(w->l, "old", "operator", 1, &w->ended, &w->err));
    aw_ask_for(w, AW_LATE, "cohort-a", w->late_grant);
    aw_pass(2 * 86400000u); /* the token and the grant end; the clock's step is not checked while nobody writes */
    AW_OK(vch_ledger_close(w->l, &w->err));
    AW_OK(vch_ledger_open_on(&w->l, aw_port(), w->ledger, 0, &w->err));
    aw_ask_for(w, AW_LAB, "cohort-a", w->grant);
    aw_use(w);
    aw_tokens(w);
    aw_people(w);
    AW_OK(vch_ledger_checkpoint(w->l, NULL, &w->err));
    AW_OK(api_new(&w->api, w->l, &options, &w->err));
    w->service = api_service(w->api);
    return w;
}

static inline void api_world_free(api_world_t *w)
{
    vch_signer_t *const other[] = {w->stranger, w->subject_a0, w->subject_a1, w->subject_a5, w->subject_b0};
    api_free(w->api);
    for (unsigned i = 0; i < AW_PARTIES; i++) vch_signer_free(w->party[i]);
    for (unsigned i = 0; i < 5; i++) vch_signer_free(other[i]);
    vch_wallet_free(w->wallet);
    AW_OK(vch_ledger_close(w->l, &w->err));
    lh_remove(w->dir);
    free(w);
}

/* ---- asking ------------------------------------------------------------------------------------ */

#define AW_ANSWER_MAX (64u << 20)

typedef struct {
    http_method_t method;
    const char *path; /* with its query */
    const char *type; /* of the body */
    const void *body;
    size_t body_n;
    bool local;
    const vch_signer_t *signer, *peer;
    const char *token, *header; /* header: instead of all that */
} aw_ask_t;

typedef struct {
    int status;
    const char *type, *cache, *allow;
    unsigned retry_after_s;
    char *text; /* NUL-terminated */
    size_t n;
} aw_answer_t;

static inline void aw_free(aw_answer_t *a) { free(a->text); }

static inline const char *aw_method(http_method_t m)
{
    return m == HTTP_POST ? "POST" : m == HTTP_HEAD ? "HEAD" : "GET";
}

/* What a client would put into its Authorization header.  Threads ask at once,
 * so nothing here writes into the world but the counter. */
static inline void aw_header(api_world_t *w, const aw_ask_t *q, vch_buf_t *ret)
{
    uint8_t nonce[16] = {0};
    vch_rc rc = VCH_OK;
    if (q->header) {
        rc = vch_buf_put(ret, q->header, strlen(q->header));
    } else if (q->token) {
        rc = vch_buf_printf(ret, "Bearer %s", q->token);
    } else if (q->signer) {
        vch_put_u64(nonce, __atomic_add_fetch(&w->nonces, 1, __ATOMIC_RELAXED));
        rc = api_authorization_put(ret, q->signer, aw_method(q->method), q->path, vch_slice(q->body, q->body_n),
                                   aw_wall_ms(NULL), nonce, NULL);
    }
    if (rc != VCH_OK) abort();
}

static inline http_request_t aw_request(const aw_ask_t *q, const vch_buf_t *header)
{
    const char *mark = strchr(q->path, '?');
    size_t n = mark ? (size_t)(mark - q->path) : strlen(q->path);
    http_request_t r = {.method = q->method,
                        .path = vch_slice(q->path, n),
                        .query = mark ? vch_str(mark + 1) : vch_slice(NULL, 0),
                        .authorization = vch_buf_slice(header),
                        .content_type = q->type ? vch_str(q->type) : vch_slice(NULL, 0),
                        .body = vch_slice(q->body, q->body_n),
                        .local = q->local};
    if (q->peer) {
        r.has_peer = true;
        r.peer = vch_pubkey_id(vch_signer_public(q->peer));
    }
    return r;
}

static inline aw_answer_t aw_take(http_response_t *res)
{
    aw_answer_t a = {.status = res->status,
                     .type = res->type,
                     .cache = res->cache,
                     .allow = res->allow,
                     .retry_after_s = res->retry_after_s,
                     .n = res->body.n,
                     .text = malloc(res->body.n + 1)};
    if (res->body.n) memcpy(a.text, res->body.p, res->body.n);
    a.text[res->body.n] = 0;
    vch_buf_free(&res->body);
    return a;
}

static inline aw_answer_t aw_ask(api_world_t *w, const aw_ask_t *q)
{
    vch_buf_t header;
    http_response_t res = {.status = 0};
    vch_buf_init(&header, HTTP_HEADER_MAX);
    vch_buf_init(&res.body, AW_ANSWER_MAX);
    aw_header(w, q, &header);
    http_request_t req = aw_request(q, &header);
    w->service.handle(w->service.ctx, &req, &res);
    w->service.done(w->service.ctx, &req, res.status, res.body.n, 1234);
    vch_buf_free(&header);
    return aw_take(&res);
}

static inline aw_answer_t aw_get(api_world_t *w, const char *path, const vch_signer_t *signer)
{
    return aw_ask(w, &(aw_ask_t){.method = HTTP_GET, .path = path, .signer = signer});
}

static inline int aw_status(api_world_t *w, const aw_ask_t *q)
{
    aw_answer_t a = aw_ask(w, q);
    int status = a.status;
    aw_free(&a);
    return status;
}

#endif
