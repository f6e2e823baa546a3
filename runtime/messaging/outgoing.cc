// Files that are to be sent: out of the agent's workspace into the spool, checked there against what the warden said of
// them, and from there to the channel as it asks for pieces. One that cannot be sent becomes a text that says where it
// stands, and the agent is told.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "channels/turn_view.h"
#include "error.h"
#include "messaging/hub_state.h"
#include "protocols/base64.h"

namespace peacrab {
namespace {

constexpr int64_t kMostSent = int64_t{100} << 20;    // bytes of one
constexpr size_t kPiece = size_t{512} << 10;
constexpr int64_t kHorizon = 120'000;                // ms, for what comes behind it waits for it
constexpr Milliseconds kAgain{3'000}, kMoment{50}, kOpenLimit{90'000};
constexpr int64_t kMostParts = 5;
constexpr size_t kBeginning = 1'500;                 // bytes of a long answer that are shown beside its file

std::string what_it_is(const Parcel& parcel) { return one_line(parcel.name, 120) + ", " + std::to_string(parcel.size) + " bytes"; }

std::string where_it_stands(const Parcel& parcel) {
    return "it stands at " + one_line(parcel.path, 200) + " in the workspace of " + parcel.agent;
}

// As messengers count: in units of UTF-16.
int64_t length_of(const std::string& text) {
    int64_t length = 0;
    for (const char c : text) length += (c & 0xc0) != 0x80 ? (static_cast<unsigned char>(c) >= 0xf0 ? 2 : 1) : 0;
    return length;
}

// Whole paragraphs, else lines.
std::string beginning_of(const std::string& text) {
    const std::string_view front = utf8_prefix(text, kBeginning);
    for (const char* cut : {"\n\n", "\n"})
        if (const size_t end = front.rfind(cut); end != std::string_view::npos && end > kBeginning / 3) return std::string(front.substr(0, end));
    return std::string(front);
}

std::string start_of(const UniqueFd& file) {
    std::string bytes(kSniffed, '\0');
    const ssize_t n = ::pread(file.get(), bytes.data(), bytes.size(), 0);
    bytes.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
    return bytes;
}

}  // namespace

void Hub::State::enqueue_file(const PlaceRow& place, const std::string& origin, const json::Value& frame) {
    Parcel parcel{agent_of(place), frame.text("path"), {}, frame.text("sha256"), {}, std::max<int64_t>(frame.integer("size"), 0)};
    parcel.name = safe_file_name(parcel.path, {});
    const std::string text = "[file " + what_it_is(parcel) + ": " + where_it_stands(parcel) + "]";
    if (options.open_files) post.enqueue_file(place.id, origin, text, parcel);
    else post.enqueue(place.id, origin, text);
}

// What would be more than five messages is a file, with its beginning before it, where files are taken.
void Hub::State::enqueue_reply(const PlaceRow& place, const std::string& origin, const std::string& text) {
    if (post.has_delivery(origin)) return;  // told again: it stays what it was made
    const Channel* const channel = channel_of(place);
    const bool files = channel && channel->ready && channel->limits.files >= static_cast<int64_t>(text.size()) && channel->limits.text > 0;
    if (!options.open_files || !files || length_of(text) <= kMostParts * channel->limits.text) {
        post.enqueue(place.id, origin, text);
        return;
    }
    try {
        SpoolFile file(spool, "reply-" + sha256_hex(place.channel + origin).substr(0, 24));
        file.write(text);
        file.sync();
        const Parcel parcel{agent_of(place), {}, "answer.md", file.sha256(), file.name(), static_cast<int64_t>(file.size())};
        post.together([&] {
            post.enqueue(place.id, origin, beginning_of(text) + "\n\n... (the whole answer is in the file answer.md)");
            post.enqueue_file(place.id, "f:" + origin, "[answer.md could not be sent: ask for the answer in parts]", parcel);
        });
        file.keep();
    } catch (const Error& error) {  // no room for a file: then in parts
        log(LogLevel::Error, error.what());
        post.enqueue(place.id, origin, text);
    }
}

void Hub::State::begin_export(Chat& chat) {
    const std::optional<PlaceRow> place = post.place(chat.place);
    const Channel* const channel = channel_of(*place);
    if (!channel || channel->limits.files == 0)
        return answer(chat.place, "Files cannot be sent here; `peacrab export " + chat.session + "` does it on the host.");
    if (!chat.asked.empty()) return answer(chat.place, "One thing at a time.");
    chat.exported = std::make_unique<SpoolFile>(spool, "export-" + random_hex(12));
    chat.asked = "export";
    chat.warden->send(json::Value::object(
        {{"type", "export"}, {"agent", agent_of(*place)}, {"session", chat.session}, {"form", "md"}}));
}

void Hub::State::on_export(Chat& chat, const json::Value& frame) {
    if (!chat.exported) return;
    const std::optional<PlaceRow> place = post.place(chat.place);
    const Channel* const channel = channel_of(*place);
    SpoolFile& file = *chat.exported;
    std::string fault;
    bool sent = false;
    try {
        if (frame.text("type") == "part") {
            const std::string text = frame.text("text");
            const int64_t most = std::min(channel ? channel->limits.files : 0, kMostSent);
            if (static_cast<int64_t>(file.size() + text.size()) > most) throw Error("it is too long to be sent here");
            file.write(text);
            return chat.warden->send(json::Value::object({{"type", "more"}}));
        }
        fault = one_line(frame.text("why"), 300);
        if (file.size() > 0) {
            file.sync();
            const std::string name = "conversation-" + chat.session + ".md";
            const Parcel parcel{agent_of(*place), {}, name, file.sha256(), file.name(), static_cast<int64_t>(file.size())};
            post.enqueue_file(chat.place, "x:" + file.name(), "[" + name + " could not be sent]", parcel);
            file.keep();
            sent = true;
        }
    } catch (const Error& error) {
        fault = one_line(error.what(), 300);
    }
    const int64_t at = chat.place;
    chat.asked.clear();
    chat.exported.reset();
    if (!fault.empty()) answer(at, (sent ? "The export is not whole: " : "No export: ") + fault + ".");
    if (const std::optional<PlaceRow> row = post.place(at)) pump(row->channel);
    if (frame.text("type") == "part") return retry(chat, Milliseconds(0));  // the rest of it is not wanted
    advance(at);
}

bool Hub::State::parcel_ready(Channel& channel, const PlaceRow& place, int64_t delivery) {
    const std::optional<Parcel> parcel = post.parcel(delivery);
    if (!parcel) return true;
    std::string fault;
    if (channel.limits.files == 0) fault = "files cannot be sent here";
    else if (parcel->size == 0) fault = "it is empty";
    else if (parcel->size > std::min(channel.limits.files, kMostSent)) fault = "it is too large to be sent here";
    if (!fault.empty()) {
        no_parcel(delivery, fault);
        return true;
    }
    if (!parcel->spool.empty()) try {
        struct stat info;
        const UniqueFd file = spool.open(parcel->spool);
        if (::fstat(file.get(), &info) == 0 && info.st_size == parcel->size) return true;
    } catch (const Error&) {  // the folder was cleared
    }
    if (parcel->path.empty()) {
        no_parcel(delivery, "it is not there any more");
        return true;
    }
    fetch_parcel(place, delivery, *parcel);
    return false;
}

void Hub::State::fetch_parcel(const PlaceRow& place, int64_t delivery, const Parcel& parcel) {
    std::unique_ptr<Outgoing>& one = outgoing[delivery];
    if (!one) one = std::make_unique<Outgoing>();
    if (one->stream || one->opening || one->timer) return;
    if (std::any_of(outgoing.begin(), outgoing.end(), [](const auto& other) { return other.second->stream || other.second->opening; })) {
        one->timer = loop.after(kMoment, [this, delivery, name = place.channel] {
            if (const auto again = outgoing.find(delivery); again != outgoing.end()) again->second->timer = 0;
            pump(name);
        });
        return;
    }
    const auto done = [this, delivery, parcel, name = place.channel](const WorkspaceStream::Result& result) {
        const auto found = outgoing.find(delivery);
        if (found == outgoing.end()) return;
        Outgoing& here = *found->second;
        const std::optional<DeliveryRow> row = post.delivery(delivery);
        if (result.cut && row && unix_ms() - row->created < kHorizon) {
            here.stream.reset();
            here.file.reset();
            here.timer = loop.after(kAgain, [this, delivery, name] {
                if (const auto again = outgoing.find(delivery); again != outgoing.end()) again->second->timer = 0;
                pump(name);
            });
            return;
        }
        const std::unique_ptr<Outgoing> ended(std::move(found->second));
        outgoing.erase(found);
        std::string why = result.why;
        if (result.ok && (std::cmp_not_equal(ended->file->size(), parcel.size) || ended->file->sha256() != parcel.sha256))
            why = "it has changed since";
        if (!why.empty()) {
            no_parcel(delivery, why);
        } else {
            post.set_spool(delivery, ended->file->name());
            ended->file->keep();
        }
        pump(name);
    };
    const auto not_now = [this, delivery, done](const std::string& error) {
        outgoing.at(delivery)->timer = loop.after(Milliseconds(0), [this, delivery, done, why = one_line(error, 200)] {
            if (const auto again = outgoing.find(delivery); again != outgoing.end()) again->second->timer = 0;
            done({false, true, why});
        });
    };
    const auto begin = [this, delivery, size = parcel.size, done, not_now](UniqueFd fd, const std::string& why) {
        const auto found = outgoing.find(delivery);
        if (found == outgoing.end()) return;
        Outgoing& here = *found->second;
        here.opening.reset();
        if (!why.empty()) return not_now(why);
        try {
            here.file = std::make_unique<SpoolFile>(spool, "out-" + std::to_string(delivery));
            here.stream = WorkspaceStream::get(loop, std::move(fd), static_cast<uint64_t>(size),
                                               [file = here.file.get()](std::string_view bytes) { file->write(bytes); }, done);
        } catch (const Error& error) {
            not_now(error.what());
        }
    };
    try {
        reach(one->opening, kOpenLimit, [open = options.open_files, parcel] { return open(parcel.agent, "get", parcel.path); }, begin);
    } catch (const Error& error) {
        not_now(error.what());
    }
}

void Hub::State::no_parcel(int64_t delivery, const std::string& why) {
    const std::optional<Parcel> parcel = post.parcel(delivery);
    const std::optional<DeliveryRow> row = post.delivery(delivery);
    if (!parcel || !row) return;
    post.together([&] {
        if (parcel->path.empty()) return post.instead_of_file(delivery, row->text);
        post.instead_of_file(delivery, "[the file " + what_it_is(*parcel) + ", could not be sent: " + why + "; " + where_it_stands(*parcel) + "]");
        post.note(row->place, "[Your file " + one_line(parcel->path, 200) + " was not sent: " + why + "; the person was told where it stands]");
    });
    spool.remove(parcel->spool);
}

json::Value Hub::State::parcel_frame(const Parcel& parcel) {
    const FileKind kind = file_kind(start_of(spool.open(parcel.spool)));
    return json::Value::object({{"name", parcel.name}, {"mime", kind.mime}, {"size", parcel.size}, {"kind", kind.kind}});
}

void Hub::State::on_want(Channel& channel, const json::Value& frame) {
    const std::string id = frame.text("id");
    const int64_t at = frame.integer("at");
    const auto under_way = std::find_if(channel.under_way.begin(), channel.under_way.end(),
                                        [&](const auto& one) { return std::to_string(one.first) == id; });
    if (under_way == channel.under_way.end()) throw Error("channel: want: nothing of that id is under way");
    const std::optional<Parcel> parcel = post.parcel(under_way->first);
    if (!parcel || at < 0 || at >= parcel->size) throw Error("channel: want: there is no such piece");
    std::string bytes(std::min<size_t>(kPiece, static_cast<size_t>(parcel->size - at)), '\0');
    ssize_t n = 0;
    try {
        n = ::pread(spool.open(parcel->spool).get(), bytes.data(), bytes.size(), at);
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
    }
    bytes.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
    under_way->second = Clock::now();
    channel.port->send(json::Value::object({{"type", "data"}, {"id", id}, {"at", at}, {"data", base64(bytes)}}));
}

void Hub::State::delivered(int64_t delivery) {
    if (const std::optional<Parcel> parcel = post.parcel(delivery)) spool.remove(parcel->spool);
}

}  // namespace peacrab
