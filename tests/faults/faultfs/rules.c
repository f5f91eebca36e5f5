/* Errors, hung requests and cuts that were asked for. Each request is matched as it comes from the kernel, before it
 * is carried out, so every kind of request can fail, hang, or be the one before which the power goes off.
 */
#include "faultfs.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static const struct {
    const char *name;
    uint32_t opcode;
    bool mutating;
    size_t arguments; /* bytes between the header and a name; 0: the request has no name */
} kinds[] = {
    {"lookup", FUSE_LOOKUP, false, 0},
    {"getattr", FUSE_GETATTR, false, 0},
    {"setattr", FUSE_SETATTR, true, 0},
    {"symlink", FUSE_SYMLINK, true, 0},
    {"mknod", FUSE_MKNOD, true, sizeof(struct fuse_mknod_in)},
    {"mkdir", FUSE_MKDIR, true, sizeof(struct fuse_mkdir_in)},
    {"unlink", FUSE_UNLINK, true, 0},
    {"rmdir", FUSE_RMDIR, true, 0},
    {"rename", FUSE_RENAME, true, sizeof(struct fuse_rename_in)},
    {"rename", FUSE_RENAME2, true, sizeof(struct fuse_rename2_in)},
    {"link", FUSE_LINK, true, sizeof(struct fuse_link_in)},
    {"open", FUSE_OPEN, false, 0},
    {"opendir", FUSE_OPENDIR, false, 0},
    {"readdir", FUSE_READDIR, false, 0},
    {"create", FUSE_CREATE, true, sizeof(struct fuse_create_in)},
    {"read", FUSE_READ, false, 0},
    {"write", FUSE_WRITE, true, 0},
    {"flush", FUSE_FLUSH, false, 0},
    {"release", FUSE_RELEASE, false, 0},
    {"fsync", FUSE_FSYNC, true, 0},
    {"fsyncdir", FUSE_FSYNCDIR, true, 0},
    {"fallocate", FUSE_FALLOCATE, true, 0},
    {"copy", FUSE_COPY_FILE_RANGE, true, 0},
    {"lseek", FUSE_LSEEK, false, 0},
    {"statfs", FUSE_STATFS, false, 0},
    {"setxattr", FUSE_SETXATTR, true, 0},
    {"getxattr", FUSE_GETXATTR, false, 0},
};
#define KINDS (sizeof kinds / sizeof *kinds)

enum action { FAIL, LOSE, HANG, CUT };

typedef struct rule {
    char *name, *operation, *path;
    enum action action;
    int error;
    unsigned long first, count, seen, hits; /* match number `first` and `count` of them are meant; 0: all */
    uint64_t from, to;                      /* of offsets; requests without one match any */
    uint64_t seed;
    struct rule *next;
} rule;

typedef struct held {
    struct fuse_buf request;
    char *rule;
    struct held *next;
} held;

static rule *rules;
static held *hanging;
static uint64_t requests_to_cut, cut_seed;

static int kind_of(uint32_t opcode)
{
    for (size_t at = 0; at < KINDS; at++)
        if (kinds[at].opcode == opcode)
            return (int)at;
    return -1;
}

bool is_mutating(uint32_t opcode)
{
    int kind = kind_of(opcode);
    return kind >= 0 && kinds[kind].mutating;
}

static bool wants_answer(uint32_t opcode)
{
    return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

static void answer_error(const struct fuse_in_header *header, int error)
{
    struct fuse_out_header answer = {sizeof answer, -error, header->unique};
    if (write(fuse_session_fd(world.session), &answer, sizeof answer) < 0 && errno != ENOENT)
        perror("faultfs: answer");
}

static void describe(const struct fuse_buf *request, int kind, char *path, size_t space, uint64_t *start, uint64_t *end)
{
    const struct fuse_in_header *header = request->mem;
    const char *arguments = (const char *)(header + 1);
    bool names = kinds[kind].arguments || header->opcode == FUSE_UNLINK || header->opcode == FUSE_RMDIR ||
                 header->opcode == FUSE_LOOKUP || header->opcode == FUSE_SYMLINK;
    path_of(node_of(header->nodeid), names ? arguments + kinds[kind].arguments : NULL, path, space);
    *start = 0;
    *end = UINT64_MAX;
    if (header->opcode == FUSE_WRITE || header->opcode == FUSE_READ) {
        const struct fuse_read_in *transfer = (const void *)arguments; /* begins like fuse_write_in */
        *start = transfer->offset;
        *end = transfer->offset + transfer->size;
    } else if (header->opcode == FUSE_FALLOCATE) {
        const struct fuse_fallocate_in *range = (const void *)arguments;
        *start = range->offset;
        *end = range->offset + range->length;
    }
}

static rule *match(const struct fuse_buf *request, int kind)
{
    char path[PAGE];
    uint64_t start, end;
    if (!rules)
        return NULL;
    describe(request, kind, path, sizeof path, &start, &end);
    for (rule *one = rules; one; one = one->next) {
        if (fnmatch(one->operation, kinds[kind].name, 0) || fnmatch(one->path, path, 0))
            continue;
        if (end <= one->from || start >= one->to)
            continue;
        one->seen++;
        if (one->seen < one->first || (one->count && one->seen >= one->first + one->count))
            continue;
        one->hits++;
        return one;
    }
    return NULL;
}

static void cut_now(uint64_t seed)
{
    char report[PAGE];
    int result = cut_power(seed, false, report, sizeof report);
    if (result)
        fprintf(stderr, "faultfs: the cut failed: %s\n", strerror(-result));
    world.dead = true;
}

static void hold(const struct fuse_buf *request, const rule *why)
{
    held *one = calloc(1, sizeof *one);
    one->request = *request;
    one->request.mem = malloc(request->size);
    memcpy(one->request.mem, request->mem, request->size);
    one->rule = strdup(why->name);
    one->next = hanging;
    hanging = one;
}

/* Whether the request is dealt with: it was answered with an error, or hangs. */
bool intercept(const struct fuse_buf *request)
{
    const struct fuse_in_header *header = request->mem;
    int kind = kind_of(header->opcode);
    world.requests++;
    if (!world.dead && kind >= 0 && kinds[kind].mutating) {
        world.mutating++;
        if (requests_to_cut && !--requests_to_cut)
            cut_now(cut_seed);
    }
    rule *meant = world.dead || kind < 0 ? NULL : match(request, kind);
    if (meant && meant->action == CUT)
        cut_now(meant->seed);
    if (world.dead && wants_answer(header->opcode) && header->opcode != FUSE_INIT && header->opcode != FUSE_DESTROY) {
        answer_error(header, header->opcode == FUSE_FLUSH ? 0 : EIO);
        return true;
    }
    if (!meant)
        return false;
    if (meant->action == HANG) {
        hold(request, meant);
        return true;
    }
    if (meant->action == LOSE && node_of(header->nodeid)->fd >= 0)
        lose_content(node_of(header->nodeid));
    answer_error(header, meant->error);
    return true;
}

static const struct {
    const char *name;
    int number;
} errors[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC},     {"EDQUOT", EDQUOT}, {"ENODATA", ENODATA}, {"EROFS", EROFS},
              {"ESTALE", ESTALE}, {"ENOLINK", ENOLINK},   {"EINTR", EINTR},   {"EUCLEAN", EUCLEAN}, {"EACCES", EACCES},
              {"EPERM", EPERM},   {"ETIMEDOUT", ETIMEDOUT}, {"EREMOTEIO", EREMOTEIO}, {"ENOENT", ENOENT},
              {"EAGAIN", EAGAIN}, {"ENOMEM", ENOMEM},     {"EOPNOTSUPP", EOPNOTSUPP}};

static int error_of(const char *text)
{
    for (size_t at = 0; at < sizeof errors / sizeof *errors; at++)
        if (!strcmp(errors[at].name, text))
            return errors[at].number;
    return atoi(text);
}

/* words: NAME ACTION KEY=VALUE...; NULL, or what is wrong. */
const char *add_rule(char **words)
{
    static const char *actions[] = {"fail", "lose", "hang", "cut"};
    if (!words[0] || !words[1])
        return "a rule needs a name and an action";
    rule made = {.action = (enum action)4, .error = EIO, .first = 1, .to = UINT64_MAX};
    for (int at = 0; at < 4; at++)
        if (!strcmp(actions[at], words[1]))
            made.action = (enum action)at;
    if (made.action > CUT)
        return "an action is fail, lose, hang or cut";
    const char *operation = "*", *path = "*";
    for (char **word = words + 2; *word; word++) {
        char *value = strchr(*word, '=');
        if (!value)
            return "what follows an action has the form KEY=VALUE";
        *value++ = 0;
        if (!strcmp(*word, "op"))
            operation = value;
        else if (!strcmp(*word, "path"))
            path = value;
        else if (!strcmp(*word, "errno"))
            made.error = error_of(value);
        else if (!strcmp(*word, "nth"))
            made.first = strtoul(value, NULL, 10);
        else if (!strcmp(*word, "count"))
            made.count = strtoul(value, NULL, 10);
        else if (!strcmp(*word, "from"))
            made.from = strtoull(value, NULL, 10);
        else if (!strcmp(*word, "to"))
            made.to = strtoull(value, NULL, 10);
        else if (!strcmp(*word, "seed"))
            made.seed = strtoull(value, NULL, 10);
        else
            return "a key is op, path, errno, nth, count, from, to or seed";
    }
    if (made.error <= 0)
        return "no such errno";
    rule *kept = malloc(sizeof *kept);
    *kept = made;
    kept->name = strdup(words[0]);
    kept->operation = strdup(operation);
    kept->path = strdup(path);
    kept->next = rules;
    rules = kept;
    return NULL;
}

unsigned long rule_hits(const char *name)
{
    unsigned long hits = 0;
    for (const rule *one = rules; one; one = one->next)
        if (!strcmp(one->name, name))
            hits += one->hits;
    return hits;
}

/* Takes the rules of that name away (NULL: all), and lets go of the requests that they hold. */
void clear_rules(const char *name)
{
    for (rule **place = &rules; *place;) {
        rule *one = *place;
        if (name && strcmp(one->name, name)) {
            place = &one->next;
            continue;
        }
        *place = one->next;
        free(one->name);
        free(one->operation);
        free(one->path);
        free(one);
    }
    held *waiting = hanging;
    hanging = NULL;
    while (waiting) {
        held *one = waiting;
        waiting = one->next;
        if (name && strcmp(one->rule, name)) {
            one->next = hanging;
            hanging = one;
            continue;
        }
        if (!intercept(&one->request))
            fuse_session_process_buf(world.session, &one->request);
        free(one->request.mem);
        free(one->rule);
        free(one);
    }
}

void arm_cut(uint64_t requests, uint64_t seed)
{
    requests_to_cut = requests;
    cut_seed = seed;
}
