// A model's stream is hostile: it may be cut anywhere, number its blocks with gaps, reuse ids, name
// tools that do not exist, or fail after a whole call. A reply is therefore handed out only when its
// last event came; blocks are found by index and never by "the current one"; a tool's input is
// parsed once, whole. Nothing here may run, retry or wait.
#include "protocols/reply.h"

#include <algorithm>
#include <array>

#include "protocols/anthropic.h"
#include "protocols/openai.h"
#include "protocols/trouble.h"

namespace peacrab {
namespace {

constexpr size_t kMaxBlocks = 4096;

struct ErrorType {
    const char* name;
    int status;
};
constexpr std::array kErrorTypes = {
    ErrorType{"invalid_request_error", 400},
    ErrorType{"exceed_context_size_error", 400},  // llama.cpp
    ErrorType{"context_length_exceeded", 400},
    ErrorType{"context_too_large", 400},
    ErrorType{"invalid_prompt", 400},
    ErrorType{"authentication_error", 401},
    ErrorType{"invalid_api_key", 401},
    ErrorType{"billing_error", 402},
    ErrorType{"insufficient_quota", 402},
    ErrorType{"permission_error", 403},
    ErrorType{"not_found_error", 404},
    ErrorType{"conflict_error", 409},
    ErrorType{"request_too_large", 413},
    ErrorType{"rate_limit_error", 429},
    ErrorType{"rate_limit_exceeded", 429},
    ErrorType{"server_error", 500},
    ErrorType{"timeout_error", 504},
    ErrorType{"overloaded_error", 529},
};

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

// A word, or a number as some servers have it.
std::string word(const json::Value& object, std::string_view key) {
    const json::Value* value = object.find(key);
    return value && value->is_integer() ? std::to_string(value->as_integer()) : object.text(key);
}

ApiError error_from(const json::Value& body) {
    const json::Value* inner = body.find("error");
    const json::Value& error = inner && inner->is_object() ? *inner : body;
    ApiError out;
    out.type = error.text("type");
    out.message = inner && inner->is_string() ? inner->as_string() : error.text("message");
    out.code = word(error, "code");
    if (const json::Value* details = error.find("details"))
        out.code = details->text("error_code", out.code);
    out.window = error.integer("n_ctx");         // llama.cpp
    const int64_t code = error.integer("code");  // llama.cpp, OpenRouter: the HTTP status
    out.status = code >= 400 && code < 600 ? static_cast<int>(code) : 500;
    for (const ErrorType& known : kErrorTypes)
        if (out.type == known.name || out.code == known.name) out.status = known.status;
    return out;
}

// Blocks that only a message of the person may hold: sent back in an answer, they would have every
// later request of the conversation refused. Source: the Messages API's content blocks.
bool is_of_the_person(const std::string& type) {
    return type == "tool_result" || type == "image" || type == "document" ||
           type == "search_result" || type == "container_upload";
}

}  // namespace

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

json::Value ReplyReader::parse(std::string_view text) {
    try {
        json::Value value = json::parse(json::valid_utf8(text), json::kModelLimits);
        if (!value.is_object()) throw Error("an event is no object");
        return value;
    } catch (const Error& error) {
        throw ProtocolError(error.what());
    }
}

bool ReplyReader::is_error(const json::Value& body) {
    const json::Value* inner = body.find("error");
    return body.text("type") == "error" || (inner && (inner->is_object() || inner->is_string()));
}

void ReplyReader::refuse(const json::Value& event) {
    api_error_ = error_from(event);
    throw ProtocolError("the server reports an error");
}

ReplyReader::Block* ReplyReader::find(int64_t index) {
    for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block)
        if (block->index == index) return &*block;
    return nullptr;
}

void ReplyReader::show(std::string_view text) {
    if (text.empty()) return;
    text_ += text;
    if (delta_) delta_(text);
}

ReplyReader::Block& ReplyReader::add_block(int64_t index, json::Value value) {
    if (value.text("type").empty()) throw ProtocolError("a block has no type");
    if (blocks_.size() >= kMaxBlocks) throw ProtocolError("too many blocks");
    Block& block = blocks_.emplace_back();
    block.index = index;
    block.value = std::move(value);
    const std::string type = block.type();
    if (type == "text") show(block.text = block.value.text("text"));
    if (type == "thinking") block.text = block.value.text("thinking");
    return block;
}

void ReplyReader::add_text(Block& block, std::string_view text) {
    block.text += text;
    block.has_text = true;
    if (block.type() == "text") show(text);
}

void ReplyReader::add_input(Block& block, std::string_view part) {
    block.input += part;
    block.has_input = block.has_input || !part.empty();
}

void ReplyReader::stopped(const std::string& word, std::span<const StopReason> known) {
    stop_word_ = word;
    for (const StopReason& reason : known)
        if (word == reason.name) stop_ = reason.stop;
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

void ReplyReader::collect(ModelReply& reply, const json::Value& messages) {
    const bool truncated = reply.stop == ModelReply::Stop::MaxTokens;
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

ModelCount ReplyReader::count(size_t sent) const {
    constexpr uint64_t kMost = 1'000'000'000, kBytes = 4;
    ModelCount out{usage_, model_};
    size_t said = 0;
    for (const Block& block : blocks_) said += block.text.size() + block.input.size();
    said = std::max(said, text_.size());
    uint64_t& input = out.usage.input_tokens;
    if (input + out.usage.cache_creation_input_tokens + out.usage.cache_read_input_tokens == 0) {
        input = sent / kBytes;
        out.estimated = true;
    }
    if ((!ended_ || out.usage.output_tokens == 0) && out.usage.output_tokens < said / kBytes) {
        out.usage.output_tokens = said / kBytes;
        out.estimated = true;
    }
    for (uint64_t* part : {&input, &out.usage.output_tokens, &out.usage.cache_creation_input_tokens,
                           &out.usage.cache_read_input_tokens})
        *part = std::min(*part, kMost);
    return out;
}

ModelReply ReplyReader::finish(const json::Value& messages) {
    using Stop = ModelReply::Stop;
    if (!ended_) throw ProtocolError("the answer ended too early");
    ModelReply reply;
    reply.content = json::Value::array();
    reply.text = text_;
    reply.usage = usage_;
    reply.model = model_.substr(0, 200);
    reply.stop = stop_;
    if (reply.stop == Stop::Unknown) {
        reply.error = stop_word_.empty()
                          ? "the model's answer has no stop reason, so it may not be whole"
                          : "the model stopped for a reason that is not known here (" +
                                printable(stop_word_.substr(0, 60)) + ")";
        reply.error += ": try again, or choose another model with --model";
        return reply;
    }
    if (reply.stop == Stop::Refusal) {
        const std::string why = printable(refusal_reason_.substr(0, 200));
        reply.error = "the model refused to answer" + (why.empty() ? "" : " (" + why + ")") +
                      ": put it in other words, or start a new conversation with /new";
        reply.another_may_do = true;
        return reply;
    }
    if (reply.stop == Stop::ContextFull) {
        reply.error = std::string(kTooLong) + ": start a new conversation with /new";
        return reply;
    }
    collect(reply, messages);
    if (!reply.calls.empty())
        reply.stop = Stop::ToolUse;
    else if (reply.stop == Stop::ToolUse)
        throw ProtocolError("tools are announced, none is called");
    return reply;
}

const DialectTable& dialect_table(ModelDialect dialect) {
    switch (dialect) {
        case ModelDialect::Anthropic:
            return anthropic::kTable;
        case ModelDialect::Chat:
            return openai::kChat;
        case ModelDialect::Responses:
            return openai::kResponses;
        case ModelDialect::Unknown:
            break;
    }
    throw Error("model: no dialect was given");
}

std::string model_origin(const ModelOptions& options) {
    return std::string(dialect_name(options.dialect)) + "/" + options.model;
}

json::Value content_for(const ModelOptions& options, const json::Value& message) {
    json::Value content = message.at("content");
    if (message.text("origin") == model_origin(options)) return content;
    json::Value kept = json::Value::array();
    for (const json::Value& block : content.items()) {
        const std::string type = block.text("type");
        if (type == "text")
            kept.push(json::Value::object({{"type", type}, {"text", block.at("text")}}));
        if (type == "tool_use")
            kept.push(json::Value::object({{"type", type},
                                           {"id", block.at("id")},
                                           {"name", block.at("name")},
                                           {"input", block.at("input")}}));
    }
    if (kept.items().empty())
        kept.push(json::Value::object({{"type", "text"}, {"text", "(no text)"}}));
    return kept;
}

std::string joined_text(const json::Value& blocks) {
    std::string all;
    if (!blocks.is_array()) return all;
    for (const json::Value& block : blocks.items()) {
        if (block.text("type") != "text") continue;
        if (!all.empty()) all += "\n\n";
        all += block.text("text");
    }
    return all;
}

}  // namespace peacrab
