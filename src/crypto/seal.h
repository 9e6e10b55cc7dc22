/* SPDX-License-Identifier: Apache-2.0 */
/* Boxes for one reader: X25519 and XSalsa20-Poly1305 in the form of libsodium's
 * crypto_box_seal.  The writer's own key is made from random bytes that the
 * caller brings, so that nothing here draws randomness.
 *
 * Layout: writer's one-time public key 32 ‖ tag 16 ‖ ciphertext.  A box says
 * nothing about who wrote it.  No allocation; any thread. */
#ifndef VCH_SEAL_H
#define VCH_SEAL_H

#include "base/base.h"

#define VCH_SEAL_KEY 32u
#define VCH_SEAL_OVERHEAD 48u

/* A reader's one-time pair.  seed: 32 random bytes; `secret` belongs into
 * secret memory (keys.h) and is wiped after its one use. */
VCH_MUST_USE vch_rc vch_seal_pair(uint8_t ret_public[VCH_SEAL_KEY], uint8_t secret[VCH_SEAL_KEY],
                                  const uint8_t seed[32]);
/* Appends plain.n + 48 bytes to ret.  random: 32 bytes, never used again, wiped
 * by the caller.  ERR_KEY for a public key of small order; ERR_LIMIT,
 * ERR_MEMORY of the buffer. */
VCH_MUST_USE vch_rc vch_seal(vch_buf_t *ret, vch_slice_t plain, const uint8_t to[VCH_SEAL_KEY],
                             const uint8_t random[32]);
/* ret: box.n - 48 bytes, at most plain_max, else ERR_LIMIT.  ERR_FORMAT for a
 * box that is too short; ERR_KEY when it is damaged or for another reader, and
 * ret is untouched or wiped. */
VCH_MUST_USE vch_rc vch_seal_open(uint8_t *ret, size_t plain_max, size_t *ret_n, vch_slice_t box,
                                  const uint8_t public_key[VCH_SEAL_KEY], const uint8_t secret[VCH_SEAL_KEY]);

/* ---- a box under a key of one's own: XChaCha20-Poly1305 (libsodium) -----------
 * Layout: nonce 24 ‖ ciphertext ‖ tag 16.  `about` is bound to it, not in it. */
#define VCH_LOCKED_OVERHEAD 40u
/* Appends plain.n + 40 bytes.  nonce: 24 random bytes. */
VCH_MUST_USE vch_rc vch_lock_box(vch_buf_t *ret, vch_slice_t plain, const uint8_t key[32], vch_slice_t about,
                                 const uint8_t nonce[24]);
/* ret: box.n - 40 bytes.  ERR_FORMAT: too short; ERR_KEY: another key, about
 * something else, or damaged, and ret is wiped. */
VCH_MUST_USE vch_rc vch_unlock_box(uint8_t *ret, vch_slice_t box, const uint8_t key[32], vch_slice_t about);

#endif
