/* SPDX-License-Identifier: Apache-2.0 */
/* The custodian's and the owners' side on a real disk: versions and what
 * differs between them, damage that is found and named, refused files,
 * consents by right and wrong keys, ingests that are cut off. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "entry/value.h"
#include "merkle/tree.h"
#include "node/custody.h"
#include "port/sim.h"
#include "shared.h"

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        vch_rc rc_ = (call);                                                                                           \
        if (rc_ != VCH_OK) fail_msg("%s: %s: %s", #call, vch_rc_name(rc_), err.text);                                  \
    } while (0)
/* Refused with this result, and a text that holds `part`. */
#define REFUSED(rc_want, part, call)                                                                                   \
    do {                                                                                                               \
        vch_rc rc_ = (call);                                                                                           \
        if (rc_ != (rc_want)) fail_msg("%s: %s: %s", #call, vch_rc_name(rc_), err.text);                               \
        if (!strstr(err.text, part)) fail_msg("%s says \"%s\", not \"%s\"", #call, err.text, part);                    \
    } while (0)

static vch_err_t err;

/* ---- a ledger of its own for each test ------------------------------------------------- */

typedef struct {
    char root[64], dir[128];
    vch_ledger_t *l;
    vch_signer_t *clinic;
} place_t;

static void ledger_begin(place_t *p)
{
    vch_init_t init = {.origin = "clinic.example/ledger", .operator_name = "clinic"};
    snprintf(p->root, sizeof p->root, "/tmp/vch-custody-XXXXXX");
    assert_non_null(mkdtemp(p->root));
    snprintf(p->dir, sizeof p->dir, "%s/ledger", p->root);
    OK(vch_ledger_init(p->dir, &init, &err));
    OK(vch_ledger_open(&p->l, p->dir, 0, &err));
    OK(vch_identity_load(p->l, "clinic", NULL, &p->clinic, &err));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void ledger_end(place_t *p)
{
    vch_signer_free(p->clinic);
    OK(vch_ledger_close(p->l, &err));
    assert_int_equal(nftw(p->root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static const char *file_in(const place_t *p, const char *name)
{
    static char path[64][256];
    static int turn;
    turn = (turn + 1) % 64;
    snprintf(path[turn], sizeof path[turn], "%s/%s", p->root, name);
    return path[turn];
}

static const char *write_file(const place_t *p, const char *name, const char *text)
{
    const char *path = file_in(p, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    return path;
}

static void hex_of(const place_t *p, const char *dataset, char hex[65])
{
    vch_id_t id;
    OK(vch_ledger_read_begin(p->l, &err));
    OK(vch_resolve(p->l, 'd', dataset, &id, &err));
    vch_ledger_read_end(p->l);
    vch_hex(hex, id.b, 32);
}

static vch_id_t id_of(const place_t *p, const char *dataset)
{
    char hex[65];
    vch_id_t id;
    hex_of(p, dataset, hex);
    assert_true(vch_unhex(id.b, 32, hex, 64));
    return id;
}

/* ---- rows: the breast cancer data, or numbers like it ------------------------------------- */

#define ROWS 569
#define CELLS 31 /* 30 measurements and the diagnosis, last */
typedef struct {
    char cell[ROWS + 1][CELLS][16];
} cancer_t;

static void generate(cancer_t *c)
{
    for (unsigned r = 0; r < ROWS; r++) {
        for (unsigned i = 0; i < CELLS - 1; i++)
            snprintf(c->cell[r][i], 16, "%u.%02u", (r * 7 + i * 13) % 50, (r * 31 + i) % 100);
        snprintf(c->cell[r][CELLS - 1], 16, "%u", r % 3 == 0);
    }
}

static void load_cancer(cancer_t *c)
{
    char path[512], line[2048];
    memset(c, 0, sizeof *c);
    const char *shared = vch_test_shared();
    snprintf(path, sizeof path, "%s/data/ai/breast_cancer_wisconsin_diagnostic.csv", shared ? shared : ".");
    FILE *f = fopen(path, "rb");
    if (!f) {
        generate(c);
        return;
    }
    assert_non_null(fgets(line, sizeof line, f));
    for (unsigned r = 0; r < ROWS; r++) {
        assert_non_null(fgets(line, sizeof line, f));
        char *save = NULL, *cell = strtok_r(line, ",\r\n", &save);
        for (unsigned i = 0; i < CELLS; i++, cell = strtok_r(NULL, ",\r\n", &save)) {
            assert_non_null(cell);
            snprintf(c->cell[r][i], 16, "%s", cell);
        }
    }
    fclose(f);
}

/* Rows [0, rows) but `skip`; each is patient-<row>. */
static const char *save_cancer(const place_t *p, const char *name, const cancer_t *c, int rows, int skip)
{
    const char *path = file_in(p, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fprintf(f, "id");
    for (int i = 0; i < CELLS - 1; i++) fprintf(f, ",m%d", i);
    fprintf(f, ",diagnosis\n");
    for (int r = 0; r < rows; r++) {
        if (r == skip) continue;
        fprintf(f, "patient-%d", r);
        for (int i = 0; i < CELLS; i++) fprintf(f, ",%s", c->cell[r][i]);
        fprintf(f, "\n");
    }
    assert_int_equal(fclose(f), 0);
    return path;
}

static void create_cancer(place_t *p, const char *header)
{
    vch_receipt_t receipt;
    vch_dataset_spec_t spec = {.name = "cancer", .header_csv = header, .subject_col = "id", .label_col = "diagnosis"};
    OK(vch_dataset_create(p->l, p->clinic, &spec, &receipt, &err));
}

static int ignore_finding_count;
static char finding_file[256], finding_text[512];
static uint64_t finding_byte;
static int finding_has_byte;
static void note_finding(void *ctx, const vch_finding_t *f)
{
    (void)ctx;
    ignore_finding_count += f->derived;
    if (f->derived) return;
    snprintf(finding_file, sizeof finding_file, "%s", f->file);
    snprintf(finding_text, sizeof finding_text, "%s", f->text);
    finding_has_byte = f->has_byte;
    finding_byte = f->byte;
}

static uint64_t findings(const place_t *p)
{
    uint64_t n = 99;
    finding_file[0] = 0;
    ignore_finding_count = 0;
    OK(vch_custody_check(p->l, note_finding, NULL, &n, &err));
    return n;
}

/* ---- versions and their difference ----------------------------------------------------------- */

static const char *const differs =
    "{\"added\":[\"patient-569\"],\"removed\":[\"patient-20\"],"
    "\"features changed\":[{\"row\":\"patient-10\",\"groups\":[\"features\"]}],"
    "\"label changed\":[{\"row\":\"patient-3\",\"features\":\"same\"}],\"owner changed\":[]}";

static void diff_is(place_t *p, const char *a, const char *b, const char *want)
{
    vch_text_t text;
    OK(vch_dataset_diff(p->l, a, b, &text, &err));
    assert_string_equal(text.p, want);
    vch_text_free(&text);
}

static void test_versions(void **state)
{
    (void)state;
    static cancer_t cancer;
    place_t p;
    vch_ingest_t in;
    uint64_t rows;
    char as_file[300];
    ledger_begin(&p);
    load_cancer(&cancer);
    const char *one = save_cancer(&p, "one.csv", &cancer, ROWS, -1);
    create_cancer(&p, one);
    OK(vch_dataset_add(p.l, p.clinic, "cancer", one, NULL, NULL, NULL, &in, &err));
    assert_int_equal(in.rows, ROWS);
    assert_int_equal(in.added, ROWS);
    assert_int_equal(in.removed + in.changed, 0);
    assert_int_equal(in.subjects_new, ROWS);
    assert_int_equal(in.version, 1);
    REFUSED(VCH_ERR_CONFLICT, "nothing to add",
            vch_dataset_add(p.l, p.clinic, "cancer", one, NULL, NULL, NULL, &in, &err));

    memcpy(cancer.cell[ROWS], cancer.cell[0], sizeof cancer.cell[0]);
    cancer.cell[3][CELLS - 1][0] ^= 1; /* 0 <-> 1 */
    snprintf(cancer.cell[10][4], 16, "0.5");
    const char *two = save_cancer(&p, "two.csv", &cancer, ROWS + 1, 20);
    snprintf(as_file, sizeof as_file, "file:%s", two);
    diff_is(&p, "cancer@1", as_file, differs); /* before it is added, under carried salts */
    OK(vch_dataset_add(p.l, p.clinic, "cancer", two, NULL, NULL, NULL, &in, &err));
    assert_int_equal(in.added, 1);
    assert_int_equal(in.removed, 1);
    assert_int_equal(in.changed, 2);
    assert_int_equal(in.subjects_new, 1);
    assert_int_equal(in.version, 2);
    diff_is(&p, "cancer@1", "cancer@2", differs);
    diff_is(&p, "cancer@2", "cancer@2",
            "{\"added\":[],\"removed\":[],\"features changed\":[],\"label changed\":[],\"owner changed\":[]}");
    OK(vch_dataset_check(p.l, "cancer@1", &rows, &err));
    assert_int_equal(rows, ROWS);
    OK(vch_dataset_check(p.l, "cancer", &rows, &err));
    assert_int_equal(rows, ROWS);
    assert_int_equal(findings(&p), 0);
    ledger_end(&p);
}

/* Salts are carried: the same value has the same commitment, a changed one
 * a fresh salt. */
static void test_carried_salts(void **state)
{
    (void)state;
    static cancer_t cancer;
    place_t p;
    vch_ingest_t in;
    vch_rows_t *old, *new;
    vch_row_t was, is;
    uint8_t salt[2][VCH_ROW_SALT_LEN];
    vch_hash_t commitment[2], *all;
    uint32_t n, groups;
    ledger_begin(&p);
    load_cancer(&cancer);
    const char *one = save_cancer(&p, "one.csv", &cancer, 50, -1);
    create_cancer(&p, one);
    OK(vch_dataset_add(p.l, p.clinic, "cancer", one, NULL, NULL, NULL, &in, &err));
    cancer.cell[3][CELLS - 1][0] ^= 1;
    OK(vch_dataset_add(p.l, p.clinic, "cancer", save_cancer(&p, "two.csv", &cancer, 50, -1), NULL, NULL, NULL, &in,
                       &err));
    vch_id_t id = id_of(&p, "cancer");
    OK(vch_rows_open(&old, p.l, &id, 0, &err));
    OK(vch_rows_open(&new, p.l, &id, 1, &err));
    assert_int_equal(vch_rows_count(new), 1);
    OK(vch_rows_get(old, 3, &was, &err));
    for (int g = 0; g < 2; g++) {
        memcpy(salt[g], was.salt[g], sizeof salt[g]);
        commitment[g] = was.commitment[g];
    }
    OK(vch_rows_get(new, 0, &is, &err));
    assert_memory_equal(salt[0], is.salt[0], VCH_ROW_SALT_LEN);
    assert_memory_equal(&commitment[0], &is.commitment[0], 32);
    assert_memory_not_equal(salt[1], is.salt[1], VCH_ROW_SALT_LEN);
    assert_memory_not_equal(&commitment[1], &is.commitment[1], 32);
    OK(vch_rows_commitments(p.l, &id, 0, &all, &n, &groups, &err));
    assert_int_equal(n, 50);
    assert_int_equal(groups, 2);
    assert_memory_equal(&all[3 * 2], &commitment[0], 32);
    assert_memory_equal(&all[3 * 2 + 1], &commitment[1], 32);
    vch_free(all);
    vch_rows_close(old);
    vch_rows_close(new);
    REFUSED(VCH_ERR_NOT_FOUND, "no extent 2", vch_rows_open(&old, p.l, &id, 2, &err));
    ledger_end(&p);
}

/* ---- many extents, several rows a person --------------------------------------------------------- */

static const char *save_visits(const place_t *p, const char *name, int rows, int persons, int value)
{
    const char *path = file_in(p, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fprintf(f, "visit,person,a,b,out\r\n");
    for (int i = 0; i < rows; i++)
        fprintf(f, "v%d,\"P, %d\",%d,\"x\"\"%d\",%d\r\n", i, (i * 5) % persons, i, i % 7 == 0 ? value : 0, i % 2);
    assert_int_equal(fclose(f), 0);
    return path;
}

static void create_visits(place_t *p, const char *header)
{
    static const char *const group[] = {"notes=b"};
    vch_receipt_t receipt;
    vch_dataset_spec_t spec = {.name = "visits",
                               .header_csv = header,
                               .subject_col = "person",
                               .key_col = "visit",
                               .label_col = "out",
                               .group = group,
                               .groups = 1};
    OK(vch_dataset_create(p->l, p->clinic, &spec, &receipt, &err));
}

static unsigned disk_reads;
static vch_disk_ops_t counting_disk;

static vch_rc count_read(vch_port_t *port, vch_file_t *file, size_t *ret_n, void *buf, size_t n, uint64_t at)
{
    (void)port;
    disk_reads++;
    return vch_port_real()->disk->read(vch_port_real(), file, ret_n, buf, n, at);
}

/* How often the disk is read to find these persons. */
static unsigned reads_to_find(place_t *p, const char *const *person, size_t n, uint32_t *ret)
{
    vch_port_t port = *vch_port_real(), *was = p->l->port;
    counting_disk = *port.disk;
    counting_disk.read = count_read;
    port.disk = &counting_disk;
    disk_reads = 0;
    p->l->port = &port;
    OK(vch_subjects_find(p->l, "visits", person, n, ret, &err));
    p->l->port = was;
    return disk_reads;
}

/* However many persons are looked for, their file is read once. */
static void find_many(place_t *p)
{
    static char text[38][16];
    const char *person[38];
    uint32_t found[38], one;
    for (unsigned i = 0; i < 38; i++) {
        snprintf(text[i], sizeof text[i], "P, %u", i % 37);
        person[i] = text[i]; /* the first stands there twice */
    }
    unsigned reads = reads_to_find(p, person, 1, &one);
    assert_true(reads > 0);
    assert_int_equal(reads_to_find(p, person, 38, found), reads);
    for (unsigned i = 0; i < 38; i++) {
        OK(vch_subject_find(p->l, "visits", person[i], &one, &err));
        assert_int_equal(found[i], one);
        for (unsigned k = 0; k < i; k++) assert_int_equal(found[k] == found[i], i == 37 && k == 0);
    }
    memset(found, 0xee, sizeof found);
    snprintf(text[20], sizeof text[20], "P, 41");
    REFUSED(VCH_ERR_NOT_FOUND, "\"P, 41\"", vch_subjects_find(p->l, "visits", person, 38, found, &err));
    assert_int_equal(found[0], 0xeeeeeeee);
    OK(vch_subjects_find(p->l, "visits", person, 0, found, &err));
}

static void test_many_extents(void **state)
{
    (void)state;
    place_t p;
    vch_ingest_t in;
    vch_rows_t *r;
    vch_row_t row;
    uint32_t subject, found;
    char name[VCH_ROW_NAME_MAX + 1], text[VCH_ROW_NAME_MAX];
    ledger_begin(&p);
    const char *one = save_visits(&p, "one.csv", 400, 37, 1);
    create_visits(&p, one);
    OK(vch_dataset_add_split(p.l, p.clinic, "visits", one, NULL, 5, NULL, NULL, &in, &err));
    assert_int_equal(in.added, 400);
    assert_int_equal(in.subjects_new, 37);
    OK(vch_dataset_add_split(p.l, p.clinic, "visits", save_visits(&p, "two.csv", 410, 37, 2), NULL, 5, NULL, NULL, &in,
                             &err));
    assert_int_equal(in.changed, 58); /* 0, 7, …, 399 */
    assert_int_equal(in.added, 10);
    assert_int_equal(in.subjects_new, 0);
    vch_id_t id = id_of(&p, "visits");
    OK(vch_row_name(p.l, &id, 79, 4, name, &err));
    assert_string_equal(name, "v399");
    OK(vch_row_subject(p.l, &id, 79, 4, &subject, &err));
    snprintf(text, sizeof text, "P, %d", 399 * 5 % 37);
    OK(vch_subject_find(p.l, "visits", text, &found, &err));
    assert_int_equal(subject, found);
    REFUSED(VCH_ERR_NOT_FOUND, "no subject", vch_subject_find(p.l, "visits", "P, 37", &found, &err));
    find_many(&p);
    OK(vch_rows_open(&r, p.l, &id, 79, &err));
    OK(vch_rows_get(r, 4, &row, &err));
    assert_int_equal(row.groups, 3); /* features: a; notes: b; label: out */
    assert_memory_equal(row.canonical[0].p,
                        "\x81\x63"
                        "399",
                        5);
    assert_memory_equal(row.canonical[1].p, "\x81\x63x\"1", 5);
    assert_memory_equal(row.canonical[2].p,
                        "\x81\x61"
                        "1",
                        3);
    vch_rows_close(r);
    assert_int_equal(findings(&p), 0);
    OK(vch_ledger_close(p.l, &err)); /* and all the same after opening it again */
    OK(vch_ledger_open(&p.l, p.dir, 0, &err));
    uint64_t rows;
    OK(vch_dataset_check(p.l, "visits", &rows, &err));
    assert_int_equal(rows, 410);
    ledger_end(&p);
}

/* ---- damage ------------------------------------------------------------------------------------------ */

static uint8_t *slurp(const char *path, size_t *ret_n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint8_t *b = malloc(1 << 20);
    assert_non_null(b);
    *ret_n = fread(b, 1, 1 << 20, f);
    fclose(f);
    return b;
}

static void spit(const char *path, const uint8_t *b, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Every byte of the file, one after the other: found, and this file named. */
static void flip_each(const place_t *p, const char *name)
{
    char path[256];
    size_t n;
    snprintf(path, sizeof path, "%s/%s", p->dir, name);
    uint8_t *b = slurp(path, &n);
    assert_true(n > 64);
    for (size_t i = 0; i < n; i++) {
        b[i] ^= (uint8_t)(1u << i % 8);
        spit(path, b, n);
        if (findings(p) == 0) fail_msg("%s: byte %zu was changed and nothing was found", name, i);
        if (strcmp(finding_file, name) != 0) fail_msg("%s: byte %zu: %s was named", name, i, finding_file);
        if (finding_has_byte && finding_byte > i)
            fail_msg("%s: byte %zu is named as byte %llu: %s", name, i, (unsigned long long)finding_byte, finding_text);
        b[i] ^= (uint8_t)(1u << i % 8);
    }
    spit(path, b, n - 1);
    assert_true(findings(p) > 0);
    b[n] = 0;
    spit(path, b, n + 1);
    assert_true(findings(p) > 0);
    assert_int_equal(unlink(path), 0);
    assert_true(findings(p) > 0);
    assert_string_equal(finding_file, name);
    spit(path, b, n);
    assert_int_equal(findings(p), 0);
    free(b);
}

static void test_every_byte(void **state)
{
    (void)state;
    static const char *const name[] = {"data/%s/000000.rows", "data/%s/000000.commitments", "custody/%s/000000.salts",
                                       "custody/%s/000000.keys", "custody/%s/000000.subjects"};
    place_t p;
    vch_ingest_t in;
    char hex[65], path[256];
    ledger_begin(&p);
    const char *one = save_visits(&p, "one.csv", 7, 3, 1);
    create_visits(&p, one);
    OK(vch_dataset_add(p.l, p.clinic, "visits", one, NULL, NULL, NULL, &in, &err));
    hex_of(&p, "visits", hex);
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        snprintf(path, sizeof path, name[i], hex);
        flip_each(&p, path);
    }
    snprintf(path, sizeof path, "custody/%s/spec.json", hex);
    flip_each(&p, path);
    ledger_end(&p);
}

/* Somebody edits a cell and mends the checksum: the row is still named. */
static void test_forged_row(void **state)
{
    (void)state;
    place_t p;
    vch_ingest_t in;
    char hex[65], path[256];
    size_t n;
    uint64_t rows;
    ledger_begin(&p);
    const char *one = save_visits(&p, "one.csv", 20, 3, 1);
    create_visits(&p, one);
    OK(vch_dataset_add(p.l, p.clinic, "visits", one, NULL, NULL, NULL, &in, &err));
    hex_of(&p, "visits", hex);
    snprintf(path, sizeof path, "%s/data/%s/000000.rows", p.dir, hex);
    uint8_t *b = slurp(path, &n);
    uint64_t table = vch_get_u64(b + 52), at = vch_get_u64(b + table + 8 * 13);
    uint32_t length = vch_get_u32(b + at);
    assert_memory_equal(b + at + 8,
                        "\x81\x62"
                        "13",
                        4);
    b[at + 11] = '4';
    vch_put_u32(b + at + 4 + length, vch_crc32c(0, b + at, 4 + length));
    spit(path, b, n);
    free(b);
    REFUSED(VCH_ERR_COMMITMENT, "row 13 (v13), group \"features\"", vch_dataset_check(p.l, "visits", &rows, &err));
    assert_int_equal(findings(&p), 1);
    assert_non_null(strstr(finding_text, "row 13 (v13)"));
    assert_int_equal(finding_byte, at + 8);
    ledger_end(&p);
}

/* ---- files that are refused ------------------------------------------------------------------------------ */

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
        vch_rc rc;
    } bad[] = {
        {"", "empty", VCH_ERR_FORMAT},
        {"visit,person,a,b,out\n", "no rows", VCH_ERR_FORMAT},
        {"visit,person,a,out\nv1,p1,1,0\n", "column \"b\" of the dataset is missing", VCH_ERR_FORMAT},
        {"visit,person,a,b,c,out\nv1,p1,1,2,3,0\n", "no column \"c\"", VCH_ERR_FORMAT},
        {"visit,person,a,b,b,out\nv1,p1,1,2,3,0\n", "twice", VCH_ERR_FORMAT},
        {"person,a,b,out\np1,1,2,0\n", "\"visit\" of the dataset is missing", VCH_ERR_FORMAT},
        {"visit,person,a,b,out\nv1,p1,1,2,0\nv2,p1,1\n", "line 3: 3 cells for 5 columns: \"b\" to \"out\"",
         VCH_ERR_FORMAT},
        {"visit,person,a,b,out\nv1,p1,1,2\n", "line 2: 4 cells for 5 columns: \"out\" is missing", VCH_ERR_FORMAT},
        {"visit,person,a,b,out\nv1,p1,1,2,0,9\n", "line 2: 6 cells for 5 columns", VCH_ERR_FORMAT},
        {"visit,person,a,b,out\nv1,p1,1,2,0\nv2,p1,1,2,0\nv1,p2,1,2,0\n", "line 4: the key \"v1\"", VCH_ERR_CONFLICT},
        {"visit,person,a,b,out\n,p1,1,2,0\n", "line 2: the row's key is empty", VCH_ERR_FORMAT},
        {"visit,person,a,b,out\nv1,,1,2,0\n", "line 2: the row's subject is empty", VCH_ERR_FORMAT},
        {"visit,person,a,b,out\nv1,p1,1,\"2,0\nv2,p1,1,2,0\n", "line 2", VCH_ERR_FORMAT},
        {"visit,person,a,b,out\nv1,p1,1,\xff,0\n", "line 2", VCH_ERR_FORMAT},
    };
    place_t p;
    vch_ingest_t in;
    ledger_begin(&p);
    create_visits(&p, save_visits(&p, "one.csv", 3, 3, 1));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(bad[i].rc, bad[i].says,
                vch_dataset_add(p.l, p.clinic, "visits", write_file(&p, "bad.csv", bad[i].text), NULL, NULL, NULL, &in,
                                &err));
    REFUSED(VCH_ERR_NOT_FOUND, "none.csv",
            vch_dataset_add(p.l, p.clinic, "visits", file_in(&p, "none.csv"), NULL, NULL, NULL, &in, &err));
    assert_int_equal(findings(&p), 0);
    assert_int_equal(ignore_finding_count, 0); /* nothing was left behind */
    /* Columns in another order, a byte order mark, a blank last line: the same rows. */
    const char *good = write_file(&p, "good.csv", "\xef\xbb\xbfout,b,a,visit,person\n0,2,1,v1,p1\n\n");
    OK(vch_dataset_add(p.l, p.clinic, "visits", good, NULL, NULL, NULL, &in, &err));
    good = write_file(&p, "good.csv", "visit,person,a,b,out\nv1,p1,1,2,0\nv2,p1,1,2,0\n");
    OK(vch_dataset_add(p.l, p.clinic, "visits", good, NULL, NULL, NULL, &in, &err));
    assert_int_equal(in.added, 1);
    assert_int_equal(in.changed, 0);
    ledger_end(&p);
}

static void test_bad_specs(void **state)
{
    (void)state;
    static const char *const twice[] = {"x=a", "y=a"}, *const none[] = {"x"}, *const person[] = {"x=person"};
    place_t p;
    vch_receipt_t receipt;
    ledger_begin(&p);
    const char *header = save_visits(&p, "one.csv", 1, 1, 1);
    vch_dataset_spec_t spec = {.name = "d", .header_csv = header, .subject_col = "nobody"};
    REFUSED(VCH_ERR_NOT_FOUND, "no column \"nobody\"", vch_dataset_create(p.l, p.clinic, &spec, &receipt, &err));
    spec = (vch_dataset_spec_t){.name = "d", .header_csv = header, .group = twice, .groups = 2};
    REFUSED(VCH_ERR_USAGE, "two groups", vch_dataset_create(p.l, p.clinic, &spec, &receipt, &err));
    spec = (vch_dataset_spec_t){.name = "d", .header_csv = header, .group = none, .groups = 1};
    REFUSED(VCH_ERR_USAGE, "NAME=COLUMN", vch_dataset_create(p.l, p.clinic, &spec, &receipt, &err));
    spec =
        (vch_dataset_spec_t){.name = "d", .header_csv = header, .subject_col = "person", .group = person, .groups = 1};
    REFUSED(VCH_ERR_USAGE, "identifies", vch_dataset_create(p.l, p.clinic, &spec, &receipt, &err));
    create_visits(&p, header);
    spec = (vch_dataset_spec_t){.name = "visits", .header_csv = header};
    REFUSED(VCH_ERR_CONFLICT, "already", vch_dataset_create(p.l, p.clinic, &spec, &receipt, &err));
    ledger_end(&p);
}

/* Without names for rows and persons, a row is its number in the file. */
static void test_numbered_rows(void **state)
{
    (void)state;
    place_t p;
    vch_ingest_t in;
    vch_receipt_t receipt;
    ledger_begin(&p);
    const char *one = write_file(&p, "one.csv", "x\n5\n6\n7\n");
    vch_dataset_spec_t spec = {.name = "numbers", .header_csv = one, .label_col = "x"};
    OK(vch_dataset_create(p.l, p.clinic, &spec, &receipt, &err)); /* the label is all there is */
    OK(vch_dataset_add(p.l, p.clinic, "numbers", one, NULL, NULL, NULL, &in, &err));
    OK(vch_dataset_add(p.l, p.clinic, "numbers", write_file(&p, "two.csv", "x\n5\n8\n7\n9\n"), NULL, NULL, NULL, &in,
                       &err));
    diff_is(&p, "numbers@1", "numbers@2",
            "{\"added\":[\"4\"],\"removed\":[],\"features changed\":[],"
            "\"label changed\":[{\"row\":\"2\",\"features\":\"same\"}],\"owner changed\":[]}");
    ledger_end(&p);
}

/* ---- owners ---------------------------------------------------------------------------------------------------- */

static const char *const research =
    "{\"title\":\"research\",\"effect\":\"permit\",\"purposes\":[\"https://w3id.org/dpv#ResearchAndDevelopment\"],"
    "\"until\":\"2099-12-31\"}";

static const char *save_owners(place_t *p, const vch_wallet_t *w, int n)
{
    const char *path = file_in(p, "owners.csv");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int i = 0; i < n; i++) {
        uint8_t key[34];
        char hex[69];
        OK(vch_wallet_key(w, (uint32_t)i, p->l, "cancer", key, &err));
        vch_hex(hex, key, 34);
        fprintf(f, "patient-%d,%s\n", i, hex);
    }
    assert_int_equal(fclose(f), 0);
    return path;
}

static vch_cell_t cell_of(place_t *p, uint32_t subject)
{
    vch_id_t id = id_of(p, "cancer");
    vch_cell_t cell;
    OK(vch_ledger_read_begin(p->l, &err));
    OK(vch_state_cell(p->l->state, &id, subject, &cell, &err));
    vch_ledger_read_end(p->l);
    return cell;
}

/* A ledger with 60 patients; those below 50 hold keys of the wallet. */
static void begin_owned(place_t *p, vch_wallet_t **wallet, vch_hash_t *terms)
{
    static cancer_t cancer;
    vch_ingest_t in;
    vch_receipt_t receipt;
    ledger_begin(p);
    load_cancer(&cancer);
    const char *one = save_cancer(p, "one.csv", &cancer, 60, -1);
    create_cancer(p, one);
    OK(vch_wallet_new(file_in(p, "wallet"), 60, 1, NULL, &err));
    OK(vch_wallet_open(wallet, file_in(p, "wallet"), NULL, &err));
    OK(vch_dataset_add(p->l, p->clinic, "cancer", one, save_owners(p, *wallet, 50), NULL, NULL, &in, &err));
    OK(vch_terms_add(p->l, p->clinic, research, strlen(research), terms, &receipt, &err));
}

static void test_own_consents(void **state)
{
    (void)state;
    place_t p;
    vch_wallet_t *wallet, *other;
    vch_hash_t terms;
    vch_receipt_t receipt;
    uint32_t subjects[50], owners[50];
    begin_owned(&p, &wallet, &terms);
    for (uint32_t i = 0; i < 50; i++) subjects[i] = owners[i] = i;
    OK(vch_consent_give(p.l, p.clinic, wallet, "cancer", subjects, owners, 50, "research", 47000, &receipt, &err));
    assert_int_equal(receipt.count, 50);
    assert_int_equal(cell_of(&p, 49).serial, 1);
    assert_true(cell_of(&p, 49).index != 0);
    /* A second time, the state knows the keys: no proof is needed. */
    OK(vch_consent_withdraw(p.l, p.clinic, wallet, "cancer", subjects, owners, 5, NULL, &receipt, &err));
    assert_int_equal(cell_of(&p, 4).serial, 2);
    /* Another one's key, a key of another wallet, a subject without a key. */
    uint32_t seven = 7, eight = 8, last = 55;
    REFUSED(VCH_ERR_KEY, "does not hold the key of subject 7",
            vch_consent_give(p.l, p.clinic, wallet, "cancer", &seven, &eight, 1, "research", 47000, &receipt, &err));
    REFUSED(VCH_ERR_KEY, "does not hold the key of subject 55",
            vch_consent_give(p.l, p.clinic, wallet, "cancer", &last, &last, 1, "research", 47000, &receipt, &err));
    OK(vch_wallet_new(file_in(&p, "other"), 60, 1, NULL, &err));
    OK(vch_wallet_open(&other, file_in(&p, "other"), NULL, &err));
    REFUSED(VCH_ERR_KEY, "does not hold",
            vch_consent_withdraw(p.l, p.clinic, other, "cancer", &seven, &seven, 1, NULL, &receipt, &err));
    assert_int_equal(cell_of(&p, 7).serial, 1);
    uint32_t same[2] = {7, 7};
    REFUSED(VCH_ERR_USAGE, "twice",
            vch_consent_give(p.l, p.clinic, wallet, "cancer", same, same, 2, "research", 47000, &receipt, &err));
    REFUSED(VCH_ERR_NOT_FOUND, "",
            vch_consent_give(p.l, p.clinic, wallet, "cancer", &seven, &seven, 1, "no such terms", 1, &receipt, &err));
    vch_wallet_free(wallet);
    vch_wallet_free(other);
    ledger_end(&p);
}

static void test_recorded_consents(void **state)
{
    (void)state;
    place_t p;
    vch_wallet_t *wallet;
    vch_hash_t terms;
    vch_receipt_t receipt;
    uint64_t count;
    char lines[512], hex[65];
    uint32_t three = 3;
    begin_owned(&p, &wallet, &terms);
    vch_hex(hex, terms.b, 32);
    snprintf(lines, sizeof lines,
             "subject,terms,until,action\npatient-3,research,2098-01-31,give\npatient-55,%s,2098-01-31,give,%s\n"
             "patient-55,,,withdraw\npatient-55,research,2097-01-31,give\n",
             hex, hex);
    OK(vch_consent_record(p.l, p.clinic, "cancer", write_file(&p, "paper.csv", lines), &count, &err));
    assert_int_equal(count, 4);
    assert_int_equal(cell_of(&p, 3).serial, 1);
    assert_int_equal(cell_of(&p, 55).serial, 3);
    OK(vch_consent_withdraw(p.l, p.clinic, wallet, "cancer", &three, &three, 1, NULL, &receipt, &err));
    const char *again = write_file(&p, "again.csv", "patient-3,research,2098-01-31,give\n");
    REFUSED(VCH_ERR_DENIED, "only the owner can give again",
            vch_consent_record(p.l, p.clinic, "cancer", again, &count, &err));
    assert_int_equal(cell_of(&p, 3).serial, 2);
    OK(vch_consent_give(p.l, p.clinic, wallet, "cancer", &three, &three, 1, hex, 47000, &receipt, &err));
    static const struct {
        const char *line, *says;
        vch_rc rc;
    } bad[] = {
        {"patient-99,research,2098-01-31,give\n", "line 1: the dataset has no subject \"patient-99\"",
         VCH_ERR_NOT_FOUND},
        {"patient-4,nothing,2098-01-31,give\n", "line 1", VCH_ERR_NOT_FOUND},
        {"patient-4,research,2098-02-30,give\n", "line 1: until", VCH_ERR_FORMAT},
        {"patient-4,research,2098-01-31,lend\n", "line 1: the action", VCH_ERR_FORMAT},
        {"patient-4,research,2098-01-31\n", "line 1: a line is", VCH_ERR_FORMAT},
        {"patient-4,research,2098-01-31,give\npatient-5,research,2098-01-31,give,12\n", "line 2: evidence",
         VCH_ERR_FORMAT},
        {"", "no consents", VCH_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(bad[i].rc, bad[i].says,
                vch_consent_record(p.l, p.clinic, "cancer", write_file(&p, "bad.csv", bad[i].line), &count, &err));
    assert_int_equal(cell_of(&p, 4).serial, 0);
    vch_wallet_free(wallet);
    ledger_end(&p);
}

/* Paths out of the custodian's file, checked as the state checks them. */
static void test_key_proofs(void **state)
{
    (void)state;
    place_t p;
    vch_wallet_t *wallet;
    vch_hash_t terms, path[VCH_PATH_HASHES_MAX], leaf;
    vch_key_tree_t *tree;
    vch_keyid_t key;
    vch_range_value_t range;
    vch_buf_t value;
    size_t n;
    uint32_t first;
    begin_owned(&p, &wallet, &terms);
    vch_id_t id = id_of(&p, "cancer");
    vch_state_key_t at = vch_key_id_u32('s', id.b, 0);
    vch_buf_init(&value, 4096);
    OK(vch_ledger_read_begin(p.l, &err));
    OK(vch_state_get(p.l->state, vch_key_slice(&at), &value, &err));
    vch_ledger_read_end(p.l);
    OK(vch_range_get(&range, vch_buf_slice(&value)));
    vch_buf_free(&value);
    OK(vch_key_tree_open(&tree, p.l, &id, &err));
    for (uint32_t i = 0; i < 60; i++) {
        OK(vch_key_tree_path(tree, i, &key, &first, path, &n, &err));
        vch_subject_leaf(&leaf, i, &key);
        assert_true(vch_inclusion_verify(i - first, range.count, &leaf, path, n, &range.root));
        key.b[0] ^= 1;
        vch_subject_leaf(&leaf, i, &key);
        assert_false(vch_inclusion_verify(i - first, range.count, &leaf, path, n, &range.root));
    }
    REFUSED(VCH_ERR_NOT_FOUND, "no 60", vch_key_tree_path(tree, 60, &key, &first, path, &n, &err));
    vch_key_tree_close(tree);
    vch_wallet_free(wallet);
    ledger_end(&p);
}

static void test_bad_owners(void **state)
{
    (void)state;
    static cancer_t cancer;
    static const struct {
        const char *line, *says;
        vch_rc rc;
    } bad[] = {
        {"patient-1\n", "line 1: a line is", VCH_ERR_FORMAT},
        {"patient-1,ed01\n", "line 1: not a multicodec", VCH_ERR_KEY},
        {"patient-1,xyz\n", "line 1: not a multicodec", VCH_ERR_KEY},
        {"patient-77,ed01d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\n",
         "line 1: no row is about this person", VCH_ERR_NOT_FOUND},
    };
    place_t p;
    vch_ingest_t in;
    ledger_begin(&p);
    load_cancer(&cancer);
    const char *one = save_cancer(&p, "one.csv", &cancer, 10, -1);
    create_cancer(&p, one);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(bad[i].rc, bad[i].says,
                vch_dataset_add(p.l, p.clinic, "cancer", one, write_file(&p, "owners.csv", bad[i].line), NULL, NULL,
                                &in, &err));
    ledger_end(&p);
}

static void test_wallets(void **state)
{
    (void)state;
    place_t p;
    vch_wallet_t *w;
    size_t n;
    ledger_begin(&p);
    const char *plain = file_in(&p, "plain"), *sealed = file_in(&p, "sealed");
    OK(vch_wallet_new(plain, 3, 1, NULL, &err));
    REFUSED(VCH_ERR_CONFLICT, "never overwritten", vch_wallet_new(plain, 3, 1, NULL, &err));
    REFUSED(VCH_ERR_LIMIT, "owners", vch_wallet_new(file_in(&p, "x"), 0, 1, NULL, &err));
    OK(vch_wallet_open(&w, plain, NULL, &err));
    assert_int_equal(vch_wallet_owners(w), 3);
    assert_true(vch_wallet_simulated(w));
    uint8_t key[34];
    create_visits(&p, save_visits(&p, "one.csv", 1, 1, 1));
    REFUSED(VCH_ERR_NOT_FOUND, "no 3", vch_wallet_key(w, 3, p.l, "visits", key, &err));
    vch_wallet_free(w);
    uint8_t *b = slurp(plain, &n);
    for (size_t i = 0; i < n; i++) {
        b[i] ^= 0x10;
        spit(plain, b, n);
        assert_true(vch_wallet_open(&w, plain, NULL, &err) != VCH_OK);
        b[i] ^= 0x10;
    }
    free(b);
    OK(vch_wallet_new(sealed, 2, 0, "correct horse", &err));
    REFUSED(VCH_ERR_KEY, "sealed", vch_wallet_open(&w, sealed, NULL, &err));
    REFUSED(VCH_ERR_KEY, "wrong", vch_wallet_open(&w, sealed, "wrong horse", &err));
    OK(vch_wallet_open(&w, sealed, "correct horse", &err));
    assert_int_equal(vch_wallet_owners(w), 2);
    assert_false(vch_wallet_simulated(w));
    vch_wallet_free(w);
    ledger_end(&p);
}

static void test_bad_terms(void **state)
{
    (void)state;
    static const struct {
        const char *json, *says;
        vch_rc rc;
    } bad[] = {
        {"[]", "object", VCH_ERR_FORMAT},
        {"{\"title\":\"t\",\"colour\":\"red\"}", "no member \"colour\"", VCH_ERR_FORMAT},
        {"{\"effect\":\"permit\"}", "\"title\" is missing", VCH_ERR_FORMAT},
        {"{\"title\":\"t\",\"effect\":\"maybe\"}", "\"effect\"", VCH_ERR_FORMAT},
        {"{\"title\":\"t\",\"until\":\"soon\"}", "\"until\"", VCH_ERR_FORMAT},
        {"{\"title\":\"t\",\"until\":-1}", "\"until\"", VCH_ERR_FORMAT},
        {"{\"title\":\"\"}", "\"title\"", VCH_ERR_LIMIT},
        {"{\"title\":\"t\",\"purposes\":[\"urn:no-such-purpose\"]}", "", VCH_ERR_REFERENCE},
        {"{\"title\":\"t\",\"recipients\":[\"nobody\"]}", "", VCH_ERR_NOT_FOUND},
    };
    place_t p;
    vch_hash_t hash, again;
    vch_receipt_t receipt;
    ledger_begin(&p);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(bad[i].rc, bad[i].says,
                vch_terms_add(p.l, p.clinic, bad[i].json, strlen(bad[i].json), &hash, &receipt, &err));
    const char *json = "{\"title\":\"t\",\"recipients\":[\"clinic\"],\"from\":\"2020-01-01\",\"retention-days\":30}";
    OK(vch_terms_add(p.l, p.clinic, json, strlen(json), &hash, &receipt, &err));
    REFUSED(VCH_ERR_CONFLICT, "already", vch_terms_add(p.l, p.clinic, json, strlen(json), &again, &receipt, &err));
    ledger_end(&p);
}

static void test_days(void **state)
{
    (void)state;
    uint32_t day;
    for (time_t t = 0; t < (time_t)200 * 366 * 86400; t += 86400) {
        char text[16];
        struct tm tm;
        assert_non_null(gmtime_r(&t, &tm));
        assert_int_equal(strftime(text, sizeof text, "%Y-%m-%d", &tm), 10);
        OK(vch_day_get(&day, vch_str(text)));
        assert_int_equal(day, t / 86400);
    }
    static const char *const bad[] = {"2023-02-29", "2100-02-29", "2023-13-01", "2023-00-01",
                                      "2023-01-00", "2023-04-31", "1969-12-31", "2023-1-01",
                                      "2023/01/01", "",           "2023-01-011"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(vch_day_get(&day, vch_str(bad[i])), VCH_ERR_FORMAT);
}

/* ---- cut off ------------------------------------------------------------------------------------------------ */

typedef struct {
    vch_sim_t *sim;
    vch_port_t *port;
    vch_ledger_t *l;
    vch_signer_t *clinic;
} sim_place_t;

static void sim_file(sim_place_t *s, const char *path, int rows, int value)
{
    char text[4096];
    size_t n = (size_t)snprintf(text, sizeof text, "visit,person,a,b,out\n");
    for (int i = 0; i < rows; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "v%d,p%d,%d,%d,%d\n", i, i % 4, i, i == 2 ? value : 0, i % 2);
    OK(vch_write_atomic(s->port, path, vch_slice(text, n), 0600, &err));
}

static void sim_open(sim_place_t *s)
{
    OK(vch_ledger_open_on(&s->l, s->port, "/l", 0, &err));
    OK(vch_identity_load(s->l, "clinic", NULL, &s->clinic, &err));
}

static void sim_begin(sim_place_t *s, uint64_t seed)
{
    vch_init_t init = {.origin = "clinic.example/ledger", .operator_name = "clinic"};
    vch_receipt_t receipt;
    vch_ingest_t in;
    vch_dataset_spec_t spec = {
        .name = "visits", .header_csv = "/one.csv", .subject_col = "person", .key_col = "visit", .label_col = "out"};
    OK(vch_sim_new(&s->sim, seed));
    s->port = vch_sim_port(s->sim);
    OK(vch_ledger_init_on(s->port, "/l", &init, &err));
    sim_open(s);
    sim_file(s, "/one.csv", 8, 1);
    sim_file(s, "/two.csv", 10, 2);
    OK(vch_dataset_create(s->l, s->clinic, &spec, &receipt, &err));
    OK(vch_dataset_add(s->l, s->clinic, "visits", "/one.csv", NULL, NULL, NULL, &in, &err));
}

static void sim_close(sim_place_t *s)
{
    vch_signer_free(s->clinic);
    if (vch_ledger_close(s->l, &err) != VCH_OK) assert_true(err.text[0] != 0); /* the power is off */
}

static uint64_t sim_check(sim_place_t *s)
{
    uint64_t n = 99;
    ignore_finding_count = 0;
    OK(vch_custody_check(s->l, note_finding, NULL, &n, &err));
    return n;
}

/* The power goes at the n-th call of the disk during the second ingest.  It
 * is there wholly or not at all, nothing is damaged, and doing it again gives
 * what it would have given. */
static bool cut_at(uint64_t seed, uint64_t nth)
{
    sim_place_t s;
    vch_ingest_t in;
    uint64_t rows;
    sim_begin(&s, seed);
    vch_sim_cut_power_at(s.sim, nth);
    vch_rc first = vch_dataset_add(s.l, s.clinic, "visits", "/two.csv", NULL, NULL, NULL, &in, &err);
    sim_close(&s);
    vch_sim_crash(s.sim);
    sim_open(&s);
    if (sim_check(&s) != 0)
        fail_msg("seed %llu, cut at %llu: %s: %s", (unsigned long long)seed, (unsigned long long)nth, finding_file,
                 finding_text);
    vch_rc again = vch_dataset_add(s.l, s.clinic, "visits", "/two.csv", NULL, NULL, NULL, &in, &err);
    if (first == VCH_OK || again != VCH_OK) REFUSED(VCH_ERR_CONFLICT, "nothing to add", again);
    OK(vch_dataset_check(s.l, "visits@2", &rows, &err));
    assert_int_equal(rows, 10);
    assert_int_equal(sim_check(&s), 0);
    assert_int_equal(ignore_finding_count, 0);
    sim_close(&s);
    vch_sim_free(s.sim);
    return first == VCH_OK;
}

static void test_cut_off(void **state)
{
    (void)state;
    uint64_t nth = 1, last_failed = 0;
    for (; nth < 400; nth++)
        if (!cut_at(nth, nth)) last_failed = nth;
    assert_true(last_failed > 20);  /* the cut did fall inside, */
    assert_true(last_failed < 399); /* and we went past its end */
}

/* A failure without a crash takes the new files away at once. */
static void test_failed_write(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 60; nth++) {
        sim_place_t s;
        vch_ingest_t in;
        sim_begin(&s, nth);
        vch_sim_fail_io(s.sim, nth, VCH_FAULT_ENOSPC);
        vch_rc rc = vch_dataset_add(s.l, s.clinic, "visits", "/two.csv", NULL, NULL, NULL, &in, &err);
        vch_sim_fail_io(s.sim, 0, VCH_FAULT_NONE);
        if (rc != VCH_OK && !s.l->poisoned) {
            assert_int_equal(sim_check(&s), 0);
            assert_int_equal(ignore_finding_count, 0);
            OK(vch_dataset_add(s.l, s.clinic, "visits", "/two.csv", NULL, NULL, NULL, &in, &err));
        }
        sim_close(&s);
        vch_sim_free(s.sim);
    }
}

/* ---- the long run ---------------------------------------------------------------------------------------------- */

/* Every row but the multiples of `skip`. */
static const char *save_big(const place_t *p, long rows, long skip)
{
    const char *path = file_in(p, "big.csv");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fprintf(f, "id,a,b,c,label\n");
    for (long i = 0; i < rows; i++)
        if (!skip || i % skip) fprintf(f, "person-%ld,%ld,%ld,%ld,%ld\n", i, i * 7, i % 100, i % 13, i % 2);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* VOUCHSAFE_SOAK=rows (1: a million). */
static void test_soak(void **state)
{
    (void)state;
    const char *wanted = getenv("VOUCHSAFE_SOAK");
    if (!wanted || !*wanted) {
        print_message("skipped: set VOUCHSAFE_SOAK to a number of rows\n");
        skip();
    }
    long rows = strtol(wanted, NULL, 10);
    if (rows <= 1) rows = 1000000;
    place_t p;
    vch_ingest_t in;
    struct rusage use;
    ledger_begin(&p);
    const char *path = save_big(&p, rows, 0);
    vch_receipt_t receipt;
    vch_dataset_spec_t spec = {.name = "big", .header_csv = path, .subject_col = "id", .label_col = "label"};
    OK(vch_dataset_create(p.l, p.clinic, &spec, &receipt, &err));
    time_t begun = time(NULL);
    OK(vch_dataset_add(p.l, p.clinic, "big", path, NULL, NULL, NULL, &in, &err));
    assert_int_equal(in.added, rows);
    assert_int_equal(getrusage(RUSAGE_SELF, &use), 0);
    print_message("%ld rows in %ld s, %ld MiB at most\n", rows, (long)(time(NULL) - begun), use.ru_maxrss / 1024);
    begun = time(NULL);
    OK(vch_dataset_add(p.l, p.clinic, "big", save_big(&p, rows, 1000), NULL, NULL, NULL, &in, &err));
    assert_int_equal(in.removed, (rows + 999) / 1000);
    assert_int_equal(in.added + in.changed, 0);
    assert_int_equal(in.version, 1 + ((rows + 2047) / 2048 + 2047) / 2048); /* 2,048 changed leaves a version */
    assert_int_equal(getrusage(RUSAGE_SELF, &use), 0);
    print_message("again, a row in 1,000 missing: %ld s, %ld MiB at most\n", (long)(time(NULL) - begun),
                  use.ru_maxrss / 1024);
    assert_true(use.ru_maxrss / 1024 < 1536);
    ledger_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),     cmocka_unit_test(test_carried_salts),
        cmocka_unit_test(test_many_extents), cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_forged_row),   cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_bad_specs),    cmocka_unit_test(test_numbered_rows),
        cmocka_unit_test(test_own_consents), cmocka_unit_test(test_recorded_consents),
        cmocka_unit_test(test_key_proofs),   cmocka_unit_test(test_bad_owners),
        cmocka_unit_test(test_wallets),      cmocka_unit_test(test_bad_terms),
        cmocka_unit_test(test_days),         cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_failed_write), cmocka_unit_test(test_soak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
