/* SPDX-License-Identifier: Apache-2.0 */
/* base64, base58btc and decimal: each value has exactly one spelling. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "codec/text.h"

typedef struct {
    const char *bytes;
    size_t n;
    const char *text;
} pair_t;

static void base64_vectors(void **state)
{
    (void)state;
    static const pair_t pairs[] = {/* RFC 4648 section 10 */
                                   {"", 0, ""},
                                   {"f", 1, "Zg=="},
                                   {"fo", 2, "Zm8="},
                                   {"foo", 3, "Zm9v"},
                                   {"foob", 4, "Zm9vYg=="},
                                   {"fooba", 5, "Zm9vYmE="},
                                   {"foobar", 6, "Zm9vYmFy"},
                                   {"\xfb\xff\xbf\0", 4, "+/+/AA=="}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        vch_buf_t b;
        vch_buf_init(&b, 64);
        assert_int_equal(vch_base64_put(&b, pairs[i].bytes, pairs[i].n), VCH_OK);
        assert_true(vch_slice_eq(vch_buf_slice(&b), vch_str(pairs[i].text)));
        vch_buf_clear(&b);
        assert_int_equal(vch_base64_get(&b, vch_str(pairs[i].text)), VCH_OK);
        assert_true(vch_slice_eq(vch_buf_slice(&b), vch_slice(pairs[i].bytes, pairs[i].n)));
        uint8_t fixed[8];
        assert_int_equal(vch_base64_fixed(fixed, pairs[i].n, vch_str(pairs[i].text)), VCH_OK);
        assert_memory_equal(fixed, pairs[i].bytes, pairs[i].n);
        assert_int_equal(vch_base64_fixed(fixed, pairs[i].n + 1, vch_str(pairs[i].text)), VCH_ERR_FORMAT);
        vch_buf_free(&b);
    }
}

static void base64_refuses_other_spellings(void **state)
{
    (void)state;
    static const char *const wrong[] = {"Z",    "Zg",       "Zg=",   "Zg===",    "=",        "==",     "====",
                                        "Z===", "Zh==",     "Zm9=",  "Zm8",      " Zg==",    "Zg==\n", "Zm 9v",
                                        "Zm-_", "Zg==Zg==", "Zm9v=", "Zm9v====", "Zm9vYg=A", "Zm=v"};
    vch_buf_t b;
    vch_buf_init(&b, 64);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (vch_base64_get(&b, vch_str(wrong[i])) != VCH_ERR_FORMAT) fail_msg("\"%s\" was not refused", wrong[i]);
        assert_int_equal(b.n, 0);
    }
    assert_int_equal(vch_base64_get(&b, vch_slice("Zm\0v", 4)), VCH_ERR_FORMAT);
    vch_buf_free(&b);
    vch_buf_init(&b, 3);
    assert_int_equal(vch_base64_put(&b, "x", 1), VCH_ERR_LIMIT);
    assert_int_equal(b.n, 0);
}

/* Every two-quartet-byte text: accepted only if writing it again gives it. */
static void base64_last_quartet_exhaustively(void **state)
{
    (void)state;
    vch_buf_t bytes, text;
    vch_buf_init(&bytes, 8);
    vch_buf_init(&text, 8);
    size_t taken = 0;
    for (unsigned v = 0; v < 0x10000; v++) {
        uint8_t quartet[4] = {(uint8_t)(v >> 8), (uint8_t)v, '=', '='};
        vch_buf_clear(&bytes);
        vch_buf_clear(&text);
        if (vch_base64_get(&bytes, vch_slice(quartet, 4)) != VCH_OK) continue;
        taken++;
        assert_int_equal(vch_base64_put(&text, bytes.p, bytes.n), VCH_OK);
        assert_true(vch_slice_eq(vch_buf_slice(&text), vch_slice(quartet, 4)));
    }
    assert_int_equal(taken, 256);
    vch_buf_free(&bytes);
    vch_buf_free(&text);
}

static void multibase_vectors(void **state)
{
    (void)state;
    static const pair_t pairs[] = {
        {"", 0, "z"},
        {"\0", 1, "z1"},
        {"\0\0\0", 3, "z111"},
        {"\x39", 1, "zz"},
        {"\x3a", 1, "z21"},
        {"Hello World!", 12, "z2NEpo7TZRRrLZSi2U"}, /* draft-msporny-base58 section 5 */
        {"The quick brown fox jumps over the lazy dog.", 44,
         "zUSm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z"},
        {"\0\0\x28\x7f\xb4\xcd", 6, "z11233QC4"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        vch_buf_t b;
        vch_buf_init(&b, 256);
        assert_int_equal(vch_multibase_put(&b, pairs[i].bytes, pairs[i].n), VCH_OK);
        assert_true(vch_slice_eq(vch_buf_slice(&b), vch_str(pairs[i].text)));
        vch_buf_clear(&b);
        assert_int_equal(vch_multibase_get(&b, vch_str(pairs[i].text)), VCH_OK);
        assert_true(vch_slice_eq(vch_buf_slice(&b), vch_slice(pairs[i].bytes, pairs[i].n)));
        vch_buf_free(&b);
    }
}

static void multibase_refusals(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "1", "m1", "Z1", "z0", "zO", "zI", "zl", "z 1", "z1\n", "z+"};
    vch_buf_t b;
    vch_buf_init(&b, 512);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (vch_multibase_get(&b, vch_str(wrong[i])) != VCH_ERR_FORMAT) fail_msg("\"%s\" was not refused", wrong[i]);
    assert_int_equal(vch_multibase_get(&b, vch_slice("z1\0", 3)), VCH_ERR_FORMAT);
    uint8_t most[129];
    memset(most, 0xff, sizeof most);
    assert_int_equal(vch_multibase_put(&b, most, 129), VCH_ERR_LIMIT);
    assert_int_equal(b.n, 0);
    assert_int_equal(vch_multibase_put(&b, most, 128), VCH_OK);
    vch_buf_t back;
    vch_buf_init(&back, 512);
    assert_int_equal(vch_multibase_get(&back, vch_buf_slice(&b)), VCH_OK);
    assert_true(vch_slice_eq(vch_buf_slice(&back), vch_slice(most, 128)));
    vch_buf_clear(&back);
    char ones[131];
    memset(ones, '1', sizeof ones);
    ones[0] = 'z';
    assert_int_equal(vch_multibase_get(&back, vch_slice(ones, 130)), VCH_ERR_LIMIT); /* 129 zero bytes */
    assert_int_equal(vch_multibase_get(&back, vch_slice(ones, 129)), VCH_OK);
    assert_int_equal(back.n, 128);
    vch_buf_clear(&back);
    char large[178];
    memset(large, 'z', sizeof large);
    assert_int_equal(vch_multibase_get(&back, vch_slice(large, 178)), VCH_ERR_LIMIT);
    assert_int_equal(vch_multibase_get(&back, vch_slice(large, 177)), VCH_ERR_LIMIT); /* 129 bytes */
    assert_int_equal(back.n, 0);
    vch_buf_free(&back);
    vch_buf_free(&b);
}

static void decimals(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",    "-1",  "+1",  "00",
                                        "01",  "1 ",  " 1",  "1a",
                                        "0x1", "1.0", "1e3", "18446744073709551616",
                                        "1\n", "1,0", "1_0", "99999999999999999999"};
    uint64_t v = 5;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (vch_decimal_get(&v, vch_str(wrong[i])) == VCH_OK) fail_msg("\"%s\" was not refused", wrong[i]);
    assert_int_equal(v, 5);
    assert_int_equal(vch_decimal_get(&v, vch_str("0")), VCH_OK);
    assert_int_equal(v, 0);
    assert_int_equal(vch_decimal_get(&v, vch_str("10")), VCH_OK);
    assert_int_equal(v, 10);
    assert_int_equal(vch_decimal_get(&v, vch_str("18446744073709551615")), VCH_OK);
    assert_true(v == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_vectors),
        cmocka_unit_test(base64_refuses_other_spellings),
        cmocka_unit_test(base64_last_quartet_exhaustively),
        cmocka_unit_test(multibase_vectors),
        cmocka_unit_test(multibase_refusals),
        cmocka_unit_test(decimals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
