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

/* Leaf hash of one answered seed, bound to network, grant, extent and set. */
VCH_MUST_USE vch_rc vch__answer_item(vch_hash_t *ret, const vch_answer_t *, vch_kt_node_t,
                                     const uint8_t key[VCH_KT_KEY]);
/* All of a request's. */
VCH_MUST_USE vch_rc vch__answer_items(vch_hash_t *ret, const vch_release_t *, const uint8_t *seed);

#endif
