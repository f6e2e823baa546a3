// The same runtime without a VM: a warden forked off this process, joined to it by a socketpair.
// How it runs inside a sandbox that is there already, and how it is measured beside its peers. An
// ordinary user gets posture `shared`: the person's own ids. Root gets posture `cells`: containers as in
// our guest (launch/sandbox), or a refusal. `posture()` says what is and is not separated.
#pragma once

#include <string>

#include "config/model_choice.h"
#include "frame.h"

namespace peacrab {

struct LocalOptions : ModelConfig {  // of the command line; else the config's, else as the key there is wants it
    std::string base;  // --base, for root: the Debian of cells; else kDefaultBase
    // Continues the person's one conversation, of which only one process may be at work; a
    // one-shot question starts its own session and needs no such lock. Reading: no model is asked.
    // Serving: LocalWarden's.
    enum class Use { OneShot, Conversation, Reading, Serving } use = Use::OneShot;
};

// Forks the warden and gives our end of the frames. Throws Error with the next step when it cannot:
// without a model, as root where no cells can be made, when another process holds the conversation.
// The warden ends by itself when its last client has left and no turn runs.
struct LocalStart {
    FrameSocket warden;
    std::string model;  // that answers here, for people
};
LocalStart start_local_warden(const LocalOptions& options);

// The same for any number of clients, one after the other or at once. It ends when this is destroyed, its clients
// have left and no turn runs.
class LocalWarden {
  public:
    explicit LocalWarden(LocalOptions options);
    UniqueFd open();  // a client's end; throws Error when the warden has gone
    // A `files` stream (files/child), as the link of a VM has it; throws Error likewise.
    UniqueFd open_files(const std::string& agent, const std::string& op, const std::string& path);
    int life() const { return socket_.get(); }  // hangs up then

  private:
    UniqueFd socket_, files_;
};

}  // namespace peacrab
