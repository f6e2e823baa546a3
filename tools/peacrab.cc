// `peacrab`: the host program. A table of subcommands, each with the flags it knows and its help; a
// word that is not in the table is a usage error with a hint. Must not do anything by itself: every
// subcommand is one call into a module.
//
// Exit codes: 0 ok, 1 failure, 2 usage, 6 not running or cannot start (arguments.h).
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>

#include "agent_commands.h"
#include "agents.h"
#include "arguments.h"
#include "channel_commands.h"
#include "channels/adapters.h"
#include "channels/terminal.h"
#include "client.h"
#include "config/agent_keys.h"
#include "config.h"
#include "dialogue.h"
#include "doctor.h"
#include "egress_allow.h"
#include "egress_route.h"
#include "error.h"
#include "file_commands.h"
#include "gateway.h"
#include "image.h"
#include "config/model_choice.h"
#include "model_route.h"
#include "qemu.h"
#include "relay.h"
#include "search_route.h"
#include "setup_model.h"
#include "skill_commands.h"
#include "talk_commands.h"
#include "usage_command.h"

using namespace peacrab;

namespace {

struct Command {
    const char* name;
    const char* summary;
    const char* usage;     // behind `peacrab `
    const char* values;    // flags with a value, separated by spaces
    const char* switches;  // flags without
    size_t most_words;
    const char* help;
    int (*run)(const Arguments&);
};

Arguments parse(const Command& command, const std::vector<std::string>& arguments) {
    Arguments out;
    bool flags_end = false;
    for (size_t i = 0; i < arguments.size(); ++i) {
        const std::string argument = arguments[i] == "-o" ? "--output" : arguments[i];
        if (flags_end || argument.rfind("--", 0) != 0) {
            if (!flags_end && argument.size() > 1 && argument[0] == '-')
                throw UsageError("unknown flag " + printable(argument));
            out.words.push_back(argument);
            continue;
        }
        if (argument == "--") {
            flags_end = true;
            continue;
        }
        const size_t equals = argument.find('=');
        const std::string flag = argument.substr(2, equals - 2);
        const bool has_value = equals != std::string::npos;
        if (knows(command.switches, flag) && !has_value) {
            out.switches.insert(flag);
        } else if (knows(command.values, flag)) {
            if (!has_value && i + 1 == arguments.size())
                throw UsageError("--" + flag + " needs a value");
            out.values[flag] = has_value ? argument.substr(equals + 1) : arguments[++i];
        } else {
            throw UsageError("unknown flag --" + printable(flag) +
                        (command.most_words ? "; words that begin with -- go behind a single --" : ""));
        }
    }
    if (out.words.size() > command.most_words)
        throw UsageError("`" + printable(out.words[command.most_words]) + "` is one word too many");
    return out;
}

constexpr const char* kMachineFlags = "name cpus memory disk accel model model-url dialect";
constexpr const char* kMachineHelp =
    "  --dir DIR         copy this folder into the workspace of --agent NAME (main), all but .git and what\n"
    "                    .gitignore and .peacrabignore name; again: what changed here since. 1 GiB at most.\n"
    "  --name NAME       which machine (default)\n"
    "  --cpus N          1 under TCG, up to 4 with KVM\n"
    "  --memory SIZE     of the machine: 512M, 2G (1G); taken from the host as it is used\n"
    "  --disk SIZE       of its state disk, fixed at the first start (8G, sparse)\n"
    "  --accel WHICH     auto, kvm or tcg (auto); kvm never falls back\n"
    "  --model NAME      the model to ask\n"
    "  --model-url URL   where it is asked, for another server than the provider's\n"
    "  --dialect NAME    anthropic, chat or responses, where the address does not tell\n"
    "A flag left out is what the configuration says (`peacrab doctor` tells where it is).\n";

// ---- up, ps, stop, rm, doctor, image

int up(const Arguments& arguments) {
    require_folder(arguments);
    const UpResult result = bring_up(machine_options(arguments), tell);
    if (!result.differs.empty()) {
        tell(result.differs);
        return kFailure;
    }
    if (!result.started) tell("it runs already");
    (void)send_folder(arguments);
    return kOk;
}

OutputForm form(const Arguments& arguments) {
    return arguments.has("json") ? OutputForm::Json : OutputForm::Text;
}

int ps(const Arguments& arguments) { return list_machines(form(arguments)); }

int doctor_command(const Arguments& arguments) {
    return doctor(machine_options(arguments).name, form(arguments));
}

// Powers the machine off; true when one ran.
bool stop_machine(const MachinePlace& place) {
    std::optional<FrameSocket> gateway = connect_gateway(place);
    if (!gateway) return false;
    ask_gateway(*gateway, "stop", Seconds(60));
    while (!gateway->closed()) gateway->receive(Deadline::never());  // its process has ended
    return true;
}

int stop(const Arguments& arguments) {
    const MachinePlace place = machine_place(machine_options(arguments).name);
    if (!stop_machine(place)) {
        tell("the machine `" + place.name + "` does not run; peacrab ps lists those that do");
        return kNotRunning;
    }
    tell("stopped");
    return kOk;
}

bool confirmed(const MachinePlace& place) {
    std::fprintf(stderr, "Remove the machine `%s` with everything its agents have written (%s)? [y/N] ",
                 place.name.c_str(), place.folder.c_str());
    char answer[16] = "";
    return std::fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

int rm(const Arguments& arguments) {
    const MachinePlace place = machine_place(machine_options(arguments).name);
    if (::access(place.folder.c_str(), F_OK) < 0) {
        tell("there is no machine `" + place.name + "`");
        return kNotRunning;
    }
    if (!arguments.has("force")) {
        if (!::isatty(STDIN_FILENO)) throw UsageError("rm: without a terminal to ask on, --force is needed");
        if (connect_gateway(place)) throw Error("it runs; stop it first: " + command_for("stop", place.name));
        if (!confirmed(place)) return kFailure;
    }
    stop_machine(place);
    // With the lock held nobody can start it under us.
    const Deadline deadline = Deadline::in(Seconds(10));
    std::optional<UniqueFd> lock = take_machine_lock(place);
    for (; !lock && !deadline.passed(); lock = take_machine_lock(place)) ::usleep(20'000);
    if (!lock) throw Error("rm: " + place.folder + ": another process holds it");
    std::error_code failure;
    std::filesystem::remove_all(place.folder, failure);
    if (failure) throw Error("rm: " + place.folder + ": " + failure.message());
    tell("removed " + place.folder);
    return kOk;
}

bool removal_confirmed(const std::string& name) {
    if (!::isatty(STDIN_FILENO))
        throw UsageError("agent rm: without a terminal to ask on, --force is needed");
    std::fprintf(stderr, "Remove the agent `%s` with everything it has written, in every machine? [y/N] ",
                 name.c_str());
    char answer[16] = "";
    return std::fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

AgentValues agent_values(const Arguments& arguments) {
    AgentValues values;
    for (const char* key : kLimitKeys)
        if (arguments.values.count(key)) values[key] = arguments.value(key);
    for (const char* key : {"model", "rules"})
        if (arguments.values.count(key)) values[key] = arguments.value(key);
    return values;
}

int agent(const Arguments& arguments) {
    const std::string what = arguments.words.empty() ? "ls" : arguments.words[0];
    const std::string name = arguments.words.size() > 1 ? arguments.words[1] : "";
    if (!knows("add ls show set pause resume rm", what))
        throw UsageError("agent: add, ls, show, set, pause, resume or rm was expected");
    if (what == "ls" ? !name.empty() : name.empty())
        throw UsageError("agent " + what + (name.empty() ? ": the agent's name is missing" : ": too many words"));
    if (what != "ls" && !is_agent_name(name))
        throw UsageError("`" + printable(name) + "` is no agent's name: a letter, then letters, digits and "
                    "`-`, in lower case, at most 32");
    const AgentValues values = agent_values(arguments);
    if (!values.empty() && what != "add" && what != "set")
        throw UsageError("agent " + what + ": --" + values.begin()->first + " does not belong here");
    if (arguments.values.count("from") && what != "add")
        throw UsageError("agent " + what + ": --from does not belong here");
    if (what == "set" && values.empty()) throw UsageError("agent set: say what to change");
    if (what == "add") return agent_add(name, values, arguments.value("from"));
    if (what == "set") return agent_set(name, values);
    if (what == "ls") return agent_list(form(arguments));
    if (what == "show") return agent_show(name, form(arguments));
    if (what == "pause") return agent_state(name, AgentState::Paused);
    if (what == "resume") return agent_state(name, AgentState::Active);
    const bool force = arguments.has("force");
    return agent_remove(name, force ? RemoveWhat::Force : RemoveWhat::Known,
                        [&] { return force || removal_confirmed(name); });
}

int image(const Arguments& arguments) {
    const std::string what = arguments.words.empty() ? "ls" : arguments.words[0];
    if (what != "build" && arguments.words.size() > 1)
        throw UsageError("image " + what + ": too many words");
    if (what == "ls") return image_list();
    if (what == "show") return image_show();
    if (what != "build" && what != "kernel")
        throw UsageError("image: ls, show, build or kernel was expected");
    std::vector<std::string> rest(arguments.words.begin() + 1, arguments.words.end());
    if (arguments.has("refresh")) rest.push_back("--refresh");
    // Compiling it is a part of building an image with it, and is done once.
    const std::string kernel = arguments.value("kernel", what == "kernel" ? "own" : "");
    if (what == "kernel" && kernel != "own") throw UsageError("image kernel: it compiles the own kernel");
    if (!kernel.empty()) rest.insert(rest.end(), {"--kernel", kernel});
    return image_build(rest);
}

int setup(const Arguments& arguments) {
    if (arguments.values.count("search") || arguments.values.count("search-url"))
        return setup_search(arguments.value("search", "searxng"), arguments.value("search-url", ""));
    SetupOptions options;
    options.model = model_flags(arguments);
    // Without a person there is no dialogue, only what went wrong.
    if (!::isatty(STDIN_FILENO)) options.out_fd = STDERR_FILENO;
    if (arguments.has("key-stdin")) options.key = SetupOptions::Key::Stdin;
    if (arguments.has("no-check")) options.check = SetupOptions::Check::None;
    return setup_model(options);
}

// ---- ways out of a cell, and into it

int allow(const Arguments& arguments) {
    if (arguments.words.empty()) {
        if (arguments.has("remove")) throw UsageError("allow: which rule to remove is missing");
        return allow_list();
    }
    if (arguments.has("remove")) return allow_remove(arguments.words);
    std::vector<EgressRule> rules;
    try {
        rules = rules_of_words(arguments.words);
    } catch (const Error& error) {
        throw UsageError(error.what());
    }
    return allow_add(rules);
}

int port(const Arguments& arguments) {
    if (arguments.words.size() != 2) throw UsageError("port: an agent and a port were expected");
    PortOptions options;
    options.agent = arguments.words[0];
    const auto number = parse_port(arguments.words[1]);
    if (!number) throw UsageError("port: a number from 1 to 65535 was expected");
    options.port = *number;
    if (arguments.has("raw")) options.gate = PortOptions::Gate::None;
    if (arguments.has("detach")) options.stay = PortOptions::Stay::Detach;
    if (arguments.has("close")) options.stay = PortOptions::Stay::Close;
    return open_port(machine_place(machine_options(arguments).name), options);
}

// ---- the processes of ours

int gateway(const Arguments& arguments) {
    GatewayOptions options;
    options.flags = machine_options(arguments);
    if (arguments.has("report")) {
        options.report = UniqueFd(3);
        if (::fcntl(3, F_SETFD, FD_CLOEXEC) < 0) throw ErrnoError("gateway: report");
        // Away from who started us, who may live long and must not have to reap us.
        const pid_t pid = ::fork();
        if (pid < 0) throw ErrnoError("gateway: fork");
        if (pid > 0) ::_exit(0);
    }
    if (::chdir("/") < 0) throw ErrnoError("gateway: chdir");
    QemuDriver driver;
    return run_gateway(std::move(options), driver);
}

int egress_route(const Arguments&) { return egress_route_main(); }

int search_route(const Arguments&) { return search_route_main(); }

int usage(const Arguments& arguments) {
    const MachinePlace place = machine_place(machine_options(arguments).name);
    UsageAsked asked;
    const std::string days = arguments.value("days", "7");
    const auto [end, failure] = std::from_chars(days.data(), days.data() + days.size(), asked.days);
    if (failure != std::errc() || end != days.data() + days.size() || asked.days < 1 || asked.days > 3660)
        throw UsageError("--days: a number from 1 to 3660 was expected");
    asked.agent = arguments.value("agent");
    asked.form = form(arguments);
    if (arguments.has("more") && !allow_more(place)) tell("nothing is used up today");
    return usage_list(place, asked);
}

int model_route(const Arguments& arguments) {
    const Config config = load_config(config_file());
    const MachineOptions options = with_config(machine_options(arguments), config);
    ModelRouteOptions route;
    route.config = options;
    route.models = config.fallback;
    for (const AgentSettings& agent : config.agents.list)
        if (!agent.model.empty()) route.models.push_back(agent.model);
    read_model_job(read_file("/proc/self/fd/4", KiB(32)), route);
    // Whoever invents names does not fill the book with them.
    if (!config.agents.find(route.agent)) route.agent = "(unknown)";
    route.spending = config.spending;
    return model_route_main(route);
}

int skills(const Arguments& arguments) {
    return skill_list(arguments.has("json") ? OutputForm::Json : OutputForm::Text);
}

const Command kCommands[] = {
    {"up", "start the machine", "up [flags]",
     "name cpus memory disk accel model model-url dialect agent dir", "", 0, kMachineHelp, up},
    {"chat", "talk to the agent; starts the machine when it does not run", "chat [flags]",
     "name cpus memory disk accel model model-url dialect agent session dir", "plain new fork", 0,
     "  --new             begin a new conversation\n"
     "  --session ID      go on with that one; `peacrab sessions` lists them\n"
     "  --fork            go on in a copy of it\n"
     "  --agent NAME      which agent (main)\n"
     "  --plain           no cursor movement, no colours\n"
     "and the flags of `peacrab up`.\n",
     run_chat},
    {"ask", "one question, one answer on stdout", "ask [flags] WORDS…",
     "name cpus memory disk accel model model-url dialect agent session schema dir", "plain json continue detach",
     SIZE_MAX,
     "  --continue        go on with the conversation of `peacrab chat`; else each question is\n"
     "                    a session of its own\n"
     "  --schema FILE     the reply is one JSON value that fits this JSON Schema, alone on stdout\n"
     "  --json            what happens, as it happens: one JSON object a line\n"
     "  --detach          print the turn's id and leave; `peacrab wait ID` gets the answer\n"
     "  --session ID, --agent NAME, --plain   as for `peacrab chat`\n"
     "and the flags of `peacrab up`. What is piped into it comes behind the words.\n",
     run_ask},
    {"wait", "wait for an answer that was asked for with --detach", "wait [flags] ID",
     "name agent session", "plain json", 1,
     "  --json            as for `peacrab ask`\n"
     "  --name NAME       the machine that was asked, unless it is the default one\n"
     "  --agent NAME, --session ID, --plain   as for `peacrab chat`\n",
     run_wait},
    {"sessions", "list an agent's conversations", "sessions [--agent NAME] [--json]", "name agent", "json", 0,
     "  --agent NAME      whose (main); --json: for programs\n", run_sessions},
    {"export", "a conversation as text", "export [flags] [SESSION]", "name agent format output", "", 1,
     "  SESSION           which; else that of `peacrab chat`\n"
     "  --agent NAME      of which agent (main)\n"
     "  --format FORM     jsonl, one entry a line (runtime/README.md has the keys), or md, to be read\n"
     "  -o, --output FILE into that file, not to standard output\n",
     run_export},
    {"diff", "what the agent changed in a folder it was sent", "diff [--dir DIR] [--stat] [flags]",
     "name agent dir", "stat", 0,
     "  --dir DIR         which folder; else the one that was sent, or that we are in\n"
     "  --stat            only which files, and how much\n"
     "  --agent NAME (main), --name NAME\n"
     "As `git diff` prints it; on a terminal with what could steer it escaped.\n"
     "Exit code: 0 nothing was changed, 1 something was, 2 usage, 6 it could not be told.\n",
     run_diff},
    {"apply", "bring home what the agent changed", "apply [--dir DIR] [--dry-run] [--hooks] [flags]",
     "name agent dir", "dry-run hooks", 0,
     "  --dry-run         only say what would be done\n"
     "  --hooks           also .githooks, .husky, .envrc, .vscode and the like, which run by themselves\n"
     "  --dir DIR, --agent NAME, --name NAME   as for `peacrab diff`\n"
     "What was changed here as well is named and left, and so is what could lead out of the folder; .git is\n"
     "never written. Exit code: 0 all is here, 1 something was left.\n",
     run_apply},
    {"undo", "take the last apply back; or throw away what the agent changed", "undo [--dir DIR] [--yes] [flags]",
     "name agent dir", "yes", 0,
     "  --yes             throw the agent's changes away without asking, when nothing was applied\n"
     "  --dir DIR, --agent NAME, --name NAME   as for `peacrab diff`\n"
     "Exit code: 0 done, 1 something was changed here since, and left.\n",
     run_undo},
    {"cp", "copy files into an agent's workspace, or out of it", "cp FROM TO", "name", "", 2,
     "One of the two is AGENT:PATH, beneath the agent's workspace; the other a file or folder here, or - for\n"
     "standard input or output. A PATH that ends in / is a folder to put it into. Links stay links.\n"
     "  --name NAME       which machine (default)\n",
     run_cp},
    {"ps", "list the machines", "ps [--json]", "", "json", 0, "", ps},
    {"stop", "power the machine off; nothing is lost", "stop [--name NAME]", "name", "", 0, "", stop},
    {"rm", "remove a machine with all its state", "rm [--name NAME] [--force]", "name", "force", 0,
     "  --force           do not ask, and stop it when it runs\n", rm},
    {"serve", "the messengers of the configuration, until it is told to end", "serve [machine flags]", kMachineFlags, "", 0,
     "Channels stand under `channels:` in the configuration (`peacrab doctor` tells where), their tokens in\n"
     "`peacrab secret set channel-NAME`. Who may speak: `peacrab people`.\n", run_serve},
    {"channel", "set a messenger up, list them, remove one", "channel [add NAME [KEY=VALUE...] | ls | rm NAME]", "", "", 14,
     "  add NAME           asks for what it needs and its token, tries it, and writes it down; settings may be given.\n"
     "                     telegram, slack, discord, email, irc, matrix, signal, ntfy, whatsapp; or of a name of\n"
     "                     yours: NAME type=webhook to=CHANNEL\n"
     "  ls                 when it was heard last, what waits\n", run_channel_command},
    {"people", "who may speak on messengers, and what became of a message",
     "people [pair CHANNEL [ROLE] | remove CHANNEL ID | explain MESSAGE]", "", "", 3,
     "  pair CHANNEL ROLE  a code that makes whoever sends it in a direct chat an owner (or member, guest)\n"
     "  remove CHANNEL ID  they are not known any more\n"
     "  explain MESSAGE    by its number, or the messenger's id of it\n", run_people},
    {"tasks", "what agents do by themselves on messengers, and when", "tasks [pause | resume | delete | history | allow NUMBER]", "", "", 2,
     "  pause, resume     not now; go on\n"
     "  delete, history   not any more; the last times and what they cost\n"
     "  allow             may run more often than every 15 minutes\n", run_tasks},
    {"relay", "take webhooks for channels: WhatsApp, and whatever signs what it sends", "relay", "", "", 0,
     "Webhooks stand under `relay:` in the configuration, with what they are signed with in\n"
     "`peacrab secret set hook-NAME`. It listens on 127.0.0.1 only, without TLS: a reverse proxy or a tunnel of\n"
     "yours has to lead there. What it takes is on the disk, until `peacrab serve` has stored it.\n", run_relay},
    {"secret", "keep a token on the host, where no agent sees it", "secret [set NAME | ls | rm NAME]", "command", "", 2,
     "  set NAME           asked for, or from standard input\n"
     "  --command COMMAND  what this says, each time it is wanted: `pass show x`, `secret-tool lookup name x`\n", run_secret},
    {"agent", "add, list, change, pause or remove an agent",
     "agent [add | ls | show | set | pause | resume | rm] [NAME] [flags]",
     "model memory processes cpus disk files io rules from", "json force", 2,
     "  ls, show NAME     who there is; all about one. --json for programs\n"
     "  add NAME          an agent with a container, files and conversations of its own\n"
     "  set NAME          change what the flags say; limits hold once its container is idle\n"
     "  pause, resume     stop what it does and take no message; go on\n"
     "  rm NAME           the agent with all its files, in every machine; --force does not ask\n"
     "  --from AGENT      with add: with the settings of that one\n"
     "  --model NAME, --rules TEXT        who answers; put into its instructions\n"
     "  --memory SIZE, --processes N, --cpus X, --disk SIZE, --files N, --io SIZE\n"
     "                    what all its processes together may use\n"
     "It is all in the configuration (`peacrab doctor` tells where), which may be edited by hand; who may\n"
     "send messages to whom is said there only, under `may-message:`. `main` is always there.\n",
     agent},
    {"doctor", "what is here, what is missing, what is in force", "doctor [--name NAME] [--json]",
     "name", "json", 0,
     "Exit code: 0 all is well, 1 something is missing or broken. What is in force is told of a machine that runs.\n",
     doctor_command},
    {"image", "list, show or build the guest image", "image [ls | show | build | kernel] [flags]",
     "kernel", "refresh", SIZE_MAX,
     "  ls, show          what there is; what the current one is made of\n"
     "  build             make one and use it at the next start\n"
     "  kernel            compile the guest's own kernel, once, then build with it\n"
     "  --refresh         with build, kernel: read Debian's lists anew, for security updates\n"
     "  --kernel WHICH    with build: own or debian (own once it has been compiled)\n",
     image},
    {"allow", "list or change what agents may reach outside", "allow [--remove] [RULE…]", "", "remove",
     SIZE_MAX,
     "  RULE              HOST:PORT for a tunnel (https), or http://HOST:PORT GET HEAD …;\n"
     "                    `private` behind it: also at an address that is not public\n"
     "  --remove          takes rules away; what is open by them ends at once\n"
     "Without a rule they are listed. Everything else outside is refused.\n",
     allow},
    {"port", "reach a server in an agent's cell from this machine", "port [flags] AGENT PORT", "name",
     "raw detach close", 2,
     "  --raw             for what is not HTTP: any program of this machine can connect\n"
     "  --detach          do not stay; it ends with the cell, or with --close\n"
     "  --close           close it\n"
     "  --name NAME       the machine, unless it is the default one\n"
     "The printed address holds a token; it listens on loopback only.\n",
     port},
    {"usage", "what was spent on models, and what may be", "usage [--days N] [--agent NAME] [--more] [--json]",
     "name days agent", "json more", 0,
     "  --days N          today (UTC) and the days before it, N together (7)\n"
     "  --agent NAME      of that one alone\n"
     "  --more            what is used up today is allowed once more\n"
     "As this machine counts it, off the answers that pass; the limits are in the configuration under `budget:`.\n",
     usage},
    {"skills", "list the skills agents have", "skills [--json]", "", "json", 0,
     "A skill is a folder with a SKILL.md in the configuration's folder `skills`; those that came with this\n"
     "program are there as well, unless one of yours has the same name. Which of them an agent has is said in\n"
     "the configuration, `agents: NAME: skills: [one, two]`. What is edited is seen by the next message.\n",
     skills},
    {"setup", "choose a model and store its key", "setup [flags]",
     "model model-url dialect search search-url",
     "key-stdin no-check", 0,
     "  --model NAME, --model-url URL   what is given is not asked for\n"
     "  --key-stdin       all of standard input is the key\n"
     "  --no-check        store without the one call that tries it\n"
     "  --search NAME     instead: what web_search asks: brave or tavily, whose key is asked for or comes from a\n"
     "                    pipe, or searxng with --search-url URL\n",
     setup},
};

// Started by `peacrab` itself, and shown to nobody.
const Command kInternal[] = {
    {"gateway", "", "gateway", kMachineFlags, "report", 0, "", gateway},
    {"egress-route", "", "egress-route", "", "", 0, "", egress_route},
    {"search-route", "", "search-route", "", "", 0, "", search_route},
    {"channel-run", "", "channel-run", "", "", 1, "", [](const Arguments& arguments) { return run_channel(arguments.words); }},
    {"model-route", "", "model-route", "model model-url dialect", "", 0, "", model_route},
};

void print_help(FILE* to) {
    std::fprintf(to, "peacrab %s: an agent in a microVM of its own\n\n", kVersion);
    for (const Command& command : kCommands)
        std::fprintf(to, "  %-8s %s\n", command.name, command.summary);
    std::fprintf(to, "\n`peacrab COMMAND --help` tells more; `peacrab --version` says which this is.\n");
}

const Command* find_command(const std::string& name) {
    for (const Command& command : kCommands)
        if (name == command.name) return &command;
    for (const Command& command : kInternal)
        if (name == command.name) return &command;
    return nullptr;
}

void print_help_of(const Command& command) {
    std::printf("%s\n\n  peacrab %s\n%s%s", command.summary, command.usage,
                *command.help ? "\n" : "", command.help);
    if (command.run == run_ask) std::printf("%s", kExitCodes);
}

int run_command(const Command& command, const std::vector<std::string>& arguments) {
    for (const std::string& argument : arguments) {
        if (argument == "--") break;
        if (argument != "--help" && argument != "-h") continue;
        print_help_of(command);
        return kOk;
    }
    try {
        return command.run(parse(command, arguments));
    } catch (const Interrupted&) {
        std::fputs("\n", stderr);
        return 130;
    } catch (const UsageError& error) {
        std::fprintf(stderr, "peacrab: %s\nusage: peacrab %s\n", error.what(), command.usage);
        return kUsage;
    } catch (const Error& error) {
        tell(error.what());
        // What needs a machine and does not get one.
        static const std::set<std::string> needs_machine = {"up", "chat", "ask", "diff", "wait", "sessions",
                                                            "export"};
        return needs_machine.count(command.name) ? kNotRunning : kFailure;
    }
}

}  // namespace

int main(int argc, char** argv) {
    set_log_name("peacrab");
    ::signal(SIGPIPE, SIG_IGN);
    const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
    if (arguments.empty() || arguments[0] == "help" || arguments[0] == "--help" ||
        arguments[0] == "-h") {
        const Command* about = arguments.size() == 2 ? find_command(arguments[1]) : nullptr;
        if (arguments.size() > 1 && !about) {
            std::fprintf(stderr, "peacrab: unknown command `%s`; `peacrab help` lists them\n",
                         printable(arguments[1]).c_str());
            return kUsage;
        }
        if (about) print_help_of(*about);
        else print_help(arguments.empty() ? stderr : stdout);
        return arguments.empty() ? kUsage : kOk;
    }
    if (arguments[0] == "--version") {
        std::printf("peacrab %s\n", kVersion);
        return kOk;
    }
    const Command* command = find_command(arguments[0]);
    if (!command) {
        std::fprintf(stderr, "peacrab: unknown command `%s`; `peacrab help` lists them\n",
                     printable(arguments[0]).c_str());
        return kUsage;
    }
    const int code = run_command(*command, {arguments.begin() + 1, arguments.end()});
    // What was not written was not said; a reader who left (`| head`) wanted no more.
    if (std::fflush(stdout) == 0 || errno == EPIPE) return code;
    tell(ErrnoError("standard output").what());
    return code == kOk ? kFailure : code;
}
