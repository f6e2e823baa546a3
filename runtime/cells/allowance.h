// A bucket: so many at once, then as many a second as time pays for.
#pragma once

#include <algorithm>
#include <chrono>

namespace peacrab {

class Allowance {
  public:
    Allowance(double most, double a_second) : most_(most), a_second_(a_second) {}

    // False: there is none left now.
    bool take() {
        const auto now = std::chrono::steady_clock::now();
        const double passed = std::chrono::duration<double>(now - paid_).count();
        spent_ = std::max(0.0, spent_ - passed * a_second_);
        paid_ = now;
        if (spent_ > most_ - 1) return false;
        spent_ += 1;
        return true;
    }
    void give_back() { spent_ -= 1; }  // what was taken was not used

  private:
    double most_, a_second_;
    double spent_ = 0;  // not yet paid for by time
    std::chrono::steady_clock::time_point paid_ = std::chrono::steady_clock::now();
};

}  // namespace peacrab
