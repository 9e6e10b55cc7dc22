/* SPDX-License-Identifier: Apache-2.0 */
/* A log in an array, signed with a key from a small number: what a witness
 * sees of somebody's log, without a ledger behind it. */
#ifndef VCH_TOYLOG_H
#define VCH_TOYLOG_H

#include "entry/note.h"
#include "txkit.h"

#define TOY_LEAVES_MAX 4096

typedef struct {
    char origin[64];
    vch_signer_t *key;
    char vkey[200];
    vch_hash_t leaf[TOY_LEAVES_MAX]; /* leaf hashes */
    size_t size;
} toylog_t;

static inline vch_buf_t toy_buf(void)
{
    vch_buf_t b;
    vch_buf_init(&b, 4 * VCH_NOTE_BYTES_MAX);
    return b;
}

static inline void toy_vkey(char ret[200], const char *name, vch_note_type_t type, const vch_signer_t *s)
{
    vch_buf_t b;
    vch_buf_init(&b, 199);
    KIT_OK(vch_vkey_put(&b, name, type, vch_signer_public(s)->b + 2));
    memcpy(ret, b.p, b.n);
    ret[b.n] = 0;
    vch_buf_free(&b);
}

/* `branch` makes other leaves, so that two logs of one origin differ from there on. */
static inline void toy_grow(toylog_t *l, size_t size, unsigned branch)
{
    for (; l->size < size; l->size++) {
        uint8_t data[16] = {0};
        vch_put_u64(data, l->size);
        vch_put_u32(data + 8, branch);
        vch_tree_leaf(&l->leaf[l->size], vch_slice(data, sizeof data));
    }
}

static inline toylog_t *toy_new(const char *origin, unsigned key)
{
    toylog_t *l = calloc(1, sizeof *l);
    KIT_OK(vch_crypto_start());
    snprintf(l->origin, sizeof l->origin, "%s", origin);
    l->key = kit_signer(key, VCH_ALG_ED25519);
    toy_vkey(l->vkey, origin, VCH_NOTE_ED25519, l->key);
    return l;
}

static inline void toy_free(toylog_t *l)
{
    vch_signer_free(l->key);
    free(l);
}

static inline vch_hash_t toy_root(const toylog_t *l, size_t size)
{
    vch_edge_t e;
    vch_hash_t root;
    vch_edge_init(&e);
    vch_edge_add(&e, l->leaf, size);
    vch_edge_root(&e, &root);
    return root;
}

static inline vch_rc toy_subtree(void *ctx, vch_hash_t *ret, unsigned level, uint64_t n)
{
    const toylog_t *l = ctx;
    vch_edge_t e;
    vch_edge_init(&e);
    vch_edge_add(&e, l->leaf + (n << level), (size_t)1 << level);
    vch_edge_root(&e, ret);
    return VCH_OK;
}

/* The signed checkpoint of `size` leaves with this root. */
static inline void toy_note_of(vch_buf_t *ret, const toylog_t *l, uint64_t size, const vch_hash_t *root,
                               const vch_signer_t *key)
{
    vch_buf_t text = toy_buf();
    KIT_OK(vch_checkpoint_put(&text, l->origin, size, root));
    KIT_OK(vch_buf_put(ret, text.p, text.n));
    KIT_OK(vch_buf_u8(ret, '\n'));
    KIT_OK(vch_note_sign(ret, vch_buf_slice(&text), l->origin, key));
    vch_buf_free(&text);
}

static inline void toy_note(vch_buf_t *ret, const toylog_t *l, size_t size)
{
    vch_hash_t root = toy_root(l, size);
    toy_note_of(ret, l, size, &root, l->key);
}

/* The body of add-checkpoint from `old` to `size`; without a proof when none can be made. */
static inline vch_buf_t toy_ask(toylog_t *l, uint64_t old, size_t size)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t n = 0;
    vch_buf_t note = toy_buf(), body = toy_buf();
    if (old > 0 && old < size) KIT_OK(vch_consistency_prove(path, &n, old, size, toy_subtree, l));
    toy_note(&note, l, size);
    KIT_OK(vch_witness_ask_put(&body, old, path, n, vch_buf_slice(&note)));
    vch_buf_free(&note);
    return body;
}

#endif
