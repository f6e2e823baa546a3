// A journal that was damaged: whatever is left of the file, reading it ends, gives nothing that was not
// written, says what is missing, and the conversation goes on in it.
#include "sessions/journal.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <random>

#include "../support/folder.h"
#include "os.h"

using namespace peacrab;
using namespace peacrab::test;

namespace {

struct JournalFolder : Folder {
    std::string file() const { return path + "/s1.db"; }
};

Entry said(const std::string& text, const std::string& turn = "t1") {
    return {Entry::Kind::User, turn, {}, text, {}, Outcome::Failed};
}

Entry answered(const std::string& text) {
    return {Entry::Kind::Assistant, "t1", "m", {},
            json::Value::array({json::Value::object({{"type", "text"}, {"text", text}})}), Outcome::Ok};
}

// One file without a log, of about 60 pages; each text says which entry it is.
std::string whole_file(const JournalFolder& folder) {
    {
        Journal journal(folder.file(), Durability::PowerLoss);
        for (int n = 1; n <= 100; ++n)
            journal.append(n % 2 ? said("entry " + std::to_string(n) + " " + std::string(2000, 'x'))
                                 : answered("entry " + std::to_string(n) + " " + std::string(2000, 'y')));
        Database(folder.file(), Durability::PowerLoss).run("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    return read_file(folder.file(), MiB(4));
}

void put(const JournalFolder& folder, const std::string& bytes) {
    for (const char* of : {"", "-wal", "-shm", ".damaged", ".damaged-wal"})
        (void)::unlink((folder.file() + of).c_str());
    write_file_atomic(folder.file(), bytes, 0600);
}

std::string text_of(const Entry& entry) {
    return entry.kind == Entry::Kind::User ? entry.text : entry.content.items().at(0).text("text");
}

}  // namespace

TEST_CASE("journal: of a damaged file what can be read is read and said, and the conversation goes on") {
    JournalFolder folder;
    const std::string whole = whole_file(folder);
    std::mt19937 random(7);
    size_t damaged = 0, read = 0;
    for (int round = 0; round < 120; ++round) {
        std::string bytes = whole;
        if (round % 3 == 0) {
            bytes.resize(random() % bytes.size());  // cut
        } else if (round % 3 == 1) {
            for (int flips = 0; flips < 5; ++flips) bytes[random() % bytes.size()] ^= static_cast<char>(1 + random() % 255);
        } else {  // a page of something else
            const size_t page = 4096 * (random() % (bytes.size() / 4096));
            for (size_t at = page; at < page + 4096; ++at) bytes[at] = static_cast<char>(random());
        }
        put(folder, bytes);
        CAPTURE(round);
        try {
            Journal journal(folder.file(), Durability::ProcessCrash);
            const std::vector<Entry> entries = journal.entries();
            read += entries.size();
            damaged += !journal.damage().empty();
            int64_t last = 0;
            for (const Entry& entry : entries) {
                CHECK(entry.seq > last);
                last = entry.seq;
            }
            journal.append(said("and on"));
            Journal again(folder.file(), Durability::ProcessCrash);
            const std::vector<Entry> kept = again.entries();
            REQUIRE_FALSE(kept.empty());
            CHECK(text_of(kept.back()) == "and on");
            CHECK(kept.size() + 5 >= entries.size());  // a flip may be met by the one and not by the other
        } catch (const Error& error) {
            // A version from the future, or a table with other rules: refused in words.
            CHECK(std::string(error.what()).size() > 10);
            CHECK(round % 3 == 1);
        }
    }
    CHECK(damaged > 40);
    CHECK(read > 2000);
}

TEST_CASE("journal: what is behind a broken place is read from the end") {
    JournalFolder folder;
    std::string bytes = whole_file(folder);
    const size_t at = bytes.find("entry 51 ");
    REQUIRE(at != std::string::npos);
    for (size_t page = at / 4096 * 4096, i = 0; i < 4096; ++i) bytes[page + i] = '\xff';
    put(folder, bytes);
    Journal journal(folder.file(), Durability::ProcessCrash);
    const std::vector<Entry> entries = journal.entries();
    CHECK(journal.damage().find("broken behind entry") != std::string::npos);
    REQUIRE(entries.size() > 90);
    CHECK(entries.front().seq == 1);
    CHECK(entries.back().seq == 100);
    for (const Entry& entry : entries)
        CHECK(text_of(entry).starts_with("entry " + std::to_string(entry.seq) + " "));
    // The file takes an entry still, or is made anew; either way nothing more is lost.
    CHECK(journal.append(said("and on")) == 101);
    CHECK(Journal(folder.file(), Durability::ProcessCrash).entries().size() == entries.size() + 1);
}

TEST_CASE("journal: a file that is none is put aside, and a new one begun") {
    JournalFolder folder;
    put(folder, std::string(10'000, 'z'));
    {
        Journal journal(folder.file(), Durability::ProcessCrash);
        CHECK(journal.entries().empty());
        CHECK(journal.damage() == "the file is no journal");
        CHECK(journal.append(said("hello")) == 1);
        CHECK(journal.damage() == "the file is no journal");
    }
    CHECK(read_file(folder.file() + ".damaged", MiB(1)) == std::string(10'000, 'z'));
    Journal journal(folder.file(), Durability::ProcessCrash);
    CHECK(journal.entries().size() == 1);
    CHECK(journal.damage() == "");
}

TEST_CASE("journal: one that was made anew is put in its place by whoever comes next") {
    JournalFolder folder;
    (void)whole_file(folder);
    {
        JournalFolder other;
        { Journal(other.file(), Durability::PowerLoss).append(said("saved")); }
        Database(other.file(), Durability::PowerLoss).run("PRAGMA wal_checkpoint(TRUNCATE)");
        write_file_atomic(folder.file() + ".rebuilt", read_file(other.file(), MiB(1)), 0600);
    }
    SUBCASE("killed before the damaged one was put aside") {}
    SUBCASE("killed after it") { REQUIRE(::unlink(folder.file().c_str()) == 0); }
    Journal journal(folder.file(), Durability::ProcessCrash);
    REQUIRE(journal.entries().size() == 1);
    CHECK(journal.entries()[0].text == "saved");
    CHECK(::access((folder.file() + ".rebuilt").c_str(), F_OK) < 0);
}

TEST_CASE("journal: an entry that is none is left out and counted, the others are read") {
    JournalFolder folder;
    Journal journal(folder.file(), Durability::ProcessCrash);
    journal.append(said("one"));
    Database file(folder.file(), Durability::ProcessCrash);
    file.run("INSERT INTO entries(turn, kind, call, outcome, body) VALUES"
             "('t1', 'hologram', '', '', 'of a later version'),"
             "('t1', 'assistant', 'm', '', '[{\"type\":\"text\",\"te'),"
             "('t1', 'assistant', 'm', '', '{\"no\":\"array\"}'),"
             "('t1', 'summary', '', '', '[]'),"
             "('t1', 'result', 'c', 'marvellous', x'ff00fe')");
    journal.append(said("two"));
    const std::vector<Entry> entries = journal.entries();
    REQUIRE(entries.size() == 3);
    CHECK(entries[0].text == "one");
    CHECK(entries[1].outcome == Outcome::Failed);
    CHECK(json::valid_utf8(entries[1].text) == entries[1].text);
    CHECK(entries[2].text == "two");
    CHECK(entries[2].seq == 7);
    CHECK(journal.damage() == "4 entries are no entry that this version knows");
}

TEST_CASE("journal: a table that leads astray is no journal, and nothing is endless") {
    JournalFolder folder;
    {
        Database file(folder.file(), Durability::ProcessCrash);
        file.run("CREATE TABLE base(x);"
                 "CREATE VIEW entries AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 0 FROM n) "
                 "SELECT x AS seq, 't' AS turn, 'user' AS kind, '' AS call, '' AS outcome, 'b' AS body, 1 AS at FROM n;"
                 "PRAGMA user_version = 3");
    }
    Journal journal(folder.file(), Durability::ProcessCrash);
    CHECK(journal.entries().size() <= 1);
    CHECK(journal.damage() != "");
}

TEST_CASE("journal: a table with other rules than ours is read, and not written to") {
    JournalFolder folder;
    std::string bytes = whole_file(folder);
    const std::string ours = "outcome TEXT NOT NULL", other = "outcome BLOB NOT NULL";
    bytes.replace(bytes.find(ours), ours.size(), other);
    put(folder, bytes);
    {
        Journal journal(folder.file(), Durability::ProcessCrash);
        CHECK(journal.entries().size() == 100);
        CHECK(journal.damage() == "its table is not as it was made");
        CHECK(journal.append(said("and on")) == 101);
    }
    Journal journal(folder.file(), Durability::ProcessCrash);
    CHECK(journal.entries().size() == 101);
    CHECK(journal.damage() == "");
    CHECK(::access((folder.file() + ".damaged").c_str(), F_OK) == 0);
}

TEST_CASE("journal: a copy keeps places and times") {
    JournalFolder folder;
    Journal journal(folder.file(), Durability::ProcessCrash);
    journal.append({said("one"), answered("two"), said("three")});
    std::vector<Entry> entries = journal.entries();
    CHECK(entries[0].at > 1'600'000'000);
    entries.erase(entries.begin() + 1);
    Journal other(folder.path + "/s2.db", Durability::ProcessCrash);
    other.copy(entries);
    REQUIRE(other.entries().size() == 2);
    CHECK(other.entries()[1].seq == 3);
    CHECK(other.entries()[1].at == entries[1].at);
    CHECK(other.append(said("four")) == 4);
}
