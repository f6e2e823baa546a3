#include <doctest/doctest.h>

#include "channels/outbox.h"
#include "frame.h"

using namespace peacrab;

namespace {

std::string buttons_of(const Poster::Piece& piece) {
    std::string text;
    for (const Poster::Choice& choice : piece.choices) text += " [" + choice.label + "=" + choice.value + "]";
    return text;
}

// Writes down what it is told, and answers as the test wants.
struct Fake : Poster {
    std::vector<std::string> said;
    std::vector<Done> answers;  // taken from the front; then all is well

    Done answer(const std::string& what) {
        said.push_back(what);
        if (answers.empty()) return {.ok = true, .platform = "p" + std::to_string(said.size())};
        const Done done = answers.front();
        answers.erase(answers.begin());
        return done;
    }
    bool knows(const std::string& conversation) const override { return conversation != "nowhere"; }
    bool is_group(const std::string& conversation) const override { return conversation[0] == 'g'; }
    std::vector<RenderedPart> render_parts(std::string_view text) const override {
        return render(text, {Markup::Plain, 256, RenderStyle::Unit::CodePoints});
    }
    Done post(const Where& where, const Piece& piece) override {
        return answer(where.conversation + ">" + piece.text.substr(0, 8) + (piece.reply_to.empty() ? "" : "@" + piece.reply_to) + buttons_of(piece));
    }
    Done edit(const Where& where, const std::string& platform, const Piece& piece) override {
        const Done done = answer(where.conversation + "=" + platform + ":" + piece.text + buttons_of(piece));
        return done.ok ? Done{.ok = true, .platform = platform} : done;
    }
    Done post_file(const Where& where, const Piece&, const File& file) override {
        return answer(where.conversation + "+" + file.name + ":" + file.bytes);
    }
    Done show_typing(const Where& where) override { return answer(where.conversation + "..."); }
};

struct Rig {
    SocketPair pair = SocketPair::stream();
    ChannelPort port{std::move(pair.theirs), UniqueFd()};
    Fake fake;
    Outbox outbox;
    FrameBuffer buffer;

    explicit Rig(OutboxPace pace = {.between = Milliseconds(0), .between_shown = Milliseconds(0)})
        : outbox(port, fake, pace) {}
    void tell(const std::string& text) { CHECK(outbox.take(json::parse(text))); }
    // What the warden heard, as "type kind-or-platform".
    std::vector<std::string> heard() {
        std::vector<std::string> out;
        std::array<char, 65536> bytes;
        set_nonblocking(pair.ours.get());
        if (const std::optional<size_t> n = read_some(pair.ours.get(), bytes)) buffer.append({bytes.data(), *n});
        while (const std::optional<std::string> line = buffer.next()) {
            const json::Value frame = json::parse(*line);
            out.push_back(frame.text("type") + " " + frame.text("class") + frame.text("platform"));
        }
        return out;
    }
};

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("outbox: parts go out in order, one conversation does not wait for another") {
    Rig rig({.between = Milliseconds(50)});
    const std::string text(400, 'a');
    rig.tell(R"({"type":"deliver","id":"1","key":"k","conversation":"c","reply_to":"7","text":")" + text + "\"}");
    rig.tell(R"({"type":"deliver","id":"2","key":"l","conversation":"c","text":"second"})");
    rig.tell(R"({"type":"deliver","id":"3","key":"m","conversation":"d","text":"other"})");
    rig.outbox.work();
    CHECK(rig.fake.said == Lines{"c>aaaaaaaa@7", "d>other"});
    rig.outbox.work();
    CHECK(rig.fake.said.size() == 2);  // not before its time
    while (!rig.outbox.idle()) rig.outbox.work();
    CHECK(rig.fake.said == Lines{"c>aaaaaaaa@7", "d>other", "c>aaaaaaaa", "c>second"});
    CHECK(rig.heard() == Lines{"sent p1", "sent p2", "sent p3", "sent p4"});
}

TEST_CASE("outbox: buttons stand below the last part, and an edit without any has none") {
    Rig rig;
    const std::string choices = R"("choices":[{"label":"yes","value":"1a"},{"label":"no","value":"2b"}])";
    rig.tell(R"({"type":"deliver","id":"1","key":"k","conversation":"c","text":")" + std::string(400, 'a') + R"(",)" + choices + "}");
    while (!rig.outbox.idle()) rig.outbox.work();
    rig.tell(R"({"type":"deliver","id":"2","key":"l","conversation":"c","platform":"p2","text":"or",)" + choices + "}");
    rig.tell(R"({"type":"deliver","id":"3","key":"m","conversation":"c","platform":"p2","text":"done"})");
    while (!rig.outbox.idle()) rig.outbox.work();
    CHECK(rig.fake.said == Lines{"c>aaaaaaaa", "c>aaaaaaaa [yes=1a] [no=2b]", "c=p2:or [yes=1a] [no=2b]", "c=p2:done"});
}

TEST_CASE("outbox: what failed is told, and the rest of it is not sent") {
    Rig rig;
    rig.fake.answers = {{.failure = {"unknown", "cut"}}};
    rig.tell(R"({"type":"deliver","id":"1","key":"k","conversation":"c","text":")" + std::string(400, 'a') + "\"}");
    rig.outbox.work();
    CHECK(rig.outbox.idle());
    rig.tell(R"({"type":"deliver","id":"2","key":"k","conversation":"nowhere","text":"x"})");
    rig.tell(R"({"type":"deliver","id":"3","key":"k","conversation":"c","text":"x","from":1})");
    CHECK(rig.heard() == Lines{"failed unknown", "failed permanent", "failed permanent"});
    CHECK(rig.fake.said.size() == 1);
}

TEST_CASE("outbox: a failure that concerns all stops the round; what is throttled waits alone") {
    Rig rig;
    rig.fake.answers = {{.failure = {"not_sent", "no network"}, .for_all = true}};
    rig.tell(R"({"type":"deliver","id":"1","key":"k","conversation":"c","text":"x"})");
    rig.tell(R"({"type":"deliver","id":"2","key":"k","conversation":"d","text":"y"})");
    rig.outbox.work();
    CHECK(rig.fake.said == Lines{"c>x"});
    CHECK(rig.outbox.take_trouble()->error == "no network");
    rig.fake.answers = {{.failure = {"throttled", "wait", Milliseconds(60'000)}}};
    rig.outbox.work();
    CHECK(rig.outbox.idle());
    rig.tell(R"({"type":"deliver","id":"3","key":"k","conversation":"d","text":"later"})");
    rig.tell(R"({"type":"deliver","id":"4","key":"k","conversation":"c","text":"now"})");
    rig.outbox.work();
    CHECK(rig.fake.said == Lines{"c>x", "d>y", "c>now"});
    CHECK(rig.outbox.next_due() > std::chrono::steady_clock::now() + Seconds(50));
}

TEST_CASE("outbox: a line is one message; it ends where an answer begins") {
    Rig rig;
    rig.tell(R"({"type":"show","slot":"s","conversation":"c","text":"one"})");
    rig.outbox.work();
    rig.tell(R"({"type":"show","slot":"s","conversation":"c","text":"two"})");  // it had not heard of the first
    rig.outbox.work();
    rig.tell(R"({"type":"show","slot":"s","conversation":"c","text":"old","platform":"p1"})");
    rig.tell(R"({"type":"deliver","id":"1","key":"k","conversation":"c","text":"answer","platform":"p1"})");
    rig.outbox.work();
    CHECK(rig.fake.said == Lines{"c>one", "c=p1:two", "c=p1:answer"});
    CHECK(rig.heard() == Lines{"shown p1", "shown p1", "shown p1", "sent p1"});
    rig.tell(R"({"type":"show","slot":"s","conversation":"c","text":"the next turn's"})");
    rig.outbox.work();
    CHECK(rig.fake.said.back() == "c>the next");
}

TEST_CASE("outbox: lines that may be lost leave room for what may not") {
    Rig rig({.between = Milliseconds(0), .between_shown = Milliseconds(0), .shown_a_minute = 2});
    for (const char* slot : {"a", "b", "c"})
        rig.tell(std::string(R"({"type":"show","conversation":"c","text":"x","slot":")") + slot + "\"}");
    rig.tell(R"({"type":"deliver","id":"1","key":"k","conversation":"d","text":"answer"})");
    rig.outbox.work();
    CHECK(rig.fake.said == Lines{"d>answer", "c>x", "c>x"});
}

TEST_CASE("outbox: a group takes so many a minute, of which lines that may be lost leave some to the rest") {
    Rig rig({.between = Milliseconds(0), .between_shown_group = Milliseconds(0), .group_minute = 3, .group_minute_shown = 2});
    for (const char* slot : {"a", "b", "c"})
        rig.tell(std::string(R"({"type":"show","conversation":"g","text":"x","slot":")") + slot + "\"}");
    rig.outbox.work();
    CHECK(rig.fake.said == Lines{"g>x", "g>x"});
    for (const char* id : {"1", "2"})
        rig.tell(std::string(R"({"type":"deliver","key":"k","conversation":"g","text":"answer","id":")") + id + "\"}");
    rig.tell(R"({"type":"deliver","id":"3","key":"k","conversation":"c","text":"other"})");
    for (int i = 0; i < 5; ++i) rig.outbox.work();
    CHECK(rig.fake.said == Lines{"g>x", "g>x", "g>answer", "c>other"});
    CHECK(rig.outbox.next_due() > std::chrono::steady_clock::now() + Seconds(50));
}

TEST_CASE("outbox: a sign of life waits as long as it is told, and ends when nobody sees it") {
    const OutboxPace pace{.typing_lease = Milliseconds(90'000), .typing_again = Milliseconds(0)};
    Rig rig(pace);
    rig.fake.answers = {{.ok = true}, {.failure = {"throttled", "wait", Milliseconds(60'000)}}};
    rig.tell(R"({"type":"typing","conversation":"c","on":true})");
    for (int i = 0; i < 5; ++i) rig.outbox.work();
    CHECK(rig.fake.said.size() == 2);
    CHECK(rig.outbox.next_due() > std::chrono::steady_clock::now() + Seconds(50));
    CHECK(rig.outbox.next_due() < Outbox::Time::max());
    Rig unseen(pace);
    unseen.fake.answers = {{.ok = true}, {.failure = {"gone", "nobody"}}};
    unseen.tell(R"({"type":"typing","conversation":"c","on":true})");
    for (int i = 0; i < 5; ++i) unseen.outbox.work();
    CHECK(unseen.fake.said.size() == 2);
    CHECK(unseen.outbox.next_due() == Outbox::Time::max());
}
