package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stretchr/testify/assert"

	handoff "github.com/handoff-tests/handoff/sdk/go"
)

func passes(*handoff.T) {}

func failsByAssertion(t *handoff.T) {
	t.Fatal("ASSERTION ON PURPOSE")
}

func failsWithOperands(t *handoff.T) {
	assert.Equal(t, 3, 1+1)
}

func failsByError(*handoff.T) {
	panic(errors.New("ERROR ON PURPOSE"))
}

func failsDeep(*handoff.T)   { oneDeep("DEEP ON PURPOSE") }
func oneDeep(message string) { twoDeep(message) }
func twoDeep(message string) { threeDeep(message) }

func threeDeep(message string) {
	panic(errors.New(message))
}

func reportsAFailureAndGoesOn(t *handoff.T) {
	t.Error("REPORTED ON PURPOSE")
	t.Log("AFTER THE REPORT")
}

func skips(t *handoff.T) {
	t.Skip("SKIPPED ON PURPOSE")
}

func skipsInAHelper(t *handoff.T) {
	needNothing(t)
	t.Error("a helper skips its test")
}

func needNothing(t *handoff.T) {
	t.Helper()
	t.Skip("HELPER SKIPPED")
}

func failsSoftly(t *handoff.T) {
	t.Fatal("SOFT ON PURPOSE")
}

func marksItselfSoft(t *handoff.T) {
	t.SoftFailure()
	t.Fatal("MARKED SOFT")
}

func disabled(t *handoff.T) {
	t.Fatal("a disabled test is run")
}

func exitsWith3(*handoff.T) {
	fmt.Println("EXITING")
	os.Exit(3)
}

func exitsWith0(*handoff.T) {
	os.Exit(0)
}

// traps crashes the program, as Go does: a panic in a goroutine of the suite's own.
func traps(*handoff.T) {
	fmt.Println("ABOUT TO TRAP")
	go panic("crash")
	time.Sleep(time.Second)
}

func overflowsTheStack(t *handoff.T) {
	t.Log(endless(1))
}

func endless(n int) int {
	return endless(n+1) + n
}

func flaky(t *handoff.T) {
	if t.Attempt() == 1 {
		t.Fatal("FLAKY ON PURPOSE")
	}
}

func failsEveryTime(t *handoff.T) {
	t.Fatalf("FAILED ATTEMPT %d", t.Attempt())
}

func hasParts(t *handoff.T) {
	t.Run("passing part", func(*handoff.T) {})
	t.Part("failing part", func(t *handoff.T) { t.Error("PART ON PURPOSE") })
	t.Run("skipped part", func(t *handoff.T) { t.Skip("PART SKIPPED") })
}

func loops(t *handoff.T) {
	n := 1
	for n != 0 {
		n = n*31 | 1
	}
	t.Log(n)
}

func sleepsTooLong(*handoff.T) {
	time.Sleep(time.Hour)
}

func allocates(*handoff.T) {
	for {
		kept = append(kept, make([]byte, 1<<20))
	}
}

var kept [][]byte

func cleansUpInOrder(t *handoff.T) {
	t.Cleanup(func() { fmt.Println("CLEANUP 1") })
	t.Cleanup(func() { fmt.Println("CLEANUP 2") })
	fmt.Println("BODY")
}

func cleansUpAfterAFailure(t *handoff.T) {
	t.Cleanup(func() { fmt.Println("CLEANED UP") })
	t.Fatal("BEFORE CLEANUP")
}
