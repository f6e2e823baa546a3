// An idle cell costs memory and, awake, whatever its leftovers do; a missing one costs a build at the
// next call. So it is frozen after a minute and removed after ten. The only state that a removal may
// lose is processes, and there are none: who has some stays.
#include "cells/warm.h"

#include <algorithm>
#include <cassert>

#include "error.h"

namespace peacrab {

WarmCell::WarmCell(Loop& loop, CellOptions options, WarmHooks hooks, WarmTimes times)
    : loop_(loop), options_(std::move(options)), hooks_(std::move(hooks)), times_(times) {}

WarmCell::~WarmCell() {
    remove();
}

void WarmCell::set_timer(Milliseconds span, std::function<void()> what) {
    if (timer_) loop_.cancel(timer_);
    timer_ = 0;
    if (!what) return;
    timer_ = loop_.after(span * std::max(1, options_.time_factor), [this, what = std::move(what)] {
        timer_ = 0;
        what();
    });
}

WarmCell::Stay WarmCell::enter() {
    if (paused_) throw Error("this agent is paused: nothing of it runs until it is resumed");
    if (!cell_) {
        outdated_ = false;
        cell_.emplace(options_);
        try {
            if (hooks_.built) hooks_.built(*cell_);
        } catch (...) {
            cell_.reset();
            throw;
        }
    }
    set_timer({}, nullptr);
    if (frozen_) cell_->thaw();
    frozen_ = false;
    ++stays_;
    return Stay(*this);
}

Cell WarmCell::throwaway(const CellOptions::Shown& shown) const {
    if (paused_) throw Error("this agent is paused: nothing of it runs until it is resumed");
    CellOptions options = options_;
    options.files = CellOptions::Files::Discarded;
    if (!shown.as.empty()) options.shown = shown;
    return Cell(options);
}

void WarmCell::leave() {
    assert(stays_ > 0);
    if (--stays_ == 0) rest();
}

void WarmCell::rest() {
    if (!cell_) return;
    if (outdated_) return set_timer(Milliseconds(0), [this] { remove(); });
    set_timer(times_.freeze, [this] {
        if (!frozen_) cell_->freeze();
        frozen_ = true;
        set_timer(times_.remove, [this] { remove(); });
    });
}

void WarmCell::pause(bool paused) {
    if (paused == paused_) return;
    paused_ = paused;
    if (!cell_) return;
    if (paused && !frozen_) cell_->freeze();
    if (!paused && stays_ > 0) cell_->thaw();
    frozen_ = paused || stays_ == 0;
}

void WarmCell::configure(const CellOptions& options) {
    options_ = options;
    outdated_ = cell_.has_value();
    if (stays_ == 0) rest();
}

void WarmCell::remove() {
    set_timer({}, nullptr);
    if (!cell_) return;
    assert(stays_ == 0);
    if (hooks_.going) hooks_.going();
    cell_.reset();
    frozen_ = false;
}

}  // namespace peacrab
