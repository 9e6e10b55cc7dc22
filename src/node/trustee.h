/* SPDX-License-Identifier: Apache-2.0 */
/* A trustee: holds key trees, and decides for itself whom it gives seeds.
 *
 *   dir/key.pem    its signing key, registered on the ledger with role trustee
 *   dir/seeds/     what it remembers (seeds.h)
 *   dir/dealt      ids of all extents that it ever took a deal for, 36 bytes each
 *   dir/held       withdrawals ahead of the ledger (trustee_held.c)
 *   dir/forgotten/ hashes of leaves that it forgot (trustee_path.c)
 *
 * It believes the ledger it is given and nothing else: its own replica, or the
 * embedded one.  It never sees a record, sealed or not.  Messages are those of
 * docs/formats/vault-keys.md; whoever brings them, a function call or a
 * connection, is told no more than the results below.
 *
 * One thread at a time; one process a directory (ERR_LOCKED). */
#ifndef VCH_TRUSTEE_H
#define VCH_TRUSTEE_H

#include "entry/holding.h"
#include "node/node.h"
#include "node/seeds.h"

typedef struct vch_trustee vch_trustee_t;

/* A grant's leaves of one tree are handed out so many times while the trustee is
 * open: enough for a reader that was cut off, too few for one that serves others. */
#define VCH_FETCHES_MAX 8u

/* The directory is made when missing; key and guard (NULL: the file itself) are
 * borrowed until close.
 * fresh_ms: how old the newest quorum of witnesses may be where the ledger's
 * policy wants one. */
VCH_MUST_USE vch_rc vch_trustee_open(vch_trustee_t **ret, vch_ledger_t *, const char *dir, const vch_signer_t *key,
                                     const vch_seeds_guard_t *, uint64_t fresh_ms, vch_err_t *);
void vch_trustee_close(vch_trustee_t *); /* wipes; NULL is fine */
/* For a trustee whose ledger follows another node: what it says goes through
 * `home`, borrowed, and nothing is handed out unless vch_trustee_heard was
 * called within fresh_ms, which is for whoever just took in the node's newest
 * checkpoint. */
void vch_trustee_follows(vch_trustee_t *, vch_ledger_t *home);
void vch_trustee_heard(vch_trustee_t *);

/* A signed prekey for one deal; of those that weren't used the newest 16 are known. */
VCH_MUST_USE vch_rc vch_trustee_prekey(vch_trustee_t *, vch_buf_t *ret, vch_err_t *);
/* Take a deal signed by a custodian: compute the roots, remember the seeds,
 * then sign.  ret: CBOR array of COSE_Sign1 as byte strings, one for each set
 * that is held, in order.  The prekey is used up, whatever comes of it.
 *   ERR_FORMAT, ERR_NETWORK, ERR_SIGNATURE; ERR_ROLE: not a custodian's key
 *   ERR_KEY: sealed to no prekey of ours that is still there
 *   ERR_COMMITMENT: the seeds were sealed for another deal
 *   ERR_CONFLICT: a deal for this extent was taken before */
VCH_MUST_USE vch_rc vch_trustee_deal(vch_trustee_t *, vch_slice_t deal, vch_buf_t *ret, vch_err_t *);
/* Answer a request: ret_answer gets the signed part, ret_box the seeds sealed
 * to the request's key.  Refused, in this order, unless
 *   it is well-formed, of this network and signed by a registered, unrevoked key;
 *     of an own access: by that subject's key and no other, and to be sealed to
 *     the one-time key of its statement                       ERR_ROLE, ERR_KEY
 *   the grant was permitted, is that party's, unexpired, and its outcome is
 *     committed: under a checkpoint that the policy's quorum cosigned
 *                                         ERR_NOT_FOUND, ERR_DENIED, ERR_ROLE, ERR_EXPIRED, ERR_QUORUM
 *   the newest quorum is no older than fresh_ms                             ERR_QUORUM
 *   the extent is of the grant's version, in this trustee's hands as the
 *     ledger says, and the set is one that it holds                        ERR_NOT_FOUND
 *   every row below every node is granted and permitted now, and its group
 *     of columns is granted                                                ERR_DENIED
 *   none was forgotten, and not more is fetched than VCH_FETCHES_MAX says   ERR_DENIED, ERR_LIMIT */
VCH_MUST_USE vch_rc vch_trustee_release(vch_trustee_t *, vch_slice_t request, vch_buf_t *ret_answer, vch_buf_t *ret_box,
                                        vch_err_t *);
/* A leaf's hash and its way to R_T of a set that is held: what convicts another
 * holder that answered a wrong seed (vch_blame_verify), and tells nothing about
 * the leaf.  ret: CBOR array [hash, hashes inside the group, among the groups, all
 * of them joined].  Costs the hashes of the whole tree: not for anybody who asks.
 *   ERR_NOT_FOUND: not held here */
VCH_MUST_USE vch_rc vch_trustee_path(vch_trustee_t *, const vch_hash_t *extent, uint8_t set, uint32_t leaf,
                                     vch_buf_t *ret, vch_err_t *);
/* An owner's signed withdrawal or erasure, a whole transaction as it is or will
 * be submitted: if the ledger would take it now, that subject's rows are held back
 * from now on, durably, until the ledger has it, and it is passed on to the ledger.
 * VCH_OK also when that has it already.
 * Errors as of vch_state_apply; ERR_UNSUPPORTED: of another kind. */
VCH_MUST_USE vch_rc vch_trustee_withdraw(vch_trustee_t *, vch_slice_t tx, vch_err_t *);
/* Forget what erased subjects had in extents held here, then say so on the
 * ledger, once for each erasure.  Release does the first half by itself before
 * it looks at a request. */
VCH_MUST_USE vch_rc vch_trustee_erase(vch_trustee_t *, vch_err_t *);
/* Forget deals for extents that never came onto the ledger.  Only for whoever
 * knows that no ingest is under way. */
VCH_MUST_USE vch_rc vch_trustee_sweep(vch_trustee_t *, vch_err_t *);
/* The same for whoever can't know: forgets those that were not on the ledger at
 * the call before either.  So an ingest has from one call to the next. */
VCH_MUST_USE vch_rc vch_trustee_sweep_old(vch_trustee_t *, vch_err_t *);

#endif
