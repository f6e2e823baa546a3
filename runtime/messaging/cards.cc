// SQL and nothing else: who may press what is decided in messaging/presses. A card goes with its delivery.
#include "messaging/cards.h"

#include "os.h"

namespace peacrab {
namespace {

const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS cards(delivery INTEGER PRIMARY KEY, place INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    seq INTEGER NOT NULL, until INTEGER NOT NULL, shown INTEGER NOT NULL DEFAULT 0, outcome TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS cards_open ON cards(kind, place) WHERE outcome = '';
CREATE TABLE IF NOT EXISTS buttons(value TEXT PRIMARY KEY, delivery INTEGER NOT NULL, number INTEGER NOT NULL, label TEXT NOT NULL,
    says TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS buttons_of_card ON buttons(delivery, number);
CREATE TRIGGER IF NOT EXISTS cards_go AFTER DELETE ON deliveries BEGIN
    DELETE FROM buttons WHERE delivery = old.row;
    DELETE FROM cards WHERE delivery = old.row;
END;
)";

#define CARD "kind, delivery, place, subject, seq, until, shown, outcome"
constexpr int64_t kHeard = 600;  // seconds
constexpr size_t kValue = 16;  // random bytes: twice as many characters, which fit what any messenger takes

const char* kind_name(Card::Kind kind) { return kind == Card::Kind::Door ? "door" : "question"; }

Card card_of(const Statement& row) {
    return {row.text(0) == "door" ? Card::Kind::Door : Card::Kind::Question, row.integer(1), row.integer(2), row.text(3), row.integer(4),
            row.integer(5), row.integer(6) != 0, row.text(7)};
}

std::vector<Card> cards_of(Statement& query) {
    std::vector<Card> all;
    while (query.step()) all.push_back(card_of(query));
    return all;
}

}  // namespace

Cards::Cards(Database& database) : database_(database) {
    database_.run(kSchema);
}

void Cards::add(const Card& card, const std::vector<Button>& buttons) {
    database_.transaction([&] {
        database_.prepare("INSERT INTO cards(delivery, place, kind, subject, seq, until) VALUES(?, ?, ?, ?, ?, ?)")
            .bind(card.delivery)
            .bind(card.place)
            .bind(kind_name(card.kind))
            .bind(card.subject)
            .bind(card.seq)
            .bind(card.until)
            .run();
        int64_t number = 0;
        for (const Button& button : buttons)
            database_.prepare("INSERT INTO buttons(value, delivery, number, label, says) VALUES(?, ?, ?, ?, ?)")
                .bind(random_hex(kValue))
                .bind(card.delivery)
                .bind(number++)
                .bind(utf8_prefix(button.label, kMostLabel))
                .bind(button.says)
                .run();
    });
}

std::optional<Card> Cards::card(int64_t delivery) {
    Statement query = database_.prepare("SELECT " CARD " FROM cards WHERE delivery = ?");
    if (!query.bind(delivery).step()) return std::nullopt;
    return card_of(query);
}

std::vector<Button> Cards::buttons(int64_t delivery) {
    Statement query = database_.prepare("SELECT label, says, value FROM buttons WHERE delivery = ?1 AND EXISTS(SELECT 1 FROM cards "
                                        "WHERE delivery = ?1 AND outcome = '') ORDER BY number");
    query.bind(delivery);
    std::vector<Button> all;
    while (query.step()) all.push_back({query.text(0), query.text(1), query.text(2)});
    return all;
}

void Cards::set_shown(int64_t delivery) {
    database_.prepare("UPDATE cards SET shown = 1 WHERE delivery = ?").bind(delivery).run();
}

std::optional<Cards::Pressed> Cards::pressed(const std::string& value) {
    Statement query = database_.prepare("SELECT delivery, label, says FROM buttons WHERE value = ?");
    if (!query.bind(value).step()) return std::nullopt;
    const std::optional<Card> found = card(query.integer(0));
    if (!found) return std::nullopt;
    return Pressed{*found, {query.text(1), query.text(2), value}};
}

std::vector<Card> Cards::decide_door(const std::string& ticket, const std::string& outcome) {
    Statement query = database_.prepare("UPDATE cards SET outcome = ? WHERE kind = 'door' AND subject = ? AND outcome = '' RETURNING " CARD);
    return cards_of(query.bind(outcome).bind(ticket));
}

std::vector<Card> Cards::decide_questions(int64_t place, const std::string& outcome, const std::string& session, int64_t seq) {
    Statement query = database_.prepare("UPDATE cards SET outcome = ? WHERE kind = 'question' AND place = ? AND outcome = '' AND NOT "
                                        "(subject = ? AND seq >= ?) RETURNING " CARD);
    return cards_of(query.bind(outcome).bind(place).bind(session).bind(seq));
}

std::vector<int64_t> Cards::places_overdue(int64_t now) {
    Statement query = database_.prepare("SELECT DISTINCT place FROM cards WHERE kind = 'question' AND outcome = '' AND until < ? AND until > ?");
    query.bind(now).bind(now - kHeard);
    std::vector<int64_t> all;
    while (query.step()) all.push_back(query.integer(0));
    return all;
}

std::optional<int64_t> Cards::next_over(int64_t now) {
    Statement query = database_.prepare("SELECT min(until) + 1 FROM cards WHERE kind = 'question' AND outcome = '' AND until >= ?");
    if (!query.bind(now).step() || query.integer(0) == 0) return std::nullopt;
    return query.integer(0);
}

}  // namespace peacrab
