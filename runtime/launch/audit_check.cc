// Sixty megabytes are to be hashed at most: seconds under emulation, in which the warden must answer
// others. A record that is being written just now, or a file that goes because a newer one begins,
// would look like a break: what seems broken is looked at once more.
#include "launch/audit_check.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "audit.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kMaxAnswer = 2048;
constexpr int kAnswerFd = 3;

AuditChecker::Result look(const std::string& folder) {
    using State = AuditChecker::Result::State;
    const AuditCheck check = check_audit(folder);
    const std::vector<std::string> names = list_folder(folder);
    const auto files = std::count_if(names.begin(), names.end(), [](const std::string& name) {
        return name.starts_with("audit-");
    });
    const std::string counted = std::to_string(check.records) + " records in " +
                                std::to_string(files) + (files == 1 ? " file" : " files");
    if (check.complaints.empty()) return {State::Whole, counted + ", whole"};
    const size_t more = check.complaints.size() - 1;
    return {State::Broken, check.complaints.front() +
                               (more ? "; and " + std::to_string(more) + " more" : "") + " (" +
                               counted + ")"};
}

}  // namespace

AuditChecker::Result check_whole_audit(const std::string& folder) {
    using State = AuditChecker::Result::State;
    for (int again = 1;; --again) {
        AuditChecker::Result result;
        try {
            result = look(folder);
        } catch (const Error& error) {
            result.text = std::string("not checked: ") + error.what();
        }
        if (result.state == State::Whole || again == 0) return result;
    }
}

AuditChecker::~AuditChecker() {
    if (timer_) loop_.cancel(timer_);
    if (answer_) loop_.forget(answer_.get());
}

void AuditChecker::check(std::function<void(const Result&)> done) {
    waiting_.push_back(std::move(done));
    if (waiting_.size() > 1) return;
    try {
        start();
    } catch (const Error& error) {
        // Not before this call has returned.
        timer_ = loop_.after(Milliseconds(0), [this, why = std::string(error.what())] {
            timer_ = 0;
            end({Result::State::Unknown, "not checked: " + why});
        });
    }
}

void AuditChecker::start() {
    Pipe pipe = Pipe::make();
    said_.clear();
    const pid_t pid = ::fork();
    if (pid < 0) throw ErrnoError("fork");
    if (pid == 0) {
        // Nothing else of ours: a socket held here would keep its other end from seeing ours close.
        if (::dup2(pipe.write.get(), kAnswerFd) < 0 || ::close_range(kAnswerFd + 1, ~0U, 0) < 0 ||
            ::nice(10) == -1)
            ::_exit(1);
        try {
            const Result result = check_whole_audit(folder_);
            const char state = result.state == Result::State::Whole    ? 'w'
                               : result.state == Result::State::Broken ? 'b'
                                                                       : 'u';
            write_all(kAnswerFd, state + result.text.substr(0, kMaxAnswer - 1));
        } catch (...) {  // the silence is an answer
        }
        ::_exit(0);
    }
    child_ = Pidfd::of_child(pid);
    answer_ = std::move(pipe.read);
    set_nonblocking(answer_.get());
    loop_.watch(answer_.get(), POLLIN, [this](short) { heard(); });
    timer_ = loop_.after(limit_, [this] {
        timer_ = 0;
        end({Result::State::Unknown,
             "not checked: it took more than " + std::to_string(limit_ / Seconds(1)) + " s"});
    });
}

void AuditChecker::heard() {
    std::array<char, kMaxAnswer> bytes;
    const std::optional<size_t> n = read_some(answer_.get(), bytes);
    if (!n) return;
    said_.append(bytes.data(), *n);
    if (*n > 0 && said_.size() < kMaxAnswer) return;
    using State = Result::State;
    if (said_.empty()) return end({State::Unknown, "not checked: the check ended without a word"});
    const State state = said_[0] == 'w'   ? State::Whole
                        : said_[0] == 'b' ? State::Broken
                                          : State::Unknown;
    end({state, said_.substr(1)});
}

void AuditChecker::end(const Result& result) {
    if (timer_) loop_.cancel(std::exchange(timer_, 0));
    if (answer_) loop_.forget(answer_.get());
    answer_.reset();
    if (child_) child_.kill_and_reap();
    child_ = {};
    std::vector<std::function<void(const Result&)>> waiting;
    waiting.swap(waiting_);
    for (const auto& done : waiting) done(result);
}

}  // namespace peacrab
