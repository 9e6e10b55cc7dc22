/* SPDX-License-Identifier: Apache-2.0 */
/* Withdrawals that the ledger doesn't have yet: an owner's signed word is enough
 * to hold that subject's rows back, from now until the ledger says as much.
 *
 *   held    dataset 32 ‖ u32 subject ‖ u32 serial ‖ u32 crc32c, appended and synced
 *
 * What is signed is judged as if it were the next entry of the ledger, so a
 * stranger's word, another key's, or an old one holds nothing back. */
#include "node/erasure.h"
#include "node/node_int.h"
#include "node/trustee_int.h"

#define RECORD 44u
#define HELD_MAX (1u << 20)

static vch_rc no_memory(vch_err_t *err) { return vch_fail(err, VCH_ERR_MEMORY, "out of memory"); }

/* ---- the list ------------------------------------------------------------------------------ */

static vch_rc add(vch_trustee_t *t, const held_back_t *one, vch_err_t *err)
{
    if (t->held_n == t->held_cap) {
        size_t cap = t->held_cap ? 2 * t->held_cap : 16;
        if (cap > HELD_MAX) return vch_fail(err, VCH_ERR_LIMIT, "too many withdrawals wait for the ledger");
        held_back_t *more = vch_resize(t->held, cap * sizeof *more);
        if (!more) return no_memory(err);
        t->held = more;
        t->held_cap = cap;
    }
    t->held[t->held_n++] = *one;
    return VCH_OK;
}

static vch_rc take_records(vch_trustee_t *t, vch_slice_t b, vch_err_t *err)
{
    for (size_t at = 0; at + RECORD <= b.n; at += RECORD) {
        const uint8_t *p = b.p + at;
        held_back_t one = {.subject = vch_get_u32(p + 32), .serial = vch_get_u32(p + 36)};
        if (vch_crc32c(0, p, 40) != vch_get_u32(p + 40)) {
            if (at + 2 * RECORD > b.n) return VCH_OK; /* cut off: never acknowledged */
            return vch_fail(err, VCH_ERR_CORRUPT, "%s/held, byte %zu: damaged", t->dir, at);
        }
        memcpy(one.dataset.b, p, 32);
        t->held_bytes = at + RECORD;
        VCH_TRY(add(t, &one, err));
    }
    return VCH_OK;
}

vch_rc tr_load_held(vch_trustee_t *t, vch_err_t *err)
{
    char path[VCH_PATH_MAX];
    vch_buf_t b;
    vch_rc rc = vch_path(path, "%s/held", t->dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    vch_buf_init(&b, (size_t)HELD_MAX * RECORD);
    rc = vch_read_all(t->l->port, &b, path, b.max, err);
    if (rc == VCH_OK) rc = take_records(t, vch_buf_slice(&b), err);
    vch_buf_free(&b);
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    if (err) *err = (vch_err_t){.rc = VCH_OK};
    return VCH_OK;
}

static vch_rc append(vch_trustee_t *t, vch_slice_t records, vch_err_t *err)
{
    vch_port_t *port = t->l->port;
    char path[VCH_PATH_MAX];
    vch_file_t *file;
    vch_rc rc = vch_path(path, "%s/held", t->dir);
    if (rc != VCH_OK) return vch_fail(err, rc, "the path is too long");
    VCH_TRY(vch_file_open(port, &file, path, VCH_OPEN_CREATE, err));
    rc = port->disk->write(port, file, records.p, records.n, t->held_bytes);
    if (rc == VCH_OK) rc = port->disk->sync(port, file);
    if (rc == VCH_OK) rc = port->disk->sync_dir(port, t->dir);
    vch_file_close(port, file);
    if (rc != VCH_OK) return vch_fail(err, rc, "a withdrawal can't be kept: %s", vch_rc_text(rc));
    t->held_bytes += records.n;
    return VCH_OK;
}

/* ---- a withdrawal -------------------------------------------------------------------------------- */

static vch_rc read_held(held_back_t *ret, const vch_statement_t *st)
{
    uint64_t subject, serial;
    VCH_TRY(vch_field_fixed(st->fields, VCH_F_CONSENT_DATASET, ret->dataset.b, 32));
    VCH_TRY(vch_field_uint(st->fields, VCH_F_CONSENT_SUBJECT, &subject));
    VCH_TRY(vch_field_uint(st->fields, VCH_F_CONSENT_SERIAL, &serial));
    ret->subject = (uint32_t)subject;
    ret->serial = (uint32_t)serial;
    return VCH_OK;
}

static vch_rc put_record(vch_buf_t *b, const held_back_t *one)
{
    uint8_t *p;
    VCH_TRY(vch_buf_extend(b, RECORD, &p));
    memcpy(p, one->dataset.b, 32);
    vch_put_u32(p + 32, one->subject);
    vch_put_u32(p + 36, one->serial);
    vch_put_u32(p + 40, vch_crc32c(0, p, 40));
    return VCH_OK;
}

/* Durable, then in force. */
static vch_rc hold_back(vch_trustee_t *t, const vch_prepared_t *p, vch_err_t *err)
{
    vch_buf_t b;
    vch_buf_init(&b, (size_t)p->tx.count * RECORD);
    vch_rc rc = VCH_OK;
    for (uint32_t i = 0; rc == VCH_OK && i < p->tx.count; i++) {
        held_back_t one;
        rc = read_held(&one, &p->statement[i]);
        if (rc == VCH_OK) rc = put_record(&b, &one);
    }
    if (rc != VCH_OK) rc = vch_fail(err, rc, "the withdrawal can't be read");
    if (rc == VCH_OK) rc = append(t, vch_buf_slice(&b), err);
    for (uint32_t i = 0; rc == VCH_OK && i < p->tx.count; i++) {
        held_back_t one;
        rc = read_held(&one, &p->statement[i]);
        if (rc == VCH_OK) rc = add(t, &one, err);
    }
    vch_buf_free(&b);
    if (t->permitted.known) vch_use_close(&t->permitted.use);
    t->permitted.known = false;
    return rc;
}

/* Between read_begin and _end. *ret_known: the ledger has it already. */
static vch_rc judge(vch_trustee_t *t, vch_prepared_t *p, bool *ret_known, vch_err_t *err)
{
    vch_state_info_t info;
    uint64_t ignored, wall = t->l->port->clock->wall_ms(t->l->port);
    vch_rc rc = vch_state_find(t->l->state, &p->entry.id, &ignored);
    *ret_known = rc == VCH_OK;
    if (rc != VCH_ERR_NOT_FOUND) return rc;
    VCH_TRY(vch_state_verify(t->l->state, p, err));
    vch_state_info(t->l->state, &info);
    uint64_t now = info.open_count || wall < info.time.ms ? info.time.ms : wall;
    return vch_state_try(t->l->state, p, (vch_time_t){now}, err);
}

/* To the ledger, for whoever couldn't get it there.  It is held back whatever
 * becomes of that. */
static void pass_on(vch_trustee_t *t, vch_slice_t bytes)
{
    const uint8_t *const one[] = {bytes.p};
    vch_receipt_t receipt;
    vch_rc refused, rc = vch_submit(t->home, one, &bytes.n, 1, &receipt, &refused, NULL);
    (void)rc;
}

static vch_rc take(vch_trustee_t *t, vch_slice_t bytes, vch_arena_t *arena, vch_err_t *err)
{
    vch_tx_t tx;
    vch_prepared_t p;
    bool known = false;
    VCH_TRY(vch_tx_get(&tx, bytes, arena, err));
    VCH_TRY(vch_tx_prepare(&p, &tx, arena, err));
    if (p.entry.kind != VCH_KIND_WITHDRAW && p.entry.kind != VCH_KIND_ERASE)
        return vch_fail(err, VCH_ERR_UNSUPPORTED,
                        "only withdrawals and erasures are acted on before the ledger has them");
    VCH_TRY(vch_ledger_read_begin(t->l, err));
    vch_rc rc = judge(t, &p, &known, err);
    vch_ledger_read_end(t->l);
    if (rc != VCH_OK || known) return rc;
    VCH_TRY(hold_back(t, &p, err));
    pass_on(t, bytes);
    return VCH_OK;
}

vch_rc vch_trustee_withdraw(vch_trustee_t *t, vch_slice_t tx, vch_err_t *err)
{
    vch_arena_t arena;
    if (tx.n > VCH_TX_BYTES_MAX + VCH_ENTRY_BYTES_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "a transaction is not so long");
    vch_arena_init(&arena, 64u << 20);
    vch_rc rc = take(t, tx, &arena, err);
    vch_arena_free(&arena);
    return nd_told(rc, err);
}

/* ---- what follows ------------------------------------------------------------------------------------ */

/* The ledger said as much, or more. */
static vch_rc settled(vch_trustee_t *t, const held_back_t *one, bool *ret, vch_err_t *err)
{
    vch_cell_t cell;
    VCH_TRY(vch_state_cell(t->l->state, &one->dataset, one->subject, &cell, err));
    *ret = cell.serial >= one->serial;
    return VCH_OK;
}

static vch_rc mask(vch_trustee_t *t, const held_back_t *one, vch_use_t *u, vch_err_t *err)
{
    for (uint32_t e = 0; e < u->extents; e++) {
        vch_subjects_t s;
        VCH_TRY(vch_subjects_load(&s, t->l, &u->dataset, e, err));
        uint8_t *bits = u->bits.p + u->at[e];
        for (uint32_t row = 0; vch_subjects_next(&s, one->subject, &row); row++)
            if (row < u->rows[e]) bits[row / 8] &= (uint8_t) ~(0x80u >> row % 8);
        vch_subjects_free(&s);
    }
    return VCH_OK;
}

vch_rc tr_hold_back(vch_trustee_t *t, vch_use_t *u, vch_err_t *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->held_n; i++) {
        held_back_t one = t->held[i];
        bool done;
        VCH_TRY(settled(t, &one, &done, err));
        if (done) continue;
        if (vch_id_eq(&one.dataset, &u->dataset)) VCH_TRY(mask(t, &one, u, err));
        t->held[kept++] = one;
    }
    t->held_n = kept;
    return VCH_OK;
}
