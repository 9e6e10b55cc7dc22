/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the ledger share: a temporary directory, small entries,
 * and asserts that print the error. */
#ifndef VCH_TEST_LEDGER_HELP_H
#define VCH_TEST_LEDGER_HELP_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codec/json.h"
#include "node/node.h"

#define LH_ORIGIN "clinic-a.example/ledger"

__attribute__((unused)) static vch_err_t lh_err;

#define LH_OK(call)                                                                                                    \
    do {                                                                                                               \
        lh_err = (vch_err_t){0};                                                                                       \
        vch_rc lh_rc_ = (call);                                                                                        \
        if (lh_rc_ != VCH_OK) fail_msg("%s: %s: %s", #call, vch_rc_name(lh_rc_), lh_err.text);                         \
    } while (0)

#define LH_IS(want, call)                                                                                              \
    do {                                                                                                               \
        lh_err = (vch_err_t){0};                                                                                       \
        vch_rc lh_rc_ = (call);                                                                                        \
        if (lh_rc_ != (want))                                                                                          \
            fail_msg("%s: %s instead of %s: %s", #call, vch_rc_name(lh_rc_), vch_rc_name(want), lh_err.text);          \
    } while (0)

static inline vch_init_t lh_init(void) { return (vch_init_t){.origin = LH_ORIGIN, .operator_name = "clinic-a"}; }

/* A fresh folder; its name lives in `ret`. */
static inline void lh_folder(char ret[64])
{
    snprintf(ret, 64, "/tmp/vch-test-XXXXXX");
    if (!mkdtemp(ret)) abort();
}

/* One line of shell; its exit code, or -1. */
static inline int lh_shell(const char *line)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void lh_remove(const char *folder)
{
    char command[256];
    snprintf(command, sizeof command, "chmod -R u+w '%s' && rm -rf '%s'", folder, folder);
    if (lh_shell(command) != 0) fprintf(stderr, "cannot remove %s\n", folder);
}

static inline void lh_run(const char *fmt, const char *folder)
{
    char command[1024];
    snprintf(command, sizeof command, fmt, folder);
    if (lh_shell(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        abort();
    }
}

/* Entry number i of anybody: a model imported without proof. */
static inline vch_rc lh_submit(vch_ledger_t *l, const vch_signer_t *s, unsigned i, vch_receipt_t *ret, vch_err_t *err)
{
    char json[160];
    int n = snprintf(json, sizeof json, "{\"name\":\"model-%u\",\"digest\":\"%064x\"}", i, i);
    return vch_submit_json(l, s, "model", json, (size_t)n, ret, err);
}

#endif
