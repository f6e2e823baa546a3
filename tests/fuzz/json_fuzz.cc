// JSON from a model, a client or a file: any bytes, with the limits of frames, of models, and small ones.
//
// What is accepted is within its limits, is written on one line of clean UTF-8, and is read again as the same
// tree: kinds, numbers, text and the order of keys. Any bytes can be a string.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "error.h"
#include "json.h"

using namespace peacrab;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

int depth(const json::Value& value) {
    int deepest = 0;
    if (value.is_array())
        for (const json::Value& item : value.items()) deepest = std::max(deepest, depth(item) + 1);
    if (value.is_object())
        for (const auto& [key, item] : value.members()) deepest = std::max(deepest, depth(item) + 1);
    return deepest;
}

bool same(const json::Value& a, const json::Value& b) {
    using Kind = json::Value::Kind;
    if (a.kind() != b.kind()) return false;
    switch (a.kind()) {
        case Kind::Null: return true;
        case Kind::Bool: return a.as_bool() == b.as_bool();
        case Kind::Integer: return a.as_integer() == b.as_integer();
        case Kind::Real:
            return a.as_real() == b.as_real() && std::signbit(a.as_real()) == std::signbit(b.as_real());
        case Kind::String: return a.as_string() == b.as_string();
        case Kind::Array:
            return std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(), same);
        case Kind::Object:
            return std::equal(a.members().begin(), a.members().end(), b.members().begin(), b.members().end(),
                              [](const json::Member& x, const json::Member& y) {
                                  return x.first == y.first && same(x.second, y.second);
                              });
    }
    return false;
}

void tree(std::string_view text, json::Limits limits) {
    json::Value value;
    try {
        value = json::parse(text, limits);
    } catch (const Error&) {
        return;
    }
    require(text.size() <= limits.max_bytes && depth(value) <= limits.max_depth);
    const std::string written = json::dump(value);
    require(json::valid_utf8(written) == written);
    require(std::none_of(written.begin(), written.end(), [](unsigned char byte) { return byte < 0x20; }));
    // What is written may be longer than what was read: escapes.
    const json::Value again = json::parse(written, {size_t{1} << 24, limits.max_depth});
    require(same(value, again) && json::dump(again) == written);
}

void string(std::string_view bytes) {
    const std::string clean = json::valid_utf8(bytes);
    require(json::valid_utf8(clean) == clean);
    require(json::parse(json::dump(json::Value(bytes))).as_string() == clean);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 4) {
        case 0: tree(text, {}); break;
        case 1: tree(text, json::kModelLimits); break;
        case 2: tree(text, {64, 3}); break;
        default: string(text); break;
    }
    return 0;
}
