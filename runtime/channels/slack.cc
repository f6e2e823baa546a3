// One thread: do what the warden wants and what is due, then listen for as long as nothing is due. An envelope is
// answered when what was in it is stored, and not before: what is not answered comes again. Slack ends each socket
// every few hours; the next one is open before, so that there is no time in which nobody listens. When there was one,
// what was said in it is looked up.
#include "channels/slack.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <list>
#include <random>
#include <utility>

#include "channels/channel_files.h"
#include "channels/outbox.h"
#include "channels/slack_api.h"
#include "channels/slack_catch_up.h"
#include "channels/slack_event.h"
#include "channels/slack_poster.h"
#include "error.h"
#include "protocols/websocket.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Kind = SlackAnswer::Kind;

constexpr Milliseconds kMinute{60'000};
constexpr Milliseconds kAliveAgain{20'000};
constexpr Milliseconds kLongestBackoff{30'000};
constexpr Milliseconds kGreeting{15'000};  // a socket that has not said hello by then is none
constexpr Milliseconds kRetires{2'000};    // what is on its way on the old one when the new one is open
constexpr Milliseconds kGoodRun{10'000};   // of a socket: then the next one is opened at once
constexpr Milliseconds kFirstCursor{2'000};
constexpr Milliseconds kNamesLimit{1'500};  // for all names of an event: it has to be answered within three seconds
constexpr Milliseconds kLookAgain{20'000};  // whether the other program has gone
constexpr Milliseconds kNamesAgain{30'000};  // after Slack had none to give just now
constexpr size_t kMostNames = 2'000;
constexpr json::Limits kEnvelopeLimits{size_t{8} << 20, 40};

Milliseconds patience_of(const json::Value& settings) {
    const std::string text = settings.text("patience", "300");
    if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != std::string::npos)
        throw Error("slack: patience: a number of seconds is needed");
    return Milliseconds(std::stoll(text) * 1000);
}

class Slack {
  public:
    Slack(ChannelPort& port, const ChannelPort::Start& start)
        : port_(port),
          api_(start.settings.text("api", "https://slack.com/api"), port.take_secret("token"), port.take_secret("app")),
          patience_(patience_of(start.settings)),
          random_(std::random_device{}()) {
        self_.threads = start.settings.text("threads") == "true";
        if (start.cursor) cursor_ = SlackCursor(*start.cursor);
    }
    int run();

  private:
    struct Link {
        std::unique_ptr<WebSocket> socket;
        Time opened{}, until{};  // until: then it is closed, because the next one is open
        bool greeted = false;
        bool leaving = false;  // Slack will end it soon
        bool gone = false;
    };

    bool over() const { return ended_ || port_.ended(); }
    void stand_down(const char* kind, const std::string& text);
    void wait(Milliseconds span);
    Milliseconds backoff();
    Milliseconds look_again() const { return std::min(kLookAgain, patience_ / 3 + Milliseconds(100)); }
    void note_trouble(const std::string& text);

    bool introduce();
    void say_hello();
    bool take_frames(Deadline deadline);
    void take(const json::Value& frame);
    void work();
    Time next_due();
    void listen(Time until);

    bool listens() const;     // a socket is open, and said hello
    bool wants_link() const;  // there is none that will stay
    void open_link();
    void opening_failed(const SlackAnswer& answer);
    void read(Link& link, Milliseconds most);
    void take_message(Link& link, const std::string& text);
    void greeted(Link& link, const json::Value& hello);
    void others_are_there(Link& link);
    void told_to_go(Link& link, const std::string& reason);
    void lost(Link& link, const WebSocketEvent& event);
    void take_envelope(Link& link, const json::Value& envelope);
    bool store(std::optional<json::Value> event);
    bool take_history(const std::vector<const json::Value*>& messages);
    void learn_names(const std::vector<std::string>& ids, Deadline deadline);
    std::string name_of(const std::string& id, Deadline deadline);
    void note_alive();

    ChannelPort& port_;
    SlackApi api_;
    const Milliseconds patience_;
    std::minstd_rand random_;
    SlackPoster poster_{port_, api_};
    Outbox outbox_{port_, poster_, SlackPoster::pace()};
    SlackCursor cursor_;
    SlackCatchUp catch_up_{api_, [this](const std::vector<const json::Value*>& found) { return take_history(found); }};
    SlackSelf self_;
    std::string name_, team_, app_;
    SlackNames names_;
    Time names_after_{};
    std::optional<int> ended_;
    bool stopping_ = false;

    std::list<Link> links_;
    Time next_open_{};
    bool settled_ = false;  // we were let in, and nobody else was there
    Time others_since_{};
    bool hello_said_ = false;
    Time first_cursor_ = Time::max();
    Time last_alive_{};
    int failures_ = 0;  // in a row
    bool troubled_ = false;
};

void Slack::stand_down(const char* kind, const std::string& text) {
    port_.trouble(kind, text);
    ended_ = kExitStandDown;
}

Milliseconds Slack::backoff() {
    failures_ = std::min(failures_ + 1, 16);
    const int64_t most = std::min<int64_t>(kLongestBackoff.count(), int64_t{1000} << (failures_ - 1));
    return Milliseconds(std::uniform_int_distribution<int64_t>(most / 2, most)(random_));
}

// Once for a time of trouble.
void Slack::note_trouble(const std::string& text) {
    if (std::exchange(troubled_, true)) return;
    port_.trouble("network", text);
}

// Frames are taken meanwhile.
void Slack::wait(Milliseconds span) {
    for (const Deadline deadline = Deadline::in(span); !deadline.passed() && !over() && !stopping_;)
        (void)take_frames(deadline);
}

bool Slack::introduce() {
    while (!over() && !stopping_) {
        const SlackAnswer answer = api_.call("auth.test", {});
        self_.user = answer.body.text("user_id");
        self_.bot = answer.body.text("bot_id");
        name_ = answer.body.text("user");
        team_ = answer.body.text("team_id");
        if (answer.ok() && !self_.user.empty()) break;
        if (answer.kind == Kind::Auth) {
            stand_down("auth", "Slack does not take the token of the bot (" + answer.error +
                                   "): copy it again from OAuth & Permissions");
            break;
        }
        note_trouble(answer.failure.error);
        wait(std::max(backoff(), answer.failure.retry));
    }
    failures_ = 0;
    troubled_ = false;
    poster_.set_self(self_.user);
    // Not needed to go on.
    const SlackAnswer card = over() ? SlackAnswer() : api_.call("bots.info", SlackForm().add("bot", self_.bot));
    if (const json::Value* const bot = card.body.find("bot")) app_ = bot->text("app_id");
    return !over() && !stopping_;
}

// When both tokens have shown that they are good.
void Slack::say_hello() {
    if (std::exchange(hello_said_, true)) return;
    const OutboxPace pace = SlackPoster::pace();
    port_.hello("slack", team_ + "/" + self_.user, "@" + name_,
                json::Value::object({{"edits", static_cast<int64_t>(pace.between_shown.count())},
                                     {"edits_group", static_cast<int64_t>(pace.between_shown_group.count())},
                                     {"typing", 0},
                                     {"dedupe", "lookup"},
                                     {"files", int64_t{100} << 20},
                                     {"text", static_cast<int64_t>(SlackPoster::kText)},
                                     {"buttons", static_cast<int64_t>(SlackPoster::kButtons)}}));
}

// ---- what the warden wants

// False: there were none.
bool Slack::take_frames(Deadline deadline) {
    bool some = false;
    for (std::optional<json::Value> frame = port_.receive(deadline); frame; frame = port_.receive(Deadline())) {
        take(*frame);
        some = true;
    }
    return some;
}

void Slack::take(const json::Value& frame) {
    const std::string type = frame.text("type");
    if (type == "stop") {
        stopping_ = true;
    } else if (type == "resolve") {
        poster_.take_resolve(frame);
    } else if (type == "fetch") {
        const std::string address = frame.text("handle");
        if (!api_.has_file(address)) return port_.not_fetched(frame.text("id"), "it does not lie with Slack");
        answer_fetch(port_, frame, address, {api_.bot_header()}, "Slack's server");
    } else {
        (void)outbox_.take(frame);
    }
}

void Slack::work() {
    outbox_.work();
    poster_.work();
    if (const std::optional<ChannelFailure> refused = poster_.take_auth())
        return stand_down("auth", refused->error + ": the app was removed, or its token is no good any more");
    if (const std::optional<ChannelFailure> trouble = outbox_.take_trouble()) note_trouble(trouble->error);
    const Time now = Clock::now();
    if (now >= first_cursor_ && listens()) {
        first_cursor_ = Time::max();
        (void)port_.store({}, cursor_.dump());
    }
    if (catch_up_.due() <= now && listens() && !over()) {
        const bool ran = catch_up_.running();
        if (const std::string why = catch_up_.step(); !why.empty()) port_.trouble("network", why);
        if (!ran || catch_up_.running() || over()) return;
        cursor_.close_gap();
        failures_ /= 2;  // all is well, for now: what breaks each time is tried less and less often all the same
        (void)port_.store({}, cursor_.dump());
    }
}

Time Slack::next_due() {
    Time due = std::min({outbox_.next_due(), poster_.next_due()});
    if (stopping_) return due;
    if (listens()) due = std::min({due, catch_up_.due(), first_cursor_, last_alive_ + kAliveAgain});
    if (wants_link()) due = std::min(due, next_open_);
    for (const Link& link : links_) {
        if (link.until != Time{}) due = std::min(due, link.until);
        if (!link.greeted) due = std::min(due, link.opened + kGreeting);
    }
    return due;
}

void Slack::note_alive() {
    const Time now = Clock::now();
    if (!hello_said_ || !listens() || now - last_alive_ < kAliveAgain) return;
    last_alive_ = now;
    troubled_ = false;
    port_.alive();
}

// ---- sockets

bool Slack::listens() const {
    return std::any_of(links_.begin(), links_.end(), [](const Link& link) { return link.greeted && !link.gone; });
}

bool Slack::wants_link() const {
    return std::all_of(links_.begin(), links_.end(), [](const Link& link) { return link.leaving || link.gone; });
}

void Slack::open_link() {
    const SlackAnswer answer = api_.call("apps.connections.open", {}, {.as = SlackApi::As::App});
    if (!answer.ok()) return opening_failed(answer);
    WebSocketOptions options;
    options.url = answer.body.text("url");
    if (!api_.has_socket(options.url)) {
        note_trouble("Slack's server names a socket that is none");
        next_open_ = Clock::now() + backoff();
        return;
    }
    options.environment = true;
    options.message_limit = Bytes{kEnvelopeLimits.max_bytes};
    WebSocket::Opened opened = WebSocket::open(options);
    if (!opened.socket) {
        if (!opened.detail.empty()) note_trouble(opened.detail);
        next_open_ = Clock::now() + backoff();
        return;
    }
    links_.push_back({std::move(opened.socket), Clock::now()});
}

void Slack::opening_failed(const SlackAnswer& answer) {
    if (answer.kind == Kind::Auth || answer.error == "missing_scope")
        return stand_down("auth", "Slack does not take the token of the app (" + answer.error +
                                      "): it has to be an app-level token with connections:write, of this app");
    if (answer.error.find("socket_mode") != std::string::npos || answer.error == "forbidden_team")
        return stand_down("auth", "Socket Mode is off for this app (" + answer.error + "): turn it on in its settings");
    note_trouble(answer.failure.error);
    next_open_ = Clock::now() + std::max(backoff(), answer.failure.retry);
}

// For a while; frames of the warden end that.
void Slack::listen(Time until) {
    const auto span = [&] {
        return std::chrono::ceil<Milliseconds>(
            std::clamp<Clock::duration>(until - Clock::now(), Milliseconds(0), kMinute));
    };
    if (links_.empty()) {
        (void)take_frames(Deadline::in(span()));
        return;
    }
    const bool several = links_.size() > 1;
    for (Link& link : links_) {
        if (!link.gone) read(link, several ? std::min(span(), Milliseconds(50)) : span());
        if (over()) return;
    }
    const Time now = Clock::now();
    for (Link& link : links_) {
        if (link.gone) continue;
        const bool retired = link.until != Time{} && now >= link.until;
        const bool silent = !link.greeted && now >= link.opened + kGreeting;
        if (silent) note_trouble("Slack's server opened a socket, and said nothing on it");
        if (silent) next_open_ = now + backoff();
        if (!retired && !silent) continue;
        link.socket->close(1000, "");
        link.gone = true;
    }
    std::erase_if(links_, [](const Link& link) { return link.gone; });
}

void Slack::read(Link& link, Milliseconds most) {
    const WebSocketEvent event = link.socket->next(most, port_.wake_fd());
    if (event.kind == WebSocketEvent::Kind::Text) take_message(link, event.data);
    if (event.kind == WebSocketEvent::Kind::Closed) lost(link, event);
}

void Slack::lost(Link& link, const WebSocketEvent& event) {
    link.gone = true;
    const bool heard = listens();
    if (link.greeted && !heard) cursor_.open_gap();
    if (link.leaving || !wants_link()) return;  // the next one is asked for, or there already
    const Time now = Clock::now();
    if (now - link.opened > kGoodRun && link.greeted) {
        next_open_ = now;
    } else {
        next_open_ = now + backoff();
        note_trouble("Slack's server closed the socket: " + std::to_string(event.code) + " " + event.data);
    }
}

void Slack::take_message(Link& link, const std::string& text) {
    json::Value message;
    try {
        message = json::parse(text, kEnvelopeLimits);
    } catch (const Error& error) {
        return port_.trouble("network", "Slack sent something that cannot be read, and it was left out: " +
                                            std::string(error.what()));
    }
    const std::string type = message.text("type");
    if (type == "hello") return greeted(link, message);
    if (type == "disconnect") return told_to_go(link, message.text("reason"));
    if (message.text("envelope_id").empty()) return;
    take_envelope(link, message);
}

void Slack::greeted(Link& link, const json::Value& hello) {
    link.greeted = true;
    const json::Value* const info = hello.find("connection_info");
    if (const std::string app = info ? info->text("app_id") : ""; !app.empty() && !app_.empty() && app != app_)
        return stand_down("auth", "the two tokens are of different apps: " + app_ + " and " + app);
    if (!settled_ && hello.integer("num_connections", 1) > 1) return others_are_there(link);
    settled_ = true;
    others_since_ = {};
    troubled_ = false;
    for (Link& other : links_)
        if (&other != &link && !other.gone) other.until = Clock::now() + kRetires;
    if (!cursor_.known()) {
        cursor_.begin(std::to_string(std::time(nullptr)) + ".000000");
        first_cursor_ = Clock::now() + kFirstCursor;
    } else if (!hello_said_ || cursor_.has_gap()) {
        cursor_.open_gap();
        catch_up_.begin(cursor_);
    }
    say_hello();
    note_alive();
}

// Somebody else has this app's events too, and Slack gives each to one of us. Who has just begun gives way; what it was
// given meanwhile is not answered, and comes to the other one.
void Slack::others_are_there(Link& link) {
    const Time now = Clock::now();
    if (others_since_ == Time{}) others_since_ = now;
    link.gone = true;
    link.socket->close(1000, "");
    if (now - others_since_ >= patience_)
        return stand_down("conflict",
                          "another program is connected to Slack as this app, and would get a part of what is said: "
                          "end that one, or make this one an app of its own");
    note_trouble("another program is connected to Slack as this app: waiting for it to go");
    next_open_ = now + look_again();
}

void Slack::told_to_go(Link& link, const std::string& reason) {
    if (reason == "link_disabled")
        return stand_down("auth", "Socket Mode was turned off for this app: turn it on in its settings");
    if (reason == "too_many_websockets") {
        link.gone = true;
        next_open_ = Clock::now() + look_again();
        return note_trouble("Slack gives this app no more sockets: too many programs are connected as it");
    }
    if (!std::exchange(link.leaving, true)) next_open_ = {};
}

// ---- receiving

void Slack::take_envelope(Link& link, const json::Value& envelope) {
    const json::Value* const payload = envelope.find("payload");
    const std::string type = envelope.text("type");
    static const json::Value nothing;
    const json::Value* const inner = payload ? payload->find("event") : nullptr;
    const json::Value& event = inner ? *inner : nothing;
    bool kept = true;
    try {
        const Deadline deadline = Deadline::in(kNamesLimit);
        if (type == "events_api") {
            if (read_slack_event(event, self_, names_)) {
                learn_names(slack_ids(event), deadline);
                kept = store(read_slack_event(event, self_, names_));
            }
        } else if (type == "slash_commands" && payload) {
            learn_names({payload->text("user_id"), payload->text("channel_id")}, deadline);
            kept = store(read_slack_command(*payload, names_));
        } else if (type == "interactive" && payload && read_slack_press(*payload, self_, names_)) {
            const json::Value* const user = payload->find("user");
            learn_names({user->text("id")}, deadline);
            kept = store(read_slack_press(*payload, self_, names_));
        }
    } catch (const Error& error) {
        log(LogLevel::Error, "slack: an event was left out: " + std::string(error.what()));
    }
    if (!kept) return;
    link.socket->send(json::dump(json::Value::object({{"envelope_id", envelope.text("envelope_id")}})));
    failures_ = 0;
    note_alive();
}

// False: it is over, and nothing was stored.
bool Slack::store(std::optional<json::Value> event) {
    if (!event) return true;
    if (event->text("kind") != "press") cursor_.note(*event);  // that names a message of ours
    std::vector<Arrived> arrived;
    const std::string cursor = cursor_.dump();
    arrived.push_back({std::move(*event), cursor});
    return port_.store(std::move(arrived), cursor);
}

bool Slack::take_history(const std::vector<const json::Value*>& messages) {
    std::vector<Arrived> arrived;
    const Deadline deadline = Deadline::in(Seconds(10));
    for (const json::Value* message : messages) {
        if (!read_slack_event(*message, self_, names_)) continue;
        learn_names(slack_ids(*message), deadline);
        std::optional<json::Value> event = read_slack_event(*message, self_, names_);
        cursor_.note(*event);
        arrived.push_back({std::move(*event), cursor_.dump()});
    }
    const std::string cursor = cursor_.dump();
    return arrived.empty() || port_.store(std::move(arrived), cursor);
}

// What cannot be learnt is its id, and is not asked for again.
void Slack::learn_names(const std::vector<std::string>& ids, Deadline deadline) {
    for (const std::string& id : ids) {
        if (id.empty() || names_.contains(id) || deadline.passed() || Clock::now() < names_after_) continue;
        if (names_.size() >= kMostNames) names_.clear();
        const std::string name = name_of(id, deadline);
        if (!name.empty()) names_[id] = name;
    }
}

// "": not now.
std::string Slack::name_of(const std::string& id, Deadline deadline) {
    const bool place = is_slack_place(id);
    if (place && id.starts_with('D')) return id;
    const SlackApi::Options options{.limit = std::max(deadline.left(), Milliseconds(100))};
    const SlackAnswer answer =
        api_.call(place ? "conversations.info" : "users.info", SlackForm().add(place ? "channel" : "user", id), options);
    if (!answer.ok() && (answer.error.empty() || answer.failure.retry > Milliseconds(0))) {
        names_after_ = Clock::now() + std::max(answer.failure.retry, kNamesAgain);
        return {};
    }
    if (!answer.ok()) return id;
    const json::Value* const card = answer.body.find(place ? "channel" : "user");
    if (!card) return id;
    if (place) return "#" + card->text("name", id);
    const json::Value* const profile = card->find("profile");
    for (const std::string& name : {profile ? profile->text("display_name") : "", card->text("real_name"), card->text("name")})
        if (!name.empty()) {
            std::string shown(utf8_prefix(name, 100));
            std::replace_if(shown.begin(), shown.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
            return shown;
        }
    return id;
}

int Slack::run() {
    if (!introduce()) return ended_.value_or(0);
    while (!over()) {
        (void)take_frames(Deadline());
        if (over()) break;
        work();
        // Storing has read on, and what it kept wakes nobody.
        if (over() || take_frames(Deadline())) continue;
        const Time now = Clock::now();
        if (stopping_ && outbox_.idle() && poster_.idle()) break;
        if (!stopping_ && now >= next_open_ && wants_link()) {
            open_link();
            continue;
        }
        listen(next_due());
        note_alive();
    }
    for (Link& link : links_)
        if (!link.gone) link.socket->close(1000, "");
    return ended_.value_or(0);
}

}  // namespace

int run_slack(ChannelPort& port, const ChannelPort::Start& start) {
    return run_adapter<Slack>(port, start);
}

}  // namespace peacrab
