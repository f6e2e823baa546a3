// The guest's main: joins the link (control and chat streams in, model streams out) to the warden.
#pragma once

namespace peacrab {

// Does not return while the machine is up.
[[noreturn]] void guest_main();

}  // namespace peacrab
