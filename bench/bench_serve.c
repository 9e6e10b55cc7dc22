/* SPDX-License-Identifier: Apache-2.0 */
/* `vouch serve` from outside: signed submissions over HTTP by 1, 16 and 1,024
 * clients, latencies at half that load (open loop), tile reads, memory. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sodium.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "codec/cbor.h"
#include "entry/entry.h"
#include "load.h"
#include "tree.h"
#include "vouchsafe/vouchsafe.h"

#define PARTIES 64u
#define SIGNED 60000u
#define ROUNDS 3

typedef struct {
    char dir[600];
    unsigned port;
    pid_t child;
    vch_hash_t network;
    vch_signer_t *party[PARTIES];
    uint64_t sequence[PARTIES], serial;
    char **request;
    size_t *request_n;
} ctx_t;

static void die(const char *what, const vch_err_t *err)
{
    fprintf(stderr, "bench: %s: %s\n", what, err ? err->text : "failed");
    exit(1);
}

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != VCH_OK) die(#call, &err);                                                                        \
    } while (0)

/* ---- a ledger with parties ------------------------------------------------------ */

static void add_party(ctx_t *c, vch_ledger_t *l, const vch_signer_t *operator_key, unsigned i)
{
    vch_err_t err = {0};
    vch_receipt_t receipt;
    uint8_t seed[32] = {(uint8_t)i, 0x5e};
    char json[400], hex[80];
    MUST(vch_signer_new(&c->party[i], VCH_ALG_ED25519, seed, &err));
    const vch_pubkey_t *key = vch_signer_public(c->party[i]);
    vch_hex(hex, key->b, key->n);
    int n = snprintf(json, sizeof json, "{\"name\":\"team-%u\",\"roles\":[\"user\"],\"keys\":[\"%s\"]}", i, hex);
    MUST(vch_submit_json(l, operator_key, "party", json, (size_t)n, &receipt, &err));
    c->sequence[i] = 1;
}

/* As many connections as there are clients; tiles for everybody. */
static void open_doors(const ctx_t *c)
{
    char path[700];
    snprintf(path, sizeof path, "%s/vouch.conf", c->dir);
    FILE *f = fopen(path, "w");
    if (!f || fputs("[ledger]\nread = public\n[serve]\nconnections = 2048\n", f) == EOF || fclose(f) != 0)
        die(path, NULL);
}

static void make_ledger(ctx_t *c)
{
    vch_err_t err = {0};
    vch_ledger_info_t info;
    vch_ledger_t *l;
    vch_signer_t *operator_key;
    vch_init_t init = {.origin = "bench.example/ledger", .operator_name = "bench"};
    MUST(vch_ledger_init(c->dir, &init, &err));
    MUST(vch_ledger_open(&l, c->dir, 0, &err));
    MUST(vch_identity_load(l, "bench", NULL, &operator_key, &err));
    for (unsigned i = 0; i < PARTIES; i++) add_party(c, l, operator_key, i);
    MUST(vch_ledger_info(l, &info, &err));
    c->network = info.network;
    vch_signer_free(operator_key);
    MUST(vch_ledger_close(l, &err));
    open_doors(c);
}

/* ---- requests, signed before the clock starts -------------------------------------- */

/* "This model came from elsewhere", with a digest that no other has. */
static void put_model(vch_buf_t *ret, uint64_t serial)
{
    uint8_t digest[32] = {0};
    vch_put_u64(digest, serial);
    if (vch_cbor_map(ret, 2) || vch_cbor_uint(ret, 1) || vch_cbor_bytes(ret, digest, 32) || vch_cbor_uint(ret, 2) ||
        vch_cbor_text(ret, "m", 1))
        die("encoding", NULL);
}

static void sign_one(ctx_t *c, unsigned at, vch_buf_t *fields, vch_buf_t *statement, vch_buf_t *entry, vch_buf_t *tx)
{
    vch_err_t err = {0};
    unsigned who = at % PARTIES;
    uint8_t salt[VCH_SALT_LEN] = {0};
    vch_entry_head_t head = {.network = c->network, .kind = VCH_KIND_MODEL, .sequence = c->sequence[who]++};
    vch_buf_clear(fields);
    vch_buf_clear(statement);
    vch_buf_clear(entry);
    vch_buf_clear(tx);
    vch_put_u64(salt, ++c->serial);
    put_model(fields, c->serial);
    MUST(vch_statement_put(statement, VCH_KIND_MODEL, salt, vch_buf_slice(fields)));
    vch_slice_t one = vch_buf_slice(statement);
    MUST(vch_entry_sign(entry, &head, &one, 1, c->party[who], &err));
    vch_tx_t whole = {.entry = vch_buf_slice(entry), .statements = &one, .count = 1};
    MUST(vch_tx_put(tx, &whole));
    char head_text[200];
    int n = snprintf(head_text, sizeof head_text,
                     "POST /v1/submit HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cbor\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     tx->n);
    c->request_n[at] = (size_t)n + tx->n;
    c->request[at] = malloc(c->request_n[at]);
    if (!c->request[at]) die("memory", NULL);
    memcpy(c->request[at], head_text, (size_t)n);
    memcpy(c->request[at] + n, tx->p, tx->n);
}

static void sign_all(ctx_t *c, unsigned n)
{
    vch_buf_t fields, statement, entry, tx;
    vch_buf_init(&fields, 4096);
    vch_buf_init(&statement, 4096);
    vch_buf_init(&entry, VCH_ENTRY_BYTES_MAX);
    vch_buf_init(&tx, VCH_TX_BYTES_MAX);
    for (unsigned i = 0; i < n; i++) sign_one(c, i, &fields, &statement, &entry, &tx);
    vch_buf_free(&tx);
    vch_buf_free(&entry);
    vch_buf_free(&statement);
    vch_buf_free(&fields);
}

static void drop_all(ctx_t *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++) free(c->request[i]);
}

/* ---- the server ----------------------------------------------------------------------- */

static int connects(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int good = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0) close(fd);
    return good;
}

static unsigned free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || getsockname(fd, (struct sockaddr *)&a, &n) != 0)
        die("a free port", NULL);
    close(fd);
    return ntohs(a.sin_port);
}

static void start(ctx_t *c, const char *vouch)
{
    char listen_at[40], log[700];
    c->port = free_port();
    snprintf(listen_at, sizeof listen_at, "127.0.0.1:%u", c->port);
    snprintf(log, sizeof log, "%s.log", c->dir);
    c->child = fork();
    if (c->child < 0) die("fork", NULL);
    if (c->child == 0) {
        if (!freopen(log, "w", stderr)) _exit(126);
        execl(vouch, vouch, "-C", c->dir, "serve", "--listen", listen_at, "--quiet", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 100 && !connects(c->port); i++) usleep(50000);
    if (!connects(c->port)) die("vouch serve does not answer", NULL);
}

static void stop(const ctx_t *c)
{
    int status = 0;
    kill(c->child, SIGTERM);
    if (waitpid(c->child, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("vouch serve did not end well", NULL);
}

static double resident_mib(pid_t pid)
{
    char path[64], line[200];
    double kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f) die(path, NULL);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, "VmRSS:", 6) == 0) kib = strtod(line + 6, NULL);
    fclose(f);
    return kib / 1024;
}

/* ---- measuring --------------------------------------------------------------------------- */

static load_result_t submit(ctx_t *c, unsigned connections, double seconds, double rate)
{
    load_result_t got;
    uint64_t base[PARTIES];
    memcpy(base, c->sequence, sizeof base);
    double wanted = rate > 0 ? rate * seconds + 1 : SIGNED;
    unsigned n = wanted < SIGNED ? (unsigned)wanted : SIGNED;
    sign_all(c, n);
    load_t load = {.request = (const char *const *)c->request,
                   .request_n = c->request_n,
                   .requests = n,
                   .port = c->port,
                   .connections = connections,
                   .seconds = seconds,
                   .rate = rate};
    if (load_run(&load, &got) != 0 || got.bad) die("submitting", NULL);
    drop_all(c, n);
    /* Sent in order, party by party; who was not sent takes no number. */
    for (unsigned who = 0; who < PARTIES; who++)
        c->sequence[who] = base[who] + (got.good + PARTIES - 1 - who) / PARTIES;
    return got;
}

/* Signatures that one core checks in a second: each submission needs one. */
static double verify_rate(void)
{
    uint8_t pub[32], secret[64], sig[64], text[200] = {1};
    unsigned n = 0;
    crypto_sign_keypair(pub, secret);
    crypto_sign_detached(sig, NULL, text, sizeof text, secret);
    double begin = bench_now(), took = 0;
    for (; took < 0.5; n++, took = bench_now() - begin)
        if (crypto_sign_verify_detached(sig, text, sizeof text, pub) != 0) die("verify", NULL);
    return n / took;
}

static void throughput(ctx_t *c, const char *name, unsigned connections, double aim, double *ret_rate)
{
    double ours[ROUNDS], ceiling[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        ours[i] = submit(c, connections, 2, 0).rate;
        ceiling[i] = verify_rate();
    }
    bench_row_t row = {.name = name, .unit = "tx/s", .peer_name = "libsodium verify, 1 core", .aim = aim};
    row.ours = bench_median(ours, ROUNDS);
    row.peer = bench_median(ceiling, ROUNDS);
    row.ratio = row.ours / row.peer;
    row.met = row.ratio >= aim;
    bench_report(&row);
    *ret_rate = row.ours;
}

static void latencies(ctx_t *c, const char *name99, const char *name999, unsigned connections, double rate)
{
    double p50[ROUNDS], p99[ROUNDS], p999[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        load_result_t got = submit(c, connections, 2, rate);
        p50[i] = got.p50_ms;
        p99[i] = got.p99_ms;
        p999[i] = got.p999_ms;
    }
    bench_limit(name99, "ms", bench_median(p99, ROUNDS), 10);
    bench_limit(name999, "ms", bench_median(p999, ROUNDS), 50);
    printf("  (%u clients, %.0f a second: p50 %.3g ms)\n", connections, rate, bench_median(p50, ROUNDS));
}

static void tiles(ctx_t *c)
{
    static const char request[] = "GET /tile/0/000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const char *one[1] = {request};
    size_t one_n[1] = {sizeof request - 1};
    load_result_t got;
    load_t load = {.request = one,
                   .request_n = one_n,
                   .requests = 1,
                   .again = 1,
                   .port = c->port,
                   .connections = 16,
                   .seconds = 3};
    if (load_run(&load, &got) != 0 || got.bad) die("reading tiles", NULL);
    bench_limit("time per tile read, 16 clients (limit: 200 us)", "us", 1e6 / got.rate, 200);
}

void bench_serve(const char *dir)
{
    const char *vouch = getenv("BENCH_VOUCH");
    double rate1, rate16, rate1024;
    static char *request[SIGNED];
    static size_t request_n[SIGNED];
    ctx_t c = {.request = request, .request_n = request_n};
    snprintf(c.dir, sizeof c.dir, "%s/vch-serve-%d", dir, (int)getpid());
    if (vch_crypto_start() != VCH_OK) die("libsodium", NULL);
    make_ledger(&c);
    start(&c, vouch ? vouch : "build/apps/vouch");
    sleep(1);
    bench_limit("vouch serve, idle: resident memory", "MiB", resident_mib(c.child), 32);
    throughput(&c, "signed submissions over HTTP, 1 client", 1, 0, &rate1);
    throughput(&c, "signed submissions over HTTP, 16 clients", 16, 0, &rate16);
    throughput(&c, "signed submissions over HTTP, 1,024 clients", 1024, 0.7, &rate1024);
    latencies(&c, "p99, 1 client at half load", "p99.9, 1 client at half load", 1, rate1 / 2);
    latencies(&c, "p99, 16 clients at half load", "p99.9, 16 clients at half load", 16, rate16 / 2);
    latencies(&c, "p99, 1,024 clients at half load", "p99.9, 1,024 clients at half load", 1024, rate1024 / 2);
    tiles(&c);
    stop(&c);
    for (unsigned i = 0; i < PARTIES; i++) vch_signer_free(c.party[i]);
    if (tree_remove(c.dir) != 0) die("removing a folder", NULL);
}
