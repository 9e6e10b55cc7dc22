/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, read by the table of commands.  Global options may stand
 * anywhere before "--". */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"

#define DAY_MS 86400000u

const cli_command_t *cli_find(const char *noun, const char *verb)
{
    for (const cli_command_t *c = cli_commands; c->noun; c++)
        if (strcmp(c->noun, noun) == 0 && (c->verb ? verb && strcmp(c->verb, verb) == 0 : true)) return c;
    return NULL;
}

void cli_title(const cli_command_t *c, char ret[64])
{
    (void)snprintf(ret, 64, "%s%s%s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "");
}

vch_rc cli_usage(cli_t *cli, const char *fmt, ...)
{
    char text[VCH_ERR_TEXT_MAX], title[64] = "";
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)vch_fail(&cli->err, VCH_ERR_USAGE, "%s", text);
    if (!cli->command) return vch_hint(&cli->err, VCH_ERR_USAGE, "vouch help lists the commands");
    cli_title(cli->command, title);
    return vch_hint(&cli->err, VCH_ERR_USAGE, "vouch %s --help shows how it is used", title);
}

/* ---- which command ---------------------------------------------------------------- */

/* "create, add, list", of a noun; "" when there is no such noun. */
static void verbs_of(const char *noun, char *ret, size_t n)
{
    size_t at = 0;
    ret[0] = 0;
    for (const cli_command_t *c = cli_commands; c->noun; c++) {
        if (!c->verb || strcmp(c->noun, noun) != 0) continue;
        int used = snprintf(ret + at, n - at, "%s%s", at ? ", " : "", c->verb);
        if (used < 0 || (size_t)used >= n - at) return;
        at += (size_t)used;
    }
}

static vch_rc pick_command(cli_t *cli, const char *word, bool *ret_waiting)
{
    char verbs[200];
    const cli_command_t *bare = cli_find(word, NULL);
    *ret_waiting = false;
    if (bare && !bare->verb) {
        cli->command = bare;
        return VCH_OK;
    }
    verbs_of(word, verbs, sizeof verbs);
    if (!verbs[0]) return cli_usage(cli, "there is no command \"%.80s\"", word);
    *ret_waiting = true;
    return VCH_OK;
}

static vch_rc pick_verb(cli_t *cli, const char *noun, const char *verb)
{
    char verbs[200];
    cli->command = cli_find(noun, verb);
    if (cli->command) return VCH_OK;
    verbs_of(noun, verbs, sizeof verbs);
    (void)vch_fail(&cli->err, VCH_ERR_USAGE, "\"%.40s\" can't be done to \"%s\"", verb, noun);
    return vch_hint(&cli->err, VCH_ERR_USAGE, "vouch %s takes one of: %s", noun, verbs);
}

/* ---- options ------------------------------------------------------------------------ */

static const cli_option_t *find_in(const cli_option_t *o, const char *name, size_t n, char letter)
{
    for (; o && o->name; o++)
        if (letter ? o->letter == letter : strlen(o->name) == n && memcmp(o->name, name, n) == 0) return o;
    return NULL;
}

static const cli_option_t *find_option(const cli_t *cli, const char *name, size_t n, char letter)
{
    const cli_option_t *o = find_in(cli_globals, name, n, letter);
    return o || !cli->command ? o : find_in(cli->command->option, name, n, letter);
}

static bool is_given(const cli_t *cli, const cli_option_t *o)
{
    for (size_t i = 0; i < cli->givens; i++)
        if (cli->given[i].option == o) return true;
    return false;
}

static vch_rc give(cli_t *cli, const cli_option_t *o, const char *value)
{
    if (!o->many && o->arg && is_given(cli, o)) return cli_usage(cli, "--%s is given twice", o->name);
    if (cli->givens == CLI_GIVEN_MAX) return cli_usage(cli, "more than %d options", CLI_GIVEN_MAX);
    cli->given[cli->givens++] = (cli_given_t){o, value};
    return VCH_OK;
}

/* Takes argv[*at], and the next one as its value when it needs one. */
static vch_rc take_option(cli_t *cli, int argc, char **argv, int *at)
{
    const char *word = argv[*at], *value = NULL;
    bool is_long = word[1] == '-';
    const char *name = word + (is_long ? 2 : 1);
    size_t n = is_long ? strcspn(name, "=") : 1;
    const cli_option_t *o = find_option(cli, name, n, is_long ? 0 : *name);
    if (!o) return cli_usage(cli, "there is no option \"%.80s\" here", word);
    if (name[n]) value = is_long ? name + n + 1 : name + n;
    if (!o->arg) return value ? cli_usage(cli, "--%s takes no value", o->name) : give(cli, o, "");
    if (!value) {
        if (*at + 1 >= argc) return cli_usage(cli, "--%s needs a value: %s", o->name, o->arg);
        value = argv[++*at];
    }
    return give(cli, o, value);
}

static vch_rc take_word(cli_t *cli, const char **noun, const char *word)
{
    bool waiting = false;
    if (cli->command) {
        if (cli->args == CLI_ARGS_MAX) return cli_usage(cli, "too many arguments");
        cli->arg[cli->args++] = word;
        return VCH_OK;
    }
    if (*noun) return pick_verb(cli, *noun, word);
    VCH_TRY(pick_command(cli, word, &waiting));
    if (waiting) *noun = word;
    return VCH_OK;
}

static const char *from_environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* What is said on the line wins over the environment; -C and --node name two
 * ledgers, so only one of them is said. */
static vch_rc take_ledger(cli_t *cli)
{
    const char *dir = cli_get(cli, "dir"), *node = cli_get(cli, "node");
    bool here = cli->command && cli->command->needs & CLI_HERE;
    if (dir && node)
        return cli_usage(cli, "-C and --node name two ledgers; with --node, --keys-dir says where keys lie");
    if (node && here) return cli_usage(cli, "this is done in the ledger's own directory, not through a node");
    if (!node && !dir && !here) node = from_environment("VOUCH_NODE");
    cli->node = node;
    cli->dir = dir ? dir : from_environment("VOUCH_DIR");
    if (!cli->dir || node) cli->dir = ".";
    return VCH_OK;
}

/* Without a node keys lie in the ledger's directory. */
static vch_rc take_keys(cli_t *cli)
{
    const char *given = cli_get(cli, "keys-dir"), *config = from_environment("XDG_CONFIG_HOME");
    const char *home = from_environment("HOME");
    if (given) return cli_path(cli, cli->keys, "%s", given);
    if (!cli->node) return cli_path(cli, cli->keys, "%s/keys", cli->dir);
    if (config) return cli_path(cli, cli->keys, "%s/vouch/keys", config);
    return cli_path(cli, cli->keys, "%s/.config/vouch/keys", home ? home : ".");
}

static vch_rc take_globals(cli_t *cli)
{
    const char *as = cli_get(cli, "as");
    cli->as = as ? as : from_environment("VOUCH_AS");
    cli->quiet = cli_get(cli, "quiet") != NULL;
    cli->no_input = cli_get(cli, "no-input") != NULL;
    VCH_TRY(take_ledger(cli));
    return take_keys(cli);
}

static vch_rc check_counts(cli_t *cli, const char *noun)
{
    const cli_command_t *c = cli->command;
    char verbs[200];
    if (cli_get(cli, "help") || cli_get(cli, "version")) return VCH_OK;
    if (!c && noun) {
        verbs_of(noun, verbs, sizeof verbs);
        (void)vch_fail(&cli->err, VCH_ERR_USAGE, "vouch %s: what to do is missing", noun);
        return vch_hint(&cli->err, VCH_ERR_USAGE, "one of: %s", verbs);
    }
    if (!c) return cli_usage(cli, "no command");
    if (cli->args < c->min) return cli_usage(cli, "arguments are missing: %s", c->args);
    if (cli->args > c->max) return cli_usage(cli, "\"%.80s\" is one argument too many", cli->arg[c->max]);
    if (cli->rest && !(c->needs & CLI_REST)) return cli_usage(cli, "nothing may follow \"--\" here");
    if (!cli->rest && (c->needs & CLI_REST)) return cli_usage(cli, "the command after \"--\" is missing");
    return VCH_OK;
}

/* --json is wanted even when the rest of the line is wrong. */
static void look_for_json(cli_t *cli, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0) cli->json = true;
}

vch_rc cli_parse(cli_t *cli, int argc, char **argv)
{
    const char *noun = NULL;
    look_for_json(cli, argc, argv);
    cli->given = vch_alloc_array(CLI_GIVEN_MAX, sizeof *cli->given);
    if (!cli->given) return vch_fail(&cli->err, VCH_ERR_MEMORY, "no memory for the command line");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            if (i + 1 < argc) cli->rest = argv + i + 1;
            break;
        }
        if (argv[i][0] == '-' && argv[i][1])
            VCH_TRY(take_option(cli, argc, argv, &i));
        else
            VCH_TRY(take_word(cli, &noun, argv[i]));
    }
    VCH_TRY(take_globals(cli));
    if (cli_get(cli, "help") && noun && !cli->command) cli->arg[cli->args++] = noun;
    return check_counts(cli, noun);
}

/* ---- asking for what was given ---------------------------------------------------------- */

const char *cli_get(const cli_t *cli, const char *name)
{
    for (size_t i = cli->givens; i > 0; i--)
        if (strcmp(cli->given[i - 1].option->name, name) == 0) return cli->given[i - 1].value;
    return NULL;
}

size_t cli_all(const cli_t *cli, const char *name, const char **ret, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < cli->givens && n < max; i++)
        if (strcmp(cli->given[i].option->name, name) == 0) ret[n++] = cli->given[i].value;
    return n;
}

vch_rc cli_need(cli_t *cli, const char *name, const char **ret)
{
    const char *value = cli_get(cli, name);
    if (!value || !*value) return cli_usage(cli, "--%s is missing", name);
    *ret = value;
    return VCH_OK;
}

vch_rc cli_parse_u64(const char *text, uint64_t *ret)
{
    uint64_t v = 0;
    if (!*text) return VCH_ERR_FORMAT;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return VCH_ERR_FORMAT;
        if (__builtin_mul_overflow(v, (uint64_t)10, &v)) return VCH_ERR_LIMIT;
        if (__builtin_add_overflow(v, (uint64_t)(*text - '0'), &v)) return VCH_ERR_LIMIT;
    }
    *ret = v;
    return VCH_OK;
}

vch_rc cli_number(cli_t *cli, const char *name, uint64_t min, uint64_t max, uint64_t otherwise, uint64_t *ret)
{
    const char *value = cli_get(cli, name);
    uint64_t v = otherwise;
    if (value && (cli_parse_u64(value, &v) != VCH_OK || v < min || v > max))
        return cli_usage(cli, "--%s is a number from %llu to %llu, not \"%.40s\"", name, (unsigned long long)min,
                         (unsigned long long)max, value);
    *ret = v;
    return VCH_OK;
}

/* ---- days and times -------------------------------------------------------------------------- */

static bool digits(const char *p, size_t n, unsigned *ret)
{
    unsigned v = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') return false;
        v = v * 10 + (unsigned)(p[i] - '0');
    }
    *ret = v;
    return true;
}

static unsigned month_days(unsigned y, unsigned m)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return days[m - 1] + (m == 2 && leap ? 1u : 0u);
}

/* The first ten bytes as a day of the Gregorian calendar from 1970 on. */
static bool day_get(const char *t, uint32_t *ret)
{
    unsigned y, m, d;
    uint32_t days = 0;
    if (strlen(t) < 10 || t[4] != '-' || t[7] != '-') return false;
    if (!digits(t, 4, &y) || !digits(t + 5, 2, &m) || !digits(t + 8, 2, &d)) return false;
    if (y < 1970 || m < 1 || m > 12 || d < 1 || d > month_days(y, m)) return false;
    for (unsigned i = 1970; i < y; i++) days += month_days(i, 2) == 29 ? 366 : 365;
    for (unsigned i = 1; i < m; i++) days += month_days(y, i);
    *ret = days + d - 1;
    return true;
}

vch_rc cli_day(cli_t *cli, const char *text, uint32_t *ret)
{
    if (strlen(text) != 10 || !day_get(text, ret)) return cli_usage(cli, "\"%.40s\" is no day like 2027-12-31", text);
    return VCH_OK;
}

vch_rc cli_moment(cli_t *cli, const char *text, uint64_t *ret_ms)
{
    uint32_t day;
    unsigned h, m, s;
    size_t n = strlen(text);
    bool good = day_get(text, &day);
    if (good && n == 10) {
        *ret_ms = (uint64_t)day * DAY_MS + DAY_MS - 1;
        return VCH_OK;
    }
    good = good && n == 20 && text[10] == 'T' && text[13] == ':' && text[16] == ':' && text[19] == 'Z';
    good = good && digits(text + 11, 2, &h) && digits(text + 14, 2, &m) && digits(text + 17, 2, &s);
    if (!good || h > 23 || m > 59 || s > 59)
        return cli_usage(cli, "\"%.40s\" is no time like 2027-12-31 or 2027-12-31T18:00:00Z", text);
    *ret_ms = (uint64_t)day * DAY_MS + ((uint64_t)h * 3600 + m * 60 + s) * 1000;
    return VCH_OK;
}
