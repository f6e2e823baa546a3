// `peacrab usage`: what a machine's agents have spent, as the host counted it, and more of it for today.
#pragma once

#include <string>

#include "budget/spending.h"
#include "client.h"
#include "doctor.h"
#include "machine.h"

namespace peacrab {

// The book of a machine; it need not run.
std::string usage_book(const MachinePlace& place);

struct UsageAsked {
    int days = 7;       // today and those before it
    std::string agent;  // "": all
    OutputForm form = OutputForm::Text;
};
int usage_list(const MachinePlace& place, const UsageAsked& asked);
// The limits with what was given today. A book that cannot be read has given nothing.
Spending raised_today(const MachinePlace& place, const Spending& spending);
// As much again of what is used up today, here and, when it runs, in the machine. False: nothing is used up.
bool allow_more(const MachinePlace& place);

}  // namespace peacrab
