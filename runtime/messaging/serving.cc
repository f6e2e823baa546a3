// One of us at a time has the post: it is locked, and by nobody's child.
#include "messaging/serving.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "channels/turn_view.h"
#include "config.h"
#include "error.h"
#include "messaging/channel_run.h"
#include "messaging/task_tool.h"

namespace peacrab {
namespace {

std::string post_file() {
    make_directories(state_folder());
    return state_folder() + "/channels.db";
}

UniqueFd only_one() {
    const std::string path = post_file() + ".serve";
    UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock) throw ErrnoError("serve: " + path);
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) < 0) throw Error("another `serve` is at work with these channels: end it first");
    return lock;
}

UniqueFd signals_to_end() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, number);
    if (::sigprocmask(SIG_BLOCK, &set, nullptr) < 0) throw ErrnoError("serve: signals");
    UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd) throw ErrnoError("serve: signals");
    return fd;
}

}  // namespace

int serve_channels(const Serving& serving) {
    const std::vector<ChannelConfig> channels = load_channels(config_file());
    if (channels.empty()) throw Error("no channels: name one under `channels:` in " + config_file());
    (void)load_voice(config_file());
    only_one().reset();  // before anything is begun
    const UniqueFd signals = signals_to_end();
    const Serving::Agent agent = serving.begin();
    const UniqueFd lock = only_one();  // which what was begun must not have
    Loop loop;
    Hub hub(loop, {post_file(), agent.open_chat, agent.open_files, agent.opening, state_folder() + "/channel-files",
                   load_voice(config_file())});
    ChannelRun run(loop, hub, serving.adapter, channels, stored_secret);
    std::fprintf(stderr, "serving %zu channel%s; Ctrl-C ends it\n", channels.size(), channels.size() == 1 ? "" : "s");
    bool ends = false;
    loop.watch(signals.get(), POLLIN, [&ends](short) { ends = true; });
    bool lost = false;
    if (agent.life >= 0) loop.watch(agent.life, 0, [&lost](short) { lost = true; });
    while (!ends && !lost && !run.all_down()) try {
            loop.run_once(Milliseconds(60'000));
        } catch (const Error& error) {  // nothing is acknowledged that could not be stored
            log(LogLevel::Error, error.what());
            hub.mend();
            ::usleep(100'000);
        }
    if (lost) throw Error("serve: the agent's process has ended: start `serve` again");
    return ends ? 0 : 1;
}

namespace {

std::string ago(int64_t then) {
    const int64_t seconds = (unix_ms() - then) / 1000;
    if (then == 0) return "never";
    return seconds < 120 ? std::to_string(seconds) + " s ago" : std::to_string(seconds / 60) + " min ago";
}

bool serves() {
    const UniqueFd lock(::open((post_file() + ".serve").c_str(), O_RDWR | O_CLOEXEC));
    return lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) < 0;
}

}  // namespace

int list_channels() {
    const std::vector<ChannelConfig> channels = load_channels(config_file());
    if (channels.empty()) throw Error("no channels: `peacrab channel add telegram` makes the first");
    const bool served = serves();
    Post post(post_file());
    for (const ChannelConfig& channel : channels) {
        const std::string& name = channel.hub.name;
        const Post::Sign sign = post.sign(name);
        const Post::Counts counts = post.counts(name);
        std::printf("%s: %s, agent %s, heard %s", name.c_str(), sign.account.empty() ? "never connected" : one_line(sign.account).c_str(),
                    one_line(channel.hub.agent).c_str(), ago(sign.polled).c_str());
        if (!served) std::printf(", `serve` does not run");
        if (!sign.trouble.empty()) std::printf(", trouble: %s", one_line(sign.trouble).c_str());
        std::printf("; %lld to be answered, %lld to be sent, %lld unknown, %lld never delivered", static_cast<long long>(counts.waiting),
                    static_cast<long long>(counts.backlog), static_cast<long long>(counts.unknown), static_cast<long long>(counts.failed));
        if (counts.next && *counts.next > unix_ms()) std::printf(", next try in %lld s", static_cast<long long>((*counts.next - unix_ms()) / 1000));
        std::printf("\n");
    }
    return 0;
}

namespace {

constexpr int64_t kFirstDelivery = 1;

// What it told of itself is on standard error by then.
std::string why_not(const std::string& trouble) {
    if (trouble == "auth") return "it was not let in: the token is not taken";
    if (trouble == "conflict") return "it was not let in: another program is there with this token";
    return trouble == "network" ? "it could not be reached" : "it did not begin within half a minute";
}

// A channel in a folder of its own, gone at the end.
struct Trial {
    const std::vector<std::string>& adapter;
    const ChannelConfig& channel;
    const SecretSource& secrets;
    const std::string folder = state_folder() + "/channel-" + random_hex(6);
    Trial(const std::vector<std::string>& the_adapter, const ChannelConfig& the_channel, const SecretSource& the_secrets)
        : adapter(the_adapter), channel(the_channel), secrets(the_secrets) {
        make_directories(folder);
    }
    ~Trial() {
        for (const char* of : {"", "-wal", "-shm", ".lock"}) ::unlink((folder + "/post" + of).c_str());
        ::rmdir(folder.c_str());
    }
};

// Runs the channel until `done`, it is given up, or the time is over.
void run_until(const Trial& trial, Seconds limit, const std::function<bool(Post&)>& done) {
    Loop loop;
    Hub hub(loop, {trial.folder + "/post", {}});
    ChannelRun run(loop, hub, trial.adapter, {trial.channel}, trial.secrets);
    while (run.asking()) loop.run_once(Milliseconds(200));  // it may ask the person for them
    for (const Deadline patience = Deadline::in(limit); !done(hub.post()) && !patience.passed() && !run.all_down();) loop.run_once(Milliseconds(200));
}

void write_to_itself(const Trial& trial, const std::string& own) {
    Post post(trial.folder + "/post");
    Event event;
    event.key = event.id = "trial";
    event.conversation = event.sender = own;
    post.enqueue(post.place(trial.channel.hub.name, event).id, {}, "This is a trial: a channel was set up, and looks for this message. Code " + random_hex(4) + ".");
}

// Sent it is at the latest when the messenger has taken it; found, when a channel that has only begun says so.
bool settled(Post& post) {
    const std::optional<DeliveryRow> row = post.delivery(kFirstDelivery);
    if (row && row->state == "failed") throw Error("it could not send to itself: " + row->error);
    return row && row->state == "sent";
}

void find_it(const Trial& trial) {
    bool sent = false, found = false;
    {
        Post post(trial.folder + "/post");
        sent = settled(post);
        // As if nobody had said that it is out.
        post.database().prepare("UPDATE deliveries SET state = 'unknown', part = 0 WHERE row = ?").bind(kFirstDelivery).run();
    }
    if (sent) run_until(trial, Seconds(60), [&found](Post& post) { return found = settled(post); });
    if (!found) throw Error(trial.channel.hub.name + (sent ? ": what it sent to itself did not arrive" : ": it could not send to itself"));
}

}  // namespace

std::string try_channel(const std::vector<std::string>& adapter, const ChannelConfig& channel, const SecretSource& secrets,
                        const std::string& own) {
    const Trial trial(adapter, channel, secrets);
    if (!own.empty()) write_to_itself(trial, own);
    Post::Sign sign;
    std::optional<Deadline> out_of_reach;
    run_until(trial, Seconds(30), [&](Post& post) {
        sign = post.sign(channel.hub.name);
        if (sign.polled > 0) return own.empty() || settled(post);
        if (sign.trouble == "network" && !out_of_reach) out_of_reach = Deadline::in(Seconds(10));
        return out_of_reach && out_of_reach->passed();
    });
    if (sign.polled == 0) throw Error(channel.hub.name + ": " + why_not(sign.trouble));
    if (!own.empty()) find_it(trial);
    return sign.account;
}

namespace {

bool is_channel(const std::string& name) {
    const std::vector<ChannelConfig> channels = load_channels(config_file());
    return std::any_of(channels.begin(), channels.end(), [&](const ChannelConfig& each) { return each.hub.name == name; });
}

void list_people(Door& door) {
    const std::vector<Door::Person> people = door.people({});
    const std::vector<Door::Waiting> waiting = door.all_waiting({});
    for (const Door::Person& one : people)
        std::printf("%s\t%s\t%s\t%s\n", one.channel.c_str(), role_name(one.role), one_line(one.sender).c_str(), one_line(one.name).c_str());
    for (const Door::Waiting& one : waiting)
        std::printf("%s\twaits\t%s\t%s\n", one.channel.c_str(), one_line(one.sender).c_str(), one_line(one.name).c_str());
    if (people.empty() && waiting.empty()) std::fprintf(stderr, "nobody yet: `people pair CHANNEL` gives a code for the first\n");
}

}  // namespace

int people_command(const std::vector<std::string>& arguments) {
    const std::string what = arguments.empty() ? "" : arguments[0];
    Post post(post_file());
    Door door(post.database());
    if (what.empty()) {
        list_people(door);
        return 0;
    }
    if (what == "pair" && (arguments.size() == 2 || arguments.size() == 3)) {
        const std::optional<Role> role = role_from(arguments.size() == 3 ? arguments[2] : "owner");
        if (!role) throw UsageError("people: a role is owner, member or guest");
        if (!is_channel(arguments[1]))
            throw Error("people: there is no channel " + printable(arguments[1]) + ": `peacrab channel add " + printable(arguments[1]) + "` sets it up");
        const std::string code = door.make_code(arguments[1], *role);
        std::fprintf(stderr, "Send this to the agent on %s, in a direct chat, within ten minutes:\n", arguments[1].c_str());
        std::printf("%s\n", code.c_str());
        return 0;
    }
    if (what == "remove" && arguments.size() == 3) {
        if (door.role_of(arguments[1], arguments[2]) == Role::None) throw Error("there is nobody of that id");
        door.set_role(arguments[1], arguments[2], {}, Role::None);
        return 0;
    }
    if (what == "explain" && arguments.size() == 2) {
        const std::optional<std::string> words = explain(post, arguments[1]);
        if (!words) throw Error("people: there is no message " + printable(arguments[1]) + ", or it was more than 30 days ago");
        std::printf("%s\n", words->c_str());
        return 0;
    }
    throw UsageError("people: nothing, `pair CHANNEL [ROLE]`, `remove CHANNEL ID` or `explain MESSAGE` was expected");
}

// A `serve` that runs hears of it when we close the post.
int tasks_command(const std::vector<std::string>& arguments) {
    Post post(post_file());
    Schedule schedule(post.database());
    if (arguments.empty()) {
        const std::vector<TaskRow> tasks = schedule.tasks(0);
        if (tasks.empty()) std::fprintf(stderr, "no tasks yet: an agent sets them when a person asks for one\n");
        for (const TaskRow& task : tasks) {
            const std::optional<PlaceRow> place = post.place(task.place);
            const std::string where = !place ? "" : place->title.empty() ? place->conversation : place->title;
            std::printf("%s %s\t%s\n", one_line(task.channel).c_str(), one_line(where, 60).c_str(), tasks_in_words(schedule, {task}).c_str());
        }
        return 0;
    }
    const std::string what = arguments[0], number = arguments.size() == 2 ? arguments[1] : "";
    const bool known = what == "pause" || what == "resume" || what == "delete" || what == "history" || what == "allow";
    if (!known || number.empty() || number.size() > 15 || number.find_first_not_of("0123456789") != std::string::npos)
        throw UsageError("tasks: nothing, or pause, resume, delete, history or allow with a number was expected");
    const std::optional<TaskRow> task = schedule.task(std::stoll(number));
    if (!task) throw Error("there is no task " + number);
    std::printf("%s\n", (what == "history" ? history_in_words(schedule, *task) : change_task(schedule, *task, what)).c_str());
    return 0;
}

}  // namespace peacrab
