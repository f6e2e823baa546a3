// Edits the list `egress:` of the configuration, and holds a port open. A running gateway sees the
// changed file by itself. Must not widen what was asked for: a rule is added as it stands.
#include "egress_allow.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdio>

#include "client.h"
#include "config_edit.h"
#include "egress_policy.h"
#include "error.h"

namespace peacrab {
namespace {

bool begins_rule(const std::string& word) { return word.find(':') != std::string::npos; }

// The texts of the rules, each with its methods.
std::vector<std::string> texts_of_words(const std::vector<std::string>& words) {
    std::vector<std::string> texts;
    for (const std::string& word : words) {
        if (begins_rule(word) || texts.empty()) texts.push_back(word);
        else texts.back() += " " + word;
    }
    return texts;
}

// A rule, or a place alone: then neither methods nor `private` matter, or a wider rule would stay.
bool is_meant(const EgressRule& rule, const std::string& text) {
    if (text.find(' ') != std::string::npos) return parse_egress_rule(text) == rule;
    const EgressRule place = parse_egress_rule(text.starts_with("http://") ? text + " GET" : text);
    return place.plain_http == rule.plain_http && place.host == rule.host && place.port == rule.port;
}

// What is at an address that never, or only by its rule's last word, is gone to: "" for neither.
std::string hint(const EgressRule& rule) {
    sockaddr_storage address{};
    auto* const four = reinterpret_cast<sockaddr_in*>(&address);
    auto* const six = reinterpret_cast<sockaddr_in6*>(&address);
    if (::inet_pton(AF_INET, rule.host.c_str(), &four->sin_addr) == 1) address.ss_family = AF_INET;
    else if (::inet_pton(AF_INET6, rule.host.c_str(), &six->sin6_addr) == 1) address.ss_family = AF_INET6;
    else return {};
    switch (reach_of(reinterpret_cast<const sockaddr*>(&address))) {
        case Reach::Never:
            return "; it stays refused all the same: what is at this address never is gone to";
        case Reach::Private:
            if (!rule.private_address)
                return "; it stays refused, its address is not public: peacrab allow \"" +
                       format_egress_rule(rule) + " private\"";
            break;
        case Reach::Public:
            break;
    }
    return {};
}

}  // namespace

std::vector<EgressRule> rules_of_words(const std::vector<std::string>& words) {
    std::vector<EgressRule> rules;
    for (const std::string& text : texts_of_words(words)) rules.push_back(parse_egress_rule(text));
    return rules;
}

int allow_list() {
    const Config config = load_config(config_file());
    if (config.egress.empty()) std::printf("nothing outside is allowed; peacrab allow HOST:PORT\n");
    for (const EgressRule& rule : config.egress) std::printf("%s\n", format_egress_rule(rule).c_str());
    return 0;
}

int allow_add(const std::vector<EgressRule>& rules) {
    ConfigEdit edit(config_file());
    std::vector<std::string> added;
    for (const EgressRule& rule : rules)
        if (edit.add("egress", format_egress_rule(rule))) added.push_back(format_egress_rule(rule) + hint(rule));
    edit.save();
    for (const std::string& text : added) std::printf("allowed: %s\n", text.c_str());
    if (added.size() < rules.size()) std::printf("the rest was allowed already\n");
    return 0;
}

int allow_remove(const std::vector<std::string>& words) {
    ConfigEdit edit(config_file());
    std::vector<std::string> items;
    if (const yaml::Node* list = edit.root().find("egress"))
        for (const yaml::Node& item : list->items) items.push_back(item.text);
    int missing = 0;
    std::vector<std::string> removed;
    for (const std::string& text : texts_of_words(words)) {
        const size_t before = removed.size();
        for (const std::string& item : items)
            if (is_meant(parse_egress_rule(item), text) && edit.take("egress", item))
                removed.push_back(item);
        if (removed.size() > before) continue;
        std::fprintf(stderr, "peacrab: %s: not among the rules; peacrab allow lists them\n",
                     printable(text).c_str());
        ++missing;
    }
    // An empty list stays: it says closed, and nothing fills it again.
    edit.save();
    for (const std::string& text : removed)
        std::printf("not allowed any more: %s\n", printable(text).c_str());
    return missing ? 1 : 0;
}

int open_port(const MachinePlace& place, const PortOptions& options) {
    std::optional<FrameSocket> gateway = connect_gateway(place);
    if (!gateway) throw Error("the machine `" + place.name + "` does not run; start it: " + command_for("up", place.name));
    gateway->send(json::Value::object({{"type", "port"},
                                       {"agent", options.agent},
                                       {"port", options.port},
                                       {"raw", options.gate == PortOptions::Gate::None},
                                       {"detach", options.stay == PortOptions::Stay::Detach},
                                       {"close", options.stay == PortOptions::Stay::Close}}));
    for (;;) {
        const std::optional<json::Value> frame = gateway->receive(Deadline::never());
        if (!frame && !gateway->closed()) continue;
        if (!frame) throw Error("the machine has ended, and the port with it");
        const std::string type = frame->text("type");
        if (type == "failed") throw Error(printable(frame->text("why")));
        if (type == "done") {
            std::fprintf(stderr, "peacrab: closed\n");
            return 0;
        }
        if (type != "port_open") continue;
        std::printf("%s\n", printable(frame->text("url")).c_str());
        std::fflush(stdout);
        if (options.gate == PortOptions::Gate::None)
            std::fprintf(stderr, "peacrab: there is no token: every program of this machine can connect\n");
        if (options.stay == PortOptions::Stay::Detach) return 0;
        std::fprintf(stderr, "peacrab: open until this ends (Ctrl-C)\n");
    }
}

}  // namespace peacrab
