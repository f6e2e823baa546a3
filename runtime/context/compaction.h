// Asks the model within its window. What would not fit is made shorter first: old results become stubs, and
// when that is not enough the older part of the conversation is summed up (by the model itself, in a call of
// its own) and what code knows of it is written down. Both only from time to time and then by a good deal,
// because each change of what stands before makes the provider read everything anew.
#pragma once

#include <cstdint>
#include <functional>

#include "context/prompt.h"
#include "context/view.h"
#include "llm.h"
#include "sessions/journal.h"

namespace peacrab {

class Context {
  public:
    // `window`: tokens, as the person set it, whatever was learned in turns before; 0: by the model and what its
    // server says.
    explicit Context(uint64_t window = 0) : given_(window) {}

    struct Question {
        Model& model;
        const PromptOptions& prompt;
        const std::vector<Entry>& entries;  // `record` adds to them
        const ModelEvents& events;
        const std::string& turn;
        int stop_fd;
        std::function<void(Entry entry)> record;
    };
    // One call of the model, with what had to come before it; the usage is that of all of it. When the
    // model says that the conversation does not fit, that is made true and it is asked once more: twice
    // in the life of this object, which is a turn's. Who says so again and again costs no more than that.
    ModelReply ask(const Question& question);
    // Because the person wants it: all but the newest 20,000 tokens is summed up. What came of it, for them; "": they
    // said stop.
    std::string compact(const Question& question);

  private:
    enum class Why { Nearly, Refused, Wanted };
    uint64_t window(const Question& question) const;
    uint64_t limit(const Question& question) const;  // of what is sent, without room for the answer
    uint64_t tokens(size_t bytes) const { return static_cast<uint64_t>(static_cast<double>(bytes) / ratio_); }
    size_t bytes(uint64_t tokens) const { return static_cast<size_t>(static_cast<double>(tokens) * ratio_); }
    void learn(size_t size, const ModelReply& reply, const Question& question);
    uint64_t size_of_request(const Question& question, const ShownState& state) const;
    enum class Room { Nothing, Made, Stopped };  // Stopped: the person said so meanwhile
    Room make_room(const Question& question, Why why);
    bool stub_old(const Question& question, ShownState state, size_t tail);
    Room sum_up(const Question& question, Why why, const ShownState& state, size_t tail);
    std::string summary(const Question& question, const ShownState& state, int64_t upto, bool& stopped);
    void stub_more(const Question& question, ShownState& state) const;

    uint64_t given_;
    double ratio_ = 3.5;    // bytes a token, until a model has counted
    uint64_t learned_ = 0;  // the window, by what a server said or refused
    std::string learned_of_;
    Usage spent_;            // by summaries, not yet reported
    bool told_ = false;      // a server gave that as a number
    int refusals_ = 0;       // how often it was said that the conversation does not fit
    bool put_off_ = false;   // no summary came once
};

// Takes the newest summary out of force: from the next request on, what it stood for is shown again. False
// when there is none.
bool undo_summary(Journal& journal, const std::string& turn);

}  // namespace peacrab
