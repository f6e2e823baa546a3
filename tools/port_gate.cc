// The token of an opened port. Must not let a request through because of where it comes from: every
// program and every web page of this machine can connect to it.
#include "port_gate.h"

#include "os.h"

namespace peacrab {
namespace {

std::string place(const std::string& host, uint16_t port) { return host + ":" + std::to_string(port); }

// In a time that does not tell how much of it was right.
bool same_secret(std::string_view one, std::string_view other) {
    unsigned difference = one.size() != other.size();
    for (size_t i = 0; i < one.size() && i < other.size(); ++i)
        difference |= static_cast<unsigned>(one[i] ^ other[i]);
    return difference == 0 && !one.empty();
}

std::string cookie_name(const PortGate& gate) { return "peacrab-" + std::to_string(gate.port); }

bool has_cookie(const RequestHead& head, const PortGate& gate) {
    const std::string name = cookie_name(gate) + "=";
    for (const auto& [key, value] : head.headers) {
        if (key != "cookie") continue;
        for (std::string item : split(value, ';')) {
            while (item.starts_with(' ')) item.erase(0, 1);
            if (item.starts_with(name) && same_secret(item.substr(name.size()), gate.token)) return true;
        }
    }
    return false;
}

// The target without its token; nothing when the right one is not there.
std::optional<std::string> without_token(const std::string& target, const PortGate& gate) {
    const size_t mark = target.find('?');
    if (mark == std::string::npos) return std::nullopt;
    std::string query;
    bool found = false;
    for (const std::string& item : split(target.substr(mark + 1), '&')) {
        if (item.starts_with("token=") && same_secret(item.substr(6), gate.token)) found = true;
        else query += (query.empty() ? "?" : "&") + item;
    }
    if (!found) return std::nullopt;
    std::string path = target.substr(0, mark);
    path.erase(0, path.find_first_not_of('/'));  // "//host" would be another place
    return "/" + path + query;
}

std::string response(const char* status, const std::string& headers, const std::string& body) {
    return std::string("HTTP/1.1 ") + status + "\r\n" + headers +
           "Content-Type: text/plain; charset=utf-8\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n" +
           body;
}

GateAnswer refuse(const char* status, const std::string& why) {
    return {GateAnswer::Kind::Refuse, response(status, "", "peacrab: " + why + "\n")};
}

GateAnswer judge(const PortGate& gate, const RequestHead& head) {
    const std::string host = head.header("host").value_or("");
    if (host != place(gate.name, gate.port))
        return refuse("403 Forbidden", "this port has another name: open the address that `peacrab port` printed");
    if (const auto origin = head.header("origin"); origin && *origin != "http://" + host)
        return refuse("403 Forbidden", "another page asks");
    if (!head.target.starts_with('/')) return refuse("400 Bad Request", "the target must be a path");
    if (const auto path = without_token(head.target, gate))
        return {GateAnswer::Kind::Redirect,
                response("303 See Other",
                         "Location: " + *path + "\r\nSet-Cookie: " + cookie_name(gate) + "=" +
                             gate.token + "; HttpOnly; SameSite=Strict; Path=/\r\n",
                         "")};
    if (has_cookie(head, gate)) return {GateAnswer::Kind::Pass, ""};
    return refuse("403 Forbidden", "the token is missing: open the address that `peacrab port` printed");
}

}  // namespace

std::string PortGate::url() const { return "http://" + place(name, port) + "/?token=" + token; }

GateAnswer ask_gate(const PortGate& gate, std::string_view bytes) {
    const size_t end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos) {
        if (bytes.size() < kMaxHead) return {GateAnswer::Kind::NeedMore, ""};
        return refuse("431 Request Header Fields Too Large", "the request's head is too long");
    }
    try {
        return judge(gate, parse_request_head(bytes.substr(0, end + 4)));
    } catch (const BadRequest& bad) {
        return refuse("400 Bad Request",
                      std::string(bad.what()) + "; for another protocol: peacrab port --raw");
    }
}

// False: there is no whole head that passes.
bool GatedRequests::take_head(std::string& pass) {
    if (ask_gate(gate_, held_).kind != GateAnswer::Kind::Pass) return false;
    const size_t size = held_.find("\r\n\r\n") + 4;
    const RequestHead head = parse_request_head(std::string_view(held_).substr(0, size));
    body_ = BodyEnd::of_request(head);
    free_ = lower(head.header("upgrade").value_or("")) == "websocket" && body_.done() &&
            lists(head.header("connection").value_or(""), "upgrade");
    pass.append(held_, 0, size);
    held_.erase(0, size);
    return true;
}

GatedRequests::Step GatedRequests::take(std::string_view bytes) {
    Step step;
    held_.append(bytes);
    try {
        while (!held_.empty()) {
            if (!free_ && body_.done()) {
                if (ask_gate(gate_, held_).kind == GateAnswer::Kind::NeedMore) break;
                if (!take_head(step.pass)) return step;
                continue;
            }
            const size_t size = free_ ? held_.size() : body_.take(held_);
            step.pass.append(held_, 0, size);
            held_.erase(0, size);
        }
        step.over = false;
    } catch (const BadRequest&) {  // where a body ends is not clear
    }
    return step;
}

}  // namespace peacrab
