/* SPDX-License-Identifier: Apache-2.0 */
/* What everybody may know, and the log as plain files. */
#include "api/api_int.h"
#include "codec/text.h"
#include "entry/note.h"
#include "merkle/tree.h"

#define JSON "application/json"
#define QUORUM_PATIENCE_MS 600000u
#define LONG "max-age=31536000, immutable"

/* ---- this node ----------------------------------------------------------------------- */

vch_rc api_get_info(api_call_t *c)
{
    VCH_TRY(vch_info_into(c->l, c->api->version, &c->res->body, &c->err));
    api_answer(c, 200, JSON, NULL);
    return VCH_OK;
}

vch_rc api_get_live(api_call_t *c)
{
    api_answer(c, 200, JSON, NULL);
    return vch_buf_printf(&c->res->body, "{\"live\":true}");
}

/* What the daemon says comes first: it also knows of witnesses. */
vch_rc api_check_ready(api_t *api, vch_err_t *err)
{
    vch_rc rc = VCH_OK;
    pthread_mutex_lock(&api->mutex);
    if (!api->ready) rc = vch_fail(err, VCH_ERR_UNREACHABLE, "%s", api->why[0] ? api->why : "this node is not ready");
    pthread_mutex_unlock(&api->mutex);
    return rc == VCH_OK ? vch_ledger_ready(api->l, err) : rc;
}

static vch_rc check_quorum(api_t *api, vch_err_t *err)
{
    uint64_t boot = api->l->port->clock->boot_ms(api->l->port);
    vch_rc rc = VCH_OK;
    pthread_mutex_lock(&api->mutex);
    if (api->gathered && !api->quorum && boot - api->quorum_boot >= QUORUM_PATIENCE_MS)
        rc = vch_hint(err,
                      vch_fail(err, VCH_ERR_QUORUM, "for %llu minutes %u of %u witnesses were too few for a quorum",
                               (unsigned long long)(boot - api->quorum_boot) / 60000, api->cosigned, api->witnesses),
                      "submissions are taken, but nothing new is committed");
    pthread_mutex_unlock(&api->mutex);
    return rc;
}

vch_rc api_get_ready(api_call_t *c)
{
    vch_rc rc = api_check_ready(c->api, &c->err);
    if (rc == VCH_OK) rc = check_quorum(c->api, &c->err);
    if (rc != VCH_OK) {
        c->status = 503;
        c->res->retry_after_s = 10;
        return rc;
    }
    api_answer(c, 200, JSON, NULL);
    return vch_buf_printf(&c->res->body, "{\"ready\":true}");
}

vch_rc api_get_openapi(api_call_t *c)
{
    api_answer(c, 200, JSON, "public, max-age=300");
    return api_openapi(&c->res->body);
}

/* ---- the log --------------------------------------------------------------------------- */

vch_rc api_get_checkpoint(api_call_t *c)
{
    VCH_TRY(vch_checkpoint_into(c->l, &c->res->body, &c->err));
    api_answer(c, 200, "text/plain; charset=utf-8", "public, max-age=1");
    return VCH_OK;
}

typedef struct {
    int level; /* -1: a bundle of entries */
    uint64_t n;
    unsigned width;
} tile_t;

static bool take_text(const char **at, const char *text)
{
    size_t n = strlen(text);
    if (strncmp(*at, text, n) != 0) return false;
    *at += n;
    return true;
}

/* Digits up to `end`, at most `max` of them. */
static bool take_number(const char **at, size_t max, uint64_t *ret)
{
    size_t n = strspn(*at, "0123456789");
    if (n == 0 || n > max || vch_decimal_get(ret, vch_slice(*at, n)) != VCH_OK) return false;
    *at += n;
    return true;
}

/* "x001/x234/067" is 1234067. */
static bool take_groups(const char **at, uint64_t *ret)
{
    uint64_t n = 0;
    for (unsigned groups = 0; groups < 6; groups++) {
        bool more = take_text(at, "x");
        for (unsigned i = 0; i < 3; i++, ++*at) {
            if (**at < '0' || **at > '9') return false;
            n = 10 * n + (unsigned)(**at - '0');
        }
        if (more && !take_text(at, "/")) return false;
        *ret = n;
        if (!more) return true;
    }
    return false;
}

/* Loosely read, then written again: only the one right name is the same. */
static bool tile_get(tile_t *t, const char *name)
{
    char right[80];
    const char *at = name;
    uint64_t level = 0, width = 256;
    bool bundle = take_text(&at, "entries");
    if (!bundle && !take_number(&at, 2, &level)) return false;
    if (!take_text(&at, "/") || !take_groups(&at, &t->n)) return false;
    if (take_text(&at, ".p/") && (!take_number(&at, 3, &width) || width > 255)) return false;
    t->level = bundle ? -1 : (int)level;
    t->width = (unsigned)width;
    if (vch_tile_path(right, sizeof right, t->level, t->n, t->width) != VCH_OK) return false;
    return strcmp(right + strlen("tile/"), name) == 0;
}

vch_rc api_get_tile(api_call_t *c)
{
    tile_t t;
    bool is_public = atomic_load(&c->api->read) == VCH_READ_PUBLIC;
    if (!tile_get(&t, api_get(c, "tile")))
        return vch_hint(&c->err, vch_fail(&c->err, VCH_ERR_NOT_FOUND, "this names no tile"),
                        "LEVEL/N, .p/WIDTH behind a partial one, N like x001/x234/067");
    VCH_TRY(vch_tile_into(c->l, t.level, t.n, t.width, &c->res->body, &c->err));
    api_answer(c, 200, "application/octet-stream", is_public ? "public, " LONG : "private, " LONG);
    return VCH_OK;
}
