// The Responses API streams items, and says each of them once more, whole, when it is done: that last word
// counts, because what came before may be partial (encrypted reasoning). What an item is to us is one
// block; those only their own model understands are kept as they came. Nothing is stored at the provider.
#include "protocols/openai.h"

#include <algorithm>

namespace peacrab::openai {
namespace {

// A block that holds an item as it came, to be sent back unchanged.
constexpr const char* kItem = "openai_item";

json::Value user_item(json::Value parts) {
    return json::Value::object(
        {{"type", "message"}, {"role", "user"}, {"content", std::move(parts)}});
}

void add_part(json::Value& parts, const json::Value& block) {
    const std::string type = block.text("type");
    if (type == "text")
        parts.push(json::Value::object({{"type", "input_text"}, {"text", block.at("text")}}));
    if (type == "image" && block.find("source"))
        parts.push(json::Value::object({{"type", "input_image"}, {"image_url", data_url(block)}}));
}

void add_user(json::Value& input, const json::Value& content) {
    json::Value parts = json::Value::array();
    for (const json::Value& block : content.items()) {
        if (block.text("type") != "tool_result") {
            add_part(parts, block);
            continue;
        }
        const json::Value& result = block.at("content");
        json::Value output = result;
        if (result.is_array()) {
            output = json::Value::array();
            for (const json::Value& inner : result.items()) add_part(output, inner);
        }
        input.push(json::Value::object({{"type", "function_call_output"},
                                        {"call_id", block.at("tool_use_id")},
                                        {"output", std::move(output)}}));
    }
    if (!parts.items().empty()) input.push(user_item(std::move(parts)));
}

void add_assistant(const ModelOptions& options, json::Value& input, const json::Value& message) {
    const json::Value content = content_for(options, message);
    json::Value kept = json::Value::array();  // goes directly before what it led to, or not at all
    for (const json::Value& block : content.items()) {
        const std::string type = block.text("type");
        if (type == "text" || type == "tool_use") {
            for (json::Value& item : kept.items()) input.push(std::move(item));
            kept = json::Value::array();
        }
        if (type == "text")
            input.push(json::Value::object(
                {{"type", "message"},
                 {"role", "assistant"},
                 {"content", json::Value::array({json::Value::object(
                                 {{"type", "output_text"}, {"text", block.at("text")}})})}}));
        if (type == "tool_use")
            input.push(json::Value::object({{"type", "function_call"},
                                            {"call_id", block.at("id")},
                                            {"name", block.at("name")},
                                            {"arguments", json::dump(block.at("input"))}}));
        if (type == kItem) kept.push(block.at("item"));
    }
}

}  // namespace

std::string responses_body(const ModelOptions& options, const ModelRequest& request) {
    json::Value input = json::Value::array();
    for (const json::Value& message : request.messages.items()) {
        if (message.text("role") == "assistant")
            add_assistant(options, input, message);
        else
            add_user(input, message.at("content"));
    }
    json::Value body = json::Value::object({{"model", options.model}});
    body.set("max_output_tokens", options.max_tokens);
    body.set("stream", true);
    body.set("store", false);
    body.set("include", json::Value::array({"reasoning.encrypted_content"}));
    if (const std::string system = joined_text(request.system); !system.empty())
        body.set("instructions", system);
    if (request.tools.is_array() && !request.tools.items().empty()) {
        json::Value tools = json::Value::array();
        for (const json::Value& tool : request.tools.items())
            tools.push(json::Value::object({{"type", "function"},
                                            {"name", tool.at("name")},
                                            {"description", tool.text("description")},
                                            {"parameters", tool.at("input_schema")},
                                            {"strict", false}}));
        body.set("tools", std::move(tools));
    }
    body.set("input", std::move(input));
    return json::dump(body);
}

void ResponsesReader::event(std::string_view name, std::string_view data) {
    if (ended_ || data == "[DONE]" || data.find_first_not_of(" \t\r\n") == std::string_view::npos)
        return;
    const json::Value event = parse(data);
    if (name == "error" || is_error(event)) refuse(event);
    const std::string type = event.text("type", name);
    if (type == "response.output_item.added" || type == "response.output_item.done") {
        if (const json::Value* given = event.find("item"))
            item(*given, event.find("output_index"), type.ends_with("done"));
    } else if (type == "response.output_text.delta") {
        add_text(block_of(event, "text"), event.text("delta"));
    } else if (type == "response.refusal.delta") {
        refusal_ += event.text("delta");
    } else if (type == "response.function_call_arguments.delta") {
        Block& block = block_of(event, "tool_use");
        if (!block.closed) add_input(block, event.text("delta"));
    } else if (type == "response.function_call_arguments.done") {
        Block& block = block_of(event, "tool_use");
        block.input.clear();
        add_input(block, event.text("arguments"));
    } else if (type == "response.completed" || type == "response.incomplete" ||
               type == "response.failed") {
        const json::Value* response = event.find("response");
        if (!response) throw ProtocolError("the end of the response is missing");
        settle(*response);
    }  // what tells of progress alone, and what later versions add
}

void ResponsesReader::whole(std::string_view body) {
    const json::Value response = parse(body);
    if (is_error(response)) refuse(response);
    if (!response.find("output")) throw ProtocolError("JSON, but no response");
    settle(response);
}

// llama.cpp numbers nothing: the newest of its type then.
ResponsesReader::Block& ResponsesReader::block_of(const json::Value& event, const char* type) {
    const json::Value* index = event.find("output_index");
    for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block)
        if (block->type() == type &&
            (!index || !index->is_integer() || block->index == index->as_integer()))
            return *block;
    const bool numbered = index && index->is_integer();
    next_ = std::max(next_, numbered ? std::clamp<int64_t>(index->as_integer(), 0, 1 << 30) : next_);
    return add_block(next_++, json::Value::object({{"type", type}}));
}

void ResponsesReader::item(const json::Value& item, const json::Value* index, bool done) {
    const std::string type = item.text("type");
    const bool numbered = index && index->is_integer();
    const bool call = type == "function_call", message = type == "message";
    if (!call && !message) {
        // Of no use later: what is not yet whole, reasoning that only this server could read, and what the
        // provider did by itself, which nobody asked it to and the model route would not let through.
        if (!done || type != "reasoning" || item.text("encrypted_content").empty()) return;
        const int64_t at = numbered ? std::clamp<int64_t>(index->as_integer(), 0, 1 << 30) : next_;
        next_ = std::max(next_, at + 1);
        add_block(at, json::Value::object({{"type", kItem}, {"item", item}})).closed = true;
        return;
    }
    const char* kind = call ? "tool_use" : "text";
    const std::string id = item.text("call_id");
    Block* known = nullptr;  // the newest that was announced so; without a number, one not yet done
    for (Block& block : blocks_)
        if (block.type() == kind && (numbered ? block.index == index->as_integer() : !block.closed))
            known = &block;
    const std::string before = known ? known->value.text("id") : "";
    if (known && call && !id.empty() && !before.empty() && id != before) known = nullptr;
    if (known && known->closed) return;  // said twice
    if (!known) {
        const int64_t at = numbered ? std::clamp<int64_t>(index->as_integer(), 0, 1 << 30) : next_;
        next_ = std::max(next_, at + 1);
        known = &add_block(at, json::Value::object({{"type", kind}}));
    }
    Block& block = *known;
    if (call) {
        if (!id.empty()) block.value.set("id", id);
        if (!item.text("name").empty()) block.value.set("name", item.text("name"));
        const json::Value* arguments = item.find("arguments");
        if (done && arguments && arguments->is_string()) {
            block.input.clear();
            add_input(block, arguments->as_string());
        }
        if (done && arguments && arguments->is_object()) block.value.set("input", *arguments);
        block.closed = done && item.text("status") != "incomplete";
        return;
    }
    std::string text;
    if (const json::Value* content = item.find("content"); content && content->is_array())
        for (const json::Value& part : content->items()) {
            text += part.text("text");
            if (done && refusal_.empty()) refusal_ = part.text("refusal");
        }
    if (done && text.starts_with(block.text)) add_text(block, text.substr(block.text.size()));
    block.closed = done;
}

void ResponsesReader::settle(const json::Value& response) {
    using Stop = ModelReply::Stop;
    const std::string status = response.text("status");
    if (status == "failed") refuse(response);
    model_ = response.text("model");
    if (const json::Value* usage = response.find("usage"); usage && usage->is_object()) {
        const json::Value* details = usage->find("input_tokens_details");
        const int64_t in = std::max<int64_t>(0, usage->integer("input_tokens"));
        const int64_t cached =
            std::clamp<int64_t>(details ? details->integer("cached_tokens") : 0, 0, in);
        usage_.input_tokens = static_cast<uint64_t>(in - cached);
        usage_.cache_read_input_tokens = static_cast<uint64_t>(cached);
        usage_.output_tokens =
            static_cast<uint64_t>(std::max<int64_t>(0, usage->integer("output_tokens")));
    }
    const json::Value* output = response.find("output");
    if (blocks_.empty() && output && output->is_array())
        for (const json::Value& one : output->items()) item(one, nullptr, true);
    stop_word_ = status;
    if (status == "completed") {
        stop_ = Stop::EndTurn;
        for (Block& block : blocks_) block.closed = true;
    } else if (status == "incomplete") {
        const json::Value* details = response.find("incomplete_details");
        stop_word_ = details ? details->text("reason", status) : status;
        if (stop_word_ == "max_output_tokens") stop_ = Stop::MaxTokens;
        if (stop_word_ == "content_filter") stop_ = Stop::Refusal;
        refusal_reason_ = stop_word_;
    }
    if (!refusal_.empty()) {
        stop_ = Stop::Refusal;
        refusal_reason_ = refusal_;
    }
    ended_ = true;
}

const DialectTable kResponses{responses_body, bearer, make_reader<ResponsesReader>};

}  // namespace peacrab::openai
