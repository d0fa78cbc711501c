package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	handoff "github.com/handoff-tests/handoff/sdk/go"
)

// echo is what the server answers of a request.
type echo struct {
	Method  string            `json:"method"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

func getsOverHTTP(t *handoff.T) {
	query := url.Values{"q": {"größe"}}
	answer, err := http.Get(t.RequireParam("server") + "/echo?" + query.Encode())
	require.NoError(t, err)
	defer answer.Body.Close()
	assert.Equal(t, 200, answer.StatusCode)
	var echoed echo
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&echoed))
	assert.Equal(t, "GET", echoed.Method)
}

func postsJSON(t *handoff.T) {
	sent := `{"name": "größe"}`
	request, err := http.NewRequestWithContext(t.Context(), "POST", t.RequireParam("server")+"/echo", strings.NewReader(sent))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Conformance", "yes")
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	var echoed echo
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&echoed))
	assert.Equal(t, sent, echoed.Body)
	assert.Equal(t, "application/json", echoed.Headers["content-type"])
	assert.Equal(t, "yes", echoed.Headers["x-conformance"])
}

func seesAStatus(t *handoff.T) {
	answer, err := http.Get(t.RequireParam("server") + "/status/404")
	require.NoError(t, err)
	defer answer.Body.Close()
	assert.Equal(t, 404, answer.StatusCode)
}

func hearsADenial(t *handoff.T) {
	_, err := http.Get("http://127.0.0.1:1/")
	require.ErrorIs(t, err, handoff.ErrDenied)
	assert.ErrorContains(t, err, "denied")
}

func givesUpWaiting(t *handoff.T) {
	client := http.Client{Timeout: 200 * time.Millisecond}
	_, err := client.Get(t.RequireParam("server") + "/never")
	var told *url.Error
	require.ErrorAs(t, err, &told)
	assert.True(t, told.Timeout(), "%v", err)
}

func getsABigBody(t *handoff.T) {
	answer, err := http.Get(t.RequireParam("server") + "/bytes/1048576")
	require.NoError(t, err)
	defer answer.Body.Close()
	read, err := io.Copy(io.Discard, answer.Body)
	require.NoError(t, err)
	assert.EqualValues(t, 1<<20, read)
}
