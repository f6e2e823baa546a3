// What is said with a slash: answered without a model. Some the warden answers; /allow and /deny are the door's, and
// never leave this side.
#include <algorithm>

#include "agents.h"
#include "channels/turn_view.h"
#include "error.h"
#include "messaging/hub_state.h"

namespace peacrab {
namespace {

struct Words {
    std::string name;  // without the slash
    std::string rest;  // behind it
};

Words parsed(const std::string& text) {
    const size_t end = std::min(text.find_first_of(" \n"), text.size());
    const size_t from = std::min(text.find_first_not_of(" \n", end), text.size());
    std::string rest = text.substr(from);
    while (!rest.empty() && (rest.back() == ' ' || rest.back() == '\n')) rest.pop_back();
    return {lower(text.substr(1, end - 1)), rest};
}

constexpr const char* kHelp =
    "/stop ends what is being done\n"
    "/new begins a new conversation\n"
    "/undo takes back the last turn, /undo summary what was summed up\n"
    "/compact sums up all but the newest of the conversation\n"
    "/export sends the conversation as a file\n"
    "/more gives a spent budget once again\n"
    "/status, /usage, /model, /skills tell how it stands\n"
    "/tasks shows what will be done by itself, and ends it; quiet hours\n"
    "/agent tells whom you speak with; /agent NAME, of owners: another here from now on\n"
    "/whoami tells what you are known as, /why what became of a message\n"
    "/people, /allow TICKET [member], /deny TICKET, in a group /close: for owners\n"
    "Anything else is said to the agent; while it works it hears of it at its next step.";

std::string in_words(const json::Value& usage) {
    std::string text;
    for (const json::Value& row : usage.at("rows").items())
        text += one_line(row.text("scope"), 60) + ": " + one_line(row.text("spent"), 200) + " of " + one_line(row.text("limit"), 100) + "\n";
    return text.empty() ? "Nothing was spent yet." : text;
}

std::string in_words_status(const json::Value& status, bool model_only) {
    if (model_only) return "The model is " + one_line(status.text("model"), 100) + ".";
    return std::string(status.flag("running") ? "A turn runs" : "Nothing runs") + "; agent " + one_line(status.text("agent"), 60) +
           ", conversation " + one_line(status.text("session"), 20) + ", " + std::to_string(status.integer("turns")) +
           " turns, model " + one_line(status.text("model"), 100) + ".\n" + one_line(status.text("posture"), 600);
}

// A line each, as the model is told of them.
std::string in_words_skills(const json::Value& status) {
    std::string told = status.text("skills"), text;
    told.erase(0, std::min(told.find("/SKILL.md"), told.size()));
    for (size_t end = told.find('\n'); end != std::string::npos; end = told.find('\n')) {
        told.erase(0, end + 1);
        const std::string row = told.substr(0, told.find('\n'));
        if (row.find(": ") != std::string::npos) text += one_line(row, 200) + "\n";
    }
    return text.empty() ? "There are no skills." : text;
}

}  // namespace

std::string Hub::State::owners_answer(const std::string& name, const std::string& rest, const ArrivalRow& row) {
    if (name == "people") {
        std::string text;
        for (const Door::Person& one : door.people({}))
            text += one_line(one.name.empty() ? one.sender : one.name, 60) + " (" + one.channel + ", " + one_line(one.sender, 60) +
                    "): " + role_name(one.role) + "\n";
        for (const Door::Waiting& one : door.all_waiting({}))
            text += one_line(one.name.empty() ? one.sender : one.name, 60) + " (" + one.channel + ") waits: /allow " + one.ticket + "\n";
        for (const Door::Group& one : door.groups())
            text += "the group " + one_line(one.title.empty() ? one.conversation : one.title, 60) + " (" + one.channel + ") is open\n";
        return text;
    }
    const std::string ticket = rest.substr(0, std::min(rest.find(' '), rest.size()));
    const std::optional<Door::Waiting> waiting = door.waiting(ticket);
    if (!waiting) return "Nobody waits with the ticket \"" + one_line(ticket, 20) + "\"; /people lists who does.";
    const Role role = rest.ends_with(" member") ? Role::Member : Role::Guest;
    const std::string outcome = one_line(row.name.empty() ? row.sender : row.name, 60) + ": /" + name;
    return let_in(name == "allow" ? Admit::Yes : Admit::No, role, *waiting, outcome);
}

std::string Hub::State::let_in(Admit admit, Role role, const Door::Waiting& waiting, const std::string& outcome) {
    const bool yes = admit == Admit::Yes;
    std::set<int64_t> places;
    post.together([&] {
        if (yes) door.set_role(waiting.channel, waiting.sender, waiting.name, role);
        else door.turn_away(waiting.ticket);
        for (const ArrivalRow& row : post.held(waiting.channel, waiting.sender)) {
            if (yes) post.release(row.row);
            else post.refuse(row.row, "an owner said no");
            places.insert(row.place);
        }
        if (yes)
            for (const int64_t place : places) door.note_place(waiting.channel, waiting.sender, place);
        seal(cards.decide_door(waiting.ticket, outcome));
    });
    for (const int64_t place : places) loop.after(Milliseconds(0), [this, place] { advance(place); });
    const std::string who = one_line(waiting.name.empty() ? waiting.sender : waiting.name, 80);
    return yes ? who + " is let in." : who + " is not let in, and will not be announced again.";
}

namespace {

std::optional<std::string> in_words(Post& post, const std::optional<ArrivalRow>& row, const std::string& channel) {
    const std::optional<PlaceRow> place = row ? post.place(row->place) : std::nullopt;
    if (!row || !place || (!channel.empty() && place->channel != channel)) return std::nullopt;
    std::string text = "\"" + one_line(row->text, 60) + "\" arrived on " + place->channel + " as number " + std::to_string(row->row) +
                       "; " + row->verdict + ": " + row->rule + "; " + row->state;
    if (!row->turn.empty()) text += "; turn " + row->turn;
    return text + post.deliveries_in_words(row->place, row->row);
}

}  // namespace

std::optional<std::string> explain(Post& post, const std::string& message) {
    return in_words(post, post.arrival(message), {});
}

void Hub::State::run_command(Chat& chat, const ArrivalRow& row) {
    const std::optional<PlaceRow> place = post.place(chat.place);
    const auto [name, rest] = parsed(row.text);
    const Role role = door.role_of(place->channel, row.sender);
    const auto to_warden = [&](json::Value frame, const std::string& asked) {
        chat.asked = asked;
        chat.warden->send(frame);
    };
    const auto to_model = [&](const char* text) {
        const std::string id = message_id(*place, row);
        chat.said[id] = row.row;
        chat.warden->send(json::Value::object({{"type", "message"}, {"id", id}, {"text", text}}));
    };
    post.answered(row.row);  // at most once: what it does may not be done twice
    if (name == "stop") {
        if (chat.turn.empty()) return answer(chat.place, "Nothing runs.");
        chat.warden->send(json::Value::object({{"type", "stop"}}));
    } else if (name == "undo" && rest == "summary") {
        to_warden(json::Value::object({{"type", "undo"}, {"what", "summary"}}), "undo summary");
    } else if (name == "new" || name == "undo" || name == "status" || name == "usage") {
        to_warden(json::Value::object({{"type", json::Value(name)}}), name);
    } else if (name == "model" || name == "skills") {
        to_warden(json::Value::object({{"type", "status"}}), name);
    } else if (name == "export") {
        begin_export(chat);
    } else if (name == "compact") {
        if (!chat.turn.empty()) return answer(chat.place, "A turn runs: /stop ends it; or wait for it.");
        to_model("/compact");
    } else if (name == "more") {
        to_model("more");
    } else if (name == "whoami") {
        answer(chat.place, "You are " + one_line(row.name, 80) + ", known as " + one_line(row.sender, 100) + " on " + place->channel + ": " + role_name(role) + ".");
    } else if (name == "why") {
        std::optional<ArrivalRow> asked = rest.empty() ? post.arrival_before(row.row) : post.arrival(rest);
        // What was said elsewhere is nobody's business but an owner's.
        const bool over_all = role == Role::Owner && !place->group;
        if (asked && asked->place != place->id && asked->sender != row.sender && !over_all) asked.reset();
        answer(chat.place, in_words(post, asked, place->channel).value_or("There is no such message, or it was more than 30 days ago."));
    } else if (name == "tasks") {
        answer(chat.place, tasks_answer(*place, row, rest));
    } else if (name == "allow" || name == "deny" || name == "people") {
        if (role != Role::Owner || place->group) return answer(chat.place, "That is for owners, in a direct chat.");
        answer(chat.place, owners_answer(name, rest, row));
    } else if (name == "close") {
        if (role != Role::Owner || !place->group) return answer(chat.place, "That is for owners, in a group.");
        door.close_group(place->channel, place->conversation);
        answer(chat.place, "I am not heard here any more, until an owner says something to me here.");
    } else if (name == "agent") {
        if (rest.empty()) return answer(chat.place, "You speak with " + agent_of(*place) + ".");
        if (role != Role::Owner) return answer(chat.place, "That is for owners.");
        change_agent(chat, *place, rest);
    } else if (name == "help" || name == "start") {
        answer(chat.place, kHelp);
    } else {
        answer(chat.place, "There is no command /" + one_line(name, 40) + ".\n" + kHelp);
    }
}

// Its session is another from here on; the connection is made anew, and tells whether there is such an agent.
void Hub::State::change_agent(Chat& chat, const PlaceRow& place, const std::string& agent) {
    if (!is_agent_name(agent)) return answer(place.id, "That is no agent's name.");
    if (!chat.turn.empty() || !chat.said.empty()) return answer(place.id, "A turn runs: /stop ends it; or wait for it.");
    post.set_agent(place.id, agent);
    questions_over(place.id, {}, 0);
    close(place.id);
    Chat& anew = *(chats[place.id] = std::make_unique<Chat>());
    anew.place = place.id;
    anew.before = place.agent;
    open(anew);
}

void Hub::State::answer_command(Chat& chat, const json::Value& frame) {
    const std::string type = frame.text("type"), asked = chat.asked;
    chat.asked.clear();
    if (type == "session") answer(chat.place, "A new conversation has begun.");
    else if (type == "notice") answer(chat.place, frame.text("text"));
    else if (type == "undone") answer(chat.place, "Taken back: \"" + one_line(frame.text("text"), 100) + "\"");
    else if (type == "usage") answer(chat.place, in_words(frame));
    else if (type == "status") answer(chat.place, asked == "skills" ? in_words_skills(frame) : in_words_status(frame, asked == "model"));
    if (type == "session") chat.session = frame.text("session");
    advance(chat.place);
}

}  // namespace peacrab
