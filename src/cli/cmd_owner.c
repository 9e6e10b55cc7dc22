/* SPDX-License-Identifier: Apache-2.0 */
/* Owners: wallets and consents.  People count owners and lines from 1. */
#include <stdio.h>

#include "cli/cli.h"

#define PERSONS_MAX 1000000u
#define GROUPS_MAX 16

/* ---- wallets ------------------------------------------------------------------------ */

/* A bare name is NAME.wallet among the keys. */
static vch_rc wallet_path(cli_t *cli, const char *name, char ret[CLI_PATH_MAX])
{
    if (strchr(name, '/')) return cli_path(cli, ret, "%s", name);
    return cli_path(cli, ret, "%s/%s.wallet", cli->keys, name);
}

static vch_rc wallet_open(cli_t *cli, const char *name, vch_wallet_t **ret)
{
    char path[CLI_PATH_MAX], *passphrase = NULL;
    VCH_TRY(wallet_path(cli, name, path));
    VCH_TRY(cli_passphrase(cli, "wallet-passphrase-file", &passphrase));
    vch_rc rc = vch_wallet_open(ret, path, passphrase, &cli->err);
    cli_passphrase_free(passphrase);
    return rc;
}

static void put_wallet(cli_json_t *j, const char *name, const vch_wallet_t *w)
{
    cj_open(j, NULL, '{');
    cj_text(j, "name", name);
    cj_number(j, "owners", vch_wallet_owners(w));
    cj_text(j, "kind", vch_wallet_simulated(w) ? "SIMULATED owners" : "a person's own");
    cj_bool(j, "simulated", vch_wallet_simulated(w) != 0);
    cj_close(j, '}');
}

vch_rc cli_wallet_show(cli_t *cli)
{
    vch_wallet_t *w = NULL;
    cli_json_t j;
    VCH_TRY(wallet_open(cli, cli->arg[0], &w));
    cj_begin(&j);
    put_wallet(&j, cli->arg[0], w);
    vch_wallet_free(w);
    return cj_show(cli, &j);
}

vch_rc cli_wallet_new(cli_t *cli)
{
    char path[CLI_PATH_MAX], *passphrase = NULL;
    uint64_t owners;
    bool simulated = cli_get(cli, "simulated") != NULL;
    VCH_TRY(cli_number(cli, "owners", 1, PERSONS_MAX, 1, &owners));
    if (owners > 1 && !simulated)
        return cli_usage(cli, "a wallet of more than one owner is a simulation; say --simulated");
    VCH_TRY(wallet_path(cli, cli->arg[0], path));
    VCH_TRY(cli_passphrase(cli, "wallet-passphrase-file", &passphrase));
    vch_rc rc = vch_wallet_new(path, (uint32_t)owners, simulated, passphrase, &cli->err);
    cli_passphrase_free(passphrase);
    return rc == VCH_OK ? cli_wallet_show(cli) : rc;
}

static vch_rc list_wallet(cli_t *cli, void *ctx, const char *name)
{
    cli_json_t *j = ctx;
    vch_wallet_t *w = NULL;
    if (wallet_open(cli, name, &w) == VCH_OK) {
        put_wallet(j, name, w);
    } else {
        cj_open(j, NULL, '{');
        cj_text(j, "name", name);
        cj_text(j, "note", cli->err.text);
        cj_close(j, '}');
        cli->err = (vch_err_t){.rc = VCH_OK};
    }
    vch_wallet_free(w);
    return VCH_OK;
}

vch_rc cli_wallet_list(cli_t *cli)
{
    cli_json_t j;
    cj_begin(&j);
    cj_open(&j, NULL, '[');
    vch_rc rc = cli_keys_each(cli, ".wallet", list_wallet, &j);
    cj_close(&j, ']');
    if (rc == VCH_OK) return cj_show(cli, &j);
    cj_free(&j);
    return rc;
}

/* ---- persons: line i of a file is owner i of the wallet -------------------------------- */

typedef struct {
    vch_buf_t file;
    const char **name; /* into file */
    size_t n;
} persons_t;

static void persons_free(persons_t *p)
{
    vch_free(p->name);
    vch_buf_free(&p->file);
}

/* Lines become texts in place. */
static vch_rc persons_split(cli_t *cli, persons_t *p)
{
    size_t lines = 1;
    VCH_TRY(vch_buf_u8(&p->file, 0));
    for (size_t i = 0; i < p->file.n; i++) lines += p->file.p[i] == '\n';
    p->name = vch_alloc_array(lines, sizeof *p->name);
    if (!p->name) return vch_fail(&cli->err, VCH_ERR_MEMORY, "no memory for %zu persons", lines);
    for (char *line = (char *)p->file.p; line && *line;) {
        char *end = strchr(line, '\n');
        if (end) *end = 0;
        size_t n = strcspn(line, "\r");
        line[n] = 0;
        if (!n) return vch_fail(&cli->err, VCH_ERR_FORMAT, "line %zu of the persons' file is empty", p->n + 1);
        p->name[p->n++] = line;
        line = end ? end + 1 : NULL;
    }
    return p->n ? VCH_OK : vch_fail(&cli->err, VCH_ERR_FORMAT, "the persons' file is empty");
}

static vch_rc persons_read(cli_t *cli, const char *path, persons_t *ret)
{
    *ret = (persons_t){.n = 0};
    VCH_TRY(cli_read_file(cli, path, CLI_FILE_MAX, &ret->file));
    vch_rc rc = persons_split(cli, ret);
    if (rc != VCH_OK) persons_free(ret);
    return rc;
}

/* ---- wallet keys ---------------------------------------------------------------------------- */

static vch_rc put_csv_cell(cli_t *cli, const char *text)
{
    bool quote = strpbrk(text, ",\"\r\n") != NULL;
    if (quote && fputc('"', stdout) == EOF) return vch_fail(&cli->err, VCH_ERR_IO, "writing to stdout failed");
    for (; *text; text++) {
        if (*text == '"') (void)fputc('"', stdout);
        (void)fputc(*text, stdout);
    }
    if (quote) (void)fputc('"', stdout);
    return ferror(stdout) ? vch_fail(&cli->err, VCH_ERR_IO, "writing to stdout failed") : VCH_OK;
}

static vch_rc put_key(cli_t *cli, cli_json_t *j, const char *person, const uint8_t key[34])
{
    char hex[69];
    if (cli->json) {
        cj_open(j, NULL, '{');
        cj_text(j, "person", person);
        cj_hex(j, "key", key, 34);
        cj_close(j, '}');
        return VCH_OK;
    }
    vch_hex(hex, key, 34);
    VCH_TRY(put_csv_cell(cli, person));
    return printf(",%s\n", hex) > 0 ? VCH_OK : vch_fail(&cli->err, VCH_ERR_IO, "writing to stdout failed");
}

static vch_rc put_keys(cli_t *cli, cli_json_t *j, const vch_wallet_t *w, const char *dataset, const persons_t *p)
{
    uint8_t key[34];
    if (p->n > vch_wallet_owners(w))
        return vch_fail(&cli->err, VCH_ERR_LIMIT, "%zu persons, but the wallet has %u owners", p->n,
                        vch_wallet_owners(w));
    for (uint32_t i = 0; i < p->n; i++) {
        VCH_TRY(vch_wallet_key(w, i, cli->l, dataset, key, &cli->err));
        VCH_TRY(put_key(cli, j, p->name[i], key));
    }
    return VCH_OK;
}

vch_rc cli_wallet_keys(cli_t *cli)
{
    const char *dataset, *file;
    vch_wallet_t *w = NULL;
    persons_t persons;
    cli_json_t j;
    VCH_TRY(cli_need(cli, "dataset", &dataset));
    VCH_TRY(cli_need(cli, "persons", &file));
    VCH_TRY(persons_read(cli, file, &persons));
    vch_rc rc = wallet_open(cli, cli->arg[0], &w);
    cj_begin(&j);
    cj_open(&j, NULL, '[');
    if (rc == VCH_OK) rc = put_keys(cli, &j, w, dataset, &persons);
    cj_close(&j, ']');
    if (rc == VCH_OK && cli->json) rc = cli_show(cli, vch_buf_slice(&j.b));
    cj_free(&j);
    vch_wallet_free(w);
    persons_free(&persons);
    return rc;
}

/* ---- who speaks ------------------------------------------------------------------------------- */

typedef struct {
    uint32_t *subject, *owner;
    size_t n;
} speakers_t;

static void speakers_free(speakers_t *s)
{
    vch_free(s->subject);
    vch_free(s->owner);
}

static vch_rc speakers_room(cli_t *cli, speakers_t *s, size_t n)
{
    *s = (speakers_t){vch_alloc_array(n, sizeof *s->subject), vch_alloc_array(n, sizeof *s->owner), 0};
    if (s->subject && s->owner) return VCH_OK;
    speakers_free(s);
    return vch_fail(&cli->err, VCH_ERR_MEMORY, "no memory for %zu owners", n);
}

/* "401-500", lines from 1. */
static vch_rc range_get(cli_t *cli, const char *text, size_t max, size_t *ret_from, size_t *ret_to)
{
    char first[24];
    uint64_t from, to;
    size_t n = strcspn(text, "-");
    if (n == 0 || n >= sizeof first || text[n] != '-')
        return cli_usage(cli, "--range is like 1-400, not \"%.40s\"", text);
    memcpy(first, text, n);
    first[n] = 0;
    if (cli_parse_u64(first, &from) != VCH_OK || cli_parse_u64(text + n + 1, &to) != VCH_OK || from < 1 || to < from)
        return cli_usage(cli, "--range is like 1-400, not \"%.40s\"", text);
    if (to > max) return cli_usage(cli, "--range %s goes beyond the %zu lines of the persons' file", text, max);
    *ret_from = (size_t)from - 1;
    *ret_to = (size_t)to;
    return VCH_OK;
}

/* Lines [from, to) of the file, or those of them that name `who`. */
static vch_rc speakers_of_lines(cli_t *cli, const char *dataset, const persons_t *p, size_t from, size_t to,
                                speakers_t *ret)
{
    const char *who = cli_get(cli, "subject"), **name = vch_alloc_array(p->n, sizeof *name);
    if (!name) return vch_fail(&cli->err, VCH_ERR_MEMORY, "no memory for %zu owners", p->n);
    for (size_t i = from; i < to; i++) {
        if (who && strcmp(p->name[i], who) != 0) continue;
        ret->owner[ret->n] = (uint32_t)i;
        name[ret->n++] = p->name[i];
    }
    vch_rc rc = ret->n
                    ? vch_subjects_find(cli->l, dataset, name, ret->n, ret->subject, &cli->err)
                    : vch_fail(&cli->err, VCH_ERR_NOT_FOUND, "\"%.100s\" is not in the persons' file", who ? who : "");
    vch_free(name);
    return rc;
}

static vch_rc speakers_of_file(cli_t *cli, const char *dataset, const persons_t *p, speakers_t *ret)
{
    const char *range = cli_get(cli, "range"), *who = cli_get(cli, "subject");
    size_t from = 0, to = p->n;
    if (range) VCH_TRY(range_get(cli, range, p->n, &from, &to));
    if (!range && !who && !cli_get(cli, "all")) return cli_usage(cli, "say whose: --subject, --range or --all");
    VCH_TRY(speakers_room(cli, ret, p->n));
    vch_rc rc = speakers_of_lines(cli, dataset, p, from, to, ret);
    if (rc != VCH_OK) speakers_free(ret);
    return rc;
}

static vch_rc speaker_alone(cli_t *cli, const char *dataset, speakers_t *ret)
{
    const char *who = cli_get(cli, "subject");
    uint64_t owner;
    if (!who) return cli_usage(cli, "say whose: --subject, or --persons with --range or --all");
    VCH_TRY(cli_number(cli, "owner", 1, PERSONS_MAX, 1, &owner));
    VCH_TRY(speakers_room(cli, ret, 1));
    vch_rc rc = vch_subject_find(cli->l, dataset, who, ret->subject, &cli->err);
    ret->owner[0] = (uint32_t)owner - 1;
    ret->n = 1;
    if (rc != VCH_OK) speakers_free(ret);
    return rc;
}

static vch_rc speakers_get(cli_t *cli, const char *dataset, speakers_t *ret)
{
    const char *file = cli_get(cli, "persons");
    persons_t persons;
    if (!file) return speaker_alone(cli, dataset, ret);
    VCH_TRY(persons_read(cli, file, &persons));
    vch_rc rc = speakers_of_file(cli, dataset, &persons, ret);
    persons_free(&persons);
    return rc;
}

/* ---- consents -------------------------------------------------------------------------------------- */

typedef struct {
    const char *dataset, *terms;
    uint32_t until;
    bool give;
} saying_t;

static vch_rc say_it(cli_t *cli, const saying_t *say, const vch_wallet_t *w, const speakers_t *s)
{
    vch_receipt_t receipt;
    cli_json_t j;
    vch_rc rc = say->give ? vch_consent_give(cli->l, cli->signer, w, say->dataset, s->subject, s->owner, s->n,
                                             say->terms, say->until, &receipt, &cli->err)
                          : vch_consent_withdraw(cli->l, cli->signer, w, say->dataset, s->subject, s->owner, s->n,
                                                 say->terms, &receipt, &cli->err);
    if (rc != VCH_OK) return rc;
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "said", say->give ? "consent" : "withdrawal");
    cj_number(&j, "owners", s->n);
    cj_text(&j, "signed by", vch_wallet_simulated(w) ? "SIMULATED owners" : "the owner");
    cj_receipt(&j, &receipt);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

static vch_rc say_with_wallet(cli_t *cli, const saying_t *say)
{
    const char *wallet;
    vch_wallet_t *w = NULL;
    speakers_t s = {.n = 0};
    VCH_TRY(cli_need(cli, "wallet", &wallet));
    VCH_TRY(speakers_get(cli, say->dataset, &s));
    vch_rc rc = wallet_open(cli, wallet, &w);
    if (rc == VCH_OK) rc = say_it(cli, say, w, &s);
    vch_wallet_free(w);
    speakers_free(&s);
    return rc;
}

vch_rc cli_consent_give(cli_t *cli)
{
    const char *until;
    saying_t say = {.dataset = cli->arg[0], .give = true};
    VCH_TRY(cli_need(cli, "terms", &say.terms));
    VCH_TRY(cli_need(cli, "until", &until));
    VCH_TRY(cli_day(cli, until, &say.until));
    return say_with_wallet(cli, &say);
}

vch_rc cli_consent_withdraw(cli_t *cli)
{
    saying_t say = {.dataset = cli->arg[0], .terms = cli_get(cli, "terms")};
    return say_with_wallet(cli, &say);
}

/* ---- erasure -------------------------------------------------------------------------------- */

static vch_rc erase_them(cli_t *cli, const vch_wallet_t *w, const speakers_t *s)
{
    vch_receipt_t receipt;
    cli_json_t j;
    VCH_TRY(vch_erasure_request(cli->l, cli->signer, w, cli->arg[0], s->subject, s->owner, s->n, &receipt, &cli->err));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "said", "erasure");
    cj_number(&j, "owners", s->n);
    cj_text(&j, "signed by", !w ? "the custodian" : vch_wallet_simulated(w) ? "SIMULATED owners" : "the owner");
    cj_receipt(&j, &receipt);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

vch_rc cli_erasure_request(cli_t *cli)
{
    const char *wallet = cli_get(cli, "wallet");
    vch_wallet_t *w = NULL;
    speakers_t s = {.n = 0};
    VCH_TRY(speakers_get(cli, cli->arg[0], &s));
    vch_rc rc = wallet ? wallet_open(cli, wallet, &w) : VCH_OK;
    if (rc == VCH_OK) rc = erase_them(cli, w, &s);
    vch_wallet_free(w);
    speakers_free(&s);
    return rc;
}

vch_rc cli_erasure_status(cli_t *cli)
{
    vch_text_t text;
    VCH_TRY(vch_erasure_status(cli->l, cli->arg[0], &text, &cli->err));
    return cli_show_text(cli, &text);
}

/* ---- own access ----------------------------------------------------------------------------- */

/* "cohort@2" is a version of "cohort". */
static vch_rc dataset_of(cli_t *cli, const char *version, char ret[256])
{
    const char *at = strrchr(version, '@');
    size_t n = at ? (size_t)(at - version) : strlen(version);
    if (n == 0 || n >= 256) return cli_usage(cli, "own access is to DATASET or DATASET@N");
    memcpy(ret, version, n);
    ret[n] = 0;
    return VCH_OK;
}

static vch_rc read_own(cli_t *cli, const vch_wallet_t *w, uint32_t subject, uint32_t owner, const char *path)
{
    const char *group[GROUPS_MAX];
    size_t groups = cli_all(cli, "group", group, GROUPS_MAX);
    vch_receipt_t receipt;
    uint64_t rows = 0;
    cli_json_t j;
    VCH_TRY(vch_access_own(cli->l, cli->signer, w, cli->arg[0], subject, owner, groups ? group : NULL, groups, path,
                           &rows, &receipt, &cli->err));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "said", "own access");
    cj_text(&j, "signed by", vch_wallet_simulated(w) ? "SIMULATED owner" : "the owner");
    cj_receipt(&j, &receipt);
    if (receipt.permit) cj_number(&j, "rows fetched", rows);
    if (receipt.permit) cj_text(&j, "file", path);
    cj_close(&j, '}');
    if (!receipt.permit) cli->exit = vch_rc_exit(VCH_ERR_DENIED);
    return cj_show(cli, &j);
}

vch_rc cli_access_own(cli_t *cli)
{
    const char *wallet, *path;
    char dataset[256];
    vch_wallet_t *w = NULL;
    speakers_t s = {.n = 0};
    VCH_TRY(cli_need(cli, "wallet", &wallet));
    VCH_TRY(cli_need(cli, "output", &path));
    VCH_TRY(dataset_of(cli, cli->arg[0], dataset));
    VCH_TRY(speakers_get(cli, dataset, &s));
    bool one = s.n == 1 && s.subject && s.owner;
    uint32_t subject = one ? s.subject[0] : 0, owner = one ? s.owner[0] : 0;
    speakers_free(&s);
    if (!one) return cli_usage(cli, "own access is one person's: --subject, or --range with one line");
    VCH_TRY(wallet_open(cli, wallet, &w));
    vch_rc rc = read_own(cli, w, subject, owner, path);
    vch_wallet_free(w);
    return rc;
}

vch_rc cli_consent_record(cli_t *cli)
{
    uint64_t count = 0;
    cli_json_t j;
    VCH_TRY(vch_consent_record(cli->l, cli->signer, cli->arg[0], cli->arg[1], &count, &cli->err));
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_number(&j, "recorded", count);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

vch_rc cli_consent_list(cli_t *cli) { return cli_list(cli, "consents", cli->arg[0]); }

vch_rc cli_consent_show(cli_t *cli)
{
    char of[300];
    uint32_t subject;
    VCH_TRY(vch_subject_find(cli->l, cli->arg[0], cli->arg[1], &subject, &cli->err));
    (void)snprintf(of, sizeof of, "%.200s/%u", cli->arg[0], subject);
    return cli_list(cli, "consents", of);
}
