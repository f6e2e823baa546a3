#include "model_body.h"

#include <doctest/doctest.h>

using namespace peacrab;

namespace {

std::string fault(const std::string& text) {
    return body_fault(json::parse(text, json::kModelLimits));
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
