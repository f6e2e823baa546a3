// A mail is read from its server piece by piece, and so is what is in it: nothing of it is ever here as a whole.
#include "channels/email_file.h"

#include <algorithm>

#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kPiece = size_t{512} << 10;
constexpr size_t kLongestBoundary = 200;
constexpr Milliseconds kWhole{150'000};  // below what README.md says: the answer has to arrive in time

}  // namespace

std::string file_handle(uint32_t validity, uint32_t uid, const EmailFile& file) {
    if (file.boundary.size() > kLongestBoundary) return {};
    const char* const encoding = file.encoding == "base64" ? "b" : file.encoding == "quoted-printable" ? "q" : "-";
    return joined({std::to_string(validity), " ", std::to_string(uid), " ", std::to_string(file.start), " ", encoding, " ", file.boundary});
}

std::string PartDecoder::take(std::string_view bytes, bool last) {
    if (ended_) return {};
    held_ += bytes;
    const std::string_view mark = std::string_view(end_).substr(1);  // at the very beginning there is no line end before it
    if (!begun_ && !last && held_.size() < mark.size()) return {};
    ended_ = !begun_ && mark.size() > 2 && held_.starts_with(mark);
    begun_ = true;
    if (ended_) return {};
    size_t sure = held_.size();
    if (end_.size() > 3) {
        const size_t at = held_.find(end_);
        ended_ = at != std::string::npos;
        if (ended_) sure = at > 0 && held_[at - 1] == '\r' ? at - 1 : at;
        else if (!last) sure -= std::min(sure, end_.size() + 1);  // its beginning may be here already
    }
    if (encoding_ == "q" && !last && !ended_) {
        const size_t line = held_.rfind('\n', sure == 0 ? 0 : sure - 1);
        sure = line == std::string::npos || line >= sure ? 0 : line + 1;
        if (sure == 0 && held_.size() > kPiece * 2) throw Error("its lines have no end");
    }
    const std::string raw = held_.substr(0, sure);
    held_.erase(0, sure);
    return encoding_ == "b" ? base64_.take(raw) : encoding_ == "q" ? quoted_printable_bytes(raw) : raw;
}

void send_file(ChannelPort& port, Imap& imap, uint32_t validity, const json::Value& fetch) {
    const std::string id = fetch.text("id"), handle = fetch.text("handle");
    const std::vector<std::string> words = split(handle, ' ');
    uint64_t numbers[3] = {};
    bool good = words.size() >= 5;
    for (size_t i = 0; good && i < 3; ++i) {
        good = !words[i].empty() && words[i].size() <= 10 && words[i].find_first_not_of("0123456789") == std::string::npos;
        if (good) numbers[i] = std::stoull(words[i]);
    }
    if (!good || numbers[0] != validity) return port.not_fetched(id, "its mail is not to be found any more");
    const size_t ahead = words[0].size() + words[1].size() + words[2].size() + words[3].size() + 4;
    const auto most = static_cast<uint64_t>(std::max<int64_t>(fetch.integer("most"), 0));
    const Deadline deadline = Deadline::in(kWhole);
    PartDecoder decoder(words[3], handle.substr(ahead));
    uint64_t size = 0;
    try {
        for (uint64_t at = numbers[2]; !decoder.ended(); at += kPiece) {
            const std::optional<std::string> piece = imap.piece(static_cast<uint32_t>(numbers[1]), at, kPiece);
            if (!piece) return port.not_fetched(id, "its mail was deleted");
            const bool last = piece->size() < kPiece;
            const std::string bytes = decoder.take(*piece, last);
            size += bytes.size();
            if (size > most) return port.not_fetched(id, joined({"it is larger than ", std::to_string(most), " bytes"}));
            if (deadline.passed() || port.ended()) return port.not_fetched(id, "the mail server is too slow");
            if (!bytes.empty()) port.data(id, bytes);
            if (last) break;
        }
    } catch (const Error& error) {
        port.not_fetched(id, joined({"the mail server: ", error.what()}));
        throw;
    }
    port.fetched(id, size);
}

}  // namespace peacrab
