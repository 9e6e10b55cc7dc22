/* SPDX-License-Identifier: Apache-2.0 */
/* A witness: checkpoints of one log, each a step further with its consistency
 * proof, cosigned one after the other and synced before each answer.  The peer
 * is what can't be avoided: a synced write, one signature checked, one made. */
#include <fcntl.h>
#include <sodium.h>
#include <unistd.h>

#include "bench.h"
#include "node/witness.h"
#include "toylog.h"
#include "tree.h"

#define ROUNDS 5
#define STEPS 400u
#define BYTES 512

typedef struct {
    char dir[600], home[700];
    vch_witness_t *witness;
    toylog_t *log;
    size_t size;
    uint8_t pub[32], secret[64], sig[64], text[200];
    int fd;
} ctx_t;

static void die(const char *what)
{
    fprintf(stderr, "bench: %s failed\n", what);
    exit(1);
}

static void cosign(ctx_t *c, const vch_buf_t *body)
{
    int status = 0;
    vch_buf_t answer = toy_buf();
    if (vch_witness_add(c->witness, vch_buf_slice(body), &status, &answer, NULL) != VCH_OK || status != 200)
        die("cosigning");
    vch_buf_free(&answer);
}

static double ours(void *p)
{
    ctx_t *c = p;
    double took = 0;
    toy_grow(c->log, c->size + STEPS, 0);
    for (unsigned i = 0; i < STEPS; i++, c->size++) {
        vch_buf_t body = toy_ask(c->log, c->size, c->size + 1);
        double start = bench_now();
        cosign(c, &body);
        took += bench_now() - start;
        vch_buf_free(&body);
    }
    return STEPS / took;
}

static double floor_rate(void *p)
{
    ctx_t *c = p;
    uint8_t block[BYTES] = {1};
    double start = bench_now();
    for (unsigned i = 0; i < STEPS; i++) {
        if (crypto_sign_verify_detached(c->sig, c->text, sizeof c->text, c->pub) != 0) die("verifying");
        crypto_sign_detached(c->sig, NULL, c->text, sizeof c->text, c->secret);
        if (pwrite(c->fd, block, sizeof block, (off_t)(i * BYTES)) != BYTES || fdatasync(c->fd) != 0) die("syncing");
    }
    return STEPS / (bench_now() - start);
}

static void set_up(ctx_t *c, const char *dir)
{
    char path[700];
    static uint8_t zeros[STEPS * BYTES];
    snprintf(c->dir, sizeof c->dir, "%s/vch-witness-%d", dir, (int)getpid());
    snprintf(c->home, sizeof c->home, "%s/witness", c->dir);
    snprintf(path, sizeof path, "%s/floor", c->dir);
    c->log = toy_new("bench.example/log", 7);
    const char *vkey[1] = {c->log->vkey};
    vch_port_t *port = vch_port_real();
    if (vch_mkdirs(port, c->dir, NULL) || vch_witness_init_on(port, c->home, "witness.example", vkey, 1, NULL) ||
        vch_witness_open_on(&c->witness, port, c->home, false, NULL))
        die("making a witness");
    c->fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (c->fd < 0 || write(c->fd, zeros, sizeof zeros) != (ssize_t)sizeof zeros || fsync(c->fd) != 0) die(path);
    crypto_sign_keypair(c->pub, c->secret);
    crypto_sign_detached(c->sig, NULL, c->text, sizeof c->text, c->secret);
}

void bench_witness(const char *dir)
{
    ctx_t c = {.fd = -1};
    set_up(&c, dir);
    bench_in_turns("checkpoints cosigned, one log", "a second", "sync, verify, sign", ours, floor_rate, &c, ROUNDS, 0.5,
                   false);
    vch_witness_close(c.witness);
    toy_free(c.log);
    close(c.fd);
    if (tree_remove(c.dir) != 0) die("removing a folder");
}
