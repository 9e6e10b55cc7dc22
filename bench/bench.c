/* SPDX-License-Identifier: Apache-2.0 */
/* bench [DIR] [NAME…]: measures in DIR (a folder on the disk in question) and
 * writes the table to stdout and build/bench.json (or $BENCH_JSON). */
#include "bench.h"

static bench_row_t rows[64];
static int row_count;

void bench_report(const bench_row_t *row)
{
    rows[row_count++] = *row;
    printf("%-46s %12.4g %12.4g %-12s %-22s %8.3g  aim %s %-7.3g %s\n", row->name, row->ours, row->peer, row->unit,
           row->peer_name, row->ratio, row->lower_is_better ? "<=" : ">=", row->aim, row->met ? "met" : "NOT MET");
    fflush(stdout);
}

void bench_in_turns(const char *name, const char *unit, const char *peer_name, bench_fn ours, bench_fn peer, void *ctx,
                    int rounds, double aim, bool lower_is_better)
{
    double a[BENCH_ROUNDS_MAX], b[BENCH_ROUNDS_MAX], ratio[BENCH_ROUNDS_MAX];
    for (int i = 0; i < rounds; i++) {
        a[i] = ours(ctx);
        b[i] = peer(ctx);
        ratio[i] = a[i] / b[i];
    }
    bench_row_t row = {
        .name = name, .unit = unit, .peer_name = peer_name, .aim = aim, .lower_is_better = lower_is_better};
    row.ours = bench_median(a, rounds);
    row.peer = bench_median(b, rounds);
    row.ratio = bench_median(ratio, rounds);
    row.met = lower_is_better ? row.ratio <= aim : row.ratio >= aim;
    bench_report(&row);
}

void bench_limit(const char *name, const char *unit, double ours, double limit)
{
    bench_row_t row = {.name = name,
                       .unit = unit,
                       .peer_name = "limit",
                       .ours = ours,
                       .peer = limit,
                       .ratio = ours / limit,
                       .aim = 1,
                       .lower_is_better = true,
                       .met = ours <= limit};
    bench_report(&row);
}

static void write_json(const char *path)
{
    FILE *f = fopen(path, "wb");
    if (!f) {
        perror(path);
        exit(1);
    }
    fprintf(f, "[\n");
    for (int i = 0; i < row_count; i++)
        fprintf(f,
                "  {\"name\": \"%s\", \"ours\": %.6g, \"peer\": %.6g, \"peer_name\": \"%s\", \"unit\": \"%s\", "
                "\"ratio\": %.4g, \"aim\": \"%s %.4g\", \"met\": %s}%s\n",
                rows[i].name, rows[i].ours, rows[i].peer, rows[i].peer_name, rows[i].unit, rows[i].ratio,
                rows[i].lower_is_better ? "<=" : ">=", rows[i].aim, rows[i].met ? "true" : "false",
                i + 1 < row_count ? "," : "");
    fprintf(f, "]\n");
    fclose(f);
}

static bool wanted(int argc, char **argv, const char *name)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], name) == 0) return true;
    return argc <= 2;
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : "/tmp";
    const char *json = getenv("BENCH_JSON");
    printf("%-46s %12s %12s %-12s %-22s %8s\n", "what", "ours", "peer", "unit", "peer", "ratio");
    if (wanted(argc, argv, "hash")) bench_hash();
    if (wanted(argc, argv, "log")) bench_log(dir);
    if (wanted(argc, argv, "peers")) bench_peers(dir);
    if (wanted(argc, argv, "serve")) bench_serve(dir);
    if (wanted(argc, argv, "witness")) bench_witness(dir);
    if (wanted(argc, argv, "vault")) bench_vault();
    if (wanted(argc, argv, "rows")) bench_rows(dir);
    if (wanted(argc, argv, "release")) bench_release(dir);
    if (wanted(argc, argv, "one")) bench_one(dir);
    if (wanted(argc, argv, "signed")) bench_signed();
    if (wanted(argc, argv, "submit")) bench_submit(dir);
    if (wanted(argc, argv, "consents")) bench_consents();
    if (wanted(argc, argv, "access")) bench_access(dir);
    if (wanted(argc, argv, "bundle")) bench_bundle(dir);
    write_json(json ? json : "build/bench.json");
    return 0;
}
