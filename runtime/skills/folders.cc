// A walk down folders of the person's own. They are trusted, what lies in them less so: somebody else's
// repository with a link to a key, a thousand files by mistake. Must not read what it does not pack.
#include "skills/folders.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "audit.h"
#include "config.h"
#include "error.h"
#include "os.h"
#include "protocols/tar.h"
#include "skills/skill.h"

namespace peacrab {
namespace {

constexpr int kMaxDepth = 6;

std::string our_program() {
    char path[PATH_MAX];
    const ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
    return n > 0 ? std::string(path, static_cast<size_t>(n)) : "";
}

// Nobody but us and root may have put something there.
bool is_trusted_folder(const std::string& path) {
    struct stat info;
    return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) &&
           (info.st_uid == 0 || info.st_uid == ::geteuid()) && (info.st_mode & S_IWOTH) == 0;
}

// Installed as bin/peacrab, or built as build/tools/peacrab.
std::string bundled_skills() {
    const std::string program = our_program();
    const size_t folder = program.rfind('/');
    if (folder == std::string::npos) return {};
    const std::string here = program.substr(0, folder);
    if (const std::string with_us = here + "/../share/peacrab/skills"; is_trusted_folder(with_us)) return with_us;
    const std::string checkout = here + "/../..";
    const bool ours = ::access((checkout + "/runtime/skills").c_str(), F_OK) == 0;
    return ours && is_trusted_folder(checkout) && is_trusted_folder(checkout + "/skills") ? checkout + "/skills" : "";
}

class Walk {
  public:
    explicit Walk(Pack& pack) : pack_(pack) {}

    // Takes all of `from`, or nothing of it. `to`: its name in the archive.
    void take(const std::string& from, const std::string& to) {
        const size_t files = pack_.files.size();
        const uint64_t bytes = bytes_;
        try {
            folder(from, to, 0);
        } catch (const Error&) {
            pack_.files.resize(files);
            bytes_ = bytes;
            throw;
        }
    }
    std::string mark() const { return sha256_hex(marks_); }

  private:
    void folder(const std::string& from, const std::string& to, int depth) {
        if (depth > kMaxDepth) throw Error("folders in it lie deeper than " + std::to_string(kMaxDepth));
        pack_.folders.push_back(from);
        add({from, to, true, true});
        for (const std::string& name : list_folder(from)) {
            if (name == ".git" || name == "node_modules") continue;
            entry(from + "/" + name, to + "/" + name, depth);
        }
    }

    void entry(const std::string& from, const std::string& to, int depth) {
        struct stat info;
        if (::lstat(from.c_str(), &info) < 0) return;  // gone meanwhile
        if (S_ISDIR(info.st_mode)) return folder(from, to, depth + 1);
        if (!S_ISREG(info.st_mode)) return pack_.warnings.push_back(printable(to) + ": left out: no file (links are not followed)");
        bytes_ += static_cast<uint64_t>(info.st_size);
        if (bytes_ > kMaxPacked.count) throw Error("all files together are more than 8 MiB");
        add({from, to, false, (info.st_mode & S_IXUSR) != 0});
        marks_ += from + '\0' + to + '\0' + std::to_string(info.st_size) + ' ' + std::to_string(info.st_ino) + ' ' +
                  std::to_string(info.st_mode) + ' ' + std::to_string(info.st_ctim.tv_sec) + '.' +
                  std::to_string(info.st_ctim.tv_nsec) + '\n';
    }

    void add(Pack::File file) {
        if (pack_.files.size() >= kMaxPackedFiles)
            throw Error("all files together are more than " + std::to_string(kMaxPackedFiles));
        (void)tar_path(file.to);  // refused here, not where it is unpacked with all others
        marks_ += file.to + '\n';
        pack_.files.push_back(std::move(file));
    }

    Pack& pack_;
    std::string marks_;
    uint64_t bytes_ = 0;
};

bool is_real_folder(const std::string& path) {
    struct stat info;
    return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

void take_skills(Pack& pack, Walk& walk, const std::string& in, bool own) {
    if (in.empty()) return;
    pack.folders.push_back(in);
    for (const std::string& name : list_folder(in)) {
        const std::string from = in + "/" + name, shown = printable(name);
        struct stat info;
        if (::lstat(from.c_str(), &info) < 0 || S_ISREG(info.st_mode) || name == ".git") continue;
        const auto same = [&](const Pack::Found& found) { return found.name == name; };
        if (std::any_of(pack.skills.begin(), pack.skills.end(), same)) continue;
        try {
            if (!is_real_folder(from)) throw Error("it is no folder (links are not followed)");
            if (!is_skill_name(name)) throw Error("its name cannot be used: letters, digits, `-`, `_` and `.`");
            if (pack.skills.size() >= kMaxSkills) throw Error("there are more than " + std::to_string(kMaxSkills));
            walk.take(from, "skills/" + name);
            pack.skills.push_back({name, from, own});
        } catch (const Error& error) {
            pack.warnings.push_back("skills/" + shown + ": left out: " + error.what());
        }
    }
}

std::string contents(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    if (!file) throw ErrnoError("skills: " + printable(path));
    std::string text = read_all(file.get(), kMaxPacked.count);
    if (text.size() > kMaxPacked.count) throw Error("skills: " + printable(path) + ": it grows while it is read");
    return text;
}

}  // namespace

SkillPlaces skill_places() {
    return {config_folder() + "/skills", bundled_skills(), config_folder() + "/hooks"};
}

Pack find_pack(const SkillPlaces& places, const std::vector<Hook>& hooks) {
    Pack pack;
    if (!hooks.empty()) pack.rows = json::dump(hooks_to_json(hooks));
    Walk walk(pack);
    try {
        if (is_real_folder(places.hooks)) walk.take(places.hooks, "hooks");
    } catch (const Error& error) {
        pack.warnings.push_back(std::string("hooks: left out: ") + error.what());
    }
    take_skills(pack, walk, places.own, true);
    take_skills(pack, walk, places.bundled, false);
    pack.mark = walk.mark() + sha256_hex(pack.rows);
    return pack;
}

void write_pack(const Pack& pack, const std::function<void(std::string_view)>& out) {
    TarWriter tar(out);
    if (!pack.rows.empty()) {
        TarEntry rows;
        rows.path = "rows.json";
        rows.mode = 0644;
        rows.size = pack.rows.size();
        tar.begin(rows);
        tar.data(pack.rows);
    }
    for (const Pack::File& file : pack.files) {
        TarEntry entry;
        entry.kind = file.folder ? TarEntry::Kind::Folder : TarEntry::Kind::File;
        entry.path = file.to;
        entry.mode = file.executable ? 0755 : 0644;
        const std::string text = file.folder ? std::string() : contents(file.from);
        entry.size = text.size();
        tar.begin(entry);
        if (!file.folder) tar.data(text);
    }
    tar.finish();
}

}  // namespace peacrab
