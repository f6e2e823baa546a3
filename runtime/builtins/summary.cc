// What is said of a call to the person, the store and the audit's reader: one line, of the model's own words.
#include "builtins/edit.h"
#include "builtins/plan.h"
#include "builtins/search.h"
#include "error.h"
#include "tools.h"

namespace peacrab {
namespace {

std::string one_line(std::string_view text) {
    return shown_line(text, 200);
}

// What is worked on now, or else how much there is.
std::string step_of(const std::string& plan) {
    const json::Value steps = plan_steps(plan);
    if (steps.is_null()) return "(none that can be read)";
    for (const json::Value& step : steps.items())
        if (step.text("state") == "now") return step.text("text");
    return std::to_string(steps.items().size()) + " steps";
}

}  // namespace

std::string describe_call(const ToolCall& call) {
    const std::string name = call.name.substr(0, 40);
    json::Value arguments;
    try {
        arguments = json::parse(call.arguments, {size_t{1} << 20, 4});
    } catch (const Error&) {
        return one_line(name + ": (arguments that cannot be read)");
    }
    if (call.name == "shell") {
        const char* where = arguments.flag("background")  ? " (background)"
                            : arguments.flag("throwaway") ? " (throw-away)"
                                                          : "";
        return one_line(name + where + ": " + arguments.text("command"));
    }
    if (call.name == "background")
        return one_line(name + ": " + arguments.text("action") + " " + arguments.text("id"));
    if (call.name == "more") return one_line(name + ": " + arguments.text("tool"));
    if (call.name == "ask_user") return one_line(name + ": " + arguments.text("question"));
    if (call.name == "delegate") return one_line(name + ": " + arguments.text("task"));
    if (call.name == "task")
        return one_line(name + ": " + arguments.text("action") + " " + arguments.text("when") + " " + arguments.text("text"));
    if (call.name == "message")
        return one_line(name + " to " + arguments.text("agent") + ": " + arguments.text("text"));
    if (call.name == "plan") return one_line(name + ": " + step_of(arguments.text("steps")));
    if (call.name == "send")
        return one_line(name + ": " + (arguments.find("path") ? arguments.text("path") : arguments.text("text")));
    if (call.name == "search") return one_line(name + ": " + shown_search(arguments));
    if (call.name == "edit") return one_line(name + ": " + shown_edit(arguments));
    if (call.name == "web_fetch") return one_line(name + ": " + arguments.text("url"));
    if (call.name == "web_search") return one_line(name + ": " + arguments.text("query"));
    std::string line = name + ": " + arguments.text("path");
    if (call.name == "write")
        line = name + ": " + arguments.text("path").substr(0, 150) + " (" +
               std::to_string(arguments.text("content").size()) + " bytes)";
    return one_line(line);
}

}  // namespace peacrab
