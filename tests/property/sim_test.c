/* SPDX-License-Identifier: Apache-2.0 */
/* What every other test may believe of the simulated machine. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "port/sim.h"

#define SEEDS 300u
#define MUST(call) assert_int_equal((call), VCH_OK)

static vch_sim_t *sim;
static vch_port_t *port;

static void boot(uint64_t seed)
{
    MUST(vch_sim_new(&sim, seed));
    port = vch_sim_port(sim);
}

static void halt(void)
{
    vch_sim_free(sim);
    sim = NULL;
}

static vch_file_t *opened(const char *path, vch_open_t how)
{
    vch_file_t *f = NULL;
    MUST(vch_file_open(port, &f, path, how, NULL));
    return f;
}

static vch_rc put_at(vch_file_t *f, const void *p, size_t n, uint64_t at)
{
    return port->disk->write(port, f, p, n, at);
}

static bool exists(const char *path)
{
    vch_stat_t st;
    return port->disk->stat(port, path, &st) == VCH_OK;
}

/* A file of n bytes, durable with its name. */
static void durable_file(const char *path, uint8_t fill, size_t n)
{
    uint8_t b[8192];
    memset(b, fill, n);
    MUST(vch_write_atomic(port, path, vch_slice(b, n), 0600, NULL));
}

static size_t content(const char *path, uint8_t *ret, size_t max)
{
    size_t n = 0;
    vch_file_t *f = opened(path, VCH_OPEN_READ);
    MUST(port->disk->read(port, f, &n, ret, max, 0));
    vch_file_close(port, f);
    return n;
}

/* ---- power cuts: bytes ------------------------------------------------------------ */

/* Against a plain model: after a cut, every byte not written since the last
 * sync is as it was, every other one is one of the values it had since. */
static void bytes_are_old_or_new(void **state)
{
    (void)state;
    enum { SIZE = 6000 };
    static uint8_t old[SIZE], now[SIZE], got[SIZE + 1];
    static bool may[SIZE][256];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        boot(seed);
        durable_file("f", 0, SIZE);
        memset(old, 0, SIZE);
        memset(now, 0, SIZE);
        vch_file_t *f = opened("f", VCH_OPEN_WRITE);
        memset(may, 0, sizeof may);
        for (size_t i = 0; i < SIZE; i++) may[i][0] = true;
        for (unsigned step = 1; step <= 40; step++) {
            size_t at = (size_t)(vch_sim_next(sim) % SIZE), n = 1 + (size_t)(vch_sim_next(sim) % 1500);
            n = vch_min(n, SIZE - at);
            uint8_t b[1500];
            memset(b, (int)(vch_sim_next(sim) % 8 ? step : 0), n);
            MUST(put_at(f, b, n, at));
            memcpy(now + at, b, n);
            for (size_t i = 0; i < n; i++) may[at + i][b[i]] = true;
            if (vch_sim_next(sim) % 8) continue;
            MUST(port->disk->sync(port, f));
            memset(may, 0, sizeof may);
            for (size_t i = 0; i < SIZE; i++) may[i][now[i]] = true;
        }
        assert_int_equal(content("f", got, sizeof got), SIZE);
        assert_memory_equal(got, now, SIZE);
        vch_sim_crash(sim);
        vch_file_close(port, f);
        assert_int_equal(content("f", got, sizeof got), SIZE);
        for (size_t i = 0; i < SIZE; i++)
            if (!may[i][got[i]]) fail_msg("seed %llu: byte %zu is %u", (unsigned long long)seed, i, got[i]);
        uint8_t again[SIZE + 1]; /* what a reboot shows stays: no second lottery */
        vch_sim_crash(sim);
        assert_int_equal(content("f", again, sizeof again), SIZE);
        assert_memory_equal(got, again, SIZE);
        halt();
    }
}

/* One unsynced write over eight sectors: a sector is whole, or torn at one
 * place; over the seeds everything that may happen does happen. */
static void sectors_are_kept_dropped_or_torn_once(void **state)
{
    (void)state;
    enum { SECTORS = 8, SIZE = SECTORS * 512 };
    unsigned all = 0, none = 0, kept = 0, dropped = 0, torn = 0, scattered = 0;
    static uint8_t b[SIZE], got[SIZE + 1];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        boot(seed);
        durable_file("f", 'o', SIZE);
        vch_file_t *f = opened("f", VCH_OPEN_WRITE);
        memset(b, 'n', SIZE);
        MUST(put_at(f, b, SIZE, 0));
        vch_sim_crash(sim);
        vch_file_close(port, f);
        assert_int_equal(content("f", got, sizeof got), SIZE);
        unsigned news = 0, here_torn = 0;
        unsigned switches = 0; /* between old and new at sector borders */
        for (size_t s = 1; s < SECTORS; s++) switches += got[s * 512] != got[s * 512 - 1];
        scattered += switches >= 3;
        for (size_t s = 0; s < SECTORS; s++) {
            unsigned changes = 0;
            for (size_t i = 1; i < 512; i++) changes += got[s * 512 + i] != got[s * 512 + i - 1];
            assert_true(changes <= 1);
            here_torn += changes;
            news += changes == 0 && got[s * 512] == 'n';
            dropped += changes == 0 && got[s * 512] == 'o';
        }
        kept += news;
        torn += here_torn;
        all += news == SECTORS;
        none += news + here_torn == 0;
        halt();
    }
    assert_true(all > 0 && none > 0 && kept > 0 && dropped > 0 && torn > 0 && scattered > 0);
    assert_true(torn < kept && torn < dropped);
}

static void synced_bytes_and_size_survive(void **state)
{
    (void)state;
    uint8_t got[4096];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        boot(seed);
        vch_file_t *f = opened("f", VCH_OPEN_NEW);
        MUST(put_at(f, "durable", 7, 1000));
        MUST(port->disk->sync(port, f));
        MUST(port->disk->sync_dir(port, "/"));
        MUST(put_at(f, "maybe", 5, 1007));
        vch_sim_crash(sim);
        vch_file_close(port, f);
        size_t n = content("f", got, sizeof got);
        assert_true(n >= 1007 && n <= 1012);
        assert_memory_equal(got + 1000, "durable", 7);
        for (size_t i = 0; i < 1000; i++) assert_int_equal(got[i], 0);
        for (size_t i = 1007; i < n; i++) assert_true(got[i] == 0 || got[i] == (uint8_t) "maybe"[i - 1007]);
        halt();
    }
}

static void truncation_is_kept_or_undone(void **state)
{
    (void)state;
    unsigned kept = 0, undone = 0;
    uint8_t got[4096];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        boot(seed);
        durable_file("f", 'x', 3000);
        vch_file_t *f = opened("f", VCH_OPEN_WRITE);
        MUST(port->disk->truncate(port, f, 10));
        if (seed % 2) MUST(port->disk->sync(port, f));
        vch_sim_crash(sim);
        vch_file_close(port, f);
        size_t n = content("f", got, sizeof got);
        assert_true(n == 10 || n == 3000);
        if (seed % 2)
            assert_int_equal(n, 10);
        else
            *(n == 10 ? &kept : &undone) += 1;
        for (size_t i = 0; i < n; i++) assert_int_equal(got[i], 'x');
        halt();
    }
    assert_true(kept > 0 && undone > 0);
}

/* A failed sync: what it did not save stays unsaved, though a later sync of
 * nothing new succeeds and reading still shows it. */
static void failed_sync_is_not_healed_by_the_next(void **state)
{
    (void)state;
    unsigned lost = 0;
    uint8_t got[16];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        boot(seed);
        durable_file("f", 'o', 8);
        vch_file_t *f = opened("f", VCH_OPEN_WRITE);
        MUST(put_at(f, "nnnnnnnn", 8, 0));
        vch_sim_fail_io(sim, 1, VCH_FAULT_EIO);
        assert_int_equal(port->disk->sync(port, f), VCH_ERR_IO);
        MUST(port->disk->sync(port, f));
        assert_int_equal(content("f", got, sizeof got), 8);
        assert_memory_equal(got, "nnnnnnnn", 8);
        vch_sim_crash(sim);
        vch_file_close(port, f);
        content("f", got, sizeof got);
        lost += got[0] == 'o';
        halt();
    }
    assert_true(lost > 0 && lost < SEEDS);
}

/* ---- power cuts: names ---------------------------------------------------------------- */

static void names_last_after_sync_dir_only(void **state)
{
    (void)state;
    unsigned there = 0, gone = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        boot(seed);
        MUST(vch_mkdirs(port, "d/e", NULL));
        vch_file_close(port, opened("d/e/sure", VCH_OPEN_NEW));
        MUST(port->disk->sync_dir(port, "d/e"));
        vch_file_t *f = opened("d/e/unsure", VCH_OPEN_NEW);
        MUST(put_at(f, "x", 1, 0));
        MUST(port->disk->sync(port, f)); /* its bytes, not its name */
        vch_sim_crash(sim);
        vch_file_close(port, f);
        assert_true(exists("d/e/sure"));
        *(exists("d/e/unsure") ? &there : &gone) += 1;
        halt();
    }
    assert_true(there > 0 && gone > 0);
}

/* A renaming is one step: never both names, never neither. */
static void renaming_is_whole_or_undone(void **state)
{
    (void)state;
    unsigned kept = 0, undone = 0;
    uint8_t got[8];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        boot(seed);
        durable_file("a", 'a', 4);
        durable_file("b", 'b', 4);
        MUST(port->disk->rename(port, "a", "b"));
        if (seed % 3 == 0) MUST(port->disk->sync_dir(port, "/"));
        vch_sim_crash(sim);
        assert_int_equal(content("b", got, sizeof got), 4);
        assert_int_equal(got[0], exists("a") ? 'b' : 'a');
        if (seed % 3 == 0)
            assert_false(exists("a"));
        else
            *(exists("a") ? &undone : &kept) += 1;
        halt();
    }
    assert_true(kept > 0 && undone > 0);
}

static void chain_of_renamings_leaves_one_name(void **state)
{
    (void)state;
    unsigned seen[4] = {0};
    static const char *names[] = {"a", "b", "c", "sub/d"};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        boot(seed);
        MUST(vch_mkdirs(port, "sub", NULL));
        durable_file("a", 'a', 4);
        for (int i = 0; i < 3; i++) MUST(port->disk->rename(port, names[i], names[i + 1]));
        vch_sim_crash(sim);
        unsigned count = 0;
        for (int i = 0; i < 4; i++) {
            count += exists(names[i]);
            seen[i] += exists(names[i]);
        }
        assert_int_equal(count, 1);
        halt();
    }
    for (int i = 0; i < 4; i++) assert_true(seen[i] > 0);
}

static void removal_is_kept_or_undone(void **state)
{
    (void)state;
    unsigned back = 0;
    uint8_t got[8];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        boot(seed);
        durable_file("f", 'f', 4);
        MUST(port->disk->remove(port, "f"));
        assert_false(exists("f"));
        if (seed % 2) MUST(port->disk->sync_dir(port, "."));
        vch_sim_crash(sim);
        if (seed % 2) assert_false(exists("f"));
        if (exists("f")) {
            back++;
            assert_int_equal(content("f", got, sizeof got), 4);
            assert_memory_equal(got, "ffff", 4);
        }
        halt();
    }
    assert_true(back > 0 && back < SEEDS / 2);
}

/* At every call of an atomic write the power may go: the file is wholly the
 * old or wholly the new one, and the new one once the call has returned. */
static void atomic_write_survives_any_cut(void **state)
{
    (void)state;
    unsigned olds = 0, news = 0;
    uint8_t got[2000], b[1500];
    memset(b, 'n', sizeof b);
    for (uint64_t seed = 1; seed <= 60; seed++) {
        for (uint64_t cut = 1;; cut++) {
            boot(seed * 1000 + cut);
            durable_file("f", 'o', 1000);
            vch_sim_cut_power_at(sim, cut);
            vch_rc rc = vch_write_atomic(port, "f", vch_slice(b, sizeof b), 0600, NULL);
            vch_sim_crash(sim);
            size_t n = content("f", got, sizeof got);
            assert_true(n == 1000 || n == 1500);
            for (size_t i = 0; i < n; i++) assert_int_equal(got[i], n == 1000 ? 'o' : 'n');
            if (rc == VCH_OK) assert_int_equal(n, 1500);
            *(n == 1000 ? &olds : &news) += rc != VCH_OK;
            halt();
            if (rc == VCH_OK) break;
            assert_true(cut < 20);
        }
    }
    assert_true(olds > 0 && news > 0);
}

/* The twin: without its syncs the same writing is caught red-handed. */
static void write_without_sync_is_caught(void **state)
{
    (void)state;
    unsigned broken = 0;
    uint8_t got[2000], b[1500];
    memset(b, 'n', sizeof b);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        boot(seed);
        durable_file("f", 'o', 1000);
        MUST(vch_write_derived(port, "f", vch_slice(b, sizeof b), NULL));
        vch_sim_crash(sim);
        size_t n = content("f", got, sizeof got);
        bool whole = n == 1000 || n == 1500;
        for (size_t i = 0; i < n; i++) whole = whole && got[i] == (n == 1000 ? 'o' : 'n');
        broken += !whole;
        halt();
    }
    assert_true(broken > 0);
}

static void crash_ends_handles_and_locks(void **state)
{
    (void)state;
    uint8_t b[4];
    size_t n;
    uint64_t size;
    boot(1);
    durable_file("f", 'f', 4);
    vch_file_t *f = opened("f", VCH_OPEN_WRITE);
    MUST(port->disk->lock(port, f, VCH_LOCK_EXCLUSIVE, 0));
    vch_sim_clock_step(sim, 100000);
    vch_sim_crash(sim);
    assert_true(port->clock->boot_ms(port) < 100000);
    assert_int_equal(port->disk->read(port, f, &n, b, 4, 0), VCH_ERR_IO);
    assert_int_equal(put_at(f, "x", 1, 0), VCH_ERR_IO);
    assert_int_equal(port->disk->sync(port, f), VCH_ERR_IO);
    assert_int_equal(port->disk->size(port, f, &size), VCH_ERR_IO);
    vch_file_t *again = opened("f", VCH_OPEN_WRITE);
    MUST(port->disk->lock(port, again, VCH_LOCK_EXCLUSIVE, 0));
    vch_file_close(port, f);
    vch_file_close(port, again);
    halt();
}

/* ---- repeatable ------------------------------------------------------------------------- */

static vch_rc digest_name(void *ctx, const char *name)
{
    uint8_t got[8192];
    uint32_t *crc = ctx;
    *crc = vch_crc32c(*crc, name, strlen(name) + 1);
    *crc = vch_crc32c(*crc, got, content(name, got, sizeof got));
    return VCH_OK;
}

static uint32_t random_life(uint64_t seed)
{
    uint32_t crc = 0;
    uint8_t b[2000];
    boot(seed);
    for (int step = 0; step < 200; step++) {
        char name[8], to[8];
        snprintf(name, sizeof name, "f%u", (unsigned)(vch_sim_next(sim) % 6));
        snprintf(to, sizeof to, "f%u", (unsigned)(vch_sim_next(sim) % 6));
        uint64_t what = vch_sim_next(sim) % 20;
        MUST(vch_random(port, b, sizeof b, NULL));
        if (what == 0) (void)port->disk->remove(port, name);
        if (what == 1) (void)port->disk->rename(port, name, to);
        if (what == 2) MUST(port->disk->sync_dir(port, "/"));
        if (what == 3) vch_sim_crash(sim);
        if (what < 4) continue;
        vch_file_t *f = opened(name, VCH_OPEN_CREATE);
        MUST(put_at(f, b, 1 + vch_sim_next(sim) % 1999, vch_sim_next(sim) % 3000));
        if (what > 15) MUST(port->disk->sync(port, f));
        vch_file_close(port, f);
    }
    vch_sim_crash(sim);
    MUST(port->disk->list(port, "/", digest_name, &crc));
    crc = vch_crc32c(crc, &(uint64_t){vch_sim_io_calls(sim)}, 8);
    halt();
    return crc;
}

static void same_seed_same_life(void **state)
{
    (void)state;
    unsigned differ = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        uint32_t once = random_life(seed);
        assert_int_equal(once, random_life(seed));
        differ += once != random_life(seed + 1000);
    }
    assert_int_equal(differ, 50);
}

/* ---- faults ----------------------------------------------------------------------------------- */

/* Ten calls of every kind that can fail. */
static void ten_calls(unsigned *ret_failed, vch_rc *ret_last)
{
    const vch_disk_ops_t *d = port->disk;
    vch_stat_t st;
    uint64_t v;
    uint8_t b[4];
    size_t n;
    vch_file_t *f = opened("f", VCH_OPEN_WRITE);
    vch_rc rc[10] = {put_at(f, "abcd", 4, 0),  d->read(port, f, &n, b, 4, 0), d->sync(port, f),
                     d->size(port, f, &v),     d->truncate(port, f, 4),       d->lock(port, f, VCH_LOCK_SHARED, 0),
                     d->stat(port, "f", &st),  d->sync_dir(port, "/"),        d->free_space(port, "/", &v),
                     d->rename(port, "f", "f")};
    vch_file_close(port, f);
    *ret_failed = 0;
    for (int i = 0; i < 10; i++) {
        if (rc[i] == VCH_OK) continue;
        ++*ret_failed;
        *ret_last = rc[i];
    }
}

static void nth_fault_fires_exactly_once(void **state)
{
    (void)state;
    static const struct {
        vch_fault_t how;
        vch_rc rc;
    } faults[] = {{VCH_FAULT_EIO, VCH_ERR_IO}, {VCH_FAULT_ENOSPC, VCH_ERR_FULL}};
    for (size_t k = 0; k < 2; k++) {
        for (uint64_t nth = 2; nth <= 14; nth++) { /* call 1 opens; 2 to 11 are the ten */
            unsigned failed;
            vch_rc last = VCH_OK;
            boot(nth);
            durable_file("f", 'x', 4);
            uint64_t before = vch_sim_io_calls(sim);
            vch_sim_fail_io(sim, nth, faults[k].how);
            ten_calls(&failed, &last);
            assert_int_equal(vch_sim_io_calls(sim) - before, 11);
            assert_int_equal(failed, nth <= 11);
            if (failed) assert_int_equal(last, faults[k].rc);
            vch_sim_fail_io(sim, 0, VCH_FAULT_NONE);
            ten_calls(&failed, &last);
            assert_int_equal(failed, 0);
            halt();
        }
    }
}

static void faults_can_be_taken_back(void **state)
{
    (void)state;
    unsigned failed;
    vch_rc last;
    boot(1);
    durable_file("f", 'x', 4);
    vch_sim_fail_io(sim, 3, VCH_FAULT_EIO);
    vch_sim_fail_io(sim, 0, VCH_FAULT_EIO);
    vch_sim_cut_power_at(sim, 3);
    vch_sim_cut_power_at(sim, 0);
    ten_calls(&failed, &last);
    assert_int_equal(failed, 0);
    halt();
}

static void power_stays_off_until_the_crash(void **state)
{
    (void)state;
    for (uint64_t cut = 2; cut <= 12; cut++) {
        unsigned failed;
        vch_rc last = VCH_OK;
        boot(cut);
        durable_file("f", 'x', 4);
        vch_sim_cut_power_at(sim, cut);
        ten_calls(&failed, &last);
        assert_int_equal(failed, 12 - cut);
        if (cut <= 11) assert_false(exists("f"));
        vch_sim_crash(sim);
        assert_true(exists("f"));
        ten_calls(&failed, &last);
        assert_int_equal(failed, 0);
        halt();
    }
}

static void nothing_written_without_power_arrives(void **state)
{
    (void)state;
    uint8_t got[8];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        boot(seed);
        durable_file("f", 'o', 4);
        vch_file_t *f = opened("f", VCH_OPEN_WRITE);
        vch_sim_cut_power_at(sim, 1);
        assert_int_equal(put_at(f, "nnnn", 4, 0), VCH_ERR_IO);
        assert_int_equal(port->disk->sync(port, f), VCH_ERR_IO);
        assert_int_equal(port->disk->remove(port, "f"), VCH_ERR_IO);
        vch_sim_crash(sim);
        vch_file_close(port, f);
        assert_int_equal(content("f", got, sizeof got), 4);
        assert_memory_equal(got, "oooo", 4);
        halt();
    }
}

static void interruptions_and_short_counts_stay_inside(void **state)
{
    (void)state;
    static const vch_fault_t faults[] = {VCH_FAULT_EINTR, VCH_FAULT_SHORT};
    static uint8_t b[5000];
    for (size_t i = 0; i < sizeof b; i++) b[i] = (uint8_t)(i * 7 + 1);
    for (uint64_t nth = 1; nth <= 24; nth++) {
        for (int k = 0; k < 2; k++) {
            vch_buf_t got;
            uint8_t part[3000];
            vch_buf_init(&got, sizeof b);
            boot(nth);
            vch_sim_fail_io(sim, nth, faults[k]);
            MUST(vch_mkdirs(port, "d", NULL));
            MUST(vch_write_atomic(port, "d/f", vch_slice(b, sizeof b), 0600, NULL));
            MUST(vch_read_all(port, &got, "d/f", sizeof b, NULL));
            vch_file_t *f = opened("d/f", VCH_OPEN_READ);
            MUST(vch_file_read(port, f, part, sizeof part, 1000, NULL));
            vch_file_close(port, f);
            assert_true(vch_slice_eq(vch_buf_slice(&got), vch_slice(b, sizeof b)));
            assert_memory_equal(part, b + 1000, sizeof part);
            vch_buf_free(&got);
            halt();
        }
    }
}

static void flip_changes_one_durable_byte(void **state)
{
    (void)state;
    uint8_t got[16];
    boot(1);
    durable_file("f", 'x', 8);
    assert_false(vch_sim_flip(sim, "none", 0, 1));
    assert_false(vch_sim_flip(sim, "/", 0, 1));
    assert_false(vch_sim_flip(sim, "f", 8, 1));
    assert_true(vch_sim_flip(sim, "f", 3, 0x80));
    for (int reboot = 0; reboot < 2; reboot++) {
        assert_int_equal(content("f", got, sizeof got), 8);
        for (size_t i = 0; i < 8; i++) assert_int_equal(got[i], i == 3 ? 'x' ^ 0x80 : 'x');
        vch_sim_crash(sim);
    }
    vch_file_close(port, opened("empty", VCH_OPEN_NEW));
    assert_false(vch_sim_flip(sim, "empty", 0, 1));
    halt();
}

/* ---- memory, clock ------------------------------------------------------------------------------ */

static void allocator_counts_and_refuses(void **state)
{
    (void)state;
    boot(1);
    vch_mem_use(vch_sim_mem(sim));
    void *a = vch_alloc(100), *b = vch_alloc(50);
    assert_int_equal(vch_sim_mem_live(sim), 150);
    assert_int_equal(vch_sim_alloc_calls(sim), 2);
    vch_sim_fail_alloc(sim, 2);
    a = vch_resize(a, 300);
    assert_non_null(a);
    assert_null(vch_alloc(10));
    void *c = vch_alloc(10);
    assert_non_null(c);
    vch_sim_fail_alloc(sim, 1);
    assert_null(vch_resize(a, 400)); /* the old block stays */
    assert_int_equal(vch_sim_mem_live(sim), 360);
    memset(a, 1, 300);
    vch_free(a);
    vch_free(b);
    vch_free(c);
    assert_int_equal(vch_sim_mem_live(sim), 0);
    vch_sim_fail_alloc(sim, 1);
    vch_sim_fail_alloc(sim, 0);
    a = vch_alloc(1);
    assert_non_null(a);
    vch_free(a);
    assert_int_equal((uintptr_t)a % 16, 0);
    vch_mem_use(NULL);
    halt();
}

/* Refuse each allocation of a whole-file read in turn: a clean failure, no leak. */
static void helpers_survive_each_refusal(void **state)
{
    (void)state;
    uint64_t nth = 1;
    for (bool done = false; !done; nth++) {
        boot(nth);
        durable_file("f", 'x', 5000);
        vch_mem_use(vch_sim_mem(sim));
        vch_buf_t b;
        vch_buf_init(&b, 8192);
        vch_sim_fail_alloc(sim, nth);
        vch_rc rc = vch_read_all(port, &b, "f", 8192, NULL);
        done = rc == VCH_OK;
        assert_true(done || (rc == VCH_ERR_MEMORY && b.n == 0));
        vch_buf_free(&b);
        assert_int_equal(vch_sim_mem_live(sim), 0);
        vch_mem_use(NULL);
        halt();
    }
    assert_true(nth > 2); /* at least one was refused */
}

static void clocks_go_only_when_told(void **state)
{
    (void)state;
    boot(1);
    uint64_t wall = port->clock->wall_ms(port), up = port->clock->boot_ms(port);
    assert_int_equal(port->clock->wall_ms(port), wall);
    port->clock->sleep_ms(port, 10);
    vch_sim_clock_step(sim, 5);
    assert_int_equal(port->clock->wall_ms(port), wall + 15);
    assert_int_equal(port->clock->boot_ms(port), up + 15);
    vch_sim_clock_jump(sim, -3600000);
    assert_int_equal(port->clock->wall_ms(port), wall + 15 - 3600000);
    assert_int_equal(port->clock->boot_ms(port), up + 15);
    halt();
}

/* ---- network ----------------------------------------------------------------------------------------- */

typedef struct {
    unsigned missing, single, twice;
} fates_t;

/* Send 1, 2, 3, … one byte each, and count what comes out at the other end. */
static fates_t send_many(unsigned n, uint64_t wait_ms)
{
    const vch_net_ops_t *net = port->net;
    vch_conn_t *l, *a, *b;
    unsigned counts[256] = {0};
    fates_t fates = {0};
    MUST(net->listen(port, &l, "unix:/s"));
    MUST(net->connect(port, &a, "unix:/s", 10));
    MUST(net->accept(port, l, &b, 10));
    for (unsigned i = 0; i < n; i++) MUST(net->send(port, a, &(uint8_t){(uint8_t)i}, 1));
    net->close(port, a);
    uint8_t byte, last = 0;
    size_t got = 1;
    while (got) {
        MUST(net->recv(port, b, &got, &byte, 1, wait_ms));
        if (!got) break;
        assert_true(byte >= last); /* a stream never reorders */
        last = byte;
        counts[byte]++;
    }
    for (unsigned i = 0; i < n; i++) {
        assert_true(counts[i] <= 2);
        *(counts[i] == 0 ? &fates.missing : counts[i] == 1 ? &fates.single : &fates.twice) += 1;
    }
    net->close(port, b);
    net->close(port, l);
    return fates;
}

static void network_drops_doubles_and_delays(void **state)
{
    (void)state;
    boot(1);
    fates_t calm = send_many(250, 0);
    assert_int_equal(calm.single, 250);
    vch_sim_net_faults(sim, 20, 0, 0);
    fates_t lossy = send_many(250, 0);
    assert_true(lossy.missing > 20 && lossy.missing < 90 && lossy.twice == 0);
    vch_sim_net_faults(sim, 0, 20, 0);
    fates_t doubling = send_many(250, 0);
    assert_true(doubling.twice > 20 && doubling.twice < 90 && doubling.missing == 0);
    vch_sim_net_faults(sim, 0, 0, 50);
    uint64_t before = port->clock->boot_ms(port);
    fates_t late = send_many(250, 50);
    assert_int_equal(late.single, 250);
    assert_true(port->clock->boot_ms(port) > before && port->clock->boot_ms(port) <= before + 50);
    vch_sim_net_faults(sim, 100, 0, 0);
    assert_int_equal(send_many(250, 0).missing, 250);
    halt();
}

static void late_message_comes_after_its_time_only(void **state)
{
    (void)state;
    vch_conn_t *l, *a, *b, *waiting;
    uint8_t byte;
    size_t n = 7;
    boot(3);
    const vch_net_ops_t *net = port->net;
    vch_sim_net_faults(sim, 0, 0, 1000000);
    MUST(net->listen(port, &l, "tcp:127.0.0.1:7117"));
    MUST(net->connect(port, &a, "tcp:127.0.0.1:7117", 0));
    MUST(net->connect(port, &waiting, "tcp:127.0.0.1:7117", 0));
    MUST(net->accept(port, l, &b, 0));
    MUST(net->send(port, a, "x", 1));
    assert_int_equal(net->recv(port, b, &n, &byte, 1, 0), VCH_ERR_UNREACHABLE);
    assert_int_equal(n, 7);
    MUST(net->recv(port, b, &n, &byte, 1, 1000000));
    assert_int_equal(byte, 'x');
    MUST(net->send(port, a, "y", 1));
    vch_sim_crash(sim); /* streams and listeners are gone */
    MUST(net->recv(port, b, &n, &byte, 1, 0));
    assert_int_equal(n, 0);
    assert_int_equal(net->send(port, a, "z", 1), VCH_ERR_UNREACHABLE);
    assert_int_equal(net->send(port, waiting, "z", 1), VCH_ERR_UNREACHABLE);
    net->close(port, a);
    net->close(port, b);
    net->close(port, waiting);
    net->close(port, l);
    assert_int_equal(net->connect(port, &a, "tcp:127.0.0.1:7117", 0), VCH_ERR_UNREACHABLE);
    halt();
}

/* ---- size and speed ------------------------------------------------------------------------------------- */

/* A preallocated file of 64 MiB of zeros costs no pages, and cuts stay cheap. */
static void big_empty_files_are_cheap(void **state)
{
    (void)state;
    static uint8_t zeros[1u << 20];
    boot(1);
    vch_file_t *f = opened("log", VCH_OPEN_NEW);
    for (uint64_t i = 0; i < 64; i++) MUST(put_at(f, zeros, sizeof zeros, i << 20));
    MUST(port->disk->sync(port, f));
    MUST(port->disk->sync_dir(port, "/"));
    for (uint64_t i = 0; i < 2000; i++) {
        MUST(put_at(f, &i, sizeof i, i * sizeof i));
        MUST(port->disk->sync(port, f));
        MUST(put_at(f, "unsynced", 8, 32u << 20));
        vch_sim_crash(sim);
        vch_file_close(port, f);
        f = opened("log", VCH_OPEN_WRITE);
    }
    uint64_t size, value;
    MUST(port->disk->size(port, f, &size));
    assert_int_equal(size, 64u << 20);
    for (uint64_t i = 0; i < 2000; i++) {
        MUST(vch_file_read(port, f, &value, 8, i * 8, NULL));
        assert_int_equal(value, i);
    }
    vch_file_close(port, f);
    halt();
}

static vch_rc count_name(void *ctx, const char *name)
{
    (void)name;
    ++*(unsigned *)ctx;
    return VCH_OK;
}

/* More unsynced changes than the journal holds: the books stay right. */
static void many_unsynced_names(void **state)
{
    (void)state;
    unsigned there = 0;
    boot(5);
    durable_file("old", 'o', 4);
    for (int i = 0; i < 12000; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d", i % 3000);
        MUST(vch_write_derived(port, name, vch_str("x"), NULL));
        if (i % 5 == 0) MUST(port->disk->remove(port, name));
    }
    MUST(port->disk->list(port, "/", count_name, &there));
    assert_int_equal(there, 1 + 3000 - 600);
    MUST(port->disk->sync_dir(port, "/"));
    vch_sim_crash(sim);
    there = 0;
    MUST(port->disk->list(port, "/", count_name, &there));
    assert_int_equal(there, 1 + 3000 - 600);
    halt();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_old_or_new),
        cmocka_unit_test(sectors_are_kept_dropped_or_torn_once),
        cmocka_unit_test(synced_bytes_and_size_survive),
        cmocka_unit_test(truncation_is_kept_or_undone),
        cmocka_unit_test(failed_sync_is_not_healed_by_the_next),
        cmocka_unit_test(names_last_after_sync_dir_only),
        cmocka_unit_test(renaming_is_whole_or_undone),
        cmocka_unit_test(chain_of_renamings_leaves_one_name),
        cmocka_unit_test(removal_is_kept_or_undone),
        cmocka_unit_test(atomic_write_survives_any_cut),
        cmocka_unit_test(write_without_sync_is_caught),
        cmocka_unit_test(crash_ends_handles_and_locks),
        cmocka_unit_test(same_seed_same_life),
        cmocka_unit_test(nth_fault_fires_exactly_once),
        cmocka_unit_test(faults_can_be_taken_back),
        cmocka_unit_test(power_stays_off_until_the_crash),
        cmocka_unit_test(nothing_written_without_power_arrives),
        cmocka_unit_test(interruptions_and_short_counts_stay_inside),
        cmocka_unit_test(flip_changes_one_durable_byte),
        cmocka_unit_test(allocator_counts_and_refuses),
        cmocka_unit_test(helpers_survive_each_refusal),
        cmocka_unit_test(clocks_go_only_when_told),
        cmocka_unit_test(network_drops_doubles_and_delays),
        cmocka_unit_test(late_message_comes_after_its_time_only),
        cmocka_unit_test(big_empty_files_are_cheap),
        cmocka_unit_test(many_unsynced_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
