// What is to go out is made as the stream takes it. The verdict is the last line; of a child that refuses it may come
// before everything was sent.
#include "messaging/workspace_stream.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "channels/turn_view.h"
#include "error.h"
#include "json.h"

namespace peacrab {
namespace {

constexpr size_t kPiece = size_t{128} << 10;
constexpr size_t kLongestLine = 8192;

}  // namespace

WorkspaceStream::WorkspaceStream(Loop& loop, UniqueFd stream, Done done) : loop_(loop), stream_(std::move(stream)), done_(std::move(done)) {
    set_nonblocking(stream_.get());
}

WorkspaceStream::~WorkspaceStream() {
    loop_.cancel(timer_);
    if (stream_) loop_.forget(stream_.get());
}

std::unique_ptr<WorkspaceStream> WorkspaceStream::put(Loop& loop, UniqueFd stream, UniqueFd file, uint64_t size, const std::string& name,
                                                      Done done) {
    std::unique_ptr<WorkspaceStream> made(new WorkspaceStream(loop, std::move(stream), std::move(done)));
    made->file_ = std::move(file);
    made->left_ = size;
    made->all_out_ = false;
    made->writer_ = std::make_unique<TarWriter>([out = &made->out_](std::string_view bytes) { out->append(bytes); });
    made->writer_->begin({TarEntry::Kind::File, name, "", 0644, size, std::time(nullptr)});
    made->watch();
    return made;
}

std::unique_ptr<WorkspaceStream> WorkspaceStream::get(Loop& loop, UniqueFd stream, uint64_t most, std::function<void(std::string_view)> take,
                                                      Done done) {
    std::unique_ptr<WorkspaceStream> made(new WorkspaceStream(loop, std::move(stream), std::move(done)));
    ::shutdown(made->stream_.get(), SHUT_WR);  // no paths: the one that was named
    const auto begin = [made = made.get()](const TarEntry& entry) {
        if (entry.kind != TarEntry::Kind::File || ++made->files_ > 1) throw Error("it is no file");
    };
    made->reader_ = std::make_unique<TarReader>(TarReader::Handlers{.begin = begin, .data = std::move(take)},
                                                TarLimits{.entries = 4, .file = Bytes{most}, .total = Bytes{most}});
    made->watch();
    return made;
}

void WorkspaceStream::watch() {
    loop_.watch(stream_.get(), static_cast<short>(all_out_ ? POLLIN : POLLIN | POLLOUT), [this](short revents) { ready(revents); });
    loop_.cancel(timer_);
    timer_ = loop_.after(kSilence, [this] {
        timer_ = 0;
        end({false, true, "the machine of the agent does not answer"});
    });
}

void WorkspaceStream::ready(short revents) {
    try {
        if (whole_.passed()) throw Error("the machine of the agent is too slow");
        if (revents & POLLOUT) flush();
        if (stream_ && (revents & (POLLIN | POLLHUP | POLLERR))) read();
        if (stream_) watch();
    } catch (const Error& error) {
        end({false, false, error.what()});
    }
}

void WorkspaceStream::fill() {
    std::array<char, 65536> bytes;
    while (left_ > 0 && out_.size() < kPiece) {
        const size_t n = read_some(file_.get(), {bytes.data(), std::min<size_t>(bytes.size(), left_)}).value_or(0);
        if (n == 0) throw Error("what was fetched of it is gone");
        writer_->data({bytes.data(), n});
        left_ -= n;
    }
    if (left_ > 0 || !writer_) return;
    writer_->finish();
    writer_.reset();
}

void WorkspaceStream::flush() {
    for (;;) {
        if (writer_) fill();
        if (out_.empty()) break;
        const ssize_t n = ::send(stream_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0) break;  // its verdict says why
        out_.erase(0, static_cast<size_t>(n));
    }
    all_out_ = true;
    ::shutdown(stream_.get(), SHUT_WR);
}

void WorkspaceStream::read() {
    std::array<char, 65536> bytes;
    std::optional<size_t> n = 0;
    try {
        n = read_some(stream_.get(), bytes);
    } catch (const ErrnoError&) {  // reset
    }
    if (!n) return;
    if (*n == 0) return end({false, true, "the connection to the agent's machine was cut"});
    take({bytes.data(), *n});
}

void WorkspaceStream::take(std::string_view bytes) {
    while (!bytes.empty() && stream_) {
        if (announced_ && reader_ && !reader_->ended()) {
            bytes.remove_prefix(reader_->feed(bytes));
            continue;
        }
        const size_t end_of_line = bytes.find('\n');
        line_ += bytes.substr(0, end_of_line);
        if (line_.size() > kLongestLine) throw Error("the machine of the agent says what cannot be read");
        if (end_of_line == std::string_view::npos) return;
        bytes.remove_prefix(end_of_line + 1);
        line(std::exchange(line_, {}));
    }
}

void WorkspaceStream::line(const std::string& text) {
    if (!text.starts_with('{')) {
        if (!reader_ || announced_) throw Error("the machine of the agent says what cannot be read");
        announced_ = true;
        return;
    }
    const json::Value verdict = json::parse(text, {kLongestLine, 2});
    if (verdict.find("missing") && verdict.flag("missing")) return end({false, false, "it is not there any more"});
    const std::string why = verdict.text("why", "it could not be done");
    if (!verdict.flag("ok")) return end({false, why.find("on their way already") != std::string::npos, one_line(why, 300)});
    if (reader_ && (!reader_->ended() || files_ != 1)) return end({false, false, "it is no file, or not there any more"});
    end({true, false, {}});
}

void WorkspaceStream::end(Result result) {
    if (!stream_) return;
    loop_.forget(stream_.get());
    loop_.cancel(std::exchange(timer_, 0));
    stream_.reset();
    loop_.after(Milliseconds(0), [done = std::move(done_), result = std::move(result)] { done(result); });
}

}  // namespace peacrab
