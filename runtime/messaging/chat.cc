// A conversation's connection to the warden: what waits is said there, what its turns come to is taken down before the
// warden is told that it was seen.
#include <algorithm>

#include "audit.h"
#include "channels/turn_view.h"
#include "error.h"
#include "messaging/hub_state.h"

namespace peacrab {
namespace {

constexpr size_t kCatchUp = 10;                // more than these are told at once,
constexpr int64_t kLongAgo = 3600;             // or when the newest is older (seconds)
constexpr Milliseconds kLinger{1000};          // for a turn that what was said too late may begin
constexpr Milliseconds kLongestBackoff{30'000};
constexpr Milliseconds kStartLimit{600'000};  // for a machine to start, its image to be built
constexpr long kMostOpening = 4;
constexpr Milliseconds kQuick{2000};           // a turn shorter than this shows nothing of itself
constexpr Milliseconds kShowPatience{10'000};  // with a channel that does not say it was shown
constexpr size_t kShown = 3000;                // bytes of it
constexpr size_t kMostSilent = size_t{32} << 10;  // bytes of what was said in a group before
constexpr size_t kMostJoined = size_t{128} << 10;  // bytes of what came while nobody was here
constexpr size_t kMostSaid = size_t{160} << 10;   // bytes; however they are escaped they are one frame
constexpr int64_t kMostCuts = 3;               // of its turn, before the person is told
constexpr int64_t kMostTries = 200;            // of a model that cannot be reached

std::string warden_channel(const PlaceRow& place) {
    return place.channel.substr(0, 12) + ":" + sha256_hex(place.conversation + "\n" + place.thread).substr(0, 18);
}

std::string origin_of(const char* kind, const Chat& chat, int64_t seq) {
    return std::string(kind) + ":" + chat.session + ":" + std::to_string(seq);
}

// As many of the newest as there is room for, and whole: nobody's words begin in the middle.
std::string newest(const std::vector<std::string>& told, const std::string& end, size_t most) {
    std::string text;
    for (size_t i = told.size(); i-- > 0;) {
        if (text.size() + told[i].size() > most) return "[" + std::to_string(i + 1) + " more, too long to be told]" + end + text;
        text.insert(0, told[i] + end);
    }
    return text;
}

}  // namespace

std::string message_id(const PlaceRow& place, const ArrivalRow& row) {
    return sha256_hex(place.channel + "\n" + row.key).substr(0, 32) + "." + std::to_string(row.tries);
}

std::string Hub::State::agent_of(const PlaceRow& place) {
    const auto usual = agents.find(place.channel);
    return !place.agent.empty() ? place.agent : usual != agents.end() ? usual->second : "main";
}

void Hub::State::reach(std::unique_ptr<Errand>& in, Milliseconds limit, std::function<UniqueFd()> call,
                       std::function<void(UniqueFd fd, const std::string& why)> then) {
    if (options.opening == HubOptions::Opening::AtOnce) {
        UniqueFd fd;
        std::string why;
        try {
            fd = call();
        } catch (const Error& error) {
            why = error.what();
        }
        return then(std::move(fd), why);
    }
    in = std::make_unique<Errand>(
        loop, limit, [call = std::move(call)] { return Errand::Given{{}, call()}; },
        [then = std::move(then)](Errand::Given given, const std::string& why) {
            then(std::move(given.fd), why.empty() && !given.fd ? "there is no connection" : why);
        });
}

void Hub::State::open(Chat& chat) {
    to_open.push_back(chat.place);
    open_next();
}

// A few at a time, first come, first served.
void Hub::State::open_next() {
    while (!to_open.empty()) {
        const auto opening = std::count_if(chats.begin(), chats.end(), [](const auto& each) { return each.second->opening != nullptr; });
        if (opening >= kMostOpening) return;
        const int64_t place = to_open.front();
        to_open.pop_front();
        const auto found = chats.find(place);
        if (found == chats.end() || found->second->opening || found->second->warden || found->second->again) continue;
        try {
            reach(found->second->opening, kStartLimit, options.open_chat, [this, place](UniqueFd fd, const std::string& why) {
                if (const auto chat = chats.find(place); chat != chats.end()) opened(*chat->second, std::move(fd), why);
                open_next();
            });
        } catch (const Error& error) {
            opened(*found->second, {}, error.what());
        }
    }
}

void Hub::State::opened(Chat& chat, UniqueFd fd, const std::string& why) {
    const int64_t id = chat.place;
    chat.opening.reset();
    const std::optional<PlaceRow> place = post.place(id);
    if (!place) return close(id);
    try {
        if (!why.empty()) throw Error(why);
        chat.warden = std::make_unique<FramePort>(loop, std::move(fd), Dialect::WardenToClient, Dialect::ClientToWarden,
                                                  FramePort::Handlers{[this, id](const json::Value& frame) { on_warden(id, frame); },
                                                                      [this, id](const std::string&) {
                                                                          const auto found = chats.find(id);
                                                                          if (found != chats.end()) gone(*found->second);
                                                                      }});
        chat.warden->send(json::Value::object({{"type", "attach"}, {"agent", agent_of(*place)}, {"channel", warden_channel(*place)}, {"tasks", true}}));
    } catch (const Error& error) {
        log(LogLevel::Info, std::string("the agent cannot be reached: ") + error.what());
        retry(chat, chat.backoff);
    }
}

void Hub::State::close(int64_t place) {
    const auto found = chats.find(place);
    if (found == chats.end()) return;
    std::shared_ptr<Chat> chat(std::move(found->second));
    chats.erase(found);
    for (const Loop::TimerId timer : {chat->again, chat->linger, chat->typing, chat->showing}) loop.cancel(timer);
    loop.after(Milliseconds(0), [chat] {});  // it may be called by its own port
}

// Where nothing waits a machine that was stopped is not started again.
void Hub::State::gone(Chat& chat) {
    const std::vector<int64_t> at_work = post.places_at_work();
    if (chat.turn.empty() && std::find(at_work.begin(), at_work.end(), chat.place) == at_work.end()) return close(chat.place);
    retry(chat, chat.backoff);
}

// Its connection is given up, and made anew after a while.
void Hub::State::retry(Chat& chat, Milliseconds span) {
    const int64_t place = chat.place;
    const Milliseconds backoff = std::min(chat.backoff * 2, kLongestBackoff);
    auto made = std::make_unique<Chat>();
    made->place = place;
    made->before = chat.before;
    close(place);
    made->backoff = backoff;
    made->again = loop.after(span, [this, place] {
        const auto found = chats.find(place);
        if (found == chats.end()) return;
        found->second->again = 0;
        open(*found->second);
    });
    chats[place] = std::move(made);
}

void Hub::State::advance(int64_t place) {
    auto found = chats.find(place);
    if (found == chats.end()) {
        if (!wanted(place)) return;
        found = chats.emplace(place, std::make_unique<Chat>()).first;
        found->second->place = place;
        return open(*found->second);
    }
    Chat& chat = *found->second;
    if (!chat.ready) return;
    std::vector<ArrivalRow> rows = post.waiting(place);
    std::erase_if(rows, [&](const ArrivalRow& row) {
        return row.turn.starts_with("with ") ||
               std::any_of(chat.said.begin(), chat.said.end(), [&](const auto& said) { return said.second == row.row; });
    });
    const auto is_message = [](const ArrivalRow& row) { return row.verdict != "command" && !by_itself(row); };
    const auto messages = std::count_if(rows.begin(), rows.end(), is_message);
    const bool old = !rows.empty() && unix_ms() / 1000 - rows.back().received > kLongAgo && messages > 1;
    const bool at_once = chat.turn.empty() && chat.said.empty() && (messages > static_cast<long>(kCatchUp) || old);
    // What came with a message is there before it, and nothing is told before what was said earlier.
    const std::optional<PlaceRow> where = post.place(place);
    bool waits = at_once && !std::all_of(rows.begin(), rows.end(), [&](const ArrivalRow& row) { return !is_message(row) || all_here(*where, row); });
    std::erase_if(rows, [&](const ArrivalRow& row) { return is_message(row) && (waits = waits || !all_here(*where, row)); });
    if (at_once && !waits) {
        // All as one, by the last, which is on the disk before it is said.
        const int64_t last = std::find_if(rows.rbegin(), rows.rend(), is_message)->row;
        post.join(place, last);
        std::erase_if(rows, [&](const ArrivalRow& row) { return is_message(row) && row.row != last; });
    }
    for (const ArrivalRow& row : rows) {
        if (is_message(row)) say(chat, row);
        else if (row.verdict == "command") run_command(chat, row);
        else begin_by_itself(chat, row);
        if (chats.find(place) == chats.end() || chats.find(place)->second.get() != &chat) return;
    }
    if (chat.turn.empty() && chat.said.empty() && chat.asked.empty() && chat.linger == 0) turn_over(chat);
}

// By whom, in a group: a name is chosen by who has it, so what he is to us stands before it. What else is in it stands
// indented: no line of it can pass for somebody else's.
std::string Hub::State::named(const PlaceRow& place, const ArrivalRow& one) {
    const Role role = door.role_of(place.channel, one.sender);
    return (role == Role::Owner ? "" : "[" + std::string(role_name(role)) + "] ") + one_line(one.name.empty() ? one.sender : one.name, 60) +
           ": " + indented(one.text);
}

// What was said in a group before is told with it, if it is behind `after`, what it was joined with, and what went
// wrong since.
std::string Hub::State::words_of(const PlaceRow& place, const ArrivalRow& row, int64_t after) {
    if (by_itself(row)) return row.text;
    std::string text = post.take_notes(place.id);
    std::vector<std::string> silent, others;
    for (const ArrivalRow& one : post.silent_before(place.id, row.row, after)) silent.push_back(named(place, one));
    if (!silent.empty()) text += "[Said in the group, not to you:]\n" + newest(silent, "\n", kMostSilent) + "[Said to you:]\n";
    const auto told = [&](const ArrivalRow& one) { return with_files(one, place.group ? named(place, one) : one.text); };
    const std::string last = told(row);
    for (const ArrivalRow& one : post.joined(place.id, row.row)) others.push_back(told(one));
    if (!others.empty())
        text += "[" + std::to_string(others.size() + 1) + " messages came while nobody was here:]\n\n" +
                newest(others, "\n\n", kMostJoined - std::min(kMostJoined, last.size()));
    return text + last;
}

void Hub::State::say(Chat& chat, const ArrivalRow& row) {
    const std::optional<PlaceRow> place = post.place(chat.place);
    const std::string id = message_id(*place, row);
    int64_t after = 0;  // what is on its way has taken along what was before it
    for (const auto& [other, number] : chat.said)
        if (!is_command(number)) after = std::max(after, number);
    chat.said[id] = row.row;
    std::string text = (row.tries > 0 ? "[You were cut off before you had answered this. Answer it now.]\n" : "") + words_of(*place, row, after);
    if (text.size() > kMostSaid) text.replace(kMostSaid, std::string::npos, "\n[cut: it was too long]");
    json::Value frame = json::Value::object({{"type", "message"}, {"id", id}, {"text", json::valid_utf8(text)}});
    if (by_itself(row)) frame.set("task", true);
    chat.warden->send(frame);
}

bool Hub::State::is_command(int64_t row) {
    const std::optional<ArrivalRow> arrival = post.arrival(row);
    return arrival && arrival->verdict == "command";
}

void Hub::State::answer(int64_t place, const std::string& text) {
    post.enqueue(place, {}, text);
    if (const std::optional<PlaceRow> row = post.place(place)) pump(row->channel);
}

void Hub::State::on_warden(int64_t place, const json::Value& frame) {
    const auto found = chats.find(place);
    if (found == chats.end()) return;
    Chat& chat = *found->second;
    const std::string type = frame.text("type");
    if (type == "attached") {
        chat.session = frame.text("session");
        if (std::exchange(chat.before, {})) answer(place, "You speak with " + one_line(frame.text("agent"), 60) + " here from now on.");
    } else if (type == "caught_up") {
        chat.ready = true;
        chat.backoff = Milliseconds(1000);
        if (const std::string turn = frame.text("turn"); !turn.empty()) {
            turn_began(chat, turn);
            chat.partial = frame.text("partial");
        }
        listen_to_ends(chat);
        advance(place);
    } else if (type == "ack") {
        const auto said = chat.said.find(frame.text("id"));
        if (said == chat.said.end()) return;
        post.handed(said->second, frame.text("turn"));
        chat.said.erase(said);
        chat.silent = quiet_turn(chat, frame.text("turn")).has_value();
        task_turn_over(place, frame.text("turn"));
        if (!chat.turn.empty()) return;
        if (!frame.flag("duplicate")) {
            chat.turn = frame.text("turn");
        } else if (post.was_cut(place, frame.text("turn"))) {
            post.wait_again(place, frame.text("turn"));  // we were told of that before we knew that it was this one's
            advance(place);
        } else {
            linger(chat, kLinger);  // it was answered long ago
        }
    } else if (type == "refused") {
        const std::string why = frame.text("why");
        if (const std::optional<std::string> before = std::exchange(chat.before, {})) {  // there is no such agent
            post.set_agent(place, *before);
            answer(place, "Nothing has changed: " + one_line(why, 400));
            close(place);
            return advance(place);
        }
        const auto said = chat.said.find(frame.text("id"));
        if (why.find("too many turns") != std::string::npos || why.find("too much waits") != std::string::npos) {
            if (said != chat.said.end() && is_command(said->second)) {
                chat.said.erase(said);
                return answer(place, "Not now: " + one_line(why, 400));
            }
            if (said != chat.said.end()) chat.said.erase(said);
            loop.cancel(std::exchange(chat.again, 0));
            chat.again = loop.after(Milliseconds(1000), [this, place] {
                if (const auto again = chats.find(place); again != chats.end()) again->second->again = 0;
                advance(place);
            });
            return;
        }
        if (why.starts_with("task: later")) {
            if (said != chat.said.end()) chat.said.erase(said);
            chat.blocked = true;
            return;
        }
        for (const ArrivalRow& row : post.waiting(place))
            if (by_itself(row) && said != chat.said.end() && row.row == said->second) {
                chat.said.erase(said);
                refused_by_itself(row, why);
                return advance(place);
            }
        chat.exported.reset();
        const bool of_command = !std::exchange(chat.asked, {}).empty() || (said != chat.said.end() && is_command(said->second));
        for (const ArrivalRow& row : post.waiting(place))
            if (!of_command && (said == chat.said.end() || row.row == said->second)) post.answered(row.row);
        if (said != chat.said.end()) chat.said.erase(said);
        answer(place, "Not taken: " + one_line(why, 400));
        if (!chat.ready) close(place);
    } else if (type == "session" || type == "status" || type == "usage" || type == "undone") {
        on_event(chat, frame);
    } else if (type == "task") {
        on_task(chat, frame);
    } else if (type == "delta") {
        if (chat.partial.size() < (size_t{64} << 10)) chat.partial += frame.text("text");
        show_soon(chat);
    } else if (type == "restart") {
        chat.partial.clear();
    } else if (type == "part" || type == "exported") {
        on_export(chat, frame);
    } else if (type == "notice" && chat.asked == "undo summary") {
        answer_command(chat, frame);
    } else if (type == "notice") {
        chat.step = one_line(frame.text("text"), 200);
        show_soon(chat);
    } else {
        on_event(chat, frame);
    }
}

void Hub::State::on_event(Chat& chat, const json::Value& frame) {
    const std::string type = frame.text("type");
    const int64_t seq = frame.integer("seq"), place = chat.place;
    if (type == "session") questions_over(place, {}, 0);
    else if (type == "turn_start" || type == "undone") questions_over(place, chat.session, seq);
    if (type == "turn_start") {
        turn_began(chat, frame.text("turn"));
    } else if (type == "tool") {
        chat.partial.clear();
        ++chat.steps;
        chat.step = one_line(frame.text("summary"), 200);
        show_soon(chat);
    } else if (type == "said" || type == "question" || type == "file" || type == "reply") {
        if (type == "reply") chat.partial.clear();
        post.together([&] { on_words(chat, frame); });
    } else if (type == "turn_done") {
        on_turn_done(chat, frame);
    } else if (!chat.asked.empty()) {
        answer_command(chat, frame);
    }
    if (seq > 0 && chat.warden) chat.warden->send(json::Value::object({{"type", "seen"}, {"seq", seq}}));
    if (const std::optional<PlaceRow> row = post.place(place)) pump(row->channel);
}

// What is to be delivered; held in the same step when nobody has asked for it and the person is left alone.
void Hub::State::on_words(Chat& chat, const json::Value& frame) {
    const std::string type = frame.text("type");
    const bool ends = type == "question" || type == "reply";  // takes the place of what showed the turn
    const std::string origin = origin_of(ends ? "r" : "e", chat, frame.integer("seq"));
    const std::optional<PlaceRow> place = post.place(chat.place);
    if (!place) return;
    if (type == "said") post.enqueue(place->id, origin, frame.text("text"));
    else if (type == "question") ask(*place, origin, chat.session, frame);
    else if (type == "file") enqueue_file(*place, origin, frame);
    else enqueue_reply(*place, origin, frame.text("text"));
    if (type == "reply") post.note_reply(place->id, frame.text("turn"));
    hold_if_quiet(chat, frame.text("turn"), {origin, "f:" + origin, "b:" + origin});
}

void Hub::State::on_turn_done(Chat& chat, const json::Value& frame) {
    const std::string status = frame.text("status"), turn = frame.text("turn"), error = frame.text("error");
    const std::string origin = origin_of("r", chat, frame.integer("seq"));
    post.together([&] {
        // One that had answered already is not asked again, however it ended.
        const bool replied = post.has_replied(chat.place, turn);
        const bool cut = !replied && (status == "interrupted" || error.starts_with("the turn process ended"));
        if (cut || frame.flag("model_down")) post.note_cut(chat.place, turn);
        if (cut && post.tries_of(chat.place, turn) < kMostCuts) {
            post.wait_again(chat.place, turn);  // what had begun is not done again: the model is told of it
        } else if (frame.flag("model_down")) {
            // Said once; what was asked stays, and is asked again by itself.
            const int64_t tries = post.tries_of(chat.place, turn);
            if (tries == 0) post.enqueue(chat.place, origin, error + ". I will answer when it can be reached again.");
            if (tries < kMostTries) post.wait_again(chat.place, turn);
        } else if (status == "stopped") {
            post.enqueue(chat.place, origin, "Stopped.");
        } else if (status != "done" && status != "waiting" && !error.empty() && !replied) {
            post.enqueue(chat.place, origin, error);
        }
        hold_if_quiet(chat, turn, {origin});
        const json::Value* const cost = frame.find("cost");
        schedule.note_end(chat.place, turn, status, error, cost ? std::optional(cost->as_integer()) : std::nullopt);
    });
    task_turn_over(chat.place, turn);
    chat.turn.clear();
    chat.blocked = chat.silent = false;
    keep_typing(chat);
    loop.cancel(std::exchange(chat.showing, 0));
    const bool down = frame.flag("model_down");
    const Milliseconds wait = down ? std::min(chat.backoff * 2, kLongestBackoff) : kLinger;
    chat.backoff = down ? wait : Milliseconds(1000);
    linger(chat, wait);
}

// Looks again after a while: what was said too late may begin a turn.
void Hub::State::linger(Chat& chat, Milliseconds wait) {
    loop.cancel(std::exchange(chat.linger, 0));
    const int64_t place = chat.place;
    chat.linger = loop.after(wait, [this, place] {
        const auto found = chats.find(place);
        if (found == chats.end()) return;
        found->second->linger = 0;
        if (found->second->turn.empty()) advance(place);
    });
}

void Hub::State::turn_began(Chat& chat, const std::string& turn) {
    chat.turn = turn;
    chat.since = Clock::now();
    chat.steps = 0;
    chat.partial.clear();
    chat.step.clear();
    chat.silent = quiet_turn(chat, turn).has_value();
    loop.cancel(std::exchange(chat.linger, 0));
    keep_typing(chat);
}

// Nothing waits and nothing runs: what was handed is answered, and the connection goes.
void Hub::State::turn_over(Chat& chat) {
    const int64_t place = chat.place;
    post.answered_all(place);
    if (!wanted(place)) close(place);
}

// A sign of life, as long as the turn runs and no longer.
void Hub::State::keep_typing(Chat& chat) {
    const int64_t id = chat.place;
    const std::optional<PlaceRow> place = post.place(id);
    Channel* const channel = place ? channel_of(*place) : nullptr;
    const bool on = !chat.turn.empty() && !chat.silent, was_on = chat.typing != 0;
    loop.cancel(std::exchange(chat.typing, 0));
    if (!channel || !channel->ready || channel->limits.typing == 0 || (!on && !was_on)) return;
    json::Value frame = json::Value::object({{"type", "typing"}, {"conversation", place->conversation}});
    if (!place->thread.empty()) frame.set("thread", place->thread);
    frame.set("on", on);
    channel->port->send(frame);
    if (!on) return;
    const Milliseconds span{std::max<int64_t>(channel->limits.typing, 1000)};
    chat.typing = loop.after(span, [this, id] {
        const auto found = chats.find(id);
        if (found == chats.end()) return;
        found->second->typing = 0;
        keep_typing(*found->second);
    });
}

// Not before the turn has taken a while, nor more often than the messenger takes edits; what is newest is shown.
void Hub::State::show_soon(Chat& chat) {
    if (chat.showing || chat.show_under_way || chat.turn.empty() || chat.silent) return;
    const std::optional<PlaceRow> place = post.place(chat.place);
    Channel* const channel = place ? channel_of(*place) : nullptr;
    if (!channel || !channel->ready || channel->limits.edits == 0) return;
    const Milliseconds floor{place->group ? channel->limits.edits_group : channel->limits.edits};
    const auto due = std::max(chat.since + kQuick, chat.shown + floor);
    const auto span = std::chrono::duration_cast<Milliseconds>(due - Clock::now());
    const int64_t id = chat.place;
    chat.showing = loop.after(std::max(span, Milliseconds(0)), [this, id] {
        const auto found = chats.find(id);
        if (found == chats.end()) return;
        found->second->showing = 0;
        show(*found->second);
    });
}

void Hub::State::show(Chat& chat) {
    const std::optional<PlaceRow> place = post.place(chat.place);
    Channel* const channel = place ? channel_of(*place) : nullptr;
    if (!channel || !channel->ready || chat.turn.empty() || post.delivering(chat.place)) return;
    const auto seconds = std::chrono::duration_cast<Seconds>(Clock::now() - chat.since).count();
    std::string text = chat.partial;
    if (text.size() > kShown) text = "... " + json::valid_utf8(text.substr(text.size() - kShown));
    if (text.find_first_not_of(" \n") == std::string::npos)
        text = "(step " + std::to_string(chat.steps) + ", " + std::to_string(seconds) + " s) " + chat.step;
    if (text == chat.last_shown) return;
    chat.last_shown = text;
    json::Value frame = json::Value::object(
        {{"type", "show"}, {"slot", std::to_string(chat.place)}, {"conversation", place->conversation}});
    if (!place->thread.empty()) frame.set("thread", place->thread);
    frame.set("text", text);
    if (!place->live.empty()) frame.set("platform", place->live);
    chat.shown = Clock::now();
    chat.show_under_way = true;
    const int64_t id = chat.place;
    chat.showing = loop.after(kShowPatience, [this, id] {
        const auto found = chats.find(id);
        if (found == chats.end()) return;
        found->second->showing = 0;
        found->second->show_under_way = false;
        if (const std::optional<PlaceRow> row = post.place(id)) pump(row->channel);
    });
    channel->port->send(frame);
}

}  // namespace peacrab
