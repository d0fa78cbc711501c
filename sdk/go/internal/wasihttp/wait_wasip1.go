package wasihttp

import (
	"context"
	"runtime"
	"time"

	clock "github.com/handoff-tests/handoff/sdk/go/internal/bindings/imports/wasi_clocks_monotonic_clock"
	"github.com/handoff-tests/handoff/sdk/go/internal/bindings/imports/wasi_io_poll"
)

// slice is how long the program sleeps at most while requests wait: the Go scheduler cannot wait for
// them, so other goroutines and timers get their turn in between.
const slice = 5 * time.Millisecond

// waiting has what goroutines wait for; each channel is closed when that is there.
var waiting = map[*wasi_io_poll.Pollable]chan struct{}{}

// polling tells that there is somebody who polls.
var polling bool

// wait waits until the pollable is ready or the context is done.
func wait(ctx context.Context, pollable *wasi_io_poll.Pollable) error {
	if pollable.Ready() {
		return nil
	}
	if !polling {
		polling = true
		go poll()
	}
	ready := make(chan struct{})
	waiting[pollable] = ready
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		delete(waiting, pollable)
		return context.Cause(ctx)
	}
}

// poll waits on behalf of all goroutines. There is one of it as long as something is waited for.
func poll() {
	for {
		runtime.Gosched()
		if len(waiting) == 0 {
			polling = false
			return
		}
		timer := clock.SubscribeDuration(uint64(slice))
		all := []*wasi_io_poll.Pollable{timer}
		for pollable := range waiting {
			all = append(all, pollable)
		}
		for _, index := range wasi_io_poll.Poll(all) {
			if index > 0 {
				close(waiting[all[index]])
				delete(waiting, all[index])
			}
		}
		timer.Drop()
	}
}
