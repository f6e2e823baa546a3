// What is due begins a turn. The hub waits on the wall clock itself (a timerfd that also tells when it was set), for
// the next that is due and for nothing else: who has no tasks is never woken. What is due is looked up anew each time,
// so that it does not matter how often or how late it is asked.
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>

#include <algorithm>

#include "audit.h"
#include "channels/turn_view.h"
#include "error.h"
#include "messaging/hub_state.h"
#include "messaging/zone.h"

namespace peacrab {
namespace {

constexpr int64_t kLate = 60;              // seconds: more than this is said
constexpr int64_t kFarTooLate = 600;       // for what is not to be made up for
constexpr int64_t kQuarter = 15 * 60;      // between two turns, unless an owner has allowed more
constexpr int64_t kMostFailures = 5;
constexpr size_t kMaxGateWords = size_t{8} << 10;

int64_t unix_now() {
    return unix_ms() / 1000;
}

int64_t task_id(const ArrivalRow& row) {
    return row.id.starts_with("task ") ? std::stoll(row.id.substr(5)) : 0;
}

std::string clock_words(const std::string& zone, int64_t moment) try {
    return WallClock(zone.empty() ? "UTC" : zone).words(moment) + " " + (zone.empty() ? "UTC" : zone);
} catch (const Error&) {  // its file was removed meanwhile
    return WallClock("UTC").words(moment) + " UTC";
}

std::string opening(const TaskRow& task, const std::string& when) {
    return "[Task " + std::to_string(task.id) + " of this conversation, " + when + ". Nobody has written to you now; what you answer is sent to the "
           "person. It was set with these words:]\n" + task.text;
}

// The end of quiet hours of whose it is, if it is in them.
std::optional<int64_t> quiet_for(Schedule& schedule, const TaskRow& task, int64_t now) try {
    const Schedule::Person person = schedule.person(task.channel, task.sender);
    return quiet_until(person.quiet, person.zone.empty() ? "UTC" : person.zone, now);
} catch (const Error&) {
    return std::nullopt;
}

}  // namespace

void Hub::State::watch_tasks() {
    if (!options.open_chat) return;
    alarm = UniqueFd(::timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
    changed = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    // Another program that has the post open and closes it may have changed a task (`peacrab tasks`).
    if (!alarm || !changed || ::inotify_add_watch(changed.get(), options.file.c_str(), IN_CLOSE_WRITE) < 0) throw ErrnoError("hub: the clock");
    loop.watch(alarm.get(), POLLIN, [this](short) {
        uint64_t times;
        const bool was_set = ::read(alarm.get(), &times, sizeof times) < 0 && errno == ECANCELED;
        run_tasks(was_set ? Look::Anew : Look::Due);
    });
    loop.watch(changed.get(), POLLIN, [this](short) {
        char events[4096];
        while (::read(changed.get(), events, sizeof events) > 0) {
        }
        run_tasks(Look::Due);
    });
}

void Hub::State::end_tasks() {
    if (alarm) loop.forget(alarm.get());
    if (changed) loop.forget(changed.get());
}

// To the next that is due; also when the clock is set meanwhile.
void Hub::State::set_alarm() {
    if (!alarm) return;
    const int64_t now = unix_now(), far = INT64_MAX;
    const int64_t next = std::min(schedule.next_due(now).value_or(far), cards.next_over(now).value_or(far));
    itimerspec when{};
    when.it_value.tv_sec = next == far ? 0 : next;
    if (::timerfd_settime(alarm.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, nullptr) == 0) return;
    if (errno != ECANCELED) throw ErrnoError("hub: the clock");
    loop.after(Milliseconds(0), [this] { run_tasks(Look::Anew); });  // it was set since we last looked; this told us, and poll will not
}

// The clock may have been ahead, and is put right: what waits for a time by it does not wait so long. What is due
// again is known by its time, and nothing is done twice.
void Hub::State::look_anew(int64_t now) {
    schedule.shorten_quiet(now);
    for (TaskRow task : schedule.tasks(0)) {
        if (task.state != "active" || task.next == 0) continue;
        const TaskRow before = task;
        try {
            const std::optional<int64_t> next = next_after(read_kept(task.kept, task.zone), now);
            if (next && *next < task.next) task.next = *next;
        } catch (const Error&) {  // its zone was removed: that is told when it is due
        }
        task.hold = 0;  // or again, when it is due
        if (task.began > now) task.began = 0;
        if (task.next != before.next || task.hold != before.hold || task.began != before.began) schedule.save(task);
    }
}

void Hub::State::run_tasks(Look look) {
    if (!alarm) return;
    const int64_t now = unix_now();
    if (look == Look::Anew) look_anew(now);
    for (const TaskRow& task : schedule.due(now)) {
        const auto channel = channels.find(task.channel);
        if (channel != channels.end() && channel->second->ready) fire(task, now);  // else when it is there again
    }
    for (const std::string& channel : schedule.release(now)) pump(channel);
    for (const int64_t place : cards.places_overdue(now)) advance(place);
    set_alarm();
}

void Hub::State::pause(TaskRow task, const std::string& why) {
    task.state = "paused";
    schedule.save(task);
    tell(task.place, "Task " + std::to_string(task.id) + " is paused: " + one_line(why, 200));
}

// One that is due: noted, and its next time with it, in one step.
void Hub::State::fire(TaskRow task, int64_t now) {
    if (door.role_of(task.channel, task.sender) < Role::Member) return pause(task, "whose it is may have no tasks any more");
    Missed missed;
    std::optional<int64_t> next;
    bool too_often = false;
    try {
        const Timetable table = read_kept(task.kept, task.zone);
        missed = missed_until(table, task.next, now);
        next = next_after(table, now);
        // It has begun a turn just now, and no owner has allowed that.
        too_often = !task.allowed && next && now - task.began < kQuarter && shortest_gap(table, now) < kQuarter;
    } catch (const Error& error) {  // its zone was removed from the machine
        return pause(task, error.what());
    }
    const bool late = now - missed.newest > kLate;
    const std::optional<int64_t> quiet = quiet_for(schedule, task, now);
    if (quiet && !task.skip) {
        task.hold = *quiet;
        return schedule.save(task);
    }
    const bool busy = schedule.under_way(task.id);  // the one before: they do not pile up
    const bool skipped = busy || (task.skip && (late || quiet));
    std::string when = "due " + clock_words(task.zone, missed.newest);
    if (late) when += ", late: it is now " + clock_words(task.zone, now) + "; say that it is late";
    if (missed.count > 1) when += "; " + std::to_string(missed.count - 1) + " more were missed before and are not made up for";
    post.together([&] {
        task.next = next.value_or(0);
        task.hold = 0;
        if (!next) task.state = "done";
        schedule.save(task);
        if (too_often) return;
        schedule.fire(task, missed.newest, skipped ? "skipped" : "running", skipped ? std::string() : opening(task, when));
        if (skipped && !busy && !next)
            post.enqueue(task.place, {}, "Task " + std::to_string(task.id) + " was due " + clock_words(task.zone, missed.newest) +
                                             " and is not made up for: \"" + one_line(task.text, 100) + "\"");
    });
    const int64_t place = task.place;
    loop.after(Milliseconds(0), [this, place] {
        advance(place);
        if (const std::optional<PlaceRow> row = post.place(place)) pump(row->channel);
    });
}

bool Hub::State::free_for_task(const Chat& chat) const {
    return chat.turn.empty() && chat.said.empty() && chat.gate == 0 && !chat.blocked;
}

// Says it to the agent, or has its gate run first.
void Hub::State::say_task(Chat& chat, const ArrivalRow& row) {
    std::optional<TaskRow> task = schedule.task(task_id(row));
    const int64_t now = unix_now(), due = schedule.due_of(row.row);
    const auto drop = [&](const char* outcome, const char* note) {
        post.together([&] {
            post.answered(row.row);
            schedule.end_firing(row.row, outcome, note);
        });
    };
    if (!task || (task->state != "active" && task->state != "done")) return drop("skipped", "it was paused or deleted meanwhile");
    if (task->skip && now - due > kFarTooLate) return drop("skipped", "the agent could not be reached in time");
    if (!task->gate.empty() && !schedule.passed_gate(row.row)) {
        chat.gate = row.row;
        chat.warden->send(json::Value::object({{"type", "task"}, {"what", "gate"}, {"id", "g" + std::to_string(row.row)}, {"text", task->gate}}));
        return;
    }
    if (task->began < row.received) {
        task->began = now;
        schedule.save(*task);
    }
    say(chat, row);
}

void Hub::State::on_gate(Chat& chat, const std::string& verdict, const std::string& text) {
    const int64_t number = std::exchange(chat.gate, 0);
    const std::vector<ArrivalRow> rows = post.waiting(chat.place);
    const auto row = std::find_if(rows.begin(), rows.end(), [number](const ArrivalRow& each) { return each.row == number; });
    std::optional<TaskRow> task = row == rows.end() ? std::nullopt : schedule.task(task_id(*row));
    if (!task) return;
    const std::string digest = sha256_hex(text);
    const bool same = verdict == "go" && task->changed && digest == task->digest;
    post.together([&] {
        if (verdict == "go" && !same) {
            schedule.set_words(number, row->text + "\n[Its gate let it pass, and said:]\n" + json::valid_utf8(text.substr(0, kMaxGateWords)));
        } else {
            post.answered(number);
            schedule.end_firing(number, verdict == "failed" ? "failed" : "gate", verdict == "failed" ? one_line(text, 200) : same ? "as last time" : "no");
        }
        if (verdict == "go" && task->changed) task->digest = digest;
        if (verdict != "failed") task->failures = 0;
        schedule.save(*task);
    });
    if (verdict == "failed") task_failed(task->id, "its gate could not be run: " + one_line(text, 200), Told::Not);
}

// It is told at the first failure, and when it is paused.
void Hub::State::task_failed(int64_t id, const std::string& why, Told told) {
    std::optional<TaskRow> task = schedule.task(id);
    if (!task) return;
    ++task->failures;
    const bool enough = task->failures >= kMostFailures && task->state == "active";
    if (enough) task->state = "paused";
    const std::string name = "Task " + std::to_string(id) + " (\"" + one_line(task->text, 60) + "\")";
    schedule.save(*task);
    if (enough)
        tell(task->place, name + " has failed " + std::to_string(task->failures) + " times in a row and is paused: " + why + "\n/tasks resume " +
                              std::to_string(id) + " sets it going again, /tasks delete " + std::to_string(id) + " ends it.");
    else if (task->failures == 1 && told == Told::Not)
        tell(task->place, name + " has failed: " + why);
}

// Of its own accord: it waits for the end of quiet hours.
void Hub::State::tell(int64_t place, const std::string& text) {
    const std::string origin = "t:" + random_hex(8);
    post.together([&] {
        post.enqueue(place, origin, text);
        if (const std::optional<int64_t> until = quiet_at(place)) schedule.hold(origin, *until);
    });
    if (alarm) set_alarm();
    if (const std::optional<PlaceRow> row = post.place(place)) pump(row->channel);
}

// Of those who have tasks there, the first that is left alone now.
std::optional<int64_t> Hub::State::quiet_at(int64_t place) {
    for (const TaskRow& task : schedule.tasks(place))
        if (const std::optional<int64_t> until = quiet_for(schedule, task, unix_now())) return until;
    return std::nullopt;
}

std::optional<int64_t> Hub::State::quiet_turn(const Chat& chat, const std::string& turn) {
    const std::optional<int64_t> id = turn.empty() ? std::nullopt : schedule.task_of(chat.place, turn);
    if (schedule.asker(chat.place, turn)) return std::nullopt;  // the person is there
    if (!id) return quiet_hook(chat.place, turn);
    const std::optional<TaskRow> task = schedule.task(*id);
    return task ? quiet_for(schedule, *task, unix_now()) : std::nullopt;
}

// What a turn has to tell that nobody asked for.
void Hub::State::hold_if_quiet(const Chat& chat, const std::string& turn, const std::vector<std::string>& origins) {
    const std::optional<int64_t> until = quiet_turn(chat, turn);
    if (!until) return;
    for (const std::string& origin : origins) schedule.hold(origin, *until);
    set_alarm();
}

// The warden takes no message of the agent: it is paused, or has spent too much.
void Hub::State::task_refused(const ArrivalRow& row, const std::string& why) {
    post.together([&] {
        post.answered(row.row);
        schedule.end_firing(row.row, "failed", one_line(why, 200));
    });
    task_failed(task_id(row), one_line(why, 200), Told::Not);
}

bool Hub::State::wanted(int64_t place) {
    const std::vector<int64_t> at_work = post.places_at_work();
    const std::vector<int64_t> overdue = cards.places_overdue(unix_now());
    const auto has = [place](const std::vector<int64_t>& places) { return std::find(places.begin(), places.end(), place) != places.end(); };
    return has(at_work) || has(overdue) || schedule.listens(place);
}

void Hub::State::task_turn_over(int64_t place, const std::string& turn) {
    for (const Schedule::Settled& each : schedule.settle(place, turn)) {
        const bool well = each.status == "done" || each.status == "waiting" || each.status == "stopped";
        if (!well) {
            task_failed(each.task, one_line(each.error, 200), Told::Already);
        } else if (std::optional<TaskRow> task = schedule.task(each.task); task && task->failures > 0) {
            task->failures = 0;
            schedule.save(*task);
        }
    }
}

void Hub::State::on_task(Chat& chat, const json::Value& frame) {
    const std::string what = frame.text("what"), id = frame.text("id"), text = frame.text("text");
    if (what == "call") return answer_task_call(chat, frame);
    if (what == "go" || what == "no" || what == "failed") {
        if (chat.gate != 0 && id == "g" + std::to_string(chat.gate)) {
            on_gate(chat, what, text);
            return advance(chat.place);
        }
        if (what != "failed") return;
    }
    if (id.empty() || id.size() > 15 || id.find_first_not_of("0123456789") != std::string::npos) return;
    std::optional<TaskRow> task = schedule.task(std::stoll(id));
    if (!task || task->place != chat.place || task->state != "active" || !task->kept.starts_with("ends ")) return;
    if (what == "listening") {
        task->kept = "ends " + split(task->kept, ' ')[1] + " " + text.substr(0, 32);
        return schedule.save(*task);
    }
    const int64_t now = unix_now();
    const std::string line = one_line(text, 300);
    if (const std::optional<int64_t> quiet = quiet_for(schedule, *task, now)) {  // as if it were due then
        task->kept = "once " + std::to_string(now);
        task->next = now;
        task->hold = *quiet;
        task->text = "(" + line + ")\n" + task->text;
        schedule.save(*task);
        return set_alarm();
    }
    post.together([&] {
        task->state = "done";
        schedule.save(*task);
        schedule.fire(*task, now, "running", opening(*task, line));
    });
    advance(chat.place);
}

// To what is to end, as often as the conversation is opened.
void Hub::State::listen_to_ends(Chat& chat) {
    for (const TaskRow& task : schedule.tasks(chat.place))
        if (task.state == "active" && task.kept.starts_with("ends "))
            chat.warden->send(json::Value::object(
                {{"type", "task"}, {"what", "listen"}, {"id", std::to_string(task.id)}, {"text", task.kept.substr(5)}}));
}

}  // namespace peacrab
