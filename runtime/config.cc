// Reads the YAML file with libyaml's event parser. Flat on purpose: one mapping of scalars. An
// alias, a nested value or a second document is refused rather than guessed at.
#include "config.h"

#include <yaml.h>

#include <charconv>
#include <map>

#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

std::string xdg(const char* variable, const char* fallback) {
    const std::string value = env(variable);
    if (!value.empty() && value[0] == '/') return value + "/peacrab";
    const std::string home = env("HOME");
    if (home.empty() || home[0] != '/')
        throw Error("config: HOME names no folder: set it, or " + std::string(variable));
    return home + "/" + fallback + "/peacrab";
}

// libyaml's parser with its memory.
class Events {
  public:
    explicit Events(const std::string& text) {
        if (!yaml_parser_initialize(&parser_)) throw Error("config: out of memory");
        yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                     text.size());
    }
    ~Events() {
        yaml_event_delete(&event_);
        yaml_parser_delete(&parser_);
    }
    Events(const Events&) = delete;
    Events& operator=(const Events&) = delete;
    const yaml_event_t& next() {
        yaml_event_delete(&event_);
        event_ = {};
        if (!yaml_parser_parse(&parser_, &event_))
            throw Error("line " + std::to_string(parser_.problem_mark.line + 1) + ": " +
                        (parser_.problem ? parser_.problem : "not YAML"));
        return event_;
    }

  private:
    yaml_parser_t parser_{};
    yaml_event_t event_{};
};

std::string where(const yaml_event_t& event) {
    return "line " + std::to_string(event.start_mark.line + 1) + ": ";
}

std::string scalar(const yaml_event_t& event) {
    if (event.type != YAML_SCALAR_EVENT) throw Error(where(event) + "a plain value was expected");
    return {reinterpret_cast<const char*>(event.data.scalar.value), event.data.scalar.length};
}

int parse_count(const std::string& text) {
    int count = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (failure != std::errc() || end != text.data() + text.size() || count < 1 || count > 256)
        throw Error("a number from 1 to 256 was expected");
    return count;
}

void set(Config& config, const std::string& key, const std::string& value) {
    if (key == "model")
        config.model = value;
    else if (key == "model-url")
        config.model_url = value;
    else if (key == "cpus")
        config.cpus = parse_count(value);
    else if (key == "memory")
        config.memory = parse_size(value);
    else if (key == "disk")
        config.disk = parse_size(value);
    else if (key == "accelerator") {
        if (value != "auto" && value != "kvm" && value != "tcg")
            throw Error("auto, kvm or tcg was expected");
        config.accelerator = value;
    } else {
        throw Error("unknown key `" + printable(key) +
                    "`; known: model, model-url, cpus, memory, disk, accelerator");
    }
}

Config read_events(Events& events) {
    Config config;
    std::map<std::string, bool> seen;
    if (events.next().type != YAML_STREAM_START_EVENT) throw Error("not YAML");
    if (events.next().type == YAML_STREAM_END_EVENT) return config;  // nothing but comments
    const yaml_event_t& root = events.next();
    if (root.type == YAML_SCALAR_EVENT && root.data.scalar.length == 0) return config;
    if (root.type != YAML_MAPPING_START_EVENT)
        throw Error(where(root) + "`key: value` was expected");
    for (;;) {
        const yaml_event_t& event = events.next();
        if (event.type == YAML_MAPPING_END_EVENT) break;
        const std::string key = scalar(event);
        const std::string line = where(event);
        if (seen[key]) throw Error(line + "`" + printable(key) + "` stands twice");
        seen[key] = true;
        const std::string value = scalar(events.next());
        try {
            set(config, key, value);
        } catch (const Error& error) {
            throw Error(line + key + ": " + error.what());
        }
    }
    events.next();  // end of the document
    const yaml_event_t& end = events.next();
    if (end.type != YAML_STREAM_END_EVENT) throw Error(where(end) + "one document was expected");
    return config;
}

// A value in single quotes: nothing inside is special but the quote itself (YAML 1.2, 7.3.2).
std::string quoted(const std::string& text) {
    std::string out = "'";
    for (const char c : text) {
        if (static_cast<unsigned char>(c) < 0x20) throw Error("config: control byte in a value");
        out += c;
        if (c == '\'') out += c;
    }
    return out + "'";
}

}  // namespace

std::string config_folder() {
    return xdg("XDG_CONFIG_HOME", ".config");
}
std::string state_folder() {
    return xdg("XDG_STATE_HOME", ".local/state");
}
std::string cache_folder() {
    return xdg("XDG_CACHE_HOME", ".cache");
}
std::string data_folder() {
    return xdg("XDG_DATA_HOME", ".local/share");
}
std::string config_file() {
    return config_folder() + "/config.yaml";
}

Config parse_config(const std::string& yaml, const std::string& name) {
    try {
        Events events(yaml);
        return read_events(events);
    } catch (const Error& error) {
        throw Error(name + ": " + error.what());
    }
}

Config load_config(const std::string& path) {
    const std::optional<std::string> text = read_file_if_exists(path, KiB(64));
    return text ? parse_config(*text, path) : Config();
}

void save_config(const std::string& path, const Config& config) {
    std::string text;
    if (!config.model.empty()) text += "model: " + quoted(config.model) + "\n";
    if (!config.model_url.empty()) text += "model-url: " + quoted(config.model_url) + "\n";
    if (config.cpus) text += "cpus: " + std::to_string(config.cpus) + "\n";
    if (config.memory.count) text += "memory: " + format_size(config.memory) + "\n";
    if (config.disk.count) text += "disk: " + format_size(config.disk) + "\n";
    if (!config.accelerator.empty()) text += "accelerator: " + config.accelerator + "\n";
    make_directories(path.substr(0, path.rfind('/')));
    write_file_atomic(path, text, 0600);
}

Bytes parse_size(const std::string& text) {
    uint64_t number = 0;
    const char* const last = text.data() + text.size();
    const auto [end, failure] = std::from_chars(text.data(), last, number);
    int shift = -1;
    if (end == last)
        shift = 0;
    else if (end + 1 == last) {
        const size_t unit = std::string_view("KMGT").find(*end);
        if (unit != std::string_view::npos) shift = 10 * (static_cast<int>(unit) + 1);
    }
    if (failure != std::errc() || shift < 0 || number == 0 ||
        (number << shift >> shift) != number || number << shift > (uint64_t{1} << 50))
        throw Error("a size such as 512M or 8G was expected, not `" + printable(text) + "`");
    return {number << shift};
}

std::string format_size(Bytes size) {
    static const char* const units[] = {"", "K", "M", "G", "T"};
    size_t unit = 0;
    uint64_t number = size.count;
    while (unit < 4 && number && number % 1024 == 0) {
        number /= 1024;
        ++unit;
    }
    return std::to_string(number) + units[unit];
}

}  // namespace peacrab
