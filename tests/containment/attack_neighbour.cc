// Rows B and C that one cell can try alone: other agents, secrets, the control plane.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "attack.h"

namespace attack {
namespace {

// The words of $ATTACK_FOREIGN are given as hex with commas, or the search would find itself.
std::vector<std::string> foreign_words() {
    std::vector<std::string> words(1);
    const char* hex = std::getenv("ATTACK_FOREIGN");
    for (; hex && hex[0] && (hex[0] == ',' || hex[1]); hex += hex[0] == ',' ? 1 : 2)
        if (hex[0] == ',')
            words.emplace_back();
        else
            words.back() +=
                static_cast<char>(std::strtol(std::string(hex, 2).c_str(), nullptr, 16));
    return words;
}

bool holds_word(const std::string& text, std::string& which) {
    for (const std::string& word : foreign_words())
        if (!word.empty() && text.find(word) != std::string::npos) {
            which = word;
            return true;
        }
    return false;
}

void foreign_names(Report& report) {
    std::string which;
    report.must("words to look for", !foreign_words()[0].empty());
    std::vector<std::string> files = {"/proc/net/unix",        "/proc/net/tcp",
                                      "/proc/net/tcp6",        "/proc/net/udp",
                                      "/proc/mounts",          "/proc/self/mountinfo",
                                      "/proc/self/mountstats", "/proc/cmdline",
                                      "/proc/locks",           "/proc/sysvipc/shm",
                                      "/proc/sysvipc/msg",     "/proc/sysvipc/sem",
                                      "/etc/hostname",         "/proc/sys/kernel/hostname",
                                      "/proc/swaps",           "/proc/partitions"};
    for (const int pid : pids())
        for (const char* name : {"cgroup", "status", "cmdline", "comm", "mountinfo", "sched"})
            files.push_back("/proc/" + std::to_string(pid) + "/" + name);
    for (const std::string& file : files) {
        if (holds_word(read_all(file), which)) report.escaped(file + " names " + which);
        report.must(file, true);
    }
    for (const int pid : pids()) {
        struct stat info;
        if (::stat(("/proc/" + std::to_string(pid)).c_str(), &info) < 0) continue;
        if (pid == 1 && info.st_uid != 65534) report.escaped("pid 1 is one of us");
        if (pid != 1 && info.st_uid == 65534) {
            report.escaped("pid " + std::to_string(pid) + " is nobody of this cell");
        }
    }
}

void own_names(Report& report) {
    report.must("the own process is listed", ::access("/proc/self/status", R_OK) == 0);
    report.must("the own mounts are listed", read_all("/proc/self/mountinfo").size() > 100);
}

void signal_all(Report& report) {
    const std::vector<int> here = pids();
    const auto known = [&](int pid) {
        for (const int each : here)
            if (each == pid) return true;
        return false;
    };
    for (int pid = 1; pid <= 40000; ++pid) {
        if (pid != 1 && known(pid)) continue;
        if (::kill(pid, 0) == 0 && ::access(("/proc/" + std::to_string(pid)).c_str(), F_OK) < 0)
            report.escaped("kill reaches " + std::to_string(pid));
        else if (errno != ESRCH && errno != EPERM)
            report.surprise("kill " + std::to_string(pid) + ": " + ::strerrorname_np(errno));
        if (pid == 1 && raw(SYS_tgkill, 1, 1, 0) == 0) report.escaped("tgkill reaches pid 1");
    }
    for (const int pid : {-1000000, 4194303})
        report.refused("kill " + std::to_string(pid), {ESRCH, EPERM},
                       [=] { return static_cast<long>(::kill(pid, 0)); });
    report.must("all numbers", true);
}

void signal_own(Report& report) {
    report.works("kill a child", [] {
        const pid_t child = ::fork();
        if (child == 0) {
            ::alarm(20);
            ::pause();
        }
        const long result = ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        return result;
    });
}

// Where a neighbour's files might be reached from here, if paths led there.
std::vector<std::string> guesses() {
    std::vector<std::string> paths;
    for (const char* top : {"/state/agents", "/agents", "/proc/1/root/state/agents", "/proc/1/cwd",
                            "/proc/1/root", "/../state/agents", "/run/agents", "/home",
                            "/home/agent/../../state/agents", "/mnt", "/media"})
        for (const char* name : {"/beta", "/main", "/alpha"})
            paths.push_back(std::string(top) + name + "/home/workspace/planted");
    return paths;
}

void link_into(Report& report) {
    const std::string own = "/home/agent/workspace/own-file";
    report.must("own file", open_for(own, O_WRONLY | O_CREAT) >= 0);
    for (const std::string& path : guesses()) {
        report.refused("link " + path, {ENOENT, EXDEV, EACCES, EPERM, ENOTDIR},
                       [&] { return static_cast<long>(::link(own.c_str(), path.c_str())); });
        report.refused("rename " + path, {ENOENT, EXDEV, EACCES, EPERM, ENOTDIR},
                       [&] { return static_cast<long>(::rename(own.c_str(), path.c_str())); });
        report.refused("open " + path, {ENOENT, EXDEV, EACCES, EPERM, ENOTDIR},
                       [&] { return open_for(path, O_WRONLY | O_CREAT); });
    }
    ::unlink(own.c_str());
}

void link_within(Report& report) {
    report.works("a link within the workspace", [] {
        if (open_for("link-a", O_WRONLY | O_CREAT) < 0) return -1L;
        const long made = ::link("link-a", "link-b");
        ::unlink("link-a");
        ::unlink("link-b");
        return made;
    });
}

void foreign_limits(Report& report) {
    const rlimit limit{1, 1};
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    sched_param parameters{};
    for (const int pid : {1, 39999}) {
        const std::string of = " of " + std::to_string(pid);
        report.refused("prlimit" + of, {EPERM, ESRCH}, [&] {
            return raw(SYS_prlimit64, pid, RLIMIT_NOFILE, reinterpret_cast<long>(&limit), 0);
        });
        report.refused("sched_setaffinity" + of, {EPERM, ESRCH}, [&] {
            return static_cast<long>(::sched_setaffinity(pid, sizeof set, &set));
        });
        report.refused("sched_setscheduler" + of, {EPERM, ESRCH}, [&] {
            return static_cast<long>(::sched_setscheduler(pid, SCHED_BATCH, &parameters));
        });
        report.refused("setpriority" + of, {EPERM, ESRCH, EACCES}, [&] {
            return static_cast<long>(::setpriority(PRIO_PROCESS, static_cast<id_t>(pid), 19));
        });
        report.refused("ioprio_set" + of, {EPERM, ESRCH},
                       [&] { return raw(SYS_ioprio_set, 1, pid, 0x6000); });
    }
    report.refused("a higher limit on files", {EPERM}, [] {
        const rlimit more{1 << 20, 1 << 20};
        return static_cast<long>(::setrlimit(RLIMIT_NOFILE, &more));
    });
    report.refused("core dumps", {EPERM}, [] {
        const rlimit more{1 << 20, 1 << 20};
        return static_cast<long>(::setrlimit(RLIMIT_CORE, &more));
    });
}

void own_limits(Report& report) {
    report.works("a lower limit of one's own", [] {
        const rlimit less{64, 64};
        return static_cast<long>(::setrlimit(RLIMIT_NOFILE, &less));
    });
}

void told_secrets(Report& report) {
    for (const int pid : pids())
        for (const char* name : {"environ", "cmdline", "auxv"}) {
            const std::string text = read_all("/proc/" + std::to_string(pid) + "/" + name);
            for (const char* part : {"sk-ant", "ANTHROPIC", "API_KEY", "TOKEN=", "PASSWORD",
                                     "SECRET", "proxy-managed", "Authorization"})
                if (text.find(part) != std::string::npos)
                    report.escaped(std::string(name) + " of " + std::to_string(pid) + " holds " +
                                   part);
            report.must(name, true);
        }
    report.refused("the environment of pid 1", {EACCES, EPERM},
                   [] { return holds_bytes("/proc/1/environ"); });
}

void own_environment(Report& report) {
    report.must("the own environment is readable",
                read_all("/proc/self/environ").find("PATH=") != std::string::npos);
}

// From a port of its own choice, or a scan would now and then connect to itself.
long dial(const char* address, int port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in from{}, to{};
    from.sin_family = AF_INET;
    from.sin_port = htons(port < 20000 ? 65000 : 19000);
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(fd, reinterpret_cast<sockaddr*>(&from), sizeof from) < 0) return -1;
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    ::inet_pton(AF_INET, address, &to.sin_addr);
    const int result = ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to);
    const int code = errno;
    ::close(fd);
    errno = code;
    return result;
}

void every_port(Report& report) {
    for (const char* address : {"127.0.0.1", "127.0.0.2"})
        for (int port = 1; port < 65536; ++port) {
            if (port == 3128 && std::strcmp(address, "127.0.0.1") == 0) continue;
            if (address[8] == '2' && port > 4096) break;
            if (dial(address, port) == 0)
                report.escaped(std::string(address) + ":" + std::to_string(port) + " answers");
            else if (errno != ECONNREFUSED)
                report.surprise(std::string(address) + ":" + std::to_string(port) + ": " +
                                ::strerrorname_np(errno));
        }
    for (const char* address : {"10.0.2.2", "10.0.2.3", "192.168.0.1", "169.254.169.254",
                                "172.17.0.1", "198.51.100.1", "224.0.0.1", "255.255.255.255"})
        report.refused(address, {ENETUNREACH, EACCES}, [=] { return dial(address, 80); });
    for (const char* path : {"/run/peacrab.sock", "/run/warden.sock", "/var/run/docker.sock",
                             "/run/systemd/private", "/run/dbus/system_bus_socket"})
        report.refused(path, {ENOENT}, [=] { return open_for(path, O_RDONLY); });
}

void own_port(Report& report) {
    report.works("a server of one's own on port 80", [] {
        const int server = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_port = htons(80);
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::bind(server, reinterpret_cast<sockaddr*>(&at), sizeof at) < 0 ||
            ::listen(server, 1) < 0)
            return -1L;
        return dial("127.0.0.1", 80);
    });
    report.works("the proxy", [] { return dial("127.0.0.1", 3128); });
}

void control_paths(Report& report) {
    for (const char* path : {"/state",
                             "/agents",
                             "/warden.db",
                             "/state/warden.db",
                             "/audit",
                             "/state/audit",
                             "/peacrabd",
                             "/base",
                             "/modules",
                             "/run/cgroup",
                             "/run/warden",
                             "/run/peacrab",
                             "/policy",
                             "/sys/fs/cgroup",
                             "/sys/kernel",
                             "/home/agent/../../warden.db",
                             "/proc/1/root/state",
                             "/home/agent/session.db",
                             "/home/agent/journal.db",
                             "/output",
                             "/layer",
                             "/run/output/.."
                             "/../state",
                             "/init",
                             "/old-root",
                             "/.old"})
        report.refused(path, {ENOENT, EACCES, ENOTDIR}, [=] { return open_for(path, O_RDONLY); });
    for (const char* folder : {"/dev/shm", "/dev/mqueue", "/run/lock", "/run/user"})
        for (const std::string& name : list(folder))
            report.escaped(std::string("left over: ") + folder + "/" + name);
}

void own_paths(Report& report) {
    for (const char* path : {"/", "/etc/passwd", "/home/agent/workspace", "/tmp", "/run/output"})
        report.works(path, [=] { return open_for(path, O_RDONLY); });
}

}  // namespace

std::vector<Row> neighbour_rows() {
    return {
        {"B2", "names and processes of others", foreign_names, own_names},
        {"B6", "signal every process number", signal_all, signal_own},
        {"B7", "link, rename and open into a neighbour's folder", link_into, link_within},
        {"B11", "limits and scheduling of others", foreign_limits, own_limits},
        {"C1", "secrets in environments and arguments", told_secrets, own_environment},
        {"C7", "every port, and addresses beyond", every_port, own_port},
        {"C10", "audit, policy, sessions, leftovers", control_paths, own_paths},
    };
}

}  // namespace attack
