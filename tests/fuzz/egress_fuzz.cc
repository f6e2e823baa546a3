// What the gateway reads of a cell's connection, and of who asks for a port: hostile heads and hellos.
//
// A hello never changes its name when more bytes come; a body never takes more than it is given; what
// is passed on at the gate is a whole head that names the host it listens as; a host has one spelling.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "config/egress_rule.h"
#include "error.h"
#include "http_head.h"
#include "port_gate.h"
#include "tls_hello.h"

using namespace peacrab;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

void hello(std::string_view bytes) {
    const TlsHello whole = read_tls_hello(bytes);
    if (whole.kind != TlsHello::Kind::Named) return;
    bool named = false;
    for (size_t length = 0; length <= bytes.size(); ++length) {
        const TlsHello part = read_tls_hello(bytes.substr(0, length));
        if (named) require(part.kind == TlsHello::Kind::Named && part.name == whole.name);
        named = part.kind == TlsHello::Kind::Named;
    }
}

void body(BodyEnd end, std::string_view bytes) {
    while (!end.done() && !bytes.empty()) {
        const size_t taken = end.take(bytes);
        require(taken <= bytes.size());
        if (taken == 0) break;
        bytes.remove_prefix(taken);
    }
}

void head(std::string_view bytes) {
    const size_t end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos) return;
    try {
        const RequestHead request = parse_request_head(bytes.substr(0, end + 4));
        for (const auto& [name, value] : request.headers)
            require((name + value).find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
        body(BodyEnd::of_request(request), bytes.substr(end + 4));
    } catch (const std::exception&) {
    }
    try {
        const ResponseHead response = parse_response_head(bytes.substr(0, end + 4));
        body(BodyEnd::of_response(response, "GET"), bytes.substr(end + 4));
    } catch (const std::exception&) {
    }
}

void gate(std::string_view bytes) {
    const GateAnswer answer = ask_gate({"main-8000.localhost", 4000, "0123456789abcdef"}, bytes);
    if (answer.kind == GateAnswer::Kind::Pass || answer.kind == GateAnswer::Kind::Redirect)
        require(bytes.find("0123456789abcdef") != std::string_view::npos);
}

void host(std::string_view bytes) {
    const std::optional<std::string> once = canonical_host(bytes);
    if (!once || once->find(':') != std::string::npos) return;
    require(canonical_host(*once) == once);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 4) {
        case 0: hello(bytes); break;
        case 1: head(bytes); break;
        case 2: gate(bytes); break;
        default: host(bytes); break;
    }
    return 0;
}
