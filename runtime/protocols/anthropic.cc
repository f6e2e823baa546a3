// Blocks are found by their index: llama.cpp sends all content_block_stops at the end, others reuse an
// index or number with gaps. What later versions add is skipped, unknown blocks are kept for replay.
#include "protocols/anthropic.h"

#include <algorithm>
#include <array>

namespace peacrab::anthropic {

namespace {

bool blank(std::string_view text) {
    return text.find_first_not_of(" \t\r\n\f\v") == std::string_view::npos;
}

}  // namespace

std::string request_body(const ModelOptions& options, const ModelRequest& request) {
    const auto filled = [](const json::Value& value) {
        return value.is_array() && !value.items().empty();
    };
    std::string body = "{\"model\":" + json::dump(options.model) +
                       ",\"max_tokens\":" + std::to_string(options.max_tokens) + ",\"stream\":true";
    if (filled(request.system)) body += ",\"system\":" + json::dump(request.system);
    if (filled(request.tools)) body += ",\"tools\":" + json::dump(request.tools);
    body += ",\"messages\":[";
    for (const json::Value& message : request.messages.items()) {
        const bool answer = message.text("role") == "assistant";
        if (!body.ends_with('[')) body += ',';
        body += std::string("{\"role\":") + (answer ? "\"assistant\"" : "\"user\"") +
                ",\"content\":" +
                json::dump(answer ? content_for(options, message) : message.at("content")) + "}";
    }
    return body + "]}";
}

namespace {

std::vector<std::string> headers(const std::string& key) {
    return {"anthropic-version: 2023-06-01", "x-api-key: " + key};
}

}  // namespace

const DialectTable kTable{request_body, headers, make_reader<Reader>};

void Reader::event(std::string_view name, std::string_view data) {
    if (ended_ || blank(data) || data == "[DONE]") return;
    const json::Value event = parse(data);
    if (name == "error" || is_error(event)) refuse(event);
    const std::string type = event.text("type", name);
    if (type == "message_start") {
        settle(event.find("message"));
    } else if (type == "content_block_start") {
        open(event);
    } else if (type == "content_block_delta") {
        extend(event);
    } else if (type == "content_block_stop") {
        if (Block* block = find_in(event)) block->closed = true;
    } else if (type == "message_delta") {
        settle(event.find("delta"));
        count(event.find("usage"));
    } else if (type == "message_stop") {
        ended_ = true;
    }  // ping, and what later versions add
}

void Reader::whole(std::string_view body) {
    const json::Value message = parse(body);
    if (is_error(message)) refuse(message);
    const json::Value* content = message.find("content");
    if (!content || !content->is_array()) throw ProtocolError("JSON, but no message");
    for (const json::Value& block : content->items()) {
        add_block(static_cast<int64_t>(blocks_.size()), block);
        blocks_.back().closed = true;
    }
    settle(&message);
    ended_ = true;
}

// Takes over whichever of these fields an object of the server has.
void Reader::settle(const json::Value* from) {
    if (!from) return;
    model_ = from->text("model", model_);
    static constexpr std::array kReasons = {
        StopReason{"end_turn", ModelReply::Stop::EndTurn},
        StopReason{"stop_sequence", ModelReply::Stop::EndTurn},
        StopReason{"tool_use", ModelReply::Stop::ToolUse},
        StopReason{"max_tokens", ModelReply::Stop::MaxTokens},
        StopReason{"pause_turn", ModelReply::Stop::PauseTurn},
        StopReason{"refusal", ModelReply::Stop::Refusal},
        StopReason{"model_context_window_exceeded", ModelReply::Stop::ContextFull},
    };
    stopped(from->text("stop_reason", stop_word_), kReasons);
    if (const json::Value* details = from->find("stop_details"))
        refusal_reason_ = details->text("category");
    count(from->find("usage"));
}

// Cumulative: every counter that is there replaces the older one.
void Reader::count(const json::Value* usage) {
    if (!usage) return;
    const auto take = [&](const char* key, uint64_t& into) {
        const int64_t n = usage->integer(key, -1);
        if (n >= 0) into = static_cast<uint64_t>(n);
    };
    take("input_tokens", usage_.input_tokens);
    take("output_tokens", usage_.output_tokens);
    take("cache_creation_input_tokens", usage_.cache_creation_input_tokens);
    take("cache_read_input_tokens", usage_.cache_read_input_tokens);
}

// Without an index, the newest of all.
Reader::Block* Reader::find_in(const json::Value& event) {
    const json::Value* index = event.find("index");
    if (index && index->is_integer()) return find(index->as_integer());
    return blocks_.empty() ? nullptr : &blocks_.back();
}

void Reader::open(const json::Value& event) {
    const json::Value* value = event.find("content_block");
    if (!value) throw ProtocolError("a block is missing");
    const json::Value* index = event.find("index");
    const Block* old = index ? find_in(event) : nullptr;
    const std::string id = value->text("id");
    if (old && !old->closed && !id.empty() && old->value.text("id") == id) return;  // said twice
    int64_t at = blocks_.empty() ? 0 : blocks_.back().index + 1;
    if (index && index->is_integer()) at = std::clamp<int64_t>(index->as_integer(), 0, 1 << 30);
    add_block(at, *value);
}

void Reader::extend(const json::Value& event) {
    const json::Value* delta = event.find("delta");
    if (!delta) return;
    const std::string kind = delta->text("type");
    Block* block = find_in(event);
    if (!block) throw ProtocolError("a part of a block that never began");
    if (block->closed) throw ProtocolError("a part of a block that had ended");
    const std::string type = block->type();
    if (kind == "text_delta" && type == "text") {
        add_text(*block, delta->text("text"));
    } else if (kind == "input_json_delta") {
        add_input(*block, delta->text("partial_json"));
    } else if (kind == "thinking_delta" && type == "thinking") {
        add_text(*block, delta->text("thinking"));
    } else if (kind == "signature_delta" && type == "thinking") {
        block->value.set("signature", delta->text("signature"));  // the last one wins
    } else if (kind == "citations_delta" && type == "text") {
        const json::Value* list = block->value.find("citations");
        if (!list || !list->is_array()) block->value.set("citations", json::Value::array());
        if (const json::Value* citation = delta->find("citation"))
            block->value.find("citations")->push(*citation);
    }
}

}  // namespace peacrab::anthropic
