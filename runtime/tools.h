// What the model may call: `shell`, `background`, `read`, `write`, `edit`, `search`, `web_fetch` (`message` is the
// warden's). Each call is prepare (policy) → execute (a child in the cell) → finalise (clip, describe).
// A failure is a value, never an exception.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "builtins/seen.h"
#include "builtins/web.h"
#include "cells/background.h"
#include "policy.h"
#include "types.h"

namespace peacrab {

// Where an agent's calls run: its cell over time, and what it left running in it.
struct Workplace {
    Workplace(Loop& loop, CellOptions options, WarmHooks hooks = {},
              std::function<void(const std::string& line)> ended = {}, WarmTimes times = {})
        : cell(loop, std::move(options), std::move(hooks), times),
          background(loop, cell, std::move(ended)) {}
    WarmCell cell;
    Background background;  // goes first
    SeenFiles seen;
    WebCache web;
};

struct CallLimits {
    Milliseconds shell = Seconds(120);  // unless the call says otherwise
    Milliseconds file = Seconds(30);
    Milliseconds quiet = Seconds(600);  // without a word of output
};

// One tool call under way.
class ToolRun {
  public:
    // Called once from the loop, as the last thing the run does: it may be destroyed in it.
    using Done = std::function<void(const ToolResult&)>;
    // Starts it. A permit is consumed: no permit, no run. Throws Error when there is no cell.
    ToolRun(Loop& loop, Workplace& place, Permit permit, Done done, CallLimits limits = {});
    ToolRun(const ToolRun&) = delete;
    ~ToolRun();     // ends it; then `done` is not called
    void cancel();  // it is done soon

  private:
    struct State;
    std::unique_ptr<State> state_;
};

// One line for the person: "shell: ls -la", "write: notes.txt (120 bytes)". Hostile bytes escaped,
// at most 200 bytes.
std::string describe_call(const ToolCall& call);

// Any text on one line: no control bytes, at most `limit` bytes, cut between characters.
std::string shown_line(std::string_view text, size_t limit);

// The child behind the file tools: reads one request from stdin, answers on stdout. Runs in
// jail class file; the working directory is the workspace. Gives the exit code.
int tool_file_main();
int tool_files_main();  // as that, behind a `files` stream of the host (files/child)

}  // namespace peacrab
