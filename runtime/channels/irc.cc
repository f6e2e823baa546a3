// One connection at a time. A text is out when the server has answered a PING that was sent behind it: what comes
// before that answer was read by the server.
#include "channels/irc.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>

#include "channels/irc_line.h"
#include "error.h"
#include "messaging/render.h"
#include "protocols/base64.h"
#include "protocols/byte_stream.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kLongestLine = 8191 + 512;  // with its tags
constexpr size_t kPart = 380;                // bytes of text: nick, user and host stand in front when it is relayed
constexpr size_t kMostPending = 256;         // deliveries
constexpr size_t kMostTargets = 64;          // in the cursor
constexpr const char* kNewest = "*";         // in the cursor: the time of what came last, by the server's clock
constexpr int kBurst = 4;
constexpr Milliseconds kQuiet{60'000};       // then we ask whether it is still there
constexpr Milliseconds kDeaf{120'000};
constexpr Milliseconds kLogin{60'000};
constexpr Milliseconds kConfirm{30'000};
constexpr const char* kWanted[] = {"sasl", "message-tags", "server-time", "batch", "account-tag", "draft/chathistory",
                                   "draft/event-playback"};  // or who came and went is told as if it had been said

struct Delivery {
    std::string id, target;
    std::vector<RenderedPart> parts;
    size_t next = 0;
    std::string awaited;  // the PING behind the part that is out
    Clock::time_point since{};
};

struct Settings {
    ByteStreamOptions stream;
    std::string nick, account;
    std::vector<std::string> channels;
    Milliseconds pace{1000};
};

Settings read_settings(const json::Value& given) {
    Settings settings;
    settings.stream.host = given.text("server");
    if (settings.stream.host.empty()) throw Error("irc: `server` is missing");
    settings.stream.tls = given.text("tls", "true") != "false";
    settings.stream.environment = true;
    const std::string port = given.text("port", settings.stream.tls ? "6697" : "6667");
    if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos || std::stoi(port) > 65535)
        throw Error("irc: `port`: a number was expected");
    settings.stream.port = static_cast<uint16_t>(std::stoi(port));
    settings.nick = irc_text(given.text("nick", "peacrab"));
    settings.account = given.text("account", settings.nick);
    for (const std::string& channel : split(given.text("channels"), ','))
        if (!channel.empty()) settings.channels.push_back(irc_text(channel));
    const std::string pace = given.text("pace", "1000");
    if (!pace.empty() && pace.size() < 6 && pace.find_first_not_of("0123456789") == std::string::npos) settings.pace = Milliseconds(std::stoi(pace));
    return settings;
}

class Irc {
  public:
    Irc(ChannelPort& port, const ChannelPort::Start& start)
        : port_(port), settings_(read_settings(start.settings)), password_(port.take_secret("token")), nick_(settings_.nick) {
        if (start.cursor) {
            const json::Value seen = json::parse(*start.cursor, {size_t{1} << 16, 2});
            for (const json::Member& target : seen.members()) seen_[target.first] = target.second.as_string();
        }
    }
    int run();

  private:
    bool connect();
    void talk();
    void take_frames();
    void take_lines();
    void on_line(const IrcLine& line);
    void on_capabilities(const IrcLine& line);
    void on_sasl(const IrcLine& line);
    void on_message(const IrcLine& line);
    void on_pong(const std::string& token);
    void on_batch(const IrcLine& line);
    void catch_up();
    void ask_history(const std::string& target, const std::string& after);
    void note_seen(const IrcLine& line, const std::string& conversation);
    void welcome();
    void send(const std::string& line) { out_ += line + "\r\n"; }
    void drain();
    void pump();
    void lost(const std::string& why);
    std::string cursor() const;

    ChannelPort& port_;
    Settings settings_;
    Secret password_;
    std::string nick_;
    std::map<std::string, std::string> seen_;  // the newest msgid of a target
    // A history comes in pieces, and until its end what is said meanwhile must not be taken for the newest.
    struct History {
        std::string target, last;
    };
    std::map<std::string, History> histories_;  // pieces that are being told, by their batch
    std::map<std::string, bool> behind_;        // targets; true: it is asked by time, or its id is known there
    std::string since_;                         // the time of what had come last when we came back
    std::deque<Delivery> pending_;
    std::unique_ptr<ByteStream> stream_;
    std::string in_, out_;
    std::vector<Arrived> arrived_;
    std::string offered_, taken_;
    bool welcomed_ = false, greeted_ = false, asked_ = false, stands_down_ = false, stops_ = false;
    Clock::time_point heard_{}, began_{}, next_line_{}, told_{};
    int burst_ = kBurst;
    uint64_t number_ = 0;
    const std::string run_ = random_hex(6);  // makes keys of what has none
    Milliseconds backoff_{1000};
};

std::string Irc::cursor() const {
    json::Value value = json::Value::object();
    for (const auto& [target, id] : seen_) value.set(target, id);
    return json::dump(value);
}

bool Irc::connect() {
    ByteStream::Opened opened = ByteStream::open(settings_.stream, port_.wake_fd());
    if (!opened.stream) {
        if (!opened.detail.empty()) port_.trouble("network", opened.detail);
        return false;
    }
    stream_ = std::move(opened.stream);
    in_.clear();
    out_.clear();
    offered_.clear();
    taken_.clear();
    welcomed_ = asked_ = false;
    heard_ = began_ = Clock::now();
    nick_ = settings_.nick;
    burst_ = kBurst;
    send("CAP LS 302");
    send("NICK " + nick_);
    send("USER " + settings_.nick + " 0 * :" + settings_.nick);
    return true;
}

void Irc::lost(const std::string& why) {
    stream_.reset();
    if (welcomed_) backoff_ = Milliseconds(1000);
    welcomed_ = false;
    port_.trouble("network", "irc: " + settings_.stream.host + ": " + why);
    for (Delivery& each : pending_) {
        const bool out = !each.awaited.empty();
        port_.failed(each.id, {out ? "unknown" : "not_sent", "the connection broke: " + why, Milliseconds(0), {}});
    }
    pending_.clear();
}

int Irc::run() {
    while (!port_.ended() && !stands_down_ && !(stops_ && pending_.empty())) {
        take_frames();
        if (port_.ended() || stops_) break;
        if (!connect()) {
            for (const Deadline patience = Deadline::in(backoff_); !patience.passed() && !port_.ended() && !stops_;) {
                if (const std::optional<json::Value> frame = port_.receive(patience); frame && frame->text("type") == "stop") stops_ = true;
            }
            backoff_ = std::min(backoff_ * 2, Milliseconds(60'000));
            continue;
        }
        talk();
    }
    if (stream_) {
        send("QUIT");
        drain();
    }
    return stands_down_ ? kExitStandDown : 0;
}

void Irc::talk() {
    while (stream_ && !port_.ended() && !stands_down_ && !(stops_ && pending_.empty())) {
        take_frames();
        take_lines();
        if (!stream_ || stands_down_ || (stops_ && pending_.empty())) return;
        if (!arrived_.empty()) {
            std::vector<Arrived> events = std::move(arrived_);
            arrived_.clear();
            if (!port_.store(std::move(events), cursor())) return;
            continue;
        }
        pump();
        drain();
        if (!stream_) return;
        const auto now = Clock::now();
        if (!welcomed_ && now - began_ > kLogin) return lost("it did not let us in within a minute");
        if (now - heard_ > kDeaf) return lost("it says nothing any more");
        if (welcomed_ && now - heard_ > kQuiet && !asked_) {
            asked_ = true;
            send("PING :alive");
            continue;
        }
        if (welcomed_ && now - told_ > kQuiet / 2) {
            told_ = now;
            port_.alive();
        }
        Milliseconds wait{20'000};
        for (const Delivery& each : pending_)
            if (each.awaited.empty()) wait = std::min(wait, std::max(Milliseconds(1), std::chrono::duration_cast<Milliseconds>(next_line_ - now)));
        (void)stream_->wait(wait, port_.wake_fd());
    }
}

void Irc::take_frames() {
    while (const std::optional<json::Value> frame = port_.receive(Deadline())) {
        const std::string type = frame->text("type");
        if (type == "stop") stops_ = true;
        if (type == "show") port_.shown(frame->text("slot"), {});
        if (type != "deliver") continue;
        Delivery delivery{frame->text("id"), irc_text(frame->text("conversation")), {}, static_cast<size_t>(frame->integer("from")), {}, {}};
        delivery.parts = render(frame->text("text"), {Markup::Irc, kPart, RenderStyle::Unit::Bytes});
        const bool bad = delivery.target.empty() || delivery.target.find_first_of(" ,") != std::string::npos || delivery.next >= delivery.parts.size();
        if (bad || delivery.parts.size() > 1000) port_.failed(delivery.id, {"permanent", "irc: it cannot be said there", Milliseconds(0), {}});
        else if (!welcomed_ || pending_.size() >= kMostPending) port_.failed(delivery.id, {"not_sent", "irc: not connected", Milliseconds(0), {}});
        else pending_.push_back(std::move(delivery));
    }
}

// One part of a conversation is on its way at a time; all conversations share the pace the server allows us.
void Irc::pump() {
    const auto now = Clock::now();
    for (Delivery& each : pending_) {
        if (!each.awaited.empty()) {
            if (now - each.since > kConfirm) return lost("it does not say that a text has come");
            continue;
        }
        if (now < next_line_) continue;
        if (now - next_line_ > settings_.pace * kBurst) burst_ = kBurst;
        next_line_ = burst_ > 0 ? now : now + settings_.pace;
        if (burst_ > 0) --burst_;
        each.awaited = run_ + "-" + std::to_string(++number_);
        each.since = now;
        send("PRIVMSG " + each.target + " :" + irc_text(each.parts[each.next].text));
        send("PING :" + each.awaited);
    }
}

void Irc::on_pong(const std::string& token) {
    asked_ = false;
    for (auto each = pending_.begin(); each != pending_.end(); ++each) {
        if (each->awaited != token || token.empty()) continue;
        port_.sent(each->id, each->next, each->parts.size(), {});
        each->awaited.clear();
        if (++each->next == each->parts.size()) pending_.erase(each);
        return;
    }
}

void Irc::drain() {
    while (stream_ && !out_.empty()) {
        size_t taken = 0;
        if (!stream_->write(out_, taken)) return lost("the connection broke");
        out_.erase(0, taken);
        if (taken == 0) return;
    }
}

void Irc::take_lines() {
    for (;;) {
        const ByteStream::Got got = stream_->read(in_, size_t{64} << 10);
        if (got == ByteStream::Got::Some) heard_ = Clock::now();
        for (size_t end; (end = in_.find('\n')) != std::string::npos && stream_;) {
            std::string line = in_.substr(0, end);
            in_.erase(0, end + 1);
            while (!line.empty() && line.back() == '\r') line.pop_back();
            if (!line.empty()) on_line(parse_irc(line));
            if (stands_down_ || arrived_.size() >= 100) return;
        }
        if (!stream_) return;
        if (in_.size() > kLongestLine) return lost("a line is too long");
        if (got == ByteStream::Got::Nothing) return;
        if (got != ByteStream::Got::Some) return lost("it has closed the connection");
    }
}

void Irc::on_line(const IrcLine& line) {
    const std::string& command = line.command;
    if (command == "PING") return send("PONG :" + irc_text(line.word(0)));
    if (command == "PONG") return on_pong(line.word(1));
    if (command == "CAP") return on_capabilities(line);
    if (command == "AUTHENTICATE" || command == "903" || command == "904" || command == "905") return on_sasl(line);
    if (command == "001") {
        nick_ = line.word(0);
        return welcome();
    }
    if (command == "433" && !welcomed_) {  // in use
        nick_ += "_";
        if (nick_.size() > settings_.nick.size() + 4) return lost("every nick we would take is in use");
        return send("NICK " + nick_);
    }
    if (command == "NICK" && irc_same(line.nick(), nick_) && !line.tags.contains("batch")) nick_ = line.word(0);
    if (command == "ERROR") return lost(irc_plain(line.word(0)));
    // 401, 403, 404: nobody there, no such channel, not allowed to speak in it.
    if (command == "401" || command == "403" || command == "404") {
        for (auto each = pending_.begin(); each != pending_.end(); ++each)
            if (irc_same(each->target, line.word(1)) && !each->awaited.empty()) {
                port_.failed(each->id, {"gone", "irc: " + irc_plain(line.word(2)), Milliseconds(0), {}});
                pending_.erase(each);
                return;
            }
    }
    if (command == "BATCH") on_batch(line);
    if (command == "FAIL" && line.word(0) == "CHATHISTORY") behind_.clear();
    if (const auto batch = line.tags.find("batch"); batch != line.tags.end()) {
        const auto piece = histories_.find(batch->second);
        if (const auto id = line.tags.find("msgid"); piece != histories_.end() && id != line.tags.end()) piece->second.last = id->second;
    }
    // Who has spoken in private while nobody was there, and never before.
    if (command == "CHATHISTORY" && line.word(0) == "TARGETS" && !seen_.contains(line.word(1)) && behind_.size() < kMostTargets)
        ask_history(line.word(1), "timestamp=" + since_);
    if (command == "PRIVMSG") on_message(line);
}

void Irc::ask_history(const std::string& target, const std::string& after) {
    if (taken_.find(" batch ") != std::string::npos) behind_[target] |= !after.starts_with("msgid=");
    send("CHATHISTORY AFTER " + irc_text(target) + " " + irc_text(after) + " 100");
}

void Irc::catch_up() {
    histories_.clear();
    behind_.clear();
    if (taken_.find("chathistory") == std::string::npos) return;
    const auto newest = seen_.find(kNewest);
    since_ = newest == seen_.end() ? "" : newest->second;
    if (!since_.empty()) send("CHATHISTORY TARGETS timestamp=" + irc_text(since_) + " timestamp=2200-01-01T00:00:00.000Z 50");
    for (const auto& [target, id] : seen_)
        if (target != kNewest) ask_history(target, "msgid=" + id);
}

// After each piece the next is asked for; an empty one is the end, unless the server knows our id no more: many keep
// their history in memory.
void Irc::on_batch(const IrcLine& line) {
    const std::string& name = line.word(0);
    if (name.starts_with('+') && line.word(1) == "chathistory" && histories_.size() < kMostTargets)
        histories_[name.substr(1)] = {line.word(2), {}};
    const auto ended = name.starts_with('-') ? histories_.find(name.substr(1)) : histories_.end();
    if (ended == histories_.end()) return;
    const History piece = std::move(ended->second);
    histories_.erase(ended);
    if (!piece.last.empty()) {
        behind_[piece.target] = true;
        ask_history(piece.target, "msgid=" + piece.last);
    } else if (const auto known = behind_.find(piece.target); known != behind_.end() && !known->second && !since_.empty()) {
        ask_history(piece.target, "timestamp=" + since_);
    } else {
        behind_.erase(piece.target);
    }
}

void Irc::on_capabilities(const IrcLine& line) {
    const std::string what = line.word(1);
    if (what == "LS") {
        const bool more = line.word(2) == "*";
        offered_ += " " + line.word(more ? 3 : 2) + " ";
        if (more || offered_.size() > kLongestLine) return;
        std::string wanted;
        for (const char* name : kWanted) {
            if (std::string_view(name) == "sasl" && password_.empty()) continue;
            const bool plain = offered_.find(std::string(" ") + name + " ") != std::string::npos;
            if (plain || offered_.find(std::string(" ") + name + "=") != std::string::npos) wanted += (wanted.empty() ? "" : " ") + std::string(name);
        }
        if (!password_.empty() && wanted.find("sasl") == std::string::npos) {
            port_.trouble("auth", "irc: " + settings_.stream.host + " takes no password by SASL");
            stands_down_ = true;
            return;
        }
        return send(wanted.empty() ? "CAP END" : "CAP REQ :" + wanted);
    }
    if (what == "ACK") taken_ += " " + line.word(2) + " ";
    if ((what == "ACK" || what == "NAK") && !welcomed_) {
        if (taken_.find(" sasl ") == std::string::npos) return send("CAP END");
        if (!settings_.stream.tls) {
            port_.trouble("auth", "irc: a password is only sent over TLS");
            stands_down_ = true;
            return;
        }
        send("AUTHENTICATE PLAIN");
    }
}

void Irc::on_sasl(const IrcLine& line) {
    if (line.command == "904" || line.command == "905") {
        port_.trouble("auth", "irc: " + settings_.stream.host + " does not take the password");
        stands_down_ = true;
    } else if (line.command == "903") {
        send("CAP END");
    } else if (line.word(0) == "+") {
        const std::string encoded = base64(std::string(1, '\0') + settings_.account + '\0' + password_.reveal());
        for (size_t at = 0; at < encoded.size(); at += 400) send("AUTHENTICATE " + encoded.substr(at, 400));
        if (encoded.size() % 400 == 0) send("AUTHENTICATE +");
    }
}

void Irc::welcome() {
    welcomed_ = true;
    backoff_ = Milliseconds(1000);
    told_ = Clock::now();
    for (const std::string& channel : settings_.channels) send("JOIN " + channel);
    catch_up();
    if (greeted_) return;
    greeted_ = true;
    port_.hello("irc", settings_.account + "@" + settings_.stream.host, nick_, json::parse(R"({"dedupe":"none"})"));
}

void Irc::note_seen(const IrcLine& line, const std::string& conversation) {
    const auto time = line.tags.find("time");
    if (!line.tags.contains("batch") && !behind_.empty()) return;
    if (time != line.tags.end() && time->second.size() < 40 && time->second > seen_[kNewest]) seen_[kNewest] = time->second;
    if (seen_.contains(conversation) || seen_.size() <= kMostTargets) seen_[conversation] = line.tags.at("msgid");
}

void Irc::on_message(const IrcLine& line) {
    const std::string target = line.word(0), from = line.nick();
    if (from.empty() || target.empty() || line.source.find('!') == std::string::npos) return;  // servers talk too
    std::string text = line.word(1);
    if (text.starts_with("\x01" "ACTION ")) text = "* " + text.substr(8);
    else if (text.starts_with('\x01')) return;
    text = json::valid_utf8(irc_plain(text));
    const bool group = !irc_same(target, nick_) && target.find_first_of("#&+!") == 0;
    if (!group && !irc_same(target, nick_)) return;
    const bool addressed = !group || irc_addressed(text, nick_);
    const auto id = line.tags.find("msgid");
    const bool known = id != line.tags.end() && !id->second.empty() && id->second.size() <= 200;
    const std::string conversation = (group ? target : from).substr(0, 200);
    // A nick is anybody's; an account is one person's, and where there are none, what the server sees of them.
    const auto account = line.tags.find("account");
    const bool person = account != line.tags.end() && !account->second.empty() && account->second != "*";
    json::Value event = json::Value::object(
        {{"key", known ? id->second : run_ + "-" + std::to_string(++number_)},
         {"kind", "message"},
         {"conversation", conversation},
         {"scope", group ? "group" : "direct"},
         {"id", known ? id->second : run_ + "-" + std::to_string(number_)},
         {"sender", (person ? "account " + account->second : line.source).substr(0, 400)},
         {"name", from.substr(0, 100)},
         {"own", irc_same(from, nick_)},
         {"addressed", addressed},
         {"text", text}});
    if (group) event.set("title", target.substr(0, 200));
    if (known) note_seen(line, conversation);
    arrived_.push_back({std::move(event), cursor()});
}

}  // namespace

int run_irc(ChannelPort& port, const ChannelPort::Start& start) {
    return Irc(port, start).run();
}

}  // namespace peacrab
