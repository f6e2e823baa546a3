// One thread: do what the warden wants and what is due, then sync for as long as nothing is due. The token of the last
// sync is the cursor, and goes back only with what that sync has told, its gaps walked back; a gap that cannot be walked
// now leaves the cursor where it was. What is sent carries the delivery's key as its transaction, so that the server
// takes a second sending for the first: as long as the device stays the same, which is why the cursor has it in it.
#include "channels/matrix.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "channels/channel_files.h"
#include "channels/event_parts.h"
#include "channels/matrix_api.h"
#include "channels/matrix_event.h"
#include "channels/outbox.h"
#include "channels/turn_view.h"
#include "error.h"

namespace peacrab {
namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Kind = MatrixAnswer::Kind;

constexpr size_t kText = 12'000;  // bytes; an event has 64 KiB for all forms of a text, quoted and escaped
constexpr size_t kFile = size_t{20} << 20;
constexpr Milliseconds kPoll{30'000};
constexpr Milliseconds kAliveAgain{20'000};
constexpr Milliseconds kLongestBackoff{60'000};
constexpr Milliseconds kTyping{15'000};
constexpr size_t kMostPages = 20;  // of a hundred events: of a gap
constexpr size_t kMostRooms = 2'000;
constexpr size_t kMostNames = 1'000;
constexpr size_t kMostTold = 200;  // rooms, in the cursor
constexpr int kPatience = 12;      // failures in a row: then one room holds the others up no more
constexpr size_t kMostJoins = 20;  // of one sync
constexpr int64_t kMoved = 86'400;  // seconds after which nothing is sent again that another device had sent
constexpr const char* kKey = "org.peacrab.key";  // in the content of what we send
constexpr const char* kEncrypted =
    "This room is encrypted, and I cannot read what is said in encrypted rooms. Invite me to one that is not.";
constexpr const char* kFilter =
    R"({"room":{"timeline":{"limit":50,"types":["m.room.message","m.room.encrypted","m.room.member"]},)"
    R"("state":{"types":["m.room.name"],"lazy_load_members":true},"ephemeral":{"types":[]},"account_data":{"types":[]}},)"
    R"("presence":{"types":[]},"account_data":{"types":["m.direct"]}})";

int64_t unix_seconds() {
    return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

class Matrix : public Poster {
  public:
    Matrix(ChannelPort& port, const ChannelPort::Start& start)
        : port_(port),
          api_(start.settings.text("server"), port.take_secret("token")),
          invites_(split(start.settings.text("invites"), ',')),
          random_(std::random_device{}()) {
        if (start.cursor) read_cursor(*start.cursor);
    }
    int run();

    bool knows(const std::string& room) const override { return is_matrix_id(room, '!'); }
    bool is_group(const std::string& room) const override { return !direct_.contains(room); }
    std::vector<RenderedPart> render_parts(std::string_view markdown) const override {
        return render(markdown, {Markup::Email, kText, RenderStyle::Unit::Bytes});
    }
    Done post(const Where& where, const Piece& piece) override;
    Done edit(const Where& where, const std::string& platform, const Piece& piece) override;
    Done post_file(const Where& where, const Piece& piece, const File& file) override;
    Done show_typing(const Where& where) override;

  private:
    bool over() const { return ended_ || port_.ended(); }
    void stand_down(const std::string& text);
    void note_trouble(const std::string& text);
    bool refused(const MatrixAnswer& answer);
    Milliseconds backoff();
    void wait(Milliseconds span);
    void read_cursor(const std::string& text);
    std::string cursor() const;

    bool introduce();
    void take_frames(Deadline deadline);
    void fetch(const json::Value& frame);
    void work();

    void sync();
    bool take_sync(const json::Value& answer);
    bool take_room(const std::string& id, const json::Value& room, std::vector<Arrived>& arrived);
    bool walk_back(const std::string& room, const std::string& from, std::vector<json::Value>& events);
    void take_event(const json::Value& event, const std::string& room, std::vector<Arrived>& arrived);
    void take_invite(const std::string& id, const json::Value& room);
    void take_direct(const json::Value& content);
    bool is_direct(const std::string& room);
    bool may_invite(const std::string& user) const;
    std::string name_of(const std::string& room, const std::string& user);
    json::Value answered(const std::string& room, const std::string& id);
    void tell_encrypted(const std::string& room);
    void doubt(const MatrixAnswer& answer);

    json::Value content_of(const Where& where, const Piece& piece) const;
    Done send(const Where& where, const Piece& piece, json::Value content);
    std::string already_there(const std::string& room, const std::string& key);

    ChannelPort& port_;
    MatrixApi api_;
    const std::vector<std::string> invites_;
    std::minstd_rand random_;
    Outbox outbox_{port_, *this,
                   {.between = Milliseconds(300),
                    .between_shown = Milliseconds(2'000),
                    .typing_lease = kTyping,
                    .typing_again = Milliseconds(10'000)}};
    MatrixSelf self_;
    std::string device_, since_;
    int64_t moved_ = 0;  // when the device became another; 0: never
    std::set<std::string> direct_, told_;        // rooms
    std::map<std::string, size_t> members_;      // how many a direct room has, as far as it was asked
    std::map<std::string, std::string> names_, titles_;
    std::optional<int> ended_;
    bool stopping_ = false, troubled_ = false;
    bool doubtful_ = false;  // whether something was said to us could not be asked, now
    int failures_ = 0;  // in a row
    Time next_sync_{}, last_alive_{};
};

void Matrix::stand_down(const std::string& text) {
    port_.trouble("auth", text);
    ended_ = kExitStandDown;
}

// Once for a time of trouble.
void Matrix::note_trouble(const std::string& text) {
    if (!std::exchange(troubled_, true)) port_.trouble("network", text);
}

bool Matrix::refused(const MatrixAnswer& answer) {
    if (answer.kind != Kind::Auth) return false;
    if (!ended_)
        stand_down(answer.soft ? "the session has expired: log in once more with its device id, and give the new access token"
                               : "the Matrix server does not take the access token: its session was ended; log in again for a new one");
    return true;
}

Milliseconds Matrix::backoff() {
    failures_ = std::min(failures_ + 1, 16);
    const int64_t most = std::min<int64_t>(kLongestBackoff.count(), int64_t{1000} << (failures_ - 1));
    return Milliseconds(std::uniform_int_distribution<int64_t>(most / 2, most)(random_));
}

void Matrix::wait(Milliseconds span) {
    for (const Deadline deadline = Deadline::in(span); !deadline.passed() && !over() && !stopping_;) take_frames(deadline);
}

void Matrix::read_cursor(const std::string& text) {
    const json::Value cursor = json::parse(text, {size_t{1} << 20, 3});
    since_ = cursor.text("since");
    device_ = cursor.text("device");
    moved_ = cursor.integer("moved");
    if (const json::Value* const told = cursor.find("told"))
        for (const json::Value& room : told->items()) told_.insert(room.as_string());
}

std::string Matrix::cursor() const {
    json::Value told = json::Value::array();
    for (const std::string& room : told_) told.push(room);
    return json::dump(json::Value::object({{"since", since_}, {"device", device_}, {"moved", moved_}, {"told", std::move(told)}}));
}

bool Matrix::introduce() {
    while (!over() && !stopping_) {
        const MatrixAnswer answer = api_.get("/account/whoami");
        self_.user = answer.result.text("user_id");
        const std::string device = answer.result.text("device_id");
        if (answer.ok() && !device_.empty() && device != device_) moved_ = unix_seconds();
        if (answer.ok()) device_ = device;
        if (answer.ok() && is_matrix_id(self_.user, '@')) break;
        if (refused(answer)) break;
        note_trouble(answer.ok() ? "the Matrix server does not say who we are" : answer.failure.error);
        wait(std::max(backoff(), answer.failure.retry));
    }
    if (over() || stopping_) return false;
    failures_ = 0;
    troubled_ = false;
    const std::string user = in_matrix_path(self_.user);
    self_.name = utf8_prefix(api_.get("/profile/" + user + "/displayname").result.text("displayname"), 100);
    take_direct(api_.get("/user/" + user + "/account_data/m.direct").result);
    port_.hello("matrix", self_.user, self_.name.empty() ? self_.user : self_.name,
                json::Value::object({{"edits", 2'000},
                                     {"edits_group", 3'000},
                                     {"typing", static_cast<int64_t>(kTyping.count())},
                                     {"dedupe", "key"},
                                     {"files", kFile},
                                     {"text", kText}}));
    return true;
}

// ---- what the warden wants

void Matrix::take_frames(Deadline deadline) {
    for (std::optional<json::Value> frame = port_.receive(deadline); frame; frame = port_.receive(Deadline())) {
        const std::string type = frame->text("type");
        if (type == "stop") stopping_ = true;
        else if (type == "resolve") port_.failed(frame->text("id"), {"not_sent", "sent again, it is there once"});
        else if (type == "fetch") fetch(*frame);
        else (void)outbox_.take(*frame);
    }
}

void Matrix::fetch(const json::Value& frame) {
    const std::string address = frame.text("handle"), place = address.starts_with("mxc://") ? address.substr(6) : "";
    const size_t slash = place.find('/');
    if (slash == std::string::npos || place.find('/', slash + 1) != std::string::npos)
        return port_.not_fetched(frame.text("id"), "it does not lie with a Matrix server");
    const std::string path = "/_matrix/client/v1/media/download/" + in_matrix_path(place.substr(0, slash)) + "/" +
                             in_matrix_path(place.substr(slash + 1));
    answer_fetch(port_, frame, api_.url_of(path), {api_.header()}, "the Matrix server");
}

void Matrix::work() {
    outbox_.work();
    if (const std::optional<ChannelFailure> trouble = outbox_.take_trouble()) note_trouble(trouble->error);
}

// ---- sending

json::Value Matrix::content_of(const Where& where, const Piece& piece) const {
    json::Value content = json::Value::object({{"msgtype", "m.text"}, {"body", piece.plain}, {"m.mentions", json::Value::object()}});
    if (piece.text != piece.plain) {
        content.set("format", "org.matrix.custom.html");
        content.set("formatted_body", piece.text);
    }
    const bool thread = is_matrix_id(where.thread, '$'), reply = piece.part == 0 && is_matrix_id(piece.reply_to, '$');
    json::Value relation = json::Value::object();
    if (thread) {
        relation.set("rel_type", "m.thread");
        relation.set("event_id", where.thread);
        relation.set("is_falling_back", !reply);
    }
    if (thread || reply) relation.set("m.in_reply_to", json::Value::object({{"event_id", reply ? piece.reply_to : where.thread}}));
    if (thread || reply) content.set("m.relates_to", std::move(relation));
    return content;
}

// What was sent by another device is not known by its transaction: it is looked for among the last hundred.
std::string Matrix::already_there(const std::string& room, const std::string& key) {
    const MatrixAnswer answer = api_.get("/rooms/" + in_matrix_path(room) + "/messages?dir=b&limit=100");
    const json::Value& chunk = part(answer.result, "chunk");
    if (!answer.ok() || !chunk.is_array()) return {};
    for (const json::Value& event : chunk.items())
        if (event.text("sender") == self_.user && part(event, "content").text(kKey) == key) return event.text("event_id");
    return {};
}

Poster::Done Matrix::send(const Where& where, const Piece& piece, json::Value content) {
    const std::string key = piece.key.empty() ? random_hex(12) : piece.key + "." + std::to_string(piece.part);
    if (piece.again && unix_seconds() - moved_ < kMoved)
        if (const std::string id = already_there(where.conversation, key); is_matrix_id(id, '$')) return {.ok = true, .platform = id};
    if (!piece.key.empty()) content.set(kKey, key);
    const MatrixAnswer answer =
        api_.put("/rooms/" + in_matrix_path(where.conversation) + "/send/m.room.message/" + in_matrix_path(key), content);
    (void)refused(answer);
    Done done{.ok = answer.ok(), .platform = answer.result.text("event_id"), .failure = answer.failure};
    if (done.ok && !is_matrix_id(done.platform, '$'))
        done = {.failure = {"unknown", "the Matrix server gave an answer that cannot be read"}};
    done.for_all = !done.ok && std::string_view(done.failure.kind) == "not_sent";
    return done;
}

Poster::Done Matrix::post(const Where& where, const Piece& piece) { return send(where, piece, content_of(where, piece)); }

Poster::Done Matrix::edit(const Where& where, const std::string& platform, const Piece& piece) {
    if (!is_matrix_id(platform, '$')) return post(where, piece);
    Piece bare = piece;
    bare.reply_to.clear();
    json::Value text = content_of({where.conversation, ""}, bare);
    json::Value content = json::Value::object(
        {{"msgtype", "m.text"},
         {"body", "* " + std::string(utf8_prefix(piece.plain, 500))},  // for who knows no edits
         {"m.mentions", json::Value::object()},
         {"m.new_content", std::move(text)},
         {"m.relates_to", json::Value::object({{"rel_type", "m.replace"}, {"event_id", platform}})}});
    Done done = send(where, piece, std::move(content));
    if (done.ok) done.platform = platform;  // what stands there keeps its id
    return done;
}

Poster::Done Matrix::post_file(const Where& where, const Piece& piece, const File& file) {
    MatrixApi::Options options{.limit = Milliseconds(60'000)};
    options.content_type = file.mime.find_first_of("\r\n") == std::string::npos && !file.mime.empty() ? file.mime : "application/octet-stream";
    const MatrixAnswer put =
        api_.call("POST", "/_matrix/media/v3/upload?filename=" + in_matrix_path(file.name), file.bytes, options);
    const std::string address = put.result.text("content_uri");
    if (!put.ok() || !address.starts_with("mxc://")) {
        Done done{.failure = put.failure};
        if (put.ok() || std::string_view(done.failure.kind) == "unknown") done.failure.kind = "transient";  // nobody has seen it
        if (done.failure.error.empty()) done.failure.error = "the Matrix server did not take the file";
        (void)refused(put);
        return done;
    }
    const char* type = file.kind == "picture" ? "m.image" : file.kind == "voice" || file.kind == "audio" ? "m.audio" : file.kind == "video" ? "m.video" : "m.file";
    Piece name = piece;
    name.text = name.plain = file.name;
    json::Value content = content_of(where, name);
    content.set("msgtype", type);
    content.set("url", address);
    content.set("info", json::Value::object({{"mimetype", options.content_type}, {"size", file.bytes.size()}}));
    if (file.kind == "voice") content.set("org.matrix.msc3245.voice", json::Value::object());
    return send(where, piece, std::move(content));
}

Poster::Done Matrix::show_typing(const Where& where) {
    const MatrixAnswer answer = api_.put("/rooms/" + in_matrix_path(where.conversation) + "/typing/" + in_matrix_path(self_.user),
                                         json::Value::object({{"typing", true}, {"timeout", static_cast<int64_t>(kTyping.count())}}));
    return {.ok = answer.ok(), .failure = answer.failure};
}

// ---- rooms

bool Matrix::may_invite(const std::string& user) const {
    const size_t colon = user.find(':');
    const std::string server = colon == std::string::npos ? "" : user.substr(colon + 1);
    if (invites_.empty() || invites_[0].empty()) return server == self_.user.substr(self_.user.find(':') + 1);
    return std::any_of(invites_.begin(), invites_.end(),
                       [&](const std::string& one) { return one == "*" || one == user || one == server; });
}

void Matrix::take_direct(const json::Value& content) {
    if (!content.is_object()) return;
    direct_.clear();
    for (const json::Member& person : content.members()) {
        if (!person.second.is_array()) continue;
        for (const json::Value& room : person.second.items())
            if (room.is_string() && is_matrix_id(room.as_string(), '!') && direct_.size() < kMostRooms) direct_.insert(room.as_string());
    }
}

// What has no answer now may have one in the next sync, which tells the same again.
void Matrix::doubt(const MatrixAnswer& answer) {
    (void)refused(answer);
    const std::string_view kind = answer.failure.kind;
    doubtful_ |= kind != "gone" && kind != "permanent";
}

// What is marked so, and has not become a room of more than two since.
bool Matrix::is_direct(const std::string& room) {
    if (!direct_.contains(room)) return false;
    const auto known = members_.find(room);
    if (known != members_.end()) return known->second <= 2;
    const MatrixAnswer answer = api_.get("/rooms/" + in_matrix_path(room) + "/joined_members");
    const json::Value& joined = part(answer.result, "joined");
    if (!answer.ok()) doubt(answer);
    if (!answer.ok() || !joined.is_object()) return false;
    if (members_.size() >= kMostRooms) members_.clear();
    return (members_[room] = joined.members().size()) <= 2;
}

void Matrix::take_invite(const std::string& id, const json::Value& room) {
    const json::Value& events = part(part(room, "invite_state"), "events");
    if (!is_matrix_id(id, '!') || !events.is_array()) return;
    for (const json::Value& event : events.items()) {
        const std::string sender = event.text("sender");
        if (event.text("type") != "m.room.member" || event.text("state_key") != self_.user) continue;
        if (!is_matrix_id(sender, '@') || !may_invite(sender)) return;
        const MatrixAnswer answer = api_.post("/rooms/" + in_matrix_path(id) + "/join", json::Value::object());
        if (!answer.ok() || !part(event, "content").flag("is_direct")) return;
        direct_.insert(id);
        // Kept there for our next life: what stands in it already stays.
        const std::string path = "/user/" + in_matrix_path(self_.user) + "/account_data/m.direct";
        json::Value kept = api_.get(path).result;
        if (kept.find("errcode")) kept = json::Value::object();
        json::Value rooms = part(kept, sender);
        if (!rooms.is_array()) rooms = json::Value::array();
        rooms.push(id);
        kept.set(sender, std::move(rooms));
        (void)api_.put(path, kept);
        return;
    }
}

// "": the id.
std::string Matrix::name_of(const std::string& room, const std::string& user) {
    const std::string key = room + "/" + user;
    if (const auto known = names_.find(key); known != names_.end()) return known->second;
    const MatrixAnswer answer =
        api_.call("GET", "/rooms/" + in_matrix_path(room) + "/state/m.room.member/" + in_matrix_path(user), {}, {.limit = Milliseconds(3'000)});
    if (names_.size() >= kMostNames) names_.clear();
    std::string name = one_line(answer.result.text("displayname"), 100);
    return names_[key] = name.empty() ? user : name + " (" + user + ")";
}

json::Value Matrix::answered(const std::string& room, const std::string& id) {
    const MatrixAnswer answer =
        api_.call("GET", "/rooms/" + in_matrix_path(room) + "/event/" + in_matrix_path(id), {}, {.limit = Milliseconds(3'000)});
    if (!answer.ok()) doubt(answer);
    const std::string text = part(answer.result, "content").text("body");
    return json::Value::object({{"id", id}, {"text", utf8_prefix(text, 500)}, {"own", answer.ok() && answer.result.text("sender") == self_.user}});
}

void Matrix::tell_encrypted(const std::string& room) {
    if (told_.size() >= kMostTold || !told_.insert(room).second) return;
    const json::Value words = json::Value::object({{"msgtype", "m.notice"}, {"body", kEncrypted}});
    (void)api_.put("/rooms/" + in_matrix_path(room) + "/send/m.room.message/encrypted-" + in_matrix_path(room), words);
}

// ---- receiving

// What was said between the last sync and this one, newest first; false: not now.
bool Matrix::walk_back(const std::string& room, const std::string& from, std::vector<json::Value>& events) {
    std::string token = from;
    for (size_t page = 0; page < kMostPages && !token.empty(); ++page) {
        const MatrixAnswer answer = api_.get("/rooms/" + in_matrix_path(room) + "/messages?dir=b&limit=100&from=" + in_matrix_path(token) +
                                             (since_.empty() ? "" : "&to=" + in_matrix_path(since_)));
        if (refused(answer)) return false;
        if (!answer.ok() && std::string_view(answer.failure.kind) == "gone") return true;
        const json::Value& chunk = part(answer.result, "chunk");
        if (!answer.ok() || !chunk.is_array()) return false;
        for (const json::Value& event : chunk.items()) {
            events.push_back(event);
            // Where we came in: what was before is not for us.
            const bool own = event.text("type") == "m.room.member" && event.text("state_key") == self_.user;
            if (own && part(event, "content").text("membership") == "invite") return true;
        }
        const std::string next = answer.result.text("end");
        if (chunk.items().empty() || next == token) return true;
        token = next;
    }
    if (!token.empty()) port_.trouble("network", "so much was said in a room meanwhile that the oldest of it was left out");
    return true;
}

void Matrix::take_event(const json::Value& event, const std::string& room, std::vector<Arrived>& arrived) {
    const std::string type = event.text("type");
    if (type == "m.room.member") members_.erase(room);
    if (type == "m.room.encrypted" && event.text("sender") != self_.user) return tell_encrypted(room);
    std::optional<json::Value> said = read_matrix_event(event, {room, titles_[room], is_direct(room)}, self_);
    if (!said) return;
    const std::string sender = said->text("sender"), name = name_of(room, sender);
    said->set("name", utf8_prefix(name, 200));
    if (const std::string id = matrix_answered(event); !id.empty()) {
        json::Value reply = answered(room, id);
        if (reply.flag("own")) said->set("addressed", true);
        said->set("reply_to", std::move(reply));
    }
    arrived.push_back({std::move(*said), cursor()});
}

// Where we came in, in a timeline: the last invitation, or else the last time we joined, which a new name of ours is not.
size_t entry_of(const std::vector<json::Value>& events, const std::string& self) {
    size_t entry = 0;
    for (size_t i = 0; i < events.size(); ++i) {
        if (events[i].text("type") != "m.room.member" || events[i].text("state_key") != self) continue;
        const std::string now = part(events[i], "content").text("membership");
        const std::string before = part(part(events[i], "unsigned"), "prev_content").text("membership");
        if (now == "invite" || (now == "join" && before != "join" && before != "invite")) entry = i;
    }
    return entry;
}

bool Matrix::take_room(const std::string& id, const json::Value& room, std::vector<Arrived>& arrived) {
    if (!is_matrix_id(id, '!')) return true;
    for (const char* of : {"state", "timeline"}) {
        const json::Value& events = part(part(room, of), "events");
        if (!events.is_array()) continue;
        for (const json::Value& event : events.items())
            if (event.text("type") == "m.room.name") titles_[id] = one_line(part(event, "content").text("name"), 200);
    }
    if (titles_.size() > kMostRooms) titles_.clear();
    const json::Value& timeline = part(room, "timeline");
    const json::Value& events = part(timeline, "events");
    if (!events.is_array()) return true;
    std::vector<json::Value> all;
    const bool whole = !timeline.flag("limited") || walk_back(id, timeline.text("prev_batch"), all);
    if (!whole && failures_ < kPatience) return false;
    if (!whole) port_.trouble("network", "the Matrix server does not tell all that was said in a room meanwhile: the oldest of it was left out");
    std::reverse(all.begin(), all.end());
    all.insert(all.end(), events.items().begin(), events.items().end());
    for (size_t i = entry_of(all, self_.user); i < all.size(); ++i) take_event(all[i], id, arrived);
    if (const std::string last = all.empty() ? "" : all.back().text("event_id"); is_matrix_id(last, '$'))
        (void)api_.post("/rooms/" + in_matrix_path(id) + "/receipt/m.read/" + in_matrix_path(last), json::Value::object());
    return true;
}

// False: the same has to be asked for again.
bool Matrix::take_sync(const json::Value& answer) {
    const std::string next = answer.text("next_batch");
    if (next.empty() || next.size() > 10'000) return false;
    const json::Value& account = part(part(answer, "account_data"), "events");
    if (account.is_array())
        for (const json::Value& event : account.items())
            if (event.text("type") == "m.direct") take_direct(part(event, "content"));
    const json::Value& rooms = part(answer, "rooms");
    const json::Value &invites = part(rooms, "invite"), &joined = part(rooms, "join");
    std::vector<Arrived> arrived;
    doubtful_ = false;
    if (joined.is_object() && !since_.empty())  // what stands there already was not said to us
        for (const json::Member& room : joined.members())
            if (!take_room(room.first, room.second, arrived) || (doubtful_ && failures_ < kPatience)) return false;
    size_t joins = 0;
    if (invites.is_object())
        for (const json::Member& room : invites.members())
            if (joins++ < kMostJoins) take_invite(room.first, room.second);
    if (over()) return true;
    const std::string before = std::exchange(since_, next);
    if (before == next && arrived.empty()) return true;
    (void)port_.store(std::move(arrived), cursor());  // else it is over
    return true;
}

void Matrix::sync() {
    const Time now = Clock::now();
    const Time due = outbox_.next_due();
    const auto left = std::chrono::duration_cast<Milliseconds>(std::clamp<Clock::duration>(due == Time::max() ? kPoll : due - now, Milliseconds(0), kPoll));
    const bool waits = !since_.empty() && last_alive_ != Time{} && !troubled_;
    const Milliseconds patience = waits ? left : Milliseconds(0);
    const std::string query = "/sync?timeout=" + std::to_string(patience.count()) + "&filter=" + in_matrix_path(kFilter) +
                              (since_.empty() ? "" : "&since=" + in_matrix_path(since_));
    MatrixAnswer answer = api_.sync(query, {.limit = patience + Milliseconds(30'000), .cancel_fd = waits ? port_.wake_fd() : -1});
    if (answer.kind == Kind::Cancelled || refused(answer)) return;
    const bool lost = answer.code == "M_UNKNOWN_POS" || (answer.code == "M_INVALID_PARAM" && !since_.empty());
    if (lost) {
        port_.trouble("network", "the Matrix server does not know any more what was said last: what was said meanwhile is not answered");
        since_.clear();
    }
    if (answer.ok() && take_sync(answer.result)) {
        failures_ = 0;
        troubled_ = false;
        if (last_alive_ != Time{} && Clock::now() - last_alive_ < kAliveAgain) return;
        last_alive_ = Clock::now();
        return port_.alive();
    }
    if (over() || lost) return;
    note_trouble(answer.ok() ? "the Matrix server does not tell what was said meanwhile" : answer.failure.error);
    next_sync_ = Clock::now() + std::max(backoff(), answer.failure.retry);
}

int Matrix::run() {
    if (!introduce()) return ended_.value_or(0);
    while (!over()) {
        take_frames(Deadline());
        if (over()) break;
        work();
        if (over() || (stopping_ && outbox_.idle())) break;
        const Time now = Clock::now(), due = outbox_.next_due();
        if (!stopping_ && now >= next_sync_ && due > now) {
            sync();
            continue;
        }
        const Time until = stopping_ ? due : std::min(due, next_sync_);
        take_frames(Deadline::in(std::chrono::ceil<Milliseconds>(std::clamp<Clock::duration>(until - now, Milliseconds(0), Seconds(60)))));
    }
    return ended_.value_or(0);
}

}  // namespace

int run_matrix(ChannelPort& port, const ChannelPort::Start& start) {
    return run_adapter<Matrix>(port, start);
}

}  // namespace peacrab
