// The hub runs in this process; each conversation is a chat with the machine, which is started when it does not run.
#include "channel_commands.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "channel_setup.h"
#include "client.h"
#include "config/secrets.h"
#include "config_edit.h"
#include "dialogue.h"
#include "error.h"
#include "files_link.h"
#include "messaging/channel_config.h"
#include "messaging/serving.h"
#include "relay.h"
#include "relay_setup.h"

namespace peacrab {

namespace {

std::vector<std::string> adapter() {
    return {require_real_path("channel", "/proc/self/exe"), "channel-run"};
}

}  // namespace

int run_serve(const Arguments& arguments) {
    const MachineOptions flags = machine_options(arguments);
    const auto begin = [flags] {
        (void)bring_up(flags, tell);
        return Serving::Agent{[flags]() -> UniqueFd {
            (void)bring_up(flags, tell);  // it may have been stopped meanwhile
            const ChatConnection chat = open_chat(flags, Deadline::in(Seconds(30)));
            UniqueFd fd(::fcntl(chat.warden.fd(), F_DUPFD_CLOEXEC, 3));
            if (!fd) throw ErrnoError("serve: connection");
            return fd;
        }, [flags](const std::string& agent, const std::string& op, const std::string& path) {
            return FilesLink(machine_place(flags.name), agent).open(op, path);
        }, HubOptions::Opening::InChild};
    };
    return serve_channels({adapter(), begin});
}

namespace {

using Secrets = std::vector<std::pair<std::string, Secret>>;

// Those that are missing: asked for, or from standard input, in order and with blanks between them.
Secrets take_secrets(const ChannelConfig& channel, Dialogue* person) {
    const SecretStore store;
    std::vector<ChannelSecret> missing = secrets_of(channel);
    std::erase_if(missing, [&](const ChannelSecret& one) { return store.exists(one.name); });
    if (missing.empty()) return {};
    if (const std::string guide = guide_to(channel.type); !guide.empty()) std::fprintf(stderr, "%s\n", guide.c_str());
    const Secret piped = person ? Secret() : read_key(STDIN_FILENO);
    std::string_view rest = piped.reveal();
    Secrets found;
    for (const ChannelSecret& one : missing) {
        const bool last = &one == &missing.back();
        const size_t end = last ? rest.size() : std::min(rest.find_first_of(" \t\r\n"), rest.size());
        Secret said = person ? person->ask_hidden(one.words + ": ") : Secret(std::string(rest.substr(0, end)));
        rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r\n", end), rest.size()));
        if (!one.needed && said.empty()) continue;
        if (const std::string fault = secret_fault(said.reveal()); !fault.empty())
            throw Error("channel: " + one.words + ": " + fault);
        found.emplace_back(one.name, std::move(said));
    }
    return found;
}

// All of it, or nothing.
void keep(const Secrets& found, ConfigEdit& edit) {
    const SecretStore store;
    try {
        for (const auto& [name, secret] : found) store.write(name, secret);
        edit.save();
    } catch (const Error&) {
        for (const auto& [name, secret] : found) store.remove(name);
        throw;
    }
}

// From somebody's phone through the world to us, and an answer back that is seen to arrive.
void round_trip(const ChannelConfig& channel, const std::string& account) {
    tell("Now write to " + account + " on WhatsApp, whatever you like. Waiting for it for ten minutes; Ctrl-C ends that, and all is kept.");
    const std::string person = await_message(channel, Seconds(600));
    if (person.empty()) throw Error("no message came: does the address lead to `peacrab relay`, and is \"messages\" subscribed to? All is kept");
    tell("it has arrived, from " + printable(person) + "; answering");
    (void)try_channel(adapter(), trial_of(channel), stored_secret, person);
    tell("the answer is there");
}

// Asks for what it needs, tries it, and only then writes anything: who is killed in between leaves nothing.
int add(const std::string& name, const std::vector<std::string>& given) {
    std::optional<ConfigEdit> edit(std::in_place, config_file());
    ChannelConfig channel;
    channel.hub.name = channel.type = name;
    for (const ChannelConfig& known : load_channels(config_file()))
        if (known.hub.name == name) channel = known;
    std::optional<Dialogue> person;
    if (::isatty(STDIN_FILENO)) person.emplace(STDIN_FILENO, STDERR_FILENO);
    edit->make({"channels", name});
    complete_settings(channel, given, person ? &*person : nullptr, *edit);
    if (is_on_relay(channel)) add_webhook(channel, *edit);
    const Secrets found = take_secrets(channel, person ? &*person : nullptr);
    const SecretSource secrets = [&found](const std::string& wanted) {
        for (const auto& [each, secret] : found)
            if (each == wanted) return std::optional<Secret>(secret.clone());
        return stored_secret(wanted);
    };
    std::string account;
    try {
        account = try_channel(adapter(), trial_of(channel), secrets, own_place(channel));
    } catch (const Error& error) {
        throw Error(std::string(error.what()) + "; nothing was kept");
    }
    keep(found, *edit);
    if (is_on_relay(channel)) (void)relay_token();
    edit.reset();  // others may go on
    if (!own_place(channel).empty()) tell("it has sent itself a message and found it");
    if (const std::string words = after_words(channel); !words.empty()) tell(words);
    if (is_on_relay(channel)) tell(relay_words(channel));
    const bool waits = channel.type == "whatsapp" && person;
    person.reset();  // Ctrl-C is nobody's any more
    if (waits) round_trip(channel, account);
    if (channel.type == "webhook") return 0;
    tell(name + " lets it in as " + account + ". Next: `peacrab serve`, and, for the first person: `peacrab people pair " + name + "`");
    return 0;
}

}  // namespace

int run_channel_command(const Arguments& arguments) {
    const std::string what = arguments.words.empty() ? "ls" : arguments.words[0];
    const std::string name = arguments.words.size() > 1 ? arguments.words[1] : "";
    if (what == "ls" && name.empty()) return list_channels();
    if (what == "add" && !name.empty()) return add(name, {arguments.words.begin() + 2, arguments.words.end()});
    if (what != "rm" || name.empty() || arguments.words.size() > 2) throw UsageError("channel: `add NAME [KEY=VALUE...]`, `ls` or `rm NAME` was expected");
    ConfigEdit edit(config_file());
    const bool was = edit.remove({"channels", name});
    (void)edit.remove({"relay", "hooks", name});
    edit.save();
    for (const char* suffix : {"", "_app"}) SecretStore().remove("channel-" + name + suffix);
    SecretStore().remove("hook-" + name);
    if (!was) throw Error("channel: there is none of the name " + printable(name));
    tell("removed; `peacrab serve` has to be started again to take it up");
    return 0;
}

int run_people(const Arguments& arguments) {
    return people_command(arguments.words);
}

int run_tasks(const Arguments& arguments) {
    return tasks_command(arguments.words);
}

int run_secret(const Arguments& arguments) {
    const std::string what = arguments.words.empty() ? "ls" : arguments.words[0];
    const std::string name = arguments.words.size() > 1 ? arguments.words[1] : "";
    const SecretStore store;
    if (what == "ls" && name.empty()) {
        for (const std::string& one : list_folder(store.directory())) std::printf("%s\n", printable(one).c_str());
        return 0;
    }
    if (name.empty()) throw UsageError("secret: `set NAME`, `ls` or `rm NAME` was expected");
    if (what == "set" && arguments.values.contains("command")) {
        store.write_command(name, arguments.value("command"));
        Secret said;
        try {
            said = store.read(name).value_or(Secret());
        } catch (const Error&) {
            store.remove(name);
            throw;
        }
        tell("its command is kept in " + store.directory() + "/" + name + ".command; it gave a secret of " +
             std::to_string(said.reveal().size()) + " characters");
        return 0;
    }
    if (what == "rm") {
        if (!store.exists(name)) throw Error("secret: there is none of the name " + printable(name));
        store.remove(name);
        return 0;
    }
    if (what != "set") throw UsageError("secret: `set NAME`, `ls` or `rm NAME` was expected");
    const bool person = ::isatty(STDIN_FILENO);
    const Secret secret = person ? Dialogue(STDIN_FILENO, STDERR_FILENO).ask_hidden(name + ": ") : read_key(STDIN_FILENO);
    if (const std::string fault = secret_fault(secret.reveal()); !fault.empty()) throw Error("secret: " + fault);
    store.write(name, secret);
    tell("kept in " + store.directory() + "/" + name);
    return 0;
}

}  // namespace peacrab
