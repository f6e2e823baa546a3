// How a turn looks on a terminal: warden frames in, lines out. No descriptors, no waiting.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "json.h"

namespace peacrab {

class TurnView {
  public:
    // Text is the reply; Activity is everything about it. `ask` puts them on two descriptors.
    enum class Stream { Text, Activity };
    enum class Tone { Plain, Quiet, Good, Bad };
    using Sink = std::function<void(Stream, std::string_view)>;
    struct Options {
        bool plain = true;  // ASCII only
        bool colour = false;
        bool stream_text = true;  // false: deltas and replies are kept from the sink
        std::string agent = "main";  // whose files are spoken of
    };

    TurnView(Options options, Sink sink) : options_(std::move(options)), sink_(std::move(sink)) {}

    // delta, restart, tool, tool_done, notice, plan, said, file, question, reply, turn_done; others are not its business.
    void show(const json::Value& frame);
    // Text of a running turn that was streamed before we came.
    void show_partial(const std::string& text);
    // A line of our own; `text` is escaped here.
    void line(std::string_view text, Tone tone = Tone::Quiet);
    // A message somebody else sent, or we did before we left.
    void echo(std::string_view text);
    // Somebody else ended the open line: the echo of the person's Enter did.
    void line_ended() {
        text_open_ = activity_open_ = false;
        open_call_.clear();
    }
    // The words of this terminal: "…" or "...", "—" or "--".
    const char* dots() const { return options_.plain ? "..." : "…"; }
    const char* dash() const { return options_.plain ? "--" : "—"; }

  private:
    void text(std::string_view raw);
    void close_text();
    void close_lines();
    std::string painted(std::string_view text, Tone tone) const;
    std::string call_line(const std::string& summary) const;
    void restart();
    void tool(const json::Value& frame);
    void tool_done(const json::Value& frame);
    void reply(const std::string& whole);
    void plan(const json::Value& frame);
    void said(const std::string& whole);
    void file(const json::Value& frame);
    void question(const json::Value& frame);
    void turn_done(const json::Value& frame);
    void footer(const json::Value& frame);

    Options options_;
    Sink sink_;
    std::string streamed_;  // raw deltas since the last tool or turn_start: the reply's beginning
    bool text_open_ = false, activity_open_ = false;  // the stream's last line has no newline yet
    std::map<std::string, std::string> calls_;        // running calls: id → summary
    std::string open_call_;                           // the call whose line is the open one
    std::set<std::string> untold_;                    // calls that show themselves when all is well
};

// One line of hostile text: escaped, line breaks as blanks, at most `limit` bytes.
std::string one_line(std::string_view text, size_t limit = 200);
// "0.1 s", "42 s", "3 min 5 s".
std::string spoken_time(int64_t ms);

}  // namespace peacrab
