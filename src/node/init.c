/* SPDX-License-Identifier: Apache-2.0 */
/* Making a ledger.  FORMAT is written last; until then FORMAT.part marks what
 * lies there as unfinished, so that a second try may replace it, and a
 * directory that merely lost its FORMAT is never taken for one. */
#include "node/node_int.h"

#include "entry/note.h"

typedef struct {
    vch_port_t *port;
    const char *dir;
    const vch_init_t *init;
    vch_signer_t *log_key, *operator_key;
    vch_kv_t *kv;
    vch_state_t *state;
    vch_log_t *log;
    vch_arena_t arena;
    vch_buf_t statement, entry, commit;
    vch_hash_t network;
    vch_err_t *err;
} maker_t;

static vch_rc at(const maker_t *m, char ret[VCH_PATH_MAX], const char *name)
{
    vch_rc rc = vch_path(ret, "%s/%s", m->dir, name);
    return rc == VCH_OK ? rc : vch_fail(m->err, rc, "the path %.80s… is too long", m->dir);
}

/* ---- may it be made here? ---------------------------------------------------------- */

/* An origin is also the name of the checkpoint's key: no space, no plus. */
static vch_rc check_wishes(const vch_init_t *init, vch_err_t *err)
{
    const char *o = init->origin;
    size_t n = o ? strlen(o) : 0;
    if (n == 0 || n > 200 || !vch_utf8_valid(vch_slice(o, n)))
        return vch_fail(err, VCH_ERR_USAGE, "an origin has 1 to 200 bytes of UTF-8");
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)o[i] <= ' ' || o[i] == '+' || o[i] == 0x7f || (unsigned char)o[i] >= 0x80)
            return vch_fail(err, VCH_ERR_USAGE,
                            "the origin \"%.80s\" may hold no space, no '+', and printable ASCII only", o);
    if (init->grant_life_ms && (init->grant_life_ms < 1000 || init->grant_life_ms > 86400000))
        return vch_fail(err, VCH_ERR_USAGE, "a grant lives from one second to one day");
    return nd_name_check(init->operator_name, err);
}

static vch_rc exists(const maker_t *m, const char *name, bool *ret)
{
    char path[VCH_PATH_MAX];
    vch_stat_t st;
    VCH_TRY(at(m, path, name));
    vch_rc rc = m->port->disk->stat(m->port, path, &st);
    if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND)
        return vch_fail(m->err, rc, "looking for %s: %s", path, vch_rc_text(rc));
    *ret = rc == VCH_OK;
    return VCH_OK;
}

static vch_rc check_free(const maker_t *m)
{
    bool format, part, log = false, keys = false;
    VCH_TRY(exists(m, "FORMAT", &format));
    if (format) return vch_fail(m->err, VCH_ERR_CONFLICT, "%s holds a ledger already", m->dir);
    VCH_TRY(exists(m, "FORMAT.part", &part));
    if (part) return VCH_OK;
    VCH_TRY(exists(m, "log", &log));
    VCH_TRY(exists(m, "keys", &keys));
    if (!log && !keys) return VCH_OK;
    return vch_hint(m->err,
                    vch_fail(m->err, VCH_ERR_CONFLICT, "%s holds %s/ but no FORMAT file", m->dir, log ? "log" : "keys"),
                    "if a ledger lost its FORMAT file, restore that; otherwise choose an empty folder");
}

typedef struct {
    const maker_t *m;
    const char *folder;
} sweep_t;

static vch_rc sweep_one(void *ctx, const char *name)
{
    const sweep_t *s = ctx;
    char path[VCH_PATH_MAX];
    VCH_TRY(vch_path(path, "%s/%s/%s", s->m->dir, s->folder, name));
    vch_rc rc = s->m->port->disk->remove(s->m->port, path);
    return rc == VCH_ERR_NOT_FOUND ? VCH_OK : rc;
}

/* What an earlier try left: the files that would be in the way. */
static vch_rc sweep(const maker_t *m)
{
    static const char *const folders[] = {"log/seg", "state", "keys"};
    char path[VCH_PATH_MAX];
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        sweep_t s = {m, folders[i]};
        VCH_TRY(at(m, path, folders[i]));
        vch_rc rc = m->port->disk->list(m->port, path, sweep_one, &s);
        if (rc == VCH_OK) rc = m->port->disk->sync_dir(m->port, path);
        if (rc != VCH_OK && rc != VCH_ERR_NOT_FOUND)
            return vch_fail(m->err, rc, "clearing away an unfinished %s: %s", path, vch_rc_text(rc));
    }
    return VCH_OK;
}

static vch_rc put_file(const maker_t *m, const char *name, const char *text)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(at(m, path, name));
    return vch_write_atomic(m->port, path, vch_str(text), 0600, m->err);
}

/* ---- keys and genesis ------------------------------------------------------------------ */

static vch_rc make_keys(maker_t *m)
{
    char path[VCH_PATH_MAX], name[80];
    VCH_TRY(at(m, path, "keys"));
    VCH_TRY(vch_mkdirs(m->port, path, m->err));
    VCH_TRY(at(m, path, "keys/log.pem"));
    VCH_TRY(nd_key_make(m->port, path, "ed25519", NULL, &m->log_key, m->err));
    size_t n = strlen(m->init->operator_name);
    memcpy(name, "keys/", 5);
    memcpy(name + 5, m->init->operator_name, n);
    memcpy(name + 5 + n, ".pem", 5);
    VCH_TRY(at(m, path, name));
    return nd_key_make(m->port, path, m->init->algorithm, NULL, &m->operator_key, m->err);
}

static vch_rc sign_genesis(maker_t *m, vch_buf_t *fields)
{
    uint8_t salt[VCH_SALT_LEN];
    vch_entry_head_t head = {.kind = VCH_KIND_GENESIS, .sequence = 1};
    VCH_TRY(vch_random(m->port, salt, sizeof salt, m->err));
    vch_rc rc = nd_genesis_fields(fields, m->init, m->operator_key);
    if (rc == VCH_OK) rc = vch_statement_put(&m->statement, VCH_KIND_GENESIS, salt, vch_buf_slice(fields));
    if (rc != VCH_OK) return vch_fail(m->err, rc, "making the genesis statement: %s", vch_rc_text(rc));
    vch_slice_t statement = vch_buf_slice(&m->statement);
    return vch_entry_sign(&m->entry, &head, &statement, 1, m->operator_key, m->err);
}

static vch_rc apply_genesis(maker_t *m, vch_slice_t *statement, vch_time_t now)
{
    vch_tx_t tx = {vch_buf_slice(&m->entry), statement, 1};
    vch_prepared_t p;
    vch_state_info_t info;
    vch_buf_t none;
    vch_buf_init(&none, 0);
    VCH_TRY(vch_kv_open_memory(&m->kv, m->err));
    VCH_TRY(vch_state_open(&m->state, m->kv, m->err));
    VCH_TRY(vch_tx_prepare(&p, &tx, &m->arena, m->err));
    VCH_TRY(vch_state_verify(m->state, &p, m->err));
    VCH_TRY(vch_state_apply(m->state, &p, now, &none, m->err));
    VCH_TRY(vch_state_close_block(m->state, &m->commit, m->err));
    vch_state_info(m->state, &info);
    m->network = info.network;
    return VCH_OK;
}

static vch_rc write_log(maker_t *m, vch_slice_t *statement, vch_time_t now)
{
    vch_record_t record[2] = {{.entry = vch_buf_slice(&m->entry), .statements = statement, .count = 1},
                              {.entry = vch_buf_slice(&m->commit)}};
    uint64_t first;
    VCH_TRY(vch_log_create(m->port, m->dir, &m->network, m->err));
    VCH_TRY(vch_log_open(&m->log, m->port, m->dir, NULL, NULL, m->err));
    VCH_TRY(vch_log_append(m->log, 1, now, record, 2, &first, m->err));
    vch_buf_t note;
    vch_buf_init(&note, VCH_NOTE_BYTES_MAX);
    vch_rc rc = nd_checkpoint_text(&note, m->log, m->init->origin, m->log_key, 2, m->err);
    if (rc == VCH_OK) rc = vch_log_publish(m->log, 2, vch_buf_slice(&note), m->err);
    vch_buf_free(&note);
    return rc;
}

/* ---- the small files ----------------------------------------------------------------------- */

static vch_rc write_trust(const maker_t *m)
{
    vch_buf_t text;
    vch_buf_init(&text, 4096);
    vch_rc rc = vch_buf_printf(&text, "log ");
    if (rc == VCH_OK) rc = vch_vkey_put(&text, m->init->origin, VCH_NOTE_ED25519, vch_signer_public(m->log_key)->b + 2);
    if (rc == VCH_OK) rc = vch_buf_printf(&text, "\nquorum none\n");
    if (rc == VCH_OK) rc = vch_buf_u8(&text, 0);
    rc = rc == VCH_OK ? put_file(m, "trust.policy", (const char *)text.p)
                      : vch_fail(m->err, rc, "making trust.policy: %s", vch_rc_text(rc));
    vch_buf_free(&text);
    return rc;
}

vch_rc nd_format_put(vch_port_t *port, const char *dir, const vch_hash_t *network, vch_err_t *err)
{
    char hex[65], text[96] = "vouchsafe 1\nnetwork ", path[VCH_PATH_MAX];
    vch_hex(hex, network->b, 32);
    memcpy(text + 20, hex, 64);
    memcpy(text + 84, "\n", 2);
    if (vch_path(path, "%s/FORMAT", dir) != VCH_OK) return vch_fail(err, VCH_ERR_LIMIT, "the path is too long");
    return vch_write_atomic(port, path, vch_str(text), 0600, err);
}

static vch_rc write_format(const maker_t *m)
{
    char path[VCH_PATH_MAX];
    VCH_TRY(nd_format_put(m->port, m->dir, &m->network, m->err));
    VCH_TRY(at(m, path, "FORMAT.part"));
    (void)m->port->disk->remove(m->port, path); /* beside a FORMAT it means nothing */
    return VCH_OK;
}

static vch_rc make(maker_t *m)
{
    vch_buf_t fields;
    vch_time_t now = {m->port->clock->wall_ms(m->port)};
    VCH_TRY(check_free(m));
    VCH_TRY(put_file(m, "FORMAT.part", "unfinished\n"));
    VCH_TRY(sweep(m));
    VCH_TRY(make_keys(m));
    vch_buf_init(&fields, VCH_TX_BYTES_MAX);
    vch_rc rc = sign_genesis(m, &fields);
    vch_buf_free(&fields);
    if (rc != VCH_OK) return rc;
    vch_slice_t statement = vch_buf_slice(&m->statement);
    VCH_TRY(apply_genesis(m, &statement, now));
    VCH_TRY(write_log(m, &statement, now));
    VCH_TRY(write_trust(m));
    VCH_TRY(put_file(m, "vouch.conf", nd_conf_default));
    VCH_TRY(nd_settings_keep(m->port, m->dir, m->err));
    return write_format(m);
}

static void maker_free(maker_t *m)
{
    vch_log_close(m->log);
    vch_state_free(m->state);
    if (m->kv) vch_kv_close(m->kv);
    vch_signer_free(m->log_key);
    vch_signer_free(m->operator_key);
    vch_arena_free(&m->arena);
    vch_buf_free(&m->statement);
    vch_buf_free(&m->entry);
    vch_buf_free(&m->commit);
}

static vch_rc make_locked(maker_t *m)
{
    char path[VCH_PATH_MAX];
    vch_file_t *lock = NULL;
    VCH_TRY(at(m, path, "lock"));
    VCH_TRY(vch_file_open(m->port, &lock, path, VCH_OPEN_CREATE, m->err));
    vch_rc rc = m->port->disk->lock(m->port, lock, VCH_LOCK_EXCLUSIVE, 0);
    rc = rc == VCH_OK ? make(m) : vch_fail(m->err, rc, "locking %s: %s", path, vch_rc_text(rc));
    vch_file_close(m->port, lock);
    return rc;
}

vch_rc vch_ledger_init_on(vch_port_t *port, const char *dir, const vch_init_t *init, vch_err_t *err)
{
    maker_t m = {.port = port, .dir = dir, .init = init, .err = err};
    VCH_TRY(check_wishes(init, err));
    vch_rc rc = vch_crypto_start();
    if (rc != VCH_OK) return vch_fail(err, rc, "the cryptography library did not start");
    VCH_TRY(vch_mkdirs(port, dir, err));
    vch_arena_init(&m.arena, 16u << 20);
    vch_buf_init(&m.statement, VCH_TX_BYTES_MAX);
    vch_buf_init(&m.entry, VCH_ENTRY_BYTES_MAX);
    vch_buf_init(&m.commit, 4096);
    rc = make_locked(&m);
    maker_free(&m);
    return nd_told(rc, err);
}

vch_rc vch_ledger_init(const char *dir, const vch_init_t *init, vch_err_t *err)
{
    return vch_ledger_init_on(vch_port_real(), dir, init, err);
}
