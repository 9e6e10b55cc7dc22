/* SPDX-License-Identifier: Apache-2.0 */
/* One line on a terminal that says how far a long command is.  Only there: not
 * with --quiet or --json, and without colours or escapes, so NO_COLOR has
 * nothing to switch off. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

#define PAUSE_MS 100u   /* between two lines */
#define SETTLED_MS 500u /* before that a rate says nothing */

static uint64_t now_ms(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_MONOTONIC, &t) == 0 ? (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 : 0;
}

static size_t put_left(char *to, size_t room, uint64_t s)
{
    int n = s < 120    ? snprintf(to, room, ", %u s left", (unsigned)s)
            : s < 7200 ? snprintf(to, room, ", %u min left", (unsigned)(s / 60))
                       : snprintf(to, room, ", %llu h left", (unsigned long long)(s / 3600));
    return n > 0 ? vch_min((size_t)n, room - 1) : 0;
}

size_t cli_progress_text(char ret[CLI_PROGRESS_MAX], const cli_progress_t *p, uint64_t units, uint64_t done,
                         uint64_t total, uint64_t ms)
{
    const size_t max = CLI_PROGRESS_MAX;
    bool settled = ms >= SETTLED_MS && units >= p->from_units && done >= p->from_done;
    uint64_t part = vch_min(done, total);
    size_t n = (size_t)snprintf(ret, max, "%llu %.16s", (unsigned long long)units, p->unit);
    if (total)
        n += (size_t)snprintf(ret + n, max - n, ", %u %%",
                              (unsigned)(total < 100 ? part * 100 / total : vch_min(part / (total / 100), 100)));
    if (!settled) return n;
    uint64_t news = units - p->from_units, each = (done - p->from_done) / ms; /* a millisecond */
    uint64_t rate = news / ms * 1000 + news % ms * 1000 / ms;
    n += (size_t)snprintf(ret + n, max - n, ", %llu %.16s/s", (unsigned long long)rate, p->unit);
    if (each && part < total) n += put_left(ret + n, max - n, ((total - part) / each + 999) / 1000);
    return n;
}

static void show(cli_progress_t *p, const char *text, size_t n)
{
    size_t blanks = p->width > n ? p->width - n : 0; /* over what stood there */
    (void)fprintf(stderr, "\r%.*s%*s", (int)n, text, (int)blanks, "");
    if (blanks) (void)fprintf(stderr, "\r%.*s", (int)n, text);
    (void)fflush(stderr);
    p->width = n;
}

void cli_progress_begin(cli_progress_t *p, const cli_t *cli, const char *unit)
{
    *p = (cli_progress_t){.unit = unit, .on = !cli->quiet && !cli->json && isatty(STDERR_FILENO)};
}

void cli_progress(void *ctx, uint64_t units, uint64_t done, uint64_t total)
{
    cli_progress_t *p = ctx;
    char text[CLI_PROGRESS_MAX];
    if (!p->on) return;
    uint64_t ms = now_ms();
    if (!p->begun) *p = (cli_progress_t){p->unit, true, true, units, done, ms, 0, 0};
    ms -= p->began_ms;
    if (p->width && done < total && ms - p->shown_ms < PAUSE_MS) return;
    p->shown_ms = ms;
    show(p, text, cli_progress_text(text, p, units, done, total, ms));
}

void cli_progress_end(cli_progress_t *p)
{
    if (p->width) show(p, "", 0);
    p->on = false;
}
