/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes as an OpenAPI 3.1 document and as docs/api.md. */
#include <ctype.h>

#include "api/api_int.h"

/* ---- who may ask, in words ---------------------------------------------------------- */

static const char *const class_names[] = {"open", "read", "party", "entitled", "auditor", "operator"};
static const char *const class_help[] = {
    "everybody; credentials aren't looked at",
    "as `[ledger] read` says: `loopback` this machine, `parties` also registered parties, `public` everybody; tokens "
    "always",
    "any registered party, or a token",
    "the dataset's custodian, holders of a live grant on it, the subject's own key for that subject only, the party "
    "whose own grant, model or decision it is, auditors, trustees, tokens of scope statements or operator",
    "auditors and trustees; the operator's key over the loopback; a token of scope operator",
    "the operator's key over the loopback; a token of scope operator",
};
#define CLASSES (sizeof class_names / sizeof *class_names)

/* One column of the table of routes and roles. */
static const struct {
    const char *name;
    const char *cell[CLASSES]; /* by class */
} roles[] = {
    {"anybody", {"yes", "if public", "-", "-", "-", "-"}},
    {"loopback", {"yes", "yes", "-", "-", "-", "-"}},
    {"subject's key", {"yes", "if public", "-", "own (d)", "-", "-"}},
    {"party", {"yes", "yes (a)", "yes", "own (b)", "-", "-"}},
    {"custodian", {"yes", "yes (a)", "yes", "own dataset", "-", "-"}},
    {"grant holder", {"yes", "yes (a)", "yes", "granted (c)", "-", "-"}},
    {"auditor", {"yes", "yes (a)", "yes", "yes", "yes", "-"}},
    {"operator, loopback", {"yes", "yes", "yes", "yes", "yes", "yes"}},
    {"token read", {"yes", "yes", "yes", "-", "-", "-"}},
    {"token statements", {"yes", "yes", "yes", "yes", "-", "-"}},
    {"token operator", {"yes", "yes", "yes", "yes", "yes", "yes"}},
};
#define ROLES (sizeof roles / sizeof *roles)

static bool in_path(const api_route_t *r, const api_param_t *p)
{
    size_t n = strlen(p->name);
    for (const char *at = strchr(r->path, '{'); at; at = strchr(at + 1, '{'))
        if (strncmp(at + 1, p->name, n) == 0 && at[n + 1] == '}') return true;
    return false;
}

static bool is_json(const char *type) { return strcmp(type, "application/json") == 0; }

/* ---- OpenAPI ---------------------------------------------------------------------------- */

static vch_rc put_text(vch_buf_t *b, const char *name, const char *text)
{
    VCH_TRY(vch_buf_printf(b, "\"%s\":", name));
    return vch_json_put_string(b, vch_str(text));
}

/* "getV1EntryIndex" */
static vch_rc put_operation_id(vch_buf_t *b, const api_route_t *r)
{
    bool upper = true;
    VCH_TRY(vch_buf_printf(b, "\"operationId\":\"%s", r->method == HTTP_POST ? "post" : "get"));
    for (const char *p = r->path; *p; p++) {
        bool word = isalnum((unsigned char)*p) != 0;
        if (word) VCH_TRY(vch_buf_u8(b, (uint8_t)(upper ? toupper((unsigned char)*p) : *p)));
        upper = !word;
    }
    return vch_buf_printf(b, "\",");
}

static vch_rc put_param(vch_buf_t *b, const api_route_t *r, const api_param_t *p)
{
    VCH_TRY(vch_buf_printf(b, "{\"name\":\"%s\",\"in\":\"%s\",\"required\":%s,", p->name,
                           in_path(r, p) ? "path" : "query", p->required ? "true" : "false"));
    VCH_TRY(put_text(b, "description", p->help));
    return vch_buf_printf(b, p->number ? ",\"schema\":{\"type\":\"integer\",\"minimum\":0}}"
                                       : ",\"schema\":{\"type\":\"string\",\"minLength\":1}}");
}

static vch_rc put_params(vch_buf_t *b, const api_route_t *r)
{
    if (!r->param) return VCH_OK;
    VCH_TRY(vch_buf_printf(b, "\"parameters\":["));
    for (const api_param_t *p = r->param; p->name; p++) {
        if (p != r->param) VCH_TRY(vch_buf_u8(b, ','));
        VCH_TRY(put_param(b, r, p));
    }
    return vch_buf_printf(b, "],");
}

static vch_rc put_content(vch_buf_t *b, const char *type, bool list)
{
    const char *schema = is_json(type)
                             ? list ? "{\"type\":\"array\",\"items\":{\"type\":\"object\"}}" : "{\"type\":\"object\"}"
                         : strncmp(type, "text/", 5) == 0 ? "{\"type\":\"string\"}"
                                                          : "{}";
    return vch_buf_printf(b, "\"content\":{\"%s\":{\"schema\":%s}}", type, schema);
}

static vch_rc put_body(vch_buf_t *b, const api_route_t *r)
{
    if (!r->body) return VCH_OK;
    VCH_TRY(vch_buf_printf(b, "\"requestBody\":{\"required\":true,"));
    VCH_TRY(put_text(b, "description", r->takes));
    VCH_TRY(vch_buf_u8(b, ','));
    VCH_TRY(put_content(b, r->body, false));
    return vch_buf_printf(b, "},");
}

static vch_rc put_security(vch_buf_t *b, api_who_t who)
{
    if (who == API_OPEN) return vch_buf_printf(b, "\"security\":[{}],");
    return vch_buf_printf(b, "\"security\":[%s{\"vouch\":[]},{\"peer\":[]},{\"token\":[]}],",
                          who == API_READ ? "{}," : "");
}

static vch_rc put_responses(vch_buf_t *b, const api_route_t *r)
{
    VCH_TRY(vch_buf_printf(b, "\"responses\":{\"200\":{"));
    VCH_TRY(put_text(b, "description", r->gives));
    VCH_TRY(vch_buf_u8(b, ','));
    VCH_TRY(put_content(b, r->answer, r->gives[0] == '['));
    return vch_buf_printf(b, "},\"default\":{\"$ref\":\"#/components/responses/Refused\"}}");
}

static vch_rc put_route(vch_buf_t *b, const api_route_t *r)
{
    VCH_TRY(vch_buf_printf(b, "\"%s\":{\"%s\":{", r->path, r->method == HTTP_POST ? "post" : "get"));
    VCH_TRY(put_operation_id(b, r));
    VCH_TRY(put_text(b, "summary", r->summary));
    VCH_TRY(vch_buf_u8(b, ','));
    VCH_TRY(put_text(b, "description", class_help[r->who]));
    VCH_TRY(vch_buf_u8(b, ','));
    VCH_TRY(put_params(b, r));
    VCH_TRY(put_body(b, r));
    VCH_TRY(put_security(b, r->who));
    VCH_TRY(put_responses(b, r));
    return vch_buf_printf(b, "}}");
}

static const char components[] =
    "\"components\":{\"securitySchemes\":{"
    "\"vouch\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"Authorization\",\"description\":\"Vouch, a blank, and "
    "the base64 of a COSE_Sign1 over this request; docs/api.md\"},"
    "\"token\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"made by vouch token new\"},"
    "\"peer\":{\"type\":\"mutualTLS\",\"description\":\"a certificate with a registered key\"}},"
    "\"schemas\":{\"Refusal\":{\"type\":\"object\",\"required\":[\"error\",\"text\",\"hint\"],\"properties\":{"
    "\"error\":{\"type\":\"string\",\"description\":\"ERR_... as the library names it\"},"
    "\"text\":{\"type\":\"string\"},\"hint\":{\"type\":\"string\",\"description\":\"what to do next, or empty\"}}}},"
    "\"responses\":{\"Refused\":{\"description\":\"Refused: what, why, and what to do next\",\"content\":{"
    "\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/Refusal\"}}}}}}";

vch_rc api_openapi(vch_buf_t *b)
{
    VCH_TRY(vch_buf_printf(b,
                           "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Vouchsafe node\",\"version\":\"%s\","
                           "\"description\":\"Errors are JSON: error, text, hint. Numbers of entries begin at 0.\","
                           "\"license\":{\"name\":\"Apache-2.0\",\"identifier\":\"Apache-2.0\"}},"
                           "\"servers\":[{\"url\":\"/\"}],\"paths\":{",
                           VCH_VERSION_TEXT));
    for (const api_route_t *r = api_routes; r->path; r++) {
        if (r != api_routes) VCH_TRY(vch_buf_u8(b, ','));
        VCH_TRY(put_route(b, r));
    }
    return vch_buf_printf(b, "},%s}", components);
}

/* ---- docs/api.md --------------------------------------------------------------------------- */

static const char intro[] =
    "# The node's interface\n\n"
    "<!-- Made from src/api/routes.c; tests/integration/api_doc_test.c compares. -->\n\n"
    "HTTP/1.1, with TLS 1.3 everywhere but on the loopback. `GET /openapi.json` is the same as an OpenAPI 3.1 "
    "document.\n"
    "HEAD is answered wherever GET is. Parameters that a route doesn't know, that come twice, or that aren't "
    "percent-encoded as\nRFC 3986 has it are refused.\n\n"
    "A refusal is always JSON: `{\"error\":\"ERR_...\",\"text\":\"what and why\",\"hint\":\"what to do next\"}`. "
    "`error` is the library's name\nfor the result; its status follows from the table at the end. `429` and `503` with "
    "`Retry-After` may be asked again as they are;\na submission that is sent twice gets its old place.\n\n";

static const char who_asks[] =
    "## Who asks\n\n"
    "| How | What it proves |\n|---|---|\n"
    "| TLS client certificate | possession of the key in it; nothing else in the certificate counts |\n"
    "| `Authorization: Vouch <base64>` | a key signed this very request within the last 60 s |\n"
    "| `Authorization: Bearer <token>` | one of `vouch token list`, not expired: scope read, statements or operator |\n"
    "| nothing | over the loopback, or from anywhere |\n\n"
    "`Vouch` carries a COSE_Sign1 in the form that entries have (key id and algorithm in the protected header) over "
    "the\n"
    "deterministic CBOR array `[method, path with query, SHA-256 of the body, time in ms, 16-byte nonce, multicodec "
    "key]`. Each\nnonce is good once; a request signed before the node began, more than 60 s ago or more than 10 s "
    "ahead is refused, and so is\na revoked key. A key that belongs to no party may still be a subject's: then it "
    "opens "
    "what is about that subject, and\nnothing else.\n\n"
    "Whoever shares the node's machine reaches it over the loopback. A proxy on the same machine must add "
    "`X-Forwarded-For` or\n`Forwarded`, which takes that privilege from the requests that it passes on.\n\n"
    "Tokens are read from the ledger's directory at each use, so a revoked one is refused at once; settings are read "
    "again on\nreload.\n\n";

static vch_rc put_classes(vch_buf_t *b)
{
    VCH_TRY(vch_buf_printf(b, "## Classes of routes\n\n| Class | For |\n|---|---|\n"));
    for (size_t i = 0; i < CLASSES; i++) VCH_TRY(vch_buf_printf(b, "| %s | %s |\n", class_names[i], class_help[i]));
    return vch_buf_printf(b,
                          "\nEach class includes those below it. No grant opens rows in the clear or the names of "
                          "persons: rows come with `vouch access\nfetch`, which leaves out whoever has withdrawn.\n\n");
}

static vch_rc put_matrix(vch_buf_t *b)
{
    VCH_TRY(vch_buf_printf(b, "## Routes and roles\n\n| Route |"));
    for (size_t i = 0; i < ROLES; i++) VCH_TRY(vch_buf_printf(b, " %s |", roles[i].name));
    VCH_TRY(vch_buf_printf(b, "\n|---|"));
    for (size_t i = 0; i < ROLES; i++) VCH_TRY(vch_buf_printf(b, "---|"));
    VCH_TRY(vch_buf_u8(b, '\n'));
    for (const api_route_t *r = api_routes; r->path; r++) {
        VCH_TRY(vch_buf_printf(b, "| %s %s |", api_method_name(r->method), r->path));
        for (size_t i = 0; i < ROLES; i++) VCH_TRY(vch_buf_printf(b, " %s |", roles[i].cell[r->who]));
        VCH_TRY(vch_buf_u8(b, '\n'));
    }
    return vch_buf_printf(
        b,
        "\n(a) unless `read = loopback`; (b) its own grants, models and decisions, and what organisations said in "
        "entries; (c) while the\ngrant lives; (d) consents and rows of that subject alone, and entries with nothing "
        "else "
        "in them. tests/integration/\napi_roles_test.c asks each route in each role, of own and foreign datasets and "
        "subjects.\n\n");
}

static vch_rc put_details(vch_buf_t *b, const api_route_t *r)
{
    VCH_TRY(vch_buf_printf(b, "### %s %s\n\n%s. Class %s.\n\n", api_method_name(r->method), r->path, r->summary,
                           class_names[r->who]));
    for (const api_param_t *p = r->param; p && p->name; p++)
        VCH_TRY(vch_buf_printf(b, "- `%s`%s: %s\n", p->name, p->required ? "" : " (may be left out)", p->help));
    if (r->body) VCH_TRY(vch_buf_printf(b, "- body, `%s`: %s\n", r->body, r->takes));
    return vch_buf_printf(b, "- answer, `%s`: %s\n\n", r->answer, r->gives);
}

static vch_rc put_statuses(vch_buf_t *b)
{
    VCH_TRY(vch_buf_printf(b, "## Results and statuses\n\n| Status | Result |\n|---|---|\n"));
    for (size_t i = 0; api_status_list[i]; i++) {
        bool any = false;
        for (int rc = 0; rc < VCH_RC_COUNT; rc++) {
            if (api_status((vch_rc)rc) != api_status_list[i]) continue;
            VCH_TRY(any ? vch_buf_printf(b, ", %s", vch_rc_name((vch_rc)rc))
                        : vch_buf_printf(b, "| %d | %s", api_status_list[i], vch_rc_name((vch_rc)rc)));
            any = true;
        }
        if (any) VCH_TRY(vch_buf_printf(b, " |\n"));
    }
    return vch_buf_printf(
        b,
        "\nBesides: 401 for missing or refused credentials, 405 for a method that the route doesn't take, 414 and 415 "
        "for a path that\nis too long and a body of another type, 429 for whom must wait.\n");
}

vch_rc api_markdown(vch_buf_t *b)
{
    VCH_TRY(vch_buf_printf(b, "<!-- SPDX-License-Identifier: Apache-2.0 -->\n%s%s", intro, who_asks));
    VCH_TRY(put_classes(b));
    VCH_TRY(put_matrix(b));
    VCH_TRY(vch_buf_printf(b, "## Routes\n\n"));
    for (const api_route_t *r = api_routes; r->path; r++) VCH_TRY(put_details(b, r));
    return put_statuses(b);
}
