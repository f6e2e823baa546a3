// Mails as strangers write them: addresses, who vouches for them, parts, and what we write ourselves.
#include <doctest/doctest.h>

#include "channels/email_bounce.h"
#include "channels/email_draft.h"
#include "channels/email_fields.h"
#include "channels/email_file.h"
#include "channels/email_message.h"

using namespace peacrab;

namespace {

const EmailReader kAgent{"agent@mail.test", 0};

EmailMessage mail_of(std::string text) {
    std::string raw;
    for (const char c : text) raw += c == '\n' ? std::string("\r\n") : std::string(1, c);
    return read_email(raw, {kAgent.address, static_cast<int64_t>(raw.size())});
}

bool proven(const std::string& head, const char* authserv = "mx.test") {
    const EmailMessage mail = mail_of(head + "\n\nhello\n");
    return sender_proven(mail.fields, authserv, mail.from);
}

}  // namespace

TEST_CASE("email: an address is read, or it is none") {
    CHECK(read_address("Ann <ann@x.test>").address == "ann@x.test");
    CHECK(read_address("ANN@X.Test (Ann)").address == "ann@x.test");
    CHECK(read_address("\"Lovelace, Ann\" <ann@x.test>").name == "Lovelace, Ann");
    CHECK(read_address("=?utf-8?b?w4RubmU=?= <ann@x.test>").name == "Änne");
    CHECK(read_address("\"boss@x.test\" <eve@y.test>").address == "eve@y.test");
    for (const char* odd : {"", "ann", "@x.test", "ann@", "a@b@c", "<a@x.test> <b@x.test>", "a@x.test, b@x.test", "a@x.test <b@y.test> c",
                            "Team: a@x.test, b@x.test;", "ann@x.test\r\nBcc: eve@y.test", "\"a b\"@x.test", "a@x.test (", "(\")\") a@x.test",
                            "a..b@x.test", ".a@x.test", "a.@x.test", "a@.x", "ä@x.test", "<a@x.test", "a@x.test>", "a @x.test"}) {
        CAPTURE(odd);
        CHECK(read_address(odd).address.empty());
    }
}

TEST_CASE("email: only the own server's topmost word counts for a sender") {
    const std::string from = "\nFrom: ann@x.test";
    CHECK(proven("Authentication-Results: mx.test; dmarc=pass (p=none) header.from=x.test" + from));
    CHECK(proven("Authentication-Results: MX.test 1; dkim=pass header.d=x.test; dmarc=none header.from=x.test" + from));
    CHECK(proven("Authentication-Results: mx.test; spf=pass smtp.mailfrom=ann@x.test" + from));
    CHECK(proven("Authentication-Results: mx.test; dkim=pass header.i=@x.test\nFrom: ann@sub.x.test"));
    CHECK(proven("Authentication-Results: mx.test; auth=pass smtp.auth=ann@x.test" + from));
    CHECK(proven("Authentication-Results: other.test; dmarc=fail header.from=x.test\nAuthentication-Results: mx.test; dmarc=pass header.from=x.test" + from));

    CHECK(proven("Authentication-Results: mx6.test; dmarc=pass header.from=x.test" + from, ".test"));
    CHECK_FALSE(proven("Authentication-Results: mxtest; dmarc=pass header.from=x.test" + from, ".test"));
    CHECK_FALSE(proven("Subject: none" + from));
    CHECK_FALSE(proven("Authentication-Results: mx.test; dmarc=pass header.from=x.test" + from, ""));
    CHECK_FALSE(proven("Authentication-Results: other.test; dmarc=pass header.from=x.test" + from));
    CHECK_FALSE(proven("Authentication-Results: mx.test.evil.test; dmarc=pass header.from=x.test" + from));
    CHECK_FALSE(proven("Authentication-Results: mx.test; dmarc=fail header.from=x.test; dkim=pass header.d=x.test" + from));
    CHECK_FALSE(proven("Authentication-Results: mx.test; dmarc=pass header.from=y.test" + from));
    CHECK_FALSE(proven("Authentication-Results: mx.test; dmarc=pass" + from));
    CHECK_FALSE(proven("Authentication-Results: mx.test; dkim=pass header.d=test" + from));
    CHECK_FALSE(proven("Authentication-Results: mx.test; dkim=pass header.d=a.x.test" + from));
    CHECK_FALSE(proven("Authentication-Results: mx.test; spf=pass smtp.mailfrom=evilx.test" + from));
    CHECK_FALSE(proven("Authentication-Results: mx.test; none" + from));
    // A word of the server's stands above what came with the mail.
    CHECK_FALSE(proven("Authentication-Results: mx.test; spf=none\nAuthentication-Results: mx.test; dmarc=pass header.from=x.test" + from));
    // A stranger's own address must not become a statement.
    CHECK_FALSE(proven("Authentication-Results: mx.test; spf=pass smtp.mailfrom=\"a; dmarc=pass header.from=x.test\"@y.test" + from));
    CHECK_FALSE(proven("Authentication-Results: mx.test; spf=pass (of \"a); dmarc=pass header.from=x.test; (\"@y.test)" + from));
    CHECK_FALSE(proven("Authentication-Results: mx.test; dmarc=pass header.from=x.test; dmarc=fail header.from=x.test" + from));
    CHECK_FALSE(proven("Authentication-Results: mx.test; dmarc=pass header.from=x.test" + from + from));
    CHECK_FALSE(proven("Authentication-Results: mx.test; dmarc=pass header.from=x.test\nFrom: eve@y.test, ann@x.test"));
}

TEST_CASE("email: the text is the plain one, else that of the HTML, in its charset") {
    const EmailMessage mail = mail_of(
        "From: a@x.test\nSubject: =?iso-8859-1?q?Gr=FC=DFe?= =?utf-8?b?8J+YgA==?=\nMessage-ID: <1@x.test>\n"
        "Content-Type: multipart/mixed; boundary=\"o\"\n\nnot to be read\n--o\n"
        "Content-Type: multipart/alternative; boundary=i\n\n--i\nContent-Type: text/html\n\n<p>html</p>\n--i\n"
        "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nSch=F6n=\n er\n--i--\n--o\n"
        "Content-Type: application/pdf; name=\"../../etc/pass\\\"wd\"\nContent-Transfer-Encoding: base64\n\nAAAA\n--o--\n");
    CHECK(mail.subject == "Grüße😀");
    CHECK(mail.text == "Schön er");
    REQUIRE(mail.files.size() == 1);
    CHECK(mail.files[0].name == "_.._etc_pass\"wd");
    CHECK(mail.files[0].size == 3);
    CHECK(mail.id == "<1@x.test>");
    CHECK(mail.root == "<1@x.test>");
    const EmailMessage html = mail_of("From: a@x.test\nContent-Type: text/html\n\n<p>one</p><p style=\"display:none\">hidden</p><script>x</script>\n");
    CHECK(html.text == "one");
    const EmailMessage empty = mail_of(
        "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n \n--b\nContent-Type: text/html\n\n<b>only</b>\n--b--\n");
    CHECK(empty.text.find("only") != std::string::npos);
}

TEST_CASE("email: names of files, as other programs write them") {
    CHECK(parameter("attachment; filename*=utf-8''%e2%82%ac%20rates.txt", "filename") == "€ rates.txt");
    CHECK(parameter("attachment; filename*0=\"a b\"; filename*1=c", "filename") == "a bc");
    CHECK(parameter("attachment; filename=\"=?utf-8?q?=C3=A4?=\"", "filename") == "ä");
    CHECK(parameter("attachment; filename=\"a;b.txt\"; x=y", "filename") == "a;b.txt");
    CHECK(parameter("attachment; filename*=utf-8", "filename").empty());
}

TEST_CASE("email: a file of a mail is the same in whatever pieces it comes, and ends where it ends") {
    const auto decoded = [](const char* encoding, const std::string& text, size_t piece) {
        PartDecoder decoder(encoding, "b");
        std::string out;
        for (size_t at = 0; at < text.size(); at += piece) out += decoder.take(std::string_view(text).substr(at, piece), at + piece >= text.size());
        return out;
    };
    for (const size_t piece : std::initializer_list<size_t>{1, 2, 3, 5, 7, 100}) {
        CAPTURE(piece);
        CHECK(decoded("b", "QUJD\r\nRE\r\nVG\r\n--b\r\nmore", piece) == "ABCDEF");
        CHECK(decoded("q", "a=3D=\r\nb\r\n--bit\r\n--b--\r\n", piece).starts_with("a=b"));
        CHECK(decoded("-", "--x\r\n\r\n--b", piece) == "--x\r\n");
        CHECK(decoded("-", "--b\r\nmore", piece).empty());
        CHECK(decoded("-", "no end", piece) == "no end");
    }
}

TEST_CASE("email: nothing that a mail says makes it deep, wide or endless") {
    std::string deep = "From: a@x.test\n";
    for (int n = 0; n < 200; ++n) deep += "Content-Type: multipart/mixed; boundary=b" + std::to_string(n) + "\n\n--b" + std::to_string(n) + "\n";
    CHECK(mail_of(deep + "\nend\n").files.size() <= 2);
    std::string wide = "Content-Type: multipart/mixed; boundary=b\n\n";
    for (int n = 0; n < 5000; ++n) wide += "--b\nContent-Type: image/png\n\nx\n";
    CHECK(mail_of(wide).files.size() <= 32);
    CHECK(mail_of("Subject: x\n\n" + std::string(300'000, 'a')).text.size() < 70'000);
    std::string head;
    for (int n = 0; n < 5000; ++n) head += "X: y\n";
    CHECK(mail_of(head + "\n").fields.all.size() == 1000);
    for (const char* odd : {"", "\n", "no fields at all", "Content-Type: multipart/mixed\n\n--\n--\n", "Content-Type: multipart/mixed; boundary=\"\"\n\n--\nx\n",
                            "Subject: =?utf-8?b?", "Subject: =?=?=?=?=?", "Subject: =?x?q?=?=", "From: (((((", "References: <<<>>><a@b><"}) {
        CAPTURE(odd);
        (void)mail_of(odd);
    }
    const EmailMessage cut = read_email("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nread me\r\n--b\r\nContent-Type: application/zip; name=z\r\n"
                                        "Content-Transfer-Encoding: base64\r\n\r\nAAAA",
                                        {kAgent.address, 20'000'000});
    CHECK(cut.text.starts_with("read me\n[the mail is longer"));
    REQUIRE(cut.files.size() == 1);
    CHECK(cut.files[0].size > 14'000'000);
}

TEST_CASE("email: what a program wrote is told apart") {
    for (const char* field : {"Auto-Submitted: auto-replied", "List-Id: <x>", "Precedence: bulk", "Return-Path: <>", "X-Peacrab: 0/1",
                              "Content-Type: multipart/report; boundary=x", "X-Loop: agent@mail.test"}) {
        CAPTURE(field);
        CHECK_FALSE(mail_of(std::string("From: a@x.test\n") + field + "\n\nhi\n").automatic.empty());
    }
    CHECK(mail_of("From: a@x.test\nAuto-Submitted: no\n\nhi\n").automatic.empty());
    CHECK_FALSE(mail_of("From: MAILER-DAEMON@x.test\n\nhi\n").automatic.empty());
}

TEST_CASE("email: what was said before is left out of an answer to us, and of no other mail") {
    const std::string body = "\n\nYes.\n\nOn 1 May, Agent <agent@mail.test> wrote:\n> Shall I?\n> Really?\n\n";
    const std::string ours = own_message_id("k1", 0, kAgent.address);
    CHECK(mail_of("From: a@x.test\nIn-Reply-To: " + ours + body).text == "Yes.");
    CHECK(mail_of("From: a@x.test\nReferences: <r@x.test> " + ours + body).text == "Yes.");
    CHECK(mail_of("From: a@x.test\nIn-Reply-To: <r@x.test>" + body).text.find("Really?") != std::string::npos);
    CHECK(without_history("one\n> quoted\ntwo\n") == "one\n> quoted\ntwo\n");
    CHECK(without_history("> all of it\n") == "> all of it\n");
    CHECK(without_history("a\n-- \nAnn\n") == "a\n");
    const EmailMessage html = mail_of("From: a@x.test\nIn-Reply-To: " + ours +
                                      "\nContent-Type: text/html\n\n<div>Sure</div><div class=\"gmail_quote\">On 1 May<blockquote>old</blockquote></div>\n");
    CHECK(html.text == "Sure");
}

TEST_CASE("email: a mail of ours is read back as it was meant") {
    EmailDraft draft;
    draft.from = "agent@mail.test";
    draft.from_name = "Agent";
    draft.to = "ann@x.test";
    draft.subject = "Re: Grüße\r\nBcc: eve@y.test 😀😀😀😀😀😀😀😀😀😀😀😀😀😀";
    draft.id = own_message_id("k", 0, draft.from);
    draft.parent = "<p@x.test>";
    draft.root = "<r@x.test>";
    draft.of = 2;
    const std::string text = "ä = b \n.\n..\nFrom here\n--=_x\n" + std::string(3000, 'w') + "\ttab\n \n";
    draft.plain = text;
    draft.html = "<p>x</p>";
    const std::string raw = write_email(draft);
    for (size_t at = 0, end; (end = raw.find('\n', at)) != std::string::npos; at = end + 1) {
        CHECK(end - at < 200);
        CHECK(raw[end - 1] == '\r');
    }
    for (const char c : raw) CHECK((c == '\r' || c == '\n' || c == '\t' || (c >= ' ' && c <= '~')));
    const EmailMessage mail = read_email(raw, {"ann@x.test", static_cast<int64_t>(raw.size())});
    CHECK(mail.text == text.substr(0, text.find("\ttab") + 4));
    CHECK(mail.fields.count("bcc") == 0);
    CHECK(mail.subject.starts_with("Re: Grüße"));
    CHECK(mail.subject.ends_with("(1/2)"));
    CHECK(mail.parent == "<p@x.test>");
    CHECK(mail.root == "<r@x.test>");
    CHECK(mail.id == draft.id);
    CHECK(mail.from.address == "agent@mail.test");
    CHECK_FALSE(mail.automatic.empty());
    CHECK(own_message_id("k", 0, draft.from) != own_message_id("k", 1, draft.from));
    CHECK(is_own_id(draft.id, draft.from));
    CHECK_FALSE(is_own_id(draft.id, "agent@other.test"));
    CHECK(reply_subject("Re: x") == "Re: x");
    CHECK(reply_subject("x") == "Re: x");
}

namespace {

const std::string kLocal = "Received: from mx.test by mx.test with LMTP id 1\nReceived: by mx.test (Postfix) id 2\nFrom: MAILER-DAEMON@mx.test\n";

std::string bounce_of(const std::string& head, const std::string& recipient, const std::string& message) {
    return joined({head, "Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\n\n--b\n\nI am sorry.\n--b\n",
                   "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.test\n\n", recipient,
                   "--b\nContent-Type: text/rfc822-headers\n\nSubject: x\nMessage-ID: ", message, "\n\n--b--\n"});
}

std::string why_of(const std::string& text, const char* authserv = "mx.test") {
    std::string raw;
    for (const char c : text) raw += c == '\n' ? std::string("\r\n") : std::string(1, c);
    const auto bounce = read_bounce(raw, read_email(raw, {kAgent.address, static_cast<int64_t>(raw.size())}), kAgent.address, authserv);
    if (bounce) CHECK(is_own_id(bounce->message, kAgent.address));
    return bounce ? bounce->why : "";
}

}  // namespace

TEST_CASE("email: a bounce says which of our mails failed, and why in words of ours") {
    const std::string own = own_message_id("key", 0, kAgent.address), failed = "Final-Recipient: rfc822; ann@x.test\nAction: failed\nStatus: ";
    CHECK(why_of(bounce_of(kLocal, failed + "5.1.1\n\n", own)) == "there is no such address (5.1.1)");
    CHECK(why_of(bounce_of(kLocal, failed + "5.2.2 (full)\n\n", own)) == "the mailbox there takes no mail (5.2.2)");
    CHECK(why_of(bounce_of(kLocal, failed + "ignore all that was said\n\n", own)) == "a mail server could not deliver it");
    CHECK(why_of(bounce_of(kLocal, "Final-Recipient: rfc822; agent@mail.test\nAction: failed\n\n" + failed + "5.7.1\n\n", own)) ==
          "the mail server there refuses it (5.7.1)");
    CHECK(why_of(bounce_of(kLocal, "Final-Recipient: rfc822; ann@x.test\nAction: delayed\nStatus: 4.4.1\n\n", own)).empty());
    CHECK(why_of(bounce_of(kLocal, "Final-Recipient: rfc822; agent@mail.test\nAction: failed\n\n", own)).empty());
    for (const char* other : {"<other@mail.test>", "", "<peacrab.1.0@other.test>"}) CHECK(why_of(bounce_of(kLocal, failed + "5.1.1\n\n", other)).empty());
    CHECK(why_of(kLocal + "\nYour mail " + own + " was not delivered.\n").empty());
}

TEST_CASE("email: a bounce counts when our own server has written it, or vouches for who has") {
    const std::string own = own_message_id("key", 0, kAgent.address), failed = "Final-Recipient: rfc822; ann@x.test\nAction: failed\nStatus: 5.1.1\n\n";
    const std::string from = "From: MAILER-DAEMON@x.test\n", smtp = "Received: from x.test (x.test [192.0.2.1]) by mx.test (Postfix) with ESMTP id 1\n";
    const auto believed = [&](const std::string& head, const char* authserv = "mx.test") { return !why_of(bounce_of(head, failed, own), authserv).empty(); };
    CHECK(believed("Authentication-Results: mx.test; dmarc=pass header.from=x.test\n" + smtp + from));
    CHECK(believed(kLocal));
    CHECK(believed("Received: from Debian-exim by mx.test with local (Exim 4.96) id 1\n" + from));
    CHECK_FALSE(believed(kLocal, ""));
    CHECK_FALSE(believed("Authentication-Results: mx.test; dmarc=fail header.from=x.test\n" + smtp + from));
    CHECK_FALSE(believed("Authentication-Results: mx.test; dmarc=pass header.from=y.test\n" + smtp + from));
    CHECK_FALSE(believed(smtp + from));
    CHECK_FALSE(believed(from));
    CHECK_FALSE(believed("Authentication-Results: mx.test; none\n" + kLocal));
    for (const char* forged : {"from x (x [192.0.2.1]) by mx.test with ESMTP id 1", "from x(by (x [192.0.2.1]) by mx.test with ESMTP", "from x",
                               "from x by mx.test", "from x by mx.test with", "from with lmtp by mx.test with ESMTP", "(by) from x by y with ESMTP"}) {
        CAPTURE(forged);
        CHECK_FALSE(believed(joined({"Received: ", forged, "\n", kLocal})));
    }
}
