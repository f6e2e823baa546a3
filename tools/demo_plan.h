// What the demo model understands: plain words → the steps it will take. A pure function.
#pragma once

#include <string>
#include <vector>

namespace peacrab {

struct DemoStep {
    enum class Kind { Shell, Read, Write } kind = Kind::Shell;
    std::string subject;  // Shell: the command; Read and Write: the path
    std::string text;     // Write: what goes into the file
};

// How the line begins that `--dir` puts behind a message; what the demo model does not read.
constexpr const char* kFolderLine = "\n\n[This is about the folder ";

constexpr size_t kMaxDemoSteps = 8;

// The steps of one message, in order, at most kMaxDemoSteps; empty: nothing in it was understood.
//     run: CMD                                   exactly CMD, as many lines as there are
//     read FILE · show the file FILE · cat FILE
//     write TEXT to FILE · save TEXT in FILE · write FILE: TEXT
//     A then B                                   when both are steps
//     plain words ("what kernel are you running?")  one command made of the words that are known
std::vector<DemoStep> demo_plan(const std::string& message);

}  // namespace peacrab
