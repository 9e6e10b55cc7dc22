/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/base.h"

/* ---- memory that refuses from the n-th request on ----------------------------- */

static size_t requests_left;

static void *stingy(void *ctx, void *old, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(old);
        return NULL;
    }
    if (requests_left == 0) return NULL;
    requests_left--;
    return realloc(old, size);
}

static const vch_mem_t stingy_mem = {NULL, stingy};

static void allow(size_t requests)
{
    requests_left = requests;
    vch_mem_use(&stingy_mem);
}

static int back_to_plenty(void **state)
{
    (void)state;
    vch_mem_use(NULL);
    return 0;
}

/* ---- results and errors --------------------------------------------------------- */

static void rc_table_is_total(void **state)
{
    (void)state;
    assert_string_equal(vch_rc_name(VCH_OK), "OK");
    assert_int_equal(vch_rc_exit(VCH_OK), 0);
    assert_string_equal(vch_rc_name(VCH_ERR_QUORUM), "ERR_QUORUM");
    assert_int_equal(vch_rc_exit(VCH_ERR_QUORUM), 10);
    for (int i = 1; i < VCH_RC_COUNT; i++) {
        assert_int_not_equal(vch_rc_exit((vch_rc)i), 0);
        assert_true(vch_rc_text((vch_rc)i)[0]);
    }
    assert_string_equal(vch_rc_name((vch_rc)VCH_RC_COUNT), "ERR_INTERNAL");
    assert_string_equal(vch_rc_name((vch_rc)-1), "ERR_INTERNAL");
}

static void err_keeps_cause_under_context(void **state)
{
    (void)state;
    vch_err_t err = {0};
    vch_rc rc = vch_fail(&err, VCH_ERR_IO, "disk %d broke", 7);
    assert_int_equal(vch_hint(&err, rc, "replace it"), VCH_ERR_IO);
    assert_int_equal(vch_context(&err, rc, "segment %s", "0001"), VCH_ERR_IO);
    assert_int_equal(vch_context(&err, rc, "opening"), VCH_ERR_IO);
    assert_string_equal(err.text, "opening: segment 0001: disk 7 broke");
    assert_string_equal(err.hint, "replace it");
    assert_int_equal(err.rc, VCH_ERR_IO);
}

static void err_context_without_cause_tells_the_result(void **state)
{
    (void)state;
    vch_err_t err = {0};
    assert_int_equal(vch_context(&err, VCH_ERR_FULL, "here"), VCH_ERR_FULL);
    assert_string_equal(err.text, "here: disk full");
    vch_fail(&err, VCH_ERR_IO, "old news");
    vch_hint(&err, VCH_ERR_IO, "old hint");
    vch_context(&err, VCH_ERR_KEY, "key k"); /* another cause: the old text and hint do not belong to it */
    assert_null(strstr(err.text, "old news"));
    assert_string_equal(err.hint, "");
    assert_int_equal(err.rc, VCH_ERR_KEY);
}

static void err_may_be_missing_and_never_overflows(void **state)
{
    (void)state;
    assert_int_equal(vch_fail(NULL, VCH_ERR_IO, "x"), VCH_ERR_IO);
    assert_int_equal(vch_hint(NULL, VCH_ERR_IO, "x"), VCH_ERR_IO);
    assert_int_equal(vch_context(NULL, VCH_ERR_IO, "x"), VCH_ERR_IO);
    struct {
        vch_err_t err;
        uint8_t guard[16];
    } box;
    memset(&box, 0xa5, sizeof box);
    char text[400];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = 0;
    vch_fail(&box.err, VCH_ERR_IO, "%s", text);
    for (int i = 0; i < 50; i++) vch_context(&box.err, VCH_ERR_IO, "context %d", i);
    assert_true(strlen(box.err.text) < VCH_ERR_TEXT_MAX);
    assert_memory_equal(box.err.text, "context 49: context 48: ", 24);
    for (size_t i = 0; i < sizeof box.guard; i++) assert_int_equal(box.guard[i], 0xa5);
}

/* ---- arithmetic and numbers as bytes ---------------------------------------------- */

static void arithmetic_tells_overflow(void **state)
{
    (void)state;
    size_t r;
    assert_false(vch_add_overflows(SIZE_MAX - 1, 1, &r));
    assert_true(r == SIZE_MAX);
    assert_true(vch_add_overflows(SIZE_MAX, 1, &r));
    assert_false(vch_mul_overflows(SIZE_MAX / 2, 2, &r));
    assert_true(vch_mul_overflows(SIZE_MAX / 2 + 1, 2, &r));
    assert_null(vch_alloc_array(SIZE_MAX / 2, 3));
}

static void numbers_are_big_endian(void **state)
{
    (void)state;
    uint8_t b[8];
    vch_put_u64(b, 0x0102030405060708u);
    assert_memory_equal(b, "\1\2\3\4\5\6\7\10", 8);
    assert_true(vch_get_u64(b) == 0x0102030405060708u);
    vch_put_u32(b, 0xfffefdfcu);
    assert_true(vch_get_u32(b) == 0xfffefdfcu);
    for (unsigned v = 0; v < 65536; v++) {
        vch_put_u16(b, (uint16_t)v);
        assert_int_equal(vch_get_u16(b), v);
    }
}

static void slices_compare_by_content(void **state)
{
    (void)state;
    assert_true(vch_slice_eq(vch_slice(NULL, 0), vch_str("")));
    assert_true(vch_slice_eq(vch_str("abc"), vch_slice("abcd", 3)));
    assert_false(vch_slice_eq(vch_str("abc"), vch_str("abd")));
    assert_false(vch_slice_eq(vch_str("abc"), vch_str("ab")));
}

/* ---- memory -------------------------------------------------------------------------- */

static void alloc_zeroes_and_reports_refusal(void **state)
{
    (void)state;
    uint8_t *p = vch_alloc(100);
    assert_non_null(p);
    for (int i = 0; i < 100; i++) assert_int_equal(p[i], 0);
    vch_wipe(p, 100);
    vch_free(p);
    vch_free(NULL);
    assert_null(vch_alloc(0));
    allow(0);
    assert_null(vch_alloc(1));
    assert_null(vch_strdup("x"));
    allow(1);
    char *s = vch_strdup("kept");
    assert_string_equal(s, "kept");
    assert_null(vch_resize(s, 1000));
    assert_string_equal(s, "kept");
    vch_free(s);
}

/* ---- buffer ---------------------------------------------------------------------------- */

static void buf_fills_to_its_maximum_and_no_further(void **state)
{
    (void)state;
    static const size_t maxima[] = {64, 65, 100, 1000, 4096, 5000};
    for (size_t k = 0; k < sizeof maxima / sizeof *maxima; k++) {
        vch_buf_t b;
        vch_buf_init(&b, maxima[k]);
        for (size_t i = 0; i < maxima[k]; i++) assert_int_equal(vch_buf_u8(&b, (uint8_t)i), VCH_OK);
        assert_int_equal(vch_buf_u8(&b, 1), VCH_ERR_LIMIT);
        assert_int_equal(vch_buf_printf(&b, "x"), VCH_ERR_LIMIT);
        assert_int_equal(b.n, maxima[k]);
        for (size_t i = 0; i < maxima[k]; i++) assert_int_equal(b.p[i], (uint8_t)i);
        vch_buf_free(&b);
        assert_int_equal(b.n, 0);
        assert_int_equal(b.max, maxima[k]);
    }
}

/* A maximum below the first capacity counts as well. */
static void buf_holds_a_small_maximum(void **state)
{
    (void)state;
    for (size_t max = 0; max < 64; max++) {
        vch_buf_t b;
        vch_buf_init(&b, max);
        for (size_t i = 0; i < max; i++) assert_int_equal(vch_buf_u8(&b, 1), VCH_OK);
        assert_int_equal(vch_buf_u8(&b, 1), VCH_ERR_LIMIT);
        assert_int_equal(b.n, max);
        vch_buf_free(&b);
    }
}

static void buf_keeps_contents_when_it_fails(void **state)
{
    (void)state;
    vch_buf_t b;
    uint8_t *to = NULL;
    vch_buf_init(&b, 1000);
    allow(1);
    assert_int_equal(vch_buf_put(&b, "hello", 5), VCH_OK);
    assert_int_equal(vch_buf_extend(&b, 500, &to), VCH_ERR_MEMORY);
    assert_int_equal(vch_buf_extend(&b, 996, &to), VCH_ERR_LIMIT);
    assert_int_equal(vch_buf_extend(&b, SIZE_MAX, &to), VCH_ERR_LIMIT);
    assert_null(to);
    assert_true(vch_slice_eq(vch_buf_slice(&b), vch_str("hello")));
    assert_int_equal(vch_buf_printf(&b, " %d", 42), VCH_OK);
    assert_true(vch_slice_eq(vch_buf_slice(&b), vch_str("hello 42")));
    vch_buf_clear(&b);
    assert_int_equal(vch_buf_put(&b, NULL, 0), VCH_OK);
    assert_int_equal(b.n, 0);
    vch_buf_free(&b);
}

/* ---- arena ------------------------------------------------------------------------------- */

static void arena_gives_zeroed_aligned_memory(void **state)
{
    (void)state;
    vch_arena_t a;
    vch_arena_init(&a, 1u << 20);
    for (size_t n = 0; n < 300; n++) {
        uint8_t *p = vch_arena_alloc(&a, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
    }
    assert_memory_equal(vch_arena_copy(&a, "copied", 7), "copied", 7);
    assert_non_null(vch_arena_copy(&a, NULL, 0));
    vch_arena_reset(&a);
    assert_int_equal(*(uint8_t *)vch_arena_alloc(&a, 1), 0); /* zeroed again after the reset */
    vch_arena_free(&a);
}

static void arena_over_fixed_memory_never_allocates(void **state)
{
    (void)state;
    _Alignas(16) uint8_t memory[256];
    vch_arena_t a;
    allow(0);
    vch_arena_over(&a, memory + 1, sizeof memory - 1); /* 240 bytes after alignment */
    assert_null(vch_arena_alloc(&a, 241));
    uint8_t *p = vch_arena_alloc(&a, 240);
    assert_ptr_equal(p, memory + 16);
    assert_null(vch_arena_alloc(&a, 1));
    vch_arena_reset(&a);
    assert_ptr_equal(vch_arena_alloc(&a, 16), memory + 16);
    vch_arena_free(&a);
    assert_null(vch_arena_alloc(&a, 1));
}

static void arena_refuses_what_is_too_much(void **state)
{
    (void)state;
    vch_arena_t a;
    vch_arena_init(&a, 1u << 20);
    assert_null(vch_arena_alloc(&a, (1u << 20) + 1));
    assert_null(vch_arena_alloc(&a, SIZE_MAX));
    assert_null(vch_arena_array(&a, SIZE_MAX / 2, 3));
    assert_non_null(vch_arena_array(&a, 1u << 10, 1u << 10));
    vch_arena_free(&a);
    vch_arena_init(&a, 1u << 20);
    allow(0);
    assert_null(vch_arena_alloc(&a, 1));
    vch_arena_free(&a);
}

/* However it is used up, an arena hands out at most `max` bytes. */
static void arena_never_exceeds_its_maximum(void **state)
{
    (void)state;
    static const size_t maxima[] = {16, 1024, 65536, 100000, 1u << 18};
    for (size_t k = 0; k < sizeof maxima / sizeof *maxima; k++) {
        vch_arena_t a;
        vch_arena_init(&a, maxima[k]);
        size_t got = 0;
        while (got <= maxima[k] && vch_arena_alloc(&a, 16)) got += 16;
        assert_true(got > 0);
        assert_true(got <= maxima[k]);
        vch_arena_free(&a);
    }
}

/* ---- checks --------------------------------------------------------------------------------- */

static void crc32c_known_answers(void **state)
{
    (void)state;
    uint8_t b[32];
    assert_int_equal(vch_crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(vch_crc32c(0, "", 0), 0);
    memset(b, 0, 32); /* RFC 3720 appendix B.4, its 32-byte examples */
    assert_int_equal(vch_crc32c(0, b, 32), 0x8a9136aau);
    memset(b, 0xff, 32);
    assert_int_equal(vch_crc32c(0, b, 32), 0x62a8ab43u);
    for (int i = 0; i < 32; i++) b[i] = (uint8_t)i;
    assert_int_equal(vch_crc32c(0, b, 32), 0x46dd794eu);
}

/* Long input is read in three streams, short input in one: both must agree. */
static void crc32c_of_long_input(void **state)
{
    (void)state;
    static uint8_t b[7000];
    uint32_t pieces = 0x1234;
    for (size_t i = 0; i < sizeof b; i++) b[i] = (uint8_t)(i * i >> 3);
    for (size_t n = 0; n < sizeof b; n++) {
        assert_int_equal(vch_crc32c(0x1234, b, n), pieces);
        pieces = vch_crc32c(pieces, b + n, 1);
    }
}

static void crc32c_continues_and_sees_each_bit(void **state)
{
    (void)state;
    uint8_t b[61];
    for (size_t i = 0; i < sizeof b; i++) b[i] = (uint8_t)(i * 37);
    uint32_t whole = vch_crc32c(0, b, sizeof b);
    for (size_t cut = 0; cut <= sizeof b; cut++)
        assert_int_equal(vch_crc32c(vch_crc32c(0, b, cut), b + cut, sizeof b - cut), whole);
    for (size_t bit = 0; bit < sizeof b * 8; bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(vch_crc32c(0, b, sizeof b), whole);
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* Section 4 of RFC 3629, read as a decoder: an independent second opinion. */
static bool decodes(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c = p[i++], least = 0;
        unsigned more = c < 0x80 ? 0 : (c >> 5) == 6 ? 1 : (c >> 4) == 14 ? 2 : (c >> 3) == 30 ? 3 : 9;
        if (more == 9 || more > n - i) return false;
        least = more == 0 ? 0 : more == 1 ? 0x80 : more == 2 ? 0x800 : 0x10000;
        c = more ? c & (0x3fu >> more) : c;
        for (; more; more--, i++) {
            if (p[i] >> 6 != 2) return false;
            c = c << 6 | (p[i] & 0x3f);
        }
        if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return false;
    }
    return true;
}

static void utf8_all_short_strings(void **state)
{
    (void)state;
    uint8_t b[3];
    for (uint32_t v = 0; v < 1u << 24; v++) {
        b[0] = (uint8_t)(v >> 16), b[1] = (uint8_t)(v >> 8), b[2] = (uint8_t)v;
        for (size_t n = v < 256 ? 1 : 2; n <= 3; n++) /* every string of 1 to 3 bytes at least once */
            if (vch_utf8_valid(vch_slice(b + 3 - n, n)) != decodes(b + 3 - n, n)) fail_msg("%06x, %zu bytes", v, n);
    }
}

static void utf8_four_byte_edges(void **state)
{
    (void)state;
    static const uint8_t tails[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0xbf, 0xc0, 0xff};
    for (uint32_t first = 0; first < 65536; first++) {
        for (size_t k = 0; k < 64; k++) {
            uint8_t b[4] = {(uint8_t)(first >> 8), (uint8_t)first, tails[k / 8], tails[k % 8]};
            if (vch_utf8_valid(vch_slice(b, 4)) != decodes(b, 4)) fail_msg("%04x, tail %zu", first, k);
        }
    }
}

static void utf8_table(void **state)
{
    (void)state;
    static const struct {
        const char *what, *s;
        size_t n;
        bool valid;
    } rows[] = {
        {"empty", "", 0, true},
        {"zero byte", "\0", 1, true},
        {"last of each length", "\x7f\xdf\xbf\xef\xbf\xbf\xf4\x8f\xbf\xbf", 10, true},
        {"first of each length", "\xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80", 9, true},
        {"around the surrogates", "\xed\x9f\xbf\xee\x80\x80", 6, true},
        {"lone continuation", "\x80", 1, false},
        {"over-long slash, 2", "\xc0\xaf", 2, false},
        {"over-long, 2", "\xc1\xbf", 2, false},
        {"over-long, 3", "\xe0\x9f\xbf", 3, false},
        {"over-long, 4", "\xf0\x8f\xbf\xbf", 4, false},
        {"first surrogate", "\xed\xa0\x80", 3, false},
        {"last surrogate", "\xed\xbf\xbf", 3, false},
        {"above U+10FFFF", "\xf4\x90\x80\x80", 4, false},
        {"f5", "\xf5\x80\x80\x80", 4, false},
        {"five bytes", "\xf8\x88\x80\x80\x80", 5, false},
        {"fe", "\xfe", 1, false},
        {"ff", "\xff", 1, false},
        {"cut after 1 of 2", "a\xc2", 2, false},
        {"cut after 2 of 3", "a\xe0\xa0", 3, false},
        {"cut after 3 of 4", "a\xf0\x90\x80", 4, false},
        {"broken in the middle", "\xe2\x28\xa1", 3, false},
        {"good then bad", "good\xff", 5, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (vch_utf8_valid(vch_slice(rows[i].s, rows[i].n)) != rows[i].valid) fail_msg("%s", rows[i].what);
}

/* Against the C library, day by day over 500 years and at the ends. */
static void dates_are_the_calendars(void **state)
{
    (void)state;
    char text[VCH_UTC_LEN], want[VCH_UTC_LEN], day[VCH_UTC_LEN];
    for (uint64_t d = 0; d < 500 * 366; d++) {
        time_t s = (time_t)(d * 86400 + d % 86400);
        struct tm tm;
        assert_non_null(gmtime_r(&s, &tm));
        assert_true(strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm) > 0);
        snprintf(want, sizeof want, "%.20s.%03uZ", day, (unsigned)(d % 1000));
        vch_utc(text, (uint64_t)s * 1000 + d % 1000);
        assert_string_equal(text, want);
    }
    vch_utc(text, 0);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    vch_utc(text, UINT64_MAX);
    assert_string_equal(text, "584556019-04-03T14:25:51.615Z");
}

static void hex_both_ways(void **state)
{
    (void)state;
    uint8_t b[256], back[256];
    char hex[513];
    for (int i = 0; i < 256; i++) b[i] = (uint8_t)i;
    vch_hex(hex, b, 256);
    assert_int_equal(strlen(hex), 512);
    assert_memory_equal(hex, "000102", 6);
    assert_true(vch_unhex(back, 256, hex, 512));
    assert_memory_equal(b, back, 256);
    assert_true(vch_unhex(back, 2, "FfAb", 4));
    assert_memory_equal(back, "\xff\xab", 2);
    assert_true(vch_unhex(back, 0, "", 0));
    memset(back, 0x11, sizeof back);
    assert_false(vch_unhex(back, 2, "0011f", 5));
    assert_false(vch_unhex(back, 2, "001", 3));
    assert_false(vch_unhex(back, 2, "001122", 6));
    for (int c = 0; c < 256; c++) { /* every character that is no digit, at both places */
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) continue;
        char bad[4] = {'0', '0', (char)c, '0'}, worse[4] = {'0', '0', '0', (char)c};
        assert_false(vch_unhex(back, 2, bad, 4));
        assert_false(vch_unhex(back, 2, worse, 4));
    }
    assert_int_equal(back[0], 0x11); /* untouched by all of these */
}

#define TEST(f) cmocka_unit_test_teardown(f, back_to_plenty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rc_table_is_total),
        TEST(err_keeps_cause_under_context),
        TEST(err_context_without_cause_tells_the_result),
        TEST(err_may_be_missing_and_never_overflows),
        TEST(arithmetic_tells_overflow),
        TEST(numbers_are_big_endian),
        TEST(slices_compare_by_content),
        TEST(alloc_zeroes_and_reports_refusal),
        TEST(buf_fills_to_its_maximum_and_no_further),
        TEST(buf_holds_a_small_maximum),
        TEST(buf_keeps_contents_when_it_fails),
        TEST(arena_gives_zeroed_aligned_memory),
        TEST(arena_over_fixed_memory_never_allocates),
        TEST(arena_refuses_what_is_too_much),
        TEST(arena_never_exceeds_its_maximum),
        TEST(crc32c_known_answers),
        TEST(crc32c_of_long_input),
        TEST(crc32c_continues_and_sees_each_bit),
        TEST(utf8_all_short_strings),
        TEST(utf8_four_byte_edges),
        TEST(utf8_table),
        TEST(hex_both_ways),
        TEST(dates_are_the_calendars),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
