/* SPDX-License-Identifier: Apache-2.0 */
/* A request signed with a key: what a client puts into its Authorization
 * header, and what the node reads there.  The key comes along because a
 * subject's key is on the ledger as its hash only. */
#include "api/api_int.h"
#include "codec/cbor.h"
#include "codec/text.h"

static const char scheme[] = "Vouch ";
#define SCHEME_LEN (sizeof scheme - 1)
#define PAYLOAD_MAX 4096

static vch_rc put_payload(vch_buf_t *b, const vch_signer_t *signer, const char *method, const char *path,
                          vch_slice_t body, uint64_t now_ms, const uint8_t nonce[API_NONCE_LEN])
{
    vch_hash_t hash;
    vch_slice_t key = vch_pubkey_bytes(vch_signer_public(signer));
    vch_sha256(&hash, body.p, body.n);
    VCH_TRY(vch_cbor_array(b, 6));
    VCH_TRY(vch_cbor_text(b, method, strlen(method)));
    VCH_TRY(vch_cbor_text(b, path, strlen(path)));
    VCH_TRY(vch_cbor_bytes(b, hash.b, 32));
    VCH_TRY(vch_cbor_uint(b, now_ms));
    VCH_TRY(vch_cbor_bytes(b, nonce, API_NONCE_LEN));
    return vch_cbor_bytes(b, key.p, key.n);
}

vch_rc api_authorization_put(vch_buf_t *ret, const vch_signer_t *signer, const char *method, const char *path,
                             vch_slice_t body, uint64_t now_ms, const uint8_t nonce[API_NONCE_LEN], vch_err_t *err)
{
    vch_buf_t payload, cose;
    size_t before = ret->n;
    vch_buf_init(&payload, PAYLOAD_MAX);
    vch_buf_init(&cose, PAYLOAD_MAX + 256);
    vch_rc rc = put_payload(&payload, signer, method, path, body, now_ms, nonce);
    if (rc == VCH_OK) rc = vch_cose_sign(&cose, signer, vch_buf_slice(&payload), NULL);
    if (rc == VCH_OK) rc = vch_buf_put(ret, scheme, SCHEME_LEN);
    if (rc == VCH_OK) rc = vch_base64_put(ret, cose.p, cose.n);
    vch_buf_free(&payload);
    vch_buf_free(&cose);
    if (rc == VCH_OK) return rc;
    ret->n = before;
    return vch_fail(err, rc, "the request can't be signed: %s", vch_rc_text(rc));
}

static vch_rc get_payload(api_authorization_t *a, vch_slice_t payload)
{
    vch_cbor_t c = vch_cbor_over(payload);
    vch_slice_t key;
    uint64_t n;
    VCH_TRY(vch_cbor_get_array(&c, &n));
    if (n != 6) return VCH_ERR_FORMAT;
    VCH_TRY(vch_cbor_get_text(&c, &a->method));
    VCH_TRY(vch_cbor_get_text(&c, &a->path));
    VCH_TRY(vch_cbor_get_fixed(&c, a->body.b, 32));
    VCH_TRY(vch_cbor_get_uint(&c, &a->time_ms));
    VCH_TRY(vch_cbor_get_fixed(&c, a->nonce, API_NONCE_LEN));
    VCH_TRY(vch_cbor_get_bytes(&c, &key));
    if (!vch_cbor_done(&c)) return VCH_ERR_FORMAT;
    return vch_pubkey_get(&a->key, key);
}

vch_rc api_authorization_get(api_authorization_t *ret, vch_slice_t header, vch_buf_t *scratch)
{
    api_authorization_t a = {.time_ms = 0};
    vch_cose_t cose;
    size_t at = scratch->n;
    if (header.n <= SCHEME_LEN || memcmp(header.p, scheme, SCHEME_LEN) != 0) return VCH_ERR_FORMAT;
    VCH_TRY(vch_base64_get(scratch, vch_slice(header.p + SCHEME_LEN, header.n - SCHEME_LEN)));
    VCH_TRY(vch_cose_read(&cose, vch_slice(scratch->p + at, scratch->n - at)));
    VCH_TRY(get_payload(&a, cose.payload));
    VCH_TRY(vch_cose_verify(&cose, &a.key, NULL));
    *ret = a;
    return VCH_OK;
}
