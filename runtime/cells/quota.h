// What of the state disk belongs to whom: project quotas for blocks and inodes. An agent's files count
// for the project of its slot, its turns' journals for one of their own. Root alone; a mechanism that is
// missing is an Error naming it.
//
// The disk's last blocks are held back for the warden and for turns (launch/boot), and no file system
// holds inodes back: the bounds here are what leaves the warden some of both.
#pragma once

#include <string>

#include "types.h"

namespace peacrab {

// Are limits for projects in force on the file system of `fd`; has it any project (or cannot it be told)?
bool holds_projects(int fd) noexcept;
bool has_projects(int fd) noexcept;
// Everything made in the directory `fd` from now on counts for `project`.
void count_for_project(int fd, uint32_t project);
// Less than was asked for on a small disk, so that no agent alone can fill it; `fd` is a folder on it
// that counts for no project.
void fit_to_disk(int fd, CellLimits& limits);
// At most `wanted` files for the project. All agents together get what is free but for a part that is
// held back: where it does not suffice, each has an even share of it, also who had more before.
uint64_t share_files(int fd, uint32_t project, uint64_t wanted);
// The bounds of that project on the file system of `fd`. While a cell is built there is a little more:
// an agent that has used up its share could otherwise never start again to make room.
enum class Room { Building, Running };
void set_quota(int fd, uint32_t project, const CellLimits& limits, Room room);
// "disk: 4G", "files: 200000", or "" while there is room.
std::string quota_hit(int fd, uint32_t project, const CellLimits& limits) noexcept;

// The journals of the agent in `slot`, in the folder `sessions`, from here on: they may grow by a step,
// which is a part of what the disk holds back. To be called again whenever a turn goes on; while the
// disk is full there is no new step, so that however long turns go on, most of what is held back stays.
// An eighth of the disk is the most they may ever come to. How much may be written down beside them for
// one turn: much, or once the disk is full such a step.
Bytes hold_journals(const std::string& sessions, uint32_t slot);
constexpr uint32_t kFirstJournals = 65'536;  // the project of slot n is the n-th after it

}  // namespace peacrab
