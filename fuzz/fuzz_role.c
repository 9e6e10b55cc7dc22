/* SPDX-License-Identifier: Apache-2.0 */
/* Roles of the vault, from both ends.  The first byte says which: a question
 * to a server ("<path>\n<authorization>\n<body>"), a server's answer to each
 * question of a client, a settings file, an address.
 *
 * A question is answered with a status, whatever it is; what was well-formed is
 * what its writer makes of it again.  No answer is taken for more than it holds. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/role.h"
#include "node/ini.h"
#include "node/served.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static vch_slice_t told; /* what the server says */

/* ---- a server ------------------------------------------------------------------------- */

static vch_rc take(role_call_t *c, vch_ask_shape_t shape)
{
    vch_object_ask_t a;
    vch_buf_t again;
    vch_rc rc = vch_object_ask_get(&a, shape, c->req->body);
    if (rc != VCH_OK) return rc;
    vch_buf_init(&again, VCH_ASKED_MAX);
    rc = vch_object_ask_put(&again, shape, &a);
    assert(rc == VCH_OK && vch_slice_eq(vch_buf_slice(&again), c->req->body));
    vch_buf_free(&again);
    return VCH_OK;
}

static vch_rc name(role_call_t *c) { return take(c, VCH_ASK_NAME); }
static vch_rc range(role_call_t *c) { return take(c, VCH_ASK_RANGE); }
static vch_rc bytes(role_call_t *c) { return take(c, VCH_ASK_BYTES); }
static vch_rc prove(role_call_t *c)
{
    vch_object_ask_t a;
    vch_buf_t again;
    uint32_t chunk;
    vch_rc rc = vch_prove_ask_get(&a, &chunk, c->req->body);
    if (rc != VCH_OK) return rc;
    vch_buf_init(&again, VCH_ASKED_MAX);
    rc = vch_prove_ask_put(&again, &a, chunk);
    assert(rc == VCH_OK && vch_slice_eq(vch_buf_slice(&again), c->req->body));
    vch_buf_free(&again);
    return VCH_OK;
}

static vch_rc path(role_call_t *c)
{
    vch_hash_t extent;
    uint8_t set;
    uint32_t leaf;
    return vch_path_ask_get(&extent, &set, &leaf, c->req->body);
}

static vch_rc size(role_call_t *c)
{
    assert(c->is_signed);
    return take(c, VCH_ASK_SIZE);
}

static const role_verb_t verbs[] = {{"name", false, name}, {"range", false, range}, {"bytes", false, bytes},
                                    {"size", true, size},  {"prove", false, prove}, {"path", false, path},
                                    {NULL, false, NULL}};

static vch_slice_t line(vch_slice_t *rest)
{
    const uint8_t *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    vch_slice_t one = vch_slice(rest->p, end ? (size_t)(end - rest->p) : rest->n);
    *rest = end ? vch_slice(end + 1, rest->n - one.n - 1) : vch_slice(rest->p, 0);
    return one;
}

static void ask_server(vch_slice_t input)
{
    role_t *role = calloc(1, sizeof *role);
    http_response_t res = {.status = 0};
    assert(role);
    role->dir = "/nowhere";
    role->verb = verbs;
    memset(role->id.b, 0x11, 32);
    http_request_t req = {.method = HTTP_POST};
    req.path = line(&input);
    req.authorization = line(&input);
    req.body = input;
    if (req.path.n == 0) req.method = HTTP_GET;
    vch_buf_init(&res.body, 1u << 20);
    http_service_t s = role_service(role);
    s.handle(s.ctx, &req, &res);
    assert(res.status >= 200 && res.status < 600);
    vch_buf_free(&res.body);
    free(role);
}

/* ---- a client ---------------------------------------------------------------------------- */

static void tell(vch_transport_t *t, const vch_ask_t *ask, vch_answer_t *ret, size_t n, uint64_t ms)
{
    (void)t, (void)ask, (void)ms;
    for (size_t i = 0; i < n; i++) {
        ret[i].rc = VCH_OK;
        ret[i].status = 200;
        if (vch_buf_put(&ret[i].body, told.p, told.n) != VCH_OK) ret[i].rc = VCH_ERR_UNREACHABLE;
    }
}

static void nothing(vch_transport_t *t) { (void)t; }

static vch_rc connect_here(vch_transport_t **ret, const vch_keyid_t *pin, vch_err_t *err)
{
    static vch_transport_t t = {tell, nothing, NULL};
    (void)pin, (void)err;
    *ret = &t;
    return VCH_OK;
}

static vch_rc count(void *ctx, const char *object)
{
    assert(object[0] && strlen(object) <= 80);
    return ++*(unsigned *)ctx > 4096 ? VCH_ERR_LIMIT : VCH_OK;
}

static void ask_storage(vch_port_t *port, const vch_keyid_t *id)
{
    vch_backend_t *b;
    uint8_t got[16];
    uint64_t n = 0;
    unsigned names = 0;
    if (vch_backend_served(&b, port, "https://s", id, NULL, NULL) != VCH_OK) abort();
    bool sized = b->ops->size(b, "a", &n, NULL) == VCH_OK;
    bool read = b->ops->read(b, "a", got, sizeof got, 0, NULL) == VCH_OK;
    assert(!sized || told.n <= 9);
    assert(!read || told.n == sizeof got);
    static vch_audit_t proof;
    if (b->ops->prove(b, "a", 0, 8192, 1, &proof, NULL) == VCH_OK)
        assert(proof.n <= VCH_CHUNK_LEN && proof.hashes <= VCH_AUDIT_PATH_MAX && proof.n + 32 * proof.hashes < told.n);
    vch_rc listed = b->ops->list(b, count, &names, NULL);
    assert(listed == VCH_OK || listed == VCH_ERR_FORMAT || listed == VCH_ERR_LIMIT);
    vch_backend_close(b);
}

static void ask_trustee(vch_port_t *port, const vch_keyid_t *id)
{
    vch_peer_t *p;
    vch_buf_t answer, box;
    vch_pubkey_t key;
    vch_buf_init(&answer, 1u << 16);
    vch_buf_init(&box, 1u << 16);
    if (vch_peer_served(&p, port, "https://t", id, NULL, NULL) != VCH_OK) abort();
    if (p->ops->release(p, vch_str(""), &answer, &box, NULL) == VCH_OK) assert(answer.n + box.n < told.n);
    p->ops->close(p);
    vch_buf_free(&answer);
    vch_buf_free(&box);
    if (vch_served_key(port, "https://t", id, &key, NULL) == VCH_OK) {
        vch_keyid_t shown = vch_pubkey_id(&key);
        assert(vch_keyid_eq(&shown, id));
    }
}

/* ---- files ---------------------------------------------------------------------------------- */

static void read_settings(vch_slice_t text)
{
    char word[8] = "before";
    uint64_t number = 7;
    const vch_ini_t at[] = {{"word", word, sizeof word, NULL, 0, 0, 0}, {"number", NULL, 0, &number, 5, 9, 1}, {0}};
    vch_rc rc = vch_ini_read(text, "settings", at, NULL);
    assert(rc == VCH_OK || rc == VCH_ERR_FORMAT);
    assert(number >= 5 && number <= 9 && memchr(word, 0, sizeof word));
}

static void read_address(vch_slice_t text)
{
    char url[256], whole[512];
    vch_keyid_t id;
    if (text.n >= sizeof whole) return;
    memcpy(whole, text.p, text.n);
    whole[text.n] = 0;
    if (vch_served_url(url, &id, whole, NULL) == VCH_OK) assert(strlen(url) + 65 <= strlen(whole));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const vch_sockets_t sockets = {connect_here, NULL};
    vch_keyid_t id;
    if (n == 0 || n > 1u << 16) return 0;
    if (vch_crypto_start() != VCH_OK) abort();
    vch_sockets_set(&sockets);
    memset(id.b, 0x22, 32);
    told = vch_slice(data + 1, n - 1);
    if (data[0] % 4 == 0) ask_server(told);
    if (data[0] % 4 == 1) ask_storage(vch_port_real(), &id);
    if (data[0] % 4 == 1) ask_trustee(vch_port_real(), &id);
    if (data[0] % 4 == 2) read_settings(told);
    if (data[0] % 4 == 3) read_address(told);
    return 0;
}
