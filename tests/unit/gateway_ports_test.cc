// An opened port from its listener to what is handed on, with curl as the client and a server that keeps
// its connections, as one in a cell may do.
#include "gateway_ports.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "error.h"
#include "gated_connection.h"
#include "spawn.h"

using namespace peacrab;

namespace {

// Answers each request with its first line, and keeps the connection.
struct Served {
    UniqueFd fd;
    std::string heard;
    Loop* loop = nullptr;
    size_t requests = 0;
    std::string first_lines;

    void readable() {
        char bytes[4096];
        const ssize_t n = ::recv(fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
        if (n <= 0) return loop->forget(fd.get());
        heard.append(bytes, static_cast<size_t>(n));
        for (size_t end; (end = heard.find("\r\n\r\n")) != std::string::npos; heard.erase(0, end + 4)) {
            const std::string line = heard.substr(0, heard.find("\r\n"));
            first_lines += line + "\n";
            ++requests;
            const std::string answer =
                "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(line.size() + 1) + "\r\n\r\n" + line + "\n";
            REQUIRE(::send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL) ==
                    static_cast<ssize_t>(answer.size()));
        }
    }
};

struct House {
    Loop loop;
    std::vector<std::unique_ptr<Served>> served;
    GatewayPorts ports{loop,
                       {[this](const std::string&, uint16_t, UniqueFd connection) {
                            served.push_back(std::make_unique<Served>());
                            Served* const one = served.back().get();
                            one->fd = std::move(connection);
                            one->loop = &loop;
                            loop.watch(one->fd.get(), POLLIN, [one](short) { one->readable(); });
                        },
                        [](int, const std::string&) {}}};
    GatewayPorts::Opened opened = ports.open({"main", 8000});
    std::string jar = "/tmp/peacrab-jar-" + random_hex(8);

    ~House() { ::unlink(jar.c_str()); }
    std::string base() const { return opened.url.substr(0, opened.url.find("/?")); }
    std::string curl(const std::string& words) {
        const std::string name = base().substr(7);
        Pipe out = Pipe::make();
        const pid_t pid = ::fork();
        REQUIRE(pid >= 0);
        if (pid == 0) {
            ::dup2(out.write.get(), 1);
            ::dup2(out.write.get(), 2);
            const std::string command = "exec curl -sS --noproxy '*' --max-time 20 -b " + jar + " --resolve " +
                                        name + ":127.0.0.1 " + words;
            ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
            ::_exit(127);
        }
        Pidfd child = Pidfd::of_child(pid);
        out.write.reset();
        bool over = false;
        std::string said;
        loop.watch(out.read.get(), POLLIN, [&](short) {
            char bytes[4096];
            const ssize_t n = ::read(out.read.get(), bytes, sizeof bytes);
            if (n > 0) return said.append(bytes, static_cast<size_t>(n)), void();
            over = true;
            loop.forget(out.read.get());
        });
        const Deadline deadline = Deadline::in(Seconds(30));
        while (!over && !deadline.passed()) loop.run_once(Milliseconds(20));
        (void)child.wait();
        return said;
    }
};

bool no_curl() {
    if (!find_program("curl").empty()) return false;
    MESSAGE("skipped: no curl");
    return true;
}

}  // namespace

TEST_CASE("gateway ports: who has the token is served, over one connection that is kept") {
    if (no_curl()) return;
    House house;
    CHECK(house.curl("-L -c " + house.jar + " '" + house.opened.url + "'") == "GET / HTTP/1.1\n");
    const size_t before = house.served.size();
    CHECK(house.curl("-d x=1 " + house.base() + "/a " + house.base() + "/b " + house.base() + "/c") ==
          "POST /a HTTP/1.1\nx=1POST /b HTTP/1.1\nx=1POST /c HTTP/1.1\n");  // bodies stand before the next line
    CHECK(house.served.size() == before + 1);
}

TEST_CASE("gateway ports: a second request without the cookie does not reach the cell over a kept connection") {
    if (no_curl()) return;
    House house;
    CHECK(house.curl("-L -c " + house.jar + " '" + house.opened.url + "'") == "GET / HTTP/1.1\n");
    const std::string said =
        house.curl(house.base() + "/a --next -sS --resolve " + house.base().substr(7) + ":127.0.0.1 " + house.base() + "/secret");
    CHECK(said.find("GET /a HTTP/1.1") != std::string::npos);
    CHECK(said.find("the token is missing") != std::string::npos);
    for (const auto& each : house.served) CHECK(each->first_lines.find("/secret") == std::string::npos);
}

TEST_CASE("gateway ports: under a name that ports share nothing is served and no cookie is set") {
    if (no_curl()) return;
    House house;
    const std::string number = house.base().substr(house.base().rfind(':'));
    const std::string token = house.opened.url.substr(house.opened.url.find("?"));
    for (const char* name : {"localhost", "127.0.0.1"}) {
        const std::string said = house.curl("-i 'http://" + std::string(name) + number + "/" + token + "'");
        CHECK(said.starts_with("HTTP/1.1 403 "));
        CHECK(said.find("Set-Cookie") == std::string::npos);
        CHECK(said.find("this port has another name") != std::string::npos);
        CHECK(said.find("main-8000") == std::string::npos);  // who does not have the name is not told it
    }
    CHECK(house.served.empty());
}

TEST_CASE("gateway ports: two ports of one server have names that nobody can guess from each other") {
    House house;
    const auto name = [](const std::string& url) { return url.substr(7, url.find(".localhost") - 7); };
    const std::string first = name(house.opened.url), second = name(house.ports.open({"main", 8000}).url);
    CHECK(first.starts_with("main-8000-"));
    CHECK(second.starts_with("main-8000-"));
    CHECK(first.size() == 18);
    CHECK(first != second);
}

TEST_CASE("gateway ports: a client that is gone is not waited for when the server never ends") {
    Loop loop;
    SocketPair client = SocketPair::stream(), server = SocketPair::stream();
    const PortGate gate{"main-8000-00.localhost", 4711, "0123456789abcdef"};
    bool ended = false;
    GatedConnection connection(loop, gate, std::move(client.theirs), std::move(server.theirs),
                               [&] { ended = true; }, Milliseconds(100));
    const std::string request =
        "GET / HTTP/1.1\r\nHost: main-8000-00.localhost:4711\r\nCookie: peacrab-4711=0123456789abcdef\r\n\r\n";
    REQUIRE(::send(client.ours.get(), request.data(), request.size(), MSG_NOSIGNAL) > 0);
    for (int i = 0; i < 20; ++i) loop.run_once(Milliseconds(20));
    CHECK_FALSE(ended);  // it is there, and may wait for as long as it likes
    client.ours.reset();
    const Deadline deadline = Deadline::in(Seconds(10));
    while (!ended && !deadline.passed()) loop.run_once(Milliseconds(20));
    CHECK(ended);
    char bytes[512];
    CHECK(::recv(server.ours.get(), bytes, sizeof bytes, MSG_DONTWAIT) > 0);
}

TEST_CASE("gateway ports: a web socket goes on as it is, both ways, and ends with the port") {
    House house;
    const uint16_t number = static_cast<uint16_t>(std::stoi(house.base().substr(house.base().rfind(':') + 1)));
    const std::string token = house.opened.url.substr(house.opened.url.find("=") + 1);
    UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(number);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(client.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    const std::string head = "GET /ws HTTP/1.1\r\nHost: " + house.base().substr(7) + "\r\nCookie: peacrab-" +
                             std::to_string(number) + "=" + token +
                             "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    write_all(client.get(), head);
    const auto until = [&](const std::function<bool()>& done) {
        for (int i = 0; i < 500 && !done(); ++i) house.loop.run_once(Milliseconds(20));
        return done();
    };
    REQUIRE(until([&] { return house.served.size() == 1 && house.served[0]->requests == 1; }));
    const std::string frames(1 << 20, '\x81');
    set_nonblocking(client.get());
    size_t sent = 0;
    CHECK(until([&] {
        while (sent < frames.size()) {
            const ssize_t n = ::send(client.get(), frames.data() + sent, frames.size() - sent, MSG_NOSIGNAL);
            if (n <= 0) break;
            sent += static_cast<size_t>(n);
        }
        return house.served[0]->heard.size() == frames.size();
    }));
    char answer[1024];
    CHECK(::recv(client.get(), answer, sizeof answer, 0) > 0);
    house.ports.close(house.opened.id);
    CHECK(until([&] { return ::recv(client.get(), answer, sizeof answer, 0) == 0; }));
}
