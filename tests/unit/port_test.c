/* SPDX-License-Identifier: Apache-2.0 */
/* The real machine, in a folder of its own; then the same calls on the
 * simulated one, so that both keep the same contract. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "port/port.h"
#include "port/sim.h"

typedef struct {
    vch_port_t *port;
    vch_sim_t *sim; /* NULL: the real machine */
    char dir[256];
} world_t;

static char path_buf[4][VCH_PATH_MAX];

static const char *at(const world_t *w, const char *name)
{
    static unsigned turn;
    char *p = path_buf[turn++ % 4];
    assert_int_equal(vch_path(p, "%s/%s", w->dir, name), VCH_OK);
    return p;
}

static int real_setup(void **state)
{
    world_t *w = calloc(1, sizeof *w);
    const char *tmp = getenv("TMPDIR");
    snprintf(w->dir, sizeof w->dir, "%s/vch-port-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    w->port = vch_port_real();
    *state = w;
    return mkdtemp(w->dir) ? 0 : -1;
}

static int sim_setup(void **state)
{
    world_t *w = calloc(1, sizeof *w);
    if (vch_sim_new(&w->sim, 1) != VCH_OK) return -1;
    w->port = vch_sim_port(w->sim);
    snprintf(w->dir, sizeof w->dir, "/box");
    *state = w;
    return w->port->disk->mkdir(w->port, w->dir, 0700) == VCH_OK ? 0 : -1;
}

static vch_rc remove_one(void *ctx, const char *name)
{
    world_t *w = ctx;
    return w->port->disk->remove(w->port, at(w, name));
}

static int teardown(void **state)
{
    world_t *w = *state;
    vch_rc rc = VCH_OK;
    if (!w->sim) {
        rc = w->port->disk->list(w->port, w->dir, remove_one, w);
        if (rc == VCH_OK) rc = w->port->disk->remove(w->port, w->dir);
    }
    vch_sim_free(w->sim);
    free(w);
    return rc == VCH_OK ? 0 : -1;
}

static void put(world_t *w, const char *name, const char *text)
{
    assert_int_equal(vch_write_derived(w->port, at(w, name), vch_str(text), NULL), VCH_OK);
}

static void assert_content(world_t *w, const char *name, const char *text)
{
    vch_buf_t b;
    vch_buf_init(&b, 4096);
    assert_int_equal(vch_read_all(w->port, &b, at(w, name), 4096, NULL), VCH_OK);
    assert_true(vch_slice_eq(vch_buf_slice(&b), vch_str(text)));
    vch_buf_free(&b);
}

static vch_file_t *must_open(world_t *w, const char *name, vch_open_t how)
{
    vch_file_t *f = NULL;
    assert_int_equal(vch_file_open(w->port, &f, at(w, name), how, NULL), VCH_OK);
    return f;
}

/* ---- both machines ----------------------------------------------------------------- */

static void open_modes(void **state)
{
    world_t *w = *state;
    const vch_disk_ops_t *d = w->port->disk;
    vch_file_t *f = NULL;
    vch_err_t err = {0};
    assert_int_equal(vch_file_open(w->port, &f, at(w, "x"), VCH_OPEN_READ, &err), VCH_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "/x"));
    assert_int_equal(vch_file_open(w->port, &f, at(w, "x"), VCH_OPEN_WRITE, NULL), VCH_ERR_NOT_FOUND);
    assert_int_equal(vch_file_open(w->port, &f, at(w, "no/x"), VCH_OPEN_CREATE, NULL), VCH_ERR_NOT_FOUND);
    assert_int_equal(vch_file_open(w->port, &f, w->dir, VCH_OPEN_READ, NULL), VCH_ERR_IO);
    assert_null(f);
    vch_file_close(w->port, must_open(w, "x", VCH_OPEN_NEW));
    assert_int_equal(vch_file_open(w->port, &f, at(w, "x"), VCH_OPEN_NEW, NULL), VCH_ERR_CONFLICT);
    assert_int_equal(vch_file_open(w->port, &f, at(w, "x/y"), VCH_OPEN_CREATE, NULL), VCH_ERR_NOT_FOUND);
    vch_file_close(w->port, must_open(w, "x", VCH_OPEN_CREATE));
    f = must_open(w, "x", VCH_OPEN_READ);
    assert_int_equal(d->write(w->port, f, "a", 1, 0), VCH_ERR_IO);
    assert_int_equal(d->truncate(w->port, f, 1) == VCH_OK, 0);
    vch_file_close(w->port, f);
    vch_file_close(w->port, NULL);
}

static void read_and_write_anywhere(void **state)
{
    world_t *w = *state;
    const vch_disk_ops_t *d = w->port->disk;
    vch_file_t *f = must_open(w, "x", VCH_OPEN_NEW), *again = must_open(w, "x", VCH_OPEN_READ);
    uint8_t b[32];
    size_t n = 99;
    uint64_t size = 99;
    assert_int_equal(d->write(w->port, f, "hello", 5, 5000), VCH_OK);
    assert_int_equal(d->size(w->port, again, &size), VCH_OK);
    assert_int_equal(size, 5005);
    assert_int_equal(d->read(w->port, again, &n, b, 10, 4997), VCH_OK); /* seen at once, past the end fewer bytes */
    assert_int_equal(n, 8);
    assert_memory_equal(b, "\0\0\0hello", 8);
    assert_int_equal(d->read(w->port, again, &n, b, 10, 5005), VCH_OK);
    assert_int_equal(n, 0);
    assert_int_equal(d->read(w->port, again, &n, b, 10, 1u << 30), VCH_OK);
    assert_int_equal(n, 0);
    vch_err_t err = {0};
    assert_int_equal(vch_file_read(w->port, again, b, 5, 5000, &err), VCH_OK);
    assert_int_equal(vch_file_read(w->port, again, b, 6, 5000, &err), VCH_ERR_CORRUPT);
    assert_non_null(strstr(err.text, "ends early"));
    assert_int_not_equal(d->write(w->port, f, "x", 1, UINT64_MAX), VCH_OK);
    assert_int_equal(d->sync(w->port, f), VCH_OK);
    vch_file_close(w->port, f);
    vch_file_close(w->port, again);
}

static void truncate_cuts_and_grows_with_zeros(void **state)
{
    world_t *w = *state;
    const vch_disk_ops_t *d = w->port->disk;
    put(w, "x", "abcdef");
    vch_file_t *f = must_open(w, "x", VCH_OPEN_WRITE);
    uint8_t b[8];
    assert_int_equal(d->truncate(w->port, f, 2), VCH_OK);
    assert_content(w, "x", "ab");
    assert_int_equal(d->truncate(w->port, f, 8), VCH_OK);
    assert_int_equal(vch_file_read(w->port, f, b, 8, 0, NULL), VCH_OK);
    assert_memory_equal(b, "ab\0\0\0\0\0\0", 8);
    assert_int_not_equal(d->truncate(w->port, f, UINT64_MAX), VCH_OK);
    vch_file_close(w->port, f);
}

static void locks_between_handles(void **state)
{
    world_t *w = *state;
    const vch_disk_ops_t *d = w->port->disk;
    vch_file_t *a = must_open(w, "x", VCH_OPEN_NEW), *b = must_open(w, "x", VCH_OPEN_WRITE);
    assert_int_equal(d->lock(w->port, a, VCH_LOCK_EXCLUSIVE, 0), VCH_OK);
    uint64_t before = w->port->clock->boot_ms(w->port);
    assert_int_equal(d->lock(w->port, b, VCH_LOCK_EXCLUSIVE, 50), VCH_ERR_LOCKED);
    assert_true(w->port->clock->boot_ms(w->port) - before >= 49);
    assert_int_equal(d->lock(w->port, b, VCH_LOCK_SHARED, 0), VCH_ERR_LOCKED);
    d->unlock(w->port, a);
    assert_int_equal(d->lock(w->port, b, VCH_LOCK_SHARED, 0), VCH_OK);
    assert_int_equal(d->lock(w->port, a, VCH_LOCK_SHARED, 0), VCH_OK);
    assert_int_equal(d->lock(w->port, a, VCH_LOCK_EXCLUSIVE, 0), VCH_ERR_LOCKED);
    vch_file_close(w->port, b); /* closing lets go */
    assert_int_equal(d->lock(w->port, a, VCH_LOCK_EXCLUSIVE, 0), VCH_OK);
    vch_file_close(w->port, a);
}

static void names_move_and_vanish(void **state)
{
    world_t *w = *state;
    const vch_disk_ops_t *d = w->port->disk;
    vch_stat_t st;
    put(w, "a", "one");
    put(w, "b", "two");
    assert_int_equal(d->stat(w->port, at(w, "a"), &st), VCH_OK);
    assert_true(st.size == 3 && !st.is_dir);
    assert_int_equal(d->rename(w->port, at(w, "a"), at(w, "b")), VCH_OK);
    assert_content(w, "b", "one");
    assert_int_equal(d->stat(w->port, at(w, "a"), &st), VCH_ERR_NOT_FOUND);
    assert_int_equal(d->rename(w->port, at(w, "a"), at(w, "b")), VCH_ERR_NOT_FOUND);
    assert_int_equal(d->rename(w->port, at(w, "b"), at(w, "no/b")), VCH_ERR_NOT_FOUND);
    assert_int_equal(d->mkdir(w->port, at(w, "sub"), 0700), VCH_OK);
    assert_int_equal(d->mkdir(w->port, at(w, "sub"), 0700), VCH_ERR_CONFLICT);
    assert_int_equal(d->mkdir(w->port, at(w, "no/sub"), 0700), VCH_ERR_NOT_FOUND);
    assert_int_equal(d->stat(w->port, at(w, "sub"), &st), VCH_OK);
    assert_true(st.is_dir);
    assert_int_equal(d->rename(w->port, at(w, "b"), at(w, "sub")), VCH_ERR_IO);
    assert_int_equal(d->rename(w->port, at(w, "sub"), at(w, "b")), VCH_ERR_NOT_FOUND);
    assert_int_equal(d->rename(w->port, at(w, "sub"), at(w, "sub/in")), VCH_ERR_IO);
    assert_int_equal(d->rename(w->port, at(w, "b"), at(w, "sub/b")), VCH_OK);
    assert_content(w, "sub/b", "one");
    assert_int_equal(d->remove(w->port, at(w, "sub")), VCH_ERR_CONFLICT);
    assert_int_equal(d->remove(w->port, at(w, "sub/b")), VCH_OK);
    assert_int_equal(d->remove(w->port, at(w, "sub/b")), VCH_ERR_NOT_FOUND);
    assert_int_equal(d->remove(w->port, at(w, "sub")), VCH_OK);
    assert_int_equal(d->sync_dir(w->port, w->dir), VCH_OK);
    assert_int_equal(d->sync_dir(w->port, at(w, "sub")), VCH_ERR_NOT_FOUND);
}

static void removed_file_lives_while_open(void **state)
{
    world_t *w = *state;
    put(w, "x", "still");
    vch_file_t *f = must_open(w, "x", VCH_OPEN_READ);
    char b[5];
    assert_int_equal(w->port->disk->remove(w->port, at(w, "x")), VCH_OK);
    assert_int_equal(vch_file_read(w->port, f, b, 5, 0, NULL), VCH_OK);
    assert_memory_equal(b, "still", 5);
    vch_file_close(w->port, f);
}

static vch_rc join_names(void *ctx, const char *name)
{
    if (strcmp(name, "stop") == 0) return VCH_ERR_QUORUM;
    char *all = ctx; /* 100 bytes: see the caller */
    size_t n = strlen(all);
    snprintf(all + n, 100 - n, "%s ", name);
    return VCH_OK;
}

static void list_in_byte_order(void **state)
{
    world_t *w = *state;
    char seen[100] = "";
    static const char *names[] = {"b", "B", "a", "ab", "a.b", "\xc3\xa4", "10", "9"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) put(w, names[i], "");
    assert_int_equal(w->port->disk->list(w->port, w->dir, join_names, seen), VCH_OK);
    assert_string_equal(seen, "10 9 B a a.b ab b \xc3\xa4 ");
    put(w, "stop", "");
    seen[0] = 0;
    assert_int_equal(w->port->disk->list(w->port, w->dir, join_names, seen), VCH_ERR_QUORUM);
    assert_string_equal(seen, "10 9 B a a.b ab b ");
    assert_int_equal(w->port->disk->list(w->port, at(w, "none"), join_names, seen), VCH_ERR_NOT_FOUND);
}

static void atomic_write_replaces(void **state)
{
    world_t *w = *state;
    vch_err_t err = {0};
    vch_stat_t st;
    put(w, "x.tmp", "left behind by a power cut, and longer");
    assert_int_equal(vch_write_atomic(w->port, at(w, "x"), vch_str("first"), 0600, NULL), VCH_OK);
    assert_content(w, "x", "first");
    assert_int_equal(vch_write_atomic(w->port, at(w, "x"), vch_str("2nd"), 0600, NULL), VCH_OK);
    assert_content(w, "x", "2nd");
    assert_int_equal(vch_write_atomic(w->port, at(w, "x"), vch_slice(NULL, 0), 0600, NULL), VCH_OK);
    assert_content(w, "x", "");
    assert_int_equal(w->port->disk->stat(w->port, at(w, "x.tmp"), &st), VCH_ERR_NOT_FOUND);
    assert_int_equal(vch_write_atomic(w->port, at(w, "no/x"), vch_str("y"), 0600, &err), VCH_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "no/x"));
    assert_int_equal(w->port->disk->mkdir(w->port, at(w, "d"), 0700), VCH_OK);
    assert_int_equal(vch_write_atomic(w->port, at(w, "d"), vch_str("y"), 0600, &err), VCH_ERR_IO);
    assert_int_equal(w->port->disk->stat(w->port, at(w, "d.tmp"), &st), VCH_ERR_NOT_FOUND);
}

static void read_all_knows_its_limits(void **state)
{
    world_t *w = *state;
    vch_err_t err = {0};
    vch_buf_t b;
    put(w, "x", "0123456789");
    vch_buf_init(&b, 100);
    assert_int_equal(vch_buf_put(&b, "kept", 4), VCH_OK);
    assert_int_equal(vch_read_all(w->port, &b, at(w, "x"), 9, &err), VCH_ERR_LIMIT);
    assert_int_equal(vch_read_all(w->port, &b, at(w, "none"), 9, &err), VCH_ERR_NOT_FOUND);
    b.max = 13;
    b.cap = 4; /* so that the buffer's own maximum is asked */
    assert_int_equal(vch_read_all(w->port, &b, at(w, "x"), 10, &err), VCH_ERR_LIMIT);
    assert_true(vch_slice_eq(vch_buf_slice(&b), vch_str("kept")));
    b.max = 100;
    assert_int_equal(vch_read_all(w->port, &b, at(w, "x"), 10, &err), VCH_OK);
    assert_true(vch_slice_eq(vch_buf_slice(&b), vch_str("kept0123456789")));
    vch_buf_free(&b);
}

static void mkdirs_makes_all(void **state)
{
    world_t *w = *state;
    vch_err_t err = {0};
    vch_stat_t st;
    for (int twice = 0; twice < 2; twice++) {
        assert_int_equal(vch_mkdirs(w->port, at(w, "p/q//r/"), &err), VCH_OK);
        assert_int_equal(w->port->disk->stat(w->port, at(w, "p/q/r"), &st), VCH_OK);
        assert_true(st.is_dir);
    }
    put(w, "p/file", "");
    assert_int_equal(vch_mkdirs(w->port, at(w, "p/file"), &err), VCH_ERR_CONFLICT);
    assert_int_equal(vch_mkdirs(w->port, at(w, "p/file/s"), &err), VCH_ERR_CONFLICT);
    static const char *gone[] = {"p/file", "p/q/r", "p/q", "p"};
    for (int i = 0; i < 4; i++) assert_int_equal(w->port->disk->remove(w->port, at(w, gone[i])), VCH_OK);
}

static void path_fits_or_says_so(void **state)
{
    (void)state;
    char p[VCH_PATH_MAX] = "kept", longest[VCH_PATH_MAX + 1];
    memset(longest, 'a', VCH_PATH_MAX);
    longest[VCH_PATH_MAX] = 0;
    assert_int_equal(vch_path(p, "%s", longest), VCH_ERR_LIMIT);
    assert_string_equal(p, "kept");
    longest[VCH_PATH_MAX - 1] = 0;
    assert_int_equal(vch_path(p, "%s", longest), VCH_OK);
    assert_int_equal(strlen(p), VCH_PATH_MAX - 1);
}

static void clocks_and_space_and_chance(void **state)
{
    world_t *w = *state;
    const vch_clock_ops_t *c = w->port->clock;
    uint64_t boot = c->boot_ms(w->port), space = 0;
    assert_true(c->wall_ms(w->port) > 1700000000000u); /* milliseconds, not seconds */
    c->sleep_ms(w->port, 20);
    assert_true(c->boot_ms(w->port) - boot >= 19);
    assert_int_equal(w->port->disk->free_space(w->port, w->dir, &space), VCH_OK);
    assert_true(space > 0);
    assert_int_equal(w->port->disk->free_space(w->port, at(w, "none"), &space), VCH_ERR_NOT_FOUND);
    uint8_t a[1000] = {0}, b[1000] = {0};
    assert_int_equal(vch_random(w->port, a, sizeof a, NULL), VCH_OK);
    assert_int_equal(vch_random(w->port, b, sizeof b - 1, NULL), VCH_OK);
    assert_memory_not_equal(a, b, 500);
    assert_int_equal(b[999], 0);
    size_t zeros = 0;
    for (size_t i = 0; i < sizeof a; i++) zeros += a[i] == 0;
    assert_true(zeros < 50); /* about 4 are due */
}

static void streams(world_t *w, const char *address)
{
    const vch_net_ops_t *net = w->port->net;
    vch_conn_t *l = NULL, *other = NULL, *a = NULL, *b = NULL;
    char buf[16];
    size_t n = 99;
    assert_int_equal(net->connect(w->port, &a, address, 100), VCH_ERR_UNREACHABLE);
    assert_null(a);
    assert_int_equal(net->listen(w->port, &l, address), VCH_OK);
    assert_int_equal(net->listen(w->port, &other, address), VCH_ERR_CONFLICT);
    assert_int_equal(net->accept(w->port, l, &b, 20), VCH_ERR_UNREACHABLE);
    assert_int_equal(net->connect(w->port, &a, address, 1000), VCH_OK);
    assert_int_equal(net->accept(w->port, l, &b, 1000), VCH_OK);
    assert_int_equal(net->recv(w->port, b, &n, buf, 16, 20), VCH_ERR_UNREACHABLE);
    assert_int_equal(n, 99);
    assert_int_equal(net->send(w->port, a, "question", 8), VCH_OK);
    assert_int_equal(net->recv(w->port, b, &n, buf, 3, 1000), VCH_OK);
    assert_int_equal(n, 3);
    assert_int_equal(net->recv(w->port, b, &n, buf + 3, 13, 1000), VCH_OK);
    assert_int_equal(n, 5);
    assert_memory_equal(buf, "question", 8);
    assert_int_equal(net->send(w->port, b, "answer", 6), VCH_OK);
    net->close(w->port, b); /* what was sent still arrives, then the end */
    assert_int_equal(net->recv(w->port, a, &n, buf, 16, 1000), VCH_OK);
    assert_int_equal(n, 6);
    assert_int_equal(net->recv(w->port, a, &n, buf, 16, 1000), VCH_OK);
    assert_int_equal(n, 0);
    vch_rc rc = VCH_OK; /* the first byte after the end may still be taken by the system */
    for (int i = 0; i < 3 && rc == VCH_OK; i++) rc = net->send(w->port, a, "x", 1);
    assert_int_equal(rc, VCH_ERR_UNREACHABLE);
    net->close(w->port, a);
    net->close(w->port, l);
    a = NULL;
    assert_int_equal(net->connect(w->port, &a, address, 100), VCH_ERR_UNREACHABLE);
    assert_int_equal(net->listen(w->port, &l, address), VCH_OK);
    net->close(w->port, l);
}

static void streams_unix(void **state)
{
    world_t *w = *state;
    char address[VCH_PATH_MAX];
    assert_int_equal(vch_path(address, "unix:%s/sock", w->dir), VCH_OK);
    streams(w, address);
}

static void streams_tcp(void **state)
{
    char address[32];
    snprintf(address, sizeof address, "tcp:127.0.0.1:%d", 20000 + (int)getpid() % 10000);
    streams(*state, address);
}

static void addresses_wrong(void **state)
{
    world_t *w = *state;
    vch_conn_t *c = NULL;
    static const char *wrong[] = {"", "unix:", "tcp:", "udp:127.0.0.1:1", "/tmp/x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(w->port->net->listen(w->port, &c, wrong[i]), VCH_ERR_USAGE);
        assert_int_equal(w->port->net->connect(w->port, &c, wrong[i], 10), VCH_ERR_USAGE);
    }
    assert_null(c);
}

/* ---- the real machine only ------------------------------------------------------------ */

static void real_addresses_stay_on_this_machine(void **state)
{
    world_t *w = *state;
    vch_conn_t *c = NULL;
    static const char *wrong[] = {"tcp:0.0.0.0:7117",    "tcp:192.0.2.1:7117", "tcp:127.0.0.1:0",
                                  "tcp:127.0.0.1:65536", "tcp:127.0.0.1:",     "tcp:127.0.0.1:7117x",
                                  "tcp:localhost:7117",  "tcp:127.0.0.1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(w->port->net->listen(w->port, &c, wrong[i]), VCH_ERR_USAGE);
    char address[200] = "unix:/";
    memset(address + 6, 'a', 150);
    assert_int_equal(w->port->net->listen(w->port, &c, address), VCH_ERR_LIMIT);
}

static void real_stale_socket_is_replaced(void **state)
{
    world_t *w = *state;
    char address[VCH_PATH_MAX];
    assert_int_equal(vch_path(address, "unix:%s/sock", w->dir), VCH_OK);
    pid_t child = fork();
    if (child == 0) { /* dies without closing */
        vch_conn_t *l;
        _exit(w->port->net->listen(w->port, &l, address) == VCH_OK ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    struct stat st;
    assert_int_equal(stat(address + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    vch_conn_t *l = NULL;
    assert_int_equal(w->port->net->listen(w->port, &l, address), VCH_OK);
    w->port->net->close(w->port, l);
    put(w, "sock", "no socket"); /* what is no socket is never removed */
    assert_int_equal(w->port->net->listen(w->port, &l, address), VCH_ERR_CONFLICT);
    assert_content(w, "sock", "no socket");
}

static void real_lock_dies_with_its_process(void **state)
{
    world_t *w = *state;
    int ready[2];
    char c;
    assert_int_equal(pipe(ready), 0);
    vch_file_t *f = must_open(w, "x", VCH_OPEN_NEW);
    pid_t child = fork();
    if (child == 0) {
        vch_file_t *mine;
        bool ok = vch_file_open(w->port, &mine, at(w, "x"), VCH_OPEN_WRITE, NULL) == VCH_OK &&
                  w->port->disk->lock(w->port, mine, VCH_LOCK_EXCLUSIVE, 0) == VCH_OK;
        if (write(ready[1], ok ? "y" : "n", 1) == 1) pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    assert_int_equal(w->port->disk->lock(w->port, f, VCH_LOCK_EXCLUSIVE, 30), VCH_ERR_LOCKED);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(w->port->disk->lock(w->port, f, VCH_LOCK_EXCLUSIVE, 0), VCH_OK);
    vch_file_close(w->port, f);
    close(ready[0]);
    close(ready[1]);
}

static void *let_go_later(void *arg)
{
    void **both = arg;
    world_t *w = both[0];
    w->port->clock->sleep_ms(w->port, 60);
    w->port->disk->unlock(w->port, both[1]);
    return NULL;
}

static void real_lock_waits_for_its_turn(void **state)
{
    world_t *w = *state;
    vch_file_t *a = must_open(w, "x", VCH_OPEN_NEW), *b = must_open(w, "x", VCH_OPEN_WRITE);
    void *both[2] = {w, a};
    pthread_t thread;
    assert_int_equal(w->port->disk->lock(w->port, a, VCH_LOCK_EXCLUSIVE, 0), VCH_OK);
    assert_int_equal(pthread_create(&thread, NULL, let_go_later, both), 0);
    assert_int_equal(w->port->disk->lock(w->port, b, VCH_LOCK_EXCLUSIVE, 20000), VCH_OK);
    pthread_join(thread, NULL);
    vch_file_close(w->port, a);
    vch_file_close(w->port, b);
}

static void on_alarm(int sig) { (void)sig; }

/* Signals every millisecond: nothing may surface as a failure or a short count. */
static void real_interruptions_stay_inside(void **state)
{
    world_t *w = *state;
    const vch_net_ops_t *net = w->port->net;
    struct sigaction act = {.sa_handler = on_alarm};
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    uint64_t before = w->port->clock->boot_ms(w->port);
    vch_conn_t *l = NULL, *c = NULL;
    char address[VCH_PATH_MAX];
    assert_int_equal(vch_path(address, "unix:%s/sock", w->dir), VCH_OK);
    assert_int_equal(net->listen(w->port, &l, address), VCH_OK);
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    w->port->clock->sleep_ms(w->port, 40);
    vch_rc accepted = net->accept(w->port, l, &c, 40);
    vch_rc written = VCH_OK;
    for (int i = 0; i < 20 && written == VCH_OK; i++)
        written = vch_write_atomic(w->port, at(w, "x"), vch_str("whole"), 0600, NULL);
    setitimer(ITIMER_REAL, &never, NULL);
    assert_true(w->port->clock->boot_ms(w->port) - before >= 78);
    assert_int_equal(accepted, VCH_ERR_UNREACHABLE);
    assert_int_equal(written, VCH_OK);
    assert_content(w, "x", "whole");
    net->close(w->port, l);
}

/* Permissions do not stop root, so a child that is nobody tries it. */
static void real_read_only_folder(void **state)
{
    world_t *w = *state;
    assert_int_equal(chmod(w->dir, 0555), 0);
    pid_t child = fork();
    if (child == 0) {
        vch_err_t err = {0};
        if (geteuid() == 0 && setuid(65534) != 0) _exit(VCH_RC_COUNT);
        vch_rc rc = vch_write_atomic(w->port, at(w, "x"), vch_str("y"), 0600, &err);
        _exit(rc == VCH_ERR_READ_ONLY && !err.hint[0] ? VCH_RC_COUNT + 1 : (int)rc);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(chmod(w->dir, 0700), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), VCH_ERR_READ_ONLY);
}

static void real_full_disk(void **state)
{
    world_t *w = *state;
    vch_file_t *f;
    if (access("/dev/full", W_OK) != 0) {
        print_message("no /dev/full here\n");
        skip();
    }
    assert_int_equal(vch_file_open(w->port, &f, "/dev/full", VCH_OPEN_WRITE, NULL), VCH_OK);
    assert_int_equal(w->port->disk->write(w->port, f, "x", 1, 0), VCH_ERR_FULL);
    vch_file_close(w->port, f);
}

static void real_file_modes(void **state)
{
    world_t *w = *state;
    struct stat st;
    put(w, "x.tmp", "left behind, private");
    assert_int_equal(vch_write_atomic(w->port, at(w, "x"), vch_str("y"), 0644, NULL), VCH_OK);
    assert_int_equal(stat(at(w, "x"), &st), 0);
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(st.st_mode & 0777, 0644 & ~mask);
    put(w, "private", "");
    assert_int_equal(stat(at(w, "private"), &st), 0);
    assert_int_equal(st.st_mode & 0077, 0);
}

#define REAL(f) cmocka_unit_test_setup_teardown(f, real_setup, teardown)
#define BOTH(f)                                                                                                        \
    {"real " #f, f, real_setup, teardown, NULL}, { "sim " #f, f, sim_setup, teardown, NULL }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(open_modes),
        BOTH(read_and_write_anywhere),
        BOTH(truncate_cuts_and_grows_with_zeros),
        BOTH(locks_between_handles),
        BOTH(names_move_and_vanish),
        BOTH(removed_file_lives_while_open),
        BOTH(list_in_byte_order),
        BOTH(atomic_write_replaces),
        BOTH(read_all_knows_its_limits),
        BOTH(mkdirs_makes_all),
        BOTH(path_fits_or_says_so),
        BOTH(clocks_and_space_and_chance),
        BOTH(streams_unix),
        BOTH(streams_tcp),
        BOTH(addresses_wrong),
        REAL(real_addresses_stay_on_this_machine),
        REAL(real_stale_socket_is_replaced),
        REAL(real_lock_dies_with_its_process),
        REAL(real_lock_waits_for_its_turn),
        REAL(real_interruptions_stay_inside),
        REAL(real_read_only_folder),
        REAL(real_full_disk),
        REAL(real_file_modes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
