/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger elsewhere: the same answers as in its directory, writing over bad
 * lines, and every lie that a node could tell. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>

#include "entry/note.h"
#include "ledger_help.h"
#include "node/wallet_int.h"
#include "wire.h"

#define RESEARCH "https://w3id.org/dpv#ResearchAndDevelopment"
#define TRAINING "https://w3id.org/dpv/ai#ModelTraining"
#define OWNERS 12u

typedef struct {
    char folder[64], dir[80], memory[80], keys[80], csv[80], owners[80], wallet[80], trust[96];
    vch_ledger_t *l; /* the directory, which the node serves */
    vch_signer_t *clinic, *team;
    vch_wallet_t *w;
    api_t *api;
    wire_t wire;
    vch_ledger_t *n; /* the same through the node */
} site_t;

/* ---- a ledger with a bit of everything -------------------------------------------------- */

static void put_rows(site_t *s)
{
    uint8_t key[34];
    FILE *f = fopen(s->csv, "wb"), *o = fopen(s->owners, "wb");
    assert_true(f && o);
    fprintf(f, "person,x,label\n");
    for (uint32_t i = 0; i < OWNERS; i++) {
        fprintf(f, "owner-%02u,%u,%u\n", i, i, i & 1);
        LH_OK(vch_wallet_key(s->w, i, s->l, "cohort", key, &lh_err));
        fprintf(o, "owner-%02u,", i);
        for (int k = 0; k < 34; k++) fprintf(o, "%02x", key[k]);
        fprintf(o, "\n");
    }
    fclose(f);
    fclose(o);
}

static void put_data(site_t *s)
{
    static const char terms[] = "{\"title\":\"training\",\"effect\":\"permit\",\"recipients\":[],\"purposes\":"
                                "[\"" RESEARCH "\"],\"processings\":[\"" TRAINING "\"]}";
    vch_receipt_t r;
    vch_ingest_t in;
    vch_hash_t hash;
    FILE *f = fopen(s->csv, "wb");
    assert_non_null(f);
    fprintf(f, "person,x,label\n");
    fclose(f);
    vch_dataset_spec_t spec = {.name = "cohort", .header_csv = s->csv, .subject_col = "person", .label_col = "label"};
    LH_OK(vch_dataset_create(s->l, s->clinic, &spec, &r, &lh_err));
    put_rows(s);
    LH_OK(vch_dataset_add(s->l, s->clinic, "cohort", s->csv, s->owners, NULL, NULL, &in, &lh_err));
    LH_OK(vch_terms_add(s->l, s->clinic, terms, sizeof terms - 1, &hash, &r, &lh_err));
}

static void add_party(vch_ledger_t *l, const vch_signer_t *by, const char *name, const vch_signer_t *key)
{
    char json[300], hex[80];
    vch_receipt_t r;
    const vch_pubkey_t *pub = vch_signer_public(key);
    vch_hex(hex, pub->b, pub->n);
    int n = snprintf(json, sizeof json, "{\"name\":\"%s\",\"roles\":[\"user\"],\"keys\":[\"%s\"]}", name, hex);
    LH_OK(vch_submit_json(l, by, "party", json, (size_t)n, &r, &lh_err));
}

static void site_names(site_t *s)
{
    lh_folder(s->folder);
    snprintf(s->dir, sizeof s->dir, "%s/ledger", s->folder);
    snprintf(s->memory, sizeof s->memory, "%s/memory", s->folder);
    snprintf(s->keys, sizeof s->keys, "%s/mine", s->folder);
    snprintf(s->csv, sizeof s->csv, "%s/rows.csv", s->folder);
    snprintf(s->owners, sizeof s->owners, "%s/owners.csv", s->folder);
    snprintf(s->wallet, sizeof s->wallet, "%s/wallet", s->folder);
    snprintf(s->trust, sizeof s->trust, "%s/trust.policy", s->dir);
}

static vch_connect_t how(const site_t *s)
{
    return (vch_connect_t){.memory_dir = s->memory, .keys_dir = s->keys, .who = s->clinic};
}

static void serve(site_t *s)
{
    static const api_options_t options = {.receipt_promise_ms = 5000};
    LH_OK(api_new(&s->api, s->l, &options, &lh_err));
}

static int set_up(void **state)
{
    site_t *s = calloc(1, sizeof *s);
    vch_init_t init = lh_init();
    *state = s;
    site_names(s);
    LH_OK(vch_ledger_init(s->dir, &init, &lh_err));
    LH_OK(vch_ledger_open(&s->l, s->dir, 0, &lh_err));
    LH_OK(vch_identity_load(s->l, "clinic-a", NULL, &s->clinic, &lh_err));
    LH_OK(vch_identity_new(s->l, "team-b", NULL, NULL, &lh_err));
    LH_OK(vch_identity_load(s->l, "team-b", NULL, &s->team, &lh_err));
    LH_OK(vch_wallet_new(s->wallet, OWNERS, 1, NULL, &lh_err));
    LH_OK(vch_wallet_open(&s->w, s->wallet, NULL, &lh_err));
    add_party(s->l, s->clinic, "team-b", s->team);
    put_data(s);
    LH_OK(vch_ledger_checkpoint(s->l, NULL, &lh_err));
    serve(s);
    vch_connect_t o = how(s);
    wire_init(&s->wire, s->api);
    LH_OK(wire_open(&s->n, &s->wire, &o, &lh_err));
    return 0;
}

static int tear_down(void **state)
{
    site_t *s = *state;
    if (s->n) LH_OK(vch_ledger_close(s->n, &lh_err));
    api_free(s->api);
    LH_OK(vch_ledger_close(s->l, &lh_err));
    vch_signer_free(s->clinic);
    vch_signer_free(s->team);
    vch_wallet_free(s->w);
    lh_remove(s->folder);
    free(s);
    return 0;
}

static vch_ledger_t *again(site_t *s)
{
    vch_connect_t o = how(s);
    vch_ledger_t *n;
    LH_OK(wire_open(&n, &s->wire, &o, &lh_err));
    return n;
}

static void close_node(vch_ledger_t *n) { LH_OK(vch_ledger_close(n, &lh_err)); }

/* ---- the same answers ----------------------------------------------------------------------- */

static void same_text(vch_text_t *a, vch_text_t *b)
{
    assert_string_equal(a->p, b->p);
    vch_text_free(a);
    vch_text_free(b);
}

static void same_lists(site_t *s)
{
    static const char *const list[][2] = {
        {"parties", NULL},      {"datasets", NULL},       {"versions", NULL}, {"versions", "cohort"}, {"terms", NULL},
        {"consents", "cohort"}, {"consents", "cohort/3"}, {"grants", NULL},   {"runs", NULL},         {"models", NULL},
        {"deployments", NULL},  {"batches", NULL},        {"remedies", NULL}, {"grants", "cohort@1"}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        vch_text_t here, there;
        LH_OK(vch_query(s->l, list[i][0], list[i][1], &here, &lh_err));
        LH_OK(vch_query(s->n, list[i][0], list[i][1], &there, &lh_err));
        same_text(&here, &there);
    }
}

static void same_entries(site_t *s, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++) {
        vch_text_t here, there;
        LH_OK(vch_entry_show(s->l, i, &here, &lh_err));
        LH_OK(vch_entry_show(s->n, i, &there, &lh_err));
        same_text(&here, &there);
        LH_OK(vch_prove_inclusion(s->l, i, &here, &lh_err));
        LH_OK(vch_prove_inclusion(s->n, i, &there, &lh_err));
        same_text(&here, &there);
    }
}

static void same_proofs(site_t *s, uint64_t size)
{
    for (uint64_t a = 1; a <= size; a++)
        for (uint64_t b = a; b <= size; b += 3) {
            vch_text_t here, there;
            LH_OK(vch_prove_consistency(s->l, a, b, &here, &lh_err));
            LH_OK(vch_prove_consistency(s->n, a, b, &there, &lh_err));
            same_text(&here, &there);
        }
}

static void same_state(site_t *s)
{
    vch_id_t dataset, terms;
    LH_OK(vch_ledger_read_begin(s->l, &lh_err));
    LH_OK(vch_resolve(s->l, 'd', "cohort", &dataset, &lh_err));
    LH_OK(vch_resolve(s->l, 't', "training", &terms, &lh_err));
    vch_ledger_read_end(s->l);
    vch_state_key_t key[] = {vch_key_plain('g'),       vch_key_id('d', dataset.b), vch_key_id('D', dataset.b),
                             vch_key_id('t', terms.b), vch_key_id('a', terms.b),   vch_key_plain('?')};
    for (size_t i = 0; i < sizeof key / sizeof *key; i++) {
        vch_text_t here, there;
        LH_OK(vch_state_show(s->l, key[i].b, key[i].n, &here, &lh_err));
        LH_OK(vch_state_show(s->n, key[i].b, key[i].n, &there, &lh_err));
        same_text(&here, &there);
    }
}

static void same_answers(void **state)
{
    site_t *s = *state;
    vch_ledger_info_t here, there;
    vch_text_t a, b;
    LH_OK(vch_ledger_info(s->l, &here, &lh_err));
    LH_OK(vch_ledger_info(s->n, &there, &lh_err));
    assert_string_equal(here.origin, there.origin);
    assert_memory_equal(&here.network, &there.network, 32);
    assert_memory_equal(&here.state_root, &there.state_root, 32);
    assert_true(here.size == there.size && here.height == there.height && here.time.ms == there.time.ms);
    assert_true(here.checkpoint_size == there.checkpoint_size && here.size == here.checkpoint_size);
    assert_non_null(strstr(there.note, "first time at this log"));
    LH_OK(vch_ledger_checkpoint(s->l, &a, &lh_err));
    LH_OK(vch_ledger_checkpoint(s->n, &b, &lh_err));
    same_text(&a, &b);
    LH_OK(vch_models_affected(s->l, &a, &lh_err));
    LH_OK(vch_models_affected(s->n, &b, &lh_err));
    same_text(&a, &b);
    same_lists(s);
    same_entries(s, here.size);
    same_proofs(s, here.size);
    same_state(s);
}

/* Errors are the same, too: result, text and hint. */
static void same_refusals(void **state)
{
    site_t *s = *state;
    vch_text_t text;
    vch_err_t a, b;
    uint64_t index;
    uint32_t statement;
    static const char *const of[][2] = {{"nonsense", NULL},
                                        {"consents", "nowhere"},
                                        {"versions", "nowhere"},
                                        {"consents", "cohort/99"},
                                        {"parties", "cohort"}};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        vch_rc here = vch_query(s->l, of[i][0], of[i][1], &text, &a);
        vch_rc there = vch_query(s->n, of[i][0], of[i][1], &text, &b);
        assert_true(here != VCH_OK);
        assert_int_equal(here, there);
        assert_string_equal(a.text, b.text);
    }
    LH_IS(VCH_ERR_NOT_FOUND, vch_entry_show(s->n, 999, &text, &lh_err));
    LH_IS(VCH_ERR_NOT_FOUND, vch_prove_inclusion(s->n, 999, &text, &lh_err));
    LH_IS(VCH_ERR_USAGE, vch_prove_consistency(s->n, 5, 4, &text, &lh_err));
    LH_IS(VCH_ERR_USAGE, vch_entry_find(s->n, "zz", &index, &statement, &lh_err));
    LH_IS(VCH_ERR_NOT_FOUND, vch_entry_find(s->n, "0123456789abcdef", &index, &statement, &lh_err));
}

static void finds(void **state)
{
    site_t *s = *state;
    vch_receipt_t r;
    char hex[65];
    uint64_t index = 0;
    uint32_t statement = 9;
    LH_OK(lh_submit(s->n, s->team, 1, &r, &lh_err));
    vch_hex(hex, r.object.b, 32);
    LH_OK(vch_entry_find(s->n, hex, &index, &statement, &lh_err));
    assert_true(index == r.index && statement == 0);
    hex[9] = 0;
    LH_OK(vch_entry_find(s->n, hex, &index, NULL, &lh_err));
    assert_true(index == r.index);
}

/* ---- writing ------------------------------------------------------------------------------------ */

static void same_place(site_t *s, const vch_receipt_t *r)
{
    vch_text_t text;
    char hex[65];
    vch_hex(hex, r->entry.b, 32);
    LH_OK(vch_entry_show(s->l, r->index, &text, &lh_err));
    assert_non_null(strstr(text.p, hex));
    vch_text_free(&text);
}

static unsigned files_in(const char *folder, const char *below)
{
    char path[700];
    unsigned n = 0;
    DIR *d = opendir(folder);
    struct dirent *e;
    if (!d) return 0;
    while ((e = readdir(d)))
        if (e->d_name[0] != '.') {
            if (below) {
                snprintf(path, sizeof path, "%s/%s/%s", folder, e->d_name, below);
                n += files_in(path, NULL);
            } else {
                n++;
            }
        }
    closedir(d);
    return n;
}

static unsigned kept(const site_t *s, const char *what)
{
    char logs[100];
    snprintf(logs, sizeof logs, "%s/logs", s->memory);
    return files_in(logs, what);
}

static void writes(void **state)
{
    site_t *s = *state;
    vch_receipt_t r;
    vch_hash_t hash, wrong = {{0}};
    const char *terms =
        "{\"title\":\"only team-b\",\"recipients\":[\"team-b\"],\"purposes\":[\"" RESEARCH "\"],\"processings\":[]}";
    LH_OK(lh_submit(s->n, s->team, 1, &r, &lh_err));
    same_place(s, &r);
    LH_OK(vch_terms_add(s->n, s->clinic, terms, strlen(terms), &hash, &r, &lh_err));
    same_place(s, &r);
    assert_false(vch_hash_eq(&hash, &wrong));
    LH_OK(vch_access_request(s->n, s->team, "cohort", RESEARCH, TRAINING, NULL, 0, &r, &lh_err));
    assert_true(r.has_outcome && !r.permit);
    assert_non_null(strstr(r.rule, "deny"));
    const char *features[] = {"features"}, *none[] = {"no such group"};
    LH_OK(vch_access_request(s->n, s->team, "cohort@1", RESEARCH, TRAINING, features, 1, &r, &lh_err));
    LH_IS(VCH_ERR_NOT_FOUND, vch_access_request(s->n, s->team, "cohort", RESEARCH, TRAINING, none, 1, &r, &lh_err));
    LH_IS(VCH_ERR_NOT_FOUND, vch_access_request(s->n, s->team, "cohort@7", RESEARCH, TRAINING, NULL, 0, &r, &lh_err));
    LH_IS(VCH_ERR_CONFLICT, vch_terms_add(s->n, s->clinic, terms, strlen(terms), &hash, &r, &lh_err));
    const char *party = "{\"name\":\"x\",\"roles\":[\"user\"],\"keys\":[]}";
    LH_IS(VCH_ERR_LIMIT, vch_submit_json(s->n, s->team, "party", party, strlen(party), &r, &lh_err));
    assert_int_equal(kept(s, "receipts"), 4); /* the log's promise for each that was taken */
    same_lists(s);
}

static void owners_speak(void **state)
{
    site_t *s = *state;
    vch_receipt_t r;
    uint32_t who[OWNERS], one[1] = {3}, other[1] = {4};
    for (uint32_t i = 0; i < OWNERS; i++) who[i] = i;
    LH_OK(vch_consent_give(s->n, s->clinic, s->w, "cohort", who, who, OWNERS, "training", 40000, &r, &lh_err));
    assert_int_equal(r.count, OWNERS);
    LH_OK(vch_access_request(s->n, s->team, "cohort", RESEARCH, TRAINING, NULL, 0, &r, &lh_err));
    assert_true(r.permit && r.rows == OWNERS);
    LH_OK(vch_consent_withdraw(s->n, s->clinic, s->w, "cohort", one, one, 1, NULL, &r, &lh_err));
    LH_OK(vch_access_request(s->n, s->team, "cohort", RESEARCH, TRAINING, NULL, 0, &r, &lh_err));
    assert_true(r.permit && r.rows == OWNERS - 1);
    LH_IS(VCH_ERR_KEY, vch_consent_withdraw(s->n, s->clinic, s->w, "cohort", one, other, 1, NULL, &r, &lh_err));
    same_lists(s);
}

/* A carrier who may not know the subjects has them ask themselves. */
static void a_stranger_carries(void **state)
{
    site_t *s = *state;
    vch_receipt_t r;
    uint32_t one[2] = {5, 6};
    vch_ledger_ask_as(s->n, s->team);
    LH_OK(vch_consent_give(s->n, s->team, s->w, "cohort", one, one, 2, "training", 40000, &r, &lh_err));
    assert_int_equal(r.count, 2);
    LH_OK(vch_consent_withdraw(s->n, s->team, s->w, "cohort", one, one, 1, "training", &r, &lh_err));
    vch_ledger_ask_as(s->n, s->clinic);
    same_lists(s);
}

static void persons(void **state)
{
    site_t *s = *state;
    uint32_t here, there;
    LH_OK(vch_subject_find(s->l, "cohort", "owner-07", &here, &lh_err));
    LH_OK(vch_subject_find(s->n, "cohort", "owner-07", &there, &lh_err));
    assert_int_equal(here, there);
    LH_IS(VCH_ERR_NOT_FOUND, vch_subject_find(s->n, "cohort", "nobody & co = 1", &there, &lh_err));
}

static void what_needs_files(void **state)
{
    site_t *s = *state;
    vch_receipt_t r;
    vch_ingest_t in;
    vch_text_t text;
    uint64_t n;
    vch_dataset_spec_t spec = {.name = "x", .header_csv = s->csv};
    vch_run_result_t ran;
    const char *grant[] = {"0123456789abcdef"}, *argv[] = {"true", NULL};
    vch_run_spec_t run = {.grant = grant, .grants = 1, .name = "x", .argv = argv};
    vch_id_t id = {{0}};
    uint32_t statement;
    LH_IS(VCH_ERR_UNSUPPORTED, vch_dataset_create(s->n, s->clinic, &spec, &r, &lh_err));
    assert_non_null(strstr(lh_err.hint, "where the ledger is"));
    LH_IS(VCH_ERR_UNSUPPORTED, vch_dataset_add(s->n, s->clinic, "cohort", s->csv, NULL, NULL, NULL, &in, &lh_err));
    LH_IS(VCH_ERR_UNSUPPORTED, vch_dataset_check(s->n, "cohort", &n, &lh_err));
    LH_IS(VCH_ERR_UNSUPPORTED, vch_dataset_diff(s->n, "cohort@1", "cohort", &text, &lh_err));
    LH_IS(VCH_ERR_UNSUPPORTED, vch_consent_record(s->n, s->clinic, "cohort", s->csv, &n, &lh_err));
    LH_IS(VCH_ERR_NOT_FOUND, vch_access_fetch(s->n, s->team, grant[0], s->csv, &n, &lh_err)); /* no such grant */
    LH_IS(VCH_ERR_UNSUPPORTED, vch_run_exec(s->n, s->team, &run, &ran, &lh_err));
    LH_IS(VCH_ERR_UNSUPPORTED, vch_ledger_read_begin(s->n, &lh_err));
    LH_IS(VCH_ERR_UNSUPPORTED, vch_ledger_settle(s->n, &lh_err));
    LH_IS(VCH_ERR_UNSUPPORTED, vch_object_find(s->n, &id, &n, &statement, &lh_err));
}

/* ---- bad lines ------------------------------------------------------------------------------------- */

static uint64_t size_of(site_t *s)
{
    vch_ledger_info_t info;
    LH_OK(vch_ledger_info(s->l, &info, &lh_err));
    return info.size;
}

static unsigned models(site_t *s)
{
    vch_text_t text;
    unsigned n = 0;
    LH_OK(vch_query(s->l, "models", NULL, &text, &lh_err));
    for (const char *at = text.p; (at = strstr(at, "\"digest\"")); at++) n++;
    vch_text_free(&text);
    return n;
}

static void answers_get_lost(void **state)
{
    site_t *s = *state;
    vch_receipt_t r;
    snprintf(s->wire.only, sizeof s->wire.only, "/v1/submit");
    s->wire.lose = 3;
    LH_OK(lh_submit(s->n, s->team, 1, &r, &lh_err));
    assert_true(r.again); /* the first one had arrived */
    same_place(s, &r);
    s->wire.lose_asks = 2;
    LH_OK(lh_submit(s->n, s->team, 2, &r, &lh_err));
    assert_false(r.again);
    s->wire.push_back = 3;
    LH_OK(lh_submit(s->n, s->team, 3, &r, &lh_err));
    assert_false(r.again);
    assert_int_equal(models(s), 3);
    s->wire.only[0] = 0;
    s->wire.lose = 1; /* a question that changes nothing is asked again, too */
    same_lists(s);
}

/* The file that the last error's hint names last. */
static void read_named(vch_buf_t *ret)
{
    char path[400];
    const char *at = strstr(lh_err.hint, "signed ");
    assert_non_null(at);
    snprintf(path, sizeof path, "%s", at + 7);
    vch_buf_init(ret, 1u << 20);
    LH_OK(vch_read_all(vch_port_real(), ret, path, 1u << 20, &lh_err));
}

static void read_file(const char *path, vch_buf_t *ret)
{
    vch_buf_init(ret, 1u << 20);
    LH_OK(vch_read_all(vch_port_real(), ret, path, 1u << 20, &lh_err));
}

/* Nobody knows whether it arrived; its bytes bring the same place. */
static void no_answer_at_all(void **state)
{
    site_t *s = *state;
    vch_receipt_t r, same;
    vch_buf_t tx;
    vch_rc rc;
    snprintf(s->wire.only, sizeof s->wire.only, "/v1/submit");
    s->wire.lose = 1000;
    LH_IS(VCH_ERR_UNREACHABLE, lh_submit(s->n, s->team, 1, &r, &lh_err));
    s->wire.lose = 0;
    read_named(&tx);
    assert_int_equal(models(s), 1);
    const uint8_t *p[1] = {tx.p};
    size_t n[1] = {tx.n};
    LH_OK(vch_submit(s->n, p, n, 1, &r, &rc, &lh_err));
    LH_OK(vch_submit(s->l, p, n, 1, &same, &rc, &lh_err));
    assert_true(r.again && same.again && r.index == same.index && r.time.ms == same.time.ms);
    assert_int_equal(models(s), 1);
    vch_buf_free(&tx);
}

typedef struct {
    site_t *s;
    unsigned number, failed;
} worker_t;

static void *work(void *ctx)
{
    worker_t *w = ctx;
    vch_receipt_t r;
    vch_text_t text;
    vch_err_t err;
    for (unsigned i = 0; i < 6; i++) {
        w->failed += lh_submit(w->s->n, w->s->team, w->number * 100 + i, &r, &err) != VCH_OK;
        bool told = vch_query(w->s->n, "parties", NULL, &text, &err) == VCH_OK;
        if (told) vch_text_free(&text);
        w->failed += !told;
    }
    return NULL;
}

/* One handle, several threads. */
static void many_threads(void **state)
{
    site_t *s = *state;
    pthread_t thread[4];
    worker_t worker[4];
    for (unsigned i = 0; i < 4; i++) {
        worker[i] = (worker_t){s, i, 0};
        assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(worker[i].failed, 0);
    }
    assert_int_equal(models(s), 24);
}

/* Two handles sign with one key. */
static void one_key_twice(void **state)
{
    site_t *s = *state;
    vch_ledger_t *other = again(s);
    vch_receipt_t r;
    for (unsigned i = 0; i < 10; i++) LH_OK(lh_submit(i % 2 ? s->n : other, s->team, i, &r, &lh_err));
    assert_int_equal(models(s), 10);
    close_node(other);
}

/* The number that the node names was used meanwhile. */
static void a_number_is_taken(void **state)
{
    site_t *s = *state;
    vch_receipt_t r;
    LH_OK(lh_submit(s->n, s->team, 1, &r, &lh_err));
    snprintf(s->wire.only, sizeof s->wire.only, "/v1/sequence");
    snprintf(s->wire.replace[0], sizeof s->wire.replace[0], "\"sequence\":2");
    snprintf(s->wire.replace[1], sizeof s->wire.replace[1], "\"sequence\":1");
    LH_IS(VCH_ERR_REPLAY, lh_submit(s->n, s->team, 2, &r, &lh_err));
    assert_int_equal(models(s), 1);
    s->wire.replace[0][0] = 0;
    LH_OK(lh_submit(s->n, s->team, 2, &r, &lh_err));
}

static void many_transactions(void **state)
{
    enum { N = 70 };
    site_t *s = *state;
    static vch_buf_t tx[N];
    const uint8_t *p[N];
    size_t n[N];
    vch_receipt_t r[N];
    vch_rc rc[N];
    snprintf(s->wire.only, sizeof s->wire.only, "/v1/submit");
    s->wire.lose = 1000;
    for (unsigned i = 0; i < 2; i++) { /* signed here, sent nowhere else */
        vch_receipt_t ignored;
        LH_IS(VCH_ERR_UNREACHABLE, lh_submit(s->n, s->team, i, &ignored, &lh_err));
        read_named(&tx[i]);
    }
    s->wire.lose = 0;
    for (unsigned i = 0; i < N; i++) {
        p[i] = tx[i % 2].p;
        n[i] = tx[i % 2].n - (i == 40); /* one is cut short */
    }
    LH_IS(VCH_ERR_FORMAT, vch_submit(s->n, p, n, N, r, rc, &lh_err));
    assert_non_null(strstr(lh_err.text, "transaction 40"));
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(rc[i] == VCH_OK, i != 40);
        if (i != 40) assert_true(r[i].index == r[i % 2].index);
    }
    assert_int_equal(models(s), 2);
    vch_buf_free(&tx[0]);
    vch_buf_free(&tx[1]);
}

static void nobody_answers(void **state)
{
    site_t *s = *state;
    vch_ledger_info_t info;
    vch_receipt_t r;
    wire_to(&s->wire, NULL);
    LH_IS(VCH_ERR_UNREACHABLE, vch_ledger_info(s->n, &info, &lh_err));
    LH_IS(VCH_ERR_UNREACHABLE, lh_submit(s->n, s->team, 1, &r, &lh_err));
    wire_to(&s->wire, s->api);
    LH_OK(vch_ledger_info(s->n, &info, &lh_err));
}

/* From proxies, old nodes, and things that are no node at all. */
static void strange_answers(void **state)
{
    static const struct {
        int status;
        const char *body;
        vch_rc rc;
    } strange[] = {
        {404, "<html>", VCH_ERR_NOT_FOUND},
        {403, "", VCH_ERR_ROLE},
        {302, "", VCH_ERR_UNREACHABLE},
        {502, "bad gateway", VCH_ERR_UNREACHABLE},
        {418, "{}", VCH_ERR_UNREACHABLE},
        {200, "", VCH_ERR_FORMAT},
        {200, "[]", VCH_ERR_FORMAT},
        {200, "{\"size\":1e3}", VCH_ERR_FORMAT},
        {200, "{\"size\":-1}", VCH_ERR_FORMAT},
        {200, "{\"size\":18446744073709551616}", VCH_ERR_FORMAT},
        {200, "{\"size\":\"1\"}", VCH_ERR_FORMAT},
        {409, "{\"error\":\"ERR_CONFLICT\",\"text\":\"so it is\",\"hint\":\"look\"}", VCH_ERR_CONFLICT},
        {500, "{\"error\":\"OK\",\"text\":\"so it is\"}", VCH_ERR_INTERNAL},
        {400, "{\"error\":\"ERR_CORRUPT\",\"text\":\"a\\u0007b\\nc\"}", VCH_ERR_CORRUPT},
    };
    site_t *s = *state;
    vch_ledger_info_t info;
    LH_OK(vch_ledger_info(s->n, &info, &lh_err));
    snprintf(s->wire.only, sizeof s->wire.only, "/v1/info");
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        s->wire.instead = strange[i].body;
        s->wire.instead_status = strange[i].status;
        LH_IS(strange[i].rc, vch_ledger_info(s->n, &info, &lh_err));
        assert_true(lh_err.text[0]);
        for (const char *c = lh_err.text; *c; c++) assert_true(*c >= ' ');
    }
}

/* ---- who asks ------------------------------------------------------------------------------------------ */

static void who_asks(void **state)
{
    site_t *s = *state;
    vch_text_t text;
    s->wire.far = true;
    LH_OK(vch_query(s->n, "parties", NULL, &text, &lh_err)); /* signed by clinic-a */
    vch_text_free(&text);
    vch_ledger_ask_as(s->n, NULL);
    LH_IS(VCH_ERR_KEY, vch_query(s->n, "parties", NULL, &text, &lh_err));
    assert_non_null(strstr(lh_err.hint, "a party's key, or bring a token"));
    vch_ledger_ask_as(s->n, s->team);
    LH_OK(vch_query(s->n, "parties", NULL, &text, &lh_err));
    vch_text_free(&text);
    LH_IS(VCH_ERR_ROLE, vch_query(s->n, "consents", "cohort", &text, &lh_err)); /* not its dataset */
}

static void tokens(void **state)
{
    site_t *s = *state;
    char path[100];
    vch_ledger_t *n;
    vch_text_t text;
    vch_connect_t o = how(s);
    snprintf(path, sizeof path, "%s/token", s->folder);
    lh_run("printf 'not a token\\nat all' > %s/token", s->folder);
    o.token_path = path;
    LH_IS(VCH_ERR_FORMAT, wire_open(&n, &s->wire, &o, &lh_err));
    lh_run("printf 'vouch_unknown\\n' > %s/token", s->folder);
    LH_OK(wire_open(&n, &s->wire, &o, &lh_err));
    assert_true(vch_query(n, "parties", NULL, &text, &lh_err) != VCH_OK);
    close_node(n);
}

/* ---- lies ---------------------------------------------------------------------------------------------------- */

/* Whichever bit of a proof is turned, it is refused. */
static void flip_each(site_t *s, const char *only, vch_rc (*ask)(site_t *, vch_text_t *))
{
    vch_text_t text;
    snprintf(s->wire.only, sizeof s->wire.only, "%s", only);
    s->wire.flip = 0;
    do {
        lh_err = (vch_err_t){0};
        vch_rc rc = ask(s, &text);
        if (rc == VCH_OK) fail_msg("byte %ld of an answer to %s may be anything: %s", s->wire.flip, only, text.p);
        assert_true(rc == VCH_ERR_COMMITMENT || rc == VCH_ERR_FORMAT || rc == VCH_ERR_SIGNATURE || rc == VCH_ERR_KEY ||
                    rc == VCH_ERR_NETWORK || rc == VCH_ERR_CORRUPT || rc == VCH_ERR_LIMIT || rc == VCH_ERR_NOT_FOUND ||
                    rc == VCH_ERR_USAGE);
    } while (++s->wire.flip < s->wire.flipped_of);
    s->wire.flip = -1;
    LH_OK(ask(s, &text));
    vch_text_free(&text);
}

static vch_rc ask_state(site_t *s, vch_text_t *ret)
{
    vch_state_key_t key = vch_key_id('p', s->l->network.b); /* nobody: absence */
    return vch_state_show(s->n, key.b, key.n, ret, &lh_err);
}

static vch_rc ask_key(site_t *s, vch_text_t *ret)
{
    vch_keyid_t id = vch_pubkey_id(vch_signer_public(s->team));
    vch_state_key_t key = vch_key_id('k', id.b);
    return vch_state_show(s->n, key.b, key.n, ret, &lh_err);
}

/* What is proven of an entry: the names and times around it are not. */
static void lying_entries(void **state)
{
    static const char *const lie[][3] = {
        {"0", "\"index\":0", "\"index\":1"},
        {"0", "\"genesis\"", "\"dataset\""},
        {"1", "\"count\":1", "\"count\":2"},
        {"1", "\"first\":0", "\"first\":1"},
        {"2", "\"sequence\":1", "\"sequence\":2"},
        {"2", "\"team-b\"", "\"team-c\""},
        {"2", "\"user\"", "\"node\""},
        {"2", "\"party\"", "\"terms\""},
    };
    site_t *s = *state;
    vch_text_t text;
    for (size_t i = 0; i < sizeof lie / sizeof *lie; i++) {
        uint64_t index = (uint64_t)(lie[i][0][0] - '0');
        snprintf(s->wire.only, sizeof s->wire.only, "/v1/entry/%s", lie[i][0]);
        snprintf(s->wire.replace[0], sizeof s->wire.replace[0], "%s", lie[i][1]);
        snprintf(s->wire.replace[1], sizeof s->wire.replace[1], "%s", lie[i][2]);
        LH_IS(VCH_ERR_COMMITMENT, vch_entry_show(s->n, index, &text, &lh_err));
        s->wire.replace[0][0] = 0;
        LH_OK(vch_entry_show(s->n, index, &text, &lh_err));
        vch_text_free(&text);
    }
}

static vch_rc ask_inclusion(site_t *s, vch_text_t *ret) { return vch_prove_inclusion(s->n, 3, ret, &lh_err); }
static vch_rc ask_consistency(site_t *s, vch_text_t *ret) { return vch_prove_consistency(s->n, 2, 5, ret, &lh_err); }

static void flipped_proofs(void **state)
{
    site_t *s = *state;
    flip_each(s, "/v1/state", ask_key);
    flip_each(s, "/v1/state", ask_state);
    flip_each(s, "/v1/proof/consistency?from=2", ask_consistency);
    flip_each(s, "/v1/proof/inclusion", ask_inclusion);
}

/* A receipt is for this entry, or it is none. */
static void lying_receipts(void **state)
{
    site_t *s = *state;
    vch_receipt_t r, other;
    char a[65], b[65];
    LH_OK(lh_submit(s->n, s->team, 1, &other, &lh_err));
    vch_hex(b, other.entry.b, 32);
    snprintf(s->wire.only, sizeof s->wire.only, "/v1/submit");
    snprintf(s->wire.replace[0], sizeof s->wire.replace[0], "\"statements\":1");
    snprintf(s->wire.replace[1], sizeof s->wire.replace[1], "\"statements\":2");
    LH_IS(VCH_ERR_COMMITMENT, lh_submit(s->n, s->team, 2, &r, &lh_err));
    snprintf(s->wire.replace[0], sizeof s->wire.replace[0], "vouchsafe-receipt@v1");
    snprintf(s->wire.replace[1], sizeof s->wire.replace[1], "vouchsafe-receipt@v2");
    LH_IS(VCH_ERR_SIGNATURE, lh_submit(s->n, s->team, 3, &r, &lh_err));
    snprintf(s->wire.replace[0], sizeof s->wire.replace[0], "\\nposition 0");
    snprintf(s->wire.replace[1], sizeof s->wire.replace[1], "\\nposition 1");
    LH_IS(VCH_ERR_SIGNATURE, lh_submit(s->n, s->team, 4, &r, &lh_err));
    s->wire.replace[0][0] = 0;
    LH_OK(lh_submit(s->n, s->team, 5, &r, &lh_err));
    vch_hex(a, r.entry.b, 32);
    assert_string_not_equal(a, b);
}

/* Terms are those of their hash: an owner would sign others. */
static void lying_terms(void **state)
{
    site_t *s = *state;
    vch_receipt_t r;
    uint32_t one[1] = {1};
    snprintf(s->wire.only, sizeof s->wire.only, "/v1/list/terms");
    snprintf(s->wire.replace[0], sizeof s->wire.replace[0], "\"effect\":\"permit\"");
    snprintf(s->wire.replace[1], sizeof s->wire.replace[1], "\"effect\":\"forbid\"");
    LH_IS(VCH_ERR_COMMITMENT,
          vch_consent_give(s->n, s->clinic, s->w, "cohort", one, one, 1, "training", 40000, &r, &lh_err));
}

/* ---- the memory -------------------------------------------------------------------------------------------------- */

/* Another directory behind the same URL. */
typedef struct {
    char dir[96];
    vch_ledger_t *l;
    api_t *api;
} branch_t;

static void branch_copy(site_t *s, branch_t *b, const char *name)
{
    char command[300];
    snprintf(b->dir, sizeof b->dir, "%s/%s", s->folder, name);
    snprintf(command, sizeof command, "cp -r %s %s", s->dir, b->dir);
    assert_int_equal(lh_shell(command), 0);
}

static void branch_open(branch_t *b)
{
    LH_OK(vch_ledger_open(&b->l, b->dir, 0, &lh_err));
    LH_OK(api_new(&b->api, b->l, NULL, &lh_err));
}

static void branch_close(branch_t *b)
{
    api_free(b->api);
    LH_OK(vch_ledger_close(b->l, &lh_err));
}

static void grow(site_t *s, vch_ledger_t *l, unsigned from, unsigned n)
{
    vch_receipt_t r;
    for (unsigned i = 0; i < n; i++) LH_OK(lh_submit(l, s->team, from + i, &r, &lh_err));
    LH_OK(vch_ledger_checkpoint(l, NULL, &lh_err));
}

static void look(vch_ledger_t *n)
{
    vch_ledger_info_t info;
    LH_OK(vch_ledger_info(n, &info, &lh_err));
}

static void refused(vch_ledger_t *n, vch_rc want, const char *text)
{
    vch_ledger_info_t info;
    vch_rc rc = vch_ledger_info(n, &info, &lh_err);
    if (rc != want || !strstr(lh_err.text, text))
        fail_msg("%s: %s instead of %s: %s", vch_rc_name(rc), lh_err.text, vch_rc_name(want), text);
}

/* The kept file holds both notes as they were signed. */
static void both_kept(const char *seen, const char *now)
{
    char path[300];
    vch_buf_t file;
    const char *at = strstr(lh_err.hint, "kept in ");
    assert_non_null(at);
    snprintf(path, sizeof path, "%s", at + 8);
    path[strcspn(path, ";")] = 0;
    read_file(path, &file);
    LH_OK(vch_buf_u8(&file, 0));
    assert_non_null(strstr((char *)file.p, seen));
    assert_non_null(strstr((char *)file.p, now));
    vch_buf_free(&file);
}

static void split_view(void **state)
{
    site_t *s = *state;
    branch_t b = {0};
    vch_text_t a_note, b_note;
    branch_copy(s, &b, "branch");
    branch_open(&b);
    grow(s, s->l, 100, 2);
    grow(s, b.l, 200, 2);
    LH_OK(vch_ledger_checkpoint(s->l, &a_note, &lh_err));
    LH_OK(vch_ledger_checkpoint(b.l, &b_note, &lh_err));
    look(s->n);
    wire_to(&s->wire, b.api); /* the same session … */
    refused(s->n, VCH_ERR_CORRUPT, "same size");
    both_kept(a_note.p, b_note.p);
    vch_ledger_t *n = again(s); /* … and the next one */
    refused(n, VCH_ERR_CORRUPT, "same size");
    grow(s, b.l, 300, 3);
    refused(n, VCH_ERR_CORRUPT, "can't prove that its log extends");
    wire_to(&s->wire, s->api); /* the log seen before is still good */
    look(n);
    close_node(n);
    vch_text_free(&a_note);
    vch_text_free(&b_note);
    branch_close(&b);
}

static void rollback(void **state)
{
    site_t *s = *state;
    branch_t b = {0};
    vch_text_t a_note, b_note;
    branch_copy(s, &b, "older");
    branch_open(&b);
    grow(s, s->l, 100, 3);
    LH_OK(vch_ledger_checkpoint(s->l, &a_note, &lh_err));
    LH_OK(vch_ledger_checkpoint(b.l, &b_note, &lh_err));
    look(s->n);
    wire_to(&s->wire, b.api);
    vch_ledger_t *n = again(s);
    refused(n, VCH_ERR_CORRUPT, "older log than before");
    both_kept(a_note.p, b_note.p);
    close_node(n);
    vch_text_free(&a_note);
    vch_text_free(&b_note);
    branch_close(&b);
}

/* A stale checkpoint of the very same log is refused, too. */
static void stale_checkpoint(void **state)
{
    site_t *s = *state;
    vch_text_t old;
    LH_OK(vch_ledger_checkpoint(s->l, &old, &lh_err));
    grow(s, s->l, 100, 3);
    look(s->n);
    snprintf(s->wire.only, sizeof s->wire.only, "/checkpoint");
    s->wire.instead = old.p;
    s->wire.instead_status = 200;
    vch_ledger_t *n = again(s);
    refused(n, VCH_ERR_CORRUPT, "a rollback");
    s->wire.instead = NULL;
    look(n);
    close_node(n);
    vch_text_free(&old);
}

static void forged_signature(void **state)
{
    site_t *s = *state;
    vch_text_t note;
    look(s->n);
    grow(s, s->l, 100, 1);
    LH_OK(vch_ledger_checkpoint(s->l, &note, &lh_err));
    char *at = note.p + note.n - 10;
    *at = *at == 'A' ? 'B' : 'A';
    snprintf(s->wire.only, sizeof s->wire.only, "/checkpoint");
    s->wire.instead = note.p;
    s->wire.instead_status = 200;
    vch_ledger_t *n = again(s);
    refused(n, VCH_ERR_SIGNATURE, "forged");
    close_node(n);
    vch_text_free(&note);
}

static void another_log(site_t *s, branch_t *b, const char *name, const char *origin)
{
    vch_init_t init = {.origin = origin, .operator_name = "clinic-a"};
    snprintf(b->dir, sizeof b->dir, "%s/%s", s->folder, name);
    LH_OK(vch_ledger_init(b->dir, &init, &lh_err));
    branch_open(b);
    LH_OK(vch_ledger_checkpoint(b->l, NULL, &lh_err));
}

/* The same URL, another log; and the same name, another key. */
static void other_logs(void **state)
{
    site_t *s = *state;
    branch_t b = {0}, c = {0};
    look(s->n);
    another_log(s, &b, "other", "elsewhere.example/ledger");
    wire_to(&s->wire, b.api);
    refused(s->n, VCH_ERR_NETWORK, "instead of");
    vch_ledger_t *n = again(s);
    refused(n, VCH_ERR_NETWORK, "showed the log");
    another_log(s, &c, "same-name", LH_ORIGIN);
    wire_to(&s->wire, c.api);
    refused(n, VCH_ERR_KEY, "not signed by");
    close_node(n);
    branch_close(&b);
    branch_close(&c);
}

static void trust_policies(void **state)
{
    site_t *s = *state;
    branch_t b = {0};
    vch_ledger_t *n;
    char policy[160];
    vch_connect_t o = how(s);
    o.trust_path = s->trust;
    LH_OK(wire_open(&n, &s->wire, &o, &lh_err));
    look(n);
    assert_string_equal(vch_ledger_note(n), ""); /* nothing had to be pinned */
    close_node(n);
    another_log(s, &b, "other", "elsewhere.example/ledger");
    snprintf(policy, sizeof policy, "%s/trust.policy", b.dir);
    o.trust_path = policy;
    LH_OK(wire_open(&n, &s->wire, &o, &lh_err));
    refused(n, VCH_ERR_KEY, "trust policy");
    close_node(n);
    o.trust_path = s->csv;
    LH_IS(VCH_ERR_FORMAT, wire_open(&n, &s->wire, &o, &lh_err));
    branch_close(&b);
}

/* A node that names another network would have statements signed for it. */
static void lying_network(void **state)
{
    site_t *s = *state;
    char hex[65];
    vch_hex(hex, s->l->network.b, 32);
    snprintf(s->wire.only, sizeof s->wire.only, "/v1/info");
    snprintf(s->wire.replace[0], sizeof s->wire.replace[0], "%s", hex);
    memset(s->wire.replace[1], 'e', 64);
    refused(s->n, VCH_ERR_NETWORK, "another network");
    s->wire.replace[0][0] = 0;
    look(s->n);
}

static void damaged_memory(void **state)
{
    site_t *s = *state;
    look(s->n);
    lh_run("for f in %s/memory/logs/*/checkpoint; do echo nonsense > $f; done", s->folder);
    vch_ledger_t *n = again(s);
    refused(n, VCH_ERR_CORRUPT, "damaged");
    close_node(n);
}

/* The memory never goes back, whoever writes it last. */
static void memory_grows(void **state)
{
    site_t *s = *state;
    vch_receipt_t r;
    vch_text_t text;
    look(s->n);
    vch_ledger_t *late = again(s);
    look(late);
    for (unsigned i = 0; i < 5; i++) {
        LH_OK(lh_submit(i % 2 ? late : s->n, s->team, i, &r, &lh_err));
        LH_OK(vch_prove_inclusion(i % 2 ? s->n : late, r.index, &text, &lh_err));
        vch_text_free(&text);
        vch_ledger_t *n = again(s);
        look(n);
        close_node(n);
    }
    close_node(late);
    assert_true(size_of(s) > 0);
}

/* ---- keys
 * ------------------------------------------------------------------------------------------------------------ */

static void own_keys(void **state)
{
    site_t *s = *state;
    vch_signer_t *key;
    unsigned before = s->wire.asked;
    LH_OK(vch_identity_new(s->n, "team-c", "p256", NULL, &lh_err));
    LH_OK(vch_identity_load(s->n, NULL, NULL, &key, &lh_err));
    assert_int_equal(s->wire.asked, before); /* the node isn't asked for that */
    add_party(s->n, s->clinic, "team-c", key);
    vch_receipt_t r;
    LH_OK(lh_submit(s->n, key, 1, &r, &lh_err));
    vch_signer_free(key);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(same_answers),
        TEST(same_refusals),
        TEST(finds),
        TEST(writes),
        TEST(owners_speak),
        TEST(a_stranger_carries),
        TEST(persons),
        TEST(what_needs_files),
        TEST(answers_get_lost),
        TEST(no_answer_at_all),
        TEST(one_key_twice),
        TEST(many_threads),
        TEST(a_number_is_taken),
        TEST(many_transactions),
        TEST(nobody_answers),
        TEST(strange_answers),
        TEST(who_asks),
        TEST(tokens),
        TEST(flipped_proofs),
        TEST(lying_receipts),
        TEST(lying_terms),
        TEST(lying_entries),
        TEST(split_view),
        TEST(rollback),
        TEST(stale_checkpoint),
        TEST(forged_signature),
        TEST(other_logs),
        TEST(trust_policies),
        TEST(lying_network),
        TEST(damaged_memory),
        TEST(memory_grows),
        TEST(own_keys),
    };
    return cmocka_run_group_tests_name("remote", tests, NULL, NULL);
}
