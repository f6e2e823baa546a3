// What a channel says has arrived: one item of a `batch` frame (channels/README.md), read as hostile. An unknown
// key, a wrong kind, a bound that is passed is an Error, and the channel is cut off.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "json.h"

namespace peacrab {

constexpr size_t kMaxEvents = 100;                   // of a batch
constexpr size_t kMaxEventText = size_t{64} << 10;
constexpr size_t kMaxEventId = 512;                  // of anything that names something
constexpr size_t kMaxEventName = 800;                // of what is only shown
constexpr size_t kMaxEventHandle = 4096;
constexpr size_t kMaxEventFiles = 32;
constexpr size_t kMaxEventValue = 64;            // of a button

// What came with it. All of it is the sender's word, but the handle, which is the channel's.
struct EventFile {
    std::string name, mime, note;
    std::string handle;  // what it can be fetched by; "": it cannot, and `note` says why
    int64_t size = 0;    // 0: not said
    bool voice = false;
};

std::string in_words(const EventFile& file);  // on one line

struct Event {
    enum class Kind { Message, Edit, Press } kind = Kind::Message;
    std::string key;
    std::string conversation;
    std::string thread;
    bool group = false;
    std::string id;
    std::string sender;
    std::string name;   // may be chosen by the sender
    std::string title;  // of the group; likewise
    bool own = false, bot = false, addressed = true;
    bool unproven = false;  // that `sender` wrote it
    std::string text;
    std::string value;  // of the button that was pressed, on our message `id`
    std::string reply_id, reply_text;
    bool reply_own = false;
    int64_t at = 0;  // Unix ms by the messenger's clock; 0: not said
    std::vector<EventFile> files;
};

// Every line but the first stands indented, whatever ends one: no line of it passes for what stands around it.
std::string indented(std::string_view text);

Event read_event(const json::Value& value);

// What a channel can do: `limits` of its `hello`.
struct ChannelLimits {
    int64_t edits = 0, edits_group = 0, typing = 0, files = 0, text = 0, buttons = 0;  // ms, ms, ms, bytes, characters, of a message
    enum class Dedupe { None, Key, Lookup } dedupe = Dedupe::None;
};

ChannelLimits read_limits(const json::Value& value);

}  // namespace peacrab
