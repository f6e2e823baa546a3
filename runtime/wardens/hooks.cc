// One hook after the other, in the order of the configuration; the first that blocks is the last that runs. Each
// has a cell of its own that goes with it: one that was taken over by what it looked at must not be there
// when the next is asked. Must not trust its exit: only 0 and 2 mean something.
#include "wardens/hooks.h"

#include <algorithm>

#include "cells/command_watch.h"
#include "error.h"
#include "hooks/hook.h"
#include "wardens/tools.h"

namespace peacrab {
namespace {

constexpr size_t kMaxReason = 2048;
constexpr size_t kMaxAdded = 4096;
constexpr size_t kMaxShown = size_t{32} << 10;  // of a result, for the hook
constexpr size_t kMaxSaid = size_t{1} << 20;    // one that says more is ended
constexpr const char* kSeenHooks = "/hooks";

std::string clipped(const std::string& text, size_t most) {
    return json::valid_utf8(text.substr(0, most));
}

// A hook's words: for the model, and without what a terminal would obey.
std::string words(const std::string& text, size_t most) {
    return printable(clipped(text, most));
}

class HookRun {
  public:
    struct Verdict {
        bool blocked = false;
        std::string reason;  // why; for the model
        std::string added;   // what those said that let it pass
        std::string failed;  // of one behind the call that could not say anything
    };
    HookRun(Warden::State& state, std::string agent, json::Value record, std::vector<Hook> hooks,
            std::string folder, std::string input, std::function<void(const Verdict&)> done)
        : state_(state), agent_(std::move(agent)), record_(std::move(record)), hooks_(std::move(hooks)),
          folder_(std::move(folder)), input_(std::move(input)), done_(std::move(done)) {
        watched_.soon();  // not before the call has its place: what cannot start ends it
    }
    HookRun(const HookRun&) = delete;

  private:
    const Hook& hook() const { return hooks_.front(); }

    void next() {
        if (hooks_.empty()) return finish();
        std::string failure;
        try {
            if (folder_.empty()) throw Error("the folder hooks is not there");
            make_cell();
            command_.emplace(cell_->shell(call()));
        } catch (const Error& error) {
            failure = error.what();
        }
        if (failure.empty()) return watched_.wait(*command_);
        judge({}, failure);
    }

    // Its streams as they count: stderr before a call, both behind it.
    ShellCall call() const {
        const std::string path = cell_->options().shown.as + "/" + hook().program;
        ShellCall call;
        call.command = "exec '" + path + "'" + (hook().event == Hook::Event::BeforeTool ? " 2>&1 >/dev/null" : "");
        call.limit = hook().limit;
        call.user = ShellCall::User::Agent;
        call.input = input_;
        return call;
    }

    void make_cell() {
        Workplace& place = state_.place(agent_);
        CellOptions::Shown shown{folder_, kSeenHooks};
        if (place.cell.options().place == CellOptions::Place::Cell) {
            stay_.emplace(place.cell.enter());  // within whose limits it is
            cell_.emplace(place.cell.throwaway(shown));
            return;
        }
        CellOptions options = place.cell.options();
        options.folder.clear();
        options.hidden.clear();  // nothing of the person's is in reach
        options.workspace = folder_ + "/../../nothing";
        options.shown = {folder_, folder_};
        make_directories(options.workspace, 0700);
        cell_.emplace(options);
    }

    void step() {
        if (!command_) return next();
        CommandResult result;
        std::string failure;
        try {
            if (!command_->step()) {
                if (command_->output().total() > kMaxSaid) command_->cancel();
                return watched_.wait(*command_);
            }
            result = command_->result();
        } catch (const Error& error) {
            failure = error.what();
        }
        judge(result, failure);
    }

    void judge(const CommandResult& result, const std::string& failure) {
        command_.reset();
        cell_.reset();
        stay_.reset();
        const bool exited = failure.empty() && !result.timed_out && !result.cancelled && result.failed_step.empty() &&
                            result.exit.how == ChildExit::How::Exited;
        const bool passes = exited && result.exit.code == 0, blocks = exited && result.exit.code == 2;
        std::string said = passes ? "passed" : blocks ? "blocked" : "failed: ";
        if (!passes && !blocks)
            said += !failure.empty()            ? failure
                    : result.timed_out          ? "it did not end in time"
                    : !result.failed_step.empty() ? result.failed_step
                    : result.cancelled          ? "it said too much"
                                                : result.exit.describe();
        note(said);
        const std::string name = "the operator's hook " + hook().program;
        const bool before = hook().event == Hook::Event::BeforeTool;
        if (blocks) {
            const std::string reason = words(result.output, kMaxReason);
            verdict_.blocked = true;
            verdict_.reason = reason.empty() ? "blocked by " + name : reason;
        } else if (!passes && before) {
            verdict_.blocked = true;
            verdict_.reason = "not run: " + name + " could not look at it (the person can mend that); do not repeat it";
        } else if (!passes) {
            verdict_.failed = name + " failed";
        } else if (!before && verdict_.added.size() < kMaxAdded) {
            verdict_.added += words(result.output, kMaxAdded - verdict_.added.size());
        }
        if (verdict_.blocked) hooks_.clear();
        else hooks_.erase(hooks_.begin());
        next();
    }

    void note(const std::string& verdict) {
        json::Value record = record_;
        record.set("program", hook().program);
        record.set("event", hook_event_name(hook().event));
        record.set("verdict", shown_line(verdict, 300));
        if (!state_.recorded(record) && hook().event == Hook::Event::BeforeTool)
            verdict_ = {true, "not run: it could not be written down first; the disk may be full", "", ""};
    }

    void finish() {
        const Verdict verdict = std::move(verdict_);
        const auto last = std::move(done_);
        last(verdict);  // we may be gone now
    }

    Warden::State& state_;
    std::string agent_;
    json::Value record_;
    std::vector<Hook> hooks_;  // that are still to run
    std::string folder_;
    std::string input_;
    std::function<void(const Verdict&)> done_;
    Verdict verdict_;
    std::optional<WarmCell::Stay> stay_;
    std::optional<Cell> cell_;  // outlives what runs in it
    std::optional<Command> command_;
    CommandWatch watched_{state_.loop, [this] { step(); }};
};

std::vector<Hook> wanted(const HookSet& set, Hook::Event event, const std::string& tool) {
    std::vector<Hook> hooks;
    for (const Hook& hook : set.hooks)
        if (wants(hook, event, tool)) hooks.push_back(hook);
    return hooks;
}

json::Value about(const RunningTurn& turn, const RunningCall& call, Hook::Event event) {
    json::Value arguments;
    try {
        arguments = json::parse(call.arguments, {size_t{1} << 20, 4});
    } catch (const Error&) {  // policy has read them: never
    }
    return json::Value::object({{"event", hook_event_name(event)},
                                {"agent", turn.agent},
                                {"session", session_name(turn.session)},
                                {"turn", turn_name(turn.id)},
                                {"call", call.id},
                                {"tool", call.name},
                                {"arguments", arguments}});
}

void run_now(Warden::State& state, RunningTurn& turn, RunningCall& call, Permit permit) {
    call.owes_hooks = true;
    if (find_tool(permit.tool())->by == ToolSchema::By::Cell) return state.run_call(turn, call, std::move(permit));
    const uint64_t number = call.number;
    if (const std::optional<ToolResult> result = run_own_tool(state, turn, call, std::move(permit)))
        state.finish_call(turn, number, *result);
}

RunningCall* find_call(Warden::State& state, int64_t session, uint64_t number) {
    const auto turn = state.turns.find(session);
    if (turn == state.turns.end()) return nullptr;
    return turn->second.call(number);
}

}  // namespace

void run_hooked(Warden::State& state, RunningTurn& turn, RunningCall& call, const ToolCall& asked, Permit permit) {
    call.arguments = asked.arguments;
    const HookSet set = state.options.hooks ? state.options.hooks() : HookSet();
    const std::vector<Hook> hooks = wanted(set, Hook::Event::BeforeTool, call.name);
    const int64_t session = turn.session;
    const uint64_t number = call.number;
    if (!set.missing.empty())
        return state.finish_call(turn, number, {Outcome::Denied, "not run: " + set.missing, call.summary});
    if (hooks.empty()) return run_now(state, turn, call, std::move(permit));
    auto kept = std::make_shared<Permit>(std::move(permit));
    const auto done = [&state, session, number, kept](const HookRun::Verdict& verdict) {
        RunningCall* const running = find_call(state, session, number);
        if (!running) return;
        RunningTurn& its = state.turns.at(session);
        const std::shared_ptr<void> hook = std::move(running->hook);  // whose end this is
        if (its.stopping)
            return state.finish_call(its, number, {Outcome::Interrupted, "stopped by the person", running->summary});
        if (verdict.blocked)
            return state.finish_call(its, number, {Outcome::Denied, verdict.reason, running->summary});
        try {
            run_now(state, its, *running, std::move(*kept));
        } catch (const Error& error) {
            state.end_turn(its, "failed", error.what(), {});
        }
    };
    call.hook = std::make_shared<HookRun>(state, turn.agent, state.call_record("hook", turn, call), hooks, set.folder,
                                          json::dump(about(turn, call, Hook::Event::BeforeTool)) + "\n", done);
}

bool hooks_after(Warden::State& state, RunningTurn& turn, RunningCall& call, const ToolResult& result) {
    if (!state.options.hooks || !std::exchange(call.owes_hooks, false) || turn.ending) return false;
    const HookSet set = state.options.hooks();
    const std::vector<Hook> hooks = wanted(set, Hook::Event::AfterTool, call.name);
    if (hooks.empty()) return false;
    const int64_t session = turn.session;
    const uint64_t number = call.number;
    json::Value input = about(turn, call, Hook::Event::AfterTool);
    input.set("outcome", outcome_name(result.outcome));
    input.set("text", clipped(result.text, kMaxShown));
    const auto done = [&state, session, number, result](const HookRun::Verdict& verdict) {
        RunningCall* const running = find_call(state, session, number);
        if (!running) return;
        const std::shared_ptr<void> hook = std::move(running->hook);
        ToolResult told = result;
        if (verdict.blocked) {
            told.text = "[it ran; what it said is withheld: " + verdict.reason + "]";
            told.picture.clear();
        }
        if (!verdict.added.empty()) told.text += "\n[the operator's hook says: " + verdict.added + "]";
        if (!verdict.failed.empty()) told.text += "\n[" + verdict.failed + "]";
        state.finish_call(state.turns.at(session), number, told);
    };
    // Its own run goes first: we may be in its last words.
    call.hook = std::make_shared<HookRun>(state, turn.agent, state.call_record("hook", turn, call), hooks, set.folder,
                                          json::dump(input) + "\n", done);
    return true;
}

}  // namespace peacrab
