// What a failed try of a model means, in words, and whether trying again helps.
#pragma once

#include <optional>
#include <string>

#include "protocols/reply.h"

namespace peacrab {

// Why a try failed. `what` and `next` make the sentence; neither ends in a full stop.
struct Problem {
    std::string what;
    std::string next;
    bool again = false;                               // trying again may help
    bool malformed = false;                           // the server does not take what was sent
    bool of_the_line = false;                         // no whole response came
    bool of_trust = false;                            // maybe the CA, which may be another by now
    bool of_the_model = false;                        // another of the same server may answer
    bool spent = false;                               // the host's budget, not the provider's, is at its end
    bool too_long = false;                            // what was sent does not fit the model's window
    uint64_t window = 0;                              // of too_long: tokens it holds, when it was said
    std::optional<Milliseconds> wait = std::nullopt;  // what the server asks for
};

Problem judge(const ApiError& error, const ModelOptions& options);
// The type of the error of a gateway whose budget is spent.
constexpr const char* kBudgetError = "peacrab_budget_error";
// A conversation that no longer fits, in the one sentence for it.
constexpr const char* kTooLong = "the conversation no longer fits into the model's window";
// A response that came whole and is no answer.
Problem judge_status(const HttpResult& result, const ModelOptions& options);
// No whole response came.
Problem judge_transport(const HttpResult& result);

std::string in_words(Milliseconds span);  // "2 s", "5 h"

}  // namespace peacrab
