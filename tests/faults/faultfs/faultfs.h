/* A file system for tests that loses what was not synced when its power is cut, and fails or hangs on command.
 *
 * main.c     the one thread: requests of the kernel and commands of the control socket in turn
 * ops.c      what each request of the kernel does
 * names.c    folders: the names that programs see, and which of their changes are on the disk
 * content.c  bytes of files: what programs see, and which writes are on the disk
 * crash.c    the power cut: which of the rest survives, and the folder that holds the outcome
 * rules.c    errors, hung requests and cuts that were asked for, matched before a request is carried out
 * control.c  the commands
 *
 * Everything but the bytes of files is in memory. At the start the tree of the backing folder is read in; at the end,
 * in good order or by a cut, the folder is written anew. In between its tree is not looked at.
 */
#ifndef FAULTFS_H
#define FAULTFS_H

#define _GNU_SOURCE
#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#define SECTOR 512
#define PAGE 4096

typedef struct node node;

/* What chmod, chown and utimens change. */
typedef struct {
    mode_t mode;
    uid_t uid;
    gid_t gid;
    struct timespec mtime;
} attributes;

typedef struct {
    char *name;
    node *what;
    off_t cookie; /* where readdir goes on; grows with each new entry */
} entry;

typedef struct {
    entry *entries;
    size_t count;
} directory;

enum effect {
    WRITTEN,   /* data at [offset, offset + length) */
    ZEROED,    /* a punched hole */
    SHORTENED, /* the file ends at `size` */
    EXTENDED   /* the file ends at `size`, later than before */
};

/* One change of a file's bytes or length that is not known to be on the disk. */
typedef struct {
    enum effect effect;
    off_t offset;
    size_t length;
    char *data;
    off_t size; /* of the file, after SHORTENED or EXTENDED */
} mutation;

/* What a page held on the disk before the first of the mutations. */
typedef struct {
    off_t page;
    char *held; /* NULL: this slot is free */
} shadow;

struct node {
    uint64_t number;
    attributes now, durable;
    bool attributes_dirty;
    struct timespec atime, ctime;
    dev_t device;
    char *link_target;
    uint64_t lookups;
    unsigned names; /* hard links that programs see */
    node *parent;   /* a folder that has it, for paths of rules; NULL for the root and for removed ones */

    directory live, on_disk; /* of a folder */

    int fd; /* of a regular file: its bytes as programs see them; -1 for others */
    off_t size, durable_size;
    mutation *mutations;
    size_t mutation_count, mutation_space, pending_bytes;
    shadow *shadows;
    size_t shadow_count, shadow_space;

    struct extra {
        char *name, *value;
        size_t length;
        struct extra *next;
    } *extras; /* extended attributes; each change is on the disk at once */
};

/* One name that a change of folders binds to another node; NULL: to none. */
typedef struct {
    node *folder;
    char *name;
    node *before, *after;
} binding;

/* A change of names that is on the disk as a whole or not at all. */
typedef struct change {
    binding bindings[2];
    int count;
    node *emptied; /* the folder that rmdir removes */
    bool chosen;
    struct change *next;
} change;

extern struct world {
    char *backing, *store;
    node **nodes; /* by number; the root has number 1 */
    uint64_t node_count;
    change *changes; /* not known to be on the disk, oldest first */
    bool journal;    /* metadata reaches the disk in the order in which it was changed, with any fsync */
    bool lies;       /* fsync answers success and does nothing */
    bool dead;       /* the power is cut: every request fails */
    bool writeback;  /* the kernel keeps written pages until they are synced */
    bool ended;
    struct fuse_session *session;
    uint64_t requests, mutating, syncs;
} world;

/* names.c */
node *new_node(mode_t mode, uid_t uid, gid_t gid);
node *node_of(fuse_ino_t number);
entry *find(directory *where, const char *name);
void bind_name(directory *where, const char *name, node *what);
void record_change(const binding *bindings, int count, node *emptied);
void folder_synced(node *folder);
void all_names_synced(void);
void apply_to_disk(change *one);
bool fits_disk(const change *one);
void path_of(node *what, const char *last, char *path, size_t space);

/* content.c */
int open_content(node *file, const char *existing);
int write_content(node *file, off_t offset, const char *data, size_t length);
int zero_content(node *file, off_t offset, off_t length);
int resize_content(node *file, off_t size);
void content_synced(node *file);
void lose_content(node *file);
void forget_content(node *file);
shadow *shadow_of(node *file, off_t page);

/* crash.c */
int cut_power(uint64_t seed, bool nothing, char *report, size_t space);
int end_in_order(void);
int load_tree(void);

/* rules.c */
bool intercept(const struct fuse_buf *request);
bool is_mutating(uint32_t opcode);
const char *add_rule(char **words);
void clear_rules(const char *name);
unsigned long rule_hits(const char *name);
void arm_cut(uint64_t requests, uint64_t seed);

/* control.c */
int open_control(const char *path);
int control_descriptors(struct pollfd *into, int space);
void serve_control(const struct pollfd *polled, int count);

/* ops.c */
extern const struct fuse_lowlevel_ops operations;

#endif
