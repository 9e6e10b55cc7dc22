/* SPDX-License-Identifier: Apache-2.0 */
/* TLS 1.3 and nothing older.  A client may show a certificate; whoever signed
 * it does not matter, for the ledger says whose key counts: what matters is
 * that the handshake proves possession of the key.  So there is no resumption,
 * which would stand on an earlier proof. */
#include <limits.h>
#include <openssl/err.h>

#include "api/http_int.h"
#include "api/tls_key.h"

#define CERTIFICATES_MAX 16384 /* bytes that a client may show */

static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text ? text : "unknown reason";
}

/* A key file under a passphrase is refused, not asked for on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *ctx)
{
    (void)buf, (void)size, (void)writing, (void)ctx;
    return 0;
}

static int any_certificate(X509_STORE_CTX *store, void *ctx)
{
    (void)ctx;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
                           unsigned in_n, void *ctx)
{
    static const unsigned char mine[] = "\x08http/1.1";
    unsigned char *found;
    (void)ssl, (void)ctx;
    if (SSL_select_next_proto(&found, out_n, mine, sizeof mine - 1, in, in_n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = found;
    return SSL_TLSEXT_ERR_OK;
}

static vch_rc load(SSL_CTX *ctx, const char *cert_path, const char *key_path, vch_err_t *err)
{
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_path) != 1)
        return vch_hint(err, vch_fail(err, VCH_ERR_KEY, "TLS certificate %.200s: %s", cert_path, reason()),
                        "[serve] tls_cert names a PEM file: the certificate first, then who signed it");
    if (SSL_CTX_use_PrivateKey_file(ctx, key_path, SSL_FILETYPE_PEM) != 1)
        return vch_hint(err, vch_fail(err, VCH_ERR_KEY, "TLS key %.200s: %s", key_path, reason()),
                        "[serve] tls_key names a PEM file without passphrase that belongs to the certificate");
    if (SSL_CTX_check_private_key(ctx) != 1)
        return vch_fail(err, VCH_ERR_KEY, "TLS key %.100s does not belong to the certificate %.100s", key_path,
                        cert_path);
    return VCH_OK;
}

vch_rc hs_tls_new(SSL_CTX **ret, const char *cert_path, const char *key_path, vch_err_t *err)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1) {
        SSL_CTX_free(ctx);
        return vch_fail(err, VCH_ERR_MEMORY, "starting TLS: %s", reason());
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_max_cert_list(ctx, CERTIFICATES_MAX);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, any_certificate, NULL);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    vch_rc rc = load(ctx, cert_path, key_path, err);
    if (rc == VCH_OK)
        *ret = ctx;
    else
        SSL_CTX_free(ctx);
    ERR_clear_error();
    return rc;
}

bool hs_tls_peer(SSL *ssl, vch_keyid_t *ret) { return tls_key_of(SSL_get0_peer_certificate(ssl), ret); }

/* ---- bytes ------------------------------------------------------------------------------- */

static vch_socket_t outcome(SSL *ssl, int result, short *ret_want)
{
    int why = SSL_get_error(ssl, result);
    ERR_clear_error();
    if (why == SSL_ERROR_WANT_READ) *ret_want = EV_READ;
    if (why == SSL_ERROR_WANT_WRITE) *ret_want = EV_WRITE;
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? VCH_SOCKET_LATER : VCH_SOCKET_END;
}

vch_socket_t hs_tls_handshake(SSL *ssl, short *ret_want)
{
    ERR_clear_error();
    int result = SSL_accept(ssl);
    return result == 1 ? VCH_SOCKET_DONE : outcome(ssl, result, ret_want);
}

vch_socket_t hs_tls_recv(SSL *ssl, void *buf, size_t n, size_t *ret_n, short *ret_want)
{
    ERR_clear_error();
    *ret_n = 0;
    int result = SSL_read(ssl, buf, n > INT_MAX ? INT_MAX : (int)n);
    if (result <= 0) return outcome(ssl, result, ret_want);
    *ret_n = (size_t)result;
    return VCH_SOCKET_DONE;
}

vch_socket_t hs_tls_send(SSL *ssl, const void *buf, size_t n, size_t *ret_n, short *ret_want)
{
    ERR_clear_error();
    *ret_n = 0;
    int result = SSL_write(ssl, buf, n > INT_MAX ? INT_MAX : (int)n);
    if (result <= 0) return outcome(ssl, result, ret_want);
    *ret_n = (size_t)result;
    return VCH_SOCKET_DONE;
}
