// `peacrab doctor`: what is here, what is missing and the command that mends it, which accelerator
// was chosen by which step and why, and, when the machine runs, what is really in force around it
// and inside it. `peacrab ps`: the machines.
#pragma once

#include <string>

#include "machine.h"

namespace peacrab {

enum class OutputForm { Text, Json };

// 0: a machine can start here; 1: something is missing.
int doctor(const std::string& name, OutputForm form);
int list_machines(OutputForm form);

}  // namespace peacrab
