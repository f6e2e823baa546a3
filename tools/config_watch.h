// Says when the person's configuration or key store has changed, so that a model or a key set while
// a machine runs works at the next message.
#pragma once

#include <functional>

#include "loop.h"
#include "os.h"

namespace peacrab {

class ConfigWatch {
  public:
    // `changed` is called from the loop, also when nothing of weight changed. Throws ErrnoError.
    ConfigWatch(Loop& loop, std::function<void()> changed);
    ~ConfigWatch() { loop_.forget(inotify_.get()); }
    ConfigWatch(const ConfigWatch&) = delete;
    ConfigWatch& operator=(const ConfigWatch&) = delete;

  private:
    void add_folders();
    Loop& loop_;
    UniqueFd inotify_;
};

}  // namespace peacrab
