// The journal may be damaged or made up by its agent: what comes of it is text that is cut into parts, valid
// UTF-8, and bounded; whoever shows it on a terminal escapes it there.
#include "sessions/work.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <set>

#include "context/compaction.h"
#include "context/view.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kPart = size_t{96} << 10;         // as JSON at most six times as much
constexpr uint64_t kMostExported = uint64_t{256} << 20;

// Which entries were taken back: by Rewind entries, and by the warden's word where the journal lacks it yet.
class Undone {
  public:
    Undone(Journal& journal, const json::Value* turns) {
        for (const json::Value& turn : turns ? turns->items() : std::vector<json::Value>())
            turns_.insert(turn.as_string());
        journal.each([&](const Entry& entry) {
            if (entry.kind == Entry::Kind::Rewind) rewinds_.push_back({entry.content.integer("from"), entry.seq});
            return rewinds_.size() < 10'000;
        });
    }
    bool has(const Entry& entry) const {
        if (entry.kind == Entry::Kind::Rewind) return false;
        if (turns_.contains(entry.turn)) return true;
        for (const auto& [from, before] : rewinds_)
            if (from > 0 && entry.seq >= from && entry.seq < before) return true;
        return false;
    }

  private:
    std::set<std::string> turns_;
    std::vector<std::pair<int64_t, int64_t>> rewinds_;
};

std::string json_line(const Entry& entry, bool undone) {
    json::Value line = json::Value::object(
        {{"seq", entry.seq}, {"at", entry.at}, {"turn", entry.turn}, {"kind", kind_name(entry.kind)}});
    if (undone) line.set("undone", true);
    switch (entry.kind) {
        case Entry::Kind::User:
            line.set("text", entry.text);
            break;
        case Entry::Kind::Assistant:
            line.set("model", entry.call);
            line.set("content", entry.content);
            break;
        case Entry::Kind::Result:
            line.set("call", entry.call);
            line.set("outcome", outcome_name(entry.outcome));
            line.set("text", entry.text);
            break;
        case Entry::Kind::Picture:
            line.set("call", entry.call);
            line.set("picture", entry.text);
            break;
        case Entry::Kind::Summary:
        case Entry::Kind::Rewind:
            line.set("content", entry.content);
            break;
    }
    return json::dump(line) + "\n";
}

// Nobody's words are a heading of ours.
std::string as_text(const std::string& text) {
    std::string out;
    for (const std::string& line : split(text, '\n')) out += (line.starts_with('#') ? "\\" : "") + line + "\n";
    return out + "\n";
}

// In a fence longer than any in it.
std::string as_block(const std::string& text) {
    size_t longest = 2, run = 0;
    for (const char c : text) {
        run = c == '`' ? run + 1 : 0;
        longest = std::max(longest, run);
    }
    const std::string fence(longest + 1, '`');
    return fence + "\n" + text + (text.ends_with('\n') ? "" : "\n") + fence + "\n\n";
}

std::string heading(const std::string& who, int64_t at) {
    const std::time_t when = at;
    std::tm parts{};
    char text[40] = "";
    if (::gmtime_r(&when, &parts)) std::strftime(text, sizeof text, ", %Y-%m-%d %H:%M UTC", &parts);
    return "## " + who + text + "\n\n";
}

std::string markdown(const Entry& entry, const std::string& agent) {
    std::string out;
    switch (entry.kind) {
        case Entry::Kind::User:
            return heading("You", entry.at) + as_text(entry.text);
        case Entry::Kind::Result:
            return std::string("Result (") + outcome_name(entry.outcome) + "):\n\n" + as_block(entry.text);
        case Entry::Kind::Picture:
            return "(a picture)\n\n";
        case Entry::Kind::Assistant:
            for (const json::Value& block : entry.content.items()) {
                if (block.text("type") == "text") out += as_text(block.text("text"));
                const json::Value* const input = block.find("input");
                if (block.text("type") == "tool_use")
                    out += "Call of a tool:\n\n" +
                           as_block(block.text("name") + " " + (input ? json::dump(*input) : "{}"));
            }
            return out.empty() ? "" : heading(agent, entry.at) + out;
        case Entry::Kind::Summary:
            if (entry.content.text("text").empty()) return {};
            return heading("Summary of what is above, for the model", entry.at) + as_block(entry.content.text("text"));
        case Entry::Kind::Rewind:
            return {};
    }
    return {};
}

class Parts {
  public:
    explicit Parts(FrameSocket& warden) : warden_(warden) {}
    // False: it was enough.
    bool add(const std::string& text) {
        total_ += text.size();
        waiting_ += text;
        while (waiting_.size() >= kPart) send(kPart);
        return total_ < kMostExported;
    }
    void finish() {
        if (!waiting_.empty()) send(waiting_.size());
    }

  private:
    void send(size_t length) {
        const std::string_view part = utf8_prefix(waiting_, length);
        warden_.send(json::Value::object({{"type", "part"}, {"text", part}}));
        waiting_.erase(0, part.size());
        const std::optional<json::Value> frame = warden_.receive(Deadline::never());
        if (!frame || frame->text("type") != "more") throw Error("nobody wants it any more");
    }

    FrameSocket& warden_;
    std::string waiting_;
    uint64_t total_ = 0;
};

std::string export_journal(FrameSocket& warden, Journal& journal, const json::Value& frame) {
    const bool md = frame.text("form") == "md";
    const Undone undone(journal, frame.find("undone"));
    Parts parts(warden);
    if (md) parts.add("# " + frame.text("agent") + ", session " + frame.text("session") + "\n\n");
    bool whole = true;
    journal.each([&](const Entry& entry) {
        const bool back = undone.has(entry);
        whole = parts.add(!md ? json_line(entry, back) : back ? "" : markdown(entry, frame.text("agent")));
        return whole;
    });
    parts.finish();
    return whole ? "" : "it is longer than 256 MiB: the rest is left out";
}

std::string copy_journal(Journal& journal, const json::Value& frame) {
    const std::string to = frame.text("to");
    if (::access(to.c_str(), F_OK) == 0) return "there is a journal of this name already";
    Journal copied(to, Durability::PowerLoss);
    copied.copy(conversation(journal, frame.find("undone")));
    return {};
}

std::string uncompact(Journal& journal, const json::Value& frame) {
    (void)conversation(journal, frame.find("undone"));
    return undo_summary(journal, "") ? "" : "there is no summary to take back";
}

}  // namespace

std::vector<Entry> conversation(Journal& journal, const json::Value* undone) {
    std::vector<Entry> entries = standing(journal.entries());
    for (const json::Value& turn : undone ? undone->items() : std::vector<json::Value>()) {
        const std::optional<Entry> back = rewind_of(entries, turn.as_string());
        if (!back) continue;
        const int64_t from = back->content.integer("from");
        journal.append(*back);
        std::erase_if(entries, [&](const Entry& entry) { return entry.seq >= from; });
    }
    return entries;
}

std::string journal_work(FrameSocket& warden, const json::Value& frame) {
    const std::string what = frame.text("what"), path = frame.text("journal");
    if (::access(path.c_str(), F_OK) < 0 && ::access((path + ".rebuilt").c_str(), F_OK) < 0)
        return what == "copy" ? "" : "nothing has been said in this session yet";
    std::string why = "unknown work";
    Journal journal(path, Durability::PowerLoss);
    if (what == "export") why = export_journal(warden, journal, frame);
    if (what == "copy") why = copy_journal(journal, frame);
    if (what == "uncompact") why = uncompact(journal, frame);
    if (const std::string damage = journal.damage(); !damage.empty())
        warden.send(json::Value::object(
            {{"type", "notice"}, {"text", "the journal is damaged, what can be read is here: " + damage}}));
    return why;
}

}  // namespace peacrab
