// Order of an apply: contents fetched and checked, what is here kept, the steps written down, then one
// path after the other; so that a crash at any point leaves whole files and an undo.
#include "dir_work.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "error.h"
#include "files/tree.h"

namespace peacrab {
namespace {

using Kind = Listed::Kind;
constexpr size_t kMostNamed = 20;

bool is_folder(const MaybeListed& entry) { return entry && entry->kind == Kind::Folder; }

std::string size_text(uint64_t bytes) {
    const auto with = [](double number, const char* unit) {
        char text[32];
        std::snprintf(text, sizeof text, "%.1f %s", number, unit);
        return std::string(text);
    };
    if (bytes < 10'000) return std::to_string(bytes) + " bytes";
    if (bytes < 10'000'000) return with(static_cast<double>(bytes) / 1000, "kB");
    return with(static_cast<double>(bytes) / 1'000'000, "MB");
}

mode_t our_umask() {
    const mode_t mask = ::umask(022);
    ::umask(mask);
    return mask;
}

}  // namespace

std::string counted(size_t count, const char* one, const char* many) {
    return std::to_string(count) + " " + (count == 1 ? one : many);
}

DirWork::DirWork(DirState& state, FilesLink& link, Tell tell, DirBounds bounds)
    : state_(state), link_(link), tell_(std::move(tell)), bounds_(bounds) {}

void DirWork::tell_all(const std::string& what, const std::vector<std::string>& names) {
    if (names.empty()) return;
    std::string text = what;
    for (size_t i = 0; i < names.size() && i < kMostNamed; ++i) text += "\n  " + names[i];
    if (names.size() > kMostNamed) text += "\n  and " + std::to_string(names.size() - kMostNamed) + " more";
    tell_(text);
}

// --- what there is

Listing DirWork::scan(Ignore& rules, std::map<std::string, Sent>& details) {
    Listing found;
    WalkCount count;
    try {
        count = walk_tree(state_.fd(), &rules, RuleFiles::Read, {bounds_.entries, bounds_.total},
                          [&](const WalkedEntry& entry) {
                              found[entry.path] = listed_within(state_.fd(), entry);
                              details[entry.path] = {entry.info.st_mode & 0777, entry.info.st_mtim.tv_sec};
                          });
    } catch (const Error& error) {
        throw Error("--dir: " + printable(state_.dir()) + ": " + error.what() +
                    "; leave it out with a line in .peacrabignore, or name a smaller folder");
    }
    std::string text = printable(state_.dir()) + ": " + counted(count.entries, "entry", "entries") + ", " +
                       size_text(count.bytes);
    if (count.left_out)
        text += "; " + std::to_string(count.left_out) + " left out (.git, .gitignore, .peacrabignore)";
    if (count.special)
        text += "; " + counted(count.special, "device, socket or pipe", "devices, sockets or pipes") + " skipped";
    tell_(text);
    return found;
}

// Those of the folder as it is here: what the agent writes into an ignore file hides nothing.
Ignore DirWork::rules() {
    Ignore rules;
    (void)walk_tree(state_.fd(), &rules, RuleFiles::Read, {}, [](const WalkedEntry&) {});
    return rules;
}

Listing DirWork::copy(const Ignore& rules, bool& missing) {
    Listing found;
    const FilesVerdict verdict = link_.list(state_.name(), rules, found);
    missing = verdict.missing;
    if (!verdict.ok && !missing)
        throw Error("files: the copy of " + printable(state_.name()) + " could not be read: " +
                    (verdict.why.empty() ? "no reason was given" : verdict.why) +
                    "; is the agent at work? Try again when it is done");
    // What is out of sight now is so on both sides.
    for (auto it = state_.base().begin(); it != state_.base().end();) {
        const auto what = is_folder(it->second) ? Ignore::What::Folder : Ignore::What::File;
        it = rules.leaves_out_within(it->first, what) ? state_.base().erase(it) : std::next(it);
    }
    for (auto it = found.begin(); it != found.end();) {
        const auto what = is_folder(it->second) ? Ignore::What::Folder : Ignore::What::File;
        const bool hidden = guard_of(it->first) != Guard::Never && rules.leaves_out_within(it->first, what);
        it = hidden ? found.erase(it) : std::next(it);
    }
    return found;
}

// A file that was exchanged meanwhile is seen as what is open.
MaybeListed DirWork::here(const std::string& path, struct stat& info) {
    if (!look_within(state_.fd(), path, info)) return std::nullopt;
    if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode) && !S_ISLNK(info.st_mode))
        throw Error("a device, socket or pipe is there");
    const Kind kind = S_ISDIR(info.st_mode)          ? Kind::Folder
                      : S_ISLNK(info.st_mode)        ? Kind::Link
                      : (info.st_mode & S_IXUSR) != 0 ? Kind::Program
                                                      : Kind::File;
    return listed_within(state_.fd(), {path, kind, info});
}

void DirWork::now_based_on(const std::string& path, const MaybeListed& entry) {
    if (entry) state_.base()[path] = *entry;
    else state_.base().erase(path);
}

// --- send

bool DirWork::send() {
    Ignore rules;
    std::map<std::string, Sent> details;
    Listing host = scan(rules, details);
    bool missing = false;
    const Listing there = copy(rules, missing);
    if (missing && !state_.base().empty()) {
        tell_("the agent `" + link_.agent() + "` has no folder " + printable(state_.name()) +
              " any more: all of it is sent again");
        state_.base().clear();
    }
    std::vector<std::string> gone, fresh, conflicts;
    std::set<std::string> paths = all_paths(host, there);
    for (const auto& [path, entry] : state_.base()) paths.insert(path);
    for (const std::string& path : paths) {
        if (guard_of(path) == Guard::Never) continue;
        const MaybeListed now = find_listed(host, path);
        switch (send_step(find_listed(state_.base(), path), now, find_listed(there, path))) {
            case Step::Nothing:
                break;
            case Step::Bring:
                (now ? fresh : gone).push_back(path);
                break;
            case Step::Adopt:
                keep_here(path, now);
                now_based_on(path, now);
                break;
            case Step::Conflict:
                conflicts.push_back(printable(path));
        }
    }
    // What is sent is what is kept: it may have changed since it was looked at.
    uint64_t bytes = 0;
    for (const std::string& path : fresh) {
        Listed& entry = host[path];
        if (!entry.file()) continue;
        struct stat info;
        const UniqueFd file = open_file_within(state_.fd(), path, info);
        if (!file) throw Error(printable(path) + ": it changed while it was read; try again");
        entry = state_.keep(file.get(), entry.kind);
        bytes += entry.size;
    }
    bool all = true;
    if (!gone.empty() || !fresh.empty() || missing) {
        all = put(gone, fresh, host, details);
        if (all)
            tell_("sent to the agent `" + link_.agent() + "`: " + counted(fresh.size(), "entry", "entries") +
                  ", " + size_text(bytes) + (gone.empty() ? "" : "; removed: " + std::to_string(gone.size())) +
                  "; the folder " + printable(state_.name()) + " of its workspace");
    } else {
        tell_("the agent `" + link_.agent() + "` has it as it is here");
    }
    state_.save();
    tell_all("changed here and by the agent, and left as the agent has it (`peacrab diff` shows its):", conflicts);
    return all;
}

void DirWork::keep_here(const std::string& path, const MaybeListed& entry) {
    if (!entry || !entry->file() || state_.has(entry->hash)) return;
    struct stat info;
    const UniqueFd file = open_file_within(state_.fd(), path, info);
    if (!file || state_.keep(file.get(), entry->kind) != *entry)
        throw Error(printable(path) + ": it changed while it was read; try again");
}

// Into the copy: the base follows what has arrived.
bool DirWork::put(const std::vector<std::string>& gone, const std::vector<std::string>& fresh,
                  const Listing& want, const std::map<std::string, Sent>& details) {
    FilesVerdict verdict{.ok = true};
    // What is to be replaced by something of another kind goes first.
    std::vector<std::string> away(gone.rbegin(), gone.rend());
    for (auto path = fresh.rbegin(); path != fresh.rend(); ++path) {
        const MaybeListed old = find_listed(state_.base(), *path);
        if (old && is_folder(old) != is_folder(want.at(*path))) away.push_back(*path);
    }
    std::sort(away.rbegin(), away.rend());
    if (!away.empty()) verdict = link_.remove(state_.name(), away);
    if (verdict.ok)
        verdict = link_.put(state_.name(), [&](TarWriter& writer) {
            for (const std::string& path : fresh) {
                const Listed& entry = want.at(path);
                const auto detail = details.find(path);
                const Sent known = detail == details.end() ? Sent{} : detail->second;
                TarEntry out{.path = path, .target = entry.target, .mode = 0644, .size = entry.size};
                out.mtime = known.mtime;
                if (entry.kind == Kind::Program) out.mode = 0755;
                if (known.mode) out.mode = known.mode;
                if (entry.kind == Kind::Folder) out.kind = TarEntry::Kind::Folder;
                if (entry.kind == Kind::Link) out.kind = TarEntry::Kind::Link;
                writer.begin(out);
                if (!entry.file()) continue;
                const UniqueFd file = state_.contents(entry.hash);
                const uint64_t sent = read_through(file.get(), entry.size, [&](std::string_view bytes) {
                    writer.data(bytes);
                });
                if (sent != entry.size) throw Error("files: what is kept was damaged");
            }
        });
    std::vector<std::string> arrived = fresh, removed = gone;
    if (!verdict.ok) {
        Listing now;
        (void)link_.list(state_.name(), {}, now);
        std::erase_if(arrived, [&](const auto& path) { return find_listed(now, path) != want.at(path); });
        std::erase_if(removed, [&](const auto& path) { return now.count(path) != 0; });
    }
    for (const std::string& path : arrived) state_.base()[path] = want.at(path);
    for (const std::string& path : removed) state_.base().erase(path);
    if (verdict.ok) return true;
    tell_("not all could be written into the workspace: " +
          (verdict.why.empty() ? std::string("no reason was given") : verdict.why));
    return false;
}

// --- what the agent changed

DirWork::Changes DirWork::changes() {
    bool missing = false;
    Listing there = copy(rules(), missing);
    // An agent that has lost the folder has not removed its files one by one.
    if (missing)
        throw Error("the agent `" + link_.agent() + "` has no folder " + printable(state_.name()) +
                    " in its workspace; `peacrab up --dir DIR` sends it");
    Changes changes;
    for (const std::string& path : all_paths(state_.base(), there)) {
        const MaybeListed was = find_listed(state_.base(), path), now = find_listed(there, path);
        if (was == now) continue;
        if (guard_of(path) == Guard::Never) changes.guarded.push_back(printable(path));
        else changes.list.push_back({path, was, now});
    }
    fetch(changes);
    return changes;
}

// What has come is what counts, not what was listed.
void DirWork::fetch(Changes& changes) {
    std::map<std::string, Changed*> wanted;
    std::vector<std::string> paths;
    for (Changed& change : changes.list)
        if (change.now && change.now->file() && !state_.has(change.now->hash)) {
            wanted[change.path] = &change;
            paths.push_back(change.path);
        }
    if (paths.empty()) return;
    std::optional<DirState::Incoming> incoming;
    Changed* current = nullptr;
    const auto changed = [](const std::string& path) {
        return Error("files: " + printable(path) + ": the agent changed it meanwhile; try again when it is done");
    };
    const FilesVerdict verdict = link_.get(
        state_.name(), paths,
        {.begin =
             [&](const TarEntry& entry) {
                 const auto it = wanted.find(entry.path);
                 if (it == wanted.end() || entry.kind != TarEntry::Kind::File) throw changed(entry.path);
                 current = it->second;
                 wanted.erase(it);
                 incoming.emplace(state_);
             },
         .data = [&](std::string_view bytes) { incoming->write(bytes); },
         .end =
             [&] {
                 if (incoming->done(current->now->kind) != *current->now) throw changed(current->path);
                 incoming.reset();
             }});
    if (!verdict.ok) throw Error("files: " + verdict.why + "; try again when the agent is done");
    if (!wanted.empty()) throw changed(wanted.begin()->first);
}

// --- here

void DirWork::change_one(const AppliedStep& step, bool away) {
    struct stat info {};
    if (here(step.path, info) != step.was) throw Error("it was changed here since it was sent");
    TreeWriter writer(state_.fd(), TreeWriter::Sync::Each);
    if (away) {
        if (!writer.remove(step.path) && step.now) throw Error("a folder is there that is not empty");
        return;
    }
    const Listed& now = *step.now;
    if (now.kind == Kind::Folder) return writer.folder(step.path);
    if (now.kind == Kind::Link) return writer.link(step.path, now.target);
    const bool program = now.kind == Kind::Program;
    mode_t mode = step.mode ? step.mode : 0666 & ~our_umask();
    mode = program ? mode | ((mode & 0444) >> 2) : mode & ~static_cast<mode_t>(0111);
    TreeWriter::File file = writer.create(step.path, mode);
    const UniqueFd contents = state_.contents(now.hash);
    const uint64_t size = read_through(contents.get(), now.size, [&](std::string_view bytes) {
        file.write(bytes);
    });
    if (size != now.size) throw Error("what is kept of it was damaged");
    file.commit();
}

// What goes away first, from the inside out; then folders before what is in them.
DirWork::Outcome DirWork::change(const std::vector<AppliedStep>& steps) {
    Outcome outcome;
    std::vector<AppliedStep> order = steps;
    std::sort(order.begin(), order.end(),
              [](const AppliedStep& one, const AppliedStep& other) { return one.path < other.path; });
    std::set<std::string> failed;
    const auto each = [&](const AppliedStep& step, bool away) {
        try {
            change_one(step, away);
        } catch (const Error& error) {
            if (failed.insert(step.path).second)
                outcome.left.push_back(printable(step.path) + ": " + error.what());
        }
    };
    for (auto step = order.rbegin(); step != order.rend(); ++step)
        if (step->was && (!step->now || is_folder(step->was) != is_folder(step->now))) each(*step, true);
    for (AppliedStep& step : order) {
        AppliedStep left = step;
        if (is_folder(step.was) != is_folder(step.now)) left.was.reset();  // it has gone above
        if (step.now && !failed.count(step.path)) each(left, false);
        if (!failed.count(step.path)) outcome.done.push_back(step);
    }
    return outcome;
}

bool DirWork::apply(Hooks hooks, Run run) {
    Changes all = changes();
    std::vector<AppliedStep> steps;
    std::vector<std::string> left;
    for (const Changed& change : all.list) {
        const auto leave = [&](const std::string& why) { left.push_back(printable(change.path) + ": " + why); };
        if (guard_of(change.path) == Guard::Hooks && hooks == Hooks::Refuse) {
            leave("programs here run what is in it by themselves; look at it, then --hooks");
            continue;
        }
        if (change.now && change.now->kind == Kind::Link && leads_out(change.path, change.now->target)) {
            leave("a link that could lead out of the folder, to " + printable(change.now->target));
            continue;
        }
        try {
            struct stat info {};
            const MaybeListed own = here(change.path, info);
            const Step step = apply_step(change.was, own, change.now);
            if (step == Step::Conflict) leave("changed here since it was sent, and by the agent");
            if (step == Step::Adopt) now_based_on(change.path, change.now);
            if (step != Step::Bring) continue;
            keep_here(change.path, own);
            const bool file = own && own->file();
            steps.push_back({change.path, own, change.now, file ? info.st_mode & 0777 : 0});
        } catch (const Error& error) {
            leave(error.what());
        }
    }
    if (!all.guarded.empty()) left.push_back(all.guarded[0] + ": never brought home: programs here run what is in it");
    const auto say = [&](const char* done, const std::vector<AppliedStep>& which) {
        std::vector<std::string> names;
        for (const AppliedStep& step : which)
            names.push_back(std::string(!step.was ? "new      " : !step.now ? "removed  " : "changed  ") +
                            printable(step.path));
        tell_all(std::string(done) + printable(state_.dir()) + ":", names);
        if (names.empty() && left.empty()) tell_("the agent has changed nothing that is not here");
    };
    if (run == Run::Dry) {
        say("would be brought home to ", steps);
    } else {
        if (!steps.empty()) state_.remember(steps);
        const Outcome outcome = change(steps);
        for (const AppliedStep& step : outcome.done) now_based_on(step.path, step.now);
        if (!steps.empty()) state_.remember(outcome.done);
        state_.save();
        left.insert(left.end(), outcome.left.begin(), outcome.left.end());
        say("brought home to ", outcome.done);
        if (!outcome.done.empty()) tell_("`peacrab undo` takes it back");
    }
    tell_all("left as it is here:", left);
    return left.empty();
}

bool DirWork::undo() {
    std::vector<AppliedStep> back;
    for (AppliedStep step : state_.last_apply()) {
        std::swap(step.was, step.now);
        back.push_back(std::move(step));
    }
    Outcome outcome = change(back);
    for (const AppliedStep& step : outcome.done) now_based_on(step.path, step.now);
    state_.forget_apply();
    state_.save();
    tell_("the last apply was taken back: " + counted(outcome.done.size(), "entry", "entries") + " in " +
          printable(state_.dir()) + " as before; the agent's copy is as it was");
    tell_all("left as it is here:", outcome.left);
    return outcome.left.empty();
}

bool DirWork::discard() {
    bool missing = false;
    const Listing there = copy(rules(), missing);
    std::vector<std::string> gone, fresh;
    for (const std::string& path : all_paths(state_.base(), there)) {
        if (guard_of(path) == Guard::Never) continue;
        const MaybeListed base = find_listed(state_.base(), path);
        if (base != find_listed(there, path)) (base ? fresh : gone).push_back(path);
    }
    // Kinds that differ: the copy's goes first.
    for (const std::string& path : fresh)
        if (const MaybeListed now = find_listed(there, path);
            now && is_folder(now) != is_folder(find_listed(state_.base(), path)))
            gone.push_back(path);
    const Listing want = state_.base();
    std::sort(gone.begin(), gone.end());
    const bool all = put(gone, fresh, want, {});
    state_.base() = want;
    state_.save();
    if (all)
        tell_("what the agent `" + link_.agent() + "` changed in " + printable(state_.name()) +
              " was thrown away: " + counted(fresh.size() + gone.size(), "entry", "entries"));
    return all;
}

}  // namespace peacrab
