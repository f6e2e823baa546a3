// Joins the link to the warden; nothing is decided here. The host may end at any time and come
// back with a new epoch: streams die with it, turns go on.
#include "launch/guest.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <map>

#include "launch/audit_check.h"
#include "launch/boot.h"
#include "budget/spending.h"
#include "cells/egress_book.h"
#include "cells/quota.h"
#include "cells/relay.h"
#include "error.h"
#include "files/transfers.h"
#include "link.h"
#include "loop.h"
#include "skills/folders.h"
#include "skills/shelf.h"
#include "warden.h"

namespace peacrab {
namespace {

constexpr int kProtocol = 1;
constexpr Ids kTurnIds{2000, 2000};  // the agent in slot 1 has uid and gid 2001, and this group as well
// Of all cells together: a stream must be left for who wants to talk.
constexpr size_t kMaxEgress = 160;
constexpr rlim_t kMaxOpenFiles = 16'384;  // what is started has less (jail)

constexpr const char* kState = "/state";

WardenOptions warden_options(LinkPort& port) {
    WardenOptions options;
    options.state = kState;
    options.durability = Durability::PowerLoss;
    options.cell.place = CellOptions::Place::Cell;
    options.cell.kernel = CellOptions::Kernel::Own;
    options.cell.base = "/base";
    options.cell.workspace = "/home/agent/workspace";
    options.turn_ids = kTurnIds;
    options.hold_journals = hold_journals;
    // The host names nothing by this; it is an address so that no resolver is ever asked.
    options.base_url = "http://127.0.0.1";
    options.open_model = [&port](const std::string& agent, const std::string& session) {
        SocketPair pair = SocketPair::stream();
        const json::Value meta = json::Value::object({{"agent", agent}, {"session", session}});
        port.join(port.open("model", json::dump(meta)), std::move(pair.ours));
        return std::move(pair.theirs);
    };
    options.open_search = [&port](const std::string& agent) {
        SocketPair pair = SocketPair::stream();
        port.join(port.open("search", json::dump(json::Value::object({{"agent", agent}}))), std::move(pair.ours));
        return std::move(pair.theirs);
    };
    return options;
}

json::Value names(const std::vector<std::string>& list) {
    json::Value array = json::Value::array();
    for (const std::string& name : list) array.push(name);
    return array;
}

class Guest {
  public:
    explicit Guest(Booted booted)
        : booted_(std::move(booted)),
          port_(loop_, open_link_port(Deadline::in(Seconds(10))), Link::Side::Guest, handlers()),
          egress_book_(loop_, [this](const json::Value& record) { return warden_.note(record); }),
          warden_(loop_, options()) {
        port_.set_hello(json::dump(json::Value::object({{"version", kVersion},
                                                        {"protocol", kProtocol},
                                                        {"boot", boot_id()},
                                                        {"kernel", kernel_release()}})));
    }
    ~Guest() { transfers_.cancel({}); }  // they stay in cells of the warden's
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;
    void run() { loop_.run(); }

  private:
    Shelf::Options shelf_options() {
        Shelf::Options options;
        options.folder = std::string(kState) + "/shelf";
        options.seen = kSeenSkills;
        options.ids = unpack_ids(kTurnIds);
        options.idle = [this] { return warden_.idle(); };
        return options;
    }

    WardenOptions options() {
        WardenOptions options = warden_options(port_);
        options.cell.shown = {shelf_.skills_folder(), kSeenSkills};
        options.skills = [this](const AgentSettings& agent) { return shelf_.catalogue(agent); };
        options.hooks = [this] { return shelf_.hooks(); };
        options.cell_here = [this](const std::string& cell, int listener) {
            relays_.erase(cell);
            relays_.try_emplace(
                cell, loop_, listener,
                [this, cell](UniqueFd connection, std::function<void()> ended) {
                    open_egress(cell, std::move(connection), std::move(ended));
                },
                [this, cell] { egress_book_.turned_away(cell); });
        };
        options.cell_gone = [this](const std::string& cell) {
            relays_.erase(cell);
            if (control_) say(json::Value::object({{"type", "cell_gone"}, {"agent", cell}}));
        };
        return options;
    }

    // Whose connection it is, the socket says that it was accepted on.
    void open_egress(const std::string& cell, UniqueFd connection, std::function<void()> ended) {
        if (egress_ >= kMaxEgress) throw Error("too many connections of all cells");
        // Asked how much went through when the link has closed its own.
        auto same = std::make_shared<UniqueFd>(::fcntl(connection.get(), F_DUPFD_CLOEXEC, 3));
        if (!*same) throw ErrnoError("egress");
        const EgressBook::Entry entry = egress_book_.opened(cell);
        const json::Value meta =
            json::Value::object({{"cell", cell}, {"connection", entry.number}});
        StreamId stream;
        try {
            stream = port_.open("egress", json::dump(meta));
        } catch (const Error&) {
            egress_book_.closed(cell, entry, {});
            throw;
        }
        ++egress_;
        port_.join(stream, std::move(connection),
                   [this, cell, entry, same, ended = std::move(ended)] {
                       --egress_;
                       egress_book_.closed(cell, entry, traffic_of(same->get()));
                       same->reset();
                       ended();
                   });
    }

    LinkPort::Handlers handlers() {
        LinkPort::Handlers handlers;
        handlers.attached = [this](const std::string&) { forget_streams(); };
        handlers.opened = [this](StreamId id, const std::string& kind, const std::string& meta) {
            opened(id, kind, meta);
        };
        handlers.data = [this](StreamId id, std::string_view bytes) { data(id, bytes); };
        handlers.finished = [this](StreamId id) { gone(id); };
        handlers.reset = [this](StreamId id, const std::string&) { gone(id); };
        handlers.broken = [](const std::string& why) { throw Error("guest: link: " + why); };
        return handlers;
    }

    // A new epoch: the host was restarted, every stream of the old one is dead.
    void forget_streams() {
        for (const auto& [stream, client] : chats_) warden_.disconnect(client);
        chats_.clear();
        refused_.clear();
        held_.clear();
        control_ = 0;
        control_buffer_ = {};
    }

    void opened(StreamId id, const std::string& kind, const std::string& meta) {
        if (kind == "control" && control_ == 0) {
            control_ = id;
        } else if (kind == "chat") {
            open_chat(id);
        } else if (kind == "files") {
            open_files(id, meta);
        } else if (kind == "port") {
            open_server(id, meta);
        } else if (kind == "skills") {
            take_skills(id, meta);
        } else {
            port_.reset(id, "no such stream here");
        }
    }

    void open_chat(StreamId id) {
        try {
            chats_[id] =
                warden_.connect({[this, id](std::string_view line) { port_.send(id, line); },
                                 [this, id](const std::string& why) {
                                     chats_.erase(id);
                                     port_.reset(id, why);
                                 }});
        } catch (const Error& error) {  // one too many
            port_.reset(id, error.what());
        }
    }

    // Edited before a message was sent, they are there before it is answered.
    void take_skills(StreamId id, const std::string& meta) {
        if (meta == kNoHooks) shelf_.no_hooks_known();
        SocketPair pair = SocketPair::stream();
        port_.join(id, std::move(pair.ours));
        shelf_.take(std::move(pair.theirs), [this, hooks = meta != kNoHooks](const std::string& why) {
            if (hooks && !why.empty()) shelf_.hooks_lost();
            if (shelf_.taking()) return;
            std::vector<Held> held;
            held.swap(held_);
            for (const Held& one : held) one.gone ? gone(one.stream) : data(one.stream, one.bytes);
        });
    }

    void open_server(StreamId id, const std::string& meta) {
        try {
            const json::Value wanted = json::parse(meta);
            const int64_t port = wanted.integer("port");
            if (port < 1 || port > 65535) throw Error("no such port");
            port_.join(id, warden_.connect_server(wanted.text("agent"), static_cast<uint16_t>(port)));
        } catch (const Error&) {
            // A browser shows this; for another protocol it is one more reason to hang up.
            port_.send(id, "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                           "Content-Length: 53\r\n\r\n"
                           "peacrab: nobody listens on this port in the cell now\n");
            port_.finish(id);
        }
    }

    void open_files(StreamId id, const std::string& meta) {
        try {
            const json::Value said = json::parse(meta);
            const Transfers::Wanted wanted{said.text("agent"), said.text("op"), said.text("path")};
            Transfers::Begun begun = transfers_.begin(warden_.cell_of(wanted.agent), wanted);
            port_.join(id, std::move(begun.socket),
                       [this, number = begun.number] { transfers_.left(number); });
        } catch (const Error& error) {
            refused_[id] = Transfers::verdict(false, error.what());
        }
    }

    // The host asks once it knows that the stream is open, and reads only what comes then.
    bool refuse_files(StreamId id) {
        const auto refused = refused_.find(id);
        if (refused == refused_.end()) return false;
        port_.send(id, refused->second);
        port_.finish(id);
        refused_.erase(refused);
        return true;
    }

    void data(StreamId id, std::string_view bytes) {
        if (const auto chat = chats_.find(id); chat != chats_.end()) {
            if (shelf_.taking()) return held_.push_back({id, std::string(bytes), false});
            return warden_.receive(chat->second, bytes);
        }
        if (id != control_) return (void)refuse_files(id);
        control_buffer_.append(bytes);
        while (std::optional<std::string> line = control_buffer_.next())
            on_control(parse_frame(Dialect::HostToGuest, *line));
    }

    void gone(StreamId id) {
        if (refuse_files(id)) return;
        const auto chat = chats_.find(id);
        if (chat == chats_.end()) return;
        if (shelf_.taking()) return held_.push_back({id, "", true});
        warden_.disconnect(chat->second);
        chats_.erase(chat);
        port_.finish(id);
    }

    void say(const json::Value& frame) {
        port_.send(control_, write_frame(Dialect::GuestToHost, frame));
    }

    void on_control(const json::Value& frame) {
        const std::string type = frame.text("type");
        if (type == "settings") {
            settings(frame);
        } else if (type == "remove_agent") {
            transfers_.cancel(frame.text("name"));
            warden_.remove_agent(frame.text("name"), [this, id = frame.text("id")](
                                                         const std::string& why) {
                json::Value removed =
                    json::Value::object({{"type", "removed"}, {"id", id}, {"ok", why.empty()}});
                if (!why.empty()) removed.set("why", why);
                if (control_) say(removed);
            });
        } else if (type == "inspect") {
            inspect(frame.text("id"), frame.text("what"));
        } else if (type == "power_off") {
            transfers_.cancel({});
            warden_.stop_all();
            egress_book_.flush();
            say(json::Value::object({{"type", "stopped"}}));
            // A few more rounds of the loop, so that the words above reach the host.
            loop_.after(Milliseconds(20), [this] { loop_.stop(); });
        }
    }

    void inspect(const std::string& id, const std::string& what) {
        const auto answer = [this, id](const json::Value& report) {
            if (control_)
                say(json::Value::object({{"type", "inspected"}, {"id", id}, {"report", report}}));
        };
        if (what == "background")
            return answer(json::Value::object({{"background", warden_.background()}}));
        audit_.check([this, answer](const AuditChecker::Result& result) {
            using State = AuditChecker::Result::State;
            json::Value all = report();
            all.set("audit", json::Value::object({{"known", result.state != State::Unknown},
                                                  {"whole", result.state == State::Whole},
                                                  {"text", result.text}}));
            answer(all);
        });
    }

    void settings(const json::Value& frame) {
        set_clock(frame.integer("clock"));
        warden_.set_model(model_from(frame));
        Agents agents = agents_from(frame);
        transfers_.cancel_if([&](const std::string& name) {
            const AgentSettings* const own = agents.find(name);
            return !own || own->paused;
        });
        warden_.set_agents(std::move(agents));
        warden_.set_spending(spending_from(frame));
        warden_.set_time_factor(
            static_cast<int>(std::clamp<int64_t>(frame.integer("time_factor"), 1, 100)));
        say(json::Value::object({{"type", "ready"}, {"ms", since_boot()}, {"posture", posture()}}));
    }

    std::string posture() {
        std::string text = warden_.posture();
        for (const std::string& complaint : booted_.complaints) text += "; " + complaint;
        return text;
    }

    static int64_t since_boot() {
        timespec now;
        ::clock_gettime(CLOCK_BOOTTIME, &now);
        return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
    }

    json::Value report() {
        json::Value mounts = json::Value::array();
        for (const std::string& line : split(read_file("/proc/self/mounts", MiB(1)), '\n')) {
            const std::vector<std::string> fields = split(line, ' ');
            if (fields.size() > 2) mounts.push(fields[1] + " " + fields[2]);
        }
        return json::Value::object({{"version", kVersion},
                                    {"boot", boot_id()},
                                    {"kernel", kernel_release()},
                                    {"posture", posture()},
                                    {"root", names(list_folder("/"))},
                                    {"modules", names(list_folder("/modules"))},
                                    {"mounts", mounts},
                                    {"warden_memory", warden_.memory()},
                                    {"turn_memory", warden_.turn_memory()}});
    }

    Booted booted_;
    Loop loop_;
    LinkPort port_;
    size_t egress_ = 0;
    EgressBook egress_book_;
    AuditChecker audit_{loop_, std::string(kState) + "/audit"};
    std::map<std::string, Relay> relays_;  // by cell; the warden says which there are
    Transfers transfers_{loop_, [this](const json::Value& record) { return warden_.note(record); }};
    StreamId control_ = 0;
    FrameBuffer control_buffer_;
    Shelf shelf_{loop_, shelf_options()};
    Warden warden_;
    std::map<StreamId, Warden::ClientId> chats_;
    std::map<StreamId, std::string> refused_;  // of kind files: what there is to say, when it is asked
    // What clients say while skills arrive.
    struct Held {
        StreamId stream;
        std::string bytes;
        bool gone;
    };
    std::vector<Held> held_;
};

}  // namespace

void guest_main() {
    set_log_name("warden");
    try {
        Booted booted = boot_guest();
        // In memory it would all be gone with the power, after "stored" had been said.
        if (!booted.state_mounted) throw Error("guest: no state disk: nothing could be kept");
        // A dozen agents with all the background processes they may have are more than the usual 1024.
        const rlimit files{kMaxOpenFiles, kMaxOpenFiles};
        if (::setrlimit(RLIMIT_NOFILE, &files) < 0) throw ErrnoError("guest: open files");
        // Dropped before the power goes: with it the store is closed and every child ended.
        Guest guest(std::move(booted));
        guest.run();
    } catch (const std::exception& error) {
        // PID 1 must not just end: say why where the launcher keeps the console, then go down
        // cleanly, so that the state disk is.
        log(LogLevel::Error, error.what());
    }
    power_off();
}

}  // namespace peacrab
