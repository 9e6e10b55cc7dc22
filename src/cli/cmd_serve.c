/* SPDX-License-Identifier: Apache-2.0 */
/* vouch serve: the ledger for other machines. */
#include <signal.h>
#include <stdio.h>

#include "cli/cli.h"
#include "vouchsafe/serve.h"

/* One write per line, so that lines of several threads never mix. */
static void log_line(void *ctx, const char *line)
{
    (void)ctx;
    (void)fprintf(stderr, "%s\n", line);
}

static void show_address(void *ctx, const char *addresses)
{
    const cli_t *cli = ctx;
    if (cli->quiet) return;
    (void)printf(cli->json ? "{\"listening\":\"%s\"}\n" : "listening on %s\n", addresses);
    (void)fflush(stdout); /* whoever waits for it is not kept waiting; who has gone away doesn't matter */
}

static vch_rc log_level(cli_t *cli, vch_say_t *ret)
{
    static const char *const name[] = {"error", "warn", "info", "debug"};
    const char *given = cli_get(cli, "log-level");
    *ret = VCH_SAY_INFO;
    for (size_t i = 0; given && i < sizeof name / sizeof *name; i++)
        if (strcmp(given, name[i]) == 0) {
            *ret = (vch_say_t)i;
            return VCH_OK;
        }
    return given ? cli_usage(cli, "--log-level is error, warn, info or debug, not \"%.20s\"", given) : VCH_OK;
}

vch_rc cli_serving(cli_t *cli, vch_serve_t *ret)
{
    *ret = (vch_serve_t){.listen = cli_get(cli, "listen"),
                         .tls_cert = cli_get(cli, "tls-cert"),
                         .tls_key = cli_get(cli, "tls-key"),
                         .public_plain = cli_get(cli, "public-plain") != NULL,
                         .log = log_line,
                         .ready = show_address,
                         .ctx = cli};
    (void)signal(SIGPIPE, SIG_IGN); /* a reader of stdout or stderr that left is no reason to stop */
    return log_level(cli, &ret->level);
}

vch_rc cli_serve(cli_t *cli)
{
    vch_serve_t o;
    VCH_TRY(cli_serving(cli, &o));
    o.flags = cli_get(cli, "accept-clock") ? VCH_LEDGER_ACCEPT_CLOCK : 0;
    return vch_serve(cli->dir, &o, &cli->err);
}
