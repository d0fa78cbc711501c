// Command example is one test of each kind: what passes, fails, skips, fails softly, is flaky, is slow,
// and one that sends a request.
package main

import (
	"io"
	"net/http"
	"strconv"
	"time"

	handoff "github.com/handoff-tests/handoff/sdk/go"
)

func main() {}

func init() {
	handoff.Register(handoff.TestSuite{
		Name:        "hello-go",
		Description: "One test of each kind. **Some of them fail, and should.**",
		Owner:       "handoff",
		Timeout:     5 * time.Second,
		Links:       []handoff.Link{{Title: "Source", URL: "https://github.com/handoff-tests/handoff/tree/main/sdk/go/example"}},
		Labels:      map[string]string{"kind": "example"},
		Setup:       setup,
		Tests: []handoff.Test{
			{Func: TestPasses, Tags: []string{"smoke"}, Description: "People read this beside the test's name."},
			{Func: TestFails},
			{Func: TestFailsByAnError},
			{Func: TestPanics},
			{Func: TestSkips},
			{Func: TestFailsSoftly, Soft: true},
			{Func: TestFlaky, Attempts: 3},
			{Func: TestSlow, Timeout: 2 * time.Second},
			{Func: TestTable},
			{Func: TestMakesCoffee, Disabled: "waits for the new office"},
			{Func: TestServerIsHealthy, Tags: []string{"smoke"}},
		},
	})
}

// setup gets what the tests share. Every test runs in a fresh instance: only values are carried over.
func setup(t *handoff.T) {
	t.SetSecret("token", "open sesame")
}

func TestPasses(t *handoff.T) {
	token := t.Value("token").(string)
	t.Logf("the token %s is masked wherever people could see it", token)
	if len(token) != 11 {
		t.Errorf("the token has %d bytes, want 11", len(token))
	}
}

func TestFails(t *handoff.T) {
	if sum := 1 + 1; sum != 3 {
		t.Errorf("1 + 1 = %d, want 3", sum)
	}
	t.Log("Error goes on, and Fatal does not")
}

func TestFailsByAnError(t *handoff.T) {
	port, err := strconv.ParseUint("http", 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("listening on", port)
}

// A panic is a failure with its stack, and what was registered for Cleanup still runs.
func TestPanics(t *handoff.T) {
	t.Cleanup(func() { t.Log("cleaned up") })
	var prices map[string]int
	prices["Dune"] = 999
}

func TestSkips(t *handoff.T) {
	t.Log("staging is", staging(t))
}

// staging skips its test, as helpers may.
func staging(t *handoff.T) string {
	t.Helper()
	url, ok := t.LookupParam("staging")
	if !ok {
		t.Skip("give the parameter `staging` to run this")
	}
	return url
}

// Shown, but the run does not fail by it.
func TestFailsSoftly(t *handoff.T) {
	t.Error("known to be broken since spring")
}

// Passes when it is tried again.
func TestFlaky(t *handoff.T) {
	if t.Attempt() == 1 {
		t.Fatal("the first attempt always fails")
	}
}

// Shows its parts in the timeline.
func TestSlow(t *handoff.T) {
	span := t.StartSpan("waiting", "reason", "to be slow")
	time.Sleep(300 * time.Millisecond)
	span.End()
	deadline, _ := t.Deadline()
	t.Log(time.Until(deadline), "left")
}

// Each row of a table is a part with a result of its own.
func TestTable(t *handoff.T) {
	for name, row := range map[string]struct{ a, b, sum int }{
		"small": {1, 1, 2},
		"large": {20, 22, 42},
	} {
		t.Run(name, func(t *handoff.T) {
			if sum := row.a + row.b; sum != row.sum {
				t.Errorf("%d + %d = %d, want %d", row.a, row.b, sum, row.sum)
			}
		})
	}
}

// Not run, and says why.
func TestMakesCoffee(*handoff.T) {}

// Asks the server that the parameter `server` names, if the suite's policy grants it.
func TestServerIsHealthy(t *handoff.T) {
	server, ok := t.LookupParam("server")
	if !ok {
		t.Skip("give the parameter `server`, a base URL")
	}
	client := http.Client{Timeout: 2 * time.Second}
	answer, err := client.Get(server + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatal("GET /healthz:", answer.Status)
	}
	health, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal("GET /healthz:", err)
	}
	if err := t.Attach("health.txt", "text/plain", health); err != nil {
		t.Error(err)
	}
}
