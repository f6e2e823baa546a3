// What the warden wants sent, for any messenger that is asked call by call: what may go out when, in which order, and
// what became of it. The messenger itself is a Poster.
//
// A message goes out at most once by us: after an unclear end the warden is told "unknown", and decides. Of each
// conversation one part at a time, and none waits for another.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "channels/channel_port.h"
#include "messaging/render.h"

namespace peacrab {

struct OutboxPace {
    Milliseconds between{1'000};             // two messages, or edits, in one conversation
    Milliseconds between_any{0};             // in all of them
    Milliseconds between_shown{1'000};       // two edits of a line that may be lost,
    Milliseconds between_shown_group{3'000};  // and in a group
    size_t shown_a_minute = 0;               // of such lines, in all conversations; 0: no matter
    size_t group_minute = 0;                 // messages and edits in one group within a minute; 0: no matter
    size_t group_minute_shown = 0;           // how many of these such lines leave to the rest
    Milliseconds typing_lease{0};            // how long a sign of life holds that is not said again; 0: there is none
    Milliseconds typing_again{0};            // when it has to be given again
};

class Poster {
  public:
    virtual ~Poster() = default;

    struct Where {
        std::string conversation, thread;
    };
    struct Choice {
        std::string label, value;
    };
    struct Piece {
        std::string text;      // in the messenger's dialect
        std::string plain;     // without marks
        std::string key;       // of the delivery; "": a line that may be lost
        std::string id = {};   // of the delivery, as the warden has it
        size_t part = 0, of = 1;
        std::string reply_to;  // of the first part
        bool again = false;    // it may be there already
        std::vector<Choice> choices = {};  // buttons below it; an edit without any takes away what there were
    };
    struct File {
        std::string name, mime, kind;
        std::string bytes;
    };
    struct Done {
        bool ok = false;
        std::string platform = {};     // the messenger's id of what is out
        ChannelFailure failure = {};
        bool for_all = false;          // the failure is of no conversation: nothing more is tried just now
    };

    virtual bool knows(const std::string& conversation) const = 0;  // an id as this messenger has them
    virtual bool is_group(const std::string& conversation) const = 0;
    virtual std::vector<RenderedPart> render_parts(std::string_view markdown) const = 0;
    virtual Done post(const Where& where, const Piece& piece) = 0;
    // Of what stands there. What cannot be edited any more is posted.
    virtual Done edit(const Where& where, const std::string& platform, const Piece& piece) = 0;
    virtual Done post_file(const Where& where, const Piece& piece, const File& file) = 0;
    // A failure "gone" or "permanent": there is nobody to see it. Its `retry` is heeded.
    virtual Done show_typing(const Where&) { return {}; }
};

class Outbox {
  public:
    using Time = std::chrono::steady_clock::time_point;

    Outbox(ChannelPort& port, Poster& poster, const OutboxPace& pace) : port_(port), poster_(poster), pace_(pace) {}

    // deliver, show, typing; of other frames false.
    bool take(const json::Value& frame);
    // Sends what is due.
    void work();
    Time next_due();
    bool idle() const { return deliveries_.empty(); }
    // The last failure that concerns all of them. Once.
    std::optional<ChannelFailure> take_trouble() { return std::exchange(trouble_, std::nullopt); }

  private:
    struct Chat {
        Time free{};  // not before: pace, and what the messenger said
        Time shown{};
        std::vector<Time> sent;  // within the last minute, of a group
    };
    struct Delivery {
        std::string id, platform;
        Poster::Where where;
        Poster::Piece piece;
        std::vector<RenderedPart> parts;
        json::Value frame;  // of a file; else null
        std::vector<Poster::Choice> choices = {};  // of the last part
    };
    struct Show {
        std::string slot, text, platform;
        Poster::Where where;
        Time until{};  // then it is old
    };
    struct Posted {
        std::string slot, platform;
        Poster::Where where;
        Time until{};
    };
    struct Typing {
        Poster::Where where;
        Time again{}, ends{};
    };

    void take_delivery(const json::Value& frame);
    void take_show(const json::Value& frame);
    void take_typing(const json::Value& frame);
    void forget_shows(const Poster::Where& where);
    Chat& chat(const std::string& conversation);
    Time free_at(const std::string& conversation, size_t most);
    void spend(const std::string& conversation);
    void heed(const std::string& conversation, const Poster::Done& done);
    Time due_of(const Show& show);
    Time due_of(const Delivery& delivery);
    bool deliver_part(Delivery& delivery);
    Poster::Done send_part(Delivery& delivery);
    Poster::Done send_file(Delivery& delivery);
    void show(Show& show);

    ChannelPort& port_;
    Poster& poster_;
    const OutboxPace pace_;
    std::vector<Delivery> deliveries_;
    std::vector<Show> shows_;
    std::vector<Posted> posted_;  // what the warden may not have heard of yet
    std::vector<Typing> typing_;
    std::vector<Time> shown_;     // within the last minute
    std::map<std::string, Chat> chats_;
    Time any_{};                  // the next of any conversation, not before
    std::optional<ChannelFailure> trouble_;
};

}  // namespace peacrab
