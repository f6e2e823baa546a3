// What an adapter of ours needs of the frame protocol (README.md): blocking, one thread.
//
// An adapter's loop is: receive() what there is to do, do it, ask the messenger with wake_fd() as what cancels
// that, store() what came. Whatever is said goes through sentence(): texts of a messenger may repeat
// the secret that was in the request.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"
#include "frame.h"
#include "os.h"

namespace peacrab {

constexpr int kExitStandDown = 3;  // "auth" and "conflict": not to be started again by itself

// What became of something that was to be sent; the classes are those of README.md.
struct ChannelFailure {
    const char* kind = "permanent";
    std::string error = {};
    Milliseconds retry{0};   // 0: not said
    std::string moved = {};  // the conversation's new id
    std::string key = {};    // of a delivery that was `sent`: it was not taken after all
};

// One event and the cursor once it is stored.
struct Arrived {
    json::Value event;
    std::string cursor;
};

class ChannelPort {
  public:
    // The socket, or the pipes, on 0 and 1.
    ChannelPort();
    ChannelPort(UniqueFd in, UniqueFd out);

    // Waits for `start`. Throws Error when something else comes; nothing: it is not wanted any more.
    struct Start {
        std::optional<std::string> cursor;
        json::Value settings;
    };
    std::optional<Start> start();
    // One of those that came with it, once; empty when it did not. From then on no text that goes out has it in it.
    Secret take_secret(std::string_view name);
    void hide(std::string secret) { hidden_.emplace_back(std::move(secret)); }
    const std::vector<Secret>& hidden() const { return hidden_; }

    // A process beside this one says frames, too (channel_files): each whole, as who says one holds the lock on `turn`.
    // It is asked on `fetcher`, a seqpacket socket; it has none itself.
    void share(UniqueFd turn, UniqueFd fetcher);
    int fetcher_fd() const { return fetcher_.get(); }

    // Readable: there is something to receive, or the warden has gone. Says so only to who has called receive()
    // until it gave nothing.
    int wake_fd() const { return in_.get(); }

    // The next frame. Nothing: the deadline passed, a signal, or it is over (ended() is true then: end of input).
    std::optional<json::Value> receive(Deadline deadline);
    bool ended() const { return ended_; }

    // Sends what arrived, in as many batches as its size takes, and waits until each is on the disk. What comes
    // meanwhile is kept for receive(). `cursor` is where the last one leads, also when there are no events. False:
    // it ended first, and nothing may be told to the messenger.
    [[nodiscard]] bool store(std::vector<Arrived> events, const std::string& cursor);

    // The bytes of the file of this `deliver`, put behind what is in `into`. False: they cannot be had, and nothing
    // of it may go out; or it is over. What comes meanwhile is kept, as in store().
    [[nodiscard]] bool pull(const json::Value& deliver, std::string& into);
    // Answers to a `fetch`: its bytes in pieces of any size, then one of the two.
    void data(std::string_view id, std::string_view bytes);
    void fetched(std::string_view id, uint64_t size);
    void not_fetched(std::string_view id, std::string_view why);

    void hello(std::string_view channel, std::string_view account, std::string_view name, json::Value limits);
    void sent(std::string_view id, size_t part, size_t of, std::string_view platform);
    void failed(std::string_view id, const ChannelFailure& failure);
    void shown(std::string_view slot, std::string_view platform);
    void alive();
    void trouble(const char* kind, std::string_view text);

    // `text` without secrets, bounded, on one line.
    std::string sentence(std::string_view text) const;

  private:
    void send(const json::Value& frame);
    std::optional<json::Value> read_answer(const char* type, std::string_view id);
    std::optional<json::Value> read(Deadline deadline);
    bool store_batch(json::Value events, const std::string& cursor);

    UniqueFd in_;
    UniqueFd out_;  // empty: in_ is a socket
    UniqueFd turn_, fetcher_;
    FrameBuffer buffer_;
    std::deque<json::Value> kept_;
    std::vector<std::pair<std::string, Secret>> secrets_;
    std::vector<Secret> hidden_;
    bool ended_ = false;
};

// An adapter's life. What it cannot begin with, it cannot begin with another time either.
template <typename Adapter>
int run_adapter(ChannelPort& port, const ChannelPort::Start& start) {
    std::optional<Adapter> adapter;
    try {
        adapter.emplace(port, start);
    } catch (const Error& error) {
        port.trouble("auth", error.what());
        return kExitStandDown;
    }
    return adapter->run();
}

}  // namespace peacrab
