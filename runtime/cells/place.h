// What Cell and Command ask of the place a tool child runs in. One per kind of place:
// cells/container and cells/shared; nobody else makes one.
#pragma once

#include <memory>
#include <string>

#include "cell.h"
#include "os.h"

namespace peacrab {

// One call under way, as its place sees it; Command collects what it says and ends it in time.
class PlaceCall {
  public:
    virtual ~PlaceCall() = default;  // ends everything of the call that is alive, and waits for it
    // Ends all of it; asked again when it has not ended within the grace. Never throws.
    virtual void kill() noexcept = 0;
    virtual void terminate() noexcept {}  // SIGTERM to everything of it, where that can be said
    // Asked once a second where `looked_after`: whether it gets nowhere for want of memory, and nobody
    // else would end it.
    virtual bool stalled() noexcept { return false; }
    // After the end: which limit was hit meanwhile, "" for none. Never throws.
    virtual std::string limit_hit() noexcept { return {}; }

    Pidfd child;      // when it has ended, so has the call
    UniqueFd output;  // the reading end, non-blocking, and a writing end that keeps it from hanging up
    UniqueFd output_keeper;
    UniqueFd report;  // CellReport records (cells/report.h), non-blocking
    bool looked_after = false;
};

class Place {
  public:
    virtual ~Place() = default;  // ends every process in it
    // Each throws Error when nothing could be started.
    virtual std::unique_ptr<PlaceCall> shell(const ShellCall& call) = 0;
    virtual std::unique_ptr<PlaceCall> file(const std::string& request) = 0;
    virtual std::unique_ptr<PlaceCall> fetch(int input) = 0;  // `input`: its stdin, not owned
    virtual std::unique_ptr<PlaceCall> files(UniqueFd stream) = 0;
    virtual Posture posture() const = 0;
    virtual int proxy() const { return -1; }
    virtual UniqueFd connect(uint16_t port) = 0;
    virtual void freeze() {}
    virtual void thaw() {}
};

}  // namespace peacrab
