// Buttons: what they are put below, who may press them, and what becomes of it. A press is decided in the step that
// writes it down, before the messenger hears that it was taken: told twice, by two people or on two cards it is one
// decision, and no turn and no machine is waited for. The text says how to answer by typing, which closes a card too.
// Must not tell anybody what a button's value is but who is shown the button.
#include "channels/turn_view.h"
#include "error.h"
#include "messaging/hub_state.h"

namespace peacrab {
namespace {

using What = Admission::What;

constexpr int64_t kApproval = 7 * 86'400;  // seconds that a button lets somebody in
constexpr size_t kMostCard = 900;          // bytes: of one part on any messenger, with the outcome below
constexpr const char* kOver = "It is not asked any more.";

std::string question_words(const json::Value& frame) {
    std::string text = frame.text("text");
    if (const json::Value* const choices = frame.find("choices"))
        for (size_t i = 0; i < choices->items().size(); ++i)
            text += "\n" + std::to_string(i + 1) + ". " + choices->items()[i].as_string();
    if (const std::string otherwise = frame.text("default"); !otherwise.empty())
        text += "\n(without an answer: " + otherwise + ")";
    return text;
}

// A choice that is a number itself would be taken for the number of a choice; in a group who speaks stands before it.
std::string said_by(const std::string& choice, size_t number, bool group) {
    const bool is_number = choice.find_first_not_of("0123456789.) \t") == std::string::npos;
    return is_number && !group ? std::to_string(number) : choice;
}

std::vector<Button> choices_of(const json::Value& question, bool group) {
    std::vector<Button> all;
    if (const json::Value* const choices = question.find("choices"))
        for (const json::Value& choice : choices->items())
            all.push_back({one_line(choice.as_string(), Cards::kMostLabel - 4), said_by(choice.as_string(), all.size() + 1, group)});
    return all;
}

std::string by(const std::string& name, const std::string& sender, const std::string& what) {
    return one_line(name.empty() ? sender : name, 60) + ": " + one_line(what, 100);
}

}  // namespace

// A long one stands alone, and a card below it: an edit of what several messages hold would be of the first.
void Hub::State::ask(const PlaceRow& place, const std::string& origin, const std::string& session, const json::Value& frame) {
    const std::string text = question_words(frame), below = "b:" + origin;
    const std::vector<Button> buttons = choices_of(frame, place.group);
    const Channel* const channel = channel_of(place);
    const bool fits = text.size() <= kMostCard, can = channel && channel->limits.buttons >= static_cast<int64_t>(buttons.size());
    int64_t delivery = post.enqueue(place.id, origin, text);
    if (delivery == 0) return;  // told again
    seal(cards.decide_questions(place.id, kOver));
    if (!fits && can && !buttons.empty()) delivery = post.enqueue(place.id, below, "Press one, or type its number.");
    cards.add({Card::Kind::Question, delivery, place.id, session, frame.integer("seq"), frame.integer("until"), false, {}},
              fits || can ? buttons : std::vector<Button>());
    loop.after(Milliseconds(0), [this] { set_alarm(); });
}

// A card for each owner: the first word of any of them, pressed or typed, closes all.
void Hub::State::ask_owners(const std::string& ticket, const std::string& text) {
    const int64_t until = unix_ms() / 1000 + kApproval;
    for (const int64_t place : door.owners_places({})) {
        const int64_t delivery = post.enqueue(place, {}, text + "\n/allow " + ticket + " or /deny " + ticket);
        cards.add({Card::Kind::Door, delivery, place, ticket, 0, until, false, {}}, {{"Allow", "allow"}, {"Deny", "deny"}});
    }
}

void Hub::State::put_choices(const Channel& channel, int64_t delivery, json::Value& frame) {
    const std::optional<Card> card = channel.limits.buttons > 0 ? cards.card(delivery) : std::nullopt;
    if (!card || lapsed(*card)) return;
    const std::vector<Button> buttons = cards.buttons(delivery);
    if (buttons.empty() || static_cast<int64_t>(buttons.size()) > channel.limits.buttons) return;
    json::Value choices = json::Value::array();
    for (const Button& button : buttons)
        choices.push(json::Value::object({{"label", json::valid_utf8(button.label)}, {"value", button.value}}));
    frame.set("choices", choices);
    if (channel.limits.edits > 0) cards.set_shown(delivery);
}

// The buttons go, and what was chosen stands below. What is still being sent is seen to when that is out.
void Hub::State::seal(const Card& card, const std::string& platform) {
    const std::optional<DeliveryRow> row = post.delivery(card.delivery);
    if (!row || !card.shown || card.outcome.empty() || (platform.empty() && row->state != "sent")) return;
    const std::string id = platform.empty() ? row->platform : platform;
    const std::optional<PlaceRow> place = post.place(card.place);
    if (id.empty() || !place) return;
    post.enqueue(card.place, "c:" + std::to_string(row->row) + ":" + id, row->text + "\n\n" + card.outcome, {}, id);
    loop.after(Milliseconds(0), [this, name = place->channel] { pump(name); });  // which may be another one's
}

void Hub::State::seal(const std::vector<Card>& decided) {
    for (const Card& card : decided) seal(card, {});
}

void Hub::State::questions_over(int64_t place, const std::string& session, int64_t seq) {
    post.together([&] { seal(cards.decide_questions(place, kOver, session, seq)); });
}

// What is typed instead.
void Hub::State::question_answered(const PlaceRow& place, const Event& event) {
    seal(cards.decide_questions(place.id, by(event.name, event.sender, event.text)));
}

// Nobody can decide it by a button any more.
bool Hub::State::lapsed(const Card& card) {
    return card.until <= unix_ms() / 1000 || (card.kind == Card::Kind::Door && !door.waiting(card.subject));
}

// Why a button decides nothing for who has pressed it; "": it does.
std::string Hub::State::too_late(const Card& card, const std::string& channel, const Event& event) {
    const bool of_door = card.kind == Card::Kind::Door;
    if (of_door && (event.group || door.role_of(channel, event.sender) != Role::Owner)) return "That is for owners.";
    if (!card.outcome.empty()) return "Too late: " + card.outcome;
    if (lapsed(card)) return of_door ? "Too late for this button; /people tells who waits." : "Too late for this button.";
    return {};
}

int64_t Hub::State::take_press(const Channel& channel, const Event& event) {
    const std::string& name = channel.options.name;
    std::optional<Cards::Pressed> pressed = cards.pressed(event.value);
    std::optional<PlaceRow> place = pressed ? post.place(pressed->card.place) : std::nullopt;
    if (!place || place->channel != name || place->conversation != event.conversation) {  // of somewhere else it is none here
        pressed.reset();
        place = post.place(name, event);
    }
    Admission verdict = door.judge(name, event);
    std::string refused;
    if (verdict.what == What::Admitted && pressed) refused = too_late(pressed->card, name, event);
    if (verdict.what == What::Admitted && (!pressed || !refused.empty()))
        verdict = {What::Dropped, pressed ? "a button that decides nothing: " + refused : "a button that is not known", {}};
    else if (verdict.what == What::Admitted && pressed->card.kind == Card::Kind::Door)
        verdict.what = What::Pressed;
    const int64_t row = post.add_arrival(*place, event, pressed ? pressed->button.says : std::string(), verdict);
    if (row == 0) return 0;  // told before
    if (!verdict.answer.empty()) post.enqueue(place->id, "a:" + std::to_string(row), verdict.answer);
    if (!refused.empty()) {  // said once to each
        post.enqueue(place->id, "p:" + std::to_string(pressed->card.delivery) + ":" + event.sender, refused);
        if (pressed->card.outcome.empty() && lapsed(pressed->card)) decide(pressed->card, kOver);
    }
    if (verdict.what == What::Admitted || verdict.what == What::Pressed) {
        const std::string outcome = by(event.name, event.sender, pressed->button.label);
        if (verdict.what == What::Admitted) {
            decide(pressed->card, outcome);
        } else {
            const Admit admit = pressed->button.says == "allow" ? Admit::Yes : Admit::No;
            const std::string done = let_in(admit, Role::Guest, *door.waiting(pressed->card.subject), outcome);
            if (!pressed->card.shown) post.enqueue(place->id, {}, done);  // no edit will tell of it
        }
    }
    // It may be a second message of the same card.
    if (const std::optional<Card> card = pressed ? cards.card(pressed->card.delivery) : std::nullopt) seal(*card, event.id);
    return place->id;
}

void Hub::State::decide(const Card& card, const std::string& outcome) {
    seal(card.kind == Card::Kind::Door ? cards.decide_door(card.subject, outcome) : cards.decide_questions(card.place, outcome));
}

}  // namespace peacrab
