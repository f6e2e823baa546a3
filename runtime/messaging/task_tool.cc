// A call of `task` comes out of the guest: the warden has checked it, and it is checked again, since the guest may be
// anybody's. Whose turn it is, who that person is and what time it is there are known here and nowhere else. What is
// set is told to the person by us, in words that no model has made.
#include "messaging/task_tool.h"

#include "channels/turn_view.h"
#include "error.h"
#include "messaging/hub_state.h"
#include "messaging/zone.h"
#include "policy.h"

namespace peacrab {
namespace {

constexpr const char* kGuestToo = "a guest has spoken in this turn, too: tell the person to ask once more, in a message of their own";
constexpr int64_t kMostSet = 30;  // of a conversation within an hour: each is told

int64_t unix_now() {
    return unix_ms() / 1000;
}

std::string name_of(const TaskRow& task) {
    return "Task " + std::to_string(task.id);
}

std::string zone_name(const std::string& zone) {
    return zone.empty() ? "UTC" : zone;
}

bool by_clock(const TaskRow& task) {
    return !task.kept.starts_with("ends ");
}

// "b3 ends"; "": it is no such thing.
std::string process_in(const std::string& when) {
    const bool so = when.size() > 6 && when.size() < 16 && when[0] == 'b' && when.ends_with(" ends");
    const std::string process = so ? when.substr(0, when.size() - 5) : "";
    return process.find_first_not_of("0123456789", 1) == std::string::npos ? process : "";
}

std::string timetable_words(const TaskRow& task) {
    if (!by_clock(task)) return "when " + split(task.kept, ' ')[1] + " ends";
    return in_words(read_kept(task.kept, task.zone));
}

// The next three, on the person's clock.
std::string next_words(const TaskRow& task, int64_t now) {
    if (!by_clock(task)) return {};
    const Timetable table = read_kept(task.kept, task.zone);
    std::vector<int64_t> moments;
    for (std::optional<int64_t> next = task.next > now ? std::optional(task.next) : next_after(table, now); next && moments.size() < 3;
         next = next_after(table, *next))
        moments.push_back(*next);
    const WallClock clock(zone_name(task.zone));
    std::string text;
    for (const int64_t each : moments) text += (text.empty() ? "" : "; ") + clock.words(each);
    return text.empty() ? "" : "next " + text + " (" + zone_name(task.zone) + ")";
}

std::string state_words(const TaskRow& task, int64_t now) {
    if (task.state == "paused") return "paused";
    if (task.state == "asks") return "waits for an owner's /tasks allow " + std::to_string(task.id);
    return next_words(task, now);
}

std::string firing_words(const FiringRow& firing, const std::string& zone) {
    static const std::pair<const char*, const char*> kOutcomes[] = {{"running", "under way"}, {"ok", "done"}, {"late", "done, late"}, {"gate", "its gate said no"}};
    std::string outcome = firing.outcome;
    for (const auto& [name, words] : kOutcomes)
        if (outcome == name) outcome = words;
    std::string text = WallClock(zone_name(zone)).words(firing.due) + ": " + outcome;
    if (!firing.note.empty() && firing.note != "no") text += ": " + one_line(firing.note, 150);
    if (firing.cost) text += ", " + money_words(*firing.cost);
    return text;
}

}  // namespace

std::string cost_in_words(Schedule& schedule, const TaskRow& task, int64_t now) {
    if (!by_clock(task)) return {};
    const Timetable table = read_kept(task.kept, task.zone);
    const int64_t times = times_a_month(table, now);
    const bool once = table.kind == Timetable::Kind::Once;
    const std::optional<int64_t> mean = schedule.mean_cost(task.place);
    const std::string how_often = once ? "" : " (" + std::to_string(times) + " times)";
    if (!mean) return once ? "What it will cost is unknown." : "What it will cost a month is unknown" + how_often + ".";
    const std::string most = task.gate.empty() ? "About " : "At most about ";
    return most + money_words(*mean * times) + (once ? "" : " a month") + how_often + ", as turns have cost so far.";
}

std::string tasks_in_words(Schedule& schedule, const std::vector<TaskRow>& tasks) {
    const int64_t now = unix_now();
    std::string text;
    for (const TaskRow& task : tasks) try {
            const std::vector<FiringRow> last = schedule.history(task.id, 1);
            text += (text.empty() ? "" : "\n") + std::to_string(task.id) + ": " + timetable_words(task) + "; " + state_words(task, now) +
                    (task.gate.empty() ? "" : "; gate: " + one_line(task.gate, 60)) + (task.skip ? "; skips what was missed" : "") + ": \"" +
                    one_line(task.text, 80) + "\"";
            if (!last.empty()) text += "; last " + firing_words(last[0], task.zone);
        } catch (const Error& error) {  // its zone was removed from the machine
            text += (text.empty() ? "" : "\n") + std::to_string(task.id) + ": " + one_line(error.what(), 150);
        }
    return text;
}

std::string history_in_words(Schedule& schedule, const TaskRow& task) {
    std::string text = name_of(task) + ":";
    for (const FiringRow& firing : schedule.history(task.id, 10)) text += "\n" + firing_words(firing, task.zone);
    return text + (text.ends_with(':') ? " it was never due" : "");
}

std::string change_task(Schedule& schedule, TaskRow task, const std::string& what) {
    const int64_t now = unix_now();
    if (what == "delete") {
        schedule.remove(task.id);
        return name_of(task) + " is deleted.";
    }
    if (what == "pause") {
        if (task.state == "active") task.state = "paused";
        schedule.save(task);
        return name_of(task) + " is paused.";
    }
    if (what == "allow") task.allowed = true;
    else if (task.state == "asks") throw Error("an owner has to allow it: /tasks allow " + std::to_string(task.id));
    if (by_clock(task)) {
        const std::optional<int64_t> next = next_after(read_kept(task.kept, task.zone), now);
        if (!next) throw Error("its time is over");
        task.next = *next;
    }
    task.state = "active";
    task.failures = task.hold = 0;
    schedule.save(task);
    return name_of(task) + " runs: " + next_words(task, now) + ".";
}

// Of those whose words the turn was told, the least trusted: any of them may have had it called.
Role Hub::State::role_in(const PlaceRow& place, const std::string& turn) {
    Role least = Role::Owner;
    for (const std::string& sender : post.speakers(place.id, turn)) least = std::min(least, door.role_of(place.channel, sender));
    return least;
}

std::string Hub::State::create_task(Chat& chat, const std::string& turn, const json::Value& arguments) {
    const int64_t now = unix_now();
    const std::optional<PlaceRow> place = post.place(chat.place);
    const std::optional<std::string> asker = schedule.asker(chat.place, turn);
    if (!asker || !schedule.asks_now(chat.place, turn, *asker)) throw Error("a task sets no task: the person has to say something first");
    if (door.role_of(place->channel, *asker) < Role::Member) throw Error("guests have no tasks; tell the person that an owner can make them a member");
    if (role_in(*place, turn) < Role::Member) throw Error(kGuestToo);
    if (schedule.tasks(chat.place).size() >= kMostTasks) throw Error("there are 20 tasks in this conversation: delete one first");
    if (schedule.tasks(0).size() >= kMostTasksInAll) throw Error("there are 200 tasks in all: some have to be deleted first");
    if (schedule.told_lately(chat.place) >= kMostSet) throw Error("more than 30 tasks were set within an hour: not now");
    Schedule::Person person = schedule.person(place->channel, *asker);
    const std::string said = arguments.text("zone");
    if (!said.empty()) (void)WallClock(said);  // throws
    TaskRow task;
    task.place = chat.place;
    task.channel = place->channel;
    task.sender = *asker;
    task.text = json::valid_utf8(arguments.text("text"));
    task.gate = json::valid_utf8(arguments.text("gate"));
    task.changed = arguments.flag("changed");
    task.skip = arguments.text("missed") == "skip";
    task.zone = said.empty() ? person.zone : said;
    task.created = now;
    std::string often;
    if (const std::string process = process_in(arguments.text("when")); !process.empty()) {
        task.kept = "ends " + process;
        if (!task.gate.empty()) throw Error("gate goes with a time");
    } else {
        const Timetable table = read_when(arguments.text("when"), task.zone, now);
        task.kept = kept_form(table);
        task.next = next_after(table, now).value_or(0);
        const int64_t gap = shortest_gap(table, now);
        if (gap > 0 && gap < kOften && task.gate.empty()) {
            task.state = "asks";
            often = "\nIt would run more often than every 15 minutes: it begins when an owner has said /tasks allow ";
        }
    }
    std::string told;
    post.together([&] {
        if (person.zone.empty() && !said.empty()) {
            person.zone = said;
            schedule.set_person(place->channel, *asker, person);
        }
        task.id = schedule.add(task);
        task = *schedule.task(task.id);
        const std::string number = std::to_string(task.id);
        told = "Task " + number + " is set: " + timetable_words(task);
        if (const std::string next = next_words(task, now); !next.empty()) told += ", " + next;
        told += "." + (by_clock(task) ? " " + cost_in_words(schedule, task, now) : std::string());
        if (!often.empty()) told += often + number + ".";
        post.enqueue(chat.place, Schedule::kTold + number, told + "\nIt says: \"" + one_line(task.text, 200) + "\"" +
                                         (task.gate.empty() ? "" : "\nGate: " + one_line(task.gate, 200)) + "\n/tasks shows all, /tasks delete " + number +
                                         " ends it.");
    });
    if (task.next > 0)
        if (const std::optional<int64_t> quiet = quiet_until(person.quiet, zone_name(person.zone), task.next))
            told += " The person is not disturbed then: it waits until " + WallClock(zone_name(person.zone)).words(*quiet) + ".";
    if (!by_clock(task)) listen_to_ends(chat);
    set_alarm();
    return told + " The person has been told this.";
}

void Hub::State::answer_task_call(Chat& chat, const json::Value& frame) {
    std::string text;
    bool well = false;
    try {
        ToolSet has;
        has.with = Partner::Person;
        const std::variant<Permit, Denied> checked = authorise({"", "task", frame.text("text")}, has);
        if (const Denied* const denied = std::get_if<Denied>(&checked)) throw Error(denied->why);
        const json::Value& arguments = std::get<Permit>(checked).arguments();
        const std::string action = arguments.text("action"), turn = frame.text("turn");
        if (action == "create") {
            text = create_task(chat, turn, arguments);
        } else if (action == "list") {
            const std::string all = tasks_in_words(schedule, schedule.tasks(chat.place));
            const std::optional<std::string> asker = schedule.asker(chat.place, turn);
            const std::optional<PlaceRow> place = post.place(chat.place);
            const std::string zone = zone_name(asker && place ? schedule.person(place->channel, *asker).zone : "");
            text = "It is " + WallClock(zone).words(unix_now()) + " (" + zone + ").\n" + (all.empty() ? "There are no tasks in this conversation." : all);
        } else {
            const std::optional<TaskRow> task = schedule.task(arguments.integer("id"));
            if (!task || task->place != chat.place) throw Error("there is no such task in this conversation; the action list shows them");
            const std::optional<std::string> asker = schedule.asker(chat.place, turn);
            if (action == "resume" && !asker) throw Error("a task resumes no task: the person has to say something first");
            if (action != "history" && asker && door.role_of(task->channel, *asker) < Role::Member)
                throw Error("guests change no tasks; tell the person that a member has to ask for it");
            if (const std::optional<PlaceRow> place = post.place(chat.place); action != "history" && role_in(*place, turn) < Role::Member)
                throw Error(kGuestToo);
            text = action == "history" ? history_in_words(schedule, *task) : change_task(schedule, *task, action);
        }
        well = true;
        set_alarm();
    } catch (const DamagedError&) {
        throw;
    } catch (const Error& error) {
        text = std::string("task: ") + error.what();
    }
    const int64_t place = chat.place;
    chat.warden->send(json::Value::object({{"type", "task"}, {"what", "result"}, {"id", frame.text("id")}, {"ok", well}, {"text", json::valid_utf8(text)}}));
    if (const std::optional<PlaceRow> row = post.place(place)) pump(row->channel);
}

// "/tasks", "/tasks all", "/tasks pause 3", "/tasks quiet 22:00-07:00", "/tasks zone Europe/Berlin"
std::string Hub::State::tasks_answer(const PlaceRow& place, const ArrivalRow& row, const std::string& rest) try {
    const Role role = door.role_of(place.channel, row.sender);
    const bool over_all = role == Role::Owner && !place.group;
    const std::vector<std::string> words = split(rest, ' ');
    const std::string what = lower(words[0]), with = words.size() > 1 ? words[1] : "";
    Schedule::Person person = schedule.person(place.channel, row.sender);
    if (what.empty() || (what == "all" && over_all)) {
        const std::string all = tasks_in_words(schedule, schedule.tasks(what.empty() ? place.id : 0));
        return (all.empty() ? "There are no tasks." : all) + "\nYour clock: " + (person.zone.empty() ? "not known" : person.zone) +
               ". /tasks pause N, resume N, delete N, history N; /tasks quiet 22:00-07:00; /tasks zone Europe/Berlin";
    }
    if (role < Role::Member) return "That is for members.";
    if (what == "zone" && !with.empty()) {
        (void)WallClock(with);
        person.zone = with;
        schedule.set_person(place.channel, row.sender, person);
        run_tasks(Look::Due);
        return "Your clock is that of " + with + ". Tasks that are set stay on the clock they were set by.";
    }
    if (what == "quiet" && !with.empty()) {
        person.quiet = read_quiet_hours(with);
        if (person.zone.empty() && person.quiet.from != person.quiet.until) return "First tell your time zone: /tasks zone Europe/Berlin";
        schedule.set_person(place.channel, row.sender, person);
        schedule.release_place(place.id);
        run_tasks(Look::Due);
        return person.quiet.from == person.quiet.until ? "You have no quiet hours." : "From " + with.substr(0, with.find('-')) + " to " +
               with.substr(with.find('-') + 1) + " nothing begins by itself. What you ask is answered at once.";
    }
    const bool number = !with.empty() && with.size() < 16 && with.find_first_not_of("0123456789") == std::string::npos;
    const bool known = what == "pause" || what == "resume" || what == "delete" || what == "history" || what == "allow";
    if (!known || !number) return "/tasks; /tasks pause, resume, delete, history or allow with a number; /tasks quiet; /tasks zone";
    const std::optional<TaskRow> task = schedule.task(std::stoll(with));
    if (!task || (task->place != place.id && !over_all)) return "There is no task " + with + " here.";
    if (what == "allow" && role != Role::Owner) return "That is for owners.";
    const std::string answer = what == "history" ? history_in_words(schedule, *task) : change_task(schedule, *task, what);
    if (const auto chat = chats.find(place.id); chat != chats.end()) listen_to_ends(*chat->second);
    run_tasks(Look::Due);
    return answer;
} catch (const DamagedError&) {
    throw;
} catch (const Error& error) {
    return one_line(error.what(), 300);
}

}  // namespace peacrab
