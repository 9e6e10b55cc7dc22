/* SPDX-License-Identifier: Apache-2.0 */
/* Every rule of the state machine, and its refusal: a refused transaction
 * leaves the state exactly as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "world.h"

/* The refusal is this one, and nothing changed. */
#define REFUSED(w, call, expected)                                                                                     \
    do {                                                                                                               \
        vch_hash_t before_ = world_root(w);                                                                            \
        vch_state_info_t a_, b_;                                                                                       \
        vch_state_info((w)->state, &a_);                                                                               \
        vch_rc rc_ = (call);                                                                                           \
        if (rc_ != (expected)) print_message("%s: %s\n", vch_rc_name(rc_), (w)->err.text);                             \
        assert_int_equal(rc_, expected);                                                                               \
        vch_state_info((w)->state, &b_);                                                                               \
        assert_int_equal(a_.applied, b_.applied);                                                                      \
        assert_true((w)->err.text[0] != 0);                                                                            \
        /* an innocent entry after it gives the same root as without it */                                             \
        assert_int_equal(world_same_after(w, &before_), 1);                                                            \
    } while (0)

/* Close nothing new: the root of the last block must still be `before`, and
 * no value may be waiting to be hashed that differs from the tree. */
static int world_same_after(world_t *w, const vch_hash_t *before)
{
    vch_state_info_t i;
    vch_state_info(w->state, &i);
    return vch_hash_eq(&i.root, before) && i.open_count == 0;
}

static void genesis_comes_once(void **state)
{
    (void)state;
    world_t *w = world_new(4);
    const vch_signer_t *parties[3] = {w->party[0], w->party[1], w->party[2]};
    static const vch_hash_t zero;
    vch_buf_t fields = kit_genesis(parties, 3);
    kit_tx_t t = kit_tx(&zero, VCH_KIND_GENESIS, 1, w->party[0], &fields, 1, 0);
    REFUSED(w, world_apply(w, &t), VCH_ERR_CONFLICT);
    world_free(w);
}

/* Also, its parties have names of their own. */
static void genesis_must_be_signed_by_its_first_party(void **state)
{
    (void)state;
    vch_kv_t *kv;
    world_t w = {.now = {1}};
    static const vch_hash_t zero;
    KIT_OK(vch_crypto_start());
    KIT_OK(vch_kv_open_memory(&kv, NULL));
    KIT_OK(vch_state_open(&w.state, kv, NULL));
    vch_arena_init(&w.arena, 1u << 20);
    vch_signer_t *a = kit_signer(0, VCH_ALG_ED25519), *b = kit_signer(1, VCH_ALG_ED25519);
    const vch_signer_t *parties[2] = {a, b};
    vch_buf_t fields = kit_genesis(parties, 2);
    kit_tx_t t = kit_tx(&zero, VCH_KIND_GENESIS, 1, b, &fields, 1, 0);
    assert_int_equal(world_apply(&w, &t), VCH_ERR_KEY);
    fields = kit_genesis(parties, 2);
    char *name = memmem(fields.p, fields.n, "party-1", 7);
    assert_non_null(name);
    name[6] = '0';
    t = kit_tx(&zero, VCH_KIND_GENESIS, 1, a, &fields, 1, 0);
    assert_int_equal(world_apply(&w, &t), VCH_ERR_CONFLICT);
    assert_non_null(strstr(w.err.text, "the name \"party-0\" is taken"));
    fields = kit_genesis(parties, 2);
    t = kit_tx(&zero, VCH_KIND_GENESIS, 1, a, &fields, 1, 0);
    assert_int_equal(world_apply(&w, &t), VCH_OK);
    vch_free(w.leaf[0].bytes);
    kit_free_tx(w.leaf[0].tx);
    vch_free(w.leaf[0].tx);
    vch_signer_free(a);
    vch_signer_free(b);
    vch_state_free(w.state);
    vch_kv_close(kv);
    vch_arena_free(&w.arena);
}

static vch_buf_t party_fields(const char *name, const vch_signer_t *key)
{
    vch_buf_t b;
    vch_buf_init(&b, 4096);
    kit_party_map(&b, name, VCH_ROLE_USER, key);
    return b;
}

static void parties_are_registered_by_registrars_only(void **state)
{
    (void)state;
    world_t *w = world_new(4);
    vch_signer_t *fresh = kit_signer(77, VCH_ALG_P256);
    REFUSED(w, world_say(w, 1, VCH_KIND_PARTY, party_fields("x", fresh)), VCH_ERR_ROLE);
    assert_int_equal(world_say(w, 0, VCH_KIND_PARTY, party_fields("x", fresh)), VCH_OK);
    REFUSED(w, world_say(w, 0, VCH_KIND_PARTY, party_fields("y", fresh)), VCH_ERR_CONFLICT);
    vch_signer_free(fresh);
    world_free(w);
}

static vch_buf_t key_fields(const vch_id_t *party, unsigned action, const vch_signer_t *key, const vch_hash_t *next)
{
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_PARTYKEY_PARTY, party->b);
    kit_uint(&f, VCH_F_PARTYKEY_ACTION, action);
    kit_bytes(&f, VCH_F_PARTYKEY_KEY, vch_signer_public(key)->b, vch_signer_public(key)->n);
    kit_uint(&f, VCH_F_PARTYKEY_REASON, 0);
    if (next) kit_id(&f, VCH_F_PARTYKEY_NEXT, next->b);
    return kit_done(&f);
}

static vch_id_t party_called(world_t *w, const char *name)
{
    vch_hash_t hash;
    vch_id_t id = {{0}};
    vch_buf_t value;
    vch_sha256(&hash, name, strlen(name));
    vch_state_key_t key = vch_key_id('n', hash.b);
    vch_buf_init(&value, 64);
    if (vch_state_get(w->state, vch_key_slice(&key), &value, NULL) == VCH_OK) {
        assert_int_equal(value.n, 32);
        memcpy(id.b, value.p, 32);
    }
    vch_buf_free(&value);
    return id;
}

static bool is_called(world_t *w, const char *name, const vch_id_t *party)
{
    vch_id_t id = party_called(w, name);
    return vch_id_eq(&id, party);
}

/* A name is one party's, byte for byte, until a registrar revoked its last key. */
static void a_name_is_one_partys(void **state)
{
    (void)state;
    static const vch_id_t nobody;
    world_t *w = world_new(4);
    vch_signer_t *key[6];
    for (unsigned i = 0; i < 6; i++) key[i] = kit_signer(80 + i, VCH_ALG_ED25519);
    assert_true(is_called(w, "party-2", &w->party_id[2]));
    assert_true(is_called(w, "x", &nobody));
    REFUSED(w, world_say(w, 0, VCH_KIND_PARTY, party_fields("party-2", key[0])), VCH_ERR_CONFLICT);
    assert_int_equal(world_say(w, 0, VCH_KIND_PARTY, party_fields("x", key[0])), VCH_OK);
    vch_id_t first = w->last;
    assert_true(is_called(w, "x", &first));
    world_close(w);
    REFUSED(w, world_say(w, 0, VCH_KIND_PARTY, party_fields("x", key[1])), VCH_ERR_CONFLICT);
    assert_non_null(strstr(w->err.text, "the name \"x\" is taken"));
    vch_buf_t two[2] = {party_fields("y", key[1]), party_fields("y", key[2])};
    kit_tx_t t = kit_tx(&w->network, VCH_KIND_PARTY, w->sequence[0] + 1, w->party[0], two, 2, 0);
    REFUSED(w, world_apply(w, &t), VCH_ERR_CONFLICT);
    assert_true(is_called(w, "y", &nobody));
    assert_int_equal(world_say(w, 0, VCH_KIND_PARTY, party_fields("X", key[1])), VCH_OK);
    assert_int_equal(world_say(w, 0, VCH_KIND_PARTY, party_fields("x ", key[2])), VCH_OK);
    world_close(w);
    assert_int_equal(world_say(w, 0, VCH_KIND_PARTY_KEY, key_fields(&first, VCH_KEY_REVOKE, key[0], NULL)), VCH_OK);
    assert_true(is_called(w, "x", &first));
    assert_int_equal(world_say(w, 0, VCH_KIND_PARTY, party_fields("x", key[3])), VCH_OK);
    vch_id_t second = w->last;
    assert_true(is_called(w, "x", &second));
    world_close(w);
    REFUSED(w, world_say(w, 0, VCH_KIND_PARTY, party_fields("x", key[4])), VCH_ERR_CONFLICT);
    for (unsigned i = 0; i < 6; i++) vch_signer_free(key[i]);
    world_free(w);
}

static void keys_rotate_and_promises_bind(void **state)
{
    (void)state;
    world_t *w = world_new(4);
    vch_signer_t *second = kit_signer(50, VCH_ALG_ED25519), *third = kit_signer(51, VCH_ALG_ED25519);
    vch_hash_t promise;
    vch_sha256(&promise, vch_signer_public(third)->b, vch_signer_public(third)->n);
    REFUSED(w, world_say(w, 2, VCH_KIND_PARTY_KEY, key_fields(&w->party_id[1], VCH_KEY_ADD, second, NULL)),
            VCH_ERR_ROLE);
    REFUSED(w, world_say(w, 1, VCH_KIND_PARTY_KEY, key_fields(&w->party_id[1], VCH_KEY_REVOKE, w->party[1], NULL)),
            VCH_ERR_CONFLICT);
    assert_int_equal(world_say(w, 1, VCH_KIND_PARTY_KEY, key_fields(&w->party_id[1], VCH_KEY_ADD, second, &promise)),
                     VCH_OK);
    vch_signer_t *other = kit_signer(52, VCH_ALG_ED25519);
    REFUSED(w, world_say(w, 1, VCH_KIND_PARTY_KEY, key_fields(&w->party_id[1], VCH_KEY_ADD, other, NULL)), VCH_ERR_KEY);
    assert_int_equal(world_say(w, 1, VCH_KIND_PARTY_KEY, key_fields(&w->party_id[1], VCH_KEY_ADD, third, NULL)),
                     VCH_OK);
    assert_int_equal(
        world_say(w, 0, VCH_KIND_PARTY_KEY, key_fields(&w->party_id[1], VCH_KEY_REVOKE, w->party[1], NULL)), VCH_OK);
    REFUSED(w, world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING), VCH_ERR_KEY); /* the old key is dead */
    vch_signer_free(w->party[1]);
    w->party[1] = second;
    assert_int_equal(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING), VCH_OK);
    vch_signer_free(third);
    vch_signer_free(other);
    world_free(w);
}

static void envelopes_are_checked(void **state)
{
    (void)state;
    world_t *w = world_new(4);
    vch_hash_t elsewhere = w->network;
    elsewhere.b[0] ^= 1;
    vch_buf_t f = world_access(&w->version, KIT_SCIENCE, KIT_TRAINING, 0);
    kit_tx_t t = kit_tx(&elsewhere, VCH_KIND_ACCESS, 1, w->party[1], &f, 1, 0);
    REFUSED(w, world_apply(w, &t), VCH_ERR_NETWORK);
    f = world_access(&w->version, KIT_SCIENCE, KIT_TRAINING, 0);
    t = kit_tx(&w->network, VCH_KIND_ACCESS, 1, w->party[1], &f, 1, w->now.ms - 1);
    REFUSED(w, world_apply(w, &t), VCH_ERR_EXPIRED);
    f = world_access(&w->version, KIT_SCIENCE, KIT_TRAINING, 0);
    t = kit_tx(&w->network, VCH_KIND_ACCESS, 1, w->party[1], &f, 1, w->now.ms + 3600001);
    REFUSED(w, world_apply(w, &t), VCH_ERR_LIMIT);
    vch_signer_t *stranger = kit_signer(99, VCH_ALG_ED25519);
    f = world_access(&w->version, KIT_SCIENCE, KIT_TRAINING, 0);
    t = kit_tx(&w->network, VCH_KIND_ACCESS, 1, stranger, &f, 1, 0);
    REFUSED(w, world_apply(w, &t), VCH_ERR_KEY);
    vch_signer_free(stranger);
    f = world_access(&w->version, KIT_SCIENCE, KIT_TRAINING, 0);
    t = kit_tx(&w->network, VCH_KIND_ACCESS, 1, w->party[1], &f, 1, 0);
    t.entry.p[t.entry.n - 1] ^= 1; /* the signature's last byte */
    REFUSED(w, world_apply(w, &t), VCH_ERR_SIGNATURE);
    f = world_access(&w->version, KIT_SCIENCE, KIT_TRAINING, 0);
    t = kit_tx(&w->network, VCH_KIND_ACCESS, 1, w->party[1], &f, 1, 0);
    t.statement[0].p[3] ^= 1; /* the salt: no longer what was signed */
    REFUSED(w, world_apply(w, &t), VCH_ERR_COMMITMENT);
    f = world_access(&w->version, KIT_SCIENCE, KIT_TRAINING, 0);
    t = kit_tx(&w->network, VCH_KIND_ACCESS, 1, w->party[1], &f, 1, w->now.ms + 3600000);
    assert_int_equal(world_apply(w, &t), VCH_OK);
    world_free(w);
}

static vch_rc ask_with_sequence(world_t *w, uint64_t sequence)
{
    vch_buf_t f = world_access(&w->version, KIT_SCIENCE, KIT_TRAINING, 0);
    kit_tx_t t = kit_tx(&w->network, VCH_KIND_ACCESS, sequence, w->party[1], &f, 1, 0);
    return world_apply(w, &t);
}

static void sequences_are_used_once_within_a_window(void **state)
{
    (void)state;
    world_t *w = world_new(4);
    assert_int_equal(ask_with_sequence(w, 5), VCH_OK);
    REFUSED(w, ask_with_sequence(w, 5), VCH_ERR_REPLAY);
    assert_int_equal(ask_with_sequence(w, 2), VCH_OK);
    REFUSED(w, ask_with_sequence(w, 2), VCH_ERR_REPLAY);
    REFUSED(w, ask_with_sequence(w, 5 + 257), VCH_ERR_LIMIT);
    assert_int_equal(ask_with_sequence(w, 5 + 256), VCH_OK);
    REFUSED(w, ask_with_sequence(w, 5), VCH_ERR_REPLAY); /* fell out of the window */
    assert_int_equal(ask_with_sequence(w, 6), VCH_OK);   /* the last one inside */
    world_free(w);
}

static void the_same_entry_twice_is_found(void **state)
{
    (void)state;
    world_t *w = world_new(4);
    vch_buf_t f = world_access(&w->version, KIT_SCIENCE, KIT_TRAINING, 0);
    kit_tx_t t = kit_tx(&w->network, VCH_KIND_ACCESS, 1, w->party[1], &f, 1, 0);
    vch_id_t id = t.id;
    uint64_t place;
    assert_int_equal(vch_state_find(w->state, &id, &place), VCH_ERR_NOT_FOUND);
    assert_int_equal(world_apply(w, &t), VCH_OK);
    assert_int_equal(vch_state_find(w->state, &id, &place), VCH_OK);
    assert_int_equal(place, w->leaves - 2); /* the outcome is the last leaf */
    world_free(w);
}

static void roles_bind(void **state)
{
    (void)state;
    world_t *w = world_new(4);
    vch_signer_t *user = kit_signer(60, VCH_ALG_ED25519);
    KIT_OK(world_say(w, 0, VCH_KIND_PARTY, party_fields("user-only", user)));
    vch_id_t id = w->last;
    vch_buf_t f = kit_dataset("theirs", &id);
    kit_tx_t t = kit_tx(&w->network, VCH_KIND_DATASET, 1, user, &f, 1, 0);
    REFUSED(w, world_apply(w, &t), VCH_ERR_ROLE);
    REFUSED(w, world_say(w, 1, VCH_KIND_DATASET, kit_dataset("not-mine", &w->party_id[0])), VCH_ERR_ROLE);
    vch_signer_free(user);
    world_free(w);
}

static void versions_chain(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    REFUSED(w, world_say(w, 0, VCH_KIND_VERSION, world_version(w, NULL, 2, 0, false, 2)), VCH_ERR_CONFLICT);
    REFUSED(w, world_say(w, 0, VCH_KIND_VERSION, world_version(w, &w->dataset, 2, 0, false, 2)), VCH_ERR_CONFLICT);
    REFUSED(w, world_say(w, 0, VCH_KIND_VERSION, world_version(w, &w->version, 2, 0, false, 1)), VCH_ERR_CONFLICT);
    REFUSED(w, world_say(w, 0, VCH_KIND_VERSION, world_version(w, &w->version, 2, 9, false, 2)), VCH_ERR_REFERENCE);
    REFUSED(w, world_say(w, 1, VCH_KIND_VERSION, world_version(w, &w->version, 2, 0, false, 2)), VCH_ERR_ROLE);
    assert_int_equal(world_say(w, 0, VCH_KIND_VERSION, world_version(w, &w->version, 2, 8, false, 2)), VCH_OK);
    vch_state_key_t key = vch_key_id('v', w->last.b);
    vch_buf_t b;
    vch_version_value_t v;
    vch_buf_init(&b, 4096);
    KIT_OK(vch_state_get(w->state, vch_key_slice(&key), &b, NULL));
    KIT_OK(vch_version_get(&v, vch_buf_slice(&b)));
    assert_int_equal(v.number, 2);
    assert_int_equal(v.extents, 2);
    assert_int_equal(v.live, 12);
    vch_buf_free(&b);
    world_free(w);
}

static vch_buf_t bitmap_version(world_t *w, unsigned extent, unsigned leaf, size_t bit_clear, size_t bit_extra)
{
    uint8_t bits[VCH_BITMAP_LEAF] = {0}, zero[1];
    (void)zero;
    for (uint32_t i = 0; i < w->rows; i++) vch_bit_set(bits, i);
    vch_bit_clear(bits, bit_clear);
    if (bit_extra) vch_bit_set(bits, bit_extra);
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_VERSION_DATASET, w->dataset.b);
    kit_id(&f, VCH_F_VERSION_PREVIOUS, w->version.b);
    kit_list(&f, VCH_F_VERSION_EXTENTS, 0);
    vch_buf_t *b = kit_list(&f, VCH_F_VERSION_BITMAP, 1);
    KIT_OK(vch_cbor_map(b, 3));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_uint(b, extent));
    KIT_OK(vch_cbor_uint(b, 1));
    KIT_OK(vch_cbor_uint(b, leaf));
    KIT_OK(vch_cbor_uint(b, 2));
    KIT_OK(vch_cbor_bytes(b, bits, sizeof bits));
    return kit_done(&f);
}

static void live_bits_change_within_the_rows(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    REFUSED(w, world_say(w, 0, VCH_KIND_VERSION, bitmap_version(w, 1, 0, 3, 0)), VCH_ERR_REFERENCE);
    REFUSED(w, world_say(w, 0, VCH_KIND_VERSION, bitmap_version(w, 0, 1, 3, 0)), VCH_ERR_REFERENCE);
    REFUSED(w, world_say(w, 0, VCH_KIND_VERSION, bitmap_version(w, 0, 0, 3, 10)), VCH_ERR_FORMAT);
    assert_int_equal(world_say(w, 0, VCH_KIND_VERSION, bitmap_version(w, 0, 0, 3, 0)), VCH_OK);
    vch_buf_t bits;
    vch_buf_init(&bits, 4096);
    KIT_OK(vch_state_bitmap(w->state, &w->last, &bits, NULL));
    assert_int_equal(bits.n, VCH_BITMAP_LEAF);
    assert_false(vch_bit(bits.p, 3));
    assert_true(vch_bit(bits.p, 4));
    vch_buf_free(&bits);
    world_free(w);
}

static void terms_use_the_vocabulary_and_come_once(void **state)
{
    (void)state;
    world_t *w = world_new(4);
    vch_buf_t document = kit_terms_document("odd", false, "https://example.org/unknown", NULL, 0);
    kit_fields_t f = kit_fields();
    kit_bytes(&f, 0, document.p, document.n);
    REFUSED(w, world_say(w, 0, VCH_KIND_TERMS, kit_done(&f)), VCH_ERR_REFERENCE);
    vch_buf_free(&document);
    document = kit_terms_document("research", false, KIT_RESEARCH, KIT_TRAINING, 0);
    f = kit_fields();
    kit_bytes(&f, 0, document.p, document.n);
    REFUSED(w, world_say(w, 0, VCH_KIND_TERMS, kit_done(&f)), VCH_ERR_CONFLICT);
    f = kit_fields();
    kit_bytes(&f, 0, document.p, document.n - 1);
    REFUSED(w, world_say(w, 0, VCH_KIND_TERMS, kit_done(&f)), VCH_ERR_FORMAT);
    vch_buf_free(&document);
    world_free(w);
}

/* ---- consents ---- */

static void owners_give_and_withdraw(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    vch_cell_t cell;
    assert_int_equal(world_owner_says(w, VCH_KIND_CONSENT, 3, &w->terms[0]), VCH_OK);
    KIT_OK(vch_state_cell(w->state, &w->dataset, 3, &cell, NULL));
    assert_int_equal(cell.serial, 1);
    assert_true(cell.index != 0);
    assert_int_equal(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING), VCH_OK);
    assert_true(w->outcome.permit);
    assert_int_equal(w->outcome.count, 1);
    assert_int_equal(world_owner_says(w, VCH_KIND_WITHDRAW, 3, NULL), VCH_OK);
    assert_int_equal(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING), VCH_OK);
    assert_false(w->outcome.permit);
    assert_int_equal(w->outcome.count, 0);
    world_free(w);
}

static void an_old_consent_cannot_be_replayed(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    vch_signer_t *key = world_owner(3);
    say_t s = {.subject = 3,
               .serial = 1,
               .terms = &w->terms[0],
               .until = WORLD_FOREVER,
               .how = VCH_HOW_OWNER,
               .key = key,
               .proof = true};
    assert_int_equal(world_say(w, 2, VCH_KIND_CONSENT, world_statement(w, VCH_KIND_CONSENT, &s)), VCH_OK);
    w->serial[3] = 1;
    REFUSED(w, world_say(w, 2, VCH_KIND_CONSENT, world_statement(w, VCH_KIND_CONSENT, &s)), VCH_ERR_REPLAY);
    assert_int_equal(world_owner_says(w, VCH_KIND_WITHDRAW, 3, NULL), VCH_OK);
    REFUSED(w, world_say(w, 2, VCH_KIND_CONSENT, world_statement(w, VCH_KIND_CONSENT, &s)), VCH_ERR_REPLAY);
    s.serial = 4; /* one too far */
    REFUSED(w, world_say(w, 2, VCH_KIND_CONSENT, world_statement(w, VCH_KIND_CONSENT, &s)), VCH_ERR_REPLAY);
    vch_signer_free(key);
    world_free(w);
}

static void only_the_subjects_key_speaks_for_it(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    vch_signer_t *wrong = world_owner(4);
    say_t s = {.subject = 3,
               .serial = 1,
               .terms = &w->terms[0],
               .until = WORLD_FOREVER,
               .how = VCH_HOW_OWNER,
               .key = wrong,
               .proof = true};
    REFUSED(w, world_say(w, 2, VCH_KIND_CONSENT, world_statement(w, VCH_KIND_CONSENT, &s)), VCH_ERR_KEY);
    s.proof = false;
    REFUSED(w, world_say(w, 2, VCH_KIND_CONSENT, world_statement(w, VCH_KIND_CONSENT, &s)), VCH_ERR_KEY);
    assert_int_equal(world_owner_says(w, VCH_KIND_CONSENT, 3, &w->terms[0]), VCH_OK);
    s.serial = 2; /* now the state knows the right key */
    REFUSED(w, world_say(w, 2, VCH_KIND_CONSENT, world_statement(w, VCH_KIND_CONSENT, &s)), VCH_ERR_KEY);
    vch_signer_free(wrong);
    vch_signer_t *right = world_owner(3);
    s.key = right;
    vch_buf_t fields = world_statement(w, VCH_KIND_CONSENT, &s);
    fields.p[fields.n - 1] ^= 1; /* the owner's signature */
    REFUSED(w, world_say(w, 2, VCH_KIND_CONSENT, fields), VCH_ERR_SIGNATURE);
    vch_signer_free(right);
    world_free(w);
}

static void custodians_record_until_the_owner_speaks(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    assert_int_equal(world_records(w, VCH_KIND_CONSENT, 5, &w->terms[0]), VCH_OK);
    say_t s = {.subject = 6, .serial = 1, .terms = &w->terms[0], .until = WORLD_FOREVER, .how = VCH_HOW_RECORDED};
    REFUSED(w, world_say(w, 1, VCH_KIND_CONSENT, world_statement(w, VCH_KIND_CONSENT, &s)), VCH_ERR_ROLE);
    s.how = VCH_HOW_DELEGATE;
    REFUSED(w, world_say(w, 0, VCH_KIND_CONSENT, world_statement(w, VCH_KIND_CONSENT, &s)), VCH_ERR_UNSUPPORTED);
    assert_int_equal(world_owner_says(w, VCH_KIND_WITHDRAW, 5, NULL), VCH_OK);
    REFUSED(w, world_records(w, VCH_KIND_CONSENT, 5, &w->terms[0]), VCH_ERR_DENIED);
    assert_int_equal(world_owner_says(w, VCH_KIND_CONSENT, 5, &w->terms[0]), VCH_OK);
    assert_int_equal(world_records(w, VCH_KIND_CONSENT, 5, &w->terms[2]), VCH_OK);
    world_free(w);
}

static void consents_refer_to_what_is_there(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    vch_hash_t nothing = {{7}};
    REFUSED(w, world_records(w, VCH_KIND_CONSENT, 1, &nothing), VCH_ERR_REFERENCE);
    REFUSED(w, world_records(w, VCH_KIND_CONSENT, 10, &w->terms[0]), VCH_ERR_REFERENCE);
    REFUSED(w, world_records(w, VCH_KIND_WITHDRAW, 1, &w->terms[0]), VCH_ERR_REFERENCE);
    REFUSED(w, world_records(w, VCH_KIND_WITHDRAW, 1, NULL), VCH_ERR_REFERENCE);
    vch_id_t dataset = w->dataset;
    w->dataset.b[0] ^= 1;
    REFUSED(w, world_records(w, VCH_KIND_CONSENT, 1, &w->terms[0]), VCH_ERR_REFERENCE);
    w->dataset = dataset;
    assert_int_equal(world_records(w, VCH_KIND_CONSENT, 1, &w->terms[0]), VCH_OK);
    world_free(w);
}

/* Rows and subjects belong to one dataset: no other may use them as its own. */
static void rows_of_another_dataset_are_refused(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    vch_id_t version = w->version;
    KIT_OK(world_say(w, 0, VCH_KIND_DATASET, kit_dataset("second", &w->party_id[0])));
    w->dataset = w->last;
    (void)world_root(w);
    REFUSED(w, world_say(w, 0, VCH_KIND_VERSION, world_version(w, NULL, 4, 0, true, 1)), VCH_ERR_CONFLICT);
    REFUSED(w, world_say(w, 0, VCH_KIND_VERSION, world_version(w, &version, 4, 0, true, 5)), VCH_ERR_CONFLICT);
    KIT_OK(world_say(w, 0, VCH_KIND_VERSION, world_version(w, NULL, 4, 0, true, 5)));
    (void)world_root(w);
    REFUSED(w, world_records(w, VCH_KIND_CONSENT, 7, &w->terms[0]), VCH_ERR_REFERENCE); /* the first one's subject */
    assert_int_equal(world_records(w, VCH_KIND_CONSENT, 3, &w->terms[0]), VCH_OK);
    world_free(w);
}

/* Outcomes and state-commits are made, never submitted, however well signed; unknown kinds neither. */
static void what_the_ledger_makes_is_not_submitted(void **state)
{
    (void)state;
    world_t *w = world_new(4);
    static const unsigned kinds[] = {VCH_KIND_STATE_COMMIT, VCH_KIND_OUTCOME, 77, 255};
    (void)world_root(w);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        vch_buf_t f = world_access(&w->version, KIT_SCIENCE, KIT_TRAINING, 0);
        REFUSED(w, world_say(w, 0, (vch_kind_t)kinds[i], f), VCH_ERR_UNSUPPORTED);
    }
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    world_free(w);
}

/* The leaf of a state-commit, byte for byte, as a transaction. */
static void a_copied_state_commit_is_no_transaction(void **state)
{
    (void)state;
    world_t *w = world_new(4);
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    (void)world_root(w);
    const world_leaf_t *leaf = &w->leaf[w->leaves - 1];
    vch_prepared_t prepared;
    vch_tx_t tx = {.entry = {leaf->bytes, leaf->n}};
    vch_err_t err = {0};
    vch_rc rc = vch_tx_prepare(&prepared, &tx, &w->arena, &err);
    assert_true(rc == VCH_ERR_FORMAT || rc == VCH_ERR_UNSUPPORTED);
    assert_true(err.text[0] != 0);
    world_free(w);
}

static void one_bad_statement_refuses_all(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    say_t s = {.subject = 1, .serial = 1, .terms = &w->terms[0], .until = WORLD_FOREVER, .how = VCH_HOW_RECORDED};
    vch_buf_t fields[3];
    fields[0] = world_statement(w, VCH_KIND_CONSENT, &s);
    s.subject = 2;
    fields[1] = world_statement(w, VCH_KIND_CONSENT, &s);
    s.subject = 1; /* serial 1 again */
    fields[2] = world_statement(w, VCH_KIND_CONSENT, &s);
    kit_tx_t t = kit_tx(&w->network, VCH_KIND_CONSENT, w->sequence[0] + 1, w->party[0], fields, 3, 0);
    REFUSED(w, world_apply(w, &t), VCH_ERR_REPLAY);
    vch_cell_t cell;
    KIT_OK(vch_state_cell(w->state, &w->dataset, 2, &cell, NULL));
    assert_int_equal(cell.serial, 0);
    assert_int_equal(cell.index, 0);
    world_free(w);
}

/* ---- access ---- */

static void decisions_follow_the_terms(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    assert_int_equal(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING), VCH_OK);
    assert_string_equal(w->outcome.rule, "deny/no-consent");
    assert_int_equal(world_owner_says(w, VCH_KIND_CONSENT, 0, &w->terms[2]), VCH_OK);
    assert_int_equal(world_owner_says(w, VCH_KIND_CONSENT, 1, &w->terms[0]), VCH_OK);
    assert_int_equal(world_owner_says(w, VCH_KIND_CONSENT, 1, &w->terms[1]), VCH_OK); /* forbid wins */
    for (uint32_t i = 2; i < 6; i++) assert_int_equal(world_owner_says(w, VCH_KIND_CONSENT, i, &w->terms[0]), VCH_OK);
    assert_int_equal(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING), VCH_OK);
    assert_int_equal(w->outcome.count, 4);
    vch_buf_t bits;
    vch_buf_init(&bits, 4096);
    KIT_OK(vch_state_bitmap(w->state, &w->outcome.request, &bits, NULL));
    assert_int_equal(bits.p[0], 0x3c); /* rows 2 to 5 */
    vch_buf_free(&bits);
    assert_int_equal(world_ask(w, 1, KIT_MARKETING, KIT_TRAINING), VCH_OK);
    assert_false(w->outcome.permit);
    REFUSED(w, world_ask(w, 1, "https://example.org/spam", KIT_TRAINING), VCH_ERR_REFERENCE);
    REFUSED(w, world_say(w, 1, VCH_KIND_ACCESS, world_access(&w->version, KIT_SCIENCE, KIT_TRAINING, 2)),
            VCH_ERR_REFERENCE);
    REFUSED(w, world_say(w, 1, VCH_KIND_ACCESS, world_access(&w->dataset, KIT_SCIENCE, KIT_TRAINING, 0)),
            VCH_ERR_REFERENCE);
    world_free(w);
}

/* ---- own access ---- */

static vch_rc own_says(world_t *w, world_own_t o)
{
    return world_say(w, 1, VCH_KIND_OWN_ACCESS, world_own_access(w, &o));
}

static void one_bit(world_t *w, uint32_t row)
{
    vch_buf_t bits;
    vch_buf_init(&bits, 4096);
    KIT_OK(vch_state_bitmap(w->state, &w->outcome.request, &bits, NULL));
    assert_int_equal(bits.n, VCH_BITMAP_LEAF);
    for (uint32_t i = 0; i < 8 * VCH_BITMAP_LEAF; i++) assert_int_equal(vch_bit(bits.p, i), i == row);
    vch_buf_free(&bits);
}

/* Before anything was given, and after all was withdrawn. */
static void a_subject_reads_its_own_rows(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    vch_cell_t cell, before;
    assert_int_equal(world_reads_own(w, 3), VCH_OK);
    assert_true(w->outcome.permit);
    assert_string_equal(w->outcome.rule, "permit/own");
    assert_int_equal(w->outcome.count, 1);
    assert_int_equal(w->outcome.expires.ms, w->now.ms + 900000);
    one_bit(w, 3);
    KIT_OK(vch_state_cell(w->state, &w->dataset, 3, &cell, NULL));
    assert_int_equal(cell.serial, 1);
    assert_int_equal(cell.index, 0);
    vch_hash_t leaf;
    vch_tree_leaf(&leaf, w->leaf[w->leaves - 2].tx->tx.statements[0]);
    assert_memory_equal(cell.last.b, leaf.b, 32);
    KIT_OK(world_owner_says(w, VCH_KIND_CONSENT, 3, &w->terms[0]));
    KIT_OK(world_owner_says(w, VCH_KIND_WITHDRAW, 3, NULL));
    KIT_OK(vch_state_cell(w->state, &w->dataset, 3, &before, NULL));
    assert_int_equal(own_says(w, (world_own_t){.subject = 3, .group = 1, .no_proof = true}), VCH_OK);
    assert_int_equal(w->outcome.count, 1);
    KIT_OK(vch_state_cell(w->state, &w->dataset, 3, &cell, NULL));
    assert_int_equal(cell.serial, 4);
    assert_int_equal(cell.index, before.index); /* what was said before stays as it is */
    assert_int_equal(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING), VCH_OK);
    assert_false(w->outcome.permit);
    world_free(w);
}

static void own_access_needs_that_subjects_key(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    vch_signer_t *other = world_owner(4);
    vch_id_t elsewhere = {{1}};
    REFUSED(w, own_says(w, (world_own_t){.subject = 3, .key = other}), VCH_ERR_KEY);
    REFUSED(w, own_says(w, (world_own_t){.subject = 3, .key = w->party[0]}), VCH_ERR_KEY); /* the custodian's */
    REFUSED(w, own_says(w, (world_own_t){.subject = 3, .no_proof = true}), VCH_ERR_KEY);
    REFUSED(w, own_says(w, (world_own_t){.subject = 3, .serial = 2}), VCH_ERR_REPLAY);
    REFUSED(w, own_says(w, (world_own_t){.subject = 3, .group = 2}), VCH_ERR_REFERENCE);
    REFUSED(w, own_says(w, (world_own_t){.subject = 3, .version = &elsewhere}), VCH_ERR_REFERENCE);
    REFUSED(w, own_says(w, (world_own_t){.subject = 10, .serial = 1}), VCH_ERR_REFERENCE);
    KIT_OK(world_reads_own(w, 3));
    REFUSED(w, own_says(w, (world_own_t){.subject = 3, .serial = 1}), VCH_ERR_REPLAY);
    REFUSED(w, own_says(w, (world_own_t){.subject = 3, .key = other}), VCH_ERR_KEY); /* known by now */
    vch_buf_t forged = world_own_access(w, &(world_own_t){.subject = 3});
    forged.p[forged.n - 1] ^= 1;
    REFUSED(w, world_say(w, 1, VCH_KIND_OWN_ACCESS, forged), VCH_ERR_SIGNATURE);
    vch_buf_t two[2] = {world_own_access(w, &(world_own_t){.subject = 3}),
                        world_own_access(w, &(world_own_t){.subject = 4})};
    kit_tx_t t = kit_tx(&w->network, VCH_KIND_OWN_ACCESS, w->sequence[1] + 1, w->party[1], two, 2, 0);
    REFUSED(w, world_apply(w, &t), VCH_ERR_FORMAT);
    KIT_OK(world_reads_own(w, 3));
    vch_signer_free(other);
    world_free(w);
}

/* An erasure stays the last word about its subject. */
static void nothing_is_left_to_an_erased_subject(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    vch_cell_t before, after;
    KIT_OK(world_reads_own(w, 3));
    KIT_OK(world_owner_says(w, VCH_KIND_ERASE, 3, NULL));
    KIT_OK(vch_state_cell(w->state, &w->dataset, 3, &before, NULL));
    for (int i = 0; i < 2; i++) {
        KIT_OK(world_reads_own(w, 3));
        assert_false(w->outcome.permit);
        assert_string_equal(w->outcome.rule, "deny/erased");
        assert_int_equal(w->outcome.count, 0);
        one_bit(w, UINT32_MAX);
    }
    KIT_OK(vch_state_cell(w->state, &w->dataset, 3, &after, NULL));
    assert_int_equal(after.serial, before.serial);
    assert_memory_equal(after.last.b, before.last.b, 32);
    KIT_OK(world_reads_own(w, 4));
    assert_true(w->outcome.permit);
    world_free(w);
}

/* Its rows of the version it names: removed there, they are there no more, and
 * still in the version before. */
static void own_rows_are_those_of_the_version(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    vch_id_t first = w->version;
    kit_fields_t f = kit_fields();
    uint8_t bits[VCH_BITMAP_LEAF] = {0xef, 0xc0}; /* all of ten but row 3 */
    kit_id(&f, VCH_F_VERSION_DATASET, w->dataset.b);
    kit_id(&f, VCH_F_VERSION_PREVIOUS, w->version.b);
    kit_list(&f, VCH_F_VERSION_EXTENTS, 0);
    vch_buf_t *b = kit_list(&f, VCH_F_VERSION_BITMAP, 1);
    KIT_OK(vch_cbor_map(b, 3));
    KIT_OK(vch_cbor_uint(b, VCH_F_BITLEAF_EXTENT));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_uint(b, VCH_F_BITLEAF_LEAF));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_uint(b, VCH_F_BITLEAF_BITS));
    KIT_OK(vch_cbor_bytes(b, bits, sizeof bits));
    KIT_OK(world_say(w, 0, VCH_KIND_VERSION, kit_done(&f)));
    w->version = w->last;
    KIT_OK(own_says(w, (world_own_t){.subject = 3}));
    assert_false(w->outcome.permit);
    assert_string_equal(w->outcome.rule, "deny/no-rows");
    KIT_OK(own_says(w, (world_own_t){.subject = 3, .serial = 2, .version = &first}));
    assert_int_equal(w->outcome.count, 1);
    one_bit(w, 3);
    KIT_OK(world_reads_own(w, 4));
    one_bit(w, 4);
    world_free(w);
}

/* ---- lineage ---- */

static vch_buf_t run_of(const vch_id_t *grant, size_t grants, uint64_t count)
{
    uint8_t h[32] = {5};
    kit_fields_t f = kit_fields();
    vch_buf_t *b = kit_list(&f, VCH_F_RUN_GRANTS, grants);
    for (size_t i = 0; i < grants; i++) KIT_OK(vch_cbor_bytes(b, grant[i].b, 32));
    kit_id(&f, VCH_F_RUN_SET_ROOT, h);
    kit_uint(&f, VCH_F_RUN_COUNT, count);
    kit_id(&f, VCH_F_RUN_ORDER_ROOT, h);
    kit_id(&f, VCH_F_RUN_CODE, h);
    kit_text(&f, VCH_F_RUN_PARAMETERS, "");
    kit_id(&f, VCH_F_RUN_ENVIRONMENT, h);
    kit_text(&f, VCH_F_RUN_NAME, "run");
    return kit_done(&f);
}

static vch_buf_t run_fields(const vch_id_t *grant, uint64_t count) { return run_of(grant, 1, count); }

/* Grants that overlap: apply can't know their union, but it is no larger than
 * their sum, nor than the version. */
static void a_run_uses_no_more_rows_than_there_are(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    vch_id_t grant[3];
    for (uint32_t i = 0; i < 4; i++) KIT_OK(world_owner_says(w, VCH_KIND_CONSENT, i, &w->terms[0]));
    for (unsigned i = 0; i < 3; i++) {
        KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
        grant[i] = w->last;
    }
    world_close(w);
    REFUSED(w, world_say(w, 1, VCH_KIND_RUN, run_of(grant, 1, 5)), VCH_ERR_DENIED);
    REFUSED(w, world_say(w, 1, VCH_KIND_RUN, run_of(grant, 2, 9)), VCH_ERR_DENIED);
    assert_non_null(strstr(w->err.text, "its grants permit 8"));
    REFUSED(w, world_say(w, 1, VCH_KIND_RUN, run_of(grant, 3, 11)), VCH_ERR_DENIED);
    assert_non_null(strstr(w->err.text, "its version has 10"));
    KIT_OK(world_say(w, 1, VCH_KIND_RUN, run_of(grant, 1, 4)));
    KIT_OK(world_say(w, 1, VCH_KIND_RUN, run_of(grant, 3, 10))); /* a lie for the verifier to find */
    world_free(w);
}

/* What a subject reads of itself is no party's to train on, its carrier's neither. */
static void no_run_takes_an_own_access(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    for (uint32_t i = 0; i < 4; i++) KIT_OK(world_owner_says(w, VCH_KIND_CONSENT, i, &w->terms[0]));
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    vch_id_t grant[2] = {w->last};
    KIT_OK(own_says(w, (world_own_t){.subject = 3}));
    grant[1] = w->last;
    world_close(w);
    REFUSED(w, world_say(w, 1, VCH_KIND_RUN, run_of(&grant[1], 1, 1)), VCH_ERR_ROLE);
    assert_non_null(strstr(w->err.text, "own access"));
    REFUSED(w, world_say(w, 1, VCH_KIND_RUN, run_of(grant, 2, 1)), VCH_ERR_ROLE);
    KIT_OK(world_say(w, 1, VCH_KIND_RUN, run_of(grant, 1, 1)));
    world_free(w);
}

static vch_buf_t run_end_fields(const vch_id_t *run, unsigned status, const uint8_t digest[32])
{
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_RUNEND_RUN, run->b);
    kit_uint(&f, VCH_F_RUNEND_STATUS, status);
    kit_list(&f, VCH_F_RUNEND_METRICS, 0);
    vch_buf_t *b = kit_list(&f, VCH_F_RUNEND_OUTPUTS, 1);
    KIT_OK(vch_cbor_map(b, 3));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_text(b, "model", 5));
    KIT_OK(vch_cbor_uint(b, 1));
    KIT_OK(vch_cbor_bytes(b, digest, 32));
    KIT_OK(vch_cbor_uint(b, 2));
    KIT_OK(vch_cbor_uint(b, 10));
    return kit_done(&f);
}

static vch_buf_t model_fields(const vch_id_t *run, const uint8_t digest[32])
{
    kit_fields_t f = kit_fields();
    if (run) kit_id(&f, VCH_F_MODEL_RUN, run->b);
    kit_id(&f, VCH_F_MODEL_DIGEST, digest);
    kit_text(&f, VCH_F_MODEL_NAME, "model");
    return kit_done(&f);
}

static vch_buf_t one_id(unsigned key, const vch_id_t *id, unsigned second, const char *text, int64_t number)
{
    kit_fields_t f = kit_fields();
    kit_id(&f, key, id->b);
    if (text) kit_text(&f, second, text);
    if (number >= 0) kit_uint(&f, second, (uint64_t)number);
    return kit_done(&f);
}

static vch_buf_t batch_fields(const vch_id_t *deployment, uint64_t first, uint64_t count, uint64_t from, uint64_t to,
                              uint64_t lost)
{
    uint8_t h[32] = {6};
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_DECISIONS_DEPLOYMENT, deployment->b);
    kit_uint(&f, VCH_F_DECISIONS_FIRST, first);
    kit_uint(&f, VCH_F_DECISIONS_COUNT, count);
    kit_id(&f, VCH_F_DECISIONS_ROOT, h);
    kit_uint(&f, VCH_F_DECISIONS_FROM, from);
    kit_uint(&f, VCH_F_DECISIONS_TO, to);
    kit_uint(&f, VCH_F_DECISIONS_LOST, lost);
    return kit_done(&f);
}

/* The clock of who logs decisions may be five minutes off, and no more. */
static void a_batch_lies_within_its_deployments_life(void **state)
{
    (void)state;
    world_t *w = world_new(4);
    uint8_t digest[32] = {8};
    KIT_OK(world_say(w, 1, VCH_KIND_MODEL, model_fields(NULL, digest)));
    vch_id_t model = w->last;
    w->now.ms += 1000;
    world_close(w);
    KIT_OK(world_say(w, 1, VCH_KIND_DEPLOYMENT, one_id(0, &model, 1, "ward", -1)));
    vch_id_t y = w->last;
    uint64_t since = w->now.ms, skew = VCH_CLOCK_SKEW_MS;
    world_close(w);
    w->now.ms += 3600000;
    uint64_t now = w->now.ms;
    REFUSED(w, world_say(w, 1, VCH_KIND_DECISIONS, batch_fields(&y, 0, 1, since - skew - 1, now, 0)), VCH_ERR_CLOCK);
    assert_non_null(strstr(w->err.text, "before its deployment"));
    REFUSED(w, world_say(w, 1, VCH_KIND_DECISIONS, batch_fields(&y, 0, 1, 0, 0, 0)), VCH_ERR_CLOCK);
    REFUSED(w, world_say(w, 1, VCH_KIND_DECISIONS, batch_fields(&y, 0, 1, now, now + skew + 1, 0)), VCH_ERR_CLOCK);
    assert_non_null(strstr(w->err.text, "after block time"));
    REFUSED(w, world_say(w, 1, VCH_KIND_DECISIONS, batch_fields(&y, 0, 1, now, 253402300799999, 0)), VCH_ERR_CLOCK);
    REFUSED(w, world_say(w, 1, VCH_KIND_DECISIONS, batch_fields(&y, 0, 1, now + 1, now, 0)), VCH_ERR_FORMAT);
    KIT_OK(world_say(w, 1, VCH_KIND_DECISIONS, batch_fields(&y, 0, 1, since - skew, now + skew, 0)));
    world_close(w);
    w->now.ms += 1; /* what was too early a moment ago */
    KIT_OK(world_say(w, 1, VCH_KIND_DECISIONS, batch_fields(&y, 1, 1, now, now + skew + 1, 0)));
    world_free(w);
}

static void lineage_checks_every_link(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    uint8_t digest[32] = {8}, other[32] = {9};
    REFUSED(w, world_say(w, 1, VCH_KIND_RUN, run_fields(&w->version, 1)), VCH_ERR_REFERENCE);
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    vch_id_t denied = w->last;
    REFUSED(w, world_say(w, 1, VCH_KIND_RUN, run_fields(&denied, 1)), VCH_ERR_DENIED);
    KIT_OK(world_owner_says(w, VCH_KIND_CONSENT, 2, &w->terms[0]));
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    vch_id_t grant = w->last;
    REFUSED(w, world_say(w, 2, VCH_KIND_RUN, run_fields(&grant, 1)), VCH_ERR_ROLE);
    REFUSED(w, world_say(w, 1, VCH_KIND_RUN, run_fields(&grant, 2)), VCH_ERR_DENIED);
    KIT_OK(world_say(w, 1, VCH_KIND_RUN, run_fields(&grant, 1)));
    vch_id_t run = w->last;
    REFUSED(w, world_say(w, 1, VCH_KIND_MODEL, model_fields(&run, digest)), VCH_ERR_CONFLICT);
    REFUSED(w, world_say(w, 2, VCH_KIND_RUN_END, run_end_fields(&run, 0, digest)), VCH_ERR_ROLE);
    KIT_OK(world_say(w, 1, VCH_KIND_RUN_END, run_end_fields(&run, 0, digest)));
    REFUSED(w, world_say(w, 1, VCH_KIND_RUN_END, run_end_fields(&run, 0, digest)), VCH_ERR_CONFLICT);
    REFUSED(w, world_say(w, 1, VCH_KIND_MODEL, model_fields(&run, other)), VCH_ERR_COMMITMENT);
    KIT_OK(world_say(w, 2, VCH_KIND_MODEL, model_fields(NULL, other))); /* an unproven import */
    KIT_OK(world_say(w, 1, VCH_KIND_MODEL, model_fields(&run, digest)));
    vch_id_t model = w->last;
    REFUSED(w, world_say(w, 2, VCH_KIND_DEPLOYMENT, one_id(0, &model, 1, "ward", -1)), VCH_ERR_ROLE);
    KIT_OK(world_say(w, 1, VCH_KIND_DEPLOYMENT, one_id(0, &model, 1, "ward", -1)));
    vch_id_t deployment = w->last;
    uint64_t now = w->now.ms;
    REFUSED(w, world_say(w, 1, VCH_KIND_DECISIONS, batch_fields(&deployment, 1, 5, now, now, 0)), VCH_ERR_CONFLICT);
    REFUSED(w, world_say(w, 1, VCH_KIND_DECISIONS, batch_fields(&deployment, 0, 5, now, now - 1, 0)), VCH_ERR_FORMAT);
    KIT_OK(world_say(w, 1, VCH_KIND_DECISIONS, batch_fields(&deployment, 0, 5, now, now + 1, 2)));
    KIT_OK(world_say(w, 1, VCH_KIND_DECISIONS, batch_fields(&deployment, 7, 1, now, now + 2, 0)));
    KIT_OK(world_say(w, 1, VCH_KIND_DEPLOYMENT_END, one_id(0, &deployment, 1, NULL, 0)));
    REFUSED(w, world_say(w, 1, VCH_KIND_DECISIONS, batch_fields(&deployment, 8, 1, now, now, 0)), VCH_ERR_CONFLICT);
    REFUSED(w, world_say(w, 1, VCH_KIND_DEPLOYMENT_END, one_id(0, &deployment, 1, NULL, 0)), VCH_ERR_CONFLICT);
    kit_fields_t f = kit_fields();
    kit_id(&f, 0, model.b);
    kit_uint(&f, 1, 1);
    kit_text(&f, 2, "ticket");
    KIT_OK(world_say(w, 1, VCH_KIND_REMEDY, kit_done(&f)));
    world_free(w);
}

static void grants_end(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    KIT_OK(world_owner_says(w, VCH_KIND_CONSENT, 2, &w->terms[0]));
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    vch_id_t grant = w->last;
    world_close(w);
    w->now.ms += 900000;
    KIT_OK(world_say(w, 1, VCH_KIND_RUN, run_fields(&grant, 1))); /* the last millisecond */
    world_close(w);
    w->now.ms += 1;
    REFUSED(w, world_say(w, 1, VCH_KIND_RUN, run_fields(&grant, 1)), VCH_ERR_EXPIRED);
    world_free(w);
}

static void time_does_not_run_backwards(void **state)
{
    (void)state;
    world_t *w = world_new(4);
    w->now.ms--;
    REFUSED(w, world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING), VCH_ERR_CLOCK);
    w->now.ms++;
    assert_int_equal(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING), VCH_OK);
    w->now.ms++; /* a block has one time */
    assert_int_equal(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING), VCH_ERR_CLOCK);
    world_free(w);
}

static void proofs_hold_at_block_ends(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    vch_smt_proof_t *p = malloc(sizeof *p);
    vch_state_key_t key = vch_key_id('d', w->dataset.b), none = vch_key_id('d', w->version.b);
    vch_buf_t b;
    vch_hash_t path, value, root = world_root(w);
    vch_buf_init(&b, 4096);
    KIT_OK(vch_state_get(w->state, vch_key_slice(&key), &b, NULL));
    vch_sha256(&value, b.p, b.n);
    vch_sha256(&path, key.b, key.n);
    KIT_OK(vch_state_prove(w->state, vch_key_slice(&key), p, NULL));
    assert_int_equal(p->end, VCH_SMT_MEMBER);
    assert_true(vch_smt_verify_member(&root, &path, &value, p->sibling, p->depth));
    value.b[0] ^= 1;
    assert_false(vch_smt_verify_member(&root, &path, &value, p->sibling, p->depth));
    KIT_OK(vch_state_prove(w->state, vch_key_slice(&none), p, NULL));
    assert_int_not_equal(p->end, VCH_SMT_MEMBER);
    vch_sha256(&path, none.b, none.n);
    assert_true(vch_smt_verify_absent(&root, &path, p->end == VCH_SMT_OTHER ? &p->leaf : NULL, p->sibling, p->depth));
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    assert_int_equal(vch_state_prove(w->state, vch_key_slice(&key), p, NULL), VCH_ERR_CONFLICT);
    vch_buf_free(&b);
    free(p);
    world_free(w);
}

/* ---- what a hostile party may try ---- */

/* Replay never sees a refused transaction, so nothing of it may reach the root. */
static void a_refusal_leaves_nothing_for_the_root(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    say_t s = {.subject = 1, .serial = 1, .terms = &w->terms[0], .until = WORLD_FOREVER, .how = VCH_HOW_RECORDED};
    vch_buf_t fields[2] = {world_statement(w, VCH_KIND_CONSENT, &s), world_statement(w, VCH_KIND_CONSENT, &s)};
    kit_tx_t t = kit_tx(&w->network, VCH_KIND_CONSENT, w->sequence[0] + 1, w->party[0], fields, 2, 0);
    assert_int_equal(world_apply(w, &t), VCH_ERR_REPLAY);
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    vch_hash_t root = world_root(w), again;
    vch_kv_t *kv;
    KIT_OK(vch_kv_open_memory(&kv, NULL));
    vch_err_t err = {0};
    vch_rc rc = world_replay(w, kv, true, &again, &err);
    if (rc != VCH_OK) print_message("%s\n", err.text);
    assert_int_equal(rc, VCH_OK);
    assert_true(vch_hash_eq(&root, &again));
    vch_kv_close(kv);
    world_free(w);
}

static vch_buf_t piece_fields(uint8_t extent, uint64_t offset, const uint8_t *list, size_t n)
{
    uint8_t id[32] = {extent};
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_PIECE_EXTENT, id);
    kit_uint(&f, VCH_F_PIECE_OFFSET, offset);
    kit_bytes(&f, VCH_F_PIECE_LIST, list, n);
    return kit_done(&f);
}

static vch_buf_t listed_version(world_t *w, uint8_t extent, const uint8_t *list, uint32_t rows)
{
    uint8_t id[32] = {extent}, root[32] = {9};
    vch_hash_t hash;
    vch_sha256(&hash, list, 4 * (size_t)rows);
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_VERSION_DATASET, w->dataset.b);
    kit_id(&f, VCH_F_VERSION_PREVIOUS, w->version.b);
    vch_buf_t *b = kit_list(&f, VCH_F_VERSION_EXTENTS, 1);
    KIT_OK(vch_cbor_map(b, 4));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_bytes(b, id, 32));
    KIT_OK(vch_cbor_uint(b, 1));
    KIT_OK(vch_cbor_uint(b, rows));
    KIT_OK(vch_cbor_uint(b, 3));
    KIT_OK(vch_cbor_bytes(b, hash.b, 32));
    KIT_OK(vch_cbor_uint(b, 4));
    KIT_OK(vch_cbor_bytes(b, root, 32));
    kit_list(&f, VCH_F_VERSION_BITMAP, 0);
    return kit_done(&f);
}

/* Neither before nor after its version can another custodian spoil the list of
 * an extent's subjects. */
static void nobody_else_touches_an_extents_subjects(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    const uint8_t list[12] = {0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 3}, junk[4] = {0, 0, 0, 9};
    KIT_OK(world_owner_says(w, VCH_KIND_CONSENT, 3, &w->terms[0]));
    KIT_OK(world_say(w, 1, VCH_KIND_SUBJECTS, piece_fields(7, 0, junk, 4))); /* another custodian, same id */
    REFUSED(w, world_say(w, 0, VCH_KIND_SUBJECTS, piece_fields(7, 1, list, 12)), VCH_ERR_CONFLICT);
    KIT_OK(world_say(w, 0, VCH_KIND_SUBJECTS, piece_fields(7, 0, list, 12)));
    KIT_OK(world_say(w, 0, VCH_KIND_VERSION, listed_version(w, 7, list, 3)));
    w->version = w->last;
    REFUSED(w, world_say(w, 1, VCH_KIND_SUBJECTS, piece_fields(7, 1, junk, 4)), VCH_ERR_CONFLICT);
    REFUSED(w, world_say(w, 0, VCH_KIND_SUBJECTS, piece_fields(7, 3, junk, 4)), VCH_ERR_CONFLICT);
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    assert_int_equal(w->outcome.count, 3); /* row 3 of the old extent, rows 0 and 2 of the new one */
    KIT_OK(world_reads_own(w, 3));         /* the same ones are its own */
    assert_int_equal(w->outcome.count, 3);
    KIT_OK(world_reads_own(w, 1));
    assert_int_equal(w->outcome.count, 2);
    KIT_OK(world_reads_own(w, 2));
    assert_int_equal(w->outcome.count, 1);
    world_root(w);
    KIT_OK(vch_state_save(w->state, NULL));
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    assert_int_equal(w->outcome.count, 3);
    world_free(w);
}

/* A few bytes may not claim gigabytes: one transaction brings at most 2^26
 * subjects and as many rows. */
static void a_small_version_is_not_a_big_one(void **state)
{
    (void)state;
    world_t *w = world_new(4);
    kit_fields_t f = kit_fields();
    uint8_t id[32] = {3}, root[32] = {9};
    kit_id(&f, VCH_F_VERSION_DATASET, w->dataset.b);
    kit_id(&f, VCH_F_VERSION_PREVIOUS, w->version.b);
    kit_list(&f, VCH_F_VERSION_EXTENTS, 0);
    kit_list(&f, VCH_F_VERSION_BITMAP, 0);
    vch_buf_t *b = kit_key(&f, VCH_F_VERSION_SUBJECTS);
    KIT_OK(vch_cbor_map(b, 3));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_uint(b, 4));
    KIT_OK(vch_cbor_uint(b, 1));
    KIT_OK(vch_cbor_uint(b, (1u << 26) + 1));
    KIT_OK(vch_cbor_uint(b, 2));
    KIT_OK(vch_cbor_bytes(b, id, 32));
    REFUSED(w, world_say(w, 0, VCH_KIND_VERSION, kit_done(&f)), VCH_ERR_LIMIT);
    f = kit_fields();
    kit_id(&f, VCH_F_VERSION_DATASET, w->dataset.b);
    kit_id(&f, VCH_F_VERSION_PREVIOUS, w->version.b);
    b = kit_list(&f, VCH_F_VERSION_EXTENTS, 65);
    for (uint8_t i = 0; i < 65; i++) {
        id[1] = i;
        KIT_OK(vch_cbor_map(b, 4));
        KIT_OK(vch_cbor_uint(b, 0));
        KIT_OK(vch_cbor_bytes(b, id, 32));
        KIT_OK(vch_cbor_uint(b, 1));
        KIT_OK(vch_cbor_uint(b, 1u << 20));
        KIT_OK(vch_cbor_uint(b, 2));
        KIT_OK(vch_cbor_uint(b, 0));
        KIT_OK(vch_cbor_uint(b, 4));
        KIT_OK(vch_cbor_bytes(b, root, 32));
    }
    kit_list(&f, VCH_F_VERSION_BITMAP, 0);
    b = kit_key(&f, VCH_F_VERSION_SUBJECTS);
    KIT_OK(vch_cbor_map(b, 3));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_uint(b, 4));
    KIT_OK(vch_cbor_uint(b, 1));
    KIT_OK(vch_cbor_uint(b, 1u << 20));
    KIT_OK(vch_cbor_uint(b, 2));
    KIT_OK(vch_cbor_bytes(b, id, 32));
    REFUSED(w, world_say(w, 0, VCH_KIND_VERSION, kit_done(&f)), VCH_ERR_LIMIT);
    world_free(w);
}

/* Thousands of tiny pieces would each copy the whole list. */
static void crumbs_of_subjects_are_refused(void **state)
{
    (void)state;
    enum { CRUMBS = 6000 };
    static vch_buf_t crumb[CRUMBS];
    const uint8_t one[4] = {0, 0, 0, 1};
    world_t *w = world_new(4);
    for (unsigned i = 0; i < CRUMBS; i++) crumb[i] = piece_fields(7, i, one, 4);
    kit_tx_t t = kit_tx(&w->network, VCH_KIND_SUBJECTS, w->sequence[0] + 1, w->party[0], crumb, CRUMBS, 0);
    REFUSED(w, world_apply(w, &t), VCH_ERR_LIMIT);
    for (unsigned i = 0; i < 100; i++) crumb[i] = piece_fields(7, i, one, 4);
    t = kit_tx(&w->network, VCH_KIND_SUBJECTS, w->sequence[0] + 1, w->party[0], crumb, 100, 0);
    KIT_OK(world_apply(w, &t));
    world_free(w);
}

static void a_grant_counts_once_in_a_run(void **state)
{
    (void)state;
    world_t *w = world_new(10);
    uint8_t h[32] = {5};
    KIT_OK(world_owner_says(w, VCH_KIND_CONSENT, 2, &w->terms[0]));
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    kit_fields_t f = kit_fields();
    vch_buf_t *b = kit_list(&f, VCH_F_RUN_GRANTS, 2);
    for (unsigned i = 0; i < 2; i++) KIT_OK(vch_cbor_bytes(b, w->last.b, 32));
    kit_id(&f, VCH_F_RUN_SET_ROOT, h);
    kit_uint(&f, VCH_F_RUN_COUNT, 2); /* of the one row that is permitted */
    kit_id(&f, VCH_F_RUN_ORDER_ROOT, h);
    kit_id(&f, VCH_F_RUN_CODE, h);
    kit_text(&f, VCH_F_RUN_PARAMETERS, "");
    kit_id(&f, VCH_F_RUN_ENVIRONMENT, h);
    kit_text(&f, VCH_F_RUN_NAME, "run");
    REFUSED(w, world_say(w, 1, VCH_KIND_RUN, kit_done(&f)), VCH_ERR_CONFLICT);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(genesis_comes_once),
        cmocka_unit_test(genesis_must_be_signed_by_its_first_party),
        cmocka_unit_test(parties_are_registered_by_registrars_only),
        cmocka_unit_test(a_name_is_one_partys),
        cmocka_unit_test(keys_rotate_and_promises_bind),
        cmocka_unit_test(envelopes_are_checked),
        cmocka_unit_test(sequences_are_used_once_within_a_window),
        cmocka_unit_test(the_same_entry_twice_is_found),
        cmocka_unit_test(roles_bind),
        cmocka_unit_test(versions_chain),
        cmocka_unit_test(live_bits_change_within_the_rows),
        cmocka_unit_test(terms_use_the_vocabulary_and_come_once),
        cmocka_unit_test(owners_give_and_withdraw),
        cmocka_unit_test(an_old_consent_cannot_be_replayed),
        cmocka_unit_test(only_the_subjects_key_speaks_for_it),
        cmocka_unit_test(custodians_record_until_the_owner_speaks),
        cmocka_unit_test(consents_refer_to_what_is_there),
        cmocka_unit_test(rows_of_another_dataset_are_refused),
        cmocka_unit_test(what_the_ledger_makes_is_not_submitted),
        cmocka_unit_test(a_copied_state_commit_is_no_transaction),
        cmocka_unit_test(one_bad_statement_refuses_all),
        cmocka_unit_test(decisions_follow_the_terms),
        cmocka_unit_test(a_subject_reads_its_own_rows),
        cmocka_unit_test(own_access_needs_that_subjects_key),
        cmocka_unit_test(nothing_is_left_to_an_erased_subject),
        cmocka_unit_test(own_rows_are_those_of_the_version),
        cmocka_unit_test(no_run_takes_an_own_access),
        cmocka_unit_test(a_run_uses_no_more_rows_than_there_are),
        cmocka_unit_test(lineage_checks_every_link),
        cmocka_unit_test(a_batch_lies_within_its_deployments_life),
        cmocka_unit_test(grants_end),
        cmocka_unit_test(time_does_not_run_backwards),
        cmocka_unit_test(proofs_hold_at_block_ends),
        cmocka_unit_test(a_refusal_leaves_nothing_for_the_root),
        cmocka_unit_test(nobody_else_touches_an_extents_subjects),
        cmocka_unit_test(a_small_version_is_not_a_big_one),
        cmocka_unit_test(crumbs_of_subjects_are_refused),
        cmocka_unit_test(a_grant_counts_once_in_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
