// A connection that has passed the gate of an opened port, and goes on being judged: every request of it
// (port_gate.h), both ways with back pressure. Owned by a GatewayPorts.
#pragma once

#include <functional>
#include <string>

#include "loop.h"
#include "os.h"
#include "port_gate.h"

namespace peacrab {

class GatedConnection {
  public:
    // For more of an answer, when the client has said its last: it may be gone, which nobody is told.
    static constexpr Milliseconds kPatience{15'000};
    // `inner` goes to the cell. `ended` is called once, never from inside this: then it may be dropped.
    GatedConnection(Loop& loop, const PortGate& gate, UniqueFd client, UniqueFd inner,
                    std::function<void()> ended, Milliseconds patience = kPatience);
    GatedConnection(const GatedConnection&) = delete;
    ~GatedConnection();

  private:
    // One of the two ways.
    struct Way {
        std::string waiting;  // read, not yet written
        bool ended = false;   // nothing more is read
        bool shut = false;    // nothing more is written
        bool done() const { return ended && shut; }
    };
    struct End {
        UniqueFd fd;
        short watched = 0;
    };
    void act();
    void be_patient();
    bool read_client();
    bool read_cell();
    bool write(End& to, Way& way);
    void watch(End& end, bool in, bool out);
    void end();

    Loop& loop_;
    GatedRequests requests_;
    End client_, cell_;
    Way up_, down_;
    std::function<void()> ended_;
    const Milliseconds patience_;
    Loop::TimerId waiting_ = 0;
    bool over_ = false;
    Loop::TimerId farewell_ = 0;
};

}  // namespace peacrab
