/* SPDX-License-Identifier: Apache-2.0 */
/* A PKCS#11 module whose token lives in memory and misbehaves as it is told.
 * dlsym "fake_token" gives this. */
#ifndef VCH_TEST_FAKE_TOKEN_H
#define VCH_TEST_FAKE_TOKEN_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

#define FAKE_KEYS_MAX 32u

typedef struct {
    unsigned calls, fail_at; /* the n-th call of any function fails once ... */
    CK_RV with;              /* ... so; what it was asked for isn't done */
    CK_FLAGS flags;          /* of the token, besides "initialized" */
    bool leaky;              /* its keys can leave it */
    bool no_gcm, no_tag;     /* it has no AES-GCM; its AES-GCM makes no tag */
    bool undying;            /* it says that it destroyed a key, and didn't */
    bool in_use;             /* somebody else initialized it */
    unsigned logins, starts, ends, sessions;
    unsigned keys; /* in it now */
} fake_token_t;

#endif
