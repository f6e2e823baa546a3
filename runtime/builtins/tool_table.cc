// The rows. Must not decide anything: what fits a row is `policy`'s to say.
#include "builtins/tool_table.h"

#include "budget/spending.h"
#include "builtins/plan.h"
#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

using Type = ToolKey::Type;

// A frame is at most 1 MiB, so no argument can be longer than this in any case.
constexpr int64_t kMaxText = int64_t{1} << 20;
constexpr int64_t kMaxPath = 4095;
constexpr int64_t kMaxPattern = 4096;
constexpr int64_t kMaxCommand = 64 << 10;
constexpr int64_t kMaxPatch = 256 << 10;
constexpr int64_t kMaxMessage = 32 << 10;  // from one agent to another, or to the person
constexpr int64_t kMaxPlan = 4 << 10, kMaxQuestion = 4 << 10, kMaxTask = 4 << 10, kMaxGate = 2 << 10;
constexpr int64_t kMaxLine = int64_t{1} << 40;

std::string ask_goes(const json::Value& arguments) {
    const std::vector<std::string> choices = choices_in(arguments.text("choices"));
    if (choices.size() > 20) return "choices: at most 20, one a line";
    for (const std::string& choice : choices)
        if (choice.size() > 200) return "choices: each at most 200 bytes; say more in the question";
    return {};
}

std::string background_goes(const json::Value& arguments) {
    if (arguments.text("action") != "list" && !arguments.find("id"))
        return "id is missing; the action list shows the ids";
    return {};
}

std::string delegate_goes(const json::Value& arguments) {
    if (!arguments.find("budget")) return {};
    Limit limit = kLifted;
    try {
        parse_limit(arguments.text("budget"), limit);
    } catch (const Error&) {
    }
    if (limit != kLifted && limit.money > 0 && limit.tokens > 0) return {};
    return "budget: an amount such as `0.50 USD` or `100k tokens` was expected; it can only be less than without";
}

std::string edit_goes(const json::Value& arguments) {
    if (arguments.find("patch"))
        return arguments.members().size() == 1 ? "" : "patch goes alone, without path, old and new";
    for (const char* name : {"path", "old", "new"})
        if (!arguments.find(name)) return std::string(name) + " is missing (or give a patch)";
    return {};
}

// Arguments that policy could not take apart, or of `more` itself.
std::string more_goes(const json::Value& arguments) {
    if (!arguments.find("arguments")) return {};
    return "arguments must be a JSON object as text, for another tool than more";
}

std::string search_goes(const json::Value& arguments) {
    if (!arguments.find("pattern") && !arguments.find("glob")) return "pattern or glob is missing";
    return {};
}

std::string plan_goes(const json::Value& arguments) {
    if (!plan_steps(arguments.text("steps")).is_null()) return {};
    return "steps: one a line, each begins with [x] (done), [>] (now) or [ ] (open); at most 50";
}

std::string send_goes(const json::Value& arguments) {
    if (!arguments.find("text") && !arguments.find("path")) return "text or path is missing";
    return {};
}

std::string task_goes(const json::Value& arguments) {
    const std::string action = arguments.text("action");
    if (action == "create") {
        if (!arguments.find("when") || !arguments.find("text")) return "create needs when and text";
        if (arguments.flag("changed") && !arguments.find("gate")) return "changed goes with gate";
        return {};
    }
    return action == "list" || arguments.find("id") ? "" : "id is missing; the action list shows the ids";
}

std::string shell_goes(const json::Value& arguments) {
    if (!arguments.flag("background")) return {};
    if (arguments.find("timeout")) return "timeout and background do not go together";
    if (arguments.flag("throwaway")) return "throwaway and background do not go together";
    return {};
}

}  // namespace

const std::vector<ToolSchema>& every_tool() {
    using Needs = ToolKey::Needs;
    using Effect = ToolSchema::Effect;
    using By = ToolSchema::By;
    static const std::vector<ToolSchema> kTable = {
        {"ask_user",
         "Ask the person and wait. The turn ends here and goes on with the answer, so ask only what you can "
         "neither find out nor decide. When nobody answers in time, it goes on with default.",
         {{"question", Type::Text, true, "", 1, kMaxQuestion},
          {"choices", Type::Text, false, "One a line", 1, kMaxQuestion},
          {"default", Type::Text, false, "", 1, kMaxQuestion},
          {"timeout", Type::Integer, false, "Seconds, default 86400", 1, 30 * 86'400}},
         ask_goes, Effect::Writes, By::Warden, "a question to the person", Partner::Person},
        {"background",
         "Look after what shell started with background.",
         {{"action", Type::Choice, true, "", 0, 0, {"list", "read", "stop"}},
          {"id", Type::Text, false, "For read (what is new) and stop", 1, 16}},
         background_goes, Effect::Writes, By::Cell, "what shell left running"},
        {"delegate",
         "Give a part of the work to yourself, in a conversation of its own and the same workspace. It knows "
         "nothing but the task; nothing but its answer comes back.",
         {{"task", Type::Text, true, "", 1, kMaxMessage},
          {"budget", Type::Text, false, "At most: 0.50 USD, or 100k tokens", 1, 40}},
         delegate_goes, Effect::Writes, By::Warden, "work to yourself", Partner::Agent},
        {"edit",
         "Replace old, which occurs once (all: each time), by new in a text file; or apply patch.",
         {{"path", Type::Text, false, "", 1, kMaxPath},
          {"old", Type::Text, false, "", 1, kMaxText},
          {"new", Type::Text, false, "", 0, kMaxText},
          {"all", Type::Flag, false, ""},
          {"patch", Type::Text, false, "*** Begin Patch ... for several files", 1, kMaxPatch}},
         edit_goes},
        {"message",
         "Send a message to another agent. An answer, if any, comes later, as a message.",
         {{"agent", Type::Choice, true, ""}, {"text", Type::Text, true, "", 1, kMaxMessage}},
         nullptr, Effect::Writes, By::Warden, "to another agent", Partner::Agent},
        {"more",
         "Rarely used tools. Without arguments: how to use one; with: it runs. There are: ",
         {{"tool", Type::Text, true, "", 1, 64},
          {"arguments", Type::Text, false, "A JSON object", 1, kMaxText}},
         more_goes, Effect::Reads, By::Warden},
        {"plan",
         "Show the person your plan, whole, at each change.",
         {{"steps", Type::Text, true, "One a line: [x] done, [>] now, [ ] open", 1, kMaxPlan}},
         plan_goes, Effect::Reads, By::Warden},
        {"read",
         "Read a text file or picture. At most 2000 lines or 48 KiB a call; the end says how to go on.",
         {{"path", Type::Text, true, "In the workspace, or of kept output", 1, kMaxPath},
          {"offset", Type::Integer, false, "First line, from 1", 1, kMaxLine},
          {"limit", Type::Integer, false, "Number of lines", 1, 2000}},
         nullptr, Effect::Reads},
        {"search",
         "Search text files by regular expression; with glob alone, files by name, newest first.",
         {{"pattern", Type::Text, false, "", 1, kMaxPattern},
          {"path", Type::Text, false, "", 1, kMaxPath},
          {"glob", Type::Text, false, "*.c, src/**", 1, kMaxPattern},
          {"limit", Type::Integer, false, "", 1, 1000}},
         search_goes, Effect::Reads},
        {"send",
         "Give the person text or a file of the workspace now, and go on working.",
         {{"text", Type::Text, false, "", 1, kMaxMessage},
          {"path", Type::Text, false, "", 1, kMaxPath}},
         send_goes, Effect::Writes, By::Warden, "text or a file to the person, now", Partner::Person},
        {"shell",
         "Run a command with sh -c in the workspace. No terminal. Files stay; processes end with "
         "the call. Long output is cut in the middle and kept in a file.",
         {{"command", Type::Text, true, "", 1, kMaxCommand},
          {"timeout", Type::Integer, false, "Seconds, default 120", 1, 3600},
          {"background", Type::Flag, false, "For servers: keeps running, gives an id"},
          {"user", Type::Choice, false, "Not root", 0, 0, {"agent"}, Needs::Cell},
          {"throwaway", Type::Flag, false,
           "In a fresh container without your files; nothing stays", 0, 0, {}, Needs::Cell}},
         shell_goes},
        {"task",
         "Wake yourself in this conversation later: reminders, work that comes again, the end of a background "
         "process. Nothing runs until then. list tells the time, too.",
         {{"action", Type::Choice, true, "", 0, 0, {"create", "list", "history", "pause", "resume", "delete"}},
          {"when", Type::Text, false,
           "0 9 * * 1-5 (cron), every 2h, in 20m, 2026-12-24 18:00, or b1 ends; on the person's clock", 1, 200},
          {"text", Type::Text, false, "What you are to do then; it is all that you are told", 1, kMaxTask},
          {"gate", Type::Text, false,
           "Shell command before each: only with exit 0 you are woken, and told its output. May be killed and run again", 1, kMaxGate},
          {"changed", Type::Flag, false, "And only when the output is another than last time"},
          {"missed", Type::Choice, false, "What was missed: default run (once, late)", 0, 0, {"run", "skip"}},
          {"zone", Type::Text, false, "The person's time zone, asked once: Europe/Berlin", 1, 64},
          {"id", Type::Integer, false, "For all but create and list", 1, kMaxLine}},
         task_goes, Effect::Writes, By::Warden, "reminders and schedules", Partner::Person},
        {"web_fetch",
         "Fetch a web page, PDF or text file as text.",
         {{"url", Type::Text, true, "", 1, 4096},
          {"offset", Type::Integer, false, "Where to go on, in bytes", 0, kMaxLine}},
         nullptr, Effect::Reads},
        {"web_search",
         "Search the web: titles, addresses and a few words of what is found.",
         {{"query", Type::Text, true, "", 1, 2000}, {"count", Type::Integer, false, "Default 8", 1, 20}},
         nullptr, Effect::Reads, By::Cell, "the web, by words"},
        {"write",
         "Write a whole text file, replacing it; makes missing folders. At most 1 MiB.",
         {{"path", Type::Text, true, "In the workspace", 1, kMaxPath},
          {"content", Type::Text, true, "", 0, kMaxText}}},
    };
    return kTable;
}

std::vector<std::string> choices_in(std::string_view text) {
    std::vector<std::string> choices = split(text, '\n');
    std::erase_if(choices, [](const std::string& choice) {
        return choice.find_first_not_of(" \t\r") == std::string::npos;
    });
    return choices;
}

const ToolSchema* find_tool(std::string_view name) {
    for (const ToolSchema& tool : every_tool())
        if (name == tool.name) return &tool;
    return nullptr;
}

}  // namespace peacrab
