/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of commands.  Order here is the order in help and manual. */
#include "cli/cli.h"

#define OPTIONS (const cli_option_t[])
#define WALLET                                                                                                         \
    {                                                                                                                  \
        "wallet", "WALLET", "the owners' wallet: a name in keys/, or a path", 'w', false                               \
    }
#define WALLET_SECRET                                                                                                  \
    {                                                                                                                  \
        "wallet-passphrase-file", "FILE", "first line opens the wallet", 0, false                                      \
    }
#define KEY_SECRET                                                                                                     \
    {                                                                                                                  \
        "key-passphrase-file", "FILE", "first line opens the key file of --key", 0, false                              \
    }
#define ALGORITHM                                                                                                      \
    {                                                                                                                  \
        "algorithm", "NAME", "ed25519 (the default) or p256", 0, false                                                 \
    }
#define OUTPUT(what)                                                                                                   \
    {                                                                                                                  \
        "output", "FILE", what, 'o', false                                                                             \
    }
#define PERSONS                                                                                                        \
    {                                                                                                                  \
        "persons", "FILE", "one person a line; line i is owner i of the wallet", 0, false                              \
    }
#define WHOSE                                                                                                          \
    PERSONS, {"range", "A-B", "lines A to B of the persons' file", 0, false},                                          \
        {"all", NULL, "every line of the persons' file", 0, false},                                                    \
        {"subject", "PERSON", "one person, as the custodian names them", 0, false},                                    \
    {                                                                                                                  \
        "owner", "N", "which owner of the wallet that person is; 1 unless given", 0, false                             \
    }

const cli_option_t cli_globals[] = {
    {"dir", "DIR", "the ledger's directory; \".\" or $VOUCH_DIR unless given", 'C', false},
    {"node", "URL", "a node instead: https://HOST:PORT, unix:/PATH; $VOUCH_NODE unless given", 0, false},
    {"as", "NAME", "whose key of keys/ signs; $VOUCH_AS or the only one unless given", 0, false},
    {"passphrase-file", "FILE", "first line opens that key; \"-\" is stdin", 0, false},
    {"keys-dir", "DIR", "with --node: where keys and wallets lie; ~/.config/vouch/keys unless given", 0, false},
    {"trust", "POLICY", "with --node: whom to believe; the key seen first unless given", 0, false},
    {"token-file", "FILE", "with --node: its first line says who asks", 0, false},
    {"ca-file", "FILE", "with --node: certificates to believe; the system's unless given", 0, false},
    {"cert-file", "FILE", "with --node: prove a key by this certificate", 0, false},
    {"cert-key-file", "FILE", "with --node: that certificate's key", 0, false},
    {"json", NULL, "the answer as JSON, errors too", 0, false},
    {"quiet", NULL, "no messages, data only", 'q', false},
    {"no-input", NULL, "never ask", 0, false},
    {"accept-clock", NULL, "go on although the clock jumped forward", 0, false},
    {"help", NULL, "how a command is used", 'h', false},
    {"version", NULL, "the version", 0, false},
    {NULL, NULL, NULL, 0, false},
};

const cli_command_t cli_commands[] = {
    {"init", NULL, "[DIR]", "make a ledger in a directory", 0, 1, CLI_HERE, cli_init,
     OPTIONS{{"operator", "NAME", "the first party and its key", 0, false},
             {"origin", "ORIGIN", "the log's name; OPERATOR/ledger unless given", 0, false},
             ALGORITHM,
             {"grant-life", "SECONDS", "how long a grant may be used; 900 unless given", 0, false},
             {0}}},
    {"status", NULL, "", "size, newest block, and how the ledger was found on opening", 0, 0, CLI_READ, cli_status,
     NULL},
    {"check", NULL, "", "check the whole directory; names file, entry and byte", 0, 0, CLI_HERE, cli_check,
     OPTIONS{{"full", NULL, "every signature and every row too", 0, false},
             {"repair", NULL, "rebuild what is derived", 0, false},
             {0}}},
    {"doctor", NULL, "", "look at disk, clock, permissions, keys and checkpoints, and say what to do", 0, 0, CLI_HERE,
     cli_doctor, NULL},
    {"verify", NULL, "FILE", "judge a bundle or a receipt offline: exit 0 verified, 3 false, 4 inconclusive", 1, 1, 0,
     cli_verify,
     OPTIONS{{"trust", "POLICY", "the file that says which logs and witnesses to believe", 0, false},
             {"against", "FILE", "of a receipt: a proof of its entry (log prove), or a checkpoint", 0, false},
             {"as-of", "TIME", "the newest checkpoint must not be older, e.g. 2027-12-31", 0, false},
             {0}}},
    {"id", "new", "NAME", "make a key in keys/NAME.pem", 1, 1, CLI_WRITE | CLI_KEYS, cli_id_new,
     OPTIONS{ALGORITHM, {0}}},
    {"id", "list", "", "the keys of this directory", 0, 0, CLI_READ | CLI_KEYS, cli_id_list, NULL},
    {"id", "show", "[NAME]", "one key: key id, DID, public key", 0, 1, CLI_READ | CLI_KEYS, cli_id_show, NULL},
    {"party", "add", "NAME", "register a party with its key", 1, 1, CLI_WRITE | CLI_SIGN, cli_party_add,
     OPTIONS{{"role", "ROLE,...", "custodian, user, node, trustee, storage, witness, auditor or owner", 0, true},
             {"key", "KEY", "public key in hex, a PEM file, or a name of keys/; NAME unless given", 0, false},
             KEY_SECRET,
             {0}}},
    {"party", "list", "", "all parties with roles and keys", 0, 0, CLI_READ, cli_party_list, NULL},
    {"party", "show", "PARTY", "one party", 1, 1, CLI_READ, cli_party_show, NULL},
    {"party", "rotate", "PARTY", "replace the signing key by a new one", 1, 1, CLI_WRITE | CLI_SIGN, cli_party_rotate,
     OPTIONS{{"key", "KEY", "the new key: hex, a PEM file, or a name of keys/", 0, false}, KEY_SECRET, {0}}},
    {"party", "revoke", "PARTY", "revoke a key for good", 1, 1, CLI_WRITE | CLI_SIGN, cli_party_revoke,
     OPTIONS{{"key", "KEY", "the key: hex, a PEM file, or a name of keys/", 0, false},
             {"reason", "WHY", "routine (the default), compromised, lost or left", 0, false},
             {"since", "TIME", "since when it may have been abused", 0, false},
             {"yes", NULL, "do not ask", 0, false},
             KEY_SECRET,
             {0}}},
    {"wallet", "new", "WALLET", "make an owner's wallet, or one of simulated owners", 1, 1, CLI_READ | CLI_KEYS,
     cli_wallet_new,
     OPTIONS{{"owners", "N", "how many owners; 1 unless given", 0, false},
             {"simulated", NULL, "mark it as a simulation", 0, false},
             WALLET_SECRET,
             {0}}},
    {"wallet", "list", "", "the wallets in keys/", 0, 0, CLI_READ | CLI_KEYS, cli_wallet_list,
     OPTIONS{WALLET_SECRET, {0}}},
    {"wallet", "show", "WALLET", "how many owners a wallet holds", 1, 1, CLI_READ | CLI_KEYS, cli_wallet_show,
     OPTIONS{WALLET_SECRET, {0}}},
    {"wallet", "keys", "WALLET", "public keys for a dataset as CSV lines person,key", 1, 1, CLI_READ, cli_wallet_keys,
     OPTIONS{{"dataset", "DATASET", "keys differ for each dataset", 0, false}, PERSONS, WALLET_SECRET, {0}}},
    {"dataset", "create", "NAME", "describe a dataset by the header of a CSV file", 1, 1, CLI_WRITE | CLI_SIGN,
     cli_dataset_create,
     OPTIONS{{"header", "FILE.csv", "its first line names the columns", 0, false},
             {"subject-col", "COLUMN", "who a row is about; each row for itself unless given", 0, false},
             {"key-col", "COLUMN", "what names a row across versions; the subject unless given", 0, false},
             {"label-col", "COLUMN", "becomes the group \"label\"", 0, false},
             {"group", "G=C1,C2", "a group of columns; the rest is \"features\"", 0, true},
             {0}}},
    {"dataset", "add", "DATASET FILE.csv", "add the next version from a CSV file", 2, 2, CLI_WRITE | CLI_SIGN,
     cli_dataset_add, OPTIONS{{"owners", "FILE.csv", "lines person,key for persons who hold a key", 0, false}, {0}}},
    {"dataset", "list", "", "all datasets", 0, 0, CLI_READ, cli_dataset_list, NULL},
    {"dataset", "show", "DATASET", "one dataset", 1, 1, CLI_READ, cli_dataset_show, NULL},
    {"dataset", "versions", "DATASET", "its versions", 1, 1, CLI_READ, cli_dataset_versions, NULL},
    {"dataset", "check", "DATASET[@N]", "every row against its commitment; names the first changed one", 1, 1, CLI_READ,
     cli_dataset_check, NULL},
    {"dataset", "diff", "A B", "what changed from A to B; B may be file:PATH", 2, 2, CLI_READ, cli_dataset_diff, NULL},
    {"terms", "add", "FILE.json", "put terms on the log", 1, 1, CLI_WRITE | CLI_SIGN, cli_terms_add, NULL},
    {"terms", "list", "", "all terms", 0, 0, CLI_READ, cli_terms_list, NULL},
    {"terms", "show", "TERMS", "one terms document, by title or hash", 1, 1, CLI_READ, cli_terms_show, NULL},
    {"consent", "give", "DATASET", "consents signed by owners", 1, 1, CLI_WRITE | CLI_SIGN, cli_consent_give,
     OPTIONS{{"terms", "TERMS", "title or hash", 0, false},
             {"until", "DAY", "the last day it holds, e.g. 2027-12-31", 0, false},
             WALLET,
             WHOSE,
             WALLET_SECRET,
             {0}}},
    {"consent", "record", "DATASET FILE.csv", "the custodian enters consents given on paper", 2, 2,
     CLI_WRITE | CLI_SIGN, cli_consent_record, NULL},
    {"consent", "withdraw", "DATASET", "withdrawals signed by owners", 1, 1, CLI_WRITE | CLI_SIGN, cli_consent_withdraw,
     OPTIONS{
         {"terms", "TERMS", "title or hash; everything unless given", 0, false}, WALLET, WHOSE, WALLET_SECRET, {0}}},
    {"consent", "list", "DATASET", "consents in force, by subject number", 1, 1, CLI_READ, cli_consent_list, NULL},
    {"consent", "show", "DATASET PERSON", "consents of one person", 2, 2, CLI_READ, cli_consent_show, NULL},
    {"access", "request", "DATASET[@N]", "ask to use rows; exit 5 when denied", 1, 1, CLI_WRITE | CLI_SIGN,
     cli_access_request,
     OPTIONS{{"purpose", "IRI", "what for", 0, false},
             {"processing", "IRI", "what is done with them", 0, false},
             {"group", "GROUP", "a group of columns; all unless given", 0, true},
             {"fetch", "FILE.csv", "fetch the permitted rows at once", 0, false},
             {0}}},
    {"access", "list", "", "all requests with their outcome", 0, 0, CLI_READ, cli_access_list, NULL},
    {"access", "show", "GRANT", "one request", 1, 1, CLI_READ, cli_access_show, NULL},
    {"access", "fetch", "GRANT", "the permitted rows as CSV, checked row by row", 1, 1, CLI_READ | CLI_SIGN,
     cli_access_fetch, OPTIONS{OUTPUT("where to"), {0}}},
    {"run", "exec", "-- COMMAND...", "run a command on granted rows and log what came out", 0, 0,
     CLI_WRITE | CLI_SIGN | CLI_REST, cli_run_exec,
     OPTIONS{{"grant", "GRANT", "whose rows", 0, true},
             {"name", "NAME", "of the run and its model", 0, false},
             {"seed", "N", "recorded; chooses the rows kept back", 0, false},
             {"holdout", "N", "rows kept back for evaluation", 0, false},
             {"work", "DIR", "keep the working folder here; removed unless given", 0, false},
             {0}}},
    {"run", "list", "", "all runs", 0, 0, CLI_READ, cli_run_list, NULL},
    {"run", "show", "RUN", "one run", 1, 1, CLI_READ, cli_run_show, NULL},
    {"model", "add", "NAME", "register a model by its digest", 1, 1, CLI_WRITE | CLI_SIGN, cli_model_add,
     OPTIONS{{"digest", "HEX", "SHA-256 of its file", 0, false},
             {"run", "RUN", "the run it came from; an unproven import unless given", 0, false},
             {0}}},
    {"model", "list", "", "all models", 0, 0, CLI_READ, cli_model_list, NULL},
    {"model", "show", "MODEL", "one model", 1, 1, CLI_READ, cli_model_show, NULL},
    {"model", "affected", "", "models trained on rows of owners who have since withdrawn", 0, 0, CLI_READ,
     cli_model_affected, NULL},
    {"model", "remedy", "MODEL", "say what was done about a withdrawal", 1, 1, CLI_WRITE | CLI_SIGN, cli_model_remedy,
     OPTIONS{{"action", "WHAT", "retrained, retired or justified", 0, false},
             {"reference", "TEXT", "where that is documented", 0, false},
             {0}}},
    {"deployment", "add", "MODEL SCOPE", "put a model to use", 2, 2, CLI_WRITE | CLI_SIGN, cli_deployment_add, NULL},
    {"deployment", "end", "DEPLOYMENT", "end its use", 1, 1, CLI_WRITE | CLI_SIGN, cli_deployment_end,
     OPTIONS{{"reason", "WHY", "retired (the default), replaced, withdrawn-consent or incident", 0, false}, {0}}},
    {"deployment", "list", "", "all deployments", 0, 0, CLI_READ, cli_deployment_list, NULL},
    {"decision", "log", "DEPLOYMENT FILE.jsonl", "seal decisions, one JSON object a line, as a batch", 2, 2,
     CLI_WRITE | CLI_SIGN, cli_decision_log, NULL},
    {"decision", "list", "", "all batches", 0, 0, CLI_READ, cli_decision_list, NULL},
    {"decision", "show", "DEPLOYMENT/N", "one decision", 1, 1, CLI_WRITE, cli_decision_show, NULL},
    {"decision", "trace", "DEPLOYMENT/N", "from a decision back to the consents, each link verified", 1, 1, CLI_WRITE,
     cli_decision_trace, NULL},
    {"bundle", "make", "decision|access|consent|row|lineage ID", "write evidence that anybody can verify offline", 2, 2,
     CLI_WRITE, cli_bundle_make, OPTIONS{OUTPUT("where to"), {0}}},
    {"bundle", "show", "FILE", "what a bundle claims, without believing it", 1, 1, 0, cli_bundle_show, NULL},
    {"log", "head", "", "the signed checkpoint", 0, 0, CLI_WRITE, cli_log_head, NULL},
    {"log", "cat", "[ENTRY [LAST]]", "entries by number or id, with their statements", 0, 2, CLI_READ, cli_log_cat,
     NULL},
    {"log", "submit", "KIND FILE.json",
     "an entry of any kind from JSON; KIND \"signed\": a transaction signed elsewhere", 2, 2, CLI_WRITE, cli_log_submit,
     NULL},
    {"log", "export", "", "every entry as a line of JSON", 0, 0, CLI_READ, cli_log_export, NULL},
    {"log", "prove", "inclusion ENTRY | consistency A B", "a proof that others can check", 2, 3, CLI_WRITE,
     cli_log_prove, OPTIONS{OUTPUT("where to; stdout unless given"), {0}}},
    {"log", "mirror", "DIR", "copy what another node has more, each entry verified", 1, 1, CLI_HERE, cli_log_mirror,
     OPTIONS{{"trust", "POLICY", "whose log it must be; needed for a new mirror", 0, false},
             {"complete", NULL, "a restored ledger: no entry is missing, I know it", 0, false},
             {0}}},
    {"state", "get", "KEY", "a value of the state tree; KEY is TAG, TAG:HEX or HEX", 1, 1, CLI_READ, cli_state_get,
     NULL},
    {"state", "prove", "KEY", "the same with its proof", 1, 1, CLI_READ, cli_state_prove, NULL},
    {"config", "show", "", "the settings of vouch.conf", 0, 0, CLI_READ | CLI_HERE, cli_config_show, NULL},
    {"backup", "make", "DIR", "copy the ledger as it is at its newest checkpoint, while others write", 1, 1,
     CLI_WRITE | CLI_HERE, cli_backup_make, OPTIONS{{"keys", NULL, "also the private keys", 0, false}, {0}}},
    {"backup", "check", "DIR", "every file of a backup, then every entry, proof and row in it", 1, 1, CLI_HERE,
     cli_backup_check, NULL},
    {"backup", "restore", "FROM TO", "make a ledger of a backup again", 2, 2, CLI_HERE, cli_backup_restore,
     OPTIONS{{"new-origin", "ORIGIN", "go on at once as ORIGIN/restored-..., under a fresh key", 0, false}, {0}}},
    {"completion", NULL, "", "completion for bash: source <(vouch completion)", 0, 0, 0, cli_completion, NULL},
    {"help", NULL, "[NOUN [VERB]]", "this list, or one command", 0, 2, 0, cli_help,
     OPTIONS{{"man", NULL, "the manual page's source", 0, false}, {0}}},
    {"version", NULL, "", "the version", 0, 0, 0, cli_version, NULL},
    {0},
};
