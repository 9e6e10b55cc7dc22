/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask what: each route in each role, of own and foreign datasets and
 * subjects.  The table below is written by hand; the other half is the service. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "api_world.h"

/* One letter each, in the order of the columns below. */
static const char columns[] = "A L X P C D G T U O o S B N r s p V E c m v";
/*  A anybody                    L anybody over the loopback   X a key that nobody knows
 *  P a party with no part in it C custodian of cohort-a       D custodian of cohort-b
 *  G holder of a live grant     T holder of one that ended    U auditor
 *  O operator from elsewhere (all roles, auditor too)         o operator over the loopback
 *  S key of subject a00         B key of subject b00          N key of a05, who never said anything
 *  r token read                 s token statements            p token operator
 *  V revoked key                E token that ended
 *  c custodian of cohort-a, m subject a00, v revoked key: by TLS certificate
 *
 * y 200   u 401 (who are you?)   f 403 (not for you)   n 404   b 400 or 422 (let in, but there is nothing to do) */

typedef struct {
    const char *ask; /* path; %s … are put in below */
    const char *body, *type;
    const char *expect;
} row_t;

static api_world_t *w;
static char party_hex[80], key_hex[65], own_hex[65];
static uint64_t at_own_a0;

/* ---- the table, with [ledger] read = parties ------------------------------------------------- */

#define EVERYBODY "y y y y y y y y y y y y y y y y y y y y y y"
/* A log read by parties: strangers' and subjects' keys are nobody's here. */
#define READERS "u y f y y y y y y y y f f f y y y u u y f u"
#define PARTIES "u u f y y y y y y y y f f f y y y u u y f u"
#define AUDITORS "u u f f f f f f y y y f f f f f y u u f f u"

static const row_t rows[] = {
    /*                            A L X P C D G T U O o S B N r s p V E c m v */
    {"/checkpoint", NULL, NULL, EVERYBODY},
    {"/v1/info", NULL, NULL, EVERYBODY},
    {"/v1/health/live", NULL, NULL, EVERYBODY},
    {"/v1/health/ready", NULL, NULL, EVERYBODY},
    {"/openapi.json", NULL, NULL, EVERYBODY},
    {"/v1/submit", "\x80", "application/cbor", "b b b b b b b b b b b b b b b b b b b b b b"},
    {"/tile/$TILE", NULL, NULL, READERS},
    {"/tile/$BUNDLE", NULL, NULL, READERS},
    {"/metrics", NULL, NULL, READERS},
    {"/v1/entry/0", NULL, NULL, READERS},
    {"/v1/entry/$CONSENT_A0", NULL, NULL, READERS},
    {"/v1/find?id=$MODEL", NULL, NULL, READERS},
    {"/v1/state?key=67", NULL, NULL, READERS},
    {"/v1/proof/inclusion?index=0", NULL, NULL, READERS},
    {"/v1/proof/consistency?from=1&to=2", NULL, NULL, READERS},
    {"/v1/prepare", "$DRAFT", "application/json", PARTIES},
    {"/v1/sequence?key=$KEY", NULL, NULL, PARTIES},
    {"/v1/list/parties", NULL, NULL, PARTIES},
    {"/v1/list/datasets", NULL, NULL, PARTIES},
    {"/v1/list/versions?of=cohort-b", NULL, NULL, PARTIES},
    {"/v1/list/terms", NULL, NULL, PARTIES},
    {"/v1/list/grants", NULL, NULL, PARTIES},
    {"/v1/list/runs", NULL, NULL, PARTIES},
    {"/v1/list/models", NULL, NULL, PARTIES},
    {"/v1/list/deployments", NULL, NULL, PARTIES},
    {"/v1/list/batches", NULL, NULL, PARTIES},
    {"/v1/list/remedies", NULL, NULL, PARTIES},
    /* What organisations said is for parties; what is about subjects is not. */
    /*                                                A L X P C D G T U O o S B N r s p V E c m v */
    {"/v1/entry/0/statements", NULL, NULL, "u u f y y y y y y y y f f f f y y u u y f u"},
    {"/v1/entry/$PARTY/statements", NULL, NULL, "u u f y y y y y y y y f f f f y y u u y f u"},
    {"/v1/entry/$OUTCOME/statements", NULL, NULL, "u u f y y y y y y y y f f f f y y u u y f u"},
    {"/v1/entry/$CONSENT_A0/statements", NULL, NULL, "u u f f y f y f y y y y f f f y y u u y y u"},
    {"/v1/entry/$OWN_A0", NULL, NULL, READERS},
    {"/v1/entry/$OWN_A0/statements", NULL, NULL, "u u f f y f y f y y y y f f f y y u u y y u"},
    {"/v1/entry/$CONSENT_A123/statements", NULL, NULL, "u u f f y f y f y y y f f f f y y u u y f u"},
    {"/v1/entry/$CONSENT_B/statements", NULL, NULL, "u u f f f y f f y y y f y f f y y u u f f u"},
    {"/v1/entry/999999/statements", NULL, NULL, "u u f n n n n n n n n f f f f n n u u n f u"},
    {"/v1/list/consents?of=cohort-a", NULL, NULL, "u u f f y f y f y y y f f f f y y u u y f u"},
    {"/v1/list/consents?of=cohort-b", NULL, NULL, "u u f f f y f f y y y f f f f y y u u f f u"},
    {"/v1/list/consents?of=cohort-a/0", NULL, NULL, "u u f f y f y f y y y y f f f y y u u y y u"},
    {"/v1/list/consents?of=cohort-a/1", NULL, NULL, "u u f f y f y f y y y f f f f y y u u y f u"},
    {"/v1/list/consents?of=cohort-a/5", NULL, NULL, "u u f f y f y f y y y f f y f y y u u y f u"},
    {"/v1/list/consents?of=cohort-b/0", NULL, NULL, "u u f f f y f f y y y f y f f y y u u f f u"},
    {"/v1/list/consents?of=nothing", NULL, NULL, "u u f n n n n n n n n f f f f n n u u n f u"},
    {"/v1/subject?dataset=cohort-a&subject=0", NULL, NULL, "u u f f y f y f y y y y f f f y y u u y y u"},
    {"/v1/subject?dataset=cohort-a&subject=1", NULL, NULL, "u u f f y f y f y y y f f f f y y u u y f u"},
    {"/v1/subject?dataset=cohort-a&subject=5", NULL, NULL, "u u f f y f y f y y y f f y f y y u u y f u"},
    {"/v1/subject?dataset=cohort-b&subject=0", NULL, NULL, "u u f f f y f f y y y f y f f y y u u f f u"},
    {"/v1/subject?dataset=cohort-a&subject=6", NULL, NULL, "u u f f n f n f n n n f f f f n n u u n f u"},
    /* No grant opens the names of persons. */
    {"/v1/subject?dataset=cohort-a&person=a00", NULL, NULL, "u u f f y f f f y y y y f f f y y u u y y u"},
    {"/v1/subject?dataset=cohort-a&person=a01", NULL, NULL, "u u f f y f f f y y y f f f f y y u u y f u"},
    {"/v1/subject?dataset=cohort-a&person=a05", NULL, NULL, "u u f f y f f f y y y f f y f y y u u y f u"},
    {"/v1/subject?dataset=cohort-b&person=b00", NULL, NULL, "u u f f f y f f y y y f y f f y y u u f f u"},
    {"/v1/subject?dataset=cohort-a&person=nobody", NULL, NULL, "u u f f n f f f n n n f f f f n n u u n f u"},
    /* Decisions and models are their user's own too; T has none of its own here but its old request. */
    {"/v1/trace?decision=ward-3/0", NULL, NULL, "u u f f y f y f y y y f f f f y y u u y f u"},
    {"/v1/trace?decision=ward-9/0", NULL, NULL, "u u f n n n n n n n n f f f f n n u u n f u"},
    {"/v1/bundle", "{\"what\":\"decision\",\"id\":\"ward-3/1\"}", "application/json",
     "u u f f y f y f y y y f f f f y y u u y f u"},
    {"/v1/bundle", "{\"what\":\"access\",\"id\":\"$GRANT\"}", "application/json",
     "u u f f y f y f y y y f f f f y y u u y f u"},
    {"/v1/bundle", "{\"what\":\"access\",\"id\":\"$LATE\"}", "application/json",
     "u u f f y f y y y y y f f f f y y u u y f u"},
    /* There is none of own access yet, which those who may know are told (b). */
    {"/v1/bundle", "{\"what\":\"access\",\"id\":\"$OWN\"}", "application/json",
     "u u f f b f b f b b b b f f f b b u u b b u"},
    {"/v1/bundle", "{\"what\":\"consent\",\"id\":\"cohort-a/0\"}", "application/json",
     "u u f f y f y f y y y y f f f y y u u y y u"},
    {"/v1/bundle", "{\"what\":\"consent\",\"id\":\"cohort-a/1\"}", "application/json",
     "u u f f y f y f y y y f f f f y y u u y f u"},
    {"/v1/bundle", "{\"what\":\"consent\",\"id\":\"cohort-b/0\"}", "application/json",
     "u u f f f y f f y y y f y f f y y u u f f u"},
    {"/v1/bundle", "{\"what\":\"lineage\",\"id\":\"$MODEL\"}", "application/json",
     "u u f f y f y f y y y f f f f y y u u y f u"},
    /* No grant opens rows in the clear either: it may permit others. */
    {"/v1/bundle", "{\"what\":\"row\",\"id\":\"$RUN/0/0\"}", "application/json",
     "u u f f y f f f y y y y f f f y y u u y y u"},
    {"/v1/bundle", "{\"what\":\"row\",\"id\":\"$RUN/0/1\"}", "application/json",
     "u u f f y f f f y y y f f f f y y u u y f u"},
    /* Nothing is erased here; the lists of subjects beside a certificate are for who may know all of a dataset. */
    {"/v1/bundle", "{\"what\":\"erasure\",\"id\":\"cohort-a/0\"}", "application/json",
     "u u f f n f n f n n n f f f f n n u u n f u"},
    {"/v1/affected", NULL, NULL, "u u f f y y y f y y y f f f f y y u u y f u"},
    /* There is none that others reach; and a grant's rows are its own party's. */
    {"/v1/vault", NULL, NULL, "u u f n n n n n n n n f f f n n n u u n f u"},
    {"/v1/grant/rows?grant=$GRANT", NULL, NULL, "u u f f f f y f f f f f f f f f f u u f f u"},
    {"/v1/records?from=0", NULL, NULL, AUDITORS},
};
#define ROWS (sizeof rows / sizeof *rows)

/* ---- asking ------------------------------------------------------------------------------------- */

static void put_in(char *text, size_t room, const char *name, const char *value)
{
    char rest[2048];
    char *at = strstr(text, name);
    if (!at) return;
    snprintf(rest, sizeof rest, "%s", at + strlen(name));
    snprintf(at, room - (size_t)(at - text), "%s%s", value, rest);
}

static void put_number(char *text, size_t room, const char *name, uint64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    put_in(text, room, name, digits);
}

/* What stands behind $NAMES. */
static void fill(char *text, size_t room)
{
    char tile[64], draft[256];
    vch_ledger_info_t info;
    assert_int_equal(vch_ledger_info(w->l, &info, NULL), VCH_OK);
    snprintf(tile, sizeof tile, "0/000.p/%u", (unsigned)info.checkpoint_size);
    put_in(text, room, "$TILE", tile);
    snprintf(tile, sizeof tile, "entries/000.p/%u", (unsigned)info.checkpoint_size);
    put_in(text, room, "$BUNDLE", tile);
    snprintf(draft, sizeof draft,
             "{\"kind\":\"model\",\"signer\":\"%s\",\"statements\":{\"name\":\"m\",\"digest\":\"%064d\"}}", party_hex,
             7);
    put_in(text, room, "$DRAFT", draft);
    put_number(text, room, "$OWN_A0", at_own_a0);
    put_in(text, room, "$OWN", own_hex);
    put_number(text, room, "$CONSENT_A0", w->at_consent_a0);
    put_number(text, room, "$CONSENT_A123", w->at_consent_a123);
    put_number(text, room, "$CONSENT_B", w->at_consent_b);
    put_number(text, room, "$PARTY", w->at_party);
    put_number(text, room, "$OUTCOME", w->at_outcome);
    put_in(text, room, "$GRANT", w->grant);
    put_in(text, room, "$LATE", w->late_grant);
    put_in(text, room, "$MODEL", w->model);
    put_in(text, room, "$RUN", w->run);
    put_in(text, room, "$KEY", key_hex);
}

static void be(aw_ask_t *q, char role)
{
    static const char parties[] = "PCDGTUOV";
    static const unsigned party[] = {AW_DEPOT, AW_CLINIC_A, AW_CLINIC_B, AW_LAB,
                                     AW_LATE,  AW_AUDITOR,  AW_OPERATOR, AW_LEAVER};
    const char *at = strchr(parties, role);
    if (at) q->signer = w->party[party[at - parties]];
    if (role == 'L' || role == 'o') q->local = true;
    if (role == 'o') q->signer = w->party[AW_OPERATOR];
    if (role == 'X') q->signer = w->stranger;
    if (role == 'S') q->signer = w->subject_a0;
    if (role == 'B') q->signer = w->subject_b0;
    if (role == 'N') q->signer = w->subject_a5;
    if (role == 'r') q->token = w->token[0].text;
    if (role == 's') q->token = w->token[1].text;
    if (role == 'p') q->token = w->token[2].text;
    if (role == 'E') q->token = w->ended.text;
    if (role == 'c') q->peer = w->party[AW_CLINIC_A];
    if (role == 'm') q->peer = w->subject_a0;
    if (role == 'v') q->peer = w->party[AW_LEAVER];
}

static char letter_of(int status)
{
    switch (status) {
    case 200:
        return 'y';
    case 401:
        return 'u';
    case 403:
        return 'f';
    case 404:
        return 'n';
    default:
        return status == 400 || status == 422 ? 'b' : '?';
    }
}

static aw_answer_t ask_as(const row_t *row, char role)
{
    char path[512], body[1024] = "";
    snprintf(path, sizeof path, "%s", row->ask);
    if (row->body) snprintf(body, sizeof body, "%s", row->body);
    fill(path, sizeof path);
    fill(body, sizeof body);
    aw_ask_t q = {.method = row->body ? HTTP_POST : HTTP_GET,
                  .path = path,
                  .type = row->type,
                  .body = row->body ? body : NULL,
                  .body_n = strlen(body)};
    be(&q, role);
    return aw_ask(w, &q);
}

static unsigned check_cell(const row_t *row, char role, char expected)
{
    aw_answer_t a = ask_as(row, role);
    bool right = letter_of(a.status) == expected;
    if (!right)
        print_error("%s %s as %c: %d instead of %c: %.200s\n", row->ask, row->body ? row->body : "", role, a.status,
                    expected, a.text);
    aw_free(&a);
    return !right;
}

static unsigned check_row(const row_t *row, const char *expect)
{
    unsigned wrong = 0;
    assert_int_equal(strlen(expect), strlen(columns));
    for (size_t i = 0; i < sizeof columns; i += 2) wrong += check_cell(row, columns[i], expect[i]);
    return wrong;
}

/* ---- tests ---------------------------------------------------------------------------------------- */

static void every_route_in_every_role(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < ROWS; i++) wrong += check_row(&rows[i], rows[i].expect);
    assert_int_equal(wrong, 0);
}

static void set_read(const char *how)
{
    char conf[64];
    snprintf(conf, sizeof conf, "[ledger]\nread = %s\n", how);
    (void)aw_file(w, "l/vouch.conf", conf);
    assert_int_equal(api_reload(w->api, &w->err), VCH_OK);
}

static void the_log_is_read_by_whom_the_settings_name(void **state)
{
    (void)state;
    /*                            A L X P C D G T U O o S B N r s p V E c m v */
    static const char loopback[] = "u y f f f f f f f f y f f f y y y u u f f u";
    static const char everybody[] = "y y y y y y y y y y y y y y y y y u u y y u";
    unsigned wrong = 0;
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].expect != rows[6].expect) continue; /* READERS */
        set_read("loopback");
        wrong += check_row(&rows[i], loopback);
        set_read("public");
        wrong += check_row(&rows[i], everybody);
        set_read("parties");
        wrong += check_row(&rows[i], rows[i].expect);
    }
    assert_int_equal(wrong, 0);
    (void)aw_file(w, "l/vouch.conf", "[ledger]\nread = whoever\n");
    assert_int_equal(api_reload(w->api, &w->err), VCH_ERR_FORMAT);
    assert_int_equal(check_row(&rows[6], rows[6].expect), 0); /* as before */
    set_read("parties");
}

/* Nothing is in the table of routes that isn't in the table above. */
static void no_route_is_left_out(void **state)
{
    (void)state;
    for (const api_route_t *r = api_routes; r->path; r++) {
        bool asked = false;
        for (size_t i = 0; i < ROWS && !asked; i++) {
            char path[512];
            snprintf(path, sizeof path, "%s", rows[i].ask);
            path[strcspn(path, "?")] = 0;
            http_request_t req = {.method = rows[i].body ? HTTP_POST : HTTP_GET, .path = vch_str(path)};
            asked = api_route_of(&req) == r;
        }
        if (!asked) fail_msg("nobody asked %s", r->path);
    }
}

/* Grants and tokens end while the service runs; what is one's own stays so. */
static void rights_end_with_time(void **state)
{
    static const row_t consents = {"/v1/list/consents?of=cohort-a", NULL, NULL, NULL};
    static const row_t trace = {"/v1/trace?decision=ward-3/0", NULL, NULL, NULL};
    static const row_t info = {"/v1/list/parties", NULL, NULL, NULL};
    (void)state;
    assert_int_equal(check_cell(&consents, 'G', 'y'), 0);
    aw_pass(16 * 60000u);
    assert_int_equal(check_cell(&consents, 'G', 'f'), 0);
    assert_int_equal(check_cell(&trace, 'G', 'y'), 0); /* its own decision */
    assert_int_equal(check_cell(&info, 'r', 'y'), 0);
    aw_pass(2 * 86400000u);
    assert_int_equal(check_cell(&info, 'r', 'u'), 0);
}

/* Subject a00 reads its own row; the depot, which has no part in it, carries the statement. */
static void read_own(void)
{
    char path[256];
    vch_receipt_t r;
    uint64_t n;
    snprintf(path, sizeof path, "%s/own.csv", w->dir);
    AW_OK(vch_access_own(w->l, w->party[AW_DEPOT], w->wallet, "cohort-a", 0, 0, NULL, 0, path, &n, &r, &w->err));
    assert_int_equal(n, 1);
    at_own_a0 = r.index;
    vch_hex(own_hex, r.object.b, 32);
}

static int set_up(void **state)
{
    (void)state;
    w = api_world_new();
    const vch_pubkey_t *key = vch_signer_public(w->party[AW_CLINIC_A]);
    vch_keyid_t id = vch_pubkey_id(key);
    vch_hex(party_hex, key->b, key->n);
    vch_hex(key_hex, id.b, 32);
    read_own();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    api_world_free(w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_in_every_role),
        cmocka_unit_test(the_log_is_read_by_whom_the_settings_name),
        cmocka_unit_test(no_route_is_left_out),
        cmocka_unit_test(rights_end_with_time),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
