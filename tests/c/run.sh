#!/bin/sh
# Compiles the tests in C and C++ without a warning, links them to the built library, and runs them; suite.sh says what
# may be set. The last line says how many passed; the exit code is 1 when one did not.
set -u
# shellcheck source=tests/c/suite.sh
. "$(dirname "$0")/suite.sh"

# The example counts each tier of the trace as the policies say.
checkout_table() {
    timeout 60 "$OUT/checkout" --address "$POLICIES" examples/trace.txt >"$OUT/table" || return 1
    printf 'bronze\t4\t20\t1800\ngold\t16\t8\t450\nsilver\t8\t16\t900\n' | diff - "$OUT/table"
}

# With an agent that is down the example ends with 1, says why, and prints no table.
checkout_down() {
    timeout 60 "$OUT/checkout" --insecure --address "$DOWN" examples/trace.txt >"$OUT/table" 2>"$OUT/message"
    code=$?
    cat "$OUT/message"
    [ "$code" -eq 1 ] && grep -q '^checkout: .*agent' "$OUT/message" && [ ! -s "$OUT/table" ]
}

# Called without arguments it explains itself.
checkout_usage() {
    "$OUT/checkout" 2>"$OUT/message"
    [ $? -eq 2 ] && grep -q '^usage: ' "$OUT/message"
}

for standard in c99 c11; do
    c "$standard" header_c99 tests/c/header_c99.c
    run header_c99
done
c c99 header_twice tests/c/header_twice.c tests/c/header_twice_other.c
run header_twice
cxx c++17 header_cxx tests/c/header.cc
run header_cxx
c c11 layout_test tests/layout/layout_test.c
run layout_test
host_tests flow environment stack threads memory exit fork signal limits coroutine
c c99 checkout examples/c/checkout.c
check "checkout on the policies" checkout_table
check "checkout with an agent that is down" checkout_down
check "checkout without arguments" checkout_usage

finish
