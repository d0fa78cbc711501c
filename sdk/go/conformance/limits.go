package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	handoff "github.com/handoff-tests/handoff/sdk/go"
)

// limits is the tag of the tests whose run has a policy with low limits.
var limits = []string{"limits"}

func limitLog(*handoff.T) {
	fmt.Println("FIRST LINE")
	for i := range 1_000 {
		fmt.Println("line", i)
	}
	fmt.Println("LAST LINE")
}

func limitLogLine(*handoff.T) {
	fmt.Println(strings.Repeat("x", 2_000))
}

func limitMessage(t *handoff.T) {
	t.Fatal("LONG MESSAGE " + strings.Repeat("x", 2_000))
}

func limitFailures(t *handoff.T) {
	for i := range 10 {
		t.Errorf("FAILURE %d", i)
	}
}

func limitValue(t *handoff.T) {
	t.SetValue("long", strings.Repeat("x", 2_000))
}

func limitValues(t *handoff.T) {
	for i := range 10 {
		t.SetValue(fmt.Sprint("value ", i), "x")
	}
}

func limitArtifacts(t *handoff.T) {
	var err error
	for i := 0; i < 10 && err == nil; i++ {
		err = t.Attach("x.txt", "text/plain", []byte("x"))
	}
	var refusal *handoff.Refusal
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, "artifacts", refusal.Rule)
}

func limitSpans(t *handoff.T) {
	for i := range 10 {
		t.StartSpan(fmt.Sprint("span ", i)).End()
	}
}

func limitParts(t *handoff.T) {
	for i := range 10 {
		t.Run(fmt.Sprint("part ", i), passes)
	}
}

func limitRequests(t *handoff.T) {
	url := t.RequireParam("server") + "/status/204"
	var err error
	for i := 0; i < 10 && err == nil; i++ {
		var answer *http.Response
		if answer, err = http.Get(url); err == nil {
			answer.Body.Close()
		}
	}
	require.ErrorIs(t, err, handoff.ErrDenied)
}

func limitReceived(t *handoff.T) {
	answer, err := http.Get(t.RequireParam("server") + "/bytes/1048576")
	require.NoError(t, err)
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	require.ErrorIs(t, err, handoff.ErrDenied)
}

func limitRandom(*handoff.T) {
	rand.Read(make([]byte, 1_000_000))
}

func limitScratch(t *handoff.T) {
	require.Error(t, os.WriteFile("/tmp/full", make([]byte, 200_000), 0o666))
}

func limitExtension(t *handoff.T) {
	remaining, err := t.ExtendDeadline(10 * time.Minute)
	require.NoError(t, err)
	assert.Greater(t, remaining, 5*time.Second)
	assert.LessOrEqual(t, remaining, time.Minute)
}
