/* SPDX-License-Identifier: Apache-2.0 */
/* Through the embedded vault on a real disk: rows go in encrypted and come out
 * under a grant; a trustee gives nothing for anything less; losses up to the
 * threshold change nothing, beyond it nothing comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vault_world.h"

static void nothing_came_out(world_t *w)
{
    char spool[100];
    snprintf(spool, sizeof spool, "%s.vouch-spool", w->out);
    assert_int_not_equal(access(w->out, F_OK), 0);
    assert_int_not_equal(access(spool, F_OK), 0);
}

static void rows_come_out_as_they_went_in(void **state)
{
    world_t *w = *state;
    uint64_t rows;
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN);
    OK(fetch(w, w->key, &grant, &rows));
    assert_int_equal(rows, GIVEN);
    came_out(w, GIVEN);
}

/* ---- P1: what lies on the disk ------------------------------------------------------------ */

static unsigned canaries, looked_at;
static int look_for_canary(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)ftw;
    if (flag != FTW_F) return 0;
    char *text = malloc((size_t)st->st_size + 1);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(text, 1, (size_t)st->st_size, f);
    fclose(f);
    if (memmem(text, n, CANARY, strlen(CANARY))) canaries++;
    looked_at++;
    free(text);
    return 0;
}

static void no_plaintext_rests_in_the_ledger(void **state)
{
    world_t *w = *state;
    uint64_t rows;
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN);
    OK(fetch(w, w->key, &grant, &rows));
    canaries = looked_at = 0;
    assert_int_equal(nftw(w->ledger, look_for_canary, 16, FTW_PHYS), 0);
    assert_true(looked_at > 20);
    assert_int_equal(canaries, 0);
    assert_int_equal(nftw(w->dir, look_for_canary, 16, FTW_PHYS), 0); /* the source and the result: it does look */
    assert_int_equal(canaries, 2);
}

/* ---- losses ---------------------------------------------------------------------------------- */

static void move(world_t *w, const char *role, unsigned number, bool away)
{
    char here[160], there[160];
    snprintf(here, sizeof here, "%s/vault/%s-%u", w->ledger, role, number);
    snprintf(there, sizeof there, "%s/lost-%s-%u", w->dir, role, number);
    assert_int_equal(away ? rename(here, there) : rename(there, here), 0);
}

static void any_one_of_each_may_be_lost(void **state)
{
    world_t *w = *state;
    uint64_t rows;
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN);
    for (unsigned t = 1; t <= 3; t++)
        for (unsigned s = 1; s <= 3; s++) {
            move(w, "trustee", t, true);
            move(w, "storage", s, true);
            OK(fetch(w, w->key, &grant, &rows));
            came_out(w, GIVEN);
            move(w, "trustee", t, false);
            move(w, "storage", s, false);
        }
}

static void two_lost_are_too_many(void **state)
{
    world_t *w = *state;
    uint64_t rows;
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN);
    static const char *const role[] = {"trustee", "storage"};
    for (unsigned r = 0; r < 2; r++)
        for (unsigned kept = 1; kept <= 3; kept++) {
            for (unsigned i = 1; i <= 3; i++)
                if (i != kept) move(w, role[r], i, true);
            IS(VCH_ERR_UNREACHABLE, fetch(w, w->key, &grant, &rows));
            nothing_came_out(w);
            for (unsigned i = 1; i <= 3; i++)
                if (i != kept) move(w, role[r], i, false);
        }
    OK(fetch(w, w->key, &grant, &rows));
    came_out(w, GIVEN);
}

static void nothing_goes_in_while_one_is_lost(void **state)
{
    world_t *w = *state;
    vch_ingest_t in;
    static const char *const role[] = {"trustee", "storage"};
    FILE *f = fopen(w->csv, "ab");
    fprintf(f, "owner-99,1,2,0\n");
    fclose(f);
    for (unsigned r = 0; r < 2; r++) {
        move(w, role[r], 2, true);
        IS(VCH_ERR_UNREACHABLE, vch_dataset_add(w->l, w->key, "cohort", w->csv, NULL, NULL, NULL, &in, &w->err));
        move(w, role[r], 2, false);
    }
    OK(vch_dataset_add(w->l, w->key, "cohort", w->csv, NULL, NULL, NULL, &in, &w->err));
    assert_int_equal(in.added, 1);
}

/* ---- damage ------------------------------------------------------------------------------------ */

static char shard_path[300];
static int find_shard(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (flag == FTW_F && strstr(path, ".shard")) snprintf(shard_path, sizeof shard_path, "%s", path);
    return 0;
}

static long shard_of(world_t *w, unsigned node)
{
    char dir[160];
    struct stat st;
    snprintf(dir, sizeof dir, "%s/vault/storage-%u/shards", w->ledger, node);
    shard_path[0] = 0;
    assert_int_equal(nftw(dir, find_shard, 8, FTW_PHYS), 0);
    assert_int_equal(stat(shard_path, &st), 0);
    return (long)st.st_size;
}

static void turn_byte(world_t *w, unsigned node, long at)
{
    (void)shard_of(w, node);
    FILE *f = fopen(shard_path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    int c = fgetc(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    fputc(c ^ 0x10, f);
    fclose(f);
}

static void one_nodes_damage_changes_nothing(void **state)
{
    world_t *w = *state;
    uint64_t rows;
    vch_id_t grant = {{0}};
    long size = shard_of(w, 1), step = size / 40 + 1;
    unsigned done = 0;
    for (long at = 0; at < size; at += step, done++) {
        if (done % 6 == 0) grant = ask_for(w, w->key, NULL, GIVEN); /* a grant is good for so many fetches */
        unsigned node = 1 + done % 3;
        turn_byte(w, node, at);
        OK(fetch(w, w->key, &grant, &rows));
        came_out(w, GIVEN);
        turn_byte(w, node, at);
    }
    assert_true(done >= 30);
}

static void two_nodes_damage_hands_out_nothing(void **state)
{
    world_t *w = *state;
    uint64_t rows;
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN);
    for (unsigned kept = 1; kept <= 3; kept++) {
        for (unsigned i = 1; i <= 3; i++)
            if (i != kept) turn_byte(w, i, 100);
        IS(VCH_ERR_UNREACHABLE, fetch(w, w->key, &grant, &rows));
        nothing_came_out(w);
        for (unsigned i = 1; i <= 3; i++)
            if (i != kept) turn_byte(w, i, 100);
    }
    OK(fetch(w, w->key, &grant, &rows));
}

/* ---- P2: a trustee by itself ---------------------------------------------------------------------- */

typedef struct {
    vch_trustee_t *t;
    vch_signer_t *key;
    vch_release_t *r;
    uint8_t secret[32];
    vch_hash_t extent;
} alone_t;

static void alone_open(world_t *w, alone_t *a, unsigned number)
{
    char dir[VCH_PATH_MAX], path[VCH_PATH_MAX + 16];
    vch_use_t use;
    uint8_t seed[32] = {1, 2, 3};
    memset(a, 0, sizeof *a);
    snprintf(dir, sizeof dir, "%s/vault/trustee-%u", w->ledger, number);
    snprintf(path, sizeof path, "%s/key.pem", dir);
    OK(vch_signer_load(&a->key, path, NULL, &w->err));
    OK(vch_trustee_open(&a->t, w->l, dir, a->key, NULL, 60000, &w->err));
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN);
    OK(vch_use_open(&use, w->l, w->key, &grant, 1, &w->err));
    a->extent = use.id[0];
    vch_use_close(&use);
    OK(vch_ledger_checkpoint(w->l, NULL, &w->err));
    a->r = calloc(1, sizeof *a->r);
    a->r->network = w->l->network;
    memcpy(a->r->grant.b, grant.b, 32);
    a->r->extent = a->extent;
    a->r->set = number == 1 ? 1 : 0; /* set i is {trustee i + 1} */
    OK(vch_seal_pair(a->r->key, a->secret, seed));
    a->r->nodes = 2;
    a->r->node[0] = (vch_kt_node_t){VCH_KT_LEAF_LEVEL - 5, 0};                     /* rows 0 to 31 of group 0 */
    a->r->node[1] = (vch_kt_node_t){VCH_KT_LEAF_LEVEL - 3, ((1u << 20) + 32) / 8}; /* rows 32 to 39 of group 1 */
}

static void alone_close(alone_t *a)
{
    vch_trustee_close(a->t);
    vch_signer_free(a->key);
    free(a->r);
}

static vch_rc request(world_t *w, alone_t *a, const vch_signer_t *by, uint8_t *seeds)
{
    vch_buf_t payload, cose, answer, box;
    vch_hash_t leaf[8];
    vch_seeds_answer_t signed_part;
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
        assert_int_equal(vch_cose_verify(&m, vch_signer_public(a->key), NULL), VCH_OK);
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

static void seeds_for_a_grant(void **state)
{
    world_t *w = *state;
    alone_t a, b;
    uint8_t seeds[64], others[64];
    alone_open(w, &a, 1);
    OK(request(w, &a, w->key, seeds));
    /* another holder of the tree gives the same */
    alone_open(w, &b, 3);
    b.r->set = 1;
    OK(request(w, &b, w->key, others));
    assert_memory_equal(seeds, others, sizeof seeds);
    b.r->set = 0;
    OK(request(w, &b, w->key, others));
    assert_memory_not_equal(seeds, others, sizeof seeds);
    alone_close(&b);
    alone_close(&a);
}

static void not_one_row_more(void **state)
{
    world_t *w = *state;
    alone_t a;
    uint8_t seeds[64];
    alone_open(w, &a, 1);
    vch_kt_node_t good = a.r->node[1];
    a.r->node[1] = (vch_kt_node_t){VCH_KT_LEAF_LEVEL, (1u << 20) + GIVEN}; /* the first row not given */
    IS(VCH_ERR_DENIED, request(w, &a, w->key, seeds));
    a.r->node[1] = (vch_kt_node_t){VCH_KT_LEAF_LEVEL - 4, ((1u << 20) + 32) / 16}; /* eight given, eight not */
    IS(VCH_ERR_DENIED, request(w, &a, w->key, seeds));
    a.r->node[1] = (vch_kt_node_t){VCH_KT_LEAF_LEVEL, (1u << 20) + ROWS}; /* behind the last row */
    IS(VCH_ERR_DENIED, request(w, &a, w->key, seeds));
    a.r->node[1] = (vch_kt_node_t){VCH_KT_LEAF_LEVEL, 2u << 20}; /* a group that isn't there */
    IS(VCH_ERR_DENIED, request(w, &a, w->key, seeds));
    a.r->node[1] = (vch_kt_node_t){VCH_KT_GROUP_LEVEL, 1}; /* the whole group */
    IS(VCH_ERR_DENIED, request(w, &a, w->key, seeds));
    a.r->node[1] = good;
    OK(request(w, &a, w->key, seeds));
    alone_close(&a);
}

static void not_another_group(void **state)
{
    world_t *w = *state;
    alone_t a;
    uint8_t seeds[64];
    alone_open(w, &a, 1);
    vch_id_t label_only = ask_for(w, w->key, "label", GIVEN);
    OK(vch_ledger_checkpoint(w->l, NULL, &w->err));
    memcpy(a.r->grant.b, label_only.b, 32);
    IS(VCH_ERR_DENIED, request(w, &a, w->key, seeds));
    a.r->nodes = 1;
    IS(VCH_ERR_DENIED, request(w, &a, w->key, seeds));
    a.r->node[0] = a.r->node[1];
    OK(request(w, &a, w->key, seeds));
    alone_close(&a);
}

static void only_whose_grant_it_is(void **state)
{
    world_t *w = *state;
    alone_t a;
    uint8_t seeds[64];
    alone_open(w, &a, 1);
    IS(VCH_ERR_ROLE, request(w, &a, w->other, seeds));
    vch_signer_t *stranger;
    uint8_t seed[32] = {77};
    OK(vch_signer_new(&stranger, VCH_ALG_ED25519, seed, &w->err));
    IS(VCH_ERR_KEY, request(w, &a, stranger, seeds));
    vch_signer_free(stranger);
    alone_close(&a);
}

static void only_a_grant_of_this_ledger(void **state)
{
    world_t *w = *state;
    alone_t a;
    uint8_t seeds[64];
    vch_receipt_t denied;
    alone_open(w, &a, 1);
    a.r->network.b[0] ^= 1;
    IS(VCH_ERR_NETWORK, request(w, &a, w->key, seeds));
    a.r->network.b[0] ^= 1;
    a.r->grant.b[31] ^= 1;
    IS(VCH_ERR_NOT_FOUND, request(w, &a, w->key, seeds));
    a.r->grant.b[31] ^= 1;
    OK(vch_access_request(w->l, w->key, "cohort", "https://w3id.org/dpv#Marketing", TRAINING, NULL, 0, &denied,
                          &w->err));
    OK(vch_ledger_checkpoint(w->l, NULL, &w->err));
    assert_false(denied.permit);
    vch_hash_t good = a.r->grant;
    memcpy(a.r->grant.b, denied.object.b, 32);
    IS(VCH_ERR_DENIED, request(w, &a, w->key, seeds));
    a.r->grant = good;
    a.r->extent.b[0] ^= 1;
    IS(VCH_ERR_NOT_FOUND, request(w, &a, w->key, seeds));
    a.r->extent.b[0] ^= 1;
    a.r->set = 0; /* trustee 1 is in it, so it lacks that tree */
    IS(VCH_ERR_NOT_FOUND, request(w, &a, w->key, seeds));
    a.r->set = 3;
    IS(VCH_ERR_NOT_FOUND, request(w, &a, w->key, seeds));
    a.r->set = 2;
    OK(request(w, &a, w->key, seeds));
    alone_close(&a);
}

static void a_withdrawal_bites_at_once(void **state)
{
    world_t *w = *state;
    alone_t a;
    uint8_t seeds[64];
    vch_receipt_t r;
    uint32_t who = 35;
    uint64_t rows;
    alone_open(w, &a, 1);
    OK(request(w, &a, w->key, seeds));
    OK(vch_consent_withdraw(w->l, w->key, w->w, "cohort", &who, &who, 1, NULL, &r, &w->err));
    IS(VCH_ERR_DENIED, request(w, &a, w->key, seeds));
    a.r->nodes = 1; /* the others are still his to have */
    OK(request(w, &a, w->key, seeds));
    vch_id_t grant;
    memcpy(grant.b, a.r->grant.b, 32);
    alone_close(&a);
    OK(fetch(w, w->key, &grant, &rows)); /* the old grant, less that row */
    assert_int_equal(rows, GIVEN - 1);
}

static void an_ended_grant_gives_nothing(void **state)
{
    world_t *w = *state;
    alone_t a;
    uint8_t seeds[64];
    alone_open(w, &a, 1);
    OK(request(w, &a, w->key, seeds));
    usleep(1200000);
    IS(VCH_ERR_EXPIRED, request(w, &a, w->key, seeds));
    alone_close(&a);
}

static void not_before_it_is_signed(void **state)
{
    world_t *w = *state;
    alone_t a;
    uint8_t seeds[64];
    alone_open(w, &a, 1);
    w->l->checkpoint_ms = 3600000; /* no checkpoint by itself */
    vch_id_t fresh = ask_for(w, w->key, NULL, GIVEN);
    memcpy(a.r->grant.b, fresh.b, 32);
    IS(VCH_ERR_QUORUM, request(w, &a, w->key, seeds));
    OK(vch_ledger_checkpoint(w->l, NULL, &w->err));
    OK(request(w, &a, w->key, seeds));
    alone_close(&a);
}

/* ---- P2: with a witness whose word is wanted --------------------------------------------- */

#define WITNESS "witness-a.example"

static void want_witness(world_t *w, const vch_signer_t *witness)
{
    char path[160];
    vch_buf_t text;
    snprintf(path, sizeof path, "%s/trust.policy", w->ledger);
    vch_buf_init(&text, 1u << 16);
    OK(vch_read_all(w->l->port, &text, path, 1u << 16, &w->err));
    uint8_t *quorum = memmem(text.p, text.n, "quorum none", 11);
    assert_non_null(quorum);
    text.n = (size_t)(quorum - text.p);
    OK(vch_buf_printf(&text, "witness a "));
    OK(vch_vkey_put(&text, WITNESS, VCH_NOTE_COSIG_ED25519, vch_signer_public(witness)->b + 2));
    OK(vch_buf_printf(&text, "\nquorum a\n"));
    OK(vch_write_atomic(w->l->port, path, vch_buf_slice(&text), 0600, &w->err));
    vch_buf_free(&text);
}

/* The newest checkpoint, cosigned `ago` seconds before now, and kept.  A forgery
 * has the witness's cosignature of another text under it. */
static void cosign(world_t *w, const vch_signer_t *witness, uint64_t ago, bool forge)
{
    vch_text_t note;
    vch_buf_t all;
    vch_checkpoint_t c;
    uint64_t now = w->l->port->clock->wall_ms(w->l->port) / 1000;
    OK(vch_ledger_checkpoint(w->l, &note, &w->err));
    vch_buf_init(&all, 1u << 16);
    OK(vch_buf_put(&all, note.p, note.n));
    vch_slice_t text = vch_slice(note.p, (size_t)(strstr(note.p, "\n\n") - note.p) + 1);
    OK(vch_checkpoint_get(&c, text));
    OK(vch_note_cosign(&all, text, WITNESS, witness, now - ago));
    if (forge) {
        vch_buf_t other;
        vch_buf_init(&other, 1u << 16);
        OK(vch_note_cosign(&other, vch_str("another text\n"), WITNESS, witness, now - ago));
        all.n = note.n;
        OK(vch_buf_put(&all, other.p, other.n));
        vch_buf_free(&other);
    }
    OK(vch_ledger_read_begin(w->l, &w->err));
    vch_rc rc = vch_log_keep_cosigned(w->l->log, c.size, vch_buf_slice(&all), &w->err);
    vch_ledger_read_end(w->l);
    OK(rc);
    vch_text_free(&note);
    vch_buf_free(&all);
}

static void only_under_a_fresh_quorum(void **state)
{
    world_t *w = *state;
    alone_t a;
    uint8_t seeds[64], seed[32] = {11}, other[32] = {12};
    vch_signer_t *witness, *stranger;
    OK(vch_signer_new(&witness, VCH_ALG_ED25519, seed, &w->err));
    OK(vch_signer_new(&stranger, VCH_ALG_ED25519, other, &w->err));
    alone_open(w, &a, 1);
    OK(request(w, &a, w->key, seeds));
    want_witness(w, witness);
    IS(VCH_ERR_QUORUM, request(w, &a, w->key, seeds)); /* signed by the log, and by nobody else */
    cosign(w, stranger, 0, false);
    IS(VCH_ERR_QUORUM, request(w, &a, w->key, seeds)); /* by somebody under the witness's name */
    cosign(w, witness, 0, true);
    IS(VCH_ERR_QUORUM, request(w, &a, w->key, seeds)); /* its signature under another text */
    cosign(w, witness, 61, false);
    IS(VCH_ERR_QUORUM, request(w, &a, w->key, seeds)); /* committed, but stale: this trustee may be cut off */
    assert_non_null(strstr(w->err.text, "older than 60 s"));
    cosign(w, witness, 0, false);
    OK(request(w, &a, w->key, seeds)); /* the same checkpoint, cosigned again */
    /* a grant that came after it waits for its own */
    vch_id_t fresh = ask_for(w, w->key, NULL, GIVEN);
    vch_hash_t before = a.r->grant;
    memcpy(a.r->grant.b, fresh.b, 32);
    OK(vch_ledger_checkpoint(w->l, NULL, &w->err));
    IS(VCH_ERR_QUORUM, request(w, &a, w->key, seeds));
    a.r->grant = before;
    OK(request(w, &a, w->key, seeds));
    memcpy(a.r->grant.b, fresh.b, 32);
    cosign(w, witness, 0, false);
    OK(request(w, &a, w->key, seeds));
    alone_close(&a);
    vch_signer_free(witness);
    vch_signer_free(stranger);
}

static void no_end_of_fetching(void **state)
{
    world_t *w = *state;
    alone_t a;
    uint8_t seeds[64];
    unsigned fetched = 0;
    vch_rc rc;
    alone_open(w, &a, 1);
    while ((rc = request(w, &a, w->key, seeds)) == VCH_OK) assert_true(++fetched < 100);
    assert_int_equal(rc, VCH_ERR_LIMIT);
    assert_int_equal(fetched, VCH_FETCHES_MAX * 2 * GIVEN / 40); /* 40 of 2 × GIVEN leaves each time */
    a.r->set = 2;                                                /* each tree is counted for itself */
    OK(request(w, &a, w->key, seeds));
    alone_close(&a);
}

static void a_request_is_whole_or_nothing(void **state)
{
    world_t *w = *state;
    alone_t a;
    vch_buf_t payload, cose, answer, box;
    alone_open(w, &a, 1);
    vch_buf_init(&payload, 1u << 17);
    vch_buf_init(&cose, 1u << 17);
    vch_buf_init(&answer, 4096);
    vch_buf_init(&box, 1u << 18);
    OK(vch_release_put(&payload, a.r));
    OK(vch_cose_sign(&cose, w->key, vch_buf_slice(&payload), &w->err));
    for (size_t i = 0; i < cose.n; i++) {
        cose.p[i] ^= 1;
        assert_int_not_equal(vch_trustee_release(a.t, vch_buf_slice(&cose), &answer, &box, &w->err), VCH_OK);
        cose.p[i] ^= 1;
        assert_int_not_equal(vch_trustee_release(a.t, vch_slice(cose.p, i), &answer, &box, &w->err), VCH_OK);
    }
    assert_int_equal(answer.n + box.n, 0);
    OK(vch_trustee_release(a.t, vch_buf_slice(&cose), &answer, &box, &w->err));
    vch_buf_free(&payload);
    vch_buf_free(&cose);
    vch_buf_free(&answer);
    vch_buf_free(&box);
    alone_close(&a);
}

/* ---- deals ------------------------------------------------------------------------------------------ */

typedef struct {
    vch_deal_t d;
    uint8_t seeds[2 * 32];
} dealt_t;

static vch_rc deal(world_t *w, alone_t *a, const dealt_t *x, const vch_signer_t *by)
{
    vch_buf_t payload, cose, roots;
    uint8_t random[32] = {9};
    vch_buf_init(&payload, 8192);
    vch_buf_init(&cose, 16384);
    vch_buf_init(&roots, 65536);
    assert_int_equal(vch_deal_put(&payload, &x->d, x->seeds, random), VCH_OK);
    assert_int_equal(vch_cose_sign(&cose, by, vch_buf_slice(&payload), NULL), VCH_OK);
    vch_rc rc = vch_trustee_deal(a->t, vch_buf_slice(&cose), &roots, &w->err);
    assert_int_equal(roots.n != 0, rc == VCH_OK);
    vch_buf_free(&payload);
    vch_buf_free(&cose);
    vch_buf_free(&roots);
    return rc;
}

static void take_prekey(world_t *w, alone_t *a, dealt_t *x)
{
    vch_buf_t message;
    vch_cose_t m;
    vch_prekey_t prekey;
    vch_buf_init(&message, 4096);
    OK(vch_trustee_prekey(a->t, &message, &w->err));
    OK(vch_cose_read(&m, vch_buf_slice(&message)));
    OK(vch_cose_verify(&m, vch_signer_public(a->key), &w->err));
    OK(vch_prekey_get(&prekey, m.payload));
    memcpy(x->d.prekey, prekey.key, 32);
    vch_buf_free(&message);
}

static dealt_t some_deal(world_t *w, uint8_t extent)
{
    dealt_t x = {
        .d = {.about = {.network = w->l->network, .extent = {{extent}}, .n = 3, .t = 2, .groups = 1, .rows = 5},
              .trustee = 0}};
    uint8_t secret[32];
    memset(x.seeds, extent, sizeof x.seeds);
    assert_int_equal(vch_seal_pair(x.d.prekey, secret, x.seeds), VCH_OK); /* nobody's */
    return x;
}

static void a_deal_is_taken_once(void **state)
{
    world_t *w = *state;
    alone_t a;
    alone_open(w, &a, 1);
    dealt_t x = some_deal(w, 200), y;
    IS(VCH_ERR_KEY, deal(w, &a, &x, w->key)); /* no prekey yet */
    take_prekey(w, &a, &x);
    IS(VCH_ERR_ROLE, deal(w, &a, &x, w->other));
    OK(deal(w, &a, &x, w->key));
    IS(VCH_ERR_KEY, deal(w, &a, &x, w->key)); /* its prekey is used up */
    take_prekey(w, &a, &x);
    x.seeds[0] ^= 1;
    IS(VCH_ERR_CONFLICT, deal(w, &a, &x, w->key)); /* other seeds for the same extent */
    y = some_deal(w, 201);
    y.d.about.network.b[0] ^= 1;
    take_prekey(w, &a, &y);
    IS(VCH_ERR_NETWORK, deal(w, &a, &y, w->key));
    y.d.about.network.b[0] ^= 1;
    OK(deal(w, &a, &y, w->key));
    /* dropped because no version came of them, yet never taken again */
    OK(vch_trustee_sweep(a.t, &w->err));
    take_prekey(w, &a, &x);
    IS(VCH_ERR_CONFLICT, deal(w, &a, &x, w->key));
    alone_close(&a);
    /* nor after a restart */
    alone_open(w, &a, 1);
    take_prekey(w, &a, &x);
    IS(VCH_ERR_CONFLICT, deal(w, &a, &x, w->key));
    uint8_t seeds[64];
    OK(request(w, &a, w->key, seeds)); /* and what a version names was kept */
    alone_close(&a);
}

/* Custodians may ask side by side; who lets sixteen others go first begins again. */
static void sixteen_prekeys_are_out_at_once(void **state)
{
    world_t *w = *state;
    alone_t a;
    alone_open(w, &a, 1);
    dealt_t x[17];
    for (unsigned i = 0; i < 17; i++) {
        x[i] = some_deal(w, (uint8_t)(100 + i));
        take_prekey(w, &a, &x[i]);
    }
    IS(VCH_ERR_KEY, deal(w, &a, &x[0], w->key));
    for (unsigned i = 16; i > 0; i--) OK(deal(w, &a, &x[i], w->key));
    IS(VCH_ERR_KEY, deal(w, &a, &x[5], w->key));
    alone_close(&a);
}

/* While somebody else has the trustees, opening the vault waits, then gives up. */
static void the_vault_is_waited_for(void **state)
{
    world_t *w = *state;
    alone_t a;
    vch_vault_t *v;
    alone_open(w, &a, 2);
    w->l->lock_wait_ms = 60;
    IS(VCH_ERR_LOCKED, vch_vault_open(&v, w->l, &w->err));
    alone_close(&a);
    OK(vch_vault_open(&v, w->l, &w->err));
    vch_vault_close(v);
}

static void one_process_a_trustee(void **state)
{
    world_t *w = *state;
    alone_t a;
    vch_trustee_t *again;
    char dir[160];
    alone_open(w, &a, 1);
    snprintf(dir, sizeof dir, "%s/vault/trustee-1", w->ledger);
    IS(VCH_ERR_LOCKED, vch_trustee_open(&again, w->l, dir, a.key, NULL, 60000, &w->err));
    alone_close(&a);
}

/* ---- versions and runs ----------------------------------------------------------------------------------- */

static void versions_and_runs_go_through_the_vault(void **state)
{
    world_t *w = *state;
    vch_ingest_t in;
    vch_run_result_t r;
    vch_text_t diff;
    char hex[65];
    FILE *f = fopen(w->csv, "wb");
    fprintf(f, "person,x,y,label\n");
    for (uint32_t i = 0; i < ROWS; i++)
        fprintf(f, "owner-%02u,%u," CANARY "-%u,%u\n", i, i * 1000 + 7, i, i == 3 ? 0 : i & 1); /* one label turned */
    fclose(f);
    OK(vch_dataset_add(w->l, w->key, "cohort", w->csv, NULL, NULL, NULL, &in, &w->err));
    assert_int_equal(in.changed, 1);
    OK(vch_dataset_diff(w->l, "cohort@1", "cohort@2", &diff, &w->err));
    if (!strstr(diff.p, "\"label changed\":[{\"row\":\"owner-03\"")) fail_msg("%s", diff.p);
    vch_text_free(&diff);
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN);
    vch_hex(hex, grant.b, 32);
    const char *grants[] = {hex};
    const char *argv[] = {"/bin/sh", "-c",
                          "cat \"$VOUCH_IN/train.csv\" | wc -l > \"$VOUCH_OUT/model.txt\"; "
                          "grep -c '^3007," CANARY "-3,0$' \"$VOUCH_IN/train.csv\" \"$VOUCH_IN/holdout.csv\" "
                          ">> \"$VOUCH_OUT/model.txt\" || true; ls \"$VOUCH_IN/..\" >> \"$VOUCH_OUT/model.txt\"",
                          NULL};
    vch_run_spec_t spec = {
        .grant = grants, .grants = 1, .name = "model-a", .has_seed = 1, .seed = 7, .holdout = 10, .argv = argv};
    OK(vch_run_exec(w->l, w->key, &spec, &r, &w->err));
    assert_int_equal(r.exit_code, 0);
    assert_int_equal(r.rows, GIVEN - 10);
    char path[400], text[400] = "";
    snprintf(path, sizeof path, "%.300s/model.txt", r.out_dir);
    f = fopen(path, "rb");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    assert_int_equal(strtoul(text, NULL, 10), GIVEN - 10 + 1);
    assert_non_null(strstr(text, ".csv:1")); /* the turned label, in one of the two */
    assert_null(strstr(text, "spool"));      /* gone before the command began */
}

static void findings(void *ctx, const vch_finding_t *f)
{
    (void)f;
    ++*(unsigned *)ctx;
}

static void a_check_finds_it_whole(void **state)
{
    world_t *w = *state;
    uint64_t n;
    unsigned told = 0;
    OK(vch_ledger_close(w->l, &w->err));
    w->l = NULL;
    OK(vch_ledger_check(w->ledger, 1, 0, findings, &told, &n, &w->err));
    assert_int_equal(n, 0);
    assert_int_equal(told, 0);
    OK(vch_ledger_open(&w->l, w->ledger, 0, &w->err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        T(rows_come_out_as_they_went_in),
        T(no_plaintext_rests_in_the_ledger),
        T(any_one_of_each_may_be_lost),
        T(two_lost_are_too_many),
        T(nothing_goes_in_while_one_is_lost),
        T(one_nodes_damage_changes_nothing),
        T(two_nodes_damage_hands_out_nothing),
        T(seeds_for_a_grant),
        T(not_one_row_more),
        T(not_another_group),
        T(only_whose_grant_it_is),
        T(only_a_grant_of_this_ledger),
        T(a_withdrawal_bites_at_once),
        cmocka_unit_test_setup_teardown(an_ended_grant_gives_nothing, set_up_short, tear_down),
        T(not_before_it_is_signed),
        T(only_under_a_fresh_quorum),
        T(no_end_of_fetching),
        T(a_request_is_whole_or_nothing),
        T(a_deal_is_taken_once),
        T(sixteen_prekeys_are_out_at_once),
        T(one_process_a_trustee),
        T(the_vault_is_waited_for),
        T(versions_and_runs_go_through_the_vault),
        T(a_check_finds_it_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
