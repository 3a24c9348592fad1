/* Preloaded into the compiler's front end: it parses the headers of a family once, and forks for each group of kernels.

   Its source includes two files. The first one, that KREGISTRY_HEADERS_FILE names, holds the headers: they are read from
   the descriptor KREGISTRY_HEADERS_STREAM, to which the preprocessor writes at the same time. The second one is the last
   thing in the source, and KREGISTRY_KERNELS_FILE names it. When the front end opens
   that file, it has parsed the headers and written nothing yet. Here it waits: each message on the socket
   KREGISTRY_HEADERS_SOCKET is a directory, with a pipe for the answer. A fork goes on in that directory, where it finds
   the kernels, and where all files that it writes go, since their names are relative. Another fork waits for it and
   writes its exit code to the pipe. The end of the socket ends the process.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef FILE *(*open_function)(const char *, const char *);

static int waited, stream = -1;
static off64_t stream_position;

static void go_on(const char *directory)
{
    int log;
    if (chdir(directory) != 0 || (log = open("log", O_WRONLY | O_CREAT | O_TRUNC, 0666)) < 0)
        _exit(127);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    close(log);
}

/* The length of a directory's name, and the pipe that comes with it; 0 at the end. */
static ssize_t receive(int channel, char *directory, size_t size, int *answer)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec text = {directory, size - 1};
    struct msghdr message = {0};
    message.msg_iov = &text;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    ssize_t length = recvmsg(channel, &message, 0);
    struct cmsghdr *found = length > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (found == NULL || found->cmsg_type != SCM_RIGHTS)
        return 0;
    memcpy(answer, CMSG_DATA(found), sizeof *answer);
    directory[length] = 0;
    return length;
}

static void serve(int channel)
{
    char directory[PATH_MAX];
    int answer;
    if (send(channel, "parsed", 6, MSG_NOSIGNAL) < 0)
        _exit(0);
    while (receive(channel, directory, sizeof directory, &answer) > 0) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (fork() == 0) {
            close(channel);
            int status = 0;
            pid_t front_end = fork();
            if (front_end == 0) {
                close(answer);
                go_on(directory);
                return;
            }
            if (front_end > 0 && waitpid(front_end, &status, 0) == front_end)
                dprintf(answer, "%d", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
            _exit(0);
        }
        close(answer);
    }
    while (wait(NULL) > 0)
        ;
    _exit(0);
}

static ssize_t read_stream(void *unused, char *buffer, size_t size)
{
    ssize_t length = read(stream, buffer, size);
    if (length > 0)
        stream_position += length;
    return length;
}

/* A pipe has no position, but the front end asks where it is in the first lines of a file. */
static int seek_stream(void *unused, off64_t *offset, int whence)
{
    if ((whence != SEEK_CUR || *offset != 0) && (whence != SEEK_SET || *offset != stream_position))
        return -1;
    *offset = stream_position;
    return 0;
}

static int is_named(const char *path, const char *variable)
{
    const char *name = getenv(variable), *slash = path ? strrchr(path, '/') : NULL;
    return path && name && strcmp(slash ? slash + 1 : path, name) == 0;
}

static FILE *opened(const char *name, const char *path, const char *mode)
{
    const char *channel = getenv("KREGISTRY_HEADERS_SOCKET"), *descriptor = getenv("KREGISTRY_HEADERS_STREAM");
    if (stream < 0 && descriptor && is_named(path, "KREGISTRY_HEADERS_FILE")) {
        cookie_io_functions_t functions = {read_stream, NULL, seek_stream, NULL};
        stream = atoi(descriptor);
        return fopencookie(&stream, mode, functions);
    }
    if (!waited && channel && is_named(path, "KREGISTRY_KERNELS_FILE")) {
        waited = 1;
        if (stream < 0) /* it has read the headers in a way that is not known here */
            _exit(127);
        close(stream);
        serve(atoi(channel));
    }
    return ((open_function)dlsym(RTLD_NEXT, name))(path, mode);
}

FILE *fopen(const char *path, const char *mode) { return opened("fopen", path, mode); }
FILE *fopen64(const char *path, const char *mode) { return opened("fopen64", path, mode); }
