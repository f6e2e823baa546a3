// Files: `base` (first lines "dir …" and "name …", then a listing), `apply` (the steps of the last one),
// `objects/HASH`. Each is replaced as a whole.
#include "dir_state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>
#include <set>

#include "config.h"
#include "error.h"
#include "audit.h"
#include "files/tree.h"

namespace peacrab {
namespace {

constexpr Bytes kMaxState = MiB(256);

std::string files_folder(const MachinePlace& place, const std::string& agent) {
    return place.folder + "/files/" + agent;
}

// "dir PATH" → PATH.
std::string head(const std::string& text, const std::string& key) {
    for (const std::string& line : split(text.substr(0, 4 * PATH_MAX), '\n'))
        if (line.starts_with(key + " ")) return unescaped(line.substr(key.size() + 1));
    return "";
}

// Our keys and the agents' disks are there: neither to be sent nor to be written by what comes home.
void require_apart(const std::string& dir, const std::string& own) {
    const std::string place = real_path(own).value_or(own);
    if (is_within(place, dir) || is_within(dir, place))
        throw Error("--dir: " + printable(dir) + ": holds peacrab's own files (" + printable(own) +
                    "); name a folder beside them");
}

std::string state_text(const std::string& folder) {
    return read_file_if_exists(folder + "/base", kMaxState).value_or("");
}

}  // namespace

DirState::DirState(const MachinePlace& place, const std::string& agent, const std::string& dir)
    : agent_(agent) {
    dir_ = require_real_path("--dir", dir);
    fd_ = UniqueFd(::open(dir_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd_) throw ErrnoError("--dir: " + printable(dir));
    if (dir_ == "/") throw Error("--dir: /: the whole machine is too much; name a folder");
    const std::string config = config_file();
    for (const std::string& own : {config.substr(0, config.rfind('/')), place.folder})
        require_apart(dir_, own);
    const std::string all = files_folder(place, agent);
    folder_ = all + "/" + sha256_hex(dir_).substr(0, 16);
    make_directories(folder_ + "/objects");
    lock_ = UniqueFd(::open((folder_ + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock_ || ::flock(lock_.get(), LOCK_EX) < 0) throw ErrnoError("files: lock: " + folder_);
    load();
    if (name_.empty()) choose_name(all);
}

// Two folders of one name get two names in the workspace.
void DirState::choose_name(const std::string& folder) {
    name_ = dir_.substr(dir_.rfind('/') + 1);
    if (name_ == ".git") throw Error("--dir: .git is not a folder to work on");
    for (const std::string& other : list_folder(folder)) {
        const std::string text = state_text(folder + "/" + other);
        if (head(text, "name") == name_ && head(text, "dir") != dir_)
            name_ += "-" + sha256_hex(dir_).substr(0, 6);
    }
}

void DirState::load() {
    const std::string text = state_text(folder_);
    if (text.empty()) return;
    name_ = head(text, "name");
    for (const std::string& line : split(text, '\n')) {
        if (line.empty() || line.starts_with("dir ") || line.starts_with("name ")) continue;
        auto [path, entry] = parse_listing_line(line);
        base_.insert_or_assign(std::move(path), std::move(entry));
    }
    sent_ = true;
}

void DirState::save() {
    std::string text = "dir " + escaped(dir_) + "\nname " + escaped(name_) + "\n";
    std::set<std::string> named;
    for (const auto& [path, entry] : base_) {
        text += listing_line(path, entry);
        if (entry.file()) named.insert(entry.hash);
    }
    write_file_atomic(folder_ + "/base", text, 0600);
    sent_ = true;
    for (const AppliedStep& step : last_apply())
        if (step.was && step.was->file()) named.insert(step.was->hash);
    for (const std::string& hash : list_folder(folder_ + "/objects"))
        if (!named.count(hash)) ::unlink(object(hash).c_str());
}

bool DirState::has(const std::string& hash) const {
    return ::access(object(hash).c_str(), R_OK) == 0;
}

UniqueFd DirState::contents(const std::string& hash) const {
    UniqueFd fd(::open(object(hash).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) throw ErrnoError("files: what was sent is not kept any more: " + printable(hash));
    return fd;
}

Listed DirState::keep(int file, Listed::Kind kind) {
    Incoming incoming(*this);
    (void)read_through(file, GiB(1).count + 1, [&](std::string_view bytes) { incoming.write(bytes); });
    return incoming.done(kind);
}

DirState::Incoming::Incoming(DirState& state)
    : state_(state), temporary_(state.object(".new-" + random_hex(8))), hash_(std::make_unique<Sha256>()) {
    file_ = UniqueFd(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file_) throw ErrnoError("files: keep: " + temporary_);
}

DirState::Incoming::~Incoming() {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void DirState::Incoming::write(std::string_view bytes) {
    write_all(file_.get(), bytes);
    hash_->add(bytes);
    size_ += bytes.size();
}

Listed DirState::Incoming::done(Listed::Kind kind) {
    Listed listed{kind, size_, hash_->hex()};
    if (::rename(temporary_.c_str(), state_.object(listed.hash).c_str()) < 0)
        throw ErrnoError("files: keep: " + temporary_);
    temporary_.clear();
    return listed;
}

// Three lines a step: "@ MODE", "< LISTING", "> LISTING"; "- PATH" for what is absent.
void DirState::remember(const std::vector<AppliedStep>& steps) {
    std::string text;
    const auto line = [](const std::string& path, const std::optional<Listed>& entry) {
        return entry ? listing_line(path, *entry) : "- " + escaped(path) + "\n";
    };
    for (const AppliedStep& step : steps)
        text += "@ " + std::to_string(step.mode) + "\n< " + line(step.path, step.was) + "> " +
                line(step.path, step.now);
    write_file_atomic(folder_ + "/apply", text, 0600);
}

std::vector<AppliedStep> DirState::last_apply() const {
    std::vector<AppliedStep> steps;
    for (const std::string& line :
         split(read_file_if_exists(folder_ + "/apply", kMaxState).value_or(""), '\n')) {
        if (line.size() < 3) continue;
        const std::string rest = line.substr(2);
        if (line[0] == '@') {
            steps.emplace_back().mode = static_cast<mode_t>(std::strtoul(rest.c_str(), nullptr, 10) & 0777);
            continue;
        }
        if (steps.empty()) throw Error("files: " + folder_ + "/apply: cannot be read");
        std::optional<Listed>& entry = line[0] == '<' ? steps.back().was : steps.back().now;
        if (rest.starts_with("- ")) {
            steps.back().path = unescaped(rest.substr(2));
            continue;
        }
        auto [path, listed] = parse_listing_line(rest);
        steps.back().path = path;
        entry = listed;
    }
    return steps;
}

void DirState::forget_apply() {
    ::unlink((folder_ + "/apply").c_str());
}

std::string DirState::only_dir(const MachinePlace& place, const std::string& agent, std::string& why) {
    std::vector<std::string> dirs;
    const std::string all = files_folder(place, agent);
    for (const std::string& each : list_folder(all)) {
        const std::string dir = head(state_text(all + "/" + each), "dir");
        if (!dir.empty()) dirs.push_back(dir);
    }
    std::array<char, PATH_MAX> here;
    const std::string current = ::getcwd(here.data(), here.size()) ? here.data() : "";
    for (const std::string& dir : dirs)
        if (is_within(current, dir)) return dir;
    if (dirs.size() == 1) return dirs[0];
    why = dirs.empty() ? "no folder was sent to the agent `" + agent + "`; `peacrab ask --dir DIR …` does"
                       : "say which folder with --dir; sent were:";
    for (const std::string& dir : dirs) why += (dirs.size() > 1 ? "\n  " : "") + printable(dir);
    return "";
}

}  // namespace peacrab
