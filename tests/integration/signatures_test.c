/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures that are checked by several threads, ahead of their turn: what is
 * accepted and what is refused stays what one after the other would give. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "ledger_help.h"
#include "world.h"

#define MANY 200 /* below the window of sequence numbers */
#define OWNERS 64

typedef struct {
    char dir[64];
    vch_ledger_t *l;
    vch_signer_t *me;
    vch_id_t party;
    world_t *w; /* for its builders of statements only */
} box_t;

static int set_up(void **state)
{
    box_t *b = calloc(1, sizeof *b);
    vch_init_t init = lh_init();
    vch_ledger_info_t info;
    lh_folder(b->dir);
    LH_OK(vch_ledger_init(b->dir, &init, &lh_err));
    LH_OK(vch_ledger_open(&b->l, b->dir, 0, &lh_err));
    LH_OK(vch_identity_load(b->l, NULL, NULL, &b->me, &lh_err));
    LH_OK(vch_ledger_info(b->l, &info, &lh_err));
    LH_OK(vch_ledger_read_begin(b->l, &lh_err));
    LH_OK(vch_resolve(b->l, 'p', "clinic-a", &b->party, &lh_err));
    vch_ledger_read_end(b->l);
    b->w = calloc(1, sizeof *b->w);
    b->w->network = info.network;
    b->w->rows = OWNERS;
    *state = b;
    return 0;
}

/* The rows that some of these entries speak of were never there. */
static void note(void *ctx, const vch_finding_t *f)
{
    if (strncmp(f->file, "data/", 5) == 0 || strncmp(f->file, "custody/", 8) == 0) return;
    print_message("%s: %s\n", f->file, f->text);
    ++*(unsigned *)ctx;
}

/* Every signature in the log is good, or the check says so. */
static int tear_down(void **state)
{
    box_t *b = *state;
    uint64_t all;
    unsigned bad = 0;
    vch_signer_free(b->me);
    LH_OK(vch_ledger_close(b->l, &lh_err));
    vch_rc rc = vch_ledger_check(b->dir, 1, 0, note, &bad, &all, &lh_err);
    assert_true(rc == VCH_OK || rc == VCH_ERR_CORRUPT);
    assert_int_equal(bad, 0);
    lh_remove(b->dir);
    free(b->w);
    free(b);
    return 0;
}

static vch_buf_t model(unsigned i)
{
    uint8_t digest[32] = {(uint8_t)i, (uint8_t)(i >> 8), 1};
    char name[32];
    snprintf(name, sizeof name, "model-%u", i);
    kit_fields_t f = kit_fields();
    kit_bytes(&f, VCH_F_MODEL_DIGEST, digest, sizeof digest);
    kit_text(&f, VCH_F_MODEL_NAME, name);
    return kit_done(&f);
}

static kit_tx_t say(const box_t *b, const vch_signer_t *s, vch_kind_t kind, uint64_t sequence, vch_buf_t fields)
{
    return kit_tx(&b->w->network, kind, sequence, s, &fields, 1, 0);
}

/* A party with one key; kit numbers name keys. */
static vch_buf_t party(unsigned number, const vch_signer_t *key)
{
    char name[32];
    vch_buf_t fields;
    vch_buf_init(&fields, 4096);
    snprintf(name, sizeof name, "party-%u", number);
    kit_party_map(&fields, name, VCH_ROLE_USER, key);
    return fields;
}

/* The signature is the entry's end. */
static void spoil(kit_tx_t *t) { t->entry.p[t->entry.n - 20] ^= 4; }

/* Send them in one call and free them. */
static void send(const box_t *b, kit_tx_t *t, size_t n, vch_rc *rc)
{
    vch_buf_t *bytes = calloc(n, sizeof *bytes);
    const uint8_t **p = calloc(n, sizeof *p);
    size_t *len = calloc(n, sizeof *len);
    vch_receipt_t *r = calloc(n, sizeof *r);
    for (size_t i = 0; i < n; i++) {
        vch_buf_init(&bytes[i], 1u << 20);
        KIT_OK(vch_tx_put(&bytes[i], &t[i].tx));
        p[i] = bytes[i].p;
        len[i] = bytes[i].n;
    }
    vch_rc first = vch_submit(b->l, p, len, n, r, rc, NULL);
    for (size_t i = 0; i < n && first != VCH_OK; i++)
        if (rc[i] != VCH_OK) {
            assert_int_equal(first, rc[i]);
            break;
        }
    for (size_t i = 0; i < n; i++) {
        vch_buf_free(&bytes[i]);
        kit_free_tx(&t[i]);
    }
    free(bytes);
    free(p);
    free(len);
    free(r);
}

static vch_rc send_one(const box_t *b, kit_tx_t t)
{
    vch_rc rc = VCH_ERR_INTERNAL;
    send(b, &t, 1, &rc);
    return rc;
}

/* ---- one caller, many transactions ------------------------------------------------ */

/* Twice: with a key that nobody has seen yet, and with a known one. */
static void good_and_bad_are_told_apart(void **state)
{
    box_t *b = *state;
    vch_signer_t *stranger = kit_signer(900, VCH_ALG_ED25519);
    static kit_tx_t t[MANY];
    static vch_rc rc[MANY];
    for (unsigned round = 0; round < 2; round++) {
        uint64_t sequence = 0;
        vch_signer_t *key = kit_signer(10 + round, round ? VCH_ALG_P256 : VCH_ALG_ED25519);
        assert_int_equal(send_one(b, say(b, b->me, VCH_KIND_PARTY, 1 + round, party(round, key))), VCH_OK);
        for (unsigned again = 0; again < 2; again++) {
            for (unsigned i = 0; i < MANY; i++) {
                t[i] = say(b, i % 7 == 3 ? stranger : key, VCH_KIND_MODEL, ++sequence, model(i));
                if (i % 5 == 2) spoil(&t[i]);
            }
            send(b, t, MANY, rc);
            for (unsigned i = 0; i < MANY; i++)
                assert_int_equal(rc[i], i % 7 == 3 ? VCH_ERR_KEY : i % 5 == 2 ? VCH_ERR_SIGNATURE : VCH_OK);
        }
        vch_signer_free(key);
    }
    vch_signer_free(stranger);
}

/* Each with a key of its own, which an earlier one of the same call registers. */
static void a_key_counts_from_its_turn(void **state)
{
    box_t *b = *state;
    static kit_tx_t t[2 * 40 + 1];
    static vch_rc rc[2 * 40 + 1];
    vch_signer_t *key[41];
    for (unsigned i = 0; i <= 40; i++) key[i] = kit_signer(100 + i, VCH_ALG_ED25519);
    t[0] = say(b, key[39], VCH_KIND_MODEL, 1, model(0)); /* before its registration */
    for (unsigned i = 0; i < 40; i++) {
        t[1 + 2 * i] = say(b, b->me, VCH_KIND_PARTY, 1 + i, party(i, key[i]));
        t[2 + 2 * i] = say(b, key[i], VCH_KIND_MODEL, 1, model(i));
    }
    send(b, t, 81, rc);
    assert_int_equal(rc[0], VCH_ERR_KEY);
    for (unsigned i = 1; i < 81; i++) assert_int_equal(rc[i], VCH_OK);
    for (unsigned i = 0; i <= 40; i++) vch_signer_free(key[i]);
}

static vch_buf_t key_change(const vch_id_t *of, unsigned action, const vch_signer_t *key)
{
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_PARTYKEY_PARTY, of->b);
    kit_uint(&f, VCH_F_PARTYKEY_ACTION, action);
    kit_bytes(&f, VCH_F_PARTYKEY_KEY, vch_signer_public(key)->b, vch_signer_public(key)->n);
    kit_uint(&f, VCH_F_PARTYKEY_REASON, 0);
    return kit_done(&f);
}

/* A signature that was good when it was checked counts for nothing once its
 * turn comes and its key is revoked. */
static void a_revoked_key_is_refused_though_it_is_known(void **state)
{
    box_t *b = *state;
    vch_signer_t *second = kit_signer(300, VCH_ALG_ED25519);
    static kit_tx_t t[60];
    static vch_rc rc[60];
    assert_int_equal(send_one(b, say(b, b->me, VCH_KIND_PARTY_KEY, 1, key_change(&b->party, VCH_KEY_ADD, second))),
                     VCH_OK);
    for (unsigned i = 0; i < 20; i++) t[i] = say(b, second, VCH_KIND_MODEL, 2 + i, model(i));
    send(b, t, 20, rc);
    for (unsigned i = 0; i < 20; i++) assert_int_equal(rc[i], VCH_OK);
    for (unsigned i = 0; i < 60; i++) {
        vch_buf_t fields = i == 30 ? key_change(&b->party, VCH_KEY_REVOKE, second) : model(100 + i);
        t[i] = say(b, i == 30 ? b->me : second, i == 30 ? VCH_KIND_PARTY_KEY : VCH_KIND_MODEL, 30 + i, fields);
    }
    send(b, t, 60, rc);
    for (unsigned i = 0; i < 60; i++) assert_int_equal(rc[i], i <= 30 ? VCH_OK : VCH_ERR_KEY);
    assert_int_equal(send_one(b, say(b, second, VCH_KIND_MODEL, 120, model(500))), VCH_ERR_KEY);
    vch_signer_free(second);
}

/* ---- owners' signatures ------------------------------------------------------------- */

static kit_tx_t consents(box_t *b, const vch_hash_t *terms, uint64_t sequence, int spoiled)
{
    vch_buf_t fields[OWNERS];
    for (uint32_t i = 0; i < OWNERS; i++) {
        vch_signer_t *owner = world_owner(i);
        say_t s = {.subject = i,
                   .serial = 1,
                   .terms = terms,
                   .until = WORLD_FOREVER,
                   .how = VCH_HOW_OWNER,
                   .key = owner,
                   .proof = true};
        fields[i] = world_statement(b->w, VCH_KIND_CONSENT, &s);
        if (spoiled == (int)i) fields[i].p[fields[i].n - 3] ^= 1; /* the signature comes last */
        vch_signer_free(owner);
    }
    return kit_tx(&b->w->network, VCH_KIND_CONSENT, sequence, b->me, fields, OWNERS, 0);
}

static void among_many_owners_a_forged_one_is_found(void **state)
{
    box_t *b = *state;
    vch_buf_t document = kit_terms_document("research", false, KIT_RESEARCH, KIT_TRAINING, 0);
    vch_hash_t terms;
    vch_sha256(&terms, document.p, document.n);
    kit_fields_t f = kit_fields();
    kit_bytes(&f, VCH_F_TERMS_DOCUMENT, document.p, document.n);
    vch_buf_free(&document);
    assert_int_equal(send_one(b, say(b, b->me, VCH_KIND_TERMS, 1, kit_done(&f))), VCH_OK);
    kit_tx_t dataset = say(b, b->me, VCH_KIND_DATASET, 2, kit_dataset("cohort", &b->party));
    b->w->dataset = vch_object_id(&dataset.id, 0);
    assert_int_equal(send_one(b, dataset), VCH_OK);
    assert_int_equal(send_one(b, say(b, b->me, VCH_KIND_VERSION, 3, world_version(b->w, NULL, OWNERS, 0, true, 1))),
                     VCH_OK);
    for (int bad = 0; bad < OWNERS; bad += 9)
        assert_int_equal(send_one(b, consents(b, &terms, 4, bad)), VCH_ERR_SIGNATURE);
    kit_tx_t t = consents(b, &terms, 4, -1);
    spoil(&t);
    assert_int_equal(send_one(b, t), VCH_ERR_SIGNATURE);
    assert_int_equal(send_one(b, consents(b, &terms, 4, -1)), VCH_OK);
}

/* ---- many callers --------------------------------------------------------------------- */

#define CALLERS 8
#define EACH 24

typedef struct {
    const box_t *b;
    kit_tx_t t[EACH + 20];
    vch_rc rc[EACH + 20];
} caller_t;

/* Some one by one, some in a call that is shared out. */
static void *call(void *arg)
{
    caller_t *c = arg;
    for (unsigned i = 0; i < EACH; i++) c->rc[i] = send_one(c->b, c->t[i]);
    send(c->b, c->t + EACH, 20, c->rc + EACH);
    return NULL;
}

static void callers_do_not_disturb_each_other(void **state)
{
    box_t *b = *state;
    static caller_t c[CALLERS];
    pthread_t thread[CALLERS];
    for (unsigned k = 0; k < CALLERS; k++) {
        vch_signer_t *key = kit_signer(400 + k, k % 2 ? VCH_ALG_P256 : VCH_ALG_ED25519);
        assert_int_equal(send_one(b, say(b, b->me, VCH_KIND_PARTY, 1 + k, party(k, key))), VCH_OK);
        c[k].b = b;
        for (unsigned i = 0; i < EACH + 20; i++) {
            c[k].t[i] = say(b, key, VCH_KIND_MODEL, 1 + i, model(1000 * k + i));
            if (i % 6 == k % 6) spoil(&c[k].t[i]);
        }
        vch_signer_free(key);
    }
    for (unsigned k = 0; k < CALLERS; k++) assert_int_equal(pthread_create(&thread[k], NULL, call, &c[k]), 0);
    for (unsigned k = 0; k < CALLERS; k++) pthread_join(thread[k], NULL);
    for (unsigned k = 0; k < CALLERS; k++)
        for (unsigned i = 0; i < EACH + 20; i++)
            assert_int_equal(c[k].rc[i], i % 6 == k % 6 ? VCH_ERR_SIGNATURE : VCH_OK);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(good_and_bad_are_told_apart),
        T(a_key_counts_from_its_turn),
        T(a_revoked_key_is_refused_though_it_is_known),
        T(among_many_owners_a_forged_one_is_found),
        T(callers_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
