#include "store.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "../support/folder.h"
#include "error.h"
#include "sessions/journal.h"
#include "os.h"

using namespace peacrab;
using namespace peacrab::test;

namespace {

struct StoreFolder : Folder {
    std::string file() const { return path + "/w.db"; }
};

Entry assistant(const std::string& text) {
    Entry entry;
    entry.kind = Entry::Kind::Assistant;
    entry.turn = "t1";
    entry.content = json::Value::array({json::Value::object({{"type", "text"}, {"text", text}})});
    return entry;
}

}  // namespace

TEST_CASE("store: a message is known by channel and id, and only there") {
    StoreFolder folder;
    WardenStore store(folder.file(), Durability::ProcessCrash);
    const SessionRow session = store.current_session("main", "terminal");
    const int64_t turn = store.begin_turn(session.id);
    store.add_message(turn, "terminal", "m1", "hello");
    CHECK(store.known_message("terminal", "m1") == turn);
    CHECK_FALSE(store.known_message("telegram", "m1").has_value());
    CHECK_THROWS_AS(store.add_message(turn, "terminal", "m1", "again"), Error);
    CHECK(store.messages(turn).size() == 1);
}

TEST_CASE("store: a session is kept until a new one is begun") {
    StoreFolder folder;
    WardenStore store(folder.file(), Durability::ProcessCrash);
    const int64_t first = store.current_session("main", "terminal").id;
    CHECK(store.current_session("main", "terminal").id == first);
    const int64_t second = store.new_session("main", "terminal").id;
    CHECK(second != first);
    CHECK(store.current_session("main", "terminal").id == second);
    CHECK(store.current_session("main", "ask").id != second);
    CHECK(store.session(first)->agent == "main");
    CHECK_FALSE(store.session(999).has_value());
}

TEST_CASE("store: events come back in order with their seq, after what was seen") {
    StoreFolder folder;
    WardenStore store(folder.file(), Durability::ProcessCrash);
    const int64_t session = store.current_session("main", "terminal").id;
    for (int i = 0; i < 3; ++i) {
        json::Value frame = json::Value::object({{"type", "reply"}, {"text", std::to_string(i)}});
        CHECK(store.add_event(session, 7, frame) == i + 1);
        CHECK(json::dump(frame).starts_with("{\"type\":\"reply\",\"seq\":"));
    }
    store.set_seen(session, 1);
    store.set_seen(session, 0);    // never downwards
    store.set_seen(session, 999);  // nor beyond what there is
    CHECK(store.seen(session) == 3);
    const WardenStore::Events events = store.events({session, 1}, 100, KiB(64));
    CHECK(events.all);
    REQUIRE(events.frames.size() == 2);
    CHECK(events.frames[0].text("text") == "1");
    CHECK(events.frames[1].integer("seq") == 3);
    CHECK(store.events({session, 0, 7}, 100, KiB(64)).frames.size() == 3);
    CHECK(store.events({session, 0, 8}, 100, KiB(64)).frames.empty());
    const WardenStore::Events newest = store.events({session, 0}, 1, KiB(64));
    CHECK_FALSE(newest.all);
    REQUIRE(newest.frames.size() == 1);
    CHECK(newest.frames[0].integer("seq") == 3);
}

TEST_CASE("store: a call that was started and not done is still open after a crash") {
    StoreFolder folder;
    // The child commits "started" and dies without any end of its own.
    const pid_t pid = ::fork();
    if (pid == 0) {
        WardenStore store(folder.file(), Durability::PowerLoss);
        const int64_t session = store.current_session("main", "terminal").id;
        const int64_t turn = store.begin_turn(session);
        const int64_t done = store.call_started(turn, "c0", "shell", "{}", "shell: true");
        store.call_done(done, Outcome::Ok);
        store.call_started(turn, "c1", "shell", "{}", "shell: sleep 100");
        ::kill(::getpid(), SIGKILL);
    }
    REQUIRE(Pidfd::of_child(pid).wait().how == ChildExit::How::Signalled);
    WardenStore store(folder.file(), Durability::PowerLoss);
    const std::vector<TurnRow> running = store.running_turns();
    REQUIRE(running.size() == 1);
    const std::vector<CallRow> open = store.open_calls(running[0].id);
    REQUIRE(open.size() == 1);
    CHECK(open[0].summary == "shell: sleep 100");
    store.end_turn(running[0].id, "interrupted");
    CHECK(store.running_turns().empty());
    CHECK(store.turn(running[0].id)->status == "interrupted");
}

TEST_CASE("store: what was said to an ended turn moves to the next one, in order") {
    StoreFolder folder;
    WardenStore store(folder.file(), Durability::ProcessCrash);
    const int64_t session = store.current_session("main", "terminal").id;
    const int64_t one = store.begin_turn(session);
    for (const char* id : {"a", "b", "c"}) store.add_message(one, "terminal", id, id);
    const int64_t two = store.begin_turn(session);
    store.move_message("b", one, two);
    store.move_message("c", one, two);
    CHECK(store.messages(one).size() == 1);
    REQUIRE(store.messages(two).size() == 2);
    CHECK(store.messages(two)[0].text == "b");
    CHECK(store.known_message("terminal", "c") == two);
}

TEST_CASE("store: a journal reads back what was written, whole batches or nothing of them") {
    StoreFolder folder;
    {
        Journal journal(folder.file(), Durability::ProcessCrash);
        journal.append({Entry::Kind::User, "t1", {}, "hi", {}, Outcome::Failed});
        journal.append(assistant("hello \xf0\x9f\xa6\x80"));
        journal.append({Entry::Kind::Result, "t1", "c1", "out", {}, Outcome::TimedOut});
    }
    Journal journal(folder.file(), Durability::ProcessCrash);
    const std::vector<Entry> entries = journal.entries();
    REQUIRE(entries.size() == 3);
    CHECK(entries[0].kind == Entry::Kind::User);
    CHECK(json::dump(entries[1].content) ==
          json::dump(assistant("hello \xf0\x9f\xa6\x80").content));
    CHECK(entries[2].call == "c1");
    CHECK(entries[2].outcome == Outcome::TimedOut);
}

TEST_CASE("store: the slot of an agent is its own for ever, and a retired name begins anew") {
    StoreFolder folder;
    {
        WardenStore store(folder.file(), Durability::ProcessCrash);
        CHECK(store.slot("main") == 1);
        CHECK_FALSE(store.known_slot("a").has_value());
        CHECK(store.slot("a") == 2);
        CHECK(store.slot("a") == 2);
        const int64_t session = store.current_session("a", "terminal").id;
        const int64_t turn = store.begin_turn(session);
        store.add_message(turn, "terminal", "m", "a secret");
        store.call_started(turn, "c", "shell", "{\"command\":\"secret\"}", "shell: secret");
        json::Value reply = json::Value::object({{"type", "reply"}, {"text", "secret"}});
        const int64_t seq = store.add_event(session, turn, reply);
        const int64_t other = store.current_session("main", "terminal").id;
        store.retire("a");
        CHECK_FALSE(store.known_slot("a").has_value());
        CHECK(store.messages(turn).empty());
        CHECK(store.open_calls(turn).empty());
        CHECK(json::dump(store.events({session, 0}, 10, KiB(4)).frames.at(0)) == "{}");
        CHECK(store.session(session)->agent == "#a");
        CHECK(store.current_session("a", "terminal").id != session);
        CHECK(store.current_session("main", "terminal").id == other);
        json::Value next = json::Value::object({{"type", "reply"}, {"text", "x"}});
        CHECK(store.add_event(other, 1, next) == seq + 1);
        CHECK(store.slot("a") == 3);
        store.retire("a");
    }
    WardenStore store(folder.file(), Durability::ProcessCrash);
    CHECK(store.slot("b") == 4);
    CHECK(store.slot("main") == 1);
}

TEST_CASE("store: messages between agents are counted by route, and hops by turn") {
    StoreFolder folder;
    WardenStore store(folder.file(), Durability::ProcessCrash);
    const int64_t turn = store.begin_turn(store.current_session("b", "agent:a").id);
    store.add_message(turn, "agent:a", "m1", "x");
    CHECK(store.hops(turn) == 0);
    store.add_sent("a", "b", "m1", 1);
    store.add_message(turn, "agent:a", "m2", "x");
    store.add_sent("a", "b", "m2", 3);
    CHECK(store.hops(turn) == 3);
    CHECK(store.sent_in_the_last_hour("a", "b") == 2);
    CHECK(store.sent_in_the_last_hour("b", "a") == 0);
    const int64_t next = store.begin_turn(store.current_session("b", "agent:a").id);
    store.move_message("m1", turn, next);
    CHECK(store.hops(next) == 1);
    // A person's message with the same id in another channel does not count.
    const int64_t person = store.begin_turn(store.current_session("b", "terminal").id);
    store.add_message(person, "terminal", "m2", "x");
    CHECK(store.hops(person) == 0);
    Database(folder.file(), Durability::ProcessCrash).run("UPDATE sent SET at = at - 3601");
    CHECK(store.sent_in_the_last_hour("a", "b") == 0);
}

TEST_CASE("store: a file of the version before gets what is new, and keeps what it has") {
    StoreFolder folder;
    {
        WardenStore store(folder.file(), Durability::ProcessCrash);
        store.current_session("main", "terminal");
    }
    Database(folder.file(), Durability::ProcessCrash)
        .run("DROP TABLE agents; DROP TABLE sent; PRAGMA user_version = 1");
    WardenStore store(folder.file(), Durability::ProcessCrash);
    CHECK(store.slot("main") == 1);
    CHECK(store.current_session("main", "terminal").id == 1);
}

TEST_CASE("store: a file of a later version is refused, not touched") {
    StoreFolder folder;
    {
        Database database(folder.file(), Durability::ProcessCrash);
        database.run("PRAGMA user_version = 99");
    }
    CHECK_THROWS_AS(WardenStore(folder.file(), Durability::ProcessCrash), Error);
    CHECK_THROWS_AS(Journal(folder.file(), Durability::ProcessCrash), Error);
}

TEST_CASE("store: the warden's book is for the warden alone, also its log") {
    StoreFolder folder;
    write_file_atomic(folder.file(), "", 0644);
    WardenStore store(folder.file(), Durability::ProcessCrash);
    store.slot("main");
    for (const char* of : {"", "-wal", "-shm"}) {
        struct stat status {};
        REQUIRE(::stat((folder.file() + of).c_str(), &status) == 0);
        CHECK((status.st_mode & 0777) == 0600);
    }
}

TEST_CASE("store: a journal that is a link is not followed") {
    StoreFolder folder;
    { Journal journal(folder.path + "/real.db", Durability::ProcessCrash); }
    REQUIRE(::symlink((folder.path + "/real.db").c_str(), folder.file().c_str()) == 0);
    CHECK_THROWS_AS(Journal(folder.file(), Durability::ProcessCrash), Error);
}

TEST_CASE("store: a full disk is an error, and what was committed stays readable") {
    StoreFolder folder;
    Database database(folder.file(), Durability::ProcessCrash);
    database.run("CREATE TABLE t(x TEXT); PRAGMA max_page_count = 8; INSERT INTO t VALUES('kept')");
    const std::string large(100'000, 'x');
    CHECK_THROWS_AS(database.prepare("INSERT INTO t VALUES(?)").bind(large).run(), Error);
    Statement query = database.prepare("SELECT x FROM t");
    REQUIRE(query.step());
    CHECK(query.text(0) == "kept");
}

TEST_CASE("store: what was said to turns that did not end well is told to the next, back to one that did") {
    StoreFolder folder;
    WardenStore store(folder.file(), Durability::ProcessCrash);
    const int64_t session = store.current_session("main", "ask").id;
    const int64_t other = store.new_session("main", "terminal").id;
    const auto turn = [&](int64_t in, const std::string& text, const char* status) {
        const int64_t id = store.begin_turn(in);
        store.add_message(id, "ask", text, text);
        if (*status) store.end_turn(id, status);
        return id;
    };
    turn(session, "long ago", "interrupted");
    turn(session, "well", "done");
    const int64_t cut = turn(session, "cut", "interrupted");
    store.add_message(cut, "ask", "and more", "and more");
    turn(other, "elsewhere", "interrupted");
    turn(session, "failed", "failed");
    const int64_t now = turn(session, "now", "");
    std::string all;
    for (const MessageRow& row : store.messages_before(now)) all += row.text + "|";
    CHECK(all == "cut|and more|failed|");
    CHECK(store.messages_before(cut).empty());
    CHECK(store.messages_before(now)[0].turn == cut);
}
