// The tools the model may call: `shell`, `read`, `write`. Each call is prepare (policy) → execute
// (a child in the cell) → finalise (clip, describe). A failure is a value, never an exception.
#pragma once

#include <memory>
#include <string>

#include "cell.h"
#include "policy.h"
#include "types.h"

namespace peacrab {

// One tool call under way: watch its command's fds, then take the result.
class ToolRun {
  public:
    // Starts it. A permit is consumed: no permit, no run.
    ToolRun(Cell& cell, Permit permit);
    ToolRun(ToolRun&&) noexcept;
    ~ToolRun();
    Command& command();   // to watch, step and cancel
    ToolResult finish();  // after the command has ended

  private:
    struct State;
    std::unique_ptr<State> state_;
};

// One line for the person: "shell: ls -la", "write: notes.txt (120 bytes)". Hostile bytes escaped,
// at most 200 bytes.
std::string describe_call(const ToolCall& call);

// The child behind `read` and `write`: reads one request from stdin, answers on stdout. Runs in
// jail class file; the working directory is the workspace. Gives the exit code.
int tool_file_main();

}  // namespace peacrab
