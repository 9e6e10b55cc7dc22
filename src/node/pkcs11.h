/* SPDX-License-Identifier: Apache-2.0 */
/* A PKCS#11 module, and one session with one of its tokens.
 *
 * A module is loaded once a process and stays loaded; it is initialized while
 * sessions are open, unless somebody else in the process did so before. */
#ifndef VCH_PKCS11_H
#define VCH_PKCS11_H

#include <p11-kit/pkcs11.h>

#include "base/base.h"

typedef struct p11_module p11_module_t;

typedef struct {
    p11_module_t *module;
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE session;
    char token[33]; /* its label, for messages */
} p11_t;

/* Log in to the token of that label, of this module.  Fails with
 *   ERR_UNREACHABLE  the module can't be loaded, no such token, several, or it doesn't answer
 *   ERR_KEY          a wrong PIN, or one try is left before it is locked, and isn't used up */
VCH_MUST_USE vch_rc p11_open(p11_t *ret, const char *module, const char *token, const uint8_t *pin, size_t pin_n,
                             vch_err_t *);
void p11_close(p11_t *); /* of a zeroed one too */

/* "token clinic-a: making a key: the device has no room (0x31)", and its result. */
vch_rc p11_fail(const p11_t *, CK_RV, const char *doing, vch_err_t *);

#endif
