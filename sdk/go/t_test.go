//go:build !wasip1

package handoff_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	handoff "github.com/handoff-tests/handoff/sdk/go"
	"github.com/handoff-tests/handoff/sdk/go/internal/host"
)

// attempt runs a function as the attempt at a test, and gives how it ended and what the server heard.
func attempt(function handoff.TestFunc) (host.Outcome, *host.Fake) {
	host.Server = host.NewFake()
	outcome := handoff.Run("test", function)
	return outcome, host.Server
}

// here gives the line that many lines below the call.
func here(below int) int {
	_, _, line, _ := runtime.Caller(1)
	return line + below
}

func expect(t *testing.T, outcome host.Outcome, ending host.Ending, message string) {
	t.Helper()
	if outcome.Ending != ending || outcome.Failure.Message != message {
		t.Errorf("got %v %q, want %v %q", outcome.Ending, outcome.Failure.Message, ending, message)
	}
}

func TestAFatalFailureEndsTheTestAtTheCallersLine(t *testing.T) {
	line, cleaned := 0, false
	outcome, server := attempt(func(t *handoff.T) {
		defer func() { cleaned = true }()
		line = here(1)
		t.Fatalf("got %d", 2)
		panic("goes on")
	})
	expect(t, outcome, host.Failed, "got 2")
	if at := outcome.Failure.Location; filepath.Base(at.File) != "t_test.go" || at.Line != line {
		t.Errorf("failed at %v, want line %d", at, line)
	}
	if !cleaned {
		t.Error("what was deferred did not run")
	}
	if len(server.Failures) != 1 {
		t.Errorf("the server heard %v", server.Failures)
	}
}

func helper(t *handoff.T) {
	t.Helper()
	helped(t)
}

func helped(t *handoff.T) {
	t.Helper()
	t.Error("wrong")
}

func TestAHelpersFailureIsAtItsCaller(t *testing.T) {
	line := 0
	outcome, _ := attempt(func(t *handoff.T) {
		line = here(1)
		helper(t)
	})
	if at := outcome.Failure.Location; at.Line != line {
		t.Errorf("failed at %v, want line %d", at, line)
	}
}

func TestAnErrorIsToldAtOnceAndTheTestGoesOn(t *testing.T) {
	outcome, server := attempt(func(t *handoff.T) {
		t.Error("one", 1)
		if !t.Failed() {
			t.Log("has not failed")
		}
		if len(host.Server.Failures) == 1 {
			t.Log("told")
		}
		t.Error("two")
	})
	expect(t, outcome, host.Failed, "one 1")
	if len(server.Failures) != 2 || !slices.Equal(server.Lines, []string{"2 told"}) {
		t.Errorf("got %v and %v", server.Failures, server.Lines)
	}
}

func TestFailWithoutAMessageHasAPlace(t *testing.T) {
	line := 0
	outcome, _ := attempt(func(t *handoff.T) {
		line = here(1)
		t.FailNow()
	})
	expect(t, outcome, host.Failed, "failed without a message")
	if at := outcome.Failure.Location; at.Line != line {
		t.Errorf("failed at %v, want line %d", at, line)
	}
}

func TestSkippingEndsTheTestAndAFailureWinsOverIt(t *testing.T) {
	outcome, _ := attempt(func(t *handoff.T) { t.Skipf("no %s", "network"); panic("goes on") })
	expect(t, outcome, host.Skipped, "no network")
	outcome, _ = attempt(func(t *handoff.T) { t.Error("wrong"); t.Skip("anyway") })
	expect(t, outcome, host.Failed, "wrong")
	outcome, _ = attempt(func(t *handoff.T) { t.SkipNow() })
	expect(t, outcome, host.Skipped, "")
}

func TestAPanicIsAFailureWithItsStack(t *testing.T) {
	line := 0
	outcome, _ := attempt(func(t *handoff.T) {
		var none []int
		line = here(1)
		t.Log(none[len(os.Args)])
	})
	first, stack, _ := strings.Cut(outcome.Failure.Message, "\n\n")
	if !strings.HasPrefix(first, "panic: runtime error: index out of range") || !strings.Contains(stack, "TestAPanic") {
		t.Errorf("got %q", outcome.Failure.Message)
	}
	if strings.Contains(stack, "protect") {
		t.Errorf("the stack shows the SDK: %s", stack)
	}
	if outcome.Failure.Location.Line != line {
		t.Errorf("failed at %v, want line %d", outcome.Failure.Location, line)
	}
}

type unshowable struct{}

func (unshowable) Error() string { panic("again") }

func TestAPanicThatCannotBeShownIsOneToo(t *testing.T) {
	outcome, _ := attempt(func(*handoff.T) { panic(unshowable{}) })
	if outcome.Ending != host.Failed || !strings.HasPrefix(outcome.Failure.Message, "panic: ") {
		t.Errorf("got %v", outcome)
	}
}

func TestEndingTheGoroutineIsAFailure(t *testing.T) {
	outcome, _ := attempt(func(*handoff.T) { runtime.Goexit() })
	expect(t, outcome, host.Failed, "the test called runtime.Goexit")
}

func TestCleanupRunsLastFirstWhateverHappens(t *testing.T) {
	outcome, server := attempt(func(t *handoff.T) {
		t.Cleanup(func() { t.Log("first registered, context", t.Context().Err()) })
		t.Cleanup(func() { t.FailNow() })
		t.Cleanup(func() { panic("in cleanup") })
		t.Cleanup(func() { t.Cleanup(func() { t.Log("registered in cleanup") }) })
		t.Fatal("failed")
	})
	expect(t, outcome, host.Failed, "failed")
	want := []string{"2 registered in cleanup", "2 first registered, context context canceled"}
	if !slices.Equal(server.Lines, want) {
		t.Errorf("got %q", server.Lines)
	}
	if len(server.Failures) != 2 {
		t.Errorf("the server heard %v", server.Failures)
	}
}

func TestAFailedPartFailsItsTest(t *testing.T) {
	outcome, server := attempt(func(t *handoff.T) {
		if !t.Run("good", func(t *handoff.T) { t.Log(t.Name()) }) {
			t.Log("good has failed")
		}
		if t.Run("bad", func(t *handoff.T) {
			t.Run("row", func(t *handoff.T) { t.Errorf("got %d", 1); t.Error("and more") })
		}) {
			t.Log("bad has not failed")
		}
		t.Run("good", func(t *handoff.T) { t.Skip("seen") })
	})
	expect(t, outcome, host.Failed, "bad: row: got 1")
	want := map[string]host.Outcome{
		"good":    {},
		"bad/row": {Ending: host.Failed, Failure: host.Failure{Message: "got 1\nand more"}},
		"bad":     {Ending: host.Failed, Failure: host.Failure{Message: "row: got 1\nrow: and more"}},
		"good#01": {Ending: host.Skipped, Failure: host.Failure{Message: "seen"}},
	}
	for name, part := range server.Parts {
		if part.Ending == host.Failed && part.Failure.Location.Line == 0 {
			t.Errorf("%s has no place", name)
		}
		part.Failure.Location = host.Location{}
		server.Parts[name] = part
	}
	if !reflect.DeepEqual(server.Parts, want) {
		t.Errorf("got %v", server.Parts)
	}
	if !slices.Equal(server.Lines, []string{"2 test/good"}) {
		t.Errorf("got %q", server.Lines)
	}
}

func TestALoosePartDoesNotFailItsTest(t *testing.T) {
	outcome, server := attempt(func(t *handoff.T) {
		t.Part("part", func(t *handoff.T) {
			t.Run("inner", func(t *handoff.T) { t.Error("wrong") })
			t.Run("bare", func(t *handoff.T) { t.FailNow() })
		})
		t.Part("panics", func(*handoff.T) { panic("out of order") })
	})
	expect(t, outcome, host.Passed, "")
	if len(server.Failures) != 0 {
		t.Errorf("the server heard %v", server.Failures)
	}
	for _, name := range []string{"part", "part/inner", "part/bare", "panics"} {
		if server.Parts[name].Ending != host.Failed {
			t.Errorf("%s has not failed", name)
		}
	}
}

func TestParallelPartsRunTogetherOnceTheirTestHasReturned(t *testing.T) {
	var mutex sync.Mutex
	var order []string
	note := func(what string) {
		mutex.Lock()
		defer mutex.Unlock()
		order = append(order, what)
	}
	met := make(chan bool)
	outcome, _ := attempt(func(t *handoff.T) {
		t.Parallel()
		t.Cleanup(func() { note("cleanup") })
		t.Run("a", func(t *handoff.T) { t.Parallel(); met <- true; note("part") })
		t.Run("b", func(t *handoff.T) { t.Parallel(); <-met; note("part") })
		note("body")
	})
	expect(t, outcome, host.Passed, "")
	if !slices.Equal(order, []string{"body", "part", "part", "cleanup"}) {
		t.Errorf("got %q", order)
	}
}

func TestTheEnvironmentCannotBeChangedInParallel(t *testing.T) {
	outcome, _ := attempt(func(t *handoff.T) {
		t.Run("part", func(t *handoff.T) { t.Parallel(); t.Setenv("HANDOFF_TEST", "1") })
	})
	if !strings.HasPrefix(outcome.Failure.Message, "part: panic: handoff: Setenv is called in a parallel part") {
		t.Errorf("got %q", outcome.Failure.Message)
	}
}

func TestWhatIsChangedIsChangedBack(t *testing.T) {
	t.Setenv("HANDOFF_WAS", "before")
	before, _ := os.Getwd()
	var dir string
	outcome, _ := attempt(func(t *handoff.T) {
		t.Setenv("HANDOFF_WAS", "within")
		t.Setenv("HANDOFF_WAS_NOT", "within")
		dir = t.TempDir()
		t.Chdir(dir)
		if err := os.WriteFile("file", nil, 0o666); err != nil {
			t.Error(err)
		}
	})
	expect(t, outcome, host.Passed, "")
	if is, _ := os.Getwd(); is != before {
		t.Errorf("now in %s", is)
	}
	if _, is := os.LookupEnv("HANDOFF_WAS_NOT"); is || os.Getenv("HANDOFF_WAS") != "before" {
		t.Error("the environment stays changed")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestArtifactsAreKept(t *testing.T) {
	outcome, server := attempt(func(t *handoff.T) {
		write := func(dir, name string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o666); err != nil {
				t.Error(err)
			}
		}
		write(t.ArtifactDir(), "page.html")
		t.Run("part", func(t *handoff.T) { write(t.ArtifactDir(), "raw.unknown") })
		if err := t.AttachJSON("answer.json", map[string]int{"status": 200}); err != nil {
			t.Error(err)
		}
	})
	expect(t, outcome, host.Passed, "")
	for _, name := range []string{"page.html text/html; charset=utf-8", "part/raw.unknown application/octet-stream", "answer.json application/json"} {
		if server.Files[name] == nil {
			t.Errorf("%q is not among %v", name, server.Files)
		}
	}
}

func TestValuesKeepTextsAsTheyAre(t *testing.T) {
	type session struct{ ID int }
	outcome, server := attempt(func(t *handoff.T) {
		t.SetValue("text", "12")
		t.SetSecret("session", session{7})
		var text string
		var was session
		if !t.DecodeValue("text", &text) || !t.DecodeValue("session", &was) || text != "12" || was.ID != 7 {
			t.Errorf("got %q and %v", text, was)
		}
		if t.Value("text") != "12" || t.Value("missing") != nil || t.DecodeValue("missing", &text) {
			t.Error("a value is wrong")
		}
		t.Run("part", func(t *handoff.T) { t.SetValue("count", 3) })
		host.Server.Values["earlier"] = "3"
		if t.Value("count") != 3 || t.Value("earlier") != "3" {
			t.Errorf("got %v and %v", t.Value("count"), t.Value("earlier"))
		}
		t.DecodeValue("text", &was)
		t.Error("goes on")
	})
	if !strings.HasPrefix(outcome.Failure.Message, `the value "text" is no *handoff_test.session: `) {
		t.Errorf("got %q", outcome.Failure.Message)
	}
	if server.Values["session"] != `{"ID":7}` || !server.Secrets["session"] || server.Secrets["text"] {
		t.Errorf("kept %v", server.Values)
	}
}

func TestARefusedValueEndsTheTest(t *testing.T) {
	outcome, _ := attempt(func(t *handoff.T) {
		t.SetValue("big", strings.Repeat("x", 1<<20))
		t.Error("goes on")
	})
	expect(t, outcome, host.Failed, `failed to keep the value "big": the value is too long (value_bytes)`)
	outcome, _ = attempt(func(t *handoff.T) { t.SetValue("bytes", "\xff") })
	expect(t, outcome, host.Failed, `failed to keep the value "bytes": it is no UTF-8 text`)
}

func TestAMissingParameterSaysWhatToDo(t *testing.T) {
	outcome, _ := attempt(func(t *handoff.T) {
		host.Server.Settings["shop"] = "http://shop"
		t.Log(t.RequireParam("shop"), t.Param("missing"), t.Params())
		t.RequireParam("missing")
	})
	if !strings.HasPrefix(outcome.Failure.Message, `"missing" is not set: give it as a parameter`) {
		t.Errorf("got %q", outcome.Failure.Message)
	}
}

func TestTheServersPartIsPassedOn(t *testing.T) {
	outcome, server := attempt(func(t *handoff.T) {
		host.Server.Number = 2
		t.SoftFailure()
		span := t.StartSpan("login", "user", 1, "odd")
		span.Set("roles", []string{"admin"})
		span.End()
		remaining, err := t.ExtendDeadline(time.Minute)
		deadline, ok := t.Deadline()
		t.Log(t.Attempt(), remaining, err, ok, time.Until(deadline) > time.Minute)
		t.Attr("key", "value")
		t.Attr("no key", "value")
	})
	expect(t, outcome, host.Failed, `the attribute's key "no key" has white space in it`)
	want := []string{"2 2 2m0s <nil> true true", "2 === ATTR  test key value"}
	if !slices.Equal(server.Lines, want) || !server.Soft {
		t.Errorf("got %q", server.Lines)
	}
	spans := []string{"login[{user 1} {odd }]", "login{roles [admin]}", "login ended"}
	if !slices.Equal(server.Spans, spans) {
		t.Errorf("got %q", server.Spans)
	}
}

func TestTheLogHasLevelsAndWholeLines(t *testing.T) {
	_, server := attempt(func(t *handoff.T) {
		log := t.Logger().With("user", 1).WithGroup("order")
		log.Debug("bought", "book", "Dune", slog.Group("price", "cents", 999))
		log.Log(t.Context(), handoff.LevelTrace, "fine")
		log.Warn("late")
		fmt.Fprint(t.Output(), "one\ntwo")
		fmt.Fprint(t.Output(), " goes on")
	})
	want := []string{"1 bought user=1 order.book=Dune order.price.cents=999", "0 fine user=1", "3 late user=1", "2 one", "2 two goes on"}
	if !slices.Equal(server.Lines, want) {
		t.Errorf("got %q", server.Lines)
	}
}

// takesATB stands for the many packages that help with tests.
func takesATB(t testing.TB) {
	t.Helper()
	t.Fatal(t.Name(), "was helped")
}

func TestATIsATestingTB(t *testing.T) {
	outcome, _ := attempt(func(t *handoff.T) { takesATB(t) })
	expect(t, outcome, host.Failed, "test was helped")
}

func TestTestifysMessagesBeginWithTheError(t *testing.T) {
	message := "\n\tError Trace:\t/shop/checks.go:12\n\t            \t/shop/main.go:3\n" +
		"\tError:      \tNot equal: \n\t            \texpected: 3\n\t            \tactual  : 2\n" +
		"\tTest:       \tTestAdds\n\tMessages:   \tsum of 1 and 1\n"
	want := "Not equal: \nexpected: 3\nactual  : 2\nsum of 1 and 1"
	if got := handoff.Readable(message); got != want {
		t.Errorf("got %q", got)
	}
	if got := handoff.Readable("  plain\n"); got != "plain" {
		t.Errorf("got %q", got)
	}
}
