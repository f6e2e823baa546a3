// PID 1 of a guest that runs one test program, or its main() anywhere else. The arguments come in a
// file of the initramfs, one a line; the exit code goes to the console, and then the power goes.
#include "guest_main.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "launch/boot.h"
#include "error.h"
#include "skills/unpack.h"
#include "tools.h"

namespace peacrab::test {

namespace {

// On a kernel that has its console from a module it was not there yet when the guest opened it.
void open_console() {
    const UniqueFd console(::open("/dev/hvc0", O_WRONLY | O_NOCTTY | O_CLOEXEC));
    if (!console || ::dup2(console.get(), 1) < 0 || ::dup2(console.get(), 2) < 0) ::_exit(1);
}

// As PID 1 we also reap whom the tests leave behind.
int wait_for(pid_t program) {
    for (;;) {
        int status = 0;
        const pid_t pid = ::waitpid(-1, &status, 0);
        if (pid == program) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (pid < 0 && errno != EINTR) return 125;
    }
}

[[noreturn]] void guest_main() {
    int code = 125;
    try {
        const Booted booted = boot_guest();
        open_console();
        for (const std::string& complaint : booted.complaints) std::fprintf(stderr, "%s\n", complaint.c_str());
        std::vector<std::string> words =
            split(read_file("/unit-arguments", KiB(64)), '\n');
        if (!booted.complaints.empty()) throw Error("guest_unit: the guest is not whole");
        std::vector<char*> arguments;
        for (std::string& word : words)
            if (!word.empty()) arguments.push_back(word.data());
        const pid_t pid = ::fork();
        if (pid == 0) ::_exit(run_tests(static_cast<int>(arguments.size()), arguments.data()));
        code = wait_for(pid);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "guest_unit: %s\n", error.what());
    }
    std::fprintf(stderr, "\nguest_unit: exit %d\n", code);
    power_off();
}

}  // namespace
}  // namespace peacrab::test

int main(int argc, char** argv) {
    if (peacrab::is_guest_init()) peacrab::test::guest_main();
    // A cell runs its own binary as the file helper, and here that is this program.
    if (argc >= 2 && std::strcmp(argv[1], "tool-file") == 0) return peacrab::tool_file_main();
    if (argc >= 2 && std::strcmp(argv[1], "skills-unpack") == 0) return peacrab::skills_unpack_main();
    return peacrab::test::run_tests(argc, argv);
}
