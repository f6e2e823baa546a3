// Data without behaviour that several layers share. The zero value of everything here refuses.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace peacrab {

using Milliseconds = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;

// Sizes in bytes; spelt with a type so that no number stands without its unit.
struct Bytes {
    uint64_t count = 0;
    constexpr auto operator<=>(const Bytes&) const = default;
};
constexpr Bytes KiB(uint64_t n) {
    return {n << 10};
}
constexpr Bytes MiB(uint64_t n) {
    return {n << 20};
}
constexpr Bytes GiB(uint64_t n) {
    return {n << 30};
}

// What one agent may use; of all its processes together. A limit that is hit is said to the model
// and to the person.
struct CellLimits {
    Bytes memory;                // page cache and scratch files included, no swap; 0: 60 % of the
                                 // machine's
    uint64_t processes = 512;    // and threads
    unsigned cpu_percent = 0;    // 100 is one CPU; 0: a fair share of all
    Bytes disk = GiB(4);         // home, system files and kept output
    uint64_t files = 200'000;    // inodes of these
    Bytes io = MiB(64);          // a second, read and written each; 0: no bound
    bool operator==(const CellLimits&) const = default;
};

// One call of a tool as the model asked for it. `arguments` is the model's text: hostile until
// `policy` has opened it against the tool's schema.
struct ToolCall {
    std::string id;
    std::string name;
    std::string arguments;
};

// What a tool call came to. Failed unless something says otherwise.
enum class Outcome { Failed, Ok, Denied, TimedOut, Interrupted, Waiting };
const char* outcome_name(Outcome outcome);  // "failed", "ok", "denied", "timed out", "interrupted", "waiting"
Outcome outcome_from(const std::string& name);  // unknown text is Failed

struct [[nodiscard]] ToolResult {
    Outcome outcome = Outcome::Failed;
    std::string text;     // for the model: clipped, valid UTF-8
    std::string summary;  // for the person: one line, no control bytes
    std::string picture = {};  // as builtins/picture makes it; "": none
    // For the audit.
    std::string exit = {};  // how its process ended
    uint64_t bytes = 0;     // that it said
    std::string limit = {};  // that it hit
    bool untrusted = false;  // strangers have written `text`, or could have
};

// The four usage counters of a model call (Anthropic's names).
struct Usage {
    uint64_t input_tokens = 0;
    uint64_t output_tokens = 0;
    uint64_t cache_creation_input_tokens = 0;
    uint64_t cache_read_input_tokens = 0;
    Usage& operator+=(const Usage& other) {
        input_tokens += other.input_tokens;
        output_tokens += other.output_tokens;
        cache_creation_input_tokens += other.cache_creation_input_tokens;
        cache_read_input_tokens += other.cache_read_input_tokens;
        return *this;
    }
};

// Which model is asked, and how to speak to its server; the names are those of protocols/servers.
struct ModelSettings {
    std::string name;
    std::string dialect;
    std::string server;                 // "": one that is not known
    std::vector<std::string> fallback;  // of the same server: asked in this order when it cannot answer
    uint64_t window = 0;                // tokens they can be told; 0: by the name
};

constexpr const char* kVersion = "0.1.0";
constexpr const char* kSentinelKey =
    "proxy-managed";  // what stands where a key would; the gateway replaces it

}  // namespace peacrab
