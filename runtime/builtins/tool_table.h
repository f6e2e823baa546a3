// Every tool: its name, what the model is told of it, the schema of its arguments, and who runs it. One table:
// `policy` checks each call against it, and what the model is shown is made of it, so that the two cannot
// differ. A further tool is a row here, and whatever runs it.
#pragma once

#include <string>
#include <vector>

#include "json.h"

namespace peacrab {

struct ToolKey {
    const char* name;
    enum class Type { Text, Integer, Flag, Choice } type;
    bool required;
    const char* description;
    int64_t least = 0;  // Text: length in bytes; Integer: value
    int64_t most = 0;
    std::vector<std::string> choices = {};  // of a Choice; none: whom the agent may message
    enum class Needs { Nothing, Cell } needs = Needs::Nothing;
};

// Who talks to the agent in a conversation, the least trusted first.
enum class Partner { Delegate, Agent, Person };  // it itself; another agent; the person

struct ToolSchema {
    const char* name;
    const char* description;  // terse: all of them and the message fit 4 KB
    std::vector<ToolKey> keys;
    // What the keys alone cannot say: "" or why the arguments do not go together.
    std::string (*combination)(const json::Value& arguments) = nullptr;
    enum class Effect { Writes, Reads } effect = Effect::Writes;  // Reads: may run beside others that read
    enum class By { Cell, Warden } by = By::Cell;                 // who runs it: a child in the cell, or the warden
    // Rarely used: the model is told of it only this, in a few words, within the tool `more`. Null: it is
    // always shown whole.
    const char* rarely = nullptr;
    Partner with = Partner::Delegate;  // only in conversations with this one, or a later one
};

const std::vector<ToolSchema>& every_tool();  // sorted by name
std::vector<std::string> choices_in(std::string_view text);  // of `ask_user`: one a line
const ToolSchema* find_tool(std::string_view name);  // null: there is none

}  // namespace peacrab
