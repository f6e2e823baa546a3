// What came with a message, on its way into the agent's workspace. Whatever goes wrong becomes a sentence for the
// model, and the message goes on: it is never lost for the sake of a file. Nothing but that sentence is written down;
// who is killed on the way fetches again, and puts it under the same name.
#include <algorithm>
#include <ctime>

#include "builtins/picture.h"
#include "channels/turn_view.h"
#include "error.h"
#include "messaging/hub_state.h"
#include "trust.h"

namespace peacrab {
namespace {

constexpr int64_t kMostFetched = int64_t{20} << 20;  // bytes of one
constexpr size_t kMostHeld = 4;
constexpr long kMostListening = 2;
constexpr size_t kMostSpeech = size_t{16} << 10;
constexpr Milliseconds kSilence{20'000};               // as channels/README.md says
constexpr Milliseconds kWhole{180'000};
constexpr Milliseconds kPatience{120'000};  // with a channel that is not there
constexpr Milliseconds kAgain{2'000};
constexpr Milliseconds kMoment{50};
constexpr Milliseconds kOpenLimit{90'000};
constexpr int kMostTries = 3;
constexpr const char* kNotAsked = "the messenger could not be asked for it";
constexpr const char* kStalled = "the messenger did not go on sending it";

std::string day() {
    const time_t now = ::time(nullptr);
    tm parts{};
    ::gmtime_r(&now, &parts);
    char text[16];
    return {text, ::strftime(text, sizeof text, "%Y-%m-%d", &parts)};
}

std::string in_brackets(std::string text) {
    std::replace(text.begin(), text.end(), ']', ')');
    std::replace(text.begin(), text.end(), '[', '(');
    return text;
}

// Whether a model can be shown it; "" or what to do about it.
std::string picture_fault(const Spool& spool, const SpoolFile& file) try {
    if (file.size() > kMaxPicture) throw Error("larger than you can be shown: make it smaller with shell (convert, ffmpeg)");
    const std::string bytes = read_all(spool.open(file.name()).get(), kMaxPicture);
    (void)picture_of(picture_kind(bytes).value_or(PictureKind{"", 0, 0}), bytes);
    return {};
} catch (const Error& error) {
    return error.what();
}

std::string type_of(std::string_view mime) { return std::string(mime.substr(0, mime.find('/'))); }

}  // namespace

// In place of what was to be done with it before.
void Hub::State::later(Incoming& one, Milliseconds span, std::function<void(Incoming& one)> what) {
    loop.cancel(one.timer);
    one.timer = loop.after(span, [this, number = one.row.row, what = std::move(what)] {
        const auto found = incoming.find(number);
        if (found == incoming.end()) return;
        found->second->timer = 0;
        what(*found->second);
    });
}

// Of who is not known yet only a few: nothing of a stranger's may pile up.
void Hub::State::take_files(const PlaceRow& place, int64_t arrival, const Event& event, bool held) {
    size_t count = 0;
    for (const EventFile& file : event.files)
        if (!file.handle.empty() && (!held || ++count <= kMostHeld)) post.add_file(place.id, arrival, file);
}

std::string Hub::State::with_files(const ArrivalRow& row, std::string text) {
    for (const FileRow& file : post.files_of(row.row)) text += (text.empty() ? "" : "\n") + file.line;
    return text;
}

bool Hub::State::all_here(const PlaceRow& place, const ArrivalRow& row) {
    if (!options.open_files) return true;
    bool all = true;
    for (const FileRow& file : post.files_of(row.row)) {
        if (!file.line.empty()) continue;
        all = false;
        if (incoming.contains(file.row)) continue;
        auto made = std::make_unique<Incoming>();
        made->row = file;
        made->channel = place.channel;
        Incoming& one = *(incoming[file.row] = std::move(made));
        later(one, kPatience, [this](Incoming& late) { not_here(late, kNotAsked); });
    }
    if (all) return true;
    if (Channel* const channel = channel_of(place)) fetch_next(*channel);
    return false;
}

void Hub::State::fetch_next(Channel& channel) {
    if (!channel.ready || channel.fetching != 0) return;
    const auto next = std::find_if(incoming.begin(), incoming.end(), [&](const auto& one) {
        return one.second->step == Incoming::Step::Waits && one.second->channel == channel.options.name;
    });
    if (next == incoming.end()) return;
    Incoming& one = *next->second;
    one.step = Incoming::Step::Comes;
    if (one.row.file.size > kMostFetched)
        return not_here(one, "larger than " + std::to_string(kMostFetched >> 20) + " MiB, which is the most that is taken");
    if (!room_for(one)) return too_much(one);
    try {
        one.file = std::make_unique<SpoolFile>(spool, "in-" + std::to_string(one.row.row));
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
        return not_here(one, "it could not be kept");
    }
    channel.fetching = one.row.row;
    one.number = std::to_string(one.row.row) + "." + std::to_string(++fetches);
    one.since = Clock::now();
    one.beginning.clear();
    later(one, kSilence, [this](Incoming& late) { not_here(late, kStalled); });
    channel.port->send(json::Value::object({{"type", "fetch"},
                                            {"id", one.number},
                                            {"handle", one.row.file.handle},
                                            {"most", one.most}}));
}

// Of what its sender may send within a day.
bool Hub::State::room_for(Incoming& one) {
    one.most = kMostFetched;
    const std::optional<ArrivalRow> of = post.arrival(one.row.arrival);
    const std::optional<int64_t> most = Door::most_of_files(of ? door.role_of(one.channel, of->sender) : Role::None);
    if (!most) return true;
    one.most = std::min(kMostFetched, *most - post.bytes_taken(one.channel, of ? of->sender : ""));
    return one.most > 0 && one.row.file.size <= one.most;
}

// The agent is told of each, the person once a day.
void Hub::State::too_much(Incoming& one) {
    const std::optional<ArrivalRow> of = post.arrival(one.row.arrival);
    const Role role = of ? door.role_of(one.channel, of->sender) : Role::None;
    const std::string of_whom = std::to_string(Door::most_of_files(role).value_or(0) >> 20) + " MiB for a " + role_name(role);
    if (of)
        post.enqueue(one.row.place, "q:" + std::to_string(one.row.place) + ":" + day() + ":" + of->sender,
                     "That was too much for a day: of files it is " + of_whom +
                         ". What you write is read; files that are more than that are not taken today.");
    not_here(one, "they have sent too many files within a day, it is " + of_whom);
}

void Hub::State::on_data(Channel& channel, const json::Value& frame) {
    const auto found = incoming.find(channel.fetching);
    if (channel.fetching == 0 || found == incoming.end() || frame.text("id") != found->second->number) return;
    Incoming& one = *found->second;
    // It is at work for us: what it has to deliver meanwhile waits.
    for (auto& [row, since] : channel.under_way) since = Clock::now();
    const std::string bytes = decode_base64(frame.text("data"));
    if (std::cmp_greater(one.file->size() + bytes.size(), one.most))
        return one.most < kMostFetched ? too_much(one) : not_here(one, "larger than 20 MiB, which is the most that is taken");
    if (Clock::now() - one.since > kWhole) return not_here(one, "the messenger sends it too slowly");
    try {
        one.file->write(bytes);
    } catch (const Error& error) {
        return not_here(one, error.what());
    }
    if (one.beginning.size() < kSniffed) one.beginning += bytes.substr(0, kSniffed - one.beginning.size());
    later(one, kSilence, [this](Incoming& late) { not_here(late, kStalled); });
}

void Hub::State::on_fetched(Channel& channel, const json::Value& frame) {
    const auto found = incoming.find(channel.fetching);
    if (channel.fetching == 0 || found == incoming.end() || frame.text("id") != found->second->number) return;
    Incoming& one = *found->second;
    if (const std::string why = frame.text("error"); !why.empty()) return not_here(one, one_line(why, 200));
    if (frame.integer("size") != static_cast<int64_t>(one.file->size())) return not_here(one, "it did not arrive whole");
    if (one.file->size() == 0) return not_here(one, "it is empty: 0 bytes");
    if (const std::optional<ArrivalRow> of = post.arrival(one.row.arrival)) post.note_taken(one.row, *of, frame.integer("size"));
    channel.fetching = 0;
    loop.cancel(std::exchange(one.timer, 0));
    file_here(one);
    fetch_next(channel);
}

// The channel has ended in the middle of it.
void Hub::State::fetch_cut(const std::string& channel) {
    for (auto& [number, one] : incoming) {
        if (one->channel != channel || one->step != Incoming::Step::Comes) continue;
        one->file.reset();
        one->step = Incoming::Step::Waits;
        const bool over = ++one->tries >= kMostTries;
        later(*one, over ? Milliseconds(0) : kPatience, [this](Incoming& late) { not_here(late, kNotAsked); });
    }
}

void Hub::State::forget_files() {
    for (const auto& [number, one] : incoming) loop.cancel(one->timer);
    for (const auto& [delivery, one] : outgoing) loop.cancel(one->timer);
    incoming.clear();
    outgoing.clear();
    for (const auto& [name, channel] : channels) channel->fetching = 0;
}

// In the spool. What was spoken is read first.
void Hub::State::file_here(Incoming& one) try {
    one.step = Incoming::Step::Here;
    const FileKind kind = file_kind(one.beginning);
    if (!one.row.file.voice) return put_file(one);
    const auto listening = std::count_if(incoming.begin(), incoming.end(), [](const auto& other) { return other.second->transcription != nullptr; });
    if (listening >= kMostListening) return later(one, kAgain, [this](Incoming& again) { file_here(again); });
    if (!options.voice) {
        if (const std::optional<PlaceRow> place = post.place(one.row.place); place && !place->group)
            post.enqueue(place->id, "v:" + std::to_string(place->id),
                         "I cannot listen to voice messages yet. Who runs me can set a command or a service for it, under `voice:` in the "
                         "configuration; README.md shows how.");
        one.said = "it could not be listened to: nothing is set up for that";
        return put_file(one);
    }
    try {
        const int64_t number = one.row.row;
        one.transcription = std::make_unique<Transcription>(
            loop, options.voice, spool.open(one.file->name()), kind.extension, [this, number](const std::string& text, const std::string& why) {
                const auto found = incoming.find(number);
                if (found == incoming.end()) return;
                found->second->transcription.reset();
                if (!why.empty()) log(LogLevel::Error, "voice: " + why);
                found->second->speech = one_line(text, kMostSpeech);
                found->second->said = !why.empty()   ? "it could not be listened to: the program or service for that failed"
                                      : text.empty() ? "nothing is said in it"
                                                     : "";
                put_file(*found->second);
            });
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
        one.said = "it could not be listened to: the program or service for that could not be started";
        put_file(one);
    }
} catch (const Error& error) {
    log(LogLevel::Error, error.what());
    not_here(one, "it could not be kept");
}

void Hub::State::put_file(Incoming& one) {
    const std::optional<PlaceRow> place = post.place(one.row.place);
    if (!place) return settle(one, "[a file that is not here]");
    // One at a time: the agent's side takes two, and one may be a file that is to be sent.
    if (std::any_of(incoming.begin(), incoming.end(), [](const auto& other) { return other.second->stream || other.second->opening; }))
        return later(one, kMoment, [this](Incoming& again) { put_file(again); });
    const FileKind kind = file_kind(one.beginning);
    const std::string path = post.name_file(one.row.row, "inbox/" + day() + "-" + safe_file_name(one.row.file.name, kind));
    const int64_t number = one.row.row;
    const auto done = [this, number, path, kind](const WorkspaceStream::Result& result) {
        const auto found = incoming.find(number);
        if (found == incoming.end()) return;
        Incoming& here = *found->second;
        here.stream.reset();
        if (result.cut && ++here.tries < kMostTries) {
            return later(here, kAgain, [this](Incoming& again) { put_file(again); });
        }
        if (!result.ok) return not_here(here, "it could not be put into your workspace: " + result.why);
        const std::string declared = one_line(here.row.file.mime, 60);
        const bool picture = kind.kind == std::string_view("picture");
        const std::string fault = picture ? picture_fault(spool, *here.file) : std::string();
        std::string line = path + ", " + kind.mime + ", " + std::to_string(here.file->size()) + " bytes";
        if (type_of(declared) != type_of(kind.mime) && type_of(declared) == "image") line += "; it was declared to be " + in_brackets(declared);
        if (!fault.empty()) line += "; " + fault;
        line = (here.row.file.voice ? "[voice message: " : picture && fault.empty() ? "[picture: " : "[file: ") + line;
        if (!here.said.empty()) line += "; " + here.said;
        settle(here, line + (here.speech.empty() ? "]" : "] They say: " + here.speech));
    };
    const auto begin = [this, number, path, done](UniqueFd fd, const std::string& why) {
        const auto found = incoming.find(number);
        if (found == incoming.end()) return;
        Incoming& here = *found->second;
        here.opening.reset();
        if (!why.empty()) return done({false, true, one_line(why, 200)});
        try {
            here.stream = WorkspaceStream::put(loop, std::move(fd), spool.open(here.file->name()), here.file->size(),
                                               path.substr(path.find('/') + 1), done);
        } catch (const Error& error) {
            done({false, true, one_line(error.what(), 200)});
        }
    };
    try {
        reach(one.opening, kOpenLimit, [open = options.open_files, agent = agent_of(*place)] { return open(agent, "put", "inbox"); }, begin);
    } catch (const Error& error) {
        begin({}, error.what());
    }
}

void Hub::State::not_here(Incoming& one, const std::string& why) {
    const EventFile& file = one.row.file;
    std::string line = in_brackets(one_line(file.name, 100)) + " (" + in_brackets(one_line(file.mime, 60));
    if (file.size > 0) line += ", " + std::to_string(file.size) + " bytes";
    settle(one, "[a file is not here: " + line + "): " + in_brackets(why) + "]");
}

void Hub::State::settle(Incoming& one, const std::string& line) {
    const int64_t number = one.row.row, place = one.row.place;
    try {
        post.settle_file(number, line);
    } catch (const Error& error) {  // a full disk: there will be room again
        log(LogLevel::Error, error.what());
        one.step = Incoming::Step::Here;
        return later(one, kAgain, [this, line](Incoming& again) { settle(again, line); });
    }
    const auto channel = channels.find(one.channel);
    if (channel != channels.end() && channel->second->fetching == number) channel->second->fetching = 0;
    const auto found = incoming.find(number);
    std::shared_ptr<Incoming> gone(std::move(found->second));  // it may be its own stream that says so
    incoming.erase(found);
    loop.cancel(gone->timer);
    loop.after(Milliseconds(0), [this, gone, place, name = gone->channel] {
        if (const auto next = channels.find(name); next != channels.end()) fetch_next(*next->second);
        advance(place);
    });
}

}  // namespace peacrab
