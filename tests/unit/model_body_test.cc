#include "model_body.h"

#include <doctest/doctest.h>

using namespace peacrab;

namespace {

std::string fault(const std::string& text, ModelDialect dialect = ModelDialect::Anthropic) {
    return body_fault(dialect, json::parse(text, json::kModelLimits));
}

std::string with_block(const std::string& block) {
    return fault(R"({"messages":[{"role":"user","content":[)" + block + "]}]}");
}

}  // namespace

TEST_CASE("model body: a whole request of our own loop passes") {
    CHECK(fault(R"({"model":"m","max_tokens":9,"stream":true,"system":[{"type":"text","text":"s",
        "cache_control":{"type":"ephemeral"}}],"tools":[{"name":"shell","description":"d",
        "input_schema":{"type":"object","properties":{"url":{"type":"string"}}}}],
        "messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[
        {"type":"thinking","thinking":"","signature":"s"},
        {"type":"tool_use","id":"t","name":"shell","input":{"source":{"type":"url"}}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","is_error":false,
        "content":[{"type":"text","text":"ok"}]}]}]})") == "");
    CHECK(with_block(R"({"type":"image","source":{"type":"base64","media_type":"image/png",
        "data":"AA=="}})") == "");
}

TEST_CASE("model body: the provider runs no tool for the agent") {
    for (const char* tool :
         {R"({"type":"web_search_20250305","name":"web_search"})",
          R"({"type":"web_fetch_20250910","name":"web_fetch"})",
          R"({"type":"code_execution_20250522","name":"code_execution"})",
          R"({"type":"mcp_toolset","mcp_server_name":"x"})", R"({"type":null,"name":"x"})",
          R"({"type":["custom"],"name":"x"})", R"({"name":"x","url":"http://evil"})", R"("x")"})
        CHECK(fault(std::string(R"({"messages":[],"tools":[)") + tool + "]}") != "");
    CHECK(fault(R"({"messages":[],"tools":[{"type":"custom","name":"x"}]})") == "");
    CHECK(fault(R"({"messages":[],"tools":{"type":"web_search"}})") != "");
}

TEST_CASE("model body: keys that let the provider connect, run or store are refused by name") {
    for (const char* key :
         {"mcp_servers", "container", "inference_geo", "files", "Model", "nonsense"})
        CHECK(fault(std::string("{\"messages\":[],\"") + key + "\":[]}").find(key) !=
              std::string::npos);
}

TEST_CASE("model body: nothing is fetched by address, at any depth") {
    const std::string url =
        R"({"type":"image","source":{"type":"url","url":"http://evil/?secret"}})";
    CHECK(with_block(url) != "");
    CHECK(with_block(R"({"type":"document","source":{"type":"file","file_id":"f"}})") != "");
    CHECK(with_block(R"({"type":"image","source":"http://evil"})") != "");
    CHECK(with_block(R"({"type":"image"})") != "");
    CHECK(with_block(R"({"type":"tool_result","tool_use_id":"t","content":[)" + url + "]}") != "");
    CHECK(with_block(R"({"type":"document","source":{"type":"content","content":[)" + url +
                     "]}}") != "");
    CHECK(with_block(R"({"type":"tool_result","content":[{"type":"tool_result","content":[)" + url +
                     "]}]}") != "");
    CHECK(fault(R"({"messages":[],"system":[)" + url + "]}") != "");
}

TEST_CASE("model body: block types that are not in the table are refused") {
    for (const char* type : {"server_tool_use", "mcp_tool_use", "container_upload",
                             "web_search_tool_result", "", "Text"})
        CHECK(with_block(std::string(R"({"type":")") + type + "\"}") != "");
    CHECK(with_block("{}") != "");
    CHECK(with_block("1") != "");
}

TEST_CASE("model body: odd shapes are a sentence, and hostile bytes in it are escaped") {
    for (const char* text :
         {"[]", "1", "null", R"({"messages":{}})", R"({"messages":[1]})",
          R"({"messages":[{"role":"user"}]})", R"({"messages":[{"role":"user","content":1}]})",
          R"({"messages":[{"role":"user","content":"x","extra":1}]})"})
        CHECK(fault(text) != "");
    const std::string told = fault("{\"\\u001b[2J\\u202e\":1}");
    CHECK(told.find('\x1b') == std::string::npos);
    CHECK(fault("{\"" + std::string(100000, 'k') + "\":1}").size() < 200);
}

TEST_CASE("model body: no dialect, no request") {
    CHECK(fault("{}", ModelDialect::Unknown) != "");
}

TEST_CASE("model body: a chat request of our own passes, and what a provider would do for it does not") {
    const auto chat = [](const std::string& text) { return fault(text, ModelDialect::Chat); };
    CHECK(chat(R"({"model":"m","max_tokens":9,"stream":true,"stream_options":{"include_usage":true},
        "tools":[{"type":"function","function":{"name":"shell","description":"d","parameters":{}}}],
        "messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"t"},
        {"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]},
        {"role":"assistant","content":null,"reasoning_details":[{}],"tool_calls":[{"id":"c","type":"function",
        "function":{"name":"shell","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"c","content":"out"}]})") == "");
    for (const char* body :
         {R"({"web_search_options":{}})", R"({"plugins":[{"id":"web"}]})", R"({"store":true})",
          R"({"models":["a","b"]})", R"({"tools":[{"type":"web_search"}]})",
          R"({"tools":[{"type":"mcp","server_url":"https://x"}]})", R"({"tools":{}})",
          R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/?secret"}}]}]})",
          R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":"http://x"}]}]})",
          R"({"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]})",
          R"({"messages":[{"role":"user","content":7}]})", R"({"messages":["x"]})"})
        CHECK_MESSAGE(chat(body) != "", body);
}

TEST_CASE("model body: a responses request of our own passes, and nothing stays at the provider") {
    const auto responses = [](const std::string& text) {
        return fault(text, ModelDialect::Responses);
    };
    CHECK(responses(R"({"model":"m","store":false,"stream":true,"include":["reasoning.encrypted_content"],
        "instructions":"s","max_output_tokens":9,"tools":[{"type":"function","name":"shell","description":"d",
        "parameters":{},"strict":false}],"input":[{"type":"message","role":"user","content":[{"type":"input_text",
        "text":"t"}]},{"type":"reasoning","id":"r","summary":[],"encrypted_content":"e"},
        {"type":"function_call","call_id":"c","name":"shell","arguments":"{}"},
        {"type":"function_call_output","call_id":"c","output":"o"}]})") == "");
    for (const char* body :
         {R"({"input":[]})", R"({"store":true})", R"({"store":0})",
          R"({"store":false,"background":true})", R"({"store":false,"previous_response_id":"r"})",
          R"({"store":false,"include":["file_search_call.results"]})",
          R"({"store":false,"tools":[{"type":"web_search_preview"}]})",
          R"({"store":false,"tools":[{"type":"code_interpreter"}]})",
          R"({"store":false,"input":[{"type":"mcp_call"}]})",
          R"({"store":false,"input":[{"type":"item_reference","id":"x"}]})",
          R"({"store":false,"input":[{"type":"message","content":[{"type":"input_image","image_url":"https://x"}]}]})",
          R"({"store":false,"input":[{"type":"message","content":[{"type":"input_file","file_url":"https://x"}]}]})",
          R"({"store":false,"input":[{"type":"function_call_output","output":[{"type":"input_image",
              "image_url":"http://169.254.169.254/"}]}]})"})
        CHECK_MESSAGE(responses(body) != "", body);
}
