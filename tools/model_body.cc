// An allowed host is a capability: through the model's own server a prompt-injected agent could
// make the provider fetch a URL with secrets in its query (web tools, url images, MCP servers) or
// leave files there. So the request is opened and every key and block type must be in a table; a
// feature that appears tomorrow is refused until somebody adds its row here and says why.
// What is not looked into: the arguments of tool calls and the schemas of tools. They are data for
// the model, the server does nothing with them.
#include "model_body.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "os.h"

namespace peacrab {
namespace {

using Names = std::span<const std::string_view>;

// No `mcp_servers`, no `container`: the provider would connect and run for the agent.
constexpr std::string_view kBodyKeys[] = {
    "model",       "max_tokens", "messages", "system",        "tools",          "stream",
    "tool_choice", "metadata",   "thinking", "output_config", "stop_sequences", "cache_control"};
constexpr std::string_view kMessageKeys[] = {"role", "content"};
constexpr std::string_view kToolKeys[] = {
    "type",           "name",          "description",   "input_schema",         "strict",
    "input_examples", "cache_control", "defer_loading", "eager_input_streaming"};
// No `server_tool_use`, `mcp_tool_use` or `container_upload`.
constexpr std::string_view kBlocks[] = {
    "text", "thinking", "redacted_thinking", "tool_use", "document", "tool_result", "image"};
// No `url`, no `file`: the bytes are in the request or not there.
constexpr std::string_view kSources[] = {"base64", "text", "content"};
constexpr std::string_view kChatKeys[] = {
    "model",       "messages",         "tools",           "stream",          "stream_options",
    "max_tokens",  "max_completion_tokens", "tool_choice", "parallel_tool_calls",
    "reasoning_effort", "response_format", "prompt_cache_key"};
constexpr std::string_view kChatMessageKeys[] = {
    "role", "content", "tool_calls", "tool_call_id", "reasoning_content", "reasoning_details"};
constexpr std::string_view kResponsesKeys[] = {
    "model",             "input",     "instructions", "tools",       "stream",
    "store",             "include",   "reasoning",    "text",        "tool_choice",
    "max_output_tokens", "parallel_tool_calls", "prompt_cache_key"};
// What the model itself has said is passed on; what it would have the provider do is no item here.
constexpr std::string_view kItems[] = {
    "message", "function_call", "function_call_output", "reasoning"};
constexpr std::string_view kItemKeys[] = {
    "type", "role",    "content", "id",     "call_id",           "name",
    "arguments", "output", "summary", "status", "encrypted_content"};
constexpr std::string_view kParts[] = {
    "text", "image_url", "input_text", "output_text", "input_image"};
constexpr std::string_view kPartKeys[] = {"type", "text", "image_url", "detail", "annotations"};
constexpr std::string_view kFunctionKeys[] = {
    "type", "function", "name", "description", "parameters", "strict"};
constexpr size_t kMaxShown = 60;

bool in(Names names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::string shown(std::string_view hostile) {
    return "'" + printable(hostile.substr(0, kMaxShown)) + "'";
}

std::string unknown_key(const json::Value& object, Names allowed, const char* where) {
    for (const json::Member& member : object.members())
        if (!in(allowed, member.first))
            return "the model route does not pass on " + shown(member.first) + where;
    return {};
}

std::string content_fault(const json::Value& content);

std::string source_fault(const json::Value& block) {
    const json::Value* source = block.find("source");
    if (source == nullptr || !source->is_object())
        return "an image or document in the request has no source";
    const std::string type = source->text("type");
    if (!in(kSources, type))
        return "an image or document with a source of type " + shown(type) +
               " makes the provider fetch it; the model route passes on only what is inside "
               "the request";
    const json::Value* content = source->find("content");
    return content == nullptr ? std::string() : content_fault(*content);
}

std::string block_fault(const json::Value& block) {
    if (!block.is_object()) return "a content block of the request is no object";
    const std::string type = block.text("type");
    if (!in(kBlocks, type))
        return "the model route does not pass on content blocks of type " + shown(type);
    if (type == "image" || type == "document") return source_fault(block);
    if (type != "tool_result") return {};
    const json::Value* content = block.find("content");
    return content == nullptr ? std::string() : content_fault(*content);
}

// Recursion is bounded by the depth json::parse allows.
std::string content_fault(const json::Value& content) {
    if (content.is_string()) return {};
    if (!content.is_array()) return "the content of a message is neither text nor a list of blocks";
    for (const json::Value& block : content.items()) {
        std::string fault = block_fault(block);
        if (!fault.empty()) return fault;
    }
    return {};
}

std::string message_fault(const json::Value& message) {
    if (!message.is_object()) return "a message of the request is no object";
    std::string fault = unknown_key(message, kMessageKeys, " in a message");
    if (!fault.empty()) return fault;
    const json::Value* content = message.find("content");
    return content == nullptr ? "a message of the request has no content" : content_fault(*content);
}

std::string tool_fault(const json::Value& tool) {
    if (!tool.is_object()) return "a tool of the request is no object";
    const json::Value* type = tool.find("type");
    if (type != nullptr && !(type->is_string() && type->as_string() == "custom"))
        return "tools that the provider runs (" + shown(tool.text("type", "unknown")) +
               ") are not passed on: they would reach the network for the agent";
    return unknown_key(tool, kToolKeys, " in a tool");
}

std::string list_fault(const json::Value& body, const char* key,
                       std::string (*item_fault)(const json::Value&)) {
    const json::Value* list = body.find(key);
    if (list == nullptr || list->is_null()) return {};
    if (!list->is_array()) return std::string("'") + key + "' of the request is no list";
    for (const json::Value& item : list->items()) {
        std::string fault = item_fault(item);
        if (!fault.empty()) return fault;
    }
    return {};
}

std::string messages_fault(const json::Value& body) {
    std::string fault = unknown_key(body, kBodyKeys, "");
    if (fault.empty()) fault = list_fault(body, "messages", message_fault);
    if (fault.empty()) fault = list_fault(body, "tools", tool_fault);
    const json::Value* system = body.find("system");
    if (fault.empty() && system != nullptr) fault = content_fault(*system);
    return fault;
}

// The two dialects of OpenAI. No `store: true`, no `background`, no `conversation`: nothing stays there.

std::string function_fault(const json::Value& tool) {
    if (!tool.is_object()) return "a tool of the request is no object";
    if (tool.text("type") != "function")
        return "tools that the provider runs (" + shown(tool.text("type", "unknown")) +
               ") are not passed on: they would reach the network for the agent";
    return unknown_key(tool, kFunctionKeys, " in a tool");
}

// A picture is inside the request, or not there: an address would be fetched by the provider.
std::string part_fault(const json::Value& part) {
    if (!part.is_object()) return "a content part of the request is no object";
    const std::string type = part.text("type");
    if (!in(kParts, type))
        return "the model route does not pass on content parts of type " + shown(type);
    std::string fault = unknown_key(part, kPartKeys, " in a content part");
    if (!fault.empty() || !part.find("image_url")) return fault;
    const json::Value& image = part.at("image_url");
    const std::string url = image.is_string() ? image.as_string() : image.text("url");
    return url.starts_with("data:") ? "" : "an image by its address makes the provider fetch it; the "
                                           "model route passes on only what is inside the request";
}

std::string parts_fault(const json::Value* content) {
    if (content == nullptr || content->is_null() || content->is_string()) return {};
    if (!content->is_array()) return "the content of a message is neither text nor a list of parts";
    for (const json::Value& part : content->items())
        if (std::string fault = part_fault(part); !fault.empty()) return fault;
    return {};
}

std::string chat_message_fault(const json::Value& message) {
    if (!message.is_object()) return "a message of the request is no object";
    std::string fault = unknown_key(message, kChatMessageKeys, " in a message");
    return fault.empty() ? parts_fault(message.find("content")) : fault;
}

std::string chat_fault(const json::Value& body) {
    std::string fault = unknown_key(body, kChatKeys, "");
    if (fault.empty()) fault = list_fault(body, "messages", chat_message_fault);
    return fault.empty() ? list_fault(body, "tools", function_fault) : fault;
}

std::string input_fault(const json::Value& item) {
    if (!item.is_object()) return "an input item of the request is no object";
    const std::string type = item.text("type");
    if (!in(kItems, type))
        return "the model route does not pass on input items of type " + shown(type);
    std::string fault = unknown_key(item, kItemKeys, " in an input item");
    if (!fault.empty() || type == "reasoning") return fault;
    fault = parts_fault(item.find("content"));
    return fault.empty() ? parts_fault(item.find("output")) : fault;
}

std::string included_fault(const json::Value& name) {
    const bool known = name.is_string() && name.as_string() == "reasoning.encrypted_content";
    return known ? "" : "the model route passes on only the inclusion of encrypted reasoning";
}

std::string responses_fault(const json::Value& body) {
    std::string fault = unknown_key(body, kResponsesKeys, "");
    if (fault.empty()) fault = list_fault(body, "input", input_fault);
    if (fault.empty()) fault = list_fault(body, "tools", function_fault);
    if (fault.empty()) fault = list_fault(body, "include", included_fault);
    const json::Value* store = body.find("store");
    if (fault.empty() && (!store || !store->is_bool() || store->as_bool()))
        fault = "the model route passes on only what the provider is told not to store";
    return fault;
}

}  // namespace

std::string body_fault(ModelDialect dialect, const json::Value& body) {
    if (!body.is_object()) return "the request is no JSON object";
    switch (dialect) {
        case ModelDialect::Anthropic:
            return messages_fault(body);
        case ModelDialect::Chat:
            return chat_fault(body);
        case ModelDialect::Responses:
            return responses_fault(body);
        case ModelDialect::Unknown:
            break;
    }
    return "no dialect is set for the model";
}

}  // namespace peacrab
