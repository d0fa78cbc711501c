//go:build !wasip1

package host

import (
	"fmt"
	"sync"
	"time"
)

// Fake stands in for the server outside of a component. It keeps what it is told.
type Fake struct {
	mutex    sync.Mutex
	Lines    []string
	Failures []Failure
	Parts    map[string]Outcome
	Values   map[string]string
	Secrets  map[string]bool
	Files    map[string][]byte
	Spans    []string
	Soft     bool
	Settings map[string]string
	Number   int
	Left     time.Duration
	Guest    Guest
}

// Server is the fake that functions of this package talk to.
var Server = NewFake()

// NewFake gives a server at the first attempt.
func NewFake() *Fake {
	return &Fake{
		Parts:    map[string]Outcome{},
		Values:   map[string]string{},
		Secrets:  map[string]bool{},
		Files:    map[string][]byte{},
		Settings: map[string]string{},
		Number:   1,
		Left:     time.Minute,
	}
}

func (f *Fake) change(change func()) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	change()
}

// Serve makes the guest what the server calls.
func Serve(guest Guest) { Server.Guest = guest }

// Log writes to the attempt's log.
func Log(level Level, message string) {
	Server.change(func() { Server.Lines = append(Server.Lines, fmt.Sprint(level, " ", message)) })
}

// Attempt is the number of the attempt.
func Attempt() int { return Server.Number }

// Remaining is how long the attempt may still run.
func Remaining() time.Duration { return Server.Left }

// ExtendDeadline asks for more time, and gives how much now remains.
func ExtendDeadline(by time.Duration) (time.Duration, error) {
	Server.Left += by
	return Server.Left, nil
}

// MarkSoft makes a failure of the attempt one that does not fail the run.
func MarkSoft() { Server.change(func() { Server.Soft = true }) }

// ReportFailure tells of a failure at once.
func ReportFailure(failure Failure) {
	Server.change(func() { Server.Failures = append(Server.Failures, failure) })
}

// ReportPart tells how a part of the test ended.
func ReportPart(name string, outcome Outcome, _ time.Duration) error {
	Server.change(func() { Server.Parts[name] = outcome })
	return nil
}

// SetValue keeps a value for the run. It refuses more than 64 KiB, as the server does.
func SetValue(name, value string, secret bool) error {
	if len(value) > 64<<10 {
		return &Refusal{"value_bytes", "the value is too long"}
	}
	Server.change(func() { Server.Values[name], Server.Secrets[name] = value, secret })
	return nil
}

// Value gives a value of the run.
func Value(name string) (string, bool) {
	value, ok := Server.Values[name]
	return value, ok
}

// Attach keeps a file with the attempt.
func Attach(name, mediaType string, content []byte) error {
	Server.change(func() { Server.Files[name+" "+mediaType] = content })
	return nil
}

// Param gives a parameter of the run, or else a value of the configuration.
func Param(name string) (string, bool, error) {
	value, ok := Server.Settings[name]
	return value, ok, nil
}

// Params gives all of them.
func Params() (map[string]string, error) { return Server.Settings, nil }

// Span is a timed part of the attempt.
type Span struct{ name string }

// StartSpan starts one.
func StartSpan(name string, attributes []Attribute) *Span {
	Server.change(func() { Server.Spans = append(Server.Spans, fmt.Sprint(name, attributes)) })
	return &Span{name}
}

// Set adds an attribute to the span.
func (s *Span) Set(attribute Attribute) {
	Server.change(func() { Server.Spans = append(Server.Spans, fmt.Sprint(s.name, attribute)) })
}

// End ends it.
func (s *Span) End() {
	Server.change(func() { Server.Spans = append(Server.Spans, s.name+" ended") })
}
