#include "cells/probe.h"

#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"
#include "jail.h"
#include "os.h"

using namespace peacrab;

namespace {

// What the attempts say when they are made in a child that `prepare` has put in its jail.
template <typename Prepare>
std::string tried_after(const Prepare& prepare) {
    Pipe pipe = Pipe::make();
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        if (::dup2(pipe.write.get(), 1) < 0 || ::close_range(3, ~0u, 0) < 0) ::_exit(98);
        if (!prepare()) ::_exit(99);
        ::_exit(try_effects_in_shared());
    }
    pipe.write.reset();
    std::string said;
    std::vector<char> buffer(4096);
    while (const size_t n = read_some(pipe.read.get(), buffer).value_or(0))
        said.append(buffer.data(), n);
    int status = 1;
    ::waitpid(pid, &status, 0);
    CHECK(status == 0);
    return said;
}

JailOptions ordinary() {
    JailOptions options;
    if (::geteuid() == 0) options.ids = Ids{54321, 54321};
    return options;
}

}  // namespace

TEST_CASE("probe: in a jail without a network every effect is refused by its wall") {
    const JailFilter filter = JailFilter::compile(JailClass::Shell);
    const std::string said = tried_after([&] { return enter_jail(ordinary(), filter) == nullptr; });
    const Probes probes = probes_in_shared(said);
    CHECK_MESSAGE(probes.all_refused(), probes.failure());
    CHECK(probes.tried.size() >= 20);
}

TEST_CASE("probe: without a filter, what the kernel alone would let through is found") {
    const std::string said = tried_after([] { return drop_privileges(ordinary()) == nullptr; });
    const Probes probes = probes_in_shared(said);
    CHECK_FALSE(probes.all_refused());
    CHECK_FALSE(probes.tried.empty());
    int open = 0;
    for (const Tried& one : probes.tried) open += one.outcome != Tried::Outcome::Refused;
    CHECK(open >= 5);
}

TEST_CASE("probe: a network that leads outside is found") {
    const JailFilter filter = JailFilter::compile(JailClass::Shell, JailFilter::Network::Own);
    const std::string said = tried_after([&] { return enter_jail(ordinary(), filter) == nullptr; });
    const Probes probes = probes_in_shared(said);
    const std::string failure = probes.failure();
    // Where this machine has no route at all there is nothing to be found.
    const bool found = failure.find("outside: possible") != std::string::npos || failure.empty();
    CHECK_MESSAGE(found, failure);
}

TEST_CASE("probe: an answer that is not about every effect is no proof") {
    CHECK_FALSE(probes_in_cell("").all_refused());
    CHECK_FALSE(probes_in_cell("1 1 1 ").all_refused());
    CHECK_FALSE(probes_in_cell("1 x").all_refused());
    CHECK_FALSE(probes_in_cell(std::string(100000, '1')).all_refused());
    CHECK(probes_in_cell("garbage").failure() == "nothing was tried");
    CHECK_FALSE(Probes{}.all_refused());
}

TEST_CASE("probe: one effect that was possible, or refused by another errno, is named") {
    const JailFilter filter = JailFilter::compile(JailClass::Shell);
    std::string said = tried_after([&] { return enter_jail(ordinary(), filter) == nullptr; });
    REQUIRE(said.starts_with("1 "));
    said[0] = '0';
    CHECK(probes_in_shared(said).failure() == "make a mount namespace: possible");
    said[0] = '2';
    CHECK(probes_in_shared(said).failure().starts_with("make a mount namespace: refused, but not"));
    said += "1 ";
    CHECK(probes_in_shared(said).tried.empty());
}

TEST_CASE("probe: what only seccomp stops is there outside of a jail and gone within" *
          doctest::skip(::geteuid() != 0)) {
    // Keyrings at least, on any machine's stock kernel.
    CHECK_FALSE(only_seccomp_stops().empty());
    const JailFilter filter = JailFilter::compile(JailClass::Shell);
    const pid_t pid = ::fork();
    if (pid == 0) {
        if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || !filter.install()) ::_exit(99);
        ::_exit(only_seccomp_stops().empty() ? 0 : 1);
    }
    int status = 1;
    ::waitpid(pid, &status, 0);
    CHECK(status == 0);
}
