// One agent's cell over time: built at the first call, kept while somebody stays in it, frozen when
// nobody does, removed later; its files stay. Nobody who calls sees more of it than the time.
#pragma once

#include <functional>
#include <optional>

#include "cell.h"
#include "loop.h"

namespace peacrab {

struct WarmHooks {
    std::function<void(Cell&)> built;  // may throw: then it is not used
    std::function<void()> going;       // it is still there
};
struct WarmTimes {  // times the options' factor
    Milliseconds freeze = Seconds(60);
    Milliseconds remove = Seconds(600);
};

class WarmCell {
  public:
    WarmCell(Loop& loop, CellOptions options, WarmHooks hooks = {}, WarmTimes times = {});
    WarmCell(const WarmCell&) = delete;
    ~WarmCell();

    // While one is held the cell is there and awake.
    class Stay {
      public:
        Stay(Stay&& other) noexcept : home_(std::exchange(other.home_, nullptr)) {}
        ~Stay() {
            if (home_) home_->leave();
        }
        Cell& cell() const { return *home_->cell_; }

      private:
        friend class WarmCell;
        explicit Stay(WarmCell& home) : home_(&home) {}
        WarmCell* home_;
    };
    // Throws Error: it cannot be built and why, or the agent is paused.
    Stay enter();
    // As enter(), but gone with what it holds; nothing of the agent is in it. Counts within its limits:
    // to be called, and kept, while one stays.
    // `shown`: something else than the agent is shown.
    Cell throwaway(const CellOptions::Shown& shown = {}) const;

    Cell* present() { return cell_ ? &*cell_ : nullptr; }
    const CellOptions& options() const { return options_; }
    void pause(bool paused);  // frozen with all that runs in it
    bool paused() const { return paused_; }
    // For the next one that is built; the present one goes as soon as nobody stays.
    void configure(const CellOptions& options);
    void remove();  // at once; who stays must have left

  private:
    void leave();
    void rest();
    void set_timer(Milliseconds span, std::function<void()> what);

    Loop& loop_;
    CellOptions options_;
    WarmHooks hooks_;
    WarmTimes times_;
    std::optional<Cell> cell_;
    size_t stays_ = 0;
    bool paused_ = false;
    bool frozen_ = false;
    bool outdated_ = false;
    Loop::TimerId timer_ = 0;
};

}  // namespace peacrab
