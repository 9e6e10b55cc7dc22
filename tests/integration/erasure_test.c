/* SPDX-License-Identifier: Apache-2.0 */
/* Erasure: on the ledger, in the trustees' seeds, in the custodian's files; all
 * other rows as before, whatever was kept of the old ones opens nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "node/erasure.h"
#include "ledger_help.h"
#include "vault_world.h"

#define ERASED 7u

static vch_rc erase(world_t *w, uint32_t subject, bool by_owner)
{
    vch_receipt_t r;
    return vch_erasure_request(w->l, w->key, by_owner ? w->w : NULL, "cohort", &subject, &subject, 1, &r, &w->err);
}

static void status_is(world_t *w, const char *wanted)
{
    vch_text_t text;
    OK(vch_erasure_status(w->l, "cohort", &text, &w->err));
    if (!strstr(text.p, wanted)) fail_msg("no %s in %s", wanted, text.p);
    vch_text_free(&text);
}

/* All given rows but the erased one come out. */
static void others_come_out(world_t *w, uint32_t gone)
{
    char line[200], want[200];
    uint64_t rows;
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN - 1);
    OK(fetch(w, w->key, &grant, &rows));
    assert_int_equal(rows, GIVEN - 1);
    FILE *f = fopen(w->out, "rb");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    for (uint32_t i = 0; i < GIVEN; i++) {
        if (i == gone) continue;
        assert_non_null(fgets(line, sizeof line, f));
        snprintf(want, sizeof want, "%u," CANARY "-%u,%u\n", i * 1000 + 7, i, i & 1);
        assert_string_equal(line, want);
    }
    fclose(f);
}

/* ---- what a trustee's folder still gives ------------------------------------------------- */

static vch_hash_t first_extent(world_t *w)
{
    vch_use_t use;
    vch_hash_t id;
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN - 1);
    OK(vch_use_open(&use, w->l, w->key, &grant, 1, &w->err));
    id = use.id[0];
    vch_use_close(&use);
    return id;
}

/* In how many trees the leaf can still be derived from this trustee's seeds. */
static unsigned derivable(world_t *w, const char *dir, const vch_hash_t *extent, uint32_t leaf, uint8_t ret[3][32])
{
    vch_seeds_t *s;
    unsigned n = 0;
    OK(vch_seeds_open(&s, w->l->port, dir, NULL, &w->err));
    for (uint8_t set = 0; set < 3; set++) {
        vch_kt_seed_t seed;
        vch_rc rc = vch_seeds_get(s, extent, set, (vch_kt_node_t){VCH_KT_LEAF_LEVEL, leaf}, &seed, &w->err);
        if (rc != VCH_OK) {
            assert_true(rc == VCH_ERR_DENIED || rc == VCH_ERR_NOT_FOUND);
            continue;
        }
        memcpy(ret[set], seed.key, 32);
        n++;
    }
    vch_seeds_close(s);
    return n;
}

static void seeds_dir(world_t *w, unsigned trustee, char ret[200])
{
    snprintf(ret, 200, "%s/vault/trustee-%u/seeds", w->ledger, trustee);
}

static void trustees_forget_that_row_alone(void **state)
{
    world_t *w = *state;
    vch_hash_t extent;
    uint8_t before[3][32], after[3][32], forgotten[3][32];
    char dir[200];
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN);
    vch_use_t use;
    OK(vch_use_open(&use, w->l, w->key, &grant, 1, &w->err));
    extent = use.id[0];
    vch_use_close(&use);
    for (unsigned t = 1; t <= 3; t++) {
        seeds_dir(w, t, dir);
        assert_int_equal(derivable(w, dir, &extent, ERASED, forgotten), 2);
    }
    seeds_dir(w, 1, dir);
    assert_int_equal(derivable(w, dir, &extent, ERASED + 1, before), 2);
    OK(erase(w, ERASED, true));
    status_is(w, "\"state\":\"complete\"");
    for (unsigned t = 1; t <= 3; t++) {
        seeds_dir(w, t, dir);
        assert_int_equal(derivable(w, dir, &extent, ERASED, after), 0);
        assert_int_equal(derivable(w, dir, &extent, 1u << 20 | ERASED, after), 0); /* the label's key too */
        assert_int_equal(derivable(w, dir, &extent, 1u << 20 | (ERASED + 1), after), 2);
    }
    seeds_dir(w, 1, dir);
    assert_int_equal(derivable(w, dir, &extent, ERASED + 1, after), 2);
    for (unsigned set = 1; set < 3; set++) assert_memory_equal(before[set], after[set], 32);
    others_come_out(w, ERASED);
}

/* ---- no seed that is found anywhere is above a forgotten leaf ------------------------------------ */

typedef struct {
    world_t *w;
    vch_hash_t extent;
    uint8_t key[6][32]; /* each known ancestor of the leaf, and the leaf: what must be nowhere */
    unsigned keys, hits, files;
} hunt_t;
static hunt_t hunt;

static int look_for_keys(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)ftw;
    if (flag != FTW_F) return 0;
    uint8_t *text = malloc((size_t)st->st_size + 1);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(text, 1, (size_t)st->st_size, f);
    fclose(f);
    for (unsigned i = 0; i < hunt.keys; i++)
        if (memmem(text, n, hunt.key[i], 32)) hunt.hits++;
    hunt.files++;
    free(text);
    return 0;
}

/* An old copy of everything but the roots opens nothing after the erasure: the
 * key that it hangs on is gone. */
static void an_old_copy_opens_nothing(void **state)
{
    world_t *w = *state;
    char command[600], dir[200], old[200];
    uint8_t got[3][32];
    vch_seeds_t *s;
    snprintf(old, sizeof old, "%s/old", w->dir);
    seeds_dir(w, 1, dir);
    snprintf(command, sizeof command, "cp -r '%s' '%s'", dir, old);
    assert_int_equal(lh_shell(command), 0);
    OK(erase(w, ERASED, true));
    vch_hash_t extent = first_extent(w);
    /* with its old root it would: that is what a backup of a root key does, and grade B says so */
    assert_int_equal(derivable(w, old, &extent, ERASED, got), 2);
    /* the old files beside the new root */
    snprintf(command, sizeof command, "cp '%s/root' '%s/root'", dir, old);
    assert_int_equal(lh_shell(command), 0);
    IS(VCH_ERR_CORRUPT, vch_seeds_open(&s, w->l->port, old, NULL, &w->err));
    /* and the new files with the old ones put back over them */
    snprintf(command, sizeof command, "cd '%s' && for f in *.*; do cp \"$f\" '%s'/; done", old, dir);
    assert_int_equal(lh_shell(command), 0);
    assert_int_equal(derivable(w, dir, &extent, ERASED, got), 0);
}

static void no_key_of_it_lies_anywhere(void **state)
{
    world_t *w = *state;
    uint8_t seeds[3][32];
    char dir[200];
    vch_id_t grant = ask_for(w, w->key, NULL, GIVEN);
    vch_use_t use;
    OK(vch_use_open(&use, w->l, w->key, &grant, 1, &w->err));
    hunt = (hunt_t){.w = w, .extent = use.id[0]};
    vch_use_close(&use);
    seeds_dir(w, 1, dir);
    assert_int_equal(derivable(w, dir, &hunt.extent, ERASED, seeds), 2);
    memcpy(hunt.key[0], seeds[1], 32);
    memcpy(hunt.key[1], seeds[2], 32);
    hunt.keys = 2;
    OK(erase(w, ERASED, true));
    assert_int_equal(nftw(w->ledger, look_for_keys, 16, FTW_PHYS), 0);
    assert_true(hunt.files > 20);
    assert_int_equal(hunt.hits, 0);
}

/* ---- the custodian --------------------------------------------------------------------------------- */

static unsigned named_in;
static int look_for_name(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)ftw;
    if (flag != FTW_F) return 0;
    char *text = malloc((size_t)st->st_size + 1);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(text, 1, (size_t)st->st_size, f);
    fclose(f);
    named_in += memmem(text, n, "owner-07", 8) != NULL;
    free(text);
    return 0;
}

static void findings(void *ctx, const vch_finding_t *f)
{
    (void)ctx;
    print_message("%s: %s\n", f->file, f->text);
}

static void the_custodian_forgets_the_person(void **state)
{
    world_t *w = *state;
    uint32_t subject;
    uint64_t n;
    OK(vch_subject_find(w->l, "cohort", "owner-07", &subject, &w->err));
    assert_int_equal(subject, ERASED);
    named_in = 0;
    assert_int_equal(nftw(w->ledger, look_for_name, 16, FTW_PHYS), 0);
    assert_int_equal(named_in, 2); /* .keys and .subjects */
    OK(erase(w, ERASED, false));
    named_in = 0;
    assert_int_equal(nftw(w->ledger, look_for_name, 16, FTW_PHYS), 0);
    assert_int_equal(named_in, 0);
    IS(VCH_ERR_NOT_FOUND, vch_subject_find(w->l, "cohort", "owner-07", &subject, &w->err));
    OK(vch_subject_find(w->l, "cohort", "owner-08", &subject, &w->err));
    assert_int_equal(subject, 8);
    OK(vch_ledger_close(w->l, &w->err));
    w->l = NULL;
    OK(vch_ledger_check(w->ledger, 1, 0, findings, NULL, &n, &w->err));
    assert_int_equal(n, 0);
    OK(vch_ledger_open(&w->l, w->ledger, 0, &w->err));
    others_come_out(w, ERASED);
}

/* A record torn by a cut-off is made good by doing it again. */
static void forgetting_goes_on_after_a_cut(void **state)
{
    world_t *w = *state;
    vch_id_t dataset;
    char command[300];
    OK(erase(w, ERASED, false));
    OK(vch_ledger_read_begin(w->l, &w->err));
    OK(vch_resolve(w->l, 'd', "cohort", &dataset, &w->err));
    vch_ledger_read_end(w->l);
    snprintf(
        command, sizeof command,
        "f=$(ls '%s'/custody/*/000000.salts) && printf 'torn' | dd of=$f bs=1 seek=$((64 + 7 * 68 + 20)) conv=notrunc "
        "2>/dev/null",
        w->ledger);
    assert_int_equal(lh_shell(command), 0);
    uint64_t n;
    OK(vch_ledger_close(w->l, &w->err));
    w->l = NULL;
    OK(vch_ledger_open(&w->l, w->ledger, 0, &w->err));
    OK(vch_custody_forget(w->l, &dataset, &w->err));
    OK(vch_ledger_close(w->l, &w->err));
    w->l = NULL;
    OK(vch_ledger_check(w->ledger, 1, 0, findings, NULL, &n, &w->err));
    assert_int_equal(n, 0);
    OK(vch_ledger_open(&w->l, w->ledger, 0, &w->err));
}

/* ---- for good --------------------------------------------------------------------------------------- */

static void it_is_the_last_word(void **state)
{
    world_t *w = *state;
    vch_receipt_t r;
    uint32_t who = ERASED;
    vch_ingest_t in;
    OK(erase(w, ERASED, true));
    IS(VCH_ERR_CONFLICT, vch_consent_give(w->l, w->key, w->w, "cohort", &who, &who, 1, "training", 40000, &r, &w->err));
    IS(VCH_ERR_CONFLICT, vch_consent_withdraw(w->l, w->key, w->w, "cohort", &who, &who, 1, NULL, &r, &w->err));
    IS(VCH_ERR_CONFLICT, erase(w, ERASED, true));
    IS(VCH_ERR_CONFLICT, erase(w, ERASED, false));
    /* the same file again: the person comes back as somebody new, without any consent */
    OK(vch_dataset_add(w->l, w->key, "cohort", w->csv, NULL, NULL, NULL, &in, &w->err));
    assert_int_equal(in.added, 1);
    assert_int_equal(in.removed, 1);
    assert_int_equal(in.subjects_new, 1);
    ask_for(w, w->key, NULL, GIVEN - 1);
}

static void only_who_may(void **state)
{
    world_t *w = *state;
    vch_receipt_t r;
    uint32_t subject = ERASED, stranger = ERASED + 1;
    IS(VCH_ERR_KEY, vch_erasure_request(w->l, w->key, w->w, "cohort", &subject, &stranger, 1, &r, &w->err));
    IS(VCH_ERR_ROLE, vch_erasure_request(w->l, w->other, NULL, "cohort", &subject, NULL, 1, &r, &w->err));
    ask_for(w, w->key, NULL, GIVEN);
    /* anybody may carry what the owner signed */
    OK(vch_erasure_request(w->l, w->other, w->w, "cohort", &subject, &subject, 1, &r, &w->err));
    ask_for(w, w->key, NULL, GIVEN - 1);
}

static void rows_in_the_clear_are_told(void **state)
{
    world_t *w = *state;
    vch_ingest_t in;
    char from[160], to[160];
    uint32_t last = 0;
    snprintf(from, sizeof from, "%s/vault", w->ledger);
    snprintf(to, sizeof to, "%s/vault-away", w->dir);
    assert_int_equal(rename(from, to), 0);
    FILE *f = fopen(w->csv, "ab");
    fprintf(f, "owner-77,1,2,0\n");
    fclose(f);
    OK(vch_dataset_add(w->l, w->key, "cohort", w->csv, NULL, NULL, NULL, &in, &w->err));
    assert_int_equal(rename(to, from), 0);
    OK(vch_subject_find(w->l, "cohort", "owner-77", &last, &w->err));
    IS(VCH_ERR_UNSUPPORTED, erase(w, last, false));
    OK(erase(w, ERASED, false));
}

/* ---- trustees that are away ----------------------------------------------------------------------------- */

static void move(world_t *w, unsigned number, bool away)
{
    char here[160], there[160];
    snprintf(here, sizeof here, "%s/vault/trustee-%u", w->ledger, number);
    snprintf(there, sizeof there, "%s/lost-%u", w->dir, number);
    assert_int_equal(away ? rename(here, there) : rename(there, here), 0);
}

static void provisional_until_all_have_forgotten(void **state)
{
    world_t *w = *state;
    uint8_t got[3][32];
    char dir[200];
    move(w, 1, true);
    move(w, 2, true);
    OK(erase(w, ERASED, true));
    status_is(w, "\"destroyed by\":1,\"of\":3,\"provisional at\":2}],\"state\":\"pending\"");
    move(w, 2, false);
    OK(vch_vault_up(w->l, w->key, &w->err));
    status_is(w, "\"destroyed by\":2,\"of\":3,\"provisional at\":2}],\"state\":\"provisional\"");
    move(w, 1, false);
    /* who comes back carries it out before it serves anything */
    vch_hash_t extent = first_extent(w);
    seeds_dir(w, 1, dir);
    assert_int_equal(derivable(w, dir, &extent, ERASED, got), 2);
    move(w, 3, true);
    others_come_out(w, ERASED);
    move(w, 3, false);
    assert_int_equal(derivable(w, dir, &extent, ERASED, got), 0);
    OK(vch_vault_up(w->l, w->key, &w->err));
    status_is(w, "\"state\":\"complete\"");
    status_is(w, "\"grade\":\"B: files, live copy only\"");
}

/* Nobody said anything yet: no grade is claimed.  And seeds put back without
 * the rest of the folder are pruned again before anything is served. */
static void nothing_is_claimed_ahead(void **state)
{
    world_t *w = *state;
    uint8_t got[3][32];
    char command[600], dir[200];
    for (unsigned i = 1; i <= 3; i++) move(w, i, true);
    OK(erase(w, ERASED, true));
    status_is(w, "\"destroyed by\":0,\"of\":3,\"provisional at\":2}],\"state\":\"pending\",\"grade\":\"none yet\"");
    for (unsigned i = 1; i <= 3; i++) move(w, i, false);
    seeds_dir(w, 1, dir);
    snprintf(command, sizeof command, "cp -r '%s' '%s/seeds-before'", dir, w->dir);
    assert_int_equal(lh_shell(command), 0);
    OK(vch_vault_up(w->l, w->key, &w->err));
    status_is(w, "\"state\":\"complete\"");
    snprintf(command, sizeof command, "rm -rf '%s' && mv '%s/seeds-before' '%s'", dir, w->dir, dir);
    assert_int_equal(lh_shell(command), 0);
    vch_hash_t extent = first_extent(w);
    assert_int_equal(derivable(w, dir, &extent, ERASED, got), 2);
    move(w, 3, true); /* so that trustee 1 is asked */
    others_come_out(w, ERASED);
    move(w, 3, false);
    assert_int_equal(derivable(w, dir, &extent, ERASED, got), 0);
}

/* Somebody's word counts once, for extents that it holds. */
static void a_word_is_a_trustees_own(void **state)
{
    world_t *w = *state;
    char json[600], erase_id[65], extent[65], path[200];
    vch_receipt_t r;
    vch_text_t text;
    vch_signer_t *trustee;
    vch_hash_t id;
    move(w, 3, true);
    OK(erase(w, ERASED, true));
    id = first_extent(w);
    vch_hex(extent, id.b, 32);
    OK(vch_erasure_status(w->l, "cohort", &text, &w->err));
    memcpy(erase_id, strstr(text.p, "\"erase\":\"") + 9, 64);
    erase_id[64] = 0;
    vch_text_free(&text);
    int n = snprintf(json, sizeof json, "{\"erase\":\"%s\",\"extents\":[\"%s\"],\"grade\":\"B\"}", erase_id, extent);
    IS(VCH_ERR_ROLE, vch_submit_json(w->l, w->other, "key-destroyed", json, (size_t)n, &r, &w->err));
    IS(VCH_ERR_ROLE, vch_submit_json(w->l, w->key, "key-destroyed", json, (size_t)n, &r, &w->err));
    snprintf(path, sizeof path, "%s/vault/trustee-1/key.pem", w->ledger);
    OK(vch_signer_load(&trustee, path, NULL, &w->err));
    IS(VCH_ERR_CONFLICT, vch_submit_json(w->l, trustee, "key-destroyed", json, (size_t)n, &r, &w->err));
    vch_signer_free(trustee);
    snprintf(path, sizeof path, "%s/lost-3/key.pem", w->dir);
    OK(vch_signer_load(&trustee, path, NULL, &w->err));
    json[11] = json[11] == 'a' ? 'b' : 'a';
    IS(VCH_ERR_REFERENCE, vch_submit_json(w->l, trustee, "key-destroyed", json, (size_t)n, &r, &w->err));
    snprintf(json, sizeof json, "{\"erase\":\"%s\",\"extents\":[\"%.63s%c\"],\"grade\":\"B\"}", erase_id, extent,
             extent[63] == '0' ? '1' : '0');
    IS(VCH_ERR_REFERENCE, vch_submit_json(w->l, trustee, "key-destroyed", json, (size_t)n, &r, &w->err));
    vch_signer_free(trustee);
    move(w, 3, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        T(trustees_forget_that_row_alone),
        T(an_old_copy_opens_nothing),
        T(no_key_of_it_lies_anywhere),
        T(the_custodian_forgets_the_person),
        T(forgetting_goes_on_after_a_cut),
        T(it_is_the_last_word),
        T(only_who_may),
        T(rows_in_the_clear_are_told),
        T(provisional_until_all_have_forgotten),
        T(nothing_is_claimed_ahead),
        T(a_word_is_a_trustees_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
