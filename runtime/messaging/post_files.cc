// The post's rows of files: what came with a message and is to be fetched, what is to be sent.
#include <algorithm>

#include "error.h"
#include "messaging/post.h"

namespace peacrab {
namespace {

#define FILE_ROW "row, arrival, place, path, line, name, mime, note, handle, size, voice"

FileRow file_of(const Statement& row) {
    FileRow file{row.integer(0), row.integer(1), row.integer(2), row.text(3), row.text(4), {}};
    file.file.name = row.text(5);
    file.file.mime = row.text(6);
    file.file.note = row.text(7);
    file.file.handle = row.text(8);
    file.file.size = row.integer(9);
    file.file.voice = row.integer(10) != 0;
    return file;
}

}  // namespace

void Post::add_file(int64_t place, int64_t arrival, const EventFile& file) {
    database_
        .prepare("INSERT INTO files(arrival, place, name, mime, note, handle, size, voice) VALUES(?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(arrival)
        .bind(place)
        .bind(file.name)
        .bind(file.mime)
        .bind(file.note)
        .bind(file.handle)
        .bind(file.size)
        .bind(int64_t{file.voice})
        .run();
}

std::vector<FileRow> Post::files_of(int64_t arrival) {
    Statement query = database_.prepare("SELECT " FILE_ROW " FROM files WHERE arrival = ? ORDER BY row");
    query.bind(arrival);
    std::vector<FileRow> files;
    while (query.step()) files.push_back(file_of(query));
    return files;
}

// The same for ever, so that who fetches it again puts it there again; no other file's.
std::string Post::name_file(int64_t row, const std::string& wanted) {
    Statement known = database_.prepare("SELECT path FROM files WHERE row = ?");
    if (!known.bind(row).step()) throw Error("store: a file is lost");
    std::string path = known.text(0);
    known.run();
    if (!path.empty()) return path;
    Statement same = database_.prepare("SELECT 1 FROM files WHERE path = ?");
    const bool taken = same.bind(wanted).step();
    same.run();
    const size_t point = std::min(wanted.rfind('.'), wanted.size());
    path = taken ? wanted.substr(0, point) + "-" + std::to_string(row) + wanted.substr(point) : wanted;
    database_.prepare("UPDATE files SET path = ? WHERE row = ?").bind(path).bind(row).run();
    return path;
}

void Post::settle_file(int64_t row, const std::string& line) {
    database_.prepare("UPDATE files SET line = ?, handle = '' WHERE row = ?").bind(line).bind(row).run();
}

// Fetched again it counts once.
void Post::note_taken(const FileRow& file, const ArrivalRow& of, int64_t bytes) {
    constexpr int64_t kLeast = 64 << 10;
    database_.transaction([&] {
        database_.prepare("DELETE FROM taken WHERE at < unixepoch() - 86400").run();
        database_.prepare("INSERT OR REPLACE INTO taken(file, channel, sender, bytes) SELECT ?, channel, ?, ? FROM places WHERE id = ?")
            .bind(file.row)
            .bind(of.sender)
            .bind(std::max(bytes, kLeast))
            .bind(file.place)
            .run();
    });
}

int64_t Post::bytes_taken(const std::string& channel, const std::string& sender) {
    Statement query = database_.prepare("SELECT total(bytes) FROM taken WHERE channel = ? AND sender = ? AND at > unixepoch() - 86400");
    query.bind(channel).bind(sender).step();
    return query.integer(0);
}

void Post::enqueue_file(int64_t place, const std::string& origin, const std::string& text, const Parcel& parcel) {
    database_.transaction([&] {
        if (has_delivery(origin)) return;
        enqueue(place, origin, text);
        database_
            .prepare("INSERT INTO parcels(delivery, agent, path, name, size, sha256, spool) SELECT row, ?, ?, ?, ?, ?, ? FROM "
                     "deliveries WHERE origin = ?")
            .bind(parcel.agent)
            .bind(parcel.path)
            .bind(parcel.name)
            .bind(parcel.size)
            .bind(parcel.sha256)
            .bind(parcel.spool)
            .bind(origin)
            .run();
    });
}

bool Post::has_delivery(const std::string& origin) {
    Statement query = database_.prepare("SELECT 1 FROM deliveries WHERE origin = ?");
    return query.bind(origin).step();
}

std::optional<Parcel> Post::parcel(int64_t delivery) {
    Statement query = database_.prepare("SELECT agent, path, name, sha256, spool, size FROM parcels WHERE delivery = ?");
    if (!query.bind(delivery).step()) return std::nullopt;
    return Parcel{query.text(0), query.text(1), query.text(2), query.text(3), query.text(4), query.integer(5)};
}

std::optional<int64_t> Post::first_to_deliver(int64_t place, int64_t now) {
    Statement query = database_.prepare("SELECT row, state = 'queued' AND not_before <= ? FROM deliveries WHERE place = ? AND state IN "
                                        "('queued', 'sending', 'unknown') ORDER BY row LIMIT 1");
    if (!query.bind(now).bind(place).step() || query.integer(1) == 0) return std::nullopt;
    return query.integer(0);
}

void Post::set_spool(int64_t delivery, const std::string& name) {
    database_.prepare("UPDATE parcels SET spool = ? WHERE delivery = ?").bind(name).bind(delivery).run();
}

void Post::instead_of_file(int64_t delivery, const std::string& text) {
    database_.transaction([&] {
        database_.prepare("DELETE FROM parcels WHERE delivery = ?").bind(delivery).run();
        database_.prepare("UPDATE deliveries SET text = ? WHERE row = ?").bind(text).bind(delivery).run();
    });
}

std::set<std::string> Post::spooled() {
    Statement query = database_.prepare("SELECT spool FROM parcels JOIN deliveries ON row = delivery WHERE spool <> '' AND state IN "
                                        "('queued', 'sending', 'unknown', 'quiet')");
    std::set<std::string> names;
    while (query.step()) names.insert(query.text(0));
    return names;
}

void Post::prune_files() {
    database_.prepare("DELETE FROM files WHERE arrival NOT IN (SELECT row FROM arrivals)").run();
    database_.prepare("DELETE FROM parcels WHERE delivery NOT IN (SELECT row FROM deliveries)").run();
}

}  // namespace peacrab
