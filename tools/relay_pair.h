// Two connected sockets and the bytes between them: reads, writes and waits for both at once, so that
// neither side can make the other wait for ever. What is read is the owner's to pass on.
#pragma once

#include <string>

#include "os.h"

namespace peacrab {

class RelayPair {
  public:
    // Neither is owned. Both are made not to block.
    RelayPair(int client, int server);

    static constexpr size_t kBuffer = size_t{64} << 10;
    std::string from_client, from_server;  // read, not yet taken by the owner
    std::string to_client, to_server;      // given by the owner, not yet written
    bool client_ended = false, server_ended = false;  // nothing more is read from it
    uint64_t up = 0, down = 0;                        // bytes written to server and client

    enum class Outcome {
        Broken,  // the zero value: a socket failed, or the client has gone
        Idle,    // nothing moved before the deadline
        Moved,
    };
    enum class Read { None, Client, Server, Both };
    // One wait, then what can be written and read. Reads only while less than kBuffer waits to go.
    Outcome round(Read which, Deadline deadline);
    // No more goes to the server; once, after to_server is empty.
    void shut_server();
    void shut_client();

  private:
    bool write_some(int fd, std::string& bytes, uint64_t& count);
    bool read_into(int fd, std::string& bytes, bool& ended);
    int client_;
    int server_;
};

}  // namespace peacrab
