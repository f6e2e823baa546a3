// `peacrab diff`, `apply`, `undo` and `cp`, and the `--dir` of up, chat and ask.
#pragma once

#include <memory>
#include <string>

#include "arguments.h"
#include "channels/line_source.h"

namespace peacrab {

// UsageError where --dir names no folder; before a machine is started for it.
void require_folder(const Arguments& arguments);
// With --dir sends that folder to a machine that runs, and gives the line that tells the model which it is;
// "" without. Throws Error when not all of it could be sent.
std::string send_folder(const Arguments& arguments);
// Puts that line behind the first thing that is said.
std::unique_ptr<LineSource> with_first_words(std::unique_ptr<LineSource> lines, const std::string& words);

// Each gives its exit code, and starts the machine when it does not run.
int run_diff(const Arguments& arguments);  // 0 nothing was changed, 1 something was
int run_apply(const Arguments& arguments);
int run_undo(const Arguments& arguments);
int run_cp(const Arguments& arguments);

}  // namespace peacrab
