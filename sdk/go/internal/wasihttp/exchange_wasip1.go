package wasihttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"

	"github.com/handoff-tests/handoff/sdk/go/internal/abi"
	outgoing "github.com/handoff-tests/handoff/sdk/go/internal/bindings/imports/wasi_http_outgoing_handler"
	types "github.com/handoff-tests/handoff/sdk/go/internal/bindings/imports/wasi_http_types"
	"github.com/handoff-tests/handoff/sdk/go/internal/bindings/imports/wasi_io_poll"
	"github.com/handoff-tests/handoff/sdk/go/internal/bindings/imports/wasi_io_streams"
)

// most is how many bytes are read or written at once.
const most = 64 << 10

// RoundTrip is that of an [http.RoundTripper].
func RoundTrip(request *http.Request) (*http.Response, error) {
	forget()
	ctx, cancel := context.WithCancelCause(request.Context())
	response, err := exchange(ctx, cancel, request)
	if err != nil {
		cancel(err)
		if request.Body != nil {
			request.Body.Close() // ends whoever feeds it
		}
	}
	return response, err
}

func exchange(ctx context.Context, cancel context.CancelCauseFunc, request *http.Request) (*http.Response, error) {
	future, err := start(ctx, cancel, request)
	if err != nil {
		return nil, err
	}
	defer future.Drop()
	answered := future.Subscribe()
	err = wait(ctx, answered)
	answered.Drop()
	if err != nil {
		return nil, err
	}
	answer := future.Get().Some().Ok()
	if answer.IsErr() {
		return nil, fromCode(answer.Err())
	}
	return receive(ctx, cancel, request, answer.Ok())
}

// start sends the head, and the body from a goroutine of its own.
func start(ctx context.Context, cancel context.CancelCauseFunc, request *http.Request) (*types.FutureIncomingResponse, error) {
	hasBody := request.Body != nil && request.Body != http.NoBody
	made, err := makeRequest(request, hasBody)
	if err != nil {
		return nil, err
	}
	body := made.Body().Ok()
	handled := outgoing.Handle(made, abi.None[*types.RequestOptions]())
	if handled.IsErr() {
		body.Drop()
		return nil, fromCode(handled.Err())
	}
	if !hasBody {
		types.OutgoingBodyFinish(body, abi.None[*types.Fields]())
		return handled.Ok(), nil
	}
	go func() {
		defer request.Body.Close()
		if err := send(ctx, body, request.Body); err != nil {
			cancel(err)
		}
	}()
	return handled.Ok(), nil
}

func makeRequest(request *http.Request, hasBody bool) (*types.OutgoingRequest, error) {
	var scheme types.Scheme
	switch request.URL.Scheme {
	case "http":
		scheme = types.MakeSchemeHttp()
	case "https":
		scheme = types.MakeSchemeHttps()
	default:
		return nil, fmt.Errorf("unsupported protocol scheme %q", request.URL.Scheme)
	}
	if request.Host != "" && request.Host != request.URL.Host {
		return nil, fmt.Errorf("the Host header %q must be the host of the URL, %q", request.Host, request.URL.Host)
	}
	fields, err := makeFields(request, hasBody)
	if err != nil {
		return nil, err
	}
	made := types.MakeOutgoingRequest(fields)
	if made.SetMethod(toMethod(request.Method)).IsErr() {
		made.Drop()
		return nil, fmt.Errorf("invalid method %q", request.Method)
	}
	if made.SetScheme(abi.Some(scheme)).IsErr() ||
		made.SetAuthority(abi.Some(request.URL.Host)).IsErr() ||
		made.SetPathWithQuery(abi.Some(request.URL.RequestURI())).IsErr() {
		made.Drop()
		return nil, fmt.Errorf("invalid URL %q", request.URL)
	}
	return made, nil
}

func makeFields(request *http.Request, hasBody bool) (*types.Fields, error) {
	header := request.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if _, ok := header["User-Agent"]; !ok {
		header.Set("User-Agent", "Go-http-client/1.1")
	} else if header.Get("User-Agent") == "" {
		header.Del("User-Agent")
	}
	header.Del("Content-Length")
	switch {
	case hasBody && request.ContentLength > 0:
		header.Set("Content-Length", strconv.FormatInt(request.ContentLength, 10))
	case !hasBody && (request.Method == "POST" || request.Method == "PUT" || request.Method == "PATCH"):
		header.Set("Content-Length", "0")
	}
	fields := types.MakeFields()
	for name, values := range header {
		switch name {
		case "Connection", "Keep-Alive", "Transfer-Encoding":
			continue // are the server's
		}
		for _, value := range values {
			if fields.Append(name, []byte(value)).IsErr() {
				fields.Drop()
				return nil, fmt.Errorf("the header %q cannot be sent as %q", name, value)
			}
		}
	}
	return fields, nil
}

func toMethod(method string) types.Method {
	switch method {
	case "", "GET":
		return types.MakeMethodGet()
	case "HEAD":
		return types.MakeMethodHead()
	case "POST":
		return types.MakeMethodPost()
	case "PUT":
		return types.MakeMethodPut()
	case "DELETE":
		return types.MakeMethodDelete()
	case "CONNECT":
		return types.MakeMethodConnect()
	case "OPTIONS":
		return types.MakeMethodOptions()
	case "TRACE":
		return types.MakeMethodTrace()
	case "PATCH":
		return types.MakeMethodPatch()
	default:
		return types.MakeMethodOther(method)
	}
}

// send writes the body. A stream that the other side has closed is no error: its answer says why.
func send(ctx context.Context, to *types.OutgoingBody, from io.Reader) error {
	stream := to.Write().Ok()
	err := pump(ctx, stream, from)
	stream.Drop()
	if err != nil {
		to.Drop() // unfinished: the other side hears that it was broken off
		if errors.Is(err, errClosed) {
			return nil
		}
		return err
	}
	if finished := types.OutgoingBodyFinish(to, abi.None[*types.Fields]()); finished.IsErr() {
		return fromCode(finished.Err())
	}
	return nil
}

var errClosed = errors.New("the stream is closed")

func pump(ctx context.Context, stream *wasi_io_streams.OutputStream, from io.Reader) error {
	writable := stream.Subscribe()
	defer writable.Drop()
	room := func() (uint64, error) {
		for {
			checked := stream.CheckWrite()
			if checked.IsErr() {
				return 0, fromStream(checked.Err())
			}
			if checked.Ok() > 0 {
				return checked.Ok(), nil
			}
			if err := wait(ctx, writable); err != nil {
				return 0, err
			}
		}
	}
	buffer := make([]byte, most)
	for {
		read, readErr := from.Read(buffer)
		for rest := buffer[:read]; len(rest) > 0; {
			free, err := room()
			if err != nil {
				return err
			}
			part := rest[:min(uint64(len(rest)), free)]
			if written := stream.Write(part); written.IsErr() {
				return fromStream(written.Err())
			}
			rest = rest[len(part):]
		}
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			return readErr
		}
	}
	if flushed := stream.Flush(); flushed.IsErr() {
		return fromStream(flushed.Err())
	}
	_, err := room()
	return err
}

func receive(ctx context.Context, cancel context.CancelCauseFunc, request *http.Request, answer *types.IncomingResponse) (*http.Response, error) {
	defer answer.Drop()
	header := http.Header{}
	fields := answer.Headers()
	var entries []abi.Tuple2[string, []uint8]
	abi.Unbounded(func() { entries = fields.Entries() })
	for _, entry := range entries {
		header.Add(strings.Clone(entry.F0), string(entry.F1))
	}
	fields.Drop()
	length := int64(-1)
	if text := header.Get("Content-Length"); text != "" {
		if parsed, err := strconv.ParseInt(text, 10, 64); err == nil && parsed >= 0 {
			length = parsed
		}
	}
	status := int(answer.Status())
	from := answer.Consume().Ok()
	bytes := from.Stream().Ok()
	body := &stream{ctx: ctx, cancel: cancel, from: from, bytes: bytes, readable: bytes.Subscribe()}
	open[body] = true
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", status, http.StatusText(status)),
		StatusCode:    status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          hand(body),
		ContentLength: length,
		Request:       request,
	}, nil
}

// open has the bodies of answers that were not closed. If the garbage collector took them as they are, it
// would drop their parts in some order, and dropping a body before its stream ends the program.
var open = map[*stream]bool{}

// manyOpen is how many there may be before those are closed that everybody has forgotten; the server
// stops sending requests at 32.
const manyOpen = 16

// forget closes the bodies of answers that nobody has any more.
func forget() {
	if len(open) >= manyOpen {
		runtime.GC()
		runtime.Gosched()
	}
}

// body is a stream in the hands of whoever reads it.
type body struct {
	inner *stream
}

func hand(inner *stream) *body {
	body := &body{inner}
	runtime.AddCleanup(body, (*stream).close, inner)
	return body
}

func (b *body) Read(into []byte) (int, error) {
	read, err := b.inner.read(into)
	runtime.KeepAlive(b)
	return read, err
}

func (b *body) Close() error {
	b.inner.close()
	return nil
}

// stream is the body of an answer.
type stream struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	from     *types.IncomingBody
	bytes    *wasi_io_streams.InputStream
	readable *wasi_io_poll.Pollable
	ended    error
}

func (s *stream) read(into []byte) (int, error) {
	if len(into) == 0 || s.ended != nil {
		return 0, s.ended
	}
	for {
		if err := wait(s.ctx, s.readable); err != nil {
			s.end(err)
			return 0, err
		}
		read := s.bytes.Read(uint64(min(len(into), most)))
		if read.IsErr() {
			err := fromStream(read.Err())
			if err == errClosed {
				err = io.EOF
			}
			s.end(err)
			return 0, err
		}
		if part := read.Ok(); len(part) > 0 {
			return copy(into, part), nil
		}
	}
}

func (s *stream) close() {
	s.end(http.ErrBodyReadAfterClose)
}

func (s *stream) end(err error) {
	if s.ended != nil {
		return
	}
	s.ended = err
	s.readable.Drop()
	s.bytes.Drop()
	s.from.Drop()
	s.cancel(err) // whoever still sends
	delete(open, s)
}

func fromStream(failed wasi_io_streams.StreamError) error {
	if failed.Tag() == wasi_io_streams.StreamError_Closed {
		return errClosed
	}
	reason := failed.LastOperationFailed()
	defer reason.Drop()
	if code, ok := types.HttpErrorCode(reason).Get(); ok {
		return fromCode(code)
	}
	return &Error{Code: "internal-error", Detail: strings.Clone(reason.ToDebugString())}
}

func fromCode(code types.ErrorCode) error {
	err := &Error{Code: fmt.Sprint("error ", code.Tag())}
	if int(code.Tag()) < len(codes) {
		err.Code = codes[code.Tag()]
	}
	var detail abi.Option[string]
	switch code.Tag() {
	case types.ErrorCode_InternalError:
		detail = code.InternalError()
	case types.ErrorCode_DnsError:
		detail = code.DnsError().Rcode
	case types.ErrorCode_TlsAlertReceived:
		detail = code.TlsAlertReceived().AlertMessage
	}
	text, _ := detail.Get()
	err.Detail = strings.Clone(text)
	return err
}
