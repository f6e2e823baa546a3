// The audit's chain, looked at by a child while its owner goes on.
#include "launch/audit_check.h"

#include <doctest/doctest.h>
#include <signal.h>

#include <optional>

#include "audit.h"
#include "cell_fixture.h"
#include "json.h"

using namespace peacrab;

namespace {

using State = AuditChecker::Result::State;

void fill(const std::string& folder, int records, AuditOptions options = {}) {
    Audit audit(folder, options);
    for (int i = 0; i < records; ++i)
        audit.append(json::Value::object({{"kind", "test"}, {"number", i}}), Audit::Until::Page);
}

AuditChecker::Result asked(AuditChecker& checker, Loop& loop) {
    std::optional<AuditChecker::Result> answer;
    checker.check([&](const AuditChecker::Result& result) { answer = result; });
    CHECK_FALSE(answer);  // never from inside
    const Deadline deadline = Deadline::in(Seconds(30));
    while (!answer && !deadline.passed()) loop.run_once(Milliseconds(50));
    REQUIRE(answer);
    return *answer;
}

}  // namespace

TEST_CASE("audit check: all files are counted, and whole") {
    test::Folder folder;
    Loop loop;
    AuditChecker checker(loop, folder.path);
    fill(folder.path, 9);
    CHECK(asked(checker, loop).text == "10 records in 1 file, whole");
    fill(folder.path, 400, {.file_size = KiB(8), .files = 100});
    const AuditChecker::Result result = asked(checker, loop);
    CHECK(result.state == State::Whole);
    CHECK(result.text.starts_with("410 records in "));
    CHECK(result.text.ends_with(" files, whole"));
}

TEST_CASE("audit check: the first record that was changed is named, in an older file too") {
    test::Folder folder;
    Loop loop;
    fill(folder.path, 400, {.file_size = KiB(8), .files = 100});
    const std::string name = folder.path + "/audit-000002.jsonl";
    std::string text = read_file(name, MiB(1));
    const size_t at = text.find("\"number\":", text.find('\n'));
    REQUIRE(at != std::string::npos);
    text[at + 9] = text[at + 9] == '9' ? '8' : '9';
    write_file_atomic(name, text, 0600);
    AuditChecker checker(loop, folder.path);
    const AuditChecker::Result result = asked(checker, loop);
    CHECK(result.state == State::Broken);
    CHECK(result.text.starts_with("audit: audit-000002.jsonl: line 2: a record was changed"));
}

TEST_CASE("audit check: what cannot be read is not called whole") {
    test::Folder folder;
    Loop loop;
    AuditChecker checker(loop, folder.path + "/none");
    const AuditChecker::Result result = asked(checker, loop);
    CHECK(result.state == State::Unknown);
    CHECK(result.text.starts_with("not checked: audit: folder"));
}

TEST_CASE("audit check: one that takes too long is ended, and who asks meanwhile is answered too") {
    test::Folder folder;
    Loop loop;
    fill(folder.path, 20'000);
    AuditChecker checker(loop, folder.path, Milliseconds(1));
    std::optional<AuditChecker::Result> other;
    checker.check([](const AuditChecker::Result&) {});
    checker.check([&](const AuditChecker::Result& result) { other = result; });
    const Deadline deadline = Deadline::in(Seconds(30));
    while (!other && !deadline.passed()) loop.run_once(Milliseconds(50));
    REQUIRE(other);
    CHECK(other->state == State::Unknown);
    CHECK(other->text.starts_with("not checked: it took more than"));
}
