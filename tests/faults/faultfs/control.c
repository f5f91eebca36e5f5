/* The commands: a line each over a Unix socket, and a line in answer, "ok ..." or "error ...".
 *
 *   cut SEED [nothing]    cuts the power now; with "nothing" all is lost that was not synced
 *   cut-after N SEED      cuts it before the N-th changing request from now; N is 0: not any more
 *   state                 "ok alive|dead REQUESTS CHANGING SYNCS"
 *   rule NAME fail|lose|hang|cut [op=GLOB] [path=GLOB] [errno=NAME] [nth=N] [count=N] [from=BYTE] [to=BYTE] [seed=N]
 *   hits NAME             how often a rule met a request
 *   clear [NAME]          takes rules away and lets go of what they hold
 *   lie on|off            fsync does nothing and says that it did
 *   order strict|journal  how metadata reaches the disk
 *   end                   everything reaches the disk, the backing folder is written, the program ends
 */
#include "faultfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS_MAX 8
#define WORDS_MAX 16

static int listener = -1;
static struct client {
    int fd;
    size_t used;
    char line[PAGE];
} clients[CLIENTS_MAX];
static int client_count;

int open_control(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, CLIENTS_MAX))
        return -errno;
    return 0;
}

static void carry_out(char *line, char *answer, size_t space)
{
    char *words[WORDS_MAX + 1] = {0};
    int count = 0;
    for (char *word = strtok(line, " "); word && count < WORDS_MAX; word = strtok(NULL, " "))
        words[count++] = word;
    const char *verb = count ? words[0] : "", *problem = NULL;
    char report[PAGE] = "";
    int result = 0;
    if (!strcmp(verb, "cut") && count >= 2 && !world.dead)
        result = cut_power(strtoull(words[1], NULL, 10), count == 3, report, sizeof report);
    else if (!strcmp(verb, "cut-after") && count == 3)
        arm_cut(strtoull(words[1], NULL, 10), strtoull(words[2], NULL, 10));
    else if (!strcmp(verb, "state") && count == 1)
        snprintf(report, sizeof report, "%s %llu %llu %llu", world.dead ? "dead" : "alive",
                 (unsigned long long)world.requests, (unsigned long long)world.mutating,
                 (unsigned long long)world.syncs);
    else if (!strcmp(verb, "rule"))
        problem = add_rule(words + 1);
    else if (!strcmp(verb, "hits") && count == 2)
        snprintf(report, sizeof report, "%lu", rule_hits(words[1]));
    else if (!strcmp(verb, "clear"))
        clear_rules(words[1]);
    else if (!strcmp(verb, "lie") && count == 2)
        world.lies = !strcmp(words[1], "on");
    else if (!strcmp(verb, "order") && count == 2)
        world.journal = !strcmp(words[1], "journal");
    else if (!strcmp(verb, "end") && count == 1) {
        result = world.dead ? 0 : end_in_order();
        world.ended = true;
    } else
        problem = "the command is unknown, lacks a word or has come too late";
    if (problem)
        snprintf(answer, space, "error %s\n", problem);
    else if (result)
        snprintf(answer, space, "error %s\n", strerror(-result));
    else
        snprintf(answer, space, "ok %.4000s\n", report);
}

static void receive(struct client *from)
{
    ssize_t count = recv(from->fd, from->line + from->used, sizeof from->line - from->used - 1, MSG_DONTWAIT);
    if (count <= 0) {
        close(from->fd);
        *from = clients[--client_count];
        return;
    }
    from->used += (size_t)count;
    from->line[from->used] = 0;
    for (char *end; (end = strchr(from->line, '\n'));) {
        char answer[2 * PAGE], line[PAGE];
        *end = 0;
        strcpy(line, from->line);
        from->used -= (size_t)(end + 1 - from->line);
        memmove(from->line, end + 1, from->used + 1);
        carry_out(line, answer, sizeof answer);
        if (send(from->fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
            return;
    }
}

int control_descriptors(struct pollfd *into, int space)
{
    int used = 0;
    into[used++] = (struct pollfd){listener, POLLIN, 0};
    for (int at = 0; at < client_count && used < space; at++)
        into[used++] = (struct pollfd){clients[at].fd, POLLIN, 0};
    return used;
}

void serve_control(const struct pollfd *polled, int count)
{
    for (int at = count - 1; at >= 1; at--)
        if (polled[at].revents)
            receive(&clients[at - 1]);
    if (polled[0].revents && client_count < CLIENTS_MAX) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0)
            clients[client_count++] = (struct client){.fd = fd};
    }
}
