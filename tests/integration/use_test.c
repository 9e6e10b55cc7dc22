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

/* The text behind `name":"` in the newest run's entry. */
static void run_field(world_t *w, const vch_run_result_t *r, const char *name, char *ret, size_t n)
{
    char id[65], wanted[80];
    uint64_t index;
    uint32_t statement;
    vch_text_t json;
    hex_of(id, &r->run);
    OK(vch_entry_find(w->l, id, &index, &statement, &w->err));
    OK(vch_entry_show(w->l, index, &json, &w->err));
    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const char *at = strstr(json.p, wanted);
    if (!at) fail_msg("no %s in %s", name, json.p);
    at += strlen(wanted);
    at += *at == '"';
    snprintf(ret, n, "%.*s", (int)strcspn(at, "\",}"), at);
    vch_text_free(&json);
}

/* The whole of a small file; "" when there is none. */
static const char *contents(const char *path)
{
    static char text[8192];
    FILE *f = fopen(path, "rb");
    memset(text, 0, sizeof text);
    if (!f) return text;
    assert_in_range(fread(text, 1, sizeof text - 1, f), 0, sizeof text - 1);
    fclose(f);
    return text;
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
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
    write_text(path, "mine\n");
    assert_int_equal(vch_access_fetch(w->l, w->key, grant, path, &rows, &w->err), VCH_ERR_CONFLICT);
    assert_string_equal(contents(path), "mine\n"); /* never overwritten, never removed */
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

/* The order by another's hand: SHA-256(seed ‖ counter), Fisher–Yates from the
 * end, draws that would favour small numbers thrown away. */
static void expected_order(uint32_t *row, uint32_t n, uint64_t seed)
{
    uint64_t counter = 0;
    for (uint32_t i = 0; i < n; i++) row[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint8_t data[16];
        vch_hash_t h;
        uint64_t v, biased = UINT64_MAX % i;
        do {
            for (int b = 0; b < 8; b++) {
                data[b] = (uint8_t)(seed >> (56 - 8 * b));
                data[8 + b] = (uint8_t)(counter >> (56 - 8 * b));
            }
            counter++;
            vch_sha256(&h, data, 16);
            v = 0;
            for (int b = 0; b < 8; b++) v = v << 8 | h.b[b];
        } while (v >= UINT64_MAX - biased);
        uint32_t k = (uint32_t)(v % i), t = row[i - 1];
        row[i - 1] = row[k];
        row[k] = t;
    }
}

static void check_files(const vch_run_result_t *r, const uint32_t *row, uint32_t holdout)
{
    char expected[2048] = "x,y,label\n", path[1200];
    for (uint32_t i = 0; i < holdout; i++)
        snprintf(expected + strlen(expected), 40, "%u,%u.5,%u\n", row[i], row[i] * row[i], row[i] & 1);
    assert_string_equal(contents(r->holdout_path), expected);
    snprintf(expected, sizeof expected, "x,y,label\n");
    for (uint32_t i = holdout; i < GIVEN; i++)
        snprintf(expected + strlen(expected), 40, "%u,%u.5,%u\n", row[i], row[i] * row[i], row[i] & 1);
    snprintf(path, sizeof path, "%s/model.csv", r->out_dir);
    assert_string_equal(contents(path), expected);
}

static void the_order_is_the_committed_one(void **state)
{
    world_t *w = *state;
    enum { HOLD = 6 };
    char grant[65], hex[65], text[80];
    uint32_t row[GIVEN], order[GIVEN][2];
    uint8_t bits[256] = {0};
    vch_run_result_t r;
    vch_hash_t root;
    vch_arena_t arena;
    ask(w, grant, GIVEN);
    OK(run_with(w, w->key, grant, HOLD, "cp \"$VOUCH_IN/train.csv\" \"$VOUCH_OUT/model.csv\"", &r));
    expected_order(row, GIVEN, 7);
    check_files(&r, row, HOLD);
    for (uint32_t i = 0; i < GIVEN; i++) {
        order[i][0] = 0;
        order[i][1] = row[i];
        if (i >= HOLD) bits[row[i] / 8] |= (uint8_t)(0x80 >> row[i] % 8);
    }
    vch_arena_init(&arena, 1u << 20);
    assert_int_equal(vch_order_root(&root, (const uint32_t(*)[2])(order + HOLD), GIVEN - HOLD, &arena), VCH_OK);
    vch_hex(hex, root.b, 32);
    run_field(w, &r, "order-root", text, sizeof text);
    assert_string_equal(text, hex);
    assert_int_equal(vch_set_root(&root, bits, sizeof bits, &arena), VCH_OK);
    vch_hex(hex, root.b, 32);
    run_field(w, &r, "set-root", text, sizeof text);
    assert_string_equal(text, hex);
    run_field(w, &r, "seed", text, sizeof text);
    assert_string_equal(text, "7");
    vch_arena_free(&arena);
}

static void grants_add_up(void **state)
{
    world_t *w = *state;
    char before[65], after[65], old[65], path[1200];
    uint32_t late[] = {25};
    const char *grants[] = {before, after}, *features[] = {"features"};
    const char *argv[] = {"/bin/sh", "-c", "cp \"$VOUCH_IN/train.csv\" \"$VOUCH_OUT/model\"", NULL};
    vch_run_spec_t spec = {.grant = grants, .grants = 2, .name = "m", .argv = argv};
    vch_receipt_t receipt;
    vch_run_result_t r;
    vch_ingest_t in;
    ask(w, before, GIVEN);
    OK(vch_consent_give(w->l, w->key, w->w, "cohort", late, late, 1, "training", 40000, &receipt, &w->err));
    OK(run_with(w, w->key, before, 0, TRAIN, &r));
    assert_int_equal(r.rows, GIVEN); /* what came later was not granted */
    OK(vch_access_request(w->l, w->key, "cohort", RESEARCH, TRAINING, features, 1, &receipt, &w->err));
    hex_of(after, &receipt.object);
    for (int order = 0; order < 2; order++) {
        grants[order] = before;
        grants[1 - order] = after;
        OK(vch_run_exec(w->l, w->key, &spec, &r, &w->err));
        assert_int_equal(r.rows, GIVEN + 1); /* the rows of either, the columns of both */
        snprintf(path, sizeof path, "%s/model", r.out_dir);
        assert_memory_equal(contents(path), "x,y\n", 4);
    }
    memcpy(old, before, sizeof old);
    write_text(w->csv, "person,x,y,label\nowner-00,7,7,1\n");
    OK(vch_dataset_add(w->l, w->key, "cohort", w->csv, NULL, NULL, NULL, &in, &w->err));
    ask(w, before, 1);
    assert_int_equal(vch_run_exec(w->l, w->key, &spec, &r, &w->err), VCH_ERR_CONFLICT); /* of two versions */
    OK(run_with(w, w->key, old, 0, TRAIN, &r));
    assert_int_equal(r.rows, GIVEN);
}

static void another_script_is_another_code(void **state)
{
    world_t *w = *state;
    char grant[65], script[100], code[3][80], environment[3][80];
    const char *grants[] = {grant}, *argv[] = {"sh", script, NULL};
    vch_run_spec_t spec = {.grant = grants, .grants = 1, .name = "m", .argv = argv};
    vch_run_result_t r;
    ask(w, grant, GIVEN);
    snprintf(script, sizeof script, "%s/train.sh", w->dir);
    for (int i = 0; i < 3; i++) {
        write_text(script, i < 2 ? "echo 1 > \"$VOUCH_OUT/model\"" : "echo 2 > \"$VOUCH_OUT/model\"");
        OK(vch_run_exec(w->l, w->key, &spec, &r, &w->err));
        run_field(w, &r, "code", code[i], sizeof code[i]);
        run_field(w, &r, "environment", environment[i], sizeof environment[i]);
    }
    assert_string_equal(code[0], code[1]);
    assert_string_not_equal(code[1], code[2]);
    assert_string_equal(environment[1], environment[2]);
    argv[0] = "no-such-command-here";
    uint64_t before = log_size(w);
    assert_int_equal(vch_run_exec(w->l, w->key, &spec, &r, &w->err), VCH_ERR_NOT_FOUND);
    assert_int_equal(log_size(w), before);
}

#define FOLDERS(n) "d=\"$VOUCH_OUT\"; for i in " n "; do d=\"$d/$i\"; done; mkdir -p \"$d\"; echo x > \"$d/f\"; "

static void outputs_are_kept(void **state)
{
    world_t *w = *state;
    char grant[65], path[1200];
    vch_run_result_t r;
    vch_text_t json;
    uint64_t last;
    ask(w, grant, GIVEN);
    OK(run_with(w, w->key, grant, 0, "cd /; " FOLDERS("a b") TRAIN, &r));
    assert_non_null(strstr(r.out_dir, "/models/"));
    assert_string_equal(r.holdout_path, "");
    snprintf(path, sizeof path, "%s/a/b/f", r.out_dir);
    assert_string_equal(contents(path), "x\n");
    last = log_size(w);
    for (;; last--) { /* the newest run-end */
        OK(vch_entry_show(w->l, last - 1, &json, &w->err));
        if (strstr(json.p, "\"run-end\"")) break;
        vch_text_free(&json);
    }
    assert_non_null(strstr(json.p, "\"a/b/f\""));
    assert_non_null(strstr(json.p, "73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac")); /* of "x\n" */
    assert_non_null(strstr(json.p, "\"accuracy\""));
    vch_text_free(&json);
    /* more than can be recorded: a failed run, and no model */
    assert_int_equal(run_with(w, w->key, grant, 0, FOLDERS("1 2 3 4 5 6 7 8 9") TRAIN, &r), VCH_ERR_LIMIT);
    assert_int_equal(run_with(w, w->key, grant, 0, TRAIN "; echo '[' > \"$VOUCH_OUT/metrics.json\"", &r),
                     VCH_ERR_FORMAT);
    /* a name that breaks lines */
    assert_int_equal(run_with(w, w->key, grant, 0, TRAIN "; echo x > \"$VOUCH_OUT/$(printf 'a\\nb')\"", &r),
                     VCH_ERR_FORMAT);
    assert_non_null(strstr(w->err.text, "control characters"));
    OK(vch_query(w->l, "models", NULL, &json, &w->err));
    assert_null(strstr(strstr(json.p, "\"digest\"") + 1, "\"digest\""));
    vch_text_free(&json);
}

static void a_folder_of_ones_own(void **state)
{
    world_t *w = *state;
    char grant[65], work[100], path[1300];
    const char *grants[] = {grant}, *argv[] = {"/bin/sh", "-c", TRAIN, NULL};
    vch_run_spec_t spec = {.grant = grants, .grants = 1, .name = "m", .work_dir = work, .argv = argv, .holdout = 2};
    vch_run_result_t r;
    ask(w, grant, GIVEN);
    snprintf(work, sizeof work, "%s/work", w->dir);
    OK(vch_run_exec(w->l, w->key, &spec, &r, &w->err));
    snprintf(path, sizeof path, "%s/in/train.csv", work);
    assert_int_equal(access(path, F_OK), -1); /* the rows are gone */
    snprintf(path, sizeof path, "%s/in/holdout.csv", work);
    assert_string_equal(r.holdout_path, path);
    assert_int_equal(count_lines(path), 3);
    snprintf(path, sizeof path, "%s/model.txt", r.out_dir); /* kept, and still where it was made */
    assert_int_equal(count_lines(path), 1);
    assert_non_null(strstr(path, "/models/"));
    snprintf(path, sizeof path, "%s/out/model.txt", work);
    assert_int_equal(count_lines(path), 1);
    uint64_t before = log_size(w);
    assert_int_equal(vch_run_exec(w->l, w->key, &spec, &r, &w->err), VCH_ERR_CONFLICT); /* those are not its outputs */
    assert_non_null(strstr(w->err.text, "work/out holds"));
    remove(path);
    snprintf(path, sizeof path, "%s/out/metrics.json", work);
    remove(path);
    assert_int_equal(vch_run_exec(w->l, w->key, &spec, &r, &w->err),
                     VCH_ERR_CONFLICT); /* the first run's holdout.csv */
    assert_non_null(strstr(w->err.text, "holdout.csv"));
    assert_int_equal(log_size(w), before);
    snprintf(path, sizeof path, "%s/in/holdout.csv", work);
    assert_int_equal(count_lines(path), 3);
    snprintf(path, sizeof path, "%s/in/train.csv", work);
    assert_int_equal(access(path, F_OK), -1);
}

/* ---- what a run left, seen by the check ---- */

static char named[400];
static void note_named(void *ctx, const vch_finding_t *f)
{
    (void)ctx;
    snprintf(named, sizeof named, "%s: %s", f->file, f->text);
}

static void nothing_is_wrong(world_t *w)
{
    uint64_t findings = 1;
    *named = 0;
    OK(vch_ledger_check(w->ledger, 0, 0, note_named, NULL, &findings, &w->err));
    if (findings) fail_msg("%s", named);
}

/* A changed file is named; one that somebody removed is not missed. */
static void is_watched(world_t *w, const char *path)
{
    char saved[8192];
    uint64_t findings;
    nothing_is_wrong(w);
    snprintf(saved, sizeof saved, "%s", contents(path));
    assert_int_not_equal(*saved, 0);
    saved[0] ^= 1;
    write_text(path, saved);
    assert_int_equal(vch_ledger_check(w->ledger, 0, 0, note_named, NULL, &findings, &w->err), VCH_ERR_CORRUPT);
    named[strcspn(named, ":")] = 0;
    if (!strstr(path, named)) fail_msg("%s is named instead of %s", named, path);
    saved[0] ^= 1;
    write_text(path, saved);
    nothing_is_wrong(w);
    assert_int_equal(remove(path), 0);
    nothing_is_wrong(w);
    write_text(path, saved);
}

static void what_a_run_left_is_watched(void **state)
{
    world_t *w = *state;
    char grant[65], path[1300], work[100];
    vch_run_result_t r, again;
    ask(w, grant, GIVEN);
    OK(run_with(w, w->key, grant, 4, TRAIN, &r));
    is_watched(w, r.holdout_path);
    snprintf(path, sizeof path, "%s/model.txt", r.out_dir);
    is_watched(w, path);
    snprintf(path, sizeof path, "%s/metrics.json", r.out_dir);
    is_watched(w, path);
    /* The same model once more: what this run left stays with it. */
    OK(run_with(w, w->key, grant, 4, TRAIN, &again));
    assert_non_null(strstr(again.out_dir, "/runs/"));
    snprintf(path, sizeof path, "%s/model.txt", again.out_dir);
    is_watched(w, path);
    /* A folder elsewhere is nobody's but its owner's; the copy of the model is watched. */
    const char *grants[] = {grant}, *argv[] = {"/bin/sh", "-c", "echo other > \"$VOUCH_OUT/model.txt\"", NULL};
    snprintf(work, sizeof work, "%s/work", w->dir);
    vch_run_spec_t spec = {.grant = grants, .grants = 1, .name = "m", .work_dir = work, .argv = argv, .holdout = 2};
    OK(vch_run_exec(w->l, w->key, &spec, &r, &w->err));
    snprintf(path, sizeof path, "%s/model.txt", r.out_dir);
    is_watched(w, path);
    write_text(r.holdout_path, "mine\n");
    nothing_is_wrong(w);
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
    char work[100], mark[120], script[160], path[160];
    const char *grants[] = {grant}, *argv[] = {"/bin/sh", "-c", script, NULL};
    vch_run_spec_t spec = {.grant = grants, .grants = 1, .name = "m", .work_dir = work, .argv = argv};
    snprintf(work, sizeof work, "%s/work", w->dir);
    snprintf(mark, sizeof mark, "%s/must-not-exist", w->dir);
    snprintf(script, sizeof script, "touch %s", mark);
    assert_int_equal(vch_run_exec(w->l, w->key, &spec, &r, &w->err), VCH_ERR_COMMITMENT);
    assert_non_null(strstr(w->err.text, "owner-04"));
    assert_int_equal(access(mark, F_OK), -1);
    assert_int_equal(log_size(w), before);
    snprintf(path, sizeof path, "%s/in/train.csv", work);
    assert_int_equal(access(path, F_OK), -1); /* nor are the rows before it left there */
    uint64_t rows;
    snprintf(path, sizeof path, "%s/out.csv", w->dir);
    assert_int_equal(vch_access_fetch(w->l, w->key, grant, path, &rows, &w->err), VCH_ERR_COMMITMENT);
    assert_int_equal(access(path, F_OK), -1);
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

static void affected_is(world_t *w, const char *expected)
{
    vch_text_t json;
    OK(vch_models_affected(w->l, &json, &w->err));
    if (expected ? !strstr(json.p, expected) : strcmp(json.p, "[]") != 0)
        fail_msg("wanted %s, got %s", expected ? expected : "[]", json.p);
    vch_text_free(&json);
}

static void add_terms(world_t *w, const char *title, const char *effect)
{
    char json[400];
    vch_hash_t hash;
    vch_receipt_t r;
    int n = snprintf(json, sizeof json,
                     "{\"title\":\"%s\",\"effect\":\"%s\",\"recipients\":[],\"purposes\":[\"" RESEARCH
                     "\"],\"processings\":[\"" TRAINING "\"]}",
                     title, effect);
    OK(vch_terms_add(w->l, w->key, json, (size_t)n, &hash, &r, &w->err));
}

static int remove_set(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    return flag == FTW_F && strstr(path, "/sets/") ? remove(path) : 0;
}

/* What counts is whether the use would be permitted, not how it came about. */
static void what_a_withdrawal_is(void **state)
{
    world_t *w = *state;
    char grant[65];
    uint32_t two[] = {2, 9}, objector[] = {11};
    vch_receipt_t receipt;
    vch_run_result_t r;
    add_terms(w, "second", "permit");
    add_terms(w, "objection", "forbid");
    OK(vch_consent_give(w->l, w->key, w->w, "cohort", two, two, 2, "second", 40000, &receipt, &w->err));
    ask(w, grant, GIVEN);
    OK(run_with(w, w->key, grant, 0, TRAIN, &r));
    affected_is(w, NULL);
    OK(vch_consent_withdraw(w->l, w->key, w->w, "cohort", two, two, 2, "training", &receipt, &w->err));
    affected_is(w, NULL); /* the second consent allows the same */
    OK(vch_consent_give(w->l, w->key, w->w, "cohort", objector, objector, 1, "objection", 40000, &receipt, &w->err));
    affected_is(w, "\"rows withdrawn\":1,\"subjects\":[11],\"remedied\":false,\"exact\":true");
    OK(vch_consent_withdraw(w->l, w->key, w->w, "cohort", two, two, 2, NULL, &receipt, &w->err));
    affected_is(w, "\"rows withdrawn\":3,\"subjects\":[2,9,11]");
    OK(vch_consent_give(w->l, w->key, w->w, "cohort", two, two, 1, "training", 40000, &receipt, &w->err));
    affected_is(w, "\"rows withdrawn\":2,\"subjects\":[9,11]"); /* given again */
    assert_int_equal(nftw(w->ledger, remove_set, 16, FTW_PHYS), 0);
    affected_is(w, "\"subjects\":[9,11],\"remedied\":false,\"exact\":false"); /* by its grants, then */
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
    unsigned count, leftovers;
    uint64_t byte;
    char file[300];
} findings_t;

static void note_finding(void *ctx, const vch_finding_t *f)
{
    findings_t *all = ctx;
    if (f->derived) all->leftovers++;
    if (f->derived) return;
    all->count++;
    all->byte = f->has_byte ? f->byte : UINT64_MAX;
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

static void log_some(world_t *w, const char *deployment, unsigned n, uint64_t *ret_first)
{
    char path[120];
    uint64_t count;
    vch_receipt_t r;
    snprintf(path, sizeof path, "%s/d.jsonl", w->dir);
    write_lines(path, n, "");
    OK(vch_decisions_log(w->l, w->key, deployment, path, ret_first, &count, &r, &w->err));
    assert_int_equal(count, n);
}

static void damage_is_named(void **state)
{
    world_t *w = *state;
    char deployment[65], file[300], copy[300];
    uint64_t first, findings;
    findings_t all = {0};
    static char bytes[65536];
    deploy(w, deployment);
    log_some(w, deployment, 5, &first);
    log_some(w, deployment, 3, &first);
    snprintf(file, sizeof file, "%s/decisions/%s/%020u.dcb", w->ledger, deployment, 0);
    FILE *f = fopen(file, "r+b");
    assert_non_null(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    char *third = memmem(bytes, n, "{\"x\":3}", 7);
    assert_non_null(third);
    fseek(f, third - bytes + 5, SEEK_SET);
    fputc('4', f);
    fclose(f);
    OK(vch_decisions_check(w->l, note_finding, &all, &findings, &w->err));
    assert_int_equal(findings, 1);
    assert_in_range(all.byte, 100, third - bytes); /* where decision 3 begins */
    assert_true(memmem(bytes, n, "{\"x\":2}", 7) < (void *)(bytes + all.byte));
    snprintf(copy, sizeof copy, "%s/decisions/%s/%020u.dcb", w->ledger, deployment, 8);
    assert_int_equal(rename(file, copy), 0); /* one is missing, one has no batch */
    all = (findings_t){0};
    OK(vch_decisions_check(w->l, note_finding, &all, &findings, &w->err));
    assert_int_equal(findings, 1);
    assert_int_equal(all.leftovers, 1);
    assert_non_null(strstr(all.file, "00000.dcb"));
    log_some(w, deployment, 2, &first); /* what was left over is in nobody's way */
    assert_int_equal(first, 8);
    all = (findings_t){0};
    OK(vch_decisions_check(w->l, note_finding, &all, &findings, &w->err));
    assert_int_equal(all.leftovers, 0);
    assert_int_equal(findings, 1);
}

static void one_logger_at_a_time(void **state)
{
    world_t *w = *state;
    char deployment[65], path[300], lines[120];
    uint64_t first, count;
    vch_receipt_t r;
    vch_file_t *lock;
    vch_port_t *port = vch_port_real();
    deploy(w, deployment);
    log_some(w, deployment, 2, &first);
    snprintf(path, sizeof path, "%s/decisions/%s/lock", w->ledger, deployment);
    OK(vch_file_open(port, &lock, path, VCH_OPEN_WRITE, &w->err));
    assert_int_equal(port->disk->lock(port, lock, VCH_LOCK_EXCLUSIVE, 0), VCH_OK);
    w->l->lock_wait_ms = 50;
    snprintf(lines, sizeof lines, "%s/d.jsonl", w->dir);
    assert_int_equal(vch_decisions_log(w->l, w->key, deployment, lines, &first, &count, &r, &w->err), VCH_ERR_LOCKED);
    vch_file_close(port, lock);
    log_some(w, deployment, 2, &first);
    assert_int_equal(first, 2);
}

static void bad_lines_are_refused(void **state)
{
    world_t *w = *state;
    static const struct {
        const char *line, *says;
        vch_rc rc;
    } bad[] = {
        {"{\"input\":1,\"output\":2,\"reason\":[\"x\"]}", "line 3: \"reason\" is no member", VCH_ERR_FORMAT},
        {"{\"input\":1,\"output\":2,\"reasons\":\"x\"}", "line 3: \"reasons\" must be", VCH_ERR_FORMAT},
        {"{\"input\":1e999,\"output\":2}", "line 3: \"input\" holds a number", VCH_ERR_FORMAT},
        {"[1]", "line 3: a decision is a JSON object", VCH_ERR_FORMAT},
        {"{\"input\":1,\"output\":2,\"output\":3}", "line 3", VCH_ERR_FORMAT},
        {"{\"input\":1,\"output\":2", "line 3", VCH_ERR_FORMAT},
    };
    char deployment[65], path[120], *text = malloc(3u << 20);
    uint64_t first, count, before;
    vch_receipt_t r;
    deploy(w, deployment);
    snprintf(path, sizeof path, "%s/bad.jsonl", w->dir);
    before = log_size(w);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_lines(path, 2, bad[i].line);
        assert_int_equal(vch_decisions_log(w->l, w->key, deployment, path, &first, &count, &r, &w->err), bad[i].rc);
        if (!strstr(w->err.text, bad[i].says)) fail_msg("%s: %s", bad[i].line, w->err.text);
    }
    assert_non_null(text);
    memset(text, 'a', 3u << 20);
    memcpy(text, "{\"input\":\"", 10);
    text[(3u << 20) - 1] = 0;
    write_lines(path, 2, text);
    free(text);
    assert_int_equal(vch_decisions_log(w->l, w->key, deployment, path, &first, &count, &r, &w->err), VCH_ERR_LIMIT);
    assert_non_null(strstr(w->err.text, "line 3: it is longer than a megabyte"));
    assert_int_equal(log_size(w), before);
}

static void many_decisions_are_several_batches(void **state)
{
    world_t *w = *state;
    char deployment[65];
    uint64_t first, findings;
    vch_text_t json;
    deploy(w, deployment);
    log_some(w, deployment, 65536 + 5, &first);
    OK(vch_query(w->l, "batches", NULL, &json, &w->err));
    assert_non_null(strstr(json.p, "65536"));
    vch_text_free(&json);
    OK(vch_decisions_check(w->l, NULL, NULL, &findings, &w->err));
    assert_int_equal(findings, 0);
    log_some(w, deployment, 1, &first);
    assert_int_equal(first, 65536 + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_leave_only_as_permitted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_denial_is_an_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_run_uses_what_it_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_order_is_the_committed_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(grants_add_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_script_is_another_code, set_up, tear_down),
        cmocka_unit_test_setup_teardown(outputs_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_of_ones_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_run_left_is_watched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_command_leaves_no_model, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_row_is_refused_and_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_withdrawal_bites, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_withdrawal_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(grants_end, set_up_short, tear_down),
        cmocka_unit_test_setup_teardown(decisions_are_sealed_and_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_logger_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_lines_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_decisions_are_several_batches, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
