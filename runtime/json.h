// JSON in and out. Reading is simdjson behind a bounded, owned tree; writing escapes everything.
//
// parse() refuses: more than max_bytes, deeper than max_depth (what is empty has no depth), trailing bytes,
// invalid UTF-8, duplicate keys in one object. Source: RFC 8259.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace peacrab::json {

class Value;
using Member = std::pair<std::string, Value>;

// A JSON value that owns its children. Objects keep the order of their keys. Copying copies deep.
class Value {
  public:
    enum class Kind { Null, Bool, Integer, Real, String, Array, Object };

    Value() = default;
    Value(std::nullptr_t) {}
    Value(bool b) : kind_(Kind::Bool), integer_(b) {}
    Value(int n) : kind_(Kind::Integer), integer_(n) {}
    Value(long n) : kind_(Kind::Integer), integer_(n) {}
    Value(long long n) : kind_(Kind::Integer), integer_(n) {}
    Value(unsigned n) : kind_(Kind::Integer), integer_(n) {}
    Value(unsigned long n) : kind_(Kind::Integer), integer_(static_cast<int64_t>(n)) {}
    Value(unsigned long long n) : kind_(Kind::Integer), integer_(static_cast<int64_t>(n)) {}
    Value(double d) : kind_(Kind::Real), real_(d) {}
    Value(const char* s) : kind_(Kind::String), text_(s) {}
    Value(std::string_view s) : kind_(Kind::String), text_(s) {}
    Value(std::string s) : kind_(Kind::String), text_(std::move(s)) {}

    static Value array(std::vector<Value> items = {});
    static Value object(std::initializer_list<Member> members = {});

    Kind kind() const { return kind_; }
    bool is_null() const { return kind_ == Kind::Null; }
    bool is_string() const { return kind_ == Kind::String; }
    bool is_integer() const { return kind_ == Kind::Integer; }
    bool is_bool() const { return kind_ == Kind::Bool; }
    bool is_array() const { return kind_ == Kind::Array; }
    bool is_object() const { return kind_ == Kind::Object; }

    // Typed reads; a wrong kind throws Error.
    bool as_bool() const;
    int64_t as_integer() const;
    double as_real() const;  // an integer is also a real
    const std::string& as_string() const;
    const std::vector<Value>& items() const;     // array
    const std::vector<Member>& members() const;  // object
    std::vector<Value>& items();
    std::vector<Member>& members();

    // Object look-ups. find: null pointer when absent or when this is no object. The others give
    // the default when the key is absent, null or of another kind; at() throws when it is absent.
    const Value* find(std::string_view key) const;
    Value* find(std::string_view key);
    const Value& at(std::string_view key) const;
    std::string text(std::string_view key, std::string_view otherwise = {}) const;
    int64_t integer(std::string_view key, int64_t otherwise = 0) const;
    bool flag(std::string_view key) const;  // false unless present and true

    void set(std::string_view key, Value value);  // replaces or appends; makes a null an object
    void push(Value value);                       // appends; makes a null an array
    void erase(std::string_view key);

  private:
    Kind kind_ = Kind::Null;
    int64_t integer_ = 0;
    double real_ = 0;
    std::string text_;
    std::vector<Value> items_;
    std::vector<Member> members_;
};

struct Limits {
    size_t max_bytes = size_t{1} << 20;
    int max_depth = 8;
};
// What comes from a model or a tool schema nests deeper than our frames do.
constexpr Limits kModelLimits{size_t{16} << 20, 64};

// Throws Error("json: …").
Value parse(std::string_view text, Limits limits = {});
// Compact, one line, keys in order; control bytes escaped, invalid UTF-8 replaced by U+FFFD.
std::string dump(const Value& value);
// `text` with every invalid UTF-8 sequence replaced by U+FFFD.
std::string valid_utf8(std::string_view text);

}  // namespace peacrab::json
