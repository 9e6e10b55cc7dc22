/* SPDX-License-Identifier: Apache-2.0 */
/* Durable appends of 200-byte records at batch 1, 16 and 1,024: our log layer
 * (framed, checksummed, hashed into the tree), raw pwrite + fdatasync of the
 * same payload into a zero-filled file, and SQLite in WAL mode with
 * synchronous=FULL. */
#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include "bench.h"
#include "log/log.h"
#include "tree.h"

#define RECORD 200

typedef struct {
    char dir[512];
    int number;
    size_t batch;
    double seconds;
    uint8_t data[1024][RECORD];
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

static double ours(void *p)
{
    ctx_t *c = p;
    char dir[600];
    vch_hash_t network = {{1}};
    vch_log_t *log;
    vch_recovery_t recovery;
    vch_record_t record[1024];
    uint64_t first, done = 0;
    snprintf(dir, sizeof dir, "%s/ours-%d", c->dir, c->number++);
    vch_port_t *port = vch_port_real();
    if (vch_mkdirs(port, dir, NULL) || vch_log_create(port, dir, &network, NULL) ||
        vch_log_open(&log, port, dir, NULL, &recovery, NULL))
        die("log open");
    for (size_t i = 0; i < 1024; i++) record[i] = (vch_record_t){.entry = {c->data[i], RECORD}};
    double start = bench_now(), took;
    do {
        if (vch_log_append(log, 1, (vch_time_t){1}, record, c->batch, &first, NULL)) die("append");
        done += c->batch;
        took = bench_now() - start;
    } while (took < c->seconds);
    vch_log_close(log);
    remove_dir(dir);
    return (double)done / took;
}

static double raw(void *p)
{
    ctx_t *c = p;
    char path[600];
    static uint8_t zeros[1 << 20];
    snprintf(path, sizeof path, "%s/raw-%d", c->dir, c->number++);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) die("raw open");
    off_t room = 0, at = 0;
    uint64_t done = 0;
    double took = 0;
    do {
        size_t n = c->batch * RECORD;
        if (at + (off_t)n > room) { /* zeros go in ahead of time, off the clock */
            for (int i = 0; i < 128; i++)
                if (pwrite(fd, zeros, sizeof zeros, room + i * (off_t)sizeof zeros) < 0) die("raw fill");
            room += 128 * (off_t)sizeof zeros;
            fsync(fd);
        }
        double start = bench_now();
        if (pwrite(fd, c->data, n, at) != (ssize_t)n || fdatasync(fd) != 0) die("raw write");
        took += bench_now() - start;
        at += (off_t)n;
        done += c->batch;
    } while (took < c->seconds);
    close(fd);
    unlink(path);
    return (double)done / took;
}

static double sqlite(void *p)
{
    ctx_t *c = p;
    char dir[600], path[700];
    sqlite3 *db;
    sqlite3_stmt *insert;
    snprintf(dir, sizeof dir, "%s/sqlite-%d", c->dir, c->number++);
    if (vch_mkdirs(vch_port_real(), dir, NULL)) die("mkdir");
    snprintf(path, sizeof path, "%s/db", dir);
    if (sqlite3_open(path, &db) ||
        sqlite3_exec(db,
                     "pragma journal_mode=wal; pragma synchronous=full; create table t(i integer primary key, b blob)",
                     NULL, NULL, NULL) ||
        sqlite3_prepare_v2(db, "insert into t(b) values(?)", -1, &insert, NULL))
        die("sqlite");
    uint64_t done = 0;
    double start = bench_now(), took;
    do {
        sqlite3_exec(db, "begin", NULL, NULL, NULL);
        for (size_t i = 0; i < c->batch; i++) {
            sqlite3_bind_blob(insert, 1, c->data[i], RECORD, SQLITE_STATIC);
            if (sqlite3_step(insert) != SQLITE_DONE) die("insert");
            sqlite3_reset(insert);
        }
        if (sqlite3_exec(db, "commit", NULL, NULL, NULL)) die("commit");
        done += c->batch;
        took = bench_now() - start;
    } while (took < c->seconds);
    sqlite3_finalize(insert);
    sqlite3_close(db);
    remove_dir(dir);
    return (double)done / took;
}

void bench_log(const char *dir)
{
    static ctx_t c;
    static const struct {
        size_t batch;
        const char *raw_name, *sqlite_name;
        double raw_aim, sqlite_aim;
    } sizes[] = {
        {1, "append, batch 1, against raw", "append, batch 1, against SQLite", 0.6, 1},
        {16, "append, batch 16, against raw", "append, batch 16, against SQLite", 0.6, 1},
        {1024, "append, batch 1,024, against raw", "append, batch 1,024, against SQLite", 0.6, 3},
    };
    snprintf(c.dir, sizeof c.dir, "%s/vch-bench-%d", dir, (int)getpid());
    c.seconds = 1.0;
    fill(&c);
    if (vch_mkdirs(vch_port_real(), c.dir, NULL)) die("mkdir");
    for (size_t i = 0; i < 3; i++) {
        c.batch = sizes[i].batch;
        bench_in_turns(sizes[i].raw_name, "records/s", "pwrite+fdatasync", ours, raw, &c, 5, sizes[i].raw_aim, false);
        bench_in_turns(sizes[i].sqlite_name, "records/s", "SQLite WAL/FULL", ours, sqlite, &c, 5, sizes[i].sqlite_aim,
                       false);
    }
    remove_dir(c.dir);
}
