/* SPDX-License-Identifier: Apache-2.0 */
/* Between wallet.c and its users here: owner.c, check.c. */
#ifndef VCH_WALLET_INT_H
#define VCH_WALLET_INT_H

#include "node/node.h"

/* Owner i's key for a dataset: HKDF-SHA-256(seed, no salt, network ‖ dataset)
 * is the seed of an Ed25519 key. */
VCH_MUST_USE vch_rc vch__wallet_signer(const vch_wallet_t *, uint32_t owner, const vch_hash_t *network,
                                       const vch_id_t *dataset, vch_signer_t **ret, vch_err_t *);

/* The same as the public functions, over any port. */
VCH_MUST_USE vch_rc vch__wallet_new_on(vch_port_t *, const char *path, uint32_t owners, int simulated,
                                       const char *passphrase, vch_err_t *);
VCH_MUST_USE vch_rc vch__wallet_open_on(vch_wallet_t **ret, vch_port_t *, const char *path, const char *passphrase,
                                        vch_err_t *);
/* Whole and well-formed; whether the seeds are right, only its passphrase tells. */
VCH_MUST_USE vch_rc vch__wallet_check(vch_port_t *, const char *path, vch_err_t *);

#endif
