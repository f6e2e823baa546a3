// A key is stored under the server it is for, and no other server is ever sent it.
#include "setup_model.h"

#include <unistd.h>

#include <algorithm>
#include <optional>

#include "config_edit.h"
#include "dialogue.h"
#include "error.h"
#include "llm.h"
#include "protocols/model_list.h"
#include "config/secrets.h"

namespace peacrab {
namespace {

constexpr int kDone = 0, kNotStored = 1, kUsage = 2, kInterrupted = 130;

// What is going to be stored.
struct Plan {
    Config config;              // with the model and the address put in
    std::optional<Secret> key;  // nothing: the store stays as it is
};

std::string goes_to(const Config& config) {
    return url_host(config.model_url.empty() ? model_servers().front().base : config.model_url);
}

ModelServer server_of(const Config& config) {
    ModelServer server =
        config.model_url.empty() ? model_servers().front() : server_at(config.model_url);
    if (!config.dialect.empty()) server.dialect = dialect_from(config.dialect);
    return server;
}

// Each server that is known has a key of its own.
std::string key_of(const Config& config) {
    const ModelServer server = server_of(config);
    return key_name(server, config.model_url.empty() ? server.base : config.model_url);
}

void ask_address(Dialogue& dialogue, const SetupOptions& options, Plan& plan) {
    if (!options.model.model_url.empty()) return;
    dialogue.say("Which server answers?");
    size_t number = 0;
    std::vector<const ModelServer*> offered;
    for (const ModelServer& server : model_servers()) {
        if (server.quirks.local && !answers(server)) continue;
        offered.push_back(&server);
        dialogue.say("  " + std::to_string(++number) + "  " + server.name +
                     (server.quirks.local ? ", which runs on this machine" : ", with a key of yours"));
    }
    dialogue.say("  0  another one, by its address");
    for (;;) {
        const std::string choice = dialogue.ask("which [1]: ");
        const size_t chosen = choice.empty() ? 1 : std::strtoul(choice.c_str(), nullptr, 10);
        if (choice == "0") break;
        if (chosen < 1 || chosen > offered.size()) continue;
        plan.config.model_url = chosen == 1 ? "" : offered[chosen - 1]->base;
        return;
    }
    for (;;) {
        plan.config.model_url = dialogue.ask("its address, e.g. http://127.0.0.1:8080/v1: ");
        try {
            (void)url_host(plan.config.model_url);
            return;
        } catch (const Error& error) {
            dialogue.say(printable(error.what()));
        }
    }
}

void ask_key(Dialogue& dialogue, const SecretStore& store, Plan& plan) {
    const ModelServer server = server_of(plan.config);
    if (server.quirks.local) return;
    const bool needed = *server.name;
    const bool stored = store.exists(key_of(plan.config));
    const char* empty = stored ? ", Enter keeps the stored one" : needed ? "" : ", Enter for none";
    for (;;) {
        Secret key = dialogue.ask_hidden(std::string("the key (it is not shown") + empty + "): ");
        if (!key.empty()) {
            const std::string fault = secret_fault(key.reveal());
            if (fault.empty()) {
                plan.key = std::move(key);
                return;
            }
            dialogue.say("that is no key: " + fault);
            continue;
        }
        if (stored || !needed) return;
    }
}

// A local server has no usual model; it tells which it has.
std::string usual_model(const Config& config) {
    const ModelServer server = server_of(config);
    if (*server.default_model) return server.default_model;
    return first_model(config.model_url, server.dialect);
}

void ask_model(Dialogue& dialogue, const SetupOptions& options, Plan& plan) {
    if (!options.model.model.empty()) return;
    if (plan.config.model == kDemoModel) plan.config.model.clear();
    const std::string usual = plan.config.model.empty() ? usual_model(plan.config) : plan.config.model;
    const std::string name = dialogue.ask("the model's name [" + printable(usual) + "]: ");
    if (!name.empty()) plan.config.model = name;
}

// Without a terminal: flags and a pipe. Gives why not, or nothing.
std::string plan_from_flags(const SetupOptions& options, Plan& plan) {
    if (options.key == SetupOptions::Key::Stdin) {
        Secret key = read_key(options.in_fd);
        const std::string fault = secret_fault(key.reveal());
        if (!fault.empty()) return "the key on standard input: " + fault;
        plan.key = std::move(key);
    }
    if (plan.key && plan.config.model == kDemoModel && options.model.model.empty())
        plan.config.model.clear();
    return {};
}

// One call of one token, by the code that makes all later ones. Gives why it failed, or nothing.
std::string try_model(const Plan& plan, const SecretStore& store, int cancel_fd) {
    Secret key = plan.key ? plan.key->clone() : Secret();
    if (!plan.key)
        if (std::optional<Secret> stored = store.read(key_of(plan.config))) key = std::move(*stored);
    KeysPresent keys;
    keys.stored = !key.empty();
    const std::string name = key_of(plan.config);
    const ModelChoice choice =
        choose_model(plan.config,
                     [&](const ModelServer& server, const std::string& url) {
                         return key_name(server, url) == name ? keys : KeysPresent{};
                     });
    if (choice.demo) return "without a key and without an address only the demo model answers";
    if (!choice.note.empty()) return choice.note;
    ModelOptions options;
    options.model = choice.model;
    options.base_url = choice.url;
    options.dialect = choice.server.dialect;
    options.quirks = choice.server.quirks;
    options.key = std::move(key);
    options.max_tokens = 16;  // the least that Responses takes
    options.max_tries = 1;
    options.http.environment = true;
    options.http.first_byte_limit = Milliseconds(60'000);
    ModelRequest request;
    request.system = json::Value::array();
    request.tools = json::Value::array();
    request.messages =
        json::Value::array({json::Value::object(
            {{"role", "user"},
             {"content", json::Value::array({json::Value::object(
                             {{"type", "text"}, {"text", "Say yes."}})})}})});
    const ModelReply reply = Model(std::move(options)).ask(request, {}, cancel_fd);
    if (reply.cancelled) throw Interrupted{};
    return reply.error;
}

void keep(const Plan& plan, const Config& before, const SecretStore& store) {
    const bool moved = plan.config.model_url != before.model_url;
    ConfigEdit edit(config_file());
    const auto put = [&edit](const char* key, const std::string& value) {
        if (value.empty()) edit.remove({key});
        else edit.set({key}, value);
    };
    if (plan.config.model != before.model) put("model", plan.config.model);
    if (moved) put("model-url", plan.config.model_url);
    if (plan.config.dialect != before.dialect) put("dialect", plan.config.dialect);
    if (moved || plan.config.model != before.model || plan.config.dialect != before.dialect)
        edit.save();
    if (plan.key) store.write(key_of(plan.config), *plan.key);
}

int run_setup(const SetupOptions& options, Dialogue& dialogue) {
    const bool person = options.key == SetupOptions::Key::Ask && ::isatty(options.in_fd);
    if (!person && options.key == SetupOptions::Key::Ask && options.model.model.empty() &&
        options.model.model_url.empty()) {
        dialogue.say("setup asks on a terminal; without one: peacrab setup --key-stdin <FILE");
        return kUsage;
    }
    const SecretStore store;
    const Config before = load_config(config_file());
    Plan plan;
    plan.config = before;
    static_cast<ModelConfig&>(plan.config) = options.model.or_else(plan.config);
    if (!plan.config.model_url.empty()) (void)url_host(plan.config.model_url);
    if (person) {
        ask_address(dialogue, options, plan);
        ask_key(dialogue, store, plan);
        ask_model(dialogue, options, plan);
    } else {
        const std::string why = plan_from_flags(options, plan);
        if (!why.empty()) {
            dialogue.say("not stored: " + why);
            return kNotStored;
        }
    }
    if (options.check == SetupOptions::Check::OneCall) {
        dialogue.say("trying it with one call …");
        const std::string why = try_model(plan, store, dialogue.signals());
        if (!why.empty()) dialogue.say("it failed: " + printable(why));
        if (!why.empty() && (!person || !dialogue.yes("keep it all the same?"))) {
            dialogue.say(person ? "nothing was stored"
                                : "nothing was stored; --no-check stores it");
            return kNotStored;
        }
    }
    keep(plan, before, store);
    dialogue.say("stored: " + goes_to(plan.config) + " answers from the next message on");
    return kDone;
}

// Whether anything already says which model is to answer.
bool is_chosen(const ModelConfig& flags) {
    if (!flags.model.empty() || !flags.model_url.empty()) return true;
    const SecretStore store;
    for (const ModelServer& server : model_servers())
        if (store.exists(key_name(server, server.base)) ||
            (*server.key_variable && !env(server.key_variable).empty()))
            return true;
    const Config config = load_config(config_file());
    return !config.model.empty() || !config.model_url.empty();
}

}  // namespace

int setup_model(const SetupOptions& options) {
    Dialogue dialogue(options.in_fd, options.out_fd);
    try {
        return run_setup(options, dialogue);
    } catch (const Interrupted&) {
        dialogue.say("\nnothing was stored");
        return kInterrupted;
    }
}

void offer_setup_once(const ModelConfig& flags) {
    const std::string declined = state_folder() + "/setup-declined";
    if (is_chosen(flags) || ::access(declined.c_str(), F_OK) == 0) return;
    bool wanted = false;
    {
        Dialogue dialogue(STDIN_FILENO, STDOUT_FILENO);
        try {
            dialogue.say("No model is set up: the demo model, which is no model at all, answers.");
            wanted = dialogue.yes("Set one up now?");
        } catch (const Interrupted&) {
            dialogue.say("");
        }
        if (!wanted) dialogue.say("Later: `peacrab setup`.");
    }
    if (wanted) {
        (void)setup_model({});
    } else {
        make_directories(state_folder());
        write_file_atomic(declined, "", 0600);
    }
}

}  // namespace peacrab
