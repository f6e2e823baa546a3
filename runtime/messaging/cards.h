// Questions, messages with buttons, and what pressing one decides: tables beside the post. A button goes out with a value made at
// random, which stands in no text and no model is told, so that a press with it was made on a message of ours. What
// several cards ask (an approval, of each owner) is one decision: the first outcome of a subject is the only one. Each
// public call is one transaction. Throws Error ("store: …").
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store.h"

namespace peacrab {

struct Card {
    enum class Kind { Question, Door } kind = Kind::Question;
    int64_t delivery = 0, place = 0;
    std::string subject;  // of a question its session, of the door a ticket
    int64_t seq = 0;      // of the question in its session
    int64_t until = 0;    // Unix seconds: then no button of it decides any more
    bool shown = false;   // with its buttons, which can be taken away
    std::string outcome;  // in words; "": none yet
};

struct Button {
    std::string label;  // as it is shown
    std::string says;   // what pressing it stands for
    std::string value = {};
};

class Cards {
  public:
    explicit Cards(Database& database);

    // This delivery is one, with these buttons; their values are made here.
    void add(const Card& card, const std::vector<Button>& buttons);
    std::optional<Card> card(int64_t delivery);
    // Of a card without an outcome, in order; of any other none.
    std::vector<Button> buttons(int64_t delivery);
    void set_shown(int64_t delivery);
    struct Pressed {
        Card card;
        Button button;
    };
    std::optional<Pressed> pressed(const std::string& value);
    // Gives those that had none until now.
    std::vector<Card> decide_door(const std::string& ticket, const std::string& outcome);
    // The open questions of a place but those that `session` asks from `seq` on.
    std::vector<Card> decide_questions(int64_t place, const std::string& outcome, const std::string& session = {}, int64_t seq = 0);

    // Open questions whose time is over: the agent goes on by itself now, which somebody has to hear. Of the last ten
    // minutes: then whoever does not go on has forgotten it.
    std::vector<int64_t> places_overdue(int64_t now);
    std::optional<int64_t> next_over(int64_t now);  // Unix seconds

    static constexpr size_t kMostLabel = 60;  // bytes

  private:
    Database& database_;
};

}  // namespace peacrab
