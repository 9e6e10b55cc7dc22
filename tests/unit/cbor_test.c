/* SPDX-License-Identifier: Apache-2.0 */
/* What the reader takes and what it refuses, and that both ends agree. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "codec/cbor.h"

static vch_slice_t from_hex(uint8_t *out, size_t max, const char *hex)
{
    size_t n = strlen(hex) / 2;
    assert_true(n <= max);
    assert_true(vch_unhex(out, n, hex, strlen(hex)));
    return vch_slice(out, n);
}

static vch_rc check_hex(const char *hex)
{
    uint8_t bytes[64];
    return vch_cbor_check(from_hex(bytes, sizeof bytes, hex));
}

/* Read token by token, write each again: equal bytes mean shortest heads. */
static void assert_rewrites(vch_slice_t in)
{
    vch_buf_t out;
    vch_buf_init(&out, 1 << 16);
    vch_cbor_t c = vch_cbor_over(in);
    while (!vch_cbor_done(&c)) {
        vch_cbor_item_t item;
        assert_int_equal(vch_cbor_next(&c, &item), VCH_OK);
        vch_rc rc = VCH_ERR_INTERNAL;
        switch (item.type) {
        case VCH_CBOR_UINT:
            rc = vch_cbor_uint(&out, item.value);
            break;
        case VCH_CBOR_NINT:
            if (item.value > INT64_MAX)
                rc = vch_cbor_raw(&out, vch_slice(c.p - 9, 9)); /* below int64_t: no writer of its own */
            else
                rc = vch_cbor_int(&out, -1 - (int64_t)item.value);
            break;
        case VCH_CBOR_BYTES:
            rc = vch_cbor_bytes(&out, item.bytes.p, item.bytes.n);
            break;
        case VCH_CBOR_TEXT:
            rc = vch_cbor_text(&out, (const char *)item.bytes.p, item.bytes.n);
            break;
        case VCH_CBOR_ARRAY:
            rc = vch_cbor_array(&out, item.value);
            break;
        case VCH_CBOR_MAP:
            rc = vch_cbor_map(&out, item.value);
            break;
        case VCH_CBOR_TAG:
            rc = vch_cbor_tag(&out, item.value);
            break;
        case VCH_CBOR_SIMPLE:
            rc = item.value == 22 ? vch_cbor_null(&out) : vch_cbor_bool(&out, item.value == 21);
            break;
        }
        assert_int_equal(rc, VCH_OK);
    }
    assert_true(vch_slice_eq(vch_buf_slice(&out), in));
    vch_buf_free(&out);
}

/* RFC 8949 appendix A, the values our subset has. */
static const char *const accepted[] = {
    "00", "01", "0a", "17", "1818", "1819", "1864", "1903e8", "1a000f4240", "1b000000e8d4a51000", "1bffffffffffffffff",
    "3bffffffffffffffff", "20", "29", "3863", "3903e7", "f4", "f5", "f6", "40", "4401020304", "60", "6161",
    "6449455446", "62225c", "62c3bc", "63e6b0b4", "64f0908591", "80", "83010203", "8301820203820405",
    "98190102030405060708090a0b0c0d0e0f101112131415161718181819", "a0", "a201020304", "a26161016162820203",
    "826161a161626163", "a56161614161626142616361436164614461656145",
    /* and the one tag, on COSE_Sign1's shape */
    "d28440a04040"};

static const struct {
    const char *hex, *why;
} refused[] = {
    {"", "nothing"},
    {"1800", "long head"},
    {"1817", "long head"},
    {"190000", "long head"},
    {"1900ff", "long head"},
    {"1a0000ffff", "long head"},
    {"1b00000000ffffffff", "long head"},
    {"3817", "long head of a negative"},
    {"580141", "long head of bytes"},
    {"780161", "long head of text"},
    {"980101", "long head of an array"},
    {"b8010101", "long head of a map"},
    {"d81240", "long head of the tag"},
    {"f814", "long head of false"},
    {"1c", "reserved 28"},
    {"1d", "reserved 29"},
    {"1e", "reserved 30"},
    {"1f", "indefinite number"},
    {"5f42010243030405ff", "indefinite bytes"},
    {"7f657374726561646d696e67ff", "indefinite text"},
    {"9fff", "indefinite array"},
    {"9f0102ff", "indefinite array"},
    {"bfff", "indefinite map"},
    {"ff", "break alone"},
    {"a202010102", "keys unsorted"},
    {"a2616201616102", "text keys unsorted"},
    {"a26261610161620a", "longer text key first"},
    {"a201020103", "key twice"},
    {"a3010102020201", "key twice, later"},
    {"82a201020103f6", "key twice, inside"},
    {"a1a20101010201", "key twice, inside a key"},
    {"f90000", "half float"},
    {"fa47c35000", "float"},
    {"fb3ff199999999999a", "double"},
    {"f97e00", "NaN"},
    {"f7", "undefined"},
    {"f0", "unassigned simple"},
    {"f818", "simple in two bytes"},
    {"f8ff", "simple in two bytes"},
    {"c11a514b67b0", "tag 1"},
    {"c249010000000000000000", "bignum"},
    {"d74401020304", "tag 23"},
    {"d81845", "tag 24"},
    {"d2", "tag of nothing"},
    {"61ff", "not UTF-8"},
    {"62c080", "over-long UTF-8"},
    {"63eda080", "surrogate in UTF-8"},
    {"64f4908080", "above U+10FFFF"},
    {"61c3", "cut UTF-8"},
    {"8261c361bc", "UTF-8 over two texts"},
    {"0000", "two items"},
    {"8000", "byte after the item"},
    {"5bffffffffffffffff", "bytes beyond the end"},
    {"9bffffffffffffffff", "array beyond the end"},
    {"bbffffffffffffffff", "map beyond the end"},
    {"bb8000000000000000", "map whose items wrap around"},
};

static void accepts_the_subset(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        uint8_t bytes[64];
        vch_slice_t item = from_hex(bytes, sizeof bytes, accepted[i]);
        if (vch_cbor_check(item) != VCH_OK) fail_msg("%s was refused", accepted[i]);
        assert_rewrites(item);
    }
}

static void refuses_every_other_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (check_hex(refused[i].hex) != VCH_ERR_FORMAT)
            fail_msg("%s (%s) was not refused", refused[i].hex, refused[i].why);
}

static void refuses_each_truncation(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        uint8_t bytes[64];
        vch_slice_t item = from_hex(bytes, sizeof bytes, accepted[i]);
        for (size_t n = 0; n < item.n; n++) {
            uint8_t *exact = vch_alloc(n); /* of this size, so that a reader past the end is caught */
            if (n) memcpy(exact, item.p, n);
            assert_int_equal(vch_cbor_check(vch_slice(exact, n)), VCH_ERR_FORMAT);
            vch_free(exact);
        }
    }
}

/* Whatever is accepted among all inputs of up to two bytes, and all of three
 * that start with a container, text or 16-bit head, comes out the same. */
static void small_inputs_exhaustively(void **state)
{
    (void)state;
    static const uint8_t starts[] = {0x19, 0x39, 0x62, 0x79, 0x82, 0x99, 0xa1, 0xd2, 0xf9};
    size_t taken = 0;
    for (unsigned v = 0; v < 0x10000; v++) {
        uint8_t two[2] = {(uint8_t)(v >> 8), (uint8_t)v};
        if (vch_cbor_check(vch_slice(two, 2)) == VCH_OK) {
            assert_rewrites(vch_slice(two, 2));
            taken++;
        }
        for (size_t s = 0; s < sizeof starts; s++) {
            uint8_t three[3] = {starts[s], two[0], two[1]};
            if (vch_cbor_check(vch_slice(three, 3)) == VCH_OK) assert_rewrites(vch_slice(three, 3));
        }
    }
    /* 2*(256-24) numbers, 256 one-byte strings, 128 ASCII texts, one-item
     * arrays and tags around each of the one-byte items: 24+24 numbers, two
     * empty strings, two empty containers and three simple values. */
    assert_int_equal(taken, 2 * 232 + 256 + 128 + 2 * 55);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    static const uint8_t wraps[] = {0x81, 0xd2, 0xa1}; /* in an array, tagged, as a map's key */
    for (size_t w = 0; w < sizeof wraps; w++) {
        for (size_t depth = 15; depth <= 40; depth++) {
            uint8_t bytes[128];
            memset(bytes, wraps[w], depth);
            memset(bytes + depth, 0, 1 + depth); /* the innermost 0, and each map's value */
            size_t n = depth + 1 + (wraps[w] == 0xa1 ? depth : 0);
            vch_rc want = depth <= VCH_CBOR_DEPTH_MAX ? VCH_OK : VCH_ERR_FORMAT;
            assert_int_equal(vch_cbor_check(vch_slice(bytes, n)), want);
        }
    }
    static uint8_t deep[1 << 20]; /* a million levels cost no stack */
    memset(deep, 0x81, sizeof deep);
    assert_int_equal(vch_cbor_check(vch_slice(deep, sizeof deep)), VCH_ERR_FORMAT);
    assert_int_equal(check_hex("8181818181818181818181818181818180"), VCH_ERR_FORMAT); /* the 17th is empty */
}

static void getters_check_the_type(void **state)
{
    (void)state;
    uint8_t bytes[64];
    vch_slice_t in = from_hex(bytes, sizeof bytes, "8718ff2045010203040563616263f5a10102d200");
    vch_cbor_t c = vch_cbor_over(in), before = c;
    uint64_t u = 77;
    int64_t i = 77;
    bool yes = false;
    vch_slice_t s = {0};
    uint8_t five[5] = {0}, four[4] = {0};
    assert_int_equal(vch_cbor_get_uint(&c, &u), VCH_ERR_FORMAT);
    assert_int_equal(vch_cbor_get_bool(&c, &yes), VCH_ERR_FORMAT);
    assert_int_equal(vch_cbor_get_map(&c, &u), VCH_ERR_FORMAT);
    assert_int_equal(vch_cbor_get_tag(&c, 18), VCH_ERR_FORMAT);
    assert_true(c.p == before.p && u == 77); /* unmoved, untouched */
    vch_cbor_type_t type;
    assert_int_equal(vch_cbor_peek(&c, &type), VCH_OK);
    assert_int_equal(type, VCH_CBOR_ARRAY);
    assert_int_equal(vch_cbor_get_array(&c, &u), VCH_OK);
    assert_int_equal(u, 7);
    assert_int_equal(vch_cbor_get_text(&c, &s), VCH_ERR_FORMAT);
    assert_int_equal(vch_cbor_get_uint(&c, &u), VCH_OK);
    assert_int_equal(u, 255);
    assert_int_equal(vch_cbor_get_uint(&c, &u), VCH_ERR_FORMAT);
    assert_int_equal(vch_cbor_get_int(&c, &i), VCH_OK);
    assert_int_equal(i, -1);
    assert_int_equal(vch_cbor_get_fixed(&c, four, 4), VCH_ERR_FORMAT);
    assert_int_equal(vch_cbor_get_fixed(&c, five, 5), VCH_OK);
    assert_memory_equal(five, "\1\2\3\4\5", 5);
    assert_int_equal(vch_cbor_get_bytes(&c, &s), VCH_ERR_FORMAT);
    assert_int_equal(vch_cbor_get_text(&c, &s), VCH_OK);
    assert_true(vch_slice_eq(s, vch_str("abc")));
    assert_int_equal(vch_cbor_get_bool(&c, &yes), VCH_OK);
    assert_true(yes);
    assert_int_equal(vch_cbor_skip(&c, &s), VCH_OK);
    assert_int_equal(s.n, 3);
    assert_int_equal(vch_cbor_get_tag(&c, 17), VCH_ERR_FORMAT);
    assert_int_equal(vch_cbor_get_tag(&c, 18), VCH_OK);
    assert_int_equal(vch_cbor_get_int(&c, &i), VCH_OK);
    assert_true(vch_cbor_done(&c) && i == 0);
    assert_int_equal(vch_cbor_get_int(&c, &i), VCH_ERR_FORMAT);
}

static void integers_at_the_edges(void **state)
{
    (void)state;
    static const int64_t values[] = {0,  23,  24,  255,  256,  65535,  65536,  4294967295,  4294967296,  INT64_MAX,
                                     -1, -24, -25, -256, -257, -65536, -65537, -4294967296, -4294967297, INT64_MIN};
    for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
        vch_buf_t b;
        vch_buf_init(&b, 9);
        assert_int_equal(vch_cbor_int(&b, values[k]), VCH_OK);
        vch_cbor_t c = vch_cbor_over(vch_buf_slice(&b));
        int64_t back = 0;
        assert_int_equal(vch_cbor_get_int(&c, &back), VCH_OK);
        assert_true(back == values[k] && vch_cbor_done(&c));
        vch_buf_free(&b);
    }
    uint8_t bytes[16];
    int64_t i;
    vch_cbor_t over = vch_cbor_over(from_hex(bytes, sizeof bytes, "1b8000000000000000"));
    assert_int_equal(vch_cbor_get_int(&over, &i), VCH_ERR_FORMAT);
    over = vch_cbor_over(from_hex(bytes, sizeof bytes, "3b8000000000000000"));
    assert_int_equal(vch_cbor_get_int(&over, &i), VCH_ERR_FORMAT);
}

static void find_in_a_map(void **state)
{
    (void)state;
    uint8_t bytes[64];
    vch_slice_t map = from_hex(bytes, sizeof bytes, "a4004161018201020517206178"), value = {0};
    assert_int_equal(vch_cbor_check(map), VCH_OK);
    assert_int_equal(vch_cbor_find(map, 1, &value), VCH_OK);
    assert_int_equal(value.n, 3);
    assert_int_equal(vch_cbor_find(map, 5, &value), VCH_OK);
    assert_true(value.n == 1 && value.p[0] == 0x17);
    value.n = 99;
    assert_int_equal(vch_cbor_find(map, 2, &value), VCH_ERR_NOT_FOUND);
    assert_int_equal(vch_cbor_find(map, 6, &value), VCH_ERR_NOT_FOUND);
    assert_int_equal(value.n, 99);
    assert_int_equal(vch_cbor_find(vch_slice("\x80", 1), 1, &value), VCH_ERR_FORMAT);
}

static void writer_keeps_what_it_had_when_full(void **state)
{
    (void)state;
    vch_buf_t b;
    static const uint8_t zeros[91] = {0};
    vch_buf_init(&b, 100);
    assert_int_equal(vch_cbor_bytes(&b, zeros, 91), VCH_OK);
    assert_int_equal(b.n, 93);
    assert_int_equal(vch_cbor_bytes(&b, "1234567", 7), VCH_ERR_LIMIT);
    assert_int_equal(vch_cbor_text(&b, "1234567", 7), VCH_ERR_LIMIT);
    assert_int_equal(vch_cbor_uint(&b, UINT64_MAX), VCH_ERR_LIMIT);
    assert_int_equal(b.n, 93);
    assert_int_equal(vch_cbor_bytes(&b, "123456", 6), VCH_OK);
    assert_int_equal(vch_cbor_null(&b), VCH_ERR_LIMIT);
    assert_int_equal(b.n, 100);
    vch_buf_clear(&b);
    assert_int_equal(vch_cbor_text(&b, "\xff", 1), VCH_ERR_FORMAT);
    assert_int_equal(vch_cbor_tag(&b, 1), VCH_ERR_FORMAT);
    assert_int_equal(b.n, 0);
    vch_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_the_subset),
        cmocka_unit_test(refuses_every_other_form),
        cmocka_unit_test(refuses_each_truncation),
        cmocka_unit_test(small_inputs_exhaustively),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(getters_check_the_type),
        cmocka_unit_test(integers_at_the_edges),
        cmocka_unit_test(find_in_a_map),
        cmocka_unit_test(writer_keeps_what_it_had_when_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
