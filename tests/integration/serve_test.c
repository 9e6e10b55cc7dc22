/* SPDX-License-Identifier: Apache-2.0 */
/* vouch serve under load: a stop, a kill, a full disk.  What was acknowledged
 * is there afterwards, reads go on while nothing can be written, and writes go
 * on by themselves when something can. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include "api/http.h"
#include "codec/cbor.h"
#include "ledger_help.h"
#include "txkit.h"
#include "vouchsafe/serve.h"

#define LONG_MS 60000
#define TOGETHER 32 /* submissions under way at once */
#define ROOM_MAX 400000

/* ---- a server in a process of its own --------------------------------------------------- */

typedef struct {
    char dir[128], log[160], address[200];
    pid_t pid;
    vch_hash_t network;
    vch_signer_t *signer;
    uint64_t sequence;
    vch_transport_t *transport;
    struct {
        vch_id_t entry;
        uint64_t index;
    } * acked; /* ROOM_MAX of them */
    size_t acked_n;
} box_t;

static void put_log(void *ctx, const char *line)
{
    fprintf(ctx, "%s\n", line);
    fflush(ctx);
}

static int ready_fd;

static void put_address(void *ctx, const char *address)
{
    (void)ctx;
    if (write(ready_fd, address, strlen(address) + 1) < 0) _exit(9);
}

static void serve_and_exit(const box_t *b, int out)
{
    vch_err_t err = {0};
    FILE *log = fopen(b->log, "a");
    ready_fd = out;
    const vch_serve_t o = {
        .listen = "127.0.0.1:0", .level = VCH_SAY_INFO, .log = put_log, .ready = put_address, .ctx = log};
    vch_rc rc = vch_serve(b->dir, &o, &err);
    if (rc != VCH_OK) fprintf(stderr, "child: %s\n", err.text);
    fclose(log);
    exit(rc == VCH_OK ? 0 : 1);
}

static void box_start(box_t *b)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    fflush(NULL);
    b->pid = fork();
    assert_true(b->pid >= 0);
    if (b->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        close(pipes[0]);
        serve_and_exit(b, pipes[1]);
    }
    close(pipes[1]);
    ssize_t n = read(pipes[0], b->address, sizeof b->address - 1);
    if (n <= 0) fail_msg("vouch serve did not start");
    close(pipes[0]);
}

/* Its exit code; -1 when a signal ended it. */
static int box_end(box_t *b, int signal_number)
{
    int status;
    kill(b->pid, signal_number);
    assert_int_equal(waitpid(b->pid, &status, 0), b->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void box_new(box_t *b, const char *dir, unsigned min_free_mib)
{
    char edit[256], key[200];
    vch_init_t init = lh_init();
    vch_ledger_info_t info;
    vch_ledger_t *l;
    *b = (box_t){.sequence = 1};
    snprintf(b->dir, sizeof b->dir, "%s", dir);
    LH_OK(vch_ledger_init(b->dir, &init, &lh_err));
    snprintf(edit, sizeof edit,
             "sed -i 's/^min_free_mib.*/min_free_mib = %u/; s/^segment_mib.*/segment_mib = 1/; "
             "s/^checkpoint_ms.*/checkpoint_ms = 100/; s/^read.*/read = "
             "public/' "
             "%%s/vouch.conf",
             min_free_mib);
    lh_run(edit, b->dir);
    LH_OK(vch_settings_accept(b->dir, &lh_err));
    LH_OK(vch_ledger_open(&l, b->dir, VCH_LEDGER_READ_ONLY, &lh_err));
    LH_OK(vch_ledger_info(l, &info, &lh_err));
    b->network = info.network;
    LH_OK(vch_ledger_close(l, &lh_err));
    snprintf(key, sizeof key, "%s/keys/clinic-a.pem", b->dir);
    LH_OK(vch_signer_load(&b->signer, key, NULL, &lh_err));
    static const http_client_options_t plain;
    LH_OK(http_client_new(&b->transport, &plain, &lh_err));
    b->acked = calloc(ROOM_MAX, sizeof *b->acked);
}

static void box_free(box_t *b)
{
    b->transport->free(b->transport);
    vch_signer_free(b->signer);
    free(b->acked);
}

/* ---- asking ------------------------------------------------------------------------------------ */

typedef struct {
    int status; /* 0: no answer */
    char body[4096];
} got_t;

static got_t get(box_t *b, const char *path)
{
    char url[300];
    got_t g = {.status = 0};
    vch_ask_t ask = {.url = url};
    vch_answer_t a = {.rc = VCH_OK};
    snprintf(url, sizeof url, "http://%s%s", b->address, path);
    vch_buf_init(&a.body, 1u << 20);
    b->transport->ask(b->transport, &ask, &a, 1, LONG_MS);
    if (a.rc == VCH_OK) g.status = a.status;
    snprintf(g.body, sizeof g.body, "%.*s", (int)a.body.n, (const char *)a.body.p);
    vch_buf_free(&a.body);
    return g;
}

/* "This model came from elsewhere", with the next sequence number. */
static vch_buf_t transaction(box_t *b, vch_id_t *ret_id)
{
    uint8_t digest[32] = {0};
    kit_fields_t f = kit_fields();
    vch_buf_t out;
    vch_put_u64(digest, b->sequence);
    kit_id(&f, 1, digest);
    kit_text(&f, 2, "m");
    vch_buf_t fields = kit_done(&f);
    kit_tx_t t = kit_tx(&b->network, VCH_KIND_MODEL, b->sequence++, b->signer, &fields, 1, 0);
    *ret_id = t.id;
    vch_buf_init(&out, VCH_TX_BYTES_MAX);
    KIT_OK(vch_tx_put(&out, &t.tx));
    kit_free_tx(&t);
    return out;
}

static uint64_t index_of(const vch_buf_t *json)
{
    vch_arena_t arena;
    const vch_json_t *v;
    uint64_t index = UINT64_MAX;
    vch_arena_init(&arena, 1u << 20);
    if (vch_json_parse(&arena, &v, vch_buf_slice(json), NULL) == VCH_OK) {
        const vch_json_t *m = vch_json_get(v, "index");
        char digits[24] = "";
        if (m && m->text.n < sizeof digits) {
            memcpy(digits, m->text.p, m->text.n);
            index = strtoull(digits, NULL, 10);
        }
    }
    vch_arena_free(&arena);
    return index;
}

typedef struct {
    vch_buf_t tx[TOGETHER];
    vch_id_t id[TOGETHER];
    vch_answer_t answer[TOGETHER];
    unsigned acked, full, lost, other;
    char text[300]; /* of a refusal */
} round_t;

/* TOGETHER submissions at once; what was acknowledged is remembered. */
static void submit_round(box_t *b, round_t *r, bool fresh)
{
    char url[300];
    vch_ask_t ask[TOGETHER];
    snprintf(url, sizeof url, "http://%s/v1/submit", b->address);
    r->acked = r->full = r->lost = r->other = 0;
    r->text[0] = 0;
    for (size_t i = 0; i < TOGETHER; i++) {
        if (fresh) r->tx[i] = transaction(b, &r->id[i]);
        ask[i] = (vch_ask_t){.url = url, .post = true, .type = "application/cbor", .body = vch_buf_slice(&r->tx[i])};
        r->answer[i] = (vch_answer_t){.rc = VCH_OK};
        vch_buf_init(&r->answer[i].body, 65536);
    }
    b->transport->ask(b->transport, ask, r->answer, TOGETHER, LONG_MS);
    for (size_t i = 0; i < TOGETHER; i++) {
        vch_answer_t *a = &r->answer[i];
        if (a->rc == VCH_OK && a->status == 200) {
            assert_true(b->acked_n < ROOM_MAX);
            b->acked[b->acked_n].entry = r->id[i];
            b->acked[b->acked_n++].index = index_of(&a->body);
            r->acked++;
        } else if (a->rc != VCH_OK) {
            r->lost++;
        } else {
            if (a->status == 503) r->full++;
            if (a->status != 503) r->other++;
            snprintf(r->text, sizeof r->text, "%d %.*s", a->status, (int)a->body.n, (const char *)a->body.p);
        }
        vch_buf_free(&a->body);
    }
}

static void round_free(round_t *r)
{
    for (size_t i = 0; i < TOGETHER; i++) vch_buf_free(&r->tx[i]);
}

/* Every acknowledged entry stands where it was said to stand. */
static void check_acked(const box_t *b)
{
    vch_ledger_t *l;
    uint64_t findings = 1;
    LH_OK(vch_ledger_open(&l, b->dir, 0, &lh_err));
    LH_OK(vch_ledger_read_begin(l, &lh_err));
    for (size_t i = 0; i < b->acked_n; i++) {
        uint64_t index = 0;
        LH_OK(vch_state_find(l->state, &b->acked[i].entry, &index));
        assert_int_equal(index, b->acked[i].index);
    }
    vch_ledger_read_end(l);
    LH_OK(vch_ledger_close(l, &lh_err));
    LH_OK(vch_ledger_check(b->dir, 1, 1, NULL, NULL, &findings, &lh_err));
    LH_OK(vch_ledger_check(b->dir, 1, 0, NULL, NULL, &findings, &lh_err));
    assert_int_equal(findings, 0);
}

/* How often an event was told. */
static unsigned log_has(const box_t *b, const char *event)
{
    static char text[1u << 20];
    unsigned times = 0;
    FILE *f = fopen(b->log, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f) fclose(f);
    text[n] = 0;
    for (const char *at = text; (at = strstr(at, event)); at += strlen(event)) times++;
    return times;
}

static void await_log(const box_t *b, const char *event, unsigned times)
{
    for (int i = 0; log_has(b, event) < times; i++, usleep(20000))
        if (i > LONG_MS / 20) fail_msg("%s was not told %u times", event, times);
}

static unsigned scaled(unsigned n)
{
    const char *scale = getenv("VOUCHSAFE_TEST_SCALE");
    unsigned long percent = scale ? strtoul(scale, NULL, 10) : 100;
    unsigned now = (unsigned)(n * percent / 100);
    return now > 3 ? now : 3;
}

/* ---- stopped and killed under load -------------------------------------------------------------- */

/* Another process that ends the server while this one submits. */
static pid_t end_soon(pid_t pid, int signal_number, unsigned ms)
{
    pid_t killer = fork();
    assert_true(killer >= 0);
    if (killer) return killer;
    usleep(ms * 1000);
    kill(pid, signal_number);
    _exit(0);
}

static void ended_under_load(int signal_number, unsigned times)
{
    char dir[64], ledger[100];
    static round_t r;
    box_t b;
    vch_ledger_t *l;
    uint64_t index;
    int status;
    lh_folder(dir);
    snprintf(ledger, sizeof ledger, "%s/ledger", dir);
    box_new(&b, ledger, 0);
    snprintf(b.log, sizeof b.log, "%s/log", dir);
    for (unsigned i = 0; i < times; i++) {
        box_start(&b);
        pid_t killer = 0;
        unsigned rounds = 0;
        do {
            if (rounds++ == i % 5) killer = end_soon(b.pid, signal_number, i * 13 % 40);
            submit_round(&b, &r, true);
            if (r.other) fail_msg("%s", r.text);
            round_free(&r);
        } while (r.lost == 0 && r.full == 0 && b.acked_n < ROOM_MAX - TOGETHER);
        assert_int_equal(waitpid(killer, &status, 0), killer);
        assert_int_equal(waitpid(b.pid, &status, 0), b.pid);
        if (signal_number == SIGTERM) assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        check_acked(&b);
    }
    print_message("%zu acknowledged\n", b.acked_n);
    assert_true(b.acked_n > 0);
    b.acked[0].entry.b[0] ^= 1; /* and one that is not there would be missed */
    LH_OK(vch_ledger_open(&l, b.dir, VCH_LEDGER_READ_ONLY, &lh_err));
    LH_OK(vch_ledger_read_begin(l, &lh_err));
    LH_IS(VCH_ERR_NOT_FOUND, vch_state_find(l->state, &b.acked[0].entry, &index));
    vch_ledger_read_end(l);
    LH_OK(vch_ledger_close(l, &lh_err));
    box_free(&b);
    lh_remove(dir);
}

/* All that was acknowledged is looked up after each end, so no ledger has many. */
static void in_ledgers_of_20(int signal_number, unsigned times)
{
    for (unsigned left = times, n; left; left -= n) ended_under_load(signal_number, n = (unsigned)vch_min(left, 20));
}

static void stops_lose_nothing(void **state)
{
    (void)state;
    in_ledgers_of_20(SIGTERM, scaled(10));
}

static void kills_lose_nothing(void **state)
{
    (void)state;
    in_ledgers_of_20(SIGKILL, scaled(20));
}

/* ---- full disks --------------------------------------------------------------------------------------- */

/* A disk of so many MiB at `at`, gone with this process; false when this
 * machine doesn't let us have one. */
static bool small_disk(const char *at, unsigned mib)
{
    char options[64], map[64];
    snprintf(options, sizeof options, "size=%um,mode=0700", mib);
    uid_t uid = getuid();
    if (unshare(CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0)) != 0) return false;
    if (uid) {
        int fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
        int n = snprintf(map, sizeof map, "%u %u 1", (unsigned)uid, (unsigned)uid);
        bool mapped = fd >= 0 && write(fd, map, (size_t)n) == n;
        if (fd >= 0) close(fd);
        if (!mapped) return false;
    }
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return false;
    return mount("vouch-test", at, "tmpfs", 0, options) == 0;
}

/* Takes all of the disk's room but `leave` bytes. */
static void fill(const char *dir, uint64_t leave)
{
    static const char block[65536] = {1};
    char name[160];
    uint64_t room = 0;
    snprintf(name, sizeof name, "%s/filler", dir);
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (;;) {
        assert_int_equal(vch_port_real()->disk->free_space(vch_port_real(), dir, &room), VCH_OK);
        if (room <= leave) break;
        size_t n = room - leave < sizeof block ? (size_t)(room - leave) : sizeof block;
        if (write(fd, block, n) != (ssize_t)n) break;
    }
    close(fd);
}

static void make_room(const char *dir)
{
    char name[160];
    snprintf(name, sizeof name, "%s/filler", dir);
    assert_int_equal(unlink(name), 0);
}

static void reads_go_on(box_t *b, size_t entries)
{
    got_t g = get(b, "/v1/info");
    if (g.status != 200) fail_msg("GET /v1/info: %d %s", g.status, g.body);
    g = get(b, "/checkpoint");
    assert_int_equal(g.status, 200);
    assert_true(entries >= 2);
    g = get(b, "/v1/entry/1");
    assert_int_equal(g.status, 200);
    g = get(b, "/v1/proof/inclusion?index=1");
    assert_int_equal(g.status, 200);
}

/* Submits until the disk is full, waits, makes room, goes on. */
static void fill_and_go_on(const char *disk, unsigned min_free_mib, uint64_t leave)
{
    char ledger[100];
    static round_t r;
    box_t b;
    snprintf(ledger, sizeof ledger, "%s/ledger", disk);
    box_new(&b, ledger, min_free_mib);
    snprintf(b.log, sizeof b.log, "/tmp/vch-test-serve-log.%d", (int)getpid());
    box_start(&b);
    for (int i = 0; i < 10; i++) {
        submit_round(&b, &r, true);
        assert_int_equal(r.acked, TOGETHER);
        round_free(&r);
    }
    for (unsigned times = 0; times < 3; times++) {
        size_t before = b.acked_n;
        fill(disk, leave);
        do {
            submit_round(&b, &r, true);
            if (r.other || r.lost) fail_msg("%s", r.text);
            if (r.acked == TOGETHER) round_free(&r);
        } while (r.acked == TOGETHER && b.acked_n < 20000);
        assert_true(r.full > 0);
        if (!strstr(r.text, "ERR_FULL") || !strstr(r.text, "hint")) fail_msg("%s", r.text);
        reads_go_on(&b, before);
        got_t g = get(&b, "/v1/health/ready");
        for (int i = 0; i < 500 && g.status != 503; i++, usleep(10000)) g = get(&b, "/v1/health/ready");
        assert_int_equal(g.status, 503);
        await_log(&b, min_free_mib ? "disk.full" : "ledger.read_only", times + 1);
        assert_int_equal(get(&b, "/v1/health/live").status, 200);
        reads_go_on(&b, before);
        make_room(disk);
        unsigned again = 0; /* the same transactions, until each has its place */
        for (; again < 1000 && (r.acked < TOGETHER); again++) {
            b.acked_n -= r.acked < b.acked_n ? r.acked : 0;
            submit_round(&b, &r, false);
            if (r.other || r.lost) fail_msg("%s", r.text);
            if (r.acked < TOGETHER) usleep(20000);
        }
        assert_int_equal(r.acked, TOGETHER);
        round_free(&r);
        await_log(&b, min_free_mib ? "disk.room" : "ledger.reopened", times + 1);
        reads_go_on(&b, b.acked_n);
        assert_true(b.acked_n > before);
    }
    assert_int_equal(box_end(&b, SIGTERM), 0);
    assert_int_equal(log_has(&b, "ledger.failed") > 0, min_free_mib == 0); /* nothing failed where room was kept */
    check_acked(&b);
    unlink(b.log);
    box_free(&b);
}

/* In a process of its own, for the disk goes with it: this program again. */
static void on_a_small_disk(const char *min_free_mib, const char *leave)
{
    char disk[64];
    int status;
    lh_folder(disk);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!small_disk(disk, 48)) _exit(77);
        (void)dup2(STDERR_FILENO, STDOUT_FILENO); /* its own report isn't ours */
        execl("/proc/self/exe", "serve_test", disk, min_free_mib, leave, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rmdir(disk);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("this machine lets us mount no small disk\n");
        skip();
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The reserve is kept: what is refused was never begun. */
static void a_disk_with_little_room(void **state)
{
    (void)state;
    on_a_small_disk("8", "4194304");
}

/* No reserve: the write itself fails, and the ledger is opened again. */
static void a_disk_without_room(void **state)
{
    (void)state;
    on_a_small_disk("0", "32768");
}

static char **given;

static void fill_it(void **state)
{
    (void)state;
    fill_and_go_on(given[1], (unsigned)strtoul(given[2], NULL, 10), strtoul(given[3], NULL, 10));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest disk[] = {cmocka_unit_test(fill_it)};
    const struct CMUnitTest tests[] = {cmocka_unit_test(stops_lose_nothing), cmocka_unit_test(kills_lose_nothing),
                                       cmocka_unit_test(a_disk_with_little_room),
                                       cmocka_unit_test(a_disk_without_room)};
    given = argv;
    return argc == 4 ? cmocka_run_group_tests(disk, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
}
