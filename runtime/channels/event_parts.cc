#include "channels/event_parts.h"

#include <algorithm>

#include "os.h"

namespace peacrab {

const json::Value& part(const json::Value& of, std::string_view key) {
    static const json::Value nothing;
    const json::Value* const found = of.find(key);
    return found ? *found : nothing;
}

std::string bounded(std::string_view text, size_t most) { return std::string(utf8_prefix(text, most)); }

std::string name_of(std::string_view text) {
    std::string name = bounded(text, 200);
    std::replace_if(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
    return name;
}

}  // namespace peacrab
