/* SPDX-License-Identifier: Apache-2.0 */
/* A node, three witnesses and three clients, each the real code on a simulated
 * machine of its own, and between them a network that loses, doubles, delays
 * and reorders; power cuts, disks that fail, clocks that jump.  One seed is one
 * cluster.  A checker that sees everything holds them to their promises:
 *
 *   nothing acknowledged is lost or moved, whatever crashes
 *   no witness signs two roots of one size, or a smaller size than before
 *   no reader ever gets an answer or a proof that does not verify
 *   every receipt is kept
 *
 * In the second half somebody cheats, and has to be found out.
 *
 *   VOUCHSAFE_SEEDS=N   so many honest clusters, a tenth as many of each cheat
 *   VOUCHSAFE_TEST_SEED=N   this one alone */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/api.h"
#include "crypto/sha256.h"
#include "entry/receipt.h"
#include "node/node_int.h"
#include "node/remote.h"
#include "node/witness.h"
#include "port/sim.h"

#include "disk_image.h"
#include "ledger_help.h"
#include "toylog.h"

#define SEEDS 1000u
#define CHEATS_PERCENT 10u
#define WITNESSES 3
#define CLIENTS 3
#define FACES 2 /* directories that a cheating node may show */
#define STEPS 40u
#define DIR "/l"
#define NODE_URL "https://node.test"
#define MS_BEGIN INT64_C(1700000000000)
#define ACKED_MAX 512
#define SIZES_MAX 2048
#define LATE_MAX 64
#define PROMISE_MS 60000
#define BACK_MS 3600000 /* how far a node dates back */

typedef enum { HONEST, SIGNS_ALL, FORKS, ROLLS_BACK, BACK_DATES } cheat_t;

typedef struct {
    vch_sim_t *sim;
    vch_port_t *port;
    bool up;
    uint64_t up_at;            /* when it is down: until then */
    uint64_t cut_from, cut_at; /* disk calls so far, and after how many more the power goes; 0: it stays */
    uint64_t boot;             /* its boot clock when all clocks were compared last */
} machine_t;

typedef struct {
    machine_t m;
    vch_ledger_t *l;
    api_t *api;
    http_service_t service;
    bool busy; /* in the midst of gathering: it dies when that returns */
} face_t;

typedef struct {
    machine_t m;
    vch_witness_t *w;
    char name[32];
    bool signs_all; /* whatever it is asked */
    vch_signer_t *key;
    uint64_t size, seconds; /* of what it signed last */
    bool has[SIZES_MAX];
    vch_hash_t root[SIZES_MAX];
} site_t;

typedef struct {
    machine_t m;
    vch_signer_t *who;
    vch_ledger_t *l; /* a remote handle; NULL: none at the moment */
    vch_transport_t transport;
    unsigned face; /* whom its questions reach */
    bool alarmed;  /* it saw that the log contradicts itself */
    uint64_t seen; /* the largest log that it saw */
} client_t;

typedef struct {
    vch_id_t entry;
    uint64_t index;
    unsigned client;
} acked_t;

typedef struct {
    char url[96];
    vch_buf_t body;
    uint64_t at;
    unsigned face;
} late_t;

typedef struct {
    unsigned long long seed;
    uint64_t random, now;
    cheat_t cheat;
    unsigned loss, doubles; /* percent */
    bool quiet;             /* no faults any more */
    face_t face[FACES];
    unsigned faces;
    site_t site[WITNESSES];
    client_t client[CLIENTS];
    vch_transport_t transport; /* the node's */
    char trust[2048], log_vkey[300];
    vch_trust_t *policy;
    acked_t acked[ACKED_MAX];
    size_t acks;
    late_t late[LATE_MAX];
    size_t lates;
    unsigned models, kept, crashes, cosigned, told, timely;
    char found[240]; /* what a witness or the node's own gathering said about a cheat */
    bool two_roots;  /* one witness signed both */
    const char *doing;
    vch_err_t err;
} world_t;

#define must(w, cond, what)                                                                                            \
    do {                                                                                                               \
        if (!(cond))                                                                                                   \
            fail_msg("VOUCHSAFE_TEST_SEED=%llu (cheat %d), while %s: %s: %s", (w)->seed, (w)->cheat, (w)->doing, what, \
                     (w)->err.text);                                                                                   \
    } while (0)

/* splitmix64: the cluster's own dice, apart from the machines'. */
static uint64_t dice(world_t *w)
{
    uint64_t z = (w->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t below(world_t *w, uint64_t n) { return dice(w) % n; }
static bool chance(world_t *w, unsigned percent) { return !w->quiet && below(w, 100) < percent; }

/* ---- machines -------------------------------------------------------------------------- */

/* How far its clock is wrong from now on. */
static void set_clock(const world_t *w, const machine_t *m, int64_t skew_ms)
{
    vch_sim_clock_jump(m->sim, MS_BEGIN + (int64_t)w->now + skew_ms - (int64_t)m->port->clock->wall_ms(m->port));
}

static void machine_new(world_t *w, machine_t *m)
{
    *m = (machine_t){.up = true};
    KIT_OK(vch_sim_new(&m->sim, dice(w)));
    m->port = vch_sim_port(m->sim);
    set_clock(w, m, 0);
    m->boot = m->port->clock->boot_ms(m->port);
}

static machine_t *machine(world_t *w, size_t i)
{
    if (i < FACES) return i < w->faces ? &w->face[i].m : NULL;
    if (i < FACES + WITNESSES) return &w->site[i - FACES].m;
    return &w->client[i - FACES - WITNESSES].m;
}

#define MACHINES (FACES + WITNESSES + CLIENTS)

/* Time that one of them slept passed for all. */
static void pass(world_t *w, uint64_t ms)
{
    uint64_t slept = 0;
    for (size_t i = 0; i < MACHINES; i++) {
        machine_t *m = machine(w, i);
        if (m && m->port->clock->boot_ms(m->port) - m->boot > slept) slept = m->port->clock->boot_ms(m->port) - m->boot;
    }
    w->now += slept + ms;
    for (size_t i = 0; i < MACHINES; i++) {
        machine_t *m = machine(w, i);
        if (!m) continue;
        uint64_t gone = m->port->clock->boot_ms(m->port) - m->boot;
        vch_sim_clock_step(m->sim, slept + ms - gone);
        m->boot = m->port->clock->boot_ms(m->port);
    }
}

static bool is_dead(const machine_t *m) { return m->cut_at && vch_sim_io_calls(m->sim) - m->cut_from >= m->cut_at; }

static void power_off(world_t *w, machine_t *m)
{
    pass(w, 0);
    uint64_t wall = m->port->clock->wall_ms(m->port);
    vch_sim_crash(m->sim); /* its boot clock begins anew */
    vch_sim_clock_jump(m->sim, (int64_t)(wall - m->port->clock->wall_ms(m->port)));
    m->boot = m->port->clock->boot_ms(m->port);
    vch_sim_fail_io(m->sim, 0, VCH_FAULT_NONE);
    m->cut_at = 0;
    m->up = false;
    m->up_at = w->now + 100 + below(w, 20000);
    w->crashes++;
}

/* A little mostly, as clocks are that nobody minds; by more than a request may be old now and then. */
static void jump_clock(world_t *w, machine_t *m)
{
    uint64_t most = chance(w, 10) ? 90000 : 1000;
    set_clock(w, m, (int64_t)below(w, 2 * most) - (int64_t)most);
}

/* Time servers are reached now and then. */
static void correct_clock(world_t *w, machine_t *m)
{
    pass(w, 0);
    if (m) set_clock(w, m, 0);
}

/* Something will go wrong at one of the next disk calls, or nothing. */
static void arm(world_t *w, machine_t *m)
{
    static const vch_fault_t faults[] = {VCH_FAULT_EIO, VCH_FAULT_ENOSPC, VCH_FAULT_EINTR, VCH_FAULT_SHORT};
    pass(w, 0);
    if (m->cut_at) return;
    vch_sim_fail_io(m->sim, 0, VCH_FAULT_NONE);
    if (chance(w, 5)) {
        m->cut_from = vch_sim_io_calls(m->sim);
        m->cut_at = 1 + below(w, 60);
        vch_sim_cut_power_at(m->sim, m->cut_at);
    } else if (chance(w, 4)) {
        vch_sim_fail_io(m->sim, 1 + below(w, 40), faults[below(w, 4)]);
    }
    if (chance(w, 2) && w->cheat != BACK_DATES) jump_clock(w, m);
}

static void disarm(world_t *w)
{
    w->quiet = true;
    pass(w, 0);
    for (size_t i = 0; i < MACHINES; i++) {
        machine_t *m = machine(w, i);
        if (!m) continue;
        vch_sim_cut_power_at(m->sim, 0);
        vch_sim_fail_io(m->sim, 0, VCH_FAULT_NONE);
        m->cut_at = 0;
        m->up_at = 0;
        if (w->cheat != BACK_DATES) set_clock(w, m, 0);
    }
}

/* ---- witnesses --------------------------------------------------------------------------- */

static void witness_down(world_t *w, site_t *s, bool crash)
{
    vch_witness_close(s->w);
    s->w = NULL;
    if (crash)
        power_off(w, &s->m);
    else
        s->m.up_at = w->now + below(w, 500);
    s->m.up = false;
}

static void see_size(void *ctx, const vch_witnessed_t *l) { *(uint64_t *)ctx = l->size; }

static void witness_up(world_t *w, site_t *s)
{
    uint64_t size = 0;
    vch_rc rc = vch_witness_open_on(&s->w, s->m.port, "/w", false, &w->err);
    if (rc != VCH_OK && (is_dead(&s->m) || rc == VCH_ERR_IO || rc == VCH_ERR_FULL)) {
        witness_down(w, s, is_dead(&s->m)); /* the disk failed again while it started */
        return;
    }
    must(w, rc == VCH_OK, "a witness does not start again");
    vch_witness_list(s->w, see_size, &size);
    must(w, size >= s->size, "a witness forgot what it signed");
    s->m.up = true;
}

static vch_rc checkpoint_of(vch_slice_t body, vch_checkpoint_t *ret, vch_note_t *note)
{
    vch_witness_ask_t ask;
    VCH_TRY(vch_witness_ask_get(&ask, body));
    VCH_TRY(vch_note_get(note, ask.note));
    return vch_checkpoint_get(ret, note->text);
}

/* What a witness signed, whether its answer arrives or not. */
static void watch(world_t *w, site_t *s, vch_slice_t body, vch_slice_t lines)
{
    vch_note_t note, signed_note;
    vch_checkpoint_t c;
    vch_vkey_t k;
    uint64_t seconds = 0;
    vch_buf_t whole = toy_buf();
    must(w, checkpoint_of(body, &c, &note) == VCH_OK && c.size < SIZES_MAX, "a witness signs what is no checkpoint");
    KIT_OK(vch_buf_put(&whole, note.text.p, note.text.n));
    KIT_OK(vch_buf_u8(&whole, '\n'));
    KIT_OK(vch_buf_put(&whole, lines.p, lines.n));
    KIT_OK(vch_vkey_get(&k, vch_str(vch_witness_vkey(s->w))));
    must(w,
         vch_note_get(&signed_note, vch_buf_slice(&whole)) == VCH_OK &&
             vch_note_verify(&signed_note, &k, &seconds) == VCH_SIG_GOOD && seconds > 0,
         "a cosignature does not verify");
    vch_buf_free(&whole);
    w->cosigned++;
    bool other = s->has[c.size] && !vch_hash_eq(&s->root[c.size], &c.root);
    w->two_roots = w->two_roots || other;
    if (!s->signs_all) {
        must(w, !other, "a witness signed two roots of one size");
        must(w, c.size >= s->size, "a witness signed a smaller size than before");
        must(w, seconds >= s->seconds, "a witness's time went back");
    }
    s->has[c.size] = true;
    s->root[c.size] = c.root;
    s->size = c.size;
    s->seconds = seconds;
}

/* It takes its key and signs, whatever it signed before. */
static void sign_anything(world_t *w, site_t *s, vch_slice_t body, vch_answer_t *a)
{
    vch_note_t note;
    vch_checkpoint_t c;
    if (checkpoint_of(body, &c, &note) != VCH_OK) return;
    KIT_OK(vch_note_cosign(&a->body, note.text, s->name, s->key, (uint64_t)(MS_BEGIN + (int64_t)w->now) / 1000));
    a->rc = VCH_OK;
    a->status = 200;
}

static void to_witness(world_t *w, site_t *s, vch_slice_t body, vch_answer_t *a)
{
    const char *doing = w->doing;
    if (!s->m.up) return;
    w->doing = "a witness answers";
    arm(w, &s->m);
    if (s->signs_all) {
        sign_anything(w, s, body, a);
    } else {
        vch_rc rc = vch_witness_add(s->w, body, &a->status, &a->body, &w->err);
        bool dead = is_dead(&s->m);
        if (rc == VCH_OK && !dead) a->rc = VCH_OK;
        if (rc == VCH_OK && a->status == 200 && dead) watch(w, s, body, vch_buf_slice(&a->body));
        if (rc != VCH_OK || dead) witness_down(w, s, dead);
    }
    if (a->rc == VCH_OK && a->status == 200) watch(w, s, body, vch_buf_slice(&a->body));
    w->doing = doing;
}

/* ---- the node ------------------------------------------------------------------------------ */

static void node_down(world_t *w, face_t *f, bool crash)
{
    api_free(f->api);
    f->api = NULL;
    if (f->l) {
        vch_rc rc = vch_ledger_close(f->l, &w->err);
        must(w, rc != VCH_ERR_CORRUPT, "closing the ledger");
    }
    f->l = NULL;
    if (crash)
        power_off(w, &f->m);
    else
        f->m.up_at = w->now + below(w, 500);
    f->m.up = false;
}

/* Of what was acknowledged: what is lost or moved; NULL: nothing. */
static const char *what_is_lost(world_t *w, face_t *f)
{
    const char *lost = NULL;
    vch_arena_t arena;
    vch_arena_init(&arena, 1u << 20);
    for (size_t i = 0; i < w->acks && !lost; i++) {
        vch_log_entry_t e;
        vch_entry_t head;
        const acked_t *a = &w->acked[i];
        vch_arena_reset(&arena);
        if (vch_log_read(f->l->log, a->index, &arena, &e, &w->err) != VCH_OK)
            lost = "an acknowledged entry is lost";
        else if (vch_entry_read(&head, e.record.entry, &w->err) != VCH_OK || !vch_id_eq(&head.id, &a->entry))
            lost = "an acknowledged entry was moved";
    }
    vch_arena_free(&arena);
    return lost;
}

static void check_acked(world_t *w, face_t *f)
{
    const char *lost = what_is_lost(w, f);
    must(w, !lost, lost);
}

static void node_up(world_t *w, face_t *f, unsigned flags)
{
    static const api_options_t options = {.receipt_promise_ms = PROMISE_MS, .version = "test"};
    vch_rc rc = vch_ledger_open_on(&f->l, f->m.port, DIR, flags, &w->err);
    if (rc != VCH_OK && (is_dead(&f->m) || rc == VCH_ERR_IO || rc == VCH_ERR_FULL)) {
        node_down(w, f, is_dead(&f->m));
        return;
    }
    must(w, rc == VCH_OK, "the ledger does not open again");
    must(w, api_new(&f->api, f->l, &options, &w->err) == VCH_OK, "the service does not start");
    f->service = api_service(f->api);
    api_set_ready(f->api, true, "");
    f->m.up = true;
    if (w->cheat == HONEST) check_acked(w, f);
}

/* After each use: did it die, or stop?  A jump of its clock is accepted, as an operator does. */
static void node_look(world_t *w, face_t *f)
{
    if (!f->m.up || f->busy) return;
    bool dead = is_dead(&f->m), stopped = f->l->poisoned || vch_log_refresh(f->l->log, NULL) == VCH_ERR_IO;
    if (dead || stopped) node_down(w, f, dead || is_dead(&f->m));
}

static void serve(face_t *f, const vch_ask_t *ask, http_response_t *res)
{
    const char *target = ask->url + strlen(NODE_URL), *query = strchr(target, '?');
    size_t path = query ? (size_t)(query - target) : strlen(target);
    http_request_t req = {.method = ask->post ? HTTP_POST : HTTP_GET,
                          .path = vch_slice(target, path),
                          .query = query ? vch_str(query + 1) : vch_slice(NULL, 0),
                          .authorization = ask->authorization ? vch_str(ask->authorization) : vch_slice(NULL, 0),
                          .content_type = ask->type ? vch_str(ask->type) : vch_slice(NULL, 0),
                          .body = ask->body,
                          .local = true};
    const http_request_t *reqs[1] = {&req};
    http_response_t *ress[1] = {res};
    if (f->service.joins && f->service.joins(f->service.ctx, &req))
        f->service.batch(f->service.ctx, reqs, ress, 1);
    else
        f->service.handle(f->service.ctx, &req, res);
}

static void to_node(world_t *w, face_t *f, const vch_ask_t *ask, vch_answer_t *a)
{
    const char *doing = w->doing;
    if (!f->m.up) return;
    w->doing = ask->url;
    arm(w, &f->m);
    http_response_t res = {.status = 0};
    vch_buf_init(&res.body, a->body.max);
    serve(f, ask, &res);
    node_look(w, f);
    if (f->m.up && !is_dead(&f->m)) {
        a->rc = VCH_OK;
        a->status = res.status;
        a->retry_after_s = res.retry_after_s;
        vch_buf_free(&a->body);
        a->body = res.body;
    } else {
        vch_buf_free(&res.body);
    }
    w->doing = doing;
}

/* ---- the network ------------------------------------------------------------------------------ */

/* Without an answer when nobody is there. */
static void deliver(world_t *w, unsigned face, const vch_ask_t *ask, vch_answer_t *a)
{
    char url[64];
    if (strncmp(ask->url, NODE_URL, strlen(NODE_URL)) == 0) to_node(w, &w->face[face], ask, a);
    for (size_t i = 0; i < WITNESSES; i++) {
        snprintf(url, sizeof url, "http://%s/add-checkpoint", w->site[i].name);
        if (strcmp(url, ask->url) == 0) to_witness(w, &w->site[i], ask->body, a);
    }
}

static void into_the_void(world_t *w, unsigned face, const vch_ask_t *ask)
{
    vch_answer_t a = {.rc = VCH_ERR_UNREACHABLE};
    vch_buf_init(&a.body, 1u << 22);
    deliver(w, face, ask, &a);
    vch_buf_free(&a.body);
}

/* A question that its asker has given up will arrive some time. */
static void delay(world_t *w, unsigned face, const vch_ask_t *ask)
{
    if (w->lates == LATE_MAX || !ask->post || strlen(ask->url) >= sizeof w->late[0].url) return;
    late_t *l = &w->late[w->lates++];
    *l = (late_t){.at = w->now + below(w, 30000), .face = face};
    snprintf(l->url, sizeof l->url, "%s", ask->url);
    vch_buf_init(&l->body, ask->body.n + 1);
    KIT_OK(vch_buf_put(&l->body, ask->body.p, ask->body.n));
}

static void deliver_late(world_t *w)
{
    for (size_t i = 0; i < w->lates; i++) {
        late_t l = w->late[i];
        if (l.at > w->now) continue;
        w->late[i--] = w->late[--w->lates];
        bool tx = strncmp(l.url, NODE_URL, strlen(NODE_URL)) == 0;
        vch_ask_t ask = {.url = l.url,
                         .post = true,
                         .type = tx ? "application/cbor" : "text/plain; charset=utf-8",
                         .body = vch_buf_slice(&l.body)};
        into_the_void(w, l.face, &ask);
        vch_buf_free(&l.body);
    }
}

static void carry_one(world_t *w, unsigned face, const vch_ask_t *ask, vch_answer_t *a, bool *ret_lost)
{
    vch_buf_clear(&a->body);
    a->rc = VCH_ERR_UNREACHABLE;
    if (chance(w, w->loss)) {
        if (chance(w, 50)) delay(w, face, ask);
    } else {
        if (chance(w, w->doubles)) into_the_void(w, face, ask);
        deliver(w, face, ask, a);
        if (chance(w, w->loss)) a->rc = VCH_ERR_UNREACHABLE;
    }
    pass(w, 1 + below(w, 20));
    if (a->rc == VCH_OK) return;
    (void)vch_fail(&a->err, VCH_ERR_UNREACHABLE, "no answer");
    *ret_lost = true;
}

static void carry(world_t *w, unsigned face, const vch_ask_t *ask, vch_answer_t *a, size_t n, uint64_t timeout_ms)
{
    bool lost = false;
    size_t order[64];
    assert_in_range(n, 0, 64);
    for (size_t i = 0; i < n; i++) {
        size_t k = below(w, i + 1);
        order[i] = order[k];
        order[k] = i;
    }
    for (size_t i = 0; i < n; i++) carry_one(w, face, &ask[order[i]], &a[order[i]], &lost);
    if (lost) pass(w, timeout_ms);
    deliver_late(w);
}

static world_t *only; /* of this seed: transports lead to it */

static void ask_as_node(vch_transport_t *t, const vch_ask_t *ask, vch_answer_t *a, size_t n, uint64_t timeout_ms)
{
    (void)t;
    carry(only, 0, ask, a, n, timeout_ms);
}

static void ask_as_client(vch_transport_t *t, const vch_ask_t *ask, vch_answer_t *a, size_t n, uint64_t timeout_ms)
{
    const client_t *c = t->ctx;
    carry(only, c->face, ask, a, n, timeout_ms);
}

static void nothing(vch_transport_t *t) { (void)t; }

/* ---- the beginning ------------------------------------------------------------------------------- */

static void make_witnesses(world_t *w)
{
    const char *logs[1] = {w->log_vkey};
    vch_buf_t b = toy_buf();
    KIT_OK(vch_buf_printf(&b, "log %s\n", w->log_vkey));
    for (size_t i = 0; i < WITNESSES; i++) {
        site_t *s = &w->site[i];
        machine_new(w, &s->m);
        snprintf(s->name, sizeof s->name, "w%zu.example", i);
        must(w, vch_witness_init_on(s->m.port, "/w", s->name, logs, 1, &w->err) == VCH_OK, "a new witness");
        must(w, vch_witness_open_on(&s->w, s->m.port, "/w", false, &w->err) == VCH_OK, "a new witness opens");
        KIT_OK(nd_key_load(s->m.port, "/w/witness.pem", NULL, &s->key, &w->err));
        s->signs_all = w->cheat == SIGNS_ALL && i == 0;
        KIT_OK(vch_buf_printf(&b, "witness w%zu %s http://%s\n", i, vch_witness_vkey(s->w), s->name));
    }
    KIT_OK(vch_buf_printf(&b, "group most 2 w0 w1 w2\nquorum most\n"));
    KIT_OK(vch_buf_u8(&b, 0));
    assert_in_range(b.n, 1, sizeof w->trust);
    memcpy(w->trust, b.p, b.n);
    vch_buf_free(&b);
    w->policy = calloc(1, sizeof *w->policy);
    KIT_OK(vch_trust_get(w->policy, vch_str(w->trust), &w->err));
    KIT_OK(vch_write_atomic(w->face[0].m.port, DIR "/trust.policy", vch_str(w->trust), 0644, &w->err));
}

static void client_handle(world_t *w, client_t *c)
{
    const vch_connect_t o = {.trust_path = "/trust", .memory_dir = "/memory", .who = c->who, .timeout_ms = 2000};
    const vch_remote_way_t way = {.transport = &c->transport, .authorize = api_authorization_put};
    c->m.up = true;
    if (vch_remote_open(&c->l, c->m.port, NODE_URL, &o, &way, &w->err) != VCH_OK) c->l = NULL;
}

/* On a machine that remembers nothing. */
static void client_new(world_t *w, client_t *c)
{
    machine_new(w, &c->m);
    if (w->cheat == BACK_DATES) vch_sim_clock_jump(c->m.sim, -BACK_MS);
    KIT_OK(vch_write_atomic(c->m.port, "/trust", vch_str(w->trust), 0644, &w->err));
    c->alarmed = false;
    c->seen = 0;
    client_handle(w, c);
    must(w, c->l != NULL, "a new client");
}

static void make_clients(world_t *w)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_t *c = &w->client[i];
        c->who = kit_signer(100 + i, VCH_ALG_ED25519);
        c->transport = (vch_transport_t){ask_as_client, nothing, c};
        client_new(w, c);
    }
}

static void register_clients(world_t *w, vch_ledger_t *l)
{
    vch_signer_t *operator_ = NULL;
    vch_receipt_t r;
    KIT_OK(nd_key_load(w->face[0].m.port, DIR "/keys/clinic-a.pem", NULL, &operator_, &w->err));
    for (unsigned i = 0; i < CLIENTS; i++) {
        vch_signer_t *who = kit_signer(100 + i, VCH_ALG_ED25519);
        const vch_pubkey_t *k = vch_signer_public(who);
        char hex[2 * VCH_PUBKEY_MAX + 1], json[300];
        vch_hex(hex, k->b, k->n);
        int n = snprintf(json, sizeof json, "{\"name\":\"team-%u\",\"roles\":[\"user\"],\"keys\":[\"%s\"]}", i, hex);
        must(w, vch_submit_json(l, operator_, "party", json, (size_t)n, &r, &w->err) == VCH_OK, "a new party");
        vch_signer_free(who);
    }
    vch_signer_free(operator_);
}

static void make_node(world_t *w)
{
    vch_init_t init = lh_init();
    vch_buf_t b = toy_buf();
    machine_t *m = &w->face[0].m;
    w->faces = 1;
    machine_new(w, m);
    if (w->cheat == BACK_DATES) vch_sim_clock_jump(m->sim, -BACK_MS);
    must(w, vch_ledger_init_on(m->port, DIR, &init, &w->err) == VCH_OK, "a new ledger");
    KIT_OK(vch_read_all(m->port, &b, DIR "/trust.policy", 4096, &w->err));
    KIT_OK(vch_buf_u8(&b, 0));
    const char *at = strstr((const char *)b.p, "log ");
    must(w, at && sscanf(at, "log %299s", w->log_vkey) == 1, "the policy names the log");
    vch_buf_free(&b);
}

static world_t *world_new(unsigned long long seed, cheat_t cheat)
{
    world_t *w = only = calloc(1, sizeof *w);
    w->seed = seed;
    w->random = seed * 8 + (uint64_t)cheat;
    w->cheat = cheat;
    w->doing = "beginning";
    w->loss = (unsigned)below(w, 3) * 10;
    w->doubles = (unsigned)below(w, 3) * 5;
    w->transport = (vch_transport_t){ask_as_node, nothing, NULL};
    make_node(w);
    make_witnesses(w);
    w->quiet = true;
    node_up(w, &w->face[0], 0);
    register_clients(w, w->face[0].l);
    make_clients(w);
    w->quiet = false;
    return w;
}

static void world_free(world_t *w)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        vch_err_t err;
        if (w->client[i].l && vch_ledger_close(w->client[i].l, &err) != VCH_OK) print_message("%s\n", err.text);
        vch_signer_free(w->client[i].who);
        vch_sim_free(w->client[i].m.sim);
    }
    for (unsigned i = 0; i < WITNESSES; i++) {
        vch_witness_close(w->site[i].w);
        vch_signer_free(w->site[i].key);
        vch_sim_free(w->site[i].m.sim);
    }
    for (unsigned i = 0; i < w->faces; i++) {
        node_down(w, &w->face[i], false);
        vch_sim_free(w->face[i].m.sim);
    }
    for (size_t i = 0; i < w->lates; i++) vch_buf_free(&w->late[i].body);
    free(w->policy);
    free(w);
}

/* ---- what clients do -------------------------------------------------------------------------------- */

/* What may go wrong without anybody's fault: lines, crashes, full or failing
 * disks, clocks.  Whatever says that something is false is a finding. */
static bool is_excused(vch_rc rc)
{
    return rc == VCH_OK || rc == VCH_ERR_UNREACHABLE || rc == VCH_ERR_IO || rc == VCH_ERR_FULL || rc == VCH_ERR_CLOCK ||
           rc == VCH_ERR_LOCKED || rc == VCH_ERR_EXPIRED || rc == VCH_ERR_REPLAY;
}

static void client_result(world_t *w, client_t *c, vch_rc rc)
{
    if (is_dead(&c->m)) {
        if (c->l && vch_ledger_close(c->l, NULL) != VCH_OK) w->told++;
        c->l = NULL;
        power_off(w, &c->m);
        return;
    }
    if (is_excused(rc)) return;
    c->alarmed = true;
    must(w, w->cheat != HONEST, "a reader got something false");
}

static void client_submit(world_t *w, client_t *c)
{
    vch_receipt_t r;
    vch_rc rc = lh_submit(c->l, c->who, ++w->models, &r, &w->err);
    if (rc == VCH_OK && w->acks < ACKED_MAX)
        w->acked[w->acks++] = (acked_t){r.entry, r.index, (unsigned)(c - w->client)};
    client_result(w, c, rc);
}

static void client_look(world_t *w, client_t *c)
{
    vch_ledger_info_t info;
    vch_rc rc = vch_ledger_info(c->l, &info, &w->err);
    if (rc == VCH_OK) {
        must(w, info.checkpoint_size >= c->seen, "a client believes a smaller log than before");
        c->seen = info.checkpoint_size;
    }
    client_result(w, c, rc);
}

/* The receipt that the client's own memory holds, against a proof that it asks for. */
static vch_rc judge_receipt(world_t *w, client_t *c, const acked_t *a, vch_promise_finding_t *ret)
{
    char path[VCH_PATH_MAX], hex[65];
    vch_promise_t p;
    vch_text_t proof = {NULL, 0};
    vch_buf_t file = toy_buf();
    vch_hex(hex, a->entry.b, 32);
    vch_ledger_info_t info;
    vch_rc rc = vch_ledger_info(c->l, &info, &w->err); /* a handle knows its log once the node has answered it */
    if (rc == VCH_OK) rc = vch_ledger_path(c->l, path, "receipts/%s.receipt", hex);
    if (rc == VCH_OK) rc = vch_read_all(c->m.port, &file, path, VCH_RECEIPT_BYTES_MAX, &w->err);
    if (rc == VCH_OK) rc = vch_promise_get(&p, vch_buf_slice(&file));
    if (rc == VCH_OK) rc = vch_prove_inclusion(c->l, a->index, &proof, &w->err);
    if (rc == VCH_OK) rc = vch_promise_judge(&p, w->policy, vch_slice(proof.p, proof.n), ret);
    vch_text_free(&proof);
    vch_buf_free(&file);
    return rc;
}

static void client_receipt(world_t *w, client_t *c)
{
    vch_promise_finding_t f = {.verdict = VCH_PROMISE_INCONCLUSIVE};
    if (w->acks == 0) return;
    const acked_t *a = &w->acked[below(w, w->acks)];
    if (&w->client[a->client] != c) return;
    vch_rc rc = judge_receipt(w, c, a, &f);
    w->kept += rc == VCH_OK && f.verdict == VCH_PROMISE_KEPT;
    bool bad = rc == VCH_OK && f.verdict != VCH_PROMISE_KEPT && f.code != VCH_V_I_QUORUM;
    if (bad) (void)vch_fail(&w->err, VCH_ERR_COMMITMENT, "%s %s", vch_verify_code(f.code), f.why);
    if (rc == VCH_ERR_NOT_FOUND && w->cheat == HONEST) must(w, false, "an acknowledged entry can't be proven");
    client_result(w, c, bad ? VCH_ERR_COMMITMENT : rc);
}

static void client_read(world_t *w, client_t *c)
{
    vch_text_t text = {NULL, 0};
    if (w->acks == 0) return;
    vch_rc rc = vch_entry_show(c->l, w->acked[below(w, w->acks)].index, &text, &w->err);
    if (rc == VCH_OK) vch_text_free(&text);
    client_result(w, c, rc);
}

static void client_step(world_t *w, client_t *c)
{
    static void (*const act[])(world_t *, client_t *) = {client_submit, client_submit,  client_submit,
                                                         client_look,   client_receipt, client_read};
    if (!c->m.up && w->now < c->m.up_at) return;
    if (w->faces > 1 && c == &w->client[CLIENTS - 1]) c->face = (unsigned)below(w, FACES); /* now here, now there */
    w->doing = "a client asks";
    if (!c->l) client_handle(w, c);
    if (!c->l) return;
    arm(w, &c->m);
    act[below(w, sizeof act / sizeof *act)](w, c);
}

/* ---- what the node does by itself --------------------------------------------------------------------- */

static void remember_what_was_told(world_t *w, const vch_gather_t *g)
{
    static const char *const telling[] = {"knows another history", "copied or rolled back"};
    for (size_t i = 0; i < 2; i++)
        if (strstr(g->note, telling[i])) snprintf(w->found, sizeof w->found, "%s", g->note);
}

static void node_gather(world_t *w, face_t *f)
{
    vch_gather_t g;
    w->doing = "the node gathers";
    if (!f->m.up) return;
    arm(w, &f->m);
    f->busy = true;
    vch_rc rc = vch_ledger_gather(f->l, &w->transport, 1000, &g, &w->err);
    f->busy = false;
    node_look(w, f);
    must(w, is_excused(rc) || rc == VCH_ERR_MEMORY, "gathering");
    if (rc == VCH_OK) remember_what_was_told(w, &g);
    if (rc == VCH_OK && w->cheat == HONEST) must(w, !w->found[0], "a witness contradicts an honest log");
}

/* Its clock jumped: the operator looks at it and goes on. */
static void node_accept_clock(world_t *w, face_t *f)
{
    vch_err_t err;
    if (!f->m.up || nd_clock_check(f->l, &err) != VCH_ERR_CLOCK) return;
    node_down(w, f, false);
    node_up(w, f, VCH_LEDGER_ACCEPT_CLOCK);
}

static void wake(world_t *w)
{
    w->doing = "starting again";
    for (unsigned i = 0; i < w->faces; i++) {
        if (!w->face[i].m.up && w->now >= w->face[i].m.up_at) node_up(w, &w->face[i], 0);
        node_accept_clock(w, &w->face[i]);
    }
    for (unsigned i = 0; i < WITNESSES; i++)
        if (!w->site[i].m.up && w->now >= w->site[i].m.up_at) witness_up(w, &w->site[i]);
}

static void step(world_t *w)
{
    wake(w);
    if (chance(w, 25) && w->cheat != BACK_DATES) correct_clock(w, machine(w, below(w, MACHINES)));
    if (below(w, 4) == 0)
        node_gather(w, &w->face[w->faces > 1 && below(w, 2) ? 1 : 0]);
    else
        client_step(w, &w->client[below(w, CLIENTS)]);
    pass(w, below(w, 2000));
    deliver_late(w);
}

/* ---- the end ----------------------------------------------------------------------------------------------- */

/* Was the block's time within five minutes of the first quorum over it? */
static void look_at_times(world_t *w, face_t *f)
{
    vch_arena_t arena;
    vch_arena_init(&arena, 1u << 20);
    for (size_t i = 0; i < w->acks; i++) {
        vch_buf_t note = toy_buf();
        vch_note_t n;
        vch_checkpoint_t c;
        vch_trust_result_t r;
        vch_log_entry_t e;
        uint64_t size;
        vch_arena_reset(&arena);
        KIT_OK(vch_ledger_cosigned(f->l, w->acked[i].index + 1, &note, &size, &w->err));
        KIT_OK(vch_note_get(&n, vch_buf_slice(&note)));
        KIT_OK(vch_checkpoint_get(&c, n.text));
        KIT_OK(vch_trust_judge(w->policy, &n, &c, &r));
        KIT_OK(vch_log_read(f->l->log, w->acked[i].index, &arena, &e, &w->err));
        uint64_t witnessed = r.quorum_time * 1000, said = e.time.ms;
        w->timely += r.quorum && (witnessed > said ? witnessed - said : said - witnessed) <= 300000;
        vch_buf_free(&note);
    }
    vch_arena_free(&arena);
}

static void heal(world_t *w)
{
    disarm(w);
    pass(w, 60000);
    for (unsigned i = 0; i < w->faces; i++) {
        if (!w->face[i].m.up) node_up(w, &w->face[i], VCH_LEDGER_ACCEPT_CLOCK);
        node_accept_clock(w, &w->face[i]);
        must(w, w->face[i].m.up, "the node comes back");
    }
    for (unsigned i = 0; i < WITNESSES; i++) {
        if (!w->site[i].m.up) witness_up(w, &w->site[i]);
        must(w, w->site[i].m.up, "a witness comes back");
    }
    pass(w, 130000); /* what was signed around a start is refused for a while */
    deliver_late(w);
}

/* All that was promised, when everything runs again. */
static void all_is_kept(world_t *w)
{
    vch_gather_t g = {.size = 0};
    face_t *f = &w->face[0];
    w->doing = "looking at the end";
    heal(w);
    must(w, vch_ledger_gather(f->l, &w->transport, 1000, &g, &w->err) == VCH_OK, "gathering at the end");
    (void)snprintf(w->err.text, sizeof w->err.text, "%s", g.note);
    must(w, g.cosigned == WITNESSES && g.quorum && g.committed == g.size, "all witnesses cosign");
    check_acked(w, f);
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_t *c = &w->client[i];
        if (c->l) must(w, vch_ledger_close(c->l, &w->err) == VCH_OK, "a client closes");
        client_handle(w, c);
        must(w, c->l != NULL, "a client opens");
        client_look(w, c);
    }
    for (size_t i = 0; i < w->acks; i += 1 + w->acks / 8) {
        vch_promise_finding_t finding = {.verdict = VCH_PROMISE_INCONCLUSIVE};
        client_t *c = &w->client[w->acked[i].client];
        must(w, judge_receipt(w, c, &w->acked[i], &finding) == VCH_OK, "judging a receipt at the end");
        (void)snprintf(w->err.text, sizeof w->err.text, "%s", finding.why);
        must(w, finding.verdict == VCH_PROMISE_KEPT, "a receipt is not kept");
    }
    look_at_times(w, f);
}

typedef struct {
    unsigned clusters, crashes, cosigned, kept, timely;
    size_t acks;
} sum_t;

static void honest_cluster(unsigned long long seed, sum_t *sum)
{
    world_t *w = world_new(seed, HONEST);
    for (unsigned i = 0; i < STEPS; i++) step(w);
    all_is_kept(w);
    sum->clusters++;
    sum->crashes += w->crashes;
    sum->cosigned += w->cosigned;
    sum->acks += w->acks;
    sum->kept += w->kept;
    sum->timely += w->timely;
    world_free(w);
}

/* ---- cheats -------------------------------------------------------------------------------------------------- */

/* What a client without faults around it adds to the log that it is shown. */
static void grow(world_t *w, unsigned client)
{
    client_t *c = &w->client[client];
    size_t acks = w->acks;
    if (!c->l) client_handle(w, c);
    must(w, c->l != NULL, "a client opens");
    client_submit(w, c);
    must(w, w->acks == acks + 1, "a submission without faults");
}

static vch_gather_t gather_from(world_t *w, face_t *f)
{
    vch_gather_t g = {.size = 0};
    must(w, vch_ledger_gather(f->l, &w->transport, 1000, &g, &w->err) == VCH_OK, "gathering without faults");
    remember_what_was_told(w, &g);
    return g;
}

/* Everything runs, all have seen the same log, and all witnesses have cosigned it. */
static void agree(world_t *w)
{
    heal(w);
    for (unsigned i = 0; i < CLIENTS; i++) grow(w, i);
    vch_gather_t g = gather_from(w, &w->face[0]);
    must(w, g.cosigned == WITNESSES && g.committed == g.size, "all witnesses cosign before the cheat");
    for (unsigned i = 0; i < CLIENTS; i++) client_look(w, &w->client[i]);
}

/* A machine with what lay on this one's disk. */
static void machine_from(world_t *w, machine_t *m, const di_image_t *image)
{
    machine_new(w, m);
    di_lay(m->port, image);
}

static di_image_t *image_of(world_t *w, face_t *f)
{
    node_down(w, f, false);
    di_image_t *image = di_take(f->m.port);
    node_up(w, f, VCH_LEDGER_ACCEPT_CLOCK);
    must(w, f->m.up, "the node comes back from being copied");
    return image;
}

/* Two nodes with one key, that went on differently from one size. */
static void fork_log(world_t *w)
{
    agree(w);
    di_image_t *image = image_of(w, &w->face[0]);
    w->faces = 2;
    machine_from(w, &w->face[1].m, image);
    di_drop(image);
    node_up(w, &w->face[1], VCH_LEDGER_ACCEPT_CLOCK);
    must(w, w->face[1].m.up, "the copy starts");
    w->client[1].face = 1;
    pass(w, 130000);
    grow(w, 0);
    grow(w, 1);
}

static bool both_notes_are_kept(const client_t *c)
{
    unsigned notes = 0;
    di_image_t *image = di_take(c->m.port);
    for (size_t i = 0; i < image->files; i++) notes += strstr(image->file[i].path, "/split-") != NULL;
    di_drop(image);
    return notes >= 1;
}

/* Who sees both branches is told, and keeps the proof. */
static void show_both(world_t *w)
{
    client_t *c = &w->client[CLIENTS - 1];
    c->alarmed = false; /* before, its disk may have failed it */
    for (unsigned i = 0; i < FACES; i++) {
        c->face = i;
        if (!c->l) client_handle(w, c);
        must(w, c->l != NULL, "a client opens");
        client_look(w, c);
    }
    must(w, c->alarmed, "a client believed both branches");
    must(w, both_notes_are_kept(c), "a client kept no proof of a fork");
}

static void forking_node(unsigned long long seed, sum_t *sum)
{
    world_t *w = world_new(seed, FORKS);
    for (unsigned i = 0; i < STEPS / 2; i++) step(w);
    fork_log(w);
    w->quiet = false;
    for (unsigned i = 0; i < STEPS; i++) step(w);
    w->doing = "looking at two branches";
    heal(w);
    vch_gather_t a = gather_from(w, &w->face[0]), b = gather_from(w, &w->face[1]);
    must(w, !(a.quorum && b.quorum), "both branches have a quorum of honest witnesses");
    must(w, w->found[0], "no witness told the node that there is another branch");
    must(w, !w->two_roots, "an honest witness signed both");
    show_both(w);
    sum->clusters++;
    sum->crashes += w->crashes;
    world_free(w);
}

/* One witness of three that signs whatever it is asked is enough for two
 * quorums; but it has signed two roots of one size, and that proves its guilt. */
static void lying_witness(unsigned long long seed, sum_t *sum)
{
    world_t *w = world_new(seed, SIGNS_ALL);
    for (unsigned i = 0; i < STEPS / 2; i++) step(w);
    must(w, !w->two_roots, "two roots before there were two");
    fork_log(w);
    w->doing = "a lying witness signs";
    (void)gather_from(w, &w->face[0]);
    (void)gather_from(w, &w->face[1]);
    must(w, w->two_roots, "the checker is blind to two roots of one size");
    show_both(w);
    sum->clusters++;
    sum->crashes += w->crashes;
    world_free(w);
}

static void put_back(world_t *w, face_t *f, const di_image_t *image)
{
    node_down(w, f, false);
    vch_sim_free(f->m.sim);
    machine_from(w, &f->m, image);
    node_up(w, f, VCH_LEDGER_ACCEPT_CLOCK);
    must(w, f->m.up, "an older copy starts");
    pass(w, 130000);
}

static void rolled_back_node(unsigned long long seed, sum_t *sum)
{
    world_t *w = world_new(seed, ROLLS_BACK);
    face_t *f = &w->face[0];
    for (unsigned i = 0; i < STEPS / 2; i++) step(w);
    agree(w);
    di_image_t *image = image_of(w, f);
    w->quiet = false;
    for (unsigned i = 0; i < STEPS / 2; i++) step(w);
    agree(w);
    w->doing = "looking at an older copy";
    must(w, !what_is_lost(w, f), "lost before it was rolled back");
    put_back(w, f, image);
    di_drop(image);
    must(w, what_is_lost(w, f), "the checker is blind to what is lost");
    for (unsigned i = 0; i < CLIENTS; i++) client_look(w, &w->client[i]);
    for (unsigned i = 0; i < CLIENTS; i++) must(w, w->client[i].alarmed, "a client believed a smaller log");
    must(w, vch_ledger_close(w->client[0].l, &w->err) == VCH_OK, "a client closes");
    vch_sim_free(w->client[0].m.sim);
    client_new(w, &w->client[0]); /* it alone believes the older copy, and no witness does */
    grow(w, 0);
    vch_gather_t g = gather_from(w, f);
    must(w, !g.quorum && g.cosigned == 0 && w->found[0], "witnesses cosigned a smaller log");
    sum->clusters++;
    sum->crashes += w->crashes;
    world_free(w);
}

/* An hour behind, with clients that play along; the witnesses' clocks are right. */
static void back_dating_node(unsigned long long seed, sum_t *sum)
{
    world_t *w = world_new(seed, BACK_DATES);
    for (unsigned i = 0; i < STEPS; i++) step(w);
    w->doing = "looking at old times";
    heal(w);
    for (unsigned i = 0; i < CLIENTS; i++) grow(w, i);
    vch_gather_t g = gather_from(w, &w->face[0]);
    must(w, g.quorum, "witnesses cosign");
    look_at_times(w, &w->face[0]);
    must(w, w->timely == 0, "an entry of the wrong hour looks timely");
    sum->clusters++;
    sum->crashes += w->crashes;
    world_free(w);
}

/* ---- how many ------------------------------------------------------------------------------------------------ */

static unsigned seeds_wanted(void)
{
    const char *scale = getenv("VOUCHSAFE_TEST_SCALE"), *given = getenv("VOUCHSAFE_SEEDS");
    unsigned long percent = scale ? strtoul(scale, NULL, 10) : 100;
    unsigned n = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)(SEEDS * percent / 100);
    return n ? n : 1;
}

static unsigned long long first_seed(void)
{
    const char *named = getenv("VOUCHSAFE_TEST_SEED");
    return named ? strtoull(named, NULL, 10) : 1;
}

static bool one_only(void) { return getenv("VOUCHSAFE_TEST_SEED") != NULL; }

static void honest_clusters_keep_their_promises(void **state)
{
    (void)state;
    sum_t s = {.clusters = 0};
    unsigned n = one_only() ? 1 : seeds_wanted();
    for (unsigned i = 0; i < n; i++) honest_cluster(first_seed() + i, &s);
    print_message("%u clusters: %zu entries acknowledged, %u power cuts, %u cosignatures, %u receipts judged kept "
                  "meanwhile, %u entries with a proven time\n",
                  s.clusters, s.acks, s.crashes, s.cosigned, s.kept, s.timely);
    if (n < 20) return;
    assert_true(s.acks > 3 * n && s.crashes > n / 2 && s.cosigned > 5 * n); /* it did happen */
    assert_true(s.kept > n / 10 && s.timely > n);
}

static void each_cheat(void (*cluster)(unsigned long long, sum_t *), const char *what)
{
    sum_t s = {.clusters = 0};
    unsigned n = one_only() ? 1 : (seeds_wanted() * CHEATS_PERCENT + 99) / 100;
    for (unsigned i = 0; i < n; i++) cluster(first_seed() + i, &s);
    assert_int_equal(s.clusters, n);
    print_message("%u clusters with %s, all found out; %u power cuts\n", n, what, s.crashes);
}

static void forks_are_found(void **state)
{
    (void)state;
    each_cheat(forking_node, "a node that shows two histories");
}

static void lying_witnesses_are_found(void **state)
{
    (void)state;
    each_cheat(lying_witness, "a witness that signs all");
}

static void rollbacks_are_found(void **state)
{
    (void)state;
    each_cheat(rolled_back_node, "a node that was rolled back");
}

static void wrong_times_are_found(void **state)
{
    (void)state;
    each_cheat(back_dating_node, "a node that dates back");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(honest_clusters_keep_their_promises),
        cmocka_unit_test(forks_are_found),
        cmocka_unit_test(lying_witnesses_are_found),
        cmocka_unit_test(rollbacks_are_found),
        cmocka_unit_test(wrong_times_are_found),
    };
    KIT_OK(vch_crypto_start());
    return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
