// The schema is the person's, the value the model's. A schema has no references, so each of its parts meets
// each part of a value at most once: the work is bounded by the product of both, and their depth by json::parse.
#include "channels/schema.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

using json::Value;
using Kind = Value::Kind;

constexpr int kMaxDepth = 32;  // of a schema; each level has two in JSON
constexpr size_t kMostProblems = 8;

enum class Takes { Nothing, Type, Schemas, Names, Schema, Values, Anything, Count, Number, Choices };
struct Keyword {
    std::string_view name;
    Takes takes;
};
constexpr Keyword kKeywords[] = {
    {"type", Takes::Type},           {"properties", Takes::Schemas}, {"required", Takes::Names},
    {"items", Takes::Schema},        {"enum", Takes::Values},        {"const", Takes::Anything},
    {"minimum", Takes::Number},      {"maximum", Takes::Number},     {"minLength", Takes::Count},
    {"maxLength", Takes::Count},     {"minItems", Takes::Count},     {"maxItems", Takes::Count},
    {"anyOf", Takes::Choices},       {"$schema", Takes::Nothing},    {"$id", Takes::Nothing},
    {"$comment", Takes::Nothing},    {"title", Takes::Nothing},      {"description", Takes::Nothing},
    {"default", Takes::Nothing},     {"examples", Takes::Nothing},   {"deprecated", Takes::Nothing},
    {"additionalProperties", Takes::Schema},
};
constexpr std::string_view kTypes[] = {"null", "boolean", "integer", "number", "string", "array", "object"};

bool is_number(const Value& value) { return value.kind() == Kind::Integer || value.kind() == Kind::Real; }

// A name that anybody has made up, on a line.
std::string shown_name(const std::string& name) {
    const std::string quoted = json::dump(Value(json::valid_utf8(name.substr(0, 100))));
    return printable(quoted.substr(1, quoted.size() - 2));
}

[[noreturn]] void wrong(const std::string& where, const std::string& what) {
    throw Error("schema: " + (where.empty() ? "" : where + ": ") + what);
}

void check_schema(const Value& schema, const std::string& where, int depth);

void check_type(const Value& type, const std::string& where) {
    const auto one = [&](const Value& name) {
        if (!name.is_string() || std::find(std::begin(kTypes), std::end(kTypes), name.as_string()) == std::end(kTypes))
            wrong(where, "a type is null, boolean, integer, number, string, array or object");
    };
    if (!type.is_array()) return one(type);
    if (type.items().empty()) wrong(where, "no type at all");
    for (const Value& name : type.items()) one(name);
}

void check_keyword(const Keyword& keyword, const Value& value, const std::string& where, int depth) {
    switch (keyword.takes) {
        case Takes::Nothing:
        case Takes::Anything:
            return;
        case Takes::Type:
            return check_type(value, where);
        case Takes::Schema:
            return check_schema(value, where, depth + 1);
        case Takes::Schemas:
            if (!value.is_object()) wrong(where, "an object was expected");
            for (const auto& [name, each] : value.members()) check_schema(each, where + "." + shown_name(name), depth + 1);
            return;
        case Takes::Choices:
            if (!value.is_array() || value.items().empty()) wrong(where, "a list of schemas was expected");
            for (size_t n = 0; n < value.items().size(); ++n)
                check_schema(value.items()[n], where + "[" + std::to_string(n) + "]", depth + 1);
            return;
        case Takes::Names:
            if (!value.is_array()) wrong(where, "a list of names was expected");
            for (const Value& name : value.items())
                if (!name.is_string()) wrong(where, "a list of names was expected");
            return;
        case Takes::Values:
            if (!value.is_array() || value.items().empty()) wrong(where, "a list of values was expected");
            return;
        case Takes::Count:
            if (!value.is_integer() || value.as_integer() < 0) wrong(where, "a number from 0 on was expected");
            return;
        case Takes::Number:
            if (!is_number(value)) wrong(where, "a number was expected");
    }
}

void check_schema(const Value& schema, const std::string& where, int depth) {
    if (depth > kMaxDepth) wrong(where, "nested too deep");
    if (schema.is_bool()) return;
    if (!schema.is_object()) wrong(where, "a schema is an object, true or false");
    for (const auto& [name, value] : schema.members()) {
        const auto known = std::find_if(std::begin(kKeywords), std::end(kKeywords),
                                        [&key = name](const Keyword& keyword) { return keyword.name == key; });
        if (known == std::end(kKeywords)) {
            std::string all;
            for (const Keyword& keyword : kKeywords)
                if (keyword.takes != Takes::Nothing) all += (all.empty() ? "" : ", ") + std::string(keyword.name);
            wrong(where, "unknown keyword `" + shown_name(name) + "`; known are " + all);
        }
        check_keyword(*known, value, where.empty() ? name : where + "." + name, depth);
    }
}

// 1 and 1.0 are one number; the members of objects have no order.
bool equal(const Value& a, const Value& b) {
    if (is_number(a) && is_number(b))
        return a.is_integer() && b.is_integer() ? a.as_integer() == b.as_integer() : a.as_real() == b.as_real();
    if (a.kind() != b.kind()) return false;
    switch (a.kind()) {
        case Kind::Null:
            return true;
        case Kind::Bool:
            return a.as_bool() == b.as_bool();
        case Kind::String:
            return a.as_string() == b.as_string();
        case Kind::Array:
            return a.items().size() == b.items().size() &&
                   std::equal(a.items().begin(), a.items().end(), b.items().begin(), equal);
        case Kind::Object:
            return a.members().size() == b.members().size() &&
                   std::all_of(a.members().begin(), a.members().end(), [&](const json::Member& member) {
                       const Value* other = b.find(member.first);
                       return other && equal(member.second, *other);
                   });
        default:
            return false;
    }
}

bool has_type(const Value& value, const std::string& type) {
    switch (value.kind()) {
        case Kind::Null:
            return type == "null";
        case Kind::Bool:
            return type == "boolean";
        case Kind::Integer:
            return type == "integer" || type == "number";
        case Kind::Real:
            return type == "number" || (type == "integer" && std::floor(value.as_real()) == value.as_real());
        case Kind::String:
            return type == "string";
        case Kind::Array:
            return type == "array";
        case Kind::Object:
            return type == "object";
    }
    return false;
}

std::string short_dump(const Value& value) {
    const std::string text = json::dump(value);
    return printable(text.size() <= 80 ? text : json::valid_utf8(text.substr(0, 77)) + "...");
}

int64_t letters(const std::string& text) {
    return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

class Check {
  public:
    void value(const Value& schema, const Value& given, const std::string& at);
    std::vector<std::string> problems;

  private:
    void say(const std::string& at, const std::string& what) {
        if (problems.size() < kMostProblems) problems.push_back(at + ": " + what);
    }
    void type(const Value& wanted, const Value& given, const std::string& at);
    void bounds(const Value& schema, const Value& given, const std::string& at);
    void any_of(const Value& choices, const Value& given, const std::string& at);
    void object(const Value& schema, const Value& given, const std::string& at);
};

void Check::type(const Value& wanted, const Value& given, const std::string& at) {
    const std::vector<Value> types = wanted.is_array() ? wanted.items() : std::vector<Value>{wanted};
    std::string names;
    for (const Value& each : types) {
        if (has_type(given, each.as_string())) return;
        names += (names.empty() ? "" : " or ") + each.as_string();
    }
    say(at, "wanted " + names + ", got " + short_dump(given));
}

void Check::bounds(const Value& schema, const Value& given, const std::string& at) {
    const auto within = [&](const char* least, const char* most, double number, const std::string& what) {
        const Value* const low = schema.find(least);
        const Value* const high = schema.find(most);
        if (low && number < low->as_real()) say(at, what + " is below " + least + " " + json::dump(*low));
        if (high && number > high->as_real()) say(at, what + " is above " + most + " " + json::dump(*high));
    };
    if (is_number(given)) within("minimum", "maximum", given.as_real(), json::dump(given));
    if (given.is_string())
        within("minLength", "maxLength", static_cast<double>(letters(given.as_string())),
               "its length " + std::to_string(letters(given.as_string())));
    if (given.is_array())
        within("minItems", "maxItems", static_cast<double>(given.items().size()),
               "its number of items " + std::to_string(given.items().size()));
}

void Check::any_of(const Value& choices, const Value& given, const std::string& at) {
    std::string why;
    for (const Value& choice : choices.items()) {
        Check one;
        one.value(choice, given, at);
        if (one.problems.empty()) return;
        if (why.size() < 400) why += (why.empty() ? "" : "; or ") + one.problems.front();
    }
    say(at, "fits none of anyOf (" + why + ")");
}

void Check::object(const Value& schema, const Value& given, const std::string& at) {
    const Value* const known = schema.find("properties");
    const Value* const others = schema.find("additionalProperties");
    if (const Value* const required = schema.find("required"))
        for (const Value& name : required->items())
            if (!given.find(name.as_string())) say(at, "`" + shown_name(name.as_string()) + "` is missing");
    for (const auto& [name, each] : given.members()) {
        const std::string place = at + "." + shown_name(name);
        const Value* const own = known ? known->find(name) : nullptr;
        if (own)
            value(*own, each, place);
        else if (others && others->is_bool() && !others->as_bool())
            say(place, "is not allowed here");
        else if (others)
            value(*others, each, place);
    }
}

void Check::value(const Value& schema, const Value& given, const std::string& at) {
    if (problems.size() >= kMostProblems) return;
    if (schema.is_bool()) {
        if (!schema.as_bool()) say(at, "nothing is allowed here");
        return;
    }
    if (const Value* const wanted = schema.find("type")) type(*wanted, given, at);
    if (const Value* const only = schema.find("const"); only && !equal(*only, given))
        say(at, "wanted " + short_dump(*only) + ", got " + short_dump(given));
    if (const Value* const one_of = schema.find("enum"))
        if (std::none_of(one_of->items().begin(), one_of->items().end(),
                         [&](const Value& each) { return equal(each, given); }))
            say(at, "wanted one of " + short_dump(*one_of) + ", got " + short_dump(given));
    bounds(schema, given, at);
    if (const Value* const choices = schema.find("anyOf")) any_of(*choices, given, at);
    if (given.is_object()) object(schema, given, at);
    const Value* const items = schema.find("items");
    for (size_t n = 0; items && given.is_array() && n < given.items().size(); ++n)
        value(*items, given.items()[n], at + "[" + std::to_string(n) + "]");
}

}  // namespace

Schema::Schema(std::string_view text) {
    if (text.size() > kMaxSize) throw Error("schema: longer than 64 KiB");
    try {
        root_ = json::parse(text, {kMaxSize, 2 * kMaxDepth + 2});
    } catch (const Error& error) {
        throw Error(std::string("schema: ") + error.what());
    }
    check_schema(root_, "", 0);
    text_ = json::dump(root_);
}

std::vector<std::string> Schema::problems(const Value& value) const {
    Check check;
    check.value(root_, value, "$");
    return check.problems;
}

std::string_view json_of_reply(std::string_view reply, Value& value) {
    constexpr std::string_view kBlank = " \t\r\n", kFence = "```";
    const auto trim = [&](std::string_view text) {
        const size_t begin = text.find_first_not_of(kBlank);
        if (begin == std::string_view::npos) return std::string_view();
        return text.substr(begin, text.find_last_not_of(kBlank) + 1 - begin);
    };
    std::string_view text = trim(reply);
    if (text.starts_with(kFence) && text.ends_with(kFence) && text.size() >= 2 * kFence.size()) {
        const size_t line = text.find('\n');
        const size_t end = text.size() - kFence.size();
        if (line != std::string_view::npos && line < end) text = trim(text.substr(line + 1, end - line - 1));
    }
    value = json::parse(text, json::kModelLimits);
    return text;
}

}  // namespace peacrab
