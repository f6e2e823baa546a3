// `sessions` and `export`: what there was, for people and for programs.
#pragma once

#include <string>

#include "channels/terminal.h"

namespace peacrab {

// The agent's sessions, the newest first; with options.json one JSON array of objects {id, channel, turns, began,
// last (Unix seconds), words, from: the session it goes on from}.
int terminal_sessions(const TerminalOptions& options, FrameSocket& warden);

struct ExportOptions {
    std::string form = "jsonl";  // or "md"
    std::string file;            // made anew; empty: standard output, escaped when that is a terminal
};
// options.session, or the conversation of `chat`. The keys of JSONL stand in runtime/README.md.
int terminal_export(const TerminalOptions& options, FrameSocket& warden, const ExportOptions& how);

}  // namespace peacrab
