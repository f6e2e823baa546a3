// What is said goes to stderr; a diff, and what is copied to `-`, to stdout.
#include "file_commands.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <optional>

#include "agents.h"
#include "client.h"
#include "demo_plan.h"
#include "dir_work.h"
#include "error.h"
#include "files/tree.h"

namespace peacrab {
namespace {

struct FileOptions {
    MachineOptions machine;
    std::string agent, dir;  // "": the folder that was sent, when there is one alone or we are in it
};

FileOptions file_options(const Arguments& arguments) {
    FileOptions options{machine_options(arguments), arguments.value("agent", "main"), arguments.value("dir")};
    if (!is_agent_name(options.agent)) throw UsageError("--agent: an agent's name was expected");
    if (arguments.values.count("dir") && options.dir.empty()) throw UsageError("--dir: a folder was expected");
    if (!options.dir.empty() && !UniqueFd(::open(options.dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)))
        throw UsageError("--dir: " + printable(options.dir) + ": " + std::strerror(errno));
    return options;
}

void start_machine(const FileOptions& options) {
    const UpResult result = bring_up(options.machine, tell);
    if (!result.differs.empty()) throw Error(result.differs);
}

// What a command works with: the folder's state, and the way to its copy.
struct Desk {
    MachinePlace place;
    DirState state;
    FilesLink link;
    DirWork work;
    Desk(const FileOptions& options, const std::string& dir)
        : place(machine_place(options.machine.name)),
          state(place, options.agent, dir),
          link(place, options.agent),
          work(state, link, tell) {}
};

std::string dir_of(const FileOptions& options) {
    if (!options.dir.empty()) return options.dir;
    std::string why;
    const std::string dir =
        DirState::only_dir(machine_place(options.machine.name), options.agent, why);
    if (dir.empty()) throw Error(why);
    return dir;
}

std::unique_ptr<Desk> desk_of(const FileOptions& options) {
    const std::string dir = dir_of(options);
    auto desk = std::make_unique<Desk>(options, dir);
    if (!desk->state.was_sent())
        throw Error(printable(desk->state.dir()) + " was not sent to the agent `" + options.agent +
                    "`; `peacrab ask --dir DIR …` does");
    start_machine(options);
    return desk;
}

class FirstWords : public LineSource {
  public:
    FirstWords(std::unique_ptr<LineSource> lines, std::string words)
        : lines_(std::move(lines)), words_(std::move(words)) {}
    Input next(int fd, const std::function<Then()>& arrived) override {
        Input input = lines_->next(fd, arrived);
        const bool said = input.kind == Input::Kind::Line && !input.line.starts_with('/') &&
                          input.line.find_first_not_of(" \t") != std::string::npos;
        if (said && !words_.empty()) input.line += std::exchange(words_, "");
        return input;
    }
    bool print(std::string_view text) override { return lines_->print(text); }
    void set_prompt(Prompt prompt) override { lines_->set_prompt(prompt); }

  private:
    std::unique_ptr<LineSource> lines_;
    std::string words_;
};

bool confirmed(const std::string& question) {
    std::fprintf(stderr, "%s [y/N] ", question.c_str());
    char answer[16] = "";
    return std::fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

}  // namespace

void require_folder(const Arguments& arguments) { (void)file_options(arguments); }

std::string send_folder(const Arguments& arguments) {
    const FileOptions options = file_options(arguments);
    if (options.dir.empty()) return "";
    Desk desk(options, options.dir);
    if (!desk.work.send())
        throw Error("not all of " + printable(desk.state.dir()) + " is in the workspace; once that is "
                    "mended, run it again: only what is missing is sent");
    return kFolderLine + json::valid_utf8(printable(desk.state.name())) +
           "/ in your workspace, a copy of mine.]";
}

std::unique_ptr<LineSource> with_first_words(std::unique_ptr<LineSource> lines, const std::string& words) {
    return std::make_unique<FirstWords>(std::move(lines), words);
}

int run_diff(const Arguments& arguments) {
    const std::unique_ptr<Desk> desk = desk_of(file_options(arguments));
    const DirWork::Changes changes = desk->work.changes();
    if (!changes.guarded.empty())
        tell(changes.guarded[0] + " of the copy is not shown, and never brought home");
    const bool screen = ::isatty(STDOUT_FILENO) != 0;
    show_diff(stdout, desk->state, changes.list,
              {arguments.has("stat") ? DiffForm::What::Stat : DiffForm::What::Lines,
               screen ? DiffForm::Bytes::Escaped : DiffForm::Bytes::Raw});
    desk->state.save();
    return changes.list.empty() ? 0 : 1;
}

int run_apply(const Arguments& arguments) {
    using Hooks = DirWork::Hooks;
    using Run = DirWork::Run;
    const bool all = desk_of(file_options(arguments))
                         ->work.apply(arguments.has("hooks") ? Hooks::Allow : Hooks::Refuse,
                                      arguments.has("dry-run") ? Run::Dry : Run::Really);
    return all ? kOk : kFailure;
}

int run_undo(const Arguments& arguments) {
    const FileOptions options = file_options(arguments);
    const std::string dir = dir_of(options);
    {
        Desk desk(options, dir);
        if (desk.work.can_undo()) return desk.work.undo() ? 0 : 1;
    }
    const std::unique_ptr<Desk> desk = desk_of(options);
    const size_t count = desk->work.changes().list.size();
    if (count == 0) {
        tell("nothing was applied, and the agent has changed nothing");
        return 0;
    }
    const std::string what = "nothing was applied; what the agent `" + options.agent + "` changed in its copy of " +
                             printable(desk->state.dir()) + " (" + counted(count, "entry", "entries") + ")";
    if (!arguments.has("yes")) {
        if (!::isatty(STDIN_FILENO)) throw Error(what + " would be thrown away: say so with --yes");
        if (!confirmed("peacrab: " + what + ": throw it away?")) return 1;
    }
    return desk->work.discard() ? 0 : 1;
}

// --- cp

namespace {

struct Remote {
    std::string agent, path;
};

// "main:notes.txt". A host path with a colon is written ./a:b.
std::optional<Remote> remote(const std::string& word) {
    const size_t colon = word.find(':');
    if (colon == std::string::npos || !is_agent_name(word.substr(0, colon))) return std::nullopt;
    return Remote{word.substr(0, colon), word.substr(colon + 1)};
}

std::string last_part(std::string path) {
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    return path.substr(path.rfind('/') + 1);
}

void require_well(const FilesVerdict& verdict) {
    if (verdict.missing) throw Error("cp: there is no such file in the agent's workspace");
    if (!verdict.ok) throw Error("cp: " + (verdict.why.empty() ? "no reason was given" : verdict.why));
}

void say_copied(uint64_t files, uint64_t bytes, size_t skipped) {
    std::string text = "copied " + counted(files, "entry", "entries") + ", " + std::to_string(bytes) + " bytes";
    if (skipped) text += "; " + std::to_string(skipped) + " devices, sockets or pipes skipped";
    tell(text);
}

// Into memory that is a file: an archive says first how long it is.
UniqueFd spooled(int from, uint64_t& size) {
    UniqueFd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!file) throw ErrnoError("cp: a temporary file");
    size = read_through(from, GiB(1).count + 1, [&](std::string_view bytes) { write_all(file.get(), bytes); });
    if (size > GiB(1).count) throw Error("cp: more than 1 GiB");
    if (::lseek(file.get(), 0, SEEK_SET) < 0) throw ErrnoError("cp: a temporary file");
    return file;
}

void send_one(TarWriter& writer, int file, const std::string& path, const struct stat& info) {
    const auto size = static_cast<uint64_t>(info.st_size);
    writer.begin({TarEntry::Kind::File, path, "", info.st_mode & 0777, size, info.st_mtim.tv_sec});
    if (read_through(file, size, [&](std::string_view bytes) { writer.data(bytes); }) != size)
        throw Error("cp: " + printable(path) + ": it changed while it was read");
}

// Where it lands: the folder it is put into, and its name there.
std::pair<std::string, std::string> landing_of(const Remote& to, const std::string& own_name) {
    std::string path = to.path;
    const bool into = path.empty() || path.ends_with('/');
    while (path.ends_with('/')) path.pop_back();
    if (into) return {path, own_name};
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? std::pair{std::string(), path}
                                      : std::pair{path.substr(0, slash), path.substr(slash + 1)};
}

int copy_in(FilesLink& link, const std::string& from, const Remote& to) {
    struct stat info {};
    UniqueFd source;
    uint64_t size = 0;
    if (from == "-") {
        source = spooled(STDIN_FILENO, size);
        info.st_mode = S_IFREG | 0644;
        info.st_size = static_cast<off_t>(size);
    } else {
        source = UniqueFd(::open(from.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
        if (!source || ::fstat(source.get(), &info) < 0) throw ErrnoError("cp: " + printable(from));
        if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
            throw Error("cp: " + printable(from) + ": neither a file nor a folder");
    }
    if (from == "-" && (to.path.empty() || to.path.ends_with('/')))
        throw Error("cp: what is read from - needs a name: AGENT:PATH");
    const bool dots = last_part(from) == "." || last_part(from) == "..";
    const std::string name = last_part(dots ? real_path(from).value_or(from) : from);
    const std::pair<std::string, std::string> place = landing_of(to, name);
    const std::string& landed = place.second;
    WalkCount count{.entries = 1, .bytes = static_cast<uint64_t>(info.st_size)};
    const FilesVerdict verdict = link.put(place.first, [&](TarWriter& writer) {
        if (S_ISREG(info.st_mode)) return send_one(writer, source.get(), landed, info);
        writer.begin({TarEntry::Kind::Folder, landed, "", 0755, 0, info.st_mtim.tv_sec});
        count = walk_tree(source.get(), nullptr, RuleFiles::Leave, {}, [&](const WalkedEntry& entry) {
            const std::string path = landed + "/" + entry.path;
            const int64_t when = entry.info.st_mtim.tv_sec;
            if (entry.kind == Listed::Kind::Folder)
                return writer.begin({TarEntry::Kind::Folder, path, "", 0755, 0, when});
            if (entry.kind == Listed::Kind::Link)
                return writer.begin({TarEntry::Kind::Link, path, link_within(source.get(), entry.path), 0777, 0, when});
            struct stat now;
            const UniqueFd file = open_file_within(source.get(), entry.path, now);
            if (!file) throw Error("cp: " + printable(path) + ": it changed while it was read");
            send_one(writer, file.get(), path, now);
        });
    });
    require_well(verdict);
    say_copied(verdict.files, verdict.bytes, count.special);
    return 0;
}

class Landing {
  public:
    // `to`: an existing folder, into which it goes; or its new name.
    Landing(const std::string& to, const std::string& own_name) {
        struct stat info;
        const bool into = ::stat(to.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
        const size_t slash = to.find_last_not_of('/') == std::string::npos ? 0 : to.rfind('/');
        const std::string folder = into ? to : slash == std::string::npos ? "." : to.substr(0, slash + 1);
        name_ = into ? own_name : last_part(to);
        fd_ = UniqueFd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!fd_) throw ErrnoError("cp: " + printable(folder));
    }
    int fd() const { return fd_.get(); }
    const std::string& name() const { return name_; }

  private:
    UniqueFd fd_;
    std::string name_;
};

int copy_to_stdout(FilesLink& link, const Remote& from) {
    size_t files = 0;
    const FilesVerdict verdict = link.get(
        from.path, {},
        {.begin =
             [&](const TarEntry& entry) {
                 if (entry.kind != TarEntry::Kind::File || ++files > 1)
                     throw Error("cp: only one file can go to standard output");
             },
         .data = [](std::string_view bytes) { write_all(STDOUT_FILENO, bytes); }});
    require_well(verdict);
    return 0;
}

// A folder's entries come beneath it; a file comes alone, by its own name.
int copy_out(FilesLink& link, const Remote& from, const std::string& to) {
    if (to == "-") return copy_to_stdout(link, from);
    const std::string own_name = from.path.empty() ? "workspace" : last_part(from.path);
    const Landing landing(to, own_name);
    const mode_t mask = ::umask(022);
    ::umask(mask);
    TreeWriter writer(landing.fd(), TreeWriter::Sync::Never);
    std::optional<TreeWriter::File> file;
    size_t refused = 0;
    bool folder = false;
    const FilesVerdict verdict = link.get(
        from.path, {},
        {.begin =
             [&](const TarEntry& entry) {
                 const std::string path = folder ? landing.name() + "/" + entry.path : landing.name();
                 if (entry.kind == TarEntry::Kind::Folder) return writer.folder(path);
                 if (entry.kind == TarEntry::Kind::File)
                     return void(file.emplace(writer.create(path, entry.mode & ~mask, entry.mtime)));
                 if (!leads_out(entry.path, entry.target)) return writer.link(path, entry.target);
                 ++refused;
                 tell(printable(path) + ": left out: a link that could lead elsewhere, to " + printable(entry.target));
             },
         .data = [&](std::string_view bytes) { file->write(bytes); },
         .end =
             [&] {
                 if (file) file->commit();
                 file.reset();
             }},
        [&](FilesLink::Archive of) {
            folder = of == FilesLink::Archive::OfFolder;
            if (folder) writer.folder(landing.name());
        });
    require_well(verdict);
    say_copied(verdict.files - refused, verdict.bytes, verdict.skipped);
    return refused ? 1 : 0;
}

}  // namespace

int run_cp(const Arguments& arguments) {
    if (arguments.words.size() != 2) throw UsageError("cp: what to copy, and where to, were expected");
    const FileOptions options = file_options(arguments);
    const std::string &from = arguments.words[0], &to = arguments.words[1];
    const std::optional<Remote> source = remote(from), target = remote(to);
    if (!source == !target)
        throw Error("cp: one of the two is AGENT:PATH (a file of this machine with a colon: ./NAME)");
    start_machine(options);
    const MachinePlace place = machine_place(options.machine.name);
    FilesLink link(place, source ? source->agent : target->agent);
    return source ? copy_out(link, *source, to) : copy_in(link, from, *target);
}

}  // namespace peacrab
