// A responder that a newcomer meets before a key is set, and that most tests drive the system
// with. So it is strict where the real server is strict (pairs of tool_use and tool_result, roles,
// required keys): a history our own loop got wrong fails here as it would fail there.
// It keeps no state: the place in a plan is found by counting the tool results since the last
// text of the user. It must never invent what a command printed.
#include "demo_model.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "demo_plan.h"
#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr const char* kHelp =
    "I am Peacrab's demo model. I run commands in this agent's box through the same way a real "
    "model would, but I only know a few forms of words:\n"
    "- `run: CMD` runs CMD, to the letter; several such lines run one after another\n"
    "- `read FILE`, `write TEXT to FILE`\n"
    "- questions about the kernel, the user id, the host name, disk, memory, network, files, the "
    "date, or where I run";
constexpr size_t kMaxQuoted = size_t{16} << 10;
constexpr size_t kDeltaBytes = 24;

struct Call {
    std::string id;
    bool answered = false;
    bool failed = false;
    std::string result;
};

// What the conversation is at: the last text of the user and the calls made for it.
struct Situation {
    std::string task;
    std::vector<Call> calls;
};

// The text of a message or tool result: a string, or text blocks one below the other.
std::string text_of(const json::Value* content) {
    if (content == nullptr) return {};
    if (content->is_string()) return content->as_string();
    if (!content->is_array()) return {};
    std::string text;
    for (const json::Value& block : content->items()) {
        if (block.text("type") != "text") continue;
        const std::string part = block.text("text");
        if (!text.empty()) text += '\n';
        text += part;
    }
    return text;
}

std::vector<const json::Value*> blocks_of(const json::Value& message, std::string_view type) {
    std::vector<const json::Value*> blocks;
    const json::Value* content = message.find("content");
    if (content == nullptr || !content->is_array()) return blocks;
    for (const json::Value& block : content->items())
        if (block.text("type") == type) blocks.push_back(&block);
    return blocks;
}

void take_results(const json::Value& message, std::vector<Call>& calls,
                  const std::set<std::string>& open) {
    std::set<std::string> left = open;
    for (const json::Value* block : blocks_of(message, "tool_result")) {
        const std::string id = block->text("tool_use_id");
        if (left.erase(id) == 0)
            throw Error("messages: a tool_result has no tool_use directly before it: " + id);
        for (Call& call : calls) {
            if (call.id != id) continue;
            call.answered = true;
            call.failed = block->flag("is_error");
            call.result = text_of(block->find("content"));
        }
    }
    if (!left.empty())
        throw Error("messages: a tool_use is without a tool_result directly after it: " +
                    *left.begin());
}

// Walks the conversation once, checking the pairs. Throws Error with the sentence of a 400.
Situation read_situation(const json::Value& messages) {
    Situation now;
    std::set<std::string> open;  // the calls of the message before
    for (const json::Value& message : messages.items()) {
        const std::string role = message.text("role");
        const json::Value* content = message.find("content");
        if (content == nullptr || (!content->is_string() && !content->is_array()))
            throw Error("messages: content is missing");
        if (role == "user") {
            take_results(message, now.calls, open);
            open.clear();
            std::string said = text_of(content);
            if (!said.empty()) now = Situation{std::move(said), {}};
        } else if (role == "assistant") {
            if (!open.empty())
                throw Error("messages: a tool_use is without a tool_result after it");
            for (const json::Value* block : blocks_of(message, "tool_use")) {
                const std::string id = block->text("id");
                if (id.empty() || !open.insert(id).second)
                    throw Error("messages: the id of a tool_use is missing or stands twice");
                now.calls.push_back({id, false, false, {}});
            }
        } else if (role != "system") {
            throw Error("messages: role must be user or assistant");
        }
    }
    if (!open.empty()) throw Error("messages: a tool_use is without a tool_result after it");
    return now;
}

void check_request(const json::Value& request) {
    if (!request.is_object()) throw Error("the request is no object");
    if (request.text("model").empty()) throw Error("model: field required");
    if (request.integer("max_tokens") < 1) throw Error("max_tokens: field required");
    const json::Value* messages = request.find("messages");
    if (messages == nullptr || !messages->is_array() || messages->items().empty())
        throw Error("messages: at least one message is required");
    if (messages->items().front().text("role") != "user")
        throw Error("messages: the first message must use the user role");
    if (messages->items().back().text("role") != "user")
        throw Error("messages: the last message must use the user role");
}

const char* tool_name(DemoStep::Kind kind) {
    switch (kind) {
        case DemoStep::Kind::Shell:
            return "shell";
        case DemoStep::Kind::Read:
            return "read";
        case DemoStep::Kind::Write:
            return "write";
    }
    return "";
}

// The arguments as the offered tool spells them: which keys there are is the runtime's business,
// their order says what they mean (the subject, then the text). Nothing: no such tool is offered.
std::optional<json::Value> arguments_for(const DemoStep& step, const json::Value& request) {
    const json::Value* tools = request.find("tools");
    if (tools == nullptr || !tools->is_array()) return {};
    for (const json::Value& tool : tools->items()) {
        if (tool.text("name") != tool_name(step.kind)) continue;
        const json::Value* schema = tool.find("input_schema");
        const json::Value* required = schema == nullptr ? nullptr : schema->find("required");
        if (required == nullptr || !required->is_array()) return {};
        std::vector<std::string> keys;
        for (const json::Value& key : required->items())
            if (key.is_string()) keys.push_back(key.as_string());
        const bool writes = step.kind == DemoStep::Kind::Write;
        if (keys.size() < (writes ? 2U : 1U)) return {};
        // JSON gives no order to `required`: of two keys the path is the one called so.
        if (writes && keys[1] == "path") std::swap(keys[0], keys[1]);
        json::Value arguments = json::Value::object({{keys[0], step.subject}});
        if (writes) arguments.set(keys[1], step.text);
        return arguments;
    }
    return {};
}

// At most kMaxQuoted bytes between fences that the text itself cannot close.
std::string quoted(std::string text) {
    const size_t size = text.size();
    if (size > kMaxQuoted) text = json::valid_utf8(text.substr(0, kMaxQuoted));
    while (text.ends_with('\n')) text.pop_back();
    std::string fence = "```";
    while (text.find(fence) != std::string::npos) fence += '`';
    std::string out = fence + "\n" + text + "\n" + fence;
    if (size > kMaxQuoted)
        out += "\n(" + std::to_string(size - kMaxQuoted) + " more bytes are not shown)";
    return out;
}

std::string told(const DemoStep& step, const Call& call) {
    std::string what;
    switch (step.kind) {
        case DemoStep::Kind::Shell:
            what = "The command `" + step.subject + "`";
            break;
        case DemoStep::Kind::Read:
            what = "Reading `" + step.subject + "`";
            break;
        case DemoStep::Kind::Write:
            what = "Writing `" + step.subject + "`";
            break;
    }
    if (call.failed) return what + " failed:\n" + quoted(call.result);
    if (call.result.empty()) return what + " gave no output.";
    return what + (step.kind == DemoStep::Kind::Shell ? " printed:\n" : " gave:\n") +
           quoted(call.result);
}

struct Reply {
    std::string text;
    std::optional<DemoStep> step;
    json::Value arguments;
};

Reply last_reply(std::string text) {
    text += "\n\n";
    text += kDemoFooter;
    return {std::move(text), {}, {}};
}

Reply reply_to(const Situation& now, const json::Value& request) {
    const std::vector<DemoStep> plan = demo_plan(now.task);
    if (plan.empty()) return last_reply(kHelp);
    const size_t done = std::min(now.calls.size(), plan.size());
    if (done < plan.size()) {
        const DemoStep& next = plan[done];
        const auto arguments = arguments_for(next, request);
        if (!arguments)
            return last_reply(std::string("I was not given the tool `") + tool_name(next.kind) +
                              "`, so I cannot do that here.");
        std::string text = "I will use the tool `" + std::string(tool_name(next.kind)) + "`";
        if (plan.size() > 1)
            text += " (" + std::to_string(done + 1) + " of " + std::to_string(plan.size()) + ")";
        return {text + ".", next, *arguments};
    }
    std::string text;
    for (size_t i = 0; i < plan.size(); ++i)
        text += (i == 0 ? "" : "\n\n") + told(plan[i], now.calls[i]);
    return last_reply(std::move(text));
}

// Deterministic, and new in this conversation: every model call sees more messages than the last.
std::string id_of(const char* prefix, const json::Value& request) {
    return prefix + std::string("demo_") + std::to_string(request.at("messages").items().size());
}

json::Value usage_of(size_t in, size_t out) {
    return json::Value::object({{"input_tokens", in},
                                {"cache_creation_input_tokens", 0},
                                {"cache_read_input_tokens", 0},
                                {"output_tokens", out}});
}

json::Value message_of(const Reply& reply, const json::Value& request, size_t bytes) {
    json::Value content = json::Value::array();
    content.push(json::Value::object({{"type", "text"}, {"text", reply.text}}));
    size_t out = reply.text.size();
    if (reply.step) {
        out += json::dump(reply.arguments).size();
        content.push(json::Value::object({{"type", "tool_use"},
                                          {"id", id_of("toolu_", request)},
                                          {"name", tool_name(reply.step->kind)},
                                          {"input", reply.arguments}}));
    }
    return json::Value::object({{"id", id_of("msg_", request)},
                                {"type", "message"},
                                {"role", "assistant"},
                                {"model", request.text("model")},
                                {"content", std::move(content)},
                                {"stop_reason", reply.step ? "tool_use" : "end_turn"},
                                {"stop_sequence", nullptr},
                                {"usage", usage_of(bytes / 4 + 1, out / 4 + 1)}});
}

void add_event(std::vector<std::string>& events, const json::Value& data) {
    events.push_back("event: " + data.text("type") + "\ndata: " + json::dump(data) + "\n\n");
}

// `text` in pieces of about kDeltaBytes that do not cut a UTF-8 sequence.
std::vector<std::string> pieces(const std::string& text) {
    std::vector<std::string> out;
    for (size_t at = 0; at < text.size();) {
        size_t end = std::min(at + kDeltaBytes, text.size());
        while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
        out.push_back(text.substr(at, end - at));
        at = end;
    }
    return out;
}

void stream_block(std::vector<std::string>& events, const json::Value& block, size_t index) {
    const bool call = block.text("type") == "tool_use";
    json::Value start = block;
    if (call)
        start.set("input", json::Value::object());
    else
        start.set("text", "");
    add_event(events,
              json::Value::object(
                  {{"type", "content_block_start"}, {"index", index}, {"content_block", start}}));
    for (std::string& piece : pieces(call ? json::dump(block.at("input")) : block.text("text"))) {
        json::Value delta =
            call ? json::Value::object({{"type", "input_json_delta"}, {"partial_json", piece}})
                 : json::Value::object({{"type", "text_delta"}, {"text", piece}});
        add_event(events,
                  json::Value::object(
                      {{"type", "content_block_delta"}, {"index", index}, {"delta", delta}}));
    }
    add_event(events, json::Value::object({{"type", "content_block_stop"}, {"index", index}}));
}

std::vector<std::string> events_of(const json::Value& message) {
    std::vector<std::string> events;
    json::Value start = message;
    start.set("content", json::Value::array());
    start.set("stop_reason", nullptr);
    const json::Value& usage = message.at("usage");
    start.set("usage", usage_of(static_cast<size_t>(usage.integer("input_tokens")), 1));
    add_event(events, json::Value::object({{"type", "message_start"}, {"message", start}}));
    add_event(events, json::Value::object({{"type", "ping"}}));
    size_t index = 0;
    for (const json::Value& block : message.at("content").items())
        stream_block(events, block, index++);
    json::Value delta = json::Value::object(
        {{"stop_reason", message.at("stop_reason")}, {"stop_sequence", nullptr}});
    json::Value counted = json::Value::object({{"output_tokens", usage.integer("output_tokens")}});
    add_event(events, json::Value::object(
                          {{"type", "message_delta"}, {"delta", delta}, {"usage", counted}}));
    add_event(events, json::Value::object({{"type", "message_stop"}}));
    return events;
}

}  // namespace

json::Value error_body(const std::string& type, const std::string& message) {
    return json::Value::object(
        {{"type", "error"},
         {"error", json::Value::object({{"type", type}, {"message", message}})}});
}

DemoAnswer demo_answer(const json::Value& request, size_t bytes) {
    DemoAnswer answer;
    try {
        check_request(request);
        const Situation now = read_situation(request.at("messages"));
        answer.status = 200;
        answer.body = message_of(reply_to(now, request), request, bytes);
        if (request.flag("stream")) answer.events = events_of(answer.body);
    } catch (const Error& error) {
        answer.status = 400;
        answer.body = error_body("invalid_request_error", error.what());
        answer.events.clear();
    }
    return answer;
}

}  // namespace peacrab
