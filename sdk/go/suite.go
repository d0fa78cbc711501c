package handoff

import (
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/handoff-tests/handoff/sdk/go/internal/host"
)

// TestSuite is what a component is: its tests, and what holds for all of them. What is zero is left to
// the server.
type TestSuite struct {
	// Name is lower-case letters, digits, `-`, `_` and `.`, at most 64 bytes, starting with a letter or
	// digit.
	Name string
	// Namespace has the same form. An upload may name another.
	Namespace string
	// Description says in Markdown what the suite tests.
	Description string
	// Owner is for example a team's name or address.
	Owner string
	// Links are for whoever looks at a failure: the runbook, the dashboard, the source.
	Links []Link
	// Labels are names with values by which suites are chosen.
	Labels map[string]string
	// Timeout is the deadline of each test that has none of its own.
	Timeout time.Duration
	// Attempts is how often a test is tried at most that does not say so itself.
	Attempts int
	// Parallelism is how many tests may run at the same time. Default: 1, in the order of Tests.
	Parallelism int
	// WantsHTTP are the hosts that the suite would like to reach, as `https://host:port`. People see it
	// beside what the operator granted; it grants nothing.
	WantsHTTP []string
	// Setup runs before the first test. If it fails, no test runs; if it skips, all tests are skipped.
	// What it makes reaches the tests through [T.SetValue] alone.
	Setup TestFunc
	// Teardown runs after the last test whenever Setup was started: after failures, a timeout and a
	// cancellation too.
	Teardown TestFunc
	// Tests are the tests, in the order in which they run.
	Tests []Test
}

// Link is a titled link, shown to people.
type Link struct {
	// Title is what the link is called.
	Title string
	// URL is absolute, with `http` or `https`.
	URL string
}

// Test is one test of a suite. What is zero is left to the suite, and then to the server.
type Test struct {
	// Func is the test.
	Func TestFunc
	// Name is unique in the suite, and the test's identity over time. Default: the function's.
	Name string
	// Description says in Markdown what the test checks.
	Description string
	// Tags are what tests are chosen by.
	Tags []string
	// Timeout is the test's deadline.
	Timeout time.Duration
	// Attempts is how often the test is tried at most.
	Attempts int
	// Soft shows a failure of the test without failing the run.
	Soft bool
	// Disabled says why the test is not to be run.
	Disabled string
}

// TestFunc is a test.
type TestFunc = func(t *T)

// TB is what tests take that were written for the earlier Handoff.
type TB = *T

// Tests makes tests of functions that need no options.
func Tests(functions ...TestFunc) []Test {
	tests := make([]Test, len(functions))
	for i, function := range functions {
		tests[i] = Test{Func: function}
	}
	return tests
}

// NoError makes a test, a setup or a teardown of a function that returns an error.
func NoError(function func() error) TestFunc {
	return func(t *T) {
		if err := function(); err != nil {
			t.fail(err.Error(), placeOf(function))
			t.FailNow()
		}
	}
}

// Register makes the suite what this component is. Call it once, from an init function:
//
//	func init() {
//		handoff.Register(handoff.TestSuite{
//			Name:  "shop-checks",
//			Tests: handoff.Tests(TestSellsBooks, TestSellsNothingElse),
//		})
//	}
//
// It panics if the suite has no tests, two of one name, or one whose name or function is missing.
func Register(suite TestSuite) {
	if registered {
		panic("handoff: a component is one suite, and a second one is registered")
	}
	described, functions := describe(suite)
	registered = true
	host.Serve(host.Guest{
		Describe: func() host.Suite { return described },
		Setup:    func() host.Outcome { return run("setup", suite.Setup) },
		Run: func(test string) host.Outcome {
			function, ok := functions[test]
			if !ok {
				message := fmt.Sprintf("there is no test %q in this suite", test)
				return host.Outcome{Ending: host.Failed, Failure: host.Failure{Message: message}}
			}
			return run(test, function)
		},
		Teardown: func() host.Outcome { return run("teardown", suite.Teardown) },
	})
}

var registered bool

// describe gives what the server is told of the suite, and its tests by name.
func describe(suite TestSuite) (host.Suite, map[string]TestFunc) {
	if len(suite.Tests) == 0 {
		panic("handoff: the suite " + suite.Name + " has no tests")
	}
	described := host.Suite{
		Name:        suite.Name,
		Namespace:   suite.Namespace,
		Description: suite.Description,
		Owner:       suite.Owner,
		Timeout:     suite.Timeout,
		Attempts:    suite.Attempts,
		Parallelism: suite.Parallelism,
		WantsHTTP:   suite.WantsHTTP,
	}
	for _, link := range suite.Links {
		described.Links = append(described.Links, host.Link(link))
	}
	for _, key := range slices.Sorted(maps.Keys(suite.Labels)) {
		described.Labels = append(described.Labels, host.Attribute{Key: key, Value: suite.Labels[key]})
	}
	functions := make(map[string]TestFunc, len(suite.Tests))
	for i, test := range suite.Tests {
		name := test.Name
		if test.Func == nil {
			panic(fmt.Sprintf("handoff: test %d (%q) of the suite %s has no function", i, name, suite.Name))
		}
		if name == "" {
			name = nameOf(test.Func)
		}
		if name == "" {
			panic(fmt.Sprintf("handoff: test %d of the suite %s needs a Name: its function has none", i, suite.Name))
		}
		if functions[name] != nil {
			panic(fmt.Sprintf("handoff: the suite %s has two tests of the name %q", suite.Name, name))
		}
		functions[name] = test.Func
		described.Tests = append(described.Tests, host.Case{
			Name:        name,
			Description: test.Description,
			Tags:        test.Tags,
			Timeout:     test.Timeout,
			Attempts:    test.Attempts,
			Soft:        test.Soft,
			Disabled:    test.Disabled,
		})
	}
	return described, functions
}

// nameOf gives the name of a declared function or method, or nothing for a function literal.
func nameOf(function TestFunc) string {
	name := runtime.FuncForPC(reflect.ValueOf(function).Pointer()).Name()
	name = name[strings.LastIndexByte(name, '/')+1:]
	parts := strings.Split(strings.TrimSuffix(name, "-fm"), ".")
	last := parts[len(parts)-1]
	if literal := strings.TrimLeft(strings.TrimPrefix(last, "func"), "0123456789") == ""; literal {
		return ""
	}
	return last
}
