// The hub runs in this process; each conversation is a chat with the machine, which is started when it does not run.
#include "channel_commands.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "client.h"
#include "config/secrets.h"
#include "dialogue.h"
#include "error.h"
#include "messaging/serving.h"

namespace peacrab {

int run_serve(const Arguments& arguments) {
    const MachineOptions flags = machine_options(arguments);
    const auto begin = [flags] {
        (void)bring_up(flags, tell);
        return [flags]() -> UniqueFd {
            (void)bring_up(flags, tell);  // it may have been stopped meanwhile
            const ChatConnection chat = open_chat(flags);
            UniqueFd fd(::fcntl(chat.warden.fd(), F_DUPFD_CLOEXEC, 3));
            if (!fd) throw ErrnoError("serve: connection");
            return fd;
        };
    };
    return serve_channels({{require_real_path("serve", "/proc/self/exe"), "channel-run"}, begin});
}

int run_people(const Arguments& arguments) {
    return people_command(arguments.words);
}

int run_secret(const Arguments& arguments) {
    const std::string what = arguments.words.empty() ? "ls" : arguments.words[0];
    const std::string name = arguments.words.size() > 1 ? arguments.words[1] : "";
    const SecretStore store;
    if (what == "ls" && name.empty()) {
        for (const std::string& one : list_folder(store.directory())) std::printf("%s\n", printable(one).c_str());
        return 0;
    }
    if (name.empty()) throw UsageError("secret: `set NAME`, `ls` or `rm NAME` was expected");
    if (what == "rm") {
        if (!store.exists(name)) throw Error("secret: there is none of the name " + printable(name));
        store.remove(name);
        return 0;
    }
    if (what != "set") throw UsageError("secret: `set NAME`, `ls` or `rm NAME` was expected");
    const bool person = ::isatty(STDIN_FILENO);
    const Secret secret = person ? Dialogue(STDIN_FILENO, STDERR_FILENO).ask_hidden(name + ": ") : read_key(STDIN_FILENO);
    if (const std::string fault = secret_fault(secret.reveal()); !fault.empty()) throw Error("secret: " + fault);
    store.write(name, secret);
    tell("kept in " + store.directory() + "/" + name);
    return 0;
}

}  // namespace peacrab
