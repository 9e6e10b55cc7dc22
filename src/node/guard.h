/* SPDX-License-Identifier: Apache-2.0 */
/* How a trustee's root key is kept (seeds.h).
 *
 *   dir/guard.conf       which guard; lines "key = value" and # comments.  Absent: file.
 *   dir/guard.conf.new   which one it is to be, until a rewrap has put it in force
 *
 *   guard = file         the key lies in seeds/root: whoever copies that file has it
 *   guard = passphrase   under Argon2id and XChaCha20-Poly1305
 *           secret_file = PATH       its first line is the passphrase
 *   guard = token        under a key that was made in a PKCS#11 token, can't leave it, and is
 *                        destroyed there once another root key is in force: grade A
 *           module = PATH            the token's library
 *           token = LABEL
 *           secret_file = PATH       its first line is the PIN
 *
 * An unknown key, a missing one and one without effect are errors with their
 * line.  secret_file may be relative to dir, and /dev/fd/N; others must not be
 * able to read it.  A guard belongs to one thread. */
#ifndef VCH_GUARD_H
#define VCH_GUARD_H

#include "node/seeds.h"

typedef struct vch_guard vch_guard_t;
typedef enum { VCH_GUARD_FILE, VCH_GUARD_PASSPHRASE, VCH_GUARD_TOKEN } vch_guard_kind_t;

/* The guard that dir/guard.conf names.  *ret is yours until vch_guard_close.
 *   ERR_FORMAT       settings; ERR_NOT_FOUND, ERR_READ_ONLY  a file that they name
 *   ERR_KEY          others may read the secret, or the token refuses it
 *   ERR_UNREACHABLE  no such module or token, or it doesn't answer
 *   ERR_UNSUPPORTED  the token can't do AES-GCM with keys of its own */
VCH_MUST_USE vch_rc vch_guard_open(vch_guard_t **ret, vch_port_t *, const char *dir, vch_err_t *);
void vch_guard_close(vch_guard_t *); /* wipes; NULL is fine */

/* For vch_seeds_open; borrowed, good until the guard is closed. */
const vch_seeds_guard_t *vch_guard_seeds(const vch_guard_t *);
vch_guard_kind_t vch_guard_kind(const vch_guard_t *);
const char *vch_guard_name(vch_guard_kind_t); /* "file", "passphrase", "token" */

typedef struct {
    vch_guard_kind_t was, now;
    uint64_t extents, destroys; /* held; of them such that were never but under a token */
} vch_rewrap_t;
/* Put the guard of dir/guard.conf.new in force: a fresh root key under it, then
 * the old guard's is destroyed, then guard.conf.new becomes guard.conf.  Cut off
 * anywhere, nothing is lost, and doing it again completes it.  settings (may be
 * NULL): the text that becomes guard.conf.new first; ERR_CONFLICT when there is one.
 * ERR_NOT_FOUND: no trustee's folder, or no guard.conf.new; else as above and
 * as vch_seeds_open (ERR_LOCKED: the trustee is in use). */
VCH_MUST_USE vch_rc vch_guard_rewrap(vch_port_t *, const char *dir, const char *settings, vch_rewrap_t *ret,
                                     vch_err_t *);
/* Why a store doesn't open: adds to an ERR_KEY that a rewrap is to be finished,
 * where that is so; returns rc. */
vch_rc vch_guard_told(vch_port_t *, const char *dir, vch_rc rc, vch_err_t *);

#endif
