/* SPDX-License-Identifier: Apache-2.0 */
/* One long history, the same in every build, on every machine and by every way
 * of computing SHA-256: `roots [auto|portable|ni|avx512]` prints the state root
 * and the log's tree root after each block, and how often each kind of
 * transaction was accepted and refused.  tests/determinism/roots.golden is what
 * it must print.  Exit status 77: this machine has no such SHA path.
 *
 * `roots PATH late` lets one block come a millisecond later: another history,
 * whose roots must differ.
 *
 * All signatures are Ed25519 (RFC 8032), whose bytes are determined; ECDSA's
 * are not, so P-256 comes in only as a registered public key. */
#include "../world.h"
#include "entry/holding.h"

#define STEPS 2000
#define SUBJECTS 5000u /* two chunks of the consent column */
#define OWNERS 300u    /* subjects whose keys are real: the first 200, and 100 around the chunks' border */
#define LISTED 3000u   /* rows of the extent whose subjects come as a list */
#define MORE_SUBJECTS 100u
#define TERMS 8
#define KEPT 64

typedef struct {
    vch_id_t id[KEPT];
    size_t n; /* ever; the newest KEPT are kept */
} ids_t;

typedef struct {
    world_t *w;
    uint64_t random;
    vch_hash_t *leaf, *scratch; /* of the first range of subjects */
    uint32_t *serial;           /* by subject */
    vch_hash_t terms[TERMS];
    ids_t versions, grants, runs, models, deployments;
    vch_id_t latest, open_run;
    bool run_open;
    vch_hash_t digest; /* of the open run's output */
    uint64_t next_decision[KEPT];
    unsigned key_number;
    unsigned accepted[64], refused[64];
    vch_edge_t edge;
    size_t hashed;
} history_t;

static uint32_t below(history_t *h, uint32_t n)
{
    h->random ^= h->random << 13;
    h->random ^= h->random >> 7;
    h->random ^= h->random << 17;
    return (uint32_t)((h->random >> 32) % n);
}

static void keep(ids_t *l, const vch_id_t *id) { l->id[l->n++ % KEPT] = *id; }
static size_t pick_at(history_t *h, const ids_t *l) { return below(h, (uint32_t)(l->n < KEPT ? l->n : KEPT)); }
static const vch_id_t *pick(history_t *h, const ids_t *l) { return &l->id[pick_at(h, l)]; }

static vch_hash_t digest_of(history_t *h)
{
    uint8_t b[8];
    vch_hash_t ret;
    vch_put_u32(b, below(h, UINT32_MAX));
    vch_put_u32(b + 4, below(h, UINT32_MAX));
    vch_sha256(&ret, b, sizeof b);
    return ret;
}

/* ---- blocks ---- */

static void print_hash(const char *name, const vch_hash_t *hash)
{
    char hex[65];
    vch_hex(hex, hash->b, 32);
    printf(" %s %.64s", name, hex);
}

static void close_block(history_t *h)
{
    vch_state_info_t i;
    vch_hash_t tree;
    vch_state_info(h->w->state, &i);
    if (i.open_count == 0) return;
    world_close(h->w);
    vch_state_info(h->w->state, &i);
    for (; h->hashed < h->w->leaves; h->hashed++) {
        vch_hash_t leaf;
        vch_tree_leaf(&leaf, vch_slice(h->w->leaf[h->hashed].bytes, h->w->leaf[h->hashed].n));
        vch_edge_add(&h->edge, &leaf, 1);
    }
    vch_edge_root(&h->edge, &tree);
    printf("block %llu leaves %llu", (unsigned long long)i.height, (unsigned long long)i.applied);
    print_hash("state", &i.root);
    print_hash("tree", &tree);
    putchar('\n');
}

static bool say_many(history_t *h, unsigned who, vch_kind_t kind, vch_buf_t *fields, size_t n)
{
    world_t *w = h->w;
    kit_tx_t t = kit_tx(&w->network, kind, w->sequence[who] + 1, w->party[who], fields, n, 0);
    vch_rc rc = world_apply(w, &t);
    if (rc == VCH_OK) w->sequence[who]++;
    (rc == VCH_OK ? h->accepted : h->refused)[kind]++;
    if (rc == VCH_ERR_INTERNAL || rc == VCH_ERR_MEMORY || rc == VCH_ERR_CORRUPT) {
        fprintf(stderr, "roots: %s: %s\n", vch_rc_name(rc), w->err.text);
        exit(1);
    }
    return rc == VCH_OK;
}

static bool say(history_t *h, unsigned who, vch_kind_t kind, vch_buf_t fields)
{
    return say_many(h, who, kind, &fields, 1);
}

/* What the rest of the history stands on. */
static void must(bool accepted, history_t *h)
{
    if (accepted) return;
    fprintf(stderr, "roots: the history cannot begin: %s\n", h->w->err.text);
    exit(1);
}

/* ---- parties and keys ---- */

static void put_key(kit_fields_t *f, unsigned field, const vch_signer_t *key)
{
    kit_bytes(f, field, vch_signer_public(key)->b, vch_signer_public(key)->n);
}

static void more_parties(history_t *h)
{
    static const char *const name[3] = {"hospital", "hospital-b", "Universit\xc3\xa4t"};
    for (unsigned i = 0; i < 3; i++) {
        vch_signer_t *ed = kit_signer(500 + i, VCH_ALG_ED25519), *p256 = kit_signer(600 + i, VCH_ALG_P256);
        kit_fields_t f = kit_fields();
        kit_text(&f, VCH_F_PARTY_NAME, name[i]);
        kit_uint(&f, VCH_F_PARTY_ROLES, 1u << i | VCH_ROLE_AUDITOR);
        kit_list(&f, VCH_F_PARTY_KEYS, 2);
        for (unsigned k = 0; k < 2; k++) {
            const vch_pubkey_t *pub = vch_signer_public(k ? p256 : ed);
            KIT_OK(vch_cbor_bytes(&f.body, pub->b, pub->n));
        }
        vch_hash_t next = digest_of(h);
        if (i) kit_id(&f, VCH_F_PARTY_NEXT, next.b);
        must(say(h, 0, VCH_KIND_PARTY, kit_done(&f)), h);
        vch_signer_free(ed);
        vch_signer_free(p256);
    }
    kit_fields_t again = kit_fields();
    kit_text(&again, VCH_F_PARTY_NAME, "impostor");
    kit_uint(&again, VCH_F_PARTY_ROLES, VCH_ROLE_USER);
    kit_list(&again, VCH_F_PARTY_KEYS, 1);
    const vch_pubkey_t *taken = vch_signer_public(h->w->party[1]);
    KIT_OK(vch_cbor_bytes(&again.body, taken->b, taken->n));
    (void)say(h, 0, VCH_KIND_PARTY, kit_done(&again));
    vch_signer_t *fresh = kit_signer(510, VCH_ALG_ED25519);
    vch_buf_t namesake;
    vch_buf_init(&namesake, 4096);
    kit_party_map(&namesake, name[0], VCH_ROLE_USER, fresh);
    if (say(h, 0, VCH_KIND_PARTY, namesake)) exit(1);
    vch_signer_free(fresh);
}

static bool key_statement(history_t *h, unsigned who, unsigned action, const vch_signer_t *key)
{
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_PARTYKEY_PARTY, h->w->party_id[who].b);
    kit_uint(&f, VCH_F_PARTYKEY_ACTION, action);
    put_key(&f, VCH_F_PARTYKEY_KEY, key);
    kit_uint(&f, VCH_F_PARTYKEY_REASON, action ? 1 : 0);
    if (action) kit_uint(&f, VCH_F_PARTYKEY_SINCE, h->w->now.ms - 1000);
    return say(h, who, VCH_KIND_PARTY_KEY, kit_done(&f));
}

/* Party 2 takes a new key and revokes the old one with it. */
static void rotate(history_t *h)
{
    vch_signer_t *fresh = kit_signer(700 + ++h->key_number, VCH_ALG_ED25519), *old = h->w->party[2];
    must(key_statement(h, 2, VCH_KEY_ADD, fresh), h);
    h->w->party[2] = fresh;
    must(key_statement(h, 2, VCH_KEY_REVOKE, old), h);
    h->w->party[2] = old; /* refused: it was revoked */
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_MODEL_DIGEST, h->digest.b);
    kit_text(&f, VCH_F_MODEL_NAME, "signed by a revoked key");
    if (say(h, 2, VCH_KIND_MODEL, kit_done(&f))) exit(1);
    h->w->party[2] = fresh;
    vch_signer_free(old);
}

static void register_p256(history_t *h)
{
    vch_signer_t *p256 = kit_signer(650, VCH_ALG_P256);
    must(key_statement(h, 1, VCH_KEY_ADD, p256), h);
    must(key_statement(h, 1, VCH_KEY_REVOKE, p256), h);
    vch_signer_free(p256);
}

/* ---- datasets and versions ---- */

static uint32_t owner_subject(uint32_t i) { return i < 200 ? i : 4046 + (i - 200); }

/* Real keys where somebody will sign, made-up key ids elsewhere. */
static void make_subjects(history_t *h)
{
    for (uint32_t i = 0; i < SUBJECTS; i++) {
        uint8_t b[4];
        vch_hash_t id;
        vch_keyid_t key;
        vch_put_u32(b, i);
        vch_sha256(&id, b, sizeof b);
        memcpy(key.b, id.b, 32);
        vch_subject_leaf(&h->leaf[i], i, &key);
    }
    for (uint32_t i = 0; i < OWNERS; i++) {
        vch_signer_t *s = world_owner(owner_subject(i));
        vch_keyid_t key = kit_keyid(s);
        vch_subject_leaf(&h->leaf[owner_subject(i)], owner_subject(i), &key);
        vch_signer_free(s);
    }
}

typedef struct {
    uint8_t id;
    uint32_t count, first;
    const vch_hash_t *listed; /* hash of the list of subjects, or NULL: contiguous */
} extent_t;

static void put_extent(vch_buf_t *b, const extent_t *e)
{
    uint8_t id[32] = {e->id, 1}, rows[32] = {e->id, 2};
    KIT_OK(vch_cbor_map(b, 4));
    KIT_OK(vch_cbor_uint(b, VCH_F_EXTENT_ID));
    KIT_OK(vch_cbor_bytes(b, id, 32));
    KIT_OK(vch_cbor_uint(b, VCH_F_EXTENT_COUNT));
    KIT_OK(vch_cbor_uint(b, e->count));
    KIT_OK(vch_cbor_uint(b, e->listed ? VCH_F_EXTENT_SUBJECTS_HASH : VCH_F_EXTENT_FIRST));
    KIT_OK(e->listed ? vch_cbor_bytes(b, e->listed->b, 32) : vch_cbor_uint(b, e->first));
    KIT_OK(vch_cbor_uint(b, VCH_F_EXTENT_ROWS_ROOT));
    KIT_OK(vch_cbor_bytes(b, rows, 32));
}

static void put_range(kit_fields_t *f, uint32_t first, uint32_t count, const vch_hash_t *root)
{
    vch_buf_t *b = kit_key(f, VCH_F_VERSION_SUBJECTS);
    KIT_OK(vch_cbor_map(b, 3));
    KIT_OK(vch_cbor_uint(b, VCH_F_SUBJECTS_FIRST));
    KIT_OK(vch_cbor_uint(b, first));
    KIT_OK(vch_cbor_uint(b, VCH_F_SUBJECTS_COUNT));
    KIT_OK(vch_cbor_uint(b, count));
    KIT_OK(vch_cbor_uint(b, VCH_F_SUBJECTS_ROOT));
    KIT_OK(vch_cbor_bytes(b, root->b, 32));
}

/* Fields of a version up to its bitmap. */
static kit_fields_t version_of(history_t *h, bool first, const extent_t *extent)
{
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_VERSION_DATASET, h->w->dataset.b);
    if (!first) kit_id(&f, VCH_F_VERSION_PREVIOUS, h->latest.b);
    vch_buf_t *b = kit_list(&f, VCH_F_VERSION_EXTENTS, extent ? 1 : 0);
    if (extent) put_extent(b, extent);
    return f;
}

static bool say_version(history_t *h, kit_fields_t *f)
{
    if (!say(h, 0, VCH_KIND_VERSION, kit_done(f))) return false;
    h->latest = h->w->last;
    keep(&h->versions, &h->latest);
    return true;
}

static void first_version(history_t *h)
{
    vch_hash_t root;
    kit_fields_t f = version_of(h, true, &(extent_t){.id = 1, .count = SUBJECTS});
    kit_list(&f, VCH_F_VERSION_BITMAP, 0);
    memcpy(h->scratch, h->leaf, SUBJECTS * sizeof *h->leaf);
    vch_tree_root_in_place(&root, h->scratch, SUBJECTS);
    put_range(&f, 0, SUBJECTS, &root);
    must(say_version(h, &f), h);
}

/* An extent whose rows belong to subjects all over, some to several rows; its
 * list comes in two pieces.  Then a range of new subjects. */
static void second_version(history_t *h)
{
    static uint8_t list[4 * LISTED];
    uint8_t id[32] = {2, 1};
    vch_hash_t hash, root = digest_of(h);
    for (uint32_t r = 0; r < LISTED; r++) vch_put_u32(list + 4 * (size_t)r, r * 7919u % (SUBJECTS / 2) * 2);
    vch_sha256(&hash, list, sizeof list);
    for (uint32_t from = 0; from < LISTED; from += LISTED / 2) {
        kit_fields_t f = kit_fields();
        kit_id(&f, VCH_F_PIECE_EXTENT, id);
        kit_uint(&f, VCH_F_PIECE_OFFSET, from);
        kit_bytes(&f, VCH_F_PIECE_LIST, list + 4 * (size_t)from, sizeof list / 2);
        must(say(h, 0, VCH_KIND_SUBJECTS, kit_done(&f)), h);
    }
    kit_fields_t f = version_of(h, false, &(extent_t){.id = 2, .count = LISTED, .listed = &hash});
    kit_list(&f, VCH_F_VERSION_BITMAP, 0);
    put_range(&f, SUBJECTS, MORE_SUBJECTS, &root);
    must(say_version(h, &f), h);
}

/* Another live bitmap for one leaf; the last leaf of extent 1 is shorter than
 * its 2,048 bits, which is now and then ignored and so refused. */
static void new_bits(history_t *h)
{
    uint8_t bits[VCH_BITMAP_LEAF] = {0};
    uint32_t extent = below(h, 2), leaf = below(h, extent ? 2 : 3);
    uint32_t rows = (extent ? LISTED : SUBJECTS) - leaf * 2048;
    size_t n = rows >= 2048 || below(h, 4) == 0 ? sizeof bits : rows / 8;
    for (size_t i = 0; i < n; i++) bits[i] = (uint8_t)(below(h, 256) | below(h, 256));
    kit_fields_t f = version_of(h, false, NULL);
    vch_buf_t *b = kit_list(&f, VCH_F_VERSION_BITMAP, 1);
    KIT_OK(vch_cbor_map(b, 3));
    KIT_OK(vch_cbor_uint(b, VCH_F_BITLEAF_EXTENT));
    KIT_OK(vch_cbor_uint(b, extent));
    KIT_OK(vch_cbor_uint(b, VCH_F_BITLEAF_LEAF));
    KIT_OK(vch_cbor_uint(b, leaf));
    KIT_OK(vch_cbor_uint(b, VCH_F_BITLEAF_BITS));
    KIT_OK(vch_cbor_bytes(b, bits, sizeof bits));
    if (!say_version(h, &f)) return;
    kit_fields_t t = kit_fields();
    vch_hash_t code = digest_of(h);
    kit_id(&t, VCH_F_TRANSFORM_FROM, pick(h, &h->versions)->b);
    kit_id(&t, VCH_F_TRANSFORM_TO, h->latest.b);
    kit_id(&t, VCH_F_TRANSFORM_CODE, code.b);
    must(say(h, 0, VCH_KIND_TRANSFORM, kit_done(&t)), h);
}

/* ---- terms ---- */

typedef struct {
    const char *title;
    bool forbid;
    int recipient; /* party number, or -1: anybody */
    const char *purpose, *processing, *condition;
    int64_t from, until; /* ms from the beginning; 0: none */
} terms_t;

#define HOUR 3600000

static const terms_t terms_table[TERMS] = {
    {"research", false, -1, KIT_RESEARCH, KIT_TRAINING, NULL, 0, 0},
    {"science, by party 1", false, 1, KIT_SCIENCE, NULL, NULL, 0, 0},
    {"no marketing", true, -1, KIT_MARKETING, NULL, NULL, 0, 0},
    {"anything, for ten hours", false, -1, NULL, NULL, NULL, 0, 10 * HOUR},
    {"research, later", false, -1, KIT_RESEARCH, KIT_PROCESSING, NULL, 20 * HOUR, 0},
    {"ended before", false, -1, NULL, NULL, NULL, 0, -HOUR},
    {"on a condition", false, -1, KIT_RESEARCH, NULL, "https://example.org/condition", 0, 0},
    {"not party 2", true, 2, NULL, KIT_TRAINING, NULL, 0, 30 * HOUR},
};

static void put_iris(kit_fields_t *f, unsigned field, const char *iri)
{
    vch_buf_t *b = kit_list(f, field, iri ? 1 : 0);
    if (iri) KIT_OK(vch_cbor_text(b, iri, strlen(iri)));
}

static void one_terms(history_t *h, const terms_t *t, vch_hash_t *ret)
{
    kit_fields_t f = kit_fields(), statement = kit_fields();
    uint64_t now = h->w->now.ms;
    kit_uint(&f, VCH_F_DOC_VERSION, 1);
    kit_text(&f, VCH_F_DOC_TITLE, t->title);
    kit_uint(&f, VCH_F_DOC_EFFECT, t->forbid ? VCH_EFFECT_FORBID : VCH_EFFECT_PERMIT);
    vch_buf_t *b = kit_list(&f, VCH_F_DOC_RECIPIENTS, t->recipient >= 0 ? 1 : 0);
    if (t->recipient >= 0) KIT_OK(vch_cbor_bytes(b, h->w->party_id[t->recipient].b, 32));
    put_iris(&f, VCH_F_DOC_PURPOSES, t->purpose);
    put_iris(&f, VCH_F_DOC_PROCESSINGS, t->processing);
    if (t->from) kit_uint(&f, VCH_F_DOC_FROM, now + (uint64_t)t->from);
    if (t->until) kit_uint(&f, VCH_F_DOC_UNTIL, now + (uint64_t)t->until);
    if (t->condition) put_iris(&f, VCH_F_DOC_CONDITIONS, t->condition);
    vch_buf_t document = kit_done(&f);
    vch_sha256(ret, document.p, document.n);
    kit_bytes(&statement, VCH_F_TERMS_DOCUMENT, document.p, document.n);
    vch_buf_free(&document);
    must(say(h, 0, VCH_KIND_TERMS, kit_done(&statement)), h);
}

/* ---- consents ---- */

static void put_key_proof(history_t *h, kit_fields_t *f, uint32_t subject)
{
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t n = vch_tree_path(path, h->leaf, SUBJECTS, subject, h->scratch);
    vch_buf_t *b = kit_key(f, VCH_F_CONSENT_KEY_PROOF);
    KIT_OK(vch_cbor_map(b, 2));
    KIT_OK(vch_cbor_uint(b, VCH_F_KEYPROOF_FIRST));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_uint(b, VCH_F_KEYPROOF_PATH));
    KIT_OK(vch_cbor_array(b, n));
    for (size_t i = 0; i < n; i++) KIT_OK(vch_cbor_bytes(b, path[i].b, 32));
}

static vch_buf_t change_fields(history_t *h, vch_kind_t kind, uint32_t subject, uint32_t serial, vch_signer_t *owner)
{
    kit_fields_t f = kit_fields();
    bool all = kind == VCH_KIND_ERASE || (kind == VCH_KIND_WITHDRAW && below(h, 2));
    kit_id(&f, VCH_F_CONSENT_DATASET, h->w->dataset.b);
    kit_uint(&f, VCH_F_CONSENT_SUBJECT, subject);
    if (!all) kit_id(&f, VCH_F_CONSENT_TERMS, h->terms[below(h, TERMS)].b);
    if (kind == VCH_KIND_CONSENT) kit_uint(&f, VCH_F_CONSENT_UNTIL, 19675 + below(h, 3));
    kit_uint(&f, VCH_F_CONSENT_HOW, owner ? VCH_HOW_OWNER : VCH_HOW_RECORDED);
    vch_hash_t evidence = digest_of(h);
    if (!owner) kit_id(&f, VCH_F_CONSENT_EVIDENCE, evidence.b);
    if (owner) put_key(&f, VCH_F_CONSENT_KEY, owner);
    if (owner && serial < 4) put_key_proof(h, &f, subject);
    kit_uint(&f, VCH_F_CONSENT_SERIAL, serial);
    vch_buf_t plain = kit_done(&f), finished;
    if (!owner) return plain;
    vch_buf_init(&finished, 65536);
    KIT_OK(vch_owner_sign(&finished, &h->w->network, kind, vch_buf_slice(&plain), owner, NULL));
    vch_buf_free(&plain);
    return finished;
}

static void owner_speaks(history_t *h, vch_kind_t kind)
{
    uint32_t subject = owner_subject(below(h, OWNERS));
    vch_signer_t *key = world_owner(below(h, 16) ? subject : subject + 1); /* sometimes another's */
    vch_buf_t fields = change_fields(h, kind, subject, h->serial[subject] + 1, key);
    if (say(h, below(h, 3), kind, fields)) h->serial[subject]++;
    vch_signer_free(key);
}

/* The custodian records for a run of subjects in one entry. */
static void custodian_records(history_t *h, vch_kind_t kind)
{
    vch_buf_t fields[40];
    uint32_t n = 1 + below(h, kind == VCH_KIND_CONSENT ? 40 : 2), first = below(h, SUBJECTS + MORE_SUBJECTS - n);
    for (uint32_t i = 0; i < n; i++) fields[i] = change_fields(h, kind, first + i, h->serial[first + i] + 1, NULL);
    bool done = say_many(h, below(h, 20) ? 0 : 1, kind, fields, n);
    for (uint32_t i = 0; done && i < n; i++) h->serial[first + i]++;
}

/* ---- access, runs, models ---- */

static void ask(history_t *h)
{
    static const char *const purpose[] = {KIT_RESEARCH, KIT_SCIENCE, KIT_MARKETING, "https://example.org/unheard-of"};
    static const char *const processing[] = {KIT_TRAINING, KIT_PROCESSING};
    vch_id_t version = below(h, 3) ? h->latest : *pick(h, &h->versions);
    const char *what = purpose[below(h, 40) ? below(h, 3) : 3], *how = processing[below(h, 4) == 0];
    unsigned who = below(h, 3), group = below(h, 20) ? below(h, 2) : 7;
    if (!say(h, who, VCH_KIND_ACCESS, world_access(&version, what, how, group))) return;
    if (h->w->outcome.permit && who == 1) keep(&h->grants, &h->w->last);
}

static void start_run(history_t *h)
{
    if (h->grants.n == 0) return;
    kit_fields_t f = kit_fields();
    vch_hash_t some = digest_of(h);
    vch_buf_t *b = kit_list(&f, VCH_F_RUN_GRANTS, 1);
    KIT_OK(vch_cbor_bytes(b, h->grants.id[(h->grants.n - 1) % KEPT].b, 32));
    kit_id(&f, VCH_F_RUN_SET_ROOT, some.b);
    kit_uint(&f, VCH_F_RUN_COUNT, 1 + below(h, 200));
    kit_id(&f, VCH_F_RUN_ORDER_ROOT, some.b);
    kit_id(&f, VCH_F_RUN_CODE, some.b);
    kit_text(&f, VCH_F_RUN_PARAMETERS, "{\"depth\":3}");
    kit_uint(&f, VCH_F_RUN_SEED, UINT64_MAX - below(h, 1000));
    kit_id(&f, VCH_F_RUN_ENVIRONMENT, some.b);
    kit_text(&f, VCH_F_RUN_NAME, "run");
    if (!say(h, 1, VCH_KIND_RUN, kit_done(&f))) return;
    h->open_run = h->w->last;
    h->run_open = true;
    keep(&h->runs, &h->open_run);
}

static void end_run(history_t *h)
{
    if (h->runs.n == 0) return;
    kit_fields_t f = kit_fields();
    vch_id_t run = h->run_open ? h->open_run : *pick(h, &h->runs); /* an ended one is refused */
    h->digest = digest_of(h);
    kit_id(&f, VCH_F_RUNEND_RUN, run.b);
    kit_uint(&f, VCH_F_RUNEND_STATUS, below(h, 5) == 0);
    vch_buf_t *b = kit_list(&f, VCH_F_RUNEND_METRICS, 1);
    KIT_OK(vch_cbor_map(b, 2));
    KIT_OK(vch_cbor_uint(b, VCH_F_METRIC_NAME));
    KIT_OK(vch_cbor_text(b, "auc", 3));
    KIT_OK(vch_cbor_uint(b, VCH_F_METRIC_VALUE));
    KIT_OK(vch_cbor_text(b, "0.91", 4));
    b = kit_list(&f, VCH_F_RUNEND_OUTPUTS, 1);
    KIT_OK(vch_cbor_map(b, 3));
    KIT_OK(vch_cbor_uint(b, VCH_F_OUTPUT_NAME));
    KIT_OK(vch_cbor_text(b, "model.bin", 9));
    KIT_OK(vch_cbor_uint(b, VCH_F_OUTPUT_DIGEST));
    KIT_OK(vch_cbor_bytes(b, h->digest.b, 32));
    KIT_OK(vch_cbor_uint(b, VCH_F_OUTPUT_SIZE));
    KIT_OK(vch_cbor_uint(b, 1ull << (10 + below(h, 50))));
    if (!say(h, 1, VCH_KIND_RUN_END, kit_done(&f))) return;
    h->run_open = false;
    kit_fields_t m = kit_fields(); /* refused when the run failed */
    kit_id(&m, VCH_F_MODEL_RUN, run.b);
    kit_id(&m, VCH_F_MODEL_DIGEST, h->digest.b);
    kit_text(&m, VCH_F_MODEL_NAME, "risk score");
    if (say(h, 1, VCH_KIND_MODEL, kit_done(&m))) keep(&h->models, &h->w->last);
}

static void import_model(history_t *h)
{
    kit_fields_t f = kit_fields();
    vch_hash_t digest = digest_of(h);
    kit_id(&f, VCH_F_MODEL_DIGEST, digest.b);
    kit_text(&f, VCH_F_MODEL_NAME, "imported");
    if (say(h, 1, VCH_KIND_MODEL, kit_done(&f))) keep(&h->models, &h->w->last);
}

static void deploy(history_t *h)
{
    if (h->models.n == 0) return;
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_DEPLOYMENT_MODEL, pick(h, &h->models)->b);
    kit_text(&f, VCH_F_DEPLOYMENT_SCOPE, "ward 3");
    if (!say(h, below(h, 8) ? 1 : 2, VCH_KIND_DEPLOYMENT, kit_done(&f))) return;
    h->next_decision[h->deployments.n % KEPT] = 0;
    keep(&h->deployments, &h->w->last);
}

static void decide_batch(history_t *h)
{
    if (h->deployments.n == 0) return;
    size_t at = pick_at(h, &h->deployments);
    uint64_t count = 1 + below(h, 100000), lost = below(h, 4) ? 0 : below(h, 1000);
    vch_hash_t root = digest_of(h);
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_DECISIONS_DEPLOYMENT, h->deployments.id[at].b);
    kit_uint(&f, VCH_F_DECISIONS_FIRST, h->next_decision[at] + (below(h, 8) == 0));
    kit_uint(&f, VCH_F_DECISIONS_COUNT, count);
    kit_id(&f, VCH_F_DECISIONS_ROOT, root.b);
    uint64_t early = below(h, 16) ? 5 : 864000000, late = below(h, 16) ? 0 : VCH_CLOCK_SKEW_MS + below(h, 2);
    kit_uint(&f, VCH_F_DECISIONS_FROM, h->w->now.ms - early);
    kit_uint(&f, VCH_F_DECISIONS_TO, h->w->now.ms + late);
    kit_uint(&f, VCH_F_DECISIONS_LOST, lost);
    if (say(h, 1, VCH_KIND_DECISIONS, kit_done(&f))) h->next_decision[at] += count + lost;
}

static void end_deployment(history_t *h)
{
    if (h->deployments.n < 4) return;
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_DEPLOYMENTEND_DEPLOYMENT, pick(h, &h->deployments)->b);
    kit_uint(&f, VCH_F_DEPLOYMENTEND_REASON, below(h, 4));
    (void)say(h, 1, VCH_KIND_DEPLOYMENT_END, kit_done(&f));
}

static void remedy(history_t *h)
{
    if (h->models.n == 0) return;
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_REMEDY_MODEL, pick(h, &h->models)->b);
    kit_uint(&f, VCH_F_REMEDY_ACTION, below(h, 3));
    kit_text(&f, VCH_F_REMEDY_REFERENCE, "ticket 12");
    (void)say(h, 1, VCH_KIND_REMEDY, kit_done(&f));
}

/* ---- the history ---- */

static void begin(history_t *h)
{
    world_t *w = h->w = vch_alloc(sizeof *w);
    h->random = 0x9e3779b97f4a7c15u;
    h->leaf = vch_alloc_array(SUBJECTS, sizeof *h->leaf);
    h->scratch = vch_alloc_array(SUBJECTS, sizeof *h->scratch);
    h->serial = vch_alloc_array(SUBJECTS + MORE_SUBJECTS, sizeof *h->serial);
    if (!w || !h->leaf || !h->scratch || !h->serial) abort();
    memset(h->serial, 0, (SUBJECTS + MORE_SUBJECTS) * sizeof *h->serial);
    vch_edge_init(&h->edge);
    w->now.ms = 1700000000000u;
    vch_arena_init(&w->arena, 64u << 20);
    KIT_OK(vch_kv_open_memory(&w->kv, NULL));
    KIT_OK(vch_state_open(&w->state, w->kv, NULL));
    for (unsigned i = 0; i < 3; i++) w->party[i] = kit_signer(i, VCH_ALG_ED25519);
    world_genesis(w);
    w->sequence[0] = 1;
    h->accepted[VCH_KIND_GENESIS]++;
    close_block(h);
    more_parties(h);
    register_p256(h);
    must(say(h, 0, VCH_KIND_DATASET, kit_dataset("cohort", &w->party_id[0])), h);
    w->dataset = w->last;
    (void)say(h, 1, VCH_KIND_DATASET, kit_dataset("not mine", &w->party_id[0]));
    make_subjects(h);
    first_version(h);
    second_version(h);
    for (unsigned i = 0; i < TERMS; i++) one_terms(h, &terms_table[i], &h->terms[i]);
    close_block(h);
}

/* Saving and opening again must not show. */
static void save_and_reopen(history_t *h)
{
    close_block(h);
    KIT_OK(vch_state_save(h->w->state, NULL));
    vch_state_free(h->w->state);
    KIT_OK(vch_state_open(&h->w->state, h->w->kv, NULL));
}

static void step(history_t *h)
{
    uint32_t what = below(h, 100);
    vch_kind_t kind = below(h, 4) ? VCH_KIND_CONSENT : VCH_KIND_WITHDRAW;
    if (what < 45)
        owner_speaks(h, kind);
    else if (what < 62)
        custodian_records(h, kind);
    else if (what < 74)
        ask(h);
    else if (what < 77)
        new_bits(h);
    else if (what < 81)
        start_run(h);
    else if (what < 85)
        end_run(h);
    else if (what < 87)
        import_model(h);
    else if (what < 89)
        deploy(h);
    else if (what < 94)
        decide_batch(h);
    else if (what < 95)
        end_deployment(h);
    else if (what < 97)
        remedy(h);
    else if (what < 98)
        rotate(h);
    if (below(h, 16) == 0) {
        close_block(h);
        h->w->now.ms += 1 + below(h, 20 * 60000);
    }
    if (below(h, 300) == 0) save_and_reopen(h);
}

/* ---- an extent in the vault, and erasures from it ---- */

#define VAULT_ROWS 40u

/* The three parties are its trustees and its storage nodes. */
static void hold(history_t *h, vch_holding_t *ret, const vch_tree_about_t *about, uint8_t signature[6][VCH_SIG_LEN])
{
    *ret = (vch_holding_t){.n = 3, .t = 2, .sets = 3, .k = 2, .nodes = 3, .shards_root = digest_of(h)};
    for (unsigned i = 0; i < 3; i++) {
        ret->trustee[i] = ret->storage[i] = kit_keyid(h->w->party[i]);
        ret->root[i] = digest_of(h);
    }
    for (unsigned set = 0; set < 3; set++)
        for (unsigned i = 0; i < 2; i++) {
            vch_root_t message;
            vch_buf_t payload, cose, to_sign;
            const vch_signer_t *by = h->w->party[vch_holding_holder(ret, set, i)];
            vch_buf_init(&payload, 1024);
            vch_buf_init(&cose, 2048);
            vch_buf_init(&to_sign, 2048);
            KIT_OK(vch_holding_message(&message, ret, about, set));
            KIT_OK(vch_root_put(&payload, &message));
            KIT_OK(vch_cose_draft(&cose, &to_sign, vch_signer_public(by), vch_buf_slice(&payload), NULL));
            KIT_OK(vch_signer_sign(by, signature[2 * set + i], vch_buf_slice(&to_sign)));
            vch_buf_free(&payload);
            vch_buf_free(&cose);
            vch_buf_free(&to_sign);
        }
}

static bool vault_version(history_t *h, const uint8_t id[32], bool spoiled)
{
    vch_tree_about_t about = {.network = h->w->network, .n = 3, .t = 2, .groups = 2, .rows = VAULT_ROWS};
    uint8_t signature[6][VCH_SIG_LEN], rows[32] = {7, 2};
    vch_holding_t holding;
    memcpy(about.extent.b, id, 32);
    hold(h, &holding, &about, signature);
    if (spoiled) signature[3][0] ^= 1;
    kit_fields_t f = version_of(h, false, NULL);
    f.body.n--; /* the empty list of extents */
    vch_buf_t *b = &f.body;
    KIT_OK(vch_cbor_array(b, 1));
    KIT_OK(vch_cbor_map(b, 5));
    KIT_OK(vch_cbor_uint(b, VCH_F_EXTENT_ID));
    KIT_OK(vch_cbor_bytes(b, id, 32));
    KIT_OK(vch_cbor_uint(b, VCH_F_EXTENT_COUNT));
    KIT_OK(vch_cbor_uint(b, VAULT_ROWS));
    KIT_OK(vch_cbor_uint(b, VCH_F_EXTENT_FIRST));
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_uint(b, VCH_F_EXTENT_ROWS_ROOT));
    KIT_OK(vch_cbor_bytes(b, rows, 32));
    KIT_OK(vch_cbor_uint(b, VCH_F_EXTENT_VAULT));
    KIT_OK(vch_holding_put(b, &holding, (const uint8_t(*)[VCH_SIG_LEN])signature));
    kit_list(&f, VCH_F_VERSION_BITMAP, 0);
    return say_version(h, &f);
}

static bool destroyed(history_t *h, unsigned who, const vch_id_t *erase, const uint8_t extent[32])
{
    kit_fields_t f = kit_fields();
    kit_id(&f, VCH_F_DESTROYED_ERASE, erase->b);
    vch_buf_t *b = kit_list(&f, VCH_F_DESTROYED_EXTENTS, 1);
    KIT_OK(vch_cbor_bytes(b, extent, 32));
    kit_uint(&f, VCH_F_DESTROYED_GRADE, VCH_GRADE_B);
    return say(h, who, VCH_KIND_KEY_DESTROYED, kit_done(&f));
}

static void erase_some(history_t *h, const uint8_t extent[32])
{
    vch_id_t erase;
    for (uint32_t subject = 0; subject < 8; subject++) {
        vch_signer_t *key = subject % 2 ? world_owner(subject) : NULL;
        must(say(h, 0, VCH_KIND_ERASE, change_fields(h, VCH_KIND_ERASE, subject, ++h->serial[subject], key)), h);
        vch_signer_free(key);
        erase = h->w->last;
        for (unsigned who = 0; who < 1 + subject % 3; who++) must(destroyed(h, who, &erase, extent), h);
        must(!destroyed(h, 0, &erase, extent), h);
        must(!say(h, 0, VCH_KIND_ERASE, change_fields(h, VCH_KIND_ERASE, subject, h->serial[subject] + 1, NULL)), h);
        if (subject % 3 == 0) close_block(h);
    }
}

static void vault(history_t *h)
{
    const uint8_t id[32] = {7, 1}, other[32] = {8, 1};
    must(!vault_version(h, id, true), h);
    must(vault_version(h, id, false), h);
    must(!vault_version(h, id, false), h);
    close_block(h);
    erase_some(h, id);
    must(vault_version(h, other, false), h);
}

/* ---- own access: after all that, so that what was there before keeps its roots ---- */

static bool own_access(history_t *h, const vch_id_t *version, uint32_t subject, uint32_t serial, vch_signer_t *key)
{
    kit_fields_t f = kit_fields();
    const uint8_t once[32] = {(uint8_t)subject, (uint8_t)serial};
    kit_id(&f, VCH_F_OWN_VERSION, version->b);
    kit_uint(&f, VCH_F_CONSENT_SUBJECT, subject);
    vch_buf_t *b = kit_list(&f, VCH_F_OWN_GROUPS, 2);
    KIT_OK(vch_cbor_uint(b, 0));
    KIT_OK(vch_cbor_uint(b, 1));
    kit_id(&f, VCH_F_OWN_ONE_TIME_KEY, once);
    put_key(&f, VCH_F_CONSENT_KEY, key);
    put_key_proof(h, &f, subject);
    kit_uint(&f, VCH_F_CONSENT_SERIAL, serial);
    vch_buf_t plain = kit_done(&f), finished;
    vch_buf_init(&finished, 65536);
    KIT_OK(vch_owner_sign(&finished, &h->w->network, VCH_KIND_OWN_ACCESS, vch_buf_slice(&plain), key, NULL));
    vch_buf_free(&plain);
    return say(h, subject % 3, VCH_KIND_OWN_ACCESS, finished);
}

static void own_accesses(history_t *h)
{
    for (uint32_t i = 0; i < 24; i++) {
        uint32_t subject = owner_subject(i);
        vch_id_t version = i % 2 ? h->latest : *pick(h, &h->versions);
        vch_signer_t *key = world_owner(subject), *other = world_owner(subject + 1);
        must(!own_access(h, &version, subject, h->serial[subject] + 2, key), h);
        must(!own_access(h, &version, subject, h->serial[subject] + 1, other), h);
        must(own_access(h, &version, subject, h->serial[subject] + 1, key), h);
        bool erased = strcmp(h->w->outcome.rule, "deny/erased") == 0;
        if (!erased) h->serial[subject]++;
        must(erased == (subject < 8), h);
        vch_signer_free(key);
        vch_signer_free(other);
        if (i % 5 == 0) close_block(h);
    }
}

/* Every kind must have been accepted, or the history shows less than it says. */
static int summary(history_t *h)
{
    size_t n;
    const vch_schema_t *all = vch_schema_all(&n);
    int missing = 0;
    for (size_t i = 0; i < n; i++) {
        printf("kind %s accepted %u refused %u\n", all[i].name, h->accepted[all[i].kind], h->refused[all[i].kind]);
        if (h->accepted[all[i].kind]) continue;
        fprintf(stderr, "roots: no %s was ever accepted: %s\n", all[i].name, h->w->err.text);
        missing = 1;
    }
    return missing;
}

/* What was accepted gives the same root again, signatures left out and kept. */
static int replay(history_t *h)
{
    vch_kv_t *fresh;
    vch_err_t err = {0};
    vch_hash_t root, again;
    vch_state_info_t i;
    close_block(h);
    vch_state_info(h->w->state, &i);
    root = i.root;
    KIT_OK(vch_kv_open_memory(&fresh, NULL));
    vch_rc rc = world_replay(h->w, fresh, false, &again, &err);
    vch_kv_close(fresh);
    if (rc == VCH_OK && vch_hash_eq(&root, &again)) return 0;
    fprintf(stderr, "roots: the history replays to another root: %s\n", err.text);
    return 1;
}

static int run(bool late)
{
    static history_t h;
    KIT_OK(vch_crypto_start());
    begin(&h);
    for (unsigned i = 0; i < STEPS; i++) {
        step(&h);
        if (late && i == STEPS / 2) {
            close_block(&h);
            h.w->now.ms++;
        }
    }
    close_block(&h);
    vault(&h);
    close_block(&h);
    own_accesses(&h);
    close_block(&h);
    int bad = summary(&h) | replay(&h);
    vch_free(h.leaf);
    vch_free(h.scratch);
    vch_free(h.serial);
    world_free(h.w);
    return bad;
}

int main(int argc, char **argv)
{
    static const char *const name[] = {"auto", "portable", "ni", "avx512"};
    static const vch_sha_path_t path[] = {VCH_SHA_AUTO, VCH_SHA_PORTABLE, VCH_SHA_NI, VCH_SHA_AVX512};
    const char *wanted = argc > 1 ? argv[1] : "auto";
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(wanted, name[i]) != 0) continue;
        if (vch_sha256_use(path[i])) return run(argc > 2 && strcmp(argv[2], "late") == 0);
        fprintf(stderr, "roots: this machine cannot hash by path \"%s\"\n", wanted);
        return 77;
    }
    fputs("usage: roots [auto|portable|ni|avx512] [late]\n", stderr);
    return 2;
}
