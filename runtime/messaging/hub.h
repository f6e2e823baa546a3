// Between messengers and the warden: what arrives is let in or not, written down, and said to the warden as a client
// of it says it; what its turns come to is written down and delivered. It may be killed at any instruction: both
// sides are told again what they may not know, under the same keys. It runs where the channels are, which with our
// launcher is the host: neither tokens nor people are known in the guest.
//
// - An adapter is a program behind a socket (channels/README.md), cut off when it breaks the protocol.
// - A conversation has a connection to the warden while something of it waits or a turn runs, and none otherwise.
// - At most one delivery of a conversation is under way; what fails is tried again, later and later, and in the end
//   told to the person and the agent.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "json.h"
#include "loop.h"
#include "messaging/door.h"
#include "messaging/post.h"
#include "messaging/voice.h"

namespace peacrab {

struct HubOptions {
    std::string file;                     // of the post
    std::function<UniqueFd()> open_chat;  // a connection to the warden; throws Error when it cannot be had now.
                                          // Absent: channels are tried, and who has something for us is cut off
    // A `files` stream (files/child) of the agent's workspace; throws Error. Absent: no files go either way.
    std::function<UniqueFd(const std::string& agent, const std::string& op, const std::string& path)> open_files = {};
    // InChild: both may take a while, as a machine is started for them, and are called in children of ours.
    enum class Opening { AtOnce, InChild } opening = Opening::AtOnce;
    std::string spool = {};  // a folder
    VoiceConfig voice = {};
};

struct HubChannel {
    std::string name;
    std::string agent = "main";
    bool listens = false;  // to what is said in groups and not to us: told with the next message that is
    json::Value settings = json::Value::object();
    // What arrives is told in the direct chat of `person` ("": an owner) on the channel `to`; "": it is a messenger.
    std::string to = {}, person = {};
    std::string words = {};  // of the person, on what to do with it
};

// What became of a message: its row's number, or the messenger's id of it. Nothing: nobody knows it.
std::optional<std::string> explain(Post& post, const std::string& message);

class Hub {
  public:
    Hub(Loop& loop, HubOptions options);
    ~Hub();
    Hub(const Hub&) = delete;
    Hub& operator=(const Hub&) = delete;

    // An adapter is there: it is told to start. `gone` is called once, when it breaks the protocol or hangs up;
    // `code` is "" or the class of the last `trouble` it told. True: it comes again, and its owners need not hear of it.
    void connect(const HubChannel& channel, const json::Value& secrets, UniqueFd socket,
                 std::function<bool(const std::string& why, const std::string& code)> gone);
    void disconnect(const std::string& channel);  // tells it to stop, and forgets it
    bool idle() const;                            // nothing waits and no turn runs
    Post& post();
    void mend();  // after an Error out of the loop (a full disk): what it has interrupted is taken up, later

    struct State;

  private:
    std::unique_ptr<State> state_;
};

}  // namespace peacrab
