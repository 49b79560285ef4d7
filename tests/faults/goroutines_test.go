package faults

import (
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/host"
)

// goroutineCases returns the cases of goroutines, callbacks, and places within calls.
func goroutineCases() map[string]fault {
	return map[string]fault{
		// A call of its own.
		"capi.new_client.made": {trace: "main.aperture_go_new_client", run: newClientIsClosed},
		"capi.hand_out":        {trace: "main.(*session).handOut", run: blockingFlowIsEnded},
		"core.flow.end":        {trace: "core.(*Flow).BeginEnd", run: endThatPanicsGivesBack},
		"capi.close.begun":     {trace: "main.(*session).close", run: closeThatPanicsCloses},
		"capi.close.client":    {run: closeThatPanicsCloses},

		// The waiting call.
		"capi.start_flow":            {run: asyncStartCompletes},
		"capi.start_flow.admitted":   {trace: "main.(*session).startPending", run: asyncFlowIsEnded},
		"capi.start_flow.waited":     {run: waitingStartCompletes},
		"local.check.decided":        {run: waitingFlowHasNoDecision},
		"local.queue.deadline":       {run: waitingFlowIsRejectedInTime},
		"local.queue.turn":           {run: waitingFlowGetsItsTokens},
		"local.queue.wake":           {run: waitingFlowGetsItsSlot},
		"capi.flow_end":              {run: asyncEndGivesBack},
		"capi.flow_end.cancel":       {run: cancelledEndCompletes},
		"capi.wait_ready":            {run: asyncWaitReadyCompletes},
		"capi.cache_lookup":          {run: asyncLookupCompletes},
		"capi.cache_lookup.answered": {trace: "main.(*session).lookupPending", run: asyncLookupCompletes},
		"capi.cache_set": {run: asyncCacheCallCompletes(func(client host.Handle, call *host.Handle) host.Code {
			return host.Lib.CacheSetAsync(client, host.EntryFor("checkout", "key", "value"), 7, call, nil)
		})},
		"capi.cache_delete": {run: asyncCacheCallCompletes(func(client host.Handle, call *host.Handle) host.Code {
			return host.Lib.CacheDeleteAsync(client, host.KeyFor("checkout", "key"), 7, call, nil)
		})},
		"capi.close":     {run: asyncCloseCompletes},
		"agent.call.end": {run: closeEndsCalls},
		"agent.wait.end": {run: closeEndsWaits},

		// Nobody waits.
		"capi.take_back":         {armed: "capi.hand_out:1,capi.take_back:1", run: blockingFlowIsEnded},
		"capi.flow_end.finish":   {armed: "capi.flow_end:1,capi.flow_end.finish:1", run: asyncEndGivesBack},
		"core.flow.give_back":    {armed: "core.flow.end:1,core.flow.give_back:1", trace: "core.(*Flow).BeginEnd", run: endThatPanicsGivesBack},
		"capi.thread_ended":      {armed: "capi.thread_ended:1", run: leftFlowIsEnded},
		"capi.leave":             {armed: "capi.leave:1", run: leftFlowIsEnded},
		"capi.leave.end":         {armed: "capi.leave.end:1", run: leftFlowIsEnded},
		"agent.dial":             {run: reconnects},
		"agent.connection":       {run: reconnects},
		"agent.connection.again": {trace: "agent.(*Agent).keepConnected", run: reconnects},
		"core.telemetry":         {run: laterSpansAreSent},
		"core.telemetry.batch":   {trace: "core.(*telemetry).send", run: laterSpansAreSent},
		"local.sweeper":          {armed: "local.sweeper:2", run: sweeperGoesOn("local.sweeper")},
		"local.sweeper.sweep":    {armed: "local.sweeper.sweep:2", trace: "local.(*sweeper).run", run: sweeperGoesOn("local.sweeper.sweep")},
		"capi.log":               {run: logGoesOn},
		"capi.log.line":          {trace: "sink.(*output).run", run: logGoesOn},

		// A defect that comes back each time must not keep a client from being closed.
		"agent.dial always":           {armed: "agent.dial", run: closesAllTheSame},
		"agent.connection always":     {armed: "agent.connection", run: closesAllTheSame},
		"core.telemetry always":       {armed: "core.telemetry", run: closesAllTheSame},
		"core.telemetry.batch always": {armed: "core.telemetry.batch", trace: "core.(*telemetry).send", run: closesAllTheSame},
		"agent.call.end always":       {armed: "agent.call.end", run: closeEndsCalls},
		"capi.take_back always":       {armed: "capi.hand_out:1,capi.take_back", run: blockingFlowIsEnded},
		"capi.close.begun always":     {armed: "capi.close.begun", trace: "main.(*session).close", run: closeThatPanicsCloses},
	}
}

func newClientIsClosed(c *child) {
	agent := c.agentWithTokens()
	before := c.descriptorsAtRest()
	var client host.Handle
	failed := host.NewFailure()
	c.arm()
	c.internal(host.Lib.NewClient(host.OptionsFor(agent.Address()), &client, failed), failed)
	require.Zero(c, client)
	host.Eventually(c.T, "the connection is closed", func() bool { return c.descriptors() <= before })
}

func blockingFlowIsEnded(c *child) {
	agent := c.agentWithTokens()
	client := host.ReadyClient(c.T, agent)
	var flow host.Handle
	failed := host.NewFailure()
	c.arm()
	c.internal(host.Lib.StartFlow(client, host.Patient(host.ParamsFor("checkout")), &flow, nil, failed), failed)
	require.Zero(c, flow)
	c.givenBack(agent)
}

func leftFlowIsEnded(c *child) {
	agent := c.agentWithTokens()
	before := host.Lib.LiveHandles()
	c.arm()
	host.OnThreadThatEnds(func() {
		require.Equal(c, host.OK, host.Lib.CloseClientsWithThread(nil))
		host.Start(c.T, host.ReadyClient(c.T, agent), host.Patient(host.ParamsFor("checkout")))
	})
	host.Eventually(c.T, "everything is released", func() bool { return host.Lib.LiveHandles() == before })
	c.givenBack(agent)
}

func endThatPanicsGivesBack(c *child) {
	agent := c.agentWithTokens()
	client := host.ReadyClient(c.T, agent)
	flow, _ := host.Start(c.T, client, host.Patient(host.ParamsFor("checkout")))
	failed := host.NewFailure()
	c.arm()
	c.internal(host.Lib.FlowEnd(flow, nil, failed), failed)
	require.Equal(c, host.ErrorAlreadyEnded, host.Lib.FlowEnd(flow, nil, nil))
	c.givenBack(agent)
	host.Eventually(c.T, "the end has an outcome", func() bool { return host.Lib.FlowEndResult(flow, nil, nil) == host.OK })
}

func closeThatPanicsCloses(c *child) {
	agent := c.agentWithTokens()
	before := c.descriptorsAtRest()
	client := host.ReadyClient(c.T, agent)
	failed := host.NewFailure()
	c.arm()
	c.internal(host.Lib.ClientClose(client, int64(host.Soon), failed), failed)
	require.Equal(c, host.ErrorInvalidHandle, host.Lib.ClientClose(client, 0, nil), "the handle is released")
	// The agent runs in this process, so that both ends of the connection are counted.
	host.Eventually(c.T, "the connection is closed", func() bool { return c.descriptors() <= before })
}

func asyncStartCompletes(c *child) {
	client := host.ReadyClient(c.T, c.agentWithTokens())
	c.arm()
	done := host.Take(c.T, host.StartAsync(c.T, client, 7, host.Patient(host.ParamsFor("checkout"))))
	require.Equal(c, host.ErrorInternal, done.Code)
	require.EqualValues(c, 7, done.Tag)
	require.Zero(c, done.Flow)
	require.Zero(c, host.ReadStats(c.T, client).CallsPending)
}

func asyncLookupCompletes(c *child) {
	var answer host.Handle
	asyncCacheCallCompletes(func(client host.Handle, call *host.Handle) host.Code {
		return host.Lib.CacheLookupAsync(client, host.KeysFor("checkout", "key"), 7, &answer, call, nil)
	})(c)
	require.Zero(c, answer)
}

// asyncCacheCallCompletes makes a call to the cache that panics.
func asyncCacheCallCompletes(invoke func(client host.Handle, call *host.Handle) host.Code) func(*child) {
	return func(c *child) {
		client := host.ReadyClient(c.T, c.agentWithTokens())
		before := host.Lib.LiveHandles()
		c.arm()
		var call host.Handle
		require.Equal(c, host.Pending, invoke(client, &call))
		done := host.Take(c.T, call)
		require.Equal(c, host.ErrorInternal, done.Code)
		require.Contains(c, done.Text(), "panic")
		require.Zero(c, done.Answer)
		require.EqualValues(c, 7, done.Tag)
		require.Equal(c, before, host.Lib.LiveHandles())
	}
}

func asyncFlowIsEnded(c *child) {
	agent := c.agentWithTokens()
	client := host.ReadyClient(c.T, agent)
	c.arm()
	done := host.Take(c.T, host.StartAsync(c.T, client, 7, host.Patient(host.ParamsFor("checkout"))))
	require.Equal(c, host.ErrorInternal, done.Code)
	require.Zero(c, done.Flow)
	c.givenBack(agent)
}

func asyncEndGivesBack(c *child) {
	agent := c.agentWithTokens()
	client := host.ReadyClient(c.T, agent)
	flow, _ := host.Start(c.T, client, host.Patient(host.ParamsFor("checkout")))
	var call host.Handle
	c.arm()
	require.Equal(c, host.Pending, host.Lib.FlowEndAsync(flow, 7, nil, &call, nil))
	done := host.Take(c.T, call)
	require.Equal(c, host.ErrorInternal, done.Code)
	require.Equal(c, flow, done.Flow)
	c.givenBack(agent)
	host.Eventually(c.T, "the end has an outcome", func() bool { return host.Lib.FlowEndResult(flow, nil, nil) == host.OK })
}

func cancelledEndCompletes(c *child) {
	agent := host.StartAgent(c.T)
	agent.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Hang: true}})
	options := host.OptionsFor(agent.Address())
	options.FlowEndTimeoutNS = int64(host.Soon)
	client := host.OpenClient(c.T, options)
	c.Cleanup(func() { host.Lib.ClientClose(client, 1, nil) }) // it would wait for the end that hangs
	flow, _ := host.Start(c.T, client, host.Patient(host.ParamsFor("checkout")))
	var call host.Handle
	require.Equal(c, host.Pending, host.Lib.FlowEndAsync(flow, 7, nil, &call, nil))
	c.givenBack(agent) // it hangs there
	c.arm()
	require.Equal(c, host.OK, host.Lib.CallCancel(call, nil))
	require.Equal(c, host.ErrorCancelled, host.Take(c.T, call).Code)
}

func asyncWaitReadyCompletes(c *child) {
	client := host.OpenClient(c.T, host.OptionsFor(host.ClosedAddress(c.T)))
	var call host.Handle
	c.arm()
	require.Equal(c, host.Pending, host.Lib.ClientWaitReadyAsync(client, int64(host.Soon), 7, &call, nil))
	require.Equal(c, host.ErrorInternal, host.Take(c.T, call).Code)
}

func asyncCloseCompletes(c *child) {
	agent := c.agentWithTokens()
	before := c.descriptorsAtRest()
	client := host.ReadyClient(c.T, agent)
	var call host.Handle
	c.arm()
	require.Equal(c, host.Pending, host.Lib.ClientCloseAsync(client, int64(host.Soon), 7, &call, nil))
	require.Equal(c, host.ErrorInternal, host.Take(c.T, call).Code)
	require.Equal(c, host.ErrorInvalidHandle, host.Lib.ClientClose(client, 0, nil), "the completion releases the handle")
	host.Eventually(c.T, "the connection is closed", func() bool { return c.descriptors() <= before })
}

// closeEndsCalls closes a client that has a call in progress and a span that the agent does not take. The call ends at
// once; with the connection it would end only after the time for the span.
func closeEndsCalls(c *child) {
	agent := host.StartAgent(c.T)
	agent.Set(fakeagent.Behaviour{Export: fakeagent.Trouble{Hang: true}})
	client := host.ReadyClient(c.T, agent)
	c.queueSpan(client, host.Patient(host.ParamsFor("checkout")))
	agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}, Export: fakeagent.Trouble{Hang: true}})
	call := host.StartAsync(c.T, client, 7, host.Patient(host.ParamsFor("checkout")))
	host.Eventually(c.T, "the agent is asked", func() bool { return agent.Recorded().CheckCount == 2 })
	c.arm()
	closed := make(chan host.Code, 1)
	go func() { closed <- host.Lib.ClientClose(client, int64(host.Soon), nil) }()
	done, failed := host.NewCompletion(), host.NewFailure()
	require.Equal(c, host.OK, host.Lib.CallWait(call, int64(host.Soon/2), done, failed), failed.Text())
	require.Equal(c, host.OK, host.Lib.FlowClose(done.Flow, nil))
	agent.Stop()
	require.Equal(c, host.ErrorTimeout, <-closed, "the span is lost")
}

func closeEndsWaits(c *child) {
	client := host.OpenClient(c.T, host.OptionsFor(host.ClosedAddress(c.T)))
	var call host.Handle
	require.Equal(c, host.Pending, host.Lib.ClientWaitReadyAsync(client, int64(time.Hour), 7, &call, nil))
	time.Sleep(50 * time.Millisecond) // so that it waits; the case holds also if it does not yet
	c.arm()
	host.CloseClient(c.T, client)
}

// reconnects loses its agent, and finds another one at the same address without being asked for a flow.
func reconnects(c *child) {
	agent, err := fakeagent.Start(fakeagent.Options{})
	require.NoError(c, err)
	c.Cleanup(agent.Stop)
	c.arm()
	client := host.ReadyClient(c.T, agent)
	agent.Stop()
	host.Eventually(c.T, "the loss is noticed", func() bool { return host.Lib.ClientWaitReady(client, 0, nil) == host.ErrorTimeout })
	again, err := fakeagent.Start(fakeagent.Options{Address: agent.Address()})
	require.NoError(c, err)
	c.Cleanup(again.Stop)
	failed := host.NewFailure()
	require.Equal(c, host.OK, host.Lib.ClientWaitReady(client, int64(host.Soon), failed), failed.Text())
	_, decided := host.Start(c.T, client, host.Patient(host.ParamsFor("checkout")))
	require.EqualValues(c, host.Accepted, decided.Decision)
}

// laterSpansAreSent sends spans until one arrives; every span is counted.
func laterSpansAreSent(c *child) {
	agent := host.StartAgent(c.T)
	c.arm()
	client := host.ReadyClient(c.T, agent)
	flows := 0
	host.Eventually(c.T, "spans arrive", func() bool {
		flow := c.queueSpan(client, host.Patient(host.ParamsFor("checkout")))
		require.Equal(c, host.OK, host.Lib.FlowClose(flow, nil))
		flows++
		return agent.Recorded().SpanCount > 0
	})
	host.Eventually(c.T, "nothing waits", func() bool { return host.ReadStats(c.T, client).SpansQueued == 0 })
	counted := host.ReadStats(c.T, client)
	require.EqualValues(c, flows, counted.SpansExported+counted.SpansDropped)
	require.EqualValues(c, agent.Recorded().SpanCount, counted.SpansExported)
	host.CloseClient(c.T, client)
}

// sweeperGoesOn waits for the second panic, which only a loop that goes on can have.
func sweeperGoesOn(point string) func(*child) {
	return func(c *child) {
		policy := strings.Replace(host.OnePerHour, "interval: 3600s", "interval: 3600s\n      max_idle_time: 1s", 1)
		client := host.OpenClient(c.T, host.OptionsFor("local:"+host.WriteFile(c.T, policy)))
		c.arm()
		if point == "local.sweeper" { // it is passed when the goroutine starts
			client = host.OpenClient(c.T, host.OptionsFor("local:"+host.WriteFile(c.T, policy)))
		}
		host.Eventually(c.T, "it panics again", func() bool { return c.traces(point) == 2 })
		host.CloseClient(c.T, client)
	}
}

// scheduled opens a client whose flows wait: for the slot that a first flow has, or for the token that it has taken.
func scheduled(c *child, policies string) (client, first host.Handle) {
	client = host.OpenClient(c.T, host.OptionsFor("local:"+host.WriteFile(c.T, policies)))
	first, decided := host.Start(c.T, client, host.ParamsFor("checkout"))
	require.EqualValues(c, 1, decided.ShouldRun)
	return client, first
}

// waitForSlot starts a flow that gets the slot of the first one while a point panics, and returns its completion.
func waitForSlot(c *child) (client host.Handle, done *host.Completion) {
	client, first := scheduled(c, host.OneAtATime)
	call := host.StartAsync(c.T, client, 7, host.Patient(host.ParamsFor("checkout")))
	c.arm()
	require.Equal(c, host.OK, host.Lib.FlowEnd(first, nil, nil))
	done = host.Take(c.T, call)
	c.disarm()
	return client, done
}

// slotIsFree makes sure that nothing holds the slot.
func slotIsFree(c *child, client host.Handle) {
	_, decided := host.Start(c.T, client, host.Patient(host.ParamsFor("checkout")))
	require.EqualValues(c, host.Accepted, decided.Decision)
}

func waitingStartCompletes(c *child) {
	client, done := waitForSlot(c)
	require.Equal(c, host.ErrorInternal, done.Code)
	require.Zero(c, done.Flow)
	require.Zero(c, host.ReadStats(c.T, client).CallsPending)
	slotIsFree(c, client)
}

func waitingFlowHasNoDecision(c *child) {
	client, done := waitForSlot(c)
	require.Equal(c, host.OK, done.Code)
	failed := host.NewFailure()
	require.Equal(c, host.OK, host.Lib.FlowError(done.Flow, failed, nil))
	require.Equal(c, host.ErrorUnreachable, failed.Code)
	require.Equal(c, host.OK, host.Lib.FlowClose(done.Flow, nil))
	slotIsFree(c, client)
}

func waitingFlowGetsItsSlot(c *child) {
	client, done := waitForSlot(c)
	require.Equal(c, host.OK, done.Code)
	require.Equal(c, host.OK, host.Lib.FlowClose(done.Flow, nil))
	slotIsFree(c, client)
}

func waitingFlowIsRejectedInTime(c *child) {
	client, _ := scheduled(c, host.OneAtATime)
	params := host.ParamsFor("checkout")
	params.CheckTimeoutNS = int64(20 * time.Millisecond)
	c.arm()
	_, decided := host.Start(c.T, client, params)
	require.EqualValues(c, host.Rejected, decided.Decision)
}

func waitingFlowGetsItsTokens(c *child) {
	client, _ := scheduled(c, host.OneAfterTheOther)
	c.arm()
	_, decided := host.Start(c.T, client, host.Patient(host.ParamsFor("checkout")))
	require.EqualValues(c, host.Accepted, decided.Decision)
}

// logGoesOn writes to the log, loses a line at most, and sees later ones.
func logGoesOn(c *child) {
	before := len(c.logged())
	c.arm()
	c.logTo(c.log)
	host.Eventually(c.T, "lines are written", func() bool {
		// A key on an insecure connection is worth a warning.
		options := host.OptionsFor(host.ClosedAddress(c.T))
		options.APIKey = host.TextOf("secret")
		host.CloseClient(c.T, host.OpenClient(c.T, options))
		return strings.Contains(c.logged()[before:], "API key")
	})
	require.NotContains(c, c.logged(), "secret")
}

// closesAllTheSame has a span in the queue when it closes the client.
func closesAllTheSame(c *child) {
	agent := host.StartAgent(c.T)
	c.arm()
	client := host.OpenClient(c.T, host.OptionsFor(agent.Address()))
	c.queueSpan(client, host.ParamsFor("checkout"))
	begin := time.Now()
	code := host.Lib.ClientClose(client, int64(2*time.Second), nil)
	require.Contains(c, []host.Code{host.OK, host.ErrorTimeout}, code)
	require.Less(c, time.Since(begin), host.Soon)
}
