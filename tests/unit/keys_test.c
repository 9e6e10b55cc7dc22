/* SPDX-License-Identifier: Apache-2.0 */
/* Keys, signatures, key files, the passphrase box and COSE_Sign1.  What must
 * hold has its twin that must be refused: a flipped bit, a second form, a
 * cut, a wrong key, a wrong passphrase, a refused allocation. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/err.h>

#include "crypto/keys.h"

extern char **environ;

/* ---- helpers --------------------------------------------------------------------- */

static const vch_alg_t algs[2] = {VCH_ALG_ED25519, VCH_ALG_P256};
static const char *order_hex = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
static const char *half_hex = "7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8";

static void unhex(uint8_t *out, size_t n, const char *hex) { assert_true(vch_unhex(out, n, hex, strlen(hex))); }

static vch_signer_t *signer(vch_alg_t alg, uint8_t fill)
{
    uint8_t seed[32];
    vch_signer_t *s = NULL;
    memset(seed, fill, sizeof seed);
    assert_int_equal(vch_signer_new(&s, alg, seed, NULL), VCH_OK);
    return s;
}

static vch_signer_t *signer_of_hex(vch_alg_t alg, const char *seed_hex)
{
    uint8_t seed[32];
    vch_signer_t *s = NULL;
    unhex(seed, 32, seed_hex);
    assert_int_equal(vch_signer_new(&s, alg, seed, NULL), VCH_OK);
    return s;
}

/* s := n - s, whichever form it has. */
static void other_s(uint8_t sig[64])
{
    uint8_t n[32];
    unhex(n, 32, order_hex);
    int borrow = 0;
    for (int i = 31; i >= 0; i--) {
        int d = n[i] - sig[32 + i] - borrow;
        borrow = d < 0;
        sig[32 + i] = (uint8_t)(d & 0xff);
    }
}

static bool low_s(const uint8_t sig[64])
{
    uint8_t half[32];
    unhex(half, 32, half_hex);
    return memcmp(sig + 32, half, 32) <= 0;
}

static vch_rc pubkey_of_hex(const char *hex)
{
    uint8_t b[64];
    vch_pubkey_t key;
    unhex(b, strlen(hex) / 2, hex);
    return vch_pubkey_get(&key, vch_slice(b, strlen(hex) / 2));
}

/* ---- Ed25519 ----------------------------------------------------------------------- */

/* RFC 8032 section 7.1, tests 1 to 3. */
static const struct {
    const char *seed, *pub, *msg, *sig;
} rfc8032[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
     "655141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
     "b00d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
     "c027beceea1ec40a"},
};

static void ed25519_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rfc8032 / sizeof rfc8032[0]; i++) {
        uint8_t msg[8], want[64], sig[64], pub[34] = {0xed, 0x01};
        size_t n = strlen(rfc8032[i].msg) / 2;
        unhex(pub + 2, 32, rfc8032[i].pub);
        unhex(msg, n, rfc8032[i].msg);
        unhex(want, 64, rfc8032[i].sig);
        vch_signer_t *s = signer_of_hex(VCH_ALG_ED25519, rfc8032[i].seed);
        const vch_pubkey_t *key = vch_signer_public(s);
        assert_true(vch_slice_eq(vch_pubkey_bytes(key), vch_slice(pub, 34)));
        assert_int_equal(vch_signer_sign(s, sig, vch_slice(msg, n)), VCH_OK);
        assert_memory_equal(sig, want, 64);
        assert_int_equal(vch_sig_verify(key, want, vch_slice(msg, n)), VCH_OK);
        msg[n] = 0;
        assert_int_equal(vch_sig_verify(key, want, vch_slice(msg, n + 1)), VCH_ERR_SIGNATURE);
        vch_signer_free(s);
    }
}

/* S + L verifies in a sloppy implementation; so S must be below L. */
static void ed25519_second_s_refused(void **state)
{
    (void)state;
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                      0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                                      0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};
    vch_signer_t *s = signer(VCH_ALG_ED25519, 7);
    uint8_t sig[64];
    assert_int_equal(vch_signer_sign(s, sig, vch_str("m")), VCH_OK);
    assert_int_equal(vch_sig_verify(vch_signer_public(s), sig, vch_str("m")), VCH_OK);
    unsigned carry = 0;
    for (int i = 0; i < 32; i++) {
        carry += (unsigned)sig[32 + i] + order[i];
        sig[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    assert_int_equal(carry, 0);
    assert_int_equal(vch_sig_verify(vch_signer_public(s), sig, vch_str("m")), VCH_ERR_SIGNATURE);
    vch_signer_free(s);
}

/* All eight points of small order, then forms of y that are not below p. */
static const char *bad_ed25519[] = {
    "ed010100000000000000000000000000000000000000000000000000000000000000", /* order 1 */
    "ed01ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* order 2 */
    "ed010000000000000000000000000000000000000000000000000000000000000000", /* order 4 */
    "ed010000000000000000000000000000000000000000000000000000000000000080",
    "ed0126e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", /* order 8 */
    "ed0126e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "ed01c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ed01c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ed010100000000000000000000000000000000000000000000000000000000000080", /* -0 */
    "ed01edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* p */
    "ed01eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* p + 1 */
    "ed01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* p + 18 */
    "ed010200000000000000000000000000000000000000000000000000000000000000", /* no x for this y */
};

static void ed25519_bad_keys_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_ed25519 / sizeof bad_ed25519[0]; i++)
        for (int twice = 0; twice < 2; twice++) /* a refused key is not remembered as good */
            assert_int_equal(pubkey_of_hex(bad_ed25519[i]), VCH_ERR_KEY);
    assert_int_equal(pubkey_of_hex("ed01d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), VCH_OK);
}

/* With a key of small order one signature fits many messages. */
static void ed25519_small_order_never_verifies(void **state)
{
    (void)state;
    vch_pubkey_t key = {.alg = VCH_ALG_ED25519, .n = 34, .b = {0xed, 0x01, 0x01}};
    uint8_t sig[64] = {0x01}; /* R neutral, S = 0: the equation holds for all messages */
    for (uint8_t m = 0; m < 8; m++) assert_int_equal(vch_sig_verify(&key, sig, vch_slice(&m, 1)), VCH_ERR_SIGNATURE);
}

/* ---- P-256 -------------------------------------------------------------------------- */

/* RFC 6979 appendix A.2.5, SHA-256: "sample" has a high s, "test" a low one. */
static const char *p256_scalar = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
static const char *p256_point = "802403"
                                "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
static const char *sig_sample = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
                                "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
static const char *sig_test = "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367"
                              "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083";

static void p256_vectors(void **state)
{
    (void)state;
    vch_signer_t *s = signer_of_hex(VCH_ALG_P256, p256_scalar);
    const vch_pubkey_t *key = vch_signer_public(s);
    uint8_t pub[35], sig[64];
    unhex(pub, 35, p256_point);
    assert_true(vch_slice_eq(vch_pubkey_bytes(key), vch_slice(pub, 35)));
    unhex(sig, 64, sig_test);
    assert_int_equal(vch_sig_verify(key, sig, vch_str("test")), VCH_OK);
    other_s(sig);
    assert_int_equal(vch_sig_verify(key, sig, vch_str("test")), VCH_ERR_SIGNATURE);
    unhex(sig, 64, sig_sample);
    assert_int_equal(vch_sig_verify(key, sig, vch_str("sample")), VCH_ERR_SIGNATURE);
    other_s(sig);
    assert_int_equal(vch_sig_verify(key, sig, vch_str("sample")), VCH_OK);
    assert_int_equal(vch_sig_verify(key, sig, vch_str("Sample")), VCH_ERR_SIGNATURE);
    vch_signer_free(s);
}

/* Nonces are random: enough signatures to meet high s many times. */
static void p256_signs_with_low_s(void **state)
{
    (void)state;
    vch_signer_t *s = signer(VCH_ALG_P256, 9);
    for (uint8_t i = 0; i < 64; i++) {
        uint8_t sig[64];
        assert_int_equal(vch_signer_sign(s, sig, vch_slice(&i, 1)), VCH_OK);
        assert_true(low_s(sig));
        assert_int_equal(vch_sig_verify(vch_signer_public(s), sig, vch_slice(&i, 1)), VCH_OK);
        other_s(sig);
        assert_int_equal(vch_sig_verify(vch_signer_public(s), sig, vch_slice(&i, 1)), VCH_ERR_SIGNATURE);
    }
    vch_signer_free(s);
}

static void p256_out_of_range_refused(void **state)
{
    (void)state;
    vch_signer_t *s = signer(VCH_ALG_P256, 9);
    uint8_t good[64], order[32];
    unhex(order, 32, order_hex);
    assert_int_equal(vch_signer_sign(s, good, vch_str("m")), VCH_OK);
    for (int half = 0; half < 2; half++) {
        for (int what = 0; what < 4; what++) { /* 0, n, n + 1, 2^256 - 1 */
            uint8_t sig[64];
            memcpy(sig, good, 64);
            if (what == 0) memset(sig + 32 * half, 0, 32);
            if (what == 1 || what == 2) memcpy(sig + 32 * half, order, 32);
            if (what == 2) sig[32 * half + 31]++;
            if (what == 3) memset(sig + 32 * half, 0xff, 32);
            assert_int_equal(vch_sig_verify(vch_signer_public(s), sig, vch_str("m")), VCH_ERR_SIGNATURE);
        }
    }
    assert_int_equal(vch_sig_verify(vch_signer_public(s), good, vch_str("m")), VCH_OK);
    vch_signer_free(s);
}

static void p256_scalar_range(void **state)
{
    (void)state;
    uint8_t seed[32] = {0};
    vch_signer_t *s = NULL;
    vch_err_t err;
    assert_int_equal(vch_signer_new(&s, VCH_ALG_P256, seed, &err), VCH_ERR_KEY);
    unhex(seed, 32, order_hex);
    assert_int_equal(vch_signer_new(&s, VCH_ALG_P256, seed, &err), VCH_ERR_KEY);
    seed[31]++;
    assert_int_equal(vch_signer_new(&s, VCH_ALG_P256, seed, &err), VCH_ERR_KEY);
    memset(seed, 0xff, 32);
    assert_int_equal(vch_signer_new(&s, VCH_ALG_P256, seed, &err), VCH_ERR_KEY);
    assert_null(s);
    assert_true(err.text[0] != 0);
    unhex(seed, 32, order_hex);
    seed[31]--; /* n - 1 */
    assert_int_equal(vch_signer_new(&s, VCH_ALG_P256, seed, &err), VCH_OK);
    uint8_t sig[64];
    assert_int_equal(vch_signer_sign(s, sig, vch_str("m")), VCH_OK);
    assert_int_equal(vch_sig_verify(vch_signer_public(s), sig, vch_str("m")), VCH_OK);
    vch_signer_free(s);
}

static void p256_bad_keys_refused(void **state)
{
    (void)state;
    static const char *bad[] = {
        /* x has no y; x = p; x = 2^256 - 1; other first bytes of a point */
        "8024030000000000000000000000000000000000000000000000000000000000000001",
        "802402ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        "802402ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "80240060fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
        "80240460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
        "80240660fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (int twice = 0; twice < 2; twice++) assert_int_equal(pubkey_of_hex(bad[i]), VCH_ERR_KEY);
    assert_int_equal(pubkey_of_hex(p256_point), VCH_OK);
}

/* ---- both ------------------------------------------------------------------------------ */

static void pubkey_form(void **state)
{
    (void)state;
    for (int a = 0; a < 2; a++) {
        vch_signer_t *s = signer(algs[a], 3);
        vch_slice_t m = vch_pubkey_bytes(vch_signer_public(s));
        vch_pubkey_t key, untouched;
        uint8_t b[64] = {0};
        memcpy(b, m.p, m.n);
        memset(&key, 0x5a, sizeof key);
        untouched = key;
        for (size_t n = 0; n < sizeof b; n++) {
            if (n == m.n) continue;
            assert_int_equal(vch_pubkey_get(&key, vch_slice(b, n)), VCH_ERR_KEY);
        }
        for (size_t i = 0; i < 2; i++) { /* another codec */
            b[i] ^= 1;
            assert_int_equal(vch_pubkey_get(&key, vch_slice(b, m.n)), VCH_ERR_KEY);
            b[i] ^= 1;
        }
        assert_memory_equal(&key, &untouched, sizeof key);
        assert_int_equal(vch_pubkey_get(&key, vch_slice(b, m.n)), VCH_OK);
        assert_int_equal(key.alg, algs[a]);
        vch_hash_t h;
        vch_sha256(&h, m.p, m.n);
        vch_keyid_t id = vch_pubkey_id(&key);
        assert_memory_equal(id.b, h.b, 32);
        vch_signer_free(s);
    }
}

static void every_bit_of_a_signature_counts(void **state)
{
    (void)state;
    for (int a = 0; a < 2; a++) {
        vch_signer_t *s = signer(algs[a], 11), *other = signer(algs[a], 12);
        uint8_t sig[64];
        char msg[] = "what was agreed";
        vch_slice_t m = vch_str(msg);
        assert_int_equal(vch_signer_sign(s, sig, m), VCH_OK);
        for (size_t i = 0; i < 512; i++) {
            sig[i / 8] ^= (uint8_t)(1 << (i % 8));
            assert_int_equal(vch_sig_verify(vch_signer_public(s), sig, m), VCH_ERR_SIGNATURE);
            sig[i / 8] ^= (uint8_t)(1 << (i % 8));
        }
        for (size_t i = 0; i < m.n; i++) {
            msg[i] ^= 1;
            assert_int_equal(vch_sig_verify(vch_signer_public(s), sig, m), VCH_ERR_SIGNATURE);
            msg[i] ^= 1;
        }
        assert_int_equal(vch_sig_verify(vch_signer_public(other), sig, m), VCH_ERR_SIGNATURE);
        assert_int_equal(vch_sig_verify(vch_signer_public(s), sig, m), VCH_OK);
        vch_signer_free(s);
        vch_signer_free(other);
    }
}

static void other_algorithm_refused(void **state)
{
    (void)state;
    uint8_t seed[32] = {1};
    vch_signer_t *s = NULL, *p = signer(VCH_ALG_P256, 4), *e = signer(VCH_ALG_ED25519, 4);
    uint8_t sig[64];
    assert_int_equal(vch_signer_new(&s, (vch_alg_t)3, seed, NULL), VCH_ERR_UNSUPPORTED);
    assert_null(s);
    assert_int_equal(vch_signer_sign(p, sig, vch_str("m")), VCH_OK);
    assert_int_equal(vch_sig_verify(vch_signer_public(e), sig, vch_str("m")), VCH_ERR_SIGNATURE);
    vch_pubkey_t strange = *vch_signer_public(e);
    strange.alg = (vch_alg_t)3;
    assert_int_equal(vch_sig_verify(&strange, sig, vch_str("m")), VCH_ERR_KEY);
    vch_signer_free(p);
    vch_signer_free(e);
    vch_signer_free(NULL);
}

/* ---- somebody else's hand --------------------------------------------------------------- */

typedef struct {
    vch_signer_t *inner;
    bool high, broken, fails;
} hand_t;

static vch_rc hand_sign(void *ctx, uint8_t ret[VCH_SIG_LEN], const uint8_t *msg, size_t n)
{
    hand_t *h = ctx;
    if (h->fails) return VCH_ERR_UNREACHABLE;
    vch_rc rc = vch_signer_sign(h->inner, ret, vch_slice(msg, n));
    if (h->high) other_s(ret);
    if (h->broken) ret[5] ^= 4;
    return rc;
}

static void signer_from_fn(void **state)
{
    (void)state;
    for (int a = 0; a < 2; a++) {
        hand_t hand = {.inner = signer(algs[a], 21), .high = algs[a] == VCH_ALG_P256};
        vch_signer_t *s, *other = signer(algs[a], 22);
        uint8_t sig[64], kept[64];
        memset(kept, 0x77, 64);
        memset(sig, 0x77, 64);
        assert_int_equal(vch_signer_from_fn(&s, vch_signer_public(hand.inner), hand_sign, &hand), VCH_OK);
        hand.fails = true;
        assert_int_equal(vch_signer_sign(s, sig, vch_str("m")), VCH_ERR_UNREACHABLE);
        hand.fails = false;
        hand.broken = true;
        assert_int_equal(vch_signer_sign(s, sig, vch_str("m")), VCH_ERR_SIGNATURE);
        assert_memory_equal(sig, kept, 64);
        hand.broken = false;
        assert_int_equal(vch_signer_sign(s, sig, vch_str("m")), VCH_OK);
        assert_true(algs[a] != VCH_ALG_P256 || low_s(sig));
        assert_int_equal(vch_sig_verify(vch_signer_public(s), sig, vch_str("m")), VCH_OK);
        vch_buf_t pem;
        vch_buf_init(&pem, 4096);
        assert_int_equal(vch_signer_to_pem(s, &pem, NULL, NULL), VCH_ERR_UNSUPPORTED);
        assert_int_equal(pem.n, 0);
        vch_signer_free(s);
        assert_int_equal(vch_signer_from_fn(&s, vch_signer_public(other), hand_sign, &hand), VCH_OK);
        assert_int_equal(vch_signer_sign(s, sig, vch_str("m")), VCH_ERR_SIGNATURE); /* another key than it says */
        vch_signer_free(s);
        vch_signer_free(other);
        vch_signer_free(hand.inner);
    }
}

/* ---- threads: each has its own memory of keys --------------------------------------------- */

static void *verify_many(void *arg)
{
    (void)arg;
    intptr_t bad = 0;
    for (uint8_t i = 1; i <= 40; i++) { /* more keys than slots, so that some are replaced */
        uint8_t seed[32], sig[64];
        vch_signer_t *s = NULL;
        memset(seed, i, 32);
        if (vch_signer_new(&s, VCH_ALG_P256, seed, NULL) != VCH_OK) return (void *)-1;
        bad += vch_signer_sign(s, sig, vch_str("m")) != VCH_OK;
        for (int again = 0; again < 2; again++) {
            bad += vch_sig_verify(vch_signer_public(s), sig, vch_str("m")) != VCH_OK;
            bad += vch_sig_verify(vch_signer_public(s), sig, vch_str("n")) != VCH_ERR_SIGNATURE;
        }
        vch_signer_free(s);
    }
    return (void *)bad;
}

static void threads_verify(void **state)
{
    (void)state;
    pthread_t t[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&t[i], NULL, verify_many, NULL), 0);
    for (int i = 0; i < 3; i++) {
        void *bad = NULL;
        assert_int_equal(pthread_join(t[i], &bad), 0);
        assert_null(bad);
    }
}

/* ---- key files ------------------------------------------------------------------------------ */

static bool same_key(const vch_signer_t *a, const vch_signer_t *b)
{
    return vch_slice_eq(vch_pubkey_bytes(vch_signer_public(a)), vch_pubkey_bytes(vch_signer_public(b)));
}

static void pem_round_trip(void **state)
{
    (void)state;
    for (int a = 0; a < 2; a++) {
        vch_signer_t *s = signer(algs[a], 31), *back = NULL;
        vch_buf_t pem;
        vch_err_t err = {0};
        vch_buf_init(&pem, 8192);
        assert_int_equal(vch_signer_to_pem(s, &pem, NULL, &err), VCH_OK);
        assert_true(pem.n > 27 && memcmp(pem.p, "-----BEGIN PRIVATE KEY-----", 27) == 0);
        assert_int_equal(vch_signer_from_pem(&back, vch_buf_slice(&pem), NULL, &err), VCH_OK);
        assert_true(same_key(s, back));
        uint8_t sig[64];
        assert_int_equal(vch_signer_sign(back, sig, vch_str("m")), VCH_OK);
        assert_int_equal(vch_sig_verify(vch_signer_public(s), sig, vch_str("m")), VCH_OK);
        vch_signer_free(back);
        back = NULL;
        for (size_t n = 0; n < pem.n - 1; n++) /* the last line feed may miss */
            assert_int_equal(vch_signer_from_pem(&back, vch_slice(pem.p, n), NULL, &err), VCH_ERR_KEY);
        assert_null(back);
        vch_buf_free(&pem);
        vch_signer_free(s);
    }
}

/* RFC 8410 section 10.3, the first example. */
static void pem_rfc8410(void **state)
{
    (void)state;
    const char *text = "-----BEGIN PRIVATE KEY-----\n"
                       "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
                       "-----END PRIVATE KEY-----\n";
    vch_signer_t *s = NULL;
    uint8_t pub[32];
    vch_buf_t pem;
    vch_buf_init(&pem, 4096);
    unhex(pub, 32, "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
    assert_int_equal(vch_signer_from_pem(&s, vch_str(text), NULL, NULL), VCH_OK);
    assert_memory_equal(vch_signer_public(s)->b + 2, pub, 32);
    assert_int_equal(vch_signer_to_pem(s, &pem, NULL, NULL), VCH_OK);
    assert_true(vch_slice_eq(vch_buf_slice(&pem), vch_str(text)));
    vch_buf_free(&pem);
    vch_signer_free(s);
}

static void pem_encrypted(void **state)
{
    (void)state;
    for (int a = 0; a < 2; a++) {
        vch_signer_t *s = signer(algs[a], 32), *back = NULL;
        vch_buf_t pem;
        vch_err_t err = {0};
        vch_buf_init(&pem, 8192);
        assert_int_equal(vch_signer_to_pem(s, &pem, "", &err), VCH_ERR_USAGE);
        assert_int_equal(vch_signer_to_pem(s, &pem, "correct horse", &err), VCH_OK);
        assert_true(memcmp(pem.p, "-----BEGIN ENCRYPTED PRIVATE KEY-----", 37) == 0);
        vch_slice_t text = vch_buf_slice(&pem);
        assert_int_equal(vch_signer_from_pem(&back, text, NULL, &err), VCH_ERR_KEY);
        assert_true(err.hint[0] != 0);
        static const char *wrong[] = {"", "correct hors", "correct horse ", "Correct horse"};
        for (size_t i = 0; i < 4; i++) assert_int_equal(vch_signer_from_pem(&back, text, wrong[i], &err), VCH_ERR_KEY);
        assert_null(back);
        assert_int_equal(ERR_peek_error(), 0); /* nothing left in the caller's queue */
        assert_int_equal(vch_signer_from_pem(&back, text, "correct horse", &err), VCH_OK);
        assert_true(same_key(s, back));
        vch_signer_free(back);
        vch_buf_free(&pem);
        vch_signer_free(s);
    }
}

static void pem_hostile(void **state)
{
    (void)state;
    static char big[20000];
    vch_signer_t *s = NULL;
    vch_err_t err;
    memset(big, 'A', sizeof big);
    assert_int_equal(vch_signer_from_pem(&s, vch_slice(big, sizeof big), NULL, &err), VCH_ERR_KEY);
    static const char *bad[] = {
        "",
        "hello",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        /* right bytes, wrong name; a public key; one byte behind the key */
        "-----BEGIN EC PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
        "-----END EC PRIVATE KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
        "-----END PUBLIC KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhCAA==\n"
        "-----END PRIVATE KEY-----\n",
        /* the same 32 bytes as a key of X25519 */
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
        "-----END PRIVATE KEY-----\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(vch_signer_from_pem(&s, vch_str(bad[i]), "x", &err), VCH_ERR_KEY);
        assert_null(s);
        assert_true(err.text[0] != 0);
    }
    assert_int_equal(ERR_peek_error(), 0);
}

/* ---- key files and the openssl program ------------------------------------------------------- */

static char folder[] = "/tmp/vch-keys-XXXXXX";

/* Returns the exit code; what it says goes to `out` in the folder. */
static int openssl_run(char *const argv[])
{
    posix_spawn_file_actions_t to;
    pid_t pid;
    int status;
    assert_int_equal(posix_spawn_file_actions_init(&to), 0);
    assert_int_equal(posix_spawn_file_actions_addopen(&to, 1, "out", O_WRONLY | O_CREAT | O_TRUNC, 0600), 0);
    assert_int_equal(posix_spawn_file_actions_addopen(&to, 2, "/dev/null", O_WRONLY, 0), 0);
    int rc = posix_spawnp(&pid, "openssl", &to, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&to);
    if (rc != 0) return 127;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

#define OPENSSL(...) openssl_run((char *[]){(char *)"openssl", __VA_ARGS__, NULL})
#define S(text) ((char *)(uintptr_t)(text))

static size_t slurp(const char *name, uint8_t *p, size_t max)
{
    FILE *f = fopen(name, "rb");
    assert_non_null(f);
    size_t n = fread(p, 1, max, f);
    assert_int_equal(fclose(f), 0);
    return n;
}

static void spill(const char *name, vch_slice_t s)
{
    FILE *f = fopen(name, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(s.p, 1, s.n, f), s.n);
    assert_int_equal(fclose(f), 0);
}

/* A SubjectPublicKeyInfo in DER ends with the key or the uncompressed point. */
static void assert_spki(const vch_pubkey_t *key)
{
    uint8_t spki[256];
    size_t n = slurp("out", spki, sizeof spki);
    if (key->alg == VCH_ALG_ED25519) {
        assert_int_equal(n, 44);
        assert_memory_equal(spki + 12, key->b + 2, 32);
        return;
    }
    assert_int_equal(n, 91);
    assert_memory_equal(spki + 27, key->b + 3, 32);
    assert_int_equal(key->b[2], 2 + (spki[90] & 1));
}

static int in_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave_folder(void **state)
{
    (void)state;
    (void)unlink("out");
    (void)unlink("k.pem");
    return chdir("/") == 0 ? rmdir(folder) : -1;
}

static void openssl_reads_ours(void **state)
{
    (void)state;
    if (OPENSSL(S("version")) != 0) {
        print_message("no openssl program: skipped\n");
        skip();
    }
    for (int a = 0; a < 2; a++) {
        vch_signer_t *s = signer(algs[a], 41);
        vch_buf_t pem;
        vch_buf_init(&pem, 8192);
        assert_int_equal(vch_signer_to_pem(s, &pem, NULL, NULL), VCH_OK);
        spill("k.pem", vch_buf_slice(&pem));
        assert_int_equal(OPENSSL(S("pkey"), S("-in"), S("k.pem"), S("-pubout"), S("-outform"), S("DER")), 0);
        assert_spki(vch_signer_public(s));
        vch_buf_clear(&pem);
        assert_int_equal(vch_signer_to_pem(s, &pem, "pass phrase", NULL), VCH_OK);
        spill("k.pem", vch_buf_slice(&pem));
        assert_int_equal(OPENSSL(S("pkey"), S("-in"), S("k.pem"), S("-passin"), S("pass:pass phrase"), S("-pubout"),
                                 S("-outform"), S("DER")),
                         0);
        assert_spki(vch_signer_public(s));
        assert_int_not_equal(OPENSSL(S("pkey"), S("-in"), S("k.pem"), S("-passin"), S("pass:other"), S("-noout")), 0);
        vch_buf_free(&pem);
        vch_signer_free(s);
    }
}

/* Make a key file with the openssl program, read it, compare the public keys. */
static vch_rc read_made(vch_signer_t **ret, const char *passphrase)
{
    uint8_t pem[4096];
    size_t n = slurp("k.pem", pem, sizeof pem);
    return vch_signer_from_pem(ret, vch_slice(pem, n), passphrase, NULL);
}

static void openssl_writes_for_us(void **state)
{
    (void)state;
    if (OPENSSL(S("version")) != 0) {
        print_message("no openssl program: skipped\n");
        skip();
    }
    vch_signer_t *s = NULL;
    assert_int_equal(OPENSSL(S("genpkey"), S("-algorithm"), S("ED25519"), S("-out"), S("k.pem")), 0);
    assert_int_equal(read_made(&s, NULL), VCH_OK);
    assert_int_equal(OPENSSL(S("pkey"), S("-in"), S("k.pem"), S("-pubout"), S("-outform"), S("DER")), 0);
    assert_spki(vch_signer_public(s));
    vch_signer_free(s);
    assert_int_equal(OPENSSL(S("genpkey"), S("-algorithm"), S("EC"), S("-pkeyopt"), S("ec_paramgen_curve:P-256"),
                             S("-aes-256-cbc"), S("-pass"), S("pass:x"), S("-out"), S("k.pem")),
                     0);
    assert_int_equal(read_made(&s, "y"), VCH_ERR_KEY);
    assert_int_equal(read_made(&s, "x"), VCH_OK);
    assert_int_equal(
        OPENSSL(S("pkey"), S("-in"), S("k.pem"), S("-passin"), S("pass:x"), S("-pubout"), S("-outform"), S("DER")), 0);
    assert_spki(vch_signer_public(s));
    vch_signer_free(s);
    s = NULL;
    assert_int_equal(OPENSSL(S("genpkey"), S("-algorithm"), S("EC"), S("-pkeyopt"), S("ec_paramgen_curve:P-384"),
                             S("-out"), S("k.pem")),
                     0);
    assert_int_equal(read_made(&s, NULL), VCH_ERR_KEY);
    assert_null(s);
}

/* A P-256 file whose public key belongs to another private key. */
static void pem_public_key_swapped(void **state)
{
    (void)state;
    uint8_t der[512], mine[65], theirs[65];
    size_t n = 0;
    if (OPENSSL(S("version")) != 0) {
        print_message("no openssl program: skipped\n");
        skip();
    }
    for (int a = 0; a < 2; a++) {
        vch_signer_t *s = signer(VCH_ALG_P256, (uint8_t)(51 + a));
        vch_buf_t pem;
        vch_buf_init(&pem, 8192);
        assert_int_equal(vch_signer_to_pem(s, &pem, NULL, NULL), VCH_OK);
        spill("k.pem", vch_buf_slice(&pem));
        assert_int_equal(OPENSSL(S("pkcs8"), S("-topk8"), S("-nocrypt"), S("-in"), S("k.pem"), S("-outform"), S("DER")),
                         0);
        n = slurp("out", der, sizeof der);
        assert_int_equal(n, 138);
        memcpy(a ? mine : theirs, der + n - 65, 65);
        vch_buf_free(&pem);
        vch_signer_free(s);
    }
    vch_signer_t *s = NULL;
    for (int swapped = 0; swapped < 2; swapped++) {
        memcpy(der + n - 65, swapped ? theirs : mine, 65);
        spill("k.pem", vch_slice(der, n));
        assert_int_equal(OPENSSL(S("base64"), S("-in"), S("k.pem")), 0);
        char text[1024] = "-----BEGIN PRIVATE KEY-----\n";
        size_t at = strlen(text);
        at += slurp("out", (uint8_t *)text + at, 512);
        (void)snprintf(text + at, sizeof text - at, "-----END PRIVATE KEY-----\n");
        assert_int_equal(vch_signer_from_pem(&s, vch_str(text), NULL, NULL), swapped ? VCH_ERR_KEY : VCH_OK);
        if (!swapped) vch_signer_free(s);
    }
}

/* ---- the passphrase box ------------------------------------------------------------------------ */

static void box_opens_and_refuses(void **state)
{
    (void)state;
    uint8_t salt[16], nonce[24], plain[32], out[32], untouched[32];
    vch_buf_t box;
    memset(salt, 1, 16);
    memset(nonce, 2, 24);
    memset(plain, 3, 32);
    memset(untouched, 0x44, 32);
    memcpy(out, untouched, 32);
    vch_buf_init(&box, 4096);
    assert_int_equal(vch_box_seal(&box, vch_slice(plain, 32), "open sesame", salt, nonce), VCH_OK);
    assert_int_equal(box.n, 8 + 16 + 24 + 32 + 16);
    assert_memory_equal(box.p, "VCHBOX1\n", 8);
    assert_memory_equal(box.p + 8, salt, 16);
    assert_memory_equal(box.p + 24, nonce, 24);
    assert_int_equal(vch_box_open(out, 32, vch_buf_slice(&box), "open sesamE"), VCH_ERR_KEY);
    /* Salt, nonce, ciphertext, tag: first or last byte of each. */
    static const size_t at[] = {8, 47, 48, 79, 95};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        box.p[at[i]] ^= 1;
        assert_int_equal(vch_box_open(out, 32, vch_buf_slice(&box), "open sesame"), VCH_ERR_KEY);
        box.p[at[i]] ^= 1;
    }
    for (size_t i = 0; i < 8; i++) {
        box.p[i] ^= 1;
        assert_int_equal(vch_box_open(out, 32, vch_buf_slice(&box), "open sesame"), VCH_ERR_FORMAT);
        box.p[i] ^= 1;
    }
    for (size_t n = 0; n < box.n; n++)
        assert_int_equal(vch_box_open(out, 32, vch_slice(box.p, n), "open sesame"), VCH_ERR_FORMAT);
    assert_int_equal(vch_box_open(out, 31, vch_buf_slice(&box), "open sesame"), VCH_ERR_FORMAT);
    assert_int_equal(vch_box_open(out, (size_t)0 - 32, vch_slice(box.p, 32), "open sesame"), VCH_ERR_FORMAT);
    assert_memory_equal(out, untouched, 32);
    assert_int_equal(vch_box_open(out, 32, vch_buf_slice(&box), "open sesame"), VCH_OK);
    assert_memory_equal(out, plain, 32);
    vch_buf_free(&box);
    vch_buf_init(&box, 50); /* too small: nothing is left in it */
    assert_int_equal(vch_box_seal(&box, vch_slice(plain, 32), "open sesame", salt, nonce), VCH_ERR_LIMIT);
    assert_int_equal(box.n, 0);
    vch_buf_free(&box);
}

static void secret_memory(void **state)
{
    (void)state;
    uint8_t *p = vch_secret_alloc(32);
    assert_non_null(p);
    memset(p, 1, 32);
    vch_secret_free(p);
    vch_secret_free(NULL);
    assert_null(vch_secret_alloc(0));
    assert_null(vch_secret_alloc(SIZE_MAX / 2));
}

/* ---- COSE_Sign1 --------------------------------------------------------------------------------- */

static void cose_bytes(void **state)
{
    (void)state;
    for (int a = 0; a < 2; a++) {
        vch_signer_t *s = signer(algs[a], 61);
        vch_keyid_t kid = vch_pubkey_id(vch_signer_public(s));
        uint8_t want[128] = {0xd2, 0x84, 0x58, 0x26, 0xa2, 0x01, algs[a] == VCH_ALG_ED25519 ? 0x32 : 0x28,
                             0x04, 0x58, 0x20};
        memcpy(want + 10, kid.b, 32);
        memcpy(want + 42, "\xa0\x47payload\x58\x40", 11);
        vch_buf_t cose, to_sign;
        vch_buf_init(&cose, 4096);
        vch_buf_init(&to_sign, 4096);
        assert_int_equal(vch_cose_sign(&cose, s, vch_str("payload"), NULL), VCH_OK);
        assert_int_equal(cose.n, 53 + 64);
        assert_memory_equal(cose.p, want, 53);
        /* RFC 9052 section 4.4, built by hand. */
        uint8_t sig_structure[128] = "\x84\x6aSignature1\x58\x26";
        memcpy(sig_structure + 14, want + 4, 38);
        memcpy(sig_structure + 52, "\x40\x47payload", 9);
        assert_int_equal(vch_cose_to_sign(&to_sign, vch_slice(want + 4, 38), vch_str("payload")), VCH_OK);
        assert_true(vch_slice_eq(vch_buf_slice(&to_sign), vch_slice(sig_structure, 61)));
        assert_int_equal(vch_sig_verify(vch_signer_public(s), cose.p + 53, vch_buf_slice(&to_sign)), VCH_OK);
        vch_cose_t c;
        vch_id_t id;
        vch_hash_t h;
        assert_int_equal(vch_cose_read(&c, vch_buf_slice(&cose)), VCH_OK);
        assert_int_equal(vch_cose_id(&c, &id), VCH_OK);
        vch_sha256(&h, sig_structure, 61);
        assert_memory_equal(id.b, h.b, 32);
        assert_true(vch_keyid_eq(&c.kid, &kid));
        assert_true(vch_slice_eq(c.payload, vch_str("payload")));
        vch_buf_free(&cose);
        vch_buf_free(&to_sign);
        vch_signer_free(s);
    }
}

/* Lengths around each head size and around the scratch on the stack. */
static void cose_round_trip(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 23, 24, 255, 256, 900, 921, 922, 923, 1024, 60000, 65535, 65536, 200000};
    static uint8_t payload[200000];
    memset(payload, 0x31, sizeof payload);
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        vch_signer_t *s = signer(algs[i & 1], 62);
        vch_slice_t p = vch_slice(payload, sizes[i / 2]);
        vch_buf_t cose;
        vch_cose_t c;
        vch_id_t id, again;
        vch_err_t err = {0};
        vch_buf_init(&cose, 300000);
        assert_int_equal(vch_buf_put(&cose, "before", 6), VCH_OK);
        assert_int_equal(vch_cose_sign(&cose, s, p, &err), VCH_OK);
        assert_memory_equal(cose.p, "before", 6);
        vch_slice_t bytes = vch_slice(cose.p + 6, cose.n - 6);
        assert_int_equal(vch_cose_read(&c, bytes), VCH_OK);
        assert_true(vch_slice_eq(c.payload, p));
        assert_int_equal(vch_cose_verify(&c, vch_signer_public(s), &err), VCH_OK);
        assert_int_equal(vch_cose_id(&c, &id), VCH_OK);
        cose.p[cose.n - 1] ^= 1; /* the id does not see the signature */
        assert_int_equal(vch_cose_verify(&c, vch_signer_public(s), &err), VCH_ERR_SIGNATURE);
        assert_int_equal(vch_cose_id(&c, &again), VCH_OK);
        assert_true(vch_id_eq(&id, &again));
        vch_buf_free(&cose);
        vch_buf_init(&cose, p.n + 100); /* too small: rolled back */
        assert_int_equal(vch_buf_put(&cose, "before", 6), VCH_OK);
        assert_int_equal(vch_cose_sign(&cose, s, p, &err), VCH_ERR_LIMIT);
        assert_int_equal(cose.n, 6);
        vch_buf_free(&cose);
        vch_signer_free(s);
    }
}

/* Accepted means: read, and verified under the key. */
static bool accepted(vch_slice_t bytes, const vch_pubkey_t *key)
{
    vch_cose_t c;
    return vch_cose_read(&c, bytes) == VCH_OK && vch_cose_verify(&c, key, NULL) == VCH_OK;
}

/* Each byte to each other value outside signature and key id, where each bit
 * is flipped; each cut; each byte doubled; a byte behind. */
static void cose_every_change_refused(void **state)
{
    (void)state;
    for (int a = 0; a < 2; a++) {
        vch_signer_t *s = signer(algs[a], 63);
        const vch_pubkey_t *key = vch_signer_public(s);
        vch_buf_t cose;
        uint8_t copy[256];
        vch_buf_init(&cose, 200);
        assert_int_equal(vch_cose_sign(&cose, s, vch_str("some payload of more than 23 bytes"), NULL), VCH_OK);
        size_t n = cose.n;
        assert_true(n < 200 && accepted(vch_buf_slice(&cose), key));
        for (size_t i = 0; i < n; i++) {
            bool frame = i < 10 || (i >= 42 && i < 45) || (i >= n - 66 && i < n - 64);
            for (unsigned flip = 1; flip < 256; flip = frame ? flip + 1 : flip * 2) {
                cose.p[i] ^= (uint8_t)flip;
                assert_false(accepted(vch_buf_slice(&cose), key));
                cose.p[i] ^= (uint8_t)flip;
            }
        }
        for (size_t i = 0; i < n; i++) {
            vch_cose_t c;
            assert_int_equal(vch_cose_read(&c, vch_slice(cose.p, i)), VCH_ERR_FORMAT);
            memcpy(copy, cose.p, i + 1);
            memcpy(copy + i + 1, cose.p + i, n - i); /* byte i twice */
            assert_false(accepted(vch_slice(copy, n + 1), key));
            memcpy(copy + i, cose.p + i + 1, n - i - 1); /* byte i gone */
            assert_false(accepted(vch_slice(copy, n - 1), key));
        }
        memcpy(copy, cose.p, n);
        copy[n] = 0xf6;
        assert_false(accepted(vch_slice(copy, n + 1), key));
        vch_buf_free(&cose);
        vch_signer_free(s);
    }
}

/* Same meaning in CBOR, other bytes: each must be ERR_FORMAT. */
static void cose_other_spellings_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at, cut;
        const char *put;
        size_t n;
    } edit[] = {
        {0, 1, "\xd8\x12", 2},      /* tag 18 in two bytes */
        {0, 1, "", 0},              /* no tag */
        {0, 1, "\xd1", 1},          /* tag 17, COSE_Mac0 */
        {1, 1, "\x98\x04", 2},      /* longer array head */
        {1, 1, "\x9f", 1},          /* indefinite array, not ended */
        {2, 2, "\x59\x00\x26", 3},  /* longer head of the protected header */
        {2, 2, "\x5f\x58\x26", 3},  /* in chunks */
        {5, 1, "\x18\x01", 2},      /* label 1 in two bytes */
        {6, 1, "\x26", 1},          /* alg -7 (ES256) */
        {6, 1, "\x27", 1},          /* alg -8 (EdDSA) */
        {8, 2, "\x59\x00\x20", 3},  /* longer head of the key id */
        {42, 1, "\xa1\x04\x40", 3}, /* an unprotected header */
        {42, 1, "\xb8\x00", 2},     /* empty map in two bytes */
        {42, 1, "\x80", 1},         /* an empty array */
        {43, 8, "\xf6", 1},         /* payload detached */
        {43, 1, "\x67", 1},         /* payload as text */
        {43, 1, "\x58\x07", 2},     /* longer head of the payload */
        {51, 2, "\x59\x00\x40", 3}, /* longer head of the signature */
        {51, 3, "\x58\x3f", 2},     /* signature of 63 bytes */
    };
    vch_signer_t *s = signer(VCH_ALG_ED25519, 64);
    vch_buf_t cose;
    vch_cose_t c;
    uint8_t b[256];
    vch_buf_init(&cose, 200);
    assert_int_equal(vch_cose_sign(&cose, s, vch_str("payload"), NULL), VCH_OK);
    for (size_t i = 0; i < sizeof edit / sizeof edit[0]; i++) {
        size_t at = edit[i].at, from = at + edit[i].cut, n = edit[i].n;
        memcpy(b, cose.p, at);
        memcpy(b + at, edit[i].put, n);
        memcpy(b + at + n, cose.p + from, cose.n - from);
        if (at > 3 && at < 42) b[3] = (uint8_t)(b[3] + n - edit[i].cut); /* the header's length fits again */
        assert_int_equal(vch_cose_read(&c, vch_slice(b, cose.n - edit[i].cut + n)), VCH_ERR_FORMAT);
    }
    /* Labels the other way round; a third label; the same label twice. */
    memcpy(b, cose.p, cose.n);
    memcpy(b + 5, "\x04\x58\x20", 3);
    memcpy(b + 8, cose.p + 10, 32);
    memcpy(b + 40, "\x01\x32", 2);
    assert_int_equal(vch_cose_read(&c, vch_slice(b, cose.n)), VCH_ERR_FORMAT);
    memcpy(b, cose.p, cose.n);
    b[7] = 0x01;
    assert_int_equal(vch_cose_read(&c, vch_slice(b, cose.n)), VCH_ERR_FORMAT);
    memcpy(b, cose.p, 42);
    memcpy(b + 42, "\x05\x00", 2);
    memcpy(b + 44, cose.p + 42, cose.n - 42);
    b[3] = 0x28;
    b[4] = 0xa3;
    assert_int_equal(vch_cose_read(&c, vch_slice(b, cose.n + 2)), VCH_ERR_FORMAT);
    vch_buf_free(&cose);
    vch_signer_free(s);
}

static void cose_wrong_key_or_alg(void **state)
{
    (void)state;
    for (int a = 0; a < 2; a++) {
        vch_signer_t *s = signer(algs[a], 65), *same_alg = signer(algs[a], 66), *other = signer(algs[1 - a], 65);
        vch_buf_t cose;
        vch_cose_t c;
        vch_err_t err = {0};
        vch_buf_init(&cose, 200);
        assert_int_equal(vch_cose_sign(&cose, s, vch_str("payload"), NULL), VCH_OK);
        assert_int_equal(vch_cose_read(&c, vch_buf_slice(&cose)), VCH_OK);
        assert_int_equal(vch_cose_verify(&c, vch_signer_public(s), &err), VCH_OK);
        assert_int_equal(vch_cose_verify(&c, vch_signer_public(same_alg), &err), VCH_ERR_KEY);
        assert_int_equal(vch_cose_verify(&c, vch_signer_public(other), &err), VCH_ERR_KEY);
        cose.p[6] = a ? 0x32 : 0x28; /* right key id, the other algorithm */
        assert_int_equal(vch_cose_read(&c, vch_buf_slice(&cose)), VCH_OK);
        assert_int_equal(vch_cose_verify(&c, vch_signer_public(s), &err), VCH_ERR_KEY);
        vch_buf_free(&cose);
        vch_signer_free(s);
        vch_signer_free(same_alg);
        vch_signer_free(other);
    }
}

/* ---- refused memory --------------------------------------------------------------------------------- */

typedef struct {
    long left; /* allocations until the refused one */
    long alive;
} refuser_t;

static void *refuse(void *ctx, void *old, size_t size)
{
    refuser_t *r = ctx;
    if (size == 0) {
        if (old) r->alive--;
        free(old);
        return NULL;
    }
    if (r->left-- == 0) return NULL;
    void *p = realloc(old, size);
    if (p && !old) r->alive++;
    return p;
}

static vch_rc use_keys(vch_alg_t alg, vch_slice_t payload)
{
    uint8_t seed[32] = {5};
    vch_signer_t *s = NULL, *back = NULL;
    vch_buf_t cose, pem;
    vch_cose_t c;
    vch_id_t id;
    vch_buf_init(&cose, 8192);
    vch_buf_init(&pem, 8192);
    vch_rc rc = vch_signer_new(&s, alg, seed, NULL);
    if (rc == VCH_OK) rc = vch_cose_sign(&cose, s, payload, NULL);
    if (rc == VCH_OK) rc = vch_cose_read(&c, vch_buf_slice(&cose));
    if (rc == VCH_OK) rc = vch_cose_verify(&c, vch_signer_public(s), NULL);
    if (rc == VCH_OK) rc = vch_cose_id(&c, &id);
    if (rc == VCH_OK) rc = vch_signer_to_pem(s, &pem, NULL, NULL);
    if (rc == VCH_OK) rc = vch_signer_from_pem(&back, vch_buf_slice(&pem), NULL, NULL);
    vch_buf_free(&cose);
    vch_buf_free(&pem);
    vch_signer_free(back);
    vch_signer_free(s);
    return rc;
}

static void refused_memory(void **state)
{
    (void)state;
    static uint8_t payload[4000];
    for (int a = 0; a < 2; a++) {
        vch_rc rc = VCH_ERR_MEMORY;
        long nth = 0;
        for (; rc != VCH_OK && nth < 100; nth++) {
            refuser_t r = {.left = nth};
            vch_mem_use(&(vch_mem_t){&r, refuse});
            rc = use_keys(algs[a], vch_slice(payload, sizeof payload));
            vch_mem_use(NULL);
            assert_true(rc == VCH_OK ? r.left >= 0 : rc == VCH_ERR_MEMORY);
            assert_int_equal(r.alive, 0);
        }
        assert_int_equal(rc, VCH_OK);
        assert_true(nth > 5); /* some were refused */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ed25519_vectors),
        cmocka_unit_test(ed25519_second_s_refused),
        cmocka_unit_test(ed25519_bad_keys_refused),
        cmocka_unit_test(ed25519_small_order_never_verifies),
        cmocka_unit_test(p256_vectors),
        cmocka_unit_test(p256_signs_with_low_s),
        cmocka_unit_test(p256_out_of_range_refused),
        cmocka_unit_test(p256_scalar_range),
        cmocka_unit_test(p256_bad_keys_refused),
        cmocka_unit_test(pubkey_form),
        cmocka_unit_test(every_bit_of_a_signature_counts),
        cmocka_unit_test(other_algorithm_refused),
        cmocka_unit_test(signer_from_fn),
        cmocka_unit_test(threads_verify),
        cmocka_unit_test(pem_round_trip),
        cmocka_unit_test(pem_rfc8410),
        cmocka_unit_test(pem_encrypted),
        cmocka_unit_test(pem_hostile),
        cmocka_unit_test(openssl_reads_ours),
        cmocka_unit_test(openssl_writes_for_us),
        cmocka_unit_test(pem_public_key_swapped),
        cmocka_unit_test(box_opens_and_refuses),
        cmocka_unit_test(secret_memory),
        cmocka_unit_test(cose_bytes),
        cmocka_unit_test(cose_round_trip),
        cmocka_unit_test(cose_every_change_refused),
        cmocka_unit_test(cose_other_spellings_refused),
        cmocka_unit_test(cose_wrong_key_or_alg),
        cmocka_unit_test(refused_memory),
    };
    return cmocka_run_group_tests(tests, in_folder, leave_folder);
}
