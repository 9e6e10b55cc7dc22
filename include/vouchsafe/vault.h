/* SPDX-License-Identifier: Apache-2.0 */
/* The vault's roles as processes of their own: trustees and storage nodes. */
#ifndef VOUCHSAFE_VAULT_H
#define VOUCHSAFE_VAULT_H

#include "vouchsafe/serve.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *node;   /* URL of the node whose ledger it follows */
    const char *trust;  /* whose log that must be, a file; copied */
    const char *ca;     /* PEM of whom TLS believes about the node; NULL: the system's */
    const char *listen; /* "IP:PORT", "unix:/path"; NULL: 127.0.0.1:7121 */
} vch_trustee_spec_t;

/* Makes the directory of a trustee with a new key; ERR_CONFLICT when there is
 * one.  Its key must then be registered on the ledger with role trustee. */
VCH_API VCH_MUST_USE vch_rc vch_trustee_init(const char *dir, const vch_trustee_spec_t *, vch_err_t *);
/* Follows the node, a second behind, decides for itself and answers, until
 * SIGTERM or SIGINT; as vch_serve otherwise.  While the node doesn't answer it
 * hands out nothing. */
VCH_API VCH_MUST_USE vch_rc vch_trustee_serve(const char *dir, const vch_serve_t *, vch_err_t *);
/* {"key id","key","url","node","entries"}: key in hex as `party add --key` takes
 * it, url as [vault] trustee.N takes it, entries of the ledger seen so far. */
VCH_API VCH_MUST_USE vch_rc vch_trustee_status(const char *dir, vch_text_t *ret_json, vch_err_t *);

/* writer: key ids in hex of the custodians that may put and remove objects, at
 * least one, at most 16.  Anybody who reaches it may read: it holds ciphertext. */
VCH_API VCH_MUST_USE vch_rc vch_storage_init(const char *dir, const char *listen, const char *const *writer, size_t n,
                                             vch_err_t *);
VCH_API VCH_MUST_USE vch_rc vch_storage_serve(const char *dir, const vch_serve_t *, vch_err_t *);
/* {"key id","key","url","objects","bytes"} */
VCH_API VCH_MUST_USE vch_rc vch_storage_status(const char *dir, vch_text_t *ret_json, vch_err_t *);

#ifdef __cplusplus
}
#endif
#endif
