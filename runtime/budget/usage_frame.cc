// Written and read in one place, so that no count is taken for another.
#include "budget/usage_frame.h"

#include "error.h"

namespace peacrab {
namespace {

constexpr size_t kLongestName = 200;

uint64_t tokens_of(const json::Value& frame, const char* key) {
    const int64_t tokens = frame.integer(key, -1);
    if (tokens < 0 || tokens > static_cast<int64_t>(kMaxTokens))
        throw Error(std::string("frame: usage: ") + key + ": out of range");
    return static_cast<uint64_t>(tokens);
}

}  // namespace

json::Value usage_frame(const std::string& asked, const ModelCount& count) {
    return json::Value::object({{"type", "usage"},
                                {"model", json::valid_utf8(asked.substr(0, kLongestName))},
                                {"answered", json::valid_utf8(count.model.substr(0, kLongestName))},
                                {"input", count.usage.input_tokens},
                                {"output", count.usage.output_tokens},
                                {"cache_read", count.usage.cache_read_input_tokens},
                                {"cache_write", count.usage.cache_creation_input_tokens},
                                {"estimated", count.estimated}});
}

ModelCall call_from(const json::Value& frame) {
    ModelCall call;
    call.asked = json::valid_utf8(frame.text("model").substr(0, kLongestName));
    call.answered = json::valid_utf8(frame.text("answered").substr(0, kLongestName));
    call.usage = {tokens_of(frame, "input"), tokens_of(frame, "output"), tokens_of(frame, "cache_write"),
                  tokens_of(frame, "cache_read")};
    call.estimated = frame.flag("estimated");
    return call;
}

}  // namespace peacrab
