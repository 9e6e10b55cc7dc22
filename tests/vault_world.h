/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger with the embedded vault on a real disk: 60 rows of as many owners,
 * 40 of whom consented; their second column holds a canary. */
#ifndef VCH_TEST_VAULT_WORLD_H
#define VCH_TEST_VAULT_WORLD_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/node_int.h"
#include "node/trustee.h"
#include "node/use.h"
#include "node/vault.h"
#include "tree.h"

#define RESEARCH "https://w3id.org/dpv#ResearchAndDevelopment"
#define TRAINING "https://w3id.org/dpv/ai#ModelTraining"
#define ROWS 60u
#define GIVEN 40u
#define CANARY "canary-7f3a"

typedef struct {
    char dir[64], ledger[80], csv[80], owners[80], wallet[80], out[80];
    vch_ledger_t *l;
    vch_signer_t *key, *other; /* clinic-a: all roles; other: user only */
    vch_wallet_t *w;
    vch_err_t err;
} world_t;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        w->err = (vch_err_t){0};                                                                                       \
        vch_rc rc_ = (call);                                                                                           \
        if (rc_ != VCH_OK) fail_msg("%s: %s: %s", #call, vch_rc_name(rc_), w->err.text);                               \
    } while (0)
#define IS(want, call)                                                                                                 \
    do {                                                                                                               \
        w->err = (vch_err_t){0};                                                                                       \
        vch_rc rc_ = (call);                                                                                           \
        if (rc_ != (want)) fail_msg("%s: %s, not %s: %s", #call, vch_rc_name(rc_), vch_rc_name(want), w->err.text);    \
        assert_true(w->err.text[0] != 0);                                                                              \
    } while (0)

/* ---- a ledger with a vault ---------------------------------------------------------- */

static void write_rows(world_t *w)
{
    FILE *f = fopen(w->csv, "wb"), *o = fopen(w->owners, "wb");
    assert_non_null(f);
    assert_non_null(o);
    fprintf(f, "person,x,y,label\n");
    for (uint32_t i = 0; i < ROWS; i++) {
        uint8_t key[34];
        fprintf(f, "owner-%02u,%u," CANARY "-%u,%u\n", i, i * 1000 + 7, i, i & 1);
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
    assert_int_equal(in.added, ROWS);
    OK(vch_terms_add(w->l, w->key, terms, sizeof terms - 1, &hash, &r, &w->err));
    for (uint32_t i = 0; i < GIVEN; i++) who[i] = i;
    OK(vch_consent_give(w->l, w->key, w->w, "cohort", who, who, GIVEN, "training", 40000, &r, &w->err));
}

static void make_other(world_t *w)
{
    char json[400], hex[2 * VCH_PUBKEY_MAX + 1];
    vch_receipt_t r;
    OK(vch_identity_new(w->l, "other", "ed25519", NULL, &w->err));
    OK(vch_identity_load(w->l, "other", NULL, &w->other, &w->err));
    vch_hex(hex, vch_signer_public(w->other)->b, vch_signer_public(w->other)->n);
    int n = snprintf(json, sizeof json, "{\"name\":\"other\",\"roles\":[\"user\"],\"keys\":[\"%s\"]}", hex);
    OK(vch_submit_json(w->l, w->key, "party", json, (size_t)n, &r, &w->err));
}

/* Called when the vault is up and no row has been dealt yet. */
static void (*before_data)(world_t *);

static int set_up_with(void **state, uint64_t grant_life)
{
    world_t *w = calloc(1, sizeof *w);
    *state = w;
    snprintf(w->dir, sizeof w->dir, "/tmp/vch-vault-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->ledger, sizeof w->ledger, "%s/ledger", w->dir);
    snprintf(w->csv, sizeof w->csv, "%s/rows.csv", w->dir);
    snprintf(w->owners, sizeof w->owners, "%s/owners.csv", w->dir);
    snprintf(w->wallet, sizeof w->wallet, "%s/wallet", w->dir);
    snprintf(w->out, sizeof w->out, "%s/out.csv", w->dir);
    vch_init_t init = {.origin = "test.example/vault", .operator_name = "clinic-a", .grant_life_ms = grant_life};
    OK(vch_ledger_init(w->ledger, &init, &w->err));
    OK(vch_ledger_open(&w->l, w->ledger, 0, &w->err));
    OK(vch_identity_load(w->l, "clinic-a", NULL, &w->key, &w->err));
    OK(vch_vault_up(w->l, w->key, &w->err));
    OK(vch_wallet_new(w->wallet, ROWS, 1, NULL, &w->err));
    OK(vch_wallet_open(&w->w, w->wallet, NULL, &w->err));
    if (before_data) before_data(w);
    make_data(w);
    make_other(w);
    return 0;
}

static int set_up(void **state) { return set_up_with(state, 0); }
__attribute__((unused)) static int set_up_short(void **state) { return set_up_with(state, 1000); }

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

/* ---- rows in and out ------------------------------------------------------------------- */

__attribute__((unused)) static vch_id_t ask_for(world_t *w, const vch_signer_t *who, const char *group,
                                                uint64_t expected)
{
    vch_receipt_t r;
    OK(vch_access_request(w->l, who, "cohort", RESEARCH, TRAINING, &group, group ? 1 : 0, &r, &w->err));
    assert_true(r.has_outcome);
    assert_int_equal(r.rows, expected);
    return r.object;
}

__attribute__((unused)) static vch_rc fetch(world_t *w, const vch_signer_t *who, const vch_id_t *grant, uint64_t *ret)
{
    char hex[65];
    vch_hex(hex, grant->b, 32);
    unlink(w->out);
    return vch_access_fetch(w->l, who, hex, w->out, ret, &w->err);
}

/* The first `n` rows of the source without their names, as they must come out. */
__attribute__((unused)) static void came_out(world_t *w, uint32_t n)
{
    char line[200], want[200];
    FILE *f = fopen(w->out, "rb");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_string_equal(line, "x,y,label\n");
    for (uint32_t i = 0; i < n; i++) {
        assert_non_null(fgets(line, sizeof line, f));
        snprintf(want, sizeof want, "%u," CANARY "-%u,%u\n", i * 1000 + 7, i, i & 1);
        assert_string_equal(line, want);
    }
    assert_null(fgets(line, sizeof line, f));
    fclose(f);
}

#endif
