#include "audit.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>

#include "cell_fixture.h"

using namespace peacrab;
using test::Folder;

namespace {

json::Value record(int n) {
    return json::Value::object({{"kind", "before"},
                                {"agent", "main"},
                                {"tool", "shell"},
                                {"call", "c" + std::to_string(n)}});
}

void write_records(const std::string& folder, int count, AuditOptions options = {}) {
    Audit audit(folder, options);
    for (int i = 0; i < count; ++i) audit.append(record(i), Audit::Until::Page);
}

std::string first_file(const std::string& folder) {
    return folder + "/audit-000001.jsonl";
}

std::string bytes_of(const std::string& path) {
    return read_file(path, MiB(64));
}

void put(const std::string& path, const std::string& text) {
    write_file_atomic(path, text, 0600);
}

std::string complaints(const std::string& folder) {
    std::string all;
    for (const std::string& each : check_audit(folder).complaints) all += each + "\n";
    return all;
}

bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("audit: the hash is SHA-256") {
    CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("audit: records are JSON lines in one chain, and only we can read them") {
    Folder folder;
    const std::string at = folder.path + "/audit";
    write_records(at, 3);
    write_records(at, 2);
    const AuditCheck check = check_audit(at);
    CHECK(check.complaints.empty());
    CHECK(check.records == 6);  // and the one that begins the chain
    CHECK(check.seq == 6);
    const std::vector<std::string> lines = split(bytes_of(first_file(at)), '\n');
    std::string prev(64, '0');
    for (size_t i = 0; i < 6; ++i) {
        const json::Value line = json::parse(lines[i]);
        CHECK(line.integer("seq") == static_cast<int64_t>(i) + 1);
        CHECK(line.integer("time") > 1'700'000'000'000);
        CHECK(line.text("prev") == prev);
        prev = line.text("hash");
    }
    CHECK(prev == check.head);
    CHECK(json::parse(lines[1]).text("call") == "c0");
    struct stat info;
    REQUIRE(::stat(first_file(at).c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0600);
    REQUIRE(::stat(at.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0700);
}

TEST_CASE("audit: a change of any single byte is found, and where") {
    Folder folder;
    write_records(folder.path, 3);
    const std::string whole = bytes_of(first_file(folder.path));
    REQUIRE(complaints(folder.path).empty());
    for (size_t at = 0; at < whole.size(); ++at) {
        for (const char change : {'\x01', '\x20'}) {
            std::string changed = whole;
            changed[at] = static_cast<char>(changed[at] ^ change);
            put(first_file(folder.path), changed);
            CHECK_MESSAGE(!complaints(folder.path).empty(), "byte " << at << " " << changed[at]);
        }
    }
    std::string changed = whole;
    changed[whole.find("\"c1\"") + 1] = 'd';
    put(first_file(folder.path), changed);
    CHECK(holds(complaints(folder.path), "audit-000001.jsonl: line 3: a record was changed"));
}

TEST_CASE("audit: a record taken out, put in, doubled or moved is found") {
    Folder folder;
    write_records(folder.path, 4);
    const std::string whole = bytes_of(first_file(folder.path));
    const std::vector<std::string> lines = split(whole, '\n');
    const auto with = [&](std::vector<size_t> order) {
        std::string text;
        for (const size_t i : order) text += lines[i] + "\n";
        put(first_file(folder.path), text);
        return complaints(folder.path);
    };
    CHECK(with({0, 1, 2, 3, 4}).empty());
    CHECK(holds(with({0, 1, 3, 4}), "line 3: records are missing"));
    CHECK(holds(with({0, 2, 1, 3, 4}), "line 2: records are missing"));
    CHECK(holds(with({0, 1, 1, 2, 3, 4}), "line 3"));
    CHECK(holds(with({1, 2, 3, 4, 0}), "new chain"));
    put(first_file(folder.path), lines[0] + "\n{\"seq\":2}\n" + whole.substr(lines[0].size() + 1));
    CHECK(holds(complaints(folder.path), "line 2: not a record"));
}

TEST_CASE("audit: a broken chain is said, kept, and a new one begins that says so") {
    Folder folder;
    write_records(folder.path, 3);
    std::string changed = bytes_of(first_file(folder.path));
    changed[changed.find("\"c1\"") + 1] = 'd';
    put(first_file(folder.path), changed);
    {
        Audit audit(folder.path);
        CHECK(holds(audit.complaint(), "line 3: a record was changed"));
        audit.append(record(9), Audit::Until::Page);
    }
    CHECK(bytes_of(first_file(folder.path)) == changed);
    CHECK(holds(bytes_of(folder.path + "/audit-000002.jsonl"), "a record was changed"));
    CHECK(holds(complaints(folder.path), "audit-000002.jsonl: line 1: a new chain begins here"));
    CHECK(check_audit(folder.path).complaints.size() == 2);
    // The next start goes on with it, and still says it.
    Audit audit(folder.path);
    CHECK(holds(audit.complaint(), "a new chain begins here"));
    CHECK_FALSE(std::filesystem::exists(folder.path + "/audit-000003.jsonl"));
}

TEST_CASE("audit: what a crash left half written is noted, wherever it was cut") {
    Folder folder;
    write_records(folder.path, 2);
    const std::string whole = bytes_of(first_file(folder.path));
    const size_t last = whole.rfind('\n', whole.size() - 2) + 1;
    for (size_t cut = last + 1; cut < whole.size(); cut += 13) {
        put(first_file(folder.path), whole.substr(0, cut));
        CHECK(holds(complaints(folder.path), "ends within a record"));
        {
            Audit audit(folder.path);
            CHECK(audit.complaint().empty());
            audit.append(record(7), Audit::Until::Page);
        }
        CHECK(complaints(folder.path).empty());
        const std::string repaired = bytes_of(first_file(folder.path));
        CHECK(holds(repaired, "\"dropped_bytes\":" + std::to_string(cut - last)));
        CHECK(holds(repaired, sha256_hex(whole.substr(last, cut - last))));
    }
}

TEST_CASE("audit: a first record that was never finished begins a new chain") {
    for (const std::string left : {"", "{\"seq\":1,\"ki"}) {
        Folder folder;
        put(first_file(folder.path), left);
        Audit audit(folder.path);
        audit.append(record(1), Audit::Until::Disk);
        CHECK(holds(bytes_of(folder.path + "/audit-000002.jsonl"), "no record was left"));
    }
}

TEST_CASE("audit: the chain runs through its files, of which the oldest go") {
    Folder folder;
    const AuditOptions small{KiB(2), 4};
    write_records(folder.path, 200, small);
    const AuditCheck check = check_audit(folder.path);
    CHECK(check.complaints.empty());
    CHECK(check.seq == 201);
    CHECK(check.records < 60);
    size_t files = 0;
    for (const auto& each : std::filesystem::directory_iterator(folder.path))
        files += each.is_regular_file();
    CHECK(files == 4);
    write_records(folder.path, 1, small);
    CHECK(check_audit(folder.path).complaints.empty());
    CHECK(check_audit(folder.path).seq == 202);
}

TEST_CASE("audit: a file taken out of the middle is missed, and a changed older one found") {
    const AuditOptions small{KiB(2), 8};
    Folder folder;
    write_records(folder.path, 60, small);
    const std::string middle = folder.path + "/audit-000004.jsonl";
    std::string text = bytes_of(middle);
    text[text.find("main")] = 'x';
    put(middle, text);
    CHECK(holds(complaints(folder.path), "audit-000004.jsonl: line 1: a record was changed"));
    std::filesystem::remove(middle);
    CHECK(holds(complaints(folder.path), "audit-000004.jsonl: is missing"));
    CHECK(holds(complaints(folder.path), "audit-000005.jsonl: line 1: records are missing"));
}

TEST_CASE("audit: every value is bounded and escaped") {
    Folder folder;
    Audit audit(folder.path);
    audit.append(json::Value::object({{"kind", "before"},
                                      {"agent", "a\n\x1b[2J\xff\",\"hash\":\""},
                                      {"call", std::string(100'000, 'x')},
                                      {"deep", json::Value::object({{"a", 1}})}}),
                 Audit::Until::Page);
    const std::vector<std::string> lines = split(bytes_of(first_file(folder.path)), '\n');
    REQUIRE(lines.size() == 3);
    CHECK(lines[1].size() < 1200);
    CHECK_FALSE(holds(lines[1], "\x1b"));
    CHECK(json::parse(lines[1]).text("agent") == "a\n\x1b[2J\xef\xbf\xbd\",\"hash\":\"");
    CHECK(complaints(folder.path).empty());
}

TEST_CASE("audit: what cannot be written throws, and leaves no half record") {
    Folder folder;
    Audit audit(folder.path);
    audit.append(record(1), Audit::Until::Page);
    const auto size = std::filesystem::file_size(first_file(folder.path));
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit old;
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
    const rlimit tight{size + 50, old.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
    CHECK_THROWS_AS(audit.append(record(2), Audit::Until::Disk), Error);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &old) == 0);
    CHECK(std::filesystem::file_size(first_file(folder.path)) == size);
    audit.append(record(3), Audit::Until::Disk);
    CHECK(complaints(folder.path).empty());
    CHECK(check_audit(folder.path).records == 3);
}

TEST_CASE("audit: two wardens beside each other keep one chain, also over its files") {
    Folder folder;
    const AuditOptions small{KiB(2), 100};
    Audit one(folder.path, small), two(folder.path, small);
    for (int i = 0; i < 40; ++i) {
        one.append(record(i), Audit::Until::Page);
        two.append(record(i), Audit::Until::Page);
        if (i % 3 == 0) two.append(record(i), Audit::Until::Page);
    }
    const AuditCheck check = check_audit(folder.path);
    CHECK(check.complaints.empty());
    CHECK(check.records == 1 + 80 + 14);
}

TEST_CASE("audit: a link where a file should be is refused") {
    Folder folder;
    put(folder.path + "/victim", "safe");
    std::filesystem::create_symlink(folder.path + "/victim", first_file(folder.path));
    CHECK_THROWS_AS(Audit{folder.path}, Error);
    CHECK(bytes_of(folder.path + "/victim") == "safe");
}
