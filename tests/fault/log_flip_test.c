/* SPDX-License-Identifier: Apache-2.0 */
/* Every byte of every file of a small closed log is changed, one at a time:
 * the check names the file, and what is derived becomes the same bytes again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "log_help.h"
#include "port/sim.h"

#define FILES_MAX 64

typedef struct {
    vch_sim_t *sim;
    vch_port_t *port;
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
    world_t w = {0};
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
    const char *file;
    unsigned named, derived, repaired;
    char what[200];
} found_t;

static void note_damage(void *ctx, const vch_damage_t *d)
{
    found_t *f = ctx;
    snprintf(f->what, sizeof f->what, "%s: %s", d->file, d->text);
    if (strcmp(d->file, f->file + 2) != 0) return; /* behind "d/" */
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
    found_t f = {.file = path};
    uint64_t damaged = 0;
    bool derived = strncmp(path, "d/tlog/", 7) == 0;
    if (!vch_sim_flip(w->sim, path, at, mask)) fail_msg("%s has no byte %llu", path, (unsigned long long)at);
    assert_int_equal(vch_log_check(w->port, "d", derived, note_damage, &f, &damaged, &w->err), VCH_OK);
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

static void every_flipped_byte_is_named(void **state)
{
    (void)state;
    world_t w = begin();
    const char *scale = getenv("VOUCHSAFE_TEST_SCALE");
    unsigned long percent = scale ? strtoul(scale, NULL, 10) : 100;
    unsigned long step = percent >= 100 || percent == 0 ? 1 : 100 / percent;
    unsigned long long flips = 0;
    uint64_t damaged = 9;
    found_t none = {.file = "d/none"};
    assert_int_equal(vch_log_check(w.port, "d", false, note_damage, &none, &damaged, &w.err), VCH_OK);
    if (damaged) fail_msg("damaged before the first flip: %s", none.what);
    for (size_t i = 0; i < w.files; i++) {
        vch_buf_t before = contents(&w, w.file[i]);
        for (uint64_t at = 0; at < before.n; at += step, flips++)
            flip_one(&w, w.file[i], at, (uint8_t)(1u << (at * 5 % 8)), vch_buf_slice(&before));
        vch_buf_free(&before);
    }
    assert_int_equal(vch_log_check(w.port, "d", false, note_damage, &none, &damaged, &w.err), VCH_OK);
    assert_int_equal(damaged, 0);
    print_message("%llu bytes of %zu files flipped\n", flips, w.files);
    vch_sim_free(w.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_flipped_byte_is_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
