// When something is due: once, again and again after the same span, or by the five fields of cron(5) on somebody's
// wall clock. Pure but for the files of time zones.
//
// On a day that the clock is set: what is due at fixed hours is so once; of an hour that comes twice, the first time,
// and of one that is skipped, at the first moment behind it. Where the hour is `*` or `*/N` it follows the clock: in
// an hour that comes twice, twice.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace peacrab {

struct Timetable {
    enum class Kind { Once, Every, Cron } kind = Kind::Once;
    int64_t at = 0;    // Once: Unix seconds. Every: from where it counts
    int64_t span = 0;  // Every: seconds
    std::string fields;  // Cron, as written
    std::string zone;    // Cron
    // Cron: which minutes, hours, days, months, days of the week, as bits.
    std::array<uint64_t, 5> marks{};
    bool any_hour = false, any_day = false, any_weekday = false;
};

constexpr int64_t kShortest = 60;  // seconds between two

// As people and models write it: "0 9 * * 1-5", "@daily", "every 2h", "in 20m", "2026-12-24 18:00". Throws Error for
// the model; with no zone, when one is needed.
Timetable read_when(const std::string& when, const std::string& zone, int64_t now);
// As it is kept, and read back: "once 1795…", "every 7200 1795…", "cron 0 9 * * 1-5".
std::string kept_form(const Timetable& table);
Timetable read_kept(const std::string& kept, const std::string& zone);

std::optional<int64_t> next_after(const Timetable& table, int64_t moment);  // nothing: never again
// The newest that is due at `now`, of those from `due` on, and how many there are (at most 500 are counted).
struct Missed {
    int64_t newest = 0;
    int64_t count = 0;
};
Missed missed_until(const Timetable& table, int64_t due, int64_t now);
int64_t shortest_gap(const Timetable& table, int64_t now);     // seconds; 0: it is due once
int64_t times_a_month(const Timetable& table, int64_t now);    // in the next 30 days
std::string in_words(const Timetable& table);                  // "once", "every 2 h", "cron 0 9 * * 1-5"

// When somebody wants to be left alone, on their wall clock: "22:00-07:00".
struct QuietHours {
    int from = 0, until = 0;  // minutes of the day; the same: never
};
QuietHours read_quiet_hours(const std::string& text);  // "off": none; throws Error
// When they end, if it is so now.
std::optional<int64_t> quiet_until(const QuietHours& hours, const std::string& zone, int64_t now);

}  // namespace peacrab
