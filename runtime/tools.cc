// From a permit to a child in the cell, and from what the child said to what the model and the
// person are shown. Everything a child says is hostile: bounded, valid UTF-8, no terminal escapes.
//
// Nothing is decided here (policy did) and nothing is confined here (cell does).
#include "tools.h"

#include <algorithm>

#include "builtins/picture.h"
#include "builtins/plain.h"
#include "cells/command_watch.h"
#include "cells/mechanism.h"
#include "cells/output.h"
#include "error.h"
#include "json.h"

namespace peacrab {
namespace {

constexpr size_t kMaxSummary = 200;
constexpr Milliseconds kFirstWords{1000};  // what a background process may say before it is left
constexpr Milliseconds kLook{20};          // how often it is looked at meanwhile
constexpr json::Limits kAnswerLimits{Cell::kMaxAnswer, 4};

std::string one_line(std::string_view text) {
    return shown_line(text, kMaxSummary);
}

std::string seconds(Milliseconds span) {
    return std::to_string(std::chrono::duration_cast<Seconds>(span).count()) + " s";
}

// What we say stands in brackets on a line of its own, after what the command said.
std::string remark(std::string text, const std::string& ours) {
    if (!text.empty() && text.back() != '\n') text += '\n';
    return text + "[" + ours + "]";
}

// Why we ended it, when we did.
enum class Ended { No, Quiet, Flood };

// A limit of the cell: what it means and what to do differently. `hit` is "memory: 600M".
std::string limit_words(const std::string& hit) {
    const size_t colon = hit.find(':');
    const std::string what = hit.substr(0, colon);
    const std::string most = colon == std::string::npos ? "" : hit.substr(colon + 1);
    const std::string limit = "the limit of" + most;
    if (what == "memory")
        return "killed: all processes together needed more memory than " + limit +
               "; use smaller batches or fewer jobs at once";
    if (what == "processes")
        return limit + " processes and threads was reached; start fewer at once";
    if (what == "disk")
        return "the disk is full: " + limit + " for all your files was reached; remove some";
    if (what == "files") return limit + " files was reached; remove some, or pack them";
    return "a limit was reached: " + hit;
}

// What ended the call before it could finish by itself; nothing when it did.
std::optional<ToolResult> early_end(const CommandResult& done, const std::string& text,
                                    Milliseconds limit, Ended ended_by) {
    const auto ended = [&](Outcome outcome, const std::string& why) {
        return ToolResult{outcome, remark(text, why), one_line(why)};
    };
    if (ended_by == Ended::Quiet)
        return ended(Outcome::TimedOut,
                     "ended: it said nothing for too long; let it show its progress, or start it "
                     "with background");
    if (ended_by == Ended::Flood)
        return ended(Outcome::Failed,
                     "ended: more than " + std::to_string(Capture::kMaxCall.count >> 20) +
                         " MiB of output; write it to a file instead");
    if (done.cancelled) return ended(Outcome::Interrupted, "stopped by the person");
    if (done.timed_out)
        return ended(Outcome::TimedOut,
                     "timed out after " + seconds(limit) +
                         "; for longer work give timeout, for a server background");
    // Last: one that is ended before it has begun never says how it began.
    if (!done.failed_step.empty())
        return ended(Outcome::Failed, "could not be started: " + printable(done.failed_step));
    return std::nullopt;
}

ToolResult finish_shell(const CommandResult& done, Milliseconds limit, Ended ended_by) {
    const std::string text = plain(done.output);
    if (std::optional<ToolResult> early = early_end(done, text, limit, ended_by))
        return std::move(*early);
    if (!done.limit_hit.empty()) {
        const std::string how = done.exit.ok() ? "" : done.exit.describe() + ": ";
        return {done.exit.ok() ? Outcome::Ok : Outcome::Failed,
                remark(text, how + limit_words(done.limit_hit)),
                one_line("limit reached: " + done.limit_hit)};
    }
    if (done.exit.ok())
        return text.empty() ? ToolResult{Outcome::Ok, "(no output)", "no output"}
                            : ToolResult{Outcome::Ok, text,
                                         std::to_string(done.total_bytes) + " bytes of output"};
    const std::string how = done.exit.describe();
    return {Outcome::Failed, remark(text, how), how};
}

ToolResult finish_file(const CommandResult& done, Milliseconds limit, Ended ended_by,
                       SeenFiles& seen) {
    if (std::optional<ToolResult> early = early_end(done, {}, limit, ended_by))
        return std::move(*early);
    const auto broken = [](const std::string& why) {
        return ToolResult{Outcome::Failed, "[the file helper failed: " + why + "]", one_line(why)};
    };
    if (!done.exit.ok()) return broken(done.exit.describe());
    try {
        const json::Value answer = json::parse(done.output, kAnswerLimits);
        if (!answer.flag("ok")) {
            const std::string why = json::valid_utf8(answer.text("error", "no reason given"));
            return {Outcome::Failed, why, one_line(why)};
        }
        if (const json::Value* news = answer.find("seen")) seen.learn(*news);
        // Not plain(): what is read may be written back, so its bytes stay.
        ToolResult result{Outcome::Ok, json::valid_utf8(answer.text("text")),
                          std::to_string(answer.integer("bytes")) + " bytes"};
        if (std::string picture = answer.text("picture"); is_picture(picture))
            result.picture = std::move(picture);
        return result;
    } catch (const Error&) {
        return broken("its answer is not readable");
    }
}

ShellCall shell_call(const json::Value& arguments, Milliseconds limit) {
    ShellCall call{arguments.text("command"), limit};
    if (arguments.text("user") == "agent") call.user = ShellCall::User::Agent;
    if (arguments.flag("background")) call.life = ShellCall::Life::Background;
    return call;
}

std::string file_request(const Permit& permit, const CellOptions& options, const SeenFiles& seen) {
    json::Value request = json::Value::object({{"op", permit.tool()}});
    for (const auto& [name, value] : permit.arguments().members()) request.set(name, value);
    // Last, so that no argument stands in their place: the folders a path may be in.
    request.set("workspace", options.workspace);
    if (permit.tool() == "edit")
        request.set("seen", seen.for_edit(permit.arguments(), options.workspace));
    if (options.place == CellOptions::Place::Cell)
        request.set("kept", Cell::kSeenOutput);
    else if (!options.folder.empty())
        request.set("kept", options.folder + "/output");
    if (!options.shown.as.empty()) request.set("shown", options.shown.as);
    return json::dump(request);
}

// What a background process has to say, and about it.
ToolResult told(Background& background, const std::string& id) {
    const std::string news = plain(background.news(id));
    const std::string about = background.about(id);
    ToolResult result{Outcome::Ok, remark(news, about), one_line(about)};
    result.bytes = news.size();
    return result;
}

}  // namespace

struct ToolRun::State {
    Loop& loop;
    Workplace& place;
    Done done;
    CallLimits limits;
    bool shell = false;
    Milliseconds limit{};
    Ended ended_by = Ended::No;
    uint64_t said = 0;
    Deadline quiet;
    std::optional<WarmCell::Stay> stay;
    std::unique_ptr<WebCall> web;  // may need one child after the other
    std::optional<Cell> throwaway;  // outlives what runs in it
    std::optional<Command> command;
    CommandWatch watched{loop, [this] { step(); }};
    std::string waits_for;  // a background process
    Deadline until;
    Loop::TimerId timer = 0;

    State(Loop& the_loop, Workplace& the_place, Done the_done, CallLimits the_limits)
        : loop(the_loop), place(the_place), done(std::move(the_done)), limits(the_limits) {}
    ~State() { loop.cancel(timer); }
    void begin(const Permit& permit);
    void begin_background(const Permit& permit);
    void begin_web(const Permit& permit);
    Cell& cell(const json::Value& arguments);
    void watch() { watched.wait(*command, quiet); }
    void step();
    void check_bounds();
    void look();
    void finish(const ToolResult& result);
    void finish_later(const ToolResult& result);
    int factor() const { return std::max(1, place.cell.options().time_factor); }
};

void ToolRun::State::begin(const Permit& permit) {
    const json::Value& arguments = permit.arguments();
    shell = permit.tool() == "shell";
    if (permit.tool() == "background" || arguments.flag("background"))
        return begin_background(permit);
    if (permit.tool().starts_with("web_")) return begin_web(permit);
    limit = shell ? Milliseconds(Seconds(arguments.integer("timeout", limits.shell / Seconds(1))))
                  : limits.file;
    Cell& where = cell(arguments);
    command.emplace(shell ? where.shell(shell_call(arguments, limit))
                          : where.file(file_request(permit, where.options(), place.seen),
                                       limit));
    quiet = Deadline::in(limits.quiet * factor());
    watch();
}

void ToolRun::State::begin_web(const Permit& permit) {
    limit = WebCall::kLimit;
    web = std::make_unique<WebCall>(permit, place.web, place.cell.options());
    if (std::optional<ToolResult> known = web->known()) return finish_later(*known);
    command.emplace(web->ask(stay.emplace(place.cell.enter()).cell()));
    quiet = Deadline::in(limits.quiet * factor());
    watch();
}

Cell& ToolRun::State::cell(const json::Value& arguments) {
    Cell& own = stay.emplace(place.cell.enter()).cell();  // within whose limits a throw-away one is
    return arguments.flag("throwaway") ? throwaway.emplace(place.cell.throwaway()) : own;
}

void ToolRun::State::begin_background(const Permit& permit) {
    const json::Value& arguments = permit.arguments();
    Background& background = place.background;
    const std::string action = shell ? "start" : arguments.text("action");
    std::string id = arguments.text("id");
    try {
        if (action == "list") {
            const std::string list = background.list();
            return finish_later({Outcome::Ok, list, one_line(list)});
        }
        if (action == "read") return finish_later(told(background, id));
        if (action == "stop") background.stop(id);
        if (action == "start") id = background.start(shell_call(arguments, {}));
    } catch (const Error& error) {
        return finish_later({Outcome::Failed, error.what(), one_line(error.what())});
    }
    waits_for = id;
    until = Deadline::in(shell ? kFirstWords * std::min(factor(), 3) : 2 * Background::kGrace);
    look();
}

// Until it has ended, or long enough: one that fails at once is to be seen to fail.
void ToolRun::State::look() try {
    Background& background = place.background;
    if (background.runs(waits_for) && !until.passed()) {
        timer = loop.after(kLook, [this] {
            timer = 0;
            look();
        });
        return;
    }
    const bool runs = background.runs(waits_for);
    ToolResult result = told(background, waits_for);
    if (shell && !runs && !background.succeeded(waits_for)) result.outcome = Outcome::Failed;
    if (!shell && runs) result.outcome = Outcome::Failed;
    finish_later(result);
} catch (const Error& error) {  // ended, and forgotten for others that ended since
    finish_later({Outcome::Failed, error.what(), one_line(error.what())});
}

// Not before the constructor has returned.
void ToolRun::State::finish_later(const ToolResult& result) {
    timer = loop.after(Milliseconds(0), [this, result] {
        timer = 0;
        finish(result);
    });
}

void ToolRun::State::finish(const ToolResult& result) {
    command.reset();
    throwaway.reset();
    stay.reset();
    const Done last = std::move(done);
    last(result);  // we may be gone now
}

void ToolRun::State::check_bounds() {
    const Capture& output = command->output();
    if (output.total() != said) quiet = Deadline::in(limits.quiet * factor());
    said = output.total();
    if (ended_by != Ended::No || (!output.too_much() && !quiet.passed())) return;
    ended_by = output.too_much() ? Ended::Flood : Ended::Quiet;
    quiet = Deadline::never();
    command->cancel();
}

void ToolRun::State::step() {
    use_mechanisms_of(place.cell.options().agent);
    ToolResult result;
    try {
        if (!command->step()) {
            check_bounds();
            return watch();
        }
        const CommandResult ended = command->result();
        if (web && !early_end(ended, {}, limit, ended_by)) {
            if (std::optional<ToolResult> told = web->take(ended)) return finish(*told);
            command.emplace(web->ask(stay->cell()));
            return watch();
        }
        result = shell ? finish_shell(ended, limit, ended_by)
                       : finish_file(ended, limit, ended_by, place.seen);
        if (ended.exit.how != ChildExit::How::Unknown) result.exit = ended.exit.describe();
        result.bytes = ended.total_bytes;
        result.limit = ended.limit_hit;
        if (ended_by != Ended::No) result.limit = ended_by == Ended::Flood ? "output" : "quiet";
    } catch (const Error& error) {
        result = {Outcome::Failed, error.what(), one_line(error.what())};
    }
    finish(result);
}

ToolRun::ToolRun(Loop& loop, Workplace& place, Permit permit, Done done, CallLimits limits)
    : state_(std::make_unique<State>(loop, place, std::move(done), limits)) {
    state_->begin(permit);
}
ToolRun::~ToolRun() = default;

void ToolRun::cancel() {
    State& state = *state_;
    if (!state.command) {
        state.until = {};  // a background process is waited for no longer
        return;
    }
    state.command->cancel();
    state.watched.soon();  // it may have ended in the cancel itself
}

std::string shown_line(std::string_view text, size_t limit) {
    const bool longer = text.size() > limit;
    std::string line = printable(utf8_prefix(text, limit));
    std::replace(line.begin(), line.end(), '\n', ' ');
    std::replace(line.begin(), line.end(), '\t', ' ');
    if (!longer && line.size() <= limit) return line;
    return std::string(utf8_prefix(line, limit - 3)) + "...";
}

}  // namespace peacrab
