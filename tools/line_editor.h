// Line editing and history on a terminal (libedit), with the agent's text printed above the line
// that is being typed.
#pragma once

#include <memory>
#include <string>

#include "channels/line_source.h"

namespace peacrab {

struct LineEditorOptions {
    std::string prompt = "› ";
    std::string history_file;  // empty: none is kept. Made 0600; its folder 0700
    size_t history_limit = 1000;
};

// Uses the process's own standard input and output, which must be a terminal. Switches LC_CTYPE to
// UTF-8. One at a time. Throws Error when the terminal cannot be used.
std::unique_ptr<LineSource> make_line_editor(LineEditorOptions options);

// ${XDG_STATE_HOME:-~/.local/state}/peacrab/history
std::string default_history_file();

}  // namespace peacrab
