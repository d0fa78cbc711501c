package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	handoff "github.com/handoff-tests/handoff/sdk/go"
)

func logLevels(t *handoff.T) {
	log := t.Logger()
	log.Log(t.Context(), handoff.LevelTrace, "LEVEL TRACE")
	log.Debug("LEVEL DEBUG")
	log.Info("LEVEL INFO")
	log.Warn("LEVEL WARN")
	log.Log(t.Context(), slog.LevelError, "LEVEL ERROR")
}

func keepsTheOrderOfOutput(t *handoff.T) {
	fmt.Println("ONE")
	fmt.Fprintln(os.Stderr, "TWO")
	t.Log("THREE")
	fmt.Println("FOUR")
}

func endsOutputWithoutNewline(*handoff.T) {
	fmt.Print("NO NEWLINE")
}

func failsAfterOutputWithoutNewline(t *handoff.T) {
	fmt.Print("LAST WORDS")
	t.Fatal("AFTER LAST WORDS")
}

func writesUnicode(*handoff.T) {
	fmt.Println("größe 日本 🦀")
}

func writesMuch(*handoff.T) {
	for i := range 10_000 {
		fmt.Printf("line %d\n", i)
	}
}

func knowsItsAttempt(t *handoff.T) {
	assert.Equal(t, 1, t.Attempt())
}

func extendsItsDeadline(t *handoff.T) {
	deadline, ok := t.Deadline()
	require.True(t, ok)
	remaining := time.Until(deadline)
	assert.Positive(t, remaining)
	assert.LessOrEqual(t, remaining, 2*time.Second)
	remaining, err := t.ExtendDeadline(3 * time.Second)
	require.NoError(t, err)
	assert.Greater(t, remaining, 2*time.Second)
}

func setsValues(t *handoff.T) {
	t.SetValue("from_test", "größe ✓")
	t.SetValue("big", big)
}

func getsValues(t *handoff.T) {
	assert.Equal(t, "set in setup ✓", t.Value("from_setup"))
	assert.Equal(t, "größe ✓", t.Value("from_test"))
	assert.Equal(t, big, t.Value("big"))
	assert.Nil(t, t.Value("missing"))
}

func masksSecrets(t *handoff.T) {
	secret := t.Value("secret_token")
	require.Equal(t, "open-sesame-größe", secret)
	fmt.Println("the secret is", secret)
}

func attaches(t *handoff.T) {
	require.NoError(t, t.Attach("note.txt", "text/plain", []byte("ATTACHED ✓")))
	bytes := make([]byte, 256)
	for i := range bytes {
		bytes[i] = byte(i)
	}
	require.NoError(t, t.Attach("bytes.bin", "application/octet-stream", bytes))
}

func hearsARefusal(t *handoff.T) {
	err := t.Attach("huge.bin", "application/octet-stream", make([]byte, 2<<20))
	var refusal *handoff.Refusal
	require.True(t, errors.As(err, &refusal), "%v", err)
	assert.Equal(t, "artifact_bytes", refusal.Rule)
}

func hasSpans(t *handoff.T) {
	outer := t.StartSpan("outer", "key", "value")
	defer outer.End()
	inner := t.StartSpan("inner")
	inner.End()
}

func readsParameters(t *handoff.T) {
	assert.Equal(t, "hello ✓", t.RequireParam("greeting"))
	assert.Equal(t, "test", t.Param("region"))
	_, ok := t.LookupParam("missing")
	assert.False(t, ok)
}

func readsTheEnvironment(t *handoff.T) {
	assert.Equal(t, "from the policy", os.Getenv("GREETING"))
}

func hasClocksAndRandom(t *handoff.T) {
	before := time.Now()
	assert.GreaterOrEqual(t, time.Since(before), time.Duration(0))
	assert.GreaterOrEqual(t, before.Year(), 2026)
	assert.NotEqual(t, draw(), draw())
}

func draw() [16]byte {
	var drawn [16]byte
	rand.Read(drawn[:])
	return drawn
}

func hasAScratchDirectory(t *handoff.T) {
	entries, err := os.ReadDir("/tmp")
	require.NoError(t, err)
	require.Empty(t, entries)
	require.NoError(t, os.WriteFile("/tmp/a.txt", []byte("kept"), 0o666))
	read, err := os.ReadFile("/tmp/a.txt")
	require.NoError(t, err)
	assert.Equal(t, "kept", string(read))
	assert.Error(t, os.WriteFile("/elsewhere", nil, 0o666))
}

func sleeps(t *handoff.T) {
	before := time.Now()
	time.Sleep(50 * time.Millisecond)
	assert.GreaterOrEqual(t, time.Since(before), 50*time.Millisecond)
}

var counter int

func isAlone(t *handoff.T) {
	require.Zero(t, counter)
	counter++
	require.NoFileExists(t, "/tmp/alone")
	require.NoError(t, os.WriteFile("/tmp/alone", nil, 0o666))
}
