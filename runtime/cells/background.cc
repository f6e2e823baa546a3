// A background process is a call nobody waits for: its output is drained and kept like that of any
// other, its end is noticed, and while it runs its cell is neither frozen nor removed.
#include "cells/background.h"

#include <algorithm>

#include "cells/output.h"
#include "error.h"
#include "tools.h"

namespace peacrab {
namespace {

constexpr size_t kShownCommand = 60;

// 0: no such name.
int number_of(const std::string& id) {
    if (id.size() < 2 || id.size() > 9 || id[0] != 'b' || id[1] == '0') return 0;
    int number = 0;
    for (size_t i = 1; i < id.size(); ++i) {
        if (id[i] < '0' || id[i] > '9') return 0;
        number = number * 10 + (id[i] - '0');
    }
    return number;
}

}  // namespace

Background::Background(Loop& loop, WarmCell& home,
                       std::function<void(const std::string& line)> ended)
    : loop_(loop), home_(home), ended_(std::move(ended)) {}

Background::~Background() {
    stop_all();  // all are killed before the first is waited for
    processes_.clear();
}

std::string Background::start(const ShellCall& call) {
    if (running() >= kMost)
        throw Error("already " + std::to_string(kMost) +
                    " background processes run: stop one of them first");
    WarmCell::Stay stay = home_.enter();
    Command command = stay.cell().shell(call);
    const int number = next_++;
    Process& process = processes_.try_emplace(number, loop_, std::move(command), std::move(stay),
                                              shown_line(call.command, kShownCommand), [this, number] { step(number); })
                           .first->second;
    forget_old();
    process.watched.wait(process.command);
    return "b" + std::to_string(number);
}

void Background::step(int number) {
    Process& process = processes_.at(number);
    bool over = true;
    std::string failed;
    try {
        over = process.command.step();
    } catch (const Error& error) {
        failed = error.what();
    }
    if (!over) return process.watched.wait(process.command);
    loop_.cancel(process.grace);
    const CommandResult result = process.command.result();
    if (!result.failed_step.empty()) failed = "could not be started: " + result.failed_step;
    process.end = !failed.empty() ? failed : result.exit.describe();
    if (!result.limit_hit.empty()) process.end += ", limit hit: " + result.limit_hit;
    process.well = failed.empty() && result.exit.ok();
    if (ended_) ended_(line(number, process));
    process.stay.reset();
}

void Background::forget_old() {
    size_t ended = processes_.size() - running();
    for (auto it = processes_.begin(); it != processes_.end() && ended > kMost;)
        if (it->second.end.empty()) {
            ++it;
        } else {
            it = processes_.erase(it);
            --ended;
        }
}

Background::Process& Background::at(const std::string& id) {
    const auto found = processes_.find(number_of(id));
    if (found == processes_.end())
        throw Error("there is no background process \"" + shown_line(id, 16) +
                    "\"; the action list shows which there are");
    return found->second;
}

size_t Background::running() const {
    return static_cast<size_t>(std::count_if(processes_.begin(), processes_.end(), [](auto& each) {
        return each.second.end.empty();
    }));
}

bool Background::runs(const std::string& id) const {
    const auto found = processes_.find(number_of(id));
    return found != processes_.end() && found->second.end.empty();
}

bool Background::succeeded(const std::string& id) const {
    const auto found = processes_.find(number_of(id));
    return found != processes_.end() && found->second.well;
}

std::string Background::line(int number, const Process& process) const {
    const auto span = std::chrono::steady_clock::now() - process.since;
    const std::string how =
        !process.end.empty()
            ? " ended (" + process.end + ")"
            : " has run for " +
                  std::to_string(std::chrono::duration_cast<Seconds>(span).count()) + " s";
    return "b" + std::to_string(number) + how + ": " + process.title;
}

std::string Background::about(const std::string& id) {
    Process& process = at(id);
    process.told = process.told || !process.end.empty();
    return line(number_of(id), process);
}

std::string Background::list() {
    std::string text;
    for (auto& [number, process] : processes_)
        text += (text.empty() ? "" : "\n") + about("b" + std::to_string(number));
    return text.empty() ? "no background process was started" : text;
}

std::string Background::news(const std::string& id) {
    return at(id).command.output().news();
}

void Background::stop(const std::string& id) {
    Process& process = at(id);
    if (!process.end.empty()) return;
    process.told = true;
    process.command.terminate();
    if (std::exchange(process.stopping, true)) return;
    process.grace = loop_.after(kGrace, [&process] {
        process.command.cancel();
        process.watched.soon();
    });
}

void Background::stop_all() {
    for (auto& [number, process] : processes_) {
        if (!process.end.empty()) continue;
        process.watched.stop();
        loop_.cancel(process.grace);
        process.command.cancel();
        process.end = "ended with its container";
        process.stay.reset();
    }
}

std::vector<std::string> Background::untold() {
    std::vector<std::string> lines;
    for (auto& [number, process] : processes_) {
        if (process.end.empty() || process.told) continue;
        process.told = true;
        lines.push_back(line(number, process));
    }
    return lines;
}

std::string Background::news_of_ends() {
    std::string text;
    for (const std::string& line : untold()) text += "\n\n[background: " + line + "]";
    return text;
}

void Background::add_rows(json::Value& rows, const std::string& agent) const {
    for (const auto& [number, process] : processes_) {
        if (!process.end.empty()) continue;
        const auto span = std::chrono::steady_clock::now() - process.since;
        rows.push(json::Value::object(
            {{"agent", agent},
             {"id", "b" + std::to_string(number)},
             {"ms", std::chrono::duration_cast<Milliseconds>(span).count()},
             {"command", process.title}}));
    }
}

}  // namespace peacrab
