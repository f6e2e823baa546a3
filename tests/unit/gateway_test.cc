// The gateway against a scripted guest: a child process that speaks the guest's side of the link.
#include "gateway.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <map>

#include "client.h"
#include "error.h"
#include "frame.h"
#include "link.h"
#include "loop.h"
#include "removals.h"
#include "config/secrets.h"

using namespace peacrab;

namespace {

// What the scripted guest does.
enum class Script {
    Good,
    DiesOnce,      // the first boot ends before hello
    DiesAlways,
    OtherVersion,  // says hello with another protocol
    Garbage,       // breaks the link after it was ready
};

class ScriptedGuest {
  public:
    ScriptedGuest(UniqueFd link, Script script) : script_(script) {
        LinkPort::Handlers handlers;
        handlers.opened = [this](StreamId id, const std::string& kind, const std::string&) {
            if (kind == "control") control_ = id;
            if (kind == "skills") archives_[skills_ = id].clear();
        };
        handlers.data = [this](StreamId id, std::string_view bytes) { data(id, bytes); };
        handlers.finished = [this](StreamId id) { port_->finish(id); };
        handlers.broken = [](const std::string&) { ::_exit(0); };
        raw_ = link.get();
        port_ = std::make_unique<LinkPort>(loop_, std::move(link), Link::Side::Guest, handlers);
        port_->set_hello(script == Script::OtherVersion ? "{\"protocol\":99}" : "{\"protocol\":1}");
    }
    [[noreturn]] void run() {
        try {
            loop_.run();
        } catch (const std::exception&) {  // the host has closed the link: a hostile guest lives on
            ::pause();
        }
        ::_exit(0);
    }

  private:
    void say(const json::Value& frame) {
        port_->send(control_, write_frame(Dialect::GuestToHost, frame));
    }
    void data(StreamId id, std::string_view bytes) {
        if (archives_.count(id)) return void(archives_[id].append(bytes));
        if (id == model_) return port_->send(chat_, "model says " + std::string(bytes) + "\n");
        buffer_.append(bytes);
        while (std::optional<std::string> line = buffer_.next())
            id == control_ ? control(parse_frame(Dialect::HostToGuest, *line)) : chat(id, *line);
    }
    void control(const json::Value& frame) {
        const std::string type = frame.text("type");
        if (type == "settings") {
            settings_ = json::dump(frame);
            say(json::Value::object({{"type", "ready"}, {"ms", 5}, {"posture", "scripted\033[2J"}}));
            if (script_ == Script::Garbage) {
                const std::string garbage(size_t{2} << 20, 'g');
                loop_.after(Milliseconds(1), [this, garbage] {
                    static_cast<void>(::fcntl(raw_, F_SETFL, 0));
                    write_all(raw_, garbage);
                });
            }
        } else if (type == "inspect") {
            say(json::Value::object({{"type", "inspected"},
                                     {"id", frame.text("id")},
                                     {"report", json::Value::object({{"root", "peacrabd"}})}}));
        } else if (type == "remove_agent") {
            removed_ += frame.text("name") + " ";
            const bool well = frame.text("name") != "stubborn";
            json::Value answer = json::Value::object(
                {{"type", "removed"}, {"id", frame.text("id")}, {"ok", well}});
            if (!well) answer.set("why", "it \033[2J stays");
            say(answer);
        } else {
            say(json::Value::object({{"type", "stopped"}}));
            loop_.after(Milliseconds(1), [] { ::_exit(0); });
        }
    }
    void chat(StreamId id, const std::string& line) {
        chat_ = id;
        if (line == "settings") return port_->send(id, settings_ + "\n");
        if (line == "removed") return port_->send(id, removed_ + "\n");
        if (line == "die") ::_exit(7);
        // Whatever has arrived of them: that they were begun is what a guest needs, to wait for the rest.
        if (line == "skills") {
            const std::string number = std::to_string(skills_);
            return port_->send(id, number + (archives_[skills_].find("edited") != std::string::npos ? " edited\n" : "\n"));
        }
        if (line == "model") {
            model_ = port_->open("model", "{\"agent\":\"main\",\"session\":\"s\"}");
            return port_->send(model_, "question");
        }
        if (line == "log") {
            const StreamId log = port_->open("log");
            port_->send(log, "logged \033[31m line\n");
            return port_->finish(log);
        }
        port_->send(id, "echo " + line + "\n");
    }

    Script script_;
    Loop loop_;
    int raw_ = -1;
    std::unique_ptr<LinkPort> port_;
    FrameBuffer buffer_;
    StreamId control_ = 0;
    StreamId chat_ = 0;
    StreamId model_ = 0;
    StreamId skills_ = 0;
    std::map<StreamId, std::string> archives_;
    std::string settings_;
    std::string removed_;
};

class ScriptedDriver : public MachineDriver {
  public:
    explicit ScriptedDriver(Script script) : script_(script) {}
    std::string program() const override { return "/bin/true"; }
    Machine launch(const MachineSpec& spec) override {
        SocketPair link = SocketPair::stream();
        SocketPair console = SocketPair::stream();
        Pipe errors = Pipe::make();
        const bool dies = script_ == Script::DiesAlways ||
                          (script_ == Script::DiesOnce && launches_ == 0);
        ++launches_;
        const pid_t pid = ::fork();
        if (pid < 0) throw ErrnoError("fork");
        if (pid == 0) {
            // As the real VMM: dies with the gateway and has nothing of it.
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (int fd = 3; fd < 256; ++fd)
                if (fd != link.theirs.get() && fd != console.theirs.get() &&
                    fd != errors.write.get())
                    ::close(fd);
            write_all(console.theirs.get(), "kernel \033[2J of " + spec.name + "\n");
            write_all(errors.write.get(), "vmm is unwell\n");
            if (dies) ::_exit(1);
            ScriptedGuest(std::move(link.theirs), script_).run();
        }
        return {Pidfd::of_child(pid), std::move(link.ours), std::move(console.ours),
                std::move(errors.read)};
    }

  private:
    Script script_;
    int launches_ = 0;
};

// A home, an image that is none, and the gateway in a child process.
class Fixture {
  public:
    using Before = std::function<void(const MachinePlace&)>;
    explicit Fixture(Script script, const Before& before = {}) {
        char name[] = "/tmp/peacrab-gateway-XXXXXX";
        home_ = ::mkdtemp(name);
        ::setenv("HOME", home_.c_str(), 1);
        for (const char* variable : {"XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME",
                                     "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "ANTHROPIC_API_KEY"})
            ::unsetenv(variable);
        make_directories(home_ + "/image");
        for (const char* file : {"k", "i", "b"}) write_file_atomic(home_ + "/image/" + file, "x", 0600);
        write_file_atomic(home_ + "/image/manifest.json",
                          R"({"id":"scripted","kernel":{"file":"k"},"initramfs":{"file":"i"},)"
                          R"("base":{"file":"b"}})",
                          0600);
        place = machine_place("default");
        if (before) {
            make_directories(place.folder);
            before(place);
        }
        start(script);
    }
    ~Fixture() {
        gateway.kill_and_reap();
        std::filesystem::remove_all(home_);
    }

    // Gives the gateway's word on its report pipe.
    void start(Script script) {
        Pipe report = Pipe::make();
        const pid_t pid = ::fork();
        REQUIRE(pid >= 0);
        if (pid == 0) {
            report.read.reset();
            ::_exit(run(script, std::move(report.write)));
        }
        gateway = Pidfd::of_child(pid);
        report.write.reset();
        word.clear();
        char byte;
        while (read_some(report.read.get(), {&byte, 1}).value_or(0) == 1 && byte != '\n') word += byte;
    }

    json::Value ask(const char* type) {
        std::optional<FrameSocket> socket = connect_gateway(place);
        if (!socket) throw Error("no gateway");
        return ask_gateway(*socket, type, Seconds(20));
    }
    ChildExit ended() {
        pollfd one{gateway.fd(), POLLIN, 0};
        REQUIRE(::poll(&one, 1, 20'000) == 1);
        return gateway.wait();
    }

    MachinePlace place;
    Pidfd gateway;
    std::string word;

  private:
    static int run(Script script, UniqueFd report) {
        try {
            GatewayOptions options;
            options.report = std::move(report);
            options.flags.accelerator = "tcg";
            options.flags.memory = MiB(128);
            options.flags.disk = MiB(256);
            options.image_folder = env("HOME") + "/image";
            options.model_route = {"/bin/sh", "-c", "read -r -n8 q <&3 2>/dev/null || q=$(head -c8 <&3); printf 'answer to %s' \"$q\" >&3"};
            ScriptedDriver driver(script);
            return run_gateway(std::move(options), driver);
        } catch (const Error&) {
            return 9;
        }
    }
    std::string home_;
};

// A chat: raw lines after `opened`.
class Chat {
  public:
    explicit Chat(const MachinePlace& place) {
        std::optional<FrameSocket> socket = connect_gateway(place);
        REQUIRE(socket);
        socket->send(json::Value::object({{"type", "open"}, {"what", "chat"}}));
        for (;;) {
            const std::optional<json::Value> frame = socket->receive(Deadline::in(Seconds(20)));
            REQUIRE(frame);
            if (frame->text("type") == "progress") continue;
            opened = *frame;
            break;
        }
        fd_ = UniqueFd(::fcntl(socket->fd(), F_DUPFD_CLOEXEC, 3));
    }
    std::string say(const std::string& line) {
        write_all(fd_.get(), line + "\n");
        return hear();
    }
    // A line; "" at the end of the connection.
    std::string hear() {
        std::string line;
        char byte;
        pollfd one{fd_.get(), POLLIN, 0};
        while (::poll(&one, 1, 20'000) == 1) {
            size_t n = 0;
            try {
                n = read_some(fd_.get(), {&byte, 1}).value_or(0);
            } catch (const Error&) {
            }
            if (n == 0 || byte == '\n') return line;
            line += byte;
        }
        return "silence";
    }
    json::Value opened;

  private:
    UniqueFd fd_;
};

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("gateway: boots, relays a chat byte for byte, and powers off") {
    Fixture f(Script::Good);
    REQUIRE(f.word == "listening");
    const json::Value report = f.ask("ready").at("report");
    CHECK(report.text("state") == "ready");
    CHECK(report.text("accelerator") == "tcg");
    CHECK(report.text("image") == "scripted");
    CHECK(report.flag("demo"));
    CHECK(report.text("posture") == "scripted\\x1b[2J");  // the guest's words are hostile
    struct stat socket;
    REQUIRE(::stat(f.place.socket.c_str(), &socket) == 0);
    CHECK((socket.st_mode & 0777) == 0600);

    Chat chat(f.place);
    CHECK(chat.opened.text("type") == "opened");
    CHECK(chat.opened.flag("demo"));
    CHECK(chat.say("hello") == "echo hello");
    Chat second(f.place);
    CHECK(second.say("other") == "echo other");
    CHECK(f.ask("ps").at("report").integer("sessions") == 2);
    CHECK(f.ask("inspect").at("report").text("root") == "peacrabd");

    CHECK(f.ask("stop").text("type") == "done");
    CHECK(f.ended().ok());
    CHECK(chat.hear().empty());
    CHECK_FALSE(connect_gateway(f.place));
    CHECK_FALSE(std::filesystem::exists(f.place.socket));
    CHECK(why_it_ended(f.place).empty());
    CHECK(contains(read_file(f.place.console_log, MiB(1)), "kernel \\x1b[2J of default"));
}

TEST_CASE("gateway: a VMM that dies is reported with its reason, and the next start works") {
    Fixture f(Script::Good);
    f.ask("ready");
    Chat chat(f.place);
    CHECK(chat.say("die").empty());
    const ChildExit exit = f.ended();
    CHECK(exit.how == ChildExit::How::Exited);
    CHECK(exit.code == 1);
    CHECK(contains(why_it_ended(f.place), "exit code 7"));
    CHECK(contains(read_file(f.place.gateway_log, MiB(1)), "vmm is unwell"));
    f.start(Script::Good);
    CHECK(f.word == "listening");
    CHECK(f.ask("ready").at("report").text("state") == "ready");
    CHECK(why_it_ended(f.place).empty());
}

TEST_CASE("gateway: a boot that ends early is tried once more, not twice") {
    Fixture once(Script::DiesOnce);
    CHECK(once.ask("ready").at("report").text("state") == "ready");
    CHECK(contains(read_file(once.place.gateway_log, MiB(1)), "trying once more"));

    Fixture always(Script::DiesAlways);
    CHECK(always.ended().code == 1);
    CHECK(contains(why_it_ended(always.place), "did not start"));
    CHECK(contains(why_it_ended(always.place), "vmm is unwell"));
}

TEST_CASE("gateway: a guest of another version is refused with what to do") {
    Fixture f(Script::OtherVersion);
    CHECK(f.ended().code == 1);
    CHECK(contains(why_it_ended(f.place), "peacrab image build"));
}

TEST_CASE("gateway: a guest that breaks the link is ended, the gateway does not crash") {
    Fixture f(Script::Garbage);
    const ChildExit exit = f.ended();
    CHECK(exit.how == ChildExit::How::Exited);
    CHECK(exit.code == 1);
    CHECK_MESSAGE(contains(why_it_ended(f.place), "link"), why_it_ended(f.place));
}

TEST_CASE("gateway: two that start one machine get one") {
    Fixture f(Script::Good);
    REQUIRE(f.word == "listening");
    const Pidfd first = std::move(f.gateway);
    f.start(Script::Good);
    CHECK(f.word == "busy");
    CHECK(f.ended().code == 1);
    CHECK(f.ask("ready").at("report").integer("gateway") == first.pid());
}

TEST_CASE("gateway: killed, it leaves a socket and a lock file, and the next one starts") {
    Fixture f(Script::Good);
    f.ask("ready");
    f.gateway.signal(SIGKILL);
    CHECK(f.ended().code == SIGKILL);
    CHECK(std::filesystem::exists(f.place.socket));
    CHECK_FALSE(connect_gateway(f.place));
    f.start(Script::Good);
    CHECK(f.word == "listening");
    CHECK(f.ask("ready").at("report").text("state") == "ready");
}

TEST_CASE("gateway: SIGTERM is an orderly stop") {
    Fixture f(Script::Good);
    f.ask("ready");
    f.gateway.signal(SIGTERM);
    CHECK(f.ended().ok());
    CHECK(why_it_ended(f.place).empty());
}

TEST_CASE("gateway: a model stream goes to a child that has it as descriptor 3") {
    Fixture f(Script::Good);
    f.ask("ready");
    Chat chat(f.place);
    CHECK(chat.say("model") == "model says answer to question");
}

TEST_CASE("gateway: what the guest logs is escaped") {
    Fixture f(Script::Good);
    f.ask("ready");
    Chat chat(f.place);
    CHECK(chat.say("log\nafter") == "echo after");
    f.ask("ps");  // what was sent before has been handled
    CHECK(contains(read_file(f.place.gateway_log, MiB(1)), "guest: logged \\x1b[31m line"));
}

TEST_CASE("gateway: a model set while the machine runs reaches the guest") {
    Fixture f(Script::Good);
    f.ask("ready");
    Chat chat(f.place);
    CHECK(contains(chat.say("settings"), "\"model\":\"demo\""));
    write_file_atomic(config_file(), "model: some-model\nmodel-url: http://127.0.0.1:9\n", 0600);
    CHECK(f.ask("ps").at("report").text("model") == "some-model");
    CHECK(contains(chat.say("settings"), "\"model\":\"some-model\""));
    // A configuration that cannot be read changes nothing.
    write_file_atomic(config_file(), "modle: x\n", 0600);
    CHECK(f.ask("ps").at("report").text("model") == "some-model");
}

TEST_CASE("gateway: agents and routes reach the guest, and again when the configuration changes") {
    Fixture f(Script::Good);
    f.ask("ready");
    Chat chat(f.place);
    CHECK(contains(chat.say("settings"), "\"agents\":[{\"name\":\"main\""));
    write_file_atomic(config_file(),
                      "agents:\n  scout:\n    memory: 300M\nmay-message:\n  - main -> scout\n", 0600);
    f.ask("ps");
    const Agents agents = agents_from(json::parse(chat.say("settings")));
    REQUIRE(agents.find("scout"));
    CHECK(agents.find("scout")->limits.memory == MiB(300));
    CHECK(agents.reachable_from("main") == std::vector<std::string>{"scout"});
    write_file_atomic(config_file(), "agents:\n  Scout:\n", 0600);  // cannot be read: nothing changes
    f.ask("ps");
    CHECK(agents_from(json::parse(chat.say("settings"))).find("scout"));
}

TEST_CASE("gateway: an agent's removal is answered when the guest has done it, else remembered") {
    Fixture f(Script::Good);
    f.ask("ready");
    const auto remove = [&](const char* name) {
        add_removal(f.place, name);
        std::optional<FrameSocket> gateway = connect_gateway(f.place);
        REQUIRE(gateway);
        return ask_gateway(
            *gateway, json::Value::object({{"type", "remove_agent"}, {"agent", name}}), Seconds(20));
    };
    CHECK(remove("scout").text("type") == "done");
    CHECK(pending_removals(f.place).empty());
    CHECK_THROWS_WITH_AS((void)remove("stubborn"), doctest::Contains("\\x1b"), Error);
    CHECK(pending_removals(f.place) == std::vector<std::string>{"stubborn"});
}

TEST_CASE("gateway: skills are there from the start, and an edited one is on its way before what is said next") {
    Fixture f(Script::Good);
    const auto write = [](const std::string& text) {
        make_directories(config_folder() + "/skills/one");
        write_file_atomic(config_folder() + "/skills/one/SKILL.md", text, 0644);
    };
    (void)f.ask("ready");
    Chat first(f.place);
    const int begun = std::stoi(first.say("skills"));
    CHECK(begun > 0);
    int last = begun;
    for (int i = 0; i < 5; ++i) {
        write("---\ndescription: edited " + std::to_string(i) + "\n---\n");
        Chat next(f.place);
        const int now = std::stoi(next.say("skills"));
        CHECK(now > last);
        last = now;
    }
    Chat quiet(f.place);
    CHECK(std::stoi(quiet.say("skills")) == last);  // nothing was edited, nothing is sent
    const Deadline deadline = Deadline::in(Seconds(10));
    while (!contains(first.say("skills"), "edited") && !deadline.passed()) ::usleep(10'000);
    CHECK(contains(first.say("skills"), "edited"));
}

TEST_CASE("gateway: what was to be removed while the machine was off is asked for at its start") {
    Fixture f(Script::Good, [](const MachinePlace& place) {
        add_removal(place, "one");
        add_removal(place, "two");
        add_removal(place, "one");
        write_file_atomic(place.folder + "/removed-agents",
                          read_file(place.folder + "/removed-agents", KiB(1)) + "../evil\nMain\n", 0600);
    });
    f.ask("ready");
    Chat chat(f.place);
    CHECK(contains(chat.say("removed"), "one two"));
    CHECK_FALSE(contains(chat.say("removed"), "evil"));
    CHECK(pending_removals(f.place).empty());
}

TEST_CASE("gateway: a key stored while the machine runs ends the demo") {
    Fixture f(Script::Good);
    f.ask("ready");
    CHECK(f.ask("ps").at("report").flag("demo"));
    SecretStore().write("anthropic", Secret("sk-ant-test"));
    CHECK_FALSE(f.ask("ps").at("report").flag("demo"));
    Chat chat(f.place);
    CHECK_FALSE(contains(chat.say("settings"), "sk-ant-test"));
}

TEST_CASE("gateway: clients that break the rules are dropped, others are served") {
    Fixture f(Script::Good);
    f.ask("ready");
    for (const std::string& bad :
         {std::string("not json\n"), std::string("{\"type\":\"root\"}\n"), std::string("\n"),
          std::string("{\"type\":\"ps\",\"x\":1}\n"), std::string(5000, 'x'),
          std::string("{\"type\":\"open\",\"what\":\"shell\"}\n{\"type\":\"open\"}\n")}) {
        std::optional<FrameSocket> socket = connect_gateway(f.place);
        REQUIRE(socket);
        write_all(socket->fd(), bad);
        bool closed = false;
        try {
            const Deadline deadline = Deadline::in(Seconds(20));
            while (!socket->closed() && !deadline.passed()) {
                const std::optional<json::Value> frame = socket->receive(deadline);
                if (frame) CHECK(frame->text("type") == "failed");
            }
            closed = socket->closed();
        } catch (const ErrnoError& error) {  // closed with our bytes unread
            closed = error.code() == ECONNRESET;
        }
        CHECK(closed);
    }
    CHECK(f.ask("ps").at("report").text("state") == "ready");
}

TEST_CASE("gateway: a client that never reads does not make the others wait") {
    Fixture f(Script::Good);
    f.ask("ready");
    std::optional<FrameSocket> deaf = connect_gateway(f.place);
    REQUIRE(deaf);
    for (int i = 0; i < 2000; ++i)
        if (::send(deaf->fd(), "{\"type\":\"ps\"}\n", 14, MSG_NOSIGNAL | MSG_DONTWAIT) != 14) break;
    CHECK(f.ask("ps").at("report").text("state") == "ready");
}

TEST_CASE("gateway: what is missing is reported to who started it") {
    Fixture f(Script::Good);
    f.gateway.kill_and_reap();
    std::filesystem::remove(env("HOME") + "/image/k");
    f.start(Script::Good);
    CHECK(contains(f.word, "failed image: "));
    CHECK(contains(f.word, "peacrab image build"));
    CHECK(f.ended().code == 9);
}
