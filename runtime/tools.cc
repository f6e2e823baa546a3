// From a permit to a child in the cell, and from what the child said to what the model and the
// person are shown. Everything a child says is hostile: bounded, valid UTF-8, no terminal escapes.
//
// Nothing is decided here (policy did) and nothing is confined here (cell does).
#include "tools.h"

#include <algorithm>

#include "error.h"
#include "json.h"

namespace peacrab {
namespace {

constexpr Milliseconds kShellLimit{120'000};
constexpr Milliseconds kFileLimit{30'000};
constexpr size_t kMaxSummary = 200;
constexpr size_t kMaxUnterminated = 4096;  // of an escape sequence
constexpr json::Limits kAnswerLimits{Cell::kMaxAnswer, 4};

// Length of the escape sequence at `text`, which begins with ESC. Source: ECMA-48.
size_t escape_length(std::string_view text) {
    if (text.size() < 2) return 1;
    const char kind = text[1];
    const std::string_view near = text.substr(0, kMaxUnterminated);
    if (kind == '[') {  // control sequence: parameters, then one final byte
        for (size_t i = 2; i < near.size(); ++i)
            if (near[i] >= 0x40 && near[i] <= 0x7e)
                return i + 1;
            else if (near[i] < 0x20)
                return i;
        return 2;
    }
    if (std::string_view("]PX^_").find(kind) != std::string_view::npos) {  // strings: to BEL or ST
        for (size_t i = 2; i < near.size(); ++i) {
            if (near[i] == '\a') return i + 1;
            if (near[i] == '\x1b') return i + (near.substr(i).starts_with("\x1b\\") ? 2 : 0);
        }
        return 2;  // no end in sight: what follows is shown
    }
    size_t i = 1;  // intermediates, then one final byte
    while (i < near.size() && near[i] >= 0x20 && near[i] <= 0x2f) ++i;
    return i < near.size() && near[i] >= 0x30 && near[i] <= 0x7e ? i + 1 : 1;
}

// Without escape sequences and control bytes; a lone carriage return begins a new line.
std::string plain(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const char c = text.front();
        size_t length = 1;
        if (c == '\x1b')
            length = escape_length(text);
        else if (c == '\r') {
            if (text.size() < 2 || text[1] != '\n') out += '\n';
        } else if (text.size() > 1 && c == '\xc2' && (text[1] & '\xe0') == '\x80')
            length = 2;  // C1
        else if (static_cast<unsigned char>(c) >= 0x20 ? c != '\x7f' : c == '\n' || c == '\t')
            out += c;
        text.remove_prefix(length);
    }
    return json::valid_utf8(out);
}

// One line, no control bytes, at most kMaxSummary bytes, cut between characters.
std::string one_line(std::string_view text) {
    const bool longer = text.size() > kMaxSummary;
    std::string line = printable(text.substr(0, kMaxSummary));
    std::replace(line.begin(), line.end(), '\n', ' ');
    std::replace(line.begin(), line.end(), '\t', ' ');
    if (!longer && line.size() <= kMaxSummary) return line;
    line.resize(std::min(line.size(), kMaxSummary - 3));
    while (!line.empty() && (static_cast<unsigned char>(line.back()) & 0xc0) == 0x80)
        line.pop_back();
    if (!line.empty() && static_cast<unsigned char>(line.back()) >= 0xc0) line.pop_back();
    return line + "...";
}

std::string seconds(Milliseconds span) {
    return std::to_string(std::chrono::duration_cast<Seconds>(span).count()) + " s";
}

// What we say stands in brackets on a line of its own, after what the command said.
std::string remark(std::string text, const std::string& ours) {
    if (!text.empty() && text.back() != '\n') text += '\n';
    return text + "[" + ours + "]";
}

// What ended the call before it could finish by itself; nothing when it did.
std::optional<ToolResult> early_end(const CommandResult& done, const std::string& text,
                                    Milliseconds limit) {
    const auto ended = [&](Outcome outcome, const std::string& why) {
        return ToolResult{outcome, remark(text, why), one_line(why)};
    };
    if (!done.failed_step.empty())
        return ended(Outcome::Failed, "could not be started: " + printable(done.failed_step));
    if (done.cancelled) return ended(Outcome::Interrupted, "stopped by the person");
    if (done.timed_out) return ended(Outcome::TimedOut, "timed out after " + seconds(limit));
    return std::nullopt;
}

ToolResult finish_shell(const CommandResult& done, Milliseconds limit) {
    const std::string text = plain(done.output);
    if (std::optional<ToolResult> early = early_end(done, text, limit)) return std::move(*early);
    if (done.exit.ok())
        return text.empty() ? ToolResult{Outcome::Ok, "(no output)", "no output"}
                            : ToolResult{Outcome::Ok, text,
                                         std::to_string(done.total_bytes) + " bytes of output"};
    const std::string how = done.exit.describe();
    return {Outcome::Failed, remark(text, how), how};
}

ToolResult finish_file(const CommandResult& done, Milliseconds limit) {
    if (std::optional<ToolResult> early = early_end(done, {}, limit)) return std::move(*early);
    const auto broken = [](const std::string& why) {
        return ToolResult{Outcome::Failed, "[the file helper failed: " + why + "]", one_line(why)};
    };
    if (!done.exit.ok()) return broken(done.exit.describe());
    try {
        const json::Value answer = json::parse(done.output, kAnswerLimits);
        if (!answer.flag("ok")) {
            const std::string why = json::valid_utf8(answer.text("error", "no reason given"));
            return {Outcome::Failed, why, one_line(why)};
        }
        // Not plain(): what is read may be written back, so its bytes stay.
        return {Outcome::Ok, json::valid_utf8(answer.text("text")),
                std::to_string(answer.integer("bytes")) + " bytes"};
    } catch (const Error&) {
        return broken("its answer is not readable");
    }
}

Command begin(Cell& cell, const Permit& permit, Milliseconds limit) {
    const json::Value& arguments = permit.arguments();
    if (permit.tool() == "shell") return cell.shell({arguments.text("command"), limit});
    json::Value request = json::Value::object({{"op", permit.tool()}});
    for (const auto& [name, value] : arguments.members()) request.set(name, value);
    // Last, so that no argument stands in their place: the folders a path may be in.
    request.set("workspace", cell.options().workspace);
    if (cell.options().place == CellOptions::Place::Cell) request.set("kept", Cell::kSeenOutput);
    return cell.file(json::dump(request), limit);
}

Milliseconds limit_of(const Permit& permit) {
    if (permit.tool() != "shell") return kFileLimit;
    return Seconds(permit.arguments().integer("timeout", kShellLimit / Seconds(1)));
}

}  // namespace

struct ToolRun::State {
    State(Cell& cell, const Permit& permit)
        : shell(permit.tool() == "shell"),
          limit(limit_of(permit)),
          command(begin(cell, permit, limit)) {}
    bool shell;
    Milliseconds limit;
    Command command;
};

ToolRun::ToolRun(Cell& cell, Permit permit) : state_(std::make_unique<State>(cell, permit)) {}
ToolRun::ToolRun(ToolRun&&) noexcept = default;
ToolRun::~ToolRun() = default;

Command& ToolRun::command() {
    return state_->command;
}

ToolResult ToolRun::finish() {
    const CommandResult done = state_->command.result();
    return state_->shell ? finish_shell(done, state_->limit) : finish_file(done, state_->limit);
}

std::string describe_call(const ToolCall& call) {
    const std::string name = call.name.substr(0, 40);
    json::Value arguments;
    try {
        arguments = json::parse(call.arguments, {size_t{1} << 20, 4});
    } catch (const Error&) {
        return one_line(name + ": (arguments that cannot be read)");
    }
    if (call.name == "shell") return one_line(name + ": " + arguments.text("command"));
    std::string line = name + ": " + arguments.text("path");
    if (call.name == "write")
        line = name + ": " + arguments.text("path").substr(0, 150) + " (" +
               std::to_string(arguments.text("content").size()) + " bytes)";
    return one_line(line);
}

}  // namespace peacrab
