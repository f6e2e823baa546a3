// The wire between host and guest: many streams over one byte pipe (a virtio-serial port).
//
// Frame: 16-byte header, little endian, then `length` bytes of payload.
//     u32 magic 0x4b4c4350 ("PCLK")   u8 type   u8 zero   u16 length (≤ 32 KiB)
//     u32 stream                      u32 epoch
// Types: Attach (host → guest: 16-byte nonce), Attached (guest → host: the nonce, then the hello
// text), Open (payload: kind '\n' meta), Data, Credit (u32: bytes the reader has consumed), Finish
// (no more data this way), Reset (payload: reason; both ways, the stream is gone).
//
// - The host starts an epoch with Attach and repeats it until it is answered; the guest answers
//   each one. Everything of another epoch is dropped, every stream of an older one is dead. After
//   garbage (a boot message on the port, a restored snapshot) both sides look for the magic again;
//   what was skipped is counted, and more than kMaxGarbage between two good frames is an Error.
//   Before an epoch other than 1 go kMaxPayload zero bytes: they fill up the frame in whose middle
//   a restored guest may be waiting.
// - Stream ids: odd ones are opened by the host, even ones by the guest, each only upwards. Kinds
//   are by side: the host opens control, chat, files, port; the guest opens model, egress, search, audit, log,
//   notify. Anything else, and more than kMaxStreams, is answered with Reset.
// - Credit: a sender may have at most kWindow bytes of a stream in flight. A peer that sends more
//   is hostile: Error, and the owner of the link drops it.
// - What goes out: answers and control frames first, then one data frame of each stream in turn,
//   so that bulk delays a chat by a frame or two.
// Both ends trust nothing: any byte sequence gives events or an Error. Memory is bounded: what the
// peer sent and the owner did not consume is at most kMaxStreams × kWindow, what waits to go out at
// most kMaxStreams × 1.5 kMaxQueue + kMaxControl. Texts of the peer (hello, meta, reasons) are
// hostile: escape them before printing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "loop.h"
#include "os.h"

namespace peacrab {

using StreamId = uint32_t;

// The protocol itself, without any I/O: bytes in, events and bytes out. Fuzzed.
class Link {
  public:
    enum class Side { Host, Guest };
    static constexpr size_t kHeader = 16;
    static constexpr size_t kMaxPayload = size_t{32} << 10;
    static constexpr size_t kWindow = size_t{256} << 10;
    static constexpr size_t kMaxStreams = 256;
    static constexpr size_t kMaxGarbage = size_t{1} << 20;
    static constexpr size_t kMaxHello = size_t{8} << 10;
    static constexpr size_t kMaxOpen = size_t{4} << 10;     // kind and meta; more is an Error
    static constexpr size_t kMaxReason = 256;               // longer reasons are cut
    static constexpr size_t kMaxQueue = size_t{64} << 10;   // of one stream, accepted by send()
    static constexpr size_t kMaxControl = size_t{2} << 20;  // opens and resets nobody reads: Error
    static constexpr size_t kMaxWrite = size_t{32} << 10;   // what the guest's kernel takes at once

    struct Event {
        enum class Kind {
            Attached,  // host: the guest answered, `text` is its hello; guest: a new epoch began
            Opened,    // the peer opened `stream`; kind in `text`, meta in `meta`
            Data,      // `text` are bytes of `stream`; give them back with consumed()
            Writable,  // `stream` has room again after send() had used it up
            Finished,  // the peer will send no more on `stream`
            Reset,     // `stream` is gone; `text` says why
        } kind;
        StreamId stream = 0;
        std::string text;
        std::string meta;
    };

    explicit Link(Side side);

    // Host: begins a new epoch. All streams die silently (no events for them).
    void attach(uint32_t epoch, std::string_view nonce16);
    // Host: says Attach again while the guest has not answered; the same epoch, nothing dies.
    void repeat_attach();
    // Guest: what to say in Attached; set before the first attach arrives, may be changed later.
    // Throws Error beyond kMaxHello.
    void set_hello(std::string hello);

    // Feeds bytes from the peer. Throws Error when the peer breaks the protocol; the link is of no
    // use then. Take all events after each call: they are what memory is held for.
    void receive(std::string_view bytes);
    // Events in order of arrival. A guest that sees Attached forgets every stream it knew. Events
    // of a stream may still come after the owner's own reset() of it.
    bool next(Event& event);

    // Opens a stream of a kind this side may open; throws Error at kMaxStreams or before attach.
    StreamId open(std::string_view kind, std::string_view meta = {});
    size_t send(StreamId stream, std::string_view bytes);  // how many bytes were taken
    size_t window(StreamId stream) const;                  // bytes send() would take now; 0 if gone
    void consumed(StreamId stream, size_t bytes);          // lets the peer send as many again
    void finish(StreamId stream);                          // half-close; gone when both have
    void reset(StreamId stream, std::string_view reason);
    bool attached() const { return attached_; }
    bool alive(StreamId stream) const { return streams_.count(stream) != 0; }
    uint64_t garbage() const { return garbage_; }  // bytes skipped in search of the magic, in all
    size_t footprint() const;                      // bytes held in buffers and events now

    // Bytes for the peer, at most kMaxWrite. The owner writes a prefix of them and says how many
    // went. Asking seals the batch: ask only when the bytes can be written, so that small frames
    // share one write. May bring Writable events.
    std::string_view output();
    void written(size_t bytes);

  private:
    enum class Type : uint8_t { Attach = 1, Attached, Open, Data, Credit, Finish, Reset };
    struct Header {
        uint8_t type;
        uint8_t zero;
        uint16_t length;
        StreamId stream;
        uint32_t epoch;
    };
    struct Stream {
        size_t credit = kWindow;  // what the peer still lets us send
        size_t room = kWindow;    // what the peer may still send
        size_t held = 0;          // given to the owner, not yet consumed
        size_t unreturned = 0;    // consumed, not yet given back as Credit
        std::string queue = {};   // taken by send(), not yet in out_
        size_t queue_at = 0;
        bool waiting = false;     // is in ready_
        bool credit_due = false;  // is in credits_
        bool starved = false;     // owes its owner a Writable
        bool finishing = false;
        bool finish_sent = false;
        bool peer_finished = false;
        size_t queued() const { return queue.size() - queue_at; }
    };
    using Streams = std::map<StreamId, Stream>;

    void begin_epoch(uint32_t epoch, std::string_view nonce);
    size_t parse(std::string_view bytes);
    size_t parse_frame(const Header& header, std::string_view bytes);
    void skip(size_t bytes);
    bool is_greeting(const Header& header) const;
    void take(const Header& header, std::string_view payload);
    void take_attach(const Header& header, std::string_view nonce);
    void take_attached(const Header& header, std::string_view payload);
    void take_open(StreamId id, std::string_view payload);
    void take_data(StreamId id, Stream& stream, std::string_view payload);
    void take_credit(StreamId id, Stream& stream, std::string_view payload);
    void take_finish(Streams::iterator it, std::string_view payload);
    void take_reset(Streams::iterator it, std::string_view payload);
    void push(Event event);
    void make_ready(StreamId id, Stream& stream);
    void wake(StreamId id, Stream& stream);
    void append(std::string& to, Type type, StreamId stream, std::string_view payload) const;
    void control(Type type, StreamId stream, std::string_view payload);
    void batch(Type type, StreamId stream, std::string_view payload);
    void fill();
    bool fill_control();
    bool fill_credits();
    void fill_data();
    bool fill_stream(Streams::iterator it);

    Side side_;
    std::string hello_;
    uint32_t epoch_ = 0;
    std::string nonce_;
    bool begun_ = false;     // host: attach() was called
    bool attached_ = false;  // both sides know the epoch
    bool broken_ = false;
    Streams streams_;
    StreamId next_own_;
    StreamId last_peer_ = 0;

    std::string in_;      // an incomplete frame
    size_t excused_ = 0;  // coming bytes that are frames of no use to us, not garbage
    size_t skipped_ = 0;  // garbage since the last good frame
    uint64_t garbage_ = 0;
    std::deque<Event> events_;
    size_t event_bytes_ = 0;

    bool filler_due_ = false, attach_due_ = false;
    std::deque<std::string> control_;  // whole frames
    size_t control_bytes_ = 0;
    std::deque<StreamId> credits_;  // streams that owe the peer a Credit
    std::deque<StreamId> ready_;    // streams with data or a Finish to send
    std::string out_;               // the sealed batch
    size_t out_at_ = 0;
    std::vector<size_t> ends_;  // of the frames in out_
};

// A Link on a descriptor in a Loop, with streams joined to local descriptors: what both the warden
// and the gateway need. Streams that are not joined are *kept*: they go to the handlers.
//
// A handler may do anything: reset or open streams, join, drop the whole LinkPort. Every kept
// stream that dies, unless by the owner's own reset() or because both sides have finished, gets
// `reset`; on a new epoch these come before `attached`. Callbacks that a call of the owner causes
// come in the next round of the loop, never from inside the call. `broken` is the last callback.
//
// The guest's port has no end of file worth the name: while no host is there, reads give 0 and poll
// says POLLHUP without rest. The guest's side then waits, and looks again after 2 to 50 ms. On the
// host's side end of file means that the machine has gone: broken.
class LinkPort {
  public:
    struct Handlers {
        std::function<void(const std::string& hello)> attached = {};
        // The peer opened a stream: join() it, keep it, or reset it. Absent: reset.
        std::function<void(StreamId, const std::string& kind, const std::string& meta)> opened = {};
        // Of kept streams; consumed at once.
        std::function<void(StreamId, std::string_view bytes)> data = {};
        std::function<void(StreamId)> finished = {};
        std::function<void(StreamId, const std::string& reason)> reset = {};
        // The descriptor has ended, or the peer broke the protocol.
        std::function<void(const std::string& why)> broken = {};
    };
    LinkPort(Loop& loop, UniqueFd fd, Link::Side side, Handlers handlers);
    ~LinkPort();  // closes the joined sockets; no callback comes any more

    // Host. Repeated every 250 ms until the guest has answered.
    void attach(uint32_t epoch);
    bool attached() const;
    void set_hello(std::string hello);
    StreamId open(std::string_view kind, std::string_view meta = {});  // throws as Link::open()
    // Queues all of it (the queue of one kept stream is bounded by kMaxQueued: beyond, the stream
    // is reset). For control and chat frames. To a stream that has gone: nothing.
    void send(StreamId stream, std::string_view bytes);
    void finish(StreamId stream);  // after what is queued
    void reset(StreamId stream, std::string_view reason);
    // Copies both ways between the stream and a connected stream socket, with back pressure, until
    // both ends have finished or one resets. Owns the socket. `ended` is called once. Call it right
    // after open() or inside `opened`: what arrived earlier went to `data`.
    void join(StreamId stream, UniqueFd socket, std::function<void()> ended = {});

    static constexpr size_t kMaxQueued = size_t{4} << 20;

  private:
    struct State;
    std::shared_ptr<State> state_;  // shared only with its own callbacks while they run
};

}  // namespace peacrab
