// Records go to the end of a file and are never touched again. The order of a record: locked, so
// that wardens beside each other keep one chain; written with one write(2); and, when an effect
// follows, on the disk before append() returns. The store commits on its own: two flushes before an
// effect, one after it; to have the record in the store's own commit would save one and make the
// proof depend on the very file it is about.
//
// Checking reads fixed places of a line, never JSON: a start must not take long over 4 MiB.
#include "audit.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPENSSL_SUPPRESS_DEPRECATED  // the plain functions: without the providers' start-up and memory
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "error.h"

namespace peacrab {
namespace {

constexpr std::string_view kDomain = "peacrab audit 1\n";
constexpr std::string_view kPrev = ",\"prev\":\"", kHash = "\",\"hash\":\"", kEnd = "\"}";
constexpr size_t kDigits = 64;
constexpr size_t kTail = kPrev.size() + kDigits + kHash.size() + kDigits + kEnd.size();
constexpr int64_t kMaxNumber = 999'999'999;
constexpr Bytes kMaxFile = MiB(256);  // read at most; what we write is far less

std::string first_prev() {
    return std::string(kDigits, '0');
}

std::string file_name(int64_t number) {
    std::array<char, 40> name;
    std::snprintf(name.data(), name.size(), "audit-%06lld.jsonl", static_cast<long long>(number));
    return name.data();
}

std::vector<int64_t> list(int folder) {
    const int fd = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* directory = fd < 0 ? nullptr : ::fdopendir(fd);
    if (!directory) throw ErrnoError("audit: list");
    std::vector<int64_t> numbers;
    while (const dirent* entry = ::readdir(directory)) {
        long long number = 0;
        if (std::sscanf(entry->d_name, "audit-%9lld", &number) == 1 && number > 0 &&
            file_name(number) == entry->d_name)
            numbers.push_back(number);
    }
    ::closedir(directory);
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

std::string read_whole(int folder, int64_t number) {
    const UniqueFd fd(::openat(folder, file_name(number).c_str(),
                               O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd) throw ErrnoError("audit: " + file_name(number));
    std::string text = read_all(fd.get(), kMaxFile.count);
    if (text.size() > kMaxFile.count) throw Error("audit: " + file_name(number) + ": too long");
    return text;
}

// Follows the chain line by line, over files. A break is complained of once; then only a record
// that begins a new chain is taken up again.
struct Chain {
    int64_t seq = 0;
    std::string head;  // "": the first record may follow anything, older files are gone
    bool sound = true;
    uint64_t records = 0;
    std::string complaint;  // of the last line

    bool take(std::string_view line);

  private:
    bool broken(const std::string& why) {
        if (sound) complaint = why;
        sound = false;
        return false;
    }
};

bool Chain::take(std::string_view line) {
    complaint.clear();
    constexpr std::string_view kSeq = "{\"seq\":";
    int64_t number = 0;
    if (line.size() < kSeq.size() + kTail || !line.starts_with(kSeq) || !line.ends_with(kEnd))
        return broken("not a record");
    const char* const digits = line.data() + kSeq.size();
    const auto [after, bad] = std::from_chars(digits, line.data() + line.size(), number);
    const std::string_view rest(after, static_cast<size_t>(line.data() + line.size() - after));
    const std::string_view tail = line.substr(line.size() - kTail);
    const std::string_view prev = tail.substr(kPrev.size(), kDigits);
    const std::string_view hash = tail.substr(kPrev.size() + kDigits + kHash.size(), kDigits);
    const std::string_view hashed = line.substr(0, line.size() - kHash.size() - kDigits - kEnd.size());
    if (bad != std::errc() || !tail.starts_with(kPrev) ||
        tail.substr(kPrev.size() + kDigits, kHash.size()) != kHash)
        return broken("not a record");
    if (sha256_hex(std::string(kDomain) + std::string(hashed)) != hash)
        return broken("a record was changed");
    if (rest.starts_with(",\"kind\":\"new chain\",") && prev == first_prev()) {
        if (seq > 0 || !sound || number > 1) complaint = "a new chain begins here";
        sound = true;
    } else if (!sound) {
        return false;
    } else if (number == 1 && seq == 0 && prev != first_prev()) {
        return broken("the first record follows another one");
    } else if (!head.empty() && (number != seq + 1 || prev != head)) {
        return broken("records are missing or were put in another order");
    }
    seq = number;
    head = hash;
    ++records;
    return complaint.empty();
}

// Feeds the lines of one file. Gives how many bytes at its end are no whole line.
size_t follow(Chain& chain, std::string_view text, const std::string& name,
              std::vector<std::string>& complaints) {
    for (size_t line = 1; !text.empty(); ++line) {
        const size_t end = text.find('\n');
        if (end == std::string_view::npos) return text.size();
        if (!chain.take(text.substr(0, end)) && !chain.complaint.empty())
            complaints.push_back("audit: " + name + ": line " + std::to_string(line) + ": " +
                                 chain.complaint);
        text.remove_prefix(end + 1);
    }
    return 0;
}

// Longer texts are cut; of what is no text only what has a bound itself is taken.
json::Value bounded(const json::Value& value) {
    if (value.is_string() && value.as_string().size() > Audit::kMaxValue)
        return json::valid_utf8(value.as_string().substr(0, Audit::kMaxValue)) + "...";
    return value.is_string() || value.is_integer() || value.is_bool() ? value : json::Value();
}

// Held while a record is written.
class Locked {
  public:
    explicit Locked(int fd) : fd_(fd) {
        while (::flock(fd_, LOCK_EX) < 0)
            if (errno != EINTR) throw ErrnoError("audit: lock");
    }
    Locked(const Locked&) = delete;
    ~Locked() { ::flock(fd_, LOCK_UN); }

  private:
    int fd_;
};

}  // namespace

struct Sha256::Context {
    SHA256_CTX state;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
    if (!SHA256_Init(&context_->state)) throw Error("audit: sha256");
}
Sha256::~Sha256() = default;

void Sha256::add(std::string_view bytes) {
    if (!SHA256_Update(&context_->state, bytes.data(), bytes.size())) throw Error("audit: sha256");
}

std::string Sha256::hex() {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> hash;
    if (!SHA256_Final(hash.data(), &context_->state)) throw Error("audit: sha256");
    return hex_digits({reinterpret_cast<const char*>(hash.data()), hash.size()});
}

std::string sha256_hex(std::string_view bytes) {
    Sha256 sum;
    sum.add(bytes);
    return sum.hex();
}

Audit::Audit(const std::string& folder, AuditOptions options) : options_(options) {
    make_directories(folder, 0700);
    folder_ = UniqueFd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder_) throw ErrnoError("audit: folder");
    const Locked locked(folder_.get());
    load();
}

// Locked. Afterwards the file is open, whole, and its chain is the one that goes on.
void Audit::load() {
    const std::vector<int64_t> numbers = list(folder_.get());
    number_ = numbers.empty() ? 0 : numbers.back();
    if (number_ == 0) {
        begin_file();
        head_ = first_prev();
        return write_line(json::Value::object({{"kind", "new chain"}, {"why", "the first"}}));
    }
    check_newest();
}

void Audit::check_newest() {
    complaint_.clear();
    Chain chain;
    std::vector<std::string> complaints;
    const std::vector<int64_t> numbers = list(folder_.get());
    // Of the file before only its last record matters here: the chain runs through.
    if (numbers.size() > 1 && numbers[numbers.size() - 2] == number_ - 1) {
        std::string before = read_whole(folder_.get(), number_ - 1);
        if (!before.empty() && before.back() == '\n') before.pop_back();
        const size_t start = before.rfind('\n');
        chain.take(std::string_view(before).substr(start == std::string::npos ? 0 : start + 1));
        chain.complaint.clear();
        if (!chain.sound) chain = {};  // check_audit() tells of that file
    }
    const std::string text = read_whole(folder_.get(), number_);
    const size_t torn = follow(chain, text, file_name(number_), complaints);
    for (const std::string& each : complaints)
        complaint_ += (complaint_.empty() ? "" : "; ") + each;
    seq_ = chain.seq;
    head_ = chain.head.empty() ? first_prev() : chain.head;
    if (!chain.sound || chain.head.empty()) {
        begin_file();
        head_ = first_prev();
        return write_line(json::Value::object(
            {{"kind", "new chain"}, {"why", complaint_.empty() ? "no record was left" : complaint_}}));
    }
    file_ = UniqueFd(::openat(folder_.get(), file_name(number_).c_str(),
                              O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC));
    if (!file_) throw ErrnoError("audit: " + file_name(number_));
    size_ = text.size() - torn;
    if (torn == 0) return;
    const std::string part = text.substr(size_);
    if (::ftruncate(file_.get(), static_cast<off_t>(size_)) < 0) throw ErrnoError("audit: repair");
    write_line(json::Value::object(
        {{"kind", "repaired"}, {"dropped_bytes", torn}, {"dropped_sha256", sha256_hex(part)}}));
}

void Audit::begin_file() {
    if (number_ >= kMaxNumber) throw Error("audit: no number is left for a file");
    const std::string name = file_name(number_ + 1);
    UniqueFd file(::openat(folder_.get(), name.c_str(),
                           O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) throw ErrnoError("audit: " + name);
    // What the old file has goes to the disk with it; its name, with the folder.
    if (file_ && ::fdatasync(file_.get()) < 0) throw ErrnoError("audit: sync");
    if (::fsync(folder_.get()) < 0) throw ErrnoError("audit: sync");
    file_ = std::move(file);
    ++number_;
    size_ = 0;
    std::vector<int64_t> numbers = list(folder_.get());
    for (size_t i = 0; i + options_.files < numbers.size(); ++i)
        ::unlinkat(folder_.get(), file_name(numbers[i]).c_str(), 0);
}

void Audit::write_line(const json::Value& record) {
    json::Value line = json::Value::object({{"seq", seq_ + 1}});
    const std::vector<json::Member>& members = record.members();
    for (size_t i = 0; i < members.size(); ++i) {
        line.set(members[i].first, bounded(members[i].second));
        if (i > 0) continue;
        const auto now = std::chrono::system_clock::now().time_since_epoch();
        line.set("time", std::chrono::duration_cast<Milliseconds>(now).count());
    }
    std::string text = json::dump(line);
    if (text.size() > kMaxLine) throw Error("audit: a record is too long");
    text.pop_back();
    text += std::string(kPrev) + head_;
    const std::string hash = sha256_hex(std::string(kDomain) + text);
    text += std::string(kHash) + hash + std::string(kEnd) + "\n";
    const ssize_t n = ::write(file_.get(), text.data(), text.size());
    if (n != static_cast<ssize_t>(text.size())) {
        const int code = n < 0 ? errno : ENOSPC;
        // Half a line would be taken for a crash; what cannot be taken back is repaired later.
        [[maybe_unused]] const int cut = ::ftruncate(file_.get(), static_cast<off_t>(size_));
        throw ErrnoError("audit: write", code);
    }
    size_ += text.size();
    ++seq_;
    head_ = hash;
}

void Audit::append(const json::Value& record, Until until) {
    {
        const Locked locked(folder_.get());
        struct stat info;
        // Another warden beside us has written, or begun the next file.
        if (::fstat(file_.get(), &info) < 0 || static_cast<uint64_t>(info.st_size) != size_ ||
            ::faccessat(folder_.get(), file_name(number_ + 1).c_str(), F_OK, 0) == 0)
            load();
        if (size_ >= options_.file_size.count) begin_file();
        write_line(record);
    }
    if (until == Until::Disk && ::fdatasync(file_.get()) < 0) throw ErrnoError("audit: sync");
}

AuditCheck check_audit(const std::string& folder) {
    const UniqueFd at(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!at) throw ErrnoError("audit: folder");
    AuditCheck check;
    Chain chain;
    int64_t before = 0;
    for (const int64_t number : list(at.get())) {
        if (before && number != before + 1)
            check.complaints.push_back("audit: " + file_name(before + 1) + ": is missing");
        before = number;
        if (follow(chain, read_whole(at.get(), number), file_name(number), check.complaints))
            check.complaints.push_back("audit: " + file_name(number) + ": ends within a record");
    }
    check.records = chain.records;
    check.seq = chain.seq;
    check.head = chain.head;
    return check;
}

}  // namespace peacrab
