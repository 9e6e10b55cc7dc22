/* SPDX-License-Identifier: Apache-2.0 */
/* The offline verifier against a small ledger made here from its parts: a log
 * of twenty leaves, one state, two checkpoints.  What a world does wrong, or a
 * bundle leaves out, is a switch; so each verdict has its twin. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "codec/cbor.h"
#include "entry/entry.h"
#include "entry/holding.h"
#include "entry/note.h"
#include "entry/value.h"
#include "merkle/smt.h"
#include "merkle/tree.h"
#include "vouchsafe/verify.h"

#define DO(call) assert_int_equal((call), VCH_OK)
#define ORIGIN "test.example/log"
#define T0 1700000000000u
#define LATER_MS 600000u /* from the request to the run */
#define LIFE_MS 900000u
#define SUBJECTS 10
#define ARENA (24u << 20)

enum { LOG, WITNESS, WITNESS2, USER, USER2, CUSTODIAN, OWNER, STRANGER, TRUSTEE, SIGNERS = TRUSTEE + 3 };
/* What a world can do wrong. */
typedef enum {
    HONEST,
    LIE_COUNT, /* the outcome permits one row more than the consents do */
    LIE_RULE,
    LIE_LIFE,   /* the grant lives longer than genesis says */
    LIE_SUBSET, /* the run uses a row that was not permitted */
    LIE_RUN_COUNT,
    LIE_TIME,    /* the second block is older than the first */
    LIE_EXPIRED, /* the run begins after its grant's end */
    LIE_DIGEST,  /* the run put out another model */
    LIE_FAILED,  /* the run failed */
    LIE_PARTY,   /* the run's end is signed by somebody else */
    LIE_MODEL,   /* the decision names another model */
    LIE_NUMBER,  /* a decision has another number */
    LIE_DECISION_TIME,
    LIE_AHEAD,         /* the batch ends five minutes and a millisecond after its block */
    LIE_SKEW,          /* not a lie: five minutes sharp */
    LIE_OWNER,         /* the owner's signature is another's */
    LIE_NETWORK,       /* one entry of another network */
    LIE_ORIGIN,        /* genesis names another log */
    LIE_BLOCK,         /* a state-commit covers other entries */
    LIE_REVOKED,       /* the request's key was revoked */
    LIE_IMPORT,        /* not a lie: the model is an import */
    LIE_DENIED,        /* not a lie: purpose that nobody consented to */
    LIE_OWN,           /* not a lie: what subject 5 said last is its own access */
    LIE_OWN_ELSEWHERE, /* of a version of another dataset */
    LIE_OWN_KEY,       /* signed by somebody else */
    LIE_LATE,          /* cosigned an hour later */
    /* Of the erasures: "last" is the third trustee's word on subject 3. */
    LIE_SILENT,        /* not a lie: there is no last word */
    LIE_QUIET,         /* not a lie: nor the second */
    LIE_GRADE,         /* not a lie: the last is of grade B */
    LIE_WORD_GRADE,    /* the last says B, the state A */
    LIE_WORD_STRANGER, /* the last is signed by no trustee */
    LIE_WORD_ERASE,    /* the last is of another erasure */
    LIE_WORD_NETWORK,  /* the last is of another network */
    LIE_WORD_EXTENT,   /* the last is of the second extent alone */
    LIE_UNSAID,        /* the state doesn't hold the last */
    LIE_UNHEARD,       /* the state holds a last that nobody signed */
    LIE_ERASE_SIGNED,  /* the erasure is signed with another key than it names */
    LIE_ERASE_KEY,     /* it is signed with a key that isn't the subject's */
    LIE_ERASE_BY,      /* recorded by somebody who isn't the custodian */
    LIE_ERASE_OTHER,   /* the state names another subject's erasure */
    LIE_CLEAR,         /* not a lie: the second extent isn't in the vault */
    LIE_HOLDING,       /* who holds the second extent is malformed */
    LIE_REACH,         /* the second extent came after the erasure */
    LIE_NO_ROWS        /* not a lie: subject 8, not 9, was erased, and never had a row */
} lie_t;

#define LEAVES 20
#define OLD_LEAVES 12 /* before the erasures */
#define ITEMS_MAX 48
typedef struct {
    vch_buf_t bytes;
    vch_buf_t st;
    vch_id_t object;
} log_leaf_t;

typedef struct {
    vch_state_key_t key;
    vch_buf_t value;
} value_t;

typedef struct {
    vch_smt_page_id_t id;
    vch_buf_t bytes;
} page_t;

typedef struct {
    lie_t lie;
    vch_signer_t *signer[SIGNERS];
    vch_hash_t network;
    log_leaf_t leaf[LEAVES];
    size_t leaves;
    value_t value[ITEMS_MAX];
    size_t values;
    page_t page[512];
    size_t pages;
    vch_hash_t state_root;
    vch_id_t dataset, version, party, custodian, erase[2];
    vch_hash_t terms, extent[2], rows_root;
    vch_hash_t commitment[8][2]; /* of extent 0 */
    vch_cell_t cell[VCH_CHUNK];
    uint8_t flat[2 * VCH_CHUNK];
    vch_hash_t cells_root;
    uint8_t live[512], permitted[512], used[512], list[16];
    vch_hash_t live_root, permitted_root, used_root, digest;
    uint64_t permitted_n;
    vch_buf_t decision[3];
    vch_buf_t note[2];
} world_t;

enum { AT_REQUEST = 3, AT_RUN = 6, AT_MODEL = 8, AT_BATCH = 10, AT_STATE = 2 };
enum { AT_ERASE = 12, AT_ERASE2, AT_WORDS, AT_LAST_WORD = 16, AT_WORDS2, AT_END = LEAVES - 1 };

static void must(bool ok) { assert_true(ok); }

static vch_hash_t hash_of(const char *s)
{
    vch_hash_t h;
    vch_sha256(&h, s, strlen(s));
    return h;
}

/* A log that signs anything: one byte of a state value, of a statement before
 * it is signed, or of a leaf that nobody signs is another one. */
enum { SPOIL_NOTHING, SPOIL_VALUE, SPOIL_STATEMENT, SPOIL_LEAF };
static struct {
    int what;
    size_t number, at, n; /* n: how many bytes there are, to be told */
} spoil;

static void spoil_bytes(int what, size_t number, vch_buf_t *b)
{
    if (spoil.what != what || spoil.number != number) return;
    spoil.n = b->n;
    if (spoil.at < b->n) b->p[spoil.at] = spoil.at % 2 ? 0xff : b->p[spoil.at] ^ 1;
}

/* ---- fields ------------------------------------------------------------------------ */

static void f_u(vch_buf_t *b, uint64_t key, uint64_t v)
{
    DO(vch_cbor_uint(b, key));
    DO(vch_cbor_uint(b, v));
}
static void f_b(vch_buf_t *b, uint64_t key, const void *p, size_t n)
{
    DO(vch_cbor_uint(b, key));
    DO(vch_cbor_bytes(b, p, n));
}
static void f_t(vch_buf_t *b, uint64_t key, const char *s)
{
    DO(vch_cbor_uint(b, key));
    DO(vch_cbor_text(b, s, strlen(s)));
}
static void f_list(vch_buf_t *b, uint64_t key, uint64_t n)
{
    DO(vch_cbor_uint(b, key));
    DO(vch_cbor_array(b, n));
}
static vch_buf_t f_map(uint64_t pairs)
{
    vch_buf_t b;
    vch_buf_init(&b, 1u << 20);
    DO(vch_cbor_map(&b, pairs));
    return b;
}

/* ---- the log -------------------------------------------------------------------------- */

static vch_hash_t statement_hash(const log_leaf_t *l)
{
    vch_hash_t h;
    vch_tree_leaf(&h, vch_buf_slice(&l->st));
    return h;
}

static void put_statement(log_leaf_t *l, vch_kind_t kind, vch_buf_t *fields)
{
    uint8_t salt[VCH_SALT_LEN];
    memset(salt, (int)kind, sizeof salt);
    vch_buf_init(&l->st, 1u << 16);
    DO(vch_statement_put(&l->st, kind, salt, vch_buf_slice(fields)));
    vch_buf_free(fields);
}

/* Sign the next leaf's statement as an entry of its own. */
static void close_entry(world_t *w, vch_kind_t kind, int who)
{
    log_leaf_t *l = &w->leaf[w->leaves];
    spoil_bytes(SPOIL_STATEMENT, w->leaves, &l->st);
    vch_slice_t st = vch_buf_slice(&l->st);
    vch_entry_t e;
    vch_err_t err;
    vch_entry_head_t head = {w->network, kind, w->leaves + 1, 0};
    bool last = w->lie == LIE_WORD_NETWORK && w->leaves == AT_LAST_WORD;
    if (last || (w->lie == LIE_NETWORK && kind == VCH_KIND_ACCESS)) head.network = hash_of("elsewhere");
    vch_buf_init(&l->bytes, VCH_ENTRY_BYTES_MAX);
    DO(vch_entry_sign(&l->bytes, &head, &st, 1, w->signer[who], &err));
    DO(vch_entry_read(&e, vch_buf_slice(&l->bytes), &err));
    l->object = vch_object_id(&e.id, 0);
    w->leaves++;
}

static vch_id_t add_entry(world_t *w, vch_kind_t kind, vch_buf_t fields, int who)
{
    log_leaf_t *l = &w->leaf[w->leaves];
    put_statement(l, kind, &fields);
    close_entry(w, kind, who);
    return l->object;
}

static void add_commit(world_t *w, uint64_t height, uint64_t first, uint64_t time)
{
    vch_state_commit_t c = {w->network, height, {time}, first, w->leaves - first, w->state_root, {{0}}};
    if (w->lie == LIE_BLOCK && height == 3) c.count--;
    for (size_t i = 0; i < w->leaves; i++) {
        if (i == 2 || i == 5 || i == 11) vch_tree_leaf(&c.previous, vch_buf_slice(&w->leaf[i].bytes));
    }
    vch_buf_init(&w->leaf[w->leaves].bytes, 4096);
    DO(vch_state_commit_put(&w->leaf[w->leaves].bytes, &c));
    spoil_bytes(SPOIL_LEAF, w->leaves, &w->leaf[w->leaves].bytes);
    w->leaves++;
}

static size_t leaf_hashes(const world_t *w, vch_hash_t *ret, size_t n)
{
    for (size_t i = 0; i < n; i++) vch_tree_leaf(&ret[i], vch_buf_slice(&w->leaf[i].bytes));
    return n;
}

static void sign_checkpoint(world_t *w, size_t number, uint64_t size, uint64_t ms)
{
    vch_hash_t leaf[LEAVES], root;
    vch_buf_t text;
    leaf_hashes(w, leaf, size);
    vch_tree_root_in_place(&root, leaf, size);
    vch_buf_init(&text, 4096);
    vch_buf_init(&w->note[number], 4096);
    DO(vch_checkpoint_put(&text, ORIGIN, size, &root));
    DO(vch_buf_put(&w->note[number], text.p, text.n));
    DO(vch_buf_u8(&w->note[number], '\n'));
    DO(vch_note_sign(&w->note[number], vch_buf_slice(&text), ORIGIN, w->signer[LOG]));
    DO(vch_note_cosign(&w->note[number], vch_buf_slice(&text), "witness", w->signer[WITNESS], ms / 1000 + 1));
    vch_buf_free(&text);
}

/* ---- the state ------------------------------------------------------------------------- */

static page_t *page_of(world_t *w, const vch_smt_page_id_t *id)
{
    for (size_t i = 0; i < w->pages; i++)
        if (w->page[i].id.depth == id->depth && memcmp(w->page[i].id.prefix, id->prefix, 32) == 0) return &w->page[i];
    return NULL;
}
static vch_rc load_page(void *ctx, const vch_smt_page_id_t *id, vch_slice_t *ret)
{
    page_t *p = page_of(ctx, id);
    *ret = p ? vch_buf_slice(&p->bytes) : vch_slice(NULL, 0);
    return VCH_OK;
}
static vch_rc save_page(void *ctx, const vch_smt_page_id_t *id, vch_slice_t page)
{
    world_t *w = ctx;
    page_t *p = page_of(w, id);
    if (!p) {
        assert_true(w->pages < 512);
        p = &w->page[w->pages++];
        p->id = *id;
        vch_buf_init(&p->bytes, 8192);
    }
    vch_buf_clear(&p->bytes);
    return vch_buf_put(&p->bytes, page.p, page.n);
}

static vch_buf_t *new_value(world_t *w, vch_state_key_t key)
{
    value_t *v = &w->value[w->values++];
    v->key = key;
    vch_buf_init(&v->value, 1u << 16);
    return &v->value;
}

static void hash_state(world_t *w)
{
    vch_smt_io_t io = {w, load_page, save_page};
    vch_smt_leaf_t leaf[ITEMS_MAX];
    vch_arena_t scratch;
    vch_arena_init(&scratch, VCH_SMT_SCRATCH_MAX);
    for (size_t i = 0; i < w->values; i++) {
        spoil_bytes(SPOIL_VALUE, i, &w->value[i].value);
        vch_sha256(&leaf[i].path, w->value[i].key.b, w->value[i].key.n);
        vch_sha256(&leaf[i].value_hash, w->value[i].value.p, w->value[i].value.n);
    }
    DO(vch_smt_update(&io, &w->state_root, leaf, w->values, &scratch));
    vch_arena_free(&scratch);
}

static void put_words(vch_buf_t *b, uint64_t key, const char *broad, const char *narrow)
{
    f_list(b, key, 2);
    DO(vch_cbor_map(b, 2));
    f_t(b, 0, broad);
    f_list(b, 1, 0);
    DO(vch_cbor_map(b, 2));
    f_t(b, 0, narrow);
    f_list(b, 1, 1);
    DO(vch_cbor_uint(b, 0));
}

static vch_keyid_t keyid(const world_t *w, int who) { return vch_pubkey_id(vch_signer_public(w->signer[who])); }

static void put_genesis(world_t *w)
{
    vch_buf_t *b = new_value(w, vch_key_plain('g'));
    vch_keyid_t id = keyid(w, CUSTODIAN);
    vch_slice_t key = vch_pubkey_bytes(vch_signer_public(w->signer[CUSTODIAN]));
    DO(vch_cbor_map(b, 7));
    f_t(b, 0, w->lie == LIE_ORIGIN ? "other.example/log" : ORIGIN);
    f_u(b, 1, 1);
    f_list(b, 2, 1);
    DO(vch_cbor_map(b, 3));
    f_t(b, 0, "clinic");
    f_u(b, 1, 1);
    f_list(b, 2, 1);
    DO(vch_cbor_bytes(b, key.p, key.n));
    f_list(b, 3, 1);
    DO(vch_cbor_bytes(b, id.b, 32));
    f_u(b, 4, LIFE_MS);
    put_words(b, 5, "research", "cancer-research");
    put_words(b, 6, "use", "train");
}

static void put_key(world_t *w, int who, const vch_id_t *party)
{
    vch_keyid_t id = keyid(w, who);
    vch_key_value_t v = {.party = *party, .key = vch_pubkey_bytes(vch_signer_public(w->signer[who]))};
    v.revoked = w->lie == LIE_REVOKED && who == USER;
    DO(vch_key_put(new_value(w, vch_key_id('k', id.b)), &v));
}

static void put_terms(world_t *w)
{
    vch_buf_t b = f_map(6);
    f_u(&b, 0, 1);
    f_t(&b, 1, "research only");
    f_u(&b, 2, VCH_EFFECT_PERMIT);
    f_list(&b, 3, 0);
    f_list(&b, 4, 1);
    DO(vch_cbor_text(&b, "research", 8));
    f_list(&b, 5, 0);
    vch_sha256(&w->terms, b.p, b.n);
    DO(vch_buf_put(new_value(w, vch_key_id('t', w->terms.b)), b.p, b.n));
    vch_buf_free(&b);
}

/* Extent 0: 8 rows, row r is subject r; extent 1: 4 rows of subjects 9, 3, 1, 5. */
static void put_extents(world_t *w)
{
    static const uint32_t subjects[4] = {9, 3, 1, 5};
    vch_hash_t row[8];
    for (uint8_t r = 0; r < 8; r++) {
        uint8_t salt[VCH_ROW_SALT_LEN] = {r};
        char text[8];
        for (uint8_t g = 0; g < 2; g++) {
            salt[1] = g;
            snprintf(text, sizeof text, "r%ug%u", r, g);
            vch_row_commitment(&w->commitment[r][g], salt, vch_str(text));
        }
        vch_tree_leaf(&row[r], vch_slice(w->commitment[r], 64));
    }
    vch_tree_root_in_place(&w->rows_root, row, 8);
    for (size_t i = 0; i < 4; i++) vch_put_u32(w->list + 4 * i, subjects[i]);
    w->extent[0] = hash_of("extent 0");
    w->extent[1] = hash_of("extent 1");
    vch_extent_value_t e0 = {.id = w->extent[0], .count = 8, .contiguous = true, .rows_root = w->rows_root};
    vch_extent_value_t e1 = {.id = w->extent[1], .count = 4, .rows_root = hash_of("rows")};
    vch_sha256(&e1.subjects_hash, w->list, 16);
    DO(vch_extent_put(new_value(w, vch_key_id_u32('e', w->dataset.b, 0)), &e0));
    DO(vch_extent_put(new_value(w, vch_key_id_u32('e', w->dataset.b, 1)), &e1));
}

static void set_root(vch_hash_t *ret, const uint8_t bits[512])
{
    vch_arena_t scratch;
    vch_arena_init(&scratch, 4096);
    DO(vch_set_root(ret, bits, 512, &scratch));
    vch_arena_free(&scratch);
}

static void put_version(world_t *w)
{
    for (size_t r = 0; r < 8; r++)
        if (r != 2) vch_bit_set(w->live, r);
    for (size_t r = 0; r < 4; r++) vch_bit_set(w->live + 256, r);
    set_root(&w->live_root, w->live);
    vch_version_value_t v = {.dataset = w->dataset, .number = 1, .extents = 2, .live_root = w->live_root, .live = 11};
    DO(vch_version_put(new_value(w, vch_key_id('v', w->version.b)), &v));
    vch_hash_t other = hash_of("another version"), elsewhere = hash_of("another dataset");
    memcpy(v.dataset.b, elsewhere.b, 32);
    if (w->lie == LIE_OWN_ELSEWHERE) DO(vch_version_put(new_value(w, vch_key_id('v', other.b)), &v));
    vch_dataset_value_t d = {
        .custodian = w->custodian, .groups = 2, .versions = 1, .extents = 2, .subjects = SUBJECTS, .palette = 2};
    DO(vch_dataset_put(new_value(w, vch_key_id('d', w->dataset.b)), &d));
}

/* Subjects 0-4 and 7 gave consent, 5 withdrew, 6, 8 and 9 never spoke. */
static void put_column(world_t *w)
{
    static const uint16_t index[SUBJECTS] = {1, 1, 1, 1, 1, 2, 0, 1, 0, 0};
    vch_hash_t leaf[VCH_CHUNK], flat;
    uint16_t column[VCH_CHUNK] = {0};
    for (uint32_t s = 0; s < SUBJECTS; s++) {
        if (index[s]) w->cell[s] = (vch_cell_t){index[s], 1, hash_of("a statement that is not shown")};
        column[s] = index[s];
    }
    w->cell[3].last = statement_hash(&w->leaf[0]);
    w->cell[5] = (vch_cell_t){2, 2, statement_hash(&w->leaf[1])};
    for (size_t i = 0; i < VCH_CHUNK; i++) {
        vch_cell_leaf(&leaf[i], &w->cell[i]);
        vch_put_u16(w->flat + 2 * i, column[i]);
    }
    vch_tree_root_in_place(&w->cells_root, leaf, VCH_CHUNK);
    vch_chunk_flat(&flat, column);
    vch_buf_t *b = new_value(w, vch_key_id_u32('C', w->dataset.b, 0));
    DO(vch_buf_put(b, flat.b, 32));
    DO(vch_buf_put(b, w->cells_root.b, 32));
    vch_palette_value_t gave = {.item = {{w->terms, 30000, VCH_HOW_OWNER}}, .items = 1}, withdrew = {.items = 0};
    DO(vch_palette_put(new_value(w, vch_key_id_u16('c', w->dataset.b, 1)), &gave));
    DO(vch_palette_put(new_value(w, vch_key_id_u16('c', w->dataset.b, 2)), &withdrew));
}

/* ---- the entries --------------------------------------------------------------------------- */

static void make_consent(world_t *w)
{
    vch_buf_t plain = f_map(7), signed_fields;
    vch_slice_t key = vch_pubkey_bytes(vch_signer_public(w->signer[OWNER]));
    vch_err_t err;
    f_b(&plain, 0, w->dataset.b, 32);
    f_u(&plain, 1, 3);
    f_b(&plain, 2, w->terms.b, 32);
    f_u(&plain, 3, 30000);
    f_u(&plain, 16, VCH_HOW_OWNER);
    f_b(&plain, 18, key.p, key.n);
    f_u(&plain, 20, 1);
    vch_buf_init(&signed_fields, 4096);
    DO(vch_owner_sign(&signed_fields, &w->network, VCH_KIND_CONSENT, vch_buf_slice(&plain),
                      w->signer[w->lie == LIE_OWNER ? STRANGER : OWNER], &err));
    vch_buf_free(&plain);
    put_statement(&w->leaf[0], VCH_KIND_CONSENT, &signed_fields);
}

static bool reads_own(const world_t *w) { return w->lie >= LIE_OWN && w->lie <= LIE_OWN_KEY; }

static void make_own_access(world_t *w)
{
    vch_buf_t plain = f_map(6), signed_fields;
    vch_slice_t key = vch_pubkey_bytes(vch_signer_public(w->signer[OWNER]));
    vch_hash_t other = hash_of("another version"), once = hash_of("one-time key");
    f_b(&plain, 0, w->lie == LIE_OWN_ELSEWHERE ? other.b : w->version.b, 32);
    f_u(&plain, 1, 5);
    f_list(&plain, 2, 1);
    DO(vch_cbor_uint(&plain, 0));
    f_b(&plain, 3, once.b, 32);
    f_b(&plain, 18, key.p, key.n);
    f_u(&plain, 20, 2);
    vch_buf_init(&signed_fields, 4096);
    vch_err_t err;
    DO(vch_owner_sign(&signed_fields, &w->network, VCH_KIND_OWN_ACCESS, vch_buf_slice(&plain),
                      w->signer[w->lie == LIE_OWN_KEY ? STRANGER : OWNER], &err));
    vch_buf_free(&plain);
    put_statement(&w->leaf[1], VCH_KIND_OWN_ACCESS, &signed_fields);
}

static void make_withdrawal(world_t *w)
{
    if (reads_own(w)) {
        make_own_access(w);
        return;
    }
    vch_buf_t b = f_map(4);
    f_b(&b, 0, w->dataset.b, 32);
    f_u(&b, 1, 5);
    f_u(&b, 16, VCH_HOW_RECORDED);
    f_u(&b, 20, 2);
    put_statement(&w->leaf[1], VCH_KIND_WITHDRAW, &b);
}

static vch_id_t add_access(world_t *w)
{
    vch_buf_t b = f_map(4);
    f_b(&b, 0, w->version.b, 32);
    f_t(&b, 1, w->lie == LIE_DENIED ? "other" : "cancer-research");
    f_t(&b, 2, "train");
    f_list(&b, 3, 1);
    DO(vch_cbor_uint(&b, 1));
    return add_entry(w, VCH_KIND_ACCESS, b, USER);
}

static void permit(world_t *w)
{
    static const uint32_t subjects[4] = {9, 3, 1, 5};
    for (uint32_t r = 0; r < 12; r++) {
        uint32_t e = r / 8, row = r % 8, subject = e ? subjects[row] : row;
        if (!vch_bit(w->live + 256 * e, row) || w->cell[subject].index != 1 || w->lie == LIE_DENIED) continue;
        vch_bit_set(w->permitted + 256 * e, row);
        w->permitted_n++;
    }
    if (w->lie == LIE_COUNT) {
        vch_bit_set(w->permitted, 6);
        w->permitted_n++;
    }
    set_root(&w->permitted_root, w->permitted);
}

static void add_outcome(world_t *w, const vch_id_t *request)
{
    vch_outcome_t o = {.network = w->network, .request = *request, .permit = w->lie != LIE_DENIED};
    permit(w);
    snprintf(o.rule, sizeof o.rule, "%s",
             w->lie == LIE_RULE     ? "permit/other"
             : w->lie == LIE_DENIED ? "deny/purpose"
                                    : "permit/terms");
    o.set_root = w->permitted_root;
    o.count = w->permitted_n;
    o.expires.ms = T0 + 1000 + LIFE_MS + (w->lie == LIE_LIFE);
    vch_buf_init(&w->leaf[w->leaves].bytes, 4096);
    DO(vch_outcome_put(&w->leaf[w->leaves].bytes, &o));
    spoil_bytes(SPOIL_LEAF, w->leaves, &w->leaf[w->leaves].bytes);
    w->leaves++;
}

static vch_id_t add_run(world_t *w, const vch_id_t *grant)
{
    memcpy(w->used, w->permitted, 512);
    vch_bit_clear(w->used, 0);
    if (w->lie == LIE_SUBSET) {
        vch_bit_clear(w->used, 1);
        vch_bit_set(w->used, 5);
    }
    set_root(&w->used_root, w->used);
    vch_hash_t h = hash_of("anything");
    vch_buf_t b = f_map(8);
    f_list(&b, 0, 1);
    DO(vch_cbor_bytes(&b, grant->b, 32));
    f_b(&b, 1, w->used_root.b, 32);
    f_u(&b, 2, w->permitted_n - 1 + (w->lie == LIE_RUN_COUNT));
    f_b(&b, 3, h.b, 32);
    f_b(&b, 4, h.b, 32);
    f_t(&b, 5, "");
    f_b(&b, 7, h.b, 32);
    f_t(&b, 8, "run one");
    return add_entry(w, VCH_KIND_RUN, b, USER);
}

static void add_run_end(world_t *w, const vch_id_t *run)
{
    vch_hash_t digest = w->lie == LIE_DIGEST ? hash_of("another") : w->digest;
    vch_buf_t b = f_map(4);
    f_b(&b, 0, run->b, 32);
    f_u(&b, 1, w->lie == LIE_FAILED ? VCH_RUN_FAILED : VCH_RUN_COMPLETED);
    f_list(&b, 2, 0);
    f_list(&b, 3, 1);
    DO(vch_cbor_map(&b, 3));
    f_t(&b, 0, "model.bin");
    f_b(&b, 1, digest.b, 32);
    f_u(&b, 2, 100);
    add_entry(w, VCH_KIND_RUN_END, b, w->lie == LIE_PARTY ? CUSTODIAN : USER2);
}

static vch_id_t add_model(world_t *w, const vch_id_t *run)
{
    vch_buf_t b = f_map(w->lie == LIE_IMPORT ? 2 : 3);
    if (w->lie != LIE_IMPORT) f_b(&b, 0, run->b, 32);
    f_b(&b, 1, w->digest.b, 32);
    f_t(&b, 2, "net\x1b[31m");
    return add_entry(w, VCH_KIND_MODEL, b, USER);
}

static vch_id_t add_deployment(world_t *w, const vch_id_t *model)
{
    vch_buf_t b = f_map(2);
    f_b(&b, 0, model->b, 32);
    f_t(&b, 1, "ward 4");
    return add_entry(w, VCH_KIND_DEPLOYMENT, b, USER);
}

static void add_batch(world_t *w, const vch_id_t *deployment)
{
    vch_hash_t leaf[3], root;
    for (uint64_t i = 0; i < 3; i++) {
        vch_decision_t d = {
            .sequence = 17 + i, .time = {T0 + 5000 + i}, .model = w->digest, .output = vch_str("benign")};
        if (w->lie == LIE_MODEL && i == 1) d.model = hash_of("another");
        if (w->lie == LIE_NUMBER && i == 1) d.sequence = 30;
        if (w->lie == LIE_DECISION_TIME && i == 1) d.time.ms = T0 + 9000;
        vch_buf_init(&w->decision[i], 8192);
        DO(vch_decision_put(&w->decision[i], &d));
        vch_tree_leaf(&leaf[i], vch_buf_slice(&w->decision[i]));
    }
    vch_tree_root_in_place(&root, leaf, 3);
    vch_buf_t b = f_map(7);
    f_b(&b, 0, deployment->b, 32);
    f_u(&b, 1, 17);
    f_u(&b, 2, 3);
    f_b(&b, 3, root.b, 32);
    f_u(&b, 4, T0 + 5000);
    uint64_t block_ms = T0 + 1000 + LATER_MS;
    f_u(&b, 5,
        w->lie == LIE_AHEAD  ? block_ms + VCH_CLOCK_SKEW_MS + 1
        : w->lie == LIE_SKEW ? block_ms + VCH_CLOCK_SKEW_MS
                             : T0 + 5002);
    f_u(&b, 6, 0);
    add_entry(w, VCH_KIND_DECISIONS, b, USER);
}

static void make_keys(world_t *w)
{
    vch_err_t err;
    DO(vch_crypto_start());
    for (int i = 0; i < SIGNERS; i++) {
        uint8_t seed[32] = {(uint8_t)(i + 1)};
        DO(vch_signer_new(&w->signer[i], i == OWNER ? VCH_ALG_P256 : VCH_ALG_ED25519, seed, &err));
    }
}

/* ---- the erasures ---------------------------------------------------------------------------
 *
 *   12  erase subject 3, signed by the owner         14, 15, 16  the three trustees' words on it
 *   13  erase subject 9, on the custodian's word     17, 18      two trustees' words on it
 *
 * Subject 3 has rows in both extents, subject 9 in the second. */

static void erase_by_owner(world_t *w)
{
    vch_buf_t plain = f_map(5), signed_fields;
    const vch_signer_t *named = w->signer[w->lie == LIE_ERASE_KEY ? STRANGER : OWNER];
    vch_slice_t key = vch_pubkey_bytes(vch_signer_public(named));
    vch_err_t err;
    f_b(&plain, 0, w->dataset.b, 32);
    f_u(&plain, 1, 3);
    f_u(&plain, 16, VCH_HOW_OWNER);
    f_b(&plain, 18, key.p, key.n);
    f_u(&plain, 20, 2);
    vch_buf_init(&signed_fields, 4096);
    DO(vch_owner_sign(&signed_fields, &w->network, VCH_KIND_ERASE, vch_buf_slice(&plain),
                      w->lie == LIE_ERASE_SIGNED ? w->signer[STRANGER] : named, &err));
    vch_buf_free(&plain);
    w->erase[0] = add_entry(w, VCH_KIND_ERASE, signed_fields, CUSTODIAN);
}

static void erase_on_word(world_t *w)
{
    vch_buf_t b = f_map(4);
    f_b(&b, 0, w->dataset.b, 32);
    f_u(&b, 1, w->lie == LIE_NO_ROWS ? 8 : 9);
    f_u(&b, 16, VCH_HOW_RECORDED);
    f_u(&b, 20, 1);
    w->erase[1] = add_entry(w, VCH_KIND_ERASE, b, w->lie == LIE_ERASE_BY ? USER : CUSTODIAN);
}

/* Trustees count from 0. */
static void add_word(world_t *w, const vch_id_t *erase, int trustee, uint64_t grade, bool both, int who)
{
    vch_buf_t b = f_map(3);
    f_b(&b, 0, erase->b, 32);
    f_list(&b, 1, both ? 2 : 1);
    if (both) DO(vch_cbor_bytes(&b, w->extent[0].b, 32));
    DO(vch_cbor_bytes(&b, w->extent[1].b, 32));
    f_u(&b, 2, grade);
    add_entry(w, VCH_KIND_KEY_DESTROYED, b, who < 0 ? TRUSTEE + trustee : who);
}

static void put_word(world_t *w, const vch_id_t *erase, unsigned extent, int trustee, uint8_t grade)
{
    vch_keyid_t id = keyid(w, TRUSTEE + trustee);
    vch_state_key_t key = vch_destroyed_key(erase, &w->extent[extent], &id);
    DO(vch_buf_u8(new_value(w, key), grade));
}

static void put_erasure(world_t *w, uint32_t subject, const vch_id_t *erase)
{
    vch_erasure_value_t v = {.erase = *erase, .extents = w->lie == LIE_REACH ? 1 : 2};
    DO(vch_erasure_put(new_value(w, vch_key_id_u32('z', w->dataset.b, subject)), &v));
}

static void put_holding(world_t *w, uint32_t number)
{
    static const uint8_t signature[9][VCH_SIG_LEN];
    vch_holding_t h = {.n = 3, .t = 2, .sets = 3, .k = 2, .nodes = 3};
    for (int i = 0; i < 3; i++) {
        h.trustee[i] = keyid(w, TRUSTEE + i);
        memset(h.storage[i].b, 0x50 + i, 32);
    }
    if (w->lie == LIE_CLEAR && number == 1) return;
    vch_buf_t *b = new_value(w, vch_key_id_u32('w', w->dataset.b, number));
    DO(vch_holding_put(b, &h, signature));
    if (w->lie == LIE_HOLDING && number == 1) b->n -= 34; /* without its last field */
}

static bool says_nothing(const world_t *w, int trustee)
{
    return (w->lie == LIE_SILENT && trustee == 2) || (w->lie == LIE_QUIET && trustee > 0);
}

static void add_words(world_t *w)
{
    vch_hash_t h = hash_of("another erasure");
    vch_id_t another;
    memcpy(another.b, h.b, 32);
    for (int t = 0; t < 3; t++) {
        bool last = t == 2, silent = says_nothing(w, t) || (last && w->lie == LIE_UNHEARD);
        bool b = last && (w->lie == LIE_GRADE || w->lie == LIE_WORD_GRADE);
        const vch_id_t *erase = silent || (last && w->lie == LIE_WORD_ERASE) ? &another : &w->erase[0];
        add_word(w, erase, t, b ? VCH_GRADE_B : VCH_GRADE_A, !(last && w->lie == LIE_WORD_EXTENT),
                 last && w->lie == LIE_WORD_STRANGER ? STRANGER : -1);
    }
    for (int t = 0; t < 2; t++) add_word(w, &w->erase[1], t, t ? VCH_GRADE_B : VCH_GRADE_A, false, -1);
}

static void put_words_said(world_t *w)
{
    for (unsigned e = 0; e < 2; e++)
        for (int t = 0; t < 3; t++) {
            bool b = t == 2 && w->lie == LIE_GRADE;
            if (says_nothing(w, t) || (t == 2 && w->lie == LIE_UNSAID)) continue;
            put_word(w, &w->erase[0], e, t, b ? VCH_GRADE_B : VCH_GRADE_A);
        }
    for (int t = 0; t < 2; t++) put_word(w, &w->erase[1], 1, t, t ? VCH_GRADE_B : VCH_GRADE_A);
}

/* Before the state, which holds their ids. */
static void make_erasures(world_t *w)
{
    vch_keyid_t owner = keyid(w, OWNER);
    w->leaves = AT_ERASE;
    erase_by_owner(w);
    erase_on_word(w);
    add_words(w);
    w->leaves = 0;
    put_erasure(w, 3, w->lie == LIE_ERASE_OTHER ? &w->erase[1] : &w->erase[0]);
    put_erasure(w, w->lie == LIE_NO_ROWS ? 8 : 9, &w->erase[1]);
    DO(vch_buf_put(new_value(w, vch_key_id_u32('S', w->dataset.b, 3)), owner.b, 32));
    put_holding(w, 0);
    put_holding(w, 1);
    put_words_said(w);
}

static void make_state(world_t *w)
{
    vch_hash_t party = hash_of("user party"), other = hash_of("custodian party"), d = hash_of("dataset"),
               v = hash_of("version");
    memcpy(w->dataset.b, d.b, 32);
    memcpy(w->version.b, v.b, 32);
    memcpy(w->party.b, party.b, 32);
    put_terms(w);
    make_consent(w);
    make_withdrawal(w);
    put_genesis(w);
    put_key(w, USER, &w->party);
    put_key(w, USER2, &w->party);
    memcpy(w->custodian.b, other.b, 32);
    put_key(w, CUSTODIAN, &w->custodian);
    put_extents(w);
    put_version(w);
    put_column(w);
    make_erasures(w);
    hash_state(w);
}

static void grow(world_t *w)
{
    uint64_t run_ms = T0 + 1000 + (w->lie == LIE_EXPIRED ? LIFE_MS + 1 : LATER_MS);
    uint64_t late_ms = w->lie == LIE_LATE ? 3600000 : 0;
    close_entry(w, VCH_KIND_CONSENT, CUSTODIAN);
    close_entry(w, reads_own(w) ? VCH_KIND_OWN_ACCESS : VCH_KIND_WITHDRAW, CUSTODIAN);
    add_commit(w, 1, 0, w->lie == LIE_TIME ? T0 + 2000 : T0);
    vch_id_t request = add_access(w);
    add_outcome(w, &request);
    add_commit(w, 2, 3, T0 + 1000);
    vch_id_t run = add_run(w, &request);
    add_run_end(w, &run);
    vch_id_t model = add_model(w, &run), deployment = add_deployment(w, &model);
    add_batch(w, &deployment);
    add_commit(w, 3, 6, run_ms);
    w->leaves = AT_END; /* the erasures are there already */
    add_commit(w, 4, OLD_LEAVES, run_ms);
    sign_checkpoint(w, 0, 6, T0 + 1000 + late_ms);
    sign_checkpoint(w, 1, LEAVES, run_ms + late_ms);
}

static world_t *make_world(lie_t lie)
{
    world_t *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->lie = lie;
    w->network = hash_of("network");
    w->digest = hash_of("model bytes");
    make_keys(w);
    make_state(w);
    grow(w);
    return w;
}

static void free_world(world_t *w)
{
    for (int i = 0; i < SIGNERS; i++) vch_signer_free(w->signer[i]);
    for (size_t i = 0; i < w->leaves; i++) {
        vch_buf_free(&w->leaf[i].bytes);
        vch_buf_free(&w->leaf[i].st);
    }
    for (size_t i = 0; i < w->values; i++) vch_buf_free(&w->value[i].value);
    for (size_t i = 0; i < w->pages; i++) vch_buf_free(&w->page[i].bytes);
    for (size_t i = 0; i < 3; i++) vch_buf_free(&w->decision[i]);
    for (size_t i = 0; i < 2; i++) vch_buf_free(&w->note[i]);
    free(w);
}

/* ---- bundles --------------------------------------------------------------------------------- */

enum { C_DECISION = 1, C_ACCESS, C_CONSENT, C_ROW, C_LINEAGE, C_ERASURE };
/* What to claim and what to leave out. */
typedef struct {
    int type;
    uint64_t subject, state, row; /* of a consent and a row claim */
    bool in_set, whole, attested, chunk_left_out;
    uint64_t erased[2], reach[3], grade; /* of an erasure: subjects, extents */
    size_t erased_n, reach_n;
    int skip;         /* this piece is left out; -1: none */
    int pieces;       /* counts them */
    const char *what; /* the piece left out */
    uint64_t as_of_ms;
} ask_t;

/* Pieces are counted in the order in which they are written. */
static bool keep(ask_t *a, const char *what)
{
    if (a->pieces++ != a->skip) return true;
    a->what = what;
    return false;
}

typedef struct {
    vch_buf_t b;
    uint64_t n;
} list_t;

static list_t new_list(void)
{
    list_t l = {.n = 0};
    vch_buf_init(&l.b, 1u << 20);
    return l;
}
static void put_list(vch_buf_t *out, uint64_t key, list_t *l)
{
    f_list(out, key, l->n);
    DO(vch_buf_put(out, l->b.p, l->b.n));
    vch_buf_free(&l->b);
}

/* A row or erasure claim rests on no block before the newest checkpoint. */
static size_t first_note(const ask_t *a) { return a->type == C_ROW || a->type == C_ERASURE; }

static void put_leaf(const world_t *w, ask_t *a, list_t *out, size_t i)
{
    static const char *const name[LEAVES] = {
        "consent", "withdrawal", "commit 1", "request", "outcome", "commit 2", "run",  "run-end", "model", "deploy",
        "batch",   "commit 3",   "erase 3",  "erase 9", "word",    "word",     "word", "word",    "word",  "commit 4"};
    vch_hash_t leaf[LEAVES], scratch[LEAVES], path[64];
    if (!keep(a, name[i])) return;
    size_t n = vch_tree_path(path, leaf, leaf_hashes(w, leaf, LEAVES), i, scratch);
    bool st = w->leaf[i].st.n && keep(a, "statement");
    DO(vch_cbor_map(&out->b, 5));
    f_u(&out->b, 0, i);
    f_b(&out->b, 1, w->leaf[i].bytes.p, w->leaf[i].bytes.n);
    f_u(&out->b, 2, first_note(a) == 0);
    f_b(&out->b, 3, path, 32 * n);
    f_list(&out->b, 4, st);
    if (st) {
        DO(vch_cbor_map(&out->b, 3));
        f_u(&out->b, 0, 0);
        f_b(&out->b, 1, w->leaf[i].st.p, w->leaf[i].st.n);
        f_b(&out->b, 2, "", 0);
    }
    out->n++;
}

static bool is_erased(const ask_t *a, uint64_t subject)
{
    for (size_t i = 0; i < a->erased_n; i++)
        if (a->erased[i] == subject) return true;
    return false;
}

/* Words that nobody asked for aren't put in; nor are those of trustees who said nothing. */
static bool leaf_wanted(const world_t *w, const ask_t *a, size_t i)
{
    bool first = is_erased(a, 3), second = is_erased(a, 9) || is_erased(a, 8);
    if (i < OLD_LEAVES) return false;
    if (i == AT_ERASE) return first;
    if (i == AT_ERASE2) return second || (first && w->lie == LIE_ERASE_OTHER);
    if (i == AT_LAST_WORD && w->lie == LIE_UNHEARD) return false;
    if (i >= AT_WORDS && i <= AT_LAST_WORD) return first && !says_nothing(w, (int)i - AT_WORDS);
    return i == AT_END || second;
}

static void put_leaves(const world_t *w, ask_t *a, vch_buf_t *b)
{
    list_t l = new_list();
    bool chain = a->type == C_DECISION || a->type == C_LINEAGE, row = a->type == C_ROW;
    for (size_t i = 0; i < LEAVES; i++) {
        bool wanted = i == AT_STATE;
        if (i < 2) wanted = a->type == C_CONSENT && a->subject == (i ? 5 : 3);
        if (i >= 3 && i <= 5) wanted = chain || row || a->type == C_ACCESS;
        if (row && i > 3) wanted = false;
        if (i >= 6) wanted = (chain && (a->type == C_DECISION || (i != 9 && i != 10))) || (row && (i == 6 || i == 11));
        if (w->lie == LIE_IMPORT && i >= 3 && i <= 7) wanted = false;
        if (i >= OLD_LEAVES || a->type == C_ERASURE) wanted = a->type == C_ERASURE && leaf_wanted(w, a, i);
        if (wanted) put_leaf(w, a, &l, i);
    }
    put_list(b, 5, &l);
}

static void put_item(const world_t *w, const ask_t *a, list_t *out, const vch_state_key_t *key, const vch_buf_t *value)
{
    static vch_smt_proof_t p;
    vch_smt_io_t io = {(void *)(uintptr_t)w, load_page, save_page};
    vch_hash_t path;
    vch_sha256(&path, key->b, key->n);
    DO(vch_smt_prove(&io, &w->state_root, &path, &p));
    must((p.end == VCH_SMT_MEMBER) == (value != NULL));
    DO(vch_cbor_map(&out->b, value || p.end == VCH_SMT_OTHER ? 4 : 3));
    f_u(&out->b, 0, a->type == C_ERASURE ? AT_END : AT_STATE);
    f_b(&out->b, 1, key->b, key->n);
    if (value) f_b(&out->b, 2, value->p, value->n);
    f_b(&out->b, 3, p.sibling, 32u * p.depth);
    if (p.end == VCH_SMT_OTHER) f_b(&out->b, 4, &p.leaf, 64);
    out->n++;
}

static const vch_buf_t *value_at(const world_t *w, const vch_state_key_t *key)
{
    for (size_t i = 0; i < w->values; i++)
        if (vch_slice_eq(vch_key_slice(&w->value[i].key), vch_key_slice(key))) return &w->value[i].value;
    return NULL;
}

/* Present or not: an erasure shows both. */
static void put_shown(const world_t *w, ask_t *a, list_t *l, const char *what, vch_state_key_t key)
{
    if (keep(a, what)) put_item(w, a, l, &key, value_at(w, &key));
}

static void put_erased(const world_t *w, ask_t *a, list_t *l, size_t i)
{
    uint64_t subject = a->erased[i];
    put_shown(w, a, l, "z", vch_key_id_u32('z', w->dataset.b, (uint32_t)subject));
    if (subject == 3) put_shown(w, a, l, "S", vch_key_id_u32('S', w->dataset.b, 3));
    for (unsigned e = subject == 3 ? 0 : 1; e < 2; e++)
        for (int t = 0; t < 3 && subject != 8 && !(e == 1 && (w->lie == LIE_CLEAR || w->lie == LIE_REACH)); t++) {
            vch_keyid_t id = keyid(w, TRUSTEE + t);
            put_shown(w, a, l, "Z", vch_destroyed_key(&w->erase[subject != 3], &w->extent[e], &id));
        }
}

static void put_erasure_items(const world_t *w, ask_t *a, list_t *l)
{
    for (size_t i = 0; i < a->erased_n; i++) put_erased(w, a, l, i);
    vch_keyid_t id = keyid(w, w->lie == LIE_ERASE_BY ? USER : CUSTODIAN);
    if (!is_erased(a, 3) || a->erased_n > 1) {
        put_shown(w, a, l, "d", vch_key_id('d', w->dataset.b));
        put_shown(w, a, l, "k of the custodian", vch_key_id('k', id.b));
    }
    for (uint32_t e = 0; e < 2; e++) {
        if (e == 1 && w->lie == LIE_REACH) continue;
        put_shown(w, a, l, "e", vch_key_id_u32('e', w->dataset.b, e));
        if ((e == 1 || is_erased(a, 3)) && !is_erased(a, 8))
            put_shown(w, a, l, "w", vch_key_id_u32('w', w->dataset.b, e));
    }
}

static bool item_wanted(const world_t *w, const ask_t *a, const vch_state_key_t *key)
{
    char tag = (char)key->b[0];
    if (strchr("zZSw", tag)) return false;
    if (a->type == C_CONSENT && tag == 'v') return reads_own(w);
    if (a->type == C_CONSENT) return (tag == 'C' && a->subject < VCH_CHUNK) || tag == 'c';
    if (a->type == C_ROW) return tag == 'v' || tag == 'e';
    return tag == 'k' || !a->attested;
}

static void put_items(const world_t *w, ask_t *a, vch_buf_t *b)
{
    list_t l = new_list();
    if (a->type == C_ERASURE) put_erasure_items(w, a, &l);
    for (size_t i = 0; i < w->values && a->type != C_ERASURE; i++) {
        static char name[128][2];
        if (!item_wanted(w, a, &w->value[i].key)) continue;
        if (a->type == C_CONSENT && w->value[i].key.b[0] == 'c' &&
            w->cell[a->subject % VCH_CHUNK].index != w->value[i].key.b[34])
            continue;
        uint8_t tag = w->value[i].key.b[0] & 127;
        name[tag][0] = (char)tag;
        if (keep(a, name[tag])) put_item(w, a, &l, &w->value[i].key, &w->value[i].value);
    }
    if (a->type == C_CONSENT && a->subject >= VCH_CHUNK) {
        vch_state_key_t key = vch_key_id_u32('C', w->dataset.b, (uint32_t)(a->subject / VCH_CHUNK));
        if (keep(a, "absent C")) put_item(w, a, &l, &key, NULL);
    }
    put_list(b, 6, &l);
}

/* Of who signed a leaf of the bag. */
static bool erasure_key(const world_t *w, const ask_t *a, int who)
{
    if (who == USER) return w->lie == LIE_ERASE_BY;
    if (who == STRANGER) return w->lie == LIE_WORD_STRANGER;
    if (who == CUSTODIAN) return w->lie != LIE_ERASE_BY || is_erased(a, 3);
    if (who == TRUSTEE + 2 && (w->lie == LIE_UNHEARD || w->lie == LIE_WORD_STRANGER)) return false;
    return who == TRUSTEE || (who == TRUSTEE + 1 && (!is_erased(a, 3) || !says_nothing(w, 1) || a->erased_n > 1)) ||
           (who == TRUSTEE + 2 && is_erased(a, 3) && !says_nothing(w, 2));
}

static void put_keys(const world_t *w, ask_t *a, vch_buf_t *b)
{
    static const int who[] = {USER, USER2, CUSTODIAN, TRUSTEE, TRUSTEE + 1, TRUSTEE + 2, STRANGER};
    list_t l = new_list();
    for (size_t i = 0; i < sizeof who / sizeof *who; i++) {
        vch_slice_t key = vch_pubkey_bytes(vch_signer_public(w->signer[who[i]]));
        if (a->type == C_ERASURE) {
            if (!erasure_key(w, a, who[i]) || !keep(a, "key")) continue;
            DO(vch_cbor_bytes(&l.b, key.p, key.n));
            l.n++;
            continue;
        }
        if (i > 2) break;
        if ((a->type == C_CONSENT) != (who[i] == CUSTODIAN) && w->lie != LIE_PARTY) continue;
        if (who[i] == USER2 && a->type != C_DECISION && a->type != C_LINEAGE) continue;
        if (!keep(a, "key")) continue;
        DO(vch_cbor_bytes(&l.b, key.p, key.n));
        l.n++;
    }
    put_list(b, 7, &l);
}

static void put_set(list_t *l, const vch_hash_t *root, const uint8_t bits[512])
{
    DO(vch_cbor_map(&l->b, 2));
    f_b(&l->b, 0, root->b, 32);
    f_b(&l->b, 1, bits, 512);
    l->n++;
}

static void put_disclosed(const world_t *w, ask_t *a, vch_buf_t *b)
{
    list_t sets = new_list(), columns = new_list(), subjects = new_list();
    bool chain = (a->type == C_DECISION || a->type == C_LINEAGE) && w->lie != LIE_IMPORT;
    bool full = !a->attested && (chain || a->type == C_ACCESS);
    if (full && keep(a, "live")) put_set(&sets, &w->live_root, w->live);
    if (chain && keep(a, "set of grant")) put_set(&sets, &w->permitted_root, w->permitted);
    if (chain && keep(a, "set of run")) put_set(&sets, &w->used_root, w->used);
    if (full && keep(a, "column")) {
        DO(vch_cbor_map(&columns.b, 4));
        f_b(&columns.b, 0, w->dataset.b, 32);
        f_u(&columns.b, 1, 0);
        f_b(&columns.b, 2, w->flat, sizeof w->flat);
        f_b(&columns.b, 3, w->cells_root.b, 32);
        columns.n++;
    }
    bool listed = a->type == C_ERASURE && w->lie != LIE_REACH;
    if ((full || listed) && keep(a, "subjects")) {
        DO(vch_cbor_map(&subjects.b, 2));
        f_b(&subjects.b, 0, w->extent[1].b, 32);
        f_b(&subjects.b, 1, w->list, 16);
        subjects.n++;
    }
    put_list(b, 8, &sets);
    put_list(b, 9, &columns);
    put_list(b, 10, &subjects);
}

/* ---- claims ------------------------------------------------------------------------------------ */

static void put_decision_claim(const world_t *w, const ask_t *a, vch_buf_t *b)
{
    vch_hash_t leaf[3], scratch[3], path[64];
    for (size_t i = 0; i < 3; i++) vch_tree_leaf(&leaf[i], vch_buf_slice(&w->decision[i]));
    size_t n = a->whole ? 0 : vch_tree_path(path, leaf, 3, 1, scratch);
    DO(vch_cbor_map(b, 5));
    f_u(b, 0, C_DECISION);
    f_b(b, 1, w->leaf[AT_BATCH].object.b, 32);
    f_u(b, 2, a->whole ? 17 : 18);
    f_list(b, 3, a->whole ? 3 : 1);
    for (size_t i = 0; i < 3; i++)
        if (a->whole || i == 1) DO(vch_cbor_bytes(b, w->decision[i].p, w->decision[i].n));
    f_b(b, 4, path, 32 * n);
}

static void put_consent_claim(const world_t *w, const ask_t *a, vch_buf_t *b)
{
    static vch_hash_t leaf[VCH_CHUNK], scratch[VCH_CHUNK];
    vch_hash_t path[64];
    uint8_t cell[VCH_CELL_LEN];
    bool has_cell = a->subject < VCH_CHUNK;
    for (size_t i = 0; i < VCH_CHUNK; i++) vch_cell_leaf(&leaf[i], &w->cell[i]);
    DO(vch_cbor_map(b, has_cell ? 7 : 5));
    f_u(b, 0, C_CONSENT);
    f_b(b, 1, w->dataset.b, 32);
    f_u(b, 2, a->subject);
    f_u(b, 3, a->state);
    f_u(b, 4, AT_STATE);
    if (!has_cell) return;
    size_t n = vch_tree_path(path, leaf, VCH_CHUNK, a->subject, scratch);
    vch_cell_put(cell, &w->cell[a->subject]);
    f_b(b, 5, cell, sizeof cell);
    f_b(b, 6, path, 32 * n);
}

/* Of extent 0, whose one leaf stands left of extent 1's. */
static void put_row_claim(const world_t *w, const ask_t *a, vch_buf_t *b)
{
    vch_hash_t sibling, row[8], scratch[8], path[64];
    uint8_t salt[VCH_ROW_SALT_LEN] = {(uint8_t)a->row, 1};
    char text[8];
    vch_tree_leaf(&sibling, vch_slice(w->used + 256, 256));
    DO(vch_cbor_map(b, 8));
    f_u(b, 0, C_ROW);
    f_b(b, 1, w->leaf[AT_RUN].object.b, 32);
    f_u(b, 2, 0);
    f_u(b, 3, a->row);
    DO(vch_cbor_uint(b, 4));
    DO(vch_cbor_bool(b, a->in_set));
    f_b(b, 5, w->used, 256);
    f_b(b, 6, sibling.b, 32);
    for (size_t i = 0; i < 8; i++) vch_tree_leaf(&row[i], vch_slice(w->commitment[i], 64));
    size_t n = vch_tree_path(path, row, 8, a->row, scratch);
    DO(vch_cbor_uint(b, 7));
    DO(vch_cbor_map(b, 3));
    f_b(b, 0, w->commitment[a->row], 64);
    f_b(b, 1, path, 32 * n);
    f_list(b, 2, 1);
    snprintf(text, sizeof text, "r%ug1", (unsigned)a->row);
    DO(vch_cbor_map(b, 3));
    f_u(b, 0, 1);
    f_b(b, 1, salt, sizeof salt);
    f_b(b, 2, text, strlen(text));
}

static void put_erasure_claim(const world_t *w, const ask_t *a, vch_buf_t *b)
{
    DO(vch_cbor_map(b, 7));
    f_u(b, 0, C_ERASURE);
    f_b(b, 1, w->dataset.b, 32);
    f_list(b, 2, a->erased_n);
    for (size_t i = 0; i < a->erased_n; i++) DO(vch_cbor_uint(b, a->erased[i]));
    f_list(b, 3, a->reach_n);
    for (size_t i = 0; i < a->reach_n; i++) DO(vch_cbor_uint(b, a->reach[i]));
    f_u(b, 4, a->state);
    f_u(b, 5, a->grade);
    f_u(b, 6, AT_END);
}

static void put_claim(const world_t *w, const ask_t *a, vch_buf_t *b)
{
    DO(vch_cbor_uint(b, 2));
    if (a->type == C_ERASURE) return put_erasure_claim(w, a, b);
    if (a->type == C_DECISION) return put_decision_claim(w, a, b);
    if (a->type == C_CONSENT) return put_consent_claim(w, a, b);
    if (a->type == C_ROW) return put_row_claim(w, a, b);
    DO(vch_cbor_map(b, 2));
    f_u(b, 0, (uint64_t)a->type);
    f_b(b, 1, w->leaf[a->type == C_ACCESS ? AT_REQUEST : AT_MODEL].object.b, 32);
}

static vch_hash_t perfect(const world_t *w, unsigned level, uint64_t n)
{
    vch_hash_t leaf[LEAVES], root;
    leaf_hashes(w, leaf, LEAVES);
    vch_tree_root_in_place(&root, leaf + (n << level), (size_t)1 << level);
    return root;
}
static vch_rc subtree(void *ctx, vch_hash_t *ret, unsigned level, uint64_t n)
{
    *ret = perfect(ctx, level, n);
    return VCH_OK;
}

static vch_buf_t make_bundle(world_t *w, ask_t *a)
{
    vch_buf_t b = f_map(11);
    vch_hash_t path[64];
    size_t n;
    a->pieces = 0;
    a->what = "nothing";
    f_u(&b, 0, 1);
    f_b(&b, 1, w->network.b, 32);
    put_claim(w, a, &b);
    f_list(&b, 3, 2 - first_note(a));
    for (size_t i = first_note(a); i < 2; i++) DO(vch_cbor_bytes(&b, w->note[i].p, w->note[i].n));
    DO(vch_consistency_prove(path, &n, 6, LEAVES, subtree, w));
    f_list(&b, 4, 1 - first_note(a));
    if (first_note(a) == 0) DO(vch_cbor_bytes(&b, path, 32 * n));
    put_leaves(w, a, &b);
    put_items(w, a, &b);
    put_keys(w, a, &b);
    put_disclosed(w, a, &b);
    DO(vch_cbor_check(vch_buf_slice(&b)));
    return b;
}

/* ---- judging ------------------------------------------------------------------------------------- */

typedef enum { TRUST, TRUST_OTHER_LOG, TRUST_OTHER_WITNESS, TRUST_NO_WITNESS } trust_t;

static void put_vkey(vch_buf_t *b, const world_t *w, int who, const char *name, vch_note_type_t type)
{
    DO(vch_vkey_put(b, name, type, vch_signer_public(w->signer[who])->b + 2));
    DO(vch_buf_u8(b, '\n'));
}

static vch_buf_t make_trust(const world_t *w, trust_t t)
{
    vch_buf_t b;
    vch_buf_init(&b, 4096);
    DO(vch_buf_printf(&b, "log "));
    put_vkey(&b, w, t == TRUST_OTHER_LOG ? STRANGER : LOG, ORIGIN, VCH_NOTE_ED25519);
    if (t == TRUST_NO_WITNESS) {
        DO(vch_buf_printf(&b, "quorum none\n"));
        return b;
    }
    DO(vch_buf_printf(&b, "witness w1 "));
    put_vkey(&b, w, t == TRUST_OTHER_WITNESS ? WITNESS2 : WITNESS, t == TRUST_OTHER_WITNESS ? "second" : "witness",
             VCH_NOTE_COSIG_ED25519);
    DO(vch_buf_printf(&b, "quorum w1\n"));
    return b;
}

static uint8_t arena[ARENA];

static vch_report_t judge_in(vch_slice_t bundle, vch_slice_t trust, uint64_t as_of_ms, size_t arena_n)
{
    vch_report_t r;
    vch_err_t err;
    vch_verify_options_t o = {.as_of_ms = as_of_ms};
    memset(&r, 0xa5, sizeof r);
    DO(vch_bundle_verify(&r, bundle.p, bundle.n, (const char *)trust.p, trust.n, &o, arena, arena_n, &err));
    assert_int_equal(r.status, vch_verify_status(r.code));
    return r;
}

static vch_report_t judge(vch_slice_t bundle, vch_slice_t trust, uint64_t as_of_ms)
{
    return judge_in(bundle, trust, as_of_ms, sizeof arena);
}

/* One world, one question, one answer. */
static vch_report_t answer(lie_t lie, ask_t a, trust_t t)
{
    world_t *w = make_world(lie);
    vch_buf_t bundle = make_bundle(w, &a), trust = make_trust(w, t);
    vch_report_t r = judge(vch_buf_slice(&bundle), vch_buf_slice(&trust), a.as_of_ms);
    vch_buf_free(&bundle);
    vch_buf_free(&trust);
    free_world(w);
    return r;
}

static void expect(const vch_report_t *r, vch_verify_code_t code, int recomputed)
{
    if (r->code != code || r->recomputed != recomputed)
        fail_msg("%s (recomputed %d) instead of %s: %s: %s", vch_verify_code(r->code), r->recomputed,
                 vch_verify_code(code), r->claim, r->detail);
}

static ask_t ask(int type)
{
    ask_t a = {.type = type, .subject = 3, .state = 1, .row = 1, .in_set = true, .skip = -1};
    if (type == C_ERASURE) { /* of subjects 3 and 9: provisional, for 9 lacks a word */
        a.erased[0] = 3, a.erased[1] = 9, a.erased_n = 2;
        a.reach[0] = 0, a.reach[1] = 1, a.reach_n = 2;
        a.grade = VCH_GRADE_B;
    }
    return a;
}

static void expect_answer(lie_t lie, ask_t a, vch_verify_code_t code, int recomputed)
{
    vch_report_t r = answer(lie, a, TRUST);
    expect(&r, code, recomputed);
}

/* ---- the tests ------------------------------------------------------------------------------------- */

static void access_is_recomputed(void **state)
{
    (void)state;
    vch_report_t r = answer(HONEST, ask(C_ACCESS), TRUST);
    expect(&r, VCH_V_OK, 1);
    assert_int_equal(r.time_ms, T0 + 1000);
    assert_int_equal(r.newest_size, LEAVES);
    assert_int_equal(r.witnessed, 1);
    assert_non_null(strstr(r.claim, "permitted (permit/terms): 7 rows"));
    r = answer(HONEST, ask(C_ACCESS), TRUST_NO_WITNESS);
    expect(&r, VCH_V_OK, 1);
    assert_int_equal(r.witnessed, 0);
    ask_t a = ask(C_ACCESS);
    a.attested = true;
    expect_answer(HONEST, a, VCH_V_OK, 0);
}

static void wrong_decisions_are_found(void **state)
{
    (void)state;
    expect_answer(LIE_COUNT, ask(C_ACCESS), VCH_V_F_DECISION, 0);
    expect_answer(LIE_RULE, ask(C_ACCESS), VCH_V_F_DECISION, 0);
    expect_answer(LIE_LIFE, ask(C_ACCESS), VCH_V_F_DECISION, 0);
    expect_answer(LIE_REVOKED, ask(C_ACCESS), VCH_V_F_DECISION, 0);
    expect_answer(LIE_DENIED, ask(C_ACCESS), VCH_V_F_DECISION, 0); /* a word outside the vocabulary */
    ask_t a = ask(C_ACCESS);
    a.attested = true; /* without the evidence the lie can't be seen, and isn't called recomputed */
    expect_answer(LIE_COUNT, a, VCH_V_OK, 0);
}

static void lineage_holds(void **state)
{
    (void)state;
    vch_report_t r = answer(HONEST, ask(C_DECISION), TRUST);
    expect(&r, VCH_V_OK, 1);
    assert_non_null(strstr(r.claim, "on 6 permitted rows"));
    assert_null(strchr(r.claim, 27)); /* names are made fit for a terminal */
    ask_t a = ask(C_DECISION);
    a.whole = true;
    r = answer(HONEST, a, TRUST);
    expect(&r, VCH_V_OK, 1);
    assert_non_null(strstr(r.claim, "3 decisions from 17 on"));
    expect_answer(HONEST, ask(C_LINEAGE), VCH_V_OK, 1);
    a = ask(C_LINEAGE);
    a.attested = true;
    expect_answer(HONEST, a, VCH_V_OK, 0);
    a = ask(C_DECISION);
    a.attested = true;
    r = answer(LIE_IMPORT, a, TRUST);
    expect(&r, VCH_V_OK, 0);
    assert_non_null(strstr(r.claim, "unproven import"));
}

static void broken_lineage_is_found(void **state)
{
    (void)state;
    static const struct {
        lie_t lie;
        vch_verify_code_t code;
    } rows[] = {{LIE_SUBSET, VCH_V_F_SUBSET},    {LIE_RUN_COUNT, VCH_V_F_SUBSET}, {LIE_EXPIRED, VCH_V_F_TIME},
                {LIE_DIGEST, VCH_V_F_REFERENCE}, {LIE_FAILED, VCH_V_F_REFERENCE}, {LIE_PARTY, VCH_V_F_REFERENCE},
                {LIE_NETWORK, VCH_V_F_NETWORK},  {LIE_ORIGIN, VCH_V_F_NETWORK},   {LIE_BLOCK, VCH_V_F_REFERENCE},
                {LIE_TIME, VCH_V_F_TIME},        {LIE_COUNT, VCH_V_F_DECISION}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) expect_answer(rows[i].lie, ask(C_LINEAGE), rows[i].code, 0);
    ask_t a = ask(C_DECISION);
    a.whole = true;
    expect_answer(LIE_MODEL, a, VCH_V_F_REFERENCE, 0);
    expect_answer(LIE_NUMBER, a, VCH_V_F_REFERENCE, 0);
    expect_answer(LIE_DECISION_TIME, a, VCH_V_F_TIME, 0);
    expect_answer(LIE_AHEAD, a, VCH_V_F_TIME, 0);
    expect_answer(LIE_SKEW, a, VCH_V_OK, 1);
}

static ask_t consent(uint64_t subject, uint64_t said)
{
    ask_t a = ask(C_CONSENT);
    a.subject = subject;
    a.state = said;
    return a;
}

static void consents_hold(void **state)
{
    (void)state;
    vch_report_t r = answer(HONEST, consent(3, 1), TRUST);
    expect(&r, VCH_V_OK, 0);
    assert_non_null(strstr(r.claim, "in force"));
    assert_non_null(strstr(r.claim, "not judged")); /* an objection is in force, too */
    assert_non_null(strstr(r.claim, "signed by the owner"));
    r = answer(HONEST, consent(5, 2), TRUST);
    expect(&r, VCH_V_OK, 0);
    assert_non_null(strstr(r.claim, "recorded by the custodian"));
    expect_answer(HONEST, consent(6, 0), VCH_V_OK, 0);
    expect_answer(HONEST, consent(5000, 0), VCH_V_OK, 0); /* its chunk is absent */
    for (uint64_t said = 0; said < 3; said++) {
        if (said != 1) expect_answer(HONEST, consent(3, said), VCH_V_F_CLAIM, 0);
        if (said != 2) expect_answer(HONEST, consent(5, said), VCH_V_F_CLAIM, 0);
        if (said != 0) expect_answer(HONEST, consent(6, said), VCH_V_F_CLAIM, 0);
        if (said != 0) expect_answer(HONEST, consent(5000, said), VCH_V_F_CLAIM, 0);
    }
    expect_answer(HONEST, consent(4, 1), VCH_V_I_MISSING, 0); /* its last statement isn't shown */
    expect_answer(LIE_OWNER, consent(3, 1), VCH_V_F_SIGNATURE, 0);
}

/* The last word about a subject may be that it read its own rows, which changes
 * nothing of what it said before. */
static void own_access_is_a_last_word(void **state)
{
    (void)state;
    vch_report_t r = answer(LIE_OWN, consent(5, 2), TRUST);
    expect(&r, VCH_V_OK, 0);
    assert_non_null(strstr(r.claim, "signed by the owner"));
    expect_answer(LIE_OWN, consent(5, 1), VCH_V_F_CLAIM, 0);
    expect_answer(LIE_OWN_KEY, consent(5, 2), VCH_V_F_SIGNATURE, 0);
    expect_answer(LIE_OWN_ELSEWHERE, consent(5, 2), VCH_V_F_REFERENCE, 0);
    world_t *w = make_world(LIE_OWN);
    vch_buf_t trust = make_trust(w, TRUST);
    ask_t a = consent(5, 2);
    vch_buf_t whole = make_bundle(w, &a);
    int pieces = a.pieces;
    for (a.skip = 0; a.skip < pieces; a.skip++) { /* the version it names, too */
        vch_buf_t b = make_bundle(w, &a);
        vch_report_t without = judge(vch_buf_slice(&b), vch_buf_slice(&trust), 0);
        if (without.code != VCH_V_I_MISSING) fail_msg("without %s: %s", a.what, vch_verify_code(without.code));
        vch_buf_free(&b);
    }
    vch_buf_free(&whole);
    vch_buf_free(&trust);
    free_world(w);
}

static void rows_hold(void **state)
{
    (void)state;
    ask_t a = ask(C_ROW);
    vch_report_t r = answer(HONEST, a, TRUST);
    expect(&r, VCH_V_OK, 0);
    assert_non_null(strstr(r.claim, "was in the training set"));
    a.in_set = false;
    expect_answer(HONEST, a, VCH_V_F_CLAIM, 0);
    a.row = 5;
    expect_answer(HONEST, a, VCH_V_OK, 0);
    a.in_set = true;
    expect_answer(HONEST, a, VCH_V_F_CLAIM, 0);
}

/* ---- erasures ---- */

enum { PENDING, PROVISIONAL, COMPLETE };

static ask_t erasure(uint64_t subject, uint64_t said, uint64_t grade)
{
    ask_t a = ask(C_ERASURE);
    a.erased[0] = subject, a.erased_n = 1;
    a.reach[0] = subject != 3;
    a.reach_n = subject == 3 ? 2 : subject == 9;
    a.state = said;
    a.grade = grade;
    return a;
}

static void erasures_hold(void **state)
{
    (void)state;
    vch_report_t r = answer(HONEST, erasure(3, COMPLETE, VCH_GRADE_A), TRUST);
    expect(&r, VCH_V_OK, 0);
    assert_non_null(strstr(r.claim, "subject 3 in dataset"));
    assert_non_null(strstr(r.claim, "signed by the owner: complete, grade A (keys in a token, destroyed there)"));
    assert_int_equal(r.time_ms, T0 + 1000 + LATER_MS);
    r = answer(HONEST, erasure(9, PROVISIONAL, VCH_GRADE_B), TRUST);
    expect(&r, VCH_V_OK, 0);
    assert_non_null(strstr(r.claim, "on the custodian's word: provisional, grade B (files, live copy only)"));
    r = answer(HONEST, ask(C_ERASURE), TRUST); /* the weakest of both */
    expect(&r, VCH_V_OK, 0);
    assert_non_null(strstr(r.claim, "subject 3 and others"));
    assert_non_null(strstr(r.claim, "by owners and the custodian: provisional, grade B"));
    /* nothing else than what was said may be claimed */
    for (uint64_t said = PENDING; said <= COMPLETE; said++)
        for (uint64_t grade = VCH_GRADE_A; grade <= VCH_GRADE_B; grade++) {
            bool same = said == COMPLETE && grade == VCH_GRADE_A;
            expect_answer(HONEST, erasure(3, said, grade), same ? VCH_V_OK : VCH_V_F_CLAIM, 0);
            same = said == PROVISIONAL && grade == VCH_GRADE_B;
            expect_answer(HONEST, erasure(9, said, grade), same ? VCH_V_OK : VCH_V_F_CLAIM, 0);
            ask_t both = ask(C_ERASURE);
            both.state = said;
            both.grade = grade;
            expect_answer(HONEST, both, same ? VCH_V_OK : VCH_V_F_CLAIM, 0);
        }
}

/* Too few trustees is no lie, but no erasure either. */
static void too_few_words_are_inconclusive(void **state)
{
    (void)state;
    expect_answer(LIE_SILENT, erasure(3, PROVISIONAL, VCH_GRADE_A), VCH_V_OK, 0);
    expect_answer(LIE_SILENT, erasure(3, COMPLETE, VCH_GRADE_A), VCH_V_F_CLAIM, 0);
    expect_answer(LIE_QUIET, erasure(3, PENDING, VCH_GRADE_A), VCH_V_I_ERASURE, 0);
    expect_answer(LIE_QUIET, erasure(3, PROVISIONAL, VCH_GRADE_A), VCH_V_F_CLAIM, 0);
    expect_answer(LIE_CLEAR, erasure(3, PENDING, VCH_GRADE_A), VCH_V_I_ERASURE, 0);
    expect_answer(LIE_CLEAR, erasure(3, COMPLETE, VCH_GRADE_A), VCH_V_F_CLAIM, 0);
    expect_answer(LIE_NO_ROWS, erasure(8, PENDING, VCH_GRADE_B), VCH_V_I_ERASURE, 0);
    expect_answer(LIE_NO_ROWS, erasure(8, COMPLETE, VCH_GRADE_A), VCH_V_F_CLAIM, 0);
    expect_answer(LIE_GRADE, erasure(3, COMPLETE, VCH_GRADE_B), VCH_V_OK, 0);
    expect_answer(LIE_GRADE, erasure(3, COMPLETE, VCH_GRADE_A), VCH_V_F_CLAIM, 0);
}

static void wrong_erasures_are_found(void **state)
{
    (void)state;
    static const struct {
        lie_t lie;
        vch_verify_code_t code;
    } rows[] = {{LIE_WORD_GRADE, VCH_V_F_REFERENCE}, {LIE_WORD_STRANGER, VCH_V_F_REFERENCE},
                {LIE_WORD_ERASE, VCH_V_F_REFERENCE}, {LIE_WORD_NETWORK, VCH_V_F_NETWORK},
                {LIE_WORD_EXTENT, VCH_V_I_MISSING},  {LIE_UNSAID, VCH_V_F_REFERENCE},
                {LIE_UNHEARD, VCH_V_I_MISSING},      {LIE_ERASE_SIGNED, VCH_V_F_SIGNATURE},
                {LIE_ERASE_KEY, VCH_V_F_SIGNATURE},  {LIE_ERASE_OTHER, VCH_V_F_REFERENCE},
                {LIE_HOLDING, VCH_V_F_STATE},        {LIE_REACH, VCH_V_F_CLAIM}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        vch_report_t r = answer(rows[i].lie, erasure(3, COMPLETE, VCH_GRADE_A), TRUST);
        if (r.code != rows[i].code)
            fail_msg("lie %d: %s instead of %s: %s", rows[i].lie, vch_verify_code(r.code),
                     vch_verify_code(rows[i].code), r.detail);
    }
    expect_answer(LIE_ERASE_BY, erasure(9, PROVISIONAL, VCH_GRADE_B), VCH_V_F_REFERENCE, 0);
    expect_answer(HONEST, erasure(4, COMPLETE, VCH_GRADE_A), VCH_V_F_CLAIM, 0); /* it was not erased */
    ask_t a = erasure(3, COMPLETE, VCH_GRADE_A);
    a.reach_n = 1;
    expect_answer(HONEST, a, VCH_V_F_CLAIM, 0); /* it had rows in the second extent, too */
    a = erasure(3, COMPLETE, VCH_GRADE_A);
    a.reach[2] = 2, a.reach_n = 3;
    expect_answer(HONEST, a, VCH_V_F_CLAIM, 0);
    a = erasure(9, PROVISIONAL, VCH_GRADE_B);
    a.reach[0] = 0, a.reach[1] = 1, a.reach_n = 2;
    expect_answer(HONEST, a, VCH_V_F_CLAIM, 0); /* it had none in the first */
    a = ask(C_ERASURE);
    a.erased[0] = 9, a.erased[1] = 3;
    expect_answer(HONEST, a, VCH_V_F_FORMAT, 0); /* not ascending */
    a = ask(C_ERASURE);
    a.erased[1] = 3;
    expect_answer(HONEST, a, VCH_V_F_FORMAT, 0); /* twice the same */
    expect_answer(HONEST, erasure(3, 3, VCH_GRADE_A), VCH_V_F_FORMAT, 0);
    expect_answer(HONEST, erasure(3, COMPLETE, 2), VCH_V_F_FORMAT, 0);
}

static void trust_decides(void **state)
{
    (void)state;
    for (int type = C_DECISION; type <= C_ERASURE; type++) {
        vch_report_t r = answer(HONEST, ask(type), TRUST_OTHER_LOG);
        expect(&r, VCH_V_I_LOG, 0);
        r = answer(HONEST, ask(type), TRUST_OTHER_WITNESS);
        expect(&r, VCH_V_I_QUORUM, 0);
        r = answer(LIE_LATE, ask(type), TRUST);
        expect(&r, VCH_V_I_TIME, 0);
        r = answer(LIE_LATE, ask(type), TRUST_NO_WITNESS);
        expect(&r, VCH_V_OK, r.recomputed);
        ask_t a = ask(type);
        a.as_of_ms = T0 + 1000 + LATER_MS;
        /* A consent is shown in an older block, and a later one may have changed it. */
        expect_answer(HONEST, a, type == C_CONSENT ? VCH_V_I_STALE : VCH_V_OK,
                      type == C_ACCESS || type == C_DECISION || type == C_LINEAGE);
        a.as_of_ms = T0;
        expect_answer(HONEST, a, VCH_V_OK, type == C_ACCESS || type == C_DECISION || type == C_LINEAGE);
        a.as_of_ms = T0 + 3000 + LATER_MS;
        expect_answer(HONEST, a, VCH_V_I_STALE, 0);
    }
    vch_report_t r;
    vch_err_t err;
    assert_int_equal(vch_bundle_verify(&r, (const uint8_t *)"", 0, "log ?", 5, NULL, arena, sizeof arena, &err),
                     VCH_ERR_FORMAT);
    assert_int_not_equal(r.status, VCH_VERIFY_OK);
}

/* Without any one piece the answer is "can't tell", or at the most "attested";
 * never FAIL, for nothing false was shown, and never the full answer. */
static void nothing_is_superfluous(void **state)
{
    (void)state;
    world_t *w = make_world(HONEST);
    vch_buf_t trust = make_trust(w, TRUST);
    for (int type = C_DECISION; type <= C_ERASURE; type++) {
        ask_t a = ask(type);
        vch_buf_t whole = make_bundle(w, &a);
        vch_report_t full = judge(vch_buf_slice(&whole), vch_buf_slice(&trust), 0);
        expect(&full, VCH_V_OK, full.recomputed);
        int pieces = a.pieces;
        for (a.skip = 0; a.skip < pieces; a.skip++) {
            vch_buf_t b = make_bundle(w, &a);
            vch_report_t r = judge(vch_buf_slice(&b), vch_buf_slice(&trust), 0);
            bool attested = r.code == VCH_V_OK && full.recomputed && !r.recomputed;
            bool unused = strcmp(a.what, "k") == 0; /* keys of others, in the state of every world */
            if (r.code != VCH_V_I_MISSING && !attested && !(unused && r.code == VCH_V_OK))
                fail_msg("claim %d without %s: %s %s", type, a.what, vch_verify_code(r.code), r.detail);
            vch_buf_free(&b);
        }
        assert_true(pieces > 4);
        vch_buf_free(&whole);
    }
    vch_buf_free(&trust);
    free_world(w);
}

/* No changed byte is ever accepted.  In the long, uniform parts every 31st is
 * tried, elsewhere each. */
static void no_flip_is_accepted(void **state)
{
    (void)state;
    world_t *w = make_world(HONEST);
    vch_buf_t trust = make_trust(w, TRUST);
    for (int type = C_DECISION; type <= C_ERASURE; type++) {
        ask_t a = ask(type);
        vch_buf_t b = make_bundle(w, &a);
        size_t zeros = 0;
        for (size_t i = 0; i < b.n; i++) {
            zeros = b.p[i] ? 0 : zeros + 1;
            if (zeros > 8 && i % 31) continue;
            uint8_t was = b.p[i];
            b.p[i] ^= (uint8_t)(1u << i % 8);
            vch_report_t r = judge(vch_buf_slice(&b), vch_buf_slice(&trust), 0);
            if (r.status == VCH_VERIFY_OK) fail_msg("claim %d, byte %zu of %zu: %s", type, i, b.n, r.claim);
            b.p[i] = was;
        }
        vch_report_t r = judge(vch_buf_slice(&b), vch_buf_slice(&trust), 0);
        assert_int_equal(r.status, VCH_VERIFY_OK);
        vch_buf_free(&b);
    }
    vch_buf_free(&trust);
    free_world(w);
}

static void cut_short_is_not_accepted(void **state)
{
    (void)state;
    world_t *w = make_world(HONEST);
    vch_buf_t trust = make_trust(w, TRUST);
    ask_t a = ask(C_DECISION);
    vch_buf_t b = make_bundle(w, &a);
    for (size_t n = 0; n < b.n; n += 7) {
        vch_report_t r = judge(vch_slice(b.p, n), vch_buf_slice(&trust), 0);
        expect(&r, VCH_V_F_FORMAT, 0);
    }
    size_t enough = 0;
    for (size_t n = 0; n < sizeof arena && !enough; n += n < 400000 ? 9973 : 99991) {
        vch_report_t r = judge_in(vch_buf_slice(&b), vch_buf_slice(&trust), 0, n);
        if (r.code == VCH_V_OK) enough = n;
        if (!enough) expect(&r, VCH_V_I_MEMORY, 0);
    }
    assert_true(enough > 0 && enough < b.n + (16u << 20)); /* what verify.h promises */
    vch_buf_free(&b);
    vch_buf_free(&trust);
    free_world(w);
}

/* Whatever a log that the policy names signs, there is a verdict; and a
 * spoiled outcome of a recomputed decision is never called OK. */
static void a_hostile_log_gets_a_verdict(void **state)
{
    (void)state;
    size_t ok = 0, not_ok = 0;
    for (int what = SPOIL_VALUE; what <= SPOIL_LEAF; what++)
        for (size_t number = 0; number < (what == SPOIL_VALUE ? ITEMS_MAX : LEAVES); number++) {
            spoil.n = SIZE_MAX;
            for (size_t at = number % 5; at < spoil.n; at += 5) {
                spoil.what = what;
                spoil.number = number;
                spoil.at = at;
                spoil.n = 0;
                ask_t a = ask(number < 2 && what == SPOIL_STATEMENT ? C_CONSENT : C_DECISION);
                if (number == 1) a.subject = 5, a.state = 2;
                if (number >= OLD_LEAVES) a = ask(C_ERASURE);
                vch_report_t r = answer(HONEST, a, TRUST);
                bool spoiled = spoil.n > 0;
                ok += r.code == VCH_V_OK && spoiled;
                not_ok += r.code != VCH_V_OK;
                if (what == SPOIL_LEAF && number == 4 && r.code == VCH_V_OK && r.recomputed)
                    fail_msg("byte %zu of the outcome is another one: %s", at, r.claim);
            }
        }
    spoil.what = SPOIL_NOTHING;
    assert_true(ok > 0 && not_ok > 100);
}

static void codes_are_stable(void **state)
{
    (void)state;
    assert_string_equal(vch_verify_code(VCH_V_F_STATE), "F-STATE");
    assert_int_equal(vch_verify_exit(VCH_VERIFY_OK), 0);
    assert_int_equal(vch_verify_exit(VCH_VERIFY_FAIL), 3);
    assert_int_equal(vch_verify_exit(VCH_VERIFY_INCONCLUSIVE), 4);
    for (int i = 1; i < VCH_V_COUNT; i++) {
        vch_verify_code_t c = (vch_verify_code_t)i;
        assert_int_equal(vch_verify_status(c),
                         vch_verify_code(c)[0] == 'F' ? VCH_VERIFY_FAIL : VCH_VERIFY_INCONCLUSIVE);
    }
    assert_int_equal(vch_verify_status((vch_verify_code_t)999), VCH_VERIFY_INCONCLUSIVE);
}

/* Seeds for fuzz_bundle: a trust policy, a zero byte, a bundle. */
static void write_seeds(const char *folder)
{
    world_t *w = make_world(HONEST);
    vch_buf_t trust = make_trust(w, TRUST);
    for (int type = C_DECISION; type <= C_ERASURE; type++) {
        char path[600];
        ask_t a = ask(type);
        a.attested = type != C_ACCESS;
        vch_buf_t b = make_bundle(w, &a);
        snprintf(path, sizeof path, "%s/claim-%d", folder, type);
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(trust.p, 1, trust.n, f), trust.n);
        assert_int_equal(fputc(0, f), 0);
        assert_int_equal(fwrite(b.p, 1, b.n, f), b.n);
        assert_int_equal(fclose(f), 0);
        vch_buf_free(&b);
    }
    vch_buf_free(&trust);
    free_world(w);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(access_is_recomputed),
        cmocka_unit_test(wrong_decisions_are_found),
        cmocka_unit_test(lineage_holds),
        cmocka_unit_test(broken_lineage_is_found),
        cmocka_unit_test(consents_hold),
        cmocka_unit_test(own_access_is_a_last_word),
        cmocka_unit_test(rows_hold),
        cmocka_unit_test(erasures_hold),
        cmocka_unit_test(too_few_words_are_inconclusive),
        cmocka_unit_test(wrong_erasures_are_found),
        cmocka_unit_test(trust_decides),
        cmocka_unit_test(nothing_is_superfluous),
        cmocka_unit_test(no_flip_is_accepted),
        cmocka_unit_test(cut_short_is_not_accepted),
        cmocka_unit_test(codes_are_stable),
        cmocka_unit_test(a_hostile_log_gets_a_verdict),
    };
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0) {
        write_seeds(argv[2]);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
