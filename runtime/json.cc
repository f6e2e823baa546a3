// JSON: simdjson reads, our own writer escapes. The only file that includes simdjson; its tree is
// copied at once into values that own their bytes, so no lifetime of a parser leaks out.
#include "json.h"

#include <simdjson.h>

#include <algorithm>
#include <cmath>

#include "error.h"
#include "os.h"

namespace peacrab::json {

namespace {

[[noreturn]] void wrong_kind(const char* wanted) {
    throw Error(std::string("json: not ") + wanted);
}

}  // namespace

Value Value::array(std::vector<Value> items) {
    Value value;
    value.kind_ = Kind::Array;
    value.items_ = std::move(items);
    return value;
}

Value Value::object(std::initializer_list<Member> members) {
    Value value;
    value.kind_ = Kind::Object;
    value.members_ = members;
    return value;
}

bool Value::as_bool() const {
    if (kind_ != Kind::Bool) wrong_kind("a boolean");
    return integer_ != 0;
}

int64_t Value::as_integer() const {
    if (kind_ != Kind::Integer) wrong_kind("an integer");
    return integer_;
}

double Value::as_real() const {
    if (kind_ == Kind::Integer) return static_cast<double>(integer_);
    if (kind_ != Kind::Real) wrong_kind("a number");
    return real_;
}

const std::string& Value::as_string() const {
    if (kind_ != Kind::String) wrong_kind("a string");
    return text_;
}

const std::vector<Value>& Value::items() const {
    if (kind_ != Kind::Array) wrong_kind("an array");
    return items_;
}

std::vector<Value>& Value::items() {
    if (kind_ != Kind::Array) wrong_kind("an array");
    return items_;
}

const std::vector<Member>& Value::members() const {
    if (kind_ != Kind::Object) wrong_kind("an object");
    return members_;
}

std::vector<Member>& Value::members() {
    if (kind_ != Kind::Object) wrong_kind("an object");
    return members_;
}

const Value* Value::find(std::string_view key) const {
    for (const Member& member : members_)
        if (member.first == key) return &member.second;
    return nullptr;
}

Value* Value::find(std::string_view key) {
    return const_cast<Value*>(static_cast<const Value*>(this)->find(key));
}

const Value& Value::at(std::string_view key) const {
    const Value* value = find(key);
    if (!value) throw Error("json: no key " + std::string(key));
    return *value;
}

std::string Value::text(std::string_view key, std::string_view otherwise) const {
    const Value* value = find(key);
    return value && value->is_string() ? value->text_ : std::string(otherwise);
}

int64_t Value::integer(std::string_view key, int64_t otherwise) const {
    const Value* value = find(key);
    return value && value->is_integer() ? value->integer_ : otherwise;
}

bool Value::flag(std::string_view key) const {
    const Value* value = find(key);
    return value && value->is_bool() && value->integer_ != 0;
}

void Value::set(std::string_view key, Value value) {
    if (kind_ == Kind::Null) kind_ = Kind::Object;
    if (kind_ != Kind::Object) wrong_kind("an object");
    if (Value* old = find(key))
        *old = std::move(value);
    else
        members_.emplace_back(std::string(key), std::move(value));
}

void Value::push(Value value) {
    if (kind_ == Kind::Null) kind_ = Kind::Array;
    if (kind_ != Kind::Array) wrong_kind("an array");
    items_.push_back(std::move(value));
}

void Value::erase(std::string_view key) {
    std::erase_if(members_, [&](const Member& member) { return member.first == key; });
}

namespace {

void refuse_duplicates(const std::vector<Member>& members) {
    std::vector<std::string_view> keys;
    keys.reserve(members.size());
    for (const Member& member : members) keys.push_back(member.first);
    std::sort(keys.begin(), keys.end());
    if (std::adjacent_find(keys.begin(), keys.end()) != keys.end())
        throw Error("json: a key stands twice in one object");
}

// Depth is bounded by the parser before this runs.
Value copy(simdjson::dom::element element) {
    using Type = simdjson::dom::element_type;
    switch (element.type()) {
        case Type::NULL_VALUE:
            return {};
        case Type::BOOL:
            return bool(element);
        case Type::INT64:
            return static_cast<long long>(int64_t(element));
        case Type::UINT64:
            return static_cast<double>(uint64_t(element));  // beyond int64
        case Type::DOUBLE:
            return double(element);
        case Type::STRING:
            return std::string_view(element);
        case Type::ARRAY: {
            Value value = Value::array();
            for (simdjson::dom::element item : simdjson::dom::array(element))
                value.items().push_back(copy(item));
            return value;
        }
        case Type::OBJECT: {
            Value value = Value::object();
            for (simdjson::dom::key_value_pair pair : simdjson::dom::object(element))
                value.members().emplace_back(std::string(pair.key), copy(pair.value));
            refuse_duplicates(value.members());
            return value;
        }
        default:
            break;  // later versions know further kinds (numbers beyond 64 bits)
    }
    throw Error("json: number too large");
}

}  // namespace

Value parse(std::string_view text, Limits limits) {
    if (text.size() > limits.max_bytes) throw Error("json: too long");
    // A local parser: its buffers are freed with it, and nothing is shared. simdjson wants room
    // for a document's levels plus one for the document itself.
    simdjson::dom::parser parser(limits.max_bytes + simdjson::SIMDJSON_PADDING);
    simdjson::error_code failure = parser.allocate(std::max<size_t>(text.size(), 64),
                                                   static_cast<size_t>(limits.max_depth) + 1);
    simdjson::dom::element root;
    if (!failure) failure = parser.parse(text.empty() ? "" : text.data(), text.size()).get(root);
    if (failure) throw Error(std::string("json: ") + simdjson::error_message(failure));
    return copy(root);
}

namespace {

void dump_string(std::string& out, std::string_view text) {
    out += '"';
    while (!text.empty()) {
        const auto byte = static_cast<unsigned char>(text[0]);
        if (byte >= 0x80) {
            const size_t length = utf8_length(text);
            out.append(length ? text.substr(0, length) : "\xef\xbf\xbd");
            text.remove_prefix(std::max<size_t>(length, 1));
            continue;
        }
        if (byte == '"' || byte == '\\') {
            out += '\\';
            out += text[0];
        } else if (byte == '\n') {
            out += "\\n";
        } else if (byte == '\t') {
            out += "\\t";
        } else if (byte < 0x20 || byte == 0x7f) {
            (out += "\\u00") += hex_digits(text.substr(0, 1));
        } else {
            out += text[0];
        }
        text.remove_prefix(1);
    }
    out += '"';
}

// simdjson's: the standard library's brings tables of 128 kB.
void dump_real(std::string& out, double number) {
    char text[40];
    out.append(text, simdjson::internal::to_chars(text, text + sizeof text, number));
}

void dump_to(std::string& out, const Value& value) {
    using Kind = Value::Kind;
    switch (value.kind()) {
        case Kind::Null:
            out += "null";
            return;
        case Kind::Bool:
            out += value.as_bool() ? "true" : "false";
            return;
        case Kind::Integer:
            out += std::to_string(value.as_integer());
            return;
        case Kind::Real:
            if (std::isfinite(value.as_real()))
                dump_real(out, value.as_real());
            else
                out += "null";  // JSON has no word for it
            return;
        case Kind::String:
            dump_string(out, value.as_string());
            return;
        case Kind::Array: {
            char before = '[';
            for (const Value& item : value.items()) {
                out += before;
                dump_to(out, item);
                before = ',';
            }
            out += before == '[' ? "[]" : "]";
            return;
        }
        case Kind::Object: {
            char before = '{';
            for (const Member& member : value.members()) {
                out += before;
                dump_string(out, member.first);
                out += ':';
                dump_to(out, member.second);
                before = ',';
            }
            out += before == '{' ? "{}" : "}";
            return;
        }
    }
}

}  // namespace

std::string dump(const Value& value) {
    std::string out;
    dump_to(out, value);
    return out;
}

std::string valid_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const size_t length = utf8_length(text);
        out.append(length ? text.substr(0, length) : "\xef\xbf\xbd");
        text.remove_prefix(std::max<size_t>(length, 1));
    }
    return out;
}

}  // namespace peacrab::json
