// Options from the command line; what they mean is decided elsewhere.
#include "launch/talk.h"

#include <unistd.h>

#include "channels/line_source.h"
#include "channels/sessions.h"
#include "launch/local.h"

namespace peacrab {
namespace {

struct TalkOptions {
    LocalOptions local;
    TerminalOptions terminal;
    AskOptions ask;
    ExportOptions exported;
    std::string words;  // what is no option
    bool plain = false;
    bool goes_on = false;  // --continue
};

struct ValueOption {
    const char* name;
    const char* verbs;  // that know it
    std::string* value;
};

// `verb` with blanks around it. Each knows but its own options: one that means nothing there is a mistake.
TalkOptions parse_talk(const std::string& verb, const Arguments& arguments) {
    TalkOptions options;
    std::string schema, directory;
    const char* const talks = " ask chat ";
    const char* const all = " ask chat sessions export ";
    const ValueOption values[] = {{"--model", talks, &options.local.model},
                                  {"--model-url", talks, &options.local.model_url},
                                  {"--dialect", talks, &options.local.dialect},
                                  {"--base", all, &options.local.base},
                                  {"--dir", talks, &directory},
                                  {"--agent", all, &options.terminal.agent},
                                  {"--session", " ask chat export ", &options.terminal.session},
                                  {"--schema", " ask ", &schema},
                                  {"--format", " export ", &options.exported.form},
                                  {"-o", " export ", &options.exported.file},
                                  {"--output", " export ", &options.exported.file}};
    const struct {
        const char* name;
        const char* verbs;
        bool* value;
    } switches[] = {{"--plain", talks, &options.plain},        {"--json", " ask sessions ", &options.terminal.json},
                    {"--continue", " ask ", &options.goes_on}, {"-c", " ask ", &options.goes_on},
                    {"--fork", " chat ", &options.terminal.fork}};
    const auto knows = [&](const char* verbs) { return std::string_view(verbs).find(verb) != std::string_view::npos; };
    bool only_words = false;
    const auto take = [&](size_t& i) {
        const std::string& argument = arguments[i];
        if (only_words || argument.empty() || argument[0] != '-') {
            options.words += (options.words.empty() ? "" : " ") + argument;
            return true;
        }
        if (argument == "-") return true;  // standard input is read anyway
        if (argument == "--") return only_words = true;
        for (const ValueOption& option : values)
            if (argument == option.name && knows(option.verbs)) {
                if (++i == arguments.size()) throw UsageError(argument + " needs a value");
                *option.value = arguments[i];
                return true;
            }
        for (const auto& option : switches)
            if (argument == option.name && knows(option.verbs)) return *option.value = true;
        return false;
    };
    for (size_t i = 0; i < arguments.size(); ++i)
        if (!take(i)) throw UsageError("unknown option " + arguments[i]);
    if (!directory.empty() && ::chdir(directory.c_str()) < 0)
        throw UsageError("--dir: " + directory + ": " + std::strerror(errno));
    try {
        if (!schema.empty()) options.ask.schema = read_schema(schema);
    } catch (const Error& error) {
        throw UsageError(error.what());
    }
    return options;
}

FrameSocket start(TalkOptions& options) {
    detect_style(options.terminal, options.plain);
    options.terminal.accelerator = "no VM";
    options.terminal.own_warden = true;
    options.terminal.next_step = "run it again: the conversation is kept";
    LocalStart local = start_local_warden(options.local);
    options.terminal.model_note = std::move(local.model);
    return std::move(local.warden);
}

}  // namespace

const std::string kTalkHelp = std::string(
    "options:\n"
    "  --model NAME       the model; else the config's, else a default\n"
    "  --model-url URL    another server than the provider's\n"
    "  --dialect NAME     anthropic, chat or responses, where the address does not tell\n"
    "  --base DIR         (root) the Debian of cells; else /usr/share/peacrab/base\n"
    "  --dir DIR          work in that folder itself: there is no copy, and no undo\n"
    "  --agent NAME       (root) which agent; else main\n"
    "  --session ID       that conversation; `sessions` lists them\n"
    "  -c, --continue     (ask) go on with the conversation of `chat`\n"
    "  --schema FILE      (ask) the reply is one JSON value that fits this JSON Schema, alone on stdout\n"
    "  --json             (ask) what happens, as it happens: one JSON object a line; (sessions) for programs\n"
    "  --fork             (chat) go on in a copy of the conversation\n"
    "  --format FORM      (export) jsonl, one entry a line, or md, to be read\n"
    "  -o FILE            (export) into that file\n"
    "  --plain            no colours, no cursor movement\n\n"
    "The key comes from ANTHROPIC_API_KEY, OPENAI_API_KEY or that of the server; proxies and CA from HTTPS_PROXY, NO_PROXY,\n"
    "SSL_CERT_FILE, PROXY_CA_CERT_B64. What is piped in comes behind the words of the question.\n") + kExitCodes;

int run_ask(const Arguments& arguments) {
    TalkOptions options = parse_talk(" ask ", arguments);
    std::optional<std::string> question;
    try {
        question = whole_question(options.words, 0, 2);
    } catch (const Error& error) {
        throw UsageError(error.what());
    }
    if (!question) throw UsageError("nothing to ask");
    options.ask.text = *question;
    options.terminal.fresh = !options.goes_on && options.terminal.session.empty();
    // Nobody else may be at work in a session that is gone on with.
    if (!options.terminal.fresh) options.local.use = LocalOptions::Use::Conversation;
    FrameSocket warden = start(options);
    return terminal_ask(options.terminal, warden, options.ask);
}

int run_chat(const Arguments& arguments) {
    TalkOptions options = parse_talk(" chat ", arguments);
    if (!options.words.empty()) throw UsageError("chat takes no words; `ask` does");
    options.local.use = LocalOptions::Use::Conversation;
    FrameSocket warden = start(options);
    const std::unique_ptr<LineSource> lines = plain_line_source(0, 1);
    return terminal_chat(options.terminal, warden, *lines);
}

int run_sessions(const Arguments& arguments) {
    TalkOptions options = parse_talk(" sessions ", arguments);
    if (!options.words.empty()) throw UsageError("sessions takes no words");
    options.local.use = LocalOptions::Use::Reading;
    FrameSocket warden = start(options);
    return terminal_sessions(options.terminal, warden);
}

int run_export(const Arguments& arguments) {
    TalkOptions options = parse_talk(" export ", arguments);
    if (options.exported.form != "jsonl" && options.exported.form != "md")
        throw UsageError("--format: jsonl or md was expected");
    if (!options.words.empty()) options.terminal.session = options.words;
    options.local.use = LocalOptions::Use::Reading;
    FrameSocket warden = start(options);
    return terminal_export(options.terminal, warden, options.exported);
}

}  // namespace peacrab
