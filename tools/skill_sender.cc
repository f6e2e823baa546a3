// The stream is opened at once, and filled by a child: what is said from then on waits in the guest until all of
// it is there. Must not read a file of it here. Source: inotify(7).
#include "skill_sender.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "config.h"
#include "error.h"

namespace peacrab {
namespace {

constexpr int kStream = 3;

[[noreturn]] void pack_into(int stream, const Pack& pack) noexcept {
    // Nothing else of ours: a socket held here would keep its other end from seeing ours close.
    if (::dup2(stream, kStream) < 0 || ::close_range(kStream + 1, ~0U, 0) < 0) ::_exit(1);
    try {
        write_pack(pack, [](std::string_view bytes) { write_all(kStream, bytes); });
    } catch (const std::exception&) {  // an archive that breaks off says it; the next change brings the next
        ::_exit(1);
    }
    ::_exit(0);
}

}  // namespace

SkillSender::SkillSender(Loop& loop, SkillPlaces places) : loop_(loop), places_(std::move(places)) {
    inotify_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!inotify_) throw ErrnoError("skills: watch");
    loop_.watch(inotify_.get(), POLLIN, [this](short) { look(); });
}

SkillSender::~SkillSender() {
    clear();
    loop_.forget(inotify_.get());
}

void SkillSender::clear() {
    link_ = nullptr;
    for (const Pidfd& packer : packers_) loop_.forget(packer.fd());
    packers_.clear();
}

void SkillSender::attached(LinkPort& link) {
    link_ = &link;
    sent_.clear();
    look();
}

void SkillSender::look() {
    std::array<char, 4096> events;
    while (::read(inotify_.get(), events.data(), events.size()) > 0) {
    }
    if (!link_) return;
    try {
        hooks_ = load_config(config_file()).hooks;
    } catch (const Error& error) {  // the last good one stays; without one nothing is sent, and no call is made
        log(LogLevel::Error, error.what());
    }
    if (!hooks_) return;
    // Watched first: what changes while it is looked at is an event.
    Pack pack = find_pack(places_, *hooks_);
    for (const std::string& folder : pack.folders)
        ::inotify_add_watch(inotify_.get(), folder.c_str(),
                            IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB);
    // Where they would be made.
    ::inotify_add_watch(inotify_.get(), config_folder().c_str(), IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE);
    pack = find_pack(places_, *hooks_);
    if (pack.mark == sent_) return;
    for (const std::string& warning : pack.warnings) log(LogLevel::Info, warning);
    try {
        send(pack);
        sent_ = pack.mark;
    } catch (const Error& error) {
        log(LogLevel::Error, error.what());
    }
}

void SkillSender::send(const Pack& pack) {
    SocketPair pair = SocketPair::stream();
    link_->join(link_->open("skills", pack.rows.empty() ? kNoHooks : ""), std::move(pair.ours));
    Pipe alone = Pipe::make();
    const pid_t pid = ::fork();
    if (pid < 0) throw ErrnoError("skills: fork");
    if (pid == 0) pack_into(pair.theirs.get(), pack);
    // Until it has let go of ours: it must not hold the machine's lock when we are killed just now.
    alone.write.reset();
    char byte;
    (void)read_some(alone.read.get(), {&byte, 1});
    packers_.push_back(Pidfd::of_child(pid));
    const int fd = packers_.back().fd();
    loop_.watch(fd, POLLIN, [this, fd](short) {
        loop_.forget(fd);
        std::erase_if(packers_, [fd](const Pidfd& packer) { return packer.fd() == fd; });
    });
}

}  // namespace peacrab
