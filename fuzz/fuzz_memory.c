/* SPDX-License-Identifier: Apache-2.0 */
/* What a remote handle remembers of a node, from arbitrary files, in front of a
 * node that is honest.  The first byte of the input says how large the node's log
 * is; then come the files of the URL, of the log and of its checkpoint, with a
 * byte 0xff between them; an empty one isn't there.  In them "@K" stands for
 * the log's key, "@O" for its origin, "@N" for a network, "@1" to "@8" for its
 * signed checkpoint of that size and "@F" for one that contradicts it, so that
 * mutations reach what lies behind the signatures.
 *
 * A session that begins was told the log's own key, ends at the node's
 * checkpoint, and keeps it; then a node that contradicts it is refused.  One that
 * doesn't leaves what was remembered as it was. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto/sha256.h"
#include "node/remote_int.h"
#include "port/sim.h"

#define INPUT_MAX (1u << 14)
#define FILE_MAX (1u << 20)
#define LEAVES 8u
#define FORK LEAVES /* place of the other log's note */
#define ORIGIN "clinic-a.example/log"
#define URL "https://node.example"
#define PARTS 3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* ---- a log of eight leaves, and another one of its key ----------------------------------- */

static vch_hash_t leaf[2][LEAVES]; /* hashes */
static vch_buf_t note[LEAVES + 1], vkey;

static vch_rc subtree(void *ctx, vch_hash_t *ret, unsigned level, uint64_t n)
{
    vch_edge_t e;
    vch_edge_init(&e);
    vch_edge_add(&e, (const vch_hash_t *)ctx + (n << level), (size_t)1 << level);
    vch_edge_root(&e, ret);
    return VCH_OK;
}

static vch_hash_t root_of(unsigned branch, uint64_t size)
{
    vch_hash_t root;
    vch_rc rc = vch_subtrees_root(&root, size, subtree, leaf[branch]);
    assert(rc == VCH_OK);
    return root;
}

static vch_rc sign(vch_buf_t *ret, const vch_signer_t *key, unsigned branch, uint64_t size)
{
    vch_buf_t text;
    vch_hash_t root = root_of(branch, size);
    vch_buf_init(&text, VCH_NOTE_BYTES_MAX);
    vch_buf_init(ret, VCH_NOTE_BYTES_MAX);
    vch_rc rc = vch_checkpoint_put(&text, ORIGIN, size, &root);
    if (rc == VCH_OK) rc = vch_buf_printf(ret, "%.*s\n", (int)text.n, (const char *)text.p);
    if (rc == VCH_OK) rc = vch_note_sign(ret, vch_buf_slice(&text), ORIGIN, key);
    vch_buf_free(&text);
    return rc;
}

static void make_log(void)
{
    static const uint8_t seed[32] = {0x11};
    vch_signer_t *key = NULL;
    if (vkey.n) return;
    for (unsigned i = 0; i < 2 * LEAVES; i++) {
        uint8_t b = (uint8_t)i;
        vch_tree_leaf(&leaf[i / LEAVES][i % LEAVES], vch_slice(&b, 1));
    }
    vch_buf_init(&vkey, 400);
    vch_rc rc = vch_crypto_start();
    if (rc == VCH_OK) rc = vch_signer_new(&key, VCH_ALG_ED25519, seed, NULL);
    if (rc == VCH_OK) rc = vch_vkey_put(&vkey, ORIGIN, VCH_NOTE_ED25519, vch_signer_public(key)->b + 2);
    for (unsigned i = 0; rc == VCH_OK && i < LEAVES; i++) rc = sign(&note[i], key, 0, i + 1);
    if (rc == VCH_OK) rc = sign(&note[FORK], key, 1, LEAVES);
    assert(rc == VCH_OK);
    vch_signer_free(key);
}

/* ---- the node ------------------------------------------------------------------------------- */

typedef struct {
    vch_transport_t t;
    unsigned shows; /* place of its note */
} node_t;

static vch_rc answer_proof(vch_buf_t *b, unsigned branch, uint64_t from, uint64_t to)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX], root[2] = {root_of(branch, from), root_of(branch, to)};
    char hex[2][65];
    size_t n = 0;
    for (unsigned i = 0; i < 2; i++) vch_hex(hex[i], root[i].b, 32);
    VCH_TRY(vch_consistency_prove(path, &n, from, to, subtree, leaf[branch]));
    VCH_TRY(vch_buf_printf(b, "{\"size1\":%u,\"root1\":\"%s\",\"size2\":%u,\"root2\":\"%s\",\"path\":[", (unsigned)from,
                           hex[0], (unsigned)to, hex[1]));
    for (size_t i = 0; i < n; i++) {
        vch_hex(hex[0], path[i].b, 32);
        VCH_TRY(vch_buf_printf(b, "%s\"%s\"", i ? "," : "", hex[0]));
    }
    return vch_buf_printf(b, "]}");
}

/* Checkpoint and consistency; nothing else is there. */
static void answer(const node_t *node, const char *target, vch_answer_t *a)
{
    unsigned from, to, size = node->shows == FORK ? LEAVES : node->shows + 1;
    a->rc = VCH_OK;
    a->status = 404;
    if (strcmp(target, "/checkpoint") == 0) {
        a->status = 200;
        a->rc = vch_buf_put(&a->body, note[node->shows].p, note[node->shows].n);
    } else if (sscanf(target, "/v1/proof/consistency?from=%4u&to=%4u", &from, &to) == 2 && from > 0 && from < to &&
               to <= size) {
        a->status = 200;
        a->rc = answer_proof(&a->body, node->shows == FORK, from, to);
    }
    assert(a->rc == VCH_OK);
}

static void ask(vch_transport_t *t, const vch_ask_t *ask, vch_answer_t *ret, size_t n, uint64_t timeout_ms)
{
    (void)timeout_ms;
    for (size_t i = 0; i < n; i++) {
        assert(strncmp(ask[i].url, URL "/", sizeof URL) == 0 && !ask[i].post);
        answer(t->ctx, ask[i].url + sizeof URL - 1, &ret[i]);
    }
}

static void gone(vch_transport_t *t) { (void)t; }

/* ---- the files ------------------------------------------------------------------------------- */

static char path[PARTS][VCH_PATH_MAX]; /* URL, log, checkpoint */

static void name_files(void)
{
    vch_hash_t h;
    char url[65], origin[65];
    vch_sha256(&h, URL, sizeof URL - 1);
    vch_hex(url, h.b, 32);
    vch_sha256(&h, ORIGIN, sizeof ORIGIN - 1);
    vch_hex(origin, h.b, 32);
    vch_rc rc = vch_path(path[0], "m/nodes/%s", url);
    if (rc == VCH_OK) rc = vch_path(path[1], "m/logs/%s/log", origin);
    if (rc == VCH_OK) rc = vch_path(path[2], "m/logs/%s/checkpoint", origin);
    assert(rc == VCH_OK);
}

static vch_slice_t meaning(uint8_t c)
{
    if (c == 'K') return vch_buf_slice(&vkey);
    if (c == 'O') return vch_str(ORIGIN);
    if (c == 'N') return vch_str("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    if (c == 'F') return vch_buf_slice(&note[FORK]);
    return c >= '1' && c <= '8' ? vch_buf_slice(&note[c - '1']) : vch_slice(NULL, 0);
}

static void put_file(vch_port_t *port, const char *to, vch_slice_t in)
{
    char dir[VCH_PATH_MAX];
    vch_buf_t b;
    vch_rc rc = vch_path(dir, "%.*s", (int)(strrchr(to, '/') - to), to);
    vch_buf_init(&b, 64 * INPUT_MAX + FILE_MAX);
    for (size_t i = 0; rc == VCH_OK && i < in.n; i++) {
        vch_slice_t means = in.p[i] == '@' && i + 1 < in.n ? meaning(in.p[i + 1]) : vch_slice(NULL, 0);
        rc = means.n ? vch_buf_put(&b, means.p, means.n) : vch_buf_u8(&b, in.p[i]);
        i += means.n > 0;
    }
    if (rc == VCH_OK) rc = vch_mkdirs(port, dir, NULL);
    if (rc == VCH_OK) rc = vch_write_atomic(port, to, vch_buf_slice(&b), 0600, NULL);
    assert(rc == VCH_OK || rc == VCH_ERR_LIMIT);
    vch_buf_free(&b);
}

static void put_files(vch_port_t *port, vch_slice_t in)
{
    for (unsigned i = 0; i < PARTS && in.n; i++) {
        const uint8_t *end = memchr(in.p, 0xff, in.n);
        size_t n = end ? (size_t)(end - in.p) : in.n;
        if (n) put_file(port, path[i], vch_slice(in.p, n));
        in = vch_slice(in.p + n + (end != NULL), in.n - n - (end != NULL));
    }
}

/* All three, with what is missing told from what is empty. */
static void take_files(vch_port_t *port, vch_buf_t *ret)
{
    vch_buf_init(ret, 4 * FILE_MAX);
    for (unsigned i = 0; i < PARTS; i++) {
        vch_rc rc = vch_read_all(port, ret, path[i], FILE_MAX, NULL);
        if (rc == VCH_OK || rc == VCH_ERR_NOT_FOUND) rc = vch_buf_u8(ret, rc == VCH_OK);
        assert(rc == VCH_OK);
    }
}

/* ---- sessions -------------------------------------------------------------------------------- */

static vch_rc session(vch_port_t *port, unsigned shows)
{
    node_t node = {.t = {ask, gone, NULL}, .shows = shows};
    vch_connect_t o = {.memory_dir = "m", .keys_dir = "k"};
    vch_remote_way_t way = {.transport = &node.t};
    vch_ledger_t *l = NULL;
    vch_err_t err = {.rc = VCH_OK};
    vch_hash_t root, want = root_of(shows == FORK, shows == FORK ? LEAVES : shows + 1);
    uint64_t size = 0;
    vch_buf_t got;
    node.t.ctx = &node;
    vch_rc rc = vch_remote_open(&l, port, URL, &o, &way, &err);
    assert(rc == VCH_OK);
    vch_buf_init(&got, VCH_NOTE_BYTES_MAX);
    rc = vch_remote_head(l, &size, &root, &got, &err);
    assert(rc == VCH_OK || err.text[0]);
    if (rc == VCH_OK) {
        assert(size == (shows == FORK ? LEAVES : shows + 1) && vch_hash_eq(&root, &want));
        assert(vch_slice_eq(vch_buf_slice(&got), vch_buf_slice(&note[shows])) && strcmp(l->origin, ORIGIN) == 0);
    } else {
        assert(!l->origin[0] && !l->remote->size && !l->remote->note.n && !l->remote->trust);
    }
    vch_buf_free(&got);
    vch_rc closed = vch_ledger_close(l, NULL);
    assert(closed == VCH_OK);
    return rc;
}

static void check_kept(vch_port_t *port, unsigned shows)
{
    vch_buf_t b;
    vch_buf_init(&b, FILE_MAX);
    vch_rc rc = vch_read_all(port, &b, path[2], FILE_MAX, NULL);
    assert(rc == VCH_OK && vch_slice_eq(vch_buf_slice(&b), vch_buf_slice(&note[shows])));
    vch_buf_clear(&b);
    rc = vch_read_all(port, &b, path[1], FILE_MAX, NULL);
    assert(rc == VCH_OK && memmem(b.p, b.n, vkey.p, vkey.n));
    vch_buf_free(&b);
}

static void use(vch_port_t *port, unsigned shows)
{
    vch_buf_t before, after;
    take_files(port, &before);
    vch_rc rc = session(port, shows);
    if (rc == VCH_OK) {
        check_kept(port, shows);
        vch_buf_free(&before);
        take_files(port, &before);
        assert(session(port, shows) == VCH_OK && session(port, FORK) == VCH_ERR_CORRUPT);
    }
    take_files(port, &after);
    assert(vch_slice_eq(vch_buf_slice(&before), vch_buf_slice(&after)));
    vch_buf_free(&before);
    vch_buf_free(&after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    vch_sim_t *sim = NULL;
    make_log();
    name_files();
    if (n < 1 || n > INPUT_MAX || vch_sim_new(&sim, 1) != VCH_OK) return 0;
    put_files(vch_sim_port(sim), vch_slice(data + 1, n - 1));
    use(vch_sim_port(sim), data[0] % LEAVES);
    vch_sim_free(sim);
    return 0;
}
