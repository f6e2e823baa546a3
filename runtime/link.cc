// The link protocol without any I/O: bytes of the peer in, events and bytes for the peer out.
//
// Either end may be lost to an attacker, and the pipe between may start anywhere: in the middle of
// an old frame, after a boot message, before the other side exists. So nothing is believed before
// the epoch is agreed on by a nonce, every length and id is checked against what this side granted,
// and each buffer has a bound. It must not block, allocate by a number the peer names, or take
// payload of a stream for a frame while frames follow each other without a gap.
#include "link.h"

#include <algorithm>
#include <cassert>

#include "error.h"

namespace peacrab {

namespace {

constexpr std::string_view kMagic = "PCLK";
constexpr size_t kNonce = 16;
constexpr size_t kCreditStep = Link::kWindow / 4;  // smaller returns would cost a frame each
constexpr size_t kTurn = size_t{8} << 10;          // a stream's share of a batch others wait for
constexpr size_t kMinPiece = size_t{1} << 10;      // not worth a header below that

constexpr std::string_view kHostKinds[] = {"control", "chat", "files", "port", "skills"};
constexpr std::string_view kGuestKinds[] = {"model", "egress", "search", "audit", "log", "notify"};

bool may_open(Link::Side side, std::string_view kind) {
    const auto has = [kind](const auto& kinds) {
        return std::find(std::begin(kinds), std::end(kinds), kind) != std::end(kinds);
    };
    return side == Link::Side::Host ? has(kHostKinds) : has(kGuestKinds);
}

uint32_t get_u32(std::string_view bytes) {
    uint32_t value = 0;
    for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
    return value;
}

void put_u32(std::string& out, uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(value >> shift & 0xff);
}

// Where the magic is, or where the end of `bytes` could be its beginning.
size_t find_magic(std::string_view bytes) {
    const size_t found = bytes.find(kMagic);
    if (found != std::string_view::npos) return found;
    for (size_t tail = std::min(bytes.size(), kMagic.size() - 1); tail > 0; --tail) {
        if (bytes.substr(bytes.size() - tail) == kMagic.substr(0, tail)) return bytes.size() - tail;
    }
    return bytes.size();
}

[[noreturn]] void breach(StreamId id, const char* why) {
    throw Error("link: stream " + std::to_string(id) + ": " + why);
}

}  // namespace

Link::Link(Side side) : side_(side), next_own_(side == Side::Host ? 1 : 2) {}

void Link::attach(uint32_t epoch, std::string_view nonce16) {
    assert(side_ == Side::Host && nonce16.size() == kNonce);
    begin_epoch(epoch, nonce16);
    attached_ = false;
    begun_ = true;
    attach_due_ = true;
    filler_due_ = epoch != 1;
}

void Link::repeat_attach() {
    if (begun_ && !attached_) attach_due_ = true;
}

void Link::set_hello(std::string hello) {
    if (hello.size() > kMaxHello) throw Error("link: hello: longer than 8 KiB");
    hello_ = std::move(hello);
}

// What has been handed to the pipe in part goes out to the end of its frame, or the peer would
// take the next frame for the rest of it.
void Link::begin_epoch(uint32_t epoch, std::string_view nonce) {
    const auto end = std::lower_bound(ends_.begin(), ends_.end(), out_at_);
    out_.resize(out_at_ == 0 || end == ends_.end() ? out_at_ : *end);
    ends_.clear();
    ends_.push_back(out_.size());
    epoch_ = epoch;
    nonce_ = nonce;
    streams_.clear();
    next_own_ = side_ == Side::Host ? 1 : 2;
    last_peer_ = 0;
    events_.clear();
    event_bytes_ = 0;
    control_.clear();
    control_bytes_ = 0;
    credits_.clear();
    ready_.clear();
}

// ---- bytes in

void Link::receive(std::string_view bytes) {
    if (broken_) throw Error("link: the peer broke the protocol before");
    broken_ = true;  // until this has ended well
    if (in_.empty()) {
        in_.assign(bytes.substr(parse(bytes)));
    } else {
        in_.append(bytes);
        in_.erase(0, parse(in_));
    }
    broken_ = false;
}

bool Link::next(Event& event) {
    if (events_.empty()) return false;
    event = std::move(events_.front());
    events_.pop_front();
    event_bytes_ -= event.text.size() + event.meta.size();
    return true;
}

void Link::push(Event event) {
    event_bytes_ += event.text.size() + event.meta.size();
    events_.push_back(std::move(event));
}

// Gives how many bytes are done with; the rest is an incomplete frame.
size_t Link::parse(std::string_view bytes) {
    size_t at = 0;
    while (true) {
        const size_t gap = find_magic(bytes.substr(at));
        skip(gap);
        at += gap;
        const std::string_view rest = bytes.substr(at);
        if (rest.size() < kHeader) return at;
        const auto low = static_cast<uint8_t>(rest[6]);
        const auto high = static_cast<uint8_t>(rest[7]);
        const Header header = {static_cast<uint8_t>(rest[4]), static_cast<uint8_t>(rest[5]),
                               static_cast<uint16_t>(low | high << 8), get_u32(rest.substr(8)),
                               get_u32(rest.substr(12))};
        const size_t used = parse_frame(header, rest);
        if (used == 0) return at;
        at += used;
    }
}

// Gives how many bytes of `bytes` are done with; 0: the frame is not whole yet.
size_t Link::parse_frame(const Header& header, std::string_view bytes) {
    const bool well_formed = header.zero == 0 && header.type >= uint8_t(Type::Attach) &&
                             header.type <= uint8_t(Type::Reset) && header.length <= kMaxPayload;
    if (!well_formed) {
        skip(1);
        return 1;
    }
    if (!attached_) {
        const size_t needed = kHeader + kNonce;
        if (is_greeting(header) && bytes.size() < needed) return 0;
        if (!is_greeting(header) ||
            (side_ == Side::Host && bytes.substr(kHeader, kNonce) != nonce_)) {
            // Looks like a frame of an old epoch. It is searched nevertheless: its header may be
            // some stream's payload, and must not hide the greeting behind a length.
            excused_ = std::max(excused_, kHeader + header.length);
            skip(1);
            return 1;
        }
    }
    if (bytes.size() < kHeader + header.length) return 0;
    skipped_ = 0;
    excused_ = 0;
    take(header, bytes.substr(kHeader, header.length));
    return kHeader + header.length;
}

void Link::skip(size_t bytes) {
    const size_t frames = std::min(bytes, excused_);
    excused_ -= frames;
    skipped_ += bytes - frames;
    garbage_ += bytes - frames;
    if (skipped_ > kMaxGarbage) throw Error("link: too many bytes that are no frames");
}

// What the side that is not attached waits for.
bool Link::is_greeting(const Header& header) const {
    if (header.stream != 0) return false;
    if (side_ == Side::Guest) {
        return header.type == uint8_t(Type::Attach) && header.length == kNonce;
    }
    return begun_ && header.type == uint8_t(Type::Attached) && header.epoch == epoch_ &&
           header.length >= kNonce;
}

void Link::take(const Header& header, std::string_view payload) {
    const auto type = static_cast<Type>(header.type);
    if (type == Type::Attach && side_ == Side::Guest) return take_attach(header, payload);
    if (header.epoch != epoch_) return;
    if (type == Type::Attached && side_ == Side::Host) return take_attached(header, payload);
    if (type == Type::Attach || type == Type::Attached)
        breach(header.stream, "attach turned round");
    if (type == Type::Open) return take_open(header.stream, payload);

    const StreamId id = header.stream;
    const bool own = id % 2 == next_own_ % 2;
    if (id == 0 || (own ? id >= next_own_ : id > last_peer_)) breach(id, "never opened");
    const auto it = streams_.find(id);
    if (it == streams_.end()) return;  // was on its way when the stream ended
    switch (type) {
        case Type::Data:
            return take_data(id, it->second, payload);
        case Type::Credit:
            return take_credit(id, it->second, payload);
        case Type::Finish:
            return take_finish(it, payload);
        default:
            return take_reset(it, payload);
    }
}

void Link::take_attach(const Header& header, std::string_view nonce) {
    if (header.stream != 0 || nonce.size() != kNonce) breach(header.stream, "bad attach");
    attach_due_ = true;
    if (attached_ && header.epoch == epoch_ && nonce == nonce_) return;  // our answer is on its way
    begin_epoch(header.epoch, nonce);
    attached_ = true;
    push({Event::Kind::Attached, 0, {}, {}});
}

void Link::take_attached(const Header& header, std::string_view payload) {
    if (header.stream != 0 || payload.substr(0, kNonce) != nonce_) {
        breach(header.stream, "attached with another nonce");
    }
    if (payload.size() > kNonce + kMaxHello) breach(0, "hello longer than 8 KiB");
    if (attached_) return;  // the answer to a repeated attach
    attached_ = true;
    attach_due_ = false;
    push({Event::Kind::Attached, 0, std::string(payload.substr(kNonce)), {}});
}

void Link::take_open(StreamId id, std::string_view payload) {
    if (id == 0 || id % 2 == next_own_ % 2) breach(id, "opened with an id of ours");
    if (id <= last_peer_) breach(id, "id used twice");
    if (payload.size() > kMaxOpen) breach(id, "open frame too long");
    if (control_bytes_ > kMaxControl) breach(id, "the peer does not read our answers");
    last_peer_ = id;
    const std::string_view kind = payload.substr(0, payload.find('\n'));
    const Side peer = side_ == Side::Host ? Side::Guest : Side::Host;
    if (!may_open(peer, kind)) return control(Type::Reset, id, "this side may not open that kind");
    if (streams_.size() >= kMaxStreams) return control(Type::Reset, id, "too many streams");
    streams_.emplace(id, Stream{});
    payload.remove_prefix(std::min(payload.size(), kind.size() + 1));
    push({Event::Kind::Opened, id, std::string(kind), std::string(payload)});
}

void Link::take_data(StreamId id, Stream& stream, std::string_view payload) {
    if (payload.empty()) breach(id, "empty data frame");
    if (stream.peer_finished) breach(id, "data after the end");
    if (payload.size() > stream.room) breach(id, "more data than credit");
    stream.room -= payload.size();
    stream.held += payload.size();
    push({Event::Kind::Data, id, std::string(payload), {}});
}

void Link::take_credit(StreamId id, Stream& stream, std::string_view payload) {
    if (payload.size() != 4) breach(id, "bad credit frame");
    const uint32_t bytes = get_u32(payload);
    if (bytes == 0 || bytes > kWindow - stream.credit - stream.queued())
        breach(id, "credit for bytes never sent");
    stream.credit += bytes;
    wake(id, stream);
}

void Link::take_finish(Streams::iterator it, std::string_view payload) {
    if (!payload.empty() || it->second.peer_finished) breach(it->first, "bad finish frame");
    it->second.peer_finished = true;
    push({Event::Kind::Finished, it->first, {}, {}});
    if (it->second.finish_sent) streams_.erase(it);
}

void Link::take_reset(Streams::iterator it, std::string_view payload) {
    if (payload.size() > kMaxReason) breach(it->first, "reason too long");
    push({Event::Kind::Reset, it->first, std::string(payload), {}});
    streams_.erase(it);
}

// ---- what the owner does

StreamId Link::open(std::string_view kind, std::string_view meta) {
    const std::string what = "link: open '" + std::string(kind.substr(0, 32)) + "': ";
    if (!attached_) throw Error(what + "not attached");
    if (!may_open(side_, kind)) throw Error(what + "not a kind this side may open");
    if (kind.size() + 1 + meta.size() > kMaxOpen) throw Error(what + "meta too long");
    if (streams_.size() >= kMaxStreams) throw Error(what + "too many streams");
    if (control_bytes_ > kMaxControl) throw Error(what + "the peer does not read");
    if (next_own_ > UINT32_MAX - 2) throw Error(what + "out of stream ids");
    const StreamId id = next_own_;
    next_own_ += 2;
    streams_.emplace(id, Stream{});
    control(Type::Open, id, std::string(kind) + '\n' + std::string(meta));
    return id;
}

size_t Link::window(StreamId id) const {
    const auto it = streams_.find(id);
    if (it == streams_.end() || it->second.finishing) return 0;
    return std::min(it->second.credit, kMaxQueue - it->second.queued());
}

size_t Link::send(StreamId id, std::string_view bytes) {
    const size_t room = window(id);
    const auto it = streams_.find(id);
    if (it == streams_.end() || it->second.finishing) return 0;
    const size_t taken = std::min(room, bytes.size());
    Stream& stream = it->second;
    stream.queue.append(bytes.substr(0, taken));
    stream.credit -= taken;
    stream.starved = stream.starved || taken == room;
    if (taken > 0) make_ready(id, stream);
    return taken;
}

void Link::consumed(StreamId id, size_t bytes) {
    const auto it = streams_.find(id);
    if (it == streams_.end()) return;
    Stream& stream = it->second;
    bytes = std::min(bytes, stream.held);
    stream.held -= bytes;
    stream.unreturned += bytes;
    if (stream.unreturned < kCreditStep || stream.credit_due || stream.peer_finished) return;
    stream.credit_due = true;
    credits_.push_back(id);
}

void Link::finish(StreamId id) {
    const auto it = streams_.find(id);
    if (it == streams_.end() || it->second.finishing) return;
    it->second.finishing = true;
    make_ready(id, it->second);
}

void Link::reset(StreamId id, std::string_view reason) {
    if (streams_.erase(id) != 0) control(Type::Reset, id, reason.substr(0, kMaxReason));
}

size_t Link::footprint() const {
    size_t sum = in_.size() + event_bytes_ + control_bytes_ + out_.size();
    for (const auto& [id, stream] : streams_) sum += stream.queue.size();
    return sum;
}

void Link::make_ready(StreamId id, Stream& stream) {
    if (stream.waiting) return;
    stream.waiting = true;
    ready_.push_back(id);
}

// Half the queue must be free, or a slow pipe would wake the owner for a few bytes at a time.
void Link::wake(StreamId id, Stream& stream) {
    if (!stream.starved || stream.finishing || stream.credit == 0) return;
    if (stream.queued() > kMaxQueue / 2) return;
    stream.starved = false;
    push({Event::Kind::Writable, id, {}, {}});
}

// ---- bytes out

std::string_view Link::output() {
    if (out_at_ == out_.size()) fill();
    return std::string_view(out_).substr(out_at_);
}

void Link::written(size_t bytes) {
    assert(bytes <= out_.size() - out_at_);
    out_at_ += bytes;
}

void Link::append(std::string& to, Type type, StreamId stream, std::string_view payload) const {
    assert(payload.size() <= kMaxPayload);
    to += kMagic;
    to += static_cast<char>(type);
    to += '\0';
    to += static_cast<char>(payload.size() & 0xff);
    to += static_cast<char>(payload.size() >> 8);
    put_u32(to, stream);
    put_u32(to, epoch_);
    to += payload;
}

void Link::control(Type type, StreamId stream, std::string_view payload) {
    std::string frame;
    append(frame, type, stream, payload);
    control_bytes_ += frame.size();
    control_.push_back(std::move(frame));
}

void Link::batch(Type type, StreamId stream, std::string_view payload) {
    append(out_, type, stream, payload);
    ends_.push_back(out_.size());
}

// The order is the promise of the header: greeting, control, credit, then data in turns.
void Link::fill() {
    out_.clear();
    out_at_ = 0;
    ends_.clear();
    if (filler_due_) {
        filler_due_ = false;
        out_.assign(kMaxPayload + kHeader, '\0');
        ends_.push_back(out_.size());
        return;
    }
    if (attach_due_) {
        attach_due_ = false;
        const bool host = side_ == Side::Host;
        batch(host ? Type::Attach : Type::Attached, 0, host ? nonce_ : nonce_ + hello_);
    }
    if (attached_ && fill_control() && fill_credits()) fill_data();
}

// False: the batch is full.
bool Link::fill_control() {
    while (!control_.empty()) {
        if (out_.size() + control_.front().size() > kMaxWrite) return false;
        control_bytes_ -= control_.front().size();
        out_ += control_.front();
        ends_.push_back(out_.size());
        control_.pop_front();
    }
    return true;
}

bool Link::fill_credits() {
    while (!credits_.empty()) {
        if (out_.size() + kHeader + 4 > kMaxWrite) return false;
        const StreamId id = credits_.front();
        credits_.pop_front();
        const auto it = streams_.find(id);
        if (it == streams_.end()) continue;
        Stream& stream = it->second;
        std::string bytes;
        put_u32(bytes, static_cast<uint32_t>(stream.unreturned));
        batch(Type::Credit, id, bytes);
        stream.room += stream.unreturned;
        stream.unreturned = 0;
        stream.credit_due = false;
    }
    return true;
}

void Link::fill_data() {
    while (!ready_.empty() && out_.size() + kHeader <= kMaxWrite) {
        const auto it = streams_.find(ready_.front());
        if (it != streams_.end() && !fill_stream(it)) return;
        ready_.pop_front();
        // Behind the others, if there is more of it.
        if (it == streams_.end()) continue;
        Stream& stream = it->second;
        stream.waiting = false;
        if (stream.queued() > 0 || (stream.finishing && !stream.finish_sent)) {
            make_ready(it->first, stream);
        } else if (stream.finish_sent && stream.peer_finished) {
            streams_.erase(it);
        }
    }
}

// One frame of one stream. False: what is left of the batch is too little for it.
bool Link::fill_stream(Streams::iterator it) {
    Stream& stream = it->second;
    const size_t queued = stream.queued();
    if (queued == 0) {
        if (!stream.finishing || stream.finish_sent) return true;
        batch(Type::Finish, it->first, {});
        stream.finish_sent = true;
        return true;
    }
    const size_t space = kMaxWrite - out_.size() - kHeader;
    const size_t share = ready_.size() > 1 ? kTurn : kMaxWrite;
    const size_t size = std::min({queued, space, share});
    if (size < std::min(queued, kMinPiece)) return false;
    batch(Type::Data, it->first, std::string_view(stream.queue).substr(stream.queue_at, size));
    stream.queue_at += size;
    if (stream.queue_at == stream.queue.size()) {
        std::string().swap(stream.queue);  // idle streams keep no memory
        stream.queue_at = 0;
    } else if (stream.queue_at >= kMaxQueue / 2) {
        stream.queue.erase(0, stream.queue_at);
        stream.queue_at = 0;
    }
    wake(it->first, stream);
    return true;
}

}  // namespace peacrab
