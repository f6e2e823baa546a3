// What models a server has, and which servers run on this machine.
#pragma once

#include <string>
#include <vector>

#include "protocols/servers.h"

namespace peacrab {

// Whether a server of that row listens on this machine and lists models. Takes two seconds at most.
bool answers(const ModelServer& server);

// The names it lists, in its order; none when it does not say within two seconds. Never sends a key. Source: GET /v1/models
// as of OpenAI's API, which Ollama, llama.cpp, vLLM and Docker Model Runner have as well.
std::vector<std::string> models_at(const std::string& base, ModelDialect dialect);
// The first of them; "default" when there is none, which servers with one model take for that.
std::string first_model(const std::string& base, ModelDialect dialect);

}  // namespace peacrab
