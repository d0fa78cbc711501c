// Package wasihttp sends requests of net/http through wasi:http.
package wasihttp

import "errors"

// ErrDenied is what is in the error of a request that the policy of the suite, or a limit, did not let
// through.
var ErrDenied = errors.New("denied")

// Error is why there is no answer.
type Error struct {
	// Code is that of wasi:http, such as `connection-refused`.
	Code string
	// Detail says more, if the server does.
	Detail string
}

func (e *Error) Error() string {
	if e.Code == "HTTP-request-denied" {
		return "denied: the suite's policy must grant this host in `allow_http`"
	}
	if e.Detail == "" {
		return e.Code
	}
	return e.Code + ": " + e.Detail
}

// Is makes it match [ErrDenied].
func (e *Error) Is(target error) bool {
	switch e.Code {
	case "HTTP-request-denied", "connection-limit-reached", "destination-IP-prohibited",
		"HTTP-request-body-size", "HTTP-response-body-size":
		return target == ErrDenied
	}
	return false
}

// Timeout tells whether something took too long, for [net.Error].
func (e *Error) Timeout() bool {
	switch e.Code {
	case "DNS-timeout", "connection-timeout", "connection-read-timeout", "connection-write-timeout", "HTTP-response-timeout":
		return true
	}
	return false
}

// Temporary is there for [net.Error].
func (e *Error) Temporary() bool { return e.Timeout() }

// codes are the names of the error codes of wasi:http, in their order.
var codes = [...]string{
	"DNS-timeout", "DNS-error", "destination-not-found", "destination-unavailable",
	"destination-IP-prohibited", "destination-IP-unroutable", "connection-refused",
	"connection-terminated", "connection-timeout", "connection-read-timeout",
	"connection-write-timeout", "connection-limit-reached", "TLS-protocol-error",
	"TLS-certificate-error", "TLS-alert-received", "HTTP-request-denied",
	"HTTP-request-length-required", "HTTP-request-body-size", "HTTP-request-method-invalid",
	"HTTP-request-URI-invalid", "HTTP-request-URI-too-long", "HTTP-request-header-section-size",
	"HTTP-request-header-size", "HTTP-request-trailer-section-size", "HTTP-request-trailer-size",
	"HTTP-response-incomplete", "HTTP-response-header-section-size", "HTTP-response-header-size",
	"HTTP-response-body-size", "HTTP-response-trailer-section-size", "HTTP-response-trailer-size",
	"HTTP-response-transfer-coding", "HTTP-response-content-coding", "HTTP-response-timeout",
	"HTTP-upgrade-failed", "HTTP-protocol-error", "loop-detected", "configuration-error",
	"internal-error",
}
