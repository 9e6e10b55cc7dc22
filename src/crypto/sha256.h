/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4), one stream or many at once.
 *
 * The way of computing is chosen at run time: SHA-NI (two streams
 * interleaved), AVX-512 (sixteen lanes), or portable C.  All give the same
 * bytes; tests force each and compare with OpenSSL.  No allocation. */
#ifndef VCH_SHA256_H
#define VCH_SHA256_H

#include "base/base.h"

typedef struct {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t block[64];
} vch_sha256_t; /* no inner pointers: copy to fork, drop without a free */

void vch_sha256_init(vch_sha256_t *);
void vch_sha256_add(vch_sha256_t *, const void *p, size_t n);
void vch_sha256_end(vch_sha256_t *, vch_hash_t *ret);
void vch_sha256(vch_hash_t *ret, const void *p, size_t n);

/* One message made of up to three parts, hashed as if joined; parts may be
 * empty.  `n` messages in one call, ret[i] for msgs[i]; any lengths. */
typedef struct {
    vch_slice_t part[3];
} vch_sha256_msg_t;
void vch_sha256_many(vch_hash_t *ret, const vch_sha256_msg_t *msgs, size_t n);

/* RFC 6962: ret[i] = SHA-256(0x01 ‖ pairs[2i] ‖ pairs[2i+1]), the tree's
 * inner loop; ret may be pairs (in place: ret[i] is written after pairs[2i]
 * and pairs[2i+1] are read). */
void vch_sha256_nodes(vch_hash_t *ret, const vch_hash_t *pairs, size_t n);
/* RFC 6962 leaf hashes of n messages: SHA-256(0x00 ‖ data). */
void vch_sha256_leaves(vch_hash_t *ret, const vch_slice_t *data, size_t n);
/* n messages of one length at a fixed stride, each behind a prefix byte. */
void vch_sha256_fixed(vch_hash_t *ret, uint8_t prefix, const uint8_t *data, size_t len, size_t stride, size_t n);

typedef enum { VCH_SHA_AUTO, VCH_SHA_PORTABLE, VCH_SHA_NI, VCH_SHA_AVX512 } vch_sha_path_t;
/* For tests and benches only; false when this machine cannot. */
bool vch_sha256_use(vch_sha_path_t);
const char *vch_sha256_path_name(void);

/* HMAC-SHA-256 (RFC 2104) and HKDF (RFC 5869; out_n at most 8,160). */
void vch_hmac(vch_hash_t *ret, vch_slice_t key, vch_slice_t data);
void vch_hkdf(uint8_t *out, size_t out_n, vch_slice_t salt, vch_slice_t ikm, vch_slice_t info);

#endif
