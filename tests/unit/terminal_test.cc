// chat, ask and wait against a scripted warden: a forked child at the other end of a socketpair.
#include "channels/terminal.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <functional>
#include <random>

#include "channels/sessions.h"
#include "channels/turn_view.h"
#include "error.h"

using namespace peacrab;

namespace {

json::Value frame(const char* type, std::initializer_list<json::Member> members) {
    json::Value value = json::Value::object({{"type", type}});
    for (const json::Member& member : members) value.set(member.first, member.second);
    return value;
}

// The other end. Whatever it did not expect ends it with code 9, and the test fails.
class Script {
  public:
    explicit Script(UniqueFd fd)
        : socket_(std::move(fd), Dialect::ClientToWarden, Dialect::WardenToClient) {}

    json::Value expect(const std::string& type) {
        for (;;) {
            const std::optional<json::Value> got = socket_.receive(Deadline::in(Seconds(10)));
            if (!got) die("wanted " + type + ", got nothing");
            const std::string is = got->text("type");
            if (is == type) return *got;
            if (is != "seen") die("wanted " + type + ", got " + is);
            seen = got->integer("seq");
        }
    }
    // A client that has what it wanted may have gone already.
    void say(const json::Value& value) {
        try {
            socket_.send(value);
        } catch (const ErrnoError& error) {
            if (error.code() != EPIPE) throw;
        }
    }
    void raw(std::string_view bytes) { write_all(socket_.fd(), bytes); }
    void expect_end() {
        try {
            while (std::optional<json::Value> got = socket_.receive(Deadline::in(Seconds(10)))) {
                if (got->text("type") != "seen") die("wanted the end, got " + got->text("type"));
                seen = got->integer("seq");
            }
        } catch (const ErrnoError& error) {
            if (error.code() != ECONNRESET) throw;  // gone with words of ours unread
            return;
        }
        if (!socket_.closed()) die("wanted the end, got silence");
    }
    void drop_what_came() {
        while (socket_.receive({})) {
        }
    }
    static std::vector<std::string> keys_of(const std::string& type) {
        if (type == "attached") return {"agent", "session", "posture", "version", "running"};
        if (type == "caught_up") return {"turn", "partial"};
        if (type == "ack") return {"id", "turn"};
        if (type == "session") return {"session"};
        if (type == "refused") return {"why"};
        if (type == "restart") return {"turn"};
        if (type == "delta" || type == "notice") return {"turn", "text"};
        if (type == "tool") return {"seq", "turn", "call", "name", "summary"};
        if (type == "tool_done") return {"seq", "turn", "call", "outcome", "summary", "ms"};
        if (type == "turn_done")
            return {"seq",   "turn",         "status",        "error",
                    "model", "input_tokens", "output_tokens", "cost",
                    "ms"};
        return {"seq", "turn", "text"};
    }
    static void check(bool fine, const char* what) {
        if (!fine) die(what);
    }
    [[noreturn]] static void die(const std::string& why) {
        const std::string line = "script: " + why + "\n";
        (void)!::write(2, line.data(), line.size());
        ::_exit(9);
    }

    // The ways most scripts go.
    json::Value attached() {
        json::Value attach = expect("attach");
        say(frame("attached", {{"agent", attach.text("agent")},
                               {"session", "s1"},
                               {"posture", "full"},
                               {"version", "0.1.0"},
                               {"running", false}}));
        return attach;
    }
    std::string take_message() {
        say(frame("caught_up", {}));
        const json::Value message = expect("message");
        say(frame("ack", {{"id", message.text("id")}, {"turn", "t1"}}));
        start(message.text("text"));
        return message.text("text");
    }
    void start(const std::string& text) {
        say(frame("turn_start", {{"seq", ++seq_}, {"turn", "t1"}, {"text", text}}));
    }
    void delta(const std::string& text) { say(frame("delta", {{"turn", "t1"}, {"text", text}})); }
    void tool(const std::string& summary) {
        say(frame("tool", {{"seq", ++seq_},
                           {"turn", "t1"},
                           {"call", "c1"},
                           {"name", "shell"},
                           {"summary", summary}}));
    }
    void tool_done(const std::string& outcome) {
        say(frame("tool_done", {{"seq", ++seq_},
                                {"turn", "t1"},
                                {"call", "c1"},
                                {"outcome", outcome},
                                {"summary", "exit code 1"},
                                {"ms", 140}}));
    }
    void reply(const std::string& text) {
        say(frame("reply", {{"seq", ++seq_}, {"turn", "t1"}, {"text", text}}));
    }
    void done(const std::string& status, const std::string& error = {},
              const std::string& model = "claude-x") {
        json::Value value =
            frame("turn_done", {{"seq", ++seq_}, {"turn", "t1"}, {"status", status}});
        if (!error.empty()) value.set("error", error);
        value.set("model", model);
        value.set("input_tokens", 12);
        value.set("output_tokens", 3);
        if (model == "claude-x") value.set("cost", 21'000);
        value.set("ms", 1234);
        say(value);
    }
    int64_t seen = 0;

  private:
    FrameSocket socket_;
    int64_t seq_ = 0;
};

struct Warden {
    FrameSocket client;
    Pidfd child;
};

Warden start_warden(const std::function<void(Script&)>& script) {
    SocketPair pair = SocketPair::stream();
    const pid_t pid = ::fork();
    if (pid == 0) {
        pair.ours.reset();
        try {
            Script run(std::move(pair.theirs));
            script(run);
        } catch (const std::exception& error) {
            Script::die(error.what());
        }
        ::_exit(0);
    }
    return {FrameSocket(std::move(pair.ours), Dialect::WardenToClient, Dialect::ClientToWarden),
            Pidfd::of_child(pid)};
}

struct Captured {
    UniqueFd fd{::memfd_create("out", MFD_CLOEXEC)};
    std::string text() const {
        std::string all(1 << 20, '\0');
        const ssize_t n = ::pread(fd.get(), all.data(), all.size(), 0);
        all.resize(n < 0 ? 0 : static_cast<size_t>(n));
        return all;
    }
};

struct Ran {
    int code = -1;
    std::string out, err;
};

using Doing = std::function<int(const TerminalOptions&, FrameSocket&)>;

Ran run(const std::function<void(Script&)>& script, const Doing& doing) {
    Captured out, err;
    TerminalOptions options;
    options.out_fd = out.fd.get();
    options.err_fd = err.fd.get();
    options.next_step = "run `peacrab up`; the conversation is kept";
    Warden warden = start_warden(script);
    Ran ran;
    ran.code = doing(options, warden.client);
    warden.client.close();
    CHECK(warden.child.wait().describe() == "exit code 0");
    ran.out = out.text();
    ran.err = err.text();
    return ran;
}

Ran ask(const std::function<void(Script&)>& script, AskOptions what = {"hello"},
        bool fresh = true) {
    return run(script, [&](TerminalOptions options, FrameSocket& warden) {
        options.fresh = fresh;
        return terminal_ask(options, warden, what);
    });
}

bool has(const std::string& text, const std::string& part) {
    const bool found = text.find(part) != std::string::npos;
    if (!found) MESSAGE("not in: " << text);
    return found;
}

// Gives each line once the screen shows `after`.
class ScriptedLines : public LineSource {
  public:
    struct Step {
        std::string after;
        Input input;
    };
    explicit ScriptedLines(std::vector<Step> steps) : steps_(std::move(steps)) {}
    Input next(int fd, const std::function<Then()>& arrived) override {
        const Deadline limit = Deadline::in(Seconds(10));
        for (;;) {
            if (step_ == steps_.size()) return {};
            const size_t at = screen.find(steps_[step_].after, from_);
            if (at != std::string::npos) {
                from_ = at + steps_[step_].after.size();
                return steps_[step_++].input;
            }
            pollfd one{fd, POLLIN, 0};
            REQUIRE_MESSAGE(::poll(&one, 1, limit.poll_timeout()) == 1,
                            "waited for '" << steps_[step_].after << "' in: " << screen);
            Then then = Then::Again;
            while (then == Then::Again) then = arrived();
            if (then == Then::Leave) {
                Input woken;
                woken.kind = Input::Kind::Woken;
                return woken;
            }
        }
    }
    bool print(std::string_view text) override {
        screen += text;
        return !blind;
    }
    bool blind = false;
    void set_prompt(Prompt prompt) override { shown = prompt; }
    std::string screen;
    Prompt shown = Prompt::Hidden;

  private:
    std::vector<Step> steps_;
    size_t step_ = 0, from_ = 0;
};

LineSource::Input line(const std::string& text) {
    LineSource::Input input;
    input.kind = LineSource::Input::Kind::Line;
    input.line = text;
    return input;
}

LineSource::Input ctrl_c() {
    LineSource::Input input;
    input.kind = LineSource::Input::Kind::Interrupt;
    return input;
}

struct Chatted {
    int code;
    std::string screen;
};

Chatted chat(const std::function<void(Script&)>& script, std::vector<ScriptedLines::Step> steps) {
    ScriptedLines lines(std::move(steps));
    const Ran ran = run(script, [&](const TerminalOptions& options, FrameSocket& warden) {
        return terminal_chat(options, warden, lines);
    });
    return {ran.code, lines.screen};
}

}  // namespace

TEST_CASE("ask: the reply and nothing else is on stdout, the rest on stderr") {
    const Ran ran = ask([](Script& warden) {
        const json::Value attach = warden.attached();
        Script::check(attach.text("channel") == "ask", "channel");
        Script::check(attach.flag("fresh"), "fresh");
        Script::check(attach.text("agent") == "main", "agent");
        Script::check(warden.take_message() == "hello", "text");
        warden.delta("let me look");
        warden.tool("shell: uname -r");
        warden.tool_done("ok");
        warden.delta("6.");
        warden.delta("12");
        warden.reply("6.12");
        warden.done("done");
        warden.expect_end();
        Script::check(warden.seen == 5, "seen");
    });
    CHECK(ran.code == 0);
    CHECK(ran.out == "6.12\n");
    CHECK(has(ran.err, "  * shell: uname -r ... ok 0.1 s\n"));
    CHECK(has(ran.err, "claude-x, 1.2 s, 12 tokens in, 3 out, 0.021 USD\n"));
}

TEST_CASE("ask: who has begun its warden asks at once in a new session, once; Ctrl-C then stops the turn") {
    for (const bool stopped : {false, true}) {
        const Ran ran = run(
            [&](Script& warden) {
                warden.expect("attach");
                const json::Value message = warden.expect("message");
                Script::check(message.text("text") == "hello", "text");
                if (stopped) {
                    ::kill(::getppid(), SIGINT);
                    warden.expect("stop");
                }
                warden.say(frame("attached", {{"agent", "main"}, {"session", "s1"}, {"version", "0.1.0"}, {"running", false}}));
                warden.say(frame("caught_up", {}));
                warden.say(frame("ack", {{"id", message.text("id")}, {"turn", "t1"}}));
                warden.start("hello");
                if (!stopped) warden.reply("6.12");
                warden.done(stopped ? "stopped" : "done");
                warden.expect_end();
            },
            [](TerminalOptions options, FrameSocket& warden) {
                options.fresh = options.own_warden = true;
                return terminal_ask(options, warden, {"hello"});
            });
        CHECK(ran.code == (stopped ? 130 : 0));
        CHECK(ran.out == (stopped ? "" : "6.12\n"));
    }
}

TEST_CASE("ask: a question back is code 3 and how to answer it; on a terminal what is typed is the answer") {
    const auto asks = [](Script& warden) {
        warden.attached();
        warden.take_message();
        warden.say(frame("question", {{"seq", 2}, {"turn", "t1"}, {"call", "c"}, {"text", "which?"},
                                      {"until", int64_t{::time(nullptr)} + 60}}));
        warden.done("waiting");
    };
    const Ran held = ask([&](Script& warden) {
        asks(warden);
        warden.expect_end();
    });
    CHECK(held.code == kExitHeld);
    CHECK(held.out.empty());
    CHECK(has(held.err, "  ? which?\n"));
    CHECK(has(held.err, "peacrab ask --session s1 \"the answer\""));

    int person = -1, terminal = -1;
    REQUIRE(::openpty(&person, &terminal, nullptr, nullptr, nullptr) == 0);
    const UniqueFd ours(person), theirs(terminal);
    write_all(person, "\nthe blue one\n");
    const Ran typed = run(
        [&](Script& warden) {
            asks(warden);
            const json::Value message = warden.expect("message");
            Script::check(message.text("text") == "the blue one", "answer");
            warden.say(frame("ack", {{"id", message.text("id")}, {"turn", "t1"}}));
            warden.start("the blue one");
            warden.reply("blue it is");
            warden.done("done");
            warden.expect_end();
        },
        [&](TerminalOptions options, FrameSocket& warden) {
            options.in_fd = options.out_fd = terminal;
            return terminal_ask(options, warden, {"hello"});
        });
    CHECK(typed.code == 0);
    write_all(person, "\x04");
    const Ran left = run([&](Script& warden) { asks(warden); warden.expect_end(); },
                         [&](TerminalOptions options, FrameSocket& warden) {
                             options.in_fd = options.out_fd = terminal;
                             return terminal_ask(options, warden, {"hello"});
                         });
    CHECK(left.code == kExitHeld);
}

TEST_CASE("ask: a question that is no session of its own goes on with the chat") {
    const Ran ran = ask(
        [](Script& warden) {
            const json::Value attach = warden.attached();
            Script::check(attach.text("channel") == "terminal", "channel");
            Script::check(!attach.flag("fresh"), "fresh");
            Script::check(warden.take_message() == "hello", "text");
            warden.reply("again");
            warden.done("done");
            warden.expect_end();
        },
        {"hello"}, false);
    CHECK(ran.code == 0);
    CHECK(ran.out == "again\n");
}

TEST_CASE("ask: what a restart made void never reaches a stdout that is no terminal") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.take_message();
        warden.delta("WRONG");
        warden.say(frame("restart", {{"turn", "t1"}}));
        warden.delta("right");
        warden.reply("right");
        warden.done("done");
    });
    CHECK(ran.code == 0);
    CHECK(ran.out == "right\n");
}

TEST_CASE("ask: a failed turn is code 1, its sentence on stderr, nothing on stdout") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.take_message();
        warden.delta("half of");
        warden.done("failed", "the key was refused: `peacrab setup` sets another");
    });
    CHECK(ran.code == 1);
    CHECK(ran.out == "");
    CHECK(has(ran.err, "error: the key was refused: `peacrab setup` sets another\n"));
}

TEST_CASE("ask: a status nobody knows is a failure") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.take_message();
        warden.reply("x");
        warden.done("splendid");
    });
    CHECK(ran.code == 1);
    CHECK(ran.out == "");
}

TEST_CASE("ask: Ctrl-C stops the turn and is code 130") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.take_message();
        warden.delta("a long");
        ::kill(::getppid(), SIGINT);
        warden.expect("stop");
        warden.done("stopped");
    });
    CHECK(ran.code == 130);
    CHECK(ran.out == "");
    CHECK(has(ran.err, "stopping ..."));
}

TEST_CASE("ask: a second Ctrl-C leaves a turn that does not end") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.take_message();
        ::kill(::getppid(), SIGINT);
        warden.expect("stop");
        ::kill(::getppid(), SIGINT);
        warden.expect_end();
    });
    CHECK(ran.code == 130);
    CHECK(has(ran.err, "left: turn t1 goes on\n"));
}

TEST_CASE("ask: a machine that dies mid-turn is code 6 with the next step") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.take_message();
        warden.delta("half");
    });
    CHECK(ran.code == 6);
    CHECK(ran.out == "");
    CHECK(has(ran.err, "the agent has gone: run `peacrab up`; the conversation is kept\n"));
}

TEST_CASE("ask: a machine that dies before the message is code 6") {
    CHECK(ask([](Script& warden) { warden.expect("attach"); }).code == 6);
}

TEST_CASE("ask: a reply that was sent before the end of the connection is printed") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.take_message();
        warden.reply("made it");
        warden.done("done");
    });
    CHECK(ran.code == 0);
    CHECK(ran.out == "made it\n");
}

TEST_CASE("ask: a frame no warden may send ends the connection, code 6, escaped") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.take_message();
        warden.raw("{\"type\":\"\\u001b[2Jevil\"}\n");
        warden.expect_end();
    });
    CHECK(ran.code == 6);
    CHECK(ran.err.find('\x1b') == std::string::npos);
    CHECK(has(ran.err, "the agent has gone (frame: unknown type: \\x1b[2Jevil)"));
}

TEST_CASE("ask: events of earlier turns are not this one's reply") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.say(frame("reply", {{"seq", 1}, {"turn", "t0"}, {"text", "old"}}));
        warden.say(frame("turn_done", {{"seq", 2},
                                       {"turn", "t0"},
                                       {"status", "failed"},
                                       {"input_tokens", 0},
                                       {"output_tokens", 0},
                                       {"ms", 0}}));
        warden.take_message();
        warden.reply("new");
        warden.done("done");
    });
    CHECK(ran.code == 0);
    CHECK(ran.out == "new\n");
}

TEST_CASE("ask: refused is code 1 with the reason") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.say(frame("caught_up", {}));
        const json::Value message = warden.expect("message");
        warden.say(frame("refused", {{"id", message.text("id")}, {"why", "the disk is full"}}));
        warden.expect_end();
    });
    CHECK(ran.code == 1);
    CHECK(has(ran.err, "refused: the disk is full\n"));
}

TEST_CASE("ask: an agent or a session that is not there is code 2") {
    const Ran ran = ask([](Script& warden) {
        warden.expect("attach");
        warden.say(frame("refused", {{"why", "no such session: s99"}}));
    });
    CHECK(ran.code == 2);
    CHECK(has(ran.err, "refused: no such session: s99\n"));
}

TEST_CASE("ask: a turn that the budget ended is code 4") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.take_message();
        warden.done("budget", "the budget is spent");
    });
    CHECK(ran.code == 4);
    CHECK(ran.out == "");
}

namespace {

// One message after the other, in one session: each answered with the next of `replies`.
Ran ask_json(std::vector<std::string> replies, std::vector<std::string>* questions = nullptr) {
    Captured told;
    const Ran ran = ask(
        [&](Script& warden) {
            warden.attached();
            warden.say(frame("caught_up", {}));
            for (const std::string& reply : replies) {
                const json::Value message = warden.expect("message");
                write_all(told.fd.get(), json::dump(message.at("text")) + "\n");
                warden.say(frame("ack", {{"id", message.text("id")}, {"turn", "t1"}}));
                warden.start(message.text("text"));
                warden.delta(reply);
                warden.reply(reply);
                warden.done("done");
            }
            warden.expect_end();
        },
        {"how many?", false, Schema(R"({"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]})")});
    for (const std::string& line : split(told.text(), '\n'))
        if (questions && !line.empty()) questions->push_back(json::parse(line).as_string());
    return ran;
}

}  // namespace

TEST_CASE("ask --schema: the schema is told, and stdout is the JSON alone, as written") {
    std::vector<std::string> questions;
    const Ran ran = ask_json({"```json\n{\"n\":  3}\n```"}, &questions);
    CHECK(ran.code == 0);
    CHECK(ran.out == "{\"n\":  3}\n");
    REQUIRE(questions.size() == 1);
    CHECK(questions[0].starts_with("how many?\n\nAnswer with one JSON value"));
    CHECK(has(questions[0], R"("required":["n"])"));
}

TEST_CASE("ask --schema: what is wrong is said to the model, twice at most, and nothing of it is on stdout") {
    std::vector<std::string> questions;
    Ran ran = ask_json({"Three.", R"({"n":"3"})", R"({"n":3})"}, &questions);
    CHECK(ran.code == 0);
    CHECK(ran.out == "{\"n\":3}\n");
    REQUIRE(questions.size() == 3);
    CHECK(has(questions[1], "it is not one JSON value"));
    CHECK(has(questions[2], "$.n: wanted integer, got \"3\""));
    ran = ask_json({"Three.", "{}", R"({"n":null})"});
    CHECK(ran.code == 1);
    CHECK(ran.out == "");
    CHECK(has(ran.err, "error: the reply does not fit the schema: $.n: wanted integer, got null\n"));
}

TEST_CASE("ask --schema: a turn that fails is not asked again") {
    const Ran ran = ask(
        [](Script& warden) {
            warden.attached();
            warden.take_message();
            warden.reply("{}");
            warden.done("failed", "no");
            warden.expect_end();
        },
        {"hello", false, Schema("{}")});
    CHECK(ran.code == 1);
    CHECK(ran.out == "");
}

TEST_CASE("ask --detach: prints the turn once it is on disk, and leaves") {
    const Ran ran = ask(
        [](Script& warden) {
            warden.attached();
            warden.say(frame("caught_up", {}));
            const json::Value message = warden.expect("message");
            warden.say(frame("ack", {{"id", message.text("id")}, {"turn", "t77"}}));
            warden.expect_end();
        },
        {"hello", true});
    CHECK(ran.code == 0);
    CHECK(ran.out == "t77\n");
}

TEST_CASE("ask: no escape sequence of a tool or an error reaches the terminal") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.take_message();
        warden.tool("shell: \x1b]0;owned\x07 echo\nfake line");
        warden.say(frame("notice", {{"turn", "t1"}, {"text", "\x1b[31mred"}}));
        warden.tool_done("fai\x1bled");
        warden.done("failed", "\x1b[1A\rgone");
    });
    CHECK(ran.err.find('\x1b') == std::string::npos);
    CHECK(ran.err.find('\r') == std::string::npos);
    CHECK(has(ran.err, "shell: \\x1b]0;owned\\x07 echo fake line"));
}

TEST_CASE("ask: a reply to a pipe is the text as it is") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.take_message();
        warden.reply("a\x1b[1mb\u200bü\n");
        warden.done("done");
    });
    CHECK(ran.out == "a\x1b[1mb\u200bü\n");
}

TEST_CASE("ask: the largest question fits into a frame whatever it is made of") {
    for (const std::string part : {"\"", "\xff", "\x01", "ü", "\\"}) {
        std::string text;
        while (text.size() < (size_t{1} << 20)) text += part;
        const Ran ran = ask(
            [](Script& warden) {
                warden.attached();
                warden.take_message();
                warden.reply("ok");
                warden.done("done");
            },
            {"q" + text});
        CHECK(ran.code == 0);
    }
}

TEST_CASE("wait: prints the reply of a turn that has ended already") {
    const Ran ran = run(
        [](Script& warden) {
            Script::check(warden.attached().text("watch") == "t1", "watch");
            warden.start("hello");
            warden.tool("shell: sleep 100");
            warden.tool_done("timed out");
            warden.reply("done it");
            warden.done("done");
            warden.say(frame("caught_up", {}));
            warden.expect_end();
        },
        [](const TerminalOptions& options, FrameSocket& warden) {
            return terminal_wait(options, warden, "t1");
        });
    CHECK(ran.code == 0);
    CHECK(ran.out == "done it\n");
    CHECK(has(ran.err, "sleep 100 ... timed out 0.1 s (exit code 1)"));
}

TEST_CASE("wait: Ctrl-C leaves and stops nothing") {
    const Ran ran = run(
        [](Script& warden) {
            warden.attached();
            warden.start("hello");
            warden.say(frame("caught_up", {{"turn", "t1"}, {"partial", "so far"}}));
            ::kill(::getppid(), SIGINT);
            warden.expect_end();
        },
        [](const TerminalOptions& options, FrameSocket& warden) {
            return terminal_wait(options, warden, "t1");
        });
    CHECK(ran.code == 130);
}

TEST_CASE("wait: a turn nobody knows is code 2") {
    const Ran ran = run(
        [](Script& warden) {
            warden.expect("attach");
            warden.say(frame("refused", {{"why", "no such turn: t9"}}));
        },
        [](const TerminalOptions& options, FrameSocket& warden) {
            return terminal_wait(options, warden, "t9");
        });
    CHECK(ran.code == 2);
    CHECK(has(ran.err, "no such turn: t9"));
}

TEST_CASE("chat: streams, one line a call, and the reply's text once") {
    const Chatted chatted = chat(
        [](Script& warden) {
            Script::check(warden.attached().text("channel") == "terminal", "channel");
            warden.take_message();
            warden.delta("Looking.");
            warden.tool("shell: uname -r");
            warden.tool_done("ok");
            warden.delta("It is ");
            warden.reply("It is 6.12.");
            warden.done("done");
            warden.expect_end();
            Script::check(warden.seen == 5, "seen");
        },
        {{"leaves\n", line("what kernel?")}, {" out, ", {}}});
    CHECK(chatted.code == 0);
    CHECK(has(chatted.screen, "full\n"));
    CHECK(has(chatted.screen, "leaves\nLooking.\n  * shell: uname -r ... ok 0.1 s\nIt is 6.12.\n"));
    CHECK(chatted.screen.find("what kernel?") ==
          std::string::npos);  // the echo stands there already
}

TEST_CASE("chat: a reply that is not what was streamed is said again whole") {
    const Chatted chatted = chat(
        [](Script& warden) {
            warden.attached();
            warden.take_message();
            warden.delta("one");
            warden.say(frame("restart", {{"turn", "t1"}}));
            warden.delta("two");
            warden.reply("three");
            warden.done("done");
            warden.expect_end();
        },
        {{"leaves\n", line("x")}, {" out, ", {}}});
    CHECK(has(chatted.screen, "one\n  (what was said since the last step is void)\ntwo\nthree\n"));
}

TEST_CASE("chat: what was missed is shown and marked, then the running turn's text") {
    const Chatted chatted = chat(
        [](Script& warden) {
            warden.attached();
            warden.start("earlier question");
            warden.tool("shell: ls");
            warden.say(frame("caught_up", {{"turn", "t1"}, {"partial", "so f"}}));
            warden.delta("ar");
            warden.tool_done("interrupted");
            warden.reply("bye");
            warden.done("done");
            warden.expect_end();
        },
        {{" out, ", {}}});
    CHECK(chatted.code == 0);
    CHECK(has(chatted.screen,
              "-- while you were away --\n> earlier question\n  * shell: ls ... \n"
              "-- the turn is still running --\nso far\n"
              "  * shell: ls ... interrupted 0.1 s (exit code 1)\nbye\n"));
}

TEST_CASE("chat: leaving while a turn runs says that it goes on, and stops nothing") {
    const Chatted chatted = chat(
        [](Script& warden) {
            warden.attached();
            warden.take_message();
            warden.delta("working");
            warden.expect_end();
        },
        {{"leaves\n", line("x")}, {"working", {}}});
    CHECK(chatted.code == 0);
    CHECK(has(chatted.screen, "working\ndetached: the turn goes on"));
}

TEST_CASE("chat: what a closed terminal could not show does not count as seen") {
    ScriptedLines lines(std::vector<ScriptedLines::Step>{{" out, ", {}}});
    lines.blind = true;
    const Ran ran = run(
        [](Script& warden) {
            warden.attached();
            warden.start("earlier");
            warden.reply("missed");
            warden.done("done");
            warden.say(frame("caught_up", {}));
            warden.expect_end();
            Script::check(warden.seen == 0, "seen");
        },
        [&](const TerminalOptions& options, FrameSocket& warden) {
            return terminal_chat(options, warden, lines);
        });
    CHECK(ran.code == 0);
}

TEST_CASE("chat: without any input it shows what was missed, and leaves") {
    const Chatted chatted = chat(
        [](Script& warden) {
            warden.attached();
            warden.start("earlier");
            warden.reply("missed");
            warden.done("done");
            warden.say(frame("caught_up", {}));
            warden.expect_end();
            Script::check(warden.seen == 3, "seen");
        },
        {});
    CHECK(chatted.code == 0);
    CHECK(has(chatted.screen, "missed\n"));
}

TEST_CASE("chat: a message typed just before the end of input is on disk when chat leaves") {
    const Chatted chatted = chat(
        [](Script& warden) {
            warden.attached();
            warden.say(frame("caught_up", {}));
            const json::Value message = warden.expect("message");
            warden.say(frame("ack", {{"id", message.text("id")}, {"turn", "t1"}}));
            warden.expect_end();
        },
        {{"", line("x")}, {"", {}}});
    CHECK(chatted.code == 0);
    CHECK(has(chatted.screen, "detached: "));
}

TEST_CASE("chat: what is typed while a turn runs is a message with an id of its own") {
    const Chatted chatted = chat(
        [](Script& warden) {
            warden.attached();
            warden.say(frame("caught_up", {}));
            const json::Value first = warden.expect("message");
            warden.say(frame("ack", {{"id", first.text("id")}, {"turn", "t1"}}));
            warden.start("one");
            warden.delta("hm ");
            const json::Value second = warden.expect("message");
            Script::check(second.text("text") == "two" && second.text("id") != first.text("id"),
                          "second message");
            warden.say(frame("ack", {{"id", second.text("id")}, {"turn", "t1"}}));
            warden.reply("hm both");
            warden.done("done");
            warden.expect_end();
        },
        {{"leaves\n", line("one")}, {"hm ", line("two")}, {" out, ", {}}});
    CHECK(chatted.code == 0);
}

TEST_CASE("chat: Ctrl-C stops a running turn once; idle it leaves at the second") {
    const Chatted chatted = chat(
        [](Script& warden) {
            warden.attached();
            warden.take_message();
            warden.delta("on and on");
            warden.expect("stop");
            warden.done("stopped");
            warden.expect_end();
        },
        {{"leaves\n", line("x")},
         {"on and on", ctrl_c()},
         {"stopping", ctrl_c()},
         {" out, ", ctrl_c()},
         {"Ctrl-C again, or Ctrl-D, leaves\n", ctrl_c()}});
    CHECK(chatted.code == 0);
    CHECK(has(chatted.screen, "(stopped)\n"));
}

TEST_CASE("chat: commands; one that is unknown is said and not sent") {
    const Chatted chatted = chat(
        [](Script& warden) {
            warden.attached();
            warden.say(frame("caught_up", {}));
            warden.expect("status");
            const json::Value runs = frame("row", {{"agent", "main"},
                                                   {"id", "b1"},
                                                   {"ms", 12'345},
                                                   {"command", "sleep \x1b[2J\nkernel   forged"}});
            warden.say(frame("status", {{"agent", "main"},
                                        {"session", "s1"},
                                        {"posture", "p"},
                                        {"running", false},
                                        {"background", json::Value::array({runs})},
                                        {"turns", 4},
                                        {"model", "m"},
                                        {"boot", "b"},
                                        {"kernel", "6.12-\x1b[0m"}}));
            warden.expect("new");
            warden.say(frame("session", {{"session", "s2"}}));
            const json::Value message = warden.expect("message");
            Script::check(message.text("text") == "/etc/passwd is what?", "path");
            warden.say(frame("refused", {{"id", message.text("id")}, {"why", "no"}}));
            warden.expect_end();
        },
        {{"leaves\n", line("/frobnicate")},
         {"no such command: /frobnicate\n", line("/stop")},
         {"nothing is running\n", line("/status ")},
         {"boot ", line("/new")},
         {"new session s2\n", line("   ")},
         {"", line("/etc/passwd is what?")},
         {"refused: no\n", line("/quit")}});
    CHECK(has(chatted.screen, "kernel   6.12-\\x1b[0m"));
    CHECK(has(chatted.screen, "  running  b1 for 12 s: sleep \\x1b[2J kernel   forged"));
}

TEST_CASE("chat: /undo and /fork are asked for, and what they came to is said") {
    const Chatted chatted = chat(
        [](Script& warden) {
            warden.attached();
            warden.say(frame("undone", {{"seq", 1}, {"turn", "t0"}, {"text", "by somebody else"}}));
            warden.say(frame("caught_up", {}));
            Script::check(warden.expect("undo").text("what").empty(), "undo");
            warden.say(frame("undone", {{"seq", 2}, {"turn", "t1"}, {"text", "what was\x1b[2J said"}}));
            Script::check(warden.expect("undo").text("what") == "summary", "summary");
            json::Value refused = json::Value::object({{"type", "refused"}, {"why", "there is none"}});
            warden.say(refused);
            warden.expect("fork");
            warden.say(json::Value::object({{"type", "session"}, {"session", "s2"}, {"from", "s1"}}));
            warden.expect_end();
        },
        {{"that was all --\n", line("/help")},
         {"/fork    go on", line("/undo")},
         {"are not undone\n", line("/undo summary")},
         {"refused: there is none\n", line("/fork")},
         {"new session s2, a copy of s1", {}}});
    CHECK(chatted.code == 0);
    CHECK(has(chatted.screen, "taken back: by somebody else\n-- that was all --"));
    CHECK(has(chatted.screen, "taken back: what was\\x1b[2J said\n  files and what else it did are not undone\n"));
}

TEST_CASE("chat: what is said while the conversation is copied is said in the copy, or not at all") {
    for (const bool works : {true, false}) {
        ScriptedLines lines({{"leaves\n", line("hello")}, {works ? "copy of s1" : "never", {}}});
        const Ran ran = run(
            [&](Script& warden) {
                warden.attached();
                warden.say(frame("caught_up", {}));
                warden.expect("fork");
                if (!works) {
                    warden.say(json::Value::object({{"type", "refused"}, {"why", "no"}}));
                    return warden.expect_end();
                }
                warden.say(json::Value::object({{"type", "session"}, {"session", "s2"}, {"from", "s1"}}));
                const json::Value message = warden.expect("message");
                Script::check(message.text("text") == "hello", "text");
                warden.say(frame("ack", {{"id", message.text("id")}, {"turn", "t1"}}));
                warden.expect_end();
            },
            [&](TerminalOptions options, FrameSocket& warden) {
                options.fork = true;
                return terminal_chat(options, warden, lines);
            });
        CHECK(ran.code == (works ? kExitReplied : kExitTurnFailed));
    }
}

TEST_CASE("chat: a command typed just before the end of input is answered when chat leaves") {
    const Chatted chatted = chat(
        [](Script& warden) {
            warden.attached();
            warden.say(frame("caught_up", {}));
            warden.expect("undo");
            warden.say(frame("undone", {{"seq", 2}, {"turn", "t1"}, {"text", "the last"}}));
            warden.expect_end();
        },
        {{"", line("/undo")}});
    CHECK(chatted.code == 0);
    CHECK(has(chatted.screen, "taken back: the last\n"));
}

TEST_CASE("sessions: a table for people, escaped; one array for programs") {
    for (const bool json : {false, true}) {
        const Ran ran = run(
            [](Script& warden) {
                Script::check(warden.expect("sessions").text("agent") == "main", "agent");
                const json::Value row = json::Value::object({{"id", "s2"}, {"channel", "terminal"}, {"turns", 3},
                                                             {"began", 1'700'000'000}, {"last", 1'700'000'100},
                                                             {"words", "first \x1b[2Jwords"}, {"from", "s1"}});
                warden.say(json::Value::object({{"type", "sessions"}, {"rows", json::Value::array({row})}}));
            },
            [&](TerminalOptions options, FrameSocket& warden) {
                options.json = json;
                return terminal_sessions(options, warden);
            });
        CHECK(ran.code == 0);
        if (json)
            CHECK(json::parse(ran.out).items().at(0).text("from") == "s1");
        else
            CHECK(has(ran.out, "3      [from s1] first \\x1b[2Jwords\n"));
    }
}

TEST_CASE("export: parts are asked for one after the other; what is not whole is code 1") {
    for (const bool whole : {true, false}) {
        const Ran ran = run(
            [&](Script& warden) {
                const json::Value asked = warden.expect("export");
                Script::check(asked.text("form") == "jsonl" && asked.text("session") == "s7", "question");
                for (const char* text : {"one\n", "two \x1b\n"}) {
                    warden.say(json::Value::object({{"type", "part"}, {"text", text}}));
                    warden.expect("more");
                }
                json::Value end = json::Value::object({{"type", "exported"}});
                if (!whole) end.set("why", "it took \x1b[2J too long");
                warden.say(end);
            },
            [](TerminalOptions options, FrameSocket& warden) {
                options.session = "s7";
                return terminal_export(options, warden, {});
            });
        CHECK(ran.code == (whole ? 0 : 1));
        CHECK(ran.out == "one\ntwo \x1b\n");
        CHECK(ran.err == (whole ? "" : "not all of it: it took \\x1b[2J too long\n"));
    }
}

TEST_CASE("chat: a machine that dies is code 6, and an unanswered message is named") {
    const Chatted chatted = chat(
        [](Script& warden) {
            warden.attached();
            warden.say(frame("caught_up", {}));
            warden.expect("message");
        },
        {{"leaves\n", line("x")}, {"never", {}}});
    CHECK(chatted.code == 6);
    CHECK(has(chatted.screen, "the agent has gone: run `peacrab up`"));
    CHECK(has(chatted.screen, "may not have arrived"));
}

TEST_CASE("chat: escapes in text are shown, letters beyond ASCII are kept whole") {
    const Chatted chatted = chat(
        [](Script& warden) {
            warden.attached();
            warden.take_message();
            for (const char* piece : {"gr", "ü", "ße \x1b]52;c;AAAA\x07", "\t漢\r字\n"})
                warden.delta(piece);
            warden.reply("grüße \x1b]52;c;AAAA\x07\t漢\r字\n");
            warden.done("done", {}, "demo");
            warden.expect_end();
        },
        {{"leaves\n", line("x")}, {" out, ", {}}});
    CHECK(has(chatted.screen, "grüße \\x1b]52;c;AAAA\\x07\t漢\\x0d字\n  -- demo, 1.2 s"));
    CHECK(chatted.screen.find('\x1b') == std::string::npos);
}

TEST_CASE("chat: frames in any order and of any content neither end it nor pass an escape") {
    const Chatted chatted = chat(
        [](Script& warden) {
            std::minstd_rand random(7);
            const char* types[] = {"attached", "caught_up", "ack",    "session", "turn_start",
                                   "delta",    "restart",   "tool",   "notice",  "tool_done",
                                   "reply",    "turn_done", "refused"};
            const std::string texts[] = {
                "", "\x1b[2J", "a\nb", "\r\x9b", "t1", "ü\u202e", std::string(3000, '\x1b'), "x"};
            const auto text = [&] { return texts[random() % std::size(texts)]; };
            const int64_t numbers[] = {0, -1, 5, INT64_MAX, INT64_MIN};
            const auto number = [&] { return numbers[random() % std::size(numbers)]; };
            for (int i = 0; i < 3000; ++i) {
                const std::string type = types[random() % std::size(types)];
                json::Value any = json::Value::object({{"type", type}});
                for (const std::string& key : Script::keys_of(type))
                    if (key == "seq" || key == "ms" || key == "cost" || key.ends_with("_tokens"))
                        any.set(key, number());
                    else if (key == "running")
                        any.set(key, random() % 2 == 0);
                    else
                        any.set(key, text());
                warden.say(any);
                warden.drop_what_came();
            }
        },
        {{"never", {}}});
    CHECK(chatted.code == 6);
    CHECK(has(chatted.screen, "the agent has gone: run"));
    CHECK(chatted.screen.find('\x1b') == std::string::npos);
    CHECK(chatted.screen.find('\r') == std::string::npos);
}

TEST_CASE("view: calls that overlap are each ended by name") {
    std::string screen;
    TurnView view({}, [&](TurnView::Stream, std::string_view text) { screen += text; });
    const auto tool = [&](const char* call) {
        view.show(frame("tool", {{"seq", 1},
                                 {"turn", "t"},
                                 {"call", call},
                                 {"name", "shell"},
                                 {"summary", std::string("shell: ") + call}}));
    };
    const auto done = [&](const char* call) {
        view.show(frame("tool_done", {{"seq", 1},
                                      {"turn", "t"},
                                      {"call", call},
                                      {"outcome", "ok"},
                                      {"summary", ""},
                                      {"ms", 61'000}}));
    };
    tool("a");
    tool("b");
    done("a");
    done("b");
    CHECK(screen ==
          "  * shell: a ... \n  * shell: b ... \n"
          "  * shell: a ... ok 1 min 1 s\n  * shell: b ... ok 1 min 1 s\n");
}

TEST_CASE("view: a plan is a few lines, what is sent stands like a reply, and their calls say nothing") {
    for (const bool streams : {true, false}) {
        std::string text, activity;
        TurnView view({true, false, streams, "scout"}, [&](TurnView::Stream stream, std::string_view piece) {
            (stream == TurnView::Stream::Text ? text : activity) += piece;
        });
        const auto tool = [&](const char* id, const char* name, const char* outcome) {
            view.show(frame("tool", {{"seq", 1}, {"turn", "t1"}, {"call", id}, {"name", name}, {"summary", name}}));
            view.show(frame("tool_done", {{"seq", 1}, {"turn", "t1"}, {"call", id}, {"outcome", outcome},
                                          {"summary", name}, {"ms", 1}}));
        };
        json::Value steps = json::Value::array();
        const auto step = [&](const char* state, const std::string& words) {
            steps.push(json::Value::object({{"state", state}, {"text", words}}));
        };
        for (int i = 0; i < 3; ++i) step("done", "old");
        step("now", "work\x1b[2J");
        for (int i = 0; i < 20; ++i) step("open", "later " + std::to_string(i));
        view.show(frame("plan", {{"seq", 1}, {"turn", "t1"}, {"steps", steps}}));
        tool("a", "plan", "ok");
        view.show(frame("said", {{"seq", 2}, {"turn", "t1"}, {"text", "half of it"}}));
        view.show(frame("file", {{"seq", 3}, {"turn", "t1"}, {"path", "a.txt"}, {"size", 3}, {"sha256", "00"}}));
        tool("b", "send", "ok");
        CHECK(activity.find("  [x] 3 steps done\n  [>] work") == 0);
        CHECK(activity.find("later 8\n  [ ] 11 more\n") != std::string::npos);
        CHECK(activity.find('\x1b') == std::string::npos);
        CHECK((streams ? text : activity).find("half of it\n") != std::string::npos);
        CHECK(streams == !text.empty());
        CHECK(activity.find("peacrab cp scout:a.txt . fetches it") != std::string::npos);
        CHECK(activity.find("ok 0.0") == std::string::npos);
        tool("c", "send", "denied");
        CHECK(activity.find("* send ... denied") != std::string::npos);
    }
}

TEST_CASE("view: a question is shown with its choices and what happens when nobody answers") {
    std::string screen;
    TurnView view({}, [&](TurnView::Stream, std::string_view text) { screen += text; });
    json::Value question = frame("question", {{"seq", 1}, {"turn", "t1"}, {"call", "c"}, {"text", "which\x1b?"}});
    question.set("choices", json::Value::array({"red", "blue\nfake"}));
    question.set("default", "red");
    question.set("until", int64_t{::time(nullptr)} + 86'400);
    view.show(question);
    CHECK(screen.find("  ? which") == 0);
    CHECK(screen.find('\x1b') == std::string::npos);
    CHECK(screen.find("\n    1 red\n    2 blue fake\n") != std::string::npos);
    CHECK(screen.find("(a number or words; after 24 h it goes on with: red)\n") != std::string::npos);
}

TEST_CASE("one_line: bounded, flat, and never torn inside a letter") {
    CHECK(one_line("a\nb\tc") == "a b c");
    std::string many;
    for (int i = 0; i < 1000; ++i) many += "ü";
    const std::string cut = one_line(many, 9);
    CHECK(cut == "üüüü...");
    CHECK(one_line(std::string(5000, '\x1b'), 40).size() <= 43);
}

TEST_CASE("whole_question: the words, then the pipe; nothing when both are empty") {
    const auto with_pipe = [](const std::string& words, const std::string& piped) {
        Captured in, err;
        write_all(in.fd.get(), piped);
        ::lseek(in.fd.get(), 0, SEEK_SET);
        return whole_question(words, in.fd.get(), err.fd.get());
    };
    CHECK(with_pipe("explain", "line 1\nline 2\n") == "explain\n\nline 1\nline 2");
    CHECK(with_pipe("", "only this\n") == "only this");
    CHECK(with_pipe("words", "") == "words");
    CHECK(!with_pipe(" \n", "\n\n"));
    CHECK(!whole_question("", -1, -1));
    CHECK(with_pipe("x", "a\xff\x1b[0mb") == "x\n\na\xef\xbf\xbd[0mb");
    CHECK(with_pipe("x", std::string(256 << 10, 'y'))->size() == (256u << 10) + 3);
    CHECK(with_pipe(std::string(200 << 10, 'x'), "y")->size() == (200u << 10) + 3);  // never cut
    CHECK_THROWS_AS(with_pipe("x", std::string((256 << 10) + 1, 'y')), Error);
}

TEST_CASE("plain lines: each line, the last without its newline, then the end") {
    Captured in, out;
    write_all(in.fd.get(), "one\n\ntwo");
    ::lseek(in.fd.get(), 0, SEEK_SET);
    const SocketPair quiet = SocketPair::stream();
    const auto lines = plain_line_source(in.fd.get(), out.fd.get());
    const auto never = [] { return LineSource::Then::Wait; };
    CHECK(lines->next(quiet.ours.get(), never).line == "one");
    CHECK(lines->next(quiet.ours.get(), never).line == "");
    CHECK(lines->next(quiet.ours.get(), never).line == "two");
    CHECK(lines->next(quiet.ours.get(), never).kind == LineSource::Input::Kind::End);
    CHECK(out.text() == "");  // no prompt for a pipe
}

TEST_CASE("plain lines: what a line has beyond 256 KiB is dropped, the next line is whole") {
    Captured in, out;
    write_all(in.fd.get(), std::string(900 << 10, 'x') + "\nnext\n");
    ::lseek(in.fd.get(), 0, SEEK_SET);
    const SocketPair quiet = SocketPair::stream();
    const auto lines = plain_line_source(in.fd.get(), out.fd.get());
    const auto never = [] { return LineSource::Then::Wait; };
    CHECK(lines->next(quiet.ours.get(), never).line.size() == 256u << 10);
    CHECK(lines->next(quiet.ours.get(), never).line == "next");
}

TEST_CASE("plain lines: Ctrl-C is an input, and the process lives") {
    Pipe in = Pipe::make();
    Captured out;
    const SocketPair quiet = SocketPair::stream();
    const auto lines = plain_line_source(in.read.get(), out.fd.get());
    ::kill(::getpid(), SIGINT);
    const LineSource::Input input =
        lines->next(quiet.ours.get(), [] { return LineSource::Then::Wait; });
    CHECK(input.kind == LineSource::Input::Kind::Interrupt);
    ::kill(::getpid(), SIGINT);  // one that nobody reads must not kill when the source goes
}

TEST_CASE("ask: a reply that cannot be written is code 1") {
    const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    const Ran ran = run(
        [](Script& warden) {
            warden.attached();
            warden.take_message();
            warden.reply("lost");
            warden.done("done");
        },
        [&](TerminalOptions options, FrameSocket& warden) {
            options.out_fd = full.get();
            return terminal_ask(options, warden, {"hello"});
        });
    CHECK(ran.code == 1);
    CHECK(has(ran.err, "standard output: write: No space left on device\n"));
}

TEST_CASE("ask: a budget that is spent is a sentence and an exit code of its own; what it cost is told or unknown") {
    const Ran ran = ask([](Script& warden) {
        warden.attached();
        warden.take_message();
        warden.done("budget", "the budget of this turn is spent", "who");
    });
    CHECK(ran.code == kExitBudget);
    CHECK(ran.out.empty());
    CHECK(has(ran.err, "stopped: the budget of this turn is spent\n"));
    CHECK(has(ran.err, "3 out, cost unknown\n"));
}

TEST_CASE("chat: /usage shows what was spent; `more` is told to whoever else bounds it") {
    int more = 0;
    ScriptedLines lines(std::vector<ScriptedLines::Step>{
        {"leaves\n", line("/usage")}, {"limit 5 USD", line("More")}, {" out, ", {}}});
    const Ran ran = run(
        [](Script& warden) {
            warden.attached();
            (void)warden.expect("usage");
            warden.say(frame("usage", {{"rows", json::Value::array({json::Value::object(
                                                   {{"scope", "this turn"},
                                                    {"calls", 2},
                                                    {"tokens", 77},
                                                    {"spent", "0.021 USD"},
                                                    {"limit", "5 USD"}})})}}));
            warden.take_message();
            warden.reply("on");
            warden.done("done");
            warden.expect_end();
        },
        [&](const TerminalOptions& options, FrameSocket& warden) {
            TerminalOptions own = options;
            own.more = [&more] { ++more; };
            return terminal_chat(own, warden, lines);
        });
    CHECK(ran.code == 0);
    CHECK(lines.screen.find("this turn: 0.021 USD, 77 tokens in 2 calls; limit 5 USD") != std::string::npos);
    CHECK(more == 1);
}
