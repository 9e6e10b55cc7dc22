/* SPDX-License-Identifier: Apache-2.0 */
/* Backups, mirrors, the doctor. */
#include <stdio.h>

#include "cli/cli.h"
#include "vouchsafe/ops.h"

static void put_backup(cli_json_t *j, const char *dir, const vch_backup_t *b)
{
    cj_text(j, "backup", dir);
    cj_number(j, "entries", b->size);
    cj_time(j, "newest block", b->time.ms);
    cj_number(j, "files", b->files);
    cj_number(j, "bytes", b->bytes);
}

static vch_rc show_backup(cli_t *cli, const char *dir, const vch_backup_t *b)
{
    cli_json_t j;
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    put_backup(&j, dir, b);
    cj_number(&j, "copied", b->copied);
    cj_number(&j, "copied bytes", b->copied_bytes);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}

vch_rc cli_backup_make(cli_t *cli)
{
    vch_backup_t sum;
    bool keys = cli_get(cli, "keys") != NULL;
    cli_progress_t p;
    cli_progress_begin(&p, cli, "files");
    vch_rc rc = vch_backup_make(cli->l, cli->arg[0], keys, cli_progress, &p, &sum, &cli->err);
    cli_progress_end(&p);
    VCH_TRY(rc);
    if (keys)
        cli_say(cli, "vouch: the backup holds private keys; whoever can read it can sign as you");
    else
        cli_say(cli, "vouch: private keys are not in it; keep keys/ elsewhere, or say --keys");
    return show_backup(cli, cli->arg[0], &sum);
}

static void put_finding(void *ctx, const vch_finding_t *f)
{
    cli_json_t *j = ctx;
    cj_open(j, NULL, '{');
    cj_text(j, "file", f->file ? f->file : "");
    cj_text(j, "text", f->text ? f->text : "");
    cj_close(j, '}');
}

vch_rc cli_backup_check(cli_t *cli)
{
    vch_backup_t sum = {0};
    cli_json_t findings, j;
    cj_begin(&findings);
    cj_open(&findings, NULL, '[');
    vch_rc rc = vch_backup_check(cli->arg[0], put_finding, &findings, &sum, &cli->err);
    cj_close(&findings, ']');
    if (rc != VCH_OK && rc != VCH_ERR_CORRUPT) {
        cj_free(&findings);
        return rc;
    }
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_bool(&j, "good", rc == VCH_OK);
    put_backup(&j, cli->arg[0], &sum);
    if (rc != VCH_OK || cli->json) cj_raw(&j, "list", vch_buf_slice(&findings.b));
    cj_close(&j, '}');
    if (j.rc == VCH_OK) j.rc = findings.rc;
    cj_free(&findings);
    vch_rc shown = cj_show(cli, &j);
    return rc != VCH_OK ? rc : shown;
}

vch_rc cli_backup_restore(cli_t *cli)
{
    vch_backup_t sum;
    const char *origin = cli_get(cli, "new-origin");
    VCH_TRY(vch_backup_restore(cli->arg[0], cli->arg[1], origin, &sum, &cli->err));
    if (origin)
        cli_say(cli, "vouch: it goes on as %s under a fresh key; give others the new line of trust.policy", origin);
    else
        cli_say(cli, "vouch: it can be read; before it writes it must catch up: vouch -C %s log mirror URL",
                cli->arg[1]);
    return show_backup(cli, cli->arg[1], &sum);
}

/* ---- the doctor ------------------------------------------------------------------ */

static const char *const health_name[] = {"good", "warning", "bad"};

static void put_symptom(void *ctx, const vch_symptom_t *s)
{
    cli_json_t *j = ctx;
    cj_open(j, NULL, '{');
    cj_text(j, "what", s->what);
    cj_text(j, "health", health_name[s->health]);
    cj_text(j, "text", s->text);
    cj_text(j, "fix", s->fix);
    cj_close(j, '}');
}

static void print_symptom(void *ctx, const vch_symptom_t *s)
{
    const cli_t *cli = ctx;
    (void)printf("%s %-12s %s\n", s->health == VCH_WORRYING ? "!" : cli_mark(cli, s->health == VCH_HEALTHY), s->what,
                 s->text);
    if (*s->fix) (void)printf("%15s-> %s\n", "", s->fix);
}

vch_rc cli_doctor(cli_t *cli)
{
    vch_health_t worst = VCH_HEALTHY;
    cli_json_t symptoms, j;
    cj_begin(&symptoms);
    cj_open(&symptoms, NULL, '[');
    vch_rc rc = cli->json ? vch_doctor(cli->dir, put_symptom, &symptoms, &worst, &cli->err)
                          : vch_doctor(cli->dir, print_symptom, cli, &worst, &cli->err);
    cj_close(&symptoms, ']');
    if (rc == VCH_OK && cli->json) {
        cj_begin(&j);
        cj_open(&j, NULL, '{');
        cj_text(&j, "health", health_name[worst]);
        cj_raw(&j, "list", vch_buf_slice(&symptoms.b));
        cj_close(&j, '}');
        if (j.rc == VCH_OK) j.rc = symptoms.rc;
        rc = cj_show(cli, &j);
    }
    cj_free(&symptoms);
    if (rc == VCH_OK && worst == VCH_BROKEN) cli->exit = 1;
    return rc;
}

/* ---- mirrors --------------------------------------------------------------------- */

static vch_rc open_source(cli_t *cli, vch_ledger_t **ret)
{
    const char *from = cli->arg[0];
    if (strncmp(from, "https://", 8) == 0 || strncmp(from, "http://", 7) == 0 || strncmp(from, "unix:", 5) == 0)
        return cli_connect(cli, from, ret);
    return vch_ledger_open(ret, from, VCH_LEDGER_READ_ONLY, &cli->err);
}

vch_rc cli_log_mirror(cli_t *cli)
{
    vch_ledger_t *node;
    vch_mirror_t m = {.size = 0};
    cli_json_t j;
    VCH_TRY(open_source(cli, &node));
    cli_progress_t p;
    cli_progress_begin(&p, cli, "entries");
    vch_rc rc = vch_mirror(node, cli->dir, cli_get(cli, "trust"), cli_get(cli, "complete") != NULL, cli_progress, &p,
                           &m, &cli->err);
    cli_progress_end(&p);
    vch_rc closed = vch_ledger_close(node, rc == VCH_OK ? &cli->err : NULL);
    if (rc == VCH_OK) rc = closed;
    if (rc != VCH_OK) return rc;
    if (m.caught_up) cli_say(cli, "vouch: the restored ledger has caught up and may write again");
    cj_begin(&j);
    cj_open(&j, NULL, '{');
    cj_text(&j, "directory", cli->dir);
    cj_number(&j, "entries", m.size);
    cj_number(&j, "new", m.size - m.from);
    cj_bool(&j, "caught up", m.caught_up);
    cj_text(&j, "note", m.note);
    cj_close(&j, '}');
    return cj_show(cli, &j);
}
