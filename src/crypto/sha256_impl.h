/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of crypto only: the ways of running SHA-256's compression function.
 *
 * A kernel is called only after vch__sha256_caps() said that this processor
 * has it.  States are eight words in the machine's own order; messages are
 * bytes, so that big- and little-endian machines agree. */
#ifndef VCH_SHA256_IMPL_H
#define VCH_SHA256_IMPL_H

#include "crypto/sha256.h"

#if defined(__x86_64__)
#define VCH_SHA256_X86 1
#else
#define VCH_SHA256_X86 0
#endif

#define VCH_SHA256_LANES 16u

extern const uint32_t vch__sha256_k[64]; /* round constants, aligned to 64 bytes */

/* One stream: `blocks` times 64 bytes at p. */
void vch__sha256_portable(uint32_t h[8], const uint8_t *p, size_t blocks);

#if VCH_SHA256_X86
void vch__sha256_ni(uint32_t h[8], const uint8_t *p, size_t blocks);
/* Two streams of `blocks` blocks each, interleaved. */
void vch__sha256_ni_pair(uint32_t ha[8], const uint8_t *a, uint32_t hb[8], const uint8_t *b, size_t blocks);

/* Sixteen streams.  A lane may repeat another's p and h; then they agree. */
void vch__sha256_avx512(uint32_t *const h[VCH_SHA256_LANES], const uint8_t *const p[VCH_SHA256_LANES], size_t blocks);
/* Up to sixteen whole messages prefix ‖ data[i·stride, len).  Everything is
 * read before anything is written.  Reads no byte outside the messages. */
void vch__sha256_avx512_fixed(vch_hash_t *ret, uint8_t prefix, const uint8_t *data, size_t len, size_t stride,
                              size_t lanes);
#endif

#endif
