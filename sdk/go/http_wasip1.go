package handoff

import (
	"net/http"

	"github.com/handoff-tests/handoff/sdk/go/internal/wasihttp"
)

func init() {
	http.DefaultTransport = Transport{}
}

func roundTrip(request *http.Request) (*http.Response, error) {
	return wasihttp.RoundTrip(request)
}
