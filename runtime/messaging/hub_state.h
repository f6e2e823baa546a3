// What hub.cc (channels), chat.cc (conversations with the warden), delivery.cc and tasks.cc share.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <set>

#include "frame_port.h"
#include "messaging/cards.h"
#include "messaging/errand.h"
#include "messaging/file_kind.h"
#include "messaging/hub.h"
#include "messaging/schedule.h"
#include "messaging/spool.h"
#include "messaging/voice.h"
#include "messaging/workspace_stream.h"

namespace peacrab {

using Clock = std::chrono::steady_clock;

struct Channel {
    HubChannel options;
    std::unique_ptr<FramePort> port;
    std::function<bool(const std::string& why, const std::string& code)> gone;
    bool ready = false;  // it has said hello
    std::string stopped;  // why it will end: owners are told, unless it comes again
    std::string account, bot, trouble;
    ChannelLimits limits;
    int64_t noted = 0;  // Unix ms: when its last sign of life was written down
    Loop::TimerId timer = 0;  // to what is due next
    std::map<int64_t, Clock::time_point> under_way;  // deliveries it has not answered
    int64_t fetching = 0;                            // a file's row; 0: none
};

// A file that came with a message, on its way to the agent: asked of the channel, into the spool, read when it is
// speech, into the workspace. None of this is written down: what was begun is begun again.
struct Incoming {
    FileRow row;
    std::string channel;
    enum class Step { Waits, Comes, Here } step = Step::Waits;
    int tries = 0;
    std::string number;  // of this try, as the channel is told it
    std::unique_ptr<SpoolFile> file;
    int64_t most = 0;  // bytes of it that are taken
    std::string beginning, speech, said;  // speech: what was spoken; said: why nothing is known of that
    Clock::time_point since{};
    Loop::TimerId timer = 0;
    std::unique_ptr<Errand> opening;  // of the stream
    std::unique_ptr<WorkspaceStream> stream;
    std::unique_ptr<Transcription> transcription;
};

// A file that is to be sent, on its way from the agent's workspace into the spool.
struct Outgoing {
    int tries = 0;
    std::unique_ptr<SpoolFile> file;
    std::unique_ptr<Errand> opening;
    std::unique_ptr<WorkspaceStream> stream;
    Loop::TimerId timer = 0;
};

// A conversation that something waits in, or a turn runs.
struct Chat {
    int64_t place = 0;
    std::unique_ptr<Errand> opening;
    std::unique_ptr<FramePort> warden;
    bool ready = false;  // caught up
    std::string session, turn;
    std::map<std::string, int64_t> said;  // message ids on their way → the row
    std::string asked;                    // a command that the warden answers
    std::optional<std::string> before;    // the agent of this conversation until it was given another, which may not be there
    std::unique_ptr<SpoolFile> exported;  // the conversation as text, as far as it is here
    Loop::TimerId again = 0, linger = 0, typing = 0, showing = 0;
    Milliseconds backoff{1000};
    // The running turn, as it is shown.
    Clock::time_point since{};
    Clock::time_point shown{};
    std::string partial, step, last_shown;
    int steps = 0;
    bool show_under_way = false;
    // Tasks.
    int64_t gate = 0;      // the row whose gate runs
    bool blocked = false;  // none can begin before a turn has ended
    bool silent = false;   // nobody has asked for the running turn, and the person is left alone
};

// The same for ever, and another after the model could not be reached.
std::string message_id(const PlaceRow& place, const ArrivalRow& row);

struct Hub::State {
    Loop& loop;
    HubOptions options;
    Post post;
    Door door;
    Schedule schedule;
    Cards cards;
    UniqueFd alarm, changed;  // on the wall clock; of the post, by another program
    std::set<std::string> listened;  // channels whose conversations were opened to hear of what ends
    std::map<std::string, std::unique_ptr<Channel>> channels;
    std::map<int64_t, std::unique_ptr<Chat>> chats;  // by place
    std::deque<int64_t> to_open;                     // places whose connection waits for its turn to be made
    Loop::TimerId pruning = 0, mending = 0;
    Spool spool;
    std::map<int64_t, std::unique_ptr<Incoming>> incoming;  // by their row
    std::map<int64_t, std::unique_ptr<Outgoing>> outgoing;  // by their delivery
    uint64_t fetches = 0;
    std::map<std::string, std::string> agents;  // by channel, of those that were here

    State(Loop& the_loop, HubOptions the_options);
    ~State();
    Channel* channel_of(const PlaceRow& place);

    // hub.cc
    void prune();
    void on_channel(Channel& channel, const json::Value& frame);
    void on_batch(Channel& channel, const json::Value& frame);
    void note_sign(Channel& channel);
    void tell_owners(const std::string& channel, const std::string& text);
    void lost(const std::string& name, const std::string& why);

    // chat.cc. advance: does what there is to do in a place, however often it is called.
    void advance(int64_t place);
    void open(Chat& chat);
    void open_next();
    void opened(Chat& chat, UniqueFd fd, const std::string& why);
    // `then` is told what `call` gives, or why it gives nothing: at once, or when the child `in` has ended. Throws Error.
    void reach(std::unique_ptr<Errand>& in, Milliseconds limit, std::function<UniqueFd()> call,
               std::function<void(UniqueFd fd, const std::string& why)> then);
    void close(int64_t place);  // now; what waits is seen to again
    void gone(Chat& chat);
    void retry(Chat& chat, Milliseconds span);
    void on_warden(int64_t place, const json::Value& frame);
    void on_event(Chat& chat, const json::Value& frame);
    void on_words(Chat& chat, const json::Value& frame);
    void on_turn_done(Chat& chat, const json::Value& frame);
    void say(Chat& chat, const ArrivalRow& row);
    std::string named(const PlaceRow& place, const ArrivalRow& one);
    std::string words_of(const PlaceRow& place, const ArrivalRow& row, int64_t after);
    bool is_command(int64_t row);
    void answer(int64_t place, const std::string& text);

    std::string agent_of(const PlaceRow& place);

    // incoming.cc. all_here: whether nothing that came with it is still on its way; what is, is brought on.
    void later(Incoming& one, Milliseconds span, std::function<void(Incoming& one)> what);
    void take_files(const PlaceRow& place, int64_t arrival, const Event& event, bool held);
    bool all_here(const PlaceRow& place, const ArrivalRow& row);
    std::string with_files(const ArrivalRow& row, std::string text);
    void fetch_next(Channel& channel);
    void on_data(Channel& channel, const json::Value& frame);
    void on_fetched(Channel& channel, const json::Value& frame);
    void fetch_cut(const std::string& channel);
    void forget_files();
    bool room_for(Incoming& one);
    void too_much(Incoming& one);
    void file_here(Incoming& one);
    void put_file(Incoming& one);
    void not_here(Incoming& one, const std::string& why);
    void settle(Incoming& one, const std::string& line);

    // outgoing.cc
    void enqueue_file(const PlaceRow& place, const std::string& origin, const json::Value& frame);
    void enqueue_reply(const PlaceRow& place, const std::string& origin, const std::string& text);
    bool parcel_ready(Channel& channel, const PlaceRow& place, int64_t delivery);  // what is not, is brought on
    void fetch_parcel(const PlaceRow& place, int64_t delivery, const Parcel& parcel);
    void no_parcel(int64_t delivery, const std::string& why);
    json::Value parcel_frame(const Parcel& parcel);
    void on_want(Channel& channel, const json::Value& frame);
    void delivered(int64_t delivery);
    void begin_export(Chat& chat);
    void on_export(Chat& chat, const json::Value& frame);

    // commands.cc
    void run_command(Chat& chat, const ArrivalRow& row);
    void change_agent(Chat& chat, const PlaceRow& place, const std::string& agent);
    void answer_command(Chat& chat, const json::Value& frame);
    std::string owners_answer(const std::string& name, const std::string& rest, const ArrivalRow& row);
    enum class Admit { No, Yes };
    // Who waits with that ticket; `outcome` closes its cards.
    std::string let_in(Admit admit, Role role, const Door::Waiting& waiting, const std::string& outcome);
    void turn_began(Chat& chat, const std::string& turn);
    void linger(Chat& chat, Milliseconds wait);
    void turn_over(Chat& chat);
    void keep_typing(Chat& chat);
    void show_soon(Chat& chat);
    void show(Chat& chat);

    // tasks.cc. run_tasks: what is due, and to the next; as often as it likes.
    enum class Look { Due, Anew };  // Anew: the clock may have been put back
    enum class Told { Not, Already };
    void watch_tasks();
    void end_tasks();
    void set_alarm();
    void run_tasks(Look look);
    void look_anew(int64_t now);
    void fire(TaskRow task, int64_t now);
    void pause(TaskRow task, const std::string& why);
    bool free_for_task(const Chat& chat) const;
    void say_task(Chat& chat, const ArrivalRow& row);
    void on_gate(Chat& chat, const std::string& verdict, const std::string& text);
    void on_task(Chat& chat, const json::Value& frame);
    void listen_to_ends(Chat& chat);
    void task_failed(int64_t id, const std::string& why, Told told);
    void task_refused(const ArrivalRow& row, const std::string& why);
    void task_turn_over(int64_t place, const std::string& turn);
    void tell(int64_t place, const std::string& text);
    std::optional<int64_t> quiet_at(int64_t place);
    std::optional<int64_t> quiet_turn(const Chat& chat, const std::string& turn);
    void hold_if_quiet(const Chat& chat, const std::string& turn, const std::vector<std::string>& origins);
    bool wanted(int64_t place);  // something waits there, or is listened to

    // webhooks.cc. take_hook: the place it is told in; 0: it was told before.
    int64_t take_hook(const Channel& channel, const Event& event);
    static bool by_itself(const ArrivalRow& row);  // nobody has said it: a task, a webhook
    void begin_by_itself(Chat& chat, const ArrivalRow& row);
    void refused_by_itself(const ArrivalRow& row, const std::string& why);
    std::optional<int64_t> quiet_hook(int64_t place, const std::string& turn);

    // task_tool.cc
    void answer_task_call(Chat& chat, const json::Value& frame);
    Role role_in(const PlaceRow& place, const std::string& turn);
    std::string create_task(Chat& chat, const std::string& turn, const json::Value& arguments);
    std::string tasks_answer(const PlaceRow& place, const ArrivalRow& row, const std::string& rest);

    // presses.cc. In a transaction of the caller's, but for questions_over. take_press: the place of it; 0: it was told before.
    int64_t take_press(const Channel& channel, const Event& event);
    void ask(const PlaceRow& place, const std::string& origin, const std::string& session, const json::Value& frame);
    void ask_owners(const std::string& ticket, const std::string& text);
    void put_choices(const Channel& channel, int64_t delivery, json::Value& frame);
    void question_answered(const PlaceRow& place, const Event& event);
    void questions_over(int64_t place, const std::string& session, int64_t seq);  // that were asked before
    void decide(const Card& card, const std::string& outcome);
    bool lapsed(const Card& card);
    std::string too_late(const Card& card, const std::string& channel, const Event& event);
    void seal(const Card& card, const std::string& platform);  // "": where it was delivered
    void seal(const std::vector<Card>& decided);

    // delivery.cc
    void pump(const std::string& channel);
    void pump_all();
    void pump(Channel& channel, int64_t place);
    std::optional<DeliveryRow> delivery_of(const Channel& channel, const json::Value& frame);
    void on_sent(Channel& channel, const json::Value& frame);
    void on_failed(Channel& channel, const json::Value& frame);
    void given_up(const DeliveryRow& row, const std::string& why);
    void resolve_unknown(Channel& channel);
    void was_cut(const std::string& channel);
};

}  // namespace peacrab
