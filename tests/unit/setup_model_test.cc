// `peacrab setup`, against a server on loopback; on a pseudo-terminal where a person would sit.
#include "setup_model.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio_ext.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "../support/loopback_server.h"
#include "config.h"
#include "error.h"
#include "search_route.h"
#include "config/secrets.h"

using namespace peacrab;
using namespace peacrab::test;

namespace {

const char* const kReply = R"({"id":"msg_1","type":"message","role":"assistant","model":"mock-1",)"
                           R"("content":[{"type":"text","text":"y"}],"stop_reason":"max_tokens",)"
                           R"("usage":{"input_tokens":8,"output_tokens":1}})";

// A home of its own for one test.
class Home {
  public:
    Home() {
        char folder[] = "/tmp/peacrab-setup-XXXXXX";
        REQUIRE(::mkdtemp(folder));
        path_ = folder;
        ::setenv("HOME", folder, 1);
        for (const char* name : {"XDG_CONFIG_HOME", "XDG_STATE_HOME", "ANTHROPIC_API_KEY",
                                 "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"})
            ::unsetenv(name);
    }
    ~Home() { std::filesystem::remove_all(path_); }

  private:
    std::string path_;
};

struct Ran {
    int code;
    std::string out;
};

Ran with_pipe(SetupOptions options, const std::string& input) {
    const UniqueFd in(::memfd_create("in", MFD_CLOEXEC)), out(::memfd_create("out", MFD_CLOEXEC));
    write_all(in.get(), input);
    ::lseek(in.get(), 0, SEEK_SET);
    options.in_fd = in.get();
    options.out_fd = out.get();
    const int code = setup_model(options);
    std::string text(65536, '\0');
    text.resize(static_cast<size_t>(::pread(out.get(), text.data(), text.size(), 0)));
    return {code, text};
}

SetupOptions from_stdin(const std::string& url) {
    SetupOptions options;
    options.model.model_url = url;
    options.key = SetupOptions::Key::Stdin;
    return options;
}

std::string stored_key() {
    const std::vector<std::string> names = list_folder(SecretStore::default_directory());
    if (names.size() != 1) return names.empty() ? "(none)" : "(several)";
    const std::optional<Secret> key = SecretStore().read(names[0]);
    return key ? key->reveal() : "(unreadable)";
}

bool has(const std::string& text, const std::string& part) {
    const bool found = text.find(part) != std::string::npos;
    if (!found) MESSAGE("not in: " << text);
    return found;
}

// A person at a terminal: waits for each question before the answer is typed.
class Person {
  public:
    explicit Person(const std::function<int()>& doing) {
        int master = -1;
        const pid_t pid = ::forkpty(&master, nullptr, nullptr, nullptr);
        REQUIRE(pid >= 0);
        if (pid == 0) {
            ::__fpurge(stdout);
            int code = 99;
            try {
                code = doing();
            } catch (const std::exception& error) {
                write_all(1, std::string("threw: ") + error.what() + "\n");
            }
            ::_exit(code);
        }
        pty_ = UniqueFd(master);
        child_ = Pidfd::of_child(pid);
    }
    void answer(const std::string& question, const std::string& typed) {
        REQUIRE_MESSAGE(pump(question), "waited for '" << question << "' in: " << screen);
        write_all(pty_.get(), typed);
    }
    int leave() {
        pump("\x01 never shown");
        return child_.wait().code;
    }
    bool echoes() const {
        termios modes{};
        return ::tcgetattr(pty_.get(), &modes) == 0 && (modes.c_lflag & ECHO) != 0;
    }
    std::string screen;

  private:
    bool pump(const std::string& until) {
        const Deadline limit = Deadline::in(Seconds(20));
        for (;;) {
            const size_t at = screen.find(until, from_);
            if (at != std::string::npos) {
                from_ = at + until.size();
                return true;
            }
            pollfd one{pty_.get(), POLLIN, 0};
            if (::poll(&one, 1, limit.poll_timeout()) <= 0) return false;
            std::array<char, 4096> bytes;
            const ssize_t n = ::read(pty_.get(), bytes.data(), bytes.size());
            if (n <= 0) return false;
            screen.append(bytes.data(), static_cast<size_t>(n));
        }
    }
    UniqueFd pty_;
    Pidfd child_;
    size_t from_ = 0;
};

}  // namespace

TEST_CASE("setup: a key from a pipe is tried by one call and stored") {
    const Home home;
    std::string request;
    LoopbackServer server({[&](Connection& c) {
        request = c.request();
        c.send(response(200, "application/json", kReply));
    }});
    const Ran ran = with_pipe(from_stdin(server.url()), " sk-test-1 \n");
    CHECK_MESSAGE(ran.code == 0, ran.out);
    CHECK(server.connections() == 1);
    CHECK(has(request, "POST /v1/messages "));
    CHECK(has(request, "sk-test-1"));
    CHECK(has(request, "\"max_tokens\":1"));
    CHECK(stored_key() == "sk-test-1");
    CHECK(load_config(config_file()).model_url == server.url());
    CHECK(ran.out.find("sk-test-1") == std::string::npos);
}

TEST_CASE("setup: a key that is refused is not stored, and it is said why") {
    const Home home;
    LoopbackServer server({answer(response(
        401, "application/json",
        R"({"type":"error","error":{"type":"authentication_error","message":"no sk-test-2"}})"))});
    const Ran ran = with_pipe(from_stdin(server.url()), "sk-test-2");
    CHECK(ran.code == 1);
    CHECK(has(ran.out, "it failed: "));
    CHECK(has(ran.out, "--no-check"));
    CHECK(ran.out.find("sk-test-2") == std::string::npos);
    CHECK(stored_key() == "(none)");
    CHECK(load_config(config_file()).model_url == "");
}

TEST_CASE("setup: --no-check stores without a call") {
    const Home home;
    SetupOptions options = from_stdin("http://127.0.0.1:1");
    options.model.model = "some-model";
    options.check = SetupOptions::Check::None;
    CHECK(with_pipe(options, "sk-test-3").code == 0);
    CHECK(stored_key() == "sk-test-3");
    CHECK(load_config(config_file()).model == "some-model");
}

TEST_CASE("setup: what the person wrote into the configuration stays") {
    const Home home;
    make_directories(config_folder());
    write_file_atomic(config_file(), "# mine\nmodel: old  # why\nagents:\n  scout:\n", 0600);
    SetupOptions options = from_stdin("http://127.0.0.1:1");
    options.model.model = "some-model";
    options.check = SetupOptions::Check::None;
    CHECK(with_pipe(options, "sk-test-3").code == 0);
    CHECK(read_file(config_file(), KiB(4)) ==
          "# mine\nmodel: some-model  # why\nagents:\n  scout:\n"
          "model-url: http://127.0.0.1:1\n");
}

TEST_CASE("setup: what is no key is refused before anything is sent") {
    const Home home;
    for (const std::string& bad : {std::string(), std::string("\n"), std::string("two words"),
                                  std::string("a\nb"), std::string(100'000, 'x')}) {
        const Ran ran = with_pipe(from_stdin("http://127.0.0.1:1"), bad);
        CHECK(ran.code == 1);
        CHECK(has(ran.out, "not stored: the key on standard input: "));
    }
    CHECK(stored_key() == "(none)");
}

TEST_CASE("setup: a stored key goes to no other address, and stays for its own") {
    const Home home;
    SecretStore().write("anthropic", Secret("sk-old"));
    std::string asked;
    LoopbackServer server({[&](Connection& connection) {
        asked = connection.request();
        connection.send(response(200, "application/json", kReply));
    }});
    SetupOptions options;
    options.model.model_url = server.url();
    const Ran ran = with_pipe(options, "");
    CHECK(ran.code == 0);
    CHECK(asked.find("proxy-managed") != std::string::npos);
    CHECK(asked.find("sk-old") == std::string::npos);
    CHECK(load_config(config_file()).model_url == server.url());
    CHECK(stored_key() == "sk-old");
}

TEST_CASE("setup: without a terminal and without flags it says what to type, code 2") {
    const Home home;
    const Ran ran = with_pipe({}, "sk-test\n");
    CHECK(ran.code == 2);
    CHECK(has(ran.out, "--key-stdin"));
}

TEST_CASE("setup: an address that is none is an error") {
    const Home home;
    CHECK_THROWS_AS((void)with_pipe(from_stdin("ftp://x"), "sk-test"), Error);
}

TEST_CASE("setup: on a terminal the key is never shown, and the echo is back afterwards") {
    const Home home;
    LoopbackServer server({answer(response(200, "application/json", kReply))});
    Person person([] { return setup_model({}); });
    CHECK(person.echoes());
    person.answer("which [1]: ", "99\n");
    person.answer("which [1]: ", "0\n");
    person.answer("its address, e.g. http://127.0.0.1:8080/v1: ", "nonsense\n");
    person.answer("its address, e.g. http://127.0.0.1:8080/v1: ", server.url() + "/\n");
    person.answer("Enter for none): ", "has blanks\n");
    person.answer("that is no key", "");
    person.answer("Enter for none): ", "sk-hidden-1\n");
    person.answer("the model's name [", "mock-1\n");
    CHECK(person.leave() == 0);
    CHECK_MESSAGE(has(person.screen, "stored: 127.0.0.1:"), person.screen);
    CHECK(person.screen.find("sk-hidden-1") == std::string::npos);
    CHECK(stored_key() == "sk-hidden-1");
    CHECK(load_config(config_file()).model == "mock-1");
}

TEST_CASE("setup: Ctrl-C at the key puts the echo back and stores nothing") {
    const Home home;
    Person person([] {
        const int code = setup_model({});
        termios modes{};
        const bool echo = ::tcgetattr(0, &modes) == 0 && (modes.c_lflag & ECHO) != 0;
        return echo ? code : 98;
    });
    person.answer("which [1]: ", "1\n");
    person.answer("it is not shown): ", "\x03");
    CHECK(person.leave() == 130);
    CHECK(has(person.screen, "nothing was stored"));
    CHECK(stored_key() == "(none)");
}

TEST_CASE("setup: the key of a search service is hidden as well, and Ctrl-C puts the echo back") {
    const Home home;
    const auto set_up = [] {
        const int code = setup_search("brave", "");
        termios modes{};
        const bool echo = ::tcgetattr(0, &modes) == 0 && (modes.c_lflag & ECHO) != 0;
        return echo ? code : 98;
    };
    {
        Person person(set_up);
        person.answer("it is not shown): ", "\x03");
        CHECK(person.leave() == 130);
        CHECK(has(person.screen, "nothing was stored"));
        CHECK(stored_key() == "(none)");
    }
    {
        Person person(set_up);
        person.answer("it is not shown): ", " brave-hidden-1 \n");
        CHECK(person.leave() == 0);
        CHECK(person.screen.find("brave-hidden-1") == std::string::npos);
        CHECK(stored_key() == "brave-hidden-1");
        CHECK(load_config(config_file()).search == "brave");
    }
}

TEST_CASE("setup: a person may keep what failed") {
    const Home home;
    Person person([] {
        SetupOptions options;
        options.model = {"m", "http://127.0.0.1:1"};
        return setup_model(options);
    });
    person.answer("Enter for none): ", "sk-keep\n");
    person.answer("keep it all the same? [y/N] ", "y\n");
    CHECK(person.leave() == 0);
    CHECK(stored_key() == "sk-keep");
}

TEST_CASE("setup: chat offers it once, and not when something is chosen") {
    const Home home;
    const auto offer = [] {
        offer_setup_once({});
        return 0;
    };
    {
        Person person([] {
            offer_setup_once({"some-model", ""});
            return 0;
        });
        CHECK(person.leave() == 0);
        CHECK(person.screen == "");
    }
    {
        Person person(offer);
        person.answer("Set one up now? [y/N] ", "n\n");
        CHECK(person.leave() == 0);
        CHECK(has(person.screen, "Later: `peacrab setup`."));
    }
    {
        Person person(offer);
        CHECK(person.leave() == 0);
        CHECK(person.screen == "");
    }
}
