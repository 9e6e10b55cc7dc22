/* SPDX-License-Identifier: Apache-2.0 */
/* The table of kinds: what each statement may hold and who may sign it.
 * docs/formats/entries.cddl says the same in CDDL; a test keeps them equal. */
#include "entry/entry.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define U(k, n, lo, hi)                                                                                                \
    {                                                                                                                  \
        .key = k, .name = n, .type = VCH_T_UINT, .min = lo, .max = hi                                                  \
    }
#define CHOICE(k, n, l)                                                                                                \
    {                                                                                                                  \
        .key = k, .name = n, .type = VCH_T_UINT, .min = 0, .max = COUNT(l) - 1, .labels = l                            \
    }
#define BYTES(k, n, lo, hi)                                                                                            \
    {                                                                                                                  \
        .key = k, .name = n, .type = VCH_T_BYTES, .min = lo, .max = hi                                                 \
    }
#define HASH(k, n) BYTES(k, n, 32, 32)
#define TEXT(k, n, lo, hi)                                                                                             \
    {                                                                                                                  \
        .key = k, .name = n, .type = VCH_T_TEXT, .min = lo, .max = hi                                                  \
    }
#define STRUCT(k, n, s)                                                                                                \
    {                                                                                                                  \
        .key = k, .name = n, .type = VCH_T_STRUCT, .sub = s, .subs = COUNT(s)                                          \
    }
#define LIST(k, n, lo, hi, e)                                                                                          \
    {                                                                                                                  \
        .key = k, .name = n, .type = VCH_T_LIST, .min = lo, .max = hi, .sub = &(e)                                     \
    }

#define U16_MAX 65535u
#define U32_MAX 4294967295u
#define MS_MAX 253402300799999u /* the last millisecond of year 9999 */
#define DAY_MAX 2932896u        /* the last day of year 9999 */
#define IRI_MAX 256
#define NAME_MAX_ 128

static const char *const how_labels[] = {"owner", "recorded", "delegate"};
static const char *const key_labels[] = {"add", "revoke"};
static const char *const reason_labels[] = {"routine", "compromised", "lost", "left"};
static const char *const grade_labels[] = {"A", "B"};
static const char *const effect_labels[] = {"permit", "forbid"};
static const char *const status_labels[] = {"completed", "failed"};
static const char *const end_labels[] = {"retired", "replaced", "withdrawn-consent", "incident"};
static const char *const remedy_labels[] = {"retrained", "retired", "justified"};

static const vch_field_t e_key = BYTES(0, "key", 34, 35);
static const vch_field_t e_keyid = HASH(0, "key id");
static const vch_field_t e_id = HASH(0, "id");
static const vch_field_t e_u16 = U(0, "position", 0, U16_MAX);
static const vch_field_t e_group = U(0, "group", 0, VCH_GROUPS_MAX - 1);
static const vch_field_t e_name = TEXT(0, "name", 1, NAME_MAX_);
static const vch_field_t e_iri = TEXT(0, "iri", 1, IRI_MAX);

static const vch_field_t party[] = {
    TEXT(0, "name", 1, NAME_MAX_),
    U(1, "roles", 1, 255),
    LIST(2, "keys", 1, 8, e_key),
    {.key = 3, .name = "next-key-hash", .type = VCH_T_BYTES, .optional = true, .min = 32, .max = 32},
    {.key = 4, .name = "recovery", .type = VCH_T_BYTES, .optional = true, .min = 32, .max = 32},
};
static const vch_field_t e_party = {.name = "party", .type = VCH_T_STRUCT, .sub = party, .subs = COUNT(party)};

static const vch_field_t word[] = {
    TEXT(0, "iri", 1, IRI_MAX),
    LIST(1, "parents", 0, 8, e_u16),
};
static const vch_field_t e_word = {.name = "word", .type = VCH_T_STRUCT, .sub = word, .subs = COUNT(word)};

static const vch_field_t genesis[] = {
    TEXT(0, "origin", 1, 200),
    U(1, "rules", 1, 1),
    LIST(2, "parties", 1, 1024, e_party),
    LIST(3, "registrars", 1, 64, e_keyid),
    U(4, "grant-life-ms", 1000, 86400000),
    LIST(5, "purposes", 1, 1024, e_word),
    LIST(6, "processings", 1, 1024, e_word),
};

static const vch_field_t party_key[] = {
    HASH(0, "party"),
    CHOICE(1, "action", key_labels),
    BYTES(2, "key", 34, 35),
    CHOICE(3, "reason", reason_labels),
    {.key = 4, .name = "compromised-since", .type = VCH_T_UINT, .optional = true, .max = MS_MAX},
    {.key = 5, .name = "next-key-hash", .type = VCH_T_BYTES, .optional = true, .min = 32, .max = 32},
};

static const vch_field_t column[] = {
    TEXT(0, "name", 1, NAME_MAX_),
    U(1, "group", 0, VCH_GROUPS_MAX - 1),
};
static const vch_field_t e_column = {.name = "column", .type = VCH_T_STRUCT, .sub = column, .subs = COUNT(column)};

static const vch_field_t dataset[] = {
    TEXT(0, "name", 1, NAME_MAX_),
    HASH(1, "custodian"),
    {.key = 2, .name = "controller", .type = VCH_T_TEXT, .optional = true, .min = 1, .max = 256},
    LIST(3, "columns", 1, 4096, e_column),
    LIST(4, "groups", 1, VCH_GROUPS_MAX, e_name),
    {.key = 5, .name = "label-group", .type = VCH_T_UINT, .optional = true, .max = VCH_GROUPS_MAX - 1},
    {.key = 6, .name = "categories", .type = VCH_T_LIST, .optional = true, .min = 1, .max = 64, .sub = &e_iri},
};

static const vch_field_t e_hash = HASH(0, "hash");
static const vch_field_t e_signature = BYTES(0, "signature", 64, 64);
static const vch_field_t vault[] = {
    U(0, "threshold", 2, 4),
    LIST(1, "trustees", 3, 35, e_keyid), /* by position */
    U(2, "data", 1, 15),
    LIST(3, "storage", 1, 16, e_keyid),
    LIST(4, "roots", 3, 35, e_hash),
    LIST(5, "signatures", 6, 1190, e_signature), /* of each set's holders over its root */
    HASH(6, "shards-root"),
};

static const vch_field_t extent[] = {
    HASH(0, "id"),
    U(1, "count", 1, VCH_EXTENT_ROWS_MAX),
    {.key = 2, .name = "first-subject", .type = VCH_T_UINT, .optional = true, .max = U32_MAX},
    {.key = 3, .name = "subjects-hash", .type = VCH_T_BYTES, .optional = true, .min = 32, .max = 32},
    HASH(4, "rows-root"),
    {.key = 5, .name = "vault", .type = VCH_T_STRUCT, .optional = true, .sub = vault, .subs = COUNT(vault)},
};
static const vch_field_t e_extent = {.name = "extent", .type = VCH_T_STRUCT, .sub = extent, .subs = COUNT(extent)};

static const vch_field_t bitleaf[] = {
    U(0, "extent", 0, U16_MAX),
    U(1, "leaf", 0, VCH_EXTENT_ROWS_MAX / 2048 - 1),
    BYTES(2, "bits", VCH_BITMAP_LEAF, VCH_BITMAP_LEAF),
};
static const vch_field_t e_bitleaf = {.name = "leaf", .type = VCH_T_STRUCT, .sub = bitleaf, .subs = COUNT(bitleaf)};

static const vch_field_t new_subjects[] = {
    U(0, "first", 0, U32_MAX),
    U(1, "count", 1, U32_MAX),
    HASH(2, "root"),
};

static const vch_field_t version[] = {
    HASH(0, "dataset"),
    {.key = 1, .name = "previous", .type = VCH_T_BYTES, .optional = true, .min = 32, .max = 32},
    LIST(2, "extents", 0, 1024, e_extent),
    LIST(3, "bitmap", 0, 2048, e_bitleaf),
    {.key = 4,
     .name = "subjects",
     .type = VCH_T_STRUCT,
     .optional = true,
     .sub = new_subjects,
     .subs = COUNT(new_subjects)},
};

static const vch_field_t transform[] = {HASH(0, "from"), HASH(1, "to"), HASH(2, "code")};

static const vch_field_t subjects[] = {
    HASH(0, "extent"),
    U(1, "offset", 0, VCH_EXTENT_ROWS_MAX - 1),
    BYTES(2, "list", 4, 900u * 1024u),
};

static const vch_field_t terms[] = {BYTES(0, "document", 1, 8192)};

const vch_field_t vch_terms_fields[] = {
    U(0, "version", 1, 1),
    TEXT(1, "title", 1, 256),
    CHOICE(2, "effect", effect_labels),
    LIST(3, "recipients", 0, 64, e_id), /* empty: anybody */
    LIST(4, "purposes", 0, 32, e_iri),  /* empty: any */
    LIST(5, "processings", 0, 32, e_iri),
    {.key = 6, .name = "from", .type = VCH_T_UINT, .optional = true, .max = MS_MAX},
    {.key = 7, .name = "until", .type = VCH_T_UINT, .optional = true, .max = MS_MAX},
    {.key = 8, .name = "categories", .type = VCH_T_LIST, .optional = true, .min = 1, .max = 32, .sub = &e_iri},
    {.key = 9, .name = "retention-days", .type = VCH_T_UINT, .optional = true, .max = 36500},
    {.key = 10, .name = "conditions", .type = VCH_T_LIST, .optional = true, .min = 1, .max = 16, .sub = &e_iri},
    {.key = 11, .name = "price", .type = VCH_T_TEXT, .optional = true, .min = 1, .max = 64},
};
const size_t vch_terms_fields_n = COUNT(vch_terms_fields);

static const vch_field_t key_proof[] = {
    U(0, "first", 0, U32_MAX), /* of the range of subjects that holds this one */
    LIST(1, "path", 0, 32, e_hash),
};

#define OWNER_MADE                                                                                                     \
    CHOICE(16, "how", how_labels),                                                                                     \
        {.key = 17, .name = "evidence", .type = VCH_T_BYTES, .optional = true, .min = 32, .max = 32},                  \
        {.key = 18, .name = "key", .type = VCH_T_BYTES, .optional = true, .min = 34, .max = 35},                       \
        {.key = 19,                                                                                                    \
         .name = "key-proof",                                                                                          \
         .type = VCH_T_STRUCT,                                                                                         \
         .optional = true,                                                                                             \
         .sub = key_proof,                                                                                             \
         .subs = COUNT(key_proof)},                                                                                    \
        U(20, "serial", 1, U32_MAX),                                                                                   \
    {                                                                                                                  \
        .key = 21, .name = "signature", .type = VCH_T_BYTES, .optional = true, .min = 64, .max = 64                    \
    }

static const vch_field_t consent[] = {
    HASH(0, "dataset"), U(1, "subject", 0, U32_MAX), HASH(2, "terms"), U(3, "until", 0, DAY_MAX), OWNER_MADE,
};
static const vch_field_t withdraw[] = {
    HASH(0, "dataset"),
    U(1, "subject", 0, U32_MAX),
    {.key = 2, .name = "terms", .type = VCH_T_BYTES, .optional = true, .min = 32, .max = 32}, /* absent: all */
    OWNER_MADE,
};

static const vch_field_t erase[] = {HASH(0, "dataset"), U(1, "subject", 0, U32_MAX), OWNER_MADE};
static const vch_field_t key_destroyed[] = {
    HASH(0, "erase"),
    LIST(1, "extents", 1, 1024, e_id),
    CHOICE(2, "grade", grade_labels),
};

static const vch_field_t access[] = {
    HASH(0, "version"),
    TEXT(1, "purpose", 1, IRI_MAX),
    TEXT(2, "processing", 1, IRI_MAX),
    LIST(3, "groups", 1, VCH_GROUPS_MAX, e_group),
    {.key = 4, .name = "recipient-key", .type = VCH_T_BYTES, .optional = true, .min = 32, .max = 32},
};

static const vch_field_t own_access[] = {
    HASH(0, "version"),
    U(1, "subject", 0, U32_MAX),
    LIST(2, "groups", 1, VCH_GROUPS_MAX, e_group),
    BYTES(3, "one-time-key", 32, 32),
    BYTES(18, "key", 34, 35),
    {.key = 19,
     .name = "key-proof",
     .type = VCH_T_STRUCT,
     .optional = true,
     .sub = key_proof,
     .subs = COUNT(key_proof)},
    U(20, "serial", 1, U32_MAX),
    BYTES(21, "signature", 64, 64),
};

static const vch_field_t run[] = {
    LIST(0, "grants", 1, 64, e_id),
    HASH(1, "set-root"),
    U(2, "count", 1, U32_MAX),
    HASH(3, "order-root"),
    HASH(4, "code"),
    TEXT(5, "parameters", 0, 4096),
    {.key = 6, .name = "seed", .type = VCH_T_UINT, .optional = true, .max = UINT64_MAX},
    HASH(7, "environment"),
    TEXT(8, "name", 1, NAME_MAX_),
};
static const vch_field_t metric[] = {TEXT(0, "name", 1, 64), TEXT(1, "value", 1, 64)};
static const vch_field_t e_metric = {.name = "metric", .type = VCH_T_STRUCT, .sub = metric, .subs = COUNT(metric)};
static const vch_field_t output[] = {TEXT(0, "name", 1, 256), HASH(1, "digest"), U(2, "size", 0, UINT64_MAX)};
static const vch_field_t e_output = {.name = "output", .type = VCH_T_STRUCT, .sub = output, .subs = COUNT(output)};
static const vch_field_t run_end[] = {
    HASH(0, "run"),
    CHOICE(1, "status", status_labels),
    LIST(2, "metrics", 0, 64, e_metric),
    LIST(3, "outputs", 0, 256, e_output),
};

static const vch_field_t model[] = {
    {.key = 0, .name = "run", .type = VCH_T_BYTES, .optional = true, .min = 32, .max = 32}, /* absent: unproven import
                                                                                             */
    HASH(1, "digest"),
    TEXT(2, "name", 1, NAME_MAX_),
};
static const vch_field_t deployment[] = {HASH(0, "model"), TEXT(1, "scope", 1, 256)};
static const vch_field_t deployment_end[] = {HASH(0, "deployment"), CHOICE(1, "reason", end_labels)};
static const vch_field_t decisions[] = {
    HASH(0, "deployment"),   U(1, "first", 0, UINT64_MAX), U(2, "count", 1, U32_MAX),   HASH(3, "root"),
    U(4, "from", 0, MS_MAX), U(5, "to", 0, MS_MAX),        U(6, "lost", 0, UINT64_MAX),
};
static const vch_field_t remedy[] = {
    HASH(0, "model"),
    CHOICE(1, "action", remedy_labels),
    TEXT(2, "reference", 1, 256),
};

#define KIND(k, n, f, roles, whom)                                                                                     \
    {                                                                                                                  \
        .kind = k, .name = n, .field = f, .fields = COUNT(f), .signers = roles, .who = whom                            \
    }

static const vch_schema_t table[] = {
    {VCH_KIND_GENESIS, "genesis", genesis, COUNT(genesis), 0, "the first party named in it, as the first entry",
     .single = true},
    KIND(VCH_KIND_PARTY, "party", party, 0, "a registrar's key"),
    KIND(VCH_KIND_PARTY_KEY, "party-key", party_key, 0, "the party itself; a registrar may revoke"),
    KIND(VCH_KIND_DATASET, "dataset", dataset, VCH_ROLE_CUSTODIAN, "the custodian named in it"),
    KIND(VCH_KIND_VERSION, "version", version, VCH_ROLE_CUSTODIAN, "the dataset's custodian"),
    KIND(VCH_KIND_TRANSFORM, "transform", transform, VCH_ROLE_CUSTODIAN, "the custodian of both versions' datasets"),
    KIND(VCH_KIND_SUBJECTS, "subjects", subjects, VCH_ROLE_CUSTODIAN, "a custodian, before its version"),
    KIND(VCH_KIND_TERMS, "terms", terms, 0, "any party"),
    {VCH_KIND_CONSENT, "consent", consent, COUNT(consent), 0,
     "any party carries what the subject's key signed; the custodian records", .owner_signed = true},
    {VCH_KIND_WITHDRAW, "withdraw", withdraw, COUNT(withdraw), 0,
     "any party carries what the subject's key signed; the custodian records", .owner_signed = true},
    {VCH_KIND_ACCESS, "access", access, COUNT(access), VCH_ROLE_USER, "a user", .single = true, .decided = true},
    {VCH_KIND_OWN_ACCESS, "own-access", own_access, COUNT(own_access), 0,
     "any party carries what the subject's key signed", .owner_signed = true, .single = true, .decided = true},
    {VCH_KIND_ERASE, "erase", erase, COUNT(erase), 0,
     "any party carries what the subject's key signed; the custodian for a subject", .owner_signed = true},
    KIND(VCH_KIND_KEY_DESTROYED, "key-destroyed", key_destroyed, VCH_ROLE_TRUSTEE, "a trustee of every extent named"),
    KIND(VCH_KIND_RUN, "run", run, VCH_ROLE_USER, "the user who holds every grant named"),
    KIND(VCH_KIND_RUN_END, "run-end", run_end, VCH_ROLE_USER, "the run's user"),
    KIND(VCH_KIND_MODEL, "model", model, VCH_ROLE_USER, "the run's user; any user for an unproven import"),
    KIND(VCH_KIND_DEPLOYMENT, "deployment", deployment, VCH_ROLE_USER, "the model's user"),
    KIND(VCH_KIND_DEPLOYMENT_END, "deployment-end", deployment_end, VCH_ROLE_USER, "the deployment's user"),
    KIND(VCH_KIND_DECISIONS, "decisions", decisions, VCH_ROLE_USER, "the deployment's user"),
    KIND(VCH_KIND_REMEDY, "remedy", remedy, VCH_ROLE_USER, "the model's user"),
};

const vch_schema_t *vch_schema_all(size_t *ret_n)
{
    *ret_n = COUNT(table);
    return table;
}

const vch_schema_t *vch_schema(uint64_t kind)
{
    for (size_t i = 0; i < COUNT(table); i++)
        if ((uint64_t)table[i].kind == kind) return &table[i];
    return NULL;
}

const vch_schema_t *vch_schema_by_name(const char *name)
{
    for (size_t i = 0; i < COUNT(table); i++)
        if (strcmp(table[i].name, name) == 0) return &table[i];
    return NULL;
}
