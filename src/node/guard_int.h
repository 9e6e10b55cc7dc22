/* SPDX-License-Identifier: Apache-2.0 */
/* What the guards share. */
#ifndef VCH_GUARD_INT_H
#define VCH_GUARD_INT_H

#include "node/guard.h"

/* What was wrapped begins with eight bytes that say by which sort of guard; the
 * bare key of a file has just its length. */
#define GD_MAGIC 8u
#define GD_BARE 32u
#define GD_SECRET_MAX 1024u
#define GD_LABEL_MAX 32u

struct vch_guard {
    vch_seeds_guard_t seeds; /* ctx: NULL or the guard itself */
    vch_guard_kind_t kind;
    void (*close)(vch_guard_t *); /* frees */
};

/* Was this wrapped by a guard of that sort? */
bool gd_is(vch_guard_kind_t, vch_slice_t wrapped);

/* ---- settings (guard_conf.c) ---- */

typedef struct {
    vch_guard_kind_t kind;
    char secret_file[VCH_PATH_MAX], module[VCH_PATH_MAX], token[GD_LABEL_MAX + 1];
} gd_conf_t;

/* ERR_FORMAT with name and line. */
vch_rc gd_conf_get(gd_conf_t *ret, vch_slice_t text, const char *name, vch_err_t *);
/* dir/name; ERR_NOT_FOUND when it isn't there. */
vch_rc gd_conf_read(gd_conf_t *ret, vch_port_t *, const char *dir, const char *name, vch_err_t *);
vch_rc gd_open(vch_guard_t **ret, vch_port_t *, const char *dir, const gd_conf_t *, vch_err_t *);

/* The first line of a file, in secret memory, with a zero behind it. */
typedef struct {
    uint8_t *p;
    size_t n;
} gd_secret_t;
vch_rc gd_secret_read(gd_secret_t *ret, vch_port_t *, const char *dir, const char *path, vch_err_t *);

/* ---- passphrase (guard_passphrase.c) ----
 *   "VCHPASS1" ‖ u32 passes ‖ u32 KiB ‖ salt 16 ‖ nonce 24 ‖ ciphertext 32 ‖ tag 16
 * All before the ciphertext is bound to it.  Passes and memory are those of
 * Argon2id (RFC 9106, one lane). */
#define GD_PASS_SIZE 104u
#define GD_PASSES_MAX 16u
#define GD_KIB_MAX (1u << 20)
typedef struct {
    uint32_t passes, kib;
} gd_cost_t;
extern const gd_cost_t gd_moderate; /* 3, 256 MiB */
/* Takes the secret over, whatever comes of it. */
vch_rc gd_passphrase(vch_guard_t **ret, vch_port_t *, gd_secret_t *, gd_cost_t, vch_err_t *);
/* ERR_CORRUPT: more than the limits above, or less than Argon2id allows. */
vch_rc gd_pass_get(gd_cost_t *ret, vch_slice_t wrapped, vch_err_t *);

/* ---- token (guard_token.c) ----
 *   "VCHTOKN1" ‖ store 16 ‖ key 16 ‖ nonce 12 ‖ ciphertext 32 ‖ tag 16: AES-256-GCM
 * All before the nonce is bound to it.  The token's key has CKA_ID key and
 * CKA_LABEL "vouchsafe root <store in hex>"; each wraps one root key. */
#define GD_TOKEN_SIZE 100u
vch_rc gd_token(vch_guard_t **ret, vch_port_t *, const gd_conf_t *, gd_secret_t *, vch_err_t *);

/* ---- from one guard to another (guard_rewrap.c) ----
 * Opens what either wrapped, wraps by `next`, settles both.  Owns neither. */
typedef struct {
    vch_guard_t guard;
    const vch_guard_t *was, *next;
} gd_pair_t;
void gd_pair(gd_pair_t *ret, const vch_guard_t *was, const vch_guard_t *next);

#endif
