/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the vault's messages. */
#ifndef VCH_ENTRY_VAULT_INT_H
#define VCH_ENTRY_VAULT_INT_H

#include "entry/vault.h"

enum {
    VCH__PREKEY = 1,
    VCH__DEAL = 2,
    VCH__ROOT = 3,
    VCH__RELEASE = 4,
    VCH__ANSWER = 5,
    VCH__ITEM = 6,
    VCH__DESTROYED = 7,
    VCH__BLAME = 8
};

/* Leaf hashes of n answered seeds (n * 32 bytes), each bound to the answer's
 * network, grant, extent and set, and to its node.  Copies of seeds are wiped. */
VCH_MUST_USE vch_rc vch__answer_items(vch_hash_t *ret, const vch_seeds_answer_t *, const vch_kt_node_t *,
                                      const uint8_t *seed, size_t n);

#endif
