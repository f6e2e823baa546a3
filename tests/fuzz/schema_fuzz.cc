// A schema and what a model answered to it.
//
// A schema that is taken is taken again as it was written down, and says the same; what it says are few lines, as
// text; a value fits the schema that names it alone, and one that wants it or anything else.
#include "channels/schema.h"
#include "error.h"
#include "fuzz.h"

using namespace peacrab;

namespace {

void check_problems(const std::vector<std::string>& problems) {
    require(problems.size() <= 8);
    for (const std::string& each : problems) {
        require(!each.empty() && is_shown_line(each));
        require(json::valid_utf8(each) == each);
    }
}

void check(const std::string& text, const json::Value& value) {
    try {
        const Schema schema(text);
        const std::vector<std::string> problems = schema.problems(value);
        check_problems(problems);
        const Schema again(schema.text());
        require(again.text() == schema.text() && again.problems(value) == problems);
        const Schema either("{\"anyOf\":[" + schema.text() + ",true]}");
        require(either.problems(value).empty());
    } catch (const Error& error) {
        require(is_shown_line(error.what()));
    }
}

void fits_itself(const json::Value& value) {
    const std::string text = json::dump(value);
    try {
        require(Schema("{\"const\":" + text + "}").problems(value).empty());
        require(Schema("{\"enum\":[0," + text + "]}").problems(value).empty());
    } catch (const Error&) {  // too long, or too deep
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const FuzzInput input(data, size, 2);
    json::Value value;
    try {
        const std::string_view text = json_of_reply(input.texts[0], value);
        json::Value same;
        require(json_of_reply(text, same) == text && json::dump(same) == json::dump(value));
    } catch (const Error&) {
    }
    check(input.texts[1], value);
    fits_itself(value);
    return 0;
}
