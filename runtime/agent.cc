// The loop. Every step is journaled before the next begins: what the person said, what the model
// answered, what each call came to. A call the model made always gets exactly one result; one that
// was never finished is made up as "interrupted" by context/prompt when the journal is read again.
// Must not execute anything: a call is a frame to the warden.
#include "agent.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <span>

#include "agents.h"
#include "budget/usage_frame.h"
#include "builtins/picture.h"
#include "cells/mechanism.h"
#include "context/compaction.h"
#include "context/facts.h"
#include "context/pictures.h"
#include "context/said.h"
#include "error.h"
#include "jail.h"
#include "landlock.h"
#include "llm.h"
#include "sessions/journal.h"
#include "sessions/work.h"

namespace peacrab {
namespace {

constexpr size_t kTogether = 4;    // calls that only read; the warden takes no more
constexpr int kSameCallWarning = 3;  // the same call with the same arguments, in a row: told so
constexpr int kSameCallLimit = 5;    // ended
constexpr int kPauseLimit = 5;     // continuations of a server-side pause
constexpr size_t kMaxDelta = size_t{64} << 10;

UniqueFd next_model_connection() {
    const char byte = 0;
    write_all(kTurnModelRoute, {&byte, 1});
    UniqueFd fd = receive_fd(kTurnModelRoute);
    if (!fd) throw Error("model route: closed");
    return fd;
}

ModelOptions model_options(const json::Value& start, const ModelSettings& settings,
                           TurnNetwork network) {
    ModelOptions options;
    options.model = settings.name;
    options.base_url = start.text("base_url");
    options.dialect = dialect_from(settings.dialect);
    if (const ModelServer* server = server_named(settings.server))
        options.quirks = server->quirks;
    if (options.quirks.local) options.http.first_byte_limit = kModelLoads;
    options.key = Secret(start.text("key"));
    if (network == TurnNetwork::ModelRoute)
        options.http.connector = next_model_connection;
    else
        options.http.environment = true;
    return options;
}

// What the model is offered; the warden decides again at each call.
ToolSet tool_set(const json::Value& start) {
    ToolSet tools{start.flag("cell"), {}, partner_from(start.text("with"))};
    if (const json::Value* names = start.find("may_message"))
        for (const json::Value& name : names->items()) tools.may_message.push_back(name.as_string());
    return tools;
}

// How a turn ends, as the warden is told.
struct End {
    std::string status;  // done, failed, stopped, budget, waiting
    std::string error;
    bool model_down = false;  // that was why
};

class Turn {
  public:
    Turn(FrameSocket& warden, const json::Value& start, const ModelSettings& settings,
         TurnNetwork network)
        : warden_(warden),
          id_(start.text("turn")),
          prompt_{start.text("agent"), start.text("workspace"), tool_set(start)},
          journal_(start.text("journal"), network == TurnNetwork::ModelRoute ? Durability::PowerLoss
                                                                             : Durability::Scratch),
          model_(model_options(start, settings, network)),
          context_(settings.window),
          fallback_(settings.fallback) {
        prompt_.rules = start.text("rules");
        prompt_.skills = start.text("skills");
        entries_ = conversation(journal_, start.find("undone"));
        let_go(entries_);
        if (const std::string damage = journal_.damage(); !damage.empty())
            say(json::Value::object({{"type", "notice"}, {"text", "the journal is damaged: " + damage}}));
        record(with_pictures(said_entries(entries_, start), [this](const std::string& path) { return picture_at(path); }));
        took(start.at("messages").items().size());
    }

    End run();
    void settle_counts();
    const std::string& model_name() const { return model_name_; }

  private:
    Entry user_entry(const std::string& text) const {
        return {Entry::Kind::User, id_, {}, text, {}, Outcome::Failed};
    }
    void record(const std::vector<Entry>& entries);
    // As `read` shows it: what the person sent needs no call of the model's. "": it cannot be shown.
    std::string picture_at(const std::string& path) {
        say(json::Value::object({{"type", "tool"}, {"id", path}, {"name", "read"}, {"arguments", picture_arguments(path)}}));
        return receive_answer("tool_result", {path}).text("picture");
    }
    void took(size_t messages);
    void say(const json::Value& frame) { warden_.send(frame); }
    void delta(std::string_view text);
    ModelEvents events();
    Context::Question question(const ModelEvents& events) {
        return {model_, prompt_, entries_, events, id_, kTurnStop, [this](Entry entry) { record({std::move(entry)}); }};
    }
    ModelReply ask();
    End compact();
    void count(const ModelCount& call);
    std::optional<End> settle(const ModelReply& reply);
    void reply(const std::string& text);
    void run_calls(std::span<const ToolCall> calls);
    void run_together(std::span<const ToolCall> calls);
    std::optional<ToolResult> not_asked(const ToolCall& call) const;
    void note_progress(const std::vector<ToolCall>& calls);
    bool stop_wanted() const;
    bool take_steering(Deadline deadline);
    json::Value receive_answer(const char* type, const std::vector<std::string>& ids);

    FrameSocket& warden_;
    std::string id_;
    PromptOptions prompt_;
    Journal journal_;
    Model model_;
    Context context_;
    std::vector<Entry> entries_;
    std::vector<std::string> fallback_;  // models not yet tried
    std::vector<std::string> steering_;  // said while the turn ran, not yet journaled
    std::string model_name_;
    std::string last_calls_;
    int same_calls_ = 0;
    int pauses_ = 0;
    int uncounted_ = 0;   // answers of the model which the warden has not yet said it wrote down
    bool waits_ = false;  // for the person: a call stays without a result
};

void Turn::record(const std::vector<Entry>& entries) {
    if (entries.empty()) return;
    int64_t seq = journal_.append(entries) - static_cast<int64_t>(entries.size());
    entries_.insert(entries_.end(), entries.begin(), entries.end());
    for (size_t at = entries_.size() - entries.size(); at < entries_.size(); ++at) entries_[at].seq = ++seq;
    if (entries.back().kind == Entry::Kind::Summary) let_go(entries_);
}

void Turn::took(size_t messages) {
    say(json::Value::object({{"type", "took"}, {"count", messages}}));
}

void Turn::delta(std::string_view text) {
    while (!text.empty()) {
        const std::string_view part = utf8_prefix(text, kMaxDelta);
        say(json::Value::object({{"type", "delta"}, {"text", part}}));
        text.remove_prefix(part.size());
    }
}

ModelEvents Turn::events() {
    ModelEvents events;
    events.delta = [this](std::string_view text) { delta(text); };
    events.restart = [this] { say(json::Value::object({{"type", "restart"}})); };
    events.notice = [this](std::string_view text) {
        say(json::Value::object({{"type", "notice"}, {"text", text}}));
    };
    events.asking = [this] { settle_counts(); };
    events.counted = [this](const ModelCount& call) { count(call); };
    return events;
}

// What the person asked for with "/compact" alone.
End Turn::compact() {
    const ModelEvents told = events();
    const std::string text = context_.compact(question(told));
    settle_counts();
    if (text.empty() || stop_wanted()) return {"stopped", {}};
    record({{Entry::Kind::Assistant, id_, model_origin(model_.options()), {},
             json::Value::array({json::Value::object({{"type", "text"}, {"text", text}})}), Outcome::Ok}});
    reply(text);
    return {"done", {}};
}

ModelReply Turn::ask() {
    const ModelEvents events = this->events();
    for (;;) {
        ModelReply reply = context_.ask(question(events));
        if (!reply.model.empty()) model_name_ = reply.model;
        if (!reply.another_may_do || fallback_.empty()) return reply;
        // For the rest of the turn: who cannot answer now is not asked again at each step.
        if (!reply.text.empty()) events.restart();
        events.notice(reply.error.substr(0, reply.error.find(": ")) + "; going on with " +
                      fallback_.front());
        model_.use(fallback_.front());
        fallback_.erase(fallback_.begin());
    }
}

// Written down by the warden, while we write down the answer.
void Turn::count(const ModelCount& call) {
    say(usage_frame(model_.options().model, call));
    ++uncounted_;
}

// Before anything else is asked for or done; when too much is spent, the warden has said stop by then.
void Turn::settle_counts() {
    for (; uncounted_ > 0; --uncounted_) receive_answer("go", {""});
}

bool Turn::stop_wanted() const {
    pollfd stop{kTurnStop, POLLIN, 0};
    return ::poll(&stop, 1, 0) > 0;
}

// Moves what arrived meanwhile into steering_. True when there is any.
bool Turn::take_steering(Deadline deadline) {
    while (std::optional<json::Value> frame = warden_.receive(deadline)) {
        if (uncounted_ > 0 && frame->text("type") == "go") {
            --uncounted_;
            continue;
        }
        if (frame->text("type") != "steer") throw Error("turn: unexpected frame from the warden");
        steering_.push_back(frame->text("text"));
    }
    if (warden_.closed()) throw Error("turn: the warden has gone");
    return !steering_.empty();
}

// One with one of these ids; steering that comes before it is kept.
json::Value Turn::receive_answer(const char* type, const std::vector<std::string>& ids) {
    for (;;) {
        std::optional<json::Value> frame = warden_.receive(Deadline::never());
        if (!frame && warden_.closed()) throw Error("turn: the warden has gone");
        if (!frame) continue;
        if (frame->text("type") == "steer")
            steering_.push_back(frame->text("text"));
        else if (frame->text("type") == type &&
                 std::find(ids.begin(), ids.end(), frame->text("id")) != ids.end())
            return std::move(*frame);
        else
            throw Error("turn: unexpected frame from the warden");
    }
}

// What there is to say of a call that is not even asked for.
std::optional<ToolResult> Turn::not_asked(const ToolCall& call) const {
    using Said = ToolResult;
    if (waits_) return Said{Outcome::Denied, "not asked: one question at a time", {}};
    if (stop_wanted()) return Said{Outcome::Interrupted, "stopped before it ran", {}};
    if (call.arguments == kDamagedArguments)
        return Said{
            Outcome::Failed, "not run: the call did not arrive whole; send it again, shorter", {}};
    // The frame's own escapes may double each byte.
    if (call.arguments.size() > kMaxFrame / 2 - KiB(1).count)
        return Said{Outcome::Denied, "the arguments are too long: use at most 256 KiB in one call", {}};
    return std::nullopt;
}

// Journaled as they come; context/prompt puts them into the order of the calls.
void Turn::run_together(std::span<const ToolCall> calls) {
    const auto keep = [this](const std::string& id, const std::string& text, Outcome outcome,
                             const std::string& picture = {}) {
        std::string told = text;
        if (same_calls_ >= kSameCallWarning)
            told += "\n\n[the same call " + std::to_string(same_calls_) +
                    " times in a row: it will not help; do something else, or say what is missing]";
        std::vector<Entry> said = {{Entry::Kind::Result, id_, id, told, {}, outcome}};
        if (is_picture(picture)) said.push_back({Entry::Kind::Picture, id_, id, picture, {}, outcome});
        record(said);
    };
    std::vector<std::string> asked;
    for (const ToolCall& call : calls) {
        if (const std::optional<ToolResult> said = not_asked(call)) {
            keep(call.id, said->text, said->outcome);
            continue;
        }
        say(json::Value::object({{"type", "tool"},
                                 {"id", call.id},
                                 {"name", call.name},
                                 {"arguments", call.arguments}}));
        asked.push_back(call.id);
    }
    while (!asked.empty()) {
        const json::Value frame = receive_answer("tool_result", asked);
        const Outcome outcome = outcome_from(frame.text("outcome"));
        waits_ = waits_ || outcome == Outcome::Waiting;
        if (outcome != Outcome::Waiting)
            keep(frame.text("id"), frame.text("text"), outcome, frame.text("picture"));
        std::erase(asked, frame.text("id"));
    }
}

// In order, but for those that only read: of these some at once.
void Turn::run_calls(std::span<const ToolCall> calls) {
    while (!calls.empty()) {
        size_t count = 0;
        while (count < std::min(calls.size(), kTogether) && reads_only(calls[count].name)) ++count;
        count = std::max<size_t>(count, 1);
        run_together(calls.first(count));
        calls = calls.subspan(count);
    }
}

void Turn::note_progress(const std::vector<ToolCall>& calls) {
    std::string all;
    for (const ToolCall& call : calls) all += call.name + '\n' + call.arguments + '\n';
    same_calls_ = all == last_calls_ ? same_calls_ + 1 : 1;
    last_calls_ = std::move(all);
}

void Turn::reply(const std::string& text) {
    // A frame holds 1 MiB and a byte may take six in JSON: what is longer is cut, and says so.
    constexpr size_t kMaxReply = size_t{160} << 10;
    std::string shown = text.substr(0, kMaxReply);
    if (text.size() > kMaxReply) shown = json::valid_utf8(shown) + "\n[cut: the reply was longer]";
    say(json::Value::object({{"type", "reply"}, {"text", shown}}));
}

// What a model's answer means for the turn. Nothing: it goes on.
std::optional<End> Turn::settle(const ModelReply& answer) {
    using Stop = ModelReply::Stop;
    if (answer.stop != Stop::EndTurn) settle_counts();
    // What is whole already is shown, whoever says stop: it was paid for.
    const bool stop = stop_wanted();
    if (answer.cancelled || (stop && answer.stop != Stop::EndTurn)) return End{"stopped", {}};
    if (answer.spent) return End{"budget", answer.error};
    if (!answer.error.empty()) return End{"failed", answer.error, answer.down};
    if (!answer.calls.empty()) {
        std::vector<ToolCall> calls;
        for (const ToolCall& call : answer.calls) calls.push_back(unwrapped(call));
        note_progress(calls);
        // A question ends the turn: all else has its result before.
        std::stable_partition(calls.begin(), calls.end(),
                              [](const ToolCall& call) { return call.name != "ask_user"; });
        run_calls(calls);
        if (waits_) return End{"waiting", {}};
        if (stop_wanted()) return End{"stopped", {}};
        if (same_calls_ >= kSameCallLimit)
            return End{"failed", "the model repeated the same call " +
                                     std::to_string(kSameCallLimit) +
                                     " times without progress; the turn was ended"};
        return std::nullopt;
    }
    if (answer.stop == Stop::PauseTurn) {
        if (++pauses_ <= kPauseLimit) return std::nullopt;
        return End{"failed", "the model paused too often without an answer; ask again"};
    }
    if (answer.stop == Stop::MaxTokens)
        say(json::Value::object(
            {{"type", "notice"},
             {"text", "the reply reached the length limit; say \"go on\" for more"}}));
    if (answer.stop == Stop::Unknown) return End{"failed", "the model's answer could not be read"};
    reply(answer.text);
    return !stop && take_steering(Deadline()) ? std::optional<End>() : End{"done", {}};
}

End Turn::run() {
    if (entries_.back().kind == Entry::Kind::User && entries_.back().text == "/compact") return compact();
    for (;;) {
        const ModelReply answer = ask();
        // A stopped answer keeps the text that was shown; a failed one leaves no trace.
        json::Value content = answer.content;
        if (answer.cancelled) {
            content = json::Value::array();
            if (answer.text.find_first_not_of(" \t\r\n") != std::string::npos)
                content.push(json::Value::object(
                    {{"type", "text"}, {"text", answer.text + " [stopped by the user]"}}));
        }
        if (answer.error.empty() && content.is_array() && !content.items().empty())
            record({{Entry::Kind::Assistant, id_, model_origin(model_.options()), {}, content,
                     Outcome::Ok}});
        if (std::optional<End> end = settle(answer)) return *end;
        take_steering(Deadline());
        std::vector<Entry> said;
        for (const std::string& text : steering_) said.push_back(user_entry(text));
        steering_.clear();
        record(with_pictures(said, [this](const std::string& path) { return picture_at(path); }));
        if (!said.empty()) took(said.size());
    }
}

json::Value done_frame(const End& end, const std::string& model) {
    json::Value frame = json::Value::object({{"type", "done"}, {"status", end.status}});
    if (!end.error.empty()) frame.set("error", json::valid_utf8(end.error.substr(0, 4000)));
    if (end.model_down) frame.set("model_down", true);
    if (!model.empty()) frame.set("model", json::valid_utf8(model.substr(0, 200)));
    return frame;
}

// What the libraries read once the program runs: the resolver's files and the CAs.
std::vector<std::string> read_by_libraries() {
    return {"/etc", "/usr", "/run/systemd/resolve", "/dev/urandom", env("SSL_CERT_FILE")};
}

void confine(TurnNetwork network, const std::string& journals) {
    LandlockRules rules;
    rules.write = {journals};
    rules.read = {"/dev/urandom"};
    if (network == TurnNetwork::Own) {
        rules.read = read_by_libraries();
        rules.tcp = LandlockRules::Tcp::Any;
    }
    const UniqueFd paths = landlock_ruleset(rules, 1);
    const JailFilter filter = JailFilter::compile(JailClass::Turn, network == TurnNetwork::Own
                                                                       ? JailFilter::Network::Own
                                                                       : JailFilter::Network::None);
    if (::prctl(PR_SET_DUMPABLE, 0) < 0) throw ErrnoError("turn: set dumpable");
    if (on(Mechanism::LandlockTurn) && !landlock_restrict(paths.get()))
        throw ErrnoError("turn: landlock");
    if (!filter.install()) throw ErrnoError("turn: install filter");
    // What was built is run against: neither may work, and each is refused by its own wall.
    if (::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0 || errno != EACCES)
        throw Error("turn: landlock does not hold");
    if (::prctl(PR_GET_SECCOMP) >= 0 || errno != EPERM)
        throw Error("turn: the filter does not hold");
}

}  // namespace

int turn_main(TurnNetwork network, const std::string& journals) {
    FrameSocket warden(UniqueFd(kTurnFrames), Dialect::WardenToTurn, Dialect::TurnToWarden);
    try {
        confine(network, journals);
        pollfd frames{kTurnFrames, POLLIN, 0};
        if (::poll(&frames, 1, 0) == 0) HttpClient::prepare();  // nothing to do yet
        const std::optional<json::Value> start = warden.receive(Deadline::never());
        if (start && start->text("type") == "work") {
            const std::string why = journal_work(warden, *start);
            warden.send(done_frame({why.empty() ? "done" : "failed", why}, {}));
            return 0;
        }
        if (!start || start->text("type") != "start") throw Error("turn: no start frame");
        Turn turn(warden, *start, model_from(*start), network);
        const End end = turn.run();
        warden.send(done_frame(end, turn.model_name()));
        turn.settle_counts();  // gone before, we would leave an answer unread
        return end.status == "failed" ? 1 : 0;
    } catch (const Error& error) {
        warden.send(done_frame({"failed", error.what()}, {}));
        return 1;
    }
}

}  // namespace peacrab
