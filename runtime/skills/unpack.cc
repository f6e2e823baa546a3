// Both sides of the unpacking. The child makes folders and regular files, and nothing else: no link, so that
// no path leads out of its folder, and no owner. The parent believes names and sizes only as far as it has
// looked at them.
#include "skills/unpack.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <map>

#include "audit.h"
#include "error.h"
#include "json.h"
#include "landlock.h"
#include "protocols/tar.h"
#include "skills/folders.h"

namespace peacrab {
namespace {

constexpr size_t kMostWarnings = 50;

class Unpacker {
  public:
    // Throws Error for what is no such archive.
    json::Value run(int archive) {
        TarLimits limits;
        limits.name = 1024;
        limits.depth = 10;
        limits.entries = kMaxPackedFiles + 2;
        limits.file = limits.total = kMaxPacked;
        TarReader tar({[this](const TarEntry& entry) { begin(entry); },
                       [this](std::string_view bytes) { data(bytes); }, [this] { end(); }},
                      limits);
        std::array<char, 65536> bytes;
        std::string all;  // for its name
        while (!tar.ended()) {
            const size_t n = read_some(archive, bytes).value_or(0);
            if (n == 0) throw Error("the archive breaks off");
            const std::string_view part(bytes.data(), n);
            if (all.size() + n > 2 * kMaxPacked.count) throw Error("the archive is too large");
            all.append(part.substr(0, tar.feed(part)));
        }
        return report(sha256_hex(all).substr(0, 8));
    }

  private:
    void begin(const TarEntry& entry) {
        text_ = nullptr;
        file_.reset();
        if (entry.kind == TarEntry::Kind::Link || entry.path.empty()) return;
        if (entry.path == "rows.json" && entry.kind == TarEntry::Kind::File && entry.size <= KiB(64).count) {
            text_ = &rows_;
            return;
        }
        const std::vector<std::string> parts = split(entry.path, '/');
        if (parts[0] != "skills" && parts[0] != "hooks") throw Error("the archive holds something else");
        programs_ = programs_ || parts[0] == "hooks";
        if (entry.kind == TarEntry::Kind::Folder) return make_folder(entry.path);
        make_folder(entry.path.substr(0, entry.path.rfind('/')));
        const mode_t mode = entry.mode & 0100 ? 0755 : 0644;
        file_ = UniqueFd(::open(entry.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
        if (!file_) throw ErrnoError(printable(entry.path));
        if (parts.size() == 3 && parts[0] == "skills" && (parts[2] == "SKILL.md" || parts[2] == "skill.md"))
            note_skill(parts[1]);
    }

    // In the order of the archive: what comes first is the last to be left out.
    void note_skill(const std::string& name) {
        if (texts_.emplace(name, "").second) order_.push_back(name);
        text_ = &texts_[name];
        text_->clear();
    }

    static void make_folder(const std::string& path) {
        for (size_t end = 0; end != std::string::npos;) {
            end = path.find('/', end + 1);
            const std::string part = path.substr(0, end);
            if (::mkdir(part.c_str(), 0755) < 0 && errno != EEXIST) throw ErrnoError(printable(part));
        }
    }

    void data(std::string_view bytes) {
        if (file_) write_all(file_.get(), bytes);
        if (text_ && text_->size() <= kMaxSkillText) text_->append(bytes);
    }

    void end() {
        file_.reset();
        text_ = nullptr;
    }

    json::Value report(const std::string& id) {
        const std::vector<Hook> hooks =
            rows_.empty() ? std::vector<Hook>() : hooks_from(json::parse(rows_, {KiB(64).count, 4}));
        json::Value skills = json::Value::array(), warnings = json::Value::array();
        for (const std::string& name : order_) {
            try {
                if (skills.items().size() >= kMaxSkills) throw Error("there are too many");
                const Skill skill = read_skill(name, texts_[name]);
                skills.push(json::Value::object({{"name", skill.name}, {"description", skill.description}}));
            } catch (const Error& error) {
                if (warnings.items().size() < kMostWarnings)
                    warnings.push("skill " + printable(name.substr(0, 80)) + ": left out: " + error.what());
            }
        }
        return json::Value::object(
            {{"ok", true}, {"id", id}, {"programs", programs_}, {"hooks", hooks_to_json(hooks)}, {"skills", skills}, {"warnings", warnings}});
    }

    UniqueFd file_;
    std::string* text_ = nullptr;  // of the SKILL.md that is being read
    std::map<std::string, std::string> texts_;
    std::vector<std::string> order_;
    bool programs_ = false;
    std::string rows_;
};

struct ChildEnds {
    int archive;
    int answer;
    int program;
};

// Between fork and exec. Its exit code is all it can say.
[[noreturn]] void run_child(const ChildEnds& ends, const JailOptions& jail, const JailFilter& filter,
                            char* const* arguments) noexcept {
    const int archive = ::fcntl(ends.archive, F_DUPFD_CLOEXEC, 20);
    const int answer = ::fcntl(ends.answer, F_DUPFD_CLOEXEC, 20);
    const int program = ::fcntl(ends.program, F_DUPFD_CLOEXEC, 20);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (::dup2(archive, 0) < 0 || ::dup2(answer, 1) < 0 || ::dup2(null, 2) < 0) ::_exit(126);
    // Out of the warden's group, whose memory is kept for it, where there are such.
    const int group = ::open("/run/cgroup/turns/cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (group >= 0 && ::write(group, "0", 1) != 1) ::_exit(126);
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) ::_exit(126);
    if (enter_jail(jail, filter)) ::_exit(126);
    char* const none[] = {nullptr};
    ::execveat(program, "", arguments, none, AT_EMPTY_PATH);
    ::_exit(127);
}

}  // namespace

int skills_unpack_main() {
    if (::prctl(PR_SET_DUMPABLE, 0) < 0 || !forbid_new_code()) return 125;
    ::umask(022);
    json::Value answer;
    try {
        answer = Unpacker().run(STDIN_FILENO);
    } catch (const Error& error) {
        answer = json::Value::object({{"ok", false}, {"error", error.what()}});
    }
    try {
        write_all(STDOUT_FILENO, json::dump(answer));
    } catch (const Error&) {
        return 1;
    }
    return 0;
}

Unpacking start_unpack(const std::optional<Ids>& ids, const std::string& folder, const UniqueFd& archive) {
    const JailFilter filter = JailFilter::compile(JailClass::File);
    const UniqueFd program(::open("/proc/self/exe", O_PATH | O_CLOEXEC));
    if (!program) throw ErrnoError("skills: our own program");
    LandlockRules rules;
    rules.write = {folder};
    // What a program that is not static is loaded from.
    rules.execute = {"/usr", "/lib", "/lib64", "/etc/ld.so.cache"};
    rules.program = program.get();
    const UniqueFd paths = landlock_ruleset(rules, 1);
    Pipe answer = Pipe::make();
    JailOptions jail;
    jail.ids = ids;
    jail.directory = folder.c_str();
    jail.max_file_bytes = kMaxPacked.count;
    jail.landlock = paths.get();
    std::string name = "peacrabd", verb = "skills-unpack";
    char* const arguments[] = {name.data(), verb.data(), nullptr};
    const ChildEnds ends{archive.get(), answer.write.get(), program.get()};
    const pid_t pid = ::fork();
    if (pid < 0) throw ErrnoError("skills: fork");
    if (pid == 0) run_child(ends, jail, filter, arguments);
    set_nonblocking(answer.read.get());
    return {Pidfd::of_child(pid), std::move(answer.read)};
}

Unpacked read_unpacked(std::string_view answer) {
    if (answer.empty()) throw Error("skills: the unpacking ended without a word");
    const json::Value said = json::parse(answer, {kMaxUnpackAnswer, 4});
    const auto bounded = [](const std::string& text, size_t most) {
        return printable(json::valid_utf8(text.substr(0, most)));
    };
    if (!said.flag("ok")) throw Error("skills: " + bounded(said.text("error"), 500));
    Unpacked out;
    out.id = said.text("id");
    if (out.id.size() != 8 || out.id.find_first_not_of("0123456789abcdef") != std::string::npos)
        throw Error("skills: the unpacking gave no name");
    out.programs = said.flag("programs");
    if (const json::Value* hooks = said.find("hooks")) out.hooks = hooks_from(*hooks);
    if (const json::Value* skills = said.find("skills"))
        for (const json::Value& skill : skills->items()) {
            const std::string description = bounded(skill.text("description"), kMaxDescription);
            if (out.skills.size() >= kMaxSkills || !is_skill_name(skill.text("name")) ||
                description.find('\n') != std::string::npos)
                throw Error("skills: the unpacking named something else");
            out.skills.push_back({skill.text("name"), description});
        }
    if (const json::Value* warnings = said.find("warnings"))
        for (const json::Value& warning : warnings->items())
            if (out.warnings.size() < kMostWarnings) out.warnings.push_back(bounded(warning.as_string(), 500));
    return out;
}

}  // namespace peacrab
