/* SPDX-License-Identifier: Apache-2.0 */
#include "entry/note_int.h"

#include "codec/text.h"

#define DASH "\xe2\x80\x94 " /* U+2014 and a space open a signature line */
#define COSIGN_HEAD_MAX 48   /* "cosignature/v1\ntime <20 digits>\n" */
#define COSIG_BLOB (8 + VCH_SIG_LEN)
#define SECONDS_MAX ((uint64_t)INT64_MAX) /* tlog-cosignature, "Format" */

/* ---- lines and characters ------------------------------------------------- */

bool vch_note__line(vch_slice_t *rest, vch_slice_t *ret_line)
{
    const uint8_t *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    if (!end) return false;
    size_t n = (size_t)(end - rest->p);
    *ret_line = vch_slice(rest->p, n);
    *rest = vch_slice(end + 1, rest->n - n - 1);
    return true;
}

bool vch_note__cut(vch_slice_t *s, const char *prefix)
{
    size_t n = strlen(prefix);
    if (s->n < n || memcmp(s->p, prefix, n) != 0) return false;
    *s = vch_slice(s->p + n, s->n - n);
    return true;
}

bool vch_note__text_ok(vch_slice_t s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 && s.p[i] != '\n') return false;
    return vch_utf8_valid(s);
}

bool vch_note__base64_ok(vch_slice_t text, size_t *ret_n)
{
    uint8_t piece[48];
    size_t whole = text.n ? (text.n - 1) / 64 * 64 : 0; /* all but the last piece: no padding there */
    for (size_t i = 0; i < whole; i += 64)
        if (vch_base64_fixed(piece, 48, vch_slice(text.p + i, 64)) != VCH_OK) return false;
    size_t last = text.n - whole, n = last / 4 * 3;
    if (last >= 4) n -= (size_t)(text.p[text.n - 1] == '=') + (text.p[text.n - 2] == '=');
    if (vch_base64_fixed(piece, n, vch_slice(text.p + whole, last)) != VCH_OK) return false;
    *ret_n = whole / 4 * 3 + n;
    return true;
}

/* One of Unicode's White_Space characters at the start of valid UTF-8? */
static bool is_space(const uint8_t *p, size_t n)
{
    if (p[0] <= 0x20) return p[0] == ' ' || (p[0] >= 9 && p[0] <= 13);
    if (n >= 2 && p[0] == 0xc2) return p[1] == 0x85 || p[1] == 0xa0; /* U+0085, U+00A0 */
    if (n < 3) return false;
    uint32_t c = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
    if (c >= 0xe28080 && c <= 0xe2808a) return true; /* U+2000 to U+200A */
    return c == 0xe19a80 || c == 0xe280a8 || c == 0xe280a9 || c == 0xe280af || c == 0xe2819f || c == 0xe38080;
}

/* Signed note, "Format": not empty, no Unicode space, no plus. */
static vch_rc check_name(vch_slice_t name)
{
    if (name.n == 0 || !vch_note__text_ok(name)) return VCH_ERR_FORMAT;
    if (name.n > VCH_NOTE_NAME_MAX) return VCH_ERR_LIMIT;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] == '+' || is_space(name.p + i, name.n - i)) return VCH_ERR_FORMAT;
    return VCH_OK;
}

/* ---- verifier keys ---------------------------------------------------------- */

void vch_note_key_id(uint8_t ret[4], vch_slice_t name, vch_note_type_t type, const uint8_t key[32])
{
    vch_sha256_t s;
    vch_hash_t h;
    const uint8_t between[2] = {'\n', (uint8_t)type};
    vch_sha256_init(&s);
    vch_sha256_add(&s, name.p, name.n);
    vch_sha256_add(&s, between, sizeof between);
    vch_sha256_add(&s, key, 32);
    vch_sha256_end(&s, &h);
    memcpy(ret, h.b, 4);
}

static vch_pubkey_t pubkey_of(const uint8_t key[32])
{
    vch_pubkey_t k = {.alg = VCH_ALG_ED25519, .n = 34, .b = {0xed, 0x01}};
    memcpy(k.b + 2, key, 32);
    return k;
}

/* The part behind the second plus: base64(type ‖ key). */
static vch_rc get_key(vch_vkey_t *k, vch_slice_t base64)
{
    uint8_t raw[33], first[3];
    size_t n;
    if (!vch_note__base64_ok(base64, &n) || n == 0) return VCH_ERR_FORMAT;
    if (n != sizeof raw) {
        if (n >= 3) VCH_TRY(vch_base64_fixed(first, 3, vch_slice(base64.p, 4)));
        if (n < 3) VCH_TRY(vch_base64_fixed(first, n, base64));
        bool ours = first[0] == VCH_NOTE_ED25519 || first[0] == VCH_NOTE_COSIG_ED25519;
        return ours ? VCH_ERR_FORMAT : VCH_ERR_UNSUPPORTED;
    }
    VCH_TRY(vch_base64_fixed(raw, sizeof raw, base64));
    if (raw[0] != VCH_NOTE_ED25519 && raw[0] != VCH_NOTE_COSIG_ED25519) return VCH_ERR_UNSUPPORTED;
    k->type = (vch_note_type_t)raw[0];
    memcpy(k->key, raw + 1, 32);
    return VCH_OK;
}

vch_rc vch_vkey_get(vch_vkey_t *ret, vch_slice_t text)
{
    vch_vkey_t k = {0};
    const uint8_t *plus = text.n ? memchr(text.p, '+', text.n) : NULL;
    if (!plus) return VCH_ERR_FORMAT;
    k.name = vch_slice(text.p, (size_t)(plus - text.p));
    VCH_TRY(check_name(k.name));
    /* Base64 has a plus of its own, so only the first two part the text. */
    vch_slice_t rest = vch_slice(plus + 1, text.n - k.name.n - 1);
    if (rest.n < 9 || rest.p[8] != '+' || !vch_unhex(k.id, 4, (const char *)rest.p, 8)) return VCH_ERR_FORMAT;
    VCH_TRY(get_key(&k, vch_slice(rest.p + 9, rest.n - 9)));
    uint8_t id[4];
    vch_note_key_id(id, k.name, k.type, k.key);
    if (memcmp(id, k.id, 4) != 0) return VCH_ERR_FORMAT;
    vch_pubkey_t raw = pubkey_of(k.key), checked;
    VCH_TRY(vch_pubkey_get(&checked, vch_pubkey_bytes(&raw))); /* a point that anyone can sign for is no key */
    *ret = k;
    return VCH_OK;
}

vch_rc vch_vkey_put(vch_buf_t *ret, const char *name, vch_note_type_t type, const uint8_t key[32])
{
    uint8_t id[4], raw[33] = {(uint8_t)type};
    char hex[9];
    VCH_TRY(check_name(vch_str(name)));
    vch_note_key_id(id, vch_str(name), type, key);
    vch_hex(hex, id, 4);
    memcpy(raw + 1, key, 32);
    size_t start = ret->n;
    vch_rc rc = vch_buf_printf(ret, "%s+%s+", name, hex);
    if (rc == VCH_OK) rc = vch_base64_put(ret, raw, sizeof raw);
    if (rc != VCH_OK) ret->n = start;
    return rc;
}

/* ---- reading a note ----------------------------------------------------------- */

/* "— name base64", without its newline. */
static vch_rc get_sig(vch_note_sig_t *ret, vch_slice_t line)
{
    vch_note_sig_t s;
    uint8_t head[6];
    size_t n;
    if (!vch_note__cut(&line, DASH)) return VCH_ERR_FORMAT;
    const uint8_t *space = line.n ? memchr(line.p, ' ', line.n) : NULL;
    if (!space) return VCH_ERR_FORMAT;
    s.name = vch_slice(line.p, (size_t)(space - line.p));
    VCH_TRY(check_name(s.name));
    s.blob_base64 = vch_slice(space + 1, line.n - s.name.n - 1);
    if (!vch_note__base64_ok(s.blob_base64, &n) || n < 5) return VCH_ERR_FORMAT;
    VCH_TRY(vch_base64_fixed(head, n < 6 ? 5 : 6, vch_slice(s.blob_base64.p, 8)));
    memcpy(s.id, head, 4);
    *ret = s;
    return VCH_OK;
}

/* Where the last empty line stands: the index of the newline that it is. */
static bool find_last_blank(vch_slice_t note, size_t *ret)
{
    for (size_t i = note.n; i-- > 1;) {
        if (note.p[i] != '\n' || note.p[i - 1] != '\n') continue;
        *ret = i;
        return true;
    }
    return false;
}

vch_rc vch_note_get(vch_note_t *ret, vch_slice_t note)
{
    size_t blank, sigs = 0;
    if (note.n > VCH_NOTE_BYTES_MAX) return VCH_ERR_LIMIT;
    if (!vch_note__text_ok(note) || !find_last_blank(note, &blank)) return VCH_ERR_FORMAT;
    vch_slice_t line, text = vch_slice(note.p, blank), rest = vch_slice(note.p + blank + 1, note.n - blank - 1);
    vch_note_sig_t sig[VCH_NOTE_SIGS_MAX];
    for (; vch_note__line(&rest, &line); sigs++) {
        if (sigs == VCH_NOTE_SIGS_MAX) return VCH_ERR_LIMIT;
        VCH_TRY(get_sig(&sig[sigs], line));
    }
    if (rest.n || sigs == 0) return VCH_ERR_FORMAT;
    ret->text = text;
    ret->sigs = sigs;
    memcpy(ret->sig, sig, sigs * sizeof sig[0]);
    return VCH_OK;
}

/* ---- verifying and signing ------------------------------------------------------ */

/* What a cosignature signs (tlog-cosignature, "Ed25519 signed message"); room
 * for any note, so that nothing has to be allocated. */
typedef struct {
    size_t n;
    uint8_t p[COSIGN_HEAD_MAX + VCH_NOTE_BYTES_MAX];
} cosign_message_t;

static size_t put_decimal(uint8_t *to, uint64_t v)
{
    uint8_t digits[20];
    size_t n = 0;
    do {
        digits[n++] = (uint8_t)('0' + v % 10);
        v /= 10;
    } while (v);
    for (size_t i = 0; i < n; i++) to[i] = digits[n - 1 - i];
    return n;
}

static void cosign_message(cosign_message_t *m, vch_slice_t text, uint64_t seconds)
{
    static const char head[] = "cosignature/v1\ntime ";
    m->n = sizeof head - 1;
    memcpy(m->p, head, m->n);
    m->n += put_decimal(m->p + m->n, seconds);
    m->p[m->n++] = '\n';
    memcpy(m->p + m->n, text.p, text.n);
    m->n += text.n;
}

static bool sig_good(const vch_vkey_t *k, const uint8_t sig[VCH_SIG_LEN], vch_slice_t message)
{
    vch_pubkey_t pub = pubkey_of(k->key);
    return vch_sig_verify(&pub, sig, message) == VCH_OK;
}

static bool cosig_good(const vch_note_t *note, const vch_vkey_t *k, vch_slice_t base64, uint64_t *ret_time)
{
    uint8_t blob[4 + COSIG_BLOB];
    cosign_message_t m;
    if (note->text.n > VCH_NOTE_BYTES_MAX || vch_base64_fixed(blob, sizeof blob, base64) != VCH_OK) return false;
    uint64_t seconds = vch_get_u64(blob + 4);
    if (seconds > SECONDS_MAX) return false;
    cosign_message(&m, note->text, seconds);
    if (!sig_good(k, blob + 12, vch_slice(m.p, m.n))) return false;
    *ret_time = seconds;
    return true;
}

static bool plain_good(const vch_note_t *note, const vch_vkey_t *k, vch_slice_t base64)
{
    uint8_t blob[4 + VCH_SIG_LEN];
    return vch_base64_fixed(blob, sizeof blob, base64) == VCH_OK && sig_good(k, blob + 4, note->text);
}

/* A key may stand there more than once: one failure makes all of it bad, and
 * of several times the earliest counts. */
vch_sig_state_t vch_note_verify(const vch_note_t *note, const vch_vkey_t *k, uint64_t *ret_time)
{
    uint64_t earliest = UINT64_MAX, seconds = 0;
    size_t good = 0;
    for (size_t i = 0; i < note->sigs; i++) {
        const vch_note_sig_t *s = &note->sig[i];
        if (!vch_slice_eq(s->name, k->name) || memcmp(s->id, k->id, 4) != 0) continue;
        bool ok = k->type == VCH_NOTE_ED25519 ? plain_good(note, k, s->blob_base64)
                                              : cosig_good(note, k, s->blob_base64, &seconds);
        if (!ok) return VCH_SIG_BAD;
        if (seconds < earliest) earliest = seconds;
        good++;
    }
    if (!good) return VCH_SIG_ABSENT;
    if (ret_time && k->type == VCH_NOTE_COSIG_ED25519) *ret_time = earliest;
    return VCH_SIG_GOOD;
}

static vch_rc check_signing(vch_slice_t text, const char *name, const vch_signer_t *signer)
{
    if (text.n == 0 || text.p[text.n - 1] != '\n' || !vch_note__text_ok(text)) return VCH_ERR_FORMAT;
    if (text.n > VCH_NOTE_BYTES_MAX) return VCH_ERR_LIMIT;
    if (vch_signer_public(signer)->alg != VCH_ALG_ED25519) return VCH_ERR_KEY;
    return check_name(vch_str(name));
}

/* blob has 4 bytes of room for the key id in front. */
static vch_rc put_sig(vch_buf_t *ret, const char *name, vch_note_type_t type, const vch_signer_t *signer, uint8_t *blob,
                      size_t n)
{
    vch_note_key_id(blob, vch_str(name), type, vch_signer_public(signer)->b + 2);
    size_t start = ret->n;
    vch_rc rc = vch_buf_printf(ret, DASH "%s ", name);
    if (rc == VCH_OK) rc = vch_base64_put(ret, blob, n);
    if (rc == VCH_OK) rc = vch_buf_u8(ret, '\n');
    if (rc != VCH_OK) ret->n = start;
    return rc;
}

vch_rc vch_note_sign(vch_buf_t *ret, vch_slice_t text, const char *name, const vch_signer_t *ed25519)
{
    uint8_t blob[4 + VCH_SIG_LEN];
    VCH_TRY(check_signing(text, name, ed25519));
    VCH_TRY(vch_signer_sign(ed25519, blob + 4, text));
    return put_sig(ret, name, VCH_NOTE_ED25519, ed25519, blob, sizeof blob);
}

vch_rc vch_note_cosign(vch_buf_t *ret, vch_slice_t text, const char *name, const vch_signer_t *ed25519,
                       uint64_t seconds)
{
    uint8_t blob[4 + COSIG_BLOB];
    cosign_message_t m;
    VCH_TRY(check_signing(text, name, ed25519));
    if (seconds == 0 || seconds > SECONDS_MAX) return VCH_ERR_USAGE; /* tlog-witness: never with time 0 */
    cosign_message(&m, text, seconds);
    vch_put_u64(blob + 4, seconds);
    VCH_TRY(vch_signer_sign(ed25519, blob + 12, vch_slice(m.p, m.n)));
    return put_sig(ret, name, VCH_NOTE_COSIG_ED25519, ed25519, blob, sizeof blob);
}
