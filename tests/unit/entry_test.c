/* SPDX-License-Identifier: Apache-2.0 */
/* Entries, statements, unsigned leaves, state values: what is written is read
 * back, and nothing else is read.  Also keeps docs/formats/entries.cddl equal
 * to the table of kinds (VOUCHSAFE_WRITE_CDDL=1 writes it anew). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "txkit.h"

static const vch_hash_t network = {{3, 1, 4}};

static kit_tx_t small_tx(const vch_signer_t *key, size_t n)
{
    vch_buf_t fields[4];
    for (size_t i = 0; i < n; i++) {
        kit_fields_t f = kit_fields();
        uint8_t id[32] = {(uint8_t)i};
        kit_id(&f, 0, id);
        kit_uint(&f, 1, i % 3);
        kit_text(&f, 2, "reference");
        fields[i] = kit_done(&f);
    }
    return kit_tx(&network, VCH_KIND_REMEDY, 7, key, fields, n, 0);
}

static void entries_come_back(void **state)
{
    (void)state;
    for (int alg = VCH_ALG_ED25519; alg <= VCH_ALG_P256; alg++) {
        vch_signer_t *key = kit_signer(1, (vch_alg_t)alg);
        kit_tx_t t = small_tx(key, 3);
        vch_entry_t e;
        vch_kind_t kind;
        KIT_OK(vch_entry_read(&e, t.tx.entry, NULL));
        assert_int_equal(e.kind, VCH_KIND_REMEDY);
        assert_int_equal(e.sequence, 7);
        assert_int_equal(e.count, 3);
        assert_false(e.has_not_after);
        assert_memory_equal(e.network.b, network.b, 32);
        assert_memory_equal(e.id.b, t.id.b, 32);
        KIT_OK(vch_leaf_kind(&kind, t.tx.entry));
        assert_int_equal(kind, VCH_KIND_REMEDY);
        KIT_OK(vch_cose_verify(&e.cose, vch_signer_public(key), NULL));
        kit_free_tx(&t);
        vch_signer_free(key);
    }
}

/* No flipped bit gives an entry that verifies, but one that only changed its
 * signature would keep its id: that is the point of the id. */
static void no_flip_verifies(void **state)
{
    (void)state;
    vch_signer_t *key = kit_signer(1, VCH_ALG_P256);
    kit_tx_t t = small_tx(key, 1);
    for (size_t i = 0; i < t.entry.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            vch_entry_t e;
            t.entry.p[i] ^= (uint8_t)(1 << bit);
            bool good = vch_entry_read(&e, t.tx.entry, NULL) == VCH_OK &&
                        vch_cose_verify(&e.cose, vch_signer_public(key), NULL) == VCH_OK;
            assert_false(good);
            t.entry.p[i] ^= (uint8_t)(1 << bit);
        }
    for (size_t n = 0; n < t.entry.n; n++) {
        vch_entry_t e;
        assert_int_not_equal(vch_entry_read(&e, vch_slice(t.entry.p, n), NULL), VCH_OK);
    }
    kit_free_tx(&t);
    vch_signer_free(key);
}

static void statements_are_checked_field_by_field(void **state)
{
    (void)state;
    vch_signer_t *key = kit_signer(1, VCH_ALG_ED25519);
    kit_tx_t t = small_tx(key, 1);
    vch_statement_t s;
    vch_err_t err;
    KIT_OK(vch_statement_read(&s, t.slice[0], NULL));
    for (size_t n = 0; n < t.slice[0].n; n++)
        assert_int_not_equal(vch_statement_read(&s, vch_slice(t.slice[0].p, n), NULL), VCH_OK);
    kit_free_tx(&t);
    static const struct {
        const char *hex, *why;
    } bad[] = {
        {"83500102030405060708090a0b0c0d0e0f10183fa0", "unknown"},        /* kind 63 */
        {"83500102030405060708090a0b0c0d0e0f101839a0", "missing"},        /* remedy without fields */
        {"834f0102030405060708090a0b0c0d0e0f1839a0", "salt"},             /* 15 bytes of salt */
        {"83500102030405060708090a0b0c0d0e0f101839a101f6", "missing"},    /* field 0 is not there */
        {"83500102030405060708090a0b0c0d0e0f101839a1004100", "outside"},  /* an id of one byte */
        {"83500102030405060708090a0b0c0d0e0f101839a10000", "wrong type"}, /* an id that is a number */
        {"83500102030405060708090a0b0c0d0e0f101839bf", "deterministic"},  /* indefinite length */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t bytes[64];
        size_t n = strlen(bad[i].hex) / 2;
        assert_true(vch_unhex(bytes, n, bad[i].hex, 2 * n));
        assert_int_not_equal(vch_statement_read(&s, vch_slice(bytes, n), &err), VCH_OK);
        if (!strstr(err.text, bad[i].why)) fail_msg("%s: %s", bad[i].hex, err.text);
    }
    vch_signer_free(key);
}

static void transactions_travel_as_one_blob(void **state)
{
    (void)state;
    vch_signer_t *key = kit_signer(1, VCH_ALG_ED25519);
    kit_tx_t t = small_tx(key, 3);
    vch_buf_t b;
    vch_tx_t back;
    vch_arena_t arena;
    vch_arena_init(&arena, 65536);
    vch_buf_init(&b, VCH_TX_BYTES_MAX);
    KIT_OK(vch_tx_put(&b, &t.tx));
    KIT_OK(vch_tx_get(&back, vch_buf_slice(&b), &arena, NULL));
    assert_int_equal(back.count, 3);
    assert_true(vch_slice_eq(back.entry, t.tx.entry));
    for (int i = 0; i < 3; i++) assert_true(vch_slice_eq(back.statements[i], t.tx.statements[i]));
    for (size_t n = 0; n < b.n; n++) assert_int_not_equal(vch_tx_get(&back, vch_slice(b.p, n), &arena, NULL), VCH_OK);
    vch_buf_free(&b);
    vch_arena_free(&arena);
    kit_free_tx(&t);
    vch_signer_free(key);
}

static void unsigned_leaves_come_back(void **state)
{
    (void)state;
    vch_state_commit_t c = {network, 5, {77}, 10, 3, {{8}}, {{9}}}, c2;
    vch_outcome_t o = {network, {{1}}, true, "permit/terms", {{2}}, 400, {99}}, o2;
    vch_buf_t b;
    vch_kind_t kind;
    vch_buf_init(&b, 1024);
    KIT_OK(vch_state_commit_put(&b, &c));
    KIT_OK(vch_state_commit_get(&c2, vch_buf_slice(&b)));
    assert_memory_equal(&c, &c2, sizeof c);
    KIT_OK(vch_leaf_kind(&kind, vch_buf_slice(&b)));
    assert_int_equal(kind, VCH_KIND_STATE_COMMIT);
    assert_int_not_equal(vch_outcome_get(&o2, vch_buf_slice(&b)), VCH_OK);
    for (size_t n = 0; n < b.n; n++) assert_int_not_equal(vch_state_commit_get(&c2, vch_slice(b.p, n)), VCH_OK);
    vch_buf_clear(&b);
    KIT_OK(vch_outcome_put(&b, &o));
    KIT_OK(vch_outcome_get(&o2, vch_buf_slice(&b)));
    assert_string_equal(o.rule, o2.rule);
    assert_int_equal(o2.count, 400);
    assert_true(o2.permit);
    assert_int_not_equal(vch_state_commit_get(&c2, vch_buf_slice(&b)), VCH_OK);
    vch_buf_free(&b);
}

static void decisions_come_back(void **state)
{
    (void)state;
    vch_decision_t d = {{1}, 17, {55}, {{2}}, {{3}}, vch_str("\"benign\""), {vch_str("score"), vch_str("age")}, 2},
                   back;
    vch_buf_t b;
    vch_buf_init(&b, 8192);
    KIT_OK(vch_decision_put(&b, &d));
    KIT_OK(vch_decision_get(&back, vch_buf_slice(&b)));
    assert_int_equal(back.sequence, 17);
    assert_true(vch_slice_eq(back.output, d.output));
    assert_int_equal(back.reasons, 2);
    assert_true(vch_slice_eq(back.reason[1], d.reason[1]));
    for (size_t n = 0; n < b.n; n++) assert_int_not_equal(vch_decision_get(&back, vch_slice(b.p, n)), VCH_OK);
    d.reasons = 17;
    assert_int_equal(vch_decision_put(&b, &d), VCH_ERR_LIMIT);
    vch_buf_free(&b);
}

/* ---- state values ---- */

static void sequences_slide(void **state)
{
    (void)state;
    vch_sequences_value_t w = {0};
    bool used[700] = {false};
    uint64_t high = 0, seed = 99;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005u + 1;
        uint64_t n = (seed >> 33) % 600;
        vch_rc expected = n == 0                                        ? VCH_ERR_REPLAY
                          : n > high + 256                              ? VCH_ERR_LIMIT
                          : (n <= high && (high - n >= 256 || used[n])) ? VCH_ERR_REPLAY
                                                                        : VCH_OK;
        assert_int_equal(vch_sequences_take(&w, n), expected);
        if (expected != VCH_OK) continue;
        used[n] = true;
        if (n > high) high = n;
    }
    vch_buf_t b;
    vch_sequences_value_t back;
    vch_buf_init(&b, 256);
    KIT_OK(vch_sequences_put(&b, &w));
    KIT_OK(vch_sequences_get(&back, vch_buf_slice(&b)));
    assert_memory_equal(&w, &back, sizeof w);
    vch_buf_free(&b);
}

static void palettes_must_be_sorted(void **state)
{
    (void)state;
    vch_palette_value_t p = {.items = 2, .item = {{{{1}}, 5, 0}, {{{2}}, 6, 1}}, .owner_withdrew = true}, back;
    vch_buf_t b;
    vch_buf_init(&b, 4096);
    KIT_OK(vch_palette_put(&b, &p));
    KIT_OK(vch_palette_get(&back, vch_buf_slice(&b)));
    assert_true(vch_palette_eq(&p, &back));
    vch_buf_clear(&b);
    p.item[1].terms.b[0] = 1; /* twice the same terms */
    KIT_OK(vch_palette_put(&b, &p));
    assert_int_equal(vch_palette_get(&back, vch_buf_slice(&b)), VCH_ERR_FORMAT);
    vch_buf_free(&b);
}

static void optional_fields_of_values(void **state)
{
    (void)state;
    vch_extent_value_t e = {.id = {{1}}, .count = 9, .contiguous = true, .first = 4, .rows_root = {{2}}}, back;
    vch_model_value_t m = {.party = {{1}}, .digest = {{2}}, .name = vch_str("m")}, m2;
    vch_buf_t b;
    vch_buf_init(&b, 4096);
    KIT_OK(vch_extent_put(&b, &e));
    KIT_OK(vch_extent_get(&back, vch_buf_slice(&b)));
    assert_true(back.contiguous && back.first == 4);
    vch_buf_clear(&b);
    e.contiguous = false;
    KIT_OK(vch_extent_put(&b, &e));
    KIT_OK(vch_extent_get(&back, vch_buf_slice(&b)));
    assert_false(back.contiguous);
    for (size_t n = 0; n < b.n; n++) assert_int_not_equal(vch_extent_get(&back, vch_slice(b.p, n)), VCH_OK);
    vch_buf_clear(&b);
    KIT_OK(vch_model_put(&b, &m));
    KIT_OK(vch_model_get(&m2, vch_buf_slice(&b)));
    assert_false(m2.proven);
    vch_buf_free(&b);
}

/* ---- the table as CDDL ---- */

static void cddl_value(vch_buf_t *b, const vch_field_t *f);

static void cddl_struct(vch_buf_t *b, const vch_field_t *field, size_t n)
{
    KIT_OK(vch_buf_printf(b, "{"));
    for (size_t i = 0; i < n; i++) {
        KIT_OK(vch_buf_printf(b, "%s%s%u: ", i ? ", " : "", field[i].optional ? "? " : "", field[i].key));
        cddl_value(b, &field[i]);
        KIT_OK(vch_buf_printf(b, " /%s/", field[i].name));
    }
    KIT_OK(vch_buf_printf(b, "}"));
}

static void cddl_value(vch_buf_t *b, const vch_field_t *f)
{
    unsigned long long lo = f->min, hi = f->max;
    switch (f->type) {
    case VCH_T_UINT:
        KIT_OK(lo == hi ? vch_buf_printf(b, "%llu", lo) : vch_buf_printf(b, "%llu..%llu", lo, hi));
        break;
    case VCH_T_BOOL:
        KIT_OK(vch_buf_printf(b, "bool"));
        break;
    case VCH_T_BYTES:
    case VCH_T_TEXT:
        KIT_OK(vch_buf_printf(b, "%s .size ", f->type == VCH_T_TEXT ? "tstr" : "bstr"));
        KIT_OK(lo == hi ? vch_buf_printf(b, "%llu", lo) : vch_buf_printf(b, "(%llu..%llu)", lo, hi));
        break;
    case VCH_T_STRUCT:
        cddl_struct(b, f->sub, f->subs);
        break;
    case VCH_T_LIST:
        KIT_OK(vch_buf_printf(b, "[%llu*%llu ", lo, hi));
        cddl_value(b, f->sub);
        KIT_OK(vch_buf_printf(b, "]"));
        break;
    }
}

static void cddl_labels(vch_buf_t *b, const vch_schema_t *s)
{
    for (size_t i = 0; i < s->fields; i++) {
        const vch_field_t *f = &s->field[i];
        if (!f->labels) continue;
        KIT_OK(vch_buf_printf(b, "; %s:", f->name));
        for (uint64_t v = f->min; v <= f->max; v++)
            KIT_OK(vch_buf_printf(b, " %llu %s", (unsigned long long)v, f->labels[v - f->min]));
        KIT_OK(vch_buf_printf(b, "\n"));
    }
}

static void cddl_field_list(vch_buf_t *b, const char *name, const vch_field_t *field, size_t n)
{
    KIT_OK(vch_buf_printf(b, "%s = {\n", name));
    for (size_t i = 0; i < n; i++) {
        KIT_OK(vch_buf_printf(b, "  %s%u: ", field[i].optional ? "? " : "", field[i].key));
        vch_buf_t value;
        vch_buf_init(&value, 1u << 16);
        cddl_value(&value, &field[i]);
        /* names of inner fields become comments of their own line */
        for (size_t at = 0; at < value.n; at++)
            if (value.p[at] == '/') {
                size_t end = at + 1;
                while (value.p[end] != '/') end++;
                memmove(value.p + at - 1, value.p + end + 1, value.n - end - 1);
                value.n -= end + 1 - (at - 1);
                at -= 2;
            }
        KIT_OK(vch_buf_put(b, value.p, value.n));
        KIT_OK(vch_buf_printf(b, "%s ; %s", i + 1 < n ? "," : "", field[i].name));
        const vch_field_t *inner = field[i].type == VCH_T_LIST ? field[i].sub : &field[i];
        for (size_t k = 0; inner->type == VCH_T_STRUCT && k < inner->subs; k++)
            KIT_OK(vch_buf_printf(b, "%s%u %s", k ? ", " : " {", inner->sub[k].key, inner->sub[k].name));
        KIT_OK(vch_buf_printf(b, "%s\n", inner->type == VCH_T_STRUCT ? "}" : ""));
        vch_buf_free(&value);
    }
    KIT_OK(vch_buf_printf(b, "}\n\n"));
}

static void cddl_document(vch_buf_t *b)
{
    size_t n;
    const vch_schema_t *s = vch_schema_all(&n);
    KIT_OK(vch_buf_printf(
        b, "; Entries and statements.  Made from the table of kinds in src/entry/schema.c; a test keeps\n"
           "; both equal.  Everything is deterministic CBOR (RFC 8949, section 4.2.1).\n\n"
           "leaf = entry / state-commit / outcome\n\n"
           "entry = #6.18([                      ; COSE_Sign1, RFC 9052\n"
           "  protected: bstr .cbor {1: -19 / -9, 4: bstr .size 32},  ; Ed25519 or ESP256 (RFC 9864); key id\n"
           "  unprotected: {},\n  payload: bstr .cbor payload,\n  signature: bstr .size 64\n])\n\n"
           "payload = {\n  0: bstr .size 32, ; network: SHA-256 of the genesis statement; zeros in genesis itself\n"
           "  1: uint,          ; kind\n  2: 1..18446744073709551615, ; the signing party's sequence number\n"
           "  ? 3: uint,        ; not after, milliseconds\n"
           "  4: bstr .size 32, ; RFC 6962 root over the statements\n  5: 1..65535       ; how many\n}\n\n"
           "state-commit = {0: bstr .size 32, 1: 1, 6: uint, 7: uint, 8: uint, 9: uint, 10: bstr .size 32, 11: bstr "
           ".size 32}\n"
           "; network, kind, height, time, first, count, state root, previous state-commit's leaf hash\n\n"
           "outcome = {0: bstr .size 32, 1: 2, 6: bstr .size 32, 7: 0..1, 8: tstr .size (1..64), 9: bstr .size 32, "
           "10: uint, 11: uint}\n"
           "; network, kind, request, verdict, rule, set root, count, expires\n\n"
           "statement = [salt: bstr .size 16, kind: uint, fields: any]\n\n"));
    for (size_t i = 0; i < n; i++) {
        KIT_OK(vch_buf_printf(b, "; kind %d, signed by %s%s\n", s[i].kind, s[i].who,
                              s[i].single ? "; one statement an entry" : ""));
        cddl_labels(b, &s[i]);
        cddl_field_list(b, s[i].name, s[i].field, s[i].fields);
    }
    KIT_OK(vch_buf_printf(b, "; the document inside terms\n"));
    cddl_field_list(b, "terms-document", vch_terms_fields, vch_terms_fields_n);
    b->n--; /* one newline at the end */
}

static void the_cddl_says_what_the_table_says(void **state)
{
    (void)state;
    const char *source = getenv("VOUCHSAFE_SOURCE");
    char path[1024];
    if (!source) {
        print_message("skipped: VOUCHSAFE_SOURCE does not name the source folder\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/docs/formats/entries.cddl", source);
    vch_buf_t b;
    vch_buf_init(&b, 1u << 20);
    cddl_document(&b);
    if (getenv("VOUCHSAFE_WRITE_CDDL")) {
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(b.p, 1, b.n, f), b.n);
        fclose(f);
    }
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = calloc(1, 1u << 20);
    size_t n = fread(text, 1, (1u << 20) - 1, f);
    fclose(f);
    assert_int_equal(n, b.n);
    assert_memory_equal(text, b.p, n);
    free(text);
    vch_buf_free(&b);
}

/* The table itself is sound: keys ascend below 24, lists have an element. */
static void sound(const vch_field_t *field, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_true(field[i].key < 24);
        if (i) assert_true(field[i].key > field[i - 1].key);
        assert_true(field[i].min <= field[i].max || field[i].type == VCH_T_STRUCT);
        if (field[i].type == VCH_T_LIST) {
            assert_non_null(field[i].sub);
            if (field[i].sub->type == VCH_T_STRUCT) sound(field[i].sub->sub, field[i].sub->subs);
        }
        if (field[i].type == VCH_T_STRUCT) sound(field[i].sub, field[i].subs);
    }
}

static void the_table_is_sound(void **state)
{
    (void)state;
    size_t n;
    const vch_schema_t *s = vch_schema_all(&n);
    for (size_t i = 0; i < n; i++) {
        sound(s[i].field, s[i].fields);
        assert_ptr_equal(vch_schema(s[i].kind), &s[i]);
        assert_ptr_equal(vch_schema_by_name(s[i].name), &s[i]);
    }
    assert_null(vch_schema(VCH_KIND_STATE_COMMIT));
    assert_null(vch_schema(VCH_KIND_OUTCOME));
    assert_null(vch_schema(63));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back),
        cmocka_unit_test(no_flip_verifies),
        cmocka_unit_test(statements_are_checked_field_by_field),
        cmocka_unit_test(transactions_travel_as_one_blob),
        cmocka_unit_test(unsigned_leaves_come_back),
        cmocka_unit_test(decisions_come_back),
        cmocka_unit_test(sequences_slide),
        cmocka_unit_test(palettes_must_be_sorted),
        cmocka_unit_test(optional_fields_of_values),
        cmocka_unit_test(the_cddl_says_what_the_table_says),
        cmocka_unit_test(the_table_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
