/* SPDX-License-Identifier: Apache-2.0 */
/* Parties of the vault for tests: keys from a number, one dealt tree. */
#ifndef VCH_TESTS_VAULT_HELP_H
#define VCH_TESTS_VAULT_HELP_H

#include "crypto/sha256.h"
#include "entry/vault.h"

#define PARTIES 8u
#define SMALL 65536u

typedef struct {
    vch_signer_t *signer[PARTIES];
    uint8_t public_key[PARTIES][32], secret[PARTIES][32];
} parties_t;

static inline vch_hash_t hash_of(const char *what, uint64_t n)
{
    vch_hash_t h;
    uint8_t b[72] = {0};
    size_t len = strlen(what);
    assert_true(len <= 64);
    memcpy(b, what, len);
    vch_put_u64(b + 64, n);
    vch_sha256(&h, b, sizeof b);
    return h;
}

static inline void parties_make(parties_t *p)
{
    for (unsigned i = 0; i < PARTIES; i++) {
        vch_hash_t s = hash_of("signer", i), x = hash_of("prekey", i);
        assert_int_equal(vch_signer_new(&p->signer[i], VCH_ALG_ED25519, s.b, NULL), VCH_OK);
        assert_int_equal(vch_seal_pair(p->public_key[i], p->secret[i], x.b), VCH_OK);
    }
}

static inline void parties_free(parties_t *p)
{
    for (unsigned i = 0; i < PARTIES; i++) vch_signer_free(p->signer[i]);
}

static inline void sign(vch_buf_t *ret, const vch_signer_t *by, const vch_buf_t *payload)
{
    vch_err_t err = {0};
    vch_buf_init(ret, SMALL);
    assert_int_equal(vch_cose_sign(ret, by, vch_buf_slice(payload), &err), VCH_OK);
}

#endif
