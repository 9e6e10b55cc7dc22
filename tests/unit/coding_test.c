/* SPDX-License-Identifier: Apache-2.0 */
/* The erasure code against the field as the format describes it: parity from a
 * Cauchy matrix over GF(2^8), and every pattern of losses. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "store/shards.h"

#define LEN 100u
#define N_MAX 6u

/* Carry-less multiplication modulo x^8 + x^4 + x^3 + x^2 + 1. */
static uint8_t mul(uint8_t a, uint8_t b)
{
    unsigned sum = 0, x = a;
    for (unsigned i = 0; i < 8; i++, x <<= 1)
        if (b >> i & 1) sum ^= x;
    for (int bit = 15; bit >= 8; bit--)
        if (sum >> bit & 1) sum ^= 0x11du << (bit - 8);
    return (uint8_t)sum;
}

static uint8_t inverse(uint8_t a)
{
    for (unsigned b = 1; b < 256; b++)
        if (mul(a, (uint8_t)b) == 1) return (uint8_t)b;
    return 0;
}

typedef struct {
    uint8_t bytes[16][LEN], *block[16];
} blocks_t;

static void fill(blocks_t *b, unsigned k, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        b->block[i] = b->bytes[i];
        for (unsigned at = 0; at < LEN; at++) b->bytes[i][at] = i < k ? (uint8_t)(i * 37 + at * 11 + at / 7) : 0xee;
    }
}

static void parity_is_the_formats(void **state)
{
    (void)state;
    for (unsigned n = 2; n <= 16; n++)
        for (unsigned k = 1; k < n; k++) {
            vch_coding_t *c;
            blocks_t b;
            assert_int_equal(vch_coding_new(&c, k, n), VCH_OK);
            fill(&b, k, n);
            vch_coding_encode(c, b.block, LEN);
            for (unsigned i = k; i < n; i++)
                for (unsigned at = 0; at < LEN; at++) {
                    uint8_t want = 0;
                    for (unsigned j = 0; j < k; j++)
                        want ^= k == 1 ? b.bytes[0][at] : mul(inverse((uint8_t)(i ^ j)), b.bytes[j][at]);
                    assert_int_equal(b.bytes[i][at], want);
                }
            vch_coding_free(c);
        }
}

/* Whatever is lost comes back while k blocks are there, and else nothing is written. */
static void every_loss(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= N_MAX; n++)
        for (unsigned k = 1; k <= n; k++) {
            vch_coding_t *c;
            blocks_t whole, b;
            if (n > 1 && k == n) continue;
            assert_int_equal(vch_coding_new(&c, k, n), VCH_OK);
            fill(&whole, k, n);
            vch_coding_encode(c, whole.block, LEN);
            for (uint32_t have = 0; have < 1u << n; have++) {
                fill(&b, k, n);
                for (unsigned i = 0; i < n; i++) {
                    memcpy(b.bytes[i], whole.bytes[i], LEN);
                    if (!(have >> i & 1)) memset(b.bytes[i], 0x55, LEN);
                }
                bool enough = (unsigned)__builtin_popcount(have) >= k;
                assert_int_equal(vch_coding_rebuild(c, b.block, LEN, have, (1u << n) - 1),
                                 enough ? VCH_OK : VCH_ERR_NOT_FOUND);
                for (unsigned i = 0; i < n; i++) {
                    if (enough || have >> i & 1)
                        assert_memory_equal(b.bytes[i], whole.bytes[i], LEN);
                    else
                        assert_int_equal(b.bytes[i][0], 0x55);
                }
            }
            vch_coding_free(c);
        }
}

static void only_what_is_wanted(void **state)
{
    (void)state;
    vch_coding_t *c;
    blocks_t whole, b;
    assert_int_equal(vch_coding_new(&c, 2, 4), VCH_OK);
    fill(&whole, 2, 4);
    vch_coding_encode(c, whole.block, LEN);
    b = whole;
    fill(&b, 0, 4);
    memcpy(b.bytes[2], whole.bytes[2], LEN);
    memcpy(b.bytes[3], whole.bytes[3], LEN);
    assert_int_equal(vch_coding_rebuild(c, b.block, LEN, 0xc, 0x2), VCH_OK);
    assert_memory_equal(b.bytes[1], whole.bytes[1], LEN);
    for (unsigned at = 0; at < LEN; at++) assert_int_equal(b.bytes[0][at], 0xee);
    vch_coding_free(c);
}

static void numbers_that_cannot_be(void **state)
{
    (void)state;
    vch_coding_t *c = NULL;
    static const unsigned bad[][2] = {{0, 1}, {2, 1}, {2, 2}, {3, 3}, {1, 17}, {16, 17}, {0, 0}, {16, 16}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(vch_coding_new(&c, bad[i][0], bad[i][1]), VCH_ERR_LIMIT);
    assert_null(c);
    vch_coding_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parity_is_the_formats),
        cmocka_unit_test(every_loss),
        cmocka_unit_test(only_what_is_wanted),
        cmocka_unit_test(numbers_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
