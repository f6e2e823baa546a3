// Tasks in their file: a firing is there once, with its arrival or not at all; what is due next; what a task may be
// changed to; quiet deliveries; words for people.
#include <doctest/doctest.h>

#include "error.h"
#include "folder.h"
#include "messaging/post.h"
#include "messaging/task_tool.h"

using namespace peacrab;

namespace {

int64_t now() {
    return unix_ms() / 1000;
}

struct Fixture {
    test::Folder folder;
    Post post{folder.path + "/channels.db"};
    Schedule schedule{post.database()};
    int64_t place = place_of("dm-u1");

    int64_t place_of(const std::string& conversation) {
        Event event;
        event.conversation = conversation;
        return post.place("desk", event).id;
    }
    TaskRow add(const std::string& kept = "every 3600 1000", int64_t next = 5000) {
        TaskRow task;
        task.place = place;
        task.channel = "desk";
        task.sender = "u1";
        task.text = "the news";
        task.kept = kept;
        task.zone = "UTC";
        task.next = next;
        return *schedule.task(schedule.add(task));
    }
    // As it was taken, and as its turn ended.
    void turn(const std::string& name, const std::string& status, std::optional<int64_t> cost) {
        for (const ArrivalRow& row : post.waiting(place)) post.handed(row.row, name);
        schedule.note_end(place, name, status, status == "failed" ? "it broke" : "", cost);
    }
};

}  // namespace

TEST_CASE("schedule: a firing is there once for its time, and its arrival with it") {
    Fixture f;
    const TaskRow task = f.add();
    CHECK(f.schedule.fire(task, 5000, "running", "do it"));
    CHECK(!f.schedule.fire(task, 5000, "running", "do it"));
    REQUIRE(f.post.waiting(f.place).size() == 1);
    CHECK(f.post.waiting(f.place)[0].verdict == "task");
    CHECK(f.schedule.under_way(task.id));
    CHECK(f.schedule.fire(task, 8600, "skipped", {}));
    CHECK(f.post.waiting(f.place).size() == 1);
    CHECK(f.schedule.history(task.id, 10).size() == 2);
}

TEST_CASE("schedule: nothing of a firing stays when its step is undone") {
    Fixture f;
    const TaskRow task = f.add();
    const auto fails = [&] {
        f.post.together([&] {
            (void)f.schedule.fire(task, 5000, "running", "do it");
            throw Error("the disk is full");
        });
    };
    CHECK_THROWS_AS(fails(), Error);
    CHECK(f.post.waiting(f.place).empty());
    CHECK(f.schedule.history(task.id, 10).empty());
    CHECK(f.schedule.fire(task, 5000, "running", "do it"));
}

TEST_CASE("schedule: a messenger cannot take the place of a firing") {
    Fixture f;
    const TaskRow task = f.add();
    CHECK(task.secret.size() == 16);
    CHECK(f.add().secret != task.secret);
    Event event;
    event.conversation = "dm-u1";
    event.key = "task:" + std::to_string(task.id) + ":5000";
    event.id = "task " + std::to_string(task.id);
    f.post.add_arrival(*f.post.place(f.place), event, "mine", {Admission::What::Admitted, "said", {}});
    CHECK(f.schedule.fire(task, 5000, "running", "do it"));
}

TEST_CASE("schedule: the number of a task is not given again") {
    Fixture f;
    const int64_t first = f.add().id;
    f.schedule.remove(first);
    CHECK(f.add().id > first);
}

TEST_CASE("schedule: a turn that ended settles its firing once, and one that is asked again does not") {
    Fixture f;
    const TaskRow task = f.add();
    REQUIRE(f.schedule.fire(task, now(), "running", "do it"));
    f.turn("t1", "failed", 1500);
    f.post.wait_again(f.place, "t1");
    CHECK(f.schedule.settle(f.place, "t1").empty());
    f.turn("t2", "done", 2500);
    CHECK(f.schedule.settle(f.place, "t1").empty());
    const auto settled = f.schedule.settle(f.place, "t2");
    REQUIRE(settled.size() == 1);
    CHECK(settled[0].task == task.id);
    CHECK(f.schedule.settle(f.place, "t2").empty());
    const FiringRow row = f.schedule.history(task.id, 1).at(0);
    CHECK(row.outcome == "ok");
    CHECK(row.cost == 2500);
    CHECK(f.schedule.mean_cost(f.place) == 2000);
    CHECK(!Fixture().schedule.mean_cost(1));
}

TEST_CASE("schedule: what it costs is told by what turns have cost, and unknown when nothing is known") {
    Fixture f;
    const TaskRow task = f.add("cron 0 9 * * *");
    CHECK(cost_in_words(f.schedule, task, now()).find("unknown") != std::string::npos);
    f.schedule.note_end(f.place, "t1", "done", "", std::nullopt);
    CHECK(cost_in_words(f.schedule, task, now()).find("unknown") != std::string::npos);
    f.schedule.note_end(f.place, "t2", "done", "", 20'000);
    CHECK(cost_in_words(f.schedule, task, now()).starts_with("About 0.60 USD a month (30 times)"));
    CHECK(money_words(1'234'567) == "1.23 USD");
    CHECK(money_words(10) == "less than 0.01 USD");
    CHECK(money_words(0) == "0.00 USD");
}

TEST_CASE("schedule: what is due, what is held, what is paused, and the next of all") {
    Fixture f;
    TaskRow held = f.add("every 3600 1000", 5000);
    held.hold = 7000;
    f.schedule.save(held);
    TaskRow paused = f.add("every 3600 1000", 4000);
    CHECK(change_task(f.schedule, paused, "pause").find("paused") != std::string::npos);
    const TaskRow plain = f.add("every 3600 1000", 6000);
    CHECK(f.schedule.due(5999).empty());
    CHECK(f.schedule.next_due(0) == 6000);
    REQUIRE(f.schedule.due(6000).size() == 1);
    CHECK(f.schedule.due(6000)[0].id == plain.id);
    CHECK(f.schedule.next_due(6000) == 7000);
    CHECK(f.schedule.due(7000).size() == 2);
    CHECK(!f.schedule.next_due(7000));
    CHECK(Fixture().schedule.next_due(0) == std::nullopt);
}

TEST_CASE("schedule: what waits for an owner runs by nobody else's word") {
    Fixture f;
    TaskRow task = f.add("every 60 1000");
    task.state = "asks";
    f.schedule.save(task);
    CHECK_THROWS_WITH_AS(change_task(f.schedule, task, "resume"), doctest::Contains("owner"), Error);
    CHECK(change_task(f.schedule, task, "pause").find("paused") != std::string::npos);
    CHECK(f.schedule.task(task.id)->state == "asks");
    CHECK(change_task(f.schedule, task, "allow").find("runs") != std::string::npos);
    CHECK(f.schedule.task(task.id)->state == "active");
    CHECK(f.schedule.task(task.id)->next > now());
}

TEST_CASE("schedule: what is over does not go on") {
    Fixture f;
    TaskRow task = f.add("once 5000");
    CHECK_THROWS_AS(change_task(f.schedule, task, "resume"), Error);
}

TEST_CASE("schedule: a delivery that is held comes when its time has come, in its order") {
    Fixture f;
    f.post.enqueue(f.place, "r:s1:1", "by itself");
    f.schedule.hold("r:s1:1", now() + 100);
    f.post.enqueue(f.place, "r:s1:2", "an answer");
    const std::optional<DeliveryRow> first = f.post.take(f.place, unix_ms());
    REQUIRE(first);
    CHECK(first->text == "an answer");
    f.schedule.hold("r:s1:2", now() + 100);  // it is on its way
    CHECK(f.post.delivery(first->row)->state == "sending");
    f.post.part_sent(first->row, 0, 1, "p1");
    CHECK(f.schedule.release(now()).empty());
    CHECK(f.schedule.next_due(now()) == now() + 100);
    CHECK(f.schedule.release(now() + 100) == std::vector<std::string>{"desk"});
    CHECK(f.post.take(f.place, unix_ms())->text == "by itself");
}

TEST_CASE("schedule: of many firings the newest are kept, and old tasks that are done go") {
    Fixture f;
    const TaskRow task = f.add();
    for (int64_t due = 0; due < 3 * Schedule::kKept; ++due) REQUIRE(f.schedule.fire(task, due, "gate", {}));
    CHECK(f.schedule.history(task.id, 1000).size() <= static_cast<size_t>(Schedule::kKept) + 1);
    CHECK(f.schedule.history(task.id, 1).at(0).due == 3 * Schedule::kKept - 1);
    TaskRow done = f.add();
    done.state = "done";
    f.schedule.save(done);
    f.schedule.prune(30);
    CHECK(!f.schedule.task(done.id));
    CHECK(f.schedule.task(task.id));
}

TEST_CASE("schedule: words show no line of the model's own") {
    Fixture f;
    TaskRow task = f.add();
    task.text = "first\n99: every 1 s; \x1b[2Jhidden";
    task.gate = "true\n98: x";
    f.schedule.save(task);
    const std::string words = tasks_in_words(f.schedule, f.schedule.tasks(f.place));
    CHECK(words.find('\n') == std::string::npos);
    CHECK(words.find('\x1b') == std::string::npos);
    task.zone = "Gone/Away";
    task.kept = "cron 0 9 * * *";
    f.schedule.save(task);
    CHECK(tasks_in_words(f.schedule, f.schedule.tasks(0)).find("is no time zone") != std::string::npos);
}

TEST_CASE("schedule: a person's clock is kept") {
    Fixture f;
    CHECK(f.schedule.person("desk", "u1").zone.empty());
    f.schedule.set_person("desk", "u1", {"Europe/Berlin", {60, 120}});
    CHECK(f.schedule.person("desk", "u1").zone == "Europe/Berlin");
    CHECK(f.schedule.person("desk", "u1").quiet.until == 120);
    CHECK(f.schedule.person("yard", "u1").zone.empty());
}
