// What the attack program is made of: attempts, rows that judge them, and the table of rows.
//
// An attempt runs in a child of its own, bounded in time: a filter may end it, and what it changes
// in itself is gone with it. A row says what must come back; anything else is an escape (it worked)
// or a surprise (refused for another reason than the wall under test). Both are red.
#pragma once

#include <cerrno>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

namespace attack {

struct Try {
    long value = -1;  // below 0: refused
    int error = 0;    // errno
    int signal = 0;   // what ended the child
    std::string text() const;
};

// Below 0 is a refusal, errno says why.
using Attempt = std::function<long()>;
Try in_child(const Attempt& attempt, unsigned seconds = 10);

class Report {
  public:
    // The attempt must be refused with one of these errors; -SIGNAL stands for being ended by it.
    void refused(const std::string& what, std::initializer_list<int> codes, const Attempt& attempt,
                 unsigned seconds = 10);
    // The twin: the machinery works where it may.
    void works(const std::string& what, const Attempt& attempt, unsigned seconds = 10);
    void must(const std::string& what, bool holds);
    void escaped(const std::string& what);
    void surprise(const std::string& what);
    void note(const std::string& what) { notes_ += (notes_.empty() ? "" : "; ") + what; }
    bool red() const { return escaped_ || surprised_; }
    // `ID ok 12 tries NOTES`, `ID ESCAPED ...`, `ID UNEXPECTED ...`
    std::string line(const std::string& id) const;

  private:
    void add(const std::string& what);
    int tries_ = 0, dropped_ = 0;
    bool escaped_ = false, surprised_ = false;
    std::string problems_, notes_;
};

struct Row {
    const char* id;
    const char* what;
    void (*attempt)(Report&);
    void (*twin)(Report&);
};

std::vector<Row> kernel_rows();     // A: the kernel and the walls of the cell
std::vector<Row> neighbour_rows();  // B and C: other agents, secrets, the control plane
// Floods and parts of two-party rows: `attack NAME ARGUMENTS...`. -1: no such name.
int flood(const std::vector<std::string>& words);
int meet(const std::vector<std::string>& words);
int audit(const std::vector<std::string>& words);

// Helpers of several rows.
bool root();
long refusal(int code);  // sets errno, gives -1
long raw(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0);
long open_for(const std::string& path, int flags);  // "/dev/null" laid over a file counts as ENODEV
long holds_bytes(const std::string& path);          // readable and not empty
std::string read_all(const std::string& path, size_t limit = 1 << 20);
std::string link_of(const std::string& path);  // "" when it cannot be read
std::vector<std::string> list(const std::string& folder);
std::vector<int> pids();
std::string own_path();
const std::vector<int>& first_descriptors();  // what was open when the program began
std::string status_field(const char* name);   // of /proc/self/status
// Runs this program again with one word; gives what it printed.
std::string run_self(const std::string& program, const char* word, int uid);

}  // namespace attack
