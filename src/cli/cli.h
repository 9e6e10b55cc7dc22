/* SPDX-License-Identifier: Apache-2.0 */
/* The command line `vouch`, over the public headers alone.
 *
 * One table (commands.c) names every command; the parser, the help, the man
 * page and the completion are made from it.  A handler builds one JSON value
 * and shows it: as it is with --json, else laid out for people.  Data goes to
 * stdout, messages to stderr.  One thread. */
#ifndef VCH_CLI_H
#define VCH_CLI_H

#include "base/base.h"
#include "codec/json.h"
#include "vouchsafe/serve.h"
#include "vouchsafe/vouchsafe.h"

#define CLI_ARGS_MAX 16
#define CLI_GIVEN_MAX 4096
#define CLI_FILE_MAX (64u << 20)
#define CLI_PATH_MAX 1024

typedef struct {
    const char *name; /* long form without dashes; NULL ends a list */
    const char *arg;  /* what its value is called; NULL: a flag */
    const char *help;
    char letter; /* short form or 0 */
    bool many;   /* may be given several times */
} cli_option_t;

/* What a command needs before its handler runs. */
#define CLI_READ 1u  /* the ledger, opened read-only */
#define CLI_WRITE 2u /* the ledger, opened for writing */
#define CLI_SIGN 4u  /* the identity of --as */
#define CLI_REST 8u  /* takes a command after "--" */
#define CLI_HERE 16u /* of a directory, never of a node */
#define CLI_KEYS 32u /* with --node: of its keys alone, the node isn't asked */

typedef struct cli cli_t;

typedef struct {
    const char *noun, *verb; /* verb NULL: a bare verb */
    const char *args;        /* positional arguments as in the usage line */
    const char *help;        /* one line, no full stop */
    unsigned min, max;       /* how many positional arguments */
    unsigned needs;
    vch_rc (*run)(cli_t *);
    const cli_option_t *option; /* NULL: none */
} cli_command_t;

extern const cli_command_t cli_commands[]; /* ends with noun NULL */
extern const cli_option_t cli_globals[];   /* ends with name NULL */

typedef struct {
    const cli_option_t *option;
    const char *value; /* NULL for a flag */
} cli_given_t;

struct cli {
    const cli_command_t *command;
    const char *arg[CLI_ARGS_MAX];
    size_t args;
    cli_given_t *given; /* vch_alloc'd */
    size_t givens;
    char **rest; /* NULL-terminated command after "--"; NULL: none */
    const char *dir, *as;
    const char *node;        /* NULL: the directory */
    char keys[CLI_PATH_MAX]; /* where keys and wallets lie */
    bool json, quiet, no_input;
    bool color, utf8; /* of stdout */
    vch_ledger_t *l;
    vch_signer_t *signer;
    int exit; /* used instead of the result's own code when the result is VCH_OK */
    vch_err_t err;
};

/* The whole program; returns the exit code. */
int vch_cli_main(int argc, char **argv);

/* ---- arguments (args.c) -------------------------------------------------------- */

/* Fills command, arg, given, rest and the globals; ERR_USAGE with a hint. */
VCH_MUST_USE vch_rc cli_parse(cli_t *, int argc, char **argv);
const cli_command_t *cli_find(const char *noun, const char *verb);
/* "dataset create", in a static buffer of the caller. */
void cli_title(const cli_command_t *, char ret[64]);
/* ERR_USAGE with "vouch … --help" as the hint. */
VCH_PRINTF(2, 3) vch_rc cli_usage(cli_t *, const char *fmt, ...);
/* The (last) value of an option, "" for a flag, NULL when not given. */
const char *cli_get(const cli_t *, const char *name);
/* All values of an option given several times; returns how many, at most max. */
size_t cli_all(const cli_t *, const char *name, const char **ret, size_t max);
/* A required option. */
VCH_MUST_USE vch_rc cli_need(cli_t *, const char *name, const char **ret);
/* A number in [min, max]; `otherwise` when not given. */
VCH_MUST_USE vch_rc cli_number(cli_t *, const char *name, uint64_t min, uint64_t max, uint64_t otherwise,
                               uint64_t *ret);
VCH_MUST_USE vch_rc cli_parse_u64(const char *text, uint64_t *ret);
/* "2027-12-31" as days since 1970. */
VCH_MUST_USE vch_rc cli_day(cli_t *, const char *text, uint32_t *ret);
/* "2027-12-31" (its last millisecond) or "2027-12-31T23:59:59Z". */
VCH_MUST_USE vch_rc cli_moment(cli_t *, const char *text, uint64_t *ret_ms);

/* ---- files (files.c) -------------------------------------------------------------- */

/* A whole file, "-" is stdin; vch_buf_free it. */
VCH_MUST_USE vch_rc cli_read_file(cli_t *, const char *path, size_t max, vch_buf_t *ret);
VCH_MUST_USE vch_rc cli_write_file(cli_t *, const char *path, vch_slice_t);
bool cli_is_file(const char *path);
/* First line of the file that option `name` names, in *ret (vch_free after
 * wiping); NULL when the option isn't given. */
VCH_MUST_USE vch_rc cli_passphrase(cli_t *, const char *option, char **ret);
void cli_passphrase_free(char *);
VCH_PRINTF(3, 4) VCH_MUST_USE vch_rc cli_path(cli_t *, char ret[CLI_PATH_MAX], const char *fmt, ...);
/* The names N for which N<ending> is among the keys, as a list of texts. */
typedef vch_rc (*cli_name_fn)(cli_t *, void *ctx, const char *name);
VCH_MUST_USE vch_rc cli_keys_each(cli_t *, const char *ending, cli_name_fn, void *ctx);

/* ---- JSON out (out.c) ---------------------------------------------------------------- */

/* A value under construction; the first failure sticks and shows at the end. */
typedef struct {
    vch_buf_t b;
    vch_rc rc;
    bool comma;
} cli_json_t;

void cj_begin(cli_json_t *);
void cj_free(cli_json_t *);
/* name NULL: an element of a list, or the whole. */
void cj_open(cli_json_t *, const char *name, char bracket);
void cj_close(cli_json_t *, char bracket);
void cj_text(cli_json_t *, const char *name, const char *text);
void cj_slice(cli_json_t *, const char *name, vch_slice_t text);
void cj_number(cli_json_t *, const char *name, uint64_t);
void cj_bool(cli_json_t *, const char *name, bool);
void cj_hex(cli_json_t *, const char *name, const uint8_t *p, size_t n);
void cj_time(cli_json_t *, const char *name, uint64_t ms);
void cj_raw(cli_json_t *, const char *name, vch_slice_t json);
/* entry, index, time, object, statements; and the outcome of an access request. */
void cj_receipt(cli_json_t *, const vch_receipt_t *);
/* Show and free. */
VCH_MUST_USE vch_rc cj_show(cli_t *, cli_json_t *);

/* ---- showing (show.c) ------------------------------------------------------------------ */

VCH_MUST_USE vch_rc cli_show(cli_t *, vch_slice_t json);
/* Shows and frees what the library returned. */
VCH_MUST_USE vch_rc cli_show_text(cli_t *, vch_text_t *);
VCH_MUST_USE vch_rc cli_show_value(cli_t *, const vch_json_t *);
/* A tree of nodes that each say "verified". */
VCH_MUST_USE vch_rc cli_show_tree(cli_t *, vch_slice_t json);
const char *cli_mark(const cli_t *, bool good);
/* A message for people on stderr; silent with --quiet and --json. */
VCH_PRINTF(2, 3) void cli_say(const cli_t *, const char *fmt, ...);
/* The error on stderr, for people or as JSON. */
void cli_complain(const cli_t *, vch_rc);

/* ---- how far (progress.c) ------------------------------------------------------------------ */

/* One line on stderr, if that is a terminal and people are watching; erased at
 * the end.  begin … cli_progress, given to the library with &p … end, also when
 * the command failed. */
typedef struct {
    const char *unit;               /* "rows", borrowed */
    bool on, begun;                 /* begun: the library told something, the first time … */
    uint64_t from_units, from_done; /* … this, so that what was there before counts for no rate … */
    uint64_t began_ms, shown_ms;    /* … then; and how long after that something was shown */
    size_t width;                   /* of what stands there */
} cli_progress_t;
void cli_progress_begin(cli_progress_t *, const cli_t *, const char *unit);
void cli_progress(void *ctx, uint64_t units, uint64_t done, uint64_t total); /* a vch_progress_fn */
void cli_progress_end(cli_progress_t *);
/* "81920 rows, 41 %, 51200 rows/s, 3 s left", ms after it began; total 0: unknown. */
#define CLI_PROGRESS_MAX 120
size_t cli_progress_text(char ret[CLI_PROGRESS_MAX], const cli_progress_t *, uint64_t units, uint64_t done,
                         uint64_t total, uint64_t ms);

/* ---- what several commands do (common.c) -------------------------------------------------- */

/* A list of vch_query, shown. */
VCH_MUST_USE vch_rc cli_list(cli_t *, const char *what, const char *of);
/* One of a list: by "name", "title", "scope", or its "id" (a prefix of 8 digits does), shown. */
VCH_MUST_USE vch_rc cli_show_one(cli_t *, const char *what, const char *of, const char *name);
/* Its id in full. */
VCH_MUST_USE vch_rc cli_id_of(cli_t *, const char *what, const char *name, char ret[65]);
/* Submit one JSON value of a kind and show the receipt. */
VCH_MUST_USE vch_rc cli_submit(cli_t *, const char *kind, cli_json_t *fields);
/* A receipt on its own. */
VCH_MUST_USE vch_rc cli_show_receipt(cli_t *, const vch_receipt_t *);
/* A node at this URL, asked as --as, --trust, --token-file and so on say. */
VCH_MUST_USE vch_rc cli_connect(cli_t *, const char *url, vch_ledger_t **ret);
/* How to serve: listen, tls-cert, tls-key, public-plain, log-level; lines go to stderr, the address to stdout. */
VCH_MUST_USE vch_rc cli_serving(cli_t *, vch_serve_t *ret);
/* The identity of --as into cli->signer, unless it is there already. */
VCH_MUST_USE vch_rc cli_load_signer(cli_t *);
VCH_MUST_USE vch_rc cli_load_signer_of(cli_t *, vch_ledger_t *); /* whose keys are meant */
/* A key given as hex, as a PEM file, or as the name of an identity here. */
VCH_MUST_USE vch_rc cli_key_hex(cli_t *, const char *key, char ret[80]);
/* The multicodec hex of a signer. */
VCH_MUST_USE vch_rc cli_signer_hex(cli_t *, const vch_signer_t *, char ret[80]);

/* ---- texts made from the table (help.c) ------------------------------------------------------ */

void cli_help_all(void);
void cli_help_noun(const char *noun);
void cli_help_command(const cli_command_t *);
void cli_help_man(void);
void cli_help_completion(void);

/* ---- handlers ---------------------------------------------------------------------------------- */

#define CLI_HANDLER(name) VCH_MUST_USE vch_rc name(cli_t *)
CLI_HANDLER(cli_init);
CLI_HANDLER(cli_status);
CLI_HANDLER(cli_check);
CLI_HANDLER(cli_serve);
CLI_HANDLER(cli_verify);
CLI_HANDLER(cli_version);
CLI_HANDLER(cli_completion);
CLI_HANDLER(cli_help);
CLI_HANDLER(cli_id_new);
CLI_HANDLER(cli_id_list);
CLI_HANDLER(cli_id_show);
CLI_HANDLER(cli_party_add);
CLI_HANDLER(cli_party_list);
CLI_HANDLER(cli_party_show);
CLI_HANDLER(cli_party_rotate);
CLI_HANDLER(cli_party_revoke);
CLI_HANDLER(cli_wallet_new);
CLI_HANDLER(cli_wallet_list);
CLI_HANDLER(cli_wallet_show);
CLI_HANDLER(cli_wallet_keys);
CLI_HANDLER(cli_erasure_request);
CLI_HANDLER(cli_erasure_status);
CLI_HANDLER(cli_storage_audit);
CLI_HANDLER(cli_blame_list);
CLI_HANDLER(cli_blame_verify);
CLI_HANDLER(cli_vault_withdraw);
CLI_HANDLER(cli_storage_repair);
CLI_HANDLER(cli_storage_init);
CLI_HANDLER(cli_storage_serve);
CLI_HANDLER(cli_storage_status);
CLI_HANDLER(cli_trustee_init);
CLI_HANDLER(cli_trustee_serve);
CLI_HANDLER(cli_trustee_status);
CLI_HANDLER(cli_trustee_rewrap);
CLI_HANDLER(cli_vault_up);
CLI_HANDLER(cli_vault_status);
CLI_HANDLER(cli_dataset_create);
CLI_HANDLER(cli_dataset_add);
CLI_HANDLER(cli_dataset_list);
CLI_HANDLER(cli_dataset_show);
CLI_HANDLER(cli_dataset_versions);
CLI_HANDLER(cli_dataset_check);
CLI_HANDLER(cli_dataset_diff);
CLI_HANDLER(cli_terms_add);
CLI_HANDLER(cli_terms_list);
CLI_HANDLER(cli_terms_show);
CLI_HANDLER(cli_consent_give);
CLI_HANDLER(cli_consent_record);
CLI_HANDLER(cli_consent_withdraw);
CLI_HANDLER(cli_consent_list);
CLI_HANDLER(cli_consent_show);
CLI_HANDLER(cli_access_request);
CLI_HANDLER(cli_access_own);
CLI_HANDLER(cli_access_list);
CLI_HANDLER(cli_access_show);
CLI_HANDLER(cli_access_fetch);
CLI_HANDLER(cli_run_exec);
CLI_HANDLER(cli_run_list);
CLI_HANDLER(cli_run_show);
CLI_HANDLER(cli_model_add);
CLI_HANDLER(cli_model_list);
CLI_HANDLER(cli_model_show);
CLI_HANDLER(cli_model_affected);
CLI_HANDLER(cli_model_remedy);
CLI_HANDLER(cli_deployment_add);
CLI_HANDLER(cli_deployment_end);
CLI_HANDLER(cli_deployment_list);
CLI_HANDLER(cli_decision_log);
CLI_HANDLER(cli_decision_list);
CLI_HANDLER(cli_decision_show);
CLI_HANDLER(cli_decision_trace);
CLI_HANDLER(cli_bundle_make);
CLI_HANDLER(cli_bundle_show);
CLI_HANDLER(cli_log_head);
CLI_HANDLER(cli_log_cat);
CLI_HANDLER(cli_log_submit);
CLI_HANDLER(cli_log_export);
CLI_HANDLER(cli_log_prove);
CLI_HANDLER(cli_state_get);
CLI_HANDLER(cli_state_prove);
CLI_HANDLER(cli_token_new);
CLI_HANDLER(cli_token_list);
CLI_HANDLER(cli_token_revoke);
CLI_HANDLER(cli_config_show);
CLI_HANDLER(cli_config_accept);
CLI_HANDLER(cli_doctor);
CLI_HANDLER(cli_log_mirror);
CLI_HANDLER(cli_backup_make);
CLI_HANDLER(cli_backup_check);
CLI_HANDLER(cli_backup_restore);
CLI_HANDLER(cli_log_cosign);
CLI_HANDLER(cli_witness_init);
CLI_HANDLER(cli_witness_serve);
CLI_HANDLER(cli_witness_show);
#undef CLI_HANDLER

#endif
