// Tasks as people and models read and change them: the tool `task`, `/tasks` in a conversation, `peacrab tasks`.
#pragma once

#include <string>
#include <vector>

#include "messaging/schedule.h"

namespace peacrab {

constexpr size_t kMostTasks = 20, kMostTasksInAll = 200;  // in a conversation; all together
constexpr int64_t kOften = 15 * 60;  // seconds: what is due more often needs an owner's word, or a gate

std::string tasks_in_words(Schedule& schedule, const std::vector<TaskRow>& tasks);
std::string history_in_words(Schedule& schedule, const TaskRow& task);
// pause, resume, delete, allow: what is said of it. Throws Error: it cannot be done.
std::string change_task(Schedule& schedule, TaskRow task, const std::string& what);
// What it will come to, "About 0.42 USD a month …", by what turns of its conversation have cost.
std::string cost_in_words(Schedule& schedule, const TaskRow& task, int64_t now);

}  // namespace peacrab
