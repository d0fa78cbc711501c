// Package host is what the server offers to the attempt that is running, in Go's own types. Outside of
// a component a [Fake] stands in for the server.
package host

import "time"

// Level is how grave a log line is.
type Level uint8

// The levels, in order of gravity.
const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
)

// Location is a place in source code. Without a file it is unknown.
type Location struct {
	File string
	Line int
}

// Failure is why a test failed.
type Failure struct {
	Message  string
	Location Location
}

// Ending is how setup, a test or a part of one ended.
type Ending uint8

// The endings.
const (
	Passed Ending = iota
	Failed
	Skipped
)

// Outcome is an ending with its failure, or with the reason for skipping as the message.
type Outcome struct {
	Ending  Ending
	Failure Failure
}

// Refusal is the server's no.
type Refusal struct {
	Rule    string
	Message string
}

func (r *Refusal) Error() string {
	return r.Message + " (" + r.Rule + ")"
}

// Attribute is a name with a value.
type Attribute struct {
	Key, Value string
}

// Link is a titled link.
type Link struct {
	Title, URL string
}

// Case is a test as it is described to the server. What is zero is left to the suite or the server.
type Case struct {
	Name        string
	Description string
	Tags        []string
	Timeout     time.Duration
	Attempts    int
	Soft        bool
	Disabled    string
}

// Suite is a suite as it is described to the server. What is zero is left to the server.
type Suite struct {
	Name        string
	Namespace   string
	Description string
	Links       []Link
	Labels      []Attribute
	Owner       string
	Timeout     time.Duration
	Attempts    int
	Parallelism int
	WantsHTTP   []string
	Tests       []Case
}

// Guest is what the server calls.
type Guest struct {
	Describe func() Suite
	Setup    func() Outcome
	Run      func(test string) Outcome
	Teardown func() Outcome
}
