// Which mechanism is off. Only in the test-only binary: nothing of this is linked into what ships.
// Fails on: an agent whose name means no mechanism has them all.
#include "cells/mechanism.h"

#ifndef PEACRAB_MUTANTS
#error "mechanism: only the test-only binary can switch mechanisms"
#endif

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
int off = kAllOn;

}  // namespace

bool on(Mechanism mechanism) noexcept {
    return static_cast<int>(mechanism) != off;
}

const char* mechanism_name(Mechanism mechanism) noexcept {
    return kArguments[static_cast<int>(mechanism)] + std::strlen("off-");
}

void use_mechanisms_of(const std::string& agent) noexcept {
    off = kAllOn;
    for (int i = 0; i < static_cast<int>(std::size(kArguments)); ++i)
        if (agent == kArguments[i]) off = i;
    // The guest's init has no groups of which to give something up: here it gets one.
    const gid_t group = 4242;
    if (::getpid() == 1) ::syscall(SYS_setgroups, on(Mechanism::Groups) ? 0 : 1, &group);
}

const char* mechanism_argument() noexcept {
    return off == kAllOn ? nullptr : kArguments[off];
}

}  // namespace peacrab
