// The recording is a stranger's, and so is the program's view of it: whoever reads it is a child that can do little,
// has little time, and of what it says a few pages are taken.
#include "messaging/voice.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>
#include <filesystem>

#include "channels/adapters.h"
#include "channels/channel_files.h"
#include "channels/turn_view.h"
#include "config.h"
#include "config/secrets.h"
#include "config/yaml.h"
#include "error.h"
#include "http.h"
#include "json.h"
#include "landlock.h"

namespace peacrab {
namespace {

constexpr size_t kMostText = size_t{32} << 10;
constexpr size_t kMostRecording = size_t{32} << 20;
constexpr rlim_t kMostWritten = rlim_t{256} << 20;
constexpr const char* kSystem[] = {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix", "/gnu", "/proc", "/sys"};

using Kind = yaml::Node::Kind;

std::vector<std::string> words_of(const yaml::Node& key, const yaml::Node& value) {
    std::vector<std::string> words;
    if (value.kind != Kind::List || value.items.empty()) throw Error(yaml::at(key) + key.text + ": a list was expected");
    for (const yaml::Node& word : value.items) words.push_back(word.text);
    return words;
}

VoiceConfig read_voice(const yaml::Node& block) {
    VoiceConfig voice;
    if (block.kind != Kind::Map) throw Error(yaml::at(block) + "voice: `command` or `url` was expected below it");
    for (const auto& [key, value] : block.entries) {
        if (key.text == "command" || key.text == "reads") {
            (key.text == "command" ? voice.command : voice.reads) = words_of(key, value);
            continue;
        }
        std::string* const text = key.text == "url"      ? &voice.url
                                  : key.text == "model"  ? &voice.model
                                  : key.text == "secret" ? &voice.secret
                                                         : nullptr;
        if (!text) throw Error(yaml::at(key) + "voice: unknown key " + printable(key.text) + "; known: command, reads, url, model, secret");
        if (value.kind != Kind::Text) throw Error(yaml::at(key) + printable(key.text) + ": a plain value was expected");
        *text = value.text;
    }
    if (voice.command.empty() == voice.url.empty()) throw Error(yaml::at(block) + "voice: either `command` or `url` was expected");
    if (!voice.command.empty() && !voice.command[0].starts_with('/'))
        throw Error(yaml::at(block) + "voice: command: the path of a program was expected");
    const bool web = voice.url.starts_with("https://") || voice.url.starts_with("http://");
    if (!voice.url.empty() && !web) throw Error(yaml::at(block) + "voice: url: an address was expected");
    return voice;
}

[[noreturn]] void give_up(const char* why) noexcept {
    [[maybe_unused]] const ssize_t n = ::write(STDOUT_FILENO, why, std::char_traits<char>::length(why));
    ::_exit(1);
}

// What both have in common; descriptors 0 and 1 are the recording and the text.
void begin_child(pid_t parent) {
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    if (::close_range(3, UINT_MAX, 0) < 0) ::_exit(1);
    if (::setsid() < 0 || ::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || ::getppid() != parent) ::_exit(1);
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) ::_exit(1);
}

[[noreturn]] void run_command(const VoiceConfig& config, const std::string& folder) {
    LandlockRules rules;
    for (const char* path : kSystem) rules.read.emplace_back(path);
    for (const std::string& path : config.reads) rules.read.push_back(path);
    for (const std::string& word : config.command)
        if (word.starts_with('/')) rules.read.push_back(word);
    // Its own folder, unless that holds more than a program and what belongs to it.
    const std::string own = require_real_path("voice", config.command[0].substr(0, config.command[0].rfind('/') + 1));
    bool others = false;
    for (const std::string& path : {env("HOME"), config_folder(), state_folder()})
        others = others || is_within(real_path(path).value_or(path), own);
    if (!others) rules.read.push_back(own);
    rules.execute = rules.read;
    rules.write = {folder, "/dev/null"};
    rules.read.insert(rules.read.end(), {"/dev/urandom", "/dev/random", "/dev/zero"});
    const UniqueFd ruleset = landlock_ruleset(rules, 1);
    for (const auto& [resource, most] : {std::pair{RLIMIT_CORE, rlim_t{0}}, std::pair{RLIMIT_FSIZE, kMostWritten}}) {
        const rlimit limit{most, most};
        if (::setrlimit(resource, &limit) < 0) throw ErrnoError("voice: limits");
    }
    if (::chdir(folder.c_str()) < 0 || !landlock_restrict(ruleset.get())) throw ErrnoError("voice: jail");
    std::vector<std::string> words = config.command, variables = {"HOME=" + folder, "TMPDIR=" + folder, "LANG=C.UTF-8", "PATH=" + env("PATH")};
    std::vector<char*> arguments, environment;
    for (std::string& word : words) arguments.push_back(word.data());
    for (std::string& variable : variables) environment.push_back(variable.data());
    arguments.push_back(nullptr);
    environment.push_back(nullptr);
    ::execve(arguments[0], arguments.data(), environment.data());
    throw ErrnoError("the command of `voice:` cannot be run");
}

// A command may take a while to say it.
Secret secret_of(const VoiceConfig& config) {
    if (config.secret.empty()) return {};
    std::optional<Secret> found = SecretStore().read(config.secret);
    if (!found) throw Error("there is no secret " + printable(config.secret));
    return std::move(*found);
}

[[noreturn]] void ask_service(const VoiceConfig& config, const Secret& secret, const std::string& extension) {
    HttpClient::prepare();
    confine_adapter();
    Multipart parts;
    if (!config.model.empty()) parts.field("model", config.model);
    parts.file("file", "voice" + extension, extension == ".ogg" ? "audio/ogg" : "application/octet-stream");
    parts.body() += read_all(STDIN_FILENO, kMostRecording);
    HttpOptions options;
    options.environment = true;
    options.response_limit = KiB(256);
    HttpClient client(std::move(options));
    HttpRequest request;
    request.url = config.url;
    request.headers = {parts.content_type()};
    if (!secret.empty()) request.headers.push_back("Authorization: Bearer " + secret.reveal());
    request.body = parts.finish();
    const HttpResult got = client.send(request, [](const HttpResult&) { return false; }, [](std::string_view) {});
    if (got.failure != HttpResult::Failure::None) throw Error(got.detail);
    if (got.status != 200) throw Error("the service answered with status " + std::to_string(got.status));
    write_all(STDOUT_FILENO, json::parse(got.body, {size_t{256} << 10, 16}).text("text"));
    ::_exit(0);
}

}  // namespace

VoiceConfig load_voice(const std::string& path) {
    const std::optional<std::string> text = read_file_if_exists(path, KiB(256));
    if (!text) return {};
    try {
        const yaml::Node root = yaml::parse(*text);
        const yaml::Node* const block = root.find("voice");
        return block && block->kind != Kind::Null ? read_voice(*block) : VoiceConfig();
    } catch (const Error& error) {
        throw Error(printable(path) + ": " + error.what());
    }
}

Transcription::Transcription(Loop& loop, const VoiceConfig& config, UniqueFd recording, const std::string& extension, Done done)
    : loop_(loop), done_(std::move(done)) {
    if (!config.command.empty()) {
        folder_ = (env("TMPDIR").empty() ? "/tmp" : env("TMPDIR")) + "/peacrab-voice-XXXXXX";
        if (!::mkdtemp(folder_.data())) throw ErrnoError("voice: folder");
    }
    Pipe pipe = Pipe::make();
    const pid_t parent = ::getpid(), pid = ::fork();
    if (pid < 0) throw ErrnoError("voice: fork");
    if (pid == 0) {
        if (::dup2(recording.get(), 0) < 0 || ::dup2(pipe.write.get(), 1) < 0) ::_exit(1);
        begin_child(parent);
        try {
            if (folder_.empty()) ask_service(config, secret_of(config), extension);
            run_command(config, folder_);
        } catch (const std::exception& error) {
            give_up(error.what());
        }
    }
    process_ = Pidfd::of_child(pid);
    output_ = std::move(pipe.read);
    set_nonblocking(output_.get());
    loop_.watch(output_.get(), POLLIN, [this](short) { read(); });
    timer_ = loop_.after(kLimit, [this] {
        timer_ = 0;
        end("it took too long");
    });
}

Transcription::~Transcription() {
    loop_.cancel(timer_);
    if (output_) loop_.forget(output_.get());
    if (process_) ::kill(-process_.pid(), SIGKILL);  // its session, which is its own
    process_.kill_and_reap();
    if (folder_.empty()) return;
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

void Transcription::read() {
    std::array<char, 16384> bytes;
    const std::optional<size_t> n = read_some(output_.get(), bytes);
    if (!n) return;
    if (*n > 0) {
        text_.append(bytes.data(), std::min(*n, kMostText - text_.size()));
        return;
    }
    // It has said all; who does not end then is ended.
    const pid_t pid = process_.pid();
    std::optional<ChildExit> exit;
    for (const Deadline patience = Deadline::in(Milliseconds(200)); !exit && !patience.passed(); ::usleep(2'000)) exit = process_.try_wait();
    ::kill(-pid, SIGKILL);  // whom it has left behind
    if (exit && exit->ok()) return end({});
    end(text_.empty() ? exit ? exit->describe() : "it did not end" : one_line(text_, 200));
}

void Transcription::end(const std::string& why) {
    loop_.forget(output_.get());
    loop_.cancel(std::exchange(timer_, 0));
    output_.reset();
    std::string text = json::valid_utf8(text_);
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    loop_.after(Milliseconds(0), [done = std::move(done_), text = std::move(text), why] { done(why.empty() ? text : std::string(), why); });
}

}  // namespace peacrab
