// Reads what package managers read, and runs none of them. Must not guess: a source that the machine
// does not name is not allowed.
#include "egress_preset.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "config.h"
#include "egress_dial.h"
#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr Bytes kMaxFile = KiB(256);
constexpr size_t kMostRules = 64;

// Without what is in front and behind.
std::string trimmed(const std::string& text) {
    const size_t begin = text.find_first_not_of(" \t\r");
    if (begin == std::string::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t\r") + 1 - begin);
}

std::vector<std::string> words_of(const std::string& text) {
    std::vector<std::string> words;
    for (const std::string& part : split(text, ' '))
        if (const std::string word = trimmed(part); !word.empty()) words.push_back(word);
    return words;
}

// "key = value" or "key: value"; empty when it is neither.
std::pair<std::string, std::string> key_value(const std::string& line, char separator) {
    const size_t at = line.find(separator);
    if (at == std::string::npos) return {};
    return {lower(trimmed(line.substr(0, at))), trimmed(line.substr(at + 1))};
}

std::vector<std::string> folder(const std::string& path, const std::string& ending) {
    std::vector<std::string> files;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(path, ignored))
        if (entry.path().string().ends_with(ending)) files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
    return files;
}

void collect(std::vector<std::string>& out, const std::vector<std::string>& files,
             std::vector<std::string> (*read)(const std::string&)) {
    for (const std::string& file : files) {
        std::optional<std::string> text;
        try {
            text = read_file_if_exists(file, kMaxFile);
        } catch (const Error& error) {  // what we may not read, we do not use
            log(LogLevel::Info, std::string("egress: ") + error.what());
        }
        if (!text) continue;
        for (std::string& address : read(*text)) out.push_back(std::move(address));
    }
}

// Nothing: neither http:// nor https://, or no plain host.
std::optional<EgressRule> rule_of(const std::string& address) {
    const bool plain = address.starts_with("http://");
    if (!plain && !address.starts_with("https://")) return std::nullopt;
    std::string place = address.substr(plain ? 7 : 8);
    place.resize(std::min(place.find_first_of("/?#"), place.size()));
    place.erase(0, place.rfind('@') + 1);
    const bool has_port = !place.ends_with(']') && place.find(':') != std::string::npos;
    if (!has_port) place += plain ? ":80" : ":443";
    try {
        return parse_egress_rule(plain ? "http://" + place + " GET HEAD" : place);
    } catch (const Error&) {
        return std::nullopt;
    }
}

}  // namespace

std::vector<std::string> apt_list_addresses(const std::string& text) {
    std::vector<std::string> out;
    for (std::string line : split(text, '\n')) {
        line.resize(std::min(line.find('#'), line.size()));
        if (const size_t open = line.find('['), close = line.find(']');
            open != std::string::npos && close != std::string::npos && open < close)
            line.erase(open, close + 1 - open);
        const std::vector<std::string> words = words_of(line);
        if (words.size() >= 3 && words[0] == "deb") out.push_back(words[1]);
    }
    return out;
}

std::vector<std::string> apt_stanza_addresses(const std::string& text) {
    std::vector<std::string> out, addresses;
    std::string key;
    bool enabled = true, binary = false;
    const auto end = [&] {
        if (enabled && binary) out.insert(out.end(), addresses.begin(), addresses.end());
        addresses.clear();
        key.clear();
        enabled = true;
        binary = false;
    };
    for (const std::string& line : split(text + "\n", '\n')) {
        if (line.starts_with('#')) continue;
        if (trimmed(line).empty()) {
            end();
            continue;
        }
        std::string value = line;
        if (line[0] != ' ' && line[0] != '\t') std::tie(key, value) = key_value(line, ':');
        for (const std::string& word : words_of(value)) {
            if (key == "uris") addresses.push_back(word);
            if (key == "enabled" && lower(word) == "no") enabled = false;
            if (key == "types" && word == "deb") binary = true;
        }
    }
    end();
    return out;
}

std::vector<std::string> npm_addresses(const std::string& text) {
    std::vector<std::string> out;
    for (const std::string& line : split(text, '\n')) {
        const auto [key, value] = key_value(line, '=');
        if (key == "registry" || (key.starts_with('@') && key.ends_with(":registry")))
            out.push_back(value);
    }
    return out;
}

std::vector<std::string> pip_addresses(const std::string& text) {
    std::vector<std::string> out;
    std::string key;
    for (const std::string& line : split(text, '\n')) {
        if (line.empty() || line[0] == '#' || line[0] == ';' || line[0] == '[') continue;
        std::string value = line;
        if (line[0] != ' ' && line[0] != '\t') std::tie(key, value) = key_value(line, '=');
        if (key == "index-url" || key == "extra-index-url")
            for (const std::string& word : words_of(value)) out.push_back(word);
    }
    return out;
}

PackageSources own_package_sources() {
    const std::string home = env("HOME");
    const std::string config = env("XDG_CONFIG_HOME").empty() ? home + "/.config" : env("XDG_CONFIG_HOME");
    PackageSources sources;
    sources.apt_lists = folder("/etc/apt/sources.list.d", ".list");
    sources.apt_lists.insert(sources.apt_lists.begin(), "/etc/apt/sources.list");
    sources.apt_stanzas = folder("/etc/apt/sources.list.d", ".sources");
    sources.npm = {"/etc/npmrc", "/usr/etc/npmrc", "/usr/local/etc/npmrc", home + "/.npmrc"};
    sources.pip = {"/etc/pip.conf", config + "/pip/pip.conf", home + "/.pip/pip.conf"};
    if (const std::string file = env("PIP_CONFIG_FILE"); !file.empty()) sources.pip.push_back(file);
    for (const char* name : {"npm_config_registry", "NPM_CONFIG_REGISTRY", "PIP_INDEX_URL",
                             "PIP_EXTRA_INDEX_URL"})
        for (const std::string& word : words_of(env(name))) sources.addresses.push_back(word);
    return sources;
}

std::vector<EgressRule> developer_rules(const PackageSources& sources,
                                        const std::function<bool(const std::string&)>& is_private) {
    std::vector<std::string> addresses;
    collect(addresses, sources.apt_lists, apt_list_addresses);
    collect(addresses, sources.apt_stanzas, apt_stanza_addresses);
    collect(addresses, sources.npm, npm_addresses);
    collect(addresses, sources.pip, pip_addresses);
    addresses.insert(addresses.end(), sources.addresses.begin(), sources.addresses.end());
    std::vector<EgressRule> rules;
    for (const std::string& address : addresses) {
        std::optional<EgressRule> rule = rule_of(address);
        if (!rule || rules.size() >= kMostRules) continue;
        const bool known = std::any_of(rules.begin(), rules.end(), [&](const EgressRule& other) {
            return other.host == rule->host && other.port == rule->port &&
                   other.plain_http == rule->plain_http;
        });
        if (known) continue;
        rule->private_address = is_private(rule->host);
        rules.push_back(*rule);
    }
    return rules;
}

std::vector<EgressRule> write_developer_preset(
    const std::string& config, const std::string& marker, const PackageSources& sources,
    const std::function<bool(const std::string&)>& is_private) {
    if (::access(marker.c_str(), F_OK) == 0) return {};
    const std::string text = read_file_if_exists(config, kMaxConfig).value_or("");
    std::vector<EgressRule> rules;
    if (!parse_config(text, config).egress_given) {
        rules = developer_rules(sources, is_private);
        std::string added = text.empty() || text.ends_with('\n') ? text : text + "\n";
        added += "# What cells may reach: at the first start this machine's own package sources. It is\n"
                 "# yours to change; without rules nothing outside can be reached.\n";
        added += rules.empty() ? "egress: []\n" : "egress:\n";
        for (const EgressRule& rule : rules) added += "  - " + format_egress_rule(rule) + "\n";
        if (parse_config(added, config).egress != rules)
            throw Error(config + ": `egress:` cannot be added to it; write it by hand");
        std::error_code absent;
        const auto place = std::filesystem::canonical(config, absent);
        make_directories(config.substr(0, config.rfind('/')));
        write_file_atomic(absent ? config : place.string(), added, 0600);
    }
    make_directories(marker.substr(0, marker.rfind('/')));
    write_file_atomic(marker, "", 0600);
    return rules;
}

// Where it cannot be written nothing is allowed, which is safe.
void write_own_preset() {
    try {
        const auto rules = write_developer_preset(config_file(), state_folder() + "/egress-preset",
                                                  own_package_sources(), resolves_to_private);
        for (const EgressRule& rule : rules)
            log(LogLevel::Info, "egress: allowed as a package source of this machine: " +
                                    format_egress_rule(rule));
    } catch (const std::exception& error) {
        log(LogLevel::Error, std::string("egress: no preset: ") + error.what());
    }
}

}  // namespace peacrab
