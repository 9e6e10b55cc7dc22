/* SPDX-License-Identifier: Apache-2.0 */
/* What a server owes its surroundings: lines of the log, the service manager's
 * socket, sockets handed over, signals. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "api/daemon.h"
#include "ledger_help.h"
#include "port/socket.h"

static char lines[65536];
static pthread_mutex_t lines_mutex = PTHREAD_MUTEX_INITIALIZER;

static void keep_line(void *ctx, const char *line)
{
    (void)ctx;
    pthread_mutex_lock(&lines_mutex);
    size_t n = strlen(lines);
    snprintf(lines + n, sizeof lines - n, "%s\n", line);
    pthread_mutex_unlock(&lines_mutex);
}

static daemon_t begin(vch_say_t level)
{
    daemon_t d;
    const vch_serve_t o = {.level = level, .log = keep_line};
    lines[0] = 0;
    LH_OK(daemon_begin(&d, &o, &lh_err));
    return d;
}

/* ---- the log ------------------------------------------------------------------------------ */

static void log_lines(void **state)
{
    (void)state;
    daemon_t d = begin(VCH_SAY_INFO);
    vch_arena_t arena;
    const vch_json_t *v;
    DAEMON_SAY(&d, VCH_SAY_WARN, "a.b", {"text", "say \"x\"\n\x01"}, {"count", NULL, 7}, {"path", "/\xff\xfe"});
    vch_arena_init(&arena, 65536);
    LH_OK(vch_json_parse(&arena, &v, vch_slice(lines, strlen(lines) - 1), &lh_err));
    assert_true(vch_slice_eq(vch_json_get(v, "event")->text, vch_str("a.b")));
    assert_true(vch_slice_eq(vch_json_get(v, "level")->text, vch_str("warn")));
    assert_true(vch_slice_eq(vch_json_get(v, "text")->text, vch_str("say \"x\"\n\x01")));
    assert_true(vch_slice_eq(vch_json_get(v, "path")->text, vch_str("(not UTF-8)")));
    assert_int_equal(vch_json_get(v, "time")->text.n, 24);
    assert_non_null(strstr(lines, "\"count\":7"));
    assert_ptr_equal(strchr(lines, '\n'), lines + strlen(lines) - 1); /* one line */
    lines[0] = 0;
    DAEMON_SAY(&d, VCH_SAY_DEBUG, "a.c", {"text", "not asked for"});
    assert_int_equal(lines[0], 0);
    static char endless[10000];
    memset(endless, 'x', sizeof endless - 1);
    DAEMON_SAY(&d, VCH_SAY_ERROR, "a.d", {"text", endless});
    LH_OK(vch_json_parse(&arena, &v, vch_slice(lines, strlen(lines) - 1), &lh_err));
    assert_true(vch_slice_eq(vch_json_get(v, "event")->text, vch_str("a.d")) && !vch_json_get(v, "text"));
    vch_arena_free(&arena);
    daemon_end(&d);
}

/* ---- the service manager --------------------------------------------------------------------- */

/* A datagram socket as systemd has one; its address in `ret`. */
static int manager(const char *folder, bool is_abstract, char ret[100])
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(ret, 100, "%s%s/notify", is_abstract ? "@" : "", folder);
    snprintf(un.sun_path, sizeof un.sun_path, "%s", ret);
    if (is_abstract) un.sun_path[0] = 0;
    assert_int_equal(
        bind(fd, (struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(ret))), 0);
    return fd;
}

static void heard(int fd, char ret[256])
{
    struct pollfd f = {.fd = fd, .events = POLLIN};
    if (poll(&f, 1, 20000) != 1) fail_msg("the service manager was not told");
    ssize_t n = recv(fd, ret, 255, 0);
    ret[n > 0 ? n : 0] = 0;
}

/* Waits for a message that begins so. */
static void hears(int fd, const char *want)
{
    char text[256];
    do heard(fd, text);
    while (strncmp(text, want, strlen(want)) != 0);
}

static void handle(void *ctx, const http_request_t *q, http_response_t *r)
{
    (void)ctx, (void)q;
    r->status = 204;
}

static pthread_mutex_t stuck = PTHREAD_MUTEX_INITIALIZER;

/* The wheel asks this: whoever holds the mutex stops the wheel. */
static bool joins(void *ctx, const http_request_t *q)
{
    (void)ctx, (void)q;
    pthread_mutex_lock(&stuck);
    pthread_mutex_unlock(&stuck);
    return false;
}

static void batch(void *ctx, const http_request_t *const *q, http_response_t *const *r, size_t n)
{
    (void)ctx, (void)q, (void)r, (void)n;
}

static http_server_t *server(void)
{
    static const http_service_t service = {.handle = handle, .joins = joins, .batch = batch};
    const http_options_t o = {.listen = "127.0.0.1:0"};
    http_server_t *s;
    LH_OK(http_server_start(&s, &o, &service, &lh_err));
    return s;
}

typedef struct {
    daemon_t *d;
    http_server_t *http;
    int reloads;
} run_t;

static void reload(void *ctx) { ((run_t *)ctx)->reloads++; }

static void *run(void *ctx)
{
    run_t *r = ctx;
    daemon_run(r->d, r->http, reload, r);
    return NULL;
}

static void told_of_everything(void **state)
{
    (void)state;
    char folder[64], address[100], text[256];
    pthread_t thread;
    lh_folder(folder);
    for (int is_abstract = 0; is_abstract < 2; is_abstract++) {
        int fd = manager(folder, is_abstract, address);
        setenv("NOTIFY_SOCKET", address, 1);
        daemon_t d = begin(VCH_SAY_INFO);
        assert_null(getenv("NOTIFY_SOCKET"));
        run_t r = {.d = &d, .http = server()};
        daemon_ready(&d, r.http);
        heard(fd, text);
        assert_string_equal(text, "READY=1\nSTATUS=serving");
        assert_int_equal(pthread_create(&thread, NULL, run, &r), 0);
        kill(getpid(), SIGHUP);
        hears(fd, "RELOADING=1\nMONOTONIC_USEC=");
        hears(fd, "READY=1");
        kill(getpid(), is_abstract ? SIGINT : SIGTERM);
        pthread_join(thread, NULL);
        assert_int_equal(r.reloads, 1);
        daemon_stopping(&d);
        hears(fd, "STOPPING=1");
        http_server_stop(r.http, 1000);
        daemon_end(&d);
        close(fd);
    }
    lh_remove(folder);
}

/* As long as the wheel turns, and not longer. */
static void watchdog(void **state)
{
    (void)state;
    char folder[64], address[100], text[256], ask[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    pthread_t thread;
    lh_folder(folder);
    int fd = manager(folder, false, address);
    setenv("NOTIFY_SOCKET", address, 1);
    setenv("WATCHDOG_USEC", "400000", 1);
    daemon_t d = begin(VCH_SAY_INFO);
    assert_int_equal(d.watchdog_ms, 400);
    run_t r = {.d = &d, .http = server()};
    assert_int_equal(pthread_create(&thread, NULL, run, &r), 0);
    for (int i = 0; i < 3; i++) hears(fd, "WATCHDOG=1");
    pthread_mutex_lock(&stuck);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    in.sin_port = htons((uint16_t)strtoul(strrchr(http_server_address(r.http), ':') + 1, NULL, 10));
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&in, sizeof in), 0);
    assert_true(send(client, ask, sizeof ask - 1, 0) > 0);
    struct pollfd f = {.fd = fd, .events = POLLIN};
    while (poll(&f, 1, 1500) == 1) heard(fd, text); /* until it falls silent */
    pthread_mutex_unlock(&stuck);
    hears(fd, "WATCHDOG=1");
    kill(getpid(), SIGTERM);
    pthread_join(thread, NULL);
    close(client);
    http_server_stop(r.http, 1000);
    daemon_end(&d);
    close(fd);
    lh_remove(folder);
}

static void deaf_manager(void **state)
{
    (void)state;
    setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
    daemon_t d = begin(VCH_SAY_INFO);
    daemon_stopping(&d);
    assert_non_null(strstr(lines, "serve.notify_failed"));
    daemon_end(&d);
    assert_int_equal(vch_notify("relative", "X=1"), VCH_ERR_USAGE);
}

/* ---- sockets handed over --------------------------------------------------------------------------- */

static void handed_sockets(void **state)
{
    (void)state;
    char pid[20];
    const vch_serve_t o = {.level = VCH_SAY_INFO};
    daemon_t d;
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_FDNAMES", "a:b", 1);
    d = begin(VCH_SAY_INFO);
    assert_true(d.fds_n == 2 && d.fds[0] == 3 && d.fds[1] == 4);
    assert_true(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES"));
    daemon_end(&d);
    setenv("LISTEN_PID", "1", 1); /* meant for somebody else */
    setenv("LISTEN_FDS", "2", 1);
    d = begin(VCH_SAY_INFO);
    assert_int_equal(d.fds_n, 0);
    daemon_end(&d);
    setenv("LISTEN_FDS", "2", 1); /* for nobody */
    d = begin(VCH_SAY_INFO);
    assert_int_equal(d.fds_n, 0);
    daemon_end(&d);
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "9", 1);
    LH_IS(VCH_ERR_USAGE, daemon_begin(&d, &o, &lh_err));
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(log_lines), cmocka_unit_test(told_of_everything),
                                       cmocka_unit_test(watchdog), cmocka_unit_test(deaf_manager),
                                       cmocka_unit_test(handed_sockets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
