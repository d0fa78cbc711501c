//go:build !wasip1

package handoff

import "net/http"

// native sends requests where there is no server to do so.
var native = http.DefaultTransport

func roundTrip(request *http.Request) (*http.Response, error) {
	return native.RoundTrip(request)
}
