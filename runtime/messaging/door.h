// Who may speak, and as what. Ids decide, never names; who is not known is not let in. What it knows is the host's:
// a table beside the post. Must not know what a message is about.
//
// A person's role: owner (lets others in, approves), member, guest. It is given by a pairing code, which is made on
// the host and sent by the person in a direct chat, or by an owner's /allow for somebody who waits at the door.
//
// Groups are a list of their own: who may speak in a direct chat is heard in a group only once an owner has said
// something to us there, and until an owner says /close there.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "messaging/event.h"
#include "messaging/post.h"

namespace peacrab {

enum class Role { None, Guest, Member, Owner };
const char* role_name(Role role);  // "nobody", "guest", "member", "owner"
std::optional<Role> role_from(const std::string& name);

class Door {
  public:
    explicit Door(Database& database);

    Role role_of(const std::string& channel, const std::string& sender);
    // The one decision. In a transaction of the caller's, since a pairing code is used up by it.
    Admission judge(const std::string& channel, const Event& event);

    // "K7M2-P4QX": good for ten minutes, for one person who sends it in a direct chat of this channel.
    std::string make_code(const std::string& channel, Role role);
    void set_role(const std::string& channel, const std::string& sender, const std::string& name, Role role);

    struct Person {
        std::string channel, sender, name;
        Role role = Role::None;
    };
    std::vector<Person> people(const std::string& channel);  // "": of all
    std::optional<Person> person_at(int64_t place);
    // Where an owner is told things: the direct chats in which owners have written.
    std::vector<int64_t> owners_places(const std::string& channel);
    // The direct chat of that person, or, of nobody in particular, of the owner who is longest here.
    std::optional<int64_t> place_of(const std::string& channel, const std::string& sender);
    void note_place(const std::string& channel, const std::string& sender, int64_t place);

    // Who waits: a short ticket ("ab12") for /allow and /deny. Empty: nobody is to be told of it, now or again.
    // Of a channel 200 wait: of more, who has waited longest goes.
    std::string announce(const std::string& channel, const Event& event);
    struct Waiting {
        std::string ticket, channel, sender, name;
    };
    std::optional<Waiting> waiting(const std::string& ticket);
    std::vector<Waiting> all_waiting(const std::string& channel);
    void turn_away(const std::string& ticket);  // for good: nobody is told again when they write, and none of it is held
    void prune();  // who has waited for a week: announced again when they write again
    std::vector<int64_t> places();  // direct chats of people

    void close_group(const std::string& channel, const std::string& conversation);
    void group_moved(const std::string& channel, const std::string& from, const std::string& to);
    struct Group {
        std::string channel, conversation, title;
    };
    std::vector<Group> groups();  // that are open

    static constexpr int64_t kCodeSeconds = 600;
    static constexpr int64_t kMostTries = 5;  // wrong codes of one person within an hour
    static constexpr int64_t kMostOfGuests = 30, kMostOfMembers = 120;  // messages of one within an hour

    // Bytes of files of one within a day. An owner's are not counted.
    static constexpr int64_t kFilesOfGuests = int64_t{50} << 20, kFilesOfMembers = int64_t{500} << 20;
    static std::optional<int64_t> most_of_files(Role role);

  private:
    bool turned_away(const std::string& channel, const std::string& sender);
    int64_t lately(const std::string& channel, const std::string& sender, const char* verdict, const char* rule);
    bool is_open(const std::string& channel, const std::string& conversation);
    void open_group(const std::string& channel, const Event& event);
    std::optional<Role> use_code(const std::string& channel, const Event& event);
    Database& database_;
};

}  // namespace peacrab
