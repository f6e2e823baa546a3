// The tool `send`: text or a file to the person while the turn goes on. Each is an event with a number of its
// own, so that whoever carries it elsewhere can tell that it has. A file is not read by the warden: its size
// and sum are the word of a child in the agent's cell, like all else that is known of its files.
#include <algorithm>

#include "error.h"
#include "wardens/tools.h"

namespace peacrab {
namespace {

constexpr size_t kMaxPath = 4096;

bool is_sum(const std::string& text) {
    return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// What the child said, as a frame; it may have said anything.
json::Value file_frame(const RunningTurn& turn, const std::string& said) {
    const json::Value sum = json::parse(said, {size_t{64} << 10, 2});
    const std::string path = sum.text("path"), sha256 = sum.text("sha256");
    const int64_t size = sum.integer("size", -1);
    if (path.empty() || path.size() > kMaxPath || !is_sum(sha256) || size < 0)
        throw Error("send: the file helper's answer is not readable");
    return json::Value::object({{"type", "file"},
                                {"turn", turn_name(turn.id)},
                                {"path", path},
                                {"size", size},
                                {"sha256", sha256}});
}

ToolResult show_file(Warden::State& state, RunningTurn& turn, const ToolResult& looked) try {
    if (looked.outcome != Outcome::Ok) return looked;
    const json::Value frame = file_frame(turn, looked.text);
    state.count_stored(turn, frame.text("path").size());
    if (!state.show(turn.session, turn.id, frame)) throw Error("send: it could not be stored; the disk may be full");
    const std::string words = frame.text("path") + ", " + std::to_string(frame.integer("size")) + " bytes";
    ToolResult result = looked;
    result.text = "the person was told of " + words + "; it stays in the workspace until they fetch it";
    result.summary = shown_line(words, 200);
    return result;
} catch (const Error& error) {
    return {Outcome::Failed, error.what(), shown_line(error.what(), 200)};
}

}  // namespace

std::optional<ToolResult> run_send(Warden::State& state, RunningTurn& turn, RunningCall& call, Permit permit) {
    const std::string text = permit.arguments().text("text");
    if (!text.empty()) {
        state.count_stored(turn, text.size());
        if (!state.show(turn.session, turn.id,
                        json::Value::object({{"type", "said"}, {"turn", turn_name(turn.id)}, {"text", text}})))
            return ToolResult{Outcome::Failed, "send: not sent: it could not be stored", "not stored"};
    }
    if (!permit.arguments().find("path")) return ToolResult{Outcome::Ok, "sent", "sent"};
    const int64_t session = turn.session;
    const uint64_t number = call.number;
    try {
        call.run = std::make_unique<ToolRun>(
            state.loop, state.place(turn.agent), std::move(permit),
            [&state, session, number](const ToolResult& looked) {
                RunningTurn& asker = state.turns.at(session);
                ToolResult result = looked;
                try {
                    result = show_file(state, asker, looked);
                } catch (const Error& error) {
                    result = {Outcome::Failed, error.what(), shown_line(error.what(), 200)};
                }
                state.finish_call(asker, number, result);
            });
    } catch (const Error& error) {
        return ToolResult{Outcome::Failed, std::string("not sent: ") + error.what(), shown_line(error.what(), 200)};
    }
    return std::nullopt;
}

}  // namespace peacrab
