#!/bin/sh
# Runs a Windows program under wine. WINEPREFIX, wine's directory, is made if it
# is not there: some 700 MB.

export WINEPREFIX="${WINEPREFIX:?}" WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml='

# The server stays for some seconds; it and what it starts must not hold our
# output open so long.
wineserver -p10 </dev/null >/dev/null 2>&1
[ -e "$WINEPREFIX/system.reg" ] || {
    mkdir -p "$WINEPREFIX"
    wineboot -i </dev/null >/dev/null 2>&1 || exit
}
exec wine "$@" </dev/null
