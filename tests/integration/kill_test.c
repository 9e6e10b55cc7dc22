/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 under load: a child submits from several threads and reports each
 * acknowledgement through a pipe; it is killed at a random moment; everything
 * that it reported is there. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>

#include "ledger_help.h"

#define KILLS 200u
#define KILLS_PER_LEDGER 200u /* however many in all, none grows without end */
#define THREADS 4u

typedef struct {
    vch_id_t entry;
    uint64_t index;
} report_t;

static unsigned kills_wanted(void)
{
    const char *scale = getenv("VOUCHSAFE_TEST_SCALE");
    unsigned long percent = scale ? strtoul(scale, NULL, 10) : 100;
    unsigned n = (unsigned)(KILLS * percent / 100);
    return n ? n : 1;
}

typedef struct {
    vch_ledger_t *l;
    vch_signer_t *s;
    unsigned from;
    int out;
} load_t;

/* A report is shorter than PIPE_BUF, so that it goes through whole or not at all. */
static void *load(void *arg)
{
    const load_t *t = arg;
    for (unsigned i = 0;; i++) {
        vch_receipt_t r;
        vch_err_t err = {0};
        if (lh_submit(t->l, t->s, t->from + i, &r, &err) != VCH_OK) {
            fprintf(stderr, "child: %s\n", err.text);
            _exit(1);
        }
        report_t report = {r.entry, r.index};
        if (write(t->out, &report, sizeof report) != (ssize_t)sizeof report) _exit(2);
        if (i % 16 == 15 && vch_ledger_checkpoint(t->l, NULL, &err) != VCH_OK) _exit(3);
    }
    return NULL;
}

static void child(const char *dir, int out, unsigned from)
{
    load_t t[THREADS];
    pthread_t thread[THREADS];
    vch_ledger_t *l = NULL;
    vch_signer_t *s = NULL;
    vch_err_t err = {0};
    if (vch_ledger_open(&l, dir, 0, &err) != VCH_OK || vch_identity_load(l, NULL, NULL, &s, &err) != VCH_OK) {
        fprintf(stderr, "child: %s\n", err.text);
        _exit(4);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        t[i] = (load_t){l, s, from + i * 100000, out};
        if (pthread_create(&thread[i], NULL, load, &t[i]) != 0) _exit(5);
    }
    for (unsigned i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    _exit(0);
}

/* Read reports until the pipe ends; the child is killed after `lives` of them. */
static size_t reports_until_killed(int in, pid_t pid, size_t lives, report_t *ret, size_t room)
{
    size_t n = 0;
    report_t r;
    while (read(in, &r, sizeof r) == (ssize_t)sizeof r) {
        if (n < room) ret[n++] = r;
        if (n == lives) kill(pid, SIGKILL);
    }
    return n;
}

static void one_kill(const char *dir, unsigned round)
{
    enum { ROOM = 4096 };
    int pipes[2], status;
    report_t *seen = malloc(ROOM * sizeof *seen);
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(pipes[0]);
        child(dir, pipes[1], round * 1000000);
    }
    close(pipes[1]);
    size_t n = reports_until_killed(pipes[0], pid, 1 + (round * 37) % 61, seen, ROOM);
    close(pipes[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    vch_ledger_t *l;
    LH_OK(vch_ledger_open(&l, dir, 0, &lh_err));
    LH_OK(vch_ledger_read_begin(l, &lh_err));
    for (size_t i = 0; i < n; i++) {
        uint64_t index = 0;
        LH_OK(vch_state_find(l->state, &seen[i].entry, &index));
        assert_int_equal(index, seen[i].index);
    }
    vch_ledger_read_end(l);
    LH_OK(vch_ledger_close(l, &lh_err));
    free(seen);
}

static void kills_of_one_ledger(unsigned kills)
{
    char dir[64];
    vch_init_t init = lh_init();
    uint64_t findings = 1;
    lh_folder(dir);
    LH_OK(vch_ledger_init(dir, &init, &lh_err));
    lh_run("sed -i 's/^min_free_mib.*/min_free_mib = 0/' %s/vouch.conf", dir);
    LH_OK(vch_settings_accept(dir, &lh_err));
    for (unsigned i = 1; i <= kills; i++) one_kill(dir, i);
    /* What was cut off stays in quarantine; derived leftovers can be mended. */
    LH_OK(vch_ledger_check(dir, 1, 1, NULL, NULL, &findings, &lh_err));
    LH_OK(vch_ledger_check(dir, 1, 0, NULL, NULL, &findings, &lh_err));
    assert_int_equal(findings, 0);
    lh_remove(dir);
}

static void killed_processes_lose_nothing(void **state)
{
    (void)state;
    unsigned kills = kills_wanted();
    for (unsigned left = kills, n; left; left -= n) kills_of_one_ledger(n = (unsigned)vch_min(left, KILLS_PER_LEDGER));
    print_message("%u kills\n", kills);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_processes_lose_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
