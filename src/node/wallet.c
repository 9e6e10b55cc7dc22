/* SPDX-License-Identifier: Apache-2.0 */
/* Wallets: one 32-byte seed per owner.
 *
 *   magic "VCHWALLET1\n" and zeros to 16 ‖ u8 simulated ‖ u8 sealed ‖ 2 zeros ‖ u32 owners ‖ body ‖ u32 crc32c
 *
 * The body holds simulated, owners and the seeds once more: plain, or as a
 * box under a passphrase, so that nobody can turn a simulated wallet into one
 * that looks real without the passphrase. */
#include "crypto/keys.h"
#include "node/node_int.h"
#include "node/wallet_int.h"

#define WALLET_HEADER 24u
#define INNER 8u /* u32 simulated ‖ u32 owners, before the seeds */
#define WALLET_OWNERS_MAX 1000000u
#define BOX_EXTRA (8u + 16 + 24 + 16)

static const char magic[16] = "VCHWALLET1\n";

struct vch_wallet {
    uint32_t owners;
    bool simulated;
    uint8_t *plain; /* INNER and the seeds, in secret memory */
};

static size_t plain_size(uint32_t owners) { return INNER + (size_t)owners * 32; }

static void put_header(uint8_t h[WALLET_HEADER], uint32_t owners, bool simulated, bool sealed)
{
    memset(h, 0, WALLET_HEADER);
    memcpy(h, magic, sizeof magic);
    h[16] = simulated;
    h[17] = sealed;
    vch_put_u32(h + 20, owners);
}

/* ---- making ------------------------------------------------------------------------ */

static vch_rc draw_seeds(vch_port_t *port, uint8_t *plain, uint32_t owners, bool simulated, vch_err_t *err)
{
    vch_put_u32(plain, simulated);
    vch_put_u32(plain + 4, owners);
    return vch_random(port, plain + INNER, (size_t)owners * 32, err);
}

static vch_rc write_sealed(vch_port_t *port, const char *path, const uint8_t *header, const uint8_t *plain, size_t n,
                           const char *passphrase, vch_err_t *err)
{
    uint8_t salt[16], nonce[24], crc[4];
    vch_buf_t file;
    VCH_TRY(vch_random(port, salt, sizeof salt, err));
    VCH_TRY(vch_random(port, nonce, sizeof nonce, err));
    vch_buf_init(&file, WALLET_HEADER + n + BOX_EXTRA + 4);
    vch_rc rc = vch_buf_put(&file, header, WALLET_HEADER);
    if (rc == VCH_OK) rc = vch_box_seal(&file, vch_slice(plain, n), passphrase, salt, nonce);
    if (rc == VCH_OK) {
        vch_put_u32(crc, vch_crc32c(0, file.p, file.n));
        rc = vch_buf_put(&file, crc, 4);
    }
    if (rc != VCH_OK)
        vch_fail(err, rc, "the wallet can't be sealed: %s", vch_rc_text(rc));
    else
        rc = vch_write_atomic(port, path, vch_buf_slice(&file), 0600, err);
    vch_buf_free(&file);
    return rc;
}

static vch_rc write_plain(vch_port_t *port, const char *path, const uint8_t *header, const uint8_t *plain, size_t n,
                          vch_err_t *err)
{
    size_t size = WALLET_HEADER + n + 4;
    uint8_t *file = vch_secret_alloc(size);
    if (!file) return vch_fail(err, VCH_ERR_MEMORY, "no secret memory for %zu bytes", size);
    memcpy(file, header, WALLET_HEADER);
    memcpy(file + WALLET_HEADER, plain, n);
    vch_put_u32(file + size - 4, vch_crc32c(0, file, size - 4));
    vch_rc rc = vch_write_atomic(port, path, vch_slice(file, size), 0600, err);
    vch_secret_free(file);
    return rc;
}

vch_rc vch__wallet_new_on(vch_port_t *port, const char *path, uint32_t owners, int simulated, const char *passphrase,
                          vch_err_t *err)
{
    vch_stat_t st;
    uint8_t header[WALLET_HEADER];
    if (owners == 0 || owners > WALLET_OWNERS_MAX)
        return vch_fail(err, VCH_ERR_LIMIT, "a wallet holds 1 to %u owners", WALLET_OWNERS_MAX);
    if (passphrase && !*passphrase) return vch_fail(err, VCH_ERR_USAGE, "the passphrase is empty");
    vch_rc rc = vch_crypto_start();
    if (rc != VCH_OK) return vch_fail(err, rc, "cryptography can't be started");
    if (port->disk->stat(port, path, &st) != VCH_ERR_NOT_FOUND)
        return vch_fail(err, VCH_ERR_CONFLICT, "%s exists already; a wallet is never overwritten", path);
    size_t n = plain_size(owners);
    uint8_t *plain = vch_secret_alloc(n);
    if (!plain) return vch_fail(err, VCH_ERR_MEMORY, "no secret memory for %zu bytes", n);
    put_header(header, owners, simulated != 0, passphrase != NULL);
    rc = draw_seeds(port, plain, owners, simulated != 0, err);
    if (rc == VCH_OK)
        rc = passphrase ? write_sealed(port, path, header, plain, n, passphrase, err)
                        : write_plain(port, path, header, plain, n, err);
    vch_secret_free(plain);
    return rc;
}

vch_rc vch_wallet_new(const char *path, uint32_t owners, int simulated, const char *passphrase, vch_err_t *err)
{
    return vch__wallet_new_on(vch_port_real(), path, owners, simulated, passphrase, err);
}

/* ---- opening ----------------------------------------------------------------------------- */

static vch_rc damaged(const char *path, vch_err_t *err)
{
    return vch_fail(err, VCH_ERR_CORRUPT, "%s is damaged, or no wallet", path);
}

/* The file is in secret memory as long as it is read. */
static vch_rc read_file(vch_port_t *port, const char *path, uint8_t **ret, size_t *ret_n, vch_err_t *err)
{
    vch_file_t *file;
    uint64_t size;
    VCH_TRY(vch_file_open(port, &file, path, VCH_OPEN_READ, err));
    vch_rc rc = port->disk->size(port, file, &size);
    if (rc != VCH_OK)
        vch_fail(err, rc, "cannot read %s: %s", path, vch_rc_text(rc));
    else if (size < WALLET_HEADER + 4 || size > WALLET_HEADER + plain_size(WALLET_OWNERS_MAX) + BOX_EXTRA + 4)
        rc = damaged(path, err);
    uint8_t *bytes = rc == VCH_OK ? vch_secret_alloc((size_t)size) : NULL;
    if (rc == VCH_OK && !bytes) rc = vch_fail(err, VCH_ERR_MEMORY, "no secret memory for %s", path);
    if (rc == VCH_OK) rc = vch_file_read(port, file, bytes, (size_t)size, 0, err);
    vch_file_close(port, file);
    if (rc != VCH_OK) {
        vch_secret_free(bytes);
        return rc;
    }
    *ret = bytes;
    *ret_n = (size_t)size;
    return VCH_OK;
}

static vch_rc unseal(vch_wallet_t *w, vch_slice_t body, const char *path, const char *passphrase, vch_err_t *err)
{
    if (!passphrase) {
        vch_fail(err, VCH_ERR_KEY, "%s is sealed under a passphrase", path);
        return vch_hint(err, VCH_ERR_KEY, "give the passphrase by a file or descriptor");
    }
    vch_rc rc = vch_box_open(w->plain, plain_size(w->owners), body, passphrase);
    return rc == VCH_OK ? rc
                        : vch_fail(err, VCH_ERR_KEY, "%s: the passphrase is wrong, or the wallet is damaged", path);
}

/* What can be said of the file without its passphrase. */
static vch_rc read_header(vch_wallet_t *w, const uint8_t *file, size_t n, const char *path, bool *ret_sealed,
                          vch_err_t *err)
{
    uint8_t header[WALLET_HEADER];
    if (vch_get_u32(file + n - 4) != vch_crc32c(0, file, n - 4)) return damaged(path, err);
    w->owners = vch_get_u32(file + 20);
    w->simulated = file[16] == 1;
    *ret_sealed = file[17] == 1;
    put_header(header, w->owners, w->simulated, *ret_sealed);
    if (memcmp(header, file, sizeof header) != 0 || w->owners == 0 || w->owners > WALLET_OWNERS_MAX ||
        n != WALLET_HEADER + plain_size(w->owners) + (*ret_sealed ? BOX_EXTRA : 0) + 4)
        return damaged(path, err);
    return VCH_OK;
}

static vch_rc read_wallet(vch_wallet_t *w, const uint8_t *file, size_t n, const char *path, const char *passphrase,
                          vch_err_t *err)
{
    bool sealed = false;
    VCH_TRY(read_header(w, file, n, path, &sealed, err));
    w->plain = vch_secret_alloc(plain_size(w->owners));
    if (!w->plain) return vch_fail(err, VCH_ERR_MEMORY, "no secret memory for %s", path);
    vch_slice_t body = vch_slice(file + WALLET_HEADER, n - WALLET_HEADER - 4);
    if (sealed)
        VCH_TRY(unseal(w, body, path, passphrase, err));
    else
        memcpy(w->plain, body.p, body.n);
    if (vch_get_u32(w->plain) != (uint32_t)w->simulated || vch_get_u32(w->plain + 4) != w->owners)
        return damaged(path, err);
    return VCH_OK;
}

vch_rc vch__wallet_open_on(vch_wallet_t **ret, vch_port_t *port, const char *path, const char *passphrase,
                           vch_err_t *err)
{
    uint8_t *file;
    size_t n;
    vch_rc rc = vch_crypto_start();
    if (rc != VCH_OK) return vch_fail(err, rc, "cryptography can't be started");
    VCH_TRY(read_file(port, path, &file, &n, err));
    vch_wallet_t *w = vch_alloc(sizeof *w);
    rc = w ? read_wallet(w, file, n, path, passphrase, err) : vch_fail(err, VCH_ERR_MEMORY, "out of memory");
    vch_secret_free(file);
    if (rc == VCH_OK)
        *ret = w;
    else
        vch_wallet_free(w);
    return rc;
}

vch_rc vch_wallet_open(vch_wallet_t **ret, const char *path, const char *passphrase, vch_err_t *err)
{
    return vch__wallet_open_on(ret, vch_port_real(), path, passphrase, err);
}

vch_rc vch__wallet_check(vch_port_t *port, const char *path, vch_err_t *err)
{
    uint8_t *file;
    size_t n;
    bool sealed;
    vch_wallet_t w = {.owners = 0};
    VCH_TRY(read_file(port, path, &file, &n, err));
    vch_rc rc = read_header(&w, file, n, path, &sealed, err);
    vch_secret_free(file);
    return rc;
}

void vch_wallet_free(vch_wallet_t *w)
{
    if (!w) return;
    vch_secret_free(w->plain);
    vch_free(w);
}

uint32_t vch_wallet_owners(const vch_wallet_t *w) { return w->owners; }
int vch_wallet_simulated(const vch_wallet_t *w) { return w->simulated; }

/* ---- keys ------------------------------------------------------------------------------------ */

vch_rc vch__wallet_signer(const vch_wallet_t *w, uint32_t owner, const vch_hash_t *network, const vch_id_t *dataset,
                          vch_signer_t **ret, vch_err_t *err)
{
    uint8_t info[64];
    if (owner >= w->owners)
        return vch_fail(err, VCH_ERR_NOT_FOUND, "the wallet has %u owners: no %u", w->owners, owner);
    uint8_t *seed = vch_secret_alloc(32);
    if (!seed) return vch_fail(err, VCH_ERR_MEMORY, "no secret memory");
    memcpy(info, network->b, 32);
    memcpy(info + 32, dataset->b, 32);
    vch_slice_t ikm = vch_slice(w->plain + INNER + (size_t)owner * 32, 32);
    vch_hkdf(seed, 32, vch_slice(NULL, 0), ikm, vch_slice(info, sizeof info));
    vch_rc rc = vch_signer_new(ret, VCH_ALG_ED25519, seed, err);
    vch_secret_free(seed);
    return rc;
}

static vch_rc dataset_id(vch_ledger_t *l, const char *dataset, vch_id_t *ret, vch_err_t *err)
{
    VCH_TRY(vch_look_begin(l, err));
    vch_rc rc = vch_resolve(l, 'd', dataset, ret, err);
    vch_look_end(l);
    return rc;
}

vch_rc vch_wallet_key(const vch_wallet_t *w, uint32_t owner, vch_ledger_t *l, const char *dataset, uint8_t ret[34],
                      vch_err_t *err)
{
    vch_id_t id;
    vch_signer_t *s;
    vch_rc rc = dataset_id(l, dataset, &id, err);
    if (rc == VCH_OK) rc = vch__wallet_signer(w, owner, &l->network, &id, &s, err);
    if (rc != VCH_OK) return nd_told(rc, err);
    memcpy(ret, vch_signer_public(s)->b, 34);
    vch_signer_free(s);
    return VCH_OK;
}
