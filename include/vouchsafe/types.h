/* SPDX-License-Identifier: Apache-2.0 */
/* Plain values shared by every public header: result codes, hashes, times.
 *
 * Conventions of the whole library.  Context comes first, then outputs, then
 * inputs; a length follows its pointer.  Outputs are named ret_ and stay
 * untouched on failure.  A `const` pointer may be shared between threads, a
 * non-const one needs exclusive access.  Each different meaning is a type of
 * its own, so that the compiler refuses to mix a key id with a hash. */
#ifndef VOUCHSAFE_TYPES_H
#define VOUCHSAFE_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VCH_MUST_USE __attribute__((warn_unused_result))
#define VCH_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define VCH_API __attribute__((visibility("default")))
#else
#define VCH_MUST_USE
#define VCH_PRINTF(fmt, first)
#define VCH_API
#endif

/* The one list of results: name, process exit code, plain text.  The enum,
 * the texts, the exit codes and the manual are all made from it. */
#define VCH_RC_LIST(X)                                                                                                 \
    X(OK, 0, "done")                                                                                                   \
    X(ERR_INTERNAL, 1, "internal error")                                                                               \
    X(ERR_USAGE, 2, "wrong usage")                                                                                     \
    X(ERR_FORMAT, 1, "malformed input")                                                                                \
    X(ERR_LIMIT, 1, "over a limit")                                                                                    \
    X(ERR_MEMORY, 1, "out of memory")                                                                                  \
    X(ERR_IO, 1, "input or output failed")                                                                             \
    X(ERR_FULL, 1, "disk full")                                                                                        \
    X(ERR_READ_ONLY, 1, "read-only")                                                                                   \
    X(ERR_INTERRUPTED, 130, "interrupted")                                                                             \
    X(ERR_NOT_FOUND, 6, "not found")                                                                                   \
    X(ERR_CONFLICT, 7, "conflicts with what is there")                                                                 \
    X(ERR_LOCKED, 7, "locked by another process")                                                                      \
    X(ERR_CORRUPT, 8, "stored data is damaged")                                                                        \
    X(ERR_VERSION, 1, "unknown version")                                                                               \
    X(ERR_UNSUPPORTED, 1, "not supported")                                                                             \
    X(ERR_SIGNATURE, 1, "signature does not verify")                                                                   \
    X(ERR_KEY, 1, "key is unknown, revoked or of the wrong kind")                                                      \
    X(ERR_NETWORK, 1, "belongs to another network")                                                                    \
    X(ERR_REPLAY, 7, "already used")                                                                                   \
    X(ERR_EXPIRED, 1, "too late")                                                                                      \
    X(ERR_REFERENCE, 1, "refers to nothing on this ledger")                                                            \
    X(ERR_ROLE, 5, "not allowed for this role")                                                                        \
    X(ERR_DENIED, 5, "denied by policy")                                                                               \
    X(ERR_COMMITMENT, 3, "data does not match its commitment")                                                         \
    X(ERR_CLOCK, 1, "the clock jumped")                                                                                \
    X(ERR_UNREACHABLE, 9, "network or time-out")                                                                       \
    X(ERR_QUORUM, 10, "no quorum")

typedef enum {
#define VCH_RC_ENUM(name, exit_code, text) VCH_##name,
    VCH_RC_LIST(VCH_RC_ENUM)
#undef VCH_RC_ENUM
        VCH_RC_COUNT
} vch_rc;

/* Stable short name ("ERR_FORMAT"), one-line text, and exit code of a result.
 * All accept any value; an unknown one is named "ERR_INTERNAL". */
VCH_API const char *vch_rc_name(vch_rc rc);
VCH_API const char *vch_rc_text(vch_rc rc);
VCH_API int vch_rc_exit(vch_rc rc);

#define VCH_ERR_TEXT_MAX 480

/* What went wrong, held by the caller; every function that can fail in an
 * interesting way takes one, and NULL is always allowed.  `text` says what
 * and why in one line, `hint` what to do next (may be empty). */
typedef struct {
    vch_rc rc;
    char text[VCH_ERR_TEXT_MAX];
    char hint[VCH_ERR_TEXT_MAX];
} vch_err_t;

typedef struct {
    uint8_t b[32];
} vch_hash_t; /* SHA-256, a tree hash or a document's hash */
typedef struct {
    uint8_t b[32];
} vch_id_t; /* an entry's or an object's id */
typedef struct {
    uint8_t b[32];
} vch_keyid_t; /* SHA-256 of a multicodec public key */
typedef struct {
    uint64_t ms;
} vch_time_t; /* milliseconds since 1970-01-01T00:00:00Z */

/* Borrowed bytes; p may be NULL only when n is 0. */
typedef struct {
    const uint8_t *p;
    size_t n;
} vch_slice_t;

#ifdef __cplusplus
}
#endif
#endif
