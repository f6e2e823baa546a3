// `peacrab setup`: which model answers, and its key. Asks on a terminal, takes flags without one,
// tries what it was given by one real call, then stores the key and the configuration.
#pragma once

#include <string>

#include "config/model_choice.h"

namespace peacrab {

struct SetupOptions {
    ModelConfig model;  // --model, --model-url; what is given is not asked for
    enum class Key {
        Ask,    // on a terminal; without one the stored key stays
        Stdin,  // --key-stdin: all of standard input is the key
    } key = Key::Ask;
    enum class Check { OneCall, None } check = Check::OneCall;  // --no-check: None
    int in_fd = 0;
    int out_fd = 1;
};

// Exit code: 0 stored; 1 not stored, and it was said why; 2 usage; 130 Ctrl-C. Throws Error when
// the key or the configuration cannot be written or read.
int setup_model(const SetupOptions& options);

// For `chat` on a terminal: when nothing says which model is to answer (no key, no configuration,
// no flag) offers the setup, once; a no is remembered in the state folder.
void offer_setup_once(const ModelConfig& flags);

}  // namespace peacrab
