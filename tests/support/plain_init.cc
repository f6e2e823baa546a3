// PID 1 of a VM that is none of ours: like any initramfs it loads modules, mounts the root disk, makes
// it the root, and starts a shell there, `/bin/sh /mnt/start`, with what is on the disk `files` at /mnt.
// Static, on its own: nothing of the runtime is in it.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

namespace {

[[noreturn]] void power_off() {
    ::sync();
    ::reboot(RB_POWER_OFF);
    ::_exit(1);
}

void must(bool done, const char* step) {
    if (done) return;
    std::fprintf(stderr, "plain_init: %s: %s\n", step, std::strerror(errno));
    power_off();
}

std::set<std::string> names(const char* folder) {
    std::set<std::string> found;
    DIR* const entries = ::opendir(folder);
    while (const dirent* entry = entries ? ::readdir(entries) : nullptr)
        if (entry->d_name[0] != '.') found.insert(entry->d_name);
    if (entries) ::closedir(entries);
    return found;
}

std::string disk(const std::string& serial) {
    for (const std::string& name : names("/sys/block")) {
        char text[64] = {};
        const int fd = ::open(("/sys/block/" + name + "/serial").c_str(), O_RDONLY);
        if (fd < 0) continue;
        const ssize_t n = ::read(fd, text, sizeof text - 1);
        ::close(fd);
        if (n > 0 && std::string(text).substr(0, serial.size()) == serial) return "/dev/" + name;
    }
    return "/dev/none";
}

}  // namespace

int main() {
    must(::mount("sysfs", "/sys", "sysfs", 0, nullptr) == 0, "mount /sys");
    if (::mount("devtmpfs", "/dev", "devtmpfs", 0, nullptr) < 0) must(errno == EBUSY, "mount /dev");
    for (const std::string& name : names("/modules")) {
        const int fd = ::open(("/modules/" + name).c_str(), O_RDONLY);
        ::syscall(SYS_finit_module, fd, "", 0);
        ::close(fd);
    }
    const int console = ::open("/dev/hvc0", O_RDWR);
    if (console >= 0)
        for (int fd = 0; fd < 3; ++fd) ::dup2(console, fd);
    must(::mount(disk("root").c_str(), "/base", "erofs", MS_RDONLY, nullptr) == 0, "mount the root");
    must(::mount(disk("files").c_str(), "/base/mnt", "ext4", 0, nullptr) == 0, "mount the files");
    for (const char* each : {"/sys", "/dev"})
        must(::mount(each, (std::string("/base") + each).c_str(), nullptr, MS_MOVE, nullptr) == 0, "move");
    must(::chdir("/base") == 0 && ::mount(".", "/", nullptr, MS_MOVE, nullptr) == 0 &&
             ::chroot(".") == 0 && ::chdir("/") == 0,
         "change root");
    must(::mount("proc", "/proc", "proc", 0, nullptr) == 0, "mount /proc");
    ::setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    const pid_t shell = ::fork();
    if (shell == 0) {
        ::execl("/bin/sh", "sh", "/mnt/start", nullptr);
        ::_exit(127);
    }
    int status = 0;
    for (pid_t ended; (ended = ::wait(&status)) != shell;)
        if (ended < 0 && errno != EINTR) break;
    std::printf("\nplain_init: exit %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128);
    std::fflush(stdout);
    power_off();
}
