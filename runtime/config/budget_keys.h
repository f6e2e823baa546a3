// The keys `budget` and `prices` of the configuration, and `budget` of an agent → Spending.
#pragma once

#include "budget/spending.h"
#include "config/yaml.h"

namespace peacrab {

// Null: the key is absent. Throws Error("line N: …").
Spending read_spending(const yaml::Node* budget, const yaml::Node* prices, const yaml::Node* agents);

}  // namespace peacrab
