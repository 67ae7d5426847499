#!/bin/sh
# Runs the test programs given as arguments and adds up what they report.
# RUNNER is put before each (valgrind, for one); TESTS selects tests by name.

log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

for program in "$@"; do
    # shellcheck disable=SC2086
    { $RUNNER "$program" $TESTS || echo "BROKEN $program"; } |
        tee -a "$log"
done

passed=$(sed -n 's/^.*: \([0-9]*\) passed, .*$/\1/p' "$log" |
    awk '{ sum += $1 } END { print sum + 0 }')
failed=$(sed -n 's/^.* passed, \([0-9]*\) failed$/\1/p' "$log" |
    awk '{ sum += $1 } END { print sum + 0 }')
failed_programs=$(grep -c '^BROKEN ' "$log")
echo "$passed passed, $failed failed"
[ "$failed_programs" -eq 0 ]
