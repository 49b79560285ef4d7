#!/bin/sh
# Runs the tests in C and C++ under AddressSanitizer with UndefinedBehaviorSanitizer, ThreadSanitizer, Go's race
# detector, and valgrind; suite.sh says what may be set. Each tool first has to report a defect of a host that uses the
# library (probe.c), so that its silence about the others means something.
#
#     tools.sh [TOOL]...
#
# TOOL is sanitize, thread, race or valgrind; without one all run. A tool that this machine does not have is a failure,
# but for valgrind, which is no part of a compiler: it is then skipped, and the output says so. TOOLS=optional skips the
# others too, TOOLS=required none.
set -u
# shellcheck source=tests/c/suite.sh
. "$(dirname "$0")/suite.sh"

GO=${GO:-go}
TOOLS=${TOOLS:-}
skipped=

# missing TOOL REASON counts a tool that cannot run.
missing() {
    if [ "$TOOLS" = optional ] || { [ "$1" = valgrind ] && [ "$TOOLS" != required ]; }; then
        echo "SKIPPED: $1: $2"
        skipped="$skipped $1"
    else
        check "$2" false
    fi
}

# reports DEFECT PATTERN says whether the tool ends the probe and describes its defect.
reports() {
    # shellcheck disable=SC2086
    timeout 120 $RUNNER "$OUT/probe" "$1" "$BUILD/fakeagent" >"$OUT/report" 2>&1 && {
        echo "the probe has passed"
        return 1
    }
    cat "$OUT/report"
    grep -q "$2" "$OUT/report"
}

# probe DEFECT PATTERN... compiles the probe, and lets the tool find each defect, and nothing where there is none.
probe() {
    host_parts
    host_test probe
    run probe none "$BUILD/fakeagent"
    while [ $# -gt 0 ]; do
        check "probe $1 is reported" reports "$1" "$2"
        shift 2
    done
}

# compiles OPTION... says whether a program can be made with options, and runs.
compiles() {
    echo 'int main(void) { return 0; }' >"$OUT/empty.c"
    "$CC" "$@" -o "$OUT/empty" "$OUT/empty.c" >/dev/null 2>&1 && "$OUT/empty"
}

# Crashes that the tests ask for are left to the kernel.
CRASHES=handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0

sanitize() {
    COMPILE="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    # The compiler's analysis of warnings is another one with the checks in the code.
    WARNINGS="-Wall -Wextra -pedantic"
    # shellcheck disable=SC2086
    compiles $COMPILE || { missing sanitize "$CC cannot link a program with $COMPILE"; return; }
    # What the tool keeps of freed memory would look like growth.
    export ASAN_OPTIONS=$CRASHES:quarantine_size_mb=1:thread_local_quarantine_size_kb=64:detect_stack_use_after_return=0
    export UBSAN_OPTIONS=$CRASHES:print_stacktrace=1
    export TEST_DIVISOR=10
    probe out-of-bounds heap-buffer-overflow leak 'detected memory leaks' undefined 'signed integer overflow'
    host_tests flow environment stack threads memory limits coroutine
    ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 # of a process that ends in the middle of everything
    # Not forks: neither the tool's allocator nor its search for leaks is made for a child of a process with several
    # threads, and such a child hangs now and then in them.
    host_tests signal exit
}

thread() {
    COMPILE="-fsanitize=thread"
    WARNINGS="-Wall -Wextra -pedantic"
    # shellcheck disable=SC2086
    compiles $COMPILE || { missing thread "$CC cannot link a program with $COMPILE"; return; }
    export TSAN_OPTIONS=$CRASHES:die_after_fork=0 # of the limits, whose children execute another program
    export TEST_DIVISOR=20
    probe race 'data race'
    # Not signals: the tool installs its own handlers in their place, and calls the host's later. Not forks: it does not
    # support threads in a child of a process that has several ("dup thread with used id").
    host_tests flow environment stack threads memory limits coroutine
}

valgrind_() {
    command -v valgrind >/dev/null || { missing valgrind "it is not installed"; return; }
    RUNNER="valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite"
    RUNNER="$RUNNER --errors-for-leak-kinds=definite --suppressions=capi/libaperture.supp --max-threads=1500 --fair-sched=yes"
    export TEST_DIVISOR=200
    probe out-of-bounds 'Invalid read' leak 'definitely lost'
    host_tests flow environment stack threads memory coroutine
}

# Go's race detector needs the Go code in the program itself: it cannot reserve its memory in a library that is loaded.
race() {
    wrap=-Wl,--wrap=pthread_getattr_np,--wrap=pthread_create,--wrap=pthread_key_create
    "$GO" build -race -buildmode=c-archive -tags netgo,osusergo -o "$OUT/libaperture.a" ./capi ||
        { missing race "$GO cannot build with -race"; return; }
    LINK="-no-pie $OUT/libaperture.a $wrap -pthread -ldl"
    # A program that is not Go's does not end with the detector's exit code by itself.
    export GORACE="halt_on_error=1 exitcode=66"
    export TEST_DIVISOR=20
    host_tests flow environment stack threads memory coroutine
}

[ $# -gt 0 ] || set -- sanitize thread race valgrind
for tool in "$@"; do
    TOOL="$tool: " COMPILE= RUNNER= WARNINGS="-Wall -Wextra -pedantic -Werror"
    LINK="-L $BUILD -laperture -Wl,-rpath,$BUILD -pthread"
    unset GORACE ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS TEST_DIVISOR
    case $tool in
    sanitize | thread | race) "$tool" ;;
    valgrind) valgrind_ ;;
    *) echo "usage: $0 [sanitize|thread|race|valgrind]..." >&2 && exit 2 ;;
    esac
done
[ -z "$skipped" ] || echo "skipped:$skipped"
finish
