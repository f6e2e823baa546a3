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
constexpr size_t kMostInvited = 50;  // rooms that we have not come into yet, in the cursor
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
    MatrixAnswer learn_self();
    void take_frames(Deadline deadline);
    void fetch(const json::Value& frame);
    void work();

    void sync();
    bool take_sync(const json::Value& answer);
    bool take_room(const std::string& id, const json::Value& room, std::vector<Arrived>& arrived);
    bool walk_back(const std::string& room, const std::string& from, std::vector<json::Value>& events);
    void take_event(const json::Value& event, const std::string& room, std::vector<Arrived>& arrived);
    void take_invite(const std::string& id, const json::Value& room);
    MatrixAnswer come_in(const std::string& id, const std::string& inviter);
    void come_in_where_due();
    void take_direct(const json::Value& content);
    bool is_direct(const std::string& room);
    bool may_invite(const std::string& user) const;
    std::string name_of(const std::string& room, const std::string& user);
    json::Value answered(const std::string& room, const std::string& id);
    void tell_encrypted(const std::string& room);
    bool doubt(const MatrixAnswer& answer);
    Time next_due();

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
    struct Invitation {
        std::string direct_with;  // who marked it as direct; "": it is a group
        Time due{};
        int tries = 0;
    };
    std::map<std::string, Invitation> invited_;  // by room
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
    if (const json::Value* const invited = cursor.find("invited"))
        for (const json::Member& room : invited->members()) invited_[room.first].direct_with = room.second.as_string();
}

std::string Matrix::cursor() const {
    json::Value told = json::Value::array(), invited = json::Value::object();
    for (const std::string& room : told_) told.push(room);
    for (const auto& [room, invitation] : invited_) invited.set(room, invitation.direct_with);
    return json::dump(json::Value::object(
        {{"since", since_}, {"device", device_}, {"moved", moved_}, {"told", std::move(told)}, {"invited", std::move(invited)}}));
}

// Which name it is called by and which rooms are direct decides what is said to it: not to know it is no answer. The last
// answer, which is ok when all is known.
MatrixAnswer Matrix::learn_self() {
    MatrixAnswer answer = api_.get("/account/whoami");
    self_.user = answer.result.text("user_id");
    const std::string device = answer.result.text("device_id"), user = in_matrix_path(self_.user);
    if (answer.ok() && !is_matrix_id(self_.user, '@')) {
        answer.kind = Kind::Failed;
        answer.failure = {"transient", "the Matrix server does not say who we are"};
    }
    if (!answer.ok()) return answer;
    const MatrixAnswer name = api_.get("/profile/" + user + "/displayname");
    if (!name.settled()) return name;
    self_.name = utf8_prefix(name.result.text("displayname"), 100);
    const MatrixAnswer direct = api_.get("/user/" + user + "/account_data/m.direct");
    if (!direct.settled()) return direct;
    take_direct(direct.result);
    if (!device.empty() && device != device_) moved_ = unix_seconds();
    device_ = device;
    return answer;
}

bool Matrix::introduce() {
    while (!over() && !stopping_) {
        const MatrixAnswer answer = learn_self();
        if (answer.ok() || refused(answer)) break;
        note_trouble(answer.failure.error);
        wait(std::max(backoff(), answer.failure.retry));
    }
    if (over() || stopping_) return false;
    failures_ = 0;
    troubled_ = false;
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
    const std::string address = frame.text("handle");
    if (!is_matrix_media(address)) return port_.not_fetched(frame.text("id"), "it does not lie with a Matrix server");
    const size_t slash = address.rfind('/');
    const std::string path = "/_matrix/client/v1/media/download/" + in_matrix_path(address.substr(6, slash - 6)) + address.substr(slash);
    answer_fetch(port_, frame, api_.url_of(path), {api_.header()}, "the Matrix server");
}

void Matrix::work() {
    outbox_.work();
    if (const std::optional<ChannelFailure> trouble = outbox_.take_trouble()) note_trouble(trouble->error);
    if (!over()) come_in_where_due();
}

// ---- sending

json::Value content_of(const Poster::Where& where, const Poster::Piece& piece) {
    return matrix_content(piece.plain, piece.text, where.thread, piece.part == 0 ? piece.reply_to : "");
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
bool Matrix::doubt(const MatrixAnswer& answer) {
    (void)refused(answer);
    doubtful_ |= !answer.settled();
    return !answer.settled();
}

// What is marked so, and has not become a room of more than two since.
bool Matrix::is_direct(const std::string& room) {
    if (!direct_.contains(room)) return false;
    const auto known = members_.find(room);
    if (known != members_.end()) return known->second <= 2;
    const MatrixAnswer answer = api_.get("/rooms/" + in_matrix_path(room) + "/joined_members");
    const json::Value& joined = part(answer.result, "joined");
    if (doubt(answer) || !answer.ok() || !joined.is_object()) return false;
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
        if (invited_.size() < kMostInvited) invited_[id].direct_with = part(event, "content").flag("is_direct") ? sender : "";
        return;
    }
}

// Not settled: all of it once more, later.
MatrixAnswer Matrix::come_in(const std::string& id, const std::string& inviter) {
    const MatrixAnswer joined = api_.post("/rooms/" + in_matrix_path(id) + "/join", json::Value::object());
    if (!joined.ok() || inviter.empty()) return joined;
    direct_.insert(id);
    // Kept there for our next life: what stands in it already stays.
    const std::string path = "/user/" + in_matrix_path(self_.user) + "/account_data/m.direct";
    MatrixAnswer known = api_.get(path);
    if (!known.settled()) return known;
    json::Value kept = known.ok() ? std::move(known.result) : json::Value::object();
    json::Value rooms = part(kept, inviter);
    if (!rooms.is_array()) rooms = json::Value::array();
    const auto is_it = [&](const json::Value& room) { return room.is_string() && room.as_string() == id; };
    if (std::any_of(rooms.items().begin(), rooms.items().end(), is_it)) return known;
    rooms.push(id);
    kept.set(inviter, std::move(rooms));
    return api_.put(path, kept);
}

// One at a time: a server that has to be asked in another country takes long.
void Matrix::come_in_where_due() {
    const auto due = std::find_if(invited_.begin(), invited_.end(), [now = Clock::now()](const auto& each) { return each.second.due <= now; });
    if (due == invited_.end()) return;
    const MatrixAnswer answer = come_in(due->first, due->second.direct_with);
    Invitation& invitation = due->second;
    if (refused(answer)) return;
    if (answer.settled() || ++invitation.tries >= kPatience) return (void)invited_.erase(due);
    invitation.due = Clock::now() + std::max(answer.failure.retry, std::min(kLongestBackoff, Milliseconds(1'000 << invitation.tries)));
}

Time Matrix::next_due() {
    Time due = outbox_.next_due();
    for (const auto& [room, invitation] : invited_) due = std::min(due, invitation.due);
    return due;
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
    (void)doubt(answer);
    const std::string text = part(answer.result, "content").text("body");
    return json::Value::object({{"id", id}, {"text", utf8_prefix(text, 500)}, {"own", answer.ok() && answer.result.text("sender") == self_.user}});
}

void Matrix::tell_encrypted(const std::string& room) {
    if (told_.size() >= kMostTold || !told_.insert(room).second) return;
    const json::Value words = json::Value::object({{"msgtype", "m.notice"}, {"body", kEncrypted}});
    if (doubt(api_.put("/rooms/" + in_matrix_path(room) + "/send/m.room.message/encrypted-" + in_matrix_path(room), words))) told_.erase(room);
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
    if (invites.is_object())
        for (const json::Member& room : invites.members()) take_invite(room.first, room.second);
    if (over()) return true;
    const std::string before = std::exchange(since_, next);
    if (before == next && arrived.empty()) return true;
    (void)port_.store(std::move(arrived), cursor());  // else it is over
    return true;
}

void Matrix::sync() {
    const Time now = Clock::now();
    const Time due = next_due();
    const auto left = std::chrono::duration_cast<Milliseconds>(std::clamp<Clock::duration>(due == Time::max() ? kPoll : due - now, Milliseconds(0), kPoll));
    const bool waits = !since_.empty() && last_alive_ != Time{} && !troubled_;
    const Milliseconds patience = waits ? left : Milliseconds(0);
    const std::string query = "/sync?timeout=" + std::to_string(patience.count()) + "&filter=" + in_matrix_path(kFilter) +
                              (since_.empty() ? "" : "&since=" + in_matrix_path(since_));
    MatrixAnswer answer = api_.sync(query, {.limit = patience + Milliseconds(30'000), .cancel_fd = waits ? port_.wake_fd() : -1});
    if (answer.kind == Kind::Cancelled || refused(answer)) return;
    // Synapse calls a cursor that it cannot read M_UNKNOWN.
    const bool no_cursor = answer.code == "M_INVALID_PARAM" || (answer.code == "M_UNKNOWN" && std::string_view(answer.failure.kind) == "permanent");
    const bool lost = answer.code == "M_UNKNOWN_POS" || (no_cursor && !since_.empty());
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
        const Time now = Clock::now(), due = next_due();
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
