// Inprocess measures a flow that is decided in the process, beside what a service would write without this library.
//
//	inprocess flow ADDRESS KEYS THREADS HEAP
//	inprocess limiter - KEYS THREADS HEAP
//
// "flow" is StartFlow and End of a client that limits flows by the label user_id, and "limiter" is a look-up in a sync.Map
// and Allow of a rate.Limiter. Each thread has so many keys of its own. For each line of its standard input, a number of
// seconds, it runs as long and prints nanoseconds per flow: the CPU time of a thread, a tab, and the time that passed,
// divided by the flows of all threads.
//
// The process keeps HEAP MiB beside what it measures, as a service keeps its own data. With nothing, Go collects garbage
// each time that 4 MiB were allocated, every few milliseconds, and that is what two threads share.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/core/check"
)

const (
	// batch is the number of flows between two looks at the clock.
	batch = 64
	// enough tokens for every flow of a run.
	enough = 1e12
	// keyLength is the length of all keys.
	keyLength = len("user-00000000")
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "inprocess:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 5 {
		return errors.New("usage: inprocess flow|limiter ADDRESS KEYS THREADS HEAP")
	}
	keys, err := strconv.Atoi(arguments[2])
	if err != nil || keys < 1 {
		return fmt.Errorf("KEYS %q must be at least 1", arguments[2])
	}
	threads, err := strconv.Atoi(arguments[3])
	if err != nil || threads < 1 {
		return fmt.Errorf("THREADS %q must be at least 1", arguments[3])
	}
	mebibytes, err := strconv.Atoi(arguments[4])
	if err != nil || mebibytes < 0 {
		return fmt.Errorf("HEAP %q must be at least 0", arguments[4])
	}
	heap := make([]byte, mebibytes<<20)
	defer runtime.KeepAlive(heap)
	var pass func(key string) error
	switch arguments[0] {
	case "flow":
		client, err := core.NewClient(core.Options{Address: arguments[1]})
		if err != nil {
			return err
		}
		defer client.Close(context.Background())
		pass = flows(client)
	case "limiter":
		pass = limiters(keys * threads)
	default:
		return fmt.Errorf("there is no kind %q", arguments[0])
	}

	// The keys are met in their order first, and then in another one: caches cannot guess where in a table the next one is.
	workers := make([]worker, threads)
	for i := range workers {
		for number := i * keys; number < (i+1)*keys; number++ {
			if err := pass(keyOf(number)); err != nil {
				return err
			}
		}
		workers[i] = worker{pass: pass, keys: shuffled(i*keys, keys)}
	}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		seconds, err := time.ParseDuration(input.Text() + "s")
		if err != nil || seconds <= 0 {
			return fmt.Errorf("the time %q must be a positive number", input.Text())
		}
		if err := measure(workers, seconds); err != nil {
			return err
		}
	}
	return input.Err()
}

// flows returns a flow from its start to its end.
func flows(client *core.Client) func(key string) error {
	return func(key string) error {
		// A service makes the labels of each flow.
		labels := []check.Label{{Key: "tier", Value: "gold"}, {Key: "user_id", Value: key}}
		flow, err := client.StartFlow(context.Background(), "checkout", core.FlowParams{LabelList: labels})
		if err != nil {
			return err
		}
		if flow.Decision() != core.Accepted {
			return fmt.Errorf("a flow was %v", flow.Decision())
		}
		_, err = flow.End(context.Background())
		return err
	}
}

var errEmpty = errors.New("a limiter is empty")

// limiters returns the smallest thing that limits flows by key.
func limiters(keys int) func(key string) error {
	var limiters sync.Map
	for number := range keys {
		limiters.Store(keyOf(number), rate.NewLimiter(enough, enough))
	}
	return func(key string) error {
		if limiter, ok := limiters.Load(key); !ok || !limiter.(*rate.Limiter).Allow() {
			return errEmpty
		}
		return nil
	}
}

func keyOf(number int) string { return fmt.Sprintf("user-%08d", number) }

// shuffled returns keys in an order at random. Their texts follow one another in memory: those of a service are in the
// cache, since it has just read them.
func shuffled(first, count int) []string {
	var texts strings.Builder
	for _, number := range rand.Perm(count) {
		texts.WriteString(keyOf(first + number))
	}
	keys := make([]string, count)
	for i := range keys {
		keys[i] = texts.String()[i*keyLength : (i+1)*keyLength]
	}
	return keys
}

// worker is a thread.
type worker struct {
	pass  func(key string) error
	keys  []string
	next  int
	flows int
	cpu   time.Duration
	err   error
	_     [64]byte // keeps neighbours off one cache line
}

func (w *worker) run(end time.Time) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin := threadTime()
	w.flows = 0
	for w.err == nil && time.Now().Before(end) {
		for range batch {
			if w.next == len(w.keys) {
				w.next = 0
			}
			if err := w.pass(w.keys[w.next]); err != nil {
				w.err = err
				return
			}
			w.next++
		}
		w.flows += batch
	}
	w.cpu = threadTime() - begin
}

// threadTime returns the CPU time of the calling thread.
func threadTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		panic(err)
	}
	return time.Duration(now.Nano())
}

func measure(workers []worker, duration time.Duration) error {
	var done sync.WaitGroup
	begin := time.Now()
	var started atomic.Int32
	for i := range workers {
		done.Go(func() {
			started.Add(1)
			for started.Load() < int32(len(workers)) {
				runtime.Gosched() // until all are there
			}
			workers[i].run(begin.Add(duration))
		})
	}
	done.Wait()
	elapsed := time.Since(begin)
	var cpu time.Duration
	flows := 0
	for i := range workers {
		if workers[i].err != nil {
			return workers[i].err
		}
		cpu += workers[i].cpu
		flows += workers[i].flows
	}
	fmt.Printf("%.1f\t%.1f\n", float64(cpu)/float64(flows), float64(elapsed)/float64(flows))
	return nil
}
