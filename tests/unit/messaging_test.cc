// What must not be lost, and who is let in: the post, the door, and events as hostile bytes.
#include <doctest/doctest.h>

#include "error.h"
#include "folder.h"
#include "messaging/cards.h"
#include "messaging/door.h"
#include "messaging/post.h"

using namespace peacrab;

namespace {

json::Value event_value() {
    return json::parse(R"({"key":"k1","kind":"message","conversation":"c","scope":"direct","id":"m1","sender":"u1",)"
                       R"("name":"Una","text":"hello"})");
}

Event event_of(const std::string& key, const std::string& sender, const std::string& text, bool group = false) {
    Event event = read_event(event_value());
    event.key = key;
    event.id = "m" + key;
    event.sender = sender;
    event.text = text;
    event.group = group;
    event.conversation = group ? "room" : "dm-" + sender;
    return event;
}

const Admission kAdmitted{Admission::What::Admitted, "said by the role owner", {}};

struct Fixture {
    test::Folder folder;
    Post post{folder.path + "/channels.db"};
    Door door{post.database()};

    int64_t arrive(const std::string& key, const std::string& text = "hello") {
        const Event event = event_of(key, "u1", text);
        return post.add_arrival(post.place("desk", event), event, text, kAdmitted);
    }
    int64_t place() { return post.place("desk", event_of("0", "u1", "")).id; }
    Admission::What judge(const Event& event) { return door.judge("desk", event).what; }
};

using What = Admission::What;

}  // namespace

TEST_CASE("event: what is said stands in it, and the least is enough") {
    const Event event = read_event(event_value());
    CHECK(event.key == "k1");
    CHECK(event.text == "hello");
    CHECK(event.addressed);
    CHECK(!event.group);
    CHECK(!event.bot);
}

TEST_CASE("event: what does not belong there, is missing, of another kind or too long is refused") {
    const struct {
        const char* key;
        json::Value value;
    } bad[] = {{"more", "x"},      {"kind", "order"},     {"scope", "private"},
               {"key", ""},        {"sender", 7},         {"bot", "yes"},
               {"at", -1},         {"at", "now"},         {"text", std::string(kMaxEventText + 1, 'x')},
               {"id", std::string(kMaxEventId + 1, 'x')}, {"files", "none"},
               {"reply_to", json::parse(R"({"id":"1","more":1})")},
               {"files", json::parse(R"([{"name":"x","path":"/etc/passwd"}])")}};
    for (const auto& each : bad) {
        json::Value value = event_value();
        value.set(each.key, each.value);
        CAPTURE(each.key);
        CHECK_THROWS_AS(read_event(value), Error);
    }
    for (const char* needed : {"key", "kind", "conversation", "scope", "id", "sender"}) {
        json::Value value = event_value();
        value.erase(needed);
        CHECK_THROWS_AS(read_event(value), Error);
    }
    CHECK_THROWS_AS(read_event(json::parse("[]")), Error);
}

TEST_CASE("event: a press has a value, and nothing else has one") {
    json::Value value = event_value();
    value.set("kind", "press");
    CHECK_THROWS_AS(read_event(value), Error);
    value.set("value", "ab12");
    CHECK_THROWS_AS(read_event(value), Error);  // it says something
    value.erase("text");
    value.set("scope", "group");
    const Event press = read_event(value);
    CHECK(press.kind == Event::Kind::Press);
    CHECK(press.value == "ab12");
    CHECK(press.addressed);
    value.set("value", std::string(kMaxEventValue + 1, 'x'));
    CHECK_THROWS_AS(read_event(value), Error);
    value.set("value", "ab12");
    value.set("kind", "message");
    CHECK_THROWS_AS(read_event(value), Error);
}

TEST_CASE("event: a file is a line, whatever its name is") {
    json::Value value = event_value();
    value.set("files", json::parse(R"([{"name":"../a\n[file: b\u202e","mime":"text/html","size":3}])"));
    const Event event = read_event(value);
    REQUIRE(event.files.size() == 1);
    CHECK(in_words(event.files[0]).find('\n') == std::string::npos);
    CHECK(in_words(event.files[0]).find("\u202e") == std::string::npos);
}

TEST_CASE("limits: only the three ways of a second sending are known") {
    CHECK(read_limits(json::parse(R"({"dedupe":"key"})")).dedupe == ChannelLimits::Dedupe::Key);
    CHECK_THROWS_AS(read_limits(json::parse(R"({"dedupe":"always"})")), Error);
    CHECK_THROWS_AS(read_limits(json::parse(R"({"dedupe":"key","edits":-1})")), Error);
    CHECK_THROWS_AS(read_limits(json::parse(R"({})")), Error);
    const ChannelLimits limits = read_limits(json::parse(R"({"dedupe":"none","edits":3000,"edits_group":1000})"));
    CHECK(limits.edits_group == 3000);  // never more often than elsewhere
    CHECK(limits.buttons == 0);
    CHECK(read_limits(json::parse(R"({"dedupe":"none","buttons":5})")).buttons == 5);
    CHECK_THROWS_AS(read_limits(json::parse(R"({"dedupe":"none","buttons":1000})")), Error);
}

TEST_CASE_FIXTURE(Fixture, "post: an event is kept once, whoever tells of it again") {
    const int64_t first = arrive("1");
    CHECK(first > 0);
    CHECK(arrive("1", "something else") == 0);
    CHECK(arrive("2") > first);
    REQUIRE(post.waiting(place()).size() == 2);
    CHECK(post.waiting(place())[0].text == "hello");
}

TEST_CASE_FIXTURE(Fixture, "post: a row of a place is no row of an arrival") {
    Event event = event_of("9", "u2", "x");  // makes a place, which has a row of its own
    CHECK(post.add_arrival(post.place("desk", event), event, "x", kAdmitted) > 0);
    CHECK(post.add_arrival(post.place("desk", event), event, "x", kAdmitted) == 0);
}

TEST_CASE_FIXTURE(Fixture, "post: waiting, handed, answered; what was cut waits again") {
    const int64_t row = arrive("1"), next = arrive("2");
    post.handed(row, "t1");
    post.handed(next, "t1");
    CHECK(post.waiting(place()).empty());
    CHECK(post.places_at_work() == std::vector<int64_t>{place()});
    post.note_cut(place(), "t1");
    CHECK(post.was_cut(place(), "t1"));
    CHECK(!post.was_cut(place(), "t2"));
    post.wait_again(place(), "t1");  // the last of them: the model has read the others
    REQUIRE(post.waiting(place()).size() == 1);
    CHECK(post.waiting(place())[0].row == next);
    CHECK(post.waiting(place())[0].tries == 1);
    post.handed(next, "t2");
    post.answered_all(place());
    CHECK(post.places_at_work().empty());
}

TEST_CASE_FIXTURE(Fixture, "post: an edit of what waits takes its place, a stranger's does not") {
    arrive("1");
    Event edit = event_of("2", "u1", "better");
    edit.id = "m1";
    const PlaceRow where = *post.place(place());
    Event theirs = edit;
    theirs.sender = "u2";
    CHECK(!post.edit_waiting(where, theirs, "worse"));
    CHECK(post.edit_waiting(where, edit, "better"));
    CHECK(post.waiting(place())[0].text == "better");
}

TEST_CASE_FIXTURE(Fixture, "post: one delivery of a place at a time, in order, each made once") {
    arrive("1");
    post.enqueue(place(), "r:s1:1", "one");
    post.enqueue(place(), "r:s1:1", "one again");
    post.enqueue(place(), "r:s1:2", "two");
    const std::optional<DeliveryRow> one = post.take(place(), unix_ms());
    REQUIRE(one);
    CHECK(one->text == "one");
    CHECK(!post.take(place(), unix_ms()));
    post.part_sent(one->row, 0, 2, "p1");
    CHECK(!post.take(place(), unix_ms()));  // its second part is not out
    post.part_sent(one->row, 1, 2, "p2");
    CHECK(post.delivery(one->row)->state == "sent");
    CHECK(post.delivery(one->row)->platform == "p1");
    REQUIRE(post.take(place(), unix_ms()));
    CHECK(post.under_way("desk").size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "post: what was cut in the middle goes on with the part that is missing") {
    arrive("1");
    post.enqueue(place(), "r:s1:1", "long");
    const DeliveryRow row = *post.take(place(), unix_ms());
    post.part_sent(row.row, 0, 3, "p1");
    post.set_unknown(row.row, "cut");
    CHECK(post.unknown("desk").size() == 1);
    CHECK(!post.take(place(), unix_ms()));
    post.put_off(row.row, unix_ms() + 60'000, "cut", true);
    CHECK(!post.take(place(), unix_ms()));
    CHECK(post.next_delivery("desk", unix_ms()).has_value());
    const std::optional<DeliveryRow> again = post.take(place(), unix_ms() + 61'000);
    REQUIRE(again);
    CHECK(again->part == 1);
    CHECK(again->again);
    post.part_sent(row.row, 0, 3, "other");  // said too late: that part is out
    CHECK(post.delivery(row.row)->part == 1);
}

TEST_CASE_FIXTURE(Fixture, "post: a reply takes the place of the line that showed its turn, another text does not") {
    arrive("1");
    post.set_live(place(), "p7");
    post.enqueue(place(), "e:s1:1", "said meanwhile");
    post.enqueue(place(), "r:s1:2", "the reply");
    const DeliveryRow said = *post.take(place(), unix_ms());
    CHECK(said.platform.empty());
    post.part_sent(said.row, 0, 1, "p8");
    CHECK(post.take(place(), unix_ms())->platform == "p7");
    CHECK(post.place(place())->live.empty());
}

TEST_CASE_FIXTURE(Fixture, "post: a place that has moved is another conversation, and one that is known takes over what goes there") {
    const int64_t here = place();
    Event event = event_of("1", "u2", "");
    const int64_t there = post.place("desk", event).id;
    post.enqueue(here, "r:s1:1", "one");
    post.move_place(here, "new");
    CHECK(post.place(here)->conversation == "new");
    post.move_place(here, event.conversation);
    CHECK(post.place(here)->conversation == "new");
    CHECK(!post.take(here, unix_ms()));
    CHECK(post.take(there, unix_ms())->text == "one");
}

TEST_CASE_FIXTURE(Fixture, "post: who waits at the door fills no disk") {
    const Admission held{Admission::What::Held, "somebody who is not known", {}};
    int kept = 0;
    for (int n = 0; n < 30 && post.room_at_the_door("desk", "u1"); ++n, ++kept) {
        const Event event = event_of(std::to_string(n), "u1", "hello");
        post.add_arrival(post.place("desk", event), event, "hello", held);
    }
    CHECK(kept == 20);
    CHECK(post.room_at_the_door("desk", "u2"));
}

TEST_CASE_FIXTURE(Fixture, "post: at the door nobody is kept out by those who came before, and who filled it makes room") {
    const Admission held{Admission::What::Held, "somebody who is not known", {}};
    const auto knock = [&](const std::string& sender, int n) {
        const Event event = event_of(sender + std::to_string(n), sender, "hello");
        REQUIRE(post.room_at_the_door("desk", sender));
        post.add_arrival(post.place("desk", event), event, "hello", held);
    };
    knock("first", 0);
    for (int n = 0; n < 499; ++n) knock("crowd" + std::to_string(n % 30), n);
    for (int n = 0; n < 10; ++n) knock("late", n);
    CHECK(post.held("desk", "late").size() == 10);
    CHECK(post.held("desk", "first").size() == 1);  // of him there is only this one
    Statement count = post.database().prepare("SELECT count(*), total(rule = 'too much waits at the door') FROM arrivals WHERE state = 'held' OR verdict = 'dropped'");
    REQUIRE(count.step());
    CHECK(count.integer(0) == 510);
    CHECK(count.integer(1) == 10);
}

TEST_CASE_FIXTURE(Fixture, "post: what nobody has let in for a week goes, and says why") {
    const Event event = event_of("1", "u1", "hello");
    const int64_t row = post.add_arrival(post.place("desk", event), event, "hello", {Admission::What::Held, "somebody who is not known", {}});
    post.prune(30);
    CHECK(post.held("desk", "u1").size() == 1);
    post.database().run("UPDATE arrivals SET received = received - 8 * 86400");
    post.prune(30);
    CHECK(post.held("desk", "u1").empty());
    REQUIRE(post.arrival(row));
    CHECK(post.arrival(row)->rule.find("within a week") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "post: a place goes when nothing of it is left, and is the same when it comes again") {
    const int64_t stays = place(), row = arrive("1");
    const int64_t stranger = post.place("desk", event_of("2", "stranger", "x")).id;
    const int64_t known = post.place("desk", event_of("3", "u3", "x")).id;
    const int64_t told = post.place("desk", event_of("4", "u4", "x")).id;
    post.enqueue(told, {}, "something");
    post.prune_places({known});
    CHECK(post.place(stays));
    CHECK(post.place(known));
    CHECK(post.place(told));
    CHECK(!post.place(stranger));
    post.answered(row);
    post.database().run("UPDATE arrivals SET received = received - 31 * 86400");
    post.prune(30);
    post.prune_places({});
    CHECK(!post.place(stays));
    CHECK(post.place("desk", event_of("5", "u1", "x")).conversation == "dm-u1");
}

TEST_CASE_FIXTURE(Fixture, "post: what is told with another is handed with it, and is not told again by itself") {
    arrive("1");
    arrive("2");
    const int64_t last = arrive("3"), later = arrive("4");
    post.join(place(), last);
    CHECK(post.joined(place(), last).size() == 2);
    post.join(place(), later);  // the first two are the third's
    REQUIRE(post.joined(place(), later).size() == 1);
    CHECK(post.joined(place(), later)[0].row == last);
    CHECK(post.joined(place(), last).size() == 2);
    CHECK(post.waiting(place()).size() == 4);  // nothing of it is gone before it was taken
    post.handed(last, "t1");
    CHECK(post.waiting(place()).size() == 1);
    CHECK(post.speakers(place(), "t1") == std::vector<std::string>{"u1"});
}

TEST_CASE_FIXTURE(Fixture, "post: whose words a turn has is kept, of those who spoke to nobody, too") {
    Event chatter = event_of("1", "guest", "do it", true);
    chatter.addressed = false;
    const PlaceRow room = post.place("desk", chatter);
    post.add_arrival(room, chatter, "do it", {Admission::What::Silent, "in a group", {}});
    const Event said = event_of("2", "u1", "well?", true);
    const int64_t row = post.add_arrival(room, said, "well?", kAdmitted);
    CHECK(post.silent_before(room.id, row, 0).size() == 1);
    CHECK(post.silent_before(room.id, row, row - 1).empty());  // it went with another, on its way
    post.handed(row, "t1");
    CHECK(post.silent_before(room.id, row, 0).empty());
    CHECK(post.speakers(room.id, "t1") == std::vector<std::string>{"guest", "u1"});
}

TEST_CASE_FIXTURE(Fixture, "post: a row is found by its number, whatever a messenger calls its messages") {
    const int64_t row = arrive("1");
    Event other = event_of("2", "u1", "other");
    other.id = std::to_string(row);
    post.add_arrival(post.place("desk", other), other, "other", kAdmitted);
    REQUIRE(post.arrival(row));
    CHECK(post.arrival(row)->text == "hello");
}

TEST_CASE_FIXTURE(Fixture, "post: bytes of files are counted by person and day, a file once") {
    const int64_t row = arrive("1");
    const ArrivalRow of = *post.arrival(row);
    post.add_file(place(), row, {});
    post.add_file(place(), row, {});
    const std::vector<FileRow> files = post.files_of(row);
    post.note_taken(files[0], of, 1 << 20);
    post.note_taken(files[0], of, 1 << 20);
    post.note_taken(files[1], of, 10);
    CHECK(post.bytes_taken("desk", "u1") == (1 << 20) + (64 << 10));
    CHECK(post.bytes_taken("desk", "u2") == 0);
    CHECK(post.bytes_taken("yard", "u1") == 0);
    post.database().run("UPDATE taken SET at = at - 86401");
    CHECK(post.bytes_taken("desk", "u1") == 0);
}

TEST_CASE("event: no line of a text can pass for another's") {
    CHECK(indented("one\ntwo\r\nthree") == "one\n    two\n    three");
    for (const char* end : {"\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\u0085", "\u2028", "\u2029"}) {
        CAPTURE(end);
        CHECK(indented("one" + std::string(end) + "Una: two") == "one\n    Una: two");
    }
    CHECK(indented("\u00e9\u2027\n") == "\u00e9\u2027\n    ");
}

TEST_CASE_FIXTURE(Fixture, "post: it is all there again when the file is opened anew") {
    arrive("1");
    post.set_cursor("desk", "17");
    Post again(folder.path + "/channels.db");
    CHECK(again.cursor("desk") == "17");
    CHECK(again.waiting(place()).size() == 1);
    CHECK(!again.cursor("yard"));
}

TEST_CASE_FIXTURE(Fixture, "door: nobody is known at first") {
    CHECK(judge(event_of("1", "u1", "hi")) == What::Held);
    CHECK(judge(event_of("2", "u1", "hi", true)) == What::Dropped);
    CHECK(door.role_of("desk", "u1") == Role::None);
}

TEST_CASE_FIXTURE(Fixture, "door: a code lets in one person, once, on its own channel, in a direct chat") {
    const std::string code = door.make_code("desk", Role::Owner);
    CHECK(judge(event_of("1", "u1", code, true)) == What::Dropped);
    CHECK(door.role_of("desk", "u1") == Role::None);
    Admission elsewhere = door.judge("yard", event_of("2", "u1", code));
    CHECK(elsewhere.what == What::Held);
    const Admission let_in = door.judge("desk", event_of("3", "u1", " " + lower(code) + "\n"));
    CHECK(let_in.what == What::Dropped);
    CHECK(!let_in.answer.empty());
    CHECK(door.role_of("desk", "u1") == Role::Owner);
    CHECK(judge(event_of("4", "u2", code)) == What::Held);
    CHECK(door.role_of("desk", "u2") == Role::None);
}

TEST_CASE_FIXTURE(Fixture, "door: after five wrong codes the right one is no use") {
    const std::string code = door.make_code("desk", Role::Owner);
    for (int i = 0; i < 5; ++i) CHECK(judge(event_of(std::to_string(i), "u1", "AAAA-AAAA")) == What::Held);
    CHECK(judge(event_of("6", "u1", code)) == What::Held);
    CHECK(door.role_of("desk", "u1") == Role::None);
    CHECK(judge(event_of("7", "u2", code)) == What::Dropped);  // for somebody else it still is
    CHECK(door.role_of("desk", "u2") == Role::Owner);
}

TEST_CASE_FIXTURE(Fixture, "door: who is known is heard, in a group only when it is said to us") {
    door.set_role("desk", "u1", "Una", Role::Member);
    CHECK(judge(event_of("1", "u1", "hi")) == What::Admitted);
    CHECK(judge(event_of("2", "u1", "/help")) == What::Command);
    Event chatter = event_of("3", "u1", "hi", true);
    chatter.addressed = false;
    CHECK(judge(chatter) == What::Dropped);  // no owner has said anything there
    door.set_role("desk", "u9", "Ada", Role::Owner);
    Event press = event_of("7", "u9", "", true);
    press.kind = Event::Kind::Press;
    CHECK(judge(press) == What::Dropped);  // nor does a button open a group
    CHECK(judge(event_of("8", "u9", "hi", true)) == What::Admitted);
    CHECK(judge(chatter) == What::Silent);
    CHECK(judge(press) == What::Admitted);
    Event own = event_of("4", "u1", "hi");
    own.own = true;
    CHECK(judge(own) == What::Dropped);
    Event bot = event_of("5", "u1", "hi");
    bot.bot = true;
    CHECK(judge(bot) == What::Dropped);
    CHECK(door.judge("yard", event_of("6", "u1", "hi")).what == What::Held);  // elsewhere it is somebody else
}

TEST_CASE_FIXTURE(Fixture, "door: who says too much within an hour is told so once, and not read; an owner may") {
    const auto say = [&](const std::string& key, const std::string& sender, const std::string& text = "hi") {
        const Event event = event_of(key, sender, text);
        Admission verdict = door.judge("desk", event);
        post.add_arrival(post.place("desk", event), event, event.text, verdict);
        return verdict;
    };
    door.set_role("desk", "g", "Gus", Role::Guest);
    door.set_role("desk", "o", "Una", Role::Owner);
    for (int n = 0; n < Door::kMostOfGuests; ++n) CHECK(say("g" + std::to_string(n), "g").what == What::Admitted);
    const Admission first = say("one more", "g");
    CHECK(first.what == What::Dropped);
    CHECK(first.answer.find("it is 30 messages") != std::string::npos);
    for (int n = 0; n < 5; ++n) CHECK(say("more" + std::to_string(n), "g").answer.empty());
    CHECK(say("stop", "g", "/stop").what == What::Command);
    for (int n = 1; n < Door::kMostOfGuests; ++n) CHECK(say("c" + std::to_string(n), "g", "/more").what == What::Command);
    CHECK(say("a turn more", "g", "/more").what == What::Dropped);
    CHECK(say("stop again", "g", "/stop").what == What::Command);
    CHECK(say("other", "o").what == What::Admitted);
    for (int n = 0; n < 200; ++n) CHECK(say("o" + std::to_string(n), "o").what == What::Admitted);
    door.set_role("desk", "g", "Gus", Role::Member);
    CHECK(say("as a member", "g").what == What::Admitted);
    post.database().run("UPDATE arrivals SET received = received - 3601");
    door.set_role("desk", "g", "Gus", Role::Guest);
    CHECK(say("later", "g").what == What::Admitted);
}

TEST_CASE_FIXTURE(Fixture, "door: a name chosen by somebody else is not a person") {
    door.set_role("desk", "u1", "Una", Role::Owner);
    Event event = event_of("1", "u2", "hi");
    event.name = "Una";
    CHECK(judge(event) == What::Held);
}

TEST_CASE_FIXTURE(Fixture, "door: of many who come at once only some are announced") {
    int told = 0;
    for (int n = 0; n < 300; ++n) told += !door.announce("desk", event_of(std::to_string(n), "s" + std::to_string(n), "hi")).empty();
    CHECK(told == 5);
    CHECK(door.all_waiting("desk").size() == 200);
    post.database().run("UPDATE at_the_door SET since = since - 601");
    CHECK(!door.announce("desk", event_of("new", "new", "hi")).empty());  // old ones keep nobody out
    CHECK(door.all_waiting("desk").size() == 200);
    post.database().run("UPDATE at_the_door SET since = since - 8 * 86400 WHERE sender <> 'new'");
    door.prune();
    REQUIRE(door.all_waiting("desk").size() == 1);
    CHECK(door.all_waiting("desk")[0].sender == "new");
}

TEST_CASE_FIXTURE(Fixture, "door: who waits is announced once; who is turned away, never again") {
    const Event event = event_of("1", "u1", "hi");
    const std::string ticket = door.announce("desk", event);
    REQUIRE(ticket.size() == 4);
    CHECK(door.announce("desk", event).empty());
    REQUIRE(door.waiting(ticket));
    CHECK(door.waiting(ticket)->sender == "u1");
    door.turn_away(ticket);
    CHECK(!door.waiting(ticket));
    CHECK(door.announce("desk", event).empty());
    CHECK(door.all_waiting({}).empty());
    CHECK(judge(event) == What::Dropped);  // and nothing of it is held
    post.database().run("UPDATE at_the_door SET since = since - 8 * 86400");
    door.prune();
    CHECK(judge(event) == What::Dropped);
}

TEST_CASE_FIXTURE(Fixture, "door: those who were turned away take nobody's place at it") {
    for (int n = 0; n < 200; ++n) {
        const std::string sender = "s" + std::to_string(n);
        (void)door.announce("desk", event_of(sender, sender, "hi"));
        for (const Door::Waiting& one : door.all_waiting("desk")) door.turn_away(one.ticket);
    }
    post.database().run("UPDATE at_the_door SET since = since - 601");
    CHECK(!door.announce("desk", event_of("new", "new", "hi")).empty());
    CHECK(door.all_waiting("desk").size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "door: a button pressed by somebody who is not known opens nothing, not even the way to the door") {
    Event press = event_of("1", "u1", "");
    press.kind = Event::Kind::Press;
    press.value = "x";
    CHECK(judge(press) == What::Dropped);
    door.set_role("desk", "u1", "Una", Role::Member);
    CHECK(judge(press) == What::Admitted);
    press.unproven = true;
    CHECK(judge(press) == What::Dropped);
}

TEST_CASE_FIXTURE(Fixture, "cards: each button has a value of its own; the first outcome is the only one, of all cards of a subject") {
    Cards cards(post.database());
    const int64_t one = post.enqueue(place(), {}, "who?"), two = post.enqueue(place(), {}, "who?");
    for (const int64_t delivery : {one, two})
        cards.add({Card::Kind::Door, delivery, place(), "ab12", 0, 100, false, {}}, {{"Allow", "allow"}, {"Deny", "deny"}});
    const std::vector<Button> buttons = cards.buttons(one);
    REQUIRE(buttons.size() == 2);
    CHECK(buttons[0].label == "Allow");
    CHECK(buttons[0].value.size() == 32);
    CHECK(buttons[0].value != buttons[1].value);
    CHECK(buttons[0].value != cards.buttons(two)[0].value);
    REQUIRE(cards.pressed(buttons[1].value));
    CHECK(cards.pressed(buttons[1].value)->button.says == "deny");
    CHECK(cards.pressed(buttons[1].value)->card.delivery == one);
    CHECK(!cards.pressed("deny"));
    CHECK(!cards.pressed(""));
    CHECK(cards.decide_door("ab12", "UNA: Deny").size() == 2);
    CHECK(cards.decide_door("ab12", "UNA: Allow").empty());
    CHECK(cards.card(two)->outcome == "UNA: Deny");
    CHECK(cards.buttons(two).empty());
    CHECK(cards.pressed(buttons[0].value)->card.outcome == "UNA: Deny");  // a late press finds what was decided
}

TEST_CASE_FIXTURE(Fixture, "cards: a question is over when another turn begins, its own turn told again ends nothing") {
    Cards cards(post.database());
    const int64_t delivery = post.enqueue(place(), {}, "which?");
    cards.add({Card::Kind::Question, delivery, place(), "s1", 7, 100, false, {}}, {{"red", "red"}});
    CHECK(cards.decide_questions(place(), "over", "s1", 6).empty());
    CHECK(cards.decide_questions(place() + 1, "over").empty());
    CHECK(cards.decide_door("s1", "over").empty());
    CHECK(cards.decide_questions(place(), "over", "s1", 8).size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "cards: a card goes with its delivery") {
    Cards cards(post.database());
    const int64_t delivery = post.enqueue(place(), {}, "which?");
    cards.add({Card::Kind::Question, delivery, place(), "s1", 7, 100, false, {}}, {{"red", "red"}});
    const std::string value = cards.buttons(delivery)[0].value;
    post.database().prepare("UPDATE deliveries SET state = 'sent', created = 0").run();
    post.prune(30);
    CHECK(!post.delivery(delivery));
    CHECK(!cards.pressed(value));
    CHECK(!cards.card(delivery));
}
