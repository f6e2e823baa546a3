// Names are short words: they stand in file names, in sessions and in what people are told.
#include "messaging/channel_config.h"

#include "config/yaml.h"
#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr size_t kMostChannels = 16;

bool is_name(const std::string& name) {
    return !name.empty() && name.size() <= 24 && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos &&
           name[0] >= 'a' && name[0] <= 'z';
}

// "telegram", or "telegram 4711" for that person there.
void set_target(HubChannel& channel, const yaml::Node& value) {
    const size_t blank = std::min(value.text.find(' '), value.text.size());
    channel.to = value.text.substr(0, blank);
    channel.person = blank < value.text.size() ? value.text.substr(blank + 1) : std::string();
    if (!is_name(channel.to)) throw Error(yaml::at(value) + "to: the name of a channel was expected");
}

ChannelConfig read_channel(const yaml::Node& key, const yaml::Node& block) {
    using Kind = yaml::Node::Kind;
    ChannelConfig channel;
    if (!is_name(key.text)) throw Error(yaml::at(key) + "the name of a channel is at most 24 small letters, digits and -");
    if (block.kind != Kind::Map && block.kind != Kind::Null) throw Error(yaml::at(key) + "`key: value` lines were expected below it");
    channel.hub.name = channel.type = key.text;
    for (const auto& [name, value] : block.entries) {
        if (name.text == "command") {
            if (value.kind != Kind::List || value.items.empty()) throw Error(yaml::at(name) + "command: a list of words was expected");
            for (const yaml::Node& word : value.items) channel.command.push_back(word.text);
            if (channel.command[0].empty() || channel.command[0][0] != '/') throw Error(yaml::at(name) + "command: the path of a program was expected");
            channel.type.clear();
            continue;
        }
        if (value.kind != Kind::Text) throw Error(yaml::at(name) + printable(name.text) + ": a plain value was expected");
        if (name.text == "agent") channel.hub.agent = value.text;
        else if (name.text == "type") channel.type = value.text;
        else if (name.text == "to") set_target(channel.hub, value);
        else if (name.text == "do") channel.hub.words = value.text;
        else if (name.text == "listens" && (value.text == "true" || value.text == "false")) channel.hub.listens = value.text == "true";
        else if (name.text == "listens") throw Error(yaml::at(name) + "listens: true or false was expected");
        else channel.hub.settings.set(name.text, value.text);
    }
    if (channel.type == "webhook" && channel.hub.to.empty())
        throw Error(yaml::at(key) + "to: the channel is missing on which somebody is told of it");
    return channel;
}

}  // namespace

std::vector<ChannelConfig> load_channels(const std::string& path) {
    std::vector<ChannelConfig> all;
    const std::optional<std::string> text = read_file_if_exists(path, KiB(256));
    if (!text) return all;
    try {
        const yaml::Node root = yaml::parse(*text);
        const yaml::Node* const channels = root.find("channels");
        if (!channels || channels->kind == yaml::Node::Kind::Null) return all;
        if (channels->kind != yaml::Node::Kind::Map) throw Error(yaml::at(*channels) + "channels: names were expected below it");
        for (const auto& [key, block] : channels->entries) all.push_back(read_channel(key, block));
        if (all.size() > kMostChannels) throw Error("channels: at most 16 of them");
    } catch (const Error& error) {
        throw Error(printable(path) + ": " + error.what());
    }
    return all;
}

}  // namespace peacrab
