/* SPDX-License-Identifier: Apache-2.0 */
/* What the vault's files share. */
#ifndef VCH_NODE_VAULT_INT_H
#define VCH_NODE_VAULT_INT_H

#include "node/vault.h"

#define VCH_STREAM_COMMITMENTS 16u
#define VCH_STREAMS 17u

/* ERR_UNREACHABLE names the first one that is gone: what is put in needs all. */
vch_rc vch_vault_all_storage(const vch_vault_t *, vch_err_t *);
vch_rc vch_vault_all_trustees(const vch_vault_t *, vch_err_t *);
/* Deal the trees (root: one for each set) to all trustees, gather and compare
 * the roots they sign, and append the `vault` map. */
vch_rc vch_vault_deal(vch_vault_t *, const vch_signer_t *custodian, const vch_tree_about_t *, const vch_kt_seed_t *root,
                      const vch_hash_t *shards_root, vch_buf_t *ret, vch_err_t *);
/* A registered key, revoked or not: who signed earlier still signed. */
vch_rc vch_vault_key(vch_ledger_t *, const vch_keyid_t *, vch_pubkey_t *ret, vch_err_t *);

/* A proof against a trustee into blame/, and a note for people (blames.c). */
vch_rc nd_blame_keep(vch_ledger_t *, vch_slice_t proof, vch_err_t *);

/* ---- on other machines (vault_served.c) ---- */
bool nd_vault_served(const vch_ledger_t *);
vch_rc nd_served_open(vch_vault_t *, vch_err_t *);
vch_rc nd_served_up(vch_ledger_t *, const vch_signer_t *registrar, vch_err_t *);
/* Parties of the vault on the ledger. */
vch_rc nd_key_registered(vch_ledger_t *, const vch_keyid_t *, bool *ret, vch_err_t *);
vch_rc nd_register_role(vch_ledger_t *, const vch_signer_t *registrar, const char *name, const char *role,
                        const vch_pubkey_t *, vch_err_t *);

/* ---- a trustee in this process (vault_embedded.c) ---- */
/* dir holds key.pem; ERR_NOT_FOUND when it doesn't. */
vch_rc vch_peer_embedded(vch_peer_t **ret, vch_ledger_t *, const char *dir, vch_keyid_t *ret_id, vch_err_t *);

#endif
