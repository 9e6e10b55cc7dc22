/* SPDX-License-Identifier: Apache-2.0 */
/* The log as its callers use it: what was appended comes back, in order, from
 * this handle, another one and after reopening; proofs verify; the files are
 * plain tlog-tiles. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "tree.h"
#include "log_help.h"
#include "port/sim.h"

static vch_err_t err;

#define ok(call)                                                                                                       \
    do {                                                                                                               \
        vch_rc ok_rc = (call);                                                                                         \
        if (ok_rc != VCH_OK) fail_msg("%s: %s (%s)", vch_rc_name(ok_rc), err.text, err.hint);                          \
    } while (0)

typedef struct {
    vch_sim_t *sim;
    vch_port_t *port;
    vch_log_t *log;
} world_t;

static void reopen(world_t *w, const vch_log_options_t *options)
{
    vch_recovery_t recovery;
    vch_log_close(w->log);
    w->log = NULL;
    ok(vch_log_open(&w->log, w->port, "d", options, &recovery, &err));
    assert_false(recovery.cut);
}

static world_t begin(const vch_log_options_t *options)
{
    world_t w = {0};
    vch_hash_t network = help_network();
    assert_int_equal(vch_sim_new(&w.sim, 7), VCH_OK);
    w.port = vch_sim_port(w.sim);
    ok(vch_log_create(w.port, "d", &network, &err));
    reopen(&w, options);
    return w;
}

static void end(world_t *w)
{
    vch_log_close(w->log);
    vch_sim_free(w->sim);
}

static void all_there(vch_log_t *log, uint64_t size)
{
    uint64_t next = 0;
    assert_int_equal(vch_log_size(log), size);
    ok(vch_log_replay(log, 0, size, help_is_same, &next, &err));
    assert_int_equal(next, size);
    for (uint64_t i = 0; i < size; i++) {
        vch_arena_t arena;
        vch_log_entry_t e;
        vch_arena_init(&arena, 1 << 20);
        ok(vch_log_read(log, i, &arena, &e, &err));
        assert_true(help_same(&e, i));
        assert_true(e.height <= i + 1 && e.time.ms == 999 + e.height);
        vch_arena_free(&arena);
    }
}

static void count_damage(void *ctx, const vch_damage_t *d)
{
    (void)ctx;
    print_message("%s entry %llu byte %llu: %s\n", d->file, (unsigned long long)d->index, (unsigned long long)d->byte,
                  d->text);
}

static void intact(world_t *w)
{
    uint64_t damaged = 99;
    ok(vch_log_check(w->port, "d", false, count_damage, NULL, &damaged, &err));
    assert_int_equal(damaged, 0);
}

static void appends_come_back(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    assert_memory_equal(vch_log_network(w.log).b, help_network().b, 32);
    all_there(w.log, 0);
    for (size_t n = 1; n < 40; n++) ok(help_append(w.log, n, &err));
    all_there(w.log, 780);
    intact(&w);
    reopen(&w, NULL);
    all_there(w.log, 780);
    ok(help_append(w.log, 3, &err));
    all_there(w.log, 783);
    end(&w);
}

static void creating_twice_is_refused(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    vch_hash_t network = help_network();
    assert_int_equal(vch_log_create(w.port, "d", &network, &err), VCH_ERR_CONFLICT);
    vch_log_t *none = NULL;
    assert_int_not_equal(vch_log_open(&none, w.port, "elsewhere", NULL, NULL, &err), VCH_OK);
    assert_null(none);
    end(&w);
}

static void segments_roll(void **state)
{
    (void)state;
    vch_log_options_t options = {.segment_bytes = 8192, .fill_bytes = 2048};
    world_t w = begin(&options);
    for (int i = 0; i < 150; i++) ok(help_append(w.log, 1 + (size_t)i % 9, &err));
    uint64_t size = vch_log_size(w.log);
    all_there(w.log, size);
    reopen(&w, &options);
    all_there(w.log, size);
    ok(help_append(w.log, 500, &err)); /* larger than a segment: it gets one of its own */
    ok(help_append(w.log, 1, &err));
    all_there(w.log, size + 501);
    reopen(&w, NULL);
    all_there(w.log, size + 501);
    intact(&w);
    vch_stat_t st;
    assert_int_equal(w.port->disk->stat(w.port, "d/log/seg/00000000000000000000.seg", &st), VCH_OK);
    assert_true(st.size <= 8192);
    end(&w);
}

static vch_rc count_spares(void *ctx, const char *name)
{
    *(int *)ctx += strncmp(name, "next-", 5) == 0;
    return VCH_OK;
}

static int spares(vch_port_t *port, const char *folder)
{
    int n = 0;
    assert_int_equal(port->disk->list(port, folder, count_spares, &n), VCH_OK);
    return n;
}

/* The next segment is filled before it is needed; nothing of it stays. */
static void a_spare_segment_is_kept_ready(void **state)
{
    (void)state;
    vch_log_options_t options = {.segment_bytes = 65536};
    vch_stat_t st;
    char path[100];
    world_t w = begin(&options);
    assert_int_equal(spares(w.port, "d/log/seg"), 0);
    ok(help_append(w.log, 1, &err));
    assert_int_equal(spares(w.port, "d/log/seg"), 0); /* not for a single entry */
    ok(help_append(w.log, 50, &err));
    assert_int_equal(spares(w.port, "d/log/seg"), 1);
    while (vch_log_size(w.log) < 251) ok(help_append(w.log, 50, &err));
    ok(help_append(w.log, 150, &err));
    snprintf(path, sizeof path, "d/log/seg/%020d.seg", 251);
    assert_int_equal(w.port->disk->stat(w.port, path, &st), VCH_OK);
    assert_int_equal(st.size, 65536);
    all_there(w.log, 401);
    intact(&w);
    vch_log_close(w.log);
    w.log = NULL;
    assert_int_equal(spares(w.port, "d/log/seg"), 0);
    assert_int_equal(w.port->disk->stat(w.port, path, &st), VCH_OK);
    assert_true(st.size < 65536);
    /* One that a dead process left is removed, but not beside its owner. */
    vch_log_t *other = NULL;
    ok(vch_write_derived(w.port, "d/log/seg/next-3", vch_str("zeros"), &err));
    ok(vch_log_open(&w.log, w.port, "d", &options, NULL, &err));
    assert_int_equal(spares(w.port, "d/log/seg"), 0);
    ok(help_append(w.log, 50, &err));
    assert_int_equal(spares(w.port, "d/log/seg"), 1);
    ok(vch_log_open(&other, w.port, "d", &options, NULL, &err));
    assert_int_equal(spares(w.port, "d/log/seg"), 1);
    ok(help_append(other, 50, &err)); /* each its own */
    assert_int_equal(spares(w.port, "d/log/seg"), 2);
    vch_log_close(other);
    assert_int_equal(spares(w.port, "d/log/seg"), 1);
    end(&w);
}

static uint64_t said_free;
static vch_rc say_free(vch_port_t *port, const char *path, uint64_t *ret)
{
    (void)port;
    (void)path;
    *ret = said_free;
    return VCH_OK;
}

/* Who ran out of them gets one more the next time, up to four and as far as
 * there is room; none stays. */
static void bursts_get_more_spares(void **state)
{
    (void)state;
    vch_log_options_t options = {.segment_bytes = 65536};
    world_t w = begin(&options);
    vch_disk_ops_t disk = *w.port->disk;
    vch_port_t port = *w.port;
    disk.free_space = say_free;
    port.disk = &disk;
    vch_log_close(w.log);
    ok(vch_log_open(&w.log, &port, "d", &options, NULL, &err));
    ok(help_append(w.log, 1, &err));
    for (int i = 0; i < 2; i++) {
        said_free = 200000;
        ok(help_append(w.log, 600, &err)); /* a segment of its own, and no spare one for it */
        assert_int_equal(spares(w.port, "d/log/seg"), 0);
    }
    said_free = 9 * 65536;
    ok(help_append(w.log, 600, &err));
    assert_int_equal(spares(w.port, "d/log/seg"), 2);
    vch_log_close(w.log);
    assert_int_equal(spares(w.port, "d/log/seg"), 0);
    said_free = UINT64_MAX;
    ok(vch_log_open(&w.log, &port, "d", &options, NULL, &err));
    ok(help_append(w.log, 600, &err));
    assert_int_equal(spares(w.port, "d/log/seg"), 2);
    for (int i = 0; i < 5; i++) ok(help_append(w.log, 600, &err));
    assert_int_equal(spares(w.port, "d/log/seg"), 2); /* two were always enough */
    all_there(w.log, vch_log_size(w.log));
    intact(&w);
    end(&w);
    assert_int_equal(said_free, UINT64_MAX);
}

static void limits_are_refused(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    uint64_t first = 77;
    uint8_t *big = calloc(1, VCH_TX_BYTES_MAX + 1);
    vch_slice_t statement = vch_slice(big, VCH_TX_BYTES_MAX);
    bool erased = true;
    vch_time_t now = {1};
    vch_record_t r = {.entry = vch_slice(big, VCH_ENTRY_BYTES_MAX + 1)};
    assert_int_equal(vch_log_append(w.log, 1, now, &r, 1, &first, &err), VCH_ERR_LIMIT);
    r.entry.n = 0;
    assert_int_equal(vch_log_append(w.log, 1, now, &r, 1, &first, &err), VCH_ERR_LIMIT);
    r = (vch_record_t){.entry = vch_slice(big, 1), .statements = &statement, .count = 1};
    assert_int_equal(vch_log_append(w.log, 1, now, &r, 1, &first, &err), VCH_ERR_LIMIT);
    statement.n = 31;
    r.erased = &erased;
    assert_int_equal(vch_log_append(w.log, 1, now, &r, 1, &first, &err), VCH_ERR_FORMAT);
    assert_int_equal(vch_log_append(w.log, 1, now, &r, 0, &first, &err), VCH_ERR_USAGE);
    assert_int_equal(first, 77);
    statement.n = VCH_TX_BYTES_MAX - 1;
    r.erased = NULL;
    ok(vch_log_append(w.log, 1, now, &r, 1, &first, &err)); /* exactly at the limit */
    assert_int_equal(first, 0);
    free(big);
    end(&w);
}

static void another_handle_follows(void **state)
{
    (void)state;
    vch_log_options_t options = {.segment_bytes = 4096}, reading = {.read_only = true};
    world_t w = begin(&options);
    vch_log_t *second = NULL, *reader = NULL;
    ok(vch_log_open(&second, w.port, "d", &options, NULL, &err));
    ok(vch_log_open(&reader, w.port, "d", &reading, NULL, &err));
    for (int i = 0; i < 60; i++) {
        vch_log_t *writer = i % 2 ? second : w.log;
        ok(vch_log_refresh(writer, &err));
        ok(help_append(writer, 1 + (size_t)i % 5, &err));
    }
    ok(vch_log_refresh(w.log, &err));
    ok(vch_log_refresh(reader, &err));
    uint64_t size = vch_log_size(second);
    all_there(w.log, size);
    all_there(second, size);
    all_there(reader, size);
    vch_hash_t a, b, want = help_root(size);
    ok(vch_log_root(w.log, size, &a, &err));
    ok(vch_log_root(reader, size, &b, &err));
    assert_memory_equal(a.b, want.b, 32);
    assert_memory_equal(b.b, want.b, 32);
    /* Closing one must not cut what the other still writes into. */
    vch_log_close(second);
    ok(help_append(w.log, 2, &err));
    ok(vch_log_refresh(reader, &err));
    all_there(reader, size + 2);
    vch_log_close(reader);
    intact(&w);
    end(&w);
}

static void half_a_group_is_not_there_yet(void **state)
{
    (void)state;
    vch_log_options_t reading = {.read_only = true};
    world_t w = begin(NULL);
    vch_log_t *reader = NULL;
    vch_file_t *file;
    ok(help_append(w.log, 4, &err));
    ok(vch_log_open(&reader, w.port, "d", &reading, NULL, &err));
    vch_stat_t before;
    const char *path = "d/log/seg/00000000000000000000.seg";
    /* A process that died in the middle of its write: the header of a copy of
     * the first group, with its index, and no trailer. */
    uint8_t group[64], half[512] = "VGRP";
    ok(vch_file_open(w.port, &file, path, VCH_OPEN_WRITE, &err));
    ok(vch_file_read(w.port, file, group, 64, 512, &err));
    uint64_t at = 512 + (64 + vch_get_u32(group + 36) + 16 + 511u) / 512u * 512u;
    memcpy(half, group, 64);
    vch_put_u64(half + 24, 4);
    vch_put_u32(half + 60, vch_crc32c(0, half, 60));
    assert_int_equal(w.port->disk->write(w.port, file, half, sizeof half, at), VCH_OK);
    vch_file_close(w.port, file);
    ok(vch_log_refresh(reader, &err));
    all_there(reader, 4);
    ok(vch_log_refresh(w.log, &err));
    assert_int_equal(vch_log_size(w.log), 4);
    ok(help_append(w.log, 2, &err)); /* cuts it first, and keeps a copy */
    assert_int_equal(w.port->disk->stat(w.port, "d/quarantine", &before), VCH_OK);
    char kept[200];
    snprintf(kept, sizeof kept, "d/quarantine/00000000000000000000-%llu.cut", (unsigned long long)at);
    assert_int_equal(w.port->disk->stat(w.port, kept, &before), VCH_OK);
    assert_true(before.size >= 64 && before.size <= 512);
    ok(vch_log_refresh(reader, &err));
    all_there(reader, 6);
    vch_log_close(reader);
    intact(&w);
    end(&w);
}

static void read_only_writes_nothing(void **state)
{
    (void)state;
    vch_log_options_t reading = {.read_only = true};
    world_t w = begin(NULL);
    ok(help_append(w.log, 300, &err));
    ok(help_publish(w.log, 200, &err));
    reopen(&w, &reading);
    uint64_t first;
    help_record_t m;
    vch_record_t r = help_record(&m, 300);
    assert_int_equal(vch_log_append(w.log, 1, (vch_time_t){1}, &r, 1, &first, &err), VCH_ERR_READ_ONLY);
    assert_int_equal(help_publish(w.log, 300, &err), VCH_ERR_READ_ONLY);
    assert_int_equal(vch_log_keep_cosigned(w.log, 200, vch_str("x"), &err), VCH_ERR_READ_ONLY);
    all_there(w.log, 300);
    vch_hash_t root, want = help_root(300);
    ok(vch_log_root(w.log, 300, &root, &err));
    assert_memory_equal(root.b, want.b, 32);
    end(&w);
}

static void publishing(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    vch_buf_t note;
    uint64_t size = 0;
    vch_buf_init(&note, 20000);
    assert_int_equal(vch_log_head(w.log, &note, &size, &err), VCH_ERR_NOT_FOUND);
    ok(help_append(w.log, 20, &err));
    ok(help_publish(w.log, 10, &err));
    ok(help_publish(w.log, 20, &err));
    ok(help_publish(w.log, 20, &err)); /* the same size again is fine */
    assert_int_equal(help_publish(w.log, 19, &err), VCH_ERR_CONFLICT);
    char text[400];
    vch_hash_t wrong = help_root(19);
    size_t n = help_note(text, sizeof text, 20, &wrong, "x");
    assert_int_equal(vch_log_publish(w.log, 20, vch_slice(text, n), &err), VCH_ERR_CONFLICT);
    assert_int_equal(vch_log_publish(w.log, 20, vch_str("no note"), &err), VCH_ERR_FORMAT);
    assert_int_not_equal(help_publish(w.log, 21, &err), VCH_OK);
    for (int again = 0; again < 2; again++) {
        vch_hash_t root = help_root(20);
        n = help_note(text, sizeof text, 20, &root, "c2lnbmF0dXJl");
        vch_buf_clear(&note);
        ok(vch_log_head(w.log, &note, &size, &err));
        assert_int_equal(size, 20);
        assert_true(vch_slice_eq(vch_buf_slice(&note), vch_slice(text, n)));
        vch_buf_clear(&note);
        ok(vch_read_all(w.port, &note, "d/tlog/checkpoint", 20000, &err));
        assert_true(vch_slice_eq(vch_buf_slice(&note), vch_slice(text, n)));
        reopen(&w, NULL);
    }
    vch_buf_free(&note);
    intact(&w);
    end(&w);
}

/* The note that help_cosigned makes for this size is what is found from `want` on. */
static void kept_is(world_t *w, uint64_t want, uint64_t size, unsigned others, const char *tail)
{
    char text[1000];
    vch_buf_t note;
    uint64_t found = 0;
    vch_hash_t root = help_root(size);
    size_t n = help_cosigned(text, sizeof text, size, &root, others, tail);
    vch_buf_init(&note, 20000);
    ok(vch_log_cosigned(w->log, want, &note, &found, &err));
    assert_int_equal(found, size);
    assert_true(vch_slice_eq(vch_buf_slice(&note), vch_slice(text, n)));
    vch_buf_free(&note);
}

static void cosigned_are_kept(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    vch_buf_t note;
    uint64_t size = 0;
    vch_buf_init(&note, 20000);
    ok(help_append(w.log, 300, &err));
    assert_int_equal(vch_log_cosigned(w.log, 0, &note, &size, &err), VCH_ERR_NOT_FOUND);
    for (uint64_t i = 1; i <= 30; i++) {
        ok(help_keep(w.log, 10 * i, 1, "Y29zaWduZWQ=", &err));
        if (i == 15) reopen(&w, NULL);
    }
    for (int again = 0; again < 2; again++) {
        for (uint64_t want = 0; want <= 300; want++)
            kept_is(&w, want, want <= 10 ? 10 : (want + 9) / 10 * 10, 1, "Y29zaWduZWQ=");
        assert_int_equal(vch_log_cosigned(w.log, 301, &note, &size, &err), VCH_ERR_NOT_FOUND);
        assert_int_equal(note.n, 0);
        reopen(&w, NULL);
    }
    vch_buf_free(&note);
    intact(&w);
    end(&w);
}

/* Of one size the note with the most cosignatures is found, of equals the
 * earliest, whatever else came before, in between and late. */
static void more_cosignatures_supersede(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    ok(help_append(w.log, 60, &err));
    ok(help_keep(w.log, 50, 1, "bGF0ZXI=", &err));
    ok(help_keep(w.log, 20, 1, "b25l", &err));
    ok(help_keep(w.log, 60, 2, "bGFzdA==", &err));
    kept_is(&w, 1, 20, 1, "b25l");
    kept_is(&w, 21, 50, 1, "bGF0ZXI=");
    ok(help_keep(w.log, 20, 1, "YWdhaW4=", &err));
    kept_is(&w, 20, 20, 1, "b25l");
    ok(help_keep(w.log, 20, 3, "dGhyZWU=", &err));
    kept_is(&w, 20, 20, 3, "dGhyZWU=");
    ok(help_keep(w.log, 20, 2, "dHdv", &err));
    for (int again = 0; again < 2; again++) {
        kept_is(&w, 0, 20, 3, "dGhyZWU=");
        kept_is(&w, 51, 60, 2, "bGFzdA==");
        reopen(&w, NULL);
    }
    intact(&w);
    end(&w);
}

typedef struct {
    uint64_t size[8];
    unsigned n, until;
} sizes_t;

static bool note_size(void *ctx, uint64_t size, vch_slice_t note)
{
    sizes_t *s = ctx;
    assert_true(note.n > 0);
    s->size[s->n++] = size;
    return s->n < s->until;
}

static void cosigned_come_by_size(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    static const uint64_t kept[] = {30, 10, 20, 10, 40};
    sizes_t s = {.until = 8};
    ok(help_append(w.log, 40, &err));
    for (size_t i = 0; i < 5; i++) ok(help_keep(w.log, kept[i], 1, "bm90ZQ==", &err));
    ok(vch_log_cosigned_each(w.log, 10, note_size, &s, &err));
    assert_int_equal(s.n, 5);
    assert_memory_equal(s.size, ((uint64_t[]){10, 10, 20, 30, 40}), 5 * sizeof s.size[0]);
    s = (sizes_t){.until = 2};
    ok(vch_log_cosigned_each(w.log, 11, note_size, &s, &err));
    assert_int_equal(s.n, 2);
    assert_memory_equal(s.size, ((uint64_t[]){20, 30}), 2 * sizeof s.size[0]);
    s = (sizes_t){.until = 8};
    ok(vch_log_cosigned_each(w.log, 41, note_size, &s, &err));
    assert_int_equal(s.n, 0);
    end(&w);
}

/* A record of log/cosigned as a program before this one, or a stranger, made it. */
static void put_record(world_t *w, uint64_t size, vch_slice_t note)
{
    uint8_t head[16];
    vch_buf_t all;
    vch_buf_init(&all, 1 << 20);
    ok(vch_read_all(w->port, &all, "d/log/cosigned", 1 << 20, &err));
    vch_put_u32(head, (uint32_t)note.n);
    vch_put_u64(head + 8, size);
    vch_put_u32(head + 4, vch_crc32c(vch_crc32c(0, head + 8, 8), note.p, note.n));
    ok(vch_buf_put(&all, head, sizeof head));
    ok(vch_buf_put(&all, note.p, note.n));
    ok(vch_write_atomic(w->port, "d/log/cosigned", vch_buf_slice(&all), 0600, &err));
    vch_buf_free(&all);
}

/* Only what others signed, of this very log, is kept; what the log signed alone
 * may stand in an old file, and nobody is shown it. */
static void only_cosigned_are_kept(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    char note[1000];
    vch_buf_t found;
    uint64_t size = 0;
    vch_hash_t root = help_root(10), wrong = help_root(9);
    vch_buf_init(&found, 20000);
    ok(help_append(w.log, 20, &err));
    assert_int_equal(help_keep(w.log, 10, 0, "", &err), VCH_ERR_FORMAT);
    size_t n = help_cosigned(note, sizeof note, 10, &wrong, 1, "eA==");
    assert_int_equal(vch_log_keep_cosigned(w.log, 10, vch_slice(note, n), &err), VCH_ERR_CONFLICT);
    n = help_cosigned(note, sizeof note, 10, &root, 1, "eA==");
    assert_int_equal(vch_log_keep_cosigned(w.log, 11, vch_slice(note, n), &err), VCH_ERR_FORMAT);
    assert_int_equal(vch_log_keep_cosigned(w.log, 10, vch_str("x"), &err), VCH_ERR_FORMAT);
    assert_int_equal(vch_log_cosigned(w.log, 0, &found, &size, &err), VCH_ERR_NOT_FOUND);
    n = help_cosigned(note, sizeof note, 10, &root, 0, "");
    put_record(&w, 10, vch_slice(note, n));
    assert_int_equal(vch_log_cosigned(w.log, 0, &found, &size, &err), VCH_ERR_NOT_FOUND);
    intact(&w);
    ok(help_keep(w.log, 10, 1, "eA==", &err));
    kept_is(&w, 0, 10, 1, "eA==");
    vch_buf_free(&found);
    end(&w);
}

/* What a record that was slipped in does to a check of 20 entries. */
static uint64_t damage_by(uint64_t size, uint64_t said, uint64_t root_of)
{
    world_t w = begin(NULL);
    char note[1000];
    uint64_t damaged = 9;
    vch_hash_t root = help_root(root_of);
    size_t n = help_cosigned(note, sizeof note, said, &root, 1, "eA==");
    ok(help_append(w.log, 7, &err));
    ok(help_append(w.log, 13, &err));
    ok(help_publish(w.log, 15, &err));
    ok(help_keep(w.log, 7, 1, "eA==", &err));
    put_record(&w, size, vch_slice(note, n));
    ok(vch_log_check(w.port, "d", false, count_damage, NULL, &damaged, &err));
    end(&w);
    return damaged;
}

static void cosigned_roots_are_checked(void **state)
{
    (void)state;
    for (uint64_t size = 1; size <= 20; size++) {
        assert_int_equal(damage_by(size, size, size), 0);
        assert_int_equal(damage_by(size, size, size - 1), 1);
    }
    assert_int_equal(damage_by(21, 21, 21), 1);
    assert_int_equal(damage_by(10, 11, 11), 1);
}

#define PROOF_SIZES 600

static void proofs_verify(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    static vch_hash_t root[PROOF_SIZES + 1], leaf[PROOF_SIZES];
    for (uint64_t i = 0; i < PROOF_SIZES; i++) leaf[i] = help_leaf(i);
    for (uint64_t size = 0; size <= PROOF_SIZES; size++) root[size] = help_root(size);
    ok(help_append(w.log, PROOF_SIZES, &err));
    ok(help_publish(w.log, PROOF_SIZES - 50, &err));
    for (uint64_t size = 0; size <= PROOF_SIZES; size++) {
        vch_hash_t got, path[VCH_PATH_HASHES_MAX];
        size_t n;
        ok(vch_log_root(w.log, size, &got, &err));
        assert_memory_equal(got.b, root[size].b, 32);
        if (size == 290) reopen(&w, NULL); /* from here on, out of the tiles on disk */
        for (uint64_t i = 0; i < size; i += 1 + size / 40) {
            ok(vch_log_inclusion(w.log, i, size, path, &n, &err));
            assert_true(vch_inclusion_verify(i, size, &leaf[i], path, n, &root[size]));
            assert_false(vch_inclusion_verify(i, size, &leaf[(i + 1) % PROOF_SIZES], path, n, &root[size]));
        }
        for (uint64_t old = 1; old <= size; old += 1 + size / 40) {
            ok(vch_log_consistency(w.log, old, size, path, &n, &err));
            assert_true(vch_consistency_verify(old, size, &root[old], &root[size], path, n));
            if (old < size) assert_false(vch_consistency_verify(old, size, &root[old - 1], &root[size], path, n));
        }
    }
    vch_hash_t path[VCH_PATH_HASHES_MAX];
    size_t n;
    assert_int_equal(vch_log_inclusion(w.log, 5, 5, path, &n, &err), VCH_ERR_USAGE);
    assert_int_equal(vch_log_inclusion(w.log, 5, PROOF_SIZES + 1, path, &n, &err), VCH_ERR_NOT_FOUND);
    assert_int_equal(vch_log_consistency(w.log, 0, 5, path, &n, &err), VCH_ERR_USAGE);
    assert_int_equal(vch_log_consistency(w.log, 6, 5, path, &n, &err), VCH_ERR_USAGE);
    end(&w);
}

static void expect_file(world_t *w, const char *path, const void *p, size_t n)
{
    vch_buf_t got;
    vch_buf_init(&got, 1 << 20);
    ok(vch_read_all(w->port, &got, path, 1 << 20, &err));
    assert_true(vch_slice_eq(vch_buf_slice(&got), vch_slice(p, n)));
    vch_buf_free(&got);
}

static void tiles_are_plain_tlog_tiles(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    vch_stat_t st;
    static vch_hash_t leaves[600], copy[256], up[2];
    for (uint64_t i = 0; i < 600; i++) leaves[i] = help_leaf(i);
    ok(help_append(w.log, 100, &err));
    ok(help_publish(w.log, 100, &err));
    expect_file(&w, "d/tlog/tile/0/000.p/100", leaves, 100 * 32);
    assert_int_equal(w.port->disk->stat(w.port, "d/tlog/tile/1", &st), VCH_ERR_NOT_FOUND);
    ok(help_append(w.log, 500, &err));
    ok(help_publish(w.log, 600, &err));
    for (size_t i = 0; i < 2; i++) {
        memcpy(copy, leaves + 256 * i, sizeof copy);
        vch_tree_root_in_place(&up[i], copy, 256);
    }
    expect_file(&w, "d/tlog/tile/0/000", leaves, 8192);
    expect_file(&w, "d/tlog/tile/0/001", leaves + 256, 8192);
    expect_file(&w, "d/tlog/tile/0/002.p/88", leaves + 512, 88 * 32);
    expect_file(&w, "d/tlog/tile/1/000.p/2", up, 64);
    /* The partial tile that the full one replaced is gone, and no empty tile exists. */
    assert_int_equal(w.port->disk->stat(w.port, "d/tlog/tile/0/000.p/100", &st), VCH_ERR_NOT_FOUND);
    assert_int_equal(w.port->disk->stat(w.port, "d/tlog/tile/2", &st), VCH_ERR_NOT_FOUND);
    vch_buf_t bundle;
    vch_buf_init(&bundle, 1 << 20);
    for (uint64_t i = 512; i < 600; i++) {
        uint8_t entry[HELP_ENTRY_MAX], len[2];
        size_t n = help_entry(entry, i);
        vch_put_u16(len, (uint16_t)n);
        ok(vch_buf_put(&bundle, len, 2));
        ok(vch_buf_put(&bundle, entry, n));
    }
    expect_file(&w, "d/tlog/tile/entries/002.p/88", bundle.p, bundle.n);
    vch_buf_free(&bundle);
    intact(&w);
    end(&w);
}

static void lost_tiles_are_made_again(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    ok(help_append(w.log, 1300, &err));
    ok(help_publish(w.log, 1290, &err));
    vch_log_close(w.log);
    w.log = NULL;
    uint8_t wrong[8192];
    memset(wrong, 7, sizeof wrong); /* of the right length, as after a power cut */
    ok(vch_write_derived(w.port, "d/tlog/tile/0/001", vch_slice(wrong, sizeof wrong), &err));
    assert_int_equal(w.port->disk->remove(w.port, "d/tlog/tile/0/002"), VCH_OK);
    assert_int_equal(w.port->disk->remove(w.port, "d/tlog/tile/1/000.p/5"), VCH_OK);
    ok(vch_write_derived(w.port, "d/tlog/tile/0/003", vch_str("not a tile"), &err));
    reopen(&w, NULL);
    vch_hash_t path[VCH_PATH_HASHES_MAX], root = help_root(1290);
    size_t n;
    for (uint64_t i = 0; i < 1290; i += 64) {
        vch_hash_t leaf = help_leaf(i);
        ok(vch_log_inclusion(w.log, i, 1290, path, &n, &err));
        assert_true(vch_inclusion_verify(i, 1290, &leaf, path, n, &root));
    }
    uint64_t damaged = 0;
    ok(vch_log_check(w.port, "d", true, NULL, NULL, &damaged, &err));
    intact(&w);
    end(&w);
}

static void check_repairs_only_what_is_derived(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    uint64_t damaged = 0;
    ok(help_append(w.log, 700, &err));
    ok(help_publish(w.log, 700, &err));
    vch_log_close(w.log);
    w.log = NULL;
    assert_int_equal(w.port->disk->remove(w.port, "d/tlog/tile/entries/001"), VCH_OK);
    assert_int_equal(w.port->disk->remove(w.port, "d/tlog/checkpoint"), VCH_OK);
    ok(vch_write_derived(w.port, "d/tlog/tile/0/000", vch_str("x"), &err));
    ok(vch_log_check(w.port, "d", false, NULL, NULL, &damaged, &err));
    assert_int_equal(damaged, 3);
    ok(vch_log_check(w.port, "d", true, NULL, NULL, &damaged, &err));
    assert_int_equal(damaged, 3);
    intact(&w);
    assert_true(vch_sim_flip(w.sim, "d/log/seg/00000000000000000000.seg", 3000, 1));
    ok(vch_log_check(w.port, "d", true, NULL, NULL, &damaged, &err));
    assert_true(damaged > 0);
    ok(vch_log_check(w.port, "d", true, NULL, NULL, &damaged, &err));
    assert_true(damaged > 0); /* the truth is reported, never invented */
    assert_int_equal(vch_log_open(&w.log, w.port, "d", NULL, NULL, &err), VCH_ERR_CORRUPT);
    assert_non_null(strstr(err.text, "00000000000000000000.seg, entry "));
    end(&w);
}

static void a_cut_group_is_kept_aside(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    ok(help_append(w.log, 50, &err));
    ok(help_publish(w.log, 50, &err));
    ok(help_append(w.log, 5, &err));
    vch_log_close(w.log);
    w.log = NULL;
    vch_stat_t st;
    const char *path = "d/log/seg/00000000000000000000.seg";
    assert_int_equal(w.port->disk->stat(w.port, path, &st), VCH_OK);
    vch_file_t *file;
    ok(vch_file_open(w.port, &file, path, VCH_OPEN_WRITE, &err));
    assert_int_equal(w.port->disk->truncate(w.port, file, st.size - 512), VCH_OK);
    assert_int_equal(w.port->disk->sync(w.port, file), VCH_OK);
    vch_file_close(w.port, file);
    vch_recovery_t recovery;
    vch_log_options_t reading = {.read_only = true};
    ok(vch_log_open(&w.log, w.port, "d", &reading, &recovery, &err));
    assert_false(recovery.cut); /* a reader leaves it alone */
    assert_int_equal(vch_log_size(w.log), 50);
    vch_log_close(w.log);
    ok(vch_log_open(&w.log, w.port, "d", NULL, &recovery, &err));
    assert_true(recovery.cut);
    assert_true(recovery.cut_bytes > 0);
    char kept[200];
    snprintf(kept, sizeof kept, "d/%s", recovery.quarantine);
    assert_int_equal(w.port->disk->stat(w.port, kept, &st), VCH_OK);
    assert_int_equal(st.size, recovery.cut_bytes);
    all_there(w.log, 50);
    ok(help_append(w.log, 5, &err));
    intact(&w);
    end(&w);
}

static void nothing_signed_is_cut(void **state)
{
    (void)state;
    world_t w = begin(NULL);
    ok(help_append(w.log, 50, &err));
    ok(help_append(w.log, 5, &err));
    ok(help_publish(w.log, 55, &err));
    vch_log_close(w.log);
    w.log = NULL;
    vch_stat_t st;
    const char *path = "d/log/seg/00000000000000000000.seg";
    assert_int_equal(w.port->disk->stat(w.port, path, &st), VCH_OK);
    vch_file_t *file;
    ok(vch_file_open(w.port, &file, path, VCH_OPEN_WRITE, &err));
    assert_int_equal(w.port->disk->truncate(w.port, file, st.size - 512), VCH_OK);
    vch_file_close(w.port, file);
    assert_int_equal(vch_log_open(&w.log, w.port, "d", NULL, NULL, &err), VCH_ERR_CORRUPT);
    assert_null(w.log);
    end(&w);
}

static void on_the_real_disk(void **state)
{
    (void)state;
    char dir[] = "/tmp/vch-log-XXXXXX";
    assert_non_null(mkdtemp(dir));
    vch_port_t *port = vch_port_real();
    vch_hash_t network = help_network();
    vch_log_t *log = NULL, *other = NULL;
    vch_log_options_t options = {.segment_bytes = 65536};
    ok(vch_log_create(port, dir, &network, &err));
    ok(vch_log_open(&log, port, dir, &options, NULL, &err));
    ok(vch_log_open(&other, port, dir, &options, NULL, &err));
    for (int i = 0; i < 20; i++) {
        ok(vch_log_refresh(i % 3 ? log : other, &err));
        ok(help_append(i % 3 ? log : other, 50, &err));
    }
    ok(vch_log_refresh(log, &err));
    ok(help_publish(log, 1000, &err));
    all_there(log, 1000);
    vch_log_close(other);
    for (int i = 0; i < 20; i++) { /* with time to fill the next segment between them */
        ok(help_append(log, 140, &err));
        port->clock->sleep_ms(port, 5);
    }
    all_there(log, 3800);
    vch_log_close(log);
    char segments[100];
    snprintf(segments, sizeof segments, "%s/log/seg", dir);
    assert_int_equal(spares(port, segments), 0);
    uint64_t damaged = 9;
    ok(vch_log_check(port, dir, false, count_damage, NULL, &damaged, &err));
    assert_int_equal(damaged, 0);
    assert_int_equal(tree_remove(dir), 0);
}

typedef struct {
    vch_log_t *log;
    atomic_bool done;
    atomic_uint wrong;
} shared_t;

static void *publisher(void *ctx)
{
    shared_t *s = ctx;
    vch_err_t e;
    while (!atomic_load(&s->done)) {
        uint64_t size = vch_log_size(s->log);
        if (size && help_publish(s->log, size, &e) != VCH_OK) atomic_fetch_add(&s->wrong, 1);
    }
    return NULL;
}

static void *reader(void *ctx)
{
    shared_t *s = ctx;
    vch_err_t e;
    for (uint64_t i = 0; !atomic_load(&s->done); i = i * 7 + 1) {
        uint64_t size = vch_log_size(s->log);
        vch_log_entry_t entry;
        vch_arena_t arena;
        vch_hash_t path[VCH_PATH_HASHES_MAX];
        size_t n;
        if (size == 0) continue;
        vch_arena_init(&arena, 1 << 20);
        bool good = vch_log_read(s->log, i % size, &arena, &entry, &e) == VCH_OK && help_same(&entry, i % size) &&
                    vch_log_inclusion(s->log, i % size, size, path, &n, &e) == VCH_OK;
        if (!good) atomic_fetch_add(&s->wrong, 1);
        vch_arena_free(&arena);
    }
    return NULL;
}

static void threads_read_and_publish_while_one_appends(void **state)
{
    (void)state;
    char dir[] = "/tmp/vch-log-XXXXXX";
    assert_non_null(mkdtemp(dir));
    vch_hash_t network = help_network();
    vch_log_options_t options = {.segment_bytes = 65536};
    static shared_t s;
    pthread_t thread[3];
    ok(vch_log_create(vch_port_real(), dir, &network, &err));
    ok(vch_log_open(&s.log, vch_port_real(), dir, &options, NULL, &err));
    assert_int_equal(pthread_create(&thread[0], NULL, publisher, &s), 0);
    assert_int_equal(pthread_create(&thread[1], NULL, reader, &s), 0);
    assert_int_equal(pthread_create(&thread[2], NULL, reader, &s), 0);
    for (size_t i = 0; i < 60; i++) ok(help_append(s.log, 1 + i * 7 % 200, &err));
    atomic_store(&s.done, true);
    for (size_t i = 0; i < 3; i++) assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(atomic_load(&s.wrong), 0);
    all_there(s.log, vch_log_size(s.log));
    vch_log_close(s.log);
    assert_int_equal(tree_remove(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_come_back),
        cmocka_unit_test(creating_twice_is_refused),
        cmocka_unit_test(segments_roll),
        cmocka_unit_test(a_spare_segment_is_kept_ready),
        cmocka_unit_test(bursts_get_more_spares),
        cmocka_unit_test(limits_are_refused),
        cmocka_unit_test(another_handle_follows),
        cmocka_unit_test(half_a_group_is_not_there_yet),
        cmocka_unit_test(read_only_writes_nothing),
        cmocka_unit_test(publishing),
        cmocka_unit_test(cosigned_are_kept),
        cmocka_unit_test(more_cosignatures_supersede),
        cmocka_unit_test(cosigned_come_by_size),
        cmocka_unit_test(only_cosigned_are_kept),
        cmocka_unit_test(cosigned_roots_are_checked),
        cmocka_unit_test(proofs_verify),
        cmocka_unit_test(tiles_are_plain_tlog_tiles),
        cmocka_unit_test(lost_tiles_are_made_again),
        cmocka_unit_test(check_repairs_only_what_is_derived),
        cmocka_unit_test(a_cut_group_is_kept_aside),
        cmocka_unit_test(nothing_signed_is_cut),
        cmocka_unit_test(on_the_real_disk),
        cmocka_unit_test(threads_read_and_publish_while_one_appends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
