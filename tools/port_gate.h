// Who may use a port of a cell that `peacrab port` has opened: whoever has the address with its token.
// Judged from the head of every request of a connection. Pure.
//
// The address is http://AGENT-PORT-RANDOM.localhost:N/?token=…: a name of its own for every port that is
// opened, for cookies do not tell ports apart: whoever else serves on this machine, from another cell or as
// another user, must not be sent what is this one's. So nobody is told the name who does not have it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "http_head.h"

namespace peacrab {

struct PortGate {
    std::string name;  // "main-8000-5b0d1f3a.localhost"
    uint16_t port = 0;  // where we listen
    std::string token;
    std::string url() const;
};

struct [[nodiscard]] GateAnswer {
    enum class Kind {
        Refuse,    // the zero value: `response` is sent, then the end
        NeedMore,  // the head is not whole
        Redirect,  // the token was in the address: `response` puts it into a cookie
        Pass,      // the bytes may go to the cell
    } kind = Kind::Refuse;
    std::string response;
};
// `bytes`: what the client has sent so far. The Host must be the name of this port and no other (a page
// that has another name resolve to this machine gets nothing, and a cookie for a name that ports share
// would go to all of them); then the token or the cookie is wanted. A page of another origin gets nothing
// even with the cookie, which browsers send along for it.
GateAnswer ask_gate(const PortGate& gate, std::string_view bytes);

// What of a connection's bytes may go to the cell: requests, each of which passes the gate, with their
// bodies. After one that asks for a web socket, everything: what follows is no request.
class GatedRequests {
  public:
    explicit GatedRequests(const PortGate& gate) : gate_(gate) {}
    struct [[nodiscard]] Step {
        std::string pass;
        bool over = true;  // something came that does not pass: the connection must end
    };
    Step take(std::string_view bytes);

  private:
    bool take_head(std::string& pass);
    PortGate gate_;
    std::string held_;  // of a head that is not whole
    BodyEnd body_;
    bool free_ = false;
};

}  // namespace peacrab
