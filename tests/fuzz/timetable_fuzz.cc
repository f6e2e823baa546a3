// When something is due, as a model writes it, with a zone of its own; and quiet hours.
//
// What is taken is the same again as it is kept, and due: the next behind any moment, each later than the last. What is
// not is refused in a line of text.
#include "error.h"
#include "fuzz.h"
#include "messaging/timetable.h"
#include "messaging/zone.h"

using namespace peacrab;

namespace {

constexpr int64_t kNow = 1'795'000'000;  // November 2026

void check_table(const Timetable& table) {
    const Timetable again = read_kept(kept_form(table), table.zone);
    require(kept_form(again) == kept_form(table));
    int64_t last = kNow;
    for (int step = 0; step < 5; ++step) {
        const std::optional<int64_t> next = next_after(table, last);
        require(next == next_after(again, last));
        if (!next) break;
        require(*next > last);
        last = *next;
    }
    require(last > kNow);
    require(shortest_gap(table, kNow) == 0 || shortest_gap(table, kNow) >= kShortest);
    require(times_a_month(table, kNow) >= 0 && times_a_month(table, kNow) <= 50'000);
    const Missed missed = missed_until(table, last, last + 1'000'000);
    require(missed.newest >= last && missed.newest <= last + 1'000'000 && missed.count > 0 && missed.count <= 500);
    require(!in_words(table).empty() && is_shown_line(in_words(table)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const FuzzInput input(data, size, 3);
    const std::string when(input.texts[0]), zone(input.texts[1]), hours(input.texts[2]);
    try {
        check_table(read_when(when, zone, kNow));
    } catch (const Error& error) {
        require(is_shown_line(error.what()));
    }
    try {
        const QuietHours quiet = read_quiet_hours(hours);
        for (int64_t moment = kNow; moment < kNow + 86'400; moment += 3599)
            if (const std::optional<int64_t> until = quiet_until(quiet, zone.empty() ? "UTC" : zone, moment))
                require(*until > moment && *until <= moment + 2 * 86'400);
    } catch (const Error& error) {
        require(is_shown_line(error.what()));
    }
    return 0;
}
