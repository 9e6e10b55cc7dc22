/* SPDX-License-Identifier: Apache-2.0 */
/* What a holder signs of a key tree (crypto/keytree.h): the root R_T over all
 * its leaves, so that a wrong seed can be proven against whoever sent it.
 *
 *   R_T         RFC 6962 over the group roots, group 0 first
 *   group root  RFC 6962 over the group's leaves, row 0 first, as many as rows
 *
 * A seed inside the tree is shown to be right, or wrong, by one leaf below it
 * and that leaf's path.  No allocation; leaves are wiped; any thread.  About
 * 2 hashes a row. */
#ifndef VCH_KEYROOT_H
#define VCH_KEYROOT_H

#include "crypto/keytree.h"
#include "merkle/tree.h"

/* The root of one group with `rows` leaves (1 to 2^20), derived from `from`, at
 * or above the group's node.  False when it isn't above, or rows is 0 or too many. */
bool vch_keyroot_group(vch_hash_t *ret, const vch_kt_seed_t *from, unsigned group, uint32_t rows);
/* R_T over the roots of 1 to 16 groups. */
bool vch_keyroot(vch_hash_t *ret, const vch_hash_t *group, unsigned groups);

#define VCH_KEYROOT_PATH_MAX (VCH_KT_ROW_BITS + VCH_KT_GROUP_LEVEL)
/* One leaf's way to R_T: inside its group, then among the groups. */
typedef struct {
    uint32_t rows; /* of its group */
    uint8_t groups;
    uint8_t inside, among; /* hashes of either part */
    vch_hash_t hash[VCH_KEYROOT_PATH_MAX];
} vch_keyroot_path_t;
/* `group` as for vch_keyroot; costs the hashes of one group. */
bool vch_keyroot_prove(vch_keyroot_path_t *ret, const vch_kt_seed_t *from, uint32_t leaf, uint32_t rows,
                       const vch_hash_t *group, unsigned groups);
/* Is this the leaf that R_T was computed with? */
bool vch_keyroot_verify(const vch_hash_t *root, uint32_t leaf, const uint8_t key[VCH_KT_KEY],
                        const vch_keyroot_path_t *);
/* The same by the leaf's hash, SHA-256(0x00 ‖ key), which tells nothing about the key. */
bool vch_keyroot_verify_hash(const vch_hash_t *root, uint32_t leaf, const vch_hash_t *leaf_hash,
                             const vch_keyroot_path_t *);

#endif
