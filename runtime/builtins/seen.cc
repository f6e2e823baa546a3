#include "builtins/seen.h"

#include <algorithm>

#include "builtins/workspace.h"

namespace peacrab {
namespace {

constexpr size_t kMaxFiles = 512;
constexpr size_t kMaxBytes = size_t{64} << 10;  // of names: they go with each patch
constexpr size_t kMaxName = 4096, kMaxMark = 64;

}  // namespace

json::Value SeenFiles::for_edit(const json::Value& arguments, const std::string& workspace) const {
    json::Value told = json::Value::object();
    if (arguments.find("patch")) {
        for (const auto& [name, mark] : marks_) told.set(name, mark.mark);
    } else if (const auto found = marks_.find(seen_name(arguments.text("path"), workspace));
               found != marks_.end()) {
        told.set(found->first, found->second.mark);
    }
    return told;
}

void SeenFiles::learn(const json::Value& seen) {
    if (!seen.is_object()) return;
    for (const auto& [name, mark] : seen.members()) {
        forget(name);
        if (!mark.is_string() || mark.as_string().size() > kMaxMark || name.size() > kMaxName)
            continue;
        marks_[name] = {mark.as_string(), next_++};
        bytes_ += name.size();
        while (marks_.size() > kMaxFiles || bytes_ > kMaxBytes)
            forget(std::min_element(marks_.begin(), marks_.end(), [](const auto& a, const auto& b) {
                       return a.second.order < b.second.order;
                   })->first);
    }
}

void SeenFiles::forget(const std::string& name) {
    const auto found = marks_.find(name);
    if (found == marks_.end()) return;
    bytes_ -= name.size();
    marks_.erase(found);
}

}  // namespace peacrab
