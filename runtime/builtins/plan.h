// A plan as the model writes it: a step a line, each with its mark.
#pragma once

#include <string_view>

#include "json.h"

namespace peacrab {

// [{state: done, now or open, text}]. Null when it is no plan: a line without a mark or without words, none at
// all, more than 50. A bullet or a number before the mark is passed over.
json::Value plan_steps(std::string_view text);

}  // namespace peacrab
