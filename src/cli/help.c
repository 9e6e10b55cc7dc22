/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that describes the commands, made from their table. */
#include <stdio.h>

#include "cli/cli.h"

vch_rc cli_version(cli_t *cli)
{
    cli_json_t j;
    if (!cli->json) {
        (void)printf("vouch %s\n", vch_version());
        return VCH_OK;
    }
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "version", vch_version());
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

/* "vouch dataset add DATASET FILE.csv [options]" */
static void put_usage(const cli_command_t *c)
{
    char title[64];
    cli_title(c, title);
    (void)printf("vouch %s", title);
    if (c->option) (void)fputs(" [OPTION...]", stdout);
    if (*c->args) (void)printf(" %s", c->args);
}

static void put_options(const cli_option_t *o)
{
    for (; o && o->name; o++) {
        char left[64], letter[8] = "    ";
        if (o->letter) (void)snprintf(letter, sizeof letter, "-%c, ", o->letter);
        (void)snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        (void)printf("  %-34s %s%s\n", left, o->help, o->many ? " (may be repeated)" : "");
    }
}

void cli_help_command(const cli_command_t *c)
{
    (void)fputs("usage: ", stdout);
    put_usage(c);
    (void)printf("\n\n%s\n", c->help);
    if (c->option) (void)fputs("\noptions\n", stdout);
    put_options(c->option);
    (void)fputs("\nglobal options\n", stdout);
    put_options(cli_globals);
}

static void put_line(const cli_command_t *c)
{
    char left[128], title[64];
    cli_title(c, title);
    (void)snprintf(left, sizeof left, "%s%s%s", title, *c->args ? " " : "", c->args);
    if (strlen(left) > 44)
        (void)printf("  %s\n  %-44s %s\n", left, "", c->help);
    else
        (void)printf("  %-44s %s\n", left, c->help);
}

void cli_help_noun(const char *noun)
{
    for (const cli_command_t *c = cli_commands; c->noun; c++)
        if (strcmp(c->noun, noun) == 0) put_line(c);
    (void)printf("\nvouch %s VERB --help shows the options\n", noun);
}

void cli_help_all(void)
{
    (void)fputs("usage: vouch [-C DIR] COMMAND [OPTION...] [ARGUMENT...]\n\n", stdout);
    for (const cli_command_t *c = cli_commands; c->noun; c++) put_line(c);
    (void)fputs("\nglobal options\n", stdout);
    put_options(cli_globals);
    (void)fputs("\nvouch NOUN VERB --help shows the options of one command.\n", stdout);
}

static void json_options(cli_json_t *j, const cli_option_t *o)
{
    cj_open(j, "options", '[');
    for (; o && o->name; o++) {
        cj_open(j, NULL, '{');
        cj_text(j, "name", o->name);
        cj_text(j, "value", o->arg ? o->arg : "");
        cj_text(j, "help", o->help);
        cj_bool(j, "many", o->many);
        cj_close(j, '}');
    }
    cj_close(j, ']');
}

static vch_rc help_json(cli_t *cli)
{
    cli_json_t j;
    cj_begin(&j);
    cj_open(&j, NULL, '[');
    for (const cli_command_t *c = cli_commands; c->noun; c++) {
        cj_open(&j, NULL, '{');
        cj_text(&j, "noun", c->noun);
        cj_text(&j, "verb", c->verb ? c->verb : "");
        cj_text(&j, "arguments", c->args);
        cj_text(&j, "help", c->help);
        json_options(&j, c->option);
        cj_close(&j, '}');
    }
    cj_close(&j, ']');
    return cj_show(cli, &j);
}

vch_rc cli_help(cli_t *cli)
{
    const char *noun = cli->args ? cli->arg[0] : NULL, *verb = cli->args > 1 ? cli->arg[1] : NULL;
    if (cli_get(cli, "man")) {
        cli_help_man();
        return VCH_OK;
    }
    if (cli->json) return help_json(cli);
    if (!noun) {
        cli_help_all();
        return VCH_OK;
    }
    const cli_command_t *c = cli_find(noun, verb);
    if (c)
        cli_help_command(c);
    else if (!verb && cli_find(noun, NULL) == NULL) {
        for (c = cli_commands; c->noun && strcmp(c->noun, noun) != 0;) c++;
        if (!c->noun) return cli_usage(cli, "there is no command \"%.80s\"", noun);
        cli_help_noun(noun);
    } else
        return cli_usage(cli, "there is no command \"%.80s %.80s\"", noun, verb ? verb : "");
    return VCH_OK;
}

/* ---- the manual page (man macros) ------------------------------------------------------- */

/* roff: a hyphen of an option is \-, a backslash \e, a dot never leads a line. */
static void put_roff(const char *text)
{
    if (*text == '.' || *text == '\'') (void)fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '-')
            (void)fputs("\\-", stdout);
        else if (*text == '\\')
            (void)fputs("\\e", stdout);
        else
            (void)fputc(*text, stdout);
    }
}

static void man_options(const cli_option_t *o)
{
    for (; o && o->name; o++) {
        (void)fputs(".TP\n", stdout);
        if (o->letter) (void)printf("\\fB\\-%c\\fR, ", o->letter);
        (void)fputs("\\fB\\-\\-", stdout);
        put_roff(o->name);
        (void)fputs("\\fR", stdout);
        if (o->arg) {
            (void)fputs(" \\fI", stdout);
            put_roff(o->arg);
            (void)fputs("\\fR", stdout);
        }
        (void)fputc('\n', stdout);
        put_roff(o->help);
        (void)printf("%s\n", o->many ? " (may be repeated)" : "");
    }
}

static void man_command(const cli_command_t *c)
{
    char title[64];
    cli_title(c, title);
    (void)fputs(".SS ", stdout);
    put_roff(title);
    if (*c->args) (void)fputc(' ', stdout);
    put_roff(c->args);
    (void)fputc('\n', stdout);
    put_roff(c->help);
    (void)fputs(".\n", stdout);
    man_options(c->option);
}

typedef struct {
    int code;
    const char *text;
} exit_t;

static void man_exits(void)
{
    static const exit_t all[] = {
#define EXIT_OF(name, code, text) {code, text},
        VCH_RC_LIST(EXIT_OF)
#undef EXIT_OF
            {4, "inconclusive: nothing is false, but the evidence does not prove the claim to this trust policy"},
    };
    for (int code = 0; code <= 130; code++) {
        bool first = true;
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            if (all[i].code != code) continue;
            if (first) (void)printf(".TP\n.B %d\n", code);
            if (!first) (void)fputs(";\n", stdout);
            put_roff(all[i].text);
            first = false;
        }
        if (!first) (void)fputc('\n', stdout);
    }
}

static const char man_head[] =
    ".\\\" SPDX-License-Identifier: Apache-2.0\n"
    ".\\\" Made by `vouch help --man` from the table of commands; a test keeps both equal.\n"
    ".TH VOUCH 1 2026-11-22 \"Vouchsafe " VCH_VERSION_TEXT "\"\n"
    ".SH NAME\nvouch \\- a ledger of commitments, consents, uses and model lineage\n"
    ".SH SYNOPSIS\n.B vouch\n[\\fB\\-C\\fR \\fIDIR\\fR] \\fICOMMAND\\fR [\\fIOPTION\\fR...] [\\fIARGUMENT\\fR...]\n"
    ".SH DESCRIPTION\n"
    "Data goes to standard output, messages to standard error.\n"
    "With \\fB\\-\\-json\\fR the answer of every command is one JSON value, and an error is a JSON object on\n"
    "standard error.\n"
    ".PP\nDatasets, parties, terms, models and deployments are named by their name or title, or by at least 8 hex\n"
    "digits of their id.\n"
    "A version is \\fIDATASET\\fR (the latest), \\fIDATASET\\fR@\\fIN\\fR, or an id.\n"
    "Rows lie in a vault: embedded, all of whose parties run in this process, or served by trustees and storage\n"
    "nodes that run elsewhere; or, without one, in \\fIdata/\\fR in the clear.\n"
    "The time of a block is the operator's clock.\n";

static const char man_tail[] =
    ".SH ENVIRONMENT\n.TP\n.B VOUCH_DIR\nThe ledger's directory when \\fB\\-C\\fR is not given.\n"
    ".TP\n.B VOUCH_AS\nWho signs when \\fB\\-\\-as\\fR is not given.\n"
    ".TP\n.B NO_COLOR\nWhen set, marks are not coloured.\n"
    ".PP\nSecrets are never taken from the environment.\n"
    ".SH FILES\n.TP\n.I vouch.conf\nSettings of a ledger.\n.TP\n.I trust.policy\nWhom to believe; give it to those who "
    "verify.\n"
    ".TP\n.I keys/\nPrivate keys and wallets.\n.TP\n.I data/\nRows in the clear.\n";

void cli_help_man(void)
{
    (void)fputs(man_head, stdout);
    (void)fputs(".SH GLOBAL OPTIONS\n", stdout);
    man_options(cli_globals);
    (void)fputs(".SH COMMANDS\n", stdout);
    for (const cli_command_t *c = cli_commands; c->noun; c++) man_command(c);
    (void)fputs(".SH EXIT STATUS\n", stdout);
    man_exits();
    (void)fputs(man_tail, stdout);
}

/* ---- bash completion ------------------------------------------------------------------------ */

static bool first_of_noun(const cli_command_t *c) { return c == cli_commands || strcmp(c->noun, (c - 1)->noun) != 0; }

static bool value_seen_before(const cli_command_t *until, const cli_option_t *want)
{
    for (const cli_option_t *o = cli_globals; o->name; o++)
        if (o->arg && strcmp(o->name, want->name) == 0) return true;
    for (const cli_command_t *c = cli_commands; c != until; c++)
        for (const cli_option_t *o = c->option; o && o->name; o++)
            if (o->arg && strcmp(o->name, want->name) == 0) return true;
    return false;
}

/* Options that take the next word, so that it is not taken for a noun. */
static void put_value_options(void)
{
    (void)fputs("-C | -o | -w", stdout);
    for (const cli_option_t *o = cli_globals; o->name; o++)
        if (o->arg) (void)printf(" | --%s", o->name);
    for (const cli_command_t *c = cli_commands; c->noun; c++)
        for (const cli_option_t *o = c->option; o && o->name; o++)
            if (o->arg && !value_seen_before(c, o)) (void)printf(" | --%s", o->name);
}

static void put_option_words(const cli_option_t *o)
{
    for (; o && o->name; o++) (void)printf(" --%s", o->name);
}

void cli_help_completion(void)
{
    (void)fputs("# SPDX-License-Identifier: Apache-2.0\n"
                "# Made by `vouch completion` from the table of commands; a test keeps both equal.\n"
                "_vouch() {\n    local cur=${COMP_WORDS[COMP_CWORD]} noun= verb= skip= word words\n"
                "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
                "        if [ -n \"$skip\" ]; then skip=; continue; fi\n"
                "        case $word in\n        ",
                stdout);
    put_value_options();
    (void)fputs(") skip=1 ;;\n        -*) ;;\n"
                "        *) if [ -z \"$noun\" ]; then noun=$word; elif [ -z \"$verb\" ]; then verb=$word; fi ;;\n"
                "        esac\n    done\n    COMPREPLY=()\n    if [ -n \"$skip\" ]; then\n"
                "        COMPREPLY=($(compgen -f -- \"$cur\"))\n        return\n    fi\n"
                "    case \"$noun $verb\" in\n    ' ') words='",
                stdout);
    for (const cli_command_t *c = cli_commands; c->noun; c++)
        if (first_of_noun(c)) (void)printf("%s ", c->noun);
    (void)fputs("' ;;\n", stdout);
    for (const cli_command_t *c = cli_commands; c->noun; c++) {
        if (!c->verb || !first_of_noun(c)) continue;
        (void)printf("    '%s ') words='", c->noun);
        for (const cli_command_t *v = c; v->noun && strcmp(v->noun, c->noun) == 0; v++) (void)printf("%s ", v->verb);
        (void)fputs("' ;;\n", stdout);
    }
    for (const cli_command_t *c = cli_commands; c->noun; c++) {
        if (!c->option) continue;
        (void)printf("    '%s %s'%s) words='", c->noun, c->verb ? c->verb : "", c->verb ? "" : "*");
        put_option_words(c->option);
        (void)fputs("' ;;\n", stdout);
    }
    (void)fputs("    *) words= ;;\n    esac\n    case $cur in\n    -*) COMPREPLY=($(compgen -W \"$words -C", stdout);
    put_option_words(cli_globals);
    (void)fputs("\" -- \"$cur\")) ;;\n    *) case $words in *--* | '') COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
                "        *) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;; esac ;;\n    esac\n}\n"
                "complete -F _vouch vouch\n",
                stdout);
}

vch_rc cli_completion(cli_t *cli)
{
    (void)cli;
    cli_help_completion();
    return VCH_OK;
}
