// The Anthropic Messages dialect: what is sent, and how a reply is put together from its events.
// No network and no clocks here. Source: https://docs.anthropic.com/en/api/messages.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "llm.h"
#include "protocols/sse.h"

namespace peacrab::anthropic {

// An error as the server words it; `status` is the HTTP one, or the one its type stands for.
struct ApiError {
    int status = 0;
    std::string type;
    std::string code;     // error.details.error_code: stable, unlike the message
    std::string message;  // the server's text: hostile, unbounded
};

std::string request_body(const ModelOptions& options, const ModelRequest& request);

// Reads every known shape of an error: the documented one, OpenAI's, llama.cpp's bare one, text.
ApiError read_error(int status, std::string_view content_type, std::string_view body);

// One reply, from its events or from a whole message. Throws ProtocolError for what breaks the
// protocol; an error that the server reports is also kept in api_error().
class ReplyReader {
  public:
    explicit ReplyReader(std::function<void(std::string_view)> delta);
    void event(std::string_view name, std::string_view data);
    void whole(std::string_view body);  // a JSON body in place of a stream
    bool ended() const { return ended_; }
    const std::optional<ApiError>& api_error() const { return api_error_; }
    const std::string& text() const { return text_; }  // shown so far

    // The reply, when ended(); else ProtocolError. `messages` is the conversation it answers, whose
    // tool ids are taken.
    ModelReply finish(const json::Value& messages);

  private:
    struct Block {
        int64_t index = 0;
        json::Value value;
        std::string text;   // of a text or thinking block
        std::string input;  // fragments of a tool's input
        bool has_text = false, has_input = false, closed = false;
        std::string type() const { return value.text("type"); }
    };

    std::function<void(std::string_view)> delta_;
    std::vector<Block> blocks_;
    std::string text_, model_, stop_reason_;
    json::Value stop_details_;
    Usage usage_;
    bool ended_ = false;
    std::optional<ApiError> api_error_;

    Block* find(const json::Value& event);
    void open(const json::Value& event);
    void extend(const json::Value& event);
    void add_block(int64_t index, json::Value value);
    void show(std::string_view text);
    void count(const json::Value* usage);
    void settle(const json::Value* from);
    [[noreturn]] void refuse(const json::Value& event);
    void add_call(ModelReply& reply, Block& block, bool cut, std::vector<std::string>& taken);
    void collect(ModelReply& reply, const json::Value& messages);
};

}  // namespace peacrab::anthropic
