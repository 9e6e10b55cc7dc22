/* SPDX-License-Identifier: Apache-2.0 */
/* COSE_Sign1 (RFC 9052 section 4.2) in the one form that entries have:
 *
 *   d2                        tag 18
 *   84                        array of 4
 *   58 26  a2 01 <alg> 04 58 20 <key id>     protected header {1: alg, 4: kid}
 *   a0                        empty unprotected header
 *   <bstr payload>
 *   58 40 <signature>
 */
#include "codec/cbor.h"
#include "crypto/keys.h"

#define HEADER_LEN 38 /* of the protected header: both algorithms take one byte */

static int cose_alg(vch_alg_t alg) { return alg == VCH_ALG_ED25519 ? VCH_COSE_ED25519 : VCH_COSE_ESP256; }

static vch_rc read_protected(vch_cose_t *c, vch_slice_t header)
{
    vch_cbor_t in = vch_cbor_over(header);
    uint64_t pairs, label;
    int64_t alg;
    VCH_TRY(vch_cbor_get_map(&in, &pairs));
    if (pairs != 2) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_uint(&in, &label));
    if (label != 1) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_int(&in, &alg));
    if (alg != VCH_COSE_ED25519 && alg != VCH_COSE_ESP256) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_uint(&in, &label));
    if (label != 4) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_fixed(&in, c->kid.b, 32));
    c->alg = (int)alg;
    c->protected_header = header;
    return vch_cbor_done(&in) ? VCH_OK : VCH_ERR_FORMAT;
}

vch_rc vch_cose_read(vch_cose_t *ret, vch_slice_t cose)
{
    vch_cose_t c = {.sig = NULL};
    vch_cbor_t in = vch_cbor_over(cose);
    vch_slice_t header, sig;
    uint64_t count;
    VCH_TRY(vch_cbor_get_tag(&in, VCH_CBOR_TAG_SIGN1));
    VCH_TRY(vch_cbor_get_array(&in, &count));
    if (count != 4) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_bytes(&in, &header));
    VCH_TRY(read_protected(&c, header));
    VCH_TRY(vch_cbor_get_map(&in, &count));
    if (count != 0) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_bytes(&in, &c.payload));
    VCH_TRY(vch_cbor_get_bytes(&in, &sig));
    if (sig.n != VCH_SIG_LEN || !vch_cbor_done(&in)) return VCH_ERR_FORMAT;
    c.sig = sig.p;
    *ret = c;
    return VCH_OK;
}

/* Sig_structure = ["Signature1", protected, external_aad, payload] (section 4.4). */
vch_rc vch_cose_to_sign(vch_buf_t *ret, vch_slice_t protected_header, vch_slice_t payload)
{
    VCH_TRY(vch_cbor_array(ret, 4));
    VCH_TRY(vch_cbor_text(ret, "Signature1", 10));
    VCH_TRY(vch_cbor_bytes(ret, protected_header.p, protected_header.n));
    VCH_TRY(vch_cbor_bytes(ret, NULL, 0));
    return vch_cbor_bytes(ret, payload.p, payload.n);
}

/* Most entries are small: their Sig_structure fits the stack, and only a
 * larger one costs an allocation. */
#define SMALL 1024
#define FRAME 64 /* at least what stands around header and payload */

static void scratch_free(vch_buf_t *b, const uint8_t small[SMALL])
{
    if (b->p != small) vch_buf_free(b);
}

static vch_rc to_sign_scratch(vch_buf_t *ret, uint8_t small[SMALL], vch_slice_t header, vch_slice_t payload)
{
    size_t max;
    if (vch_add_overflows(header.n, payload.n, &max) || vch_add_overflows(max, FRAME, &max)) return VCH_ERR_LIMIT;
    vch_buf_t b = {small, 0, SMALL, SMALL};
    if (max > SMALL) vch_buf_init(&b, max);
    vch_rc rc = vch_cose_to_sign(&b, header, payload);
    if (rc == VCH_OK)
        *ret = b;
    else
        scratch_free(&b, small);
    return rc;
}

vch_rc vch_cose_verify(const vch_cose_t *c, const vch_pubkey_t *key, vch_err_t *err)
{
    uint8_t small[SMALL];
    vch_buf_t message;
    vch_keyid_t id = vch_pubkey_id(key);
    if (!vch_keyid_eq(&id, &c->kid)) return vch_fail(err, VCH_ERR_KEY, "the entry names another key");
    if (c->alg != cose_alg(key->alg))
        return vch_fail(err, VCH_ERR_KEY, "the entry names another algorithm than its key's");
    vch_rc rc = to_sign_scratch(&message, small, c->protected_header, c->payload);
    if (rc != VCH_OK) return vch_fail(err, rc, "the entry can't be checked: %s", vch_rc_text(rc));
    rc = vch_sig_verify(key, c->sig, vch_buf_slice(&message));
    scratch_free(&message, small);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the entry's signature does not verify");
}

vch_rc vch_cose_id(const vch_cose_t *c, vch_id_t *ret)
{
    uint8_t small[SMALL];
    vch_buf_t message;
    vch_hash_t h;
    VCH_TRY(to_sign_scratch(&message, small, c->protected_header, c->payload));
    vch_sha256(&h, message.p, message.n);
    scratch_free(&message, small);
    memcpy(ret->b, h.b, 32);
    return VCH_OK;
}

static vch_rc put_protected(vch_buf_t *ret, const vch_pubkey_t *key)
{
    vch_keyid_t id = vch_pubkey_id(key);
    VCH_TRY(vch_cbor_map(ret, 2));
    VCH_TRY(vch_cbor_uint(ret, 1));
    VCH_TRY(vch_cbor_int(ret, cose_alg(key->alg)));
    VCH_TRY(vch_cbor_uint(ret, 4));
    return vch_cbor_bytes(ret, id.b, 32);
}

static vch_rc put_cose(vch_buf_t *ret, vch_slice_t header, vch_slice_t payload, const uint8_t sig[VCH_SIG_LEN])
{
    VCH_TRY(vch_cbor_tag(ret, VCH_CBOR_TAG_SIGN1));
    VCH_TRY(vch_cbor_array(ret, 4));
    VCH_TRY(vch_cbor_bytes(ret, header.p, header.n));
    VCH_TRY(vch_cbor_map(ret, 0));
    VCH_TRY(vch_cbor_bytes(ret, payload.p, payload.n));
    return vch_cbor_bytes(ret, sig, VCH_SIG_LEN);
}

static vch_rc sign_payload(uint8_t ret[VCH_SIG_LEN], const vch_signer_t *signer, vch_slice_t header,
                           vch_slice_t payload)
{
    uint8_t small[SMALL];
    vch_buf_t message;
    VCH_TRY(to_sign_scratch(&message, small, header, payload));
    vch_rc rc = vch_signer_sign(signer, ret, vch_buf_slice(&message));
    scratch_free(&message, small);
    return rc;
}

vch_rc vch_cose_sign(vch_buf_t *ret, const vch_signer_t *signer, vch_slice_t payload, vch_err_t *err)
{
    uint8_t header_bytes[HEADER_LEN], sig[VCH_SIG_LEN];
    vch_buf_t header = {header_bytes, 0, HEADER_LEN, HEADER_LEN};
    size_t before = ret->n;
    vch_rc rc = put_protected(&header, vch_signer_public(signer));
    if (rc == VCH_OK) rc = sign_payload(sig, signer, vch_buf_slice(&header), payload);
    if (rc == VCH_OK) rc = put_cose(ret, vch_buf_slice(&header), payload, sig);
    if (rc == VCH_OK) return rc;
    ret->n = before;
    return vch_fail(err, rc, "the entry can't be signed: %s", vch_rc_text(rc));
}

vch_rc vch_cose_draft(vch_buf_t *ret, vch_buf_t *ret_to_sign, const vch_pubkey_t *key, vch_slice_t payload,
                      vch_err_t *err)
{
    static const uint8_t no_sig[VCH_SIG_LEN];
    uint8_t header_bytes[HEADER_LEN];
    vch_buf_t header = {header_bytes, 0, HEADER_LEN, HEADER_LEN};
    vch_rc rc = put_protected(&header, key);
    if (rc == VCH_OK) rc = vch_cose_to_sign(ret_to_sign, vch_buf_slice(&header), payload);
    if (rc == VCH_OK) rc = put_cose(ret, vch_buf_slice(&header), payload, no_sig);
    return rc == VCH_OK ? rc : vch_fail(err, rc, "the entry can't be drafted: %s", vch_rc_text(rc));
}
