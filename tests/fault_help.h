/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of a ledger's life on the simulated machine, each done again and again
 * while one disk call fails, or one allocation is refused, another one each
 * time.  What must hold then, whatever the call:
 *
 *   the failure is told in words, nothing leaks, no rows are left in the clear,
 *   the directory opens and its check finds no damage, the step can be done
 *   again, and what was acknowledged is there.
 *
 * Every other time the power is cut before the directory is opened again.
 * Not covered: memory that OpenSSL, libsodium and LMDB take for themselves,
 * for it does not go through vch_alloc. */
#ifndef VCH_TEST_FAULT_HELP_H
#define VCH_TEST_FAULT_HELP_H

#include <stdio.h>
#include <stdlib.h>

#include "disk_image.h"
#include "ledger_help.h"
#include "node/node_int.h"
#include "node/run.h"
#include "node/wallet_int.h"
#include "port/sim.h"

#define FH_DIR "/l"
#define FH_RESEARCH "https://w3id.org/dpv#ScientificResearch"
#define FH_TRAINING "https://w3id.org/dpv/ai#ModelTraining"
#define FH_ROWS 14u

/* ---- the machine of one try --------------------------------------------------------- */

typedef struct {
    vch_sim_t *sim;
    vch_port_t *port;
    vch_ledger_t *l;
    vch_signer_t *op;
    bool op_is_lent;
    vch_wallet_t *wallet;
    vch_err_t err;
    vch_fault_t how;  /* of disk calls */
    uint64_t io_at;   /* the disk call that is to fail, counted from the machine's birth; 0: none */
    uint64_t counted; /* disk calls of a run's command, which is another program */
    vch_receipt_t receipt;
    char grant[65], run[65]; /* once there is one */
    bool cut;                /* the power was cut before the directory was opened again */
} fh_t;

/* The one that a run's command belongs to. */
extern fh_t *fh_now;

/* Seen through a failure: what went wrong must be said. */
static inline bool fh_went_(fh_t *w, vch_rc rc, const char *what)
{
    if (rc == VCH_OK) return true;
    if (w->err.text[0] == 0) fail_msg("%s: %s came without a text", what, vch_rc_name(rc));
    if (w->err.rc != rc)
        fail_msg("%s: %s, but the text is of %s: %s", what, vch_rc_name(rc), vch_rc_name(w->err.rc), w->err.text);
    return false;
}
#define fh_went(w, call) ((w)->err = (vch_err_t){0}, fh_went_(w, call, #call))
#define FH_OK(w, call)                                                                                                 \
    do {                                                                                                               \
        (w)->err = (vch_err_t){0};                                                                                     \
        vch_rc di_rc_ = (call);                                                                                        \
        if (di_rc_ != VCH_OK) fail_msg("%s: %s: %s", #call, vch_rc_name(di_rc_), (w)->err.text);                       \
    } while (0)

static inline void fh_put(fh_t *w, const char *path, const char *text)
{
    FH_OK(w, vch_write_atomic(w->port, path, vch_str(text), 0600, &w->err));
}

static inline bool fh_there(fh_t *w, const char *path)
{
    vch_stat_t st;
    return w->port->disk->stat(w->port, path, &st) == VCH_OK;
}

static inline void fh_birth(fh_t *w, uint64_t seed)
{
    *w = (fh_t){.how = VCH_FAULT_NONE};
    fh_now = w;
    DI_DO(vch_sim_new(&w->sim, seed));
    w->port = vch_sim_port(w->sim);
    vch_mem_use(vch_sim_mem(w->sim));
}

static inline void fh_open(fh_t *w)
{
    FH_OK(w, vch_ledger_open_on(&w->l, w->port, FH_DIR, 0, &w->err));
    if (!w->op) FH_OK(w, vch_identity_load(w->l, "clinic-a", NULL, &w->op, &w->err));
    if (fh_there(w, "/wallet")) FH_OK(w, vch__wallet_open_on(&w->wallet, w->port, "/wallet", NULL, &w->err));
}

/* Everything but the ledger itself. */
static inline void fh_forget(fh_t *w)
{
    if (!w->op_is_lent) vch_signer_free(w->op);
    if (!w->op_is_lent) w->op = NULL;
    vch_wallet_free(w->wallet);
    w->wallet = NULL;
    w->l = NULL;
}

static inline void fh_close(fh_t *w)
{
    FH_OK(w, vch_ledger_close(w->l, &w->err));
    fh_forget(w);
}

static inline size_t fh_death(fh_t *w)
{
    size_t live = vch_sim_mem_live(w->sim);
    vch_mem_use(NULL);
    vch_sim_free(w->sim);
    return live;
}

/* ---- a small ledger, stage by stage ---------------------------------------------------- */

typedef enum { FH_EMPTY, FH_DATASET, FH_FILLED, FH_CONSENTS, FH_GRANT, FH_MODEL, FH_DECISIONS } fh_stage_t;

static inline void fh_begin_ledger(fh_t *w)
{
    vch_init_t init = lh_init();
    FH_OK(w, vch_ledger_init_on(w->port, FH_DIR, &init, &w->err));
    FH_OK(w, vch__wallet_new_on(w->port, "/wallet", FH_ROWS + 4, 1, NULL, &w->err));
    DI_DO(w->port->disk->mkdir(w->port, "/bin", 0700));
    fh_put(w, "/bin/sh", "the program that a run names; it lies on the other disk too");
    fh_put(w, "/head.csv", "person,x,y,label\n");
    fh_put(w, "/paper.csv", "subject,terms,until,action\np11,training,2079-01-01,give\np12,training,2079-01-01,give\n");
    fh_put(w, "/lines.jsonl",
           "{\"input\":{\"x\":1},\"output\":\"yes\",\"reasons\":[\"r1\"]}\n"
           "{\"input\":{\"x\":2},\"output\":\"no\"}\n{\"input\":{\"x\":3},\"output\":\"yes\"}\n");
}

static inline vch_rc fh_create(fh_t *w)
{
    vch_dataset_spec_t spec = {
        .name = "cohort", .header_csv = "/head.csv", .subject_col = "person", .label_col = "label"};
    return vch_dataset_create(w->l, w->op, &spec, &w->receipt, &w->err);
}

/* Rows first to last; every fifth is another one in the later file. */
static inline void fh_put_rows(fh_t *w, const char *path, unsigned first, unsigned last, unsigned salt)
{
    char text[2048] = "person,x,y,label\n";
    for (unsigned i = first; i < last; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "p%02u,%u,%u.5,%u\n", i, i, i % 5 == 0 ? i * i + salt : i * i, i & 1);
    }
    fh_put(w, path, text);
}

static inline void fh_put_owners(fh_t *w, const char *path, unsigned first, unsigned last)
{
    char text[4096] = "";
    for (uint32_t i = first; i < last; i++) {
        uint8_t key[34];
        char hex[69];
        FH_OK(w, vch_wallet_key(w->wallet, i, w->l, "cohort", key, &w->err));
        vch_hex(hex, key, sizeof key);
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "p%02u,%s\n", i, hex);
    }
    fh_put(w, path, text);
}

static inline vch_rc fh_add(fh_t *w, const char *rows, const char *owners)
{
    vch_ingest_t in;
    return vch_dataset_add_split(w->l, w->op, "cohort", rows, owners, 6, NULL, NULL, &in, &w->err);
}

static inline vch_rc fh_add_first(fh_t *w) { return fh_add(w, "/rows1.csv", "/owners1.csv"); }

static inline vch_rc fh_add_terms(fh_t *w)
{
    static const char terms[] = "{\"title\":\"training\",\"effect\":\"permit\",\"recipients\":[],"
                                "\"purposes\":[\"" FH_RESEARCH "\"],\"processings\":[\"" FH_TRAINING "\"]}";
    vch_hash_t hash;
    return vch_terms_add(w->l, w->op, terms, sizeof terms - 1, &hash, &w->receipt, &w->err);
}

static inline vch_rc fh_give(fh_t *w, uint32_t first, uint32_t n)
{
    uint32_t who[FH_ROWS];
    for (uint32_t i = 0; i < n; i++) who[i] = first + i;
    return vch_consent_give(w->l, w->op, w->wallet, "cohort", who, who, n, "training", 40000, &w->receipt, &w->err);
}

static inline vch_rc fh_ask(fh_t *w)
{
    return vch_access_request(w->l, w->op, "cohort", FH_RESEARCH, FH_TRAINING, NULL, 0, &w->receipt, &w->err);
}

/* The id of what there is last of a kind: "grants", "models", "runs". */
static inline void fh_last(fh_t *w, const char *what, const char *member, char ret[65])
{
    vch_text_t text;
    char wanted[40];
    const char *at = NULL;
    FH_OK(w, vch_query(w->l, what, NULL, &text, &w->err));
    snprintf(wanted, sizeof wanted, "\"%s\":\"", member);
    for (const char *p = text.p; (p = strstr(p, wanted)); p++) at = p + strlen(wanted);
    if (!at) fail_msg("no \"%s\" in %s", member, text.p);
    snprintf(ret, 65, "%.64s", at);
    vch_text_free(&text);
}

static inline size_t fh_count(fh_t *w, const char *what, const char *of, const char *member)
{
    vch_text_t text;
    char wanted[40];
    size_t n = 0;
    FH_OK(w, vch_query(w->l, what, of, &text, &w->err));
    snprintf(wanted, sizeof wanted, "\"%s\":", member);
    for (const char *p = text.p; (p = strstr(p, wanted)); p++) n++;
    vch_text_free(&text);
    return n;
}

static inline vch_rc fh_run(fh_t *w)
{
    static const char *const argv[] = {"/bin/sh", "-c", "train", NULL};
    const char *grants[] = {w->grant};
    vch_run_result_t result;
    vch_run_spec_t spec = {
        .grant = grants, .grants = 1, .name = "model-a", .has_seed = 1, .seed = 7, .holdout = 3, .argv = argv};
    return vch_run_exec(w->l, w->op, &spec, &result, &w->err);
}

static inline vch_rc fh_deploy(fh_t *w)
{
    char model[65], json[160];
    fh_last(w, "models", "id", model);
    int n = snprintf(json, sizeof json, "{\"model\":\"%s\",\"scope\":\"ward-3\"}", model);
    return vch_submit_json(w->l, w->op, "deployment", json, (size_t)n, &w->receipt, &w->err);
}

static inline vch_rc fh_decide(fh_t *w)
{
    uint64_t first, count;
    return vch_decisions_log(w->l, w->op, "ward-3", "/lines.jsonl", &first, &count, &w->receipt, &w->err);
}

/* Rows go into the embedded vault; for a whole program. */
static bool fh_in_vault;

static inline void fh_make(fh_t *w, fh_stage_t stage)
{
    fh_begin_ledger(w);
    fh_open(w);
    if (fh_in_vault) FH_OK(w, vch_vault_up(w->l, w->op, &w->err));
    if (stage >= FH_DATASET) {
        FH_OK(w, fh_create(w));
        fh_put_rows(w, "/rows1.csv", 0, FH_ROWS, 0);
        fh_put_rows(w, "/rows2.csv", 1, FH_ROWS + 3, 1);
        fh_put_owners(w, "/owners1.csv", 0, FH_ROWS - 3);
        fh_put_owners(w, "/owners2.csv", FH_ROWS, FH_ROWS + 2);
        FH_OK(w, fh_add_terms(w));
    }
    if (stage >= FH_FILLED) FH_OK(w, fh_add_first(w));
    if (stage >= FH_CONSENTS) FH_OK(w, fh_give(w, 0, 8));
    if (stage >= FH_GRANT) FH_OK(w, fh_ask(w));
    if (stage >= FH_MODEL) {
        fh_last(w, "grants", "id", w->grant);
        FH_OK(w, fh_run(w));
        FH_OK(w, fh_deploy(w));
    }
    if (stage >= FH_DECISIONS) FH_OK(w, fh_decide(w));
    fh_close(w);
}

static inline di_image_t *fh_image(fh_stage_t stage)
{
    fh_t w;
    fh_birth(&w, 6); /* not a try's: its random bytes would come twice */
    fh_make(&w, stage);
    di_image_t *image = di_take(w.port);
    assert_int_equal(fh_death(&w), 0);
    return image;
}

/* ---- one step, failing at each place --------------------------------------------------- */

typedef struct {
    const char *name;
    fh_stage_t stage;
    vch_rc (*act)(fh_t *);
    void (*holds)(fh_t *); /* after it was acknowledged: fails the test if something is missing */
    /* What wasn't acknowledged may be there all the same, and then can't be done
     * again; NULL: it always can. */
    bool (*done)(fh_t *);
} fh_step_t;

/* One in how many tries is made: few calls are all tried. */
static inline uint64_t fh_stride(uint64_t calls, uint64_t tries)
{
    const char *scale = getenv("VOUCHSAFE_TEST_SCALE");
    unsigned long percent = scale ? strtoul(scale, NULL, 10) : 100;
    if (percent > 0 && percent < 100) tries = tries * percent / 100 + 1;
    return (calls + tries - 1) / tries;
}

typedef struct {
    const char *what;
    unsigned derived;
    char text[300];
} fh_found_t;

static inline void fh_note(void *ctx, const vch_finding_t *f)
{
    fh_found_t *found = ctx;
    found->derived += f->derived != 0;
    snprintf(found->text, sizeof found->text, "%s: %s", f->file, f->text);
}

/* Without signatures, which no fault here can change and which take longest. */
static inline void fh_check(fh_t *w, const char *what, bool spotless)
{
    fh_found_t found = {.what = what};
    uint64_t findings = 0;
    w->err = (vch_err_t){0};
    if (vch_ledger_check_on(w->port, FH_DIR, 0, 0, fh_note, &found, &findings, &w->err) != VCH_OK)
        fail_msg("%s: %s (%s)", what, w->err.text, found.text);
    if (spotless && findings) fail_msg("%s: %s", what, found.text);
}

/* Rows in the clear stay with the custodian, and the held-out ones with their run. */
static inline void fh_no_rows(fh_t *w, const char *what)
{
    di_image_t *now = di_take(w->port);
    for (size_t i = 0; i < now->files; i++)
        if (strstr(now->file[i].path, "/in/train.csv")) fail_msg("%s: %s is left", what, now->file[i].path);
    di_drop(now);
}

typedef struct {
    uint64_t io, alloc; /* calls of the whole step */
    unsigned told;
} fh_tally_t;

/* The whole of one try: `io` or `alloc` is the call that fails, 0 none. */
static inline void fh_try(const fh_step_t *s, const di_image_t *image, vch_signer_t *op, vch_fault_t how, uint64_t io,
                          uint64_t alloc, bool cut, fh_tally_t *tally)
{
    fh_t w;
    char what[160];
    snprintf(what, sizeof what, "%s, %s %llu%s", s->name, io ? "disk call" : "allocation",
             (unsigned long long)(io ? io : alloc), cut ? ", power cut" : "");
    fh_birth(&w, 5);
    w.op = op;
    w.op_is_lent = true;
    di_lay(w.port, image);
    vch_sim_clock_jump(w.sim, 5000);
    fh_open(&w);
    if (s->stage >= FH_GRANT) fh_last(&w, "grants", "id", w.grant);
    if (s->stage >= FH_MODEL) fh_last(&w, "runs", "id", w.run);
    uint64_t io_before = vch_sim_io_calls(w.sim), alloc_before = vch_sim_alloc_calls(w.sim);
    w.how = how;
    w.io_at = io ? io_before + io : 0;
    vch_sim_fail_io(w.sim, io, how);
    vch_sim_fail_alloc(w.sim, alloc);
    bool acked = fh_went_(&w, s->act(&w), what);
    bool told_rows = strstr(w.err.text, "train.csv") != NULL;
    bool closed = fh_went(&w, vch_ledger_close(w.l, &w.err));
    vch_sim_fail_io(w.sim, 0, VCH_FAULT_NONE);
    vch_sim_fail_alloc(w.sim, 0);
    tally->io = vch_sim_io_calls(w.sim) - io_before - w.counted;
    tally->alloc = vch_sim_alloc_calls(w.sim) - alloc_before;
    tally->told += !acked || !closed;
    fh_forget(&w);
    if (w.counted && !told_rows) fh_no_rows(&w, what);
    w.cut = cut;
    if (cut) vch_sim_crash(w.sim);
    w.io_at = 0;
    fh_check(&w, what, false);
    fh_open(&w);
    if (!acked && !(s->done && s->done(&w))) FH_OK(&w, s->act(&w));
    s->holds(&w);
    fh_close(&w);
    fh_check(&w, what, !cut && !told_rows);
    size_t live = fh_death(&w);
    if (live) fail_msg("%s: %zu bytes leak", what, live);
}

#define FH_TRIES 250u

/* Decoding a key file takes OpenSSL longer than most steps take, so it is read
 * once, into the C library's memory. */
static inline vch_signer_t *fh_operator(const di_image_t *image)
{
    vch_signer_t *op = NULL;
    for (size_t i = 0; i < image->files; i++) {
        const di_file_t *f = &image->file[i];
        if (strcmp(f->path, FH_DIR "/keys/clinic-a.pem") != 0) continue;
        DI_DO(vch_signer_from_pem(&op, vch_slice(f->page[0].b, f->page[0].n), NULL, NULL));
    }
    return op;
}

/* `tries`: at most about so many of each sort of failure. */
static inline void fh_each(const fh_step_t *s, uint64_t tries)
{
    static const vch_fault_t how[] = {VCH_FAULT_EIO, VCH_FAULT_ENOSPC, VCH_FAULT_SHORT};
    di_image_t *image = fh_image(s->stage);
    vch_signer_t *op = fh_operator(image);
    fh_tally_t all = {0}, disk = {0}, short_ones = {0}, memory = {0};
    fh_try(s, image, op, VCH_FAULT_NONE, 0, 0, false, &all);
    assert_int_equal(all.told, 0);
    for (size_t h = 0; h < 3; h++) {
        uint64_t stride = fh_stride(all.io, how[h] == VCH_FAULT_EIO ? tries : tries / 6);
        for (uint64_t nth = 1 + h * stride / 3; nth <= all.io; nth += stride)
            fh_try(s, image, op, how[h], nth, 0, nth / stride % 2, how[h] == VCH_FAULT_SHORT ? &short_ones : &disk);
    }
    uint64_t stride = fh_stride(all.alloc, tries);
    for (uint64_t nth = 1; nth <= all.alloc; nth += stride)
        fh_try(s, image, op, VCH_FAULT_NONE, 0, nth, nth / stride % 2, &memory);
    vch_signer_free(op);
    di_drop(image);
    print_message("%s: %llu disk calls (failures told: %u), %llu allocations (refusals told: %u), one in %llu\n",
                  s->name, (unsigned long long)all.io, disk.told, (unsigned long long)all.alloc, memory.told,
                  (unsigned long long)stride);
    assert_int_equal(short_ones.told, 0);
    assert_true(disk.told > 0);
    assert_true(memory.told > 0 || all.alloc == 0);
}

/* ---- the command of a run ------------------------------------------------------------------
 * The simulated machine starts no other programs.  The linker puts this in the
 * place of vch_child_run (-Wl,--wrap): it does what a command would, by disk
 * calls of its own that neither fail nor count. */

#ifdef FH_WITH_RUNS
fh_t *fh_now;

static void fh_write(fh_t *w, const char *out, const char *name, const char *text)
{
    char path[VCH_PATH_MAX];
    vch_file_t *file;
    DI_DO(vch_path(path, "%s/%s", out, name));
    DI_DO(w->port->disk->open(w->port, &file, path, VCH_OPEN_NEW, 0600));
    DI_DO(w->port->disk->write(w->port, file, text, strlen(text), 0));
    w->port->disk->close(w->port, file);
}

vch_rc __wrap_vch_child_run(const char *const *argv, const char *const *settings, int *ret_exit, vch_err_t *err);

vch_rc __wrap_vch_child_run(const char *const *argv, const char *const *settings, int *ret_exit, vch_err_t *err)
{
    fh_t *w = fh_now;
    uint64_t before = vch_sim_io_calls(w->sim);
    (void)argv;
    (void)err;
    vch_sim_fail_io(w->sim, 0, VCH_FAULT_NONE);
    for (size_t i = 0; settings[i]; i++) {
        if (strncmp(settings[i], "VOUCH_OUT=", 10) != 0) continue;
        char sub[VCH_PATH_MAX];
        DI_DO(vch_path(sub, "%s/deep", settings[i] + 10));
        DI_DO(w->port->disk->mkdir(w->port, sub, 0700));
        fh_write(w, settings[i] + 10, "model.txt", "a model of what it saw");
        fh_write(w, settings[i] + 10, "metrics.json", "{\"accuracy\": 0.5}\n");
        fh_write(w, settings[i] + 10, "deep/notes.txt", "notes");
    }
    uint64_t made = vch_sim_io_calls(w->sim) - before;
    w->counted += made;
    if (w->io_at > before) {
        w->io_at += made;
        vch_sim_fail_io(w->sim, w->io_at - vch_sim_io_calls(w->sim), w->how);
    }
    *ret_exit = 0;
    return VCH_OK;
}
#endif

#endif
