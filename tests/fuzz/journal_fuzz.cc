// A journal's file with bytes changed, a piece cut off or doubled, or entries of any kind and JSON in it.
//
// Whatever it is: reading ends, gives entries in the order of their places and as valid UTF-8, or is refused in
// words; what is shown of them can be made; and an entry that is added is there afterwards.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "context/view.h"
#include "error.h"
#include "os.h"
#include "sessions/journal.h"

using namespace peacrab;

namespace {

void must(bool condition) {
    if (!condition) std::abort();
}

std::string folder() {
    static const std::string& made = *new std::string([] {  // outlives what is done at exit
        std::string name = (::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") + std::string("/journal-fuzz-XXXXXX");
        must(::mkdtemp(name.data()) != nullptr);
        std::atexit([] { [[maybe_unused]] int r = std::system(("rm -rf " + folder()).c_str()); });
        return name;
    }());
    return made;
}

Entry said(const std::string& text) { return {Entry::Kind::User, "t1", {}, text, {}, Outcome::Failed}; }

const std::string& whole_file() {
    static const std::string bytes = [] {
        const std::string path = folder() + "/whole.db";
        {
            Journal journal(path, Durability::PowerLoss);
            for (int n = 0; n < 12; ++n) {
                journal.append(said(std::string(700, 'x')));
                journal.append({Entry::Kind::Assistant, "t1", "m", {},
                                json::parse(R"([{"type":"text","text":"y"}])"), Outcome::Ok});
            }
            journal.append({Entry::Kind::Rewind, "t1", {}, {}, json::parse(R"({"from":20})"), Outcome::Ok});
            Database(path, Durability::PowerLoss).run("PRAGMA wal_checkpoint(TRUNCATE)");
        }
        return read_file(path, MiB(1));
    }();
    return bytes;
}

// Three bytes an order: where, and what becomes of it.
std::string changed(const uint8_t* data, size_t size) {
    std::string bytes = whole_file();
    for (size_t at = 0; at + 3 < size && !bytes.empty(); at += 4) {
        const size_t place = (data[at + 1] | size_t{data[at + 2]} << 8) % bytes.size();
        if (data[at] % 16 == 0)
            bytes.resize(place);
        else if (data[at] % 16 == 1)
            bytes.insert(place, bytes.substr(0, 4096));
        else
            bytes[place] = static_cast<char>(data[at + 3]);
    }
    return bytes;
}

void add_entry(const std::string& path, const uint8_t* data, size_t size) {
    static const char* const kKinds[] = {"user", "assistant", "result", "summary", "rewind", "hologram"};
    Journal(path, Durability::Scratch).append(said("first"));
    Database file(path, Durability::Scratch);
    const std::string body(reinterpret_cast<const char*>(data + 1), size - 1);
    for (const char* outcome : {"ok", "marvellous"})
        file.prepare("INSERT INTO entries(turn, kind, call, outcome, body) VALUES('t2', ?, 'c', ?, ?)")
            .bind(kKinds[data[0] % 6])
            .bind(outcome)
            .bind(body)
            .run();
}

void check(Journal& journal) {
    int64_t last = 0;
    const std::vector<Entry> entries = journal.entries();
    for (const Entry& entry : entries) {
        must(entry.seq > last);
        last = entry.seq;
        if (entry.kind == Entry::Kind::User || entry.kind == Entry::Kind::Result)
            must(json::valid_utf8(entry.text) == entry.text);
    }
    const std::vector<Entry> kept = standing(entries);
    must(kept.size() <= entries.size());
    const std::vector<Entry> out = shown(kept, shown_state(kept));
    for (const Entry& entry : out) must(entry.kind != Entry::Kind::Rewind);
    (void)cut(kept, 0, 100);
    (void)newest_summary(kept);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) return 0;
    (void)whole_file();
    const std::string path = folder() + "/s1.db";
    for (const char* of : {"", "-wal", "-shm", "-journal", ".damaged", ".damaged-wal", ".rebuilt", ".new", ".new-wal", ".new-shm"})
        (void)::unlink((path + of).c_str());
    try {
        if (data[0] & 1)
            write_file_atomic(path, changed(data + 1, size - 1), 0600);
        else
            add_entry(path, data + 1, size - 1);
        {
            Journal journal(path, Durability::Scratch);
            check(journal);
            journal.append(said("added"));
        }
        Journal again(path, Durability::Scratch);
        const std::vector<Entry> entries = again.entries();
        must(!entries.empty() && entries.back().text == "added");
        check(again);
    } catch (const Error&) {
        // Refused, which is an answer too.
    }
    return 0;
}
