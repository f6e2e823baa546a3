// Asked without being attached to a session, so that nothing counts as seen. All of it is hostile text.
#include "channels/sessions.h"

#include <fcntl.h>
#include <unistd.h>

#include <ctime>

#include "channels/turn_view.h"
#include "channels/warden_wire.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr uint64_t kMostExported = uint64_t{300} << 20;  // a guest that sends on and on

void complain(const TerminalOptions& options, const std::string& words) {
    put_quietly(options.err_fd, one_line(words, 600) + "\n");
}

// Hands over frames until one of them gives the exit code.
template <typename Handler>
int answered(const TerminalOptions& options, FrameSocket& socket, const json::Value& question, Handler&& handle) {
    WardenWire wire(socket);
    wire.send(question);
    std::optional<int> code;
    const auto on_frame = [&](const json::Value& frame) {
        if (code) return;
        const std::string type = frame.text("type");
        if (type == "notice") return complain(options, frame.text("text"));
        if (type != "refused") {
            code = handle(wire, type, frame);
            return;
        }
        complain(options, "refused: " + frame.text("why"));
        code = kExitUsage;
    };
    while (!code)
        if (wire.drain(on_frame, Deadline::never()) == LineSource::Then::Leave && !code) {
            complain(options, gone_sentence(options, wire));
            return kExitUnreachable;
        }
    return *code;
}

std::string when(int64_t at) {
    const std::time_t time = at;
    std::tm parts{};
    char text[32] = "-";
    if (at > 0 && ::localtime_r(&time, &parts)) std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &parts);
    return text;
}

std::string padded(std::string text, size_t width) {
    text.resize(std::max(text.size() + 1, width), ' ');
    return text;
}

std::string table(const json::Value& rows) {
    std::string out = padded("ID", 7) + padded("BEGAN", 18) + padded("LAST", 18) + padded("TURNS", 7) + "FIRST WORDS\n";
    for (const json::Value& row : rows.items()) {
        const std::string from = one_line(row.text("from"), 20);
        out += padded(one_line(row.text("id"), 20), 7) + padded(when(row.integer("began")), 18) +
               padded(when(row.integer("last")), 18) + padded(std::to_string(row.integer("turns")), 7) +
               (from.empty() ? "" : "[from " + from + "] ") + one_line(row.text("words"), 70) + "\n";
    }
    return out;
}

}  // namespace

int terminal_sessions(const TerminalOptions& options, FrameSocket& warden) {
    const json::Value question = json::Value::object({{"type", "sessions"}, {"agent", options.agent}});
    return answered(options, warden, question,
                    [&](WardenWire&, const std::string& type, const json::Value& frame) -> std::optional<int> {
                        if (type != "sessions") return std::nullopt;
                        const json::Value& rows = frame.at("rows");
                        write_all(options.out_fd, options.json ? json::dump(rows) + "\n" : table(rows));
                        return kExitReplied;
                    });
}

int terminal_export(const TerminalOptions& options, FrameSocket& warden, const ExportOptions& how) {
    UniqueFd file;
    if (!how.file.empty()) {
        file = UniqueFd(::open(how.file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (!file) {
            complain(options, ErrnoError("export: " + how.file).what());
            return kExitUsage;
        }
    }
    const int out = file ? file.get() : options.out_fd;
    const bool escaped = ::isatty(out);
    json::Value question =
        json::Value::object({{"type", "export"}, {"agent", options.agent}, {"form", how.form}});
    if (!options.session.empty()) question.set("session", options.session);
    uint64_t size = 0;
    return answered(
        options, warden, question,
        [&](WardenWire& wire, const std::string& type, const json::Value& frame) -> std::optional<int> {
            if (type == "part") {
                const std::string text = frame.text("text");
                size += text.size();
                if (size > kMostExported) throw Error("export: longer than anything that is exported: given up");
                write_all(out, escaped ? printable(text) : text);
                wire.send(json::Value::object({{"type", "more"}}));
                return std::nullopt;
            }
            if (type != "exported") return std::nullopt;
            if (frame.text("why").empty()) return kExitReplied;
            complain(options, "not all of it: " + frame.text("why"));
            return kExitTurnFailed;
        });
}

}  // namespace peacrab
