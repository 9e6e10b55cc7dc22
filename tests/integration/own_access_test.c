/* SPDX-License-Identifier: Apache-2.0 */
/* A subject reads its own rows: by its key alone, whatever was consented to or
 * withdrawn, until it is erased.  A trustee gives the seeds to that key and to
 * no other, sealed to the one-time key of the statement, for those rows only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "node/wallet_int.h"
#include "vault_world.h"
#include "vouchsafe/verify.h"

#define LONELY 45u /* never consented to anything */

static vch_rc own_to(world_t *w, uint32_t subject, uint32_t owner, const char *version, const char *group,
                     vch_receipt_t *r, uint64_t *rows)
{
    return vch_access_own(w->l, w->other, w->w, version, subject, owner, group ? &group : NULL, group ? 1 : 0, w->out,
                          rows, r, &w->err);
}

static vch_rc own(world_t *w, uint32_t subject, vch_receipt_t *r)
{
    uint64_t rows;
    unlink(w->out);
    return own_to(w, subject, subject, "cohort", NULL, r, &rows);
}

static void file_is(world_t *w, const char *want)
{
    char text[300] = "";
    FILE *f = fopen(w->out, "rb");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    assert_string_equal(text, want);
}

static void row_came_out(world_t *w, uint32_t subject)
{
    char want[200];
    snprintf(want, sizeof want, "x,y,label\n%u," CANARY "-%u,%u\n", subject * 1000 + 7, subject, subject & 1);
    file_is(w, want);
}

static void nothing_came_out(world_t *w)
{
    char spool[100];
    snprintf(spool, sizeof spool, "%s.vouch-spool", w->out);
    assert_int_not_equal(access(w->out, F_OK), 0);
    assert_int_not_equal(access(spool, F_OK), 0);
}

static uint64_t applied(world_t *w)
{
    vch_state_info_t info;
    OK(vch_ledger_read_begin(w->l, &w->err));
    vch_state_info(w->l->state, &info);
    vch_ledger_read_end(w->l);
    return info.applied;
}

/* ---- the rows come out ----------------------------------------------------------------- */

static void whatever_was_consented_to(void **state)
{
    world_t *w = *state;
    vch_receipt_t r;
    uint32_t who = 5;
    OK(own(w, 5, &r));
    assert_string_equal(r.rule, "permit/own");
    assert_int_equal(r.rows, 1);
    row_came_out(w, 5);
    OK(own(w, LONELY, &r));
    row_came_out(w, LONELY);
    OK(own(w, LONELY, &r)); /* and again: the next statement needs no proof of the key */
    row_came_out(w, LONELY);
    OK(vch_consent_withdraw(w->l, w->key, w->w, "cohort", &who, &who, 1, NULL, &r, &w->err));
    OK(own(w, 5, &r));
    row_came_out(w, 5);
    (void)ask_for(w, w->key, NULL, GIVEN - 1); /* its withdrawal stays one */
}

static void groups_and_versions(void **state)
{
    world_t *w = *state;
    vch_receipt_t r;
    vch_ingest_t in;
    uint64_t rows = 0;
    OK(own_to(w, 7, 7, "cohort@1", "label", &r, &rows));
    assert_int_equal(rows, 1);
    file_is(w, "label\n1\n");
    FILE *f = fopen(w->csv, "wb");
    fprintf(f, "person,x,y,label\nowner-07,1,two,0\n");
    fclose(f);
    OK(vch_dataset_add(w->l, w->key, "cohort", w->csv, NULL, NULL, NULL, &in, &w->err));
    OK(own(w, 7, &r));
    file_is(w, "x,y,label\n1,two,0\n");
    unlink(w->out);
    OK(own_to(w, 7, 7, "cohort@1", NULL, &r, &rows));
    row_came_out(w, 7);
    OK(own(w, 9, &r)); /* removed in the second version */
    assert_false(r.permit);
    assert_string_equal(r.rule, "deny/no-rows");
    nothing_came_out(w);
    IS(VCH_ERR_NOT_FOUND, own_to(w, 7, 7, "cohort@3", NULL, &r, &rows));
    IS(VCH_ERR_NOT_FOUND, own_to(w, 7, 7, "cohort", "no-such-group", &r, &rows));
}

static void what_is_refused_is_not_said(void **state)
{
    world_t *w = *state;
    vch_receipt_t r;
    uint64_t rows, before = applied(w);
    IS(VCH_ERR_KEY, own_to(w, 5, 6, "cohort", NULL, &r, &rows));
    IS(VCH_ERR_REFERENCE, own_to(w, ROWS, 6, "cohort", NULL, &r, &rows));
    FILE *f = fopen(w->out, "wb");
    fclose(f);
    IS(VCH_ERR_CONFLICT, own_to(w, 5, 5, "cohort", NULL, &r, &rows));
    unlink(w->out);
    IS(VCH_ERR_USAGE, vch_access_own(w->l, w->key, NULL, "cohort", 5, 5, NULL, 0, w->out, &rows, &r, &w->err));
    assert_int_equal(applied(w), before);
    nothing_came_out(w);
}

static void an_erased_subject_is_denied(void **state)
{
    world_t *w = *state;
    vch_receipt_t r;
    uint32_t who = 5;
    OK(vch_erasure_request(w->l, w->key, w->w, "cohort", &who, &who, 1, &r, &w->err));
    OK(own(w, 5, &r));
    assert_false(r.permit);
    assert_string_equal(r.rule, "deny/erased");
    nothing_came_out(w);
    OK(own(w, 6, &r));
    row_came_out(w, 6);
}

/* ---- it is nobody else's ------------------------------------------------------------------ */

static void no_party_can_use_it(void **state)
{
    world_t *w = *state;
    vch_receipt_t r;
    vch_run_result_t run;
    char hex[65];
    uint64_t rows;
    OK(own(w, 5, &r));
    vch_hex(hex, r.object.b, 32);
    IS(VCH_ERR_ROLE, fetch(w, w->other, &r.object, &rows)); /* who carried it */
    IS(VCH_ERR_ROLE, fetch(w, w->key, &r.object, &rows));   /* the custodian */
    nothing_came_out(w);
    const char *grants[] = {hex}, *argv[] = {"/bin/true", NULL};
    vch_run_spec_t spec = {.grant = grants, .grants = 1, .name = "model-a", .argv = argv};
    IS(VCH_ERR_ROLE, vch_run_exec(w->l, w->other, &spec, &run, &w->err));
    IS(VCH_ERR_UNSUPPORTED, vch_bundle_make(w->l, "access", hex, w->out, &w->err));
    nothing_came_out(w);
}

static void it_is_listed_and_told_apart(void **state)
{
    world_t *w = *state;
    vch_receipt_t r;
    vch_text_t text;
    char hex[65], want[100];
    (void)ask_for(w, w->key, NULL, GIVEN);
    OK(own(w, 5, &r));
    vch_hex(hex, r.object.b, 32);
    OK(vch_query(w->l, "grants", NULL, &text, &w->err));
    const char *mine = strstr(text.p, "\"own\":true");
    assert_non_null(mine);
    assert_null(strstr(mine + 1, "\"own\":true")); /* the party's grant is none */
    assert_non_null(strstr(mine, "\"rule\":\"permit/own\",\"rows\":1"));
    assert_null(strstr(text.p, "\"subject\""));
    snprintf(want, sizeof want, "{\"id\":\"%s\"", hex);
    assert_non_null(strstr(text.p, want));
    vch_text_free(&text);
    OK(vch_query(w->l, "grants", "cohort@1", &text, &w->err));
    assert_non_null(strstr(text.p, want));
    vch_text_free(&text);
    OK(vch_entry_show(w->l, r.index, &text, &w->err));
    assert_non_null(strstr(text.p, "own-access"));
    assert_non_null(strstr(text.p, "\"one-time-key\""));
    vch_text_free(&text);
}

/* ---- what stays: consents, their evidence, the whole ledger ------------------------------- */

static vch_verify_status_t judged(world_t *w, vch_buf_t *bundle, vch_report_t *ret)
{
    char path[160];
    vch_buf_t trust;
    size_t n = VCH_BUNDLE_BYTES_MAX + (16u << 20);
    void *arena = malloc(n);
    vch_buf_init(&trust, 1u << 16);
    snprintf(path, sizeof path, "%s/trust.policy", w->ledger);
    OK(vch_read_all(w->l->port, &trust, path, 1u << 16, &w->err));
    OK(vch_bundle_verify(ret, bundle->p, bundle->n, (const char *)trust.p, trust.n, NULL, arena, n, &w->err));
    vch_buf_free(&trust);
    free(arena);
    return ret->status;
}

/* The last statement about the subject is its own access now, and the evidence
 * of its consent says so; flipped anywhere near, it does not hold. */
static void evidence_of_consent_goes_on(void **state)
{
    world_t *w = *state;
    vch_receipt_t r;
    vch_report_t report;
    vch_buf_t bundle;
    vch_buf_init(&bundle, VCH_BUNDLE_BYTES_MAX);
    OK(own(w, 5, &r));
    unlink(w->out);
    OK(vch_bundle_make(w->l, "consent", "cohort/5", w->out, &w->err));
    OK(vch_read_all(w->l->port, &bundle, w->out, VCH_BUNDLE_BYTES_MAX, &w->err));
    if (judged(w, &bundle, &report) != VCH_VERIFY_OK) fail_msg("%s", report.detail);
    assert_non_null(strstr(report.claim, "consent is in force"));
    assert_non_null(strstr(report.claim, "signed by the owner"));
    unsigned refused = 0;
    for (size_t at = bundle.n / 2; at < bundle.n && refused < 40; at += 211, refused++) {
        bundle.p[at] ^= 1;
        vch_verify_status_t status = judged(w, &bundle, &report);
        assert_int_not_equal(status, VCH_VERIFY_OK);
        bundle.p[at] ^= 1;
    }
    vch_buf_free(&bundle);
}

static void findings(void *ctx, const vch_finding_t *f)
{
    (void)f;
    ++*(unsigned *)ctx;
}

static void the_ledger_replays(void **state)
{
    world_t *w = *state;
    vch_receipt_t r;
    uint64_t n;
    unsigned told = 0;
    char path[160];
    uint32_t who = 6;
    OK(own(w, 5, &r));
    OK(vch_erasure_request(w->l, w->key, w->w, "cohort", &who, &who, 1, &r, &w->err));
    OK(own(w, 6, &r));
    OK(vch_ledger_close(w->l, &w->err));
    w->l = NULL;
    OK(vch_ledger_check(w->ledger, 1, 0, findings, &told, &n, &w->err));
    assert_int_equal(n, 0);
    snprintf(path, sizeof path, "%s/state/data.mdb", w->ledger);
    assert_int_equal(unlink(path), 0);
    OK(vch_ledger_open(&w->l, w->ledger, 0, &w->err));
    OK(own(w, 5, &r));
    row_came_out(w, 5);
}

/* The same transaction again is the same one, with the same outcome. */
static void said_twice_it_is_said_once(void **state)
{
    world_t *w = *state;
    vch_receipt_t r, again;
    vch_rc result = VCH_OK;
    vch_arena_t arena;
    vch_log_entry_t e;
    vch_buf_t tx;
    OK(own(w, 5, &r));
    vch_arena_init(&arena, 16u << 20);
    vch_buf_init(&tx, 1u << 20);
    OK(vch_ledger_read_begin(w->l, &w->err));
    OK(vch_log_read(w->l->log, r.index, &arena, &e, &w->err));
    vch_ledger_read_end(w->l);
    vch_tx_t one = {e.record.entry, e.record.statements, e.record.count};
    OK(vch_tx_put(&tx, &one));
    const uint8_t *p = tx.p;
    OK(vch_submit(w->l, &p, &tx.n, 1, &again, &result, &w->err));
    OK(result);
    assert_true(again.again && again.has_outcome && again.permit);
    assert_int_equal(again.index, r.index);
    assert_int_equal(again.rows, 1);
    vch_buf_free(&tx);
    vch_arena_free(&arena);
}

/* One bit more in the index, which is derived: found before a row is given. */
static void a_wider_set_in_the_index_is_found(void **state)
{
    world_t *w = *state;
    vch_receipt_t r;
    vch_use_t use;
    vch_buf_t bits;
    uint8_t key[33] = {'B'};
    OK(own(w, 5, &r));
    memcpy(key + 1, r.object.b, 32);
    OK(vch_ledger_close(w->l, &w->err));
    OK(vch_ledger_open(&w->l, w->ledger, 0, &w->err)); /* of this one nothing is in memory now */
    vch_buf_init(&bits, 1u << 20);
    OK(vch_kv_get(w->l->kv, vch_slice(key, sizeof key), &bits));
    assert_true(vch_bit(bits.p, 5) && !vch_bit(bits.p, 6));
    vch_bit_set(bits.p, 6);
    OK(vch_kv_begin(w->l->kv, &w->err));
    OK(vch_kv_put(w->l->kv, vch_slice(key, sizeof key), vch_buf_slice(&bits), &w->err));
    OK(vch_kv_commit(w->l->kv, &w->err));
    vch_buf_free(&bits);
    OK(vch_ledger_read_begin(w->l, &w->err));
    vch_rc rc = vch_use_of_subject(&use, w->l, &r.object, &w->err);
    vch_ledger_read_end(w->l);
    assert_int_equal(rc, VCH_ERR_CORRUPT);
    OK(own(w, 5, &r)); /* another one is decided anew */
    row_came_out(w, 5);
}

/* ---- a trustee by itself ----------------------------------------------------------------------- */

typedef struct {
    vch_trustee_t *t;
    vch_signer_t *key, *owner, *neighbour; /* the trustee's; of subjects LONELY and LONELY + 1 */
    vch_release_t *r;
    nd_own_ask_t ask;
    uint8_t secret[32];
} alone_t;

static vch_id_t say_own(world_t *w, const alone_t *a, uint32_t subject)
{
    vch_receipt_t r;
    OK(nd_say_own_access(w->l, w->other, w->w, subject, subject, &a->ask, &r, &w->err));
    assert_true(r.has_outcome && r.permit);
    return r.object;
}

static void find_extent(world_t *w, alone_t *a, const vch_id_t *grant)
{
    vch_use_t use;
    OK(vch_ledger_read_begin(w->l, &w->err));
    OK(vch_use_of_subject(&use, w->l, grant, &w->err));
    vch_ledger_read_end(w->l);
    assert_int_equal(use.count, 1);
    a->r->extent = use.id[0];
    a->ask.dataset = use.dataset;
    vch_use_close(&use);
}

static void ask_about(world_t *w, alone_t *a)
{
    vch_version_value_t v;
    uint8_t seed[32] = {1, 2, 3};
    OK(vch_ledger_read_begin(w->l, &w->err));
    OK(vch_resolve(w->l, 'v', "cohort", &a->ask.version, &w->err));
    OK(vch_use_version(w->l, &a->ask.version, &v, &w->err));
    vch_ledger_read_end(w->l);
    a->ask.dataset = v.dataset;
    a->ask.groups = 1; /* features only */
    OK(vch_seal_pair(a->ask.once, a->secret, seed));
}

static void alone_open(world_t *w, alone_t *a)
{
    char dir[VCH_PATH_MAX], path[VCH_PATH_MAX + 16];
    memset(a, 0, sizeof *a);
    snprintf(dir, sizeof dir, "%s/vault/trustee-1", w->ledger);
    snprintf(path, sizeof path, "%s/key.pem", dir);
    OK(vch_signer_load(&a->key, path, NULL, &w->err));
    OK(vch_trustee_open(&a->t, w->l, dir, a->key, NULL, 60000, &w->err));
    ask_about(w, a);
    OK(vch__wallet_signer(w->w, LONELY, &w->l->network, &a->ask.dataset, &a->owner, &w->err));
    OK(vch__wallet_signer(w->w, LONELY + 1, &w->l->network, &a->ask.dataset, &a->neighbour, &w->err));
    a->r = calloc(1, sizeof *a->r);
    vch_id_t grant = say_own(w, a, LONELY);
    find_extent(w, a, &grant);
    OK(vch_ledger_checkpoint(w->l, NULL, &w->err));
    a->r->network = w->l->network;
    memcpy(a->r->grant.b, grant.b, 32);
    memcpy(a->r->key, a->ask.once, 32);
    a->r->set = 1; /* set i is {trustee i + 1} */
    a->r->nodes = 1;
    a->r->node[0] = (vch_kt_node_t){VCH_KT_LEAF_LEVEL, LONELY};
}

static void alone_close(alone_t *a)
{
    vch_trustee_close(a->t);
    vch_signer_free(a->key);
    vch_signer_free(a->owner);
    vch_signer_free(a->neighbour);
    free(a->r);
}

static vch_rc request(world_t *w, alone_t *a, const vch_signer_t *by)
{
    vch_buf_t payload, cose, answer, box;
    vch_hash_t leaf[8];
    vch_seeds_answer_t signed_part;
    uint8_t seeds[64];
    vch_cose_t m;
    vch_buf_init(&payload, 1u << 17);
    vch_buf_init(&cose, 1u << 17);
    vch_buf_init(&answer, 4096);
    vch_buf_init(&box, 1u << 18);
    assert_int_equal(vch_release_put(&payload, a->r), VCH_OK);
    assert_int_equal(vch_cose_sign(&cose, by, vch_buf_slice(&payload), NULL), VCH_OK);
    vch_rc rc = vch_trustee_release(a->t, vch_buf_slice(&cose), &answer, &box, &w->err);
    if (rc == VCH_OK) {
        assert_int_equal(vch_cose_read(&m, vch_buf_slice(&answer)), VCH_OK);
        assert_int_equal(vch_answer_get(&signed_part, m.payload), VCH_OK);
        assert_int_equal(vch_answer_open(seeds, leaf, a->r, &signed_part, vch_buf_slice(&box), a->secret), VCH_OK);
    } else {
        assert_int_equal(answer.n + box.n, 0);
    }
    vch_buf_free(&payload);
    vch_buf_free(&cose);
    vch_buf_free(&answer);
    vch_buf_free(&box);
    return rc;
}

static void seeds_for_that_subjects_key_alone(void **state)
{
    world_t *w = *state;
    alone_t a;
    alone_open(w, &a);
    IS(VCH_ERR_ROLE, request(w, &a, w->key));   /* the custodian, and a party */
    IS(VCH_ERR_ROLE, request(w, &a, w->other)); /* who carried it */
    IS(VCH_ERR_ROLE, request(w, &a, a.key));    /* a trustee */
    IS(VCH_ERR_ROLE, request(w, &a, a.neighbour));
    OK(request(w, &a, a.owner));
    IS(VCH_ERR_ROLE, request(w, &a, w->key)); /* what was just computed is not for others */
    IS(VCH_ERR_ROLE, request(w, &a, a.neighbour));
    a.r->key[0] ^= 1;
    IS(VCH_ERR_KEY, request(w, &a, a.owner)); /* not to another one-time key */
    a.r->key[0] ^= 1;
    a.r->network.b[0] ^= 1;
    IS(VCH_ERR_NETWORK, request(w, &a, a.owner));
    a.r->network.b[0] ^= 1;
    a.r->grant.b[31] ^= 1;
    IS(VCH_ERR_KEY, request(w, &a, a.owner)); /* no own access of this id: an owner is no party */
    a.r->grant.b[31] ^= 1;
    OK(request(w, &a, a.owner));
    alone_close(&a);
}

/* A subject's key opens no grant of a party's, nor another subject's. */
static void a_subjects_key_opens_nothing_else(void **state)
{
    world_t *w = *state;
    alone_t a;
    alone_open(w, &a);
    vch_hash_t mine = a.r->grant;
    vch_id_t party = ask_for(w, w->key, NULL, GIVEN), theirs = say_own(w, &a, LONELY + 1);
    OK(vch_ledger_checkpoint(w->l, NULL, &w->err));
    memcpy(a.r->grant.b, party.b, 32);
    IS(VCH_ERR_KEY, request(w, &a, a.owner));
    memcpy(a.r->grant.b, theirs.b, 32);
    IS(VCH_ERR_ROLE, request(w, &a, a.owner));
    IS(VCH_ERR_DENIED, request(w, &a, a.neighbour)); /* its own, but not for that row */
    a.r->node[0].number = LONELY + 1;
    OK(request(w, &a, a.neighbour));
    a.r->grant = mine;
    IS(VCH_ERR_DENIED, request(w, &a, a.owner));
    a.r->node[0].number = LONELY;
    OK(request(w, &a, a.owner));
    alone_close(&a);
}

static void not_one_row_more(void **state)
{
    world_t *w = *state;
    alone_t a;
    alone_open(w, &a);
    a.r->nodes = 2;
    a.r->node[1] = (vch_kt_node_t){VCH_KT_LEAF_LEVEL, LONELY + 1};
    IS(VCH_ERR_DENIED, request(w, &a, a.owner));
    a.r->node[1] = (vch_kt_node_t){VCH_KT_LEAF_LEVEL, (1u << 20) + LONELY}; /* the group that wasn't asked for */
    IS(VCH_ERR_DENIED, request(w, &a, a.owner));
    a.r->nodes = 1;
    a.r->node[0] = (vch_kt_node_t){VCH_KT_LEAF_LEVEL - 1, LONELY / 2}; /* both of a pair */
    IS(VCH_ERR_DENIED, request(w, &a, a.owner));
    a.r->node[0] = (vch_kt_node_t){VCH_KT_LEAF_LEVEL, 5}; /* a row that others may have */
    IS(VCH_ERR_DENIED, request(w, &a, a.owner));
    a.r->node[0] = (vch_kt_node_t){VCH_KT_LEAF_LEVEL, LONELY};
    OK(request(w, &a, a.owner));
    alone_close(&a);
}

static void withdrawn_yes_erased_no(void **state)
{
    world_t *w = *state;
    alone_t a;
    vch_receipt_t r;
    uint32_t who = LONELY;
    alone_open(w, &a);
    OK(vch_consent_withdraw(w->l, w->key, w->w, "cohort", &who, &who, 1, NULL, &r, &w->err));
    OK(request(w, &a, a.owner));
    OK(nd_say_erase(w->l, w->key, w->w, "cohort", &who, &who, 1, &r, &w->err));
    IS(VCH_ERR_DENIED, request(w, &a, a.owner));
    assert_non_null(strstr(w->err.text, "erased"));
    alone_close(&a);
}

static void not_before_it_is_signed(void **state)
{
    world_t *w = *state;
    alone_t a;
    alone_open(w, &a);
    w->l->checkpoint_ms = 3600000; /* no checkpoint by itself */
    vch_id_t fresh = say_own(w, &a, LONELY);
    memcpy(a.r->grant.b, fresh.b, 32);
    IS(VCH_ERR_QUORUM, request(w, &a, a.owner));
    OK(vch_ledger_checkpoint(w->l, NULL, &w->err));
    OK(request(w, &a, a.owner));
    alone_close(&a);
}

static void an_ended_one_gives_nothing(void **state)
{
    world_t *w = *state;
    alone_t a;
    alone_open(w, &a);
    OK(request(w, &a, a.owner));
    usleep(1200000);
    IS(VCH_ERR_EXPIRED, request(w, &a, a.owner));
    alone_close(&a);
}

static void no_end_of_fetching(void **state)
{
    world_t *w = *state;
    alone_t a;
    unsigned fetched = 0;
    vch_rc rc;
    alone_open(w, &a);
    while ((rc = request(w, &a, a.owner)) == VCH_OK) assert_true(++fetched < 100);
    assert_int_equal(rc, VCH_ERR_LIMIT);
    assert_int_equal(fetched, VCH_FETCHES_MAX);
    alone_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        T(whatever_was_consented_to),
        T(groups_and_versions),
        T(what_is_refused_is_not_said),
        T(an_erased_subject_is_denied),
        T(no_party_can_use_it),
        T(it_is_listed_and_told_apart),
        T(evidence_of_consent_goes_on),
        T(the_ledger_replays),
        T(said_twice_it_is_said_once),
        T(a_wider_set_in_the_index_is_found),
        T(seeds_for_that_subjects_key_alone),
        T(a_subjects_key_opens_nothing_else),
        T(not_one_row_more),
        T(withdrawn_yes_erased_no),
        T(not_before_it_is_signed),
        cmocka_unit_test_setup_teardown(an_ended_one_gives_nothing, set_up_short, tear_down),
        T(no_end_of_fetching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
