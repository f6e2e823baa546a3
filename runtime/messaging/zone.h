// What a wall clock somewhere shows at a moment, and the moment at which it shows something. By libc and its files of
// time zones: while a WallClock lives, TZ of this process is another's, so that only a process of one thread may
// have one. Source: tzfile(5), zic(8).
#pragma once

#include <cstdint>
#include <string>

namespace peacrab {

struct LocalTime {
    int64_t day = 0;  // since 1970-01-01
    int hour = 0, minute = 0;
    int64_t offset = 0;  // seconds east of UTC
};

struct Date {
    int64_t year = 0;
    int month = 0, day = 0;  // from 1
};

int64_t day_of(const Date& date);  // since 1970-01-01
Date date_of(int64_t day);
int weekday_of(int64_t day);  // 0: Sunday

std::string quoted(const std::string& text);  // what somebody wrote, short and on one line: "\"…\""

class WallClock {
  public:
    explicit WallClock(const std::string& zone);  // "Europe/Berlin", "UTC"; throws Error: there is none of this name
    ~WallClock();
    WallClock(const WallClock&) = delete;

    LocalTime at(int64_t moment) const;  // Unix seconds
    // When it shows this. Of an hour that comes twice: the first. What it never shows, since the hour is skipped:
    // the first moment behind the gap.
    int64_t moment(int64_t day, int minute_of_day) const;
    std::string words(int64_t moment) const;  // "Tue 24 Nov 2026 09:00"

  private:
    std::string before_;  // TZ
    bool was_set_ = false;
};

}  // namespace peacrab
