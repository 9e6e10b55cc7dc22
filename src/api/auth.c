/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks, and what they may know.
 *
 *   a peer key         the TLS handshake proved it
 *   Vouch <COSE>       a key signed this very request, less than 60 s ago
 *   Bearer <token>     made by the operator, scoped, expiring
 *   nothing            over the loopback, or from anywhere
 *
 * A signed request is good once.  Its nonce is remembered for as long as its
 * time could still be accepted; what was signed before anything that is
 * forgotten again, or before this process began, is refused. */
#include "api/api_int.h"
#include "crypto/sha256.h"

#define GENERATION_MS (API_SIGNED_MS + API_AHEAD_MS + 5000u)
#define NONCES_MAX (1u << 17) /* of one generation */

static vch_rc refuse(api_call_t *c, api_refused_t why, int status, vch_rc rc, const char *text, const char *hint)
{
    api_count_refused(c->api, why);
    c->status = status;
    return vch_hint(&c->err, vch_fail(&c->err, rc, "%s", text), "%s", hint);
}

vch_rc api_push_back(api_call_t *c, unsigned seconds, const char *text)
{
    c->status = 429;
    c->res->retry_after_s = seconds;
    return vch_hint(&c->err, vch_fail(&c->err, VCH_ERR_LIMIT, "%s", text), "ask again in %u s", seconds);
}

/* ---- nonces -------------------------------------------------------------------------- */

vch_rc api_nonces_init(api_t *api, vch_err_t *err)
{
    api_nonces_t *n = &api->nonces;
    vch_port_t *port = api->l->port;
    VCH_TRY(vch_random(port, n->secret, sizeof n->secret, err));
    n->max = NONCES_MAX;
    n->began_boot = port->clock->boot_ms(port);
    n->forgotten_ms = port->clock->wall_ms(port) - 1;
    pthread_mutex_init(&n->mutex, NULL);
    return VCH_OK;
}

static void generation_free(api_generation_t *g)
{
    vch_free(g->slot);
    *g = (api_generation_t){.cap = 0};
}

void api_nonces_free(api_t *api)
{
    generation_free(&api->nonces.now);
    generation_free(&api->nonces.before);
    vch_wipe(api->nonces.secret, sizeof api->nonces.secret);
    pthread_mutex_destroy(&api->nonces.mutex);
}

static void forget_before(api_nonces_t *n)
{
    if (n->before.newest_ms > n->forgotten_ms) n->forgotten_ms = n->before.newest_ms;
    generation_free(&n->before);
    n->before = n->now;
    n->now = (api_generation_t){.cap = 0};
}

static void turn_generations(api_nonces_t *n, uint64_t boot)
{
    for (unsigned i = 0; i < 2 && boot - n->began_boot >= GENERATION_MS; i++) {
        forget_before(n);
        n->began_boot = i ? boot : n->began_boot + GENERATION_MS;
    }
}

static size_t place_of(const api_generation_t *g, uint64_t tag)
{
    size_t at = (size_t)tag & (g->cap - 1);
    while (g->slot[at] && g->slot[at] != tag) at = (at + 1) & (g->cap - 1);
    return at;
}

static bool remembers(const api_generation_t *g, uint64_t tag) { return g->cap && g->slot[place_of(g, tag)] == tag; }

static bool make_room(api_generation_t *g, size_t max)
{
    if (g->used >= max) return false;
    if (2 * (g->used + 1) <= g->cap) return true;
    api_generation_t more = {.cap = g->cap ? 2 * g->cap : 256, .used = g->used, .newest_ms = g->newest_ms};
    more.slot = vch_alloc_array(more.cap, sizeof *more.slot);
    if (!more.slot) return false;
    for (size_t i = 0; i < g->cap; i++)
        if (g->slot[i]) more.slot[place_of(&more, g->slot[i])] = g->slot[i];
    vch_free(g->slot);
    *g = more;
    return true;
}

/* Who makes nonces can't choose where they land. */
static uint64_t tag_of(const api_nonces_t *n, const api_asker_t *who)
{
    uint8_t bytes[32 + API_NONCE_LEN];
    vch_hash_t mac;
    memcpy(bytes, who->key.b, 32);
    memcpy(bytes + 32, who->nonce, API_NONCE_LEN);
    vch_hmac(&mac, vch_slice(n->secret, sizeof n->secret), vch_slice(bytes, sizeof bytes));
    uint64_t tag = vch_get_u64(mac.b);
    return tag ? tag : 1;
}

typedef enum { NONCE_NEW, NONCE_USED, NONCE_OLD, NONCE_FULL } nonce_t;

static nonce_t use_nonce(api_nonces_t *n, const api_asker_t *who, uint64_t boot)
{
    uint64_t tag = tag_of(n, who);
    turn_generations(n, boot);
    if (who->time_ms <= n->forgotten_ms) return NONCE_OLD;
    if (remembers(&n->now, tag) || remembers(&n->before, tag)) return NONCE_USED;
    if (!make_room(&n->now, n->max)) return NONCE_FULL;
    n->now.slot[place_of(&n->now, tag)] = tag;
    n->now.used++;
    if (who->time_ms > n->now.newest_ms) n->now.newest_ms = who->time_ms;
    return NONCE_NEW;
}

/* Only once it is clear that the key means something here, so that strangers
 * can't fill the memory of nonces. */
static vch_rc use_up(api_call_t *c)
{
    vch_port_t *port = c->l->port;
    if (!c->who.fresh) return VCH_OK;
    pthread_mutex_lock(&c->api->nonces.mutex);
    nonce_t found = use_nonce(&c->api->nonces, &c->who, port->clock->boot_ms(port));
    pthread_mutex_unlock(&c->api->nonces.mutex);
    if (found == NONCE_FULL) return api_push_back(c, 5, "too many signed requests at once");
    if (found == NONCE_USED)
        return refuse(c, API_REFUSED_REPLAYED, 401, VCH_ERR_REPLAY, "this signed request was used already",
                      "sign each request anew, with a nonce of its own");
    if (found == NONCE_OLD)
        return refuse(c, API_REFUSED_EXPIRED, 401, VCH_ERR_EXPIRED, "this request was signed before the node began",
                      "sign it again");
    c->who.fresh = false;
    return VCH_OK;
}

/* ---- keys --------------------------------------------------------------------------------- */

static vch_rc identify_key(api_call_t *c, const vch_keyid_t *key)
{
    vch_known_t known;
    c->who.kind = API_KEY;
    c->who.key = *key;
    vch_rc rc = vch_known_key(c->l, key, &known, &c->err);
    if (rc == VCH_ERR_NOT_FOUND) {
        c->err = (vch_err_t){.rc = VCH_OK};
        return VCH_OK;
    }
    VCH_TRY(rc);
    if (known.revoked)
        return refuse(c, API_REFUSED_REVOKED, 401, VCH_ERR_KEY, "this key is revoked", "ask with the party's new key");
    c->who.kind = API_MEMBER;
    c->who.party = known.party;
    c->who.reads_all = known.roles & (VCH_ROLE_AUDITOR | VCH_ROLE_TRUSTEE);
    c->who.is_operator = vch_id_eq(&known.party, &c->api->operator_party);
    return use_up(c);
}

static bool same_path(const http_request_t *r, vch_slice_t path)
{
    size_t n = r->path.n;
    if (r->query.n == 0) return vch_slice_eq(path, r->path);
    return path.n == n + 1 + r->query.n && memcmp(path.p, r->path.p, n) == 0 && path.p[n] == '?' &&
           memcmp(path.p + n + 1, r->query.p, r->query.n) == 0;
}

static vch_rc check_request(api_call_t *c, const api_authorization_t *a)
{
    vch_hash_t body;
    vch_sha256(&body, c->req->body.p, c->req->body.n);
    if (!vch_slice_eq(a->method, vch_str(api_method_name(c->req->method))) || !same_path(c->req, a->path) ||
        !vch_hash_eq(&a->body, &body))
        return refuse(c, API_REFUSED_OTHER, 401, VCH_ERR_SIGNATURE, "this signature is for another request",
                      "it covers method, path with query, and body; a proxy between must not change them");
    if (a->time_ms + API_SIGNED_MS < c->now.ms || a->time_ms > c->now.ms + API_AHEAD_MS)
        return refuse(c, API_REFUSED_EXPIRED, 401, VCH_ERR_EXPIRED, "this request was not signed within the last 60 s",
                      "sign it again, and set the clock right");
    return VCH_OK;
}

static vch_rc identify_signer(api_call_t *c)
{
    api_authorization_t a;
    vch_buf_t scratch;
    vch_buf_init(&scratch, HTTP_HEADER_MAX);
    vch_rc rc = api_authorization_get(&a, c->req->authorization, &scratch);
    if (rc == VCH_ERR_MEMORY)
        rc = vch_fail(&c->err, rc, "out of memory");
    else if (rc == VCH_ERR_SIGNATURE || rc == VCH_ERR_KEY)
        rc = refuse(c, API_REFUSED_SIGNATURE, 401, VCH_ERR_SIGNATURE, "the request's signature does not verify",
                    "sign it with the key that it names");
    else if (rc != VCH_OK)
        rc = refuse(c, API_REFUSED_MALFORMED, 401, VCH_ERR_FORMAT, "the Authorization header is malformed",
                    "docs/api.md says how a request is signed");
    else if (a.time_ms > UINT64_MAX / 2)
        rc = refuse(c, API_REFUSED_MALFORMED, 401, VCH_ERR_FORMAT, "the Authorization header's time is impossible",
                    "it is in milliseconds since 1970");
    else
        rc = check_request(c, &a);
    if (rc == VCH_OK) {
        vch_keyid_t key = vch_pubkey_id(&a.key);
        c->who.fresh = true;
        c->who.time_ms = a.time_ms;
        memcpy(c->who.nonce, a.nonce, API_NONCE_LEN);
        rc = identify_key(c, &key);
    }
    vch_buf_free(&scratch);
    return rc;
}

/* ---- tokens --------------------------------------------------------------------------------- */

static bool has_scheme(vch_slice_t header, const char *scheme)
{
    size_t n = strlen(scheme);
    return header.n > n && memcmp(header.p, scheme, n) == 0;
}

static vch_rc identify_token(api_call_t *c)
{
    const size_t skip = strlen("Bearer ");
    vch_slice_t secret = vch_slice(c->req->authorization.p + skip, c->req->authorization.n - skip);
    vch_rc rc = vch_token_scope(c->l, secret, c->now, &c->who.scope, &c->err);
    if (rc == VCH_ERR_KEY)
        return refuse(c, API_REFUSED_TOKEN, 401, rc, "this token is unknown, revoked or expired",
                      "the operator makes one with vouch token new");
    c->who.kind = API_TOKEN;
    return rc;
}

vch_rc api_identify(api_call_t *c)
{
    const http_request_t *r = c->req;
    c->who = (api_asker_t){.kind = API_NOBODY, .local = r->local};
    if (!r->authorization.n && !r->has_peer) return VCH_OK;
    VCH_TRY(vch_ledger_now(c->l, &c->now, &c->err));
    if (has_scheme(r->authorization, "Vouch ")) return identify_signer(c);
    if (has_scheme(r->authorization, "Bearer ")) return identify_token(c);
    if (r->authorization.n)
        return refuse(c, API_REFUSED_MALFORMED, 401, VCH_ERR_FORMAT, "the Authorization header is of no known kind",
                      "it is \"Vouch …\" or \"Bearer …\"");
    return identify_key(c, &r->peer);
}

/* ---- classes ----------------------------------------------------------------------------------- */

vch_rc api_forbid(api_call_t *c, const char *hint)
{
    if (c->who.kind == API_NOBODY)
        return refuse(c, API_REFUSED_MISSING, 401, VCH_ERR_KEY, "this is not for everybody",
                      "sign the request with a party's key, or bring a token");
    return refuse(c, API_REFUSED_FORBIDDEN, 403, VCH_ERR_ROLE, "this is not for you", hint);
}

vch_rc api_not_there(api_call_t *c, vch_rc rc)
{
    if (c->who.kind != API_KEY) return rc;
    return api_forbid(c, "this key belongs to no party of the ledger");
}

static bool admits_reader(const api_call_t *c)
{
    int read = atomic_load(&c->api->read);
    if (read == VCH_READ_PUBLIC || c->who.local || c->who.kind == API_TOKEN) return true;
    return read == VCH_READ_PARTIES && c->who.kind == API_MEMBER;
}

static bool admits_operator(const api_asker_t *who)
{
    if (who->kind == API_TOKEN) return who->scope == VCH_SCOPE_OPERATOR;
    return who->kind == API_MEMBER && who->local && who->is_operator;
}

static bool admits_auditor(const api_asker_t *who)
{
    return admits_operator(who) || (who->kind == API_MEMBER && who->reads_all);
}

vch_rc api_admit(api_call_t *c, api_who_t class)
{
    const api_asker_t *who = &c->who;
    switch (class) {
    case API_OPEN:
        return VCH_OK;
    case API_READ:
        if (admits_reader(c)) return VCH_OK;
        return api_forbid(c, "[ledger] read says who may read this node's log");
    case API_PARTY:
        if (who->kind == API_MEMBER || who->kind == API_TOKEN) return VCH_OK;
        return api_forbid(c, "this is for parties of the ledger");
    case API_ENTITLED:
        if (who->kind == API_MEMBER || who->kind == API_KEY) return VCH_OK;
        if (who->kind == API_TOKEN && who->scope != VCH_SCOPE_READ) return VCH_OK;
        return api_forbid(c, "this needs a token of scope statements");
    case API_AUDITOR:
        if (admits_auditor(who)) return VCH_OK;
        return api_forbid(c, "this is for auditors, trustees and the operator");
    case API_OPERATOR:
        if (admits_operator(who)) return VCH_OK;
        return api_forbid(c, "this is for the operator, over the loopback, or a token of scope operator");
    }
    return api_forbid(c, "");
}

/* ---- entitled ------------------------------------------------------------------------------------ */

bool api_knows_all(const api_asker_t *who)
{
    return (who->kind == API_TOKEN && who->scope == VCH_SCOPE_STATEMENTS) || admits_auditor(who);
}

static vch_rc may_know(api_call_t *c, const vch_about_t *about)
{
    vch_may_t may = VCH_MAY_NOT;
    vch_asker_t asker = {.key = &c->who.key, .now = c->now};
    if (c->who.kind == API_MEMBER) asker.party = &c->who.party;
    VCH_TRY(vch_may_know(c->l, about, &asker, &may, &c->err));
    if (may == VCH_MAY_NOT)
        return api_forbid(c, "it is for the dataset's custodian, holders of a live grant on it, "
                             "the subject's own key, auditors and trustees");
    return use_up(c);
}

/* A key that nobody knows may cost a look into the custodian's files: one at a time. */
vch_rc api_may_know(api_call_t *c, const vch_about_t *about)
{
    if (api_knows_all(&c->who)) return VCH_OK;
    if (c->who.kind == API_MEMBER) return may_know(c, about);
    if (c->who.kind != API_KEY) return api_forbid(c, "this needs a token of scope statements");
    if (pthread_mutex_trylock(&c->api->strangers) != 0)
        return api_push_back(c, 1, "another subject's question is being looked at");
    vch_rc rc = may_know(c, about);
    pthread_mutex_unlock(&c->api->strangers);
    return rc;
}
