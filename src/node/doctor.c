/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor: looks at a ledger's directory and its machine, changes nothing,
 * and says for each symptom what to do.  The truth of the data is the check's
 * business (check.c); here it is about what will hurt tomorrow. */
#include <lmdb.h>
#include <openssl/crypto.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>

#include "entry/note.h"
#include "node/node_int.h"
#include "vouchsafe/ops.h"

#define MINUTE_MS 60000u
#define FORMAT_NOW 1

typedef struct {
    vch_port_t *port;
    const char *dir;
    vch_ledger_t *l; /* NULL when it doesn't open */
    vch_ledger_info_t info;
    vch_symptom_fn fn;
    void *ctx;
    vch_health_t worst;
    const char *what; /* being looked at */
    char fix[200];
} doctor_t;

static void say(doctor_t *d, vch_health_t health, const char *fix, const char *text)
{
    vch_symptom_t s = {.what = d->what, .health = health, .text = text, .fix = fix};
    if (health > d->worst) d->worst = health;
    if (d->fn) d->fn(d->ctx, &s);
}

VCH_PRINTF(4, 5) static void told(doctor_t *d, vch_health_t health, const char *fix, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    say(d, health, fix, text);
}

static bool there(const doctor_t *d, const char *name, vch_stat_t *ret)
{
    char path[VCH_PATH_MAX];
    return vch_path(path, "%s/%s", d->dir, name) == VCH_OK && d->port->disk->stat(d->port, path, ret) == VCH_OK;
}

/* ---- the machine ------------------------------------------------------------------- */

static void look_at_disk(doctor_t *d)
{
    uint64_t free_bytes, keep = d->l ? d->l->min_free_bytes : 256u << 20;
    vch_rc rc = d->port->disk->free_space(d->port, d->dir, &free_bytes);
    unsigned long long mib = free_bytes >> 20, kept = keep >> 20;
    if (rc != VCH_OK)
        told(d, VCH_BROKEN, "look at the disk and its mount", "free space can't be read: %s", vch_rc_text(rc));
    else if (free_bytes < keep)
        told(d, VCH_BROKEN, "free some space; until then every write is refused, and nothing is lost",
             "%llu MiB are free, %llu are kept free, so nothing can be written", mib, kept);
    else if (free_bytes / 4 < keep)
        told(d, VCH_WORRYING, "free some space, or move the ledger to a larger disk", "only %llu MiB are free", mib);
    else
        told(d, VCH_HEALTHY, "", "%llu MiB are free", mib);
}

static void look_at_clock(doctor_t *d)
{
    uint64_t now = d->port->clock->wall_ms(d->port), newest = d->info.time.ms;
    if (newest > now + MINUTE_MS)
        told(d, VCH_BROKEN, "set the clock right; new blocks keep the newest one's time until it catches up",
             "the clock is %llu s behind the newest block", (unsigned long long)((newest - now) / 1000));
    else if (newest > now)
        told(d, VCH_WORRYING, "let a time service keep the clock", "the clock is %llu ms behind the newest block",
             (unsigned long long)(newest - now));
    else
        say(d, VCH_HEALTHY, "", "not behind the newest block");
}

static void look_at_versions(doctor_t *d)
{
    told(d, VCH_HEALTHY, "", "vouch %s, directory format %d, libsodium %s, %s, %s", vch_version(), FORMAT_NOW,
         sodium_version_string(), OpenSSL_version(OPENSSL_VERSION), mdb_version(NULL, NULL, NULL));
}

/* ---- keys and who may read them -------------------------------------------------------- */

static vch_rc look_at_key(void *ctx, const char *name)
{
    doctor_t *d = ctx;
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    if (vch_path(path, "keys/%s", name) != VCH_OK || !there(d, path, &st) || !(st.mode & 077u)) return VCH_OK;
    (void)snprintf(d->fix, sizeof d->fix, "chmod go= %.100s; if anybody else can log in here, rotate the key too",
                   path);
    told(d, VCH_BROKEN, d->fix, "others than its owner may use %.100s (mode %04o)", path, st.mode);
    return VCH_OK;
}

static void look_at_permissions(doctor_t *d)
{
    static const char *const folder[] = {"custody", "data", "decisions", "vault"};
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    vch_health_t before = d->worst;
    d->worst = VCH_HEALTHY;
    if (vch_path(path, "%s/keys", d->dir) == VCH_OK) (void)d->port->disk->list(d->port, path, look_at_key, d);
    for (size_t i = 0; i < sizeof folder / sizeof *folder; i++)
        if (there(d, folder[i], &st) && (st.mode & 07u))
            told(d, VCH_WORRYING, "chmod o= on it, and on the ledger's directory",
                 "everybody on this machine may look into %s/", folder[i]);
    if (d->worst == VCH_HEALTHY) say(d, VCH_HEALTHY, "", "keys and records belong to their owner alone");
    if (before > d->worst) d->worst = before;
}

static void look_at_keys(doctor_t *d)
{
    char path[VCH_PATH_MAX];
    uint8_t trusted[32];
    vch_err_t why = {0};
    vch_signer_t *key = NULL;
    vch_rc rc = vch_path(path, "%s/keys/log.pem", d->dir);
    if (rc == VCH_OK) rc = nd_key_load(d->port, path, NULL, &key, &why);
    if (rc == VCH_OK) rc = nd_trust_key(d->port, d->dir, d->info.origin, trusted, &why);
    if (rc == VCH_OK && memcmp(vch_signer_public(key)->b + 2, trusted, 32) != 0)
        rc = vch_fail(&why, VCH_ERR_KEY, "keys/log.pem is not the log's key in trust.policy");
    vch_signer_free(key);
    if (rc == VCH_OK)
        say(d, VCH_HEALTHY, "", "the log's key is here, and trust.policy names it");
    else
        told(d, VCH_BROKEN,
             "restore keys/log.pem from where keys are kept; a new key needs a new name (vouch backup restore "
             "--new-origin)",
             "no checkpoint can be signed: %.200s", why.text);
}

/* ---- the ledger --------------------------------------------------------------------------- */

static void look_at_checkpoint(doctor_t *d)
{
    uint64_t now = d->port->clock->wall_ms(d->port), behind = d->info.size - d->info.checkpoint_size;
    uint64_t age_s = now > d->info.time.ms ? (now - d->info.time.ms) / 1000 : 0;
    if (behind && age_s > 60)
        told(d, VCH_WORRYING, "vouch log head signs one; a running vouch serve does so by itself",
             "%llu entries are under no signed checkpoint, the newest for %llu s", (unsigned long long)behind,
             (unsigned long long)age_s);
    else
        told(d, VCH_HEALTHY, "", "%llu of %llu entries are under a signed checkpoint; the newest block is %llu s old",
             (unsigned long long)d->info.checkpoint_size, (unsigned long long)d->info.size, (unsigned long long)age_s);
}

static void look_at_index(doctor_t *d)
{
    vch_stat_t st;
    if (!there(d, "state/data.mdb", &st))
        say(d, VCH_WORRYING, "open the ledger for writing once, e.g. vouch log head",
            "state/ is missing and is rebuilt at each opening");
    else if (!nd_sum_good(d->port, d->dir))
        say(d, VCH_WORRYING, "nothing; to have it done now: vouch check --repair",
            "state/ is not as it was saved; the next opening rebuilds it");
    else
        told(d, VCH_HEALTHY, "", "state/ is as it was saved, %llu MiB", (unsigned long long)(st.size >> 20));
}

static vch_rc count_one(void *ctx, const char *name)
{
    (void)name;
    ++*(size_t *)ctx;
    return VCH_OK;
}

static void look_at_leftovers(doctor_t *d)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    size_t n = 0;
    if (there(d, "RESTORED", &st))
        say(d, VCH_BROKEN, "vouch log mirror URL catches up; or restore it under a new name",
            "the ledger was restored from a backup and must not write yet");
    if (vch_path(path, "%s/quarantine", d->dir) == VCH_OK) (void)d->port->disk->list(d->port, path, count_one, &n);
    if (n)
        told(d, VCH_WORRYING, "look at them, keep a copy elsewhere, then remove them",
             "quarantine/ holds %zu files that recovery put aside", n);
    else
        say(d, VCH_HEALTHY, "", "recovery put nothing aside");
}

static void judge_witnesses(doctor_t *d, const vch_trust_t *t)
{
    size_t witnesses = 0, mute = 0;
    for (size_t i = 0; i < t->nodes; i++) {
        if (t->node[i].is_group) continue;
        witnesses++;
        if (t->node[i].url.n == 0) mute++;
    }
    if (witnesses == 0)
        say(d, VCH_WORRYING, "have others run vouch witness, and name them in trust.policy",
            "trust.policy names no witness: times and the log's history are the operator's word");
    else if (mute)
        told(d, VCH_WORRYING, "add the witness's URL behind its key in trust.policy",
             "%zu of %zu witnesses have no URL, so nobody asks them", mute, witnesses);
    else
        told(d, VCH_HEALTHY, "", "%zu witnesses are named, each with a URL", witnesses);
}

static void look_at_witnesses(doctor_t *d)
{
    char path[VCH_PATH_MAX];
    vch_err_t why = {0};
    vch_buf_t text;
    vch_trust_t *t = vch_alloc(sizeof *t);
    vch_buf_init(&text, ND_SMALL_FILE_MAX);
    vch_rc rc = t ? vch_path(path, "%s/trust.policy", d->dir) : VCH_ERR_MEMORY;
    if (rc == VCH_OK) rc = vch_read_all(d->port, &text, path, ND_SMALL_FILE_MAX, &why);
    if (rc == VCH_OK) rc = vch_trust_get(t, vch_buf_slice(&text), &why);
    if (rc == VCH_OK)
        judge_witnesses(d, t);
    else
        told(d, VCH_BROKEN, "mend trust.policy, or restore it from a backup", "trust.policy: %.200s", why.text);
    vch_buf_free(&text);
    vch_free(t);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static vch_rc open_it(doctor_t *d, vch_err_t *err)
{
    vch_hash_t network;
    vch_err_t why = {0};
    vch_rc rc = nd_format_read(d->port, d->dir, &network, &why);
    if (rc == VCH_ERR_NOT_FOUND) {
        if (err) *err = why;
        return rc;
    }
    if (rc == VCH_OK) rc = vch_ledger_open_on(&d->l, d->port, d->dir, VCH_LEDGER_READ_ONLY, &why);
    if (rc == VCH_OK) rc = vch_ledger_info(d->l, &d->info, &why);
    d->what = "ledger";
    if (rc != VCH_OK)
        told(d, VCH_BROKEN, why.hint[0] ? why.hint : "vouch check names what is damaged", "it does not open: %.200s",
             why.text);
    else
        told(d, VCH_HEALTHY, "", "%llu entries in %llu blocks", (unsigned long long)d->info.size,
             (unsigned long long)d->info.height);
    return VCH_OK;
}

typedef struct {
    const char *what;
    void (*look)(doctor_t *);
    bool needs_ledger;
} look_t;

static const look_t looks[] = {
    {"disk", look_at_disk, false},
    {"permissions", look_at_permissions, false},
    {"versions", look_at_versions, false},
    {"witnesses", look_at_witnesses, false},
    {"leftovers", look_at_leftovers, false},
    {"index", look_at_index, false},
    {"clock", look_at_clock, true},
    {"keys", look_at_keys, true},
    {"checkpoint", look_at_checkpoint, true},
};

vch_rc vch_doctor(const char *dir, vch_symptom_fn fn, void *ctx, vch_health_t *ret_worst, vch_err_t *err)
{
    doctor_t d = {.port = vch_port_real(), .dir = dir, .fn = fn, .ctx = ctx};
    if (vch_crypto_start() != VCH_OK) return vch_fail(err, VCH_ERR_INTERNAL, "the cryptography library did not start");
    VCH_TRY(open_it(&d, err));
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        d.what = looks[i].what;
        if (d.l || !looks[i].needs_ledger) looks[i].look(&d);
    }
    vch_rc rc = vch_ledger_close(d.l, err);
    if (rc == VCH_OK) *ret_worst = d.worst;
    return rc;
}
