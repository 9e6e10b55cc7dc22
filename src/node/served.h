/* SPDX-License-Identifier: Apache-2.0 */
/* Trustees and storage nodes on other machines, as this side reaches them.
 * docs/formats/vault-http.md has the messages.
 *
 *   POST <url>/<key id of whom is asked, in hex>/<verb>     body and answer: CBOR
 *
 * The server is known by its key: over TLS the handshake proves it, over plain
 * HTTP on the loopback nobody does, and what matters is signed and sealed all
 * the same.  Questions that only some may ask are signed in their
 * Authorization header (api/api.h), which covers path and body. */
#ifndef VCH_SERVED_H
#define VCH_SERVED_H

#include "node/remote.h"
#include "node/vault.h"

/* How sockets come in: set once, by the layer that knows them, before any vault
 * is opened.  Without it what is served is ERR_UNSUPPORTED. */
typedef struct {
    vch_rc (*connect)(vch_transport_t **ret, const vch_keyid_t *pin, vch_err_t *);
    vch_authorize_fn authorize;
} vch_sockets_t;
void vch_sockets_set(const vch_sockets_t *);

/* Whose signature stands under the questions; read at each of them, NULL: none. */
typedef const vch_signer_t *const *vch_asking_t;

/* "https://host:port#<key id in hex>"; ERR_FORMAT. */
VCH_MUST_USE vch_rc vch_served_url(char ret_url[256], vch_keyid_t *ret_id, const char *text, vch_err_t *);
VCH_MUST_USE vch_rc vch_peer_served(vch_peer_t **ret, vch_port_t *, const char *url, const vch_keyid_t *, vch_asking_t,
                                    vch_err_t *);
VCH_MUST_USE vch_rc vch_backend_served(vch_backend_t **ret, vch_port_t *, const char *url, const vch_keyid_t *,
                                       vch_asking_t, vch_err_t *);
/* The public key that the server says it has; its id is the one asked for. */
VCH_MUST_USE vch_rc vch_served_key(vch_port_t *, const char *url, const vch_keyid_t *, vch_pubkey_t *ret, vch_err_t *);

/* ---- what travels, for both sides ---- */

#define VCH_PIECE_MAX (4u << 20)             /* bytes of an object in one question or answer */
#define VCH_ASKED_MAX (VCH_PIECE_MAX + 4096) /* of a body */
#define VCH_NAMES_MAX 1024u                  /* of a list */

/* [name, at, n | bytes]: what there is of it depends on the verb. */
typedef struct {
    char name[81];
    uint64_t at, n;
    vch_slice_t bytes;
} vch_object_ask_t;
typedef enum { VCH_ASK_NAME, VCH_ASK_RANGE, VCH_ASK_BYTES, VCH_ASK_SIZE } vch_ask_shape_t;
VCH_MUST_USE vch_rc vch_object_ask_put(vch_buf_t *, vch_ask_shape_t, const vch_object_ask_t *);
VCH_MUST_USE vch_rc vch_object_ask_get(vch_object_ask_t *ret, vch_ask_shape_t, vch_slice_t body);

/* [name, at, n, chunk] asks for a chunk's proof, [chunk, hashes joined] is one. */
VCH_MUST_USE vch_rc vch_prove_ask_put(vch_buf_t *, const vch_object_ask_t *, uint32_t chunk);
VCH_MUST_USE vch_rc vch_prove_ask_get(vch_object_ask_t *ret, uint32_t *ret_chunk, vch_slice_t body);
VCH_MUST_USE vch_rc vch_proof_put(vch_buf_t *, const vch_audit_t *);
VCH_MUST_USE vch_rc vch_proof_get(vch_audit_t *ret, vch_slice_t body); /* chunk and segment stay as they were */
/* [extent, set, leaf] */
VCH_MUST_USE vch_rc vch_path_ask_put(vch_buf_t *, const vch_hash_t *extent, uint8_t set, uint32_t leaf);
VCH_MUST_USE vch_rc vch_path_ask_get(vch_hash_t *ret_extent, uint8_t *ret_set, uint32_t *ret_leaf, vch_slice_t body);

#endif
