/* SPDX-License-Identifier: Apache-2.0 */
/* Every byte of every file of a small closed log, and of a small closed ledger
 * with all that a ledger can hold, is changed: the check names the file, and
 * what is derived becomes the same again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define FH_WITH_RUNS
#include "fault_help.h"
#include "log_help.h"
#include "port/sim.h"
#include "tree.h"

#define FILES_MAX 64

typedef struct {
    vch_sim_t *sim;
    vch_port_t *port;
    const char *dir;
    char file[FILES_MAX][200];
    size_t files;
    vch_err_t err;
} world_t;

typedef struct {
    world_t *w;
    char folder[200];
} walk_t;

static vch_rc collect(void *ctx, const char *name)
{
    walk_t *walk = ctx, below = {walk->w, ""};
    world_t *w = walk->w;
    vch_stat_t st;
    snprintf(below.folder, sizeof below.folder, "%.120s/%.70s", walk->folder, name);
    assert_int_equal(w->port->disk->stat(w->port, below.folder, &st), VCH_OK);
    if (st.is_dir) return w->port->disk->list(w->port, below.folder, collect, &below);
    assert_true(w->files < FILES_MAX);
    snprintf(w->file[w->files++], sizeof *w->file, "%s", below.folder);
    return VCH_OK;
}

static vch_rc make_durable(world_t *w, const char *path)
{
    vch_file_t *file;
    VCH_TRY(vch_file_open(w->port, &file, path, VCH_OPEN_WRITE, &w->err));
    vch_rc rc = w->port->disk->sync(w->port, file);
    vch_file_close(w->port, file);
    return rc;
}

/* Small entries, some with statements, some of these erased: each byte is
 * flipped once and then everything read again, so bytes count twice. */
static vch_rc append_small(vch_log_t *log, unsigned n, vch_err_t *err)
{
    static uint8_t entry[64][12], statement[5], hash[VCH_HASH_LEN];
    static const bool erased[2] = {false, true};
    vch_slice_t both[2] = {vch_slice(statement, sizeof statement), vch_slice(hash, sizeof hash)};
    vch_record_t record[64] = {0};
    uint64_t first = 0, size = vch_log_size(log);
    for (unsigned i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof entry[i]; k++) entry[i][k] = (uint8_t)((size + i) * 29 + k);
        vch_put_u64(entry[i], size + i);
        record[i] = (vch_record_t){.entry = vch_slice(entry[i], 9 + i % 4)};
        if (i % 16 < 3) record[i].statements = both;
        record[i].count = i % 16 < 3 ? i % 16 : 0;
        record[i].erased = record[i].count == 2 ? erased : NULL;
    }
    return vch_log_append(log, size + 1, (vch_time_t){1000}, record, n, &first, err);
}

/* 300 entries in three segments, three checkpoints, two cosigned ones. */
static world_t begin(void)
{
    world_t w = {.dir = "d"};
    vch_hash_t network = help_network();
    vch_log_options_t options = {.segment_bytes = 6000};
    vch_log_t *log = NULL;
    assert_int_equal(vch_sim_new(&w.sim, 3), VCH_OK);
    w.port = vch_sim_port(w.sim);
    assert_int_equal(vch_log_create(w.port, "d", &network, &w.err), VCH_OK);
    assert_int_equal(vch_log_open(&log, w.port, "d", &options, NULL, &w.err), VCH_OK);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(append_small(log, 50, &w.err), VCH_OK);
        if (i % 2) assert_int_equal(help_publish(log, vch_log_size(log), &w.err), VCH_OK);
    }
    assert_int_equal(help_keep(log, 100, 1, "dGhlIGZpcnN0", &w.err), VCH_OK);
    assert_int_equal(help_keep(log, 300, 1, "dGhlIHNlY29uZA==", &w.err), VCH_OK);
    vch_log_close(log);
    walk_t walk = {&w, "d"};
    assert_int_equal(w.port->disk->list(w.port, "d", collect, &walk), VCH_OK);
    for (size_t i = 0; i < w.files; i++) assert_int_equal(make_durable(&w, w.file[i]), VCH_OK);
    return w;
}

typedef struct {
    const char *file; /* below the directory */
    unsigned named, derived, repaired;
    char what[200];
} found_t;

static void note_damage(void *ctx, const vch_damage_t *d)
{
    found_t *f = ctx;
    snprintf(f->what, sizeof f->what, "%s: %s", d->file, d->text);
    if (strcmp(d->file, f->file) != 0) return;
    f->named++;
    f->derived += d->derived;
    f->repaired += d->repaired;
}

static vch_buf_t contents(world_t *w, const char *path)
{
    vch_buf_t b;
    vch_buf_init(&b, 1 << 20);
    if (vch_read_all(w->port, &b, path, 1 << 20, &w->err) != VCH_OK) fail_msg("%s", w->err.text);
    return b;
}

static void flip_one(world_t *w, const char *path, uint64_t at, uint8_t mask, vch_slice_t before)
{
    found_t f = {.file = path + strlen(w->dir) + 1};
    uint64_t damaged = 0;
    bool derived = strncmp(f.file, "tlog/", 5) == 0;
    if (!vch_sim_flip(w->sim, path, at, mask)) fail_msg("%s has no byte %llu", path, (unsigned long long)at);
    assert_int_equal(vch_log_check(w->port, w->dir, derived, note_damage, &f, &damaged, &w->err), VCH_OK);
    if (f.named == 0) fail_msg("%s byte %llu: not named (%s)", path, (unsigned long long)at, f.what);
    if (!derived) {
        assert_int_equal(f.derived, 0);
        assert_true(vch_sim_flip(w->sim, path, at, mask)); /* back */
        return;
    }
    assert_true(f.derived && f.repaired);
    vch_buf_t after = contents(w, path);
    assert_true(vch_slice_eq(vch_buf_slice(&after), before));
    vch_buf_free(&after);
    assert_int_equal(make_durable(w, path), VCH_OK);
}

static uint8_t bit_of(uint64_t at) { return (uint8_t)(1u << (at * 5 % 8)); }

/* 1, or more where all would take too long: under a sanitizer. */
static uint64_t step_of(void) { return fh_stride(100, 100); }

static void every_flipped_byte_of_a_log_is_named(void **state)
{
    (void)state;
    world_t w = begin();
    uint64_t step = step_of();
    unsigned long long flips = 0;
    uint64_t damaged = 9;
    found_t none = {.file = "d/none"};
    assert_int_equal(vch_log_check(w.port, "d", false, note_damage, &none, &damaged, &w.err), VCH_OK);
    if (damaged) fail_msg("damaged before the first flip: %s", none.what);
    for (size_t i = 0; i < w.files; i++) {
        vch_buf_t before = contents(&w, w.file[i]);
        for (uint64_t at = 0; at < before.n; at += step, flips++)
            flip_one(&w, w.file[i], at, bit_of(at), vch_buf_slice(&before));
        vch_buf_free(&before);
    }
    assert_int_equal(vch_log_check(w.port, "d", false, note_damage, &none, &damaged, &w.err), VCH_OK);
    assert_int_equal(damaged, 0);
    print_message("%llu bytes of %zu files flipped\n", flips, w.files);
    vch_sim_free(w.sim);
}

/* ---- a ledger with everything in it -------------------------------------------------- */

static void put_everything(fh_t *w)
{
    static const uint32_t who[] = {2};
    vch_receipt_t r;
    vch_hash_t hash;
    uint64_t count;
    vch_token_t token;
    fh_make(w, FH_DECISIONS);
    fh_open(w);
    FH_OK(w, vch_consent_withdraw(w->l, w->op, w->wallet, "cohort", who, who, 1, NULL, &r, &w->err));
    FH_OK(w, vch_consent_record(w->l, w->op, "cohort", "/paper.csv", &count, &w->err));
    FH_OK(w, fh_add(w, "/rows2.csv", "/owners2.csv"));
    FH_OK(w, fh_decide(w));
    FH_OK(w, vch_blob_put(w->l, vch_str("the form that was signed on paper"), &hash, &w->err));
    FH_OK(w, vch_identity_new(w->l, "sealed", "p256", "a passphrase", &w->err));
    FH_OK(w, vch_identity_new(w->l, "plain", "p256", NULL, &w->err));
    FH_OK(w, vch__wallet_new_on(w->port, FH_DIR "/keys/own.wallet", 1, 0, "a passphrase", &w->err));
    FH_OK(w, vch__wallet_new_on(w->port, FH_DIR "/keys/owners.wallet", 3, 1, NULL, &w->err));
    FH_OK(w, vch_token_new(w->l, "scraper", "read", 90, &token, &w->err));
    fh_close(w);
}

static void append_to(fh_t *w, const char *path, const char *line)
{
    vch_buf_t text;
    vch_buf_init(&text, 65536);
    FH_OK(w, vch_read_all(w->port, &text, path, 60000, &w->err));
    FH_OK(w, vch_buf_put(&text, line, strlen(line)));
    FH_OK(w, vch_write_atomic(w->port, path, vch_buf_slice(&text), 0600, &w->err));
    vch_buf_free(&text);
}

#define TOGETHER_MAX 64u

/* Files whose damage shows apart from each other's, so that a byte of each is
 * changed at the same time. */
typedef struct {
    const di_file_t *file[TOGETHER_MAX];
    size_t n;
    uint64_t longest;
} together_t;

typedef struct {
    const together_t *t;
    bool named[TOGETHER_MAX];
    unsigned n;
    char other[300]; /* a finding of another file */
} named_t;

static void note_named(void *ctx, const vch_finding_t *f)
{
    named_t *named = ctx;
    named->n++;
    for (size_t i = 0; i < named->t->n; i++) {
        if (strcmp(f->file, named->t->file[i]->path + strlen(FH_DIR) + 1) != 0) continue;
        named->named[i] = true;
        return;
    }
    snprintf(named->other, sizeof named->other, "%s: %s", f->file, f->text);
}

static void check_now(fh_t *w, const together_t *t, named_t *ret)
{
    uint64_t findings;
    *ret = (named_t){.t = t};
    w->err = (vch_err_t){0};
    vch_rc rc = vch_ledger_check_on(w->port, FH_DIR, 0, 0, note_named, ret, &findings, &w->err);
    if (rc != VCH_OK && rc != VCH_ERR_CORRUPT) fail_msg("the check itself: %s", w->err.text);
    assert_int_equal(findings, ret->n);
}

static unsigned flip_all(fh_t *w, const together_t *t, uint64_t at)
{
    unsigned n = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (at >= t->file[i]->size) continue;
        if (!vch_sim_flip(w->sim, t->file[i]->path, at, bit_of(at))) fail_msg("%s has no byte", t->file[i]->path);
        n++;
    }
    return n;
}

static unsigned long long flip_together(fh_t *w, const together_t *t, uint64_t step)
{
    named_t named;
    unsigned long long flips = 0;
    for (uint64_t at = 0; at < t->longest; at += step) {
        flips += flip_all(w, t, at);
        check_now(w, t, &named);
        for (size_t i = 0; i < t->n; i++)
            if (at < t->file[i]->size && !named.named[i])
                fail_msg("%s, byte %llu: not named (%u findings, %s)", t->file[i]->path, (unsigned long long)at,
                         named.n, named.other);
        flip_all(w, t, at); /* back */
    }
    check_now(w, t, &named);
    if (named.n) fail_msg("after the last flip: %s", named.other);
    return flips;
}

#define SORTS 6u
#define OF_THE_LOG 2u

/* The settings decide what can be read at all, so each of them stands alone;
 * rows are checked by salts and commitments. */
static unsigned sort_of(const char *path)
{
    static const char *const alone[] = {"/FORMAT", "/vouch.conf"};
    const char *name = path + strlen(FH_DIR);
    size_t n = strlen(path);
    for (unsigned i = 0; i < sizeof alone / sizeof *alone; i++)
        if (strcmp(name, alone[i]) == 0) return i;
    if (strncmp(name, "/log/", 5) == 0 || strncmp(name, "/tlog/", 6) == 0) return OF_THE_LOG;
    if (n > 5 && strcmp(path + n - 5, ".rows") == 0) return 3;
    if (strcmp(name, "/trust.policy") == 0 || strcmp(name, "/keys/log.pem") == 0) return 3;
    if (n > 6 && strcmp(path + n - 6, ".salts") == 0) return 4;
    if (n > 5 && strcmp(path + n - 5, ".sums") == 0) return 4; /* beside what it lists it would be named alone */
    return 5;
}

/* The log and its tiles: every byte by the part of the check that looks at
 * them, every so many by the whole of it. */
static unsigned long long flip_log(fh_t *w, const together_t *t, uint64_t step)
{
    world_t world = {.sim = w->sim, .port = w->port, .dir = FH_DIR};
    unsigned long long flips = 0;
    for (size_t i = 0; i < t->n; i++) {
        const char *path = t->file[i]->path;
        FH_OK(w, make_durable(&world, path));
        vch_buf_t before = contents(&world, path);
        for (uint64_t at = 0; at < before.n; at += step, flips++)
            flip_one(&world, path, at, bit_of(at), vch_buf_slice(&before));
        vch_buf_free(&before);
        together_t one = {{t->file[i]}, 1, t->file[i]->size};
        if (one.longest) (void)flip_together(w, &one, one.longest / 16 + 1);
    }
    return flips;
}

static void every_flipped_byte_of_a_ledger_is_named(void **state)
{
    (void)state;
    fh_t w;
    together_t sort[SORTS] = {{.n = 0}};
    unsigned long long flips = 0;
    size_t files = 0;
    fh_birth(&w, 5);
    put_everything(&w);
    append_to(&w, FH_DIR "/vouch.conf", "# a comment of somebody's own\n");
    append_to(&w, FH_DIR "/trust.policy", "# and another one\n");
    FH_OK(&w, vch_settings_accept_on(w.port, FH_DIR, &w.err));
    di_image_t *image = di_take(w.port);
    world_t world = {.sim = w.sim, .port = w.port, .dir = FH_DIR};
    for (size_t i = 0; i < image->files; i++) {
        const di_file_t *f = &image->file[i];
        if (f->is_dir || strncmp(f->path, FH_DIR "/", strlen(FH_DIR) + 1) != 0) continue;
        FH_OK(&w, make_durable(&world, f->path));
        together_t *t = &sort[sort_of(f->path)];
        assert_true(t->n < TOGETHER_MAX);
        t->file[t->n++] = f;
        files++;
        if (f->size > t->longest) t->longest = f->size;
    }
    for (unsigned s = 0; s < SORTS; s++) {
        assert_true(sort[s].n > 0);
        flips += s == OF_THE_LOG ? flip_log(&w, &sort[s], step_of()) : flip_together(&w, &sort[s], step_of());
    }
    print_message("%llu bytes of %zu files flipped\n", flips, files);
    di_drop(image);
    assert_int_equal(fh_death(&w), 0);
}

/* ---- the index, which only a real disk has ---------------------------------------------- */

#define PLACES 60u /* spread over a file, where each costs opening the ledger */

typedef struct {
    char dir[64];
    vch_hash_t root;
    size_t named;
} real_t;

static void flip_real(const real_t *r, const char *name, uint64_t at)
{
    char path[128];
    uint8_t byte;
    vch_file_t *file;
    vch_port_t *port = vch_port_real();
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    LH_OK(vch_file_open(port, &file, path, VCH_OPEN_WRITE, &lh_err));
    LH_OK(vch_file_read(port, file, &byte, 1, at, &lh_err));
    byte ^= bit_of(at);
    DI_DO(port->disk->write(port, file, &byte, 1, at));
    port->disk->close(port, file);
}

static void note_index(void *ctx, const vch_finding_t *f)
{
    real_t *r = ctx;
    assert_true(f->derived);
    r->named += strcmp(f->file, "state/data.mdb") == 0;
}

static void open_and_close(real_t *r, bool rebuilt)
{
    vch_ledger_t *l;
    vch_ledger_info_t info;
    LH_OK(vch_ledger_open(&l, r->dir, 0, &lh_err));
    LH_OK(vch_ledger_info(l, &info, &lh_err));
    LH_OK(vch_ledger_close(l, &lh_err));
    assert_int_equal(info.rebuilt != 0, rebuilt);
    assert_memory_equal(info.state_root.b, r->root.b, 32);
}

/* Named, and made again from the log by whoever opens it next. */
static void flip_index(real_t *r, const char *name, uint64_t at)
{
    uint64_t findings;
    r->named = 0;
    flip_real(r, name, at);
    LH_OK(vch_ledger_check(r->dir, 0, 0, note_index, r, &findings, &lh_err));
    if (r->named == 0) fail_msg("%s, byte %llu: not named", name, (unsigned long long)at);
    open_and_close(r, true);
    LH_OK(vch_ledger_check(r->dir, 0, 0, note_index, r, &findings, &lh_err));
    assert_int_equal(findings, 0);
}

static uint64_t size_of(const real_t *r, const char *name)
{
    char path[128];
    vch_stat_t st;
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    DI_DO(vch_port_real()->disk->stat(vch_port_real(), path, &st));
    return st.size;
}

static uint64_t flip_file(real_t *r, const char *name, uint64_t places, void (*flip)(real_t *, const char *, uint64_t))
{
    uint64_t step = fh_stride(size_of(r, name), places), n = 0;
    for (uint64_t at = 0; at < size_of(r, name); at += step, n++) flip(r, name, at);
    return n;
}

/* What check and opening ask of the file, at every byte. */
static void flip_sum(real_t *r, const char *name, uint64_t at)
{
    flip_real(r, name, at);
    if (nd_sum_good(vch_port_real(), r->dir)) fail_msg("%s, byte %llu: not seen", name, (unsigned long long)at);
    flip_real(r, name, at); /* back */
}

/* Whoever opens the index first makes this file anew: it changes nothing. */
static void flip_mdb_lock(real_t *r, const char *name, uint64_t at)
{
    uint64_t findings;
    flip_real(r, name, at);
    LH_OK(vch_ledger_check(r->dir, 0, 0, note_index, r, &findings, &lh_err));
    assert_int_equal(findings, 0);
    open_and_close(r, false);
}

static void a_flipped_index_is_made_again(void **state)
{
    (void)state;
    real_t r;
    vch_init_t init = lh_init();
    vch_ledger_t *l;
    vch_signer_t *s;
    vch_receipt_t receipt;
    vch_ledger_info_t info;
    lh_folder(r.dir);
    LH_OK(vch_ledger_init(r.dir, &init, &lh_err));
    LH_OK(vch_ledger_open(&l, r.dir, 0, &lh_err));
    LH_OK(vch_identity_load(l, NULL, NULL, &s, &lh_err));
    for (unsigned i = 0; i < 20; i++) LH_OK(lh_submit(l, s, i, &receipt, &lh_err));
    LH_OK(vch_ledger_checkpoint(l, NULL, &lh_err));
    LH_OK(vch_ledger_info(l, &info, &lh_err));
    r.root = info.state_root;
    vch_signer_free(s);
    LH_OK(vch_ledger_close(l, &lh_err));
    uint64_t mdb = flip_file(&r, "state/data.mdb", 65536, flip_sum),
             sum = flip_file(&r, "state/data.sum", 100, flip_sum);
    uint64_t opened = flip_file(&r, "state/data.mdb", PLACES, flip_index);
    opened += flip_file(&r, "state/data.sum", PLACES, flip_index);
    opened += flip_file(&r, "state/data.mdb-lock", PLACES, flip_mdb_lock);
    print_message("%llu bytes of data.mdb, %llu of data.sum flipped; opened after %llu\n", (unsigned long long)mdb,
                  (unsigned long long)sum, (unsigned long long)opened);
    assert_int_equal(tree_remove(r.dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_flipped_byte_of_a_log_is_named),
                                       cmocka_unit_test(every_flipped_byte_of_a_ledger_is_named),
                                       cmocka_unit_test(a_flipped_index_is_made_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
