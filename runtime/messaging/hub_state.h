// What hub.cc (channels), chat.cc (conversations with the warden) and delivery.cc share.
#pragma once

#include <chrono>
#include <map>
#include <set>

#include "frame_port.h"
#include "messaging/hub.h"

namespace peacrab {

using Clock = std::chrono::steady_clock;

struct Channel {
    HubChannel options;
    std::unique_ptr<FramePort> port;
    std::function<void(const std::string& why, const std::string& code)> gone;
    bool ready = false;  // it has said hello
    std::string account, bot, trouble;
    ChannelLimits limits;
    int64_t noted = 0;  // Unix ms: when its last sign of life was written down
    Loop::TimerId timer = 0;  // to what is due next
    std::map<int64_t, Clock::time_point> under_way;  // deliveries it has not answered
};

// A conversation that something waits in, or a turn runs.
struct Chat {
    int64_t place = 0;
    std::unique_ptr<FramePort> warden;
    bool ready = false;  // caught up
    std::string session, turn;
    std::map<std::string, int64_t> said;  // message ids on their way → the row
    std::string asked;                    // a command that the warden answers
    Loop::TimerId again = 0, linger = 0, typing = 0, showing = 0;
    Milliseconds backoff{1000};
    // The running turn, as it is shown.
    Clock::time_point since{};
    Clock::time_point shown{};
    std::string partial, step, last_shown;
    int steps = 0;
    bool show_under_way = false;
};

struct Hub::State {
    Loop& loop;
    HubOptions options;
    Post post;
    Door door;
    std::map<std::string, std::unique_ptr<Channel>> channels;
    std::map<int64_t, std::unique_ptr<Chat>> chats;  // by place
    Loop::TimerId pruning = 0, mending = 0;

    State(Loop& the_loop, HubOptions the_options);
    ~State();
    Channel* channel_of(const PlaceRow& place);

    // hub.cc
    void on_channel(Channel& channel, const json::Value& frame);
    void on_batch(Channel& channel, const json::Value& frame);
    void note_sign(Channel& channel);
    void tell_owners(const std::string& channel, const std::string& text);
    void lost(const std::string& name, const std::string& why);

    // chat.cc. advance: does what there is to do in a place, however often it is called.
    void advance(int64_t place);
    void open(Chat& chat);
    void close(int64_t place);  // now; what waits is seen to again
    void retry(Chat& chat, Milliseconds span);
    void on_warden(int64_t place, const json::Value& frame);
    void on_event(Chat& chat, const json::Value& frame);
    void on_turn_done(Chat& chat, const json::Value& frame);
    void say(Chat& chat, const ArrivalRow& row);
    std::string words_of(const PlaceRow& place, const ArrivalRow& row);
    void answer(int64_t place, const std::string& text);

    // commands.cc
    void run_command(Chat& chat, const ArrivalRow& row);
    void answer_command(Chat& chat, const json::Value& frame);
    std::string owners_answer(const std::string& name, const std::string& rest);
    void turn_began(Chat& chat, const std::string& turn);
    void linger(Chat& chat, Milliseconds wait);
    void turn_over(Chat& chat);
    void keep_typing(Chat& chat);
    void show_soon(Chat& chat);
    void show(Chat& chat);

    // delivery.cc
    void pump(const std::string& channel);
    void pump(Channel& channel, int64_t place);
    void on_sent(Channel& channel, const json::Value& frame);
    void on_failed(Channel& channel, const json::Value& frame);
    void given_up(const DeliveryRow& row, const std::string& why);
    void resolve_unknown(Channel& channel);
    void was_cut(const std::string& channel);
};

}  // namespace peacrab
