// Everything quoted here was said by somebody, and may try to look like another part of the text: a quote
// is always one line, so that nothing in it can begin a part of its own.
#include "context/facts.h"

#include <algorithm>
#include <map>

#include "builtins/plan.h"
#include "context/view.h"
#include "error.h"
#include "policy.h"

namespace peacrab {
namespace {

constexpr size_t kSaid = 300, kSaidNow = size_t{4} << 10;
constexpr std::string_view kOfAgent = "Message from the agent ";
constexpr std::string_view kOfAgentEnd = ", not from the person:\n\n";

std::string cut_to(std::string_view text, size_t most) {
    if (text.size() <= most) return std::string(text);
    return json::valid_utf8(text.substr(0, most)) + " ...";
}

std::string line(std::string_view text, size_t most) {
    std::string out = cut_to(text, most);
    for (char& c : out)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    return out;
}

struct Call {
    std::string name;
    json::Value input;
};

json::Value json_of(const std::string& text) try {
    return json::parse(text);
} catch (const Error&) {
    return {};
}

std::map<std::string, Call> calls_of(const Entry& entry) {
    std::map<std::string, Call> calls;
    if (!entry.content.is_array()) return calls;
    for (const json::Value& block : entry.content.items()) {
        const json::Value* input = block.find("input");
        if (block.text("type") != "tool_use") continue;
        const ToolCall call = unwrapped({{}, block.text("name"), input ? json::dump(*input) : ""});
        const bool inner = call.name != block.text("name");
        calls[block.text("id")] = {call.name, inner ? json_of(call.arguments) : input ? *input : json::Value()};
    }
    return calls;
}

// The last lines say why.
std::string_view last_line(std::string_view text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
    const size_t at = text.rfind('\n');
    return at == std::string_view::npos ? text : text.substr(at + 1);
}

// Lines "b3 has run for 9 s: title" and "b3 ended (...)", bracketed or not, as cells/background.cc writes them.
void note_background(std::map<std::string, std::string>& running, std::string_view text) {
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        std::string_view row = text.substr(begin, end - begin);
        begin = end + 1;
        if (row.ends_with(']')) row.remove_suffix(1);
        for (const std::string_view mark : {"[background: ", "["})
            if (row.starts_with(mark)) row.remove_prefix(mark.size());
        const size_t digits = row.find_first_not_of("0123456789", 1);
        if (!row.starts_with('b') || digits == 1 || digits == std::string_view::npos || digits > 10) continue;
        const std::string id(row.substr(0, digits));
        const std::string_view rest = row.substr(digits);
        const size_t title = rest.find(": ");
        if (rest.starts_with(" ended (")) running.erase(id);
        if (rest.starts_with(" has run for ") && title != std::string_view::npos)
            running[id] = line(rest.substr(title + 2), 120);
    }
}

// The newest of `lines` that fit, and the first of all: what it began with.
std::string listed(const char* title, const std::vector<std::string>& lines, size_t limit) {
    if (lines.empty()) return {};
    std::string tail;
    size_t at = lines.size();
    while (at > 1 && tail.size() + lines[at - 1].size() + lines[0].size() + 80 < limit) {
        --at;
        tail.insert(0, "- " + lines[at] + "\n");
    }
    std::string out = std::string(title) + "\n- " + cut_to(lines[0], limit) + "\n";
    if (at > 1) out += "- (" + std::to_string(at - 1) + " more)\n";
    return out + tail;
}

struct Gathered {
    std::vector<std::string> said, agents, written, failed;
    std::map<std::string, std::string> running;
    std::vector<std::string> plan;  // the latest, of the whole journal: as it is now
};

// What the warden puts behind what was said: which background processes have ended. Their command lines are
// the model's words and no part of the person's.
std::string_view news_in(std::string_view text) {
    const size_t at = text.find("\n\n[background: b");
    return at == std::string_view::npos ? std::string_view() : text.substr(at);
}

void gather_said(Gathered& all, const Entry& entry, size_t most) {
    const std::string_view text =
        std::string_view(entry.text).substr(0, entry.text.size() - news_in(entry.text).size());
    const size_t end = text.find(kOfAgentEnd);
    if (!text.starts_with(kOfAgent) || end == std::string_view::npos || end > 100) {
        all.said.push_back(json::dump(line(text, most)));
        return;
    }
    const std::string_view name = text.substr(kOfAgent.size(), end - kOfAgent.size());
    all.agents.push_back(line(name, 60) + ": " + json::dump(line(text.substr(end + kOfAgentEnd.size()), kSaid)));
}

// A patch names its files in lines of its own; those it deletes are files written, too.
std::vector<std::string> written_by(const Call& call) {
    std::vector<std::string> paths;
    if (call.name != "write" && call.name != "edit") return paths;
    if (const std::string path = call.input.text("path"); !path.empty()) paths.push_back(path);
    const std::string patch = call.input.text("patch");
    for (size_t begin = 0; begin < patch.size();) {
        const size_t end = std::min(patch.find('\n', begin), patch.size());
        const std::string_view row = std::string_view(patch).substr(begin, end - begin);
        begin = end + 1;
        for (const std::string_view mark :
             {"*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: "})
            if (row.starts_with(mark)) paths.emplace_back(row.substr(mark.size()));
    }
    return paths;
}

void gather_result(Gathered& all, const Entry& entry, const Call& call) {
    const std::string path = call.input.text("path");
    if (entry.outcome == Outcome::Ok)
        for (const std::string& each : written_by(call)) {
            const std::string name = line(each, 200);
            std::erase(all.written, name);
            all.written.push_back(name);
        }
    if (entry.outcome != Outcome::Ok)
        all.failed.push_back(line(call.name, 64) + " " +
                             line(call.name == "shell" ? call.input.text("command") : path, 200) + " (" +
                             outcome_name(entry.outcome) + ": " + line(last_line(entry.text), 160) + ")");
}

std::vector<std::string> plan_of(const Call& call) {
    std::vector<std::string> lines;
    const json::Value steps = plan_steps(call.input.text("steps"));
    if (steps.is_null()) return lines;
    for (const json::Value& step : steps.items())
        lines.push_back(step.text("state") + ": " + line(step.text("text"), 200));
    return lines;
}

Gathered gather(const std::vector<Entry>& entries, int64_t upto, const std::string& turn, size_t said_now) {
    Gathered all;
    std::map<std::string, Call> calls;
    for (const Entry& entry : entries) {
        const bool counts = entry.seq <= upto;
        if (entry.kind == Entry::Kind::Assistant) calls = calls_of(entry);
        if (entry.kind == Entry::Kind::User) {
            // Another agent's message may say anything.
            if (!entry.text.starts_with(kOfAgent)) note_background(all.running, news_in(entry.text));
            if (counts) gather_said(all, entry, entry.turn == turn ? std::max(kSaid, said_now) : kSaid);
        }
        if (entry.kind != Entry::Kind::Result) continue;
        const auto call = calls.find(entry.call);
        if (call == calls.end()) continue;
        if (call->second.name == "background" || call->second.input.flag("background"))
            note_background(all.running, entry.text);
        if (call->second.name == "plan" && entry.outcome == Outcome::Ok) all.plan = plan_of(call->second);
        if (counts && call->second.name == "ask_user" && entry.outcome == Outcome::Ok)
            all.said.push_back("asked " + json::dump(line(call->second.input.text("question"), 150)) + ": " +
                               json::dump(line(entry.text, kSaid)));
        if (counts) gather_result(all, entry, call->second);
    }
    return all;
}

}  // namespace

std::string facts(const std::vector<Entry>& entries, int64_t upto, const std::string& turn, size_t limit) {
    const Gathered all = gather(entries, upto, turn, std::min(kSaidNow, limit / 4));
    std::vector<std::string> running;
    for (const auto& [id, title] : all.running) running.push_back(id + ": " + title);
    std::string out = listed("The person said:", all.said, limit / 2);
    out += listed("The plan:", all.plan, limit / 8);
    out += listed("Other agents said:", all.agents, limit / 8);
    out += listed("Files written:", all.written, limit / 8);
    out += listed("Calls that failed:", all.failed, limit / 8);
    return out + listed("Running in the background:", running, limit / 8);
}

void let_go(std::vector<Entry>& entries) {
    const int64_t upto = shown_state(entries).upto;
    std::map<std::string, Call> calls;
    for (Entry& entry : entries) {
        if (entry.seq > upto) return;
        if (entry.kind == Entry::Kind::Assistant) {
            calls = calls_of(entry);
            if (!entry.content.is_array()) continue;
            for (json::Value& block : entry.content.items()) {
                if (block.text("type") != "tool_use") block = json::Value::object({{"type", "gone"}});
                json::Value* input = block.find("input");
                if (input && input->find("content")) input->set("content", "");
            }
        }
        const auto call = calls.find(entry.call);
        const bool told = call != calls.end() &&
                          (entry.outcome != Outcome::Ok || call->second.name == "background" ||
                           call->second.input.flag("background"));
        if (entry.kind == Entry::Kind::Picture || (entry.kind == Entry::Kind::Result && !told))
            std::string().swap(entry.text);
        if (entry.kind == Entry::Kind::Result && told && entry.outcome != Outcome::Ok)
            entry.text = std::string(last_line(entry.text));
        entry.text.shrink_to_fit();
    }
}

std::vector<std::string> transcript(const std::vector<Entry>& entries, int64_t from, int64_t upto) {
    constexpr size_t kText = size_t{4} << 10, kInput = 1500;
    std::vector<std::string> out;
    // No line of a text can pass for the beginning of another's words.
    const auto add = [&out](const std::string& whose, const std::string& text) {
        std::string said = "[" + whose + "] ";
        for (const char c : text) said += c == '\n' || c == '\r' ? std::string("\n| ") : std::string(1, c);
        out.push_back(std::move(said));
    };
    for (const Entry& entry : entries) {
        if (entry.seq < from || entry.seq > upto) continue;
        if (entry.kind == Entry::Kind::User) add("said to the agent", cut_to(entry.text, kText));
        if (entry.kind == Entry::Kind::Result)
            add(std::string("result, ") + outcome_name(entry.outcome), stub(entry.text));
        if (entry.kind != Entry::Kind::Assistant || !entry.content.is_array()) continue;
        for (const json::Value& block : entry.content.items()) {
            const std::string type = block.text("type");
            const json::Value* input = block.find("input");
            if (type == "text") add("the agent", cut_to(block.text("text"), kText));
            if (type == "tool_use")
                add("call", line(block.text("name"), 64) + " " +
                                             (input ? cut_to(json::dump(*input), kInput) : ""));
        }
    }
    return out;
}

}  // namespace peacrab
