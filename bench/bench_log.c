/* SPDX-License-Identifier: Apache-2.0 */
/* Durable appends of 200-byte records at batch 1, 16 and 1,024: our log layer
 * (framed, checksummed, hashed into the tree), raw pwrite + fdatasync of the
 * same payload, and SQLite in WAL mode with synchronous=FULL.
 *
 * In bursts, each side on files that it keeps open: raw writes into zeros that
 * were put there off the clock, and ours has a pause before each burst in
 * which it fills ahead by itself, as a log that is not always written to does.
 * Without pause, on fresh files: nothing is filled ahead, and raw grows its
 * file as ours does. */
#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include "bench.h"
#include "log/log.h"
#include "tree.h"

#define RECORD 200
#define WARM_BYTES (12u << 20) /* of records; then the log knows that it pays to fill ahead, */
#define WARM_MS 1500           /* and this is time enough to do it */
#define PAUSE_MS 400           /* before each burst */
#define ROOM ((off_t)64 << 20) /* of zeros before raw */

typedef struct {
    char dir[512];
    int number;
    size_t batch, appends; /* in one turn */
    uint8_t data[1024][RECORD];
    vch_log_t *log;
    char log_dir[600];
    int raw;
    off_t raw_at, raw_room;
    sqlite3 *db;
    sqlite3_stmt *insert;
} ctx_t;

static void fill(ctx_t *c)
{
    uint32_t x = 0x2545f491;
    for (size_t i = 0; i < 1024; i++)
        for (size_t k = 0; k < RECORD; k++) {
            x = x * 1664525u + 1013904223u;
            c->data[i][k] = (uint8_t)(x >> 24);
        }
}

static void die(const char *what)
{
    fprintf(stderr, "bench: %s failed\n", what);
    exit(1);
}

static void remove_dir(const char *path)
{
    if (tree_remove(path) != 0) die("removing a folder");
}

static double rate(const ctx_t *c, double took) { return (double)(c->appends * c->batch) / took; }

/* ---- ours ---- */

static void log_open(ctx_t *c)
{
    vch_hash_t network = {{1}};
    vch_recovery_t recovery;
    vch_port_t *port = vch_port_real();
    snprintf(c->log_dir, sizeof c->log_dir, "%s/ours-%d", c->dir, c->number++);
    if (vch_mkdirs(port, c->log_dir, NULL) || vch_log_create(port, c->log_dir, &network, NULL) ||
        vch_log_open(&c->log, port, c->log_dir, NULL, &recovery, NULL))
        die("log open");
}

static void log_end(ctx_t *c)
{
    vch_log_close(c->log);
    c->log = NULL;
    remove_dir(c->log_dir);
}

static void log_append(ctx_t *c, size_t appends)
{
    static vch_record_t record[1024];
    uint64_t first;
    for (size_t i = 0; i < 1024; i++) record[i] = (vch_record_t){.entry = {c->data[i], RECORD}};
    for (size_t i = 0; i < appends; i++)
        if (vch_log_append(c->log, 1, (vch_time_t){1}, record, c->batch, &first, NULL)) die("append");
}

static double ours_burst(void *p)
{
    ctx_t *c = p;
    vch_clock_ops_t clock = *vch_port_real()->clock;
    if (!c->log) {
        log_open(c);
        log_append(c, 1 + WARM_BYTES / RECORD / 1024 * (c->batch == 1024));
        clock.sleep_ms(vch_port_real(), WARM_MS);
    }
    clock.sleep_ms(vch_port_real(), PAUSE_MS);
    double start = bench_now();
    log_append(c, c->appends);
    return rate(c, bench_now() - start);
}

static double ours_fresh(void *p)
{
    ctx_t *c = p;
    log_open(c);
    double start = bench_now();
    log_append(c, c->appends);
    double took = bench_now() - start;
    log_end(c);
    return rate(c, took);
}

/* ---- raw ---- */

static void raw_open(ctx_t *c)
{
    char path[600];
    snprintf(path, sizeof path, "%s/raw", c->dir);
    c->raw = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (c->raw < 0) die("raw open");
    c->raw_at = c->raw_room = 0;
}

static double raw_append(ctx_t *c)
{
    size_t n = c->batch * RECORD;
    double start = bench_now();
    for (size_t i = 0; i < c->appends; i++) {
        if (pwrite(c->raw, c->data, n, c->raw_at) != (ssize_t)n || fdatasync(c->raw) != 0) die("raw write");
        c->raw_at += (off_t)n;
    }
    return rate(c, bench_now() - start);
}

static double raw_burst(void *p)
{
    static uint8_t zeros[1 << 20];
    ctx_t *c = p;
    if (c->raw < 0) raw_open(c);
    if (c->raw_at + (off_t)(c->appends * c->batch * RECORD) > c->raw_room) {
        for (off_t i = 0; i < ROOM; i += (off_t)sizeof zeros)
            if (pwrite(c->raw, zeros, sizeof zeros, c->raw_room + i) < 0) die("raw fill");
        c->raw_room += ROOM;
        if (fsync(c->raw) != 0) die("raw fill");
    }
    return raw_append(c);
}

static double raw_fresh(void *p)
{
    ctx_t *c = p;
    raw_open(c);
    double got = raw_append(c);
    close(c->raw);
    c->raw = -1;
    return got;
}

/* ---- SQLite ---- */

static void sqlite_open(ctx_t *c)
{
    char path[700];
    snprintf(path, sizeof path, "%s/sqlite-%d", c->dir, c->number++);
    if (sqlite3_open(path, &c->db) ||
        sqlite3_exec(c->db,
                     "pragma journal_mode=wal; pragma synchronous=full; create table t(i integer primary key, b blob)",
                     NULL, NULL, NULL) ||
        sqlite3_prepare_v2(c->db, "insert into t(b) values(?)", -1, &c->insert, NULL))
        die("sqlite");
}

static void sqlite_end(ctx_t *c)
{
    sqlite3_finalize(c->insert);
    sqlite3_close(c->db);
    c->db = NULL;
}

static double sqlite_burst(void *p)
{
    ctx_t *c = p;
    if (!c->db) sqlite_open(c);
    double start = bench_now();
    for (size_t k = 0; k < c->appends; k++) {
        sqlite3_exec(c->db, "begin", NULL, NULL, NULL);
        for (size_t i = 0; i < c->batch; i++) {
            sqlite3_bind_blob(c->insert, 1, c->data[i], RECORD, SQLITE_STATIC);
            if (sqlite3_step(c->insert) != SQLITE_DONE) die("insert");
            sqlite3_reset(c->insert);
        }
        if (sqlite3_exec(c->db, "commit", NULL, NULL, NULL)) die("commit");
    }
    return rate(c, bench_now() - start);
}

/* ---- the rows ---- */

#define ROUNDS 11

void bench_log(const char *dir)
{
    static ctx_t c = {.raw = -1};
    static const struct {
        size_t batch, appends;
        const char *raw_name, *sqlite_name;
        double sqlite_aim;
    } sizes[] = {
        {1, 300, "append, batch 1, bursts, against raw", "append, batch 1, bursts, against SQLite", 1},
        {16, 300, "append, batch 16, bursts, against raw", "append, batch 16, bursts, against SQLite", 1},
        {1024, 100, "append, batch 1,024, bursts, against raw", "append, batch 1,024, bursts, against SQLite", 3},
    };
    snprintf(c.dir, sizeof c.dir, "%s/vch-bench-%d", dir, (int)getpid());
    fill(&c);
    if (vch_mkdirs(vch_port_real(), c.dir, NULL)) die("mkdir");
    for (size_t i = 0; i < 3; i++) {
        c.batch = sizes[i].batch;
        c.appends = sizes[i].appends;
        bench_in_turns(sizes[i].raw_name, "records/s", "pwrite+fdatasync", ours_burst, raw_burst, &c, ROUNDS, 0.6,
                       false);
        bench_in_turns(sizes[i].sqlite_name, "records/s", "SQLite WAL/FULL", ours_burst, sqlite_burst, &c, ROUNDS,
                       sizes[i].sqlite_aim, false);
        log_end(&c);
        sqlite_end(&c);
        close(c.raw);
        c.raw = -1;
    }
    bench_in_turns("append, batch 1,024, without pause", "records/s", "raw, growing file", ours_fresh, raw_fresh, &c,
                   ROUNDS, 0.6, false);
    remove_dir(c.dir);
}
