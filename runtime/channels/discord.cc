// One thread: do what the warden wants and what is due, then listen to the gateway for as long as nothing is due. A
// frame cuts that short. Where we are in what Discord tells (session and number) goes into the cursor with the events
// it led to, and nowhere before: after a crash the gateway tells again what was not stored. When there is no session
// to go on with, each conversation is asked for what was said since, and only then a cursor has the new session in it.
#include "channels/discord.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "channels/channel_files.h"
#include "channels/discord_api.h"
#include "channels/discord_cursor.h"
#include "channels/discord_event.h"
#include "channels/discord_gaps.h"
#include "channels/discord_gateway.h"
#include "channels/discord_poster.h"
#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Kind = DiscordSignal::Kind;

constexpr Milliseconds kMinute{60'000};
constexpr Milliseconds kAliveAgain{5'000};
constexpr Milliseconds kLongestBackoff{60'000};
constexpr Milliseconds kGuildsPatience{10'000};  // until all servers were told of
constexpr Milliseconds kStoreAgain{15'000};      // of a cursor without events
constexpr size_t kMostArrived = 100;
constexpr size_t kMostNames = 5'000;
constexpr size_t kMostGuilds = 2'500;
constexpr uint64_t kEpochMs = 1'420'070'400'000;
constexpr const char* kNoToken = "Discord does not take this token: under Bot, \"Reset Token\" shows a new one";
constexpr const char* kFiles[] = {"https://cdn.discordapp.com/", "https://media.discordapp.net/"};
constexpr int64_t kTextKinds[] = {0, 2, 5, 10, 11, 12, 13};  // channels in which messages are written

class Discord {
  public:
    Discord(ChannelPort& port, const ChannelPort::Start& start);
    int run();

  private:
    bool over() const { return ended_ || port_.ended(); }
    void stand_down(const std::string& text);
    void wait(Milliseconds span);
    Milliseconds backoff();
    void note_trouble(const std::string& why);
    void note_alive();

    bool introduce();
    void say_hello();
    void connect();
    std::optional<std::string> gateway_url();
    void listen(Milliseconds most);
    void take_signal(DiscordSignal& signal);
    void on_ready(const json::Value& data);
    void on_told(const std::string& type, const json::Value& data);
    void on_guild(const json::Value& guild);
    void note_channel(const json::Value& channel, const std::string& guild, bool was_away);
    void on_message(const json::Value& message);
    void arrive(const json::Value& message, bool direct, bool edit);
    void on_press(const json::Value& interaction);
    void answer_presses();

    // All that was said before what the gateway tells is stored, or on its way.
    bool settled() const { return !filling_ && gaps_.empty() && (guilds_.empty() || Clock::now() > guilds_until_); }
    void fill_gap();
    void store();

    void take_frames(Deadline deadline);
    void fetch(const json::Value& frame);
    void work();

    ChannelPort& port_;
    DiscordApi api_;
    DiscordGateway gateway_;
    DiscordPoster poster_{api_};
    Outbox outbox_{port_, poster_, DiscordPoster::pace()};
    std::minstd_rand random_{std::random_device{}()};
    DiscordSelf self_;
    std::optional<int> ended_;
    bool stopping_ = false, greeted_ = false;
    bool let_in_ = false;  // by this connection

    DiscordCursor cursor_;
    std::vector<Arrived> arrived_;
    std::vector<std::string> presses_;  // where those that are stored by then are answered
    std::string stored_;  // the cursor
    bool whole_ = true;   // it has the session in it
    Time next_store_{};

    DiscordGaps gaps_;
    Time next_gap_{};
    bool filling_ = false;
    std::vector<std::string> guilds_;  // that were announced, and not told of yet
    Time guilds_until_{};
    uint64_t away_since_ = 0;  // the newest message before this session; 0: there was none
    std::map<uint64_t, std::string> names_;  // of channels

    Time next_connect_{};
    Time last_alive_{};
    int failures_ = 0;  // in a row
    bool troubled_ = false;
};

Discord::Discord(ChannelPort& port, const ChannelPort::Start& start)
    : port_(port),
      api_(start.settings.text("api", "https://discord.com/api/v10"), port.take_secret("token")),
      gateway_(api_.token().clone(), api_.base().starts_with("https:")) {
    api_.before = [this] {
        if (gateway_.is_open()) gateway_.keep_alive(2 * DiscordApi::kLimit);
    };
    if (!start.cursor) return;
    try {
        cursor_ = read_discord_cursor(*start.cursor);
    } catch (const Error& error) {  // what is told from now on
        log(LogLevel::Error, "discord: the cursor was not taken: " + std::string(error.what()));
    }
    gateway_.session() = cursor_.session;
    stored_ = *start.cursor;
    next_store_ = Clock::now() + kStoreAgain;
}

void Discord::stand_down(const std::string& text) {
    port_.trouble("auth", text);
    ended_ = kExitStandDown;
}

Milliseconds Discord::backoff() {
    failures_ = std::min(failures_ + 1, 16);
    const int64_t most = std::min<int64_t>(kLongestBackoff.count(), int64_t{500} << (failures_ - 1));
    return Milliseconds(std::uniform_int_distribution<int64_t>(most / 2, most)(random_));
}

// Once for a time of trouble.
void Discord::note_trouble(const std::string& why) {
    if (troubled_ || failures_ == 0) return;
    troubled_ = true;
    port_.trouble("network", why);
}

void Discord::note_alive() {
    if (!let_in_) return;
    failures_ = 0;
    troubled_ = false;
    const Time now = Clock::now();
    if (last_alive_ != Time{} && now - last_alive_ < kAliveAgain) return;
    last_alive_ = now;
    port_.alive();
}

// Frames are taken meanwhile.
void Discord::wait(Milliseconds span) {
    for (const Deadline deadline = Deadline::in(span); !deadline.passed() && !over() && !stopping_;)
        take_frames(deadline);
}

bool Discord::introduce() {
    while (!over() && !stopping_) {
        const DiscordAnswer answer = api_.get("/users/@me");
        self_ = {answer.result.text("id"), answer.result.text("username")};
        if (answer.ok() && discord_id(self_.id)) break;
        if (answer.kind == DiscordAnswer::Kind::Auth) {
            stand_down(kNoToken);
            break;
        }
        const Milliseconds span = std::max(backoff(), answer.failure.retry);
        note_trouble(answer.ok() ? "Discord does not say who we are" : answer.failure.error);
        wait(span);
    }
    failures_ = 0;
    troubled_ = false;
    return !over() && !stopping_;
}

// Only when the gateway has let us in: a token can be good and still not be allowed to hear anything.
void Discord::say_hello() {
    if (std::exchange(greeted_, true)) return;
    port_.hello("discord", self_.id, "@" + self_.name,
                json::Value::object({{"edits", static_cast<int64_t>(DiscordPoster::pace().between_shown.count())},
                                     {"typing", static_cast<int64_t>(DiscordPoster::kTypingLease.count())},
                                     {"dedupe", "key"},
                                     {"files", DiscordPoster::kFile},
                                     {"text", static_cast<int64_t>(DiscordPoster::kText)},
                                     {"buttons", static_cast<int64_t>(DiscordPoster::kButtons)}}));
}

// ---- the connection

// Where a session of ours can go on, or a new one begin; of these there are a thousand a day. Nothing: later.
std::optional<std::string> Discord::gateway_url() {
    const DiscordAnswer answer = api_.get("/gateway/bot");
    if (answer.kind == DiscordAnswer::Kind::Auth) {
        stand_down(kNoToken);
        return std::nullopt;
    }
    if (!answer.ok()) {
        next_connect_ = Clock::now() + std::max(backoff(), answer.failure.retry);
        note_trouble(answer.failure.error);
        return std::nullopt;
    }
    const json::Value* const limit = answer.result.find("session_start_limit");
    if (gateway_.session().id.empty() && limit && limit->is_object() && limit->integer("remaining", 1) <= 0) {
        const Milliseconds span{std::clamp<int64_t>(limit->integer("reset_after"), 1'000, 86'400'000)};
        next_connect_ = Clock::now() + span;
        failures_ = std::max(failures_, 1);
        note_trouble("Discord lets this bot begin no more sessions today; next try in " +
                     std::to_string(span.count() / 60'000 + 1) + " min");
        return std::nullopt;
    }
    return answer.result.text("url");
}

void Discord::connect() {
    const bool goes_on = !gateway_.session().id.empty();
    if (const Milliseconds patience = gateway_.patience(); !goes_on && patience > Milliseconds(0)) {
        next_connect_ = Clock::now() + patience;
        return;
    }
    std::string url;
    if (!goes_on || gateway_.session().url.empty()) {
        const std::optional<std::string> said = gateway_url();
        if (!said) return;
        url = *said;
    }
    let_in_ = false;
    DiscordSignal signal = gateway_.open(url);
    take_signal(signal);
}

void Discord::take_signal(DiscordSignal& signal) {
    switch (signal.kind) {
        case Kind::Nothing: return;
        case Kind::Alive: return note_alive();
        case Kind::Ready:
        case Kind::Resumed:
            let_in_ = true;
            say_hello();
            if (signal.kind == Kind::Ready) on_ready(signal.data);
            else failures_ = std::min(failures_, 1);  // there is no end of these; of sessions there is
            return;
        case Kind::Told: return on_told(signal.type, signal.data);
        case Kind::Refused: return stand_down(signal.why);
        case Kind::Lost: break;
    }
    // The first time at once: most of them are asked for.
    const Milliseconds span = failures_ == 0 ? (++failures_, Milliseconds(100)) : backoff();
    next_connect_ = Clock::now() + std::max(span, signal.wait);
    if (failures_ > 1) note_trouble(signal.why);
}

void Discord::listen(Milliseconds most) {
    DiscordSignal signal = gateway_.next(most, port_.wake_fd());
    take_signal(signal);
    while (signal.kind != Kind::Nothing && gateway_.is_open() && !over() && arrived_.size() < kMostArrived) {
        signal = gateway_.next(Milliseconds(0), -1);
        take_signal(signal);
    }
}

// ---- what is told

void Discord::on_ready(const json::Value& data) {
    const bool first = cursor_.mark == 0;
    if (first) {  // what was said before there was a bot is not for it
        const auto now = std::chrono::system_clock::now().time_since_epoch();
        const int64_t ms = std::chrono::duration_cast<Milliseconds>(now).count() - static_cast<int64_t>(kEpochMs);
        cursor_.mark = static_cast<uint64_t>(std::max<int64_t>(ms, 1)) << 22;
    }
    away_since_ = first ? 0 : cursor_.mark;
    guilds_.clear();
    for (const auto& [channel, place] : cursor_.places) gaps_.add({channel, place.last, place.direct});
    const json::Value* const guilds = data.find("guilds");
    if (guilds && guilds->is_array())
        for (const json::Value& guild : guilds->items())
            if (guilds_.size() < kMostGuilds && guild.is_object()) guilds_.push_back(guild.text("id"));
    guilds_until_ = Clock::now() + kGuildsPatience;
    next_gap_ = {};
    next_store_ = {};
    whole_ = false;
}

void Discord::note_channel(const json::Value& channel, const std::string& guild, bool was_away) {
    const std::optional<uint64_t> id = discord_id(channel.text("id"));
    const int64_t kind = channel.integer("type", -1);
    if (!id || std::find(std::begin(kTextKinds), std::end(kTextKinds), kind) == std::end(kTextKinds)) return;
    std::string name = "#" + channel.text("name").substr(0, 100);
    if (!guild.empty()) name += " (" + guild.substr(0, 100) + ")";
    if (names_.size() < kMostNames || names_.contains(*id)) names_[*id] = json::valid_utf8(name);
    const std::optional<uint64_t> last = discord_id(channel.text("last_message_id"));
    if (!was_away || away_since_ == 0) return;
    if (!last) return gaps_.known(*id, 0);
    gaps_.known(*id, *last);
    if (!cursor_.places.contains(*id) && *last > away_since_) gaps_.add({*id, away_since_, false});
}

void Discord::on_guild(const json::Value& guild) {
    const bool was_away = std::erase(guilds_, guild.text("id")) > 0;  // else we have just been let in
    for (const char* key : {"channels", "threads"})
        if (const json::Value* const channels = guild.find(key); channels && channels->is_array())
            for (const json::Value& channel : channels->items())
                if (channel.is_object()) note_channel(channel, guild.text("name"), was_away);
}

void Discord::on_told(const std::string& type, const json::Value& data) {
    if (!data.is_object()) return;
    if (type == "MESSAGE_CREATE") return on_message(data);
    if (type == "INTERACTION_CREATE") return on_press(data);
    if (type == "MESSAGE_UPDATE") {
        const std::optional<uint64_t> channel = discord_id(data.text("channel_id"));
        if (!channel || gaps_.has(*channel)) return;
        const auto known = cursor_.places.find(*channel);  // what is told of a message again may not say where it was
        arrive(data, known != cursor_.places.end() ? known->second.direct : !data.find("guild_id"), true);
    }
    if (type == "GUILD_CREATE") on_guild(data);
    if (type == "GUILD_DELETE") std::erase(guilds_, data.text("id"));
    if (type == "CHANNEL_CREATE" || type == "CHANNEL_UPDATE" || type == "THREAD_CREATE") note_channel(data, {}, false);
}

void Discord::on_message(const json::Value& message) {
    const std::optional<uint64_t> channel = discord_id(message.text("channel_id"));
    if (!channel) return;
    const bool direct = !message.find("guild_id");
    // Discord has no list of direct chats: one that is new to us may have begun while we were away.
    if (direct && away_since_ > 0 && !cursor_.places.contains(*channel)) gaps_.add({*channel, away_since_, true});
    if (gaps_.has(*channel)) return gaps_.hold(*channel, message);
    arrive(message, direct, false);
}

void Discord::arrive(const json::Value& message, bool direct, bool edit) {
    const std::optional<uint64_t> channel = discord_id(message.text("channel_id")), id = discord_id(message.text("id"));
    if (!channel || !id) return;
    const auto name = names_.find(*channel);
    const DiscordPlace place{direct, name == names_.end() ? std::string() : name->second};
    std::optional<json::Value> event;
    try {
        event = edit ? read_discord_edit(message, place, self_) : read_discord_message(message, place, self_);
    } catch (const Error& error) {
        log(LogLevel::Error, "discord: a message was left out: " + std::string(error.what()));
    }
    if (!edit) cursor_.note(*channel, *id, direct);
    if (!event) return;
    cursor_.session = gateway_.session();
    arrived_.push_back({std::move(*event), cursor_.text(settled())});
}

// Answered within three seconds, or who pressed is told that nothing came of it; which is no more than a word.
void Discord::on_press(const json::Value& interaction) {
    const std::optional<uint64_t> channel = discord_id(interaction.text("channel_id"));
    const auto name = channel ? names_.find(*channel) : names_.end();
    const DiscordPlace place{!interaction.find("guild_id"), name == names_.end() ? std::string() : name->second};
    std::optional<json::Value> event = read_discord_press(interaction, place, self_);
    if (!event) return;
    cursor_.session = gateway_.session();
    arrived_.push_back({std::move(*event), cursor_.text(settled())});
    if (std::string path = discord_press_answer(interaction); !path.empty()) presses_.push_back(std::move(path));
}

// "Deferred": what comes of it is an edit of the message, later.
void Discord::answer_presses() {
    constexpr int kDeferred = 6;
    for (const std::string& path : std::exchange(presses_, {}))
        (void)api_.send("POST", path, json::Value::object({{"type", kDeferred}}));
}

// ---- what was said meanwhile

void Discord::fill_gap() {
    const DiscordGaps::Gap gap = gaps_.next();
    const DiscordAnswer answer = api_.get(gaps_.path());
    static const std::vector<json::Value> kNothing;
    const bool readable = answer.ok() && answer.result.is_array();
    if (!readable) {
        const std::string_view kind = answer.failure.kind;
        if (answer.kind == DiscordAnswer::Kind::Auth) return stand_down(kNoToken);
        const bool closed = !answer.ok() && (kind == "gone" || kind == "permanent");
        const bool waits = kind == "throttled" && !answer.ok();
        const std::optional<Milliseconds> span = waits ? answer.failure.retry : closed ? std::nullopt : gaps_.failed();
        if (span) {
            next_gap_ = Clock::now() + *span;
            return;
        }
        if (closed) cursor_.places.erase(gap.channel);
        log(LogLevel::Error, "discord: what was said meanwhile cannot be had: " + port_.sentence(answer.failure.error));
    }
    const DiscordGaps::Found found = gaps_.take(readable ? answer.result.items() : kNothing);
    filling_ = true;
    for (const json::Value& message : found.messages) arrive(message, gap.direct, false);
    for (const json::Value& message : found.held) arrive(message, gap.direct, false);
    filling_ = false;
}

// Events at once; a cursor alone now and then.
void Discord::store() {
    const Time now = Clock::now();
    cursor_.session = gateway_.session();
    const bool whole = settled();
    if (arrived_.empty() && (!greeted_ || (now < next_store_ && whole == whole_))) return;
    const std::string cursor = arrived_.empty() ? cursor_.text(whole) : arrived_.back().cursor;
    next_store_ = now + kStoreAgain;
    if (!arrived_.empty() || cursor != stored_) {
        if (arrived_.empty()) whole_ = whole;
        if (!port_.store(std::exchange(arrived_, {}), cursor)) return;
        stored_ = cursor;
        answer_presses();
    }
}

// ---- what the warden wants

void Discord::take_frames(Deadline deadline) {
    for (std::optional<json::Value> frame = port_.receive(deadline); frame; frame = port_.receive(Deadline())) {
        const std::string type = frame->text("type");
        if (type == "stop") stopping_ = true;
        else if (type == "fetch") fetch(*frame);
        else if (type == "resolve") port_.failed(frame->text("id"), {"unknown", "Discord cannot be asked what it has"});
        else (void)outbox_.take(*frame);
    }
}

// The address of a file is good for a day, so the message is asked for what it is now.
void Discord::fetch(const json::Value& frame) {
    const std::vector<std::string> ids = split(frame.text("handle"), '/');
    const auto is_id = [](const std::string& text) { return discord_id(text).has_value(); };
    if (ids.size() != 3 || !std::all_of(ids.begin(), ids.end(), is_id))
        return port_.not_fetched(frame.text("id"), "this is no file of Discord's");
    const DiscordAnswer answer = api_.get("/channels/" + ids[0] + "/messages/" + ids[1]);
    if (!answer.ok()) return port_.not_fetched(frame.text("id"), answer.failure.error);
    const std::string url = discord_file_url(answer.result, ids[2]);
    // What else a message may name is no file of Discord's, and perhaps one of somebody who trusts this machine.
    const std::string own = origin_of(api_.base()) + "/";
    if (!url.starts_with(kFiles[0]) && !url.starts_with(kFiles[1]) && !url.starts_with(own))
        return port_.not_fetched(frame.text("id"), "Discord does not have it any more");
    answer_fetch(port_, frame, url, {}, "Discord's server");
}

void Discord::work() {
    outbox_.work();
    if (poster_.take_auth()) return stand_down(kNoToken);
    if (const std::optional<ChannelFailure> trouble = outbox_.take_trouble()) {
        failures_ = std::max(failures_, 1);
        note_trouble(trouble->error);
    }
}

int Discord::run() {
    if (!introduce()) return ended_.value_or(0);
    while (!over()) {
        take_frames(Deadline());
        if (over()) break;
        work();
        const Time now = Clock::now();
        if (over() || (stopping_ && outbox_.idle())) break;
        const bool asks = !stopping_ && !gaps_.empty() && (guilds_.empty() || now > guilds_until_);
        if (asks && now >= next_gap_) fill_gap();
        Time until = std::min(outbox_.next_due(), now + kMinute);
        if (asks) until = std::min(until, next_gap_);
        if (!stopping_ && greeted_) store();
        if (over()) break;
        if (!gateway_.is_open()) {
            if (!stopping_ && now >= next_connect_) connect();
            else take_frames(Deadline::in(std::chrono::ceil<Milliseconds>(
                std::clamp<Clock::duration>(std::min(until, next_connect_) - now, Milliseconds(1), kMinute))));
            continue;
        }
        if (!guilds_.empty() && now <= guilds_until_) until = std::min(until, guilds_until_ + Milliseconds(1));
        listen(std::chrono::ceil<Milliseconds>(std::clamp<Clock::duration>(until - now, Milliseconds(0), kMinute)));
        if (!stopping_) store();
    }
    gateway_.close();
    return ended_.value_or(0);
}

}  // namespace

int run_discord(ChannelPort& port, const ChannelPort::Start& start) {
    return run_adapter<Discord>(port, start);
}

}  // namespace peacrab
