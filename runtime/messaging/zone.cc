// A name is checked before libc sees it: libc takes any path, and takes what it does not know for UTC. Dates are
// reckoned by hand, since mktime() says nothing of hours that come twice or never.
#include "messaging/zone.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "error.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr int64_t kDay = 86'400;

std::string zone_folder() {
    const char* const told = ::getenv("TZDIR");
    return told && *told ? told : "/usr/share/zoneinfo";
}

bool well_formed(const std::string& zone) {
    if (zone.empty() || zone.size() > 64 || zone[0] == '/' || zone[0] == '-') return false;
    return std::all_of(zone.begin(), zone.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' || c == '_' || c == '+' || c == '-';
    });
}

void check_zone(const std::string& zone) {
    if (zone == "UTC") return;
    struct stat folder;
    if (::stat(zone_folder().c_str(), &folder) < 0)
        throw Error("no time zones are installed where the messengers are (Debian: tzdata); until then there is only UTC");
    const std::string unknown = quoted(zone) + " is no time zone: an IANA name such as Europe/Berlin was expected";
    if (!well_formed(zone)) throw Error(unknown);
    try {
        const std::optional<std::string> file = read_file_if_exists(zone_folder() + "/" + zone, KiB(64));
        if (!file || !file->starts_with("TZif")) throw Error(unknown);
    } catch (const ErrnoError&) {  // a folder
        throw Error(unknown);
    }
}

void set_zone(const char* value) {
    if (value) ::setenv("TZ", value, 1);
    else ::unsetenv("TZ");
    ::tzset();
}

}  // namespace

// By Howard Hinnant, https://howardhinnant.github.io/date_algorithms.html: exact for all we can be asked.
int64_t day_of(const Date& date) {
    const int64_t year = date.year - (date.month <= 2);
    const int64_t era = (year >= 0 ? year : year - 399) / 400;
    const int64_t of_era = year - era * 400;
    const int64_t of_year = (153 * (date.month + (date.month > 2 ? -3 : 9)) + 2) / 5 + date.day - 1;
    return era * 146'097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719'468;
}

Date date_of(int64_t day) {
    day += 719'468;
    const int64_t era = (day >= 0 ? day : day - 146'096) / 146'097;
    const int64_t of_era = day - era * 146'097;
    const int64_t year = (of_era - of_era / 1460 + of_era / 36'524 - of_era / 146'096) / 365;
    const int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    const int64_t month = (5 * of_year + 2) / 153;
    const int number = static_cast<int>(month < 10 ? month + 3 : month - 9);
    return {year + era * 400 + (number <= 2), number, static_cast<int>(of_year - (153 * month + 2) / 5 + 1)};
}

int weekday_of(int64_t day) {
    return static_cast<int>(((day + 4) % 7 + 7) % 7);
}

std::string quoted(const std::string& text) {
    std::string line = printable(text.substr(0, 40));
    for (char& c : line)
        if (c == '\n' || c == '\t') c = ' ';
    return "\"" + line + "\"";
}

WallClock::WallClock(const std::string& zone) {
    check_zone(zone);
    if (const char* const before = ::getenv("TZ")) {
        before_ = before;
        was_set_ = true;
    }
    set_zone(zone == "UTC" ? "UTC0" : (":" + zone_folder() + "/" + zone).c_str());
}

WallClock::~WallClock() {
    set_zone(was_set_ ? before_.c_str() : nullptr);
}

LocalTime WallClock::at(int64_t moment) const {
    const time_t seconds = moment;
    tm shown{};
    if (!::localtime_r(&seconds, &shown)) throw Error("the time is out of range");
    return {day_of({int64_t{shown.tm_year} + 1900, shown.tm_mon + 1, shown.tm_mday}), shown.tm_hour, shown.tm_min, shown.tm_gmtoff};
}

int64_t WallClock::moment(int64_t day, int minute_of_day) const {
    const int64_t shown = day * kDay + int64_t{minute_of_day} * 60;
    // Of two that are a day before and behind, one holds unless the clock is put forward in between.
    const int64_t before = at(shown - kDay).offset, behind = at(shown + kDay).offset;
    const int64_t first = shown - std::max(before, behind), second = shown - std::min(before, behind);
    for (const int64_t each : {first, second})
        if (each + at(each).offset == shown) return each;
    int64_t still = first, over = second;  // before the gap, behind it
    while (over - still > 1) {
        const int64_t middle = still + (over - still) / 2;
        (at(middle).offset == behind ? over : still) = middle;
    }
    return over;
}

std::string WallClock::words(int64_t moment) const {
    static const char* const kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char* const kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const LocalTime shown = at(moment);
    const Date date = date_of(shown.day);
    char text[64];
    std::snprintf(text, sizeof text, "%s %d %s %lld %02d:%02d", kDays[weekday_of(shown.day)], date.day, kMonths[date.month - 1],
                  static_cast<long long>(date.year), shown.hour, shown.minute);
    return text;
}

}  // namespace peacrab
