// The child behind `web_fetch` and `web_search`: reads what strangers on the web have written, in a jail of
// its own (class fetch) that it puts on itself before the first of their bytes.
#pragma once

namespace peacrab {

// web_fetch: one JSON request on stdin {url, factor, ca_pem, ca_base64}. It connects to the proxy its environment
// names, which is the cell's one way out, then gives up files, sockets, programs, and asks for that one page;
// a redirect is reported, not followed. stdout: a line of JSON {ok, error, status, url, location, type, title,
// note, bytes}, then the page as text.
// web_search: its stdin is a connected stream on which one line comes, the answer of protocols/search_api; stdout as
// above. Gives the exit code.
int tool_fetch_main();

// What a fetch child has at most, times the factor where it is time.
constexpr int kFetchSeconds = 40;

}  // namespace peacrab
