// Bare measures what a Check costs with grpc-go alone: the floor under a flow that asks an agent.
//
//	bare check ADDRESS IN_FLIGHT SECONDS
//
// It runs IN_FLIGHT goroutines over one connection, and prints the kind, a tab, and nanoseconds per Check: the time that
// passed, divided by the checks of all goroutines.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

const (
	// batch is the number of checks between two looks at the clock.
	batch = 16
	// timeout is that of a flow which names none.
	timeout = 200 * time.Millisecond
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 4 || arguments[0] != "check" {
		return errors.New("usage: bare check ADDRESS IN_FLIGHT SECONDS")
	}
	inFlight, err := strconv.Atoi(arguments[2])
	if err != nil || inFlight < 1 {
		return fmt.Errorf("IN_FLIGHT %q must be at least 1", arguments[2])
	}
	seconds, err := time.ParseDuration(arguments[3] + "s")
	if err != nil || seconds <= 0 {
		return fmt.Errorf("SECONDS %q must be more than 0", arguments[3])
	}

	conn, err := grpc.NewClient(arguments[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := checkv1.NewFlowControlServiceClient(conn)
	ready, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := check(ready, client, grpc.WaitForReady(true)); err != nil {
		return err
	}
	if _, err := measure(client, inFlight, seconds/5); err != nil { // warm up
		return err
	}
	perCheck, err := measure(client, inFlight, seconds)
	if err != nil {
		return err
	}
	fmt.Printf("check\t%.1f\n", perCheck)
	return nil
}

// measure returns nanoseconds per check.
func measure(client checkv1.FlowControlServiceClient, inFlight int, duration time.Duration) (float64, error) {
	var checks, failed atomic.Int64
	var workers sync.WaitGroup
	begin := time.Now()
	for range inFlight {
		workers.Go(func() {
			for time.Since(begin) < duration {
				for range batch {
					ctx, cancel := context.WithTimeout(context.Background(), timeout)
					if check(ctx, client) != nil {
						failed.Add(1)
					}
					cancel()
				}
				checks.Add(batch)
			}
		})
	}
	workers.Wait()
	elapsed := time.Since(begin)
	if failed.Load()*100 > checks.Load() {
		return 0, fmt.Errorf("%d of %d checks failed", failed.Load(), checks.Load())
	}
	return float64(elapsed.Nanoseconds()) / float64(checks.Load()), nil
}

func check(ctx context.Context, client checkv1.FlowControlServiceClient, options ...grpc.CallOption) error {
	response, err := client.Check(ctx, &checkv1.CheckRequest{
		ControlPoint: "checkout",
		Labels:       map[string]string{"tier": "gold", "user_id": "alice"},
	}, options...)
	if err == nil && response.GetDecisionType() != checkv1.CheckResponse_DECISION_TYPE_ACCEPTED {
		err = errors.New("the agent rejected the flow")
	}
	return err
}
