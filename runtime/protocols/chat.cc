// Chat Completions is spoken by dozens of servers, each a little differently: calls come with an index or
// without, with ids or without, whole or a character at a time, and some servers never say [DONE]. A call
// is therefore found by all that is said of it, and an answer is whole when its reason to stop was said.
// What only its own model understands (reasoning_details, extra_content) is kept in blocks of ours and
// sent back unchanged.
#include "protocols/openai.h"

#include <algorithm>
#include <array>

namespace peacrab::openai {
namespace {

constexpr const char* kDetails = "reasoning_details";
constexpr const char* kReasoning = "reasoning_content";
constexpr const char* kExtra = "extra_content";

bool filled(const json::Value* list) {
    return list && list->is_array() && !list->items().empty();
}

// Mistral takes ids of nine letters and digits and no others, OpenAI none longer than 40. The same id
// always becomes the same.
std::string id_for(const ModelOptions& options, const std::string& id) {
    if (!options.quirks.short_ids && id.size() <= 40) return id;
    constexpr std::string_view kLetters =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    std::string out;
    for (uint64_t hash = text_hash(id); out.size() < 9; hash /= kLetters.size()) out += kLetters[hash % kLetters.size()];
    return out;
}

json::Value assistant_message(const ModelOptions& options, const json::Value& message) {
    const json::Value content = content_for(options, message);
    json::Value out = json::Value::object({{"role", "assistant"}, {"content", nullptr}});
    json::Value calls = json::Value::array();
    const std::string text = joined_text(content);
    for (const json::Value& block : content.items()) {
        const std::string type = block.text("type");
        if (type == kDetails || type == kReasoning) out.set(type, block.at(type));
        if (type != "tool_use") continue;
        json::Value call = json::Value::object(
            {{"id", id_for(options, block.text("id"))},
             {"type", "function"},
             {"function", json::Value::object({{"name", block.at("name")},
                                               {"arguments", json::dump(block.at("input"))}})}});
        if (const json::Value* extra = block.find(kExtra)) call.set(kExtra, *extra);
        calls.push(std::move(call));
    }
    if (!text.empty() || calls.items().empty())
        out.set("content", text.empty() ? "(no text)" : text);
    if (!calls.items().empty())
        out.set("tool_calls", std::move(calls));
    else
        out.erase(kReasoning);  // of use, and a duty with DeepSeek, only beside calls
    return out;
}

// Results first, each a message of its own; then what the person said.
void add_user(const ModelOptions& options, json::Value& messages, const json::Value& content) {
    json::Value parts = json::Value::array();
    const auto add_part = [&parts](const json::Value& block) {
        const std::string type = block.text("type");
        if (type == "text")
            parts.push(json::Value::object({{"type", "text"}, {"text", block.at("text")}}));
        if (type == "image")
            parts.push(json::Value::object(
                {{"type", "image_url"},
                 {"image_url", json::Value::object({{"url", data_url(block)}})}}));
    };
    for (const json::Value& block : content.items()) {
        if (block.text("type") != "tool_result") {
            add_part(block);
            continue;
        }
        const json::Value& result = block.at("content");
        std::string text = result.is_string() ? result.as_string() : joined_text(result);
        if (result.is_array())
            for (const json::Value& inner : result.items())
                if (inner.text("type") == "image") add_part(inner);  // a result holds text alone
        messages.push(json::Value::object({{"role", "tool"},
                                           {"tool_call_id", id_for(options, block.text("tool_use_id"))},
                                           {"content", text.empty() ? "(no output)" : text}}));
    }
    if (parts.items().empty()) return;
    const bool plain = parts.items().size() == 1 && parts.items()[0].text("type") == "text";
    messages.push(json::Value::object(
        {{"role", "user"}, {"content", plain ? parts.items()[0].at("text") : parts}}));
}

json::Value tools_for(const json::Value& tools) {
    json::Value out = json::Value::array();
    for (const json::Value& tool : tools.items())
        out.push(json::Value::object(
            {{"type", "function"},
             {"function", json::Value::object({{"name", tool.at("name")},
                                               {"description", tool.text("description")},
                                               {"parameters", tool.at("input_schema")}})}}));
    return out;
}

// Text, or parts of which some are text.
std::string text_of(const json::Value* content) {
    if (!content) return {};
    if (content->is_string()) return content->as_string();
    std::string all;
    if (content->is_array())
        for (const json::Value& part : content->items()) all += part.text("text");
    return all;
}

// OpenRouter sends an entry in pieces: what belongs together has the same index and type.
void join_details(json::Value& all, const json::Value& pieces) {
    for (const json::Value& piece : pieces.items()) {
        json::Value* last =
            all.is_array() && !all.items().empty() ? &all.items().back() : nullptr;
        const bool same = last && piece.is_object() && last->text("type") == piece.text("type") &&
                          last->integer("index", -1) == piece.integer("index", -1) &&
                          (piece.text("id").empty() || last->text("id").empty() ||
                           last->text("id") == piece.text("id"));
        if (!same) {
            all.push(piece);
            continue;
        }
        for (const json::Member& member : piece.members()) {
            const bool grows =
                member.first == "text" || member.first == "summary" || member.first == "data";
            const json::Value* before = last->find(member.first);
            if (grows && before && before->is_string() && member.second.is_string())
                last->set(member.first, before->as_string() + member.second.as_string());
            else if (!member.second.is_null())
                last->set(member.first, member.second);
        }
    }
}

bool is_whole_object(const std::string& text) {
    try {
        return json::parse(text, json::kModelLimits).is_object();
    } catch (const Error&) {
        return false;
    }
}

}  // namespace

std::vector<std::string> bearer(const std::string& key) {
    return {"authorization: Bearer " + key};
}

std::string data_url(const json::Value& image) {
    const json::Value* source = image.find("source");
    return source ? "data:" + source->text("media_type") + ";base64," + source->text("data") : "";
}

std::string chat_body(const ModelOptions& options, const ModelRequest& request) {
    json::Value messages = json::Value::array();
    const std::string system = joined_text(request.system);
    if (!system.empty())
        messages.push(json::Value::object({{"role", "system"}, {"content", system}}));
    for (const json::Value& message : request.messages.items()) {
        if (message.text("role") == "assistant")
            messages.push(assistant_message(options, message));
        else
            add_user(options, messages, message.at("content"));
    }
    json::Value body = json::Value::object({{"model", options.model}});
    body.set(options.quirks.completion_tokens ? "max_completion_tokens" : "max_tokens",
             options.max_tokens);
    body.set("stream", true);
    body.set("stream_options", json::Value::object({{"include_usage", true}}));
    if (filled(&request.tools)) {
        body.set("tools", tools_for(request.tools));
        if (options.quirks.asks_for_parallel) body.set("parallel_tool_calls", true);
    }
    body.set("messages", std::move(messages));
    return json::dump(body);
}

void ChatReader::event(std::string_view name, std::string_view data) {
    if (ended_ || data.find_first_not_of(" \t\r\n") == std::string_view::npos) return;
    if (data == "[DONE]") return end();
    const json::Value event = parse(data);
    if (name == "error" || is_error(event)) refuse(event);
    model_ = event.text("model", model_);
    count(event.find("usage"));
    const json::Value* choices = event.find("choices");
    if (!filled(choices)) return;
    for (const json::Value& one : choices->items()) {
        if (one.integer("index") != 0) continue;  // we asked for one
        const json::Value* delta = one.find("delta");
        choice(one, delta ? *delta : one);
    }
}

void ChatReader::whole(std::string_view body) {
    const json::Value response = parse(body);
    if (is_error(response)) refuse(response);
    const json::Value* choices = response.find("choices");
    const json::Value* message = filled(choices) ? choices->items()[0].find("message") : nullptr;
    if (!message) throw ProtocolError("JSON, but no chat completion");
    model_ = response.text("model");
    count(response.find("usage"));
    choice(choices->items()[0], *message);
    end();
}

void ChatReader::end_of_stream() {
    if (!ended_ && !stop_word_.empty()) end();
}

void ChatReader::choice(const json::Value& choice, const json::Value& message) {
    add_reasoning(message);
    if (const std::string text = text_of(message.find("content")); !text.empty()) {
        const bool open = !blocks_.empty() && blocks_.back().type() == "text";
        Block& block = open ? blocks_.back()
                            : add_block(next_++, json::Value::object({{"type", "text"}}));
        add_text(block, text);
    }
    refusal_ += message.text("refusal");
    if (const json::Value* calls = message.find("tool_calls"); filled(calls))
        for (const json::Value& part : calls->items()) add_part(part);
    count(choice.find("usage"));
    if (const std::string reason = choice.text("finish_reason"); !reason.empty()) finished(reason);
}

void ChatReader::add_reasoning(const json::Value& message) {
    if (const json::Value* details = message.find(kDetails); filled(details))
        join_details(details_, *details);
    reasoning_ += message.text(kReasoning);
}

// A piece of a call, or all of it.
void ChatReader::add_part(const json::Value& part) {
    const json::Value* function = part.find("function");
    if (!function) throw ProtocolError("a call has no function");
    const json::Value* index = part.find("index");
    const bool numbered = index && index->is_integer();
    const std::string id = part.text("id"), name = function->text("name");
    Block* block = nullptr;
    for (auto it = blocks_.rbegin(); !block && it != blocks_.rend(); ++it) {
        if (it->type() != "tool_use") continue;
        const bool same_id = id.empty() || it->value.text("id") == id;
        if (numbered ? it->value.integer("wire", -1) == index->as_integer() : same_id) block = &*it;
    }
    if (block) {
        const std::string known = block->value.text("id");
        const bool other = !id.empty() && !known.empty() && id != known;
        // Without an id, a name begins the next call, unless the server repeats it in each piece.
        const bool next = id.empty() && !name.empty() && !block->value.text("name").empty() &&
                          (!numbered || is_whole_object(block->input));
        if (other || next) block = nullptr;
    }
    if (!block) {
        block = &add_block(next_++, json::Value::object({{"type", "tool_use"}}));
        if (numbered) block->value.set("wire", index->as_integer());
    }
    if (!id.empty()) block->value.set("id", id);
    if (!name.empty()) block->value.set("name", name);
    if (const json::Value* extra = part.find(kExtra)) block->value.set(kExtra, *extra);
    const json::Value* arguments = function->find("arguments");
    if (arguments && arguments->is_string()) add_input(*block, arguments->as_string());
    if (arguments && arguments->is_object()) block->value.set("input", *arguments);
}

// Chat counts what was read from the cache within prompt_tokens; DeepSeek names it differently.
void ChatReader::count(const json::Value* usage) {
    if (!usage || !usage->is_object()) return;
    const json::Value* details = usage->find("prompt_tokens_details");
    const int64_t cached = std::max(details ? details->integer("cached_tokens") : 0,
                                    usage->integer("prompt_cache_hit_tokens"));
    const int64_t in = usage->integer("prompt_tokens", -1), out = usage->integer("completion_tokens", -1);
    if (in >= 0) {
        usage_.cache_read_input_tokens = static_cast<uint64_t>(std::clamp<int64_t>(cached, 0, in));
        usage_.input_tokens = static_cast<uint64_t>(in) - usage_.cache_read_input_tokens;
    }
    if (out >= 0) usage_.output_tokens = static_cast<uint64_t>(out);
}

void ChatReader::finished(const std::string& reason) {
    static constexpr std::array kReasons = {
        StopReason{"stop", ModelReply::Stop::EndTurn},
        StopReason{"end_turn", ModelReply::Stop::EndTurn},
        StopReason{"tool_calls", ModelReply::Stop::ToolUse},
        StopReason{"function_call", ModelReply::Stop::ToolUse},
        StopReason{"length", ModelReply::Stop::MaxTokens},
        StopReason{"model_length", ModelReply::Stop::MaxTokens},  // Mistral
        StopReason{"content_filter", ModelReply::Stop::Refusal},
    };
    if (reason == "error") refuse(json::Value::object({}));
    stopped(reason, kReasons);
    if (stop_ == ModelReply::Stop::Refusal) refusal_reason_ = reason;
}

void ChatReader::end() {
    ended_ = true;
    // Nothing says that a call is whole; cut by the bound, the last one may not be.
    for (Block& block : blocks_) {
        block.closed = stop_ != ModelReply::Stop::MaxTokens || &block != &blocks_.back();
        block.value.erase("wire");
    }
    if (!refusal_.empty()) {
        stop_ = ModelReply::Stop::Refusal;
        refusal_reason_ = refusal_;
    }
    if (!reasoning_.empty())
        add_block(-1, json::Value::object({{"type", kReasoning}, {kReasoning, reasoning_}}));
    if (!details_.is_null())
        add_block(-1, json::Value::object({{"type", kDetails}, {kDetails, details_}}));
}

const DialectTable kChat{chat_body, bearer, make_reader<ChatReader>};

}  // namespace peacrab::openai
