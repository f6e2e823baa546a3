// `peacrab agent …`: agents are blocks of the configuration, edited in place; what runs takes a change
// up by itself. Only `rm` speaks to machines.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "doctor.h"

namespace peacrab {

// Keys of an agent's block → values, as they are to be written.
using AgentValues = std::map<std::string, std::string>;

// Each gives the exit code, or throws Error with what to do. `from`: whose block is copied; "": none.
int agent_add(const std::string& name, const AgentValues& values, const std::string& from);
int agent_set(const std::string& name, const AgentValues& values);
int agent_list(OutputForm form);
int agent_show(const std::string& name, OutputForm form);
enum class AgentState { Paused, Active };
int agent_state(const std::string& name, AgentState state);
// `confirmed` is asked before anything is touched; it may throw. Force: also what an agent that is not
// in the configuration has left.
enum class RemoveWhat { Known, Force };
int agent_remove(const std::string& name, RemoveWhat what, const std::function<bool()>& confirmed);

}  // namespace peacrab
