// The two halves of what takes two agents: `meet hold HEX SECONDS` offers 64 bits by every way
// there may be to a neighbour, `meet seek` looks for them and prints how many arrived, by which
// way. `find HEX PATH...` looks for a canary in files and in memory; it is given as hex, so that
// the search does not find its own arguments.
#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "attack.h"

namespace attack {
namespace {

constexpr int kPort = 8765;
constexpr key_t kKey = 0x6d656574;
constexpr const char* kFiles[] = {"/tmp/meet",
                                  "/var/tmp/meet",
                                  "/dev/shm/meet",
                                  "/run/meet",
                                  "/run/lock/meet",
                                  "/home/agent/meet",
                                  "/var/cache/meet",
                                  "/var/lib/meet",
                                  "/srv/meet",
                                  "/etc/meet",
                                  "/usr/local/meet",
                                  "/home/agent/workspace/meet",
                                  "/var/cache/apt/archives/meet",
                                  "/home/agent/.cache/meet"};
constexpr const char* kBaseFile = "/etc/debian_version";  // of the layer both share

sockaddr_in loopback() {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(kPort);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

socklen_t unix_name(sockaddr_un& at, const char* name, bool abstract) {
    at = {};
    at.sun_family = AF_UNIX;
    std::strcpy(at.sun_path + (abstract ? 1 : 0), name);
    return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + (abstract ? 1 : 0) +
                                  std::strlen(name));
}

int listening(int family, int type, const sockaddr* at, socklen_t size) {
    const int fd = ::socket(family, type | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(fd, at, size) < 0) return -1;
    if (type == SOCK_STREAM) ::listen(fd, 8);
    return fd;
}

void publish(const std::string& secret) {
    for (const char* file : kFiles) {
        const int fd = ::open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (fd >= 0 && ::write(fd, secret.data(), secret.size()) < 0) std::perror(file);
        if (fd >= 0) ::close(fd);
    }
    if (const int id = ::shmget(kKey, 64, IPC_CREAT | 0666); id >= 0)
        std::memcpy(::shmat(id, nullptr, 0), secret.data(), secret.size());
    if (const int id = ::semget(kKey, 1, IPC_CREAT | 0666); id >= 0) ::semctl(id, 0, SETVAL, 4711);
    struct {
        long type;
        char text[64];
    } message{1, {}};
    std::memcpy(message.text, secret.data(), secret.size());
    if (const int id = ::msgget(kKey, IPC_CREAT | 0666); id >= 0)
        for (int i = 0; i < 4; ++i) ::msgsnd(id, &message, secret.size(), IPC_NOWAIT);
    const mqd_t queue = ::mq_open("/meet", O_RDWR | O_CREAT | O_NONBLOCK, 0666, nullptr);
    for (int i = 0; i < 4; ++i) ::mq_send(queue, secret.data(), secret.size(), 0);
    const int locked = ::open(kBaseFile, O_RDONLY);  // kept: holds the locks
    ::flock(locked, LOCK_EX);
    struct flock range {};
    range.l_type = F_RDLCK;
    ::fcntl(locked, F_SETLK, &range);
    ::fcntl(locked, F_SETLEASE, F_RDLCK);
}

int hold(const std::string& secret, int seconds) {
    publish(secret);
    sockaddr_un name;
    const sockaddr_in at = loopback();
    const auto* inet = reinterpret_cast<const sockaddr*>(&at);
    const auto* local = reinterpret_cast<const sockaddr*>(&name);
    std::vector<pollfd> servers;
    const auto serve = [&](int fd) {
        if (fd >= 0) servers.push_back({fd, POLLIN, 0});
    };
    serve(listening(AF_INET, SOCK_STREAM, inet, sizeof at));
    serve(listening(AF_INET, SOCK_DGRAM, inet, sizeof at));
    socklen_t size = unix_name(name, "meet", true);
    serve(listening(AF_UNIX, SOCK_STREAM, local, size));
    ::unlink("/tmp/meet.sock");
    size = unix_name(name, "/tmp/meet.sock", false);
    serve(listening(AF_UNIX, SOCK_STREAM, local, size));
    std::printf("holding by %zu sockets\n", servers.size());
    std::fflush(stdout);
    const time_t end = ::time(nullptr) + seconds;
    while (::time(nullptr) < end) {
        // What the neighbour may watch: the shared file is opened and read, again and again.
        read_all(kBaseFile);
        if (::poll(servers.data(), servers.size(), 20) <= 0) continue;
        for (const pollfd& server : servers) {
            if (!(server.revents & POLLIN)) continue;
            sockaddr_storage from;
            socklen_t length = sizeof from;
            char byte;
            if (::recvfrom(server.fd, &byte, 1, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from),
                           &length) >= 0) {
                ::sendto(server.fd, secret.data(), secret.size(), 0,
                         reinterpret_cast<sockaddr*>(&from), length);
                continue;
            }
            const int client = ::accept4(server.fd, nullptr, nullptr, SOCK_CLOEXEC);
            if (client >= 0) ::send(client, secret.data(), secret.size(), MSG_NOSIGNAL);
            if (client >= 0) ::close(client);
        }
    }
    return 0;
}

std::string received(int fd, const sockaddr* to, socklen_t size) {
    char text[64];
    pollfd ready{fd, POLLIN, 0};
    ssize_t n = -1;
    if (::connect(fd, to, size) == 0) {
        ::send(fd, "?", 1, MSG_NOSIGNAL);
        if (::poll(&ready, 1, 3000) == 1) n = ::recv(fd, text, sizeof text, 0);
    }
    ::close(fd);
    return n > 0 ? std::string(text, static_cast<size_t>(n)) : std::string();
}

struct Found {
    int bits = 0;
    std::string ways;
    void add(const std::string& way, int count) {
        if (!count) return;
        bits += count;
        ways += " " + way;
    }
    void text(const std::string& way, const std::string& text) { add(way, text.empty() ? 0 : 64); }
};

void seek_sockets(Found& found) {
    sockaddr_un name;
    const sockaddr_in at = loopback();
    const auto* inet = reinterpret_cast<const sockaddr*>(&at);
    const auto* local = reinterpret_cast<const sockaddr*>(&name);
    found.text("tcp", received(::socket(AF_INET, SOCK_STREAM, 0), inet, sizeof at));
    found.text("udp", received(::socket(AF_INET, SOCK_DGRAM, 0), inet, sizeof at));
    socklen_t size = unix_name(name, "meet", true);
    found.text("abstract", received(::socket(AF_UNIX, SOCK_STREAM, 0), local, size));
    size = unix_name(name, "/tmp/meet.sock", false);
    found.text("unix", received(::socket(AF_UNIX, SOCK_STREAM, 0), local, size));
    found.add("names", read_all("/proc/net/unix").find("meet") != std::string::npos ? 1 : 0);
}

void seek_queues(Found& found) {
    if (const int id = ::shmget(kKey, 64, 0); id >= 0) found.add("shm", 64);
    if (const int id = ::semget(kKey, 1, 0); id >= 0) found.add("sem", 16);
    if (const int id = ::msgget(kKey, 0); id >= 0) found.add("msg", 64);
    for (int id = 0; id < 64; ++id) {
        struct shmid_ds info;
        if (::shmctl(id, SHM_STAT, &info) >= 0) found.add("shm-id", 1);
    }
    const mqd_t queue = ::mq_open("/meet", O_RDONLY | O_NONBLOCK);
    if (queue >= 0) found.add("mq", 64);
}

void seek_locks(Found& found) {
    found.add("locks", read_all("/proc/locks").empty() ? 0 : 1);
    const int plain =
        ::open(kBaseFile, O_RDONLY | O_CLOEXEC);  // for writing it would become a copy
    if (::flock(plain, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) found.add("flock", 1);
    struct flock range {};
    range.l_type = F_WRLCK;
    if (::fcntl(plain, F_GETLK, &range) == 0 && range.l_type != F_UNLCK) found.add("fcntl", 1);
    ::flock(plain, LOCK_UN);
    const int watch = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    ::inotify_add_watch(watch, kBaseFile, IN_ACCESS | IN_OPEN);
    pollfd ready{watch, POLLIN, 0};
    if (::poll(&ready, 1, 1500) == 1) found.add("inotify", 1);
}

int seek() {
    Found found;
    for (const char* file : kFiles) found.text(file, read_all(file));
    seek_sockets(found);
    seek_queues(found);
    seek_locks(found);
    for (const int pid : pids())
        if (pid != ::getpid()) {
            const std::string line = read_all("/proc/" + std::to_string(pid) + "/cmdline");
            if (line.find(std::string("meet\0hold", 9)) != std::string::npos)
                found.add("process", 1);
        }
    std::printf("meet: %d bits%s\n", found.bits, found.ways.c_str());
    return 0;
}

std::vector<std::string> g_needles;
long g_files, g_bytes;

void search(const std::string& where, const char* data, size_t size) {
    for (const std::string& needle : g_needles)
        if (const void* at = ::memmem(data, size, needle.data(), needle.size()); at)
            std::printf("FOUND %s at %s\n", needle.substr(0, 4).c_str(), where.c_str());
}

void search_descriptor(const std::string& where, int fd) {
    static char block[(1 << 20) + 64];
    size_t kept = 0;
    ssize_t n;
    while ((n = ::read(fd, block + kept, 1 << 20)) > 0) {
        const size_t filled = kept + static_cast<size_t>(n);
        search(where, block, filled);
        g_bytes += n;
        kept = std::min<size_t>(filled, 64);
        std::memmove(block, block + filled - kept, kept);
    }
}

int search_file(const char* path, const struct stat* info, int kind, FTW*) {
    if (kind == FTW_D && std::strncmp(path, "/proc", 5) == 0) return FTW_SKIP_SUBTREE;
    search("a name", path, std::strlen(path));
    if (kind == FTW_SL) {
        const std::string target = link_of(path);
        search(path, target.data(), target.size());
    }
    if (kind != FTW_F || !S_ISREG(info->st_mode)) return FTW_CONTINUE;
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0) return FTW_CONTINUE;
    ++g_files;
    search_descriptor(path, fd);
    ::close(fd);
    return FTW_CONTINUE;
}

void search_memory(int pid) {
    const std::string folder = "/proc/" + std::to_string(pid) + "/";
    for (const char* name : {"environ", "cmdline", "mountinfo", "comm", "cgroup"}) {
        const std::string text = read_all(folder + name);
        search(folder + name, text.data(), text.size());
    }
    if (pid == ::getpid()) return;  // holds what it looks for
    const int memory = ::open((folder + "mem").c_str(), O_RDONLY | O_CLOEXEC);
    if (memory < 0) return;
    const std::string maps = read_all(folder + "maps");
    static char block[1 << 20];
    for (size_t at = 0; at < maps.size(); at = maps.find('\n', at) + 1) {
        unsigned long from = 0, to = 0;
        char mode[8];
        if (std::sscanf(maps.c_str() + at, "%lx-%lx %7s", &from, &to, mode) == 3 && mode[0] == 'r')
            for (; from < to; from += sizeof block) {
                const ssize_t n = ::pread(memory, block, std::min(sizeof block, to - from),
                                          static_cast<off_t>(from));
                if (n <= 0) break;
                search(folder + "mem", block, static_cast<size_t>(n));
                g_bytes += n;
            }
        if (maps.find('\n', at) == std::string::npos) break;
    }
    ::close(memory);
}

int find(const std::vector<std::string>& words) {
    g_needles.emplace_back();
    for (size_t i = 0; i + 1 < words[1].size();) {
        if (words[1][i] == ',') {
            g_needles.emplace_back();
            ++i;
            continue;
        }
        g_needles.back() +=
            static_cast<char>(std::strtol(words[1].substr(i, 2).c_str(), nullptr, 16));
        i += 2;
    }
    for (const int pid : pids()) search_memory(pid);
    for (size_t i = 2; i < words.size(); ++i)
        ::nftw(words[i].c_str(), search_file, 32, FTW_PHYS | FTW_ACTIONRETVAL);
    std::printf("searched %ld files, %ld bytes for %zu canaries\n", g_files, g_bytes,
                g_needles.size());
    return 0;
}

}  // namespace

int meet(const std::vector<std::string>& words) {
    if (words.size() == 4 && words[0] == "meet" && words[1] == "hold")
        return hold(words[2], std::atoi(words[3].c_str()));
    if (words.size() == 2 && words[0] == "meet" && words[1] == "seek") return seek();
    if (words.size() >= 2 && words[0] == "find") return find(words);
    return -1;
}

}  // namespace attack
