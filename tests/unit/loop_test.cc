#include "loop.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>

#include "error.h"

using namespace peacrab;

namespace {

constexpr Milliseconds kNow{0};
constexpr Milliseconds kLong{5000};

void poke(const UniqueFd& fd) {
    write_all(fd.get(), "x");
}

}  // namespace

TEST_CASE("loop: a readable descriptor calls its handler, an idle one does not") {
    Loop loop;
    auto idle = SocketPair::stream(), busy = SocketPair::stream();
    int idle_calls = 0, busy_calls = 0;
    loop.watch(idle.ours.get(), POLLIN, [&](short) { ++idle_calls; });
    loop.watch(busy.ours.get(), POLLIN, [&](short revents) {
        CHECK((revents & POLLIN) != 0);
        ++busy_calls;
    });
    poke(busy.theirs);
    loop.run_once(kLong);
    CHECK(idle_calls == 0);
    CHECK(busy_calls == 1);
}

TEST_CASE("loop: a handler may forget itself while it runs") {
    Loop loop;
    auto pair = SocketPair::stream();
    auto big = std::make_shared<std::string>(1000, 'a');  // is read after the forgetting
    int calls = 0;
    loop.watch(pair.ours.get(), POLLIN, [&loop, &calls, fd = pair.ours.get(), big](short) {
        loop.forget(fd);
        calls += big->size() == 1000 ? 1 : 100;
    });
    big.reset();
    poke(pair.theirs);
    loop.run_once(kLong);
    loop.run_once(kNow);
    CHECK(calls == 1);
}

TEST_CASE("loop: an event is never given to a descriptor that took a closed one's number") {
    Loop loop;
    auto first = SocketPair::stream(), second = SocketPair::stream();
    const int low = std::min(first.ours.get(), second.ours.get());
    UniqueFd& other = first.ours.get() == low ? second.ours : first.ours;
    int wrong = 0, calls = 0;
    // Both are readable. The handler that runs first closes the other and watches a new file
    // under the same number.
    UniqueFd replacement;
    loop.watch(low, POLLIN, [&](short) {
        ++calls;
        if (replacement) return;
        const int number = other.get();
        loop.forget(number);
        auto fresh = SocketPair::stream();
        REQUIRE(::dup3(fresh.ours.get(), number, O_CLOEXEC) == number);
        replacement = std::move(fresh.theirs);
        loop.watch(number, POLLIN, [&](short) { ++wrong; });
    });
    loop.watch(other.get(), POLLIN, [&](short) { ++wrong; });
    poke(first.theirs);
    poke(second.theirs);
    loop.run_once(kLong);
    CHECK(calls == 1);
    CHECK(wrong == 0);
}

TEST_CASE("loop: interest taken back in a round is not served in that round") {
    Loop loop;
    auto first = SocketPair::stream(), second = SocketPair::stream();
    int calls = 0;
    const auto handler = [&](short) {
        ++calls;
        loop.change(first.ours.get(), 0);
        loop.change(second.ours.get(), 0);
    };
    loop.watch(first.ours.get(), POLLIN, handler);
    loop.watch(second.ours.get(), POLLIN, handler);
    poke(first.theirs);
    poke(second.theirs);
    loop.run_once(kLong);
    CHECK(calls == 1);
}

TEST_CASE("loop: a hang-up is reported even when nothing was asked for") {
    Loop loop;
    auto pair = SocketPair::stream();
    short seen = 0;
    loop.watch(pair.ours.get(), 0, [&](short revents) { seen = revents; });
    pair.theirs.reset();
    loop.run_once(kLong);
    CHECK((seen & POLLHUP) != 0);
}

TEST_CASE("loop: timers run in the order of their time, a cancelled one never") {
    Loop loop;
    std::string order;
    loop.after(Milliseconds(3), [&] {
        order += 'c';
        loop.stop();
    });
    loop.after(Milliseconds(1), [&] { order += 'a'; });
    const auto never = loop.after(Milliseconds(2), [&] { order += 'x'; });
    loop.after(Milliseconds(2), [&] { order += 'b'; });
    loop.cancel(never);
    loop.cancel(never);
    loop.cancel(12345);
    loop.run();
    CHECK(order == "abc");
}

TEST_CASE("loop: a timer that sets itself again without delay does not starve descriptors") {
    Loop loop;
    auto pair = SocketPair::stream();
    bool served = false;
    int ticks = 0;
    std::function<void()> again = [&] {
        ++ticks;
        loop.after(kNow, again);
    };
    again();
    loop.watch(pair.ours.get(), POLLIN, [&](short) { served = true; });
    poke(pair.theirs);
    for (int i = 0; i < 3 && !served; ++i) loop.run_once(kNow);
    CHECK(served);
    CHECK(ticks <= 4);
}

TEST_CASE("loop: a timer may cancel another that is due in the same round") {
    Loop loop;
    int calls = 0;
    Loop::TimerId first = 0, second = 0;
    first = loop.after(kNow, [&] {
        ++calls;
        loop.cancel(second);
    });
    second = loop.after(kNow, [&] {
        ++calls;
        loop.cancel(first);
    });
    loop.run_once(Milliseconds(1));
    loop.run_once(Milliseconds(1));
    CHECK(calls == 1);
}

TEST_CASE("loop: what a handler throws ends run(), and the loop can run on") {
    Loop loop;
    auto pair = SocketPair::stream();
    int calls = 0;
    loop.watch(pair.ours.get(), POLLIN, [&](short) {
        if (++calls == 1) throw Error("handler");
        loop.stop();
    });
    poke(pair.theirs);
    CHECK_THROWS_WITH(loop.run(), "handler");
    loop.run();
    CHECK(calls == 2);
}

TEST_CASE("loop: with nothing to wait for, run() fails instead of sleeping for ever") {
    Loop loop;
    CHECK_THROWS_AS(loop.run(), Error);
}
