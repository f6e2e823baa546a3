// Which mechanism is off. Only in the test-only binary: nothing of this is linked into what ships.
// Fails on: an agent whose name means no mechanism has them all.
#include "cells/mechanism.h"

#ifndef PEACRAB_MUTANTS
#error "mechanism: only the test-only binary can switch mechanisms"
#endif

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <iterator>

namespace peacrab {
namespace {

constexpr const char* kArguments[] = {
#define PEACRAB_ENTRY(identifier, name) "off-" name,
    PEACRAB_MECHANISMS(PEACRAB_ENTRY)
#undef PEACRAB_ENTRY
};
#define PEACRAB_ENTRY(identifier, name) \
    static_assert(sizeof name <= 29, "longer than an agent's name may be");
PEACRAB_MECHANISMS(PEACRAB_ENTRY)
#undef PEACRAB_ENTRY
constexpr int kAllOn = -1;
int off = kAllOn, second = kAllOn;
const char* argument = nullptr;

// Two walls of which either holds alone: what the one is worth shows without the other.
struct Pair {
    const char* argument;
    Mechanism first, second;
};
constexpr Pair kPairs[] = {
    {"off-landlock-file-beneath", Mechanism::LandlockFile, Mechanism::FileBeneath},
};

// A call would inherit what is set here. The guest's init happens to have little, and then nobody
// would notice that it is not taken away: here it has more.
void have_something_to_give_up() {
    const gid_t group = 4242;
    ::syscall(SYS_setgroups, on(Mechanism::Groups) ? 0 : 1, &group);
    const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
    for (const __rlimit_resource resource : {RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, RLIMIT_SIGPENDING,
                                             RLIMIT_RTPRIO, RLIMIT_NICE})
        ::setrlimit(resource, &all);
}

}  // namespace

bool on(Mechanism mechanism) noexcept {
    return static_cast<int>(mechanism) != off && static_cast<int>(mechanism) != second;
}

const char* mechanism_name(Mechanism mechanism) noexcept {
    return kArguments[static_cast<int>(mechanism)] + std::strlen("off-");
}

void use_mechanisms_of(const std::string& agent) noexcept {
    off = second = kAllOn;
    argument = nullptr;
    for (int i = 0; i < static_cast<int>(std::size(kArguments)); ++i)
        if (agent == kArguments[i]) {
            off = i;
            argument = kArguments[i];
        }
    for (const Pair& pair : kPairs)
        if (agent == pair.argument) {
            off = static_cast<int>(pair.first);
            second = static_cast<int>(pair.second);
            argument = pair.argument;
        }
    if (::getpid() == 1) have_something_to_give_up();
}

const char* mechanism_argument() noexcept {
    return argument;
}

}  // namespace peacrab
