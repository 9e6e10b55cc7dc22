/* SPDX-License-Identifier: Apache-2.0 */
/* An accepted note, checkpoint or verifier key is written again as the same
 * bytes, and nothing but the one text that a key signed stands under it. */
#include <assert.h>

#include "entry/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The key and the message of the example in the signed-note specification. */
static const char key_text[] = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
static const char signed_text[] = "This is an example message.\n";

static void check_key(vch_slice_t in)
{
    vch_vkey_t k;
    char name[VCH_NOTE_NAME_MAX + 1] = {0};
    vch_buf_t out;
    if (vch_vkey_get(&k, in) != VCH_OK) return;
    assert(k.name.n > 0 && k.name.n < sizeof name);
    memcpy(name, k.name.p, k.name.n);
    vch_buf_init(&out, 1024);
    vch_rc rc = vch_vkey_put(&out, name, k.type, k.key);
    assert(rc == VCH_OK && out.n == in.n);
    size_t hash = k.name.n + 1; /* its hex digits may have been upper case */
    assert(memcmp(out.p, in.p, hash) == 0 && memcmp(out.p + hash + 8, in.p + hash + 8, in.n - hash - 8) == 0);
    vch_buf_free(&out);
}

static void check_checkpoint(vch_slice_t text)
{
    vch_checkpoint_t c;
    char origin[1024] = {0};
    vch_buf_t out;
    if (vch_checkpoint_get(&c, text) != VCH_OK || c.origin.n >= sizeof origin) return;
    memcpy(origin, c.origin.p, c.origin.n);
    vch_buf_init(&out, 2 * VCH_NOTE_BYTES_MAX);
    vch_rc rc = vch_checkpoint_put(&out, origin, c.size, &c.root);
    assert(rc == VCH_OK);
    rc = vch_buf_put(&out, c.extension.p, c.extension.n);
    assert(rc == VCH_OK && vch_slice_eq(vch_buf_slice(&out), text));
    vch_buf_free(&out);
}

static void check_note(vch_slice_t in)
{
    vch_note_t note;
    vch_vkey_t k;
    vch_buf_t out;
    if (vch_note_get(&note, in) != VCH_OK) return;
    vch_buf_init(&out, 2 * VCH_NOTE_BYTES_MAX);
    vch_rc rc = vch_buf_printf(&out, "%.*s\n", (int)note.text.n, (const char *)note.text.p);
    for (size_t i = 0; i < note.sigs && rc == VCH_OK; i++) {
        const vch_note_sig_t *s = &note.sig[i];
        rc = vch_buf_printf(&out, "\xe2\x80\x94 %.*s %.*s\n", (int)s->name.n, (const char *)s->name.p,
                            (int)s->blob_base64.n, (const char *)s->blob_base64.p);
    }
    assert(rc == VCH_OK && note.sigs > 0 && note.sigs <= VCH_NOTE_SIGS_MAX);
    assert(vch_slice_eq(vch_buf_slice(&out), in));
    vch_buf_free(&out);
    check_checkpoint(note.text);
    rc = vch_vkey_get(&k, vch_str(key_text));
    assert(rc == VCH_OK);
    if (vch_note_verify(&note, &k, NULL) == VCH_SIG_GOOD) assert(vch_slice_eq(note.text, vch_str(signed_text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    check_key(vch_slice(data, n));
    check_checkpoint(vch_slice(data, n));
    check_note(vch_slice(data, n));
    return 0;
}
