#include "messaging/workspace_stream.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"
#include "folder.h"
#include "messaging/spool.h"

using namespace peacrab;

namespace {

using Result = WorkspaceStream::Result;

// A stream whose other end says something, and what becomes of it.
struct Peer {
    Loop loop;
    SocketPair pair = SocketPair::stream();
    std::optional<Result> result;
    std::string taken;
    std::unique_ptr<WorkspaceStream> stream;

    void get(uint64_t most) {
        stream = WorkspaceStream::get(loop, std::move(pair.ours), most, [this](std::string_view bytes) { taken += bytes; },
                                      [this](const Result& done) { result = done; });
    }
    void put(const std::string& text) {
        stream = WorkspaceStream::put(loop, std::move(pair.ours), in_memory(text), text.size(), "a.txt",
                                      [this](const Result& done) { result = done; });
    }
    // The peer says it and hangs up.
    Result says(std::string_view bytes) {
        (void)!::send(pair.theirs.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        pair.theirs.reset();
        return until_done();
    }
    Result until_done() {
        for (const Deadline patience = Deadline::in(Seconds(10)); !result && !patience.passed();) loop.run_once(Milliseconds(100));
        REQUIRE(result);
        return *result;
    }
};

std::string archive(const std::vector<TarEntry>& entries, const std::string& data) {
    std::string out;
    TarWriter writer([&](std::string_view bytes) { out += bytes; });
    for (const TarEntry& entry : entries) {
        writer.begin(entry);
        if (entry.kind == TarEntry::Kind::File) writer.data(data);
    }
    writer.finish();
    return "archive of a file\n" + out;
}

TarEntry file(uint64_t size) { return {TarEntry::Kind::File, "a.txt", "", 0644, size, 0}; }

}  // namespace

TEST_CASE("workspace stream: a file comes whole, and only with a verdict that says so") {
    Peer whole;
    whole.get(100);
    CHECK(whole.says(archive({file(5)}, "hello") + "{\"ok\":true}\n").ok);
    CHECK(whole.taken == "hello");
    Peer without;
    without.get(100);
    const Result cut = without.says(archive({file(5)}, "hello"));
    CHECK(!cut.ok);
    CHECK(cut.cut);
    Peer refused;
    refused.get(100);
    const Result no = refused.says(archive({file(5)}, "hello") + "{\"ok\":false,\"why\":\"it changed\"}\n");
    CHECK(!no.ok);
    CHECK(!no.cut);
    CHECK(no.why == "it changed");
}

TEST_CASE("workspace stream: what is not one file of at most that size is none") {
    const std::string good = "{\"ok\":true}\n";
    const std::string bad[] = {
        good,                                                                // a verdict and no file
        archive({file(200)}, std::string(200, 'x')) + good,                  // larger than was asked for
        archive({file(5), file(5)}, "hello") + good,                         // two
        archive({{TarEntry::Kind::Link, "a", "/etc/passwd", 0777, 0, 0}}, "") + good,
        archive({{TarEntry::Kind::Folder, "a", "", 0755, 0, 0}}, "") + good,
        archive({}, "") + good,
        "archive of a file\narchive of a file\n" + good,
        "archive of a file\n" + std::string(2000, 'x'),
        std::string(20'000, 'x'),                                            // a line without an end
        "{\"ok\":[1]}\n", "{\"ok\"\n", "{\"ok\":true,\"missing\":true}\n", "nonsense\n{\"ok\":true}\n",
        std::string("\0\0\0\n", 4), "",
    };
    for (const std::string& each : bad) {
        Peer peer;
        peer.get(100);
        CAPTURE(each.substr(0, 60));
        CHECK(!peer.says(each).ok);
        CHECK(peer.taken.size() <= 100);
    }
}

TEST_CASE("workspace stream: a file goes out as an archive of it, and a refusal in the middle is heard") {
    Peer peer;
    peer.put("hello");
    std::string got;
    std::string name;
    TarReader reader({.begin = [&](const TarEntry& entry) { name = entry.path; }, .data = [&](std::string_view bytes) { got += bytes; }});
    while (!reader.ended()) {
        peer.loop.run_once(Milliseconds(10));
        char bytes[4096];
        const ssize_t n = ::recv(peer.pair.theirs.get(), bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0) (void)reader.feed({bytes, static_cast<size_t>(n)});
    }
    CHECK(name == "a.txt");
    CHECK(got == "hello");
    CHECK(peer.says("{\"ok\":true}\n").ok);
    Peer full;
    full.put(std::string(4 << 20, 'x'));  // more than the socket holds
    full.loop.run_once(Milliseconds(10));
    const Result no = full.says("{\"ok\":false,\"why\":\"no room\"}\n");
    CHECK(no.why == "no room");
    CHECK(!no.cut);
    Peer busy;
    busy.put("x");
    CHECK(busy.says("{\"ok\":false,\"why\":\"files of this agent are on their way already; try again\"}\n").cut);
}

TEST_CASE("workspace stream: who has ended it hears nothing more") {
    Peer peer;
    peer.get(10);
    peer.stream.reset();
    peer.pair.theirs.reset();
    peer.loop.run_once(Milliseconds(20));
    CHECK(!peer.result);
}

TEST_CASE("spool: what was not kept goes, what is full says so, and only what is named stays") {
    const test::Folder folder;
    Spool spool(folder.path + "/spool");
    { SpoolFile gone(spool, "a"); }
    CHECK_THROWS_AS(spool.open("a"), Error);
    {
        SpoolFile kept(spool, "b");
        kept.write("hello");
        kept.keep();
        CHECK(kept.size() == 5);
        CHECK(kept.sha256() == sha256_hex("hello"));
    }
    CHECK(read_all(spool.open("b").get(), 100) == "hello");
    CHECK(spool.room() == Spool::kMost - 5);
    SpoolFile large(spool, "c");
    REQUIRE(::truncate((folder.path + "/spool/b").c_str(), static_cast<off_t>(Spool::kMost)) == 0);
    SpoolFile none(spool, "d");
    CHECK_THROWS_WITH(none.write("x"), "too much else is on its way just now: try again later");
    spool.keep_only({"b"});
    CHECK(list_folder(folder.path + "/spool") == std::vector<std::string>{"b"});
}
