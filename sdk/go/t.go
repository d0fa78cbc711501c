package handoff

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/handoff-tests/handoff/sdk/go/internal/host"
)

// T is the attempt at a test that is running, or one of its parts. Its methods are those of [testing.T]
// in name and meaning; where they differ, they say so. Beside them are those of the server.
//
// It is a [testing.TB], so what is written for one works with it.
type T struct {
	// Is nil: it is what makes a T a testing.TB, whose one private method nobody calls.
	testing.TB

	name     string // in the test, for a part
	parent   *T     // of a part
	loose    bool   // its failure is not that of its parent
	context  context.Context
	cancel   context.CancelFunc
	released chan struct{} // closed when the function has ended: parallel parts may start
	paused   chan struct{} // closed when the part is done or waits for release
	parts    sync.WaitGroup

	mutex     sync.Mutex
	failed    bool
	failures  []host.Failure
	bare      host.Location // of a failure without a message
	skipped   bool
	reason    string
	leaving   bool // by FailNow or SkipNow
	parallel  bool
	started   time.Time
	cleanups  []func()
	helpers   map[string]bool
	children  map[string]int
	artifacts string
	output    *output
	values    map[string]any // of the test, that it has set itself
}

var _ testing.TB = (*T)(nil)

// maxFailures is how many failures a part keeps for its own message. The server is told of all.
const maxFailures = 100

// run runs a function of the suite to its end.
func run(name string, function TestFunc) host.Outcome {
	if function == nil {
		return host.Outcome{}
	}
	t := newT(name, nil)
	t.execute(function)
	return t.outcome()
}

func newT(name string, parent *T) *T {
	base := context.Background()
	if parent != nil {
		base = parent.context
	}
	t := &T{
		name:     name,
		parent:   parent,
		released: make(chan struct{}),
		paused:   make(chan struct{}),
		started:  time.Now(),
	}
	t.context, t.cancel = context.WithCancel(base)
	return t
}

// execute runs the function, its parallel parts and what is to be cleaned up.
func (t *T) execute(function TestFunc) {
	t.protect(func() { function(t) })
	close(t.released)
	t.parts.Wait()
	t.cancel()
	for {
		t.mutex.Lock()
		last := len(t.cleanups) - 1
		if last < 0 {
			t.mutex.Unlock()
			break
		}
		cleanup := t.cleanups[last]
		t.cleanups = t.cleanups[:last]
		t.mutex.Unlock()
		t.protect(cleanup)
	}
	if t.output != nil {
		t.output.flush()
	}
}

// protect runs a function in a goroutine of its own, which FailNow and SkipNow may end, and waits for
// it.
func (t *T) protect(function func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		returned := false
		defer func() {
			if returned {
				return
			}
			if value := recover(); value != nil {
				t.panicked(value)
				return
			}
			t.mutex.Lock()
			left := t.leaving
			t.leaving = false
			t.mutex.Unlock()
			if !left {
				t.fail("the test called runtime.Goexit", host.Location{})
			}
		}()
		function()
		returned = true
	}()
	<-done
}

// outcome tells how it ended.
func (t *T) outcome() host.Outcome {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	switch {
	case t.failed && len(t.failures) == 0:
		failure := host.Failure{Message: "failed without a message", Location: t.bare}
		return host.Outcome{Ending: host.Failed, Failure: failure}
	case t.failed && t.parent == nil:
		// The server has been told of the others.
		return host.Outcome{Ending: host.Failed, Failure: t.failures[0]}
	case t.failed:
		var messages []string
		for _, failure := range t.failures {
			messages = append(messages, failure.Message)
		}
		failure := host.Failure{Message: strings.Join(messages, "\n"), Location: t.failures[0].Location}
		return host.Outcome{Ending: host.Failed, Failure: failure}
	case t.skipped:
		return host.Outcome{Ending: host.Skipped, Failure: host.Failure{Message: t.reason}}
	default:
		return host.Outcome{}
	}
}

// fail tells the server, the part and what it is a part of.
func (t *T) fail(message string, location host.Location) {
	failure := host.Failure{Message: message, Location: location}
	for at := t; ; at = at.parent {
		at.mutex.Lock()
		at.failed = true
		if len(at.failures) < maxFailures {
			at.failures = append(at.failures, failure)
		}
		at.mutex.Unlock()
		if at.parent == nil {
			host.ReportFailure(failure)
			return
		}
		if at.loose {
			return
		}
		failure.Message = at.name + ": " + failure.Message
	}
}

// Name is the test's name; of a part, with the names of what it is a part of: `test/part`. Unlike
// testing, it leaves the name of a part as it was given.
func (t *T) Name() string {
	if t.parent == nil {
		return t.name
	}
	return t.parent.Name() + "/" + t.name
}

// root is the test.
func (t *T) root() *T {
	for t.parent != nil {
		t = t.parent
	}
	return t
}

// path is the name of a part within its test.
func (t *T) path() string {
	if t.parent == nil || t.parent.parent == nil {
		return t.name
	}
	return t.parent.path() + "/" + t.name
}

// Log writes to the attempt's log, as with [fmt.Sprintln], at level info. The place is not added.
func (t *T) Log(args ...any) {
	host.Log(host.Info, line(args))
}

// Logf does so as with [fmt.Sprintf].
func (t *T) Logf(format string, args ...any) {
	host.Log(host.Info, strings.TrimSuffix(fmt.Sprintf(format, args...), "\n"))
}

func line(args []any) string {
	return strings.TrimSuffix(fmt.Sprintln(args...), "\n")
}

// Error fails the test and goes on. The server hears of it at once, with the place of the call, so that
// it is told whatever comes after; unlike testing's, it does not show up in the log.
func (t *T) Error(args ...any) {
	t.fail(readable(line(args)), t.caller())
}

// Errorf does so as with [fmt.Sprintf].
func (t *T) Errorf(format string, args ...any) {
	t.fail(readable(fmt.Sprintf(format, args...)), t.caller())
}

// Fatal is [T.Error], and ends the test.
func (t *T) Fatal(args ...any) {
	t.fail(readable(line(args)), t.caller())
	t.FailNow()
}

// Fatalf is [T.Errorf], and ends the test.
func (t *T) Fatalf(format string, args ...any) {
	t.fail(readable(fmt.Sprintf(format, args...)), t.caller())
	t.FailNow()
}

// Fail fails the test without a message, and goes on.
func (t *T) Fail() {
	location := t.caller()
	for at := t; at != nil; at = at.parent {
		at.mutex.Lock()
		at.failed = true
		if at.bare.File == "" {
			at.bare = location
		}
		at.mutex.Unlock()
		if at.loose {
			return
		}
	}
}

// FailNow fails the test and ends it, by [runtime.Goexit]: what is deferred runs, and so does what is
// registered for Cleanup. It must be called by the goroutine that runs the test.
func (t *T) FailNow() {
	t.Fail()
	t.leave()
}

// Failed tells whether the test has failed.
func (t *T) Failed() bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.failed
}

// Skip ends the test as one that is not applicable; the arguments are the reason.
func (t *T) Skip(args ...any) {
	t.skip(line(args))
}

// Skipf does so as with [fmt.Sprintf].
func (t *T) Skipf(format string, args ...any) {
	t.skip(fmt.Sprintf(format, args...))
}

// SkipNow is [T.Skip] without a reason. A test that has failed stays failed.
func (t *T) SkipNow() {
	t.skip("")
}

func (t *T) skip(reason string) {
	t.mutex.Lock()
	t.skipped, t.reason = true, strings.TrimSpace(reason)
	t.mutex.Unlock()
	t.leave()
}

// Skipped tells whether the test was skipped.
func (t *T) Skipped() bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.skipped
}

// Helper marks the function that calls it as a helper: failures are shown where it was called.
func (t *T) Helper() {
	found := frames()
	if len(found) == 0 {
		return
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.helpers == nil {
		t.helpers = map[string]bool{}
	}
	t.helpers[found[0].Function] = true
}

func (t *T) isHelper(function string) bool {
	for at := t; at != nil; at = at.parent {
		at.mutex.Lock()
		is := at.helpers[function]
		at.mutex.Unlock()
		if is {
			return true
		}
	}
	return false
}

// Cleanup has a function run when the test and its parts are done, the last registered first: after a
// failure and a panic too. Where the server ends the attempt, as at its deadline, and where the program
// crashes, nothing runs any more: what must be cleaned up then belongs into the suite's Teardown.
func (t *T) Cleanup(function func()) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.cleanups = append(t.cleanups, function)
}

// Context is cancelled just before what is registered for Cleanup runs. Like testing's, it does not
// know the deadline.
func (t *T) Context() context.Context {
	return t.context
}

// Deadline is when the server will end the attempt. There always is one.
func (t *T) Deadline() (deadline time.Time, ok bool) {
	return time.Now().Add(host.Remaining()), true
}

// TempDir makes a directory that is removed when the test is done.
func (t *T) TempDir() string {
	dir, err := os.MkdirTemp("", "handoff-")
	if err != nil {
		t.fail("failed to make a directory: "+err.Error(), t.caller())
		t.FailNow()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// ArtifactDir is a directory whose files are kept with the attempt when the test is done. The file of a
// part is called `part/file`. Like Cleanup, it needs the test to end by itself; [T.Attach] does not.
func (t *T) ArtifactDir() string {
	if t.artifacts == "" {
		t.artifacts = t.TempDir()
		t.Cleanup(func() { t.attachAll(t.artifacts) })
	}
	return t.artifacts
}

// Setenv sets an environment variable until the test is done. It cannot be used in parallel parts.
func (t *T) Setenv(key, value string) {
	t.refuseParallel("Setenv")
	before, was := os.LookupEnv(key)
	if err := os.Setenv(key, value); err != nil {
		t.fail("failed to set an environment variable: "+err.Error(), t.caller())
		t.FailNow()
	}
	t.Cleanup(func() {
		if was {
			os.Setenv(key, before)
		} else {
			os.Unsetenv(key)
		}
	})
}

// Chdir changes the working directory until the test is done. It cannot be used in parallel parts.
func (t *T) Chdir(dir string) {
	t.refuseParallel("Chdir")
	before, err := os.Getwd()
	if err == nil {
		err = os.Chdir(dir)
	}
	if err != nil {
		t.fail("failed to change the directory: "+err.Error(), t.caller())
		t.FailNow()
	}
	t.Cleanup(func() { os.Chdir(before) })
	if absolute, err := filepath.Abs(dir); err == nil {
		t.Setenv("PWD", absolute)
	}
}

// Attr writes `=== ATTR  name key value` to the log, as testing does. What plugins and later tests are
// to see goes through [T.SetValue].
func (t *T) Attr(key, value string) {
	switch {
	case strings.ContainsFunc(key, unicode.IsSpace):
		t.fail(fmt.Sprintf("the attribute's key %q has white space in it", key), t.caller())
	case strings.ContainsAny(value, "\r\n"):
		t.fail(fmt.Sprintf("the attribute's value %q has a line break in it", value), t.caller())
	default:
		host.Log(host.Info, fmt.Sprintf("=== ATTR  %s %s %s", t.Name(), key, value))
	}
}
