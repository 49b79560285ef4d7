#!/bin/sh
# Compiles the tests in C and C++ without a warning, links them to the built library, and runs them. CC, CXX, PYTHON and
# BUILD (the folder with libaperture.so, fakeagent and testcert) may be set. The last line says how many passed; the exit code is 1
# when one did not.
set -u
cd "$(dirname "$0")/../.." || exit 1

CC=${CC:-gcc}
CXX=${CXX:-g++}
PYTHON=${PYTHON:-python3}
BUILD=${BUILD:-build}
BUILD=$(cd "$BUILD" && pwd) || exit 1
OUT=$(mktemp -d) || exit 1
trap 'rm -rf "$OUT"' EXIT

WARNINGS="-Wall -Wextra -pedantic -Werror"
LINK="-L $BUILD -laperture -Wl,-rpath,$BUILD -pthread"
POLICIES=local:examples/policies/rate-limiting.yaml
DOWN=127.0.0.1:1 # a port that nobody listens on

passed=0
failed=0

# check NAME COMMAND... runs a command and counts it. Of what it writes, only what it has measured is shown.
check() {
    name=$1
    shift
    if "$@" >"$OUT/log" 2>&1; then
        passed=$((passed + 1))
        sed -n "s|^measured:|$name:|p" "$OUT/log"
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
        sed 's/^/    /' "$OUT/log"
    fi
}

# build COMPILER STANDARD PROGRAM SOURCE... compiles a program to $OUT/PROGRAM.
build() {
    compiler=$1 standard=$2 program=$3
    shift 3
    # The variables are lists of options.
    # shellcheck disable=SC2086
    $compiler "-std=$standard" $WARNINGS -O1 -g -I include -o "$OUT/$program" "$@" $LINK
}

# c STANDARD PROGRAM SOURCE... and cxx compile a program as a test of its own.
c() { check "compile $2 as $1" build "$CC" "$@"; }
cxx() { check "compile $2 as $1" build "$CXX" "$@"; }

# test_of PROGRAM SOURCE... compiles a test that uses the library as a host does, with what such tests share.
test_of() {
    program=$1
    shift
    c c11 "$program" "tests/c/$program.c" tests/c/host.c tests/c/process.c "$@"
}

# run PROGRAM ARGUMENT... runs a compiled program. One that hangs is ended, and fails.
run() {
    program=$1
    shift
    check "run $program" timeout 120 "$OUT/$program" "$@"
}

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
test_of flow_test
run flow_test "$POLICIES" "$DOWN"
test_of stack_test tests/c/coroutine.c
run stack_test "$DOWN"
test_of threads_test
run threads_test "$DOWN"
test_of memory_test
run memory_test "$POLICIES" "$DOWN"
test_of exit_test
check "run exit_test" timeout 300 "$PYTHON" tests/c/exit_test.py "$OUT/exit_test" "$BUILD/fakeagent"
test_of fork_test
run fork_test "$BUILD/fakeagent" "$POLICIES"
mkdir "$OUT/certificates" && "$BUILD/testcert" "$OUT/certificates" || exit 1
test_of signal_test
run signal_test "$BUILD/fakeagent" "$OUT/certificates" "$POLICIES"
test_of limits_test
run limits_test "$BUILD/fakeagent"
c c11 host.o -c tests/c/host.c
c c11 process.o -c tests/c/process.c
cxx c++20 coroutine_test tests/c/coroutine_test.cc "$OUT/host.o" "$OUT/process.o"
run coroutine_test "$BUILD/fakeagent" "$DOWN"
c c99 checkout examples/c/checkout.c
check "checkout on the policies" checkout_table
check "checkout with an agent that is down" checkout_down
check "checkout without arguments" checkout_usage

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
