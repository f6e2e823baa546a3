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
#include "launch/boot.h"
#include "cells/mechanism.h"
#include "channels/line_source.h"
#include "channels/terminal.h"
#include "error.h"
#include "launch/guest.h"
#include "launch/local.h"
#include "tools.h"

namespace peacrab {
namespace {

using Arguments = std::vector<std::string>;

struct Subcommand {
    const char* name;
    const char* arguments;
    const char* summary;  // null: internal, not listed
    int (*run)(const Arguments&);
};

struct UsageError : Error {
    using Error::Error;
};

// The options of `ask` and `chat`; what is no option is the words of the question.
struct TalkOptions {
    LocalOptions local;
    TerminalOptions terminal;
    AskOptions ask;
    std::string words;
    bool plain = false;
    bool goes_on = false;  // --continue
};

TalkOptions parse_talk(const Arguments& arguments) {
    TalkOptions options;
    bool only_words = false;
    for (size_t i = 0; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        const auto value = [&]() -> const std::string& {
            if (++i == arguments.size()) throw UsageError(argument + " needs a value");
            return arguments[i];
        };
        if (only_words || argument.empty() || argument[0] != '-' || argument == "-")
            options.words += (options.words.empty() ? "" : " ") + argument;
        else if (argument == "--")
            only_words = true;
        else if (argument == "--model")
            options.local.model = value();
        else if (argument == "--model-url")
            options.local.model_url = value();
        else if (argument == "--dialect")
            options.local.dialect = value();
        else if (argument == "--base")
            options.local.base = value();
        else if (argument == "--plain")
            options.plain = true;
        else if (argument == "--json")
            options.terminal.json = true;
        else if (argument == "--continue" || argument == "-c")
            options.goes_on = true;
        else
            throw UsageError("unknown option " + argument);
    }
    return options;
}

void finish_options(TalkOptions& options) {
    detect_style(options.terminal, options.plain);
    options.terminal.model_note = local_model(options.local);
    options.terminal.accelerator = "no VM";
    options.terminal.next_step = "run it again: the conversation is kept";
}

int run_ask(const Arguments& arguments) {
    TalkOptions options = parse_talk(arguments);
    std::optional<std::string> question;
    try {
        question = whole_question(options.words, 0, 2);
    } catch (const Error& error) {
        throw UsageError(error.what());
    }
    if (!question) throw UsageError("nothing to ask");
    options.ask.text = *question;
    options.terminal.fresh = !options.goes_on;
    if (options.goes_on) options.local.use = LocalOptions::Use::Conversation;
    finish_options(options);
    FrameSocket warden = start_local_warden(options.local);
    return terminal_ask(options.terminal, warden, options.ask);
}

int run_chat(const Arguments& arguments) {
    TalkOptions options = parse_talk(arguments);
    if (!options.words.empty()) throw UsageError("chat takes no words; `ask` does");
    options.local.use = LocalOptions::Use::Conversation;
    finish_options(options);
    FrameSocket warden = start_local_warden(options.local);
    const std::unique_ptr<LineSource> lines = plain_line_source(0, 1);
    return terminal_chat(options.terminal, warden, *lines);
}

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
    {"turn", "", nullptr, run_turn},
    {"tool-file", "", nullptr, run_tool_file},
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
    text +=
        "\noptions:\n"
        "  --model NAME       the model; else the config's, else a default\n"
        "  --model-url URL    another server than the provider's\n"
        "  --dialect NAME     anthropic, chat or responses, where the address does not tell\n"
        "  --base DIR         (root) the Debian of cells; else /usr/share/peacrab/base\n"
        "  -c, --continue     (ask) go on with the conversation of `chat`\n"
        "  --json             (ask) what happens, as it happens: one JSON object a line\n"
        "  --plain            no colours, no cursor movement\n\n"
        "The key comes from ANTHROPIC_API_KEY, OPENAI_API_KEY or that of the server; proxies and CA from HTTPS_PROXY, NO_PROXY,\n"
        "SSL_CERT_FILE, PROXY_CA_CERT_B64. The question may also be piped in.\n"
        "Exit codes: 0 replied, 1 the turn failed, 2 usage, 3 no agent to talk to, 5 the model is down (out\n"
        "of reach, overloaded, silent), 130 stopped.\n";
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
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "peacrabd: %s\n", peacrab::printable(error.what()).c_str());
        return 3;
    }
}
