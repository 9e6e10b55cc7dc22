/* SPDX-License-Identifier: Apache-2.0 */
/* C2SP text formats: signed note (v1.0.0), tlog-checkpoint (v1.0.0),
 * tlog-cosignature (v1.0.1, Ed25519), tlog-proof, tlog-policy.
 *
 * Everything parsed is borrowed from the caller's bytes; nothing allocates;
 * pure (no I/O, no clock).  ERR_FORMAT for anything that the specification
 * refuses, ERR_LIMIT beyond the counts below. */
#ifndef VCH_NOTE_H
#define VCH_NOTE_H

#include "base/base.h"
#include "crypto/keys.h"

#define VCH_NOTE_BYTES_MAX (64u * 1024u)
#define VCH_NOTE_SIGS_MAX 64
#define VCH_NOTE_NAME_MAX 255

typedef enum { VCH_NOTE_ED25519 = 1, VCH_NOTE_COSIG_ED25519 = 4 } vch_note_type_t;

/* A verifier key "name+hash+base64(type ‖ key)". */
typedef struct {
    vch_slice_t name; /* borrowed */
    uint8_t id[4];
    vch_note_type_t type; /* other types parse with ERR_UNSUPPORTED */
    uint8_t key[32];
} vch_vkey_t;
VCH_MUST_USE vch_rc vch_vkey_get(vch_vkey_t *ret, vch_slice_t text);
VCH_MUST_USE vch_rc vch_vkey_put(vch_buf_t *ret, const char *name, vch_note_type_t, const uint8_t key[32]);
void vch_note_key_id(uint8_t ret[4], vch_slice_t name, vch_note_type_t, const uint8_t key[32]);

typedef struct {
    vch_slice_t name; /* borrowed */
    uint8_t id[4];
    vch_slice_t blob_base64; /* as written, checked canonical; decodes to 4 + sig bytes */
} vch_note_sig_t;

typedef struct {
    vch_slice_t text; /* with its last newline */
    vch_note_sig_t sig[VCH_NOTE_SIGS_MAX];
    size_t sigs;
} vch_note_t;
VCH_MUST_USE vch_rc vch_note_get(vch_note_t *ret, vch_slice_t note);

typedef enum { VCH_SIG_ABSENT, VCH_SIG_GOOD, VCH_SIG_BAD } vch_sig_state_t;
/* Does this key's signature stand under the note?  For a cosignature key,
 * ret_time (may be NULL) gets its POSIX seconds. */
vch_sig_state_t vch_note_verify(const vch_note_t *, const vch_vkey_t *, uint64_t *ret_time);

/* Append "— name base64\n" for text: by the log's key (type 1) ... */
VCH_MUST_USE vch_rc vch_note_sign(vch_buf_t *ret, vch_slice_t text, const char *name, const vch_signer_t *ed25519);
/* ... and by a witness at `seconds` (type 4). */
VCH_MUST_USE vch_rc vch_note_cosign(vch_buf_t *ret, vch_slice_t text, const char *name, const vch_signer_t *ed25519,
                                    uint64_t seconds);

/* ---- checkpoint: the text of a note ---- */
typedef struct {
    vch_slice_t origin; /* borrowed */
    uint64_t size;
    vch_hash_t root;
    vch_slice_t extension; /* extra lines, maybe empty */
} vch_checkpoint_t;
VCH_MUST_USE vch_rc vch_checkpoint_get(vch_checkpoint_t *ret, vch_slice_t text);
VCH_MUST_USE vch_rc vch_checkpoint_put(vch_buf_t *ret, const char *origin, uint64_t size, const vch_hash_t *root);

/* A log whose genesis names `first` may sign as `origin`: the same name, or, when
 * it was restored from a backup that others may have seen the future of,
 * "<first>/restored-…". */
bool vch_origin_goes_on(vch_slice_t origin, vch_slice_t first);

/* ---- tlog-proof: an inclusion proof in a file of its own ---- */
typedef struct {
    uint64_t index;
    vch_hash_t path[64];
    size_t n;
    vch_slice_t extra; /* base64 as written, unauthenticated; empty when absent */
    vch_slice_t note;  /* the checkpoint, verbatim */
} vch_tlog_proof_t;
VCH_MUST_USE vch_rc vch_tlog_proof_get(vch_tlog_proof_t *ret, vch_slice_t text);
/* extra: bytes, not base64; empty for none. */
VCH_MUST_USE vch_rc vch_tlog_proof_put(vch_buf_t *ret, uint64_t index, const vch_hash_t *path, size_t n,
                                       vch_slice_t extra, vch_slice_t note);

/* ---- tlog-witness: the body of add-checkpoint ---- */
#define VCH_ASK_HASHES_MAX 63
#define VCH_ASK_BYTES_MAX (VCH_NOTE_BYTES_MAX + 4096u)
typedef struct {
    uint64_t old; /* size that the witness is expected to have cosigned last */
    vch_hash_t path[VCH_ASK_HASHES_MAX];
    size_t n;         /* of the consistency proof from there */
    vch_slice_t note; /* the checkpoint, verbatim */
} vch_witness_ask_t;
VCH_MUST_USE vch_rc vch_witness_ask_get(vch_witness_ask_t *ret, vch_slice_t body);
VCH_MUST_USE vch_rc vch_witness_ask_put(vch_buf_t *ret, uint64_t old, const vch_hash_t *path, size_t n,
                                        vch_slice_t note);

/* ---- tlog-policy: whom to believe ---- */
#define VCH_POLICY_LOGS_MAX 32
#define VCH_POLICY_NODES_MAX 96 /* witnesses and groups together */

typedef struct {
    vch_slice_t name;
    bool is_group;
    vch_vkey_t vkey;   /* of a witness */
    vch_slice_t url;   /* of a witness, maybe empty */
    unsigned need, of; /* of a group: k of n */
    int parent;        /* the group that it is a member of, or -1 */
} vch_policy_node_t;

typedef struct {
    vch_vkey_t log[VCH_POLICY_LOGS_MAX];
    vch_slice_t log_url[VCH_POLICY_LOGS_MAX];
    size_t logs;
    vch_policy_node_t node[VCH_POLICY_NODES_MAX]; /* members stand before their group */
    size_t nodes;
    int quorum; /* index into node, or -1 for none */
} vch_trust_t;
/* err names the line. */
VCH_MUST_USE vch_rc vch_trust_get(vch_trust_t *ret, vch_slice_t text, vch_err_t *err);

/* What a policy says of one note. */
typedef struct {
    bool log_known;       /* a listed log of this origin signed, and rightly */
    bool forged;          /* a known key's signature fails: reject the note */
    bool quorum;          /* the policy's quorum is met (true for "none") */
    bool wants_witness;   /* the policy names a quorum */
    uint64_t quorum_time; /* POSIX seconds by which the quorum stood; 0 if none */
    size_t witnesses;     /* good cosignatures by listed witnesses */
} vch_trust_result_t;
VCH_MUST_USE vch_rc vch_trust_judge(const vch_trust_t *, const vch_note_t *, const vch_checkpoint_t *,
                                    vch_trust_result_t *ret);

#endif
