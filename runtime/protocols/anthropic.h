// The Anthropic Messages dialect: what is sent, and how a reply is put together from its events.
// Source: https://docs.anthropic.com/en/api/messages.
#pragma once

#include "protocols/reply.h"

namespace peacrab::anthropic {

extern const DialectTable kTable;

std::string request_body(const ModelOptions& options, const ModelRequest& request);

class Reader : public ReplyReader {
  public:
    using ReplyReader::ReplyReader;
    void event(std::string_view name, std::string_view data) override;
    void whole(std::string_view body) override;

  private:
    Block* find_in(const json::Value& event);
    void open(const json::Value& event);
    void extend(const json::Value& event);
    void count(const json::Value* usage);
    void settle(const json::Value* from);
};

}  // namespace peacrab::anthropic
