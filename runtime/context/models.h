// How much a model can be told at once.
#pragma once

#include <cstdint>
#include <string_view>

namespace peacrab {

enum class ModelPlace { Elsewhere, Local };
// In tokens, by the model's name (windows.def). Of a local server not even the name says it: it depends on
// how it was started, and a guess that is too large is cut there without a word.
uint64_t window_of(std::string_view model, ModelPlace place);

}  // namespace peacrab
