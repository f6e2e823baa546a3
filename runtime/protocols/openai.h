// The two dialects of OpenAI, which many servers speak: Chat Completions and Responses.
// Sources: https://platform.openai.com/docs/api-reference/chat and /responses;
// https://openrouter.ai/docs/use-cases/reasoning-tokens (reasoning_details);
// https://ai.google.dev/gemini-api/docs/thought-signatures (extra_content).
#pragma once

#include "protocols/reply.h"

namespace peacrab::openai {

extern const DialectTable kChat;
extern const DialectTable kResponses;

std::string chat_body(const ModelOptions& options, const ModelRequest& request);
std::string responses_body(const ModelOptions& options, const ModelRequest& request);

// What both have in common.
std::vector<std::string> bearer(const std::string& key);  // the header of the key
std::string data_url(const json::Value& image);            // a block of the conversation as an address

class ChatReader : public ReplyReader {
  public:
    using ReplyReader::ReplyReader;
    void event(std::string_view name, std::string_view data) override;
    void whole(std::string_view body) override;
    void end_of_stream() override;

  private:
    void choice(const json::Value& choice, const json::Value& message);
    void add_reasoning(const json::Value& message);
    void add_part(const json::Value& part);
    void count(const json::Value* usage);
    void finished(const std::string& reason);
    void end();
    int64_t next_ = 0;            // index of the next block
    std::string refusal_;         // what it said instead of an answer
    std::string reasoning_;       // reasoning_content
    json::Value details_;         // reasoning_details, their parts joined
};

class ResponsesReader : public ReplyReader {
  public:
    using ReplyReader::ReplyReader;
    void event(std::string_view name, std::string_view data) override;
    void whole(std::string_view body) override;

  private:
    Block& block_of(const json::Value& event, const char* type);
    void item(const json::Value& item, const json::Value* index, bool done);
    void settle(const json::Value& response);
    int64_t next_ = 0;
    std::string refusal_;
};

}  // namespace peacrab::openai
