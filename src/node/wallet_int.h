/* SPDX-License-Identifier: Apache-2.0 */
/* Between wallet.c and owner.c. */
#ifndef VCH_WALLET_INT_H
#define VCH_WALLET_INT_H

#include "node/node.h"

/* Owner i's key for a dataset: HKDF-SHA-256(seed, no salt, network ‖ dataset)
 * is the seed of an Ed25519 key. */
VCH_MUST_USE vch_rc vch__wallet_signer(const vch_wallet_t *, uint32_t owner, const vch_hash_t *network,
                                       const vch_id_t *dataset, vch_signer_t **ret, vch_err_t *);

#endif
