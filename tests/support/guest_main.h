// main() of a test program that can also be PID 1 of our own microVM: there it boots as the warden
// does (disks, control groups), and then runs what it was built for in a child of it. Started by
// tests/support/guest_unit; in place of doctest's main.
#pragma once

#include <string>

namespace peacrab::test {

// To be defined by the program: what is run, and its exit code. In the guest it is root.
int run_tests(int argc, char** argv);

}  // namespace peacrab::test
