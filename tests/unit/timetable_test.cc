// When something is due: against a reckoning that looks at each minute, in every time zone there is, around each time
// that its clock is set; and what is refused.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <set>

#include "error.h"
#include "messaging/timetable.h"
#include "messaging/zone.h"
#include "os.h"

using namespace peacrab;

namespace {

constexpr int64_t kDay = 86'400;

int64_t utc(int64_t year, int month, int day, int hour = 0, int minute = 0) {
    return day_of({year, month, day}) * kDay + hour * 3600 + minute * 60;
}

Timetable cron(const std::string& fields, const std::string& zone) {
    return read_kept("cron " + fields, zone);
}

std::vector<int64_t> due(const Timetable& table, int64_t from, int64_t until) {
    std::vector<int64_t> all;
    for (std::optional<int64_t> next = next_after(table, from); next && *next < until; next = next_after(table, *next)) all.push_back(*next);
    return all;
}

std::vector<std::string> shown(const std::string& fields, const std::string& zone, int64_t from, int64_t until) {
    const std::vector<int64_t> all = due(cron(fields, zone), from, until);
    const WallClock clock(zone);
    std::vector<std::string> words;
    for (const int64_t each : all) words.push_back(clock.words(each));
    return words;
}

// Every zone that is installed; a test without any would be one of nothing.
std::vector<std::string> all_zones() {
    std::vector<std::string> zones;
    const std::filesystem::path root = "/usr/share/zoneinfo";
    for (const auto& each : std::filesystem::recursive_directory_iterator(root)) {
        const std::string name = each.path().lexically_relative(root).string();
        if (!each.is_regular_file() || name.find('.') != name.npos || name.starts_with("right/") || name.starts_with("posix/")) continue;
        if (read_file(each.path().string(), KiB(64)).starts_with("TZif")) zones.push_back(name);
    }
    std::sort(zones.begin(), zones.end());
    return zones;
}

// Moments of two years at which the clock is set.
std::vector<int64_t> settings_of(const WallClock& clock) {
    std::vector<int64_t> all;
    int64_t last = clock.at(utc(2026, 1, 1)).offset;
    for (int64_t moment = utc(2026, 1, 1); moment < utc(2028, 1, 1); moment += 1800) {
        const int64_t offset = clock.at(moment).offset;
        if (offset != last) all.push_back(moment);
        last = offset;
    }
    return all;
}

struct Wanted {
    std::set<int> minutes, hours;
    bool any_hour = false;
};

// What is due in [from, until), by looking at every minute.
std::set<int64_t> by_hand(const WallClock& clock, const Wanted& wanted, int64_t from, int64_t until) {
    std::set<int64_t> all;
    if (wanted.any_hour) {
        for (int64_t moment = from; moment < until; moment += 60) {
            const LocalTime at = clock.at(moment);
            if (wanted.minutes.contains(at.minute) && wanted.hours.contains(at.hour)) all.insert(moment);
        }
        return all;
    }
    std::map<int64_t, int64_t> first;  // what it shows, in minutes → when
    std::vector<std::pair<int64_t, int64_t>> jumps;  // from what is shown to what is shown a minute later
    std::vector<int64_t> behind;
    int64_t last = 0;
    for (int64_t moment = from - 2 * kDay; moment < until + 2 * kDay; moment += 60) {
        const LocalTime at = clock.at(moment);
        const int64_t face = at.day * 1440 + at.hour * 60 + at.minute;
        first.emplace(face, moment);
        if (last && face > last + 1) {
            jumps.push_back({last, face});
            behind.push_back(moment);
        }
        last = face;
    }
    for (int64_t day = clock.at(from).day - 1; day <= clock.at(until).day + 1; ++day)
        for (const int hour : wanted.hours)
            for (const int minute : wanted.minutes) {
                const int64_t face = day * 1440 + hour * 60 + minute;
                int64_t moment = 0;
                if (first.contains(face)) moment = first[face];
                else
                    for (size_t i = 0; i < jumps.size(); ++i)
                        if (jumps[i].first < face && face < jumps[i].second) moment = behind[i];
                if (moment >= from && moment < until) all.insert(moment);
            }
    return all;
}

std::string listed(const std::set<int>& numbers) {
    std::string text;
    for (const int each : numbers) text += (text.empty() ? "" : ",") + std::to_string(each);
    return text;
}

}  // namespace

TEST_CASE("zone: a date is a day and back, for four centuries") {
    for (int64_t day = day_of({1900, 1, 1}); day < day_of({2300, 1, 1}); ++day) {
        const Date date = date_of(day);
        REQUIRE(day_of(date) == day);
        REQUIRE(date.month >= 1);
        REQUIRE(date.month <= 12);
    }
    CHECK(day_of({1970, 1, 1}) == 0);
    CHECK(weekday_of(day_of({2026, 11, 23})) == 1);
}

TEST_CASE("zone: what is no name of a zone is refused, a path above all") {
    for (const char* bad : {"", "Mars/Base", "../../etc/passwd", "/etc/passwd", ":UTC", "Europe", "Europe/", "tzdata.zi", "zone.tab", "Europe/Berlin\n",
                            "UTC+2;", "posixrules\x01", "Europe/../Europe/Berlin", "-1"}) {
        CAPTURE(bad);
        CHECK_THROWS_AS(WallClock{bad}, Error);
    }
    CHECK_THROWS_AS(WallClock{std::string(10'000, 'A')}, Error);
    CHECK(WallClock("UTC").at(0).hour == 0);
}

TEST_CASE("zone: a clock leaves TZ as it was") {
    ::setenv("TZ", "Asia/Tokyo", 1);
    { const WallClock clock("America/New_York"); }
    CHECK(std::string(::getenv("TZ")) == "Asia/Tokyo");
    ::unsetenv("TZ");
    { const WallClock clock("America/New_York"); }
    CHECK(::getenv("TZ") == nullptr);
}

TEST_CASE("timetable: a skipped hour is made up for at its end, one that comes twice counts once") {
    using Words = std::vector<std::string>;
    const int64_t spring = utc(2027, 3, 27), autumn = utc(2027, 10, 30);
    CHECK(shown("30 2 * * *", "Europe/Berlin", spring, spring + 3 * kDay) ==
          Words{"Sat 27 Mar 2027 02:30", "Sun 28 Mar 2027 03:00", "Mon 29 Mar 2027 02:30"});
    CHECK(shown("0,15,30 2 * * *", "Europe/Berlin", spring + kDay, spring + 2 * kDay) == Words{"Sun 28 Mar 2027 03:00"});
    CHECK(due(cron("30 2 * * *", "Europe/Berlin"), autumn, autumn + 3 * kDay) ==
          std::vector<int64_t>{utc(2027, 10, 30, 0, 30), utc(2027, 10, 31, 0, 30), utc(2027, 11, 1, 1, 30)});
}

TEST_CASE("timetable: with any hour it follows the clock, twice through an hour that comes twice") {
    const int64_t autumn = utc(2027, 10, 31), spring = utc(2027, 3, 28);
    CHECK(due(cron("*/30 * * * *", "Europe/Berlin"), autumn - 1, autumn + 4 * 3600).size() == 8);
    CHECK(due(cron("*/30 * * * *", "Europe/Berlin"), spring - 1, spring + 4 * 3600).size() == 8);
    CHECK(due(cron("0 */2 * * *", "Europe/Berlin"), autumn - 1, autumn + 4 * 3600) ==
          std::vector<int64_t>{autumn, autumn + 3600, autumn + 3 * 3600});
}

TEST_CASE("timetable: midnight that is skipped, half an hour, and a day that never was") {
    CHECK(shown("0 0 * * *", "America/Santiago", utc(2026, 9, 5, 12), utc(2026, 9, 7)) == std::vector<std::string>{"Sun 6 Sep 2026 01:00"});
    CHECK(shown("10 2 * * *", "Australia/Lord_Howe", utc(2026, 10, 3), utc(2026, 10, 5)) ==
          std::vector<std::string>{"Sun 4 Oct 2026 02:30", "Mon 5 Oct 2026 02:10"});
    const WallClock samoa("Pacific/Apia");
    CHECK(samoa.words(samoa.moment(day_of({2011, 12, 30}), 12 * 60)) == "Sat 31 Dec 2011 00:00");
}

TEST_CASE("timetable: in every zone, around each time the clock is set, the same as by looking at each minute") {
    const std::vector<std::string> zones = all_zones();
    REQUIRE(zones.size() > 300);
    std::mt19937 random(7);
    int tried = 0;
    std::set<std::string> seen;  // of zones that do the same, one is enough
    for (const std::string& zone : zones) {
        std::vector<int64_t> settings;
        {
            const WallClock clock(zone);
            settings = settings_of(clock);
            std::string same = std::to_string(clock.at(utc(2026, 1, 1)).offset);
            for (const int64_t each : settings) same += " " + std::to_string(each);
            if (!seen.insert(same).second) continue;
        }
        settings.push_back(utc(2026, 5, 5));
        settings.resize(std::min<size_t>(settings.size(), 3));
        for (const int64_t around : settings) {
            Wanted wanted;
            wanted.any_hour = random() % 2;
            for (int i = 0; i < 4; ++i) wanted.minutes.insert(static_cast<int>(random() % 60));
            if (wanted.any_hour)
                for (int hour = 0; hour < 24; ++hour) wanted.hours.insert(hour);
            else
                for (int i = 0; i < 8; ++i) wanted.hours.insert(static_cast<int>(random() % 24));
            const std::string fields = listed(wanted.minutes) + " " + (wanted.any_hour ? "*" : listed(wanted.hours)) + " * * *";
            const int64_t from = around / 60 * 60 - kDay, until = from + 2 * kDay;
            std::set<int64_t> expected;
            {
                const WallClock clock(zone);
                expected = by_hand(clock, wanted, from, until);
            }
            const std::vector<int64_t> got = due(cron(fields, zone), from - 1, until);
            CAPTURE(zone);
            CAPTURE(fields);
            CAPTURE(around);
            REQUIRE(std::set<int64_t>(got.begin(), got.end()) == expected);
            REQUIRE(std::is_sorted(got.begin(), got.end()));
            ++tried;
        }
    }
    MESSAGE(tried << " weeks of " << seen.size() << " clocks");
    CHECK(tried > 100);
}

TEST_CASE("timetable: fields as cron(5) has them") {
    using Words = std::vector<std::string>;
    const int64_t monday = utc(2026, 11, 23);
    CHECK(shown("0 9 * * 1-5", "UTC", monday + 4 * kDay, monday + 8 * kDay) == Words{"Fri 27 Nov 2026 09:00", "Mon 30 Nov 2026 09:00"});
    CHECK(shown("0 9 * * mon,Fri", "UTC", monday, monday + 6 * kDay) == Words{"Mon 23 Nov 2026 09:00", "Fri 27 Nov 2026 09:00"});
    CHECK(shown("0 9 * * fri-sun", "UTC", monday, monday + 7 * kDay).size() == 3);
    CHECK(shown("0 9 * * 7", "UTC", monday, monday + 7 * kDay) == Words{"Sun 29 Nov 2026 09:00"});
    CHECK(shown("0 9 13 * 5", "UTC", utc(2026, 12, 10), utc(2026, 12, 20)) == Words{"Fri 11 Dec 2026 09:00", "Sun 13 Dec 2026 09:00", "Fri 18 Dec 2026 09:00"});
    CHECK(shown("0 0 29 2 *", "UTC", monday, monday + 3000 * kDay) == Words{"Tue 29 Feb 2028 00:00", "Sun 29 Feb 2032 00:00"});
    CHECK(shown("5/20 8-10/2 1 dec *", "UTC", monday, monday + 20 * kDay) ==
          Words{"Tue 1 Dec 2026 08:05", "Tue 1 Dec 2026 08:25", "Tue 1 Dec 2026 08:45", "Tue 1 Dec 2026 10:05", "Tue 1 Dec 2026 10:25",
                "Tue 1 Dec 2026 10:45"});
    CHECK(shown("*/5 * 29 2 *", "UTC", utc(2096, 3, 1), utc(2104, 2, 29, 0, 6)) == Words{"Fri 29 Feb 2104 00:00", "Fri 29 Feb 2104 00:05"});
}

TEST_CASE("timetable: what is no time is refused, and what never comes") {
    const int64_t now = utc(2026, 11, 23, 12);
    for (const char* bad : {"", "soon", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *",
                            "*/0 * * * *", "1- * * * *", "a * * * *", "1,,2 * * * *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "every", "every 30s", "every 0h",
                            "every 400d", "every 5 parsecs", "every 99999999999d", "in", "in -5m", "2026-11-23 11:00", "2026-02-30 10:00", "2026-13-01 10:00",
                            "2026-12-01 24:00", "2026-12-01", "12:00", "2099-01-01 00:00", "99999999999999999999 * * * *", "1-2-3 * * * *", "* * * * mo"}) {
        CAPTURE(bad);
        CHECK_THROWS_AS(read_when(bad, "UTC", now), Error);
    }
    CHECK_THROWS_AS(read_when(std::string(201, '*'), "UTC", now), Error);
    CHECK_THROWS_WITH_AS(read_when("0 9 * * *", "", now), doctest::Contains("zone is not known"), Error);
    CHECK_THROWS_WITH_AS(read_when("2026-12-24 18:00", "", now), doctest::Contains("zone is not known"), Error);
}

TEST_CASE("timetable: once, and after a span, need no cron") {
    const int64_t now = utc(2026, 11, 23, 12, 0) + 17;
    CHECK(read_when("in 20m", "", now).at == now + 1200);
    CHECK(read_when("in 20 minutes", "", now).at == now + 1200);
    CHECK(read_when("2026-12-24 18:00", "Europe/Berlin", now).at == utc(2026, 12, 24, 17));
    CHECK(read_when("at 2026-12-24T18:00:00", "Europe/Berlin", now).at == utc(2026, 12, 24, 17));
    CHECK(read_when("2026-12-24T18:00Z", "", now).at == utc(2026, 12, 24, 18));
    CHECK(read_when("2027-03-28 02:30", "Europe/Berlin", now).at == utc(2027, 3, 28, 1));
    const Timetable every = read_when("every 90m", "", now);
    CHECK(due(every, now, now + 4 * 3600) == std::vector<int64_t>{now + 5400, now + 10'800});
    CHECK(next_after(every, now - 99) == now + 5400);
    for (const char* when : {"in 20m", "every 90m", "0 9 * * 1-5", "@daily"}) {
        const Timetable table = read_when(when, "Europe/Berlin", now);
        const Timetable again = read_kept(kept_form(table), "Europe/Berlin");
        CHECK(next_after(again, now) == next_after(table, now));
    }
    CHECK(in_words(every) == "every 90 min");
}

TEST_CASE("timetable: of what was missed the newest is found, however long it was") {
    const int64_t now = utc(2026, 11, 23, 12, 7);
    CHECK(missed_until(cron("0 9 * * *", "UTC"), utc(2026, 11, 20, 9), now).newest == utc(2026, 11, 23, 9));
    CHECK(missed_until(cron("0 9 * * *", "UTC"), utc(2026, 11, 20, 9), now).count == 4);
    CHECK(missed_until(cron("* * * * *", "UTC"), utc(2024, 1, 1), now).newest == now);
    CHECK(missed_until(cron("*/7 3,4 * * *", "Europe/Berlin"), utc(2016, 1, 1), now).newest == utc(2026, 11, 23, 3, 56));
    CHECK(missed_until(read_kept("every 60 0", ""), 60, now).newest == now);
    CHECK(missed_until(read_kept("once 500", ""), 500, now).newest == 500);
}

TEST_CASE("timetable: how close two can be, and how many a month has") {
    const int64_t now = utc(2026, 11, 23);
    CHECK(shortest_gap(cron("59,0 * * * *", "UTC"), now) == 60);
    CHECK(shortest_gap(cron("0,5 9 * * *", "UTC"), now) == 300);
    CHECK(shortest_gap(cron("* * 1 1 *", "UTC"), now) == 60);
    CHECK(shortest_gap(cron("0 9 * * *", "UTC"), now) == kDay);
    CHECK(times_a_month(cron("0 9 * * *", "UTC"), now) == 30);
    const int64_t many = times_a_month(cron("* * * * *", "UTC"), now);
    CHECK(many > 43'000);
    CHECK(many < 43'400);
    CHECK(times_a_month(read_kept("every 3600 0", ""), now) == 720);
}

TEST_CASE("quiet hours: over midnight, by the person's clock, and on a day that the clock is set") {
    const QuietHours night = read_quiet_hours("22:00-07:00"), noon = read_quiet_hours("12:30-13:00");
    CHECK(quiet_until(night, "Europe/Berlin", utc(2026, 11, 23, 21)) == utc(2026, 11, 24, 6));
    CHECK(quiet_until(night, "Europe/Berlin", utc(2026, 11, 24, 5, 59)) == utc(2026, 11, 24, 6));
    CHECK(!quiet_until(night, "Europe/Berlin", utc(2026, 11, 24, 6)));
    CHECK(!quiet_until(night, "Europe/Berlin", utc(2026, 11, 23, 20, 59)));
    CHECK(quiet_until(night, "Europe/Berlin", utc(2027, 3, 27, 22)) == utc(2027, 3, 28, 5));
    CHECK(quiet_until(noon, "UTC", utc(2026, 11, 23, 12, 45)) == utc(2026, 11, 23, 13));
    CHECK(!quiet_until(read_quiet_hours("off"), "UTC", 0));
    for (const char* bad : {"", "22-7", "24:00-07:00", "22:00-07:60", "22:00-07:00x", "22:00", "-", "22:00-"}) {
        CAPTURE(bad);
        CHECK_THROWS_AS(read_quiet_hours(bad), Error);
    }
}
