/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing records: the layout, against OpenSSL called another way, and every change refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/record.h"

static vch_cipher_t *cipher;
static uint8_t key[32], salt[32];
static vch_record_about_t about;

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < 32; i++) {
        key[i] = (uint8_t)(i * 7);
        salt[i] = (uint8_t)(i + 100);
        about.extent.b[i] = (uint8_t)(i + 1);
        about.dataset.b[i] = (uint8_t)(i + 50);
    }
    about.leaf = 3u << 20 | 12345;
    return vch_cipher_new(&cipher) == VCH_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    vch_cipher_free(cipher);
    return 0;
}

static void test_classes(void **state)
{
    (void)state;
    uint8_t c;
    size_t before = 0;
    assert_int_equal(vch_record_size(0), 64);
    assert_int_equal(vch_record_size(VCH_RECORD_CLASSES - 1), VCH_RECORD_MAX);
    for (uint8_t i = 0; i < VCH_RECORD_CLASSES; i++) {
        size_t size = vch_record_size(i);
        assert_true(size > before);
        if (i) assert_true((size - before) * 4 <= before);
        assert_int_equal(vch_record_class(&c, size - VCH_RECORD_HEAD), VCH_OK);
        assert_int_equal(c, i);
        if (i) assert_int_equal(vch_record_class(&c, before - VCH_RECORD_HEAD + 1), VCH_OK);
        assert_int_equal(c, i);
        before = size;
    }
    assert_int_equal(vch_record_class(&c, 0), VCH_OK);
    assert_int_equal(c, 0);
    assert_int_equal(vch_record_class(&c, VCH_RECORD_MAX - VCH_RECORD_HEAD + 1), VCH_ERR_LIMIT);
    assert_int_equal(vch_record_class(&c, SIZE_MAX), VCH_ERR_LIMIT);
}

/* The plaintext that somebody with the key and OpenSSL alone gets. */
static void open_by_hand(uint8_t *ret, const uint8_t *sealed, int size)
{
    static const uint8_t zero[12];
    uint8_t aad[68], tag[16];
    int n;
    memcpy(aad, about.extent.b, 32);
    vch_put_u32(aad + 32, about.leaf);
    memcpy(aad + 36, about.dataset.b, 32);
    memcpy(tag, sealed + size, 16);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, zero), 1);
    assert_int_equal(EVP_DecryptUpdate(ctx, NULL, &n, aad, sizeof aad), 1);
    assert_int_equal(EVP_DecryptUpdate(ctx, ret, &n, sealed, size), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, 16, tag), 1);
    assert_int_equal(EVP_DecryptFinal_ex(ctx, ret + n, &n), 1);
    EVP_CIPHER_CTX_free(ctx);
}

static void test_layout(void **state)
{
    (void)state;
    uint8_t sealed[96 + 16], plain[96], want[96] = {0};
    static const char text[] = "forty-one bytes that are somebody's, ok?!";
    vch_slice_t canonical = vch_slice(text, 41);
    uint8_t c;
    assert_int_equal(vch_record_class(&c, canonical.n), VCH_OK);
    assert_int_equal(vch_record_size(c), 80);
    assert_int_equal(vch_record_seal(cipher, sealed, c, key, &about, salt, canonical), VCH_OK);
    want[3] = 41;
    memcpy(want + 4, salt, 32);
    memcpy(want + 36, text, 41);
    open_by_hand(plain, sealed, 80);
    assert_memory_equal(plain, want, 80);
}

static void test_opens_what_was_sealed(void **state)
{
    (void)state;
    static const size_t length[] = {0, 1, 27, 28, 29, 100, 4095, 70000, VCH_RECORD_MAX - VCH_RECORD_HEAD};
    uint8_t *data = malloc(VCH_RECORD_MAX), *sealed = malloc(VCH_RECORD_MAX + 16), *plain = malloc(VCH_RECORD_MAX);
    for (size_t i = 0; i < VCH_RECORD_MAX; i++) data[i] = (uint8_t)(i * 31 + i / 256);
    for (size_t i = 0; i < sizeof length / sizeof *length; i++) {
        const uint8_t *got_salt;
        vch_slice_t got;
        uint8_t c;
        assert_int_equal(vch_record_class(&c, length[i]), VCH_OK);
        assert_int_equal(vch_record_seal(cipher, sealed, c, key, &about, salt, vch_slice(data, length[i])), VCH_OK);
        assert_int_equal(vch_record_open(cipher, plain, c, key, &about, sealed, &got_salt, &got), VCH_OK);
        assert_memory_equal(got_salt, salt, 32);
        assert_int_equal(got.n, length[i]);
        assert_true(got.n == 0 || memcmp(got.p, data, got.n) == 0);
        /* a smaller class has no room for it, a larger one is not how it is sealed */
        if (c) assert_int_equal(vch_record_seal(cipher, sealed, c - 1, key, &about, salt, got), VCH_ERR_LIMIT);
    }
    free(data);
    free(sealed);
    free(plain);
}

static void refused(const uint8_t *sealed, uint8_t c, vch_rc want)
{
    uint8_t plain[256];
    const uint8_t *s = NULL;
    vch_slice_t got = {NULL, 7};
    memset(plain, 0xaa, sizeof plain);
    assert_int_equal(vch_record_open(cipher, plain, c, key, &about, sealed, &s, &got), want);
    assert_null(s);
    assert_int_equal(got.n, 7);
    for (size_t i = 0; i < vch_record_size(c); i++) assert_int_equal(plain[i], 0);
}

static void test_every_bit(void **state)
{
    (void)state;
    uint8_t sealed[128 + 16] = {0};
    assert_int_equal(vch_record_seal(cipher, sealed, 3, key, &about, salt,
                                     vch_slice("abcdefghijklmnopqrstuvwxyz"
                                               "abcdefghijklmnopqrstuvwxyz"
                                               "abcdefghij",
                                               62)),
                     VCH_OK);
    for (size_t bit = 0; bit < 8 * (112 + 16); bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        refused(sealed, 3, VCH_ERR_KEY);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    refused(sealed, 2, VCH_ERR_KEY);
    refused(sealed, 4, VCH_ERR_KEY);
    for (int i = 0; i < 32; i++) {
        key[i] ^= 1;
        refused(sealed, 3, VCH_ERR_KEY);
        key[i] ^= 1;
        about.extent.b[i] ^= 0x80;
        refused(sealed, 3, VCH_ERR_KEY);
        about.extent.b[i] ^= 0x80;
        about.dataset.b[i] ^= 2;
        refused(sealed, 3, VCH_ERR_KEY);
        about.dataset.b[i] ^= 2;
        about.leaf ^= 1u << i;
        refused(sealed, 3, VCH_ERR_KEY);
        about.leaf ^= 1u << i;
    }
    uint8_t plain[112];
    const uint8_t *s;
    vch_slice_t got;
    assert_int_equal(vch_record_open(cipher, plain, 3, key, &about, sealed, &s, &got), VCH_OK);
    assert_int_equal(vch_record_open(cipher, plain, VCH_RECORD_CLASSES, key, &about, sealed, &s, &got), VCH_ERR_LIMIT);
}

/* Sealed under the right key, but not in the one form: the custodian's doing. */
static void test_other_forms(void **state)
{
    (void)state;
    uint8_t sealed[128 + 16];
    /* in a class larger than needed */
    assert_int_equal(vch_record_seal(cipher, sealed, 4, key, &about, salt, vch_str("short")), VCH_OK);
    refused(sealed, 4, VCH_ERR_FORMAT);
    assert_int_equal(vch_record_seal(cipher, sealed, 0, key, &about, salt, vch_str("short")), VCH_OK);
    uint8_t plain[64];
    const uint8_t *s;
    vch_slice_t got;
    assert_int_equal(vch_record_open(cipher, plain, 0, key, &about, sealed, &s, &got), VCH_OK);
    assert_int_equal(vch_record_seal(cipher, sealed, VCH_RECORD_CLASSES, key, &about, salt, got), VCH_ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_opens_what_was_sealed),
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_other_forms),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
