// A model's stream is hostile: it may be cut anywhere, number its blocks with gaps, reuse ids, name
// tools that do not exist, or fail after a whole call. A reply is therefore handed out only when
// message_stop came; blocks are found by index and never by "the current one"; a tool's input is
// parsed once, whole; and what comes out can always be replayed: valid UTF-8, well-formed and
// unique ids, no blank text. Nothing here may run, retry or wait.
#include "protocols/anthropic.h"

#include <algorithm>
#include <array>

namespace peacrab::anthropic {

namespace {

constexpr size_t kMaxBlocks = 4096;

struct ErrorType {
    const char* name;
    int status;
};
constexpr std::array kErrorTypes = {
    ErrorType{"invalid_request_error", 400},
    ErrorType{"exceed_context_size_error", 400},  // llama.cpp
    ErrorType{"authentication_error", 401},
    ErrorType{"billing_error", 402},
    ErrorType{"permission_error", 403},
    ErrorType{"not_found_error", 404},
    ErrorType{"conflict_error", 409},
    ErrorType{"request_too_large", 413},
    ErrorType{"rate_limit_error", 429},
    ErrorType{"timeout_error", 504},
    ErrorType{"overloaded_error", 529},
};

struct StopReason {
    const char* name;
    ModelReply::Stop stop;
};
constexpr std::array kStopReasons = {
    StopReason{"end_turn", ModelReply::Stop::EndTurn},
    StopReason{"stop_sequence", ModelReply::Stop::EndTurn},
    StopReason{"tool_use", ModelReply::Stop::ToolUse},
    StopReason{"max_tokens", ModelReply::Stop::MaxTokens},
    StopReason{"pause_turn", ModelReply::Stop::PauseTurn},
    StopReason{"refusal", ModelReply::Stop::Refusal},
    StopReason{"model_context_window_exceeded", ModelReply::Stop::ContextFull},
};

json::Value parse(std::string_view text) {
    try {
        return json::parse(json::valid_utf8(text), json::kModelLimits);
    } catch (const Error& error) {
        throw ProtocolError(error.what());
    }
}

bool blank(std::string_view text) {
    return text.find_first_not_of(" \t\r\n\f\v") == std::string_view::npos;
}

// What ids and names may be made of, so that every server takes them back.
bool well_formed(std::string_view word) {
    return !word.empty() && word.size() <= 64 && std::all_of(word.begin(), word.end(), [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-';
    });
}

std::vector<std::string> tool_ids(const json::Value& messages) {
    std::vector<std::string> ids;
    if (!messages.is_array()) return ids;
    for (const json::Value& message : messages.items()) {
        const json::Value* content = message.find("content");
        if (!content || !content->is_array()) continue;
        for (const json::Value& block : content->items())
            if (block.text("type") == "tool_use") ids.push_back(block.text("id"));
    }
    return ids;
}

ApiError error_from(const json::Value& body) {
    const json::Value* inner = body.find("error");
    const json::Value& error = inner && inner->is_object() ? *inner : body;
    ApiError out;
    out.type = error.text("type");
    out.message = inner && inner->is_string() ? inner->as_string() : error.text("message");
    if (const json::Value* details = error.find("details")) out.code = details->text("error_code");
    const int64_t code = error.integer("code");  // llama.cpp: the HTTP status, also mid-stream
    out.status = code >= 400 && code < 600 ? static_cast<int>(code) : 500;
    for (const ErrorType& known : kErrorTypes)
        if (out.type == known.name) out.status = known.status;
    return out;
}

bool is_error(const json::Value& body) {
    const json::Value* inner = body.find("error");
    return body.text("type") == "error" || (inner && (inner->is_object() || inner->is_string()));
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
    return body + ",\"messages\":" + json::dump(request.messages) + "}";
}

ApiError read_error(int status, std::string_view content_type, std::string_view body) {
    ApiError out;
    if (content_type == "text/plain") out.message = body;  // a gateway's refusal, for people
    try {
        json::Value parsed = json::parse(json::valid_utf8(body), json::kModelLimits);
        if (parsed.is_array() && parsed.items().size() == 1)
            parsed = json::Value(parsed.items()[0]);
        if (parsed.is_object()) out = error_from(parsed);
    } catch (const Error&) {
        // A page of HTML, or an error cut at the limit: the status has to do.
    }
    out.status = status;
    return out;
}

ReplyReader::ReplyReader(std::function<void(std::string_view)> delta) : delta_(std::move(delta)) {}

void ReplyReader::refuse(const json::Value& event) {
    api_error_ = error_from(event);
    throw ProtocolError("the server reports an error");
}

void ReplyReader::event(std::string_view name, std::string_view data) {
    if (ended_ || blank(data) || data == "[DONE]") return;
    const json::Value event = parse(data);
    if (!event.is_object()) throw ProtocolError("an event is no object");
    if (name == "error" || is_error(event)) refuse(event);
    const std::string type = event.text("type", name);
    if (type == "message_start") {
        settle(event.find("message"));
    } else if (type == "content_block_start") {
        open(event);
    } else if (type == "content_block_delta") {
        extend(event);
    } else if (type == "content_block_stop") {
        if (Block* block = find(event)) block->closed = true;
    } else if (type == "message_delta") {
        settle(event.find("delta"));
        count(event.find("usage"));
    } else if (type == "message_stop") {
        ended_ = true;
    }  // ping, and what later versions add
}

void ReplyReader::whole(std::string_view body) {
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
void ReplyReader::settle(const json::Value* from) {
    if (!from) return;
    model_ = from->text("model", model_);
    stop_reason_ = from->text("stop_reason", stop_reason_);
    if (const json::Value* details = from->find("stop_details")) stop_details_ = *details;
    count(from->find("usage"));
}

// Cumulative: every counter that is there replaces the older one.
void ReplyReader::count(const json::Value* usage) {
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

// The newest block of that index; without an index, the newest of all.
ReplyReader::Block* ReplyReader::find(const json::Value& event) {
    const json::Value* index = event.find("index");
    const bool any = !index || !index->is_integer();
    for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block)
        if (any || block->index == index->as_integer()) return &*block;
    return nullptr;
}

void ReplyReader::show(std::string_view text) {
    if (text.empty()) return;
    text_ += text;
    if (delta_) delta_(text);
}

void ReplyReader::add_block(int64_t index, json::Value value) {
    if (value.text("type").empty()) throw ProtocolError("a block has no type");
    if (blocks_.size() >= kMaxBlocks) throw ProtocolError("too many blocks");
    Block& block = blocks_.emplace_back();
    block.index = index;
    block.value = std::move(value);
    const std::string type = block.type();
    if (type == "text") show(block.text = block.value.text("text"));
    if (type == "thinking") block.text = block.value.text("thinking");
}

void ReplyReader::open(const json::Value& event) {
    const json::Value* value = event.find("content_block");
    if (!value) throw ProtocolError("a block is missing");
    const json::Value* index = event.find("index");
    const Block* old = index ? find(event) : nullptr;
    const std::string id = value->text("id");
    if (old && !old->closed && !id.empty() && old->value.text("id") == id) return;  // said twice
    int64_t at = blocks_.empty() ? 0 : blocks_.back().index + 1;
    if (index && index->is_integer()) at = std::clamp<int64_t>(index->as_integer(), 0, 1 << 30);
    add_block(at, *value);
}

void ReplyReader::extend(const json::Value& event) {
    const json::Value* delta = event.find("delta");
    if (!delta) return;
    const std::string kind = delta->text("type");
    Block* block = find(event);
    if (!block) throw ProtocolError("a part of a block that never began");
    if (block->closed) throw ProtocolError("a part of a block that had ended");
    const std::string type = block->type();
    if (kind == "text_delta" && type == "text") {
        const std::string text = delta->text("text");
        block->text += text;
        block->has_text = true;
        show(text);
    } else if (kind == "input_json_delta") {
        const std::string part = delta->text("partial_json");
        block->input += part;
        block->has_input = block->has_input || !part.empty();
    } else if (kind == "thinking_delta" && type == "thinking") {
        block->text += delta->text("thinking");
        block->has_text = true;
    } else if (kind == "signature_delta" && type == "thinking") {
        block->value.set("signature", delta->text("signature"));  // the last one wins
    } else if (kind == "citations_delta" && type == "text") {
        const json::Value* list = block->value.find("citations");
        if (!list || !list->is_array()) block->value.set("citations", json::Value::array());
        if (const json::Value* citation = delta->find("citation"))
            block->value.find("citations")->push(*citation);
    }
}

void ReplyReader::add_call(ModelReply& reply, Block& block, bool cut,
                           std::vector<std::string>& taken) {
    json::Value input = json::Value::object();
    bool damaged = cut || !block.closed;
    try {
        const json::Value* given = block.value.find("input");
        if (block.has_input)
            input = json::parse(block.input, json::kModelLimits);
        else if (given && !given->is_null())
            input = *given;
    } catch (const Error&) {
        damaged = true;
    }
    if (damaged || !input.is_object()) {
        damaged = true;
        input = json::Value::object();
    }
    ToolCall call{block.value.text("id"), block.value.text("name"), {}};
    if (!well_formed(call.id) || std::count(taken.begin(), taken.end(), call.id))
        call.id = "toolu_" + random_hex(12);
    if (!well_formed(call.name)) call.name = "unknown_tool";
    call.arguments = damaged ? kDamagedArguments : json::dump(input);
    taken.push_back(call.id);
    block.value.set("id", call.id);
    block.value.set("name", call.name);
    block.value.set("input", std::move(input));
    reply.content.push(block.value);
    reply.calls.push_back(std::move(call));
}

namespace {

// Blocks that only a message of the person may hold: sent back in an answer, they would have every
// later request of the conversation refused. Source: the Messages API's content blocks.
bool is_of_the_person(const std::string& type) {
    return type == "tool_result" || type == "image" || type == "document" ||
           type == "search_result" || type == "container_upload";
}

}  // namespace

void ReplyReader::collect(ModelReply& reply, const json::Value& messages) {
    using Stop = ModelReply::Stop;
    const bool truncated = reply.stop == Stop::MaxTokens;
    std::vector<std::string> taken = tool_ids(messages);
    std::stable_sort(blocks_.begin(), blocks_.end(),
                     [](const Block& a, const Block& b) { return a.index < b.index; });
    for (Block& block : blocks_) {
        const std::string type = block.type();
        if (block.has_text) block.value.set(type, block.text);  // the key is named as the type
        if (type == "tool_use") {
            // Cut before its first argument, a call looks like one that needs none.
            const json::Value* input = block.value.find("input");
            const bool empty =
                !block.has_input && (!input || !input->is_object() || input->members().empty());
            add_call(reply, block, truncated && empty && &block == &blocks_.back(), taken);
        } else if (is_of_the_person(type)) {
            continue;
        } else if (type == "text" ? !blank(block.text) : type != "thinking" || block.closed) {
            // An unfinished thinking block has no valid signature and would be refused.
            if (block.has_input) block.value.set("input", parse(block.input));
            reply.content.push(block.value);
        }
    }
}

ModelReply ReplyReader::finish(const json::Value& messages) {
    using Stop = ModelReply::Stop;
    if (!ended_) throw ProtocolError("the answer ended too early");
    ModelReply reply;
    reply.content = json::Value::array();
    reply.text = text_;
    reply.usage = usage_;
    reply.model = model_.substr(0, 200);
    for (const StopReason& known : kStopReasons)
        if (stop_reason_ == known.name) reply.stop = known.stop;
    if (reply.stop == Stop::Unknown) {
        reply.error = stop_reason_.empty()
                          ? "the model's answer has no stop reason, so it may not be whole"
                          : "the model stopped for a reason that is not known here (" +
                                printable(stop_reason_.substr(0, 60)) + ")";
        reply.error += ": try again, or choose another model with --model";
        return reply;
    }
    if (reply.stop == Stop::Refusal) {
        const std::string category = printable(stop_details_.text("category").substr(0, 60));
        reply.error = "the model refused to answer" +
                      (category.empty() ? "" : " (" + category + ")") +
                      ": put it in other words, or start a new conversation with /new";
        return reply;
    }
    if (reply.stop == Stop::ContextFull) {
        reply.error =
            "the conversation no longer fits into the model's window: start a new one "
            "with /new";
        return reply;
    }
    collect(reply, messages);
    if (!reply.calls.empty())
        reply.stop = Stop::ToolUse;
    else if (reply.stop == Stop::ToolUse)
        throw ProtocolError("tools are announced, none is called");
    return reply;
}

}  // namespace peacrab::anthropic
