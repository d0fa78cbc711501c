// The suite `{{name}}`.
package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	handoff "github.com/handoff-tests/handoff/sdk/go"
)

func main() {}

func init() {
	handoff.Register(handoff.TestSuite{
		Name:        "{{name}}",
		Description: "What it tests, in Markdown.",
		Timeout:     10 * time.Second,
		// What it would like to reach. People see it; the suite's policy grants it.
		WantsHTTP: []string{"http://127.0.0.1:8080"},
		Tests: []handoff.Test{
			{Func: TestCounts, Description: "What a test checks, in Markdown."},
			{Func: TestIsHealthy, Attempts: 2, Tags: []string{"smoke"}},
			{Func: TestCreatesABook, Disabled: "an example"},
		},
	})
}

func TestCounts(t *handoff.T) {
	if length := len("hello"); length != 5 {
		t.Errorf("got %d, want 5", length)
	}
}

// Asks the tested system, which the parameter `target` names.
func TestIsHealthy(t *handoff.T) {
	target, ok := t.LookupParam("target")
	if !ok {
		t.Skip("give the parameter `target`, a base URL")
	}
	answer, err := http.Get(target + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Error("GET /healthz:", answer.Status)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", body)
}

// JSON in and out. Replace it by something of yours.
func TestCreatesABook(t *handoff.T) {
	target := t.RequireParam("target")
	answer, err := http.Post(target+"/books", "application/json", strings.NewReader(`{"title": "Dune"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var created struct {
		Title string `json:"title"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&created); err != nil {
		t.Fatal("POST /books:", answer.Status, err)
	}
	if created.Title != "Dune" {
		t.Errorf("created %q, want %q", created.Title, "Dune")
	}
}
