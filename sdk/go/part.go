package handoff

import (
	"fmt"
	"runtime"
	"time"

	"github.com/handoff-tests/handoff/sdk/go/internal/host"
)

// Run runs a part of the test, such as a row of a table, and reports it by its name. It tells whether
// the part did not fail; a part that fails fails the test. A second part of a name gets `#01` after it.
//
// A panic fails the part and ends it, and the test goes on.
func (t *T) Run(name string, function func(t *T)) bool {
	return t.run(name, function, false)
}

// Part is [T.Run] for a part whose failure does not fail the test.
func (t *T) Part(name string, function func(t *T)) bool {
	return t.run(name, function, true)
}

func (t *T) run(name string, function func(t *T), loose bool) bool {
	part := newT(t.unique(name), t)
	part.loose = loose
	location := t.caller()
	t.parts.Add(1)
	go func() {
		defer t.parts.Done()
		part.execute(function)
		took := time.Since(part.started)
		if err := host.ReportPart(part.path(), part.outcome(), took); err != nil {
			t.fail(fmt.Sprintf("failed to report the part %q: %v", part.path(), err), location)
		}
		if !part.parallel {
			close(part.paused)
		}
	}()
	<-part.paused
	return !part.Failed()
}

// unique gives the name of a new part.
func (t *T) unique(name string) string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.children == nil {
		t.children = map[string]int{}
	}
	if name == "" {
		name = "#00"
	}
	for base, number := name, t.children[name]; ; number++ {
		if number > 0 {
			name = fmt.Sprintf("%s#%02d", base, number)
		}
		if number == 0 || t.children[name] == 0 {
			t.children[base] = number + 1
			if name != base {
				t.children[name] = 1
			}
			return name
		}
	}
}

// Parallel has a part wait until the function that it is a part of has returned, and then run together
// with the other parts that called it. WebAssembly has one thread: parts alternate where they wait, as
// for an answer.
//
// In the test itself it does nothing: whether tests run together is the suite's Parallelism.
func (t *T) Parallel() {
	if t.parent == nil {
		return
	}
	t.mutex.Lock()
	again := t.parallel
	t.parallel = true
	t.mutex.Unlock()
	if again {
		panic("handoff: a part calls Parallel twice")
	}
	close(t.paused)
	<-t.parent.released
	t.started = time.Now()
}

// refuseParallel panics in a part that runs together with others.
func (t *T) refuseParallel(method string) {
	for at := t; at != nil; at = at.parent {
		at.mutex.Lock()
		is := at.parallel
		at.mutex.Unlock()
		if is {
			panic("handoff: " + method + " is called in a parallel part")
		}
	}
}

// leave ends the goroutine on behalf of FailNow and SkipNow.
func (t *T) leave() {
	t.mutex.Lock()
	t.leaving = true
	t.mutex.Unlock()
	runtime.Goexit()
}
