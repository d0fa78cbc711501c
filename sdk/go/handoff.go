// Package handoff is for writing Handoff test suites in Go: functions that take a *[T], whose methods are
// those of [testing.T].
//
//	package main
//
//	import (
//		"net/http"
//		"time"
//
//		handoff "github.com/handoff-tests/handoff/sdk/go"
//	)
//
//	func main() {}
//
//	func init() {
//		handoff.Register(handoff.TestSuite{
//			Name:    "hello",
//			Timeout: 5 * time.Second,
//			Tests: []handoff.Test{
//				{Func: TestAdds},
//				{Func: TestAnswers, Attempts: 3, Tags: []string{"smoke"}},
//			},
//		})
//	}
//
//	func TestAdds(t *handoff.T) {
//		if sum := 1 + 1; sum != 2 {
//			t.Errorf("1 + 1 = %d, want 2", sum)
//		}
//	}
//
//	func TestAnswers(t *handoff.T) {
//		answer, err := http.Get(t.RequireParam("server"))
//		if err != nil {
//			t.Fatal(err)
//		}
//		defer answer.Body.Close()
//		if answer.StatusCode != http.StatusOK {
//			t.Error(answer.Status)
//		}
//	}
//
// The standard compiler makes it a module for the server:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o hello.wasm .
//
// What there is:
//   - [Register] makes a [TestSuite] what the module is: its tests with their options, what runs before
//     and after them.
//   - A test fails by [T.Error] and [T.Fatal], so testify and every other package for [testing.TB] work,
//     and by a panic. All are reported with file and line. It skips by [T.Skip].
//   - T has also what the running test can ask of the server: parameters, values handed from one test to
//     the next, files to keep, timed spans, more time.
//   - net/http sends requests, through [Transport].
//
// Each attempt runs in a fresh instance: nothing that a test leaves in memory or in /tmp is there in the
// next one, and package variables are set anew. Use [T.SetValue] for what must be carried over. What runs
// in init functions runs for each attempt.
package handoff

//go:generate go run ./internal/generate
