// `peacrabd`: the subcommand table. The same binary is PID 1 of our microVM, the turn process, the
// file helper of a cell, and the whole agent on a machine without a VM.
#include <netdb.h>
#include <nss.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "agent.h"
#include "builtins/tool_fetch.h"
#include "launch/boot.h"
#include "cells/mechanism.h"
#include "channels/adapters.h"
#include "error.h"
#include "launch/guest.h"
#include "launch/serve.h"
#include "launch/talk.h"
#include "skills/unpack.h"
#include "tools.h"

namespace peacrab {
namespace {

struct Subcommand {
    const char* name;
    const char* arguments;
    const char* summary;  // null: internal, not listed
    int (*run)(const Arguments&);
};

// What the warden's mechanism_argument() said.
void adopt_mechanisms(const Arguments& arguments) {
    if (!arguments.empty()) use_mechanisms_of(arguments.back());
}

int run_turn(const Arguments& arguments) {
    adopt_mechanisms(arguments);
    if (arguments.size() < 2) throw UsageError("turn: started by the warden alone");
    const bool own = arguments[0] == "--own-network";
    return turn_main(own ? TurnNetwork::Own : TurnNetwork::ModelRoute, arguments[1]);
}

int run_tool_file(const Arguments& arguments) {
    adopt_mechanisms(arguments);
    return tool_file_main();
}

const Subcommand kSubcommands[] = {
    {"ask", "[OPTIONS] WORDS…", "one question, one reply on stdout", run_ask},
    {"chat", "[OPTIONS]", "a conversation", run_chat},
    {"sessions", "[--agent NAME] [--json]", "the conversations there are", run_sessions},
    {"export", "[OPTIONS] [SESSION]", "a conversation as text", run_export},
    {"serve", "[OPTIONS]", "the messengers of the configuration, until it is told to end", run_serve},
    {"people", "[pair CHANNEL [ROLE]]", "who may speak on them, and what became of a message", run_people},
    {"tasks", "[pause|resume|delete|history|allow N]", "what is done by itself", run_tasks},
    {"turn", "", nullptr, run_turn},
    {"tool-file", "", nullptr, run_tool_file},
    {"tool-files", "", nullptr,
     [](const Arguments& arguments) { return adopt_mechanisms(arguments), tool_files_main(); }},
    {"tool-fetch", "", nullptr,
     [](const Arguments& arguments) { return adopt_mechanisms(arguments), tool_fetch_main(); }},
    {"channel", "", nullptr, run_channel},
    {"skills-unpack", "", nullptr, [](const Arguments&) { return skills_unpack_main(); }},
};

int help() {
    std::string text = "peacrabd " + std::string(kVersion) +
                       ": the agent itself, without a VM. `peacrab` runs it in one.\n\nusage:\n";
    for (const Subcommand& command : kSubcommands) {
        if (!command.summary) continue;
        std::string line = std::string("  peacrabd ") + command.name + " " + command.arguments;
        line.resize(std::max<size_t>(line.size() + 2, 38), ' ');
        text += line + command.summary + "\n";
    }
    text += std::string("\n") + kTalkHelp;
    std::fputs(text.c_str(), stdout);
    return 0;
}

int run(const Arguments& arguments) {
    if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "help") return help();
    if (arguments[0] == "--version") {
        std::printf("peacrabd %s\n", kVersion);
        return 0;
    }
    for (const Subcommand& command : kSubcommands)
        if (arguments[0] == command.name) {
            if (arguments.size() > 1 && arguments[1] == "--help") return help();
            return command.run({arguments.begin() + 1, arguments.end()});
        }
    throw UsageError("unknown command " + arguments[0]);
}

}  // namespace
}  // namespace peacrab

int main(int count, char** values) {
    // Before anything can look a name up: whatever /etc/nsswitch.conf says, only the sources that
    // are built into libc are used, so that no shared object is ever loaded.
    __nss_configure_lookup("hosts", "files dns");
    if (peacrab::is_guest_init()) peacrab::guest_main();
    ::signal(SIGPIPE, SIG_IGN);
    peacrab::set_log_name("peacrabd");
    try {
        return peacrab::run({values + 1, values + count});
    } catch (const peacrab::UsageError& error) {
        std::fprintf(stderr, "peacrabd: %s\ntry: peacrabd --help\n",
                     peacrab::printable(error.what()).c_str());
        return peacrab::kExitUsage;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "peacrabd: %s\n", peacrab::printable(error.what()).c_str());
        return peacrab::kExitUnreachable;
    }
}
