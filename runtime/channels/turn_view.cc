// A turn is printed as it happens and nothing printed can be taken back: text streams, a tool's
// line is opened when it starts and completed when it ends if nothing came between, else said again
// whole. Two streams may be one screen, so each line that begins first ends the other's open line.
//
// All text of frames is hostile: it passes printable(), so no escape sequence of a model or a tool
// reaches a terminal. Nothing here may move the cursor.
#include "channels/turn_view.h"

#include <algorithm>
#include <ctime>

#include "budget/spending.h"
#include "frame.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr size_t kMaxCalls = 64;

// "0.021 USD" of a `cost` in millionths.
std::string cost_of(const json::Value& frame) {
    if (!frame.find("cost")) return "cost unknown";
    return in_usd(std::clamp<int64_t>(frame.integer("cost"), 0, kNoLimit / 1000) * 1000);
}

// An event of its own tells what such a call did.
bool shows_itself(const std::string& tool) {
    return tool == "plan" || tool == "send" || tool == "ask_user";
}

}  // namespace

std::string one_line(std::string_view text, size_t limit) {
    // What is cut off is not escaped first: an escape grows to at most 9 bytes from one.
    std::string flat = printable(text.substr(0, std::min(text.size(), limit * 4)));
    std::replace(flat.begin(), flat.end(), '\n', ' ');
    std::replace(flat.begin(), flat.end(), '\t', ' ');
    return flat.size() <= limit ? flat : std::string(utf8_prefix(flat, limit)) + "...";
}

std::string spoken_time(int64_t ms) {
    if (ms < 0) ms = 0;
    const int64_t seconds = ms / 1000;
    if (seconds < 10) return std::to_string(seconds) + "." + std::to_string(ms % 1000 / 100) + " s";
    if (seconds < 60) return std::to_string(seconds) + " s";
    return std::to_string(seconds / 60) + " min " + std::to_string(seconds % 60) + " s";
}

void TurnView::show(const json::Value& frame) {
    const std::string type = frame.text("type");
    if (type == "delta") {
        const std::string& piece = frame.at("text").as_string();
        // A longer text than a frame can carry is no reply's beginning any more.
        if (streamed_.size() <= kMaxFrame) streamed_ += piece;
        text(piece);
    } else if (type == "turn_start") {
        streamed_.clear();
        calls_.clear();
    } else if (type == "restart") {
        restart();
    } else if (type == "tool") {
        tool(frame);
    } else if (type == "tool_done") {
        tool_done(frame);
    } else if (type == "notice") {
        line(frame.at("text").as_string());
    } else if (type == "plan") {
        plan(frame);
    } else if (type == "question") {
        question(frame);
    } else if (type == "said") {
        said(frame.at("text").as_string());
    } else if (type == "file") {
        file(frame);
    } else if (type == "reply") {
        reply(frame.at("text").as_string());
    } else if (type == "turn_done") {
        turn_done(frame);
    }
}

void TurnView::show_partial(const std::string& partial) {
    streamed_ = partial;
    text(partial);
}

void TurnView::line(std::string_view words, Tone tone) {
    close_lines();
    sink_(Stream::Activity, painted(printable(words), tone) + "\n");
}

void TurnView::echo(std::string_view words) {
    close_lines();
    const char* mark = options_.plain ? "> " : "› ";
    sink_(Stream::Activity, painted(mark + printable(words), Tone::Plain) + "\n");
}

void TurnView::text(std::string_view raw) {
    if (raw.empty() || !options_.stream_text) return;
    if (activity_open_) {
        sink_(Stream::Activity, "\n");
        activity_open_ = false;
        open_call_.clear();
    }
    sink_(Stream::Text, printable(raw));
    text_open_ = raw.back() != '\n';
}

void TurnView::close_text() {
    if (text_open_) sink_(Stream::Text, "\n");
    text_open_ = false;
}

void TurnView::close_lines() {
    close_text();
    if (activity_open_) sink_(Stream::Activity, "\n");
    activity_open_ = false;
    open_call_.clear();
}

std::string TurnView::painted(std::string_view words, Tone tone) const {
    const std::string whole(words);
    if (!options_.colour) return whole;
    switch (tone) {
        case Tone::Plain:
            return whole;
        case Tone::Quiet:
            return "\x1b[2m" + whole + "\x1b[0m";
        case Tone::Good:
            return "\x1b[32m" + whole + "\x1b[0m";
        case Tone::Bad:
            return "\x1b[31m" + whole + "\x1b[0m";
    }
    return whole;
}

std::string TurnView::call_line(const std::string& summary) const {
    return painted((options_.plain ? "  * " : "  ⚙ ") + summary + " " + dots() + " ", Tone::Quiet);
}

void TurnView::restart() {
    streamed_.clear();
    if (options_.stream_text && text_open_) line("  (what was said since the last step is void)");
}

void TurnView::tool(const json::Value& frame) {
    streamed_.clear();
    close_lines();
    const std::string id = frame.at("call").as_string();
    const std::string summary = one_line(frame.at("summary").as_string());
    if (calls_.size() < kMaxCalls) calls_[id] = summary;
    if (shows_itself(frame.text("name")) && calls_.contains(id)) {
        untold_.insert(id);
        return;
    }
    sink_(Stream::Activity, call_line(summary));
    activity_open_ = true;
    open_call_ = id;
}

void TurnView::tool_done(const json::Value& frame) {
    const std::string id = frame.at("call").as_string();
    const std::string ended = one_line(frame.at("summary").as_string());
    const auto call = calls_.find(id);
    const std::string summary = call == calls_.end() ? ended : call->second;
    if (call != calls_.end()) calls_.erase(call);
    const std::string outcome = one_line(frame.at("outcome").as_string(), 40);
    const bool good = outcome == "ok" || outcome == "waiting";
    if (untold_.erase(id) > 0 && good) return;
    if (!activity_open_ || open_call_ != id) {
        close_lines();
        sink_(Stream::Activity, call_line(summary));
    }
    std::string rest = outcome + " " + spoken_time(frame.integer("ms"));
    if (!good && !ended.empty() && ended != summary) rest += " (" + ended + ")";
    sink_(Stream::Activity, painted(rest, good ? Tone::Good : Tone::Bad) + "\n");
    activity_open_ = false;
    open_call_.clear();
}

void TurnView::reply(const std::string& whole) {
    const std::string before = std::exchange(streamed_, {});
    if (!options_.stream_text) return;
    if (whole.compare(0, before.size(), before) == 0) {
        text(std::string_view(whole).substr(before.size()));
    } else {
        close_lines();
        text(whole);
    }
    close_text();
}

// What is done takes one line, and what is far off none.
void TurnView::plan(const json::Value& frame) {
    constexpr size_t kMostLines = 10;
    const auto& steps = frame.at("steps").items();
    size_t done = 0, shown = 0;
    while (done < steps.size() && steps[done].text("state") == "done") ++done;
    if (done > 1) line("  [x] " + std::to_string(done) + " steps done");
    for (size_t i = done > 1 ? done : 0; i < steps.size(); ++i) {
        if (++shown > kMostLines) return line("  [ ] " + std::to_string(steps.size() - i) + " more");
        const std::string state = steps[i].text("state");
        const bool now = state == "now";
        line((state == "done" ? "  [x] " : now ? "  [>] " : "  [ ] ") + one_line(steps[i].text("text"), 100),
             now ? Tone::Plain : Tone::Quiet);
    }
}

// Where replies are kept back it is no reply either.
void TurnView::said(const std::string& whole) {
    streamed_.clear();
    if (!options_.stream_text) return line(whole, Tone::Plain);
    close_lines();
    text(whole);
    close_text();
}

void TurnView::question(const json::Value& frame) {
    line("  ? " + frame.at("text").as_string(), Tone::Plain);
    int number = 0;
    if (const json::Value* choices = frame.find("choices"))
        for (const json::Value& choice : choices->items())
            line("    " + std::to_string(++number) + " " + one_line(choice.as_string()), Tone::Plain);
    const int64_t left = std::clamp<int64_t>(frame.integer("until") - int64_t{::time(nullptr)}, 0, 30 * 86'400);
    const std::string soon = left < 7200 ? spoken_time(left * 1000) : std::to_string((left + 1800) / 3600) + " h";
    const std::string otherwise = frame.find("default")
                                      ? "it goes on with: " + one_line(frame.text("default"))
                                      : std::string("it is told that nobody answered");
    line("    (" + std::string(number ? "a number or words; " : "") + "after " + soon + " " + otherwise + ")");
}

void TurnView::file(const json::Value& frame) {
    const std::string path = one_line(frame.at("path").as_string(), 400);
    line("  file: " + path + " (" + std::to_string(frame.integer("size")) + " bytes, sha256 " +
             one_line(frame.text("sha256"), 64) + "); peacrab cp " + options_.agent + ":" + path + " . fetches it",
         Tone::Plain);
}

void TurnView::turn_done(const json::Value& frame) {
    const std::string status = frame.at("status").as_string();
    const std::string error = one_line(frame.text("error"), 2000);
    close_lines();
    calls_.clear();
    untold_.clear();
    streamed_.clear();
    if (status == "stopped") {
        line("  (stopped)");
    } else if (status == "waiting") {
        line("  (it waits for your answer)");
    } else if (status == "interrupted") {
        line("interrupted: " + (error.empty() ? "the turn was cut off; say so to go on" : error),
             Tone::Bad);
    } else if (status == "budget") {
        line("stopped: " + (error.empty() ? "the budget is spent; answer `more` to allow as much again" : error),
             Tone::Bad);
    } else if (status != "done") {
        line("error: " + (error.empty() ? "the turn failed and did not say why" : error),
             Tone::Bad);
    }
    footer(frame);
}

void TurnView::footer(const json::Value& frame) {
    const std::string model = one_line(frame.text("model"), 80);
    std::string words = std::string("  ") + dash() + " ";
    if (!model.empty()) words += model + ", ";
    words += spoken_time(frame.integer("ms")) + ", " +
             std::to_string(std::max<int64_t>(0, frame.integer("input_tokens"))) + " tokens in, " +
             std::to_string(std::max<int64_t>(0, frame.integer("output_tokens"))) + " out, " + cost_of(frame);
    line(words);
}

}  // namespace peacrab
