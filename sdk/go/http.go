package handoff

import (
	"net/http"

	"github.com/handoff-tests/handoff/sdk/go/internal/wasihttp"
)

// Transport sends the requests of net/http through the server, which lets those through that the
// suite's policy grants (`allow_http`). In a component it is [http.DefaultTransport], so [http.Get] and
// every [http.Client] without a Transport of its own use it. Time-outs by [http.Client.Timeout] and by
// contexts work, also while a body is read; several requests may be under way at once.
//
// Of an [http.Transport], it has no settings: proxies, TLS, connections and compression are the
// server's. It sends no Host header but the one of the URL.
type Transport struct{}

// RoundTrip sends one request.
func (Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	return roundTrip(request)
}

// ErrDenied is in the error of a request that the policy of the suite, or a limit, did not let through:
// errors.Is(err, handoff.ErrDenied).
var ErrDenied = wasihttp.ErrDenied
