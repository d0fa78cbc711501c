package handoff

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/handoff-tests/handoff/sdk/go/internal/host"
)

// Refusal is the server's no, as when a limit is hit. Nothing was changed. Take it out of an error with
// [errors.As].
type Refusal = host.Refusal

// Attempt is the number of this attempt at the test, counted from 1.
func (t *T) Attempt() int {
	return host.Attempt()
}

// ExtendDeadline asks for so much time beyond the present deadline, in whole milliseconds. It gives how
// long the attempt may now still run: the server grants up to its cap, and refuses when it can grant
// nothing.
func (t *T) ExtendDeadline(by time.Duration) (remaining time.Duration, err error) {
	return host.ExtendDeadline(by)
}

// SoftFailure has a failure of this attempt shown without failing the run.
func (t *T) SoftFailure() {
	host.MarkSoft()
}

// SetValue keeps a value for the rest of the run: for later tests, for teardown, for plugins, for people.
// It becomes visible to other attempts when this one ended without a failure. A text is kept as it is,
// everything else as JSON. If the server refuses it, the test ends.
func (t *T) SetValue(key string, value any) {
	t.keep(key, value, false)
}

// SetSecret is [T.SetValue] for what must not be seen: it is handed to this suite alone and is masked
// wherever else it would appear, logs and failure messages included. What is masked is the value as it
// is kept, so keep a token as a text by itself, not in a structure.
func (t *T) SetSecret(key string, value any) {
	t.keep(key, value, true)
}

func (t *T) keep(key string, value any, secret bool) {
	kept, err := toText(value)
	if err == nil {
		err = host.SetValue(key, kept, secret)
	}
	if err != nil {
		t.fail(fmt.Sprintf("failed to keep the value %q: %v", key, err), t.caller())
		t.FailNow()
	}
	root := t.root()
	root.mutex.Lock()
	defer root.mutex.Unlock()
	if root.values == nil {
		root.values = map[string]any{}
	}
	root.values[key] = value
}

func toText(value any) (string, error) {
	kept, ok := value.(string)
	if !ok {
		marshalled, err := json.Marshal(value)
		return string(marshalled), err
	}
	if !utf8.ValidString(kept) {
		return "", fmt.Errorf("it is no UTF-8 text")
	}
	return kept, nil
}

// Value gives the value of that key. One that this attempt has set is what it was set to; one of setup or of
// an earlier test is a string: a text as it was set, everything else as JSON, for [T.DecodeValue]. It gives
// nil if no such value was set in this run.
func (t *T) Value(key string) any {
	root := t.root()
	root.mutex.Lock()
	own, is := root.values[key]
	root.mutex.Unlock()
	if is {
		return own
	}
	if kept, ok := host.Value(key); ok {
		return kept
	}
	return nil
}

// DecodeValue puts the value of that key into what `into` points to: a text into a string, everything
// else as [json.Unmarshal] does. It tells whether there is such a value; if there is one that does not
// fit, the test ends.
func (t *T) DecodeValue(key string, into any) bool {
	kept, ok := host.Value(key)
	if !ok {
		return false
	}
	if text, is := into.(*string); is {
		*text = kept
		return true
	}
	if err := json.Unmarshal([]byte(kept), into); err != nil {
		t.fail(fmt.Sprintf("the value %q is no %T: %v", key, into, err), t.caller())
		t.FailNow()
	}
	return true
}

// LookupParam gives the run's parameter of that name, or else the suite's configuration value of that
// name, and whether there is one.
func (t *T) LookupParam(name string) (string, bool) {
	value, ok, err := host.Param(name)
	if err != nil {
		t.fail(fmt.Sprintf("failed to read the parameter %q: %v", name, err), t.caller())
		t.FailNow()
	}
	return value, ok
}

// Param is [T.LookupParam] that gives an empty text if there is none.
func (t *T) Param(name string) string {
	value, _ := t.LookupParam(name)
	return value
}

// RequireParam is [T.LookupParam] that ends the test if there is none.
func (t *T) RequireParam(name string) string {
	value, ok := t.LookupParam(name)
	if !ok {
		t.fail(fmt.Sprintf("%q is not set: give it as a parameter of the run, or in the configuration of "+
			"the suite's policy", name), t.caller())
		t.FailNow()
	}
	return value
}

// Params gives all parameters and configuration values.
func (t *T) Params() map[string]string {
	params, err := host.Params()
	if err != nil {
		t.fail(fmt.Sprintf("failed to read the parameters: %v", err), t.caller())
		t.FailNow()
	}
	return params
}

// Attach keeps a file with the attempt. The name is shown to people and is no path; the media type is
// for example `image/png`.
func (t *T) Attach(name, mediaType string, content []byte) error {
	return host.Attach(name, mediaType, content)
}

// AttachJSON keeps a value as a JSON file with the attempt.
func (t *T) AttachJSON(name string, value any) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return host.Attach(name, "application/json", content)
}

// attachAll keeps the files of a directory.
func (t *T) attachAll(dir string) {
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if t.parent != nil {
			name = t.path() + "/" + name
		}
		mediaType := mime.TypeByExtension(filepath.Ext(name))
		if mediaType == "" {
			mediaType = "application/octet-stream"
		}
		return host.Attach(filepath.ToSlash(name), mediaType, content)
	})
	if err != nil {
		t.fail("failed to keep the files of ArtifactDir: "+err.Error(), host.Location{})
	}
}

// Span is a timed part of the attempt, for its timeline. Spans that overlap nest by time.
type Span struct {
	inner *host.Span
}

// StartSpan starts a span, with attributes as pairs of a key and a value:
//
//	span := t.StartSpan("login", "user", id)
//	defer span.End()
func (t *T) StartSpan(name string, kv ...any) *Span {
	var attributes []host.Attribute
	for i := 0; i < len(kv); i += 2 {
		attribute := host.Attribute{Key: fmt.Sprint(kv[i])}
		if i+1 < len(kv) {
			attribute.Value = fmt.Sprint(kv[i+1])
		}
		attributes = append(attributes, attribute)
	}
	return &Span{host.StartSpan(name, attributes)}
}

// Set adds an attribute, or replaces the one with that key.
func (s *Span) Set(key string, value any) {
	s.inner.Set(host.Attribute{Key: key, Value: fmt.Sprint(value)})
}

// End ends the span. So does the end of the attempt.
func (s *Span) End() {
	s.inner.End()
}

// Output is where to write what belongs into the attempt's log, at level info. A line is written when it
// is complete, or the test is done.
func (t *T) Output() io.Writer {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.output == nil {
		t.output = &output{}
	}
	return t.output
}

type output struct {
	mutex sync.Mutex
	begun string
}

func (o *output) Write(written []byte) (int, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	lines := strings.Split(o.begun+string(written), "\n")
	o.begun = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		host.Log(host.Info, line)
	}
	return len(written), nil
}

func (o *output) flush() {
	if o.begun != "" {
		host.Log(host.Info, o.begun)
	}
}

// LevelTrace is finer than [slog.LevelDebug].
const LevelTrace = slog.LevelDebug - 4

// Logger writes to the attempt's log with levels. Its lines are the message and the attributes; the
// server adds the time.
func (t *T) Logger() *slog.Logger {
	return slog.New(handler{})
}

// handler writes records to the server.
type handler struct {
	prefix string // of the attributes' keys
	suffix string // the attributes so far
}

func (h handler) Enabled(context.Context, slog.Level) bool { return true }

func (h handler) Handle(_ context.Context, record slog.Record) error {
	line := record.Message + h.suffix
	record.Attrs(func(attr slog.Attr) bool {
		line += h.format(h.prefix, attr)
		return true
	})
	host.Log(levelOf(record.Level), line)
	return nil
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, attr := range attrs {
		h.suffix += h.format(h.prefix, attr)
	}
	return h
}

func (h handler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.prefix += name + "."
	}
	return h
}

func (h handler) format(prefix string, attr slog.Attr) string {
	value := attr.Value.Resolve()
	if attr.Equal(slog.Attr{}) {
		return ""
	}
	if value.Kind() != slog.KindGroup {
		return fmt.Sprintf(" %s%s=%v", prefix, attr.Key, value)
	}
	if attr.Key != "" {
		prefix += attr.Key + "."
	}
	formatted := ""
	for _, inner := range value.Group() {
		formatted += h.format(prefix, inner)
	}
	return formatted
}

func levelOf(level slog.Level) host.Level {
	switch {
	case level >= slog.LevelError:
		return host.Error
	case level >= slog.LevelWarn:
		return host.Warn
	case level >= slog.LevelInfo:
		return host.Info
	case level >= slog.LevelDebug:
		return host.Debug
	default:
		return host.Trace
	}
}
