// A spoken message as text, by what the person has set under `voice:`
//
//     voice:
//       command: [/usr/local/bin/transcribe, --language, auto]   # the recording on its input, the text on its output
//       reads: [/home/me/models]                                 # what it may read beside the system and itself
//
//     voice:
//       url: https://api.openai.com/v1/audio/transcriptions      # anything that speaks that API
//       model: whisper-1
//       secret: openai                                           # as `peacrab secret set openai` keeps it
//
// The command runs jailed: it reads the system, its own folder (but the home, or one that holds it), files that its
// words name and `reads`; it writes a folder that is removed afterwards, and nothing else; where the kernel's Landlock can, without a network.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "loop.h"

namespace peacrab {

struct VoiceConfig {
    std::vector<std::string> command, reads;
    std::string url, model, secret;
    explicit operator bool() const { return !command.empty() || !url.empty(); }
};

// Of the file of load_config(). Throws Error naming file and line.
VoiceConfig load_voice(const std::string& path);

// One recording: a child, and what it says.
class Transcription {
  public:
    // Once, out of the loop; it may destroy this. `why` is "" when there is a text.
    using Done = std::function<void(const std::string& text, const std::string& why)>;
    // `extension`: as services tell a format by it. Throws Error: it could not be begun.
    Transcription(Loop& loop, const VoiceConfig& config, UniqueFd recording, const std::string& extension, Done done);
    ~Transcription();
    Transcription(const Transcription&) = delete;
    Transcription& operator=(const Transcription&) = delete;

    static constexpr Milliseconds kLimit{120'000};

  private:
    void read();
    void end(const std::string& why);

    Loop& loop_;
    Done done_;
    Pidfd process_;
    UniqueFd output_;
    std::string folder_;  // of its own
    std::string text_;
    Loop::TimerId timer_ = 0;
};

}  // namespace peacrab
