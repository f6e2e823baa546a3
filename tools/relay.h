// `peacrab relay`: takes webhooks for channels that cannot be reached from the world: the hub and its adapters run
// behind no open port. It runs beside `peacrab serve` and apart from it, so that nothing is lost while that is away.
//
// It listens on 127.0.0.1 alone, twice: `listen` is what a reverse proxy or a tunnel of the person's leads to, which has
// the TLS; `local` is for channels, each with a token for its own webhook (SHA-256 of "SECRET/NAME", the secret being
// `relay` of config/secrets). A webhook is answered by 200 when it is
// on the disk.
//
//     POST /NAME                          200 kept · 401 not genuine · 404 · 413 · 429 too many · 503 not now
//     GET  /NAME?hub.mode=subscribe&…     WhatsApp's challenge
// and, on `local`, with "Authorization: Bearer TOKEN":
//     GET  /NAME?after=SPOOL:SEQ&wait=25  {"spool", "entries": [{"seq", "at", "key", "body"}]}; what is up to SEQ is
//                                         taken and may go. Without `after`: behind what was taken
//     GET  /NAME?having=TEXT              the newest with TEXT in the body, taken or not
#pragma once

#include "arguments.h"

namespace peacrab {

int run_relay(const Arguments& arguments);

// What the tokens of `local` are made of; made when there is none.
Secret relay_token();
std::string relay_folder();  // of the spool, spool.db

}  // namespace peacrab
