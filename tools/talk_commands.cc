// Starts the machine where it does not run, connects, and hands over to the terminal.
#include "talk_commands.h"

#include <unistd.h>

#include "channels/sessions.h"
#include "client.h"
#include "file_commands.h"
#include "line_editor.h"
#include "setup_model.h"
#include "usage_command.h"

namespace peacrab {
namespace {

TerminalOptions terminal_options(const Arguments& arguments, const ChatConnection& chat) {
    TerminalOptions options;
    options.agent = arguments.value("agent", "main");
    options.session = arguments.value("session");
    options.fresh = arguments.has("new");
    options.fork = arguments.has("fork");
    options.accelerator = chat.accelerator == "kvm" ? "KVM" : "TCG (emulated)";
    options.model_note = chat.demo ? "demo model: no model at all; `peacrab setup` sets one up"
                                   : chat.model;
    options.wait_with = "peacrab wait";
    options.next_step = "run `peacrab up`, then `peacrab chat`: the conversation is kept";
    options.more = [place = machine_place(arguments.value("name", "default"))] {
        try {
            (void)allow_more(place);
        } catch (const Error& error) {  // the machine's own answer tells whether it was enough
            tell(error.what());
        }
    };
    detect_style(options, arguments.has("plain"));
    options.json = arguments.has("json");
    return options;
}

// Starts the machine when nothing runs, and opens a chat on it.
ChatConnection chat_with_machine(const Arguments& arguments) {
    require_folder(arguments);
    const MachineOptions flags = machine_options(arguments);
    const UpResult result = bring_up(flags, tell);
    if (!result.differs.empty()) throw Error(result.differs);
    return open_chat(flags);
}

// The terminal has said that the connection ended; the gateway knows why, a moment later.
int with_reason(int code, const Arguments& arguments) {
    if (code != kExitUnreachable) return code;
    const MachinePlace place = machine_place(machine_options(arguments).name);
    const Deadline deadline = Deadline::in(Seconds(1));
    std::string why = why_it_ended(place);
    for (; why.empty() && !deadline.passed(); why = why_it_ended(place)) ::usleep(20'000);
    if (!why.empty()) tell(why);
    return code;
}

}  // namespace

ModelConfig model_flags(const Arguments& arguments) {
    return {arguments.value("model"), arguments.value("model-url"), arguments.value("dialect")};
}

int run_chat(const Arguments& arguments) {
    const bool person = ::isatty(STDIN_FILENO) && ::isatty(STDOUT_FILENO);
    if (person) offer_setup_once(model_flags(arguments));
    ChatConnection connection = chat_with_machine(arguments);
    const std::string folder = send_folder(arguments);
    const TerminalOptions options = terminal_options(arguments, connection);
    std::unique_ptr<LineSource> lines;
    if (person && !options.plain) {
        LineEditorOptions editor;
        editor.history_file = default_history_file();
        lines = make_line_editor(editor);
    } else {
        lines = plain_line_source(STDIN_FILENO, STDOUT_FILENO);
    }
    if (!folder.empty()) lines = with_first_words(std::move(lines), folder);
    return with_reason(terminal_chat(options, connection.warden, *lines), arguments);
}

int run_ask(const Arguments& arguments) {
    std::string words;
    for (const std::string& word : arguments.words)
        if (word != "-") words += (words.empty() ? "" : " ") + word;  // standard input is read anyway
    AskOptions ask;
    std::optional<std::string> text;
    try {
        if (arguments.values.count("schema")) ask.schema = read_schema(arguments.value("schema"));
        text = whole_question(words, STDIN_FILENO, STDERR_FILENO);
    } catch (const Error& error) {
        throw UsageError(error.what());
    }
    if (!text) throw UsageError("ask: there is no question");
    ask.text = *text;
    ask.detach = arguments.has("detach");
    if (ask.detach && ask.schema) throw UsageError("ask: --schema waits for the reply: without --detach");
    ChatConnection connection = chat_with_machine(arguments);
    ask.text += send_folder(arguments);
    TerminalOptions options = terminal_options(arguments, connection);
    options.fresh = options.session.empty() && !arguments.has("continue");
    return with_reason(terminal_ask(options, connection.warden, ask), arguments);
}

int run_sessions(const Arguments& arguments) {
    ChatConnection connection = chat_with_machine(arguments);
    return with_reason(terminal_sessions(terminal_options(arguments, connection), connection.warden), arguments);
}

int run_export(const Arguments& arguments) {
    ExportOptions how;
    how.form = arguments.value("format", "jsonl");
    how.file = arguments.value("output");
    if (!knows("jsonl md", how.form)) throw UsageError("export: --format: jsonl or md was expected");
    ChatConnection connection = chat_with_machine(arguments);
    TerminalOptions options = terminal_options(arguments, connection);
    if (!arguments.words.empty()) options.session = arguments.words[0];
    return with_reason(terminal_export(options, connection.warden, how), arguments);
}

int run_wait(const Arguments& arguments) {
    if (arguments.words.size() != 1 || arguments.words[0].empty())
        throw UsageError("wait: the id that `ask --detach` printed is missing");
    ChatConnection connection = open_chat(machine_options(arguments));
    return with_reason(terminal_wait(terminal_options(arguments, connection), connection.warden,
                                     arguments.words[0]),
                       arguments);
}

}  // namespace peacrab
