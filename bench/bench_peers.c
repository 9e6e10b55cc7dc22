/* SPDX-License-Identifier: Apache-2.0 */
/* The log layer against other ledgers (bench/peers, programs of their own,
 * run in turns on the same disk): records of 200 bytes from 1, 16 and 1,024
 * clients who each wait for theirs.  What arrived while the last sync ran is
 * one batch, so with N clients ours are batches of N.
 *
 *   durable      on the disk, with a place in the log
 *   integrated   and in the tree, under a checkpoint that is signed and synced
 *   shown        and the tiles and entry bundles for outside readers written,
 *                every 100 ms and once at the end, within the time measured.
 *                Tessera has done that when it calls an entry integrated; ours
 *                proves from the tree in memory and lets the files follow */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "crypto/keys.h"
#include "entry/note.h"
#include "log/log.h"
#include "tree.h"

#define RECORD 200
#define ROUNDS 3
#define ORIGIN "bench.example/log"

typedef struct {
    const char *program; /* of the peer */
    const char *mode;    /* its last argument, or NULL */
    char dir[512];
    unsigned clients;
    bool integrated, shown;
    double seconds;
    int number;
    vch_signer_t *key;
} ctx_t;

static void die(const char *what)
{
    fprintf(stderr, "bench: %s failed\n", what);
    exit(1);
}

/* ---- ours ------------------------------------------------------------------ */

static void sign(const ctx_t *c, vch_log_t *log)
{
    vch_hash_t root;
    vch_buf_t note, text;
    uint64_t size = vch_log_size(log);
    vch_buf_init(&note, VCH_NOTE_BYTES_MAX);
    vch_buf_init(&text, VCH_NOTE_BYTES_MAX);
    if (vch_log_root(log, size, &root, NULL) || vch_checkpoint_put(&text, ORIGIN, size, &root) ||
        vch_buf_put(&note, text.p, text.n) || vch_buf_u8(&note, '\n') ||
        vch_note_sign(&note, vch_buf_slice(&text), ORIGIN, c->key) ||
        vch_log_sign(log, size, vch_buf_slice(&note), NULL))
        die("signing");
    vch_buf_free(&text);
    vch_buf_free(&note);
}

/* Outside readers see the tree ten times a second, as with Tessera's checkpoint
 * interval of 100 ms. */
typedef struct {
    vch_log_t *log;
    atomic_bool stop;
    pthread_t thread;
} shower_t;

static void show(vch_log_t *log)
{
    if (vch_log_publish_tiles(log, vch_log_signed(log), NULL) || vch_log_publish_head(log, NULL)) die("publishing");
}

static void *show_now_and_then(void *p)
{
    shower_t *s = p;
    while (!s->stop) {
        usleep(100000);
        show(s->log);
    }
    return NULL;
}

static double ours(void *p)
{
    ctx_t *c = p;
    char dir[600];
    static uint8_t data[RECORD];
    static vch_record_t record[1024];
    vch_hash_t network = {{1}};
    vch_log_t *log;
    vch_recovery_t recovery;
    uint64_t first, done = 0;
    vch_port_t *port = vch_port_real();
    snprintf(dir, sizeof dir, "%s/ours-%d", c->dir, c->number++);
    if (vch_mkdirs(port, dir, NULL) || vch_log_create(port, dir, &network, NULL) ||
        vch_log_open(&log, port, dir, NULL, &recovery, NULL))
        die("opening a log");
    for (unsigned i = 0; i < c->clients; i++) record[i] = (vch_record_t){.entry = {data, RECORD}};
    shower_t shower = {.log = log};
    if (c->shown && pthread_create(&shower.thread, NULL, show_now_and_then, &shower) != 0) die("a thread");
    double start = bench_now(), took;
    do {
        vch_put_u64(data, done);
        if (vch_log_append(log, 1, (vch_time_t){1}, record, c->clients, &first, NULL)) die("append");
        if (c->integrated) sign(c, log);
        done += c->clients;
        took = bench_now() - start;
    } while (took < c->seconds);
    if (c->shown) {
        shower.stop = true;
        pthread_join(shower.thread, NULL);
        show(log);
        took = bench_now() - start;
    }
    vch_log_close(log);
    if (tree_remove(dir) != 0) die("removing a folder");
    return (double)done / took;
}

/* ---- theirs ------------------------------------------------------------------- */

static void run_peer(const ctx_t *c, const char *dir, int out)
{
    char clients[16], seconds[16], log[600];
    snprintf(clients, sizeof clients, "%u", c->clients);
    snprintf(seconds, sizeof seconds, "%g", c->seconds);
    snprintf(log, sizeof log, "%s/peer.log", c->dir); /* it is chatty; a failure leaves the folder to look at */
    if (dup2(out, STDOUT_FILENO) < 0 || !freopen(log, "w", stderr)) _exit(126);
    execl(c->program, c->program, dir, clients, seconds, c->mode, (char *)NULL);
    _exit(127);
}

/* A program that prints its records per second. */
static double theirs(void *p)
{
    ctx_t *c = p;
    char dir[600], text[64] = "";
    int pipe_fd[2], status = 0;
    snprintf(dir, sizeof dir, "%s/peer-%d", c->dir, c->number++);
    if (pipe(pipe_fd) != 0) die("pipe");
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) run_peer(c, dir, pipe_fd[1]);
    close(pipe_fd[1]);
    size_t have = 0;
    for (ssize_t n = 1; n > 0 && have<sizeof text - 1; have += n> 0 ? (size_t)n : 0)
        n = read(pipe_fd[0], text + have, sizeof text - 1 - have);
    close(pipe_fd[0]);
    if (waitpid(child, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) die(c->program);
    double rate = strtod(text, NULL);
    if (!(rate > 0)) die(c->program);
    if (tree_remove(dir) != 0) die("removing a folder");
    return rate;
}

/* ---- the rows -------------------------------------------------------------------- */

typedef struct {
    const char *name, *peer, *program, *mode;
    unsigned clients;
    double aim;
    bool shown;
} row_t;

static const row_t table[] = {
    {"durable, 1 client", "Tessera, durable", "tessera", "durable", 1, 15},
    {"durable, 16 clients", "Tessera, durable", "tessera", "durable", 16, 15},
    {"durable, 1,024 clients", "Tessera, durable", "tessera", "durable", 1024, 30},
    {"under a signed checkpoint, 1 client", "Tessera, integrated", "tessera", "integrated", 1, 200},
    {"under a signed checkpoint, 1,024 clients", "Tessera, integrated", "tessera", "integrated", 1024, 200},
    {"shown to outside readers, 1 client", "Tessera, integrated", "tessera", "integrated", 1, 0, true},
    {"shown to outside readers, 1,024 clients", "Tessera, integrated", "tessera", "integrated", 1024, 0, true},
    {"durable, 1 client", "immudb, synced", "immudb", NULL, 1, 20},
    {"durable, 16 clients", "immudb, synced", "immudb", NULL, 16, 20},
    {"durable, 1,024 clients", "immudb, synced", "immudb", NULL, 1024, 20},
};

void bench_peers(const char *dir)
{
    static const uint8_t seed[32] = {7};
    const char *folder = getenv("BENCH_PEERS");
    ctx_t c = {.seconds = 2};
    char program[600];
    snprintf(c.dir, sizeof c.dir, "%s/vch-peers-%d", dir, (int)getpid());
    if (vch_crypto_start() || vch_signer_new(&c.key, VCH_ALG_ED25519, seed, NULL)) die("making a key");
    if (vch_mkdirs(vch_port_real(), c.dir, NULL)) die("mkdir");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const row_t *row = &table[i];
        snprintf(program, sizeof program, "%s/%s", folder ? folder : "build/peers", row->program);
        if (access(program, X_OK) != 0) {
            printf("%-46s skipped: there is no %s (tools/bench.sh builds it)\n", row->name, program);
            continue;
        }
        c.program = program;
        c.mode = row->mode;
        c.clients = row->clients;
        c.shown = row->shown;
        c.integrated = row->mode && strcmp(row->mode, "integrated") == 0;
        bench_in_turns(row->name, "records/s", row->peer, ours, theirs, &c, ROUNDS, row->aim, false);
    }
    vch_signer_free(c.key);
    if (tree_remove(c.dir) != 0) die("removing a folder");
}
