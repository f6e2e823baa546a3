// inotify on the two folders. Folders and not files: a file that is replaced is another file. Must
// not read what changed; that is its listener's. Source: inotify(7).
#include "config_watch.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>

#include "config.h"
#include "error.h"
#include "config/secrets.h"

namespace peacrab {

ConfigWatch::ConfigWatch(Loop& loop, std::function<void()> changed) : loop_(loop) {
    make_directories(config_folder());
    inotify_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!inotify_) throw ErrnoError("config: watch");
    add_folders();
    loop_.watch(inotify_.get(), POLLIN, [this, changed = std::move(changed)](short) {
        std::array<char, 4096> events;
        while (::read(inotify_.get(), events.data(), events.size()) > 0) {
        }
        add_folders();
        changed();
    });
}

// Again at each change: the folder of the keys may have been made only now. Watching one twice is
// the same watch.
void ConfigWatch::add_folders() {
    constexpr uint32_t kChanges =
        IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE;
    for (const std::string& folder : {config_folder(), SecretStore::default_directory()})
        ::inotify_add_watch(inotify_.get(), folder.c_str(), kChanges);
}

}  // namespace peacrab
