// Command: collects what a tool child says within bounds, and ends it in time. Cell: hands each call
// to the place it was made for; there is one file per kind of place, in cells/.
//
// A call is over when its child is gone, never when its output is: a background process may hold the
// pipe for ever. The parent therefore keeps a writing end of its own, so that the pipe never hangs
// up, and reads what is left once the child has ended.
#include "cell.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>

#include "cells/container.h"
#include "cells/mechanism.h"
#include "cells/output.h"
#include "cells/report.h"
#include "cells/shared.h"
#include "error.h"

namespace peacrab {
namespace {

// How long a call has to end when it is killed, before it is killed once more.
constexpr Milliseconds kGrace{2000};
constexpr Milliseconds kLook{1000};
// Read in one step at most: a flood must not keep the owner from its other descriptors.
constexpr size_t kStepBytes = size_t{1} << 20;

}  // namespace

struct Command::State {
    State(size_t limit, std::shared_ptr<OutputFolder> folder, Capture::Beyond beyond)
        : capture(limit, std::move(folder), beyond) {}
    std::unique_ptr<PlaceCall> call;
    UniqueFd ended_fd;  // the child's pidfd once more: stays open, and itself, after the reaping
    UniqueFd output;    // what is read of the call, when there is one
    Deadline deadline;
    Deadline look = Deadline::never();  // whether it gets anywhere
    Capture capture;
    CommandResult result;
    bool killed = false;
    bool ended = false;

    void begin(const std::function<std::unique_ptr<PlaceCall>()>& start);
    void drain();
    void kill();
    void end(const ChildExit& exit);
    void read_report(const ChildExit& exit);
};

// A call that cannot be made is one that has ended, and says why.
void Command::State::begin(const std::function<std::unique_ptr<PlaceCall>()>& start) {
    try {
        call = start();
        ended_fd = UniqueFd(::fcntl(call->child.fd(), F_DUPFD_CLOEXEC, 0));
        if (!ended_fd) throw ErrnoError("pidfd");
        output = std::move(call->output);
        if (call->looked_after) look = Deadline::in(kLook);
    } catch (const Error& error) {
        call.reset();
        result.failed_step = error.what();
        ended = true;
        // Always readable: the owner looks, and learns that it has ended.
        output = UniqueFd(::eventfd(1, EFD_CLOEXEC));
        ended_fd = UniqueFd(::eventfd(1, EFD_CLOEXEC));
        if (!ended_fd) throw;
    }
}

void Command::State::drain() {
    std::array<char, 65536> bytes;
    for (size_t done = 0; done < kStepBytes;) {
        const std::optional<size_t> n = read_some(output.get(), bytes);
        if (n.value_or(0) == 0) return;
        capture.append({bytes.data(), *n});
        done += *n;
    }
}

void Command::State::kill() {
    if (ended) return;
    // When it does not end within its grace, the next step() comes here again.
    call->kill();
    killed = true;
    deadline = Deadline::in(kGrace);
}

void Command::State::read_report(const ChildExit& exit) {
    result.exit = exit;  // unless the child says how the command itself ended
    bool said = false;
    for (int i = 0; i < 4; ++i) {
        CellReport record{};
        std::span<char> bytes(reinterpret_cast<char*>(&record), sizeof record);
        if (read_some(call->report.get(), bytes).value_or(0) != sizeof record) break;
        record.step[sizeof record.step - 1] = '\0';
        using How = ChildExit::How;
        if (record.kind == CellReport::Kind::Failed) {
            result.failed_step = std::string(record.step) + ": " + std::strerror(record.value);
            result.exit = {};
            return;
        }
        result.exit = {record.kind == CellReport::Kind::Exited ? How::Exited : How::Signalled,
                       record.value};
        said = true;
    }
    // Pid 1 ending without a word is not the command ending well.
    if (!said && exit.how == ChildExit::How::Exited)
        result.failed_step = "start: the child gave no reason";
}

void Command::State::end(const ChildExit& exit) {
    drain();
    read_report(exit);
    result.limit_hit = call->limit_hit();
    call.reset();  // nothing of it is left
    result.output = capture.text();
    result.total_bytes = capture.total();
    result.kept_output = capture.kept();
    ended = true;
}

Command::Command(std::unique_ptr<State> state) : state_(std::move(state)) {}
Command::Command(Command&&) noexcept = default;

Command::~Command() = default;  // the call ends with its PlaceCall

int Command::output_fd() const {
    return state_->output.get();
}
int Command::exit_fd() const {
    return state_->ended_fd.get();
}
Deadline Command::next_step() const {
    return state_->look.left() < state_->deadline.left() ? state_->look : state_->deadline;
}
Deadline Command::deadline() const {
    return state_->deadline;
}
Capture& Command::output() {
    return state_->capture;
}

void Command::terminate() {
    if (!state_->ended) state_->call->terminate();
}

void Command::cancel() {
    if (state_->ended || state_->killed) return;
    state_->result.cancelled = true;
    state_->kill();
}

bool Command::step() {
    State& state = *state_;
    if (state.ended) return true;
    state.drain();
    if (const std::optional<ChildExit> exit = state.call->child.try_wait()) {
        state.end(*exit);
        return true;
    }
    if (state.deadline.passed()) {
        if (!state.killed) state.result.timed_out = true;
        state.kill();
    } else if (state.look.passed()) {
        state.look = Deadline::in(kLook);
        if (state.call->stalled()) state.kill();
    }
    return false;
}

CommandResult Command::result() {
    return std::move(state_->result);
}

CommandResult Command::run() {
    while (!step()) {
        pollfd fds[] = {{output_fd(), POLLIN, 0}, {exit_fd(), POLLIN, 0}};
        if (::poll(fds, 2, next_step().poll_timeout()) < 0 && errno != EINTR)
            throw ErrnoError("cell: poll");
    }
    return result();
}

struct Cell::State {
    CellOptions options;
    std::unique_ptr<Place> place;
    Posture posture;
    std::shared_ptr<OutputFolder> output;  // none: what is cut is not kept

    Deadline in(Milliseconds span) const {
        return Deadline::in(span * std::max(1, options.time_factor));
    }
    Command helper(Milliseconds limit, const std::function<std::unique_ptr<PlaceCall>()>& start) const;
};

Cell::Cell(CellOptions options) : state_(std::make_unique<State>()) {
    State& state = *state_;
    state.options = std::move(options);
    const CellOptions& own = state.options;
    switch (own.place) {
        case CellOptions::Place::None:
            throw Error("cell: no place was given");
        case CellOptions::Place::Cell:
            state.place = make_container(own);
            break;
        case CellOptions::Place::Here:
            state.place = make_shared_place(state.options);
            break;
    }
    if (!own.folder.empty() && own.files == CellOptions::Files::Kept)
        state.output = std::make_shared<OutputFolder>(
            own.folder + "/output",
            own.place == CellOptions::Place::Cell ? kSeenOutput : own.folder + "/output");
    state.posture = state.place->posture();
}

Cell::Cell(Cell&&) noexcept = default;
Cell::~Cell() = default;

Command Cell::shell(const ShellCall& call) {
    const bool background = call.life == ShellCall::Life::Background;
    use_mechanisms_of(state_->options.agent);
    auto state = std::make_unique<Command::State>(
        on(Mechanism::OutputCap) ? kMaxOutput : 8 * kMaxOutput, state_->output,
        background ? Capture::Beyond::BeginAnew : Capture::Beyond::Stop);
    const bool timed = !background && on(Mechanism::CallTime);
    state->deadline = timed ? state_->in(call.limit) : Deadline::never();
    state->begin([&] { return state_->place->shell(call); });
    return Command(std::move(state));
}

// Our own program: its answer is bounded, and nothing of it is kept.
Command Cell::State::helper(Milliseconds limit, const std::function<std::unique_ptr<PlaceCall>()>& start) const {
    auto state = std::make_unique<Command::State>(kMaxAnswer, nullptr, Capture::Beyond::Stop);
    state->deadline = in(limit);
    state->begin(start);
    return Command(std::move(state));
}

Command Cell::file(const std::string& request, Milliseconds limit) {
    return state_->helper(limit, [&] { return state_->place->file(request); });
}

Command Cell::fetch(const UniqueFd& input, Milliseconds limit) {
    return state_->helper(limit, [&] { return state_->place->fetch(input.get()); });
}

Command Cell::files(UniqueFd stream, Milliseconds limit) {
    return state_->helper(limit, [&] { return state_->place->files(std::move(stream)); });
}

int Cell::proxy() const {
    return state_->place->proxy();
}
UniqueFd Cell::connect(uint16_t port) {
    return state_->place->connect(port);
}
void Cell::freeze() {
    state_->place->freeze();
}
void Cell::thaw() {
    state_->place->thaw();
}

const Posture& Cell::posture() const {
    return state_->posture;
}
const CellOptions& Cell::options() const {
    return state_->options;
}

std::string Posture::text() const {
    std::string line = name.empty() ? "none" : name;
    if (probes) line += ", " + std::to_string(probes) + " forbidden effects refused";
    for (size_t i = 0; i < lacks.size(); ++i) line += (i == 0 ? ": " : "; ") + lacks[i];
    return line;
}

}  // namespace peacrab
