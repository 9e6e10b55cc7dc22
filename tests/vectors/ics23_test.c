/* SPDX-License-Identifier: Apache-2.0 */
/* cosmos/ics23's sparse tree proofs verify as proofs of our tree.
 *
 * Only the protobuf fields that these files use are read:
 *
 *   CommitmentProof   1 ExistenceProof, 2 NonExistenceProof
 *   ExistenceProof    1 key, 2 value, 3 LeafOp, 4 InnerOp … (from the leaf up)
 *   NonExistenceProof 1 key, 2 left ExistenceProof, 3 right ExistenceProof
 *   InnerOp           1 hash, 2 prefix (01, or 01 ‖ left), 3 suffix (right) */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>

#include "crypto/sha256.h"
#include "merkle/smt.h"
#include "shared.h"

/* ---- a small protobuf reader ---- */

static uint64_t read_varint(vch_slice_t *s)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        assert_true(s->n > 0);
        uint8_t byte = *s->p++;
        s->n--;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return v;
    }
    fail_msg("a number without an end");
    return 0;
}

/* The next field: its number, and its bytes, or its value in *number. */
static unsigned read_field(vch_slice_t *s, vch_slice_t *bytes, uint64_t *number)
{
    uint64_t tag = read_varint(s);
    *bytes = vch_slice(NULL, 0);
    *number = read_varint(s);
    if ((tag & 7) == 0) return (unsigned)(tag >> 3);
    assert_int_equal(tag & 7, 2);
    assert_true(*number <= s->n);
    *bytes = vch_slice(s->p, (size_t)*number);
    s->p += *number;
    s->n -= (size_t)*number;
    return (unsigned)(tag >> 3);
}

typedef struct {
    vch_slice_t key, value;
    vch_hash_t path, value_hash;
    vch_hash_t sibling[VCH_SMT_PATH_MAX]; /* from the root down */
    bool right[VCH_SMT_PATH_MAX];         /* the proof's own claim of the side, from the root down */
    size_t depth;
} exist_t;

/* LeafOp of SmtSpec: SHA-256 over 00 ‖ SHA-256(key) ‖ SHA-256(value). */
static void check_leaf_op(vch_slice_t op)
{
    static const uint8_t want[] = {0x08, 1, 0x10, 1, 0x18, 1, 0x2a, 1, 0};
    assert_int_equal(op.n, sizeof want);
    assert_memory_equal(op.p, want, sizeof want);
}

static void read_inner_op(exist_t *e, vch_slice_t op)
{
    vch_slice_t bytes, prefix = {0}, suffix = {0};
    uint64_t number, hash = 0;
    while (op.n) {
        unsigned field = read_field(&op, &bytes, &number);
        if (field == 1) hash = number;
        if (field == 2) prefix = bytes;
        if (field == 3) suffix = bytes;
    }
    assert_int_equal(hash, 1); /* SHA-256 */
    assert_true(e->depth < VCH_SMT_PATH_MAX);
    assert_true((prefix.n == 33 && suffix.n == 0) || (prefix.n == 1 && suffix.n == 32));
    assert_int_equal(prefix.p[0], 0x01);
    e->right[e->depth] = suffix.n == 0;
    memcpy(e->sibling[e->depth++].b, suffix.n ? suffix.p : prefix.p + 1, 32);
}

static void read_exist(exist_t *e, vch_slice_t s)
{
    vch_slice_t bytes;
    uint64_t number;
    *e = (exist_t){0};
    while (s.n) {
        unsigned field = read_field(&s, &bytes, &number);
        if (field == 1) e->key = bytes;
        if (field == 2) e->value = bytes;
        if (field == 3) check_leaf_op(bytes);
        if (field == 4) read_inner_op(e, bytes);
    }
    for (size_t i = 0; i < e->depth / 2; i++) {
        size_t j = e->depth - 1 - i;
        vch_hash_t hash = e->sibling[i];
        bool right = e->right[i];
        e->sibling[i] = e->sibling[j];
        e->right[i] = e->right[j];
        e->sibling[j] = hash;
        e->right[j] = right;
    }
    vch_sha256(&e->path, e->key.p, e->key.n);
    vch_sha256(&e->value_hash, e->value.p, e->value.n);
}

/* ---- the files ---- */

typedef struct {
    uint8_t proof[4096], key[64], value[64];
    size_t proof_n, key_n, value_n;
    vch_hash_t root;
} vector_t;

static size_t read_hex(uint8_t *out, size_t room, const json_t *file, const char *name)
{
    const char *hex = json_string_value(json_object_get(file, name));
    assert_non_null(hex);
    size_t n = strlen(hex) / 2;
    assert_true(n <= room);
    assert_true(vch_unhex(out, n, hex, strlen(hex)));
    return n;
}

static void read_vector(vector_t *v, const char *name)
{
    const char *shared = vch_test_shared();
    if (!shared) {
        print_message("shared test vectors are not here\n");
        skip();
    }
    char path[400];
    json_error_t error;
    assert_true(snprintf(path, sizeof path, "%s/vectors/ics23/smt/%s.json", shared, name) < (int)sizeof path);
    json_t *file = json_load_file(path, 0, &error);
    if (!file) fail_msg("%s: %s", path, error.text);
    v->proof_n = read_hex(v->proof, sizeof v->proof, file, "proof");
    v->key_n = read_hex(v->key, sizeof v->key, file, "key");
    v->value_n = read_hex(v->value, sizeof v->value, file, "value");
    assert_int_equal(read_hex(v->root.b, 32, file, "root"), 32);
    json_decref(file);
}

static bool verifies(const exist_t *e, const vch_hash_t *root)
{
    return vch_smt_verify_member(root, &e->path, &e->value_hash, e->sibling, e->depth);
}

static void check_exist(exist_t *e, const vch_hash_t *root)
{
    assert_true(verifies(e, root));
    for (size_t i = 0; i < e->depth; i++)
        assert_int_equal(e->right[i], e->path.b[i / 8] >> (7 - i % 8) & 1); /* our sides are the proof's */
    vch_hash_t wrong = {{0}}, kept = e->value_hash;
    assert_false(verifies(e, &wrong));
    vch_sha256(&e->value_hash, "another value", 13);
    assert_false(verifies(e, root));
    e->value_hash = kept;
    for (size_t i = 0; i < e->depth; i++) {
        e->sibling[i].b[7] ^= 4;
        assert_false(verifies(e, root));
        e->sibling[i].b[7] ^= 4;
    }
    e->path.b[31] ^= 1;
    assert_false(verifies(e, root));
    e->path.b[31] ^= 1;
    e->depth--;
    assert_false(verifies(e, root));
    e->depth++;
}

static void existence_proofs_are_members(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t depth;
    } files[] = {{"exist_left", 10}, {"exist_middle", 11}, {"exist_right", 10}};
    for (size_t i = 0; i < 3; i++) {
        vector_t v;
        exist_t e;
        vch_slice_t bytes;
        uint64_t number;
        read_vector(&v, files[i].name);
        vch_slice_t proof = vch_slice(v.proof, v.proof_n);
        assert_int_equal(read_field(&proof, &bytes, &number), 1);
        assert_int_equal(proof.n, 0);
        read_exist(&e, bytes);
        assert_true(vch_slice_eq(e.key, vch_slice(v.key, v.key_n)));
        assert_true(vch_slice_eq(e.value, vch_slice(v.value, v.value_n)));
        assert_int_equal(e.depth, files[i].depth);
        check_exist(&e, &v.root);
    }
}

/* Both neighbours are members, on their own side of the path asked for. */
static void nonexistence_proofs_show_members(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned neighbours;
    } files[] = {{"nonexist_left", 1}, {"nonexist_middle", 2}, {"nonexist_right", 1}};
    for (size_t i = 0; i < 3; i++) {
        vector_t v;
        vch_slice_t outer, bytes;
        uint64_t number;
        vch_hash_t asked;
        unsigned neighbours = 0;
        read_vector(&v, files[i].name);
        vch_sha256(&asked, v.key, v.key_n);
        vch_slice_t proof = vch_slice(v.proof, v.proof_n);
        assert_int_equal(read_field(&proof, &outer, &number), 2);
        while (outer.n) {
            unsigned field = read_field(&outer, &bytes, &number);
            if (field == 1) assert_true(vch_slice_eq(bytes, vch_slice(asked.b, 32)));
            if (field == 1) continue;
            exist_t e;
            read_exist(&e, bytes);
            check_exist(&e, &v.root);
            int order = memcmp(e.path.b, asked.b, 32);
            assert_true(field == 2 ? order < 0 : order > 0);
            neighbours++;
        }
        assert_int_equal(neighbours, files[i].neighbours);
    }
}

/* A neighbour that stands where the path asked for would stand is our own
 * proof of absence; one that stands elsewhere is none. */
static void a_neighbour_in_place_proves_absence(void **state)
{
    (void)state;
    vector_t v;
    vch_slice_t bytes;
    uint64_t number;
    exist_t e;
    read_vector(&v, "exist_middle");
    vch_slice_t proof = vch_slice(v.proof, v.proof_n);
    assert_int_equal(read_field(&proof, &bytes, &number), 1);
    read_exist(&e, bytes);
    vch_smt_leaf_t other = {e.path, e.value_hash};
    for (size_t bit = 0; bit < 256; bit++) {
        vch_hash_t asked = e.path;
        asked.b[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
        assert_int_equal(vch_smt_verify_absent(&v.root, &asked, &other, e.sibling, e.depth), bit >= e.depth);
    }
    assert_false(vch_smt_verify_absent(&v.root, &e.path, &other, e.sibling, e.depth));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(existence_proofs_are_members),
        cmocka_unit_test(nonexistence_proofs_show_members),
        cmocka_unit_test(a_neighbour_in_place_proves_absence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
