/* SPDX-License-Identifier: Apache-2.0 */
/* One record under its record key (docs/formats/vault-extent.md, "Record"):
 * AES-256-GCM, one message a key, padded to a size class.
 *
 *   plaintext    u32 n ‖ salt 32 ‖ canonical bytes n ‖ zeros up to the class
 *   ciphertext   plaintext's length ‖ tag 16
 *
 * Size class c holds (4 + c mod 4) · 2^(4 + ⌊c/4⌋) bytes: 64, 80, 96, 112, 128,
 * 160, … to 1 MiB, so a length shows no closer than a fifth.  About 0.5 µs and a
 * byte a cycle a record.  One thread at a time on one cipher. */
#ifndef VCH_RECORD_H
#define VCH_RECORD_H

#include "base/base.h"

#define VCH_RECORD_TAG 16u
#define VCH_RECORD_CLASSES 57u
#define VCH_RECORD_HEAD (4u + VCH_ROW_SALT_LEN)
#define VCH_RECORD_MAX (1u << 20) /* plaintext, so canonical bytes are at most 1 MiB - 36 */

/* Bytes of plaintext of a class below VCH_RECORD_CLASSES. */
static inline size_t vch_record_size(uint8_t size_class)
{
    return (size_t)(4u + size_class % 4u) << (4u + size_class / 4u);
}
/* The class for so many canonical bytes; ERR_LIMIT. */
VCH_MUST_USE vch_rc vch_record_class(uint8_t *ret, size_t canonical);

typedef struct vch_cipher vch_cipher_t;
VCH_MUST_USE vch_rc vch_cipher_new(vch_cipher_t **ret); /* ERR_MEMORY */
void vch_cipher_free(vch_cipher_t *);                   /* wipes; NULL is fine */

/* What a ciphertext is bound to. */
typedef struct {
    vch_hash_t extent;
    vch_id_t dataset;
    uint32_t leaf; /* leaf number */
} vch_record_about_t;

/* ret: vch_record_size(class) + 16 bytes, where the plaintext is for a moment. */
VCH_MUST_USE vch_rc vch_record_seal(vch_cipher_t *, uint8_t *ret, uint8_t size_class, const uint8_t key[32],
                                    const vch_record_about_t *, const uint8_t salt[VCH_ROW_SALT_LEN],
                                    vch_slice_t canonical);
/* ret: vch_record_size(class) bytes; salt and canonical bytes point into it.
 * ERR_KEY: not sealed under this key for this place, or damaged, and ret is
 * wiped; ERR_FORMAT: sealed, but not as above. */
VCH_MUST_USE vch_rc vch_record_open(vch_cipher_t *, uint8_t *ret, uint8_t size_class, const uint8_t key[32],
                                    const vch_record_about_t *, const uint8_t *sealed, const uint8_t **ret_salt,
                                    vch_slice_t *ret_canonical);

#endif
