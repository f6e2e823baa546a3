// What an event of a Matrix room says to us, as an event of README.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "json.h"

namespace peacrab {

// Who we are there.
struct MatrixSelf {
    std::string user, name;  // "@pea:example.org"; as shown
};

// "!room:server", "$event", "@user:server": of these characters, and not longer than Matrix has them.
bool is_matrix_id(std::string_view text, char sigil);
// "mxc://server/id": nothing that could lead to another place in a path.
bool is_matrix_media(std::string_view text);
// Of m.relates_to: what is answered; "": nothing.
std::string matrix_answered(const json::Value& event);

struct MatrixRoom {
    std::string id, title;
    bool direct = false;
};
// Nothing: it is not for us. Everything but what only the server can be asked: the sender's name, what is answered.
std::optional<json::Value> read_matrix_event(const json::Value& event, const MatrixRoom& room, const MatrixSelf& self);

// Where we came in, in a timeline: the last invitation, or else the last time we joined, which a new name of ours is not.
size_t entry_of(const std::vector<json::Value>& events, const std::string& self);
// Of an m.room.message. `thread` and `answers` are events, or none.
json::Value matrix_content(const std::string& plain, const std::string& html, const std::string& thread, const std::string& answers);

}  // namespace peacrab
