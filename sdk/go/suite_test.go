//go:build !wasip1

package handoff_test

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	handoff "github.com/handoff-tests/handoff/sdk/go"
	"github.com/handoff-tests/handoff/sdk/go/internal/host"
)

func sells(t *handoff.T) { t.Log("sold") }

type shop struct{}

func (shop) Opens(t *handoff.T) { t.Skip("closed") }

func register(suite handoff.TestSuite) host.Guest {
	host.Server = host.NewFake()
	handoff.Unregister()
	handoff.Register(suite)
	return host.Server.Guest
}

func TestASuiteIsDescribed(t *testing.T) {
	guest := register(handoff.TestSuite{
		Name:    "shop-checks",
		Links:   []handoff.Link{{Title: "Runbook", URL: "https://example.test"}},
		Labels:  map[string]string{"team": "shop", "kind": "smoke"},
		Timeout: time.Second,
		Tests: append(handoff.Tests(sells, shop{}.Opens),
			handoff.Test{Name: "named", Func: func(*handoff.T) {}, Attempts: 3, Soft: true, Tags: []string{"slow"}}),
	})
	want := host.Suite{
		Name:    "shop-checks",
		Links:   []host.Link{{Title: "Runbook", URL: "https://example.test"}},
		Labels:  []host.Attribute{{Key: "kind", Value: "smoke"}, {Key: "team", Value: "shop"}},
		Timeout: time.Second,
		Tests: []host.Case{
			{Name: "sells"}, {Name: "Opens"},
			{Name: "named", Attempts: 3, Soft: true, Tags: []string{"slow"}},
		},
	}
	if got := guest.Describe(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if outcome := guest.Run("Opens"); outcome.Ending != host.Skipped {
		t.Errorf("got %v", outcome)
	}
	expect(t, guest.Run("sold"), host.Failed, `there is no test "sold" in this suite`)
	if outcome := guest.Setup(); outcome.Ending != host.Passed {
		t.Errorf("got %v", outcome)
	}
}

func opens() error { return errors.New("the door is locked") }

func TestAFunctionThatReturnsAnErrorCanBeSetup(t *testing.T) {
	guest := register(handoff.TestSuite{Name: "shop", Setup: handoff.NoError(opens), Tests: handoff.Tests(sells)})
	outcome := guest.Setup()
	expect(t, outcome, host.Failed, "the door is locked")
	if filepath.Base(outcome.Failure.Location.File) != "suite_test.go" {
		t.Errorf("failed at %v", outcome.Failure.Location)
	}
}

func TestAWrongSuiteIsRefused(t *testing.T) {
	for want, suite := range map[string]handoff.TestSuite{
		"handoff: the suite a has no tests":                                  {Name: "a"},
		`handoff: the suite b has two tests of the name "sells"`:             {Name: "b", Tests: handoff.Tests(sells, sells)},
		"handoff: test 0 of the suite c needs a Name: its function has none": {Name: "c", Tests: handoff.Tests(func(*handoff.T) {})},
		`handoff: test 0 ("x") of the suite d has no function`:               {Name: "d", Tests: []handoff.Test{{Name: "x"}}},
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("got %v, want %s", got, want)
				}
			}()
			register(suite)
		}()
	}
	register(handoff.TestSuite{Name: "once", Tests: handoff.Tests(sells)})
	defer func() {
		if recover() == nil {
			t.Error("a second suite is taken")
		}
	}()
	handoff.Register(handoff.TestSuite{Name: "twice", Tests: handoff.Tests(sells)})
}
