/* SPDX-License-Identifier: Apache-2.0 */
/* From one guard to another.
 *
 *   1  guard.conf.new is there, and its guard opens
 *   2  a fresh root key under it is put in force (seeds.c)
 *   3  both guards settle: the old one's key is destroyed; then the old slot becomes zeros
 *   4  guard.conf.new becomes guard.conf
 *
 * Cut off after 2, only guard.conf.new opens the store, and the old slot still
 * says what is to be destroyed: doing it again goes through 2 to 4 once more. */
#include "crypto/keys.h"
#include "node/guard_int.h"
#include "node/node_int.h"

#define NEW_CONF "guard.conf.new"

/* ---- two guards as one ------------------------------------------------------------------ */

static vch_rc pair_wrap(void *ctx, vch_buf_t *ret, const uint8_t key[32], vch_err_t *err)
{
    const vch_seeds_guard_t *next = &((gd_pair_t *)ctx)->next->seeds;
    return next->wrap(next->ctx, ret, key, err);
}

static vch_rc pair_unwrap(void *ctx, uint8_t ret[32], vch_slice_t wrapped, vch_err_t *err)
{
    const gd_pair_t *p = ctx;
    vch_rc rc = VCH_ERR_KEY;
    bool was = gd_is(p->was->kind, wrapped), next = gd_is(p->next->kind, wrapped);
    if (!was && !next)
        return vch_fail(err, VCH_ERR_KEY,
                        "the root key is under neither the guard of guard.conf nor that of " NEW_CONF);
    if (was) rc = p->was->seeds.unwrap(p->was->seeds.ctx, ret, wrapped, err);
    if (rc == VCH_ERR_KEY && next) rc = p->next->seeds.unwrap(p->next->seeds.ctx, ret, wrapped, err);
    return rc;
}

static vch_rc pair_settle(void *ctx, vch_slice_t now, vch_slice_t was, vch_err_t *err)
{
    const gd_pair_t *p = ctx;
    const vch_seeds_guard_t *each[2] = {&p->was->seeds, &p->next->seeds};
    for (unsigned i = 0; i < 2; i++)
        if (each[i]->settle) VCH_TRY(each[i]->settle(each[i]->ctx, now, was, err));
    return VCH_OK;
}

void gd_pair(gd_pair_t *ret, const vch_guard_t *was, const vch_guard_t *next)
{
    *ret = (gd_pair_t){.was = was, .next = next};
    ret->guard.kind = next->kind;
    ret->guard.seeds = (vch_seeds_guard_t){
        .wrap = pair_wrap, .unwrap = pair_unwrap, .ctx = ret, .settle = pair_settle, .destroys = next->seeds.destroys};
}

/* ---- the folder ------------------------------------------------------------------------------ */

static vch_rc exists(vch_port_t *port, const char *dir, const char *name, bool *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    vch_rc rc = vch_path(path, "%s/%s", dir, name);
    if (rc == VCH_OK) rc = port->disk->stat(port, path, &st);
    *ret = rc == VCH_OK;
    return rc == VCH_OK || rc == VCH_ERR_NOT_FOUND ? VCH_OK : vch_fail(err, rc, "%s: %s", name, vch_rc_text(rc));
}

static vch_rc put_settings(vch_port_t *port, const char *dir, const char *settings, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_rc rc = vch_path(path, "%s/" NEW_CONF, dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    return vch_write_atomic(port, path, vch_str(settings), 0600, err);
}

static vch_rc take_effect(vch_port_t *port, const char *dir, vch_err_t *err)
{
    char from[VCH_PATH_MAX], to[VCH_PATH_MAX];
    vch_rc rc = vch_path(from, "%s/" NEW_CONF, dir);
    if (rc == VCH_OK) rc = vch_path(to, "%s/guard.conf", dir);
    if (rc == VCH_OK) rc = port->disk->rename(port, from, to);
    if (rc == VCH_OK) rc = port->disk->sync_dir(port, dir);
    return rc == VCH_OK ? rc : vch_fail(err, rc, NEW_CONF " can't become guard.conf: %s", vch_rc_text(rc));
}

static vch_rc count(void *ctx, const vch_hash_t *extent)
{
    void *const *at = ctx;
    vch_rewrap_t *r = at[1];
    r->extents++;
    r->destroys += vch_seeds_destroys(at[0], extent);
    return VCH_OK;
}

/* What has failed up to here, with settings brought along, has left nothing behind. */
static vch_rc put_in_force(vch_port_t *port, const char *dir, const char *settings, const gd_pair_t *pair,
                           vch_rewrap_t *ret, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_seeds_t *s;
    vch_rc rc = vch_path(path, "%s/seeds", dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    VCH_TRY(vch_seeds_open(&s, port, path, &pair->guard.seeds, err));
    if (settings) rc = put_settings(port, dir, settings, err);
    if (rc == VCH_OK) rc = vch_seeds_rewrap(s, err);
    void *at[2] = {s, ret};
    if (rc == VCH_OK) rc = vch_seeds_each(s, count, at, err);
    vch_seeds_close(s);
    return rc;
}

static vch_rc new_conf(gd_conf_t *ret, vch_port_t *port, const char *dir, const char *settings, vch_err_t *err)
{
    bool there;
    VCH_TRY(exists(port, dir, NEW_CONF, &there, err));
    if (there && settings) {
        vch_fail(err, VCH_ERR_CONFLICT, NEW_CONF " is there already: a rewrap may have been cut off");
        return vch_hint(err, VCH_ERR_CONFLICT, "finish that one: the same command without settings");
    }
    if (there) return gd_conf_read(ret, port, dir, NEW_CONF, err);
    if (settings) return gd_conf_get(ret, vch_str(settings), NEW_CONF, err);
    vch_fail(err, VCH_ERR_NOT_FOUND, "no " NEW_CONF " in %.300s says which guard it is to be", dir);
    return vch_hint(err, VCH_ERR_NOT_FOUND, "say it with --guard, or write that file (docs/vault.md)");
}

static vch_rc rewrap(vch_port_t *port, const char *dir, const char *settings, vch_rewrap_t *ret, vch_err_t *err)
{
    vch_guard_t *was = NULL, *next = NULL;
    gd_conf_t conf;
    gd_pair_t pair;
    VCH_TRY(new_conf(&conf, port, dir, settings, err));
    vch_rc rc = gd_open(&next, port, dir, &conf, err);
    if (rc == VCH_OK) rc = vch_guard_open(&was, port, dir, err);
    if (rc == VCH_OK) {
        gd_pair(&pair, was, next);
        *ret = (vch_rewrap_t){.was = was->kind, .now = next->kind};
        rc = put_in_force(port, dir, settings, &pair, ret, err);
    }
    vch_guard_close(was);
    vch_guard_close(next);
    return rc == VCH_OK ? take_effect(port, dir, err) : rc;
}

vch_rc vch_guard_rewrap(vch_port_t *port, const char *dir, const char *settings, vch_rewrap_t *ret, vch_err_t *err)
{
    bool there;
    vch_rewrap_t done = {.extents = 0};
    VCH_TRY(exists(port, dir, "seeds/root", &there, err));
    if (!there) return vch_fail(err, VCH_ERR_NOT_FOUND, "%.300s is no trustee's folder: no seeds/root in it", dir);
    VCH_TRY(rewrap(port, dir, settings, &done, err));
    *ret = done;
    return VCH_OK;
}

vch_rc vch_guard_told(vch_port_t *port, const char *dir, vch_rc rc, vch_err_t *err)
{
    bool there;
    if (rc != VCH_ERR_KEY || exists(port, dir, NEW_CONF, &there, NULL) != VCH_OK || !there) return rc;
    (void)vch_context(err, rc, "a rewrap may have been cut off (" NEW_CONF ")");
    return vch_hint(err, rc, "finish it: vouch trustee rewrap");
}

vch_rc vch_trustee_rewrap(const char *dir, const char *settings, vch_text_t *ret_json, vch_err_t *err)
{
    vch_rewrap_t r = {.extents = 0};
    vch_buf_t b;
    VCH_TRY(vch_guard_rewrap(vch_port_real(), dir, settings, &r, err));
    vch_buf_init(&b, 1024);
    vch_rc rc = vch_buf_printf(&b, "{\"was\":\"%s\",\"now\":\"%s\",\"extents\":%llu,\"of grade A\":%llu}",
                               vch_guard_name(r.was), vch_guard_name(r.now), (unsigned long long)r.extents,
                               (unsigned long long)r.destroys);
    if (rc == VCH_OK) rc = vch_text_take(ret_json, &b);
    vch_buf_free(&b);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "it is done, but can't be told: %s", vch_rc_text(rc));
}
