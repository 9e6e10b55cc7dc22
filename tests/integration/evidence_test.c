/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence bundles and the trace of a decision, made by a small ledger with
 * 20 rows and judged by the offline verifier: each claim holds, and no changed
 * byte, no foreign policy and no damaged file gets past it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/cbor.h"
#include "codec/json.h"
#include "codec/text.h"
#include "entry/note.h"
#include "node/evidence.h"
#include "node/service.h"
#include "vouchsafe/verify.h"
#include "vouchsafe/vouchsafe.h"

#define ROWS 20
#define PURPOSE "https://w3id.org/dpv#ScientificResearch"
#define PROCESSING "https://w3id.org/dpv/ai#ModelTraining"
#define ARENA ((size_t)VCH_BUNDLE_BYTES_MAX + (16u << 20))

typedef struct {
    char dir[64], ledger[128], path[160];
    vch_ledger_t *l;
    vch_signer_t *op;
    vch_wallet_t *wallet;
    vch_err_t err;
    char grant[65], run[65], model[65], deployment[65];
    char *trust, *other_trust;
    size_t trust_n, other_trust_n;
    void *arena;
    vch_buf_t bundle;
    vch_report_t report;
} fix_t;

static fix_t w;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        vch_rc ok_ = (call);                                                                                           \
        if (ok_ != VCH_OK) print_error("%s: %s: %s (%s)\n", #call, vch_rc_name(ok_), w.err.text, w.err.hint);          \
        assert_int_equal(ok_, VCH_OK);                                                                                 \
    } while (0)

/* ---- the small ledger ------------------------------------------------------------- */

static const char *at(const char *name)
{
    snprintf(w.path, sizeof w.path, "%s/%s", w.dir, name);
    return w.path;
}

static void write_file(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static char *read_file(const char *path, size_t *ret_n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *p = malloc(1u << 20);
    *ret_n = fread(p, 1, 1u << 20, f);
    fclose(f);
    return p;
}

static void make_dataset(void)
{
    vch_buf_t csv, owners;
    vch_receipt_t receipt;
    vch_ingest_t in;
    char path[160], path2[160];
    vch_buf_init(&csv, 65536);
    vch_buf_init(&owners, 65536);
    OK(vch_buf_printf(&csv, "patient,age,marker,label\n"));
    for (unsigned i = 0; i < ROWS; i++)
        OK(vch_buf_printf(&csv, "p%02u,%u,%u.5,%s\n", i, 30 + i, i * 7, i % 2 ? "yes" : "no"));
    snprintf(path, sizeof path, "%s", at("rows.csv"));
    write_file(path, csv.p, csv.n);
    vch_dataset_spec_t spec = {.name = "study", .header_csv = path, .subject_col = "patient", .label_col = "label"};
    OK(vch_dataset_create(w.l, w.op, &spec, &receipt, &w.err));
    OK(vch_wallet_new(at("wallet"), ROWS, 1, NULL, &w.err));
    OK(vch_wallet_open(&w.wallet, at("wallet"), NULL, &w.err));
    for (unsigned i = 0; i < ROWS; i++) {
        uint8_t key[34];
        char hex[69];
        OK(vch_wallet_key(w.wallet, i, w.l, "study", key, &w.err));
        vch_hex(hex, key, sizeof key);
        OK(vch_buf_printf(&owners, "p%02u,%s\n", i, hex));
    }
    snprintf(path2, sizeof path2, "%s", at("owners.csv"));
    write_file(path2, owners.p, owners.n);
    OK(vch_dataset_add(w.l, w.op, "study", path, path2, NULL, NULL, &in, &w.err));
    assert_int_equal(in.rows, ROWS);
    vch_buf_free(&csv);
    vch_buf_free(&owners);
}

/* Subjects 0..15 give, 16 and 17 never say anything, 18 gives and withdraws, 19 is recorded from paper. */
static void make_consents(void)
{
    static const char terms[] = "{\"version\":1,\"title\":\"Research\",\"effect\":\"permit\",\"recipients\":[],"
                                "\"purposes\":[\"" PURPOSE "\"],\"processings\":[\"" PROCESSING "\"]}";
    vch_hash_t hash;
    vch_receipt_t receipt;
    uint32_t subject[17], owner[17];
    uint64_t count;
    char hex[65], line[160];
    OK(vch_terms_add(w.l, w.op, terms, sizeof terms - 1, &hash, &receipt, &w.err));
    vch_hex(hex, hash.b, 32);
    for (uint32_t i = 0; i < 17; i++) subject[i] = owner[i] = i < 16 ? i : 18;
    OK(vch_consent_give(w.l, w.op, w.wallet, "study", subject, owner, 17, hex, 40000, &receipt, &w.err));
    OK(vch_consent_withdraw(w.l, w.op, w.wallet, "study", &subject[16], &owner[16], 1, NULL, &receipt, &w.err));
    int n = snprintf(line, sizeof line, "p19,%s,2079-01-01,give\n", hex);
    write_file(at("paper.csv"), line, (size_t)n);
    OK(vch_consent_record(w.l, w.op, "study", w.path, &count, &w.err));
    assert_int_equal(count, 1);
}

static void make_model(void)
{
    static const char *const argv[] = {"/bin/sh", "-c", "cp \"$VOUCH_IN/train.csv\" \"$VOUCH_OUT/model.bin\"", NULL};
    vch_receipt_t receipt;
    vch_run_result_t result;
    char json[256];
    OK(vch_access_request(w.l, w.op, "study", PURPOSE, PROCESSING, NULL, 0, &receipt, &w.err));
    assert_true(receipt.permit);
    assert_int_equal(receipt.rows, 17);
    vch_hex(w.grant, receipt.object.b, 32);
    const char *grant[] = {w.grant};
    vch_run_spec_t spec = {
        .grant = grant, .grants = 1, .name = "first", .has_seed = 1, .seed = 7, .holdout = 5, .argv = argv};
    OK(vch_run_exec(w.l, w.op, &spec, &result, &w.err));
    assert_true(result.has_model);
    assert_int_equal(result.rows, 12);
    vch_hex(w.run, result.run.b, 32);
    vch_hex(w.model, result.model.b, 32);
    int n = snprintf(json, sizeof json, "{\"model\":\"%s\",\"scope\":\"triage\"}", w.model);
    OK(vch_submit_json(w.l, w.op, "deployment", json, (size_t)n, &receipt, &w.err));
    vch_hex(w.deployment, receipt.object.b, 32);
}

static void log_decisions(unsigned n, uint64_t *ret_first)
{
    vch_buf_t lines;
    vch_receipt_t receipt;
    uint64_t count;
    vch_buf_init(&lines, 64u << 20);
    for (unsigned i = 0; i < n; i++)
        OK(vch_buf_printf(&lines, "{\"input\":{\"age\":%u},\"output\":\"score %u\",\"reasons\":[\"r%u\"]}\n", i, i % 7,
                          i % 3));
    write_file(at("decisions.jsonl"), lines.p, lines.n);
    vch_buf_free(&lines);
    OK(vch_decisions_log(w.l, w.op, "triage", w.path, ret_first, &count, &receipt, &w.err));
    assert_int_equal(count, n);
}

/* A second ledger, for its policy: it trusts another log. */
static void make_stranger(void)
{
    char dir[200], path[256];
    vch_init_t init = {.origin = "elsewhere.example/log", .operator_name = "else"};
    snprintf(dir, sizeof dir, "%s", at("other"));
    OK(vch_ledger_init(dir, &init, &w.err));
    snprintf(path, sizeof path, "%s/trust.policy", dir);
    w.other_trust = read_file(path, &w.other_trust_n);
}

static int set_up(void **state)
{
    (void)state;
    vch_init_t init = {.origin = "clinic.example/ledger", .operator_name = "clinic"};
    uint64_t first;
    char path[160];
    snprintf(w.dir, sizeof w.dir, "/tmp/vch-evidence-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    snprintf(w.ledger, sizeof w.ledger, "%s/l", w.dir);
    w.arena = malloc(ARENA);
    vch_buf_init(&w.bundle, VCH_BUNDLE_BYTES_MAX);
    OK(vch_ledger_init(w.ledger, &init, &w.err));
    OK(vch_ledger_open(&w.l, w.ledger, 0, &w.err));
    OK(vch_identity_load(w.l, "clinic", NULL, &w.op, &w.err));
    make_dataset();
    make_consents();
    make_model();
    log_decisions(9, &first);
    assert_int_equal(first, 0);
    make_stranger();
    snprintf(path, sizeof path, "%s/trust.policy", w.ledger);
    w.trust = read_file(path, &w.trust_n);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st;
    (void)flag;
    (void)f;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    vch_wallet_free(w.wallet);
    vch_signer_free(w.op);
    OK(vch_ledger_close(w.l, &w.err));
    free(w.trust);
    free(w.other_trust);
    free(w.arena);
    vch_buf_free(&w.bundle);
    return nftw(w.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- making and judging -------------------------------------------------------------- */

static vch_verify_status_t judge(const uint8_t *p, size_t n, const char *trust, size_t trust_n)
{
    OK(vch_bundle_verify(&w.report, p, n, trust, trust_n, NULL, w.arena, ARENA, &w.err));
    return w.report.status;
}

/* Makes the file, reads it, and it must hold. */
static void make(const char *what, const char *id)
{
    char path[160];
    snprintf(path, sizeof path, "%s", at("bundle.vouch"));
    OK(vch_bundle_make(w.l, what, id, path, &w.err));
    vch_buf_clear(&w.bundle);
    OK(vch_read_all(vch_port_real(), &w.bundle, path, VCH_BUNDLE_BYTES_MAX, &w.err));
    if (judge(w.bundle.p, w.bundle.n, w.trust, w.trust_n) != VCH_VERIFY_OK)
        print_error("%s %s: %s %s\n", what, id, vch_verify_code(w.report.code), w.report.detail);
    assert_int_equal(w.report.code, VCH_V_OK);
}

/* Where the claim lies in the bundle: behind {0: 1, 1: hash, 2: */
static void find_claim(size_t *ret_from, size_t *ret_to)
{
    vch_cbor_t c = vch_cbor_over(vch_buf_slice(&w.bundle));
    uint64_t n;
    vch_slice_t item;
    OK(vch_cbor_get_map(&c, &n));
    for (int i = 0; i < 5; i++) OK(vch_cbor_skip(&c, NULL));
    OK(vch_cbor_skip(&c, &item));
    *ret_from = (size_t)(item.p - w.bundle.p);
    *ret_to = *ret_from + item.n;
}

static void flip(size_t i, uint8_t bit)
{
    w.bundle.p[i] ^= bit;
    if (judge(w.bundle.p, w.bundle.n, w.trust, w.trust_n) == VCH_VERIFY_OK)
        fail_msg("byte %zu of %zu changed (bit %02x) and still OK: %s", i, w.bundle.n, bit, w.report.claim);
    w.bundle.p[i] ^= bit;
}

static void attack(void)
{
    size_t from, to, step = w.bundle.n / 200 + 1;
    find_claim(&from, &to);
    size_t claim_step = (to - from) / 400 + 1; /* all of a claim, unless it carries a whole batch */
    for (size_t i = from; i < to; i += claim_step) flip(i, (uint8_t)(1u << i % 8));
    for (size_t i = 0; i < w.bundle.n; i += step) flip(i, (uint8_t)(1u << i % 8));
    assert_int_equal(judge(w.bundle.p, w.bundle.n - 1, w.trust, w.trust_n), VCH_VERIFY_FAIL);
    assert_int_equal(judge(w.bundle.p, w.bundle.n, w.trust, w.trust_n), VCH_VERIFY_OK);
    assert_int_equal(judge(w.bundle.p, w.bundle.n, w.other_trust, w.other_trust_n), VCH_VERIFY_INCONCLUSIVE);
    assert_int_equal(w.report.code, VCH_V_I_LOG);
}

static void says(const char *words)
{
    if (!strstr(w.report.claim, words)) fail_msg("the claim \"%s\" lacks \"%s\"", w.report.claim, words);
}

/* ---- claims ------------------------------------------------------------------------------ */

static void an_access_is_recomputed(void **state)
{
    (void)state;
    make("access", w.grant);
    assert_true(w.report.recomputed);
    says("permitted");
    says("17 rows");
    attack();
}

static void a_lineage_is_recomputed(void **state)
{
    (void)state;
    make("lineage", w.model);
    assert_true(w.report.recomputed);
    says("12 permitted rows");
    attack();
    make("lineage", "first"); /* by name */
}

static void a_decision_is_recomputed(void **state)
{
    (void)state;
    make("decision", "triage/4");
    assert_true(w.report.recomputed);
    says("1 decision from 4 on");
    attack();
}

static void a_whole_batch(void **state)
{
    (void)state;
    make("decision", "triage/0-8");
    says("9 decisions from 0 on");
    attack();
    assert_int_equal(vch_bundle_make(w.l, "decision", "triage/0-7", at("x"), &w.err), VCH_ERR_USAGE);
    assert_non_null(strstr(w.err.hint, "0-8"));
}

static void consents_of_all_three_kinds(void **state)
{
    (void)state;
    make("consent", "study/3");
    says("consent is in force");
    says("signed by the owner");
    attack();
    make("consent", "study/19");
    says("recorded by the custodian");
    make("consent", "study/18");
    says("consent is withdrawn");
    attack();
    make("consent", "study/16");
    says("nothing was ever given");
    attack();
}

static void rows_in_and_out_of_the_set(void **state)
{
    (void)state;
    char id[100];
    unsigned in = 0, out = 0;
    for (unsigned row = 0; row < ROWS; row++) {
        snprintf(id, sizeof id, "%s/0/%u", w.run, row);
        make("row", id);
        says("its content is disclosed");
        bool used = !strstr(w.report.claim, "was not in");
        if (row >= 16 && row <= 18) assert_false(used);
        if (used ? in++ == 0 : out++ == 0) attack();
    }
    assert_int_equal(in, 12);
    assert_int_equal(out, ROWS - 12);
}

/* ---- what lies in it ---- */

static size_t count_of(const vch_json_t *shown, const char *list)
{
    const vch_json_t *l = vch_json_get(shown, list);
    assert_non_null(l);
    assert_int_equal(l->type, VCH_JSON_ARRAY);
    return l->count;
}

static uint64_t number_of(const vch_json_t *shown, const char *name)
{
    const vch_json_t *n = vch_json_get(shown, name);
    uint64_t v = 0;
    assert_non_null(n);
    assert_int_equal(vch_decimal_get(&v, n->text), VCH_OK);
    return v;
}

static bool some(const vch_json_t *list, const char *name, const char *want)
{
    for (const vch_json_t *v = list->first; v; v = v->next)
        if (vch_slice_eq(vch_json_get(v, name)->text, vch_str(want))) return true;
    return false;
}

/* The bundle at hand as JSON, in the arena. */
static const vch_json_t *shown_in(vch_arena_t *arena, vch_text_t *text)
{
    const vch_json_t *json = NULL;
    OK(vch_bundle_show(w.bundle.p, w.bundle.n, text, &w.err));
    OK(vch_json_parse(arena, &json, vch_slice(text->p, text->n), &w.err));
    return json;
}

static void shows(const char *what, const char *id, const char *claim, size_t decisions)
{
    vch_arena_t arena;
    vch_text_t text;
    make(what, id);
    vch_arena_init(&arena, 1u << 28);
    const vch_json_t *json = shown_in(&arena, &text);
    assert_int_equal(count_of(json, "claims"), 1);
    assert_true(some(vch_json_get(json, "claims"), "type", claim));
    assert_true(count_of(json, "checkpoints") > 0);
    assert_true(some(vch_json_get(json, "checkpoints"), "origin", "clinic.example/ledger"));
    assert_int_equal(vch_json_get(vch_json_get(json, "checkpoints")->first, "signers")->count, 1);
    assert_true(some(vch_json_get(json, "entries"), "kind", "state-commit"));
    size_t statements = count_of(json, "statements"), disclosed = 0;
    for (const vch_json_t *e = vch_json_get(json, "entries")->first; e; e = e->next)
        if (vch_json_get(e, "disclosed")) disclosed += (size_t)number_of(e, "disclosed");
    assert_true(statements > 0);
    assert_int_equal(statements, disclosed);
    uint64_t rows = vch_json_get(vch_json_get(json, "claims")->first, "groups disclosed")
                        ? number_of(vch_json_get(json, "claims")->first, "groups disclosed")
                        : 0;
    assert_int_equal(number_of(json, "salts"), statements + decisions + rows);
    if (decisions) assert_int_equal(count_of(json, "decisions"), decisions);
    vch_text_free(&text);
    vch_arena_free(&arena);
}

/* Cut off or changed: contents that hang together, or a refusal. */
static unsigned refusals(void)
{
    unsigned refused = 0;
    vch_text_t text;
    for (size_t i = 0; i < w.bundle.n; i += 1 + w.bundle.n / 4000) {
        uint8_t was = w.bundle.p[i];
        w.bundle.p[i] ^= (uint8_t)(1u << i % 8);
        vch_rc rc = vch_bundle_show(w.bundle.p, w.bundle.n, &text, &w.err);
        w.bundle.p[i] = was;
        if (rc == VCH_OK) {
            vch_text_free(&text);
            continue;
        }
        assert_true(rc == VCH_ERR_COMMITMENT || rc == VCH_ERR_VERSION);
        assert_true(w.err.text[0] && !strchr(w.err.text, '\n'));
        refused++;
    }
    for (size_t n = 0; n < w.bundle.n; n += 1 + w.bundle.n / 500)
        assert_int_equal(vch_bundle_show(w.bundle.p, n, &text, &w.err), VCH_ERR_COMMITMENT);
    return refused;
}

static void contents_are_shown(void **state)
{
    (void)state;
    char id[100];
    vch_text_t text;
    shows("access", w.grant, "access", 0);
    shows("lineage", w.model, "lineage", 0);
    shows("consent", "study/2", "consent", 0);
    snprintf(id, sizeof id, "%s/0/2", w.run);
    shows("row", id, "row", 0);
    shows("decision", "triage/0-8", "decision", 9);
    shows("decision", "triage/3", "decision", 1);
    unsigned refused = refusals();
    print_message("%u changes were refused\n", refused);
    assert_true(refused > 500);
    assert_int_equal(vch_bundle_show(NULL, 0, &text, &w.err), VCH_ERR_COMMITMENT);
    assert_int_equal(vch_rc_exit(VCH_ERR_COMMITMENT), 3);
}

static void the_same_bytes_twice(void **state)
{
    (void)state;
    vch_buf_t again;
    vch_buf_init(&again, VCH_BUNDLE_BYTES_MAX);
    make("lineage", w.model);
    OK(vch_bundle_build(w.l, "lineage", w.model, &again, &w.err));
    assert_int_equal(again.n, w.bundle.n);
    assert_memory_equal(again.p, w.bundle.p, again.n);
    vch_buf_free(&again);
}

/* What was decided stays provable after everybody has withdrawn. */
static void history_stays_provable(void **state)
{
    (void)state;
    vch_receipt_t receipt;
    uint32_t subject[4] = {0, 1, 2, 3};
    OK(vch_consent_withdraw(w.l, w.op, w.wallet, "study", subject, subject, 4, NULL, &receipt, &w.err));
    OK(vch_access_request(w.l, w.op, "study", PURPOSE, PROCESSING, NULL, 0, &receipt, &w.err));
    assert_int_equal(receipt.rows, 13);
    make("consent", "study/3");
    says("consent is withdrawn");
    make("access", w.grant);
    assert_true(w.report.recomputed);
    says("17 rows");
    make("decision", "triage/8");
    assert_true(w.report.recomputed);
    make("row", "first/0/0");
}

static void a_refusal_is_provable(void **state)
{
    (void)state;
    vch_receipt_t receipt;
    char id[65];
    OK(vch_access_request(w.l, w.op, "study", "https://w3id.org/dpv#Marketing", PROCESSING, NULL, 0, &receipt, &w.err));
    assert_false(receipt.permit);
    vch_hex(id, receipt.object.b, 32);
    make("access", id);
    assert_true(w.report.recomputed);
    says("denied (deny/purpose)");
    attack();
}

/* Changed rows lie in a second extent, whose subjects are not contiguous. */
static void a_second_version(void **state)
{
    (void)state;
    static const char rows[] = "patient,age,marker,label\np03,99,1.0,no\np20,50,2.0,yes\np05,98,3.0,no\n";
    vch_ingest_t in;
    vch_receipt_t receipt;
    char id[65];
    write_file(at("rows2.csv"), rows, sizeof rows - 1);
    OK(vch_dataset_add(w.l, w.op, "study", w.path, NULL, NULL, NULL, &in, &w.err));
    assert_int_equal(in.version, 2);
    OK(vch_access_request(w.l, w.op, "study", PURPOSE, PROCESSING, NULL, 0, &receipt, &w.err));
    assert_int_equal(receipt.rows, 1); /* p05: p03 withdrew, p20 never spoke */
    vch_hex(id, receipt.object.b, 32);
    make("access", id);
    assert_true(w.report.recomputed);
    says("1 rows");
    attack();
    make("access", w.grant); /* the old version, as it was */
    assert_true(w.report.recomputed);
}

/* The ledger's policy, but with this witness instead of none. */
/* The ledger's policy, but `need` of these n witnesses must have cosigned. */
static vch_buf_t policy_with(vch_signer_t *const *witness, unsigned n, unsigned need)
{
    char name[32];
    vch_buf_t b;
    vch_buf_init(&b, 65536);
    OK(vch_buf_put(&b, w.trust, w.trust_n));
    char *none = memmem(b.p, b.n, "quorum none\n", 12);
    assert_non_null(none);
    b.n = (size_t)(none - (char *)b.p);
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "w%u.example/1", i);
        OK(vch_buf_printf(&b, "witness w%u ", i));
        OK(vch_vkey_put(&b, name, VCH_NOTE_COSIG_ED25519, vch_signer_public(witness[i])->b + 2));
        OK(vch_buf_printf(&b, "\n"));
    }
    OK(vch_buf_printf(&b, "group some %u", need));
    for (unsigned i = 0; i < n; i++) OK(vch_buf_printf(&b, " w%u", i));
    OK(vch_buf_printf(&b, "\nquorum some\n"));
    return b;
}

/* Keeps the head with cosignatures of the newest block's time, each later by its
 * number; `forge` of them sign another text. */
static uint64_t cosign_head(vch_signer_t *const *witness, unsigned n, unsigned forge, uint64_t *ret_seconds)
{
    vch_buf_t note, text;
    vch_note_t *parsed = malloc(sizeof *parsed);
    vch_ledger_info_t info;
    uint64_t size;
    char name[32];
    OK(vch_ledger_checkpoint(w.l, NULL, &w.err));
    OK(vch_ledger_info(w.l, &info, &w.err));
    vch_buf_init(&note, 65536);
    vch_buf_init(&text, 65536);
    OK(vch_log_head(w.l->log, &note, &size, &w.err));
    OK(vch_note_get(parsed, vch_buf_slice(&note)));
    OK(vch_buf_put(&text, parsed->text.p, parsed->text.n));
    *ret_seconds = info.time.ms / 1000;
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "w%u.example/1", i);
        if (i + forge >= n) text.p[text.n - 2] ^= 1;
        OK(vch_note_cosign(&note, vch_buf_slice(&text), name, witness[i], *ret_seconds + i));
        if (i + forge >= n) text.p[text.n - 2] ^= 1;
    }
    OK(vch_log_keep_cosigned(w.l->log, size, vch_buf_slice(&note), &w.err));
    free(parsed);
    vch_buf_free(&text);
    vch_buf_free(&note);
    return size;
}

static void judge_by(const vch_buf_t *policy, vch_verify_status_t want)
{
    assert_int_equal(judge(w.bundle.p, w.bundle.n, (const char *)policy->p, policy->n), want);
}

/* A policy that wants a witness is content with what that one cosigned, and
 * with nothing else. */
static void cosigned_checkpoints_are_preferred(void **state)
{
    (void)state;
    static const uint8_t seed[2][32] = {{1}, {2}};
    vch_signer_t *key[2];
    vch_buf_t policy[2];
    uint64_t first, seconds;
    char id[64];
    for (int i = 0; i < 2; i++) {
        OK(vch_signer_new(&key[i], VCH_ALG_ED25519, seed[i], &w.err));
        policy[i] = policy_with(&key[i], 1, 1);
    }
    uint64_t size = cosign_head(&key[0], 1, 0, &seconds);
    log_decisions(3, &first); /* the log goes on, not cosigned */
    make("lineage", w.model);
    assert_int_equal(w.report.newest_size, size);
    judge_by(&policy[1], VCH_VERIFY_INCONCLUSIVE);
    judge_by(&policy[0], VCH_VERIFY_OK);
    assert_true(w.report.witnessed);
    assert_int_equal(w.report.witness_s, seconds);
    char *trust = w.trust;
    size_t trust_n = w.trust_n;
    w.trust = (char *)policy[0].p;
    w.trust_n = policy[0].n;
    attack(); /* the cosignature's bytes count too */
    w.trust = trust;
    w.trust_n = trust_n;
    snprintf(id, sizeof id, "triage/%llu", (unsigned long long)first);
    make("decision", id); /* part under the cosigned one, part under the newest */
    assert_true(w.report.newest_size > size);
    judge_by(&policy[0], VCH_VERIFY_INCONCLUSIVE);
    for (int i = 0; i < 2; i++) {
        vch_signer_free(key[i]);
        vch_buf_free(&policy[i]);
    }
}

static void set_policy(const void *p, size_t n)
{
    char path[160];
    snprintf(path, sizeof path, "%s/trust.policy", w.ledger);
    write_file(path, p, n);
}

/* Of several notes over the same entries the one that the directory's own
 * policy likes best goes into bundles and proofs: a quorum before less, more
 * witnesses before fewer, never one with a forged signature. */
static void the_best_note_is_shown(void **state)
{
    (void)state;
    vch_signer_t *key[3];
    vch_buf_t policy;
    vch_text_t proof;
    uint64_t first, seconds, at_s, size;
    for (uint8_t i = 0; i < 3; i++) {
        uint8_t seed[32] = {[1] = (uint8_t)(i + 1)};
        OK(vch_signer_new(&key[i], VCH_ALG_ED25519, seed, &w.err));
    }
    policy = policy_with(key, 3, 2);
    set_policy(policy.p, policy.n);
    log_decisions(1, &first);
    size = cosign_head(key, 1, 0, &seconds); /* no quorum yet */
    make("lineage", w.model);
    judge_by(&policy, VCH_VERIFY_INCONCLUSIVE);
    log_decisions(1, &first);
    assert_true(cosign_head(key, 2, 0, &seconds) > size); /* a quorum, but over more */
    make("lineage", w.model);
    judge_by(&policy, VCH_VERIFY_OK);
    assert_true(w.report.newest_size > size);
    size = w.report.newest_size;
    at_s = seconds;
    assert_int_equal(cosign_head(key, 3, 1, &seconds), size); /* three, the third of them forged */
    make("lineage", w.model);
    judge_by(&policy, VCH_VERIFY_OK);
    assert_int_equal(w.report.newest_size, size);
    assert_null(memmem(w.bundle.p, w.bundle.n, "w2.example/1", 12));
    assert_int_equal(cosign_head(key, 3, 0, &seconds), size); /* and three good ones */
    make("lineage", w.model);
    judge_by(&policy, VCH_VERIFY_OK);
    assert_int_equal(w.report.witness_s, at_s + 1);
    assert_non_null(memmem(w.bundle.p, w.bundle.n, "w2.example/1", 12));
    OK(vch_prove_inclusion(w.l, 1, &proof, &w.err));
    assert_non_null(strstr(proof.p, "w2.example/1"));
    vch_text_free(&proof);
    log_decisions(1, &first); /* what none of them covers is proven by the log alone */
    OK(vch_prove_inclusion(w.l, size, &proof, &w.err));
    assert_null(strstr(proof.p, "w0.example/1"));
    vch_text_free(&proof);
    set_policy(w.trust, w.trust_n);
    for (int i = 0; i < 3; i++) vch_signer_free(key[i]);
    vch_buf_free(&policy);
}

/* A bundle of entries whose file is gone is made again, a partial one only as
 * long as some checkpoint may have left it. */
static void partial_bundles_end_with_a_block(void **state)
{
    (void)state;
    vch_buf_t bundle;
    vch_text_t entry;
    char path[192];
    unsigned yes = 0, no = 0;
    vch_buf_init(&bundle, 1u << 24);
    OK(vch_ledger_checkpoint(w.l, NULL, &w.err));
    snprintf(path, sizeof path, "%s/tlog/tile/entries", w.ledger);
    assert_int_equal(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    for (unsigned width = 1; width < 40; width++) {
        OK(vch_entry_show(w.l, width - 1, &entry, &w.err));
        bool end = strstr(entry.p, "\"state-commit\"") != NULL;
        vch_text_free(&entry);
        vch_buf_clear(&bundle);
        vch_rc rc = vch_tile_into(w.l, -1, 0, width, &bundle, &w.err);
        assert_int_equal(rc, end ? VCH_OK : VCH_ERR_NOT_FOUND);
        yes += end;
        no += !end;
    }
    assert_true(yes > 2 && no > 2);
    vch_buf_free(&bundle);
}

static vch_clock_ops_t late_clock;

static uint64_t an_hour_ago(vch_port_t *port)
{
    (void)port;
    return vch_port_real()->clock->wall_ms(vch_port_real()) - 3600000;
}

/* A clock that was set back since gives no decision a time before its model's
 * deployment, which the ledger would refuse. */
static void a_clock_set_back_does_not_stop_decisions(void **state)
{
    (void)state;
    static const char line[] = "{\"input\":1,\"output\":\"yes\"}\n";
    vch_port_t port = *vch_port_real(), *was = w.l->port;
    vch_receipt_t receipt;
    uint64_t first, count;
    char text[256];
    int n = snprintf(text, sizeof text, "{\"model\":\"%s\",\"scope\":\"late/desk\"}", w.model);
    OK(vch_submit_json(w.l, w.op, "deployment", text, (size_t)n, &receipt, &w.err));
    write_file(at("late.jsonl"), line, sizeof line - 1);
    late_clock = *port.clock;
    late_clock.wall_ms = an_hour_ago;
    port.clock = &late_clock;
    w.l->port = &port;
    OK(vch_decisions_log(w.l, w.op, "late/desk", w.path, &first, &count, &receipt, &w.err));
    w.l->port = was;
    make("decision", "late/desk/0");
    says("1 decision from 0 on");
}

static void a_batch_of_ten_thousand(void **state)
{
    (void)state;
    uint64_t first;
    char id[64];
    log_decisions(10000, &first);
    assert_int_equal(first, 9);
    snprintf(id, sizeof id, "triage/%llu-%llu", (unsigned long long)first, (unsigned long long)first + 9999);
    make("decision", id);
    says("10000 decisions from 9 on");
    for (size_t i = 0; i < 20; i++) flip(w.bundle.n / 20 * i, 4);
    make("decision", "triage/5008");
    says("1 decision from 5008 on");
}

/* A model without a run is shown as what it is; nothing is recomputed. */
static void an_unproven_import_is_called_that(void **state)
{
    (void)state;
    vch_receipt_t receipt;
    static const char line[] = "{\"input\":1,\"output\":\"no\",\"reasons\":[]}\n";
    vch_text_t json;
    uint64_t first, count;
    char model[65], text[256];
    int n = snprintf(text, sizeof text, "{\"digest\":\"%064d\",\"name\":\"bought\"}", 7);
    OK(vch_submit_json(w.l, w.op, "model", text, (size_t)n, &receipt, &w.err));
    vch_hex(model, receipt.object.b, 32);
    n = snprintf(text, sizeof text, "{\"model\":\"%s\",\"scope\":\"bought/desk\"}", model);
    OK(vch_submit_json(w.l, w.op, "deployment", text, (size_t)n, &receipt, &w.err));
    write_file(at("one.jsonl"), line, sizeof line - 1);
    OK(vch_decisions_log(w.l, w.op, "bought/desk", w.path, &first, &count, &receipt, &w.err));
    make("decision", "bought/desk/0");
    says("an unproven import");
    assert_false(w.report.recomputed);
    OK(vch_decision_trace(w.l, "bought/desk/0", &json, &w.err));
    assert_non_null(strstr(json.p, "\"origin\":\"unproven import\""));
    assert_null(strstr(json.p, "\"run\":"));
    assert_null(strstr(json.p, "\"verified\":false"));
    vch_text_free(&json);
}

static void a_read_only_ledger_proves_too(void **state)
{
    (void)state;
    OK(vch_ledger_close(w.l, &w.err));
    OK(vch_ledger_open(&w.l, w.ledger, VCH_LEDGER_READ_ONLY, &w.err));
    make("lineage", w.model);
    assert_true(w.report.recomputed);
    make("consent", "study/3");
    OK(vch_ledger_close(w.l, &w.err));
    OK(vch_ledger_open(&w.l, w.ledger, 0, &w.err));
}

/* ---- what isn't there ----------------------------------------------------------------------- */

static void unknown_things_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *what, *id;
        vch_rc rc;
    } bad[] = {
        {"decision", "triage/999999", VCH_ERR_NOT_FOUND},
        {"decision", "nowhere/1", VCH_ERR_NOT_FOUND},
        {"decision", "triage", VCH_ERR_USAGE},
        {"access", "ffffffffffffffff", VCH_ERR_NOT_FOUND},
        {"consent", "study/21", VCH_ERR_NOT_FOUND},
        {"consent", "study/x", VCH_ERR_USAGE},
        {"row", "first/0/20", VCH_ERR_NOT_FOUND},
        {"row", "first/1/0", VCH_ERR_NOT_FOUND},
        {"lineage", "nobody", VCH_ERR_NOT_FOUND},
        {"weather", "today", VCH_ERR_USAGE},
    };
    char path[160];
    snprintf(path, sizeof path, "%s", at("none.vouch"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        w.err = (vch_err_t){0};
        vch_rc rc = vch_bundle_make(w.l, bad[i].what, bad[i].id, path, &w.err);
        if (rc != bad[i].rc) fail_msg("%s %s: %s %s", bad[i].what, bad[i].id, vch_rc_name(rc), w.err.text);
        assert_true(w.err.text[0]);
        if (rc == VCH_ERR_NOT_FOUND) assert_true(w.err.hint[0]);
        assert_int_equal(access(path, F_OK), -1);
    }
}

/* ---- the trace --------------------------------------------------------------------------------- */

static void a_trace_is_verified_throughout(void **state)
{
    (void)state;
    static const char *const words[] = {"\"decision\":{\"sequence\":2",
                                        "\"scope\":\"triage\"",
                                        "\"name\":\"first\"",
                                        "\"status\":\"completed\"",
                                        "\"rows permitted\":17",
                                        "\"dataset\":\"study\"",
                                        "\"live rows\":20",
                                        "\"used\":12",
                                        "\"held out\":5",
                                        "\"terms title\":\"Research\"",
                                        "\"how\":\"owner\"",
                                        "\"status\":\"OK\""};
    vch_text_t json;
    OK(vch_decision_trace(w.l, "triage/2", &json, &w.err));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(json.p, words[i])) fail_msg("the tree lacks %s: %s", words[i], json.p);
    assert_null(strstr(json.p, "\"verified\":false"));
    vch_arena_t arena;
    const vch_json_t *tree;
    vch_arena_init(&arena, 1u << 20);
    OK(vch_json_parse(&arena, &tree, vch_slice(json.p, json.n), &w.err));
    vch_arena_free(&arena);
    vch_text_free(&json);
    assert_int_equal(vch_decision_trace(w.l, "triage/0-8", &json, &w.err), VCH_ERR_USAGE);
}

static char batch_path[700];

static int first_file(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st;
    (void)f;
    size_t n = strlen(path);
    if (flag != FTW_F || n < 5 || strcmp(path + n - 4, ".dcb") != 0) return 0;
    char *bytes = read_file(path, &n); /* deployments lie in folders of random names: the one meant says "score 2" */
    if (memmem(bytes, n, "score 2", 7)) snprintf(batch_path, sizeof batch_path, "%s", path);
    free(bytes);
    return 0;
}

/* Last: it damages what the others need. */
static void lost_and_changed_decisions(void **state)
{
    (void)state;
    char dir[160], path[160];
    size_t n;
    vch_text_t json;
    snprintf(dir, sizeof dir, "%s/decisions", w.ledger);
    snprintf(path, sizeof path, "%s", at("none.vouch"));
    assert_int_equal(nftw(dir, first_file, 16, FTW_PHYS), 0);
    assert_true(batch_path[0]);
    char *kept = read_file(batch_path, &n);
    char *place = memmem(kept, n, "score 2", 7);
    assert_non_null(place);
    place[6] = '3';
    write_file(batch_path, kept, n);
    vch_rc rc = vch_decision_trace(w.l, "triage/2", &json, &w.err);
    if (rc == VCH_OK) {
        assert_non_null(strstr(json.p, "\"verified\":false"));
        vch_text_free(&json);
    } else {
        assert_true(rc == VCH_ERR_CORRUPT || rc == VCH_ERR_COMMITMENT);
    }
    rc = vch_bundle_make(w.l, "decision", "triage/2", path, &w.err);
    assert_true(rc == VCH_ERR_CORRUPT || rc == VCH_ERR_COMMITMENT);
    assert_int_equal(access(path, F_OK), -1);
    free(kept);
    assert_int_equal(remove(batch_path), 0);
    rc = vch_bundle_make(w.l, "decision", "triage/2", path, &w.err);
    assert_int_not_equal(rc, VCH_OK);
    assert_non_null(strstr(w.err.text, "decisions"));
    make("lineage", w.model); /* the rest still stands */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_access_is_recomputed),
        cmocka_unit_test(a_lineage_is_recomputed),
        cmocka_unit_test(a_decision_is_recomputed),
        cmocka_unit_test(a_whole_batch),
        cmocka_unit_test(consents_of_all_three_kinds),
        cmocka_unit_test(rows_in_and_out_of_the_set),
        cmocka_unit_test(contents_are_shown),
        cmocka_unit_test(the_same_bytes_twice),
        cmocka_unit_test(a_trace_is_verified_throughout),
        cmocka_unit_test(history_stays_provable),
        cmocka_unit_test(a_refusal_is_provable),
        cmocka_unit_test(a_second_version),
        cmocka_unit_test(a_batch_of_ten_thousand),
        cmocka_unit_test(cosigned_checkpoints_are_preferred),
        cmocka_unit_test(the_best_note_is_shown),
        cmocka_unit_test(partial_bundles_end_with_a_block),
        cmocka_unit_test(an_unproven_import_is_called_that),
        cmocka_unit_test(a_clock_set_back_does_not_stop_decisions),
        cmocka_unit_test(a_read_only_ledger_proves_too),
        cmocka_unit_test(unknown_things_are_named),
        cmocka_unit_test(lost_and_changed_decisions),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
