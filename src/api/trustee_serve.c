/* SPDX-License-Identifier: Apache-2.0 */
/* A trustee as a process of its own: it follows the ledger of a node in a
 * replica, checks what it replays, and answers from that alone.
 *
 *   trustee.conf   node, ca_file, listen, fresh_s
 *   trust.policy   whose log the node must show
 *   key.pem, cert.pem, seeds/, dealt            as in trustee.h
 *   replica/       the node's log and the state that follows from it
 *   memory/        the newest checkpoint seen (node/remote.h)
 *
 *   ticker ── pull ──► replica ──► erasures carried out, and said to the node
 *   workers ─ verb ──► trustee ──► not there yet? pull once more, ask again
 *
 * No way to the ciphertext: it knows no storage node. */
#include "vouchsafe/vault.h"

#include <stdio.h>

#include "api/role.h"
#include "codec/cbor.h"
#include "node/guard.h"
#include "node/ini.h"
#include "node/mirror.h"
#include "node/node_int.h"
#include "node/served.h"
#include "node/service.h"
#include "node/trustee.h"

#define TICK_MS 1000u
#define SWEEP_MS (24u * 3600 * 1000) /* an ingest that was not registered from one day to the next is over */
#define ANSWER_MAX (1u << 20)
#define NODE_MS 10000u
#define PULL_MS 10000u
#define PAUSE_MS 100u /* between two pulls, whoever asks for them */
#define LOOK_MS 20u
#define NEWS_MS 2000u /* so long a question waits for the ledger to be looked at anew */

typedef struct {
    role_t role;
    char node_url[1024], ca[1024];
    uint64_t fresh_ms;
    vch_signer_t *key;
    vch_guard_t *guard;
    pthread_mutex_t following; /* of node; taken before `mutex` */
    vch_ledger_t *node;
    uint64_t swept_boot, pulled_boot;
    pthread_mutex_t mutex; /* of what follows */
    vch_ledger_t *l;       /* NULL until the node was reached the first time */
    vch_trustee_t *t;
    uint64_t size; /* of the ledger when erasures were carried out last */
    bool told;     /* that the node can't be followed */

    pthread_t ticker;
    bool ticking;
    atomic_bool stop;
} server_t;

static vch_port_t *port(void) { return vch_port_real(); }
static uint64_t boot_ms(void) { return port()->clock->boot_ms(port()); }
static server_t *of(const role_call_t *c) { return c->role->ctx; }

static vch_rc path_to(const server_t *s, char ret[VCH_PATH_MAX], const char *name, vch_err_t *err)
{
    vch_rc rc = vch_path(ret, "%s/%s", s->role.dir, name);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the path is too long");
}

static vch_rc load_conf(server_t *s, const char *dir, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    const vch_ini_t at[] = {{"node", s->node_url, sizeof s->node_url, NULL, 0, 0, 0},
                            {"ca_file", s->ca, sizeof s->ca, NULL, 0, 0, 0},
                            {"listen", s->role.listen, sizeof s->role.listen, NULL, 0, 0, 0},
                            {"fresh_s", NULL, 0, &s->fresh_ms, 1, 86400, 1000},
                            {0}};
    s->role.dir = dir;
    s->fresh_ms = 60000;
    (void)snprintf(s->role.listen, sizeof s->role.listen, "127.0.0.1:7121");
    VCH_TRY(path_to(s, path, "trustee.conf", err));
    vch_rc rc = vch_ini_load(port(), path, at, err);
    if (rc == VCH_ERR_NOT_FOUND) return vch_hint(err, rc, "make one: vouch trustee init");
    if (rc == VCH_OK && !s->node_url[0])
        return vch_fail(err, VCH_ERR_FORMAT, "trustee.conf: it must name the node that is followed");
    return rc;
}

/* All of it follows from the node's log: what couldn't be written here is
 * written the next time. */
static void close_ledger(vch_ledger_t *l)
{
    vch_err_t lost = {0};
    vch_rc rc = l ? vch_ledger_close(l, &lost) : VCH_OK;
    (void)rc;
}

/* ---- following ------------------------------------------------------------------------------- */

static vch_rc connect_node(server_t *s, vch_err_t *err)
{
    char trust[VCH_PATH_MAX], memory[VCH_PATH_MAX];
    if (s->node) return VCH_OK;
    VCH_TRY(path_to(s, trust, "trust.policy", err));
    VCH_TRY(path_to(s, memory, "memory", err));
    const vch_connect_t o = {.trust_path = trust,
                             .memory_dir = memory,
                             .ca_path = s->ca[0] ? s->ca : NULL,
                             .who = s->key,
                             .timeout_ms = NODE_MS,
                             .patience_ms = 1}; /* the ticker asks again */
    return vch_ledger_connect(&s->node, s->node_url, &o, err);
}

static vch_rc open_trustee(server_t *s, const char *replica, vch_err_t *err)
{
    VCH_TRY(vch_ledger_open(&s->l, replica, 0, err));
    vch_rc rc = vch_trustee_open(&s->t, s->l, s->role.dir, s->key, vch_guard_seeds(s->guard), s->fresh_ms, err);
    if (rc == VCH_OK) {
        vch_trustee_follows(s->t, s->node);
        return rc;
    }
    close_ledger(s->l);
    s->l = NULL;
    return rc;
}

/* The first time, or after a start: all of it, then the trustee on top. */
static vch_rc first_pull(server_t *s, const char *replica, vch_err_t *err)
{
    char trust[VCH_PATH_MAX];
    vch_mirror_t m;
    VCH_TRY(path_to(s, trust, "trust.policy", err));
    VCH_TRY(vch_mirror_on(port(), s->node, replica, trust, NULL, NULL, &m, err));
    pthread_mutex_lock(&s->mutex);
    vch_rc rc = open_trustee(s, replica, err);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

/* What was erased is carried out when the ledger moved on, before anything else
 * is answered from it; what is said about it goes to the node. */
static vch_rc act(server_t *s, vch_err_t *err)
{
    vch_ledger_info_t info;
    VCH_TRY(vch_ledger_info(s->l, &info, err));
    vch_trustee_heard(s->t);
    if (info.size == s->size) return VCH_OK;
    VCH_TRY(vch_trustee_erase(s->t, err));
    s->size = info.size;
    return VCH_OK;
}

static vch_rc sweep(server_t *s, vch_err_t *err)
{
    uint64_t now = boot_ms();
    if (now - s->swept_boot < SWEEP_MS) return VCH_OK;
    s->swept_boot = now;
    return vch_trustee_sweep_old(s->t, err);
}

static vch_rc follow_now(server_t *s, vch_err_t *err)
{
    char replica[VCH_PATH_MAX];
    vch_mirror_t m;
    uint64_t gone = boot_ms() - s->pulled_boot;
    if (gone < PAUSE_MS) port()->clock->sleep_ms(port(), PAUSE_MS - gone);
    s->pulled_boot = boot_ms();
    VCH_TRY(path_to(s, replica, "replica", err));
    VCH_TRY(connect_node(s, err));
    VCH_TRY(s->t ? vch_mirror_more(port(), s->node, replica, &m, err) : first_pull(s, replica, err));
    pthread_mutex_lock(&s->mutex);
    vch_rc rc = act(s, err);
    if (rc == VCH_OK) rc = sweep(s, err);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

/* One pull at a time.  A pull from a node that is silent takes long: whoever
 * can't wait that long does without. */
static vch_rc follow(server_t *s, uint64_t wait_ms, vch_err_t *err)
{
    for (uint64_t began = boot_ms(); pthread_mutex_trylock(&s->following) != 0;
         port()->clock->sleep_ms(port(), LOOK_MS))
        if (boot_ms() - began >= wait_ms) return vch_fail(err, VCH_ERR_UNREACHABLE, "the node does not answer");
    vch_rc rc = follow_now(s, err);
    if (rc != VCH_OK && !s->told) daemon_say_err(&s->role.d, VCH_SAY_WARN, "trustee.behind", err);
    if (rc == VCH_OK && s->told)
        DAEMON_SAY(&s->role.d, VCH_SAY_INFO, "trustee.following", {"text", "the node answers again"});
    s->told = rc != VCH_OK;
    pthread_mutex_unlock(&s->following);
    return rc;
}

static void *tick(void *ctx)
{
    server_t *s = ctx;
    while (!atomic_load(&s->stop)) {
        vch_err_t err = {0};
        (void)follow(s, PULL_MS, &err);
        for (unsigned ms = 0; ms < TICK_MS && !atomic_load(&s->stop); ms += 50) port()->clock->sleep_ms(port(), 50);
    }
    return NULL;
}

/* ---- verbs ---------------------------------------------------------------------------------------- */

typedef vch_rc (*verb_t)(role_call_t *, vch_trustee_t *);

static vch_rc locked(role_call_t *c, verb_t run)
{
    server_t *s = of(c);
    pthread_mutex_lock(&s->mutex);
    vch_rc rc =
        s->t ? run(c, s->t) : vch_fail(&c->err, VCH_ERR_UNREACHABLE, "this trustee has not reached its node yet");
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

/* What it doesn't know may be too new for it. */
static bool may_be_news(vch_rc rc)
{
    return rc == VCH_ERR_NOT_FOUND || rc == VCH_ERR_QUORUM || rc == VCH_ERR_KEY || rc == VCH_ERR_ROLE;
}

static vch_rc with_news(role_call_t *c, verb_t run)
{
    vch_err_t behind = {0};
    vch_rc rc = locked(c, run);
    if (!may_be_news(rc) || follow(of(c), NEWS_MS, &behind) != VCH_OK) return rc;
    c->err = (vch_err_t){.rc = VCH_OK};
    vch_buf_clear(&c->res->body);
    return locked(c, run);
}

/* Else anybody could use up the prekey that a custodian was just given. */
static vch_rc custodian_asks(role_call_t *c)
{
    vch_known_t known;
    vch_rc rc = vch_known_key(of(c)->l, &c->asker, &known, &c->err);
    if (rc == VCH_OK && !known.revoked && known.roles & VCH_ROLE_CUSTODIAN) return rc;
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    return vch_fail(&c->err, VCH_ERR_ROLE, "only a registered custodian deals keys");
}

static vch_rc prekey(role_call_t *c, vch_trustee_t *t)
{
    VCH_TRY(custodian_asks(c));
    return vch_trustee_prekey(t, &c->res->body, &c->err);
}

static vch_rc deal(role_call_t *c, vch_trustee_t *t)
{
    return vch_trustee_deal(t, c->req->body, &c->res->body, &c->err);
}

static vch_rc put_two(vch_buf_t *b, const vch_buf_t *answer, const vch_buf_t *box)
{
    VCH_TRY(vch_cbor_array(b, 2));
    VCH_TRY(vch_cbor_bytes(b, answer->p, answer->n));
    return vch_cbor_bytes(b, box->p, box->n);
}

static vch_rc release(role_call_t *c, vch_trustee_t *t)
{
    vch_buf_t answer, box;
    vch_buf_init(&answer, 4096);
    vch_buf_init(&box, ANSWER_MAX / 2);
    vch_rc rc = vch_trustee_release(t, c->req->body, &answer, &box, &c->err);
    if (rc == VCH_OK && put_two(&c->res->body, &answer, &box) != VCH_OK)
        rc = vch_fail(&c->err, VCH_ERR_MEMORY, "out of memory");
    vch_buf_free(&answer);
    vch_buf_free(&box);
    return rc;
}

/* It costs the hashes of a whole tree, or a look at the node. */
static vch_rc party_asks(role_call_t *c)
{
    vch_known_t known;
    vch_rc rc = vch_known_key(of(c)->l, &c->asker, &known, &c->err);
    if (rc == VCH_OK && !known.revoked) return rc;
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND) return rc;
    return vch_fail(&c->err, VCH_ERR_ROLE, "this is for parties of the ledger");
}

static vch_rc ask_party(role_call_t *c, vch_trustee_t *t)
{
    (void)t;
    return party_asks(c);
}

static vch_rc path(role_call_t *c, vch_trustee_t *t)
{
    vch_hash_t extent;
    uint8_t set;
    uint32_t leaf;
    VCH_TRY(party_asks(c));
    vch_rc rc = vch_path_ask_get(&extent, &set, &leaf, c->req->body);
    if (rc != VCH_OK) return vch_fail(&c->err, rc, "the question is not well-formed");
    return vch_trustee_path(t, &extent, set, leaf, &c->res->body, &c->err);
}

static vch_rc withdraw(role_call_t *c, vch_trustee_t *t) { return vch_trustee_withdraw(t, c->req->body, &c->err); }
static vch_rc do_withdraw(role_call_t *c) { return with_news(c, withdraw); }
static vch_rc do_path(role_call_t *c) { return locked(c, path); }
static vch_rc do_key(role_call_t *c) { return vch_buf_put(&c->res->body, c->role->key.b, c->role->key.n); }
static vch_rc do_prekey(role_call_t *c) { return with_news(c, prekey); }
static vch_rc do_deal(role_call_t *c) { return locked(c, deal); }
static vch_rc do_release(role_call_t *c) { return with_news(c, release); }
static vch_rc do_follow(role_call_t *c)
{
    vch_rc rc = locked(c, ask_party);
    return rc == VCH_OK ? follow(of(c), PULL_MS, &c->err) : rc;
}

static const role_verb_t verbs[] = {{"key", false, do_key},      {"prekey", true, do_prekey},
                                    {"deal", false, do_deal},    {"release", false, do_release},
                                    {"path", true, do_path},     {"withdraw", false, do_withdraw},
                                    {"follow", true, do_follow}, {NULL, false, NULL}};

/* ---- life ------------------------------------------------------------------------------------------- */

/* What its root key is kept with may lie elsewhere: a token's library and files. */
static vch_rc prepare(role_t *role, vch_err_t *err)
{
    server_t *s = role->ctx;
    VCH_TRY(vch_guard_open(&s->guard, port(), role->dir, err));
    role->needs_files = vch_guard_kind(s->guard) == VCH_GUARD_TOKEN;
    return VCH_OK;
}

static vch_rc start(role_t *role, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    server_t *s = role->ctx;
    VCH_TRY(path_to(s, path, "key.pem", err));
    VCH_TRY(nd_key_load(port(), path, NULL, &s->key, err));
    s->swept_boot = boot_ms();
    s->ticking = pthread_create(&s->ticker, NULL, tick, s) == 0;
    return s->ticking ? VCH_OK : vch_fail(err, VCH_ERR_MEMORY, "no thread can be started");
}

static void stop(role_t *role)
{
    server_t *s = role->ctx;
    atomic_store(&s->stop, true);
    if (s->ticking) (void)pthread_join(s->ticker, NULL);
    vch_trustee_close(s->t);
    close_ledger(s->l);
    close_ledger(s->node);
    vch_guard_close(s->guard);
    vch_signer_free(s->key);
}

vch_rc vch_trustee_serve(const char *dir, const vch_serve_t *o, vch_err_t *err)
{
    server_t *s = vch_alloc(sizeof *s);
    if (!s) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    pthread_mutex_init(&s->mutex, NULL);
    pthread_mutex_init(&s->following, NULL);
    s->role.ctx = s;
    s->role.verb = verbs;
    s->role.max_body = ANSWER_MAX;
    s->role.prepare = prepare;
    s->role.start = start;
    s->role.stop = stop;
    vch_rc rc = load_conf(s, dir, err);
    if (rc == VCH_OK) rc = role_serve(&s->role, o, err);
    pthread_mutex_destroy(&s->mutex);
    pthread_mutex_destroy(&s->following);
    vch_free(s);
    return rc;
}

/* ---- its directory -------------------------------------------------------------------------------------- */

static vch_rc copy_trust(const char *dir, const char *from, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_buf_t text;
    vch_rc rc = vch_path(path, "%s/trust.policy", dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    VCH_TRY(vch_mkdirs(port(), dir, err));
    vch_buf_init(&text, ND_SMALL_FILE_MAX);
    vch_trust_t *trust = vch_alloc(sizeof *trust);
    rc = trust ? vch_read_all(port(), &text, from, ND_SMALL_FILE_MAX, err)
               : vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    if (rc == VCH_OK && (rc = vch_trust_get(trust, vch_buf_slice(&text), err)) != VCH_OK)
        (void)vch_context(err, rc, "%s", from);
    if (rc == VCH_OK) rc = vch_write_atomic(port(), path, vch_buf_slice(&text), 0600, err);
    vch_free(trust);
    vch_buf_free(&text);
    return rc;
}

vch_rc vch_trustee_init(const char *dir, const vch_trustee_spec_t *spec, vch_err_t *err)
{
    vch_buf_t b;
    if (!spec->node || !spec->trust)
        return vch_hint(err, vch_fail(err, VCH_ERR_USAGE, "a trustee follows a node whose log it can judge"),
                        "give the node's URL and a trust policy: --follow URL --trust POLICY");
    VCH_TRY(copy_trust(dir, spec->trust, err));
    vch_buf_init(&b, 4096);
    vch_rc rc = vch_buf_printf(&b,
                               "# A trustee; an unknown key is an error.\nnode = %s\nca_file = %s\nlisten = %s\n"
                               "fresh_s = 60\n",
                               spec->node, spec->ca ? spec->ca : "", spec->listen ? spec->listen : "127.0.0.1:7121");
    rc = rc == VCH_OK ? role_init(dir, "trustee", vch_buf_slice(&b), err)
                      : vch_fail(err, rc, "the settings are too long");
    vch_buf_free(&b);
    return rc;
}

/* 0 before the first time. */
static uint64_t replica_size(const server_t *s)
{
    char replica[VCH_PATH_MAX];
    vch_ledger_t *l;
    vch_ledger_info_t info = {.size = 0};
    if (path_to(s, replica, "replica", NULL) != VCH_OK) return 0;
    if (vch_ledger_open(&l, replica, VCH_LEDGER_READ_ONLY, NULL) != VCH_OK) return 0;
    vch_rc rc = vch_ledger_info(l, &info, NULL);
    close_ledger(l);
    return rc == VCH_OK ? info.size : 0;
}

static vch_rc put_status(server_t *s, vch_buf_t *b, vch_err_t *err)
{
    VCH_TRY(role_show(s->role.dir, s->role.listen, b, err));
    VCH_TRY(vch_buf_printf(b, ",\"node\":"));
    VCH_TRY(vch_json_put_string(b, vch_str(s->node_url)));
    return vch_buf_printf(b, ",\"entries\":%llu}", (unsigned long long)replica_size(s));
}

vch_rc vch_trustee_status(const char *dir, vch_text_t *ret_json, vch_err_t *err)
{
    vch_buf_t b;
    server_t *s = vch_alloc(sizeof *s);
    if (!s) return vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_buf_init(&b, 1u << 16);
    vch_rc rc = load_conf(s, dir, err);
    if (rc == VCH_OK) rc = put_status(s, &b, err);
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &b);
    vch_buf_free(&b);
    vch_free(s);
    return nd_told(rc, err);
}
