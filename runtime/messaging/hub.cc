// The channels' side: what arrives is written down before it is acknowledged, and looked at afterwards.
#include "messaging/hub_state.h"

#include <algorithm>

#include "channels/turn_view.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr int64_t kKeepDays = 30;
constexpr int64_t kPruneEvery = 1000;  // rows
constexpr Milliseconds kDay{86'400'000};
constexpr int64_t kSignEvery = 60'000;  // ms
constexpr Milliseconds kMend{5000};

// As the agent is told it: what it answers to, and what came with it.
// `fetched`: of files that can be had more is told when they are here.
std::string text_of(const Event& event, bool fetched) {
    std::string text;
    if (!event.reply_text.empty())
        text += std::string("[in answer to ") + (event.reply_own ? "you" : "somebody") + ": \"" +
                one_line(event.reply_text, 300) + "\"]\n";
    text += event.text;
    for (const EventFile& file : event.files)
        if (!fetched || file.handle.empty())
            text += (text.empty() ? "[file: " : "\n[file: ") + in_words(file) + (file.handle.empty() ? "]" : "; not fetched]");
    return text;
}

}  // namespace

Hub::State::State(Loop& the_loop, HubOptions the_options)
    : loop(the_loop), options(std::move(the_options)), post(options.file), door(post.database()), schedule(post.database()),
      cards(post.database()), spool(options.spool) {
    prune();
    if (options.open_files) spool.keep_only(post.spooled());
    watch_tasks();
}

// Once a day.
void Hub::State::prune() {
    pruning = loop.after(kDay, [this] { prune(); });
    post.prune(kKeepDays);
    schedule.prune(kKeepDays);
    door.prune();
    const std::vector<int64_t> known = door.places();
    std::set<int64_t> kept(known.begin(), known.end());
    for (const TaskRow& task : schedule.tasks(0)) kept.insert(task.place);
    post.prune_places(kept);
}

Hub::State::~State() {
    end_tasks();
    forget_files();
    loop.cancel(pruning);
    loop.cancel(mending);
    for (const auto& [name, channel] : channels) loop.cancel(channel->timer);
    for (const auto& [place, chat] : chats)
        for (const Loop::TimerId timer : {chat->again, chat->linger, chat->typing, chat->showing}) loop.cancel(timer);
}

Channel* Hub::State::channel_of(const PlaceRow& place) {
    const auto found = channels.find(place.channel);
    return found == channels.end() ? nullptr : found->second.get();
}

void Hub::State::on_channel(Channel& channel, const json::Value& frame) {
    const std::string type = frame.text("type");
    if (type == "hello") {
        if (frame.integer("protocol") != 1) throw Error("channel: protocol 1 is spoken here");
        channel.account = frame.text("account").substr(0, kMaxEventId);
        channel.bot = frame.text("name").substr(0, kMaxEventName);
        channel.limits = read_limits(frame.at("limits"));
        channel.ready = true;
        channel.trouble.clear();
        note_sign(channel);
        resolve_unknown(channel);
        fetch_next(channel);
        pump(channel.options.name);
        return run_tasks(Look::Anew);
    }
    if (type == "trouble") {
        channel.trouble = frame.text("class").substr(0, 16);
        note_sign(channel);
        log(LogLevel::Error, channel.options.name + ": " + one_line(frame.text("text"), 300));
        if (channel.trouble != "network" && channel.stopped.empty()) channel.stopped = one_line(frame.text("text"), 300);
        return;
    }
    if (!channel.ready) throw Error("channel: hello comes first");
    if (type == "batch") return on_batch(channel, frame);
    if (type == "sent") return on_sent(channel, frame);
    if (type == "failed") return on_failed(channel, frame);
    if (type == "data") return on_data(channel, frame);
    if (type == "fetched") return on_fetched(channel, frame);
    if (type == "want") return on_want(channel, frame);
    if (type == "alive") {
        const bool mended = channel.trouble == "network";
        if (mended) channel.trouble.clear();
        if (mended || unix_ms() - channel.noted > kSignEvery) note_sign(channel);
    } else if (type == "shown") {
        for (auto& [place, chat] : chats) {
            if (!chat->show_under_way || frame.text("slot") != std::to_string(place)) continue;
            if (const std::optional<PlaceRow> row = post.place(place); !row || row->channel != channel.options.name) return;
            chat->show_under_way = false;
            loop.cancel(std::exchange(chat->showing, 0));
            if (const std::string id = frame.text("platform"); !id.empty()) post.set_live(place, id.substr(0, kMaxEventId));
            return pump(channel, place);
        }
    }
}

void Hub::State::note_sign(Channel& channel) {
    channel.noted = unix_ms();
    const std::string name = channel.bot.empty() ? channel.account : channel.bot;
    post.set_sign(channel.options.name, {one_line(name, 100), channel.ready ? channel.noted : 0, channel.trouble});
}

void Hub::State::on_batch(Channel& channel, const json::Value& frame) {
    if (!options.open_chat && !frame.at("events").items().empty()) throw Error("channel: nothing is received yet");
    const std::string& name = channel.options.name;
    std::vector<Event> events;
    for (const json::Value& each : frame.at("events").items()) {
        if (events.size() == kMaxEvents) throw Error("channel: more than 100 events at once");
        events.push_back(read_event(each));
    }
    std::set<int64_t> touched;
    post.together([&] {
        for (const Event& event : events) {
            if (event.kind == Event::Kind::Press) {
                if (const int64_t at = channel.options.to.empty() ? take_press(channel, event) : 0) touched.insert(at);
                continue;
            }
            if (!channel.options.to.empty()) {
                if (const int64_t to = take_hook(channel, event)) touched.insert(to);
                continue;
            }
            const PlaceRow place = post.place(name, event);
            Admission verdict = door.judge(name, event);
            const bool fetched = options.open_files &&
                                 (verdict.what == Admission::What::Admitted || verdict.what == Admission::What::Held);
            const std::string text = text_of(event, fetched);
            if (event.kind == Event::Kind::Edit && verdict.what != Admission::What::Dropped) {
                if (post.edit_waiting(place, event, text)) continue;
                verdict = {Admission::What::Dropped, "an edit of what was taken already", {}};
            }
            if (text.find_first_not_of(" \t\r\n") == std::string::npos && (!fetched || event.files.empty()))
                verdict = {Admission::What::Dropped, "there is nothing in it", {}};
            if (verdict.what == Admission::What::Silent && !channel.options.listens)
                verdict = {Admission::What::Dropped, verdict.rule, {}};
            if (verdict.what == Admission::What::Held && !post.room_at_the_door(name, event.sender))
                verdict = {Admission::What::Dropped, "too much waits at the door", {}};
            const bool kept = verdict.what != Admission::What::Dropped;
            const int64_t row = post.add_arrival(place, event, kept ? text : one_line(text, 200), verdict);
            if (row == 0) continue;  // told before
            if (row % kPruneEvery == 0) post.prune(kKeepDays);
            touched.insert(place.id);
            if (fetched && kept) take_files(place, row, event, verdict.what == Admission::What::Held);
            if (verdict.what == Admission::What::Admitted) question_answered(place, event);
            if (!verdict.answer.empty()) post.enqueue(place.id, "a:" + std::to_string(row), verdict.answer);
            if (verdict.what == Admission::What::Held)
                if (const std::string ticket = door.announce(name, event); !ticket.empty())
                    ask_owners(ticket, one_line(event.name.empty() ? event.sender : event.name, 80) + " (" +
                                           one_line(event.sender, 80) + ") is not known and wrote on " + name + ": \"" +
                                           one_line(text, 300) + "\"");
            // Where somebody is told of things is not for those to say who only claim to be him.
            if (!event.group && !event.unproven && !event.bot && !event.own) door.note_place(name, event.sender, place.id);
        }
        if (frame.find("cursor")) post.set_cursor(name, frame.text("cursor"));
    });
    json::Value stored = json::Value::object({{"type", "stored"}});
    if (frame.find("cursor")) stored.set("cursor", frame.text("cursor"));
    channel.port->send(stored);
    for (const int64_t place : touched) advance(place);
    pump_all();
}

void Hub::State::tell_owners(const std::string& channel, const std::string& text) {
    for (const int64_t place : door.owners_places(channel)) post.enqueue(place, {}, text);
}

// It may be called from within a send to it: what is destroyed is so later.
void Hub::State::lost(const std::string& name, const std::string& why) {
    const auto found = channels.find(name);
    if (found == channels.end()) return;
    std::shared_ptr<Channel> channel(std::move(found->second));
    channels.erase(found);
    loop.cancel(channel->timer);
    loop.after(Milliseconds(0), [this, channel, why] {
        if (channel->gone(why, channel->trouble) || channel->stopped.empty()) return;
        try {
            tell_owners({}, "The channel " + channel->options.name + " has stopped: " + channel->stopped);
            pump_all();
        } catch (const Error& error) {  // a full disk
            log(LogLevel::Error, error.what());
        }
    });
    for (auto& [place, chat] : chats)
        if (const std::optional<PlaceRow> row = post.place(place); row && row->channel == name) chat->show_under_way = false;
    try {
        fetch_cut(name);
        was_cut(name);
    } catch (const Error& error) {  // a full disk: it is done when the channel comes again
        log(LogLevel::Error, error.what());
    }
}

Hub::Hub(Loop& loop, HubOptions options) : state_(std::make_unique<State>(loop, std::move(options))) {}
Hub::~Hub() = default;

void Hub::connect(const HubChannel& options, const json::Value& secrets, UniqueFd socket,
                  std::function<bool(const std::string& why, const std::string& code)> gone) {
    State& state = *state_;
    if (state.channels.contains(options.name)) throw Error("channel: " + options.name + " is here already");
    state.was_cut(options.name);  // by our own end, last time
    auto made = std::make_unique<Channel>();
    Channel& channel = *made;
    channel.options = options;
    state.agents[options.name] = options.agent;
    channel.gone = std::move(gone);
    const std::string name = options.name;
    state.channels[name] = std::move(made);
    channel.port = std::make_unique<FramePort>(
        state.loop, std::move(socket), Dialect::ChannelToWarden, Dialect::WardenToChannel,
        FramePort::Handlers{[&state, &channel, name](const json::Value& frame) {
                                try {
                                    state.on_channel(channel, frame);
                                } catch (const Error& error) {
                                    log(LogLevel::Error, name + ": " + error.what());
                                    state.lost(name, error.what());
                                }
                            },
                            [&state, name](const std::string& why) { state.lost(name, why); }});
    json::Value start = json::Value::object({{"type", "start"}});
    if (const std::optional<std::string> cursor = state.post.cursor(name)) start.set("cursor", *cursor);
    start.set("settings", options.settings);
    start.set("secrets", secrets);
    channel.port->send(start);
    for (const int64_t place : state.post.places_at_work()) state.advance(place);
    if (state.listened.insert(name).second)
        for (const int64_t place : state.schedule.places_listening()) state.advance(place);
}

void Hub::disconnect(const std::string& name) {
    const auto found = state_->channels.find(name);
    if (found == state_->channels.end()) return;
    found->second->port->send(json::Value::object({{"type", "stop"}}));
    state_->lost(name, "it was told to stop");
}

// What an error has interrupted: looked at once more.
void Hub::mend() {
    State& state = *state_;
    if (state.mending) return;
    state.mending = state.loop.after(kMend, [&state] {
        state.mending = 0;
        state.forget_files();
        for (const int64_t place : state.post.places_at_work()) state.advance(place);
        state.run_tasks(State::Look::Due);
        state.pump_all();
    });
}

Post& Hub::post() {
    return state_->post;
}

bool Hub::idle() const {
    return state_->chats.empty();
}

}  // namespace peacrab
