/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds an extent: the map comes back, and the state machine takes an
 * extent into the vault only when registered, different parties hold it and
 * every holder signed the same roots. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "entry/holding.h"
#include "world.h"

#define TRUSTEES 3u
#define STORES 3u

typedef struct {
    world_t *w;
    vch_signer_t *trustee[TRUSTEES], *storage[STORES];
    vch_tree_about_t about;
    vch_holding_t h;
    uint8_t signature[6][VCH_SIG_LEN];
} vault_t;

static void register_one(vault_t *v, const char *name, unsigned roles, const vch_signer_t *key)
{
    vch_buf_t fields;
    vch_buf_init(&fields, 4096);
    kit_party_map(&fields, name, roles, key);
    KIT_OK(world_say(v->w, 0, VCH_KIND_PARTY, fields));
}

static void sign_root(const vault_t *v, unsigned set, unsigned position, uint8_t ret[VCH_SIG_LEN])
{
    vch_root_t message;
    vch_buf_t payload, cose;
    vch_cose_t read;
    vch_buf_init(&payload, 1024);
    vch_buf_init(&cose, 2048);
    KIT_OK(vch_holding_message(&message, &v->h, &v->about, set));
    KIT_OK(vch_root_put(&payload, &message));
    KIT_OK(vch_cose_sign(&cose, v->trustee[position], vch_buf_slice(&payload), NULL));
    KIT_OK(vch_cose_read(&read, vch_buf_slice(&cose)));
    memcpy(ret, read.sig, VCH_SIG_LEN);
    vch_buf_free(&payload);
    vch_buf_free(&cose);
}

static void sign_all(vault_t *v)
{
    for (unsigned set = 0; set < v->h.sets; set++)
        for (unsigned i = 0; i < vch_holding_holders(&v->h); i++)
            sign_root(v, set, vch_holding_holder(&v->h, set, i), v->signature[2 * set + i]);
}

static vault_t *vault_new(void)
{
    static const char *const names[] = {"trustee-1", "trustee-2", "trustee-3"};
    static const char *const stores[] = {"storage-1", "storage-2", "storage-3"};
    vault_t *v = vch_alloc(sizeof *v);
    v->w = world_new(10);
    v->h = (vch_holding_t){.n = 3, .t = 2, .sets = 3, .k = 2, .nodes = STORES, .shards_root = {{7}}};
    v->about = (vch_tree_about_t){.network = v->w->network, .extent = {{2}}, .n = 3, .t = 2, .groups = 2, .rows = 2};
    for (unsigned i = 0; i < TRUSTEES; i++) {
        v->trustee[i] = kit_signer(500 + i, i == 1 ? VCH_ALG_P256 : VCH_ALG_ED25519);
        v->h.trustee[i] = kit_keyid(v->trustee[i]);
        v->h.root[i].b[0] = (uint8_t)(i + 1);
        register_one(v, names[i], VCH_ROLE_TRUSTEE, v->trustee[i]);
        v->storage[i] = kit_signer(600 + i, VCH_ALG_ED25519);
        v->h.storage[i] = kit_keyid(v->storage[i]);
        register_one(v, stores[i], VCH_ROLE_STORAGE, v->storage[i]);
    }
    sign_all(v);
    return v;
}

static void vault_free(vault_t *v)
{
    for (unsigned i = 0; i < TRUSTEES; i++) vch_signer_free(v->trustee[i]);
    for (unsigned i = 0; i < STORES; i++) vch_signer_free(v->storage[i]);
    world_free(v->w);
    vch_free(v);
}

/* A version with one more extent of two rows, held as v->h says. */
static vch_buf_t version_in_vault(vault_t *v, uint8_t id_byte)
{
    kit_fields_t f = kit_fields();
    uint8_t id[32] = {id_byte}, root[32] = {9};
    kit_id(&f, VCH_F_VERSION_DATASET, v->w->dataset.b);
    kit_id(&f, VCH_F_VERSION_PREVIOUS, v->w->version.b);
    vch_buf_t *b = kit_list(&f, VCH_F_VERSION_EXTENTS, 1);
    KIT_OK(vch_cbor_map(b, 5));
    KIT_OK(vch_cbor_uint(b, VCH_F_EXTENT_ID));
    KIT_OK(vch_cbor_bytes(b, id, 32));
    KIT_OK(vch_cbor_uint(b, VCH_F_EXTENT_COUNT));
    KIT_OK(vch_cbor_uint(b, 2));
    KIT_OK(vch_cbor_uint(b, VCH_F_EXTENT_FIRST));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_uint(b, VCH_F_EXTENT_ROWS_ROOT));
    KIT_OK(vch_cbor_bytes(b, root, 32));
    KIT_OK(vch_cbor_uint(b, VCH_F_EXTENT_VAULT));
    KIT_OK(vch_holding_put(b, &v->h, (const uint8_t(*)[VCH_SIG_LEN])v->signature));
    kit_list(&f, VCH_F_VERSION_BITMAP, 0);
    return kit_done(&f);
}

static vch_rc say_version(vault_t *v) { return world_say(v->w, 0, VCH_KIND_VERSION, version_in_vault(v, 2)); }

static void an_extent_goes_into_the_vault(void **state)
{
    (void)state;
    vault_t *v = vault_new();
    vch_buf_t value;
    vch_holding_t got;
    vch_root_t message;
    assert_int_equal(say_version(v), VCH_OK);
    vch_state_key_t key = vch_key_id_u32('w', v->w->dataset.b, 1);
    vch_buf_init(&value, 65536);
    KIT_OK(vch_state_get(v->w->state, vch_key_slice(&key), &value, NULL));
    KIT_OK(vch_holding_get(&got, vch_buf_slice(&value)));
    assert_int_equal(got.n, 3);
    assert_int_equal(got.k, 2);
    assert_memory_equal(got.root, v->h.root, sizeof v->h.root);
    assert_memory_equal(got.trustee, v->h.trustee, sizeof v->h.trustee);
    assert_memory_equal(got.storage, v->h.storage, sizeof v->h.storage);
    for (unsigned set = 0; set < 3; set++)
        for (unsigned i = 0; i < 2; i++) {
            unsigned p = vch_holding_holder(&got, set, i);
            const vch_pubkey_t *who = vch_signer_public(v->trustee[p]);
            KIT_OK(vch_holding_message(&message, &got, &v->about, set));
            KIT_OK(vch_holding_verify(&message, who, vch_holding_signature(&got, set, i)));
        }
    vch_buf_free(&value);
    vault_free(v);
}

#define REFUSED(v, rc) assert_int_equal(say_version(v), rc)

static void every_holder_must_have_signed(void **state)
{
    (void)state;
    vault_t *v = vault_new();
    for (unsigned i = 0; i < 6; i++) {
        v->signature[i][5] ^= 1;
        REFUSED(v, VCH_ERR_SIGNATURE);
        v->signature[i][5] ^= 1;
    }
    /* two holders of one tree that saw different leaves */
    v->h.root[1].b[3] ^= 1;
    REFUSED(v, VCH_ERR_SIGNATURE);
    sign_root(v, 1, vch_holding_holder(&v->h, 1, 0), v->signature[2]);
    REFUSED(v, VCH_ERR_SIGNATURE);
    v->h.root[1].b[3] ^= 1;
    sign_all(v);
    /* signed for another number of rows, groups, another extent, network */
    v->about.rows++;
    sign_all(v);
    REFUSED(v, VCH_ERR_SIGNATURE);
    v->about.rows--;
    v->about.groups++;
    sign_all(v);
    REFUSED(v, VCH_ERR_SIGNATURE);
    v->about.groups--;
    v->about.extent.b[9] ^= 1;
    sign_all(v);
    REFUSED(v, VCH_ERR_SIGNATURE);
    v->about.extent.b[9] ^= 1;
    v->about.network.b[9] ^= 1;
    sign_all(v);
    REFUSED(v, VCH_ERR_SIGNATURE);
    v->about.network.b[9] ^= 1;
    sign_all(v);
    REFUSED(v, VCH_OK);
    vault_free(v);
}

static void holders_are_registered_for_it(void **state)
{
    (void)state;
    vault_t *v = vault_new();
    vch_keyid_t good = v->h.trustee[2], store = v->h.storage[0];
    v->h.trustee[2] = (vch_keyid_t){{1}};
    REFUSED(v, VCH_ERR_REFERENCE);
    v->h.trustee[2] = v->h.storage[2];
    REFUSED(v, VCH_ERR_ROLE);
    v->h.trustee[2] = good;
    v->h.storage[0] = v->h.trustee[0];
    REFUSED(v, VCH_ERR_ROLE);
    v->h.storage[0] = (vch_keyid_t){{1}};
    REFUSED(v, VCH_ERR_REFERENCE);
    v->h.storage[0] = store;
    REFUSED(v, VCH_OK);
    vault_free(v);
}

static void revoke(vault_t *v, const vch_id_t *party, const vch_signer_t *key)
{
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_PARTYKEY_PARTY, party->b);
    kit_uint(&f, VCH_F_PARTYKEY_ACTION, VCH_KEY_REVOKE);
    kit_bytes(&f, VCH_F_PARTYKEY_KEY, vch_signer_public(key)->b, vch_signer_public(key)->n);
    kit_uint(&f, VCH_F_PARTYKEY_REASON, 1);
    KIT_OK(world_say(v->w, 0, VCH_KIND_PARTY_KEY, kit_done(&f)));
}

static void a_revoked_trustee_takes_no_extent(void **state)
{
    (void)state;
    vault_t *v = vault_new();
    vch_signer_t *late = kit_signer(700, VCH_ALG_ED25519);
    register_one(v, "trustee-4", VCH_ROLE_TRUSTEE, late);
    vch_id_t party = v->w->last;
    vch_signer_free(v->trustee[0]);
    v->trustee[0] = late;
    v->h.trustee[0] = kit_keyid(late);
    sign_all(v);
    revoke(v, &party, late);
    REFUSED(v, VCH_ERR_KEY);
    vault_free(v);
}

/* One party with two keys is one breach, not two. */
static void positions_belong_to_different_parties(void **state)
{
    (void)state;
    vault_t *v = vault_new();
    vch_signer_t *two[2] = {kit_signer(710, VCH_ALG_ED25519), kit_signer(711, VCH_ALG_ED25519)};
    kit_fields_t f = kit_fields();
    kit_text(&f, VCH_F_PARTY_NAME, "trustee-5");
    kit_uint(&f, VCH_F_PARTY_ROLES, VCH_ROLE_TRUSTEE | VCH_ROLE_STORAGE);
    vch_buf_t *b = kit_list(&f, VCH_F_PARTY_KEYS, 2);
    for (int i = 0; i < 2; i++) KIT_OK(vch_cbor_bytes(b, vch_signer_public(two[i])->b, vch_signer_public(two[i])->n));
    KIT_OK(world_say(v->w, 0, VCH_KIND_PARTY, kit_done(&f)));
    vch_keyid_t store[2] = {v->h.storage[0], v->h.storage[2]};
    v->h.storage[0] = kit_keyid(two[0]);
    v->h.storage[2] = kit_keyid(two[1]);
    REFUSED(v, VCH_ERR_CONFLICT);
    v->h.storage[0] = store[0];
    v->h.storage[2] = store[1];
    for (int i = 0; i < 2; i++) {
        vch_signer_free(v->trustee[i]);
        v->trustee[i] = two[i];
        v->h.trustee[i] = kit_keyid(two[i]);
    }
    sign_all(v);
    REFUSED(v, VCH_ERR_CONFLICT);
    vault_free(v);
}

static void numbers_that_cannot_be(void **state)
{
    (void)state;
    vault_t *v = vault_new();
    vch_buf_t b;
    vch_buf_init(&b, 65536);
    const uint8_t(*signature)[VCH_SIG_LEN] = (const uint8_t(*)[VCH_SIG_LEN])v->signature;
    vch_holding_t bad[] = {v->h, v->h, v->h, v->h, v->h, v->h, v->h, v->h};
    bad[0].t = 3;
    bad[1].sets = 2;
    bad[2].k = 3;
    bad[3].k = 0;
    bad[4].nodes = 17;
    bad[5].n = 36;
    bad[6].trustee[2] = bad[6].trustee[0];
    bad[7].storage[1] = bad[7].storage[2];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(vch_holding_put(&b, &bad[i], signature), VCH_ERR_LIMIT);
    assert_int_equal(b.n, 0);
    vch_holding_t one = v->h;
    one.k = one.nodes = 1;
    assert_int_equal(vch_holding_put(&b, &one, signature), VCH_OK);
    vch_buf_free(&b);
    vault_free(v);
}

/* No change of one byte of the map is read as the same holding, and none is
 * read beyond its bytes (the sanitizer looks). */
static void every_byte_counts(void **state)
{
    (void)state;
    vault_t *v = vault_new();
    vch_buf_t b;
    vch_holding_t got;
    vch_buf_init(&b, 65536);
    KIT_OK(vch_holding_put(&b, &v->h, (const uint8_t(*)[VCH_SIG_LEN])v->signature));
    KIT_OK(vch_holding_get(&got, vch_buf_slice(&b)));
    for (size_t i = 0; i < b.n; i++) {
        vch_holding_t other;
        memset(&other, 0, sizeof other);
        b.p[i] ^= 1;
        if (vch_holding_get(&other, vch_buf_slice(&b)) == VCH_OK) {
            bool same = memcmp(other.trustee, v->h.trustee, sizeof other.trustee) == 0 &&
                        memcmp(other.storage, v->h.storage, sizeof other.storage) == 0 &&
                        memcmp(other.root, v->h.root, sizeof other.root) == 0 && other.k == v->h.k &&
                        vch_hash_eq(&other.shards_root, &v->h.shards_root);
            for (unsigned k = 0; same && k < 6; k++)
                same = memcmp(vch_holding_signature(&other, k / 2, k % 2), v->signature[k], VCH_SIG_LEN) == 0;
            assert_false(same);
        }
        b.p[i] ^= 1;
    }
    for (size_t n = 0; n < b.n; n++) assert_int_not_equal(vch_holding_get(&got, vch_slice(b.p, n)), VCH_OK);
    vch_buf_free(&b);
    vault_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_extent_goes_into_the_vault),
        cmocka_unit_test(every_holder_must_have_signed),
        cmocka_unit_test(holders_are_registered_for_it),
        cmocka_unit_test(a_revoked_trustee_takes_no_extent),
        cmocka_unit_test(positions_belong_to_different_parties),
        cmocka_unit_test(numbers_that_cannot_be),
        cmocka_unit_test(every_byte_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
