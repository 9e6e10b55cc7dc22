/* SPDX-License-Identifier: Apache-2.0 */
/* Random transactions, good and bad, from a seed: what was accepted replays to
 * the same root, whatever was refused in between; a save in the middle changes
 * nothing; consents equal a naive model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <unistd.h>

#include "world.h"

#define ROWS 24
#define STEPS 160

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

typedef struct {
    bool has[3], owner_withdrew;
    bool erased;
    uint32_t said; /* about this subject, and accepted: its serial */
} model_t;

/* The rule of DESIGN's consent life cycle, written the naive way. */
static bool model_takes(model_t *m, bool owner, bool give, int terms)
{
    if (m->erased) return false;
    if (give) {
        if (!owner && m->owner_withdrew) return false;
        m->has[terms] = true;
        if (owner) m->owner_withdrew = false;
        m->said++;
        return true;
    }
    bool any = m->has[0] || m->has[1] || m->has[2];
    if (terms >= 0 ? !m->has[terms] : (!any && !owner)) return false;
    for (int i = 0; i < 3; i++)
        if (terms < 0 || i == terms) m->has[i] = false;
    if (owner) m->owner_withdrew = true;
    m->said++;
    return true;
}

/* Whatever was consented to, the subject reads its one row, until it is erased;
 * a serial that isn't the next one is refused, and nothing is counted. */
static void reads_own(world_t *w, model_t *m, uint32_t subject, uint64_t skew)
{
    world_own_t o = {.subject = subject, .serial = m->said + 1 + (uint32_t)skew};
    vch_rc rc = world_say(w, 1, VCH_KIND_OWN_ACCESS, world_own_access(w, &o));
    assert_int_equal(rc, skew ? VCH_ERR_REPLAY : VCH_OK);
    if (skew) return;
    assert_int_equal(w->outcome.permit, !m->erased);
    assert_int_equal(w->outcome.count, m->erased ? 0 : 1);
    assert_string_equal(w->outcome.rule, m->erased ? "deny/erased" : "permit/own");
    if (m->erased) return;
    m->said++;
    w->serial[subject]++;
}

static void erases(world_t *w, model_t *m, uint32_t subject)
{
    vch_rc rc = world_owner_says(w, VCH_KIND_ERASE, subject, NULL);
    assert_int_equal(rc, m->erased ? VCH_ERR_CONFLICT : VCH_OK);
    if (m->erased) return;
    *m = (model_t){.owner_withdrew = true, .erased = true, .said = m->said + 1};
}

static bool model_permits(const model_t *m) { return m->has[0] && !m->has[1]; }

static void step(world_t *w, model_t *model, uint64_t *seed)
{
    uint32_t subject = (uint32_t)(next_random(seed) % ROWS);
    uint64_t what = next_random(seed) % 12;
    if (what == 10) {
        reads_own(w, &model[subject], subject, next_random(seed) % 4 == 0);
    } else if (what == 11) {
        if (next_random(seed) % 4 == 0) erases(w, &model[subject], subject);
    } else if (what < 7) {
        bool owner = next_random(seed) & 1, give = next_random(seed) % 3 != 0;
        int terms = give ? (int)(next_random(seed) % 3) : (int)(next_random(seed) % 4) - 1;
        vch_kind_t kind = give ? VCH_KIND_CONSENT : VCH_KIND_WITHDRAW;
        const vch_hash_t *t = terms < 0 ? NULL : &w->terms[terms];
        bool expected = model_takes(&model[subject], owner, give, terms);
        vch_rc rc = owner ? world_owner_says(w, kind, subject, t) : world_records(w, kind, subject, t);
        assert_int_equal(rc == VCH_OK, expected);
    } else if (what < 9) {
        uint64_t expected = 0;
        for (int i = 0; i < ROWS; i++) expected += model_permits(&model[i]);
        assert_int_equal(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING), VCH_OK);
        assert_int_equal(w->outcome.count, expected);
    } else {
        vch_state_info_t i;
        vch_state_info(w->state, &i);
        if (i.open_count) world_close(w);
        w->now.ms += next_random(seed) % 1000;
    }
}

static void save_and_reopen(world_t *w)
{
    (void)world_root(w);
    KIT_OK(vch_state_save(w->state, NULL));
    vch_state_free(w->state);
    KIT_OK(vch_state_open(&w->state, w->kv, NULL));
}

/* ---- a save while the history goes on ---- */

typedef struct {
    const vch_state_t *state;
    pthread_t thread;
    bool threads, running;
    vch_rc rc;
    vch_state_info_t at;
} beside_t;

static void *save_beside(void *ctx)
{
    beside_t *b = ctx;
    b->rc = vch_state_save_frozen(b->state, NULL);
    return NULL;
}

static vch_rc count_key(void *ctx, vch_slice_t key, vch_slice_t value)
{
    (void)key;
    (void)value;
    ++*(unsigned *)ctx;
    return VCH_OK;
}

static unsigned sequences(world_t *w)
{
    unsigned n = 0;
    KIT_OK(vch_state_each(w->state, 'q', count_key, &n));
    return n;
}

static void begin_beside(world_t *w, beside_t *b)
{
    (void)world_root(w);
    unsigned before = sequences(w);
    vch_state_info(w->state, &b->at);
    KIT_OK(vch_state_freeze(w->state, NULL));
    assert_int_equal(vch_state_freeze(w->state, NULL), VCH_ERR_CONFLICT);
    assert_int_equal(sequences(w), before);
    b->state = w->state;
    b->running = true;
    if (b->threads)
        assert_int_equal(pthread_create(&b->thread, NULL, save_beside, b), 0);
    else
        (void)save_beside(b);
}

/* The index is now what the state was when it was frozen. */
static void end_beside(world_t *w, beside_t *b)
{
    vch_state_t *saved;
    vch_state_info_t at;
    if (!b->running) return;
    if (b->threads) pthread_join(b->thread, NULL);
    b->running = false;
    KIT_OK(b->rc);
    unsigned before = sequences(w);
    vch_state_drop_frozen(w->state);
    assert_int_equal(sequences(w), before);
    KIT_OK(vch_state_open(&saved, w->kv, NULL));
    vch_state_info(saved, &at);
    assert_int_equal(at.applied, b->at.applied);
    assert_memory_equal(at.root.b, b->at.root.b, 32);
    vch_state_free(saved);
}

/* `threads`: this index may be read while another thread writes to it. */
static void one_history(uint64_t seed, vch_kv_t *kv, bool threads)
{
    model_t model[ROWS] = {0};
    beside_t beside = {.threads = threads};
    world_t *w = world_new_on(ROWS, kv);
    uint64_t s = seed;
    for (int i = 0; i < STEPS; i++) {
        step(w, model, &s);
        uint64_t what = next_random(&s) % 40;
        if (what < 3) end_beside(w, &beside);
        if (what == 0) save_and_reopen(w);
        if (what == 1) begin_beside(w, &beside);
    }
    end_beside(w, &beside);
    vch_hash_t root = world_root(w), again = {{0}};
    for (uint32_t i = 0; i < ROWS; i++) {
        vch_cell_t cell;
        KIT_OK(vch_state_cell(w->state, &w->dataset, i, &cell, NULL));
        assert_int_equal(cell.serial, model[i].said);
    }
    for (int full = 0; full < 2; full++) {
        vch_kv_t *fresh;
        vch_err_t err = {0};
        KIT_OK(vch_kv_open_memory(&fresh, NULL));
        vch_rc rc = world_replay(w, fresh, full, &again, &err);
        if (rc != VCH_OK) print_message("seed %llu: %s\n", (unsigned long long)seed, err.text);
        assert_int_equal(rc, VCH_OK);
        assert_memory_equal(root.b, again.b, 32);
        vch_kv_close(fresh);
    }
    world_free(w);
}

static unsigned scaled(unsigned n)
{
    const char *percent = getenv("VOUCHSAFE_TEST_SCALE");
    unsigned long p = percent ? strtoul(percent, NULL, 10) : 100;
    return (unsigned)(n * p / 100 > 0 ? n * p / 100 : 1);
}

static void histories_replay_in_memory(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= scaled(20); seed++) {
        vch_kv_t *kv;
        KIT_OK(vch_kv_open_memory(&kv, NULL));
        one_history(seed * 0x9e3779b97f4a7c15u, kv, false);
    }
}

static void histories_replay_on_lmdb(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= scaled(5); seed++) {
        char path[] = "/tmp/vch-state-XXXXXX", file[64], lock[64];
        assert_non_null(mkdtemp(path));
        snprintf(file, sizeof file, "%s/data.mdb", path);
        snprintf(lock, sizeof lock, "%s/data.mdb-lock", path);
        vch_kv_t *kv;
        KIT_OK(vch_kv_open(&kv, file, false, NULL));
        one_history(seed * 0xd1342543de82ef95u, kv, true);
        unlink(file);
        unlink(lock);
        rmdir(path);
    }
}

/* The must-fail twin: a leaf changed on the way is found by replay. */
static void a_changed_leaf_does_not_replay(void **state)
{
    (void)state;
    world_t *w = world_new(ROWS);
    KIT_OK(world_owner_says(w, VCH_KIND_CONSENT, 1, &w->terms[0]));
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    world_close(w);
    for (size_t i = 0; i < w->leaves; i++) {
        vch_kv_t *fresh;
        vch_hash_t root;
        vch_err_t err = {0};
        KIT_OK(vch_kv_open_memory(&fresh, NULL));
        w->leaf[i].bytes[w->leaf[i].n / 2] ^= 1;
        assert_int_equal(world_replay(w, fresh, true, &root, &err), VCH_ERR_CORRUPT);
        assert_non_null(strstr(err.text, "entry"));
        w->leaf[i].bytes[w->leaf[i].n / 2] ^= 1;
        vch_kv_close(fresh);
    }
    world_free(w);
}

/* A value of the index that was tampered with is refused, not used. */
static void a_tampered_index_is_found(void **state)
{
    (void)state;
    vch_kv_t *kv;
    KIT_OK(vch_kv_open_memory(&kv, NULL));
    world_t *w = world_new_on(ROWS, kv);
    KIT_OK(vch_state_save(w->state, NULL));
    uint8_t key[34] = {'S', 'p'};
    memcpy(key + 2, w->party_id[1].b, 32);
    vch_buf_t b;
    vch_buf_init(&b, 4096);
    KIT_OK(vch_kv_get(kv, vch_slice(key, 34), &b));
    b.p[b.n - 1] ^= 1;
    KIT_OK(vch_kv_begin(kv, NULL));
    KIT_OK(vch_kv_put(kv, vch_slice(key, 34), vch_buf_slice(&b), NULL));
    KIT_OK(vch_kv_commit(kv, NULL));
    assert_int_equal(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING), VCH_ERR_CORRUPT);
    vch_buf_free(&b);
    world_free(w);
}

/* ---- every value that a decision reads, damaged on the disk ---------------------- */

#define MANY 20480u /* subjects: five chunks; nothing is ever said about the last one's */
#define KEPT_MAX 400

typedef struct {
    uint8_t key[64];
    size_t key_n;
    vch_buf_t value;
} kept_t;

typedef struct {
    kept_t item[KEPT_MAX];
    size_t n;
} kept_list_t;

static vch_rc keep(void *ctx, vch_slice_t key, vch_slice_t value)
{
    kept_list_t *l = ctx;
    assert_true(l->n < KEPT_MAX && key.n <= sizeof l->item->key);
    kept_t *k = &l->item[l->n++];
    memcpy(k->key, key.p, key.n);
    k->key_n = key.n;
    vch_buf_init(&k->value, 1u << 20);
    return vch_buf_put(&k->value, value.p, value.n);
}

static world_t *many_consents(void)
{
    vch_kv_t *kv;
    KIT_OK(vch_kv_open_memory(&kv, NULL));
    world_t *w = world_new_on(ROWS, kv);
    KIT_OK(world_say(w, 0, VCH_KIND_DATASET, kit_dataset("many", &w->party_id[0])));
    w->dataset = w->last;
    KIT_OK(world_say(w, 0, VCH_KIND_VERSION, world_version(w, NULL, MANY, 0, true, 2)));
    w->version = w->last;
    for (uint32_t i = 0; i < 40; i++) {
        say_t s = {.subject = i * 397, .serial = 1, .terms = &w->terms[0], .until = 30000 + i, .how = VCH_HOW_RECORDED};
        KIT_OK(world_say(w, 0, VCH_KIND_CONSENT, world_statement(w, VCH_KIND_CONSENT, &s)));
    }
    (void)world_root(w);
    KIT_OK(vch_state_save(w->state, NULL));
    return w;
}

/* Decide on what the index holds now, as after a restart. */
static vch_rc decide_cold(world_t *w, vch_buf_t *bits)
{
    uint64_t count = 0;
    vch_rule_t rule;
    vch_buf_clear(bits);
    vch_state_free(w->state);
    KIT_OK(vch_state_open(&w->state, w->kv, NULL));
    return vch_state_permitted(w->state, &w->version, &w->party_id[1], vch_str(KIT_SCIENCE), vch_str(KIT_TRAINING),
                               w->now, bits, &count, &rule, NULL);
}

static void put_back(world_t *w, const kept_t *k)
{
    KIT_OK(vch_kv_begin(w->kv, NULL));
    KIT_OK(vch_kv_put(w->kv, vch_slice(k->key, k->key_n), vch_buf_slice(&k->value), NULL));
    KIT_OK(vch_kv_commit(w->kv, NULL));
}

/* What could not be saved is not lost: it is read, and saved the next time. */
static void a_save_that_fails_is_tried_again(void **state)
{
    (void)state;
    world_t *w = many_consents();
    vch_buf_t bits;
    vch_state_info_t before, after;
    vch_buf_init(&bits, 1u << 20);
    say_t s = {.subject = 7, .serial = 1, .terms = &w->terms[0], .until = 40000, .how = VCH_HOW_RECORDED};
    KIT_OK(world_say(w, 0, VCH_KIND_CONSENT, world_statement(w, VCH_KIND_CONSENT, &s)));
    (void)world_root(w);
    KIT_OK(vch_state_freeze(w->state, NULL));
    KIT_OK(vch_kv_begin(w->kv, NULL)); /* somebody else's batch is in the way */
    assert_int_equal(vch_state_save_frozen(w->state, NULL), VCH_ERR_CONFLICT);
    vch_kv_abort(w->kv);
    assert_true(vch_state_is_frozen(w->state));
    KIT_OK(world_ask(w, 1, KIT_SCIENCE, KIT_TRAINING));
    assert_int_equal(w->outcome.count, 41);
    (void)world_root(w);
    KIT_OK(vch_state_save(w->state, NULL)); /* takes both along */
    assert_false(vch_state_is_frozen(w->state));
    vch_state_info(w->state, &before);
    KIT_OK(decide_cold(w, &bits));
    vch_state_info(w->state, &after);
    assert_int_equal(after.applied, before.applied);
    vch_buf_free(&bits);
    world_free(w);
}

/* Flip a byte of the kept value in the index. */
static vch_rc damaged(world_t *w, kept_t *k, size_t at, vch_buf_t *bits)
{
    k->value.p[at] ^= 0x10;
    put_back(w, k);
    k->value.p[at] ^= 0x10;
    vch_rc rc = decide_cold(w, bits);
    put_back(w, k);
    return rc;
}

/* Is this one of the values without which nothing can be decided here? */
static bool needed(const world_t *w, const kept_t *k)
{
    if (k->key[0] == 'F') return memcmp(k->key + 1, w->dataset.b, 32) == 0;
    if (k->key[0] == 'B') return memcmp(k->key + 1, w->version.b, 32) == 0;
    if (k->key[0] == 'P') return vch_get_u16(k->key + 1) == 0; /* the first page; of the others those on the way */
    if (k->key[0] != 'S') return false;
    switch (k->key[1]) {
    case 'c':
    case 'C':
    case 'd':
        return memcmp(k->key + 2, w->dataset.b, 32) == 0;
    case 'v':
        return memcmp(k->key + 2, w->version.b, 32) == 0;
    case 'g':
        return true;
    default:
        return false;
    }
}

/* Whatever byte of it changes, a decision is refused, or never read it. */
static void a_decision_reads_nothing_damaged(void **state)
{
    (void)state;
    world_t *w = many_consents();
    kept_list_t *all = vch_alloc(sizeof *all);
    vch_buf_t good, bits;
    size_t refused[256] = {0};
    vch_buf_init(&good, 1u << 20);
    vch_buf_init(&bits, 1u << 20);
    KIT_OK(vch_kv_each(w->kv, vch_slice(NULL, 0), keep, all));
    KIT_OK(decide_cold(w, &good));
    for (size_t i = 0; i < all->n; i++) {
        kept_t *k = &all->item[i];
        if (k->key[0] == 'M') continue; /* the root itself: whoever changes it changes what is claimed */
        for (size_t at = 0; at < k->value.n; at += 1 + k->value.n / 40) {
            vch_rc rc = damaged(w, k, at, &bits);
            assert_true(rc == VCH_ERR_CORRUPT || rc == VCH_OK);
            if (rc == VCH_OK) assert_true(vch_slice_eq(vch_buf_slice(&bits), vch_buf_slice(&good)));
            if (needed(w, k)) assert_int_equal(rc, VCH_ERR_CORRUPT);
            refused[k->key[0] == 'S' ? k->key[1] : k->key[0]] += rc != VCH_OK;
        }
    }
    for (const char *kind = "cCdvgtFBP"; *kind; kind++) assert_true(refused[(uint8_t)*kind] > 0);
    assert_true(refused['P'] > 200); /* pages beside the way up, too: each is hashed whole */
    KIT_OK(decide_cold(w, &bits));
    assert_true(vch_slice_eq(vch_buf_slice(&bits), vch_buf_slice(&good)));
    for (size_t i = 0; i < all->n; i++) vch_buf_free(&all->item[i].value);
    vch_free(all);
    vch_buf_free(&good);
    vch_buf_free(&bits);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histories_replay_in_memory),       cmocka_unit_test(histories_replay_on_lmdb),
        cmocka_unit_test(a_changed_leaf_does_not_replay),   cmocka_unit_test(a_tampered_index_is_found),
        cmocka_unit_test(a_decision_reads_nothing_damaged), cmocka_unit_test(a_save_that_fails_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
