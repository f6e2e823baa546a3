// A subset of JSON Schema (draft 2020-12), for answers that a program reads: `ask --schema`.
//
// Known: type, properties, required, items, enum, const, additionalProperties, minimum, maximum, minLength,
// maxLength, minItems, maxItems, anyOf, and schemas that are true or false. Without effect: $schema, $id,
// $comment, title, description, default, examples, deprecated. Anything else is an Error that names it: a rule
// that is not enforced must not look as if it were.
// Source: https://json-schema.org/draft/2020-12/json-schema-validation.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "json.h"

namespace peacrab {

class Schema {
  public:
    static constexpr size_t kMaxSize = size_t{64} << 10;

    // Throws Error, with where in the schema.
    explicit Schema(std::string_view text);
    const std::string& text() const { return text_; }  // compact
    // What is wrong with `value`, each in a line for whoever wrote it, the first eight; none: it fits.
    std::vector<std::string> problems(const json::Value& value) const;

  private:
    json::Value root_;
    std::string text_;
};

// The one JSON value an answer is, as written: blanks around it and one fence of ``` are no part of it. Throws
// Error when it is none, or more.
std::string_view json_of_reply(std::string_view reply, json::Value& value);

}  // namespace peacrab
