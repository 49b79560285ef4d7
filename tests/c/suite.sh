# What run.sh and tools.sh share: compiling and running the tests in C and C++, and counting them. To be sourced.
#
# CC, CXX, PYTHON and BUILD (the folder with libaperture.so, fakeagent and testcert) may be set.
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

TOOL=    # put in front of the names of tests
COMPILE= # options of the compiler
RUNNER=  # what runs a program

passed=0
failed=0

# check NAME COMMAND... runs a command and counts it. Of what it writes, only what it has measured is shown.
check() {
    name=$TOOL$1
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
    $compiler "-std=$standard" $WARNINGS -O1 -g $COMPILE -I include -o "$OUT/$program" "$@" $LINK
}

# c STANDARD PROGRAM SOURCE... and cxx compile a program as a test of its own.
c() { check "compile $2 as $1" build "$CC" "$@"; }
cxx() { check "compile $2 as $1" build "$CXX" "$@"; }

# host_test PROGRAM SOURCE... compiles a test that uses the library as a host does, with what such tests share.
host_test() {
    program=$1
    shift
    c c11 "$program" "tests/c/$program.c" "$OUT/host.o" "$OUT/process.o" "$@"
}

# host_parts compiles what such tests share, with the options of the moment.
host_parts() {
    for part in host process coroutine; do
        c c11 "$part.o" -c "tests/c/$part.c"
    done
}

# run PROGRAM ARGUMENT... runs a compiled program. One that hangs is ended, and fails.
run() {
    program=$1
    shift
    # shellcheck disable=SC2086
    check "run $program" timeout 120 $RUNNER "$OUT/$program" "$@"
}

# host_tests TEST... compiles and runs those tests.
host_tests() {
    [ -d "$OUT/certificates" ] || { mkdir "$OUT/certificates" && "$BUILD/testcert" "$OUT/certificates"; } || exit 1
    host_parts
    for test in "$@"; do
        case $test in
        stack) host_test stack_test "$OUT/coroutine.o" ;;
        coroutine) cxx c++20 coroutine_test tests/c/coroutine_test.cc "$OUT/host.o" "$OUT/process.o" ;;
        *) host_test "${test}_test" ;;
        esac
        case $test in
        flow | memory) run "${test}_test" "$POLICIES" "$DOWN" ;;
        stack | threads) run "${test}_test" "$DOWN" ;;
        fork) run fork_test "$BUILD/fakeagent" "$POLICIES" ;;
        signal) run signal_test "$BUILD/fakeagent" "$OUT/certificates" "$POLICIES" ;;
        limits) run limits_test "$BUILD/fakeagent" ;;
        coroutine) run coroutine_test "$BUILD/fakeagent" "$DOWN" ;;
        exit) check "run exit_test" timeout 300 "$PYTHON" tests/c/exit_test.py "$OUT/exit_test" "$BUILD/fakeagent" ;;
        esac
    done
}

# finish says how many tests have passed, and ends with 1 when one has not.
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}
