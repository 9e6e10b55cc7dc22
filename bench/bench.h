/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring in turns: ours, the peer, ours, the peer, …; what counts is the
 * median of the turns' ratios, so that a machine that is slow for a while is
 * slow for both.  The medians of either side are printed beside it. */
#ifndef VCH_BENCH_H
#define VCH_BENCH_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BENCH_ROUNDS_MAX 15

static inline double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct {
    const char *name, *unit, *peer_name;
    double ours, peer, ratio, aim;
    bool lower_is_better, met;
} bench_row_t;

/* One side of a comparison: runs once, returns its figure. */
typedef double (*bench_fn)(void *ctx);

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double bench_median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, bench_compare);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

void bench_report(const bench_row_t *row);
/* aim: the ratio wanted (ours / peer); lower_is_better turns the comparison. */
void bench_in_turns(const char *name, const char *unit, const char *peer_name, bench_fn ours, bench_fn peer, void *ctx,
                    int rounds, double aim, bool lower_is_better);
/* A figure with a limit of its own instead of a peer. */
void bench_limit(const char *name, const char *unit, double ours, double limit);

void bench_log(const char *dir);
void bench_hash(void);
void bench_peers(const char *dir);
void bench_serve(const char *dir);
void bench_witness(const char *dir);
void bench_vault(void);
void bench_rows(const char *dir);
void bench_release(const char *dir);
void bench_signed(void);
void bench_submit(const char *dir);
void bench_consents(void);
void bench_access(const char *dir);
void bench_one(const char *dir);
void bench_bundle(const char *dir);

#endif
