/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 8785: its authors' test data, its number table, and their opposites. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <math.h>
#include <cmocka.h>

#include "codec/json.h"
#include "shared.h"

static vch_rc canonical(vch_buf_t *out, vch_slice_t text)
{
    vch_arena_t arena;
    vch_arena_init(&arena, 1 << 20);
    const vch_json_t *tree;
    vch_rc rc = vch_json_parse(&arena, &tree, text, NULL);
    if (rc == VCH_OK) rc = vch_jcs_put(out, tree);
    vch_arena_free(&arena);
    return rc;
}

static size_t load(const char *folder, const char *kind, const char *name, uint8_t *out, size_t max)
{
    char path[512];
    snprintf(path, sizeof path, "%s/vectors/jcs/%s/%s.json", folder, kind, name);
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("cannot open %s", path);
    size_t n = fread(out, 1, max, f);
    fclose(f);
    assert_true(n > 0 && n < max);
    return n;
}

static const char *const names[] = {"arrays", "french", "structures", "unicode", "values", "weird"};

static void published_vectors(void **state)
{
    (void)state;
    const char *folder = vch_test_shared();
    if (!folder) {
        print_message("no folder of test vectors (VOUCHSAFE_SHARED): skipped\n");
        skip();
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint8_t in[1024], want[1024];
        size_t in_len = load(folder, "input", names[i], in, sizeof in);
        size_t want_len = load(folder, "output", names[i], want, sizeof want);
        vch_buf_t out;
        vch_buf_init(&out, 4096);
        assert_int_equal(canonical(&out, vch_slice(in, in_len)), VCH_OK);
        if (!vch_slice_eq(vch_buf_slice(&out), vch_slice(want, want_len)))
            fail_msg("%s: %.*s", names[i], (int)out.n, (const char *)out.p);
        vch_buf_clear(&out); /* canonical already: stays as it is */
        assert_int_equal(canonical(&out, vch_slice(want, want_len)), VCH_OK);
        assert_true(vch_slice_eq(vch_buf_slice(&out), vch_slice(want, want_len)));
        vch_buf_free(&out);
    }
}

/* The twin: no published text that was cut, added to or damaged in a byte
 * gets a canonical form. */
static void damaged_vectors_are_refused(void **state)
{
    (void)state;
    const char *folder = vch_test_shared();
    if (!folder) {
        print_message("no folder of test vectors (VOUCHSAFE_SHARED): skipped\n");
        skip();
    }
    vch_buf_t out;
    vch_buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint8_t in[1025];
        size_t n = load(folder, "output", names[i], in, 1024);
        for (size_t cut = 0; cut < n; cut++) assert_int_equal(canonical(&out, vch_slice(in, cut)), VCH_ERR_FORMAT);
        in[n] = ']';
        assert_int_equal(canonical(&out, vch_slice(in, n + 1)), VCH_ERR_FORMAT);
        for (size_t at = 0; at < n; at++) { /* 0xff occurs nowhere in UTF-8 */
            uint8_t was = in[at];
            in[at] = 0xff;
            assert_int_equal(canonical(&out, vch_slice(in, n)), VCH_ERR_FORMAT);
            in[at] = was;
        }
        assert_int_equal(out.n, 0);
    }
    vch_buf_free(&out);
}

/* RFC 8785 appendix B: the double's bits and its text. */
static const struct {
    uint64_t bits;
    const char *text;
} numbers[] = {
    {0x0000000000000000, "0"},
    {0x8000000000000000, "0"},
    {0x0000000000000001, "5e-324"},
    {0x8000000000000001, "-5e-324"},
    {0x7fefffffffffffff, "1.7976931348623157e+308"},
    {0xffefffffffffffff, "-1.7976931348623157e+308"},
    {0x4340000000000000, "9007199254740992"},
    {0xc340000000000000, "-9007199254740992"},
    {0x4430000000000000, "295147905179352830000"},
    {0x44b52d02c7e14af5, "9.999999999999997e+22"},
    {0x44b52d02c7e14af6, "1e+23"},
    {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
    {0x444b1ae4d6e2ef4e, "999999999999999700000"},
    {0x444b1ae4d6e2ef4f, "999999999999999900000"},
    {0x444b1ae4d6e2ef50, "1e+21"},
    {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
    {0x3eb0c6f7a0b5ed8d, "0.000001"},
    {0x41b3de4355555553, "333333333.3333332"},
    {0x41b3de4355555554, "333333333.33333325"},
    {0x41b3de4355555555, "333333333.3333333"},
    {0x41b3de4355555556, "333333333.3333334"},
    {0x41b3de4355555557, "333333333.33333343"},
    {0xbecbf647612f3696, "-0.0000033333333333333333"},
    {0x43143ff3c1cb0959, "1424953923781206.2"},
    /* powers of two, below which doubles lie denser: 16 digits are enough,
     * but they are not the nearest 16 digits */
    {0x3d30000000000000, "5.684341886080802e-14"},
    {0x0010000000000000, "2.2250738585072014e-308"},
};

static double from_bits(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void assert_number(const char *in, const char *want)
{
    vch_buf_t out;
    vch_buf_init(&out, 128);
    assert_int_equal(canonical(&out, vch_str(in)), VCH_OK);
    if (!vch_slice_eq(vch_buf_slice(&out), vch_str(want)))
        fail_msg("%s: %.*s instead of %s", in, (int)out.n, (const char *)out.p, want);
    vch_buf_free(&out);
}

static void numbers_of_the_appendix(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char text[64];
        snprintf(text, sizeof text, "%.17e", from_bits(numbers[i].bits));
        assert_number(text, numbers[i].text);
        assert_number(numbers[i].text, numbers[i].text);
    }
}

static void numbers_spelt_otherwise(void **state)
{
    (void)state;
    static const struct {
        const char *in, *want;
    } pairs[] = {{"-0", "0"},
                 {"-0.0e-5", "0"},
                 {"0e99999999999", "0"},
                 {"1.0", "1"},
                 {"1E2", "100"},
                 {"100e-2", "1"},
                 {"0.00001e2", "0.001"},
                 {"123456789012345678", "123456789012345680"},
                 {"9007199254740993", "9007199254740992"},
                 {"-9007199254740993", "-9007199254740992"},
                 {"1e-99999999999", "0"},
                 {"1e21", "1e+21"},
                 {"1e20", "100000000000000000000"},
                 {"12e-8", "1.2e-7"},
                 {"0.1", "0.1"},
                 {"4.35", "4.35"},
                 {"2.2250738585072011e-308", "2.225073858507201e-308"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) assert_number(pairs[i].in, pairs[i].want);
}

static void numbers_without_a_double_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"1e309", "-1e309", "1e99999999999", "[0,{\"a\":1.8e308}]"};
    vch_buf_t out;
    vch_buf_init(&out, 128);
    assert_int_equal(vch_buf_u8(&out, '!'), VCH_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(canonical(&out, vch_str(wrong[i])), VCH_ERR_FORMAT);
        assert_int_equal(out.n, 1); /* nothing halfway */
    }
    vch_buf_free(&out);
}

/* Reading the text gives the same double, and one digit less would not. */
static void random_doubles_come_back(void **state)
{
    (void)state;
    uint64_t x = 0x9e3779b97f4a7c15;
    vch_buf_t out;
    vch_buf_init(&out, 128);
    for (int i = 0; i < 20000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        double v = from_bits(x);
        if (!isfinite(v)) continue;
        char in[64], shorter[64];
        snprintf(in, sizeof in, "%.17g", v);
        vch_buf_clear(&out);
        assert_int_equal(canonical(&out, vch_str(in)), VCH_OK);
        assert_int_equal(vch_buf_u8(&out, 0), VCH_OK);
        const char *text = (const char *)out.p;
        if (strtod(text, NULL) != v) fail_msg("%s became %s", in, text);
        int digits = 0;
        for (const char *p = text; *p && *p != 'e'; p++) digits += *p >= '0' && *p <= '9' && (*p != '0' || digits);
        if (digits < 2 || digits > 17) continue;
        snprintf(shorter, sizeof shorter, "%.*e", digits - 2, v);
        if (strtod(shorter, NULL) == v && strchr(text, 'e')) fail_msg("%s is longer than %s", text, shorter);
    }
    vch_buf_free(&out);
}

static void strings_and_order(void **state)
{
    (void)state;
    vch_buf_t out;
    vch_buf_init(&out, 4096);
    /* U+FB33 (one unit FB33) comes after U+1F600 (units D83D DE00) */
    assert_int_equal(
        canonical(&out, vch_str("{\"\\ufb33\":1,\"\\ud83d\\ude00\":2,\"\\ud7ff\":3,\"b\":4,\"ab\":5,\"a\":6}")),
        VCH_OK);
    assert_true(vch_slice_eq(vch_buf_slice(&out), vch_str("{\"a\":6,\"ab\":5,\"b\":4,\"\xed\x9f\xbf\":3,"
                                                          "\"\xf0\x9f\x98\x80\":2,\"\xef\xac\xb3\":1}")));
    vch_buf_clear(&out);
    assert_int_equal(vch_json_put_string(&out, vch_slice("\0\x1f\b\t\n\f\r\"\\/\x7f\xc3\xa9", 13)), VCH_OK);
    assert_true(vch_slice_eq(vch_buf_slice(&out), vch_str("\"\\u0000\\u001f\\b\\t\\n\\f\\r\\\"\\\\/\x7f\xc3\xa9\"")));
    size_t before = out.n;
    assert_int_equal(vch_json_put_string(&out, vch_str("\xed\xa0\x80")), VCH_ERR_FORMAT);
    assert_int_equal(out.n, before);
    vch_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),        cmocka_unit_test(damaged_vectors_are_refused),
        cmocka_unit_test(numbers_of_the_appendix),  cmocka_unit_test(numbers_spelt_otherwise),
        cmocka_unit_test(random_doubles_come_back), cmocka_unit_test(numbers_without_a_double_are_refused),
        cmocka_unit_test(strings_and_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
