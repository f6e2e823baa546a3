#!/bin/sh
# Asked by packages before they start a server: not as a part of being installed. It would end with
# the call; a call with `background` starts it.
exit 101
