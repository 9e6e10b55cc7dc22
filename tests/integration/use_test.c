/* SPDX-License-Identifier: Apache-2.0 */
/* The user's side on a real disk: ask, fetch, run, decide; and what is
 * refused: a changed row, an ended or foreign grant, a failing command, a
 * withdrawn owner, a damaged batch of decisions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/use.h"
#include "tree.h"
#include "vouchsafe/vouchsafe.h"

#define RESEARCH "https://w3id.org/dpv#ResearchAndDevelopment"
#define TRAINING "https://w3id.org/dpv/ai#ModelTraining"
#define ROWS 30
#define GIVEN 20

typedef struct {
    char dir[64], ledger[80], csv[80], owners[80], wallet[80];
    vch_ledger_t *l;
    vch_signer_t *key, *other;
    vch_wallet_t *w;
    vch_err_t err;
} world_t;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        vch_rc rc_ = (call);                                                                                           \
        if (rc_ != VCH_OK) fail_msg("%s: %s: %s", #call, vch_rc_name(rc_), w->err.text);                               \
    } while (0)

static void write_rows(world_t *w)
{
    FILE *f = fopen(w->csv, "wb"), *o = fopen(w->owners, "wb");
    assert_non_null(f);
    assert_non_null(o);
    fprintf(f, "person,x,y,label\n");
    for (uint32_t i = 0; i < ROWS; i++) {
        uint8_t key[34];
        fprintf(f, "owner-%02u,%u,%u.5,%u\n", i, i, i * i, i & 1);
        OK(vch_wallet_key(w->w, i, w->l, "cohort", key, &w->err));
        fprintf(o, "owner-%02u,", i);
        for (int k = 0; k < 34; k++) fprintf(o, "%02x", key[k]);
        fprintf(o, "\n");
    }
    fclose(f);
    fclose(o);
}

static void make_data(world_t *w)
{
    vch_receipt_t r;
    vch_ingest_t in;
    vch_hash_t hash;
    uint32_t who[GIVEN];
    static const char terms[] =
        "{\"title\":\"training\",\"effect\":\"permit\",\"recipients\":[],\"purposes\":[\"" RESEARCH
        "\"],\"processings\":[\"" TRAINING "\"]}";
    FILE *f = fopen(w->csv, "wb");
    assert_non_null(f);
    fprintf(f, "person,x,y,label\n");
    fclose(f);
    vch_dataset_spec_t spec = {.name = "cohort", .header_csv = w->csv, .subject_col = "person", .label_col = "label"};
    OK(vch_dataset_create(w->l, w->key, &spec, &r, &w->err));
    write_rows(w);
    OK(vch_dataset_add(w->l, w->key, "cohort", w->csv, w->owners, NULL, NULL, &in, &w->err));
    OK(vch_terms_add(w->l, w->key, terms, sizeof terms - 1, &hash, &r, &w->err));
    for (uint32_t i = 0; i < GIVEN; i++) who[i] = i;
    OK(vch_consent_give(w->l, w->key, w->w, "cohort", who, who, GIVEN, "training", 40000, &r, &w->err));
}

static void make_other(world_t *w)
{
    char json[400], *pub = NULL;
    vch_text_t shown;
    vch_receipt_t r;
    OK(vch_identity_new(w->l, "other", "ed25519", NULL, &w->err));
    OK(vch_identity_load(w->l, "other", NULL, &w->other, &w->err));
    OK(vch_signer_show(w->other, &shown, &w->err));
    pub = strstr(shown.p, "\"multicodec\":");
    assert_non_null(pub);
    pub = strchr(pub + 13, '"') + 1;
    int n = snprintf(json, sizeof json, "{\"name\":\"other\",\"roles\":2,\"keys\":[\"%.68s\"]}", pub);
    OK(vch_submit_json(w->l, w->key, "party", json, (size_t)n, &r, &w->err));
    vch_text_free(&shown);
}

static int set_up_with(void **state, uint64_t grant_life)
{
    world_t *w = calloc(1, sizeof *w);
    *state = w;
    snprintf(w->dir, sizeof w->dir, "/tmp/vch-use-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->ledger, sizeof w->ledger, "%s/ledger", w->dir);
    snprintf(w->csv, sizeof w->csv, "%s/rows.csv", w->dir);
    snprintf(w->owners, sizeof w->owners, "%s/owners.csv", w->dir);
    snprintf(w->wallet, sizeof w->wallet, "%s/wallet", w->dir);
    vch_init_t init = {.origin = "test.example/use", .operator_name = "clinic-a", .grant_life_ms = grant_life};
    OK(vch_ledger_init(w->ledger, &init, &w->err));
    OK(vch_ledger_open(&w->l, w->ledger, 0, &w->err));
    OK(vch_identity_load(w->l, "clinic-a", NULL, &w->key, &w->err));
    OK(vch_wallet_new(w->wallet, ROWS, 1, NULL, &w->err));
    OK(vch_wallet_open(&w->w, w->wallet, NULL, &w->err));
    make_data(w);
    make_other(w);
    return 0;
}

static int set_up(void **state) { return set_up_with(state, 0); }
static int set_up_short(void **state) { return set_up_with(state, 1000); }

static int tear_down(void **state)
{
    world_t *w = *state;
    vch_signer_free(w->key);
    vch_signer_free(w->other);
    vch_wallet_free(w->w);
    if (w->l) OK(vch_ledger_close(w->l, &w->err));
    assert_int_equal(tree_remove(w->dir), 0);
    free(w);
    return 0;
}

/* ---- helpers ---- */

static void hex_of(char out[65], const vch_id_t *id)
{
    for (int i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", id->b[i]);
}

static void ask(world_t *w, char grant[65], uint64_t expected)
{
    vch_receipt_t r;
    OK(vch_access_request(w->l, w->key, "cohort", RESEARCH, TRAINING, NULL, 0, &r, &w->err));
    assert_true(r.has_outcome);
    assert_int_equal(r.rows, expected);
    hex_of(grant, &r.object);
}

static size_t count_lines(const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t n = 0;
    if (!f) return 0;
    for (int c; (c = fgetc(f)) != EOF;) n += c == '\n';
    fclose(f);
    return n;
}

static vch_rc run_with(world_t *w, const vch_signer_t *key, const char *grant, uint32_t holdout, const char *script,
                       vch_run_result_t *ret)
{
    const char *grants[] = {grant}, *argv[] = {"/bin/sh", "-c", script, NULL};
    vch_run_spec_t spec = {
        .grant = grants, .grants = 1, .name = "model-a", .has_seed = 1, .seed = 7, .holdout = holdout, .argv = argv};
    return vch_run_exec(w->l, key, &spec, ret, &w->err);
}

#define TRAIN                                                                                                          \
    "wc -l < \"$VOUCH_IN/train.csv\" > \"$VOUCH_OUT/model.txt\"; echo '{\"accuracy\":0.5}' > "                         \
    "\"$VOUCH_OUT/metrics.json\""

static uint64_t log_size(world_t *w)
{
    vch_ledger_info_t i;
    OK(vch_ledger_info(w->l, &i, &w->err));
    return i.size;
}

/* ---- tests ---- */

static void rows_leave_only_as_permitted(void **state)
{
    world_t *w = *state;
    char grant[65], path[120];
    uint64_t rows;
    const char *features[] = {"features"}, *nothing[] = {"no-such-group"};
    vch_receipt_t r;
    ask(w, grant, GIVEN);
    snprintf(path, sizeof path, "%s/out.csv", w->dir);
    assert_int_equal(vch_access_fetch(w->l, w->other, grant, path, &rows, &w->err), VCH_ERR_ROLE);
    assert_int_equal(access(path, F_OK), -1);
    OK(vch_access_fetch(w->l, w->key, grant, path, &rows, &w->err));
    assert_int_equal(rows, GIVEN);
    assert_int_equal(count_lines(path), GIVEN + 1);
    remove(path);
    OK(vch_access_request(w->l, w->key, "cohort", RESEARCH, TRAINING, features, 1, &r, &w->err));
    hex_of(grant, &r.object);
    OK(vch_access_fetch(w->l, w->key, grant, path, &rows, &w->err));
    char head[64] = "";
    FILE *f = fopen(path, "rb");
    assert_non_null(fgets(head, sizeof head, f));
    fclose(f);
    assert_string_equal(head, "x,y\n"); /* the label was not asked for */
    assert_int_equal(vch_access_request(w->l, w->key, "cohort", RESEARCH, TRAINING, nothing, 1, &r, &w->err),
                     VCH_ERR_NOT_FOUND);
}

static void a_denial_is_an_answer(void **state)
{
    world_t *w = *state;
    vch_receipt_t r;
    vch_run_result_t run;
    char grant[65];
    OK(vch_access_request(w->l, w->key, "cohort", "https://w3id.org/dpv#Marketing", TRAINING, NULL, 0, &r, &w->err));
    assert_false(r.permit);
    assert_string_equal(r.rule, "deny/purpose");
    hex_of(grant, &r.object);
    assert_int_equal(run_with(w, w->key, grant, 0, TRAIN, &run), VCH_ERR_DENIED);
}

static void a_run_uses_what_it_says(void **state)
{
    world_t *w = *state;
    char grant[65], path[1200], text[16] = "";
    vch_run_result_t r, again;
    ask(w, grant, GIVEN);
    OK(run_with(w, w->key, grant, 5, TRAIN, &r));
    assert_int_equal(r.rows, GIVEN - 5);
    assert_int_equal(r.held_out, 5);
    assert_int_equal(r.exit_code, 0);
    assert_true(r.has_model);
    assert_int_equal(count_lines(r.holdout_path), 6);
    snprintf(path, sizeof path, "%s/model.txt", r.out_dir);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_int_equal(strtoul(text, NULL, 10), GIVEN - 5 + 1);
    OK(run_with(w, w->key, grant, 5, TRAIN, &again)); /* the seed gives the same hold-out */
    char a[600] = "", b[600] = "";
    FILE *fa = fopen(r.holdout_path, "rb"), *fb = fopen(again.holdout_path, "rb");
    size_t na = fread(a, 1, sizeof a - 1, fa), nb = fread(b, 1, sizeof b - 1, fb);
    fclose(fa);
    fclose(fb);
    assert_int_equal(na, nb);
    assert_string_equal(a, b);
    assert_int_equal(run_with(w, w->other, grant, 0, TRAIN, &again), VCH_ERR_ROLE);
    assert_int_equal(run_with(w, w->key, grant, GIVEN, TRAIN, &again), VCH_ERR_DENIED); /* nothing would be left */
}

static void a_failed_command_leaves_no_model(void **state)
{
    world_t *w = *state;
    char grant[65];
    vch_run_result_t r;
    vch_text_t json;
    ask(w, grant, GIVEN);
    OK(run_with(w, w->key, grant, 0, "echo x > \"$VOUCH_OUT/model.txt\"; exit 3", &r));
    assert_int_equal(r.exit_code, 3);
    assert_false(r.has_model);
    OK(vch_query(w->l, "models", NULL, &json, &w->err));
    assert_string_equal(json.p, "[]");
    vch_text_free(&json);
}

static char found[600];
static int find_rows(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    size_t n = strlen(path);
    if (flag == FTW_F && n > 5 && strcmp(path + n - 5, ".rows") == 0) snprintf(found, sizeof found, "%s", path);
    return 0;
}

/* One digit of row 4's y (16.5) becomes another: the checksum of the file is
 * not asked first, the commitment is. */
static void a_changed_row_is_refused_and_named(void **state)
{
    world_t *w = *state;
    char grant[65], dir[100], bytes[65536];
    vch_run_result_t r;
    ask(w, grant, GIVEN);
    uint64_t before = log_size(w);
    snprintf(dir, sizeof dir, "%s/data", w->ledger);
    assert_int_equal(nftw(dir, find_rows, 16, FTW_PHYS), 0);
    FILE *f = fopen(found, "r+b");
    assert_non_null(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    char *at = memmem(bytes, n, "16.5", 4);
    assert_non_null(at);
    fseek(f, at - bytes, SEEK_SET);
    fputc('9', f);
    fclose(f);
    vch_rc rc = run_with(w, w->key, grant, 0, "touch /tmp/vch-must-not-exist", &r);
    assert_int_equal(rc, VCH_ERR_COMMITMENT);
    assert_non_null(strstr(w->err.text, "owner-04"));
    assert_int_equal(access("/tmp/vch-must-not-exist", F_OK), -1);
    assert_int_equal(log_size(w), before);
}

static void a_withdrawal_bites(void **state)
{
    world_t *w = *state;
    char grant[65];
    uint32_t who[] = {3};
    vch_receipt_t receipt;
    vch_run_result_t r;
    vch_text_t json;
    ask(w, grant, GIVEN);
    OK(run_with(w, w->key, grant, 0, TRAIN, &r));
    OK(vch_models_affected(w->l, &json, &w->err));
    assert_string_equal(json.p, "[]");
    vch_text_free(&json);
    OK(vch_consent_withdraw(w->l, w->key, w->w, "cohort", who, who, 1, NULL, &receipt, &w->err));
    OK(vch_models_affected(w->l, &json, &w->err));
    assert_non_null(strstr(json.p, "\"rows withdrawn\":1,\"subjects\":[3],\"remedied\":false"));
    vch_text_free(&json);
    OK(run_with(w, w->key, grant, 0, TRAIN, &r)); /* the old grant, but not that row any more */
    assert_int_equal(r.rows, GIVEN - 1);
    ask(w, grant, GIVEN - 1);
}

static void grants_end(void **state)
{
    world_t *w = *state;
    char grant[65], path[120];
    uint64_t rows;
    vch_run_result_t r;
    ask(w, grant, GIVEN);
    usleep(1200000);
    snprintf(path, sizeof path, "%s/late.csv", w->dir);
    assert_int_equal(vch_access_fetch(w->l, w->key, grant, path, &rows, &w->err), VCH_ERR_EXPIRED);
    assert_int_equal(run_with(w, w->key, grant, 0, TRAIN, &r), VCH_ERR_EXPIRED);
}

/* ---- decisions ---- */

typedef struct {
    unsigned count;
    char file[300];
} findings_t;

static void note_finding(void *ctx, const vch_finding_t *f)
{
    findings_t *all = ctx;
    all->count++;
    snprintf(all->file, sizeof all->file, "%s", f->file);
}

static void deploy(world_t *w, char deployment[65])
{
    char grant[65], id[65], json[200];
    vch_run_result_t run;
    vch_receipt_t r;
    ask(w, grant, GIVEN);
    OK(run_with(w, w->key, grant, 0, TRAIN, &run));
    hex_of(id, &run.model);
    int n = snprintf(json, sizeof json, "{\"model\":\"%s\",\"scope\":\"ward\"}", id);
    OK(vch_submit_json(w->l, w->key, "deployment", json, (size_t)n, &r, &w->err));
    hex_of(deployment, &r.object);
}

static void write_lines(const char *path, unsigned n, const char *last)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (unsigned i = 0; i < n; i++) fprintf(f, "{\"input\":{\"x\":%u},\"output\":\"yes\",\"reasons\":[\"r\"]}\n", i);
    fputs(last, f);
    fclose(f);
}

static void decisions_are_sealed_and_checked(void **state)
{
    world_t *w = *state;
    char deployment[65], path[120], file[300];
    uint64_t first, count, findings = 0;
    vch_receipt_t r;
    findings_t all = {0};
    deploy(w, deployment);
    snprintf(path, sizeof path, "%s/d.jsonl", w->dir);
    write_lines(path, 7, "{\"input\":1}\n"); /* no output: the whole file is refused */
    uint64_t before = log_size(w);
    assert_int_equal(vch_decisions_log(w->l, w->key, deployment, path, &first, &count, &r, &w->err), VCH_ERR_FORMAT);
    assert_non_null(strstr(w->err.text, "line 8"));
    assert_int_equal(log_size(w), before);
    write_lines(path, 7, "");
    OK(vch_decisions_log(w->l, w->key, deployment, path, &first, &count, &r, &w->err));
    assert_int_equal(first, 0);
    assert_int_equal(count, 7);
    OK(vch_decisions_log(w->l, w->key, deployment, path, &first, &count, &r, &w->err));
    assert_int_equal(first, 7);
    OK(vch_decisions_check(w->l, note_finding, &all, &findings, &w->err));
    assert_int_equal(findings, 0);
    snprintf(file, sizeof file, "%s/decisions/%s/%020u.dcb", w->ledger, deployment, 7);
    FILE *f = fopen(file, "r+b");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    for (long i = 0; i < n; i++) { /* each byte of the file */
        fseek(f, i, SEEK_SET);
        int c = fgetc(f);
        fseek(f, i, SEEK_SET);
        fputc(c ^ 1, f);
        fflush(f);
        all.count = 0;
        OK(vch_decisions_check(w->l, note_finding, &all, &findings, &w->err));
        assert_int_equal(findings, 1);
        assert_non_null(strstr(all.file, "0007.dcb"));
        fseek(f, i, SEEK_SET);
        fputc(c, f);
        fflush(f);
    }
    fclose(f);
    assert_int_equal(vch_decisions_log(w->l, w->other, deployment, path, &first, &count, &r, &w->err), VCH_ERR_ROLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_leave_only_as_permitted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_denial_is_an_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_run_uses_what_it_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_command_leaves_no_model, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_row_is_refused_and_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_withdrawal_bites, set_up, tear_down),
        cmocka_unit_test_setup_teardown(grants_end, set_up_short, tear_down),
        cmocka_unit_test_setup_teardown(decisions_are_sealed_and_checked, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
