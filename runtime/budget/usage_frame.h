// What a turn process tells of one call of a model, and what the warden reads of it.
#pragma once

#include "budget/spending.h"
#include "llm.h"

namespace peacrab {

json::Value usage_frame(const std::string& asked, const ModelCount& count);
// Throws Error for a count that is none. What is free, and whether `asked` may be believed, is not known here.
ModelCall call_from(const json::Value& frame);

}  // namespace peacrab
