package agent

import (
	"context"
	"sync"
)

// returns are the calls that give back what flows hold. They outlive EndCalls: a client that is closed right after its
// last flow has ended must not keep that flow's tokens.
type returns struct {
	ctx context.Context // ends when they are to end
	end context.CancelFunc

	mu         sync.Mutex
	inProgress int
	none       chan struct{} // closed when none is in progress; made by the first who waits for that
}

func (r *returns) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inProgress++
}

func (r *returns) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inProgress--
	if r.inProgress == 0 && r.none != nil {
		close(r.none)
		r.none = nil
	}
}

// await waits until none is in progress, or ctx ends.
func (r *returns) await(ctx context.Context) {
	none := r.untilNone()
	if none == nil {
		return
	}
	select {
	case <-none:
	case <-ctx.Done():
	}
}

// untilNone returns what is closed when none is in progress any more, nil when none is.
func (r *returns) untilNone() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inProgress > 0 && r.none == nil {
		r.none = make(chan struct{})
	}
	return r.none
}
