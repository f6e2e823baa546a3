// What must not be lost between messengers and the warden: what arrived and what became of it, each channel's cursor,
// and what is to be delivered. One SQLite file, beside the warden's book and not in it: this side is the host's. Each
// public call is one transaction, on the disk when it returns. Throws Error ("store: …").
//
// The way of an arrival: waiting → handed (the warden has it, as a turn) → answered (that turn has ended). What is not
// let in never waits; its row says by which rule. The way of a delivery: queued → sending, before the first byte →
// sent, failed, or unknown, where nobody can say whether it arrived; a text goes out in parts, and goes on with the
// part that is missing.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "messaging/event.h"
#include "os.h"
#include "store.h"

namespace peacrab {

// A conversation of a messenger.
struct PlaceRow {
    int64_t id = 0;
    std::string channel, conversation, thread;
    bool group = false;
    std::string title;
    std::string agent;  // "": the channel's
    std::string live;   // platform id of the line that shows the running turn
};

struct ArrivalRow {
    int64_t row = 0;
    int64_t place = 0;
    std::string key;      // unique in the channel
    std::string id;       // platform id
    std::string sender, name, text, state, verdict, rule;
    std::string turn;  // "with 7": it waits, and is told with that row
    int64_t received = 0;  // Unix seconds
    int64_t tries = 0;
};

struct DeliveryRow {
    int64_t row = 0;
    int64_t place = 0;
    std::string key, reply_to, text, state, platform, error, origin;
    int64_t part = 0, parts = 0, attempts = 0, not_before = 0, created = 0;  // Unix ms, the last two
    bool again = false;
};

// A file that came with a message: to be fetched while it has a handle, then there is a line that tells of it.
struct FileRow {
    int64_t row = 0, arrival = 0, place = 0;
    std::string path;  // in the agent's workspace; "": none yet
    std::string line;  // for the model
    EventFile file;
};

// A file that is to be delivered.
struct Parcel {
    std::string agent, path;  // where it stands; "": only in the spool
    std::string name;         // as it is sent
    std::string sha256;
    std::string spool;  // "": not here yet
    int64_t size = 0;
};

// Why an event was let in or not: `rule` is a sentence of `peacrab explain`.
struct Admission {
    enum class What { Dropped, Silent, Held, Command, Admitted, Hooked, Pressed } what = What::Dropped;
    std::string rule;
    std::string answer;  // said to the sender, once
};
const char* verdict_name(Admission::What what);

class Post {
  public:
    explicit Post(const std::string& path);
    Database& database() { return database_; }
    void together(const std::function<void()>& work) { database_.transaction(work); }

    // Channels.
    std::optional<std::string> cursor(const std::string& channel);
    void set_cursor(const std::string& channel, const std::string& cursor);
    // Its last sign of life, for `channel ls`.
    struct Sign {
        std::string account;
        int64_t polled = 0;  // Unix ms
        std::string trouble;
    };
    void set_sign(const std::string& channel, const Sign& sign);
    Sign sign(const std::string& channel);

    // Places. Made when it is not known; a title that has changed is noted.
    PlaceRow place(const std::string& channel, const Event& event);
    std::optional<PlaceRow> place(int64_t id);
    void set_live(int64_t place, const std::string& platform);
    void set_agent(int64_t place, const std::string& agent);
    // It is that conversation from now on; one that is known already takes over what is still to be delivered.
    void move_place(int64_t place, const std::string& conversation);

    // Arrivals. 0: an event with this key is there already.
    int64_t add_arrival(const PlaceRow& place, const Event& event, const std::string& text, const Admission& verdict);
    // An edit of one that still waits takes its place. False: there is no such.
    bool edit_waiting(const PlaceRow& place, const Event& event, const std::string& text);
    std::vector<ArrivalRow> waiting(int64_t place);        // in order
    // Behind `after`, not yet told, in order, at most 20.
    std::vector<ArrivalRow> silent_before(int64_t place, int64_t row, int64_t after);
    // Those that wait before it are told with it, as one, and never otherwise.
    void join(int64_t place, int64_t row);
    std::vector<ArrivalRow> joined(int64_t place, int64_t row);  // in order
    std::vector<int64_t> places_at_work();                 // with arrivals that are not answered
    void handed(int64_t row, const std::string& turn);  // and what was told with it
    std::vector<std::string> speakers(int64_t place, const std::string& turn);  // whose words it was told
    void answered_all(int64_t place);  // that were handed
    void answered(int64_t row);
    void wait_again(int64_t place, const std::string& turn);  // the model could not be reached
    void note_cut(int64_t place, const std::string& turn);  // it ended without an answer that is one
    bool was_cut(int64_t place, const std::string& turn);
    void note_reply(int64_t place, const std::string& turn);  // its answer is to be delivered
    bool has_verdict(int64_t place, const std::string& turn, const std::string& verdict);  // any that it was handed
    bool has_replied(int64_t place, const std::string& turn);
    // Of one sender 20 are held. Of a channel 500: more, and the oldest of who has most there goes.
    bool room_at_the_door(const std::string& channel, const std::string& sender);
    std::vector<ArrivalRow> held(const std::string& channel, const std::string& sender);
    void release(int64_t row);  // it waits
    void refuse(int64_t row, const std::string& rule);
    int64_t tries_of(int64_t place, const std::string& turn);  // the most of any that it was handed
    std::optional<ArrivalRow> arrival(const std::string& id);  // newest with this platform id, or row number
    std::optional<ArrivalRow> arrival(int64_t row);
    std::optional<ArrivalRow> arrival_before(int64_t row);     // in the same place
    std::string deliveries_in_words(int64_t place, int64_t arrival);  // what was sent there since
    // Rows that need no answer, and are older. What is held goes after a week.
    void prune(int64_t days);
    // Places of which nothing is left, but `kept`: one that writes again is made anew, and is the same to its agent.
    void prune_places(const std::set<int64_t>& kept);

    // Files that came (messaging/incoming).
    void add_file(int64_t place, int64_t arrival, const EventFile& file);
    std::vector<FileRow> files_of(int64_t arrival);
    std::string name_file(int64_t row, const std::string& wanted);
    void settle_file(int64_t row, const std::string& line);
    // Of one person's files, within a day: bytes that were taken, each file as 64 KiB at least.
    void note_taken(const FileRow& file, const ArrivalRow& of, int64_t bytes);
    int64_t bytes_taken(const std::string& channel, const std::string& sender);

    // Files that are to be sent (messaging/outgoing): a delivery with a parcel. `text`: for people, of what it is.
    void enqueue_file(int64_t place, const std::string& origin, const std::string& text, const Parcel& parcel);
    bool has_delivery(const std::string& origin);
    std::optional<Parcel> parcel(int64_t delivery);
    std::optional<int64_t> first_to_deliver(int64_t place, int64_t now);  // whose turn it is, and whose time has come
    void set_spool(int64_t delivery, const std::string& name);
    void instead_of_file(int64_t delivery, const std::string& text);
    std::set<std::string> spooled();  // what is still needed of the spool

    // Deliveries. `origin` is what it is made of, unique: a second one is none, and 0 is given. "": always.
    int64_t enqueue(int64_t place, const std::string& origin, const std::string& text, const std::string& reply_to = {},
                    const std::string& platform = {});
    // The first of its place that is not out, when its time has come and none of its place is under way; then it is
    // "sending".
    std::optional<DeliveryRow> take(int64_t place, int64_t now);
    std::vector<int64_t> places_to_deliver(const std::string& channel, int64_t now);
    bool delivering(int64_t place);  // something of it is not out
    // Of those whose time has not come: Unix ms. What waits for another of its place is seen to when that is out.
    std::optional<int64_t> next_delivery(const std::string& channel, int64_t now);
    std::optional<DeliveryRow> delivery(int64_t row);
    void part_sent(int64_t row, int64_t part, int64_t of, const std::string& platform);
    void put_off(int64_t row, int64_t not_before, const std::string& error, bool again);
    void fail(int64_t row, const std::string& error);
    // Its channel is gone in the middle of it.
    std::vector<DeliveryRow> under_way(const std::string& channel);
    void set_unknown(int64_t row, const std::string& error);
    std::vector<DeliveryRow> unknown(const std::string& channel);
    // For the next message of the place: what the agent has to know of it.
    void note(int64_t place, const std::string& text);
    std::string take_notes(int64_t place);

    struct Counts {
        int64_t backlog = 0, unknown = 0, failed = 0, waiting = 0;
        std::optional<int64_t> next;
    };
    Counts counts(const std::string& channel);

  private:
    Post(const std::string& path, UniqueFd opening);
    void prune_files();
    Database database_;
};

int64_t unix_ms();

}  // namespace peacrab
