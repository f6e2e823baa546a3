// Must stay bounded whatever a model writes: a date that never comes is looked for in eight years, the longest from
// one 29th of February to the next.
#include "messaging/timetable.h"

#include <algorithm>

#include "error.h"
#include "messaging/zone.h"
#include "os.h"

namespace peacrab {
namespace {

constexpr int64_t kDay = 86'400;
constexpr int64_t kMonth = 30 * kDay;
constexpr int64_t kHorizon = 8 * 366 + 2;       // days
constexpr int64_t kFarthest = 10 * 366 * kDay;  // of what is due once
constexpr int64_t kMostCounted = 500;
constexpr int64_t kMostGaps = 100;

[[noreturn]] void refuse(const std::string& what) {
    throw Error("when: " + what);
}

// Up to nine digits from `at` on, which moves behind them; -1: there are none.
int64_t number(const std::string& text, size_t& at) {
    const size_t begin = at;
    int64_t value = 0;
    while (at < text.size() && at - begin < 9 && text[at] >= '0' && text[at] <= '9') value = value * 10 + (text[at++] - '0');
    return at == begin ? -1 : value;
}

struct Field {
    const char* name;
    int least, most;
    const char* words;  // three letters each, from `least`
};

constexpr Field kFields[] = {{"minute", 0, 59, ""},
                             {"hour", 0, 23, ""},
                             {"day of the month", 1, 31, ""},
                             {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
                             {"day of the week", 0, 7, "sunmontuewedthufrisat"}};

int64_t value_of(const Field& field, const std::string& text, size_t& at) {
    const std::string words = field.words, word = lower(text.substr(at, 3));
    for (size_t i = 0; i + 3 <= words.size() && word.size() == 3; i += 3)
        if (words.compare(i, 3, word) == 0) {
            at += 3;
            return field.least + static_cast<int64_t>(i / 3);
        }
    return number(text, at);
}

// "1-5", "*/10", "mon", "8-18/2"
uint64_t marks_of(const Field& field, const std::string& part) {
    const auto wrong = [&] { refuse(std::string(field.name) + ": " + quoted(part) + " is not understood"); };
    size_t at = 0;
    int64_t from = field.least, until = field.most, step = 1;
    const bool any = part.starts_with('*');
    if (any) {
        ++at;
    } else {
        from = until = value_of(field, part, at);
        if (at < part.size() && part[at] == '-') {
            until = value_of(field, part, ++at);
            if (field.most == 7 && until == 0) until = 7;  // to Sunday
        } else if (at < part.size() && part[at] == '/') {
            until = field.most;
        }
    }
    if (at < part.size() && part[at] == '/') step = number(part, ++at);
    if (at != part.size() || from < field.least || until > field.most || from > until || step < 1) wrong();
    uint64_t marks = 0;
    for (int64_t each = from; each <= until; each += step) marks |= uint64_t{1} << (field.most == 7 ? each % 7 : each);
    return marks;
}

bool marked(uint64_t marks, int64_t value) {
    return marks >> value & 1;
}

Timetable read_cron(const std::string& text, const std::string& zone) {
    std::vector<std::string> words = split(text, ' ');
    std::erase(words, "");
    if (words.size() != 5) refuse("cron has five fields: minute, hour, day of the month, month, day of the week");
    Timetable table;
    table.kind = Timetable::Kind::Cron;
    table.zone = zone;
    for (size_t i = 0; i < 5; ++i) {
        table.fields += (i ? " " : "") + words[i];
        for (const std::string& part : split(words[i], ',')) table.marks[i] |= marks_of(kFields[i], part);
    }
    table.any_hour = words[1].starts_with('*');
    table.any_day = words[2].starts_with('*');
    table.any_weekday = words[4].starts_with('*');
    return table;
}

std::string without_word(const std::string& text, const std::string& word) {
    return text.starts_with(word + " ") ? text.substr(word.size() + 1) : std::string();
}

// "2h", "20 minutes", "1 d"
int64_t span_of(const std::string& text) {
    size_t at = 0;
    const int64_t count = number(text, at);
    while (at < text.size() && text[at] == ' ') ++at;
    const std::string unit = text.substr(at);
    static const struct {
        const char *name, *whole;
        int64_t seconds;
    } kUnits[] = {{"s", "seconds", 1}, {"m", "minutes", 60}, {"h", "hours", 3600}, {"d", "days", kDay}, {"w", "weeks", 7 * kDay}};
    for (const auto& each : kUnits)
        if (count > 0 && !unit.empty() && (std::string(each.whole).starts_with(unit) || (unit == "mins" && each.seconds == 60)))
            return count * each.seconds;
    refuse(quoted(text) + " is no span such as 20m, 2h or 1d");
}

void need_zone(const std::string& zone) {
    if (zone.empty())
        throw Error("the person's time zone is not known: ask them for it once (a town is enough), and give it as zone, such as Europe/Berlin; it is kept");
}

// "2026-12-24 18:00", "2026-12-24T18:00:00Z"
std::optional<int64_t> moment_of(std::string text, const std::string& zone) {
    const bool utc = text.ends_with('z');
    if (utc) text.pop_back();
    if (text.size() == 19 && text.ends_with(":00")) text.resize(16);
    if (text.size() != 16 || text[4] != '-' || text[7] != '-' || (text[10] != ' ' && text[10] != 't') || text[13] != ':') return std::nullopt;
    const auto part = [&text](size_t from, size_t count) {
        size_t at = 0;
        const std::string digits = text.substr(from, count);
        const int64_t value = number(digits, at);
        return at == count ? static_cast<int>(value) : -1;
    };
    const Date date{part(0, 4), part(5, 2), part(8, 2)};
    const int hour = part(11, 2), minute = part(14, 2);
    if (date.year < 1970 || date.month < 1 || date.month > 12 || date.day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59)
        return std::nullopt;
    const int64_t day = day_of(date);
    if (date_of(day).day != date.day) refuse("there is no such day in that month");
    if (utc) return day * kDay + hour * 3600 + minute * 60;
    need_zone(zone);
    return WallClock(zone).moment(day, hour * 60 + minute);
}

bool day_is_in(const Timetable& table, int64_t day) {
    const Date date = date_of(day);
    if (!marked(table.marks[3], date.month)) return false;
    const bool by_day = marked(table.marks[2], date.day), by_weekday = marked(table.marks[4], weekday_of(day));
    return table.any_day || table.any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

// By the clock, minute after minute: each that it shows.
std::optional<int64_t> next_shown(const Timetable& table, const WallClock& clock, int64_t after) {
    const int64_t end = after + kHorizon * kDay;
    for (int64_t moment = after / 60 * 60 + 60; moment < end;) {
        const LocalTime shown = clock.at(moment);
        if (!day_is_in(table, shown.day) || !marked(table.marks[1], shown.hour)) {
            moment += (60 - shown.minute) * 60;
            continue;
        }
        if (marked(table.marks[0], shown.minute)) return moment;
        moment += 60;
    }
    return std::nullopt;
}

// By the day: each time of it once.
std::optional<int64_t> next_of_day(const Timetable& table, const WallClock& clock, int64_t after) {
    const int64_t first = clock.at(after).day - 1;
    for (int64_t day = first; day < first + kHorizon; ++day) {
        if (!day_is_in(table, day)) continue;
        const int64_t begin = clock.moment(day, 0), end = clock.moment(day + 1, 0);
        if (end <= after) continue;
        const bool even = end - begin == kDay;  // the clock is not set on it
        for (int hour = 0; hour < 24; ++hour)
            for (int minute = 0; minute < 60 && marked(table.marks[1], hour); ++minute) {
                if (!marked(table.marks[0], minute)) continue;
                const int64_t moment = even ? begin + hour * 3600 + minute * 60 : clock.moment(day, hour * 60 + minute);
                if (moment > after) return moment;
            }
    }
    return std::nullopt;
}

}  // namespace

Timetable read_when(const std::string& said, const std::string& zone, int64_t now) {
    if (said.size() > 200) refuse("it is too long");
    std::string when = lower(said);
    static const std::pair<const char*, const char*> kShort[] = {{"@hourly", "0 * * * *"}, {"@daily", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
                                                                 {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}};
    for (const auto& [name, fields] : kShort)
        if (when == name) when = fields;
    if (const std::string rest = without_word(when, "cron"); !rest.empty()) when = rest;
    if (const std::string rest = without_word(when, "at"); !rest.empty()) when = rest;
    Timetable table;
    table.at = now;
    if (const std::string rest = without_word(when, "every"); !rest.empty()) {
        table.kind = Timetable::Kind::Every;
        table.span = span_of(rest);
        if (table.span < kShortest || table.span > 366 * kDay) refuse("every: from 1m to 366d was expected");
    } else if (const std::string after = without_word(when, "in"); !after.empty()) {
        table.at += span_of(after);
    } else if (const std::optional<int64_t> moment = moment_of(when, zone)) {
        table.at = *moment;
        if (table.at <= now) refuse("that is over already");
    } else if (!when.empty() && (when[0] == '*' || (when[0] >= '0' && when[0] <= '9'))) {
        need_zone(zone);
        table = read_cron(when, zone);
        if (!next_after(table, now)) refuse("that day never comes");
    } else {
        refuse("cron fields (0 9 * * 1-5), every 2h, in 20m or 2026-12-24 18:00 were expected");
    }
    if (table.kind == Timetable::Kind::Once && table.at > now + kFarthest) refuse("that is more than ten years away");
    return table;
}

std::string kept_form(const Timetable& table) {
    if (table.kind == Timetable::Kind::Cron) return "cron " + table.fields;
    if (table.kind == Timetable::Kind::Once) return "once " + std::to_string(table.at);
    return "every " + std::to_string(table.span) + " " + std::to_string(table.at);
}

Timetable read_kept(const std::string& kept, const std::string& zone) {
    if (const std::string fields = without_word(kept, "cron"); !fields.empty()) return read_cron(fields, zone);
    Timetable table;
    const std::vector<std::string> words = split(kept, ' ');
    if (words.size() == 2 && words[0] == "once") {
        table.at = std::stoll(words[1]);
    } else if (words.size() == 3 && words[0] == "every") {
        table.kind = Timetable::Kind::Every;
        table.span = std::max<int64_t>(std::stoll(words[1]), kShortest);
        table.at = std::stoll(words[2]);
    } else {
        refuse("it is kept in no form that is known");
    }
    return table;
}

std::optional<int64_t> next_after(const Timetable& table, int64_t moment) {
    if (table.kind == Timetable::Kind::Once) return table.at > moment ? std::optional(table.at) : std::nullopt;
    if (table.kind == Timetable::Kind::Every) {
        if (moment < table.at) return table.at + table.span;
        return table.at + ((moment - table.at) / table.span + 1) * table.span;
    }
    const WallClock clock(table.zone);
    return table.any_hour ? next_shown(table, clock, moment) : next_of_day(table, clock, moment);
}

Missed missed_until(const Timetable& table, int64_t due, int64_t now) {
    Missed missed{due, 1};
    for (std::optional<int64_t> next; (next = next_after(table, missed.newest)) && *next <= now && missed.count < kMostCounted; ++missed.count)
        missed.newest = *next;
    if (missed.count < kMostCounted) return missed;
    // Of very many, the newest is found by halves.
    int64_t few = missed.newest;
    for (int64_t behind = now - few; behind > 0; behind /= 2)
        if (const std::optional<int64_t> next = next_after(table, now - behind); next && *next <= now) few = std::max(few, *next);
    missed.newest = few;
    for (std::optional<int64_t> next; (next = next_after(table, missed.newest)) && *next <= now;) missed.newest = *next;
    return missed;
}

int64_t shortest_gap(const Timetable& table, int64_t now) {
    if (table.kind == Timetable::Kind::Once) return 0;
    if (table.kind == Timetable::Kind::Every) return table.span;
    int64_t gap = kFarthest;
    std::optional<int64_t> last = next_after(table, now);
    for (int64_t i = 0; last && i < kMostGaps; ++i) {
        const std::optional<int64_t> next = next_after(table, *last);
        if (next) gap = std::min(gap, *next - *last);
        last = next;
    }
    return gap;
}

int64_t times_a_month(const Timetable& table, int64_t now) {
    if (table.kind == Timetable::Kind::Once) return 1;
    if (table.kind == Timetable::Kind::Every) return kMonth / table.span;
    int64_t count = 0, last = now;
    for (std::optional<int64_t> next; (next = next_after(table, last)) && *next <= now + kMonth; last = *next)
        if (++count == kMostCounted) return count * kMonth / std::max<int64_t>(*next - now, 1);
    return count;
}

std::string in_words(const Timetable& table) {
    if (table.kind == Timetable::Kind::Once) return "once";
    if (table.kind == Timetable::Kind::Cron) return "cron " + table.fields;
    const std::pair<int64_t, const char*> unit = table.span % kDay == 0   ? std::pair(kDay, " d")
                                                 : table.span % 3600 == 0 ? std::pair(int64_t{3600}, " h")
                                                 : table.span % 60 == 0   ? std::pair(int64_t{60}, " min")
                                                                          : std::pair(int64_t{1}, " s");
    return "every " + std::to_string(table.span / unit.first) + unit.second;
}

QuietHours read_quiet_hours(const std::string& text) {
    if (lower(text) == "off") return {};
    size_t at = 0;
    int values[4];
    const char behind[] = {':', '-', ':', '\0'};
    for (size_t i = 0; i < 4; ++i) {
        values[i] = static_cast<int>(number(text, at));
        const bool last = i == 3;
        if (values[i] < 0 || values[i] > (i % 2 ? 59 : 23) || (last ? at != text.size() : at >= text.size() || text[at++] != behind[i]))
            throw Error("quiet hours such as 22:00-07:00, or off, were expected");
    }
    return {values[0] * 60 + values[1], values[2] * 60 + values[3]};
}

std::optional<int64_t> quiet_until(const QuietHours& hours, const std::string& zone, int64_t now) {
    if (hours.from == hours.until) return std::nullopt;
    const WallClock clock(zone);
    const LocalTime shown = clock.at(now);
    const int minute = shown.hour * 60 + shown.minute;
    const bool over_midnight = hours.from > hours.until;
    const bool quiet = over_midnight ? minute >= hours.from || minute < hours.until : minute >= hours.from && minute < hours.until;
    if (!quiet) return std::nullopt;
    const int64_t end = clock.moment(shown.day + (over_midnight && minute >= hours.from), hours.until);
    if (end <= now) return now + 60;  // in an hour that comes twice: looked at again
    return end;
}

}  // namespace peacrab
