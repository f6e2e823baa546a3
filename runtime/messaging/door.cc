// Every rule that lets somebody in, or not, stands in judge().
#include "messaging/door.h"

#include <sys/random.h>

#include <algorithm>

#include "channels/turn_view.h"
#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS people(channel TEXT NOT NULL, sender TEXT NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL,
    place INTEGER NOT NULL DEFAULT 0, since INTEGER NOT NULL DEFAULT (unixepoch()), PRIMARY KEY(channel, sender))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS codes(channel TEXT NOT NULL, code TEXT NOT NULL, role TEXT NOT NULL,
    until INTEGER NOT NULL, PRIMARY KEY(channel, code)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tries(channel TEXT NOT NULL, sender TEXT NOT NULL, count INTEGER NOT NULL,
    since INTEGER NOT NULL, PRIMARY KEY(channel, sender)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS at_the_door(channel TEXT NOT NULL, sender TEXT NOT NULL, name TEXT NOT NULL,
    ticket TEXT NOT NULL UNIQUE, since INTEGER NOT NULL DEFAULT (unixepoch()), PRIMARY KEY(channel, sender))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS groups(channel TEXT NOT NULL, conversation TEXT NOT NULL, title TEXT NOT NULL,
    PRIMARY KEY(channel, conversation)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS arrivals_of_sender ON arrivals(channel, sender, received);
)";

constexpr char kLetters[] = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";  // 32, none that looks like another
constexpr size_t kCodeLength = 8;
constexpr const char* kTooMany = "too many messages within an hour";
constexpr const char* kNotOpen = "a group in which no owner has spoken to us";
constexpr int64_t kMostAtTheDoor = 200, kDaysAtTheDoor = 7;
constexpr int64_t kMostTold = 5;  // in ten minutes, of one channel

std::string random_letters(size_t count) {
    std::string text(count, ' ');
    if (::getrandom(text.data(), count, 0) != static_cast<ssize_t>(count)) throw ErrnoError("door: getrandom");
    for (char& c : text) c = kLetters[static_cast<unsigned char>(c) % 32];
    return text;
}

// As people type it: "k7m2-p4qx", " K7M2 P4QX ".
std::string as_code(const std::string& text) {
    std::string code;
    for (const char c : text) {
        if (c == ' ' || c == '-' || c == '\n') continue;
        code += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        if (code.size() > kCodeLength) return {};
    }
    const bool right = code.size() == kCodeLength && code.find_first_not_of(kLetters) == std::string::npos;
    return right ? code : std::string();
}

}  // namespace

const char* role_name(Role role) {
    switch (role) {
        case Role::None:
            return "nobody";
        case Role::Guest:
            return "guest";
        case Role::Member:
            return "member";
        case Role::Owner:
            return "owner";
    }
    return "nobody";
}

std::optional<Role> role_from(const std::string& name) {
    for (const Role role : {Role::Guest, Role::Member, Role::Owner})
        if (name == role_name(role)) return role;
    return std::nullopt;
}

Door::Door(Database& database) : database_(database) {
    database_.run(kSchema);
}

Role Door::role_of(const std::string& channel, const std::string& sender) {
    Statement query = database_.prepare("SELECT role FROM people WHERE channel = ? AND sender = ?");
    if (!query.bind(channel).bind(sender).step()) return Role::None;
    return role_from(query.text(0)).value_or(Role::None);
}

Admission Door::judge(const std::string& channel, const Event& event) {
    using What = Admission::What;
    if (event.own) return {What::Dropped, "we wrote it ourselves", {}};
    if (event.bot) return {What::Dropped, "another program wrote it", {}};
    if (event.unproven) return {What::Dropped, "nobody vouches for its sender", {}};
    const Role role = role_of(channel, event.sender);
    if (role == Role::None && event.kind == Event::Kind::Press) return {What::Dropped, "a button, by somebody who is not known", {}};
    if (!event.group && role == Role::None) {
        if (event.kind == Event::Kind::Edit) return {What::Dropped, "an edit by somebody who is not known", {}};
        if (const std::optional<Role> given = use_code(channel, event))
            return {What::Dropped, std::string("a pairing code, for the role ") + role_name(*given),
                    std::string("You are paired, as ") + role_name(*given) + ". Say what you need; /help lists commands."};
        if (turned_away(channel, event.sender)) return {What::Dropped, "an owner said no", {}};
        return {What::Held, "somebody who is not known, in a direct chat", {}};
    }
    if (role == Role::None) return {What::Dropped, "somebody who is not known, in a group", {}};
    if (event.group && !is_open(channel, event.conversation)) {
        if (role != Role::Owner || !event.addressed || event.kind != Event::Kind::Message) {
            const bool told = !event.addressed || event.kind == Event::Kind::Press || lately(channel, event.sender, "dropped", kNotOpen) > 0;
            return {What::Dropped, kNotOpen, told ? "" : "I am not heard here yet: an owner has to say something to me first, here."};
        }
        open_group(channel, event);
    }
    if (!event.addressed) return {What::Silent, "in a group, and not said to us", {}};
    const bool command = event.text.starts_with('/') && event.kind == Event::Kind::Message;
    // Two programs that answer each other, which nobody has called programs, end here too. Some commands begin turns.
    const int64_t most = role == Role::Guest ? kMostOfGuests : kMostOfMembers;
    const bool bounded = role != Role::Owner && !(command && event.text == "/stop");
    if (bounded && lately(channel, event.sender, command ? "command" : "admitted", "") >= most) {
        const bool told = lately(channel, event.sender, "dropped", kTooMany) > 0;
        return {What::Dropped, kTooMany + (": the role " + std::string(role_name(role))),
                told ? "" : "That was too much for an hour: for a " + std::string(role_name(role)) + " it is " +
                                std::to_string(most) + " messages. What you say now is not read; try again later."};
    }
    if (command) return {What::Command, std::string("a command of the role ") + role_name(role), {}};
    return {What::Admitted, std::string("said by the role ") + role_name(role), {}};
}

bool Door::is_open(const std::string& channel, const std::string& conversation) {
    return database_.prepare("SELECT 1 FROM groups WHERE channel = ? AND conversation = ?").bind(channel).bind(conversation).step();
}

void Door::open_group(const std::string& channel, const Event& event) {
    database_.prepare("INSERT OR IGNORE INTO groups(channel, conversation, title) VALUES(?, ?, ?)")
        .bind(channel)
        .bind(event.conversation)
        .bind(event.title)
        .run();
}

void Door::close_group(const std::string& channel, const std::string& conversation) {
    database_.prepare("DELETE FROM groups WHERE channel = ? AND conversation = ?").bind(channel).bind(conversation).run();
}

void Door::group_moved(const std::string& channel, const std::string& from, const std::string& to) {
    database_.prepare("UPDATE OR IGNORE groups SET conversation = ? WHERE channel = ? AND conversation = ?").bind(to).bind(channel).bind(from).run();
}

std::vector<Door::Group> Door::groups() {
    Statement query = database_.prepare("SELECT channel, conversation, title FROM groups ORDER BY channel, title");
    std::vector<Group> all;
    while (query.step()) all.push_back({query.text(0), query.text(1), query.text(2)});
    return all;
}

std::optional<int64_t> Door::most_of_files(Role role) {
    if (role == Role::Owner) return std::nullopt;
    return role == Role::Member ? kFilesOfMembers : kFilesOfGuests;
}

// How many there were within an hour; `rule`: how it begins.
int64_t Door::lately(const std::string& channel, const std::string& sender, const char* verdict, const char* rule) {
    Statement query = database_.prepare("SELECT count(*) FROM arrivals WHERE channel = ? AND sender = ? AND received > "
                                        "unixepoch() - 3600 AND verdict = ? AND instr(rule, ?) = 1");
    query.bind(channel).bind(sender).bind(std::string_view(verdict)).bind(std::string_view(rule)).step();
    return query.integer(0);
}

std::optional<Role> Door::use_code(const std::string& channel, const Event& event) {
    const std::string code = as_code(event.text);
    if (code.empty()) return std::nullopt;
    database_.prepare("DELETE FROM codes WHERE until < unixepoch()").run();
    database_.prepare("DELETE FROM tries WHERE since < unixepoch() - 3600").run();
    Statement tried = database_.prepare("SELECT count FROM tries WHERE channel = ? AND sender = ?");
    const bool locked = tried.bind(channel).bind(event.sender).step() && tried.integer(0) >= kMostTries;
    tried.run();
    Statement query = database_.prepare("SELECT role FROM codes WHERE channel = ? AND code = ?");
    const bool right = query.bind(channel).bind(code).step();
    if (locked || !right) {
        database_
            .prepare("INSERT INTO tries(channel, sender, count, since) VALUES(?, ?, 1, unixepoch()) "
                     "ON CONFLICT(channel, sender) DO UPDATE SET count = count + 1")
            .bind(channel)
            .bind(event.sender)
            .run();
        return std::nullopt;
    }
    const std::optional<Role> role = role_from(query.text(0));
    query.run();
    database_.prepare("DELETE FROM codes WHERE channel = ? AND code = ?").bind(channel).bind(code).run();
    if (role) set_role(channel, event.sender, event.name, *role);
    return role;
}

std::string Door::make_code(const std::string& channel, Role role) {
    const std::string code = random_letters(kCodeLength);
    database_.prepare("INSERT INTO codes(channel, code, role, until) VALUES(?, ?, ?, unixepoch() + ?)")
        .bind(channel)
        .bind(code)
        .bind(role_name(role))
        .bind(kCodeSeconds)
        .run();
    return code.substr(0, 4) + "-" + code.substr(4);
}

void Door::set_role(const std::string& channel, const std::string& sender, const std::string& name, Role role) {
    if (role == Role::None) {
        database_.prepare("DELETE FROM people WHERE channel = ? AND sender = ?").bind(channel).bind(sender).run();
        return;
    }
    database_
        .prepare("INSERT INTO people(channel, sender, name, role) VALUES(?, ?, ?, ?) ON CONFLICT(channel, sender) DO "
                 "UPDATE SET role = excluded.role, name = excluded.name")
        .bind(channel)
        .bind(sender)
        .bind(name)
        .bind(role_name(role))
        .run();
    database_.prepare("DELETE FROM at_the_door WHERE channel = ? AND sender = ?").bind(channel).bind(sender).run();
}

std::vector<Door::Person> Door::people(const std::string& channel) {
    Statement query = database_.prepare("SELECT channel, sender, name, role FROM people WHERE ?1 = '' OR channel = ?1 ORDER BY channel, since");
    query.bind(channel);
    std::vector<Person> all;
    while (query.step())
        all.push_back({query.text(0), query.text(1), query.text(2), role_from(query.text(3)).value_or(Role::None)});
    return all;
}

std::vector<int64_t> Door::owners_places(const std::string& channel) {
    Statement query = database_.prepare("SELECT place FROM people WHERE role = 'owner' AND place > 0 AND (?1 = '' OR channel = ?1)");
    query.bind(channel);
    std::vector<int64_t> all;
    while (query.step()) all.push_back(query.integer(0));
    return all;
}

std::optional<int64_t> Door::place_of(const std::string& channel, const std::string& sender) {
    Statement query = database_.prepare("SELECT place FROM people WHERE channel = ?1 AND place > 0 AND (sender = ?2 OR (?2 = '' AND "
                                        "role = 'owner')) ORDER BY since LIMIT 1");
    if (!query.bind(channel).bind(sender).step()) return std::nullopt;
    return query.integer(0);
}

std::optional<Door::Person> Door::person_at(int64_t place) {
    Statement query = database_.prepare("SELECT channel, sender, name, role FROM people WHERE place = ? LIMIT 1");
    if (!query.bind(place).step()) return std::nullopt;
    return Person{query.text(0), query.text(1), query.text(2), role_from(query.text(3)).value_or(Role::None)};
}

void Door::note_place(const std::string& channel, const std::string& sender, int64_t place) {
    database_.prepare("UPDATE people SET place = ?1 WHERE channel = ?2 AND sender = ?3 AND place <> ?1")
        .bind(place)
        .bind(channel)
        .bind(sender)
        .run();
}

std::string Door::announce(const std::string& channel, const Event& event) {
    Statement count = database_.prepare("SELECT count(*), total(since > unixepoch() - 600) FROM at_the_door WHERE channel = ?1 AND sender <> ?2 "
                                        "AND ticket NOT LIKE 'denied %'");
    count.bind(channel).bind(event.sender).step();
    const bool full = count.integer(0) >= kMostAtTheDoor;
    const bool told_enough = count.integer(1) >= kMostTold;  // the others stand in /people
    count.run();
    if (full)
        database_
            .prepare("DELETE FROM at_the_door WHERE channel = ?1 AND sender = (SELECT sender FROM at_the_door WHERE channel = ?1 AND sender <> ?2 "
                     "AND ticket NOT LIKE 'denied %' ORDER BY since LIMIT 1)")
            .bind(channel)
            .bind(event.sender)
            .run();
    Statement insert = database_.prepare("INSERT OR IGNORE INTO at_the_door(channel, sender, name, ticket) VALUES(?, ?, ?, ?) RETURNING ticket");
    insert.bind(channel).bind(event.sender).bind(event.name).bind(lower(random_letters(4)));
    const std::string ticket = insert.step() ? insert.text(0) : std::string();
    insert.run();
    return told_enough ? std::string() : ticket;
}

std::optional<Door::Waiting> Door::waiting(const std::string& ticket) {
    Statement query = database_.prepare("SELECT ticket, channel, sender, name FROM at_the_door WHERE ticket = ?");
    if (!query.bind(lower(ticket)).step()) return std::nullopt;
    return Waiting{query.text(0), query.text(1), query.text(2), query.text(3)};
}

bool Door::turned_away(const std::string& channel, const std::string& sender) {
    Statement query = database_.prepare("SELECT 1 FROM at_the_door WHERE channel = ? AND sender = ? AND ticket LIKE 'denied %'");
    return query.bind(channel).bind(sender).step();
}

std::vector<Door::Waiting> Door::all_waiting(const std::string& channel) {
    Statement query = database_.prepare("SELECT ticket, channel, sender, name FROM at_the_door WHERE (?1 = '' OR channel = ?1) AND "
                                        "ticket NOT LIKE 'denied %'");
    query.bind(channel);
    std::vector<Waiting> all;
    while (query.step()) all.push_back({query.text(0), query.text(1), query.text(2), query.text(3)});
    return all;
}

void Door::prune() {
    database_.prepare("DELETE FROM at_the_door WHERE since < unixepoch() - ? * 86400 AND ticket NOT LIKE 'denied %'").bind(kDaysAtTheDoor).run();
}

std::vector<int64_t> Door::places() {
    Statement query = database_.prepare("SELECT place FROM people WHERE place > 0");
    std::vector<int64_t> all;
    while (query.step()) all.push_back(query.integer(0));
    return all;
}

void Door::turn_away(const std::string& ticket) {
    database_.prepare("UPDATE at_the_door SET ticket = 'denied ' || channel || ' ' || sender WHERE ticket = ?").bind(lower(ticket)).run();
}

}  // namespace peacrab
