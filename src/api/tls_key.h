/* SPDX-License-Identifier: Apache-2.0 */
/* Keys in certificates.  Roles of the vault know each other by key id, so a
 * certificate is only the envelope: self-signed, and nobody looks at its dates. */
#ifndef VCH_TLS_KEY_H
#define VCH_TLS_KEY_H

#include <openssl/x509.h>

#include "base/base.h"

/* False when the certificate's key is neither Ed25519 nor P-256. */
bool tls_key_of(X509 *, vch_keyid_t *ret);
/* A self-signed certificate in PEM, appended, for the unencrypted private key
 * in key_path; `name` is its subject, at most 64 bytes.  ERR_KEY, ERR_LIMIT, ERR_MEMORY. */
VCH_MUST_USE vch_rc tls_self_signed(vch_buf_t *ret, const char *key_path, const char *name, vch_err_t *);

#endif
