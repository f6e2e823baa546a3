// `peacrab skills`: what skills there are, where from, and what is wrong with them.
#pragma once

#include "doctor.h"

namespace peacrab {

int skill_list(OutputForm form);  // gives the exit code

}  // namespace peacrab
