// The one YAML file a person edits: file → each module's options. An unknown key, a wrong kind or
// a number out of range is an Error with a hint; an absent file is the defaults.
//
//     # ~/.config/peacrab/config.yaml
//     model: claude-sonnet-4-5          # absent: chosen by what keys there are
//     model-url: http://127.0.0.1:4010  # absent: the provider's own address
//     dialect: anthropic                # or chat, responses; absent: by the address
//     fallback:                         # models of the same server, for when that one cannot answer
//       - claude-haiku-4-5
//     window: 32768                     # tokens the model can be told; absent: by its name (context/windows.def)
//     search: brave                     # or tavily, searxng; absent: web_search says how to set one
//     search-url: https://searx.example.org  # where the person's own searxng is
//     cpus: 2
//     memory: 1G
//     disk: 8G
//     accelerator: auto                 # auto, kvm or tcg
//     limits:                           # of every agent; each key may stand under an agent too
//       memory: 600M
//       processes: 512
//       cpus: 1                         # CPUs' worth of time
//       disk: 4G
//       files: 200000
//       io: 64M                         # bytes a second, each way
//     agents:
//       scout:
//         model: claude-haiku-4-5
//         rules: a line or block of text that is put into the system prompt
//         memory: 300M
//         skills: [debian-packages]     # of all there are only these; absent: all
//         paused: true
//     may-message:                      # nothing else lets two agents talk
//       - main -> scout
//     budget:                           # session and turn: of each agent; an agent may have its own, and a day
//       day: 10 USD                     # of all agents together
//       turn: [5 USD, 2M tokens]        # what comes first; `none` lifts it
//     prices:                           # USD for a million tokens: in, out, read from the cache, written to it
//       my-model: [1, 4, 0.1, 1]
//     egress:                           # absent: closed
//       - http://deb.example.org:80 GET HEAD
//       - registry.example.org:443
//     hooks: …                          # hooks/hook.h
//     channels: …                       # messaging/channel_config.h
#pragma once

#include <string>
#include <vector>

#include "agents.h"
#include "budget/spending.h"
#include "config/egress_rule.h"
#include "config/model_choice.h"
#include "hooks/hook.h"
#include "types.h"

namespace peacrab {

struct Config : ModelConfig {
    std::vector<std::string> fallback;
    uint64_t window = 0;
    std::string search, search_url;  // what web_search asks (protocols/search_api)
    int cpus = 0;             // 0: the launcher's default for its accelerator
    Bytes memory;             // 0: likewise
    Bytes disk;               // 0: likewise
    std::string accelerator;  // empty: auto
    Agents agents;            // `main` alone unless it says more
    bool egress_given = false;
    std::vector<EgressRule> egress;
    Spending spending;
    std::vector<Hook> hooks;
};

// ${XDG_CONFIG_HOME:-~/.config}/peacrab, ${XDG_STATE_HOME:-~/.local/state}/peacrab,
// ${XDG_CACHE_HOME:-~/.cache}/peacrab, ${XDG_DATA_HOME:-~/.local/share}/peacrab. Relative values of
// the variables are ignored, as the XDG base directory specification wants. Throws without HOME.
std::string config_folder();
std::string state_folder();
std::string cache_folder();
std::string data_folder();
std::string config_file();  // config_folder() + "/config.yaml"

// Throws Error naming file, line and what would be right.
Config load_config(const std::string& path);
Config parse_config(const std::string& text, const std::string& name);
constexpr Bytes kMaxConfig = KiB(256);

// "512M", "8G", "1048576": a number with K, M, G or T (powers of 1024). Throws Error.
Bytes parse_size(const std::string& text);
std::string format_size(Bytes size);  // "512M"; exact, so that it reads back the same

}  // namespace peacrab
