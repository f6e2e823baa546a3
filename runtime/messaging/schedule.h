// Tasks: what is to be done later, and again. Tables beside the post, and so on the host's side: a machine that
// sleeps is woken, and no model can make itself anybody's clock behind their back. A firing is an arrival of its
// conversation (messaging/post) with a key of its own, in the step that notes it, so that it happens once.
//
// The way of a task: active → paused (by a person, or after five failures in a row) → active; asks: it runs more often
// than every quarter of an hour, and no owner has said yes; done: it was due once. Throws Error ("store: …").
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "messaging/timetable.h"
#include "store.h"

namespace peacrab {

struct TaskRow {
    int64_t id = 0;  // never given twice
    int64_t place = 0;
    std::string channel, sender;  // whose it is
    std::string text;             // what is said then
    std::string gate;             // a command that decides; "": none
    bool changed = false;         // only when the gate says something else than last time
    std::string kept, zone;       // the timetable (kept_form), or "ends b3 TOKEN"
    bool skip = false;            // what was missed is not made up for
    std::string state = "active";
    int64_t next = 0;        // Unix seconds; 0: by no clock
    int64_t hold = 0;        // not before, for quiet hours
    int64_t failures = 0;    // in a row
    int64_t began = 0;       // when it last began a turn
    bool allowed = false;    // by an owner, to run often
    std::string secret;      // in the keys of its arrivals, so that no messenger makes one
    std::string digest;      // of what the gate said last
    int64_t created = 0;
};

struct FiringRow {
    int64_t task = 0, due = 0, at = 0;
    std::string outcome;  // running, ok, late, failed, stopped, gate (it said no), skipped
    std::string note;
    std::optional<int64_t> cost;  // millionths of a USD
};

class Schedule {
  public:
    explicit Schedule(Database& database);

    // What is known of a person's clock.
    struct Person {
        std::string zone;
        QuietHours quiet;
    };
    Person person(const std::string& channel, const std::string& sender);
    void set_person(const std::string& channel, const std::string& sender, const Person& person);

    int64_t add(const TaskRow& task);
    void save(const TaskRow& task);
    void remove(int64_t id);
    std::optional<TaskRow> task(int64_t id);
    std::vector<TaskRow> tasks(int64_t place);  // 0: of all
    std::vector<TaskRow> due(int64_t now);
    std::optional<int64_t> next_due(int64_t now);  // of what is not due yet, deliveries that wait among it
    std::vector<int64_t> places_listening();       // to something that ends
    bool listens(int64_t place);

    // Once for each `due`: false when it is there already. With a text: as an arrival.
    bool fire(const TaskRow& task, int64_t due, const std::string& outcome, const std::string& text);
    void end_firing(int64_t arrival, const std::string& outcome, const std::string& note);
    std::vector<FiringRow> history(int64_t task, int64_t most);
    int64_t due_of(int64_t arrival);
    void set_words(int64_t arrival, const std::string& text);  // its gate has let it pass
    bool passed_gate(int64_t arrival);

    // Turns. settle: firings whose turn has ended and which are not asked again; once each.
    void note_end(int64_t place, const std::string& turn, const std::string& status, const std::string& error, std::optional<int64_t> cost);
    struct Settled {
        int64_t task = 0;
        std::string status, error;
    };
    std::vector<Settled> settle(int64_t place, const std::string& turn);
    std::optional<int64_t> mean_cost(int64_t place);  // of its turns; else of all
    // Whose message began it or was said in it, the newest; nothing: only tasks.
    std::optional<std::string> asker(int64_t place, const std::string& turn);
    bool asks_now(int64_t place, const std::string& turn, const std::string& sender);  // they wait for its answer
    std::optional<int64_t> task_of(int64_t place, const std::string& turn);
    bool under_way(int64_t task);            // a firing of it waits, or its turn runs
    int64_t told_lately(int64_t place);      // tasks that were set, within an hour

    static constexpr const char* kTold = "k:";  // begins the origin of what tells of one that was set

    // Deliveries that wait for the end of quiet hours.
    void hold(const std::string& origin, int64_t until);
    std::vector<std::string> release(int64_t now);  // channels that have something to send again
    void release_place(int64_t place);
    void shorten_quiet(int64_t now);  // none waits longer than a day

    void prune(int64_t days);
    static constexpr int64_t kKept = 50;  // firings of a task

  private:
    Database& database_;
};

// "0.42 USD", "less than 0.01 USD".
std::string money_words(int64_t millionths);

}  // namespace peacrab
