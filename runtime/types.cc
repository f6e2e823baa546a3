// Names of outcomes: the words that stand in the store, in frames and on the screen. Nothing else
// may spell them, and a word nobody knows is read as "failed".
#include "types.h"

#include <array>
#include <utility>

namespace peacrab {
namespace {

constexpr std::array<std::pair<Outcome, const char*>, 6> kNames{{
    {Outcome::Failed, "failed"},
    {Outcome::Ok, "ok"},
    {Outcome::Denied, "denied"},
    {Outcome::TimedOut, "timed out"},
    {Outcome::Interrupted, "interrupted"},
    {Outcome::Waiting, "waiting"},  // for what the person says
}};

}  // namespace

const char* outcome_name(Outcome outcome) {
    for (const auto& [value, name] : kNames)
        if (value == outcome) return name;
    return "failed";
}

Outcome outcome_from(const std::string& name) {
    for (const auto& [value, known] : kNames)
        if (name == known) return value;
    return Outcome::Failed;
}

}  // namespace peacrab
