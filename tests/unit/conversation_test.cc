// A conversation taken back, copied and exported: by the turn process, on a journal that may be anything.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>

#include "context/compaction.h"
#include "../support/folder.h"
#include "context/view.h"
#include "error.h"
#include "os.h"
#include "sessions/work.h"

using namespace peacrab;
using namespace peacrab::test;

namespace {

struct JournalFolder : Folder {
    std::string file(const std::string& name = "s1") const { return path + "/" + name + ".db"; }
};

Entry said(const std::string& text, const std::string& turn) {
    return {Entry::Kind::User, turn, {}, text, {}, Outcome::Failed};
}

Entry answered(const std::string& text, const std::string& turn) {
    return {Entry::Kind::Assistant, turn, "m", {},
            json::Value::array({json::Value::object({{"type", "text"}, {"text", text}})}), Outcome::Ok};
}

Entry summed_up(int64_t upto, const std::string& turn) {
    return {Entry::Kind::Summary, turn, {}, {},
            json::Value::object({{"upto", upto}, {"text", "what was said"}}), Outcome::Ok};
}

json::Value names(std::initializer_list<const char*> turns) {
    json::Value all = json::Value::array();
    for (const char* turn : turns) all.push(turn);
    return all;
}

std::string texts(const std::vector<Entry>& entries) {
    std::string all;
    for (const Entry& entry : entries)
        all += entry.kind == Entry::Kind::User ? entry.text + "|"
               : entry.kind == Entry::Kind::Summary ? "(summary)|" : "a|";
    return all;
}

// Three turns of a question and an answer each, t1 to t3.
void fill(Journal& journal) {
    for (const char* turn : {"t1", "t2", "t3"})
        journal.append({said(std::string("in ") + turn, turn), answered(std::string("to ") + turn, turn)});
}

struct Worked {
    std::string why, text, notice;
};

// As the warden has it done: parts, each answered by `more`.
Worked work(json::Value frame) {
    SocketPair pair = SocketPair::stream();
    const pid_t pid = ::fork();
    if (pid == 0) {
        pair.ours.reset();
        FrameSocket warden(std::move(pair.theirs), Dialect::WardenToTurn, Dialect::TurnToWarden);
        std::string why;
        try {
            why = journal_work(warden, frame);
        } catch (const Error& error) {
            why = std::string("threw ") + error.what();
        }
        warden.send(json::Value::object({{"type", "done"}, {"status", "done"}, {"error", why}}));
        ::_exit(0);
    }
    pair.theirs.reset();
    Pidfd child = Pidfd::of_child(pid);
    FrameSocket turn(std::move(pair.ours), Dialect::TurnToWarden, Dialect::WardenToTurn);
    Worked worked;
    for (;;) {
        const std::optional<json::Value> said = turn.receive(Deadline::in(Seconds(20)));
        REQUIRE(said);
        if (said->text("type") == "done") {
            worked.why = said->text("error");
            return worked;
        }
        if (said->text("type") == "notice") {
            worked.notice = said->text("text");
            continue;
        }
        worked.text += said->text("text");
        turn.send(json::Value::object({{"type", "more"}}));
    }
}

json::Value frame(const JournalFolder& folder, const std::string& what, json::Value undone = json::Value::array()) {
    return json::Value::object({{"type", "work"},
                                {"what", what},
                                {"agent", "main"},
                                {"session", "s1"},
                                {"journal", folder.file()},
                                {"undone", std::move(undone)}});
}

}  // namespace

TEST_CASE("conversation: turns are taken back from the newest on, and what is said then stands") {
    JournalFolder folder;
    Journal journal(folder.file(), Durability::ProcessCrash);
    fill(journal);
    CHECK(texts(conversation(journal, nullptr)) == "in t1|a|in t2|a|in t3|a|");
    json::Value undone = names({"t3"});
    CHECK(texts(conversation(journal, &undone)) == "in t1|a|in t2|a|");
    journal.append(said("in t4", "t4"));
    CHECK(texts(conversation(journal, &undone)) == "in t1|a|in t2|a|in t4|");
    undone = names({"t4", "t3", "t2"});
    CHECK(texts(conversation(journal, &undone)) == "in t1|a|");
    journal.append(said("in t5", "t5"));
    CHECK(texts(conversation(journal, &undone)) == "in t1|a|in t5|");
    CHECK(texts(conversation(journal, nullptr)) == "in t1|a|in t5|");
    // Told again and again it is written once: two rewinds for t3 and t4, t2; nothing is ever taken away.
    int64_t rewinds = 0, all = 0;
    journal.each([&](const Entry& entry) {
        rewinds += entry.kind == Entry::Kind::Rewind;
        return ++all > 0;
    });
    CHECK(rewinds == 3);
    CHECK(all == 6 + 2 + 3);
}

TEST_CASE("conversation: a turn of which nothing was written needs no entry") {
    JournalFolder folder;
    Journal journal(folder.file(), Durability::ProcessCrash);
    fill(journal);
    const json::Value undone = names({"t9", "t8"});
    CHECK(texts(conversation(journal, &undone)) == "in t1|a|in t2|a|in t3|a|");
    CHECK(journal.entries().size() == 6);
}

TEST_CASE("conversation: with its turn a summary is taken back; undoing a summary alone outlives it") {
    JournalFolder folder;
    Journal journal(folder.file(), Durability::ProcessCrash);
    fill(journal);
    journal.append({summed_up(4, "t4"), said("in t4", "t4")});
    CHECK(newest_summary(conversation(journal, nullptr)) == 7);
    const json::Value undone = names({"t4"});
    const std::vector<Entry> entries = conversation(journal, &undone);
    CHECK_FALSE(newest_summary(entries));
    CHECK(texts(shown(entries, shown_state(entries))) == "in t1|a|in t2|a|in t3|a|");
    CHECK_FALSE(undo_summary(journal, ""));
}

TEST_CASE("view: a damaged rewind hides nothing") {
    std::vector<Entry> entries = {said("one", "t1"), said("two", "t2")};
    entries[0].seq = 1;
    entries[1].seq = 2;
    for (const char* content : {"{}", R"({"from":0})", R"({"from":-3})", R"({"from":"1"})", R"({"from":3})"}) {
        std::vector<Entry> with = entries;
        with.push_back({Entry::Kind::Rewind, "t2", {}, {}, json::parse(content), Outcome::Ok});
        with.back().seq = 3;
        CHECK(texts(standing(with)) == "one|two|");
    }
}

TEST_CASE("export: a line an entry, with what was taken back marked; Markdown without it") {
    JournalFolder folder;
    {
        Journal journal(folder.file(), Durability::ProcessCrash);
        fill(journal);
        const json::Value undone = names({"t2"});
        (void)conversation(journal, &undone);  // and so t3 too
        journal.append(said("# no heading of ours\n\x1b[2J", "t4"));
        journal.append({answered("fine", "t4"), {Entry::Kind::Result, "t4", "c1", "```\nout", {}, Outcome::TimedOut}});
        journal.append(said("pending", "t5"));
    }
    json::Value asked = frame(folder, "export", names({"t5", "t2"}));
    asked.set("form", "jsonl");
    const Worked lines = work(asked);
    CHECK(lines.why == "");
    std::string seen;
    for (const std::string& line : split(lines.text, '\n')) {
        if (line.empty()) continue;
        const json::Value entry = json::parse(line);
        CHECK(entry.integer("at") > 1'600'000'000);
        seen += std::to_string(entry.integer("seq")) + entry.text("kind") + (entry.flag("undone") ? "- " : " ");
    }
    CHECK(seen == "1user 2assistant 3user- 4assistant- 5user- 6assistant- 7rewind 8user 9assistant 10result 11user- ");
    CHECK(lines.text.find("\x1b") == std::string::npos);
    CHECK(lines.text.find(R"("call":"c1","outcome":"timed out","text":"```\nout")") != std::string::npos);
    asked.set("form", "md");
    const Worked md = work(asked);
    CHECK(md.text.starts_with("# main, session s1\n\n## You, 20"));
    CHECK(md.text.find("\n\\# no heading of ours\n") != std::string::npos);
    CHECK(md.text.find("````\n```\nout\n````\n") != std::string::npos);
    CHECK(md.text.find("in t2") == std::string::npos);
    CHECK(md.text.find("pending") == std::string::npos);
}

TEST_CASE("export: long ones come in parts, whole letters each") {
    JournalFolder folder;
    std::string text;
    for (int n = 0; n < 200'000; ++n) text += "ü";
    { Journal(folder.file(), Durability::ProcessCrash).append({said(text, "t1"), said("end", "t1")}); }
    json::Value asked = frame(folder, "export");
    asked.set("form", "jsonl");
    const Worked worked = work(asked);
    const std::vector<std::string> lines = split(worked.text, '\n');
    REQUIRE(lines.size() == 3);
    CHECK(json::parse(lines[0]).text("text") == text);
}

TEST_CASE("export: of a damaged journal what can be read, and that it is damaged") {
    JournalFolder folder;
    {
        Journal journal(folder.file(), Durability::PowerLoss);
        for (int n = 0; n < 60; ++n) journal.append(said("entry " + std::to_string(n) + std::string(3000, 'x'), "t1"));
        Database(folder.file(), Durability::PowerLoss).run("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    std::string bytes = read_file(folder.file(), MiB(4));
    const size_t page = bytes.find("entry 30") / 4096 * 4096;
    for (size_t at = page; at < page + 4096; ++at) bytes[at] = '\xff';
    write_file_atomic(folder.file(), bytes, 0600);
    json::Value asked = frame(folder, "export");
    asked.set("form", "jsonl");
    const Worked worked = work(asked);
    CHECK(worked.why == "");
    CHECK(worked.notice.find("the file is broken behind entry") != std::string::npos);
    CHECK(worked.text.find("entry 0x") != std::string::npos);
    CHECK(worked.text.find("entry 59x") != std::string::npos);
    CHECK(worked.text.find("entry 30x") == std::string::npos);
}

TEST_CASE("export: a session in which nothing was said is told, and no file is made") {
    JournalFolder folder;
    json::Value asked = frame(folder, "export");
    asked.set("form", "md");
    CHECK(work(asked).why == "nothing has been said in this session yet");
    CHECK(::access(folder.file().c_str(), F_OK) < 0);
}

TEST_CASE("fork: what stands is copied, what goes on in the one is not in the other") {
    JournalFolder folder;
    Journal journal(folder.file(), Durability::ProcessCrash);
    fill(journal);
    json::Value asked = frame(folder, "copy", names({"t3"}));
    asked.set("to", folder.file("s2"));
    CHECK(work(asked).why == "");
    CHECK(work(asked).why == "there is a journal of this name already");
    Journal copied(folder.file("s2"), Durability::ProcessCrash);
    CHECK(texts(copied.entries()) == "in t1|a|in t2|a|");
    copied.append(said("only here", "t4"));
    CHECK(texts(standing(journal.entries())) == "in t1|a|in t2|a|");
    const json::Value undone = names({"t4", "t2"});
    CHECK(texts(conversation(copied, &undone)) == "in t1|a|");
}

TEST_CASE("uncompact: the newest summary is out of force, and that there is none is told") {
    JournalFolder folder;
    Journal journal(folder.file(), Durability::ProcessCrash);
    fill(journal);
    CHECK(work(frame(folder, "uncompact")).why == "there is no summary to take back");
    journal.append(summed_up(4, "t4"));
    CHECK(work(frame(folder, "uncompact")).why == "");
    CHECK_FALSE(newest_summary(standing(journal.entries())));
    CHECK(work(frame(folder, "format the disk")).why == "unknown work");
}
