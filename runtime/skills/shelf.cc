// Steps of a new version: a fresh folder, the child that fills it, two renames. What is to go is renamed first,
// so that a cut-off removal is never half a version. Must not look into a file of it.
#include "skills/shelf.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "cell.h"
#include "error.h"
#include "json.h"

namespace peacrab {
namespace {

constexpr size_t kMostVersions = 8;  // however long turns run

void remove_folder(const std::string& path) {
    const UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (folder) (void)delete_below(folder.get());
    (void)::rmdir(path.c_str());
}

void empty_folder(const std::string& path, const std::string& kept) {
    for (const std::string& name : list_folder(path))
        if (name != kept) remove_folder(path + "/" + name);
}

// What take_now() keeps for a later run: the mark, and what the unpacking said.
std::string kept_file(const std::string& folder) {
    return folder + "/kept.json";
}

// Gives what is new; false: there will be no more.
bool read_more(Unpacking& unpacking, std::string& said) {
    std::array<char, 65536> bytes;
    for (;;) {
        const std::optional<size_t> n = read_some(unpacking.answer.get(), bytes);
        if (!n) return true;
        if (*n == 0 || said.size() + *n > kMaxUnpackAnswer) return false;
        said.append(bytes.data(), *n);
    }
}

}  // namespace

std::optional<Shelf::Kept> Shelf::read_kept(const std::string& folder) {
    try {
        const std::optional<std::string> text = read_file_if_exists(kept_file(folder), Bytes{2 * kMaxUnpackAnswer});
        if (!text) return std::nullopt;
        const json::Value kept = json::parse(*text, {2 * kMaxUnpackAnswer, 3});
        if (kept.text("version") != kVersion) return std::nullopt;
        return Kept{kept.text("mark"), read_unpacked(kept.text("said"))};
    } catch (const Error&) {  // it is unpacked anew
        return std::nullopt;
    }
}

bool moved(const std::string& from, const std::string& to) {
    if (::rename(from.c_str(), to.c_str()) == 0) return true;
    // The same contents are there already.
    return errno == EEXIST || errno == ENOTEMPTY;
}

Shelf::Shelf(Loop& loop, Options options)
    : loop_(loop), options_(std::move(options)), kept_(read_kept(options_.folder)) {
    make_directories(options_.folder, 0755);
    for (const char* part : {"/skills", "/hooks", "/new"}) {
        make_directories(options_.folder + part, 0755);
        if (options_.use == Options::Use::Alone) empty_folder(options_.folder + part, kept_ ? kept_->unpacked.id : "");
    }
    if (options_.ids && (::chmod(options_.folder.c_str(), 0711) < 0 ||
                         ::chmod((options_.folder + "/hooks").c_str(), 0700) < 0))
        throw ErrnoError("skills: " + options_.folder);
}

Shelf::~Shelf() {
    for (const Job& job : jobs_) {
        if (job.timer) loop_.cancel(job.timer);
        loop_.forget(job.unpacking.answer.get());
    }
}

Shelf::Job Shelf::begin(const UniqueFd& archive) {
    Job job;
    job.number = next_++;
    job.folder = options_.folder + "/new/" + random_hex(8);
    if (::mkdir(job.folder.c_str(), 0755) < 0) throw ErrnoError("skills: a new folder");
    if (options_.ids && ::chown(job.folder.c_str(), options_.ids->uid, options_.ids->gid) < 0)
        throw ErrnoError("skills: a new folder");
    job.unpacking = start_unpack(options_.ids, job.folder, archive);
    return job;
}

void Shelf::accept(const Job& job, Unpacked unpacked) {
    for (const std::string part : {"/skills", "/hooks"}) {
        const std::string from = job.folder + part;
        if (::mkdir(from.c_str(), 0755) < 0 && errno != EEXIST) throw ErrnoError("skills: a new folder");
        if (!moved(from, options_.folder + part + "/" + unpacked.id)) throw ErrnoError("skills: the new version");
    }
    put_in_force(job.number, std::move(unpacked));
}

void Shelf::put_in_force(uint64_t number, Unpacked unpacked) {
    std::erase(versions_, unpacked.id);
    versions_.push_back(unpacked.id);
    now_ = std::move(unpacked);
    newest_ = number;
    known_ = true;
    for (const std::string& warning : now_.warnings) log(LogLevel::Info, warning);
}

// Of one that has said all. "" or why the version before it stays.
std::string Shelf::finish(Job& job) {
    std::string why;
    try {
        job.unpacking.child.kill_and_reap();
        Unpacked unpacked = read_unpacked(job.said);
        if (job.number > newest_) accept(job, std::move(unpacked));
    } catch (const Error& error) {
        why = error.what();
        log(LogLevel::Error, why);
    }
    remove_folder(job.folder);
    tidy();
    return why;
}

void Shelf::take(UniqueFd archive, std::function<void(const std::string&)> done) {
    try {
        Job& job = jobs_.emplace_back(begin(archive));
        job.done = std::move(done);
        const uint64_t number = job.number;
        loop_.watch(job.unpacking.answer.get(), POLLIN, [this, number](short) { heard(number); });
        job.timer = loop_.after(options_.limit, [this, number] { end(number, "skills: they did not arrive in time"); });
    } catch (const Error& error) {
        // Not before this call has returned.
        loop_.after(Milliseconds(0), [done, why = std::string(error.what())] { done(why); });
    }
}

bool Shelf::reuse(const std::string& mark) {
    if (!kept_ || mark.empty() || kept_->mark != mark) return false;
    for (const char* part : {"/skills/", "/hooks/"})
        if (::access((options_.folder + part + kept_->unpacked.id).c_str(), X_OK) < 0) return false;
    put_in_force(next_++, std::move(kept_->unpacked));
    kept_.reset();
    return true;
}

std::string Shelf::take_now(UniqueFd archive, const std::string& mark) {
    try {
        Job job = begin(archive);
        archive.reset();
        const Deadline deadline = Deadline::in(options_.limit);
        while (read_more(job.unpacking, job.said)) {
            pollfd one{job.unpacking.answer.get(), POLLIN, 0};
            if (::poll(&one, 1, deadline.poll_timeout()) < 0 && errno != EINTR) throw ErrnoError("skills: poll");
            if (deadline.passed()) throw Error("skills: they could not be unpacked in time");
        }
        std::string why = finish(job);
        if (why.empty() && !mark.empty())
            write_file_atomic(kept_file(options_.folder), json::dump(json::Value::object(
                {{"version", kVersion}, {"mark", mark}, {"said", job.said}})), 0600);
        return why;
    } catch (const Error& error) {
        return error.what();
    }
}

void Shelf::heard(uint64_t number) {
    for (Job& job : jobs_)
        if (job.number == number && read_more(job.unpacking, job.said)) return;
    end(number, "");
}

void Shelf::end(uint64_t number, const std::string& failure) {
    const auto found =
        std::find_if(jobs_.begin(), jobs_.end(), [&](const Job& job) { return job.number == number; });
    if (found == jobs_.end()) return;
    Job job = std::move(*found);
    jobs_.erase(found);
    loop_.cancel(job.timer);
    loop_.forget(job.unpacking.answer.get());
    if (!failure.empty()) job.said.clear();
    const std::string why = finish(job);
    job.done(failure.empty() ? why : failure);
}

void Shelf::tidy() {
    const bool idle = !options_.idle || options_.idle();
    while (versions_.size() > (idle ? 1 : kMostVersions)) {
        for (const char* part : {"/skills/", "/hooks/"}) {
            const std::string gone = options_.folder + "/new/" + random_hex(8);
            if (::rename((options_.folder + part + versions_.front()).c_str(), gone.c_str()) == 0) remove_folder(gone);
        }
        versions_.erase(versions_.begin());
    }
}

std::string Shelf::catalogue(const AgentSettings& agent) const {
    std::vector<std::string> names;
    if (agent.skills) names = split(*agent.skills, ' ');
    std::vector<Skill> has;
    for (const Skill& skill : now_.skills)
        if (!agent.skills || std::find(names.begin(), names.end(), skill.name) != names.end()) has.push_back(skill);
    return catalogue_of(has, (options_.seen.empty() ? skills_folder() : options_.seen) + "/" + now_.id).text;
}

HookSet Shelf::hooks() const {
    if (!known_) return {{}, {}, "the operator's hooks have not arrived; the person can find out why"};
    return {now_.hooks, now_.programs ? options_.folder + "/hooks/" + now_.id : "", {}};
}

}  // namespace peacrab
