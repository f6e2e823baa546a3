// One reply of a model, put together from what its server streams: the part that is the same for every
// dialect. What comes out can always be replayed: valid UTF-8, well-formed and unique ids, no blank text,
// every call whole or marked as damaged. No network and no clocks here.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "llm.h"
#include "protocols/sse.h"

namespace peacrab {

// An error as the server words it; `status` is the HTTP one, or the one its type stands for.
struct ApiError {
    int status = 0;
    std::string type;
    std::string code;     // stable, unlike the message
    std::string message;  // the server's text: hostile, unbounded
    int64_t window = 0;   // tokens its model's window has, when the error says so
};
// Reads every known shape of an error: Anthropic's, OpenAI's, llama.cpp's bare one, Gemini's list, text.
ApiError read_error(int status, std::string_view content_type, std::string_view body);

// One reply, from its events or from a whole body. Both throw ProtocolError for what breaks the protocol;
// an error that the server reports is also kept in api_error().
class ReplyReader {
  public:
    explicit ReplyReader(std::function<void(std::string_view)> delta = {})
        : delta_(std::move(delta)) {}
    virtual ~ReplyReader() = default;
    virtual void event(std::string_view name, std::string_view data) = 0;
    virtual void whole(std::string_view body) = 0;
    // The server has closed the stream in good order; some need no last event then.
    virtual void end_of_stream() {}
    bool ended() const { return ended_; }
    const std::optional<ApiError>& api_error() const { return api_error_; }
    const std::string& text() const { return text_; }  // shown so far
    // What it has come to. Where the server did not count, or not to the end: four bytes a token, `sent` being
    // those of the request.
    ModelCount count(size_t sent) const;

    // The reply, when ended(); else ProtocolError. `messages` is the conversation it answers, whose
    // tool ids are taken.
    ModelReply finish(const json::Value& messages);

  protected:
    // Blocks are in the form of the conversation (ModelRequest).
    struct Block {
        int64_t index = 0;
        json::Value value;
        std::string text;   // of a text or thinking block
        std::string input;  // fragments of a tool's input
        bool has_text = false, has_input = false, closed = false;
        std::string type() const { return value.text("type"); }
    };

    std::vector<Block> blocks_;
    std::string model_;
    ModelReply::Stop stop_ = ModelReply::Stop::Unknown;
    std::string stop_word_;       // as the server calls it
    std::string refusal_reason_;  // a word or a sentence of the server's
    Usage usage_;
    bool ended_ = false;

    static json::Value parse(std::string_view text);  // an object, or ProtocolError
    [[noreturn]] void refuse(const json::Value& event);
    static bool is_error(const json::Value& body);
    // The newest block of that index; null when there is none.
    Block* find(int64_t index);
    Block& add_block(int64_t index, json::Value value);
    void show(std::string_view text);
    void add_text(Block& block, std::string_view text);
    void add_input(Block& block, std::string_view part);
    // Why it stopped, by the dialect's own words; one that is in no row stays Unknown.
    struct StopReason {
        const char* name;
        ModelReply::Stop stop;
    };
    void stopped(const std::string& word, std::span<const StopReason> known);

  private:
    std::function<void(std::string_view)> delta_;
    std::string text_;
    std::optional<ApiError> api_error_;
    void add_call(ModelReply& reply, Block& block, bool cut, std::vector<std::string>& taken);
    void collect(ModelReply& reply, const json::Value& messages);
};

// What a dialect of Model is made of.
struct DialectTable {
    std::string (*body)(const ModelOptions& options, const ModelRequest& request);
    std::vector<std::string> (*headers)(const std::string& key);
    std::unique_ptr<ReplyReader> (*reader)(std::function<void(std::string_view)> delta);
};
template <class Reader>
std::unique_ptr<ReplyReader> make_reader(std::function<void(std::string_view)> delta) {
    return std::make_unique<Reader>(std::move(delta));
}
// Throws Error for Unknown.
const DialectTable& dialect_table(ModelDialect dialect);

// For the bodies of all dialects.
// `content` of an assistant message, as `options` may be told it: what only the model that wrote it
// understands (thinking, reasoning) is left out for another. Never empty.
json::Value content_for(const ModelOptions& options, const json::Value& message);
std::string joined_text(const json::Value& blocks);  // of the text blocks, a blank line between

}  // namespace peacrab
